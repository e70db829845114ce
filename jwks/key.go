package jwks

import (
	"sessiongate/internal/kernel"
	"sessiongate/internal/strict"
)

// Key is one verification key of a Set.
type Key struct {
	id       string
	hasID    bool
	fits     algorithms
	material string // kty and the public members: equal means the same key
	kty      byte   // first letter of kty: EC, RSA, OKP

	ec  *kernel.ECDSA
	rsa *kernel.RSA
	ed  *kernel.Ed25519
}

// ID is the key's kid, "" if it has none.
func (k *Key) ID() string { return k.id }

// Algorithms lists what the key may verify: its alg alone if it names one.
func (k *Key) Algorithms() []Algorithm {
	var list []Algorithm
	for a := ES256; a < algorithmCount; a++ {
		if k.fits.has(a) {
			list = append(list, a)
		}
	}
	return list
}

// Verify checks the signature of a signing input (RFC 7515 section 5.2); false
// also for an algorithm that the key does not fit.
func (k *Key) Verify(a Algorithm, input, signature []byte) bool {
	if !k.fits.has(a) {
		return false
	}
	switch a {
	case ES256, ES384, ES512:
		return k.ec.Verify(input, signature)
	case RS256, RS384, RS512:
		return k.rsa.VerifyPKCS1(a.hash(), input, signature)
	case PS256, PS384, PS512:
		return k.rsa.VerifyPSS(a.hash(), input, signature)
	case EdDSA:
		return k.ed.Verify(input, signature)
	}
	return false
}

// parseKey reads one JWK (RFC 7517 section 4). If it cannot be used to verify it
// says why.
func parseKey(v strict.Value) (key *Key, id string, why string) {
	if v.Kind() != strict.Object {
		return nil, "", "not an object"
	}
	key = &Key{}
	if kid := v.Member("kid"); kid.Kind() != strict.Invalid {
		if key.id, key.hasID = kid.Text(); !key.hasID {
			return nil, "", "kid is not a string"
		}
	}
	if v.Ambiguous() {
		return nil, key.id, "a member appears twice"
	}
	kty, ok := v.Member("kty").Text()
	if !ok {
		return nil, key.id, "kty is missing or not a string"
	}
	if why = checkUse(v); why == "" {
		switch kty {
		case "EC":
			why = key.parseEC(v)
		case "RSA":
			why = key.parseRSA(v)
		case "OKP":
			why = key.parseOKP(v)
		case "oct":
			why = "a symmetric key in a key set"
		default:
			why = "kty is unknown"
		}
	}
	if why == "" {
		key.kty = kty[0]
		why = key.checkAlg(v)
	}
	if why != "" {
		return nil, key.id, why
	}
	return key, key.id, ""
}

// checkUse reads use, key_ops (RFC 7517 sections 4.2, 4.3) and the private members.
func checkUse(v strict.Value) string {
	if use := v.Member("use"); use.Kind() != strict.Invalid && !use.Is("sig") {
		return "use is not sig"
	}
	if ops := v.Member("key_ops"); ops.Kind() != strict.Invalid {
		if ops.Kind() != strict.Array {
			return "key_ops is not an array"
		}
		verify := false
		for op := ops.First(); op.Kind() != strict.Invalid; op = op.Next() {
			name, ok := op.Text()
			if !ok {
				return "key_ops holds something else than strings"
			}
			for later := op.Next(); later.Kind() != strict.Invalid; later = later.Next() {
				if later.Is(name) {
					return "key_ops repeats a value"
				}
			}
			if name != "verify" {
				return "key_ops holds another operation than verify"
			}
			verify = true
		}
		if !verify {
			return "key_ops does not hold verify"
		}
	}
	for _, name := range [...]string{"d", "p", "q", "dp", "dq", "qi", "oth"} {
		if v.Member(name).Kind() != strict.Invalid {
			return "a private key in a key set"
		}
	}
	return ""
}

func (k *Key) parseEC(v strict.Value) string {
	crv, ok := v.Member("crv").Text()
	if !ok {
		return "crv is missing or not a string"
	}
	var curve kernel.Curve
	switch crv {
	case "P-256":
		curve, k.fits = kernel.P256, setOf(ES256)
	case "P-384":
		curve, k.fits = kernel.P384, setOf(ES384)
	case "P-521":
		curve, k.fits = kernel.P521, setOf(ES512)
	default:
		return "crv is unknown"
	}
	x, why := bytesMember(v, "x")
	if why != "" {
		return why
	}
	y, why := bytesMember(v, "y")
	if why != "" {
		return why
	}
	if curve == kernel.P521 {
		x, y = padP521(x), padP521(y)
	}
	if len(x) != curve.Size() || len(y) != curve.Size() {
		return "x or y is not of the curve's length"
	}
	if k.ec, ok = kernel.NewECDSA(curve, x, y); !ok {
		return "x and y are not a point of the curve"
	}
	k.material = "EC" + crv + string(x) + string(y)
	return ""
}

// padP521 restores the first byte of a coordinate that was written without it. Of
// the 528 bits 521 are used, so that byte is 0 half the time, and published keys
// often lack it. On the other curves a short coordinate is a broken key.
func padP521(b []byte) []byte {
	if len(b) == kernel.P521.Size()-1 {
		return append([]byte{0}, b...)
	}
	return b
}

func (k *Key) parseRSA(v strict.Value) string {
	n, why := bytesMember(v, "n")
	if why != "" {
		return why
	}
	e, why := bytesMember(v, "e")
	if why != "" {
		return why
	}
	if k.rsa, why = kernel.NewRSA(n, e); why != "" {
		return why
	}
	k.fits = setOf(RS256, RS384, RS512, PS256, PS384, PS512)
	k.material = "RSA" + string(trimZeros(n)) + ":" + string(trimZeros(e))
	return ""
}

// trimZeros makes two spellings of one integer the same material.
func trimZeros(b []byte) []byte {
	for len(b) > 0 && b[0] == 0 {
		b = b[1:]
	}
	return b
}

func (k *Key) parseOKP(v strict.Value) string {
	crv, ok := v.Member("crv").Text()
	if !ok {
		return "crv is missing or not a string"
	}
	if crv != "Ed25519" {
		return "crv is unknown"
	}
	x, why := bytesMember(v, "x")
	if why != "" {
		return why
	}
	if k.ed, ok = kernel.NewEd25519(x); !ok {
		return "x is not a usable point of the curve"
	}
	k.fits, k.material = setOf(EdDSA), "OKP"+string(x)
	return ""
}

// checkAlg narrows a key to the alg it names (RFC 7517 section 4.4).
func (k *Key) checkAlg(v strict.Value) string {
	alg := v.Member("alg")
	if alg.Kind() == strict.Invalid {
		return ""
	}
	name, ok := alg.Text()
	if !ok {
		return "alg is not a string"
	}
	a, ok := ParseAlgorithm(name)
	if !ok {
		return "alg is not a signature algorithm"
	}
	if !k.fits.has(a) {
		return "alg does not go with kty and crv"
	}
	k.fits = setOf(a)
	return ""
}

// bytesMember reads a required member that is base64url.
func bytesMember(v strict.Value, name string) ([]byte, string) {
	text, ok := v.Member(name).AppendText(nil)
	if !ok {
		return nil, name + " is missing or not a string"
	}
	b := make([]byte, strict.DecodedLen(len(text)))
	n, ok := strict.DecodeBase64(b, text)
	if !ok {
		return nil, name + " is not base64url"
	}
	return b[:n], ""
}
