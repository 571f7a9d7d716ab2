package demo_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/examples/demo"
)

func start(t *testing.T, folder string, fresh bool) *demo.Market {
	t.Helper()
	m, err := demo.Start(t.Context(), demo.Options{Data: folder, Fresh: fresh})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func stop(t *testing.T, m *demo.Market) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := m.Close(ctx); err != nil {
		t.Error(err)
	}
}

// call calls the gateway as the demo's app, by AppCode, and gives the status with the
// reason of a refusal.
func call(t *testing.T, m *demo.Market, method, path string) (status int, why string, e demo.Echo) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, m.Ready.Gateway+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "APPCODE "+m.Ready.App.AppCode)
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	_ = json.NewDecoder(w.Body).Decode(&e) // a refusal has no echo
	return w.StatusCode, w.Header.Get("X-Ca-Error-Message"), e
}

func TestDemoKeepsItsDataBetweenRuns(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "demo")
	first := start(t, folder, false)
	r := first.Ready
	if len(r.Accounts) < 3 || r.App.AppKey == "" || r.App.AppSecret == "" || r.App.AppCode == "" || len(r.Packages) != 4 {
		t.Errorf("the ready file lacks something: %+v", r)
	}
	untouched := false
	for _, p := range r.Packages {
		untouched = untouched || p.Total == 1000 && p.Used == 0
	}
	if !untouched {
		t.Errorf("no package of 1000 calls is untouched: %+v", r.Packages)
	}
	want := map[string]bool{"GET /accept/get": true, "HEAD /accept/get": true, "DELETE /accept/get": true, "GET /accept/get/[id]": true,
		"POST /accept/form": true, "POST /accept/json": true, "PUT /accept/json": true, "PATCH /accept/json": true,
		"POST /accept/bin": true, "PUT /accept/bin": true}
	for _, route := range r.Routes {
		delete(want, route.Method+" "+route.Path)
	}
	if len(want) > 0 {
		t.Errorf("the app may not call %v", want)
	}
	if status, why, e := call(t, first, http.MethodGet, "/accept/get?a=b&AppCode=x"); status != http.StatusOK || e.Target != "/accept/get?a=b" {
		t.Errorf("status %d %s, the seller saw %q", status, why, e.Target)
	}
	stop(t, first)

	again := start(t, folder, false)
	if again.Ready.App != r.App || again.Ready.Accounts[0] != r.Accounts[0] {
		t.Error("the second run has another app or buyer")
	}
	if status, why, _ := call(t, again, http.MethodGet, "/accept/get/7"); status != http.StatusOK {
		t.Errorf("status %d after a restart: %s", status, why)
	}
	used := int64(0)
	for _, p := range again.Ready.Packages {
		used += p.Used
	}
	if used != 1 {
		t.Errorf("%d calls used after the first run, want 1", used)
	}
	stop(t, again)

	fresh := start(t, folder, true)
	defer stop(t, fresh)
	if fresh.Ready.App.AppCode == r.App.AppCode {
		t.Error("--fresh has kept the app")
	}
}

func TestDemoLeavesOthersFoldersAlone(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "gateway.db")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := demo.Start(t.Context(), demo.Options{Data: folder, Fresh: true})
	if err == nil || !strings.Contains(err.Error(), "--data") {
		t.Errorf("got %v, want a refusal that says what to do", err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("the file is %q, %v", b, err)
	}
}
