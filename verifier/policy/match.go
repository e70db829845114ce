package policy

import "strings"

// PathKind is how a rule's path is compared.
type PathKind uint8

// The kinds of path pattern.
const (
	PathExact    PathKind = iota + 1 // "path": this path and no other
	PathPrefix                       // "path_prefix": this path and all below it, by whole segments
	PathTemplate                     // "path_template": segment by segment, with {name} for any one
)

// maxCaptures bounds the {segments} of one template, so that a match needs no memory.
const maxCaptures = 8

// PathPattern is a rule's path, compiled. The zero PathPattern matches nothing.
type PathPattern struct {
	kind  PathKind
	text  string
	parts []part   // PathTemplate
	names []string // PathTemplate: of its {segments}, in their order
	rest  bool     // PathTemplate: ends with /**
}

// part is one segment of a template.
type part struct {
	text  string // literal; "" for any segment
	slash bool   // the last part, and the path ends behind it with "/"
}

// Segments holds what a template's {segments} stand for in one path, as written
// there.
type Segments struct {
	names  []string
	values [maxCaptures]string
}

// Raw is the segment of that name, with its escapes.
func (s *Segments) Raw(name string) (string, bool) {
	for i, n := range s.names {
		if n == name {
			return s.values[i], true
		}
	}
	return "", false
}

// ParsePath compiles a path of the given kind. The problem is "" or what is wrong
// with the text. Patterns have the one spelling in which requests are judged:
//
//   - "/" first; no empty, "." or ".." segment; case counts, and so does a "/" at
//     the end;
//   - letters, digits and -._~!$&'()+,:=@ stand as they are, anything else as an
//     escape of its UTF-8 bytes in upper case; "?", "#", "%", "\", ";" and "*"
//     cannot be matched literally.
//
// The prefix "/a" matches "/a", "/a/" and "/a/b"; the prefix "/a/" matches "/a/"
// and "/a/b". In a template "{name}" is one segment that is not empty; "/**" at
// the end matches like a prefix.
func ParsePath(kind PathKind, text string) (p PathPattern, problem string) {
	p = PathPattern{kind: kind, text: text}
	if text == "" || text[0] != '/' {
		return PathPattern{}, "does not begin with a slash"
	}
	if kind != PathTemplate {
		if problem := checkLiteral(text, kind); problem != "" {
			return PathPattern{}, problem
		}
		return p, ""
	}
	body, rest := strings.CutSuffix(text, "/**")
	p.rest = rest
	for body != "" {
		end := strings.IndexByte(body[1:], '/') + 1
		if end == 0 {
			end = len(body)
		}
		segment := body[1:end]
		body = body[end:]
		if segment == "" {
			if body != "" || rest {
				return PathPattern{}, "has an empty segment"
			}
			if n := len(p.parts); n > 0 {
				p.parts[n-1].slash = true
			}
			continue // the root, or a slash at the end
		}
		name, problem := checkSegment(segment)
		switch {
		case problem != "":
			return PathPattern{}, problem
		case name == "":
			p.parts = append(p.parts, part{text: segment})
			continue
		case contains(p.names, name):
			return PathPattern{}, "has two {segments} of one name"
		case len(p.names) == maxCaptures:
			return PathPattern{}, "has more than 8 {segments}"
		}
		p.names = append(p.names, name)
		p.parts = append(p.parts, part{})
	}
	return p, ""
}

// checkSegment checks one segment of a template; name is set for a {segment}.
func checkSegment(segment string) (name, problem string) {
	if !strings.ContainsAny(segment, "{}") {
		return "", checkLiteral("/"+segment, PathTemplate)
	}
	name = segment[1:]
	if segment[0] != '{' || name == "" || name[len(name)-1] != '}' {
		return "", "has braces that are not around a whole segment"
	}
	name = name[:len(name)-1]
	if name == "" || isDigit(name[0]) || !every(name, func(c byte) bool { return isAlnum(c) || c == '_' }) {
		return "", "has a {segment} whose name is not made of letters, digits and _, or begins with a digit"
	}
	return name, ""
}

// checkLiteral checks that a text is spelled as ParsePath says.
func checkLiteral(text string, kind PathKind) string {
	if strings.IndexByte(text, '*') >= 0 {
		if kind == PathTemplate {
			return `has a "*" that is not "/**" at the end; one segment is {name}`
		}
		return `has a "*", which is no wildcard here; path_prefix takes all that is below a path, path_template takes {name} and "/**"`
	}
	if strings.IndexByte(text, '{') >= 0 || strings.IndexByte(text, '}') >= 0 {
		return "has braces, which only path_template knows (a literal one is written %7B or %7D)"
	}
	switch s := Spell(text); {
	case s&Invalid != 0:
		return `holds something that no path may hold: "?", "#", ";", a control character or a "%" that begins no escape`
	case s&Reserved != 0:
		return "escapes a character that stands for itself, or a ? or #"
	case s&LowerHex != 0:
		return "has an escape in lower case"
	case s&Loose != 0:
		return `is not in its one spelling: no "//", "." or "..", no backslash, no needless escape, everything outside ASCII and "<>[]^|` + "`" + ` escaped`
	}
	return ""
}

// Kind is how the pattern is compared; 0 for the zero PathPattern.
func (p *PathPattern) Kind() PathKind { return p.kind }

// String is the pattern as it stands in the document.
func (p *PathPattern) String() string { return p.text }

// HasSegment reports whether a template has a {segment} of that name.
func (p *PathPattern) HasSegment(name string) bool { return contains(p.names, name) }

// Match compares a path in its one spelling, without query.
func (p *PathPattern) Match(path string) (seg Segments, ok bool) {
	switch p.kind {
	case PathExact:
		return seg, path == p.text
	case PathPrefix:
		n := len(p.text)
		return seg, strings.HasPrefix(path, p.text) &&
			(len(path) == n || p.text[n-1] == '/' || path[n] == '/')
	case PathTemplate:
		return p.matchTemplate(path)
	}
	return seg, false
}

func (p *PathPattern) matchTemplate(path string) (seg Segments, ok bool) {
	if path == "" || path[0] != '/' {
		return seg, false
	}
	seg.names = p.names
	captured := 0
	for i := range p.parts {
		if path == "" {
			return seg, false
		}
		end := strings.IndexByte(path[1:], '/') + 1
		if end == 0 {
			end = len(path)
		}
		switch segment := path[1:end]; {
		case segment == "":
			return seg, false
		case p.parts[i].text == "":
			seg.values[captured] = segment
			captured++
		case p.parts[i].text != segment:
			return seg, false
		}
		path = path[end:]
	}
	switch {
	case p.rest:
		return seg, true
	case len(p.parts) == 0 || p.parts[len(p.parts)-1].slash:
		return seg, path == "/"
	}
	return seg, path == ""
}

// Match reports whether the rule is for a request of this method, host and path.
// The host is a Host header's value or an authority; the path is in its one
// spelling, without query. What the path's {segments} stand for comes back too.
func (r *Rule) Match(method, host, path string) (seg Segments, ok bool) {
	if r.Methods != nil && !contains(r.Methods, method) || r.Hosts != nil && !r.matchHost(host) {
		return seg, false
	}
	return r.Path.Match(path)
}

func (r *Rule) matchHost(host string) bool {
	host, ok := CleanHost(host)
	if !ok || host == "" {
		return false
	}
	for _, pattern := range r.Hosts {
		if strings.HasPrefix(pattern, "*.") {
			// At least one label stands before the suffix.
			suffix := pattern[1:]
			if n := len(host) - len(suffix); n > 0 && equalFold(host[n:], suffix) {
				return true
			}
		} else if equalFold(host, pattern) {
			return true
		}
	}
	return false
}

// CleanHost takes port and trailing dot off the value of a Host header. It answers
// false for something that is no host: what such a value means differs from server
// to server. An empty host is none and no fault.
func CleanHost(host string) (string, bool) {
	if host == "" {
		return "", true
	}
	if host[0] == '[' {
		end := strings.IndexByte(host, ']')
		if end < 0 || !isIPv6(host[:end+1]) || !isPortSuffix(host[end+1:]) {
			return "", false
		}
		return host[:end+1], true
	}
	end := strings.IndexByte(host, ':')
	if end < 0 {
		end = len(host)
	} else if !isPortSuffix(host[end:]) {
		return "", false
	}
	name := host[:end]
	if n := len(name); n > 1 && name[n-1] == '.' {
		name = name[:n-1]
	}
	if name == "" || name[0] == '.' || strings.Contains(name, "..") || name[len(name)-1] == '.' {
		return "", false
	}
	for i := 0; i < len(name); i++ {
		if c := name[i]; !isAlnum(c) && c != '.' && c != '-' && c != '_' {
			return "", false
		}
	}
	return name, true
}

// isPortSuffix accepts "", ":" and ":digits" (RFC 3986 section 3.2.3).
func isPortSuffix(s string) bool {
	return s == "" || s[0] == ':' && len(s) <= 6 && every(s[1:], isDigit)
}

// equalFold compares ASCII without case.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		if toLower(a[i]) != toLower(b[i]) {
			return false
		}
	}
	return true
}

func toLower(c byte) byte {
	if isUpper(c) {
		c += 'a' - 'A'
	}
	return c
}
