package host_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sessiongate/host"
	"sessiongate/host/hosttest"
	"sessiongate/internal/guesttest"
)

func start(t testing.TB, c host.Config) *host.Host {
	t.Helper()
	h, err := tryStart(t, c)
	require.NoError(t, err)
	return h
}

func tryStart(t testing.TB, c host.Config) (*host.Host, error) {
	t.Helper()
	return tryStartWith(t, context.Background(), c)
}

func tryStartWith(t testing.TB, ctx context.Context, c host.Config) (*host.Host, error) {
	t.Helper()
	if c.Module == nil {
		c.Module = guesttest.Core(t)
	}
	c.CacheDir = guesttest.CacheDir(t)
	h, err := host.New(ctx, c)
	if err == nil {
		t.Cleanup(func() { require.NoError(t, h.Close()) })
	}
	return h, err
}

// document is a policy with one issuer, whose members edit may change.
func document(t testing.TB, i *hosttest.Issuer, edit func(issuer, policy map[string]any)) []byte {
	t.Helper()
	var doc map[string]any
	require.NoError(t, json.Unmarshal(i.Policy(), &doc))
	policy := doc["policy"].(map[string]any)
	edit(policy["issuers"].([]any)[0].(map[string]any), policy)
	b, err := json.Marshal(doc)
	require.NoError(t, err)
	return b
}

// hs256 signs a token of https://hs.example with a secret.
func hs256(t testing.TB, secret string) string {
	t.Helper()
	claims, err := json.Marshal(map[string]any{"iss": "https://hs.example", "aud": "api", "sub": "user_1", "exp": time.Now().Unix() + 60})
	require.NoError(t, err)
	input := "eyJhbGciOiJIUzI1NiJ9." + base64.RawURLEncoding.EncodeToString(claims)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(input))
	return input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// clock is a clock for tests that stands still.
type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.ms.Store(time.Now().UnixMilli())
	return c
}

func (c *clock) now() time.Time          { return time.UnixMilli(c.ms.Load()) }
func (c *clock) advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }

// logBuffer is a log that may be read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
