package memory

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/tally"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// A nonce is remembered as long as its call could be valid, and the memory comes back.
func TestNonceLivesAsLongAsItsCall(t *testing.T) {
	n := New(Options{})
	use := func(at time.Duration, want error) {
		t.Helper()
		if err := n.Use("app_a", []byte("n1"), noon.Add(at)); !errors.Is(err, want) {
			t.Errorf("after %v: %v, want %v", at, err, want)
		}
	}
	use(0, nil)
	use(time.Millisecond, tally.ErrUsed)
	use(15*time.Minute, tally.ErrUsed)
	use(30*time.Minute, tally.ErrUsed)
	use(-time.Hour, tally.ErrUsed) // the clock went back
	use(41*time.Minute, nil)
	if err := n.Use("app_b", []byte("n1"), noon.Add(41*time.Minute)); err != nil {
		t.Errorf("another app's nonce: %v", err)
	}
	if err := n.Use("app_c", []byte("n2"), noon.Add(3*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := n.held.Load(); got != 1 {
		t.Errorf("%d nonces held, want the one of app_c", got)
	}
	if len(n.apps) != 1 {
		t.Errorf("%d books, want that of app_c", len(n.apps))
	}
}

// A full memory refuses; it never forgets. One app cannot take it all.
func TestFullMemoryRefusesAndForgetsNothing(t *testing.T) {
	n := New(Options{Budget: 40 * cost, Share: 4})
	for i := range 10 {
		if err := n.Use("app_a", fmt.Appendf(nil, "n%d", i), noon); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Use("app_a", []byte("one more"), noon); !errors.Is(err, tally.ErrFull) {
		t.Errorf("the eleventh of ten: %v", err)
	}
	for i := range 10 {
		if err := n.Use("app_a", fmt.Appendf(nil, "n%d", i), noon); !errors.Is(err, tally.ErrUsed) {
			t.Errorf("nonce %d was forgotten: %v", i, err)
		}
	}
	if err := n.Use("app_b", []byte("n"), noon); err != nil {
		t.Errorf("another app has no room: %v", err)
	}
	for i := range 40 {
		_ = n.Use(control.AppID(fmt.Sprint("app", i)), []byte("n"), noon) // until it is full
	}
	if got := n.held.Load(); got != 40 {
		t.Errorf("%d held of 40", got)
	}
	if err := n.Use("app_z", []byte("n"), noon.Add(41*time.Minute)); err != nil {
		t.Errorf("no room though all have gone: %v", err)
	}
}

func TestOneOfManyWins(t *testing.T) {
	n := New(Options{})
	var won atomic.Int64
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() {
			for i := range 500 {
				if n.Use("app_a", fmt.Appendf(nil, "n%d", i), noon.Add(time.Duration(i)*time.Second)) == nil {
					won.Add(1)
				}
			}
		})
	}
	wait.Wait()
	if won.Load() != 500 {
		t.Errorf("%d accepted of 500 nonces sent 16 times", won.Load())
	}
}
