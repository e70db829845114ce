package issuer

import (
	"context"
	"errors"
	"slices"
	"time"

	"sessiongate/issuer/keyring"
)

// KeyInfo is a signing key as an operator sees it.
type KeyInfo struct {
	keyring.Key
	Public    []byte    // the JWK
	ActiveAt  time.Time // an announced key's: when it begins to sign
	GoneAt    time.Time // a retiring key's: when it leaves the key set
	Emergency string    // why it was withdrawn before its time
}

func (i *Issuer) info(e *entry) KeyInfo {
	k := KeyInfo{Key: e.Key, Public: e.public, Emergency: e.emergency}
	switch e.State {
	case keyring.Announced:
		k.ActiveAt = i.contract.SafeAt(i.now(), e.Key)
	case keyring.Retiring:
		k.GoneAt = i.contract.GoneAt(e.Key)
	}
	return k
}

// Keys returns all keys, the withdrawn ones too, in the order in which they were
// made.
func (i *Issuer) Keys() []KeyInfo {
	i.keysMu.Lock()
	defer i.keysMu.Unlock()
	list := make([]KeyInfo, 0, len(i.keys))
	for n := range i.keys {
		list = append(list, i.info(&i.keys[n]))
	}
	return list
}

// Announce publishes a successor for the active key of an algorithm ("": the
// first one configured); it takes over by itself as soon as that is safe. If one
// is announced already, the Error is Unsafe and says when that one takes over.
func (i *Issuer) Announce(ctx context.Context, algorithm string) (KeyInfo, error) {
	if algorithm == "" {
		algorithm = i.settings.Algorithms[0]
	}
	if !slices.Contains(i.settings.Algorithms, algorithm) {
		return KeyInfo{}, Faults{{Field: "algorithm", Problem: "must be one that the issuer is configured for"}}
	}
	i.keysMu.Lock()
	defer i.keysMu.Unlock()
	k, err := i.announce(ctx, i.now(), algorithm)
	if err != nil {
		return KeyInfo{}, unsafe(err)
	}
	return i.info(i.entry(k.ID)), nil
}

// Rotate replaces an active key: kid names it, or its successor. Without a
// successor, one is announced and takes over as soon as that is safe; with
// immediately, an announced one takes over now. Whatever would break the contract
// is refused, with the time at which it becomes safe. It answers the successor.
func (i *Issuer) Rotate(ctx context.Context, kid string, immediately bool) (KeyInfo, error) {
	i.keysMu.Lock()
	defer i.keysMu.Unlock()
	e := i.entry(kid)
	if e == nil {
		return KeyInfo{}, refuse(NotFound, "no signing key %s", kid)
	}
	if e.State != keyring.Active && e.State != keyring.Announced {
		return KeyInfo{}, refuse(WrongState, "key %s is %s: only an active key, or its successor, can be rotated", kid, e.State)
	}
	now, alg := i.now(), e.Algorithm
	ring := i.ring(alg)
	if !immediately && !slices.ContainsFunc(ring, func(k keyring.Key) bool { return k.State == keyring.Announced }) {
		k, err := i.announce(ctx, now, alg)
		if err != nil {
			return KeyInfo{}, unsafe(err)
		}
		return i.info(i.entry(k.ID)), nil
	}
	changed, err := i.contract.Rotate(now, ring)
	if err != nil {
		return KeyInfo{}, unsafe(err)
	}
	if err := i.commit(ctx, i.entries(changed)); err != nil {
		return KeyInfo{}, err
	}
	i.metrics.steps(changed)
	return i.info(i.entry(changed[len(changed)-1].ID)), nil
}

// Withdraw takes a key out of the key set if no token of it can be in use, and
// otherwise refuses with the time from which none can.
func (i *Issuer) Withdraw(ctx context.Context, kid string) (KeyInfo, error) {
	i.keysMu.Lock()
	defer i.keysMu.Unlock()
	e := i.entry(kid)
	if e == nil {
		return KeyInfo{}, refuse(NotFound, "no signing key %s", kid)
	}
	changed, err := i.contract.Withdraw(i.now(), i.ring(e.Algorithm), kid)
	if err != nil {
		return KeyInfo{}, unsafe(err)
	}
	if len(changed) > 0 {
		if err := i.commit(ctx, i.entries(changed)); err != nil {
			return KeyInfo{}, err
		}
	}
	return i.info(i.entry(kid)), nil
}

// Emergency is what an emergency withdrawal led to.
type Emergency struct {
	Withdrawn KeyInfo
	Active    KeyInfo   // the algorithm's active key now; zero if it has none
	Forgotten time.Time // from then on no verifier that reaches the issuer accepts the withdrawn key
	Known     time.Time // from then on every such verifier knows the active key
}

// WithdrawNow withdraws a key at once, before its tokens have run out: for a key
// that is in other hands. It breaks the contract by intent, so it wants a reason,
// logs it as an error and counts it. If the key was signing, its successor signs
// at once, or a new key. The withdrawal holds even if the store fails (Error
// NotDurable); it is then written as soon as the store takes it.
func (i *Issuer) WithdrawNow(ctx context.Context, kid, why string) (Emergency, error) {
	var f Faults
	checkText(&f, "reason", why, true)
	if err := f.Err(); err != nil {
		return Emergency{}, err
	}
	i.keysMu.Lock()
	defer i.keysMu.Unlock()
	var changed []entry
	var notDurable error
	for try := 0; ; try++ {
		var err error
		if changed, err = i.emergency(kid, why); err != nil {
			return Emergency{}, err
		}
		err = i.commit(ctx, changed)
		var e *Error
		if err == nil {
			break
		}
		if errors.As(err, &e) && e.Code == Conflict && try < 3 {
			continue // commit has loaded what the other process did
		}
		i.unsaved = withUnsaved(i.unsaved, changed)
		i.show(changed)
		i.log.Error("emergency withdrawal is not in the database yet; it is lost if this process ends now", "kid", kid, "error", err)
		notDurable = refuse(NotDurable, "the key is withdrawn, but the database did not take it: do not stop this process before it has")
		break
	}
	i.metrics.emergencies.Inc()
	now, alg := i.now(), changed[0].Algorithm
	out := Emergency{Withdrawn: i.info(i.entry(kid)), Forgotten: now.Add(i.contract.CacheAge), Known: now}
	for n := range i.keys {
		if k := &i.keys[n]; k.Algorithm == alg && k.State == keyring.Active {
			out.Active = i.info(k)
			if known := k.ServedSince.Add(i.contract.CacheAge); known.After(now) {
				out.Known = known
			}
		}
	}
	return out, notDurable
}

// emergency is what has to change for a key to be withdrawn at once; the key
// itself comes first.
func (i *Issuer) emergency(kid, why string) ([]entry, error) {
	e := i.entry(kid)
	if e == nil {
		return nil, refuse(NotFound, "no signing key %s", kid)
	}
	if e.State == keyring.Withdrawn {
		return nil, refuse(WrongState, "key %s is withdrawn already", kid)
	}
	now, alg := i.now(), e.Algorithm
	keys, orphaned := i.contract.Emergency(now, i.ring(alg), kid)
	changed := i.entries(keys)
	changed[0].emergency = why
	if orphaned && slices.Contains(i.settings.Algorithms, alg) {
		fresh, err := i.newEntry(func(kid string) (keyring.Key, error) { return keyring.First(now, kid, alg), nil }, alg)
		if err != nil {
			return nil, err
		}
		changed = append(changed, fresh)
	}
	return changed, nil
}

func unsafe(err error) error {
	var u *keyring.UnsafeError
	if errors.As(err, &u) {
		return &Error{Code: Unsafe, Detail: u.Error(), SafeAt: u.SafeAt}
	}
	return err
}
