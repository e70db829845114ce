// Package keyfetch carries out the orders of jwks.Refresh: it gets key sets from
// URLs, from the metadata of issuers and from files.
package keyfetch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"sessiongate/jwks"
)

// Bounds of a fetch.
const (
	timeout     = 5 * time.Second
	largestBody = 1 << 20
	rediscover  = time.Hour // how long a jwks_uri from an issuer's metadata is used without asking again
)

// FileInterval is how many milliseconds pass between two looks at a file.
const FileInterval = 1000

var errTooLarge = errors.New("answer is over 1 MiB")

// Fetcher carries out an order. The error says why an answer is jwks.FetchFailed,
// and holds nothing of what the other side wrote. A Fetcher is for one goroutine.
type Fetcher interface {
	Fetch(ctx context.Context, o jwks.Order) (jwks.Answer, error)
}

// CheckURL accepts https, and http to this machine alone.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil:
		return errors.New("is no URL from which keys can be fetched; accepted: https, or http to a loopback address")
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	}
	return errors.New("is not https; http is accepted to a loopback address or localhost alone")
}

func isLoopback(name string) bool {
	if strings.EqualFold(name, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(name)
	return err == nil && a.Unmap().IsLoopback()
}

// NewTransport returns a transport that heeds the environment's proxies, and dials
// plain http to loopback addresses alone: localhost is a name, and names resolve to
// what somebody else says.
func NewTransport() *Transport {
	secure := http.DefaultTransport.(*http.Transport).Clone()
	secure.ResponseHeaderTimeout = timeout
	plain := secure.Clone()
	plain.Proxy = nil
	dialer := net.Dialer{Timeout: timeout, Control: func(_, address string, _ syscall.RawConn) error {
		if a, err := netip.ParseAddrPort(address); err != nil || !a.Addr().Unmap().IsLoopback() {
			return errors.New("http to an address that is not loopback")
		}
		return nil
	}}
	plain.DialContext = dialer.DialContext
	return &Transport{secure: secure, plain: plain}
}

// Transport keeps http at home: see NewTransport.
type Transport struct{ secure, plain *http.Transport }

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme == "http" {
		return t.plain.RoundTrip(r)
	}
	return t.secure.RoundTrip(r)
}

// Close closes the connections that are idle.
func (t *Transport) Close() {
	t.secure.CloseIdleConnections()
	t.plain.CloseIdleConnections()
}

// NewClient returns a client that follows no redirect and gives up after 5 seconds.
func NewClient(t http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     t,
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// get fetches one document.
func get(ctx context.Context, client *http.Client, uri, accept, etag string) (*http.Response, []byte, error) {
	if err := CheckURL(uri); err != nil {
		return nil, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", "sessiongate")
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, largestBody+1))
	switch {
	case err != nil:
		return nil, nil, err
	case len(body) > largestBody:
		return nil, nil, errTooLarge
	}
	return resp, body, nil
}

type uriFetcher struct {
	client *http.Client
	uri    string
}

// URI fetches a JWK Set from a URL.
func URI(client *http.Client, uri string) Fetcher { return &uriFetcher{client, uri} }

func (f *uriFetcher) Fetch(ctx context.Context, o jwks.Order) (jwks.Answer, error) {
	resp, body, err := get(ctx, f.client, f.uri, "application/jwk-set+json, application/json", o.IfNoneMatch)
	if err != nil {
		return jwks.Answer{}, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return jwks.Answer{Status: jwks.Fetched, Document: body, ETag: resp.Header.Get("ETag"), Lifetime: lifetime(resp.Header)}, nil
	case http.StatusNotModified:
		return jwks.Answer{Status: jwks.NotModified, Lifetime: lifetime(resp.Header)}, nil
	}
	return jwks.Answer{}, fmt.Errorf("%s answers with status %d", f.uri, resp.StatusCode)
}

// lifetime is how many milliseconds an answer may be cached; negative if it does not say.
func lifetime(h http.Header) int64 {
	return jwks.Lifetime(strings.Join(h.Values("Cache-Control"), ","), h.Get("Age"))
}

// Discovery finds the URL of the JWK Set in the issuer's metadata (OpenID
// Connect Discovery 1.0 section 4, RFC 8414 section 3), and asks anew after a
// failure and every hour. The metadata have to name the issuer, unless that is "".
func Discovery(client *http.Client, metadata, issuer string) Fetcher {
	return &discoveryFetcher{client: client, metadata: metadata, issuer: issuer}
}

type discoveryFetcher struct {
	client   *http.Client
	metadata string
	issuer   string

	uri   string
	found time.Time
}

func (f *discoveryFetcher) Fetch(ctx context.Context, o jwks.Order) (jwks.Answer, error) {
	if f.uri == "" || time.Since(f.found) > rediscover {
		uri, err := f.discover(ctx)
		if err != nil {
			return jwks.Answer{}, err
		}
		if uri != f.uri {
			o.IfNoneMatch = "" // another place's tag
		}
		f.uri, f.found = uri, time.Now()
	}
	a, err := (&uriFetcher{f.client, f.uri}).Fetch(ctx, o)
	if err != nil {
		f.found = time.Time{}
	}
	return a, err
}

func (f *discoveryFetcher) discover(ctx context.Context) (string, error) {
	resp, body, err := get(ctx, f.client, f.metadata, "application/json", "")
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers with status %d", f.metadata, resp.StatusCode)
	}
	var m map[string]json.RawMessage // a struct would match member names in any case
	var issuer, uri string
	if json.Unmarshal(body, &m) != nil || json.Unmarshal(m["issuer"], &issuer) != nil || json.Unmarshal(m["jwks_uri"], &uri) != nil {
		return "", fmt.Errorf("%s is no issuer metadata with issuer and jwks_uri", f.metadata)
	}
	if f.issuer != "" && issuer != f.issuer {
		return "", fmt.Errorf("%s speaks for another issuer", f.metadata)
	}
	if err := CheckURL(uri); err != nil {
		return "", fmt.Errorf("jwks_uri in %s %w", f.metadata, err)
	}
	return uri, nil
}
