package plugin

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/internal/guest"
	"sessiongate/verdict"
)

const (
	now    = 1_800_000_000_000
	secret = "0123456789abcdef0123456789abcdef"
	keys   = `"keys":[{"kty":"EC","crv":"P-256","kid":"k","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`
)

// forged is a token of https://a.example with kid k, whose signature is wrong.
var forged = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256","typ":"at+jwt","kid":"k"}`)) + "." +
	base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"https://a.example","sub":"s","aud":"api","azp":"api","iat":1799999990,"exp":1900000000}`)) + "." +
	strings.Repeat("A", 86)

// symmetric is a policy that needs no keys from elsewhere.
func symmetric(more string) string {
	return `{"version":1,"policy":{"issuers":[{"issuer":"https://b.example","dialect":"jwt","algorithms":["HS256"],"audience":["api"]}],
		"rules":[{"path":"/public","access":"public"},{"path_prefix":"/"}],"identity_headers":{"x-user":"subject"},"log":["subject"]` + more + `},
		"host":{"traefik":{"secrets":{"https://b.example":"` + base64.RawURLEncoding.EncodeToString([]byte(secret)) + `"}}}}`
}

const fromFile = `{"version":1,"policy":{"issuers":[{"issuer":"https://a.example","dialect":"own","algorithms":["ES256"],"audience":["api"],"jwks_uri":"https://a.example/keys","max_stale":100,"cooldown":10}],
	"rules":[{"path_prefix":"/"}]},"host":{"traefik":{"jwks_files":{"https://a.example":"/keys/a.json"}}}}`

func mint(subject string) string {
	b := base64.RawURLEncoding
	text := b.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + b.EncodeToString([]byte(`{"iss":"https://b.example","sub":"`+subject+`","aud":"api","iat":1799999990,"exp":1800000100}`))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return text + "." + b.EncodeToString(mac.Sum(nil))
}

func started(t *testing.T, config string) (*fake, *Plugin) {
	t.Helper()
	f := &fake{config: config, time: now}
	p := New(f, 0)
	require.True(t, p.Start(), f.logged())
	return f, p
}

// ask asks for a path with headers, given in pairs.
func (f *fake) ask(p *Plugin, uri string, header ...string) bool {
	f.method, f.uri, f.sent, f.status, f.body, f.listed, f.huge = "GET", uri, 0, 0, "", "", false
	f.maps = map[Map][]verdict.Field{RequestHeaders: {{Name: "Host", Value: "api.example"}}}
	for i := 0; i < len(header); i += 2 {
		f.maps[RequestHeaders] = append(f.maps[RequestHeaders], verdict.Field{Name: header[i], Value: header[i+1]})
	}
	return p.HandleRequest()
}

func TestPasses(t *testing.T) {
	f, p := started(t, symmetric(`,"token":"strip","paths":"normalize"`))
	require.True(t, f.ask(p, "/a//b?q=1", "Authorization", "Bearer "+mint("ada"), "X-User", "root", "x_user", "root", "X_USER", "root", "X-Users", "kept"))
	assert.Zero(t, f.sent)
	assert.Equal(t, "/a/b?q=1", f.uri)
	assert.Equal(t, []string{"ada"}, f.values(RequestHeaders, "x-user"))
	assert.Empty(t, f.values(RequestHeaders, "x_user"))
	assert.Empty(t, f.values(RequestHeaders, "authorization"))
	assert.Equal(t, []string{"kept"}, f.values(RequestHeaders, "x-users"))
	assert.Equal(t, []string{"sessiongate: passed subject=ada"}, f.lines)
	require.True(t, f.ask(p, "/public", "X-User", "root"))
	assert.Empty(t, f.values(RequestHeaders, "x-user"))
}

func TestTrailersAreStripped(t *testing.T) {
	f, p := started(t, symmetric(""))
	f.method, f.uri = "GET", "/public"
	f.maps = map[Map][]verdict.Field{RequestTrailers: {{Name: "X_User", Value: "root"}, {Name: "x-sum", Value: "1"}}}
	require.True(t, p.HandleRequest())
	assert.Equal(t, []verdict.Field{{Name: "x-sum", Value: "1"}}, f.maps[RequestTrailers])
}

func TestRefuses(t *testing.T) {
	f, p := started(t, symmetric(""))
	require.False(t, f.ask(p, "/x"))
	assert.Equal(t, 401, f.status)
	assert.Equal(t, 1, f.sent)
	assert.Contains(t, f.body, `"missing_token"`)
	assert.Len(t, f.values(ResponseHeaders, "www-authenticate"), 1)
	assert.Equal(t, []string{"sessiongate: refused reason=missing_token"}, f.lines)
	require.False(t, f.ask(p, "/x", "Authorization", "Bearer "+mint("ada")+"x"))
	assert.NotContains(t, f.logged(), "ada", "no claim of a token that was not verified")

	// What cannot be read is not judged.
	for _, spoil := range []func(){
		func() { f.huge = true },
		func() { f.listed = "host\x00authorization" },
	} {
		f.ask(p, "/x")
		f.sent = 0
		spoil()
		require.False(t, p.HandleRequest())
		assert.Equal(t, 503, f.status)
		assert.Contains(t, f.body, `"internal"`)
	}
	// A value with a zero byte in it; and names that are empty, which some hosts list.
	require.False(t, f.ask(p, "/x", "Authorization", "Bearer a\x00b"))
	assert.Equal(t, 503, f.status)
	f.ask(p, "/public")
	f.listed = "\x00\x00host\x00"
	require.True(t, p.HandleRequest())
}

func TestClock(t *testing.T) {
	f := &fake{config: symmetric(""), time: now}
	p := New(f, now+1)
	require.True(t, p.Start())
	require.False(t, f.ask(p, "/x", "Authorization", "Bearer "+mint("ada")))
	assert.Contains(t, f.body, `"clock_unusable"`)
	f.time = 0
	require.False(t, f.ask(p, "/x", "Authorization", "Bearer "+mint("ada")))
	assert.Contains(t, f.body, `"clock_unusable"`)
	assert.Positive(t, guest.ClockFloor(""))
}

func TestConfiguration(t *testing.T) {
	for _, f := range []*fake{
		{config: `{"version":1}`}, {config: ""}, {noConfig: true}, {config: "null"},
		{config: strings.Replace(fromFile, `"max_stale"`, `"max_stail"`, 1)},
	} {
		assert.False(t, New(f, 0).Start())
		assert.NotEmpty(t, f.lines)
	}
	f := &fake{config: strings.Replace(fromFile, `"max_stale"`, `"max_stail"`, 1)}
	New(f, 0).Start()
	assert.Contains(t, f.logged(), `/policy/issuers/0/max_stail: is not a known member`)
}

func TestDocumentAsText(t *testing.T) {
	text, err := json.Marshal(map[string]string{"document": symmetric("")})
	require.NoError(t, err)
	f, p := started(t, string(text))
	require.True(t, f.ask(p, "/x", "Authorization", "Bearer "+mint("ada")))
	for _, config := range []string{`{"document":5}`, `{"document":"{}"}`, `{"document":"` + `","x":1}`} {
		f := &fake{config: config}
		assert.False(t, New(f, 0).Start(), config)
		assert.NotEmpty(t, f.lines)
	}
}

func file(at int64) string { return `{"confirmed_at":` + strconv.FormatInt(at/1000, 10) + `,` + keys }

func TestKeyFiles(t *testing.T) {
	f, p := started(t, fromFile)
	reason := func() string {
		require.False(t, f.ask(p, "/", "Authorization", "Bearer "+forged))
		_, code, _ := strings.Cut(f.body, `"code":"`)
		code, _, _ = strings.Cut(code, `"`)
		return code
	}
	assert.Equal(t, "keys_unavailable", reason())
	assert.Contains(t, f.logged(), "no such file")
	lines := len(f.lines)
	f.time += 1000
	assert.Equal(t, "keys_unavailable", reason())
	assert.Len(t, f.lines, lines+1, "said once; and the refusal")

	f.write("/keys/a.json", file(f.time-20_000))
	assert.Equal(t, "keys_unavailable", reason(), "looked at within this second")
	f.time += 1000
	assert.NotContains(t, []string{"keys_unavailable", "keys_stale"}, reason())
	assert.Contains(t, f.logged(), "key file is back")
	stats, reads := f.stats, f.reads
	for range 100 {
		reason()
		f.time += 100
	}
	assert.LessOrEqual(t, f.stats-stats, 11)
	assert.Equal(t, reads, f.reads, "read again when it changes")

	// It was confirmed at first look minus 19 s; 100 s is the bound.
	f.time += 68_000
	assert.NotEqual(t, "keys_stale", reason())
	f.time += 5_000
	assert.Equal(t, "keys_stale", reason())
	f.write("/keys/a.json", file(f.time))
	f.time += 1000
	assert.NotEqual(t, "keys_stale", reason())
	good := f.time

	for _, bad := range []string{"<html>", `{"keys":[]}`, `{"confirmed_at":true,` + keys, file(f.time + 3_600_000)} {
		f.write("/keys/a.json", bad)
		f.time += 1000
		assert.NotEqual(t, "keys_stale", reason(), "the last good one stays: %s", bad)
	}
	assert.Contains(t, f.logged(), "no key set with a usable key")
	assert.Contains(t, f.logged(), "confirmed_at")
	assert.Contains(t, f.logged(), "yet to come")
	f.time = good + 101_000
	assert.Equal(t, "keys_stale", reason())

	// Put there by hand: it does not age as long as it is there.
	f.write("/keys/a.json", "{"+keys)
	for range 5 {
		f.time += 90_000
		assert.NotEqual(t, "keys_stale", reason())
	}
	delete(f.files, "/keys/a.json")
	f.time += 90_000
	assert.NotEqual(t, "keys_stale", reason())
	f.time += 20_000
	assert.Equal(t, "keys_stale", reason())
}

// A clock that is set back makes no key younger than it may be.
func TestClockSetBack(t *testing.T) {
	f, p := started(t, fromFile)
	f.write("/keys/a.json", "{"+keys)
	f.time += 1000
	f.ask(p, "/")
	s := p.setup.sources[0]
	require.Equal(t, f.time, s.installed)
	f.time -= 3_600_000
	f.ask(p, "/")
	assert.Equal(t, f.time, s.installed)
}

// After a panic the instance refuses, and is made anew a second later. One that
// never came back refuses for ever.
func TestBroken(t *testing.T) {
	f, p := started(t, symmetric(""))
	good := "Bearer " + mint("ada")
	p.setup.policy, p.setup.guest = nil, guest.Guest{} // as if the heap were corrupt
	require.False(t, f.ask(p, "/x", "Authorization", good))
	assert.Equal(t, 503, f.status)
	assert.Contains(t, f.body, `"internal"`)
	assert.Contains(t, f.logged(), "made anew")
	f.time += 999
	require.False(t, f.ask(p, "/x", "Authorization", good))
	assert.Equal(t, 503, f.status)
	f.time++
	require.True(t, f.ask(p, "/x", "Authorization", good))
	require.False(t, f.ask(p, "/x"))
	assert.Equal(t, 401, f.status)

	p.guard.Run(func() { // a trap leaves the guard like this
		for range 3 {
			require.False(t, f.ask(p, "/x", "Authorization", good))
			assert.Equal(t, 503, f.status)
			f.time += 10_000
		}
	})
}

func TestSameName(t *testing.T) {
	for _, same := range []string{"x-user-id", "X-User-Id", "x_user_id", "X_USER-ID"} {
		assert.True(t, sameName(same, "x-user-id"), same)
	}
	for _, other := range []string{"x-user-i", "x-user-idd", "x.user.id", "xxuser-id", ""} {
		assert.False(t, sameName(other, "x-user-id"), other)
	}
}
