package ops

import (
	"bytes"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"github.com/souk-market/souk/gateway/control"
)

// Bounds of what a meter has names for. No label holds what a caller can invent: routes are
// those of the configuration, codes those of the gateway and its filters, and a seller's
// status is known by its class.
const (
	DefaultMaxRoutes = 100_000 // further ones are counted as Other
	maxCodes         = 192     // further ones are counted as Other
	Other            = "other"
)

// Meter counts calls. Its numbers are plain atomics that the call path reaches without
// looking anything up: a route's are prepared with the route. They are put into words when
// somebody asks.
//
// Why not a vector of the client library: its look-up costs a hash of all labels and a lock
// on each call, and ten thousand routes take it seconds to print.
type Meter struct {
	// Nowhere has the calls for which no route was found.
	Nowhere *Counts

	registry *prometheus.Registry
	flight   atomic.Int64
	whole    Histogram // of calls
	upstream Histogram
	most     int

	mu     sync.Mutex // guards routes, other and turn
	routes map[control.RouteID]*Counts
	other  *Counts
	turn   int64

	codes atomic.Pointer[codes]
	write sync.Mutex // one writer of codes at a time

	lines atomic.Pointer[[]line] // beside the calls
}

// codes are the refusals that there are, each with a place in Counts.
type codes struct {
	place map[string]int
	names []string
}

// Counts are the calls of one route. The zero value is not ready: Meter.Route makes them.
type Counts struct {
	route   string
	meter   *Meter
	turn    int64            // when it was last asked for; guarded by the meter's mu
	charged [6]atomic.Uint64 // by class of status; 0: none of the five
	free    [6]atomic.Uint64
	refused atomic.Pointer[[maxCodes]atomic.Uint64] // by place of the code; made with the first
}

// line is a number that somebody else keeps.
type line struct {
	name, help, kind string
	value            func() float64
}

// NewMeter makes a meter with a registry of its own.
func NewMeter() *Meter {
	m := &Meter{registry: prometheus.NewRegistry(), routes: map[control.RouteID]*Counts{}, most: DefaultMaxRoutes}
	m.Nowhere, m.other = &Counts{meter: m}, &Counts{meter: m, route: Other}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	c := &codes{place: map[string]int{Other: 0}, names: []string{Other}}
	for _, code := range slices.Sorted(maps.Keys(advices)) {
		c.place[code] = len(c.names)
		c.names = append(c.names, code)
	}
	m.codes.Store(c)
	return m
}

// Route gives the counts of a route, to be kept with what is prepared for it. What was
// counted before goes on.
func (m *Meter) Route(id control.RouteID) *Counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.routes[id]
	if c == nil {
		if len(m.routes) >= m.most {
			return m.other
		}
		c = &Counts{meter: m, route: string(id)}
		m.routes[id] = c
	}
	c.turn = m.turn
	return c
}

// Renew begins a new configuration: routes that Route is not asked for until Trim are gone
// then.
func (m *Meter) Renew() {
	m.mu.Lock()
	m.turn++
	m.mu.Unlock()
}

// Trim forgets the routes that Route was not asked for since Renew. Calls that are under
// way go on counting for nobody.
func (m *Meter) Trim() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, c := range m.routes {
		if c.turn != m.turn {
			delete(m.routes, id)
		}
	}
}

// Answered counts a call that the seller, or the gateway in his place, has answered.
func (c *Counts) Answered(charged bool, status int) {
	class := status / 100
	if class < 1 || class > 5 {
		class = 0
	}
	if charged {
		c.charged[class].Add(1)
	} else {
		c.free[class].Add(1)
	}
}

// Refused counts a call that ended with a code of the gateway's.
func (c *Counts) Refused(code string) {
	list := c.refused.Load()
	if list == nil {
		list = new([maxCodes]atomic.Uint64)
		if !c.refused.CompareAndSwap(nil, list) {
			list = c.refused.Load()
		}
	}
	place, ok := c.meter.codes.Load().place[code]
	if !ok {
		place = c.meter.learn(code)
	}
	list[place].Add(1)
}

// learn finds a place for a code that was not seen before: filters have codes of their own.
func (m *Meter) learn(code string) int {
	m.write.Lock()
	defer m.write.Unlock()
	old := m.codes.Load()
	if place, ok := old.place[code]; ok {
		return place
	}
	if len(old.names) == maxCodes {
		return 0
	}
	next := &codes{place: maps.Clone(old.place), names: append(slices.Clone(old.names), code)}
	next.place[code] = len(old.names)
	m.codes.Store(next)
	return len(old.names)
}

// Begin counts a call as under way; End ends that, with what it took in all.
func (m *Meter) Begin() { m.flight.Add(1) }

// End ends what Begin began.
func (m *Meter) End(took time.Duration) {
	m.flight.Add(-1)
	m.whole.Observe(took)
}

// InFlight is how many calls are under way.
func (m *Meter) InFlight() int64 { return m.flight.Load() }

// Upstream notes how long a seller took.
func (m *Meter) Upstream(took time.Duration) { m.upstream.Observe(took) }

// Done counts a call by what became of it, and ends it.
func (m *Meter) Done(route control.RouteID, outcome control.Outcome, code string) {
	m.flight.Add(-1)
	c := m.Nowhere
	if route != "" {
		c = m.Route(route)
	}
	if len(code) == 3 && code[1:] == "xx" {
		c.Answered(outcome == control.Charged, 100*int(code[0]-'0'))
		return
	}
	c.Refused(code)
}

// Gauge adds a number that somebody else keeps. The name follows the client library's
// rules; value is asked whenever the metrics are.
func (m *Meter) Gauge(name, help string, value func() float64) {
	m.line(line{name, help, "gauge", value})
}

// Counter adds one that only grows.
func (m *Meter) Counter(name, help string, value func() float64) {
	m.line(line{name, help, "counter", value})
}

func (m *Meter) line(l line) {
	m.write.Lock()
	defer m.write.Unlock()
	var list []line
	if p := m.lines.Load(); p != nil {
		list = slices.Clone(*p)
	}
	list = append(slices.DeleteFunc(list, func(o line) bool { return o.name == l.name }), l)
	m.lines.Store(&list)
}

// Registry takes further collectors of the client library.
func (m *Meter) Registry() prometheus.Registerer { return m.registry }

// counts are all counts there are, in the order of their routes.
func (m *Meter) counts() []*Counts {
	m.mu.Lock()
	list := make([]*Counts, 0, len(m.routes)+2)
	for _, c := range m.routes {
		list = append(list, c)
	}
	m.mu.Unlock()
	slices.SortFunc(list, func(a, b *Counts) int {
		switch {
		case a.route < b.route:
			return -1
		case a.route > b.route:
			return 1
		}
		return 0
	})
	return append(list, m.Nowhere, m.other)
}

var classes = [...]string{"", "1xx", "2xx", "3xx", "4xx", "5xx"}

// each tells all numbers of a route that are not zero.
func (c *Counts) each(names []string, tell func(outcome control.Outcome, code string, n uint64)) {
	for i := range classes {
		if n := c.charged[i].Load(); n > 0 {
			tell(control.Charged, classes[i], n)
		}
		if n := c.free[i].Load(); n > 0 {
			tell(control.Free, classes[i], n)
		}
	}
	list := c.refused.Load()
	if list == nil {
		return
	}
	for i, name := range names {
		if n := list[i].Load(); n > 0 {
			tell(outcome(name), name, n)
		}
	}
}

// outcome of a call that got a code: what failed on the way to the seller is free, what was
// turned away is refused.
func outcome(code string) control.Outcome {
	switch code[0] {
	case 'D', 'N', 'X':
		return control.Free
	}
	return control.Refused
}

// Write appends all metrics in the text form of Prometheus.
func (m *Meter) Write(b *bytes.Buffer) error {
	families, err := m.registry.Gather()
	if err != nil {
		return err
	}
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(b, f); err != nil {
			return err
		}
	}
	b.WriteString("# HELP souk_gateway_calls_total Calls by route, outcome and code; refusals before a route was found have no route.\n" +
		"# TYPE souk_gateway_calls_total counter\n")
	names := m.codes.Load().names
	var text, tail []byte
	for _, c := range m.counts() {
		tail = append(appendLabel(append(tail[:0], `",route="`...), c.route), `"} `...)
		c.each(names, func(outcome control.Outcome, code string, n uint64) {
			text = appendLabel(append(text[:0], `souk_gateway_calls_total{code="`...), code)
			text = append(append(text, `",outcome="`...), outcome...)
			text = strconv.AppendUint(append(text, tail...), n, 10)
			text = append(text, '\n')
			b.Write(text)
		})
	}
	b.WriteString("# HELP souk_gateway_calls_in_flight Calls under way.\n# TYPE souk_gateway_calls_in_flight gauge\nsouk_gateway_calls_in_flight " +
		strconv.FormatInt(m.flight.Load(), 10) + "\n")
	m.whole.write(b, "http_server_request_duration_seconds", "Time from a call's head to the end of its answer.")
	m.upstream.write(b, "souk_gateway_upstream_seconds", "Time from sending a call to the head of its answer.")
	if p := m.lines.Load(); p != nil {
		for _, l := range *p {
			b.WriteString("# HELP " + l.name + " " + l.help + "\n# TYPE " + l.name + " " + l.kind + "\n" + l.name + " ")
			b.WriteString(strconv.FormatFloat(l.value(), 'g', -1, 64) + "\n")
		}
	}
	return nil
}

func appendLabel(dst []byte, value string) []byte {
	for i := range len(value) {
		switch c := value[i]; c {
		case '\\', '"':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// Histogram counts durations. The zero value is ready.
type Histogram struct {
	counts [len(bounds) + 1]atomic.Uint64 // each by itself, not added up
	micros atomic.Uint64
}

// bounds are those of OpenTelemetry for HTTP, and a few below them: most calls take less
// than five milliseconds.
var bounds = [...]time.Duration{
	250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond,
	25 * time.Millisecond, 50 * time.Millisecond, 75 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	750 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second, 7500 * time.Millisecond, 10 * time.Second,
}

// Observe counts one.
func (h *Histogram) Observe(took time.Duration) {
	i := 0
	for i < len(bounds) && took > bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.micros.Add(uint64(max(0, took.Microseconds())))
}

func (h *Histogram) write(b *bytes.Buffer, name, help string) {
	b.WriteString("# HELP " + name + " " + help + "\n# TYPE " + name + " histogram\n")
	var sum uint64
	for i := range h.counts {
		sum += h.counts[i].Load()
		le := "+Inf"
		if i < len(bounds) {
			le = strconv.FormatFloat(bounds[i].Seconds(), 'g', -1, 64)
		}
		b.WriteString(name + `_bucket{le="` + le + `"} ` + strconv.FormatUint(sum, 10) + "\n")
	}
	b.WriteString(name + "_sum " + strconv.FormatFloat(float64(h.micros.Load())/1e6, 'g', -1, 64) + "\n")
	b.WriteString(name + "_count " + strconv.FormatUint(sum, 10) + "\n")
}
