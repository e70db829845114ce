package plugin

import (
	"sessiongate/jwks"
	"sessiongate/verdict"
)

// metrics are the ids of what is counted. They are defined once for a VM; the proxy
// adds up those of all threads by name. What stands behind a dot is made a label by
// the proxy's stats_tags: see examples/envoy.
type metrics struct {
	defined   bool
	decisions []uint32 // by Reason
	fetches   []uint32 // by jwks.Outcome
	time      uint32
}

func (m *metrics) define(h Host) bool {
	if m.defined {
		return true
	}
	m.decisions, m.fetches = m.decisions[:0], m.fetches[:0]
	ok := true
	counter := func(list []uint32, name string) []uint32 {
		id, defined := h.DefineCounter(name)
		ok = ok && defined
		return append(list, id)
	}
	m.decisions = counter(m.decisions, "sessiongate_decisions.reason=none")
	for _, r := range verdict.Reasons() {
		m.decisions = counter(m.decisions, "sessiongate_decisions.reason="+r.String())
	}
	for o := jwks.Ignored; o <= jwks.Failed; o++ {
		m.fetches = counter(m.fetches, "sessiongate_fetches.outcome="+o.String())
	}
	var timed bool
	m.time, timed = h.DefineHistogram("sessiongate_decision_us")
	m.defined = ok && timed
	return m.defined
}

// decided counts a request and the microseconds that it took.
func (m *metrics) decided(h Host, r verdict.Reason, nanoseconds int64) {
	if m.defined {
		h.Count(m.decisions[r])
		h.Record(m.time, uint64(max(0, nanoseconds)/1000))
	}
}

func (m *metrics) fetched(h Host, o jwks.Outcome) {
	if m.defined {
		h.Count(m.fetches[o])
	}
}
