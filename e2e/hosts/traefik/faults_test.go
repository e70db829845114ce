package traefik_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/host/hosttest"
)

// However a guest breaks, the request that it broke over does not go on, and what an
// instance does afterwards is either right or a refusal.
func TestBrokenGuest(t *testing.T) {
	eachHost(t, func(t *testing.T, start func(*testing.T, *settings) *server) {
		for _, tt := range []struct {
			how    string
			status int
			heals  bool // the instance itself
		}{
			{"panic", http.StatusServiceUnavailable, true},
			{"nil", http.StatusServiceUnavailable, true},
			{"host-trap", http.StatusInternalServerError, false},
			{"trap", http.StatusInternalServerError, false},
		} {
			t.Run(tt.how, func(t *testing.T) { breaks(t, start, tt.how, tt.status, tt.heals) })
		}
	})
}

// An instance may take 4 GiB: that should be another process.
func TestExhaustedMemory(t *testing.T) {
	breaks(t, starter(hosts["engine"]), "memory", http.StatusInternalServerError, false)
}

func breaks(t *testing.T, start func(*testing.T, *settings) *server, how string, status int, heals bool) {
	t.Helper()
	var admitted atomic.Int32
	issuer := hosttest.NewIssuer(t)
	keys := t.TempDir()
	confirm(t, issuer, keys, 0)
	s := start(t, &settings{tags: "sgtest", keys: keys, policy: document(t, issuer, nil), upstream: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		admitted.Add(1)
	})})
	good := bearer(issuer.Mint(nil))
	require.Equal(t, http.StatusOK, s.get(t, "/", "Authorization", good).status, s.log())
	require.Equal(t, int32(1), admitted.Load())
	broken := s.get(t, "/", "Authorization", good, "X-Sabotage", how)
	assert.Equal(t, status, broken.status, broken.body)
	assert.Equal(t, int32(1), admitted.Load(), "it went on")
	refusals := []int{http.StatusServiceUnavailable, http.StatusInternalServerError}
	passed, refused := int32(1), 0
	for range 20 {
		assert.Contains(t, append(refusals, http.StatusUnauthorized), s.get(t, "/").status)
		if a := s.get(t, "/", "Authorization", good); a.status == http.StatusOK {
			passed++
		} else if assert.Contains(t, refusals, a.status, a.body) {
			refused++
		}
	}
	assert.Equal(t, passed, admitted.Load())
	t.Logf("%s: status %d, %q; then %d of 20 refused", how, broken.status, broken.body[:min(len(broken.body), 80)], refused)
	if heals {
		time.Sleep(1100 * time.Millisecond)
		for range 10 {
			assert.Equal(t, http.StatusOK, s.get(t, "/", "Authorization", good).status)
		}
	}
}

// Nothing ends a loop in these hosts; the request waits until the client gives up.
func TestEndlessLoop(t *testing.T) {
	start := starter(hosts["engine"]) // a process of its own, which ends with the test
	issuer := hosttest.NewIssuer(t)
	keys := t.TempDir()
	confirm(t, issuer, keys, 0)
	var admitted atomic.Int32
	s := start(t, &settings{tags: "sgtest", keys: keys, policy: document(t, issuer, nil),
		upstream: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { admitted.Add(1) })})
	good := bearer(issuer.Mint(nil))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", good)
	r.Header.Set("X-Sabotage", "loop")
	_, err = http.DefaultTransport.RoundTrip(r)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Zero(t, admitted.Load())
	assert.Equal(t, http.StatusOK, s.get(t, "/", "Authorization", good).status, "others are judged by other instances")
}

// Many slow requests at once: each holds an instance.
func TestManySlowRequests(t *testing.T) {
	const many = 100
	start := starter(hosts["engine"])
	issuer := hosttest.NewIssuer(t)
	keys := t.TempDir()
	confirm(t, issuer, keys, 0)
	var inFlight atomic.Int32
	release := make(chan struct{})
	s := start(t, &settings{keys: keys, policy: document(t, issuer, nil), upstream: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		inFlight.Add(1)
		<-release
	})})
	good := bearer(issuer.Mint(nil))
	before := s.memory(t)
	var wg sync.WaitGroup
	began := time.Now()
	for range many {
		wg.Go(func() {
			r, err := http.NewRequest(http.MethodGet, s.url, nil)
			if !assert.NoError(t, err) {
				return
			}
			assert.Equal(t, http.StatusOK, s.do(t, r, "Authorization", good).status)
		})
	}
	require.Eventually(t, func() bool { return inFlight.Load() == many }, time.Minute, 10*time.Millisecond, s.log())
	took := time.Since(began)
	during := s.memory(t)
	close(release)
	wg.Wait()
	per := (during.Resident - before.Resident) / many
	t.Logf("resident %d KiB before, %d KiB with %d requests in flight: %d KiB for each; heap %d KiB each; %s until all were there",
		before.Resident, during.Resident, many, per, (during.Heap-before.Heap)/many/1024, took)
	assert.Less(t, per, 12<<10, "KiB for each instance")
}
