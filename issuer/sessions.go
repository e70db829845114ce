package issuer

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"sessiongate/issuer/store"
)

// credentialPrefix begins every session token, so that a leaked one is known for
// what it is.
const credentialPrefix = "sgs_"

// NewSession is what a session is made of.
type NewSession struct {
	UserID   string
	ClientID string // "": the configured one
	TenantID string // an organization of the user's, or ""
	Actor    string // who acts for the user, or ""
	Type     string // "sess" or "ssdash"; "": "sess"
	Methods  []store.Method
	Device   *store.Device
	TTL      time.Duration // 0: the configured one
}

// time is now, as the store keeps it.
func (i *Issuer) time() time.Time { return i.now().UTC().Truncate(time.Millisecond) }

// CreateSession starts a session and returns its credential, the session token.
// This is the only time that it is seen: its SHA-256 is what is stored.
func (i *Issuer) CreateSession(ctx context.Context, n NewSession) (s store.Session, credential string, err error) {
	now := i.time()
	var f Faults
	checkID(&f, "user_id", n.UserID)
	checkText(&f, "client_id", n.ClientID, false)
	checkText(&f, "tenant_id", n.TenantID, false)
	checkText(&f, "actor.sub", n.Actor, false)
	if n.Type == "" {
		n.Type = "sess"
	}
	if n.Type != "sess" && n.Type != "ssdash" {
		f.Add("type", "must be sess or ssdash")
	}
	if n.TTL < 0 || n.TTL > maxSeconds*time.Second {
		f.Add("ttl", "must be 1 to %d seconds", maxSeconds)
	}
	if n.TTL == 0 {
		n.TTL = seconds(i.settings.SessionTTL)
	}
	if n.ClientID == "" {
		n.ClientID = i.settings.ClientID
	}
	if d := n.Device; d != nil {
		checkText(&f, "device.ip_address", d.IPAddress, false)
		checkText(&f, "device.location", d.Location, false)
		if len(d.UserAgent) > 1024 {
			f.Add("device.user_agent", "must have at most 1024 bytes")
		}
	}
	i.checkMethods(&f, n.Methods, now)
	if err := f.Err(); err != nil {
		return store.Session{}, "", err
	}
	u, err := i.store.User(ctx, n.UserID)
	if errors.Is(err, store.ErrNotFound) {
		return store.Session{}, "", refuse(NotFound, "user_id: no user %q", n.UserID)
	}
	if err != nil {
		return store.Session{}, "", err
	}
	if _, ok := organization(u, n.TenantID); !ok {
		return store.Session{}, "", Faults{{Field: "tenant_id", Problem: "must be one of the user's organizations"}}
	}
	secret := make([]byte, 32)
	rand.Read(secret)
	credential = credentialPrefix + base64.RawURLEncoding.EncodeToString(secret)
	hash := sha256.Sum256([]byte(credential))
	s = store.Session{
		ID: "sess_" + rand.Text(), UserID: n.UserID, ClientID: n.ClientID, TenantID: n.TenantID, Actor: n.Actor, Type: n.Type,
		Methods: n.Methods, Device: n.Device, Status: store.Active, CredentialHash: hash[:],
		CreatedAt: now, ExpiresAt: now.Add(n.TTL), LastActiveAt: now, AuthenticatedAt: authenticatedAt(n.Methods),
	}
	if err := i.store.CreateSession(ctx, s); err != nil {
		return store.Session{}, "", err
	}
	i.metrics.sessions.WithLabelValues("created").Inc()
	return s, credential, nil
}

// checkMethods also sets the time of methods that have none.
func (i *Issuer) checkMethods(f *Faults, methods []store.Method, now time.Time) {
	if len(methods) > maxList {
		f.Add("methods", "must have at most %d entries", maxList)
		return
	}
	for n := range methods {
		m := &methods[n]
		field := fmt.Sprintf("methods[%d].", n)
		checkText(f, field+"method", m.Method, true)
		checkLevel(f, field+"aal", m.AAL)
		if m.CompletedAt.IsZero() {
			m.CompletedAt = now
		}
		m.CompletedAt = m.CompletedAt.UTC().Truncate(time.Millisecond)
		if m.CompletedAt.After(now.Add(i.contract.Skew)) || m.CompletedAt.Year() < 1971 {
			f.Add(field+"completed_at", "must be a time in the past")
		}
	}
}

func authenticatedAt(methods []store.Method) time.Time {
	var last time.Time
	for _, m := range methods {
		if m.CompletedAt.After(last) {
			last = m.CompletedAt
		}
	}
	return last
}

// Assurance is the level of a session: aal2 takes a first and a second factor;
// OpenID Connect at aal2 is both. No method at all is aal0.
func Assurance(methods []store.Method) string {
	first, second, third := false, false, false
	for _, m := range methods {
		switch level := levelOf(m.AAL); {
		case level == 1:
			first = true
		case level == 2:
			second = true
			first = first || m.Method == "oidc"
		case level == 3:
			third = true
		}
	}
	switch {
	case third:
		return levels[3]
	case first && second:
		return levels[2]
	case first || second:
		return levels[1]
	}
	return levels[0]
}

func organization(u store.User, tenant string) (store.Organization, bool) {
	if tenant == "" {
		return store.Organization{}, true
	}
	for _, o := range u.Organizations {
		if o.ID == tenant {
			return o, true
		}
	}
	return store.Organization{}, false
}

// Session returns a session.
func (i *Issuer) Session(ctx context.Context, id string) (store.Session, error) {
	s, err := i.store.Session(ctx, id)
	return s, noSession(id, err)
}

func noSession(id string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return refuse(NotFound, "no session %q", id)
	}
	return err
}

// Sessions lists sessions, newest first.
func (i *Issuer) Sessions(ctx context.Context, f store.SessionFilter) ([]store.Session, error) {
	return i.store.Sessions(ctx, f)
}

// SessionOf returns the session that a credential belongs to, whatever its
// status. An unknown one is BadSession.
func (i *Issuer) SessionOf(ctx context.Context, credential string) (store.Session, error) {
	bad := refuse(BadSession, "no session has this credential")
	if !strings.HasPrefix(credential, credentialPrefix) || len(credential) > 128 {
		return store.Session{}, bad
	}
	hash := sha256.Sum256([]byte(credential))
	s, err := i.store.SessionByCredential(ctx, hash[:])
	if errors.Is(err, store.ErrNotFound) {
		return store.Session{}, bad
	}
	if err != nil {
		return store.Session{}, err
	}
	if subtle.ConstantTimeCompare(s.CredentialHash, hash[:]) != 1 {
		return store.Session{}, bad
	}
	return s, nil
}

// StatusAt is the status of a session now.
func (i *Issuer) StatusAt(s store.Session) store.Status { return s.StatusAt(i.now()) }

// AddMethods adds acts of authentication to an active session: its assurance may
// rise, and its authentication time moves.
func (i *Issuer) AddMethods(ctx context.Context, id string, methods []store.Method) (store.Session, error) {
	now := i.time()
	var f Faults
	if len(methods) == 0 {
		f.Add("methods", "must have at least one entry")
	}
	i.checkMethods(&f, methods, now)
	if err := f.Err(); err != nil {
		return store.Session{}, err
	}
	s, err := i.store.UpdateSession(ctx, id, func(s *store.Session) error {
		if err := over(*s, now); err != nil {
			return err
		}
		s.Methods = append(s.Methods, methods...)
		if len(s.Methods) > maxList {
			return Faults{{Field: "methods", Problem: fmt.Sprintf("a session has at most %d", maxList)}}
		}
		s.AuthenticatedAt = authenticatedAt(s.Methods)
		s.LastActiveAt = now
		return nil
	})
	return s, noSession(id, err)
}

func over(s store.Session, now time.Time) error {
	if status := s.StatusAt(now); status != store.Active {
		return refuse(SessionOver, "session %s is %s", s.ID, status)
	}
	return nil
}

// EndSession ends a session as its user would, or revokes it as an operator does:
// status is store.Ended or store.Revoked. A session that stands so already is left
// as it is; any other that is over is SessionOver.
func (i *Issuer) EndSession(ctx context.Context, id string, status store.Status) (store.Session, error) {
	now := i.time()
	changed := false
	s, err := i.store.UpdateSession(ctx, id, func(s *store.Session) error {
		if s.Status == status {
			return nil
		}
		if err := over(*s, now); err != nil {
			return err
		}
		s.Status, s.EndedAt, changed = status, now, true
		return nil
	})
	if err != nil {
		return store.Session{}, noSession(id, err)
	}
	if changed {
		i.metrics.sessions.WithLabelValues(string(status)).Inc()
	}
	return s, nil
}

// Cookie is the Set-Cookie value that carries a session's credential.
func (i *Issuer) Cookie(s store.Session, credential string) string {
	c := http.Cookie{
		Name: i.settings.CookieName, Value: credential, Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode,
		MaxAge: max(1, int(s.ExpiresAt.Sub(i.now())/time.Second)),
	}
	return c.String()
}

// touchEvery is how often last_active_at of a session moves at most.
const touchEvery = time.Minute

// maxTouched bounds what waits to be written; beyond it activity is not noted.
const maxTouched = 100_000

// touch notes activity. It is written later: minting waits for no disk.
func (i *Issuer) touch(s store.Session, now time.Time) {
	if now.Sub(s.LastActiveAt) < touchEvery {
		return
	}
	i.touchMu.Lock()
	defer i.touchMu.Unlock()
	if _, waiting := i.touched[s.ID]; !waiting && len(i.touched) < maxTouched {
		i.touched[s.ID] = now
	}
}

// flush writes the noted activity. What could not be written waits on.
func (i *Issuer) flush(ctx context.Context) error {
	i.touchMu.Lock()
	batch := i.touched
	i.touched = map[string]time.Time{}
	i.touchMu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	err := i.store.TouchSessions(ctx, batch)
	if err != nil {
		i.touchMu.Lock()
		for id, at := range i.touched {
			batch[id] = at
		}
		i.touched = batch
		i.touchMu.Unlock()
	}
	return err
}
