package kernel

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
)

// VerifyHMAC checks a message authentication code of exactly the digest's length
// (RFC 7518 section 3.2), comparing in constant time.
func VerifyHMAC(h Hash, secret, message, mac []byte) bool {
	if len(mac) != h.Size() {
		return false
	}
	m := hmac.New([...]func() hash.Hash{sha256.New, sha512.New384, sha512.New}[h], secret)
	m.Write(message)
	var buf [64]byte
	return hmac.Equal(m.Sum(buf[:0]), mac)
}
