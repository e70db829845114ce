package api_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/issuer"
	"sessiongate/issuer/api"
	"sessiongate/issuer/client"
	"sessiongate/jwks"
	"sessiongate/verifier"
)

// served is an issuer that serves on real listeners.
type served struct {
	*client.Client
	public, admin string
	stop          context.CancelFunc
	done          chan error
}

func serve(t *testing.T, s issuer.Settings) *served {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	made, err := issuer.Init(t.Context(), dir, s, nil)
	require.NoError(t, err)
	iss, err := issuer.Open(t.Context(), dir, issuer.Config{}, nil)
	require.NoError(t, err)
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		return l
	}
	public, admin := listen(), listen()
	ctx, stop := context.WithCancel(context.Background())
	out := &served{public: "http://" + public.Addr().String(), admin: "http://" + admin.Addr().String(), stop: stop, done: make(chan error, 1)}
	ready := make(chan struct{})
	go func() {
		err := api.Serve(ctx, iss, api.ServeConfig{Public: public, Admin: admin, Ready: func() { close(ready) }, Grace: 5 * time.Second})
		if closeErr := iss.Close(); err == nil {
			err = closeErr
		}
		out.done <- err
	}()
	<-ready
	t.Cleanup(stop)
	out.Client, err = client.New(out.admin, made.APIKey)
	require.NoError(t, err)
	return out
}

func (s *served) session(t *testing.T) string {
	t.Helper()
	_, err := s.PutUser(t.Context(), "u", api.UserBody{})
	require.NoError(t, err)
	created, err := s.CreateSession(t.Context(), api.SessionBody{UserID: "u"})
	require.NoError(t, err)
	return created.Session.ID
}

// TestServeDrains stops while a request is in flight: that one is answered, new
// ones are not.
func TestServeDrains(t *testing.T) {
	t.Parallel()
	s := serve(t, issuer.DefaultSettings())
	s.session(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.public, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	// The head arrives, the body waits: the handler is at work.
	_, err = io.WriteString(conn, "POST /v1/token HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sgs_x\r\nContent-Length: 2\r\n\r\n{")
	require.NoError(t, err)
	time.Sleep(100 * time.Millisecond)
	s.stop()
	time.Sleep(100 * time.Millisecond)
	_, err = io.WriteString(conn, "}")
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(3*time.Second)))
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(string(answer), "HTTP/1.1 401 "), "%s", answer)
	require.NoError(t, <-s.done)
	_, err = http.Get(s.public + api.JWKSPath)
	assert.Error(t, err)
}

// TestServeListenerFails ends with the error, and does not hang.
func TestServeListenerFails(t *testing.T) {
	f := start(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	assert.Error(t, api.Serve(t.Context(), f.iss, api.ServeConfig{Public: l, Admin: closed}))
}

// caching is a verifier as it should be: it goes on with a key set for its
// max-age, and looks again then. Unlike the host that ships it never looks because
// of an unknown key: the rotation contract has to do without that.
type caching struct {
	url   string
	set   *jwks.Set
	until time.Time
}

func (c *caching) verify(t *testing.T, v *verifier.Verifier, token string) error {
	t.Helper()
	if now := time.Now(); now.After(c.until) {
		resp, err := http.Get(c.url)
		require.NoError(t, err)
		defer resp.Body.Close()
		doc, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "public, max-age=1, must-revalidate", resp.Header.Get("Cache-Control"))
		c.set, err = jwks.Parse(doc)
		require.NoError(t, err)
		c.until = now.Add(time.Second)
	}
	_, err := v.WithKeys(0, c.set, time.Now().UnixMilli()).Verify(token, time.Now().UnixMilli())
	return err
}

// TestRotationUnderLoad rotates by schedule and by hand while tokens are minted
// and verified: none that is valid is refused.
func TestRotationUnderLoad(t *testing.T) {
	t.Parallel()
	conf := issuer.DefaultSettings()
	conf.CacheAge, conf.Skew, conf.MaxTokenLifetime, conf.TokenTTL, conf.RotateEvery, conf.Announce, conf.Retire = 2, 0, 2, 2, 2, 0, 0
	s := serve(t, conf)
	id := s.session(t)
	v, err := verifier.New(verifier.Config{Issuers: []verifier.Issuer{{Name: conf.Issuer, Dialect: verifier.Own, Algorithms: []jwks.Algorithm{jwks.ES256},
		Audience: conf.Audience, Leeway: 0, MaxLifetime: 2000}}})
	require.NoError(t, err)

	var verified atomic.Int64
	var mu sync.Mutex
	kids := map[string]bool{}
	var wg sync.WaitGroup
	end := time.Now().Add(5 * time.Second)
	for range 3 {
		wg.Go(func() {
			c := &caching{url: s.public + api.JWKSPath}
			for time.Now().Before(end) {
				minted, err := s.Mint(t.Context(), id, api.TokenBody{})
				if !assert.NoError(t, err) {
					return
				}
				for range 3 { // now, and a little later
					if time.Until(minted.ExpiresAt) < 200*time.Millisecond {
						break
					}
					if !assert.NoError(t, c.verify(t, v, minted.Token)) {
						return
					}
					verified.Add(1)
					time.Sleep(10 * time.Millisecond)
				}
				mu.Lock()
				kids[strings.Split(minted.Token, ".")[0]] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	assert.Greater(t, verified.Load(), int64(100))
	assert.GreaterOrEqual(t, len(kids), 3, "keys rotated meanwhile")
	s.stop()
	require.NoError(t, <-s.done)
}
