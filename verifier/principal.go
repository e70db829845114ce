package verifier

import (
	"sessiongate/internal/strict"
	"sessiongate/verdict"
)

// field is a string of the Principal.
type field uint8

const (
	fieldIssuer field = iota
	fieldSubject
	fieldSession
	fieldType
	fieldTenant
	fieldActor
	fieldAssurance
	fieldParty
	fieldTokenID
	fieldRole
	fieldPermission
)

// span is where a field's text lies in Result.text. All texts are gathered there
// first, so that an accepted token costs one string and not one for each field.
type span struct {
	field    field
	from, to int
}

// absent reports whether a claim says nothing. Other issuers' templates write null
// for what a user does not have; this project's issuer leaves the claim out.
func (r *Result) absent(v strict.Value) bool {
	return v.Kind() == strict.Invalid || r.nullable && v.Kind() == strict.Null
}

// put adds the text of a string value. An absent value is no text and no fault;
// any other kind is a fault.
func (r *Result) put(f field, v strict.Value) bool {
	if r.absent(v) {
		return true
	}
	from := len(r.text)
	var ok bool
	r.text, ok = v.AppendText(r.text)
	if !ok {
		return r.wrong(v)
	}
	r.spans = append(r.spans, span{f, from, len(r.text)})
	return true
}

// wrong notes the value that is at fault; it is always false.
func (r *Result) wrong(v strict.Value) bool {
	r.fault = v
	return false
}

func (r *Result) putText(f field, parts ...string) {
	from := len(r.text)
	for _, p := range parts {
		r.text = append(r.text, p...)
	}
	r.spans = append(r.spans, span{f, from, len(r.text)})
}

// putList adds each string of an array; absent is empty.
func (r *Result) putList(f field, v strict.Value) bool {
	if r.absent(v) {
		return true
	}
	if v.Kind() != strict.Array {
		return r.wrong(v)
	}
	for e := v.First(); e.Kind() != strict.Invalid; e = e.Next() {
		if e.Kind() != strict.String || !r.put(f, e) {
			return r.wrong(v)
		}
	}
	return true
}

// putWords adds an array of strings, or a string's words (RFC 8693 section 4.2,
// scope).
func (r *Result) putWords(f field, v strict.Value) bool {
	if v.Kind() != strict.String {
		return r.putList(f, v)
	}
	from := len(r.text)
	r.text, _ = v.AppendText(r.text)
	for i := from; i <= len(r.text); i++ {
		if i == len(r.text) || r.text[i] == ' ' {
			if i > from {
				r.spans = append(r.spans, span{f, from, i})
			}
			from = i + 1
		}
	}
	return true
}

// build makes the Principal of a token that passed every check (the table of
// dialects is in docs/policy.md). A claim of the wrong type is malformed: leaving
// it out could hide an actor or a restriction.
func (r *Result) build(is *issuer) verdict.Reason {
	r.text, r.spans, r.nullable = r.text[:0], r.spans[:0], is.Dialect != Own
	root := r.claims.Root()
	p := &r.Principal
	p.IssuedAt, p.ExpiresAt = r.iat.at, r.exp.at
	act := root.Member("act")
	if is.Dialect == Kratos {
		act = strict.Value{} // a mapped claim of that name is the operator's own
	}
	ok := r.put(fieldIssuer, root.Member("iss")) &&
		r.put(fieldSubject, root.Member("sub")) &&
		r.put(fieldSession, root.Member("sid")) &&
		r.put(fieldParty, root.Member("azp")) &&
		r.put(fieldTokenID, root.Member("jti")) &&
		(r.absent(act) || act.Kind() == strict.Object && r.put(fieldActor, act.Member("sub")) || r.wrong(act))
	if !ok {
		return verdict.Malformed
	}
	if is.Dialect != JWT && root.Member("sub").Kind() == strict.Invalid {
		return verdict.MissingClaim
	}
	switch is.Dialect {
	case Own:
		ok = r.put(fieldType, root.Member("session_type")) &&
			r.put(fieldTenant, root.Member("tenant_id")) &&
			r.putList(fieldRole, root.Member("roles")) &&
			r.putList(fieldPermission, root.Member("permissions")) &&
			r.put(fieldAssurance, root.Member("acr")) &&
			r.putTime(root.Member("auth_time"))
	case Clerk:
		if root.Member("sts").Is("pending") {
			return verdict.SessionPending
		}
		ok = r.buildClerk(root)
	case Kratos:
		r.putText(fieldType, "sess")
		ok = r.put(fieldAssurance, root.Pointer(is.Assurance)) && r.putTime(root.Pointer(is.AuthenticatedAt))
	case JWT:
		ok = (is.Tenant == "" || r.put(fieldTenant, root.Pointer(is.Tenant))) &&
			(is.Roles == "" || r.putWords(fieldRole, root.Pointer(is.Roles))) &&
			(is.Permissions == "" || r.putWords(fieldPermission, root.Pointer(is.Permissions))) &&
			r.put(fieldAssurance, root.Pointer(is.Assurance)) &&
			r.putTime(root.Pointer(is.AuthenticatedAt))
	}
	if !ok {
		return verdict.Malformed
	}
	r.assign()
	return verdict.None
}

// assign cuts the gathered text into the Principal's fields. A token seen again
// gives the same text, and then the string of last time serves.
func (r *Result) assign() {
	if string(r.text) != r.last {
		r.last = string(r.text)
	}
	p := &r.Principal
	for _, s := range r.spans {
		text := r.last[s.from:s.to]
		switch s.field {
		case fieldIssuer:
			p.Issuer = text
		case fieldSubject:
			p.Subject = text
		case fieldSession:
			p.Session = text
		case fieldType:
			p.Type = text
		case fieldTenant:
			p.Tenant = text
		case fieldActor:
			p.Actor = text
		case fieldAssurance:
			p.Assurance = text
		case fieldParty:
			p.Party = text
		case fieldTokenID:
			p.TokenID = text
		case fieldRole:
			p.Roles = append(p.Roles, text)
		case fieldPermission:
			p.Permissions = append(p.Permissions, text)
		}
	}
}

// putTime reads when the subject authenticated: a NumericDate, or a date-time of
// RFC 3339, which is what Kratos' session has.
func (r *Result) putTime(v strict.Value) bool {
	if r.absent(v) {
		return true
	}
	switch v.Kind() {
	case strict.Number:
		at, ok := v.Millis()
		r.Principal.AuthenticatedAt = at
		return ok || r.wrong(v)
	case strict.String:
		from := len(r.text)
		text, _ := v.AppendText(r.text)
		r.text = text[:from]
		at, ok := parseRFC3339(text[from:])
		r.Principal.AuthenticatedAt = at
		return ok || r.wrong(v)
	}
	return r.wrong(v)
}
