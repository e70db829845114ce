package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"sessiongate/verdict"
)

type principalKey struct{}

var errPath = fmt.Errorf("%w: guest's path is no request target", verdict.Internal)

// PrincipalFrom returns who the token of a request that passed Handler speaks for;
// false if there was no token.
func PrincipalFrom(ctx context.Context) (verdict.Principal, bool) {
	p, _ := ctx.Value(principalKey{}).(*verdict.Principal)
	if p == nil {
		return verdict.Principal{}, false
	}
	return *p, true
}

// Handler lets the guest decide about each request before next sees it. Next gets
// the request with the policy's header edits; it never gets a header that the
// policy may set from a client, however that is spelled, and not in a trailer
// either. Everything else is answered here. Bodies stream, and connections can be
// upgraded or hijacked. PrincipalFrom tells next who is asking.
//
// Next is expected to use the request's URL and Header, not RequestURI, which the
// guest judges as the URL says it.
func (h *Host) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d, err := h.filterHTTP(r)
		var out *http.Request
		if d.Forward {
			if out, err = forwarded(r, &d); err != nil {
				d = refusal(r.Method, r.Header.Get("Content-Type"))
			}
		}
		h.logDecision(r, &d, err)
		if !d.Forward {
			Respond(w, &d)
			return
		}
		next.ServeHTTP(w, out)
	})
}

// Respond writes the local answer of a Decision that does not forward.
func Respond(w http.ResponseWriter, d *verdict.Decision) {
	header := w.Header()
	for _, f := range d.Headers {
		header.Add(f.Name, f.Value)
	}
	if len(d.Body) != 0 {
		header.Set("Content-Length", strconv.Itoa(len(d.Body)))
	}
	status := d.Status
	if status < 200 { // the zero Decision refuses
		status = http.StatusServiceUnavailable
	}
	w.WriteHeader(status)
	_, _ = w.Write(d.Body) // a client that is gone gets no answer
}

// IdentityHeaders returns, in lower case, the headers that the policy in force may
// set: a forward-auth answer names each of them, empty or not.
func (h *Host) IdentityHeaders() []string {
	e := h.current.Load()
	if e == nil {
		return nil
	}
	return slices.Clone(e.plan.Strip)
}

// filterHTTP is Filter for a request of net/http.
func (h *Host) filterHTTP(r *http.Request) (verdict.Decision, error) {
	e, w, err := h.take(r.Context())
	if err != nil {
		return refusal(r.Method, r.Header.Get("Content-Type")), h.failed(callFilter, err)
	}
	q := &w.request
	q.Method, q.Host, q.Scheme, q.Path = r.Method, r.Host, "http", target(r)
	if r.TLS != nil {
		q.Scheme = "https"
	}
	for key, values := range r.Header {
		name, ok := e.plan.wanted[key]
		if !ok {
			if name = strings.ToLower(key); !e.plan.lowerCase[name] {
				continue
			} // somebody before us wrote a name in a spelling of their own
		}
		for _, v := range values {
			q.Headers = append(q.Headers, verdict.Field{Name: name, Value: v})
		}
	}
	d, err := h.filter(r.Context(), e, w)
	if err != nil {
		d = refusal(r.Method, r.Header.Get("Content-Type"))
	}
	return d, err
}

// target is the request target as next will see it: handlers and proxies go by the
// URL, which somebody before us may have rewritten, and whose path keeps the
// client's spelling.
func target(r *http.Request) string {
	u := r.URL
	if r.Method == http.MethodConnect && u.Path == "" {
		return r.Host // a tunnel to an authority (RFC 9110 section 9.3.6) has no path to judge by
	}
	if u.Opaque != "" {
		return u.Opaque // no path at all; the guest says so
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	if u.RawQuery != "" || u.ForceQuery {
		return path + "?" + u.RawQuery
	}
	return path
}

// forwarded is the request as next sees it. It shares nothing with r that either
// may change, but the body.
func forwarded(r *http.Request, d *verdict.Decision) (*http.Request, error) {
	ctx := r.Context()
	if d.Authenticated {
		ctx = context.WithValue(ctx, principalKey{}, &d.Principal)
	} else if ctx.Value(principalKey{}) != nil { // another Handler's, before us
		ctx = context.WithValue(ctx, principalKey{}, (*verdict.Principal)(nil))
	}
	out := r.WithContext(ctx)
	out.Header = make(http.Header, len(r.Header)+len(d.Set))
	for key, values := range r.Header {
		if !takesAway(d, key) {
			out.Header[key] = values[:len(values):len(values)]
		}
	}
	for _, f := range d.Set {
		out.Header.Add(f.Name, f.Value)
	}
	if len(r.Trailer) != 0 {
		out.Trailer = make(http.Header, len(r.Trailer))
		for key := range r.Trailer {
			if !takesAway(d, key) {
				out.Trailer[key] = nil
			}
		}
		out.Body = &trailerBody{ReadCloser: r.Body, in: r, out: out, decision: d}
	}
	if d.Path != "" {
		u, err := url.ParseRequestURI(d.Path)
		if err != nil {
			return nil, errPath // what it holds is the client's, and no log's
		}
		u.Scheme, u.Host, u.User = r.URL.Scheme, r.URL.Host, r.URL.User
		out.URL, out.RequestURI = u, d.Path
	}
	return out, nil
}

// takesAway says whether a header of the client's must not reach next: the policy
// removes or sets it, and some server behind us would read it as the same name.
func takesAway(d *verdict.Decision, key string) bool {
	for _, name := range d.Remove {
		if sameName(key, name) {
			return true
		}
	}
	for i := range d.Set {
		if sameName(key, d.Set[i].Name) {
			return true
		}
	}
	return false
}

// sameName compares header names without case, and "_" is "-": CGI and its heirs
// write both the same way.
func sameName(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if plain(a[i]) != plain(b[i]) {
			return false
		}
	}
	return true
}

func plain(c byte) byte {
	switch {
	case c >= 'A' && c <= 'Z':
		return c + 'a' - 'A'
	case c == '_':
		return '-'
	}
	return c
}

// trailerBody hands on a request's trailers, which are there once the body was
// read to its end, save those that the policy may set. Trailers that the client
// did not announce arrive in the original request alone and go no further.
type trailerBody struct {
	io.ReadCloser
	in, out  *http.Request
	decision *verdict.Decision
}

func (b *trailerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		for key := range b.out.Trailer {
			b.out.Trailer[key] = b.in.Trailer[key]
		}
	}
	return n, err
}

// refusal is the answer when no guest gave one: what the guest itself answers for
// this Reason under the response profile "problem".
func refusal(method, contentType string) verdict.Decision {
	d := verdict.Decision{Reason: verdict.Internal, Status: http.StatusServiceUnavailable, Headers: []verdict.Field{
		{Name: "content-type", Value: "application/problem+json"},
		{Name: "cache-control", Value: "no-store"},
		{Name: "retry-after", Value: "5"},
	}}
	if strings.HasPrefix(strings.ToLower(contentType), "application/grpc") {
		d.Status = http.StatusOK
		d.Headers = []verdict.Field{
			{Name: "content-type", Value: "application/grpc"},
			{Name: "grpc-status", Value: "14"},
			{Name: "grpc-message", Value: verdict.Internal.Error()},
		}
		return d
	}
	if method != http.MethodHead {
		d.Body = []byte(`{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"internal error","code":"internal"}` + "\n")
	}
	return d
}

// logDecision logs what the policy lets be logged, and refusals by their Reason.
// The path is left out: it may hold a token.
func (h *Host) logDecision(r *http.Request, d *verdict.Decision, err error) {
	if observe, ok := r.Context().Value(observerKey{}).(func(*verdict.Decision, error)); ok {
		observe(d, err)
		return
	}
	level := slog.LevelDebug
	switch {
	case errors.Is(err, context.Canceled): // the client is gone
	case err != nil:
		level = slog.LevelError
	case !d.Forward || len(d.Log) != 0:
		level = slog.LevelInfo
	}
	ctx := r.Context()
	if !h.log.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 4+len(d.Log))
	attrs = append(attrs, slog.Bool("forward", d.Forward), slog.String("reason", d.Reason.String()))
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	for _, f := range d.Log {
		attrs = append(attrs, slog.String("claim."+f.Name, f.Value))
	}
	h.log.LogAttrs(ctx, level, "request", attrs...)
}
