package plugin

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/internal/guest"
)

// A start fails for the bytes of the configuration, with every fault in the log.
func TestBadConfigurations(t *testing.T) {
	for name, tt := range map[string]struct {
		document string
		want     []string
	}{
		"empty":          {"", []string{"sessiongate: configuration: : "}},
		"not JSON":       {"{", []string{"sessiongate: configuration: : "}},
		"several faults": {strings.Replace(strings.Replace(fetched(fromURI), "EdDSA", "none", 1), `"cooldown": 30`, `"cooldown": 0`, 1), []string{"/policy/issuers/0/algorithms/0: ", "/policy/issuers/0/cooldown: "}},
		"no cluster":     {strings.Replace(fetched(fromURI), `"idp"`, `""`, 1), []string{"/host/envoy/clusters/https:~1~1issuer.example"}},
		"files":          {strings.Replace(fetched(`"jwks_file": true`), `"clusters"`, `"cluster"`, 1), []string{"/policy/issuers/0/jwks_file"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newWorld().thread(t)
			require.False(t, h.configure(1, tt.document))
			log := strings.Join(h.log, "\n")
			for _, want := range tt.want {
				assert.Contains(t, log, want)
			}
			assert.Equal(t, Pause, h.request(1, "/public"), "and nothing passes")
			assert.Equal(t, "internal", h.response.details)
		})
	}
}

func TestABadConfigurationLeavesTheGoodOne(t *testing.T) {
	h := configured(t, "")
	h.config = "{"
	require.False(t, h.vm.Configure(1, 1))
	assert.Equal(t, Continue, h.request(1, "/", bearer(nil)))
}

// Whatever else goes wrong at a start, the start succeeds, nothing passes, and it is
// tried again.
func TestAProxyThatCannotStart(t *testing.T) {
	for _, denied := range []string{"metrics", "shared", "tick"} {
		t.Run(denied, func(t *testing.T) {
			w := newWorld()
			h := w.thread(t)
			w.denied[denied] = true
			require.True(t, h.configure(1, fetched(fromURI)))
			require.Len(t, h.log, 1)
			assert.Contains(t, h.log[0], "every request is refused")
			assert.Equal(t, "internal", h.reason("a"))
			w.after(500, h)
			w.after(600, h) // tried again, in vain
			assert.Equal(t, "internal", h.reason("a"))
			w.denied[denied] = false
			w.after(1000, h)
			assert.Equal(t, "internal", h.reason("a"), "the pause grows")
			w.now += 1000
			assert.Equal(t, "keys_unavailable", h.reason("a"), h.log)
			assert.Contains(t, h.log[len(h.log)-1], "started again")
			w.after(100, h)
			w.one(t).answer("200", set("a"))
			assert.Empty(t, h.reason("a"))
		})
	}
	t.Run("configuration", func(t *testing.T) {
		h := newWorld().thread(t)
		h.denied["configuration"] = true
		require.True(t, h.configure(1, fetched(fromURI)))
		h.denied["configuration"] = false
		h.after(5000, h)
		assert.Equal(t, "internal", h.reason("a"), "there is nothing to start it with")
	})
}

// A panic costs the request, and no other for longer than it takes to start again.
func TestPanics(t *testing.T) {
	h := configured(t, "")
	require.Equal(t, Continue, h.request(1, "/", bearer(nil)))
	h.vm.roots[1].guest = guest.Guest{} // as if the heap were corrupt
	require.Equal(t, Pause, h.request(1, "/", bearer(nil)))
	assert.Equal(t, "internal", h.response.details)
	assert.Equal(t, 503, h.response.status)
	assert.NotContains(t, h.properties, "gate")
	require.Equal(t, Pause, h.request(1, "/public"), "nothing passes")
	require.Len(t, h.log, 1)
	assert.Contains(t, h.log[0], "panic")
	h.now += 999
	require.Equal(t, Pause, h.request(1, "/public"))
	h.now++
	require.Equal(t, Continue, h.request(1, "/", bearer(nil)), h.log)
	assert.Contains(t, h.log[1], "started again")

	// It takes every root along, and each comes back, whichever entry is the first.
	require.True(t, h.configure(2, inline("")))
	require.True(t, h.configure(3, inline("")))
	h.vm.roots[2].guest = guest.Guest{}
	require.Equal(t, Pause, h.request(2, "/", bearer(nil)))
	require.Equal(t, Pause, h.request(1, "/public"))
	h.now += 1000
	for root := range uint32(3) {
		require.Equal(t, Continue, h.request(root+1, "/", bearer(nil)), h.log)
	}

	// In every entry.
	for name, entry := range map[string]func(){
		"configure": func() { h.vm.host = nil; h.vm.Configure(1, 1) },
		"tick":      func() { h.vm.host = nil; h.vm.roots[1].broken = "x"; h.vm.Tick(1) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() { h.vm.host = h }()
			assert.Panics(t, entry, "without a host there is no way to tell of it")
			h.vm.host = h
			assert.Equal(t, Pause, h.request(1, "/public"), "what never came back is not trusted")
			h.vm.entered = false
		})
	}
}

// An entry that never came back, as a trap leaves it.
func TestAnInstanceThatTrapped(t *testing.T) {
	h := configured(t, "")
	h.vm.entered = true
	assert.Equal(t, Pause, h.request(1, "/public"))
	assert.Equal(t, "internal", h.response.details)
	assert.Equal(t, Pause, h.vm.RequestTrailers(1000))
	h.config = inline("")
	assert.True(t, h.vm.Configure(1, uint32(len(h.config))), "not the configuration's fault")
	h.vm.Tick(1)
	h.vm.CallResponse(1, 1, 0)
	assert.Equal(t, Pause, h.request(1, "/", bearer(nil)))
}

func TestRootsAreApart(t *testing.T) {
	h := configured(t, "")
	require.True(t, h.configure(2, strings.Replace(inline(""), `"path_prefix": "/public", "access": "public"`, `"path": "/other"`, 1)))
	assert.Equal(t, Continue, h.request(1, "/public"))
	assert.Equal(t, Pause, h.request(2, "/public"))
	h.vm.Create(50, 1)
	h.vm.Delete(1)
	h.properties = map[string]string{}
	assert.Equal(t, Continue, h.vm.RequestHeaders(50), "requests in flight finish on the old one")
	h.vm.Delete(50)
	assert.Equal(t, Pause, h.request(1, "/public"), "of a root that is gone")
	assert.Empty(t, h.vm.streams)
}
