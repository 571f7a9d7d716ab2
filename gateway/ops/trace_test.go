package ops

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
)

// collector keeps what it is sent.
type collector struct {
	*httptest.Server
	mu      sync.Mutex // guards the rest
	status  []int      // of the next answers; then 200
	traces  []span
	metrics []metric
	asked   int
}

type attribute struct {
	Key   string
	Value struct{ StringValue, IntValue string }
}

type span struct {
	TraceID, SpanID, ParentSpanID, Name string
	Kind                                int
	StartTimeUnixNano, EndTimeUnixNano  string
	Attributes                          []attribute
	Status                              struct{ Code int }
	service                             string
}

type metric struct {
	Name string
	Sum  struct {
		IsMonotonic bool
		DataPoints  []struct {
			AsInt      string
			Attributes []attribute
		}
	}
	Histogram struct {
		DataPoints []struct {
			BucketCounts   []string
			ExplicitBounds []float64
			Count          string
			Sum            float64
		}
	}
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.asked++
		if len(c.status) > 0 {
			w.WriteHeader(c.status[0])
			c.status = c.status[1:]
			return
		}
		if r.Header.Get("Content-Type") != "application/json" || r.Header.Get("X-Token") != "t" {
			t.Errorf("headers %v", r.Header)
		}
		var in struct {
			ResourceSpans []struct {
				Resource   struct{ Attributes []attribute }
				ScopeSpans []struct{ Spans []span }
			}
			ResourceMetrics []struct {
				ScopeMetrics []struct{ Metrics []metric }
			}
		}
		if err := json.Unmarshal(body, &in); err != nil {
			t.Errorf("%v in %s", err, body)
		}
		for _, rs := range in.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				for _, s := range ss.Spans {
					s.service = rs.Resource.Attributes[0].Value.StringValue
					c.traces = append(c.traces, s)
				}
			}
		}
		for _, rm := range in.ResourceMetrics {
			for _, sm := range rm.ScopeMetrics {
				c.metrics = append(c.metrics, sm.Metrics...)
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

func export(t *testing.T, c *collector, change func(*ExportOptions)) *Exporter {
	t.Helper()
	o := ExportOptions{Endpoint: c.URL, Headers: map[string]string{"X-Token": "t"}, Ratio: 1, Every: time.Hour, MetricsIn: time.Hour, Instance: "n1"}
	if change != nil {
		change(&o)
	}
	e, err := NewExporter(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func finish(t *testing.T, e *Exporter) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := e.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// A trace that a caller began goes on, through us, to the seller, and the collector hears
// of both our steps.
func TestATraceGoesOn(t *testing.T) {
	c := newCollector(t)
	e := export(t, c, func(o *ExportOptions) { o.Ratio = 0 })
	now := time.Unix(1_795_000_000, 5)
	trace := e.Tracer.Begin([]byte(parent), now)
	to := string(trace.Append(nil))
	if len(to) != TraceparentSize || !strings.HasPrefix(to, parent[:36]) || to[36:52] == parent[36:52] || !strings.HasSuffix(to, "-01") {
		t.Errorf("the seller gets %q of %q", to, parent)
	}
	e.Tracer.End(Step{Trace: trace, Began: now, Asked: now.Add(1), Answered: now.Add(2), Ended: now.Add(3), Route: "rte_a", Method: "GET", Path: "/v1/[id]",
		Request: "ID \"1\"\n\xff", Status: 502, Code: "N502RE", Outcome: control.Free})
	finish(t, e)
	if len(c.traces) != 2 {
		t.Fatalf("%d steps, want 2: %+v", len(c.traces), c.traces)
	}
	call, ask := c.traces[0], c.traces[1]
	if call.TraceID != parent[3:35] || call.ParentSpanID != parent[36:52] || call.Name != "GET /v1/[id]" || call.Kind != 2 || call.Status.Code != 2 ||
		call.StartTimeUnixNano != "1795000000000000005" || call.EndTimeUnixNano != "1795000000000000008" || call.service != "souk" {
		t.Errorf("our step: %+v", call)
	}
	if ask.TraceID != parent[3:35] || ask.ParentSpanID != call.SpanID || ask.SpanID != to[36:52] || ask.Kind != 3 || ask.EndTimeUnixNano != "1795000000000000007" {
		t.Errorf("our question: %+v", ask)
	}
	found := map[string]string{}
	for _, a := range call.Attributes {
		found[a.Key] = a.Value.StringValue + a.Value.IntValue
	}
	if found["http.route"] != "/v1/[id]" || found["http.response.status_code"] != "502" || found["error.type"] != "N502RE" || found["souk.request"] != "ID \"1\"\n�" || found["souk.outcome"] != "free" {
		t.Errorf("attributes %v", found)
	}
}

// What is no traceparent begins a trace of ours.
func TestWhatIsNoTraceIsIgnored(t *testing.T) {
	c := newCollector(t)
	e := export(t, c, nil)
	defer finish(t, e)
	for _, bad := range []string{"", "x", parent[:54], parent + "0", parent + "-00", "ff" + parent[2:], strings.ToUpper(parent), strings.Replace(parent, "-", "_", 1),
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", "0g" + parent[2:], parent[:53] + "zz"} {
		trace := e.Tracer.Begin([]byte(bad), time.Now())
		if !trace.Live() || trace.Parent != [8]byte{} || string(trace.Append(nil))[3:35] == parent[3:35] || !trace.Sampled {
			t.Errorf("%q: %+v", bad, trace)
		}
	}
	// A later version may say more.
	if trace := e.Tracer.Begin([]byte("01"+parent[2:]+"-more"), time.Now()); trace.Parent == [8]byte{} {
		t.Error("a later version must be read as far as it is known")
	}
	// The caller's mark decides, both ways.
	if trace := e.Tracer.Begin([]byte(parent[:54]+"0"), time.Now()); trace.Sampled || !strings.HasSuffix(string(trace.Append(nil)), "-00") {
		t.Error("a trace that its beginner does not tell must not be told")
	}
}

func TestSampling(t *testing.T) {
	c := newCollector(t)
	e := export(t, c, func(o *ExportOptions) { o.Ratio, o.MostTrace = 0.25, 1<<40 })
	defer finish(t, e)
	n := 0
	for range 4000 {
		if trace := e.Tracer.Begin(nil, time.Unix(1, 0)); trace.Sampled {
			n++
		}
	}
	if n < 800 || n > 1200 {
		t.Errorf("%d of 4000 are told, want about 1000", n)
	}
	for _, r := range []float64{-0.1, 1.1} {
		if _, err := NewExporter(ExportOptions{Endpoint: c.URL, Ratio: r}); err == nil {
			t.Errorf("a ratio of %v was taken", r)
		}
	}
	for _, u := range []string{"", "127.0.0.1:4318", "ftp://a"} {
		if _, err := NewExporter(ExportOptions{Endpoint: u}); err == nil {
			t.Errorf("the collector %q was taken", u)
		}
	}
}

// Strangers cannot flood the collector by marking each of their calls.
func TestMarkedTracesHaveABudget(t *testing.T) {
	c := newCollector(t)
	e := export(t, c, func(o *ExportOptions) { o.Ratio, o.MostTrace = 0, 10 })
	defer finish(t, e)
	count := func(at time.Time) (n int) {
		for range 100 {
			if trace := e.Tracer.Begin([]byte(parent), at); trace.Sampled {
				n++
			}
		}
		return n
	}
	if n := count(time.Unix(10, 0)); n != 10 {
		t.Errorf("%d in a second, want 10", n)
	}
	if n := count(time.Unix(11, 0)); n != 10 {
		t.Errorf("%d in the next second, want 10", n)
	}
}

// What the collector does not take, or what finds no room, is dropped and counted; nobody
// waits.
func TestWhatIsDroppedIsCounted(t *testing.T) {
	c := newCollector(t)
	c.status = []int{400}
	e := export(t, c, nil)
	e.Tracer.End(Step{Trace: e.Tracer.Begin(nil, time.Now()), Began: time.Now(), Ended: time.Now()})
	finish(t, e)
	if n := e.Tracer.Dropped(); n != 1 || c.asked != 1 {
		t.Errorf("%d dropped, asked %d times", n, c.asked)
	}
	full := &Tracer{steps: make(chan Step, 1), most: 10, ratio: ratioOf(1)}
	for range 3 {
		full.End(Step{Trace: full.Begin(nil, time.Now())})
	}
	if n := full.Dropped(); n != 2 {
		t.Errorf("%d found no room, want 2", n)
	}
}

// A collector that is busy is asked once more.
func TestABusyCollectorIsAskedAgain(t *testing.T) {
	c := newCollector(t)
	c.status = []int{503}
	e := export(t, c, nil)
	e.Tracer.End(Step{Trace: e.Tracer.Begin(nil, time.Now()), Began: time.Now(), Ended: time.Now()})
	finish(t, e)
	if len(c.traces) != 1 || c.asked != 2 || e.Tracer.Dropped() != 0 {
		t.Errorf("%d steps in %d tries, %d dropped", len(c.traces), c.asked, e.Tracer.Dropped())
	}
}

func TestMetricsAreExported(t *testing.T) {
	c, m := newCollector(t), NewMeter()
	m.Route("rte_a").Answered(true, 200)
	m.Route("rte_a").Refused("B403MQ")
	m.Upstream(3 * time.Millisecond)
	e := export(t, c, nil)
	e.Measure(m)
	finish(t, e)
	byName := map[string]metric{}
	for _, one := range c.metrics {
		byName[one.Name] = one
	}
	calls := byName["souk.gateway.calls"].Sum
	if !calls.IsMonotonic || len(calls.DataPoints) != 2 || calls.DataPoints[0].AsInt != "1" || calls.DataPoints[0].Attributes[0].Value.StringValue != "rte_a" {
		t.Errorf("calls %+v", calls)
	}
	h := byName["souk.gateway.upstream.duration"].Histogram.DataPoints
	if len(h) != 1 || h[0].Count != "1" || h[0].Sum != 0.003 || len(h[0].BucketCounts) != len(h[0].ExplicitBounds)+1 {
		t.Errorf("durations %+v", h)
	}
}

// Without a tracer a call has no trace, and costs nothing for it.
func TestNoTracerNoTrace(t *testing.T) {
	var off *Tracer
	trace := off.Begin([]byte(parent), time.Now())
	if trace.Live() || off.Dropped() != 0 {
		t.Errorf("%+v", trace)
	}
	off.End(Step{Trace: trace})
}

func TestTracingAllocatesNothing(t *testing.T) {
	on := &Tracer{steps: make(chan Step, 1), most: 1 << 40, ratio: ratioOf(1)}
	in, buf := []byte(parent), make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() {
		trace := on.Begin(in, time.Time{})
		buf = trace.Append(buf[:0])
		on.End(Step{Trace: trace})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
