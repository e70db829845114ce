package strict

// Value is one value of a Doc. It is passed by value; the zero Value is absent.
type Value struct {
	d      *Doc
	i      uint32 // its node
	stop   uint32 // one past the last node of what holds it
	member bool   // the node before it is its name
}

func (v Value) node() *node { return &v.d.nodes[v.i] }

// Kind is the value's kind; Invalid if it is absent.
func (v Value) Kind() Kind {
	if v.d == nil {
		return Invalid
	}
	return v.node().kind
}

// Len is the number of elements of an array or members of an object, else 0.
func (v Value) Len() int {
	if v.d == nil {
		return 0
	}
	return int(v.node().size)
}

// Offset is where the value starts in the text.
func (v Value) Offset() int {
	if v.d == nil {
		return 0
	}
	return int(v.node().start)
}

// Raw is the value as it is written in the text, quotes included.
func (v Value) Raw() []byte {
	if v.d == nil {
		return nil
	}
	return v.d.src[v.node().start:v.node().end]
}

// Ambiguous reports whether the value is or holds an object with one member name
// twice, which only Limits.KeepDuplicates lets pass.
func (v Value) Ambiguous() bool {
	if v.d == nil {
		return false
	}
	for _, n := range v.d.nodes[v.i:v.node().next] {
		if n.twice {
			return true
		}
	}
	return false
}

// First is the first element, or the value of the first member.
func (v Value) First() Value {
	if v.Len() == 0 {
		return Value{}
	}
	c := Value{d: v.d, i: v.i + 1, stop: v.node().next}
	if v.node().kind == Object {
		c.i, c.member = c.i+1, true
	}
	return c
}

// Next is the element, or the value of the member, behind this one.
func (v Value) Next() Value {
	if v.d == nil {
		return Value{}
	}
	v.i = v.node().next
	if v.i >= v.stop {
		return Value{}
	}
	if v.member {
		v.i++
	}
	return v
}

// Key is the name of the member whose value this is; "" for anything else.
func (v Value) Key() string {
	if v.d == nil || !v.member {
		return ""
	}
	return string(v.d.appendText(nil, &v.d.nodes[v.i-1]))
}

// KeyIs reports whether the value is that of a member named name.
func (v Value) KeyIs(name string) bool {
	return v.d != nil && v.member && v.d.equal(&v.d.nodes[v.i-1], name)
}

// Member is the value of an object's member; absent if there is none.
func (v Value) Member(name string) Value {
	if v.Kind() != Object {
		return Value{}
	}
	for c := v.First(); c.d != nil; c = c.Next() {
		if c.KeyIs(name) {
			return c
		}
	}
	return Value{}
}

// Text is a string's characters, unescaped; false for any other kind.
func (v Value) Text() (string, bool) {
	if v.Kind() != String {
		return "", false
	}
	if n := v.node(); !n.escaped {
		return string(v.d.src[n.start+1 : n.end-1]), true
	}
	return string(v.d.appendText(nil, v.node())), true
}

// AppendText appends a string's characters to dst; false for any other kind.
func (v Value) AppendText(dst []byte) ([]byte, bool) {
	if v.Kind() != String {
		return dst, false
	}
	return v.d.appendText(dst, v.node()), true
}

// Is reports whether the value is a string and equal to s.
func (v Value) Is(s string) bool { return v.Kind() == String && v.d.equal(v.node(), s) }

func (d *Doc) equal(n *node, s string) bool {
	if !n.escaped {
		return string(d.src[n.start+1:n.end-1]) == s
	}
	d.other = d.appendText(d.other[:0], n)
	return string(d.other) == s
}

// Int is a number written without fraction and exponent, in at most 18 digits.
func (v Value) Int() (int64, bool) {
	if v.Kind() != Number {
		return 0, false
	}
	raw := v.Raw()
	negative := raw[0] == '-'
	if negative {
		raw = raw[1:]
	}
	if len(raw) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range raw {
		if c-'0' > 9 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if negative {
		n = -n
	}
	return n, true
}

// MaxMillis bounds what Millis accepts, in either direction: the end of the year
// 9999, the last that RFC 3339 can write.
const MaxMillis = 253402300799_999

// Millis reads a NumericDate (RFC 7519 section 2), a number of seconds, as
// milliseconds. A fraction of a millisecond is rounded up, so that "now >= exp"
// and "now < nbf" hold for whole milliseconds exactly when they hold for the
// number as written. It answers false for any other kind and beyond MaxMillis.
func (v Value) Millis() (int64, bool) {
	if v.Kind() != Number {
		return 0, false
	}
	raw := v.Raw()
	negative := raw[0] == '-'
	if negative {
		raw = raw[1:]
	}
	// The digits run up to the exponent; point is how many stand before the
	// decimal point once the value is in milliseconds.
	digits, point, exponent := raw, -1, 0
	for i, c := range raw {
		if c == '.' {
			point = i
		}
		if c == 'e' || c == 'E' {
			digits, exponent = raw[:i], saturatingInt(raw[i+1:])
			break
		}
	}
	if point < 0 {
		point = len(digits)
	}
	point += exponent + 3
	var n int64
	place, rest := 0, false
	for _, c := range digits {
		if c == '.' {
			continue
		}
		place++
		if place <= point {
			if n > MaxMillis {
				return 0, false
			}
			n = n*10 + int64(c-'0')
		} else if c != '0' {
			rest = true
		}
	}
	for ; n != 0 && place < point; place++ {
		if n > MaxMillis {
			return 0, false
		}
		n *= 10
	}
	if rest && !negative {
		n++
	}
	if n > MaxMillis {
		return 0, false
	}
	if negative {
		n = -n
	}
	return n, true
}

// saturatingInt reads an exponent; beyond a million it stays there, which is
// far outside every bound and cannot overflow.
func saturatingInt(s []byte) int {
	negative := s[0] == '-'
	if negative || s[0] == '+' {
		s = s[1:]
	}
	n := 0
	for _, c := range s {
		if n < 1_000_000 {
			n = n*10 + int(c-'0')
		}
	}
	if negative {
		return -n
	}
	return n
}

// Pointer resolves a JSON Pointer (RFC 6901): "" is the value itself.
func (v Value) Pointer(p string) Value {
	for p != "" && v.d != nil {
		if p[0] != '/' {
			return Value{}
		}
		p = p[1:]
		n := 0
		for n < len(p) && p[n] != '/' {
			n++
		}
		token := p[:n]
		p = p[n:]
		switch v.Kind() {
		case Object:
			v = v.reference(token)
		case Array:
			i, ok := arrayIndex(token)
			if !ok || i >= v.Len() {
				return Value{}
			}
			for v = v.First(); i > 0; i-- {
				v = v.Next()
			}
		default:
			return Value{}
		}
	}
	return v
}

// reference is Member for a reference token, in which "~1" is "/" and "~0" is "~".
func (v Value) reference(token string) Value {
	for i := 0; i < len(token); i++ {
		if token[i] == '~' {
			return v.Member(unescapeToken(token))
		}
	}
	return v.Member(token)
}

func unescapeToken(token string) string {
	b := make([]byte, 0, len(token))
	for i := 0; i < len(token); i++ {
		c := token[i]
		if c == '~' && i+1 < len(token) && (token[i+1] == '0' || token[i+1] == '1') {
			i++
			c = "~/"[token[i]-'0']
		}
		b = append(b, c)
	}
	return string(b)
}

func arrayIndex(token string) (int, bool) {
	if token == "" || len(token) > 6 || len(token) > 1 && token[0] == '0' {
		return 0, false
	}
	n := 0
	for i := 0; i < len(token); i++ {
		if token[i]-'0' > 9 {
			return 0, false
		}
		n = n*10 + int(token[i]-'0')
	}
	return n, true
}

// ValidPointer reports whether p is a JSON Pointer (RFC 6901 section 3).
func ValidPointer(p string) bool {
	if p != "" && p[0] != '/' {
		return false
	}
	for i := 0; i < len(p); i++ {
		if p[i] == '~' && (i+1 == len(p) || p[i+1] != '0' && p[i+1] != '1') {
			return false
		}
	}
	return true
}
