// Package quota spends packages: it leases ranges of serials from the ledger and hands
// units to calls, each once, without asking a database as long as a range lasts.
//
// What is counted lives in handles, one for each app and product, in a registry that is read
// without a lock. A unit that was reserved is settled, through the journal, or voided, and
// then goes back to the ledger with the next lease. Warm, Settle and Void never wait; only
// Reserve may ask the ledger.
package quota

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/ledger"
)

const (
	leaseFirst  = 16               // units of the first lease of a handle
	leaseMost   = ledger.LeaseMost // units of any lease
	leaseFor    = 2 * time.Second  // how long a lease should last at the rate seen
	refusalKept = time.Second      // how long "there is none" is remembered
	leaseWait   = 5 * time.Second  // how long a call waits for the ledger
	idleFor     = 10 * time.Minute // a handle that nobody used so long is forgotten
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

// Options make a Quota. Ledger and Journal are needed.
type Options struct {
	Ledger  Ledger
	Journal Journal
	Node    string // whose leases they are; empty: ledger.FirstNode
	// Flush brings the journal into the ledger. It is called before the node begins if that
	// could not be done at the start. nil: there is nothing to bring.
	Flush func(context.Context) error
	Now   func() time.Time
	Log   *zap.Logger
}

// Quota spends for one node. Its methods may be called from many goroutines.
type Quota struct {
	ledger  Ledger
	journal Journal
	now     func() time.Time
	log     *zap.Logger
	flush   func(context.Context) error
	name    string

	beginning sync.Mutex
	node      atomic.Pointer[ledger.Node] // nil: the ledger has not been there yet

	handles registry

	mu     sync.Mutex // guards leases
	leases map[uint64]*chunk

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
	hash  uint64
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
	closed atomic.Bool  // nothing more will be reserved
	past   atomic.Bool  // another package goes first again: the next call looks
	_      [64]byte     // what is written with each call lies apart from what is only read
	spent  atomic.Int64 // serials reserved; more than size once it is empty or closed
	out    atomic.Int64 // of them, neither settled nor voided
	again  atomic.Int64 // units that came back to the package since, and are not in Beyond
	_      [40]byte
}

// closedMark is added to spent to end a chunk; no chunk is so large.
const closedMark = 1 << 40

// none is a remembered refusal.
type none struct {
	refusal *gate.Refusal
	turn    int64
	until   int64 // milliseconds
}

// Open begins the node's next incarnation. The journal must have booked its spool before; if
// the ledger's database is not there, both happen when it is, and until then there are no
// units to be had.
func Open(ctx context.Context, o Options) (*Quota, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Node == "" {
		o.Node = ledger.FirstNode
	}
	if o.Flush == nil {
		o.Flush = func(context.Context) error { return nil }
	}
	q := &Quota{ledger: o.Ledger, journal: o.Journal, flush: o.Flush, name: o.Node, now: o.Now, log: o.Log, leases: map[uint64]*chunk{}, stop: make(chan struct{})}
	q.handles.init()
	if _, err := q.begin(ctx); err != nil && !errors.Is(err, ledger.ErrGone) {
		return nil, err
	}
	q.done.Go(q.tidy)
	return q, nil
}

// begin begins the node's incarnation, once. What is in the spool has to be in the ledger
// before: the rest of every older lease is given back.
func (q *Quota) begin(ctx context.Context) (ledger.Node, error) {
	if n := q.node.Load(); n != nil {
		return *n, nil
	}
	q.beginning.Lock()
	defer q.beginning.Unlock()
	if n := q.node.Load(); n != nil {
		return *n, nil
	}
	if err := q.flush(ctx); err != nil {
		return ledger.Node{}, err
	}
	n, err := q.ledger.Begin(ctx, q.name)
	if err == nil {
		q.node.Store(&n)
	}
	return n, err
}

// Reserve takes one unit for a call, or says with a *gate.Refusal why there is none. It may
// wait for the ledger.
func (q *Quota) Reserve(app control.AppID, product control.ProductID) (gate.Hold, error) {
	h := q.handles.find(key{app, product})
	if h == nil {
		h = q.handles.add(key{app, product})
	} else if hold, ok := h.take(q.now); ok {
		return hold, nil
	}
	return q.refill(h, q.now().UnixMilli())
}

// Warm is Reserve without waiting for anything: it takes a unit of the range that is open.
// If there is none, Reserve has to be asked.
func (q *Quota) Warm(app control.AppID, product control.ProductID) (gate.Hold, bool) {
	h := q.handles.find(key{app, product})
	if h == nil {
		return gate.Hold{}, false
	}
	return h.take(q.now)
}

// take is the whole of a warm reservation. The clock is a fifth of what it costs, and only
// asked for a range that ends.
func (h *handle) take(now func() time.Time) (gate.Hold, bool) {
	c := h.chunk.Load()
	if c == nil || c.Until != 0 && now().UnixMilli() >= c.Until || c.past.Load() {
		return gate.Hold{}, false
	}
	c.out.Add(1)
	n := c.spent.Add(1) - 1
	if n >= c.size {
		c.out.Add(-1)
		return gate.Hold{}, false
	}
	return gate.HoldFrom(gate.Hold{Grant: c.Grant, Package: c.Package, Serial: c.Lo + n, Lease: uint64(c.ID),
		Left: c.Beyond + c.size - n - 1 + c.again.Load(), Until: c.Ends}, c), true
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
		if hold, ok := h.take(q.now); ok {
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
	node, err := q.begin(ctx)
	if err != nil {
		return ledger.NoGrant, err
	}
	credits := append(h.back.take(), q.strays.take()...)
	l, verdict, err := q.ledger.Lease(ctx, node, h.app, h.product, h.want(now), credits)
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
// and the call must not be answered as if it were charged. It does not wait.
func (q *Quota) Settle(h gate.Hold, r *control.CallRecord) error {
	c := q.of(&h)
	if err := q.journal.Settle(int64(h.Lease), r); err != nil {
		q.void(c)
		return err
	}
	q.end(c)
	return nil
}

// Reverse undoes a Settle, by a second record that credits the unit; the first one stays.
// The unit is there again when that was booked, a moment later.
func (q *Quota) Reverse(h gate.Hold, r *control.CallRecord) error {
	c := q.of(&h)
	back := *r
	back.Outcome, back.Serial = control.Free, h.Serial
	if err := q.journal.Settle(int64(h.Lease), &back); err != nil {
		return err
	}
	c.handle.turn.Add(1)
	return nil
}

// Void gives a reserved unit back; the next lease has it again. Where calls are served from
// another package by now, the next one looks which goes first. It does not wait.
func (q *Quota) Void(h gate.Hold) { q.void(q.of(&h)) }

// of is the chunk that a hold came from. A hold that was made by somebody else is a fault of
// ours; to go on would lose a unit.
func (q *Quota) of(h *gate.Hold) *chunk {
	c, ok := h.From().(*chunk)
	if !ok {
		panic(fmt.Sprintf("quota: a hold of the lease %d that was not made here", h.Lease))
	}
	return c
}

func (q *Quota) void(c *chunk) {
	before := c.handle.chunk.Load() // a later one may know of the unit already
	q.giveBack(c.handle, ledger.Credit{Lease: c.ID, Package: c.Package, Units: 1})
	if before != nil && before.Package == c.Package {
		before.again.Add(1)
	}
	if open := c.handle.chunk.Load(); open != nil && open.Package != c.Package {
		open.past.Store(true)
	}
	q.end(c)
	// "None left" is no longer true, neither for the handle nor for one that took its place.
	c.handle.turn.Add(1)
	if c.handle.dead.Load() {
		if now := q.handles.find(c.handle.key); now != nil {
			now.turn.Add(1)
		}
	}
}

// end is the end of one call in flight.
func (q *Quota) end(c *chunk) {
	switch n := c.out.Add(-1); {
	case n == 0:
		q.drop(c)
	case n < 0:
		q.log.DPanic("a unit was settled or voided twice", zap.Int64("lease", c.ID))
	}
}

// Forget makes the next call of an app to a product ask the ledger: something changed.
func (q *Quota) Forget(app control.AppID, product control.ProductID) {
	h := q.handles.find(key{app, product})
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
	q.mu.Lock()
	defer q.mu.Unlock()
	var n int64
	for _, c := range q.leases {
		if c.Package == id {
			n += c.out.Load()
		}
	}
	return n
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
	for _, h := range q.handles.all() {
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
	q.handles.drop(h)
	h.back.close()
	for _, c := range h.back.take() {
		q.strays.add(c)
	}
}

// Close gives back all that was leased and not spent. No call may be under way.
func (q *Quota) Close(ctx context.Context) error {
	close(q.stop)
	q.done.Wait()
	for _, h := range q.handles.all() {
		q.Forget(h.app, h.product)
	}
	return q.credit(ctx)
}
