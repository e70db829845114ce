package guest

import (
	"sessiongate/internal/abi"
	"sessiongate/verdict"
	"sessiongate/verifier/filter"
	"sessiongate/verifier/policy"
)

// Calls binds a Guest to internal/abi: buffers, encodings, and the guard that
// every entry stands behind.
type Calls struct {
	Guest
	// BuildSeconds is what ClockFloor takes; the policy's host may set another floor.
	BuildSeconds string

	guard   Guard
	sources []*source // that are fetched
	request abi.Request
	head    filter.Request
	in, out []byte
	large   []byte // the last output that was too large to be kept for more
}

// What is returned for a broken guest must not depend on anything that may be broken.
var broken = []byte{byte(abi.StatusBroken)}

// Buffer returns memory for an input of that size, or nil if it is over the
// bound. It is kept until a larger one is asked for.
func (c *Calls) Buffer(size uint32) []byte {
	var buffer []byte
	c.guard.Run(func() {
		if size > abi.MaxInput {
			return
		}
		if int(size) > len(c.in) || c.in == nil {
			n := 4096
			for n < int(size) {
				n *= 2
			}
			c.in = make([]byte, n)
		}
		buffer = c.in
	})
	return buffer
}

// Call makes the call whose input is the first length bytes of the buffer, and
// returns its output, which is good until the next call and never empty.
func (c *Calls) Call(number abi.Call, length uint32, now int64) []byte {
	out := broken
	if !c.guard.Run(func() { out = c.dispatch(number, length, now) }) {
		return broken
	}
	return out
}

func (c *Calls) dispatch(number abi.Call, length uint32, now int64) []byte {
	if int64(length) > int64(len(c.in)) {
		return c.status(abi.StatusBadInput)
	}
	in := c.in[:length]
	switch number {
	case abi.CallPlan, abi.CallConfigure:
		return c.configure(number, string(in))
	case abi.CallStats:
		return c.keep(c.AppendStats(c.status(abi.StatusOK)))
	case abi.CallUpdateKeys, abi.CallVerify, abi.CallFilter, abi.CallExplain, abi.CallRefresh, abi.CallRefreshed, abi.CallUnknownKey:
		if !c.Configured() {
			return c.status(abi.StatusNotConfigured)
		}
	default:
		return c.testCall(number, in, now)
	}
	switch number {
	case abi.CallUpdateKeys:
		return c.updateKeys(string(in))
	case abi.CallExplain:
		return c.keep(AppendChecks(c.status(abi.StatusOK), c.Explain(string(in), now)))
	case abi.CallVerify:
		return c.verify(in, now)
	case abi.CallRefresh:
		return c.refresh(now)
	case abi.CallRefreshed:
		return c.refreshed(string(in), now)
	case abi.CallUnknownKey:
		return c.unknownKey(string(in), now)
	}
	return c.filterRequest(string(in), now)
}

func (c *Calls) configure(number abi.Call, in string) []byte {
	v, err := abi.DecodeConfigure(in)
	if err != nil {
		return c.status(abi.StatusBadInput)
	}
	if v.ClockFloor < 0 {
		v.ClockFloor = ClockFloor(c.BuildSeconds)
	}
	var p *policy.Policy
	var fault error
	if number == abi.CallPlan {
		p, fault = policy.Parse([]byte(v.Policy), v.Kind)
	} else {
		secrets := make([]Secret, len(v.Secrets))
		for i, s := range v.Secrets {
			secrets[i] = Secret{Issuer: int(s.Issuer), Value: []byte(s.Value)}
		}
		if p, fault = c.Configure(v.Kind, []byte(v.Policy), v.ClockFloor, secrets); fault == nil {
			c.sources = newSources(p)
		}
	}
	if fault != nil {
		return c.keep(AppendFaults(c.status(abi.StatusFaults), fault))
	}
	return c.keep(AppendPlan(c.status(abi.StatusOK), p, v.ClockFloor))
}

func (c *Calls) updateKeys(in string) []byte {
	u, err := abi.DecodeUpdateKeys(in)
	if err != nil {
		return c.status(abi.StatusBadInput)
	}
	issuer := -1
	if u.Issuer < 1<<16 {
		issuer = int(u.Issuer)
	}
	usable, skipped, err := c.UpdateKeys(issuer, []byte(u.Document), u.ConfirmedAt)
	if err != nil {
		return c.keep(AppendFaults(c.status(abi.StatusFaults), err))
	}
	return c.keep(AppendUpdated(c.status(abi.StatusOK), usable, skipped))
}

func (c *Calls) verify(token []byte, now int64) []byte {
	r, reason := c.Verify(token, now)
	out := c.status(abi.StatusOK)
	if reason == verdict.None {
		return c.keep(abi.AppendAccepted(out, &r.Principal))
	}
	return c.keep(abi.AppendRefused(out, reason, int32(r.Issuer), r.KeyID))
}

func (c *Calls) filterRequest(in string, now int64) []byte {
	if c.request.Decode(in) != nil {
		return c.status(abi.StatusBadInput)
	}
	c.head = filter.Request(c.request)
	d := c.Filter(&c.head, now)
	issuer, kid := c.Refusal()
	return c.keep(abi.AppendFiltered(c.status(abi.StatusOK), d, int32(issuer), kid))
}

// status begins an output.
func (c *Calls) status(s abi.Status) []byte {
	c.large = nil
	return append(c.out[:0], byte(s))
}

// mostKept bounds the output memory that a guest keeps: explanations and lists of
// faults are rare and may be large.
const mostKept = 64 << 10

// keep keeps the memory that an output has grown to.
func (c *Calls) keep(out []byte) []byte {
	if cap(out) <= mostKept {
		c.out = out
	} else {
		c.large = out // the host has yet to read it
	}
	return out
}
