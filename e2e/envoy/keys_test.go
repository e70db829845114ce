package envoy_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// everywhere asks until many connections in a row get a Reason ("" if they pass).
func (p *proxy) everywhere(limit time.Duration, reason string, token func() string) {
	p.t.Helper()
	seen := 0
	p.await(limit, "every thread says "+reason, func() bool {
		r := p.get("/app", bearer(token())...)
		if r.reason() != reason || reason == "" && r.status != 200 {
			seen = 0
			return false
		}
		seen++
		return seen == 12
	})
}

// fetches are asked for beside the requests, by one of three instances.
func keys(p *proxy, t *testing.T) {
	mint := func() string { return p.issuer.Mint(nil) }
	t.Run("one thread fetches", func(t *testing.T) {
		p.issuer.SetMaxAge(2 * time.Second)
		defer p.issuer.SetMaxAge(time.Second)
		time.Sleep(3 * time.Second)
		before, from := p.issuer.Fetches(), time.Now()
		time.Sleep(8 * time.Second)
		n := p.issuer.Fetches() - before
		assert.LessOrEqual(t, n, int(time.Since(from)/(2*time.Second))+1)
		assert.GreaterOrEqual(t, n, 2)
	})
	t.Run("unknown kids", func(t *testing.T) {
		p.issuer.SetMaxAge(time.Hour)
		defer p.issuer.SetMaxAge(time.Second)
		p.update(p.policy(nil, "jwks_uri", p.issuer.JWKSURL()+"?kids", "cooldown", 2), nil)
		p.everywhere(soon, "", mint)
		before := p.issuer.Fetches()
		time.Sleep(2 * time.Second)
		assert.Equal(t, before, p.issuer.Fetches(), "nobody asks while all is well")
		p.issuer.Rotate("ES256")
		p.everywhere(soon, "", mint)
		assert.Equal(t, before+1, p.issuer.Fetches())
		// Made-up kids ask once in a cooldown, however many they are.
		before = p.issuer.Fetches()
		from := time.Now()
		for i := 0; time.Since(from) < 5*time.Second; i++ {
			r := p.get("/app", bearer(p.issuer.MintWithHeader(object{"kid": time.Now().String()}, nil))...)
			require.Equal(t, "unknown_key", r.reason())
		}
		assert.LessOrEqual(t, p.issuer.Fetches()-before, int(time.Since(from)/(2*time.Second))+1)
	})
	t.Run("discovery", func(t *testing.T) {
		p.update(p.policy(nil, "discovery", p.issuer.DiscoveryURL()), nil)
		p.everywhere(soon, "", mint)
	})
	t.Run("issuer down at start, then up", func(t *testing.T) {
		p.issuer.SetDown(true)
		p.update(p.policy(nil, "jwks_uri", p.issuer.JWKSURL()+"?down"), nil)
		p.everywhere(soon, "keys_unavailable", mint)
		r := p.get("/app", bearer(mint())...)
		assert.Equal(t, 503, r.status)
		assert.Equal(t, "5", r.header.Get("Retry-After"))
		assert.Equal(t, 200, p.get("/healthz").status)
		p.issuer.SetDown(false)
		p.everywhere(soon, "", mint)
	})
	t.Run("issuer down later, then stale", func(t *testing.T) {
		p.update(p.policy(nil, "jwks_uri", p.issuer.JWKSURL()+"?stale", "max_stale", 6), nil)
		p.everywhere(soon, "", mint)
		p.issuer.SetDown(true)
		from := time.Now()
		for time.Since(from) < 3*time.Second {
			require.Equal(t, 200, p.get("/app", bearer(mint())...).status, "the last good keys stay")
		}
		p.everywhere(soon, "keys_stale", mint)
		assert.Less(t, time.Since(from), 12*time.Second)
		p.issuer.SetDown(false)
		p.everywhere(soon, "", mint)
	})
	p.update(p.policy(nil), nil)
	for _, mode := range []string{"slow", "garbage", "empty", "redirect", "huge", "hangs up"} {
		t.Run(mode, func(t *testing.T) {
			// Keys that are there stay; where there are none, nothing passes.
			p.everywhere(soon, "", mint)
			p.front.spoil(mode)
			defer p.front.spoil("")
			failed := p.stat("wasmcustom.sessiongate_fetches.outcome=failed") + p.stat("wasmcustom.sessiongate_fetches.outcome=rejected")
			p.await(soon, "it has failed twice", func() bool {
				require.Equal(t, 200, p.get("/app", bearer(mint())...).status)
				return p.stat("wasmcustom.sessiongate_fetches.outcome=failed")+p.stat("wasmcustom.sessiongate_fetches.outcome=rejected") >= failed+2
			})
			p.update(p.policy(nil, "jwks_uri", p.issuer.JWKSURL()+"?"+mode[:4]), nil)
			for range 10 {
				require.Equal(t, "keys_unavailable", p.get("/app", bearer(mint())...).reason())
				time.Sleep(100 * time.Millisecond)
			}
			p.front.spoil("")
			p.everywhere(soon, "", mint)
		})
	}
	t.Run("a cluster that is not there", func(t *testing.T) {
		policy := p.policy(nil, "jwks_uri", p.issuer.JWKSURL()+"?cluster")
		policy["host"] = object{"envoy": object{"clusters": object{p.issuer.URL(): "nobody"}}}
		p.update(policy, nil)
		p.everywhere(soon, "keys_unavailable", mint)
		assert.Contains(t, p.logged(), "is there a cluster of that name?")
		p.update(p.policy(nil), nil)
		p.everywhere(soon, "", mint)
	})
}

// rotation keeps the contract: the new key is published before it signs.
func rotation(p *proxy, t *testing.T) {
	const requests = 10_000
	p.ready()
	var tokens atomic.Pointer[[]string]
	mint := func() {
		var list []string
		for range 50 {
			list = append(list, p.issuer.Mint(nil))
		}
		tokens.Store(&list)
	}
	mint()
	var wg sync.WaitGroup
	var sent, refused atomic.Int64
	stop := make(chan struct{})
	for worker := range 8 { // connections, so that each of two threads has some
		wg.Go(func() {
			c := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
			defer c.CloseIdleConnections()
			for i := worker; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				list := *tokens.Load()
				if r := p.do(c, "/app", bearer(list[i%len(list)])...); r.status != 200 {
					refused.Add(1)
				}
				sent.Add(1)
			}
		})
	}
	old := (*tokens.Load())[0]
	for range 2 {
		p.issuer.Rotate("ES256") // published; the load goes on with tokens of the old key
		time.Sleep(4 * time.Second)
		mint()
	}
	p.await(patience, "requests are sent", func() bool { return sent.Load() >= requests })
	close(stop)
	wg.Wait()
	assert.Zero(t, refused.Load(), "of %d requests", sent.Load())
	p.issuer.Withdraw()
	p.everywhere(soon, "unknown_key", func() string { return old })
}
