package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"sessiongate/host"
	"sessiongate/host/hosttest"
	"sessiongate/internal/guesttest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"sessiongate": main, // os.Args is the command line
		// The same, built with a guest inside, and without.
		"sessiongate-full": func() {
			guests = fstest.MapFS{"guests/core.wasm": {Data: []byte("\x00asm\x01\x00\x00\x00")}, "guests/README.md": {}}
			main()
		},
		"sessiongate-bare": func() {
			os.Unsetenv("SESSIONGATE_MODULE")
			guests = fstest.MapFS{"guests/README.md": {}}
			main()
		},
		"obeying-modes": obeyingModes,
	})
}

var guestOnce sync.Once

// needGuest builds the guest, once, and puts it and the directory that keeps its
// compiled code into the environment, for commands in this process and in others.
func needGuest(t testing.TB) {
	t.Helper()
	guestOnce.Do(func() {
		code, cache := guesttest.Core(t), guesttest.CacheDir(t)
		module := filepath.Join(cache, "cmd.wasm")
		require.NoError(t, replaceFile(module, code))
		// Compiled once here, and found in the cache by every test and script.
		h, err := host.New(t.Context(), host.Config{Module: code, Policy: []byte(warmPolicy), CacheDir: cache})
		require.NoError(t, err)
		require.NoError(t, h.Close())
		os.Setenv("SESSIONGATE_MODULE", module)
		os.Setenv("SESSIONGATE_CACHE_DIR", cache)
	})
	require.NotEmpty(t, os.Getenv("SESSIONGATE_MODULE"), "there is no guest")
}

// warmPolicy is the smallest policy that needs no key.
const warmPolicy = `{"version":1,"policy":{"issuers":[{"issuer":"a","dialect":"jwt","algorithms":["HS256"],"audience":["b"]}]},
	"host":{"go":{"secrets":{"a":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}}}`

type object = map[string]any

// policyFor is a document with the issuer's key inline: /public for everybody,
// /write for the permission "write", /maybe with or without a token, the rest for
// tokens. A change of nil leaves a member out.
func policyFor(t testing.TB, issuer *hosttest.Issuer, changes object) []byte {
	t.Helper()
	p := object{
		"issuers": []any{object{"issuer": issuer.URL(), "dialect": "own", "algorithms": []string{"ES256"}, "audience": []string{hosttest.Audience},
			"jwks": json.RawMessage(issuer.KeySet())}},
		"sources": []any{object{"header": "authorization", "scheme": "Bearer"}, object{"cookie": "__session"}},
		"rules": []any{
			object{"path_prefix": "/public", "access": "public"},
			object{"path_prefix": "/maybe", "access": "optional"},
			object{"path_prefix": "/write", "permissions_all": []string{"write"}},
			object{"path_prefix": "/"},
		},
		"identity_headers": object{"x-user-id": "subject", "x-user-roles": object{"claim": "roles", "separator": ","}, "x-tenant": "tenant"},
		"log":              []string{"subject"},
	}
	maps.Copy(p, changes)
	maps.DeleteFunc(p, func(_ string, v any) bool { return v == nil })
	b, err := json.Marshal(object{"version": 1, "policy": p})
	require.NoError(t, err)
	return b
}

func writeFile(t *testing.T, path string, content []byte) string {
	t.Helper()
	require.NoError(t, replaceFile(path, content))
	return path
}

// command is a command that runs in this process.
type command struct {
	t      *testing.T
	addr   addresses
	stop   context.CancelFunc // as SIGTERM does
	status chan int
	log    *lockedBuffer
}

// start runs a command and returns once it has told its addresses. It ends with the
// test at the latest.
func start(t *testing.T, args ...string) *command {
	t.Helper()
	needGuest(t)
	ctx, stop := context.WithCancel(t.Context())
	c := &command{t: t, stop: stop, status: make(chan int, 1), log: new(lockedBuffer)}
	out, in := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.status <- run(ctx, append([]string{"--json"}, args...), strings.NewReader(""), in, c.log)
		in.Close()
	}()
	t.Cleanup(func() { stop(); <-ended })
	first, err := bufio.NewReader(out).ReadBytes('\n')
	require.NoError(t, err, "%s", c.log)
	require.NoError(t, json.Unmarshal(first, &c.addr))
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return c
}

// wait returns the exit status.
func (c *command) wait() int {
	c.t.Helper()
	select {
	case status := <-c.status:
		return status
	case <-time.After(30 * time.Second):
		c.t.Fatal("the command does not end")
		return -1
	}
}

// lockedBuffer is a buffer that may be written and read at once.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// get makes a request with headers given in pairs, and returns the response with
// its body read.
func get(t *testing.T, client *http.Client, method, url string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	require.NoError(t, err)
	for i := 0; i < len(headers); i += 2 {
		req.Header[headers[i]] = append(req.Header[headers[i]], headers[i+1])
	}
	resp, err := client.Do(req)
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp, string(body)
}

func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }
