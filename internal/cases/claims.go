package cases

import (
	"encoding/json"
	"math/big"

	"sessiongate/jwks"
	"sessiongate/verdict"
	"sessiongate/verifier"
)

// types has typ headers.
func types() []Case {
	own, clerk, jwt := ownBase("type/own"), clerk2Base("type/clerk"), jwtBase("type/jwt")
	typ := func(name string, value any, reason verdict.Reason) spec {
		return spec{name: name, header: []any{"typ", value}, reason: reason}
	}
	accept := func(s spec, list ...string) spec {
		s.issuer = func(is *verifier.Issuer) { is.Types = list }
		return s
	}
	any := typ("unchecked", "dpop+jwt", verdict.None)
	any.issuer = func(is *verifier.Issuer) { is.UncheckedType = true }
	return append(append(own.build(
		typ("at+jwt", "at+jwt", verdict.None),
		typ("media-type", "application/at+jwt", verdict.None),
		typ("any-case", "Application/AT+JWT", verdict.None),
		typ("absent", absent, verdict.WrongType),
		typ("empty", "", verdict.WrongType),
		typ("JWT", "JWT", verdict.WrongType),
		typ("logout-token", "logout+jwt", verdict.WrongType),
		typ("status-list", "statuslist+jwt", verdict.WrongType),
		typ("with-parameter", "at+jwt;v=1", verdict.WrongType),
		typ("other-media-type", "text/at+jwt", verdict.WrongType),
		typ("prefix-alone", "application/", verdict.WrongType),
		typ("prefix-twice", "application/application/at+jwt", verdict.WrongType),
		accept(typ("configured", "Session+JWT", verdict.None), "session+jwt", "at+jwt"),
		accept(typ("configured-absent", absent, verdict.None), ""),
		accept(typ("configured-absent-and-present", "at+jwt", verdict.WrongType), ""),
		any,
	), clerk.build(
		typ("JWT", "JWT", verdict.None),
		typ("absent", absent, verdict.None),
		typ("at+jwt", "at+jwt", verdict.WrongType),
	)...), jwt.build(
		typ("at+jwt", "at+jwt", verdict.None),
		typ("JWT", "jwt", verdict.None),
		typ("absent", absent, verdict.None),
		typ("dpop", "dpop+jwt", verdict.WrongType),
	)...)
}

// times has dates and the instants around them. The leeway is 5 s.
func times() []Case {
	b := ownBase("time")
	at := func(name string, at int64, reason verdict.Reason, changes ...any) spec {
		return spec{name: name, at: at, reason: reason, claims: changes, principal: func(p *verdict.Principal) {
			for i := 0; i < len(changes); i += 2 {
				ms := int64(0)
				if changes[i+1] != absent {
					ms = millis(text(changes[i+1]))
				}
				switch changes[i] {
				case "exp":
					p.ExpiresAt = ms
				case "iat":
					p.IssuedAt = ms
				}
			}
		}}
	}
	issuer := func(s spec, edit func(*verifier.Issuer)) spec {
		s.issuer = edit
		return s
	}
	leeway := func(ms int64) func(*verifier.Issuer) { return func(is *verifier.Issuer) { is.Leeway = ms } }
	life := func(ms int64) func(*verifier.Issuer) { return func(is *verifier.Issuer) { is.MaxLifetime = ms } }
	optional := func(is *verifier.Issuer) { is.OptionalExpiry = true }
	number := func(s string) json.RawMessage { return json.RawMessage(s) }
	return b.build(
		at("exp-last-instant", 54_999, verdict.None),
		at("exp-reached", 55_000, verdict.Expired),
		at("exp-long-ago", 1_000_000_000, verdict.Expired),
		issuer(at("exp-no-leeway-last-instant", 49_999, verdict.None), leeway(0)),
		issuer(at("exp-no-leeway-reached", 50_000, verdict.Expired), leeway(0)),
		issuer(at("exp-longest-leeway-last-instant", 349_999, verdict.None), leeway(300_000)),
		issuer(at("exp-longest-leeway-reached", 350_000, verdict.Expired), leeway(300_000)),
		at("exp-fraction-last-instant", 55_249, verdict.None, "exp", number("1700000050.25")),
		at("exp-fraction-reached", 55_250, verdict.Expired, "exp", number("1700000050.25")),
		at("exp-finer-than-a-millisecond-last-instant", 55_000, verdict.None, "exp", number("1700000050.0001")),
		at("exp-finer-than-a-millisecond-reached", 55_001, verdict.Expired, "exp", number("1700000050.0001")),
		at("exp-exponent", 0, verdict.None, "exp", number("1.70000005e9")),
		at("exp-negative-exponent", 0, verdict.None, "exp", number("17000000500e-1")),
		at("exp-0", 0, verdict.Expired, "exp", 0, "iat", absent),
		at("exp-0.0", 0, verdict.Expired, "exp", number("0.0"), "iat", absent),
		at("exp-negative", 0, verdict.Expired, "exp", -1, "iat", absent),
		at("exp-missing", 0, verdict.MissingClaim, "exp", absent),
		issuer(at("exp-optional", 0, verdict.None, "exp", absent), optional),
		issuer(at("exp-optional-but-there", 55_000, verdict.Expired), optional),

		at("nbf-in-the-leeway", -15_000, verdict.None, "iat", absent),
		at("nbf-a-millisecond-before", -15_001, verdict.NotYetValid, "iat", absent),
		at("nbf-before-iat", -15_001, verdict.NotYetValid),
		issuer(at("nbf-no-leeway", -10_000, verdict.None), leeway(0)),
		issuer(at("nbf-no-leeway-a-millisecond-before", -10_001, verdict.NotYetValid), leeway(0)),
		at("nbf-fraction-reached", -9_500, verdict.None, "nbf", number("1699999995.4999")),
		at("nbf-fraction-a-millisecond-before", -9_501, verdict.NotYetValid, "nbf", number("1699999995.4999")),
		at("nbf-missing", 0, verdict.None, "nbf", absent),
		at("nbf-0", 0, verdict.None, "nbf", 0),
		at("nbf-far-future", 0, verdict.NotYetValid, "nbf", 99_999_999_999),

		at("iat-in-the-leeway", -15_000, verdict.None, "nbf", absent),
		at("iat-a-millisecond-before", -15_001, verdict.IssuedInFuture, "nbf", absent),
		issuer(at("iat-no-leeway-a-millisecond-before", -10_001, verdict.IssuedInFuture, "nbf", absent), leeway(0)),
		at("iat-missing", 0, verdict.None, "iat", absent),
		at("iat-0", 0, verdict.LifetimeTooLong, "iat", 0),
		issuer(at("iat-0-unchecked-lifetime", 0, verdict.None, "iat", 0), life(0)),
		issuer(at("iat-minus-zero", 0, verdict.None, "iat", number("-0")), life(0)),
		issuer(at("iat-before-1970", 0, verdict.None, "iat", number("-1.5")), life(0)),

		issuer(at("lifetime-at-the-bound", 0, verdict.None), life(60_000)),
		issuer(at("lifetime-over-the-bound", 0, verdict.LifetimeTooLong), life(59_000)),
		at("lifetime-of-a-day", 0, verdict.None, "exp", now-10+86_400),
		at("lifetime-over-a-day", 0, verdict.LifetimeTooLong, "exp", now-10+86_401),
		at("lifetime-over-a-day-by-a-millisecond", 0, verdict.LifetimeTooLong, "exp", number("1700086390.001")),
		issuer(at("lifetime-unchecked", 0, verdict.None, "exp", 9_999_999_999), life(0)),
		at("lifetime-from-now-without-iat", 0, verdict.None, "iat", absent, "exp", now+86_400),
		at("lifetime-from-now-without-iat-over", 0, verdict.LifetimeTooLong, "iat", absent, "exp", now+86_401),
		issuer(at("lifetime-without-exp", 0, verdict.None, "exp", absent), optional),
	)
}

// millis is a number of seconds in whole milliseconds, rounded up.
func millis(seconds string) int64 {
	r, ok := new(big.Rat).SetString(seconds)
	if !ok {
		panic(seconds)
	}
	r.Mul(r, big.NewRat(1000, 1))
	n := new(big.Int).Add(r.Num(), r.Denom())
	return n.Sub(n, big.NewInt(1)).Div(n, r.Denom()).Int64()
}

// recipients has whom a token is for, and to whom it was issued.
func recipients() []Case {
	b := ownBase("recipient")
	audience := func(list ...string) func(*verifier.Issuer) {
		return func(is *verifier.Issuer) { is.Audience = list }
	}
	parties := func(list ...string) func(*verifier.Issuer) {
		return func(is *verifier.Issuer) { is.Parties = list }
	}
	only := func(list ...string) func(*verifier.Issuer) {
		return func(is *verifier.Issuer) { is.Audience, is.Parties = nil, list }
	}
	unchecked := func(is *verifier.Issuer) { is.Audience, is.UncheckedAudience = nil, true }
	azp := func(v string) func(*verdict.Principal) { return func(p *verdict.Principal) { p.Party = v } }
	return b.build(
		spec{name: "aud-text", claims: []any{"aud", "api"}},
		spec{name: "aud-one-of-its-list", claims: []any{"aud", []string{"other", "api"}}},
		spec{name: "aud-one-of-ours", issuer: audience("x", "api")},
		spec{name: "aud-other", claims: []any{"aud", "other"}, reason: verdict.WrongAudience},
		spec{name: "aud-others", claims: []any{"aud", []string{"a", "b"}}, reason: verdict.WrongAudience},
		spec{name: "aud-of-other-case", claims: []any{"aud", "API"}, reason: verdict.WrongAudience},
		spec{name: "aud-prefix", claims: []any{"aud", "ap"}, reason: verdict.WrongAudience},
		spec{name: "aud-longer", claims: []any{"aud", "api/"}, reason: verdict.WrongAudience},
		spec{name: "aud-list-in-a-text", claims: []any{"aud", "other api"}, reason: verdict.WrongAudience},
		spec{name: "aud-empty-text", claims: []any{"aud", ""}, reason: verdict.WrongAudience},
		spec{name: "aud-missing", claims: []any{"aud", absent}, reason: verdict.MissingClaim},
		spec{name: "aud-unchecked", claims: []any{"aud", "other"}, issuer: unchecked},
		spec{name: "aud-unchecked-missing", claims: []any{"aud", absent}, issuer: unchecked},
		spec{name: "azp", issuer: parties("web")},
		spec{name: "azp-one-of-ours", issuer: parties("mobile", "web")},
		spec{name: "azp-other", issuer: parties("mobile"), reason: verdict.WrongParty},
		spec{name: "azp-of-other-case", issuer: parties("Web"), reason: verdict.WrongParty},
		spec{name: "azp-missing", claims: []any{"azp", absent}, issuer: parties("web"), reason: verdict.MissingClaim},
		spec{name: "azp-missing-and-not-wanted", claims: []any{"azp", absent}, principal: azp("")},
		spec{name: "azp-alone-without-aud", claims: []any{"aud", absent}, issuer: only("web")},
		spec{name: "azp-alone-and-an-aud-that-nobody-is", issuer: only("web"), reason: verdict.WrongAudience},
		spec{name: "azp-right-aud-wrong", claims: []any{"aud", "other"}, issuer: parties("web"), reason: verdict.WrongAudience},
		spec{name: "cnf-thumbprint", claims: []any{"cnf", JSON{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}, reason: verdict.ProofRequired},
		spec{name: "cnf-empty", claims: []any{"cnf", JSON{}}, reason: verdict.ProofRequired},
		spec{name: "cnf-null", claims: []any{"cnf", nil}, reason: verdict.ProofRequired},
	)
}

// issuers has several issuers, and iss itself.
func issuers() []Case {
	b := ownBase("issuer")
	// two adds a second issuer with keys of its own under the same kid.
	two := func(c *Case) {
		second := c.Issuers[0]
		second.Name, second.Algorithms, second.Dialect = "https://second.test", []jwks.Algorithm{jwks.ES256, jwks.RS256}, verifier.JWT
		second.Audience, second.UncheckedAudience = nil, true
		c.Issuers = append(c.Issuers, second)
		c.Keys = append(c.Keys, KeySet{Document: Set(ES256B.JWK("kid", "es256"), RSA.JWK()), ConfirmedAt: Now})
	}
	secondKey := &Key{Name: "es256", Alg: "ES256", signer: ES256B.signer}
	jwt := func(p *verdict.Principal) {
		p.Issuer, p.Type, p.Tenant, p.Roles, p.Permissions = "https://second.test", "", "", nil, nil
	}
	unchecked := func(is *verifier.Issuer) { is.Name, is.UncheckedIssuer = "", true }
	iss := func(v string) func(*verdict.Principal) { return func(p *verdict.Principal) { p.Issuer = v } }
	return b.build(
		spec{name: "missing", claims: []any{"iss", absent}, reason: verdict.MissingClaim},
		spec{name: "other", claims: []any{"iss", "https://other.test"}, reason: verdict.WrongIssuer},
		spec{name: "trailing-slash", claims: []any{"iss", "https://issuer.test/"}, reason: verdict.WrongIssuer},
		spec{name: "of-other-case", claims: []any{"iss", "https://Issuer.test"}, reason: verdict.WrongIssuer},
		spec{name: "empty", claims: []any{"iss", ""}, reason: verdict.WrongIssuer},
		spec{name: "unchecked", claims: []any{"iss", "anyone"}, issuer: unchecked, principal: iss("anyone")},
		spec{name: "unchecked-missing", claims: []any{"iss", absent}, issuer: unchecked, principal: iss("")},
		spec{name: "first-of-two", all: two},
		spec{name: "second-of-two", key: secondKey, claims: []any{"iss", "https://second.test"}, all: two, principal: jwt},
		spec{name: "second-signs-for-the-first", key: secondKey, all: two, reason: verdict.BadSignature},
		spec{name: "first-signs-for-the-second", claims: []any{"iss", "https://second.test"}, all: two, reason: verdict.BadSignature},
		spec{name: "kid-of-the-other-issuer", key: RSA, alg: "RS256", all: func(c *Case) {
			two(c)
			c.Issuers[0].Algorithms = []jwks.Algorithm{jwks.ES256, jwks.RS256}
		}, reason: verdict.UnknownKey},
		spec{name: "algorithm-of-the-other-issuer", key: RSA, alg: "RS256", all: two, reason: verdict.AlgorithmNotAllowed},
		spec{name: "keys-of-the-other-are-stale", all: func(c *Case) {
			two(c)
			c.Keys[1].ConfirmedAt = 0
		}},
	)
}
