package throttle

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// house is a gate with one group and one route.
type house struct {
	t     *testing.T
	gate  Gate
	group *control.Group
	route *control.Route
}

func newHouse(t *testing.T, limits ...control.Limit) *house {
	h := &house{t: t, group: &control.Group{ID: "grp_a"}, route: &control.Route{ID: "rte_a", Group: "grp_a", Live: true, Limits: limits}}
	h.build()
	return h
}

func (h *house) build() {
	h.gate.Build([]*control.Group{h.group}, []*control.Route{h.route})
}

// call makes a call of an app, changed by the options, and looks at its refusal: "" or a
// code with the seconds to wait.
func (h *house) call(want, app string, at time.Duration, options ...func(*gate.Call)) *gate.Call {
	h.t.Helper()
	c := &gate.Call{Group: h.group, Route: h.route, App: control.AppID(app), At: noon.Add(at), Host: []byte("api.test")}
	for _, o := range options {
		o(c)
	}
	got := ""
	if err := h.gate.Pass(c); err != nil {
		var r *gate.Refusal
		if !errors.As(err, &r) {
			h.t.Fatal(err)
		}
		got = fmt.Sprint(r.Code, " ", r.After.Seconds())
	}
	if got != want {
		h.t.Errorf("%s at %v: %q, want %q", app, at, got, want)
	}
	return c
}

func from(text string) func(*gate.Call) {
	return func(c *gate.Call) { c.From = netip.MustParseAddr(text) }
}
func query(text string) func(*gate.Call) { return func(c *gate.Call) { c.Query = []byte(text) } }
func owner(name string) func(*gate.Call) { return func(c *gate.Call) { c.Owner = name } }
func host(name string) func(*gate.Call)  { return func(c *gate.Call) { c.Host = []byte(name) } }

// The older setting is two limits.
func TestOldSetting(t *testing.T) {
	h := newHouse(t)
	h.route.Throttle = control.Throttle{PerRoute: 3, PerApp: 2, Window: time.Minute}
	h.build()
	h.call("", "app_a", 0)
	h.call("", "app_a", time.Second)
	h.call("T429PR 58", "app_a", 2*time.Second) // and it has not used up the route's third
	h.call("", "app_b", 3*time.Second)
	h.call("T429PA 40", "app_c", 20*time.Second)
	h.call("T429PA 0.001", "app_c", 59*time.Second+999*time.Millisecond)
	h.call("", "app_c", time.Minute) // the window turns; what was refused has cost nothing
	h.build()
	h.call("", "app_c", 61*time.Second)
	h.call("T429PR 58", "app_c", 62*time.Second) // a new snapshot keeps the count
}

// Each limit counts whom it says, and says so when it refuses (Q14).
func TestWhomLimitsCount(t *testing.T) {
	second := func(by control.By, param string) control.Limit {
		return control.Limit{Name: "l", By: by, Param: param, Calls: 1, Window: time.Second}
	}
	t.Run("api", func(t *testing.T) {
		h := newHouse(t, second(control.ByRoute, ""))
		h.call("", "app_a", 0)
		h.call("T429PA 1", "app_b", 0)
	})
	t.Run("app", func(t *testing.T) {
		h := newHouse(t, second(control.ByApp, ""))
		h.call("", "app_a", 0)
		h.call("", "app_b", 0)
		h.call("T429PR 1", "app_a", 0)
	})
	t.Run("user", func(t *testing.T) {
		h := newHouse(t, second(control.ByUser, ""))
		h.call("", "app_a", 0, owner("acc_1"))
		h.call("T429PR 1", "app_b", 0, owner("acc_1"))
		h.call("", "app_b", 0, owner("acc_2"))
		h.call("", "app_c", 0) // no account: the app itself
		h.call("", "app_d", 0)
		h.call("T429PR 1", "app_d", 0)
	})
	t.Run("address", func(t *testing.T) {
		h := newHouse(t, second(control.ByAddress, ""))
		h.call("", "a", 0, from("192.0.2.1"))
		h.call("T429MR 1", "a", 0, from("::ffff:192.0.2.1"))
		h.call("", "a", 0, from("192.0.2.2"))
		h.call("", "a", 0, from("2001:db8::1"))
		h.call("T429MR 1", "a", 0, from("2001:db8::ffff:2")) // the same customer
		h.call("", "a", 0, from("2001:db8:0:1::1"))
	})
	t.Run("param", func(t *testing.T) {
		h := newHouse(t, second(control.ByParam, "query:city"))
		h.call("", "a", 0, query("city=%41"))
		h.call("T429PR 1", "b", 0, query("x=1&city=A"))
		h.call("", "a", 0, query("city=B"))
		h.call("", "a", 0)
		h.call("T429PR 1", "a", 0) // those without count together
	})
	t.Run("group", func(t *testing.T) {
		h := newHouse(t)
		h.group.Limits = []control.Limit{second(control.ByGroup, "")}
		h.build()
		h.call("", "app_a", 0)
		h.route = &control.Route{ID: "rte_b", Group: "grp_a", Live: true}
		h.build()
		h.call("T429GR 1", "app_b", 0)
	})
	t.Run("shared", func(t *testing.T) {
		for _, shared := range []bool{false, true} {
			l := second(control.ByApp, "")
			l.Shared = shared
			h := newHouse(t, l)
			h.call("", "app_a", 0)
			h.route = &control.Route{ID: "rte_b", Group: "grp_a", Live: true, Limits: []control.Limit{l}}
			h.build()
			h.call(map[bool]string{false: "", true: "T429PR 1"}[shared], "app_a", 0)
		}
	})
}

func TestFormParameter(t *testing.T) {
	h := newHouse(t, control.Limit{Name: "l", By: control.ByParam, Param: "form:phone", Calls: 1, Window: time.Second})
	if !Prepare(h.group, h.route).ReadsBody() {
		t.Error("it does not say that it reads the body")
	}
	form := func(body string) func(*gate.Call) {
		return func(c *gate.Call) {
			c.Fields = gate.Fields{{Name: []byte("content-type"), Value: []byte("application/x-www-form-urlencoded")}}
			c.ReadBody = func(c *gate.Call) error { c.Body, c.BodyRead = []byte(body), true; return nil }
		}
	}
	h.call("", "a", 0, form("phone=1"))
	h.call("", "a", 0, form("phone=2"))
	h.call("T429PR 1", "b", 0, form("x=y&phone=1"))
	broken := func(c *gate.Call) {
		form("")(c)
		c.ReadBody = func(*gate.Call) error { return gate.BodyTooLarge }
	}
	h.call("I413RL 0", "a", 0, broken)
}

// Special apps and accounts have a number of their own, the same counter otherwise.
func TestSpecial(t *testing.T) {
	h := newHouse(t, control.Limit{Name: "l", By: control.ByApp, Calls: 1, Window: time.Second,
		Special: map[string]int64{"app_vip": 3, "acc_vip": 2, "app_none": 0}})
	for range 3 {
		h.call("", "app_vip", 0, owner("acc_vip")) // the app's number goes before the account's
	}
	h.call("T429PR 1", "app_vip", 0)
	h.call("", "app_a", 0, owner("acc_vip"))
	h.call("", "app_a", 0, owner("acc_vip"))
	h.call("T429PR 1", "app_a", 0, owner("acc_vip"))
	h.call("", "app_b", 0)
	h.call("T429PR 1", "app_b", 0)
	h.call("T429PR 1", "app_none", 0)
}

// A group's test domain takes a thousand calls a day of the market's zone.
func TestTestDomain(t *testing.T) {
	h := newHouse(t)
	h.group.TestDomain = "a1b2.test.souk"
	h.build()
	midnight := 4 * time.Hour // 24:00 in the zone +08:00
	for i := range TestCalls {
		h.call("", "app_a", midnight-time.Second+time.Duration(i), host("A1B2.test.souk.:80"))
	}
	h.call("T429ID 0.5", "app_b", midnight-time.Second/2, host("a1b2.test.souk"))
	h.call("", "app_b", midnight-time.Second/2, host("api.test"))
	c := h.call("", "app_b", midnight, host("a1b2.test.souk"))
	if c.Limits[0].Left != TestCalls-1 || c.Limits[0].Reset != 24*time.Hour {
		t.Errorf("the limit stands at %+v", c.Limits[0])
	}
	var refusal *gate.Refusal
	for range TestCalls {
		c.At = noon.Add(midnight)
		errors.As(h.gate.Pass(c), &refusal)
	}
	const want = "Throttled by INNER DOMAIN Flow Control, a1b2.test.souk is a test domain, only 1000 requests per day"
	if refusal == nil || refusal.Message != want {
		t.Errorf("refused with %v, want %s", refusal, want)
	}
}

// Property 20: all limits or none. Of several that refuse, the one that takes longest is
// named, so that who comes again then is not refused by another (Q14, Q16).
func TestAllOrNone(t *testing.T) {
	h := newHouse(t,
		control.Limit{Name: "minute", By: control.ByApp, Calls: 2, Window: time.Minute},
		control.Limit{Name: "hour", By: control.ByApp, Calls: 2, Window: time.Hour},
		control.Limit{Name: "second", By: control.ByRoute, Calls: 1, Window: time.Second})
	h.call("", "app_a", 0)
	for range 5 {
		h.call("T429PA 0.5", "app_a", 500*time.Millisecond)
	}
	h.call("", "app_a", time.Second)
	c := h.call("T429PR 3598.5", "app_a", 1500*time.Millisecond)
	if got, want := string(gate.AppendStandings(nil, c.Limits)), `"hour";r=0;t=3599`; got != want {
		t.Errorf("it says %s, want %s", got, want)
	}
	if got, want := string(gate.AppendPolicies(nil, c.Limits)), `"minute";q=2;w=60;by=app, "hour";q=2;w=3600;by=app, "second";q=1;w=1;by=api`; got != want {
		t.Errorf("it says %s, want %s", got, want)
	}
	c = h.call("", "app_b", 2*time.Second)
	if got, want := string(gate.AppendStandings(nil, c.Limits)), `"minute";r=1;t=58, "hour";r=1;t=3598, "second";r=0;t=1`; got != want {
		t.Errorf("it says %s, want %s", got, want)
	}
}

// Q8: an edit is a new limit with the same consumption.
func TestEdits(t *testing.T) {
	limit := control.Limit{Name: "l", By: control.ByApp, Calls: 5, Window: time.Minute}
	edit := func(h *house, f func(*control.Limit)) {
		f(&limit)
		h.route = &control.Route{ID: "rte_a", Group: "grp_a", Live: true, Limits: []control.Limit{limit}}
		h.build()
	}
	h := newHouse(t, limit)
	for range 3 {
		h.call("", "app_a", 0)
	}
	edit(h, func(l *control.Limit) { l.Calls = 3 })
	h.call("T429PR 60", "app_a", 0)
	edit(h, func(l *control.Limit) { l.Calls = 4 })
	h.call("", "app_a", 0)
	h.call("T429PR 60", "app_a", 0)
	edit(h, func(l *control.Limit) { l.Calls, l.Window = 5, time.Hour })
	h.call("", "app_a", 0)
	h.call("T429PR 3600", "app_a", 0)
	edit(h, func(l *control.Limit) { l.Smooth, l.Burst = true, 6 }) // a call every 12 minutes, six at once
	h.call("", "app_a", 0)
	h.call("T429PR 720", "app_a", 0)
	edit(h, func(l *control.Limit) { l.Calls, l.Burst = 60, 6 }) // a call a minute
	h.call("T429PR 60", "app_a", 0)
	edit(h, func(l *control.Limit) { l.Burst = 8 })
	h.call("", "app_a", 0)
	edit(h, func(l *control.Limit) { l.Smooth, l.Calls = false, 8 })
	h.call("", "app_a", 0)
	h.call("T429PR 3600", "app_a", 0)
	edit(h, func(l *control.Limit) { l.Window = time.Minute }) // it began with this minute, too
	h.call("T429PR 60", "app_a", 0)
	h.call("", "app_a", time.Minute)
}

// What is refused later is taken back: Q1, the throttle as if there had been no call.
func TestUndo(t *testing.T) {
	h := newHouse(t,
		control.Limit{Name: "fixed", By: control.ByApp, Calls: 1, Window: time.Minute},
		control.Limit{Name: "smooth", By: control.ByRoute, Calls: 60, Window: time.Minute, Smooth: true, Burst: 2})
	c := h.call("", "app_a", 0)
	h.gate.Undo(c, c.At)
	h.gate.Undo(c, c.At) // once is enough
	c = h.call("", "app_a", 0)
	h.call("T429PR 60", "app_a", 0)
	h.call("", "app_b", 0)
	h.call("T429PA 1", "app_c", 0)
	// What came back by itself is not given back once more.
	h.gate.Undo(c, c.At.Add(750*time.Millisecond))
	h.call("T429PA 0.001", "app_c", 749*time.Millisecond)
	h.call("", "app_c", 750*time.Millisecond)
	h.call("T429PA 1", "app_d", 750*time.Millisecond)
	// A window that has turned loses nothing to a call of the one before.
	c = h.call("", "app_e", 59*time.Second)
	h.call("", "app_e", 60*time.Second)
	h.gate.Undo(c, noon.Add(61*time.Second))
	h.call("T429PR 59", "app_e", 61*time.Second)
}

// A clock that goes back opens no window twice, unless it was set.
func TestClockGoesBack(t *testing.T) {
	h := newHouse(t, control.Limit{Name: "l", By: control.ByApp, Calls: 1, Window: time.Second})
	h.call("", "app_a", 10*time.Second)
	h.call("T429PR 1.001", "app_a", 9999*time.Millisecond)
	h.call("", "app_a", -time.Hour)
	h = newHouse(t, control.Limit{Name: "l", By: control.ByApp, Calls: 60, Window: time.Minute, Smooth: true, Burst: 1})
	h.call("", "app_a", time.Hour)
	h.call("T429PR 1", "app_a", 0)
	h.call("", "app_a", time.Second)
}

func TestExactUnderLoad(t *testing.T) {
	h := newHouse(t)
	h.route.Throttle = control.Throttle{PerRoute: 1000}
	h.build()
	var passed atomic.Int64
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 500 {
				if h.gate.Pass(&gate.Call{Group: h.group, Route: h.route, App: "app_a", At: noon}) == nil {
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

// What no control plane lets through limits nothing, and breaks nothing.
func TestNoLimit(t *testing.T) {
	h := newHouse(t, control.Limit{Name: "a", By: control.ByApp, Window: time.Second}, control.Limit{Name: "b", By: control.ByApp, Calls: 1},
		control.Limit{Name: "c", By: "moon", Calls: 1, Window: 1}, control.Limit{Name: "d", By: control.ByParam, Param: "x", Calls: 1, Window: 1})
	if p := Prepare(h.group, h.route); p != nil {
		t.Errorf("a plan of nothing: %+v", p)
	}
	h.call("", "app_a", 0)
	h.call("", "app_a", 0)
}
