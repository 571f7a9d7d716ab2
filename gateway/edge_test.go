package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
)

const paid = "Host: api.test\r\nAuthorization: APPCODE code\r\n"

// raw is a seller that shows what it got, byte for byte, and answers what it is told.
type raw struct {
	addr  string
	mu    sync.Mutex
	got   []string
	calls atomic.Int64
	conns atomic.Int64
}

// script answers each request of a connection with answer; an empty one closes it.
func script(t testing.TB, answer func(request string, n int) string) *raw {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &raw{addr: "http://" + l.Addr().String()}
	var wait sync.WaitGroup
	var open sync.Map
	wait.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.conns.Add(1)
			open.Store(c, nil)
			wait.Go(func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for n := 1; ; n++ {
					request, err := readRaw(r)
					if err != nil {
						return
					}
					s.calls.Add(1)
					s.mu.Lock()
					s.got = append(s.got, request)
					s.mu.Unlock()
					reply := answer(request, n)
					if reply == "" {
						return
					}
					if _, err := io.WriteString(c, strings.TrimSuffix(reply, "\x00")); err != nil || strings.HasSuffix(reply, "\x00") {
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
	return s
}

var lengthLine = regexp.MustCompile(`(?i)\r\ncontent-length: (\d+)\r\n`)

func readRaw(r *bufio.Reader) (string, error) {
	var head strings.Builder
	for !strings.HasSuffix(head.String(), "\r\n\r\n") {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		head.WriteString(line)
	}
	if strings.Contains(head.String(), "Transfer-Encoding: chunked\r\n") {
		body := ""
		for !strings.HasSuffix(body, "0\r\n\r\n") {
			line, err := r.ReadString('\n')
			if err != nil {
				return "", err
			}
			body += line
		}
		return head.String() + body, nil
	}
	n := 0
	if m := lengthLine.FindStringSubmatch(head.String()); m != nil {
		_, _ = fmt.Sscan(m[1], &n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return "", err
	}
	return head.String() + string(body), nil
}

func (s *raw) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.got) == 0 {
		return ""
	}
	return s.got[len(s.got)-1]
}

const ok200 = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func always(answer string) func(string, int) string {
	return func(string, int) string { return answer }
}

var upperUUID = regexp.MustCompile(`^[0-9A-F]{8}-[0-9A-F]{4}-7[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}$`)

// What two servers could read differently is refused, on the wire, with the headers that
// every refusal has. F6 to F9, S4, S5.
func TestHostileHeads(t *testing.T) {
	seller := script(t, always(ok200))
	h := at(t, noon, Options{})
	h.everything("api.test", seller.addr, func(r *control.Route) { r.MaxBody = 100 })
	for _, c := range []struct {
		name, raw, code string
		status          int
	}{
		{"length and chunks", "POST /a HTTP/1.1\r\n" + paid + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "I400BD", 400},
		{"two lengths", "POST /a HTTP/1.1\r\n" + paid + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "", 400},
		{"two hosts", "GET /a HTTP/1.1\r\n" + paid + "Host: other\r\n\r\n", "", 400},
		{"chunks on 1.0", "POST /a HTTP/1.0\r\n" + paid + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", 400},
		{"folded line", "GET /a HTTP/1.1\r\n" + paid + "X-A: 1\r\n 2\r\n\r\n", "I400HD", 400},
		{"blank in a name", "GET /a HTTP/1.1\r\n" + paid + "X A: 1\r\n\r\n", "", 400},
		{"blank before the colon", "GET /a HTTP/1.1\r\n" + paid + "X-A : 1\r\n\r\n", "", 400},
		{"fragment", "GET /a#b HTTP/1.1\r\n" + paid + "\r\n", "I400RU", 400},
		{"backslash", "GET /a\\b HTTP/1.1\r\n" + paid + "\r\n", "I400RU", 400},
		{"other host in the target", "GET http://other/a HTTP/1.1\r\n" + paid + "\r\n", "I400RU", 400},
		{"asterisk", "OPTIONS * HTTP/1.1\r\n" + paid + "\r\n", "I400RU", 400},
		{"connect", "CONNECT api.test:443 HTTP/1.1\r\n" + paid + "\r\n", "", 0},
		{"trace", "TRACE /a HTTP/1.1\r\n" + paid + "\r\n", "I405UM", 405},
		{"HTTP/2.0", "GET /a HTTP/2.0\r\n" + paid + "\r\n", "I403PT", 403},
		{"dot segments", "GET /a/../b HTTP/1.1\r\n" + paid + "\r\n", "I400PA", 400},
		{"escaped dot segments", "GET /a/%2e%2E%2fb HTTP/1.1\r\n" + paid + "\r\n", "I400PA", 400},
		{"two AppCodes", "GET /a HTTP/1.1\r\n" + paid + "authorization: APPCODE other\r\n\r\n", "I400HD", 400},
		{"look-alike twin", "GET /a HTTP/1.1\r\n" + paid + "X-Ca-Key: key\r\nX_Ca_Key: other\r\n\r\n", "I400HD", 400},
		{"no credential", "GET /a HTTP/1.1\r\nHost: api.test\r\n\r\n", "A400MA", 400},
		{"bad stage", "GET /a HTTP/1.1\r\n" + paid + "X-Ca-Stage: PROD\r\n\r\n", "I400SG", 400},
		{"unknown domain", "GET /a HTTP/1.1\r\nHost: nobody.test:80\r\n\r\n", "I404DO", 404},
		{"long body", "POST /a HTTP/1.1\r\n" + paid + "Content-Length: 101\r\n\r\n" + strings.Repeat("x", 101), "I413RL", 413},
		{"long chunks", "POST /a HTTP/1.1\r\n" + paid + "Transfer-Encoding: chunked\r\n\r\n65\r\n" + strings.Repeat("x", 101) + "\r\n0\r\n\r\n", "I413RL", 413},
		{"long target", "GET /" + strings.Repeat("x", 10<<10) + " HTTP/1.1\r\n" + paid + "\r\n", "I413UL", 413},
		{"endless target", "GET /" + strings.Repeat("x", 40<<10) + " HTTP/1.1\r\n" + paid + "\r\n", "I400RU", 400},
		{"long head", "GET /a HTTP/1.1\r\n" + paid + "X: " + strings.Repeat("x", 40<<10) + "\r\n\r\n", "I413UL", 413},
		{"broken chunk", "POST /a HTTP/1.1\r\n" + paid + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", "I400BD", 400},
		{"body that stops", "POST /a HTTP/1.1\r\n" + paid + "Content-Length: 50\r\n\r\nabc", "", 400},
		{"no request", "\x16\x03\x01 hello\r\n\r\n", "I400RU", 400},
	} {
		all := h.send(t, []byte(c.raw))
		r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(all)), nil)
		if err != nil {
			t.Errorf("%s: %v: %q", c.name, err, all)
			continue
		}
		code := r.Header.Get("X-Ca-Error-Code")
		if code == "" || c.code != "" && code != c.code || c.status != 0 && r.StatusCode != c.status {
			t.Errorf("%s: %d %q, want %d %q", c.name, r.StatusCode, code, c.status, c.code)
		}
		for _, line := range []string{"\r\nX-Ca-Request-Id: ", "\r\nX-Ca-Error-Message: ", "\r\nContent-Length: 0\r\n"} {
			if !bytes.Contains(all, []byte(line)) {
				t.Errorf("%s: no %q in %q", c.name, line, all)
			}
		}
		if id := r.Header.Get("X-Ca-Request-Id"); !upperUUID.MatchString(id) {
			t.Errorf("%s: request ID %q", c.name, id)
		}
		if n := bytes.Count(all, []byte("HTTP/1.1 ")); n != 1 {
			t.Errorf("%s: %d answers in %q", c.name, n, all)
		}
		for _, invented := range []string{"Server:", "Date:", "Content-Type:"} {
			if bytes.Contains(all, []byte("\r\n"+invented)) {
				t.Errorf("%s: %s in %q", c.name, invented, all)
			}
		}
	}
	if n := seller.calls.Load(); n != 0 {
		t.Errorf("%d of them reached the seller: %q", n, seller.last())
	}
}

// A body that nobody read is never the next request. F1, F2.
func TestUnreadBodyIsNoRequest(t *testing.T) {
	seller := script(t, always(ok200))
	h := at(t, noon, Options{})
	h.everything("api.test", seller.addr, nil)
	inner := "GET /stolen HTTP/1.1\r\n" + paid + "\r\n"
	for _, pad := range []int{0, 8 << 10, 300 << 10} {
		body := strings.Repeat("x", pad) + inner
		refused := "POST /a HTTP/1.1\r\nHost: api.test\r\nContent-Length: " + fmt.Sprint(len(body)) + "\r\n\r\n" + body
		h.send(t, []byte(refused))
		chunks := "POST /a HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
		h.send(t, []byte(chunks))
		h.send(t, []byte("POST /a HTTP/1.1\r\n"+paid+"Transfer-Encoding: chunked\r\n\r\nzz\r\n"+body))
	}
	if n := seller.calls.Load(); n != 0 {
		t.Errorf("the seller was called %d times: %q", n, seller.last())
	}
	// A refused call with a small body leaves the connection usable for an honest one.
	all := h.send(t, []byte("POST /a HTTP/1.1\r\nHost: api.test\r\nContent-Length: 3\r\n\r\nabc"+"GET /b HTTP/1.1\r\n"+paid+"\r\n"))
	if !bytes.Contains(all, []byte("A400MA")) || !bytes.HasSuffix(all, []byte("\r\n\r\nok")) {
		t.Errorf("answers %q", all)
	}
}

// What the seller gets is what the caller sent, less what is not for him. 3.5, S2, S3, F22.
func TestSellerGetsTheCallAsItCame(t *testing.T) {
	seller := script(t, always("HTTP/1.1 200 Fine\r\nx-lower: 1\r\nX-Two: a\r\nX-Two: b\r\nSet-Cookie: a=1\r\nSet-Cookie: a=2\r\n"+
		"Connection: x-hop\r\nX-Hop: 1\r\nX-Ca-Request-Id: forged\r\nX-Ca-Error-Code: B403MQ\r\nx_ca_error_message: forged\r\nContent-Length: 2\r\n\r\nok"))
	h := at(t, noon, Options{})
	h.everything("api.test", seller.addr+"/base", nil)
	all := string(h.send(t, []byte("POST //x%2Fy;v=1/a%20b?b=2&&a=1&AppCode=code&c=%zz HTTP/1.1\r\nhost: API.test:8080\r\nx-b: 1\r\nX-A: 2\r\nx-a: 3\r\n"+
		"Cookie: a=1\r\nCookie: b=2\r\nConnection: x-b, keep-alive\r\nTE: trailers\r\nX_Forwarded_For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n"+
		"X-Ca-Request-Id: mine\r\nUpgrade: websocket\r\nTrailer: X-Ca-Key\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Late: key\r\n\r\n")))
	got := seller.last()
	want := "POST /base//x%2Fy;v=1/a%20b?b=2&&a=1&c=%zz HTTP/1.1\r\nHost: " + strings.TrimPrefix(seller.addr, "http://") + "\r\n" +
		"X-A: 2\r\nx-a: 3\r\nCookie: a=1\r\nCookie: b=2\r\nTransfer-Encoding: chunked\r\nX-Forwarded-For: 127.0.0.1\r\n" +
		"X-Forwarded-Host: API.test:8080\r\nX-Forwarded-Proto: http\r\nX-Ca-Request-Id: "
	if !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "\r\n\r\n3\r\nabc\r\n0\r\n\r\n") {
		t.Errorf("the seller got\n%q, want\n%q", got, want)
	}
	if !upperUUID.MatchString(strings.TrimSuffix(got[min(len(got), len(want)):], "\r\n\r\n3\r\nabc\r\n0\r\n\r\n")) {
		t.Errorf("the seller's request ID: %q", got)
	}
	for _, line := range []string{"HTTP/1.1 200 Fine\r\n", "\r\nx-lower: 1\r\n", "\r\nX-Two: a\r\nX-Two: b\r\n", "\r\nSet-Cookie: a=1\r\n", "\r\nSet-Cookie: a=2\r\n", "\r\n\r\nok"} {
		if !strings.Contains(all, line) {
			t.Errorf("no %q in %q", line, all)
		}
	}
	for _, word := range []string{"forged", "B403MQ", "X-Hop", "Connection", "Server:", "Date:", "Content-Type"} {
		if strings.Contains(all, word) {
			t.Errorf("%q in %q", word, all)
		}
	}
}

func TestTargetsPassVerbatim(t *testing.T) {
	seller := script(t, always(ok200))
	h := at(t, noon, Options{})
	h.everything("api.test", seller.addr, nil)
	for _, target := range []string{"/", "/a?", "/a?b", "/a?&&", "/\xe5\x8c\x97?\xe4\xba\xac=1", "/a%2fb%2F", "/a;b=c?d;e", "/%", "/a?u=http://x/y?z", "//a://b", "/a?b=%", "/a+b"} {
		h.send(t, []byte("GET "+target+" HTTP/1.1\r\n"+paid+"\r\n"))
		if got, _, _ := strings.Cut(seller.last(), " HTTP/1.1"); got != "GET "+target {
			t.Errorf("%q arrived as %q", target, got)
		}
	}
	h.send(t, []byte("GET http://api.test/a?b HTTP/1.1\r\n"+paid+"\r\n"))
	if got := seller.last(); !strings.HasPrefix(got, "GET /a?b HTTP/1.1\r\n") {
		t.Errorf("the absolute form arrived as %q", got)
	}
	h.send(t, []byte("GET /a?appcode=code HTTP/1.1\r\nHost: api.test\r\n\r\n"))
	if got := seller.last(); !strings.HasPrefix(got, "GET /a HTTP/1.1\r\n") {
		t.Errorf("a lone AppCode arrived as %q", got)
	}
	h.send(t, []byte("GET /body HTTP/1.1\r\n"+paid+"Content-Length: 3\r\n\r\nabc"))
	if got := seller.last(); !strings.HasSuffix(got, "\r\n\r\nabc") {
		t.Errorf("the body of a GET: %q", got)
	}
}

// What is charged is what succeeded; each hold ends once, whatever happens. API-16.
func TestEveryHoldEndsOnce(t *testing.T) {
	seller := script(t, func(request string, _ int) string {
		switch {
		case strings.HasPrefix(request, "GET /500"):
			return "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
		case strings.HasPrefix(request, "GET /404"):
			return "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"
		case strings.HasPrefix(request, "GET /401"):
			return "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"
		case strings.HasPrefix(request, "GET /304"):
			return "HTTP/1.1 304 Same\r\nEtag: x\r\n\r\n"
		case strings.HasPrefix(request, "GET /cut"):
			return "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf\x00"
		case strings.HasPrefix(request, "GET /chunkcut"):
			return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n\x00"
		case strings.HasPrefix(request, "GET /close"):
			return ""
		case strings.HasPrefix(request, "GET /big"):
			return "HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + strings.Repeat("x", 2000)
		case strings.HasPrefix(request, "GET /hints"):
			return "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok200
		case strings.HasPrefix(request, "GET /switch"):
			return "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"
		case strings.HasPrefix(request, "GET /junk"):
			return "nonsense\r\n\r\n\x00"
		case strings.HasPrefix(request, "HEAD "):
			return "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n"
		}
		return ok200
	})
	h := at(t, noon, Options{})
	h.everything("api.test", seller.addr, nil)
	call := func(method, path string, status int, code string, charged int64) *http.Response {
		t.Helper()
		before := h.desk.settled.Load()
		r := h.one(t, method, []byte(method+" "+path+" HTTP/1.1\r\n"+paid+"\r\n"))
		if r.StatusCode != status || r.Header.Get("X-Ca-Error-Code") != code {
			t.Errorf("%s %s: %d %q, want %d %q", method, path, r.StatusCode, r.Header.Get("X-Ca-Error-Code"), status, code)
		}
		if got := h.desk.settled.Load() - before; got != charged {
			t.Errorf("%s %s: %d charged, want %d", method, path, got, charged)
		}
		if held := h.desk.held.Load(); held != 0 {
			t.Errorf("%s %s: %d still held", method, path, held)
		}
		return r
	}
	call("GET", "/a", 200, "", 1)
	call("GET", "/304", 304, "", 1)
	call("GET", "/404", 404, "", 0)
	call("GET", "/401", 401, "", 0)
	call("GET", "/500", 500, "", 0)
	for _, path := range []string{"/cut", "/chunkcut"} { // F19, F20: the caller can tell, and does not pay
		if _, err := io.ReadAll(call("GET", path, 200, "", 0).Body); err == nil {
			t.Errorf("%s looks whole", path)
		}
	}
	call("GET", "/close", 502, "N502RE", 0)
	call("GET", "/hints", 200, "", 1)
	call("GET", "/switch", 502, "N502RE", 0)
	call("GET", "/junk", 502, "N502RE", 0)
	if r := call("HEAD", "/a", 200, "", 1); r.ContentLength != 12345 {
		t.Errorf("the length of a HEAD: %d", r.ContentLength)
	}
	h.desk.broken.Store(true)
	call("GET", "/a", 503, "X503BZ", 0)
	h.desk.broken.Store(false)
	h.everything("api.test", seller.addr, func(r *control.Route) { r.Charge = control.ChargeAnswered })
	call("GET", "/404", 404, "", 1)
	call("GET", "/401", 401, "", 0)
	call("GET", "/500", 500, "", 0)
	h.everything("api.test", "http://127.0.0.1:1", nil)
	call("GET", "/a", 504, "D504CO", 0)
	h.everything("api.test", "https"+strings.TrimPrefix(sell(t, func(http.ResponseWriter, *http.Request) {}), "http"), nil)
	call("GET", "/a", 504, "D504CS", 0)
	h.everything("api.test", "ftp://x", nil)
	call("GET", "/a", 500, "X500AM", 0)
	silent := script(t, func(string, int) string { <-t.Context().Done(); return "" })
	h.everything("api.test", silent.addr, func(r *control.Route) { r.Timeout = 50 * time.Millisecond })
	call("GET", "/a", 504, "D504TO", 0)
	if n := silent.calls.Load(); n != 1 {
		t.Errorf("the silent seller was called %d times", n)
	}
}
