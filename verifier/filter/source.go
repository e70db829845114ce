package filter

import (
	"strings"

	"sessiongate/verdict"
	"sessiongate/verifier/policy"
)

// found is the token that counts.
type found struct {
	token   string
	ambient bool // it came in cookies alone: a browser may have added it unasked
}

// findToken looks into every source. One source given twice is refused even when
// the tokens are equal: which of them a later hop takes is anyone's guess.
func (f *Filter) findToken(req *Request) (best found, reason verdict.Reason) {
	reason = verdict.MissingToken
	for i := range f.policy.Sources {
		s := &f.policy.Sources[i]
		token, here := f.look(req, s)
		switch {
		case here == verdict.MissingToken:
		case here == verdict.MultipleTokens:
			return found{}, here
		case reason == verdict.MissingToken:
			best, reason = found{token, s.Kind == policy.Cookie}, here
		case here == reason && here == verdict.None && token == best.token:
			best.ambient = best.ambient && s.Kind == policy.Cookie
		case !f.policy.FirstToken:
			return found{}, verdict.MultipleTokens
		}
	}
	return best, reason
}

// look answers None with the token in a source, MissingToken, MultipleTokens, or
// Malformed for credentials that hold no token.
func (f *Filter) look(req *Request, s *policy.Source) (token string, reason verdict.Reason) {
	switch s.Kind {
	case policy.Header:
		if s.Scheme != "" {
			return lookScheme(req, s)
		}
		return lookHeader(req, s.Name)
	case policy.Cookie:
		return lookCookie(req, s.Name)
	case policy.Query:
		return f.lookQuery(s.Name)
	}
	return "", verdict.MissingToken
}

func lookHeader(req *Request, name string) (string, verdict.Reason) {
	value, fields := req.header(name)
	value = trim(value)
	switch {
	case fields > 1 || strings.IndexByte(value, ',') >= 0: // proxies join repeated fields with commas
		return "", verdict.MultipleTokens
	case value == "":
		return "", verdict.MissingToken
	}
	return value, verdict.None
}

// lookScheme reads credentials (RFC 9110 section 11.4). Those of another scheme
// are no token, unless they stand beside ours.
func lookScheme(req *Request, s *policy.Source) (string, verdict.Reason) {
	ours, all := "", 0
	hits := 0
	for i := range req.Headers {
		if req.Headers[i].Name != s.Name {
			continue
		}
		for rest, more := req.Headers[i].Value, true; more; {
			var element string
			element, rest, more = strings.Cut(rest, ",")
			all++
			if element = trim(element); hasScheme(element, s.Scheme) {
				ours = element
				hits++
			}
		}
	}
	switch {
	case hits == 0:
		return "", verdict.MissingToken
	case all > 1:
		return "", verdict.MultipleTokens
	}
	token := strings.TrimLeft(ours[len(s.Scheme):], " ")
	if token == "" || len(token) == len(ours)-len(s.Scheme) || token[0] == '\t' {
		return "", verdict.Malformed
	}
	return token, verdict.None
}

// hasScheme wants the scheme and no more of a name behind it. A tab there is no
// separator, but close enough for some server to take it for one.
func hasScheme(value, scheme string) bool {
	n := len(scheme)
	return len(value) >= n && equalFold(value[:n], scheme) && (len(value) == n || value[n] == ' ' || value[n] == '\t')
}

// lookCookie reads cookies (RFC 6265 section 4.2.1) from any number of fields, as
// HTTP/2 may send them (RFC 9113 section 8.2.3).
func lookCookie(req *Request, name string) (token string, reason verdict.Reason) {
	times := 0
	for i := range req.Headers {
		if req.Headers[i].Name != "cookie" {
			continue
		}
		for rest, more := req.Headers[i].Value, true; more; {
			var pair string
			pair, rest, more = strings.Cut(rest, ";")
			if value, ok := cookieNamed(pair, name); ok {
				token = value
				times++
			}
		}
	}
	switch {
	case times > 1:
		return "", verdict.MultipleTokens
	case token == "": // what a cookie that was cleared leaves with some clients
		return "", verdict.MissingToken
	}
	return token, verdict.None
}

// cookieNamed returns the value of a cookie pair, without quotes, if it has that name.
func cookieNamed(pair, name string) (value string, ok bool) {
	key, value, ok := strings.Cut(pair, "=")
	if !ok || trim(key) != name {
		return "", false
	}
	if value = trim(value); len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		value = value[1 : len(value)-1]
	}
	return value, true
}

func (f *Filter) lookQuery(name string) (token string, reason verdict.Reason) {
	times := 0
	for rest := f.target.query; rest != ""; {
		var pair string
		pair, rest = cutParameter(rest)
		key, value, _ := strings.Cut(pair, "=")
		if spells(key, name, true) {
			token = value
			times++
		}
	}
	switch {
	case times > 1:
		return "", verdict.MultipleTokens
	case token == "":
		return "", verdict.MissingToken
	}
	if strings.IndexByte(token, '%') < 0 && strings.IndexByte(token, '+') < 0 {
		return token, verdict.None
	}
	f.other = f.other[:0]
	for i := 0; i < len(token); {
		c, width := unescape(token, i, true)
		f.other = append(f.other, c)
		i += width
	}
	return string(f.other), verdict.None
}

// cutParameter cuts the first parameter off a query that begins with "?" or "&".
func cutParameter(query string) (pair, rest string) {
	query = query[1:]
	if i := strings.IndexByte(query, '&'); i >= 0 {
		return query[:i], query[i:]
	}
	return query, ""
}

// stripToken takes the token out of every source, also where it was not looked at,
// and returns the query without it.
func (f *Filter) stripToken(req *Request) (query string) {
	cookies := false
	for i := range f.policy.Sources {
		s := &f.policy.Sources[i]
		switch {
		case s.Kind == policy.Cookie:
			if _, reason := lookCookie(req, s.Name); reason != verdict.MissingToken {
				cookies = true
			}
		case s.Kind == policy.Header && s.Scheme == "":
			if _, fields := req.header(s.Name); fields > 0 {
				f.remove = append(f.remove, s.Name)
			}
		case s.Kind == policy.Header:
			if _, reason := lookScheme(req, s); reason != verdict.MissingToken {
				f.remove = append(f.remove, s.Name)
			}
		}
	}
	if cookies {
		f.stripCookies(req)
	}
	return f.queryWithoutToken()
}

// stripCookies leaves the other cookies as they are, in one field.
func (f *Filter) stripCookies(req *Request) {
	f.buf = f.buf[:0]
	for i := range req.Headers {
		if req.Headers[i].Name != "cookie" {
			continue
		}
		for rest, more := req.Headers[i].Value, true; more; {
			var pair string
			pair, rest, more = strings.Cut(rest, ";")
			if pair = trim(pair); pair == "" || f.tokenCookie(pair) {
				continue
			}
			if len(f.buf) > 0 {
				f.buf = append(f.buf, "; "...)
			}
			f.buf = append(f.buf, pair...)
		}
	}
	f.remove = append(f.remove, "cookie")
	if len(f.buf) > 0 {
		f.set = append(f.set, verdict.Field{Name: "cookie", Value: string(f.buf)})
	}
}

func (f *Filter) tokenCookie(pair string) bool {
	for i := range f.policy.Sources {
		if s := &f.policy.Sources[i]; s.Kind == policy.Cookie {
			if _, ok := cookieNamed(pair, s.Name); ok {
				return true
			}
		}
	}
	return false
}

func (f *Filter) tokenParameter(pair string) bool {
	key, _, _ := strings.Cut(pair, "=")
	for i := range f.policy.Sources {
		if s := &f.policy.Sources[i]; s.Kind == policy.Query && spells(key, s.Name, true) {
			return true
		}
	}
	return false
}

// queryWithoutToken is the query, its "?" included, without the parameters that
// are token sources.
func (f *Filter) queryWithoutToken() string {
	holds := false
	for rest := f.target.query; rest != "" && !holds; {
		var pair string
		pair, rest = cutParameter(rest)
		holds = f.tokenParameter(pair)
	}
	if !holds {
		return f.target.query
	}
	f.other = f.other[:0]
	for rest := f.target.query; rest != ""; {
		var pair string
		if pair, rest = cutParameter(rest); f.tokenParameter(pair) {
			continue
		}
		separator := byte('&')
		if len(f.other) == 0 {
			separator = '?'
		}
		f.other = append(append(f.other, separator), pair...)
	}
	return string(f.other)
}
