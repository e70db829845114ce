package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"sessiongate/host"
	"sessiongate/verdict"
)

// convention is how one proxy asks whether a request may pass.
type convention struct {
	name string // first segment of the path it asks

	// The headers in which the proxy tells of the original request. Only these are
	// believed, and each has to be there once: a second one may be the client's.
	// Without them the request line is the original one, behind the first segment.
	method, scheme, host, path string
	set                        string // what a proxy's configuration says to set one, for a hint

	// The proxy passes on 401 and 403 alone, and takes other refusals for an error of
	// its own.
	only401and403 bool
	// The header that tells the proxy which request headers to drop, if it has one
	// of its own.
	dropHeader string
}

// conventions are the proxies that authz knows.
var conventions = []convention{
	{name: "nginx", method: "X-Original-Method", scheme: "X-Original-Scheme", host: "X-Original-Host", path: "X-Original-Uri",
		set: "proxy_set_header", only401and403: true},
	{name: "haproxy", method: "X-Original-Method", scheme: "X-Original-Scheme", host: "X-Original-Host", path: "X-Original-Uri",
		set: "http-request set-header"},
	{name: "traefik", method: "X-Forwarded-Method", scheme: "X-Forwarded-Proto", host: "X-Forwarded-Host", path: "X-Forwarded-Uri"},
	{name: "caddy", method: "X-Forwarded-Method", scheme: "X-Forwarded-Proto", host: "X-Forwarded-Host", path: "X-Forwarded-Uri"},
	{name: "envoy", dropHeader: "X-Envoy-Auth-Headers-To-Remove"},
}

// conventionOf finds the convention by the path that was asked, as received.
func conventionOf(target string) *convention {
	for i := range conventions {
		c := &conventions[i]
		rest, ok := strings.CutPrefix(target, "/"+c.name)
		if !ok {
			continue
		}
		if c.method == "" && strings.HasPrefix(rest, "/") || c.method != "" && (rest == "" || rest[0] == '?') {
			return c
		}
	}
	return nil
}

// badQuestion is a request that does not follow its convention: the proxy's
// configuration is wrong, or a client speaks to authz by itself.
type badQuestion struct{ detail string }

func (e *badQuestion) Error() string { return e.detail }

// original reads the request that the proxy asks about.
func (c *convention) original(r *http.Request) (host.Request, error) {
	q := host.Request{Headers: fieldsOf(r.Header)}
	if c.method == "" {
		q.Method, q.Host = r.Method, r.Host
		q.Path = strings.TrimPrefix(r.RequestURI, "/"+c.name)
		return q, nil
	}
	for _, h := range []struct {
		name string
		to   *string
	}{{c.method, &q.Method}, {c.scheme, &q.Scheme}, {c.host, &q.Host}, {c.path, &q.Path}} {
		values := r.Header.Values(h.name)
		if len(values) == 1 && values[0] != "" {
			*h.to = values[0]
			continue
		}
		what := "is missing"
		if len(values) > 1 {
			what = fmt.Sprintf("is there %d times", len(values))
		} else if len(values) == 1 {
			what = "is empty"
		}
		detail := fmt.Sprintf("header %s %s; %s has to set it, once", h.name, what, c.name)
		if c.set != "" {
			detail += " (" + c.set + " " + h.name + " …)"
		}
		return host.Request{}, &badQuestion{detail}
	}
	switch strings.ToLower(q.Scheme) {
	case "http", "ws":
		q.Scheme = "http"
	case "https", "wss":
		q.Scheme = "https"
	default:
		return host.Request{}, &badQuestion{fmt.Sprintf("header %s is neither http nor https", c.scheme)}
	}
	return q, nil
}

// fieldsOf lists header fields, each repetition as one.
func fieldsOf(h http.Header) []verdict.Field {
	fields := make([]verdict.Field, 0, len(h))
	for name, values := range h {
		for _, v := range values {
			fields = append(fields, verdict.Field{Name: strings.ToLower(name), Value: v})
		}
	}
	return fields
}

// The headers of our own in answers to a proxy.
const (
	reasonHeader = "X-Sessiongate-Reason" // on every refusal
	statusHeader = "X-Sessiongate-Status" // on every refusal for a proxy that knows 401 and 403 alone: what the client is to get
	pathHeader   = "X-Sessiongate-Path"   // on every 200: path and query to forward
	removeHeader = "X-Sessiongate-Remove" // on every 200: the names of the headers that are empty
)

// allow answers 200 with the header edits: each header that is to be taken off the
// request stands in the answer with its new value, or empty. A proxy that copies
// them overwrites whatever the client sent.
func (c *convention) allow(h http.Header, q *host.Request, d *verdict.Decision) {
	values := make(map[string][]string)
	for _, name := range d.Remove {
		values[http.CanonicalHeaderKey(name)] = nil
	}
	for _, f := range d.Set {
		name := http.CanonicalHeaderKey(f.Name)
		values[name] = append(values[name], f.Value)
	}
	// It is about the client's own hop, and a proxy does not copy it.
	delete(values, "Connection")
	var drop []string
	for _, name := range sortedKeys(values) {
		h[name] = values[name]
		if len(values[name]) == 0 {
			h[name] = []string{""}
			drop = append(drop, strings.ToLower(name))
		}
	}
	if len(drop) > 0 {
		name := removeHeader
		if c.dropHeader != "" {
			name = c.dropHeader
		}
		h.Set(name, strings.Join(drop, ","))
	}
	h.Set(pathHeader, q.Path)
	if d.Path != "" {
		h.Set(pathHeader, d.Path)
	}
}

// rewritten reports whether the upstream would have to see another path than the
// client wrote, which no convention can be relied on to carry out.
func rewritten(q *host.Request, d *verdict.Decision) bool {
	was, _, _ := strings.Cut(q.Path, "?")
	is, _, _ := strings.Cut(d.Path, "?")
	return d.Path != "" && was != is
}

// refusalStatus is the status of a refusal: never one that a proxy takes for a yes.
func (c *convention) refusalStatus(d *verdict.Decision) int {
	status := d.Status
	if status < 300 || status > 599 { // gRPC's answers and CORS' own are 200s
		if status = d.Reason.Status(); status < 300 {
			status = http.StatusForbidden
		}
	}
	if !c.only401and403 || status == http.StatusUnauthorized || status == http.StatusForbidden {
		return status
	}
	if status < 400 && d.Reason.Status() == http.StatusUnauthorized {
		return http.StatusUnauthorized // a redirect to sign-in: Location is there for error_page
	}
	return http.StatusForbidden
}

// tellStatus says what the client is to get where the proxy itself may have to be
// told something else.
func (c *convention) tellStatus(h http.Header, status int) {
	if c.only401and403 {
		h.Set(statusHeader, strconv.Itoa(status))
	}
}
