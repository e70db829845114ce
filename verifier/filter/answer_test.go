package filter_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/verdict"
	"sessiongate/verifier/filter"
)

// What every Reason is answered with, as DESIGN has it: status and challenge.
func TestAnswers(t *testing.T) {
	problem := newFilter(t, anyPath+`, "realm": "my  realm"`)
	ory := newFilter(t, anyPath+`, "realm": "my  realm", "response": "ory"`)
	const realm = `Bearer realm="my  realm"`
	for _, r := range verdict.Reasons() {
		status, challenge, retry := 401, realm+`, error="invalid_token"`, ""
		switch r {
		case verdict.MissingToken:
			challenge = realm
		case verdict.MultipleTokens, verdict.BadPath:
			status, challenge = 400, realm+`, error="invalid_request"`
		case verdict.Permission, verdict.Tenant, verdict.SessionType:
			status, challenge = 403, realm+`, error="insufficient_scope"`
		case verdict.NoRule, verdict.CrossSite:
			status, challenge = 403, ""
		case verdict.Assurance, verdict.AuthenticationAge:
			challenge = realm + `, error="insufficient_user_authentication"`
		case verdict.StatusUnknown, verdict.StatusStale, verdict.KeysUnavailable, verdict.KeysStale, verdict.ClockUnusable, verdict.Internal:
			status, challenge, retry = 503, "", "5"
		}
		d := problem.Refuse(request("/"), r)
		assert.False(t, d.Forward)
		assert.Equal(t, r, d.Reason)
		assert.Equal(t, status, d.Status, r.String())
		headers := map[string]string{"content-type": "application/problem+json", "cache-control": "no-store"}
		if challenge != "" {
			headers["www-authenticate"] = challenge
		}
		if retry != "" {
			headers["retry-after"] = retry
		}
		assert.Equal(t, headers, fieldMap(t, d.Headers), r.String())
		var body map[string]any
		require.NoError(t, json.Unmarshal(d.Body, &body), "%s", d.Body)
		assert.Equal(t, map[string]any{"type": "about:blank", "title": titleOf(status), "status": float64(status),
			"detail": r.Text(), "code": r.String()}, body)

		head := problem.Refuse(request("HEAD /"), r)
		assert.Empty(t, head.Body, "HEAD")
		assert.Equal(t, status, head.Status)
		assert.Equal(t, headers, fieldMap(t, head.Headers))

		// The ory profile differs in the body, and in the status of a step-up.
		d = ory.Refuse(request("/"), r)
		if r == verdict.Assurance || r == verdict.AuthenticationAge {
			status = 403
		}
		assert.Equal(t, status, d.Status, r.String())
		body = nil
		require.NoError(t, json.Unmarshal(d.Body, &body), "%s", d.Body)
		inner := body["error"].(map[string]any)
		assert.Equal(t, float64(status), inner["code"])
		assert.Equal(t, titleOf(status), inner["status"])
		headers["content-type"], headers["ory-error-id"] = "application/json", inner["id"].(string)
		assert.Equal(t, headers, fieldMap(t, d.Headers), r.String())
		assert.Empty(t, ory.Refuse(request("HEAD /"), r).Body)

		// gRPC is answered in trailers alone.
		code := map[int]string{400: "3", 401: "16", 403: "7", 503: "14"}
		for f, status := range map[*filter.Filter]int{problem: r.Status(), ory: status} {
			d = f.Refuse(request("POST /pkg.Service/Method", "Content-Type: application/grpc+proto"), r)
			assert.Equal(t, 200, d.Status)
			assert.Equal(t, r, d.Reason)
			assert.Empty(t, d.Body)
			assert.Equal(t, map[string]string{"content-type": "application/grpc", "grpc-status": code[status],
				"grpc-message": r.Error(), "cache-control": "no-store"}, fieldMap(t, d.Headers))
			for i := range len(r.Error()) {
				c := r.Error()[i]
				assert.True(t, c >= ' ' && c < 0x7f && c != '%', "grpc-message needs no encoding: %q", r.Error())
			}
		}
	}
}

func titleOf(status int) string {
	return map[int]string{400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 503: "Service Unavailable"}[status]
}

func fieldMap(t *testing.T, fields []verdict.Field) map[string]string {
	m := make(map[string]string)
	for _, f := range fields {
		_, twice := m[f.Name]
		assert.False(t, twice, f.Name)
		m[f.Name] = f.Value
	}
	return m
}

// A realm that came past the policy's parser is quoted all the same.
func TestRealmQuoted(t *testing.T) {
	p := newPolicy(t, anyPath)
	p.Realm = `a"b\c`
	f, err := filter.New(p)
	require.NoError(t, err)
	value, _ := field(f.Decide(request("/"), now).Headers, "www-authenticate")
	assert.Equal(t, `Bearer realm="a\"b\\c"`, value)
}

func TestStepUp(t *testing.T) {
	const rules = `"rules": [
		{"path_prefix": "/level", "assurance": "aal2"},
		{"path_prefix": "/age", "authentication_age": 600},
		{"path_prefix": "/both", "assurance": "aal2", "authentication_age": 600},
		{"path_prefix": "/acr", "assurance": "urn:a&b"}]`
	const realm = `Bearer realm="sessiongate", error="insufficient_user_authentication"`
	old := "Authorization: Bearer " + mint(t, claims{"auth_time": now/1000 - 9999})
	oldAAL2 := "Authorization: Bearer " + mint(t, claims{"auth_time": now/1000 - 9999, "acr": "aal2"})
	f := newFilter(t, rules)
	for _, c := range []struct {
		path, token string
		want        verdict.Reason
		challenge   string
	}{
		{"/level", old, verdict.Assurance, realm + `, acr_values="aal2"`},
		{"/age", old, verdict.AuthenticationAge, realm + `, max_age="600"`},
		{"/both", old, verdict.Assurance, realm + `, acr_values="aal2", max_age="600"`},
		{"/both", oldAAL2, verdict.AuthenticationAge, realm + `, acr_values="aal2", max_age="600"`},
		{"/acr", old, verdict.Assurance, realm + `, acr_values="urn:a&b"`},
	} {
		d := f.Decide(request(c.path, c.token), now)
		assert.Equal(t, c.want, d.Reason)
		assert.Equal(t, 401, d.Status)
		value, _ := field(d.Headers, "www-authenticate")
		assert.Equal(t, c.challenge, value)
	}

	const why = "An active session was found but it does not fulfill the requested Authenticator Assurance Level. " +
		"Please verify yourself with a second factor to resolve this issue."
	for _, c := range []struct {
		members string
		path    string
		token   string
		id      string
		target  string
	}{
		{"", "/level", old, "session_aal2_required", ""},
		{`, "public_origin": "https://id.example"`, "/level", old, "session_aal2_required", "https://id.example/self-service/login/browser?aal=aal2"},
		{`, "public_origin": "https://id.example", "sign_in": {"url": "https://login.example/in?x=1"}`, "/level", old, "session_aal2_required", "https://login.example/in?x=1&aal=aal2"},
		{`, "public_origin": "https://id.example"`, "/acr", old, "session_aal2_required", "https://id.example/self-service/login/browser?aal=urn%3Aa%26b"},
		{`, "public_origin": "https://id.example"`, "/age", old, "session_refresh_required", "https://id.example/self-service/login/browser?refresh=true"},
	} {
		d := newFilter(t, rules+`, "response": "ory"`+c.members).Decide(request(c.path, c.token), now)
		assert.Equal(t, 403, d.Status)
		var body struct {
			Error struct {
				ID, Status, Reason, Message string
				Code                        int
				Details                     map[string]string
			}
			Redirect string `json:"redirect_browser_to"`
		}
		require.NoError(t, json.Unmarshal(d.Body, &body))
		assert.Equal(t, c.id, body.Error.ID)
		assert.Equal(t, 403, body.Error.Code)
		assert.Equal(t, "Forbidden", body.Error.Status)
		assert.Equal(t, c.target, body.Redirect)
		assert.Equal(t, c.target, body.Error.Details["redirect_browser_to"])
		if c.id == "session_aal2_required" {
			assert.Equal(t, why, body.Error.Reason)
			assert.Equal(t, "Session does not fulfill the requested Authenticator Assurance Level", body.Error.Message)
		}
	}
	d := newFilter(t, rules+`, "response": "ory"`).Decide(request("/level"), now)
	assert.Equal(t, 401, d.Status)
	assert.JSONEq(t, `{"error":{"id":"session_inactive","code":401,"status":"Unauthorized","reason":"No active session was found in this request.",
		"message":"The request could not be authorized"}}`, string(d.Body))
}

// The sign-in page is told what the rule asks for: it would send back a browser that is signed in.
func TestSignInForAStepUp(t *testing.T) {
	f := newFilter(t, `"public_origin": "https://app.example", "sign_in": {"url": "https://id.example/in?a=b", "return_to": "back"},
		"rules": [{"path": "/both", "assurance": "urn:a&b", "authentication_age": 600}, {"path_prefix": "/"}]`)
	navigation := []string{"Accept: text/html", "Authorization: Bearer " + mint(t, claims{"auth_time": now/1000 - 9999})}
	d := f.Decide(request("/both", navigation...), now)
	assert.Equal(t, verdict.Assurance, d.Reason)
	location, _ := field(d.Headers, "location")
	assert.Equal(t, "https://id.example/in?a=b&acr_values=urn%3Aa%26b&max_age=600&back=https%3A%2F%2Fapp.example%2Fboth", location)
}

func TestSignIn(t *testing.T) {
	signIn := func(target string) string {
		return `"public_origin": "https://app.example", "sign_in": {"url": "` + target + `", "return_to": "back"},
		"rules": [{"path_prefix": "/aal2", "assurance": "aal2"}, {"path_prefix": "/admin", "permissions_any": ["admin"]}, {"path_prefix": "/"}], ` +
			allSources
	}
	f := newFilter(t, signIn("https://id.example/in"))
	const html = "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"
	token := mint(t, nil)
	back := func(t *testing.T, d *verdict.Decision) string {
		require.Equal(t, 303, d.Status)
		assert.False(t, d.Forward)
		assert.Empty(t, d.Body)
		location, _ := field(d.Headers, "location")
		cache, _ := field(d.Headers, "cache-control")
		assert.Equal(t, "no-store", cache)
		u, err := url.Parse(location)
		require.NoError(t, err)
		assert.Equal(t, "https://id.example/in", u.Scheme+"://"+u.Host+u.Path)
		return u.Query().Get("back")
	}
	for _, c := range []struct {
		target string
		want   string
	}{
		{"/", "/"},
		{"/a/b?c=d&e=%20f", "/a/b?c=d&e=%20f"},
		{"/caf%c3%a9?x=y", "/caf%c3%a9?x=y"},
		{"/a?back=https://evil.example", "/a?back=https://evil.example"},
		{"/a?access_token=x&b=c", "/a?b=c"},
		{"/a?access%5Ftoken=x", "/a"},
		{"/" + strings.Repeat("a", 3000), "/"},
	} {
		req := request(c.target, html)
		req.Host = "evil.example"
		d := f.Decide(req, now)
		assert.Contains(t, []verdict.Reason{verdict.MissingToken, verdict.Malformed}, d.Reason, c.target)
		assert.Equal(t, "https://app.example"+c.want, back(t, d), c.target)
	}
	// Whatever a new sign-in mends.
	for want, req := range map[verdict.Reason]*filter.Request{
		verdict.Malformed: request("/", html, "Cookie: __session=x"),
		verdict.Expired:   request("/", html, "Sec-Fetch-Mode: navigate", "Cookie: __session="+mint(t, claims{"exp": 1})),
		verdict.Assurance: request("/aal2", "Accept: text/plain", html, "Cookie: __session="+token),
	} {
		d := f.Decide(req, now)
		assert.Equal(t, want, d.Reason)
		assert.Equal(t, "https://app.example"+req.Path, back(t, d))
	}
	// Anything that is no navigation, or no 401, is told so.
	for name, c := range map[string]struct {
		req    *filter.Request
		status int
	}{
		"no accept":          {request("/"), 401},
		"a program":          {request("/", "Accept: */*"), 401},
		"JSON":               {request("/", "Accept: application/json"), 401},
		"another media type": {request("/", "Accept: text/html5, xtext/html"), 401},
		"fetch":              {request("/", html, "Sec-Fetch-Mode: cors"), 401},
		"POST":               {request("POST /", html), 401},
		"HEAD":               {request("HEAD /", html), 401},
		"WebSocket":          {request("/", html, "Upgrade: websocket"), 401},
		"permission":         {request("/admin", html, "Cookie: __session="+token), 403},
		"bad path":           {request("//", html), 400},
		"two tokens":         {request("/", html, "Cookie: __session=a; __session=b"), 400},
		"gRPC":               {request("/", html, "Content-Type: application/grpc"), 200},
	} {
		d := f.Decide(c.req, now)
		assert.Equal(t, c.status, d.Status, name)
		assert.False(t, d.Forward)
		_, redirected := field(d.Headers, "location")
		assert.False(t, redirected, name)
	}

	// A normalised path is what the browser comes back to.
	n := newFilter(t, signIn("https://id.example/in")+`, "paths": "normalize"`)
	assert.Equal(t, "https://app.example/evil.example/x", back(t, n.Decide(request("//evil.example/a/../x", html), now)))
	// A sign-in page behind the filter itself is not redirected to itself.
	own := newFilter(t, signIn("https://app.example/in?a=b"))
	assert.Equal(t, 401, own.Decide(request("/in?back=/", html), now).Status)
	d := own.Decide(request("/other", html), now)
	location, _ := field(d.Headers, "location")
	assert.Equal(t, "https://app.example/in?a=b&back=https%3A%2F%2Fapp.example%2Fother", location)
	// However either is spelled.
	for _, c := range []struct{ page, target string }{
		{"https://app.example", "/?back=/"},
		{"https://app.example?a=b", "/?a=b&back=/"},
		{"https://APP.example/in", "/in"},
		{"https://app.example/caf%c3%a9", "/caf%C3%A9"},
		{"https://app.example/sign%2Din", "/sign-in"},
	} {
		assert.Equal(t, 401, newFilter(t, signIn(c.page)).Decide(request(c.target, html), now).Status, c.page)
		assert.Equal(t, 303, newFilter(t, signIn(c.page)).Decide(request("/other", html), now).Status, c.page)
	}
	assert.Equal(t, 303, newFilter(t, signIn("https://app.example.org/in")).Decide(request("/in", html), now).Status)
	assert.Equal(t, 303, newFilter(t, signIn("https://app.example:8443/in")).Decide(request("/in", html), now).Status)
	// Under the ory profile as well; a step-up is a 403 there.
	ory := newFilter(t, signIn("https://id.example/in")+`, "response": "ory"`)
	assert.Equal(t, 303, ory.Decide(request("/", html), now).Status)
	assert.Equal(t, 403, ory.Decide(request("/aal2", html, "Cookie: __session="+token), now).Status)
}

func TestGRPCTypes(t *testing.T) {
	f := newFilter(t, anyPath)
	for value, want := range map[string]string{
		"application/grpc":                "application/grpc",
		"application/grpc+proto":          "application/grpc",
		"application/grpc; charset=utf-8": "application/grpc",
		"Application/GRPC":                "application/grpc",
		"application/grpc-web":            "application/grpc-web",
		"application/grpc-web+proto":      "application/grpc-web",
		"application/grpc-web-text":       "application/grpc-web-text",
		"application/grpcx":               "application/problem+json",
		"application/json":                "application/problem+json",
	} {
		d := f.Decide(request("POST /x", "Content-Type: "+value), now)
		got, _ := field(d.Headers, "content-type")
		assert.Equal(t, want, got, value)
		assert.Equal(t, verdict.MissingToken, d.Reason)
	}
	// One answer does not change the next.
	f.Decide(request("POST /x", "Content-Type: application/grpc-web"), now)
	got, _ := field(f.Decide(request("POST /x", "Content-Type: application/grpc"), now).Headers, "content-type")
	assert.Equal(t, "application/grpc", got)
}

// Neither a byte of the token nor a value of its claims is in any answer.
func TestAnswersTellNothing(t *testing.T) {
	for _, profile := range []string{"problem", "ory"} {
		f := newFilter(t, allSources+`, "response": "`+profile+`", "public_origin": "https://app.example", "sign_in": {"url": "https://id.example/in"},
		"rules": [{"path_template": "/t/{t}", "tenant_segment": "t"}, {"path_prefix": "/aal2", "assurance": "aal2"}, {"path_prefix": "/p", "permissions_any": ["x"]}, {"path_prefix": "/"}]`)
		change := claims{"sub": "SECRETsub", "tenant_id": "SECRETtenant", "acr": "SECRETacr", "permissions": []string{"SECRETp"}, "iss": issuer}
		good, expired := mint(t, change), mint(t, claims{"exp": 1, "sub": "SECRETsub"})
		for _, path := range []string{"/t/x", "/aal2", "/p", "/", "//"} {
			for _, token := range []string{good, expired, good + "x", "SECRETtoken"} {
				for _, req := range []*filter.Request{
					request(path, "Authorization: Bearer "+token),
					request(path, "Authorization: Bearer "+token, "Accept: text/html"),
					request(path+"?access_token="+token, "Accept: text/html"),
					request("POST "+path, "Cookie: __session="+token),
					request(path, "Authorization: Bearer "+token, "Content-Type: application/grpc"),
				} {
					d := f.Decide(req, now)
					if d.Forward {
						continue
					}
					text := string(d.Body)
					for _, h := range d.Headers {
						text += "\n" + h.Name + ": " + h.Value
					}
					assert.NotContains(t, text, "SECRET")
					for _, part := range strings.Split(token, ".") {
						assert.NotContains(t, text, part)
					}
				}
			}
		}
	}
}
