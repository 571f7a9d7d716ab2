package gateway

import (
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/zap"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/journal"
	"github.com/souk-market/souk/gateway/ledger"
	"github.com/souk-market/souk/gateway/quota"
	"github.com/souk-market/souk/gateway/storage"
	"github.com/souk-market/souk/gateway/storage/sqlite"
)

// While one gateway takes over from another both spend units of one package, each its own,
// and together what there is. What one had that was killed comes home. M1, M7, M8.
func TestTwoSpendOnePackage(t *testing.T) {
	folder := t.TempDir()
	const granted = 3000
	type half struct {
		place   *quota.Place
		db      *storage.DB
		ledger  *ledger.Ledger
		journal *journal.Journal
		quota   *quota.Quota
	}
	start := func() *half {
		t.Helper()
		h := new(half)
		var err error
		if h.place, err = quota.TakeBeside(folder); err != nil {
			t.Fatal(err)
		}
		if h.db, err = sqlite.Open(filepath.Join(folder, "gateway.db")); err != nil {
			t.Fatal(err)
		}
		if h.ledger, err = ledger.Open(t.Context(), ledger.Options{DB: h.db, MasterKey: make([]byte, 32)}); err != nil {
			t.Fatal(err)
		}
		if h.journal, err = journal.Open(t.Context(), h.ledger.Spool(h.place.Node), h.place.Folder, zap.NewNop()); err != nil {
			t.Fatal(err)
		}
		if h.quota, err = quota.Open(t.Context(), quota.Options{Ledger: h.ledger, Journal: h.journal, Node: h.place.Node, Flush: h.journal.Flush}); err != nil {
			t.Fatal(err)
		}
		return h
	}
	first := start()
	err := first.ledger.Apply(t.Context(), &control.Grant{ID: "grt_a", App: "app_a", Product: "prd_a", Live: true},
		&control.Package{ID: "pkg_a", Grant: "grt_a", Calls: granted, From: noon, Live: true})
	if err != nil {
		t.Fatal(err)
	}
	var served atomic.Int64
	spend := func(h *half, most int) {
		for range most {
			hold, err := h.quota.Reserve("app_a", "prd_a")
			if errors.Is(err, gate.QuotaExhausted) {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			r := &control.CallRecord{Request: control.NewRequestID(noon), At: noon, App: "app_a", Product: "prd_a", Grant: hold.Grant, Package: hold.Package,
				Serial: hold.Serial, Status: 200, Outcome: control.Charged}
			if err := h.quota.Settle(hold, r); err != nil {
				t.Error(err)
				return
			}
			served.Add(1)
		}
	}
	second := start()
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() { spend(first, granted/8) })
		all.Go(func() { spend(second, granted/8) })
	}
	all.Wait()
	// The second is killed: its lease stays open, and nobody else has its place.
	if err := errors.Join(second.journal.Close(t.Context()), second.place.Release()); err != nil {
		t.Fatal(err)
	}
	left, err := quota.Left(folder)
	if err != nil || len(left) != 1 || left[0].Node != "node-2" {
		t.Fatalf("left are %v, %v", left, err)
	}
	if err := errors.Join(bringHome(t.Context(), first.ledger, left[0], zap.NewNop()), left[0].Release()); err != nil {
		t.Fatal(err)
	}
	spend(first, granted)
	if served.Load() != granted {
		t.Errorf("%d calls were served of %d", served.Load(), granted)
	}
	if err := errors.Join(first.quota.Close(t.Context()), first.journal.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	if faults, err := first.ledger.Audit(t.Context()); err != nil || len(faults) > 0 {
		t.Errorf("the ledger does not agree with itself: %v %v", faults, err)
	}
	if left, err := quota.Left(folder); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
	if err := errors.Join(first.place.Release(), first.db.Close(), second.db.Close()); err != nil {
		t.Error(err)
	}
}
