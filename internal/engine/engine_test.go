package engine_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/internal/abi"
	"sessiongate/internal/engine"
	"sessiongate/internal/guesttest"
)

func newEngine(t *testing.T, c engine.Config) *engine.Engine {
	t.Helper()
	c.CacheDir = guesttest.CacheDir(t)
	if c.MemoryLimit == 0 {
		c.MemoryLimit = 256 << 20
	}
	e, err := engine.New(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

func instance(t *testing.T, c engine.Config, wasm []byte) *engine.Instance {
	t.Helper()
	m, err := newEngine(t, c).Compile(t.Context(), wasm)
	require.NoError(t, err)
	i, err := m.Instantiate(t.Context())
	require.NoError(t, err)
	t.Cleanup(i.Close)
	return i
}

// A sketch is a module written by hand: one page of memory and four functions.
type sketch struct {
	imports  [][2]string // functions without parameters
	without  string      // an export to leave out
	renamed  [2]string   // an export under another name
	version  byte
	buffer   byte   // what sg_buffer returns
	output   int64  // what sg_call returns
	odd      bool   // sg_call takes no time
	memory   string // the export's name; "" is "memory"
	trapping string // an export that traps
}

func (s sketch) wasm() []byte {
	section := func(id byte, entries ...[]byte) []byte {
		body := leb(int64(len(entries)))
		for _, e := range entries {
			body = append(body, e...)
		}
		return append(append([]byte{id}, leb(int64(len(body)))...), body...)
	}
	name := func(n string) []byte { return append(leb(int64(len(n))), n...) }
	const i32, i64 = 0x7f, 0x7e
	types := [][]byte{
		{0x60, 0, 0},
		{0x60, 0, 1, i32},
		{0x60, 1, i32, 1, i32},
		{0x60, 3, i32, i32, i64, 1, i64},
		{0x60, 2, i32, i32, 1, i64},
	}
	callType := byte(3)
	if s.odd {
		callType = 4
	}
	names := []string{"_initialize", "sg_abi_version", "sg_buffer", "sg_call"}
	kinds := []byte{0, 1, 2, callType}
	bodies := [][]byte{{}, {0x41, s.version}, {0x41, s.buffer}, append([]byte{0x42}, sleb(s.output)...)}
	var imports, functions, exports, code [][]byte
	for _, i := range s.imports {
		imports = append(imports, append(append(name(i[0]), name(i[1])...), 0, 0))
	}
	for n, export := range names {
		functions = append(functions, []byte{kinds[n]})
		body := append(append([]byte{0}, bodies[n]...), 0x0b)
		if s.trapping == export {
			body = []byte{0, 0x00, 0x0b} // unreachable
		}
		code = append(code, append(leb(int64(len(body))), body...))
		if export == s.without {
			continue
		}
		if export == s.renamed[0] {
			export = s.renamed[1]
		}
		exports = append(exports, append(name(export), 0, byte(len(imports)+n)))
	}
	if s.memory == "" {
		s.memory = "memory"
	}
	exports = append(exports, append(name(s.memory), 2, 0))
	m := []byte("\x00asm\x01\x00\x00\x00")
	m = append(m, section(1, types...)...)
	if len(imports) > 0 {
		m = append(m, section(2, imports...)...)
	}
	m = append(m, section(3, functions...)...)
	m = append(m, section(5, []byte{0, 1})...)
	m = append(m, section(7, exports...)...)
	return append(m, section(10, code...)...)
}

func leb(n int64) []byte {
	var b []byte
	for {
		c := byte(n & 0x7f)
		if n >>= 7; n == 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func sleb(n int64) []byte {
	var b []byte
	for {
		c := byte(n & 0x7f)
		n >>= 7
		if n == 0 && c&0x40 == 0 || n == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func TestCompileRefuses(t *testing.T) {
	e := newEngine(t, engine.Config{})
	tests := []struct {
		name, want string
		wasm       []byte
	}{
		{"nothing", "is no usable guest", nil},
		{"not wasm", "is no usable guest", []byte("<html>")},
		{"cut short", "is no usable guest", guesttest.Core(t)[:100_000]},
		{"foreign import", "imports env.fetch, which this host does not offer", sketch{version: 1, imports: [][2]string{{"env", "fetch"}}}.wasm()},
		{"file access", "imports wasi_snapshot_preview1.path_open", sketch{version: 1, imports: [][2]string{{"wasi_snapshot_preview1", "path_open"}}}.wasm()},
		{"no initialize", "does not export the function _initialize", sketch{version: 1, without: "_initialize"}.wasm()},
		{"no version", "does not export the function sg_abi_version", sketch{version: 1, without: "sg_abi_version"}.wasm()},
		{"no buffer", "does not export the function sg_buffer", sketch{version: 1, without: "sg_buffer"}.wasm()},
		{"no call", "does not export the function sg_call", sketch{version: 1, without: "sg_call"}.wasm()},
		{"a command", "-buildmode=c-shared", sketch{version: 1, renamed: [2]string{"_initialize", "_start"}}.wasm()},
		{"another signature", "function sg_call has another signature", sketch{version: 1, odd: true}.wasm()},
		{"no memory", "does not export its memory", sketch{version: 1, memory: "m"}.wasm()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := e.Compile(t.Context(), tt.wasm)
			require.ErrorIs(t, err, engine.ErrModule)
			assert.ErrorContains(t, err, tt.want)
		})
	}
}

func TestInstantiateRefuses(t *testing.T) {
	e := newEngine(t, engine.Config{})
	for _, tt := range []struct {
		name, want string
		sketch     sketch
	}{
		{"older ABI", "speaks version 0 of the ABI, this host version 1", sketch{}},
		{"newer ABI", "speaks version 2 of the ABI, this host version 1", sketch{version: 2}},
		{"trap at start", "unreachable", sketch{version: 1, trapping: "_initialize"}},
		{"trap when asked", "sg_abi_version", sketch{version: 1, trapping: "sg_abi_version"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := e.Compile(t.Context(), tt.sketch.wasm())
			require.NoError(t, err)
			defer m.Close()
			_, err = m.Instantiate(t.Context())
			require.ErrorIs(t, err, engine.ErrModule)
			assert.ErrorContains(t, err, tt.want)
		})
	}
}

// A guest that gives addresses outside its memory, or nothing, is broken, and the
// host is none the worse for it.
func TestCallOfALyingGuest(t *testing.T) {
	for name, s := range map[string]sketch{
		"no buffer":           {version: 1, output: 1},
		"output far outside":  {version: 1, buffer: 8, output: -1},
		"output past the end": {version: 1, buffer: 8, output: 65535<<32 | 2},
		"empty output":        {version: 1, buffer: 8, output: 16 << 32},
		"trap":                {version: 1, buffer: 8, trapping: "sg_call"},
		"trap in the buffer":  {version: 1, trapping: "sg_buffer"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := instance(t, engine.Config{}, s.wasm()).Call(t.Context(), abi.CallStats, 0, nil)
			require.ErrorIs(t, err, engine.ErrBroken)
		})
	}
	// The buffer lies at 63, so that an input of a page does not fit.
	i := instance(t, engine.Config{}, sketch{version: 1, buffer: 63}.wasm())
	_, _, err := i.CallString(t.Context(), abi.CallVerify, 0, strings.Repeat("x", 65536))
	require.ErrorIs(t, err, engine.ErrBroken)
}

func TestCall(t *testing.T) {
	i := instance(t, engine.Config{}, guesttest.Core(t))
	status, _, err := i.Call(t.Context(), abi.CallVerify, 0, []byte("x"))
	require.NoError(t, err)
	assert.Equal(t, abi.StatusNotConfigured, status)

	status, text, err := i.CallString(t.Context(), abi.CallConfigure, 0, "")
	require.NoError(t, err)
	assert.Equal(t, abi.StatusBadInput, status)
	assert.Empty(t, text)

	for _, number := range []abi.Call{0, abi.CallUpdateRevocations, abi.CallTestPanic, 1 << 31} {
		status, _, err = i.Call(t.Context(), number, 0, nil)
		require.NoError(t, err)
		assert.Equal(t, abi.StatusUnsupported, status, "call %d", number)
	}

	_, _, err = i.CallString(t.Context(), abi.CallVerify, 0, strings.Repeat("x", abi.MaxInput+1))
	require.ErrorIs(t, err, engine.ErrInput)
	status, _, err = i.CallString(t.Context(), abi.CallVerify, 0, strings.Repeat("x", abi.MaxInput))
	require.NoError(t, err)
	assert.Equal(t, abi.StatusNotConfigured, status)
	assert.Positive(t, i.MemorySize())
}

func TestBrokenGuest(t *testing.T) {
	wasm := guesttest.CoreWithTestCalls(t)
	for _, tt := range []struct {
		name, want string
		number     abi.Call
	}{
		{"recovered panic", "guest instance is broken", abi.CallTestPanic},
		{"deadlock", "deadlock", abi.CallTestTrap},
		{"out of memory", "out of memory", abi.CallTestGrow},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := instance(t, engine.Config{MemoryLimit: 32 << 20}, wasm)
			_, _, err := i.Call(t.Context(), tt.number, 0, nil)
			require.ErrorIs(t, err, engine.ErrBroken)
			assert.ErrorContains(t, err, tt.want)
			assert.NotContains(t, err.Error(), "\n")
			_, _, err = i.Call(t.Context(), abi.CallStats, 0, nil)
			require.ErrorIs(t, err, engine.ErrBroken, "nothing works from then on")
		})
	}
}

func TestInterruption(t *testing.T) {
	i := instance(t, engine.Config{Interruptible: true}, guesttest.CoreWithTestCalls(t))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _, err := i.Call(ctx, abi.CallTestLoop, 0, nil)
	require.ErrorIs(t, err, engine.ErrBroken)
	assert.ErrorContains(t, err, "interrupted")
}

func TestMemoryLimit(t *testing.T) {
	for _, limit := range []int64{-1, 0, 1, 64<<10 - 1, 4<<30 + 1} {
		e, err := engine.New(t.Context(), engine.Config{MemoryLimit: limit})
		if limit == 1 || limit == 64<<10-1 {
			require.NoError(t, err, "rounded up to a page")
			require.NoError(t, e.Close())
		} else {
			require.ErrorContains(t, err, "memory limit", "%d", limit)
		}
	}
	_, err := newEngine(t, engine.Config{MemoryLimit: 64 << 10}).Compile(t.Context(), guesttest.Core(t))
	require.ErrorIs(t, err, engine.ErrModule)
}

func TestCacheDirThatIsNone(t *testing.T) {
	file := t.TempDir() + "/file"
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := engine.New(t.Context(), engine.Config{MemoryLimit: 1 << 20, CacheDir: file})
	require.ErrorContains(t, err, "compilation cache")
}
