package host

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sessiongate/jwks"
	"sessiongate/verdict"
)

// The calls that are counted.
const (
	callVerify = iota
	callFilter
	callCount
)

// metrics are a Host's own. Every label has few values, all known beforehand: call,
// reason, outcome and the issuers of the policy in force.
type metrics struct {
	host *Host

	verdicts                 *prometheus.CounterVec
	verdict                  [callCount][]prometheus.Counter // the same, by Reason
	started, broken          prometheus.Counter
	fetches, swaps           *prometheus.CounterVec
	instances, age, confirms *prometheus.Desc
}

func newMetrics(h *Host) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "sessiongate_" + name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sessiongate_" + name, Help: help}, labels)
	}
	m := &metrics{
		host:     h,
		verdicts: counters("verdicts_total", "Tokens (call=verify) and requests (call=filter) judged, by Reason; none: accepted or forwarded.", "call", "reason"),
		started:  counter("guest_instances_started_total", "Guest instances made."),
		broken:   counter("guest_instances_broken_total", "Guest instances thrown away because they did not behave."),
		fetches:  counters("key_fetches_total", "Attempts to fetch or read a key set.", "outcome"),
		swaps:    counters("swaps_total", "Attempts to put another module or policy in force.", "outcome"),
		instances: prometheus.NewDesc("sessiongate_guest_instances",
			"Guest instances in the pool.", nil, nil),
		age: prometheus.NewDesc("sessiongate_keys_age_seconds",
			"Time since an issuer's key set was last confirmed by its source; absent while there is none.", []string{"issuer"}, nil),
		confirms: prometheus.NewDesc("sessiongate_keys_usable",
			"Usable keys of an issuer whose key set is fetched, read from a file or handed in.", []string{"issuer"}, nil),
	}
	for call, name := range [...]string{callVerify: "verify", callFilter: "filter"} {
		for _, r := range append([]verdict.Reason{verdict.None}, verdict.Reasons()...) {
			m.verdict[call] = append(m.verdict[call], m.verdicts.WithLabelValues(name, r.String()))
		}
	}
	for _, o := range []jwks.Outcome{jwks.Updated, jwks.Confirmed, jwks.Rejected, jwks.Failed} {
		m.fetches.WithLabelValues(o.String())
	}
	m.swaps.WithLabelValues("done")
	m.swaps.WithLabelValues("refused")
	return m
}

func (m *metrics) count(call int, r verdict.Reason) {
	if int(r) >= len(m.verdict[call]) {
		r = verdict.Internal
	}
	m.verdict[call][r].Inc()
}

func (m *metrics) fetched(o jwks.Outcome) { m.fetches.WithLabelValues(o.String()).Inc() }

func (m *metrics) swapped(err error) {
	outcome := "done"
	if err != nil {
		outcome = "refused"
	}
	m.swaps.WithLabelValues(outcome).Inc()
}

// Describe implements prometheus.Collector for what is read when it is asked for.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.instances
	ch <- m.age
	ch <- m.confirms
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	e := m.host.current.Load()
	if e == nil {
		return
	}
	ch <- prometheus.MustNewConstMetric(m.instances, prometheus.GaugeValue, float64(e.pool.live()))
	for _, k := range m.host.Keys() {
		if k.ConfirmedAt.IsZero() {
			continue
		}
		age := m.host.config.Now().Sub(k.ConfirmedAt).Seconds()
		ch <- prometheus.MustNewConstMetric(m.age, prometheus.GaugeValue, age, k.Issuer)
		ch <- prometheus.MustNewConstMetric(m.confirms, prometheus.GaugeValue, float64(k.Usable), k.Issuer)
	}
}

// Collectors returns the Host's metrics, for a registry of the caller's. They may
// be registered once; two Hosts in one registry need a label of their own
// (prometheus.WrapRegistererWith).
func (h *Host) Collectors() []prometheus.Collector {
	m := h.metrics
	return []prometheus.Collector{m.verdicts, m.started, m.broken, m.fetches, m.swaps, m}
}

// KeyState says whether an issuer's keys can be used.
type KeyState string

// The states of an issuer's keys.
const (
	KeysReady   KeyState = "ready"
	KeysMissing KeyState = "missing" // none has arrived: keys_unavailable
	KeysStale   KeyState = "stale"   // older than the policy's bound: keys_stale
)

// KeyStatus tells of one issuer's keys.
type KeyStatus struct {
	Issuer      string // "" where the policy accepts any
	Source      string // "inline", "uri", "file", "discovery" or "secret"
	State       KeyState
	Usable      int       // keys of a set that was fetched, read or handed in
	ConfirmedAt time.Time // when such a set was last known to be the source's; zero if there is none
}

// Keys tells of each issuer's keys, in the policy's order: a readiness check refuses
// while one is missing or stale.
func (h *Host) Keys() []KeyStatus {
	e := h.current.Load()
	if e == nil {
		return nil
	}
	now, sets := h.now(), e.keys.Load().sets
	list := make([]KeyStatus, len(sets))
	for i, s := range e.plan.Issuers {
		k := KeyStatus{Issuer: s.Issuer, Source: s.Keys, State: KeysReady}
		switch set := sets[i]; {
		case set.generation == 0:
			if s.Keys != sourceInline && s.Keys != sourceSecret {
				k.State = KeysMissing
			}
		default:
			k.Usable, k.ConfirmedAt = set.usable, time.UnixMilli(set.confirmedAt)
			if s.MaxStale > 0 && now-set.confirmedAt > s.MaxStale {
				k.State = KeysStale
			}
		}
		list[i] = k
	}
	return list
}
