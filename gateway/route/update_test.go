package route

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
)

// A trie is the map that it stands for, whatever was put in and taken out, also where all
// hashes meet; and an older one stays what it was.
func TestTrieIsAMap(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var now trie[int]
	want := map[string]int{}
	type past struct {
		trie[int]
		want map[string]int
	}
	var pasts []past
	agree := func(tr trie[int], want map[string]int) {
		t.Helper()
		for k := range 300 {
			key := fmt.Sprint("k", k)
			got, ok := tr.get([]byte(key))
			if v, is := want[key]; ok != is || got != v {
				t.Fatalf("%s is %d, %v; want %d, %v", key, got, ok, v, is)
			}
		}
		if tr.empty() != (len(want) == 0) {
			t.Fatalf("empty: %v with %d keys", tr.empty(), len(want))
		}
	}
	for i := range 5000 {
		key := fmt.Sprint("k", random.IntN(300))
		if random.IntN(2) == 0 || i < 200 {
			now, want[key] = now.with(key, i), i
		} else {
			now = now.without(key)
			delete(want, key)
		}
		if i%500 == 0 {
			pasts = append(pasts, past{now, maps.Clone(want)})
			agree(now, want)
		}
	}
	for _, p := range pasts {
		agree(p.trie, p.want)
	}
	for key := range want {
		now = now.without(key)
	}
	agree(now, nil)
	// Keys of one hash stand beside each other.
	var b *branch[int]
	for i, key := range []string{"a", "b", "c", "b"} {
		b = b.with(kid[int]{key: key, value: i}, 7, hashBits)
	}
	for key, want := range map[string]int{"a": 0, "b": 3, "c": 2} {
		if got, ok := (trie[int]{b}).get([]byte(key)); !ok || got != want {
			t.Errorf("%s is %d, %v; want %d", key, got, ok, want)
		}
	}
	if b = b.without("b", 7, hashBits).without("x", 7, hashBits).without("a", 7, hashBits); len(b.kids) != 1 || b.kids[0].key != "c" {
		t.Errorf("without two there is %+v", b)
	}
	if b = b.without("c", 7, hashBits); b != nil {
		t.Errorf("without all there is %+v", b)
	}
}

// way asks for a path and says which route serves it, or the code of the refusal.
func (t *Table) way(host, method, path string) string {
	c := call(host, "", method, path)
	var refusal *gate.Refusal
	if err := t.Pass(c); errors.As(err, &refusal) {
		return refusal.Code
	}
	return fmt.Sprint(c.Route.ID, " ", c.Route.Name, " ", c.Group.Name)
}

// Any history of updates leaves the table that building it from scratch gives. C1.
func TestUpdatesAreABuild(t *testing.T) {
	paths := []string{"/", "/a", "/a/b", "/a/[x]", "/a/[y]/c", "/[*]", "/a/[*]", "/%61", "/a/b/c", "/z/"}
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 3))
		groups, routes := map[control.GroupID]*control.Group{}, map[control.RouteID]*control.Route{}
		taken := map[string]control.RouteID{} // one route to a place, as otherwise either may serve
		var live Table
		live.Update(nil, nil, nil)
		for i := range 300 {
			var gs []*control.Group
			var rs []*control.Route
			for range 1 + random.IntN(3) {
				if random.IntN(4) == 0 {
					n := random.IntN(4)
					g := &control.Group{ID: control.GroupID(fmt.Sprint("grp_", n)), Name: fmt.Sprint("g", i), Live: random.IntN(4) > 0}
					for d := range 3 {
						if random.IntN(2) == 0 {
							g.Domains = append(g.Domains, fmt.Sprintf("d%d.g%d.test", d, n))
						}
					}
					groups[g.ID], gs = g, append(gs, g)
					continue
				}
				r := &control.Route{ID: control.RouteID(fmt.Sprint("rte_", random.IntN(12))), Group: control.GroupID(fmt.Sprint("grp_", random.IntN(4))),
					Name: fmt.Sprint("r", i), Method: []string{"GET", "POST", "ANY"}[random.IntN(3)], Path: paths[random.IntN(len(paths))], Live: random.IntN(5) > 0}
				place := fmt.Sprint(r.Group, r.Method, strings.ReplaceAll(r.Path, "%61", "a"))
				if id, ok := taken[place]; ok && id != r.ID {
					continue
				}
				maps.DeleteFunc(taken, func(_ string, id control.RouteID) bool { return id == r.ID })
				taken[place] = r.ID
				routes[r.ID], rs = r, append(rs, r)
			}
			live.Update(gs, rs, nil)
		}
		var built Table
		built.Build(slices.Collect(maps.Values(groups)), slices.Collect(maps.Values(routes)), nil)
		for n := range 4 {
			for d := range 3 {
				host := fmt.Sprintf("d%d.g%d.test", d, n)
				for _, m := range []string{"GET", "POST", "PUT"} {
					for _, p := range append(paths, "/a/q/c", "/q/r", "/a/q") {
						if got, want := live.way(host, m, p), built.way(host, m, p); got != want {
							t.Fatalf("seed %d: %s %s%s leads to %q, want %q", seed, m, host, p, got, want)
						}
					}
				}
			}
		}
		// What is taken out leaves nothing behind (C2).
		var off []*control.Route
		for _, r := range routes {
			gone := *r
			gone.Live = false
			off = append(off, &gone)
		}
		live.Update(nil, off, nil)
		for _, m := range live.groups {
			if m.now != nil && m.now.stages != [3]*node{} {
				t.Fatal("a group without routes has a tree")
			}
		}
	}
}

// A domain that goes from one group to another in one update is the other's.
func TestADomainMoves(t *testing.T) {
	var table Table
	r := func(g control.GroupID) *control.Route {
		return &control.Route{ID: control.RouteID("rte_" + g), Group: g, Method: "GET", Path: "/", Live: true}
	}
	table.Build([]*control.Group{{ID: "a", Domains: []string{"x.test"}, Live: true}, {ID: "b", Domains: []string{"y.test"}, Live: true}}, []*control.Route{r("a"), r("b")}, nil)
	for range 20 { // whichever the map of groups gives first
		table.Update([]*control.Group{{ID: "a", Domains: []string{"y.test"}, Live: true}, {ID: "b", Domains: []string{"x.test"}, Live: true}}, nil, nil)
		if x, y := table.way("x.test", "GET", "/"), table.way("y.test", "GET", "/"); !strings.HasPrefix(x, "rte_b") || !strings.HasPrefix(y, "rte_a") {
			t.Fatalf("x leads to %s, y to %s", x, y)
		}
		table.Update([]*control.Group{{ID: "a", Domains: []string{"x.test"}, Live: true}, {ID: "b", Domains: []string{"y.test"}, Live: true}}, nil, nil)
	}
}

// market is so many routes, ten to a group or all in one, as a console makes them.
func market(n, each int) (groups []*control.Group, routes []*control.Route) {
	for i := range n {
		g := control.GroupID(fmt.Sprintf("grp_%016d", i/each))
		if i%each == 0 {
			groups = append(groups, &control.Group{ID: g, Name: "a group", Domains: []string{domain(i / each)}, Live: true})
		}
		routes = append(routes, &control.Route{ID: control.RouteID(fmt.Sprintf("rte_%016d", i)), Group: g, Product: control.ProductID(fmt.Sprintf("prd_%016d", i)),
			Name: fmt.Sprintf("interface %d", i), Method: "GET", Path: fmt.Sprintf("/v1/interface-%d/[id]", i), Upstream: fmt.Sprintf("https://seller-%d.test/base", i/each), Live: true})
	}
	return groups, routes
}

func domain(i int) string { return fmt.Sprintf("api-%d.market.test", i) }

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// C10: a route takes at most 4 KiB, with all that is known of it; and 10 000 changes of
// routes leave the memory as it was (C2).
func TestMemoryOfRoutes(t *testing.T) {
	for _, each := range []int{10, 10_000} {
		const n = 20_000
		before := heap()
		groups, routes := market(n, each)
		var table Table
		table.Build(groups, routes, nil)
		after := heap()
		if each := (after - before) / n; each > 4096 {
			t.Errorf("%d bytes a route, 4096 are allowed", each)
		} else {
			t.Logf("%d bytes a route", each)
		}
		for i := range 10_000 {
			r := *routes[i]
			r.Name = "changed"
			routes[i] = &r
			table.Update(nil, routes[i:i+1], nil)
		}
		if now := heap(); now > after+(after-before)/50 {
			t.Errorf("%d bytes before the changes, %d after them", after, now)
		}
		runtime.KeepAlive(&table)
	}
}
