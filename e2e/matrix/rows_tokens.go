package matrix

import (
	"encoding/base64"
	"strings"
	"time"

	"sessiongate/verdict"
)

func (b *book) goodTokens() {
	for _, alg := range []string{"ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"} {
		b.add("algorithm "+alg, get("/app", b.bearerOf(token{alg: alg})).passes(user1))
	}
	for _, alg := range []string{"HS256", "HS384", "HS512"} {
		b.add("algorithm "+alg, get("/app", b.bearerOf(token{issuer: internal, alg: alg})).passes(user1))
	}
	b.add("dialect own", get("/app", b.bearer("roles", []string{"dev", "ops"}, "tenant_id", "acme", "act", object{"sub": "support_7"}, "email", "ada@example.com")).
		passes(plus("x-user-roles", "dev,ops", "x-tenant-id", "acme", "x-actor-id", "support_7", "x-user-email", "ada@example.com")))
	b.add("dialect clerk, version 1", get("/app", b.bearerOf(token{issuer: clerk, claims: object{"org_id": "org_1", "org_role": "org:admin", "fva": []int{3, -1}}})).
		passes(plus("x-user-roles", "org:admin", "x-tenant-id", "org_1")))
	b.add("dialect clerk, version 2", get("/app", b.bearerOf(token{issuer: clerk, claims: object{"v": 2, "o": object{"id": "org_2", "rol": "member"}, "fva": []int{3, -1}}})).
		passes(plus("x-user-roles", "org:member", "x-tenant-id", "org_2")))
	b.add("dialect kratos", get("/aal", b.bearerOf(token{issuer: kratos, claims: object{"aal": "aal2"}})).passes(user1))
	b.add("dialect jwt, by discovery", get("/admin", b.bearerOf(token{issuer: login, claims: object{"tid": "t1", "realm_access": object{"roles": []string{"a", "b"}}, "scope": "read admin"}})).
		passes(plus("x-tenant-id", "t1", "x-user-roles", "a,b")))
	b.add("no kid, and one key that fits", get("/app", b.bearerOf(token{alg: "ES384", header: object{"kid": nil}})).passes(user1))
	b.add("typ in other words", get("/app", b.bearerOf(token{header: object{"typ": "application/AT+JWT"}})).passes(user1))
	b.add("expired within the leeway", get("/app", b.bearer("iat", time.Now().Unix()-100, "exp", time.Now().Unix()+1800)).passes(user1))

	b.add("values are percent-encoded", get("/app", b.bearer("sub", "a%b\r\nx-user-id: root", "email", "zoë@example.com", "tenant_id", " x ")).
		passes(plus("x-user-id", "a%25b%0D%0Ax-user-id: root", "x-user-email", "zo%C3%AB@example.com", "x-tenant-id", "%20x%20")))
	b.add("the separator in a list's item", get("/app", b.bearer("roles", []string{"a,b", "c"})).passes(plus("x-user-roles", "a%2Cb,c")))
	b.add("claims of other kinds by pointer", get("/app", b.bearer("email", []any{"x", 1, true})).passes(plus("x-user-email", "x,1,true")))
}

func (b *book) rules() {
	b.add("public without a token", get("/public").passes(nil))
	b.add("public with a bad token", get("/public/x?y", "Authorization: Bearer x.y.z").passes(nil))
	b.add("public with a good token", get("/public", b.bearer()).passes(nil))
	b.add("optional without a token", get("/optional").passes(nil))
	b.add("optional with a token", get("/optional", b.bearer()).passes(user1))
	b.add("a rule for a host", get("/hosted", b.bearer("permissions", []string{"admin"})).at("admin.example").passes(user1))
	b.add("a rule for a host, not met", get("/hosted", b.bearer()).at("admin.example").refused(verdict.Permission))
	b.add("a rule for a host, in other case and with a port", get("/hosted", b.bearer()).at("ADMIN.example:8443").refused(verdict.Permission))
	b.add("another host", get("/hosted", b.bearer()).at("www.example").passes(user1))
	b.add("a rule for a method", get("/articles").passes(nil))
	b.add("a rule for other methods", request("POST", "/articles", b.bearer("permissions", []string{"write"})).with("text").passes(user1))
	b.add("a method that the rule does not name", request("DELETE", "/articles", b.bearer()).refused(verdict.Permission))
	b.add("permission", get("/admin/x", b.bearer("permissions", []string{"admin", "x"})).passes(user1))
	b.add("session type", get("/dash", b.bearer("session_type", "ssdash")).passes(user1))
	b.add("tenant", get("/root", b.bearer("tenant_id", "root")).passes(plus("x-tenant-id", "root")))
	b.add("tenant in the path", get("/t/acme/x", b.bearer("tenant_id", "acme")).passes(plus("x-tenant-id", "acme")))
	b.add("assurance", get("/aal", b.bearer("acr", "aal3")).passes(user1))
	b.add("recent authentication", get("/recent", b.bearer("auth_time", time.Now().Unix())).passes(user1))
}

func (b *book) badTokens() {
	now := time.Now().Unix()
	refuse := func(name string, reason verdict.Reason, t token) {
		b.add(name, get("/app", b.bearerOf(t)).refused(reason))
	}
	raw := func(name string, reason verdict.Reason, value string) {
		b.add(name, get("/app", "Authorization: "+value).refused(reason))
	}
	good := b.k.mint(token{})
	parts := strings.Split(good, ".")
	raw("malformed: no JWS", verdict.Malformed, "Bearer x.y.z")
	raw("malformed: two parts", verdict.Malformed, "Bearer "+parts[0]+"."+parts[1])
	raw("malformed: padding", verdict.Malformed, "Bearer "+good+"=")
	raw("malformed: scheme alone", verdict.Malformed, "Bearer")
	raw("malformed: a member twice", verdict.Malformed, "Bearer "+parts[0]+"."+
		base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"`+own+`","sub":"user_1","sub":"root"}`))+"."+parts[2])
	b.add("malformed where a token is optional", get("/optional", "Authorization: Bearer x.y.z").refused(verdict.Malformed))
	refuse("malformed: a claim of another type", verdict.Malformed, token{claims: object{"sub": 7}})
	raw("algorithm_not_allowed: none", verdict.AlgorithmNotAllowed, "Bearer "+base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt"}`))+"."+parts[1]+".")
	refuse("algorithm_not_allowed: a secret for a key set", verdict.AlgorithmNotAllowed, token{alg: "HS256"})
	refuse("algorithm_not_allowed: a key for a secret", verdict.AlgorithmNotAllowed, token{issuer: internal, alg: "ES256"})
	refuse("critical_header", verdict.CriticalHeader, token{header: object{"crit": []string{"exp"}}})
	refuse("unknown_key", verdict.UnknownKey, token{kid: "ES256", header: object{"kid": "nobody's"}})
	refuse("unknown_key: another issuer's", verdict.UnknownKey, token{issuer: kratos, kid: "ES256-2"})
	refuse("unknown_key: a key in the header", verdict.UnknownKey, token{kid: "unpublished", header: object{"jwk": b.k.set("unpublished")["keys"].([]any)[0]}})
	refuse("ambiguous_key", verdict.AmbiguousKey, token{header: object{"kid": nil}})
	raw("bad_signature", verdict.BadSignature, "Bearer "+tamper(good))
	refuse("bad_signature: another key", verdict.BadSignature, token{kid: "unpublished", header: object{"kid": "ES256"}})
	raw("bad_signature: none", verdict.BadSignature, "Bearer "+parts[0]+"."+parts[1]+".")
	refuse("wrong_type", verdict.WrongType, token{header: object{"typ": "logout+jwt"}})
	refuse("missing_claim: sub", verdict.MissingClaim, token{claims: object{"sub": nil}})
	refuse("missing_claim: exp", verdict.MissingClaim, token{claims: object{"exp": nil}})
	refuse("wrong_issuer", verdict.WrongIssuer, token{issuer: stranger})
	refuse("wrong_audience", verdict.WrongAudience, token{claims: object{"aud": "other"}})
	refuse("wrong_party", verdict.WrongParty, token{claims: object{"azp": "other"}})
	refuse("expired", verdict.Expired, token{claims: object{"iat": now - 100, "nbf": now - 100, "exp": now - 30}})
	refuse("not_yet_valid", verdict.NotYetValid, token{claims: object{"nbf": now + 1000}})
	refuse("issued_in_future", verdict.IssuedInFuture, token{claims: object{"iat": now + 1000, "exp": now + 2000}})
	refuse("lifetime_too_long", verdict.LifetimeTooLong, token{claims: object{"exp": now + 10*86400}})
	refuse("session_pending", verdict.SessionPending, token{issuer: clerk, claims: object{"sts": "pending"}})
	refuse("proof_required", verdict.ProofRequired, token{claims: object{"cnf": object{"jkt": "x"}}})
	refuse("keys_unavailable", verdict.KeysUnavailable, token{issuer: down})
	b.add("keys_stale", get("/app", b.bearerOf(token{issuer: aging})).refused(verdict.KeysStale), StaleKeys)
	b.add("session_type", get("/dash", b.bearer()).refused(verdict.SessionType))
	b.add("tenant: another", get("/root", b.bearer("tenant_id", "acme")).refused(verdict.Tenant))
	b.add("tenant: another in the path", get("/t/acme/x", b.bearer("tenant_id", "other")).refused(verdict.Tenant))
	b.add("permission: none of them", get("/admin", b.bearer("permissions", []string{"x"})).refused(verdict.Permission))
	b.add("assurance: too low", get("/aal", b.bearer("acr", "aal1")).refused(verdict.Assurance, `, acr_values="aal2"`))
	b.add("authentication_age: too long ago", get("/recent", b.bearer("auth_time", now-7200)).refused(verdict.AuthenticationAge, `, max_age="3600"`))
	b.add("authentication_age: not told", get("/recent", b.bearer()).refused(verdict.AuthenticationAge, `, max_age="3600"`))
}
