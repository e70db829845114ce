package main_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"
)

// What the guest may ask of a host: of WASI the clock and plain files, and of
// http-wasm these calls and no others.
var imports = map[string]string{
	"wasi_snapshot_preview1": "args_get args_sizes_get clock_time_get environ_get environ_sizes_get fd_close fd_fdstat_get fd_fdstat_set_flags " +
		"fd_prestat_dir_name fd_prestat_get fd_read fd_seek fd_write path_filestat_get path_open poll_oneoff proc_exit random_get sched_yield",
	"http_handler": "log_enabled log enable_features get_config get_method get_uri set_uri get_header_names get_header_values " +
		"set_header_value add_header_value remove_header set_status_code write_body",
}

func TestImportsAndExports(t *testing.T) {
	file := filepath.Join(t.TempDir(), "httpwasm.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", file, ".")
	for _, kv := range os.Environ() {
		// What a test run is built with (-race, -cover) is not for the guest.
		if name, _, _ := strings.Cut(kv, "="); name != "GOFLAGS" && name != "GOOS" && name != "GOARCH" {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, "GOOS=wasip1", "GOARCH=wasm")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	code, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Less(t, len(code), 6<<20)

	ctx := context.Background()
	runtime := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer runtime.Close(ctx)
	module, err := runtime.CompileModule(ctx, code)
	require.NoError(t, err)
	for _, f := range module.ImportedFunctions() {
		from, name, _ := f.Import()
		assert.Contains(t, strings.Fields(imports[from]), name, from)
	}
	var exports []string
	for name := range module.ExportedFunctions() {
		exports = append(exports, name)
	}
	assert.ElementsMatch(t, []string{"_initialize", "handle_request", "handle_response"}, exports)
	assert.Contains(t, module.ExportedMemories(), "memory")
}
