// Package archtest holds the house together: which package may import which, and
// what code that runs inside a guest may not do (DESIGN: imports run downwards
// only, and a guest never exits, sleeps or starts a goroutine).
package archtest

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "sessiongate/"

// core is what judges: the standard library alone, no I/O, no clock, no chance.
// Each package comes with all that it may import of this module.
var core = map[string][]string{
	"verdict":             {},
	"internal/strict":     {"verdict"},
	"internal/kernel":     {},
	"jwks":                {"internal/strict", "internal/kernel", "verdict"},
	"verifier":            {"jwks", "internal/strict", "verdict"},
	"verifier/policy":     {"verifier", "jwks", "internal/strict", "verdict"},
	"verifier/filter":     {"verifier/policy", "verifier", "jwks", "internal/strict", "verdict"},
	"verifier/statuslist": {"jwks", "internal/strict", "verdict"},
	"internal/abi":        {"verdict"},
}

// guest is the layer around the core that every guest's main stands on, and
// wasmLayer what a guest's main, with the packages below it, may import.
var (
	guest     = map[string][]string{"internal/guest": {"verifier/filter", "verifier/policy", "verifier", "jwks", "internal/strict", "internal/abi", "verdict"}}
	wasmLayer = append([]string{"internal/guest"}, guest["internal/guest"]...)
)

// mains are the guests; wasm/js is no Go.
var mains = []string{"wasm/core", "wasm/proxywasm", "wasm/httpwasm"}

// planned are packages of the design that may not be there yet.
var planned = []string{"verifier/statuslist"}

// hosts run guests; what they may import directly of this module.
var hosts = map[string][]string{
	"host":              {"internal/engine", "internal/keyfetch", "internal/abi", "jwks", "verdict"},
	"internal/engine":   {"internal/abi", "verdict"},
	"internal/keyfetch": {"jwks"},
}

// judges are the packages that nothing outside a guest may reach, not even through
// others: a host that had them could judge without the guest.
var judges = []string{"verifier", "verifier/policy", "verifier/filter", "verifier/statuslist", "internal/guest"}

type pkg struct {
	ImportPath string
	Dir        string
	Standard   bool
	GoFiles    []string
	Imports    []string
	Deps       []string
}

// list is `go list` of this module and all it needs, by import path.
func list(t *testing.T, env ...string) map[string]pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Dir,Standard,GoFiles,Imports,Deps", module+"...")
	cmd.Env = append(os.Environ(), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	all := make(map[string]pkg)
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else {
			require.NoError(t, err)
		}
		all[p.ImportPath] = p
	}
}

func native(t *testing.T) map[string]pkg { return list(t) }

func wasm(t *testing.T) map[string]pkg { return list(t, "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0") }

// guests are all packages around the core that run inside a guest, each with what
// it may import: a main's own packages below it too.
func guests(t *testing.T, all map[string]pkg) map[string][]string {
	t.Helper()
	table := maps.Clone(guest)
	for _, main := range mains {
		if _, ok := find(t, all, main); !ok {
			continue
		}
		var own []string
		for path, p := range all {
			if name, ok := strings.CutPrefix(path, module); ok && len(p.GoFiles) > 0 && (name == main || strings.HasPrefix(name, main+"/")) {
				own = append(own, name)
			}
		}
		for _, name := range own {
			table[name] = append(own, wasmLayer...)
		}
	}
	for path, p := range all {
		if name, ok := strings.CutPrefix(path, module); ok && len(p.GoFiles) > 0 && strings.HasPrefix(name, "wasm/") {
			assert.Containsf(t, table, name, "%s belongs to no guest that this test knows", name)
		}
	}
	return table
}

// find is a package of this module; it must be there unless it is planned.
func find(t *testing.T, all map[string]pkg, name string) (pkg, bool) {
	t.Helper()
	p, ok := all[module+name]
	if ok = ok && len(p.GoFiles) > 0; !ok && !slices.Contains(planned, name) {
		t.Errorf("package %s is missing", name)
	}
	return p, ok
}

// inside is a list of import paths that are this module's, without its name.
func inside(paths []string) (names []string) {
	for _, p := range paths {
		if name, ok := strings.CutPrefix(p, module); ok {
			names = append(names, name)
		}
	}
	return names
}

func TestImportsRunDownwards(t *testing.T) {
	for _, all := range []map[string]pkg{native(t), wasm(t)} {
		for _, table := range []map[string][]string{core, guests(t, all), hosts} {
			for name, allowed := range table {
				if p, ok := find(t, all, name); ok {
					assert.Subsetf(t, allowed, inside(p.Imports), "%s imports what it may not", name)
				}
			}
		}
	}
}

// What judges stands on the standard library alone.
func TestCoreUsesTheStandardLibraryAlone(t *testing.T) {
	all := wasm(t)
	for _, table := range []map[string][]string{core, guests(t, all)} {
		for name := range table {
			p, ok := find(t, all, name)
			if !ok {
				continue
			}
			for _, dep := range p.Deps {
				d, known := all[dep]
				assert.Truef(t, strings.HasPrefix(dep, module) || known && d.Standard, "%s needs %s", name, dep)
			}
		}
	}
}

func TestCoreHasNoClockNoChanceAndNoWorld(t *testing.T) {
	all := wasm(t)
	for name := range core {
		p, ok := find(t, all, name)
		if !ok {
			continue
		}
		for _, path := range p.Imports {
			for _, banned := range []string{"net", "os", "time", "math/rand", "crypto/rand", "io", "syscall", "runtime", "log", "embed"} {
				if name == "verifier/policy" && path == "embed" {
					continue // its schema is a file
				}
				assert.Falsef(t, path == banned || strings.HasPrefix(path, banned+"/"), "%s imports %s", name, path)
			}
		}
	}
}

// Guests do without what makes them large or slow to start, and without what
// needs more of WASI than old hosts have.
func TestGuestsAreSmall(t *testing.T) {
	all := wasm(t)
	for _, table := range []map[string][]string{core, guests(t, all)} {
		for name := range table {
			p, ok := find(t, all, name)
			if !ok {
				continue
			}
			for _, path := range p.Imports {
				for _, banned := range []string{"encoding/json", "fmt", "net", "reflect", "regexp", "text", "html", "log", "time", "os", "sort", "encoding/base64"} {
					assert.Falsef(t, path == banned || strings.HasPrefix(path, banned+"/"), "%s imports %s", name, path)
				}
			}
		}
	}
	for name := range guests(t, all) {
		if p, ok := find(t, all, name); ok {
			for _, path := range []string{"encoding/json", "net", "net/url", "net/http", "regexp", "text/template", "log", "os/exec", "crypto/x509", "crypto/tls"} {
				assert.NotContainsf(t, p.Deps, path, "%s needs it in the end", name)
			}
		}
	}
}

// A host asks the guest, and the issuer asks the host.
func TestNothingJudgesOutsideAGuest(t *testing.T) {
	all := native(t)
	checked := 0
	for path, p := range all {
		name, ok := strings.CutPrefix(path, module)
		if !ok || !(name == "host" || name == "issuer" || name == "internal/engine" || strings.HasPrefix(name, "host/") || strings.HasPrefix(name, "issuer/")) {
			continue
		}
		checked++
		for _, dep := range inside(p.Deps) {
			assert.NotContainsf(t, judges, dep, "%s reaches it", name)
		}
	}
	assert.Greater(t, checked, 2)
	for _, name := range []string{"host", "issuer", "cmd/sessiongate"} {
		find(t, all, name)
	}
	// Nothing that is imported imports a command, and nothing under the issuer imports it from below.
	for path, p := range all {
		for _, dep := range inside(p.Imports) {
			from, _ := strings.CutPrefix(path, module)
			assert.Falsef(t, strings.HasPrefix(dep, "cmd/") && !strings.HasPrefix(from, "cmd/"), "%s imports %s", path, dep)
			assert.Falsef(t, (dep == "issuer" || strings.HasPrefix(dep, "issuer/")) && !strings.HasPrefix(from, "issuer") && !strings.HasPrefix(from, "cmd/"), "%s imports %s", path, dep)
		}
	}
}

// banned are calls that have no place in a guest.
var banned = map[string][]string{
	"os":      {"Exit"},
	"time":    {"Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"},
	"log":     {"Fatal", "Fatalf", "Fatalln"},
	"runtime": {"Goexit"},
	"syscall": {"Exit"},
}

func TestGuestsNeverExitSleepOrStartGoroutines(t *testing.T) {
	all := wasm(t)
	files := 0
	for _, table := range []map[string][]string{core, guests(t, all)} {
		for name := range table {
			p, ok := find(t, all, name)
			if !ok {
				continue
			}
			for _, file := range p.GoFiles {
				files++
				fset := token.NewFileSet()
				f, err := parser.ParseFile(fset, filepath.Join(p.Dir, file), nil, 0)
				require.NoError(t, err)
				for _, fault := range faults(fset, f) {
					t.Error(fault)
				}
			}
		}
	}
	assert.Greater(t, files, 30)
}

// faults finds go statements, channels and banned calls.
func faults(fset *token.FileSet, f *ast.File) (list []string) {
	names := map[string]string{} // of an import in this file: its path
	for _, spec := range f.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		name := path[strings.LastIndexByte(path, '/')+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = path
	}
	add := func(n ast.Node, what string) { list = append(list, fset.Position(n.Pos()).String()+": "+what) }
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			add(n, "a goroutine")
		case *ast.SelectStmt, *ast.SendStmt, *ast.ChanType:
			add(n, "a channel: there is nobody at its other end")
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && slices.Contains(banned[names[x.Name]], n.Sel.Name) {
				add(n, names[x.Name]+"."+n.Sel.Name)
			}
		}
		return true
	})
	return list
}

// The check finds what it is there to find.
func TestFaultsAreFound(t *testing.T) {
	const source = `package p
import ("os"; clock "time"; "log")
func f(c chan int) {
	go f(c)
	os.Exit(1)
	clock.Sleep(1)
	log.Fatalf("")
	c <- 1
	exit := os.Exit
	_ = exit
	var os struct{ Open func() }
	os.Open()
}`
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "p.go", source, 0)
	require.NoError(t, err)
	assert.Equal(t, []string{
		"p.go:3:10: a channel: there is nobody at its other end", "p.go:4:2: a goroutine", "p.go:5:2: os.Exit", "p.go:6:2: time.Sleep", "p.go:7:2: log.Fatalf",
		"p.go:8:2: a channel: there is nobody at its other end", "p.go:9:10: os.Exit",
	}, faults(fset, f))
}
