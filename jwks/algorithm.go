package jwks

import "sessiongate/internal/kernel"

// Algorithm is a JWS signature algorithm (RFC 7518 section 3.1, RFC 8037, RFC
// 9864), bound to its curve, hash and signature length. The zero Algorithm is
// none that can verify.
type Algorithm uint8

// The algorithms. EdDSA is Ed25519, under either name.
const (
	noAlgorithm Algorithm = iota
	ES256
	ES384
	ES512
	RS256
	RS384
	RS512
	PS256
	PS384
	PS512
	EdDSA
	HS256
	HS384
	HS512
	algorithmCount
)

var algorithmNames = [algorithmCount]string{"", "ES256", "ES384", "ES512", "RS256", "RS384", "RS512",
	"PS256", "PS384", "PS512", "EdDSA", "HS256", "HS384", "HS512"}

// ParseAlgorithm returns the algorithm of an alg value; names are case-sensitive.
func ParseAlgorithm(name string) (Algorithm, bool) {
	if name == "Ed25519" {
		return EdDSA, true
	}
	for a := ES256; a < algorithmCount; a++ {
		if algorithmNames[a] == name {
			return a, true
		}
	}
	return noAlgorithm, false
}

// Algorithms returns every algorithm, the symmetric ones last.
func Algorithms() []Algorithm {
	all := make([]Algorithm, 0, algorithmCount-1)
	for a := ES256; a < algorithmCount; a++ {
		all = append(all, a)
	}
	return all
}

// String is the alg value: "ES256".
func (a Algorithm) String() string {
	if a >= algorithmCount {
		return ""
	}
	return algorithmNames[a]
}

// Symmetric reports whether the algorithm is an HMAC, whose key is a secret.
func (a Algorithm) Symmetric() bool { return a >= HS256 && a <= HS512 }

// SecretSize is the least length in bytes of a symmetric algorithm's secret (RFC
// 7518 section 3.2); 0 for the others.
func (a Algorithm) SecretSize() int {
	if !a.Symmetric() {
		return 0
	}
	return a.hash().Size()
}

func (a Algorithm) hash() kernel.Hash {
	switch a {
	case RS256, PS256, HS256:
		return kernel.SHA256
	case RS384, PS384, HS384:
		return kernel.SHA384
	}
	return kernel.SHA512
}

// VerifySecret checks a symmetric signature; false for an asymmetric algorithm.
func (a Algorithm) VerifySecret(secret, input, signature []byte) bool {
	return a.Symmetric() && kernel.VerifyHMAC(a.hash(), secret, input, signature)
}

// algorithms is a set of Algorithms.
type algorithms uint16

func setOf(list ...Algorithm) (s algorithms) {
	for _, a := range list {
		s |= 1 << a
	}
	return s
}

func (s algorithms) has(a Algorithm) bool { return s>>a&1 == 1 }
