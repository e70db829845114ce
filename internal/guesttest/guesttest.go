// Package guesttest builds guests for tests, with the go command that runs them.
package guesttest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// Core returns the guest of wasm/core as it ships.
func Core(t testing.TB) []byte { return build(t, "wasm/core", "") }

// CoreWithTestCalls returns the guest of wasm/core with the calls that break it.
func CoreWithTestCalls(t testing.TB) []byte { return build(t, "wasm/core", "conformance") }

// CacheDir is a directory for compiled guests that test processes share. It lies
// in build, which make clean removes; what is a day old goes before.
func CacheDir(t testing.TB) string {
	t.Helper()
	top, err := root()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := cacheDir(top)
	if err != nil {
		return t.TempDir() // a checkout that nobody may write to
	}
	return dir
}

func cacheDir(top string) (string, error) {
	dir := filepath.Join(top, "build", "cache")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	old := time.Now().Add(-24 * time.Hour)
	files, _ := filepath.Glob(filepath.Join(dir, "*", "*"))
	for _, f := range files {
		if info, err := os.Stat(f); err == nil && info.ModTime().Before(old) {
			os.Remove(f)
		}
	}
	return dir, nil
}

// root is the top of this module.
func root() (string, error) {
	_, here, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(here) {
		return "", errors.New("guesttest: built without source positions (-trimpath)")
	}
	return filepath.Join(filepath.Dir(here), "..", ".."), nil
}

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
	top, err := root()
	if err != nil {
		return nil, err.Error()
	}
	dir, err := os.MkdirTemp("", "guesttest")
	if err != nil {
		return nil, err.Error()
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "guest.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-tags="+tags, "-ldflags=-s -w", "-o", file, "./"+pkg)
	cmd.Dir = top
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
	if raceEnabled {
		return wasm, warm(top, file)
	}
	return wasm, ""
}

// warm compiles a guest into the cache in a process without the race detector,
// under which it takes twenty times as long.
func warm(top, file string) (problem string) {
	dir, err := cacheDir(top)
	if err != nil {
		return "" // then it takes its time
	}
	cmd := exec.Command("go", "test", "-race=false", "-count=1", "-run=^TestWarm$", "./internal/guesttest")
	cmd.Dir = top
	cmd.Env = append(os.Environ(), "GUESTTEST_MODULE="+file, "GUESTTEST_CACHE="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return err.Error() + "\n" + string(out)
	}
	return ""
}
