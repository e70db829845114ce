package plugin

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sessiongate/verdict"
)

const (
	issuer = "https://issuer.example"
	start  = int64(1_800_000_000_000) // Unix milliseconds
)

// world is what the threads of one proxy share.
type world struct {
	now    int64
	cas    uint32
	shared map[string]entry
	calls  []*call
	denied map[string]bool // calls that fail on every thread
}

type entry struct {
	value string
	cas   uint32
}

// call is a request to a cluster that waits for its answer.
type call struct {
	thread  *thread
	id      uint32
	cluster string
	head    map[string]string
}

func newWorld() *world {
	return &world{now: start, shared: map[string]entry{}, denied: map[string]bool{}}
}

// thread is a fake Host: one thread of a proxy, with a VM on it.
type thread struct {
	*world
	t  testing.TB
	vm *VM

	config     string
	maps       map[Map][]verdict.Field
	raw        map[Map]string // instead of maps
	body       string
	properties map[string]string
	acts       []string // what was done to the request, in order
	response   *response1
	metrics    map[string]int
	names      []string // of metrics, by id
	log        []string
	period     uint32
}

type response1 struct {
	status  int
	details string
	headers []verdict.Field
	body    string
}

func (w *world) thread(t testing.TB) *thread {
	h := &thread{world: w, t: t, maps: map[Map][]verdict.Field{}, raw: map[Map]string{}, metrics: map[string]int{}}
	h.vm = New(h, 0)
	return h
}

func (h *thread) Log(_ Level, message string) { h.log = append(h.log, message) }

func (h *thread) Time() int64 {
	if h.denied["time"] {
		return 0
	}
	return h.now * 1_000_000
}

func (h *thread) SetTick(period uint32) bool {
	h.period = period
	return !h.denied["tick"]
}

func (h *thread) Configuration(size uint32) (string, bool) {
	require.Equal(h.t, len(h.config), int(size))
	return h.config, !h.denied["configuration"]
}

func (h *thread) CallBody(size uint32) (string, bool) {
	require.Equal(h.t, len(h.body), int(size))
	return h.body, true
}

func (h *thread) Pairs(m Map) (string, bool) {
	if raw, ok := h.raw[m]; ok {
		return raw, true
	}
	return string(appendPairs(nil, h.maps[m])), !h.denied["pairs"]
}

func (h *thread) act(format string, args ...any) {
	h.acts = append(h.acts, fmt.Sprintf(format, args...))
}

func (h *thread) Remove(m Map, name string) bool {
	if h.denied["remove"] {
		return false
	}
	h.act("remove %s", name)
	h.maps[m] = slices.DeleteFunc(h.maps[m], func(f verdict.Field) bool { return strings.EqualFold(f.Name, name) })
	return true
}

func (h *thread) Replace(m Map, name, value string) bool {
	if h.denied["replace"] {
		return false
	}
	h.act("replace %s", name)
	h.maps[m] = slices.DeleteFunc(h.maps[m], func(f verdict.Field) bool { return strings.EqualFold(f.Name, name) })
	h.maps[m] = append(h.maps[m], verdict.Field{Name: name, Value: strings.Clone(value)})
	return true
}

func (h *thread) SetProperty(name, value string) bool {
	if h.denied["property "+name] {
		return false
	}
	h.act("property %s", name)
	h.properties[name] = strings.Clone(value)
	return true
}

func (h *thread) Respond(status int, details string, headers, body []byte) bool {
	if h.denied["respond"] {
		return false
	}
	h.act("respond %d", status)
	fields, ok := appendFields(nil, string(headers))
	require.True(h.t, ok)
	h.response = &response1{status, details, fields, string(body)}
	return true
}

func (h *thread) define(name string) (uint32, bool) {
	h.names = append(h.names, name)
	return uint32(len(h.names) - 1), !h.denied["metrics"]
}

func (h *thread) DefineCounter(name string) (uint32, bool)   { return h.define(name) }
func (h *thread) DefineHistogram(name string) (uint32, bool) { return h.define(name) }
func (h *thread) Count(id uint32)                            { h.metrics[h.names[id]]++ }
func (h *thread) Record(id uint32, _ uint64)                 { h.metrics[h.names[id]]++ }

func (h *thread) Call(cluster string, headers []byte, timeout uint32) (uint32, bool) {
	require.EqualValues(h.t, 5000, timeout)
	if h.denied["call"] {
		return 0, false
	}
	fields, ok := appendFields(nil, string(headers))
	require.True(h.t, ok)
	c := &call{h, uint32(len(h.calls) + 1), cluster, map[string]string{}}
	for _, f := range fields {
		c.head[f.Name] = f.Value
	}
	h.calls = append(h.calls, c)
	return c.id, true
}

func (h *thread) SharedGet(key string) (string, uint32, Status) {
	if h.denied["shared"] {
		return "", 0, StatusFailed
	}
	e, ok := h.shared[key]
	if !ok {
		return "", 0, StatusNotFound
	}
	return e.value, e.cas, StatusOK
}

func (h *thread) SharedSet(key string, value []byte, cas uint32) Status {
	if h.denied["shared"] {
		return StatusFailed
	}
	if cas != 0 && cas != h.shared[key].cas {
		return StatusCASMismatch
	}
	h.cas++
	h.shared[key] = entry{string(value), h.cas}
	return StatusOK
}

// configure makes a root with a document.
func (h *thread) configure(context uint32, document string) bool {
	h.config = document
	h.vm.Create(context, 0)
	return h.vm.Configure(context, uint32(len(document)))
}

// request sends a GET, or what stands before the path, through the guest.
func (h *thread) request(root uint32, target string, headers ...string) Action {
	h.maps[RequestHeaders] = head(target, headers...)
	return h.send(root)
}

func (h *thread) send(root uint32) Action {
	h.acts, h.properties, h.response = nil, map[string]string{}, nil
	h.vm.Create(1000, root)
	defer h.vm.Delete(1000)
	return h.vm.RequestHeaders(1000)
}

func head(target string, headers ...string) []verdict.Field {
	method, path, ok := strings.Cut(target, " ")
	if !ok {
		method, path = "GET", target
	}
	fields := []verdict.Field{{Name: ":authority", Value: "api.example"}, {Name: ":path", Value: path},
		{Name: ":method", Value: method}, {Name: ":scheme", Value: "https"}, {Name: "user-agent", Value: "test"}}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		fields = append(fields, verdict.Field{Name: name, Value: value})
	}
	return fields
}

func (h *thread) header(name string) (values []string) {
	for _, f := range h.maps[RequestHeaders] {
		if f.Name == name {
			values = append(values, f.Value)
		}
	}
	return values
}

// after moves the clock and lets every thread tick once.
func (w *world) after(ms int64, threads ...*thread) {
	w.now += ms
	for _, h := range threads {
		h.vm.Tick(1)
	}
}

// one is the only call that waits.
func (w *world) one(t testing.TB) *call {
	t.Helper()
	require.Len(t, w.calls, 1)
	c := w.calls[0]
	w.calls = nil
	return c
}

func (c *call) answer(status, body string, headers ...string) {
	h := c.thread
	fields := []verdict.Field{{Name: ":status", Value: status}}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		fields = append(fields, verdict.Field{Name: name, Value: value})
	}
	h.maps[CallResponseHeaders], h.body = fields, body
	h.vm.CallResponse(1, c.id, uint32(len(body)))
}

var secret = bytes.Repeat([]byte("k"), 32)

type object = map[string]any

// inline is a policy with a secret, whose other members are those given.
func inline(members string) string {
	return `{"version": 1, "policy": {"issuers": [{"issuer": "` + issuer + `", "dialect": "own", "algorithms": ["HS256"], "audience": ["api"]}],
		"rules": [{"path_prefix": "/public", "access": "public"}, {"path_prefix": "/admin", "permissions_all": ["admin"]}, {"path_prefix": "/"}],
		"identity_headers": {"x-user-id": "subject", "x-user-roles": "roles"}, "log": ["subject", "/tenant_id"]` + members + `},
		"host": {"envoy": {"secrets": {"` + issuer + `": "` + encode(secret) + `"}}}}`
}

// fetched is a policy whose keys come from a cluster.
func fetched(source string) string {
	return `{"version": 1, "policy": {"issuers": [{"issuer": "` + issuer + `", "dialect": "own", "algorithms": ["EdDSA"], "audience": ["api"], ` + source + `}],
		"rules": [{"path_prefix": "/"}]}, "host": {"envoy": {"clusters": {"` + issuer + `": "idp"}}}}`
}

const fromURI = `"jwks_uri": "https://issuer.example:8443/keys?x=1", "cooldown": 30, "max_stale": 600`

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func claims(now int64, change object) []byte {
	c := object{"iss": issuer, "sub": "user_1", "aud": []string{"api"}, "client_id": "web", "sid": "sess_1", "jti": "t1",
		"iat": now/1000 - 10, "exp": now/1000 + 3000, "tenant_id": "t1", "roles": []string{"dev"}}
	maps.Copy(c, change)
	return marshal(c)
}

// bearer is the header with a token under the secret.
func bearer(change object) string {
	input := encode([]byte(`{"alg":"HS256","typ":"at+jwt"}`)) + "." + encode(claims(start, change))
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return "authorization: Bearer " + input + "." + encode(mac.Sum(nil))
}

func key(kid string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(kid))
	return ed25519.NewKeyFromSeed(seed[:])
}

func set(kids ...string) string {
	list := []object{}
	for _, kid := range kids {
		list = append(list, object{"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": encode(key(kid).Public().(ed25519.PublicKey))})
	}
	return string(marshal(object{"keys": list}))
}

// signed is the header with a token under a key.
func signed(now int64, kid string) string {
	input := encode(marshal(object{"alg": "EdDSA", "typ": "at+jwt", "kid": kid})) + "." + encode(claims(now, nil))
	return "authorization: Bearer " + input + "." + encode(ed25519.Sign(key(kid), []byte(input)))
}

// reason is why the guest refused a request with a token under a key, "" if it passed.
func (h *thread) reason(kid string) string {
	h.t.Helper()
	if h.request(1, "/", signed(h.now, kid)) == Continue {
		require.Equal(h.t, "pass", h.properties["gate"])
		return ""
	}
	return h.response.details
}
