package filter_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sessiongate/verdict"
	"sessiongate/verifier/filter"
	"sessiongate/verifier/policy"
)

const (
	issuer = "https://issuer.example"
	now    = int64(1_800_000_000_000)
)

var secret = bytes.Repeat([]byte("k"), 32)

// newPolicy parses a policy whose members are those given, beside one issuer with
// a symmetric key.
func newPolicy(t testing.TB, members string) *policy.Policy {
	t.Helper()
	if members != "" {
		members = ",\n" + members
	}
	p, err := policy.Parse([]byte(`{"version": 1, "policy": {
		"issuers": [{"issuer": "`+issuer+`", "dialect": "own", "algorithms": ["HS256"], "audience": ["api"]}]`+members+`},
		"host": {"go": {"secrets": {"`+issuer+`": "`+encode(secret)+`"}}}}`), "go")
	require.NoError(t, err)
	return p
}

func newFilter(t testing.TB, members string) *filter.Filter {
	t.Helper()
	f, err := filter.New(newPolicy(t, members))
	require.NoError(t, err)
	return f
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

type claims = map[string]any

// mint makes a token with good claims, changed by those given; nil removes one.
func mint(t testing.TB, change claims) string {
	t.Helper()
	body := encode(mustJSON(t, tokenClaims(change)))
	return signHS(encode([]byte(`{"alg":"HS256","typ":"at+jwt"}`)) + "." + body)
}

func signHS(input string) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + encode(mac.Sum(nil))
}

func tokenClaims(change claims) claims {
	c := claims{
		"iss": issuer, "sub": "user_1", "aud": []string{"api"}, "client_id": "web", "azp": "web", "sid": "sess_1", "jti": "t1",
		"iat": now/1000 - 10, "nbf": now/1000 - 10, "exp": now/1000 + 300, "session_type": "sess", "tenant_id": "t1",
		"roles": []string{"admin", "dev"}, "permissions": []string{"read", "write"}, "acr": "aal1", "auth_time": now/1000 - 60,
	}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return b
}

// edKey is a key of its own for the tests of key sets.
func edKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32))
}

func jwkSet(t testing.TB, kid string, key ed25519.PrivateKey) []byte {
	t.Helper()
	return mustJSON(t, claims{"keys": []claims{{"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": encode(key.Public().(ed25519.PublicKey))}}})
}

func mintEd(t testing.TB, kid string, key ed25519.PrivateKey, change claims) string {
	t.Helper()
	return signEd(t, claims{"kid": kid}, change, key)
}

// request makes a GET, or what stands before the path, with header lines
// "Name: value".
func request(target string, headers ...string) *filter.Request {
	req := &filter.Request{Method: "GET", Scheme: "https", Host: "api.example", Path: target}
	if method, path, ok := strings.Cut(target, " /"); ok && method != "" && method[0] != '/' {
		req.Method, req.Path = method, "/"+path
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Headers = append(req.Headers, verdict.Field{Name: strings.ToLower(name), Value: value})
	}
	return req
}

func field(fields []verdict.Field, name string) (value string, ok bool) {
	for _, f := range fields {
		if f.Name == name {
			return f.Value, true
		}
	}
	return "", false
}

// newPolicyOf parses a policy with the given issuers and one rule for every path.
func newPolicyOf(t testing.TB, issuers string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse([]byte(`{"version": 1, "policy": {"issuers": [`+issuers+`], "rules": [{"path_prefix": "/"}]}}`), "go")
	require.NoError(t, err)
	return p
}

// signEd makes a token with an Ed25519 key and a changed header.
func signEd(t testing.TB, header, change claims, key ed25519.PrivateKey) string {
	t.Helper()
	h := claims{"alg": "EdDSA", "typ": "at+jwt", "kid": "a"}
	maps.Copy(h, header)
	input := encode(mustJSON(t, h)) + "." + encode(mustJSON(t, tokenClaims(change)))
	return input + "." + encode(ed25519.Sign(key, []byte(input)))
}
