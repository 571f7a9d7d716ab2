package h2

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/wire"
)

// row is a row that does what a test says.
type row func(*Exchange)

func (r row) Serve(e *Exchange) { r(e) }

// fields are headers in pairs.
func fields(pairs ...string) (f wire.Fields) {
	for i := 0; i+1 < len(pairs); i += 2 {
		f = append(f, wire.Field{Name: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	return f
}

type site struct {
	front  *Front
	addr   string
	url    string
	client *http.Client
	ended  chan struct{} // a value for each connection whose Serve has returned
}

func start(t testing.TB, o Options, r row) *site {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"a.test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{front: New(r, o), addr: l.Addr().String(), url: "https://" + l.Addr().String(), ended: make(chan struct{}, 1000)}
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"h2", "http/1.1"}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				c := tls.Server(c, config)
				if c.Handshake() != nil || c.ConnectionState().NegotiatedProtocol != "h2" {
					_ = c.Close() // not ours
					return
				}
				s.front.Serve(c)
				s.ended <- struct{}{}
			})
		}
	})
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "a.test"}, ForceAttemptHTTP2: true, DisableCompression: true}
	s.client = &http.Client{Transport: tr}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.front.Drain(ctx); err != nil {
			t.Errorf("drain: %v", err)
		}
		_ = l.Close() // ends the loop
		serving.Wait()
	})
	return s
}

func (s *site) do(t testing.TB, method, target string, body io.Reader, headers ...string) (*http.Response, string, error) {
	t.Helper()
	r, err := http.NewRequest(method, s.url+target, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "a.test"
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	a, err := s.client.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	return a, string(b), err
}

// The row gets a head as HTTP/1.1 has it, and the caller gets the answer as the row gave it.
func TestARequestAndItsAnswer(t *testing.T) {
	var head string
	s := start(t, Options{}, func(e *Exchange) {
		head = string(e.Request.Head)
		body, err := io.ReadAll(e)
		if err != nil || string(body) != "hello" || e.Request.Length != 5 || e.Fault != nil || !e.Remote.IsValid() || e.TLS == nil {
			t.Errorf("body %q, %v, length %d, fault %v", body, err, e.Request.Length, e.Fault)
		}
		if err := e.Head(201, fields("Content-Type", "text/plain", "X-Ca-Request-Id", "ID", "Set-Cookie", "a=1", "Set-Cookie", "b=2", "Connection", "X-Hop", "Keep-Alive", "timeout=5"), 2); err != nil {
			t.Error(err)
		}
		if err := e.Head(500, nil, 0); !errors.Is(err, errBegun) {
			t.Errorf("a second head: %v", err)
		}
		_, _ = e.Write([]byte("ok"))
		if _, err := e.Write([]byte("x")); !errors.Is(err, errLength) {
			t.Errorf("a byte too many: %v", err)
		}
	})
	a, body, err := s.do(t, "POST", "/x%2Fy?b=2&a=%zz&", strings.NewReader("hello"), "X-B", "1", "X-A", "2", "X-B", "3", "User-Agent", "t")
	if err != nil {
		t.Fatal(err)
	}
	if want := "POST /x%2Fy?b=2&a=%zz& HTTP/1.1\r\nHost: a.test\r\nUser-Agent: t\r\nX-A: 2\r\nX-B: 1\r\nX-B: 3\r\nContent-Length: 5\r\n\r\n"; head != want {
		t.Errorf("head\n%q\nwant\n%q", head, want)
	}
	if a.ProtoMajor != 2 || a.StatusCode != 201 || body != "ok" || a.Header.Get("X-Ca-Request-Id") != "ID" || len(a.Header["Set-Cookie"]) != 2 || a.Header.Get("Date") != "" ||
		a.Header.Get("Keep-Alive") != "" || a.ContentLength != 2 {
		t.Errorf("answer %v %q", a, body)
	}
}

// Bodies stream both ways, at once, and a body whose length is not told is chunked to the
// row.
func TestBodiesStream(t *testing.T) {
	s := start(t, Options{}, func(e *Exchange) {
		if e.Request.Length != wire.Chunked {
			t.Errorf("length %d", e.Request.Length)
		}
		if err := errors.Join(e.Head(200, nil, wire.Chunked), e.Flush()); err != nil {
			t.Error(err)
		}
		buf := make([]byte, 100)
		for {
			n, err := e.Read(buf)
			if n > 0 {
				_, _ = e.Write(bytes.ToUpper(buf[:n]))
				if err := e.Flush(); err != nil {
					t.Error(err)
				}
			}
			if err != nil {
				return
			}
		}
	})
	in, out := io.Pipe()
	r, err := http.NewRequest("POST", s.url+"/", in)
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	buf := make([]byte, 100)
	for i := range 5 { // an echo, while the request goes on
		fmt.Fprintf(out, "word %d", i)
		n, err := io.ReadFull(a.Body, buf[:6])
		if err != nil || string(buf[:n]) != fmt.Sprintf("WORD %d", i) {
			t.Fatalf("%q, %v", buf[:n], err)
		}
	}
	_ = out.Close() // the end of the body
	if rest, err := io.ReadAll(a.Body); err != nil || len(rest) != 0 {
		t.Errorf("rest %q, %v", rest, err)
	}
}

// F20: an answer that broke off never looks whole, however it was begun.
func TestWhatBreaksOffIsSeen(t *testing.T) {
	for name, f := range map[string]row{
		"aborted": func(e *Exchange) {
			_ = e.Head(200, nil, wire.Chunked)
			_, _ = e.Write([]byte("half"))
			_ = e.Flush()
			e.Abort()
		},
		"short":          func(e *Exchange) { _ = e.Head(200, nil, 10); _, _ = e.Write([]byte("half")) },
		"never begun":    func(*Exchange) {},
		"aborted at all": func(e *Exchange) { e.Abort() },
	} {
		s := start(t, Options{}, f)
		if a, body, err := s.do(t, "GET", "/", nil); err == nil {
			t.Errorf("%s: the caller got %v %q and no error", name, a.Status, body)
		}
	}
}

func TestAnswersWithoutABody(t *testing.T) {
	s := start(t, Options{}, func(e *Exchange) {
		switch string(e.Request.Target) {
		case "/204":
			_ = e.Head(204, nil, 0)
		case "/304":
			_ = e.Head(304, fields("Etag", `"x"`), 0)
		default:
			_ = e.Head(200, nil, 7)
			_, _ = e.Write([]byte("7 bytes"))
		}
	})
	for _, c := range []struct {
		method, target string
		status         int
		length         int64
	}{{"GET", "/204", 204, 0}, {"GET", "/304", 304, 0}, {"HEAD", "/", 200, 7}} {
		a, body, err := s.do(t, c.method, c.target, nil)
		if err != nil || a.StatusCode != c.status || body != "" || c.status == 200 && a.ContentLength != c.length {
			t.Errorf("%s %s: %v, %q, %v", c.method, c.target, a, body, err)
		}
	}
}

// F12: the row learns that the caller has gone.
func TestACallerWhoGoesIsNoticed(t *testing.T) {
	begun, gone := make(chan struct{}), make(chan struct{})
	s := start(t, Options{}, func(e *Exchange) {
		close(begun)
		<-e.Done()
		close(gone)
	})
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", s.url+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if a, err := s.client.Do(r); err == nil {
			_ = a.Body.Close() // there is none
		}
	}()
	<-begun
	cancel()
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Error("nothing was noticed")
	}
}

// What HTTP/1.1 refuses, this refuses: S3, S5, K13.
func TestTheSameRules(t *testing.T) {
	var mu sync.Mutex // guards fault
	var fault error
	s := start(t, Options{Bounds: wire.Bounds{Target: 100, Fields: 20}}, func(e *Exchange) {
		mu.Lock()
		fault = e.Fault
		mu.Unlock()
		_ = e.Head(400, nil, 0)
	})
	many := []string{}
	for i := range 25 {
		many = append(many, fmt.Sprintf("X-%d", i), "1")
	}
	for _, c := range []struct {
		name, target string
		headers      []string
		want         error
	}{
		{"fine", "/", nil, nil},
		{"two keys", "/", []string{"X-Ca-Key", "1", "x-ca-key", "2"}, wire.Repeated},
		{"one spelled otherwise", "/", []string{"X-Ca-Key", "1", "X_Ca_Key", "2"}, wire.Repeated},
		{"two credentials", "/", []string{"Authorization", "a", "Authorization", "b"}, wire.Repeated},
		{"a length in disguise", "/", []string{"Content_Length", "3"}, wire.BadLength},
		{"a long target", "/" + strings.Repeat("a", 100), nil, wire.TargetTooLong},
		{"many headers", "/", many, wire.TooManyFields},
		{"an expectation", "/", []string{"Expect", "magic"}, wire.BadExpectation},
	} {
		a, _, err := s.do(t, "GET", c.target, nil, c.headers...)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		mu.Lock()
		if !errors.Is(fault, c.want) || a.StatusCode != 400 {
			t.Errorf("%s: %v, want %v", c.name, fault, c.want)
		}
		mu.Unlock()
	}
}

// What no honest client writes reaches the rules all the same.
func TestHeadsThatNoClientWrites(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*http.Request)
		want   error
	}{
		{"fine", func(*http.Request) {}, nil},
		{"a backslash", func(r *http.Request) { r.RequestURI = `/a\b` }, wire.BadTarget},
		{"a fragment", func(r *http.Request) { r.RequestURI = "/a#b" }, wire.BadTarget},
		{"a blank", func(r *http.Request) { r.RequestURI = "/a b" }, wire.BadVersion},
		{"a second line", func(r *http.Request) { r.RequestURI = "/ HTTP/1.1\r\nX-Ca-Key: 1\r\nX:" }, wire.BadLineEnd},
		{"no target", func(r *http.Request) { r.RequestURI = "" }, wire.BadTarget},
		{"a method of two words", func(r *http.Request) { r.Method = "GET /x" }, wire.BadVersion},
		{"a host of two lines", func(r *http.Request) { r.Host = "a\r\nX: b" }, wire.BadLineEnd},
		{"no host", func(r *http.Request) { r.Host = "" }, wire.BadHost},
		{"two hosts", func(r *http.Request) { r.Header["Host"] = []string{"b.test"} }, wire.BadHost},
		{"the same host twice", func(r *http.Request) { r.Header["Host"] = []string{"A.test"} }, nil},
		{"a value of two lines", func(r *http.Request) { r.Header["X"] = []string{"a\r\n\r\nGET /smuggled HTTP/1.1"} }, wire.BadLineEnd},
		{"two lengths", func(r *http.Request) { r.Header["Content-Length"] = []string{"1", "2"} }, wire.BadLength},
		{"a coding", func(r *http.Request) { r.Header["Transfer-Encoding"], r.ContentLength = []string{"chunked"}, -1 }, wire.BadCoding},
	} {
		r := &http.Request{Method: "GET", RequestURI: "/", Host: "a.test", Header: http.Header{"Accept": {"*/*"}}}
		c.change(r)
		var e Exchange
		if err := e.read(r, wire.Bounds{}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v, head %q", c.name, err, c.want, e.raw)
		}
	}
}

// A connection that ends, ends Serve; draining lets streams end and closes the rest.
func TestDraining(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	s := start(t, Options{}, func(e *Exchange) {
		if string(e.Request.Target) == "/slow" {
			close(begun)
			<-release
		}
		_ = e.Head(200, nil, 2)
		_, _ = e.Write([]byte("ok"))
	})
	if _, body, err := s.do(t, "GET", "/", nil); err != nil || body != "ok" {
		t.Fatal(body, err)
	}
	slow := make(chan error, 1)
	go func() {
		_, body, err := s.do(t, "GET", "/slow", nil)
		if err == nil && body != "ok" {
			err = fmt.Errorf("body %q", body)
		}
		slow <- err
	}()
	<-begun
	drained := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		drained <- s.front.Drain(ctx)
	}()
	close(release)
	if err := <-slow; err != nil {
		t.Errorf("the call that was under way: %v", err)
	}
	if err := <-drained; err != nil {
		t.Errorf("drain: %v", err)
	}
	<-s.ended
	s.front = New(row(func(*Exchange) {}), Options{}) // for the clean-up
}

// Many streams on few connections, each with its own answer.
func TestStreamsAtOnce(t *testing.T) {
	s := start(t, Options{Streams: 10}, func(e *Exchange) {
		text := append([]byte(nil), e.Request.Target...)
		_ = e.Head(200, nil, int64(len(text)))
		_, _ = e.Write(text)
	})
	var wait sync.WaitGroup
	for i := range 20 {
		wait.Go(func() {
			for j := range 25 {
				target := fmt.Sprintf("/%d/%d", i, j)
				if _, body, err := s.do(t, "GET", target, nil); err != nil || body != target {
					t.Errorf("%s: %q, %v", target, body, err)
					return
				}
			}
		})
	}
	wait.Wait()
}

// Another program's HTTP/2 agrees with ours.
func TestCurlByHTTP2(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err == nil {
		var text []byte
		if text, err = exec.Command(curl, "--version").Output(); err == nil && !bytes.Contains(text, []byte("HTTP2")) {
			err = errors.New("this curl has no HTTP/2")
		}
	}
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	s := start(t, Options{}, func(e *Exchange) {
		body, err := io.ReadAll(e)
		if err != nil {
			t.Error(err)
		}
		text := fmt.Sprintf("%s %s %s %d", e.Request.Method, e.Request.Target, e.Request.Fields.Header([]byte("x-test")), len(body))
		_ = e.Head(200, fields("X-Answer", "1"), int64(len(text)))
		_, _ = e.Write([]byte(text))
	})
	big := strings.Repeat("x", 300_000)
	command := exec.Command(curl, "-sk", "--http2", "-w", " %{http_version}", "-H", "X-Test: v", "--data-binary", "@-", s.url+"/a?b=c")
	command.Stdin = strings.NewReader(big)
	out, err := command.CombinedOutput()
	if err != nil || string(out) != "POST /a?b=c v 300000 2" {
		t.Errorf("%q, %v", out, err)
	}
}

func BenchmarkCall(b *testing.B) {
	s := start(b, Options{}, func(e *Exchange) {
		_ = e.Head(200, nil, 2)
		_, _ = e.Write([]byte("ok"))
	})
	for b.Loop() {
		if _, _, err := s.do(b, "GET", "/", nil); err != nil {
			b.Fatal(err)
		}
	}
}
