package host_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/host"
	"sessiongate/host/hosttest"
	"sessiongate/internal/abi"
	"sessiongate/internal/guesttest"
	"sessiongate/verdict"
)

// Every Reason is said by a guest, save those of revocation, which this version
// does not look at. A policy with a rule for each requirement serves most; the
// rest need a host in a state of its own.
func TestEveryReasonThroughTheGuest(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	other := hosttest.NewIssuer(t)
	late := hosttest.NewIssuer(t)
	late.SetDown(true)
	c := newClock()
	for _, i := range []*hosttest.Issuer{issuer, other, late} {
		i.SetNow(c.now)
	}
	rule := func(path, name string, value any) map[string]any { return map[string]any{"path": path, name: value} }
	h := start(t, host.Config{Now: c.now, Policy: document(t, issuer, func(is, policy map[string]any) {
		is["algorithms"] = []string{"ES256", "EdDSA"}
		is["authorized_parties"] = []string{hosttest.Audience}
		is["max_stale"] = 3600
		clerk := map[string]any{"issuer": other.URL(), "dialect": "clerk", "algorithms": []string{"ES256"}, "audience": "unchecked", "jwks_uri": other.JWKSURL()}
		gone := map[string]any{"issuer": late.URL(), "dialect": "own", "algorithms": []string{"ES256"}, "audience": "unchecked", "jwks_uri": late.JWKSURL()}
		policy["issuers"] = []any{is, clerk, gone}
		policy["sources"] = []any{map[string]any{"header": "authorization", "scheme": "Bearer"}, map[string]any{"cookie": "session"}}
		policy["rules"] = []any{rule("/type", "session_types", []string{"ssdash"}), rule("/tenant", "tenant", "another"),
			rule("/permission", "permissions_any", []string{"fly"}), rule("/level", "assurance", "aal3"),
			rule("/age", "authentication_age", 1), map[string]any{"path": "/", "methods": []string{"GET", "POST"}}}
	})})

	now := c.now().Unix()
	good := issuer.Mint(nil)
	with := func(claims map[string]any) []string {
		return []string{"Authorization", "Bearer " + issuer.Mint(claims)}
	}
	header := func(members map[string]any) []string {
		return []string{"Authorization", "Bearer " + issuer.MintWithHeader(members, nil)}
	}
	reached := map[verdict.Reason]bool{verdict.None: true}
	reach := func(h *host.Host, method, path string, headers []string, want verdict.Reason) {
		t.Helper()
		q := host.Request{Method: method, Scheme: "https", Host: "h", Path: path}
		for i := 0; i < len(headers); i += 2 {
			q.Headers = append(q.Headers, verdict.Field{Name: strings.ToLower(headers[i]), Value: headers[i+1]})
		}
		d, err := h.Filter(t.Context(), q)
		require.NoError(t, err)
		require.Equal(t, want.String(), d.Reason.String())
		require.Equal(t, want == verdict.None, d.Forward)
		if !d.Forward {
			require.Equal(t, want.Status(), d.Status)
		}
		reached[want] = true
	}
	for _, a := range []struct {
		want    verdict.Reason
		path    string
		method  string
		headers []string
	}{
		{verdict.None, "/", "GET", with(nil)},
		{verdict.MissingToken, "/", "GET", nil},
		{verdict.MultipleTokens, "/", "GET", []string{"Authorization", "Bearer " + good, "Cookie", "session=another"}},
		{verdict.Malformed, "/", "GET", []string{"Authorization", "Bearer not.a.token"}},
		{verdict.TooLarge, "/", "GET", []string{"Authorization", "Bearer " + strings.Repeat("a", 17<<10)}},
		{verdict.AlgorithmNotAllowed, "/", "GET", header(map[string]any{"alg": "none"})},
		{verdict.CriticalHeader, "/", "GET", header(map[string]any{"crit": []string{"x"}, "x": 1})},
		{verdict.UnknownKey, "/", "GET", header(map[string]any{"kid": "nobody's"})},
		{verdict.BadSignature, "/", "GET", []string{"Authorization", "Bearer " + good[:strings.LastIndexByte(good, '.')+1] + strings.Repeat("A", 86)}},
		{verdict.WrongType, "/", "GET", header(map[string]any{"typ": "logout+jwt"})},
		{verdict.MissingClaim, "/", "GET", with(map[string]any{"exp": nil})},
		{verdict.WrongIssuer, "/", "GET", with(map[string]any{"iss": "https://stranger.example"})},
		{verdict.WrongAudience, "/", "GET", with(map[string]any{"aud": "another"})},
		{verdict.WrongParty, "/", "GET", with(map[string]any{"azp": "another"})},
		{verdict.Expired, "/", "GET", with(map[string]any{"exp": now - 6})},
		{verdict.NotYetValid, "/", "GET", with(map[string]any{"nbf": now + 6})},
		{verdict.IssuedInFuture, "/", "GET", with(map[string]any{"iat": now + 6, "nbf": nil})},
		{verdict.LifetimeTooLong, "/", "GET", with(map[string]any{"exp": now + 100_000})},
		{verdict.SessionPending, "/", "GET", []string{"Authorization", "Bearer " + other.MintWithHeader(map[string]any{"typ": "JWT"}, map[string]any{"sts": "pending"})}},
		{verdict.ProofRequired, "/", "GET", with(map[string]any{"cnf": map[string]any{"jkt": "x"}})},
		{verdict.BadPath, "//", "GET", with(nil)},
		{verdict.NoRule, "/nowhere", "GET", with(nil)},
		{verdict.CrossSite, "/", "POST", []string{"Cookie", "session=" + good}},
		{verdict.SessionType, "/type", "GET", with(nil)},
		{verdict.Tenant, "/tenant", "GET", with(nil)},
		{verdict.Permission, "/permission", "GET", with(nil)},
		{verdict.Assurance, "/level", "GET", with(nil)},
		{verdict.AuthenticationAge, "/age", "GET", with(map[string]any{"auth_time": now - 100})},
		{verdict.KeysUnavailable, "/", "GET", []string{"Authorization", "Bearer " + late.Mint(nil)}},
	} {
		reach(h, a.method, a.path, a.headers, a.want)
	}

	// Two keys of one kid, beside one that keeps the set from being a bad update.
	issuer.Rotate("ES256")
	issuer.Rotate("EdDSA")
	twins := strings.NewReplacer(`"key-1"`, `"twin"`, `"key-2"`, `"twin"`).Replace(string(issuer.KeySet()))
	require.NoError(t, h.UpdateKeys(issuer.URL(), []byte(twins)))
	reach(h, "GET", "/", header(map[string]any{"alg": "ES256", "kid": "twin"}), verdict.AmbiguousKey)

	// The issuer is gone for longer than the policy's bound.
	issuer.SetDown(true)
	long := with(map[string]any{"exp": now + 7200})
	c.advance(time.Hour + time.Millisecond)
	reach(h, "GET", "/", long, verdict.KeysStale)

	frozen := start(t, host.Config{Now: func() time.Time { return time.Unix(1_640_995_200, 0) }, Policy: other.Policy()})
	reach(frozen, "GET", "/", nil, verdict.ClockUnusable)

	// A guest with a defect: the call fails, and comes with the refusal to answer with.
	broken := start(t, host.Config{Module: guesttest.CoreWithTestCalls(t), Policy: other.Policy(), Instances: 1})
	_, err := broken.Call(t.Context(), abi.CallTestDefect, "")
	require.NoError(t, err)
	d, err := broken.Filter(t.Context(), host.Request{Method: "GET", Scheme: "https", Host: "h", Path: "/"})
	require.ErrorIs(t, err, verdict.Internal)
	assert.Equal(t, verdict.Internal, d.Reason)
	assert.Equal(t, 503, d.Status)
	assert.False(t, d.Forward)
	reached[d.Reason] = true
	reach(broken, "GET", "/", nil, verdict.MissingToken) // the next instance is sound

	for _, r := range verdict.Reasons() {
		switch r {
		case verdict.Revoked, verdict.StatusUnknown, verdict.StatusStale:
			assert.False(t, reached[r], r.String())
		default:
			assert.True(t, reached[r], r.String())
		}
	}
}
