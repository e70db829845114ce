// Package envoy_test runs the example of examples/envoy in a real Envoy, with its
// addresses replaced, and looks at what a client and an upstream see.
package envoy_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sessiongate/host/hosttest"
)

const (
	version  = "1.40.0"
	patience = 3 * time.Minute // for Envoy to compile the guest on a machine that is busy
	soon     = 20 * time.Second
)

type object = map[string]any

// built are the guests: the one that ships, one that can be broken, and one of the year 2100.
var built = map[string]func() (string, error){
	"":       sync.OnceValues(func() (string, error) { return build("", "") }),
	"sgtest": sync.OnceValues(func() (string, error) { return build("sgtest", "") }),
	"2100":   sync.OnceValues(func() (string, error) { return build("", "4102444800") }),
}

func build(tags, seconds string) (string, error) {
	dir, err := filepath.Abs("../../build/e2e")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "proxywasm"+tags+seconds+".wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w -X main.buildSeconds="+seconds, "-tags="+tags, "-o", file, "./wasm/proxywasm")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return file, nil
}

// setup is how an Envoy differs from the example.
type setup struct {
	version string              // default: version
	file    string              // default: envoy.yaml
	guest   string              // of built
	edit    func(string) string // of envoy.yaml
	filter  func(string) string // of filter.yaml, before the policy
	policy  object
}

// proxy is a running Envoy with an issuer and an upstream of its own.
type proxy struct {
	t        testing.TB
	setup    setup
	dir      string
	cmd      *exec.Cmd
	exited   chan struct{}
	admin    string // URL
	url      string // of the listener
	issuer   *hosttest.Issuer
	front    *front // of the issuer: what the cluster leads to
	upstream *upstream

	mu      sync.Mutex
	log     bytes.Buffer
	changes int // of filter.yaml
}

// start starts the example and waits until it serves.
func start(t testing.TB, s setup) *proxy {
	t.Helper()
	p := &proxy{t: t, setup: s, dir: t.TempDir(), exited: make(chan struct{}), issuer: hosttest.NewIssuer(t), upstream: newUpstream(t)}
	p.front = newFront(t, p.issuer)
	if p.setup.policy == nil {
		p.setup.policy = p.policy(nil)
	}
	config := p.write("envoy.yaml", p.example())
	p.render(p.setup.policy, nil)
	p.cmd = exec.Command(binary(t, s.version), "-c", config, "--concurrency", "2", "--use-dynamic-base-id",
		"--admin-address-path", filepath.Join(p.dir, "admin"), "--file-flush-interval-msec", "50", "--log-level", "warning", "--component-log-level", "wasm:info")
	p.cmd.Dir = p.dir
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	p.cmd.Stderr = p.cmd.Stdout
	require.NoError(t, p.cmd.Start())
	go p.listen(out)
	t.Cleanup(p.stop)
	p.await(patience, "Envoy serves", func() bool {
		select {
		case <-p.exited:
			t.Fatalf("Envoy ended:\n%s", p.tail())
		default:
		}
		address, err := os.ReadFile(filepath.Join(p.dir, "admin"))
		if err != nil || len(address) == 0 {
			return false
		}
		p.admin = "http://" + strings.TrimSpace(string(address))
		return p.adminGet("/ready") == "LIVE"
	})
	var listeners struct {
		Statuses []struct {
			Name  string `json:"name"`
			Local struct {
				Socket struct {
					Port int `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	require.NoError(t, json.Unmarshal([]byte(p.adminGet("/listeners?format=json")), &listeners))
	for _, l := range listeners.Statuses {
		if l.Name == "public" {
			p.url = fmt.Sprintf("http://127.0.0.1:%d", l.Local.Socket.Port)
		}
	}
	require.NotEmpty(t, p.url)
	return p
}

// binary is where an Envoy is, installed if it is not there.
func binary(t testing.TB, v string) string {
	t.Helper()
	if v == "" {
		v = version
	}
	if path := os.Getenv("ENVOY"); path != "" && v == version {
		return path
	}
	out, err := exec.Command("../install-envoy", v).Output()
	require.NoError(t, err, "e2e/install-envoy %s", v)
	return strings.TrimSpace(string(out))
}

// example is examples/envoy/envoy.yaml with other addresses, and an upstream that
// gets the protocol that the client speaks.
func (p *proxy) example() string {
	file := "envoy.yaml"
	if p.setup.file != "" {
		file = p.setup.file
	}
	text := p.read(file)
	swap := func(old, new string, n int) {
		require.Contains(p.t, text, old)
		text = strings.Replace(text, old, new, n)
	}
	swap("port_value: 9901", "port_value: 0", 1)
	swap("port_value: 10000", "port_value: 0", 1)
	swap("port_value: 9000", "port_value: 0", 1)
	swap("port_value: 9000", "port_value: "+portOf(p.upstream.URL), 1)
	swap("port_value: 8080", "port_value: "+portOf(p.front.URL), 1)
	swap("  - name: upstream\n    connect_timeout: 1s\n", `  - name: upstream
    connect_timeout: 1s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        use_downstream_protocol_config: {http_protocol_options: {}, http2_protocol_options: {}}
`, 1)
	if file == "envoy.yaml" { // a claim by its pointer
		swap("                  duration_ms:", "                  tenant: \"%FILTER_STATE(wasm./tenant_id:PLAIN)%\"\n                  duration_ms:", 1)
	}
	if file == "jwt_authn.yaml" {
		text = strings.ReplaceAll(text, "http://127.0.0.1:8080", p.issuer.URL())
	}
	if p.setup.edit != nil {
		text = p.setup.edit(text)
	}
	return text
}

func portOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		panic(err)
	}
	return u.Port()
}

func (p *proxy) read(name string) string {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join("../../examples/envoy", name))
	require.NoError(p.t, err)
	return string(text)
}

func (p *proxy) write(name, text string) string {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	require.NoError(p.t, os.WriteFile(path+".new", []byte(text), 0o600))
	require.NoError(p.t, os.Rename(path+".new", path)) // which is what Envoy sees
	return path
}

// render writes filter.yaml, as the example's Makefile does.
func (p *proxy) render(policy object, edit func(string) string) {
	p.t.Helper()
	guest, err := built[p.setup.guest]()
	require.NoError(p.t, err)
	head := strings.Replace(p.read("filter.head.yaml"), "filename: proxywasm.wasm", "filename: "+guest, 1)
	for _, f := range []func(string) string{p.setup.filter, edit} {
		if f != nil {
			head = f(head)
		}
	}
	p.write("filter.yaml", head+"          "+string(marshal(policy))+"\n")
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// policy is the policy of the tests, with members of "policy" and of its issuer changed.
func (p *proxy) policy(members object, issuer ...any) object {
	is := object{"issuer": p.issuer.URL(), "dialect": "own", "algorithms": []string{"ES256"}, "audience": []string{hosttest.Audience},
		"authorized_parties": []string{hosttest.Audience}, "jwks_uri": p.issuer.JWKSURL(), "cooldown": 1}
	for i := 0; i+1 < len(issuer); i += 2 {
		is[issuer[i].(string)] = issuer[i+1]
		if issuer[i] == "discovery" {
			delete(is, "jwks_uri")
		}
	}
	all := object{
		"issuers": []any{is},
		"sources": []any{object{"header": "authorization", "scheme": "Bearer"}, object{"cookie": "__session"}, object{"header": "x-session-token"}},
		"rules": []any{
			object{"path": "/healthz", "access": "public"},
			object{"path_prefix": "/optional", "access": "optional"},
			object{"path_prefix": "/admin", "permissions_all": []string{"admin"}},
			object{"path_prefix": "/dash", "session_types": []string{"ssdash"}},
			object{"path_template": "/t/{tenant}/**", "tenant_segment": "tenant"},
			object{"path_prefix": "/aal", "assurance": "aal2"},
			object{"path_prefix": "/recent", "authentication_age": 60},
			object{"path_prefix": "/app"},
			object{"path_prefix": "/a.B"},
		},
		"identity_headers": object{"x-user-id": "subject", "x-user-roles": "roles"},
		"log":              []string{"subject", "session", "/tenant_id"},
	}
	for name, v := range members {
		all[name] = v
	}
	return object{"version": 1, "policy": all, "host": object{"envoy": object{"clusters": object{p.issuer.URL(): "issuer"}}}}
}

// update puts another policy, or another filter, in force by ECDS and waits until
// every thread has it: its realm is seen on many connections in a row.
func (p *proxy) update(policy object, edit func(string) string) {
	p.t.Helper()
	p.changes++
	realm := fmt.Sprintf("change %d", p.changes)
	policy["policy"].(object)["realm"] = realm
	p.render(policy, edit)
	seen := 0
	p.await(patience, "the update is in force", func() bool {
		r := p.get("/app")
		if !strings.Contains(r.header.Get("Www-Authenticate"), realm) {
			seen = 0
			return false
		}
		seen++
		return seen == 12
	})
}

// ready waits until both threads have keys.
func (p *proxy) ready() {
	p.t.Helper()
	seen := 0
	p.await(soon, "keys are there", func() bool {
		if p.get("/app", bearer(p.issuer.Mint(nil))...).status != 200 {
			seen = 0
			return false
		}
		seen++
		return seen == 12
	})
}

func (p *proxy) await(limit time.Duration, what string, done func() bool) {
	p.t.Helper()
	for end := time.Now().Add(limit); !done(); {
		if time.Now().After(end) {
			p.t.Fatalf("waited %s in vain until %s\n%s", limit, what, p.tail())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (p *proxy) listen(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		p.mu.Lock()
		p.log.Write(append(lines.Bytes(), '\n'))
		p.mu.Unlock()
	}
	_ = p.cmd.Wait()
	close(p.exited)
}

func (p *proxy) logged() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// tail is the end of the log.
func (p *proxy) tail() string {
	text := p.logged()
	return text[max(0, len(text)-8000):]
}

// access is the entry of the access log for a path.
func (p *proxy) access(path string) (entry object) {
	p.t.Helper()
	p.await(soon, "the access log has "+path, func() bool {
		for line := range strings.Lines(p.logged()) {
			var e object
			if json.Unmarshal([]byte(line), &e) == nil && e["path"] == path {
				entry = e
				return true
			}
		}
		return false
	})
	return entry
}

func (p *proxy) stop() {
	_ = p.cmd.Process.Kill()
	<-p.exited
	if p.t.Failed() {
		p.t.Logf("Envoy's log:\n%s", p.tail())
	}
}

func (p *proxy) adminGet(path string) string {
	resp, err := http.Get(p.admin + path)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return strings.TrimSpace(string(body))
}

// stat is a counter or gauge, 0 if there is none.
func (p *proxy) stat(name string) (n int) {
	for line := range strings.Lines(p.adminGet("/stats?filter=" + url.QueryEscape("^"+name+"$"))) {
		if _, value, ok := strings.Cut(line, ": "); ok {
			_, _ = fmt.Sscan(value, &n)
		}
	}
	return n
}

// front stands before an issuer and spoils its answers when it is told to.
type front struct {
	*httptest.Server
	mode atomic.Pointer[string]
}

func newFront(t testing.TB, issuer *hosttest.Issuer) *front {
	target, err := url.Parse(issuer.URL())
	require.NoError(t, err)
	pass := httputil.NewSingleHostReverseProxy(target)
	f := new(front)
	f.spoil("")
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch *f.mode.Load() {
		case "slow": // over the guest's five seconds
			select {
			case <-r.Context().Done():
			case <-time.After(7 * time.Second):
			}
			pass.ServeHTTP(w, r)
		case "garbage":
			_, _ = io.WriteString(w, "<html>hello</html>")
		case "empty":
			_, _ = io.WriteString(w, `{"keys":[]}`)
		case "redirect":
			http.Redirect(w, r, "/.well-known/jwks.json?redirected", http.StatusFound)
		case "huge":
			_, _ = w.Write(append(bytes.Repeat([]byte(" "), 1<<20), issuer.KeySet()...))
		case "hangs up":
			panic(http.ErrAbortHandler)
		default:
			pass.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() { f.CloseClientConnections(); f.Close() })
	return f
}

func (f *front) spoil(mode string) { f.mode.Store(&mode) }

// upstream answers with what it saw.
type upstream struct {
	*httptest.Server
	mu    sync.Mutex
	count int
}

type saw struct {
	Method, Host, URI, Proto string
	Header, Trailer          http.Header
}

func newUpstream(t testing.TB) *upstream {
	u := new(upstream)
	u.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		u.count++
		u.mu.Unlock()
		if r.Header.Get("Upgrade") == "websocket" {
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n%s", r.Header.Get("X-User-Id"))
			_ = rw.Flush()
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(saw{r.Method, r.Host, r.RequestURI, r.Proto, r.Header, r.Trailer})
	}))
	u.Config.Protocols = new(http.Protocols)
	u.Config.Protocols.SetHTTP1(true)
	u.Config.Protocols.SetUnencryptedHTTP2(true)
	u.Start()
	t.Cleanup(u.Close)
	return u
}

func (u *upstream) requests() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.count
}

// reply is what a client gets.
type reply struct {
	err    error
	status int
	header http.Header
	body   string
	saw    saw // by the upstream
}

// reason is the code in the body, or that of an answer to gRPC.
func (r reply) reason() string {
	var problem struct{ Code string }
	if json.Unmarshal([]byte(r.body), &problem) == nil && problem.Code != "" {
		return problem.Code
	}
	name, _, _ := strings.Cut(r.header.Get("Grpc-Message"), ":")
	return name
}

// once is a client that opens a connection for each request; h2 speaks HTTP/2 from the start.
var once = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}, CheckRedirect: stay, Timeout: time.Minute}

func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func newH2() *http.Client {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: &http.Transport{Protocols: p}, CheckRedirect: stay, Timeout: time.Minute}
}

func (p *proxy) get(target string, headers ...string) reply { return p.do(once, target, headers...) }

// do sends a GET, or what stands before the path, with header lines "name: value".
func (p *proxy) do(c *http.Client, target string, headers ...string) reply {
	method, path, ok := strings.Cut(target, " ")
	if !ok {
		method, path = "GET", target
	}
	req, err := http.NewRequestWithContext(context.Background(), method, p.url, nil)
	if err != nil {
		return reply{err: err}
	}
	req.URL.Opaque = path // as it is
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header[http.CanonicalHeaderKey(name)] = append(req.Header[http.CanonicalHeaderKey(name)], value)
	}
	resp, err := c.Do(req)
	if err != nil {
		return reply{err: err}
	}
	return read(resp)
}

func read(resp *http.Response) reply {
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	r := reply{err: err, status: resp.StatusCode, header: resp.Header, body: string(body)}
	if r.status == 200 {
		_ = json.Unmarshal(body, &r.saw)
	}
	return r
}

// raw sends bytes over a connection and reads the head of the answer.
func (p *proxy) raw(text string) string {
	p.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	require.NoError(p.t, err)
	defer conn.Close()
	require.NoError(p.t, conn.SetDeadline(time.Now().Add(soon)))
	_, err = io.WriteString(conn, text)
	require.NoError(p.t, err)
	b, _ := io.ReadAll(conn)
	return string(b)
}

func bearer(token string) []string { return []string{"authorization: Bearer " + token} }
