package cases

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"

	_ "crypto/sha512" // for crypto.SHA384 and crypto.SHA512
)

// JSON is an object under construction.
type JSON = map[string]any

// absent takes a member away in a list of changes.
var absent = struct{ absent bool }{true}

// Key is a signing key of the tests. It is derived from its name, so it is the
// same in every run and nobody's secret.
type Key struct {
	Name   string
	Alg    string // the algorithm that it signs with unless told otherwise
	signer crypto.Signer
	secret []byte
}

// The keys of the cases. Those with a B are of the same kind as their namesake.
var (
	ES256   = ecKey("es256", "ES256", elliptic.P256())
	ES256B  = ecKey("es256-b", "ES256", elliptic.P256())
	ES384   = ecKey("es384", "ES384", elliptic.P384())
	ES512   = ecKey("es512", "ES512", elliptic.P521())
	RSA     = rsaKey("rsa", "RS256", 2048, 489, 503)
	RSAB    = rsaKey("rsa-b", "RS256", 2048, 103, 215)
	Ed25519 = edKey("ed25519", "EdDSA")
	Secret  = &Key{Name: "secret", Alg: "HS256", secret: stream("secret", 64)}
)

// stream is n bytes that only depend on the label.
func stream(label string, n int) []byte {
	var b []byte
	for i := uint32(0); len(b) < n; i++ {
		h := sha256.Sum256(binary.BigEndian.AppendUint32([]byte("sessiongate test key "+label+" "), i))
		b = append(b, h[:]...)
	}
	return b[:n]
}

func ecKey(name, alg string, curve elliptic.Curve) *Key {
	n := curve.Params().N
	d := new(big.Int).SetBytes(stream(name, 80))
	d.Mod(d, new(big.Int).Sub(n, big.NewInt(1))).Add(d, big.NewInt(1))
	key, err := ecdsa.ParseRawPrivateKey(curve, d.FillBytes(make([]byte, (n.BitLen()+7)/8)))
	return &Key{Name: name, Alg: alg, signer: must(key, err)}
}

// NewES512 makes one more P-521 key.
func NewES512(name string) *Key { return ecKey(name, "ES512", elliptic.P521()) }

func edKey(name, alg string) *Key {
	return &Key{Name: name, Alg: alg, signer: ed25519.NewKeyFromSeed(stream(name, ed25519.SeedSize))}
}

// rsaKey makes a key of two primes, each so many odd numbers above a start that
// the name gives. Prime finds the distances; kept in the source they save the
// search in every run, and there is no private key to be seen.
func rsaKey(name, alg string, bits int, p, q int64) *Key {
	var primes []*big.Int
	for i, distance := range []int64{p, q} {
		primes = append(primes, new(big.Int).Add(primeStart(name, bits, i), big.NewInt(2*distance)))
	}
	e := big.NewInt(65537)
	one := big.NewInt(1)
	phi := new(big.Int).Mul(new(big.Int).Sub(primes[0], one), new(big.Int).Sub(primes[1], one))
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: new(big.Int).Mul(primes[0], primes[1]), E: 65537},
		D:         new(big.Int).ModInverse(e, phi),
		Primes:    primes,
	}
	key.Precompute()
	return &Key{Name: name, Alg: alg, signer: key}
}

// primeStart is an odd number with its two highest bits set, so that the product
// of two has all the bits wanted.
func primeStart(name string, bits, index int) *big.Int {
	n := new(big.Int).SetBytes(stream(fmt.Sprintf("%s prime %d", name, index), bits/16))
	n.SetBit(n, bits/2-1, 1)
	n.SetBit(n, bits/2-2, 1)
	return n.SetBit(n, 0, 1)
}

// PrimeDistance finds what rsaKey wants to be told.
func PrimeDistance(name string, bits, index int) int64 {
	n := primeStart(name, bits, index)
	e := big.NewInt(65537)
	for d := int64(0); ; d++ {
		less := new(big.Int).Sub(n, big.NewInt(1))
		if n.ProbablyPrime(20) && new(big.Int).GCD(nil, nil, less, e).Cmp(big.NewInt(1)) == 0 {
			return d
		}
		n.Add(n, big.NewInt(2))
	}
}

// Public is the key's public half; nil for a secret.
func (k *Key) Public() crypto.PublicKey {
	if k.signer == nil {
		return nil
	}
	return k.signer.Public()
}

// Algorithms lists what the key can sign with.
func (k *Key) Algorithms() []string {
	switch k.Public().(type) {
	case *rsa.PublicKey:
		return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	case nil:
		return []string{"HS256", "HS384", "HS512"}
	}
	return []string{k.Alg}
}

// Private is the key's private half; nil for a secret.
func (k *Key) Private() crypto.Signer { return k.signer }

// Bytes is the secret of a symmetric key.
func (k *Key) Bytes() []byte { return bytes.Clone(k.secret) }

// JWK is the key's public half as a JWK (RFC 7517) with its name as kid, after
// changes in pairs of member and value.
func (k *Key) JWK(changes ...any) string {
	jwk := JSON{"kid": k.Name}
	switch pub := k.Public().(type) {
	case *ecdsa.PublicKey:
		point := must(pub.Bytes())[1:]
		jwk["kty"], jwk["crv"] = "EC", pub.Curve.Params().Name
		jwk["x"], jwk["y"] = encode(point[:len(point)/2]), encode(point[len(point)/2:])
	case *rsa.PublicKey:
		jwk["kty"], jwk["n"], jwk["e"] = "RSA", encode(pub.N.Bytes()), encode(big.NewInt(int64(pub.E)).Bytes())
	case ed25519.PublicKey:
		jwk["kty"], jwk["crv"], jwk["x"] = "OKP", "Ed25519", encode(pub)
	default:
		jwk["kty"], jwk["k"] = "oct", encode(k.secret)
	}
	return text(with(jwk, changes...))
}

// Set is a JWK Set of JWKs.
func Set(jwk ...string) string { return `{"keys":[` + strings.Join(jwk, ",") + `]}` }

// Sign signs under an algorithm of RFC 7518 or 8037. The same input gives the
// same signature: ECDSA as RFC 6979 has it, PSS with a salt made from the input.
func (k *Key) Sign(alg string, input []byte) []byte {
	if alg == "EdDSA" || alg == "Ed25519" {
		return must(k.signer.Sign(nil, input, crypto.Hash(0)))
	}
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[alg[2:]]
	h := hash.New()
	h.Write(input)
	digest := h.Sum(nil)
	switch alg[:2] {
	case "HS":
		mac := hmac.New(hash.New, k.secret)
		mac.Write(input)
		return mac.Sum(nil)
	case "RS":
		return must(k.signer.Sign(nil, digest, hash))
	case "PS":
		salt := bytes.NewReader(stream("salt "+string(digest), hash.Size()))
		return must(rsa.SignPSS(salt, k.signer.(*rsa.PrivateKey), hash, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}))
	}
	var sig struct{ R, S *big.Int }
	must(asn1.Unmarshal(must(k.signer.Sign(nil, digest, hash)), &sig))
	n := (k.Public().(*ecdsa.PublicKey).Params().BitSize + 7) / 8
	return append(sig.R.FillBytes(make([]byte, n)), sig.S.FillBytes(make([]byte, n))...)
}

// Compact signs a header and a claims set, given as JSON texts, under the key's own algorithm.
func (k *Key) Compact(header, claims string) string { return k.compact(k.Alg, header, claims) }

func (k *Key) compact(alg, header, claims string) string {
	input := encode([]byte(header)) + "." + encode([]byte(claims))
	return input + "." + encode(k.Sign(alg, []byte(input)))
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// with returns a copy of an object after changes in pairs of member and value.
func with(object JSON, changes ...any) JSON {
	changed := make(JSON, len(object))
	for name, value := range object {
		changed[name] = value
	}
	for i := 0; i < len(changes); i += 2 {
		if name := changes[i].(string); changes[i+1] == absent {
			delete(changed, name)
		} else {
			changed[name] = changes[i+1]
		}
	}
	return changed
}

func text(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
