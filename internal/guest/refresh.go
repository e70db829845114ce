package guest

import (
	"strconv"

	"sessiongate/internal/abi"
	"sessiongate/internal/strict"
	"sessiongate/jwks"
	"sessiongate/verdict"
	"sessiongate/verifier/policy"
)

// Bounds of a fetch.
const (
	largestBody = 1 << 20   // bytes
	longestTag  = 1024      // bytes; a longer entity tag is not sent back
	rediscover  = 3_600_000 // milliseconds that a jwks_uri out of an issuer's metadata is used without asking again
)

// source is the state machine of one issuer's fetched keys, for hosts that have none
// of their own: they fetch what they are told to, and say what came.
type source struct {
	issuer    int
	name      string // whom the metadata must speak for
	location  string
	discovery bool

	refresh   *jwks.Refresh
	installed bool // the machine's set is the one in force
	order     jwks.Order
	metadata  bool   // the order's answer will be the metadata
	uri       string // where the set is, as the metadata said
	found     int64  // when they did
}

func newSources(p *policy.Policy) []*source {
	var all []*source
	for i := range p.Keys {
		k := &p.Keys[i]
		if k.Kind == policy.URI || k.Kind == policy.Discovery {
			all = append(all, &source{issuer: i, name: p.Issuers[i].Name, location: k.Location, discovery: k.Kind == policy.Discovery,
				refresh: jwks.NewRefresh(jwks.RefreshConfig{MaxStale: k.MaxStale, Cooldown: k.Cooldown})})
		}
	}
	return all
}

func (c *Calls) source(issuer uint32) *source {
	for _, s := range c.sources {
		if int64(s.issuer) == int64(issuer) {
			return s
		}
	}
	return nil
}

// refresh tells what is to be fetched now, and when to ask again.
func (c *Calls) refresh(now int64) []byte {
	var next int64
	orders := make([]*source, 0, len(c.sources))
	for _, s := range c.sources {
		if order, due := s.refresh.Poll(now); due {
			s.order = order
			age := now - s.found
			s.metadata = s.discovery && (s.uri == "" || age > rediscover || age < 0)
			orders = append(orders, s)
		}
		if at := s.refresh.Snapshot().ConfirmedAt; s.installed {
			if _, told := c.filter.Verifier().Keys(s.issuer); at < told {
				// The clock was set back. A confirmation in the future would keep the
				// keys alive for longer than their bound.
				_, _, _ = c.UpdateKeys(s.issuer, nil, at)
			}
		}
		if at := max(1, s.refresh.Next()); next == 0 || at < next {
			next = at
		}
	}
	o := object{dst: c.status(abi.StatusOK)}
	o.open()
	o.int("next", next)
	o.list("orders", len(orders), func(i int) { orders[i].members(&o) })
	o.list("sources", len(c.sources), func(i int) {
		o.int("issuer", int64(c.sources[i].issuer))
		o.int("confirmed_at", c.sources[i].refresh.Snapshot().ConfirmedAt)
	})
	o.close()
	return c.keep(o.dst)
}

// members writes the order in flight.
func (s *source) members(o *object) {
	url, accept, tag := s.location, "application/jwk-set+json, application/json", s.order.IfNoneMatch
	if s.metadata {
		accept, tag = "application/json", ""
	} else if s.discovery {
		url = s.uri
	}
	o.int("issuer", int64(s.issuer))
	o.int("id", int64(s.order.ID))
	o.string("url", url)
	o.string("accept", accept)
	o.string("if_none_match", tag)
}

// refreshed takes what came of an order.
func (c *Calls) refreshed(in string, now int64) []byte {
	f, err := abi.DecodeRefreshed(in)
	if err != nil {
		return c.status(abi.StatusBadInput)
	}
	s := c.source(f.Issuer)
	if s == nil {
		return c.keep(AppendFaults(c.status(abi.StatusFaults),
			policy.Errors{{Problem: "issuer " + strconv.FormatInt(int64(f.Issuer), 10) + " has no keys to fetch"}}))
	}
	outcome, problem, further := s.take(&f, now)
	snapshot := s.refresh.Snapshot()
	var skipped []jwks.Skipped
	switch {
	case outcome == jwks.Updated, outcome == jwks.Confirmed && !s.installed:
		_, skipped, err = c.UpdateKeys(s.issuer, snapshot.Document, snapshot.ConfirmedAt)
		if s.installed = err == nil; !s.installed {
			problem = err.Error()
		}
	case outcome == jwks.Confirmed:
		_, _, _ = c.UpdateKeys(s.issuer, nil, snapshot.ConfirmedAt)
	}
	set, _ := c.filter.Verifier().Keys(s.issuer)

	o := object{dst: c.status(abi.StatusOK)}
	o.open()
	if further {
		o.string("outcome", "continued")
		o.name("order")
		o.open()
		s.members(&o)
		o.close()
	} else {
		o.string("outcome", outcome.String())
	}
	o.string("problem", problem)
	o.int("confirmed_at", snapshot.ConfirmedAt)
	o.int("usable", int64(set.Len()))
	o.skipped(skipped)
	o.close()
	return c.keep(o.dst)
}

// take gives the machine its answer, unless there is one more document to fetch
// first. A problem says nothing of what the other side wrote.
func (s *source) take(f *abi.Refreshed, now int64) (outcome jwks.Outcome, problem string, further bool) {
	answer := jwks.Answer{ID: f.ID, Lifetime: jwks.Lifetime(f.CacheControl, f.Age)}
	switch {
	case f.ID != s.order.ID || f.ID == 0:
		return jwks.Ignored, "", false
	case f.Status == 304 && !s.metadata:
		answer.Status = jwks.NotModified
	case f.Status == 0:
		problem = "no answer came"
	case f.Status != 200:
		problem = "the answer has status " + strconv.FormatInt(int64(f.Status), 10)
	case len(f.Document) > largestBody:
		problem = "the answer is over 1 MiB"
	case s.metadata:
		if problem = s.discovered([]byte(f.Document), now); problem == "" {
			return jwks.Ignored, "", true
		}
	default:
		answer.Status, answer.Document = jwks.Fetched, []byte(f.Document)
		if sendable(f.ETag) {
			answer.ETag = f.ETag
		}
	}
	if answer.Status == jwks.FetchFailed {
		s.uri = "" // the metadata are asked again next time
	}
	if outcome = s.refresh.Answer(answer, now); outcome == jwks.Rejected {
		problem = "the document is no key set with a usable key"
	}
	return outcome, problem, false
}

// discovered reads an issuer's metadata (OpenID Connect Discovery 1.0 section 4, RFC
// 8414 section 3), which say where the set is.
func (s *source) discovered(document []byte, now int64) (problem string) {
	var doc strict.Doc
	if doc.Parse(document, strict.Limits{Bytes: largestBody, Depth: 32, Members: 1024}) != verdict.None {
		return "the issuer's metadata are not strict JSON"
	}
	uri, ok := doc.Root().Member("jwks_uri").Text()
	switch {
	case !doc.Root().Member("issuer").Is(s.name):
		return "the metadata speak for another issuer"
	case !ok || !policy.FetchableURL(uri):
		return "jwks_uri in the metadata is missing, or is neither https nor http to a loopback address"
	}
	if uri != s.uri {
		s.order.IfNoneMatch = "" // another place's
	}
	s.uri, s.found, s.metadata = uri, now, false
	return ""
}

// sendable says whether an entity tag may be sent back.
func sendable(tag string) bool {
	for i := range len(tag) {
		if tag[i] <= ' ' || tag[i] >= 0x7f {
			return false
		}
	}
	return len(tag) <= longestTag
}

// unknownKey tells a source that a token names a kid that it does not have.
func (c *Calls) unknownKey(in string, now int64) []byte {
	u, err := abi.DecodeUnknownKey(in)
	if err != nil {
		return c.status(abi.StatusBadInput)
	}
	if s := c.source(u.Issuer); s != nil { // keys that stand in the policy are not fetched
		s.refresh.Unknown([]byte(u.KeyID), now)
	}
	return c.status(abi.StatusOK)
}
