package proxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
)

// forward sends one call through p and returns the refusal's code, or the answer.
func forward(p *Proxy, r *control.Route, method, path, body string) (string, *fasthttp.Response) {
	ctx := &fasthttp.RequestCtx{}
	ctx.Request.Header.SetMethod(method)
	ctx.Request.Header.SetHost("api.test")
	c := &gate.Call{Request: ctx, Route: r, Group: &control.Group{}, Prepared: p.Prepare(r), Path: []byte(path), Target: []byte(path), Body: []byte(body)}
	err := p.Forward(c, &ctx.Response)
	var refusal *gate.Refusal
	switch {
	case errors.As(err, &refusal):
		return refusal.Code + " " + refusal.Message, nil
	case err != nil:
		return err.Error(), nil
	}
	return "", &ctx.Response
}

func ending(t *testing.T, o Options) *Proxy {
	t.Helper()
	p := New(o)
	t.Cleanup(p.Close)
	return p
}

// Sellers register addresses; what resolves to the inside is not called. S9.
func TestAddressPolicy(t *testing.T) {
	answers := map[string][]netip.Addr{
		"inside.test":  {netip.MustParseAddr("10.0.0.1")},
		"mixed.test":   {netip.MustParseAddr("1.1.1.1"), netip.MustParseAddr("127.0.0.1")},
		"mapped.test":  {netip.MustParseAddr("::ffff:127.0.0.1")},
		"metadata.com": {netip.MustParseAddr("169.254.169.254")},
	}
	var asked atomic.Int64
	p := ending(t, Options{Resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
		asked.Add(1)
		if a, ok := answers[host]; ok {
			return a, nil
		}
		return nil, errors.New("no such host")
	}})
	for at, want := range map[string]string{
		"http://inside.test":      "D504IL Domain `inside.test` resolve to illegal address `10.0.0.1`",
		"http://mixed.test":       "D504IL Domain `mixed.test` resolve to illegal address `127.0.0.1`",
		"http://mapped.test":      "D504IL Domain `mapped.test` resolve to illegal address `::ffff:127.0.0.1`",
		"https://metadata.com":    "D504IL Domain `metadata.com` resolve to illegal address `169.254.169.254`",
		"http://127.0.0.1:1":      "D504IL Domain `127.0.0.1` resolve to illegal address `127.0.0.1`",
		"http://[::1]:1":          "D504IL Domain `::1` resolve to illegal address `::1`",
		"http://[fe80::1%25lo]:1": "D504IL Domain `fe80::1%lo` resolve to illegal address `fe80::1%lo`",
		"http://unknown.test":     "D504RE Domain `unknown.test` resolve failed",
	} {
		if got, _ := forward(p, &control.Route{ID: "rte_a", Upstream: at}, "GET", "/", ""); got != want {
			t.Errorf("%s: %q, want %q", at, got, want)
		}
	}
	if asked.Load() != 5 {
		t.Errorf("%d questions to the resolver, want one for each of 5 names", asked.Load())
	}
}

// A kept connection that the seller closed meanwhile is no fault of the call, POST or GET.
// P5, F18.
func TestDeadKeptConnectionIsNotUsed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served atomic.Int64
	var wait sync.WaitGroup
	closed := make(chan struct{}, 16)
	wait.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wait.Go(func() {
				// One answer, which says nothing of closing, and then the end.
				if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					served.Add(1)
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				}
				_ = c.Close()
				closed <- struct{}{}
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); wait.Wait() })
	p := ending(t, Options{AllowPrivate: true})
	r := &control.Route{ID: "rte_a", Upstream: "http://" + l.Addr().String()}
	for i := range 20 {
		if refused, _ := forward(p, r, "POST", "/", ""); refused != "" {
			t.Errorf("call %d: %s", i, refused)
		}
		<-closed
	}
	if served.Load() != 20 {
		t.Errorf("20 calls were served %d times", served.Load())
	}
}

// An answer that nobody asked for never becomes another caller's.
func TestSurplusAnswerIsNobodys(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	var conns atomic.Int64
	sent := make(chan struct{}, 16)
	wait.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Add(1)
			wait.Go(func() {
				defer c.Close()
				b := bufio.NewReader(c)
				for {
					r, err := http.ReadRequest(b)
					if err != nil {
						return
					}
					name := strings.TrimPrefix(r.URL.Path, "/")
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"+name)
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nX")
					sent <- struct{}{}
				}
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); wait.Wait() })
	p := ending(t, Options{AllowPrivate: true})
	r := &control.Route{ID: "rte_a", Upstream: "http://" + l.Addr().String()}
	for _, name := range []string{"a", "b", "c"} {
		refused, answer := forward(p, r, "GET", "/"+name, "")
		if refused != "" || string(answer.Body()) != name {
			t.Errorf("%s got %q %v", name, refused, answer)
		}
		<-sent
	}
	if conns.Load() != 3 {
		t.Errorf("%d connections, want a fresh one for each", conns.Load())
	}
}

func TestConnectionsAreKeptAndLetGo(t *testing.T) {
	var conns atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	p := ending(t, Options{AllowPrivate: true})
	r := &control.Route{ID: "rte_a", Upstream: s.URL}
	for range 10 {
		refused, answer := forward(p, r, "PUT", "/", "body")
		if refused != "" || string(answer.Body()) != "body" {
			t.Fatalf("%q %v", refused, answer)
		}
	}
	if conns.Load() != 1 {
		t.Errorf("%d connections for ten calls in a row", conns.Load())
	}
	p.Renew()
	p.Trim()
	if n := len(p.all()); n != 0 {
		t.Errorf("%d upstreams are kept though no route has them", n)
	}
	p.Renew()
	forward(p, r, "GET", "/", "")
	p.Trim()
	for _, pool := range p.all() {
		pool.prune(time.Now().Add(DefaultIdleLife), false)
		if len(pool.idle) != 0 {
			t.Error("an idle connection outlived its life")
		}
	}
}

// Too many calls to a slow seller wait a little, and are then told so.
func TestFullPoolRefuses(t *testing.T) {
	inside, release := make(chan struct{}), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(inside); <-release }))
	t.Cleanup(s.Close)
	p := ending(t, Options{AllowPrivate: true, MaxConns: 1, ConnWait: time.Millisecond})
	r := &control.Route{ID: "rte_a", Upstream: s.URL}
	var wait sync.WaitGroup
	wait.Go(func() {
		if refused, _ := forward(p, r, "GET", "/", ""); refused != "" {
			t.Error(refused)
		}
	})
	<-inside
	if got, _ := forward(p, r, "GET", "/", ""); !strings.HasPrefix(got, "D503BB") {
		t.Errorf("the second call: %q", got)
	}
	close(release)
	wait.Wait()
}

// The certificate is checked, against the name in the configuration. S8.
func TestCertificateIsChecked(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host) }))
	s.Config.ErrorLog = nil
	t.Cleanup(s.Close)
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	here := func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	roots := s.Client().Transport.(*http.Transport).TLSClientConfig
	strict := ending(t, Options{AllowPrivate: true, Resolve: here})
	if got, _ := forward(strict, &control.Route{Upstream: "https://example.com:" + port}, "GET", "/", ""); got != "D504CS Backend http ssl connect failed `certificate`" {
		t.Errorf("an unknown authority: %q", got)
	}
	trusting := ending(t, Options{AllowPrivate: true, Resolve: here, TLS: roots})
	if got, _ := forward(trusting, &control.Route{Upstream: "https://wrong.test:" + port}, "GET", "/", ""); !strings.HasPrefix(got, "D504CS") {
		t.Errorf("a wrong name: %q", got)
	}
	for range 3 {
		got, answer := forward(trusting, &control.Route{Upstream: "https://example.com:" + port}, "GET", "/", "")
		if got != "" || string(answer.Body()) != "example.com:"+port {
			t.Errorf("the right name: %q %v", got, answer)
		}
	}
}

func TestUpstreamPathIsFilledRaw(t *testing.T) {
	var asked string
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = r.RequestURI }))
	t.Cleanup(s.Close)
	p := ending(t, Options{AllowPrivate: true})
	r := &control.Route{ID: "rte_a", Path: "/u/[id]/[*]", Upstream: s.URL + "/v2/", UpstreamPath: "/users/[id]/f/[*]"}
	ctx := &fasthttp.RequestCtx{}
	c := &gate.Call{Request: ctx, Route: r, Group: &control.Group{}, Prepared: p.Prepare(r), Path: []byte("/u/a%2Fb/c/d"), Query: []byte("x=%20"),
		Params: []gate.Param{{Name: "id", Value: []byte("a%2Fb")}, {Name: "*", Value: []byte("c/d")}}}
	if err := p.Forward(c, &ctx.Response); err != nil {
		t.Fatal(err)
	}
	if asked != "/v2/users/a%2Fb/f/c/d?x=%20" {
		t.Errorf("the seller was asked for %q", asked)
	}
}
