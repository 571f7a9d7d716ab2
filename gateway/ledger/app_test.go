package ledger

import (
	"testing"

	"github.com/souk-market/souk/gateway/control"
)

func credentialled(t testing.TB) (l *Ledger, key, code []byte) {
	t.Helper()
	l = fresh(t)
	c, err := l.CreateApp(t.Context(), control.App{ID: "app_a", Live: true})
	if err != nil {
		t.Fatal(err)
	}
	return l, []byte(c.AppKey), []byte(c.AppCode)
}

// Finding who calls allocates nothing. (Under -race a pool forgets on purpose, so the hash
// of an AppCode may be made anew there.)
func TestFindingAnAppAllocatesNothing(t *testing.T) {
	l, key, code := credentialled(t)
	if a := testing.AllocsPerRun(1000, func() { l.ByKey(key) }); a > 0 {
		t.Errorf("by key: %v allocations", a)
	}
	if a := testing.AllocsPerRun(1000, func() { l.ByCode(code) }); a > 0 && !raced {
		t.Errorf("by code: %v allocations", a)
	}
}
