package sessiongatecaddy

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// running is how many hosts there are for a policy.
func running(policy string) int {
	n := 0
	hosts.Range(func(k, _ any) bool {
		if k.(key).policy == policy {
			n++
		}
		return true
	})
	return n
}

func setLinger(t *testing.T, d time.Duration) {
	old := linger
	linger = d
	t.Cleanup(func() { linger = old })
}

// No valid token is refused while configurations replace each other, whether they
// share a host or not.
func TestReloadUnderLoad(t *testing.T) {
	s := newSite(t, nil).start()
	token := s.bearer(object{"sub": "ada"})
	stop := make(chan struct{})
	var asked atomic.Int64
	var wrong sync.Map
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			client := &http.Client{Transport: new(http.Transport)}
			defer client.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return
				default:
				}
				r, _ := http.NewRequest(http.MethodPost, s.url+"/", strings.NewReader("body"))
				r.GetBody = nil
				r.Header.Set("Authorization", token)
				resp, err := client.Do(r)
				if err != nil {
					// A server that goes closes idle connections, on which a request may be under
					// way: HTTP/1.1's own race, and no refusal.
					if !strings.Contains(err.Error(), "EOF") && !strings.Contains(err.Error(), "reset") {
						wrong.Store(err.Error(), true)
					}
					continue
				}
				if body := readAll(t, resp.Body); resp.StatusCode != 200 || body != "hello ada 4" {
					wrong.Store(fmt.Sprint(resp.StatusCode, body), true)
				}
				asked.Add(1)
			}
		})
	}
	wait := func() {
		from := asked.Load()
		require.Eventually(t, func() bool { return asked.Load() > from+50 }, 20*time.Second, time.Millisecond)
	}
	for i := range 6 {
		wait()
		switch i {
		case 1, 3:
			s.options = fmt.Sprintf("instances %d", i) // another host
		case 4:
			s.writePolicy(func(p object) { p["realm"] = "other" }) // the same one, with another policy
		}
		require.NoError(t, s.load())
	}
	wait()
	close(stop)
	load.Wait()
	wrong.Range(func(k, _ any) bool { t.Error(k); return true })
	assert.Equal(t, 3, running(s.policy), "hosts that configurations no longer use linger")
}

func TestHostsAreClosed(t *testing.T) {
	setLinger(t, 50*time.Millisecond)
	s := newSite(t, nil).start()
	s.options = "instances 1"
	require.NoError(t, s.load())
	assert.Eventually(t, func() bool { return running(s.policy) == 1 }, 10*time.Second, 10*time.Millisecond)
	status, _ := s.get("/", "Authorization", s.bearer(nil))
	assert.Equal(t, 200, status)
}

// A reload keeps keys: it needs no issuer that is up.
func TestReloadWhileIssuerIsDown(t *testing.T) {
	s := newSite(t, nil).start()
	s.issuer.SetDown(true)
	s.writePolicy(func(p object) { p["realm"] = "other" })
	require.NoError(t, s.load())
	status, body := s.get("/", "Authorization", s.bearer(nil))
	assert.Equal(t, 200, status, body)
}

func TestBadPolicyIsRefused(t *testing.T) {
	s := newSite(t, nil).start()
	good, err := os.ReadFile(s.policy)
	require.NoError(t, err)
	bad := strings.Replace(strings.Replace(string(good), `"audience"`, `"audiance"`, 1), `"path_prefix":"/admin"`, `"path_prefix":"admin"`, 1)
	for _, options := range []string{"", "instances 1"} { // the host there is, another one
		s.options = options
		s.write("policy.json", []byte(bad))
		err = s.load()
		require.Error(t, err)
		for _, part := range []string{s.policy, "/policy/issuers/0/audiance", "/policy/rules/1/path_prefix"} {
			assert.ErrorContains(t, err, part)
		}
		status, body := s.get("/", "Authorization", s.bearer(nil))
		assert.Equal(t, 200, status, body)
		s.write("policy.json", good)
	}
	s.options = ""
	require.NoError(t, s.load())
	status, body := s.get("/", "Authorization", s.bearer(nil))
	assert.Equal(t, 200, status, body)
}

// A changed policy file needs no reload; a bad one changes nothing and is logged.
func TestPolicyFileIsWatched(t *testing.T) {
	s := newSite(t, nil)
	s.global = "log {\n output file " + s.dir + "/caddy.log\n}"
	s.start()
	logs := func(part string) func() bool {
		return func() bool {
			b, _ := os.ReadFile(filepath.Join(s.dir, "caddy.log"))
			return strings.Contains(string(b), part)
		}
	}
	require.NoError(t, s.load(), "the log of the configuration before is closed")
	s.write("policy.json", []byte("{"))
	assert.Eventually(t, logs("swap refused"), 10*time.Second, 20*time.Millisecond)
	assert.True(t, logs(`"logger":"http.handlers.sessiongate"`)())
	status, _ := s.get("/x")
	assert.Equal(t, 401, status)
	s.writePolicy(func(p object) { p["rules"] = []any{object{"path_prefix": "/", "access": "public"}} })
	assert.Eventually(t, func() bool { status, _ := s.get("/x"); return status == 200 }, 10*time.Second, 20*time.Millisecond)
}

func TestErrorsAtLoad(t *testing.T) {
	for _, tt := range []struct {
		name  string
		edit  func(s *site)
		wants []string
	}{
		{"no policy file", func(s *site) { s.policy += ".none" }, []string{"policy.json.none: no such file"}},
		{"no module file", func(s *site) { s.guest += ".none" }, []string{"module: ", "core.wasm.none: no such file"}},
		{"no guest", func(s *site) { s.write("core.wasm", []byte("no wasm")) }, []string{"module: "}},
		{"empty guest", func(s *site) { s.write("core.wasm", nil) }, []string{"module: "}},
		{"other settings, same policy", func(s *site) {
			s.after = "sessiongate {\n policy " + s.policy + "\n module " + s.guest + "\n instances 3\n}"
		}, []string{"another directive names it"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, nil)
			tt.edit(s)
			err := s.load()
			for _, part := range tt.wants {
				assert.ErrorContains(t, err, part)
			}
		})
	}
}

// Two directives of one policy share a host.
func TestShared(t *testing.T) {
	s := newSite(t, nil)
	directive := s.caddyfile()
	directive = directive[strings.Index(directive, "sessiongate {"):]
	s.after = "route {\n" + directive[:strings.Index(directive, "}")+1] + "\n}"
	s.start()
	assert.Equal(t, 1, running(s.policy))
	status, body := s.get("/", "Authorization", s.bearer(object{"sub": "ada"}))
	assert.Equal(t, 200, status, body)
	assert.Equal(t, "hello ada 0", body)
}
