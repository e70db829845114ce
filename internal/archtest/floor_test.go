package archtest

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The linker says nothing when it is told to set a variable that is not there, and
// then the guests' clock floor is not the commit's time.
func TestMakefileSetsTheClockFloor(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	require.NoError(t, err)
	names := regexp.MustCompile(`-X main\.(\w+)=\$\(COMMITTED\)`).FindSubmatch(makefile)
	require.NotNil(t, names, "the Makefile hands the linker the commit's time")
	declared := regexp.MustCompile(`(?m)^var ` + string(names[1]) + ` string$`)
	guests, err := filepath.Glob("../../wasm/*/exports.go")
	require.NoError(t, err)
	require.NotEmpty(t, guests)
	for _, file := range guests {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.Regexp(t, declared, string(source), file)
	}
}
