package sessiongatecaddy

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDecisions(t *testing.T) {
	s := newSite(t, nil)
	s.before = "request_header X-Before {http.request.header.X-User-Id}"
	// Handlers behind the directive, and placeholders in them, see what passed.
	s.after = `request_header X-After {http.request.header.X-User-Id}
	@somebody header X-User-Id *
	request_header @somebody X-Known yes`
	s.start()
	good := s.issuer.Mint(object{"sub": "ada"})
	for _, tt := range []struct {
		name, path string
		header     []string
		status     int
		reason     string
		user       string // at the upstream
	}{
		{"good", "/", []string{"Authorization", "Bearer " + good}, 200, "", "ada"},
		{"good, permission", "/admin", []string{"Authorization", s.bearer(object{"sub": "ada", "permissions": []string{"admin"}})}, 200, "", "ada"},
		{"spoofed", "/", []string{"Authorization", "Bearer " + good, "X-User-Id", "root", "X-User-Id", "root"}, 200, "", "ada"},
		{"spoofed, another case", "/", []string{"Authorization", "Bearer " + good, "x-uSER-id", "root"}, 200, "", "ada"},
		{"spoofed, underscores", "/", []string{"Authorization", "Bearer " + good, "X_user_ID", "root"}, 200, "", "ada"},
		{"spoofed, in Connection", "/", []string{"Authorization", "Bearer " + good, "X-User-Id", "root", "Connection", "x-user-id"}, 200, "", "ada"},
		{"public", "/public", nil, 200, "", ""},
		{"public, spoofed", "/public", []string{"X-User-Id", "root"}, 200, "", ""},
		{"no token", "/", nil, 401, "missing_token", ""},
		{"no token, spoofed", "/", []string{"X-User-Id", "root"}, 401, "missing_token", ""},
		{"tampered", "/", []string{"Authorization", "Bearer " + good[:len(good)-8] + "AAAAAAAA"}, 401, "bad_signature", ""},
		{"no JWS", "/", []string{"Authorization", "Bearer nonsense"}, 401, "malformed", ""},
		{"expired", "/", []string{"Authorization", s.bearer(object{"iat": 1000, "nbf": 1000, "exp": 2000})}, 401, "expired", ""},
		{"another audience", "/", []string{"Authorization", s.bearer(object{"aud": "else"})}, 401, "wrong_audience", ""},
		{"another issuer", "/", []string{"Authorization", s.bearer(object{"iss": "https://else.example"})}, 401, "wrong_issuer", ""},
		{"two tokens", "/", []string{"Authorization", "Bearer " + good, "Authorization", s.bearer(nil)}, 400, "multiple_tokens", ""},
		{"permission", "/admin/x", []string{"Authorization", "Bearer " + good}, 403, "permission", ""},
		{"odd path", "/public/%2e%2e/admin", []string{"Authorization", "Bearer " + good}, 400, "bad_path", ""},
		{"doubled slash", "/public//x", nil, 400, "bad_path", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.upstream.take()
			status, body := s.get(tt.path, tt.header...)
			require.Equal(t, tt.status, status, body)
			seen := s.upstream.take()
			if tt.reason != "" {
				assert.Contains(t, body, `"code":"`+tt.reason+`"`)
				assert.Empty(t, seen)
				return
			}
			require.Len(t, seen, 1)
			h := seen[0].Header
			assert.Equal(t, tt.user, strings.Join(h["X-User-Id"], "|"))
			assert.Equal(t, tt.user, strings.Join(h["X-After"], "|"))
			assert.Equal(t, tt.user != "", h.Get("X-Known") == "yes")
			for name := range h {
				assert.NotContains(t, name, "_")
			}
		})
	}
}

// What the policy makes of the path and the query is what placeholders, rewrites and
// the upstream go by.
func TestOtherPath(t *testing.T) {
	s := newSite(t, func(p object) {
		p["paths"], p["token"] = "normalize", "strip"
		p["sources"] = []any{object{"query": "t"}, object{"header": "authorization", "scheme": "Bearer"}}
	})
	s.after = "request_header X-Uri {http.request.uri}"
	s.start()
	status, body := s.get("/a//b/../c?x=1&t=" + s.issuer.Mint(nil) + "&y=%41")
	require.Equal(t, 200, status, body)
	seen := s.upstream.take()
	require.Len(t, seen, 1)
	assert.Equal(t, "/a/c?x=1&y=%41", seen[0].RequestURI)
	assert.Equal(t, "/a/c?x=1&y=%41", seen[0].Header.Get("X-Uri"))
}

// The path that is judged is the one that rewrites before the directive have left.
func TestRewritten(t *testing.T) {
	s := newSite(t, nil)
	s.before = "uri strip_prefix /api"
	s.start()
	status, _ := s.get("/api/public/x")
	assert.Equal(t, 200, status)
	status, body := s.get("/api/admin", "Authorization", s.bearer(nil))
	assert.Equal(t, 403, status, body)
}

func TestAccessLog(t *testing.T) {
	s := newSite(t, nil).start()
	s.get("/", "Authorization", s.bearer(object{"sub": "ada", "email": "ada@example.com", "secret": "s3cret"}))
	s.get("/")
	s.get("/", "Authorization", s.bearer(object{"sub": "mallory", "aud": "else"}))
	lines := s.logged(3)
	require.Len(t, lines, 3)
	field := func(i int, name string) string { v, _ := lines[i][name].(string); return v }
	assert.Equal(t, []string{"none", "missing_token", "wrong_audience"}, []string{field(0, "reason"), field(1, "reason"), field(2, "reason")})
	assert.Equal(t, []string{"ada", "", ""}, []string{field(0, "user_id"), field(1, "user_id"), field(2, "user_id")})
	assert.Equal(t, []string{"ada@example.com", "", ""}, []string{field(0, "email"), field(1, "email"), field(2, "email")})
	all := fmt.Sprint(lines)
	assert.NotContains(t, all, "eyJ", "a token")
	assert.NotContains(t, all, "s3cret")
	assert.NotContains(t, all, "mallory")
}

func TestMetrics(t *testing.T) {
	s := newSite(t, nil).start()
	s.get("/")
	s.get("/", "Authorization", s.bearer(nil))
	require.NoError(t, s.load(), "a reload registers the same metrics in another registry")
	s.get("/")
	resp, err := http.Get("http://" + s.metrics + "/metrics")
	require.NoError(t, err)
	text := readAll(t, resp.Body)
	assert.Contains(t, text, `sessiongate_verdicts_total{call="filter",policy="`+s.policy+`",reason="missing_token"} 2`)
	assert.Contains(t, text, `sessiongate_verdicts_total{call="filter",policy="`+s.policy+`",reason="none"} 1`)
	assert.Contains(t, text, `sessiongate_keys_usable{issuer="`+s.issuer.URL()+`",policy="`+s.policy+`"} 1`)
}

func TestUpgrade(t *testing.T) {
	s := newSite(t, nil).start()
	for _, token := range []string{s.issuer.Mint(object{"sub": "ada"}), "bad"} {
		conn, err := net.DialTimeout("tcp", s.front, 5*time.Second)
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-User-Id: root\r\nAuthorization: Bearer %s\r\n\r\n", token)
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		require.NoError(t, err)
		if token == "bad" {
			assert.Equal(t, 401, resp.StatusCode)
			continue
		}
		require.Equal(t, 101, resp.StatusCode)
		assert.Equal(t, "ada", resp.Header.Get("X-User"))
		fmt.Fprint(conn, "over\n")
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, "echo over\n", line)
	}
}

func TestTrailers(t *testing.T) {
	s := newSite(t, nil).start()
	conn, err := net.DialTimeout("tcp", s.front, 5*time.Second)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-User-Id, X_user_id\r\n\r\n"+
		"4\r\nbody\r\n0\r\nX-Sum: 1\r\nX-User-Id: root\r\nX_user_id: root\r\nX-Unannounced: 1\r\n\r\n", s.bearer(object{"sub": "ada"}))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	assert.Equal(t, "hello ada 4", readAll(t, resp.Body))
	seen := s.upstream.take()
	require.Len(t, seen, 1)
	assert.Equal(t, http.Header{"X-Sum": {"1"}}, seen[0].Trailer)
}

func TestClosedHostRefuses(t *testing.T) {
	s := newSite(t, nil).start()
	hosts.Range(func(k, v any) bool {
		if k.(key).policy == s.policy {
			assert.NoError(t, v.(*shared).host.Close())
		}
		return true
	})
	status, body := s.get("/public")
	assert.Equal(t, 503, status)
	assert.Contains(t, body, `"code":"internal"`)
	assert.Empty(t, s.upstream.take())
	assert.Equal(t, "internal", s.logged(1)[0]["reason"])
}

// Caddy's path matchers ignore case and policies do not, so that a route by a path
// matcher is no boundary between rules; path_regexp is.
func TestMatchersIgnoreCase(t *testing.T) {
	s := newSite(t, nil)
	s.after = `@ignoring path /admin/*
	request_header @ignoring X-Ignoring yes
	@exact path_regexp ^/admin(/|$)
	request_header @exact X-Exact yes`
	s.start()
	for _, tt := range []struct{ path, ignoring, exact string }{{"/ADMIN/x", "yes", ""}, {"/admin/x", "yes", "yes"}} {
		status, body := s.get(tt.path, "Authorization", s.bearer(object{"permissions": []string{"admin"}}))
		require.Equal(t, 200, status, body)
		seen := s.upstream.take()
		require.Len(t, seen, 1)
		assert.Equal(t, tt.ignoring, seen[0].Header.Get("X-Ignoring"), tt.path)
		assert.Equal(t, tt.exact, seen[0].Header.Get("X-Exact"), tt.path)
	}
	status, _ := s.get("/ADMIN/x", "Authorization", s.bearer(nil))
	assert.Equal(t, 200, status, "the rule for /admin is not the one")
}
