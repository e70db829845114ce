package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"
)

// upstreamFlags say where requests go.
type upstreamFlags struct {
	Upstream        string        `help:"Where requests that pass go: http://HOST:PORT, https://… or h2c://… (HTTP/2 without TLS). No path: rules and upstream see the same one." required:"" placeholder:"URL" env:"SESSIONGATE_UPSTREAM"`
	UpstreamTimeout time.Duration `help:"How long the upstream may take to answer with a response's head; 0 is for ever." default:"60s" env:"SESSIONGATE_UPSTREAM_TIMEOUT"`
	RewriteHost     bool          `help:"Send the upstream's own name in Host. Otherwise the client's is kept." env:"SESSIONGATE_REWRITE_HOST"`
}

func (f *upstreamFlags) url() (*url.URL, error) {
	u, err := url.Parse(f.Upstream)
	const accepted = "accepted: http://HOST[:PORT], https://HOST[:PORT] or h2c://HOST[:PORT]"
	switch {
	case err != nil:
		return nil, usage(fmt.Errorf("--upstream: is no URL; %s", accepted))
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "h2c", u.Host == "", u.Hostname() == "":
		return nil, usage(fmt.Errorf("--upstream: %q names no HTTP server; %s", f.Upstream, accepted))
	case u.User != nil, u.Path != "" && u.Path != "/", u.RawQuery != "", u.Fragment != "":
		return nil, usage(fmt.Errorf("--upstream: has more than a server's address; %s", accepted))
	}
	return u, nil
}

// newProxy forwards requests that have been judged.
func newProxy(f *upstreamFlags, log *slog.Logger) (http.Handler, error) {
	upstream, err := f.url()
	if err != nil {
		return nil, err
	}
	protocols := new(http.Protocols)
	scheme := upstream.Scheme
	switch scheme {
	case "h2c":
		protocols.SetUnencryptedHTTP2(true)
		scheme = "http"
	case "https":
		protocols.SetHTTP2(true)
		fallthrough
	default:
		protocols.SetHTTP1(true)
	}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { rewrite(r, scheme, upstream.Host, f.RewriteHost) },
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    10 * time.Second,
			ResponseHeaderTimeout:  f.UpstreamTimeout,
			ExpectContinueTimeout:  time.Second,
			MaxIdleConnsPerHost:    256,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: 256 << 10,
			DisableCompression:     true, // bodies pass as they are
			Protocols:              protocols,
		},
		FlushInterval: -1, // every part of a stream goes on at once
		ErrorLog:      slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ErrorHandler:  func(w http.ResponseWriter, r *http.Request, err error) { upstreamFailed(w, r, err, log) },
	}, nil
}

// rewrite turns a judged request into the one that the upstream sees.
func rewrite(r *httputil.ProxyRequest, scheme, host string, rewriteHost bool) {
	r.SetXForwarded()
	forwardTrailers(r)
	// The URL as it was judged, in the same spelling; ReverseProxy has taken the
	// parts out of its query that Go would not parse.
	r.Out.URL.RawQuery = r.In.URL.RawQuery
	r.Out.URL.Scheme, r.Out.URL.Host = scheme, host
	if rewriteHost {
		r.Out.Host = ""
	}
}

// overrides are headers by which some servers let a client have another path or
// method than the one in the request line, which is what the policy judged, or
// believe it about where it is.
var overrides = map[string]bool{
	"forwarded": true, "x-real-ip": true, "x-client-ip": true, "true-client-ip": true, "x-cluster-client-ip": true,
	"x-original-url": true, "x-original-uri": true, "x-original-host": true, "x-original-method": true,
	"x-rewrite-url": true, "x-http-method": true, "x-http-method-override": true, "x-method-override": true,
}

// withoutOverrides takes away what only a proxy may say before the request is
// judged: what the policy sets afterwards, such as x-forwarded-user, stays.
func withoutOverrides(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		dropOverrides(r.Header)
		next.ServeHTTP(w, r)
	})
}

// dropOverrides does it in every spelling that a careless server would take for one.
func dropOverrides(h http.Header) {
	for name := range h {
		plain := strings.ReplaceAll(strings.ToLower(name), "_", "-")
		if overrides[plain] || strings.HasPrefix(plain, "x-forwarded-") {
			delete(h, name)
		}
	}
}

// forwardTrailers lets announced request trailers through. They arrive when the body
// has ended, and the outgoing request has its own map of them.
func forwardTrailers(r *httputil.ProxyRequest) {
	if len(r.In.Trailer) == 0 || r.Out.Body == nil {
		return
	}
	r.Out.Trailer = make(http.Header, len(r.In.Trailer))
	for name := range r.In.Trailer {
		r.Out.Trailer[name] = nil
	}
	dropOverrides(r.Out.Trailer)
	if len(r.Out.Trailer) == 0 {
		r.Out.Trailer = nil
		return
	}
	r.Out.Body = &trailerBody{r.Out.Body, r.In, r.Out}
}

type trailerBody struct {
	io.ReadCloser
	in, out *http.Request
}

func (b *trailerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		for name := range b.out.Trailer {
			b.out.Trailer[name] = b.in.Trailer[name]
		}
	}
	return n, err
}

// upstreamFailed answers in place of an upstream that did not.
func upstreamFailed(w http.ResponseWriter, r *http.Request, err error, log *slog.Logger) {
	var network net.Error
	switch {
	case clientTooSlow(r):
		problem(w, http.StatusRequestTimeout, "request_timeout", "the request's body did not arrive in time")
	case r.Context().Err() != nil && !errors.Is(err, context.DeadlineExceeded):
		// The client has left; nobody reads this. The status is for the access log.
		w.WriteHeader(statusClientClosed)
		return
	case errors.As(err, &network) && network.Timeout():
		log.Warn("upstream timed out", "error", err)
		problem(w, http.StatusGatewayTimeout, "upstream_timeout", "the server behind this gateway did not answer in time")
	default:
		log.Warn("upstream failed", "error", err)
		problem(w, http.StatusBadGateway, "upstream_failed", "the server behind this gateway could not be reached")
	}
}

// statusClientClosed is what access logs commonly write for a client that left
// before its answer was there.
const statusClientClosed = 499

// problem writes problem details (RFC 9457) that are not about a token.
func problem(w http.ResponseWriter, status int, code, detail string) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct { // a client that is gone gets no answer
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
		Code   string `json:"code"`
	}{"about:blank", http.StatusText(status), status, detail, code})
}
