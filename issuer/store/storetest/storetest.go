// Package storetest is what every engine of the issuer's store has to pass.
package storetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/issuer/store"
)

// Open opens the same store each time it is called in one test: the first call
// makes it, a later one, after Close, finds what was committed.
type Open func(t *testing.T) store.Store

var t0 = time.Date(2030, 1, 2, 3, 4, 5, 678_000_000, time.UTC)

// Run runs the suite. newStore is called once for each test and returns how to
// open that test's own, new store.
func Run(t *testing.T, newStore func(t *testing.T) Open) {
	for name, test := range map[string]func(*testing.T, Open){
		"issuer": testIssuer, "users": testUsers, "sessions": testSessions, "session update": testUpdateSession,
		"session list": testSessions2, "touch": testTouch, "keys": testKeys, "one active key": testOneActive,
		"api keys": testAPIKeys, "concurrency": testConcurrency, "cancelled": testCancelled,
	} {
		t.Run(name, func(t *testing.T) { test(t, newStore(t)) })
	}
}

func hash(s string) []byte { h := sha256.Sum256([]byte(s)); return h[:] }

func user(id string) store.User {
	return store.User{
		ID: id, Traits: []byte(`{"email":"a@b"}`), PublicMetadata: []byte(`{}`),
		Credentials:   []store.Credential{{Type: "password", AAL: "aal1"}},
		Organizations: []store.Organization{{ID: "t1", Slug: "t", Roles: []string{"admin"}, Permissions: []string{"read"}}},
		Roles:         []string{"staff"}, CreatedAt: t0, UpdatedAt: t0,
	}
}

func session(id, userID string) store.Session {
	return store.Session{
		ID: id, UserID: userID, ClientID: "web", TenantID: "t1", Actor: "root", Type: "sess", Status: store.Active,
		Methods:        []store.Method{{Method: "password", AAL: "aal1", CompletedAt: t0}},
		Device:         &store.Device{IPAddress: "192.0.2.1", UserAgent: "x", Location: "here"},
		CredentialHash: hash(id), CreatedAt: t0, ExpiresAt: t0.Add(time.Hour), LastActiveAt: t0, AuthenticatedAt: t0,
	}
}

func reopen(t *testing.T, s store.Store, open Open) store.Store {
	t.Helper()
	require.NoError(t, s.Close())
	return open(t)
}

func testIssuer(t *testing.T, open Open) {
	ctx, s := t.Context(), open(t)
	_, err := s.Issuer(ctx)
	assert.ErrorIs(t, err, store.ErrNotFound)
	require.NoError(t, s.SetIssuer(ctx, "https://a"))
	assert.ErrorIs(t, s.SetIssuer(ctx, "https://b"), store.ErrExists)
	s = reopen(t, s, open)
	name, err := s.Issuer(ctx)
	require.NoError(t, err)
	assert.Equal(t, "https://a", name)
	assert.NoError(t, s.Ping(ctx))
}

func testUsers(t *testing.T, open Open) {
	ctx, s := t.Context(), open(t)
	_, err := s.User(ctx, "u")
	assert.ErrorIs(t, err, store.ErrNotFound)
	u := user("u")
	created, err := s.PutUser(ctx, u)
	require.NoError(t, err)
	assert.True(t, created)
	got, err := s.User(ctx, "u")
	require.NoError(t, err)
	assert.Equal(t, u, got)

	changed := store.User{ID: "u", Traits: []byte(`{"n":1}`), PublicMetadata: []byte(`{}`), CreatedAt: t0.Add(time.Hour), UpdatedAt: t0.Add(time.Hour)}
	created, err = s.PutUser(ctx, changed)
	require.NoError(t, err)
	assert.False(t, created)
	s = reopen(t, s, open)
	got, err = s.User(ctx, "u")
	require.NoError(t, err)
	changed.CreatedAt = t0
	assert.Equal(t, changed, got, "all replaced, save created_at")
}

func testSessions(t *testing.T, open Open) {
	ctx, s := t.Context(), open(t)
	assert.ErrorIs(t, s.CreateSession(ctx, session("s", "nobody")), store.ErrNotFound)
	_, err := s.PutUser(ctx, user("u"))
	require.NoError(t, err)
	want := session("s", "u")
	require.NoError(t, s.CreateSession(ctx, want))
	assert.ErrorIs(t, s.CreateSession(ctx, want), store.ErrExists)
	twin := session("other", "u")
	twin.CredentialHash = want.CredentialHash
	assert.ErrorIs(t, s.CreateSession(ctx, twin), store.ErrExists, "a credential names one session")
	bare := store.Session{ID: "bare", UserID: "u", Type: "sess", Status: store.Active, CredentialHash: hash("bare"), CreatedAt: t0, ExpiresAt: t0}
	require.NoError(t, s.CreateSession(ctx, bare))

	s = reopen(t, s, open)
	got, err := s.Session(ctx, "s")
	require.NoError(t, err)
	assert.Equal(t, want, got)
	got, err = s.Session(ctx, "bare")
	require.NoError(t, err)
	assert.Equal(t, bare, got)
	got, err = s.SessionByCredential(ctx, hash("s"))
	require.NoError(t, err)
	assert.Equal(t, want, got)
	_, err = s.Session(ctx, "none")
	assert.ErrorIs(t, err, store.ErrNotFound)
	_, err = s.SessionByCredential(ctx, hash("none"))
	assert.ErrorIs(t, err, store.ErrNotFound)
}

func testUpdateSession(t *testing.T, open Open) {
	ctx, s := t.Context(), open(t)
	_, err := s.PutUser(ctx, user("u"))
	require.NoError(t, err)
	want := session("s", "u")
	require.NoError(t, s.CreateSession(ctx, want))

	refuse := errors.New("no")
	_, err = s.UpdateSession(ctx, "s", func(x *store.Session) error { x.Status = store.Ended; return refuse })
	assert.ErrorIs(t, err, refuse)
	got, err := s.Session(ctx, "s")
	require.NoError(t, err)
	assert.Equal(t, want, got, "nothing changed")

	_, err = s.UpdateSession(ctx, "none", func(*store.Session) error { return nil })
	assert.ErrorIs(t, err, store.ErrNotFound)

	want.Status, want.EndedAt, want.AuthenticatedAt = store.Revoked, t0.Add(time.Minute), t0.Add(time.Second)
	want.Methods = append(want.Methods, store.Method{Method: "totp", AAL: "aal2", CompletedAt: t0})
	want.ExpiresAt, want.TenantID, want.Device = t0.Add(2*time.Hour), "t2", nil
	got, err = s.UpdateSession(ctx, "s", func(x *store.Session) error { *x = want; return nil })
	require.NoError(t, err)
	assert.Equal(t, want, got)
	s = reopen(t, s, open)
	got, err = s.Session(ctx, "s")
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

func testSessions2(t *testing.T, open Open) {
	ctx, s := t.Context(), open(t)
	for _, u := range []string{"u", "v"} {
		_, err := s.PutUser(ctx, user(u))
		require.NoError(t, err)
	}
	for i, id := range []string{"a", "b", "c", "d"} {
		x := session(id, []string{"u", "u", "v", "u"}[i])
		x.CreatedAt = t0.Add([]time.Duration{0, time.Second, time.Second, time.Second}[i])
		require.NoError(t, s.CreateSession(ctx, x))
	}
	for name, tc := range map[string]struct {
		f    store.SessionFilter
		want []string
	}{
		"all":    {store.SessionFilter{}, []string{"d", "c", "b", "a"}},
		"user":   {store.SessionFilter{UserID: "u"}, []string{"d", "b", "a"}},
		"limit":  {store.SessionFilter{UserID: "u", Limit: 2}, []string{"d", "b"}},
		"offset": {store.SessionFilter{UserID: "u", Limit: 2, Offset: 2}, []string{"a"}},
		"nobody": {store.SessionFilter{UserID: "x"}, nil},
	} {
		list, err := s.Sessions(ctx, tc.f)
		require.NoError(t, err, name)
		var ids []string
		for _, x := range list {
			ids = append(ids, x.ID)
		}
		assert.Equal(t, tc.want, ids, name)
	}
}

func testTouch(t *testing.T, open Open) {
	ctx, s := t.Context(), open(t)
	_, err := s.PutUser(ctx, user("u"))
	require.NoError(t, err)
	require.NoError(t, s.CreateSession(ctx, session("s", "u")))
	require.NoError(t, s.TouchSessions(ctx, nil))
	require.NoError(t, s.TouchSessions(ctx, map[string]time.Time{"s": t0.Add(time.Minute), "gone": t0}))
	require.NoError(t, s.TouchSessions(ctx, map[string]time.Time{"s": t0.Add(time.Second)}))
	s = reopen(t, s, open)
	got, err := s.Session(ctx, "s")
	require.NoError(t, err)
	assert.Equal(t, t0.Add(time.Minute), got.LastActiveAt, "never back")
}

func testKeys(t *testing.T, open Open) {
	ctx, s := t.Context(), open(t)
	revision, keys, err := s.Keys(ctx)
	require.NoError(t, err)
	assert.Zero(t, revision)
	assert.Empty(t, keys)

	a := store.Key{ID: "a", Algorithm: "ES256", State: "active", Public: []byte(`{}`), Sealed: []byte{1, 2}, AnnouncedAt: t0, ActivatedAt: t0}
	b := store.Key{ID: "b", Algorithm: "ES256", State: "announced", Public: []byte(`{}`), Sealed: []byte{3}, AnnouncedAt: t0}
	r1, err := s.SaveKeys(ctx, 0, []store.Key{a, b})
	require.NoError(t, err)
	_, err = s.SaveKeys(ctx, 0, []store.Key{{ID: "c", Algorithm: "RS256", State: "active", Public: []byte(`{}`)}})
	assert.ErrorIs(t, err, store.ErrConflict)

	// The successor is named first: the engine has to mind the order.
	b.State, b.ActivatedAt = "active", t0.Add(time.Hour)
	a.State, a.RetiredAt, a.Sealed, a.WithdrawnAt, a.Emergency = "retiring", t0.Add(time.Hour), nil, t0.Add(2*time.Hour), "leaked"
	r2, err := s.SaveKeys(ctx, r1, []store.Key{b, a})
	require.NoError(t, err)
	assert.NotEqual(t, r1, r2)

	s = reopen(t, s, open)
	revision, keys, err = s.Keys(ctx)
	require.NoError(t, err)
	assert.Equal(t, r2, revision)
	assert.Equal(t, []store.Key{a, b}, keys)
	revision, err = s.KeyRevision(ctx)
	require.NoError(t, err)
	assert.Equal(t, r2, revision)
}

func testOneActive(t *testing.T, open Open) {
	ctx, s := t.Context(), open(t)
	key := func(id string) store.Key {
		return store.Key{ID: id, Algorithm: "ES256", State: "active", Public: []byte(`{}`), AnnouncedAt: t0, ActivatedAt: t0}
	}
	_, err := s.SaveKeys(ctx, 0, []store.Key{key("a"), key("b")})
	require.Error(t, err)
	revision, keys, err := s.Keys(ctx)
	require.NoError(t, err)
	assert.Zero(t, revision, "all or nothing")
	assert.Empty(t, keys)
}

func testAPIKeys(t *testing.T, open Open) {
	ctx, s := t.Context(), open(t)
	k := store.APIKey{ID: "k", Name: "first", Scopes: []string{"admin", "x"}, Hash: hash("k"), CreatedAt: t0}
	require.NoError(t, s.CreateAPIKey(ctx, k))
	assert.ErrorIs(t, s.CreateAPIKey(ctx, k), store.ErrExists)
	_, err := s.APIKey(ctx, "none")
	assert.ErrorIs(t, err, store.ErrNotFound)
	got, err := s.APIKey(ctx, "k")
	require.NoError(t, err)
	assert.Equal(t, k, got)

	assert.ErrorIs(t, s.RevokeAPIKey(ctx, "k", t0, "admin"), store.ErrConflict, "the last one with the scope")
	assert.ErrorIs(t, s.RevokeAPIKey(ctx, "none", t0, "admin"), store.ErrNotFound)
	other := store.APIKey{ID: "o", Name: "second", Scopes: []string{"admin"}, Hash: hash("o"), CreatedAt: t0}
	small := store.APIKey{ID: "p", Name: "third", Scopes: []string{"x"}, Hash: hash("p"), CreatedAt: t0}
	require.NoError(t, s.CreateAPIKey(ctx, other))
	require.NoError(t, s.CreateAPIKey(ctx, small))
	require.NoError(t, s.RevokeAPIKey(ctx, "k", t0, "admin"))
	require.NoError(t, s.RevokeAPIKey(ctx, "k", t0.Add(time.Hour), "admin"))
	assert.ErrorIs(t, s.RevokeAPIKey(ctx, "o", t0, "admin"), store.ErrConflict, "a revoked key does not count")
	require.NoError(t, s.RevokeAPIKey(ctx, "p", t0, "admin"), "has not the scope")

	s = reopen(t, s, open)
	all, err := s.APIKeys(ctx)
	require.NoError(t, err)
	k.RevokedAt, small.RevokedAt = t0, t0
	assert.Equal(t, []store.APIKey{k, other, small}, all, "revoked_at stays the first")
}

// testConcurrency has writers, readers and key changes at once; every session
// is there afterwards, and exactly one of the racing key changes won each round.
func testConcurrency(t *testing.T, open Open) {
	ctx, s := t.Context(), open(t)
	_, err := s.PutUser(ctx, user("u"))
	require.NoError(t, err)
	const workers, each = 4, 10
	var wg sync.WaitGroup
	won := make([]int, workers)
	for w := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range each {
				id := fmt.Sprintf("s%d-%d", w, i)
				assert.NoError(t, s.CreateSession(ctx, session(id, "u")))
				_, err := s.Session(ctx, id)
				assert.NoError(t, err, "a write that returned is seen by reads")
				_, err = s.SaveKeys(ctx, int64(i), nil)
				if err == nil {
					won[w]++
				} else {
					assert.ErrorIs(t, err, store.ErrConflict)
				}
			}
		}()
	}
	wg.Wait()
	list, err := s.Sessions(ctx, store.SessionFilter{Limit: 500})
	require.NoError(t, err)
	assert.Len(t, list, workers*each)
	revision, err := s.KeyRevision(ctx)
	require.NoError(t, err)
	total := 0
	for _, n := range won {
		total += n
	}
	assert.EqualValues(t, revision, total)
}

func testCancelled(t *testing.T, open Open) {
	s := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.PutUser(ctx, user("u"))
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.User(t.Context(), "u")
	assert.ErrorIs(t, err, store.ErrNotFound)
}
