package issuer

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sessiongate/issuer/keyring"
	"sessiongate/issuer/store"
)

// entry is one signing key in memory.
type entry struct {
	keyring.Key
	public    []byte        // the JWK
	sealed    []byte        // as in the store; nil once the key signs no more
	private   crypto.Signer // nil unless announced or active
	emergency string
}

// signer is an active key at work.
type signer struct {
	kid     string
	alg     string
	private crypto.Signer
}

// snapshot is what the outside sees of the keys at one moment.
type snapshot struct {
	signers map[string]*signer // by algorithm
	jwks    []byte
	etag    string
}

// openKeys loads the keys when the issuer starts, ends rings whose algorithm is
// no longer configured and begins those that are new.
func (i *Issuer) openKeys(ctx context.Context) error {
	i.keysMu.Lock()
	defer i.keysMu.Unlock()
	if err := i.loadKeys(ctx); err != nil {
		return err
	}
	now := i.now()
	first := i.revision == 0 // nobody can hold a key set of this issuer yet
	var changed []entry
	for _, alg := range i.ringNames() {
		ring := i.ring(alg)
		switch configured := slices.Contains(i.settings.Algorithms, alg); {
		case !configured:
			changed = append(changed, i.entries(i.contract.Drop(now, ring))...)
		case len(ring) == 0 && first:
			e, err := i.newEntry(func(kid string) (keyring.Key, error) { return keyring.First(now, kid, alg), nil }, alg)
			if err != nil {
				return err
			}
			changed = append(changed, e)
		}
	}
	if len(changed) > 0 {
		if err := i.commit(ctx, changed); err != nil {
			return err
		}
	}
	i.publish()
	return nil
}

// ringNames are the configured algorithms, then others that keys are left of.
func (i *Issuer) ringNames() []string {
	names := slices.Clone(i.settings.Algorithms)
	for _, e := range i.keys {
		if !slices.Contains(names, e.Algorithm) {
			names = append(names, e.Algorithm)
		}
	}
	return names
}

func (i *Issuer) ring(alg string) []keyring.Key {
	var ring []keyring.Key
	for _, e := range i.keys {
		if e.Algorithm == alg {
			ring = append(ring, e.Key)
		}
	}
	return ring
}

// entries are the entries of changed keys, as they are after the change.
func (i *Issuer) entries(changed []keyring.Key) []entry {
	out := make([]entry, 0, len(changed))
	for _, k := range changed {
		e := *i.entry(k.ID)
		e.Key = k
		if k.State == keyring.Retiring || k.State == keyring.Withdrawn {
			e.sealed, e.private = nil, nil // it never signs again: nobody shall be able to
		}
		out = append(out, e)
	}
	return out
}

func (i *Issuer) entry(kid string) *entry {
	n := slices.IndexFunc(i.keys, func(e entry) bool { return e.ID == kid })
	if n < 0 {
		return nil
	}
	return &i.keys[n]
}

// newEntry makes a key, if place allows it.
func (i *Issuer) newEntry(place func(kid string) (keyring.Key, error), alg string) (entry, error) {
	if _, err := place(""); err != nil { // before the work: an RSA key takes its time
		return entry{}, err
	}
	kid, private, public, err := newKey(alg)
	if err != nil {
		return entry{}, err
	}
	k, err := place(kid)
	if err != nil {
		return entry{}, err
	}
	sealed, err := i.seal(kid, private)
	return entry{Key: k, public: public, sealed: sealed, private: private}, err
}

// loadKeys replaces what is in memory by what is in the store. A key that was
// published before and still is has been served without a break.
func (i *Issuer) loadKeys(ctx context.Context) error {
	revision, stored, err := i.store.Keys(ctx)
	if err != nil {
		return err
	}
	now := i.now()
	keys := make([]entry, 0, len(stored))
	for _, k := range stored {
		state, ok := keyring.ParseState(k.State)
		if !ok {
			return fmt.Errorf("signing key %s: state %q is unknown", k.ID, k.State)
		}
		e := entry{public: k.Public, sealed: k.Sealed, emergency: k.Emergency, Key: keyring.Key{ID: k.ID, Algorithm: k.Algorithm,
			State: state, AnnouncedAt: k.AnnouncedAt, ActivatedAt: k.ActivatedAt, RetiredAt: k.RetiredAt, WithdrawnAt: k.WithdrawnAt}}
		old := i.entry(k.ID)
		if e.Published() {
			e.ServedSince = now
			if old != nil && old.Published() {
				e.ServedSince = old.ServedSince
			}
		}
		if state == keyring.Announced || state == keyring.Active {
			if old != nil && old.private != nil {
				e.private = old.private
			} else if e.private, err = i.unseal(k.ID, k.Algorithm, k.Sealed); err != nil {
				return err
			}
		}
		keys = append(keys, e)
	}
	i.revision, i.keys = revision, keys
	for _, e := range i.unsaved { // an emergency stays one, whatever the store says
		i.put(e)
	}
	return nil
}

func (i *Issuer) put(e entry) {
	if old := i.entry(e.ID); old != nil {
		*old = e
		return
	}
	i.keys = append(i.keys, e)
}

// commit writes changed keys and then shows them to the outside: nothing signs
// or is published that the store does not have.
func (i *Issuer) commit(ctx context.Context, changed []entry) error {
	changed = withUnsaved(i.unsaved, changed)
	rows := make([]store.Key, len(changed))
	for n, e := range changed {
		rows[n] = store.Key{ID: e.ID, Algorithm: e.Algorithm, State: e.State.String(), Public: e.public, Sealed: e.sealed, Emergency: e.emergency,
			AnnouncedAt: e.AnnouncedAt, ActivatedAt: e.ActivatedAt, RetiredAt: e.RetiredAt, WithdrawnAt: e.WithdrawnAt}
	}
	revision, err := i.store.SaveKeys(ctx, i.revision, rows)
	if err != nil {
		// Whether it was written is not known: what the store says now counts.
		if loadErr := i.loadKeys(ctx); loadErr == nil {
			i.publish()
		}
		if errors.Is(err, store.ErrConflict) {
			return refuse(Conflict, "the keys were changed by another process meanwhile; try again")
		}
		return err
	}
	i.revision, i.unsaved = revision, nil
	i.show(changed)
	return nil
}

func withUnsaved(unsaved, changed []entry) []entry {
	var all []entry
	for _, e := range unsaved {
		if !slices.ContainsFunc(changed, func(c entry) bool { return c.ID == e.ID }) {
			all = append(all, e)
		}
	}
	return append(all, changed...)
}

// show puts changed keys in force and tells of it.
func (i *Issuer) show(changed []entry) {
	for _, e := range changed {
		i.put(e)
		attrs := []any{"kid", e.ID, "algorithm", e.Algorithm, "state", e.State.String()}
		if e.emergency != "" && e.State == keyring.Withdrawn {
			i.log.Error("EMERGENCY: signing key withdrawn before its time; its tokens are refused from now on",
				append(attrs, "why", e.emergency, "forgotten_by", i.now().Add(i.contract.CacheAge).UTC())...)
			continue
		}
		i.log.Info("signing key changed", attrs...)
	}
	i.publish()
}

// publish makes the snapshot of the keys in memory and hands the key set to the
// verifier.
func (i *Issuer) publish() {
	now := i.now()
	s := &snapshot{signers: map[string]*signer{}}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	set.Keys = []json.RawMessage{}
	counts := map[[2]string]int{}
	for _, alg := range i.ringNames() {
		for n := range i.keys {
			e := &i.keys[n]
			if e.Algorithm != alg {
				continue
			}
			counts[[2]string{alg, e.State.String()}]++
			if !e.Published() {
				continue
			}
			if e.ServedSince.IsZero() {
				e.ServedSince = now
			}
			set.Keys = append(set.Keys, e.public)
			if e.State == keyring.Active {
				s.signers[alg] = &signer{kid: e.ID, alg: alg, private: e.private}
			}
		}
	}
	doc, err := json.Marshal(set)
	if err != nil {
		// Each member was made by newKey; a damaged one must not take the rest along.
		i.log.Error("key set cannot be written; the last one stays", "error", err)
		return
	}
	sum := sha256.Sum256(doc)
	s.jwks, s.etag = doc, `"`+base64.RawURLEncoding.EncodeToString(sum[:12])+`"`
	old := i.live.Swap(s)
	i.metrics.showKeys(counts)
	if i.verifier != nil && (old == nil || old.etag != s.etag) {
		if err := i.verifier.UpdateKeys(i.settings.Issuer, doc); err != nil {
			i.log.Error("verifier did not take the key set", "error", err)
		}
	}
}

// JWKS is the published key set, its ETag, and how long it may be cached.
func (i *Issuer) JWKS() (doc []byte, etag string, maxAge time.Duration) {
	s := i.live.Load()
	return s.jwks, s.etag, i.contract.MaxAge()
}

// maintainKeys takes the steps that are due.
func (i *Issuer) maintainKeys(ctx context.Context) error {
	i.keysMu.Lock()
	defer i.keysMu.Unlock()
	revision, err := i.store.KeyRevision(ctx)
	if err != nil {
		return err
	}
	if revision != i.revision {
		if err := i.loadKeys(ctx); err != nil {
			return err
		}
		i.publish()
	}
	if len(i.unsaved) > 0 {
		if err := i.commit(ctx, nil); err != nil {
			return err
		}
	}
	var errs []error
	for _, alg := range i.ringNames() {
		errs = append(errs, i.maintainRing(ctx, alg))
	}
	return errors.Join(errs...)
}

func (i *Issuer) maintainRing(ctx context.Context, alg string) error {
	now := i.now()
	if changed := i.contract.Advance(now, i.ring(alg)); len(changed) > 0 {
		if err := i.commit(ctx, i.entries(changed)); err != nil {
			return err
		}
		i.metrics.steps(changed)
	}
	if slices.Contains(i.settings.Algorithms, alg) && i.contract.Wanted(now, i.ring(alg)) {
		_, err := i.announce(ctx, now, alg)
		return err
	}
	return nil
}

func (i *Issuer) announce(ctx context.Context, now time.Time, alg string) (keyring.Key, error) {
	e, err := i.newEntry(func(kid string) (keyring.Key, error) {
		return i.contract.Successor(now, i.ring(alg), kid, alg)
	}, alg)
	if err == nil {
		err = i.commit(ctx, []entry{e})
	}
	return e.Key, err
}

func (i *Issuer) nextStep(now time.Time) time.Time {
	i.keysMu.Lock()
	defer i.keysMu.Unlock()
	var next time.Time
	for _, alg := range i.settings.Algorithms {
		if t := i.contract.Next(now, i.ring(alg)); !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	return next
}
