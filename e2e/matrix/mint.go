package matrix

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // crypto.Hash
	_ "crypto/sha512" // crypto.Hash
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"time"
)

type object = map[string]any

// Names of issuers.
const (
	own       = "https://own.example"
	clerk     = "https://clerk.example"
	kratos    = "https://kratos.example"
	login     = "https://login.example" // dialect jwt
	internal  = "https://internal.example"
	down      = "https://down.example"  // whose keys are never to be had
	aging     = "https://aging.example" // whose keys nobody confirms any more
	stranger  = "https://stranger.example"
	audience  = "api"
	party     = "web"
	rsaKey    = "rsa"
	wellKnown = "/.well-known/openid-configuration"
)

// keyring has a key for each kid: a curve's own, and one of RSA for all its algorithms.
type keyring struct {
	secret []byte // of the symmetric issuer
	keys   map[string]crypto.Signer
}

func newKeyring() (*keyring, error) {
	k := &keyring{secret: make([]byte, 64), keys: map[string]crypto.Signer{}}
	_, _ = rand.Read(k.secret)
	for kid, curve := range map[string]elliptic.Curve{
		"ES256": elliptic.P256(), "ES256-2": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521(), "unpublished": elliptic.P256(),
	} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			return nil, err
		}
		k.keys[kid] = key
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	k.keys[rsaKey] = key
	_, k.keys["EdDSA"], err = ed25519.GenerateKey(rand.Reader)
	return k, err
}

// set is a JWK Set of some keys.
func (k *keyring) set(kids ...string) object {
	list := []any{}
	for _, kid := range kids {
		m := object{"kid": kid, "use": "sig"}
		switch public := k.keys[kid].Public().(type) {
		case *ecdsa.PublicKey:
			point, err := public.Bytes()
			if err != nil {
				panic(err)
			}
			half := (len(point) - 1) / 2
			m["kty"], m["crv"], m["x"], m["y"] = "EC", public.Params().Name, b64(point[1:1+half]), b64(point[1+half:])
		case *rsa.PublicKey:
			m["kty"], m["n"], m["e"] = "RSA", b64(public.N.Bytes()), b64(big.NewInt(int64(public.E)).Bytes())
		case ed25519.PublicKey:
			m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", b64(public)
		}
		list = append(list, m)
	}
	return object{"keys": list}
}

// token is a token to be made: the issuer's ordinary one, with members changed. A nil
// member is left out.
type token struct {
	issuer string
	alg    string // "" is ES256
	kid    string // "": the one for alg
	header object
	claims object
}

func (k *keyring) mint(t token) string {
	if t.issuer == "" {
		t.issuer = own
	}
	if t.alg == "" {
		t.alg = "ES256"
		if t.issuer == clerk || t.issuer == login {
			t.alg = "RS256"
		}
	}
	if t.kid == "" {
		t.kid = t.alg
		if strings.HasPrefix(t.alg, "RS") || strings.HasPrefix(t.alg, "PS") {
			t.kid = rsaKey
		}
	}
	header := object{"alg": t.alg, "kid": t.kid, "typ": "JWT"}
	if t.issuer == own || t.issuer == down || t.issuer == aging || t.issuer == stranger {
		header["typ"] = "at+jwt"
	}
	if strings.HasPrefix(t.alg, "HS") {
		delete(header, "kid")
	}
	now := time.Now().Unix()
	claims := object{"iss": t.issuer, "sub": "user_1", "sid": "ses_1", "jti": rand.Text(), "iat": now, "nbf": now, "exp": now + 1800}
	switch t.issuer {
	case own, down, aging, stranger:
		maps.Copy(claims, object{"aud": []string{audience}, "azp": party, "client_id": party, "session_type": "sess"})
	case clerk:
		claims["azp"] = party
	default:
		claims["aud"] = audience
	}
	for from, to := range map[*object]object{&t.header: header, &t.claims: claims} {
		maps.Copy(to, *from)
		maps.DeleteFunc(to, func(_ string, v any) bool { return v == nil })
	}
	input := b64(marshal(header)) + "." + b64(marshal(claims))
	return input + "." + b64(k.sign(t.alg, t.kid, input))
}

func (k *keyring) sign(alg, kid, input string) []byte {
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[alg[2:]]
	if strings.HasPrefix(alg, "HS") {
		mac := hmac.New(hash.New, k.secret)
		mac.Write([]byte(input))
		return mac.Sum(nil)
	}
	digest, options := []byte(input), crypto.SignerOpts(crypto.Hash(0))
	if alg != "EdDSA" {
		h := hash.New()
		h.Write([]byte(input))
		digest, options = h.Sum(nil), hash
	}
	if strings.HasPrefix(alg, "PS") {
		options = &rsa.PSSOptions{SaltLength: hash.Size(), Hash: hash}
	}
	if key, ok := k.keys[kid].(*ecdsa.PrivateKey); ok {
		r, s, err := ecdsa.Sign(rand.Reader, key, digest)
		if err != nil {
			panic(err)
		}
		size := (key.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	}
	signature, err := k.keys[kid].Sign(rand.Reader, digest, options)
	if err != nil {
		panic(fmt.Errorf("%s with %s: %w", alg, kid, err))
	}
	return signature
}

// tamper turns a bit of a signature.
func tamper(jws string) string {
	i := strings.LastIndexByte(jws, '.') + 1
	c := byte('A')
	if jws[i] == 'A' {
		c = 'B'
	}
	return jws[:i] + string(c) + jws[i+1:]
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
