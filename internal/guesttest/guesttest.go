// Package guesttest builds guests for tests, with the go command that runs them.
package guesttest

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// Core returns the guest of wasm/core as it ships.
func Core(t testing.TB) []byte { return build(t, "wasm/core", "") }

// CoreWithTestCalls returns the guest of wasm/core with the calls that break it.
func CoreWithTestCalls(t testing.TB) []byte { return build(t, "wasm/core", "conformance") }

type built struct {
	once sync.Once
	wasm []byte
	err  string
}

var (
	mu     sync.Mutex
	guests = map[[2]string]*built{}
)

// build builds each guest once for a test process; the go command's own cache
// holds all of it but the linking.
func build(t testing.TB, pkg, tags string) []byte {
	t.Helper()
	key := [2]string{pkg, tags}
	mu.Lock()
	b := guests[key]
	if b == nil {
		b = new(built)
		guests[key] = b
	}
	mu.Unlock()
	b.once.Do(func() { b.wasm, b.err = compile(pkg, tags) })
	if b.err != "" {
		t.Fatalf("building %s: %s", pkg, b.err)
	}
	return b.wasm
}

func compile(pkg, tags string) (wasm []byte, problem string) {
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		return nil, "no source position"
	}
	dir, err := os.MkdirTemp("", "guesttest")
	if err != nil {
		return nil, err.Error()
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "guest.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-tags="+tags, "-ldflags=-s -w", "-o", file, "./"+pkg)
	cmd.Dir = filepath.Join(filepath.Dir(here), "..", "..")
	for _, kv := range os.Environ() {
		// What a test run is built with (-race, -cover) is not for the guest.
		if name, _, _ := strings.Cut(kv, "="); name != "GOFLAGS" && name != "GOOS" && name != "GOARCH" {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, "GOOS=wasip1", "GOARCH=wasm")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, err.Error() + "\n" + string(out)
	}
	if wasm, err = os.ReadFile(file); err != nil {
		return nil, err.Error()
	}
	return wasm, ""
}
