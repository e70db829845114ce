package envoy_test

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// resident is the memory of Envoy in KiB.
func (p *proxy) resident() (kib int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	require.NoError(p.t, err)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			_, err := fmt.Sscan(rest, &kib)
			require.NoError(p.t, err)
		}
	}
	return kib
}

// load sends n requests over eight connections; every third one is refused, and one in a
// hundred asks for a key that is not there.
func (p *proxy) load(n int) {
	p.t.Helper()
	token, stranger := p.issuer.Mint(nil), p.issuer.MintWithHeader(object{"kid": "nobody's"}, nil)
	var next, wrong atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			c := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
			defer c.CloseIdleConnections()
			for {
				i := next.Add(1)
				headers, want := bearer(token), 200
				switch {
				case i > int64(n):
					return
				case i%100 == 0:
					headers, want = bearer(stranger), 401
				case i%3 == 0:
					headers, want = nil, 401
				}
				if p.do(c, "/app", append(headers, "x-user-id: evil")...).status != want {
					wrong.Add(1)
				}
			}
		})
	}
	wg.Wait()
	assert.Zero(p.t, wrong.Load())
}

// TestSoak watches Envoy's memory; SOAK is the number of requests.
func TestSoak(t *testing.T) {
	n := 20_000
	if text := os.Getenv("SOAK"); text != "" {
		var err error
		n, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	p := start(t, setup{})
	p.ready()
	p.load(n / 4)
	quarter := p.resident()
	p.load(n / 4)
	half := p.resident()
	p.load(n - n/4*2)
	all := p.resident()
	t.Logf("%d requests: %d KiB after a quarter, %d after half, %d after all", n, quarter, half, all)
	assert.LessOrEqual(t, float64(all), 1.05*float64(half), "growth in the second half")
	require.Equal(t, 200, p.get("/app", bearer(p.issuer.Mint(nil))...).status)
}

// processor is the time that Envoy has computed for, in milliseconds.
func (p *proxy) processor() (ms int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	require.NoError(p.t, err)
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	for _, field := range fields[11:13] { // utime and stime, in hundredths of a second
		n, err := strconv.Atoi(field)
		require.NoError(p.t, err)
		ms += 10 * n
	}
	return ms
}

// BenchmarkRequests is what a request costs Envoy in all, by the time that its process computes: on a machine that
// others use too, requests per second say little. The ratios are what counts.
func BenchmarkRequests(b *testing.B) {
	without := func(text string) string {
		start, end := strings.Index(text, "          - name: sessiongate\n"), strings.Index(text, "          - name: router\n")
		return text[:start] + text[end:]
	}
	jwt := func(text string) string { return strings.ReplaceAll(text, "audiences: [example]", "audiences: [test]") }
	for _, bb := range []struct {
		name    string
		setup   setup
		headers func(*proxy) []string
		status  int
	}{
		{"no filter", setup{edit: without}, func(*proxy) []string { return nil }, 200},
		{"jwt_authn, ES256", setup{file: "jwt_authn.yaml", edit: jwt}, func(p *proxy) []string { return bearer(p.issuer.Mint(nil)) }, 200},
		{"sessiongate, ES256", setup{}, func(p *proxy) []string { return bearer(p.issuer.Mint(nil)) }, 200},
		{"jwt_authn, refused", setup{file: "jwt_authn.yaml", edit: jwt}, func(*proxy) []string { return nil }, 401},
		{"sessiongate, refused", setup{}, func(*proxy) []string { return nil }, 401},
	} {
		b.Run(bb.name, func(b *testing.B) {
			p := start(b, bb.setup)
			headers := bb.headers(p)
			p.await(soon, "it answers", func() bool { return p.get("/app", headers...).status == bb.status })
			time.Sleep(2 * time.Second)
			before := p.processor()
			b.ResetTimer()
			b.SetParallelism(4)
			b.RunParallel(func(pb *testing.PB) {
				c := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
				defer c.CloseIdleConnections()
				for pb.Next() {
					if r := p.do(c, "/app", headers...); r.status != bb.status {
						b.Errorf("status %d", r.status)
					}
				}
			})
			b.StopTimer()
			b.ReportMetric(float64(p.processor()-before)*1000/float64(b.N), "µs-of-Envoy/op")
		})
	}
}
