// Package quota spends packages: it leases ranges of serials from the ledger and hands
// units to calls, each once, without asking a database as long as a range lasts.
//
// What is counted lives in handles, one for each app and product, in a registry. The cache
// in front of it only points: whatever it forgets costs a look-up and never a count. A
// unit that was reserved is settled, through the journal, or voided, and then goes back to
// the ledger with the next lease.
package quota

import (
	"context"
	"fmt"
	"hash/maphash"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/ristretto/v2"
	"go.uber.org/zap"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/ledger"
)

const (
	leaseFirst  = 16               // units of the first lease of a handle
	leaseMost   = 10_000           // units of any lease
	leaseFor    = 2 * time.Second  // how long a lease should last at the rate seen
	refusalKept = time.Second      // how long "there is none" is remembered
	leaseWait   = 5 * time.Second  // how long a call waits for the ledger
	idleFor     = 10 * time.Minute // a handle that nobody used so long is forgotten
	cacheSize   = 1 << 17          // handles that the cache points to
)

// Ledger is what quota needs of the durable half.
type Ledger interface {
	Begin(ctx context.Context, node string) (ledger.Node, error)
	Lease(ctx context.Context, n ledger.Node, app control.AppID, product control.ProductID, want int64, credits []ledger.Credit) (ledger.Lease, ledger.Verdict, error)
	Credit(ctx context.Context, credits ...ledger.Credit) error
}

// Journal writes charged calls down.
type Journal interface {
	Settle(lease int64, r *control.CallRecord) error
}

// Options make a Quota; all are needed but Now and Log.
type Options struct {
	Ledger  Ledger
	Journal Journal
	Now     func() time.Time
	Log     *zap.Logger
}

// Quota spends for one node. Its methods may be called from many goroutines.
type Quota struct {
	ledger  Ledger
	journal Journal
	now     func() time.Time
	log     *zap.Logger
	node    ledger.Node

	seed  maphash.Seed
	cache *ristretto.Cache[uint64, *handle]

	mu      sync.RWMutex // guards handles, leases and held
	handles map[key]*handle
	leases  map[uint64]*chunk
	held    map[control.PackageID]*atomic.Int64

	strays returns // of handles that were forgotten

	stop chan struct{}
	done sync.WaitGroup
}

type key struct {
	app     control.AppID
	product control.ProductID
}

// handle is all that is known of one app and product.
type handle struct {
	key
	chunk atomic.Pointer[chunk]
	none  atomic.Pointer[none]
	turn  atomic.Int64 // grows whenever a remembered refusal may be wrong
	used  atomic.Int64 // milliseconds of the last look
	back  returns

	dead atomic.Bool // taken out of the registry

	mu    sync.Mutex // one refill at a time; guards what follows
	since int64      // milliseconds: when the last lease was made; 0: never
	spent int64      // units of closed chunks that calls took since
}

// chunk is a lease that is being spent.
type chunk struct {
	ledger.Lease
	handle *handle
	size   int64
	spent  atomic.Int64  // serials reserved; more than size once it is empty or closed
	out    atomic.Int64  // of them, neither settled nor voided
	closed atomic.Bool   // nothing more will be reserved
	past   atomic.Bool   // another package goes first again: the next call looks
	held   *atomic.Int64 // of the package, over all chunks
}

// closedMark is added to spent to end a chunk; no chunk is so large.
const closedMark = 1 << 40

// none is a remembered refusal.
type none struct {
	refusal *gate.Refusal
	turn    int64
	until   int64 // milliseconds
}

// Lock takes a folder for this process alone, until the returned function is called or
// the process ends.
func Lock(folder string) (unlock func() error, err error) {
	f, err := os.OpenFile(filepath.Join(folder, "gateway.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		_ = f.Close() // the lock's error says why
		return nil, fmt.Errorf("quota: another gateway runs in %s; stop it, or give this one a folder of its own: %w", folder, err)
	}
	return f.Close, nil
}

// Open begins the node's next incarnation. The journal must have booked its spool before.
func Open(ctx context.Context, o Options) (*Quota, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	q := &Quota{ledger: o.Ledger, journal: o.Journal, now: o.Now, log: o.Log, seed: maphash.MakeSeed(),
		handles: map[key]*handle{}, leases: map[uint64]*chunk{}, held: map[control.PackageID]*atomic.Int64{}, stop: make(chan struct{})}
	var err error
	if q.node, err = o.Ledger.Begin(ctx, "node"); err != nil {
		return nil, err
	}
	q.cache, err = ristretto.NewCache(&ristretto.Config[uint64, *handle]{
		NumCounters: 10 * cacheSize, MaxCost: cacheSize, BufferItems: 64, IgnoreInternalCost: true,
	})
	if err != nil {
		return nil, err
	}
	q.done.Go(q.tidy)
	return q, nil
}

// Reserve takes one unit for a call, or says with a *gate.Refusal why there is none.
func (q *Quota) Reserve(app control.AppID, product control.ProductID) (gate.Hold, error) {
	h := q.handle(key{app, product})
	now := q.now().UnixMilli()
	if hold, ok := h.take(now); ok {
		return hold, nil
	}
	return q.refill(h, now)
}

// handle finds a handle: the cache is asked first and may know nothing, the registry has it.
func (q *Quota) handle(k key) *handle {
	hash := maphash.String(q.seed, string(k.app)) ^ 31*maphash.String(q.seed, string(k.product))
	if h, ok := q.cache.Get(hash); ok && h.key == k && !h.dead.Load() {
		return h
	}
	q.mu.RLock()
	h := q.handles[k]
	q.mu.RUnlock()
	if h == nil {
		q.mu.Lock()
		if h = q.handles[k]; h == nil {
			h = &handle{key: k}
			q.handles[k] = h
		}
		q.mu.Unlock()
	}
	q.cache.Set(hash, h, 1) // it may be dropped; nothing is read back
	return h
}

// take is the whole of a warm reservation.
func (h *handle) take(now int64) (gate.Hold, bool) {
	c := h.chunk.Load()
	if c == nil || c.Until != 0 && now >= c.Until || c.past.Load() {
		return gate.Hold{}, false
	}
	c.out.Add(1)
	n := c.spent.Add(1) - 1
	if n >= c.size {
		c.out.Add(-1)
		return gate.Hold{}, false
	}
	c.held.Add(1)
	return gate.Hold{Grant: c.Grant, Package: c.Package, Serial: c.Lo + n, Lease: uint64(c.ID)}, true
}

// refill leases the next range; callers of one handle wait for each other.
func (q *Quota) refill(h *handle, now int64) (gate.Hold, error) {
	h.mu.Lock()
	if h.dead.Load() { // forgotten a moment ago; the registry has another, or makes one
		h.mu.Unlock()
		return q.Reserve(h.app, h.product)
	}
	defer h.mu.Unlock()
	h.used.Store(now)
	for {
		if hold, ok := h.take(now); ok {
			return hold, nil
		}
		turn := h.turn.Load()
		if n := h.none.Load(); n != nil && n.turn == turn && now < n.until {
			return gate.Hold{}, n.refusal
		}
		q.close(h.chunk.Swap(nil))
		verdict, err := q.lease(h, now)
		if err != nil {
			q.log.Error("lease units", zap.String("app", string(h.app)), zap.String("product", string(h.product)), zap.Error(err))
			return gate.Hold{}, gate.Busy
		}
		if verdict == ledger.Leased {
			continue
		}
		r := refusals[verdict]
		h.none.Store(&none{r, turn, now + refusalKept.Milliseconds()})
		return gate.Hold{}, r
	}
}

var refusals = map[ledger.Verdict]*gate.Refusal{
	ledger.NoGrant: gate.Unauthorized, ledger.Suspended: gate.NoPackage, ledger.NoPackage: gate.NoPackage,
	ledger.Expired: gate.PackagesExpired, ledger.UsedUp: gate.QuotaExhausted,
}

func (q *Quota) lease(h *handle, now int64) (ledger.Verdict, error) {
	ctx, cancel := context.WithTimeout(context.Background(), leaseWait)
	defer cancel()
	credits := append(h.back.take(), q.strays.take()...)
	l, verdict, err := q.ledger.Lease(ctx, q.node, h.app, h.product, h.want(now), credits)
	if err != nil {
		q.giveBack(h, credits...)
		return verdict, err
	}
	if verdict != ledger.Leased {
		return verdict, nil
	}
	c := &chunk{Lease: l, handle: h, size: l.Hi - l.Lo}
	h.since, h.spent = now, 0
	q.mu.Lock()
	if c.held = q.held[l.Package]; c.held == nil {
		c.held = new(atomic.Int64)
		q.held[l.Package] = c.held
	}
	q.leases[uint64(l.ID)] = c
	q.mu.Unlock()
	h.chunk.Store(c)
	return verdict, nil
}

// want is how many units last for a while at the rate at which calls took the last ones.
func (h *handle) want(now int64) int64 {
	if h.since == 0 {
		return leaseFirst
	}
	took := max(now-h.since, 1)
	return max(leaseFirst, min(leaseMost, h.spent*leaseFor.Milliseconds()/took))
}

// close ends a chunk and gives back what was not reserved of it. It is called with the
// handle's lock held.
func (q *Quota) close(c *chunk) {
	if c == nil || c.closed.Swap(true) {
		return
	}
	spent := c.spent.Add(closedMark) - closedMark
	spent = min(spent, c.size)
	c.handle.spent += spent
	if left := c.size - spent; left > 0 {
		q.giveBack(c.handle, ledger.Credit{Lease: c.ID, Package: c.Package, Units: left})
	}
	q.drop(c)
}

// drop forgets a closed chunk of which nothing is out.
func (q *Quota) drop(c *chunk) {
	if c.closed.Load() && c.out.Load() == 0 {
		q.mu.Lock()
		delete(q.leases, uint64(c.ID))
		q.mu.Unlock()
	}
}

// Settle makes a reserved unit a charged one, durably. After an error the unit is back,
// and the call must not be answered as if it were charged.
func (q *Quota) Settle(h gate.Hold, r *control.CallRecord) error {
	if err := q.journal.Settle(int64(h.Lease), r); err != nil {
		q.Void(h)
		return err
	}
	if c := q.find(h); c != nil {
		q.end(c)
	}
	return nil
}

// Void gives a reserved unit back; the next lease has it again. Where calls are served from
// another package by now, the next one looks which goes first.
func (q *Quota) Void(h gate.Hold) {
	c := q.find(h)
	if c == nil {
		return
	}
	q.giveBack(c.handle, ledger.Credit{Lease: c.ID, Package: c.Package, Units: 1})
	if open := c.handle.chunk.Load(); open != nil && open.Package != c.Package {
		open.past.Store(true)
	}
	q.end(c)
	// "None left" is no longer true, neither for the handle nor for one that took its place.
	c.handle.turn.Add(1)
	if c.handle.dead.Load() {
		q.mu.RLock()
		now := q.handles[c.handle.key]
		q.mu.RUnlock()
		if now != nil {
			now.turn.Add(1)
		}
	}
}

// find is the chunk that a hold came from.
func (q *Quota) find(h gate.Hold) *chunk {
	q.mu.RLock()
	c := q.leases[h.Lease]
	q.mu.RUnlock()
	if c == nil {
		q.log.DPanic("a unit was settled or voided twice", zap.Uint64("lease", h.Lease), zap.Int64("serial", h.Serial))
	}
	return c
}

// end is the end of one call in flight.
func (q *Quota) end(c *chunk) {
	c.held.Add(-1)
	if c.out.Add(-1) == 0 {
		q.drop(c)
	}
}

// Forget makes the next call of an app to a product ask the ledger: something changed.
func (q *Quota) Forget(app control.AppID, product control.ProductID) {
	q.mu.RLock()
	h := q.handles[key{app, product}]
	q.mu.RUnlock()
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.turn.Add(1)
	q.close(h.chunk.Swap(nil))
}

// Held is how many units of a package are in flight on this node.
func (q *Quota) Held(id control.PackageID) int64 {
	q.mu.RLock()
	n := q.held[id]
	q.mu.RUnlock()
	if n == nil {
		return 0
	}
	return n.Load()
}

// tidy forgets handles that nobody uses and credits what lies about.
func (q *Quota) tidy() {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-q.stop:
			return
		case <-tick.C:
			q.sweep()
		}
	}
}

func (q *Quota) sweep() {
	old := q.now().Add(-idleFor).UnixMilli()
	for _, h := range q.registered() {
		if h.used.Load() < old {
			q.forget(h, old)
		}
	}
	q.mu.Lock()
	for id, c := range q.leases { // one that was closed while a call looked at it
		if c.closed.Load() && c.out.Load() == 0 {
			delete(q.leases, id)
		}
	}
	q.mu.Unlock()
	if err := q.credit(context.Background()); err != nil {
		q.log.Error("give units back", zap.Error(err))
	}
}

// forget takes a handle out of the registry. What comes back later is a stray.
func (q *Quota) forget(h *handle, old int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.chunk.Load(); h.used.Load() >= old || c != nil && c.out.Load() > 0 {
		return
	}
	q.close(h.chunk.Swap(nil))
	h.dead.Store(true)
	q.mu.Lock()
	delete(q.handles, h.key)
	q.mu.Unlock()
	h.back.close()
	for _, c := range h.back.take() {
		q.strays.add(c)
	}
}

// Close gives back all that was leased and not spent. No call may be under way.
func (q *Quota) Close(ctx context.Context) error {
	close(q.stop)
	q.done.Wait()
	for _, h := range q.registered() {
		q.Forget(h.app, h.product)
	}
	err := q.credit(ctx)
	q.cache.Close()
	return err
}
