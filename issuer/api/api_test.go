package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/issuer"
	"sessiongate/issuer/api"
	"sessiongate/issuer/client"
	"sessiongate/verdict"
)

// canned stands for the verifier; it judges nothing.
type canned struct{}

func (canned) UpdateKeys(string, []byte) error { return nil }

func (canned) Verify(_ context.Context, token string) (verdict.Principal, error) {
	switch token {
	case "good":
		return verdict.Principal{Issuer: "i", Subject: "alice", Type: "sess", Roles: []string{"r"}, IssuedAt: 1000, ExpiresAt: 2_000_000_000_500}, nil
	case "stale":
		return verdict.Principal{}, verdict.KeysStale
	}
	return verdict.Principal{}, verdict.Malformed
}

type fixture struct {
	*client.Client
	t             *testing.T
	iss           *issuer.Issuer
	dir           string
	key           string
	public, admin *httptest.Server
}

func start(t *testing.T, change func(*issuer.Settings)) *fixture {
	t.Helper()
	s := issuer.DefaultSettings()
	s.Issuer, s.AdminHosts = "https://issuer.example", []string{"admin.internal"}
	if change != nil {
		change(&s)
	}
	f := &fixture{t: t, dir: filepath.Join(t.TempDir(), "data")}
	made, err := issuer.Init(t.Context(), f.dir, s, nil)
	require.NoError(t, err)
	f.iss, err = issuer.Open(t.Context(), f.dir, issuer.Config{
		NewVerifier: func(context.Context, []byte) (issuer.TokenVerifier, error) { return canned{}, nil },
	}, nil)
	require.NoError(t, err)
	t.Cleanup(func() { f.iss.Close() })
	f.public = httptest.NewServer(api.Public(f.iss, "https://issuer.example/"))
	t.Cleanup(f.public.Close)
	f.admin = httptest.NewServer(api.Admin(f.iss, api.AdminConfig{Hosts: s.AdminHosts}))
	t.Cleanup(f.admin.Close)
	f.key = made.APIKey
	f.Client, err = client.New(f.admin.URL+"/", f.key)
	require.NoError(t, err)
	return f
}

// answer is a response, read.
type answer struct {
	*http.Response
	body string
}

func (a answer) problem(t *testing.T) api.Problem {
	t.Helper()
	assert.Equal(t, "application/problem+json", a.Header.Get("Content-Type"))
	var p api.Problem
	require.NoError(t, json.Unmarshal([]byte(a.body), &p), a.body)
	assert.Equal(t, a.StatusCode, p.Status)
	assert.NotEmpty(t, p.Title)
	return p
}

// send sends a request; fields are name, value, name, value.
func (f *fixture) send(method, url, body string, fields ...string) answer {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, url, strings.NewReader(body))
	require.NoError(f.t, err)
	for i := 0; i < len(fields); i += 2 {
		if fields[i] == "Host" {
			req.Host = fields[i+1]
			continue
		}
		req.Header.Add(fields[i], fields[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(f.t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	require.NoError(f.t, err)
	return answer{resp, string(got)}
}

// call calls the admin API with the first API key.
func (f *fixture) call(method, path, body string, fields ...string) answer {
	f.t.Helper()
	return f.send(method, f.admin.URL+path, body, append([]string{"Authorization", "Bearer " + f.key}, fields...)...)
}

func (f *fixture) session() api.NewSession {
	f.t.Helper()
	_, err := f.PutUser(f.t.Context(), "alice", api.UserBody{Traits: json.RawMessage(`{"email":"a@b.example"}`)})
	require.NoError(f.t, err)
	s, err := f.CreateSession(f.t.Context(), api.SessionBody{UserID: "alice", Methods: []api.MethodBody{{Method: "password", AAL: "aal1"}}})
	require.NoError(f.t, err)
	return s
}

// TestMainPath goes through the whole API with the client that ships.
func TestMainPath(t *testing.T) {
	f, ctx := start(t, nil), t.Context()
	created := f.session()
	assert.True(t, strings.HasPrefix(created.SessionToken, "sgs_"))
	assert.True(t, strings.HasPrefix(created.SetCookie, "ory_kratos_session="+created.SessionToken+"; Path=/;"))
	id := created.Session.ID
	got, err := f.Session(ctx, id)
	require.NoError(t, err)
	assert.Equal(t, created.Session, got)
	assert.EqualValues(t, "active", got.Status)
	assert.Equal(t, "aal1", got.Assurance)

	ttl := int64(30)
	tok, err := f.Mint(ctx, id, api.TokenBody{Audience: []string{"x"}, TTL: &ttl, Party: "p"})
	require.NoError(t, err)
	assert.EqualValues(t, 30, tok.ExpiresIn)
	assert.Equal(t, "Bearer", tok.TokenType)
	assert.Equal(t, 2, strings.Count(tok.Token, "."))

	got, err = f.AddMethods(ctx, id, api.MethodsBody{Methods: []api.MethodBody{{Method: "totp", AAL: "aal2"}}})
	require.NoError(t, err)
	assert.Equal(t, "aal2", got.Assurance)

	list, err := f.Sessions(ctx, "alice", 10, 0)
	require.NoError(t, err)
	assert.Len(t, list.Sessions, 1)
	got, err = f.EndSession(ctx, id)
	require.NoError(t, err)
	assert.EqualValues(t, "ended", got.Status)
	_, err = f.Mint(ctx, id, api.TokenBody{})
	var refusal *client.Error
	require.ErrorAs(t, err, &refusal)
	assert.Equal(t, "session_over", refusal.Code)
	assert.Equal(t, http.StatusConflict, refusal.Status)

	second := f.session()
	require.NoError(t, f.RevokeSession(ctx, second.Session.ID))
	got, err = f.Session(ctx, second.Session.ID)
	require.NoError(t, err)
	assert.EqualValues(t, "revoked", got.Status)

	keys, err := f.Keys(ctx)
	require.NoError(t, err)
	require.Len(t, keys.Keys, 1)
	a := keys.Keys[0]
	b, err := f.Rotate(ctx, a.KeyID, api.RotateBody{})
	require.NoError(t, err)
	assert.Equal(t, "announced", b.State)
	assert.WithinDuration(t, time.Now().Add(time.Hour), *b.ActiveAt, 10*time.Second)
	_, err = f.Rotate(ctx, a.KeyID, api.RotateBody{Immediately: true})
	require.ErrorAs(t, err, &refusal)
	assert.Equal(t, "rotation_unsafe", refusal.Code)
	require.NotNil(t, refusal.SafeAt)
	assert.WithinDuration(t, *b.ActiveAt, *refusal.SafeAt, time.Second)
	_, err = f.Announce(ctx, api.KeyBody{})
	require.ErrorAs(t, err, &refusal)
	assert.Equal(t, "rotation_unsafe", refusal.Code)
	_, err = f.Withdraw(ctx, a.KeyID, api.WithdrawBody{})
	require.ErrorAs(t, err, &refusal)
	assert.Equal(t, "rotation_unsafe", refusal.Code)
	out, err := f.Withdraw(ctx, a.KeyID, api.WithdrawBody{Emergency: true, Reason: "lost"})
	require.NoError(t, err)
	assert.Equal(t, "withdrawn", out.Key.State)
	assert.Equal(t, "lost", out.Key.Emergency)
	assert.Equal(t, b.KeyID, out.Active.KeyID)
	assert.WithinDuration(t, time.Now().Add(time.Hour), *out.Forgotten, 10*time.Second)

	made, err := f.CreateAPIKey(ctx, api.APIKeyBody{Name: "n", Scopes: []string{"keys:read"}})
	require.NoError(t, err)
	other, err := client.New(f.admin.URL, made.Secret)
	require.NoError(t, err)
	_, err = other.Keys(ctx)
	require.NoError(t, err)
	require.NoError(t, f.RevokeAPIKey(ctx, made.ID))
	_, err = other.Keys(ctx)
	require.ErrorAs(t, err, &refusal)
	assert.Equal(t, http.StatusUnauthorized, refusal.Status)
	all, err := f.APIKeys(ctx)
	require.NoError(t, err)
	assert.Len(t, all.APIKeys, 2)
	assert.NotNil(t, all.APIKeys[1].RevokedAt)

	seen, err := f.Introspect(ctx, "good")
	require.NoError(t, err)
	assert.True(t, seen.Active)
	assert.Equal(t, "alice", seen.Subject)
	seen, err = f.Introspect(ctx, "bad")
	require.NoError(t, err)
	assert.Equal(t, api.Introspection{Reason: "malformed"}, seen)
	_, err = f.Introspect(ctx, "stale")
	require.ErrorAs(t, err, &refusal)
	assert.Equal(t, http.StatusServiceUnavailable, refusal.Status)
	assert.Equal(t, "keys_stale", refusal.Code)
}

// TestScopes has every call of the admin API refused to a key that holds every
// scope but its own, and open to a key that holds that scope alone.
func TestScopes(t *testing.T) {
	f := start(t, nil)
	calls := map[string][]string{
		issuer.ScopeUsersRead:        {"GET /admin/v1/users/x"},
		issuer.ScopeUsersWrite:       {"PUT /admin/v1/users/x"},
		issuer.ScopeSessionsRead:     {"GET /admin/v1/sessions", "GET /admin/v1/sessions/x"},
		issuer.ScopeSessionsWrite:    {"POST /admin/v1/sessions", "DELETE /admin/v1/sessions/x", "POST /admin/v1/sessions/x/methods", "POST /admin/v1/sessions/x/end"},
		issuer.ScopeTokensMint:       {"POST /admin/v1/sessions/x/tokens"},
		issuer.ScopeTokensIntrospect: {"POST /admin/v1/introspect"},
		issuer.ScopeKeysRead:         {"GET /admin/v1/keys"},
		issuer.ScopeKeysRotate:       {"POST /admin/v1/keys", "POST /admin/v1/keys/x/rotate"},
		issuer.ScopeKeysWithdraw:     {"POST /admin/v1/keys/x/withdraw"},
		issuer.ScopeAPIKeysRead:      {"GET /admin/v1/api-keys"},
		issuer.ScopeAPIKeysWrite:     {"POST /admin/v1/api-keys", "DELETE /admin/v1/api-keys/x"},
		issuer.ScopeMetricsRead:      {"GET /metrics"},
	}
	require.Len(t, calls, len(issuer.Scopes()))
	for scope, list := range calls {
		var others []string
		for _, s := range issuer.Scopes() {
			if s != scope {
				others = append(others, s)
			}
		}
		without, err := f.CreateAPIKey(t.Context(), api.APIKeyBody{Name: "without", Scopes: others})
		require.NoError(t, err)
		only, err := f.CreateAPIKey(t.Context(), api.APIKeyBody{Name: "only", Scopes: []string{scope}})
		require.NoError(t, err)
		for _, c := range list {
			method, path, _ := strings.Cut(c, " ")
			a := f.send(method, f.admin.URL+path, "{}", "Authorization", "Bearer "+without.Secret)
			require.Equal(t, http.StatusForbidden, a.StatusCode, c)
			p := a.problem(t)
			assert.Equal(t, "insufficient_scope", p.Code)
			assert.Contains(t, p.Detail, scope)
			assert.Contains(t, a.Header.Get("WWW-Authenticate"), "insufficient_scope")
			a = f.send(method, f.admin.URL+path, "{}", "Authorization", "Bearer "+only.Secret)
			assert.NotContains(t, []int{401, 403, 405}, a.StatusCode, c)
		}
	}
	// A key cannot give what it has not.
	narrow, err := f.CreateAPIKey(t.Context(), api.APIKeyBody{Name: "narrow", Scopes: []string{issuer.ScopeAPIKeysWrite}})
	require.NoError(t, err)
	a := f.send("POST", f.admin.URL+"/admin/v1/api-keys", `{"name":"wide","scopes":["keys:withdraw"]}`, "Authorization", "Bearer "+narrow.Secret)
	assert.Equal(t, http.StatusForbidden, a.StatusCode)
	assert.Equal(t, "scope_too_wide", a.problem(t).Code)
}

func TestAuthentication(t *testing.T) {
	f := start(t, nil)
	s := f.session()
	for name, fields := range map[string][]string{
		"none":          nil,
		"other scheme":  {"Authorization", "Basic " + f.key},
		"no scheme":     {"Authorization", f.key},
		"wrong":         {"Authorization", "Bearer " + f.key + "x"},
		"empty":         {"Authorization", "Bearer "},
		"session token": {"Authorization", "Bearer " + s.SessionToken},
		"twice":         {"Authorization", "Bearer " + f.key, "Authorization", "Bearer " + f.key},
		"cookie":        {"Cookie", "sgk=" + f.key},
	} {
		for _, path := range []string{"/admin/v1/keys", "/metrics", "/admin/v1/nothing", "/", "/debug/pprof/"} {
			a := f.send("GET", f.admin.URL+path, "", fields...)
			require.Equal(t, http.StatusUnauthorized, a.StatusCode, "%s %s", name, path)
			assert.Equal(t, "invalid_api_key", a.problem(t).Code)
			assert.Contains(t, a.Header.Get("WWW-Authenticate"), "Bearer")
		}
	}
	assert.Equal(t, http.StatusOK, f.send("GET", f.admin.URL+"/admin/v1/keys", "", "Authorization", "bearer "+f.key).StatusCode)
	for _, open := range []string{"/livez", "/readyz"} {
		assert.Equal(t, http.StatusOK, f.send("GET", f.admin.URL+open, "").StatusCode)
	}
	assert.Equal(t, http.StatusNotFound, f.call("GET", "/admin/v1/nothing", "").StatusCode)
	a := f.call("PATCH", "/admin/v1/keys", "")
	assert.Equal(t, http.StatusMethodNotAllowed, a.StatusCode)
	assert.Equal(t, "GET, HEAD, POST", a.Header.Get("Allow"))
}

func TestHost(t *testing.T) {
	f := start(t, nil)
	port := f.admin.URL[strings.LastIndex(f.admin.URL, ":"):]
	for host, want := range map[string]int{
		"127.0.0.1" + port: 200, "localhost": 200, "LOCALHOST:1": 200, "[::1]" + port: 200, "127.9.9.9": 200, "admin.internal": 200, "Admin.Internal:8081": 200,
		"evil.example" + port: 421, "localhost.evil.example": 421, "127.0.0.1.evil.example": 421, "192.0.2.1" + port: 421, "admin.internal.evil": 421, "0.0.0.0": 421,
	} {
		a := f.call("GET", "/admin/v1/keys", "", "Host", host)
		assert.Equal(t, want, a.StatusCode, host)
		if want == 421 {
			assert.Equal(t, "host_not_allowed", a.problem(t).Code)
			assert.NotContains(t, a.body, "kid")
		}
	}
	assert.Equal(t, 200, f.send("GET", f.admin.URL+"/livez", "", "Host", "10.0.0.7:8081").StatusCode, "a kubelet's probe")
}

func TestBodies(t *testing.T) {
	f := start(t, nil)
	s := f.session()
	sessions := "/admin/v1/sessions"
	for name, tc := range map[string]struct {
		method, path, body string
		status             int
		code, field        string
	}{
		"unknown member":    {"POST", sessions, `{"user_id":"alice","admin":true}`, 400, "invalid_request", "admin"},
		"other case":        {"POST", sessions, `{"User_ID":"alice"}`, 400, "invalid_request", "User_ID"},
		"nested unknown":    {"POST", sessions, `{"user_id":"alice","device":{"ip":"x"}}`, 400, "invalid_request", "device.ip"},
		"nested wrong":      {"POST", sessions, `{"user_id":"alice","methods":[{"method":"p","aal":"aal9"}]}`, 400, "invalid_request", "methods[0].aal"},
		"repeated member":   {"POST", sessions, `{"user_id":"alice","user_id":"bob"}`, 400, "invalid_request", ""},
		"trailing bytes":    {"POST", sessions, `{"user_id":"alice"}x`, 400, "invalid_request", ""},
		"not JSON":          {"POST", sessions, `user_id=alice`, 400, "invalid_request", ""},
		"not UTF-8":         {"POST", sessions, "{\"user_id\":\"\xff\"}", 400, "invalid_request", ""},
		"array":             {"POST", sessions, `[]`, 400, "invalid_request", ""},
		"empty":             {"POST", sessions, ``, 400, "invalid_request", "user_id"},
		"wrong kind":        {"POST", sessions, `{"user_id":7}`, 400, "invalid_request", "user_id"},
		"zero ttl":          {"POST", sessions, `{"user_id":"alice","ttl":0}`, 400, "invalid_request", "ttl"},
		"overflowing ttl":   {"POST", sessions, `{"user_id":"alice","ttl":9007199254740991}`, 400, "invalid_request", "ttl"},
		"empty actor":       {"POST", sessions, `{"user_id":"alice","actor":{"sub":""}}`, 400, "invalid_request", "actor.sub"},
		"no such user":      {"POST", sessions, `{"user_id":"bob"}`, 404, "not_found", ""},
		"deep":              {"PUT", "/admin/v1/users/u", `{"traits":` + strings.Repeat(`{"a":`, 50) + "1" + strings.Repeat("}", 50) + "}", 400, "invalid_request", ""},
		"traits no object":  {"PUT", "/admin/v1/users/u", `{"traits":7}`, 400, "invalid_request", "traits"},
		"oversize":          {"PUT", "/admin/v1/users/u", `{"traits":{"a":"` + strings.Repeat("x", 200<<10) + `"}}`, 413, "too_large", ""},
		"token over cap":    {"POST", sessions + "/" + s.Session.ID + "/tokens", `{"ttl":86401}`, 400, "invalid_request", "ttl"},
		"token ttl 0":       {"POST", sessions + "/" + s.Session.ID + "/tokens", `{"ttl":0}`, 400, "invalid_request", "ttl"},
		"token unknown":     {"POST", sessions + "/" + s.Session.ID + "/tokens", `{"claims":{}}`, 400, "invalid_request", "claims"},
		"token no audience": {"POST", sessions + "/" + s.Session.ID + "/tokens", `{"audience":[]}`, 400, "invalid_request", "audience"},
		"end with body":     {"POST", sessions + "/" + s.Session.ID + "/end", `{"now":true}`, 400, "invalid_request", "now"},
		"methods":           {"POST", sessions + "/" + s.Session.ID + "/methods", `{}`, 400, "invalid_request", "methods"},
		"no session":        {"POST", sessions + "/x/end", ``, 404, "not_found", ""},
		"no token":          {"POST", "/admin/v1/introspect", `{}`, 400, "invalid_request", "token"},
		"no key":            {"POST", "/admin/v1/keys/x/rotate", ``, 404, "not_found", ""},
		"no algorithm":      {"POST", "/admin/v1/keys", `{"algorithm":"HS256"}`, 400, "invalid_request", "algorithm"},
		"quiet emergency":   {"POST", "/admin/v1/keys/x/withdraw", `{"emergency":true}`, 400, "invalid_request", "reason"},
		"half an emergency": {"POST", "/admin/v1/keys/x/withdraw", `{"reason":"x"}`, 400, "invalid_request", "reason"},
		"no scopes":         {"POST", "/admin/v1/api-keys", `{"name":"x"}`, 400, "invalid_request", "scopes"},
		"last operator":     {"DELETE", "/admin/v1/api-keys/" + f.key[4:20], ``, 409, "last_operator", ""},
		"list limit":        {"GET", sessions + "?limit=501", ``, 400, "invalid_request", "limit"},
		"list offset":       {"GET", sessions + "?offset=-1", ``, 400, "invalid_request", "offset"},
		"list unknown":      {"GET", sessions + "?user=x", ``, 400, "invalid_request", "user"},
		"list twice":        {"GET", sessions + "?limit=1&limit=2", ``, 400, "invalid_request", "limit"},
		"list malformed":    {"GET", sessions + "?limit=%zz", ``, 400, "invalid_request", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := f.call(tc.method, tc.path, tc.body)
			require.Equal(t, tc.status, a.StatusCode, a.body)
			p := a.problem(t)
			assert.Equal(t, tc.code, p.Code)
			if tc.field != "" {
				require.NotEmpty(t, p.Errors)
				assert.Equal(t, tc.field, p.Errors[0].Field)
				assert.Contains(t, p.Detail, tc.field)
			}
			assert.Equal(t, "no-store", a.Header.Get("Cache-Control"))
		})
	}
	a := f.call("POST", sessions, `{"user_id":"alice"}`, "Content-Type", "application/x-www-form-urlencoded") // curl -d
	assert.Equal(t, http.StatusCreated, a.StatusCode, a.body)
	a = f.call("POST", sessions, `{"user_id":"alice","ttl":null,"actor":null,"methods":null}`, "Content-Type", "application/json; charset=utf-8")
	assert.Equal(t, http.StatusCreated, a.StatusCode, a.body)
}

func TestUserNamesInPaths(t *testing.T) {
	f := start(t, nil)
	for _, id := range []string{"a/b", "ä ö", "...", "%2e", "a?b#c"} {
		u, err := f.PutUser(t.Context(), id, api.UserBody{})
		require.NoError(t, err, id)
		assert.Equal(t, id, u.ID)
	}
}

func TestProbesAndMetrics(t *testing.T) {
	f := start(t, nil)
	s := f.session()
	_, err := f.Mint(t.Context(), s.Session.ID, api.TokenBody{})
	require.NoError(t, err)
	a := f.call("GET", "/metrics", "")
	require.Equal(t, http.StatusOK, a.StatusCode)
	for _, want := range []string{
		`sessiongate_issuer_tokens_minted_total{algorithm="ES256",type="sess"} 1`,
		`sessiongate_issuer_keys{algorithm="ES256",state="active"} 1`,
		`sessiongate_issuer_sessions_total{event="created"} 1`,
		`sessiongate_issuer_emergency_withdrawals_total 0`,
		`route="/admin/v1/sessions/{id}/tokens",status="200"`,
	} {
		assert.Contains(t, a.body, want)
	}
	assert.NotContains(t, a.body, s.Session.ID)

	draining := httptest.NewServer(api.Admin(f.iss, api.AdminConfig{Draining: func() bool { return true }}))
	defer draining.Close()
	assert.Equal(t, http.StatusServiceUnavailable, f.send("GET", draining.URL+"/readyz", "").StatusCode)
	assert.Equal(t, http.StatusOK, f.send("GET", draining.URL+"/livez", "").StatusCode)

	require.NoError(t, f.iss.Close()) // the database is gone
	broken := httptest.NewServer(api.Admin(f.iss, api.AdminConfig{}))
	defer broken.Close()
	a = f.send("GET", broken.URL+"/readyz", "")
	assert.Equal(t, http.StatusServiceUnavailable, a.StatusCode)
	assert.JSONEq(t, `{"status":"not ready"}`, a.body, "the reason goes to the log")
	a = f.call("GET", "/admin/v1/keys", "")
	assert.Equal(t, http.StatusInternalServerError, a.StatusCode)
	assert.NotContains(t, a.body, "database")
}

func TestClient(t *testing.T) {
	for _, bad := range []string{"", "127.0.0.1:8081", "ftp://x", "http://"} {
		_, err := client.New(bad, "k")
		assert.Error(t, err, bad)
	}
	_, err := client.New("http://127.0.0.1:1", "")
	assert.Error(t, err)

	// A redirect would carry the key elsewhere; an answer that is no JSON is an error.
	var elsewhere bytes.Buffer
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { elsewhere.WriteString(r.Header.Get("Authorization")) }))
	defer thief.Close()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			http.Redirect(w, r, thief.URL, http.StatusFound)
			return
		}
		io.WriteString(w, "<html>")
	}))
	defer s.Close()
	c, err := client.New(s.URL, "sgk_x")
	require.NoError(t, err)
	_, err = c.Keys(t.Context())
	assert.ErrorContains(t, err, "302")
	assert.Empty(t, elsewhere.String())
	_, err = c.Announce(t.Context(), api.KeyBody{})
	assert.ErrorContains(t, err, "no JSON")
}
