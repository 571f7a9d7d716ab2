// Package breaker spares a seller's servers that do not work: after too many failures calls
// are refused at once with D503CB, and from time to time one is let through to see whether
// they are well again. A refused call costs nobody anything.
//
// The setting, with what holds if a field is left out:
//
//	{
//	  "failures": 5,          one after the other; 0 with a ratio: only the ratio counts
//	  "ratio": 0.5,           of failures among the calls of the last window; none
//	  "requests": 20,         that a window has at least before the ratio counts; 20
//	  "window": "10s",        10s
//	  "open": "30s",          until a call is let through again; 30s
//	  "probes": 1,            that must succeed one after the other; 1
//	  "statuses": [500, 503], that are failures; all from 500 on. No answer always is one
//	  "share": "billing"      routes of the group with this word have one breaker; each its own
//	}
//
// Its state outlives the configuration: an edit of the numbers opens and closes nothing.
package breaker

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/filter/setting"
	"github.com/souk-market/souk/gateway/gate"
)

func init() { gate.Register(gate.Info{ID: "breaker", Place: 750, New: newFilter}) }

type filter struct {
	failures int
	ratio    float64
	requests int
	window   time.Duration
	open     time.Duration
	probes   int
	statuses []int
	state    *state
}

// The refusals; protocol section 6.
var (
	isOpen  = gate.Refuse("D503CB", "Backend circuit breaker open, too many calls failed")
	isTried = gate.Refuse("D503CB", "Backend circuit breaker open, it is being tried whether the backend works again")
)

func newFilter(env gate.Env) (any, error) {
	with := struct {
		Failures *int             `json:"failures"`
		Ratio    float64          `json:"ratio"`
		Requests int              `json:"requests"`
		Window   setting.Duration `json:"window"`
		Open     setting.Duration `json:"open"`
		Probes   int              `json:"probes"`
		Statuses []int            `json:"statuses"`
		Share    string           `json:"share"`
	}{Requests: 20, Probes: 1}
	if err := setting.Decode(env.With, &with); err != nil {
		return nil, err
	}
	f := &filter{ratio: with.Ratio, requests: with.Requests, window: with.Window.Or(10 * time.Second), open: with.Open.Or(30 * time.Second),
		probes: with.Probes, statuses: with.Statuses}
	switch {
	case with.Failures != nil:
		f.failures = *with.Failures
	case f.ratio == 0:
		f.failures = 5
	}
	switch {
	case f.failures < 0 || f.requests < 1 || f.probes < 1:
		return nil, errors.New(`"failures", "requests" and "probes" are numbers of calls, at least one`)
	case f.ratio < 0 || f.ratio > 1:
		return nil, errors.New(`"ratio" is from 0 to 1: 0.5 is half of the calls`)
	case f.failures == 0 && f.ratio == 0:
		return nil, errors.New(`nothing would ever open it; set "failures" or "ratio"`)
	case f.window < 100*time.Millisecond || f.window > time.Hour || f.open > time.Hour:
		return nil, errors.New(`"window" is from 100ms to 1h, and "open" at most 1h`)
	}
	for _, s := range f.statuses {
		if s < 100 || s > 599 {
			return nil, errors.New(`"statuses" are numbers from 100 to 599`)
		}
	}
	key := "breaker/r/" + string(env.Route.ID)
	if with.Share != "" {
		key = "breaker/g/" + string(env.Group.ID) + "/" + with.Share
	}
	f.state = env.Shared(key, func() any { return new(state) }).(*state)
	return f, nil
}

// slots is into how many pieces a window is cut.
const slots = 10

// state is what outlives the configuration.
type state struct {
	opened atomic.Bool // it is not closed; read without the lock on the warm path

	mu     sync.Mutex // guards all below
	row    int        // failures one after the other
	slots  [slots]slot
	until  time.Time         // when a probe may go
	probe  control.RequestID // the call that is the probe
	lapses time.Time         // when the probe is given up
	good   int               // probes one after the other
}

// slot counts the calls of a piece of time.
type slot struct {
	at       int64
	all, bad int
}

// Send lets a call through, or refuses it at once.
func (f *filter) Send(c *gate.Call) error {
	if c.Replied() || !f.state.opened.Load() {
		return nil
	}
	s := f.state
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.opened.Load():
		return nil
	case c.At.Before(s.until):
		return c.Later(isOpen, s.until.Sub(c.At))
	case !s.probe.IsZero() && c.At.Before(s.lapses):
		return c.Later(isTried, time.Second)
	}
	s.probe, s.lapses = c.ID, c.At.Add(f.open)
	return nil
}

// Answer hears what the seller said.
func (f *filter) Answer(c *gate.Call) error {
	if c.Answer.Local || c.Cached {
		return nil
	}
	bad := c.Answer.Status >= 500
	if f.statuses != nil {
		bad = slices.Contains(f.statuses, c.Answer.Status)
	}
	f.count(c, bad)
	return nil
}

// End hears of calls that got no answer, and of probes that never came to the seller.
func (f *filter) End(c *gate.Call) {
	code := c.Record.Code
	if code != "" && (code[0] == 'D' || code[0] == 'N') && code != isOpen.Code {
		f.count(c, true)
		return
	}
	if f.state.opened.Load() {
		s := f.state
		s.mu.Lock()
		if s.probe == c.ID {
			s.probe = control.RequestID{}
		}
		s.mu.Unlock()
	}
}

func (f *filter) count(c *gate.Call, bad bool) {
	s := f.state
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened.Load() {
		if s.probe == c.ID { // others were under way when it opened
			f.probed(s, c.At, bad)
		}
		return
	}
	s.row++
	if !bad {
		s.row = 0
	}
	all, failed := s.add(c.At, f.window, bad)
	if f.failures > 0 && s.row >= f.failures || f.ratio > 0 && all >= f.requests && float64(failed) >= f.ratio*float64(all) && bad {
		s.open(c.At.Add(f.open))
	}
}

func (f *filter) probed(s *state, at time.Time, bad bool) {
	s.probe = control.RequestID{}
	if bad {
		s.open(at.Add(f.open))
		return
	}
	if s.good++; s.good >= f.probes {
		s.row, s.good, s.slots = 0, 0, [slots]slot{}
		s.opened.Store(false)
	}
}

func (s *state) open(until time.Time) {
	s.until, s.good, s.probe = until, 0, control.RequestID{}
	s.opened.Store(true)
}

// add counts a call, and is how many the window has and how many of them failed.
func (s *state) add(now time.Time, window time.Duration, bad bool) (all, failed int) {
	at := now.UnixNano() / (int64(window) / slots)
	own := &s.slots[at%slots]
	if own.at != at {
		*own = slot{at: at}
	}
	own.all++
	if bad {
		own.bad++
	}
	for i := range s.slots {
		if s.slots[i].at > at-slots && s.slots[i].at <= at {
			all, failed = all+s.slots[i].all, failed+s.slots[i].bad
		}
	}
	return all, failed
}
