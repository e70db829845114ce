package api_test

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/issuer"
	"sessiongate/issuer/api"
	"sessiongate/jwks"
)

func TestJWKS(t *testing.T) {
	f := start(t, func(s *issuer.Settings) { s.Algorithms = []string{"ES256", "EdDSA"} })
	url := f.public.URL + api.JWKSPath
	a := f.send("GET", url, "")
	require.Equal(t, http.StatusOK, a.StatusCode)
	assert.Equal(t, "application/jwk-set+json", a.Header.Get("Content-Type"))
	assert.Equal(t, "public, max-age=1800, must-revalidate", a.Header.Get("Cache-Control"))
	assert.Equal(t, "*", a.Header.Get("Access-Control-Allow-Origin"))
	set, err := jwks.Parse([]byte(a.body))
	require.NoError(t, err)
	assert.Equal(t, 2, set.Len())
	assert.Empty(t, set.Skipped())

	etag := a.Header.Get("ETag")
	for _, tag := range []string{etag, "W/" + etag, `"x", ` + etag, "*"} {
		a = f.send("GET", url, "", "If-None-Match", tag)
		assert.Equal(t, http.StatusNotModified, a.StatusCode, tag)
		assert.Empty(t, a.body)
		assert.Equal(t, etag, a.Header.Get("ETag"))
		assert.NotEmpty(t, a.Header.Get("Cache-Control"))
	}
	a = f.send("HEAD", url, "")
	assert.Equal(t, http.StatusOK, a.StatusCode)
	assert.Empty(t, a.body)

	_, err = f.Announce(t.Context(), api.KeyBody{Algorithm: "EdDSA"})
	require.NoError(t, err)
	a = f.send("GET", url, "", "If-None-Match", etag)
	require.Equal(t, http.StatusOK, a.StatusCode, "another set, another tag")
	set, err = jwks.Parse([]byte(a.body))
	require.NoError(t, err)
	assert.Equal(t, 3, set.Len())

	a = f.send("OPTIONS", url, "", "Origin", "https://app.example", "Access-Control-Request-Method", "GET")
	assert.Equal(t, http.StatusNoContent, a.StatusCode)
	assert.Equal(t, "*", a.Header.Get("Access-Control-Allow-Origin"))
	a = f.send("POST", url, "")
	assert.Equal(t, http.StatusMethodNotAllowed, a.StatusCode)
	assert.Equal(t, "GET, HEAD, OPTIONS", a.Header.Get("Allow"))
	assert.Equal(t, "method_not_allowed", a.problem(t).Code)
}

func TestDiscovery(t *testing.T) {
	f := start(t, func(s *issuer.Settings) { s.Algorithms = []string{"EdDSA", "ES256"} })
	a := f.send("GET", f.public.URL+api.DiscoveryPath, "")
	require.Equal(t, http.StatusOK, a.StatusCode)
	assert.Equal(t, "application/json", a.Header.Get("Content-Type"))
	assert.Equal(t, "*", a.Header.Get("Access-Control-Allow-Origin"))
	assert.Equal(t, "public, max-age=1800, must-revalidate", a.Header.Get("Cache-Control"))
	var got map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.body), &got))
	assert.Equal(t, map[string]any{
		"issuer": "https://issuer.example", "jwks_uri": "https://issuer.example/.well-known/jwks.json",
		"id_token_signing_alg_values_supported": []any{"EdDSA", "ES256"}, "subject_types_supported": []any{"public"}, "response_types_supported": []any{},
	}, got, "exactly these members")
}

func TestPublicToken(t *testing.T) {
	f := start(t, nil)
	s := f.session()
	url := f.public.URL + "/v1/token"
	a := f.send("POST", url, "", "Authorization", "Bearer "+s.SessionToken)
	require.Equal(t, http.StatusOK, a.StatusCode, a.body)
	var tok api.Token
	require.NoError(t, json.Unmarshal([]byte(a.body), &tok))
	assert.EqualValues(t, 300, tok.ExpiresIn)
	assert.Equal(t, s.Session.ID, tok.SessionID)
	assert.Equal(t, "no-store", a.Header.Get("Cache-Control"))
	assert.Empty(t, a.Header.Get("Access-Control-Allow-Origin"))

	for name, auth := range map[string]string{"none": "", "wrong": "Bearer sgs_wrong", "API key": "Bearer " + f.key, "token": "Bearer " + tok.Token, "scheme": "Basic " + s.SessionToken} {
		a = f.send("POST", url, "", "Authorization", auth)
		assert.Equal(t, http.StatusUnauthorized, a.StatusCode, name)
		assert.Equal(t, "invalid_session", a.problem(t).Code)
		assert.Contains(t, a.Header.Get("WWW-Authenticate"), "Bearer")
	}
	for body, field := range map[string]string{
		`{"ttl":301}`: "ttl", `{"audience":["bank"]}`: "audience[0]", `{"party":"x"}`: "party", `{"sub":"root"}`: "sub", `{"algorithm":"none"}`: "algorithm",
	} {
		a = f.send("POST", url, body, "Authorization", "Bearer "+s.SessionToken)
		require.Equal(t, http.StatusBadRequest, a.StatusCode, body)
		assert.Equal(t, field, a.problem(t).Errors[0].Field)
	}
	a = f.send("POST", url, `{"audience":["`+strings.Repeat("x", 200<<10)+`"]}`, "Authorization", "Bearer "+s.SessionToken)
	assert.Equal(t, http.StatusRequestEntityTooLarge, a.StatusCode)
	_, err := f.EndSession(t.Context(), s.Session.ID)
	require.NoError(t, err)
	a = f.send("POST", url, "", "Authorization", "Bearer "+s.SessionToken)
	assert.Equal(t, http.StatusConflict, a.StatusCode)
	assert.Equal(t, "session_over", a.problem(t).Code)
}

// TestPublicHasNoAdmin asks the public listener for what belongs to the other one.
func TestPublicHasNoAdmin(t *testing.T) {
	f := start(t, nil)
	for _, path := range []string{"/", "/admin/v1/keys", "/metrics", "/livez", "/readyz", "/v1/sessions"} {
		a := f.send("GET", f.public.URL+path, "", "Authorization", "Bearer "+f.key)
		assert.Equal(t, http.StatusNotFound, a.StatusCode, path)
		assert.Equal(t, "not_found", a.problem(t).Code)
	}
}

func TestPublicURL(t *testing.T) {
	tcp := func(s string) net.Addr {
		a, err := net.ResolveTCPAddr("tcp", s)
		require.NoError(t, err)
		return a
	}
	for _, tc := range []struct{ issuer, public, addr, want string }{
		{"https://a.example", "", "127.0.0.1:99", "https://a.example"},
		{"https://a.example", "https://b.example", "127.0.0.1:99", "https://b.example"},
		{"http://127.0.0.1:8080", "", "127.0.0.1:99", "http://127.0.0.1:99"},
		{"http://localhost:8080", "", "0.0.0.0:99", "http://localhost:99"},
		{"http://[::1]:8080", "", "[::1]:99", "http://[::1]:99"},
		{"https://localhost:8080", "", "127.0.0.1:99", "https://localhost:8080"},
	} {
		assert.Equal(t, tc.want, api.PublicURL(issuer.Settings{Issuer: tc.issuer, PublicURL: tc.public}, tcp(tc.addr)), tc.issuer)
	}
}
