package filter_test

import (
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/verdict"
	"sessiongate/verifier/filter"
)

func TestIdentityHeaders(t *testing.T) {
	f := newFilter(t, `"rules": [{"path_prefix": "/public", "access": "public"}, {"path_prefix": "/optional", "access": "optional"}, {"path_prefix": "/"}],
		"identity_headers": {
			"X-Issuer": "issuer", "X-Subject": "subject", "X-Session": "session", "X-Type": "type", "X-Tenant": "tenant",
			"X-Roles": "roles", "X-Permissions": {"claim": "permissions", "separator": "|"}, "X-Actor": "actor",
			"X-Assurance": "assurance", "X-Party": "party", "X-Token": "token_id", "X-Authenticated": "authenticated_at",
			"X-Issued": "issued_at", "X-Expires": "expires_at", "X-Email": "/traits/email", "X-Age": "/age", "X-Ok": "/ok",
			"X-Object": "/traits", "X-List": {"claim": "/list", "separator": ";"}, "X-Null": "/null", "X-Empty": "/empty",
			"X-Nothing": "/nothing", "X-Empty-String": "/blank", "X-First": "/list/0"}`)
	token := mint(t, claims{
		"traits": claims{"email": "a%b@é.example"}, "age": 1.50, "ok": true, "null": nil, "empty": []string{}, "blank": "",
		"list": []any{"a;b", 1, false, nil, []int{1}, claims{"k": "v;"}, " ", ""},
		"act":  claims{"sub": "boss"}, "auth_time": 1799999999.25,
	})
	d := f.Decide(request("/", "Authorization: Bearer "+token), now)
	require.True(t, d.Forward, d.Reason)
	want := map[string]string{
		"x-issuer": issuer, "x-subject": "user_1", "x-session": "sess_1", "x-type": "sess", "x-tenant": "t1",
		"x-roles": "admin,dev", "x-permissions": "read|write", "x-actor": "boss",
		"x-assurance": "aal1", "x-party": "web", "x-token": "t1", "x-authenticated": "1799999999.25",
		"x-issued": "1799999990", "x-expires": "1800000300", "x-email": "a%25b@%C3%A9.example", "x-age": "1.5", "x-ok": "true",
		"x-object": `{"email":"a%25b@%C3%A9.example"}`, "x-list": `a%3Bb;1;false;null;[1];{"k":"v%3B"};%20;`,
		"x-empty-string": "", "x-first": "a;b",
	}
	got := make(map[string]string)
	for _, h := range d.Set {
		_, twice := got[h.Name]
		assert.False(t, twice, h.Name)
		got[h.Name] = h.Value
	}
	assert.Equal(t, want, got)
	assert.Len(t, d.Remove, 24, "every one is removed, with and without a value")
	assert.Equal(t, "x-issuer", d.Set[0].Name, "in the document's order")

	// Nobody speaks for a request without a token, but the headers still go.
	for _, req := range []*filter.Request{
		request("/public/x", "Authorization: Bearer "+token, "X-Subject: admin"),
		request("/optional/x"),
		request("OPTIONS /", "Origin: https://a.example", "Access-Control-Request-Method: GET"),
	} {
		d := f.Decide(req, now)
		assert.True(t, d.Forward)
		assert.False(t, d.Authenticated)
		assert.Empty(t, d.Principal)
		assert.Empty(t, d.Set)
		assert.Len(t, d.Remove, 24)
	}
}

func TestStripList(t *testing.T) {
	p := newPolicy(t, `"identity_headers": {"X-User": "subject", "x_role": "roles"}`)
	assert.Equal(t, []string{"x-user", "x_role"}, filter.Strip(p))
	assert.Empty(t, filter.Strip(newPolicy(t, "")))
}

func TestHeaders(t *testing.T) {
	assert.Equal(t, []string{"access-control-request-method", "authorization", "content-type", "origin"}, filter.Headers(newPolicy(t, "")))
	assert.Equal(t, []string{"authorization", "content-type"}, filter.Headers(newPolicy(t, `"preflight": "check"`)))
	assert.Equal(t, []string{"accept", "access-control-request-method", "authorization", "connection", "content-type", "cookie", "origin",
		"sec-fetch-mode", "sec-fetch-site", "sec-websocket-key", "upgrade", "x-session-token"},
		filter.Headers(newPolicy(t, allSources+`, "identity_headers": {"x-user": "subject"}, "public_origin": "https://a.example",
			"sign_in": {"url": "https://a.example/sign-in"}`)))
}

func TestConnection(t *testing.T) {
	f := newFilter(t, anyPath+`, "identity_headers": {"x-user-id": "subject", "x_role": "/role"}`)
	token := "Authorization: Bearer " + mint(t, nil)
	for _, c := range []struct {
		connection []string
		rewritten  bool
		want       string // "" when nothing is left
	}{
		{nil, false, ""},
		{[]string{"keep-alive"}, false, ""},
		{[]string{"Upgrade, x-other"}, false, ""},
		{[]string{"x-user-idx, xx-user-id"}, false, ""},
		{[]string{"x-user-id"}, true, ""},
		{[]string{"X-USER-ID"}, true, ""},
		{[]string{"x_user_id"}, true, ""},
		{[]string{"x-role"}, true, ""},
		{[]string{"keep-alive, x-user-id"}, true, "keep-alive"},
		{[]string{"close ,\tX-User_Id ,, Upgrade"}, true, "close, Upgrade"},
		{[]string{"Upgrade", "x-role", "a"}, true, "Upgrade, a"},
	} {
		headers := []string{token}
		for _, v := range c.connection {
			headers = append(headers, "Connection: "+v)
		}
		d := f.Decide(request("/", headers...), now)
		require.True(t, d.Forward)
		value, set := field(d.Set, "connection")
		assert.Equal(t, c.want, value, c.connection)
		assert.Equal(t, c.want != "", set, c.connection)
		if c.rewritten {
			assert.Equal(t, []string{"x-user-id", "x_role", "connection"}, d.Remove, c.connection)
		} else {
			assert.Equal(t, []string{"x-user-id", "x_role"}, d.Remove, c.connection)
		}
		user, _ := field(d.Set, "x-user-id")
		assert.Equal(t, "user_1", user)
	}
}

// Decoding gives back exactly what the token held, whatever that was.
func TestEncodingRoundTrip(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	alphabet := []rune("ab ,;%|.\t\r\n\x00\x7f\u0080é世\U0001f600%2C\"'\\")
	text := func() string {
		var b strings.Builder
		for range random.IntN(6) {
			b.WriteRune(alphabet[random.IntN(len(alphabet))])
		}
		return b.String()
	}
	for _, separator := range []string{",", ";", "|", ".", `'`} {
		f := newFilter(t, anyPath+`, "identity_headers": {"x-subject": "subject", "x-list": {"claim": "/list", "separator": "`+separator+`"},
			"x-roles": {"claim": "roles", "separator": "`+separator+`"}}`)
		for range 300 {
			list := make([]string, random.IntN(4))
			for i := range list {
				list[i] = text()
			}
			subject := text()
			d := f.Decide(request("/", "Authorization: Bearer "+mint(t, claims{"sub": subject, "list": list, "roles": list})), now)
			require.True(t, d.Forward, d.Reason)
			got, set := decoded(t, d, "x-subject", "")
			assert.Equal(t, subject != "", set)
			if set {
				assert.Equal(t, []string{subject}, got)
			}
			for _, name := range []string{"x-list", "x-roles"} {
				got, set = decoded(t, d, name, separator)
				assert.Equal(t, len(list) > 0, set)
				if set {
					assert.Equal(t, list, got)
				}
			}
		}
	}
}

// decoded reads a header as an upstream would: hops trim the value, the list is
// split, each item is percent-decoded.
func decoded(t *testing.T, d *verdict.Decision, name, separator string) ([]string, bool) {
	value, ok := field(d.Set, name)
	if !ok {
		return nil, false
	}
	for i := range len(value) {
		require.True(t, value[i] >= ' ' && value[i] < 0x7f, "%q is not plain", value)
	}
	items := []string{strings.Trim(value, " \t")}
	if separator != "" {
		items = strings.Split(items[0], separator)
	}
	for i := range items {
		text, err := url.PathUnescape(items[i])
		require.NoError(t, err)
		items[i] = text
	}
	return items, true
}

func TestLog(t *testing.T) {
	members := `"rules": [{"path_prefix": "/write", "permissions_any": ["none"]}, {"path_prefix": "/"}], "log": ["subject", "roles", "actor", "/tenant_id"]`
	f := newFilter(t, members)
	bearer := "Authorization: Bearer " + mint(t, claims{"sub": "a\nb", "roles": []string{"x,y", "z"}})
	want := []verdict.Field{{Name: "subject", Value: "a%0Ab"}, {Name: "roles", Value: "x%2Cy,z"}, {Name: "/tenant_id", Value: "t1"}}
	assert.Equal(t, want, f.Decide(request("/", bearer), now).Log)

	// The log may name who was refused, the Decision's Principal does not.
	d := f.Decide(request("/write", bearer), now)
	assert.Equal(t, verdict.Permission, d.Reason)
	assert.Equal(t, want, d.Log)
	assert.False(t, d.Authenticated)
	assert.Empty(t, d.Principal)

	// Nothing of a token that was not verified.
	assert.Empty(t, f.Decide(request("/", bearer+"x"), now).Log)
	assert.Empty(t, f.Decide(request("/"), now).Log)
	assert.Empty(t, newFilter(t, anyPath).Decide(request("/", bearer), now).Log)
}
