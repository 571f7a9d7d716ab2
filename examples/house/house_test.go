package house

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	_ "github.com/souk-market/souk/console/standard"
	"github.com/souk-market/souk/gateway/control"
)

func start(t *testing.T, o Options) *House {
	t.Helper()
	h, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func stop(t *testing.T, h *House) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := h.Close(ctx); err != nil {
		t.Error(err)
	}
}

// What a console sells reaches a gateway that is another process, and a console that comes
// and goes gives nobody's calls back.
func TestHalvesShareOneLedger(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }))
	defer up.Close()
	folder := t.TempDir()
	gateway := start(t, Options{Folder: folder, Gateway: "127.0.0.1:0", AllowPrivateUpstreams: true})
	defer stop(t, gateway)
	half := Options{Folder: folder, Console: "127.0.0.1:0", Ops: "127.0.0.1:0", GatewayPublic: gateway.GatewayURL}
	console := start(t, half)

	ctx := t.Context()
	app, err := console.plane.CreateApp(ctx, control.App{ID: "app_1", Owner: "acc_1", Name: "one", Live: true})
	if err != nil {
		t.Fatal(err)
	}
	err = console.plane.Apply(ctx, &control.Group{ID: "grp_1", Name: "one", Domains: []string{"127.0.0.1"}, Live: true},
		&control.Route{ID: "rte_1", Group: "grp_1", Product: "prd_1", Stage: control.Release, Method: "GET", Path: "/x", Upstream: up.URL, Live: true},
		&control.Grant{ID: "grt_1", App: "app_1", Product: "prd_1", Live: true},
		&control.Package{ID: "pkg_1", Grant: "grt_1", Calls: 3, From: time.Now().Add(-time.Hour), Live: true})
	if err != nil {
		t.Fatal(err)
	}
	call := func() int {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, gateway.GatewayURL+"/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "APPCODE "+app.AppCode)
		w, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = w.Body.Close() // the status is all that counts here
		return w.StatusCode
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	good := 0
	for good == 0 {
		if call() == http.StatusOK {
			good++
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the gateway does not hear of what the console sold")
		}
	}
	stop(t, console)
	console = start(t, half)
	defer stop(t, console)
	for range 6 {
		if call() == http.StatusOK {
			good++
		}
	}
	if good != 3 {
		t.Errorf("%d calls of a package of 3", good)
	}
	if err := gateway.plane.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	b, err := console.plane.Balances(ctx, "grt_1")
	if err != nil || len(b) != 1 || b[0].Used != 3 {
		t.Errorf("the console sees %v, %v", b, err)
	}
	w, err := http.Get(console.OpsURL + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Body.Close()
	if w.StatusCode != http.StatusOK {
		t.Errorf("the console's readiness: %d", w.StatusCode)
	}
}

func TestAnAddressThatIsTakenIsNamed(t *testing.T) {
	first := start(t, Options{Folder: t.TempDir(), Gateway: "127.0.0.1:0"})
	defer stop(t, first)
	_, err := Open(t.Context(), Options{Folder: t.TempDir(), Gateway: first.GatewayURL[len("http://"):]})
	if err == nil {
		t.Fatal("two gateways have one address")
	}
}
