package memory

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/tally"
)

// pair is a connection and its other end.
func pair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		got <- c
	}()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	b = <-got
	t.Cleanup(func() { _ = a.Close(); _ = b.Close() })
	return a, b
}

// give gives the nonces of one memory to another, which answers from then on.
func give(t *testing.T, from, to *Nonces, since time.Time) {
	t.Helper()
	a, b := pair(t)
	done := make(chan error, 1)
	go func() { done <- from.Give(a, since) }()
	got, err := to.Take(b)
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	if !got.Equal(since) {
		t.Errorf("remembered since %v, want %v", got, since)
	}
	go to.Serve(b)
}

// K8, K9: the process that takes over knows what the old one has seen, and the old one what
// the new one has seen since.
func TestNoncesGoOn(t *testing.T) {
	old, next := New(Options{}), New(Options{})
	use := func(n *Nonces, nonce string, at time.Time, want error) {
		t.Helper()
		if err := n.Use("app_a", []byte(nonce), at); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", nonce, err, want)
		}
	}
	use(old, "early", noon.Add(-25*time.Minute), nil)
	use(old, "before", noon, nil)
	give(t, old, next, noon.Add(-time.Hour))
	use(next, "early", noon, tally.ErrUsed)
	use(next, "before", noon, tally.ErrUsed)
	use(next, "new", noon, nil)
	use(old, "new", noon, tally.ErrUsed)
	use(old, "late", noon, nil)
	use(next, "late", noon, tally.ErrUsed)
	// What was given lives as long as ever, and no longer.
	use(next, "before", noon.Add(29*time.Minute), tally.ErrUsed)
	use(next, "before", noon.Add(45*time.Minute), nil)
}

// Of one nonce at both processes at once, while one is taking over from the other, one call
// goes on.
func TestNoncesAtBothAtOnce(t *testing.T) {
	old, next := New(Options{}), New(Options{})
	const nonces = 2000
	for i := range nonces / 2 {
		if err := old.Use("app_a", fmt.Append(nil, i), noon); err != nil {
			t.Fatal(err)
		}
	}
	var taken [nonces]atomic.Int32
	var wait sync.WaitGroup
	use := func(n *Nonces) {
		for i := range nonces {
			if n.Use("app_a", fmt.Append(nil, i), noon) == nil {
				taken[i].Add(1)
			}
		}
	}
	for range 4 {
		wait.Go(func() { use(old) })
	}
	a, b := pair(t)
	done := make(chan error, 1)
	go func() { done <- old.Give(a, noon) }()
	if _, err := next.Take(b); err != nil {
		t.Fatal(err)
	}
	go next.Serve(b)
	for range 4 {
		wait.Go(func() { use(next) })
	}
	wait.Wait()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for i := range taken {
		if n := taken[i].Load(); n > 1 || i < nonces/2 && n != 0 {
			t.Errorf("nonce %d was taken %d times", i, n)
		}
	}
}

// A process that took the nonces and ended leaves the old one as it was, and another may
// come.
func TestAnHeirThatIsGone(t *testing.T) {
	old, next := New(Options{}), New(Options{})
	a, b := pair(t)
	done := make(chan error, 1)
	go func() { done <- old.Give(a, noon) }()
	if _, err := next.Take(b); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	_ = b.Close() // it has ended
	for i := range 3 {
		if err := old.Use("app_a", fmt.Append(nil, i), noon); err != nil {
			t.Errorf("nonce %d: %v", i, err)
		}
	}
	third := New(Options{})
	give(t, old, third, noon)
	if err := third.Use("app_a", fmt.Append(nil, 1), noon); !errors.Is(err, tally.ErrUsed) {
		t.Errorf("the third one: %v", err)
	}
	// Who closes before he has taken them all is told of.
	c, d := pair(t)
	_ = d.Close()
	if err := New(Options{}).Give(c, noon); err == nil {
		t.Error("nobody took them, and that was not seen")
	}
}

func TestNoncesOfAnotherForm(t *testing.T) {
	for name, text := range map[string]string{"nothing": "", "other": "souk nonces 9\n" + string(make([]byte, 100))} {
		a, b := pair(t)
		go func() {
			_, _ = a.Write([]byte(text))
			_ = a.Close()
		}()
		if _, err := New(Options{}).Take(b); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	old, next := New(Options{Keep: time.Hour}), New(Options{})
	a, b := pair(t)
	go func() { _ = old.Give(a, noon) }()
	if _, err := next.Take(b); err == nil {
		t.Error("nonces that are kept for another time were taken")
	}
	_ = b.Close()
}

// Bounds hold for what was given, too: K7.
func TestGivenNoncesCount(t *testing.T) {
	old, next := New(Options{}), New(Options{Budget: 10 * cost, Share: 1})
	for i := range 10 {
		if err := old.Use("app_a", fmt.Append(nil, i), noon); err != nil {
			t.Fatal(err)
		}
	}
	give(t, old, next, noon)
	if err := next.Use("app_b", []byte("x"), noon); !errors.Is(err, tally.ErrFull) {
		t.Errorf("beyond the budget: %v", err)
	}
	if err := old.Use(control.AppID("app_b"), []byte("y"), noon); !errors.Is(err, tally.ErrFull) {
		t.Errorf("the old one, beyond the budget of the new one: %v", err)
	}
}
