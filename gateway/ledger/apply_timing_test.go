//go:build unix

package ledger

import (
	"context"
	"fmt"
	"testing"

	"github.com/souk-market/souk/gateway/control"
)

// C1, C2: one change among many costs what one costs.
func BenchmarkApplyRoute(b *testing.B) {
	for _, n := range []int{100, 20_000} {
		b.Run(fmt.Sprint(n, " routes"), func(b *testing.B) {
			l := fresh(b)
			all := []control.Change{group("grp_a", "a.test")}
			for i := range n {
				r := route(control.RouteID(fmt.Sprint("rte_", i)))
				r.Path = fmt.Sprint("/", i)
				all = append(all, r)
			}
			if err := l.Apply(context.Background(), all...); err != nil {
				b.Fatal(err)
			}
			l.OnChange(func(*Changes) {})
			busy, i := cpu(b), 0
			b.ReportAllocs()
			for b.Loop() {
				r := *all[1+i%n].(*control.Route)
				r.Name = fmt.Sprint("changed ", i)
				i++
				if err := l.Apply(context.Background(), &r); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((cpu(b)-busy).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}
