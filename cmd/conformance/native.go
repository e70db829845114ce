//go:build conformance

package main

import (
	"sessiongate/internal/guest"
	"sessiongate/jwks"
	"sessiongate/verdict"
	"sessiongate/verifier"
)

// native judges with the guest's code compiled into this program.
type native struct{}

func (native) close() {}

func (native) jwt(c config, token string, now int64) error {
	var g guest.Guest
	if _, err := g.Configure("go", c.policy(), 0, nil); err != nil {
		return err
	}
	if c.secret == nil {
		if _, _, err := g.UpdateKeys(0, []byte(c.set), now); err != nil {
			return err
		}
	}
	_, reason := g.Verify([]byte(token), now)
	return orNil(reason)
}

func (native) jwks(c config) (int, error) {
	var g guest.Guest
	if _, err := g.Configure("go", c.policy(), 0, nil); err != nil {
		return 0, err
	}
	usable, _, err := g.UpdateKeys(0, []byte(c.set), 0)
	return usable, err
}

func (native) jws(c config, token string) error {
	var set *jwks.Set
	if c.secret == nil {
		var err error
		if set, err = jwks.Parse([]byte(c.set)); err != nil {
			return err
		}
	}
	var allowed []jwks.Algorithm
	for _, name := range c.algs {
		a, _ := jwks.ParseAlgorithm(name)
		allowed = append(allowed, a)
	}
	return orNil(verifier.VerifyJWS([]byte(token), set, c.secret, allowed))
}

func (native) raw(c config, message, signature []byte) error {
	set, err := jwks.Parse([]byte(c.set))
	if err != nil {
		return err
	}
	if set.Len() == 0 {
		return verdict.UnknownKey
	}
	if a, _ := jwks.ParseAlgorithm(c.algs[0]); !set.Keys()[0].Verify(a, message, signature) {
		return verdict.BadSignature
	}
	return nil
}

func orNil(r verdict.Reason) error {
	if r == verdict.None {
		return nil
	}
	return r
}
