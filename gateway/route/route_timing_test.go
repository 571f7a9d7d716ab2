package route

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
)

// BenchmarkPass finds one of many routes: always the same, and any.
func BenchmarkPass(b *testing.B) {
	for _, n := range []int{10, 1000, 100_000} {
		for _, each := range []int{10, 10_000} {
			if each > n && each != 10 {
				continue
			}
			groups, routes := market(n, each)
			var table Table
			table.Build(groups, routes, nil)
			for _, hot := range []bool{true, false} {
				b.Run(fmt.Sprintf("%d routes/%d a group/hot %v", n, each, hot), func(b *testing.B) {
					calls := make([]*gate.Call, 1024)
					for i := range calls {
						k := rand.IntN(n)
						if hot {
							k = n / 2
						}
						calls[i] = call(domain(k/each), "", "GET", fmt.Sprintf("/v1/interface-%d/7", k))
						calls[i].Params = make([]gate.Param, 0, 2)
					}
					b.ReportAllocs()
					i := 0
					for b.Loop() {
						if err := table.Pass(calls[i&1023]); err != nil {
							b.Fatal(err)
						}
						i++
					}
				})
			}
		}
	}
}

// BenchmarkUpdate publishes one changed route among many.
func BenchmarkUpdate(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		for _, each := range []int{10, 10_000} {
			if each > n {
				continue
			}
			groups, routes := market(n, each)
			var table Table
			table.Build(groups, routes, nil)
			b.Run(fmt.Sprintf("%d routes/%d a group", n, each), func(b *testing.B) {
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					r := *routes[i%n]
					table.Update(nil, []*control.Route{&r}, nil)
					i += 7919
				}
			})
		}
	}
}

// BenchmarkBuild builds a table of 100 000 routes.
func BenchmarkBuild(b *testing.B) {
	groups, routes := market(100_000, 10)
	for b.Loop() {
		var table Table
		table.Build(groups, routes, nil)
	}
}
