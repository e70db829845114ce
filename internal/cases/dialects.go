package cases

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strings"

	"sessiongate/jwks"
	"sessiongate/verdict"
	"sessiongate/verifier"
)

// own has the claims of this project's issuer.
func own() []Case {
	b := ownBase("own")
	bad := func(name, member string, value any) spec {
		return spec{name: name, claims: []any{member, value}, reason: verdict.Malformed}
	}
	return b.build(
		spec{name: "good"},
		spec{name: "dashboard-session", claims: []any{"session_type", "ssdash"}, principal: func(p *verdict.Principal) { p.Type = "ssdash" }},
		spec{name: "least", claims: []any{"sid", absent, "jti", absent, "azp", absent, "client_id", absent, "session_type", absent, "tenant_id", absent,
			"roles", absent, "permissions", absent, "acr", absent, "amr", absent, "auth_time", absent, "act", absent, "nbf", absent},
			principal: func(p *verdict.Principal) {
				*p = verdict.Principal{Issuer: p.Issuer, Subject: p.Subject, IssuedAt: p.IssuedAt, ExpiresAt: p.ExpiresAt}
			}},
		spec{name: "empty-lists", claims: []any{"roles", []string{}, "permissions", []string{}},
			principal: func(p *verdict.Principal) { p.Roles, p.Permissions = nil, nil }},
		spec{name: "empty-texts", claims: []any{"tenant_id", "", "roles", []string{""}, "act", JSON{"sub": ""}},
			principal: func(p *verdict.Principal) { p.Tenant, p.Roles, p.Actor = "", []string{""}, "" }},
		spec{name: "actor-without-subject", claims: []any{"act", JSON{"iss": "x"}}, principal: func(p *verdict.Principal) { p.Actor = "" }},
		spec{name: "actor-of-an-actor", claims: []any{"act", JSON{"sub": "a", "act": JSON{"sub": "b"}}}, principal: func(p *verdict.Principal) { p.Actor = "a" }},
		spec{name: "auth_time-fraction", claims: []any{"auth_time", json.RawMessage("1699999999.5")},
			principal: func(p *verdict.Principal) { p.AuthenticatedAt = Now - 500 }},
		spec{name: "status-is-ignored", claims: []any{"status", JSON{"status_list": JSON{"idx": 0, "uri": "https://issuer.test/status"}}}},
		spec{name: "sub-missing", claims: []any{"sub", absent}, reason: verdict.MissingClaim},
		bad("session_type-number", "session_type", 1),
		bad("tenant_id-array", "tenant_id", []string{"t"}),
		bad("roles-text", "roles", "admin"),
		bad("roles-of-a-number", "roles", []any{"admin", 1}),
		bad("permissions-object", "permissions", JSON{"doc:read": true}),
		bad("permissions-of-null", "permissions", []any{nil}),
		bad("acr-number", "acr", 2),
		bad("auth_time-true", "auth_time", true),
		bad("auth_time-text", "auth_time", "yesterday"),
		bad("act-text", "act", "support_1"),
		bad("act-null", "act", nil),
		bad("act-subject-number", "act", JSON{"sub": 1}),
	)
}

// clerk has session tokens of Clerk, version 1 and 2, and tokens of its templates.
func clerk() []Case {
	one, two := clerk1Base("clerk1"), clerk2Base("clerk2")
	org := func(fea, per, fpm any) []any {
		return []any{"fea", fea, "o", with(JSON{"id": "org_1", "rol": "admin"}, "per", per, "fpm", fpm)}
	}
	features := func(name string, changes []any, permissions ...string) spec {
		return spec{name: name, claims: changes, principal: func(p *verdict.Principal) { p.Permissions = permissions }}
	}
	bad := func(name string, changes ...any) spec {
		return spec{name: name, claims: changes, reason: verdict.Malformed}
	}
	fva := func(name string, first, second any, level string, minutes int64) spec {
		return spec{name: name, claims: []any{"fva", []any{first, second}}, principal: func(p *verdict.Principal) {
			p.Assurance, p.AuthenticatedAt = level, 0
			if minutes >= 0 {
				p.AuthenticatedAt = p.IssuedAt - minutes*60_000
			}
		}}
	}
	// 100 permissions: masks that no machine word holds.
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprintf("p%d", i))
	}
	per := strings.Join(names, ",")
	mask := func(bits ...int) string {
		n := new(big.Int)
		for _, b := range bits {
			n.SetBit(n, b, 1)
		}
		return n.String()
	}
	noOrg := func(p *verdict.Principal) { p.Tenant, p.Roles, p.Permissions = "", nil, nil }
	template := []any{"sid", absent, "v", absent, "fea", absent, "pla", absent, "o", absent, "sts", absent, "fva", absent}
	return append(one.build(
		spec{name: "good"},
		spec{name: "version-named", claims: []any{"v", 1}},
		spec{name: "no-organisation", claims: []any{"org_id", absent, "org_slug", absent, "org_role", absent, "org_permissions", absent}, principal: noOrg},
		spec{name: "no-actor", claims: []any{"act", absent}, principal: func(p *verdict.Principal) { p.Actor = "" }},
		spec{name: "no-factors", claims: []any{"fva", absent}, principal: func(p *verdict.Principal) { p.AuthenticatedAt = 0 }},
		spec{name: "pending", claims: []any{"sts", "pending"}, reason: verdict.SessionPending},
		spec{name: "pending-and-expired", at: 60_000, claims: []any{"sts", "pending"}, reason: verdict.Expired},
		spec{name: "other-party", claims: []any{"azp", "https://evil.test"}, reason: verdict.WrongParty},
		spec{name: "party-missing", claims: []any{"azp", absent}, reason: verdict.MissingClaim},
		spec{name: "sub-missing", claims: []any{"sub", absent}, reason: verdict.MissingClaim},
		bad("org_id-number", "org_id", 1),
		bad("org_role-array", "org_role", []string{"admin"}),
		bad("org_permissions-text", "org_permissions", "org:docs:read"),
		spec{name: "ES256", key: ES256, set: Set(ES256.JWK()), issuer: func(is *verifier.Issuer) { is.Algorithms = []jwks.Algorithm{jwks.ES256} }},
	), two.build(
		spec{name: "good"},
		spec{name: "no-organisation", claims: []any{"o", absent}, principal: noOrg},
		spec{name: "template-token", claims: template, principal: func(p *verdict.Principal) {
			noOrg(p)
			p.Session, p.Type, p.Assurance, p.AuthenticatedAt = "", "", "aal1", 0
		}},
		spec{name: "pending", claims: []any{"sts", "pending"}, reason: verdict.SessionPending},
		features("user-features-have-no-mask", org("o:a,u:b,uo:c,o:d", "x,y", "1,2,3"), "org:a:x", "org:c:y", "org:d:x", "org:d:y"),
		features("feature-without-permission", org("o:a,o:b", "x,y", "0,3"), "org:b:x", "org:b:y"),
		features("blanks-in-lists", org("o:a, o:b", "x, y", "1, 2"), "org:a:x", "org:b:y"),
		features("blanks-behind", org("o:a ,o:b ", "x ,y ", "1 ,2 "), "org:a:x", "org:b:y"),
		features("feature-without-scope", org("a,o:b", "x", "1"), "org:b:x"),
		features("colon-in-a-feature", org("o:a:b", "x", "1"), "org:a:b:x"),
		features("empty-name", org("o:a", "x,,y", "7"), "org:a:x", "org:a:y"),
		features("more-features-than-masks", org("o:a,o:b", "x", "1"), "org:a:x"),
		features("more-masks-than-features", org("o:a", "x", "1,1"), "org:a:x"),
		features("mask-over-its-names", org("o:a", "x", "255"), "org:a:x"),
		features("no-feature", org(absent, "x", "1")),
		features("no-names", org("o:a", absent, "1")),
		features("no-mask", org("o:a", "x", absent)),
		features("empty", org("", "", "")),
		features("bit-64", org("o:a", per, mask(64)), "org:a:p64"),
		features("bits-beyond-64", org("o:a,o:b", per, mask(0, 63, 64, 65, 99)+","+mask(31, 32, 95, 96)),
			"org:a:p0", "org:a:p63", "org:a:p64", "org:a:p65", "org:a:p99", "org:b:p31", "org:b:p32", "org:b:p95", "org:b:p96"),
		features("mask-of-200-digits", org("o:a", "x,y,z", strings.Repeat("0", 198)+"05"), "org:a:x", "org:a:z"),
		fva("fva-first-only", 0, -1, "aal1", 0),
		fva("fva-both", 90, 0, "aal2", 90),
		fva("fva-none", -1, -1, "aal1", -1),
		fva("fva-second-only", -1, 5, "aal2", -1),
		bad("fva-text", "fva", "0,0"),
		bad("fva-one", "fva", []int{1}),
		bad("fva-three", "fva", []int{1, 2, 3}),
		bad("fva-fraction", "fva", []any{1.5, -1}),
		bad("fva-under-minus-one", "fva", []int{-2, -1}),
		bad("fva-beyond-all-bounds", "fva", []any{json.RawMessage("99999999999999999"), -1}),
		bad("v-3", "v", 3),
		bad("v-text", "v", "2"),
		bad("o-text", "o", "org_1"),
		spec{name: "o-null", claims: []any{"o", nil}, principal: func(p *verdict.Principal) { p.Tenant, p.Roles, p.Permissions = "", nil, nil }},
		bad("o-id-number", "o", JSON{"id": 1}),
		bad("o-role-number", "o", JSON{"id": "org_1", "rol": 1}),
		bad("fea-array", "fea", []string{"o:dashboard"}),
		bad("per-array", "o", JSON{"id": "org_1", "per": []string{"read"}, "fpm": "1"}),
		bad("fpm-number", "o", JSON{"id": "org_1", "per": "read", "fpm": 1}),
		bad("fpm-hexadecimal", "o", JSON{"id": "org_1", "per": "read", "fpm": "0x3"}),
		bad("fpm-negative", "o", JSON{"id": "org_1", "per": "read", "fpm": "-1"}),
		bad("fpm-empty-entry", "o", JSON{"id": "org_1", "per": "read", "fpm": ",1"}),
	)...)
}

// kratos has sessions of Ory Kratos.
func kratos() []Case {
	b := kratosBase("kratos")
	when := func(name string, text any, ms int64) spec {
		return spec{name: name, claims: []any{"authenticated_at", text}, principal: func(p *verdict.Principal) { p.AuthenticatedAt = ms }}
	}
	bad := func(name string, value any) spec {
		return spec{name: name, claims: []any{"authenticated_at", value}, reason: verdict.Malformed}
	}
	pointers := spec{name: "pointers", claims: []any{"session", JSON{"authenticator_assurance_level": "aal1", "authenticated_at": now - 1}}}
	pointers.issuer = func(is *verifier.Issuer) {
		is.Assurance, is.AuthenticatedAt = "/session/authenticator_assurance_level", "/session/authenticated_at"
	}
	pointers.principal = func(p *verdict.Principal) { p.Assurance, p.AuthenticatedAt = "aal1", Now-1000 }
	return b.build(
		spec{name: "good"},
		spec{name: "nothing-mapped", claims: []any{"aal", absent, "authenticated_at", absent},
			principal: func(p *verdict.Principal) { p.Assurance, p.AuthenticatedAt = "", 0 }},
		pointers,
		when("utc", "2023-11-14T22:13:20Z", Now),
		when("lower-case", "2023-11-14t22:13:20z", Now),
		when("east", "2023-11-15T03:43:20+05:30", Now),
		when("west", "2023-11-14T14:13:20.000-08:00", Now),
		when("nanoseconds", "2023-11-14T22:13:20.123999999Z", Now+123),
		when("one-digit", "2023-11-14T22:13:20.5Z", Now+500),
		when("leap-day", "2024-02-29T00:00:00Z", 1_709_164_800_000),
		when("before-1970", "1969-12-31T23:59:59.999Z", -1),
		when("unknown-offset", "2023-11-14T22:13:20-00:00", Now),
		bad("no-zone", "2023-11-14T22:13:20"),
		bad("no-time", "2023-11-14"),
		bad("blank-for-T", "2023-11-14 22:13:20Z"),
		bad("no-such-day", "2023-02-29T00:00:00Z"),
		bad("month-13", "2023-13-01T00:00:00Z"),
		bad("hour-24", "2023-11-14T24:00:00Z"),
		bad("empty-fraction", "2023-11-14T22:13:20.Z"),
		bad("offset-without-colon", "2023-11-14T22:13:20+0530"),
		bad("trailing-bytes", "2023-11-14T22:13:20Z "),
		bad("empty", ""),
		when("null", nil, 0),
		spec{name: "act-ignored", claims: []any{"act", "anything"}},
		spec{name: "aal-number", claims: []any{"aal", 2}, reason: verdict.Malformed},
		spec{name: "sub-missing", claims: []any{"sub", absent}, reason: verdict.MissingClaim},
	)
}

// pointers has tokens of other issuers, read through JSON Pointers.
func pointers() []Case {
	b := jwtBase("jwt")
	change := func(name string, edit func(*verifier.Issuer), principal func(*verdict.Principal), claims ...any) spec {
		return spec{name: name, issuer: edit, principal: principal, claims: claims}
	}
	bad := func(name string, claims ...any) spec {
		return spec{name: name, claims: claims, reason: verdict.Malformed}
	}
	return b.build(
		spec{name: "good"},
		spec{name: "sub-missing", claims: []any{"sub", absent}, principal: func(p *verdict.Principal) { p.Subject = "" }},
		change("no-pointers", func(is *verifier.Issuer) { is.Tenant, is.Roles, is.Permissions = "", "", "" },
			func(p *verdict.Principal) { p.Tenant, p.Roles, p.Permissions = "", nil, nil }),
		change("pointers-to-nothing", func(is *verifier.Issuer) {
			is.Tenant, is.Roles, is.Permissions, is.Assurance, is.AuthenticatedAt = "/x", "/tid/x", "/realm_access/roles/2", "/act/x", "/realm_access/roles/00"
		}, func(p *verdict.Principal) {
			p.Tenant, p.Roles, p.Permissions, p.Assurance, p.AuthenticatedAt = "", nil, nil, "", 0
		}),
		change("escapes-and-indices", func(is *verifier.Issuer) {
			is.Tenant, is.Roles, is.Permissions = "/https:~1~1idp.test~1tenant", "/g~0s/1/names", "/realm_access/roles/0"
		}, func(p *verdict.Principal) {
			p.Tenant, p.Roles, p.Permissions = "t2", []string{"x y"}, []string{"admin"}
		}, "https://idp.test/tenant", "t2", "g~s", []any{1, JSON{"names": []string{"x y"}}}),
		change("permissions-array", func(is *verifier.Issuer) { is.Permissions = "/permissions" },
			func(p *verdict.Principal) { p.Permissions = []string{"a b", "c"} }, "permissions", []string{"a b", "c"}),
		change("roles-of-words", func(is *verifier.Issuer) { is.Roles = "/groups" },
			func(p *verdict.Principal) { p.Roles = []string{"a", "b"} }, "groups", " a b"),
		change("scope-empty", nil, func(p *verdict.Principal) { p.Permissions = nil }, "scope", ""),
		change("assurance-elsewhere", func(is *verifier.Issuer) { is.Assurance, is.AuthenticatedAt = "/loa", "/login" },
			func(p *verdict.Principal) { p.Assurance, p.AuthenticatedAt = "high", Now }, "loa", "high", "login", "2023-11-14T22:13:20Z"),
		bad("tenant-number", "tid", 1),
		change("tenant-null", nil, func(p *verdict.Principal) { p.Tenant = "" }, "tid", nil),
		change("act-null", nil, func(p *verdict.Principal) { p.Actor = "" }, "act", nil),
		bad("roles-object", "realm_access", JSON{"roles": JSON{}}),
		bad("roles-of-a-number", "realm_access", JSON{"roles": []any{1}}),
		bad("scope-number", "scope", 1),
		bad("acr-number", "acr", 1),
		bad("auth_time-array", "auth_time", []int{1}),
	)
}
