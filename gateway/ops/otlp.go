package ops

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/gateway/control"
)

// ExportOptions say where traces and metrics go. Endpoint is needed.
type ExportOptions struct {
	Endpoint string            // of a collector that takes OTLP over HTTP: "http://127.0.0.1:4318"
	Headers  map[string]string // that it wants
	Service  string            // our name there; empty: "souk"
	Instance string            // which of the nodes we are

	Ratio     float64       // of the traces that begin here; those that came with a mark are told anyway
	MostTrace int64         // traces told in a second at most; 0: DefaultMostTraces
	Queue     int           // steps that may wait; 0: DefaultQueue
	Every     time.Duration // how often traces are sent; 0: DefaultTraceEvery
	Metrics   *Meter        // nil: no metrics are sent, unless Measure says whose
	MetricsIn time.Duration // how often those are; 0: DefaultMetricsEvery

	Client *http.Client // nil: one with a limit of time
	Log    *zap.Logger
}

// Defaults of ExportOptions.
const (
	DefaultMostTraces   = 1000
	DefaultQueue        = 4096
	DefaultTraceEvery   = time.Second
	DefaultMetricsEvery = 15 * time.Second

	batch     = 512 // steps in one message
	exportFor = 10 * time.Second
)

// Exporter sends what was traced and counted to a collector, from a goroutine of its own.
// A collector that is slow or gone costs calls nothing: what it does not take is dropped
// and counted.
type Exporter struct {
	Tracer *Tracer

	o      ExportOptions
	client *http.Client
	begun  time.Time
	stop   chan struct{}
	done   sync.WaitGroup
	failed bool // the last message was not taken; one line in the log is enough
	meter  atomic.Pointer[Meter]
}

// Measure says whose metrics are sent from now on.
func (e *Exporter) Measure(m *Meter) { e.meter.Store(m) }

// NewExporter begins to export.
func NewExporter(o ExportOptions) (*Exporter, error) {
	u, err := url.Parse(o.Endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("otlp: %q is no address of a collector, as http://127.0.0.1:4318 is", o.Endpoint)
	}
	if o.Ratio < 0 || o.Ratio > 1 {
		return nil, fmt.Errorf("otlp: the ratio %v is not between 0 and 1", o.Ratio)
	}
	if o.Service == "" {
		o.Service = "souk"
	}
	o.MostTrace, o.Queue = or(o.MostTrace, DefaultMostTraces), or(o.Queue, DefaultQueue)
	o.Every, o.MetricsIn = or(o.Every, DefaultTraceEvery), or(o.MetricsIn, DefaultMetricsEvery)
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	e := &Exporter{o: o, client: o.Client, begun: time.Now(), stop: make(chan struct{}),
		Tracer: &Tracer{steps: make(chan Step, o.Queue), most: o.MostTrace, ratio: ratioOf(o.Ratio)}}
	if e.client == nil {
		e.client = &http.Client{Timeout: exportFor}
	}
	e.meter.Store(o.Metrics)
	e.done.Go(e.run)
	return e, nil
}

func ratioOf(r float64) uint64 {
	if r >= 1 {
		return math.MaxUint64
	}
	return uint64(r * math.MaxUint64)
}

// Close sends what waits, as long as ctx allows, and ends.
func (e *Exporter) Close(ctx context.Context) error {
	close(e.stop)
	ended := make(chan struct{})
	go func() { e.done.Wait(); close(ended) }()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return errors.Join(errors.New("otlp: the collector takes its time"), ctx.Err())
	}
}

func (e *Exporter) run() {
	traces, metrics := time.NewTicker(e.o.Every), time.NewTicker(e.o.MetricsIn)
	defer traces.Stop()
	defer metrics.Stop()
	var waiting []Step
	for {
		select {
		case s := <-e.Tracer.steps:
			if waiting = append(waiting, s); len(waiting) < batch {
				continue
			}
			e.sendTraces(waiting)
		case <-traces.C:
			e.sendTraces(waiting)
		case <-metrics.C:
			e.sendMetrics()
			continue
		case <-e.stop:
			for more := true; more; {
				select {
				case s := <-e.Tracer.steps:
					waiting = append(waiting, s)
				default:
					more = false
				}
			}
			e.sendTraces(waiting)
			e.sendMetrics()
			return
		}
		waiting = waiting[:0]
	}
}

func (e *Exporter) sendTraces(steps []Step) {
	for len(steps) > 0 {
		n := min(batch, len(steps))
		if !e.send("/v1/traces", e.traces(steps[:n])) {
			e.Tracer.dropped.Add(uint64(n))
		}
		steps = steps[n:]
	}
}

func (e *Exporter) sendMetrics() {
	if m := e.meter.Load(); m != nil {
		e.send("/v1/metrics", e.metrics(m, time.Now()))
	}
}

// send sends a message, and once more if the collector asks for that.
func (e *Exporter) send(path string, body []byte) bool {
	var err error
	for try := range 2 {
		again := false
		if again, err = e.post(path, body); err == nil {
			e.failed = false
			return true
		}
		if !again || try == 1 {
			break
		}
		select {
		case <-time.After(time.Second): // what the collector asks for is longer than we keep things
		case <-e.stop:
		}
	}
	if !e.failed {
		e.o.Log.Warn("the collector takes no traces or metrics; they are dropped", zap.Error(err))
	}
	e.failed = true
	return false
}

func (e *Exporter) post(path string, body []byte) (again bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), exportFor)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.o.Endpoint+path, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	r.Header.Set("Content-Type", "application/json")
	for name, value := range e.o.Headers {
		r.Header.Set(name, value)
	}
	a, err := e.client.Do(r)
	if err != nil {
		return true, err
	}
	defer a.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(a.Body, 64<<10)) // so that the connection can be kept
	if a.StatusCode/100 != 2 {
		return a.StatusCode == 429 || a.StatusCode >= 502 && a.StatusCode <= 504, fmt.Errorf("status %d", a.StatusCode)
	}
	return false, nil
}

// page builds JSON of the form that OTLP has. Numbers of 64 bits are texts there.
type page struct{ b []byte }

func (p *page) raw(s string) *page { p.b = append(p.b, s...); return p }
func (p *page) text(s string) *page {
	p.b = appendJSON(p.b, s)
	return p
}
func (p *page) nanos(t time.Time) *page {
	p.b = append(strconv.AppendInt(append(p.b, '"'), t.UnixNano(), 10), '"')
	return p
}
func (p *page) hex(b []byte) *page { p.b = append(appendHex(append(p.b, '"'), b), '"'); return p }
func (p *page) count(n uint64) *page {
	p.b = append(strconv.AppendUint(append(p.b, '"'), n, 10), '"')
	return p
}

// comma stands between the parts of a list.
func (p *page) comma() *page {
	if c := p.b[len(p.b)-1]; c != '[' && c != '{' {
		p.b = append(p.b, ',')
	}
	return p
}
func (p *page) attribute(name, value string) {
	if value != "" {
		p.comma().raw(`{"key":`).text(name).raw(`,"value":{"stringValue":`).text(value).raw("}}")
	}
}
func (p *page) number(name string, value int64) {
	p.comma().raw(`{"key":`).text(name).raw(`,"value":{"intValue":"`).raw(strconv.FormatInt(value, 10)).raw(`"}}`)
}

func appendJSON(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for _, r := range s { // what is no UTF-8 becomes U+FFFD
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[r>>4], hexDigits[r&15])
		default:
			dst = append(dst, string(r)...)
		}
	}
	return append(dst, '"')
}

// resource says who we are.
func (e *Exporter) resource(p *page) {
	p.raw(`"resource":{"attributes":[`)
	p.attribute("service.name", e.o.Service)
	p.attribute("service.instance.id", e.o.Instance)
	p.raw(`]}`)
}

const scope = `"scope":{"name":"github.com/souk-market/souk/gateway"}`

// The kinds of steps: we are asked, and we ask.
const (
	kindServer = "2"
	kindClient = "3"
)

func (e *Exporter) traces(steps []Step) []byte {
	var p page
	p.raw(`{"resourceSpans":[{`)
	e.resource(&p)
	p.raw(`,"scopeSpans":[{` + scope + `,"spans":[`)
	for i := range steps {
		s := &steps[i]
		name := s.Method
		if s.Path != "" {
			name += " " + s.Path
		}
		if name == "" {
			name = "refused"
		}
		p.comma().raw(`{"traceId":`).hex(s.ID[:]).raw(`,"spanId":`).hex(s.Call[:])
		if s.Parent != [8]byte{} {
			p.raw(`,"parentSpanId":`).hex(s.Parent[:])
		}
		p.raw(`,"name":`).text(name).raw(`,"kind":` + kindServer + `,"startTimeUnixNano":`).nanos(s.Began).raw(`,"endTimeUnixNano":`).nanos(s.Ended).raw(`,"attributes":[`)
		p.attribute("http.request.method", s.Method)
		p.attribute("http.route", s.Path)
		p.attribute("souk.route", string(s.Route))
		p.attribute("souk.request", s.Request)
		p.attribute("souk.outcome", string(s.Outcome))
		p.attribute("error.type", s.Code)
		p.number("http.response.status_code", int64(s.Status))
		p.raw(`]`)
		if s.Status >= 500 { // a refusal of the caller is no fault of this step
			p.raw(`,"status":{"code":2}`)
		}
		p.raw(`}`)
		if s.Asked.IsZero() {
			continue
		}
		answered := s.Answered
		if answered.IsZero() {
			answered = s.Ended
		}
		p.raw(`,{"traceId":`).hex(s.ID[:]).raw(`,"spanId":`).hex(s.Ask[:]).raw(`,"parentSpanId":`).hex(s.Call[:]).raw(`,"name":`).text(name).
			raw(`,"kind":` + kindClient + `,"startTimeUnixNano":`).nanos(s.Asked).raw(`,"endTimeUnixNano":`).nanos(answered).raw(`,"attributes":[`)
		p.attribute("http.request.method", s.Method)
		p.attribute("souk.route", string(s.Route))
		p.raw(`]}`)
	}
	return p.raw(`]}]}]}`).b
}

// cumulative: a number counts from when we began.
const cumulative = `"aggregationTemporality":2`

func (e *Exporter) metrics(m *Meter, now time.Time) []byte {
	var p page
	times := func() {
		p.raw(`"startTimeUnixNano":`).nanos(e.begun).raw(`,"timeUnixNano":`).nanos(now)
	}
	p.raw(`{"resourceMetrics":[{`)
	e.resource(&p)
	p.raw(`,"scopeMetrics":[{` + scope + `,"metrics":[{"name":"souk.gateway.calls","unit":"{call}","sum":{` + cumulative + `,"isMonotonic":true,"dataPoints":[`)
	names := m.codes.Load().names
	for _, c := range m.counts() {
		c.each(names, func(outcome control.Outcome, code string, n uint64) {
			p.comma().raw(`{`)
			times()
			p.raw(`,"asInt":`).count(n).raw(`,"attributes":[`)
			p.attribute("souk.route", c.route)
			p.attribute("souk.outcome", string(outcome))
			p.attribute("souk.code", code)
			p.raw(`]}`)
		})
	}
	p.raw(`]}},{"name":"souk.gateway.calls.in_flight","unit":"{call}","gauge":{"dataPoints":[{"timeUnixNano":`).nanos(now).raw(`,"asInt":"`).
		raw(strconv.FormatInt(m.flight.Load(), 10)).raw(`"}]}}`)
	for _, h := range []struct {
		name string
		of   *Histogram
	}{{"http.server.request.duration", &m.whole}, {"souk.gateway.upstream.duration", &m.upstream}} {
		p.raw(`,{"name":`).text(h.name).raw(`,"unit":"s","histogram":{` + cumulative + `,"dataPoints":[{`)
		times()
		var sum uint64
		p.raw(`,"bucketCounts":[`)
		for i := range h.of.counts {
			n := h.of.counts[i].Load()
			sum += n
			p.comma().count(n)
		}
		p.raw(`],"explicitBounds":[`)
		for _, b := range bounds {
			p.comma().raw(strconv.FormatFloat(b.Seconds(), 'g', -1, 64))
		}
		p.raw(`],"count":`).count(sum).raw(`,"sum":` + strconv.FormatFloat(float64(h.of.micros.Load())/1e6, 'g', -1, 64) + `}]}}`)
	}
	return p.raw(`]}]}]}`).b
}
