package verifier_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/internal/cases"
	"sessiongate/jwks"
	"sessiongate/verdict"
	"sessiongate/verifier"
)

// plain is an issuer without fault.
func plain() verifier.Issuer {
	return verifier.Issuer{Name: "https://issuer.test", Algorithms: []jwks.Algorithm{jwks.ES256}, Audience: []string{"api"}}
}

func TestNewRefuses(t *testing.T) {
	secret := []byte(strings.Repeat("s", 64))
	edit := func(f func(*verifier.Issuer)) []verifier.Issuer {
		is := plain()
		f(&is)
		return []verifier.Issuer{is}
	}
	for _, c := range []struct {
		name    string
		issuers []verifier.Issuer
		want    []string // what the error says, one line each
	}{
		{"none", nil, []string{"issuers: is empty"}},
		{"name empty", edit(func(is *verifier.Issuer) { is.Name = "" }), []string{"issuers[0].Name: is empty"}},
		{"name twice", []verifier.Issuer{plain(), plain()}, []string{"issuers[1].Name: is another issuer's too"}},
		{"unchecked with a name", edit(func(is *verifier.Issuer) { is.UncheckedIssuer = true }),
			[]string{"issuers[0].UncheckedIssuer: wants to be the only issuer, without a Name"}},
		{"unchecked beside another", []verifier.Issuer{plain(), edit(func(is *verifier.Issuer) { is.Name, is.UncheckedIssuer = "", true })[0]},
			[]string{"issuers[1].UncheckedIssuer: wants to be the only issuer, without a Name"}},
		{"dialect", edit(func(is *verifier.Issuer) { is.Dialect = 9 }), []string{"issuers[0].Dialect: is none of own, clerk, kratos, jwt"}},
		{"algorithms empty", edit(func(is *verifier.Issuer) { is.Algorithms = nil }), []string{"issuers[0].Algorithms: is empty"}},
		{"algorithm zero", edit(func(is *verifier.Issuer) { is.Algorithms = []jwks.Algorithm{0, jwks.ES256} }),
			[]string{"issuers[0].Algorithms: holds one that does not exist"}},
		{"algorithm beyond all", edit(func(is *verifier.Issuer) { is.Algorithms = []jwks.Algorithm{200} }),
			[]string{"issuers[0].Algorithms: holds one that does not exist"}},
		{"algorithms mixed", edit(func(is *verifier.Issuer) {
			is.Algorithms, is.Secret = []jwks.Algorithm{jwks.ES256, jwks.HS256}, secret
		}),
			[]string{"issuers[0].Algorithms: mixes symmetric and asymmetric ones"}},
		{"secret without its algorithm", edit(func(is *verifier.Issuer) { is.Secret = secret }),
			[]string{"issuers[0].Secret: is set without a symmetric algorithm"}},
		{"secret missing", edit(func(is *verifier.Issuer) { is.Algorithms = []jwks.Algorithm{jwks.HS256} }),
			[]string{"issuers[0].Secret: is shorter than HS256 wants (RFC 7518 section 3.2)"}},
		{"secret short for one", edit(func(is *verifier.Issuer) {
			is.Algorithms, is.Secret = []jwks.Algorithm{jwks.HS256, jwks.HS384, jwks.HS512}, secret[:48]
		}), []string{"issuers[0].Secret: is shorter than HS512 wants (RFC 7518 section 3.2)"}},
		{"no recipient", edit(func(is *verifier.Issuer) { is.Audience = nil }),
			[]string{"issuers[0].Audience: is empty, and so is Parties; UncheckedAudience says that neither is wanted"}},
		{"leeway negative", edit(func(is *verifier.Issuer) { is.Leeway = -1 }), []string{"issuers[0].Leeway: is not within 0 and 300,000 ms"}},
		{"leeway over", edit(func(is *verifier.Issuer) { is.Leeway = 300_001 }), []string{"issuers[0].Leeway: is not within 0 and 300,000 ms"}},
		{"lifetime negative", edit(func(is *verifier.Issuer) { is.MaxLifetime = -1 }), []string{"issuers[0].MaxLifetime or .MaxStale: is negative"}},
		{"staleness negative", edit(func(is *verifier.Issuer) { is.MaxStale = -1 }), []string{"issuers[0].MaxLifetime or .MaxStale: is negative"}},
		{"pointer without slash", edit(func(is *verifier.Issuer) { is.Dialect, is.Roles = verifier.JWT, "roles" }),
			[]string{"issuers[0]: holds something that is no JSON Pointer"}},
		{"pointer with a bad escape", edit(func(is *verifier.Issuer) { is.Dialect, is.Tenant = verifier.JWT, "/a~2" }),
			[]string{"issuers[0]: holds something that is no JSON Pointer"}},
		{"types in upper case", edit(func(is *verifier.Issuer) { is.Types = []string{"JWT"} }),
			[]string{"issuers[0].Types: is not in lower case, and would never be met"}},
		{"all at once", []verifier.Issuer{{}, {Name: "x", Leeway: -1, Algorithms: []jwks.Algorithm{jwks.ES256}, UncheckedAudience: true}}, []string{
			"issuers[0].Name: is empty", "issuers[0].Algorithms: is empty",
			"issuers[0].Audience: is empty, and so is Parties; UncheckedAudience says that neither is wanted",
			"issuers[1].Leeway: is not within 0 and 300,000 ms"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := verifier.New(verifier.Config{Issuers: c.issuers})
			assert.Nil(t, v)
			assert.EqualError(t, err, strings.Join(c.want, "\n"))
		})
	}
}

func TestNewAccepts(t *testing.T) {
	secret := []byte(strings.Repeat("s", 64))
	for name, f := range map[string]func(*verifier.Issuer){
		"plain":                 func(*verifier.Issuer) {},
		"longest leeway":        func(is *verifier.Issuer) { is.Leeway = verifier.MaxLeeway },
		"parties alone":         func(is *verifier.Issuer) { is.Audience, is.Parties = nil, []string{"web"} },
		"audience unchecked":    func(is *verifier.Issuer) { is.Audience, is.UncheckedAudience = nil, true },
		"issuer unchecked":      func(is *verifier.Issuer) { is.Name, is.UncheckedIssuer = "", true },
		"secret of just enough": func(is *verifier.Issuer) { is.Algorithms, is.Secret = []jwks.Algorithm{jwks.HS384}, secret[:48] },
	} {
		is := plain()
		f(&is)
		_, err := verifier.New(verifier.Config{Issuers: []verifier.Issuer{is}})
		assert.NoError(t, err, name)
	}
}

func TestDialectNames(t *testing.T) {
	for _, name := range []string{"own", "clerk", "kratos", "jwt"} {
		d, ok := verifier.ParseDialect(name)
		assert.True(t, ok)
		assert.Equal(t, name, d.String())
	}
	_, ok := verifier.ParseDialect("Own")
	assert.False(t, ok)
	assert.Empty(t, verifier.Dialect(99).String())
}

// What the caller does to its Config later does not reach the Verifier.
func TestNewKeepsNothingOfTheCaller(t *testing.T) {
	c := find(t, "recipient/azp")
	is := &c.Issuers[0]
	is.Audience, is.Parties, is.Types, is.Algorithms = []string{"api"}, []string{"web"}, []string{"at+jwt"}, []jwks.Algorithm{jwks.ES256}
	v := verifierOf(t, c)
	is.Audience[0], is.Parties[0], is.Types[0], is.Algorithms[0] = "x", "x", "x", jwks.RS256
	_, err := v.Verify(c.Token, c.Now)
	assert.NoError(t, err)

	c = find(t, "algorithm/HS256")
	c.Issuers[0].Secret = cases.Secret.Bytes()
	v = verifierOf(t, c)
	clear(c.Issuers[0].Secret)
	_, err = v.Verify(c.Token, c.Now)
	assert.NoError(t, err)
}

// WithKeys leaves the Verifier that it was called on as it was.
func TestWithKeysMakesACopy(t *testing.T) {
	c := find(t, "issuer/first-of-two")
	none, err := verifier.New(verifier.Config{Issuers: c.Issuers})
	require.NoError(t, err)
	right, err := jwks.Parse([]byte(c.Keys[0].Document))
	require.NoError(t, err)
	wrong, err := jwks.Parse([]byte(cases.Set(cases.ES256B.JWK("kid", "es256"))))
	require.NoError(t, err)

	first := none.WithKeys(0, right, c.Now)
	second := first.WithKeys(0, wrong, c.Now)
	third := second.WithKeys(1, right, c.Now)
	fourth := first.WithKeys(0, nil, c.Now)
	for _, step := range []struct {
		v    *verifier.Verifier
		want verdict.Reason
	}{{none, verdict.KeysUnavailable}, {first, verdict.None}, {second, verdict.BadSignature}, {third, verdict.BadSignature}, {fourth, verdict.KeysUnavailable}} {
		var r verifier.Result
		assert.Equal(t, step.want, step.v.VerifyInto(&r, []byte(c.Token), c.Now))
	}
	set, at := second.Keys(0)
	assert.Same(t, wrong, set)
	assert.EqualValues(t, c.Now, at)
	set, at = none.Keys(1)
	assert.Nil(t, set)
	assert.Zero(t, at)
}

var all = sync.OnceValue(cases.All)

// find returns a copy of a case.
func find(t testing.TB, name string) *cases.Case {
	t.Helper()
	for _, c := range all() {
		if c.Name == name {
			c.Issuers, c.Keys = slices.Clone(c.Issuers), slices.Clone(c.Keys)
			return &c
		}
	}
	t.Fatalf("no case is called %s", name)
	return nil
}
