package ledger

import (
	"testing"

	"github.com/souk-market/souk/gateway/control"
)

// BenchmarkBook books batches of 500 charged calls.
func BenchmarkBook(b *testing.B) {
	const batch = 500
	l := fresh(b)
	tellAll(b, l, &control.Grant{ID: "grt_a", App: "app_a", Product: "prd_a", Live: true},
		&control.Package{ID: "pkg_a", Grant: "grt_a", Calls: 1 << 40, From: noon, Live: true})
	n, err := l.Begin(b.Context(), "node")
	if err != nil {
		b.Fatal(err)
	}
	lease, _, err := l.Lease(b.Context(), n, "app_a", "prd_a", 1<<30, nil)
	if err != nil {
		b.Fatal(err)
	}
	entries := make([]Entry, batch)
	for i := range entries {
		entries[i] = entry("pkg_a", 0, lease.ID, control.Charged, noon)
	}
	next := lease.Lo
	b.ReportAllocs()
	for b.Loop() {
		for i := range entries {
			entries[i].Serial = next
			next++
		}
		if err := l.Book(b.Context(), entries, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/call")
}
