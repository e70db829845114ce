package matrix

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// comparedHeaders of a refusal: what a client acts upon.
var comparedHeaders = []string{"www-authenticate", "content-type", "retry-after", "location", "grpc-status"}

// upstreamIgnored are request headers that belong to one hop, or that proxies add of
// their own accord; prefixes end with "-".
var upstreamIgnored = []string{
	"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-connection", "content-length", "http2-settings",
	"host", "user-agent", "accept-encoding", "via", "forwarded", "x-forwarded-", "x-real-ip", "x-request-id", "x-envoy-", "sec-websocket-",
	markHeader,
}

func ignored(name string) bool {
	for _, i := range upstreamIgnored {
		if name == i || strings.HasSuffix(i, "-") && strings.HasPrefix(name, i) {
			return true
		}
	}
	return false
}

// ReasonOf is how the gateway shows a Reason: X-Sessiongate-Reason, code in the body,
// or grpc-message. It is what Running.Reason replaces.
func ReasonOf(a *Answer) string {
	if r := a.Header.Get("X-Sessiongate-Reason"); r != "" {
		return r
	}
	var problem struct {
		Code  string
		Error struct{ ID string }
	}
	if json.Unmarshal([]byte(a.Body), &problem) == nil && problem.Code != "" {
		return problem.Code
	}
	name, _, _ := strings.Cut(a.Header.Get("Grpc-Message"), ":")
	return name
}

// observe makes a Cell of an answer and of what the upstream saw of it.
func observe(a *Answer, reason func(*Answer) string, saw []*seen) Cell {
	if reason == nil {
		reason = ReasonOf
	}
	c := Cell{Admitted: len(saw) > 0, Status: a.Status, Body: a.Body, Header: map[string]string{}}
	if !c.Admitted {
		c.Reason = reason(a)
		for _, name := range comparedHeaders {
			if v := strings.Join(a.Header.Values(name), ", "); v != "" {
				c.Header[name] = v
			}
		}
		return c
	}
	s := saw[0]
	c.Method, c.Path, c.Sent, c.Upstream = s.method, s.path, s.body, map[string]string{}
	for prefix, h := range map[string]http.Header{"": s.header, "trailer ": s.trailer} {
		for name, values := range h {
			if name = strings.ToLower(name); !ignored(name) {
				c.Upstream[prefix+name] = join(name, values)
			}
		}
	}
	maps.DeleteFunc(c.Upstream, func(_, v string) bool { return v == "" })
	return c
}

func join(name string, values []string) string {
	if name == "cookie" {
		return strings.Join(values, "; ")
	}
	return strings.Join(values, ", ")
}

// compare lists what differs between what was wanted and what came.
func compare(want, got *Cell, reasonless bool) []string {
	var diffs []string
	differ := func(what string, want, got any) {
		if want != got {
			diffs = append(diffs, fmt.Sprintf("%s is %s, wanted %s", what, short(got), short(want)))
		}
	}
	differ("admitted", want.Admitted, got.Admitted)
	if !reasonless || got.Reason != "" { // a host that does say it has to say the right one
		differ("Reason", want.Reason, got.Reason)
	}
	differ("status", want.Status, got.Status)
	if !want.AnyBody {
		differ("body", want.Body, got.Body)
	}
	if want.Admitted && got.Admitted {
		differ("upstream's method", want.Method, got.Method)
		differ("upstream's path", want.Path, got.Path)
		differ("upstream's body", want.Sent, got.Sent)
		for _, name := range union(want.Upstream, got.Upstream) {
			differ("upstream's "+name, want.Upstream[name], got.Upstream[name])
		}
	}
	if !want.Admitted && !got.Admitted {
		for _, name := range union(want.Header, got.Header) {
			differ(name, want.Header[name], got.Header[name])
		}
	}
	return diffs
}

func union(a, b map[string]string) []string {
	names := slices.Collect(maps.Keys(a))
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func short(v any) string {
	text := fmt.Sprintf("%q", fmt.Sprint(v))
	if len(text) > 300 {
		text = text[:200] + fmt.Sprintf("… (%d characters)", len(text))
	}
	return text
}
