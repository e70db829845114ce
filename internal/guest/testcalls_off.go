//go:build !conformance

package guest

import "sessiongate/internal/abi"

func (c *Calls) testCall(abi.Call, []byte, int64) []byte { return c.status(abi.StatusUnsupported) }
