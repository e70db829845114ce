package matrix

import (
	"fmt"
	"strings"

	"sessiongate/verdict"
)

func (b *book) sources() {
	t := b.k.mint(token{})
	b.add("token in a cookie", get("/app", "Cookie: a=b; __session="+t+"; c=d").passes(user1))
	b.add("token in a header of its own", get("/app", "X-Session-Token: "+t).passes(user1))
	b.add("token in the query", get("/app?a=b&access_token="+t+"&c=d").passes(user1))
	b.add("scheme in other case", get("/app", "authorization: bEARER "+t).passes(user1))
	b.add("one token in three places", get("/app", "Authorization: Bearer "+t, "X-Session-Token: "+t, "Cookie: __session="+t).passes(user1))
	b.add("another scheme, and a cookie", get("/app", "Authorization: Basic eDp5", "Cookie: __session="+t).passes(user1))
	b.add("cookies in two fields", get("/app", "Cookie: a=b", "Cookie: __session="+t).passes(user1))
}

func (b *book) badRequests() {
	t, u := b.k.mint(token{}), b.k.mint(token{claims: object{"sub": "user_2"}})
	b.add("missing_token", get("/app").refused(verdict.MissingToken))
	b.add("missing_token: another scheme", get("/app", "Authorization: Basic eDp5").refused(verdict.MissingToken))
	b.add("missing_token: an empty cookie", get("/app", "Cookie: __session=").refused(verdict.MissingToken))
	b.add("missing_token: a scheme that only begins so", get("/app", "Authorization: Bearerx "+t).refused(verdict.MissingToken))
	multiple := func(what string, path string, headers ...string) {
		b.add("multiple_tokens: "+what, get(path, headers...).refused(verdict.MultipleTokens))
	}
	multiple("two in two places", "/app", "Authorization: Bearer "+t, "Cookie: __session="+u)
	multiple("a good and a bad one", "/app", "Authorization: Bearer "+t, "X-Session-Token: x.y.z")
	multiple("a header twice", "/app", "Authorization: Bearer "+t, "Authorization: Bearer "+u)
	multiple("a header twice, equal", "/app", "X-Session-Token: "+t, "X-Session-Token: "+t)
	multiple("two in one header", "/app", "Authorization: Bearer "+t+", Bearer "+u)
	multiple("another scheme beside it", "/app", "Authorization: Basic eDp5", "Authorization: Bearer "+t)
	multiple("a cookie twice", "/app", "Cookie: __session="+t+"; __session="+u)
	multiple("a parameter twice", "/app?access_token="+t+"&access%5Ftoken="+u)
	b.add("no_rule", get("/elsewhere", b.bearer()).refused(verdict.NoRule))
	b.add("no_rule: part of a segment", get("/apple", b.bearer()).refused(verdict.NoRule))
	b.add("no_rule: other case", get("/ADMIN", b.bearer("permissions", []string{"admin"})).refused(verdict.NoRule))
	b.add("no_rule: a method in lower case", request("post", "/articles", b.bearer("permissions", []string{"admin"})).refused(verdict.NoRule))
}

func (b *book) spoofing() {
	b.add("spoofed on a public path", get("/public", "X-User-Id: root").passes(nil))
	b.add("spoofed without a token", get("/optional", "X-User-Id: root", "x-user-roles: admin").passes(nil))
	b.add("spoofed beside a token", get("/app", b.bearer(), "X-USER-ID: root").passes(user1))
	b.add("spoofed where the token says nothing", get("/app", b.bearer(), "X-User-Roles: admin", "x-tenant-id: root", "X-Actor-Id: root", "x-user-email: r@example.com").passes(user1))
	b.add("spoofed with an underscore", get("/public", "x_user_id: root", "X-User_Roles: admin").passes(nil))
	b.add("spoofed with an underscore beside a token", get("/app", b.bearer(), "X_User_Id: root", "x_tenant-id: root").passes(user1))
	b.add("spoofed twice", get("/app", b.bearer(), "X-User-Id: root", "x-user-id: admin").passes(user1))
	b.add("spoofed in another order", get("/app", "x-user-id: root", b.bearer(), "X-User-Id: admin").passes(user1))
	b.add("spoofed with an empty value", get("/app", "X-User-Id:", b.bearer()).passes(user1))
	b.add("named in Connection", get("/app", b.bearer(), "Connection: keep-alive, X-User-Id").passes(user1))
	b.add("named in Connection, in parts", get("/app", b.bearer(), "Connection: x-session-id", "Connection: keep-alive, X_USER_ID").passes(user1))
	b.add("named in Connection and spoofed", get("/public", "X-User-Id: root", "Connection: close, x-user-id").passes(nil))
	b.add("spoofed in a trailer", request("POST", "/app", b.bearer()).with("text", "X-User-Id: root", "x-user-roles: admin").passes(user1), OwnTrailers)
	b.add("spoofed in a trailer of a public path", request("POST", "/articles", b.bearer("permissions", []string{"write"})).with("text", "x_user_id: root").passes(user1), OwnTrailers)
	b.add("spoofed over HTTP/2", get("/app", b.bearer(), "x-user-id: root", "x_user_id: root").over2().passes(user1))
	b.add("spoofed in a trailer over HTTP/2", request("POST", "/app", b.bearer()).with("text", "x-user-id: root").over2().passes(user1), OwnTrailers)
	b.add("spoofed questions to authz", get("/app", "X-Original-URI: /public", "X-Original-Method: OPTIONS", "X-Original-Host: x", "X-Forwarded-Uri: /public",
		"X-Forwarded-Method: GET", "X-Sessiongate-Path: /public", "X-Envoy-Original-Path: /public").refused(verdict.MissingToken))
	b.add("spoofed in a preflight", request("OPTIONS", "/app", "Origin: https://evil.example", "Access-Control-Request-Method: POST", "X-User-Id: root").passes(nil))
}

func (b *book) sizes() {
	long := strings.Repeat("x", 9000)
	b.add("a token of 12 KiB", get("/app", b.bearer("padding", long)).passes(user1))
	b.add("too_large: a token of 17 KiB", get("/app", b.bearer("padding", strings.Repeat("x", 13000))).refused(verdict.TooLarge), LargeHeaders)
	b.add("too_large: a header of 5 KiB in a token", get("/app", b.bearerOf(token{header: object{"padding": strings.Repeat("x", 5000)}})).refused(verdict.TooLarge))
	deep := strings.Repeat("[", 40) + strings.Repeat("]", 40)
	parts := strings.Split(b.k.mint(token{}), ".")
	b.add("too_large: nested 40 times", get("/app", "Authorization: Bearer "+parts[0]+"."+b64([]byte(`{"x":`+deep+`}`))+"."+parts[2]).refused(verdict.TooLarge))
	b.add("another header of 20 KiB", get("/app", b.bearer(), "X-Large: "+strings.Repeat("y", 20<<10)).passes(user1), LargeHeaders)
	many := []string{b.bearer()}
	for i := range 60 {
		many = append(many, fmt.Sprintf("X-Many-%d: %d", i, i))
	}
	b.add("sixty headers", get("/app", many...).passes(user1))
	b.add("a body of 200,000 bytes", large(request("POST", "/app", b.bearer())).passes(user1))
}

func (b *book) paths() {
	t := b.bearer()
	for _, path := range []string{"/app//admin", "//app", "/app/./x", "/app/../admin", "/public/../admin", "/public/%2e%2e/admin", "/public/%2E./admin",
		"/public/..%2fadmin", "/public%2f..%2fadmin", `/public\..\admin`, "/public/..%5cadmin", "/public/..;/admin", "/app;x=y", "/%61dmin", "/app%00",
		"/app/%ff", "/app/%252e%252e/x"} {
		b.add("bad_path: "+path, get(path, t).refused(verdict.BadPath), OddPaths)
	}
	b.add("bad_path: /app%zz", get("/app%zz", t).refused(verdict.BadPath), OddPaths, NoEscapes)
	b.add("a path with escapes", get("/app/%C3%A9%20x/a+b,c:d@e", t).passes(user1))
	b.add("a path's end counts", get("/app/", t).passes(user1))
	b.add("an odd query is no path", get("/app?next=/../..//%2e%2e/%5C;x&y=%00", t).passes(user1))
	b.add("an empty query", get("/app?", t).passes(user1))
}
