package policy

import (
	"bytes"
	"strconv"
	"strings"

	"sessiongate/internal/strict"
	"sessiongate/jwks"
	"sessiongate/verifier"
)

// The bounds and defaults of an issuer, in seconds.
const (
	maxIssuers         = 1000
	defaultLeeway      = 5
	defaultMaxLifetime = 86_400
	maxMaxLifetime     = 315_360_000 // ten years
	defaultMaxStale    = 86_400
	maxMaxStale        = 31_536_000 // a year
	defaultCooldown    = 30
	maxCooldown        = 86_400
)

// unchecked is the word of every laxer setting: it says what it does.
const unchecked = "unchecked"

var issuerMembers = []string{"issuer", "dialect", "algorithms", "audience", "authorized_parties", "types", "expiry",
	"leeway", "max_lifetime", "jwks", "jwks_uri", "jwks_file", "discovery", "max_stale", "cooldown", "pointers"}

// keySources are the members of which an issuer with asymmetric algorithms has one.
var keySources = [...]string{"jwks", "jwks_uri", "jwks_file", "discovery"}

const acceptedKeySource = "exactly one of jwks, jwks_uri, jwks_file, discovery"

// entry is what the host members are checked against.
type entry struct {
	name      string // as it stands in the document; "" after a fault
	path      string
	source    string // one of keySources; "" for symmetric algorithms and after a fault
	symmetric bool
}

func (d *document) issuers(s spot) {
	seen := make(map[string]int)
	list := d.list(s, maxIssuers, "issuers")
	for i, e := range list {
		d.issuer(e)
		name := d.entries[i].name
		if first, twice := seen[name]; twice && name != "" {
			d.fault(e.path+"/issuer", "is the issuer of element "+strconv.Itoa(first)+" too", "each issuer once")
			d.entries[i].name = ""
		} else {
			seen[name] = i
		}
		if name == unchecked && len(list) > 1 {
			d.fault(e.path+"/issuer", `is "unchecked" beside other issuers`, `"unchecked" as the only issuer`)
		}
	}
}

func (d *document) issuer(s spot) {
	var (
		is  verifier.Issuer
		key KeySource
		en  = entry{path: s.path}
	)
	if d.object(s, "an issuer: an object", issuerMembers...) {
		en.name = d.text(s.member("issuer"), `the exact iss, or "unchecked"`, nil)
		if is.UncheckedIssuer = en.name == unchecked; !is.UncheckedIssuer {
			is.Name = en.name
		}
		d.dialect(s, &is)
		en.symmetric = d.algorithms(s.member("algorithms"), &is)
		d.recipients(s, &is)
		d.types(s.member("types"), &is)
		is.OptionalExpiry = d.word(s.member("expiry"), "required", "optional") == 1
		is.Leeway = d.seconds(s.member("leeway"), defaultLeeway, 0, verifier.MaxLeeway/1000, "")
		if life := s.member("max_lifetime"); !life.Is(unchecked) {
			is.MaxLifetime = d.seconds(life, defaultMaxLifetime, 1, maxMaxLifetime, `, or "unchecked"`)
		}
		key, en.source = d.keySource(s, &is, en.symmetric)
	}
	is.MaxStale = key.MaxStale
	d.policy.Issuers = append(d.policy.Issuers, is)
	d.policy.Keys = append(d.policy.Keys, key)
	d.entries = append(d.entries, en)
}

func (d *document) dialect(s spot, is *verifier.Issuer) {
	names := []string{verifier.Own.String(), verifier.Clerk.String(), verifier.Kratos.String(), verifier.JWT.String()}
	dialect := s.member("dialect")
	text, _ := dialect.Text()
	var known bool
	if is.Dialect, known = verifier.ParseDialect(text); !known {
		d.notOneOf(dialect, names)
	}
	p := s.member("pointers")
	if !p.present() {
		return
	}
	accepted := []string{"tenant", "roles", "permissions", "assurance", "authenticated_at"}
	if known && is.Dialect == verifier.Kratos {
		accepted = accepted[3:]
	}
	if known && (is.Dialect == verifier.Own || is.Dialect == verifier.Clerk) {
		d.fault(p.path, "goes with another dialect", `pointers with the dialects "jwt" and "kratos", whose claims have no fixed place`)
		return
	}
	if !d.object(p, "an object of JSON Pointers", accepted...) {
		return
	}
	for i, into := range [...]*string{&is.Tenant, &is.Roles, &is.Permissions, &is.Assurance, &is.AuthenticatedAt} {
		name := [...]string{"tenant", "roles", "permissions", "assurance", "authenticated_at"}[i]
		if m := p.member(name); m.present() && contains(accepted, name) {
			*into = d.text(m, "a JSON Pointer into the claims such as /realm_access/roles", checkPointer)
		}
	}
}

// algorithms reads the allowed algorithms and reports whether they are symmetric.
func (d *document) algorithms(s spot, is *verifier.Issuer) (symmetric bool) {
	var names []string
	for _, a := range jwks.Algorithms() {
		names = append(names, a.String())
	}
	accepted := strings.Join(names, ", ")
	count := 0
	for _, e := range d.list(s, len(names)+1, "algorithms") {
		name := d.text(e, accepted, nil)
		if name == "" {
			continue
		}
		a, known := jwks.ParseAlgorithm(name)
		if !known {
			problem := "is not an algorithm" + meant(name, names)
			if strings.EqualFold(name, "none") {
				problem = "would accept tokens that nobody signed"
			}
			d.fault(e.path, problem, accepted)
			continue
		}
		for _, other := range is.Algorithms {
			if other == a {
				d.fault(e.path, "is there already (Ed25519 and EdDSA are one algorithm)", "each algorithm once")
				known = false
			}
		}
		if known {
			is.Algorithms = append(is.Algorithms, a)
		}
		if known && a.Symmetric() {
			count++
		}
	}
	if count > 0 && count < len(is.Algorithms) {
		d.fault(s.path, "mixes algorithms of secrets and of public keys", "either HS256, HS384 and HS512 or the others")
	}
	return count > 0 && count == len(is.Algorithms)
}

// recipients reads whom the tokens are for and to whom they were issued.
func (d *document) recipients(s spot, is *verifier.Issuer) {
	audience, parties := s.member("audience"), s.member("authorized_parties")
	if is.UncheckedAudience = audience.Is(unchecked); !is.UncheckedAudience && audience.present() {
		if audience.Kind() == strict.Array {
			is.Audience = d.texts(audience, 256, "audiences", "an audience: a string", nil)
		} else {
			d.wrong(audience, `a list of audiences, or "unchecked"`)
		}
	}
	is.Parties = d.texts(parties, 256, "authorised parties", "an authorised party: a string", nil)
	if !audience.present() && !parties.present() {
		d.fault(audience.path, "is missing, and so is authorized_parties",
			`a list of audiences, or authorized_parties, or "unchecked" where neither is wanted`)
	}
}

// types reads the accepted typ headers as the verifier compares them: in lower
// case and without "application/" (RFC 7515 section 4.1.9).
func (d *document) types(s spot, is *verifier.Issuer) {
	if is.UncheckedType = s.Is(unchecked); is.UncheckedType || !s.present() {
		return
	}
	if s.Kind() != strict.Array {
		d.wrong(s, `a list of typ headers, or "unchecked"`)
		return
	}
	for _, e := range d.list(s, 32, "typ headers") {
		accepted := `a media type such as "at+jwt", or "" for a token without typ`
		text, isText := e.Text()
		switch {
		case !isText:
			d.wrong(e, accepted)
			continue
		case !every(text, func(c byte) bool { return c > ' ' && c <= '~' }):
			d.fault(e.path, "holds a character that no media type has", accepted)
			continue
		}
		text = strings.ToLower(text)
		if rest, ok := strings.CutPrefix(text, "application/"); ok && rest != "" {
			text = rest
		}
		is.Types = d.unique(is.Types, text, e)
	}
}

// keySource reads where the keys come from, and which of keySources says so.
func (d *document) keySource(s spot, is *verifier.Issuer, symmetric bool) (key KeySource, source string) {
	for _, name := range keySources {
		if !s.has(name) {
			continue
		}
		switch path := s.member(name).path; {
		case symmetric:
			d.fault(path, "goes with no symmetric algorithm", "the secret, in secrets of each host member")
		case source != "":
			d.fault(path, "is a second source of keys beside "+source, acceptedKeySource)
		default:
			source = name
		}
	}
	switch at := s.member(source); source {
	case "jwks":
		key = KeySource{Kind: Inline, Inline: d.inline(at, is)}
	case "jwks_uri":
		key = KeySource{Kind: URI, Location: d.text(at, acceptedURL, checkURL)}
	case "jwks_file":
		key.Kind = File
		if at.Kind() != strict.True {
			d.wrong(at, "true (the path stands in jwks_files of each host member)")
		}
	case "discovery":
		key = KeySource{Kind: Discovery, Location: d.text(at, acceptedURL, checkURL)}
		if is.UncheckedIssuer {
			d.fault(at.path, `goes with no "unchecked" issuer: the metadata must name the iss`, "jwks_uri, jwks_file or jwks")
		}
	default:
		key.Kind = Secret
		if !symmetric && len(is.Algorithms) > 0 {
			d.fault(s.path, "has no source of keys", acceptedKeySource)
		}
	}
	if key.Kind == Inline || key.Kind == Secret {
		for _, name := range [...]string{"max_stale", "cooldown"} {
			if m := s.member(name); m.present() && (symmetric || key.Kind == Inline) {
				d.fault(m.path, "goes with no key that stands in the document: it does not age and is not fetched", "")
			}
		}
		return key, source
	}
	stale := s.member("max_stale")
	key.MaxStale = d.seconds(stale, defaultMaxStale, 1, maxMaxStale, "")
	key.Cooldown = d.seconds(s.member("cooldown"), defaultCooldown, 1, maxCooldown, "")
	if key.Kind != File && key.MaxStale < key.Cooldown {
		d.fault(stale.path, "is shorter than cooldown, so that keys would go stale before they may be fetched again",
			"at least the seconds of cooldown ("+strconv.FormatInt(key.Cooldown/1000, 10)+")")
	}
	return key, source
}

// inline checks that a JWK Set in the document holds a key to verify with.
func (d *document) inline(s spot, is *verifier.Issuer) []byte {
	accepted := "a JWK Set (RFC 7517) with a key for one of the algorithms"
	if s.Kind() != strict.Object {
		d.wrong(s, accepted)
		return nil
	}
	set, err := jwks.Parse(s.Raw())
	if err != nil {
		d.fault(s.path, "cannot be used: "+err.Error(), accepted)
		return nil
	}
	for _, key := range set.Keys() {
		for _, fits := range key.Algorithms() {
			for _, a := range is.Algorithms {
				if a == fits {
					return bytes.Clone(s.Raw())
				}
			}
		}
	}
	if len(is.Algorithms) == 0 {
		return nil // a fault of its own
	}
	problem := "has no key for the algorithms"
	for i, skipped := range set.Skipped() {
		if i == 10 {
			problem += "; and more"
			break
		}
		problem += "; keys/" + strconv.Itoa(skipped.Index) + " is not usable: " + skipped.Why
	}
	d.fault(s.path, problem, accepted)
	return nil
}

// ParseSecret decodes the secret of symmetric algorithms: base64url without
// padding (RFC 4648 section 5), at least as long as the longest hash output (RFC
// 7518 section 3.2). Where it cannot be used, problem says why, without its value.
func ParseSecret(text string, algorithms []jwks.Algorithm) (secret []byte, problem string) {
	secret = make([]byte, strict.DecodedLen(len(text)))
	n, ok := strict.DecodeBase64(secret, []byte(text))
	if !ok {
		return nil, "is not base64url without padding (RFC 4648 section 5)"
	}
	for _, a := range algorithms {
		if n < a.SecretSize() {
			return nil, "is shorter than " + a.String() + " wants: " + strconv.Itoa(a.SecretSize()) + " bytes (RFC 7518 section 3.2)"
		}
	}
	return secret[:n], ""
}
