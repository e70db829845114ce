package guesttest_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"sessiongate/internal/engine"
	"sessiongate/internal/guesttest"
)

// TestWarm compiles a guest into the cache. Without a file it takes the guest that
// ships, which has to compile in any case.
func TestWarm(t *testing.T) {
	var wasm []byte
	dir := os.Getenv("GUESTTEST_CACHE")
	if file := os.Getenv("GUESTTEST_MODULE"); file != "" {
		var err error
		wasm, err = os.ReadFile(file)
		require.NoError(t, err)
	} else {
		wasm, dir = guesttest.Core(t), guesttest.CacheDir(t)
	}
	for _, interruptible := range []bool{false, true} {
		e, err := engine.New(t.Context(), engine.Config{CacheDir: dir, MemoryLimit: 64 << 20, Interruptible: interruptible})
		require.NoError(t, err)
		_, err = e.Compile(t.Context(), wasm)
		require.NoError(t, err)
		require.NoError(t, e.Close())
	}
}
