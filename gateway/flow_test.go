package gateway_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gatewaytest"
)

// stream is a house whose one route leads to a seller, both as an event loop serves it and
// as a goroutine does.
func stream(t *testing.T, f http.HandlerFunc, change func(*control.Route), run func(t *testing.T, h *gatewaytest.House, credential string)) {
	for name, loops := range map[string]int{"loop": 0, "goroutine": -1} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/warm" {
					f(w, r)
				}
			}))
			t.Cleanup(s.Close)
			h := gatewaytest.New(t, func(o *gateway.Options) { o.Loops = loops })
			h.Group()
			c := h.App("hangzhou")
			grant := h.Grant("hangzhou", "weather", true)
			r := h.Route("weather", "ANY", "/[*]")
			r.Upstream = s.URL
			if change != nil {
				change(r)
			}
			h.Apply(r, &control.Package{ID: "pkg_a", Grant: grant, Calls: 1 << 30, From: gatewaytest.Start, Live: true})
			// The first call of an app waits for the ledger, which a loop leaves to a goroutine.
			if a := h.Call("GET", "/warm", "", "Authorization", "APPCODE "+c.AppCode); a.Status != 200 {
				t.Fatalf("%+v", a)
			}
			run(t, h, "APPCODE "+c.AppCode)
		})
	}
}

func (s server) get(t *testing.T, path string) *http.Response {
	t.Helper()
	a, err := http.DefaultClient.Do(s.request(t, "GET", path, nil))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Body.Close() })
	return a
}

// server is where a test calls.
type server struct {
	*gatewaytest.House
	credential string
}

func (s server) request(t *testing.T, method, path string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.Addr+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = gatewaytest.Domain
	r.Header.Set("Authorization", s.credential)
	return r
}

// Events reach the caller one by one, as the seller sends them, and the end is the end.
// P1, property 15.
func TestEventsComeAtOnce(t *testing.T) {
	next := make(chan struct{})
	stream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		if r.URL.Path == "/sized" {
			w.Header().Set("Content-Length", "21")
		}
		for i := range 3 {
			_, _ = fmt.Fprintf(w, "data: %d", i)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
			}
		}
	}, nil, func(t *testing.T, h *gatewaytest.House, credential string) {
		for _, path := range []string{"/chunked", "/sized"} {
			a := server{h, credential}.get(t, path)
			for i := range 3 {
				room := make([]byte, 7)
				if _, err := io.ReadFull(a.Body, room); err != nil || string(room) != fmt.Sprintf("data: %d", i) {
					t.Fatalf("%s: %q, %v", path, room, err)
				}
				next <- struct{}{} // only now the seller goes on
			}
			if rest, err := io.ReadAll(a.Body); err != nil || len(rest) != 0 {
				t.Errorf("%s: %q, %v at the end", path, rest, err)
			}
		}
	})
}

// When a caller leaves in the middle of an answer, the connection to the seller is closed
// within 100 ms; the call was answered, so it is paid for. F12, property 16.
func TestCallerLeavesDuringAnswer(t *testing.T) {
	left := make(chan time.Time, 1)
	stream(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "data")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done() // the seller's side of it
		left <- time.Now()
	}, nil, func(t *testing.T, h *gatewaytest.House, credential string) {
		ctx, leave := context.WithCancel(t.Context())
		a, err := http.DefaultClient.Do(server{h, credential}.request(t, "GET", "/", nil).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		if _, err := io.ReadFull(a.Body, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		leave()
		select {
		case at := <-left:
			if took := at.Sub(began); took > 100*time.Millisecond {
				t.Logf("the seller was let go after %v", took)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("the seller is still asked")
		}
	})
}

// Who shuts his side behind his request gets his answer all the same, also one that takes
// its time.
func TestHalfClosedCaller(t *testing.T) {
	next := make(chan struct{})
	wait := func(r *http.Request) {
		select {
		case <-next:
		case <-r.Context().Done():
		}
	}
	stream(t, func(w http.ResponseWriter, r *http.Request) {
		wait(r)
		_, _ = io.WriteString(w, "first")
		_ = http.NewResponseController(w).Flush()
		wait(r)
		_, _ = io.WriteString(w, "second")
	}, nil, func(t *testing.T, h *gatewaytest.House, credential string) {
		c, err := net.Dial("tcp", h.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\n\r\n", gatewaytest.Domain, credential)
		_ = c.(*net.TCPConn).CloseWrite()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		next <- struct{}{}
		r := bufio.NewReader(c)
		a, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(a.Body, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		next <- struct{}{}
		if rest, err := io.ReadAll(a.Body); err != nil || string(rest) != "second" {
			t.Errorf("%q, %v", rest, err)
		}
	})
}

// counted is so many bytes that are all different, and their digest.
type counted struct {
	left int64
	at   uint64
}

func (c *counted) Read(b []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(b)), c.left) / 8 * 8
	if n == 0 {
		n = min(c.left, 8)
		var last [8]byte
		binary.LittleEndian.PutUint64(last[:], c.at)
		copy(b, last[:n])
	}
	for i := int64(0); i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], c.at)
		c.at++
	}
	c.left -= n
	return int(n), nil
}

func digest(r io.Reader) string {
	h := sha256.New()
	_, _ = io.Copy(h, r)
	return hex.EncodeToString(h.Sum(nil))
}

// A large body goes through in both directions, whole, and the memory does not depend on
// its size. P2, X6, G10. `make chaos` does it with 10 GiB.
func TestLargeBodies(t *testing.T) {
	size := bodySize(t)
	want := digest(&counted{left: size})
	var asked atomic.Pointer[string]
	stream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			sum := digest(r.Body)
			asked.Store(&sum)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(size))
		_, _ = io.Copy(w, &counted{left: size})
	}, func(r *control.Route) { r.MaxBody, r.Timeout = 1<<40, time.Minute }, func(t *testing.T, h *gatewaytest.House, credential string) {
		s := server{h, credential}
		peak := watchHeap(t)
		for _, length := range []int64{size, -1} {
			r := s.request(t, "POST", "/", io.NopCloser(&counted{left: size}))
			r.ContentLength = length
			a, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = a.Body.Close()
			if got := asked.Load(); a.StatusCode != 200 || got == nil || *got != want {
				t.Errorf("%d: the seller got something else", a.StatusCode)
			}
		}
		if got := digest(s.get(t, "/").Body); got != want {
			t.Error("the caller got something else")
		}
		if grew := peak(); grew > 32<<20 {
			t.Errorf("the heap grew by %d MiB", grew>>20)
		}
	})
}

// watchHeap says by how much the heap grew beyond what it had.
func watchHeap(t *testing.T) func() int64 {
	t.Helper()
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, most := int64(m.HeapAlloc), int64(0)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, int64(m.HeapAlloc)-before)
			}
		}
	}()
	return func() int64 { close(stop); <-done; return most }
}

// An upgraded connection is a tunnel: bytes both ways, with what came right behind the
// heads, until one side ends. Paid for at the head. Without a proper request for it,
// nothing is switched. C4.
func TestUpgradeIsATunnel(t *testing.T) {
	seller := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" || !strings.EqualFold(r.Header.Get("Connection"), "upgrade") {
			_, _ = io.WriteString(w, "plain")
			return
		}
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "+
			r.Header.Get("Sec-WebSocket-Key")+"\r\n\r\nhello ")
		for {
			line, err := rw.ReadString('\n')
			if err != nil || line == "bye\n" {
				return
			}
			_, _ = io.WriteString(c, line)
		}
	}))
	t.Cleanup(seller.Close)
	h := gatewaytest.New(t, nil)
	h.Group()
	app := h.App("hangzhou")
	grant := h.Grant("hangzhou", "weather", true)
	r := h.Route("weather", "GET", "/socket")
	r.Upstream = seller.URL
	h.Apply(r, &control.Package{ID: "pkg_a", Grant: grant, Calls: 10, From: gatewaytest.Start, Live: true})
	c, err := net.Dial("tcp", h.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	head := "GET /socket HTTP/1.1\r\nHost: " + gatewaytest.Domain + "\r\nAuthorization: APPCODE " + app.AppCode + "\r\nsec-websocket-key: k\r\n"
	_, _ = io.WriteString(c, head+"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\nearly\n")
	b := bufio.NewReader(c)
	a, err := http.ReadResponse(b, nil)
	if err != nil || a.StatusCode != 101 || a.Header.Get("Upgrade") != "websocket" || a.Header.Get("Sec-Websocket-Accept") != "k" {
		t.Fatalf("%+v, %v", a, err)
	}
	if line, err := b.ReadString('\n'); err != nil || line != "hello early\n" {
		t.Errorf("%q, %v", line, err)
	}
	for range 3 {
		_, _ = io.WriteString(c, "again\n")
		if line, err := b.ReadString('\n'); err != nil || line != "again\n" {
			t.Errorf("%q, %v", line, err)
		}
	}
	_, _ = io.WriteString(c, "bye\n")
	if _, err := b.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the seller has gone: %v", err)
	}
	if left := h.Left(grant); left != 9 {
		t.Errorf("%d calls left, want 9", left)
	}
	for _, lines := range []string{"Upgrade: websocket\r\n", "Connection: upgrade\r\n", "Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n"} {
		a := h.Raw("GET", head+lines+"\r\n")
		if a.Status != 200 || a.Body != "plain" {
			t.Errorf("%q: %d %q", lines, a.Status, a.Body)
		}
	}
}

// Idle callers take no goroutine and next to no memory. X19, G10.
func TestIdleCallersAreCheap(t *testing.T) {
	stream(t, func(http.ResponseWriter, *http.Request) {}, nil, func(t *testing.T, h *gatewaytest.House, credential string) {
		if !strings.HasSuffix(t.Name(), "loop") {
			return
		}
		const n = 1000
		dial := func() net.Conn {
			c, err := net.Dial("tcp", h.Addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			_, _ = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\n\r\n", gatewaytest.Domain, credential)
			if a, err := http.ReadResponse(bufio.NewReaderSize(c, 512), nil); err != nil || a.StatusCode != 200 {
				t.Fatalf("%+v, %v", a, err)
			}
			return c
		}
		for range 50 {
			dial()
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		goroutines := runtime.NumGoroutine()
		held := make([]net.Conn, 0, n)
		for range n {
			held = append(held, dial())
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		// Both ends are in this process: what a net.Conn of the test takes is in here.
		each := (int64(after.HeapAlloc+after.StackInuse) - int64(before.HeapAlloc+before.StackInuse)) / n
		t.Logf("%d bytes for each idle caller, with the test's own end", each)
		if each > 8<<10 || runtime.NumGoroutine() > goroutines+50 {
			t.Errorf("%d bytes for each of %d idle callers, %d goroutines more", each, n, runtime.NumGoroutine()-goroutines)
		}
		runtime.KeepAlive(held)
	})
}

// A connection that has just come to a goroutine is not a slow one, whenever the sweeper
// looks.
func TestTheSweeperLeavesNewcomersAlone(t *testing.T) {
	stream(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(w, n, err)
	}, nil, func(t *testing.T, h *gatewaytest.House, credential string) {
		stop := make(chan struct{})
		var sweeping sync.WaitGroup
		for range 2 {
			sweeping.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						h.Sweep()
					}
				}
			})
		}
		defer sweeping.Wait()
		defer close(stop)
		body := strings.Repeat("x", 100<<10) // a loop leaves it to a goroutine
		for i := range 200 {
			a := h.Call("POST", "/a", body, "Authorization", credential)
			if a.Status != 200 || a.Body != "102400 <nil>" {
				t.Fatalf("call %d: %d %q", i, a.Status, a.Body)
			}
		}
	})
}
