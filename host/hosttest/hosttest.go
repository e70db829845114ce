// Package hosttest helps to test programs that use package host: an issuer on a
// loopback address that mints tokens, serves its keys, rotates them and goes down
// when told to.
//
//	issuer := hosttest.NewIssuer(t)
//	h, err := host.New(ctx, host.Config{Module: core, Policy: issuer.Policy()})
//	…
//	token := issuer.Mint(map[string]any{"sub": "user_1"})
package hosttest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Audience is the aud and azp of minted tokens, and the audience of Policy.
const Audience = "test"

// Issuer is an issuer for tests. It is safe for concurrent use.
type Issuer struct {
	t      testing.TB
	server *httptest.Server
	now    func() time.Time

	mu      sync.Mutex
	keys    []key // the last one signs
	made    int
	down    bool
	maxAge  time.Duration
	fetches int
}

type key struct {
	id        string
	algorithm string
	signer    crypto.Signer
}

// NewIssuer starts an issuer with one ES256 key. It ends with the test.
func NewIssuer(t testing.TB) *Issuer {
	t.Helper()
	i := &Issuer{t: t, now: time.Now, maxAge: time.Second}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/jwks.json", i.serveKeys)
	mux.HandleFunc("GET /.well-known/openid-configuration", i.serveMetadata)
	i.server = httptest.NewServer(mux)
	t.Cleanup(i.server.Close)
	i.Rotate("ES256")
	return i
}

// URL is the issuer's name, the iss of its tokens.
func (i *Issuer) URL() string { return i.server.URL }

// JWKSURL is where its keys are.
func (i *Issuer) JWKSURL() string { return i.server.URL + "/.well-known/jwks.json" }

// DiscoveryURL is where its metadata are.
func (i *Issuer) DiscoveryURL() string { return i.server.URL + "/.well-known/openid-configuration" }

// SetNow makes the issuer mint tokens at another time.
func (i *Issuer) SetNow(now func() time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.now = now
}

// SetMaxAge sets how long answers may be cached; at first it is one second.
func (i *Issuer) SetMaxAge(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.maxAge = d
}

// SetDown makes every answer a 503, until it is called with false.
func (i *Issuer) SetDown(down bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = down
}

// Fetches is how often the keys were asked for, outages included.
func (i *Issuer) Fetches() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches
}

// Rotate adds a key, which signs from now on, and returns its kid. The algorithm is
// ES256, ES384, RS256, PS256 or EdDSA. Older keys stay published.
func (i *Issuer) Rotate(algorithm string) string {
	i.t.Helper()
	var signer crypto.Signer
	var err error
	switch algorithm {
	case "ES256":
		signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		signer, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "RS256", "PS256":
		signer, err = rsa.GenerateKey(rand.Reader, 2048)
	case "EdDSA":
		_, signer, err = ed25519.GenerateKey(rand.Reader)
	default:
		i.t.Fatalf("hosttest: no key for algorithm %q", algorithm)
	}
	if err != nil {
		i.t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.made++
	id := fmt.Sprintf("key-%d", i.made)
	i.keys = append(i.keys, key{id, algorithm, signer})
	return id
}

// Withdraw publishes the newest key alone.
func (i *Issuer) Withdraw() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = i.keys[len(i.keys)-1:]
}

// Policy is a policy document for which this issuer's tokens are good on every
// path: ES256 and the algorithms that Rotate was given, dialect own, keys from JWKSURL.
func (i *Issuer) Policy() []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	algorithms := []string{}
	for _, k := range i.keys {
		algorithms = append(algorithms, k.algorithm)
	}
	return i.marshal(map[string]any{"version": 1, "policy": map[string]any{
		"issuers": []any{map[string]any{
			"issuer": i.URL(), "dialect": "own", "algorithms": unique(append(algorithms, "ES256")),
			"audience": []string{Audience}, "jwks_uri": i.JWKSURL(), "cooldown": 1,
		}},
		"rules":            []any{map[string]any{"path_prefix": "/"}},
		"identity_headers": map[string]any{"x-user-id": "subject"},
	}})
}

func unique(list []string) []string {
	seen := map[string]bool{}
	var out []string
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}

// Mint signs a token with the newest key. Its claims are those of an ordinary
// session of ten minutes, each replaced by the one of the same name in claims; a
// nil value leaves it out.
func (i *Issuer) Mint(claims map[string]any) string {
	i.t.Helper()
	i.mu.Lock()
	k, now := i.keys[len(i.keys)-1], i.now().Unix()
	i.mu.Unlock()
	all := map[string]any{
		"iss": i.URL(), "aud": []string{Audience}, "azp": Audience, "client_id": Audience, "sub": "user_1", "sid": "ses_1",
		"jti": rand.Text(), "iat": now, "nbf": now, "exp": now + 600, "session_type": "sess",
	}
	maps.Copy(all, claims)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	return i.sign(k, map[string]any{"typ": "at+jwt", "alg": k.algorithm, "kid": k.id}, i.marshal(all))
}

// MintWithHeader is Mint with members of the JOSE header replaced or added. What
// alg says there does not change how the token is signed.
func (i *Issuer) MintWithHeader(header, claims map[string]any) string {
	i.t.Helper()
	token := i.Mint(claims)
	i.mu.Lock()
	k := i.keys[len(i.keys)-1]
	i.mu.Unlock()
	all := map[string]any{"typ": "at+jwt", "alg": k.algorithm, "kid": k.id}
	maps.Copy(all, header)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	body, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		i.t.Fatal(err)
	}
	return i.sign(k, all, body)
}

func (i *Issuer) sign(k key, header map[string]any, payload []byte) string {
	i.t.Helper()
	input := b64(i.marshal(header)) + "." + b64(payload)
	digest, hash := sha256.Sum256([]byte(input)), crypto.Hash(crypto.SHA256)
	var signature []byte
	var err error
	switch signer := k.signer.(type) {
	case *ecdsa.PrivateKey:
		sum := digest[:]
		if k.algorithm == "ES384" {
			hash = crypto.SHA384
			h := hash.New()
			h.Write([]byte(input))
			sum = h.Sum(nil)
		}
		r, s, fault := ecdsa.Sign(rand.Reader, signer, sum)
		if err = fault; err == nil {
			size := (signer.Params().BitSize + 7) / 8
			signature = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
		}
	case *rsa.PrivateKey:
		if k.algorithm == "PS256" {
			signature, err = rsa.SignPSS(rand.Reader, signer, hash, digest[:], &rsa.PSSOptions{SaltLength: hash.Size()})
		} else {
			signature, err = rsa.SignPKCS1v15(nil, signer, hash, digest[:])
		}
	case ed25519.PrivateKey:
		signature = ed25519.Sign(signer, []byte(input))
	}
	if err != nil {
		i.t.Fatal(err)
	}
	return input + "." + b64(signature)
}

// KeySet is the document at JWKSURL.
func (i *Issuer) KeySet() []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	list := []any{}
	for _, k := range i.keys {
		m := map[string]string{"kid": k.id, "alg": k.algorithm, "use": "sig"}
		switch public := k.signer.Public().(type) {
		case *ecdsa.PublicKey:
			point, err := public.Bytes()
			if err != nil {
				i.t.Error(err)
			}
			half := (len(point) - 1) / 2
			m["kty"], m["crv"] = "EC", public.Params().Name
			m["x"], m["y"] = b64(point[1:1+half]), b64(point[1+half:])
		case *rsa.PublicKey:
			e := binary.BigEndian.AppendUint32(nil, uint32(public.E))
			for e[0] == 0 {
				e = e[1:]
			}
			m["kty"], m["n"], m["e"] = "RSA", b64(public.N.Bytes()), b64(e)
		case ed25519.PublicKey:
			m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", b64(public)
		}
		list = append(list, m)
	}
	return i.marshal(map[string]any{"keys": list})
}

func (i *Issuer) serveKeys(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	down, maxAge := i.down, i.maxAge
	i.fetches++
	i.mu.Unlock()
	if down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	document := i.KeySet()
	sum := sha256.Sum256(document)
	tag := `"` + b64(sum[:12]) + `"`
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(maxAge.Seconds())))
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	_, _ = w.Write(document)
}

func (i *Issuer) serveMetadata(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	down := i.down
	i.mu.Unlock()
	if down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(i.marshal(map[string]any{"issuer": i.URL(), "jwks_uri": i.JWKSURL()}))
}

func (i *Issuer) marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		i.t.Error(err)
	}
	return b
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
