package issuer

import (
	"github.com/prometheus/client_golang/prometheus"

	"sessiongate/issuer/keyring"
)

type metrics struct {
	minted       *prometheus.CounterVec
	sessions     *prometheus.CounterVec
	introspected *prometheus.CounterVec
	keys         *prometheus.GaugeVec
	keySteps     *prometheus.CounterVec
	emergencies  prometheus.Counter
}

func newMetrics() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "sessiongate", Subsystem: "issuer", Name: name, Help: help}, labels)
	}
	return &metrics{
		minted:       counter("tokens_minted_total", "Tokens signed.", "algorithm", "type"),
		sessions:     counter("sessions_total", "Sessions that were created, ended and revoked.", "event"),
		introspected: counter("introspections_total", "Tokens judged, by Reason; none is a good one.", "reason"),
		keySteps:     counter("key_steps_total", "Steps that signing keys took, by the state they came to.", "algorithm", "state"),
		keys: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "sessiongate", Subsystem: "issuer", Name: "keys",
			Help: "Signing keys by state."}, []string{"algorithm", "state"}),
		emergencies: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "sessiongate", Subsystem: "issuer", Name: "emergency_withdrawals_total",
			Help: "Signing keys withdrawn before their time."}),
	}
}

// Collectors are the issuer's metrics, for a registry of the caller's.
func (i *Issuer) Collectors() []prometheus.Collector {
	m := i.metrics
	return []prometheus.Collector{m.minted, m.sessions, m.introspected, m.keys, m.keySteps, m.emergencies}
}

func (m *metrics) showKeys(counts map[[2]string]int) {
	m.keys.Reset()
	for k, n := range counts {
		m.keys.WithLabelValues(k[0], k[1]).Set(float64(n))
	}
}

func (m *metrics) steps(changed []keyring.Key) {
	for _, k := range changed {
		m.keySteps.WithLabelValues(k.Algorithm, k.State.String()).Inc()
	}
}
