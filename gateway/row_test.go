package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/auth"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
)

// desk is the smallest ledger: one app, a purse of units.
type desk struct {
	key, code string
	app       auth.App
	left      atomic.Int64
	held      atomic.Int64
	settled   atomic.Int64
	broken    atomic.Bool // settling fails
}

func (d *desk) ByKey(key []byte) (auth.App, bool, error) {
	return d.app, d.key != "" && string(key) == d.key, nil
}

func (d *desk) ByCode(code []byte) (auth.App, bool, error) {
	return d.app, d.code != "" && string(code) == d.code, nil
}

func (d *desk) Reserve(control.AppID, control.ProductID) (gate.Hold, error) {
	if d.left.Add(-1) < 0 {
		d.left.Add(1)
		return gate.Hold{}, gate.QuotaExhausted
	}
	d.held.Add(1)
	return gate.Hold{Grant: "grt_a", Package: "pkg_a", Lease: 1}, nil
}

func (d *desk) Warm(a control.AppID, p control.ProductID) (gate.Hold, bool) {
	h, err := d.Reserve(a, p)
	return h, err == nil
}

func (d *desk) Settle(gate.Hold, *control.CallRecord) error {
	d.held.Add(-1)
	if d.broken.Load() {
		return io.ErrShortWrite
	}
	d.settled.Add(1)
	return nil
}

func (d *desk) Void(gate.Hold) {
	d.held.Add(-1)
	d.left.Add(1)
}

func (d *desk) Reverse(gate.Hold, *control.CallRecord) error {
	d.settled.Add(-1)
	d.left.Add(1)
	return nil
}

func (d *desk) Note(*control.CallRecord) {}

// house is a gateway on a desk, with a listener and a seller behind it.
type house struct {
	*Server
	desk *desk
	addr string
	now  atomic.Int64 // nanoseconds
}

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func at(t testing.TB, start time.Time, o Options) *house {
	t.Helper()
	h := &house{desk: &desk{app: auth.App{ID: "app_a", Live: true, Secret: []byte("secret")}, code: "code", key: "key"}}
	h.desk.left.Store(1 << 40)
	h.now.Store(start.UnixNano())
	o.Now = func() time.Time { return time.Unix(0, h.now.Load()) }
	o.AllowPrivateUpstreams = true
	h.Server = assemble(o, h.desk, h.desk, h.desk)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = l.Addr().String()
	done := make(chan error, 1)
	go func() { done <- h.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := h.drain(ctx); err != nil {
			t.Errorf("drain: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return h
}

// everything serves each method and path of a host, in all stages.
func (h *house) everything(host, upstream string, change func(*control.Route)) {
	var routes []*control.Route
	for _, stage := range []control.Stage{"", control.Pre, control.Test} {
		r := &control.Route{ID: control.RouteID("rte_" + stage), Group: "grp_a", Product: "prd_a", Stage: stage, Method: "ANY", Path: "/[*]",
			Upstream: upstream, AllowSHA1: true, Live: true}
		if change != nil {
			change(r)
		}
		routes = append(routes, r)
	}
	h.build(1, []*control.Group{{ID: "grp_a", Domains: []string{host}, Live: true}}, routes)
}

// sell starts a seller.
func sell(t testing.TB, f http.HandlerFunc) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: f}
	var wait sync.WaitGroup
	wait.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() { _ = s.Close(); wait.Wait() })
	return "http://" + l.Addr().String()
}

// send writes raw bytes on a new connection and reads all answers until the end.
func (h *house) send(t testing.TB, raw []byte) []byte {
	t.Helper()
	c, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write(raw); err != nil {
		t.Logf("write: %v", err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Logf("close: %v", err)
	}
	all, err := io.ReadAll(c)
	if err != nil {
		t.Logf("read: %v", err)
	}
	return all
}

// one is the single answer to a raw request.
func (h *house) one(t testing.TB, method string, raw []byte) *http.Response {
	t.Helper()
	all := h.send(t, raw)
	r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(all)), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%q: %v", all, err)
	}
	return r
}

// Real requests of callers' libraries, through a real connection. GWC-01, API-04, API-06.
func TestVectors(t *testing.T) {
	type vector struct {
		ID, Kind    string
		NowMS       int64 `json:"now_ms"`
		Credentials struct {
			AppKey    string `json:"app_key"`
			AppSecret string `json:"app_secret"`
			AppCode   string `json:"app_code"`
		}
		Request struct {
			Method string
			Head   []byte `json:"head_b64"`
			Body   []byte `json:"body_b64"`
		}
		Canonical *string `json:"canonical_string_to_sign"`
		Expect    struct {
			Verdict string
			Status  int
			Code    string `json:"error_code"`
			Message string `json:"message_contains"`
		}
		Repeat int
	}
	seller := sell(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	f, err := os.Open("../signer/testdata/vectors.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	n := 0
	for lines.Scan() {
		var v vector
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		n++
		t.Run(v.ID, func(t *testing.T) {
			h := at(t, time.UnixMilli(v.NowMS).Add(-time.Hour), Options{})
			h.desk.key, h.desk.code, h.desk.app.Secret = v.Credentials.AppKey, v.Credentials.AppCode, []byte(v.Credentials.AppSecret)
			host := "nobody"
			for _, line := range strings.Split(string(v.Request.Head), "\r\n") {
				if name, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(name, "Host") {
					host, _, _ = strings.Cut(strings.TrimSpace(value), ":")
				}
			}
			h.everything(strings.ToLower(host), seller, func(r *control.Route) { r.AppCode = control.AppCodeHeaderQuery })
			raw := append([]byte{}, v.Request.Head...)
			if bytes.Contains(bytes.ToLower(v.Request.Head), []byte("transfer-encoding: chunked")) {
				raw = fmt.Appendf(raw, "%x\r\n%s\r\n0\r\n\r\n", len(v.Request.Body), v.Request.Body)
				if len(v.Request.Body) == 0 {
					raw = append(append([]byte{}, v.Request.Head...), "0\r\n\r\n"...)
				}
			} else {
				raw = append(raw, v.Request.Body...)
			}
			var r *http.Response
			for i := range max(1, v.Repeat) {
				h.now.Store(time.UnixMilli(v.NowMS + int64(i)).UnixNano())
				r = h.one(t, v.Request.Method, raw)
				if r.StatusCode == http.StatusContinue {
					t.Fatal("an interim answer")
				}
			}
			code, message := r.Header.Get("X-Ca-Error-Code"), r.Header.Get("X-Ca-Error-Message")
			switch v.Expect.Verdict {
			case "accept":
				if code != "" || r.StatusCode != 200 {
					t.Fatalf("%d %s %q", r.StatusCode, code, message)
				}
			case "reject":
				if code == "" {
					t.Fatalf("accepted, want %s", v.Expect.Code)
				}
				if v.Expect.Code != "" && code != v.Expect.Code || v.Expect.Status != 0 && r.StatusCode != v.Expect.Status {
					t.Errorf("%d %s, want %d %s", r.StatusCode, code, v.Expect.Status, v.Expect.Code)
				}
				if !strings.Contains(message, v.Expect.Message) {
					t.Errorf("message %q has no %q", message, v.Expect.Message)
				}
				if code == "A403IS" && v.Canonical != nil {
					if want := strings.ReplaceAll(*v.Canonical, "\n", "#"); !strings.Contains(message, "`"+want+"`") {
						t.Errorf("message %q does not show %q", message, want)
					}
				}
			}
		})
	}
	if n != 187 {
		t.Fatalf("%d vectors, want 187", n)
	}
}
