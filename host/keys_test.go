package host_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/host"
	"sessiongate/host/hosttest"
	"sessiongate/jwks"
	"sessiongate/verdict"
)

const soon = 15 * time.Second // much longer than anything takes that is waited for

func verifies(h *host.Host, token string) error {
	_, err := h.Verify(context.Background(), token)
	return err
}

// becomes waits until a token is judged so.
func becomes(t *testing.T, h *host.Host, token string, want verdict.Reason) {
	t.Helper()
	var err error
	require.Eventually(t, func() bool {
		err = verifies(h, token)
		if want == verdict.None {
			return err == nil
		}
		return err == error(want)
	}, soon, 5*time.Millisecond, "want %v", want)
}

func TestKeysOutageAtStart(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	issuer.SetDown(true)
	h := start(t, host.Config{Policy: issuer.Policy()}) // no error: it may come up
	token := issuer.Mint(nil)
	require.ErrorIs(t, verifies(h, token), verdict.KeysUnavailable)
	assert.Equal(t, host.KeysMissing, h.Keys()[0].State)
	d, err := h.Filter(t.Context(), host.Request{Method: "GET", Host: "h", Path: "/", Headers: []verdict.Field{{Name: "authorization", Value: "Bearer " + token}}})
	require.NoError(t, err)
	assert.Equal(t, 503, d.Status)
	issuer.SetDown(false)
	becomes(t, h, token, verdict.None)
	assert.Equal(t, host.KeysReady, h.Keys()[0].State)
	assert.Equal(t, 1, h.Keys()[0].Usable)
}

func TestKeysOutageLater(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	c := newClock()
	issuer.SetNow(c.now)
	issuer.SetMaxAge(time.Minute)
	h := start(t, host.Config{Now: c.now, Policy: document(t, issuer, func(issuer, _ map[string]any) { issuer["max_stale"] = 3600 })})
	require.NoError(t, verifies(h, issuer.Mint(nil)))
	issuer.SetDown(true)
	// One step of the clock at a time, so that fetches fail in between.
	for range 4 {
		before := issuer.Fetches()
		c.advance(15 * time.Minute)
		require.Eventually(t, func() bool { return issuer.Fetches() > before }, soon, 5*time.Millisecond)
		require.NoError(t, verifies(h, issuer.Mint(nil)), "served from the last good set")
	}
	assert.Equal(t, host.KeysReady, h.Keys()[0].State)
	c.advance(time.Millisecond)
	require.ErrorIs(t, verifies(h, issuer.Mint(nil)), verdict.KeysStale)
	assert.Equal(t, host.KeysStale, h.Keys()[0].State)
	assert.InDelta(t, 3600, metric(t, h, "sessiongate_keys_age_seconds", issuer.URL()), 1)
	issuer.SetDown(false)
	c.advance(time.Minute)
	becomes(t, h, issuer.Mint(nil), verdict.None)
}

// A clock that was ahead when the keys were confirmed, and is set back while the
// issuer is down, does not make them live longer.
func TestKeysClockSetBack(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	c := newClock()
	c.advance(10 * time.Hour)
	issuer.SetNow(c.now)
	h := start(t, host.Config{Now: c.now, Policy: document(t, issuer, func(issuer, _ map[string]any) { issuer["max_stale"] = 3600 })})
	require.NoError(t, verifies(h, issuer.Mint(nil)))
	issuer.SetDown(true)
	c.advance(-10 * time.Hour)
	require.Eventually(t, func() bool { return metric(t, h, "sessiongate_keys_age_seconds", issuer.URL()) == 0 }, soon, 5*time.Millisecond)
	require.NoError(t, verifies(h, issuer.Mint(nil)))
	c.advance(time.Hour + time.Millisecond)
	require.ErrorIs(t, verifies(h, issuer.Mint(nil)), verdict.KeysStale)
}

func TestKeysBadUpdate(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	var body atomic.Value
	body.Store(issuer.KeySet())
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=1")
		_, _ = w.Write(body.Load().([]byte))
	}))
	defer s.Close()
	log := new(logBuffer)
	h := start(t, host.Config{Logger: slog.New(slog.NewTextHandler(log, nil)), Policy: document(t, issuer, func(issuer, _ map[string]any) { issuer["jwks_uri"] = s.URL })})
	token := issuer.Mint(nil)
	require.NoError(t, verifies(h, token))
	body.Store([]byte(`<html>TOPSECRET</html>`))
	require.Eventually(t, func() bool { return metric(t, h, "sessiongate_key_fetches_total", "rejected") >= 1 }, soon, 10*time.Millisecond)
	require.NoError(t, verifies(h, token))
	assert.Contains(t, log.String(), "the last good ones stay")
	assert.NotContains(t, log.String(), "TOPSECRET", "what others write is not logged")
	issuer.Rotate("ES256")
	body.Store(issuer.KeySet())
	becomes(t, h, issuer.Mint(nil), verdict.None)
}

// While keys rotate, no good token is refused: the new key arrives when the first
// token of it is seen, if not before. Once caches have turned over, a withdrawn
// key's tokens are refused.
func TestRotationUnderLoad(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	issuer.Rotate("EdDSA")
	issuer.SetMaxAge(time.Hour) // so that only the unknown kid brings the new key
	h := start(t, host.Config{Policy: issuer.Policy()})
	old := issuer.Mint(nil)
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	var verified atomic.Int64
	for range 3 {
		load.Go(func() {
			for ctx.Err() == nil {
				if !assert.NoError(t, verifies(h, old)) {
					return
				}
				verified.Add(1)
			}
		})
	}
	issuer.Rotate("EdDSA")
	next := issuer.Mint(nil)
	becomes(t, h, next, verdict.None)
	// A random kid cannot make the issuer be asked more than once a cooldown.
	before, began := issuer.Fetches(), time.Now()
	for range 200 {
		_ = verifies(h, issuer.MintWithHeader(map[string]any{"kid": time.Now().String()}, nil))
	}
	assert.LessOrEqual(t, issuer.Fetches()-before, 2+int(time.Since(began)/time.Second))
	stop()
	load.Wait()
	assert.Greater(t, verified.Load(), int64(10))

	issuer.Withdraw()
	issuer.SetMaxAge(time.Second)
	// Something unknown makes it fetch; the withdrawn key goes with that.
	require.Eventually(t, func() bool {
		_ = verifies(h, issuer.MintWithHeader(map[string]any{"kid": time.Now().String()}, nil))
		return verifies(h, old) != nil
	}, soon, 50*time.Millisecond)
	require.ErrorIs(t, verifies(h, old), verdict.UnknownKey)
	require.NoError(t, verifies(h, next))
}

func TestUpdateKeys(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	inline := document(t, issuer, func(is, _ map[string]any) {
		delete(is, "jwks_uri")
		delete(is, "cooldown")
		is["jwks"] = json.RawMessage(issuer.KeySet())
	})
	h := start(t, host.Config{Policy: inline, Instances: 3})
	old := issuer.Mint(nil)
	require.NoError(t, verifies(h, old))
	var faults *host.ConfigError
	for _, bad := range []string{"", "{", `{"keys":[]}`, strings.Repeat(" ", 5<<20)} {
		require.Error(t, h.UpdateKeys(issuer.URL(), []byte(bad)))
	}
	require.ErrorAs(t, h.UpdateKeys(issuer.URL(), []byte(`{"keys":[]}`)), &faults)
	require.ErrorContains(t, h.UpdateKeys("https://else.example", issuer.KeySet()), "no key set of it")
	require.NoError(t, verifies(h, old))

	// Three instances exist; each has caught up when it is next taken.
	var releases []func()
	for range 3 {
		_, release, err := h.Hold(t.Context())
		require.NoError(t, err)
		releases = append(releases, release)
	}
	issuer.Rotate("ES256")
	issuer.Withdraw()
	next := issuer.Mint(nil)
	updated := make(chan error)
	go func() { updated <- h.UpdateKeys(issuer.URL(), issuer.KeySet()) }()
	for _, release := range releases {
		release()
	}
	require.NoError(t, <-updated)
	var all sync.WaitGroup
	for range 12 {
		all.Go(func() {
			assert.NoError(t, verifies(h, next))
			assert.ErrorIs(t, verifies(h, old), verdict.UnknownKey)
		})
	}
	all.Wait()
	assert.Equal(t, 3, h.Live())
	assert.Equal(t, 1, h.Keys()[0].Usable)
}

func TestInlineKeysDoNotAge(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	c := newClock()
	issuer.SetNow(c.now)
	h := start(t, host.Config{Now: c.now, Policy: document(t, issuer, func(is, _ map[string]any) {
		delete(is, "jwks_uri")
		delete(is, "cooldown")
		is["jwks"] = json.RawMessage(issuer.KeySet())
	})})
	c.advance(1000 * 24 * time.Hour)
	require.NoError(t, verifies(h, issuer.Mint(nil)))
	assert.Equal(t, host.KeyStatus{Issuer: issuer.URL(), Source: "inline", State: host.KeysReady}, h.Keys()[0])
	assert.Zero(t, issuer.Fetches())
}

func TestDiscovery(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	h := start(t, host.Config{Policy: document(t, issuer, func(is, _ map[string]any) {
		delete(is, "jwks_uri")
		is["discovery"] = issuer.DiscoveryURL()
	})})
	require.NoError(t, verifies(h, issuer.Mint(nil)))
	issuer.Rotate("ES256")
	becomes(t, h, issuer.Mint(nil), verdict.None)
}

func TestDiscoveryOfSomebodyElse(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	for name, body := range map[string]string{
		"another issuer":       `{"issuer":"https://else.example","jwks_uri":"` + issuer.JWKSURL() + `"}`,
		"no issuer":            `{"jwks_uri":"` + issuer.JWKSURL() + `"}`,
		"name in another case": `{"ISSUER":"` + issuer.URL() + `","jwks_uri":"` + issuer.JWKSURL() + `"}`,
		"keys over http":       `{"issuer":"` + issuer.URL() + `","jwks_uri":"http://issuer.example/keys"}`,
		"not JSON":             `<html>`,
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
			defer s.Close()
			h := start(t, host.Config{Policy: document(t, issuer, func(is, _ map[string]any) {
				delete(is, "jwks_uri")
				is["discovery"] = s.URL
			})})
			require.ErrorIs(t, verifies(h, issuer.Mint(nil)), verdict.KeysUnavailable)
		})
	}
}

// What a fetch does not take for an answer.
func TestFetchBounds(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	good := issuer.KeySet()
	var followed atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		followed.Store(true)
		_, _ = w.Write(good)
	}))
	defer elsewhere.Close()
	for name, handler := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
		"too large": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(append(good, strings.Repeat(" ", 1<<20)...))
		},
		"status 500":          func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500); _, _ = w.Write(good) },
		"status 206":          func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(206); _, _ = w.Write(good) },
		"304 out of the blue": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) },
		"cut short": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100000")
			_, _ = w.Write(good)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(handler)
			defer s.Close()
			h := start(t, host.Config{Policy: document(t, issuer, func(is, _ map[string]any) { is["jwks_uri"] = s.URL })})
			require.ErrorIs(t, verifies(h, issuer.Mint(nil)), verdict.KeysUnavailable)
		})
	}
	assert.False(t, followed.Load())
}

func TestNewIsBoundedByItsContext(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer s.Close()
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(500*time.Millisecond, cancel)
	began := time.Now()
	h, err := tryStartWith(t, ctx, host.Config{Policy: document(t, issuer, func(is, _ map[string]any) { is["jwks_uri"] = s.URL })})
	require.ErrorIs(t, err, context.Canceled)
	assert.Nil(t, h)
	assert.Less(t, time.Since(began), soon)
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path+".new", data, 0o600))
	require.NoError(t, os.Rename(path+".new", path))
}

// keyFile is a policy whose keys are read from a file.
func keyFile(t *testing.T, issuer *hosttest.Issuer, file string, maxStale int) []byte {
	t.Helper()
	var doc map[string]any
	require.NoError(t, json.Unmarshal(document(t, issuer, func(is, _ map[string]any) {
		delete(is, "jwks_uri")
		delete(is, "cooldown")
		is["jwks_file"] = true
		is["max_stale"] = maxStale
	}), &doc))
	doc["host"] = map[string]any{"go": map[string]any{"jwks_files": map[string]any{issuer.URL(): file}}}
	policy, err := json.Marshal(doc)
	require.NoError(t, err)
	return policy
}

func TestKeyFile(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	file := filepath.Join(t.TempDir(), "keys.json")
	policy := keyFile(t, issuer, file, 86400)

	h := start(t, host.Config{Policy: policy})
	require.ErrorIs(t, verifies(h, issuer.Mint(nil)), verdict.KeysUnavailable)
	write(t, file, issuer.KeySet())
	becomes(t, h, issuer.Mint(nil), verdict.None)
	issuer.Rotate("ES256")
	write(t, file, issuer.KeySet())
	becomes(t, h, issuer.Mint(nil), verdict.None)
	last := issuer.Mint(nil)
	write(t, file, []byte("broken"))
	require.Eventually(t, func() bool { return metric(t, h, "sessiongate_key_fetches_total", "rejected") > 0 }, soon, 10*time.Millisecond)
	require.NoError(t, verifies(h, last))
	require.NoError(t, os.Remove(file))
	require.Eventually(t, func() bool { return metric(t, h, "sessiongate_key_fetches_total", "failed") > 1 }, soon, 10*time.Millisecond)
	require.NoError(t, verifies(h, last))
	issuer.Rotate("ES256")
	write(t, file, issuer.KeySet())
	becomes(t, h, issuer.Mint(nil), verdict.None)
}

// Whoever keeps a key file up to date says when it was; if nobody does, it ages.
func TestConfirmedKeyFile(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	file := filepath.Join(t.TempDir(), "keys.json")
	log := new(logBuffer)
	h := start(t, host.Config{Policy: keyFile(t, issuer, file, 100), Logger: slog.New(slog.NewTextHandler(log, nil))})
	confirm := func(age time.Duration) {
		content, err := jwks.AppendFile(nil, issuer.KeySet(), time.Now().Add(-age).UnixMilli())
		require.NoError(t, err)
		write(t, file, content)
	}
	confirm(-time.Hour)
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "yet to come") }, soon, 10*time.Millisecond)
	require.ErrorIs(t, verifies(h, issuer.Mint(nil)), verdict.KeysUnavailable)
	confirm(90 * time.Second)
	becomes(t, h, issuer.Mint(nil), verdict.None)
	confirm(110 * time.Second)
	becomes(t, h, issuer.Mint(nil), verdict.KeysStale)
	confirm(0)
	becomes(t, h, issuer.Mint(nil), verdict.None)
}

func TestPolicyFile(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	file := filepath.Join(t.TempDir(), "policy.json")
	write(t, file, issuer.Policy())
	log := new(logBuffer)
	h := start(t, host.Config{PolicyFile: file, WatchInterval: 10 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(log, nil))})
	good, other := issuer.Mint(nil), issuer.Mint(map[string]any{"aud": "other"})
	require.NoError(t, verifies(h, good))
	write(t, file, document(t, issuer, func(is, _ map[string]any) { is["audience"] = []string{"other"} }))
	becomes(t, h, other, verdict.None)
	require.ErrorIs(t, verifies(h, good), verdict.WrongAudience)

	write(t, file, []byte("{}"))
	require.Eventually(t, func() bool { return metric(t, h, "sessiongate_swaps_total", "refused") == 1 }, soon, 10*time.Millisecond)
	require.NoError(t, verifies(h, other), "the old policy stays")
	assert.Contains(t, log.String(), "keep serving")
	require.Error(t, h.Reload(t.Context()))
	require.NoError(t, os.Remove(file))
	require.ErrorContains(t, h.Reload(t.Context()), "no such file")
	write(t, file, nil)
	require.ErrorContains(t, h.Reload(t.Context()), "is empty")
	write(t, file, issuer.Policy())
	becomes(t, h, good, verdict.None)
}

func TestSecretFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "secret")
	const a, b = "0123456789abcdef0123456789abcdef", "another secret, as long as it has to be"
	policy, err := json.Marshal(map[string]any{"version": 1,
		"policy": map[string]any{
			"issuers": []any{map[string]any{"issuer": "https://hs.example", "dialect": "jwt", "algorithms": []string{"HS256"}, "audience": []string{"api"}}},
			"rules":   []any{map[string]any{"path_prefix": "/"}},
		},
		"host": map[string]any{"go": map[string]any{"secret_files": map[string]any{"https://hs.example": file}}},
	})
	require.NoError(t, err)
	var faults *host.ConfigError
	_, err = tryStart(t, host.Config{Policy: policy})
	require.ErrorAs(t, err, &faults)
	assert.Equal(t, "/host/go/secret_files/https:~1~1hs.example", faults.Faults[0].Path)
	for _, bad := range []string{"not base64!", base64.RawURLEncoding.EncodeToString([]byte("short"))} {
		write(t, file, []byte(bad))
		_, err = tryStart(t, host.Config{Policy: policy})
		require.ErrorAs(t, err, &faults)
		assert.NotContains(t, err.Error(), bad)
	}
	write(t, file, []byte(base64.RawURLEncoding.EncodeToString([]byte(a))+"\n"))
	h := start(t, host.Config{Policy: policy, WatchInterval: 10 * time.Millisecond})
	require.NoError(t, verifies(h, hs256(t, a)))
	require.ErrorIs(t, verifies(h, hs256(t, b)), verdict.BadSignature)
	require.ErrorContains(t, h.UpdateKeys("https://hs.example", []byte(`{"keys":[]}`)), "no key set of it")
	write(t, file, []byte(base64.URLEncoding.EncodeToString([]byte(b))))
	becomes(t, h, hs256(t, b), verdict.None)
	require.ErrorIs(t, verifies(h, hs256(t, a)), verdict.BadSignature)
}
