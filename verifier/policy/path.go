package policy

// Paths are judged in one spelling, so that a rule sees what the upstream will
// see. Spell says how far a request's path is from that spelling and NormalPath
// brings it there; the patterns of rules must be written in it from the start.
// docs/policy.md has the table of spellings.

// Spelling is a set of things to know about how a path is written. The zero
// Spelling is a path that can be read in one way only.
type Spelling uint8

// What a Spelling may hold.
const (
	// Invalid paths have no harmless reading: refused whatever the policy says.
	Invalid Spelling = 1 << iota
	// Loose paths mean another thing to a server that normalises than to one that
	// does not: empty and dot segments, backslashes, escapes of "/", "\" and of
	// bytes that need none, bytes that need an escape and have none.
	Loose
	// LowerHex paths hold an escape in lower case. It means the same (RFC 3986
	// section 2.1), but patterns are written in upper case.
	LowerHex
	// Reserved paths hold an escape of a byte that may stand in a path as it is, or
	// would end it: one server tells "%2B" and "%3F" from "+" and "?", another does
	// not (RFC 3986 section 2.2).
	Reserved
)

// The classes of bytes in a path.
const (
	classPlain    uint8 = iota // unreserved
	classReserved              // may stand as it is; its escape is another spelling
	classEnd                   // "?" and "#": end a path unless escaped
	classSlash                 // "/" and "\": separate segments for some server, escaped or not
	classEscape                // has to be escaped
	classHigh                  // part of a character outside ASCII
	classNever                 // controls, escaped or not; ";", which hides what follows from some servers
)

var classes = func() (t [256]uint8) {
	for i := range t {
		switch c := byte(i); {
		case c >= 0x80:
			t[i] = classHigh
		case c < ' ' || c == 0x7f:
			t[i] = classNever
		case isAlnum(c):
			t[i] = classPlain
		default:
			t[i] = classEscape
		}
	}
	for class, bytes := range [...]string{
		classPlain:    "-._~",
		classReserved: "!$&'()*+,:=@",
		classEnd:      "?#",
		classSlash:    `/\`,
		classNever:    ";",
	} {
		for i := 0; i < len(bytes); i++ {
			t[bytes[i]] = uint8(class)
		}
	}
	return t
}()

// escape reads the two digits behind a "%" at i.
func escape[T string | []byte](path T, i int) (c byte, lower, ok bool) {
	if len(path)-i < 3 {
		return 0, false, false
	}
	high, low := unhex(path[i+1]), unhex(path[i+2])
	return high<<4 | low, path[i+1] >= 'a' || path[i+2] >= 'a', high|low < 16
}

func unhex(c byte) byte {
	switch {
	case isDigit(c):
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 0x10
}

// Spell looks at the path of a request target, without its query.
func Spell[T string | []byte](path T) (s Spelling) {
	if len(path) == 0 {
		return Loose // RFC 3986 section 6.2.3: the same as "/"
	}
	if path[0] != '/' {
		return Invalid // "*", "host:443", "https://host/path"
	}
	var char utf8Char
	segment := 1 // where the current one starts
	for i := 0; i < len(path); {
		c, width, lower, escaped := path[i], 1, false, false
		if c == '%' {
			if c, lower, escaped = escape(path, i); !escaped {
				return Invalid
			}
			width = 3
		}
		class := classes[c]
		if !char.next(c) {
			return Invalid
		}
		if lower {
			s |= LowerHex
		}
		switch {
		case class == classNever || class == classEnd && !escaped:
			return Invalid
		case class == classSlash:
			if c == '\\' || escaped {
				s |= Loose
			}
			if i > 0 && (i == segment || dots(path[segment:i])) {
				s |= Loose
			}
			segment = i + width
		case class == classEscape && !escaped, class == classHigh && !escaped, class == classPlain && escaped:
			s |= Loose
		case (class == classReserved || class == classEnd) && escaped:
			s |= Reserved
		case c == '%' && doubled(path, i+width):
			return Invalid
		}
		i += width
	}
	if !char.done() {
		return Invalid
	}
	if dots(path[segment:]) {
		s |= Loose
	}
	return s
}

// doubled reports whether an escaped "%" makes an escape with what follows it: to
// a server that decodes twice the path would be another one.
func doubled[T string | []byte](path T, i int) bool {
	return len(path)-i >= 2 && unhex(path[i])|unhex(path[i+1]) < 16
}

func dots[T string | []byte](segment T) bool {
	return len(segment) > 0 && len(segment) <= 2 && segment[0] == '.' && segment[len(segment)-1] == '.'
}

// utf8Char checks that the bytes outside ASCII are UTF-8: shortest form, no
// surrogates (RFC 3629 section 4).
type utf8Char struct{ left, low, high byte }

func (u *utf8Char) next(c byte) bool {
	if u.left > 0 {
		ok := c >= u.low && c <= u.high
		u.left, u.low, u.high = u.left-1, 0x80, 0xbf
		return ok
	}
	u.low, u.high = 0x80, 0xbf
	switch {
	case c < 0x80:
	case c >= 0xc2 && c <= 0xdf:
		u.left = 1
	case c >= 0xe0 && c <= 0xef:
		u.left = 2
		if c == 0xe0 {
			u.low = 0xa0
		} else if c == 0xed {
			u.high = 0x9f
		}
	case c >= 0xf0 && c <= 0xf4:
		u.left = 3
		if c == 0xf0 {
			u.low = 0x90
		} else if c == 0xf4 {
			u.high = 0x8f
		}
	default:
		return false
	}
	return true
}

func (u *utf8Char) done() bool { return u.left == 0 }

const upperHex = "0123456789ABCDEF"

// NormalPath appends the path in its one spelling: escapes decoded where the byte
// needs none and in upper case where it does, every kind of slash a "/", no empty
// and no dot segments. It answers false for a path that has no such spelling.
func NormalPath(dst []byte, path string) ([]byte, bool) {
	if Spell(path)&Invalid != 0 {
		return dst, false
	}
	start := len(dst)
	dst = append(dst, '/')
	for i := 0; i < len(path); {
		c, width := path[i], 1
		if c == '%' {
			c, _, _ = escape(path, i)
			width = 3
		}
		switch class := classes[c]; {
		case class == classSlash:
			if dst[len(dst)-1] != '/' {
				dst = append(dst, '/')
			}
		case class == classPlain, class == classReserved && width == 1:
			dst = append(dst, c)
		default:
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
		i += width
	}
	dst = dst[:start+removeDots(dst[start:])]
	// What was decoded may have completed a double escape: "%25%34%31".
	return dst, Spell(dst[start:])&(Invalid|Loose|LowerHex) == 0
}

// removeDots takes the dot segments out of a path without empty ones, in place
// (RFC 3986 section 5.2.4), and returns its new length.
func removeDots(path []byte) int {
	n := 1
	for i := 1; i < len(path); {
		end := i
		for end < len(path) && path[end] != '/' {
			end++
		}
		segment, last := path[i:end], end == len(path)
		switch {
		case len(segment) == 2 && dots(segment):
			if n > 1 {
				n = afterLastSlash(path[:n-1])
			}
		case dots(segment):
		default:
			n += copy(path[n:], segment)
			if !last {
				path[n] = '/'
				n++
			}
		}
		i = end + 1
	}
	return n
}

// afterLastSlash is one past the last slash.
func afterLastSlash(path []byte) int {
	n := len(path)
	for path[n-1] != '/' {
		n--
	}
	return n
}

// ReadReserved appends the path as a server would read it that takes the escape
// of a reserved byte for the byte. If an escaped "?" or "#" then ends the path, cut
// is how long it is for such a server, else it is the whole length. The path must
// be neither Invalid nor Loose.
func ReadReserved(dst []byte, path string) (read []byte, cut int) {
	start, cut := len(dst), -1
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c != '%' {
			dst = append(dst, c)
			continue
		}
		c, _, _ = escape(path, i)
		switch class := classes[c]; {
		case class == classReserved:
			dst = append(dst, c)
		default:
			if class == classEnd && cut < 0 {
				cut = len(dst) - start
			}
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
		i += 2
	}
	if cut < 0 {
		cut = len(dst) - start
	}
	return dst, cut
}
