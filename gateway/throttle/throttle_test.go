package throttle

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func code(err error) string {
	var r *gate.Refusal
	if errors.As(err, &r) {
		return r.Code
	}
	return ""
}

func TestWindows(t *testing.T) {
	r := &control.Route{ID: "rte_a", Live: true, Throttle: control.Throttle{PerRoute: 3, PerApp: 2, Window: time.Minute}}
	var g Gate
	g.Build([]*control.Route{r})
	call := func(app control.AppID, at time.Duration, want string) *gate.Refusal {
		t.Helper()
		err := g.Pass(&gate.Call{Route: r, App: app, At: noon.Add(at)})
		if code(err) != want {
			t.Errorf("%s at %v: %v, want %q", app, at, err, want)
		}
		refusal, _ := err.(*gate.Refusal)
		return refusal
	}
	call("app_a", 0, "")
	call("app_a", time.Second, "")
	call("app_a", 2*time.Second, "T429PR") // and it has not used up the route's third
	call("app_b", 3*time.Second, "")
	if r := call("app_c", 20*time.Second, "T429PA"); r.After != 40*time.Second {
		t.Errorf("retry after %v, want 40s", r.After)
	}
	call("app_c", 59*time.Second+999*time.Millisecond, "T429PA")
	call("app_c", time.Minute, "") // the window turns; what was refused has cost nothing
	g.Build([]*control.Route{r})
	call("app_c", 61*time.Second, "")
	call("app_c", 62*time.Second, "T429PR") // a new snapshot keeps the count
}

func TestExactUnderLoad(t *testing.T) {
	r := &control.Route{ID: "rte_a", Live: true, Throttle: control.Throttle{PerRoute: 1000}}
	var g Gate
	g.Build([]*control.Route{r})
	var passed atomic.Int64
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 500 {
				if g.Pass(&gate.Call{Route: r, App: "app_a", At: noon}) == nil {
					passed.Add(1)
				}
			}
		})
	}
	wait.Wait()
	if passed.Load() != 1000 {
		t.Errorf("%d of 4000 passed, want 1000", passed.Load())
	}
}
