package policy

import (
	"slices"
	"strconv"
	"strings"
)

const (
	maxRules             = 1000
	maxAuthenticationAge = 315_360_000 // seconds: ten years
)

var ruleMembers = []string{"hosts", "methods", "path", "path_prefix", "path_template", "access", "session_types",
	"permissions_any", "permissions_all", "tenant", "tenant_segment", "assurance", "authentication_age"}

// needs are the members that ask something of a token.
var needs = ruleMembers[6:]

const acceptedPath = "exactly one of path, path_prefix, path_template"

func (d *document) rules(s spot) {
	if !s.present() {
		return // no request matches, so everything is refused
	}
	for _, e := range d.list(s, maxRules, "rules") {
		before := len(d.faults)
		rule := d.rule(e)
		if len(d.faults) > before {
			rule.Path = PathPattern{} // what it matches is not known: no rule is held against it
		}
		d.reachable(e, &rule)
		d.policy.Rules = append(d.policy.Rules, rule)
	}
}

func (d *document) rule(s spot) (rule Rule) {
	if !d.object(s, "a rule: an object", ruleMembers...) {
		return rule
	}
	rule.Hosts = d.texts(s.member("hosts"), 256, "hosts",
		`a host in lower case without port, such as "api.example", or "*.example" for every name below example`, checkHostPattern)
	rule.Methods = d.texts(s.member("methods"), 64, "methods", "a method in upper case, such as GET", checkMethod)
	d.path(s, &rule)
	switch d.word(s.member("access"), "required", "optional", "public") {
	case 1:
		rule.Access = Optional
	case 2:
		rule.Access = Public
		for _, name := range needs {
			if s.has(name) {
				d.fault(s.member(name).path, "asks something of a token that a public rule ignores",
					`access "required" or "optional"`)
			}
		}
	}
	rule.SessionTypes = d.texts(s.member("session_types"), 64, "session types", `a session type, such as "sess"`, nil)
	rule.PermissionsAny = d.texts(s.member("permissions_any"), 256, "permissions", "a permission: a string", nil)
	rule.PermissionsAll = d.texts(s.member("permissions_all"), 256, "permissions", "a permission: a string", nil)
	if tenant := s.member("tenant"); tenant.present() {
		rule.Tenant = d.text(tenant, "a tenant: a string", nil)
	}
	d.tenantSegment(s, &rule)
	if level := s.member("assurance"); level.present() {
		rule.Assurance = d.text(level, `"aal1", "aal2" or "aal3", or the issuer's own word for a level`, checkLevel)
	}
	rule.AuthenticationAge = d.seconds(s.member("authentication_age"), 0, 1, maxAuthenticationAge, "")
	return rule
}

// path reads the one member of a rule that says which paths it is for.
func (d *document) path(s spot, rule *Rule) {
	found := ""
	for i, name := range [...]string{"path", "path_prefix", "path_template"} {
		m := s.member(name)
		switch {
		case !m.present():
			continue
		case found != "":
			d.fault(m.path, "is a second path beside "+found, acceptedPath)
			continue
		}
		found = name
		kind := [...]PathKind{PathExact, PathPrefix, PathTemplate}[i]
		example := [...]string{"/exact", "/api", "/tenants/{tenant}/users/{id}"}[i]
		d.text(m, "a path such as "+example, func(text string) (problem string) {
			rule.Path, problem = ParsePath(kind, text)
			return problem
		})
	}
	if found == "" {
		d.fault(s.path, "has no path", acceptedPath+` (path_prefix "/" is every path)`)
	}
}

func (d *document) tenantSegment(s spot, rule *Rule) {
	m := s.member("tenant_segment")
	if !m.present() {
		return
	}
	name := d.text(m, "the name of a {segment} of path_template", nil)
	switch {
	case name == "":
	case s.has("tenant"):
		d.fault(m.path, "is a second tenant beside tenant", "one of tenant and tenant_segment")
	case !s.has("path_template"):
		d.fault(m.path, "needs a path_template that has this {segment}", `a path_template such as "/tenants/{tenant}/**"`)
	case rule.Path.Kind() != 0 && !rule.Path.HasSegment(name):
		d.fault(m.path, "is no {segment} of path_template", "the name of one, without its braces")
	}
	rule.TenantSegment = name
}

// reachable records a rule that no request can come to, because an earlier one
// matches all that it matches: the usual slip is a prefix before what lies below
// it, and it may leave a path open. Overlaps that only some requests fall into are
// what the order of rules is for.
func (d *document) reachable(s spot, rule *Rule) {
	if rule.Path.Kind() == 0 {
		return
	}
	for i := range d.policy.Rules {
		if covers(&d.policy.Rules[i], rule) {
			d.fault(s.path, "is never reached: rule "+strconv.Itoa(i)+" matches everything that it matches",
				"the narrower rule first")
			return
		}
	}
}

// covers reports whether a matches every request that b matches.
func covers(a, b *Rule) bool {
	return a.Path.covers(&b.Path) && all(a.Methods, b.Methods) && allHosts(a.Hosts, b.Hosts)
}

// covers reports whether every path that q matches is one that p matches.
func (p *PathPattern) covers(q *PathPattern) bool {
	switch {
	case p.kind == PathExact:
		return q.kind != PathPrefix && p.text == q.text // a template without {segments} and "/**" is one path too
	case q.kind == PathExact:
		_, ok := p.Match(q.text)
		return ok
	case p.kind == PathPrefix && q.kind == PathPrefix:
		_, ok := p.Match(q.text)
		return ok
	case p.kind == PathPrefix:
		whole, _ := ParsePath(PathTemplate, strings.TrimSuffix(p.text, "/")+"/**")
		if strings.HasSuffix(p.text, "/") && len(whole.parts) > 0 && len(q.parts) == len(whole.parts) && !q.slash() {
			return false // "/a/" does not match "/a", which q matches
		}
		return whole.covers(q)
	case q.kind == PathPrefix:
		_, ok := p.Match(q.text)
		return ok && p.rest
	}
	if len(q.parts) < len(p.parts) || !p.rest && (q.rest || len(q.parts) != len(p.parts) || q.slash() != p.slash()) {
		return false
	}
	for i := range p.parts {
		if p.parts[i].text != "" && p.parts[i].text != q.parts[i].text {
			return false
		}
	}
	return true
}

// slash reports whether a template's paths end with a slash behind its parts.
func (p *PathPattern) slash() bool { return len(p.parts) > 0 && p.parts[len(p.parts)-1].slash }

// allHosts is all for patterns of hosts.
func allHosts(a, b []string) bool {
	if a == nil || b == nil {
		return a == nil
	}
	for _, e := range b {
		if !slices.ContainsFunc(a, func(pattern string) bool {
			return e == pattern || strings.HasPrefix(pattern, "*.") && strings.HasSuffix(e, pattern[1:])
		}) {
			return false
		}
	}
	return true
}

// all reports whether a list allows everything that another does; nil allows all.
func all(a, b []string) bool {
	if a == nil {
		return true
	}
	if b == nil {
		return false
	}
	for _, e := range b {
		if !contains(a, e) {
			return false
		}
	}
	return true
}
