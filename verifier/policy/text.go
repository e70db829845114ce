package policy

import (
	"strconv"
	"strings"
)

// What strings of the document may look like. Each check says what is wrong with
// its string, "" if nothing is; the JSON Schema holds the same as a pattern.

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isLower(c byte) bool { return c >= 'a' && c <= 'z' }
func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }
func isHex(c byte) bool   { return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }
func isAlnum(c byte) bool { return isDigit(c) || isLower(c) || isUpper(c) }

// every reports whether s is made of such bytes alone.
func every(s string, ok func(byte) bool) bool {
	for i := 0; i < len(s); i++ {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}

// isTokenByte is tchar of RFC 9110 section 5.6.2.
func isTokenByte(c byte) bool { return isAlnum(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0 }

func checkToken(s string) string {
	if !every(s, isTokenByte) {
		return "holds a character that no token has (RFC 9110 section 5.6.2)"
	}
	return ""
}

func checkMethod(s string) string {
	if !isUpper(s[0]) || !every(s, func(c byte) bool { return isUpper(c) || isDigit(c) || c == '-' }) {
		return "is not a method in upper case"
	}
	return ""
}

// checkUnreserved is for names that stand in a query without any escaping.
func checkUnreserved(s string) string {
	if !every(s, func(c byte) bool { return isAlnum(c) || strings.IndexByte("-._~", c) >= 0 }) {
		return "holds a character that a query would have to escape"
	}
	return ""
}

// checkQuotable is for what stands in a challenge between quotes.
func checkQuotable(s string) string {
	if len(s) > 128 || !every(s, func(c byte) bool { return c >= ' ' && c <= '~' && c != '"' && c != '\\' }) {
		return "is longer than 128 characters or holds one that is not printable ASCII, a quote or a backslash"
	}
	return ""
}

// checkLevel is for assurance levels: those of RFC 9470's acr_values, a list that
// spaces separate. Something like "aal22" is taken for a slip.
func checkLevel(s string) string {
	switch {
	case s == "aal1" || s == "aal2" || s == "aal3":
		return ""
	case len(s) >= 3 && strings.EqualFold(s[:3], "aal"):
		return "is not a level"
	case checkQuotable(s) != "" || strings.IndexByte(s, ' ') >= 0:
		return "is longer than 128 characters or holds one that is not printable ASCII, or a space, a quote or a backslash"
	}
	return ""
}

// checkSeparator keeps the separator apart from what it separates once that is
// percent-encoded: no letter, no digit, no "%".
func checkSeparator(s string) string {
	if len(s) != 1 || s[0] <= ' ' || s[0] > '~' || isAlnum(s[0]) || s[0] == '%' {
		return "is not one character of ASCII punctuation"
	}
	return ""
}

// checkPointer accepts JSON Pointers (RFC 6901) to a member, not to the whole.
func checkPointer(s string) string {
	if s == "" || s[0] != '/' {
		return "does not begin with a slash"
	}
	for i := 0; i < len(s); i++ {
		if s[i] == '~' && (i+1 == len(s) || s[i+1] != '0' && s[i+1] != '1') {
			return `holds a "~" that is neither "~0" nor "~1" (RFC 6901 section 3)`
		}
	}
	return ""
}

// checkHostPattern accepts a host name, "*." before it, or an IPv6 literal.
func checkHostPattern(s string) string {
	if s[0] == '[' {
		if !isIPv6(s) || strings.ToLower(s) != s {
			return "is not an IPv6 address in brackets and lower case"
		}
		return ""
	}
	if strings.IndexByte(s, ':') >= 0 {
		return "has a port or a scheme"
	}
	if !isHostName(strings.TrimPrefix(s, "*.")) || strings.ToLower(s) != s {
		return "is not a host name in lower case (an international one in its xn-- form)"
	}
	return ""
}

// isHostName wants labels of letters, digits, "-" and "_" that neither begin nor
// end with "-". An IPv4 address is one too.
func isHostName(s string) bool {
	for {
		label, rest, more := strings.Cut(s, ".")
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' ||
			!every(label, func(c byte) bool { return isAlnum(c) || c == '-' || c == '_' }) {
			return false
		}
		if !more {
			return true
		}
		s = rest
	}
}

// isIPv6 looks at the characters alone: nothing here connects to the address.
func isIPv6(s string) bool {
	if len(s) < 2 || s[0] != '[' || s[len(s)-1] != ']' {
		return false
	}
	s = s[1 : len(s)-1]
	colon := strings.IndexByte(s, ':')
	return colon >= 0 && colon < len(s)-1 && every(s, func(c byte) bool { return isHex(c) || c == ':' || c == '.' })
}

const (
	acceptedURL    = "an https URL, or http to a loopback address (127.0.0.0/8, [::1] or localhost), without userinfo and fragment"
	acceptedOrigin = "https://host[:port], or http and a loopback address, in lower case, without path and default port"
)

// checkURL accepts what acceptedURL says.
func checkURL(s string) string {
	rest, secure, problem := splitScheme(s)
	if problem != "" {
		return problem
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority, rest := rest[:end], rest[end:]
	if problem := checkAuthority(authority, secure); problem != "" {
		return problem
	}
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '#':
			return "has a fragment"
		case c == '%' && (len(rest)-i < 3 || !isHex(rest[i+1]) || !isHex(rest[i+2])):
			return `holds a "%" without two hexadecimal digits`
		case c <= ' ' || c > '~' || strings.IndexByte("\"<>\\^`{|}", c) >= 0:
			return "holds a character that a URL has to escape"
		}
	}
	return ""
}

// checkOrigin accepts what acceptedOrigin says: the one spelling that browsers
// send (RFC 6454 section 6.1), so that origins can be compared byte by byte.
func checkOrigin(s string) string {
	rest, secure, problem := splitScheme(s)
	if problem != "" {
		return problem
	}
	if strings.ContainsAny(rest, "/?#") {
		return "has a path, a query or a fragment"
	}
	if problem := checkAuthority(rest, secure); problem != "" {
		return problem
	}
	if strings.ToLower(rest) != rest {
		return "is not in lower case"
	}
	if secure && strings.HasSuffix(rest, ":443") || !secure && strings.HasSuffix(rest, ":80") {
		return "names the scheme's default port, which browsers leave out"
	}
	return ""
}

func splitScheme(s string) (rest string, secure bool, problem string) {
	if rest, ok := strings.CutPrefix(s, "https://"); ok {
		return rest, true, ""
	}
	if rest, ok := strings.CutPrefix(s, "http://"); ok {
		return rest, false, ""
	}
	return "", false, "begins neither with https:// nor with http://"
}

// checkAuthority checks host[:port] (RFC 3986 section 3.2). Without TLS the host
// must be spelled as a loopback address; "127.1" and the like are not.
func checkAuthority(s string, secure bool) string {
	host, port, hasPort := s, "", false
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		host, port, hasPort = s[:i], s[i+1:], true
	}
	switch {
	case strings.IndexByte(s, '@') >= 0:
		return "has userinfo"
	case host == "":
		return "has no host"
	case host[0] == '[' && !isIPv6(host), host[0] != '[' && !isHostName(host):
		return "has something else than a host name or an IPv6 address in brackets (an international name goes in its xn-- form)"
	case hasPort && !isPort(port):
		return "has a port that is not within 1 and 65535"
	case !secure && !isLoopback(host):
		return "is http to a host that is not a loopback address"
	}
	return ""
}

func isPort(s string) bool {
	if s == "" || s[0] == '0' || len(s) > 5 || !every(s, isDigit) {
		return false
	}
	n, err := strconv.Atoi(s)
	return err == nil && n <= 65535
}

func isLoopback(host string) bool {
	if host == "localhost" || host == "[::1]" {
		return true
	}
	octets := strings.Split(host, ".")
	if len(octets) != 4 || octets[0] != "127" {
		return false
	}
	for _, o := range octets {
		if o == "" || len(o) > 3 || len(o) > 1 && o[0] == '0' || !every(o, isDigit) {
			return false
		}
		if n, err := strconv.Atoi(o); err != nil || n > 255 {
			return false
		}
	}
	return true
}

// headerUse says what a header is for that nobody may set as an identity header or
// read a token from; "" if it is free. The name is lower case, "-" for "_".
func headerUse(name string) string {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings",
		"proxy-authenticate", "proxy-authentication-info":
		return "belongs to one connection (RFC 9110 section 7.6.1)"
	case "content-length", "content-encoding", "content-type", "content-range", "expect", "range":
		return "says how to read the request's body"
	case "host", "forwarded", "via", "max-forwards", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto",
		"x-forwarded-method", "x-forwarded-prefix", "x-forwarded-uri", "x-original-method", "x-original-uri", "x-original-url",
		"x-rewrite-url", "x-real-ip", "x-http-method", "x-http-method-override", "x-method-override":
		return "says where the request goes or comes from"
	case "cookie", "set-cookie", "authorization", "proxy-authorization":
		return "holds credentials"
	case "origin", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest", "sec-fetch-user",
		"access-control-request-method", "access-control-request-headers":
		return "says from which site a request comes"
	}
	return ""
}

// dashed is the form in which header names are compared: many servers take "_" for "-".
func dashed(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "-") }
