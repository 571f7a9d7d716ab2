package ledger

import (
	"errors"
	"testing"

	"github.com/souk-market/souk/gateway/control"
)

func changes(t testing.TB, l *Ledger) (n int64) {
	t.Helper()
	if err := l.db.Load().Read().QueryRow(t.Context(), `SELECT COALESCE(MAX(number), 0) FROM gw_change`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// To apply what is so already writes no change, so that no process forgets what is warm.
func TestApplyAgainNumbersNothing(t *testing.T) {
	l := fresh(t)
	if _, err := l.CreateApp(t.Context(), control.App{ID: "app_a", Name: "mine", Live: true}); err != nil {
		t.Fatal(err)
	}
	all := []control.Change{group("grp_a", "a.test"), route("rte_a"), &control.App{ID: "app_a", Name: "mine", Live: true},
		&control.Grant{ID: "grt_a", App: "app_a", Product: "prd_a", Live: true},
		&control.Package{ID: "pkg_a", Grant: "grt_a", Calls: 5, From: noon, Live: true}}
	tellAll(t, l, all...)
	n := changes(t, l)
	l.OnGrant(func(control.AppID, control.ProductID) { t.Error("told of a grant that is what it was") })
	tellAll(t, l, all...)
	if got := changes(t, l); got != n {
		t.Errorf("the feed went from %d to %d", n, got)
	}
}

// A route with a word that the gateway does not know is refused, not misread.
func TestUnknownWordsOfARoute(t *testing.T) {
	l := fresh(t)
	for name, f := range map[string]func(*control.Route){
		"stage":         func(r *control.Route) { r.Stage = "BETA" },
		"app_code":      func(r *control.Route) { r.AppCode = "COOKIE" },
		"charge":        func(r *control.Route) { r.Charge = "always" },
		"upstream_path": func(r *control.Route) { r.UpstreamPath = "now" },
	} {
		r := route("rte_a")
		f(r)
		if err := l.Apply(t.Context(), r); !errors.Is(err, control.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A grant that goes to another app is told of where it was, too: what is open there must
// not be spent on. Both processes hear of it.
func TestAGrantThatMoves(t *testing.T) {
	l := fresh(t)
	g := control.Grant{ID: "grt_a", App: "app_a", Product: "prd_a", Live: true}
	tellAll(t, l, &g)
	told := map[control.AppID]int{}
	l.OnGrant(func(a control.AppID, _ control.ProductID) { told[a]++ })
	moved := g
	moved.App = "app_b"
	tellAll(t, l, &moved)
	if told["app_a"] != 1 || told["app_b"] != 1 {
		t.Errorf("told of %v, want of app_a and app_b", told)
	}
}
