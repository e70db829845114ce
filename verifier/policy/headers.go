package policy

import (
	"strconv"
	"strings"

	"sessiongate/internal/strict"
)

const (
	maxSources    = 16
	maxIdentities = 64
)

const acceptedSource = `an object: {"header": …, "scheme": …}, {"cookie": …} or {"query": …}`

func (d *document) sources(s spot) {
	if !s.present() {
		d.policy.Sources = []Source{{Kind: Header, Name: "authorization", Scheme: "Bearer"}}
		return
	}
	for _, e := range d.list(s, maxSources, "sources") {
		if !d.object(e, acceptedSource, "header", "scheme", "cookie", "query") {
			continue
		}
		if source, ok := d.source(e); ok {
			for i, other := range d.policy.Sources {
				if problem := clash(&other, &source); problem != "" {
					d.fault(e.path, problem+" (element "+strconv.Itoa(i)+")", "each place once")
					break
				}
			}
			d.policy.Sources = append(d.policy.Sources, source)
		}
	}
}

func (d *document) source(s spot) (source Source, ok bool) {
	before := len(d.faults)
	header, cookie, query := s.member("header"), s.member("cookie"), s.member("query")
	count := 0
	for _, m := range [...]spot{header, cookie, query} {
		if m.present() {
			count++
		}
	}
	if count != 1 {
		d.fault(s.path, "names "+strconv.Itoa(count)+" places", acceptedSource)
	}
	if header.present() {
		source.Kind = Header
		source.Name = strings.ToLower(d.text(header, "the name of a header", func(name string) string {
			if problem := checkToken(name); problem != "" {
				return problem
			}
			if use := headerUse(dashed(name)); use != "" && dashed(name) != "authorization" {
				return use + " and cannot hold a token of its own"
			}
			return ""
		}))
	}
	if cookie.present() {
		source.Kind = Cookie
		source.Name = d.text(cookie, "the name of a cookie (RFC 6265 section 4.1.1)", checkToken)
	}
	if query.present() {
		source.Kind = Query
		source.Name = d.text(query, `the name of a query parameter, of letters, digits and "-._~"`, checkUnreserved)
	}
	scheme := s.member("scheme")
	switch {
	case scheme.present() && !header.present():
		d.fault(scheme.path, "goes with a header only", acceptedSource)
	case scheme.present():
		source.Scheme = d.text(scheme, `an authentication scheme (RFC 9110 section 11.1), such as "Bearer"`, checkToken)
	case source.Name == "authorization" && source.Kind == Header:
		d.fault(scheme.path, "is missing, and Authorization always has one", `an authentication scheme, such as "Bearer"`)
	}
	return source, len(d.faults) == before
}

// clash says why two sources would read one place twice: the token would be found
// twice, or once with its scheme and once without.
func clash(a, b *Source) string {
	switch {
	case a.Kind != b.Kind || a.Name != b.Name:
		return ""
	case a.Kind != Header || strings.EqualFold(a.Scheme, b.Scheme):
		return "is there already"
	case a.Scheme == "" || b.Scheme == "":
		return "reads the same header, once with a scheme and once without"
	}
	return ""
}

// identity reads which header tells the upstream which claim.
func (d *document) identity(s spot) {
	const accepted = "an object whose members are named by headers and hold claims"
	if !s.present() {
		return
	}
	if s.Kind() != strict.Object {
		d.wrong(s, accepted)
		return
	}
	if s.Len() > maxIdentities {
		d.fault(s.path, "has "+strconv.Itoa(s.Len())+" members", accepted+", "+strconv.Itoa(maxIdentities)+" at most")
		return
	}
	seen := make(map[string]bool)
	for m := s.First(); m.Kind() != strict.Invalid; m = m.Next() {
		at := spot{m, s.path + "/" + escapeToken(m.Key())}
		header := IdentityHeader{Name: strings.ToLower(m.Key()), Separator: ","}
		d.identityName(at, header.Name, seen)
		ok := false
		switch m.Kind() {
		case strict.String:
			header.Claim, ok = d.claim(at)
		case strict.Object:
			if d.object(at, "", "claim", "separator") {
				header.Claim, ok = d.claim(at.member("claim"))
			}
			if separator := at.member("separator"); separator.present() {
				header.Separator = d.text(separator, `one character of ASCII punctuation other than "%"`, checkSeparator)
			}
		default:
			d.wrong(at, acceptedClaim+`, or an object {"claim": …, "separator": …}`)
		}
		if ok {
			d.policy.Identity = append(d.policy.Identity, header)
		}
	}
}

// identityName checks the name of an identity header: one that is free to be
// removed from every request, and that no other spells with "_" for "-".
func (d *document) identityName(at spot, name string, seen map[string]bool) {
	const accepted = "a header name of its own, such as x-user-id"
	plain := dashed(name)
	switch {
	case name == "":
		d.fault(at.path, "is empty", accepted)
		return
	case checkToken(name) != "":
		d.fault(at.path, checkToken(name), accepted)
		return
	case headerUse(plain) != "":
		d.fault(at.path, headerUse(plain)+" and cannot be set", accepted)
		return
	case seen[plain]:
		d.fault(at.path, `is there already: case does not count, nor does "_" for "-"`, "each header once")
		return
	}
	seen[plain] = true
	for _, s := range d.policy.Sources {
		if s.Kind == Header && dashed(s.Name) == plain {
			d.fault(at.path, "is a source of tokens too; identity headers are removed from every request", accepted)
		}
	}
}
