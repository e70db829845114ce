package filter

import (
	"strings"

	"sessiongate/verifier/policy"
)

// target is a request target, taken apart.
type target struct {
	path      string // as it goes on: as received, or normalised
	query     string // with its "?", "" if there is none
	judged    string // the path in its one spelling, which rules see
	rewritten bool   // path is not the received one
	reserved  bool   // judged holds escapes of reserved bytes
}

// readTarget takes the target apart and brings the path into its one spelling. It
// answers false for a path that the policy wants refused.
func (f *Filter) readTarget(raw string) bool {
	t := target{path: raw}
	if i := strings.IndexByte(raw, '?'); i >= 0 {
		t.path, t.query = raw[:i], raw[i:]
	}
	// No rule looks at the query, so it may be spelled in any way that leaves it
	// a query: white space and controls would end the request line for some
	// server, and a fragment has no place in a request (RFC 9112 section 3.2).
	for i := 0; i < len(t.query); i++ {
		if c := t.query[i]; c <= ' ' || c == 0x7f || c == '#' {
			return false
		}
	}
	spelling := policy.Spell(t.path)
	if spelling&policy.Invalid != 0 || spelling&policy.Loose != 0 && !f.policy.NormalizePaths {
		return false
	}
	t.judged = t.path
	if spelling&(policy.Loose|policy.LowerHex) != 0 {
		var ok bool
		if f.buf, ok = policy.NormalPath(f.buf[:0], t.path); !ok {
			return false
		}
		t.judged = string(f.buf)
		if f.policy.NormalizePaths {
			t.path, t.rewritten = t.judged, true
		}
	}
	t.reserved = spelling&policy.Reserved != 0
	f.target = t
	return true
}

// unescape reads the byte at i of s and how many bytes spell it. A "%" that begins
// no escape stands for itself; plus says that "+" is a space, as in a query.
func unescape(s string, i int, plus bool) (c byte, width int) {
	switch c = s[i]; {
	case c == '+' && plus:
		return ' ', 1
	case c == '%' && len(s)-i >= 3:
		high, low := unhex(s[i+1]), unhex(s[i+2])
		if high|low < 16 {
			return high<<4 | low, 3
		}
	}
	return c, 1
}

func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 0x10
}

// spells reports whether raw, percent-decoded once, is text.
func spells(raw, text string, plus bool) bool {
	n := 0
	for i := 0; i < len(raw); {
		c, width := unescape(raw, i, plus)
		if n == len(text) || text[n] != c {
			return false
		}
		n++
		i += width
	}
	return n == len(text)
}
