package issuer

import (
	"fmt"
	"time"
)

// Code says what kind of refusal an Error is; it is the code of the API's problem
// details.
type Code string

// The codes of refusals that are no fault of a field (Faults).
const (
	NotFound     Code = "not_found"       // what is named does not exist
	Unsafe       Code = "rotation_unsafe" // the rotation contract forbids it before SafeAt
	WrongState   Code = "wrong_state"     // the key or session is past that
	SessionOver  Code = "session_over"    // the session has ended, expired or was revoked
	LastOperator Code = "last_operator"   // nobody could manage API keys any more
	BadAPIKey    Code = "invalid_api_key" // unknown, wrong or revoked
	BadSession   Code = "invalid_session" // no such session credential
	TooManyScope Code = "scope_too_wide"  // a key cannot give what it does not have
	Conflict     Code = "changed"         // another change came first; try again
	NoVerifier   Code = "no_verifier"     // the issuer runs without the module that checks tokens
	NoSigningKey Code = "no_signing_key"  // the algorithm has no active key, or is not configured
	TokenTooBig  Code = "token_too_large" // the token would be over what verifiers accept
	NotDurable   Code = "not_durable"     // done in this process, but the database did not take it
)

// Error is a refusal.
type Error struct {
	Code   Code
	Detail string    // one sentence
	SafeAt time.Time // with Unsafe: when the step becomes safe
}

// Error is the sentence.
func (e *Error) Error() string { return e.Detail }

func refuse(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Detail: fmt.Sprintf(format, args...)}
}
