package plugin

import (
	"strings"

	"sessiongate/internal/guest"
	"sessiongate/internal/strict"
	"sessiongate/verdict"
	"sessiongate/verifier/filter"
	"sessiongate/verifier/policy"
)

// kind is the member of the policy's "host" that is for these proxies.
const kind = "traefik"

// Plugin is one instance of the guest. A proxy makes as many as it has requests at a
// time, and each judges one request after another; none knows of the others.
//
// The proxy makes no difference between an instance that refused a request and one
// that broke over it: both are used again. So one that never came back from a
// request refuses all others, and one that panicked is made anew.
type Plugin struct {
	host     Host
	floor    int64
	trailers bool
	document string

	guard   guest.Guard
	setup   *setup
	retryAt int64 // when an instance that panicked is made anew, Unix milliseconds; 0: it has not

	// Of the request being judged:
	request filter.Request
	names   []string
	line    []byte
}

// setup is what the configuration became.
type setup struct {
	guest   guest.Guest
	policy  *policy.Policy
	wanted  []string // headers that the filter wants to see
	strip   []string // headers that nobody but the filter may set
	sources []*source
}

const pauseAfterPanic = 1000 // milliseconds

// New makes an instance. floor is guest.ClockFloor's.
func New(h Host, floor int64) *Plugin { return &Plugin{host: h, floor: floor} }

// Start takes the configuration, the policy document. It is false, and the faults
// are in the log, if no instance can take it. What is not the document's fault, a
// key file that is not there above all, refuses requests until it is mended.
func (p *Plugin) Start() bool {
	p.host.Forget()
	config, ok := p.host.Configuration()
	if !ok || config == "" {
		p.host.Log(LevelError, "sessiongate: configuration: there is none")
		return false
	}
	p.document = document(config)
	s, err := p.configure()
	if err != nil {
		p.logFaults(err)
		return false
	}
	p.setup = s
	p.trailers = p.host.Trailers()
	// Requests need not wait for what can be done now.
	if !p.guard.Run(func() {
		sabotage("start", p)
		p.look(p.now())
	}) {
		p.panicked("it could not start")
	}
	return true
}

// document is the policy document in a configuration: the whole of it, or, where a
// host makes something else of JSON on its way here, the string in its only member
// "document". Traefik makes strings of numbers.
func document(config string) string {
	var d strict.Doc
	if d.Parse([]byte(config), strict.Limits{Bytes: 8 * policy.MaxBytes, Depth: 64, Members: 1024}) == verdict.None && d.Root().Len() == 1 {
		if text, ok := d.Root().Member("document").Text(); ok {
			return text
		}
	}
	return strings.Clone(config)
}

func (p *Plugin) configure() (*setup, error) {
	s := new(setup)
	q, err := s.guest.Configure(kind, []byte(p.document), p.floor, nil)
	if err != nil {
		return nil, err
	}
	s.policy, s.wanted, s.strip = q, filter.Headers(q), filter.Strip(q)
	for i := range q.Keys {
		if k := &q.Keys[i]; k.Kind == policy.File {
			s.sources = append(s.sources, newSource(i, k))
		}
	}
	return s, nil
}

func (p *Plugin) logFaults(err error) {
	faults, ok := err.(policy.Errors)
	if !ok {
		faults = policy.Errors{{Problem: err.Error()}}
	}
	for _, f := range faults {
		p.host.Log(LevelError, "sessiongate: configuration: "+f.Path+": "+f.Problem)
	}
}

// now is the proxy's clock in Unix milliseconds.
func (p *Plugin) now() int64 { return p.host.Time() / 1_000_000 }

// look reads the key files that may have changed. Without a clock every request is
// refused anyway.
func (p *Plugin) look(now int64) {
	if now <= 0 {
		return
	}
	for _, s := range p.setup.sources {
		s.look(p, now)
	}
}

// HandleRequest judges a request, and says whether it goes on. If it does not, it
// has been answered.
func (p *Plugin) HandleRequest() (next bool) {
	if p.retryAt != 0 {
		p.remake()
	}
	var began bool
	if p.guard.Run(func() { began = true; next = p.judge() }) {
		return next
	}
	if began { // and panicked
		p.panicked("a request could not be judged")
	}
	p.turnAway()
	return false
}

func (p *Plugin) panicked(what string) {
	p.retryAt = max(1, p.now()+pauseAfterPanic)
	p.host.Log(LevelError, "sessiongate: "+what+"; this instance is made anew in a second")
}

// remake throws away what a panic has left behind.
func (p *Plugin) remake() {
	now := p.now()
	if now < p.retryAt && now > p.retryAt-2*pauseAfterPanic {
		return
	}
	p.guard, p.setup, p.request, p.names, p.line = guest.Guard{}, nil, filter.Request{}, nil, nil
	p.retryAt = max(1, now+pauseAfterPanic) // if this fails too
	p.guard.Run(func() {
		if s, err := p.configure(); err == nil {
			p.setup, p.retryAt = s, 0
		}
	})
}

// What answers for a guest that cannot judge must not depend on anything in it that
// may be broken.
var (
	brokenHeaders = []verdict.Field{
		{Name: "content-type", Value: "application/problem+json"},
		{Name: "cache-control", Value: "no-store"},
		{Name: "retry-after", Value: "5"},
	}
	brokenBody = []byte(`{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"internal error","code":"internal"}` + "\n")
)

// turnAway refuses a request that cannot be judged.
func (p *Plugin) turnAway() {
	for _, f := range brokenHeaders {
		p.host.Set(ResponseHeaders, f.Name, f.Value)
	}
	p.host.Respond(verdict.Internal.Status(), brokenBody)
}
