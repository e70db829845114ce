package keyring_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sessiongate/issuer/keyring"
)

// verifierSim holds a key set as a verifier does: it goes on using it for its
// max-age, then fetches another one, if the issuer answers.
type verifierSim struct {
	keys     map[string]bool
	madeAt   time.Time // when the issuer made this copy
	fetchAt  time.Time // when the next fetch is due
	viaCache bool      // behind the shared cache, whose Age it does not heed
}

type tokenSim struct {
	kid      string
	iat, exp time.Time
}

// world is an issuer, a shared cache, some verifiers and the tokens around, on a
// simulated clock.
type world struct {
	t   *testing.T
	rnd *rand.Rand
	c   keyring.Contract
	now time.Time

	ring    []keyring.Key
	made    int
	down    bool
	upAt    time.Time
	cache   verifierSim
	all     []*verifierSim
	tokens  []tokenSim
	firstBy map[string]time.Time // first signature of each key
	checked int
}

func (w *world) kid() string { w.made++; return fmt.Sprintf("k%d", w.made) }

func (w *world) published() map[string]bool {
	set := map[string]bool{}
	for _, k := range w.ring {
		if k.Published() {
			set[k.ID] = true
		}
	}
	return set
}

func (w *world) active() keyring.Key {
	var found []keyring.Key
	for _, k := range w.ring {
		if k.State == keyring.Active {
			found = append(found, k)
		}
	}
	require.Len(w.t, found, 1, "exactly one key signs")
	return found[0]
}

func (w *world) change(changed []keyring.Key) {
	before := map[string]keyring.State{}
	for _, k := range w.ring {
		before[k.ID] = k.State
	}
	w.ring = apply(w.ring, changed)
	w.ring = slices.DeleteFunc(w.ring, func(k keyring.Key) bool { // long forgotten
		return k.State == keyring.Withdrawn && w.now.Sub(k.WithdrawnAt) > 20*w.c.CacheAge
	})
	for _, k := range w.ring {
		require.GreaterOrEqual(w.t, k.State, before[k.ID], "no state goes back")
	}
}

func (w *world) announce() {
	k, err := w.c.Successor(w.now, w.ring, w.kid(), "ES256")
	if err != nil {
		return // refused: the contract holds by not acting
	}
	k.ServedSince = w.now
	w.change([]keyring.Key{k})
}

func (w *world) issuerStep() {
	if w.down {
		return
	}
	w.change(w.c.Advance(w.now, w.ring))
	if w.c.Wanted(w.now, w.ring) {
		w.announce()
	}
	// An operator at the console, asking for whatever comes to mind.
	switch w.rnd.IntN(40) {
	case 0:
		w.announce()
	case 1:
		if changed, err := w.c.Rotate(w.now, w.ring); err == nil {
			w.change(changed)
		}
	case 2:
		k := w.ring[w.rnd.IntN(len(w.ring))]
		if changed, err := w.c.Withdraw(w.now, w.ring, k.ID); err == nil {
			w.change(changed)
		}
	case 3: // stop; the keys stay in the store
		w.down, w.upAt = true, w.now.Add(time.Duration(w.rnd.Int64N(int64(3*w.c.CacheAge))))
	}
	if w.rnd.IntN(2) == 0 {
		life := time.Duration(1 + w.rnd.Int64N(int64(w.c.MaxTokenLifetime)))
		kid := w.active().ID
		if _, ok := w.firstBy[kid]; !ok {
			w.firstBy[kid] = w.now
		}
		w.tokens = append(w.tokens, tokenSim{kid, w.now, w.now.Add(life)})
	}
}

func (w *world) fetch(v *verifierSim) {
	if w.now.Before(v.fetchAt) {
		return
	}
	maxAge := w.c.MaxAge()
	switch {
	case v.viaCache:
		if v.madeAt.Equal(w.cache.madeAt) && w.down {
			v.fetchAt = w.now.Add(maxAge / 4)
			return
		}
		v.keys, v.madeAt = w.cache.keys, w.cache.madeAt
	case w.down: // goes on with what it has, and tries again
		v.fetchAt = w.now.Add(maxAge / 4)
		return
	default:
		v.keys, v.madeAt = w.published(), w.now
	}
	v.fetchAt = w.now.Add(maxAge)
}

func (w *world) verify() {
	live := w.tokens[:0]
	for _, tok := range w.tokens {
		// A verifier whose clock is behind by the skew still accepts the token.
		if w.now.Before(tok.exp.Add(w.c.Skew)) {
			live = append(live, tok)
		}
	}
	w.tokens = live
	for _, v := range w.all {
		if v.keys == nil {
			continue
		}
		for range min(3, len(live)) {
			tok := live[w.rnd.IntN(len(live))]
			w.checked++
			require.True(w.t, v.keys[tok.kid], "valid token of %s refused at %s by a verifier with a set of %s", tok.kid, w.now, v.madeAt)
		}
		if !w.down && w.now.Sub(w.upAt) > w.c.CacheAge {
			for _, k := range w.ring {
				if k.State == keyring.Withdrawn && w.now.Sub(k.WithdrawnAt) > w.c.CacheAge {
					require.False(w.t, v.keys[k.ID], "withdrawn key %s still trusted", k.ID)
				}
			}
		}
	}
}

// TestNoValidTokenRefused runs the contract at random: rotations by schedule and
// by hand, restarts, caches in a row, clocks apart. A token that has not run out
// is never refused, and a withdrawn key is forgotten once caches have turned over.
func TestNoValidTokenRefused(t *testing.T) {
	checked, rotations := 0, 0
	for seed := range uint64(25) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		c := keyring.Contract{
			CacheAge:         time.Duration(2+rnd.IntN(60)) * time.Second,
			Skew:             time.Duration(rnd.IntN(10)) * time.Second,
			MaxTokenLifetime: time.Duration(1+rnd.IntN(300)) * time.Second,
		}.WithDefaults()
		c.Announce += time.Duration(rnd.IntN(3)) * time.Second
		if rnd.IntN(4) > 0 {
			c.RotateEvery = c.Announce + c.Retire/20 + time.Duration(rnd.IntN(60))*time.Second
		}
		require.NoError(t, c.Validate())

		w := &world{t: t, rnd: rnd, c: c, now: t0, upAt: t0, firstBy: map[string]time.Time{}}
		w.ring = []keyring.Key{keyring.First(t0, w.kid(), "ES256")}
		w.ring[0].ServedSince = t0
		for i := range 6 {
			w.all = append(w.all, &verifierSim{viaCache: i%2 == 1, fetchAt: t0.Add(time.Duration(rnd.Int64N(int64(c.CacheAge))))})
		}
		for range 1500 {
			w.now = w.now.Add(time.Duration(1 + rnd.Int64N(int64(c.CacheAge/6))))
			if w.down && !w.now.Before(w.upAt) {
				w.down, w.upAt = false, w.now
				for i := range w.ring {
					w.ring[i].ServedSince = w.now
				}
			}
			w.issuerStep()
			w.fetch(&w.cache)
			for _, v := range w.all {
				w.fetch(v)
			}
			w.verify()
		}
		for _, k := range w.ring {
			if first, ok := w.firstBy[k.ID]; ok && k.ID != "k1" {
				require.GreaterOrEqual(t, first.Sub(k.AnnouncedAt), c.Announce, "announced long enough")
			}
		}
		checked += w.checked
		rotations += w.made - 1
	}
	require.Greater(t, checked, 50_000)
	require.Greater(t, rotations, 200)
}
