package issuer_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jwt"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/issuer"
	"sessiongate/issuer/store"
	"sessiongate/jwks"
	"sessiongate/verdict"
	"sessiongate/verifier"
)

func part(t *testing.T, token string, n int) map[string]any {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[n])
	require.NoError(t, err)
	var out map[string]any
	require.NoError(t, json.Unmarshal(raw, &out))
	return out
}

func header(t *testing.T, token string) map[string]any { return part(t, token, 0) }

func TestMintClaims(t *testing.T) {
	f := start(t, nil)
	now := f.clock.Now()
	_, _, err := f.PutUser(t.Context(), store.User{ID: "alice", Roles: []string{"staff"}, Permissions: []string{"x"},
		Organizations: []store.Organization{{ID: "t0", Roles: []string{"owner"}}, {ID: "t1", Roles: []string{"admin", "staff"}, Permissions: []string{"read", "write"}}}})
	require.NoError(t, err)
	done := now.Add(-time.Hour)
	s, _, err := f.CreateSession(t.Context(), issuer.NewSession{UserID: "alice", TenantID: "t1", ClientID: "spa", Actor: "support", Type: "ssdash",
		Methods: []store.Method{{Method: "password", AAL: "aal1", CompletedAt: done}, {Method: "totp", AAL: "aal2", CompletedAt: done.Add(time.Minute)}}})
	require.NoError(t, err)
	tok, err := f.Mint(t.Context(), s.ID, issuer.TokenRequest{})
	require.NoError(t, err)

	h := header(t, tok.Compact)
	assert.Equal(t, map[string]any{"typ": "at+jwt", "alg": "ES256", "kid": f.Keys()[0].ID}, h)
	claims := part(t, tok.Compact, 1)
	jti, _ := claims["jti"].(string)
	assert.GreaterOrEqual(t, len(jti), 26)
	delete(claims, "jti")
	iat := now.Unix()
	assert.Equal(t, map[string]any{
		"iss": issuerURL, "sub": "alice", "aud": []any{"api", "web"}, "client_id": "spa", "azp": "spa", "sid": s.ID,
		"iat": float64(iat), "nbf": float64(iat), "exp": float64(iat + 300), "session_type": "ssdash", "tenant_id": "t1",
		"roles": []any{"staff", "admin"}, "permissions": []any{"x", "read", "write"}, "acr": "aal2", "amr": []any{"password", "totp"},
		"auth_time": float64(done.Add(time.Minute).Unix()), "act": map[string]any{"sub": "support"},
	}, claims)
	assert.Equal(t, 300*time.Second, tok.ExpiresIn)
	assert.Equal(t, iat+300, tok.ExpiresAt.Unix())

	// What there is nothing to say of is left out; arrays are there all the same.
	_, _, err = f.PutUser(t.Context(), store.User{ID: "bob"})
	require.NoError(t, err)
	s, _, err = f.CreateSession(t.Context(), issuer.NewSession{UserID: "bob"})
	require.NoError(t, err)
	tok, err = f.Mint(t.Context(), s.ID, issuer.TokenRequest{Audience: []string{"one"}, Party: "other", TTL: 7 * time.Second})
	require.NoError(t, err)
	claims = part(t, tok.Compact, 1)
	for _, absent := range []string{"tenant_id", "act", "auth_time", "status"} {
		assert.NotContains(t, claims, absent)
	}
	assert.Equal(t, []any{}, claims["roles"])
	assert.Equal(t, []any{}, claims["permissions"])
	assert.Equal(t, []any{}, claims["amr"])
	assert.Equal(t, "aal0", claims["acr"])
	assert.Equal(t, []any{"one"}, claims["aud"], "an array of one")
	assert.Equal(t, "other", claims["azp"])
	assert.Equal(t, "other", claims["client_id"])
	assert.Equal(t, 7.0, claims["exp"].(float64)-claims["iat"].(float64))
}

// TestMintedTokensVerify has every algorithm's tokens accepted by this project's
// core and by jwx, with the key set as published.
func TestMintedTokensVerify(t *testing.T) {
	f := start(t, func(s *issuer.Settings) { s.Algorithms = []string{"ES256", "EdDSA", "RS256"} })
	doc, _, _ := f.JWKS()
	set, err := jwks.Parse(doc)
	require.NoError(t, err)
	require.Equal(t, 3, set.Len())
	require.Empty(t, set.Skipped())
	oracle, err := jwk.Parse(doc)
	require.NoError(t, err)
	v, err := verifier.New(verifier.Config{Issuers: []verifier.Issuer{{Name: issuerURL, Dialect: verifier.Own,
		Algorithms: []jwks.Algorithm{jwks.ES256, jwks.EdDSA, jwks.RS256}, Audience: []string{"web"}, Leeway: 5000, MaxLifetime: 86_400_000}}})
	require.NoError(t, err)
	now := f.clock.Now().UnixMilli()
	v = v.WithKeys(0, set, now)
	for _, alg := range []string{"ES256", "EdDSA", "RS256"} {
		tok := f.mint(alg)
		assert.Equal(t, alg, header(t, tok)["alg"])
		p, err := v.Verify(tok, now)
		require.NoError(t, err, alg)
		assert.Equal(t, "alice", p.Subject)
		assert.Equal(t, "t1", p.Tenant)
		assert.Equal(t, []string{"admin"}, p.Roles)
		_, err = jwt.Parse([]byte(tok), jwt.WithKeySet(oracle), jwt.WithClock(jwt.ClockFunc(f.clock.Now)))
		assert.NoError(t, err, alg)
		_, err = v.Verify(tok, now+306_000)
		assert.ErrorIs(t, err, verdict.Expired)
	}
}

func TestMintRefuses(t *testing.T) {
	f := start(t, nil)
	s, credential := f.session()
	for name, tc := range map[string]struct {
		r    issuer.TokenRequest
		want string
	}{
		"over the cap":      {issuer.TokenRequest{TTL: 86401 * time.Second}, "ttl: "},
		"negative":          {issuer.TokenRequest{TTL: -1}, "ttl: "},
		"part of a second":  {issuer.TokenRequest{TTL: time.Millisecond}, "ttl: "},
		"no audience":       {issuer.TokenRequest{Audience: []string{}}, "audience: "},
		"empty audience":    {issuer.TokenRequest{Audience: []string{"a", ""}}, "audience[1]: "},
		"control character": {issuer.TokenRequest{Party: "a\nb"}, "party: "},
		"algorithm":         {issuer.TokenRequest{Algorithm: "HS256"}, "algorithm: "},
	} {
		_, err := f.Mint(t.Context(), s.ID, tc.r)
		assert.ErrorContains(t, err, tc.want, name)
	}
	tok, err := f.Mint(t.Context(), s.ID, issuer.TokenRequest{TTL: 86400 * time.Second})
	require.NoError(t, err)
	assert.Equal(t, 86400*time.Second, tok.ExpiresIn)
	_, err = f.Mint(t.Context(), "nobody", issuer.TokenRequest{})
	assert.Equal(t, issuer.NotFound, code(t, err))

	// A session's own credential can narrow a token and not widen it.
	for name, tc := range map[string]struct {
		r    issuer.TokenRequest
		want string
	}{
		"longer":         {issuer.TokenRequest{TTL: 301 * time.Second}, "ttl: must be 1 to 300"},
		"other audience": {issuer.TokenRequest{Audience: []string{"api", "bank"}}, "audience[1]: "},
		"party":          {issuer.TokenRequest{Party: "x"}, "party: "},
	} {
		_, err := f.MintFor(t.Context(), credential, tc.r)
		assert.ErrorContains(t, err, tc.want, name)
	}
	tok, err = f.MintFor(t.Context(), credential, issuer.TokenRequest{TTL: 60 * time.Second, Audience: []string{"web"}})
	require.NoError(t, err)
	assert.Equal(t, []any{"web"}, part(t, tok.Compact, 1)["aud"])
	for _, bad := range []string{"", "sgs_", credential + "x", credential[:len(credential)-1], "sgk_" + credential[4:], "sgs_" + strings.Repeat("x", 10000)} {
		_, err = f.MintFor(t.Context(), bad, issuer.TokenRequest{})
		assert.Equal(t, issuer.BadSession, code(t, err))
	}
}

func TestMintEndsWithTheSession(t *testing.T) {
	f := start(t, nil)
	_, _, err := f.PutUser(t.Context(), store.User{ID: "u", Organizations: []store.Organization{{ID: "t"}}})
	require.NoError(t, err)
	make := func() store.Session {
		s, _, err := f.CreateSession(t.Context(), issuer.NewSession{UserID: "u", TenantID: "t", TTL: 100 * time.Second})
		require.NoError(t, err)
		return s
	}
	s := make()
	tok, err := f.Mint(t.Context(), s.ID, issuer.TokenRequest{TTL: 200 * time.Second})
	require.NoError(t, err)
	assert.False(t, tok.ExpiresAt.After(s.ExpiresAt), "no token outlives its session")
	assert.InDelta(t, 100, tok.ExpiresIn.Seconds(), 1)
	f.clock.add(100 * time.Second)
	_, err = f.Mint(t.Context(), s.ID, issuer.TokenRequest{})
	assert.Equal(t, issuer.SessionOver, code(t, err))

	for _, status := range []store.Status{store.Ended, store.Revoked} {
		s = make()
		_, err = f.EndSession(t.Context(), s.ID, status)
		require.NoError(t, err)
		_, err = f.Mint(t.Context(), s.ID, issuer.TokenRequest{})
		assert.Equal(t, issuer.SessionOver, code(t, err))
		assert.ErrorContains(t, err, string(status))
	}

	s = make()
	_, _, err = f.PutUser(t.Context(), store.User{ID: "u"}) // leaves the tenant
	require.NoError(t, err)
	_, err = f.Mint(t.Context(), s.ID, issuer.TokenRequest{})
	assert.Equal(t, issuer.SessionOver, code(t, err))
}

func TestTokenTooLarge(t *testing.T) {
	f := start(t, nil)
	var many []string
	for n := range 200 {
		many = append(many, fmt.Sprint(n, strings.Repeat("x", 100)))
	}
	_, _, err := f.PutUser(t.Context(), store.User{ID: "u", Roles: many})
	require.NoError(t, err)
	s, _, err := f.CreateSession(t.Context(), issuer.NewSession{UserID: "u"})
	require.NoError(t, err)
	_, err = f.Mint(t.Context(), s.ID, issuer.TokenRequest{})
	assert.Equal(t, issuer.TokenTooBig, code(t, err))
}

// TestMintWaitsForNoWrite mints while a write hangs on the disk.
func TestMintWaitsForNoWrite(t *testing.T) {
	f := start(t, nil)
	s, _ := f.session()
	f.clock.add(2 * time.Minute)
	f.fault.block = make(chan struct{})
	_, err := f.Mint(t.Context(), s.ID, issuer.TokenRequest{})
	require.NoError(t, err)
	flushed := make(chan error)
	go func() { flushed <- f.Maintain(context.WithoutCancel(t.Context())) }()
	for range 10 {
		_, err := f.Mint(t.Context(), s.ID, issuer.TokenRequest{})
		require.NoError(t, err)
	}
	close(f.fault.block)
	require.NoError(t, <-flushed)
}

func TestActivity(t *testing.T) {
	f := start(t, nil)
	s, _ := f.session()
	lastActive := func() time.Time {
		got, err := f.Session(t.Context(), s.ID)
		require.NoError(t, err)
		return got.LastActiveAt
	}
	mint := func() {
		_, err := f.Mint(t.Context(), s.ID, issuer.TokenRequest{})
		require.NoError(t, err)
	}
	begin := lastActive()
	f.clock.add(59 * time.Second)
	mint()
	require.NoError(t, f.Maintain(t.Context()))
	assert.Equal(t, begin, lastActive(), "at most once a minute")
	f.clock.add(2 * time.Second)
	mint()
	f.fault.set("lost")
	require.Error(t, f.Maintain(t.Context()))
	assert.Equal(t, begin, lastActive())
	f.fault.set("")
	require.NoError(t, f.Maintain(t.Context()))
	assert.Equal(t, begin.Add(61*time.Second), lastActive(), "tried again")
	f.clock.add(2 * time.Minute)
	mint()
	require.NoError(t, f.Close())
	f.open()
	assert.Equal(t, begin.Add(181*time.Second), lastActive(), "written when it closes")
}
