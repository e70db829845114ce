package cases

import (
	"sessiongate/jwks"
	"sessiongate/verdict"
	"sessiongate/verifier"
)

// defaults are those of a policy.
func defaults(is verifier.Issuer) verifier.Issuer {
	is.Leeway, is.MaxLifetime, is.MaxStale = 5_000, 86_400_000, 86_400_000
	return is
}

// ownBase is a token of this project's own issuer.
func ownBase(group string) base {
	return base{
		group:  group,
		key:    ES256,
		header: JSON{"typ": "at+jwt"},
		claims: JSON{
			"iss": "https://issuer.test", "sub": "user_1", "aud": []string{"api"}, "client_id": "web", "azp": "web",
			"sid": "sess_1", "jti": "token_1", "iat": now - 10, "nbf": now - 10, "exp": now + 50,
			"session_type": "sess", "tenant_id": "tenant_1", "roles": []string{"admin", "member"},
			"permissions": []string{"doc:read", "doc:write"}, "acr": "aal2", "amr": []string{"pwd", "otp"},
			"auth_time": now - 100, "act": JSON{"sub": "support_1"},
		},
		issuer: defaults(verifier.Issuer{Name: "https://issuer.test", Dialect: verifier.Own,
			Algorithms: []jwks.Algorithm{jwks.ES256}, Audience: []string{"api"}}),
		principal: verdict.Principal{
			Issuer: "https://issuer.test", Subject: "user_1", Session: "sess_1", Type: "sess", Tenant: "tenant_1",
			Roles: []string{"admin", "member"}, Permissions: []string{"doc:read", "doc:write"}, Actor: "support_1",
			Assurance: "aal2", Party: "web", TokenID: "token_1",
			AuthenticatedAt: Now - 100_000, IssuedAt: Now - 10_000, ExpiresAt: Now + 50_000,
		},
	}
}

func clerkIssuer() verifier.Issuer {
	return defaults(verifier.Issuer{Name: "https://clerk.test", Dialect: verifier.Clerk,
		Algorithms: []jwks.Algorithm{jwks.RS256}, Parties: []string{"https://app.test"}})
}

// clerk1Base is a session token of Clerk, version 1.
func clerk1Base(group string) base {
	return base{
		group:  group,
		key:    RSA,
		header: JSON{"typ": "JWT", "cat": "cl_test"},
		claims: JSON{
			"azp": "https://app.test", "exp": now + 50, "fva": []int{3, -1}, "iat": now - 10, "iss": "https://clerk.test",
			"nbf": now - 15, "sid": "sess_1", "sub": "user_1", "org_id": "org_1", "org_slug": "acme", "org_role": "org:admin",
			"org_permissions": []string{"org:docs:read", "org:docs:write"},
			"act":             JSON{"iss": "https://dashboard.test", "sid": "sess_9", "sub": "user_9"},
		},
		issuer: clerkIssuer(),
		principal: verdict.Principal{
			Issuer: "https://clerk.test", Subject: "user_1", Session: "sess_1", Type: "sess", Tenant: "org_1",
			Roles: []string{"org:admin"}, Permissions: []string{"org:docs:read", "org:docs:write"}, Actor: "user_9",
			Assurance: "aal1", Party: "https://app.test",
			AuthenticatedAt: Now - 10_000 - 3*60_000, IssuedAt: Now - 10_000, ExpiresAt: Now + 50_000,
		},
	}
}

// clerk2Base is a session token of Clerk, version 2.
func clerk2Base(group string) base {
	return base{
		group:  group,
		key:    RSA,
		header: JSON{"typ": "JWT", "cat": "cl_test"},
		claims: JSON{
			"azp": "https://app.test", "exp": now + 50, "fva": []int{3, 2}, "iat": now - 10, "iss": "https://clerk.test",
			"nbf": now - 15, "sid": "sess_1", "sub": "user_1", "jti": "token_1", "v": 2, "sts": "active",
			"pla": "u:free,o:pro", "fea": "o:dashboard,o:teams",
			"o": JSON{"id": "org_1", "slg": "acme", "rol": "admin", "per": "manage,read", "fpm": "3,2"},
		},
		issuer: clerkIssuer(),
		principal: verdict.Principal{
			Issuer: "https://clerk.test", Subject: "user_1", Session: "sess_1", Type: "sess", Tenant: "org_1",
			Roles: []string{"org:admin"}, Permissions: []string{"org:dashboard:manage", "org:dashboard:read", "org:teams:read"},
			Assurance: "aal2", Party: "https://app.test", TokenID: "token_1",
			AuthenticatedAt: Now - 10_000 - 3*60_000, IssuedAt: Now - 10_000, ExpiresAt: Now + 50_000,
		},
	}
}

// kratosBase is a session of Ory Kratos as a token.
func kratosBase(group string) base {
	return base{
		group:  group,
		key:    ES256,
		header: JSON{"typ": "JWT"},
		claims: JSON{
			"iss": "https://kratos.test", "sub": "6f5d0a34-2c1f-4f0e-9d5b-0a2b3c4d5e6f", "sid": "0c9a7b6e-1111-4222-8333-444455556666",
			"jti": "token_1", "iat": now - 10, "nbf": now - 10, "exp": now + 50,
			"aal": "aal2", "authenticated_at": "2023-11-14T22:13:20.5Z", // Now, and half a second
		},
		issuer: defaults(verifier.Issuer{Name: "https://kratos.test", Dialect: verifier.Kratos,
			Algorithms: []jwks.Algorithm{jwks.ES256}, UncheckedAudience: true}),
		principal: verdict.Principal{
			Issuer: "https://kratos.test", Subject: "6f5d0a34-2c1f-4f0e-9d5b-0a2b3c4d5e6f",
			Session: "0c9a7b6e-1111-4222-8333-444455556666", Type: "sess", Assurance: "aal2", TokenID: "token_1",
			AuthenticatedAt: Now + 500, IssuedAt: Now - 10_000, ExpiresAt: Now + 50_000,
		},
	}
}

// jwtBase is an access token of some other issuer, read through JSON Pointers.
func jwtBase(group string) base {
	return base{
		group:  group,
		key:    RSA,
		header: JSON{"typ": "JWT"},
		claims: JSON{
			"iss": "https://idp.test/realms/one", "sub": "user_1", "aud": "api", "azp": "web", "sid": "sess_1", "jti": "token_1",
			"iat": now - 10, "exp": now + 50, "acr": "1", "auth_time": now - 100, "tid": "tenant_1", "scope": "doc:read  doc:write ",
			"realm_access": JSON{"roles": []string{"admin", "member"}}, "act": JSON{"sub": "support_1"},
		},
		issuer: defaults(verifier.Issuer{Name: "https://idp.test/realms/one", Dialect: verifier.JWT, Algorithms: []jwks.Algorithm{jwks.RS256},
			Audience: []string{"api"}, Tenant: "/tid", Roles: "/realm_access/roles", Permissions: "/scope"}),
		principal: verdict.Principal{
			Issuer: "https://idp.test/realms/one", Subject: "user_1", Session: "sess_1", Tenant: "tenant_1",
			Roles: []string{"admin", "member"}, Permissions: []string{"doc:read", "doc:write"}, Actor: "support_1", Assurance: "1",
			Party: "web", TokenID: "token_1", AuthenticatedAt: Now - 100_000, IssuedAt: Now - 10_000, ExpiresAt: Now + 50_000,
		},
	}
}
