package sqlite_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/issuer/store"
	"sessiongate/issuer/store/sqlite"
	"sessiongate/issuer/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Open {
		path := filepath.Join(t.TempDir(), "issuer.db")
		return func(t *testing.T) store.Store {
			open := sqlite.Open
			if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
				open = sqlite.Create
			}
			db, err := open(t.Context(), path)
			require.NoError(t, err)
			t.Cleanup(func() { db.Close() })
			return db
		}
	})
}

func create(t *testing.T, path string) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Create(t.Context(), path)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

// filled makes a database with some users and closes it.
func filled(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "issuer.db")
	db := create(t, path)
	for i := range 200 {
		_, err := db.PutUser(t.Context(), store.User{ID: fmt.Sprint("user", i), Traits: bytes.Repeat([]byte(" "), 500)})
		require.NoError(t, err)
	}
	require.NoError(t, db.Close())
	return path
}

func TestCreate(t *testing.T) {
	// A name that means something in a URI.
	path := filepath.Join(t.TempDir(), "a b%20?c#d&e=;é.db")
	create(t, path)
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o600), info.Mode())
	for _, suffix := range []string{"-wal", "-shm"} {
		info, err := os.Stat(path + suffix)
		require.NoError(t, err, "the write-ahead log lies beside it")
		assert.Equal(t, fs.FileMode(0o600), info.Mode())
	}
	_, err = sqlite.Create(t.Context(), path)
	assert.ErrorIs(t, err, fs.ErrExist)
	assert.ErrorContains(t, err, path)

	left := filepath.Join(t.TempDir(), "left.db")
	require.NoError(t, os.WriteFile(left+"-wal", []byte("of another database"), 0o600))
	_, err = sqlite.Create(t.Context(), left)
	assert.ErrorIs(t, err, fs.ErrExist)
	assert.ErrorContains(t, err, left+"-wal")
	assert.NoFileExists(t, left)
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		p := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(p, data, 0o600))
		return p
	}
	whole, err := os.ReadFile(filled(t))
	require.NoError(t, err)
	scratched := bytes.Clone(whole)
	for i := 4096; i < len(scratched); i += 3 {
		scratched[i] ^= 0xa5
	}
	for name, tc := range map[string]struct{ path, want string }{
		"missing":   {filepath.Join(dir, "none.db"), "does not exist"},
		"directory": {dir, "is not a regular file"},
		"empty":     {file("empty.db", nil), "is empty"},
		"garbage":   {file("garbage.db", bytes.Repeat([]byte("not a database. "), 512)), "is damaged"},
		"truncated": {file("truncated.db", whole[:len(whole)/2]), "is damaged"},
		"cut short": {file("short.db", whole[:50]), "is damaged"},
		"scratched": {file("scratched.db", scratched), "is damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sqlite.Open(t.Context(), tc.path)
			require.Error(t, err)
			assert.ErrorContains(t, err, tc.path)
			assert.ErrorContains(t, err, tc.want)
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	path := filled(t)
	raw, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	_, err = raw.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)")
	require.NoError(t, err)
	require.NoError(t, raw.Close())
	_, err = sqlite.Open(t.Context(), path)
	assert.ErrorContains(t, err, path)
	assert.ErrorContains(t, err, "newer release")
}

// TestCopyOfRunningDatabase is a power cut as the file system sees it: whatever
// was committed is in the files at that moment, without a Close.
func TestCopyOfRunningDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "issuer.db")
	db := create(t, path)
	for i := range 20 {
		_, err := db.PutUser(t.Context(), store.User{ID: fmt.Sprint("u", i)})
		require.NoError(t, err)
		if i%5 != 0 {
			continue
		}
		crashed := filepath.Join(t.TempDir(), "crashed.db")
		for _, suffix := range []string{"", "-wal"} {
			data, err := os.ReadFile(path + suffix)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(crashed+suffix, data, 0o600))
		}
		again, err := sqlite.Open(t.Context(), crashed)
		require.NoError(t, err)
		_, err = again.User(t.Context(), fmt.Sprint("u", i))
		assert.NoError(t, err, "committed")
		require.NoError(t, again.Close())
	}
}

// TestReadsDoNotWaitForWrites holds a write open and reads meanwhile.
func TestReadsDoNotWaitForWrites(t *testing.T) {
	db := create(t, filepath.Join(t.TempDir(), "issuer.db"))
	_, err := db.PutUser(t.Context(), store.User{ID: "u"})
	require.NoError(t, err)
	require.NoError(t, db.CreateSession(t.Context(), store.Session{ID: "s", UserID: "u", CredentialHash: []byte("h"), Status: store.Active}))
	_, err = db.UpdateSession(t.Context(), "s", func(*store.Session) error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := db.Session(ctx, "s")
		return err
	})
	assert.NoError(t, err)
}

// TestReadOnlyDirectory runs itself as a process without the rights of root, to
// whom a read-only directory means nothing.
func TestReadOnlyDirectory(t *testing.T) {
	if dir := os.Getenv("SESSIONGATE_TEST_READONLY"); dir != "" {
		_, err := sqlite.Open(t.Context(), filepath.Join(dir, "issuer.db"))
		require.Error(t, err)
		assert.ErrorContains(t, err, filepath.Join(dir, "issuer.db"))
		assert.ErrorContains(t, err, "cannot be written")
		_, err = sqlite.Create(t.Context(), filepath.Join(dir, "new.db"))
		require.ErrorIs(t, err, fs.ErrPermission)
		assert.ErrorContains(t, err, filepath.Join(dir, "new.db"))
		return
	}
	path := filled(t)
	dir := filepath.Dir(path)
	require.NoError(t, os.Chmod(path, 0o400))
	require.NoError(t, os.Chmod(dir, 0o500))
	t.Cleanup(func() { os.Chmod(dir, 0o700) })
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestReadOnlyDirectory$", "-test.v")
	cmd.Env = append(os.Environ(), "SESSIONGATE_TEST_READONLY="+dir)
	unprivileged(cmd)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), "--- PASS: TestReadOnlyDirectory")
}
