package ledger

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
)

// A database of the first version keeps its charged calls and its records. What was charged
// there is not charged again by a spool that lay beside it.
func TestRowsBecomeBitsAndBlocks(t *testing.T) {
	db := file(t, filepath.Join(t.TempDir(), "gateway.db"))
	first, err := fs.ReadFile(Schema(), "0001_gateway.sql")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context(), "gateway", fstest.MapFS{"0001_gateway.sql": {Data: first}}); err != nil {
		t.Fatal(err)
	}
	err = db.Tx(t.Context(), func(tx *storage.Tx) error {
		run := func(query string, args ...any) {
			t.Helper()
			if _, err := tx.Exec(t.Context(), query, args...); err != nil {
				t.Fatal(err)
			}
		}
		run(`INSERT INTO gw_grant (id, app, product, live) VALUES ('grt_a', 'app_a', 'prd_a', 1)`)
		run(`INSERT INTO gw_package (id, grant_id, granted, next, credited, charged, start, until, live) VALUES ('pkg_a', 'grt_a', 100, 30, 3, 23, 0, 0, 1)`)
		run(`INSERT INTO gw_lease (id, package, node, incarnation, lo, hi, remaining) VALUES (1, 'pkg_a', 'node', 1, 0, 10, 0), (2, 'pkg_a', 'node', 1, 10, 30, 4)`)
		run(`INSERT INTO gw_delta (minute, grant_id, package, app, product, route, outcome, code, calls, micros)
			VALUES (0, 'grt_a', 'pkg_a', 'app_a', 'prd_a', 'rte_a', 'charged', '2xx', 23, 1)`)
		for i := range 23 {
			lease := 1
			if i >= 10 {
				lease = 2
			}
			run(`INSERT INTO gw_usage (package, serial, lease, at, request) VALUES ('pkg_a', ?, ?, 0, '')`, i, lease)
			run(`INSERT INTO gw_call (request, at, app, product, route, grant_id, package, serial, method, path, status, code, outcome, micros)
				VALUES (?, ?, 'app_a', 'prd_a', 'rte_a', 'grt_a', 'pkg_a', ?, 'GET', '/a', 200, '', 'charged', 3000)`,
				fmt.Sprintf("6F9619FF-8B86-4011-B42D-00C04FC964%02X", i), noon.UnixMilli()+int64(i), i)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	l := on(t, db)
	sound(t, l)
	calls, err := l.Calls(t.Context(), control.CallFilter{})
	if err != nil || len(calls) != 23 || calls[0].Serial != 22 {
		t.Fatalf("%d records, %v", len(calls), err)
	}
	id, err := control.ParseRequestID("6F9619FF-8B86-4011-B42D-00C04FC96407")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := l.Calls(t.Context(), control.CallFilter{Request: id}); err != nil || len(got) != 1 || got[0].Serial != 7 {
		t.Errorf("by its ID: %+v, %v", got, err)
	}
	var again []Entry
	for i := range int64(24) {
		lease := int64(1)
		if i >= 10 {
			lease = 2
		}
		again = append(again, entry("pkg_a", i, lease, control.Charged, noon))
	}
	if err := l.Book(t.Context(), again, nil); err != nil {
		t.Fatal(err)
	}
	if b, err := l.Balances(t.Context(), "grt_a"); err != nil || b[0].Used != 24 {
		t.Errorf("%+v, %v; want 24 used, as one was new", b, err)
	}
	sound(t, l)
	if calls, err := l.Calls(t.Context(), control.CallFilter{}); err != nil || len(calls) != 24 {
		t.Fatalf("%d records, %v", len(calls), err)
	}
	sound(t, on(t, db)) // a second start changes nothing
}
