// Package jwks reads JSON Web Key Sets (RFC 7517), one key at a time, indexes
// their verification keys by kid, and decides, without doing any I/O, when a set
// is to be fetched again.
package jwks

import (
	"errors"

	"sessiongate/internal/strict"
	"sessiongate/verdict"
)

// The bounds of a key set document.
const (
	MaxBytes = 1 << 20 // length of the text
	MaxKeys  = 1000    // elements of keys
)

// The ways in which a whole document is unusable.
var (
	ErrTooLarge = errors.New("key set is over 1 MiB, 1,000 keys or 32 levels")
	ErrNotJSON  = errors.New("key set is not strict JSON")
	ErrNoKeys   = errors.New(`key set has no array "keys"`)
)

// Set is an immutable set of verification keys, indexed by kid.
type Set struct {
	keys    []*Key
	byID    map[string][]group
	noID    [algorithmCount]choice // for tokens without kid
	skipped []Skipped
}

// group holds the keys of one kid and one kty.
type group struct {
	key       *Key
	ambiguous bool       // several keys of different material
	fits      algorithms // of all of them
}

// choice is the only key for an algorithm, or that there are several.
type choice struct {
	key       *Key
	ambiguous bool
}

// Skipped is a key that cannot be used, and why; the others stay usable.
type Skipped struct {
	Index int    // in the array "keys"
	KeyID string // its kid, if that could be read
	Why   string
}

// Parse reads a JWK Set. Keys that cannot be used to verify are skipped and
// reported. The error is ErrTooLarge, ErrNotJSON or ErrNoKeys; a set without one
// usable key is no error here, but no good update either: see Len.
func Parse(document []byte) (*Set, error) {
	var doc strict.Doc
	switch doc.Parse(document, strict.Limits{Bytes: MaxBytes, Depth: 32, Members: 256, KeepDuplicates: true}) {
	case verdict.None:
	case verdict.TooLarge:
		return nil, ErrTooLarge
	default:
		return nil, ErrNotJSON
	}
	root := doc.Root()
	list := root.Member("keys")
	if list.Kind() != strict.Array {
		return nil, ErrNoKeys
	}
	for m := root.First(); m.Kind() != strict.Invalid; m = m.Next() {
		if m.KeyIs("keys") && m.Offset() != list.Offset() {
			return nil, ErrNotJSON // "keys" twice: which one is meant is anyone's guess
		}
	}
	if list.Len() > MaxKeys {
		return nil, ErrTooLarge
	}
	s := &Set{byID: make(map[string][]group)}
	index := 0
	for v := list.First(); v.Kind() != strict.Invalid; v = v.Next() {
		key, id, why := parseKey(v)
		if why != "" {
			s.skipped = append(s.skipped, Skipped{index, id, why})
		} else {
			s.add(key)
		}
		index++
	}
	return s, nil
}

// add puts a key into the indexes: one kid twice with the same material is one
// key; with the same kty and different material neither is used.
func (s *Set) add(key *Key) {
	s.keys = append(s.keys, key)
	for a := ES256; a < algorithmCount; a++ {
		if !key.fits.has(a) {
			continue
		}
		if c := &s.noID[a]; c.key == nil {
			c.key = key
		} else if c.key.material != key.material {
			c.ambiguous = true
		}
	}
	if !key.hasID {
		return
	}
	groups := s.byID[key.id]
	for i := range groups {
		g := &groups[i]
		if g.key.kty != key.kty {
			continue
		}
		if g.fits |= key.fits; g.key.material != key.material {
			g.ambiguous = true
		} else {
			merged := *g.key // the first key stays as it is: noID holds it too
			merged.fits |= key.fits
			g.key = &merged
		}
		return
	}
	s.byID[key.id] = append(groups, group{key: key, fits: key.fits})
}

// Len is the number of usable keys.
func (s *Set) Len() int {
	if s == nil {
		return 0
	}
	return len(s.keys)
}

// Selects reports whether some token can find its key in the set. It is false for
// a set in which every key has a double of other material.
func (s *Set) Selects() bool {
	if s == nil {
		return false
	}
	for _, c := range s.noID {
		if c.key != nil && !c.ambiguous {
			return true
		}
	}
	for _, groups := range s.byID {
		for _, g := range groups {
			if !g.ambiguous {
				return true
			}
		}
	}
	return false
}

// Keys returns the usable keys, in the document's order.
func (s *Set) Keys() []*Key { return append([]*Key(nil), s.keys...) }

// Skipped returns the keys that were left out, in the document's order.
func (s *Set) Skipped() []Skipped { return append([]Skipped(nil), s.skipped...) }

// KeyIDs returns the kid of each usable key that has one, in the document's order.
func (s *Set) KeyIDs() []string {
	var ids []string
	for _, k := range s.keys {
		if k.hasID {
			ids = append(ids, k.id)
		}
	}
	return ids
}

// Find returns the key for a token's header: the one of its kid, or, where the
// header has none, the only one that fits the algorithm. Otherwise the Reason is
// UnknownKey, AmbiguousKey, or AlgorithmNotAllowed for a key of that kid that
// does not go with the algorithm.
func (s *Set) Find(id []byte, hasID bool, a Algorithm) (*Key, verdict.Reason) {
	if s == nil || a >= algorithmCount {
		return nil, verdict.UnknownKey
	}
	if !hasID {
		switch c := s.noID[a]; {
		case c.key == nil:
			return nil, verdict.UnknownKey
		case c.ambiguous:
			return nil, verdict.AmbiguousKey
		default:
			return c.key, verdict.None
		}
	}
	groups := s.byID[string(id)]
	if len(groups) == 0 {
		return nil, verdict.UnknownKey
	}
	for i := range groups {
		if g := &groups[i]; g.fits.has(a) {
			if g.ambiguous {
				return nil, verdict.AmbiguousKey
			}
			return g.key, verdict.None
		}
	}
	return nil, verdict.AlgorithmNotAllowed
}
