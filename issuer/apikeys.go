package issuer

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sessiongate/issuer/store"
)

// The scopes of API keys.
const (
	ScopeUsersRead        = "users:read"
	ScopeUsersWrite       = "users:write"
	ScopeSessionsRead     = "sessions:read"
	ScopeSessionsWrite    = "sessions:write"
	ScopeTokensMint       = "tokens:mint"
	ScopeTokensIntrospect = "tokens:introspect"
	ScopeKeysRead         = "keys:read"
	ScopeKeysRotate       = "keys:rotate"
	ScopeKeysWithdraw     = "keys:withdraw"
	ScopeAPIKeysRead      = "api_keys:read"
	ScopeAPIKeysWrite     = "api_keys:write"
	ScopeMetricsRead      = "metrics:read"
)

// Scopes returns all scopes.
func Scopes() []string {
	return []string{
		ScopeUsersRead, ScopeUsersWrite, ScopeSessionsRead, ScopeSessionsWrite, ScopeTokensMint, ScopeTokensIntrospect,
		ScopeKeysRead, ScopeKeysRotate, ScopeKeysWithdraw, ScopeAPIKeysRead, ScopeAPIKeysWrite, ScopeMetricsRead,
	}
}

// An API key is "sgk_" + id + "_" + secret; its SHA-256 is what is stored.
const (
	apiKeyPrefix = "sgk_"
	apiKeyIDLen  = 16
)

// CreateAPIKey makes an API key and returns it, for the only time, as secret. by
// is the key that asks: none can give a scope that it does not have itself. nil is
// init.
func (i *Issuer) CreateAPIKey(ctx context.Context, by *store.APIKey, name string, scopes []string) (k store.APIKey, secret string, err error) {
	var f Faults
	checkText(&f, "name", name, true)
	if len(scopes) == 0 {
		f.Add("scopes", "must name at least one of %s", strings.Join(Scopes(), ", "))
	}
	for n, s := range scopes {
		field := fmt.Sprintf("scopes[%d]", n)
		if !slices.Contains(Scopes(), s) {
			f.Add(field, "must be one of %s", strings.Join(Scopes(), ", "))
		} else if slices.Index(scopes, s) < n {
			f.Add(field, "is there twice")
		}
	}
	if err := f.Err(); err != nil {
		return store.APIKey{}, "", err
	}
	for _, s := range scopes {
		if by != nil && !slices.Contains(by.Scopes, s) {
			return store.APIKey{}, "", refuse(TooManyScope, "scopes: this API key has not %s itself", s)
		}
	}
	k, secret = makeAPIKey(name, scopes, i.time())
	if err := i.store.CreateAPIKey(ctx, k); err != nil {
		return store.APIKey{}, "", err
	}
	i.log.Info("API key made", "id", k.ID, "name", name, "scopes", scopes)
	return k, secret, nil
}

func makeAPIKey(name string, scopes []string, now time.Time) (store.APIKey, string) {
	random := make([]byte, 32)
	rand.Read(random)
	id := rand.Text()[:apiKeyIDLen]
	secret := apiKeyPrefix + id + "_" + base64.RawURLEncoding.EncodeToString(random)
	hash := sha256.Sum256([]byte(secret))
	return store.APIKey{ID: id, Name: name, Scopes: scopes, Hash: hash[:], CreatedAt: now}, secret
}

// Authenticate returns the API key of a secret. Unknown, wrong and revoked ones
// are all BadAPIKey.
func (i *Issuer) Authenticate(ctx context.Context, secret string) (store.APIKey, error) {
	bad := refuse(BadAPIKey, "the API key is not valid")
	rest, ok := strings.CutPrefix(secret, apiKeyPrefix)
	if !ok || len(rest) <= apiKeyIDLen || len(rest) > 128 || rest[apiKeyIDLen] != '_' {
		return store.APIKey{}, bad
	}
	hash := sha256.Sum256([]byte(secret))
	k, err := i.store.APIKey(ctx, rest[:apiKeyIDLen])
	if errors.Is(err, store.ErrNotFound) {
		return store.APIKey{}, bad
	}
	if err != nil {
		return store.APIKey{}, err
	}
	if subtle.ConstantTimeCompare(k.Hash, hash[:]) != 1 || !k.RevokedAt.IsZero() {
		return store.APIKey{}, bad
	}
	return k, nil
}

// APIKeys returns all API keys, the revoked ones too.
func (i *Issuer) APIKeys(ctx context.Context) ([]store.APIKey, error) { return i.store.APIKeys(ctx) }

// RevokeAPIKey revokes an API key for good. The last one that can manage API keys
// stays (LastOperator): without it nobody could be let in again.
func (i *Issuer) RevokeAPIKey(ctx context.Context, id string) error {
	err := i.store.RevokeAPIKey(ctx, id, i.time(), ScopeAPIKeysWrite)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return refuse(NotFound, "no API key %q", id)
	case errors.Is(err, store.ErrConflict):
		return refuse(LastOperator, "this is the last API key with the scope %s: make another one first", ScopeAPIKeysWrite)
	case err == nil:
		i.log.Info("API key revoked", "id", id)
	}
	return err
}
