package policy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/verifier/policy"
)

func compileSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(policy.Schema()))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource("policy.json", doc))
	s, err := c.Compile("policy.json")
	require.NoError(t, err)
	return s
}

func validate(t testing.TB, s *jsonschema.Schema, doc []byte) error {
	t.Helper()
	return s.Validate(decode(t, string(doc)))
}

// onlyParser are the faults that a schema cannot see: what one member means for
// another, key material, and how a number is written. Each has a row of its own in
// TestFaultsOfMeaning.
var onlyParser = []*regexp.Regexp{
	regexp.MustCompile(`^is not strict JSON`),
	regexp.MustCompile(`^is larger than 1 MiB|^is over a bound`),
	regexp.MustCompile(`^is not a whole number, written without fraction`),
	regexp.MustCompile(`^is a version that this build does not know`), // 1.0 is the schema's 1
	regexp.MustCompile(`^is the issuer of element \d+ too`),
	regexp.MustCompile(`^is there already`), // spelled in another way
	regexp.MustCompile(`^is shorter than cooldown`),
	regexp.MustCompile(`^has no key for the algorithms`),
	regexp.MustCompile(`^has \d+ \{segments\}|more than 8 \{segments\}|two \{segments\} of one name`),
	regexp.MustCompile(`^escapes a character that stands for itself|^has an escape of "\*"|^is not in its one spelling|^holds something that no path may hold`),
	regexp.MustCompile(`^is no \{segment\} of path_template`),
	regexp.MustCompile(`^is never reached`),
	regexp.MustCompile(`^reads the same header, once with a scheme`),
	regexp.MustCompile(`^is missing, and Authorization always has one`),   // AUTHORIZATION
	regexp.MustCompile(`(cannot be set|cannot hold a token of its own)$`), // CONTENT_LENGTH
	regexp.MustCompile(`^is a source of tokens too`),
	regexp.MustCompile(`^has the query parameter already`),
	regexp.MustCompile(`^is not base64url without padding`),
	regexp.MustCompile(`^is shorter than HS\d+ wants`),
	regexp.MustCompile(`^stands beside a file of the same issuer`),
	regexp.MustCompile(`^has a member, number \d+, that is not named by an issuer`),
	regexp.MustCompile(`^is not an issuer of the policy`),
	regexp.MustCompile(`^is for an issuer `),
	regexp.MustCompile(`^has no (secret|path|cluster) in host\.`),
	regexp.MustCompile(`^has its (path|secret) in no host member`),
	regexp.MustCompile(`^cannot be (used|fetched) (with|by) host\.`),
}

func onlyParserIndex(problem string) int {
	problem, _, _ = strings.Cut(problem, "; accepted: ")
	return slices.IndexFunc(onlyParser, func(r *regexp.Regexp) bool { return r.MatchString(problem) })
}

// compare holds the two verdicts on one document against each other.
func compare(t *testing.T, s *jsonschema.Schema, what string, doc []byte) (refused bool) {
	t.Helper()
	return compareWith(t, validate(t, s, doc), what, doc)
}

func compareWith(t *testing.T, shape error, what string, doc []byte) (refused bool) {
	t.Helper()
	p, err := policy.Parse(doc, "")
	if err == nil {
		require.NotNil(t, p, what)
		assert.NoError(t, shape, "%s: the parser accepts it", what)
		return false
	}
	require.Nil(t, p, what)
	faults := err.(policy.Errors)
	require.NotEmpty(t, faults, what)
	meaning := 0
	for _, f := range faults {
		if f.Path != "" && f.Path[0] != '/' || f.Problem == "" {
			assert.Fail(t, "a fault without place or problem", "%s: %#v", what, f)
		}
		if onlyParserIndex(f.Problem) >= 0 {
			meaning++
		}
	}
	if shape == nil {
		assert.Equal(t, len(faults), meaning, "%s: the schema accepts it, the parser says:\n%v", what, err)
	}
	return true
}

// anything takes the place of every value: one of each JSON type, and what is of
// use somewhere else. More of its own type follows: numbers around and far beyond
// the bounds, strings of other members.
var (
	anything = []string{`null`, `true`, `false`, `0`, `1`, `1.5`, `""`, `"x"`, `"unchecked"`, `[]`, `["x"]`, `{}`, `{"x":1}`}
	numbers  = []string{`-1`, `301`, `86401`, `1e30`, `-0`, `31536001`, `315360001`, `1e400`, `99999999999999999999`}
	texts    = []string{`"X"`, `" "`, `"é"`, `"a\nb"`, `"none"`, `"HS256"`, `"RS256"`, `"/"`, `"/a b"`, `"/~"`, `"//"`, `"/{a}"`, `"/**"`, `"/a/../b"`,
		`"https://a.example/x"`, `"http://a.example"`, `"https://a.example:443"`, `"HTTPS://A"`, `"cookie"`, `"x-other"`, `"subject"`, `"aal2"`, `"aal9"`, `"%"`, `";"`}
	lists   = []string{`[[]]`, `[1]`, `[""]`, `["x","x"]`, `["x","y"]`, `["unchecked"]`, `[{}]`, `[null]`}
	objects = []string{`{"x":"x"}`, `{"claim":"subject"}`, `{"keys":[]}`, `{"keys":{}}`, `{"keys":[1]}`, `{"":""}`}
)

func replacements(value any) []string {
	switch value.(type) {
	case json.Number:
		return slices.Concat(anything, numbers)
	case string:
		return slices.Concat(anything, texts)
	case []any:
		return slices.Concat(anything, lists)
	case map[string]any:
		return slices.Concat(anything, objects)
	}
	return anything
}

// TestSchemaAgrees takes documents that use every member, and changes them in
// every place in every way that a slip of shape could: both verdicts are the same,
// save for the faults that only the parser can see.
func TestSchemaAgrees(t *testing.T) {
	s := compileSchema(t)
	for _, name := range []string{"full", "file", "unchecked", "keysets"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			original := load(t, name)
			require.False(t, compare(t, s, "unchanged", encode(t, original)))
			total, refused := 0, 0
			try := func(what string) {
				total++
				if compareWith(t, s.Validate(original), what, encode(t, original)) {
					refused++
				}
			}
			walk(original, "", func(path string, value any, put func(any)) {
				for _, v := range replacements(value) {
					put(decode(t, v))
					try(path + " becomes " + v)
				}
				put(value)
				switch value := value.(type) {
				case map[string]any:
					for name, member := range value {
						delete(value, name)
						try(path + "/" + name + " is removed")
						for _, other := range []string{name + "x", strings.ToUpper(name), "", "connection"} {
							if _, there := value[other]; other != name && !there {
								value[other] = member
								try(path + "/" + name + " is renamed " + other)
								delete(value, other)
							}
						}
						value[name] = member
					}
					for _, extra := range []string{`null`, `"subject"`} {
						value["extra"] = decode(t, extra)
						try(path + "/extra is added: " + extra)
						delete(value, "extra")
					}
				case []any:
					put(append(slices.Clone(value), value[0]))
					try(path + " repeats an element")
					for i := range value {
						put(append(slices.Clone(value[:i]), value[i+1:]...))
						try(fmt.Sprintf("%s/%d is removed", path, i))
					}
					if text, ok := value[0].(string); ok {
						many := []any{}
						for i := range 300 {
							many = append(many, fmt.Sprintf("%s-%d", text, i))
						}
						put(many)
						try(path + " has 300 elements")
					}
					put(value)
				case string:
					for _, v := range []string{value + " ", " " + value, strings.ToUpper(value), value + "#", value + "/", value + "%", value + "\x00", value + value} {
						put(v)
						try(path + " becomes " + v)
					}
					put(value)
				}
			})
			t.Logf("%d documents, %d of them refused", total, refused)
			assert.Greater(t, refused, 400)
			assert.Greater(t, total-refused, 20)
			require.False(t, compare(t, s, "unchanged again", encode(t, original)))
		})
	}
}

// walk visits every value of a tree; put replaces it in place.
func walk(v any, path string, visit func(path string, value any, put func(any))) {
	each := func(name string, child any, put func(any)) {
		visit(path+"/"+name, child, put)
		walk(child, path+"/"+name, visit)
	}
	switch v := v.(type) {
	case map[string]any:
		for name, child := range v {
			each(name, child, func(n any) { v[name] = n })
		}
	case []any:
		for i, child := range v {
			each(fmt.Sprint(i), child, func(n any) { v[i] = n })
		}
	}
}

// TestSchemaBounds goes to the bounds of every number that the schema knows: the
// parser has the same.
func TestSchemaBounds(t *testing.T) {
	s := compileSchema(t)
	for _, c := range []struct {
		path      string
		low, high int64
	}{
		{"/policy/issuers/0/leeway", 0, 300},
		{"/policy/issuers/0/max_lifetime", 1, 315_360_000},
		{"/policy/issuers/1/max_stale", 60, 31_536_000}, // not below cooldown
		{"/policy/issuers/1/cooldown", 1, 3600},         // not above max_stale
		{"/policy/rules/2/authentication_age", 1, 315_360_000},
	} {
		for _, v := range []int64{c.low - 1, c.low, c.low + 1, c.high - 1, c.high, c.high + 1} {
			doc := encode(t, edit(t, load(t, "full"), fmt.Sprintf("%s %d", c.path, v)))
			assert.Equal(t, v < c.low || v > c.high, compare(t, s, fmt.Sprint(c.path, " ", v), doc), "%s %d", c.path, v)
		}
	}
	doc := encode(t, edit(t, load(t, "full"), "/policy/issuers/1/max_stale 31536000", "/policy/issuers/1/cooldown 86400"))
	assert.False(t, compare(t, s, "cooldown", doc))
	doc = encode(t, edit(t, load(t, "full"), "/policy/issuers/1/max_stale 31536000", "/policy/issuers/1/cooldown 86401"))
	assert.True(t, compare(t, s, "cooldown", doc))
	assert.Error(t, validate(t, s, doc))
}

// TestSchemaCounts goes to the bound of every list and of the object of identity
// headers.
func TestSchemaCounts(t *testing.T) {
	s := compileSchema(t)
	text := func(form string) func(int) any {
		return func(i int) any { return fmt.Sprintf(form, i) }
	}
	for _, c := range []struct {
		path    string
		limit   int
		element func(int) any
	}{
		{"/policy/issuers/0/audience", 256, text("a%d")},
		{"/policy/issuers/0/authorized_parties", 256, text("a%d")},
		{"/policy/issuers/0/types", 32, text("a%d")},
		{"/policy/sources", 16, func(i int) any { return map[string]any{"cookie": fmt.Sprint("c", i)} }},
		{"/policy/allowed_origins", 256, text("https://a%d.example")},
		{"/policy/rules", 1000, func(i int) any { return map[string]any{"path": fmt.Sprint("/", i)} }},
		{"/policy/rules/1/hosts", 256, text("a%d.example")},
		{"/policy/rules/0/methods", 64, text("M%d")},
		{"/policy/rules/1/session_types", 64, text("t%d")},
		{"/policy/rules/2/permissions_any", 256, text("p%d")},
		{"/policy/rules/2/permissions_all", 256, text("p%d")},
		{"/policy/log", 64, text("/c%d")},
	} {
		for _, n := range []int{1, c.limit, c.limit + 1} {
			list := make([]any, n)
			for i := range list {
				list[i] = c.element(i)
			}
			doc := encode(t, edit(t, load(t, "full"), c.path+" "+string(encode(t, list))))
			assert.Equal(t, n > c.limit, compare(t, s, fmt.Sprint(c.path, " of ", n), doc), "%s of %d", c.path, n)
		}
	}
	for n, refused := range map[int]bool{0: false, 1: false, 64: false, 65: true} {
		headers := map[string]any{}
		for i := range n {
			headers[fmt.Sprint("x-", i)] = "subject"
		}
		doc := encode(t, edit(t, load(t, "full"), "/policy/identity_headers "+string(encode(t, headers))))
		assert.Equal(t, refused, compare(t, s, "identity_headers", doc), n)
	}
	for n, refused := range map[int]bool{1000: false, 1001: true} {
		issuers := make([]any, n)
		for i := range issuers {
			issuers[i] = edit(t, load(t, "minimal").(map[string]any)["policy"].(map[string]any)["issuers"].([]any)[0], fmt.Sprintf(`/issuer "i%d"`, i))
		}
		doc := encode(t, edit(t, load(t, "minimal"), "/policy/issuers "+string(encode(t, issuers))))
		assert.Equal(t, refused, compare(t, s, "issuers", doc), n)
	}
	key := encode(t, load(t, "full").(map[string]any)["policy"].(map[string]any)["issuers"].([]any)[0].(map[string]any)["jwks"].(map[string]any)["keys"].([]any)[0])
	for n, refused := range map[int]bool{1000: false, 1001: true} {
		keys := "[" + strings.Repeat(string(key)+",", n-1) + string(key) + "]"
		doc := encode(t, edit(t, load(t, "full"), "/policy/issuers/0/jwks/keys "+keys))
		assert.Equal(t, refused, compare(t, s, "keys", doc), n)
	}
}

// TestSchemaStrings holds the patterns of the schema against the checks of the
// parser, on strings that are near the edge of what is accepted.
func TestSchemaStrings(t *testing.T) {
	s := compileSchema(t)
	for _, c := range []struct {
		path            string
		accepted, wrong []string
	}{
		{
			"/policy/issuers/1/jwks_uri",
			[]string{"https://a", "https://a/", "https://a.b:1/x?y=%2f", "https://A_b.C/", "https://[::1]:65535/", "https://[2001:DB8::1]", "http://localhost/x", "http://localhost:80",
				"http://127.0.0.1/", "http://127.255.0.9:8080/", "http://[::1]:8/", "https://a?x", "https://xn--e1afmkfd.example/", "https://a/(b)!$&'*+,;=:@[]"},
			[]string{"", "https://", "https:///x", "http://a/", "HTTPS://a/", "ftp://a", "//a", "a", "https://a#", "https://a/#x", "https://u@a/", "https://u:p@a/", "https://a:0/", "https://a:/",
				"https://a:65536/", "https://a:99999/", "https://a:080/", "https://a b/", "https://a/ b", "https://a/%2", "https://a/%zz", "https://a/\\", "https://é.example/", "https://-a/", "https://a-/",
				"https://a..b/", "https://a./", "https://.a/", "https://[::1/", "https://::1/", "https://[1:]/", "https://[g::1]/", "https://[]/", "http://127.1/", "http://127.0.0.256/", "http://127.00.0.1/",
				"http://127.0.0.1.example/", "http://localhost.example/", "http://localhost./", "http://LOCALHOST/", "http://2130706433/", "http://[::2]/", "http://[::ffff:127.0.0.1]/", "http://10.0.0.1/",
				"http://0.0.0.0/", "https://a/\x7f", "https://a/\n", "https://a/<", "https://a\\@b/", "http://localhost@a/", "http://127.0.0.1:80@a/", "https://a/{x}"},
		},
		{
			"/policy/public_origin",
			[]string{"https://a", "https://a.example:8443", "http://localhost:3000", "http://127.0.0.1:1", "https://[::1]", "https://[2001:db8::1]:80", "https://a:80", "http://localhost:443"},
			[]string{"", "null", "*", "https://a/", "https://A", "https://a:443", "http://localhost:80", "https://a?", "https://a#", "http://a", "https://u@a", "https://[2001:DB8::1]", "https://*.a", "chrome-extension://abc", "https://a:"},
		},
		{
			"/policy/rules/1/hosts/0",
			[]string{"a", "a.b", "*.a", "a-b.c_d", "[::1]", "127.0.0.1", "xn--e1afmkfd.example"},
			[]string{"", "*", "*.", "*a", "a.*", "*.*.a", "A", "a:80", "https://a", "a.", ".a", "a..b", "-a", "a-", "[::1]:80", "[::G]", "[::A]", "::1", "a/b", "é", "a b"},
		},
		{
			"/policy/rules/0/methods/0",
			[]string{"POST", "M-SEARCH", "X1"},
			[]string{"", "get", "Get", "1X", "-X", "A B", "A_B", "*", "É"},
		},
		{
			"/policy/rules/0/path",
			[]string{"/", "/a", "/a/", "/a/b.c", "/%20", "/%C3%A9", "/a!$&'()+,:=@~-._", "/..."},
			[]string{"", "a", "*", "/a b", "/é", "/a?b", "/a#b", "/a;b", "//", "/a//b", "/.", "/..", "/a/./b", "/a/../b", "/a/..", "/a%2fb", "/%zz", "/%2", "/a\\b", "/*", "/a*", "/{a}", "/**", "/<"},
		},
		{
			"/policy/rules/3/path_prefix",
			[]string{"/admin", "/admin/", "/a/b/"},
			[]string{"", "admin", "/*", "/a/**", "/a//", "/{a}", "/%5c"},
		},
		{
			"/policy/rules/2/path_template",
			[]string{"/{tenant}", "/{tenant}/", "/t/{tenant}/**", "/a/{tenant}/{_b2}", "/a.b/{tenant}"},
			[]string{"", "{tenant}", "/{tenant", "/tenant}", "/a{tenant}", "/{tenant}b", "/{}", "/{1}/{tenant}", "/{a-b}/{tenant}", "/{tenant}/*", "/**/{tenant}", "//{tenant}", "/{tenant}//", "/../{tenant}", "/{tenant}/./**", "/{tenant}**"},
		},
		{
			"/policy/rules/2/assurance",
			[]string{"aal1", "aal2", "aal3", "gold", "urn:x:y", "https://a/b", "0"},
			[]string{"", "aal0", "aal4", "AAL2", "aal22", "aal", "Aalborg", "a b", `a"b`, `a\b`, "é", strings.Repeat("a", 129)},
		},
		{
			"/policy/sources/2/header",
			[]string{"x-token", "X-Token", "x_token", "AUTHORIZATIONX"},
			[]string{"", "x token", "x:token", "é", "cookie", "host", "connection", "content-length", "proxy-authorization", "x-forwarded-host", ":authority"},
		},
		{
			"/policy/sources/0/scheme",
			[]string{"Bearer", "bearer", "DPoP", "a-b"},
			[]string{"", "Bearer ", "a b", "a:b", "é"},
		},
		{
			"/policy/sources/1/cookie",
			[]string{"__Host-session", "a", "a.b"},
			[]string{"", "a b", "a;b", "a=b", "é", `"a"`},
		},
		{
			"/policy/sources/3/query",
			[]string{"t", "access-token", "a.b~c_"},
			[]string{"", "a b", "a=b", "a&b", "a%20b", "a[b]", "é", "a+b"},
		},
		{
			"/policy/identity_headers/x-user-email",
			[]string{"subject", "issuer", "session", "type", "tenant", "roles", "permissions", "actor", "assurance", "party", "token_id", "authenticated_at", "issued_at", "expires_at", "/a", "/", "/a~0~1/b"},
			[]string{"", "Subject", "sub", "email", "a/b", "/~", "/~2", "/a~"},
		},
		{
			"/policy/identity_headers/x-user-roles/separator",
			[]string{",", ";", "|", "/", ":", "~", "!", "$", "&", "^", "`", "@", "[", "{"},
			[]string{"", " ", "%", "a", "0", "Z", ", ", "é", "\n"},
		},
		{
			"/policy/realm",
			[]string{"a", "a b", "~!#[]", strings.Repeat("a", 128)},
			[]string{"", `a"b`, `a\b`, "é", "a\nb", strings.Repeat("a", 129)},
		},
		{
			"/policy/sign_in/return_to",
			[]string{"to", "redirect_url", "a.b-c~"},
			[]string{"", "a b", "a=b", "é", "a%20"},
		},
		{
			"/policy/issuers/1/types/1",
			[]string{"jwt", "JWT", "application/at+jwt", "a"},
			[]string{"a b", "é", "a\n", " "},
		},
		{
			"/policy/issuers/3/pointers/roles",
			[]string{"/a", "/a/0/b", "/~0~1", "/"},
			[]string{"", "a", "/~", "/~3", "roles", "#/a"},
		},
		{
			"/host/js/secrets/internal",
			[]string{strings.Repeat("A", 43), strings.Repeat("-_", 32)},
			[]string{"", "short", strings.Repeat("A", 42), strings.Repeat("A", 43) + "=", strings.Repeat("A", 42) + "+", strings.Repeat("A", 43) + "\n", " " + strings.Repeat("A", 43)},
		},
	} {
		for _, text := range c.accepted {
			doc := encode(t, edit(t, load(t, "full"), c.path+" "+quote(t, text)))
			_, err := policy.Parse(doc, "")
			assert.NoError(t, err, "%s %q", c.path, text)
			compare(t, s, c.path+" "+text, doc)
		}
		for _, text := range c.wrong {
			doc := encode(t, edit(t, load(t, "full"), c.path+" "+quote(t, text)))
			_, err := policy.Parse(doc, "")
			if assert.Error(t, err, "%s %q", c.path, text) {
				assert.Equal(t, c.path, err.(policy.Errors)[0].Path, "%q: %v", text, err)
			}
			compare(t, s, c.path+" "+text, doc)
		}
	}
}

func quote(t testing.TB, text string) string {
	t.Helper()
	return strings.TrimSpace(string(encode(t, text)))
}

// TestSchemaIsPlain keeps the schema within what every validator knows: patterns
// that mean the same in every dialect of regular expressions, no references out.
func TestSchemaIsPlain(t *testing.T) {
	var root any
	require.NoError(t, json.Unmarshal(policy.Schema(), &root))
	refs := 0
	walk(root, "", func(path string, value any, _ func(any)) {
		text, ok := value.(string)
		switch {
		case !ok:
		case strings.HasSuffix(path, "/pattern"):
			assert.NotRegexp(t, `\(\?|\\[a-zA-Z]`, text, path)
			_, err := regexp.Compile(text)
			assert.NoError(t, err, path)
		case strings.HasSuffix(path, "/$ref"):
			refs++
			assert.True(t, strings.HasPrefix(text, "#/$defs/"), path)
		}
	})
	assert.Positive(t, refs)
	a, b := policy.Schema(), policy.Schema()
	a[0] = 'x'
	assert.NotEqual(t, a[0], b[0], "Schema returns a copy")
}

// TestSchemaOnFiles: each document of testdata/policies that is refused for its
// shape is refused by the schema too, and the others are not.
func TestSchemaOnFiles(t *testing.T) {
	s := compileSchema(t)
	files, err := filepath.Glob(policies + "/*/*.json")
	require.NoError(t, err)
	for _, file := range files {
		doc, err := os.ReadFile(file)
		require.NoError(t, err)
		if !json.Valid(doc) {
			continue
		}
		compare(t, s, file, doc)
	}
}
