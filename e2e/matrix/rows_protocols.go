package matrix

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"sessiongate/verdict"
)

// large gives a request a body that the upstream tells of by its hash.
func large(r Request) Request {
	r.Body = strings.Repeat("0123456789", 20000)
	return r
}

// told is how the upstream tells of a body.
func told(body string) string {
	if len(body) <= 256 {
		return body
	}
	sum := sha256.Sum256([]byte(body))
	return fmt.Sprintf("%d bytes, SHA-256 %s", len(body), hex.EncodeToString(sum[:8]))
}

func (b *book) protocols() {
	t, u := b.bearer(), b.bearer("sub", "user_2", "sid", "ses_2")
	user2 := plus("x-user-id", "user_2", "x-session-id", "ses_2")
	b.add("HEAD", request("HEAD", "/app", t).passes(user1))
	b.add("HEAD without a token", request("HEAD", "/app").refused(verdict.MissingToken))
	b.add("POST with a body", request("POST", "/app", t, "Content-Type: text/plain").with("text").passes(user1))
	b.add("POST without a token", request("POST", "/app").with("text").refused(verdict.MissingToken))
	b.add("PUT and DELETE are like POST", request("PUT", "/app", t).with("text").passes(user1))
	b.add("an unannounced method", request("PROPFIND", "/app", t).passes(user1))
	b.add("OPTIONS that is no preflight", request("OPTIONS", "/app").refused(verdict.MissingToken))
	b.add("a chunked body with a trailer", request("POST", "/app", t).with("text", "X-Checksum: 1").passes(user1).sees("/app", "trailer x-checksum", "1"), Trailers)
	b.add("the target in absolute form", get("http://app.example/app?x", t).passes(user1).sees("/app?x"))
	b.sequence("keep-alive: good, bad, none, good, public", []Ask{
		get("/app/1", t).passes(user1), get("/app/2", "Authorization: Bearer x.y.z").refused(verdict.Malformed), get("/app/3").refused(verdict.MissingToken),
		get("/app/4", u).passes(user2), get("/public").passes(nil), get("/app/5", t, "X-Tenant-Id: root").passes(user1),
	})
	b.sequence("keep-alive: nobody inherits headers", []Ask{
		get("/app/1", b.bearer("roles", []string{"dev"}, "tenant_id", "acme")).passes(plus("x-user-roles", "dev", "x-tenant-id", "acme")),
		get("/app/2", u).passes(user2), get("/optional").passes(nil),
	})
	b.sequence("keep-alive: bodies of refused requests", []Ask{
		request("POST", "/app/1", "Content-Type: text/plain").with("GET /admin HTTP/1.1\r\nHost: x\r\n\r\n").refused(verdict.MissingToken),
		request("POST", "/app/2", t).with("text").passes(user1), get("/app/3", u).passes(user2),
	})
	b.add("HTTP/2: a good token", get("/app?x=y", t).over2().passes(user1))
	b.add("HTTP/2: no token", get("/app").over2().refused(verdict.MissingToken))
	b.add("HTTP/2: a bad token", get("/app", "Authorization: Bearer "+tamper(b.k.mint(token{}))).over2().refused(verdict.BadSignature))
	b.add("HTTP/2: cookies in several fields", get("/app", "cookie: a=b", "cookie: __session="+b.k.mint(token{}), "cookie: c=d").over2().passes(user1))
	b.add("HTTP/2: two tokens", get("/app", t, "x-session-token: "+b.k.mint(token{})).over2().refused(verdict.MultipleTokens))
	b.add("HTTP/2: bad_path", get("/public/%2e%2e/admin", t).over2().refused(verdict.BadPath), OddPaths)
	b.add("HTTP/2: a path with escapes", get("/app/%C3%A9%20x?a=%2F", t).over2().passes(user1))
	b.add("HTTP/2: POST without a token", request("POST", "/app").with("text").over2().refused(verdict.MissingToken))
	b.add("HTTP/2: a body", large(request("POST", "/app", t)).over2().passes(user1))
	b.sequence("HTTP/2: streams of one connection", []Ask{
		get("/app/1", t).over2().passes(user1), get("/app/2").over2().refused(verdict.MissingToken), get("/app/3", u).over2().passes(user2),
		get("/public", "x-user-id: root").over2().passes(nil), get("/admin", u).over2().refused(verdict.Permission),
	})

	grpc := func(path string, header ...string) Request {
		return request("POST", path, append(header, "Content-Type: application/grpc", "TE: trailers")...).with("\x00\x00\x00\x00\x00").over2()
	}
	b.add("gRPC: a good token", grpc("/app/Service/Method", t).passes(user1))
	b.add("gRPC: unauthenticated", grpc("/app/Service/Method").refused(verdict.MissingToken))
	b.add("gRPC: permission denied", grpc("/admin/Service/Method", t).refused(verdict.Permission))
	b.add("gRPC: invalid argument", grpc("/app/Service/Method", t, "x-session-token: x.y.z").refused(verdict.MultipleTokens))
	b.add("gRPC: unavailable", grpc("/app/Service/Method", b.bearerOf(token{issuer: down})).refused(verdict.KeysUnavailable))
	b.add("gRPC-Web over HTTP/1.1", request("POST", "/app/Service/Method", "Content-Type: application/grpc-web+proto").with("\x00\x00\x00\x00\x00").refused(verdict.MissingToken))
	b.add("gRPC-Web over HTTP/1.1, text", request("POST", "/app/Service/Method", "Content-Type: application/grpc-web-text", "Authorization: Bearer x.y.z").with("AAAAAAA=").refused(verdict.Malformed))
}

func (b *book) browsers() {
	t := b.k.mint(token{})
	cookie := "Cookie: __session=" + t
	b.add("a preflight", request("OPTIONS", "/admin", "Origin: https://evil.example", "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: x-user-id").passes(nil))
	b.add("cookie, from an allowed origin", request("POST", "/app", cookie, "Origin: https://app.example", "Sec-Fetch-Site: cross-site").with("x").passes(user1))
	b.add("cookie, from the same origin", request("POST", "/app", cookie, "Sec-Fetch-Site: same-origin", "Origin: https://app.example").with("x").passes(user1))
	b.add("cookie, from the same origin without Origin", request("POST", "/app", cookie, "Sec-Fetch-Site: same-origin").with("x").passes(user1))
	b.add("cookie on a safe method", get("/app", cookie, "Sec-Fetch-Site: cross-site", "Origin: https://evil.example").passes(user1))
	b.add("cookie, and the token in a header too", request("POST", "/app", cookie, "Authorization: Bearer "+t, "Origin: https://evil.example").with("x").passes(user1))
	b.add("cross_site: another origin", request("POST", "/app", cookie, "Origin: https://evil.example").with("x").refused(verdict.CrossSite))
	b.add("cross_site: nothing said", request("DELETE", "/app", cookie).refused(verdict.CrossSite))
	b.add("cross_site: same site is not same origin", request("PUT", "/app", cookie, "Sec-Fetch-Site: same-site").with("x").refused(verdict.CrossSite))
	b.add("cross_site: origin null", request("POST", "/app", cookie, "Origin: null", "Sec-Fetch-Site: same-origin").with("x").refused(verdict.CrossSite))
	b.add("WebSocket", get("/app/socket", "Authorization: Bearer "+t).ws().passes(user1), Upgrade)
	b.add("WebSocket without a token", get("/app/socket").ws().refused(verdict.MissingToken), Upgrade)
	b.add("WebSocket, spoofed", get("/public/socket", "X-User-Id: root").ws().passes(nil), Upgrade)
	b.add("WebSocket with a cookie, from an allowed origin", get("/app/socket", cookie, "Origin: https://app.example").ws().passes(user1), Upgrade)
	b.add("cross_site: WebSocket with a cookie", get("/app/socket", cookie, "Origin: https://evil.example").ws().refused(verdict.CrossSite), Upgrade)
}

func (b *book) other() {
	t, u := b.k.mint(token{}), b.k.mint(token{claims: object{"sub": "user_2"}})
	b.add("strip: a header", get("/app", "Authorization: Bearer "+t, "X-Other: y").passes(user1).sees("/app", "authorization", ""))
	b.add("strip: a header of its own", get("/app", "X-Session-Token: "+t).passes(user1).sees("/app", "x-session-token", ""))
	b.add("strip: a cookie among others", get("/app", "Cookie: a=b; __session="+t+"; c=d").passes(user1).sees("/app", "cookie", "a=b; c=d"))
	b.add("strip: the only cookie", get("/app", "Cookie: __session="+t).passes(user1).sees("/app", "cookie", ""))
	b.add("strip: another scheme stays", get("/app", "Authorization: Basic eDp5", "Cookie: __session="+t).passes(user1).sees("/app", "cookie", ""))
	b.add("strip: on a public path too", get("/public", "Authorization: Bearer "+t).passes(nil).sees("/public", "authorization", ""))
	b.add("strip: a parameter", get("/app?a=b&access_token="+t+"&c=d").passes(user1).sees("/app?a=b&c=d"), CutQuery)
	b.add("first: of two tokens", get("/app", "Authorization: Bearer "+t, "Cookie: __session="+u).passes(user1).sees("/app", "authorization", "", "cookie", ""))
	b.add("first: the bad one of two", get("/app", "Authorization: Bearer "+tamper(t), "Cookie: __session="+u).refused(verdict.BadSignature))
	b.add("first: one place twice is still refused", get("/app", "X-Session-Token: "+t, "X-Session-Token: "+u).refused(verdict.MultipleTokens))
	for _, path := range [][2]string{{"/public/%2e%2e/app", "/app"}, {"/app/x//y/./z", "/app/x/y/z"}, {"/%61pp", "/app"}} {
		b.add("normalize: "+path[0], get(path[0], "Authorization: Bearer "+t).passes(user1).sees(path[1], "authorization", ""), OtherPath)
	}
	b.add("normalize: what rules see", get("/public/..%2fadmin", "Authorization: Bearer "+t).refused(verdict.Permission), OtherPath)
	b.add("normalize: what nobody can", get("/app;x", "Authorization: Bearer "+t).refused(verdict.BadPath))
	b.add("check: a preflight needs a token", request("OPTIONS", "/app", "Origin: https://app.example", "Access-Control-Request-Method: PUT").refused(verdict.MissingToken))
	b.add("ory: expired", get("/app", "Authorization: Bearer "+b.k.mint(token{claims: object{"iat": 1e9, "nbf": 1e9, "exp": 1000000100}})).refused(verdict.Expired))
	b.add("ory: assurance", get("/aal", "Authorization: Bearer "+t).refused(verdict.Assurance, `, acr_values="aal2"`))
	b.add("ory: authentication_age", get("/recent", "Authorization: Bearer "+t).refused(verdict.AuthenticationAge, `, max_age="3600"`))
	b.add("ory: keys_unavailable", get("/app", b.bearerOf(token{issuer: down})).refused(verdict.KeysUnavailable))

	const page = "https://app.example/sign-in?return_to=https%3A%2F%2Fapi.example"
	navigation := get("/app/x?y=z", "Accept: text/html,*/*;q=0.1", "Sec-Fetch-Mode: navigate").refused(verdict.MissingToken)
	navigation.Want = Cell{Reason: "missing_token", Status: 303, Header: map[string]string{"location": page + "%2Fapp%2Fx%3Fy%3Dz"}}
	b.add("sign-in: a navigation", navigation)
	expired := get("/app", "Accept: text/html", "Cookie: __session="+tamper(t), "Host-Of-Mine: evil.example").refused(verdict.BadSignature)
	expired.Want = Cell{Reason: "bad_signature", Status: 303, Header: map[string]string{"location": page + "%2Fapp"}}
	b.add("sign-in: a bad cookie", expired)
	b.add("sign-in: not for programs", get("/app", "Accept: */*").refused(verdict.MissingToken))
	b.add("sign-in: not for scripts of a page", get("/app", "Accept: text/html", "Sec-Fetch-Mode: cors").refused(verdict.MissingToken))
}

func (b *book) broken() {
	b.add("clock_unusable", get("/app", b.bearer()).refused(verdict.ClockUnusable), WrongClock)
	b.add("clock_unusable on a public path", get("/public").refused(verdict.ClockUnusable), WrongClock)
	b.add("internal: a panic in the guest", get("/app", b.bearer(), "X-Sabotage: panic").refused(verdict.Internal), Sabotage)
}
