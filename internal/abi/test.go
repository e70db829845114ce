//go:build conformance

package abi

// Test is the input of CallTestJWS and CallTestRaw, whose output is one Reason.
type Test struct {
	Keys       string // a JWK Set, unless there is a secret
	Secret     string
	Algorithms []string // allowed ones
	Message    string   // the token, or what was signed
	Signature  string   // of CallTestRaw
}

// Append encodes t.
func (t *Test) Append(dst []byte) []byte {
	dst = appendString(appendString(dst, t.Keys), t.Secret)
	dst = appendStrings(dst, t.Algorithms)
	return appendString(appendString(dst, t.Message), t.Signature)
}

// DecodeTest is the inverse of Append.
func DecodeTest(src string) (Test, error) {
	r := reader{rest: src}
	t := Test{Keys: r.string(), Secret: r.string(), Algorithms: r.strings(), Message: r.string(), Signature: r.string()}
	if !r.done() {
		return Test{}, ErrEncoding
	}
	return t, nil
}
