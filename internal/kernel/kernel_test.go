package kernel_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/hex"
	"math/big"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/internal/cases"
	"sessiongate/internal/kernel"
)

var message = []byte("a message")

func number(t *testing.T, hexadecimal string) []byte {
	b, err := hex.DecodeString(hexadecimal)
	require.NoError(t, err)
	return b
}

func ecdsaKey(t *testing.T, c kernel.Curve, k *cases.Key) (key *kernel.ECDSA, x, y []byte, n *big.Int) {
	pub := k.Public().(*ecdsa.PublicKey)
	point, err := pub.Bytes()
	require.NoError(t, err)
	x, y = point[1:1+c.Size()], point[1+c.Size():]
	key, ok := kernel.NewECDSA(c, x, y)
	require.True(t, ok)
	return key, x, y, pub.Params().N
}

var curves = []struct {
	curve kernel.Curve
	key   *cases.Key
}{{kernel.P256, cases.ES256}, {kernel.P384, cases.ES384}, {kernel.P521, cases.ES512}}

func TestECDSASignatures(t *testing.T) {
	for _, c := range curves {
		key, _, _, n := ecdsaKey(t, c.curve, c.key)
		size := c.curve.Size()
		good := c.key.Sign(c.key.Alg, message)
		r, s := new(big.Int).SetBytes(good[:size]), new(big.Int).SetBytes(good[size:])
		pair := func(r, s *big.Int) []byte {
			return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
		}
		zero, one := big.NewInt(0), big.NewInt(1)
		minus := new(big.Int).Sub(n, one)
		top := new(big.Int).Sub(new(big.Int).Lsh(one, uint(8*size)), one)
		require.True(t, key.Verify(message, good))
		// -s signs as well as s does: who needs one spelling must not take the signature for it.
		assert.True(t, key.Verify(message, pair(r, new(big.Int).Sub(n, s))))
		for name, sig := range map[string][]byte{
			"r 0": pair(zero, s), "s 0": pair(r, zero), "both 0": pair(zero, zero), "r n": pair(n, s), "s n": pair(r, n), "both n": pair(n, n),
			"r 1": pair(one, s), "both 1": pair(one, one), "n-1": pair(minus, minus), "all ones": pair(top, top), "exchanged": pair(s, r),
			"empty": nil, "one byte": good[:1], "a byte short": good[:2*size-1], "a byte more": append(append([]byte{}, good...), 0),
			"a byte before": append([]byte{0}, good...), "a pair of bytes more": append(append(append([]byte{0}, good[:size]...), 0), good[size:]...),
			"half": good[:size], "twice": append(append([]byte{}, good...), good...),
		} {
			assert.Falsef(t, key.Verify(message, sig), "%s: %s", c.key.Alg, name)
		}
		if n.BitLen()%8 == 0 {
			// r + n is over the field's size here, so nothing but r itself passes; where
			// s + n still fits into the bytes it is another spelling, and refused.
			if sum := new(big.Int).Add(s, n); sum.BitLen() <= 8*size {
				assert.False(t, key.Verify(message, pair(r, sum)))
			}
		} else {
			assert.False(t, key.Verify(message, pair(r, new(big.Int).Add(s, n))))
			assert.False(t, key.Verify(message, pair(new(big.Int).Add(r, n), s)))
		}
		assert.False(t, key.Verify([]byte("another message"), good))
		assert.False(t, key.Verify(nil, good))
		for i := range good {
			bad := append([]byte{}, good...)
			bad[i] ^= 1
			assert.False(t, key.Verify(message, bad))
		}
	}
}

func TestECDSAKeys(t *testing.T) {
	primes := []string{"ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
		"fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffff",
		"01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"}
	for i, c := range curves {
		_, x, y, _ := ecdsaKey(t, c.curve, c.key)
		p := new(big.Int).SetBytes(number(t, primes[i]))
		size := c.curve.Size()
		zero := make([]byte, size)
		plus := func(b []byte, n int64) []byte {
			sum := new(big.Int).Add(new(big.Int).SetBytes(b), big.NewInt(n))
			return sum.FillBytes(make([]byte, size))
		}
		for name, point := range map[string][2][]byte{
			"off the curve by x": {plus(x, 1), y}, "off the curve by y": {x, plus(y, 1)}, "exchanged": {y, x}, "infinity": {zero, zero},
			"x 0": {zero, y}, "y 0": {x, zero}, "x is p": {p.FillBytes(make([]byte, size)), y}, "y is p": {x, p.FillBytes(make([]byte, size))},
			"x a byte short": {x[1:], y}, "y a byte short": {x, y[1:]}, "x a byte more": {append([]byte{0}, x...), y}, "y a byte more": {x, append([]byte{0}, y...)},
			"a byte moved": {append(append([]byte{}, x...), y[0]), y[1:]}, "empty": {nil, nil}, "all ones": {plus(zero, 0), plus(zero, 1)},
		} {
			_, ok := kernel.NewECDSA(c.curve, point[0], point[1])
			assert.Falsef(t, ok, "%s: %s", c.key.Alg, name)
		}
		negative := new(big.Int).Sub(p, new(big.Int).SetBytes(y)).FillBytes(make([]byte, size))
		other, ok := kernel.NewECDSA(c.curve, x, negative)
		require.True(t, ok, "the other point of that x is a key too")
		assert.False(t, other.Verify(message, c.key.Sign(c.key.Alg, message)), "but another one")
		for _, d := range curves {
			if d.curve != c.curve {
				_, ok := kernel.NewECDSA(d.curve, x, y)
				assert.False(t, ok)
			}
		}
		assert.Equal(t, []int{32, 48, 66}[c.curve], size)
	}
	// x = p + 5 names the same point as x = 5, and is no spelling of it.
	p := new(big.Int).SetBytes(number(t, primes[0]))
	x5 := big.NewInt(5).FillBytes(make([]byte, 32))
	y5 := number(t, "459243b9aa581806fe913bce99817ade11ca503c64d9a3c533415c083248fbcc")
	_, ok := kernel.NewECDSA(kernel.P256, x5, y5)
	require.True(t, ok)
	_, ok = kernel.NewECDSA(kernel.P256, new(big.Int).Add(p, big.NewInt(5)).FillBytes(make([]byte, 32)), y5)
	assert.False(t, ok)
}

func TestRSAKeys(t *testing.T) {
	pub := cases.RSA.Public().(*rsa.PublicKey)
	n := pub.N.Bytes()
	bits := func(b int) []byte { // an odd number of so many bits
		x := new(big.Int).SetBit(new(big.Int).SetBytes(n), b-1, 1)
		x.Mod(x, new(big.Int).Lsh(big.NewInt(1), uint(b)))
		return x.SetBit(x, b-1, 1).SetBit(x, 0, 1).Bytes()
	}
	long := func(b int) []byte {
		x := new(big.Int).SetBit(new(big.Int), b-1, 1)
		return x.Or(x, new(big.Int).SetBytes(n)).Bytes()
	}
	even := append(append([]byte{}, n[:len(n)-1]...), n[len(n)-1]&^1)
	e := []byte{1, 0, 1}
	for _, c := range []struct {
		name string
		n, e []byte
		why  string
	}{
		{"good", n, e, ""},
		{"e 3", n, []byte{3}, ""},
		{"e 17", n, []byte{17}, ""},
		{"e of 31 bits", n, []byte{0x7f, 0xff, 0xff, 0xff}, ""},
		{"leading zeros", append([]byte{0, 0}, n...), append([]byte{0}, e...), ""},
		{"8192 bits", long(8192), e, ""},
		{"e 1", n, []byte{1}, "exponent is 1"},
		{"e 1 with zeros", n, []byte{0, 0, 1}, "exponent is 1"},
		{"e 0", n, []byte{0}, "exponent is even"},
		{"e 2", n, []byte{2}, "exponent is even"},
		{"e 65536", n, []byte{1, 0, 0}, "exponent is even"},
		{"e of 32 bits", n, []byte{0x80, 0, 0, 1}, "exponent is over 31 bits"},
		{"e of 33 bits", n, []byte{1, 0, 0, 0, 1}, "exponent is over 31 bits"},
		{"e as long as n", n, n, "exponent is over 31 bits"},
		{"e empty", n, nil, "n or e is empty"},
		{"n empty", nil, e, "n or e is empty"},
		{"n 0", []byte{0}, e, "modulus is under 2048 bits"},
		{"n 1", []byte{1}, e, "modulus is under 2048 bits"},
		{"2047 bits", bits(2047), e, "modulus is under 2048 bits"},
		{"2047 bits in 2048", append([]byte{0}, bits(2047)...), e, "modulus is under 2048 bits"},
		{"1024 bits", bits(1024), e, "modulus is under 2048 bits"},
		{"8193 bits", long(8193), e, "modulus is over 8192 bits"},
		{"16384 bits", long(16384), e, "modulus is over 8192 bits"},
		{"even", even, e, "modulus is even"},
	} {
		key, why := kernel.NewRSA(c.n, c.e)
		assert.Equal(t, c.why, why, c.name)
		assert.Equal(t, c.why == "", key != nil, c.name)
	}
}

// A modulus has the mark of the flawed generator when it is a power of 65537
// modulo each of the primes that the test looks at.
func TestROCA(t *testing.T) {
	primorial := big.NewInt(1)
	for _, p := range []int64{2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167} {
		primorial.Mul(primorial, big.NewInt(p))
	}
	power := new(big.Int).Exp(big.NewInt(65537), big.NewInt(123456789), primorial)
	k := new(big.Int).SetBit(new(big.Int), 2048-primorial.BitLen()+1, 1)
	modulus := new(big.Int).Add(new(big.Int).Mul(k, primorial), power)
	require.Greater(t, modulus.BitLen(), 2047)
	_, why := kernel.NewRSA(modulus.Bytes(), []byte{1, 0, 1})
	assert.Contains(t, why, "ROCA")
	for step := range int64(20) { // its neighbours have no such mark
		_, why = kernel.NewRSA(new(big.Int).Add(modulus, big.NewInt(2*step+2)).Bytes(), []byte{1, 0, 1})
		assert.Empty(t, why)
	}
}

func TestRSASignatures(t *testing.T) {
	pub := cases.RSA.Public().(*rsa.PublicKey)
	key, why := kernel.NewRSA(pub.N.Bytes(), []byte{1, 0, 1})
	require.Empty(t, why)
	hash := map[string]kernel.Hash{"256": kernel.SHA256, "384": kernel.SHA384, "512": kernel.SHA512}
	for _, scheme := range []string{"RS", "PS"} {
		verify := key.VerifyPKCS1
		other := key.VerifyPSS
		if scheme == "PS" {
			verify, other = other, verify
		}
		for bits, h := range hash {
			sig := cases.RSA.Sign(scheme+bits, message)
			require.True(t, verify(h, message, sig), scheme+bits)
			assert.False(t, other(h, message, sig))
			for _, g := range hash {
				assert.Equal(t, g == h, verify(g, message, sig))
			}
			assert.False(t, verify(h, []byte("another message"), sig))
			s := new(big.Int).SetBytes(sig)
			for name, bad := range map[string][]byte{
				"empty": nil, "a byte short": sig[1:], "a byte short behind": sig[:len(sig)-1], "a byte more": append([]byte{0}, sig...),
				"a byte more behind": append(append([]byte{}, sig...), 0), "zero": make([]byte, len(sig)), "one": append(make([]byte, len(sig)-1), 1),
				"n": pub.N.Bytes(), "n-1": new(big.Int).Sub(pub.N, big.NewInt(1)).Bytes(), "n-s": new(big.Int).Sub(pub.N, s).FillBytes(make([]byte, len(sig))),
			} {
				assert.Falsef(t, verify(h, message, bad), "%s%s: %s", scheme, bits, name)
			}
			if sum := new(big.Int).Add(s, pub.N); sum.BitLen() <= 2048 {
				assert.False(t, verify(h, message, sum.Bytes()), "s + n")
			}
		}
	}
}

func TestEd25519Keys(t *testing.T) {
	good := []byte(cases.Ed25519.Public().(ed25519.PublicKey))
	_, ok := kernel.NewEd25519(good)
	require.True(t, ok)
	for name, x := range map[string]string{
		"order 1":                    "0100000000000000000000000000000000000000000000000000000000000000",
		"order 2":                    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"order 4":                    "0000000000000000000000000000000000000000000000000000000000000000",
		"order 4, x odd":             "0000000000000000000000000000000000000000000000000000000000000080",
		"order 8":                    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"order 8, x odd":             "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"order 8, other":             "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"order 8, other, x odd":      "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"order 1 with a sign":        "0100000000000000000000000000000000000000000000000000000000000080",
		"order 2 with a sign":        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"y is p":                     "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"y is p, x odd":              "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"y is p+1":                   "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"y is p+3, a point as y = 3": "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"y is p+18":                  "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"all ones":                   "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"y is 2, no point":           "0200000000000000000000000000000000000000000000000000000000000000",
		"y is 7, no point":           "0700000000000000000000000000000000000000000000000000000000000000",
	} {
		b := number(t, x)
		require.Len(t, b, 32)
		_, ok := kernel.NewEd25519(b)
		assert.False(t, ok, name)
	}
	for name, x := range map[string]string{
		"y is 3":         "0300000000000000000000000000000000000000000000000000000000000000",
		"the base point": "5866666666666666666666666666666666666666666666666666666666666666",
	} {
		_, ok := kernel.NewEd25519(number(t, x))
		assert.True(t, ok, name)
	}
	for _, x := range [][]byte{nil, good[:31], append(append([]byte{}, good...), 0), append(append([]byte{}, good...), good...)} {
		_, ok := kernel.NewEd25519(x)
		assert.False(t, ok)
	}
	// Whatever the standard library takes as a key and is of large order, so do we,
	// and the other way round: half of all y are on the curve.
	points := 0
	for i := range 300 {
		x := append([]byte{}, good...)
		x[i%31] ^= byte(1 + i/31)
		if _, ok := kernel.NewEd25519(x); ok {
			points++
		}
	}
	assert.InDelta(t, 150, points, 50)
}

func TestEd25519Signatures(t *testing.T) {
	pub := append([]byte{}, cases.Ed25519.Public().(ed25519.PublicKey)...)
	key, ok := kernel.NewEd25519(pub)
	require.True(t, ok)
	sig := cases.Ed25519.Sign("EdDSA", message)
	clear(pub)
	require.True(t, key.Verify(message, sig), "the key is a copy")
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	little := func(b []byte) []byte {
		out := make([]byte, len(b))
		for i := range b {
			out[len(b)-1-i] = b[i]
		}
		return out
	}
	s := new(big.Int).SetBytes(little(sig[32:]))
	plus := append(append([]byte{}, sig[:32]...), little(new(big.Int).Add(s, order).FillBytes(make([]byte, 32)))...)
	for name, bad := range map[string][]byte{
		"empty": nil, "a byte short": sig[:63], "a byte more": append(append([]byte{}, sig...), 0), "zeros": make([]byte, 64),
		"s + order": plus, "halves exchanged": append(append([]byte{}, sig[32:]...), sig[:32]...),
	} {
		assert.False(t, key.Verify(message, bad), name)
	}
	assert.False(t, key.Verify(append([]byte{}, "a messagf"...), sig))
	for i := range sig {
		bad := append([]byte{}, sig...)
		bad[i] ^= 0x80
		assert.False(t, key.Verify(message, bad))
	}
}

func TestHMAC(t *testing.T) {
	secret := cases.Secret.Bytes()
	for bits, h := range map[string]kernel.Hash{"256": kernel.SHA256, "384": kernel.SHA384, "512": kernel.SHA512} {
		tag := cases.Secret.Sign("HS"+bits, message)
		require.Len(t, tag, h.Size())
		assert.True(t, kernel.VerifyHMAC(h, secret, message, tag))
		assert.False(t, kernel.VerifyHMAC(h, secret[1:], message, tag))
		assert.False(t, kernel.VerifyHMAC(h, secret, message[1:], tag))
		for n := range len(tag) {
			assert.False(t, kernel.VerifyHMAC(h, secret, message, tag[:n]))
		}
		assert.False(t, kernel.VerifyHMAC(h, secret, message, append(tag, 0)))
	}
}
