package ledger

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/souk-market/souk/gateway/control"
)

// back is the record that undoes a charge.
func back(e Entry) Entry {
	e.Outcome, e.Code = control.Free, "N502RE"
	return e
}

// What a spool has of charges and of those that were undone can be booked in any parts, and
// again, and comes to the same: each unit is charged once or not, and what came back goes
// out again. metering.md 1.3.
func TestChargesAreUndoneOnce(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 7))
		l, n, lease := stocked(t)
		var spool []Entry
		var charged int64
		for i := range int64(10) {
			e := entry("pkg_a", i, lease.ID, control.Charged, noon)
			spool = append(spool, e)
			if charged++; random.IntN(3) == 0 {
				spool = append(spool, back(e))
				charged--
			}
		}
		for at := 0; at < len(spool); {
			// Now and then the process is killed, and begins again with what was booked already.
			from := max(0, at-random.IntN(4))
			to := min(len(spool), from+1+random.IntN(6))
			if err := l.Book(t.Context(), slices.Clone(spool[from:to]), nil); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			sound(t, l)
			at = max(at, to)
		}
		b, err := l.Balances(t.Context(), "grt_a")
		if err != nil || b[0].Used != charged || b[0].Remaining != 100-charged {
			t.Fatalf("seed %d: %+v, %v; want %d used", seed, b, err, charged)
		}
		rows, _, err := l.Usage(t.Context(), 0, 1000)
		sums := map[control.Outcome]int64{}
		for _, u := range rows {
			sums[u.Outcome] += u.Calls
		}
		if err != nil || sums[control.Charged] != charged || sums[control.Free] != 10-charged {
			t.Fatalf("seed %d: told %v, %v; want %d charged", seed, sums, err, charged)
		}
		calls, err := l.Calls(t.Context(), control.CallFilter{})
		if err != nil || len(calls) != len(spool) { // both records stay
			t.Fatalf("seed %d: %d records, %v; want %d", seed, len(calls), err, len(spool))
		}
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
				t.Fatalf("serial %d goes out again", got.Lo)
			}
			units += got.Hi - got.Lo
		}
		if units != b[0].Remaining {
			t.Errorf("seed %d: %d units went out, want %d", seed, units, b[0].Remaining)
		}
		sound(t, l)
	}
}

// To undo what was not charged changes nothing.
func TestNothingToUndo(t *testing.T) {
	l, _, lease := stocked(t)
	e := back(entry("pkg_a", 3, lease.ID, control.Charged, noon))
	if err := l.Book(t.Context(), []Entry{e}, nil); err != nil {
		t.Fatal(err)
	}
	if b, err := l.Balances(t.Context(), "grt_a"); err != nil || b[0].Used != 0 || b[0].Remaining != 100 {
		t.Errorf("%+v, %v", b, err)
	}
	sound(t, l)
}
