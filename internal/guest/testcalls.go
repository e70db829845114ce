//go:build conformance

package guest

import (
	"sessiongate/internal/abi"
	"sessiongate/jwks"
	"sessiongate/verdict"
	"sessiongate/verifier"
	"sessiongate/verifier/filter"
)

// testCall serves the calls that prove what no shipped guest may offer: a look at
// header and signature without claims, and ways to break.
func (c *Calls) testCall(number abi.Call, in []byte, now int64) []byte {
	switch number {
	case abi.CallTestJWS, abi.CallTestRaw:
		t, err := abi.DecodeTest(string(in))
		if err != nil {
			return c.status(abi.StatusBadInput)
		}
		var allowed []jwks.Algorithm
		for _, name := range t.Algorithms {
			a, ok := jwks.ParseAlgorithm(name)
			if !ok {
				return c.status(abi.StatusUnsupported)
			}
			allowed = append(allowed, a)
		}
		var set *jwks.Set
		if t.Secret == "" {
			if set, err = jwks.Parse([]byte(t.Keys)); err != nil {
				return c.keep(AppendFaults(c.status(abi.StatusFaults), err))
			}
		}
		reason := verdict.BadSignature
		if number == abi.CallTestJWS {
			reason = verifier.VerifyJWS([]byte(t.Message), set, []byte(t.Secret), allowed)
		} else if set.Len() == 0 || len(allowed) != 1 {
			reason = verdict.UnknownKey
		} else if set.Keys()[0].Verify(allowed[0], []byte(t.Message), []byte(t.Signature)) {
			reason = verdict.None
		}
		return append(c.status(abi.StatusOK), byte(reason))
	case abi.CallTestDefect:
		c.Guest.filter = new(filter.Filter) // one that nothing was put into
		return c.status(abi.StatusOK)
	case abi.CallTestPanic:
		panic("asked for")
	case abi.CallTestTrap:
		select {} // a deadlock, which no recover catches
	case abi.CallTestLoop:
		for forever := true; forever; forever = c.guard.entered {
		}
	case abi.CallTestGrow:
		var hoard [][]byte
		for {
			hoard = append(hoard, make([]byte, 1<<20))
		}
	}
	return c.status(abi.StatusUnsupported)
}
