package breaker

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/filter/filtertest"
	"github.com/souk-market/souk/gateway/gate"
)

const open = "D503CB Backend circuit breaker open, too many calls failed"

func fails(*gate.Call) (int, []string) { return 503, nil }

// house is a bench that counts calls.
type house struct {
	*filtertest.Bench
	t *testing.T
	n int
}

func (h *house) run(chain *gate.Chain, seller filtertest.Answer, want string) *gate.Refusal {
	h.t.Helper()
	c := h.Call("GET /")
	h.n++
	c.ID = control.RequestID{byte(h.n), byte(h.n >> 8)}
	r := h.Run(chain, c, seller)
	filtertest.Refused(h.t, r, want)
	return r
}

func newHouse(t *testing.T) *house { return &house{Bench: filtertest.New(t, "breaker"), t: t} }

// X5: open after so many failures, a probe after a while, closed when it succeeds.
func TestConsecutiveFailures(t *testing.T) {
	h := newHouse(t)
	chain := h.Make(`{"failures":3,"open":"10s","probes":2}`)
	ok := filtertest.OK("")
	for _, seller := range []filtertest.Answer{fails, fails, ok, fails, fails} {
		h.run(chain, seller, "")
	}
	h.run(chain, nil, gate.UpstreamTimeout.Error()) // no answer is a failure
	if r := h.run(chain, ok, open); r.After != 10*time.Second {
		t.Errorf("come again after %v", r.After)
	}
	h.Pass(9999 * time.Millisecond)
	h.run(chain, ok, open)
	h.Pass(time.Millisecond)
	h.run(chain, fails, "") // the probe
	h.run(chain, ok, open)
	h.Pass(10 * time.Second)
	h.run(chain, nil, gate.UpstreamTimeout.Error())
	h.run(chain, ok, open)
	h.Pass(10 * time.Second)
	h.run(chain, ok, "")
	h.run(chain, ok, "") // the second probe
	for range 2 {
		h.run(chain, fails, "") // closed: it takes three again
	}
	h.run(chain, ok, "")
}

func TestRatio(t *testing.T) {
	h := newHouse(t)
	chain := h.Make(`{"ratio":0.5,"requests":10,"window":"10s"}`)
	ok := filtertest.OK("")
	for range 4 {
		h.run(chain, fails, "")
	}
	h.Pass(11 * time.Second) // out of the window
	for i := range 10 {
		h.run(chain, map[bool]filtertest.Answer{true: fails, false: ok}[i%2 == 1], "")
	}
	h.run(chain, ok, open)
}

// Q8: an edit of the numbers resets nothing; routes that share a word share a state.
func TestStateOutlivesConfiguration(t *testing.T) {
	h := newHouse(t)
	h.run(h.Make(`{"failures":2}`), fails, "")
	h.run(h.Make(`{"failures":2,"open":"1s"}`), fails, "")
	h.run(h.Make(`{"failures":9}`), fails, open)

	h = newHouse(t)
	for range 2 {
		h.run(h.Make(`{"failures":2,"share":"x"}`), fails, "")
	}
	h.Route = &control.Route{ID: "rte_b", Group: "grp_a"}
	h.run(h.Make(`{"failures":2}`), fails, "")
	h.run(h.Make(`{"failures":2,"share":"x"}`), fails, open)
}

// One probe at a time; one that never came to the seller makes room for another.
func TestProbes(t *testing.T) {
	h := newHouse(t)
	chain := h.Make(`{"failures":1,"open":"1s"}`)
	h.run(chain, fails, "")
	h.Pass(time.Second)
	probe := h.Call("GET /")
	probe.ID = control.RequestID{15: 1}
	if err := chain.Send[0].Send(probe); err != nil {
		t.Fatal(err)
	}
	h.run(chain, fails, "D503CB Backend circuit breaker open, it is being tried whether the backend works again")
	probe.Record.Code = "B403MQ"
	chain.End[0].End(probe)
	h.run(chain, filtertest.OK(""), "")
	h.run(chain, filtertest.OK(""), "")

	h.run(chain, fails, "")
	h.Pass(time.Second)
	if err := chain.Send[0].Send(h.Call("GET /")); err != nil { // it never ends
		t.Fatal(err)
	}
	h.Pass(time.Second)
	h.run(chain, filtertest.OK(""), "")
}

// What does not come from the seller says nothing of him.
func TestOnlyTheSellerCounts(t *testing.T) {
	h := newHouse(t)
	chain := h.Make(`{"failures":1,"statuses":[418]}`)
	h.run(chain, fails, "")
	h.run(chain, fails, "") // 503 is not in the list
	c := h.Call("GET /")
	c.Reply(418, nil, nil)
	h.Run(chain, c, nil)
	c = h.Call("GET /")
	c.Record.Code = "T429PA"
	chain.End[0].End(c)
	h.run(chain, func(*gate.Call) (int, []string) { return 418, nil }, "")
	h.run(chain, fails, open)
}

// X5: an open breaker fails fast; a closed one costs next to nothing.
func TestFailsFast(t *testing.T) {
	h := newHouse(t)
	chain := h.Make(`{"failures":1}`)
	c := h.Call("GET /")
	if n := testing.AllocsPerRun(100, func() { _ = chain.Send[0].Send(c); c.Answer.Status = 200; _ = chain.Answer[0].Answer(c) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	h.run(chain, fails, "")
	began := time.Now()
	for range 1000 {
		if chain.Send[0].Send(c) == nil {
			t.Fatal("it lets through")
		}
	}
	if took := time.Since(began) / 1000; took > 5*time.Millisecond {
		t.Errorf("a refusal takes %v", took)
	}
}

// At once, of a thousand calls after the pause one goes to the seller.
func TestOneProbeAtOnce(t *testing.T) {
	h := newHouse(t)
	chain := h.Make(`{"failures":1,"open":"1s"}`)
	h.run(chain, fails, "")
	h.Pass(time.Second)
	var passed atomic.Int64
	var wait sync.WaitGroup
	for w := range 8 {
		wait.Go(func() {
			for i := range 100 {
				c := h.Call("GET /")
				c.ID = control.RequestID{byte(w), byte(i)}
				if chain.Send[0].Send(c) == nil {
					passed.Add(1)
				}
			}
		})
	}
	wait.Wait()
	if passed.Load() != 1 {
		t.Errorf("%d probes", passed.Load())
	}
}

func TestWrongSettings(t *testing.T) {
	filtertest.New(t, "breaker").Wrong(map[string]string{
		`{"ratio":2}`:        "from 0 to 1",
		`{"failures":0}`:     "nothing would ever open it",
		`{"failures":-1}`:    "at least one",
		`{"window":"1ms"}`:   "from 100ms",
		`{"statuses":[1]}`:   "from 100 to 599",
		`{"open":"forever"}`: "a time is written",
	})
}
