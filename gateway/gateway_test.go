package gateway_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/souk-market/souk/gateway"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gatewaytest"
)

// The stories of testdata: what a support person can read, a gateway must do.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.call")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d stories, %v", len(files), err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".call"), func(t *testing.T) {
			t.Parallel()
			gatewaytest.Run(t, f)
		})
	}
}

// A house with one product, one app, and so many calls.
func furnished(t testing.TB, calls int64) (*gatewaytest.House, control.Credentials, control.GrantID) {
	t.Helper()
	h := gatewaytest.New(t, nil)
	h.Group()
	c := h.App("hangzhou")
	grant := h.Grant("hangzhou", "weather", true)
	h.Apply(h.Route("weather", "ANY", "/[*]"),
		&control.Package{ID: "pkg_a", Grant: grant, Calls: calls, From: gatewaytest.Start, Live: true})
	return h, c, grant
}

// API-15: of a thousand calls at once on a package of five hundred, five hundred succeed.
func TestThousandCallsOnFiveHundred(t *testing.T) {
	h, c, grant := furnished(t, 500)
	var served, refused, other atomic.Int64
	var wait sync.WaitGroup
	for range 50 {
		wait.Go(func() {
			for range 20 {
				a := h.Call("GET", "/a", "", "Authorization", "APPCODE "+c.AppCode)
				switch {
				case a.Status == 200 && a.Code() == "" && a.Body == "ok":
					served.Add(1)
				case a.Status == 403 && a.Code() == "B403MQ":
					refused.Add(1)
				default:
					other.Add(1)
				}
			}
		})
	}
	wait.Wait()
	if served.Load() != 500 || refused.Load() != 500 || other.Load() != 0 {
		t.Errorf("%d served, %d refused, %d otherwise; want 500, 500, 0", served.Load(), refused.Load(), other.Load())
	}
	if n := len(h.Seller.Asked()); n != 500 {
		t.Errorf("the seller was asked %d times", n)
	}
	if left := h.Left(grant); left != 0 {
		t.Errorf("%d calls left", left)
	}
	h.Restart()
	if a := h.Call("GET", "/a", "", "Authorization", "APPCODE "+c.AppCode); a.Code() != "B403MQ" {
		t.Errorf("after a restart: %d %s", a.Status, a.Code())
	}
}

// C1: what Apply returned for is true for the next call.
func TestChangesAreLiveAtOnce(t *testing.T) {
	h, c, grant := furnished(t, 1000)
	call := func(path string, want string) {
		t.Helper()
		if a := h.Call("GET", path, "", "Authorization", "APPCODE "+c.AppCode); a.Code() != want {
			t.Errorf("%s: %d %q, want %q", path, a.Status, a.Code(), want)
		}
	}
	for range 20 {
		r := h.Route("weather", "GET", "/[*]")
		r.ID = "rte_ANY/[*]"
		r.Live = false
		h.Apply(r)
		call("/a", "I404NF")
		r.Live = true
		h.Apply(r)
		call("/a", "")
		h.Apply(&control.Grant{ID: grant, App: "app_hangzhou", Product: "weather", Live: false})
		call("/a", "B403MI")
		h.Apply(&control.Grant{ID: grant, App: "app_hangzhou", Product: "weather", Live: true})
		call("/a", "")
		h.Apply(&control.App{ID: "app_hangzhou", Owner: "acc_test", Name: "x", Live: false})
		call("/a", "A400AC")
		h.Apply(&control.App{ID: "app_hangzhou", Owner: "acc_test", Name: "x", Live: true})
		call("/a", "")
	}
	old := c.AppCode
	fresh, err := h.Plane.ResetCode(context.Background(), "app_hangzhou")
	if err != nil {
		t.Fatal(err)
	}
	call("/a", "A400AC")
	if c = fresh; c.AppCode == old {
		t.Error("the code is the same")
	}
	call("/a", "")
}

// Each call of an app can be looked up by the ID that its answer bears.
func TestCallsAreFoundByTheirID(t *testing.T) {
	h, c, grant := furnished(t, 1)
	for _, want := range []control.CallRecord{
		{Status: 200, Outcome: control.Charged, Grant: grant, Package: "pkg_a"},
		{Status: 403, Outcome: control.Refused, Code: "B403MQ", Serial: -1},
	} {
		a := h.Call("POST", "/a?secret=1", "body", "Authorization", "APPCODE "+c.AppCode)
		if err := h.Plane.Flush(context.Background()); err != nil {
			t.Fatal(err)
		}
		id, err := control.ParseRequestID(a.Header.Get("X-Ca-Request-Id"))
		if err != nil {
			t.Fatal(err)
		}
		calls, err := h.Plane.Calls(context.Background(), control.CallFilter{Request: id})
		if err != nil || len(calls) != 1 {
			t.Fatalf("%d calls, %v", len(calls), err)
		}
		got := calls[0]
		if got.Status != want.Status || got.Outcome != want.Outcome || got.Code != want.Code || got.Serial != want.Serial ||
			got.Package != want.Package || got.App != "app_hangzhou" || got.Product != "weather" || got.Method != "POST" || got.Path != "/[*]" {
			t.Errorf("recorded as %+v", got)
		}
	}
}

func TestOps(t *testing.T) {
	h, c, _ := furnished(t, 1000)
	for i := range 50 {
		// Nothing of this may become a label.
		h.Call("GET", "/a", "", "Authorization", "APPCODE "+c.AppCode, "X-Ca-Stage", strings.Repeat("x", i%2))
	}
	inner := httptest.NewServer(h.Ops())
	defer inner.Close()
	get := func(path string) (int, string) {
		t.Helper()
		r := httptest.NewRecorder()
		h.Ops().ServeHTTP(r, httptest.NewRequest(http.MethodGet, path, nil))
		return r.Code, r.Body.String()
	}
	if status, body := get("/healthz"); status != 200 || !strings.Contains(body, `"ok":true`) {
		t.Errorf("healthz: %d %s", status, body)
	}
	if status, body := get("/readyz"); status != 200 {
		t.Errorf("readyz: %d %s", status, body)
	}
	_, metrics := get("/metrics")
	for _, line := range []string{
		`souk_gateway_calls_total{code="2xx",outcome="charged",route="rte_ANY/[*]"} 25`,
		`souk_gateway_calls_total{code="I400SG",outcome="refused",route=""} 25`,
		`souk_gateway_upstream_seconds_count 25`,
		`souk_gateway_calls_in_flight 0`,
	} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("no %s in the metrics", line)
		}
	}
	if strings.Contains(metrics, c.AppCode) || strings.Contains(metrics, "hangzhou") {
		t.Error("the metrics name a caller")
	}
	if status, _ := get("/debug/pprof/cmdline"); status != 200 {
		t.Errorf("pprof: %d", status)
	}
}

func TestReadinessSaysWhy(t *testing.T) {
	h := gatewaytest.New(t, nil)
	if err := h.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRecorder()
	h.Ops().ServeHTTP(r, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	var said struct{ Reasons []string }
	if err := json.Unmarshal(r.Body.Bytes(), &said); err != nil || r.Code != 503 || len(said.Reasons) != 1 || said.Reasons[0] != "draining" {
		t.Errorf("%d %+v %v", r.Code, said, err)
	}
}

func TestOneGatewayAFolder(t *testing.T) {
	folder := t.TempDir()
	h := gatewaytest.New(t, func(o *gateway.Options) { o.Folder = folder })
	if _, err := gateway.New(context.Background(), gateway.Options{DB: h.DB, Folder: folder, MasterKey: make([]byte, 32)}); err == nil {
		t.Error("two gateways in one folder")
	}
}

// With debug, an answer says how long it took; without, it does not.
func TestDebugInfo(t *testing.T) {
	h, c, _ := furnished(t, 10)
	for mode, want := range map[string]bool{"debug": true, "DEBUG": true, "": false} {
		a := h.Call("GET", "/a", "", "Authorization", "APPCODE "+c.AppCode, "X-Ca-Request-Mode", mode)
		var said struct{ ServiceLatency, TotalLatency *int64 }
		info := a.Header.Get("X-Ca-Debug-Info")
		if (info != "") != want {
			t.Errorf("mode %q: %q", mode, info)
		}
		if want && (json.Unmarshal([]byte(info), &said) != nil || said.ServiceLatency == nil || said.TotalLatency == nil) {
			t.Errorf("mode %q: %q", mode, info)
		}
	}
}

func BenchmarkCall(b *testing.B) {
	h, c, _ := furnished(b, 1<<40)
	h.Call("GET", "/a", "", "Authorization", "APPCODE "+c.AppCode)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if a := h.Call("GET", "/a", "", "Authorization", "APPCODE "+c.AppCode); a.Status != 200 {
				b.Errorf("%d %s", a.Status, a.Code())
			}
		}
	})
	h.Seller.Asked()
}
