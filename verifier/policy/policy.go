// Package policy reads the policy document: whom a host trusts, where tokens are
// looked for, which requests need what, and what the upstream is told. Parse is
// strict and reports every fault at once; what it returns is ready to be judged by
// and holds no default to be filled in later.
package policy

import "sessiongate/verifier"

// The bounds of a policy document (in addition to those of single members, which
// the JSON Schema states).
const (
	MaxBytes   = 1 << 20 // length of the text
	maxDepth   = 32      // arrays and objects inside one another
	maxMembers = 1024    // members of one object
)

// Policy is a policy document as one kind of host reads it, with every default
// filled in. It must not be changed: a filter shares its memory.
type Policy struct {
	Issuers []verifier.Issuer // ready for verifier.New
	Keys    []KeySource       // where the keys of each issuer come from, by the same index

	Sources    []Source // where a token is looked for, in this order; never empty
	FirstToken bool     // of several different tokens the first counts; otherwise they are refused
	Origins    []string // origins from which a cookie token may come with an unsafe method

	Rules          []Rule // the first that matches decides; none matches: no_rule
	NormalizePaths bool   // ambiguous path spellings are rewritten instead of refused
	CheckPreflight bool   // a CORS preflight is judged by the rules like any other request

	Identity   []IdentityHeader // in the document's order; names are lower case and unique, "_" being "-"
	StripToken bool             // the token does not reach the upstream

	SignIn       *SignIn // where a browser without a session is sent, or nil
	PublicOrigin string  // scheme://host[:port] under which clients see this host; set whenever SignIn is
	Ory          bool    // refusals are told as Kratos does, otherwise as problem details (RFC 9457)
	Realm        string  // of the WWW-Authenticate challenge; needs no escaping

	Log []Claim // whose values may be logged
}

// KeySourceKind says how an issuer's keys arrive.
type KeySourceKind uint8

// The kinds of key source.
const (
	Inline    KeySourceKind = iota + 1 // they stand in the policy
	URI                                // a JWK Set is fetched
	File                               // a JWK Set is read from a file
	Discovery                          // the issuer's metadata are fetched, which name the JWK Set
	Secret                             // there are none: the algorithms are symmetric
)

// KeySource is where the keys of one issuer come from.
type KeySource struct {
	Kind   KeySourceKind
	Inline []byte // Inline: the JWK Set as it stands in the document

	// Location is the URL (URI, Discovery), the file (File), or the file that holds
	// the base64url secret (Secret; "" when Issuer.Secret is set). Files come from
	// the host member that Parse was asked for and are "" without one.
	Location string

	Cluster  string // URI, Discovery: Envoy's name of the upstream that answers for Location
	MaxStale int64  // milliseconds that fetched or bundled keys may go unconfirmed; 0 with Inline and Secret
	Cooldown int64  // milliseconds between two fetches at least; 0 with Inline and Secret
}

// SourceKind is a place of a request that may hold a token.
type SourceKind uint8

// The places.
const (
	Header SourceKind = iota + 1
	Cookie
	Query
)

// Source is a place where a token is looked for.
type Source struct {
	Kind   SourceKind
	Name   string // a header's is lower case; cookies and query parameters are case-sensitive
	Scheme string // Header: the scheme before the token, compared without case; "": the whole value is the token
}

// Access says what a rule does with the token.
type Access uint8

// The kinds of access.
const (
	Required Access = iota // a token must be there and be good
	Optional               // no token passes, a bad one does not
	Public                 // the token is ignored
)

// Rule says what the requests it matches need. A nil list asks for nothing.
type Rule struct {
	Hosts   []string // lower case, without port; "*.example" stands for every name below example; nil: any
	Methods []string // upper case; nil: any
	Path    PathPattern

	Access         Access
	SessionTypes   []string // any of them
	PermissionsAny []string // at least one of them
	PermissionsAll []string // every one of them

	Tenant        string // this tenant; "" asks for nothing
	TenantSegment string // the tenant that this {segment} of the path names; "" asks for nothing

	Assurance         string // this level or a higher one; "" asks for nothing
	AuthenticationAge int64  // milliseconds since the subject authenticated, at most; 0 asks for nothing
}

// Field is a field of verdict.Principal, or a place in the claims set.
type Field uint8

// The fields, in the order of the Principal.
const (
	FieldPointer Field = iota // not a field: Claim.Pointer says where in the claims set
	FieldIssuer
	FieldSubject
	FieldSession
	FieldType
	FieldTenant
	FieldRoles
	FieldPermissions
	FieldActor
	FieldAssurance
	FieldParty
	FieldTokenID
	FieldAuthenticatedAt
	FieldIssuedAt
	FieldExpiresAt
	fieldCount
)

var fieldNames = [fieldCount]string{"", "issuer", "subject", "session", "type", "tenant", "roles", "permissions",
	"actor", "assurance", "party", "token_id", "authenticated_at", "issued_at", "expires_at"}

// Claim names a value of a verified token.
type Claim struct {
	Field   Field
	Pointer string // RFC 6901, into the claims set; only with FieldPointer
}

// String is the claim as it stands in a document: "subject" or "/email".
func (c Claim) String() string {
	if c.Field == FieldPointer || c.Field >= fieldCount {
		return c.Pointer
	}
	return fieldNames[c.Field]
}

// IdentityHeader is a header that tells the upstream who is asking.
type IdentityHeader struct {
	Name      string // lower case
	Claim     Claim
	Separator string // between the items of a list: one ASCII punctuation character, never "%"
}

// SignIn is where a browser navigation without a session is redirected to.
type SignIn struct {
	URL      string // without fragment, and without a query parameter named ReturnTo
	ReturnTo string // query parameter that holds the URL to come back to; needs no escaping
}
