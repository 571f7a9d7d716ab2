//go:build unix

package ledger

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
)

// BenchmarkBook books batches of charged calls, of one app and of a hundred.
func BenchmarkBook(b *testing.B) {
	for _, apps := range []int{1, 100} {
		for _, batch := range []int{100, 375, 1000, 5000} {
			b.Run(fmt.Sprintf("%d apps/%d calls", apps, batch), func(b *testing.B) { bookBatches(b, apps, batch) })
		}
	}
}

func bookBatches(b *testing.B, apps, batch int) {
	l := fresh(b)
	n, err := l.Begin(b.Context(), "node")
	if err != nil {
		b.Fatal(err)
	}
	type buyer struct {
		app, product string
		lease        Lease
		next         int64
		entry        Entry
	}
	buyers := make([]buyer, apps)
	for i := range buyers {
		y := &buyers[i]
		y.app, y.product = fmt.Sprintf("app_%d", i), "prd_a"
		grant := control.GrantID(fmt.Sprintf("grt_%d", i))
		tellAll(b, l, &control.Grant{ID: grant, App: control.AppID(y.app), Product: "prd_a", Live: true},
			&control.Package{ID: control.PackageID(fmt.Sprintf("pkg_%d", i)), Grant: grant, Calls: 1 << 40, From: noon, Live: true})
	}
	var d Decoder
	var raw []byte
	entries := make([]Entry, batch)
	calls := 0
	b.ReportAllocs()
	busy := cpu(b)
	for b.Loop() {
		for i := range entries {
			y := &buyers[i%apps]
			if y.next == y.lease.Hi {
				b.StopTimer()
				var v Verdict
				if y.lease, v, err = l.Lease(b.Context(), n, control.AppID(y.app), "prd_a", LeaseMost, nil); err != nil || v != Leased {
					b.Fatal(v, err)
				}
				y.next = y.lease.Lo
				y.entry = entry(y.lease.Package, 0, y.lease.ID, control.Charged, noon)
				y.entry.App, y.entry.Grant = control.AppID(y.app), y.lease.Grant
				b.StartTimer()
			}
			e := y.entry
			e.Serial, e.Request = y.next, control.NewRequestID(noon)
			y.next++
			// The journal's part, so that all that a call costs behind its answer is in the figure.
			raw = AppendEntry(raw[:0], e.Lease, &e.CallRecord)
			if err := d.Decode(&entries[i], raw); err != nil {
				b.Fatal(err)
			}
		}
		if err := l.Book(b.Context(), entries, nil); err != nil {
			b.Fatal(err)
		}
		calls += batch
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(calls), "ns/call")
	b.ReportMetric(float64((cpu(b)-busy).Nanoseconds())/float64(calls), "cpu-ns/call")
}

// cpu is the processor's time that this process has used: what a commit waits for the disk
// is in none of it.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
