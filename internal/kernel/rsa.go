package kernel

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"math/big"
)

// The sizes of an RSA modulus that are accepted, in bits. The lower bound is RFC
// 7518 section 3.3's; above the upper one a single check takes milliseconds.
const (
	MinRSABits = 2048
	MaxRSABits = 8192
)

// RSA is an RSA public key.
type RSA struct{ key *rsa.PublicKey }

// NewRSA makes a key of a modulus and an exponent, both big-endian, leading zeros
// allowed. If it cannot be used it says why.
func NewRSA(n, e []byte) (key *RSA, why string) {
	n, e = trimInteger(n), trimInteger(e)
	if len(n) == 0 || len(e) == 0 {
		return nil, "n or e is empty"
	}
	modulus := new(big.Int).SetBytes(n)
	switch bits := modulus.BitLen(); {
	case bits < MinRSABits:
		return nil, "modulus is under 2048 bits"
	case bits > MaxRSABits:
		return nil, "modulus is over 8192 bits"
	case modulus.Bit(0) == 0:
		return nil, "modulus is even"
	case roca(modulus):
		return nil, "modulus has the mark of a generator whose keys can be factored (ROCA, CVE-2017-15361)"
	}
	exponent := new(big.Int).SetBytes(e)
	switch {
	case exponent.BitLen() > 31:
		return nil, "exponent is over 31 bits"
	case exponent.Bit(0) == 0:
		return nil, "exponent is even"
	case exponent.Cmp(big.NewInt(1)) == 0:
		return nil, "exponent is 1"
	}
	return &RSA{&rsa.PublicKey{N: modulus, E: int(exponent.Int64())}}, ""
}

// rocaPrimes are small primes modulo which 65537 generates a proper subgroup. The
// primes that the flawed generator made, and so their products, lie in that
// subgroup modulo each of them; another modulus does by chance once in 2²⁷
// (Nemec et al., "The Return of Coppersmith's Attack", CCS 2017, section 2.2).
var rocaPrimes = [...]int64{11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157}

func roca(modulus *big.Int) bool {
	var rest big.Int
	for _, p := range rocaPrimes {
		want, power := rest.Mod(modulus, big.NewInt(p)).Int64(), int64(1)
		for power != want {
			if power = power * 65537 % p; power == 1 {
				return false
			}
		}
	}
	return true
}

// VerifyPKCS1 checks an RSASSA-PKCS1-v1_5 signature (RFC 7518 section 3.3).
func (k *RSA) VerifyPKCS1(h Hash, message, signature []byte) bool {
	var buf [64]byte
	return rsa.VerifyPKCS1v15(k.key, h.std(), h.sum(&buf, message), signature) == nil
}

// VerifyPSS checks an RSASSA-PSS signature with MGF1 over the same hash and a salt
// of exactly the digest's length (RFC 7518 section 3.5).
func (k *RSA) VerifyPSS(h Hash, message, signature []byte) bool {
	var buf [64]byte
	return rsa.VerifyPSS(k.key, h.std(), h.sum(&buf, message), signature, &pssOptions) == nil
}

var pssOptions = rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}

func (h Hash) std() crypto.Hash {
	return [...]crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512}[h]
}

func (h Hash) sum(buf *[64]byte, message []byte) []byte {
	switch h {
	case SHA256:
		d := sha256.Sum256(message)
		return buf[:copy(buf[:], d[:])]
	case SHA384:
		d := sha512.Sum384(message)
		return buf[:copy(buf[:], d[:])]
	}
	d := sha512.Sum512(message)
	return buf[:copy(buf[:], d[:])]
}
