package cases

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"sessiongate/jwks"
	"sessiongate/verdict"
	"sessiongate/verifier"
)

// whole is an edit that has nothing of the token left.
func whole(token string) func(string) string { return func(string) string { return token } }

// segment edits one segment of a token, 0 to 2, after it was signed.
func segment(i int, edit func(string) string) func(string) string {
	return func(token string) string {
		s := strings.Split(token, ".")
		s[i] = edit(s[i])
		return strings.Join(s, ".")
	}
}

// nested is an array in itself so many levels deep.
func nested(levels int) json.RawMessage {
	return json.RawMessage(strings.Repeat("[", levels) + strings.Repeat("]", levels))
}

func indent(object JSON) string {
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(text(object)), "\n", "\t"); err != nil {
		panic(err)
	}
	return " " + b.String() + "\r\n"
}

// many has n members.
func many(object JSON, n int) string {
	object = with(object)
	for i := 0; len(object) < n; i++ {
		object[fmt.Sprintf("m%d", i)] = i
	}
	return text(object)
}

// joined is the object's text with more members behind its own.
func joined(object JSON, members string) string {
	return strings.TrimSuffix(text(object), "}") + "," + members + "}"
}

// form has tokens that differ in how they are written.
func form() []Case {
	b := ownBase("form")
	header := with(b.header, "alg", "ES256", "kid", "es256")
	malformed := func(name string, edit func(string) string) spec {
		return spec{name: name, edit: edit, reason: verdict.Malformed}
	}
	badHeader := func(name, raw string) spec {
		return spec{name: "header-" + name, rawHeader: raw, reason: verdict.Malformed}
	}
	badClaims := func(name, raw string) spec {
		return spec{name: "claims-" + name, rawClaims: raw, reason: verdict.Malformed}
	}
	badClaim := func(name, member string, value any) spec {
		return spec{name: "claim-" + name, claims: []any{member, value}, reason: verdict.Malformed}
	}
	critical := func(name string, changes ...any) spec {
		return spec{name: name, header: changes, reason: verdict.CriticalHeader}
	}
	return b.build(
		spec{name: "good"},
		spec{name: "good-inline-keys", inline: true},
		spec{name: "good-inline-keys-do-not-age", inline: true, at: 49_000},
		spec{name: "white-space-inside-the-json", rawHeader: indent(header), rawClaims: indent(b.claims)},
		spec{name: "escapes-in-names-and-values", rawHeader: `{"\u0061lg":"ES\u003256","kid":"es256","typ":"at\u002bjwt"}`,
			rawClaims: strings.NewReplacer(`"iss"`, `"\u0069\u0073s"`, `"api"`, `"\u0061pi"`, `"user_1"`, `"us\u0065r_1"`).Replace(text(b.claims))},
		spec{name: "subject-of-any-characters", claims: []any{"sub", "A\u00e9\u4e16\U0001F600\"\\/\b\f\n\r\t\u0000\u2028<&>"},
			principal: func(p *verdict.Principal) { p.Subject = "A\u00e9\u4e16\U0001F600\"\\/\b\f\n\r\t\u0000\u2028<&>" }},
		spec{name: "subject-of-a-surrogate-pair", rawClaims: strings.Replace(text(b.claims), `"user_1"`, `"\uD83D\ude00"`, 1),
			principal: func(p *verdict.Principal) { p.Subject = "\U0001F600" }},
		spec{name: "unknown-members", header: []any{"x", JSON{"y": []any{nil, true, false, 1.5e3, "z"}}}, claims: []any{"x", JSON{"y": []any{nil, true, false, -1.5e-3, "z"}}}},
		spec{name: "claims-of-32-levels", claims: []any{"deep", nested(31)}},
		spec{name: "claims-of-256-members", rawClaims: many(b.claims, 256)},
		spec{name: "header-of-32-levels", header: []any{"deep", nested(31)}},

		malformed("empty", whole("")),
		malformed("one-dot", whole(".")),
		malformed("two-dots", whole("..")),
		malformed("no-dot", whole("abcd")),
		malformed("one-segment-short", func(t string) string { return t[:strings.LastIndexByte(t, '.')] }),
		malformed("four-segments", func(t string) string { return t + ".AAAA" }),
		malformed("five-segments", func(t string) string { return t + ".AAAA.AAAA" }),
		malformed("trailing-dot", func(t string) string { return t + "." }),
		malformed("leading-dot", func(t string) string { return "." + t }),
		malformed("no-header", segment(0, func(string) string { return "" })),
		malformed("no-claims", segment(1, func(string) string { return "" })),
		malformed("leading-space", func(t string) string { return " " + t }),
		malformed("trailing-space", func(t string) string { return t + " " }),
		malformed("trailing-newline", func(t string) string { return t + "\n" }),
		malformed("trailing-nul", func(t string) string { return t + "\x00" }),
		malformed("newline-in-header", segment(0, func(s string) string { return s[:8] + "\n" + s[8:] })),
		malformed("newlines-in-claims", segment(1, func(s string) string { return s[:8] + "\r\n" + s[8:] })),
		malformed("space-in-signature", segment(2, func(s string) string { return s[:8] + " " + s[8:] })),
		malformed("padded-header", segment(0, func(s string) string { return s + "=" })),
		malformed("padded-signature", segment(2, func(s string) string { return s + "==" })),
		malformed("plus-in-signature", segment(2, func(s string) string { return "+" + s[1:] })),
		malformed("slash-in-signature", segment(2, func(s string) string { return "/" + s[1:] })),
		malformed("percent-in-claims", segment(1, func(s string) string { return "%" + s[1:] })),
		malformed("not-ascii", segment(1, func(s string) string { return "é" + s[2:] })),
		malformed("signature-with-loose-bits", segment(2, func(s string) string { // 64 bytes end in a character with four unused bits
			return s[:len(s)-1] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[strings.IndexByte("AQgw", s[len(s)-1])*16+1])
		})),
		malformed("signature-of-three-characters-more", segment(2, func(s string) string { return s + "AAA" })),
		malformed("json-serialization", func(t string) string {
			s := strings.Split(t, ".")
			return text(JSON{"protected": s[0], "payload": s[1], "signature": s[2]})
		}),
		malformed("encrypted", whole("eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..AAAA.AAAA.AAAA")),
		malformed("bearer-scheme-left-on", func(t string) string { return "Bearer " + t }),

		badHeader("not-json", "ES256"),
		badHeader("empty", "\x00"),
		badHeader("null", "null"),
		badHeader("array", `["ES256"]`),
		badHeader("string", `"ES256"`),
		badHeader("number", "1"),
		badHeader("trailing-comma", `{"alg":"ES256","kid":"es256","typ":"at+jwt",}`),
		badHeader("trailing-bytes", text(header)+"x"),
		badHeader("two-objects", text(header)+text(header)),
		badHeader("trailing-nul", text(header)+"\x00"),
		badHeader("byte-order-mark", "\ufeff"+text(header)),
		badHeader("single-quotes", strings.ReplaceAll(text(header), `"`, `'`)),
		badHeader("comment", "/**/"+text(header)),
		badHeader("without-alg", text(with(header, "alg", absent))),
		badHeader("alg-twice", joined(header, `"alg":"ES256"`)),
		badHeader("alg-twice-once-escaped", joined(header, `"\u0061lg":"none"`)),
		badHeader("kid-twice", joined(header, `"kid":"other"`)),
		badHeader("unknown-member-twice", joined(header, `"x":1,"x":1`)),
		badHeader("nested-member-twice", joined(header, `"x":{"y":1,"y":1}`)),
		badHeader("alg-null", text(with(header, "alg", nil))),
		badHeader("alg-number", text(with(header, "alg", 256))),
		badHeader("alg-array", text(with(header, "alg", []string{"ES256"}))),
		badHeader("kid-null", text(with(header, "kid", nil))),
		badHeader("kid-number", text(with(header, "kid", 1))),
		badHeader("kid-array", text(with(header, "kid", []string{"es256"}))),
		badHeader("typ-null", text(with(header, "typ", nil))),
		badHeader("typ-array", text(with(header, "typ", []string{"at+jwt"}))),
		badHeader("cty-number", text(with(header, "cty", 1))),
		badHeader("invalid-utf-8", strings.Replace(text(header), "at+jwt", "at+jwt\xff", 1)),
		badHeader("utf-16", strings.Join(strings.Split(text(header), ""), "\x00")+"\x00"),
		badHeader("control-byte", strings.Replace(text(header), "at+jwt", "at+\njwt", 1)),

		badClaims("not-json", "hello"),
		badClaims("null", "null"),
		badClaims("array", "["+text(b.claims)+"]"),
		badClaims("string", `"claims"`),
		badClaims("true", "true"),
		badClaims("unclosed", strings.TrimSuffix(text(b.claims), "}")),
		badClaims("trailing-bytes", text(b.claims)+"{}"),
		badClaims("trailing-comma", joined(b.claims, "")),
		badClaims("byte-order-mark", "\ufeff"+text(b.claims)),
		badClaims("exp-twice", joined(b.claims, `"exp":9999999999`)),
		badClaims("exp-twice-once-escaped", joined(b.claims, `"e\u0078p":9999999999`)),
		badClaims("nested-member-twice", joined(b.claims, `"x":[{"y":1,"y":2}]`)),
		badClaims("lone-surrogate", joined(b.claims, `"x":"\ud83d"`)),
		badClaims("reversed-surrogates", joined(b.claims, `"x":"\ude00\ud83d"`)),
		badClaims("invalid-utf-8", joined(b.claims, "\"x\":\"\xc3\x28\"")),
		badClaims("overlong-utf-8", joined(b.claims, "\"x\":\"\xc0\xae\"")),
		badClaims("surrogate-in-utf-8", joined(b.claims, "\"x\":\"\xed\xa0\x80\"")),
		badClaims("nan", joined(b.claims, `"x":NaN`)),
		badClaims("leading-zero", joined(b.claims, `"x":01`)),
		badClaims("leading-plus", joined(b.claims, `"x":+1`)),
		badClaims("bare-point", joined(b.claims, `"x":1.`)),
		badClaims("hexadecimal", joined(b.claims, `"x":0x1`)),
		badClaims("capital-true", joined(b.claims, `"x":True`)),
		badClaims("form-feed", joined(b.claims, "\f\"x\":1")),

		badClaim("exp-string", "exp", "1700000050"),
		badClaim("exp-null", "exp", nil),
		badClaim("exp-true", "exp", true),
		badClaim("exp-array", "exp", []int{now + 50}),
		badClaim("exp-after-year-9999", "exp", 253402300800),
		badClaim("exp-overflow", "exp", json.RawMessage("1e400")),
		badClaim("exp-twenty-digits", "exp", json.RawMessage("17000000500000000000")),
		badClaim("nbf-string", "nbf", "0"),
		badClaim("nbf-null", "nbf", nil),
		badClaim("nbf-overflow", "nbf", json.RawMessage("-1e99")),
		badClaim("iat-string", "iat", "0"),
		badClaim("iat-object", "iat", JSON{}),
		badClaim("iss-null", "iss", nil),
		badClaim("iss-number", "iss", 1),
		badClaim("iss-array", "iss", []string{"https://issuer.test"}),
		badClaim("sub-number", "sub", 1),
		badClaim("sub-null", "sub", nil),
		badClaim("jti-number", "jti", 1),
		badClaim("sid-null", "sid", nil),
		badClaim("azp-array", "azp", []string{"web"}),
		badClaim("aud-null", "aud", nil),
		badClaim("aud-number", "aud", 1),
		badClaim("aud-object", "aud", JSON{"api": true}),
		badClaim("aud-empty", "aud", []string{}),
		badClaim("aud-of-a-number", "aud", []any{"api", 1}),
		badClaim("aud-of-a-list", "aud", []any{[]string{"api"}}),

		critical("crit-unknown", "crit", []string{"exp"}),
		critical("crit-b64", "crit", []string{"b64"}, "b64", true),
		critical("crit-empty", "crit", []string{}),
		critical("crit-null", "crit", nil),
		critical("crit-of-a-known-parameter", "crit", []string{"alg"}),
		critical("b64-false", "b64", false),
		critical("b64-true", "b64", true),

		spec{name: "token-of-16384-bytes", rawClaims: sized(b, MaxToken), reason: verdict.None},
		spec{name: "token-over-16384-bytes", rawClaims: sized(b, MaxToken+1), reason: verdict.TooLarge},
		spec{name: "token-of-a-megabyte", edit: whole(strings.Repeat("A", 1<<20)), reason: verdict.TooLarge},
		spec{name: "header-over-4096-bytes", header: []any{"x", strings.Repeat("x", 4096)}, reason: verdict.TooLarge},
		spec{name: "header-of-33-levels", header: []any{"deep", nested(32)}, reason: verdict.TooLarge},
		spec{name: "header-of-257-members", rawHeader: many(header, 257), reason: verdict.TooLarge},
		spec{name: "claims-of-33-levels", claims: []any{"deep", nested(32)}, reason: verdict.TooLarge},
		spec{name: "claims-of-257-members", rawClaims: many(b.claims, 257), reason: verdict.TooLarge},
		spec{name: "claim-of-257-members", claims: []any{"x", json.RawMessage(many(JSON{}, 257))}, reason: verdict.TooLarge},
	)
}

// MaxToken is the longest token that is looked at, in bytes.
const MaxToken = verifier.MaxTokenBytes

// sized pads claims so that the token has about n bytes: exactly, or one less or
// more where base64url has no text of that length, but on the wanted side.
func sized(b base, n int) string {
	header := text(with(b.header, "alg", "ES256", "kid", "es256"))
	rest := n - len(encode([]byte(header))) - 2 - len(encode(make([]byte, 64)))
	length := rest * 3 / 4 // longest text whose spelling fits into rest characters
	if n > MaxToken {
		length++
	}
	claims := text(with(b.claims, "pad", ""))
	return text(with(b.claims, "pad", strings.Repeat("x", length-len(claims))))
}

// algorithms has every algorithm, and tokens under one that is not allowed.
func algorithms() []Case {
	b := ownBase("algorithm")
	allow := func(list ...jwks.Algorithm) func(*verifier.Issuer) {
		return func(is *verifier.Issuer) { is.Algorithms = list }
	}
	accepted := func(alg string, key *Key, a jwks.Algorithm) spec {
		return spec{name: alg, key: key, alg: alg, set: Set(key.JWK()), issuer: allow(a)}
	}
	secret := func(alg string, a jwks.Algorithm) spec {
		return spec{name: alg, key: Secret, alg: alg, issuer: func(is *verifier.Issuer) {
			is.Algorithms, is.Secret, is.MaxStale = []jwks.Algorithm{a}, Secret.Bytes(), 0
		}}
	}
	refused := func(s spec, reason verdict.Reason) spec {
		s.reason = reason
		return s
	}
	unsigned := func(alg string) spec {
		return spec{name: "none-" + strings.ReplaceAll(alg, " ", "_"), header: []any{"alg", alg},
			edit: segment(2, func(string) string { return "" }), reason: verdict.AlgorithmNotAllowed}
	}
	confused := func(name, secret string) spec { // the text of a public key as an HMAC secret
		return spec{name: name, key: &Key{Name: RSA.Name, Alg: "HS256", secret: []byte(secret)}, set: Set(RSA.JWK()),
			issuer: allow(jwks.RS256), reason: verdict.AlgorithmNotAllowed}
	}
	short := secret("HS256", jwks.HS256)
	short.name, short.edit = "HS256-tag-cut-short", segment(2, func(s string) string { return s[:20] })
	other := secret("HS256", jwks.HS256)
	other.name, other.key = "HS256-other-secret", &Key{Name: "secret", Alg: "HS256", secret: []byte("another")}
	mixed := secret("HS512", jwks.HS256)
	mixed.name = "HS512-where-HS256-is-allowed"
	noSig := spec{name: "signature-empty", edit: segment(2, func(string) string { return "" })}
	list := []spec{
		accepted("ES256", ES256, jwks.ES256), accepted("ES384", ES384, jwks.ES384), accepted("ES512", ES512, jwks.ES512),
		accepted("RS256", RSA, jwks.RS256), accepted("RS384", RSA, jwks.RS384), accepted("RS512", RSA, jwks.RS512),
		accepted("PS256", RSA, jwks.PS256), accepted("PS384", RSA, jwks.PS384), accepted("PS512", RSA, jwks.PS512),
		accepted("EdDSA", Ed25519, jwks.EdDSA), accepted("Ed25519", Ed25519, jwks.EdDSA),
		secret("HS256", jwks.HS256), secret("HS384", jwks.HS384), secret("HS512", jwks.HS512),
		{name: "one-of-several", issuer: allow(jwks.RS256, jwks.EdDSA, jwks.ES256)},

		unsigned("none"), unsigned("None"), unsigned("NONE"), unsigned("nOnE"), unsigned(""), unsigned("none "), unsigned("HS0"),
		{name: "none-with-a-signature", header: []any{"alg", "none"}, reason: verdict.AlgorithmNotAllowed},
		{name: "lower-case", header: []any{"alg", "es256"}, reason: verdict.AlgorithmNotAllowed},
		{name: "unknown", header: []any{"alg", "ES256K"}, reason: verdict.AlgorithmNotAllowed},
		{name: "encryption", header: []any{"alg", "RSA-OAEP"}, reason: verdict.AlgorithmNotAllowed},
		{name: "kty-for-alg", header: []any{"alg", "EC"}, reason: verdict.AlgorithmNotAllowed},
		{name: "PS256-where-RS256-is-allowed", key: RSA, alg: "PS256", set: Set(RSA.JWK()), issuer: allow(jwks.RS256), reason: verdict.AlgorithmNotAllowed},
		{name: "EdDSA-where-ES256-is-allowed", key: Ed25519, set: Set(Ed25519.JWK(), ES256.JWK()), reason: verdict.AlgorithmNotAllowed},
		{name: "HS256-where-ES256-is-allowed", key: Secret, set: Set(ES256.JWK()), reason: verdict.AlgorithmNotAllowed},
		confused("HS256-under-the-modulus", RSA.JWK()),
		confused("HS256-under-the-key-set", Set(RSA.JWK())),
		{name: "ES256-where-a-secret-is-configured", issuer: func(is *verifier.Issuer) {
			is.Algorithms, is.Secret, is.MaxStale = []jwks.Algorithm{jwks.HS256}, Secret.Bytes(), 0
		}, reason: verdict.AlgorithmNotAllowed},
		{name: "ES256-names-a-P-384-key", key: ES384, alg: "ES384", header: []any{"alg", "ES256"}, set: Set(ES384.JWK()),
			issuer: allow(jwks.ES256, jwks.ES384), reason: verdict.AlgorithmNotAllowed},
		{name: "ES384-names-a-P-256-key", key: ES256, header: []any{"alg", "ES384"}, set: Set(ES256.JWK()),
			issuer: allow(jwks.ES256, jwks.ES384), reason: verdict.AlgorithmNotAllowed},
		{name: "PS256-names-a-key-for-RS256", key: RSA, alg: "PS256", set: Set(RSA.JWK("alg", "RS256")),
			issuer: allow(jwks.RS256, jwks.PS256), reason: verdict.AlgorithmNotAllowed},
		{name: "RS256-signature-says-PS256", key: RSA, alg: "RS256", header: []any{"alg", "PS256"}, set: Set(RSA.JWK()),
			issuer: allow(jwks.RS256, jwks.PS256), reason: verdict.BadSignature},
		{name: "RS256-signature-says-RS512", key: RSA, alg: "RS256", header: []any{"alg", "RS512"}, set: Set(RSA.JWK()),
			issuer: allow(jwks.RS256, jwks.RS512), reason: verdict.BadSignature},
		{name: "secret-in-the-key-set", key: Secret, set: Set(Secret.JWK(), ES256.JWK()), reason: verdict.AlgorithmNotAllowed},
		refused(short, verdict.BadSignature), refused(other, verdict.BadSignature), refused(mixed, verdict.AlgorithmNotAllowed),
		refused(noSig, verdict.BadSignature),
	}
	return b.build(list...)
}
