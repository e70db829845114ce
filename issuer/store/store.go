// Package store says what the issuer keeps: users, sessions, signing keys and API
// keys. An engine implements Store and passes storetest; sqlite is the embedded
// one. Nothing here is secret by itself: private keys arrive sealed, credentials
// and API keys as SHA-256.
package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// Errors that every engine answers, wrapped or not. Any other error means that
// the store could not do its work; whether a write has happened is then unknown.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("exists already")
	ErrConflict = errors.New("changed meanwhile")
)

// Times are UTC and kept to the millisecond. The zero time is kept as such.

// User is somebody who can have sessions.
type User struct {
	ID             string
	Traits         json.RawMessage // a JSON object
	PublicMetadata json.RawMessage // a JSON object
	Credentials    []Credential
	Organizations  []Organization
	Roles          []string // held everywhere; an organization adds its own
	Permissions    []string
	CreatedAt      time.Time
	UpdatedAt      time.Time
}

// Credential is a way in which a user can authenticate, and the level it gives.
type Credential struct {
	Type string `json:"type"`
	AAL  string `json:"aal"`
}

// Organization is a user's membership in a tenant.
type Organization struct {
	ID          string   `json:"id"`
	Slug        string   `json:"slug,omitempty"`
	Name        string   `json:"name,omitempty"`
	Roles       []string `json:"roles,omitempty"`
	Permissions []string `json:"permissions,omitempty"`
}

// Method is one act of authentication in a session.
type Method struct {
	Method      string    `json:"method"`
	AAL         string    `json:"aal"`
	CompletedAt time.Time `json:"completed_at"`
}

// Device is where a session was started from.
type Device struct {
	IPAddress string `json:"ip_address,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
	Location  string `json:"location,omitempty"`
}

// Status is how a session stands. No status but Active goes over into another one.
type Status string

// The statuses that are stored. Expired is not: it follows from ExpiresAt.
const (
	Active  Status = "active"
	Ended   Status = "ended"   // by its user
	Revoked Status = "revoked" // by an operator
	Expired Status = "expired"
)

// Session is one signed-in user on one client.
type Session struct {
	ID              string
	UserID          string
	ClientID        string
	TenantID        string
	Actor           string // who acts for the user
	Type            string // "sess" or "ssdash"
	Methods         []Method
	Device          *Device
	Status          Status
	CredentialHash  []byte // SHA-256 of the session token
	CreatedAt       time.Time
	ExpiresAt       time.Time
	LastActiveAt    time.Time
	AuthenticatedAt time.Time
	EndedAt         time.Time // when it was ended or revoked
}

// StatusAt is the session's status at a time.
func (s Session) StatusAt(now time.Time) Status {
	if s.Status == Active && !now.Before(s.ExpiresAt) {
		return Expired
	}
	return s.Status
}

// Key is a signing key.
type Key struct {
	ID          string // kid
	Algorithm   string
	State       string // a name of keyring.State
	Public      []byte // the JWK, without private members
	Sealed      []byte // the private key, sealed; empty once the key signs no more
	AnnouncedAt time.Time
	ActivatedAt time.Time
	RetiredAt   time.Time
	WithdrawnAt time.Time
	Emergency   string // why it was withdrawn before its time
}

// APIKey lets a program or an operator call the admin API.
type APIKey struct {
	ID        string
	Name      string
	Scopes    []string
	Hash      []byte // SHA-256 of the whole key
	CreatedAt time.Time
	RevokedAt time.Time
}

// SessionFilter chooses sessions. They come newest first, then by id descending.
type SessionFilter struct {
	UserID string // "" for every user
	Limit  int    // at most so many; 0 for 100
	Offset int
}

// Store is what an engine does. Its methods are safe for concurrent use, and a
// write that has returned nil survives a power cut.
type Store interface {
	// Issuer is the name that the store was made for; ErrNotFound in a new store.
	Issuer(ctx context.Context) (string, error)
	// SetIssuer writes the name once; ErrExists if there is one.
	SetIssuer(ctx context.Context, name string) error

	// PutUser writes a user, new or not, and reports whether it was new. CreatedAt
	// of a user that exists stays.
	PutUser(ctx context.Context, u User) (created bool, err error)
	User(ctx context.Context, id string) (User, error)

	// CreateSession answers ErrNotFound if the user does not exist, ErrExists if
	// the id or the credential does.
	CreateSession(ctx context.Context, s Session) error
	Session(ctx context.Context, id string) (Session, error)
	SessionByCredential(ctx context.Context, hash []byte) (Session, error)
	Sessions(ctx context.Context, f SessionFilter) ([]Session, error)
	// UpdateSession changes a session in one transaction; an error of change leaves
	// everything as it was and is returned. ID, UserID, CredentialHash and CreatedAt
	// do not change.
	UpdateSession(ctx context.Context, id string, change func(*Session) error) (Session, error)
	// TouchSessions moves LastActiveAt forward, never back; unknown ids are ignored.
	TouchSessions(ctx context.Context, at map[string]time.Time) error

	// Keys returns all signing keys, in the order in which they were made, and the
	// revision of the whole.
	Keys(ctx context.Context) (revision int64, keys []Key, err error)
	// KeyRevision is the revision alone: 0 as long as SaveKeys was never called.
	KeyRevision(ctx context.Context) (int64, error)
	// SaveKeys writes new and changed keys in one transaction and answers the new
	// revision; ErrConflict if the revision is no longer the one given.
	SaveKeys(ctx context.Context, revision int64, keys []Key) (int64, error)

	// CreateAPIKey answers ErrExists if the id does.
	CreateAPIKey(ctx context.Context, k APIKey) error
	APIKey(ctx context.Context, id string) (APIKey, error)
	// APIKeys returns all of them, oldest first, the revoked ones too.
	APIKeys(ctx context.Context) ([]APIKey, error)
	// RevokeAPIKey sets RevokedAt; a key that is revoked stays as it is. It answers
	// ErrConflict, and changes nothing, if no other key that is not revoked has the
	// scope keep.
	RevokeAPIKey(ctx context.Context, id string, at time.Time, keep string) error

	// Ping reports whether the store can be read and written.
	Ping(ctx context.Context) error
	Close() error
}
