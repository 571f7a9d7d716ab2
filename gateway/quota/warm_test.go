package quota_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/ledger"
	"github.com/souk-market/souk/gateway/quota"
)

// sealed is a ledger that a test can lock: nothing may ask it then.
type sealedLedger struct {
	*ledger.Ledger
	locked atomic.Bool
	asked  atomic.Int64
}

func (s *sealedLedger) ask() {
	if s.locked.Load() {
		s.asked.Add(1)
	}
}

func (s *sealedLedger) Lease(ctx context.Context, n ledger.Node, a control.AppID, p control.ProductID, want int64, c []ledger.Credit) (ledger.Lease, ledger.Verdict, error) {
	s.ask()
	return s.Ledger.Lease(ctx, n, a, p, want, c)
}

func (s *sealedLedger) Credit(ctx context.Context, c ...ledger.Credit) error {
	s.ask()
	return s.Ledger.Credit(ctx, c...)
}

// Warm takes what is open and never asks; nor do Settle and Void. Q15.
func TestWarmAsksNobody(t *testing.T) {
	n := open(t)
	n.grant(true)
	n.pack("pkg_a", 40, noon, time.Time{})
	l := &sealedLedger{Ledger: n.Ledger}
	q, err := quota.Open(t.Context(), quota.Options{Ledger: l, Journal: n.journal, Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := q.Warm(app, product); ok {
		t.Error("warm before anything was leased")
	}
	h, err := q.Reserve(app, product)
	if err != nil {
		t.Fatal(err)
	}
	l.locked.Store(true)
	took := 1
	for i := 0; ; i++ {
		if i%3 == 0 {
			q.Void(h)
		} else if err := q.Settle(h, record(h)); err != nil {
			t.Fatal(err)
		}
		var ok bool
		if h, ok = q.Warm(app, product); !ok {
			break
		}
		took++
	}
	if l.asked.Load() != 0 || took != 16 {
		t.Errorf("%d units were taken, the ledger was asked %d times", took, l.asked.Load())
	}
	l.locked.Store(false)
	if h, err = q.Reserve(app, product); err != nil {
		t.Fatal(err)
	}
	q.Void(h)
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.sound(10)
}

// What a hold says is left is exact for calls one after the other, whether or not units come
// back; it says when the package is over. Q4, Q16.
func TestHoldsSayWhatIsLeft(t *testing.T) {
	n := open(t)
	n.grant(true)
	until := noon.Add(time.Hour)
	n.pack("pkg_a", 30, noon, until)
	n.pack("pkg_b", 20, noon, time.Time{})
	n.pack("pkg_future", 99, noon.Add(time.Hour), time.Time{})
	for i := range int64(50) {
		h, err := n.call()
		if err != nil {
			t.Fatal(err)
		}
		wantUntil := until.UnixMilli()
		if i >= 30 {
			wantUntil = 0
		}
		if h.Left != 49-i || h.Until != wantUntil {
			t.Fatalf("call %d: %d left until %d, want %d until %d", i+1, h.Left, h.Until, 49-i, wantUntil)
		}
	}

	n.pack("pkg_c", 500, noon, time.Time{})
	random := rand.New(rand.NewPCG(8, 8))
	truth := int64(500)
	for range 2000 {
		h, err := n.Reserve(app, product)
		if errors.Is(err, gate.QuotaExhausted) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if truth--; h.Left != truth {
			t.Fatalf("%d are said to be left of %d", h.Left, truth)
		}
		if random.IntN(3) == 0 {
			n.Void(h)
			truth++
		} else if err := n.Settle(h, record(h)); err != nil {
			t.Fatal(err)
		}
	}
	if truth != 0 {
		t.Errorf("%d units are left over", truth)
	}
	n.sound(550)
}

// A node that starts while the ledger is not there has nothing to give, says that it is
// busy and not that somebody has no right, and begins when the ledger is there: after what
// lay in the spool was booked, so that no charged unit is given back.
func TestTheNodeBeginsLate(t *testing.T) {
	n := open(t)
	n.grant(true)
	n.pack("pkg_a", 40, noon, time.Time{})
	if _, err := n.call(); err != nil {
		t.Fatal(err)
	}
	n.Forget(app, product) // what it has left goes home, so that two nodes do not both give it back
	n.Sweep()
	late := &lateLedger{Ledger: n.Ledger}
	late.away.Store(true)
	flushed := 0
	q, err := quota.Open(t.Context(), quota.Options{Ledger: late, Journal: n.journal, Now: func() time.Time { return noon }, Flush: func(ctx context.Context) error {
		if late.away.Load() {
			return ledger.ErrGone
		}
		flushed++
		return n.journal.Flush(ctx)
	}})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := q.Reserve(app, product); !errors.Is(err, gate.Busy) {
			t.Fatalf("without the ledger: %v", err)
		}
	}
	late.away.Store(false)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			h, err := q.Reserve(app, product)
			if err != nil {
				t.Error(err)
				return
			}
			if err := q.Settle(h, record(h)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if late.began.Load() != 1 || flushed != 1 {
		t.Errorf("it began %d times, after %d flushes", late.began.Load(), flushed)
	}
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.sound(5)
}

type lateLedger struct {
	*ledger.Ledger
	away  atomic.Bool
	began atomic.Int64
}

func (l *lateLedger) Begin(ctx context.Context, node string) (ledger.Node, error) {
	if l.away.Load() {
		return ledger.Node{}, ledger.ErrGone
	}
	l.began.Add(1)
	return l.Ledger.Begin(ctx, node)
}
