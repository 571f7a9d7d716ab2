package ledger

import (
	"context"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
)

// All live grants of an app for a product pay; one that is suspended does not.
func TestSeveralGrants(t *testing.T) {
	l := fresh(t)
	for _, id := range []string{"a", "b", "c"} {
		tellAll(t, l, &control.Grant{ID: control.GrantID("grt_" + id), App: "app_a", Product: "prd_a", Live: id != "b"},
			&control.Package{ID: control.PackageID("pkg_" + id), Grant: control.GrantID("grt_" + id), Calls: 1, From: noon, Live: true})
	}
	n, err := l.Begin(t.Context(), "node")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []control.GrantID{"grt_a", "grt_c"} {
		got, v, err := l.Lease(t.Context(), n, "app_a", "prd_a", 16, nil)
		if err != nil || v != Leased || got.Grant != want {
			t.Errorf("leased of %q, %d, %v; want %s", got.Grant, v, err, want)
		}
	}
	if _, v, err := l.Lease(t.Context(), n, "app_a", "prd_a", 16, nil); err != nil || v != UsedUp {
		t.Errorf("at the end: %d, %v", v, err)
	}
	sound(t, l)
}

// A lease takes what is wanted, at most half of what is there, and single units at the end.
func TestLeasesShrink(t *testing.T) {
	l := fresh(t)
	tellAll(t, l, &control.Grant{ID: "grt_a", App: "app_a", Product: "prd_a", Live: true},
		&control.Package{ID: "pkg_a", Grant: "grt_a", Calls: 50, From: noon, Live: true})
	n, err := l.Begin(t.Context(), "node")
	if err != nil {
		t.Fatal(err)
	}
	var next int64
	for _, size := range []int64{16, 16, 9, 4, 2, 1, 1, 1} {
		got, v, err := l.Lease(t.Context(), n, "app_a", "prd_a", 16, nil)
		if err != nil || v != Leased || got.Lo != next || got.Hi != next+size {
			t.Fatalf("leased %d to %d, %d, %v; want %d from %d", got.Lo, got.Hi, v, err, size, next)
		}
		next = got.Hi
	}
	if _, v, err := l.Lease(t.Context(), n, "app_a", "prd_a", 16, nil); err != nil || v != UsedUp {
		t.Errorf("at the end: %d, %v", v, err)
	}
	sound(t, l)
}

// MET-01, OPR-01, API-14: the figures of packages, in the order of deduction. What the node
// has counted and not booked yet is in them.
func TestBalances(t *testing.T) {
	l := fresh(t)
	tellAll(t, l, &control.Grant{ID: "grt_a", App: "app_a", Product: "prd_a", Live: true})
	add := func(id control.PackageID, from, until time.Time) {
		tellAll(t, l, &control.Package{ID: id, Grant: "grt_a", Calls: 10, From: from, Until: until, Live: true})
	}
	add("pkg_forever", noon.Add(-time.Hour), time.Time{})
	add("pkg_late", noon.Add(-time.Hour), noon.Add(2*time.Hour))
	add("pkg_second", noon, noon.Add(time.Hour))
	add("pkg_first", noon.Add(-time.Minute), noon.Add(time.Hour))
	n, err := l.Begin(t.Context(), "node")
	if err != nil {
		t.Fatal(err)
	}
	lease, _, err := l.Lease(t.Context(), n, "app_a", "prd_a", 4, nil)
	if err != nil || lease.Package != "pkg_first" {
		t.Fatalf("leased %+v, %v", lease, err)
	}
	held := map[control.PackageID]int64{"pkg_first": 1}
	l.Spend(func(p control.PackageID) int64 { return held[p] }, func(ctx context.Context) error {
		return l.Book(ctx, []Entry{entry("pkg_first", 0, lease.ID, control.Charged, noon),
			entry("pkg_first", 1, lease.ID, control.Charged, noon.Add(time.Second))}, nil)
	})
	list, err := l.Balances(t.Context(), "grt_a")
	if err != nil {
		t.Fatal(err)
	}
	want := []control.PackageID{"pkg_first", "pkg_second", "pkg_late", "pkg_forever"}
	for i, b := range list {
		if len(list) != len(want) || b.Package != want[i] {
			t.Fatalf("package %d of %d is %s, want %s", i, len(list), b.Package, want[i])
		}
		if b.Total != b.Used+b.Held+b.Remaining {
			t.Errorf("%+v does not add up", b)
		}
	}
	if f := list[0]; f.Total != 10 || f.Used != 2 || f.Held != 1 || f.Remaining != 7 || !f.LastCall.Equal(noon.Add(time.Second)) {
		t.Errorf("pkg_first: %+v", f)
	}
	sound(t, l)
}
