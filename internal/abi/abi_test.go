package abi_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/internal/abi"
	"sessiongate/verdict"
)

var principal = verdict.Principal{
	Issuer: "https://issuer.example", Subject: "user_1", Session: "ses_1", Type: "sess", Tenant: "t1",
	Roles: []string{"admin", ""}, Permissions: []string{"read", "write", "ÿ\x00"},
	Actor: "boss", Assurance: "aal2", Party: "web", TokenID: "jti",
	AuthenticatedAt: 1_700_000_000_123, IssuedAt: -1, ExpiresAt: 1<<62 + 1,
}

var decisions = map[string]verdict.Decision{
	"forwarded": {
		Forward: true, Authenticated: true, Principal: principal, Remove: []string{"x-user-id", "authorization"},
		Set: []verdict.Field{{Name: "x-user-id", Value: "user_1"}}, Path: "/a?b",
		Log: []verdict.Field{{Name: "subject", Value: "user_1"}},
	},
	"forwarded, anonymous": {Forward: true, Remove: []string{"x-user-id"}},
	"refused": {
		Reason: verdict.Expired, Status: 401, Body: []byte(`{"code":"expired"}`),
		Headers: []verdict.Field{{Name: "content-type", Value: "application/problem+json"}, {Name: "www-authenticate", Value: `Bearer error="invalid_token"`}},
	},
	"refused, known": {Reason: verdict.Permission, Status: 403, Authenticated: true, Principal: principal},
	"answered":       {Status: 204},
}

func TestConfigure(t *testing.T) {
	for _, want := range []abi.Configure{
		{},
		{Kind: "go", ClockFloor: -1, Policy: `{"version":1}`},
		{Kind: "go", ClockFloor: 1 << 40, Policy: "x", Secrets: []abi.Secret{{Issuer: 3, Value: "s"}, {Issuer: 0, Value: strings.Repeat("é", 99)}}},
	} {
		got, err := abi.DecodeConfigure(string(want.Append(nil)))
		require.NoError(t, err)
		assert.Equal(t, want, got)
		everyCut(t, want.Append(nil), func(s string) error { _, err := abi.DecodeConfigure(s); return err })
	}
}

func TestUpdateKeys(t *testing.T) {
	want := abi.UpdateKeys{Issuer: 7, ConfirmedAt: 1_700_000_000_000, Document: `{"keys":[]}`}
	got, err := abi.DecodeUpdateKeys(string(want.Append(nil)))
	require.NoError(t, err)
	assert.Equal(t, want, got)
	everyCut(t, want.Append(nil), func(s string) error { _, err := abi.DecodeUpdateKeys(s); return err })
}

func TestRefreshed(t *testing.T) {
	want := abi.Refreshed{Issuer: 1, ID: 2, Status: 200, ETag: `"a"`, CacheControl: "max-age=60", Age: "5", Document: `{"keys":[]}`}
	got, err := abi.DecodeRefreshed(string(want.Append(nil)))
	require.NoError(t, err)
	assert.Equal(t, want, got)
	everyCut(t, want.Append(nil), func(s string) error { _, err := abi.DecodeRefreshed(s); return err })

	unknown := abi.UnknownKey{Issuer: 3, KeyID: "kid"}
	back, err := abi.DecodeUnknownKey(string(unknown.Append(nil)))
	require.NoError(t, err)
	assert.Equal(t, unknown, back)
	everyCut(t, unknown.Append(nil), func(s string) error { _, err := abi.DecodeUnknownKey(s); return err })
}

func TestRequest(t *testing.T) {
	requests := []abi.Request{
		{Method: "GET", Scheme: "https", Host: "h:8443", Path: "/p?q", Headers: []verdict.Field{{Name: "cookie", Value: "a=b"}, {Name: "cookie", Value: ""}}},
		{Method: "POST", Headers: []verdict.Field{}},
	}
	var got abi.Request
	for _, want := range requests {
		encoded := want.Append(nil)
		require.NoError(t, got.Decode(string(encoded)))
		assert.Equal(t, want, got)
		everyCut(t, encoded, got.Decode)
		assert.Empty(t, got.Method, "nothing is left of a bad input")
	}
	encoded := string(requests[0].Append(nil))
	assert.Zero(t, int(testing.AllocsPerRun(100, func() { _ = got.Decode(encoded) })))
}

func TestVerified(t *testing.T) {
	accepted := abi.AppendAccepted(nil, &principal)
	got, err := abi.DecodeVerified(string(accepted))
	require.NoError(t, err)
	assert.Equal(t, abi.Verified{Principal: principal, Hint: abi.Hint{Issuer: -1}}, got)
	decode := func(s string) error { _, err := abi.DecodeVerified(s); return err }
	everyCut(t, accepted, decode)

	for _, reason := range verdict.Reasons() {
		refused := abi.AppendRefused(nil, reason, 2, []byte("kid"))
		got, err = abi.DecodeVerified(string(refused))
		require.NoError(t, err)
		assert.Equal(t, abi.Verified{Reason: reason, Hint: abi.Hint{Issuer: 2, KeyID: "kid"}}, got)
		everyCut(t, refused, decode)
	}
}

func TestFiltered(t *testing.T) {
	for name, want := range decisions {
		t.Run(name, func(t *testing.T) {
			encoded := abi.AppendFiltered(nil, &want, -1, []byte("k"))
			got, err := abi.DecodeFiltered(string(encoded))
			require.NoError(t, err)
			assert.Equal(t, abi.Filtered{Decision: want, Hint: abi.Hint{Issuer: -1, KeyID: "k"}}, got)
			everyCut(t, encoded, func(s string) error { _, err := abi.DecodeFiltered(s); return err })
		})
	}
}

// A local answer without a status that HTTP has is none: the zero Decision stays a refusal.
func TestDecisionWithoutStatus(t *testing.T) {
	for _, d := range []verdict.Decision{{}, {Status: 100}, {Status: 600}} {
		_, err := abi.DecodeFiltered(string(abi.AppendFiltered(nil, &d, -1, nil)))
		assert.ErrorIs(t, err, abi.ErrEncoding)
	}
	bits := abi.AppendFiltered(nil, &verdict.Decision{Forward: true}, -1, nil)
	bits[8] |= 4
	_, err := abi.DecodeFiltered(string(bits))
	assert.ErrorIs(t, err, abi.ErrEncoding)
}

// A length that the input does not have must not make anybody allocate.
func TestFalseLengths(t *testing.T) {
	huge := "\xff\xff\xff\xff"
	c := string((&abi.Configure{}).Append(nil))
	secrets := c[:len(c)-4] + huge
	roles := "\x00" + strings.Repeat("\x00\x00\x00\x00", 5) + huge
	inputs := map[string]func() error{
		"secrets": func() error { _, err := abi.DecodeConfigure(secrets); return err },
		"roles":   func() error { _, err := abi.DecodeVerified(roles); return err },
	}
	for name, decode := range inputs {
		require.ErrorIs(t, decode(), abi.ErrEncoding)
		assert.Zero(t, int(testing.AllocsPerRun(10, func() { _ = decode() })), name)
	}
}

func TestStatusString(t *testing.T) {
	assert.Equal(t, "broken guest", abi.StatusBroken.String())
	assert.Equal(t, "unknown status", abi.Status(99).String())
}

// everyCut checks that an input cut anywhere, or with a byte too many, is refused.
func everyCut(t *testing.T, encoded []byte, decode func(string) error) {
	t.Helper()
	require.NoError(t, decode(string(encoded)))
	for n := range encoded {
		require.ErrorIs(t, decode(string(encoded[:n])), abi.ErrEncoding, "cut after %d bytes", n)
	}
	require.ErrorIs(t, decode(string(encoded)+"\x00"), abi.ErrEncoding)
}

// What decodes must be exactly what encodes to it: one value has one encoding.
func FuzzDecode(f *testing.F) {
	c := abi.Configure{Kind: "go", Policy: "{}", Secrets: []abi.Secret{{Issuer: 1, Value: "v"}}}
	u := abi.UpdateKeys{Issuer: 1, ConfirmedAt: 2, Document: "{}"}
	q := abi.Request{Method: "GET", Host: "h", Path: "/", Headers: []verdict.Field{{Name: "a", Value: "b"}}}
	f.Add(c.Append(nil))
	f.Add(u.Append(nil))
	f.Add(q.Append(nil))
	r := abi.Refreshed{Issuer: 1, ID: 2, Status: 304, ETag: "e"}
	f.Add(r.Append(nil))
	f.Add(abi.AppendAccepted(nil, &principal))
	f.Add(abi.AppendRefused(nil, verdict.UnknownKey, 1, []byte("kid")))
	for _, d := range decisions {
		f.Add(abi.AppendFiltered(nil, &d, 1, []byte("kid")))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in := string(data)
		same := func(err error, encoded func() []byte) {
			if err == nil {
				require.Equal(t, data, encoded())
			}
		}
		c, err := abi.DecodeConfigure(in)
		same(err, func() []byte { return c.Append(nil) })
		u, err := abi.DecodeUpdateKeys(in)
		same(err, func() []byte { return u.Append(nil) })
		r, err := abi.DecodeRefreshed(in)
		same(err, func() []byte { return r.Append(nil) })
		k, err := abi.DecodeUnknownKey(in)
		same(err, func() []byte { return k.Append(nil) })
		var q abi.Request
		same(q.Decode(in), func() []byte { return q.Append(nil) })
		v, err := abi.DecodeVerified(in)
		same(err, func() []byte {
			if v.Reason == verdict.None {
				return abi.AppendAccepted(nil, &v.Principal)
			}
			return abi.AppendRefused(nil, v.Reason, v.Hint.Issuer, []byte(v.Hint.KeyID))
		})
		d, err := abi.DecodeFiltered(in)
		same(err, func() []byte {
			return abi.AppendFiltered(nil, &d.Decision, d.Hint.Issuer, []byte(d.Hint.KeyID))
		})
	})
}

// The page for hosts in other languages says what the code does.
func TestDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/abi.md")
	require.NoError(t, err)
	text := string(page)
	assert.Contains(t, text, fmt.Sprintf("The version described here is **%d**", abi.Version))
	for _, r := range append([]verdict.Reason{verdict.None}, verdict.Reasons()...) {
		assert.Contains(t, text, fmt.Sprintf("| %d | `%s` |", r, r.String()))
	}
	for name, number := range map[string]abi.Call{"plan": abi.CallPlan, "configure": abi.CallConfigure, "update keys": abi.CallUpdateKeys, "verify": abi.CallVerify,
		"filter": abi.CallFilter, "explain": abi.CallExplain, "stats": abi.CallStats, "update revocations": abi.CallUpdateRevocations,
		"refresh": abi.CallRefresh, "refreshed": abi.CallRefreshed, "unknown key": abi.CallUnknownKey} {
		assert.Contains(t, text, fmt.Sprintf("%d `%s`", number, name))
	}
	for _, export := range []string{abi.ExportVersion, abi.ExportBuffer, abi.ExportCall} {
		assert.Contains(t, text, "| `"+export+"` |")
	}
}
