package host_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"sessiongate/host"
	"sessiongate/host/hosttest"
	"sessiongate/jwks"
	"sessiongate/verdict"
	"sessiongate/verifier"
)

// BenchmarkVerify compares a verification through the guest with the same core
// compiled natively.
func BenchmarkVerify(b *testing.B) {
	for _, algorithm := range []string{"ES256", "EdDSA", "RS256"} {
		issuer := hosttest.NewIssuer(b)
		issuer.Rotate(algorithm)
		h := start(b, host.Config{Policy: issuer.Policy()})
		token := issuer.Mint(nil)
		b.Run(algorithm+"/guest", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := h.Verify(context.Background(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
		a, _ := jwks.ParseAlgorithm(algorithm)
		v, err := verifier.New(verifier.Config{Issuers: []verifier.Issuer{{
			Name: issuer.URL(), Algorithms: []jwks.Algorithm{a}, Audience: []string{hosttest.Audience},
		}}})
		require.NoError(b, err)
		set, err := jwks.Parse(issuer.KeySet())
		require.NoError(b, err)
		v = v.WithKeys(0, set, 0)
		b.Run(algorithm+"/native", func(b *testing.B) {
			b.ReportAllocs()
			now := newClock().now().UnixMilli()
			for b.Loop() {
				if _, err := v.Verify(token, now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRefused is a refusal before any cryptography: what the call itself costs.
func BenchmarkRefused(b *testing.B) {
	issuer := hosttest.NewIssuer(b)
	h := start(b, host.Config{Policy: issuer.Policy()})
	for name, token := range map[string]string{"empty": "", "expired": issuer.Mint(map[string]any{"exp": 1})} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := h.Verify(context.Background(), token); err == nil || err == verdict.Internal {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
