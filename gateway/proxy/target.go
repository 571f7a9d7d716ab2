package proxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/wire"
)

// target is one server of an upstream, and how it has done.
type target struct {
	pool   *pool
	host   string // the header
	base   string // before the path, without a last slash
	weight int
	backup bool
	key    [sha256.Size]byte // of its URL, for hashing

	flight  atomic.Int64 // calls under way
	down    atomic.Bool  // by the probes
	failed  atomic.Int32 // calls one after the other
	ejected atomic.Int64 // until when it gets no calls, in milliseconds

	probing atomic.Bool
	mu      sync.Mutex // guards what follows
	probed  time.Time
	good    int // probes one after the other
	bad     int
	times   int // that it was ejected
}

func (t *target) serves(now int64) bool { return !t.down.Load() && t.ejected.Load() <= now }

// Defaults of control.Outlier and control.Health.
const (
	defaultFailures = 5
	defaultEjectFor = 30 * time.Second
	maxEjectFor     = 5 * time.Minute
	defaultEvery    = 10 * time.Second
	defaultProbeFor = 2 * time.Second
	defaultRise     = 2
	defaultFall     = 3
	maxProbes       = 64 // under way at once
)

// pick chooses the target of a call among those that were not tried. nil: all were.
func (u *upstream) pick(c *gate.Call, now time.Time, tried []*target) *target {
	if len(u.targets) == 1 {
		if len(tried) > 0 {
			return nil
		}
		return u.targets[0]
	}
	ms := now.UnixMilli()
	open := make([]*target, 0, 16)
	for _, stage := range []func(*target) bool{
		func(t *target) bool { return !t.backup && t.serves(ms) },
		func(t *target) bool { return t.backup && t.serves(ms) },
		func(*target) bool { return true }, // none serves: rather try one than refuse all
	} {
		for _, t := range u.targets {
			if stage(t) && !slices.Contains(tried, t) {
				open = append(open, t)
			}
		}
		if len(open) > 0 {
			break
		}
	}
	switch {
	case len(open) == 0:
		return nil
	case len(open) == 1:
		return open[0]
	}
	switch u.spread {
	case control.LeastRequests:
		return least(open)
	case control.ConsistentHash:
		return u.hashed(c, open)
	}
	return u.next(open)
}

// next is smooth weighted round robin: each gains its weight, the richest pays the sum.
func (u *upstream) next(open []*target) *target {
	u.mu.Lock()
	defer u.mu.Unlock()
	best, sum := -1, 0
	for i, t := range u.targets {
		if !slices.Contains(open, t) {
			continue
		}
		sum += t.weight
		if u.turn[i] += t.weight; best < 0 || u.turn[i] > u.turn[best] {
			best = i
		}
	}
	u.turn[best] -= sum
	return u.targets[best]
}

func least(open []*target) *target {
	best := open[0]
	for _, t := range open[1:] {
		if t.flight.Load()*int64(best.weight) < best.flight.Load()*int64(t.weight) {
			best = t
		}
	}
	return best
}

// hashed is rendezvous hashing: each value has its own order of targets, so that one that
// goes takes only its own calls to others.
func (u *upstream) hashed(c *gate.Call, open []*target) *target {
	value := sha256.Sum256(u.hashValue(c))
	var best *target
	highest := math.Inf(-1)
	for _, t := range open {
		var both [2 * sha256.Size]byte
		copy(both[:], value[:])
		copy(both[sha256.Size:], t.key[:])
		sum := sha256.Sum256(both[:])
		x := (float64(binary.BigEndian.Uint64(sum[:])>>11) + 0.5) / (1 << 53)
		if score := -float64(t.weight) / math.Log(x); score > highest {
			best, highest = t, score
		}
	}
	return best
}

func (u *upstream) hashValue(c *gate.Call) []byte {
	where, name, _ := strings.Cut(u.hashOn, ":")
	switch where {
	case "address":
		b, _ := c.From.MarshalText() // of an address that was parsed
		return b
	case "header":
		return c.Fields.Header([]byte(name))
	case "path":
		for _, p := range c.Params {
			if p.Name == name {
				return p.Value
			}
		}
		return nil
	case "query":
		v := queryValue(c.Query, name)
		return v
	}
	return []byte(c.App)
}

// failedOnce counts a call that the target failed; too many in a row and it gets none for a
// while. Never more than half of the targets are out.
func (u *upstream) failedOnce(t *target, now time.Time) {
	if u.outlier == nil || len(u.targets) < 2 {
		return
	}
	limit := int32(u.outlier.Failures)
	if limit <= 0 {
		limit = defaultFailures
	}
	if t.failed.Add(1) < limit {
		return
	}
	ms, out := now.UnixMilli(), 0
	for _, other := range u.targets {
		if other.ejected.Load() > ms {
			out++
		}
	}
	if 2*(out+1) > len(u.targets) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ejected.Load() > ms {
		return
	}
	for_ := u.outlier.For
	if for_ <= 0 {
		for_ = defaultEjectFor
	}
	for_ = min(for_<<min(t.times, 10), max(maxEjectFor, for_))
	t.times++
	t.failed.Store(0)
	t.ejected.Store(ms + for_.Milliseconds())
}

// served counts a call that the target answered.
func (t *target) served() {
	if t.failed.Load() != 0 {
		t.failed.Store(0)
	}
}

// probe asks each target whose time has come how it is.
func (u *upstream) probe(p *Proxy, now time.Time) {
	h := u.health
	if h == nil {
		return
	}
	every := h.Every
	if every <= 0 {
		every = defaultEvery
	}
	for _, t := range u.targets {
		t.mu.Lock()
		due := now.Sub(t.probed) >= every || now.Before(t.probed)
		t.mu.Unlock()
		if !due || t.probing.Swap(true) {
			continue
		}
		select {
		case p.probes <- struct{}{}:
		default:
			t.probing.Store(false) // the next round has it
			continue
		}
		t.mu.Lock()
		t.probed = now
		t.mu.Unlock()
		p.done.Go(func() {
			ok := t.ask(p, h)
			t.note(h, ok)
			t.probing.Store(false)
			<-p.probes
		})
	}
}

// note draws the conclusion of a probe.
func (t *target) note(h *control.Health, ok bool) {
	rise, fall := h.Rise, h.Fall
	if rise <= 0 {
		rise = defaultRise
	}
	if fall <= 0 {
		fall = defaultFall
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if ok {
		t.good, t.bad = t.good+1, 0
		if t.good >= rise {
			t.down.Store(false)
		}
		return
	}
	t.good, t.bad = 0, t.bad+1
	if t.bad >= fall {
		t.down.Store(true)
	}
}

// ask makes one probe, on a connection of its own.
func (t *target) ask(p *Proxy, h *control.Health) bool {
	limit := h.Timeout
	if limit <= 0 {
		limit = defaultProbeFor
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	stopped := context.AfterFunc(ctx, func() {})
	defer stopped()
	conn, err := t.pool.dial(ctx)
	if err != nil {
		return false
	}
	defer conn.close()
	deadline, _ := ctx.Deadline()
	if conn.SetDeadline(deadline) != nil {
		return false
	}
	head := "GET " + t.base + h.Path + " HTTP/1.1\r\nHost: " + t.host + "\r\nUser-Agent: souk-probe\r\nConnection: close\r\n\r\n"
	if _, err := conn.Write([]byte(head)); err != nil {
		return false
	}
	var answer wire.Response
	for {
		n, err := answer.Parse(conn.in[conn.r:conn.w], false, p.bounds)
		if err != nil {
			return false
		}
		if n > 0 {
			break
		}
		if err := conn.fill(); err != nil {
			return false
		}
	}
	if len(h.Statuses) > 0 {
		return slices.Contains(h.Statuses, answer.Status)
	}
	return answer.Status >= 200 && answer.Status < 400
}

// queryValue is the raw value of the first parameter of a name.
func queryValue(query []byte, name string) []byte {
	for len(query) > 0 {
		var piece []byte
		piece, query, _ = bytes.Cut(query, []byte{'&'})
		if n, v, _ := bytes.Cut(piece, []byte{'='}); string(n) == name {
			return v
		}
	}
	return nil
}
