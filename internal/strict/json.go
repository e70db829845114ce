// Package strict reads what arrives from outside to the letter: JSON (RFC 8259),
// base64url (RFC 4648 section 5) and the compact serialization (RFC 7515 section
// 7.1). It accepts one spelling of everything and refuses the rest, allocates
// nothing once its buffers have grown, and uses neither reflection nor recursion,
// so that it serves a WebAssembly guest and a native program alike.
package strict

import (
	"unicode/utf8"

	"sessiongate/verdict"
)

// Kind is the kind of a JSON value. Invalid is the kind of an absent one.
type Kind uint8

// The kinds of JSON values.
const (
	Invalid Kind = iota
	Null
	False
	True
	Number
	String
	Array
	Object
)

var kindNames = [...]string{"nothing", "null", "false", "true", "a number", "a string", "an array", "an object"}

// String names the kind as an error message would: "a number".
func (k Kind) String() string { return kindNames[k] }

// Limits bounds one JSON text; a zero field is no bound.
type Limits struct {
	Bytes   int // length of the text
	Depth   int // arrays and objects inside one another
	Members int // members of one object

	// KeepDuplicates lets a repeated member name pass and marks the object, for a
	// reader that drops just the part with the fault (Value.Ambiguous).
	KeepDuplicates bool
}

// node is one value on the tape, in the order of the text: an object is followed
// by key and value of each member, an array by its elements.
type node struct {
	kind    Kind
	escaped bool   // a string with a backslash in it
	twice   bool   // an object with one name twice
	start   uint32 // first byte of the value; of a string, its first quote
	end     uint32 // one past the last byte
	next    uint32 // index of the node behind this one and all it holds
	size    uint32 // elements or members
	hash    uint32 // of a member's name, unescaped
}

// Doc is one parsed JSON text. The zero Doc is ready for Parse, which may be
// called again and again and then allocates only to grow. A Doc and the Values
// read from it are good until the next Parse and as long as the text is unchanged.
type Doc struct {
	src   []byte
	nodes []node
	open  []uint32 // the containers around the current position
	name  []byte   // scratch: an unescaped member name
	other []byte   // scratch: another one, to compare with
	keys  []uint32 // scratch: the names of a large object, in order
	at    int
	want  string
}

// Parse reads src as one JSON text with nothing around it but white space.
// It answers None, Malformed, or TooLarge for a text over a limit.
func (d *Doc) Parse(src []byte, lim Limits) verdict.Reason {
	d.src, d.nodes, d.open, d.at, d.want = src, d.nodes[:0], d.open[:0], 0, ""
	reason := d.parse(lim)
	if reason != verdict.None {
		d.nodes = d.nodes[:0]
	}
	return reason
}

// ErrorOffset is the offset of the byte at which the last Parse gave up.
func (d *Doc) ErrorOffset() int { return d.at }

// ErrorText says what the last Parse wanted there, without a byte of the text.
func (d *Doc) ErrorText() string { return d.want }

// Root is the whole text's value; Invalid after a Parse that failed.
func (d *Doc) Root() Value {
	if len(d.nodes) == 0 {
		return Value{}
	}
	return Value{d: d, stop: uint32(len(d.nodes))}
}

func (d *Doc) fail(at int, want string) verdict.Reason {
	d.at, d.want = at, want
	return verdict.Malformed
}

func (d *Doc) tooLarge(at int, want string) verdict.Reason {
	d.at, d.want = at, want
	return verdict.TooLarge
}

func (d *Doc) parse(lim Limits) verdict.Reason {
	src := d.src
	if lim.Bytes > 0 && len(src) > lim.Bytes || uint64(len(src)) > 1<<31 {
		return d.tooLarge(0, "a shorter text")
	}
	i := 0
	for {
		// A value starts here.
		i = skipSpace(src, i)
		if i == len(src) {
			return d.fail(i, "a value")
		}
		at := uint32(len(d.nodes))
		opened := false
		switch c := src[i]; c {
		case '{', '[':
			if lim.Depth > 0 && len(d.open) == lim.Depth {
				return d.tooLarge(i, "less nesting")
			}
			kind, closer := Array, byte(']')
			if c == '{' {
				kind, closer = Object, '}'
			}
			d.nodes = append(d.nodes, node{kind: kind, start: uint32(i)})
			i = skipSpace(src, i+1)
			if i < len(src) && src[i] == closer {
				i++
				d.nodes[at].end, d.nodes[at].next = uint32(i), at+1
			} else {
				d.open = append(d.open, at)
				opened = true
			}
		case '"':
			end, escaped, reason := d.scanString(i)
			if reason != verdict.None {
				return reason
			}
			d.nodes = append(d.nodes, node{kind: String, escaped: escaped, start: uint32(i), end: uint32(end), next: at + 1})
			i = end
		case 't', 'f', 'n':
			word, kind := "true", True
			if c == 'f' {
				word, kind = "false", False
			} else if c == 'n' {
				word, kind = "null", Null
			}
			if len(src)-i < len(word) || string(src[i:i+len(word)]) != word {
				return d.fail(i, "a value")
			}
			d.nodes = append(d.nodes, node{kind: kind, start: uint32(i), end: uint32(i + len(word)), next: at + 1})
			i += len(word)
		default:
			end := scanNumber(src, i)
			if end < 0 {
				return d.fail(i, "a value")
			}
			d.nodes = append(d.nodes, node{kind: Number, start: uint32(i), end: uint32(end), next: at + 1})
			i = end
		}

		// Behind a value: a comma, or the end of the containers around it.
		for !opened {
			if len(d.open) == 0 {
				if i = skipSpace(src, i); i != len(src) {
					return d.fail(i, "the end of the text")
				}
				return verdict.None
			}
			holder := d.open[len(d.open)-1]
			d.nodes[holder].size++
			i = skipSpace(src, i)
			if i == len(src) {
				return d.fail(i, "a comma or a closing bracket")
			}
			closer := byte(']')
			if d.nodes[holder].kind == Object {
				closer = '}'
			}
			if src[i] == ',' {
				i = skipSpace(src, i+1)
				break
			}
			if src[i] != closer {
				return d.fail(i, "a comma or a closing bracket")
			}
			i++
			d.nodes[holder].end, d.nodes[holder].next = uint32(i), uint32(len(d.nodes))
			d.open = d.open[:len(d.open)-1]
			if closer == '}' && d.nodes[holder].size > few {
				if k := d.repeated(holder); k != 0 {
					d.nodes[holder].twice = true
					if !lim.KeepDuplicates {
						return d.fail(int(d.nodes[k].start), "each member name once")
					}
				}
			}
		}

		// Inside an object a member's name comes first.
		holder := d.open[len(d.open)-1]
		if d.nodes[holder].kind != Object {
			continue
		}
		if lim.Members > 0 && int(d.nodes[holder].size) == lim.Members {
			return d.tooLarge(i, "fewer members")
		}
		if i == len(src) || src[i] != '"' {
			return d.fail(i, "a member name")
		}
		end, escaped, reason := d.scanString(i)
		if reason != verdict.None {
			return reason
		}
		key := node{kind: String, escaped: escaped, start: uint32(i), end: uint32(end), next: uint32(len(d.nodes) + 1)}
		d.name = d.appendText(d.name[:0], &key)
		key.hash = hash(d.name)
		if d.nodes[holder].size < few && d.duplicate(holder, key.hash) {
			d.nodes[holder].twice = true
			if !lim.KeepDuplicates {
				return d.fail(i, "each member name once")
			}
		}
		d.nodes = append(d.nodes, key)
		i = skipSpace(src, end)
		if i == len(src) || src[i] != ':' {
			return d.fail(i, "a colon")
		}
		i++
	}
}

func hash(b []byte) uint32 {
	h := uint32(2166136261)
	for _, c := range b {
		h = (h ^ uint32(c)) * 16777619
	}
	return h
}

func skipSpace(src []byte, i int) int {
	for i < len(src) {
		switch src[i] {
		case ' ', '\t', '\n', '\r':
			i++
		default:
			return i
		}
	}
	return i
}

// scanString reads the string whose first quote is at i and returns the offset
// behind its last quote.
func (d *Doc) scanString(i int) (end int, escaped bool, reason verdict.Reason) {
	src, ascii := d.src, true
	start := i
	for i++; i < len(src); i++ {
		switch c := src[i]; {
		case c == '"':
			if !ascii && !utf8.Valid(src[start:i]) {
				return 0, false, d.fail(start, "UTF-8")
			}
			return i + 1, escaped, verdict.None
		case c < 0x20:
			return 0, false, d.fail(i, "no control byte in a string")
		case c >= 0x80:
			ascii = false
		case c == '\\':
			escaped = true
			n := escapeLen(src[i:])
			if n == 0 {
				return 0, false, d.fail(i, "a known escape")
			}
			i += n - 1
		}
	}
	return 0, false, d.fail(len(src), "a closing quote")
}

// escapeLen is the length of the escape at the start of s: 2, 6, or 12 for a
// surrogate pair; 0 if it is none. A lone surrogate is none: no character has it.
func escapeLen(s []byte) int {
	if len(s) < 2 {
		return 0
	}
	switch s[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		r := hex4(s[2:])
		switch {
		case r < 0 || r >= 0xdc00 && r < 0xe000:
			return 0
		case r < 0xd800 || r >= 0xe000:
			return 6
		}
		if len(s) < 12 || s[6] != '\\' || s[7] != 'u' {
			return 0
		}
		if low := hex4(s[8:]); low < 0xdc00 || low >= 0xe000 {
			return 0
		}
		return 12
	}
	return 0
}

func hex4(s []byte) rune {
	if len(s) < 4 {
		return -1
	}
	var r rune
	for _, c := range s[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// scanNumber returns the offset behind the number at i, or -1.
func scanNumber(src []byte, i int) int {
	if i < len(src) && src[i] == '-' {
		i++
	}
	switch {
	case i < len(src) && src[i] == '0':
		i++
	default:
		n := skipDigits(src, i)
		if n == i {
			return -1
		}
		i = n
	}
	if i < len(src) && src[i] == '.' {
		n := skipDigits(src, i+1)
		if n == i+1 {
			return -1
		}
		i = n
	}
	if i < len(src) && (src[i] == 'e' || src[i] == 'E') {
		i++
		if i < len(src) && (src[i] == '+' || src[i] == '-') {
			i++
		}
		n := skipDigits(src, i)
		if n == i {
			return -1
		}
		i = n
	}
	return i
}

func skipDigits(src []byte, i int) int {
	for i < len(src) && src[i]-'0' < 10 {
		i++
	}
	return i
}

// appendText appends a string node's characters, unescaped.
func (d *Doc) appendText(dst []byte, n *node) []byte {
	raw := d.src[n.start+1 : n.end-1]
	if !n.escaped {
		return append(dst, raw...)
	}
	for i := 0; i < len(raw); {
		c := raw[i]
		if c != '\\' {
			dst = append(dst, c)
			i++
			continue
		}
		switch c = raw[i+1]; c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r := hex4(raw[i+2:])
			i += 6
			if r >= 0xd800 && r < 0xdc00 {
				r = 0x10000 + (r-0xd800)<<10 + (hex4(raw[i+2:]) - 0xdc00)
				i += 6
			}
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, c)
		i += 2
	}
	return dst
}
