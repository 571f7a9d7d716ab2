package quota_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/journal"
	"github.com/souk-market/souk/gateway/ledger"
	"github.com/souk-market/souk/gateway/quota"
	"github.com/souk-market/souk/gateway/storage"
	"github.com/souk-market/souk/gateway/storage/sqlite"
)

// node is a ledger, a journal and a quota on one folder, with a clock that the test moves.
type node struct {
	t      testing.TB
	folder string
	db     *storage.DB
	*ledger.Ledger
	journal *journal.Journal
	*quota.Quota
	now atomic.Int64
}

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func start(t testing.TB, folder string) *node {
	t.Helper()
	n := &node{t: t, folder: folder}
	n.now.Store(noon.UnixMilli())
	var err error
	if n.db, err = sqlite.Open(filepath.Join(folder, "gateway.db")); err != nil {
		t.Fatal(err)
	}
	clock := func() time.Time { return time.UnixMilli(n.now.Load()).UTC() }
	ctx := context.Background()
	if n.Ledger, err = ledger.Open(ctx, ledger.Options{DB: n.db, MasterKey: make([]byte, 32), Now: clock}); err != nil {
		t.Fatal(err)
	}
	if n.journal, err = journal.Open(ctx, n.Ledger, folder, zap.NewNop()); err != nil {
		t.Fatal(err)
	}
	n.Quota, err = quota.Open(ctx, quota.Options{Ledger: n.Ledger, Journal: n.journal, Flush: n.journal.Flush, Now: clock, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	n.Spend(n.Held, n.journal.Flush)
	n.OnGrant(n.Forget)
	return n
}

func (n *node) close() {
	n.t.Helper()
	ctx := context.Background()
	if err := errors.Join(n.Quota.Close(ctx), n.journal.Close(ctx), n.db.Close()); err != nil {
		n.t.Error(err)
	}
}

func open(t testing.TB) *node {
	t.Helper()
	n := start(t, t.TempDir())
	t.Cleanup(n.close)
	return n
}

const (
	app     control.AppID     = "app_a"
	product control.ProductID = "prd_a"
)

func (n *node) apply(changes ...control.Change) {
	n.t.Helper()
	if err := n.Apply(context.Background(), changes...); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) grant(live bool) {
	n.t.Helper()
	n.apply(&control.Grant{ID: "grt_a", App: app, Product: product, Live: live})
}

func (n *node) pack(id control.PackageID, calls int64, from, until time.Time) {
	n.t.Helper()
	n.apply(&control.Package{ID: id, Grant: "grt_a", Calls: calls, From: from, Until: until, Live: true})
}

func record(h gate.Hold) *control.CallRecord {
	return &control.CallRecord{Request: control.NewRequestID(noon), At: noon, App: app, Product: product, Route: "rte_a", Grant: h.Grant,
		Package: h.Package, Serial: h.Serial, Method: "GET", Path: "/x", Status: 200, Outcome: control.Charged, Took: time.Millisecond}
}

// call reserves and settles one unit.
func (n *node) call() (gate.Hold, error) {
	h, err := n.Reserve(app, product)
	if err != nil {
		return h, err
	}
	return h, n.Settle(h, record(h))
}

// sound fails the test unless the ledger agrees with itself and the sums told to the
// console are its own.
func (n *node) sound(charged int64) {
	n.t.Helper()
	if err := n.Flush(context.Background()); err != nil {
		n.t.Fatal(err)
	}
	faults, err := n.Audit(context.Background())
	if err != nil || len(faults) > 0 {
		n.t.Fatalf("the ledger does not agree with itself: %v %v", faults, err)
	}
	var sum int64
	var at control.Cursor
	for {
		rows, next, err := n.Usage(context.Background(), at, 7)
		if err != nil {
			n.t.Fatal(err)
		}
		if len(rows) == 0 {
			break
		}
		for _, u := range rows {
			if u.Outcome == control.Charged {
				sum += u.Calls
			}
		}
		at = next
	}
	if sum != charged {
		n.t.Fatalf("%d charged calls were told, want %d", sum, charged)
	}
}

// API-15: the sixth call of a five-call package is refused, and a refusal costs nothing.
func TestTheSixthOfFive(t *testing.T) {
	n := open(t)
	n.grant(true)
	n.pack("pkg_a", 5, noon, time.Time{})
	for i := range 5 {
		if _, err := n.call(); err != nil {
			t.Fatalf("call %d: %v", i+1, err)
		}
	}
	for range 3 {
		if _, err := n.call(); !errors.Is(err, gate.QuotaExhausted) {
			t.Fatalf("the sixth: %v", err)
		}
	}
	n.sound(5)
	// A top-up works on the next call (Q1), in the same grant (API-13).
	n.pack("pkg_b", 2, noon, time.Time{})
	for i := range 2 {
		if _, err := n.call(); err != nil {
			t.Fatalf("call %d after the top-up: %v", i+1, err)
		}
	}
	if _, err := n.call(); !errors.Is(err, gate.QuotaExhausted) {
		t.Fatalf("after all: %v", err)
	}
	n.sound(7)
}

func TestAThousandAtOnceOnFiveHundred(t *testing.T) {
	n := open(t)
	n.grant(true)
	n.pack("pkg_a", 500, noon, time.Time{})
	var served, refused atomic.Int64
	seen := sync.Map{}
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			h, err := n.call()
			switch {
			case err == nil:
				served.Add(1)
				if _, twice := seen.LoadOrStore(h.Serial, true); twice {
					t.Errorf("serial %d went out twice", h.Serial)
				}
			case errors.Is(err, gate.QuotaExhausted):
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if served.Load() != 500 || refused.Load() != 500 {
		t.Errorf("%d served, %d refused", served.Load(), refused.Load())
	}
	n.sound(500)
}

// Units that were reserved and not charged come back, and nobody is refused while one is
// left; a random mix of both on many goroutines ends with every unit charged once (Q5, M7).
func TestVoidedUnitsComeBack(t *testing.T) {
	n := open(t)
	n.grant(true)
	const granted = 300
	n.pack("pkg_a", granted, noon, time.Time{})
	var served atomic.Int64
	var wg sync.WaitGroup
	for g := range 8 {
		random := rand.New(rand.NewPCG(7, uint64(g)))
		wg.Go(func() {
			for range 100 {
				h, err := n.Reserve(app, product)
				if errors.Is(err, gate.QuotaExhausted) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if random.IntN(3) == 0 {
					n.Void(h)
					continue
				}
				if err := n.Settle(h, record(h)); err != nil {
					t.Error(err)
				}
				served.Add(1)
			}
		})
	}
	wg.Wait()
	for {
		if _, err := n.call(); err != nil {
			if !errors.Is(err, gate.QuotaExhausted) {
				t.Fatal(err)
			}
			break
		}
		served.Add(1)
	}
	if served.Load() != granted {
		t.Errorf("%d calls were charged, want all %d", served.Load(), granted)
	}
	n.sound(granted)
	if n.Held("pkg_a") != 0 {
		t.Errorf("%d units are held though nothing is in flight", n.Held("pkg_a"))
	}
}

// The last unit in flight is nobody else's; when it comes back it is there at once.
func TestTheLastUnitInFlight(t *testing.T) {
	n := open(t)
	n.grant(true)
	n.pack("pkg_a", 1, noon, time.Time{})
	h, err := n.Reserve(app, product)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Reserve(app, product); !errors.Is(err, gate.QuotaExhausted) {
		t.Fatalf("a second: %v", err)
	}
	b, err := n.Balances(t.Context(), "grt_a")
	if err != nil || len(b) != 1 || b[0].Held != 1 || b[0].Remaining != 0 || b[0].Used != 0 {
		t.Errorf("balance in flight: %+v, %v", b, err)
	}
	n.Void(h)
	if _, err := n.call(); err != nil {
		t.Fatalf("after it came back: %v", err)
	}
	n.sound(1)
}

// API-14: earliest expiry, then earliest purchase; what has not begun waits; what is over
// is not used, and expiry is looked at when a call is admitted (Q2).
func TestOrderOfDeduction(t *testing.T) {
	n := open(t)
	n.grant(true)
	hour := time.Hour
	n.pack("pkg_forever", 2, noon.Add(-9*hour), time.Time{})
	n.pack("pkg_late", 2, noon.Add(-8*hour), noon.Add(48*hour))
	n.pack("pkg_second", 2, noon.Add(-1*hour), noon.Add(hour))
	n.pack("pkg_first", 1, noon.Add(-2*hour), noon.Add(hour))
	n.pack("pkg_future", 1, noon.Add(2*hour), noon.Add(3*hour))
	want := []control.PackageID{"pkg_first", "pkg_second"}
	for i, id := range want {
		if h, err := n.call(); err != nil || h.Package != id {
			t.Fatalf("call %d took %s, %v; want %s", i+1, h.Package, err, id)
		}
	}
	n.now.Add(hour.Milliseconds()) // the second unit of pkg_second is over
	for i, id := range []control.PackageID{"pkg_late", "pkg_late"} {
		if h, err := n.call(); err != nil || h.Package != id {
			t.Fatalf("call %d after an hour took %s, %v; want %s", i+1, h.Package, err, id)
		}
	}
	n.now.Add(hour.Milliseconds() + 1) // pkg_future has begun and ends before pkg_forever
	for i, id := range []control.PackageID{"pkg_future", "pkg_forever", "pkg_forever"} {
		if h, err := n.call(); err != nil || h.Package != id {
			t.Fatalf("call %d after two hours took %s, %v; want %s", i+1, h.Package, err, id)
		}
	}
	if _, err := n.call(); !errors.Is(err, gate.QuotaExhausted) {
		t.Errorf("at the end: %v", err)
	}
	n.sound(7)
}

// A range that is open when a package begins that goes first is not spent further; what
// is left of it comes back. API-14.
func TestARangeEndsWhenAnotherPackageGoesFirst(t *testing.T) {
	n := open(t)
	n.grant(true)
	n.pack("pkg_late", 100, noon, time.Time{})
	n.pack("pkg_soon", 2, noon.Add(time.Hour), noon.Add(2*time.Hour))
	n.pack("pkg_never_first", 5, noon.Add(time.Hour), time.Time{}) // ends as late, begins later
	take := func(want control.PackageID) {
		t.Helper()
		if h, err := n.call(); err != nil || h.Package != want {
			t.Errorf("took %s, %v; want %s", h.Package, err, want)
		}
	}
	take("pkg_late")
	n.now.Add(time.Hour.Milliseconds() - 1)
	take("pkg_late")
	n.now.Add(1)
	take("pkg_soon")
	take("pkg_soon")
	for range 98 {
		take("pkg_late")
	}
	take("pkg_never_first")
	n.sound(103)
}

func TestWhyThereIsNone(t *testing.T) {
	n := open(t)
	is := func(want *gate.Refusal) {
		t.Helper()
		if _, err := n.Reserve(app, product); !errors.Is(err, want) {
			t.Errorf("refused with %v, want %v", err, want)
		}
	}
	is(gate.Unauthorized)
	n.grant(true)
	is(gate.NoPackage)
	n.pack("pkg_a", 5, noon.Add(-2*time.Hour), noon.Add(-time.Hour))
	is(gate.PackagesExpired)
	n.pack("pkg_b", 5, noon, time.Time{})
	if _, err := n.call(); err != nil {
		t.Fatal(err)
	}
	n.grant(false) // a suspended grant stops at once, though units are leased
	is(gate.NoPackage)
	n.grant(true)
	if _, err := n.call(); err != nil {
		t.Errorf("after it was resumed: %v", err)
	}
	n.sound(2)
}

// Whatever the registry forgets costs a look-up and never a count (metering.md 1.7, X25).
func TestHandlesAreForgottenInALoop(t *testing.T) {
	n := open(t)
	n.grant(true)
	const granted = 2000
	n.pack("pkg_a", granted, noon, time.Time{})
	stop := make(chan struct{})
	var loop, wg sync.WaitGroup
	loop.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				n.now.Add(time.Hour.Milliseconds()) // nobody has used them for so long
				n.Sweep()
			}
		}
	})
	var served atomic.Int64
	for range 8 {
		wg.Go(func() {
			for range 400 {
				if _, err := n.call(); err == nil {
					served.Add(1)
				} else if !errors.Is(err, gate.QuotaExhausted) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	loop.Wait()
	if served.Load() != granted {
		t.Errorf("%d served, want %d", served.Load(), granted)
	}
	n.sound(granted)
}

// A clean stop gives back what was leased; the next start has it (M7).
func TestRestartGivesBack(t *testing.T) {
	folder := t.TempDir()
	n := start(t, folder)
	n.grant(true)
	n.pack("pkg_a", 100, noon, time.Time{})
	for range 10 {
		if _, err := n.call(); err != nil {
			t.Fatal(err)
		}
	}
	n.close()
	n = start(t, folder)
	defer n.close()
	n.sound(10)
	for i := range 90 {
		if _, err := n.call(); err != nil {
			t.Fatalf("call %d after the restart: %v", i+1, err)
		}
	}
	if _, err := n.call(); !errors.Is(err, gate.QuotaExhausted) {
		t.Errorf("the hundred and first: %v", err)
	}
	n.sound(100)
}

// One process has a place; one that takes over has another, and what a killed one left in
// such a place is found. X20.
func TestPlaces(t *testing.T) {
	folder := t.TempDir()
	take := func(f func(string) (*quota.Place, error), want string) *quota.Place {
		t.Helper()
		p, err := f(folder)
		if err != nil || p.Node != want {
			t.Fatalf("took %+v, %v; want %s", p, err, want)
		}
		return p
	}
	first := take(quota.Take, "node")
	if _, err := quota.Take(folder); !errors.Is(err, quota.ErrTaken) {
		t.Errorf("a second process got in: %v", err)
	}
	second := take(quota.TakeBeside, "node-2")
	third := take(quota.TakeBeside, "node-3")
	if left, err := quota.Left(folder); err != nil || len(left) != 0 {
		t.Errorf("left are %v, %v", left, err)
	}
	if err := errors.Join(first.Release(), third.Release()); err != nil {
		t.Fatal(err)
	}
	if left, err := quota.Left(folder); err != nil || len(left) != 1 || left[0].Node != "node-3" || left[0].Release() != nil {
		t.Errorf("left are %v, %v", left, err)
	}
	again := take(quota.TakeBeside, "node")
	if err := errors.Join(again.Release(), second.Release()); err != nil {
		t.Fatal(err)
	}
	_ = take(quota.Take, "node").Release()
}

func TestAWarmReservationAllocatesNothing(t *testing.T) {
	n := open(t)
	n.grant(true)
	n.pack("pkg_a", 1_000_000, noon, time.Time{})
	for range 1000 { // past the small first leases
		if _, err := n.call(); err != nil {
			t.Fatal(err)
		}
	}
	h, err := n.Reserve(app, product)
	if err != nil {
		t.Fatal(err)
	}
	n.Void(h)
	if a := testing.AllocsPerRun(20, func() {
		if _, err := n.Reserve(app, product); err != nil {
			t.Fatal(err)
		}
	}); a > 0 {
		t.Errorf("%v allocations", a)
	}
}

// A unit that comes back allocates nothing either: a seller who fails costs no more.
func TestAVoidedUnitAllocatesNothing(t *testing.T) {
	n := open(t)
	n.grant(true)
	n.pack("pkg_a", 1_000_000, noon, time.Time{})
	for range 1000 {
		if _, err := n.call(); err != nil {
			t.Fatal(err)
		}
	}
	if a := testing.AllocsPerRun(20, func() {
		h, err := n.Reserve(app, product)
		if err != nil {
			t.Fatal(err)
		}
		n.Void(h)
	}); a > 0 {
		t.Errorf("%v allocations", a)
	}
}

// What comes back to a handle that was forgotten while its call lasted is found by the
// handle that took its place.
func TestAUnitOutlivesItsHandle(t *testing.T) {
	n := open(t)
	n.grant(true)
	n.pack("pkg_a", 1, noon, time.Time{})
	h, err := n.Reserve(app, product)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Reserve(app, product); !errors.Is(err, gate.QuotaExhausted) { // closes the range
		t.Fatalf("the second of one: %v", err)
	}
	n.now.Add(time.Hour.Milliseconds())
	n.Sweep()
	if _, err := n.Reserve(app, product); !errors.Is(err, gate.QuotaExhausted) {
		t.Fatalf("while the call lasts: %v", err)
	}
	n.Void(h)
	if _, err := n.call(); err != nil {
		t.Errorf("after it ended: %v", err)
	}
	n.Sweep()
	n.sound(1)
}

// Two products whose last units come and go at once: what one brings home is never missing
// to the other, so nobody is refused a unit that is free.
func TestHandlesDoNotTakeEachOthersUnits(t *testing.T) {
	n := open(t)
	var wg sync.WaitGroup
	for i := range 4 {
		p := control.ProductID(fmt.Sprint("prd_", i))
		g := control.GrantID(fmt.Sprint("grt_", i))
		n.apply(&control.Grant{ID: g, App: app, Product: p, Live: true},
			&control.Package{ID: control.PackageID(fmt.Sprint("pkg_", i)), Grant: g, Calls: 1, From: noon, Live: true})
		wg.Go(func() {
			for k := range 50 {
				h, err := n.Reserve(app, p)
				if err != nil {
					t.Errorf("%s, round %d: %v though its unit is free", p, k, err)
					return
				}
				n.Void(h)
			}
		})
	}
	wg.Wait()
	n.sound(0)
}

// full is a journal on a full disk.
type full struct{}

var errFull = errors.New("no space left")

func (full) Settle(int64, *control.CallRecord) error { return errFull }

// A call that cannot be written down is not charged, and its unit is there for the next one.
func TestWhatCannotBeWrittenDownIsNotCharged(t *testing.T) {
	n := open(t)
	n.grant(true)
	n.pack("pkg_a", 1, noon, time.Time{})
	q, err := quota.Open(t.Context(), quota.Options{Ledger: n.Ledger, Journal: full{}, Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		h, err := q.Reserve(app, product)
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Settle(h, record(h)); !errors.Is(err, errFull) {
			t.Fatalf("settled with %v", err)
		}
	}
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b, err := n.Balances(t.Context(), "grt_a"); err != nil || b[0].Used != 0 || b[0].Remaining != 1 {
		t.Errorf("%+v, %v", b, err)
	}
	if _, err := n.call(); err != nil {
		t.Errorf("once there is space: %v", err)
	}
	n.sound(1)
}

// OPR-01: the records of calls, the sums and the balance say the same, with free and refused
// calls beside the charged ones.
func TestRecordsAddUpToUsed(t *testing.T) {
	n := open(t)
	n.grant(true)
	n.pack("pkg_a", 120, noon, time.Time{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 60 {
				h, err := n.Reserve(app, product)
				switch {
				case err != nil:
					n.journal.Note(&control.CallRecord{Request: control.NewRequestID(noon), At: noon, App: app, Product: product, Grant: "grt_a", Serial: -1,
						Status: 403, Code: "B403MQ", Outcome: control.Refused})
				case i%3 == 0:
					n.Void(h)
					n.journal.Note(&control.CallRecord{Request: control.NewRequestID(noon), At: noon, App: app, Product: product, Grant: h.Grant, Package: h.Package, Serial: -1,
						Status: 502, Outcome: control.Free})
				default:
					if err := n.Settle(h, record(h)); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	b, err := n.Balances(t.Context(), "grt_a")
	if err != nil {
		t.Fatal(err)
	}
	calls, err := n.Calls(t.Context(), control.CallFilter{App: app, Max: 1000})
	if err != nil {
		t.Fatal(err)
	}
	records, serials := map[control.Outcome]int64{}, map[int64]bool{}
	for _, c := range calls {
		records[c.Outcome]++
		if c.Outcome == control.Charged {
			if serials[c.Serial] {
				t.Errorf("serial %d stands in two records", c.Serial)
			}
			serials[c.Serial] = true
		}
	}
	rows, _, err := n.Usage(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	sums := map[control.Outcome]int64{}
	for _, u := range rows {
		sums[u.Outcome] += u.Calls
	}
	if len(calls) != 240 || b[0].Used != records[control.Charged] || !maps.Equal(records, sums) {
		t.Errorf("used %d, records %v, sums %v", b[0].Used, records, sums)
	}
	n.sound(b[0].Used)
}

// As many callers as units, each with one at a time: whoever comes finds a unit, since the
// others cannot have them all (Q5, M8).
func TestNobodyIsRefusedWhileAUnitIsFree(t *testing.T) {
	n := open(t)
	n.grant(true)
	const callers = 5
	n.pack("pkg_a", callers-2, noon, noon.Add(time.Hour))
	n.pack("pkg_b", 2, noon, time.Time{})
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for k := range 60 {
				h, err := n.Reserve(app, product)
				if err != nil {
					t.Errorf("round %d: %v", k, err)
					return
				}
				n.Void(h)
			}
		})
	}
	wg.Wait()
	n.sound(0)
}

// A grant that goes to another app takes what is left with it at once.
func TestAGrantThatMovesTakesItsUnits(t *testing.T) {
	n := open(t)
	n.grant(true)
	n.pack("pkg_a", 10, noon, time.Time{})
	if _, err := n.call(); err != nil {
		t.Fatal(err)
	}
	n.apply(&control.Grant{ID: "grt_a", App: "app_b", Product: product, Live: true})
	if _, err := n.Reserve(app, product); !errors.Is(err, gate.Unauthorized) {
		t.Errorf("the app that had it: %v", err)
	}
	for i := range 9 {
		h, err := n.Reserve("app_b", product)
		if err != nil {
			t.Fatalf("call %d of the app that has it: %v", i+1, err)
		}
		if err := n.Settle(h, record(h)); err != nil {
			t.Fatal(err)
		}
	}
	n.sound(10)
}
