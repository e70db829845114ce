package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/host/hosttest"
	"sessiongate/jwks"
)

// syncTo is a syncer for one issuer and one file, at a time that the test sets.
func syncTo(t *testing.T, issuer *hosttest.Issuer, path string, now *int64) *syncer {
	t.Helper()
	var doc object
	require.NoError(t, json.Unmarshal(issuer.Policy(), &doc))
	doc["host"] = object{"traefik": object{"jwks_files": object{issuer.URL(): path}}}
	text, err := json.Marshal(doc)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "policy.json")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	s, err := (&SyncCmd{Policy: file, For: "traefik"}).open(&App{Context: t.Context(), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	s.now = func() int64 { return *now }
	return s
}

func readKeyFile(t *testing.T, path string) (document string, confirmedAt int64) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	d, at, err := jwks.ParseFile(b)
	require.NoError(t, err)
	return string(d), at
}

func TestSyncConfirms(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	path := filepath.Join(t.TempDir(), "keys.json")
	now := time.Now().Add(-100*time.Hour).UnixMilli() / 1000 * 1000
	s := syncTo(t, issuer, path, &now)
	step := func() error {
		_, err := s.step(t.Context(), s.files[0])
		return err
	}
	require.Error(t, s.ready())
	require.NoError(t, step())
	first, at := readKeyFile(t, path)
	assert.Equal(t, now, at)
	require.NoError(t, s.ready())
	// The same keys again: the file is as young as the answer.
	now += 3_600_000
	require.NoError(t, step())
	again, at := readKeyFile(t, path)
	assert.Equal(t, first, again)
	assert.Equal(t, now, at)
	// Nothing due, nothing written.
	require.NoError(t, os.Remove(path))
	require.NoError(t, step())
	assert.NoFileExists(t, path)

	// An issuer that is down confirms nothing; the keys grow old, and whoever asks hears of it.
	now += 3_600_000
	require.NoError(t, step())
	_, at = readKeyFile(t, path)
	issuer.SetDown(true)
	for range 30 {
		now += 3_600_000
		require.Error(t, step())
	}
	_, still := readKeyFile(t, path)
	assert.Equal(t, at, still)
	require.ErrorContains(t, s.ready(), "stale")

	// A successor takes over what is there.
	s = syncTo(t, issuer, path, &now)
	require.Error(t, step())
	require.ErrorContains(t, s.ready(), "stale")
	_, still = readKeyFile(t, path)
	assert.Equal(t, at, still)
	issuer.SetDown(false)
	now += 3_600_000
	require.NoError(t, step())
	require.NoError(t, s.ready())

	// A clock that is set back makes no file from the future.
	now -= 7_200_000
	require.NoError(t, step())
	_, at = readKeyFile(t, path)
	assert.Equal(t, now, at)
}

// Whatever fails on the way, the file is the old one or the new one, whole, and the
// write is tried again.
func TestSyncWriteFaults(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "keys.json")
	now := time.Now().UnixMilli() / 1000 * 1000
	s := syncTo(t, issuer, path, &now)
	f := s.files[0]
	_, err := s.step(t.Context(), f)
	require.NoError(t, err)
	old, _ := readKeyFile(t, path)

	full := errors.New("no space left on device")
	for _, step := range []string{"write", "chmod", "sync", "close", "rename"} {
		replace = func(path string, content []byte) error {
			return replaceFileWith(path, content, func(at string) error {
				if at == step {
					return full
				}
				return nil
			})
		}
		t.Cleanup(func() { replace = replaceFile })
		issuer.Rotate("ES256")
		now += 3_600_000
		next, err := s.step(t.Context(), f)
		require.ErrorIs(t, err, full, step)
		assert.LessOrEqual(t, next, now+1000)
		still, at := readKeyFile(t, path)
		assert.Equal(t, old, still, step)
		assert.Less(t, at, now)
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		assert.Len(t, entries, 1, "nothing else is left lying around: %s", step)
		now += 1000
		replace = replaceFile
		_, err = s.step(t.Context(), f)
		require.NoError(t, err)
		fresh, _ := readKeyFile(t, path)
		assert.NotEqual(t, old, fresh, step)
		old = fresh
	}
	// Only the directory was not synced: the new file is there, and is written once more.
	replace = func(path string, content []byte) error {
		return replaceFileWith(path, content, func(at string) error {
			if at == "sync directory" {
				return full
			}
			return nil
		})
	}
	now += 3_600_000
	_, err = s.step(t.Context(), f)
	require.ErrorIs(t, err, full)
	_, at := readKeyFile(t, path)
	assert.Equal(t, now-now%1000, at)
}

func TestSyncStops(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	now := time.Now().UnixMilli()
	s := syncTo(t, issuer, filepath.Join(t.TempDir(), "keys.json"), &now)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.keep(ctx, s.files[0])
	_, err := s.step(ctx, s.files[0])
	require.ErrorIs(t, err, context.Canceled)
}
