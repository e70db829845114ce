package kernel

import (
	"crypto/ed25519"
	"math/big"
)

// Ed25519 is a public key of RFC 8032 section 5.1.
type Ed25519 struct{ key ed25519.PublicKey }

// NewEd25519 makes a key of its 32 bytes; false unless they are the canonical
// encoding of a point of the curve that is not of small order. Under a key of
// small order one signature passes for many messages.
func NewEd25519(x []byte) (*Ed25519, bool) {
	if len(x) != ed25519.PublicKeySize || !onEdwards(x) {
		return nil, false
	}
	return &Ed25519{append(ed25519.PublicKey(nil), x...)}, true
}

// Verify checks a signature of 64 bytes over the message itself.
func (k *Ed25519) Verify(message, signature []byte) bool {
	return len(signature) == ed25519.SignatureSize && ed25519.Verify(k.key, message, signature)
}

// onEdwards decodes a point (RFC 8032 section 5.1.3) on
// -x² + y² = 1 + d·x²·y² over the integers modulo p = 2²⁵⁵ - 19.
func onEdwards(encoded []byte) bool {
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	var be [32]byte
	for i, b := range encoded {
		be[31-i] = b
	}
	sign := be[0] >> 7
	be[0] &= 0x7f
	y := new(big.Int).SetBytes(be[:])
	if y.Cmp(p) >= 0 {
		return false
	}
	mul := func(a, b *big.Int) *big.Int { c := new(big.Int).Mul(a, b); return c.Mod(c, p) }
	one := big.NewInt(1)
	d := mul(big.NewInt(-121665), new(big.Int).ModInverse(big.NewInt(121666), p))
	yy := mul(y, y)
	u := new(big.Int).Sub(yy, one)
	v := new(big.Int).Add(mul(d, yy), one)
	xx := mul(u.Mod(u, p), new(big.Int).ModInverse(v.Mod(v, p), p)) // v is never 0: -1/d is no square
	x := new(big.Int).ModSqrt(xx, p)
	if x == nil || x.Sign() == 0 && sign == 1 {
		return false
	}
	// The small orders are 1, 2, 4 and 8: 8·P, three doublings, is the neutral point (0, 1).
	for range 3 {
		xy, xx, yy := mul(x, y), mul(x, x), mul(y, y)
		dxxyy := mul(d, mul(xx, yy))
		nx := mul(new(big.Int).Lsh(xy, 1), new(big.Int).ModInverse(new(big.Int).Add(one, dxxyy), p))
		den := new(big.Int).Sub(one, dxxyy)
		y = mul(new(big.Int).Add(yy, xx), new(big.Int).ModInverse(den.Mod(den, p), p))
		x = nx
	}
	return x.Sign() != 0
}
