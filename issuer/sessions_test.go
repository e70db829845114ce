package issuer_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/issuer"
	"sessiongate/issuer/store"
	"sessiongate/verdict"
)

func TestUsers(t *testing.T) {
	f := start(t, nil)
	u, created, err := f.PutUser(t.Context(), store.User{ID: "u", Traits: []byte(`{"a":1}`)})
	require.NoError(t, err)
	assert.True(t, created)
	first := u.CreatedAt
	f.clock.add(time.Hour)
	u, created, err = f.PutUser(t.Context(), store.User{ID: "u"})
	require.NoError(t, err)
	assert.False(t, created)
	assert.Equal(t, first, u.CreatedAt)
	assert.Equal(t, first.Add(time.Hour), u.UpdatedAt)
	assert.JSONEq(t, `{}`, string(u.Traits), "the whole user is replaced")
	_, err = f.User(t.Context(), "nobody")
	assert.Equal(t, issuer.NotFound, code(t, err))

	long := strings.Repeat("x", 256)
	for want, bad := range map[string]store.User{
		"id: ":                         {ID: ""},
		"id: must have at most":        {ID: long},
		"id: must have no control":     {ID: "a\x00b"},
		"traits: must be an object":    {ID: "u", Traits: []byte(`[]`)},
		"traits: must have at most":    {ID: "u", Traits: []byte(`{"a":"` + strings.Repeat("x", 33<<10) + `"}`)},
		"public_metadata: ":            {ID: "u", PublicMetadata: []byte(`1`)},
		"credentials[0].type: ":        {ID: "u", Credentials: []store.Credential{{AAL: "aal1"}}},
		"credentials[1].aal: ":         {ID: "u", Credentials: []store.Credential{{Type: "p", AAL: "aal1"}, {Type: "p", AAL: "aal0"}}},
		"organizations[0].id: ":        {ID: "u", Organizations: []store.Organization{{}}},
		"organizations[1].id: is ther": {ID: "u", Organizations: []store.Organization{{ID: "a"}, {ID: "a"}}},
		"organizations[0].roles[0]: ":  {ID: "u", Organizations: []store.Organization{{ID: "a", Roles: []string{""}}}},
		"roles: must have at most":     {ID: "u", Roles: make([]string, 201)},
		"permissions[0]: ":             {ID: "u", Permissions: []string{long}},
	} {
		_, _, err := f.PutUser(t.Context(), bad)
		var faults issuer.Faults
		require.ErrorAs(t, err, &faults, want)
		assert.ErrorContains(t, err, want)
	}
}

func TestCreateSession(t *testing.T) {
	f := start(t, nil)
	s, credential := f.session()
	assert.Regexp(t, `^sgs_[A-Za-z0-9_-]{43}$`, credential)
	assert.Equal(t, "sess", s.Type)
	assert.Equal(t, "sessiongate", s.ClientID)
	assert.Equal(t, 7*24*time.Hour, s.ExpiresAt.Sub(s.CreatedAt))
	got, err := f.SessionOf(t.Context(), credential)
	require.NoError(t, err)
	assert.Equal(t, s.ID, got.ID)
	assert.Equal(t, "ory_kratos_session="+credential+"; Path=/; Max-Age=604799; HttpOnly; Secure; SameSite=Lax", f.Cookie(s, credential))

	for want, bad := range map[string]issuer.NewSession{
		"user_id: must not be empty":  {},
		"client_id: ":                 {UserID: "alice", ClientID: "\x01"},
		"tenant_id: must be one":      {UserID: "alice", TenantID: "t2"},
		"type: ":                      {UserID: "alice", Type: "admin"},
		"ttl: ":                       {UserID: "alice", TTL: -1},
		"methods[0].method: ":         {UserID: "alice", Methods: []store.Method{{AAL: "aal1"}}},
		"methods[0].aal: ":            {UserID: "alice", Methods: []store.Method{{Method: "p", AAL: "AAL1"}}},
		"methods[0].completed_at: ":   {UserID: "alice", Methods: []store.Method{{Method: "p", AAL: "aal1", CompletedAt: f.clock.Now().Add(2 * time.Minute)}}},
		"methods: ":                   {UserID: "alice", Methods: make([]store.Method, 201)},
		"device.user_agent: ":         {UserID: "alice", Device: &store.Device{UserAgent: strings.Repeat("x", 1025)}},
		"device.ip_address: ":         {UserID: "alice", Device: &store.Device{IPAddress: strings.Repeat("x", 300)}},
		`user_id: no user "somebody"`: {UserID: "somebody"},
	} {
		_, _, err := f.CreateSession(t.Context(), bad)
		assert.ErrorContains(t, err, want)
	}
	list, err := f.Sessions(t.Context(), store.SessionFilter{})
	require.NoError(t, err)
	assert.Len(t, list, 1, "nothing was written")
}

func TestAssurance(t *testing.T) {
	m := func(name, aal string) store.Method { return store.Method{Method: name, AAL: aal} }
	for want, cases := range map[string][][]store.Method{
		"aal0": {nil, {m("x", "")}},
		"aal1": {{m("password", "aal1")}, {m("totp", "aal2")}, {m("password", "aal1"), m("code", "aal1")}},
		"aal2": {{m("password", "aal1"), m("totp", "aal2")}, {m("oidc", "aal2")}},
		"aal3": {{m("password", "aal1"), m("hardware", "aal3")}},
	} {
		for _, methods := range cases {
			assert.Equal(t, want, issuer.Assurance(methods), "%v", methods)
		}
	}
}

func TestStepUp(t *testing.T) {
	f := start(t, nil)
	s, _ := f.session()
	s, err := f.AddMethods(t.Context(), s.ID, []store.Method{{Method: "password", AAL: "aal1"}})
	require.NoError(t, err)
	at := s.AuthenticatedAt
	f.clock.add(time.Hour)
	s, err = f.AddMethods(t.Context(), s.ID, []store.Method{{Method: "totp", AAL: "aal2"}})
	require.NoError(t, err)
	assert.Equal(t, "aal2", issuer.Assurance(s.Methods))
	assert.Equal(t, at.Add(time.Hour), s.AuthenticatedAt)
	tok, err := f.Mint(t.Context(), s.ID, issuer.TokenRequest{})
	require.NoError(t, err)
	assert.Equal(t, "aal2", part(t, tok.Compact, 1)["acr"])
	assert.EqualValues(t, s.AuthenticatedAt.Unix(), part(t, tok.Compact, 1)["auth_time"])

	_, err = f.AddMethods(t.Context(), s.ID, nil)
	assert.ErrorContains(t, err, "methods: ")
	_, err = f.AddMethods(t.Context(), "nobody", []store.Method{{Method: "p", AAL: "aal1"}})
	assert.Equal(t, issuer.NotFound, code(t, err))
	_, err = f.EndSession(t.Context(), s.ID, store.Ended)
	require.NoError(t, err)
	_, err = f.AddMethods(t.Context(), s.ID, []store.Method{{Method: "p", AAL: "aal1"}})
	assert.Equal(t, issuer.SessionOver, code(t, err))
}

func TestEndSession(t *testing.T) {
	f := start(t, nil)
	s, _ := f.session()
	s, err := f.EndSession(t.Context(), s.ID, store.Revoked)
	require.NoError(t, err)
	at := s.EndedAt
	f.clock.add(time.Minute)
	s, err = f.EndSession(t.Context(), s.ID, store.Revoked)
	require.NoError(t, err)
	assert.Equal(t, at, s.EndedAt, "twice is once")
	_, err = f.EndSession(t.Context(), s.ID, store.Ended)
	assert.Equal(t, issuer.SessionOver, code(t, err))
	_, err = f.EndSession(t.Context(), "nobody", store.Ended)
	assert.Equal(t, issuer.NotFound, code(t, err))
}

func TestAPIKeys(t *testing.T) {
	f := start(t, nil)
	root, err := f.Authenticate(t.Context(), f.key)
	require.NoError(t, err)
	k, secret, err := f.CreateAPIKey(t.Context(), &root, "metrics", []string{issuer.ScopeMetricsRead, issuer.ScopeAPIKeysWrite})
	require.NoError(t, err)
	got, err := f.Authenticate(t.Context(), secret)
	require.NoError(t, err)
	assert.Equal(t, k.ID, got.ID)

	for want, c := range map[string]struct {
		name   string
		scopes []string
	}{
		"name: ":      {"", []string{issuer.ScopeKeysRead}},
		"scopes: ":    {"n", nil},
		"scopes[0]: ": {"n", []string{"all"}},
		"scopes[1]: ": {"n", []string{issuer.ScopeKeysRead, issuer.ScopeKeysRead}},
	} {
		_, _, err := f.CreateAPIKey(t.Context(), &root, c.name, c.scopes)
		assert.ErrorContains(t, err, want)
	}
	_, _, err = f.CreateAPIKey(t.Context(), &got, "more", []string{issuer.ScopeMetricsRead, issuer.ScopeKeysWithdraw})
	assert.Equal(t, issuer.TooManyScope, code(t, err), "no key gives what it has not")

	// Every way of being wrong is the same answer.
	wrong := []byte(secret)
	wrong[len(wrong)-2] ^= 1
	for _, bad := range []string{"", "sgk_", secret[:len(secret)-1], secret + "A", string(wrong), strings.ToLower(secret), f.key[:20] + secret[20:], "sgs_" + secret[4:], strings.Repeat("sgk_", 1000)} {
		_, err := f.Authenticate(t.Context(), bad)
		assert.Equal(t, issuer.BadAPIKey, code(t, err), bad)
	}
	require.NoError(t, f.RevokeAPIKey(t.Context(), k.ID))
	_, err = f.Authenticate(t.Context(), secret)
	assert.Equal(t, issuer.BadAPIKey, code(t, err))
	assert.Equal(t, issuer.NotFound, code(t, f.RevokeAPIKey(t.Context(), "nobody")))
	assert.Equal(t, issuer.LastOperator, code(t, f.RevokeAPIKey(t.Context(), root.ID)))
	list, err := f.APIKeys(t.Context())
	require.NoError(t, err)
	assert.Len(t, list, 2)
	assert.NotContains(t, f.log.String(), secret[20:])
}

func TestIntrospect(t *testing.T) {
	f := start(t, nil)
	s, _ := f.session()
	good := verdict.Principal{Subject: "alice", Session: s.ID}
	f.keys.answer = func(token string) (verdict.Principal, error) {
		switch token {
		case "good":
			return good, nil
		case "foreign":
			return verdict.Principal{Subject: "x", Session: "sess_gone"}, nil
		case "broken":
			return verdict.Principal{}, errors.New("no instance")
		}
		return verdict.Principal{}, verdict.BadSignature
	}
	ask := func(token string) issuer.Verdict {
		v, err := f.Introspect(t.Context(), token)
		require.NoError(t, err)
		return v
	}
	assert.Equal(t, issuer.Verdict{Principal: good}, ask("good"))
	assert.Equal(t, issuer.Verdict{Reason: verdict.BadSignature}, ask("bad"))
	assert.Equal(t, issuer.Verdict{Reason: verdict.Revoked}, ask("foreign"), "a session that nobody knows")
	_, err := f.Introspect(t.Context(), "broken")
	assert.ErrorContains(t, err, "no instance")
	_, err = f.EndSession(t.Context(), s.ID, store.Ended)
	require.NoError(t, err)
	assert.Equal(t, issuer.Verdict{Reason: verdict.Revoked}, ask("good"), "the issuer knows what the token does not")
	s, _ = f.session()
	good.Session = s.ID
	f.clock.add(8 * 24 * time.Hour)
	assert.Equal(t, issuer.Verdict{Reason: verdict.Expired}, ask("good"))

	require.NoError(t, f.Close())
	bare, err := issuer.Open(context.WithoutCancel(t.Context()), f.dir, issuer.Config{}, nil)
	require.NoError(t, err)
	defer bare.Close()
	_, err = bare.Introspect(t.Context(), "good")
	assert.Equal(t, issuer.NoVerifier, code(t, err))
}
