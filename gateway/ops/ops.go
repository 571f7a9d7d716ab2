// Package ops shows a gateway to those who run it: liveness, readiness, metrics, profiles.
// It is served on a listener that is never public.
package ops

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/souk-market/souk/gateway/control"
)

// Meter counts calls. No label holds what a caller can invent: routes are those of the
// configuration, codes those of the gateway, and a seller's status is known by its class.
type Meter struct {
	registry *prometheus.Registry
	calls    *prometheus.CounterVec
	upstream prometheus.Histogram
	flight   prometheus.Gauge
	panics   prometheus.Counter
}

// NewMeter makes a meter with a registry of its own.
func NewMeter() *Meter {
	m := &Meter{
		registry: prometheus.NewRegistry(),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "souk_gateway_calls_total", Help: "Calls by route, outcome and code; refusals before a route was found have no route.",
		}, []string{"route", "outcome", "code"}),
		upstream: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "souk_gateway_upstream_seconds", Help: "Time from sending a call to its whole answer.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}),
		flight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "souk_gateway_calls_in_flight", Help: "Calls under way."}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{Name: "souk_gateway_panics_total", Help: "Calls that ended in a panic, each answered with 500."}),
	}
	m.registry.MustRegister(m.calls, m.upstream, m.flight, m.panics, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Begin counts a call as under way; Done ends that.
func (m *Meter) Begin() { m.flight.Inc() }

// Panic counts a call that ended in a panic.
func (m *Meter) Panic() { m.panics.Inc() }

// Done counts a call by what became of it.
func (m *Meter) Done(route control.RouteID, outcome control.Outcome, code string) {
	m.flight.Dec()
	m.calls.WithLabelValues(string(route), string(outcome), code).Inc()
}

// Upstream notes how long a seller took.
func (m *Meter) Upstream(took time.Duration) { m.upstream.Observe(took.Seconds()) }

// Handler serves /healthz, /readyz, /metrics and /debug/pprof/. ready names what is
// missing, nothing if the gateway can serve.
func Handler(m *Meter, ready func(context.Context) []string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, nil)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		answer(w, ready(r.Context()))
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 2}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

func answer(w http.ResponseWriter, reasons []string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if len(reasons) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(struct {
		OK      bool     `json:"ok"`
		Reasons []string `json:"reasons,omitempty"`
	}{len(reasons) == 0, reasons}) // who asked has gone
}
