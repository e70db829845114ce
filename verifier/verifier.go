package verifier

import (
	"slices"
	"sync"

	"sessiongate/internal/strict"
	"sessiongate/jwks"
	"sessiongate/verdict"
)

// Verifier judges tokens. It is immutable and safe for concurrent use.
type Verifier struct {
	issuers []issuer
	byName  map[string]int
	allowed uint16 // algorithms that some issuer allows
}

// issuer is an Issuer with its keys.
type issuer struct {
	Issuer
	allowed     uint16
	keys        *jwks.Set
	confirmedAt int64
}

func (i *issuer) symmetric() bool { return len(i.Secret) != 0 }

// WithKeys returns a Verifier in which the issuer at that index of Config.Issuers
// has the given set. confirmedAt, in Unix milliseconds, is when the set was last
// known to be the issuer's: MaxStale counts from it.
func (v *Verifier) WithKeys(issuer int, set *jwks.Set, confirmedAt int64) *Verifier {
	next := *v
	next.issuers = slices.Clone(v.issuers)
	next.issuers[issuer].keys = set
	next.issuers[issuer].confirmedAt = confirmedAt
	return &next
}

// Keys returns the issuer's current set, nil if none has arrived, and when it was
// last confirmed.
func (v *Verifier) Keys(issuer int) (*jwks.Set, int64) {
	return v.issuers[issuer].keys, v.issuers[issuer].confirmedAt
}

// Result holds what one token said. Its memory is used again by the next
// VerifyInto, so the Principal's slices are good until then; its strings stay.
type Result struct {
	// Principal is empty unless the token was accepted.
	Principal verdict.Principal
	// Issuer is the index of the token's issuer in Config.Issuers, or -1. For a
	// refused token it is what the token claims.
	Issuer int
	// KeyID is the kid of the header, nil if it has none. For a refused token it
	// is what the token claims.
	KeyID []byte

	header, claims     strict.Doc
	headerBuf, bodyBuf []byte
	input, signature   []byte
	sigBuf             []byte
	kid                []byte
	copied             []byte

	algorithm jwks.Algorithm
	key       *jwks.Key
	exp, nbf  date
	iat       date
	accepted  bool
	nullable  bool         // null in a claim is as good as no claim
	fault     strict.Value // the member that is not of its type, for Explain

	spans []span
	text  []byte
	last  string
	bits  []uint32
}

// date is a NumericDate in milliseconds, if the token has it.
type date struct {
	at  int64
	set bool
}

// Claims is the claims set of the accepted token, until the next VerifyInto.
func (r *Result) Claims() strict.Value {
	if !r.accepted {
		return strict.Value{}
	}
	return r.claims.Root()
}

func (r *Result) reset() {
	roles, permissions := r.Principal.Roles[:0], r.Principal.Permissions[:0]
	r.Principal = verdict.Principal{Roles: roles, Permissions: permissions}
	r.Issuer, r.KeyID, r.key, r.accepted = -1, nil, nil, false
	r.algorithm, r.exp, r.nbf, r.iat = 0, date{}, date{}, date{}
	r.input, r.signature, r.fault = nil, nil, strict.Value{}
}

// malformed notes the value that is at fault.
func (r *Result) malformed(v strict.Value) verdict.Reason {
	r.fault = v
	return verdict.Malformed
}

var results = sync.Pool{New: func() any { return new(Result) }}

// Verify judges one compact JWS at the given time in Unix milliseconds. The error
// is a verdict.Reason, and then the Principal is empty.
func (v *Verifier) Verify(token string, now int64) (verdict.Principal, error) {
	r := results.Get().(*Result)
	defer results.Put(r)
	if len(token) > MaxTokenBytes {
		return verdict.Principal{}, verdict.TooLarge
	}
	r.copied = append(r.copied[:0], token...)
	if reason := v.VerifyInto(r, r.copied, now); reason != verdict.None {
		return verdict.Principal{}, reason
	}
	p := r.Principal
	// Copies, and nil where there is nothing, whatever token the Result held before.
	p.Roles, p.Permissions = append([]string(nil), p.Roles...), append([]string(nil), p.Permissions...)
	return p, nil
}

// VerifyInto is Verify for a caller that keeps a Result: a refusal allocates
// nothing once its buffers have grown. The token must stay unchanged meanwhile.
func (v *Verifier) VerifyInto(r *Result, token []byte, now int64) verdict.Reason {
	r.reset()
	reason := r.read(token)
	for i := 0; i < len(checks) && reason == verdict.None; i++ {
		reason = checks[i].run(v, r, now)
	}
	if reason == verdict.None {
		reason = r.build(&v.issuers[r.Issuer])
	}
	if reason != verdict.None {
		r.Principal = verdict.Principal{Roles: r.Principal.Roles[:0], Permissions: r.Principal.Permissions[:0]}
		return reason
	}
	r.accepted = true
	return verdict.None
}

// read takes the token apart: segments, header, claims set. What it lets pass is
// strict JSON whose registered members are of the registered types.
func (r *Result) read(token []byte) verdict.Reason {
	payload, reason := r.readHeader(token)
	if reason != verdict.None {
		return reason
	}
	body, reason := r.decodePayload(payload)
	if reason != verdict.None {
		return reason
	}
	if reason := r.claims.Parse(body, strict.Limits{Depth: MaxDepth, Members: MaxMembers}); reason != verdict.None {
		return reason
	}
	return r.readClaims()
}

func (r *Result) decodePayload(payload []byte) ([]byte, verdict.Reason) {
	r.bodyBuf = grow(r.bodyBuf, strict.DecodedLen(len(payload)))
	n, ok := strict.DecodeBase64(r.bodyBuf, payload)
	if !ok {
		return nil, verdict.Malformed
	}
	return r.bodyBuf[:n], verdict.None
}

// readHeader takes the token apart up to the header, and decodes the signature.
func (r *Result) readHeader(token []byte) (payload []byte, reason verdict.Reason) {
	if len(token) > MaxTokenBytes {
		return nil, verdict.TooLarge
	}
	head, payload, signature, input, ok := strict.SplitCompact(token)
	if !ok {
		return nil, verdict.Malformed
	}
	if strict.DecodedLen(len(head)) > MaxHeaderBytes {
		return nil, verdict.TooLarge
	}
	r.headerBuf = grow(r.headerBuf, strict.DecodedLen(len(head)))
	n, ok := strict.DecodeBase64(r.headerBuf, head)
	if !ok {
		return nil, verdict.Malformed
	}
	if reason := r.header.Parse(r.headerBuf[:n], strict.Limits{Depth: MaxDepth, Members: MaxMembers}); reason != verdict.None {
		return nil, reason
	}
	r.sigBuf = grow(r.sigBuf, strict.DecodedLen(len(signature)))
	n, ok = strict.DecodeBase64(r.sigBuf, signature)
	if !ok {
		return nil, verdict.Malformed
	}
	r.signature, r.input = r.sigBuf[:n], input
	return payload, r.readParameters(r.header.Root())
}

// readParameters reads the header's parameters (RFC 7515 section 4.1).
func (r *Result) readParameters(header strict.Value) verdict.Reason {
	if header.Kind() != strict.Object {
		return verdict.Malformed
	}
	alg := strict.Value{}
	for m := header.First(); m.Kind() != strict.Invalid; m = m.Next() {
		switch {
		case m.KeyIs("alg"):
			alg = m
		case m.KeyIs("kid"):
			var ok bool
			if r.kid, ok = m.AppendText(r.kid[:0]); !ok {
				return r.malformed(m)
			}
			if r.KeyID = r.kid; r.KeyID == nil {
				r.KeyID = []byte{}
			}
		case m.KeyIs("typ"), m.KeyIs("cty"):
			if m.Kind() != strict.String {
				return r.malformed(m)
			}
		case m.KeyIs("crit"), m.KeyIs("b64"):
			// No extension is understood, so whatever crit asks for is too much; b64
			// (RFC 7797) changes what was signed and is refused with and without crit.
			return verdict.CriticalHeader
		}
	}
	if alg.Kind() != strict.String {
		return r.malformed(alg)
	}
	r.readAlgorithm(alg)
	return verdict.None
}

// readAlgorithm reads the alg parameter; an unknown one stays the zero Algorithm.
func (r *Result) readAlgorithm(alg strict.Value) {
	for _, a := range everyAlgorithm {
		if alg.Is(a.String()) {
			r.algorithm = a
			return
		}
	}
	if alg.Is("Ed25519") {
		r.algorithm = jwks.EdDSA
	}
}

var everyAlgorithm = jwks.Algorithms()

// readClaims checks the registered claims' types (RFC 7519 section 4.1) and keeps
// the dates.
func (r *Result) readClaims() verdict.Reason {
	root := r.claims.Root()
	if root.Kind() != strict.Object {
		return verdict.Malformed
	}
	for m := root.First(); m.Kind() != strict.Invalid; m = m.Next() {
		ok := true
		switch {
		case m.KeyIs("exp"):
			r.exp.at, ok = m.Millis()
			r.exp.set = true
		case m.KeyIs("nbf"):
			r.nbf.at, ok = m.Millis()
			r.nbf.set = true
		case m.KeyIs("iat"):
			r.iat.at, ok = m.Millis()
			r.iat.set = true
		case m.KeyIs("iss"), m.KeyIs("sub"), m.KeyIs("jti"), m.KeyIs("azp"), m.KeyIs("sid"):
			ok = m.Kind() == strict.String
		case m.KeyIs("aud"):
			ok = m.Kind() == strict.String || stringArray(m) && m.Len() > 0
		}
		if !ok {
			return r.malformed(m)
		}
	}
	return verdict.None
}

func stringArray(v strict.Value) bool {
	if v.Kind() != strict.Array {
		return false
	}
	for e := v.First(); e.Kind() != strict.Invalid; e = e.Next() {
		if e.Kind() != strict.String {
			return false
		}
	}
	return true
}

// grow returns a slice of n bytes, of buf if that is large enough.
func grow(buf []byte, n int) []byte {
	if cap(buf) < n {
		return make([]byte, n, n+n/2)
	}
	return buf[:n]
}
