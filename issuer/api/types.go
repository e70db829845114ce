// Package api serves the issuer over HTTP: the public listener (key set,
// discovery, tokens for a session's credential) and the admin listener (users,
// sessions, keys, API keys, metrics and health). The calls stand in the issuer's
// README.md; errors are RFC 9457 problem details:
//
//	400 invalid_request       a member is wrong, unknown or missing; errors names each
//	401 invalid_api_key       no API key, or not a valid one
//	401 invalid_session       no such session credential (public listener)
//	403 insufficient_scope    the API key lacks the scope that detail names
//	403 scope_too_wide        an API key cannot give what it does not have
//	404 not_found             what is named does not exist
//	405 method_not_allowed    see Allow
//	409 rotation_unsafe       the rotation contract forbids it before safe_at
//	409 session_over, wrong_state, changed, last_operator, no_signing_key, token_too_large
//	413 too_large             the body is over its bound
//	421 host_not_allowed      the Host header names another host (DNS rebinding)
//	500 internal              details are in the log
//	500 not_durable           an emergency withdrawal holds, but is not in the database yet
//	503 no_verifier, unavailable
package api

import (
	"encoding/json"
	"time"

	"sessiongate/issuer/store"
)

// Times are RFC 3339; lifetimes are whole seconds. A time that has not come is
// left out.

// Problem is the body of every error (application/problem+json).
type Problem struct {
	Title  string       `json:"title"`
	Status int          `json:"status"`
	Code   string       `json:"code"`
	Detail string       `json:"detail,omitempty"`
	Errors []FieldError `json:"errors,omitempty"`
	SafeAt *time.Time   `json:"safe_at,omitempty"` // with rotation_unsafe
}

// FieldError is one member of a request that is wrong.
type FieldError struct {
	Field  string `json:"field"` // "methods[0].aal"; "" is the whole body
	Detail string `json:"detail"`
}

// UserBody is the body of PUT /admin/v1/users/{id}.
type UserBody struct {
	Traits         json.RawMessage      `json:"traits,omitempty"`
	PublicMetadata json.RawMessage      `json:"public_metadata,omitempty"`
	Credentials    []store.Credential   `json:"credentials,omitempty"`
	Organizations  []store.Organization `json:"organizations,omitempty"`
	Roles          []string             `json:"roles,omitempty"`       // held in every tenant
	Permissions    []string             `json:"permissions,omitempty"` // held in every tenant
}

// User is a user.
type User struct {
	ID             string               `json:"id"`
	Traits         json.RawMessage      `json:"traits"`
	PublicMetadata json.RawMessage      `json:"public_metadata"`
	Credentials    []store.Credential   `json:"credentials"`
	Organizations  []store.Organization `json:"organizations"`
	Roles          []string             `json:"roles"`
	Permissions    []string             `json:"permissions"`
	CreatedAt      time.Time            `json:"created_at"`
	UpdatedAt      time.Time            `json:"updated_at"`
}

// Actor is who acts for a session's user.
type Actor struct {
	Sub string `json:"sub"`
}

// SessionBody is the body of POST /admin/v1/sessions.
type SessionBody struct {
	UserID   string        `json:"user_id"`
	ClientID string        `json:"client_id,omitempty"`
	TenantID string        `json:"tenant_id,omitempty"`
	Actor    *Actor        `json:"actor,omitempty"`
	Type     string        `json:"type,omitempty"` // "sess" (default) or "ssdash"
	Methods  []MethodBody  `json:"methods,omitempty"`
	Device   *store.Device `json:"device,omitempty"`
	TTL      *int64        `json:"ttl,omitempty"`
}

// MethodBody is one act of authentication.
type MethodBody struct {
	Method      string     `json:"method"`
	AAL         string     `json:"aal"`
	CompletedAt *time.Time `json:"completed_at,omitempty"` // default: now
}

// MethodsBody is the body of POST /admin/v1/sessions/{id}/methods.
type MethodsBody struct {
	Methods []MethodBody `json:"methods"`
}

// Session is a session.
type Session struct {
	ID              string         `json:"id"`
	UserID          string         `json:"user_id"`
	ClientID        string         `json:"client_id"`
	TenantID        string         `json:"tenant_id,omitempty"`
	Actor           *Actor         `json:"actor,omitempty"`
	Type            string         `json:"type"`
	Status          store.Status   `json:"status"` // active, ended, revoked or expired
	Assurance       string         `json:"assurance"`
	Methods         []store.Method `json:"methods"`
	Device          *store.Device  `json:"device,omitempty"`
	CreatedAt       time.Time      `json:"created_at"`
	ExpiresAt       time.Time      `json:"expires_at"`
	LastActiveAt    time.Time      `json:"last_active_at"`
	AuthenticatedAt *time.Time     `json:"authenticated_at,omitempty"`
	EndedAt         *time.Time     `json:"ended_at,omitempty"`
}

// NewSession answers POST /admin/v1/sessions: the only time that the credential
// is seen.
type NewSession struct {
	Session      Session `json:"session"`
	SessionToken string  `json:"session_token"`
	SetCookie    string  `json:"set_cookie"`
}

// Sessions is a list of sessions, newest first.
type Sessions struct {
	Sessions []Session `json:"sessions"`
}

// TokenBody is the body of POST /admin/v1/sessions/{id}/tokens and of POST
// /v1/token, which has no party.
type TokenBody struct {
	Audience  []string `json:"audience,omitempty"`
	TTL       *int64   `json:"ttl,omitempty"`
	Party     string   `json:"party,omitempty"`     // client_id and azp
	Algorithm string   `json:"algorithm,omitempty"` // default: the first one configured
}

// Token answers a token call.
type Token struct {
	Token     string    `json:"token"`
	TokenType string    `json:"token_type"` // "Bearer"
	ExpiresIn int64     `json:"expires_in"`
	ExpiresAt time.Time `json:"expires_at"`
	SessionID string    `json:"session_id"`
}

// Key is a signing key. The withdrawn ones are listed too.
type Key struct {
	KeyID       string          `json:"kid"`
	Algorithm   string          `json:"algorithm"`
	State       string          `json:"state"` // announced, active, retiring or withdrawn
	AnnouncedAt time.Time       `json:"announced_at"`
	ActiveAt    *time.Time      `json:"active_at,omitempty"` // when it begins to sign, or began
	RetiredAt   *time.Time      `json:"retired_at,omitempty"`
	GoneAt      *time.Time      `json:"gone_at,omitempty"` // when it leaves the key set, or left it
	Emergency   string          `json:"emergency,omitempty"`
	JWK         json.RawMessage `json:"jwk"`
}

// Keys is a list of signing keys, oldest first.
type Keys struct {
	Keys []Key `json:"keys"`
}

// KeyBody is the body of POST /admin/v1/keys: announce a successor.
type KeyBody struct {
	Algorithm string `json:"algorithm,omitempty"` // default: the first one configured
}

// RotateBody is the body of POST /admin/v1/keys/{kid}/rotate.
type RotateBody struct {
	Immediately bool `json:"immediately,omitempty"` // an announced successor takes over now, if that is safe
}

// WithdrawBody is the body of POST /admin/v1/keys/{kid}/withdraw.
type WithdrawBody struct {
	Emergency bool   `json:"emergency,omitempty"` // break the contract: the key is in other hands
	Reason    string `json:"reason,omitempty"`    // required with emergency, and only then
}

// Withdrawal answers a withdrawal. All but Key belong to an emergency.
type Withdrawal struct {
	Key       Key        `json:"key"`
	Active    *Key       `json:"active,omitempty"`       // the key that signs now
	Forgotten *time.Time `json:"forgotten_by,omitempty"` // from then on every verifier that reaches the issuer refuses the key
	Known     *time.Time `json:"known_by,omitempty"`     // from then on every such verifier knows the active key
}

// APIKeyBody is the body of POST /admin/v1/api-keys.
type APIKeyBody struct {
	Name   string   `json:"name"`
	Scopes []string `json:"scopes"`
}

// APIKey is an API key, without its secret.
type APIKey struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Scopes    []string   `json:"scopes"`
	CreatedAt time.Time  `json:"created_at"`
	RevokedAt *time.Time `json:"revoked_at,omitempty"`
}

// NewAPIKey answers POST /admin/v1/api-keys: the only time that the key is seen.
type NewAPIKey struct {
	APIKey
	Secret string `json:"api_key"`
}

// APIKeys is a list of API keys, oldest first.
type APIKeys struct {
	APIKeys []APIKey `json:"api_keys"`
}

// IntrospectBody is the body of POST /admin/v1/introspect.
type IntrospectBody struct {
	Token string `json:"token"`
}

// Introspection answers it: active and who the token speaks for, or a Reason.
type Introspection struct {
	Active          bool       `json:"active"`
	Reason          string     `json:"reason,omitempty"`
	Issuer          string     `json:"issuer,omitempty"`
	Subject         string     `json:"subject,omitempty"`
	Session         string     `json:"session,omitempty"`
	Type            string     `json:"type,omitempty"`
	Tenant          string     `json:"tenant,omitempty"`
	Roles           []string   `json:"roles,omitempty"`
	Permissions     []string   `json:"permissions,omitempty"`
	Actor           string     `json:"actor,omitempty"`
	Assurance       string     `json:"assurance,omitempty"`
	Party           string     `json:"party,omitempty"`
	TokenID         string     `json:"token_id,omitempty"`
	AuthenticatedAt *time.Time `json:"authenticated_at,omitempty"`
	IssuedAt        *time.Time `json:"issued_at,omitempty"`
	ExpiresAt       *time.Time `json:"expires_at,omitempty"`
}
