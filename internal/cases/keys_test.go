package cases

import (
	"crypto/rsa"
	"testing"

	"github.com/stretchr/testify/require"
)

// The distances in the source are those of the first primes.
func TestKeys(t *testing.T) {
	for _, k := range []*Key{RSA, RSAB} {
		key := k.signer.(*rsa.PrivateKey)
		for i, prime := range key.Primes {
			require.Truef(t, prime.ProbablyPrime(20), "%s: the distance of prime %d is %d", k.Name, i, PrimeDistance(k.Name, 2048, i))
		}
		require.NoError(t, key.Validate())
		require.Equal(t, 2048, key.N.BitLen())
	}
}
