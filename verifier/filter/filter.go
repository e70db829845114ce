// Package filter judges one request: its head and the time go in, a Decision comes
// out, to be carried out by whatever proxy holds the request. It knows no proxy,
// does no I/O and reads no clock.
package filter

import (
	"errors"
	"strconv"

	"sessiongate/jwks"
	"sessiongate/verdict"
	"sessiongate/verifier"
	"sessiongate/verifier/policy"
)

// Request is the head of a request as the proxy received it.
type Request struct {
	Method string
	Scheme string // "http" or "https"; "" if the proxy does not know
	Host   string // the Host header or :authority, port included
	Path   string // the request target: path and query, nothing decoded or normalised

	// Headers holds the fields that Headers asks for, each repetition as one field,
	// in the order received. Names are lower case.
	Headers []verdict.Field
}

// Filter judges requests by one policy. Its methods are for one goroutine at a time:
// it owns the memory of the Decision that it returns.
type Filter struct {
	policy *policy.Policy
	verify *verifier.Verifier
	result verifier.Result

	anyHost, anyMethod bool // no rule looks at the host; at the method

	answers []answer // by Reason
	stepUps []answer // by rule: RFC 9470, by what the rule wants
	grpc    [][]verdict.Field
	// signInPath is the sign-in page's path as rules would see it, "" if it is not
	// under the public origin.
	signInPath string

	decision verdict.Decision
	remove   []string
	set, log []verdict.Field
	token    []byte // a copy of the token, which the verifier wants as bytes
	buf      []byte
	other    []byte

	// Of the request being judged:
	target  target
	rule    int // index of the rule that matched, -1 if none has
	tenant  string
	refused struct {
		issuer int
		kid    []byte
	}
}

// New makes a Filter. The error names what in the policy cannot be used; a policy
// that policy.Parse returned has nothing like that, save secrets that a host still
// has to read from a file and set in Issuers.
func New(p *policy.Policy) (*Filter, error) {
	v, err := verifier.New(verifier.Config{Issuers: p.Issuers})
	if err != nil {
		return nil, err
	}
	f := &Filter{policy: p, verify: v, anyHost: true, anyMethod: true}
	f.refused.issuer = -1
	for i, k := range p.Keys {
		if k.Kind != policy.Inline {
			continue
		}
		if _, err := f.UpdateKeys(i, k.Inline, 0); err != nil {
			return nil, errors.New("issuers[" + strconv.Itoa(i) + "].jwks: " + err.Error())
		}
	}
	for i := range p.Rules {
		r := &p.Rules[i]
		f.anyHost = f.anyHost && r.Hosts == nil
		f.anyMethod = f.anyMethod && r.Methods == nil
	}
	f.prepareAnswers()
	return f, nil
}

var errNoUsableKey = errors.New("key set has no usable key")

// UpdateKeys gives an issuer, by its index in Policy.Issuers, a new JWK Set.
// confirmedAt (Unix milliseconds) is when the document was last known to be the
// issuer's. A document that cannot be used, or holds no usable key, is an error and
// changes nothing. The keys of a good document that were skipped come back. An
// empty document confirms the set in force, if there is one, anew.
func (f *Filter) UpdateKeys(issuer int, document []byte, confirmedAt int64) ([]jwks.Skipped, error) {
	if issuer < 0 || issuer >= len(f.policy.Issuers) {
		return nil, errors.New("no issuer of the policy has index " + strconv.Itoa(issuer))
	}
	if len(f.policy.Issuers[issuer].Secret) != 0 {
		return nil, errors.New("issuer " + strconv.Itoa(issuer) + " of the policy has a secret and no key set")
	}
	current, _ := f.verify.Keys(issuer)
	if len(document) == 0 && current != nil {
		f.verify = f.verify.WithKeys(issuer, current, confirmedAt)
		return nil, nil
	}
	set, err := jwks.Parse(document)
	if err != nil {
		return nil, err
	}
	if set.Len() == 0 || current != nil && !set.Selects() {
		return set.Skipped(), errNoUsableKey
	}
	f.verify = f.verify.WithKeys(issuer, set, confirmedAt)
	return set.Skipped(), nil
}

// Verifier is the verifier with the keys of now.
func (f *Filter) Verifier() *verifier.Verifier { return f.verify }

// Refusal is, when the last Decision's Reason is UnknownKey, KeysStale or
// KeysUnavailable, the issuer whose keys a host should refresh and the kid that was
// asked for (nil: the token has none). Otherwise the issuer is -1.
func (f *Filter) Refusal() (issuer int, kid []byte) { return f.refused.issuer, f.refused.kid }

// Decide judges a request at a time in Unix milliseconds. The Decision is good
// until the next call, refers to the request's strings and must not be changed.
func (f *Filter) Decide(req *Request, now int64) *verdict.Decision {
	f.reset()
	if reason := f.judge(req, now); reason != verdict.None {
		f.refuse(req, reason)
	} else {
		f.forward(req)
	}
	return &f.decision
}

// Refuse is the Decision about a request that cannot be judged: the reason is one
// of a host, such as ClockUnusable or Internal. It is good until the next call.
func (f *Filter) Refuse(req *Request, reason verdict.Reason) *verdict.Decision {
	f.reset()
	f.refuse(req, reason)
	return &f.decision
}

// reset forgets the last request.
func (f *Filter) reset() {
	f.decision = verdict.Decision{}
	f.refused.issuer, f.refused.kid = -1, nil
	f.target, f.rule, f.tenant = target{path: "/"}, -1, ""
}

// judge answers None for a request to be forwarded. Then decision.Authenticated
// says whether the result holds a verified token.
func (f *Filter) judge(req *Request, now int64) verdict.Reason {
	if !f.readTarget(req.Path) {
		return verdict.BadPath
	}
	if !f.policy.CheckPreflight && req.preflight() {
		return verdict.None
	}
	if reason := f.findRule(req); reason != verdict.None {
		return reason
	}
	rule := &f.policy.Rules[f.rule]
	if rule.Access == policy.Public {
		return verdict.None
	}
	found, reason := f.findToken(req)
	switch {
	case reason == verdict.MissingToken && rule.Access == policy.Optional:
		return verdict.None
	case reason != verdict.None:
		return reason
	case found.ambient && !req.safe() && !f.sameSite(req):
		return verdict.CrossSite
	case len(found.token) > verifier.MaxTokenBytes:
		return verdict.TooLarge
	}
	f.token = append(f.token[:0], found.token...)
	if reason := f.verify.VerifyInto(&f.result, f.token, now); reason != verdict.None {
		switch reason {
		case verdict.UnknownKey, verdict.KeysStale, verdict.KeysUnavailable:
			f.refused.issuer, f.refused.kid = f.result.Issuer, f.result.KeyID
		}
		return reason
	}
	f.fillLog()
	if reason := f.require(rule, now); reason != verdict.None {
		return reason
	}
	f.decision.Authenticated = true
	return verdict.None
}

// findRule finds the first rule that matches. A path that another rule, or another
// tenant, would match for a server that reads the escapes of reserved bytes in its
// own way is refused: see policy.Reserved.
func (f *Filter) findRule(req *Request) verdict.Reason {
	host, ok := policy.CleanHost(req.Host)
	if !f.anyHost && !ok || !f.anyMethod && !upperToken(req.Method) {
		// What a server makes of it is anyone's guess, so it is not said to match
		// none of the rules that name hosts or methods and then left to one that
		// does not.
		return verdict.NoRule
	}
	f.rule, f.tenant = f.match(req.Method, host, f.target.judged)
	if f.target.reserved {
		var cut int
		f.other, cut = policy.ReadReserved(f.other[:0], f.target.judged)
		read := string(f.other)
		rule, tenant := f.match(req.Method, host, read)
		if rule != f.rule {
			return verdict.BadPath
		}
		if cut < len(read) {
			read = read[:cut]
			rule, cutTenant := f.match(req.Method, host, read)
			if rule != f.rule || cutTenant != tenant || policy.Spell(read)&policy.Loose != 0 {
				return verdict.BadPath
			}
		}
	}
	if f.rule < 0 {
		return verdict.NoRule
	}
	return verdict.None
}

// match returns the first rule that matches, or -1, and the tenant in the path.
func (f *Filter) match(method, host, path string) (rule int, tenant string) {
	for i := range f.policy.Rules {
		r := &f.policy.Rules[i]
		if seg, ok := r.Match(method, host, path); ok {
			if r.TenantSegment != "" {
				tenant, _ = seg.Raw(r.TenantSegment)
			}
			return i, tenant
		}
	}
	return -1, ""
}

// upperToken reports whether a method is spelled as every method in use is. Some
// servers take "post" for "POST".
func upperToken(method string) bool {
	for i := 0; i < len(method); i++ {
		if c := method[i]; (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return method != ""
}

// forward fills in what is done to a request that goes on.
func (f *Filter) forward(req *Request) {
	d := &f.decision
	d.Forward = true
	f.remove, f.set = f.remove[:0], f.set[:0]
	f.removeIdentity(req)
	if d.Authenticated {
		d.Principal = f.result.Principal
		f.setIdentity()
	}
	query := f.target.query
	if f.policy.StripToken {
		query = f.stripToken(req)
	}
	if f.target.rewritten || len(query) != len(f.target.query) {
		d.Path = f.target.path + query
	}
	d.Remove, d.Set = f.remove, f.set
}
