package jwks_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"testing"

	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/stretchr/testify/require"

	"sessiongate/internal/cases"
	"sessiongate/jwks"
	"sessiongate/verdict"
)

// FuzzParse: no document makes the parser panic, each of its elements is either
// usable or skipped, and where another implementation reads every key, it reads
// the same ones.
func FuzzParse(f *testing.F) {
	ec, rsa, ed := cases.ES256.JWK(), cases.RSA.JWK(), cases.Ed25519.JWK()
	for _, doc := range []string{
		cases.Set(), cases.Set(ec), cases.Set(ec, rsa, ed, cases.ES384.JWK(), cases.ES512.JWK()), cases.Set(ec, ec), cases.Set(ec, cases.ES256B.JWK("kid", "es256")),
		cases.Set(cases.ES256.JWK("use", "enc"), cases.RSA.JWK("alg", "PS256"), cases.Ed25519.JWK("alg", "Ed25519")), cases.Set(cases.Secret.JWK()),
		cases.Set(cases.ES256.JWK("key_ops", []string{"verify"}), cases.RSA.JWK("e", "Aw")), cases.Set(cases.Ed25519.JWK("x", "AQ"), cases.ES256.JWK("crv", "P-384")),
		`{"keys":[null,1,"",[],{},{"kty":"EC"},{"kty":"OKP","crv":"Ed25519","x":""}]}`, `{"keys":null}`, `[]`, `{"keys":[{"kid":"a","kid":"a"}],"keys":[]}`,
	} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		s, err := jwks.Parse(doc)
		if err != nil {
			require.Nil(t, s)
			return
		}
		var members map[string]json.RawMessage // a struct would take "Keys" for it too
		var elements []json.RawMessage
		require.NoError(t, json.Unmarshal(doc, &members))
		require.NoError(t, json.Unmarshal(members["keys"], &elements))
		require.Equal(t, len(elements), s.Len()+len(s.Skipped()))
		last := -1
		for _, skipped := range s.Skipped() {
			require.Greater(t, skipped.Index, last)
			require.NotEmpty(t, skipped.Why)
			last = skipped.Index
		}
		for _, key := range s.Keys() {
			require.NotEmpty(t, key.Algorithms())
			for _, a := range jwks.Algorithms() {
				require.False(t, key.Verify(a, signed, make([]byte, 64)))
				_, reason := s.Find([]byte(key.ID()), true, a)
				require.Contains(t, []verdict.Reason{verdict.None, verdict.UnknownKey, verdict.AmbiguousKey, verdict.AlgorithmNotAllowed}, reason)
			}
		}
		compare(t, doc, s)
	})
}

// compare holds a set without a skipped key against jwx's reading of it: what a
// key of the cases signs, ours verifies exactly where theirs is that key.
func compare(t *testing.T, doc []byte, s *jwks.Set) {
	theirs := readOther(doc)
	if theirs == nil || len(s.Skipped()) != 0 || theirs.Len() != s.Len() {
		return
	}
	for i, key := range s.Keys() {
		other, _ := theirs.Key(i)
		require.Equal(t, other.KeyID(), key.ID())
		var public any
		if other.Raw(&public) != nil {
			continue
		}
		for _, k := range []*cases.Key{cases.ES256, cases.ES384, cases.ES512, cases.RSA, cases.Ed25519} {
			same := false
			switch p := public.(type) {
			case *ecdsa.PublicKey:
				same = p.Equal(k.Public())
			case *rsa.PublicKey:
				same = p.Equal(k.Public())
			case ed25519.PublicKey:
				same = p.Equal(k.Public())
			}
			for _, a := range key.Algorithms() {
				for _, alg := range k.Algorithms() {
					if alg == a.String() {
						require.Equalf(t, same, key.Verify(a, signed, signatures[k.Name+alg]), "key %d as %s", i, a)
					}
				}
			}
		}
	}
}

// readOther is jwx's reading, nil if it refuses or panics (it does on an Ed25519
// key of another length).
func readOther(doc []byte) (set jwk.Set) {
	defer func() {
		if recover() != nil {
			set = nil
		}
	}()
	set, err := jwk.Parse(doc)
	if err != nil {
		return nil
	}
	for i := range set.Len() {
		key, _ := set.Key(i)
		var raw any
		_ = key.Raw(&raw) // here is where it panics
	}
	return set
}

// signatures are those of every key of the cases under its algorithms.
var signatures = func() map[string][]byte {
	all := make(map[string][]byte)
	for _, k := range []*cases.Key{cases.ES256, cases.ES384, cases.ES512, cases.RSA, cases.Ed25519} {
		for _, alg := range k.Algorithms() {
			all[k.Name+alg] = k.Sign(alg, signed)
		}
	}
	return all
}()
