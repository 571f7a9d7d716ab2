// Package throttle bounds how fast a route is called: by all together, and by each app.
// How many calls somebody has left is quota's question.
//
// Windows are fixed and aligned with the clock, and exact on this node.
package throttle

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
)

// maxApps bounds the apps that are counted in one window of a route. Beyond it calls of
// further apps are turned away until the window ends.
const maxApps = 1 << 20

// Gate turns calls away that come too fast.
type Gate struct {
	windows atomic.Pointer[map[control.RouteID]*window]
}

// window counts the calls of one route since the last turn of its clock.
type window struct {
	mu    sync.Mutex
	slot  int64
	calls int64
	apps  map[control.AppID]int64
}

// Build takes the routes of a new snapshot; a route that was there keeps its count.
func (g *Gate) Build(routes []*control.Route) {
	var old map[control.RouteID]*window
	if p := g.windows.Load(); p != nil {
		old = *p
	}
	next := make(map[control.RouteID]*window)
	for _, r := range routes {
		if !r.Live || r.Throttle.PerRoute <= 0 && r.Throttle.PerApp <= 0 {
			continue
		}
		w := old[r.ID]
		if w == nil {
			w = &window{apps: make(map[control.AppID]int64)}
		}
		next[r.ID] = w
	}
	g.windows.Store(&next)
}

// Pass counts a call against both limits, or against none.
func (g *Gate) Pass(c *gate.Call) error {
	limits := &c.Route.Throttle
	if limits.PerRoute <= 0 && limits.PerApp <= 0 {
		return nil
	}
	p := g.windows.Load()
	if p == nil {
		return nil
	}
	w := (*p)[c.Route.ID]
	if w == nil {
		return nil // the route has gone since the call found it
	}
	length := int64(limits.Window)
	if length <= 0 {
		length = int64(time.Second)
	}
	refusal, wait := w.pass(limits, c.App, c.At.UnixNano(), length)
	if refusal == nil {
		return nil
	}
	later := *refusal
	later.After = wait
	return &later
}

func (w *window) pass(limits *control.Throttle, app control.AppID, now, length int64) (*gate.Refusal, time.Duration) {
	slot := now / length
	wait := time.Duration((slot+1)*length - now)
	w.mu.Lock()
	defer w.mu.Unlock()
	if slot != w.slot {
		w.slot, w.calls = slot, 0
		clear(w.apps)
	}
	if limits.PerRoute > 0 && w.calls >= limits.PerRoute {
		return gate.ThrottledRoute, wait
	}
	if limits.PerApp > 0 {
		n, known := w.apps[app]
		if n >= limits.PerApp || !known && len(w.apps) >= maxApps {
			return gate.ThrottledApp, wait
		}
		w.apps[app] = n + 1
	}
	w.calls++
	return nil, 0
}
