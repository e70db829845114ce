package plugin

import (
	"slices"
	"strings"

	"sessiongate/verdict"
)

// judge judges the request at hand, and carries out what comes of it.
func (p *Plugin) judge() (next bool) {
	now := p.now()
	p.host.Forget()
	if p.setup == nil || !p.readHead() {
		p.turnAway()
		return false
	}
	p.look(now)
	sabotage("request", p)
	d := p.setup.guest.Filter(&p.request, now)
	p.log(d)
	if !d.Forward {
		p.answer(d)
		return false
	}
	p.edit(d)
	return true
}

// readHead reads the request, with those headers that the filter wants. The ABI does
// not tell the scheme.
func (p *Plugin) readHead() bool {
	q := &p.request
	q.Headers, q.Host = q.Headers[:0], ""
	var list string
	var items int
	var ok [4]bool
	q.Method, ok[0] = p.host.Method()
	q.Path, ok[1] = p.host.URI()
	if list, items, ok[2] = p.host.Names(RequestHeaders); ok[2] {
		p.names, ok[3] = split(p.names[:0], list, items)
	}
	if ok != [4]bool{true, true, true, true} {
		return false
	}
	for _, name := range p.names {
		isHost := name == "host"
		if !isHost && !slices.Contains(p.setup.wanted, name) {
			continue
		}
		list, items, ok := p.host.Values(RequestHeaders, name)
		for range items {
			value, rest, found := strings.Cut(list, "\x00")
			if ok = ok && found; isHost {
				q.Host = value
			} else {
				q.Headers = append(q.Headers, verdict.Field{Name: name, Value: value})
			}
			list = rest
		}
		if !ok || list != "" {
			return false // a value with a zero byte in it is no header
		}
	}
	return true
}

// split takes a list apart. A proxy may have empty names in it, which name nothing.
func split(dst []string, list string, items int) ([]string, bool) {
	for range items {
		item, rest, found := strings.Cut(list, "\x00")
		if !found {
			return dst, false
		}
		if item != "" {
			dst = append(dst, item)
		}
		list = rest
	}
	return dst, list == ""
}

// edit changes the head as the Decision says.
func (p *Plugin) edit(d *verdict.Decision) {
	p.remove(RequestHeaders, p.names, d.Remove)
	if p.trailers && len(p.setup.strip) > 0 {
		// Those that are there already; a proxy that shows none later must not pass any on.
		if list, items, ok := p.host.Names(RequestTrailers); ok {
			p.names, _ = split(p.names[:0], list, items)
			p.remove(RequestTrailers, p.names, p.setup.strip)
		}
	}
	for _, f := range d.Set {
		p.host.Set(RequestHeaders, f.Name, f.Value)
	}
	if d.Path != "" {
		p.host.SetURI(d.Path)
	}
}

// remove takes fields out of a map in every spelling that is there.
func (p *Plugin) remove(m Map, there, names []string) {
	for _, name := range there {
		for _, unwanted := range names {
			if sameName(name, unwanted) {
				p.host.Remove(m, name)
				break
			}
		}
	}
}

// sameName compares a name with one in lower case as a careless server would: without
// case, and "_" is "-".
func sameName(name, lower string) bool {
	if len(name) != len(lower) {
		return false
	}
	for i := range len(name) {
		c, want := name[i], lower[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != want && (c != '_' && c != '-' || want != '_' && want != '-') {
			return false
		}
	}
	return true
}

// answer answers in place of the upstream. The status has to come last: it is sent
// with the headers of that moment.
func (p *Plugin) answer(d *verdict.Decision) {
	for i, f := range d.Headers {
		if slices.ContainsFunc(d.Headers[:i], func(e verdict.Field) bool { return e.Name == f.Name }) {
			p.host.Add(ResponseHeaders, f.Name, f.Value)
		} else {
			p.host.Set(ResponseHeaders, f.Name, f.Value)
		}
	}
	p.host.Respond(d.Status, d.Body)
}

// log tells of refusals, and of what the policy's "log" names. The values are such
// that none of them can begin another line.
func (p *Plugin) log(d *verdict.Decision) {
	if d.Reason == verdict.None && len(d.Log) == 0 {
		return
	}
	p.line = append(p.line[:0], "sessiongate: "...)
	if d.Reason == verdict.None {
		p.line = append(p.line, "passed"...)
	} else {
		p.line = append(append(p.line, "refused reason="...), d.Reason.String()...)
	}
	for _, f := range d.Log {
		p.line = append(append(append(append(p.line, ' '), f.Name...), '='), f.Value...)
	}
	p.host.Log(LevelInfo, string(p.line))
}
