package issuer_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sessiongate/issuer"
	"sessiongate/issuer/keyring"
	"sessiongate/issuer/store"
	"sessiongate/issuer/store/sqlite"
	"sessiongate/verdict"
)

// clock is a clock that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2030, 1, 2, 3, 4, 5, 678_900_000, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// fixture is an issuer on a real database, with a clock that tests set.
type fixture struct {
	*issuer.Issuer
	t     *testing.T
	dir   string
	clock *clock
	log   *bytes.Buffer
	fault *faulty
	keys  *keySink
	key   string // the API key of init
}

const issuerURL = "https://issuer.example"

func settings() issuer.Settings {
	s := issuer.DefaultSettings()
	s.Issuer = issuerURL
	s.Audience = []string{"api", "web"}
	return s
}

// start makes a data directory and opens it.
func start(t *testing.T, change func(*issuer.Settings)) *fixture {
	t.Helper()
	s := settings()
	if change != nil {
		change(&s)
		s.Announce, s.Retire = 0, 0
	}
	f := &fixture{t: t, dir: filepath.Join(t.TempDir(), "data"), clock: newClock(), log: &bytes.Buffer{}}
	made, err := issuer.Init(t.Context(), f.dir, s, nil)
	require.NoError(t, err)
	f.key = made.APIKey
	f.clock.now = time.Now() // init has no clock but the real one
	f.open()
	return f
}

// open opens the data directory once more, as after a crash: nothing was closed.
func (f *fixture) open() {
	f.t.Helper()
	s, err := issuer.ReadSettings(filepath.Join(f.dir, issuer.SettingsFile))
	require.NoError(f.t, err)
	f.openWith(s)
}

func (f *fixture) openWith(s issuer.Settings) {
	f.t.Helper()
	db, err := sqlite.Open(f.t.Context(), filepath.Join(f.dir, issuer.DatabaseFile))
	require.NoError(f.t, err)
	f.fault, f.keys = &faulty{Store: db}, &keySink{}
	i, err := issuer.New(f.t.Context(), issuer.Config{
		Settings: s, Store: f.fault, Sealer: sealerAt(f.t, filepath.Join(f.dir, "sealing.key")), Now: f.clock.Now,
		Logger:      slog.New(slog.NewTextHandler(f.log, nil)),
		NewVerifier: func(context.Context, []byte) (issuer.TokenVerifier, error) { return f.keys, nil },
	})
	require.NoError(f.t, err)
	f.t.Cleanup(func() { i.Close() })
	f.Issuer = i
}

// pass lets time go by, one round of maintenance at its end.
func (f *fixture) pass(d time.Duration) {
	f.t.Helper()
	f.clock.add(d)
	require.NoError(f.t, f.Maintain(f.t.Context()))
}

// states are the states of an algorithm's keys, oldest first.
func (f *fixture) states(alg string) []string {
	var out []string
	for _, k := range f.Keys() {
		if k.Algorithm == alg {
			out = append(out, k.State.String())
		}
	}
	return out
}

func (f *fixture) inState(alg string, s keyring.State) issuer.KeyInfo {
	f.t.Helper()
	for _, k := range f.Keys() {
		if k.Algorithm == alg && k.State == s {
			return k
		}
	}
	require.Fail(f.t, "no such key", "%s %s", alg, s)
	return issuer.KeyInfo{}
}

// session makes a user and a session.
func (f *fixture) session() (store.Session, string) {
	f.t.Helper()
	_, _, err := f.PutUser(f.t.Context(), store.User{ID: "alice", Organizations: []store.Organization{{ID: "t1", Roles: []string{"admin"}, Permissions: []string{"read"}}}})
	require.NoError(f.t, err)
	s, credential, err := f.CreateSession(f.t.Context(), issuer.NewSession{UserID: "alice", TenantID: "t1"})
	require.NoError(f.t, err)
	return s, credential
}

func (f *fixture) mint(alg string) string {
	f.t.Helper()
	s, _ := f.session()
	tok, err := f.Mint(f.t.Context(), s.ID, issuer.TokenRequest{Algorithm: alg})
	require.NoError(f.t, err)
	return tok.Compact
}

func code(t *testing.T, err error) issuer.Code {
	t.Helper()
	var e *issuer.Error
	require.ErrorAs(t, err, &e)
	return e.Code
}

// faulty is a store whose writes of keys and activity fail when told to: with
// their effect, or without it.
type faulty struct {
	store.Store
	mu       sync.Mutex
	fail     string // "", "lost" or "kept"
	readFail bool
	block    chan struct{} // writes wait for it
}

var errDisk = errors.New("disk is broken")

func (f *faulty) set(fail string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

func (f *faulty) mode() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fail
}

func (f *faulty) SaveKeys(ctx context.Context, revision int64, keys []store.Key) (int64, error) {
	mode := f.mode()
	if mode == "lost" {
		return 0, errDisk
	}
	n, err := f.Store.SaveKeys(ctx, revision, keys)
	if mode == "kept" && err == nil {
		return 0, errDisk
	}
	return n, err
}

func (f *faulty) Keys(ctx context.Context) (int64, []store.Key, error) {
	if f.readFail {
		return 0, nil, errDisk
	}
	return f.Store.Keys(ctx)
}

func (f *faulty) TouchSessions(ctx context.Context, at map[string]time.Time) error {
	if f.block != nil {
		<-f.block
	}
	mode := f.mode()
	if mode == "lost" {
		return errDisk
	}
	err := f.Store.TouchSessions(ctx, at)
	if mode == "kept" && err == nil {
		return errDisk
	}
	return err
}

func (f *faulty) Ping(ctx context.Context) error {
	if f.mode() != "" {
		return errDisk
	}
	return f.Store.Ping(ctx)
}

// keySink stands for the verifier: it remembers the key sets that it was given and
// answers what the test says. It judges nothing.
type keySink struct {
	mu     sync.Mutex
	docs   []string
	answer func(token string) (verdict.Principal, error)
	closed bool
}

func (k *keySink) UpdateKeys(iss string, jwks []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if iss != issuerURL {
		return errors.New("not this issuer")
	}
	k.docs = append(k.docs, string(jwks))
	return nil
}

func (k *keySink) last() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.docs) == 0 {
		return ""
	}
	return k.docs[len(k.docs)-1]
}

func (k *keySink) Verify(_ context.Context, token string) (verdict.Principal, error) {
	return k.answer(token)
}

func (k *keySink) Close() error {
	k.closed = true
	return nil
}
