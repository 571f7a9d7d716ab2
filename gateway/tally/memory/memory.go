// Package memory is the tally of one node: exact, in memory, and bounded.
package memory

import (
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/tally"
)

// Defaults of Options.
const (
	DefaultBudget = 256 << 20
	DefaultShare  = 4
	// DefaultKeep is twice the window of the protocol: a timestamp may lie a whole window
	// ahead of our clock, and is then valid for two.
	DefaultKeep = 30 * time.Minute
)

// slices is into how many generations the time to keep is cut. A nonce lives for at least
// Keep and at most Keep + Keep/slices; looking one up asks slices+1 small maps.
const slices = 3

// cost is what one nonce is reckoned to take: 16 bytes in a hash table that may be half
// empty after it grew.
const cost = 48

// Options bound the memory. The zero value has usable defaults.
type Options struct {
	Budget int64         // bytes for all nonces; 0: DefaultBudget
	Share  int64         // an app may have one part in so many of the budget; 0: DefaultShare
	Keep   time.Duration // 0: DefaultKeep
}

// Nonces is a tally.Nonces.
type Nonces struct {
	limit, perApp int64
	slice         time.Duration
	salt          [16]byte
	held          atomic.Int64
	heir          atomic.Pointer[heir] // the process that takes over from this one

	appsMu sync.RWMutex // guards apps and swept
	apps   map[control.AppID]*book
	swept  int64
}

var _ tally.Nonces = (*Nonces)(nil)

// mark stands for a nonce: 128 bits of a salted SHA-256, so that a nonce of any length
// costs the same and nobody can make two that meet.
type mark [16]byte

// book has the nonces of one app by generation.
type book struct {
	mu   sync.Mutex
	now  int64 // the generation of seen[0]
	seen [slices + 1]map[mark]struct{}
	n    int64
	gone bool  // swept from apps
	heir *heir // who was given what is here, and has to be asked about more
}

// New makes an empty memory.
func New(o Options) *Nonces {
	if o.Budget == 0 {
		o.Budget = DefaultBudget
	}
	if o.Share == 0 {
		o.Share = DefaultShare
	}
	if o.Keep == 0 {
		o.Keep = DefaultKeep
	}
	n := &Nonces{
		limit:  max(1, o.Budget/cost),
		slice:  o.Keep / slices,
		apps:   make(map[control.AppID]*book),
		perApp: max(1, o.Budget/cost/o.Share),
	}
	_, _ = rand.Read(n.salt[:]) // never fails
	return n
}

// Use remembers a nonce, or says that it is known, or that there is no room.
func (n *Nonces) Use(app control.AppID, nonce []byte, now time.Time) error {
	hash := sha256.New()
	hash.Write(n.salt[:])
	hash.Write(nonce)
	var sum [sha256.Size]byte
	m := mark(hash.Sum(sum[:0])[:16])
	h, err := n.useMark(app, m, now)
	if err != nil || h == nil {
		return err
	}
	return h.ask(app, m, now)
}

// useMark uses a nonce here, and says who else has to be asked about it.
func (n *Nonces) useMark(app control.AppID, m mark, now time.Time) (*heir, error) {
	at := now.UnixNano() / int64(n.slice)
	n.sweep(at)
	for {
		b := n.book(app)
		b.mu.Lock()
		if b.gone {
			b.mu.Unlock()
			continue
		}
		err := n.use(b, m, at)
		h := b.heir
		b.mu.Unlock()
		return h, err
	}
}

func (n *Nonces) use(b *book, m mark, at int64) error {
	n.turn(b, at)
	for _, seen := range b.seen {
		if _, ok := seen[m]; ok {
			return tally.ErrUsed
		}
	}
	if b.n >= n.perApp {
		return tally.ErrFull
	}
	if n.held.Add(1) > n.limit {
		n.held.Add(-1)
		return tally.ErrFull
	}
	if b.seen[0] == nil {
		b.seen[0] = make(map[mark]struct{})
	}
	b.seen[0][m] = struct{}{}
	b.n++
	return nil
}

// turn drops the generations that are older than what must be kept. A clock that goes back
// drops nothing.
func (n *Nonces) turn(b *book, at int64) {
	if b.now == 0 {
		b.now = at
	}
	for ; b.now < at; b.now++ {
		if b.n == 0 {
			b.now = at
			return
		}
		last := int64(len(b.seen[slices]))
		b.n -= last
		n.held.Add(-last)
		copy(b.seen[1:], b.seen[:slices])
		b.seen[0] = nil
	}
}

func (n *Nonces) book(app control.AppID) *book {
	n.appsMu.RLock()
	b := n.apps[app]
	n.appsMu.RUnlock()
	if b != nil {
		return b
	}
	n.appsMu.Lock()
	defer n.appsMu.Unlock()
	if b = n.apps[app]; b == nil {
		b = &book{heir: n.heir.Load()}
		n.apps[app] = b
	}
	return b
}

// sweep lets go of what silent apps still hold, once in each generation.
func (n *Nonces) sweep(at int64) {
	n.appsMu.RLock()
	done := n.swept >= at
	n.appsMu.RUnlock()
	if done {
		return
	}
	n.appsMu.Lock()
	defer n.appsMu.Unlock()
	if n.swept >= at {
		return
	}
	n.swept = at
	for app, b := range n.apps {
		b.mu.Lock()
		n.turn(b, at)
		if b.n == 0 {
			b.gone = true
			delete(n.apps, app)
		}
		b.mu.Unlock()
	}
}
