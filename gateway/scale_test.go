package gateway_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gatewaytest"
)

// C10: a route of a gateway that runs takes at most 4 KiB with all that is made of it, and
// no goroutine; and one of many is published as fast as one of few.
func TestManyRoutes(t *testing.T) {
	const n, each = 10_000, 10
	h := gatewaytest.New(t, nil)
	size := func() (heap uint64, goroutines int) {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc, runtime.NumGoroutine()
	}
	var all []control.Change
	for i := range n {
		g := control.GroupID(fmt.Sprintf("grp_%016d", i/each))
		if i%each == 0 {
			all = append(all, &control.Group{ID: g, Name: "a group", Domains: []string{fmt.Sprintf("api-%d.market.test", i/each)}, Live: true})
		}
		all = append(all, &control.Route{ID: control.RouteID(fmt.Sprintf("rte_%016d", i)), Group: g, Product: control.ProductID(fmt.Sprintf("prd_%016d", i/each)),
			Name: fmt.Sprintf("interface %d", i), Method: "GET", Path: fmt.Sprintf("/v1/interface-%d/[id]", i), UpstreamPath: fmt.Sprintf("/interfaces/%d/[id]", i),
			Upstream: h.Seller.URL, Throttle: control.Throttle{PerRoute: 1000, PerApp: 100}, Live: true})
	}
	h.Apply(all[:10]...)
	heap, goroutines := size()
	h.Apply(all...)
	last := all[len(all)-1].(*control.Route).ID
	all = nil
	after, then := size()
	if bytes := (after - heap) / n; bytes > 4096 || then > goroutines+8 {
		t.Errorf("%d bytes a route, 4096 are allowed; %d goroutines became %d", bytes, goroutines, then)
	} else {
		t.Logf("%d bytes a route", bytes)
	}
	began := time.Now()
	const changes = 50
	for i := range changes {
		h.Apply(&control.Route{ID: last, Group: control.GroupID(fmt.Sprintf("grp_%016d", n/each-1)), Product: "prd_a", Name: fmt.Sprint("change ", i), Method: "GET",
			Path: "/changed", Upstream: h.Seller.URL, Live: true})
	}
	t.Logf("a change takes %v, with its commit", time.Since(began)/changes)
	a := h.Call("GET", "/nowhere", "")
	if a.Code() != "I404DO" { // the house has no group of its own
		t.Errorf("another host: %s", a.Code())
	}
	if err := h.Plane.Flush(context.Background()); err != nil {
		t.Error(err)
	}
}
