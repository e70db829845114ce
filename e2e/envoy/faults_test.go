package envoy_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func replacing(old, new string) func(string) string {
	return func(text string) string {
		if !strings.Contains(text, old) {
			panic("the example has no " + old)
		}
		return strings.Replace(text, old, new, 1)
	}
}

func both(f, g func(string) string) func(string) string {
	return func(text string) string { return g(f(text)) }
}

// TestFaults breaks a guest that was built to be broken, in every way in which Envoy
// may skip it: no request passes, and where Envoy can recover, it does.
func TestFaults(t *testing.T) {
	p := start(t, setup{guest: "sgtest", edit: both(replacing("DROP_HEADER", "ALLOW"), replacing("normalize_path: true", "normalize_path: false"))})
	p.ready()
	t.Run("the guest alone", p.on(alone))
	t.Run("panic", p.on(panics))
	t.Run("traps", p.on(traps))
	t.Run("FAIL_OPEN", p.on(failOpen))
	t.Run("capabilities", p.on(capabilities))
	t.Run("a start that fails on workers", p.on(workerStart))
	t.Run("clock", p.on(clock))
	t.Run("endless loop", p.on(loop)) // last: that thread is gone
}

// alone is what Envoy's own settings keep from the guest in the example.
func alone(p *proxy, t *testing.T) {
	token := p.issuer.Mint(nil)
	r := p.get("/app", append(bearer(token), "x_user_id: evil", "X-User_ID: evil", "x_user_roles: evil")...)
	require.Equal(t, 200, r.status, r.body)
	assert.Equal(t, []string{"user_1"}, r.saw.Header["X-User-Id"])
	for name, values := range r.saw.Header {
		assert.NotContains(t, strings.Join(values, " "), "evil", name)
	}
	for _, path := range []string{"/app/../admin", "/app/%2e%2e/admin", "/app\\x", "/%61pp"} {
		assert.Equal(t, "bad_path", p.get(path, bearer(token)...).reason(), path)
	}
}

// panics cost the request, and others for about a second, until the guest has made itself anew.
func panics(p *proxy, t *testing.T) {
	before := p.upstream.requests()
	r := p.get("/healthz", "x-sabotage: panic")
	assert.Equal(t, 503, r.status)
	assert.Equal(t, "internal", r.reason())
	assert.Equal(t, before, p.upstream.requests())
	p.await(soon, "the guest is back", func() bool {
		p.get("/healthz")
		return strings.Contains(p.logged(), "started again")
	})
	p.ready()
	assert.Zero(t, p.stat("wasm.sessiongate.vm_reload_success"), "without Envoy's help")
}

// traps kill the VM of a thread; FAIL_RELOAD builds a new one.
func traps(p *proxy, t *testing.T) {
	for _, how := range []string{"trap", "memory"} {
		t.Run(how, func(t *testing.T) {
			before := p.upstream.requests()
			r := p.get("/app/trap-"+how, append(bearer(p.issuer.Mint(nil)), "x-sabotage: "+how)...)
			assert.Equal(t, 503, r.status)
			assert.Empty(t, r.body, "the panic's text goes to the log alone")
			assert.Equal(t, "wasm_fail_stream", p.access("/app/trap-" + how)["details"])
			assert.Equal(t, before, p.upstream.requests())
			p.ready()
		})
	}
	assert.GreaterOrEqual(t, p.stat("wasm.sessiongate.vm_reload_success"), 2)
}

// refusedByMark asks until every thread has skipped the guest, which then is refused by the filter behind.
func (p *proxy) refusedByMark(ask func() reply) {
	p.t.Helper()
	before := p.upstream.requests()
	seen := 0
	p.await(patience, "the filter behind refuses", func() bool {
		r := ask()
		require.NotEqual(p.t, 200, r.status)
		if r.status == 403 && strings.Contains(r.body, "RBAC: access denied") {
			seen++
		}
		return seen == 10
	})
	assert.Equal(p.t, before, p.upstream.requests(), "nothing reached the upstream")
}

// failOpen is what an operator may choose against all advice.
func failOpen(p *proxy, t *testing.T) {
	p.update(p.policy(nil), both(replacing("FAIL_RELOAD", "FAIL_OPEN"),
		both(replacing("reload_config: {backoff: {base_interval: 0.1s}}", ""), replacing("vm_id: sessiongate", "vm_id: open"))))
	p.ready()
	for range 20 { // both threads
		p.get("/healthz", "x-sabotage: trap")
	}
	p.refusedByMark(func() reply { return p.get("/app", bearer(p.issuer.Mint(nil))...) })
	p.refusedByMark(func() reply { return p.get("/healthz") })
}

// capabilities that leave out proxy_on_request_headers make Envoy call the guest for no request.
func capabilities(p *proxy, t *testing.T) {
	p.render(p.policy(nil), both(replacing("      vm_config:\n", `      capability_restriction_config:
        allowed_capabilities: {proxy_log: {}, proxy_on_vm_start: {}, proxy_on_configure: {}, proxy_on_context_create: {}, proxy_get_buffer_bytes: {}}
      vm_config:
`), replacing("vm_id: sessiongate", "vm_id: capable")))
	p.refusedByMark(func() reply { return p.get("/app", bearer(p.issuer.Mint(nil))...) })
	assert.Contains(t, p.logged(), "every request is refused")
}

// workerStart is a start that traps on the last threads to start. If the main thread is
// not among them, Envoy takes the configuration, and those workers skip the filter.
func workerStart(p *proxy, t *testing.T) {
	const sign = "Failed to configure thread-local Wasm plugin" // the only one there is
	for i := range 10 {
		p.update(p.policy(nil), replacing("vm_id: sessiongate", fmt.Sprintf("vm_id: good%d", i)))
		logged := len(p.logged())
		p.render(p.policy(object{"realm": "worker-start-trap"}), replacing("vm_id: sessiongate", fmt.Sprintf("vm_id: workers%d", i)))
		p.await(soon, "the start fails somewhere", func() bool { return strings.Contains(p.logged()[logged:], sign) })
		before, skipped := p.upstream.requests(), 0
		for range 40 {
			r := p.get("/app")
			require.Contains(t, []int{401, 403}, r.status)
			if r.status == 403 && strings.Contains(r.body, "RBAC: access denied") {
				skipped++
			}
		}
		assert.Equal(t, before, p.upstream.requests(), "nothing reached the upstream")
		if skipped > 0 {
			break
		}
		require.Less(t, i, 9, "no worker skipped the guest")
	}

	// A panic there is not a failed start: the guest refuses, and makes itself anew.
	p.render(p.policy(object{"realm": "worker-start-panic"}), replacing("vm_id: sessiongate", "vm_id: panics"))
	p.await(patience, "the guest refuses by itself", func() bool {
		return p.get("/app").reason() == "internal"
	})
}

// clock is that of a machine whose time is before the guest's build.
func clock(p *proxy, t *testing.T) {
	of := must(t, built["sgtest"])
	p.render(p.policy(nil), both(replacing("filename: "+of, "filename: "+must(t, built["2100"])), replacing("vm_id: sessiongate", "vm_id: clock")))
	seen := 0
	p.await(patience, "every thread refuses", func() bool { // the guest is other code, so it is compiled first
		if r := p.get("/healthz"); r.status != 503 || r.reason() != "clock_unusable" {
			seen = 0
			return false
		}
		seen++
		return seen == 12
	})
	assert.Equal(t, "clock_unusable", p.get("/app", bearer(p.issuer.Mint(nil))...).reason())
}

// loop takes a thread away for good; its requests hang and do not pass.
func loop(p *proxy, t *testing.T) {
	p.update(p.policy(nil), replacing("vm_id: sessiongate", "vm_id: loops"))
	p.ready()
	before := p.upstream.requests()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", p.url+"/healthz", nil)
	require.NoError(t, err)
	req.Header.Set("X-Sabotage", "loop")
	_, err = once.Do(req)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Equal(t, before, p.upstream.requests())
}
