package issuer_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/issuer"
	"sessiongate/issuer/seal"
)

func sealerAt(t *testing.T, path string) *seal.Sealer {
	t.Helper()
	s, err := seal.ReadFile(path)
	require.NoError(t, err)
	return s
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

func TestInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "data")
	s := settings()
	s.Algorithms = []string{"ES256", "EdDSA", "RS256"}
	made, err := issuer.Init(t.Context(), dir, s, nil)
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"issuer.json", "issuer.db", "sealing.key"}, entries(t, dir), "nothing else is left")
	for _, name := range entries(t, dir) {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		assert.Equal(t, fs.FileMode(0o600), info.Mode(), name)
	}
	assert.Regexp(t, `^sgk_[A-Z2-7]{16}_[A-Za-z0-9_-]{43}$`, made.APIKey)

	before := map[string][]byte{}
	for _, name := range entries(t, dir) {
		before[name], _ = os.ReadFile(filepath.Join(dir, name))
	}
	_, err = issuer.Init(t.Context(), dir, s, nil)
	require.ErrorIs(t, err, fs.ErrExist)
	assert.ErrorContains(t, err, dir)
	for name, data := range before {
		now, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		assert.Equal(t, data, now, "%s is untouched", name)
	}

	i, err := issuer.Open(t.Context(), dir, issuer.Config{}, nil)
	require.NoError(t, err)
	defer i.Close()
	k, err := i.Authenticate(t.Context(), made.APIKey)
	require.NoError(t, err)
	assert.Equal(t, issuer.Scopes(), k.Scopes)
	assert.Equal(t, made.APIKeyID, k.ID)
	require.NoError(t, i.Ready(t.Context()))
	assert.Len(t, i.Keys(), 3)
	for _, k := range i.Keys() {
		assert.Equal(t, "active", k.State.String())
	}
}

// TestNoSecretInDatabase looks for what must not be there in the clear.
func TestNoSecretInDatabase(t *testing.T) {
	f := start(t, nil)
	_, credential := f.session()
	require.NoError(t, f.Close())
	db, err := os.ReadFile(filepath.Join(f.dir, issuer.DatabaseFile))
	require.NoError(t, err)
	sealing, err := os.ReadFile(filepath.Join(f.dir, "sealing.key"))
	require.NoError(t, err)
	assert.True(t, bytes.Contains(db, []byte("alice")), "the search works")
	for what, secret := range map[string]string{
		"API key": f.key[len(f.key)-43:], "session token": strings.TrimPrefix(credential, "sgs_"),
		"sealing key": strings.TrimSpace(string(sealing))[30:], "PKCS #8 of P-256": "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x04\x6d",
	} {
		assert.False(t, bytes.Contains(db, []byte(secret)), what)
		assert.NotContains(t, f.log.String(), secret, what)
	}
}

// TestInitTakesBack lets init fail at each of its steps: afterwards the directory
// holds nothing that init made.
func TestInitTakesBack(t *testing.T) {
	for name, tc := range map[string]struct {
		prepare func(t *testing.T, dir string, s *issuer.Settings)
		want    string
		left    []string
	}{
		"settings": {func(_ *testing.T, _ string, s *issuer.Settings) { s.TokenTTL = 0 }, "token_ttl: ", nil},
		"sealing key is there": {func(t *testing.T, dir string, _ *issuer.Settings) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "sealing.key"), []byte("mine"), 0o600))
		}, "sealing.key", []string{"sealing.key"}},
		"sealing key elsewhere": {func(_ *testing.T, _ string, s *issuer.Settings) { s.SealingKeyFile = "/nowhere/at/all.key" }, "/nowhere/at/all.key", nil},
		"no variable": {func(_ *testing.T, _ string, s *issuer.Settings) {
			s.SealingKeyFile, s.SealingKeyEnv = "", "SEALING"
		}, "SEALING is not set", nil},
		"database is there": {func(t *testing.T, dir string, _ *issuer.Settings) {
			require.NoError(t, os.Mkdir(filepath.Join(dir, "issuer.db"), 0o700))
		}, "issuer.db", []string{"issuer.db"}},
		"database cannot be made": {func(t *testing.T, dir string, _ *issuer.Settings) {
			require.NoError(t, os.Mkdir(filepath.Join(dir, "issuer.db-wal"), 0o700)) // where SQLite wants its log
		}, "issuer.db", []string{"issuer.db-wal"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := settings()
			tc.prepare(t, dir, &s)
			_, err := issuer.Init(t.Context(), dir, s, func(string) string { return "" })
			require.Error(t, err)
			assert.ErrorContains(t, err, tc.want)
			assert.ElementsMatch(t, tc.left, entries(t, dir))
		})
	}
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := issuer.Init(t.Context(), file, settings(), nil)
	assert.ErrorContains(t, err, file)
}

func TestSealingKeyInEnvironment(t *testing.T) {
	dir, key := t.TempDir(), seal.Generate()
	s := settings()
	s.SealingKeyFile, s.SealingKeyEnv = "", "SEALING"
	env := func(name string) string {
		if name == "SEALING" {
			return key
		}
		return ""
	}
	_, err := issuer.Init(t.Context(), dir, s, env)
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"issuer.json", "issuer.db"}, entries(t, dir))
	i, err := issuer.Open(t.Context(), dir, issuer.Config{}, env)
	require.NoError(t, err)
	require.NoError(t, i.Close())

	_, err = issuer.Open(t.Context(), dir, issuer.Config{}, nil)
	assert.ErrorContains(t, err, "SEALING is not set")
	good := key
	key = "no key"
	_, err = issuer.Open(t.Context(), dir, issuer.Config{}, env)
	assert.ErrorContains(t, err, "environment variable SEALING")
	key = seal.Generate()
	_, err = issuer.Open(t.Context(), dir, issuer.Config{}, env)
	assert.ErrorIs(t, err, seal.ErrOtherKey)
	assert.NotContains(t, err.Error(), good)
}

func TestOpenRefuses(t *testing.T) {
	edit := func(from, to string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, "issuer.json")
			doc, err := os.ReadFile(path)
			require.NoError(t, err)
			changed := strings.Replace(string(doc), from, to, 1)
			require.NotEqual(t, string(doc), changed)
			require.NoError(t, os.WriteFile(path, []byte(changed), 0o600))
		}
	}
	at := func(name string, data []byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
		}
	}
	for name, tc := range map[string]struct {
		damage func(t *testing.T, dir string)
		want   []string
	}{
		"no settings":           {func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, "issuer.json"))) }, []string{"issuer.json", "does not exist"}},
		"broken settings":       {at("issuer.json", []byte("{")), []string{"issuer.json", "not strict JSON"}},
		"wrong settings":        {edit(`"skew": 60`, `"skew": 600`), []string{"issuer.json", "skew: "}},
		"other issuer":          {edit(issuerURL, "https://other.example"), []string{issuerURL, "https://other.example"}},
		"no sealing key":        {func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, "sealing.key"))) }, []string{"sealing.key"}},
		"truncated sealing key": {at("sealing.key", []byte("sessiongate-sealing-key-1:abc")), []string{"sealing.key", "cut off"}},
		"other sealing key":     {at("sealing.key", []byte(seal.Generate())), []string{"signing key", "another sealing key"}},
		"open sealing key":      {func(t *testing.T, dir string) { require.NoError(t, os.Chmod(filepath.Join(dir, "sealing.key"), 0o644)) }, []string{"sealing.key", "chmod"}},
		"no database":           {func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, "issuer.db"))) }, []string{"issuer.db", "does not exist"}},
		"corrupt database":      {at("issuer.db", bytes.Repeat([]byte("garbage "), 2000)), []string{"issuer.db", "damaged"}},
		"truncated database": {func(t *testing.T, dir string) {
			require.NoError(t, os.Truncate(filepath.Join(dir, "issuer.db"), 5000))
		}, []string{"issuer.db", "damaged"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := issuer.Init(t.Context(), dir, settings(), nil)
			require.NoError(t, err)
			tc.damage(t, dir)
			_, err = issuer.Open(t.Context(), dir, issuer.Config{}, nil)
			require.Error(t, err)
			for _, want := range tc.want {
				assert.ErrorContains(t, err, want)
			}
		})
	}
	_, err := issuer.New(t.Context(), issuer.Config{Settings: settings()})
	assert.ErrorContains(t, err, "Config.Store")
}
