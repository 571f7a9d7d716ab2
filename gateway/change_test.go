package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/souk-market/souk/gateway"
	"github.com/souk-market/souk/gateway/control"
)

// 10 000 changes of routes under load: no call fails, each change is true for the call after
// it, and memory and goroutines are what they were. C1, C2.
func TestManyChangesUnderLoad(t *testing.T) {
	changes := 10_000
	if testing.Short() || gateway.Raced {
		changes = 500
	}
	h, c, _ := furnished(t, 1<<40)
	// The house's own seller remembers each call.
	seller := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer seller.Close()
	whole := h.Route("weather", "ANY", "/[*]")
	whole.Upstream = seller.URL
	h.Apply(whole)
	const others = 200
	var routes []control.Change
	for i := range others {
		r := h.Route("weather", "GET", fmt.Sprintf("/other/%d/[id]", i))
		r.Upstream = seller.URL
		r.Product = control.ProductID(fmt.Sprint("prd_", i))
		routes = append(routes, r)
	}
	h.Apply(routes...)
	var stop atomic.Bool
	var calls, failed atomic.Int64
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for !stop.Load() {
				a := h.Call("GET", "/a", "", "Authorization", "APPCODE "+c.AppCode)
				calls.Add(1)
				if a.Status != 200 || a.Code() != "" {
					failed.Add(1)
					t.Errorf("a call ended with %d %s", a.Status, a.Code())
				}
			}
		})
	}
	turn := func(from, n int) {
		t.Helper()
		for i := from; i < from+n; i++ {
			r := *routes[i%others].(*control.Route)
			r.Name, r.Live = fmt.Sprint("changed ", i), i%2 == 0
			if err := h.Plane.Apply(context.Background(), &r); err != nil {
				t.Fatal(err)
			}
			if i%500 == 0 {
				want := "" // what is left is the route that takes every path
				if r.Live {
					want = "I403AA" // its product is nobody's
				}
				if a := h.Call("GET", fmt.Sprintf("/other/%d/7", i%others), "", "Authorization", "APPCODE "+c.AppCode); a.Code() != want {
					t.Errorf("after change %d: %d %s, want %q", i, a.Status, a.Code(), want)
				}
			}
		}
	}
	size := func() (heap uint64, goroutines int) {
		runtime.GC()
		runtime.GC() // pools let go of their things in two steps
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc, runtime.NumGoroutine()
	}
	turn(0, changes/10)
	heap, goroutines := size()
	turn(changes/10, changes-changes/10)
	after, then := size()
	stop.Store(true)
	all.Wait()
	// 2 % as C2 wants it, and what calls under way hold: the journal's room for a batch of them
	// alone is 2 MiB, once there was a full one.
	if after > heap+heap/50+3<<20 || then > goroutines+8 {
		t.Errorf("%d bytes and %d goroutines became %d and %d", heap, goroutines, after, then)
	}
	t.Logf("%d changes, %d calls, %d failed; %d KiB of heap became %d, %d goroutines became %d", changes, calls.Load(), failed.Load(), heap>>10, after>>10, goroutines, then)
}
