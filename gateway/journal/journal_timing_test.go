package journal

import (
	"context"
	"testing"

	"go.uber.org/zap"

	"github.com/souk-market/souk/gateway/ledger"
)

// nowhere is a ledger that keeps nothing.
type nowhere struct{}

func (nowhere) Book(context.Context, []ledger.Entry, []ledger.Credit) error { return nil }
func (nowhere) Trim(context.Context) error                                  { return nil }

// BenchmarkSettle is the write to the spool that a charged call waits for.
func BenchmarkSettle(b *testing.B) {
	j, err := Open(b.Context(), nowhere{}, b.TempDir(), zap.NewNop())
	if err != nil {
		b.Fatal(err)
	}
	e := entry(1)
	b.ReportAllocs()
	for b.Loop() {
		if err := j.Settle(7, &e.CallRecord); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	if err := j.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
}
