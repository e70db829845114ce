package issuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/lestrrat-go/jwx/v2/jwk"

	"sessiongate/issuer/seal"
)

// keyPurpose is bound to every sealed signing key.
const keyPurpose = "token-signing"

// rsaBits is what Clerk's Node SDK takes, and no other size.
const rsaBits = 2048

// newKey makes a key pair: its kid (the RFC 7638 thumbprint), the private key and
// the public JWK. One kid in 64 would begin with "-", and be a flag to every
// command line that it is typed into: such a pair is not used.
func newKey(alg string) (kid string, private crypto.Signer, public []byte, err error) {
	for {
		kid, private, public, err = newKeyPair(alg)
		if err != nil || kid[0] != '-' {
			return kid, private, public, err
		}
	}
}

func newKeyPair(alg string) (kid string, private crypto.Signer, public []byte, err error) {
	switch alg {
	case "ES256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "EdDSA":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case "RS256":
		private, err = rsa.GenerateKey(rand.Reader, rsaBits)
	default:
		err = fmt.Errorf("algorithm %q is not one that the issuer signs with", alg)
	}
	if err != nil {
		return "", nil, nil, err
	}
	kid, public, err = publicJWK(alg, private.Public())
	return kid, private, public, err
}

func publicJWK(alg string, public crypto.PublicKey) (kid string, doc []byte, err error) {
	key, err := jwk.FromRaw(public)
	if err != nil {
		return "", nil, err
	}
	sum, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", nil, err
	}
	kid = base64.RawURLEncoding.EncodeToString(sum)
	for name, value := range map[string]string{jwk.KeyIDKey: kid, jwk.AlgorithmKey: alg, jwk.KeyUsageKey: "sig"} {
		if err := key.Set(name, value); err != nil {
			return "", nil, err
		}
	}
	doc, err = json.Marshal(key)
	return kid, doc, err
}

func (i *Issuer) seal(kid string, private crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	return i.sealer.Seal(i.sealContext(kid), der), nil
}

func (i *Issuer) sealContext(kid string) seal.Context {
	return seal.Context{Issuer: i.settings.Issuer, KeyID: kid, Purpose: keyPurpose}
}

// unseal opens a private key and makes sure that it is the one that is published
// under its kid.
func (i *Issuer) unseal(kid, alg string, sealed []byte) (crypto.Signer, error) {
	der, err := i.sealer.Open(i.sealContext(kid), sealed)
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w", kid, err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w", kid, err)
	}
	private, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("signing key %s cannot sign", kid)
	}
	if got, _, err := publicJWK(alg, private.Public()); err != nil || got != kid {
		return nil, fmt.Errorf("signing key %s: the private key is another one", kid)
	}
	return private, nil
}
