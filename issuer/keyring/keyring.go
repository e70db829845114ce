// Package keyring is the contract by which signing keys rotate, as pure code:
// keys and a time in, changed keys out. It makes no key, reads no clock and
// stores nothing.
//
// A key is announced (published, not signing), then active (signing), then
// retiring (published, not signing), then withdrawn (gone). While the contract
// holds, a verifier that goes on using a fetched key set for at most
// Contract.CacheAge knows every key before its first signature, and until its
// last token has run out; and it has forgotten a withdrawn key CacheAge later.
package keyring

import (
	"fmt"
	"slices"
	"time"
)

// State is where a key stands. It only ever grows.
type State uint8

// The states, in the order in which a key passes through them. The zero State
// is none of them.
const (
	Announced State = 1 + iota // published, does not sign yet
	Active                     // published and signing
	Retiring                   // published, signs no more
	Withdrawn                  // not published
)

var stateNames = [...]string{"", "announced", "active", "retiring", "withdrawn"}

// String is the state's name in the API and the store: "announced".
func (s State) String() string {
	if int(s) >= len(stateNames) {
		return ""
	}
	return stateNames[s]
}

// ParseState returns the state of a name; false if there is none.
func ParseState(name string) (State, bool) {
	for i, n := range stateNames {
		if i > 0 && n == name {
			return State(i), true
		}
	}
	return 0, false
}

// Key is what the contract needs to know of a key. A time is zero as long as it
// has not come.
type Key struct {
	ID        string // kid
	Algorithm string // a ring is the keys of one algorithm; each rotates by itself
	State     State

	AnnouncedAt time.Time
	ActivatedAt time.Time
	RetiredAt   time.Time
	WithdrawnAt time.Time

	// ServedSince is since when the running process has published the key without
	// a break. It is not stored: while an issuer is down nobody can fetch the key,
	// so that time does not count as announced.
	ServedSince time.Time
}

// Published reports whether the key stands in the key set.
func (k Key) Published() bool {
	return k.State == Announced || k.State == Active || k.State == Retiring
}

// MaxPublished bounds the published keys of one algorithm, so that a short
// rotation with a long retirement cannot grow the key set without end.
const MaxPublished = 100

// UnsafeError refuses a step that would break the contract now.
type UnsafeError struct {
	Step   string    // "rotation" or "withdrawal"
	Why    string    // what would break
	SafeAt time.Time // when the step becomes safe, if nothing else happens
}

// Error says what is refused, why, and when it becomes safe.
func (e *UnsafeError) Error() string {
	whole := e.SafeAt.Add(time.Second - 1).Truncate(time.Second) // rounded up: by then it is safe
	return fmt.Sprintf("%s is unsafe before %s: %s", e.Step, whole.UTC().Format(time.RFC3339), e.Why)
}

// First is an algorithm's first key, active from now on. It is right only where
// no verifier can hold a key set of this issuer yet, or where an emergency has
// left the algorithm without a key.
func First(now time.Time, id, algorithm string) Key {
	return Key{ID: id, Algorithm: algorithm, State: Active, AnnouncedAt: now, ActivatedAt: now}
}

// Successor is the announced successor of the ring's active key. It takes over by itself
// (Advance) at SafeAt. A ring has one successor at a time, and at most
// MaxPublished keys; otherwise Successor answers an *UnsafeError.
func (c Contract) Successor(now time.Time, ring []Key, id, algorithm string) (Key, error) {
	if next, ok := find(ring, Announced); ok {
		return Key{}, &UnsafeError{Step: "rotation", SafeAt: c.SafeAt(now, next),
			Why: "its successor " + next.ID + " is announced already and takes over then"}
	}
	if published, first := c.published(ring); published >= MaxPublished {
		return Key{}, &UnsafeError{Step: "rotation", SafeAt: first,
			Why: fmt.Sprintf("%d keys of %s are published, the most there may be", published, algorithm)}
	}
	return Key{ID: id, Algorithm: algorithm, State: Announced, AnnouncedAt: now}, nil
}

func (c Contract) published(ring []Key) (n int, firstGone time.Time) {
	for _, k := range ring {
		if k.Published() {
			n++
		}
		if k.State == Retiring {
			if gone := k.RetiredAt.Add(c.Retire); firstGone.IsZero() || gone.Before(firstGone) {
				firstGone = gone
			}
		}
	}
	return n, firstGone
}

// SafeAt is when an announced key may begin to sign: it has been announced for
// Contract.Announce, and this process has published it for the cache age.
func (c Contract) SafeAt(now time.Time, k Key) time.Time {
	served := k.ServedSince
	if served.IsZero() {
		served = now // not published yet
	}
	safe, known := k.AnnouncedAt.Add(c.Announce), served.Add(c.CacheAge)
	if known.After(safe) {
		return known
	}
	return safe
}

// GoneAt is when a retiring key leaves the key set.
func (c Contract) GoneAt(k Key) time.Time { return k.RetiredAt.Add(c.Retire) }

// Advance takes every step that is due and safe and returns the keys it changed:
// an announced key becomes active and the active one retires, a retired key is
// withdrawn. Steps that are not due change nothing, whatever the clock did.
func (c Contract) Advance(now time.Time, ring []Key) []Key {
	var changed []Key
	if next, ok := find(ring, Announced); ok && !now.Before(c.SafeAt(now, next)) {
		changed = activate(now, ring, next)
	}
	for _, k := range ring {
		if k.State == Retiring && !now.Before(c.GoneAt(k)) {
			k.State, k.WithdrawnAt = Withdrawn, now
			changed = append(changed, k)
		}
	}
	return changed
}

func activate(now time.Time, ring []Key, next Key) []Key {
	var changed []Key
	if old, ok := find(ring, Active); ok {
		old.State, old.RetiredAt = Retiring, now
		changed = append(changed, old)
	}
	next.State, next.ActivatedAt = Active, now
	return append(changed, next)
}

// Wanted reports whether a successor has to be announced now: by the schedule,
// or because the ring has no active key.
func (c Contract) Wanted(now time.Time, ring []Key) bool {
	if _, ok := find(ring, Announced); ok {
		return false
	}
	active, ok := find(ring, Active)
	if !ok {
		return true
	}
	published, _ := c.published(ring)
	return c.RotateEvery > 0 && published < MaxPublished && !now.Before(c.announceAt(active))
}

func (c Contract) announceAt(active Key) time.Time {
	return active.ActivatedAt.Add(c.RotateEvery - c.Announce)
}

// Next is when Advance or Wanted has something to do, and zero for never.
func (c Contract) Next(now time.Time, ring []Key) time.Time {
	var next time.Time
	earlier := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	for _, k := range ring {
		switch k.State {
		case Announced:
			earlier(c.SafeAt(now, k))
		case Retiring:
			earlier(c.GoneAt(k))
		}
	}
	_, announced := find(ring, Announced)
	if active, ok := find(ring, Active); ok && !announced && c.RotateEvery > 0 {
		if published, _ := c.published(ring); published < MaxPublished {
			earlier(c.announceAt(active))
		}
	}
	return next
}

// Rotate makes the announced key active at once. If that is not safe yet, or
// nothing is announced, it answers an *UnsafeError.
func (c Contract) Rotate(now time.Time, ring []Key) ([]Key, error) {
	next, ok := find(ring, Announced)
	if !ok {
		return nil, &UnsafeError{Step: "rotation", SafeAt: now.Add(c.Announce),
			Why: "no successor is announced; announced now, one could sign then"}
	}
	if safe := c.SafeAt(now, next); now.Before(safe) {
		return nil, &UnsafeError{Step: "rotation", SafeAt: safe,
			Why: "verifiers may still hold a key set without " + next.ID}
	}
	return activate(now, ring, next), nil
}

// Withdraw takes a key out of the key set if no token of it can be in use: an
// announced key at any time, which calls its rotation off, a retiring key once it
// has retired for Contract.Retire. Otherwise it answers an *UnsafeError.
func (c Contract) Withdraw(now time.Time, ring []Key, id string) ([]Key, error) {
	k, ok := byID(ring, id)
	if !ok || k.State == Withdrawn {
		return nil, nil
	}
	var safe time.Time
	switch k.State {
	case Retiring:
		safe = c.GoneAt(k)
	case Active:
		takeover := now.Add(c.Announce)
		if next, ok := find(ring, Announced); ok {
			takeover = c.SafeAt(now, next)
		}
		safe = takeover.Add(c.Retire)
	}
	if now.Before(safe) {
		return nil, &UnsafeError{Step: "withdrawal", SafeAt: safe, Why: "tokens signed by " + k.ID + " may still be in use"}
	}
	k.State, k.WithdrawnAt = Withdrawn, now
	return []Key{k}, nil
}

// Emergency withdraws a key at once, whatever that breaks: tokens of it are
// refused before their time. An active key's successor takes over at once, known
// to every verifier or not; where there is none, orphaned is true and the ring
// needs a First key.
func (c Contract) Emergency(now time.Time, ring []Key, id string) (changed []Key, orphaned bool) {
	k, ok := byID(ring, id)
	if !ok || k.State == Withdrawn {
		return nil, false
	}
	wasActive := k.State == Active
	k.State, k.WithdrawnAt = Withdrawn, now
	changed = []Key{k}
	if !wasActive {
		return changed, false
	}
	next, ok := find(ring, Announced)
	if !ok {
		return changed, true
	}
	next.State, next.ActivatedAt = Active, now
	return append(changed, next), false
}

// Drop ends a ring whose algorithm is no longer wanted: its active key retires,
// with all the time that its tokens need, and a successor is called off.
func (c Contract) Drop(now time.Time, ring []Key) []Key {
	var changed []Key
	for _, k := range ring {
		switch k.State {
		case Active:
			k.State, k.RetiredAt = Retiring, now
		case Announced:
			k.State, k.WithdrawnAt = Withdrawn, now
		default:
			continue
		}
		changed = append(changed, k)
	}
	return changed
}

func find(ring []Key, s State) (Key, bool) {
	i := slices.IndexFunc(ring, func(k Key) bool { return k.State == s })
	if i < 0 {
		return Key{}, false
	}
	return ring[i], true
}

func byID(ring []Key, id string) (Key, bool) {
	i := slices.IndexFunc(ring, func(k Key) bool { return k.ID == id })
	if i < 0 {
		return Key{}, false
	}
	return ring[i], true
}
