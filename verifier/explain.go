package verifier

import (
	"strconv"

	"sessiongate/internal/strict"
	"sessiongate/verdict"
)

// Check is one line of an explanation. Detail may hold claim values of the token:
// an explanation is for whoever holds the token, never for a log.
type Check struct {
	Name    string
	Reason  verdict.Reason // None where the check passed
	Skipped bool           // an earlier fault left nothing to check
	Detail  string
}

// Explain judges a token as Verify does, but goes on after a fault and tells of
// each check. The first Check with a Reason is the one that Verify answers.
func (v *Verifier) Explain(token string, now int64) []Check {
	r := new(Result)
	r.reset()
	var list []Check
	reason := r.read([]byte(token))
	list = append(list, Check{Name: "form", Reason: reason, Detail: r.explainForm(token, reason)})
	if reason != verdict.None {
		for _, c := range checks {
			list = append(list, Check{Name: c.name, Skipped: true})
		}
		return append(list, Check{Name: "claims", Skipped: true})
	}
	for _, c := range checks {
		if c.issuer && r.Issuer < 0 || c.key && r.key == nil && !v.issuers[r.Issuer].symmetric() {
			list = append(list, Check{Name: c.name, Skipped: true})
			continue
		}
		reason := c.run(v, r, now)
		list = append(list, Check{Name: c.name, Reason: reason, Detail: v.explain(c.name, r, now)})
	}
	if r.Issuer < 0 {
		return append(list, Check{Name: "claims", Skipped: true})
	}
	is := &v.issuers[r.Issuer]
	return append(list, Check{Name: "claims", Reason: r.build(is), Detail: "read as dialect " + is.Dialect.String() + r.atFault()})
}

// atFault names the member that is not of its type, if one was found.
func (r *Result) atFault() string {
	if r.fault.Kind() == strict.Invalid {
		return ""
	}
	return "; at fault is " + string(strict.AppendQuote(nil, r.fault.Key())) + ", " + r.fault.Kind().String()
}

func (r *Result) explainForm(token string, reason verdict.Reason) string {
	size := strconv.Itoa(len(token)) + " bytes"
	switch {
	case reason == verdict.None:
		return size
	case r.claims.ErrorText() != "" && r.header.Root().Kind() != strict.Invalid:
		return size + "; in the claims set, at byte " + strconv.Itoa(r.claims.ErrorOffset()) + ", wanted " + r.claims.ErrorText()
	case r.header.ErrorText() != "":
		return size + "; in the header, at byte " + strconv.Itoa(r.header.ErrorOffset()) + ", wanted " + r.header.ErrorText()
	case r.fault.Kind() != strict.Invalid:
		return size + r.atFault()
	case reason == verdict.CriticalHeader:
		return size + "; the header has crit or b64"
	case reason == verdict.TooLarge:
		return size + "; at most " + strconv.Itoa(MaxTokenBytes) + " are looked at, and " + strconv.Itoa(MaxHeaderBytes) + " of a decoded header"
	}
	return size + "; wanted three base64url segments without padding, a JSON object in each of the first two, and registered members of their types"
}

// explain says what a check looked at.
func (v *Verifier) explain(name string, r *Result, now int64) string {
	header, claims := r.header.Root(), r.claims.Root()
	var is *issuer
	if r.Issuer >= 0 {
		is = &v.issuers[r.Issuer]
	}
	switch name {
	case "algorithm known":
		return "alg " + show(header.Member("alg"))
	case "issuer":
		return "iss " + show(claims.Member("iss"))
	case "algorithm allowed":
		text := "the policy allows"
		for _, a := range is.Algorithms {
			text += " " + a.String()
		}
		return text
	case "type":
		return "typ " + show(header.Member("typ"))
	case "keys at hand":
		switch {
		case is.symmetric():
			return "a configured secret"
		case is.keys == nil:
			return "no key set has arrived"
		case is.MaxStale == 0:
			return keyCount(is.keys.Len()) + " in a set that does not age"
		}
		return keyCount(is.keys.Len()) + " in a set confirmed " + ago(is.confirmedAt, now)
	case "key":
		text := "kid " + show(header.Member("kid"))
		if is.keys != nil {
			text += "; the set has"
			for _, id := range is.keys.KeyIDs() {
				text += " " + string(strict.AppendQuote(nil, id))
			}
		}
		return text
	case "signature":
		return strconv.Itoa(len(r.signature)) + " bytes"
	case "exp":
		return showDate(r.exp, now)
	case "nbf":
		return showDate(r.nbf, now)
	case "iat":
		return showDate(r.iat, now)
	case "lifetime":
		text := "no end without exp"
		if r.exp.set && r.iat.set {
			text = duration(r.exp.at-r.iat.at) + " from iat to exp"
		} else if r.exp.set {
			text = duration(r.exp.at-now) + " from now to exp, in the absence of iat"
		}
		if is.MaxLifetime == 0 {
			return text + "; the policy leaves it unchecked"
		}
		return text + "; the policy accepts " + duration(is.MaxLifetime)
	case "audience":
		text := "aud " + show(claims.Member("aud"))
		if is.UncheckedAudience {
			return text + "; the policy leaves it unchecked"
		}
		return text + "; the policy accepts" + quoteAll(is.Audience)
	case "authorised party":
		text := "azp " + show(claims.Member("azp"))
		if len(is.Parties) == 0 {
			return text + "; the policy names none"
		}
		return text + "; the policy accepts" + quoteAll(is.Parties)
	case "proof of possession":
		if claims.Member("cnf").Kind() == strict.Invalid {
			return "no cnf: a bearer token"
		}
		return "cnf binds the token to a key"
	}
	return ""
}

func keyCount(n int) string {
	if n == 1 {
		return "1 usable key"
	}
	return strconv.Itoa(n) + " usable keys"
}

func quoteAll(list []string) string {
	text := ""
	for _, s := range list {
		text += " " + string(strict.AppendQuote(nil, s))
	}
	if text == "" {
		return " none"
	}
	return text
}

func show(v strict.Value) string {
	if v.Kind() == strict.Invalid {
		return "absent"
	}
	return string(v.Raw())
}

func showDate(d date, now int64) string {
	if !d.set {
		return "absent"
	}
	return FormatTime(d.at) + ", " + ago(d.at, now)
}

func ago(at, now int64) string {
	if at > now {
		return "in " + duration(at-now)
	}
	return duration(now-at) + " ago"
}

// duration writes milliseconds in the largest two units that they fill.
func duration(ms int64) string {
	if ms < 0 {
		return "-" + duration(-ms)
	}
	s := ms / 1000
	two := func(a int64, ua string, b int64, ub string) string {
		text := strconv.FormatInt(a, 10) + ua
		if b != 0 {
			text += " " + strconv.FormatInt(b, 10) + ub
		}
		return text
	}
	switch {
	case s < 1:
		return strconv.FormatInt(ms, 10) + "ms"
	case s < 60:
		return strconv.FormatInt(s, 10) + "s"
	case s < 3600:
		return two(s/60, "m", s%60, "s")
	case s < 86400:
		return two(s/3600, "h", s%3600/60, "m")
	}
	return two(s/86400, "d", s%86400/3600, "h")
}
