package gateway_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gatewaytest"
)

// slow is a seller that says when it was asked, and answers when it may.
type slow struct {
	url            string
	asked, release chan struct{}
}

func newSlow(t *testing.T) *slow {
	t.Helper()
	s := &slow{asked: make(chan struct{}, 8), release: make(chan struct{})}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked <- struct{}{}
		select {
		case <-s.release:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// slowHouse has a product whose seller is slow, and ten calls of it.
func slowHouse(t *testing.T) (*gatewaytest.House, *slow, control.GrantID, func() *gatewaytest.Answer) {
	t.Helper()
	s := newSlow(t)
	h := gatewaytest.New(t, nil)
	h.Group()
	c := h.App("hangzhou")
	grant := h.Grant("hangzhou", "weather", true)
	r := h.Route("weather", "GET", "/a")
	r.Upstream = s.url
	h.Apply(r, &control.Package{ID: "pkg_a", Grant: grant, Calls: 10, From: gatewaytest.Start, Live: true})
	return h, s, grant, func() *gatewaytest.Answer {
		return h.Raw("GET", "GET /a HTTP/1.1\r\nHost: "+gatewaytest.Domain+"\r\nAuthorization: APPCODE "+c.AppCode+"\r\n\r\n")
	}
}

// A call that is under way when the gateway is told to stop gets its answer and is
// charged; nobody new comes in. X18.
func TestCloseLetsCallsEnd(t *testing.T) {
	h, s, grant, call := slowHouse(t)
	answers := make(chan *gatewaytest.Answer, 1)
	go func() { answers <- call() }()
	<-s.asked
	b, err := h.Plane.Balances(t.Context(), grant)
	if err != nil || len(b) != 1 || b[0].Held != 1 || b[0].Remaining != 9 || b[0].Used != 0 {
		t.Errorf("while it is under way: %+v, %v", b, err)
	}
	closed := make(chan error, 1)
	go func() { closed <- h.Close(context.Background()) }()
	for { // until the listener is gone
		c, err := net.Dial("tcp", h.Addr)
		if err != nil {
			break
		}
		_ = c.Close() // it came in before
	}
	select {
	case err := <-closed:
		t.Fatalf("closed with a call under way: %v", err)
	default:
	}
	close(s.release)
	if a := <-answers; a.Status != 200 || a.Code() != "" {
		t.Errorf("the call got %d %s", a.Status, a.Code())
	}
	if err := <-closed; err != nil {
		t.Errorf("close: %v", err)
	}
	h.Restart()
	if left := h.Left(grant); left != 9 {
		t.Errorf("%d calls left, want 9", left)
	}
}

// Close waits no longer than it may. What was under way then is charged to nobody, and its
// unit is there after the next start. X18, M7.
func TestCloseDoesNotWaitForEver(t *testing.T) {
	h, s, grant, call := slowHouse(t)
	answers := make(chan *gatewaytest.Answer, 1)
	go func() { answers <- call() }()
	<-s.asked
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := h.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("close: %v, want that the time is over", err)
	}
	close(s.release)
	if a := <-answers; a.Code() == "" {
		t.Errorf("a call that could not be written down was answered with %d %q", a.Status, a.Body)
	}
	h.Restart()
	if left := h.Left(grant); left != 10 {
		t.Errorf("%d calls left, want all ten", left)
	}
}

// Serve that comes after Close ends at once, whichever of the two is first.
func TestServeAfterClose(t *testing.T) {
	for range 20 {
		h := gatewaytest.New(t, nil) // its Serve may not have begun
		if err := h.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Serve(l); err != nil {
			t.Errorf("serve after close: %v", err)
		}
		if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
			_ = c.Close() // it should not be
			t.Error("a listener was left open")
		}
	}
}

// The caller goes away while the seller works: what the seller then answers is paid for,
// and nothing stays held. metering.md 1.6.
func TestCallerGoesAway(t *testing.T) {
	h, s, grant, _ := slowHouse(t)
	c, err := h.Plane.Credentials(t.Context(), "app_hangzhou")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", h.Addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("GET /a HTTP/1.1\r\nHost: " + gatewaytest.Domain + "\r\nAuthorization: APPCODE " + c.AppCode + "\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	<-s.asked
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	close(s.release)
	h.Restart() // which lets the call end
	if left := h.Left(grant); left != 9 {
		t.Errorf("%d calls left, want 9", left)
	}
}
