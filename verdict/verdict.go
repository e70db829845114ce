package verdict

// Principal is who an accepted token speaks for, whatever its dialect. The zero
// Principal speaks for nobody. Times are Unix milliseconds; 0 means that the
// token does not say.
type Principal struct {
	Issuer          string   // iss
	Subject         string   // sub
	Session         string   // sid
	Type            string   // session type: "sess", "ssdash", or "" where the dialect has none
	Tenant          string   // tenant or organisation
	Roles           []string // in the token's order
	Permissions     []string // in the token's order
	Actor           string   // act.sub: who acts for the subject
	Assurance       string   // "aal0" to "aal3", or the issuer's acr
	Party           string   // azp
	TokenID         string   // jti
	AuthenticatedAt int64    // when the subject last authenticated
	IssuedAt        int64    // iat
	ExpiresAt       int64    // exp
}

// Field is one HTTP header field.
type Field struct{ Name, Value string }

// Decision is what a proxy does with one request: forward it with header edits,
// or answer it with a response of its own. The zero Decision refuses.
type Decision struct {
	// Forward says that the request goes on to the upstream, after Remove, Set
	// and Path. Otherwise Status, Headers and Body are the whole answer.
	Forward bool
	// Reason is why a request is answered locally, and None when it is forwarded.
	// A sign-in redirect and a CORS answer carry their Reason too.
	Reason Reason
	// Authenticated says that a token was verified; Principal is empty otherwise.
	Authenticated bool
	Principal     Principal

	// Remove names the inbound header fields to take away before Set: in every
	// case, with "_" for "-", each repetition, and in trailers. They are lower case.
	Remove []string
	// Set holds the fields to put on the forwarded request, after Remove.
	Set []Field
	// Path, when not empty, replaces the request's path and query.
	Path string

	Status  int     // local answer: HTTP status
	Headers []Field // local answer: header fields, Content-Type included
	Body    []byte  // local answer: body

	// Log holds the claim values that the policy's "log" names, and no others.
	Log []Field
}
