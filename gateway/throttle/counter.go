package throttle

import (
	"hash/maphash"
	"math"
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/souk-market/souk/gateway/gate"
)

// Key names a counter: a limit, and whom it counts. It is made of the text of stable IDs,
// with seeds of this process, so that no caller can make two that meet.
type Key = [2]uint64

// seeds of the two halves of a Key.
var seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

func keyOf(words ...string) Key {
	text := strings.Join(words, "\x00")
	return Key{maphash.String(seeds[0], text), maphash.String(seeds[1], text)}
}

// Ask is one limit that a call is counted against.
type Ask struct {
	Key    Key
	Calls  int64 // in Window
	Window int64 // nanoseconds
	// Smooth limits: what a call takes, and how much may be taken at once.
	per, most int64
	// limit is the key of the limit if Key is that of a subject of it. A limit that counts
	// nobody in particular always has its counter.
	limit *Key
	plan  int // which limit of a plan it is

	// What Take writes.
	Left    int64
	Wait    int64 // nanoseconds until Calls are there again; refused: until one is
	Refused bool
	clamped bool
	at      uint32 // the place of the counter
	next    counter
}

// crowd is the counter of those subjects of the limit who get none of their own. It is in
// the same shard, since that is locked: so a limit has as many crowds as there are shards.
func (a *Ask) crowd() Key {
	return Key{a.limit[0]&^(shards-1) | a.Key[0]&(shards-1), ^a.limit[1]}
}

// taken is what Back gives back of a call that was counted.
func (a *Ask) taken(now int64) gate.Taken {
	if a.per > 0 {
		return gate.Taken{Counter: a.Key, At: now, Per: a.per}
	}
	return gate.Taken{Counter: a.Key, At: a.next.begin}
}

// spread is what a call of a smooth limit takes, and how much may be taken at once.
func spread(calls, window, burst int64) (per, most int64) {
	if calls == 0 {
		return 0, 0 // nothing passes either way
	}
	per = max(1, (window+calls-1)/calls) // rounded up: never faster than it says
	most = math.MaxInt64 / 4
	if burst < most/per {
		most = burst * per
	}
	return per, most
}

// of makes the limit count one subject.
func (a *Ask) of(limit *Key, low, high uint64) {
	a.Key, a.limit = Key{limit[0] ^ low, limit[1] ^ high}, limit
}

// DefaultCounters is how many subjects are counted at once on a node.
const DefaultCounters = 1 << 20

const (
	shards  = 64 // as many as there are bits to say which are locked
	nowhere = math.MaxUint32
	// grace is how long a counter is kept after nothing of it counts any more, for calls that
	// began before that.
	grace = int64(time.Minute)
)

// Counters counts. It is the one place that would ask other nodes.
//
// There is room for a bounded number of subjects. When that is used up, what no longer
// counts is swept; if all of it counts, further subjects of a limit share one counter with
// the number of a single one, until there is room again. So a live count is never
// forgotten, and strangers in a crowd get less, not more.
type Counters struct {
	Max     int // subjects; 0: DefaultCounters
	crowded atomic.Int64
	shards  [shards]shard
}

// shard has the counters of some keys. Neither index nor slab has pointers, so that the
// collector passes them by.
type shard struct {
	mu    sync.Mutex // guards all below
	index map[Key]uint32
	slab  []counter
	free  []uint32
	swept int64
	_     [32]byte // two shards share no cache line
}

// counter is the state of one limit for one subject.
type counter struct {
	until int64 // when nothing of it counts any more; smooth: GCRA's theoretical arrival time
	begin int64 // of the window; smooth: 0
	calls int64 // in the window; smooth: 0
	per   int64 // smooth: what a call takes; 0: the window is fixed
}

// Take counts a call against all asks or against none, and says which.
func (s *Counters) Take(now int64, asks []Ask) bool {
	var set uint64
	for i := range asks {
		set |= 1 << (asks[i].Key[0] % shards)
	}
	for m := set; m != 0; m &= m - 1 { // in one order for all, so that nobody waits for ever
		s.shards[bits.TrailingZeros64(m)].mu.Lock()
	}
	ok := true
	for i := range asks {
		a := &asks[i]
		state := s.find(a, now)
		a.check(state, now)
		ok = ok && !a.Refused
	}
	for i := range asks {
		a := &asks[i]
		if ok {
			s.shards[a.Key[0]%shards].put(a)
			continue
		}
		if !a.Refused {
			a.Left++ // it was not counted
		}
		if a.clamped && a.at != nowhere {
			s.shards[a.Key[0]%shards].slab[a.at] = counter{until: now + a.most, per: a.per}
		}
	}
	for m := set; m != 0; m &= m - 1 {
		s.shards[bits.TrailingZeros64(m)].mu.Unlock()
	}
	return ok
}

// find is the state of what an ask counts; that of a crowd if there is no room.
func (s *Counters) find(a *Ask, now int64) counter {
	h := &s.shards[a.Key[0]%shards]
	var ok bool
	if a.at, ok = h.index[a.Key]; ok {
		return h.slab[a.at]
	}
	if a.limit != nil && h.full(s.most(), now) {
		a.Key = a.crowd()
		s.crowded.Add(1)
		if a.at, ok = h.index[a.Key]; ok {
			return h.slab[a.at]
		}
	}
	a.at = nowhere
	if a.limit != nil {
		if at, ok := h.index[a.crowd()]; ok { // it may have been counted there: it begins no better off
			return h.slab[at]
		}
	}
	return counter{}
}

func (s *Counters) most() int {
	if s.Max > 0 {
		return max(1, s.Max/shards)
	}
	return DefaultCounters / shards
}

// full reports whether a shard has no room, when what no longer counts is gone. It is
// asked when a counter is about to be made, so sweeping costs no warm call anything.
func (h *shard) full(most int, now int64) bool {
	if full := len(h.index) >= most; full && now-h.swept > int64(time.Second) || now-h.swept > grace || now < h.swept {
		h.sweep(now)
	}
	return len(h.index) >= most
}

func (h *shard) sweep(now int64) {
	h.swept = now
	for k, i := range h.index {
		if h.slab[i].until <= now-grace {
			delete(h.index, k)
			h.free = append(h.free, i)
		}
	}
	if len(h.slab) >= 1024 && len(h.index) < len(h.slab)/4 { // give memory back after a rush
		index, slab := make(map[Key]uint32, len(h.index)), make([]counter, 0, 2*len(h.index))
		for k, i := range h.index {
			index[k] = uint32(len(slab))
			slab = append(slab, h.slab[i])
		}
		h.index, h.slab, h.free = index, slab, nil
	}
}

// put writes what was checked.
func (h *shard) put(a *Ask) {
	if a.at == nowhere {
		if n := len(h.free); n > 0 {
			a.at, h.free = h.free[n-1], h.free[:n-1]
		} else {
			a.at = uint32(len(h.slab))
			h.slab = append(h.slab, counter{})
		}
		if h.index == nil {
			h.index = make(map[Key]uint32)
		}
		h.index[a.Key] = a.at
	}
	h.slab[a.at] = a.next
}

// Back takes back what Take counted in one counter.
func (s *Counters) Back(now int64, t gate.Taken) {
	h := &s.shards[t.Counter[0]%shards]
	h.mu.Lock()
	defer h.mu.Unlock()
	i, ok := h.index[t.Counter]
	if !ok {
		return
	}
	c := &h.slab[i]
	switch {
	case c.per != t.Per:
		// Edited since; what was counted runs out by itself.
	case c.per == 0:
		if c.begin == t.At && c.calls > 0 {
			c.calls--
		}
	default:
		// What has come back since then by itself is not given back once more.
		c.until -= min(c.per, max(0, c.per-(now-t.At)))
	}
}

// Len is how many counters there are.
func (s *Counters) Len() int {
	n := 0
	for i := range s.shards {
		h := &s.shards[i]
		h.mu.Lock()
		n += len(h.index)
		h.mu.Unlock()
	}
	return n
}

// check reckons what the counter will be if the call is counted, and whether it may.
func (a *Ask) check(c counter, now int64) {
	a.clamped = false
	if a.per > 0 {
		a.checkSmooth(c, now)
		return
	}
	begin := now - floorMod(now+int64(Zone), a.Window)
	next := counter{begin: begin}
	switch {
	case c.per > 0: // it was smooth: what has not come back yet counts
		if c.until > now {
			next.calls = (c.until - now + c.per - 1) / c.per
		}
	case c.begin > now && c.begin <= now+max(a.Window, grace): // the window has turned since the call began
		next.begin, next.calls = c.begin, c.calls
	case c.begin >= begin && c.begin <= now:
		next.calls = c.calls
	}
	next.until = next.begin + a.Window
	a.Wait = next.until - now
	a.Refused = next.calls >= a.Calls
	next.calls++
	a.Left = max(0, a.Calls-next.calls)
	a.next = next
}

// checkSmooth is GCRA.
func (a *Ask) checkSmooth(c counter, now int64) {
	due := now
	switch {
	case c.per == 0 && c.calls > 0: // it was fixed: as if all had come when the window began
		if c.until > now {
			due = c.begin + min(c.calls, a.most/a.per)*a.per
		}
	case c.per == a.per:
		due = c.until
	case c.per > 0 && c.until > now: // the speed was edited: as many calls are on their way back
		due = now + int64(math.Ceil(float64(c.until-now)*float64(a.per)/float64(c.per)))
	}
	a.clamped = due > now+a.most // the clock went back, or the burst was edited
	due = min(max(due, now), now+a.most)
	next := due + a.per
	over := next - now - a.most
	a.Refused = over > 0
	a.Wait = next - now
	if a.Refused {
		a.Wait = over
	}
	a.Left = max(0, -over/a.per)
	a.next = counter{until: next, per: a.per}
}

func floorMod(a, b int64) int64 {
	m := a % b
	if m < 0 {
		m += b
	}
	return m
}
