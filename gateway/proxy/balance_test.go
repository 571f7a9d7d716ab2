package proxy

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"crypto/tls"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
)

func pemKey(c tls.Certificate) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
}

// team is some sellers that say who they are, each of which can be made to fail.
type team struct {
	urls  []string
	fail  []atomic.Bool
	calls []atomic.Int64
}

func newTeam(t *testing.T, n int) *team {
	t.Helper()
	m := &team{fail: make([]atomic.Bool, n), calls: make([]atomic.Int64, n)}
	for i := range n {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/health" {
				m.calls[i].Add(1)
			}
			if m.fail[i].Load() {
				if r.URL.Path == "/health" {
					w.WriteHeader(503)
					return
				}
				c, _, err := w.(http.Hijacker).Hijack()
				if err == nil {
					_ = c.Close() // without a word
				}
				return
			}
			_, _ = fmt.Fprint(w, i)
		}))
		t.Cleanup(s.Close)
		m.urls = append(m.urls, s.URL)
	}
	return m
}

func (m *team) upstream(change func(*control.Upstream)) *control.Upstream {
	u := &control.Upstream{ID: "ups_a"}
	for _, url := range m.urls {
		u.Targets = append(u.Targets, control.Target{URL: url})
	}
	if change != nil {
		change(u)
	}
	return u
}

var balanced = &control.Route{ID: "rte_a", Via: "ups_a"}

// who answers n calls, in order.
func who(t *testing.T, p *Proxy, w *Way, n int, app string) string {
	t.Helper()
	var b strings.Builder
	for range n {
		c := call(balanced, "GET", "/")
		c.App = control.AppID(app)
		refused, a := send(p, c, w, nil, 0)
		if refused != "" {
			b.WriteString("(" + refused[:6] + ")")
			continue
		}
		b.WriteString(a.body)
	}
	return b.String()
}

// Calls go round by weight, and evenly among those of one weight.
func TestRoundRobin(t *testing.T) {
	m := newTeam(t, 3)
	p := ending(t, Options{AllowPrivate: true})
	if got := who(t, p, p.Prepare(balanced, m.upstream(nil)), 6, "a"); got != "012012" {
		t.Errorf("%s", got)
	}
	weighted := m.upstream(func(u *control.Upstream) { u.Targets[0].Weight = 3; u.Targets[2].Backup = true })
	if got := who(t, p, p.Prepare(balanced, weighted), 8, "a"); got != "00100010" && got != "00100100" && got != "01000100" {
		t.Errorf("3 to 1, and a backup that is not needed: %s", got)
	}
}

// The least busy target for its weight gets the next call.
func TestLeastRequests(t *testing.T) {
	m := newTeam(t, 2)
	p := ending(t, Options{AllowPrivate: true})
	w := p.Prepare(balanced, m.upstream(func(u *control.Upstream) { u.Spread = control.LeastRequests; u.Targets[1].Weight = 3 }))
	w.up.targets[0].flight.Store(2)
	w.up.targets[1].flight.Store(5)
	if got := who(t, p, w, 1, "a"); got != "1" {
		t.Errorf("2 of weight 1 against 5 of weight 3: %s", got)
	}
	w.up.targets[1].flight.Store(7)
	if got := who(t, p, w, 1, "a"); got != "0" {
		t.Errorf("2 of weight 1 against 7 of weight 3: %s", got)
	}
}

// One value has one target, and keeps it when another target goes.
func TestConsistentHash(t *testing.T) {
	m := newTeam(t, 4)
	p := ending(t, Options{AllowPrivate: true})
	w := p.Prepare(balanced, m.upstream(func(u *control.Upstream) { u.Spread = control.ConsistentHash }))
	before := map[string]string{}
	share := map[string]int{}
	for i := range 200 {
		app := fmt.Sprint("app", i)
		before[app] = who(t, p, w, 1, app)
		share[before[app]]++
		if again := who(t, p, w, 2, app); again != before[app]+before[app] {
			t.Fatalf("%s went to %s, then to %s", app, before[app], again)
		}
	}
	for i := range 4 {
		if n := share[fmt.Sprint(i)]; n < 20 || n > 90 {
			t.Errorf("target %d has %d of 200", i, n)
		}
	}
	w.up.targets[2].down.Store(true)
	for app, was := range before {
		now := who(t, p, w, 1, app)
		if was != "2" && now != was || now == "2" {
			t.Errorf("%s went from %s to %s when 2 went", app, was, now)
		}
	}
	for _, on := range []string{"address", "header:X-Shard", "query:k", "path:id"} {
		w := p.Prepare(balanced, m.upstream(func(u *control.Upstream) { u.Spread, u.HashOn = control.ConsistentHash, on }))
		if got := who(t, p, w, 3, "a"); got[0] != got[1] || got[1] != got[2] {
			t.Errorf("%s: one value went to %s", on, got)
		}
	}
}

// A call whose connection cannot be made goes to another target, each once; one that a
// seller may have seen does not, unless the seller said that it may. F18, P6, property 11.
func TestFailover(t *testing.T) {
	m := newTeam(t, 2)
	p := ending(t, Options{AllowPrivate: true})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + l.Addr().String()
	_ = l.Close()
	gone := m.upstream(func(u *control.Upstream) { u.Targets[0].URL = nobody })
	if got := who(t, p, p.Prepare(balanced, gone), 4, "a"); got != "1111" {
		t.Errorf("nobody listens at the first: %s", got)
	}
	none := m.upstream(func(u *control.Upstream) { u.Targets[0].URL, u.Targets[1].URL = nobody, nobody+"/b" })
	if got := who(t, p, p.Prepare(balanced, none), 1, "a"); got != "(D504CO)" {
		t.Errorf("nobody listens at all: %s", got)
	}
	m.fail[0].Store(true)
	before := m.calls[0].Load() + m.calls[1].Load()
	if got := who(t, p, p.Prepare(balanced, m.upstream(nil)), 4, "a"); got != "(N502RE)1(N502RE)1" {
		t.Errorf("the first answers nobody: %s", got)
	}
	if n := m.calls[0].Load() + m.calls[1].Load() - before; n != 4 {
		t.Errorf("4 calls reached a seller %d times", n)
	}
	again := m.upstream(func(u *control.Upstream) { u.Retry = control.Retry{Attempts: 2, Idempotent: true} })
	c := call(balanced, "GET", "/")
	w := p.Prepare(balanced, again)
	if refused, a := send(p, c, w, nil, 0); refused != "" || a.body != "1" || c.Tries != 2 {
		t.Errorf("he said that it may be asked again: %q %+v, %d tries", refused, a, c.Tries)
	}
	m.fail[1].Store(true)
	c = call(balanced, "POST", "/")
	if refused, _ := send(p, c, w, nil, 0); !strings.HasPrefix(refused, "N502RE") || c.Tries != 2 {
		t.Errorf("both fail: %q, %d tries, want 2", refused, c.Tries)
	}
	hung, _ := seller(t, func(net.Conn, *http.Request) bool { <-t.Context().Done(); return false })
	for on, tries := range map[bool]int{false: 1, true: 3} {
		slow := m.upstream(func(u *control.Upstream) {
			u.Targets = u.Targets[:1]
			u.Targets[0].URL = hung
			u.Retry = control.Retry{Attempts: 3, Idempotent: true, OnTimeout: on}
		})
		c = call(balanced, "GET", "/")
		if refused, _ := send(p, c, p.Prepare(&control.Route{Via: "ups_a", Timeout: 20 * time.Millisecond}, slow), nil, 0); !strings.HasPrefix(refused, "D504TO") || c.Tries != tries {
			t.Errorf("a time-out, asked again %v: %q, %d tries, want %d", on, refused, c.Tries, tries)
		}
	}
}

// A target that fails too often in a row gets no calls for a while, longer each time; never
// more than half are out.
func TestOutlierIsEjected(t *testing.T) {
	m := newTeam(t, 3)
	var now atomic.Int64
	now.Store(time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC).UnixNano())
	p := ending(t, Options{AllowPrivate: true, Now: func() time.Time { return time.Unix(0, now.Load()) }})
	w := p.Prepare(balanced, m.upstream(func(u *control.Upstream) { u.Outlier = &control.Outlier{Failures: 2, For: 10 * time.Second} }))
	m.fail[0].Store(true)
	if got := who(t, p, w, 12, "a"); strings.Count(got, "(N502RE)") != 2 {
		t.Errorf("two failures put it out: %s", got)
	}
	now.Add(int64(10 * time.Second))
	if got := who(t, p, w, 12, "a"); strings.Count(got, "(N502RE)") != 2 {
		t.Errorf("after its time it is tried again: %s", got)
	}
	now.Add(int64(10 * time.Second))
	if got := who(t, p, w, 6, "a"); strings.Contains(got, "N502RE") {
		t.Errorf("the second time it is out for longer: %s", got)
	}
	now.Add(int64(10 * time.Second))
	m.fail[0].Store(false)
	if got := who(t, p, w, 6, "a"); !strings.Contains(got, "0") {
		t.Errorf("it is well again: %s", got)
	}
	for i := range m.fail {
		m.fail[i].Store(true)
	}
	_ = who(t, p, w, 30, "a")
	out := 0
	for _, target := range w.up.targets {
		if target.ejected.Load() > time.Unix(0, now.Load()).UnixMilli() {
			out++
		}
	}
	if out > 1 {
		t.Errorf("%d of 3 are out", out)
	}
}

// Probes find out who can serve, and who can again.
func TestProbes(t *testing.T) {
	m := newTeam(t, 2)
	p := ending(t, Options{AllowPrivate: true})
	h := &control.Health{Path: "/health", Rise: 2, Fall: 3, Every: time.Hour}
	w := p.Prepare(balanced, m.upstream(func(u *control.Upstream) { u.Health = h }))
	probe := func(i int, times int) {
		for range times {
			w.up.targets[i].note(h, w.up.targets[i].ask(p, h))
		}
	}
	m.fail[0].Store(true)
	probe(0, 2)
	if w.up.targets[0].down.Load() {
		t.Error("two bad probes are not three")
	}
	probe(0, 1)
	if got := who(t, p, w, 3, "a"); got != "111" {
		t.Errorf("the first is down: %s", got)
	}
	m.fail[1].Store(true)
	probe(1, 3)
	m.fail[0].Store(false)
	m.fail[1].Store(false)
	if got := who(t, p, w, 2, "a"); strings.Contains(got, "(") {
		t.Errorf("none is well: rather try than refuse: %s", got)
	}
	probe(0, 1)
	if !w.up.targets[0].down.Load() {
		t.Error("one good probe is not two")
	}
	probe(0, 1)
	if got := who(t, p, w, 3, "a"); got != "000" {
		t.Errorf("the first is well again: %s", got)
	}
	// The proxy's own clock does it as well.
	m.fail[0].Store(true)
	quick := m.upstream(func(u *control.Upstream) {
		u.Health = &control.Health{Path: "/health", Fall: 1, Every: time.Millisecond}
		u.Targets = u.Targets[:1]
	})
	w = p.Prepare(balanced, quick)
	deadline := time.Now().Add(10 * time.Second)
	for !w.up.targets[0].down.Load() && time.Now().Before(deadline) {
	}
	if !w.up.targets[0].down.Load() {
		t.Error("nobody probed")
	}
}

// pieces is a body that comes when it is told to.
type pieces struct {
	in   chan string
	once sync.Once
	stop chan struct{}
}

func newPieces() *pieces { return &pieces{in: make(chan string), stop: make(chan struct{})} }

func (p *pieces) Next() ([]byte, error) {
	select {
	case s, ok := <-p.in:
		if !ok {
			return nil, io.EOF
		}
		return []byte(s), nil
	case <-p.stop:
		return nil, io.ErrClosedPipe
	}
}

func (p *pieces) Stop() { p.once.Do(func() { close(p.stop) }) }

// Both bodies stream at once: the answer begins before the request has ended (half-duplex
// is gone, F17), over HTTP/1.1 and HTTP/2.
func TestBothWaysAtOnce(t *testing.T) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex() // HTTP/2 always is
		room := make([]byte, 16)
		for {
			n, err := r.Body.Read(room)
			if n > 0 {
				_, _ = w.Write(room[:n])
				_ = http.NewResponseController(w).Flush()
			}
			if err != nil {
				return
			}
		}
	})
	one := httptest.NewServer(echo)
	t.Cleanup(one.Close)
	two := httptest.NewUnstartedServer(echo)
	two.EnableHTTP2 = true
	two.StartTLS()
	t.Cleanup(two.Close)
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: two.Certificate().Raw}))
	p := ending(t, Options{AllowPrivate: true})
	for name, via := range map[string]*control.Upstream{
		"HTTP/1.1": {ID: "ups_a", Targets: []control.Target{{URL: one.URL}}},
		"HTTP/2":   {ID: "ups_a", Targets: []control.Target{{URL: two.URL}}, Protocol: "h2", TLS: &control.UpstreamTLS{CA: ca, Name: "example.com"}},
	} {
		t.Run(name, func(t *testing.T) {
			body := newPieces()
			c := call(balanced, "POST", "/")
			go func() { body.in <- "first" }()
			s, err := p.Forward(context.Background(), c, p.Prepare(balanced, via), -1, body)
			if err != nil {
				t.Fatal(err)
			}
			s.HeadSent()
			if piece, err := s.Next(); err != nil || string(piece) != "first" {
				t.Fatalf("%q %v: the answer waits for the whole request", piece, err)
			}
			body.in <- "second"
			if piece, err := s.Next(); err != nil || string(piece) != "second" {
				t.Fatalf("%q %v", piece, err)
			}
			close(body.in)
			if _, err := s.Next(); err != io.EOF {
				t.Errorf("the end: %v", err)
			}
			s.Close()
			// An answer that ends before the request does ends both.
			early := newPieces()
			go func() { early.in <- "x" }()
			c = call(balanced, "POST", "/")
			if s, err = p.Forward(context.Background(), c, p.Prepare(balanced, via), -1, early); err != nil {
				t.Fatal(err)
			}
			s.Close()
			if name == "HTTP/1.1" {
				<-early.stop // the caller's side was told
			}
		})
	}
}

// A body that fails on its way is the caller's fault, and nobody waits for an answer to it.
func TestBodyThatFails(t *testing.T) {
	at, _ := seller(t, says(ok))
	p := ending(t, Options{AllowPrivate: true})
	body := newPieces()
	go func() {
		body.in <- "some"
		body.Stop()
	}()
	c := call(balanced, "POST", "/")
	if got, _ := send(p, c, p.Prepare(&control.Route{Upstream: at}, nil), body, 100); !strings.HasPrefix(got, "I400BD") {
		t.Errorf("%q", got)
	}
}

// gRPC wants trailers: those of an answer are there when it has ended.
func TestTrailersOfHTTP2(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = io.WriteString(w, r.Header.Get("Te")+r.Proto)
		w.Header().Set("Grpc-Status", "0")
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	p := ending(t, Options{AllowPrivate: true})
	via := &control.Upstream{ID: "ups_a", Targets: []control.Target{{URL: s.URL}}, Protocol: "grpc", TLS: &control.UpstreamTLS{CA: ca, Name: "example.com"}}
	c := call(balanced, "POST", "/pkg.Service/Method")
	c.Fields = append(c.Fields, field("TE", "trailers"))
	stream, err := p.Forward(context.Background(), c, p.Prepare(balanced, via), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	piece, err := stream.Next()
	if err != nil || string(piece) != "trailersHTTP/2.0" {
		t.Fatalf("%q, %v", piece, err)
	}
	if _, err := stream.Next(); err != io.EOF {
		t.Fatal(err)
	}
	if got := stream.Trailers(); len(got) != 1 || string(got[0].Name) != "Grpc-Status" || string(got[0].Value) != "0" {
		t.Errorf("%q", got)
	}
}

func field(name, value string) gate.Field {
	return gate.Field{Name: []byte(name), Value: []byte(value)}
}
