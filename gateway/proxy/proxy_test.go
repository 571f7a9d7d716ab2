package proxy

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
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

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
)

// answer is what a call brought.
type answer struct {
	status int
	body   string
	fields gate.Fields
}

// forward sends one call through p and returns the refusal, or the answer.
func forward(p *Proxy, r *control.Route, via *control.Upstream, method, path, body string) (string, *answer) {
	c := call(r, method, path)
	c.Body, c.BodyRead = []byte(body), true
	return send(p, c, p.Prepare(r, via), nil, int64(len(body)))
}

func call(r *control.Route, method, path string) *gate.Call {
	here := netip.MustParseAddr("127.0.0.1")
	return &gate.Call{Method: []byte(method), Host: []byte("api.test"), Route: r, Group: &control.Group{}, Path: []byte(path), Target: []byte(path),
		From: here, Peer: here, App: "app_a"}
}

func send(p *Proxy, c *gate.Call, w *Way, source Source, length int64) (string, *answer) {
	s, err := p.Forward(context.Background(), c, w, length, source)
	if err != nil {
		if refusal := (*gate.Refusal)(nil); errors.As(err, &refusal) {
			return refusal.Code + " " + refusal.Message, nil
		}
		return err.Error(), nil
	}
	defer s.Close()
	a := &answer{status: c.Answer.Status}
	for _, f := range c.Answer.Fields {
		a.fields = append(a.fields, gate.Field{Name: []byte(string(f.Name)), Value: []byte(string(f.Value))})
	}
	s.HeadSent()
	for {
		piece, err := s.Next()
		a.body += string(piece)
		if errors.Is(err, io.EOF) {
			return "", a
		}
		if err != nil {
			return "cut", a
		}
	}
}

func ending(t *testing.T, o Options) *Proxy {
	t.Helper()
	p := New(o)
	t.Cleanup(p.Close)
	return p
}

// always resolves names as it is told, for a second each time.
func always(answers map[string][]netip.Addr, asked *atomic.Int64) func(context.Context, string) ([]netip.Addr, time.Duration, error) {
	return func(_ context.Context, host string) ([]netip.Addr, time.Duration, error) {
		asked.Add(1)
		if a, ok := answers[host]; ok {
			return a, time.Second, nil
		}
		return nil, 0, errors.New("no such host")
	}
}

// Sellers register addresses; what resolves to the inside is not called. S9, N1, N2.
func TestAddressPolicy(t *testing.T) {
	var asked atomic.Int64
	p := ending(t, Options{Resolve: always(map[string][]netip.Addr{
		"inside.test":  {netip.MustParseAddr("10.0.0.1")},
		"mixed.test":   {netip.MustParseAddr("1.1.1.1"), netip.MustParseAddr("127.0.0.1")},
		"mapped.test":  {netip.MustParseAddr("::ffff:127.0.0.1")},
		"metadata.com": {netip.MustParseAddr("169.254.169.254")},
	}, &asked)})
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
		r := &control.Route{ID: "rte_a", Upstream: at}
		if got, _ := forward(p, r, nil, "GET", "/", ""); got != want {
			t.Errorf("%s: %q, want %q", at, got, want)
		}
		// An event loop has no address to connect to, either.
		if place := p.Prepare(r, nil).Place(); place != nil {
			if a, ok := place.Address(); ok {
				t.Errorf("%s: a loop would connect to %s", at, a)
			}
		}
	}
	own := ending(t, Options{AllowPrivate: true, Deny: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:7")}})
	if got, _ := forward(own, &control.Route{Upstream: "http://127.0.0.1:7"}, nil, "GET", "/", ""); !strings.HasPrefix(got, "D504IL") {
		t.Errorf("a listener of our own: %q", got)
	}
}

// A name is asked for once for all who wait, again when its time is over, and while the DNS
// fails the last good answer serves for a while. X28.
func TestNames(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	t.Cleanup(s.Close)
	var asked atomic.Int64
	var fails atomic.Bool
	var now atomic.Int64
	now.Store(time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC).UnixNano())
	p := ending(t, Options{AllowPrivate: true, Now: func() time.Time { return time.Unix(0, now.Load()) },
		Resolve: func(context.Context, string) ([]netip.Addr, time.Duration, error) {
			asked.Add(1)
			if fails.Load() {
				return nil, 0, errors.New("no answer")
			}
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, 20 * time.Second, nil
		}})
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	r := &control.Route{Upstream: "http://seller.test:" + port}
	way := p.Prepare(r, nil)
	get := func(want string, times int64) {
		t.Helper()
		for _, pool := range p.allPools() {
			pool.prune(time.Unix(0, now.Load()).Add(time.Hour), false) // so that each call connects
		}
		c := call(r, "GET", "/")
		if got, _ := send(p, c, way, nil, 0); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%q, want %q", got, want)
		}
		if asked.Load() != times {
			t.Errorf("asked %d times, want %d", asked.Load(), times)
		}
	}
	get("", 1)
	get("", 1)
	now.Add(int64(20 * time.Second))
	get("", 2)
	fails.Store(true)
	now.Add(int64(time.Minute))
	get("", 3)
	now.Add(int64(staleTTL))
	get("D504RE", 4)
	fails.Store(false)
	get("", 5)
}

// seller answers each request of a connection by answer, which may end the connection.
func seller(t *testing.T, serve func(c net.Conn, r *http.Request) bool) (address string, conns *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conns = new(atomic.Int64)
	var wait sync.WaitGroup
	var open sync.Map
	wait.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Add(1)
			open.Store(c, nil)
			wait.Go(func() {
				defer c.Close()
				b := bufio.NewReader(c)
				for {
					r, err := http.ReadRequest(b)
					if err != nil || !serve(c, r) {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		open.Range(func(c, _ any) bool { _ = c.(net.Conn).Close(); return true })
		wait.Wait()
	})
	return "http://" + l.Addr().String(), conns
}

func says(text string) func(net.Conn, *http.Request) bool {
	return func(c net.Conn, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		_, err := io.WriteString(c, text)
		return err == nil
	}
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// A kept connection that the seller closed meanwhile is no fault of the call, POST or GET.
// P5, F18, G7.
func TestDeadKeptConnectionIsNotUsed(t *testing.T) {
	closed := make(chan struct{}, 64)
	var served atomic.Int64
	at, _ := seller(t, func(c net.Conn, _ *http.Request) bool {
		served.Add(1)
		_, _ = io.WriteString(c, ok)
		_ = c.Close() // it says nothing of it
		closed <- struct{}{}
		return false
	})
	p := ending(t, Options{AllowPrivate: true})
	r := &control.Route{ID: "rte_a", Upstream: at}
	for i := range 20 {
		if refused, _ := forward(p, r, nil, "POST", "/", ""); refused != "" {
			t.Errorf("call %d: %s", i, refused)
		}
		<-closed
	}
	if served.Load() != 20 {
		t.Errorf("20 calls were served %d times", served.Load())
	}
}

// An answer belongs to one call: what comes behind it, before it, or instead of it never
// becomes another caller's. F17, property 3.
func TestAnswersBelongToOneCall(t *testing.T) {
	for name, how := range map[string]struct {
		answer func(name string) string
		want   string
		conns  int64
	}{
		"a second answer": {func(n string) string {
			return "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + n + "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nX"
		}, "", 3},
		"surplus bytes": {func(n string) string { return "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + n + "sss" }, "", 3},
		"early hints": {func(n string) string {
			return "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + n
		}, "", 1},
		"switching protocols": {func(string) string { return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" }, "N502RE", 3},
		"too many hints": {func(n string) string {
			return strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 9) + "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + n
		}, "N502RE", 3},
		"a body behind 204": {func(string) string { return "HTTP/1.1 204 No Content\r\n\r\nX" }, "", 3},
	} {
		t.Run(name, func(t *testing.T) {
			sent := make(chan struct{}, 16)
			at, conns := seller(t, func(c net.Conn, r *http.Request) bool {
				_, _ = io.WriteString(c, how.answer(strings.TrimPrefix(r.URL.Path, "/")))
				sent <- struct{}{}
				return true
			})
			p := ending(t, Options{AllowPrivate: true})
			r := &control.Route{ID: "rte_a", Upstream: at}
			for _, name := range []string{"a", "b", "c"} {
				refused, answer := forward(p, r, nil, "GET", "/"+name, "")
				if !strings.HasPrefix(refused, how.want) || how.want == "" && (refused != "" || answer.status == 200 && answer.body != name) {
					t.Errorf("%s got %q %+v", name, refused, answer)
				}
				<-sent
			}
			if conns.Load() != how.conns {
				t.Errorf("%d connections, want %d", conns.Load(), how.conns)
			}
		})
	}
}

func TestConnectionsAreKeptAndLetGo(t *testing.T) {
	at, conns := seller(t, says(ok))
	var now atomic.Int64
	now.Store(time.Now().UnixNano())
	p := ending(t, Options{AllowPrivate: true, Now: func() time.Time { return time.Unix(0, now.Load()) }})
	r := &control.Route{ID: "rte_a", Upstream: at}
	way := p.Prepare(r, nil)
	for range 10 {
		c := call(r, "PUT", "/")
		c.Body, c.BodyRead = []byte("body"), true
		if refused, a := send(p, c, way, nil, 4); refused != "" || a.body != "ok" {
			t.Fatalf("%q %v", refused, a)
		}
	}
	if conns.Load() != 1 {
		t.Errorf("%d connections for ten calls in a row", conns.Load())
	}
	now.Add(int64(DefaultKeepIdle))
	if refused, _ := send(p, call(r, "GET", "/"), way, nil, 0); refused != "" || conns.Load() != 2 {
		t.Errorf("%q, %d connections: one outlived its time", refused, conns.Load())
	}
	for range DefaultKeepLife / DefaultKeepIdle * 2 { // never idle for long, and yet old
		now.Add(int64(DefaultKeepIdle / 2))
		if refused, _ := send(p, call(r, "GET", "/"), way, nil, 0); refused != "" {
			t.Fatal(refused)
		}
	}
	if conns.Load() != 3 {
		t.Errorf("%d connections: none lives for ever", conns.Load())
	}
}

// Too many calls to a slow seller wait a little, and are then told so; of those that wait
// there are only so many.
func TestFullPoolRefuses(t *testing.T) {
	inside, release := make(chan struct{}, 4), make(chan struct{})
	at, _ := seller(t, func(c net.Conn, _ *http.Request) bool {
		inside <- struct{}{}
		<-release
		_, err := io.WriteString(c, ok)
		return err == nil
	})
	p := ending(t, Options{AllowPrivate: true})
	r := &control.Route{ID: "rte_a", Via: "ups_a"}
	via := &control.Upstream{ID: "ups_a", Targets: []control.Target{{URL: at}}, MaxConns: 1, MaxQueue: 1, QueueTimeout: time.Minute}
	way := p.Prepare(r, via)
	var wait sync.WaitGroup
	for range 2 {
		wait.Go(func() {
			if refused, _ := send(p, call(r, "GET", "/"), way, nil, 0); refused != "" {
				t.Error(refused)
			}
		})
	}
	<-inside
	pool := p.allPools()[0]
	for pool.waiting.Load() == 0 { // the second comes to wait
	}
	if got, _ := send(p, call(r, "GET", "/"), way, nil, 0); !strings.HasPrefix(got, "D503BB") {
		t.Errorf("the third call: %q", got)
	}
	if p.Prepare(r, via).Place().Take() {
		t.Error("a loop got a place where there is none")
	}
	close(release)
	wait.Wait()
	hung := make(chan struct{}, 1)
	via.QueueTimeout, via.MaxConns = time.Millisecond, 1
	slow, _ := seller(t, func(net.Conn, *http.Request) bool { hung <- struct{}{}; <-t.Context().Done(); return false })
	via.Targets[0].URL = slow
	way = p.Prepare(r, via)
	wait.Go(func() { _, _ = send(p, call(&control.Route{Timeout: time.Second}, "GET", "/"), way, nil, 0) })
	<-hung
	if got, _ := send(p, call(r, "GET", "/"), way, nil, 0); !strings.HasPrefix(got, "D503BB") {
		t.Errorf("waiting has an end: %q", got)
	}
	p.Abort()
	wait.Wait()
}

// The certificate is checked, against the name in the configuration; an own authority, a
// pinned key and a certificate of ours are what the upstream says. S8, N6.
func TestCertificateIsChecked(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, r.Host, len(r.TLS.PeerCertificates))
	}))
	s.Config.ErrorLog = nil
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	here := func(context.Context, string) ([]netip.Addr, time.Duration, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, 0, nil
	}
	own := s.TLS.Certificates[0]
	key, err := pemKey(own)
	if err != nil {
		t.Fatal(err)
	}
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	sum := sha256.Sum256(s.Certificate().RawSubjectPublicKeyInfo)
	pin := base64.StdEncoding.EncodeToString(sum[:])
	p := ending(t, Options{AllowPrivate: true, Resolve: here, Secret: func(id control.SecretID) ([]byte, error) {
		if id != "sec_key" {
			return nil, errors.New("no such secret")
		}
		return key, nil
	}})
	for _, c := range []struct {
		name, host string
		tls        *control.UpstreamTLS
		want, body string
	}{
		{"an unknown authority", "example.com", nil, "D504CS Backend http ssl connect failed `certificate`", ""},
		{"a wrong name", "wrong.test", &control.UpstreamTLS{CA: ca}, "D504CS Backend http ssl connect failed `certificate`", ""},
		{"the right name", "example.com", &control.UpstreamTLS{CA: ca}, "", "0"},
		{"a name of its own", "wrong.test", &control.UpstreamTLS{CA: ca, Name: "example.com"}, "", "0"},
		{"the pinned key", "example.com", &control.UpstreamTLS{CA: ca, Pin: []string{"AAAA", pin}}, "", "0"},
		{"another key", "example.com", &control.UpstreamTLS{CA: ca, Pin: []string{"AAAA"}}, "D504CS Backend http ssl connect failed `pin`", ""},
		{"ours is shown", "example.com", &control.UpstreamTLS{CA: ca, Cert: ca, Key: "sec_key"}, "", "1"},
		{"ours is not there", "example.com", &control.UpstreamTLS{CA: ca, Cert: ca, Key: "sec_gone"}, "X500AM", ""},
		{"no authority at all", "example.com", &control.UpstreamTLS{CA: "nonsense"}, "X500AM", ""},
	} {
		via := &control.Upstream{ID: "ups_a", Targets: []control.Target{{URL: "https://" + c.host + ":" + port}}, TLS: c.tls}
		for range 2 {
			got, a := forward(p, &control.Route{Via: "ups_a"}, via, "GET", "/", "")
			if !strings.HasPrefix(got, c.want) || c.want == "" && (got != "" || a.body != c.host+":"+port+c.body) {
				t.Errorf("%s: %q %+v", c.name, got, a)
			}
		}
	}
	if got, _ := forward(p, &control.Route{Via: "ups_gone"}, nil, "GET", "/", ""); !strings.HasPrefix(got, "X500AM") {
		t.Errorf("an upstream that is not there: %q", got)
	}
}

func TestUpstreamPathIsFilledRaw(t *testing.T) {
	var asked string
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = r.RequestURI }))
	t.Cleanup(s.Close)
	p := ending(t, Options{AllowPrivate: true})
	r := &control.Route{ID: "rte_a", Path: "/u/[id]/[*]", Upstream: s.URL + "/v2/", UpstreamPath: "/users/[id]/f/[*]"}
	c := call(r, "GET", "/u/a%2Fb/c/d")
	c.Query, c.Params = []byte("x=%20"), []gate.Param{{Name: "id", Value: []byte("a%2Fb")}, {Name: "*", Value: []byte("c/d")}}
	if refused, _ := send(p, c, p.Prepare(r, nil), nil, 0); refused != "" {
		t.Error(refused)
	}
	if asked != "/v2/users/a%2Fb/f/c/d?x=%20" {
		t.Errorf("the seller was asked for %q", asked)
	}
}
