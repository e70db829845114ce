package issuer

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
	"github.com/lestrrat-go/jwx/v2/jwt"

	"sessiongate/issuer/store"
)

// tokenType is the typ of our own tokens (RFC 9068 section 2.1).
const tokenType = "at+jwt"

// maxToken is what verifiers accept, in bytes.
const maxToken = 16 << 10

// TokenRequest says what a token shall be like.
type TokenRequest struct {
	Audience  []string      // nil: the configured one
	TTL       time.Duration // whole seconds; 0: the configured one
	Party     string        // client_id and azp; "": the session's
	Algorithm string        // "": the first one configured
}

// Token is a minted token.
type Token struct {
	Compact   string // the JWS
	SessionID string
	ExpiresAt time.Time
	ExpiresIn time.Duration // from its iat; whole seconds
}

// Mint signs a token for an active session. It reads the store and never writes
// to it. No token outlives its session or max_token_lifetime.
func (i *Issuer) Mint(ctx context.Context, sessionID string, r TokenRequest) (Token, error) {
	s, err := i.Session(ctx, sessionID)
	if err != nil {
		return Token{}, err
	}
	return i.mint(ctx, s, r)
}

// MintFor is Mint for whoever holds a session's credential. Such a caller may ask
// for less than the configuration gives, but not for more: a lifetime up to
// token_ttl, some of the configured audience, and no party of its choice.
func (i *Issuer) MintFor(ctx context.Context, credential string, r TokenRequest) (Token, error) {
	s, err := i.SessionOf(ctx, credential)
	if err != nil {
		return Token{}, err
	}
	var f Faults
	if longest := i.settings.TokenTTL; r.TTL > seconds(longest) {
		f.Add("ttl", "must be 1 to %d seconds", longest)
	}
	for n, a := range r.Audience {
		if !slices.Contains(i.settings.Audience, a) {
			f.Add(fmt.Sprintf("audience[%d]", n), "must be one of the issuer's audiences")
		}
	}
	if r.Party != "" {
		f.Add("party", "cannot be chosen with a session's credential")
	}
	if err := f.Err(); err != nil {
		return Token{}, err
	}
	return i.mint(ctx, s, r)
}

func (i *Issuer) checkTokenRequest(r TokenRequest) error {
	var f Faults
	if r.TTL != 0 && (r.TTL < time.Second || r.TTL > i.contract.MaxTokenLifetime) {
		f.Add("ttl", "must be 1 to %d seconds, which is max_token_lifetime", i.settings.MaxTokenLifetime)
	}
	if r.Audience != nil && len(r.Audience) == 0 {
		f.Add("audience", "must name at least one audience, or be left out")
	}
	checkTexts(&f, "audience", r.Audience)
	checkText(&f, "party", r.Party, false)
	if r.Algorithm != "" && !slices.Contains(i.settings.Algorithms, r.Algorithm) {
		f.Add("algorithm", "must be one that the issuer is configured for")
	}
	return f.Err()
}

func (i *Issuer) mint(ctx context.Context, s store.Session, r TokenRequest) (Token, error) {
	if err := i.checkTokenRequest(r); err != nil {
		return Token{}, err
	}
	now := i.now()
	if err := over(s, now); err != nil {
		return Token{}, err
	}
	u, err := i.User(ctx, s.UserID)
	if err != nil {
		return Token{}, err
	}
	org, ok := organization(u, s.TenantID)
	if !ok {
		return Token{}, refuse(SessionOver, "the user is no member of the session's tenant any more")
	}
	if r.Algorithm == "" {
		r.Algorithm = i.settings.Algorithms[0]
	}
	if r.Audience == nil {
		r.Audience = i.settings.Audience
	}
	if r.Party == "" {
		r.Party = s.ClientID
	}
	if r.TTL == 0 {
		r.TTL = seconds(i.settings.TokenTTL)
	}
	// iat is rounded down, and exp with it: a token never lives longer than it says.
	iat := now.Truncate(time.Second)
	exp := iat.Add(r.TTL.Truncate(time.Second))
	if end := s.ExpiresAt.Truncate(time.Second); exp.After(end) {
		exp = end
	}
	if !exp.After(iat) {
		return Token{}, refuse(SessionOver, "session %s expires within this second", s.ID)
	}
	t := jwt.New()
	t.Options().Disable(jwt.FlattenAudience) // aud is an array, of one too
	claims := map[string]any{
		jwt.IssuerKey: i.settings.Issuer, jwt.SubjectKey: u.ID, jwt.AudienceKey: r.Audience, jwt.JwtIDKey: rand.Text(),
		jwt.IssuedAtKey: iat, jwt.NotBeforeKey: iat, jwt.ExpirationKey: exp,
		"client_id": r.Party, "azp": r.Party, "sid": s.ID, "session_type": s.Type,
		"roles": union(u.Roles, org.Roles), "permissions": union(u.Permissions, org.Permissions),
		"acr": Assurance(s.Methods), "amr": methodNames(s.Methods),
	}
	if s.TenantID != "" {
		claims["tenant_id"] = s.TenantID
	}
	if !s.AuthenticatedAt.IsZero() {
		claims["auth_time"] = s.AuthenticatedAt.Unix()
	}
	if s.Actor != "" {
		claims["act"] = map[string]string{"sub": s.Actor}
	}
	for name, value := range claims {
		if err := t.Set(name, value); err != nil {
			return Token{}, fmt.Errorf("claim %s: %w", name, err)
		}
	}
	compact, err := i.sign(r.Algorithm, tokenType, t)
	if err != nil {
		return Token{}, err
	}
	i.touch(s, now)
	i.metrics.minted.WithLabelValues(r.Algorithm, s.Type).Inc()
	return Token{Compact: compact, SessionID: s.ID, ExpiresAt: exp.UTC(), ExpiresIn: exp.Sub(iat)}, nil
}

// sign signs with the algorithm's active key.
func (i *Issuer) sign(alg, typ string, t jwt.Token) (string, error) {
	key := i.live.Load().signers[alg]
	if key == nil {
		return "", refuse(NoSigningKey, "no key of %s is active yet", alg)
	}
	h := jws.NewHeaders()
	for name, value := range map[string]string{jws.TypeKey: typ, jws.KeyIDKey: key.kid} {
		if err := h.Set(name, value); err != nil {
			return "", err
		}
	}
	signed, err := jwt.Sign(t, jwt.WithKey(jwa.SignatureAlgorithm(alg), key.private, jws.WithProtectedHeaders(h)))
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	if len(signed) > maxToken {
		return "", refuse(TokenTooBig, "the token would have %d bytes, and verifiers accept %d: the user has too many roles and permissions", len(signed), maxToken)
	}
	return string(signed), nil
}

// union has each string once, in order; never nil, since the claim is an array.
func union(a, b []string) []string {
	out := make([]string, 0, len(a)+len(b))
	for _, s := range slices.Concat(a, b) {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func methodNames(methods []store.Method) []string {
	var names []string
	for _, m := range methods {
		names = append(names, m.Method)
	}
	return union(names, nil)
}
