package issuer_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/issuer"
	"sessiongate/issuer/keyring"
	"sessiongate/issuer/store"
	"sessiongate/issuer/store/sqlite"
)

// published are the kids of the key set, in its order.
func published(t *testing.T, i *issuer.Issuer) []string {
	t.Helper()
	doc, _, _ := i.JWKS()
	var set struct {
		Keys []struct{ Kid, D, P, K string }
	}
	require.NoError(t, json.Unmarshal(doc, &set))
	kids := []string{}
	for _, k := range set.Keys {
		assert.Empty(t, k.D+k.P+k.K, "no private member is ever published")
		kids = append(kids, k.Kid)
	}
	return kids
}

func rows(t *testing.T, f *fixture) map[string]store.Key {
	t.Helper()
	_, list, err := f.fault.Store.Keys(t.Context())
	require.NoError(t, err)
	out := map[string]store.Key{}
	for _, k := range list {
		out[k.ID] = k
	}
	return out
}

// TestScheduledRotation follows one rotation by the schedule, from end to end.
func TestScheduledRotation(t *testing.T) {
	f := start(t, func(s *issuer.Settings) { s.CacheAge, s.MaxTokenLifetime, s.Skew, s.RotateEvery = 60, 600, 10, 1000 })
	a := f.inState("ES256", keyring.Active)
	_, etag, maxAge := f.JWKS()
	assert.Equal(t, 30*time.Second, maxAge)

	f.pass(930 * time.Second)
	assert.Equal(t, []string{"active"}, f.states("ES256"))
	f.pass(20 * time.Second)
	assert.Equal(t, []string{"active", "announced"}, f.states("ES256"))
	b := f.inState("ES256", keyring.Announced)
	assert.Equal(t, []string{a.ID, b.ID}, published(t, f.Issuer))
	_, newTag, _ := f.JWKS()
	assert.NotEqual(t, etag, newTag)
	doc, _, _ := f.JWKS()
	assert.JSONEq(t, string(doc), f.keys.last(), "the verifier has it too")
	assert.Equal(t, a.ID, header(t, f.mint(""))["kid"], "an announced key does not sign")

	f.pass(b.ActiveAt.Sub(f.clock.Now()) - time.Millisecond)
	assert.Equal(t, []string{"active", "announced"}, f.states("ES256"))
	f.pass(time.Millisecond)
	assert.Equal(t, []string{"retiring", "active"}, f.states("ES256"))
	assert.Equal(t, b.ID, header(t, f.mint(""))["kid"])
	assert.Equal(t, []string{a.ID, b.ID}, published(t, f.Issuer))
	assert.Empty(t, rows(t, f)[a.ID].Sealed, "a key that signs no more cannot be opened by anybody")

	f.pass(669 * time.Second)
	assert.Equal(t, []string{a.ID, b.ID}, published(t, f.Issuer))
	f.pass(time.Second)
	assert.Equal(t, []string{b.ID}, published(t, f.Issuer))
	assert.Equal(t, "withdrawn", f.states("ES256")[0])
}

func TestRotateByHand(t *testing.T) {
	f := start(t, nil)
	a := f.inState("ES256", keyring.Active)
	_, err := f.Rotate(t.Context(), a.ID, true)
	var e *issuer.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, issuer.Unsafe, e.Code)
	assert.WithinDuration(t, f.clock.Now().Add(time.Hour), e.SafeAt, time.Second)

	b, err := f.Rotate(t.Context(), a.ID, false)
	require.NoError(t, err)
	assert.Equal(t, keyring.Announced, b.State)
	assert.WithinDuration(t, f.clock.Now().Add(time.Hour), b.ActiveAt, time.Second)
	for _, kid := range []string{a.ID, b.ID} {
		_, err = f.Rotate(t.Context(), kid, false)
		require.ErrorAs(t, err, &e)
		assert.Equal(t, issuer.Unsafe, e.Code)
		assert.Equal(t, b.ActiveAt, e.SafeAt)
	}
	_, err = f.Announce(t.Context(), "")
	assert.Equal(t, issuer.Unsafe, code(t, err))
	_, err = f.Withdraw(t.Context(), a.ID)
	require.ErrorAs(t, err, &e)
	assert.Equal(t, issuer.Unsafe, e.Code)
	assert.Equal(t, b.ActiveAt.Add(90060*time.Second), e.SafeAt)

	f.clock.add(b.ActiveAt.Sub(f.clock.Now()))
	c, err := f.Rotate(t.Context(), a.ID, true)
	require.NoError(t, err)
	assert.Equal(t, b.ID, c.ID)
	assert.Equal(t, keyring.Active, c.State)
	_, err = f.Rotate(t.Context(), a.ID, false)
	assert.Equal(t, issuer.WrongState, code(t, err))
	_, err = f.Rotate(t.Context(), "nobody", false)
	assert.Equal(t, issuer.NotFound, code(t, err))
	_, err = f.Withdraw(t.Context(), "nobody")
	assert.Equal(t, issuer.NotFound, code(t, err))
	_, err = f.Announce(t.Context(), "RS256")
	assert.ErrorContains(t, err, "algorithm: ")

	// A successor can be called off, and the key goes on.
	d, err := f.Announce(t.Context(), "ES256")
	require.NoError(t, err)
	d, err = f.Withdraw(t.Context(), d.ID)
	require.NoError(t, err)
	assert.Equal(t, keyring.Withdrawn, d.State)
	assert.Equal(t, []string{"retiring", "active", "withdrawn"}, f.states("ES256"))
}

// TestCrashBetweenAnnounceAndActivate opens the directory again: the announced key
// is there, and its time as published counts anew, since nobody could fetch it.
func TestCrashBetweenAnnounceAndActivate(t *testing.T) {
	f := start(t, nil)
	a := f.inState("ES256", keyring.Active)
	b, err := f.Rotate(t.Context(), a.ID, false)
	require.NoError(t, err)

	f.clock.add(3 * time.Hour)
	f.open()
	require.NoError(t, f.Maintain(t.Context()))
	assert.Equal(t, []string{"active", "announced"}, f.states("ES256"))
	assert.Equal(t, []string{a.ID, b.ID}, published(t, f.Issuer))
	assert.Equal(t, f.clock.Now().Add(time.Hour), f.inState("ES256", keyring.Announced).ActiveAt)
	f.pass(time.Hour)
	assert.Equal(t, []string{"retiring", "active"}, f.states("ES256"))
	assert.Equal(t, b.ID, header(t, f.mint(""))["kid"])
}

// TestKeyWritesFail lets the store fail at each step of a rotation, with and
// without effect: what is published and signing is always what the store has.
func TestKeyWritesFail(t *testing.T) {
	for _, mode := range []string{"lost", "kept"} {
		t.Run(mode, func(t *testing.T) {
			f := start(t, nil)
			a := f.inState("ES256", keyring.Active)
			agrees := func() {
				t.Helper()
				for _, k := range f.Keys() {
					assert.Equal(t, rows(t, f)[k.ID].State, k.State.String())
				}
				assert.Len(t, f.Keys(), len(rows(t, f)))
			}
			f.fault.set(mode)
			_, err := f.Rotate(t.Context(), a.ID, false)
			require.ErrorIs(t, err, errDisk)
			agrees()
			assert.Error(t, f.Ready(t.Context()))
			f.fault.set("")
			require.NoError(t, f.Maintain(t.Context()))
			if mode == "lost" {
				assert.Equal(t, []string{a.ID}, published(t, f.Issuer))
				_, err = f.Rotate(t.Context(), a.ID, false)
				require.NoError(t, err)
			}
			b := f.inState("ES256", keyring.Announced)

			f.clock.add(2 * time.Hour)
			f.fault.set(mode)
			require.ErrorIs(t, f.Maintain(t.Context()), errDisk)
			agrees()
			if mode == "lost" {
				assert.Equal(t, a.ID, header(t, f.mint(""))["kid"], "minting goes on")
			}
			f.fault.set("")
			require.NoError(t, f.Maintain(t.Context()))
			agrees()
			assert.Equal(t, b.ID, header(t, f.mint(""))["kid"])
			assert.NoError(t, f.Ready(t.Context()))
		})
	}
	t.Run("and cannot be read either", func(t *testing.T) {
		f := start(t, nil)
		a := f.inState("ES256", keyring.Active)
		f.fault.set("kept")
		f.fault.readFail = true
		_, err := f.Rotate(t.Context(), a.ID, false)
		require.ErrorIs(t, err, errDisk)
		assert.Equal(t, []string{a.ID}, published(t, f.Issuer), "goes on with what it has")
		f.fault.set("")
		f.fault.readFail = false
		require.NoError(t, f.Maintain(t.Context()))
		assert.Len(t, published(t, f.Issuer), 2, "then finds what was written")
	})
}

func TestEmergency(t *testing.T) {
	f := start(t, nil)
	a := f.inState("ES256", keyring.Active)
	_, err := f.WithdrawNow(t.Context(), a.ID, "")
	assert.ErrorContains(t, err, "reason: ")
	_, err = f.WithdrawNow(t.Context(), "nobody", "x")
	assert.Equal(t, issuer.NotFound, code(t, err))
	assert.NotContains(t, f.log.String(), "EMERGENCY")

	e, err := f.WithdrawNow(t.Context(), a.ID, "found on a laptop")
	require.NoError(t, err)
	assert.Equal(t, keyring.Withdrawn, e.Withdrawn.State)
	assert.Equal(t, "found on a laptop", e.Withdrawn.Emergency)
	assert.Equal(t, keyring.Active, e.Active.State)
	assert.Equal(t, f.clock.Now().Add(time.Hour), e.Forgotten)
	assert.Equal(t, f.clock.Now().Add(time.Hour), e.Known)
	assert.Equal(t, []string{e.Active.ID}, published(t, f.Issuer))
	assert.Contains(t, f.log.String(), "level=ERROR msg=\"EMERGENCY")
	assert.Empty(t, rows(t, f)[a.ID].Sealed)
	_, err = f.WithdrawNow(t.Context(), a.ID, "again")
	assert.Equal(t, issuer.WrongState, code(t, err))

	// A successor that is announced takes over at once.
	b, err := f.Announce(t.Context(), "")
	require.NoError(t, err)
	f.clock.add(30 * time.Minute)
	e, err = f.WithdrawNow(t.Context(), e.Active.ID, "this one too")
	require.NoError(t, err)
	assert.Equal(t, b.ID, e.Active.ID)
	assert.WithinDuration(t, f.clock.Now().Add(30*time.Minute), e.Known, time.Second)
	f.open()
	assert.Equal(t, []string{b.ID}, published(t, f.Issuer))
}

// TestEmergencyWithoutDisk holds even so, and is written as soon as that works.
func TestEmergencyWithoutDisk(t *testing.T) {
	for _, mode := range []string{"lost", "kept"} {
		t.Run(mode, func(t *testing.T) {
			f := start(t, nil)
			a := f.inState("ES256", keyring.Active)
			f.fault.set(mode)
			e, err := f.WithdrawNow(t.Context(), a.ID, "stolen")
			assert.Equal(t, issuer.NotDurable, code(t, err))
			assert.NotContains(t, published(t, f.Issuer), a.ID)
			assert.Equal(t, e.Active.ID, header(t, f.mint(""))["kid"])
			require.Error(t, f.Maintain(t.Context()))
			assert.NotContains(t, published(t, f.Issuer), a.ID)
			f.fault.set("")
			require.NoError(t, f.Maintain(t.Context()))
			assert.Equal(t, "withdrawn", rows(t, f)[a.ID].State)
			assert.Equal(t, "active", rows(t, f)[e.Active.ID].State)
			f.open()
			assert.Equal(t, []string{e.Active.ID}, published(t, f.Issuer))
		})
	}
}

// TestTwoProcesses have one store: each sees what the other does, and a change on
// old knowledge is refused.
func TestTwoProcesses(t *testing.T) {
	f := start(t, nil)
	a := f.inState("ES256", keyring.Active)
	db, err := sqlite.Open(t.Context(), filepath.Join(f.dir, issuer.DatabaseFile))
	require.NoError(t, err)
	other, err := issuer.New(t.Context(), issuer.Config{Settings: f.Settings(), Store: db, Sealer: sealerAt(t, filepath.Join(f.dir, "sealing.key")), Now: f.clock.Now})
	require.NoError(t, err)
	defer other.Close()

	b, err := f.Rotate(t.Context(), a.ID, false)
	require.NoError(t, err)
	_, err = other.Rotate(t.Context(), a.ID, false)
	assert.Equal(t, issuer.Conflict, code(t, err))
	assert.Contains(t, published(t, other), b.ID, "and now knows")

	e, err := f.WithdrawNow(t.Context(), b.ID, "x")
	require.NoError(t, err)
	assert.Equal(t, a.ID, e.Active.ID)
	e, err = other.WithdrawNow(t.Context(), a.ID, "y") // on old knowledge, but an emergency
	require.NoError(t, err)
	require.NoError(t, f.Maintain(t.Context()))
	assert.Equal(t, []string{e.Active.ID}, published(t, f.Issuer))
}

func TestAlgorithmsChange(t *testing.T) {
	f := start(t, nil)
	es := f.inState("ES256", keyring.Active)
	s := f.Settings()
	require.NoError(t, f.Close())

	s.Algorithms = []string{"ES256", "EdDSA"}
	f.openWith(s)
	require.NoError(t, f.Maintain(t.Context()))
	assert.Equal(t, []string{"announced"}, f.states("EdDSA"), "verifiers hold key sets without it")
	sess, _ := f.session()
	_, err := f.Mint(t.Context(), sess.ID, issuer.TokenRequest{Algorithm: "EdDSA"})
	assert.Equal(t, issuer.NoSigningKey, code(t, err))
	assert.ErrorContains(t, f.Ready(t.Context()), "EdDSA")
	f.pass(time.Hour)
	assert.Equal(t, []string{"active"}, f.states("EdDSA"))
	f.mint("EdDSA")
	require.NoError(t, f.Close())

	s.Algorithms = []string{"EdDSA"}
	f.openWith(s)
	assert.Equal(t, []string{"retiring"}, f.states("ES256"))
	assert.Contains(t, published(t, f.Issuer), es.ID, "its tokens are good for their time")
	assert.Contains(t, string(f.VerifierPolicy()), `"ES256"`)
	_, err = f.Mint(t.Context(), sess.ID, issuer.TokenRequest{Algorithm: "ES256"})
	assert.ErrorContains(t, err, "algorithm: ")
	f.pass(90060 * time.Second)
	assert.NotContains(t, published(t, f.Issuer), es.ID)
}

// TestRun drives real time: a rotation within seconds, by ordinary configuration.
func TestRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := settings()
	s.CacheAge, s.MaxTokenLifetime, s.TokenTTL, s.Skew, s.RotateEvery, s.Announce, s.Retire = 1, 1, 1, 0, 1, 1, 2
	_, err := issuer.Init(t.Context(), dir, s, nil)
	require.NoError(t, err)
	i, err := issuer.Open(t.Context(), dir, issuer.Config{}, nil)
	require.NoError(t, err)
	first := i.Keys()[0].ID
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { i.Run(ctx); close(done) }()
	assert.Eventually(t, func() bool {
		return i.Keys()[0].State == keyring.Withdrawn && i.Keys()[0].ID == first
	}, 8*time.Second, 20*time.Millisecond)
	cancel()
	<-done
	require.NoError(t, i.Close())
}

func TestVerifierFails(t *testing.T) {
	f := start(t, nil)
	require.NoError(t, f.Close())
	assert.True(t, f.keys.closed)
	broken := errors.New("no guest")
	_, err := issuer.Open(t.Context(), f.dir, issuer.Config{NewVerifier: func(context.Context, []byte) (issuer.TokenVerifier, error) { return nil, broken }}, nil)
	assert.ErrorIs(t, err, broken)
}
