//go:build conformance

package main

import (
	"fmt"

	"sessiongate/jwks"
	"sessiongate/verdict"
	"sessiongate/verifier"
)

// native judges with the core compiled into this program.
type native struct{}

func (native) close() {}

func (native) jwt(c config, token string, now int64) error {
	is := verifier.Issuer{Name: c.iss, UncheckedIssuer: c.iss == "", Dialect: verifier.JWT, Algorithms: parseAll(c.algs), Secret: c.secret,
		UncheckedAudience: c.aud == "", UncheckedType: true, OptionalExpiry: true, Leeway: int64(c.leeway) * 1000}
	if c.aud != "" {
		is.Audience = []string{c.aud}
	}
	v, err := verifier.New(verifier.Config{Issuers: []verifier.Issuer{is}})
	if err != nil {
		return err
	}
	if c.secret == nil {
		set, err := jwks.Parse([]byte(c.set))
		if err != nil {
			return err
		}
		v = v.WithKeys(0, set, now)
	}
	_, err = v.Verify(token, now)
	return err
}

func (native) jws(c config, token string) error {
	var set *jwks.Set
	if c.secret == nil {
		var err error
		if set, err = jwks.Parse([]byte(c.set)); err != nil {
			return err
		}
	}
	return orNil(verifier.VerifyJWS([]byte(token), set, c.secret, parseAll(c.algs)))
}

func (native) raw(set, alg string, message, signature []byte) error {
	s, err := jwks.Parse([]byte(set))
	if err != nil {
		return err
	}
	a, ok := jwks.ParseAlgorithm(alg)
	if !ok {
		return errUnsupported
	}
	if s.Len() == 0 {
		return fmt.Errorf("no usable key: %v", s.Skipped())
	}
	if !s.Keys()[0].Verify(a, message, signature) {
		return verdict.BadSignature
	}
	return nil
}

func (native) jwks(set string) (int, error) {
	s, err := jwks.Parse([]byte(set))
	if err != nil {
		return 0, err
	}
	return s.Len(), nil
}

func parseAll(names []string) []jwks.Algorithm {
	var list []jwks.Algorithm
	for _, n := range names {
		if a, ok := jwks.ParseAlgorithm(n); ok {
			list = append(list, a)
		}
	}
	return list
}

func orNil(r verdict.Reason) error {
	if r == verdict.None {
		return nil
	}
	return r
}
