package traefik_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/http-wasm/http-wasm-host-go/api"
	"github.com/http-wasm/http-wasm-host-go/handler"
	wasm "github.com/http-wasm/http-wasm-host-go/handler/nethttp"
	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"

	"sessiongate/host/hosttest"
	"sessiongate/jwks"
)

const top = "../../.."

// guest builds the guest, once for each set of tags.
func guest(t testing.TB, tags string) string {
	t.Helper()
	guests.Lock()
	defer guests.Unlock()
	if file := guests.files[tags]; file != "" {
		return file
	}
	file := filepath.Join(guests.dir, "httpwasm-"+tags+".wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-tags="+tags, "-o", file, "./wasm/httpwasm")
	cmd.Dir = top
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	guests.files[tags] = file
	return file
}

var guests = struct {
	sync.Mutex
	dir   string
	files map[string]string
}{files: map[string]string{}}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "traefik")
	if err != nil {
		panic(err)
	}
	guests.dir = dir
	status := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(status)
}

// server is the guest in front of an upstream.
type server struct {
	url  string
	log  func() string
	keys string // directory that the guest sees as /keys
}

// settings are what a server is started with.
type settings struct {
	policy   []byte
	tags     string
	keys     string // directory with key files; made if ""
	upstream http.Handler
}

// hosts are what the tests run in.
var hosts = map[string]func(t *testing.T, s *settings, upstream string) *server{
	"http-wasm-host-go": standIn,
	"engine":            engine,
}

// eachHost runs a test in every host.
func eachHost(t *testing.T, f func(t *testing.T, start func(*testing.T, *settings) *server)) {
	for name, host := range hosts {
		t.Run(name, func(t *testing.T) { f(t, starter(host)) })
	}
}

// starter starts a host with an upstream.
func starter(host func(*testing.T, *settings, string) *server) func(*testing.T, *settings) *server {
	return func(t *testing.T, s *settings) *server {
		t.Helper()
		if s.keys == "" {
			s.keys = t.TempDir()
		}
		if s.upstream == nil {
			s.upstream = http.HandlerFunc(echo)
		}
		u := httptest.NewUnstartedServer(s.upstream)
		u.Config.DisableGeneralOptionsHandler = true
		u.Start()
		t.Cleanup(u.Close)
		started := host(t, s, u.URL)
		started.keys = s.keys
		return started
	}
}

// seen is what the upstream tells of a request.
type seen struct {
	Method, Target, Host, Body string
	Header, Trailer            http.Header
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(seen{r.Method, r.RequestURI, r.Host, string(body), r.Header, r.Trailer})
}

type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) IsEnabled(api.LogLevel) bool { return true }

func (l *logBuffer) Log(_ context.Context, level api.LogLevel, message string) {
	fmt.Fprintln(l, level, message)
}

// standIn is the library that Traefik's engine stands on, by itself.
func standIn(t *testing.T, s *settings, upstream string) *server {
	t.Helper()
	log := new(logBuffer)
	code, err := os.ReadFile(guest(t, s.tags))
	require.NoError(t, err)
	cache, err := wazero.NewCompilationCacheWithDir(filepath.Join(top, "build", "cache"))
	require.NoError(t, err)
	ctx := context.Background()
	to, err := url.Parse(upstream)
	require.NoError(t, err)
	mw, err := wasm.NewMiddleware(ctx, code, handler.Logger(log), handler.GuestConfig(s.policy),
		handler.Runtime(func(ctx context.Context) (wazero.Runtime, error) {
			rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCompilationCache(cache))
			return rt, nil
		}),
		handler.ModuleConfig(wazero.NewModuleConfig().WithSysWalltime().WithStartFunctions("_initialize").
			WithFSConfig(wazero.NewFSConfig().WithReadOnlyDirMount(s.keys, "/keys"))))
	var h http.Handler = http.NotFoundHandler()
	if err != nil {
		fmt.Fprintln(log, err)
	} else {
		h = mw.NewHandler(ctx, &httputil.ReverseProxy{FlushInterval: -1, Director: func(r *http.Request) {
			r.URL.Scheme, r.URL.Host = to.Scheme, to.Host
		}})
		t.Cleanup(func() { _ = mw.Close(ctx) })
	}
	front := httptest.NewUnstartedServer(h)
	front.Config.DisableGeneralOptionsHandler = true
	front.Start()
	t.Cleanup(front.Close)
	return &server{url: front.URL, log: log.String}
}

var engineBuilt = sync.OnceValues(func() (string, error) {
	file, err := filepath.Abs(filepath.Join(top, "build", "tools", "traefik-engine"))
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-o", file, ".")
	cmd.Dir = "engine"
	cmd.Env = append(os.Environ(), "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return file, nil
})

// engine is Traefik's own plugin engine.
func engine(t *testing.T, s *settings, upstream string) *server {
	t.Helper()
	program, err := engineBuilt()
	require.NoError(t, err)
	dir := t.TempDir()
	plugin := filepath.Join(dir, "plugins-local", "src", "sessiongate")
	require.NoError(t, os.MkdirAll(plugin, 0o755))
	code, err := os.ReadFile(guest(t, s.tags))
	require.NoError(t, err)
	manifest, err := os.ReadFile(filepath.Join(top, "examples", "traefik", "plugin.yaml"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(plugin, "plugin.wasm"), code, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(plugin, ".traefik.yml"), manifest, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "policy.json"), s.policy, 0o644))
	log := new(logBuffer)
	cmd := exec.Command(program, "-dir", dir, "-config", filepath.Join(dir, "policy.json"), "-upstream", upstream, "-mounts", s.keys+":/keys:ro")
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err, log.String())
	return &server{url: strings.TrimSpace(line), log: log.String}
}

// document is a policy for the issuer, whose keys are in /keys/issuer.json.
func document(t testing.TB, issuer *hosttest.Issuer, edit func(is, p map[string]any)) []byte {
	t.Helper()
	var doc map[string]any
	require.NoError(t, json.Unmarshal(issuer.Policy(), &doc))
	p := doc["policy"].(map[string]any)
	p["identity_headers"] = map[string]any{"x-user-id": "subject"}
	if edit != nil {
		edit(p["issuers"].([]any)[0].(map[string]any), p)
	}
	doc["host"] = map[string]any{"traefik": map[string]any{"jwks_files": map[string]any{issuer.URL(): "/keys/issuer.json"}}}
	text, err := json.Marshal(doc)
	require.NoError(t, err)
	return text
}

// confirm writes the key file as somebody who was last sure of it so long ago.
func confirm(t testing.TB, issuer *hosttest.Issuer, dir string, age time.Duration) {
	t.Helper()
	content, err := jwks.AppendFile(nil, issuer.KeySet(), time.Now().Add(-age).UnixMilli())
	require.NoError(t, err)
	write(t, filepath.Join(dir, "issuer.json"), content)
}

func write(t testing.TB, path string, content []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path+".new", content, 0o644))
	require.NoError(t, os.Rename(path+".new", path))
}

// answer is what a client got.
type answer struct {
	status int
	header http.Header
	body   string
	code   string // the Reason
	seen   seen   // by the upstream, if status is 200
}

func (s *server) get(t testing.TB, path string, header ...string) *answer {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, s.url+path, nil)
	require.NoError(t, err)
	return s.do(t, r, header...)
}

func (s *server) do(t testing.TB, r *http.Request, header ...string) *answer {
	t.Helper()
	for i := 0; i+1 < len(header); i += 2 {
		r.Header[header[i]] = append(r.Header[header[i]], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err, s.log())
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	a := &answer{status: resp.StatusCode, header: resp.Header, body: string(body)}
	if resp.StatusCode == http.StatusOK {
		_ = json.Unmarshal(body, &a.seen)
	} else {
		var problem struct{ Code string }
		_ = json.Unmarshal(body, &problem)
		a.code = problem.Code
	}
	return a
}

func bearer(token string) string { return "Bearer " + token }

// memory of the engine's process, after a collection.
type memory struct {
	Heap     int `json:"heap_bytes"`
	Resident int `json:"resident_kib"`
}

func (s *server) memory(t *testing.T) (m memory) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, s.url+"/-/memory?gc", nil)
	require.NoError(t, err)
	r.Host = "engine.internal"
	a := s.do(t, r)
	require.NoError(t, json.Unmarshal([]byte(a.body), &m), a.body)
	return m
}
