// Package verdict holds the words that every part of sessiongate shares: why a
// token was refused (Reason), who an accepted token speaks for (Principal) and
// what a proxy does with the request (Decision). It depends on nothing.
package verdict

// Reason says why a token or a request was refused. It is an error, so that
// errors.Is(err, verdict.Expired) holds; its String is the one spelling used in
// HTTP bodies, metrics, logs and the ABI, and its number is the ABI's code.
// None, the zero value, means that nothing was refused.
type Reason uint8

// The Reasons, in the order of their ABI codes. The codes never change; new
// Reasons are added at the end.
const (
	None                Reason = iota
	MissingToken               // no token in any source that the policy names
	MultipleTokens             // several tokens, or one source given twice
	Malformed                  // not a compact JWS with a strict header and claims set (RFC 7515, 7519, 8259)
	TooLarge                   // beyond a bound: token, header, nesting, members
	AlgorithmNotAllowed        // alg is not one the policy allows for this issuer or key
	CriticalHeader             // crit or b64 asks for an extension that is not understood (RFC 7515 section 4.1.11)
	UnknownKey                 // no key of this issuer fits the header
	AmbiguousKey               // several different keys fit the header
	BadSignature               // the signature does not verify
	WrongType                  // the header's typ is not one the policy accepts
	MissingClaim               // a claim that the policy requires is absent
	WrongIssuer                // iss is not an issuer of the policy
	WrongAudience              // aud holds none of the accepted audiences
	WrongParty                 // azp is not an authorised party
	Expired                    // now is at or after exp
	NotYetValid                // now is before nbf
	IssuedInFuture             // iat lies in the future
	LifetimeTooLong            // exp is further from iat than the policy allows
	SessionPending             // the session has an open task (Clerk sts "pending")
	ProofRequired              // the token is bound to a key (cnf) and was presented as a bearer
	Revoked                    // the token, its session or its key is revoked
	BadPath                    // the request path has a spelling that could walk around a rule
	NoRule                     // no rule matches the request
	CrossSite                  // a cookie token on an unsafe method from another site
	SessionType                // the rule wants another session type
	Tenant                     // the rule wants another tenant
	Permission                 // the rule wants a permission that the token lacks
	Assurance                  // the rule wants a higher assurance level (RFC 9470)
	AuthenticationAge          // the rule wants a more recent authentication (RFC 9470)
	StatusUnknown              // the token's status list is not at hand
	StatusStale                // the token's status list is older than its bound
	KeysUnavailable            // no key set of this issuer has arrived yet
	KeysStale                  // the issuer's key set is older than the policy's bound
	ClockUnusable              // the host's clock is earlier than the module's build
	Internal                   // a defect of sessiongate itself; the request is refused
	reasonCount
)

var reasonNames = [reasonCount]string{
	None:                "none",
	MissingToken:        "missing_token",
	MultipleTokens:      "multiple_tokens",
	Malformed:           "malformed",
	TooLarge:            "too_large",
	AlgorithmNotAllowed: "algorithm_not_allowed",
	CriticalHeader:      "critical_header",
	UnknownKey:          "unknown_key",
	AmbiguousKey:        "ambiguous_key",
	BadSignature:        "bad_signature",
	WrongType:           "wrong_type",
	MissingClaim:        "missing_claim",
	WrongIssuer:         "wrong_issuer",
	WrongAudience:       "wrong_audience",
	WrongParty:          "wrong_party",
	Expired:             "expired",
	NotYetValid:         "not_yet_valid",
	IssuedInFuture:      "issued_in_future",
	LifetimeTooLong:     "lifetime_too_long",
	SessionPending:      "session_pending",
	ProofRequired:       "proof_required",
	Revoked:             "revoked",
	BadPath:             "bad_path",
	NoRule:              "no_rule",
	CrossSite:           "cross_site",
	SessionType:         "session_type",
	Tenant:              "tenant",
	Permission:          "permission",
	Assurance:           "assurance",
	AuthenticationAge:   "authentication_age",
	StatusUnknown:       "status_unknown",
	StatusStale:         "status_stale",
	KeysUnavailable:     "keys_unavailable",
	KeysStale:           "keys_stale",
	ClockUnusable:       "clock_unusable",
	Internal:            "internal",
}

var reasonTexts = [reasonCount]string{
	None:                "nothing was refused",
	MissingToken:        "no token in the request",
	MultipleTokens:      "more than one token in the request",
	Malformed:           "token is not a strict compact JWS with a JSON claims set",
	TooLarge:            "token is over a size bound",
	AlgorithmNotAllowed: "token's algorithm is not allowed",
	CriticalHeader:      "token's header needs an extension that is not understood",
	UnknownKey:          "no key of the issuer fits the token",
	AmbiguousKey:        "several keys of the issuer fit the token",
	BadSignature:        "token's signature does not verify",
	WrongType:           "token's type is not accepted",
	MissingClaim:        "token lacks a required claim",
	WrongIssuer:         "token's issuer is not accepted",
	WrongAudience:       "token is for another audience",
	WrongParty:          "token was issued to another party",
	Expired:             "token is expired",
	NotYetValid:         "token is not valid yet",
	IssuedInFuture:      "token was issued in the future",
	LifetimeTooLong:     "token's lifetime is over the maximum",
	SessionPending:      "session has an open task",
	ProofRequired:       "token is bound to a key and needs a proof of possession",
	Revoked:             "token is revoked",
	BadPath:             "request path is ambiguous",
	NoRule:              "no rule matches the request",
	CrossSite:           "cookie token in a cross-site request",
	SessionType:         "session is of another type",
	Tenant:              "session belongs to another tenant",
	Permission:          "session lacks a permission",
	Assurance:           "session's assurance level is too low",
	AuthenticationAge:   "session's authentication is too old",
	StatusUnknown:       "token's status is not known",
	StatusStale:         "token's status list is too old",
	KeysUnavailable:     "issuer's keys have not arrived yet",
	KeysStale:           "issuer's keys are too old",
	ClockUnusable:       "host's clock is earlier than the module's build",
	Internal:            "internal error",
}

// String returns the Reason's name, such as "expired"; an unknown code is "internal".
func (r Reason) String() string {
	if r >= reasonCount {
		r = Internal
	}
	return reasonNames[r]
}

// Text returns one sentence for a person, without its name: "token is expired".
func (r Reason) Text() string {
	if r >= reasonCount {
		r = Internal
	}
	return reasonTexts[r]
}

// Error returns the name and the sentence: "expired: token is expired".
func (r Reason) Error() string { return r.String() + ": " + r.Text() }

// Status returns the HTTP status that answers a refusal for this Reason: 400,
// 401, 403 or 503, and 200 for None.
func (r Reason) Status() int {
	switch r {
	case None:
		return 200
	case MultipleTokens, BadPath:
		return 400
	case Permission, Tenant, SessionType, NoRule, CrossSite:
		return 403
	case StatusUnknown, StatusStale, KeysUnavailable, KeysStale, ClockUnusable, Internal:
		return 503
	}
	if r >= reasonCount {
		return 503
	}
	return 401
}

// ParseReason returns the Reason of a name; false if there is none.
func ParseReason(name string) (Reason, bool) {
	for i, n := range reasonNames {
		if n == name {
			return Reason(i), true
		}
	}
	return Internal, false
}

// Reasons returns every Reason save None, in the order of their codes.
func Reasons() []Reason {
	all := make([]Reason, 0, reasonCount-1)
	for r := MissingToken; r < reasonCount; r++ {
		all = append(all, r)
	}
	return all
}
