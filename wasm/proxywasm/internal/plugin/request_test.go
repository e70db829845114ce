package plugin

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/verdict"
)

func configured(t testing.TB, members string) *thread {
	t.Helper()
	h := newWorld().thread(t)
	require.True(t, h.configure(1, inline(members)), h.log)
	require.Empty(t, h.log)
	return h
}

func TestRequests(t *testing.T) {
	tests := []struct {
		name    string
		members string
		target  string
		headers []string
		status  int // 0: passes
		reason  string
	}{
		{"good token", "", "/", []string{bearer(nil)}, 0, ""},
		{"public", "", "/public/x", nil, 0, ""},
		{"public, bad token", "", "/public/x", []string{"authorization: Bearer x"}, 0, ""},
		{"preflight", "", "OPTIONS /", []string{"origin: https://a.example", "access-control-request-method: POST"}, 0, ""},
		{"no token", "", "/", nil, 401, "missing_token"},
		{"garbage", "", "/", []string{"authorization: Bearer x.y.z"}, 401, "malformed"},
		{"joined by the proxy", "", "/", []string{bearer(nil) + "," + bearer(nil)[15:]}, 400, "multiple_tokens"},
		{"twice", "", "/", []string{bearer(nil), bearer(nil)}, 400, "multiple_tokens"},
		{"expired", "", "/", []string{bearer(object{"exp": start/1000 - 9})}, 401, "expired"},
		{"audience", "", "/", []string{bearer(object{"aud": "other"})}, 401, "wrong_audience"},
		{"permission", "", "/admin", []string{bearer(nil)}, 403, "permission"},
		{"path", "", "/public/../admin", []string{bearer(nil)}, 400, "bad_path"},
		{"no path", "", "", nil, 400, "bad_path"},
		{"sign-in", `, "sign_in": {"url": "https://app.example/in"}, "public_origin": "https://api.example"`, "/", []string{"accept: text/html"}, 303, "missing_token"},
		{"gRPC", "", "POST /a.B/C", []string{"content-type: application/grpc+proto"}, 200, "missing_token"},
		{"cookie twice", `, "sources": [{"cookie": "s"}]`, "/", []string{"cookie: s=a", "cookie: s=b"}, 400, "multiple_tokens"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := configured(t, tt.members)
			action := h.request(1, tt.target, tt.headers...)
			reason := "none"
			if tt.status == 0 {
				require.Equal(t, Continue, action)
				require.Nil(t, h.response)
				require.NotEmpty(t, h.acts)
				assert.Equal(t, "property gate", h.acts[len(h.acts)-1], "the mark is the last act")
				assert.Equal(t, "pass", h.properties["gate"])
				assert.NotContains(t, h.properties, "reason")
			} else {
				reason = tt.reason
				require.Equal(t, Pause, action)
				require.NotNil(t, h.response)
				assert.Equal(t, tt.status, h.response.status)
				assert.Equal(t, tt.reason, h.response.details)
				assert.Equal(t, tt.reason, h.properties["reason"])
				assert.NotContains(t, h.properties, "gate")
			}
			assert.Equal(t, map[string]int{"sessiongate_decisions.reason=" + reason: 1, "sessiongate_decision_us": 1}, h.metrics)
		})
	}
}

func TestRequestEdits(t *testing.T) {
	h := configured(t, `, "token": "strip", "sources": [{"header": "authorization", "scheme": "Bearer"}, {"query": "t"}], "paths": "normalize"`)
	require.Equal(t, Continue, h.request(1, "/a//b?x=1", bearer(nil), "x-user-id: evil", "X-User_ID: evil", "x_user_id: evil", "x-user-roles: evil", "x-user-id: evil",
		"x-user-idd: mine", "user-id: mine"))
	assert.Equal(t, []string{"user_1"}, h.header("x-user-id"))
	assert.Equal(t, []string{"dev"}, h.header("x-user-roles"))
	assert.Equal(t, []string{"/a/b?x=1"}, h.header(":path"))
	assert.Empty(t, h.header("authorization"))
	for _, f := range h.maps[RequestHeaders] {
		assert.NotEqual(t, "evil", f.Value, f.Name)
	}
	assert.Equal(t, []string{"mine"}, h.header("x-user-idd"))
	assert.Equal(t, map[string]string{"subject": "user_1", "/tenant_id": "t1", "gate": "pass"}, h.properties)

	// Also where nobody speaks for the client.
	require.Equal(t, Continue, h.request(1, "/public", "x-user-id: evil", "x_user-roles: evil"))
	assert.Empty(t, h.header("x-user-id"))
	assert.Empty(t, h.header("x_user-roles"))
	assert.Equal(t, map[string]string{"gate": "pass"}, h.properties)
}

// What the policy's "log" names is told of refused sessions too, and nothing else is.
func TestRefusalsAreLogged(t *testing.T) {
	h := configured(t, "")
	require.Equal(t, Pause, h.request(1, "/admin", bearer(nil)))
	assert.Equal(t, map[string]string{"subject": "user_1", "/tenant_id": "t1", "reason": "permission"}, h.properties)
	require.Equal(t, Pause, h.request(1, "/", bearer(object{"exp": 1})))
	assert.Equal(t, map[string]string{"reason": "expired"}, h.properties)
	h = newWorld().thread(t)
	require.True(t, h.configure(1, strings.Replace(inline(""), `, "log": ["subject", "/tenant_id"]`, "", 1)))
	require.Equal(t, Continue, h.request(1, "/", bearer(nil)))
	assert.Equal(t, map[string]string{"gate": "pass"}, h.properties)
}

func TestTrailers(t *testing.T) {
	h := configured(t, "")
	h.request(1, "/", bearer(nil))
	h.vm.Create(7, 1)
	defer h.vm.Delete(7)
	h.maps[RequestTrailers] = []verdict.Field{{Name: "x-user-id", Value: "evil"}, {Name: "x_user_roles", Value: "evil"}, {Name: "checksum", Value: "1"}}
	require.Equal(t, Continue, h.vm.RequestTrailers(7))
	assert.Equal(t, []verdict.Field{{Name: "checksum", Value: "1"}}, h.maps[RequestTrailers])

	h.maps[RequestTrailers] = []verdict.Field{{Name: "x-user-id", Value: "evil"}}
	h.denied["remove"] = true
	require.Equal(t, Pause, h.vm.RequestTrailers(7))
	assert.Equal(t, 503, h.response.status)
	require.Equal(t, Pause, h.vm.RequestTrailers(99), "of no request")
}

// Whatever the proxy fails to do, the request does not pass.
func TestAProxyThatFails(t *testing.T) {
	for _, denied := range []string{"pairs", "remove", "replace", "property gate", "time"} {
		t.Run(denied, func(t *testing.T) {
			h := configured(t, "")
			h.vm.floor = start
			h.vm.roots[1].start(h.vm) // with a floor
			h.denied[denied] = true
			require.Equal(t, Pause, h.request(1, "/", bearer(nil), "x-user-id: evil"))
			assert.NotContains(t, h.properties, "gate")
			assert.Equal(t, 503, h.response.status)
			want := "internal"
			if denied == "time" {
				want = "clock_unusable"
			}
			assert.Equal(t, want, h.response.details)
			assert.Equal(t, want, h.properties["reason"])
			h.denied["respond"] = true
			require.Equal(t, Pause, h.request(1, "/", bearer(nil), "x-user-id: evil"), "not even an answer")
		})
	}
	for name, raw := range map[string]string{"short": "\x01\x00\x00", "lengths": "\x01\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xffab", "count": "\xff\xff\xff\xff0123456789"} {
		t.Run("garbled "+name, func(t *testing.T) {
			h := configured(t, "")
			h.raw[RequestHeaders] = raw
			require.Equal(t, Pause, h.request(1, "/"))
			assert.Equal(t, "internal", h.response.details)
		})
	}
	// A log that is poorer keeps nobody out.
	h := configured(t, "")
	h.denied["property subject"] = true
	assert.Equal(t, Continue, h.request(1, "/", bearer(nil)))
}

func TestControlBytesNeverReachAnAnswer(t *testing.T) {
	text := string(appendPairs(nil, []verdict.Field{{Name: "location", Value: "/a\r\nset-cookie: x\x00\x7f\tb"}, {Name: "b", Value: "c"}}))
	fields, ok := appendFields(nil, text)
	require.True(t, ok)
	assert.Equal(t, []verdict.Field{{Name: "location", Value: "/aset-cookie: xb"}, {Name: "b", Value: "c"}}, fields)
}

// No request costs memory here.
func TestRequestsAllocateLittle(t *testing.T) {
	h := configured(t, "")
	quiet := &quiet{thread: h, text: string(appendPairs(nil, head("/", "accept: */*", "cookie: a=b", "x-user-id: evil", "authorization: Bearer a.b.c")))}
	h.vm.host = quiet
	h.vm.Create(5, 1)
	require.Equal(t, Pause, h.vm.RequestHeaders(5))
	assert.Zero(t, int(testing.AllocsPerRun(200, func() {
		h.vm.Create(6, 1)
		h.vm.RequestHeaders(6)
		h.vm.Delete(6)
	})))
	quiet.text = string(appendPairs(nil, head("/public", "accept: */*", "cookie: a=b", "x-user-id: evil")))
	require.Equal(t, Continue, h.vm.RequestHeaders(5))
	assert.Zero(t, int(testing.AllocsPerRun(200, func() { h.vm.RequestHeaders(5) })))
}

// quiet does what the proxy does on the request path, without a byte of memory.
type quiet struct {
	*thread
	text string
}

func (q *quiet) Pairs(Map) (string, bool)                 { return q.text, true }
func (q *quiet) Remove(Map, string) bool                  { return true }
func (q *quiet) Replace(Map, string, string) bool         { return true }
func (q *quiet) SetProperty(string, string) bool          { return true }
func (q *quiet) Respond(int, string, []byte, []byte) bool { return true }
func (q *quiet) Count(uint32)                             {}
func (q *quiet) Record(uint32, uint64)                    {}

func FuzzAppendFields(f *testing.F) {
	f.Add(string(appendPairs(nil, head("/", "a: b"))))
	f.Add("\x02\x00\x00\x00")
	f.Fuzz(func(t *testing.T, text string) {
		fields, ok := appendFields(nil, text)
		if !ok {
			return
		}
		clean := true
		for _, field := range fields {
			clean = clean && strings.IndexFunc(field.Value, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0
		}
		if clean && len(fields) > 0 {
			again, ok := appendFields(nil, string(appendPairs(nil, fields)))
			require.True(t, ok)
			require.Equal(t, fields, again)
		}
	})
}
