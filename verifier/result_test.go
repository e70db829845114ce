package verifier_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/internal/cases"
	"sessiongate/internal/strict"
	"sessiongate/jwks"
	"sessiongate/verdict"
	"sessiongate/verifier"
)

// What a host reads off a Result to know what to refresh.
func TestResultNamesIssuerAndKey(t *testing.T) {
	for _, c := range []struct {
		name   string
		issuer int
		kid    string // "-" for none
	}{
		{"own/good", 0, "es256"},
		{"issuer/second-of-two", 1, "es256"},
		{"key/unknown-kid", 0, "other"},
		{"key/kid-empty", 0, ""},
		{"key/no-kid-several", 0, "-"},
		{"key/kid-with-escapes", 0, "a/b \"c\" é"},
		{"issuer/other", -1, "es256"},
		{"form/claims-null", -1, "es256"},
		{"form/header-null", -1, "-"},
		{"form/empty", -1, "-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := find(t, c.name)
			var r verifier.Result
			verifierOf(t, k).VerifyInto(&r, []byte(k.Token), k.Now)
			assert.Equal(t, c.issuer, r.Issuer)
			if c.kid == "-" {
				assert.Nil(t, r.KeyID)
			} else {
				assert.NotNil(t, r.KeyID)
				assert.Equal(t, c.kid, string(r.KeyID))
			}
		})
	}
}

// The Principal's strings outlive the Result, whatever it is used for next.
func TestPrincipalStringsStay(t *testing.T) {
	first, second := find(t, "own/good"), find(t, "clerk2/good")
	v1, v2 := verifierOf(t, first), verifierOf(t, second)
	var r verifier.Result
	require.Equal(t, verdict.None, v1.VerifyInto(&r, []byte(first.Token), first.Now))
	subject, session, role := r.Principal.Subject, r.Principal.Session, r.Principal.Roles[0]
	require.Equal(t, verdict.None, v2.VerifyInto(&r, []byte(second.Token), second.Now))
	require.Equal(t, verdict.Malformed, v2.VerifyInto(&r, []byte("x"), second.Now))
	assert.Equal(t, []string{"user_1", "sess_1", "admin"}, []string{subject, session, role})
	assert.Empty(t, r.Principal.Subject)
	assert.Empty(t, r.Principal.Roles)
}

// One Verifier serves many goroutines while its keys are replaced by copies.
func TestConcurrentUse(t *testing.T) {
	good, bad := find(t, "own/good"), find(t, "key/signed-by-another-key")
	v := verifierOf(t, good)
	set, err := jwks.Parse([]byte(good.Keys[0].Document))
	require.NoError(t, err)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 25 {
				_, err := v.Verify(good.Token, good.Now)
				assert.NoError(t, err)
				_, err = v.WithKeys(0, set, good.Now).Verify(bad.Token, bad.Now)
				assert.ErrorIs(t, err, verdict.BadSignature)
				assert.Len(t, v.Explain(good.Token, good.Now), 16)
			}
		})
	}
	all.Wait()
}

// A refusal before the signature allocates nothing, and what comes after it is
// the standard library's cost. With the kernels of the standard library replaced
// these numbers can only go down.
func TestAllocations(t *testing.T) {
	measure := func(c *cases.Case) float64 {
		v, token := verifierOf(t, c), []byte(c.Token)
		r := new(verifier.Result)
		v.VerifyInto(r, token, c.Now) // grows the buffers
		return testing.AllocsPerRun(100, func() { v.VerifyInto(r, token, c.Now) })
	}
	for _, c := range all() {
		switch c.Reason {
		case verdict.Malformed, verdict.TooLarge, verdict.CriticalHeader, verdict.AlgorithmNotAllowed, verdict.UnknownKey, verdict.AmbiguousKey,
			verdict.WrongType, verdict.WrongIssuer, verdict.KeysUnavailable, verdict.KeysStale:
			if strings.HasPrefix(c.Name, "form/") || strings.HasPrefix(c.Name, "key/") || strings.HasPrefix(c.Name, "type/") ||
				strings.HasPrefix(c.Name, "algorithm/") || strings.HasPrefix(c.Name, "issuer/") {
				assert.Zero(t, measure(&c), c.Name)
			}
		}
	}
	// The arithmetic's own allocations, and what is ours beside them.
	for _, b := range []struct {
		name           string
		standard, ours float64
	}{
		{"algorithm/ES256", 12, 0}, {"algorithm/ES384", 20, 0}, {"algorithm/ES512", 20, 0}, {"algorithm/RS256", 10, 0}, {"algorithm/PS256", 16, 0},
		{"algorithm/EdDSA", 0, 0}, {"key/signature-first-character", 14, 0}, {"time/exp-reached", 12, 0}, {"recipient/aud-other", 12, 0},
		{"recipient/cnf-empty", 12, 0}, {"kratos/good", 12, 0}, {"clerk1/good", 10, 0}, {"jwt/good", 10, 0},
		{"clerk2/good", 10, 4}, // fea and o's texts are cut up as strings
	} {
		c := find(t, b.name)
		standard := kernelAllocations(t, c)
		got := measure(c)
		t.Logf("%s: %v allocations, %v of them in the standard library's verification", b.name, got, standard)
		assert.LessOrEqual(t, standard, b.standard, b.name)
		assert.LessOrEqual(t, got-standard, b.ours, b.name)
	}
	// Two tokens in turn: each acceptance makes the one string that holds its texts.
	one, two := find(t, "algorithm/EdDSA"), find(t, "key/alg-Ed25519-in-the-set")
	v, r, tokens := verifierOf(t, one), new(verifier.Result), [][]byte{[]byte(one.Token), []byte(two.Token)}
	claims, i := make([]verdict.Reason, 2), 0
	assert.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		claims[i%2] = v.VerifyInto(r, tokens[i%2], one.Now)
		i++
	}), 1.0)
	assert.Equal(t, []verdict.Reason{verdict.None, verdict.None}, claims)
}

// kernelAllocations counts those of the signature check alone.
func kernelAllocations(t *testing.T, c *cases.Case) float64 {
	set, err := jwks.Parse([]byte(c.Keys[0].Document))
	require.NoError(t, err)
	header, _, signature := cases.Segments(c.Token)
	var h struct{ Alg string }
	require.NoError(t, json.Unmarshal([]byte(header), &h))
	a, ok := jwks.ParseAlgorithm(h.Alg)
	require.True(t, ok)
	key, sig := set.Keys()[0], make([]byte, strict.DecodedLen(len(signature)))
	_, ok = strict.DecodeBase64(sig, []byte(signature))
	require.True(t, ok)
	input := []byte(c.Token[:strings.LastIndexByte(c.Token, '.')])
	return testing.AllocsPerRun(100, func() { key.Verify(a, input, sig) })
}

// No single byte of a token can be changed, added or taken away.
func TestMutations(t *testing.T) {
	refused := 0
	for _, name := range []string{"algorithm/HS256", "algorithm/EdDSA", "algorithm/ES256", "algorithm/RS256"} {
		c := find(t, name)
		v := verifierOf(t, c)
		r := new(verifier.Result)
		require.Equal(t, verdict.None, v.VerifyInto(r, []byte(c.Token), c.Now))
		check := func(what string, i int, token []byte) {
			if reason := v.VerifyInto(r, token, c.Now); reason == verdict.None {
				t.Errorf("%s: %s at byte %d is accepted", name, what, i)
			}
			refused++
		}
		token := make([]byte, 0, len(c.Token)+1)
		for i := range len(c.Token) {
			before, after := c.Token[:i], c.Token[i+1:]
			for bit := range 8 {
				check(fmt.Sprintf("bit %d", bit), i, append(append(append(token[:0], before...), c.Token[i]^1<<bit), after...))
			}
			check("deletion", i, append(append(token[:0], before...), after...))
			if i+1 < len(c.Token) && c.Token[i] != c.Token[i+1] {
				check("exchange", i, append(append(append(token[:0], before...), c.Token[i+1], c.Token[i]), c.Token[i+2:]...))
			}
		}
		for i := range len(c.Token) + 1 {
			for _, b := range []byte("A.= \x00_") {
				check(fmt.Sprintf("insertion of %q", b), i, append(append(append(token[:0], c.Token[:i]...), b), c.Token[i:]...))
			}
		}
	}
	t.Logf("%d mutations refused", refused)
}

// Explain tells of every check in one order, skips what an earlier fault left
// nothing to check, and says what it looked at.
func TestExplain(t *testing.T) {
	names := func(list []verifier.Check) (all []string) {
		for _, c := range list {
			all = append(all, c.Name)
		}
		return all
	}
	good := find(t, "own/good")
	want := names(verifierOf(t, good).Explain(good.Token, good.Now))
	assert.Equal(t, []string{"form", "algorithm known", "issuer", "algorithm allowed", "type", "keys at hand", "key", "signature",
		"exp", "nbf", "iat", "lifetime", "audience", "authorised party", "proof of possession", "claims"}, want)
	for _, c := range all() {
		list := verifierOf(t, &c).Explain(c.Token, c.Now)
		assert.Equal(t, want, names(list), c.Name)
		for _, check := range list {
			if check.Skipped {
				assert.Zero(t, check.Reason, c.Name)
				assert.NotEqual(t, verdict.None, c.Reason, c.Name)
			} else {
				assert.NotEmptyf(t, check.Detail, "%s, %s", c.Name, check.Name)
			}
		}
	}

	// Several faults are all told.
	both := find(t, "time/exp-reached")
	both.Issuers[0].Audience = []string{"elsewhere"}
	details := map[string]verifier.Check{}
	for _, check := range verifierOf(t, both).Explain(both.Token, both.Now) {
		details[check.Name] = check
	}
	assert.Equal(t, verdict.Expired, details["exp"].Reason)
	assert.Equal(t, "2023-11-14T22:14:10Z, 5s ago", details["exp"].Detail)
	assert.Equal(t, verdict.WrongAudience, details["audience"].Reason)
	assert.Equal(t, `aud ["api"]; the policy accepts "elsewhere"`, details["audience"].Detail)
	assert.Equal(t, "1m from iat to exp; the policy accepts 1d", details["lifetime"].Detail)
	assert.Equal(t, `kid "es256"; the set has "es256"`, details["key"].Detail)
	assert.Equal(t, `alg "ES256"`, details["algorithm known"].Detail)
	assert.Equal(t, "the policy allows ES256", details["algorithm allowed"].Detail)
	assert.Equal(t, "64 bytes", details["signature"].Detail)
	assert.Equal(t, "1 usable key in a set confirmed 0ms ago", details["keys at hand"].Detail)
	assert.Equal(t, "read as dialect own", details["claims"].Detail)

	for name, want := range map[string]string{
		"form/claims-exp-twice":                   "in the claims set, at byte",
		"form/header-trailing-comma":              "in the header, at byte",
		"form/crit-unknown":                       "the header has crit or b64",
		"form/no-dot":                             "wanted three base64url segments",
		"form/claim-exp-string":                   `at fault is "exp", a string`,
		"form/claim-aud-of-a-number":              `at fault is "aud", an array`,
		"form/header-kid-number":                  `at fault is "kid", a number`,
		"form/header-alg-null":                    `at fault is "alg", null`,
		"form/header-without-alg":                 "registered members of their types",
		"form/claims-of-33-levels":                "wanted less nesting",
		"form/header-alg-twice-once-escaped":      "wanted each member name once",
		"form/claims-lone-surrogate":              "wanted a known escape",
		"form/claims-of-257-members":              "wanted fewer members",
		"form/header-invalid-utf-8":               "wanted UTF-8",
		"form/claims-unclosed":                    "wanted a comma or a closing bracket",
		"form/header-control-byte":                "wanted no control byte in a string",
		"form/claims-trailing-bytes":              "wanted the end of the text",
		"form/token-over-16384-bytes":             "at most 16384 are looked at",
		"form/signature-of-three-characters-more": "bytes",
	} {
		c := find(t, name)
		assert.Contains(t, verifierOf(t, c).Explain(c.Token, c.Now)[0].Detail, want, name)
	}

	// The last check names the claim that its dialect cannot read.
	for _, c := range all() {
		list := verifierOf(t, &c).Explain(c.Token, c.Now)
		if last := list[len(list)-1]; last.Reason == verdict.Malformed {
			assert.Regexp(t, `^read as dialect \w+; at fault is "\w+", (null|true|a number|a string|an array|an object)$`, last.Detail, c.Name)
		} else if last.Reason == verdict.None {
			assert.NotContains(t, last.Detail, "fault", c.Name)
		}
	}
}
