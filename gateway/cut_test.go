package gateway_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gatewaytest"
)

// An answer that breaks off behind its head is cut for the caller, too, and costs nothing:
// the charge is undone by a second record, and the unit can be used again. F19, F20, X4,
// metering.md 1.6.
func TestBrokenAnswerIsTakenBack(t *testing.T) {
	for name, answer := range map[string]string{
		"by length":  "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
		"by chunks":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"by no size": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			h := gatewaytest.New(t, nil)
			h.Group()
			c := h.App("hangzhou")
			grant := h.Grant("hangzhou", "weather", true)
			r := h.Route("weather", "GET", "/a")
			r.Upstream = once(t, answer)
			h.Apply(r, &control.Package{ID: "pkg_a", Grant: grant, Calls: 1, From: gatewaytest.Start, Live: true})
			for range 3 { // with one unit
				request, err := http.NewRequest("GET", "http://"+h.Addr+"/a", nil)
				if err != nil {
					t.Fatal(err)
				}
				request.Host = gatewaytest.Domain
				request.Header.Set("Authorization", "APPCODE "+c.AppCode)
				a, err := http.DefaultClient.Do(request)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(a.Body)
				_ = a.Body.Close() // it was read
				if a.StatusCode != 200 || err == nil || !strings.HasPrefix("half", string(body)) {
					t.Errorf("%d %q, %v: the caller cannot tell", a.StatusCode, body, err)
				}
				deadline := time.Now().Add(5 * time.Second)
				for h.Left(grant) != 1 && time.Now().Before(deadline) {
				}
			}
			if left := h.Left(grant); left != 1 {
				t.Errorf("%d calls left, want the one", left)
			}
			calls, err := h.Plane.Calls(t.Context(), control.CallFilter{Grant: grant})
			if err != nil || len(calls) != 6 || calls[0].Code != "N502RE" || calls[0].Outcome != control.Free {
				t.Errorf("%+v, %v", calls, err)
			}
		})
	}
}

// once is a seller that answers each connection once, and closes it.
func once(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			var b [4096]byte
			if _, err := c.Read(b[:]); err == nil {
				_, _ = io.WriteString(c, answer)
			}
			_ = c.Close()
		}
	}()
	return "http://" + l.Addr().String()
}
