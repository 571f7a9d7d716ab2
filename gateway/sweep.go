package gateway

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

// sweeper knows all connections that fasthttp serves, and ends those that take too long. It
// looks at all of them a few times a second, which costs less than a deadline for every
// step of every call.
type sweeper struct {
	s     *Server
	every time.Duration

	mu     sync.Mutex // guards all and closed
	all    map[*conn]struct{}
	closed bool

	stop chan struct{}
	done sync.WaitGroup
}

func newSweeper(s *Server) *sweeper {
	o := &s.options
	shortest := min(o.HeadTimeout, o.BodyTimeout, o.WriteTimeout, o.IdleTimeout)
	w := &sweeper{s: s, every: min(max(shortest/8, 5*time.Millisecond), 250*time.Millisecond),
		all: map[*conn]struct{}{}, stop: make(chan struct{})}
	s.clock.Store(time.Now().UnixMilli())
	w.done.Go(w.run)
	return w
}

func (w *sweeper) add(c *conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	w.all[c] = struct{}{}
	return true
}

func (w *sweeper) remove(c *conn) {
	w.mu.Lock()
	delete(w.all, c)
	w.mu.Unlock()
}

func (w *sweeper) run() {
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	for {
		select {
		case <-w.stop:
			return
		case now := <-tick.C:
			ms := now.UnixMilli()
			w.s.clock.Store(ms)
			w.look(ms)
			w.s.weigh()
		}
	}
}

func (w *sweeper) look(ms int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.all {
		c.late(ms)
	}
}

// drain waits until all connections have ended: those in a call with its answer, idle ones
// after the grace.
func (w *sweeper) drain(ctx context.Context, grace time.Duration) error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	short, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if w.empty(short) {
		return nil
	}
	w.s.graceOver.Store(true)
	w.look(w.s.clock.Load() + 1) // idle connections have no time left
	w.s.sweepLoops()
	if w.empty(ctx) {
		return nil
	}
	// What is still under way had its time.
	w.s.kill()
	w.s.proxy.Abort()
	w.s.abortLoops()
	short, cancel = context.WithTimeout(context.WithoutCancel(ctx), sayFor)
	defer cancel()
	if !w.empty(short) {
		w.s.killLoops()
		w.mu.Lock()
		for c := range w.all {
			_ = c.Conn.Close() // whoever waits is woken up by it
		}
		w.mu.Unlock()
		w.empty(context.WithoutCancel(ctx))
	}
	return ctx.Err()
}

// empty waits until there are no connections; false: they were still there when ctx ended.
func (w *sweeper) empty(ctx context.Context) bool {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		w.mu.Lock()
		n := len(w.all)
		w.mu.Unlock()
		if n == 0 && w.s.visits() == 0 {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// sayFor is how long calls that were ended have to say so.
const sayFor = time.Second

func (w *sweeper) close() {
	select {
	case <-w.stop:
		return
	default:
	}
	close(w.stop)
	w.done.Wait()
}

// shedAt is the part of the memory limit beyond which calls are shed.
const shedAt = 0.9

// weigh looks at the memory: before it is gone, calls are turned away with 503, which takes
// none.
func (s *Server) weigh() {
	limit := s.options.MemoryLimit
	if limit == 0 {
		if limit = debug.SetMemoryLimit(-1); limit >= 1<<60 {
			return // there is none
		}
	}
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(sample)
	used := float64(sample[0].Value.Uint64() + sample[1].Value.Uint64())
	s.shedding.Store(used > shedAt*float64(limit))
}
