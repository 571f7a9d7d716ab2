package ledger

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
	"github.com/souk-market/souk/gateway/storage/sqlite"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func key(b byte) []byte {
	k := sha256.Sum256([]byte{b})
	return k[:]
}

// file opens a database file, and closes it with the test.
func file(t testing.TB, path string) *storage.DB {
	t.Helper()
	db, err := sqlite.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func on(t testing.TB, db *storage.DB) *Ledger {
	t.Helper()
	l, err := Open(t.Context(), Options{DB: db, MasterKey: key(1), Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func fresh(t testing.TB) *Ledger {
	t.Helper()
	return on(t, file(t, filepath.Join(t.TempDir(), "gateway.db")))
}

func tellAll(t testing.TB, l *Ledger, changes ...control.Change) {
	t.Helper()
	if err := l.Apply(t.Context(), changes...); err != nil {
		t.Fatal(err)
	}
}

func group(id control.GroupID, domains ...string) *control.Group {
	return &control.Group{ID: id, Domains: domains, Live: true}
}

func route(id control.RouteID) *control.Route {
	return &control.Route{ID: id, Group: "grp_a", Product: "prd_a", Method: "GET", Path: "/a", Upstream: "https://seller.test", Live: true}
}

// A change that contradicts itself is refused with the reason, and takes the others with it.
func TestApplyIsAllOrNone(t *testing.T) {
	l := fresh(t)
	tellAll(t, l, group("grp_a", "a.test"), &control.Grant{ID: "grt_a", App: "app_a", Product: "prd_a", Live: true},
		&control.Package{ID: "pkg_a", Grant: "grt_a", Calls: 5, From: noon, Live: true})
	with := func(f func(*control.Route)) *control.Route {
		r := route("rte_a")
		f(r)
		return r
	}
	for _, c := range []struct {
		bad  control.Change
		want error
		word string
	}{
		{&control.Group{Domains: []string{"b.test"}}, control.ErrInvalid, "group"},
		{&control.Group{ID: "grp_b"}, control.ErrInvalid, "domain"},
		{group("grp_b", "B.test"), control.ErrInvalid, "B.test"},
		{group("grp_b", "b.test:80"), control.ErrInvalid, "b.test:80"},
		{group("grp_b", "a.test"), control.ErrConflict, "a.test"},
		{with(func(r *control.Route) { r.ID = "" }), control.ErrInvalid, "route"},
		{with(func(r *control.Route) { r.Product = "" }), control.ErrInvalid, "product"},
		{with(func(r *control.Route) { r.Method = "get" }), control.ErrInvalid, "method"},
		{with(func(r *control.Route) { r.Path = "a" }), control.ErrInvalid, "path"},
		{with(func(r *control.Route) { r.Upstream = "ftp://seller.test" }), control.ErrInvalid, "upstream"},
		{with(func(r *control.Route) { r.Upstream = "https://" }), control.ErrInvalid, "upstream"},
		{with(func(r *control.Route) { r.Timeout = -1 }), control.ErrInvalid, "bound"},
		{&control.App{ID: "app_nobody"}, control.ErrMissing, "app_nobody"},
		{&control.Grant{ID: "grt_b", App: "app_a"}, control.ErrInvalid, "product"},
		{&control.Package{ID: "pkg_b", Grant: "grt_a"}, control.ErrInvalid, "calls"},
		{&control.Package{ID: "pkg_b", Grant: "grt_nobody", Calls: 1}, control.ErrInvalid, "grt_nobody"},
		{&control.Package{ID: "pkg_b", Grant: "grt_a", Calls: 1, From: noon, Until: noon}, control.ErrInvalid, "ends"},
		{&control.Package{ID: "pkg_a", Grant: "grt_a", Calls: 6, From: noon}, control.ErrInvalid, "5 calls"},
	} {
		err := l.Apply(t.Context(), route("rte_new"), c.bad)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%+v: %v; want %v that says %q", c.bad, err, c.want, c.word)
		}
		if s := l.Snapshot(); len(s.Routes) != 0 || len(s.Groups) != 1 {
			t.Fatalf("%+v left %d routes and %d groups", c.bad, len(s.Routes), len(s.Groups))
		}
	}
}

// What is so already changes nothing, and nobody is told of it.
func TestApplyAgain(t *testing.T) {
	l := fresh(t)
	told := 0
	l.OnChange(func(n *Changes) {
		if !n.All {
			told++
		}
	})
	all := []control.Change{group("grp_a", "a.test", "b.test"), route("rte_a"), &control.Grant{ID: "grt_a", App: "app_a", Product: "prd_a", Live: true},
		&control.Package{ID: "pkg_a", Grant: "grt_a", Calls: 5, From: noon, Live: true}}
	tellAll(t, l, all...)
	first := l.Snapshot()
	for range 3 {
		tellAll(t, l, all...)
	}
	if told != 1 || l.Snapshot() != first {
		t.Errorf("told %d times of one change", told)
	}
	b, err := l.Balances(t.Context(), "grt_a", "grt_nobody")
	if err != nil || len(b) != 1 || b[0].Total != 5 || b[0].Remaining != 5 {
		t.Errorf("balances %+v, %v", b, err)
	}
	// A domain that a group gives up is free.
	tellAll(t, l, group("grp_a", "a.test"), group("grp_b", "b.test"))
}

// Another process on the same database sees what was changed, and nothing twice.
func TestAnotherProcessFollows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gateway.db")
	console, node := on(t, file(t, path)), on(t, file(t, path))
	var tables int
	var grants []control.ProductID
	node.OnChange(func(n *Changes) {
		if !n.All {
			tables++
		}
	})
	node.OnGrant(func(_ control.AppID, p control.ProductID) { grants = append(grants, p) })
	tellAll(t, console, group("grp_a", "a.test"), route("rte_a"), &control.Grant{ID: "grt_a", App: "app_a", Product: "prd_a", Live: true})
	c, err := console.CreateApp(t.Context(), control.App{ID: "app_a", Name: "a", Live: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := node.ByKey([]byte(c.AppKey)); ok || len(node.Snapshot().Routes) != 0 {
		t.Fatal("it was known before it was read")
	}
	for range 2 {
		if err := node.follow(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if tables != 1 || !reflect.DeepEqual(grants, []control.ProductID{"prd_a"}) || len(node.Snapshot().Routes) != 1 {
		t.Errorf("%d tables, grants %v", tables, grants)
	}
	if a, ok := node.ByCode([]byte(c.AppCode)); !ok || a.ID != "app_a" || a.Key != c.AppKey || string(a.Secret) != c.AppSecret {
		t.Errorf("the app is not known: %+v", a)
	}
	fresh, err := console.ResetSecret(t.Context(), "app_a")
	if err != nil {
		t.Fatal(err)
	}
	if err := node.follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a, _ := node.ByKey([]byte(c.AppKey)); string(a.Secret) != fresh.AppSecret {
		t.Error("the old secret is still the one")
	}
	// A process that starts later begins with all of it.
	late := on(t, file(t, path))
	if _, ok := late.ByKey([]byte(c.AppKey)); !ok || len(late.Snapshot().Groups) != 1 || len(late.Snapshot().Routes) != 1 {
		t.Error("a later process does not know what there is")
	}
}

// Watch ends with its context and sees what comes meanwhile.
func TestWatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gateway.db")
	console, node := on(t, file(t, path)), on(t, file(t, path))
	seen := make(chan struct{}, 1)
	node.OnChange(func(n *Changes) {
		if !n.All {
			seen <- struct{}{}
		}
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); node.Watch(ctx) }()
	began := time.Now()
	tellAll(t, console, group("grp_a", "a.test"))
	<-seen
	if took := time.Since(began); took > time.Second {
		t.Errorf("a change took %v to another process, want under a second", took)
	}
	stop()
	<-done
}

// Credentials are made once, shown as often as asked, and replaced one by one. API-02, GWC-05.
func TestCredentials(t *testing.T) {
	l := fresh(t)
	if _, err := l.Credentials(t.Context(), "app_a"); !errors.Is(err, control.ErrMissing) {
		t.Errorf("of nobody: %v", err)
	}
	if _, err := l.ResetCode(t.Context(), "app_a"); !errors.Is(err, control.ErrMissing) {
		t.Errorf("reset of nobody: %v", err)
	}
	first, err := l.CreateApp(t.Context(), control.App{ID: "app_a", Name: "a", Live: true})
	if err != nil {
		t.Fatal(err)
	}
	again, err := l.CreateApp(t.Context(), control.App{ID: "app_a", Name: "b", Live: true})
	if err != nil || again != first {
		t.Errorf("made again: %+v, %v; want %+v", again, err, first)
	}
	secret, err := l.ResetSecret(t.Context(), "app_a")
	if err != nil || secret.AppSecret == first.AppSecret || secret.AppKey != first.AppKey || secret.AppCode != first.AppCode {
		t.Errorf("after a reset of the secret: %+v, %v", secret, err)
	}
	code, err := l.ResetCode(t.Context(), "app_a")
	if err != nil || code.AppCode == first.AppCode || code.AppSecret != secret.AppSecret || code.AppKey != first.AppKey {
		t.Errorf("after a reset of the code: %+v, %v", code, err)
	}
	if _, ok := l.ByCode([]byte(first.AppCode)); ok {
		t.Error("the old code still works")
	}
	if a, ok := l.ByCode([]byte(code.AppCode)); !ok || !a.Live {
		t.Error("the new code does not work")
	}
	tellAll(t, l, &control.App{ID: "app_a", Name: "b"})
	if a, ok := l.ByKey([]byte(first.AppKey)); !ok || a.Live {
		t.Error("an app that was switched off is live")
	}
}

// requestOf is an ID that tells an entry from others, and has its time in it.
func requestOf(pkg control.PackageID, serial int64, outcome control.Outcome, at time.Time) control.RequestID {
	id := control.RequestID(md5.Sum(fmt.Appendf(nil, "%s %d %s", pkg, serial, outcome)))
	binary.BigEndian.PutUint64(id[:8], uint64(at.UnixMilli())<<16|7<<12|uint64(serial)&0xFFF)
	return id
}

func entry(pkg control.PackageID, serial, lease int64, outcome control.Outcome, at time.Time) Entry {
	e := Entry{Lease: lease, CallRecord: control.CallRecord{Request: requestOf(pkg, serial, outcome, at), At: at, App: "app_a", Product: "prd_a",
		Route: "rte_a", Serial: -1, Method: "GET", Path: "/a", Status: 200, Outcome: outcome, Took: 3 * time.Millisecond}}
	switch outcome {
	case control.Charged:
		e.Grant, e.Package, e.Serial = "grt_a", pkg, serial
	case control.Refused:
		e.Status, e.Code = 403, "B403MQ"
	}
	return e
}

// stocked is a ledger with a package of 100 calls, a node and a lease of the first ten.
func stocked(t testing.TB) (*Ledger, Node, Lease) {
	t.Helper()
	l := fresh(t)
	tellAll(t, l, &control.Grant{ID: "grt_a", App: "app_a", Product: "prd_a", Live: true},
		&control.Package{ID: "pkg_a", Grant: "grt_a", Calls: 100, From: noon, Live: true})
	n, err := l.Begin(t.Context(), "node")
	if err != nil {
		t.Fatal(err)
	}
	lease, verdict, err := l.Lease(t.Context(), n, "app_a", "prd_a", 10, nil)
	if err != nil || verdict != Leased || lease.Lo != 0 || lease.Hi != 10 {
		t.Fatalf("%+v, %d, %v", lease, verdict, err)
	}
	return l, n, lease
}

func sound(t testing.TB, l *Ledger) {
	t.Helper()
	if faults, err := l.Audit(t.Context()); err != nil || len(faults) > 0 {
		t.Errorf("the ledger does not agree with itself: %v, %v", faults, err)
	}
}

// A spool that is booked again counts nothing again. M2.
func TestBookedOnce(t *testing.T) {
	l, _, lease := stocked(t)
	var all []Entry
	for i := range int64(4) {
		all = append(all, entry("pkg_a", i, lease.ID, control.Charged, noon.Add(time.Duration(i)*time.Second)))
	}
	for n := range 5 { // a part of it, all of it, and all of it again
		if err := l.Book(t.Context(), all[:min(n+1, len(all))], nil); err != nil {
			t.Fatal(err)
		}
	}
	b, err := l.Balances(t.Context(), "grt_a")
	if err != nil || b[0].Used != 4 || b[0].Remaining != 96 || !b[0].LastCall.Equal(noon.Add(3*time.Second)) {
		t.Errorf("%+v, %v", b, err)
	}
	calls, err := l.Calls(t.Context(), control.CallFilter{})
	if err != nil || len(calls) != 4 {
		t.Errorf("%d records, %v", len(calls), err)
	}
	sound(t, l)
}

// The next incarnation gives back what the last one had leased and not charged. M7.
func TestBeginGivesBack(t *testing.T) {
	l, n, lease := stocked(t)
	if err := l.Book(t.Context(), []Entry{entry("pkg_a", 3, lease.ID, control.Charged, noon)}, nil); err != nil {
		t.Fatal(err)
	}
	if err := l.Credit(t.Context(), Credit{Lease: lease.ID, Package: "pkg_a", Units: 2}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // recovery may be killed, and come again
		next, err := l.Begin(t.Context(), "node")
		if err != nil || next.Incarnation <= n.Incarnation {
			t.Fatalf("%+v after %+v, %v", next, n, err)
		}
		n = next
	}
	sound(t, l)
	var units int64
	for {
		got, verdict, err := l.Lease(t.Context(), n, "app_a", "prd_a", 1000, nil)
		if err != nil {
			t.Fatal(err)
		}
		if verdict != Leased {
			break
		}
		if got.Lo < lease.Hi {
			t.Errorf("the range %d to %d goes out again", got.Lo, got.Hi)
		}
		units += got.Hi - got.Lo
	}
	if units != 99 {
		t.Errorf("%d units went out, want the 99 that were not charged", units)
	}
	sound(t, l)
}

// No serial beyond what was granted can be written, whatever asks for it. M1.
func TestNothingBeyondWhatWasGranted(t *testing.T) {
	l, _, lease := stocked(t)
	for _, c := range []struct{ why, statement string }{
		{"a range beyond the end", `UPDATE gw_package SET next = granted + credited + 1`},
		{"more credit than went out", `UPDATE gw_package SET credited = next + 1`},
		{"a lease that is overdrawn", `UPDATE gw_lease SET remaining = -1`},
	} {
		err := l.db.Load().Tx(t.Context(), func(tx *storage.Tx) error { _, err := tx.Exec(t.Context(), c.statement); return err })
		if err == nil {
			t.Errorf("%s was taken", c.why)
		}
	}
	if err := l.Credit(t.Context(), Credit{Lease: lease.ID, Package: "pkg_a", Units: 11}); err == nil {
		t.Error("eleven of ten came back")
	}
	sound(t, l)
}

// A reader that adds up what it was given has the sums, whatever its steps.
func TestUsageAddsUp(t *testing.T) {
	l, _, lease := stocked(t)
	want := map[control.Outcome]int64{}
	for i := range int64(9) {
		at := noon.Add(time.Duration(i) * 20 * time.Second)
		outcome := []control.Outcome{control.Charged, control.Free, control.Refused}[i%3]
		want[outcome]++
		if err := l.Book(t.Context(), []Entry{entry("pkg_a", i, lease.ID, outcome, at)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []int{1, 2, 100} {
		got, micros := map[control.Outcome]int64{}, int64(0)
		var at control.Cursor
		for {
			rows, next, err := l.Usage(t.Context(), at, step)
			if err != nil {
				t.Fatal(err)
			}
			if len(rows) == 0 {
				if next != at {
					t.Errorf("the cursor moved from %d to %d with nothing read", at, next)
				}
				break
			}
			for _, u := range rows {
				got[u.Outcome] += u.Calls
				micros += u.Micros
				if !u.Minute.Equal(u.Minute.Truncate(time.Minute)) || u.App != "app_a" || u.Product != "prd_a" || u.Route != "rte_a" {
					t.Errorf("row %+v", u)
				}
				switch {
				case u.Outcome == control.Charged && (u.Grant != "grt_a" || u.Package != "pkg_a" || u.Code != "2xx"),
					u.Outcome == control.Refused && (u.Package != "" || u.Code != "B403MQ"):
					t.Errorf("row %+v", u)
				}
			}
			at = next
		}
		if !reflect.DeepEqual(got, want) || micros != 9*3000 {
			t.Errorf("by %d: %v and %d us, want %v", step, got, micros, want)
		}
	}
	sound(t, l)
}

// Records of calls are found by each of their names, newest first, and old ones go.
func TestCalls(t *testing.T) {
	l, _, lease := stocked(t)
	now := noon
	l.now = func() time.Time { return now }
	for i := range int64(6) {
		e := entry("pkg_a", i, lease.ID, control.Charged, noon.Add(time.Duration(i)*24*time.Hour))
		if i == 5 {
			e = entry("", 0, 0, control.Refused, noon.Add(5*24*time.Hour))
		}
		if err := l.Book(t.Context(), []Entry{e}, nil); err != nil {
			t.Fatal(err)
		}
	}
	find := func(want int, f control.CallFilter) []control.CallRecord {
		t.Helper()
		list, err := l.Calls(t.Context(), f)
		if err != nil || len(list) != want {
			t.Errorf("%+v: %d, %v; want %d", f, len(list), err, want)
		}
		return list
	}
	all := find(6, control.CallFilter{})
	for i, c := range all {
		if i > 0 && c.At.After(all[i-1].At) {
			t.Error("not the newest first")
		}
	}
	if got, want := all[1], entry("pkg_a", 4, 0, control.Charged, noon.Add(4*24*time.Hour)).CallRecord; got != want {
		t.Errorf("read back\n%+v, want\n%+v", got, want)
	}
	find(2, control.CallFilter{Max: 2})
	find(6, control.CallFilter{App: "app_a", Product: "prd_a"})
	find(5, control.CallFilter{Grant: "grt_a"})
	find(5, control.CallFilter{Package: "pkg_a"})
	find(1, control.CallFilter{Request: requestOf("pkg_a", 3, control.Charged, noon.Add(3*24*time.Hour))})
	find(0, control.CallFilter{App: "app_b"})
	now = noon.Add(9*24*time.Hour + time.Minute)
	if err := l.Trim(t.Context()); err != nil {
		t.Fatal(err)
	}
	find(3, control.CallFilter{}) // of the last seven days
	sound(t, l)                   // the sums stay
}
