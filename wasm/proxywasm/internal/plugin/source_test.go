package plugin

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// three threads with one configuration.
func threads(t *testing.T, w *world, document string) []*thread {
	var list []*thread
	for range 3 {
		h := w.thread(t)
		require.True(t, h.configure(1, document), h.log)
		list = append(list, h)
	}
	return list
}

func TestOneFetchForAllThreads(t *testing.T) {
	w := newWorld()
	all := threads(t, w, fetched(fromURI))
	for _, h := range all {
		assert.Equal(t, "keys_unavailable", h.reason("a"))
		assert.EqualValues(t, 100, h.period)
	}
	assert.Empty(t, w.calls, "not while starting: the proxy's trial instance would fetch too")
	w.after(100, all...)
	w.after(100, all...)
	c := w.one(t)
	assert.Equal(t, "idp", c.cluster)
	assert.Equal(t, map[string]string{":method": "GET", ":scheme": "https", ":authority": "issuer.example:8443", ":path": "/keys?x=1",
		"accept": "application/jwk-set+json, application/json", "user-agent": "sessiongate"}, c.head)
	c.answer("200", set("a"), `etag: "1"`, "cache-control: public, max-age=120", "age: 20")
	assert.Empty(t, c.thread.reason("a"))
	w.after(100, all...)
	for _, h := range all {
		assert.Empty(t, h.reason("a"))
		assert.EqualValues(t, 500, h.period)
	}
	for range 198 { // 100 s
		w.after(500, all...)
	}
	require.Empty(t, w.calls)
	w.after(1000, all...)
	c = w.one(t)
	assert.Equal(t, `"1"`, c.head["if-none-match"])
	confirmed := w.now
	c.answer("304", "", "cache-control: max-age=120")
	w.after(500, all...)
	for _, h := range all {
		stats := h.vm.roots[1].guest.AppendStats(nil)
		assert.Contains(t, string(stats), `"usable":1,"confirmed_at":`+strconv.FormatInt(confirmed, 10), "a confirmation counts for all")
	}

	// A thread that starts later has the keys at once.
	late := w.thread(t)
	require.True(t, late.configure(1, fetched(fromURI)))
	assert.Empty(t, late.reason("a"))
	assert.Empty(t, w.calls)
}

// A kid that any thread misses is fetched by the one that leads, once per cooldown.
func TestUnknownKid(t *testing.T) {
	w := newWorld()
	all := threads(t, w, fetched(fromURI))
	w.after(100, all...)
	leader := w.calls[0].thread
	w.one(t).answer("200", set("a"))
	w.after(40_000, all...)
	other := all[0]
	if other == leader {
		other = all[1]
	}
	assert.Equal(t, "unknown_key", other.reason("b"))
	assert.Equal(t, "unknown_key", other.reason("c"))
	assert.Empty(t, w.calls, "not on the request path")
	w.after(500, all...)
	w.after(500, all...)
	c := w.one(t)
	assert.Same(t, leader, c.thread)
	c.answer("200", set("a", "b"))
	w.after(500, all...)
	for _, h := range all {
		assert.Empty(t, h.reason("b"))
		assert.Equal(t, "unknown_key", h.reason("c"))
	}
	for range 30 {
		w.after(500, all...)
	}
	assert.Empty(t, w.calls, "c was not brought, so it does not ask again")
	assert.Equal(t, "unknown_key", other.reason(strings.Repeat("long", 1000)))
	for range 40 {
		w.after(500, all...)
	}
	w.one(t)

	// However many there are, memory is bounded.
	for range 1000 {
		other.reason("x" + string(marshal(w.now)))
		w.now++
	}
	assert.Len(t, other.vm.roots[1].sources[0].kids, kidsKept)
	for range 10 {
		other.vm.Tick(1)
		for i := range 20 {
			other.reason("y" + string(marshal(w.now+int64(i))))
		}
		w.now += 100
	}
	assert.LessOrEqual(t, len(readKids(w.shared[all[0].vm.roots[1].sources[0].name+"/kids"].value)), kidsSent)
}

// When the leader is gone another one takes over, and keeps the pause between fetches.
func TestTakeOver(t *testing.T) {
	w := newWorld()
	all := threads(t, w, fetched(fromURI))
	w.after(100, all...)
	leader := w.calls[0].thread
	w.one(t).answer("200", set("a"), "cache-control: max-age=300")
	var rest []*thread
	for _, h := range all {
		if h != leader {
			rest = append(rest, h)
		}
	}
	w.after(500, all...)
	// Its VM traps and is built anew: Go state gone, shared data kept.
	leader.vm = New(leader, 0)
	require.True(t, leader.configure(1, fetched(fromURI)))
	assert.Empty(t, leader.reason("a"), "the keys are there at once")
	for range 12 { // 6 s
		w.after(500, rest...)
	}
	assert.Empty(t, w.calls, "within the cooldown")
	for range 60 {
		w.after(500, rest...)
	}
	c := w.one(t)
	assert.NotSame(t, leader, c.thread)
	c.answer("200", set("b"), "cache-control: max-age=300")
	w.after(500, rest...)
	for _, h := range rest {
		assert.Empty(t, h.reason("b"))
	}
	// The one that was away for long adopts, and does not lead.
	assert.Equal(t, "unknown_key", leader.reason("b"))
	w.after(500, all...)
	assert.Empty(t, leader.reason("b"))
	assert.Empty(t, w.calls)
}

// A leader that stood still while another took over publishes nothing.
func TestDeposedLeader(t *testing.T) {
	w := newWorld()
	all := threads(t, w, fetched(fromURI))
	w.after(100, all...)
	c := w.one(t)
	var rest []*thread
	for _, h := range all {
		if h != c.thread {
			rest = append(rest, h)
		}
	}
	for range 70 {
		w.after(500, rest...)
	}
	second := w.one(t)
	second.answer("200", set("b"))
	w.after(500, rest...)
	c.thread.vm.Tick(1) // adopts, and forgets its order
	c.answer("200", set("a"))
	w.after(500, all...)
	for _, h := range all {
		assert.Empty(t, h.reason("b"))
		assert.Equal(t, "unknown_key", h.reason("a"))
	}
}

func TestOutages(t *testing.T) {
	w := newWorld()
	all := threads(t, w, fetched(fromURI))
	w.after(100, all...)
	w.one(t).answer("503", "no healthy upstream")
	assert.Equal(t, "keys_unavailable", all[0].reason("a"))
	for range 12 {
		w.after(100, all...)
	}
	c := w.one(t) // after a second, since there are no keys at all
	for _, bad := range []string{"{", `{"keys":[]}`, "<html>"} {
		c.answer("200", bad)
		for len(w.calls) == 0 {
			w.after(100, all...)
		}
		c = w.one(t)
	}
	c.answer("200", strings.Repeat(" ", largestBody+1))
	for len(w.calls) == 0 {
		w.after(100, all...)
	}
	w.one(t).answer("200", set("a"), `etag: "1"`)
	w.after(500, all...)
	from := w.now
	for w.now-from < 590_000 { // the bound is 600 s
		w.after(500, all...)
		if len(w.calls) > 0 {
			w.one(t).answer("504", "")
		}
	}
	for _, h := range all {
		assert.Empty(t, h.reason("a"), "the last good set stays")
	}
	for w.now-from < 610_000 {
		w.after(500, all...)
		if len(w.calls) > 0 {
			w.one(t).answer("302", "", "location: https://evil.example/")
		}
	}
	for _, h := range all {
		assert.Equal(t, "keys_stale", h.reason("a"))
	}
	late := w.thread(t)
	require.True(t, late.configure(1, fetched(fromURI)))
	assert.Equal(t, "keys_stale", late.reason("a"), "what is adopted is as old as it is")
	for len(w.calls) == 0 {
		w.after(500, all...)
	}
	w.one(t).answer("304", "")
	w.after(500, append(all, late)...)
	for _, h := range append(all, late) {
		assert.Empty(t, h.reason("a"))
	}
	log := strings.Join(all[0].log, "\n") + strings.Join(all[1].log, "\n") + strings.Join(all[2].log, "\n")
	assert.Contains(t, log, "the answer has status 504")
	assert.Contains(t, log, "the answer is over 1 MiB")
	assert.Contains(t, log, "no key set with a usable key")
	assert.Less(t, strings.Count(log, "\n"), 15, "a problem is logged once")
}

func TestACallThatIsNeverAnswered(t *testing.T) {
	w := newWorld()
	h := w.thread(t)
	require.True(t, h.configure(1, fetched(fromURI)))
	w.after(100, h)
	lost := w.one(t)
	for range 215 {
		w.after(100, h)
	}
	w.one(t).answer("200", set("a"))
	assert.Empty(t, h.reason("a"))
	lost.answer("200", set("b"))
	assert.Empty(t, h.reason("a"), "too late")

	w = newWorld()
	h = w.thread(t)
	w.denied["call"] = true
	require.True(t, h.configure(1, fetched(fromURI)))
	w.after(100, h)
	assert.Contains(t, strings.Join(h.log, "\n"), "is there a cluster of that name?")
	w.denied["call"] = false
	w.after(1000, h)
	w.one(t)
}

func TestDiscovery(t *testing.T) {
	metadata := func(iss, uri string) string { return string(marshal(object{"issuer": iss, "jwks_uri": uri})) }
	document := fetched(`"discovery": "https://issuer.example/.well-known/openid-configuration", "cooldown": 30`)
	for name, bad := range map[string]string{
		"another issuer": metadata("https://other.example", "https://issuer.example/keys"),
		"http":           metadata(issuer, "http://issuer.example/keys"),
		"userinfo":       metadata(issuer, "https://a@issuer.example/keys"),
		"no uri":         `{"issuer": "` + issuer + `"}`,
		"twice":          `{"issuer": "` + issuer + `", "jwks_uri": "https://issuer.example/a", "jwks_uri": "https://issuer.example/b"}`,
		"not JSON":       "<html>",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			h := w.thread(t)
			require.True(t, h.configure(1, document))
			w.after(100, h)
			w.one(t).answer("200", bad)
			assert.Empty(t, w.calls)
			assert.Equal(t, "keys_unavailable", h.reason("a"))
			w.after(1000, h)
			w.one(t) // asks again
		})
	}
	w := newWorld()
	h := w.thread(t)
	require.True(t, h.configure(1, document))
	w.after(100, h)
	c := w.one(t)
	assert.Equal(t, "/.well-known/openid-configuration", c.head[":path"])
	c.answer("200", metadata(issuer, "https://keys.example?set=1"))
	c = w.one(t)
	assert.Equal(t, "keys.example", c.head[":authority"])
	assert.Equal(t, "/?set=1", c.head[":path"])
	assert.Equal(t, "idp", c.cluster)
	c.answer("200", set("a"), `etag: "1"`, "cache-control: max-age=60")
	assert.Empty(t, h.reason("a"))
	w.after(61_000, h)
	c = w.one(t)
	assert.Equal(t, "keys.example", c.head[":authority"], "the metadata are known")
	assert.Equal(t, `"1"`, c.head["if-none-match"])
	c.answer("404", "")
	w.after(40_000, h)
	c = w.one(t)
	assert.Equal(t, "/.well-known/openid-configuration", c.head[":path"], "and asked again after a failure")
	c.answer("200", metadata(issuer, "https://new.example/keys"))
	c = w.one(t)
	assert.NotContains(t, c.head, "if-none-match", "that tag is of another place")
	c.answer("304", "")
	assert.Empty(t, h.reason("a"))
}

// A new configuration keeps the keys, and the old one's sources go with it.
func TestConfigurationUpdateKeepsKeys(t *testing.T) {
	w := newWorld()
	h := w.thread(t)
	require.True(t, h.configure(1, fetched(fromURI)))
	w.after(100, h)
	w.one(t).answer("200", set("a"), "cache-control: max-age=300")
	require.True(t, h.configure(2, strings.Replace(fetched(fromURI), "600", "700", 1)))
	assert.Len(t, h.vm.sources, 2)
	require.Equal(t, Continue, h.request(2, "/", signed(w.now, "a")), "at once")
	h.vm.Delete(1)
	assert.Len(t, h.vm.sources, 1)
	for range 100 {
		w.now += 500
		h.vm.Tick(2)
	}
	w.one(t) // the cooldown is over, and the new one leads
	require.True(t, h.configure(3, inline("")))
	h.vm.Delete(2)
	assert.Empty(t, h.vm.sources)
}

// The clock set back by a day stops nothing.
func TestClockSetBack(t *testing.T) {
	w := newWorld()
	w.now += 86_400_000
	all := threads(t, w, fetched(fromURI))
	w.after(100, all...)
	w.one(t).answer("200", set("a"), "cache-control: max-age=60")
	w.after(500, all...)
	w.now -= 86_400_000
	for from := w.now; len(w.calls) == 0; {
		w.after(500, all...)
		require.Less(t, w.now-from, int64(70_000))
	}
	w.one(t).answer("200", set("b"))
	w.after(500, all...)
	for _, h := range all {
		assert.Empty(t, h.reason("b"))
	}
}
