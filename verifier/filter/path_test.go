package filter_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"sessiongate/verdict"
)

// bad in the second column: refused under "normalize" too.
const bad = "bad"

// spellings: a target as received; whether "refuse" lets it pass; what goes on
// under "normalize". What passes under "refuse" goes on as it was received.
var spellings = []struct {
	target     string
	refuse     bool
	normalized string
}{
	// Plain paths.
	{"/", true, "/"},
	{"/a", true, "/a"},
	{"/a/", true, "/a/"},
	{"/A/b", true, "/A/b"},
	{"/a/b.html", true, "/a/b.html"},
	{"/a-b_c~d.e", true, "/a-b_c~d.e"},
	{"/!$&'()*+,:=@", true, "/!$&'()*+,:=@"},
	{"/...", true, "/..."},
	{"/..a/.b/c..", true, "/..a/.b/c.."},
	{"/.well-known/x", true, "/.well-known/x"},
	{"/a?b=c", true, "/a?b=c"},
	{"/a?", true, "/a?"},
	{"/?/../%2e%2e//\\;", true, "/?/../%2e%2e//\\;"},
	{"/a?b?c", true, "/a?b?c"},
	{"/a?x=%", true, "/a?x=%"},
	{"/a?x=é", true, "/a?x=é"},

	// Escapes of bytes that have to be escaped, and nothing else.
	{"/a%20b", true, "/a%20b"},
	{"/%22%3C%3E%5E%60%7B%7C%7D%5B%5D", true, "/%22%3C%3E%5E%60%7B%7C%7D%5B%5D"},
	{"/%7c", true, "/%7C"}, // lower case is the same escape
	{"/caf%C3%A9", true, "/caf%C3%A9"},
	{"/caf%c3%a9", true, "/caf%C3%A9"},
	{"/%e4%bd%a0", true, "/%E4%BD%A0"},
	{"/%F0%9F%98%80", true, "/%F0%9F%98%80"},
	{"/%EF%BC%8F", true, "/%EF%BC%8F"}, // a full-width slash is a character like any other
	{"/100%25", true, "/100%25"},
	{"/100%25/x", true, "/100%25/x"},
	{"/%25zz", true, "/%25zz"},

	// Escapes of reserved bytes: data, as long as no rule tells them apart (TestReserved).
	{"/a%2Bb", true, "/a%2Bb"},
	{"/a%2bb", true, "/a%2Bb"},
	{"/user%40host", true, "/user%40host"},
	{"/x%3Averb", true, "/x%3Averb"},
	{"/a%2Cb%3Dc%26d", true, "/a%2Cb%3Dc%26d"},
	{"/%21%24%27%28%29%2A", true, "/%21%24%27%28%29%2A"},
	{"/what%3F", true, "/what%3F"},
	{"/c%23", true, "/c%23"},
	{"/a%3F/b", true, "/a%3F/b"},

	// Empty segments.
	{"//", false, "/"},
	{"//a", false, "/a"},
	{"/a//b", false, "/a/b"},
	{"/a//", false, "/a/"},
	{"///a///b///", false, "/a/b/"},
	{"//evil.example/a", false, "/evil.example/a"},
	{"/a//?x", false, "/a/?x"},

	// Dot segments.
	{"/.", false, "/"},
	{"/./", false, "/"},
	{"/..", false, "/"},
	{"/../a", false, "/a"},
	{"/../../a", false, "/a"},
	{"/a/.", false, "/a/"},
	{"/a/./b", false, "/a/b"},
	{"/a/..", false, "/"},
	{"/a/../b", false, "/b"},
	{"/a/b/..", false, "/a/"},
	{"/a/b/../../c", false, "/c"},
	{"/a//../b", false, "/b"},
	{"/a/.//b", false, "/a/b"},
	{"/a/../?x=1", false, "/?x=1"},

	// Dot segments and slashes, escaped.
	{"/%2e", false, "/"},
	{"/%2E%2E/a", false, "/a"},
	{"/%2e./a", false, "/a"},
	{"/.%2e/a", false, "/a"},
	{"/a/%2e%2e/b", false, "/b"},
	{"/a%2f..%2fb", false, "/b"},
	{"/a%2Fb", false, "/a/b"},
	{"/a%2f", false, "/a/"},
	{"/%2f", false, "/"},
	{"/%2fa", false, "/a"},
	{"/a/%2e%2e%2f%2e%2e/b", false, "/b"},

	// Backslashes.
	{`/a\b`, false, "/a/b"},
	{`/a\..\b`, false, "/b"},
	{`/\evil.example`, false, "/evil.example"},
	{"/a%5Cb", false, "/a/b"},
	{"/a%5c..%5cb", false, "/b"},
	{`/a/..\`, false, "/"},

	// Escapes that nothing needs.
	{"/%61", false, "/a"},
	{"/%61dmin", false, "/admin"},
	{"/a%2Db%5Fc%7E", false, "/a-b_c~"},
	{"/%30", false, "/0"},

	// Escapes that are missing.
	{"/a|b", false, "/a%7Cb"},
	{"/a[0]", false, "/a%5B0%5D"},
	{"/{a}", false, "/%7Ba%7D"},
	{"/\"<>^`", false, "/%22%3C%3E%5E%60"},
	{"/a b", false, "/a%20b"},
	{"/café", false, "/caf%C3%A9"},
	{"/\xe4\xbd\xa0", false, "/%E4%BD%A0"},

	// Escapes of escapes.
	{"/%252f", false, bad},
	{"/%252e%252e/a", false, bad},
	{"/%25252f", false, bad},
	{"/%2541", false, bad},
	{"/%25%34%31", false, bad},
	{"/%25%32f", false, bad},
	{"/%254%31", false, bad},
	{"/%2525", false, bad},

	// Parameters.
	{"/a;b", false, bad},
	{"/a;jsessionid=1", false, bad},
	{"/;/a", false, bad},
	{"/a/..;/b", false, bad},
	{"/a/..;x=1/b", false, bad},
	{"/a%3Bb", false, bad},
	{"/a%3b/..", false, bad},

	// Broken escapes.
	{"/%", false, bad},
	{"/%2", false, bad},
	{"/a%zz", false, bad},
	{"/%2g", false, bad},
	{"/%%32%65", false, bad},
	{"/%u002f", false, bad},
	{"/a%?b", false, bad},
	{"/% 2e", false, bad},

	// Controls.
	{"/a\x00", false, bad},
	{"/a%00", false, bad},
	{"/a%00.html", false, bad},
	{"/a\tb", false, bad},
	{"/a%09", false, bad},
	{"/a\r\nx: y", false, bad},
	{"/a%0d%0a", false, bad},
	{"/a\x7f", false, bad},
	{"/a%7F", false, bad},
	{"/a?b\x00", false, bad},
	{"/a?b c", false, bad},
	{"/a?b\r\nx: y", false, bad},

	// Bytes that are no UTF-8.
	{"/%ff", false, bad},
	{"/\xff", false, bad},
	{"/%E9", false, bad},           // Latin-1
	{"/%c0%af", false, bad},        // "/", overlong
	{"/%c0%ae%c0%ae/", false, bad}, // "..", overlong
	{"/%e0%80%af", false, bad},     // "/", overlong
	{"/%f0%80%80%af", false, bad},  // "/", overlong
	{"/%ed%a0%80", false, bad},     // a surrogate
	{"/%f4%90%80%80", false, bad},  // beyond Unicode
	{"/%c3", false, bad},           // cut off
	{"/%c3/%a9", false, bad},       // cut apart
	{"/%c3a", false, bad},          // cut off
	{"/%a9", false, bad},           // without a beginning
	{"/\xc3%a9", false, "/%C3%A9"}, // half escaped
	{"/%e4%bd\xa0", false, "/%E4%BD%A0"},

	// Other forms of request target (RFC 9112 section 3.2).
	{"", false, "/"},
	{"?x=1", false, "/?x=1"},
	{"*", false, bad},
	{"a", false, bad},
	{"a/b", false, bad},
	{"./a", false, bad},
	{"../a", false, bad},
	{"%2fa", false, bad},
	{`\a`, false, bad},
	{"api.example:443", false, bad},
	{"http://api.example/a", false, bad},
	{"https://evil.example", false, bad},
	{" /a", false, bad},
	{"#", false, bad},

	// Fragments.
	{"/a#b", false, bad},
	{"/#", false, bad},
	{"/a#?b", false, bad},
	{"/a?b#c", false, bad},
}

func TestSpellings(t *testing.T) {
	assert.GreaterOrEqual(t, len(spellings), 100)
	const rules = `"rules": [{"path_prefix": "/", "access": "public"}]`
	refuse := newFilter(t, rules)
	normalize := newFilter(t, rules+`, "paths": "normalize"`)
	seen := make(map[string]bool)
	for _, s := range spellings {
		assert.False(t, seen[s.target], "%q is there twice", s.target)
		seen[s.target] = true

		d := refuse.Decide(request(s.target), now)
		if s.refuse {
			assert.True(t, d.Forward, "%q passes", s.target)
			assert.Empty(t, d.Path, "%q goes on as it is", s.target)
		} else {
			assert.False(t, d.Forward, "%q is refused", s.target)
			assert.Equal(t, verdict.BadPath, d.Reason, s.target)
			assert.Equal(t, 400, d.Status)
		}
		d = normalize.Decide(request(s.target), now)
		if s.normalized == bad {
			assert.Equal(t, verdict.BadPath, d.Reason, "%q is refused when normalising", s.target)
			continue
		}
		assert.True(t, d.Forward, "%q passes when normalising: %v", s.target, d.Reason)
		got := d.Path
		if got == "" {
			got = s.target
		}
		assert.Equal(t, s.normalized, got, s.target)
		d = normalize.Decide(request(got), now)
		assert.True(t, d.Forward, "%q again", got)
		assert.Empty(t, d.Path, "what %q was made of has its one spelling", s.target)
	}
}

// No spelling of a protected path gets through the public rule behind it.
func TestWalkAround(t *testing.T) {
	const rules = `"rules": [{"path": "/admin"}, {"path_prefix": "/admin/"}, {"path": "/@me"}, {"path_prefix": "/caf%C3%A9"},
		{"path_prefix": "/", "access": "public"}]`
	for _, mode := range []string{"refuse", "normalize"} {
		f := newFilter(t, rules+`, "paths": "`+mode+`"`)
		for _, target := range []string{
			"/admin", "/admin/", "/admin/x", "/admin?x", "//admin", "/./admin", "/x/../admin", "/%61dmin", "/%61%64%6d%69%6e",
			"/admin/%2e", "/admin%2f", "/admin%2fx", "/x/%2e%2e/admin", "/x%2f..%2fadmin", `/x\..\admin`, `\admin`, "/x%5c..%5cadmin",
			"/admin;x", "/;x/admin", "/x/..;/admin", "/admin%3Bx", "/admin%00", "/admin%3F", "/admin%3Fx=1", "/admin%23", "/admin#", "/admin%0a",
			"/%2561dmin", "/%25%36%31dmin", "/admin%c0%af", "/admin%2F%2E%2E%2Fadmin", "/admin/..%3F/../admin/x", "/x/..%3F",
			"http://api.example/admin", "admin", "/admin/../admin", "/@me", "/%40me", "/%40me?x", "/caf%c3%a9", "/caf%C3%a9/x", "/café",
		} {
			d := f.Decide(request(target), now)
			if d.Forward {
				assert.Fail(t, "got through", "%s: %q as %q", mode, target, d.Path)
			}
			assert.Contains(t, []verdict.Reason{verdict.BadPath, verdict.MissingToken}, d.Reason)
		}
		for _, target := range []string{"/administrator", "/adm", "/x/admin", "/caf", "/me", "/", "/wiki/What%3F", "/tag/c%23", "/a%40b"} {
			assert.True(t, f.Decide(request(target), now).Forward, target)
		}
	}
}

// An escape of a reserved byte is data, unless a rule or the tenant of one depends
// on how a server reads it.
func TestReserved(t *testing.T) {
	f := newFilter(t, `"rules": [
		{"path_prefix": "/open/a+b", "access": "public"},
		{"path_prefix": "/open/x", "access": "public"},
		{"path_template": "/t/{tenant}/**", "tenant_segment": "tenant"},
		{"path_prefix": "/"}]`)
	bearer := "Authorization: Bearer " + mint(t, claims{"tenant_id": "t+1"})
	for target, want := range map[string]verdict.Reason{
		"/open/a+b":        verdict.None,
		"/open/a%2Bb":      verdict.BadPath, // public for one server, not for another
		"/open/x/a%2Bb":    verdict.None,
		"/open/x/a%3Fb":    verdict.None,
		"/open/x%3Fb":      verdict.BadPath,
		"/open%3F/x":       verdict.None, // needs the token either way
		"/t/t+1/x":         verdict.None,
		"/t/t%2B1/x":       verdict.None, // the same tenant either way
		"/t/t%2b1/x":       verdict.None,
		"/t/t%2B1/x%3Fy":   verdict.None,
		"/t/t+1%3Fx/y":     verdict.BadPath,
		"/t/t%2B1%23/y":    verdict.BadPath,
		"/t/t%252B1/x":     verdict.BadPath,
		"/t/t1/x":          verdict.Tenant,
		"/t/T+1/x":         verdict.Tenant,
		"/t/t%201/x":       verdict.Tenant,
		"/t/t+1/..%3F/t/x": verdict.BadPath, // cut off, it ends in ".."
	} {
		assert.Equal(t, want, f.Decide(request(target, bearer), now).Reason, target)
	}
}
