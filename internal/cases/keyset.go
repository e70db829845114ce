package cases

import (
	"encoding/json"
	"strings"

	"sessiongate/jwks"
	"sessiongate/verdict"
	"sessiongate/verifier"
)

// keys has tokens whose fate depends on the key set.
func keys() []Case {
	b := ownBase("key")
	es := with(b.header, "alg", "ES256", "kid", absent) // a header without kid
	noKid := func(name, set string, reason verdict.Reason) spec {
		return spec{name: name, rawHeader: text(es), set: set, reason: reason}
	}
	rs := func(name, alg, set string, reason verdict.Reason, header ...any) spec {
		return spec{name: name, key: RSA, alg: alg, header: header, set: set, reason: reason, issuer: func(is *verifier.Issuer) {
			is.Algorithms = []jwks.Algorithm{jwks.RS256, jwks.PS256, jwks.ES256}
		}}
	}
	stale := func(name string, age int64, reason verdict.Reason) spec {
		return spec{name: name, reason: reason, all: func(c *Case) {
			c.Issuers[0].MaxStale, c.Keys[0].ConfirmedAt = 60_000, Now-age
		}}
	}
	foreign := func(name string, header ...any) spec { // a key in the header signs
		return spec{name: name, key: &Key{Name: "es256", Alg: "ES256", signer: ES256B.signer}, header: header, reason: verdict.BadSignature}
	}
	flip := func(i int) func(string) string {
		return segment(2, func(s string) string {
			c := "A"
			if s[i] == 'A' {
				c = "B"
			}
			return s[:i] + c + s[i+1:]
		})
	}
	same := func(sub string) func(string) string { // claims changed after signing
		return segment(1, func(string) string { return encode([]byte(text(with(b.claims, "sub", sub)))) })
	}
	jwkB := json.RawMessage(ES256B.JWK())
	return b.build(
		spec{name: "by-kid-among-several", set: Set(RSA.JWK(), ES256B.JWK(), ES256.JWK(), Ed25519.JWK())},
		spec{name: "unknown-kid", header: []any{"kid", "other"}, reason: verdict.UnknownKey},
		spec{name: "kid-of-other-case", header: []any{"kid", "ES256"}, reason: verdict.UnknownKey},
		spec{name: "kid-empty", header: []any{"kid", ""}, reason: verdict.UnknownKey},
		spec{name: "kid-empty-in-both", header: []any{"kid", ""}, set: Set(ES256.JWK("kid", ""), ES256B.JWK())},
		spec{name: "kid-with-escapes", header: []any{"kid", "a/b \"c\" \u00e9"}, set: Set(ES256.JWK("kid", "a/b \"c\" \u00e9"))},
		spec{name: "kid-of-a-skipped-key", set: Set(ES256.JWK("use", "enc"), ES256B.JWK()), reason: verdict.UnknownKey},
		spec{name: "kid-of-a-key-without-kid", set: Set(ES256.JWK("kid", absent)), reason: verdict.UnknownKey},
		spec{name: "signed-by-another-key", key: &Key{Name: "es256", Alg: "ES256", signer: ES256B.signer}, reason: verdict.BadSignature},
		noKid("no-kid-one-key", Set(ES256.JWK()), verdict.None),
		noKid("no-kid-one-key-without-kid", Set(ES256.JWK("kid", absent)), verdict.None),
		noKid("no-kid-one-key-that-fits", Set(RSA.JWK(), ES256.JWK(), ES384.JWK(), Ed25519.JWK()), verdict.None),
		noKid("no-kid-one-key-under-two-kids", Set(ES256.JWK("kid", "a"), ES256.JWK("kid", "b")), verdict.None),
		noKid("no-kid-none-that-fits", Set(RSA.JWK(), ES384.JWK()), verdict.UnknownKey),
		noKid("no-kid-several", Set(ES256.JWK(), ES256B.JWK()), verdict.AmbiguousKey),
		noKid("no-kid-several-one-without-kid", Set(ES256.JWK("kid", absent), ES256B.JWK()), verdict.AmbiguousKey),
		noKid("no-kid-one-skipped", Set(ES256.JWK(), ES256B.JWK("use", "enc")), verdict.None),
		rs("no-kid-told-apart-by-alg", "RS256", Set(RSA.JWK("alg", "RS256"), RSAB.JWK("alg", "PS256")), verdict.None, "kid", absent),

		spec{name: "kid-twice-same-material", set: Set(ES256.JWK(), ES256.JWK("use", "sig"))},
		spec{name: "kid-twice-other-material", set: Set(ES256.JWK(), ES256B.JWK("kid", "es256")), reason: verdict.AmbiguousKey},
		spec{name: "kid-twice-other-material-other-order", set: Set(ES256B.JWK("kid", "es256"), ES256.JWK()), reason: verdict.AmbiguousKey},
		spec{name: "kid-three-times-two-the-same", set: Set(ES256.JWK(), ES256B.JWK("kid", "es256"), ES256.JWK()), reason: verdict.AmbiguousKey},
		spec{name: "kid-twice-one-broken", set: Set(ES256B.JWK("kid", "es256", "crv", "P-384"), ES256.JWK())},
		spec{name: "kid-twice-other-curve", set: Set(ES256.JWK(), ES384.JWK("kid", "es256")), reason: verdict.AmbiguousKey},
		spec{name: "kid-of-two-kinds-EC", set: Set(RSA.JWK("kid", "es256"), ES256.JWK())},
		rs("kid-of-two-kinds-RSA", "RS256", Set(RSA.JWK(), ES256.JWK("kid", "rsa")), verdict.None),
		rs("kid-twice-same-material-for-two-algs", "PS256", Set(RSA.JWK("alg", "RS256"), RSA.JWK("alg", "PS256")), verdict.None),
		rs("kid-twice-other-material-other-alg", "RS256", Set(RSA.JWK("alg", "RS256"), RSAB.JWK("kid", "rsa", "alg", "PS256")), verdict.AmbiguousKey),
		rs("alg-member-fits", "RS256", Set(RSA.JWK("alg", "RS256")), verdict.None),
		spec{name: "alg-Ed25519-in-the-set", key: Ed25519, set: Set(Ed25519.JWK("alg", "Ed25519")), issuer: allowEdDSA},
		spec{name: "alg-EdDSA-in-the-set", key: Ed25519, alg: "Ed25519", set: Set(Ed25519.JWK("alg", "EdDSA")), issuer: allowEdDSA},

		foreign("jwk-in-the-header", "jwk", jwkB),
		foreign("jku-in-the-header", "jku", "http://127.0.0.1:9/keys"),
		foreign("x5u-in-the-header", "x5u", "http://127.0.0.1:9/chain"),
		foreign("x5c-in-the-header", "x5c", []string{"MIIB"}),
		spec{name: "jwk-in-the-header-and-no-kid", key: ES256B, header: []any{"kid", absent, "jwk", jwkB}, reason: verdict.BadSignature},
		spec{name: "jwk-in-the-header-of-unknown-kid", key: ES256B, header: []any{"jwk", jwkB}, reason: verdict.UnknownKey},
		spec{name: "jwk-in-the-header-is-ignored", header: []any{"jwk", jwkB, "jku", 1, "x5c", nil}},

		spec{name: "signature-first-character", edit: flip(0), reason: verdict.BadSignature},
		spec{name: "signature-in-the-middle", edit: flip(43), reason: verdict.BadSignature},
		spec{name: "claims-changed", edit: same("user_2"), reason: verdict.BadSignature},
		spec{name: "signature-too-short", edit: segment(2, func(s string) string { return s[:84] }), reason: verdict.BadSignature},
		spec{name: "signature-too-long", edit: segment(2, func(s string) string { return "AAAA" + s }), reason: verdict.BadSignature},
		spec{name: "signature-of-one-character-more", edit: segment(2, func(s string) string { return s + "A" }), reason: verdict.BadSignature},
		spec{name: "signature-of-zeros", edit: segment(2, func(string) string { return strings.Repeat("A", 86) }), reason: verdict.BadSignature},
		spec{name: "signature-of-another-token", edit: segment(2, func(string) string { return encode(ES256.Sign("ES256", []byte("x.y"))) }), reason: verdict.BadSignature},

		spec{name: "unavailable-none-arrived", reason: verdict.KeysUnavailable, all: func(c *Case) { c.Keys[0].Document = "" }},
		spec{name: "unavailable-none-usable", set: Set(ES256.JWK("use", "enc")), reason: verdict.KeysUnavailable},
		stale("stale-at-the-bound", 60_000, verdict.None),
		stale("stale-a-millisecond-over", 60_001, verdict.KeysStale),
		stale("stale-for-ever", Now, verdict.KeysStale),
		stale("confirmed-in-the-future", -60_000, verdict.None),
	)
}

func allowEdDSA(is *verifier.Issuer) { is.Algorithms = []jwks.Algorithm{jwks.EdDSA} }
