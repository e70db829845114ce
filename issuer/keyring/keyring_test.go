package keyring_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/issuer/keyring"
)

var t0 = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func contract() keyring.Contract {
	return keyring.Contract{
		CacheAge: time.Hour, Skew: time.Minute, MaxTokenLifetime: 24 * time.Hour, RotateEvery: 30 * 24 * time.Hour,
	}.WithDefaults()
}

func TestContractValidate(t *testing.T) {
	base := contract()
	assert.NoError(t, base.Validate())
	assert.Equal(t, time.Hour, base.Announce)
	assert.Equal(t, 25*time.Hour+time.Minute, base.Retire)

	for name, tc := range map[string]struct {
		change func(*keyring.Contract)
		fields []string
	}{
		"announce below cache age": {func(c *keyring.Contract) { c.Announce = c.CacheAge - 1 }, []string{"announce: "}},
		"retire too short":         {func(c *keyring.Contract) { c.Retire-- }, []string{"retire: "}},
		"no cache age":             {func(c *keyring.Contract) { c.CacheAge = 0 }, []string{"cache_age: "}},
		"negative skew":            {func(c *keyring.Contract) { c.Skew = -1 }, []string{"skew: "}},
		"skew over the leeway":     {func(c *keyring.Contract) { c.Skew, c.Retire = 301*time.Second, 100*time.Hour }, []string{"skew: "}},
		"no lifetime":              {func(c *keyring.Contract) { c.MaxTokenLifetime = 0 }, []string{"max_token_lifetime: "}},
		"rotates before announced": {func(c *keyring.Contract) { c.RotateEvery = c.Announce - 1 }, []string{"rotate_every: "}},
		"negative rotation":        {func(c *keyring.Contract) { c.RotateEvery = -1 }, []string{"rotate_every: "}},
		"too many keys at once":    {func(c *keyring.Contract) { c.RotateEvery, c.Retire = time.Hour, 200*time.Hour }, []string{"rotate_every: "}},
		"all at once": {func(c *keyring.Contract) { *c = keyring.Contract{Announce: -1, Retire: -2, Skew: -1, RotateEvery: -1} },
			[]string{"cache_age: ", "skew: ", "max_token_lifetime: ", "announce: ", "retire: ", "rotate_every: "}},
	} {
		t.Run(name, func(t *testing.T) {
			c := base
			tc.change(&c)
			err := c.Validate()
			require.Error(t, err)
			for _, f := range tc.fields {
				assert.ErrorContains(t, err, f)
			}
		})
	}
}

func TestMaxAge(t *testing.T) {
	for cache, want := range map[time.Duration]time.Duration{
		time.Second: 0, 3 * time.Second: time.Second, 4 * time.Second: 2 * time.Second, time.Hour: 30 * time.Minute,
	} {
		c := keyring.Contract{CacheAge: cache}.WithDefaults()
		assert.Equal(t, want, c.MaxAge(), cache)
		assert.LessOrEqual(t, 2*c.MaxAge(), c.Announce)
	}
}

// apply puts changed keys back into the ring.
func apply(ring, changed []keyring.Key) []keyring.Key {
	out := append([]keyring.Key(nil), ring...)
next:
	for _, c := range changed {
		for i := range out {
			if out[i].ID == c.ID {
				out[i] = c
				continue next
			}
		}
		out = append(out, c)
	}
	return out
}

func unsafe(t *testing.T, err error) *keyring.UnsafeError {
	t.Helper()
	var u *keyring.UnsafeError
	require.True(t, errors.As(err, &u), "got %v", err)
	return u
}

func TestOneRotation(t *testing.T) {
	c := contract()
	a := keyring.First(t0, "a", "ES256")
	ring := []keyring.Key{a}

	assert.False(t, c.Wanted(t0, ring))
	want := t0.Add(c.RotateEvery - c.Announce)
	assert.Equal(t, want, c.Next(t0, ring))
	assert.False(t, c.Wanted(want.Add(-1), ring))
	assert.True(t, c.Wanted(want, ring))

	_, err := c.Rotate(want, ring)
	assert.Equal(t, want.Add(c.Announce), unsafe(t, err).SafeAt, "nothing is announced")

	b, err := c.Successor(want, ring, "b", "ES256")
	require.NoError(t, err)
	b.ServedSince = want.Add(20 * time.Millisecond) // the commit took its time
	ring = append(ring, b)
	assert.False(t, c.Wanted(want, ring))

	_, err = c.Successor(want, ring, "c", "ES256")
	safe := unsafe(t, err).SafeAt
	assert.Equal(t, want.Add(c.Announce+20*time.Millisecond), safe)
	assert.Equal(t, safe, c.Next(want, ring))
	_, err = c.Rotate(safe.Add(-1), ring)
	assert.Equal(t, safe, unsafe(t, err).SafeAt)
	assert.Contains(t, err.Error(), safe.Truncate(time.Second).Add(time.Second).Format(time.RFC3339), "rounded up")
	assert.Empty(t, c.Advance(safe.Add(-1), ring))

	ring = apply(ring, c.Advance(safe, ring))
	assert.Equal(t, keyring.Retiring, ring[0].State)
	assert.Equal(t, keyring.Active, ring[1].State)
	assert.Empty(t, c.Advance(safe.Add(-time.Hour), ring), "a clock that goes back takes no step back")

	gone := safe.Add(c.Retire)
	assert.Equal(t, gone, c.Next(safe, ring))
	_, err = c.Withdraw(gone.Add(-1), ring, "a")
	assert.Equal(t, gone, unsafe(t, err).SafeAt)
	_, err = c.Withdraw(safe, ring, "b")
	assert.Equal(t, safe.Add(c.Announce+c.Retire), unsafe(t, err).SafeAt, "an active key needs a successor first")
	ring = apply(ring, c.Advance(gone, ring))
	assert.Equal(t, keyring.Withdrawn, ring[0].State)
	assert.Equal(t, gone, ring[0].WithdrawnAt)
	assert.False(t, ring[0].Published())
}

func TestRestartCountsAnew(t *testing.T) {
	c := contract()
	ring := []keyring.Key{keyring.First(t0, "a", "ES256")}
	b, err := c.Successor(t0, ring, "b", "ES256")
	require.NoError(t, err)
	restart := t0.Add(10 * c.Announce)
	b.ServedSince = restart // nobody could fetch it before
	ring = append(ring, b)
	assert.Empty(t, c.Advance(restart.Add(c.CacheAge-1), ring))
	assert.Len(t, c.Advance(restart.Add(c.CacheAge), ring), 2)
}

func TestWithdrawAnnounced(t *testing.T) {
	c := contract()
	ring := []keyring.Key{keyring.First(t0, "a", "ES256")}
	b, err := c.Successor(t0, ring, "b", "ES256")
	require.NoError(t, err)
	ring = append(ring, b)
	changed, err := c.Withdraw(t0, ring, "b")
	require.NoError(t, err)
	ring = apply(ring, changed)
	assert.Equal(t, keyring.Withdrawn, ring[1].State)
	assert.Equal(t, keyring.Active, ring[0].State)
	changed, err = c.Withdraw(t0, ring, "b")
	assert.NoError(t, err)
	assert.Empty(t, changed, "withdrawing twice changes nothing")
}

func TestEmergency(t *testing.T) {
	c := contract()
	active := keyring.First(t0, "a", "ES256")
	next, err := c.Successor(t0, []keyring.Key{active}, "b", "ES256")
	require.NoError(t, err)
	old := keyring.Key{ID: "o", Algorithm: "ES256", State: keyring.Retiring, RetiredAt: t0}

	changed, orphaned := c.Emergency(t0, []keyring.Key{active, next, old}, "a")
	assert.False(t, orphaned)
	ring := apply([]keyring.Key{active, next, old}, changed)
	assert.Equal(t, keyring.Withdrawn, ring[0].State)
	assert.Equal(t, keyring.Active, ring[1].State)

	changed, orphaned = c.Emergency(t0, []keyring.Key{active, old}, "a")
	assert.True(t, orphaned)
	assert.Len(t, changed, 1)

	changed, orphaned = c.Emergency(t0, []keyring.Key{active, old}, "o")
	assert.False(t, orphaned)
	assert.Equal(t, keyring.Withdrawn, changed[0].State)

	changed, orphaned = c.Emergency(t0, []keyring.Key{active}, "nobody")
	assert.False(t, orphaned)
	assert.Empty(t, changed)
}

func TestDrop(t *testing.T) {
	c := contract()
	ring := []keyring.Key{keyring.First(t0, "a", "ES256"), {ID: "b", State: keyring.Announced}, {ID: "c", State: keyring.Retiring, RetiredAt: t0}}
	changed := c.Drop(t0.Add(time.Hour), ring)
	require.Len(t, changed, 2)
	assert.Equal(t, keyring.Retiring, changed[0].State)
	assert.Equal(t, t0.Add(time.Hour), changed[0].RetiredAt)
	assert.Equal(t, keyring.Withdrawn, changed[1].State)
}

func TestMaxPublished(t *testing.T) {
	c := contract()
	ring := []keyring.Key{keyring.First(t0, "a", "ES256")}
	for i := 1; i < keyring.MaxPublished; i++ {
		ring = append(ring, keyring.Key{ID: "r", State: keyring.Retiring, RetiredAt: t0.Add(time.Duration(i))})
	}
	_, err := c.Successor(t0, ring, "b", "ES256")
	assert.Equal(t, t0.Add(1+c.Retire), unsafe(t, err).SafeAt)
	assert.False(t, c.Wanted(t0.Add(c.RotateEvery), ring))
	assert.Equal(t, t0.Add(1+c.Retire), c.Next(t0, ring))
}

func TestStateNames(t *testing.T) {
	for _, s := range []keyring.State{keyring.Announced, keyring.Active, keyring.Retiring, keyring.Withdrawn} {
		back, ok := keyring.ParseState(s.String())
		assert.True(t, ok)
		assert.Equal(t, s, back)
	}
	_, ok := keyring.ParseState("")
	assert.False(t, ok)
	assert.Empty(t, keyring.State(9).String())
}
