package kernel

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
)

// Curve is a NIST curve of RFC 7518 section 6.2.1.1. Each goes with one hash and
// with one signature length (section 3.4).
type Curve uint8

// The curves.
const (
	P256 Curve = iota
	P384
	P521
)

// Size is the length in bytes of a coordinate, and of each half of a signature.
func (c Curve) Size() int { return [...]int{32, 48, 66}[c] }

func (c Curve) curve() elliptic.Curve {
	switch c {
	case P256:
		return elliptic.P256()
	case P384:
		return elliptic.P384()
	}
	return elliptic.P521()
}

// ECDSA is a public key on a NIST curve.
type ECDSA struct {
	curve Curve
	key   *ecdsa.PublicKey
}

// NewECDSA makes a key of two coordinates of exactly the curve's length; false
// unless they are a point of the curve.
func NewECDSA(c Curve, x, y []byte) (*ECDSA, bool) {
	if len(x) != c.Size() || len(y) != c.Size() {
		return nil, false
	}
	point := append(append(append(make([]byte, 0, 133), 4), x...), y...)
	key, err := ecdsa.ParseUncompressedPublicKey(c.curve(), point)
	if err != nil {
		return nil, false
	}
	return &ECDSA{c, key}, true
}

// Verify checks a signature in the form of RFC 7518 section 3.4: r and s, each of
// the curve's length, over the curve's own hash of the message.
func (k *ECDSA) Verify(message, signature []byte) bool {
	n := k.curve.Size()
	if len(signature) != 2*n {
		return false
	}
	var der [144]byte
	sig := appendDER(der[:0], signature[:n], signature[n:])
	switch k.curve {
	case P256:
		digest := sha256.Sum256(message)
		return ecdsa.VerifyASN1(k.key, digest[:], sig)
	case P384:
		digest := sha512.Sum384(message)
		return ecdsa.VerifyASN1(k.key, digest[:], sig)
	}
	digest := sha512.Sum512(message)
	return ecdsa.VerifyASN1(k.key, digest[:], sig)
}

// appendDER writes SEQUENCE { INTEGER r, INTEGER s } (RFC 3279 section 2.2.3).
func appendDER(dst, r, s []byte) []byte {
	r, s = trimInteger(r), trimInteger(s)
	size := integerLen(r) + integerLen(s)
	dst = append(dst, 0x30)
	if size >= 128 {
		dst = append(dst, 0x81)
	}
	dst = append(dst, byte(size))
	return appendInteger(appendInteger(dst, r), s)
}

func trimInteger(b []byte) []byte {
	for len(b) > 1 && b[0] == 0 {
		b = b[1:]
	}
	return b
}

func integerLen(b []byte) int { return 2 + len(b) + int(b[0]>>7) }

func appendInteger(dst, b []byte) []byte {
	dst = append(dst, 2, byte(len(b)+int(b[0]>>7)))
	if b[0]>>7 == 1 {
		dst = append(dst, 0)
	}
	return append(dst, b...)
}
