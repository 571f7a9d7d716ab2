package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/auth"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
)

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil { // a test that hangs says where
		t.Fatal(err)
	}
	return c
}

// Who asks before sending a body is told to go on, or why not; a body that comes all the
// same is no request. F10, F1.
func TestExpectContinue(t *testing.T) {
	seller := script(t, always(ok200))
	h := at(t, noon, Options{})
	h.everything("api.test", seller.addr, func(r *control.Route) { r.MaxBody = 100 })
	c := dial(t, h.addr)
	r := bufio.NewReader(c)
	if _, err := io.WriteString(c, "POST /a HTTP/1.1\r\n"+paid+"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := r.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if line, err := r.ReadString('\n'); err != nil || line != "\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := io.WriteString(c, "abc"); err != nil {
		t.Fatal(err)
	}
	a, err := http.ReadResponse(r, nil)
	if err != nil || a.StatusCode != 200 {
		t.Fatalf("%v, %v", a, err)
	}
	if got := seller.last(); !strings.HasSuffix(got, "\r\n\r\nabc") || strings.Contains(got, "Expect") {
		t.Errorf("the seller got %q", got)
	}
	before := seller.calls.Load()
	inner := "GET /stolen HTTP/1.1\r\n" + paid + "\r\n"
	for _, c := range []struct{ head, code string }{
		{"POST /a HTTP/1.1\r\nHost: nobody.test\r\nAuthorization: APPCODE code\r\n", "I404DO"},
		{"POST /a HTTP/1.1\r\n" + paid + "X-Ca-Stage: none\r\n", "I400SG"},
		{"POST /a HTTP/1.1\r\n" + paid + "X-Pad: " + strings.Repeat("x", 10) + "\r\n", "I413RL"},
	} {
		length := len(inner)
		if c.code == "I413RL" {
			length = 101 + len(inner)
		}
		all := h.send(t, []byte(c.head+"Expect: 100-continue\r\nContent-Length: "+fmt.Sprint(length)+"\r\n\r\n"+inner))
		if bytes.Contains(all, []byte("100 Continue")) || !bytes.Contains(all, []byte("X-Ca-Error-Code: "+c.code+"\r\n")) {
			t.Errorf("%s: %q", c.code, all)
		}
		if n := bytes.Count(all, []byte("HTTP/1.1 ")); n != 1 {
			t.Errorf("%s: %d answers: %q", c.code, n, all)
		}
		if id := bytes.Index(all, []byte("X-Ca-Request-Id: ")); id < 0 {
			t.Errorf("%s: no request ID in %q", c.code, all)
		}
	}
	if got := seller.calls.Load() - before; got != 0 {
		t.Errorf("the seller was asked %d times: %q", got, seller.last())
	}
}

// A caller of the old kind is answered, and the connection ends with the answer.
func TestHTTP10(t *testing.T) {
	seller := script(t, always("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"))
	h := at(t, noon, Options{})
	h.everything("api.test", seller.addr, nil)
	all := h.send(t, []byte("GET /a HTTP/1.0\r\n"+paid+"\r\n"))
	if bytes.Contains(bytes.ToLower(all), []byte("chunked")) || !bytes.HasSuffix(all, []byte("\r\n\r\nok")) { // F11
		t.Errorf("%q", all)
	}
}

// Who sends his head drop by drop is shown the door, and keeps nobody else waiting. F15, X20.
func TestSlowHead(t *testing.T) {
	seller := script(t, always(ok200))
	h := at(t, noon, Options{HeadTimeout: 200 * time.Millisecond, BodyTimeout: 200 * time.Millisecond})
	h.everything("api.test", seller.addr, nil)
	slow := dial(t, h.addr)
	if _, err := io.WriteString(slow, "GET /a HTTP/1.1\r\nHost: api"); err != nil {
		t.Fatal(err)
	}
	if all := h.send(t, []byte("GET /a HTTP/1.1\r\n"+paid+"\r\n")); !bytes.HasSuffix(all, []byte("\r\n\r\nok")) {
		t.Errorf("an honest caller beside it: %q", all)
	}
	began := time.Now()
	all, err := io.ReadAll(slow)
	if err != nil || time.Since(began) > 5*time.Second {
		t.Errorf("after %v: %q, %v", time.Since(began), all, err)
	}
	if len(all) > 0 && !bytes.Contains(all, []byte("X-Ca-Error-Code: ")) {
		t.Errorf("%q", all)
	}
	body := dial(t, h.addr)
	if _, err := io.WriteString(body, "POST /a HTTP/1.1\r\n"+paid+"Content-Length: 10\r\n\r\nabc"); err != nil {
		t.Fatal(err)
	}
	all, err = io.ReadAll(body)
	if err != nil || bytes.Count(all, []byte("HTTP/1.1 ")) > 1 {
		t.Errorf("a body that never ends: %q, %v", all, err)
	}
	if held := h.desk.held.Load(); held != 0 {
		t.Errorf("%d units are held", held)
	}
	if n := seller.calls.Load(); n != 1 {
		t.Errorf("the seller was asked %d times, want once", n)
	}
}

// More callers than there are places wait for one; nobody is dropped.
func TestPlacesForCallers(t *testing.T) {
	seller := script(t, always(ok200))
	h := at(t, noon, Options{MaxConns: 1})
	h.everything("api.test", seller.addr, nil)
	first, second := dial(t, h.addr), dial(t, h.addr)
	for _, c := range []net.Conn{first, second} {
		if _, err := io.WriteString(c, "GET /a HTTP/1.1\r\n"+paid+"\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	if a, err := http.ReadResponse(bufio.NewReader(first), nil); err != nil || a.StatusCode != 200 {
		t.Fatalf("the first: %v %v", a, err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if a, err := http.ReadResponse(bufio.NewReader(second), nil); err != nil || a.StatusCode != 200 {
		t.Errorf("the second: %v %v", a, err)
	}
}

// broken panics where a test wants it to.
type broken struct {
	*desk
	reserve bool
}

func (b broken) Reserve(a control.AppID, p control.ProductID) (gate.Hold, error) {
	if b.reserve {
		panic("reserve")
	}
	return b.desk.Reserve(a, p)
}

func (b broken) Warm(a control.AppID, p control.ProductID) (gate.Hold, bool) {
	h, err := b.Reserve(a, p)
	return h, err == nil
}

// A panic costs one call its answer: the unit goes back, the program lives, and what was
// panicked about stays inside. F14, X24.
func TestPanic(t *testing.T) {
	for _, reserve := range []bool{true, false} {
		d := &desk{app: auth.App{ID: "app_a", Live: true}, code: "code"}
		d.left.Store(10)
		s := assemble(Options{Now: func() time.Time { return noon }}, d, broken{d, reserve}, d)
		h := &house{Server: s}
		h.everything("api.test", "http://127.0.0.1:1", nil)
		forwarder := s.proxy
		s.proxy = nil // it panics when it is used
		here, there := net.Pipe()
		go s.host(there)
		go func() {
			_, _ = io.WriteString(here, "GET /a HTTP/1.1\r\n"+paid+"\r\n") // the answer tells
		}()
		out, err := io.ReadAll(here)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(out); !strings.HasPrefix(got, "HTTP/1.1 500 ") || !strings.Contains(got, "\r\nX-Ca-Error-Code: X500ER\r\n") ||
			!strings.Contains(got, "\r\nX-Ca-Request-Id: ") || strings.Contains(got, "nil pointer") || strings.Contains(got, "reserve") {
			t.Errorf("%q", got)
		}
		if d.held.Load() != 0 || d.left.Load() != 10 || d.settled.Load() != 0 {
			t.Errorf("%d held, %d left, %d settled", d.held.Load(), d.left.Load(), d.settled.Load())
		}
		forwarder.Close()
	}
}
