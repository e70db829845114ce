// Package verifier judges session tokens: a token, a snapshot of keys and the
// time go in, a Principal or a Reason comes out. It does no I/O, reads no clock
// and uses no randomness.
package verifier

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"sessiongate/internal/strict"
	"sessiongate/jwks"
)

// The bounds of one token.
const (
	MaxTokenBytes  = 16 << 10 // the compact serialization
	MaxHeaderBytes = 4 << 10  // the JOSE header, decoded
	MaxDepth       = 32       // nesting of header and claims
	MaxMembers     = 256      // claims, and members of any object in them
)

// MaxLeeway bounds Issuer.Leeway, in milliseconds.
const MaxLeeway = 300_000

// Dialect says how an issuer's claims become a Principal.
type Dialect uint8

// The dialects.
const (
	Own    Dialect = iota // this project's issuer
	Clerk                 // Clerk session tokens, v1 and v2
	Kratos                // Ory Kratos tokenised sessions
	JWT                   // any other issuer, by JSON Pointers
)

var dialectNames = [...]string{"own", "clerk", "kratos", "jwt"}

// String is the dialect's name in a policy: "own".
func (d Dialect) String() string {
	if int(d) >= len(dialectNames) {
		return ""
	}
	return dialectNames[d]
}

// ParseDialect returns the dialect of a name.
func ParseDialect(name string) (Dialect, bool) {
	for i, n := range dialectNames {
		if n == name {
			return Dialect(i), true
		}
	}
	return 0, false
}

// Issuer is what is accepted from one issuer. Durations are milliseconds.
type Issuer struct {
	Name            string // the exact iss
	UncheckedIssuer bool   // any iss, or none; then it is the only issuer and Name is empty

	Dialect    Dialect
	Algorithms []jwks.Algorithm // required; all symmetric or none
	Secret     []byte           // the key of symmetric algorithms, which use no key set

	Audience          []string // aud holds at least one of them
	UncheckedAudience bool     // aud is not looked at
	Parties           []string // azp is one of them

	// Types holds the accepted typ headers in lower case, without
	// "application/"; "" stands for a header without typ. Nil takes the
	// dialect's default. UncheckedType accepts any.
	Types         []string
	UncheckedType bool

	OptionalExpiry bool  // a token without exp is accepted
	Leeway         int64 // for clocks that differ, on exp, nbf and iat; at most MaxLeeway
	MaxLifetime    int64 // from iat, or from now without iat, to exp; 0 is no bound
	MaxStale       int64 // age of the key set above which every token is refused; 0 for keys that do not age

	// JSON Pointers (RFC 6901) into the claims. Tenant, Roles and Permissions are
	// for dialect JWT; Assurance and AuthenticatedAt for JWT and Kratos, where
	// empty takes the dialect's default.
	Tenant, Roles, Permissions, Assurance, AuthenticatedAt string
}

// Config is what a Verifier accepts.
type Config struct{ Issuers []Issuer }

// New checks a Config and makes a Verifier without keys: until WithKeys gives an
// issuer its set, that issuer's tokens are refused with keys_unavailable. The
// errors are joined, and each names its issuer and field.
func New(c Config) (*Verifier, error) {
	v := &Verifier{byName: make(map[string]int, len(c.Issuers))}
	var errs []error
	for i, is := range c.Issuers {
		fail := func(text string) {
			errs = append(errs, errors.New("issuers["+strconv.Itoa(i)+"]"+text))
		}
		switch _, twice := v.byName[is.Name]; {
		case is.UncheckedIssuer && (len(c.Issuers) > 1 || is.Name != ""):
			fail(".UncheckedIssuer: wants to be the only issuer, without a Name")
		case !is.UncheckedIssuer && is.Name == "":
			fail(".Name: is empty")
		case twice:
			fail(".Name: is another issuer's too")
		}
		if is.Dialect.String() == "" {
			fail(".Dialect: is none of own, clerk, kratos, jwt")
			is.Dialect = Own
		}
		// The caller's slices may change, a Verifier does not.
		is.Algorithms, is.Secret, is.Types = slices.Clone(is.Algorithms), slices.Clone(is.Secret), slices.Clone(is.Types)
		is.Audience, is.Parties = slices.Clone(is.Audience), slices.Clone(is.Parties)
		entry := issuer{Issuer: is}
		symmetric := 0
		for _, a := range is.Algorithms {
			if a.String() == "" {
				fail(".Algorithms: holds one that does not exist")
				continue
			}
			entry.allowed |= 1 << a
			v.allowed |= 1 << a
			if a.Symmetric() {
				symmetric++
			}
			if len(is.Secret) < a.SecretSize() {
				fail(".Secret: is shorter than " + a.String() + " wants (RFC 7518 section 3.2)")
			}
		}
		switch {
		case len(is.Algorithms) == 0:
			fail(".Algorithms: is empty")
		case symmetric != 0 && symmetric != len(is.Algorithms):
			fail(".Algorithms: mixes symmetric and asymmetric ones")
		case symmetric == 0 && len(is.Secret) != 0:
			fail(".Secret: is set without a symmetric algorithm")
		}
		if !is.UncheckedAudience && len(is.Audience) == 0 && len(is.Parties) == 0 {
			fail(".Audience: is empty, and so is Parties; UncheckedAudience says that neither is wanted")
		}
		if is.Leeway < 0 || is.Leeway > MaxLeeway {
			fail(".Leeway: is not within 0 and 300,000 ms")
		}
		if is.MaxLifetime < 0 || is.MaxStale < 0 {
			fail(".MaxLifetime or .MaxStale: is negative")
		}
		for _, p := range [...]string{is.Tenant, is.Roles, is.Permissions, is.Assurance, is.AuthenticatedAt} {
			if !strict.ValidPointer(p) {
				fail(": holds something that is no JSON Pointer")
			}
		}
		for _, typ := range is.Types {
			if strings.ToLower(typ) != typ {
				fail(".Types: is not in lower case, and would never be met")
			}
		}
		if entry.Types == nil {
			entry.Types = defaultTypes[is.Dialect]
		}
		if is.Dialect == Kratos || is.Dialect == JWT {
			defaults := [...]string{Kratos: "/aal", JWT: "/acr"}
			if entry.Assurance == "" {
				entry.Assurance = defaults[is.Dialect]
			}
			defaults = [...]string{Kratos: "/authenticated_at", JWT: "/auth_time"}
			if entry.AuthenticatedAt == "" {
				entry.AuthenticatedAt = defaults[is.Dialect]
			}
		}
		v.byName[is.Name] = i
		v.issuers = append(v.issuers, entry)
	}
	if len(c.Issuers) == 0 {
		errs = append(errs, errors.New("issuers: is empty"))
	}
	if len(errs) != 0 {
		return nil, errors.Join(errs...)
	}
	return v, nil
}

// defaultTypes keeps tokens of other kinds out (RFC 8725 section 3.11): logout
// tokens, status lists and DPoP proofs carry a typ of their own.
var defaultTypes = [...][]string{
	Own:    {"at+jwt"},
	Clerk:  {"", "jwt"},
	Kratos: {"", "jwt"},
	JWT:    {"", "jwt", "at+jwt"},
}
