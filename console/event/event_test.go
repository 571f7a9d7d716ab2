package event

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/gateway/storage"
	"github.com/souk-market/souk/gateway/storage/sqlite"
)

// rang is an event of these tests.
type rang struct{ Bell, By string }

func (rang) Event() string     { return "bell.rang" }
func (r rang) Subject() string { return r.Bell }

type fixture struct {
	*Bus
	t   *testing.T
	now time.Time
}

func fresh(t *testing.T) *fixture {
	t.Helper()
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "console.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Migrate(t.Context(), "event", Schema()); err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, now: time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)}
	f.Bus = New(db, zap.NewNop(), func() time.Time { return f.now })
	return f
}

func (f *fixture) tell(events ...rang) {
	f.t.Helper()
	err := f.db.Tx(f.t.Context(), func(tx *storage.Tx) error {
		for _, e := range events {
			if err := f.Tell(f.t.Context(), tx, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) settle() {
	f.t.Helper()
	if err := f.Settle(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
}

func TestEachListenerHearsOnce(t *testing.T) {
	f := fresh(t)
	var a, b []string
	On(f.Bus, "a", func(_ context.Context, _ *storage.Tx, e rang) error { a = append(a, e.By); return nil })
	On(f.Bus, "b", func(_ context.Context, _ *storage.Tx, e rang) error { b = append(b, e.By); return nil })
	f.tell(rang{"east", "1"}, rang{"east", "2"})
	f.settle()
	f.settle()
	want := []string{"1", "2"}
	if !slices.Equal(a, want) || !slices.Equal(b, want) {
		t.Errorf("a heard %v, b heard %v, want %v each", a, b, want)
	}
}

func TestARollbackTellsNobody(t *testing.T) {
	f := fresh(t)
	On(f.Bus, "a", func(context.Context, *storage.Tx, rang) error { t.Error("heard of it"); return nil })
	_ = f.db.Tx(t.Context(), func(tx *storage.Tx) error {
		if err := f.Tell(t.Context(), tx, rang{"east", "1"}); err != nil {
			t.Error(err)
		}
		return errors.New("no")
	})
	f.settle()
}

func TestFailuresWaitAndKeepTheOrderOfASubject(t *testing.T) {
	f := fresh(t)
	var heard []string
	broken := true
	On(f.Bus, "a", func(_ context.Context, _ *storage.Tx, e rang) error {
		if broken && e.Bell == "east" {
			return errors.New("not now")
		}
		heard = append(heard, e.Bell+e.By)
		return nil
	})
	f.tell(rang{"east", "1"}, rang{"west", "1"}, rang{"east", "2"})
	f.settle()
	if want := []string{"west1"}; !slices.Equal(heard, want) {
		t.Fatalf("heard %v, want %v: another subject does not wait", heard, want)
	}
	broken = false
	f.settle()
	if len(heard) != 1 {
		t.Errorf("heard %v before the wait was over", heard)
	}
	f.now = f.now.Add(2 * time.Second)
	f.settle()
	if want := []string{"west1", "east1", "east2"}; !slices.Equal(heard, want) {
		t.Errorf("heard %v, want %v", heard, want)
	}
}

func TestADeliveryThatNeverWorksIsParked(t *testing.T) {
	f := fresh(t)
	tries := 0
	On(f.Bus, "a", func(context.Context, *storage.Tx, rang) error { tries++; panic("always") })
	f.tell(rang{"east", "1"})
	for range maxTries + 5 {
		f.settle()
		f.now = f.now.Add(2 * longest)
	}
	if tries != maxTries {
		t.Errorf("tried %d times, want %d", tries, maxTries)
	}
	var state, why string
	if err := f.db.Read().QueryRow(t.Context(), `SELECT state, error FROM event_delivery`).Scan(&state, &why); err != nil {
		t.Fatal(err)
	}
	if state != "parked" || why != "panic: always" {
		t.Errorf("state %q, error %q", state, why)
	}
}

// The world outside may be asked twice; what came of it is written once.
func TestReachNotesOnce(t *testing.T) {
	f := fresh(t)
	asked, noted := 0, 0
	Reach(f.Bus, "a",
		func(context.Context, rang) (int, error) { asked++; return asked, nil },
		func(_ context.Context, _ *storage.Tx, _ rang, n int) error {
			if n == 1 {
				return errors.New("crashed between the steps")
			}
			noted++
			return nil
		})
	f.tell(rang{"east", "1"})
	f.settle()
	f.now = f.now.Add(time.Minute)
	f.settle()
	if asked != 2 || noted != 1 {
		t.Errorf("asked %d times, noted %d times; want 2 and 1", asked, noted)
	}
}

func TestAStartedBusDeliversByItself(t *testing.T) {
	f := fresh(t)
	heard := make(chan string, 1)
	On(f.Bus, "a", func(_ context.Context, _ *storage.Tx, e rang) error { heard <- e.By; return nil })
	f.Start(t.Context())
	defer f.Stop()
	f.tell(rang{"east", "1"})
	select {
	case <-heard:
	case <-time.After(10 * time.Second):
		t.Fatal("not delivered")
	}
}
