package matrix

import "maps"

// identity are the identity headers of every stage. The examples of hosts that have
// to name headers name these.
var identity = object{
	"x-user-id": "subject", "x-session-id": "session", "x-user-roles": "roles",
	"x-tenant-id": "tenant", "x-actor-id": "actor", "x-user-email": "/email",
}

// policy is the document of a stage. issuersURL is where key sets are.
func policy(stage string, k *keyring, issuersURL string) []byte {
	all := object{
		"issuers": []any{
			object{"issuer": own, "dialect": "own", "audience": []string{audience}, "authorized_parties": []string{party}, "cooldown": 1,
				"algorithms": []string{"ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"},
				"jwks_uri":   issuersURL + "/own.json"},
			object{"issuer": clerk, "dialect": "clerk", "algorithms": []string{"RS256"}, "audience": "unchecked",
				"authorized_parties": []string{party}, "jwks": k.set(rsaKey)},
			object{"issuer": kratos, "dialect": "kratos", "algorithms": []string{"ES256"}, "audience": []string{audience}, "jwks": k.set("ES256", "ES384")},
			object{"issuer": login, "dialect": "jwt", "algorithms": []string{"RS256"}, "audience": []string{audience}, "cooldown": 1,
				"discovery": issuersURL + wellKnown, "pointers": object{"tenant": "/tid", "roles": "/realm_access/roles", "permissions": "/scope"}},
			object{"issuer": internal, "dialect": "jwt", "algorithms": []string{"HS256", "HS384", "HS512"}, "audience": []string{audience}},
			object{"issuer": down, "dialect": "own", "algorithms": []string{"ES256"}, "audience": []string{audience},
				"jwks_uri": issuersURL + "/down.json", "cooldown": 1},
			object{"issuer": aging, "dialect": "own", "algorithms": []string{"ES256"}, "audience": []string{audience},
				"jwks_uri": issuersURL + "/aging.json", "cooldown": 1, "max_stale": 3},
		},
		"sources": []any{object{"header": "authorization", "scheme": "Bearer"}, object{"cookie": "__session"},
			object{"header": "x-session-token"}, object{"query": "access_token"}},
		"allowed_origins": []string{"https://app.example"},
		"rules": []any{
			object{"path_prefix": "/public", "access": "public"},
			object{"path_prefix": "/optional", "access": "optional"},
			object{"path_prefix": "/hosted", "hosts": []string{"admin.example"}, "permissions_all": []string{"admin"}},
			object{"path_prefix": "/hosted"},
			object{"path_prefix": "/articles", "methods": []string{"GET", "HEAD"}, "access": "public"},
			object{"path_prefix": "/articles", "permissions_any": []string{"write", "admin"}},
			object{"path_prefix": "/admin", "permissions_all": []string{"admin"}},
			object{"path_prefix": "/dash", "session_types": []string{"ssdash"}},
			object{"path_prefix": "/root", "tenant": "root"},
			object{"path_template": "/t/{tenant}/**", "tenant_segment": "tenant"},
			object{"path_prefix": "/aal", "assurance": "aal2"},
			object{"path_prefix": "/recent", "authentication_age": 3600},
			object{"path_prefix": "/app"},
		},
		"identity_headers": identity,
		"log":              []string{"subject", "session"},
	}
	switch stage {
	case Other:
		maps.Copy(all, object{
			"token": "strip", "on_multiple": "first", "paths": "normalize", "preflight": "check", "response": "ory", "realm": "other",
			"sign_in": object{"url": "https://app.example/sign-in"}, "public_origin": "https://api.example",
		})
	case Broken: // what breaks a guest comes in a header, and guests see those that they ask for
		all["sources"] = append(all["sources"].([]any), object{"header": "x-sabotage"})
	}
	files := object{own: "/keys/own.json", login: "/keys/login.json", down: "/keys/down.json", aging: "/keys/aging.json"}
	secrets := object{internal: b64(k.secret)}
	return marshal(object{"version": 1, "policy": all, "host": object{
		"go":      object{"secrets": secrets},
		"js":      object{"secrets": secrets},
		"traefik": object{"secrets": secrets, "jwks_files": files},
		"envoy":   object{"secrets": secrets, "clusters": object{own: "issuers", login: "issuers", down: "issuers", aging: "issuers"}},
	}})
}
