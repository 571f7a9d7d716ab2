package gateway_test

import (
	"testing"
	"time"
)

// Q15: the database is asked as often as time passes, to book and to look for changes, and
// not as often as there are calls.
func TestWarmCallsAskNoStore(t *testing.T) {
	h, c, _ := furnished(t, 1<<40)
	call := func(n int) {
		for range n {
			if a := h.Call("GET", "/a", "", "Authorization", "APPCODE "+c.AppCode); a.Status != 200 || a.Code() != "" {
				t.Fatalf("%d %s", a.Status, a.Code())
			}
		}
	}
	call(500) // the leases grow
	before, began := h.DB.Operations(), time.Now()
	const calls = 3000
	call(calls)
	asked, took := h.DB.Operations()-before, time.Since(began)
	if most := int64(took/(40*time.Millisecond)) + 15; asked > most {
		t.Errorf("the database was asked %d times in %v of %d calls, want %d at most", asked, took, calls, most)
	}
	t.Logf("%d operations in %v of %d calls", asked, took, calls)
}
