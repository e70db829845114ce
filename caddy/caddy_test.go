package sessiongatecaddy

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/logging"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage"
	_ "github.com/caddyserver/caddy/v2/modules/logging"
	_ "github.com/caddyserver/caddy/v2/modules/metrics"
	"github.com/stretchr/testify/require"

	"sessiongate/host/hosttest"
	"sessiongate/internal/guesttest"
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "caddy")
	if err != nil {
		panic(err)
	}
	for _, name := range []string{"XDG_DATA_HOME", "XDG_CONFIG_HOME", "HOME"} {
		os.Setenv(name, dir)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

type object = map[string]any

// site is a Caddy with one site, an issuer and an upstream that remembers.
type site struct {
	t        *testing.T
	dir      string
	issuer   *hosttest.Issuer
	upstream *upstream
	policy   string // file
	guest    string // file
	url      string
	front    string // address
	metrics  string // address

	options string // further ones of the directive
	before  string // directives of the site
	after   string // likewise
	global  string
	tls     string // the same site under https, with this certificate
}

// newSite prepares a site, whose policy edit may change. load starts it.
func newSite(t *testing.T, edit func(policy object)) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), issuer: hosttest.NewIssuer(t), upstream: newUpstream(t)}
	s.policy = filepath.Join(s.dir, "policy.json")
	s.guest = filepath.Join(s.dir, "core.wasm")
	require.NoError(t, os.WriteFile(s.guest, guesttest.Core(t), 0o600))
	s.writePolicy(edit)
	s.front, s.metrics = freeAddress(t), freeAddress(t)
	s.url = "http://" + s.front
	t.Cleanup(func() { require.NoError(t, caddy.Stop()) })
	return s
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

func (s *site) writePolicy(edit func(policy object)) {
	s.t.Helper()
	var doc object
	require.NoError(s.t, json.Unmarshal(s.issuer.Policy(), &doc))
	policy := doc["policy"].(object)
	maps.Copy(policy, object{
		"rules": []any{
			object{"path_prefix": "/public", "access": "public"},
			object{"path_prefix": "/admin", "permissions_all": []string{"admin"}},
			object{"path_prefix": "/"},
		},
		"log": []string{"subject", "/email"},
	})
	if edit != nil {
		edit(policy)
	}
	b, err := json.Marshal(doc)
	require.NoError(s.t, err)
	s.write("policy.json", b)
}

// write replaces a file as a whole: the host may be looking.
func (s *site) write(name string, b []byte) {
	s.t.Helper()
	file := filepath.Join(s.dir, name)
	require.NoError(s.t, os.WriteFile(file+".new", b, 0o600))
	require.NoError(s.t, os.Rename(file+".new", file))
}

func (s *site) caddyfile() string {
	addresses := "http://:" + port(s.front)
	if s.tls != "" {
		addresses = "https://:" + port(s.front)
	}
	return fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https off
	metrics
	servers {
		protocols h1 h2 h2c h3
	}
	%s
}
%s {
	bind 127.0.0.1
	%s
	log {
		output file %s/access.log
	}
	log_append reason {http.sessiongate.reason}
	log_append email {http.sessiongate.claim./email}
	%s
	sessiongate {
		policy %s
		module %s
		cache_dir %s
		%s
	}
	%s
	reverse_proxy %s
}
http://:%s {
	bind 127.0.0.1
	metrics
}
`, s.global, addresses, s.tls, s.dir, s.before, s.policy, s.guest, guesttest.CacheDir(s.t), s.options, s.after,
		strings.TrimPrefix(s.upstream.server.URL, "http://"), port(s.metrics))
}

func port(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// load puts the Caddyfile in force, as caddy run and caddy reload do.
func (s *site) load() error {
	s.t.Helper()
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(s.caddyfile()), nil)
	require.NoError(s.t, err)
	for _, w := range warnings {
		require.Contains(s.t, w.Message, "not formatted")
	}
	return caddy.Load(config, true)
}

func (s *site) start() *site {
	s.t.Helper()
	require.NoError(s.t, s.load())
	return s
}

// get asks for a path, with headers in pairs.
func (s *site) get(path string, header ...string) (int, string) {
	s.t.Helper()
	r, err := http.NewRequest(http.MethodGet, s.url+path, nil)
	require.NoError(s.t, err)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header[header[i]] = append(r.Header[header[i]], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	require.NoError(s.t, err)
	return resp.StatusCode, readAll(s.t, resp.Body)
}

func readAll(t *testing.T, body io.ReadCloser) string {
	t.Helper()
	defer body.Close()
	b, err := io.ReadAll(body)
	require.NoError(t, err)
	return string(b)
}

func (s *site) bearer(claims object) string { return "Bearer " + s.issuer.Mint(claims) }

// logged returns the lines of the access log, once there are so many.
func (s *site) logged(n int) []object {
	s.t.Helper()
	var lines []object
	require.Eventually(s.t, func() bool {
		lines = nil
		b, err := os.ReadFile(filepath.Join(s.dir, "access.log"))
		if err != nil {
			return false
		}
		for line := range strings.Lines(string(b)) {
			var o object
			if json.Unmarshal([]byte(line), &o) == nil {
				lines = append(lines, o)
			}
		}
		return len(lines) >= n
	}, 10*time.Second, 10*time.Millisecond)
	return lines
}

// upstream answers 200 and remembers what it saw last.
type upstream struct {
	server *httptest.Server
	mu     sync.Mutex
	seen   []*http.Request
}

func newUpstream(t *testing.T) *upstream {
	u := new(upstream)
	u.server = httptest.NewUnstartedServer(u)
	u.server.Config.Protocols = new(http.Protocols)
	u.server.Config.Protocols.SetHTTP1(true)
	u.server.Config.Protocols.SetUnencryptedHTTP2(true)
	u.server.Start()
	t.Cleanup(u.server.Close)
	return u
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "" {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-User: %s\r\n\r\n", r.Header.Get("X-User-Id"))
		rw.Flush()
		line, _ := rw.ReadString('\n')
		fmt.Fprint(rw, "echo "+line)
		rw.Flush()
		return
	}
	body, _ := io.ReadAll(r.Body)
	u.mu.Lock()
	u.seen = append(u.seen, r)
	u.mu.Unlock()
	fmt.Fprintf(w, "hello %s %d", r.Header.Get("X-User-Id"), len(body))
}

// take returns the requests since the last call.
func (u *upstream) take() []*http.Request {
	u.mu.Lock()
	defer u.mu.Unlock()
	seen := u.seen
	u.seen = nil
	return seen
}
