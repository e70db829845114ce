// Package kernel is the one seam between sessiongate and its signature arithmetic.
// It verifies and never signs: keys, messages and signatures are public, so
// variable time is no concern here, save for the comparison of a MAC.
//
// A key is checked whole when it is made (length, range, curve membership), so
// that what remains for each token is the signature alone. Today the arithmetic
// is the standard library's.
package kernel

// Hash is a hash function of RFC 7518.
type Hash uint8

// The hash functions.
const (
	SHA256 Hash = iota
	SHA384
	SHA512
)

// Size is the digest's length in bytes.
func (h Hash) Size() int { return [...]int{32, 48, 64}[h] }
