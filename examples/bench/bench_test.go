package bench

import (
	"context"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/souk-market/souk/examples/demo"
)

// block is how many calls one side makes before it is the other's turn.
const block = 50

// side is one of the two ways to the same upstream, and what its calls have cost.
type side struct {
	url        string
	code       string
	calls      int
	wall, used time.Duration
}

// cpu is the processor time that this process has used: caller, proxy and upstream
// together, the same for both sides but for the proxy.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (s *side) run(b *testing.B, client *fasthttp.Client) {
	r, w := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(r)
	defer fasthttp.ReleaseResponse(w)
	begun, before := time.Now(), cpu(b)
	for range block {
		r.Reset()
		r.SetRequestURI(s.url + "/accept/get?a=b")
		r.Header.Set("Authorization", "APPCODE "+s.code)
		if err := client.Do(r, w); err != nil {
			b.Fatal(err)
		}
		if w.StatusCode() != fasthttp.StatusOK {
			b.Fatalf("%s: status %d %s", s.url, w.StatusCode(), w.Header.Peek("X-Ca-Error-Message"))
		}
	}
	s.wall += time.Since(begun)
	s.used += cpu(b) - before
	s.calls += block
}

func (s *side) micros(d time.Duration) float64 {
	return float64(d.Nanoseconds()) / 1000 / float64(s.calls)
}

// bare is a proxy that does nothing but pass on.
func bare(b *testing.B, upstream string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	client := &fasthttp.HostClient{Addr: strings.TrimPrefix(upstream, "http://")}
	server := &fasthttp.Server{Handler: func(c *fasthttp.RequestCtx) {
		if err := client.Do(&c.Request, &c.Response); err != nil {
			c.Error(err.Error(), fasthttp.StatusBadGateway)
		}
	}}
	go func() { _ = server.Serve(l) }() // ends with Shutdown
	b.Cleanup(func() { _ = server.Shutdown() })
	return "http://" + l.Addr().String()
}

func BenchmarkGatewayBesideABareProxy(b *testing.B) {
	m, err := demo.Start(b.Context(), demo.Options{Data: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := m.Close(ctx); err != nil {
			b.Error(err)
		}
	}()
	through := &side{url: m.GatewayURL, code: m.Ready.App.AppCode}
	plain := &side{url: bare(b, m.Ready.Upstream), code: "none"}
	client := &fasthttp.Client{}
	through.run(b, client) // connections, and the first lease
	plain.run(b, client)
	*through, *plain = side{url: through.url, code: through.code}, side{url: plain.url, code: plain.code}

	for b.Loop() {
		through.run(b, client)
		plain.run(b, client)
	}
	b.ReportMetric(through.micros(through.wall), "gateway-µs/call")
	b.ReportMetric(plain.micros(plain.wall), "bare-µs/call")
	b.ReportMetric(through.micros(through.wall)-plain.micros(plain.wall), "added-µs/call")
	b.ReportMetric(float64(through.wall)/float64(plain.wall), "latency-ratio")
	b.ReportMetric(float64(through.used)/float64(plain.used), "cpu-ratio")
}
