package jwks_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/internal/cases"
	"sessiongate/jwks"
	"sessiongate/verdict"
)

var signed = []byte("header.claims")

func parseSet(t testing.TB, keys ...string) *jwks.Set {
	t.Helper()
	s, err := jwks.Parse([]byte(cases.Set(keys...)))
	require.NoError(t, err)
	return s
}

// without takes a member away.
func without(jwk, member string) string {
	from := strings.Index(jwk, `"`+member+`":`)
	if from < 0 {
		panic(member)
	}
	to := from + strings.IndexAny(jwk[from:], ",}")
	if jwk[to] == ',' {
		to++
	} else {
		from--
	}
	return jwk[:from] + jwk[to:]
}

// plus adds members in front, as they are written.
func plus(jwk, members string) string { return "{" + members + "," + jwk[1:] }

// Each way in which a key cannot be used, and that it takes no other with it.
func TestSkipped(t *testing.T) {
	ec, rsa, ed := cases.ES256.JWK(), cases.RSA.JWK(), cases.Ed25519.JWK()
	replaced := func(jwk, member, value string) string { return plus(without(jwk, member), `"`+member+`":`+value) }
	short := func(k *cases.Key, member string) string { // one byte less
		jwk := k.JWK()
		value := jwk[strings.Index(jwk, `"`+member+`":"`)+len(member)+4:]
		value = value[:strings.IndexByte(value, '"')]
		return k.JWK(member, value[:len(value)-len(value)%4-2]+"A")
	}
	p384 := cases.ES384.JWK()
	for _, c := range []struct{ name, jwk, id, why string }{
		{"null", "null", "", "not an object"},
		{"text", `"key"`, "", "not an object"},
		{"number", "1", "", "not an object"},
		{"array", "[]", "", "not an object"},
		{"empty", "{}", "", "kty is missing or not a string"},
		{"kid null", cases.ES256.JWK("kid", nil), "", "kid is not a string"},
		{"kid number", cases.ES256.JWK("kid", 1), "", "kid is not a string"},
		{"member twice", plus(ec, `"kty":"EC"`), "es256", "a member appears twice"},
		{"member twice once escaped", plus(ec, `"\u006bty":"EC"`), "es256", "a member appears twice"},
		{"kid twice", plus(ec, `"kid":"es256"`), "es256", "a member appears twice"},
		{"nested member twice", plus(ec, `"x5":{"a":1,"a":2}`), "es256", "a member appears twice"},
		{"kty missing", without(ec, "kty"), "es256", "kty is missing or not a string"},
		{"kty null", cases.ES256.JWK("kty", nil), "es256", "kty is missing or not a string"},
		{"kty unknown", cases.ES256.JWK("kty", "AKP"), "es256", "kty is unknown"},
		{"kty of other case", cases.ES256.JWK("kty", "ec"), "es256", "kty is unknown"},
		{"secret", cases.Secret.JWK(), "secret", "a symmetric key in a key set"},
		{"use enc", cases.ES256.JWK("use", "enc"), "es256", "use is not sig"},
		{"use of other case", cases.ES256.JWK("use", "Sig"), "es256", "use is not sig"},
		{"use null", cases.ES256.JWK("use", nil), "es256", "use is not sig"},
		{"use array", cases.ES256.JWK("use", []string{"sig"}), "es256", "use is not sig"},
		{"key_ops text", cases.ES256.JWK("key_ops", "verify"), "es256", "key_ops is not an array"},
		{"key_ops null", cases.ES256.JWK("key_ops", nil), "es256", "key_ops is not an array"},
		{"key_ops of a number", cases.ES256.JWK("key_ops", []any{"verify", 1}), "es256", "key_ops holds something else than strings"},
		{"key_ops empty", cases.ES256.JWK("key_ops", []string{}), "es256", "key_ops does not hold verify"},
		{"key_ops sign", cases.ES256.JWK("key_ops", []string{"sign"}), "es256", "key_ops holds another operation than verify"},
		{"key_ops verify and sign", cases.ES256.JWK("key_ops", []string{"verify", "sign"}), "es256", "key_ops holds another operation than verify"},
		{"key_ops with a blank", cases.ES256.JWK("key_ops", []string{"verify "}), "es256", "key_ops holds another operation than verify"},
		{"key_ops twice", cases.ES256.JWK("key_ops", []string{"verify", "verify"}), "es256", "key_ops repeats a value"},
		{"private EC", cases.ES256.JWK("d", "AA"), "es256", "a private key in a key set"},
		{"private RSA", cases.RSA.JWK("d", "AA", "p", "AA"), "rsa", "a private key in a key set"},
		{"private RSA, the primes alone", cases.RSA.JWK("qi", "AA"), "rsa", "a private key in a key set"},
		{"private RSA, other primes alone", cases.RSA.JWK("oth", []string{}), "rsa", "a private key in a key set"},
		{"private OKP", cases.Ed25519.JWK("d", nil), "ed25519", "a private key in a key set"},
		{"crv missing", without(ec, "crv"), "es256", "crv is missing or not a string"},
		{"crv number", cases.ES256.JWK("crv", 256), "es256", "crv is missing or not a string"},
		{"crv unknown", cases.ES256.JWK("crv", "secp256k1"), "es256", "crv is unknown"},
		{"crv of other case", cases.ES256.JWK("crv", "p-256"), "es256", "crv is unknown"},
		{"crv of another curve", cases.ES256.JWK("crv", "P-384"), "es256", "x or y is not of the curve's length"},
		{"crv of a shorter curve", cases.ES384.JWK("crv", "P-256"), "es384", "x or y is not of the curve's length"},
		{"x missing", without(ec, "x"), "es256", "x is missing or not a string"},
		{"y null", cases.ES256.JWK("y", nil), "es256", "y is missing or not a string"},
		{"x empty", cases.ES256.JWK("x", ""), "es256", "x or y is not of the curve's length"},
		{"x padded", replaced(ec, "x", `"AAAA="`), "es256", "x is not base64url"},
		{"x of base64", cases.ES256.JWK("x", strings.Repeat("+", 43)), "es256", "x is not base64url"},
		{"x with a line break", cases.ES256.JWK("x", "AA\nAA"), "es256", "x is not base64url"},
		{"x with loose bits", cases.ES256.JWK("x", strings.Repeat("B", 43)), "es256", "x is not base64url"},
		{"x of 31 bytes", short(cases.ES256, "x"), "es256", "x or y is not of the curve's length"},
		{"y of 47 bytes", p384[:strings.Index(p384, `"y":"`)] + `"y":"` + strings.Repeat("A", 63) + `"}`, "es384", "x or y is not of the curve's length"},
		{"off the curve", cases.ES256.JWK("x", strings.Repeat("A", 42)+"E"), "es256", "x and y are not a point of the curve"},
		{"x of another key", cases.ES256.JWK("x", member(cases.ES256B.JWK(), "x")), "es256", "x and y are not a point of the curve"},
		{"the point of nothing", cases.ES256.JWK("x", strings.Repeat("A", 43), "y", strings.Repeat("A", 43)), "es256", "x and y are not a point of the curve"},
		{"alg number", cases.ES256.JWK("alg", 256), "es256", "alg is not a string"},
		{"alg null", cases.ES256.JWK("alg", nil), "es256", "alg is not a string"},
		{"alg unknown", cases.ES256.JWK("alg", "ES256K"), "es256", "alg is not a signature algorithm"},
		{"alg none", cases.ES256.JWK("alg", "none"), "es256", "alg is not a signature algorithm"},
		{"alg for encryption", cases.RSA.JWK("alg", "RSA-OAEP-256"), "rsa", "alg is not a signature algorithm"},
		{"alg of another curve", cases.ES256.JWK("alg", "ES384"), "es256", "alg does not go with kty and crv"},
		{"alg of another kty", cases.RSA.JWK("alg", "ES256"), "rsa", "alg does not go with kty and crv"},
		{"alg of a secret", cases.RSA.JWK("alg", "HS256"), "rsa", "alg does not go with kty and crv"},
		{"n missing", without(rsa, "n"), "rsa", "n is missing or not a string"},
		{"e missing", without(rsa, "e"), "rsa", "e is missing or not a string"},
		{"e number", cases.RSA.JWK("e", 65537), "rsa", "e is missing or not a string"},
		{"e empty", cases.RSA.JWK("e", ""), "rsa", "n or e is empty"},
		{"e 1", cases.RSA.JWK("e", "AQ"), "rsa", "exponent is 1"},
		{"e even", cases.RSA.JWK("e", "AQAA"), "rsa", "exponent is even"},
		{"e long", cases.RSA.JWK("e", "AQAAAAE"), "rsa", "exponent is over 31 bits"},
		{"n padded", replaced(rsa, "n", `"`+member(rsa, "n")+`=="`), "rsa", "n is not base64url"},
		{"n short", cases.RSA.JWK("n", strings.Repeat("_", 170)+"8"), "rsa", "modulus is under 2048 bits"},
		{"n long", cases.RSA.JWK("n", strings.Repeat("_", 1400)), "rsa", "modulus is over 8192 bits"},
		{"n even", cases.RSA.JWK("n", strings.Repeat("_", 340)+"_g"), "rsa", "modulus is even"},
		{"OKP without crv", without(ed, "crv"), "ed25519", "crv is missing or not a string"},
		{"Ed448", cases.Ed25519.JWK("crv", "Ed448"), "ed25519", "crv is unknown"},
		{"X25519", cases.Ed25519.JWK("crv", "X25519"), "ed25519", "crv is unknown"},
		{"OKP without x", without(ed, "x"), "ed25519", "x is missing or not a string"},
		{"OKP of 31 bytes", cases.Ed25519.JWK("x", strings.Repeat("A", 42)), "ed25519", "x is not a usable point of the curve"},
		{"OKP of no bytes", cases.Ed25519.JWK("x", ""), "ed25519", "x is not a usable point of the curve"},
		{"OKP of small order", cases.Ed25519.JWK("x", "AQ"+strings.Repeat("A", 41)), "ed25519", "x is not a usable point of the curve"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := parseSet(t, cases.RSAB.JWK(), c.jwk, cases.ES256B.JWK())
			assert.Equal(t, []jwks.Skipped{{Index: 1, KeyID: c.id, Why: c.why}}, s.Skipped())
			assert.Equal(t, 2, s.Len())
			assert.Equal(t, []string{"rsa-b", "es256-b"}, s.KeyIDs())
			_, reason := s.Find([]byte("es256-b"), true, jwks.ES256)
			assert.Equal(t, verdict.None, reason)

			s = parseSet(t, c.jwk)
			assert.Zero(t, s.Len())
			_, reason = s.Find(nil, false, jwks.ES256)
			assert.Equal(t, verdict.UnknownKey, reason)
		})
	}
}

// member is the value of a text member.
func member(jwk, name string) string {
	_, rest, _ := strings.Cut(jwk, `"`+name+`":"`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// What looks odd and is a good key all the same, and for which algorithms.
func TestUsable(t *testing.T) {
	ec, all := "[ES256]", "[RS256 RS384 RS512 PS256 PS384 PS512]"
	for _, c := range []struct{ name, jwk, id, algorithms string }{
		{"EC", cases.ES256.JWK(), "es256", ec},
		{"P-384", cases.ES384.JWK(), "es384", "[ES384]"},
		{"P-521", cases.ES512.JWK(), "es512", "[ES512]"},
		{"RSA", cases.RSA.JWK(), "rsa", all},
		{"OKP", cases.Ed25519.JWK(), "ed25519", "[EdDSA]"},
		{"without kid", without(cases.ES256.JWK(), "kid"), "", ec},
		{"kid empty", cases.ES256.JWK("kid", ""), "", ec},
		{"use sig", cases.ES256.JWK("use", "sig"), "es256", ec},
		{"key_ops", cases.ES256.JWK("key_ops", []string{"verify"}), "es256", ec},
		{"use and key_ops", cases.ES256.JWK("use", "sig", "key_ops", []string{"verify"}), "es256", ec},
		{"alg", cases.RSA.JWK("alg", "PS384"), "rsa", "[PS384]"},
		{"alg EdDSA", cases.Ed25519.JWK("alg", "EdDSA"), "ed25519", "[EdDSA]"},
		{"alg Ed25519", cases.Ed25519.JWK("alg", "Ed25519"), "ed25519", "[EdDSA]"},
		{"unknown members", cases.ES256.JWK("x5c", []string{"MIIB"}, "x5t", 1, "exp", 0, "iss", nil, "k", "secret?"), "es256", ec},
		{"e 3", cases.RSA.JWK("e", "Aw"), "rsa", all},
		{"e with a zero in front", cases.RSA.JWK("e", "AAEAAQ"), "rsa", all},
		{"escapes", strings.Replace(cases.ES256.JWK(), `"kty":"EC"`, `"\u006bty":"\u0045C"`, 1), "es256", ec},
	} {
		s := parseSet(t, c.jwk)
		require.Empty(t, s.Skipped(), c.name)
		require.Equal(t, 1, s.Len(), c.name)
		assert.Equal(t, c.id, s.Keys()[0].ID(), c.name)
		assert.Equal(t, c.algorithms, fmt.Sprint(s.Keys()[0].Algorithms()), c.name)
	}
}

func raw(t testing.TB, s string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(s)
	require.NoError(t, err)
	return b
}

func text(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// Half of all P-521 coordinates have a first byte that is zero, and some issuers
// leave it out. On the other curves a short coordinate is no key.
func TestShortP521Coordinate(t *testing.T) {
	found := 0
	for i := 0; found < 3; i++ {
		k := cases.NewES512(fmt.Sprintf("short %d", i))
		jwk := k.JWK()
		x, y := member(jwk, "x"), member(jwk, "y")
		var changes []any
		if b := raw(t, x); b[0] == 0 {
			changes = append(changes, "x", text(b[1:]))
		}
		if b := raw(t, y); b[0] == 0 {
			changes = append(changes, "y", text(b[1:]))
		}
		if changes == nil {
			continue
		}
		found++
		s := parseSet(t, k.JWK(changes...), jwk)
		require.Empty(t, s.Skipped())
		assert.True(t, s.Keys()[0].Verify(jwks.ES512, signed, k.Sign("ES512", signed)))
		_, reason := s.Find([]byte(k.Name), true, jwks.ES512)
		assert.Equal(t, verdict.None, reason, "both spellings are the same material")
		cut := raw(t, changes[1].(string))[1:]
		assert.Len(t, parseSet(t, k.JWK(changes[0], text(cut))).Skipped(), 1, "two bytes less are too few")
	}
}

func TestDocuments(t *testing.T) {
	key := cases.ES256.JWK()
	many := func(n int) string { return `{"keys":[` + strings.TrimSuffix(strings.Repeat("{},", n), ",") + `]}` }
	for _, c := range []struct {
		name, doc string
		err       error
		keys      int
	}{
		{"one key", cases.Set(key), nil, 1},
		{"no key", `{"keys":[]}`, nil, 0},
		{"other members", `{"a":1,"keys":[` + key + `],"b":{"keys":[]}}`, nil, 1},
		{"another member twice", `{"a":1,"keys":[` + key + `],"a":2}`, nil, 1},
		{"white space", "\r\n\t {\"keys\" : [ " + key + " ] } \n", nil, 1},
		{"escaped name", `{"\u006beys":[` + key + `]}`, nil, 1},
		{"empty", "", jwks.ErrNotJSON, 0},
		{"not JSON", "keys", jwks.ErrNotJSON, 0},
		{"a page", "<!DOCTYPE html><title>404</title>", jwks.ErrNotJSON, 0},
		{"trailing bytes", cases.Set(key) + "x", jwks.ErrNotJSON, 0},
		{"byte order mark", "\ufeff" + cases.Set(key), jwks.ErrNotJSON, 0},
		{"a fault inside a key", `{"keys":[` + key + `,{"kty":"EC",}]}`, jwks.ErrNotJSON, 0},
		{"cut short", strings.TrimSuffix(cases.Set(key), "}"), jwks.ErrNotJSON, 0},
		{"keys twice", `{"keys":[` + key + `],"keys":[]}`, jwks.ErrNotJSON, 0},
		{"keys twice once escaped", `{"keys":[` + key + `],"\u006beys":[]}`, jwks.ErrNotJSON, 0},
		{"null", "null", jwks.ErrNoKeys, 0},
		{"array", "[" + key + "]", jwks.ErrNoKeys, 0},
		{"a key alone", key, jwks.ErrNoKeys, 0},
		{"keys missing", `{}`, jwks.ErrNoKeys, 0},
		{"keys of other case", `{"Keys":[` + key + `]}`, jwks.ErrNoKeys, 0},
		{"keys null", `{"keys":null}`, jwks.ErrNoKeys, 0},
		{"keys object", `{"keys":` + key + `}`, jwks.ErrNoKeys, 0},
		{"1,000 keys", many(1000), nil, 0},
		{"1,001 keys", many(1001), jwks.ErrTooLarge, 0},
		{"1 MiB", cases.Set(key) + strings.Repeat(" ", 1<<20-len(cases.Set(key))), nil, 1},
		{"over 1 MiB", cases.Set(key) + strings.Repeat(" ", 1<<20+1-len(cases.Set(key))), jwks.ErrTooLarge, 0},
		{"32 levels", cases.Set(key, strings.Repeat("[", 30)+strings.Repeat("]", 30)), nil, 1},
		{"33 levels", cases.Set(key, strings.Repeat("[", 31)+strings.Repeat("]", 31)), jwks.ErrTooLarge, 0},
	} {
		s, err := jwks.Parse([]byte(c.doc))
		assert.ErrorIs(t, err, c.err, c.name)
		if c.err == nil {
			assert.NoError(t, err, c.name)
			assert.Equal(t, c.keys, s.Len(), c.name)
		} else {
			assert.Nil(t, s, c.name)
			assert.Zero(t, s.Len(), c.name)
		}
	}
}

// The document's memory may be used again once it is parsed.
func TestParseKeepsNothingOfTheDocument(t *testing.T) {
	doc := []byte(cases.Set(cases.ES256.JWK(), cases.RSA.JWK(), cases.Ed25519.JWK(), `{"kid":"x","kty":"x"}`))
	s, err := jwks.Parse(doc)
	require.NoError(t, err)
	for i := range doc {
		doc[i] = '#'
	}
	assert.Equal(t, []string{"es256", "rsa", "ed25519"}, s.KeyIDs())
	assert.Equal(t, "x", s.Skipped()[0].KeyID)
	for _, k := range []*cases.Key{cases.ES256, cases.RSA, cases.Ed25519} {
		a, _ := jwks.ParseAlgorithm(k.Alg)
		key, reason := s.Find([]byte(k.Name), true, a)
		require.Equal(t, verdict.None, reason)
		assert.True(t, key.Verify(a, signed, k.Sign(k.Alg, signed)))
	}
}

// Which key a header means, by kid or without (DESIGN: keys are indexed by kid).
func TestFind(t *testing.T) {
	ec, ecB, p384, rsa, rsaB, ed := cases.ES256, cases.ES256B, cases.ES384, cases.RSA, cases.RSAB, cases.Ed25519
	noKid := func(k *cases.Key, changes ...any) string { return without(k.JWK(changes...), "kid") }
	const none = "\x00"
	for _, c := range []struct {
		name   string
		set    []string
		kid    string // none: the header has no kid
		alg    jwks.Algorithm
		signer *cases.Key // whose key is found; nil: none
		reason verdict.Reason
	}{
		{"by kid", []string{ec.JWK(), ecB.JWK()}, "es256-b", jwks.ES256, ecB, 0},
		{"unknown kid", []string{ec.JWK()}, "x", jwks.ES256, nil, verdict.UnknownKey},
		{"kid that no key has", []string{noKid(ec)}, "es256", jwks.ES256, nil, verdict.UnknownKey},
		{"kid empty is a kid", []string{ec.JWK("kid", ""), noKid(ecB)}, "", jwks.ES256, ec, 0},
		{"kid empty is none of an absent one", []string{noKid(ec)}, "", jwks.ES256, nil, verdict.UnknownKey},
		{"kid of a key for another algorithm", []string{ec.JWK(), rsa.JWK("kid", "es")}, "es256", jwks.RS256, nil, verdict.AlgorithmNotAllowed},
		{"kid of a key with another alg", []string{rsa.JWK("alg", "RS256")}, "rsa", jwks.PS256, nil, verdict.AlgorithmNotAllowed},

		{"same kid, same material", []string{ec.JWK(), ec.JWK("use", "sig")}, "es256", jwks.ES256, ec, 0},
		{"same kid, same material, three times", []string{rsa.JWK(), rsa.JWK(), rsa.JWK()}, "rsa", jwks.RS256, rsa, 0},
		{"same kid, same integers spelled differently", []string{rsa.JWK(), rsa.JWK("e", "AAEAAQ")}, "rsa", jwks.RS256, rsa, 0},
		{"same kid, same material, for two algorithms: first", []string{rsa.JWK("alg", "RS256"), rsa.JWK("alg", "PS256")}, "rsa", jwks.RS256, rsa, 0},
		{"same kid, same material, for two algorithms: second", []string{rsa.JWK("alg", "RS256"), rsa.JWK("alg", "PS256")}, "rsa", jwks.PS256, rsa, 0},
		{"same kid, same material, for two algorithms: neither", []string{rsa.JWK("alg", "RS256"), rsa.JWK("alg", "PS256")}, "rsa", jwks.RS512, nil, verdict.AlgorithmNotAllowed},
		{"same kid, other kty: EC", []string{ec.JWK("kid", "k"), rsa.JWK("kid", "k"), ed.JWK("kid", "k")}, "k", jwks.ES256, ec, 0},
		{"same kid, other kty: RSA", []string{ec.JWK("kid", "k"), rsa.JWK("kid", "k"), ed.JWK("kid", "k")}, "k", jwks.PS512, rsa, 0},
		{"same kid, other kty: OKP", []string{ec.JWK("kid", "k"), rsa.JWK("kid", "k"), ed.JWK("kid", "k")}, "k", jwks.EdDSA, ed, 0},
		{"same kid, other kty: none of them", []string{ec.JWK("kid", "k"), rsa.JWK("kid", "k")}, "k", jwks.EdDSA, nil, verdict.AlgorithmNotAllowed},
		{"same kid, same kty, other material", []string{ec.JWK("kid", "k"), ecB.JWK("kid", "k")}, "k", jwks.ES256, nil, verdict.AmbiguousKey},
		{"same kid, same kty, other material, and the first again", []string{ec.JWK("kid", "k"), ecB.JWK("kid", "k"), ec.JWK("kid", "k")}, "k", jwks.ES256, nil, verdict.AmbiguousKey},
		{"same kid, same kty, other curve", []string{ec.JWK("kid", "k"), p384.JWK("kid", "k")}, "k", jwks.ES256, nil, verdict.AmbiguousKey},
		{"same kid, same kty, other material, other alg: first", []string{rsa.JWK("kid", "k", "alg", "RS256"), rsaB.JWK("kid", "k", "alg", "PS256")}, "k", jwks.RS256, nil, verdict.AmbiguousKey},
		{"same kid, same kty, other material, other alg: second", []string{rsa.JWK("kid", "k", "alg", "RS256"), rsaB.JWK("kid", "k", "alg", "PS256")}, "k", jwks.PS256, nil, verdict.AmbiguousKey},
		{"ambiguity of one kty leaves the other", []string{rsa.JWK("kid", "k"), rsaB.JWK("kid", "k"), ec.JWK("kid", "k")}, "k", jwks.ES256, ec, 0},
		{"ambiguity of one kid leaves the other", []string{ec.JWK("kid", "k"), ecB.JWK("kid", "k"), ec.JWK()}, "es256", jwks.ES256, ec, 0},
		{"same kid, one of them broken", []string{ec.JWK("kid", "k", "y", "AA"), ecB.JWK("kid", "k")}, "k", jwks.ES256, ecB, 0},

		{"no kid, one key", []string{ec.JWK()}, none, jwks.ES256, ec, 0},
		{"no kid, one key without kid", []string{noKid(ec)}, none, jwks.ES256, ec, 0},
		{"no kid, one of each kind", []string{p384.JWK(), ec.JWK(), rsa.JWK(), ed.JWK()}, none, jwks.ES256, ec, 0},
		{"no kid, none", []string{p384.JWK(), rsa.JWK()}, none, jwks.ES256, nil, verdict.UnknownKey},
		{"no kid, empty set", nil, none, jwks.ES256, nil, verdict.UnknownKey},
		{"no kid, several", []string{ec.JWK(), ecB.JWK()}, none, jwks.ES256, nil, verdict.AmbiguousKey},
		{"no kid, several without kid", []string{noKid(ec), noKid(ecB)}, none, jwks.ES256, nil, verdict.AmbiguousKey},
		{"no kid, the same material twice", []string{ec.JWK("kid", "a"), noKid(ec)}, none, jwks.ES256, ec, 0},
		{"no kid, the same material twice and another", []string{ec.JWK("kid", "a"), noKid(ec), ecB.JWK()}, none, jwks.ES256, nil, verdict.AmbiguousKey},
		{"no kid, alg tells them apart", []string{rsa.JWK("alg", "RS256"), rsaB.JWK("alg", "PS256")}, none, jwks.PS256, rsaB, 0},
		{"no kid, alg names another", []string{rsa.JWK("alg", "RS256")}, none, jwks.PS256, nil, verdict.UnknownKey},
		{"no kid, EdDSA by its newer name", []string{ed.JWK("alg", "Ed25519")}, none, jwks.EdDSA, ed, 0},
		{"an algorithm of a secret", []string{ec.JWK(), cases.Secret.JWK()}, "secret", jwks.HS256, nil, verdict.UnknownKey},
		{"an algorithm of a secret without kid", []string{ec.JWK(), cases.Secret.JWK()}, none, jwks.HS256, nil, verdict.UnknownKey},
		{"no algorithm", []string{ec.JWK()}, none, 0, nil, verdict.UnknownKey},
		{"no algorithm that exists", []string{ec.JWK()}, "es256", 77, nil, verdict.UnknownKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := parseSet(t, c.set...)
			key, reason := s.Find([]byte(c.kid), c.kid != none, c.alg)
			assert.Equal(t, c.reason, reason)
			if c.signer == nil {
				assert.Nil(t, key)
				return
			}
			require.NotNil(t, key)
			assert.True(t, key.Verify(c.alg, signed, c.signer.Sign(c.alg.String(), signed)), "it is the signer's")
		})
	}
	var nothing *jwks.Set
	_, reason := nothing.Find(nil, false, jwks.ES256)
	assert.Equal(t, verdict.UnknownKey, reason)
	assert.Zero(t, nothing.Len())
}

// A key verifies under its own algorithms and no other, whatever it is asked.
func TestKeyIsTiedToItsAlgorithm(t *testing.T) {
	signers := []*cases.Key{cases.ES256, cases.ES384, cases.ES512, cases.RSA, cases.Ed25519}
	for _, k := range signers {
		key := parseSet(t, k.JWK()).Keys()[0]
		fits := key.Algorithms()
		for _, a := range jwks.Algorithms() {
			for _, by := range signers {
				for _, alg := range by.Algorithms() {
					want := by == k && alg == a.String()
					assert.Equalf(t, want, key.Verify(a, signed, by.Sign(alg, signed)), "%s as %s, signed by %s as %s", k.Name, a, by.Name, alg)
				}
			}
			if a.Symmetric() {
				assert.NotContains(t, fits, a)
			}
		}
		assert.False(t, key.Verify(0, signed, nil))
		assert.False(t, key.Verify(200, signed, nil))
		only := parseSet(t, k.JWK("alg", k.Alg)).Keys()[0]
		assert.Len(t, only.Algorithms(), 1)
	}
	only := parseSet(t, cases.RSA.JWK("alg", "RS256")).Keys()[0]
	assert.True(t, only.Verify(jwks.RS256, signed, cases.RSA.Sign("RS256", signed)))
	assert.False(t, only.Verify(jwks.PS256, signed, cases.RSA.Sign("PS256", signed)))
	assert.False(t, only.Verify(jwks.RS512, signed, cases.RSA.Sign("RS512", signed)))
}

func TestAlgorithms(t *testing.T) {
	names := strings.Fields("ES256 ES384 ES512 RS256 RS384 RS512 PS256 PS384 PS512 EdDSA HS256 HS384 HS512")
	sizes := map[string]int{"HS256": 32, "HS384": 48, "HS512": 64}
	require.Len(t, jwks.Algorithms(), len(names))
	for i, a := range jwks.Algorithms() {
		assert.Equal(t, names[i], a.String())
		parsed, ok := jwks.ParseAlgorithm(names[i])
		assert.True(t, ok)
		assert.Equal(t, a, parsed)
		assert.Equal(t, strings.HasPrefix(names[i], "HS"), a.Symmetric())
		assert.Equal(t, sizes[names[i]], a.SecretSize())
		for _, alg := range cases.Secret.Algorithms() {
			tag := cases.Secret.Sign(alg, signed)
			assert.Equal(t, alg == names[i], a.VerifySecret(cases.Secret.Bytes(), signed, tag), "%s as %s", alg, a)
		}
	}
	a, ok := jwks.ParseAlgorithm("Ed25519")
	assert.True(t, ok)
	assert.Equal(t, jwks.EdDSA, a)
	for _, name := range []string{"", "none", "None", "es256", "ES256 ", "ES256K", "Ed448", "RSA", "RS1", "HS1", "dir"} {
		_, ok := jwks.ParseAlgorithm(name)
		assert.False(t, ok, name)
	}
	assert.Empty(t, jwks.Algorithm(0).String())
	assert.Empty(t, jwks.Algorithm(99).String())
	assert.False(t, jwks.Algorithm(0).Symmetric())
}
