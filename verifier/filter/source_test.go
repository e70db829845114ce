package filter_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/verdict"
	"sessiongate/verifier/filter"
)

const allSources = `"sources": [{"header": "authorization", "scheme": "Bearer"}, {"cookie": "__session"},
	{"header": "x-session-token"}, {"query": "access_token"}]`

const anyPath = `"rules": [{"path_prefix": "/"}]`

func TestSources(t *testing.T) {
	good, other := mint(t, nil), mint(t, claims{"jti": "t2"})
	// GOOD and OTHER are two good tokens, ESCAPED is GOOD in another spelling.
	tokens := strings.NewReplacer("GOOD", good, "OTHER", other, "ESCAPED", strings.ReplaceAll(good, ".", "%2e"))
	for _, c := range []struct {
		name    string
		target  string
		headers []string
		refuse  verdict.Reason // on_multiple "refuse"
		first   verdict.Reason // on_multiple "first"
	}{
		{"nothing", "/", nil, verdict.MissingToken, verdict.MissingToken},
		{"bearer", "/", []string{"Authorization: Bearer GOOD"}, verdict.None, verdict.None},
		{"scheme in lower case", "/", []string{"Authorization: bearer GOOD"}, verdict.None, verdict.None},
		{"scheme in upper case", "/", []string{"Authorization: BEARER GOOD"}, verdict.None, verdict.None},
		{"several spaces (RFC 9110: 1*SP)", "/", []string{"Authorization: Bearer   GOOD"}, verdict.None, verdict.None},
		{"white space around", "/", []string{"Authorization:  \tBearer GOOD \t"}, verdict.None, verdict.None},
		{"tab after the scheme", "/", []string{"Authorization: Bearer\tGOOD"}, verdict.Malformed, verdict.Malformed},
		{"space, then tab", "/", []string{"Authorization: Bearer \tGOOD"}, verdict.Malformed, verdict.Malformed},
		{"scheme alone", "/", []string{"Authorization: Bearer"}, verdict.Malformed, verdict.Malformed},
		{"scheme and space", "/", []string{"Authorization: Bearer "}, verdict.Malformed, verdict.Malformed},
		{"two words", "/", []string{"Authorization: Bearer GOOD x"}, verdict.Malformed, verdict.Malformed},
		{"not a token", "/", []string{"Authorization: Bearer x"}, verdict.Malformed, verdict.Malformed},
		{"other scheme", "/", []string{"Authorization: Basic dTpw"}, verdict.MissingToken, verdict.MissingToken},
		{"longer scheme", "/", []string{"Authorization: BearerX GOOD"}, verdict.MissingToken, verdict.MissingToken},
		{"scheme glued to the token", "/", []string{"Authorization: Bearer=GOOD"}, verdict.MissingToken, verdict.MissingToken},
		{"bare token", "/", []string{"Authorization: GOOD"}, verdict.MissingToken, verdict.MissingToken},
		{"empty", "/", []string{"Authorization: "}, verdict.MissingToken, verdict.MissingToken},
		{"other scheme with commas", "/", []string{`Authorization: Digest username="u", realm="r"`}, verdict.MissingToken, verdict.MissingToken},
		{"other scheme beside a cookie", "/", []string{"Authorization: Basic dTpw", "Cookie: __session=GOOD"}, verdict.None, verdict.None},

		{"header twice", "/", []string{"Authorization: Bearer GOOD", "Authorization: Bearer GOOD"}, verdict.MultipleTokens, verdict.MultipleTokens},
		{"header twice, joined", "/", []string{"Authorization: Bearer GOOD,Bearer GOOD"}, verdict.MultipleTokens, verdict.MultipleTokens},
		{"comma behind", "/", []string{"Authorization: Bearer GOOD,"}, verdict.MultipleTokens, verdict.MultipleTokens},
		{"comma before", "/", []string{"Authorization: , Bearer GOOD"}, verdict.MultipleTokens, verdict.MultipleTokens},
		{"beside another scheme", "/", []string{"Authorization: Basic dTpw", "Authorization: Bearer GOOD"}, verdict.MultipleTokens, verdict.MultipleTokens},
		{"beside another scheme, joined", "/", []string{"Authorization: Basic dTpw, Bearer GOOD"}, verdict.MultipleTokens, verdict.MultipleTokens},
		{"two of another scheme", "/", []string{"Authorization: Basic a", "Authorization: Basic b"}, verdict.MissingToken, verdict.MissingToken},

		{"cookie", "/", []string{"Cookie: __session=GOOD"}, verdict.None, verdict.None},
		{"cookie among others", "/", []string{"Cookie: a=b; __session=GOOD; c=d"}, verdict.None, verdict.None},
		{"cookie without space", "/", []string{"Cookie: a=b;__session=GOOD"}, verdict.None, verdict.None},
		{"cookie in its own field", "/", []string{"Cookie: a=b", "Cookie: __session=GOOD", "Cookie: c=d"}, verdict.None, verdict.None},
		{"cookie, quoted", "/", []string{`Cookie: __session="GOOD"`}, verdict.None, verdict.None},
		{"cookie, half quoted", "/", []string{`Cookie: __session="GOOD`}, verdict.Malformed, verdict.Malformed},
		{"cookie with white space", "/", []string{"Cookie: a=b; __session = GOOD ;"}, verdict.None, verdict.None},
		{"cookie of another name", "/", []string{"Cookie: x__session=GOOD; __sessionx=GOOD; __Session=GOOD"}, verdict.MissingToken, verdict.MissingToken},
		{"cookie, cleared", "/", []string{"Cookie: __session="}, verdict.MissingToken, verdict.MissingToken},
		{"cookie, quoted nothing", "/", []string{`Cookie: __session=""`}, verdict.MissingToken, verdict.MissingToken},
		{"cookie without value", "/", []string{"Cookie: __session"}, verdict.MissingToken, verdict.MissingToken},
		{"cookie twice", "/", []string{"Cookie: __session=GOOD; __session=GOOD"}, verdict.MultipleTokens, verdict.MultipleTokens},
		{"cookie twice, one empty", "/", []string{"Cookie: __session=; __session=GOOD"}, verdict.MultipleTokens, verdict.MultipleTokens},
		{"cookie twice in two fields", "/", []string{"Cookie: __session=GOOD", "Cookie: __session=OTHER"}, verdict.MultipleTokens, verdict.MultipleTokens},

		{"whole value", "/", []string{"X-Session-Token: GOOD"}, verdict.None, verdict.None},
		{"whole value, spaces around", "/", []string{"X-Session-Token:  GOOD\t"}, verdict.None, verdict.None},
		{"whole value, empty", "/", []string{"X-Session-Token: "}, verdict.MissingToken, verdict.MissingToken},
		{"whole value with a scheme", "/", []string{"X-Session-Token: Bearer GOOD"}, verdict.Malformed, verdict.Malformed},
		{"whole value twice", "/", []string{"X-Session-Token: GOOD", "X-Session-Token: GOOD"}, verdict.MultipleTokens, verdict.MultipleTokens},
		{"whole value, joined", "/", []string{"X-Session-Token: GOOD, GOOD"}, verdict.MultipleTokens, verdict.MultipleTokens},

		{"query", "/?access_token=GOOD", nil, verdict.None, verdict.None},
		{"query among others", "/?a=b&access_token=GOOD&c=d", nil, verdict.None, verdict.None},
		{"query, value escaped", "/?access_token=ESCAPED", nil, verdict.None, verdict.None},
		{"query, name escaped", "/?access%5ftoken=GOOD", nil, verdict.None, verdict.None},
		{"query, bad escape", "/?access_token=GOOD%", nil, verdict.Malformed, verdict.Malformed},
		{"query, plus", "/?access_token=GOOD+", nil, verdict.Malformed, verdict.Malformed},
		{"query, empty", "/?access_token=", nil, verdict.MissingToken, verdict.MissingToken},
		{"query, no value", "/?access_token", nil, verdict.MissingToken, verdict.MissingToken},
		{"query, other name", "/?Access_token=GOOD&xaccess_token=GOOD", nil, verdict.MissingToken, verdict.MissingToken},
		{"query twice", "/?access_token=GOOD&access_token=GOOD", nil, verdict.MultipleTokens, verdict.MultipleTokens},
		{"query twice, one escaped", "/?access_token=GOOD&access%5Ftoken=OTHER", nil, verdict.MultipleTokens, verdict.MultipleTokens},
		{"token in the path", "/access_token=GOOD", nil, verdict.MissingToken, verdict.MissingToken},

		{"two sources, equal", "/", []string{"Authorization: Bearer GOOD", "Cookie: __session=GOOD"}, verdict.None, verdict.None},
		{"four sources, equal", "/?access_token=ESCAPED", []string{"Authorization: Bearer GOOD", `Cookie: __session="GOOD"`, "X-Session-Token: GOOD"}, verdict.None, verdict.None},
		{"two sources, different", "/", []string{"Authorization: Bearer GOOD", "Cookie: __session=OTHER"}, verdict.MultipleTokens, verdict.None},
		{"first bad, second good", "/", []string{"Authorization: Bearer x", "X-Session-Token: GOOD"}, verdict.MultipleTokens, verdict.Malformed},
		{"first without token, second good", "/", []string{"Authorization: Bearer", "X-Session-Token: GOOD"}, verdict.MultipleTokens, verdict.Malformed},
		{"first good, second bad", "/", []string{"Authorization: Bearer GOOD", "X-Session-Token: x"}, verdict.MultipleTokens, verdict.None},
		{"first good, second twice", "/", []string{"Authorization: Bearer GOOD", "X-Session-Token: x", "X-Session-Token: x"}, verdict.MultipleTokens, verdict.MultipleTokens},
		{"too large", "/", []string{"X-Session-Token: " + strings.Repeat("x", 16<<10+1)}, verdict.TooLarge, verdict.TooLarge},
	} {
		var headers []string
		for _, h := range c.headers {
			headers = append(headers, tokens.Replace(h))
		}
		req := request(tokens.Replace(c.target), headers...)
		for mode, want := range map[string]verdict.Reason{"refuse": c.refuse, "first": c.first} {
			d := newFilter(t, allSources+","+anyPath+`, "on_multiple": "`+mode+`"`).Decide(req, now)
			assert.Equal(t, want.String(), d.Reason.String(), "%s, %s", c.name, mode)
			assert.Equal(t, want == verdict.None, d.Authenticated)
			if want == verdict.None {
				assert.Equal(t, "t1", d.Principal.TokenID, c.name)
			} else {
				assert.Empty(t, d.Principal)
			}
		}
	}
}

// "first" goes by the policy's order, not by the request's.
func TestSourceOrder(t *testing.T) {
	f := newFilter(t, `"sources": [{"query": "t"}, {"header": "x-t"}], "on_multiple": "first",`+anyPath)
	d := f.Decide(request("/?t="+mint(t, claims{"sub": "query"}), "x-t: "+mint(t, nil)), now)
	assert.Equal(t, "query", d.Principal.Subject)
}

// Where a policy names no query parameter, none is a token.
func TestOnlyConfiguredSources(t *testing.T) {
	f := newFilter(t, anyPath)
	token := mint(t, nil)
	for _, req := range []*filter.Request{
		request("/?access_token=" + token),
		request("/", "Cookie: __session="+token),
		request("/", "X-Session-Token: "+token),
	} {
		assert.Equal(t, verdict.MissingToken, f.Decide(req, now).Reason)
	}
}

func TestCrossSite(t *testing.T) {
	f := newFilter(t, allSources+`, "allowed_origins": ["https://app.example"], "public_origin": "https://www.example",
		"rules": [{"path_prefix": "/optional", "access": "optional"}, {"path_prefix": "/public", "access": "public"}, {"path_prefix": "/"}]`)
	token := mint(t, nil)
	const (
		pass  = verdict.None
		cross = verdict.CrossSite
	)
	for _, c := range []struct {
		name    string
		target  string
		headers []string
		want    verdict.Reason
	}{
		{"safe method", "/", nil, pass},
		{"HEAD", "HEAD /", nil, pass},
		{"OPTIONS", "OPTIONS /", nil, pass},
		{"safe method, from elsewhere", "/", []string{"Origin: https://evil.example", "Sec-Fetch-Site: cross-site"}, pass},
		{"nothing said", "POST /", nil, cross},
		{"DELETE", "DELETE /", nil, cross},
		{"TRACE", "TRACE /", nil, cross},
		{"unknown method", "BREW /", nil, cross},
		{"method in lower case", "get /", nil, cross},
		{"allowed origin", "POST /", []string{"Origin: https://app.example"}, pass},
		{"allowed origin, same-site", "POST /", []string{"Origin: https://app.example", "Sec-Fetch-Site: same-site"}, pass},
		{"allowed origin is another site", "POST /", []string{"Origin: https://app.example", "Sec-Fetch-Site: cross-site"}, pass},
		{"other origin", "POST /", []string{"Origin: https://evil.example"}, cross},
		{"origin with other scheme", "POST /", []string{"Origin: http://app.example"}, cross},
		{"origin with other port", "POST /", []string{"Origin: https://app.example:8443"}, cross},
		{"origin that begins alike", "POST /", []string{"Origin: https://app.example.evil"}, cross},
		{"origin in upper case", "POST /", []string{"Origin: https://APP.example"}, cross},
		{"null origin", "POST /", []string{"Origin: null"}, cross},
		{"null origin, same-origin", "POST /", []string{"Origin: null", "Sec-Fetch-Site: same-origin"}, cross},
		{"empty origin, same-origin", "POST /", []string{"Origin: ", "Sec-Fetch-Site: same-origin"}, cross},
		{"two origins", "POST /", []string{"Origin: https://app.example", "Origin: https://app.example"}, cross},
		{"own host, not said to be same-origin", "POST /", []string{"Origin: https://api.example"}, cross},
		{"same-origin", "POST /", []string{"Sec-Fetch-Site: same-origin"}, pass},
		{"same-origin from its host", "POST /", []string{"Origin: https://api.example", "Sec-Fetch-Site: same-origin"}, pass},
		{"same-origin from its host, other scheme", "POST /", []string{"Origin: http://api.example", "Sec-Fetch-Site: same-origin"}, pass},
		{"same-origin from the public origin", "POST /", []string{"Origin: https://www.example", "Sec-Fetch-Site: same-origin"}, pass},
		{"public origin alone", "POST /", []string{"Origin: https://www.example"}, cross},
		{"they disagree", "POST /", []string{"Origin: https://evil.example", "Sec-Fetch-Site: same-origin"}, cross},
		{"they disagree over the port", "POST /", []string{"Origin: https://api.example:8443", "Sec-Fetch-Site: same-origin"}, cross},
		{"they disagree over the scheme", "POST /", []string{"Origin: ftp://api.example", "Sec-Fetch-Site: same-origin"}, cross},
		{"same-site", "POST /", []string{"Sec-Fetch-Site: same-site"}, cross},
		{"none", "POST /", []string{"Sec-Fetch-Site: none"}, cross},
		{"in upper case", "POST /", []string{"Sec-Fetch-Site: Same-Origin"}, cross},
		{"said twice", "POST /", []string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: same-origin"}, cross},
		{"WebSocket", "/", []string{"Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: x"}, cross},
		{"WebSocket, upgrade not shown", "/", []string{"Sec-WebSocket-Key: x"}, cross},
		{"WebSocket from elsewhere", "/", []string{"Upgrade: websocket", "Origin: https://evil.example"}, cross},
		{"WebSocket from an allowed origin", "/", []string{"Upgrade: websocket", "Origin: https://app.example"}, pass},
		{"WebSocket over HTTP/2", "CONNECT /", []string{"Origin: https://evil.example"}, cross},
		{"optional", "POST /optional", nil, cross},
		{"public", "POST /public", nil, pass},
	} {
		d := f.Decide(request(c.target, append(c.headers, "Cookie: __session="+token)...), now)
		assert.Equal(t, c.want.String(), d.Reason.String(), c.name)

		// Any other source is nothing that a browser adds unasked.
		for _, h := range []string{"Authorization: Bearer " + token, "X-Session-Token: " + token} {
			assert.True(t, f.Decide(request(c.target, append(c.headers, h)...), now).Forward, c.name)
			assert.True(t, f.Decide(request(c.target, append(c.headers, h, "Cookie: __session="+token)...), now).Forward, c.name)
		}
	}
	// The token is not looked at before the site is known to be right.
	d := f.Decide(request("POST /", "Cookie: __session=x"), now)
	assert.Equal(t, verdict.CrossSite, d.Reason)

	// A default port in Host is the origin without one.
	req := request("POST /", "Origin: https://api.example", "Sec-Fetch-Site: same-origin", "Cookie: __session="+token)
	req.Host = "API.example:443"
	assert.True(t, f.Decide(req, now).Forward)
}

// With "first", a cookie that counts is not made safe by another token.
func TestCrossSiteFirst(t *testing.T) {
	f := newFilter(t, `"sources": [{"cookie": "s"}, {"header": "x-t"}], "on_multiple": "first",`+anyPath)
	d := f.Decide(request("POST /", "Cookie: s="+mint(t, nil), "X-T: "+mint(t, claims{"jti": "other"})), now)
	assert.Equal(t, verdict.CrossSite, d.Reason)
}

func TestStripToken(t *testing.T) {
	token := mint(t, nil)
	tokens := strings.NewReplacer("TOKEN", token)
	for _, c := range []struct {
		name    string
		target  string
		headers []string
		remove  []string
		set     []verdict.Field
		path    string
	}{
		{"bearer", "/", []string{"Authorization: Bearer TOKEN"}, []string{"authorization"}, nil, ""},
		{"no token", "/public", nil, nil, nil, ""},
		{"another scheme stays", "/public", []string{"Authorization: Basic dTpw"}, nil, nil, ""},
		{"public, too", "/public", []string{"Authorization: Bearer x", "X-Session-Token: y"}, []string{"authorization", "x-session-token"}, nil, ""},
		{"public, repeated", "/public", []string{"Authorization: Basic dTpw, Bearer x"}, []string{"authorization"}, nil, ""},
		{"whole value", "/", []string{"X-Session-Token: TOKEN"}, []string{"x-session-token"}, nil, ""},
		{"only cookie", "/", []string{"Cookie: __session=TOKEN"}, []string{"cookie"}, nil, ""},
		{"that cookie", "/", []string{`Cookie: a=b;  __session="TOKEN" ;c="d e";;x`}, []string{"cookie"}, []verdict.Field{{Name: "cookie", Value: `a=b; c="d e"; x`}}, ""},
		{"cookies of several fields", "/", []string{"Cookie: a=b", "Cookie: __session=TOKEN", "Cookie: c=d"}, []string{"cookie"}, []verdict.Field{{Name: "cookie", Value: "a=b; c=d"}}, ""},
		{"cookie twice on a public path", "/public", []string{"Cookie: __session=x; a=b; __session=y"}, []string{"cookie"}, []verdict.Field{{Name: "cookie", Value: "a=b"}}, ""},
		{"other cookies stay", "/public", []string{"Cookie: a=b; c=d"}, nil, nil, ""},
		{"only parameter", "/x?access_token=TOKEN", nil, nil, nil, "/x"},
		{"first parameter", "/x?access_token=TOKEN&a=b", nil, nil, nil, "/x?a=b"},
		{"middle parameter", "/x?a=b&access%5ftoken=TOKEN&c=%64&&d", nil, nil, nil, "/x?a=b&c=%64&&d"},
		{"last parameter", "/x?a&access_token=TOKEN", nil, nil, nil, "/x?a"},
		{"other parameters stay", "/public?a=b&Access_token=x", nil, nil, nil, ""},
		{"parameter on a public path", "/public?access_token=1&access_token=2", nil, nil, nil, "/public"},
		{"everywhere", "/?access_token=TOKEN", []string{"Authorization: Bearer TOKEN", "Cookie: __session=TOKEN"}, []string{"cookie", "authorization"}, nil, "/"},
		{"preflight", "OPTIONS /x?access_token=1", []string{"Origin: https://a.example", "Access-Control-Request-Method: PUT"}, nil, nil, "/x"},
	} {
		f := newFilter(t, allSources+`, "token": "strip", "rules": [{"path_prefix": "/public", "access": "public"}, {"path_prefix": "/"}]`)
		var headers []string
		for _, h := range c.headers {
			headers = append(headers, tokens.Replace(h))
		}
		d := f.Decide(request(tokens.Replace(c.target), headers...), now)
		require.True(t, d.Forward, "%s: %v", c.name, d.Reason)
		assert.ElementsMatch(t, c.remove, d.Remove, c.name)
		assert.Equal(t, c.set, nilIfEmpty(d.Set), c.name)
		assert.Equal(t, c.path, d.Path, c.name)
	}
	// Left alone unless the policy says so.
	d := newFilter(t, allSources+","+anyPath).Decide(request("/?access_token="+token, "Cookie: __session="+token), now)
	assert.Empty(t, d.Remove)
	assert.Empty(t, d.Path)
}

func nilIfEmpty(fields []verdict.Field) []verdict.Field {
	if len(fields) == 0 {
		return nil
	}
	return fields
}
