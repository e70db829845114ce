package plugin

import (
	"slices"

	"sessiongate/verdict"
)

// Properties that the guest sets. Claims that the policy's "log" names are set under
// the names that they have there. In Envoy each is filter state, "wasm." before it.
const (
	// propertyMark is what shows the filters behind that this one judged the request
	// and let it pass. A proxy that skips the guest does not set it.
	propertyMark   = "gate"
	propertyReason = "reason" // why a request was refused
)

const markPass = "pass"

// RequestHeaders judges a request.
func (v *VM) RequestHeaders(context uint32) (action Action) {
	if !v.enter() {
		return v.turnAway()
	}
	defer func() {
		panicked := recover()
		if panicked != nil {
			action = v.turnAway()
		}
		v.leave(panicked)
	}()
	return v.judge(v.streams[context])
}

func (v *VM) judge(r *root) Action {
	start := v.host.Time()
	if r == nil || !r.revive(v, start/1_000_000) || !v.readHead(r) {
		v.metrics.decided(v.host, verdict.Internal, v.host.Time()-start)
		return v.turnAway()
	}
	sabotage("request", v)
	d := r.guest.Filter(&v.request, start/1_000_000)
	if d.Reason == verdict.UnknownKey {
		r.want()
	}
	reason := d.Reason
	if d.Forward && !v.edit(d) {
		reason = verdict.Internal
	}
	v.log(d)
	v.metrics.decided(v.host, reason, v.host.Time()-start)
	switch {
	case !d.Forward:
		return v.answer(d)
	case reason == verdict.None && v.host.SetProperty(propertyMark, markPass):
		return Continue // the mark was the last act
	}
	return v.turnAway()
}

// readHead reads the request into v.request, with those headers that the filter wants.
func (v *VM) readHead(r *root) bool {
	text, ok := v.host.Pairs(RequestHeaders)
	if !ok {
		return false
	}
	if v.fields, ok = appendFields(v.fields[:0], text); !ok {
		return false
	}
	q := &v.request
	q.Method, q.Scheme, q.Host, q.Path, q.Headers = "", "", "", "", q.Headers[:0]
	for _, f := range v.fields {
		switch f.Name {
		case ":method":
			q.Method = f.Value
		case ":scheme":
			q.Scheme = f.Value
		case ":authority":
			q.Host = f.Value
		case ":path":
			q.Path = f.Value
		default:
			if slices.Contains(r.wanted, f.Name) {
				q.Headers = append(q.Headers, f)
			}
		}
	}
	return true
}

// edit changes the head as the Decision says. It is false if the proxy did not do all of it.
func (v *VM) edit(d *verdict.Decision) bool {
	ok := v.strip(RequestHeaders, d.Remove)
	for _, f := range d.Set {
		ok = ok && v.host.Replace(RequestHeaders, f.Name, f.Value)
	}
	if d.Path != "" {
		ok = ok && v.host.Replace(RequestHeaders, ":path", d.Path)
	}
	return ok
}

// strip takes the named fields out of a map that is in v.fields, in every spelling
// that is there: the proxy knows no "_" for "-".
func (v *VM) strip(m Map, names []string) bool {
	for _, f := range v.fields {
		for _, name := range names {
			if sameName(f.Name, name) && !v.host.Remove(m, f.Name) {
				return false
			}
		}
	}
	return true
}

// sameName compares a name with one in lower case as a careless server would.
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

// log gives the access log what the policy lets it have, and the Reason of a refusal.
// A proxy that does not take it has a poorer log; its requests are judged all the same.
func (v *VM) log(d *verdict.Decision) {
	for _, f := range d.Log {
		v.host.SetProperty(f.Name, f.Value)
	}
	if d.Reason != verdict.None {
		v.host.SetProperty(propertyReason, d.Reason.String())
	}
}

// answer answers in place of the upstream.
func (v *VM) answer(d *verdict.Decision) Action {
	v.out = appendPairs(v.out[:0], d.Headers)
	if !v.host.Respond(d.Status, d.Reason.String(), v.out, d.Body) {
		v.turnAway()
	}
	return Pause
}

// What answers for a guest that cannot judge must not depend on anything in it that
// may be broken.
var (
	brokenHeaders = appendPairs(nil, []verdict.Field{
		{Name: "content-type", Value: "application/problem+json"},
		{Name: "cache-control", Value: "no-store"},
		{Name: "retry-after", Value: "5"},
	})
	brokenBody = []byte(`{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"internal error","code":"internal"}` + "\n")
)

// turnAway refuses a request that cannot be judged. If not even that can be done, the
// request is left waiting: it does not pass.
func (v *VM) turnAway() Action {
	v.host.SetProperty(propertyReason, verdict.Internal.String())
	v.host.Respond(verdict.Internal.Status(), verdict.Internal.String(), brokenHeaders, brokenBody)
	return Pause
}

// RequestTrailers takes the headers that only the filter may set out of the trailers
// of a request that was let pass.
func (v *VM) RequestTrailers(context uint32) (action Action) {
	if !v.enter() {
		return v.turnAway()
	}
	defer func() {
		panicked := recover()
		if panicked != nil {
			action = v.turnAway()
		}
		v.leave(panicked)
	}()
	r := v.streams[context]
	if r == nil || r.setup == nil {
		return v.turnAway()
	}
	text, ok := v.host.Pairs(RequestTrailers)
	if ok {
		v.fields, ok = appendFields(v.fields[:0], text)
	}
	if !ok || !v.strip(RequestTrailers, r.setup.strip) {
		return v.turnAway()
	}
	return Continue
}

// want notes that a key was not found. What comes of it arrives at a tick.
func (r *root) want() {
	if issuer, kid := r.guest.Refusal(); issuer >= 0 && issuer < len(r.sources) && r.sources[issuer] != nil {
		r.sources[issuer].want(kid)
	}
}
