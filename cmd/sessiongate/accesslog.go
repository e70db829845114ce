package main

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sessiongate/verdict"
)

// accessLog tells of each request, once, and counts it.
type accessLog struct {
	log       *slog.Logger
	requests  *prometheus.CounterVec
	durations prometheus.Histogram
}

func newAccessLog(log *slog.Logger) *accessLog {
	return &accessLog{
		log: log,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sessiongate_http_requests_total",
			Help: "Requests answered, by status and by the Reason of the refusal."}, []string{"status", "reason"}),
		durations: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sessiongate_http_request_duration_seconds",
			Help: "Time from a request's head to the end of its answer.", Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9)}),
	}
}

// Describe and Collect make it a prometheus.Collector.
func (a *accessLog) Describe(ch chan<- *prometheus.Desc) {
	a.requests.Describe(ch)
	a.durations.Describe(ch)
}

// Collect implements prometheus.Collector.
func (a *accessLog) Collect(ch chan<- prometheus.Metric) {
	a.requests.Collect(ch)
	a.durations.Collect(ch)
}

// entry is what there is to say of one request. No token, no query, no header and no
// claim but those that the policy's "log" names.
type entry struct {
	proxy, method, host, path string
	status                    int
	reason                    verdict.Reason
	claims                    []verdict.Field
	duration                  time.Duration
}

func (a *accessLog) record(ctx context.Context, e *entry) {
	a.requests.WithLabelValues(strconv.Itoa(e.status), e.reason.String()).Inc()
	a.durations.Observe(e.duration.Seconds())
	if !a.log.Enabled(ctx, slog.LevelInfo) {
		return
	}
	path, _, _ := strings.Cut(e.path, "?") // a query may hold a token
	attrs := make([]slog.Attr, 0, 8)
	if e.proxy != "" {
		attrs = append(attrs, slog.String("proxy", e.proxy))
	}
	attrs = append(attrs, slog.String("method", e.method), slog.String("host", e.host), slog.String("path", path), slog.Int("status", e.status))
	if e.reason != verdict.None {
		attrs = append(attrs, slog.String("reason", e.reason.String()))
	}
	attrs = append(attrs, slog.Float64("ms", float64(e.duration.Microseconds())/1000))
	if len(e.claims) > 0 {
		claims := make([]any, 0, len(e.claims))
		for _, f := range e.claims {
			claims = append(claims, slog.String(f.Name, f.Value))
		}
		attrs = append(attrs, slog.Group("claims", claims...))
	}
	a.log.LogAttrs(ctx, slog.LevelInfo, "request", attrs...)
}
