package host_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/host"
	"sessiongate/host/hosttest"
	"sessiongate/internal/abi"
	"sessiongate/internal/guesttest"
	"sessiongate/verdict"
)

func TestVerify(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	h := start(t, host.Config{Policy: issuer.Policy()})
	good := issuer.Mint(map[string]any{"roles": []string{"admin"}, "tenant_id": "t1"})
	now := time.Now().Unix()

	p, err := h.Verify(t.Context(), good)
	require.NoError(t, err)
	assert.Equal(t, "user_1", p.Subject)
	assert.Equal(t, issuer.URL(), p.Issuer)
	assert.Equal(t, []string{"admin"}, p.Roles)
	assert.Equal(t, "t1", p.Tenant)
	assert.InDelta(t, time.Now().Add(10*time.Minute).UnixMilli(), p.ExpiresAt, 5000)

	mint, header := issuer.Mint, func(m map[string]any) string { return issuer.MintWithHeader(m, nil) }
	tests := []struct {
		name, token string
		want        verdict.Reason
	}{
		{"empty", "", verdict.Malformed},
		{"garbage", "x", verdict.Malformed},
		{"not strict", good + "=", verdict.Malformed},
		{"of 10 MB", strings.Repeat("a", 10<<20), verdict.TooLarge},
		{"over the bound by a byte", good + strings.Repeat("A", abi.MaxToken+1-len(good)), verdict.TooLarge},
		{"alg none", header(map[string]any{"alg": "none"}), verdict.AlgorithmNotAllowed},
		{"another algorithm", header(map[string]any{"alg": "RS256"}), verdict.AlgorithmNotAllowed},
		{"crit", header(map[string]any{"crit": []string{"x"}, "x": 1}), verdict.CriticalHeader},
		{"unknown kid", header(map[string]any{"kid": "x"}), verdict.UnknownKey},
		{"another typ", header(map[string]any{"typ": "logout+jwt"}), verdict.WrongType},
		{"tampered", tamper(good, mint(nil)), verdict.BadSignature},
		{"another issuer", mint(map[string]any{"iss": "https://else.example"}), verdict.WrongIssuer},
		{"no issuer", mint(map[string]any{"iss": nil}), verdict.MissingClaim},
		{"no expiry", mint(map[string]any{"exp": nil}), verdict.MissingClaim},
		{"another audience", mint(map[string]any{"aud": "else"}), verdict.WrongAudience},
		{"expired", mint(map[string]any{"iat": now - 700, "nbf": now - 700, "exp": now - 60}), verdict.Expired},
		{"not yet", mint(map[string]any{"nbf": now + 60}), verdict.NotYetValid},
		{"from the future", mint(map[string]any{"iat": now + 60}), verdict.IssuedInFuture},
		{"for too long", mint(map[string]any{"exp": now + 90_000}), verdict.LifetimeTooLong},
		{"bound to a key", mint(map[string]any{"cnf": map[string]any{"jkt": "x"}}), verdict.ProofRequired},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := h.Verify(t.Context(), tt.token)
			require.ErrorIs(t, err, tt.want)
			assert.Equal(t, verdict.Principal{}, p)
		})
	}
}

// tamper gives a token the signature of another one.
func tamper(token, other string) string {
	return token[:strings.LastIndexByte(token, '.')] + other[strings.LastIndexByte(other, '.'):]
}

func TestEveryAlgorithm(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	tokens := map[string]string{"ES256": issuer.Mint(nil)}
	for _, a := range []string{"ES384", "RS256", "PS256", "EdDSA"} {
		issuer.Rotate(a)
		tokens[a] = issuer.Mint(nil)
	}
	h := start(t, host.Config{Policy: issuer.Policy()})
	for name, token := range tokens {
		_, err := h.Verify(t.Context(), token)
		assert.NoError(t, err, name)
	}
}

func TestConfigError(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	_, err := tryStart(t, host.Config{Policy: document(t, issuer, func(issuer, policy map[string]any) {
		issuer["leeway"] = 1000
		policy["rulez"] = 1
		issuer["dialect"] = "else"
	})})
	var faults *host.ConfigError
	require.ErrorAs(t, err, &faults)
	paths := map[string]bool{}
	for _, f := range faults.Faults {
		paths[f.Path] = true
		assert.NotEmpty(t, f.Problem)
		assert.ErrorContains(t, err, f.Path+": "+f.Problem)
	}
	assert.True(t, paths["/policy/issuers/0/leeway"], err)
	assert.True(t, paths["/policy/rulez"], err)
	assert.GreaterOrEqual(t, len(faults.Faults), 3)
}

func TestNewRefuses(t *testing.T) {
	policy := []byte("{}")
	for _, tt := range []struct {
		name, want string
		config     host.Config
	}{
		{"no module", "Module: is empty", host.Config{Policy: policy}},
		{"no policy", "exactly one", host.Config{Module: []byte("x")}},
		{"two policies", "exactly one", host.Config{Module: []byte("x"), Policy: policy, PolicyFile: "x"}},
		{"negative bounds", "Instances: is negative", host.Config{Module: []byte("x"), Policy: policy, Instances: -1}},
		{"too much memory", "MemoryLimit", host.Config{Module: []byte("x"), Policy: policy, MemoryLimit: 5 << 30}},
		{"no file", "no such file", host.Config{Module: []byte("x"), PolicyFile: "/nowhere/policy.json"}},
		{"module that is none", "no usable guest", host.Config{Module: []byte("x"), Policy: policy}},
		{"too little memory", "no usable guest", host.Config{Policy: policy, MemoryLimit: 64 << 10}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "too little memory" {
				tt.config.Module = guesttest.Core(t)
			}
			_, err := host.New(t.Context(), tt.config)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestExplain(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	h := start(t, host.Config{Policy: issuer.Policy()})
	reasons := func(token string) map[string]verdict.Reason {
		checks, err := h.Explain(t.Context(), token)
		require.NoError(t, err)
		m := map[string]verdict.Reason{}
		for _, c := range checks {
			if !c.Skipped {
				m[c.Name] = c.Reason
			}
		}
		return m
	}
	for name, reason := range reasons(issuer.Mint(nil)) {
		assert.Equal(t, verdict.None, reason, name)
	}
	// Every fault is told, not the first alone.
	got := reasons(issuer.Mint(map[string]any{"aud": "else", "exp": 1000, "iat": 500, "nbf": 500}))
	assert.Equal(t, verdict.Expired, got["exp"])
	assert.Equal(t, verdict.WrongAudience, got["audience"])
	assert.Equal(t, verdict.None, got["signature"])
	assert.Equal(t, verdict.Malformed, reasons("x")["form"])
}

func TestClockFloor(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	c := newClock()
	h := start(t, host.Config{Policy: issuer.Policy(), Now: c.now, ClockFloor: c.now().Add(time.Hour)})
	token := issuer.Mint(nil)
	_, err := h.Verify(t.Context(), token)
	require.ErrorIs(t, err, verdict.ClockUnusable)
	d, err := h.Filter(t.Context(), host.Request{Method: "GET", Host: "h", Path: "/", Headers: []verdict.Field{{Name: "Authorization", Value: "Bearer " + token}}})
	require.NoError(t, err)
	assert.Equal(t, verdict.ClockUnusable, d.Reason)
	assert.Equal(t, 503, d.Status)

	// The guest's own floor: a frozen clock of 2022 is refused, unless there is none.
	frozen := time.Date(2022, 1, 1, 0, 0, 0, 0, time.UTC)
	issuer.SetNow(func() time.Time { return frozen })
	token = issuer.Mint(nil)
	h = start(t, host.Config{Policy: issuer.Policy(), Now: func() time.Time { return frozen }})
	_, err = h.Verify(t.Context(), token)
	require.ErrorIs(t, err, verdict.ClockUnusable)
	h = start(t, host.Config{Policy: issuer.Policy(), Now: func() time.Time { return frozen }, ClockFloor: time.Unix(0, 0)})
	_, err = h.Verify(t.Context(), token)
	require.NoError(t, err)
}

func TestWaitForAnInstanceIsBounded(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	issuer.SetMaxAge(time.Hour)
	h := start(t, host.Config{Policy: issuer.Policy(), Instances: 1})
	_, release, err := h.Hold(t.Context())
	require.NoError(t, err)
	token := issuer.Mint(nil)

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	began := time.Now()
	p, err := h.Verify(ctx, token)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, err, verdict.Internal)
	assert.Equal(t, verdict.Principal{}, p)
	assert.Less(t, time.Since(began), 5*time.Second)

	d, err := h.Filter(ctx, host.Request{Method: "GET", Path: "/"})
	require.ErrorIs(t, err, verdict.Internal)
	assert.False(t, d.Forward)
	assert.Equal(t, 503, d.Status)
	assert.Contains(t, string(d.Body), `"code":"internal"`)

	served := make(chan error)
	go func() {
		_, err := h.Verify(context.Background(), token)
		served <- err
	}()
	release()
	require.NoError(t, <-served)
	assert.Equal(t, 1, h.Live())
}

func TestBrokenInstances(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	h := start(t, host.Config{Module: guesttest.CoreWithTestCalls(t), Policy: issuer.Policy(), Instances: 1, MemoryLimit: 32 << 20})
	token := issuer.Mint(nil)
	for name, call := range map[string]abi.Call{"panic": abi.CallTestPanic, "trap": abi.CallTestTrap, "out of memory": abi.CallTestGrow} {
		t.Run(name, func(t *testing.T) {
			_, err := h.Call(t.Context(), call, "")
			require.Error(t, err)
			assert.Zero(t, h.Live(), "thrown away")
			_, err = h.Verify(t.Context(), token)
			require.NoError(t, err, "the next one has its keys too")
		})
	}
	assert.EqualValues(t, 3, metric(t, h, "sessiongate_guest_instances_broken_total", ""))
	assert.EqualValues(t, 4, metric(t, h, "sessiongate_guest_instances_started_total", ""))
}

func TestUntrusted(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	h := start(t, host.Config{Module: guesttest.CoreWithTestCalls(t), Policy: issuer.Policy(), Instances: 1, Untrusted: true, CallTimeout: 500 * time.Millisecond})
	began := time.Now()
	_, err := h.Call(t.Context(), abi.CallTestLoop, "")
	require.ErrorContains(t, err, "interrupted")
	assert.GreaterOrEqual(t, time.Since(began), 500*time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err = h.Call(ctx, abi.CallTestLoop, "")
	require.ErrorContains(t, err, "interrupted")
	require.Eventually(t, func() bool {
		_, err = h.Verify(t.Context(), issuer.Mint(nil))
		return err == nil
	}, 10*time.Second, time.Millisecond, "%v", err)
}

// Calls that accept and calls that refuse leave an instance as large as it was.
func TestMemoryStaysFlat(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	issuer.Rotate("EdDSA")
	h := start(t, host.Config{Policy: issuer.Policy(), Instances: 1})
	good := issuer.Mint(nil)
	size := func() int64 {
		memory, release, err := h.Hold(t.Context())
		require.NoError(t, err)
		defer release()
		return memory()
	}
	round := func(refused, accepted int) {
		for range accepted {
			_, err := h.Verify(t.Context(), good)
			require.NoError(t, err)
			_, err = h.Filter(t.Context(), host.Request{Method: "GET", Host: "h", Path: "/", Headers: []verdict.Field{{Name: "authorization", Value: "Bearer " + good}}})
			require.NoError(t, err)
		}
		for range refused {
			_, err := h.Verify(t.Context(), good[:len(good)-4])
			require.Error(t, err)
			_, err = h.Filter(t.Context(), host.Request{Method: "GET", Host: "h", Path: "//"})
			require.NoError(t, err)
		}
	}
	round(200, 50)
	before := size()
	round(5000, 200)
	assert.Equal(t, before, size())
}

func TestClose(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	h, err := tryStart(t, host.Config{Policy: issuer.Policy()})
	require.NoError(t, err)
	token := issuer.Mint(nil)
	var running sync.WaitGroup
	var done atomic.Int64
	for range 4 {
		running.Go(func() {
			for {
				_, err := h.Verify(context.Background(), token)
				if errors.Is(err, host.ErrClosed) {
					return
				}
				if !assert.NoError(t, err) {
					return
				}
				done.Add(1)
			}
		})
	}
	require.Eventually(t, func() bool { return done.Load() > 3 }, 30*time.Second, time.Millisecond)
	require.NoError(t, h.Close())
	running.Wait()
	require.NoError(t, h.Close(), "twice")
	_, err = h.Filter(t.Context(), host.Request{})
	require.ErrorIs(t, err, host.ErrClosed)
	_, err = h.Explain(t.Context(), "")
	require.ErrorIs(t, err, host.ErrClosed)
	require.ErrorIs(t, h.Swap(t.Context(), nil, nil), host.ErrClosed)
	require.ErrorIs(t, h.Reload(t.Context()), host.ErrClosed)
	require.ErrorIs(t, h.UpdateKeys("x", nil), host.ErrClosed)
	assert.Nil(t, h.Keys())
	assert.Nil(t, h.IdentityHeaders())
}

// Verify, filter, update keys and swap policy and module, all at once: every good
// token is accepted, every bad one refused.
func TestHammer(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	issuer.Rotate("EdDSA") // half as slow as ES256
	h := start(t, host.Config{Policy: issuer.Policy(), Instances: 3})
	good, bad := issuer.Mint(nil), issuer.Mint(map[string]any{"aud": "else"})
	ctx, stop := context.WithTimeout(t.Context(), 6*time.Second)
	defer stop()
	var accepted, refused, updates, swaps atomic.Int64
	var all sync.WaitGroup
	loop := func(n *atomic.Int64, pause time.Duration, act func() bool) {
		all.Go(func() {
			for ctx.Err() == nil {
				if !act() {
					return
				}
				n.Add(1)
				time.Sleep(pause)
			}
		})
	}
	for range 3 {
		loop(&accepted, 0, func() bool {
			_, err := h.Verify(context.Background(), good)
			return assert.NoError(t, err)
		})
	}
	loop(&refused, 0, func() bool {
		_, err := h.Verify(context.Background(), bad)
		return assert.ErrorIs(t, err, verdict.WrongAudience)
	})
	loop(&accepted, 0, func() bool {
		d, err := h.Filter(context.Background(), host.Request{Method: "GET", Host: "h", Path: "/", Headers: []verdict.Field{{Name: "Authorization", Value: "Bearer " + good}}})
		return assert.NoError(t, err) && assert.True(t, d.Forward, d.Reason)
	})
	loop(&updates, 5*time.Millisecond, func() bool {
		return assert.NoError(t, h.UpdateKeys(issuer.URL(), issuer.KeySet()))
	})
	loop(&updates, 20*time.Millisecond, func() bool {
		return assert.Error(t, h.UpdateKeys(issuer.URL(), []byte(`{"keys":[]}`)))
	})
	loop(&swaps, 50*time.Millisecond, func() bool {
		return assert.NoError(t, h.Swap(context.Background(), nil, issuer.Policy()))
	})
	loop(&swaps, 500*time.Millisecond, func() bool {
		return assert.NoError(t, h.Swap(context.Background(), guesttest.Core(t), nil))
	})
	loop(&swaps, 70*time.Millisecond, func() bool {
		return assert.Error(t, h.Swap(context.Background(), nil, []byte(`{}`)))
	})
	all.Wait()
	for name, n := range map[string]*atomic.Int64{"accepted": &accepted, "refused": &refused, "updates": &updates, "swaps": &swaps} {
		assert.Greater(t, n.Load(), int64(3), name)
	}
	t.Logf("accepted %d, refused %d, updates %d, swaps %d", accepted.Load(), refused.Load(), updates.Load(), swaps.Load())
}

func TestSwap(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	h := start(t, host.Config{Policy: issuer.Policy()})
	good, other := issuer.Mint(nil), issuer.Mint(map[string]any{"aud": "other"})
	verify := func(token string, want error) {
		t.Helper()
		_, err := h.Verify(t.Context(), token)
		if want == nil {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, want)
		}
	}
	verify(good, nil)
	verify(other, verdict.WrongAudience)

	var faults *host.ConfigError
	require.ErrorAs(t, h.Swap(t.Context(), nil, []byte(`{"version":2}`)), &faults)
	require.Error(t, h.Swap(t.Context(), []byte("not wasm"), nil))
	require.Error(t, h.Swap(t.Context(), guesttest.Core(t), []byte(`{}`)))
	verify(good, nil)
	assert.EqualValues(t, 3, metric(t, h, "sessiongate_swaps_total", "refused"))

	// Keys are carried over: the issuer is down and good tokens still pass.
	issuer.SetDown(true)
	require.NoError(t, h.Swap(t.Context(), nil, document(t, issuer, func(issuer, _ map[string]any) { issuer["audience"] = []string{"other"} })))
	verify(good, verdict.WrongAudience)
	verify(other, nil)
	require.NoError(t, h.Swap(t.Context(), guesttest.CoreWithTestCalls(t), nil))
	verify(other, nil)
	_, err := h.Call(t.Context(), abi.CallTestPanic, "")
	require.ErrorContains(t, err, "broken", "it is the other module")
	require.NoError(t, h.Swap(t.Context(), guesttest.Core(t), issuer.Policy()))
	verify(good, nil)
	assert.EqualValues(t, 3, metric(t, h, "sessiongate_swaps_total", "done"))

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, h.Swap(cancelled, nil, document(t, issuer, func(issuer, _ map[string]any) { issuer["jwks_uri"] = "https://127.0.0.1:1/" })))
	verify(good, nil)
}

func TestSwapLeavesNothingBehind(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	h := start(t, host.Config{Policy: issuer.Policy()})
	require.NoError(t, h.Swap(t.Context(), nil, nil))
	before := runtime.NumGoroutine()
	for range 20 {
		require.NoError(t, h.Swap(t.Context(), nil, nil))
	}
	assert.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+2 }, 5*time.Second, 10*time.Millisecond)
	assert.Equal(t, 1, h.Live())
}

// metric reads one of the host's metrics; label is the value of its last label, "" for none.
func metric(t *testing.T, h *host.Host, name, label string) float64 {
	t.Helper()
	for _, m := range gather(t, h)[name] {
		labels := m.GetLabel()
		if label == "" || len(labels) > 0 && labels[len(labels)-1].GetValue() == label {
			if m.Counter != nil {
				return m.GetCounter().GetValue()
			}
			return m.GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s %s", name, label)
	return 0
}
