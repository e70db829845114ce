package filter

import (
	"slices"
	"strings"

	"sessiongate/verifier/policy"
)

// Headers lists the request headers, in lower case, that a Filter for this policy
// wants to see in Request.Headers.
func Headers(p *policy.Policy) []string {
	names := []string{"content-type"} // gRPC is answered in its own way
	if len(p.Identity) > 0 {
		names = append(names, "connection")
	}
	if !p.CheckPreflight {
		names = append(names, "origin", "access-control-request-method")
	}
	for _, s := range p.Sources {
		switch s.Kind {
		case policy.Header:
			names = append(names, s.Name)
		case policy.Cookie:
			names = append(names, "cookie", "origin", "sec-fetch-site", "upgrade", "sec-websocket-key")
		}
	}
	if p.SignIn != nil {
		names = append(names, "accept", "sec-fetch-mode", "upgrade")
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Strip lists the headers, in lower case, that are taken off every request before
// it is forwarded, so that nobody but the filter sets them.
func Strip(p *policy.Policy) []string {
	names := make([]string, 0, len(p.Identity))
	for _, h := range p.Identity {
		names = append(names, h.Name)
	}
	return names
}

// header returns the first field of a name, and how many there are.
func (req *Request) header(name string) (value string, fields int) {
	for i := range req.Headers {
		if req.Headers[i].Name == name {
			if fields++; fields == 1 {
				value = req.Headers[i].Value
			}
		}
	}
	return value, fields
}

// preflight recognises a CORS preflight (Fetch standard, section "CORS-preflight
// fetch"): it carries no credentials and asks for nothing but headers.
func (req *Request) preflight() bool {
	if req.Method != "OPTIONS" {
		return false
	}
	_, origins := req.header("origin")
	method, methods := req.header("access-control-request-method")
	return origins == 1 && methods == 1 && method != ""
}

// upgrade reports whether the request asks for another protocol, WebSocket above
// all: a handshake is a GET, but what follows it may do anything.
func (req *Request) upgrade() bool {
	_, upgrade := req.header("upgrade")
	_, key := req.header("sec-websocket-key")
	return upgrade+key > 0
}

// safe reports whether the request changes nothing (RFC 9110 section 9.2.1).
func (req *Request) safe() bool {
	switch req.Method {
	case "GET", "HEAD", "OPTIONS":
		return !req.upgrade()
	}
	return false
}

// sameSite reports whether a request with a cookie token comes from a page that may
// send it. Each of Origin and Sec-Fetch-Site that is there has to agree:
//
//   - an Origin has to be an allowed one, or, when the browser says that the request
//     is same-origin, this very host or the public origin;
//   - without Origin the browser has to say so.
//
// An allowed Origin is enough, whatever Sec-Fetch-Site says: it is on the list
// because it is another site.
func (f *Filter) sameSite(req *Request) bool {
	origin, origins := req.header("origin")
	site, sites := req.header("sec-fetch-site")
	if origins > 1 || sites > 1 {
		return false
	}
	if origins == 1 && slices.Contains(f.policy.Origins, origin) {
		return true
	}
	if sites == 0 || site != "same-origin" {
		return false
	}
	return origins == 0 || origin == f.policy.PublicOrigin && origin != "" || originIs(origin, req.Host)
}

// originIs compares an origin with a Host header. The scheme is left aside: behind
// a proxy that ends TLS nobody here knows it.
func originIs(origin, host string) bool {
	scheme, authority, ok := strings.Cut(origin, "://")
	if !ok || authority == "" {
		return false
	}
	switch scheme {
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	default:
		return false
	}
	return equalFold(authority, host)
}

// navigation reports whether a browser wants to show the answer to a person.
func (req *Request) navigation() bool {
	if req.Method != "GET" || req.upgrade() {
		return false
	}
	if mode, fields := req.header("sec-fetch-mode"); fields > 0 && mode != "navigate" {
		return false
	}
	for i := range req.Headers {
		if h := &req.Headers[i]; h.Name == "accept" && acceptsHTML(h.Value) {
			return true
		}
	}
	return false
}

// acceptsHTML wants text/html by name: programs send */*.
func acceptsHTML(accept string) bool {
	for more := true; more; {
		var element string
		element, accept, more = strings.Cut(accept, ",")
		name, _, _ := strings.Cut(element, ";")
		if equalFold(trim(name), "text/html") {
			return true
		}
	}
	return false
}

// grpcType is the media type in which a gRPC client wants its answer, "" for any
// other client.
func (req *Request) grpcType() string {
	value, _ := req.header("content-type")
	for _, name := range [...]string{"application/grpc-web-text", "application/grpc-web", "application/grpc"} {
		if n := len(name); len(value) >= n && equalFold(value[:n], name) &&
			(len(value) == n || value[n] == '+' || value[n] == ';' || value[n] == ' ') {
			return name
		}
	}
	return ""
}

// trim takes off optional white space (RFC 9110 section 5.6.3).
func trim(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// equalFold compares ASCII without case.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
