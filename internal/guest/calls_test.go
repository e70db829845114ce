package guest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/internal/abi"
	"sessiongate/verdict"
)

const (
	now      = 1_800_000_000_000
	keySet   = `{"keys":[{"kty":"EC","crv":"P-256","kid":"k","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},{"kty":"oct","kid":"s","k":"AAAA"}]}`
	document = `{"version":1,"policy":{
		"issuers":[{"issuer":"https://a.example","dialect":"own","algorithms":["ES256"],"audience":["api"],"jwks_uri":"https://a.example/keys","cooldown":10},
			{"issuer":"https://b.example","dialect":"jwt","algorithms":["HS256"],"audience":["api"]}],
		"rules":[{"path_prefix":"/"}],"identity_headers":{"x-user":"subject"}},
		"host":{"go":{"secret_files":{"https://b.example":"/run/secret"}}}}`
	secret = "0123456789abcdef0123456789abcdef"
)

func (c *Calls) do(t *testing.T, number abi.Call, in []byte, at int64) (abi.Status, string) {
	t.Helper()
	buffer := c.Buffer(uint32(len(in)))
	require.GreaterOrEqual(t, len(buffer), len(in))
	copy(buffer, in)
	out := c.Call(number, uint32(len(in)), at)
	require.NotEmpty(t, out)
	return abi.Status(out[0]), string(out[1:])
}

func configured(t *testing.T, floor int64) *Calls {
	t.Helper()
	c := new(Calls)
	in := abi.Configure{Kind: "go", ClockFloor: floor, Policy: document, Secrets: []abi.Secret{{Issuer: 1, Value: secret}}}
	status, text := c.do(t, abi.CallConfigure, in.Append(nil), 0)
	require.Equal(t, abi.StatusOK, status, text)
	return c
}

func TestPlan(t *testing.T) {
	c := new(Calls)
	in := abi.Configure{Kind: "go", Policy: document}
	status, text := c.do(t, abi.CallPlan, in.Append(nil), 0)
	require.Equal(t, abi.StatusOK, status, text)
	assert.JSONEq(t, `{"issuers":[
		{"issuer":"https://a.example","keys":"uri","location":"https://a.example/keys","cluster":"","max_stale":86400000,"cooldown":10000},
		{"issuer":"https://b.example","keys":"secret","location":"/run/secret","cluster":"","max_stale":0,"cooldown":0}],
		"headers":["access-control-request-method","authorization","connection","content-type","origin"],
		"strip":["x-user"],"clock_floor":0}`, text)
	assert.False(t, c.Configured(), "a plan changes nothing")
}

func TestConfigureFaults(t *testing.T) {
	tests := []struct {
		name string
		in   abi.Configure
		want []string
	}{
		{"not JSON", abi.Configure{Kind: "go", Policy: "{"}, []string{`""`}},
		{"several faults", abi.Configure{Kind: "go", Policy: strings.Replace(strings.Replace(document, "ES256", "none", 1), `"cooldown":10`, `"cooldown":0`, 1)},
			[]string{"/policy/issuers/0/algorithms/0", "/policy/issuers/0/cooldown"}},
		{"secret file not given", abi.Configure{Kind: "go", Policy: document}, []string{"/host/go/secret_files/https:~1~1b.example"}},
		{"secret too short", abi.Configure{Kind: "go", Policy: document, Secrets: []abi.Secret{{Issuer: 1, Value: "short"}}}, []string{"at least 32"}},
		{"secret of an issuer with keys", abi.Configure{Kind: "go", Policy: document, Secrets: []abi.Secret{{Issuer: 0, Value: secret}}}, []string{"issuer 0 takes no secret"}},
		{"secret of nobody", abi.Configure{Kind: "go", Policy: document, Secrets: []abi.Secret{{Issuer: 1 << 31, Value: secret}}}, []string{"takes no secret"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := configured(t, 0)
			status, text := c.do(t, abi.CallConfigure, tt.in.Append(nil), 0)
			require.Equal(t, abi.StatusFaults, status)
			var v struct {
				Errors []struct{ Path, Problem string }
			}
			require.NoError(t, json.Unmarshal([]byte(text), &v))
			require.NotEmpty(t, v.Errors)
			for _, want := range tt.want {
				assert.Contains(t, text, want)
			}
			status, _ = c.do(t, abi.CallVerify, []byte("x"), now)
			assert.Equal(t, abi.StatusOK, status, "the old policy stays")
		})
	}
}

func TestUpdateKeys(t *testing.T) {
	c := configured(t, 0)
	update := func(issuer uint32, doc string, at int64) (abi.Status, string) {
		u := abi.UpdateKeys{Issuer: issuer, ConfirmedAt: at, Document: doc}
		return c.do(t, abi.CallUpdateKeys, u.Append(nil), now)
	}
	status, text := update(0, "", 0)
	assert.Equal(t, abi.StatusFaults, status, "nothing to confirm")
	assert.Contains(t, text, "strict JSON")

	status, text = update(0, keySet, now-1000)
	assert.Equal(t, abi.StatusOK, status)
	assert.Contains(t, text, `{"usable":1,"skipped":[{"index":1,"kid":"s","why":"`)

	for _, bad := range []string{"{", `{"keys":[]}`, `{"keys":[{"kty":"oct","k":"AAAA"}]}`} {
		status, _ = update(0, bad, now)
		assert.Equal(t, abi.StatusFaults, status)
	}
	_, text = c.do(t, abi.CallStats, nil, now)
	assert.Contains(t, text, `{"issuer":"https://a.example","usable":1,"confirmed_at":1799999999000}`, "a bad update changes nothing")

	status, _ = update(0, "", now)
	assert.Equal(t, abi.StatusOK, status)
	_, text = c.do(t, abi.CallStats, nil, now)
	assert.Contains(t, text, `"usable":1,"confirmed_at":1800000000000`)

	for _, issuer := range []uint32{1, 2, 1 << 31, 1<<32 - 1} {
		status, text = update(issuer, keySet, now)
		assert.Equal(t, abi.StatusFaults, status)
		assert.Contains(t, text, "takes no key set")
	}
}

func TestVerifyAndHint(t *testing.T) {
	c := configured(t, 0)
	u := abi.UpdateKeys{ConfirmedAt: now, Document: keySet}
	c.do(t, abi.CallUpdateKeys, u.Append(nil), now)
	// Header {"alg":"ES256","kid":"new"}, claims {"iss":"https://a.example"}.
	token := "eyJhbGciOiJFUzI1NiIsImtpZCI6Im5ldyIsInR5cCI6ImF0K2p3dCJ9.eyJpc3MiOiJodHRwczovL2EuZXhhbXBsZSJ9." + strings.Repeat("A", 86)
	status, text := c.do(t, abi.CallVerify, []byte(token), now)
	require.Equal(t, abi.StatusOK, status)
	v, err := abi.DecodeVerified(text)
	require.NoError(t, err)
	assert.Equal(t, abi.Verified{Reason: verdict.UnknownKey, Hint: abi.Hint{Issuer: 0, KeyID: "new"}}, v)

	q := abi.Request{Method: "GET", Host: "h", Path: "/", Headers: []verdict.Field{{Name: "authorization", Value: "Bearer " + token}}}
	_, text = c.do(t, abi.CallFilter, q.Append(nil), now)
	f, err := abi.DecodeFiltered(text)
	require.NoError(t, err)
	assert.Equal(t, verdict.UnknownKey, f.Decision.Reason)
	assert.Equal(t, abi.Hint{Issuer: 0, KeyID: "new"}, f.Hint)

	_, text = c.do(t, abi.CallExplain, []byte(token), now)
	assert.Contains(t, text, `{"name":"clock","reason":"none","skipped":false,`)
	assert.Contains(t, text, `"reason":"unknown_key"`)

	_, text = c.do(t, abi.CallStats, nil, now)
	assert.Contains(t, text, `"verified":1,"filtered":1,"key_updates":1,"reasons":{"unknown_key":2}`)
}

func TestClockFloor(t *testing.T) {
	assert.EqualValues(t, releaseTime*1000, ClockFloor(""))
	assert.EqualValues(t, releaseTime*1000, ClockFloor("0"), "never 0")
	assert.EqualValues(t, releaseTime*1000, ClockFloor("x"))
	assert.EqualValues(t, 1_900_000_000_000, ClockFloor("1900000000"))

	for _, tt := range []struct {
		name      string
		floor, at int64
		want      bool // usable
	}{
		{"none", 0, 0, true},
		{"before", now, now - 1, false},
		{"at", now, now, true},
		{"the guest's own, before", -1, releaseTime*1000 - 1, false},
		{"the guest's own, at", -1, releaseTime * 1000, true},
		{"negative clock", 0, -1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := configured(t, tt.floor)
			_, text := c.do(t, abi.CallVerify, []byte("x"), tt.at)
			v, err := abi.DecodeVerified(text)
			require.NoError(t, err)
			assert.Equal(t, tt.want, v.Reason == verdict.Malformed, v.Reason)
			q := abi.Request{Method: "GET", Host: "h", Path: "/"}
			_, text = c.do(t, abi.CallFilter, q.Append(nil), tt.at)
			f, err := abi.DecodeFiltered(text)
			require.NoError(t, err)
			assert.False(t, f.Decision.Forward)
			if !tt.want {
				assert.Equal(t, verdict.ClockUnusable, v.Reason)
				assert.Equal(t, verdict.ClockUnusable, f.Decision.Reason)
				assert.Equal(t, 503, f.Decision.Status)
				_, text = c.do(t, abi.CallExplain, []byte("x"), tt.at)
				assert.Contains(t, text, `"reason":"clock_unusable"`)
			}
		})
	}
}

// What one token said is gone when the next call refuses, for whatever Reason.
func TestRefusalsAreEmpty(t *testing.T) {
	c := configured(t, now-1000)
	input := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." +
		base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"https://b.example","aud":"api","sub":"u","scope":"x","exp":1800000060}`))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(input))
	token := []byte(input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))

	for _, next := range []struct {
		token []byte
		at    int64
		want  verdict.Reason
	}{
		{token, now - 1001, verdict.ClockUnusable},
		{token, now + 66_000, verdict.Expired},
		{token[:len(token)-1], now, verdict.Malformed},
	} {
		r, reason := c.Verify(token, now)
		require.Equal(t, verdict.None, reason)
		require.Equal(t, "u", r.Principal.Subject)
		r, reason = c.Verify(next.token, next.at)
		assert.Equal(t, next.want, reason)
		assert.Zero(t, r.Principal.Subject, next.want)
		assert.Zero(t, r.Principal.ExpiresAt, next.want)
		assert.Zero(t, r.Claims().Kind(), next.want)
	}
}

func TestCallsRefuseNonsense(t *testing.T) {
	c := new(Calls)
	for _, number := range []abi.Call{abi.CallUpdateKeys, abi.CallVerify, abi.CallFilter, abi.CallExplain} {
		status, _ := c.do(t, number, nil, now)
		assert.Equal(t, abi.StatusNotConfigured, status)
	}
	c = configured(t, 0)
	for _, number := range []abi.Call{abi.CallPlan, abi.CallConfigure, abi.CallUpdateKeys, abi.CallFilter} {
		status, _ := c.do(t, number, []byte{1, 2, 3}, now)
		assert.Equal(t, abi.StatusBadInput, status)
	}
	for _, number := range []abi.Call{0, abi.CallUpdateRevocations, 12, abi.CallTestPanic, 1<<32 - 1} {
		status, _ := c.do(t, number, nil, now)
		assert.Equal(t, abi.StatusUnsupported, status)
	}
	assert.Equal(t, []byte{byte(abi.StatusBadInput)}, c.Call(abi.CallVerify, 1<<32-1, now), "longer than the buffer")
	assert.Nil(t, c.Buffer(abi.MaxInput+1))
	assert.NotNil(t, c.Buffer(0))
	assert.Len(t, c.Buffer(abi.MaxInput), abi.MaxInput)
}

// Whatever breaks inside, the instance refuses from then on.
func TestGuard(t *testing.T) {
	var g Guard
	ran := 0
	require.True(t, g.Run(func() { ran++ }))
	require.False(t, g.Run(func() { panic("x") }))
	require.False(t, g.Run(func() { ran++ }))
	assert.Equal(t, 1, ran)

	g = Guard{}
	require.True(t, g.Run(func() {
		assert.False(t, g.Run(func() { t.Error("entered twice") }))
	}))

	c := configured(t, 0)
	c.filter = nil // as if the heap were corrupt
	c.policy = nil
	assert.Equal(t, abi.StatusNotConfigured, abi.Status(c.Call(abi.CallVerify, 0, now)[0]))
	c = configured(t, 0)
	c.guard.entered = true // as a trap leaves it
	assert.Equal(t, []byte{byte(abi.StatusBroken)}, c.Call(abi.CallVerify, 0, now))
	assert.Nil(t, c.Buffer(1))
}

// Refusals cost no memory; only the request's strings do.
func TestRefusalsAllocateLittle(t *testing.T) {
	c := configured(t, 0)
	copy(c.Buffer(10), "not.a.jwt")
	assert.Zero(t, int(testing.AllocsPerRun(100, func() { c.Call(abi.CallVerify, 9, now) })))
	q := abi.Request{Method: "GET", Host: "h", Path: "/", Headers: []verdict.Field{{Name: "authorization", Value: "Bearer x"}}}
	in := q.Append(nil)
	copy(c.Buffer(uint32(len(in))), in)
	assert.LessOrEqual(t, int(testing.AllocsPerRun(100, func() { c.Call(abi.CallFilter, uint32(len(in)), now) })), 1)
}

// No input makes a guest panic, and every output follows its encoding.
func FuzzCall(f *testing.F) {
	q := abi.Request{Method: "GET", Host: "h", Path: "/", Headers: []verdict.Field{{Name: "authorization", Value: "Bearer a.b.c"}}}
	u := abi.UpdateKeys{ConfirmedAt: now, Document: keySet}
	cfg := abi.Configure{Kind: "go", Policy: document, Secrets: []abi.Secret{{Issuer: 1, Value: secret}}}
	f.Add(uint32(abi.CallFilter), q.Append(nil))
	f.Add(uint32(abi.CallUpdateKeys), u.Append(nil))
	f.Add(uint32(abi.CallConfigure), cfg.Append(nil))
	f.Add(uint32(abi.CallVerify), []byte("eyJhbGciOiJFUzI1NiJ9.e30.AAAA"))
	f.Add(uint32(abi.CallExplain), []byte("eyJhbGciOiJFUzI1NiJ9.e30.AAAA"))
	f.Add(uint32(abi.CallStats), []byte{})
	f.Fuzz(func(t *testing.T, number uint32, in []byte) {
		if len(in) > 1<<16 {
			return
		}
		c := configured(t, 0)
		status, text := c.do(t, abi.Call(number), in, now)
		require.NotEqual(t, abi.StatusBroken, status)
		if status != abi.StatusOK {
			return
		}
		switch abi.Call(number) {
		case abi.CallVerify:
			_, err := abi.DecodeVerified(text)
			require.NoError(t, err)
		case abi.CallFilter:
			_, err := abi.DecodeFiltered(text)
			require.NoError(t, err)
		default:
			require.True(t, json.Valid([]byte(text)), text)
		}
	})
}
