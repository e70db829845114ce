package filter_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/verdict"
	"sessiongate/verifier"
	"sessiongate/verifier/filter"
)

// Every Reason that the policy and the token decide is reached by some request.
func TestEveryReason(t *testing.T) {
	f, err := filter.New(newPolicyOf(t, `
		{"issuer": "`+issuer+`", "dialect": "own", "algorithms": ["EdDSA"], "audience": ["api"], "authorized_parties": ["web"],
			"jwks_uri": "https://issuer.example/jwks.json", "max_stale": 3600},
		{"issuer": "https://clerk.example", "dialect": "clerk", "algorithms": ["EdDSA"], "audience": "unchecked", "jwks_uri": "https://clerk.example/jwks"},
		{"issuer": "https://late.example", "dialect": "own", "algorithms": ["EdDSA"], "audience": ["api"], "jwks_uri": "https://late.example/jwks"}`))
	require.NoError(t, err)
	key, other := edKey(1), edKey(2)
	set := string(jwkSet(t, "a", key))
	twice := strings.TrimSuffix(string(jwkSet(t, "b", key)), "]}") + "," + strings.TrimPrefix(string(jwkSet(t, "b", other)), `{"keys":[`)
	set = strings.TrimSuffix(set, "]}") + "," + strings.TrimPrefix(twice, `{"keys":[`)
	for i := range 2 {
		_, err = f.UpdateKeys(i, []byte(set), now)
		require.NoError(t, err)
	}
	rules := newFilter(t, allSources+`, "rules": [{"path": "/type", "session_types": ["x"]}, {"path": "/tenant", "tenant": "x"},
		{"path": "/permission", "permissions_any": ["x"]}, {"path": "/level", "assurance": "aal3"}, {"path": "/age", "authentication_age": 1}, {"path": "/"}]`)

	bearer := func(token string) *filter.Request { return request("/", "Authorization: Bearer "+token) }
	good := mintEd(t, "a", key, nil)
	hs := "Authorization: Bearer " + mint(t, nil)
	header := func(h claims, c claims) *filter.Request {
		return bearer(signEd(t, h, c, key))
	}
	type ask struct {
		f   *filter.Filter
		req *filter.Request
		at  int64
	}
	asks := map[verdict.Reason]ask{
		verdict.MissingToken:        {f, request("/"), now},
		verdict.MultipleTokens:      {f, request("/", "Authorization: Bearer "+good+", Bearer "+good), now},
		verdict.Malformed:           {f, bearer(good + "."), now},
		verdict.TooLarge:            {f, bearer(strings.Repeat("a", 16<<10+1)), now},
		verdict.AlgorithmNotAllowed: {f, bearer(mint(t, nil)), now},
		verdict.CriticalHeader:      {f, header(claims{"crit": []string{"x"}}, nil), now},
		verdict.UnknownKey:          {f, header(claims{"kid": "c"}, nil), now},
		verdict.AmbiguousKey:        {f, header(claims{"kid": "b"}, nil), now},
		verdict.BadSignature:        {f, bearer(mintEd(t, "a", other, nil)), now},
		verdict.WrongType:           {f, header(claims{"typ": "JWT"}, nil), now},
		verdict.MissingClaim:        {f, header(nil, claims{"exp": nil}), now},
		verdict.WrongIssuer:         {f, header(nil, claims{"iss": "https://other.example"}), now},
		verdict.WrongAudience:       {f, header(nil, claims{"aud": "other"}), now},
		verdict.WrongParty:          {f, header(nil, claims{"azp": "other"}), now},
		verdict.Expired:             {f, header(nil, claims{"exp": now/1000 - 6}), now},
		verdict.NotYetValid:         {f, header(nil, claims{"nbf": now/1000 + 6}), now},
		verdict.IssuedInFuture:      {f, header(nil, claims{"iat": now/1000 + 6, "nbf": nil}), now},
		verdict.LifetimeTooLong:     {f, header(nil, claims{"exp": now/1000 + 86_500}), now},
		verdict.SessionPending:      {f, header(claims{"typ": "JWT"}, claims{"iss": "https://clerk.example", "sts": "pending"}), now},
		verdict.ProofRequired:       {f, header(nil, claims{"cnf": claims{"jkt": "x"}}), now},
		verdict.KeysUnavailable:     {f, header(nil, claims{"iss": "https://late.example"}), now},
		verdict.KeysStale:           {f, header(nil, claims{"exp": now/1000 + 7200}), now + 3_600_001},
		verdict.BadPath:             {rules, request("//", hs), now},
		verdict.NoRule:              {rules, request("/x", hs), now},
		verdict.CrossSite:           {rules, request("POST /", "Cookie: __session="+mint(t, nil)), now},
		verdict.SessionType:         {rules, request("/type", hs), now},
		verdict.Tenant:              {rules, request("/tenant", hs), now},
		verdict.Permission:          {rules, request("/permission", hs), now},
		verdict.Assurance:           {rules, request("/level", hs), now},
		verdict.AuthenticationAge:   {rules, request("/age", hs), now},
	}
	elsewhere := []verdict.Reason{verdict.Revoked, verdict.StatusUnknown, verdict.StatusStale, verdict.ClockUnusable, verdict.Internal}
	for _, r := range verdict.Reasons() {
		a, ok := asks[r]
		if !ok {
			assert.Contains(t, elsewhere, r)
			continue
		}
		d := a.f.Decide(a.req, a.at)
		assert.Equal(t, r.String(), d.Reason.String())
		assert.Equal(t, r.Status(), d.Status)
		assert.False(t, d.Forward)
	}
	assert.True(t, f.Decide(bearer(good), now).Forward)
}

// A refused request costs no memory, an accepted one what its headers need, both
// beyond what the verifier needs for its signature.
func TestAllocations(t *testing.T) {
	p := newPolicy(t, allSources+`, "token": "strip", "public_origin": "https://app.example", "sign_in": {"url": "https://id.example/in"},
		"rules": [{"path_prefix": "/public", "access": "public"}, {"path_template": "/t/{t}/**", "tenant_segment": "t"},
			{"hosts": ["*.example"], "path_prefix": "/aal2", "assurance": "aal2"}, {"path_prefix": "/x"}],
		"identity_headers": {"x-user": "subject", "x-tenant": "tenant", "x-roles": "roles", "x-email": "/email"}`)
	f, err := filter.New(p)
	require.NoError(t, err)
	token := mint(t, claims{"email": "a@example.com"})
	var result verifier.Result
	raw := []byte(token)
	signature := testing.AllocsPerRun(100, func() { f.Verifier().VerifyInto(&result, raw, now) })

	for _, c := range []struct {
		name   string
		req    *filter.Request
		want   verdict.Reason
		budget float64
	}{
		{"public", request("/public/x?y=z", "Accept: */*"), verdict.None, 0},
		{"public, reserved escape", request("/public/c%23?y=z"), verdict.None, 1}, // the path as others read it
		{"no token", request("/x", "Cookie: a=b", "Accept: */*"), verdict.MissingToken, 0},
		{"no token, HEAD", request("HEAD /x"), verdict.MissingToken, 0},
		{"no token, gRPC", request("POST /x", "Content-Type: application/grpc"), verdict.MissingToken, 0},
		{"two tokens", request("/x", "Authorization: Bearer a, Bearer b"), verdict.MultipleTokens, 0},
		{"bad path", request("/a/../x"), verdict.BadPath, 0},
		{"no rule", request("/y"), verdict.NoRule, 0},
		{"cross-site", request("POST /x", "Cookie: __session=x", "Origin: https://evil.example"), verdict.CrossSite, 0},
		{"malformed", request("/x", "Authorization: Bearer a.b.c"), verdict.Malformed, 0},
		{"too large", request("/x", "Authorization: Bearer "+strings.Repeat("a", 20000)), verdict.TooLarge, 0},
		{"expired", request("/x", "Authorization: Bearer "+mint(t, claims{"exp": 1})), verdict.Expired, signature},
		{"tenant", request("/t/x/y", "Authorization: Bearer "+token), verdict.Tenant, signature},
		{"assurance", request("/aal2", "Authorization: Bearer "+token), verdict.Assurance, signature},
		{"redirect", request("/x", "Accept: text/html"), verdict.MissingToken, 1},                                                      // the location
		{"accepted", request("/x", "Authorization: Bearer "+token), verdict.None, signature + 2},                                       // the list, and the claim behind a pointer
		{"accepted, cookie", request("/x", "Cookie: a=b; __session="+token), verdict.None, signature + 3},                              // and the other cookies
		{"accepted, query", request("/x?a=b&access_token=" + token), verdict.None, signature + 4},                                      // and the query, and the target
		{"accepted, spoofed", request("/x", "Connection: x-user, close", "Authorization: Bearer "+token), verdict.None, signature + 3}, // and Connection
	} {
		require.Equal(t, c.want.String(), f.Decide(c.req, now).Reason.String(), c.name)
		assert.LessOrEqual(t, testing.AllocsPerRun(100, func() { f.Decide(c.req, now) }), c.budget, c.name)
	}
}
