package throttle

import (
	"fmt"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
)

// At the bound a live counter is never forgotten; strangers share a stricter one.
func TestBound(t *testing.T) {
	route := &control.Route{ID: "rte_a", Limits: []control.Limit{{Name: "l", By: control.ByApp, Calls: 2, Window: time.Hour}}}
	plan := Prepare(nil, route)
	var g Gate
	g.counters.Max = 64 * 4
	take := func(app string, at time.Duration) bool {
		return g.Take(&gate.Call{Route: route, App: control.AppID(app)}, plan, noon.Add(at)) == nil
	}
	passed := map[string]int{}
	for range 3 {
		for i := range 1000 {
			if app := fmt.Sprint("app_", i); take(app, 0) {
				passed[app]++
			}
		}
	}
	total := 0
	for app, n := range passed {
		if n > 2 {
			t.Errorf("%s passed %d times", app, n)
		}
		total += n
	}
	// 256 of their own at most, and a crowd in each of 64 shards.
	if n, crowded := g.Counts(); n > 64*5 || crowded == 0 || total > 2*n {
		t.Errorf("%d counters, %d counted in crowds, %d passed", n, crowded, total)
	}
	// When the hour is over, and a minute for those who are late, there is room again.
	later := time.Hour + 2*time.Minute
	for i := range 200 {
		take(fmt.Sprint("app_new", i), later)
	}
	_, before := g.Counts()
	if !take("app_new0", later) || take("app_new0", later) {
		t.Error("a counter was forgotten, or counts double")
	}
	if _, after := g.Counts(); after != before {
		t.Error("it is still crowded")
	}
}

// Who was counted in a crowd does not begin anew when there is room again.
func TestOutOfTheCrowd(t *testing.T) {
	short, long := time.Minute, 24*time.Hour
	route := &control.Route{ID: "rte_a", Limits: []control.Limit{{Name: "l", By: control.ByApp, Calls: 3, Window: long}}}
	filler := &control.Route{ID: "rte_b", Limits: []control.Limit{{Name: "l", By: control.ByApp, Calls: 3, Window: short}}}
	plan, other := Prepare(nil, route), Prepare(nil, filler)
	var g Gate
	g.counters.Max = 64
	for i := range 2000 {
		_ = g.Take(&gate.Call{Route: filler, App: control.AppID(fmt.Sprint("f", i))}, other, noon)
	}
	passed := 0
	for i := range 20 {
		if g.Take(&gate.Call{Route: route, App: "app_a"}, plan, noon.Add(time.Duration(i)*time.Minute)) == nil {
			passed++
		}
	}
	if passed != 3 {
		t.Errorf("%d passed, want 3", passed)
	}
}

// Idle counters go, live ones stay.
func TestSweep(t *testing.T) {
	route := &control.Route{ID: "rte_a", Limits: []control.Limit{{Name: "s", By: control.ByApp, Calls: 1, Window: time.Second},
		{Name: "d", By: control.ByUser, Calls: 100, Window: 24 * time.Hour}}}
	plan := Prepare(nil, route)
	var g Gate
	for i := range 20_000 {
		c := &gate.Call{Route: route, App: control.AppID(fmt.Sprint(i)), Owner: "acc"}
		if i < 100 != (g.Take(c, plan, noon) == nil) {
			t.Fatalf("call %d", i)
		}
	}
	for i := range 60_000 {
		c := &gate.Call{Route: route, App: control.AppID(fmt.Sprint("b", i)), Owner: fmt.Sprint(i / 30)}
		_ = g.Take(c, plan, noon.Add(5*time.Duration(i)*time.Millisecond))
	}
	// A sweep a minute, and a minute of grace, with two hundred new ones a second.
	if n, _ := g.Counts(); n > 26_000 {
		t.Errorf("%d of 60 000 counters are left", n)
	}
	if g.Take(&gate.Call{Route: route, App: "x", Owner: "acc"}, plan, noon.Add(300*time.Second)) == nil {
		t.Error("the day's count of acc was forgotten")
	}
}

func three() (*Gate, *Plan, *gate.Call) {
	route := &control.Route{ID: "rte_a", Group: "grp_a", Limits: []control.Limit{
		{Name: "route", By: control.ByRoute, Calls: 1 << 40, Window: time.Second},
		{Name: "app", By: control.ByApp, Calls: 1 << 40, Window: time.Minute},
		{Name: "user", By: control.ByUser, Calls: 1 << 40, Window: 24 * time.Hour, Smooth: true, Burst: 1 << 30},
	}}
	c := &gate.Call{Route: route, App: "app_0123456789abcdef", Owner: "acc_0123456789abcdef", At: noon}
	return new(Gate), Prepare(nil, route), c
}

// The warm path allocates nothing, refused or not.
func TestTakeAllocatesNothing(t *testing.T) {
	g, plan, c := three()
	if n := testing.AllocsPerRun(1000, func() {
		c.Limits = c.Limits[:0]
		if err := g.Take(c, plan, noon); err != nil {
			t.Fatal(err)
		}
		g.Undo(c, noon)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	many := *plan
	for i := range 10 {
		many.add("r", nil, c.Route, control.Limit{Name: fmt.Sprint(i), By: control.ByApp, Calls: 1 << 40, Window: time.Second})
	}
	if n := testing.AllocsPerRun(1000, func() { _ = g.Take(c, &many, noon) }); n > 0.1 {
		t.Errorf("%v allocations for many limits", n)
	}
	plan.limits[1].calls = 0
	if n := testing.AllocsPerRun(1000, func() { _ = g.Take(c, plan, noon) }); n != 0 {
		t.Errorf("%v allocations to refuse", n)
	}
}

func BenchmarkTakeThree(b *testing.B) {
	g, plan, c := three()
	b.ReportAllocs()
	for b.Loop() {
		_ = g.Take(c, plan, noon)
	}
}

func BenchmarkTakeThreeAtOnce(b *testing.B) {
	g, plan, _ := three()
	b.RunParallel(func(pb *testing.PB) {
		_, _, c := three()
		for pb.Next() {
			_ = g.Take(c, plan, noon)
		}
	})
}

// A million apps: what a counter takes, and what finding it costs.
func BenchmarkTakeMillionApps(b *testing.B) {
	g, plan, c := three()
	g.counters.Max = 1 << 22
	apps := make([]control.AppID, 1<<20)
	for i := range apps {
		apps[i] = control.AppID(fmt.Sprintf("app_%016x", i))
		c.App, c.Owner = apps[i], ""
		_ = g.Take(c, plan, noon)
	}
	i := 0
	for b.Loop() {
		c.App = apps[i&(1<<20-1)]
		i += 7919
		_ = g.Take(c, plan, noon)
	}
}
