package ledger

import (
	"errors"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
)

// A call of a lease that the ledger never made says that the database is too old, and a
// call beyond its lease is not booked; neither leaves anything.
func TestCallsOfNoLease(t *testing.T) {
	l, _, lease := stocked(t)
	for why, e := range map[string]Entry{
		"no lease":     entry("pkg_a", 0, lease.ID+1, control.Charged, noon),
		"no package":   entry("pkg_x", 0, lease.ID+1, control.Charged, noon),
		"not yet made": entry("pkg_a", 500, 99, control.Charged, noon),
	} {
		free := entry("", 0, 0, control.Free, noon)
		if err := l.Book(t.Context(), []Entry{free, e}, nil); !errors.Is(err, ErrNoLease) {
			t.Errorf("%s: %v", why, err)
		}
	}
	if calls, err := l.Calls(t.Context(), control.CallFilter{}); err != nil || len(calls) != 0 {
		t.Errorf("%d records, %v", len(calls), err)
	}
	sound(t, l)
}

// Records of calls go after a week also where no new ones came; the sums stay.
func TestOldRecordsGoFromAQuietGateway(t *testing.T) {
	l := fresh(t)
	now := noon
	l.now = func() time.Time { return now }
	if err := l.Book(t.Context(), []Entry{entry("", 0, 0, control.Free, noon)}, nil); err != nil {
		t.Fatal(err)
	}
	left := func(want int) {
		t.Helper()
		if err := l.Trim(t.Context()); err != nil {
			t.Fatal(err)
		}
		if calls, err := l.Calls(t.Context(), control.CallFilter{}); err != nil || len(calls) != want {
			t.Errorf("%d records, %v; want %d", len(calls), err, want)
		}
	}
	now = noon.Add(callsFor)
	left(1)
	now = now.Add(time.Millisecond)
	left(0)
	if rows, _, err := l.Usage(t.Context(), 0, 10); err != nil || len(rows) != 1 {
		t.Errorf("%d sums, %v; want the one", len(rows), err)
	}
}

// The audit finds what is wrong.
func TestAuditFinds(t *testing.T) {
	for name, harm := range map[string]string{
		"a charge without a call":        `UPDATE gw_package SET charged = charged + 1, next = next + 1`,
		"a call without a charge":        `UPDATE gw_lease SET used = used + 1, charged = x'03', remaining = remaining - 1`,
		"a bit that was not set":         `UPDATE gw_lease SET charged = x'03'`,
		"a bit that was lost":            `UPDATE gw_lease SET charged = x''`,
		"units that nobody holds":        `UPDATE gw_package SET next = next + 1`,
		"units that came twice":          `UPDATE gw_lease SET remaining = remaining + 1`,
		"a sum that was made up":         `UPDATE gw_delta SET calls = calls + 1`,
		"a serial of no lease":           `UPDATE gw_lease SET charged = x'000040'`,
		"a way back without a charge":    `UPDATE gw_lease SET undone = 1, back = x'02'; UPDATE gw_package SET charged = charged - 1, credited = credited + 1; UPDATE gw_delta SET calls = 0`,
		"a way back that is not counted": `UPDATE gw_lease SET back = x'01'`,
		"a lease of nobody's":            `UPDATE gw_lease SET package = 'pkg_x'`,
		"a lease that was widened":       `UPDATE gw_lease SET hi = hi + 1`,
		"a package that grew less":       `UPDATE gw_package SET granted = 1, next = 12, charged = 2`,
	} {
		t.Run(name, func(t *testing.T) {
			l, _, lease := stocked(t)
			if err := l.Book(t.Context(), []Entry{entry("pkg_a", 0, lease.ID, control.Charged, noon)}, nil); err != nil {
				t.Fatal(err)
			}
			sound(t, l)
			err := l.db.Load().Tx(t.Context(), func(tx *storage.Tx) error {
				if _, err := tx.Exec(t.Context(), `PRAGMA ignore_check_constraints = 1`); err != nil {
					return err
				}
				_, err := tx.Exec(t.Context(), harm)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if faults, err := l.Audit(t.Context()); err != nil || len(faults) == 0 {
				t.Errorf("found nothing, %v", err)
			}
		})
	}
}

// A charge that is taken back credits the unit, once however often it is booked; what the
// console adds up is the truth, and both records stay. metering.md 1.6.
func TestChargeTakenBack(t *testing.T) {
	l, n, lease := stocked(t)
	charge := entry("pkg_a", 3, lease.ID, control.Charged, noon)
	back := charge
	back.Outcome, back.Code = control.Free, "N502RE"
	for range 2 {
		if err := l.Book(t.Context(), []Entry{charge, back, entry("pkg_a", 4, lease.ID, control.Charged, noon)}, nil); err != nil {
			t.Fatal(err)
		}
		sound(t, l)
	}
	balances, err := l.Balances(t.Context(), "grt_a")
	if err != nil || len(balances) != 1 || balances[0].Used != 1 || balances[0].Remaining != 99 {
		t.Errorf("%+v, %v", balances, err)
	}
	rows, _, err := l.Usage(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	sums := map[control.Outcome]int64{}
	for _, u := range rows {
		sums[u.Outcome] += u.Calls
	}
	if sums[control.Charged] != 1 || sums[control.Free] != 1 {
		t.Errorf("told: %v", sums)
	}
	if calls, err := l.Calls(t.Context(), control.CallFilter{Request: charge.Request}); err != nil || len(calls) != 2 {
		t.Errorf("%d records of the call, %v; want the charge and what undid it", len(calls), err)
	}
	// All of what was granted can still be used.
	left := int64(100 - 10)
	for left > 0 {
		next, verdict, err := l.Lease(t.Context(), n, "app_a", "prd_a", 100, nil)
		if err != nil || verdict != Leased {
			t.Fatalf("%d left: %d, %v", left, verdict, err)
		}
		if left -= next.Hi - next.Lo; next.Hi > 101 {
			t.Errorf("serial %d went out", next.Hi-1)
		}
	}
	if _, verdict, err := l.Lease(t.Context(), n, "app_a", "prd_a", 1, nil); err != nil || verdict != Leased {
		t.Errorf("the unit that came back is not there: %d, %v", verdict, err)
	}
	if _, verdict, err := l.Lease(t.Context(), n, "app_a", "prd_a", 1, nil); err != nil || verdict != UsedUp {
		t.Errorf("more than was granted: %d, %v", verdict, err)
	}
	sound(t, l)
}
