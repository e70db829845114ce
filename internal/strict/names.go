package strict

import (
	"bytes"
	"cmp"
	"slices"
)

// few is how many members of an object are looked through for each new name. The
// names of a larger object are sorted when it ends: a token full of members must
// not cost more than the check of its signature, and whoever makes it up could
// choose names that a hash table is slow with.
const few = 8

// duplicate reports whether the object already has a member of the name in d.name.
// Names are compared unescaped: "\u0069ss" is "iss".
func (d *Doc) duplicate(object, hash uint32) bool {
	k := object + 1
	for n := d.nodes[object].size; n > 0; n-- {
		if d.nodes[k].hash == hash {
			d.other = d.appendText(d.other[:0], &d.nodes[k])
			if string(d.other) == string(d.name) {
				return true
			}
		}
		k = d.nodes[k+1].next
	}
	return false
}

// repeated is the first name of the object that an earlier member has, 0 if each
// has its own.
func (d *Doc) repeated(object uint32) uint32 {
	d.keys = d.keys[:0]
	for k := object + 1; k < d.nodes[object].next; k = d.nodes[k+1].next {
		d.keys = append(d.keys, k)
	}
	slices.SortFunc(d.keys, func(a, b uint32) int {
		if c := d.compareNames(a, b); c != 0 {
			return c
		}
		return cmp.Compare(a, b)
	})
	first := uint32(0)
	for i := 1; i < len(d.keys); i++ {
		if k := d.keys[i]; (first == 0 || k < first) && d.compareNames(d.keys[i-1], k) == 0 {
			first = k
		}
	}
	return first
}

// compareNames orders two names, each a node, in some way that puts the same name
// side by side.
func (d *Doc) compareNames(a, b uint32) int {
	x, y := &d.nodes[a], &d.nodes[b]
	if x.hash != y.hash {
		return cmp.Compare(x.hash, y.hash)
	}
	if !x.escaped && !y.escaped {
		return bytes.Compare(d.src[x.start+1:x.end-1], d.src[y.start+1:y.end-1])
	}
	d.name, d.other = d.appendText(d.name[:0], x), d.appendText(d.other[:0], y)
	return bytes.Compare(d.name, d.other)
}
