package throttle

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
)

// model is the plain reading of a limit for one subject: fixed windows remember their
// calls, smooth ones are a bucket that leaks.
type model struct {
	window int64
	calls  int64
	level  int64 // smooth: nanoseconds that are still to leak
	at     int64
}

func (m *model) may(l control.Limit, calls, now int64) bool {
	if l.Smooth {
		per := (int64(l.Window) + calls - 1) / calls
		return max(0, m.level-(now-m.at))+per <= l.Burst*per
	}
	return m.window != (now+int64(8*time.Hour))/int64(l.Window) || m.calls < calls
}

func (m *model) count(l control.Limit, calls, now int64) {
	if l.Smooth {
		m.level = max(0, m.level-(now-m.at)) + (int64(l.Window)+calls-1)/calls
		m.at = now
		return
	}
	if w := (now + int64(8*time.Hour)) / int64(l.Window); w != m.window {
		m.window, m.calls = w, 0
	}
	m.calls++
}

// Property 20: random limits, callers and moments, taken back at random: every answer is
// the model's.
func TestAgainstModel(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 1))
		var limits []control.Limit
		for i, by := range []control.By{control.ByRoute, control.ByApp, control.ByUser, control.ByGroup} {
			if random.IntN(4) == 0 {
				continue
			}
			limits = append(limits, control.Limit{Name: fmt.Sprint(i), By: by, Calls: 1 + random.Int64N(12),
				Window: time.Duration(1+random.IntN(40)) * 100 * time.Millisecond, Smooth: random.IntN(2) == 0, Burst: 1 + random.Int64N(5)})
		}
		route := &control.Route{ID: "rte_a", Group: "grp_a", Live: true, Limits: limits}
		group := &control.Group{ID: "grp_a"}
		plan := Prepare(group, route)
		var g Gate
		models := map[string]*model{}
		now := noon
		for step := range 1500 {
			now = now.Add(time.Duration(random.IntN(100)) * time.Millisecond)
			c := &gate.Call{Group: group, Route: route, App: control.AppID(fmt.Sprint("app_", random.IntN(4))), Owner: fmt.Sprint("acc_", random.IntN(2))}
			may, of := true, []*model{}
			for _, l := range limits {
				key := l.Name
				switch l.By {
				case control.ByApp:
					key += string(c.App)
				case control.ByUser:
					key += c.Owner
				}
				if models[key] == nil {
					models[key] = &model{}
				}
				of = append(of, models[key])
				may = may && models[key].may(l, l.Calls, now.UnixNano())
			}
			if got := g.Take(c, plan, now) == nil; got != may {
				t.Fatalf("seed %d, step %d: passes: %v, want %v; %+v", seed, step, got, may, limits)
			}
			if may && random.IntN(3) == 0 {
				g.Undo(c, now)
				continue
			}
			for i := range limits {
				if may {
					of[i].count(limits[i], limits[i].Calls, now.UnixNano())
				}
			}
		}
	}
}

// Property 20, at once: each limit has counted exactly the calls that passed it, none more
// than it lets through, and no call was refused while there was room: the limit that
// refused it is full at the end.
func TestAllOrNoneAtOnce(t *testing.T) {
	for seed := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, 2))
		limits := []control.Limit{
			{Name: "route", By: control.ByRoute, Calls: 150 + random.Int64N(300), Window: time.Hour},
			{Name: "app", By: control.ByApp, Calls: 20 + random.Int64N(60), Window: time.Minute},
			{Name: "user", By: control.ByUser, Calls: 50 + random.Int64N(100), Window: time.Hour},
			{Name: "smooth", By: control.ByApp, Calls: 60, Window: time.Minute, Smooth: true, Burst: 30 + random.Int64N(40)},
		}
		route := &control.Route{ID: "rte_a", Group: "grp_a", Limits: limits}
		group := &control.Group{ID: "grp_a"}
		plan := Prepare(group, route)
		var g Gate
		var mu sync.Mutex
		passed, refusedBy := map[string]int64{}, map[string]bool{}
		var wait sync.WaitGroup
		for w := range 8 {
			wait.Go(func() {
				random := rand.New(rand.NewPCG(seed, uint64(w)))
				c := new(gate.Call)
				for range 150 {
					c.Reset()
					c.Group, c.Route = group, route
					app := random.IntN(9)
					c.App, c.Owner = control.AppID(fmt.Sprint("app_", app)), fmt.Sprint("acc_", app%3)
					err := g.Take(c, plan, noon)
					keys := []string{"route", "app" + string(c.App), "user" + c.Owner, "smooth" + string(c.App)}
					mu.Lock()
					for i, key := range keys {
						if err == nil {
							passed[key]++
						} else if c.Limits[i].Hit {
							refusedBy[key] = true
						}
					}
					mu.Unlock()
				}
			})
		}
		wait.Wait()
		most := func(key string) int64 {
			switch {
			case key == "route":
				return limits[0].Calls
			case key[:3] == "app":
				return limits[1].Calls
			case key[:4] == "user":
				return limits[2].Calls
			}
			return limits[3].Burst
		}
		for key, n := range passed {
			if n > most(key) {
				t.Errorf("seed %d: %s let %d through, its limit is %d", seed, key, n, most(key))
			}
		}
		for key := range refusedBy {
			if passed[key] != most(key) {
				t.Errorf("seed %d: %s refused though it had let only %d of %d through", seed, key, passed[key], most(key))
			}
		}
		for key, n := range passed { // what the counters say is what passed
			c := &gate.Call{Group: group, Route: route, App: "app_new", Owner: "acc_new"}
			if key[:3] == "app" {
				c.App = control.AppID(key[3:])
			}
			var asks [4]Ask
			for i := range plan.limits {
				l := &plan.limits[i]
				asks[i] = Ask{Key: l.key, Calls: l.calls, Window: l.window, per: l.per, most: l.most}
				if err := l.subject(c, &asks[i]); err != nil {
					t.Fatal(err)
				}
			}
			if key[:3] == "app" {
				if state := g.counters.find(&asks[1], noon.UnixNano()); state.calls != n {
					t.Errorf("seed %d: the counter of %s says %d, %d passed", seed, key, state.calls, n)
				}
			}
			if state := g.counters.find(&asks[0], noon.UnixNano()); state.calls != passed["route"] {
				t.Errorf("seed %d: the counter of the route says %d, %d passed", seed, state.calls, passed["route"])
			}
		}
	}
}

// Taken and taken back at once by many, the counters are as if nothing had been.
func TestUndoAtOnce(t *testing.T) {
	limits := []control.Limit{{Name: "a", By: control.ByRoute, Calls: 64, Window: time.Hour},
		{Name: "b", By: control.ByApp, Calls: 60, Window: time.Minute, Smooth: true, Burst: 64}}
	route, group := &control.Route{ID: "rte_a", Group: "grp_a", Limits: limits}, &control.Group{ID: "grp_a"}
	plan := Prepare(group, route)
	var g Gate
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			c := new(gate.Call)
			for range 500 {
				c.Reset()
				c.Group, c.Route, c.App = group, route, "app_a"
				if err := g.Take(c, plan, noon); err != nil {
					t.Error(err)
				}
				g.Undo(c, noon)
			}
		})
	}
	wait.Wait()
	passed := 0
	for g.Take(&gate.Call{Group: group, Route: route, App: "app_a"}, plan, noon) == nil {
		passed++
	}
	if passed != 64 {
		t.Errorf("%d pass, want 64", passed)
	}
}

// Property 19: whatever comes whenever, a smooth limit never lets more through in any
// stretch of time than its burst and what comes back in that time; and a fixed one never
// more in a window than its number.
func TestNeverMoreThanTheBurst(t *testing.T) {
	const calls, burst, per = 7, 3, int64(time.Second+6) / 7
	route := &control.Route{ID: "rte_a", Limits: []control.Limit{{Name: "l", By: control.ByRoute, Calls: calls, Window: time.Second, Smooth: true, Burst: burst}}}
	plan := Prepare(nil, route)
	var g Gate
	random := rand.New(rand.NewPCG(3, 3))
	var passed []int64
	now := noon
	for range 6_000 {
		now = now.Add(time.Duration(random.IntN(60)) * time.Millisecond)
		c := &gate.Call{Route: route}
		if g.Take(c, plan, now) == nil {
			if random.IntN(10) == 0 { // refused by another a little later
				g.Undo(c, now.Add(time.Duration(random.IntN(300))*time.Millisecond))
				continue
			}
			passed = append(passed, now.UnixNano())
		}
	}
	for i := range passed {
		for j := i + burst; j < min(len(passed), i+20); j++ {
			if n := int64(j - i + 1); n > burst+(passed[j]-passed[i])/per {
				t.Fatalf("%d passed within %v", n, time.Duration(passed[j]-passed[i]))
			}
		}
	}
}
