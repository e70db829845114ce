package matrix

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// markHeader tells the upstream which ask a request belongs to.
const markHeader = "x-matrix-mark"

// Rig is what stands around the hosts: an upstream that records what it saw, a server
// of key sets, and the tokens.
type Rig struct {
	top      string // of the repository
	dir      string // scratch
	keys     *keyring
	upstream *upstream
	issuers  *httptest.Server
	agingOff atomic.Bool

	mu     sync.Mutex
	guests map[string]string
}

// NewRig starts one. top is the repository, dir where hosts get their scratch.
func NewRig(top, dir string) (*Rig, error) {
	keys, err := newKeyring()
	if err != nil {
		return nil, err
	}
	r := &Rig{top: top, dir: dir, keys: keys, upstream: newUpstream(), guests: map[string]string{}}
	r.issuers = httptest.NewServer(http.HandlerFunc(r.serveKeys))
	return r, nil
}

// Close ends its servers.
func (r *Rig) Close() {
	r.upstream.server.CloseClientConnections()
	r.upstream.server.Close()
	r.issuers.CloseClientConnections()
	r.issuers.Close()
}

func (r *Rig) keySets() []KeySet {
	at := r.issuers.URL
	return []KeySet{
		{own, "own.json", at + "/own.json", Fresh, marshal(r.keys.set("ES256", "ES256-2", "ES384", "ES512", rsaKey, "EdDSA"))},
		{login, "login.json", at + "/login.json", Fresh, marshal(r.keys.set(rsaKey))},
		{down, "down.json", at + "/down.json", Missing, nil},
		{aging, "aging.json", at + "/aging.json", Aging, marshal(r.keys.set("ES256"))},
	}
}

func (r *Rig) serveKeys(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "max-age=1")
	if req.URL.Path == wellKnown {
		_, _ = w.Write(marshal(object{"issuer": login, "jwks_uri": r.issuers.URL + "/login.json"}))
		return
	}
	for _, set := range r.keySets() {
		if req.URL.Path == "/"+set.File && set.Document != nil && !(set.State == Aging && r.agingOff.Load()) {
			_, _ = w.Write(set.Document)
			return
		}
	}
	http.Error(w, "down", http.StatusServiceUnavailable)
}

// stage prepares a stage for a host.
func (r *Rig) stage(host, name string) (*Stage, error) {
	dir := filepath.Join(r.dir, host+"-"+name)
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	s := &Stage{Name: name, Policy: policy(name, r.keys, r.issuers.URL), Upstream: r.upstream.server.URL, Issuers: r.issuers.URL,
		Dir: dir, Keys: r.keySets(), PolicyFile: filepath.Join(dir, "policy.json"), rig: r}
	if err := os.MkdirAll(filepath.Join(dir, "keys"), 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(s.PolicyFile, s.Policy, 0o600); err != nil {
		return nil, err
	}
	for _, set := range s.Keys {
		if set.Document == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, "keys", set.File), set.Document, 0o644); err != nil {
			return nil, err
		}
	}
	r.agingOff.Store(false)
	return s, nil
}

// guest builds a guest, once.
func (r *Rig) guest(pkg string, broken bool) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name, tags, flags := filepath.Base(pkg), "", "-s -w"
	if broken { // until the year 2100 its clock is wrong
		name, tags, flags = name+"-broken", "sgtest", flags+" -X main.buildSeconds=4102444800"
	}
	if file := r.guests[name]; file != "" {
		return file, nil
	}
	file := filepath.Join(r.dir, name+".wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags="+flags, "-tags="+tags, "-o", file, pkg)
	cmd.Dir = r.top
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", pkg, err, out)
	}
	r.guests[name] = file
	return file, nil
}

// Top is the repository's directory.
func (s *Stage) Top() string { return s.rig.top }

// Build builds a command of a Go module of this repository, such as dir "." and pkg
// "./cmd/sessiongate", once, and returns its file.
func (s *Stage) Build(ctx context.Context, dir, pkg string) (string, error) {
	r := s.rig
	r.mu.Lock()
	defer r.mu.Unlock()
	name := filepath.Base(pkg)
	if name == "." {
		name = filepath.Base(dir)
	}
	if file := r.guests["bin/"+name]; file != "" {
		return file, nil
	}
	file := filepath.Join(r.dir, name)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", file, pkg)
	cmd.Dir = filepath.Join(r.top, dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", pkg, err, out)
	}
	r.guests["bin/"+name] = file
	return file, nil
}

// upstream answers 200 and remembers what it saw, by the mark.
type upstream struct {
	server *httptest.Server
	mu     sync.Mutex
	saw    map[string][]*seen
}

// seen is a request as the upstream got it.
type seen struct {
	method, path    string
	header, trailer http.Header
	body            string
}

const upstreamBody = "the upstream\n"

func newUpstream() *upstream {
	u := &upstream{saw: map[string][]*seen{}}
	u.server = httptest.NewUnstartedServer(u)
	u.server.Config.Protocols = new(http.Protocols)
	u.server.Config.Protocols.SetHTTP1(true)
	u.server.Config.Protocols.SetUnencryptedHTTP2(true)
	u.server.Config.MaxHeaderBytes = 1 << 20
	u.server.Config.DisableGeneralOptionsHandler = true
	u.server.Start()
	return u
}

// ServeHTTP answers.
func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := &seen{method: r.Method, path: r.RequestURI, header: r.Header.Clone()}
	// Recorded before the answer, so that it is there once a client has the answer.
	record := func() {
		u.mu.Lock()
		u.saw[r.Header.Get(markHeader)] = append(u.saw[r.Header.Get(markHeader)], s)
		u.mu.Unlock()
	}
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		record()
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
		line, _ := rw.ReadString('\n')
		_, _ = io.WriteString(conn, line)
		return
	}
	body, err := io.ReadAll(r.Body)
	s.body, s.trailer = string(body), r.Trailer
	if err != nil {
		s.body += " " + err.Error()
	}
	if len(s.body) > 256 {
		sum := sha256.Sum256(body)
		s.body = fmt.Sprintf("%d bytes, SHA-256 %s", len(body), hex.EncodeToString(sum[:8]))
	}
	record()
	w.Header().Set("Content-Type", "text/plain")
	if r.Method != http.MethodHead {
		_, _ = io.Copy(w, bytes.NewReader([]byte(upstreamBody)))
	}
}

func (u *upstream) take(mark string) []*seen {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.saw[mark]
	delete(u.saw, mark)
	return s
}
