package host_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/host"
	"sessiongate/host/hosttest"
	"sessiongate/verdict"
)

// seen is what a handler behind the middleware saw.
type seen struct {
	Header, Trailer http.Header
	Path, Query     string
	RequestURI      string
	Subject         string
	Known           bool
	Body            string
}

func show(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p, ok := host.PrincipalFrom(r.Context())
	_ = json.NewEncoder(w).Encode(seen{r.Header, r.Trailer, r.URL.Path, r.URL.RawQuery, r.RequestURI, p.Subject, ok, string(body)})
}

// site is a policy with every kind of access.
func site(t testing.TB, issuer *hosttest.Issuer) []byte {
	return document(t, issuer, func(_, policy map[string]any) {
		policy["identity_headers"] = map[string]any{"x-user-id": "subject", "x-roles": "roles"}
		policy["sources"] = []any{map[string]any{"header": "authorization", "scheme": "Bearer"}, map[string]any{"query": "access_token"}}
		policy["token"] = "strip"
		policy["log"] = []string{"session"}
		policy["rules"] = []any{
			map[string]any{"path": "/public", "access": "public"},
			map[string]any{"path": "/optional", "access": "optional"},
			map[string]any{"path_prefix": "/"},
		}
	})
}

func serve(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// raw sends a request as it is written and returns the answer.
func raw(t testing.TB, s *httptest.Server, text string) (*http.Response, seen) {
	t.Helper()
	c, err := tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	require.NoError(t, err)
	defer c.Close()
	_, err = io.WriteString(c, strings.ReplaceAll(text, "\n", "\r\n"))
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	var v seen
	if resp.StatusCode == http.StatusOK {
		require.NoError(t, json.Unmarshal(body, &v), "%s", body)
	}
	return resp, v
}

func TestHandlerCannotBeSpoofed(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	h := start(t, host.Config{Policy: site(t, issuer)})
	s := serve(t, h.Handler(http.HandlerFunc(show)))
	token := issuer.Mint(nil)
	ways := map[string]string{
		"plain":                  "GET %s HTTP/1.1\nHost: h\nX-User-Id: evil\n%sConnection: close\n\n",
		"lower case":             "GET %s HTTP/1.1\nHost: h\nx-user-id: evil\n%sConnection: close\n\n",
		"upper case":             "GET %s HTTP/1.1\nHost: h\nX-USER-ID: evil\n%sConnection: close\n\n",
		"underscores":            "GET %s HTTP/1.1\nHost: h\nx_user_id: evil\n%sConnection: close\n\n",
		"one underscore":         "GET %s HTTP/1.1\nHost: h\nX_User-ID: evil\n%sConnection: close\n\n",
		"repeated":               "GET %s HTTP/1.1\nHost: h\nX-User-Id: evil\nX-User-Id: evil\nX_USER_ID: evil\n%sConnection: close\n\n",
		"a header not set here":  "GET %s HTTP/1.1\nHost: h\nX-Roles: evil\nx_roles: evil\n%sConnection: close\n\n",
		"named in connection":    "GET %s HTTP/1.1\nHost: h\nX-User-Id: evil\n%sConnection: close, X-User-Id\n\n",
		"named with underscores": "GET %s HTTP/1.1\nHost: h\nConnection: x_user_id\nConnection: X-ROLES\n%sConnection: close\n\n",
		"announced trailer":      "POST %s HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\nTrailer: X-User-Id, X_Roles, X-Checksum\n%sConnection: close\n\n2\nok\n0\nX-User-Id: evil\nX_Roles: evil\nX-Checksum: 7\n\n",
		"trailer as a surprise":  "POST %s HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\n%sConnection: close\n\n2\nok\n0\nX-User-Id: evil\nx_user_id: evil\n\n",
		"among announced ones":   "POST %s HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\nTrailer: X-Checksum\n%sConnection: close\n\n2\nok\n0\nX-User-Id: evil\nX-Checksum: 7\n\n",
	}
	for way, text := range ways {
		for _, path := range []string{"/public", "/optional", "/optional-with-token", "/private"} {
			t.Run(way+" "+path, func(t *testing.T) {
				authorization, subject := "", ""
				if path == "/private" || path == "/optional-with-token" {
					authorization, subject = "Authorization: Bearer "+token+"\n", "user_1"
				}
				resp, v := raw(t, s, fmt.Sprintf(text, path, authorization))
				require.Equal(t, 200, resp.StatusCode)
				for _, headers := range []http.Header{v.Header, v.Trailer} {
					for name, values := range headers {
						assert.NotContains(t, values, "evil", name)
						if name == "Connection" {
							assert.NotContains(t, strings.ToLower(strings.ReplaceAll(strings.Join(values, ","), "_", "-")), "x-", "a hop would take ours away")
						}
					}
				}
				if subject == "" {
					assert.NotContains(t, v.Header, "X-User-Id")
				} else {
					assert.Equal(t, []string{subject}, v.Header["X-User-Id"])
				}
				assert.Equal(t, subject, v.Subject)
				assert.Equal(t, subject != "", v.Known)
				if strings.Contains(text, "X-Checksum: 7") {
					assert.Equal(t, []string{"7"}, v.Trailer["X-Checksum"], "other trailers arrive")
				}
			})
		}
	}
}

func TestHandlerTrailersOverHTTP2(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	h := start(t, host.Config{Policy: site(t, issuer)})
	s := serve(t, h.Handler(http.HandlerFunc(show)))
	body, w := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/public", body)
	require.NoError(t, err)
	req.Trailer = http.Header{"X-User-Id": nil, "X-Checksum": nil}
	go func() {
		_, _ = io.WriteString(w, "ok")
		req.Trailer.Set("X-User-Id", "evil")
		req.Trailer.Set("X-Checksum", "7")
		w.Close()
	}()
	resp, err := s.Client().Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, 2, resp.ProtoMajor)
	var v seen
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&v))
	assert.Equal(t, http.Header{"X-Checksum": {"7"}}, v.Trailer)
	assert.Equal(t, "ok", v.Body)
}

// A program in front of the middleware may have put headers into the map as it liked.
func TestHandlerHeadersInOddSpellings(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	h := start(t, host.Config{Policy: site(t, issuer)})
	token := issuer.Mint(nil)
	r := httptest.NewRequest("GET", "/private", nil)
	odd := strings.ToLower("X-User-Id") // net/http never writes it so
	r.Header[odd] = []string{"evil"}
	r.Header["X_uSeR_iD"] = []string{"evil"}
	lower := strings.ToLower("Authorization")
	r.Header[lower] = []string{"Bearer " + token}
	w := httptest.NewRecorder()
	h.Handler(http.HandlerFunc(show)).ServeHTTP(w, r)
	require.Equal(t, 200, w.Code)
	assert.NotContains(t, w.Body.String(), "evil")
	assert.Equal(t, []string{"evil"}, r.Header[odd], "the caller's request is left alone")

	// The same token in two spellings is one source twice.
	r.Header["Authorization"] = []string{"Bearer " + token}
	w = httptest.NewRecorder()
	h.Handler(http.HandlerFunc(show)).ServeHTTP(w, r)
	assert.Equal(t, 400, w.Code)
	assert.Contains(t, w.Body.String(), "multiple_tokens")
}

func TestHandlerRefuses(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	h := start(t, host.Config{Policy: site(t, issuer)})
	s := serve(t, h.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("let through") })))
	get := func(head string) (*http.Response, string) {
		t.Helper()
		c, err := tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
		require.NoError(t, err)
		defer c.Close()
		_, err = io.WriteString(c, strings.ReplaceAll(head, "\n", "\r\n"))
		require.NoError(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp, string(body)
	}
	resp, body := get("GET /x HTTP/1.1\nHost: h\nConnection: close\n\n")
	assert.Equal(t, 401, resp.StatusCode)
	assert.Equal(t, `Bearer realm="sessiongate"`, resp.Header.Get("WWW-Authenticate"))
	assert.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
	assert.Contains(t, body, `"code":"missing_token"`)

	resp, body = get("GET /x HTTP/1.1\nHost: h\nAuthorization: Bearer " + issuer.Mint(map[string]any{"exp": 1000, "iat": 500, "nbf": 500}) + "\nConnection: close\n\n")
	assert.Equal(t, 401, resp.StatusCode)
	assert.Contains(t, body, `"code":"expired"`)
	assert.NotContains(t, body, "user_1")

	for _, path := range []string{"/a//b", "/a/%2e%2e/b", "/a%2fb", `/a\b`, "/a%5cb", "/./x"} {
		resp, body = get("GET " + path + " HTTP/1.1\nHost: h\nConnection: close\n\n")
		assert.Equal(t, 400, resp.StatusCode, path)
		assert.Contains(t, body, `"code":"bad_path"`, path)
	}
	resp, body = get("CONNECT h:1 HTTP/1.1\nHost: h:1\nConnection: close\n\n")
	assert.Equal(t, 400, resp.StatusCode, "a tunnel has no path")
	assert.Contains(t, body, `"code":"bad_path"`)
	resp, _ = get("GET http://evil.example/x HTTP/1.1\nHost: h\nConnection: close\n\n")
	assert.Equal(t, 401, resp.StatusCode, "absolute form")
}

func TestHandlerStripsTheTokenFromTheQuery(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	h := start(t, host.Config{Policy: site(t, issuer)})
	s := serve(t, h.Handler(http.HandlerFunc(show)))
	token := issuer.Mint(nil)
	_, v := raw(t, s, "GET /a%20b?x=1&access_token="+token+"&y=2 HTTP/1.1\nHost: h\nConnection: close\n\n")
	assert.Equal(t, "/a b", v.Path)
	assert.Equal(t, "x=1&y=2", v.Query)
	assert.Equal(t, "/a%20b?x=1&y=2", v.RequestURI)
	_, v = raw(t, s, "GET /a HTTP/1.1\nHost: h\nAuthorization: Bearer "+token+"\nConnection: close\n\n")
	assert.NotContains(t, v.Header, "Authorization")
	assert.Equal(t, "user_1", v.Subject)
}

func TestHandlerBehindAnother(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	h := start(t, host.Config{Policy: site(t, issuer)})
	// The inner one lets the request pass without a token: it vouches for nobody.
	chain := h.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.Clone(r.Context())
		r.Header.Del("Authorization")
		r.URL.Path = "/public"
		h.Handler(http.HandlerFunc(show)).ServeHTTP(w, r)
	}))
	_, v := raw(t, serve(t, chain), "GET /a HTTP/1.1\nHost: h\nAuthorization: Bearer "+issuer.Mint(nil)+"\nConnection: close\n\n")
	assert.False(t, v.Known)
	assert.NotContains(t, v.Header, "X-User-Id")
}

// A body reaches next while the client is still sending it.
func TestHandlerStreams(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	h := start(t, host.Config{Policy: site(t, issuer)})
	s := serve(t, h.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			fmt.Fprintln(w, strings.ToUpper(lines.Text()))
			w.(http.Flusher).Flush()
		}
	})))
	body, client := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/x", body)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+issuer.Mint(nil))
	go func() { _, _ = fmt.Fprintln(client, "first") }()
	resp, err := s.Client().Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for _, line := range []string{"FIRST", "second", "third"} {
		if line != "FIRST" {
			_, err = fmt.Fprintln(client, line)
			require.NoError(t, err)
		}
		require.True(t, lines.Scan())
		assert.Equal(t, strings.ToUpper(line), lines.Text())
	}
	client.Close()
}

func TestHandlerLetsUpgradesThrough(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	h := start(t, host.Config{Policy: site(t, issuer)})
	s := httptest.NewServer(h.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: %s\r\nConnection: %s\r\n\r\n", r.Header.Get("Upgrade"), r.Header.Get("Connection"))
		rw.Flush()
		line, _ := rw.ReadString('\n')
		fmt.Fprint(rw, "echo "+line)
		rw.Flush()
	})))
	defer s.Close()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	fmt.Fprintf(c, "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: X-User-Id, Upgrade\r\nAuthorization: Bearer %s\r\n\r\n", issuer.Mint(nil))
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	require.Equal(t, 101, resp.StatusCode)
	assert.Equal(t, "Upgrade", resp.Header.Get("Connection"))
	fmt.Fprintln(c, "hello")
	line, err := r.ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "echo hello\n", line)
}

func TestHandlerWithoutAnInstance(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	h := start(t, host.Config{Policy: issuer.Policy(), Instances: 1})
	_, release, err := h.Hold(t.Context())
	require.NoError(t, err)
	defer release()
	ask := func(method, contentType string) *httptest.ResponseRecorder {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		r := httptest.NewRequest(method, "/", nil).WithContext(ctx)
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		h.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("let through") })).ServeHTTP(w, r)
		return w
	}
	w := ask("GET", "")
	assert.Equal(t, 503, w.Code)
	assert.Equal(t, "5", w.Header().Get("Retry-After"))
	assert.Contains(t, w.Body.String(), `"code":"internal"`)
	assert.Empty(t, ask("HEAD", "").Body.String())
	w = ask("POST", "application/grpc+proto")
	assert.Equal(t, 200, w.Code)
	assert.Equal(t, "14", w.Header().Get("Grpc-Status"))
}

func TestRespondToTheZeroDecision(t *testing.T) {
	w := httptest.NewRecorder()
	host.Respond(w, &verdict.Decision{})
	assert.Equal(t, 503, w.Code)
}

// What a log gets to see: Reasons, and the claims that the policy names.
func TestHandlerLogs(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	var log logBuffer
	h := start(t, host.Config{Policy: site(t, issuer), Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	token := issuer.Mint(map[string]any{"sid": "ses_42", "sub": "secret_subject"})
	for _, path := range []string{"/a?access_token=" + token, "/public", "/b", "/a?access_token=" + token + "x"} {
		r := httptest.NewRequest("GET", path, nil)
		h.Handler(http.HandlerFunc(show)).ServeHTTP(httptest.NewRecorder(), r)
	}
	assert.Contains(t, log.String(), "claim.session=ses_42")
	assert.Contains(t, log.String(), "reason=missing_token")
	assert.NotContains(t, log.String(), "secret_subject")
	assert.NotContains(t, log.String(), token[:20])
}
