// Package gatewaytest is a whole gateway for tests: a database in a temporary folder, a
// seller that answers as it is told, and a clock that stands still until the test moves
// it. Run plays the stories of .call files on it.
package gatewaytest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway"
	"github.com/souk-market/souk/gateway/control"
	_ "github.com/souk-market/souk/gateway/standard" // stories name filters
	"github.com/souk-market/souk/gateway/storage"
	"github.com/souk-market/souk/gateway/storage/sqlite"
)

// Domain is the host name of the group that House makes.
const Domain = "api.test"

// House is a gateway that runs.
type House struct {
	*gateway.Server
	Plane  control.Plane
	DB     *storage.DB
	Seller *Seller
	Clock  *Clock
	Addr   string

	t       testing.TB
	folder  string
	options gateway.Options
	served  chan error
	http    *http.Client
}

// Start is where the clock of a House stands first.
var Start = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)

// New opens a gateway and closes it with the test. The options may be nil; they are called
// before the gateway is made.
func New(t testing.TB, options func(*gateway.Options)) *House {
	t.Helper()
	h := &House{t: t, folder: t.TempDir(), Clock: &Clock{now: Start}, http: &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 256, DisableCompression: true,
	}}}
	db, err := sqlite.Open(filepath.Join(h.folder, "gateway.db"))
	if err != nil {
		t.Fatal(err)
	}
	h.DB = db
	h.Seller = newSeller(t)
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	h.options = gateway.Options{DB: db, Folder: h.folder, MasterKey: key, AllowPrivateUpstreams: true, Now: h.Clock.Now}
	if options != nil {
		options(&h.options)
	}
	h.open()
	t.Cleanup(func() {
		h.shut()
		h.http.CloseIdleConnections()
		if err := db.Close(); err != nil {
			t.Errorf("close the database: %v", err)
		}
	})
	return h
}

func (h *House) open() {
	h.t.Helper()
	s, err := gateway.New(context.Background(), h.options)
	if err != nil {
		h.t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	h.Server, h.Plane, h.Addr, h.served = s, s.Plane(), l.Addr().String(), make(chan error, 1)
	go func() { h.served <- s.Serve(l) }()
}

func (h *House) shut() {
	h.t.Helper()
	h.http.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := h.Server.Close(ctx); err != nil {
		h.t.Errorf("close the gateway: %v", err)
	}
	if err := <-h.served; err != nil {
		h.t.Errorf("serve: %v", err)
	}
}

// Restart ends the gateway and starts it again on the same database and folder.
func (h *House) Restart() {
	h.t.Helper()
	h.shut()
	h.open()
}

// Apply tells the gateway changes.
func (h *House) Apply(changes ...control.Change) {
	h.t.Helper()
	if err := h.Plane.Apply(context.Background(), changes...); err != nil {
		h.t.Fatal(err)
	}
}

// Group makes the group of Domain.
func (h *House) Group() {
	h.t.Helper()
	h.Apply(&control.Group{ID: "grp_test", Name: "test", Domains: []string{Domain}, Live: true})
}

// Route is a route of the product to the seller, that may still be changed.
func (h *House) Route(product, method, path string) *control.Route {
	return &control.Route{ID: control.RouteID("rte_" + method + path), Group: "grp_test", Product: control.ProductID(product),
		Method: method, Path: path, Upstream: h.Seller.URL, AllowSHA1: true, Live: true}
}

// App makes an app.
func (h *House) App(name string) control.Credentials {
	h.t.Helper()
	c, err := h.Plane.CreateApp(context.Background(), control.App{ID: control.AppID("app_" + name), Owner: "acc_test", Name: name, Live: true})
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

// Grant lets an app call a product.
func (h *House) Grant(app, product string, live bool) control.GrantID {
	h.t.Helper()
	id := control.GrantID("grt_" + app + "_" + product)
	h.Apply(&control.Grant{ID: id, App: control.AppID("app_" + app), Product: control.ProductID(product), Live: live})
	return id
}

// Left is how many calls of a grant remain.
func (h *House) Left(grant control.GrantID) int64 {
	h.t.Helper()
	if err := h.Plane.Flush(context.Background()); err != nil {
		h.t.Fatal(err)
	}
	balances, err := h.Plane.Balances(context.Background(), grant)
	if err != nil {
		h.t.Fatal(err)
	}
	var left int64
	for _, b := range balances {
		if b.Held != 0 {
			h.t.Errorf("%d units of %s are held though no call is under way", b.Held, b.Package)
		}
		left += b.Remaining
	}
	return left
}

// Call sends a request with an ordinary client. Headers are name, value, name, value.
func (h *House) Call(method, path, body string, headers ...string) *Answer {
	h.t.Helper()
	r, err := http.NewRequest(method, "http://"+h.Addr+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	r.Host = Domain
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	a, err := h.http.Do(r)
	if err != nil {
		h.t.Error(err)
		return &Answer{Header: http.Header{}}
	}
	defer a.Body.Close()
	got, err := io.ReadAll(a.Body)
	if err != nil {
		h.t.Error(err)
	}
	return &Answer{Status: a.StatusCode, Header: a.Header, Body: string(got)}
}

// Raw sends bytes on a connection of its own, and reads what comes until the end.
func (h *House) Raw(method, request string) *Answer {
	h.t.Helper()
	c, err := net.Dial("tcp", h.Addr)
	if err != nil {
		h.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second)) // a test that hangs should say where
	if _, err := io.WriteString(c, request); err != nil {
		h.t.Logf("write: %v", err) // the gateway may have said all it had to say
	}
	_ = c.(*net.TCPConn).CloseWrite() // as above
	all, err := io.ReadAll(c)
	if err != nil && len(all) == 0 {
		h.t.Fatalf("no answer: %v", err)
	}
	first := bufio.NewReader(bytes.NewReader(all))
	r, err := http.ReadResponse(first, &http.Request{Method: method})
	if err != nil {
		h.t.Fatalf("no HTTP answer: %v: %q", err, all)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		h.t.Errorf("body: %v", err)
	}
	rest, _ := io.ReadAll(first) // cannot fail
	return &Answer{Status: r.StatusCode, Header: r.Header, Body: string(body), Rest: string(rest)}
}

// Answer is what a caller got.
type Answer struct {
	Status int
	Header http.Header
	Body   string
	Rest   string // what came after the answer on its connection
}

// Code is the gateway's code, empty if the seller answered.
func (a *Answer) Code() string { return a.Header.Get("X-Ca-Error-Code") }

// Clock is a time that passes when it is told to.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now is the present moment of the test.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Pass lets time go by.
func (c *Clock) Pass(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	c.mu.Unlock()
}

// Seller is a server that keeps what it was asked, byte for byte, and answers as told.
type Seller struct {
	URL string

	mu     sync.Mutex // guards the rest
	answer string
	asked  []string
}

func newSeller(t testing.TB) *Seller {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Seller{URL: "http://" + l.Addr().String()}
	s.Answers(200, "ok")
	var wait sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	wait.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			wait.Go(func() {
				s.serve(c)
				mu.Lock()
				delete(open, c)
				mu.Unlock()
				_ = c.Close() // of no more use
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close() // ends the loop
		mu.Lock()
		for c := range open {
			_ = c.Close() // ends its goroutine
		}
		mu.Unlock()
		wait.Wait()
	})
	return s
}

func (s *Seller) serve(c net.Conn) {
	var seen bytes.Buffer
	in := bufio.NewReader(io.TeeReader(c, &seen))
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		// Nothing is read ahead of a request whose answer has not gone.
		s.mu.Lock()
		s.asked = append(s.asked, seen.String())
		answer := s.answer
		s.mu.Unlock()
		seen.Reset()
		if r.Method == "HEAD" {
			head, _, _ := strings.Cut(answer, "\r\n\r\n")
			answer = head + "\r\n\r\n"
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}

// Answers sets the answer to all further calls. Headers are whole lines.
func (s *Seller) Answers(status int, body string, headers ...string) {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	for _, line := range headers {
		b.WriteString(line + "\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	s.mu.Lock()
	s.answer = b.String()
	s.mu.Unlock()
}

// Asked is what the seller was asked since the last time.
func (s *Seller) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}
