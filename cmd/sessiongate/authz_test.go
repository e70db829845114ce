package main

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/host"
	"sessiongate/host/hosttest"
	"sessiongate/verdict"
)

func authzFor(t *testing.T, issuer *hosttest.Issuer, changes object) *command {
	t.Helper()
	policy := writeFile(t, filepath.Join(t.TempDir(), "policy.json"), policyFor(t, issuer, changes))
	return start(t, "authz", "--policy", policy, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
}

// ask asks about a request as a proxy of the convention does.
func ask(t *testing.T, url string, c *convention, method, path string, headers ...string) (*http.Response, string) {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if c.method == "" {
		return get(t, client, method, url+"/"+c.name+path, headers...)
	}
	return get(t, client, "GET", url+"/"+c.name, append([]string{c.method, method, c.scheme, "https", c.host, "h.example", c.path, path}, headers...)...)
}

func TestAuthzVerdicts(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	server := authzFor(t, issuer, nil)
	token := issuer.Mint(object{"roles": []string{"a", "b"}})
	for i := range conventions {
		c := &conventions[i]
		for _, test := range []struct {
			name, method, path string
			headers            []string
			status, nginx      int
			reason             string
			identity           []string // x-user-id, x-user-roles, x-tenant
		}{
			{"token", "GET", "/a?b=c", bearer(token), 200, 200, "", []string{"user_1", "a,b", ""}},
			{"unsafe method", "DELETE", "/a", bearer(token), 200, 200, "", []string{"user_1", "a,b", ""}},
			{"public", "GET", "/public/a", nil, 200, 200, "", []string{"", "", ""}},
			{"public, with claims of its own", "GET", "/public/a", []string{"X-User-Id", "root"}, 200, 200, "", []string{"", "", ""}},
			{"optional without token", "GET", "/maybe/a", nil, 200, 200, "", []string{"", "", ""}},
			{"no token", "GET", "/a", nil, 401, 401, "missing_token", nil},
			{"garbage", "GET", "/a", bearer("garbage"), 401, 401, "malformed", nil},
			{"expired", "GET", "/a", bearer(issuer.Mint(object{"iat": 1000, "nbf": 1000, "exp": 2000})), 401, 401, "expired", nil},
			{"no permission", "GET", "/write/a", bearer(token), 403, 403, "permission", nil},
			{"ambiguous path", "GET", "/public/..%2fa", bearer(token), 400, 403, "bad_path", nil},
			{"two tokens", "GET", "/a", append(bearer(token), bearer(token)...), 400, 403, "multiple_tokens", nil},
			{"cookie from elsewhere", "POST", "/a", []string{"Cookie", "__session=" + token, "Origin", "https://evil.example"}, 403, 403, "cross_site", nil},
			// A 200 with grpc-status is an answer to a client, and a yes to a proxy.
			{"grpc", "POST", "/a", []string{"Content-Type", "application/grpc"}, 401, 401, "missing_token", nil},
		} {
			t.Run(c.name+", "+test.name, func(t *testing.T) {
				resp, body := ask(t, server.addr.URL, c, test.method, test.path, test.headers...)
				want := test.status
				if c.name == "nginx" {
					want = test.nginx
				}
				require.Equal(t, want, resp.StatusCode, body)
				assert.Equal(t, test.reason, resp.Header.Get(reasonHeader))
				assert.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
				if test.status != 200 {
					told := ""
					if c.name == "nginx" {
						told = strconv.Itoa(test.status)
					}
					if c.name == "nginx" && test.name == "grpc" {
						told = "200"
					}
					assert.Equal(t, told, resp.Header.Get(statusHeader))
					for _, name := range []string{"X-User-Id", "X-User-Roles", "X-Tenant"} {
						assert.NotContains(t, resp.Header, name)
					}
					if test.status == 401 {
						assert.Contains(t, resp.Header.Get("Www-Authenticate"), "Bearer")
					}
					return
				}
				for i, name := range []string{"X-User-Id", "X-User-Roles", "X-Tenant"} {
					assert.Equal(t, []string{test.identity[i]}, resp.Header[name], "every identity header, empty or not: %s", name)
				}
				assert.Equal(t, test.path, resp.Header.Get(pathHeader))
				assert.Empty(t, body)
				if test.identity[0] == "" {
					drop := removeHeader
					if c.dropHeader != "" {
						drop = c.dropHeader
					}
					assert.Equal(t, "x-tenant,x-user-id,x-user-roles", resp.Header.Get(drop))
				}
			})
		}
	}
	log := server.log.String()
	assert.Contains(t, log, "proxy=traefik method=DELETE host=h.example path=/a status=200")
	assert.NotContains(t, log, token[:20])
	assert.NotContains(t, log, "b=c")
}

// What a convention does not name is not believed, and what it names has to be
// there once.
func TestAuthzConventions(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	server := authzFor(t, issuer, nil)
	for i := range conventions {
		c := &conventions[i]
		if c.method == "" {
			continue
		}
		good := map[string][]string{c.method: {"GET"}, c.scheme: {"https"}, c.host: {"h"}, c.path: {"/public/a"}}
		question := func(t *testing.T, change func(http.Header)) (*http.Response, string) {
			headers := http.Header(maps.Clone(good))
			change(headers)
			var pairs []string
			for name, values := range headers {
				for _, v := range values {
					pairs = append(pairs, name, v)
				}
			}
			return get(t, new(http.Client), "GET", server.addr.URL+"/"+c.name, pairs...)
		}
		status := http.StatusBadRequest
		if c.only401and403 {
			status = http.StatusForbidden
		}
		t.Run(c.name, func(t *testing.T) {
			resp, _ := question(t, func(http.Header) {})
			require.Equal(t, 200, resp.StatusCode)
			for name := range good {
				for what, change := range map[string]func(http.Header){
					"is missing":       func(h http.Header) { delete(h, name) },
					"is empty":         func(h http.Header) { h[name] = []string{""} },
					"is there 2 times": func(h http.Header) { h[name] = append(h[name], h[name]...) },
					"is missing ":      func(h http.Header) { h[strings.ReplaceAll(name, "-", "_")] = h[name]; delete(h, name) },
				} {
					resp, body := question(t, change)
					assert.Equal(t, status, resp.StatusCode, "%s %s", name, what)
					assert.Equal(t, "bad_request", resp.Header.Get(reasonHeader))
					assert.Contains(t, body, "header "+name+" "+strings.TrimSpace(what))
				}
			}
			resp, body := question(t, func(h http.Header) { h[c.scheme] = []string{"gopher"} })
			assert.Equal(t, status, resp.StatusCode)
			assert.Contains(t, body, c.scheme)
			for _, scheme := range []string{"ws", "WSS", "http"} {
				resp, _ := question(t, func(h http.Header) { h[c.scheme] = []string{scheme} })
				assert.Equal(t, 200, resp.StatusCode, scheme)
			}
			// The other convention's headers, and the request line, say nothing.
			resp, _ = question(t, func(h http.Header) {
				h[c.path] = []string{"/a"}
				for _, name := range []string{"X-Original-Uri", "X-Forwarded-Uri", "X-Original-Url", "X-Rewrite-Url"} {
					if name != c.path {
						h[name] = []string{"/public/a"}
					}
				}
			})
			assert.Equal(t, 401, resp.StatusCode)
		})
	}
	t.Run("envoy", func(t *testing.T) {
		resp, _ := get(t, new(http.Client), "GET", server.addr.URL+"/envoy/a", "X-Forwarded-Uri", "/public/a", "X-Original-Uri", "/public/a", "X-Envoy-Original-Path", "/public/a")
		assert.Equal(t, 401, resp.StatusCode)
	})
}

func TestAuthzUnknownPaths(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	server := authzFor(t, issuer, nil)
	for _, path := range []string{"/", "/nginxx", "/nginx/", "/envoy", "/envoyx/a", "/apache", "/NGINX", "//nginx"} {
		resp, body := get(t, new(http.Client), "GET", server.addr.URL+path, "X-Original-Uri", "/public/a")
		assert.Equal(t, 404, resp.StatusCode, path)
		assert.Contains(t, body, "/nginx")
	}
	// A path with dots is the client's, and is judged, not cleaned.
	status, body := raw(t, server.addr.Listen, "GET /envoy/public/../a HTTP/1.1\nHost: h\n\n")
	assert.Equal(t, 400, status)
	assert.Contains(t, body, "bad_path")
	status, _ = raw(t, server.addr.Listen, "GET /envoy/public/a?x HTTP/1.1\nHost: h\n\n")
	assert.Equal(t, 200, status)
	// The body of a question is nobody's business.
	status, _ = raw(t, server.addr.Listen, "POST /envoy/public/a HTTP/1.1\nHost: h\nContent-Length: 1000000\n\n")
	assert.Equal(t, 200, status)
}

func TestAuthzStripsTheToken(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	server := authzFor(t, issuer, object{"token": "strip",
		"sources": []any{object{"header": "authorization", "scheme": "Bearer"}, object{"cookie": "__session"}, object{"query": "access_token"}}})
	token := issuer.Mint(nil)
	for _, name := range []string{"nginx", "traefik", "envoy"} {
		c := &conventions[slices.IndexFunc(conventions, func(c convention) bool { return c.name == name })]
		resp, _ := ask(t, server.addr.URL, c, "GET", "/a", bearer(token)...)
		require.Equal(t, 200, resp.StatusCode)
		assert.Equal(t, []string{""}, resp.Header["Authorization"])
		if name == "envoy" {
			assert.Contains(t, resp.Header.Get("X-Envoy-Auth-Headers-To-Remove"), "authorization")
		}

		resp, _ = ask(t, server.addr.URL, c, "GET", "/a", "Cookie", "theme=dark; __session="+token+"; lang=de")
		require.Equal(t, 200, resp.StatusCode)
		assert.Equal(t, []string{"theme=dark; lang=de"}, resp.Header["Cookie"])

		resp, _ = ask(t, server.addr.URL, c, "GET", "/a?x=1&access_token="+token)
		require.Equal(t, 200, resp.StatusCode)
		assert.Equal(t, "/a?x=1", resp.Header.Get(pathHeader))
	}
}

func TestAuthzSignIn(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	server := authzFor(t, issuer, object{"sign_in": object{"url": "https://app.example/sign-in"}, "public_origin": "https://app.example"})
	for i := range conventions {
		c := &conventions[i]
		resp, _ := ask(t, server.addr.URL, c, "GET", "/a", "Accept", "text/html", "Sec-Fetch-Mode", "navigate")
		if c.only401and403 {
			assert.Equal(t, 401, resp.StatusCode, "nginx takes a redirect for an error")
		} else {
			assert.Contains(t, []int{302, 303}, resp.StatusCode)
		}
		assert.Equal(t, "https://app.example/sign-in?return_to=https%3A%2F%2Fapp.example%2Fa", resp.Header.Get("Location"))
		assert.Equal(t, "missing_token", resp.Header.Get(reasonHeader))
	}
}

// No proxy can be relied on to forward another path than the client wrote.
func TestAuthzRefusesRewrittenPaths(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	server := authzFor(t, issuer, object{"paths": "normalize"})
	for i := range conventions {
		c := &conventions[i]
		resp, body := ask(t, server.addr.URL, c, "GET", "/public//a")
		want := http.StatusBadRequest
		if c.only401and403 {
			want = http.StatusForbidden
		}
		assert.Equal(t, want, resp.StatusCode)
		assert.Equal(t, "bad_path", resp.Header.Get(reasonHeader))
		assert.Contains(t, body, "bad_path")
	}
}

type fixedVerdict verdict.Decision

func (f fixedVerdict) Filter(context.Context, host.Request) (verdict.Decision, error) {
	return verdict.Decision(f), nil
}

// Whatever a Decision that does not forward says, its status is never one that a
// proxy takes for a yes.
func TestAuthzNeverMistakenForYes(t *testing.T) {
	for status := range 700 {
		for _, reason := range append([]verdict.Reason{verdict.None}, verdict.Reasons()...) {
			for i := range conventions {
				c := &conventions[i]
				got := c.refusalStatus(&verdict.Decision{Status: status, Reason: reason})
				require.True(t, got >= 300 && got <= 599, "%s: %d %s: %d", c.name, status, reason, got)
				if c.only401and403 {
					require.Contains(t, []int{401, 403}, got)
				}
			}
		}
	}
	a := &authz{host: fixedVerdict{Status: 204}, log: newAccessLog(newLogger(new(lockedBuffer), 0))}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, &http.Request{Method: "GET", RequestURI: "/envoy/a", Header: http.Header{}})
	assert.Equal(t, 403, w.Code)
	w = httptest.NewRecorder()
	a.ServeHTTP(w, &http.Request{Method: "GET", RequestURI: "/envoy/a", Header: http.Header{}})
	assert.Equal(t, "none", w.Header().Get(reasonHeader))
}
