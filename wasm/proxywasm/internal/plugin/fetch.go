package plugin

import (
	"strings"

	"sessiongate/internal/strict"
	"sessiongate/jwks"
	"sessiongate/verdict"
	"sessiongate/verifier/policy"
)

// Bounds of a fetch.
const (
	fetchTimeout = 5_000     // milliseconds
	largestBody  = 1 << 20   // bytes
	longestTag   = 1024      // bytes; a longer entity tag is not sent back
	rediscover   = 3_600_000 // milliseconds that a jwks_uri out of an issuer's metadata is used without asking again
)

// fetch is an order being carried out: one call, or that for the issuer's metadata and
// then that for the set that they name.
type fetch struct {
	running  bool
	metadata bool // this call is for the metadata
	order    jwks.Order
	call     uint32

	uri   string // where the set is, as the metadata said
	found int64  // when they did
}

// begin carries out an order. What it brings arrives at CallResponse.
func (s *source) begin(order jwks.Order, now int64) {
	f := &s.fetch
	f.running, f.order, f.metadata = true, order, false
	if !s.place.discovery {
		s.get(s.place.location, order.IfNoneMatch, now)
		return
	}
	if age := now - f.found; f.uri == "" || age > rediscover || age < 0 {
		f.metadata = true
		s.get(s.place.location, "", now)
		return
	}
	s.get(f.uri, order.IfNoneMatch, now)
}

// get makes a call. The cluster, and not the URL, says where it goes and whether that is
// behind TLS; no redirect is followed.
func (s *source) get(url, tag string, now int64) {
	scheme, authority, path := splitURL(url)
	fields := []verdict.Field{
		{Name: ":method", Value: "GET"},
		{Name: ":scheme", Value: scheme},
		{Name: ":authority", Value: authority},
		{Name: ":path", Value: path},
		{Name: "accept", Value: "application/jwk-set+json, application/json"},
		{Name: "user-agent", Value: "sessiongate"},
	}
	if tag != "" {
		fields = append(fields, verdict.Field{Name: "if-none-match", Value: tag})
	}
	var ok bool
	if s.fetch.call, ok = s.vm.host.Call(s.place.cluster, appendPairs(nil, fields), fetchTimeout); !ok {
		s.settle(jwks.Answer{}, "the proxy makes no call: is there a cluster of that name?", now)
	}
}

// splitURL takes a URL apart that the policy has checked.
func splitURL(url string) (scheme, authority, path string) {
	scheme, rest, _ := strings.Cut(url, "://")
	end := strings.IndexAny(rest, "/?")
	switch {
	case end < 0:
		return scheme, rest, "/"
	case rest[end] == '?':
		return scheme, rest[:end], "/" + rest[end:]
	}
	return scheme, rest[:end], rest[end:]
}

// CallResponse takes the answer to a call, or the proxy's own if there was none.
func (v *VM) CallResponse(_, call, bodySize uint32) {
	if !v.enter() {
		return
	}
	defer func() { v.leave(recover()) }()
	for _, s := range v.sources {
		if s.fetch.running && s.fetch.call == call {
			s.answered(bodySize, v.now())
			return
		}
	}
}

// response is what counts of an answer's head.
type response struct {
	status   string
	tag      string
	lifetime int64 // milliseconds, -1 if it does not say
}

func (s *source) answered(bodySize uint32, now int64) {
	r, ok := s.vm.readResponse()
	if !ok {
		s.settle(jwks.Answer{}, "the answer cannot be read", now)
		return
	}
	switch {
	case r.status == "304" && !s.fetch.metadata:
		s.settle(jwks.Answer{Status: jwks.NotModified, Lifetime: r.lifetime}, "", now)
		return
	case r.status != "200":
		s.failed("the answer has status "+r.status, now) // refused is 503, a timeout 504
		return
	case bodySize > largestBody:
		s.failed("the answer is over 1 MiB", now)
		return
	}
	text, ok := s.vm.host.CallBody(bodySize)
	switch {
	case !ok:
		s.failed("the answer cannot be read", now)
	case s.fetch.metadata:
		s.discovered([]byte(text), now)
	default:
		s.settle(jwks.Answer{Status: jwks.Fetched, Document: []byte(text), ETag: r.tag, Lifetime: r.lifetime}, "", now)
	}
}

// failed ends an order without a set. The metadata are asked again next time.
func (s *source) failed(problem string, now int64) {
	s.fetch.found = now - rediscover - 1
	s.settle(jwks.Answer{}, problem, now)
}

// discovered reads an issuer's metadata (OpenID Connect Discovery 1.0 section 4, RFC
// 8414 section 3) and goes on to the set that they name.
func (s *source) discovered(document []byte, now int64) {
	var doc strict.Doc
	if doc.Parse(document, strict.Limits{Bytes: largestBody, Depth: 32, Members: 1024}) != verdict.None {
		s.failed("the issuer's metadata are not strict JSON", now)
		return
	}
	uri, ok := doc.Root().Member("jwks_uri").Text()
	switch {
	case !doc.Root().Member("issuer").Is(s.place.issuer):
		s.failed("the metadata speak for another issuer", now)
		return
	case !ok || !policy.FetchableURL(uri):
		s.failed("jwks_uri in the metadata is missing, or is neither https nor http to a loopback address", now)
		return
	}
	f := &s.fetch
	tag := f.order.IfNoneMatch
	if uri != f.uri {
		tag = "" // another place's
	}
	f.uri, f.found, f.metadata = uri, now, false
	s.get(uri, tag, now)
}

func (v *VM) readResponse() (r response, ok bool) {
	text, ok := v.host.Pairs(CallResponseHeaders)
	if !ok {
		return r, false
	}
	fields, ok := appendFields(nil, text)
	r.lifetime = -1
	age := ""
	for _, f := range fields {
		switch f.Name {
		case ":status":
			r.status = strings.Clone(f.Value)
		case "etag":
			if sendable(f.Value) {
				r.tag = strings.Clone(f.Value)
			}
		case "age":
			age = f.Value
		}
	}
	for _, f := range fields {
		if f.Name == "cache-control" && r.lifetime < 0 {
			r.lifetime = jwks.Lifetime(f.Value, age)
		}
	}
	return r, ok
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
