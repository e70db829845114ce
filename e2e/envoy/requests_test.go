package envoy_test

import (
	"fmt"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestExample is everything that one Envoy with the example's configuration is asked.
func TestExample(t *testing.T) {
	p := start(t, setup{})
	p.ready()
	t.Run("accepts", p.on(accepts))
	t.Run("refuses", p.on(refuses))
	t.Run("spoofing", p.on(spoofing))
	t.Run("paths", p.on(paths))
	t.Run("protocols", p.on(protocols))
	t.Run("browsers", p.on(browsers))
	t.Run("observation", p.on(observation))
	t.Run("updates", p.on(updates))
	t.Run("keys", p.on(keys))
	t.Run("rotation", p.on(rotation))
}

// on runs a part of a test against this Envoy.
func (p *proxy) on(f func(*proxy, *testing.T)) func(*testing.T) {
	return func(t *testing.T) {
		q := p.t
		p.t = t
		defer func() { p.t = q }()
		f(p, t)
	}
}

func accepts(p *proxy, t *testing.T) {
	token := p.issuer.Mint(object{"roles": []string{"dev", "a,b"}})
	for name, headers := range map[string][]string{
		"header":        bearer(token),
		"cookie":        {"cookie: a=b; __session=" + token},
		"session token": {"x-session-token: " + token},
		"both, equal":   append(bearer(token), "x-session-token: "+token),
	} {
		t.Run(name, func(t *testing.T) {
			r := p.get("/app/x?y=%7e", headers...)
			require.Equal(t, 200, r.status, r.body)
			assert.Equal(t, "/app/x?y=%7e", r.saw.URI)
			assert.Equal(t, []string{"user_1"}, r.saw.Header["X-User-Id"])
			assert.Equal(t, []string{"dev,a%2Cb"}, r.saw.Header["X-User-Roles"])
		})
	}
	for target, headers := range map[string][]string{
		"/healthz":    nil,
		"/optional/x": nil,
		"/t/acme/x":   bearer(p.issuer.Mint(object{"tenant_id": "acme"})),
		"/admin":      bearer(p.issuer.Mint(object{"permissions": []string{"admin"}})),
		"/dash":       bearer(p.issuer.Mint(object{"session_type": "ssdash"})),
		"/aal":        bearer(p.issuer.Mint(object{"acr": "aal2"})),
		"/recent":     bearer(p.issuer.Mint(object{"auth_time": time.Now().Unix()})),
	} {
		r := p.get(target, headers...)
		assert.Equal(t, 200, r.status, "%s: %s", target, r.body)
	}
	assert.Equal(t, 200, p.get("/healthz", bearer("garbage")...).status, "public: the token is ignored")
}

func refuses(p *proxy, t *testing.T) {
	token := p.issuer.Mint(nil)
	now := time.Now().Unix()
	mint := func(pairs ...any) []string {
		claims := object{}
		for i := 0; i < len(pairs); i += 2 {
			claims[pairs[i].(string)] = pairs[i+1]
		}
		return bearer(p.issuer.Mint(claims))
	}
	head := func(name string, value any) []string {
		return bearer(p.issuer.MintWithHeader(object{name: value}, nil))
	}
	tampered := token[:len(token)-8] + flip(token[len(token)-8:])
	for _, tt := range []struct {
		reason  string
		status  int
		target  string
		headers []string
	}{
		{"missing_token", 401, "/app", nil},
		{"missing_token", 401, "/app", []string{"authorization: Basic eDp5"}},
		{"multiple_tokens", 400, "/app", append(bearer(token), bearer(token)...)},
		{"multiple_tokens", 400, "/app", append(bearer(token), "x-session-token: "+p.issuer.Mint(nil))},
		{"multiple_tokens", 400, "/app", []string{"x-session-token: " + token, "x-session-token: " + token}},
		{"multiple_tokens", 400, "/app", []string{"cookie: __session=" + token, "cookie: __session=" + token}},
		{"malformed", 401, "/app", bearer("x.y.z")},
		{"malformed", 401, "/optional", bearer("x.y.z")},
		{"too_large", 401, "/app", bearer(token + strings.Repeat("A", 17<<10))},
		{"algorithm_not_allowed", 401, "/app", head("alg", "RS256")},
		{"algorithm_not_allowed", 401, "/app", head("alg", "none")},
		{"critical_header", 401, "/app", head("crit", []string{"exp"})},
		{"unknown_key", 401, "/app", head("kid", "nobody's")},
		{"bad_signature", 401, "/app", bearer(tampered)},
		{"wrong_type", 401, "/app", head("typ", "logout+jwt")},
		{"missing_claim", 401, "/app", mint("sub", nil)},
		{"missing_claim", 401, "/app", mint("exp", nil)},
		{"wrong_issuer", 401, "/app", mint("iss", "https://other.example")},
		{"wrong_audience", 401, "/app", mint("aud", "other")},
		{"wrong_party", 401, "/app", mint("azp", "other")},
		{"expired", 401, "/app", mint("iat", now-100, "nbf", now-100, "exp", now-50)},
		{"not_yet_valid", 401, "/app", mint("nbf", now+100)},
		{"issued_in_future", 401, "/app", mint("iat", now+100, "nbf", now)},
		{"lifetime_too_long", 401, "/app", mint("exp", now+10*86400)},
		{"proof_required", 401, "/app", mint("cnf", object{"jkt": "x"})},
		{"no_rule", 403, "/elsewhere", bearer(token)},
		{"cross_site", 403, "POST /app", []string{"cookie: __session=" + token, "origin: https://evil.example"}},
		{"session_type", 403, "/dash", bearer(token)},
		{"tenant", 403, "/t/acme/x", mint("tenant_id", "other")},
		{"permission", 403, "/admin", bearer(token)},
		{"assurance", 401, "/aal", mint("acr", "aal1")},
		{"authentication_age", 401, "/recent", mint("auth_time", now-1000)},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			before := p.upstream.requests()
			for _, c := range []*http.Client{once, newH2()} {
				r := p.do(c, tt.target, tt.headers...)
				require.NoError(t, r.err)
				assert.Equal(t, tt.reason, r.reason(), r.body)
				assert.Equal(t, tt.status, r.status)
				assert.Equal(t, []string{"application/problem+json"}, r.header["Content-Type"])
				assert.Equal(t, []string{"no-store"}, r.header["Cache-Control"])
				if tt.status == 401 {
					assert.Len(t, r.header["Www-Authenticate"], 1)
				}
			}
			assert.Equal(t, before, p.upstream.requests(), "nothing reached the upstream")
		})
	}
	r := p.get("HEAD /app")
	assert.Equal(t, 401, r.status)
	assert.Empty(t, r.body)
}

// flip changes the last characters of a signature, which stays canonical base64url.
func flip(s string) string {
	if s[0] == 'A' {
		return "B" + s[1:]
	}
	return "A" + s[1:]
}

func spoofing(p *proxy, t *testing.T) {
	token := p.issuer.Mint(nil)
	spoofed := []string{"x-user-id: evil", "X-USER-ID: evil", "x_user_id: evil", "x-user_id: evil", "x-user-roles: evil", "x-user-id: evil2"}
	for _, c := range []*http.Client{once, newH2()} {
		r := p.do(c, "/app", append(spoofed, bearer(token)...)...)
		require.Equal(t, 200, r.status, r.body)
		assert.Equal(t, []string{"user_1"}, r.saw.Header["X-User-Id"])
		assert.NotContains(t, r.saw.Header, "X-User-Roles", "the token has no roles")
		for name, values := range r.saw.Header {
			assert.NotContains(t, strings.Join(values, " "), "evil", name)
		}
		for _, path := range []string{"/healthz", "/optional"} {
			r = p.do(c, path, spoofed...)
			require.Equal(t, 200, r.status, r.body)
			for name, values := range r.saw.Header {
				assert.NotContains(t, strings.Join(values, " "), "evil", "%s: %s", path, name)
			}
		}
	}
	answer := p.raw("GET /app HTTP/1.1\r\nHost: a\r\nConnection: close, x-user-id\r\nX-User-Id: evil\r\nAuthorization: Bearer " + token + "\r\n\r\n")
	assert.Contains(t, answer, "200 OK")
	assert.Contains(t, answer, `"X-User-Id":["user_1"]`)
	// A header that says that the guest let the request pass says nothing.
	assert.Equal(t, 401, p.get("/app", "wasm.gate: pass", "gate: pass").status)
	// In the trailers.
	req, err := http.NewRequest("POST", p.url+"/app", strings.NewReader("body"))
	require.NoError(t, err)
	req.ContentLength = -1
	req.Header.Set("Authorization", "Bearer "+token)
	req.Trailer = http.Header{"X-User-Id": {"evil"}, "X_user_roles": {"evil"}, "X-Checksum": {"1"}}
	resp, err := newH2().Do(req)
	require.NoError(t, err)
	r := read(resp)
	require.Equal(t, 200, r.status, r.body)
	assert.Equal(t, "1", r.saw.Trailer.Get("X-Checksum"))
	assert.Empty(t, r.saw.Trailer["X-User-Id"], "announced, and taken away")
	assert.Empty(t, r.saw.Trailer["X_user_roles"])
}

func paths(p *proxy, t *testing.T) {
	token := p.issuer.Mint(nil)
	for target, want := range map[string]string{ // what the upstream sees, or the Reason, or Envoy's own status
		"/app/./x":           "/app/x",
		"/app//x":            "/app/x",
		"/healthz/../admin":  "permission",
		"/app/%2e%2e/admin":  "permission",
		"/healthz%2f..%2fx":  "400",
		"/app\\..\\admin":    "permission",
		"/app/%5c..%5cadmin": "400",
		"/admin;x":           "bad_path",
		"/app/%00":           "400",
		"/app/%zz":           "bad_path",
		"/app/%252e":         "bad_path",
		"/%61dmin":           "permission",
		"/app/a%C3%A9":       "/app/a%C3%A9",
		"/healthz?/../app":   "/healthz?/../app",
		"/healthz/":          "no_rule",
		"/HEALTHZ":           "no_rule",
	} {
		t.Run(target, func(t *testing.T) {
			r := p.get(target, bearer(token)...)
			require.NoError(t, r.err)
			got := r.reason()
			if got == "" && r.status == 200 {
				got = r.saw.URI
			} else if got == "" {
				got = r.header.Get(":status") + http.StatusText(r.status)
				if r.status == 400 {
					got = "400"
				}
			}
			assert.Equal(t, want, got)
		})
	}
}

func protocols(p *proxy, t *testing.T) {
	token := p.issuer.Mint(nil)
	t.Run("kept alive", func(t *testing.T) {
		for name, c := range map[string]*http.Client{"HTTP/1.1": {Transport: &http.Transport{MaxConnsPerHost: 1}}, "HTTP/2": newH2()} {
			for i := range 40 { // good and bad ones on one connection
				headers, want := bearer(token), 200
				if i%2 == 1 {
					headers, want = nil, 401
				}
				assert.Equal(t, want, p.do(c, "/app", headers...).status, name)
			}
			c.CloseIdleConnections()
		}
	})
	t.Run("HTTP/2", func(t *testing.T) {
		r := p.do(newH2(), "/app", bearer(token)...)
		require.Equal(t, 200, r.status, r.body)
		assert.Equal(t, "HTTP/2.0", r.saw.Proto)
		r = p.do(newH2(), "/app", "cookie: a=b", "cookie: __session="+token)
		assert.Equal(t, 200, r.status, "cookies in pieces: %s", r.body)
	})
	t.Run("gRPC", func(t *testing.T) {
		for _, kind := range []string{"application/grpc", "application/grpc+proto", "application/grpc-web"} {
			r := p.do(newH2(), "POST /a.B/C", "content-type: "+kind, "te: trailers")
			require.NoError(t, r.err)
			assert.Equal(t, 200, r.status, kind)
			assert.Equal(t, []string{"16"}, r.header["Grpc-Status"], kind)
			assert.Equal(t, "missing_token", r.reason(), kind)
			if kind == "application/grpc-web" { // Envoy takes the type off an answer without body
				assert.Empty(t, r.header["Content-Type"])
			} else {
				assert.Equal(t, []string{"application/grpc"}, r.header["Content-Type"], kind)
			}
			assert.Empty(t, r.body)
			r = p.do(newH2(), "POST /a.B/C", append(bearer(token), "content-type: "+kind, "te: trailers")...)
			assert.Equal(t, 200, r.status)
			assert.Equal(t, "user_1", r.saw.Header.Get("X-User-Id"))
		}
	})
	t.Run("upgrade", func(t *testing.T) {
		const head = "GET /app HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
		answer := p.raw(head + "X-User-Id: evil\r\nAuthorization: Bearer " + token + "\r\n\r\n")
		assert.True(t, strings.HasPrefix(answer, "HTTP/1.1 101"), answer)
		assert.True(t, strings.HasSuffix(answer, "\r\n\r\nuser_1"), answer)
		answer = p.raw(strings.Replace(head, "Connection: Upgrade", "Connection: Upgrade, close", 1) + "Cookie: __session=" + token + "\r\nOrigin: https://evil.example\r\n\r\n")
		assert.Contains(t, answer, "cross_site")
	})
	t.Run("a body that looks like a request", func(t *testing.T) {
		const second = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
		before := p.upstream.requests()
		answer := p.raw(fmt.Sprintf("POST /app HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(second), second))
		assert.Equal(t, 1, strings.Count(answer, "HTTP/1.1 "), answer)
		assert.Contains(t, answer, "missing_token")
		assert.Contains(t, strings.ToLower(answer), "connection: close", "answered before its body has come")
		assert.Equal(t, before, p.upstream.requests())
	})
	t.Run("a large body", func(t *testing.T) {
		req, err := http.NewRequest("POST", p.url+"/app", strings.NewReader(strings.Repeat("x", 4<<20)))
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := once.Do(req)
		require.NoError(t, err)
		assert.Equal(t, 200, read(resp).status)
	})
}

func browsers(p *proxy, t *testing.T) {
	r := p.get("OPTIONS /app", "origin: https://app.example", "access-control-request-method: POST", "x-user-id: evil")
	require.Equal(t, 200, r.status, r.body)
	assert.NotContains(t, r.saw.Header, "X-User-Id")
	assert.Equal(t, 401, p.get("OPTIONS /app", "origin: https://app.example").status)

	p.update(p.policy(object{"sign_in": object{"url": "https://app.example/sign-in"}, "public_origin": "https://api.example"}), nil)
	r = p.get("/app/%0d%0aset-cookie:x", "accept: text/html", "host: evil.example")
	assert.Equal(t, "bad_path", r.reason())
	r = p.get("/app?a=%0d%0aset-cookie:x", "accept: text/html")
	assert.Equal(t, 303, r.status)
	assert.Equal(t, "https://app.example/sign-in?return_to=https%3A%2F%2Fapi.example%2Fapp%3Fa%3D%250d%250aset-cookie%3Ax", r.header.Get("Location"))
	assert.NotContains(t, r.header, "Set-Cookie")

	p.update(p.policy(object{"response": "ory", "token": "strip", "paths": "normalize"}), nil)
	token := p.issuer.Mint(nil)
	r = p.get("/aal", bearer(token)...)
	assert.Equal(t, 403, r.status)
	assert.Contains(t, r.body, `"session_aal2_required"`)
	assert.Equal(t, "application/json", r.header.Get("Content-Type"))
	r = p.get("/app/%41", "cookie: a=b; __session="+token+"; c=d")
	require.Equal(t, 200, r.status, r.body)
	assert.Equal(t, "/app/A", r.saw.URI)
	assert.Equal(t, []string{"a=b; c=d"}, r.saw.Header["Cookie"])
	r = p.get("/app", bearer(token)...)
	assert.NotContains(t, r.saw.Header, "Authorization")
	p.update(p.policy(nil), nil)
}

func observation(p *proxy, t *testing.T) {
	token := p.issuer.Mint(object{"sub": "user \"1\"\n\u00e9", "tenant_id": "acme"})
	decided := p.stat(`wasmcustom.sessiongate_decisions.reason=permission`)
	require.Equal(t, 200, p.get("/app/logged-pass?access_token=secret", bearer(token)...).status)
	require.Equal(t, 403, p.get("/admin/logged-refusal", bearer(token)...).status)
	require.Equal(t, 401, p.get("/app/logged-expired", bearer(p.issuer.Mint(object{"iat": 1, "nbf": 1, "exp": 2}))...).status)
	e := p.access("/app/logged-pass")
	assert.Equal(t, `user "1"%0A%C3%A9`, e["subject"])
	assert.Equal(t, "ses_1", e["session"])
	assert.Equal(t, "acme", e["tenant"])
	assert.Nil(t, e["reason"])
	assert.EqualValues(t, 200, e["status"])
	e = p.access("/admin/logged-refusal")
	assert.Equal(t, "permission", e["reason"])
	assert.Equal(t, "permission", e["details"])
	assert.Equal(t, "ses_1", e["session"])
	e = p.access("/app/logged-expired")
	assert.Equal(t, "expired", e["reason"])
	assert.Nil(t, e["subject"], "a token that was refused speaks for nobody")
	assert.NotContains(t, p.logged(), token[:30])
	assert.NotContains(t, p.logged(), "secret")

	p.await(soon, "counted", func() bool {
		return p.stat(`wasmcustom.sessiongate_decisions.reason=permission`) == decided+1
	})
	metrics := p.adminGet("/stats/prometheus")
	assert.Contains(t, metrics, `sessiongate_decisions{reason="permission"}`)
	assert.Contains(t, metrics, `sessiongate_decisions{reason="none"}`)
	assert.Contains(t, metrics, `sessiongate_fetches{outcome="updated"}`)
	p.await(soon, "the histogram is there", func() bool {
		return strings.Contains(p.adminGet("/stats/prometheus"), "sessiongate_decision_us_bucket")
	})
}

// updates come by ECDS: they count from the next request on, on open connections too.
func updates(p *proxy, t *testing.T) {
	token := p.issuer.Mint(nil)
	connections := 0
	c := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
	defer c.CloseIdleConnections()
	ask := func() reply {
		req, err := http.NewRequest("GET", p.url+"/app", nil)
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := c.Do(req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			GotConn: func(i httptrace.GotConnInfo) {
				if !i.Reused {
					connections++
				}
			}})))
		require.NoError(t, err)
		return read(resp)
	}
	require.Equal(t, 200, ask().status)
	p.update(p.policy(object{"rules": []any{object{"path_prefix": "/app", "permissions_all": []string{"admin"}}}}), nil)
	assert.Equal(t, "permission", ask().reason())

	// A bad one is not taken, and names its faults.
	bad := p.policy(nil)
	bad["policy"].(object)["issuers"].([]any)[0].(object)["algorithms"] = []string{"none"}
	bad["policy"].(object)["audiance"] = "x"
	rejected := p.stat("extension_config_discovery.http_filter.sessiongate.config_fail")
	p.render(bad, nil)
	p.await(soon, "the update is rejected", func() bool {
		return p.stat("extension_config_discovery.http_filter.sessiongate.config_fail") > rejected
	})
	assert.Contains(t, p.logged(), "configuration: /policy/issuers/0/algorithms/0: ")
	assert.Contains(t, p.logged(), "configuration: /policy/audiance: ")
	for range 20 {
		assert.Equal(t, "permission", ask().reason())
		assert.Equal(t, "permission", p.get("/app", bearer(token)...).reason())
	}
	p.update(p.policy(nil), nil)
	for range 20 { // with keys from the first request on
		assert.Equal(t, 200, ask().status)
	}
	assert.Equal(t, 1, connections)
}
