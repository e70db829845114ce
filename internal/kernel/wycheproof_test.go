package kernel_test

import (
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"math/big"
	"strings"
	"testing"

	"github.com/c2sp/wycheproof"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/internal/kernel"
)

// bytes is written in hexadecimal.
type bytes []byte

func (b *bytes) UnmarshalJSON(text []byte) error {
	decoded, err := hex.DecodeString(strings.Trim(string(text), `"`))
	*b = decoded
	return err
}

type group struct {
	Sha, MgfSha, Mgf string
	SLen             int
	KeySize, TagSize int
	PublicKey        struct {
		Curve          string
		Wx, Wy         bytes
		Modulus        bytes
		PublicExponent bytes
		PK             bytes
	}
	PrivateKey struct{ Modulus, PublicExponent bytes }
	Tests      []vector
}

type vector struct {
	TcID               int
	Comment            string
	Key, Msg, Sig, Tag bytes
	Result             string
}

// each runs a function over every vector of a file.
func each(t *testing.T, file string, run func(g *group, v *vector)) {
	t.Helper()
	text, err := fs.ReadFile(wycheproof.TestVectors, file+"_test.json")
	require.NoError(t, err)
	var doc struct{ TestGroups []group }
	require.NoError(t, json.Unmarshal(text, &doc))
	require.NotEmpty(t, doc.TestGroups)
	for i := range doc.TestGroups {
		for j := range doc.TestGroups[i].Tests {
			run(&doc.TestGroups[i], &doc.TestGroups[i].Tests[j])
		}
	}
}

var hashes = map[string]kernel.Hash{"SHA-256": kernel.SHA256, "SHA-384": kernel.SHA384, "SHA-512": kernel.SHA512}

// coordinate writes an integer in so many bytes: the vectors spell it with a zero
// in front, or without those that it has.
func coordinate(b []byte, size int) []byte {
	return new(big.Int).SetBytes(b).FillBytes(make([]byte, size))
}

func TestWycheproofECDSA(t *testing.T) {
	run, accepted := 0, 0
	for _, file := range []struct {
		name  string
		curve kernel.Curve
		bound bool // the hash is the one that JWS binds to the curve
	}{
		{"ecdsa_secp256r1_sha256_p1363", kernel.P256, true},
		{"ecdsa_secp384r1_sha384_p1363", kernel.P384, true},
		{"ecdsa_secp521r1_sha512_p1363", kernel.P521, true},
		{"ecdsa_secp256r1_sha512_p1363", kernel.P256, false},
		{"ecdsa_secp384r1_sha512_p1363", kernel.P384, false},
	} {
		each(t, file.name, func(g *group, v *vector) {
			n := file.curve.Size()
			key, ok := kernel.NewECDSA(file.curve, coordinate(g.PublicKey.Wx, n), coordinate(g.PublicKey.Wy, n))
			require.True(t, ok)
			want := v.Result == "valid" && file.bound
			got := key.Verify(v.Msg, v.Sig)
			assert.Equalf(t, want, got, "%s %d: %s", file.name, v.TcID, v.Comment)
			run++
			if got {
				accepted++
			}
		})
	}
	t.Logf("%d vectors, %d accepted", run, accepted)
	assert.GreaterOrEqual(t, run, 1_450)
	assert.Equal(t, 173+193+231, accepted)
}

func TestWycheproofEd25519(t *testing.T) {
	run, accepted := 0, 0
	each(t, "ed25519", func(g *group, v *vector) {
		key, ok := kernel.NewEd25519(g.PublicKey.PK)
		require.True(t, ok)
		got := key.Verify(v.Msg, v.Sig)
		assert.Equalf(t, v.Result == "valid", got, "%d: %s", v.TcID, v.Comment)
		run++
		if got {
			accepted++
		}
	})
	assert.GreaterOrEqual(t, run, 150)
	assert.GreaterOrEqual(t, accepted, 88)
}

func TestWycheproofHMAC(t *testing.T) {
	run, accepted := 0, 0
	for name, h := range map[string]kernel.Hash{"hmac_sha256": kernel.SHA256, "hmac_sha384": kernel.SHA384, "hmac_sha512": kernel.SHA512} {
		each(t, name, func(g *group, v *vector) {
			// A tag that was cut short is none of JWS (RFC 7518 section 3.2).
			want := v.Result == "valid" && g.TagSize == 8*h.Size()
			got := kernel.VerifyHMAC(h, v.Key, v.Msg, v.Tag)
			assert.Equalf(t, want, got, "%s %d: %s", name, v.TcID, v.Comment)
			run++
			if got {
				accepted++
			}
		})
	}
	t.Logf("%d vectors, %d accepted", run, accepted)
	assert.GreaterOrEqual(t, run, 520)
	assert.GreaterOrEqual(t, accepted, 99)
}

// files lists the vectors' files of a kind.
func files(t *testing.T, prefix string) (names []string) {
	all, err := fs.Glob(wycheproof.TestVectors, prefix+"*_test.json")
	require.NoError(t, err)
	for _, name := range all {
		names = append(names, strings.TrimSuffix(name, "_test.json"))
	}
	return names
}

// hashed is the hash of a vector that is invalid only for being made with it.
func hashed(comment string) kernel.Hash {
	for name, h := range hashes {
		if strings.Contains(comment, "hashed with "+name+" instead") {
			return h
		}
	}
	return 99
}

func TestWycheproofPKCS1(t *testing.T) {
	run, accepted, sizes := 0, 0, map[int]int{}
	names := files(t, "rsa_signature_")
	for _, name := range files(t, "rsa_pkcs1_") {
		if strings.HasSuffix(name, "_sig_gen") {
			names = append(names, name)
		}
	}
	for _, name := range names {
		each(t, name, func(g *group, v *vector) {
			n, e := g.PublicKey.Modulus, g.PublicKey.PublicExponent
			if n == nil {
				n, e = g.PrivateKey.Modulus, g.PrivateKey.PublicExponent
			}
			key, why := kernel.NewRSA(n, e)
			run++
			if g.KeySize < kernel.MinRSABits {
				assert.Equal(t, "modulus is under 2048 bits", why)
				return
			}
			require.Emptyf(t, why, "%s %d", name, v.TcID)
			h, ours := hashes[g.Sha]
			for _, other := range hashes {
				if other != h && g.KeySize != 2048 {
					continue // the hash is not what the longer keys are about
				}
				// "acceptable" are encodings that BER may have and RFC 8017 does not write.
				want := v.Result == "valid" && ours && h == other || hashed(v.Comment) == other
				if v.Result == "acceptable" && strings.HasSuffix(name, "_sig_gen") {
					want = ours && h == other // small numbers, correctly encoded
				}
				got := key.VerifyPKCS1(other, v.Msg, v.Sig)
				assert.Equalf(t, want, got, "%s %d: %s", name, v.TcID, v.Comment)
				if got {
					accepted++
					sizes[g.KeySize]++
				}
			}
		})
	}
	t.Logf("%d vectors of %d files, %d accepted: %v", run, len(names), accepted, sizes)
	assert.GreaterOrEqual(t, run, 6_000)
	assert.GreaterOrEqual(t, accepted, 150)
	for _, bits := range []int{2048, 3072, 4096, 8192} {
		assert.NotZero(t, sizes[bits], bits)
	}
}

func TestWycheproofPSS(t *testing.T) {
	run, accepted, foreign := 0, 0, 0
	names := files(t, "rsa_pss_")
	for _, name := range names {
		each(t, name, func(g *group, v *vector) {
			key, why := kernel.NewRSA(g.PublicKey.Modulus, g.PublicKey.PublicExponent)
			require.Emptyf(t, why, "%s %d", name, v.TcID)
			h, ours := hashes[g.Sha]
			// RFC 7518 section 3.5: MGF1 over the same hash, a salt of its size.
			ours = ours && g.Mgf == "MGF1" && g.MgfSha == g.Sha && g.SLen == h.Size()
			run++
			if !ours {
				foreign++
			}
			for _, other := range hashes {
				want := v.Result == "valid" && ours && h == other
				// Invalid only for having the salt that JWA wants.
				want = want || g.Sha == "SHA-256" && g.MgfSha == g.Sha && other == kernel.SHA256 && v.Comment == "s_len changed to 32"
				got := key.VerifyPSS(other, v.Msg, v.Sig)
				assert.Equalf(t, want, got, "%s %d: %s", name, v.TcID, v.Comment)
				if got {
					accepted++
				}
			}
		})
	}
	t.Logf("%d vectors of %d files, %d of them with parameters that are not JWA's, %d accepted", run, len(names), foreign, accepted)
	assert.GreaterOrEqual(t, run, 3_497)
	assert.GreaterOrEqual(t, foreign, 2_000)
	assert.GreaterOrEqual(t, accepted, 700)
}
