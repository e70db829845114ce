// Package engine runs guests in wazero: it compiles a module once, checks that it
// is one of ours, and makes instances of it that take calls over internal/abi. It
// knows nothing of policies and keys.
package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"sessiongate/internal/abi"
)

const pageSize = 64 << 10

// ErrModule is every fault of a module that is found before it judges anything.
var ErrModule = errors.New("module is no usable guest")

// Config is how guests run.
type Config struct {
	// CacheDir keeps compiled code between runs; empty: compiled code is not kept.
	CacheDir string
	// MemoryLimit bounds the memory of one instance, in bytes. It is rounded up to whole pages of 64 KiB.
	MemoryLimit int64
	// Interruptible lets the context of a call end a running guest. It makes every call slower.
	Interruptible bool
}

// Engine is a WebAssembly runtime. It is safe for concurrent use.
type Engine struct {
	config  Config
	runtime wazero.Runtime
	cache   wazero.CompilationCache
}

// New starts a runtime.
func New(ctx context.Context, c Config) (*Engine, error) {
	pages := (c.MemoryLimit + pageSize - 1) / pageSize
	if pages < 1 || pages > 65536 {
		return nil, fmt.Errorf("memory limit: %d bytes is not within 64 KiB and 4 GiB", c.MemoryLimit)
	}
	rc := wazero.NewRuntimeConfig().
		WithMemoryLimitPages(uint32(pages)).
		WithCloseOnContextDone(c.Interruptible).
		WithDebugInfoEnabled(false)
	e := &Engine{config: c}
	if c.CacheDir != "" {
		cache, err := wazero.NewCompilationCacheWithDir(c.CacheDir)
		if err != nil {
			return nil, fmt.Errorf("compilation cache: %w", err)
		}
		e.cache = cache
		rc = rc.WithCompilationCache(cache)
	}
	e.runtime = wazero.NewRuntimeWithConfig(ctx, rc)
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, e.runtime); err != nil {
		e.Close()
		return nil, fmt.Errorf("wasi: %w", err)
	}
	return e, nil
}

// Close ends every instance and frees all compiled code.
func (e *Engine) Close() error {
	err := e.runtime.Close(context.Background())
	if e.cache != nil {
		err = errors.Join(err, e.cache.Close(context.Background()))
	}
	return err
}

// Module is a compiled guest.
type Module struct {
	engine   *Engine
	compiled wazero.CompiledModule
}

// Compile compiles a guest and checks its imports and exports. Its error matches ErrModule.
func (e *Engine) Compile(ctx context.Context, wasm []byte) (*Module, error) {
	ctx = experimental.WithCompilationWorkers(ctx, runtime.GOMAXPROCS(0))
	compiled, err := e.runtime.CompileModule(ctx, wasm)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrModule, err)
	}
	if err := check(compiled); err != nil {
		compiled.Close(ctx)
		return nil, fmt.Errorf("%w: %w", ErrModule, err)
	}
	return &Module{engine: e, compiled: compiled}, nil
}

// Close frees the compiled code. All instances must have been closed.
func (m *Module) Close() { m.compiled.Close(context.Background()) }

// What a guest may import: the WASI functions that the Go runtime needs, and none
// that reaches a file or a socket.
var imports = []string{
	"args_get", "args_sizes_get", "clock_time_get", "environ_get", "environ_sizes_get",
	"fd_close", "fd_fdstat_get", "fd_fdstat_set_flags", "fd_prestat_dir_name", "fd_prestat_get",
	"fd_read", "fd_seek", "fd_write", "poll_oneoff", "proc_exit", "random_get", "sched_yield",
}

// What a guest must export.
var exports = []struct {
	name            string
	params, results []api.ValueType
}{
	{"_initialize", nil, nil},
	{abi.ExportVersion, nil, []api.ValueType{api.ValueTypeI32}},
	{abi.ExportBuffer, []api.ValueType{api.ValueTypeI32}, []api.ValueType{api.ValueTypeI32}},
	{abi.ExportCall, []api.ValueType{api.ValueTypeI32, api.ValueTypeI32, api.ValueTypeI64}, []api.ValueType{api.ValueTypeI64}},
}

func check(m wazero.CompiledModule) error {
	for _, f := range m.ImportedFunctions() {
		module, name, _ := f.Import()
		if module != wasi_snapshot_preview1.ModuleName || !slices.Contains(imports, name) {
			return fmt.Errorf("it imports %s.%s, which this host does not offer", module, name)
		}
	}
	if len(m.ImportedMemories()) != 0 {
		return errors.New("it imports a memory instead of exporting one")
	}
	functions := m.ExportedFunctions()
	if functions["_start"] != nil {
		return errors.New("it is a command; a guest is built with -buildmode=c-shared")
	}
	for _, want := range exports {
		f := functions[want.name]
		if f == nil {
			return fmt.Errorf("it does not export the function %s", want.name)
		}
		if !slices.Equal(f.ParamTypes(), want.params) || !slices.Equal(f.ResultTypes(), want.results) {
			return fmt.Errorf("its function %s has another signature", want.name)
		}
	}
	if m.ExportedMemories()["memory"] == nil {
		return errors.New("it does not export its memory")
	}
	return nil
}

// Instantiate makes an instance that is ready for its first call. An error about
// the module itself matches ErrModule.
func (m *Module) Instantiate(ctx context.Context) (*Instance, error) {
	i := &Instance{interruptible: m.engine.config.Interruptible}
	config := wazero.NewModuleConfig().
		WithName(""). // anonymous: there are many of them
		WithStartFunctions("_initialize").
		WithStderr(&i.stderr).
		WithSysWalltime().
		WithSysNanotime().
		WithRandSource(rand.Reader)
	var err error
	if i.module, err = m.engine.runtime.InstantiateModule(ctx, m.compiled, config); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%w: %s", ErrModule, i.explain(err))
	}
	i.memory = i.module.Memory()
	i.buffer = i.module.ExportedFunction(abi.ExportBuffer)
	i.call = i.module.ExportedFunction(abi.ExportCall)
	version, err := i.module.ExportedFunction(abi.ExportVersion).Call(ctx)
	switch {
	case err != nil:
		err = fmt.Errorf("%w: %s: %s", ErrModule, abi.ExportVersion, i.explain(err))
	case uint32(version[0]) != abi.Version:
		err = fmt.Errorf("%w: it speaks version %d of the ABI, this host version %d", ErrModule, uint32(version[0]), abi.Version)
	}
	if err != nil {
		i.Close()
		return nil, err
	}
	return i, nil
}
