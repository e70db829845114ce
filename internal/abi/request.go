package abi

import "sessiongate/verdict"

// Request is the input of CallFilter: the head of a request, with those header
// fields alone that the plan asks for.
type Request struct {
	Method  string
	Scheme  string          // "http" or "https"
	Host    string          // as received, with a port if there was one
	Path    string          // with its query, as received
	Headers []verdict.Field // names in lower case, repeated ones repeated, in the order received
}

// Hint says, after a refusal, whose keys a host should fetch again.
type Hint struct {
	Issuer int32  // index in the plan, or -1: no issuer's
	KeyID  string // the kid that was not found, if the token names one
}

// Verified is the output of CallVerify.
type Verified struct {
	Reason    verdict.Reason
	Principal verdict.Principal // if Reason is None
	Hint      Hint              // otherwise
}

// Filtered is the output of CallFilter.
type Filtered struct {
	Decision verdict.Decision
	Hint     Hint
}

// Append encodes q.
func (q *Request) Append(dst []byte) []byte {
	dst = appendString(dst, q.Method)
	dst = appendString(dst, q.Scheme)
	dst = appendString(dst, q.Host)
	dst = appendString(dst, q.Path)
	return appendFields(dst, q.Headers)
}

// Decode is the inverse of Append. It overwrites q and reuses its Headers; the
// strings share src's memory.
func (q *Request) Decode(src string) error {
	r := reader{rest: src}
	q.Method, q.Scheme, q.Host, q.Path = r.string(), r.string(), r.string(), r.string()
	q.Headers = r.fields(q.Headers[:0])
	if !r.done() {
		*q = Request{Headers: q.Headers[:0]}
		return ErrEncoding
	}
	return nil
}

// AppendAccepted encodes the Verified of an accepted token.
func AppendAccepted(dst []byte, p *verdict.Principal) []byte {
	return AppendPrincipal(append(dst, byte(verdict.None)), p)
}

// AppendRefused encodes the Verified of a refused token.
func AppendRefused(dst []byte, reason verdict.Reason, issuer int32, kid []byte) []byte {
	return appendHint(append(dst, byte(reason)), issuer, kid)
}

// DecodeVerified is the inverse of AppendAccepted and AppendRefused; its strings share src's memory.
func DecodeVerified(src string) (Verified, error) {
	r := reader{rest: src}
	v := Verified{Reason: r.reason(), Hint: Hint{Issuer: -1}}
	if v.Reason == verdict.None {
		v.Principal = r.principal()
	} else {
		v.Hint = r.hint()
	}
	if !r.done() {
		return Verified{Reason: verdict.Internal, Hint: Hint{Issuer: -1}}, ErrEncoding
	}
	return v, nil
}

// AppendFiltered encodes a Decision and the hint that goes with it.
func AppendFiltered(dst []byte, d *verdict.Decision, issuer int32, kid []byte) []byte {
	return AppendDecision(appendHint(dst, issuer, kid), d)
}

// DecodeFiltered is the inverse of AppendFiltered; its strings share src's memory.
func DecodeFiltered(src string) (Filtered, error) {
	r := reader{rest: src}
	f := Filtered{Hint: r.hint(), Decision: r.decision()}
	if !r.done() {
		return Filtered{Hint: Hint{Issuer: -1}}, ErrEncoding
	}
	return f, nil
}

func appendHint(dst []byte, issuer int32, kid []byte) []byte {
	dst = appendUint32(dst, uint32(issuer))
	return append(appendUint32(dst, uint32(len(kid))), kid...)
}

func (r *reader) hint() Hint { return Hint{Issuer: int32(r.uint32()), KeyID: r.string()} }

// AppendPrincipal encodes p.
func AppendPrincipal(dst []byte, p *verdict.Principal) []byte {
	for _, s := range [...]string{p.Issuer, p.Subject, p.Session, p.Type, p.Tenant} {
		dst = appendString(dst, s)
	}
	dst = appendStrings(dst, p.Roles)
	dst = appendStrings(dst, p.Permissions)
	for _, s := range [...]string{p.Actor, p.Assurance, p.Party, p.TokenID} {
		dst = appendString(dst, s)
	}
	dst = appendInt64(dst, p.AuthenticatedAt)
	dst = appendInt64(dst, p.IssuedAt)
	return appendInt64(dst, p.ExpiresAt)
}

func (r *reader) principal() verdict.Principal {
	return verdict.Principal{
		Issuer: r.string(), Subject: r.string(), Session: r.string(), Type: r.string(), Tenant: r.string(),
		Roles: r.strings(), Permissions: r.strings(),
		Actor: r.string(), Assurance: r.string(), Party: r.string(), TokenID: r.string(),
		AuthenticatedAt: r.int64(), IssuedAt: r.int64(), ExpiresAt: r.int64(),
	}
}

// The bits of a Decision's first byte.
const (
	bitForward       = 1 << 0
	bitAuthenticated = 1 << 1
)

// AppendDecision encodes d: what forwarding needs, or what a local answer needs.
func AppendDecision(dst []byte, d *verdict.Decision) []byte {
	var bits byte
	if d.Forward {
		bits |= bitForward
	}
	if d.Authenticated {
		bits |= bitAuthenticated
	}
	dst = append(dst, bits, byte(d.Reason))
	if d.Authenticated {
		dst = AppendPrincipal(dst, &d.Principal)
	}
	if d.Forward {
		dst = appendStrings(dst, d.Remove)
		dst = appendFields(dst, d.Set)
		dst = appendString(dst, d.Path)
	} else {
		dst = appendUint32(dst, uint32(d.Status))
		dst = appendFields(dst, d.Headers)
		dst = append(appendUint32(dst, uint32(len(d.Body))), d.Body...)
	}
	return appendFields(dst, d.Log)
}

func (r *reader) decision() verdict.Decision {
	bits := r.byte()
	if bits&^(bitForward|bitAuthenticated) != 0 {
		r.bad = true
	}
	d := verdict.Decision{
		Forward: bits&bitForward != 0, Authenticated: bits&bitAuthenticated != 0, Reason: r.reason(),
	}
	if d.Authenticated {
		d.Principal = r.principal()
	}
	if d.Forward {
		d.Remove, d.Set, d.Path = r.strings(), r.fields(nil), r.string()
	} else {
		d.Status, d.Headers = int(r.uint32()), r.fields(nil)
		if body := r.string(); body != "" {
			d.Body = []byte(body)
		}
		if d.Status < 200 || d.Status > 599 {
			r.bad = true
		}
	}
	d.Log = r.fields(nil)
	return d
}
