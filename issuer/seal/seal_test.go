package seal_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/issuer/seal"
)

var place = seal.Context{Issuer: "https://issuer.example", KeyID: "k1", Purpose: "signing"}

func sealer(t *testing.T) *seal.Sealer {
	t.Helper()
	s, err := seal.Parse(seal.Generate())
	require.NoError(t, err)
	return s
}

func TestSealOpen(t *testing.T) {
	s := sealer(t)
	secret := []byte("a private key")
	one, two := s.Seal(place, secret), s.Seal(place, secret)
	assert.NotEqual(t, one, two, "a nonce is used once")
	assert.False(t, bytes.Contains(one, secret))
	got, err := s.Open(place, one)
	require.NoError(t, err)
	assert.Equal(t, secret, got)
}

func TestOpenElsewhere(t *testing.T) {
	s := sealer(t)
	sealed := s.Seal(place, []byte("secret"))
	for name, c := range map[string]seal.Context{
		"issuer":   {Issuer: "https://other.example", KeyID: "k1", Purpose: "signing"},
		"key":      {Issuer: place.Issuer, KeyID: "k2", Purpose: "signing"},
		"purpose":  {Issuer: place.Issuer, KeyID: "k1", Purpose: "other"},
		"boundary": {Issuer: place.Issuer + "k", KeyID: "1", Purpose: "signing"},
	} {
		_, err := s.Open(c, sealed)
		assert.ErrorIs(t, err, seal.ErrDamaged, name)
	}
	_, err := sealer(t).Open(place, sealed)
	assert.ErrorIs(t, err, seal.ErrOtherKey)
}

func TestOpenDamaged(t *testing.T) {
	s := sealer(t)
	sealed := s.Seal(place, []byte("secret"))
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		_, err := s.Open(place, bad)
		assert.Error(t, err, "byte %d", i)
		_, err = s.Open(place, sealed[:i])
		assert.Error(t, err, "cut at %d", i)
	}
	_, err := s.Open(place, append(bytes.Clone(sealed), 0))
	assert.ErrorIs(t, err, seal.ErrDamaged)
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sealing.key")
	s, err := seal.CreateFile(path)
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o600), info.Mode())

	again, err := seal.ReadFile(path)
	require.NoError(t, err)
	got, err := again.Open(place, s.Seal(place, []byte("x")))
	require.NoError(t, err)
	assert.Equal(t, "x", string(got))

	_, err = seal.CreateFile(path)
	assert.ErrorIs(t, err, fs.ErrExist)
}

func TestReadFileRefuses(t *testing.T) {
	dir := t.TempDir()
	good := seal.Generate()
	write := func(name, text string, mode os.FileMode) string {
		p := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(p, []byte(text), 0o600))
		require.NoError(t, os.Chmod(p, mode))
		return p
	}
	for name, tc := range map[string]struct{ path, want string }{
		"missing":        {filepath.Join(dir, "none"), "no such file"},
		"directory":      {dir, "not a regular file"},
		"group-readable": {write("group", good, 0o640), "chmod"},
		"world-readable": {write("world", good, 0o604), "chmod"},
		"group-writable": {write("writable", good, 0o620), "chmod"},
		"empty":          {write("empty", "", 0o600), "must begin with"},
		"cut off":        {write("cut", good[:len(good)-4], 0o600), "cut off"},
		"two keys":       {write("two", good+"\n"+good, 0o600), "cut off"},
		"another secret": {write("other", "hunter2", 0o600), "must begin with"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := seal.ReadFile(tc.path)
			require.Error(t, err)
			assert.ErrorContains(t, err, tc.want)
			assert.ErrorContains(t, err, tc.path)
			assert.NotContains(t, err.Error(), strings.TrimPrefix(good, "sessiongate-sealing-key-1:"))
			assert.NotContains(t, err.Error(), "hunter2")
		})
	}
	_, err := seal.ReadFile(write("spaces", "\n "+good+"\n\n", 0o400))
	assert.NoError(t, err)
}
