package host_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sessiongate/host"
	"sessiongate/host/hosttest"
	"sessiongate/verdict"
)

func gather(t *testing.T, h *host.Host) map[string][]*dto.Metric {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	for _, c := range h.Collectors() {
		require.NoError(t, r.Register(c))
	}
	families, err := r.Gather()
	require.NoError(t, err)
	m := map[string][]*dto.Metric{}
	for _, f := range families {
		m[f.GetName()] = f.GetMetric()
	}
	return m
}

func TestCollectors(t *testing.T) {
	issuer := hosttest.NewIssuer(t)
	h := start(t, host.Config{Policy: issuer.Policy()})
	_, err := h.Verify(t.Context(), issuer.Mint(nil))
	require.NoError(t, err)
	for range 3 {
		_, err = h.Verify(t.Context(), "x")
		require.Error(t, err)
	}
	d, err := h.Filter(t.Context(), host.Request{Method: "GET", Host: "h", Path: "/"})
	require.NoError(t, err)
	require.Equal(t, verdict.MissingToken, d.Reason)

	all := gather(t, h)
	verdicts := map[[2]string]float64{}
	for _, m := range all["sessiongate_verdicts_total"] {
		verdicts[[2]string{m.GetLabel()[0].GetValue(), m.GetLabel()[1].GetValue()}] = m.GetCounter().GetValue()
	}
	assert.Len(t, verdicts, 2*(1+len(verdict.Reasons())), "every series from the start, and no other")
	assert.EqualValues(t, 1, verdicts[[2]string{"verify", "none"}])
	assert.EqualValues(t, 3, verdicts[[2]string{"verify", "malformed"}])
	assert.EqualValues(t, 1, verdicts[[2]string{"filter", "missing_token"}])
	assert.EqualValues(t, 1, metric(t, h, "sessiongate_key_fetches_total", "updated"))
	assert.EqualValues(t, 1, metric(t, h, "sessiongate_keys_usable", issuer.URL()))
	assert.Less(t, metric(t, h, "sessiongate_keys_age_seconds", issuer.URL()), 60.0)
	assert.EqualValues(t, 1, metric(t, h, "sessiongate_guest_instances", ""))
}
