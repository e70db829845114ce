package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, Create(path, []byte("one")))
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o600), info.Mode())

	err = Create(path, []byte("two"))
	assert.ErrorIs(t, err, fs.ErrExist)
	assert.ErrorContains(t, err, path)
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "one", string(got))
}

func TestCreateNeverFollowsALink(t *testing.T) {
	dir := t.TempDir()
	target, path := filepath.Join(dir, "target"), filepath.Join(dir, "f")
	require.NoError(t, os.Symlink(target, path))
	assert.ErrorIs(t, Create(path, []byte("x")), fs.ErrExist)
	assert.NoFileExists(t, target)
}

func TestCreateAppearsMeanwhile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	err := create(path, []byte("mine"), func(step string) error {
		if step == "before link" {
			return os.WriteFile(path, []byte("theirs"), 0o600)
		}
		return nil
	})
	assert.ErrorIs(t, err, fs.ErrExist)
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "theirs", string(got))
}

// TestCreateFaults lets each step fail, once with and once without its effect.
func TestCreateFaults(t *testing.T) {
	broken := errors.New("disk is broken")
	steps := []string{"open", "write", "sync", "close", "link", "sync directory"}
	for _, when := range []string{"before ", "after "} {
		for _, name := range steps {
			t.Run(when+name, func(t *testing.T) {
				dir := t.TempDir()
				path := filepath.Join(dir, "f")
				hit := false
				err := create(path, []byte("all of it"), func(step string) error {
					if step == when+name {
						hit = true
						return broken
					}
					return nil
				})
				require.True(t, hit)
				require.ErrorIs(t, err, broken)
				assert.ErrorContains(t, err, path)
				left, err := os.ReadDir(dir)
				require.NoError(t, err)
				if name == "sync directory" || when+name == "after link" {
					require.Len(t, left, 1)
					got, err := os.ReadFile(path)
					require.NoError(t, err)
					assert.Equal(t, "all of it", string(got))
				} else {
					assert.Empty(t, left, "nothing is left behind")
				}
			})
		}
	}
}

func TestCreateWithoutDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "no", "f")
	err := Create(path, nil)
	assert.ErrorIs(t, err, fs.ErrNotExist)
	assert.ErrorContains(t, err, path)
}
