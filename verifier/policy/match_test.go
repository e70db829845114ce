package policy_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/verifier/policy"
)

func TestParsePath(t *testing.T) {
	for _, c := range []struct {
		kind    policy.PathKind
		text    string
		problem string // a part of it; "" if the text is fine
	}{
		{policy.PathExact, "/", ""},
		{policy.PathExact, "/a", ""},
		{policy.PathExact, "/a/", ""},
		{policy.PathExact, "/v1/x:verb", ""},
		{policy.PathExact, "/@me/a+b,c=d", ""},
		{policy.PathExact, "/caf%C3%A9", ""},
		{policy.PathExact, "/a%20b", ""},
		{policy.PathExact, "/...", ""},
		{policy.PathExact, "/100%25", ""},
		{policy.PathExact, "", "begin with a slash"},
		{policy.PathExact, "a", "begin with a slash"},
		{policy.PathExact, "https://host/a", "begin with a slash"},
		{policy.PathExact, "/a//b", "one spelling"},
		{policy.PathExact, "//a", "one spelling"},
		{policy.PathExact, "/a/./b", "one spelling"},
		{policy.PathExact, "/a/..", "one spelling"},
		{policy.PathExact, "/a/.", "one spelling"},
		{policy.PathExact, `/a\b`, "one spelling"},
		{policy.PathExact, "/%61", "one spelling"},
		{policy.PathExact, "/a%2Fb", "one spelling"},
		{policy.PathExact, "/café", "one spelling"},
		{policy.PathExact, "/a b", "one spelling"},
		{policy.PathExact, "/a|b", "one spelling"},
		{policy.PathExact, "/a%2Bb", "stands for itself"},
		{policy.PathExact, "/a%3Fb", "stands for itself"},
		{policy.PathExact, "/a%23b", "stands for itself"},
		{policy.PathExact, "/a%2A", "stands for itself"},
		{policy.PathExact, "/caf%c3%a9", "lower case"},
		{policy.PathExact, "/a?b", "no path may hold"},
		{policy.PathExact, "/a#b", "no path may hold"},
		{policy.PathExact, "/a;b", "no path may hold"},
		{policy.PathExact, "/a%00", "no path may hold"},
		{policy.PathExact, "/a%", "no path may hold"},
		{policy.PathExact, "/a%252f", "no path may hold"},
		{policy.PathExact, "/%ff", "no path may hold"},
		{policy.PathExact, "/a/*", "no wildcard"},
		{policy.PathExact, "/a/{b}", "braces"},
		{policy.PathPrefix, "/", ""},
		{policy.PathPrefix, "/api", ""},
		{policy.PathPrefix, "/api/", ""},
		{policy.PathPrefix, "/api/**", "no wildcard"},
		{policy.PathTemplate, "/", ""},
		{policy.PathTemplate, "/**", ""},
		{policy.PathTemplate, "/a", ""},
		{policy.PathTemplate, "/a/", ""},
		{policy.PathTemplate, "/{a}", ""},
		{policy.PathTemplate, "/{a}/{b_2}/", ""},
		{policy.PathTemplate, "/t/{a}/x/**", ""},
		{policy.PathTemplate, "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}", ""},
		{policy.PathTemplate, "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}", "more than 8"},
		{policy.PathTemplate, "/{a}/{a}", "two {segments}"},
		{policy.PathTemplate, "/x{a}", "whole segment"},
		{policy.PathTemplate, "/{a}x", "whole segment"},
		{policy.PathTemplate, "/{a", "whole segment"},
		{policy.PathTemplate, "/a}", "whole segment"},
		{policy.PathTemplate, "/{", "whole segment"},
		{policy.PathTemplate, "/{}", "name is not made"},
		{policy.PathTemplate, "/{1a}", "name is not made"},
		{policy.PathTemplate, "/{a-b}", "name is not made"},
		{policy.PathTemplate, "/{a/b}", "whole segment"},
		{policy.PathTemplate, "/a//{b}", "empty segment"},
		{policy.PathTemplate, "//{b}", "empty segment"},
		{policy.PathTemplate, "/a//", "empty segment"},
		{policy.PathTemplate, "/a//**", "empty segment"},
		{policy.PathTemplate, "/**/a", `not "/**" at the end`},
		{policy.PathTemplate, "/a/*", `not "/**" at the end`},
		{policy.PathTemplate, "/a**", `not "/**" at the end`},
		{policy.PathTemplate, "/../{a}", "one spelling"},
		{policy.PathTemplate, "{a}", "begin with a slash"},
	} {
		p, problem := policy.ParsePath(c.kind, c.text)
		if c.problem == "" {
			assert.Empty(t, problem, c.text)
			assert.Equal(t, c.text, p.String())
			assert.Equal(t, c.kind, p.Kind())
		} else {
			assert.Contains(t, problem, c.problem, c.text)
			_, ok := p.Match(c.text)
			assert.False(t, ok, "a bad pattern matches nothing: %s", c.text)
		}
	}
}

func TestPathMatch(t *testing.T) {
	type kind = policy.PathKind
	for _, c := range []struct {
		kind  kind
		text  string
		yes   []string
		never []string
	}{
		{policy.PathExact, "/", []string{"/"}, []string{"/a", "", "//"}},
		{policy.PathExact, "/a", []string{"/a"}, []string{"/a/", "/A", "/ab", "/", "/a/b"}},
		{policy.PathExact, "/a/", []string{"/a/"}, []string{"/a", "/a/b"}},
		{policy.PathPrefix, "/", []string{"/", "/a", "/a/b/"}, []string{""}},
		{policy.PathPrefix, "/api", []string{"/api", "/api/", "/api/x/y"}, []string{"/apix", "/api-v2", "/ap", "/API", "/x/api", "/api%20"}},
		{policy.PathPrefix, "/api/", []string{"/api/", "/api/x"}, []string{"/api", "/apix/"}},
		{policy.PathTemplate, "/", []string{"/"}, []string{"/a", ""}},
		{policy.PathTemplate, "/**", []string{"/", "/a", "/a/b/"}, []string{"", "*"}},
		{policy.PathTemplate, "/{a}", []string{"/x", "/%20"}, []string{"/", "/x/", "/x/y"}},
		{policy.PathTemplate, "/{a}/", []string{"/x/"}, []string{"/", "/x", "/x/y"}},
		{policy.PathTemplate, "/t/{a}/u/{b}", []string{"/t/1/u/2"}, []string{"/t/1/u", "/t/1/u/", "/t/1/u/2/", "/t/1/u/2/3", "/t/1/U/2", "/t//u/2", "/x/1/u/2"}},
		{policy.PathTemplate, "/t/{a}/**", []string{"/t/1", "/t/1/", "/t/1/x", "/t/1/x/y/"}, []string{"/t", "/t/", "/tt/1", "/t//x"}},
	} {
		p, problem := policy.ParsePath(c.kind, c.text)
		require.Empty(t, problem)
		for _, path := range c.yes {
			_, ok := p.Match(path)
			assert.True(t, ok, "%s matches %s", c.text, path)
		}
		for _, path := range c.never {
			_, ok := p.Match(path)
			assert.False(t, ok, "%s does not match %q", c.text, path)
		}
	}
	var none policy.PathPattern
	_, ok := none.Match("/")
	assert.False(t, ok)
}

func TestSegments(t *testing.T) {
	p, problem := policy.ParsePath(policy.PathTemplate, "/t/{tenant}/u/{id}/**")
	require.Empty(t, problem)
	assert.True(t, p.HasSegment("id"))
	assert.False(t, p.HasSegment("u"))
	seg, ok := p.Match("/t/a%20b/u/7/x")
	require.True(t, ok)
	tenant, ok := seg.Raw("tenant")
	assert.True(t, ok)
	assert.Equal(t, "a%20b", tenant)
	id, ok := seg.Raw("id")
	assert.True(t, ok)
	assert.Equal(t, "7", id)
	_, ok = seg.Raw("other")
	assert.False(t, ok)
}

func TestCleanHost(t *testing.T) {
	for host, want := range map[string]string{
		"":                    "",
		"api.example":         "api.example",
		"API.example":         "API.example",
		"api.example:8080":    "api.example",
		"api.example:":        "api.example",
		"api.example.":        "api.example",
		"api.example.:443":    "api.example",
		"127.0.0.1:80":        "127.0.0.1",
		"my_service:80":       "my_service",
		"[::1]":               "[::1]",
		"[::1]:8443":          "[::1]",
		"[2001:db8::1.2.3.4]": "[2001:db8::1.2.3.4]",
	} {
		got, ok := policy.CleanHost(host)
		assert.True(t, ok, host)
		assert.Equal(t, want, got, host)
	}
	for _, host := range []string{
		".", "..", "api..example", ".example", "api.example..", ":80", "api.example:80:80", "api.example:http", "api.example:123456",
		"api.example ", " api.example", "api.example,evil", "user@api.example", "api.example/x", "api%2eexample", "bücher.example",
		"[::1", "::1", "[::1]x", "[::1]:x", "[]", "[evil]", "api.example\x00", "api.example\t",
	} {
		_, ok := policy.CleanHost(host)
		assert.False(t, ok, "%q", host)
	}
}

func TestRuleMatch(t *testing.T) {
	path, problem := policy.ParsePath(policy.PathPrefix, "/")
	require.Empty(t, problem)
	rule := policy.Rule{Hosts: []string{"api.example", "*.tenants.example", "[::1]"}, Methods: []string{"GET", "PUT"}, Path: path}
	for _, c := range []struct {
		method, host string
		want         bool
	}{
		{"GET", "api.example", true},
		{"PUT", "API.Example:8443", true},
		{"GET", "api.example.", true},
		{"GET", "a.tenants.example", true},
		{"GET", "b.a.TENANTS.example:1", true},
		{"GET", "[::1]:80", true},
		{"GET", "tenants.example", false},
		{"GET", ".tenants.example", false},
		{"GET", "xtenants.example", false},
		{"GET", "evil-api.example", false},
		{"GET", "api.example.evil", false},
		{"GET", "", false},
		{"GET", "api.example:80:80", false},
		{"get", "api.example", false},
		{"POST", "api.example", false},
		{"", "api.example", false},
	} {
		_, ok := rule.Match(c.method, c.host, "/x")
		assert.Equal(t, c.want, ok, "%s %s", c.method, c.host)
	}
	anything := policy.Rule{Path: path}
	_, ok := anything.Match("BREW", "whatever, really", "/x")
	assert.True(t, ok)
}

// The property behind every rule: what NormalPath returns has one spelling, and
// normalising it again changes nothing.
func FuzzNormalPath(f *testing.F) {
	for _, seed := range []string{"/", "", "/a/../b", "/%2e%2e/%2F/x", "/caf%c3%a9", "/%25%34%31", `/a\..\b`, "/a|b", "//", "/a%2Bb%3Fc", "/..", "/a/.", "/é/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		normal, ok := policy.NormalPath(nil, path)
		if !ok {
			return
		}
		require.Zero(t, policy.Spell(normal)&^policy.Reserved, "%q → %q", path, normal)
		again, ok := policy.NormalPath(nil, string(normal))
		require.True(t, ok)
		require.Equal(t, string(normal), string(again))
		if policy.Spell(path)&^policy.Reserved == 0 {
			require.Equal(t, path, string(normal))
		}
		read, cut := policy.ReadReserved(nil, string(normal))
		require.LessOrEqual(t, cut, len(read))
	})
}

// A rule is called unreachable exactly when each path that it matches is matched by
// the one before it, as trying all short paths tells.
func TestUnreachablePaths(t *testing.T) {
	names := map[policy.PathKind]string{policy.PathExact: "path", policy.PathPrefix: "path_prefix", policy.PathTemplate: "path_template"}
	texts := []string{"/", "/a", "/a/", "/b", "/a/a", "/a/b", "/a/b/"}
	type pattern struct {
		kind policy.PathKind
		text string
		p    policy.PathPattern
	}
	var patterns []pattern
	for kind := range names {
		all := texts
		if kind == policy.PathTemplate {
			all = append([]string{"/**", "/a/**", "/{x}", "/{x}/", "/{x}/**", "/a/{x}", "/{x}/a", "/{x}/{y}", "/{x}/b/**", "/{x}/{y}/"}, texts...)
		}
		for _, text := range all {
			p, problem := policy.ParsePath(kind, text)
			require.Empty(t, problem)
			patterns = append(patterns, pattern{kind, text, p})
		}
	}
	paths := []string{"/"}
	for level, below := 0, []string{""}; level < 4; level++ {
		var next []string
		for _, b := range below {
			for _, segment := range []string{"a", "b", "c"} {
				next = append(next, b+"/"+segment)
				paths = append(paths, b+"/"+segment, b+"/"+segment+"/")
			}
		}
		below = next
	}
	issuers := `{"version": 1, "policy": {"issuers": [{"issuer": "https://issuer.example", "dialect": "own", "algorithms": ["ES256"],
		"audience": ["api"], "jwks_uri": "https://issuer.example/keys"}], "rules": [`
	unreachable := 0
	for _, first := range patterns {
		for _, second := range patterns {
			reached := ""
			for _, path := range paths {
				_, one := first.p.Match(path)
				if _, two := second.p.Match(path); two && !one {
					reached = path
					break
				}
			}
			rules := `{"` + names[first.kind] + `": "` + first.text + `"}, {"` + names[second.kind] + `": "` + second.text + `"}`
			_, err := policy.Parse([]byte(issuers+rules+`]}}`), "")
			if reached != "" {
				assert.NoError(t, err, "%s: %q is for the second", rules, reached)
				continue
			}
			unreachable++
			assert.ErrorContains(t, err, "/policy/rules/1: is never reached", rules)
		}
	}
	assert.NotZero(t, unreachable)
}
