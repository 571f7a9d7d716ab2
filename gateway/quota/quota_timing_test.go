package quota_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/journal"
	"github.com/souk-market/souk/gateway/ledger"
	"github.com/souk-market/souk/gateway/quota"
)

func busy(b *testing.B) *node {
	b.Helper()
	n := open(b)
	n.grant(true)
	n.pack("pkg_a", 1_000_000_000, noon, time.Time{})
	return n
}

// BenchmarkReserveVoid is what a call pays where its seller fails.
func BenchmarkReserveVoid(b *testing.B) {
	n := busy(b)
	b.ReportAllocs()
	for b.Loop() {
		h, err := n.Reserve(app, product)
		if err != nil {
			b.Fatal(err)
		}
		n.Void(h)
	}
}

func BenchmarkReserveVoidParallel(b *testing.B) {
	n := busy(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			h, err := n.Reserve(app, product)
			if err != nil {
				b.Error(err)
				return
			}
			n.Void(h)
		}
	})
}

// BenchmarkReserveSettle is a charged call, with the write to the spool, and with the
// writer behind that books it.
func BenchmarkReserveSettle(b *testing.B) {
	n := busy(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := n.call(); err != nil {
			n.wait(b, err)
		}
	}
}

// wait lets the journal come after: a benchmark is faster than any disk.
func (n *node) wait(b *testing.B, err error) {
	b.Helper()
	if !errors.Is(err, journal.ErrNotReady) && !errors.Is(err, journal.ErrFull) {
		b.Fatal(err)
	}
	b.StopTimer()
	time.Sleep(10 * time.Millisecond)
	b.StartTimer()
}

// BenchmarkExhausted is a refusal.
func BenchmarkExhausted(b *testing.B) {
	n := open(b)
	n.grant(true)
	n.pack("pkg_a", 1, noon, time.Time{})
	if _, err := n.call(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := n.Reserve(app, product); err == nil {
			b.Fatal("the second of one was served")
		}
	}
}

// nowhere is a ledger that keeps nothing of what is booked, so that a measurement of the
// call is not one of what happens behind it.
type nowhere struct{}

func (nowhere) BookSpool(context.Context, []ledger.Entry, ledger.Place) error { return nil }
func (nowhere) Spooled(context.Context) (ledger.Place, error)                 { return ledger.Place{}, nil }
func (nowhere) Trim(context.Context) error                                    { return nil }

// BenchmarkWarmSettle is a whole warm call of quota and journal, as an event loop makes it:
// a unit is taken and the charged call is written down. Wanted: 300 ns, no allocation.
func BenchmarkWarmSettle(b *testing.B) {
	n := busy(b)
	j, err := journal.Open(b.Context(), nowhere{}, b.TempDir(), zap.NewNop())
	if err != nil {
		b.Fatal(err)
	}
	q, err := quota.Open(b.Context(), quota.Options{Ledger: n.Ledger, Journal: j})
	if err != nil {
		b.Fatal(err)
	}
	r := record(gate.Hold{})
	b.ReportAllocs()
	for b.Loop() {
		h, ok := q.Warm(app, product)
		if !ok {
			if h, err = q.Reserve(app, product); err != nil {
				b.Fatal(err)
			}
		}
		r.Grant, r.Package, r.Serial = h.Grant, h.Package, h.Serial
		if err := q.Settle(h, r); err != nil {
			n.wait(b, err)
		}
	}
	b.StopTimer()
	if err := errors.Join(q.Close(context.Background()), j.Close(context.Background())); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkWarmVoid(b *testing.B) {
	n := busy(b)
	h, err := n.Reserve(app, product)
	if err != nil {
		b.Fatal(err)
	}
	n.Void(h)
	b.ReportAllocs()
	for b.Loop() {
		h, ok := n.Warm(app, product)
		if !ok {
			if h, err = n.Reserve(app, product); err != nil {
				b.Fatal(err)
			}
		}
		n.Void(h)
	}
}
