package api

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"sessiongate/issuer"
)

// Where the public listener publishes.
const (
	JWKSPath      = "/.well-known/jwks.json"
	DiscoveryPath = "/.well-known/openid-configuration"
)

// public serves verifiers and browsers.
type public struct {
	iss *issuer.Issuer
	url string // of this listener as verifiers see it
}

// Public is the public listener's handler. url is where verifiers reach it,
// without a slash at the end; jwks_uri is made of it.
//
//	GET  /.well-known/jwks.json
//	GET  /.well-known/openid-configuration
//	POST /v1/token                           Authorization: Bearer sgs_…
func Public(iss *issuer.Issuer, url string) http.Handler {
	p := &public{iss, strings.TrimSuffix(url, "/")}
	mux := http.NewServeMux()
	for path, m := range map[string]methods{
		JWKSPath:      {http.MethodGet: p.jwks, http.MethodOptions: p.preflight},
		DiscoveryPath: {http.MethodGet: p.discovery, http.MethodOptions: p.preflight},
		"/v1/token":   {http.MethodPost: p.token},
		"/":           nil,
	} {
		mux.Handle(path, p.route(path, m))
	}
	return mux
}

func (p *public) route(path string, m methods) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(path, "/.well-known/") {
			w.Header().Set("Access-Control-Allow-Origin", "*") // errors too: a page shall see what is wrong
		}
		err := refused(http.StatusNotFound, "not_found", "there is nothing here")
		if m != nil {
			err = m.serve(w, r)
		}
		if err != nil {
			out := problemOf(err, p.iss.Logger(), r)
			if out.Status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Bearer realm="sessiongate", error="invalid_token"`)
			}
			writeProblem(w, out)
		}
	})
}

func (p *public) preflight(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Access-Control-Allow-Methods", "GET, HEAD")
	w.Header().Set("Access-Control-Allow-Headers", "*")
	w.Header().Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// cacheControl never lets a cache answer with an old copy by itself: a verifier
// knows better for how long it may go on with the one that it has.
func cacheControl(w http.ResponseWriter, maxAge time.Duration) {
	w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d, must-revalidate", int(maxAge/time.Second)))
}

func (p *public) jwks(w http.ResponseWriter, r *http.Request) error {
	doc, etag, maxAge := p.iss.JWKS()
	cacheControl(w, maxAge)
	w.Header().Set("ETag", etag)
	if matches(r.Header.Values("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Write(doc)
	return nil
}

func matches(fields []string, etag string) bool {
	for _, field := range fields {
		for tag := range strings.SplitSeq(field, ",") {
			if tag = strings.TrimSpace(tag); tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
				return true
			}
		}
	}
	return false
}

// Discovery is the document at DiscoveryPath (OpenID Connect Discovery, RFC 8414):
// enough to find the keys.
type Discovery struct {
	Issuer        string   `json:"issuer"`
	JWKSURI       string   `json:"jwks_uri"`
	Algorithms    []string `json:"id_token_signing_alg_values_supported"`
	SubjectTypes  []string `json:"subject_types_supported"`
	ResponseTypes []string `json:"response_types_supported"`
}

func (p *public) discovery(w http.ResponseWriter, r *http.Request) error {
	s := p.iss.Settings()
	_, _, maxAge := p.iss.JWKS()
	cacheControl(w, maxAge)
	write(w, http.StatusOK, Discovery{
		Issuer: s.Issuer, JWKSURI: p.url + JWKSPath, Algorithms: s.Algorithms, SubjectTypes: []string{"public"}, ResponseTypes: []string{},
	})
	return nil
}

// token mints a token for whoever holds a session's credential.
func (p *public) token(w http.ResponseWriter, r *http.Request) error {
	credential := bearer(r)
	if credential == "" {
		return refused(http.StatusUnauthorized, string(issuer.BadSession), "Authorization must be Bearer and a session token (sgs_…)")
	}
	var b TokenBody
	if err := read(w, r, &b); err != nil {
		return err
	}
	req, err := b.request()
	if err != nil {
		return err
	}
	t, err := p.iss.MintFor(r.Context(), credential, req)
	if err != nil {
		return err
	}
	write(w, http.StatusOK, tokenOf(t))
	return nil
}

func (b TokenBody) request() (issuer.TokenRequest, error) {
	ttl, err := lifetime(b.TTL)
	return issuer.TokenRequest{Audience: b.Audience, TTL: ttl, Party: b.Party, Algorithm: b.Algorithm}, err
}

// lifetime tells 0, which is no lifetime, from a member that is left out.
func lifetime(seconds *int64) (time.Duration, error) {
	const most = 1 << 33 // far beyond every bound, far below overflow
	switch {
	case seconds == nil:
		return 0, nil
	case *seconds < 1 || *seconds > most:
		return 0, issuer.Faults{{Field: "ttl", Problem: "must be a number of seconds, at least 1 and not over the issuer's bound"}}
	}
	return time.Duration(*seconds) * time.Second, nil
}

func tokenOf(t issuer.Token) Token {
	return Token{Token: t.Compact, TokenType: "Bearer", ExpiresIn: int64(t.ExpiresIn / time.Second), ExpiresAt: t.ExpiresAt, SessionID: t.SessionID}
}
