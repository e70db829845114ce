package plugin

import (
	"strings"

	"sessiongate/internal/guest"
	"sessiongate/verdict"
	"sessiongate/verifier/filter"
	"sessiongate/verifier/policy"
)

// kind is the member of the policy's "host" that is for these proxies.
const kind = "envoy"

// VM is one instance of the guest; a proxy has one on each thread. Each configuration
// of the plugin is a root in it, and each request belongs to a root; roots come and go
// with the proxy's configuration. The entries are for one goroutine at a time.
//
// A proxy lets requests pass a plugin that failed to start on some of its threads. So
// a start fails only for what the bytes of the configuration decide, which is the
// same on every thread. Whatever else goes wrong leaves a root broken: it refuses
// every request, and now and then a tick or a request tries to start it again.
type VM struct {
	host    Host
	floor   int64
	entered bool // an entry is running, or one never came back

	roots   map[uint32]*root
	streams map[uint32]*root
	sources map[string]*source
	metrics metrics

	// Of the request being judged:
	request filter.Request
	fields  []verdict.Field
	out     []byte
}

// root is one configuration of the plugin. Its setup is nil until there was a good one.
type root struct {
	*setup
	document string
	broken   string // why every request is refused; "" if none is for that
	retryAt  int64  // when a broken root is started again, Unix milliseconds
	wait     int64  // from one start to the next, milliseconds
	period   uint32 // of the ticks that were asked for, milliseconds
}

// setup is what a good configuration became.
type setup struct {
	guest   guest.Guest
	policy  *policy.Policy
	wanted  []string  // headers that the filter wants to see
	strip   []string  // headers that nobody but the filter may set
	sources []*source // by issuer; nil where no keys are fetched
}

// Ticks, in milliseconds.
const (
	tickSoon  = 100 // while there are no keys at all
	tick      = 500
	firstWait = 1_000 // until a broken root is started again
	lastWait  = 60_000
)

// New makes the VM. floor is guest.ClockFloor's.
func New(h Host, floor int64) *VM {
	v := &VM{host: h, floor: floor}
	v.reset()
	return v
}

// reset forgets what requests and ticks have made.
func (v *VM) reset() {
	if v.roots == nil {
		v.roots = map[uint32]*root{}
		v.streams = make(map[uint32]*root, 256)
	}
	v.sources = map[string]*source{}
	v.request, v.fields, v.out = filter.Request{}, nil, nil
}

// enter begins an entry. It is false if an earlier one never came back: the proxy
// goes on calling an instance that trapped, and nothing in it can be trusted.
func (v *VM) enter() bool {
	if v.entered {
		return false
	}
	v.entered = true
	return true
}

// leave ends an entry. What a panic left behind is not used again: every root refuses
// until it has been made anew.
func (v *VM) leave(panicked any) {
	if panicked != nil {
		why := "panic"
		if err, ok := panicked.(error); ok { // of the runtime: it holds no value of a request
			why += ": " + err.Error()
		}
		v.reset()
		for _, r := range v.roots {
			r.fail(v, why)
		}
	}
	v.entered = false
}

// fail makes a root refuse every request.
func (r *root) fail(v *VM, why string) {
	if r.broken != why {
		v.host.Log(LevelCritical, "sessiongate: every request is refused: "+why)
	}
	r.broken = why
	r.wait = min(max(2*r.wait, firstWait), lastWait)
	r.retryAt = v.now() + r.wait
}

// revive starts a broken root again when its time has come. It is true if the root is whole.
func (r *root) revive(v *VM, now int64) bool {
	if r.broken == "" {
		return r.setup != nil
	}
	if now < r.retryAt && now >= r.retryAt-lastWait || r.document == "" {
		return false
	}
	r.retryAt = now + lastWait
	if !r.start(v) || r.broken != "" {
		return false
	}
	v.host.Log(LevelWarn, "sessiongate: started again")
	return true
}

func (r *root) tick(v *VM, period uint32) bool {
	if r.period == period {
		return true
	}
	if !v.host.SetTick(period) {
		return false
	}
	r.period = period
	return true
}

// now is the proxy's clock in Unix milliseconds.
func (v *VM) now() int64 { return v.host.Time() / 1_000_000 }

// Create takes a new root (parent 0) or a new request of a root.
func (v *VM) Create(context, parent uint32) {
	if !v.enter() {
		return
	}
	defer func() { v.leave(recover()) }()
	if parent == 0 {
		v.roots[context] = new(root)
		return
	}
	v.streams[context] = v.roots[parent]
}

// Delete forgets a root or a request.
func (v *VM) Delete(context uint32) {
	if !v.enter() {
		return
	}
	defer func() { v.leave(recover()) }()
	delete(v.streams, context)
	if r := v.roots[context]; r != nil {
		delete(v.roots, context)
		v.detach(r.setup)
	}
}

// Configure takes a root's configuration, the policy document. It is false, and
// the faults are in the log, if no thread can take it.
func (v *VM) Configure(context, size uint32) (ok bool) {
	if !v.enter() {
		return true // not the configuration's fault
	}
	ok = true
	defer func() { v.leave(recover()) }()
	r := v.roots[context]
	if r == nil {
		r = new(root)
		v.roots[context] = r
	}
	document, got := v.host.Configuration(size)
	if !got {
		r.fail(v, "the proxy does not give the configuration")
		return true
	}
	r.document = strings.Clone(document)
	ok = r.start(v)
	if r.broken != "" {
		r.tick(v, tick) // so that it is whole before a request comes
	}
	return ok
}

// start makes a root from its document. It is false only for what is wrong with that.
func (r *root) start(v *VM) bool {
	s := new(setup)
	p, err := s.guest.Configure(kind, []byte(r.document), v.floor, nil)
	if err != nil {
		v.logFaults(err)
		return false
	}
	s.policy, s.wanted, s.strip = p, filter.Headers(p), filter.Strip(p)
	old := r.setup
	r.setup = s
	why := v.prepare(r)
	v.detach(old) // last, so that a source that both have stays
	if why != "" {
		r.fail(v, why)
		return true
	}
	r.broken, r.wait = "", 0
	return true
}

// prepare does what the proxy, and not the configuration, may fail at. It tells why.
func (v *VM) prepare(r *root) string {
	sabotage("start", v)
	if !v.metrics.define(v.host) {
		return "the proxy defines no metrics"
	}
	if why := v.attach(r.setup); why != "" {
		return why
	}
	if !r.keepTime(v) {
		return "the proxy sets no tick"
	}
	return ""
}

// keepTime asks for the ticks that a root needs now: none if nothing is fetched for it.
func (r *root) keepTime(v *VM) bool {
	period := uint32(0)
	for _, s := range r.sources {
		if s == nil {
			continue
		}
		if s.missing() {
			period = tickSoon
			break
		}
		period = tick
	}
	return r.tick(v, period)
}

func (v *VM) logFaults(err error) {
	faults, ok := err.(policy.Errors)
	if !ok {
		faults = policy.Errors{{Problem: err.Error()}}
	}
	for _, f := range faults {
		v.host.Log(LevelCritical, "sessiongate: configuration: "+f.Path+": "+f.Problem)
	}
}

// Tick starts a broken root again, and looks after the key sets of one that is whole.
func (v *VM) Tick(context uint32) {
	if !v.enter() {
		return
	}
	defer func() { v.leave(recover()) }()
	r := v.roots[context]
	if r == nil {
		return
	}
	now := v.now()
	if !r.revive(v, now) || now <= 0 { // without a clock every request is refused anyway
		return
	}
	for _, s := range r.sources {
		if s != nil {
			s.tick(now)
		}
	}
	r.keepTime(v)
}
