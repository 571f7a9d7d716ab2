// Package throttle bounds how fast a route is called: by all together, by each app, by each
// account, address or value of a parameter, and by all who call the group. How many calls
// somebody has left is quota's question.
//
// All limits of a call are taken together or not at all, and what refuses a call has
// counted nothing. Windows are fixed and exact, and begin with the clock's second, minute,
// hour and, in the market's zone, day; or they are smooth (GCRA), and never let more
// through at once than their burst. Counts are this node's.
//
// A limit is edited, not replaced: what was counted stays counted, under the stable IDs of
// group and route and the name of the limit. If the window's length is edited, what was
// counted in a window that began within the new one still counts.
package throttle

import (
	"bytes"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/param"
)

// Zone is how far the market's clock is ahead of UTC: where its days begin.
const Zone = 8 * time.Hour

// TestCalls is how many calls a day a group's test domain takes.
const TestCalls = 1000

// Gate turns calls away that come too fast. The zero value is ready.
type Gate struct {
	counters Counters
	plans    atomic.Pointer[map[control.RouteID]*Plan]
}

// Plan is what Prepare makes of the limits of a route.
type Plan struct {
	limits []limit
	// policies is what every call is told of the limits; nil if that differs from call to call.
	policies []byte
}

// limit is one of a plan.
type limit struct {
	name    string // quoted
	by      control.By
	source  param.Source // of ByParam
	host    string       // counts only calls to this one; empty: all
	key     Key
	calls   int64
	window  int64
	smooth  bool
	burst   int64
	per     int64 // of calls, if smooth
	most    int64
	special map[string]int64
	refusal *gate.Refusal
}

// refusals by whom a limit counts; protocol section 6.
var refusals = map[control.By]*gate.Refusal{
	control.ByRoute:   gate.ThrottledRoute,
	control.ByApp:     gate.ThrottledApp,
	control.ByUser:    gate.ThrottledApp,
	control.ByParam:   gate.ThrottledApp,
	control.ByGroup:   gate.Refuse("T429GR", "Throttled by GROUP Flow Control"),
	control.ByAddress: gate.Refuse("T429MR", "Too Many Requests, throttle by address"),
}

// Prepare makes the plan of a route; nil if nothing limits it. It looks at nothing but the
// two, so the plan of a route that has not changed may be kept.
func Prepare(g *control.Group, r *control.Route) *Plan {
	p := new(Plan)
	window := r.Throttle.Window
	if window <= 0 {
		window = time.Second
	}
	p.add("t", g, r, control.Limit{Name: "route", By: control.ByRoute, Calls: r.Throttle.PerRoute, Window: window})
	p.add("t", g, r, control.Limit{Name: "app", By: control.ByApp, Calls: r.Throttle.PerApp, Window: window})
	for _, l := range r.Limits {
		p.add("r", g, r, l)
	}
	if g != nil {
		for _, l := range g.Limits {
			p.add("g", g, r, l)
		}
		if g.TestDomain != "" {
			p.add("d", g, r, control.Limit{Name: "test domain", By: control.ByGroup, Calls: TestCalls, Window: 24 * time.Hour})
			l := &p.limits[len(p.limits)-1]
			l.host = g.TestDomain
			l.refusal = gate.Refuse("T429ID", "Throttled by INNER DOMAIN Flow Control, "+g.TestDomain+" is a test domain, only "+
				strconv.Itoa(TestCalls)+" requests per day")
		}
	}
	if len(p.limits) == 0 {
		return nil
	}
	p.policies = p.same()
	return p
}

// same is what all calls are told, where no limit is for some of them only.
func (p *Plan) same() []byte {
	told := make([]gate.Limit, 0, len(p.limits))
	for _, l := range p.limits {
		if l.host != "" || l.special != nil {
			return nil
		}
		told = append(told, gate.Limit{Name: l.name, By: l.by, Calls: l.calls, Window: time.Duration(l.window)})
	}
	return gate.AppendPolicies(nil, told)
}

// add takes in a limit. from says where it was written, so that equal names do not meet.
func (p *Plan) add(from string, g *control.Group, r *control.Route, l control.Limit) {
	if l.Calls <= 0 && len(l.Special) == 0 || l.Window <= 0 {
		return // no bound; the control plane lets no such limit through
	}
	made := limit{name: gate.QuoteName(l.Name), by: l.By, calls: max(0, l.Calls), window: int64(l.Window), smooth: l.Smooth,
		burst: max(1, l.Burst), special: l.Special, refusal: refusals[l.By]}
	if l.Calls <= 0 {
		made.calls = unbounded // only the special ones are counted
	}
	if made.refusal == nil {
		return
	}
	if l.By == control.ByParam {
		source, err := param.Parse(l.Param)
		if err != nil {
			return
		}
		made.source = source
	}
	scope := "r/" + string(r.ID)
	if l.By == control.ByGroup || l.Shared {
		scope = "g/" + string(r.Group)
		if g != nil {
			scope = "g/" + string(g.ID)
		}
	}
	if made.smooth {
		made.per, made.most = spread(made.calls, made.window, made.burst)
	}
	name := l.Name
	if name == "" {
		name = string(l.By) + " " + l.Param
	}
	made.key = keyOf(from, scope, name)
	for again := 2; p.has(made.key); again++ {
		made.key = keyOf(from, scope, name, strconv.Itoa(again))
	}
	p.limits = append(p.limits, made)
}

const unbounded = 1 << 62

func (p *Plan) has(k Key) bool {
	for i := range p.limits {
		if p.limits[i].key == k {
			return true
		}
	}
	return false
}

// ReadsBody reports whether a limit of the plan counts by a field of a form.
func (p *Plan) ReadsBody() bool {
	if p != nil {
		for i := range p.limits {
			if p.limits[i].source.In == control.InForm {
				return true
			}
		}
	}
	return false
}

// Build takes the groups and routes of a snapshot, for Pass.
func (g *Gate) Build(groups []*control.Group, routes []*control.Route) {
	of := make(map[control.GroupID]*control.Group, len(groups))
	for _, group := range groups {
		of[group.ID] = group
	}
	plans := make(map[control.RouteID]*Plan)
	for _, r := range routes {
		if !r.Live {
			continue
		}
		if p := Prepare(of[r.Group], r); p != nil {
			plans[r.ID] = p
		}
	}
	g.plans.Store(&plans)
}

// Pass is Take with the plan that Build made of the route, at the time of the call.
func (g *Gate) Pass(c *gate.Call) error {
	plans := g.plans.Load()
	if plans == nil {
		return nil
	}
	return g.Take(c, (*plans)[c.Route.ID], c.At)
}

// fewAsks is how many limits a call has room for on the stack; clearing the room for more
// would cost each call 30 ns.
const fewAsks = 4

// manyAsks has room for calls with more.
var manyAsks = sync.Pool{New: func() any { return new([]Ask) }}

// Take counts a call against all limits of its plan, or against none. It writes on
// c.Limits where they stand.
func (g *Gate) Take(c *gate.Call, p *Plan, now time.Time) error {
	if p == nil {
		return nil
	}
	if len(p.limits) > fewAsks {
		room := manyAsks.Get().(*[]Ask)
		asks := slices.Grow((*room)[:0], len(p.limits))
		err := g.take(c, p, now, asks)
		*room = asks
		manyAsks.Put(room)
		return err
	}
	var room [fewAsks]Ask
	return g.take(c, p, now, room[:0])
}

func (g *Gate) take(c *gate.Call, p *Plan, now time.Time, asks []Ask) error {
	c.Limits, c.Policies = c.Limits[:0], p.policies
	for i := range p.limits {
		l := &p.limits[i]
		if l.host != "" && !isHost(c.Host, l.host) {
			continue
		}
		// Field by field: to append a whole one costs 20 ns, and Take writes the rest.
		asks = asks[:len(asks)+1]
		a := &asks[len(asks)-1]
		a.Key, a.Window, a.Calls, a.per, a.most, a.limit, a.plan = l.key, l.window, l.calls, l.per, l.most, nil, i
		if l.special != nil && !l.forSpecial(c, a) {
			asks = asks[:len(asks)-1]
			continue
		}
		if err := l.subject(c, a); err != nil {
			return err
		}
	}
	at := now.UnixNano()
	ok := g.counters.Take(at, asks)
	c.Limits = slices.Grow(c.Limits, len(asks))[:len(asks)]
	worst := -1
	for i := range asks {
		a, s := &asks[i], &c.Limits[i]
		l := &p.limits[a.plan]
		s.Name, s.By, s.Calls, s.Window = l.name, l.by, a.Calls, time.Duration(a.Window)
		s.Left, s.Reset, s.Hit = a.Left, time.Duration(a.Wait), false
		if s.Taken = (gate.Taken{}); ok {
			s.Taken = a.taken(at)
		}
		if a.Refused && (worst < 0 || a.Wait > asks[worst].Wait) {
			worst = i
		}
	}
	if ok {
		return nil
	}
	c.Limits[worst].Hit = true
	return c.Later(p.limits[asks[worst].plan].refusal, time.Duration(asks[worst].Wait))
}

// Undo takes back what Take counted, because the call was refused later, before the seller
// was asked. To take back again does nothing.
func (g *Gate) Undo(c *gate.Call, now time.Time) {
	for i := range c.Limits {
		s := &c.Limits[i]
		if s.Taken.Counter != (Key{}) {
			g.counters.Back(now.UnixNano(), s.Taken)
			s.Taken = gate.Taken{}
			s.Left++
		}
	}
}

// Counts is how many counters there are, and how many calls were counted in a common one
// because there was no room for one of their own.
func (g *Gate) Counts() (counters int, crowded int64) {
	return g.counters.Len(), g.counters.crowded.Load()
}

// forSpecial gives a special app, or the apps of a special account, their number. It
// reports whether the limit counts who calls at all.
func (l *limit) forSpecial(c *gate.Call, a *Ask) bool {
	n, ok := l.special[string(c.App)]
	if !ok && c.Owner != "" {
		n, ok = l.special[c.Owner]
	}
	if !ok {
		return l.calls != unbounded
	}
	if a.Calls = max(0, n); l.smooth {
		a.per, a.most = spread(a.Calls, a.Window, l.burst)
	}
	return true
}

// subject mixes whom the limit counts into the key.
func (l *limit) subject(c *gate.Call, a *Ask) error {
	switch l.by {
	case control.ByApp:
		a.of(&l.key, maphash.String(seeds[0], string(c.App)), maphash.String(seeds[1], string(c.App)))
	case control.ByUser:
		who := c.Owner
		if who == "" { // an app without an account counts for itself
			who = string(c.App)
		}
		a.of(&l.key, maphash.String(seeds[0], who), maphash.String(seeds[1], who))
	case control.ByAddress:
		// A customer of IPv6 has 2^64 addresses: they are one.
		b := c.From.Unmap().As16()
		if !c.From.Unmap().Is4() {
			clear(b[8:])
		}
		a.of(&l.key, maphash.Bytes(seeds[0], b[:]), maphash.Bytes(seeds[1], b[:]))
	case control.ByParam:
		var room [128]byte
		value, _, err := l.source.Find(c, room[:0])
		if err != nil {
			return err
		}
		a.of(&l.key, maphash.Bytes(seeds[0], value), maphash.Bytes(seeds[1], value))
	}
	return nil
}

// isHost compares a Host, with its port and last dot perhaps, with a domain.
func isHost(host []byte, domain string) bool {
	if i := bytes.LastIndexByte(host, ':'); i >= 0 && bytes.IndexByte(host[i:], ']') < 0 {
		host = host[:i]
	}
	host = bytes.TrimSuffix(host, []byte{'.'})
	return len(host) == len(domain) && strings.EqualFold(string(host), domain)
}
