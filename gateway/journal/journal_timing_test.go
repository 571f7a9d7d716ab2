package journal

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/souk-market/souk/gateway/ledger"
)

// nowhere is a ledger that keeps nothing.
type nowhere struct{}

func (nowhere) BookSpool(context.Context, []ledger.Entry, ledger.Place) error { return nil }
func (nowhere) Spooled(context.Context) (ledger.Place, error)                 { return ledger.Place{}, nil }
func (nowhere) Trim(context.Context) error                                    { return nil }

// BenchmarkSettle is what a charged call pays for its record, alone and with another that
// writes at the same time (metering.md G4). Booking happens between rounds: here it would
// take a processor from those who are measured.
func BenchmarkSettle(b *testing.B) {
	for _, writers := range []int{1, 2} {
		b.Run(fmt.Sprint(writers, " at once"), func(b *testing.B) {
			j := fresh(b, nowhere{}, b.TempDir(), filesMost)
			j.writing.Lock()
			r := record(1)
			b.ReportAllocs()
			const round = 20_000 // less than a file
			for done := 0; done < b.N; done += round {
				b.StopTimer()
				j.writing.Unlock()
				if err := j.Flush(context.Background()); err != nil {
					b.Fatal(err)
				}
				for !j.supplied() {
				}
				j.writing.Lock()
				b.StartTimer()
				var all sync.WaitGroup
				for range writers {
					all.Go(func() {
						for range min(round, b.N-done) / writers {
							if err := j.Settle(7, r); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				all.Wait()
			}
			b.StopTimer()
			j.writing.Unlock()
			if err := j.Close(context.Background()); err != nil {
				b.Fatal(err)
			}
		})
	}
}
