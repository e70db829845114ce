// Package cases is one table of tokens and what is to be said of them: by the
// verifier itself, by a guest through its host, in any language through testdata.
// Each case is a policy, the key sets of its issuers, a token, a time, and the
// Reason or the Principal that follow. It is for tests alone.
package cases

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"

	"sessiongate/verdict"
	"sessiongate/verifier"
)

// Now is the time of every case unless it says otherwise, in Unix milliseconds.
const Now = 1_700_000_000_000

// Case is one token and what follows from it.
type Case struct {
	Name    string            // "own/expired": unique, of letters, digits and -_./
	Issuers []verifier.Issuer // what the policy says, ready for verifier.New
	Keys    []KeySet          // of each issuer, same index
	Token   string
	Now     int64

	Reason verdict.Reason
	// Principal is empty for a refusal. Its Roles and Permissions are nil where
	// there are none.
	Principal verdict.Principal
}

// KeySet is where one issuer's keys come from.
type KeySet struct {
	// Document is the JWK Set; "" if none has arrived, and for symmetric algorithms.
	Document string
	// Inline says that the document stands in the policy. Otherwise it arrives as
	// an update.
	Inline bool
	// ConfirmedAt is when the update was last known good, in Unix milliseconds.
	ConfirmedAt int64
}

// Policy is the policy document that says the same as Issuers. Keys that are not
// inline are to be fetched below base, "" standing for a place where nothing
// listens; the host member "go" has the secrets. One rule wants a token everywhere.
func (c *Case) Policy(base string) []byte {
	if base == "" {
		base = "http://127.0.0.1:9"
	}
	issuers, secrets := []JSON{}, JSON{}
	for i, is := range c.Issuers {
		name := is.Name
		if is.UncheckedIssuer {
			name = "unchecked"
		}
		algorithms := []string{}
		for _, a := range is.Algorithms {
			algorithms = append(algorithms, a.String())
		}
		p := JSON{"issuer": name, "dialect": is.Dialect.String(), "algorithms": algorithms, "leeway": seconds(is.Leeway), "max_lifetime": "unchecked"}
		if is.MaxLifetime != 0 {
			p["max_lifetime"] = seconds(is.MaxLifetime)
		}
		if is.UncheckedAudience {
			p["audience"] = "unchecked"
		} else if is.Audience != nil {
			p["audience"] = is.Audience
		}
		if is.Parties != nil {
			p["authorized_parties"] = is.Parties
		}
		if is.UncheckedType {
			p["types"] = "unchecked"
		} else if is.Types != nil {
			p["types"] = is.Types
		}
		if is.OptionalExpiry {
			p["expiry"] = "optional"
		}
		pointers := JSON{}
		for name, pointer := range map[string]string{"tenant": is.Tenant, "roles": is.Roles, "permissions": is.Permissions,
			"assurance": is.Assurance, "authenticated_at": is.AuthenticatedAt} {
			if pointer != "" {
				pointers[name] = pointer
			}
		}
		if len(pointers) > 0 {
			p["pointers"] = pointers
		}
		switch set := c.Keys[i]; {
		case len(is.Secret) > 0:
			secrets[name] = encode(is.Secret)
		case set.Inline:
			p["jwks"] = json.RawMessage(set.Document)
		default:
			p["jwks_uri"] = base + "/jwks/" + strconv.Itoa(i)
			p["max_stale"], p["cooldown"] = seconds(is.MaxStale), 1
		}
		issuers = append(issuers, p)
	}
	return []byte(text(JSON{
		"version": 1,
		"policy":  JSON{"issuers": issuers, "rules": []JSON{{"path_prefix": "/"}}},
		"host":    JSON{"go": JSON{"secrets": secrets}},
	}))
}

func seconds(ms int64) int64 {
	if ms%1000 != 0 {
		panic("a policy has whole seconds")
	}
	return ms / 1000
}

// Segments takes a token apart: header and claims decoded, the signature as it is.
func Segments(token string) (header, claims, signature string) {
	s := strings.Split(token, ".")
	return string(must(base64.RawURLEncoding.DecodeString(s[0]))), string(must(base64.RawURLEncoding.DecodeString(s[1]))), s[2]
}

// All is every case.
func All() []Case {
	var all []Case
	for _, group := range [][]Case{form(), algorithms(), keys(), types(), times(), recipients(), issuers(), own(), clerk(), kratos(), pointers()} {
		all = append(all, group...)
	}
	return all
}

// spec describes a case by what differs from a good token of a dialect.
type spec struct {
	name   string
	key    *Key   // signs; default: the dialect's
	alg    string // signs, and stands in the header; default: the key's
	header []any  // changes to the header, in pairs
	claims []any  // changes to the claims, in pairs

	rawHeader, rawClaims string // instead of the above

	issuer    func(*verifier.Issuer)
	set       string // the key set's document
	inline    bool
	edit      func(token string) string // last touch to the token
	at        int64                     // milliseconds after Now
	all       func(*Case)               // last touch to the case
	reason    verdict.Reason
	principal func(*verdict.Principal) // what differs from the dialect's
}

// base is a good token of a dialect, and what follows from it.
type base struct {
	group     string
	key       *Key
	header    JSON
	claims    JSON
	issuer    verifier.Issuer
	principal verdict.Principal
}

const now = Now / 1000

func (b base) build(specs ...spec) []Case {
	list := make([]Case, 0, len(specs))
	for _, s := range specs {
		key := b.key
		if s.key != nil {
			key = s.key
		}
		alg := key.Alg
		if s.alg != "" {
			alg = s.alg
		}
		header, claims := s.rawHeader, s.rawClaims
		if header == "" {
			header = text(with(with(b.header, "alg", alg, "kid", key.Name), s.header...))
		}
		if claims == "" {
			claims = text(with(b.claims, s.claims...))
		}
		c := Case{
			Name:    b.group + "/" + s.name,
			Issuers: []verifier.Issuer{b.issuer},
			Keys:    []KeySet{{Document: s.set, Inline: s.inline, ConfirmedAt: Now + s.at}},
			Token:   key.compact(alg, header, claims),
			Now:     Now + s.at,
			Reason:  s.reason,
		}
		if s.set == "" {
			c.Keys[0].Document = Set(b.key.JWK())
		}
		if s.edit != nil {
			c.Token = s.edit(c.Token)
		}
		if s.issuer != nil {
			s.issuer(&c.Issuers[0])
		}
		if s.reason == verdict.None {
			c.Principal = b.principal
			if s.principal != nil {
				s.principal(&c.Principal)
			}
		}
		if s.all != nil {
			s.all(&c)
		}
		if len(c.Issuers[0].Secret) > 0 {
			c.Keys[0].Document = ""
		}
		if c.Keys[0].Inline {
			c.Issuers[0].MaxStale, c.Keys[0].ConfirmedAt = 0, 0
		}
		list = append(list, c)
	}
	return list
}
