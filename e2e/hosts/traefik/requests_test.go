package traefik_test

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/host/hosttest"
)

func TestRequests(t *testing.T) {
	eachHost(t, func(t *testing.T, start func(*testing.T, *settings) *server) {
		issuer := hosttest.NewIssuer(t)
		keys := t.TempDir()
		confirm(t, issuer, keys, 0)
		s := start(t, &settings{keys: keys, policy: document(t, issuer, func(_, p map[string]any) {
			p["rules"] = []any{
				map[string]any{"path": "/healthz", "access": "public"},
				map[string]any{"path_prefix": "/"},
			}
			p["sources"] = []any{map[string]any{"header": "authorization", "scheme": "Bearer"}, map[string]any{"query": "token"}}
			p["token"] = "strip"
			p["paths"] = "normalize"
			p["log"] = []any{"subject"}
		})})
		token := issuer.Mint(map[string]any{"sub": "user_1"})

		a := s.get(t, "/x?y=1&z=2", "Authorization", bearer(token), "X-User-Id", "root", "x-user_id", "root", "X_user-Id", "root", "Connection", "x-user-id, close")
		require.Equal(t, http.StatusOK, a.status, a.body)
		assert.Equal(t, "/x?y=1&z=2", a.seen.Target)
		assert.Equal(t, []string{"user_1"}, a.seen.Header["X-User-Id"])
		assert.NotContains(t, a.seen.Header, "X-User_id")
		assert.NotContains(t, a.seen.Header, "X_user-Id")
		assert.NotContains(t, a.seen.Header, "Authorization")

		a = s.get(t, "/a//b/../c?token="+token+"&k=%2F")
		require.Equal(t, http.StatusOK, a.status, a.body)
		assert.Equal(t, "/a/c?k=%2F", a.seen.Target)

		a = s.get(t, "/healthz", "X-User-Id", "root")
		require.Equal(t, http.StatusOK, a.status, a.body)
		assert.NotContains(t, a.seen.Header, "X-User-Id")

		a = s.get(t, "/x")
		assert.Equal(t, http.StatusUnauthorized, a.status)
		assert.Equal(t, "missing_token", a.code)
		assert.Contains(t, a.header.Get("Www-Authenticate"), "Bearer realm=")
		assert.Equal(t, "application/problem+json", a.header.Get("Content-Type"))
		a = s.get(t, "/x", "Authorization", bearer(token[:len(token)-4]+"AAAA"))
		assert.Equal(t, "bad_signature", a.code)
		a = s.get(t, "/x", "Authorization", bearer(token), "Authorization", bearer(token+"x"))
		assert.Equal(t, "multiple_tokens", a.code)
		assert.Equal(t, http.StatusBadRequest, a.status)
		a = s.get(t, "/x", "Authorization", bearer(strings.Repeat("x", 20<<10)))
		assert.Equal(t, "too_large", a.code)
		a = s.get(t, "/x", "Authorization", "Bearer", "Content-Type", "application/grpc")
		assert.Equal(t, "application/grpc", a.header.Get("Content-Type"))
		assert.Equal(t, "16", a.header.Get("Grpc-Status"))

		// A body passes by.
		r, err := http.NewRequest(http.MethodPost, s.url+"/x", strings.NewReader(strings.Repeat("b", 100_000)))
		require.NoError(t, err)
		a = s.do(t, r, "Authorization", bearer(token))
		require.Equal(t, http.StatusOK, a.status, a.body)
		assert.Len(t, a.seen.Body, 100_000)

		// A trailer does not speak for us either.
		r, err = http.NewRequest(http.MethodPost, s.url+"/x", strings.NewReader("body"))
		require.NoError(t, err)
		r.ContentLength = -1
		r.Trailer = http.Header{"X-User-Id": {"root"}}
		a = s.do(t, r, "Authorization", bearer(token))
		require.Equal(t, http.StatusOK, a.status, a.body)
		assert.Equal(t, "body", a.seen.Body)
		assert.Empty(t, a.seen.Trailer.Get("X-User-Id"))
		assert.Equal(t, []string{"user_1"}, a.seen.Header["X-User-Id"])

		assert.Contains(t, s.log(), "refused reason=missing_token")
		assert.Contains(t, s.log(), "passed subject=user_1")
		assert.NotContains(t, s.log(), token[:20])
	})
}

func TestKeyFile(t *testing.T) {
	eachHost(t, func(t *testing.T, start func(*testing.T, *settings) *server) {
		issuer := hosttest.NewIssuer(t)
		s := start(t, &settings{policy: document(t, issuer, func(is, _ map[string]any) { is["max_stale"], is["cooldown"] = 60, 30 })})
		// Each instance looks at the file by itself, and may do so a second after another.
		is := func(want ...string) {
			t.Helper()
			time.Sleep(1100 * time.Millisecond)
			for range 5 {
				require.Contains(t, want, s.get(t, "/", "Authorization", bearer(issuer.Mint(nil))).code, s.log())
			}
		}
		is("keys_unavailable")
		write(t, s.keys+"/issuer.json", issuer.KeySet())
		is("")
		issuer.Rotate("ES256")
		is("unknown_key")
		confirm(t, issuer, s.keys, 50*time.Second)
		is("")
		confirm(t, issuer, s.keys, 61*time.Second)
		is("keys_stale")
		// The last good keys stay, where there are some: an instance that starts now has none.
		write(t, s.keys+"/issuer.json", []byte("<html>"))
		is("keys_stale", "keys_unavailable")
		confirm(t, issuer, s.keys, 0)
		is("")
		confirm(t, issuer, s.keys, -time.Hour)
		is("", "keys_unavailable")
		require.Contains(t, s.log(), "yet to come")
		require.NoError(t, os.Remove(s.keys+"/issuer.json"))
		is("", "keys_unavailable")
	})
}

// A configuration that is wrong lets nothing through, and the log names the field.
func TestBadPolicy(t *testing.T) {
	eachHost(t, func(t *testing.T, start func(*testing.T, *settings) *server) {
		issuer := hosttest.NewIssuer(t)
		s := start(t, &settings{policy: document(t, issuer, func(is, _ map[string]any) { is["audiance"] = "x" })})
		a := s.get(t, "/", "Authorization", bearer(issuer.Mint(nil)))
		assert.Equal(t, http.StatusNotFound, a.status)
		assert.Contains(t, s.log(), "/policy/issuers/0/audiance")
	})
}
