package ledger

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
	"github.com/souk-market/souk/gateway/storage/sqlite"
)

var errAway = errors.New("the disk is away")

// shop is a database that can be taken away, and the file beside it.
type shop struct {
	t      testing.TB
	folder string
	away   atomic.Bool
	now    atomic.Int64
}

func (s *shop) options() Options {
	return Options{File: filepath.Join(s.folder, "config"), MasterKey: key(1), Now: func() time.Time { return time.UnixMilli(s.now.Load()).UTC() },
		OpenDB: func() (*storage.DB, error) {
			if s.away.Load() {
				return nil, errAway
			}
			return sqlite.Open(filepath.Join(s.folder, "gateway.db"))
		}}
}

func (s *shop) open() *Ledger {
	s.t.Helper()
	l, err := Open(context.Background(), s.options())
	if err != nil {
		s.t.Fatal(err)
	}
	return l
}

func (s *shop) close(l *Ledger) {
	s.t.Helper()
	if err := l.Close(context.Background()); err != nil {
		s.t.Error(err)
	}
}

func furnished(t testing.TB) (s *shop, c control.Credentials, want *Snapshot) {
	t.Helper()
	s = &shop{t: t, folder: t.TempDir()}
	s.now.Store(noon.UnixMilli())
	l := s.open()
	chain, private := pair(t, "a.test")
	via := route("rte_via")
	via.Via = "ups_a"
	tellAll(t, l, &control.Secret{ID: "sec_a", Value: private, Live: true}, upstream(), group("grp_a", "a.test"), route("rte_a"), via,
		&control.Certificate{ID: "crt_a", Domains: []string{"a.test"}, Chain: chain, Key: "sec_a", Live: true})
	c, err := l.CreateApp(t.Context(), control.App{ID: "app_a", Owner: "acc_a", Live: true})
	if err != nil {
		t.Fatal(err)
	}
	want = l.Snapshot()
	s.close(l) // it writes the file
	return s, c, want
}

// C6: without its database a gateway starts from the last good configuration and knows what
// it knew; what it cannot know it says so (S6); when the database returns it reads all anew.
func TestStartWithoutTheDatabase(t *testing.T) {
	s, c, want := furnished(t)
	s.away.Store(true)
	l := s.open()
	got := l.Snapshot()
	got.Number = want.Number // apps have numbers, too
	if !reflect.DeepEqual(got, want) {
		t.Errorf("it knows %+v, want %+v", got, want)
	}
	if a, ok := l.ByKey([]byte(c.AppKey)); !ok || a.ID != "app_a" || a.Owner != "acc_a" || string(a.Secret) != c.AppSecret || !a.Live {
		t.Errorf("by key: %+v, %v", a, ok)
	}
	if a, ok := l.ByCode([]byte(c.AppCode)); !ok || a.ID != "app_a" {
		t.Errorf("by code: %+v, %v", a, ok)
	}
	if v, err := l.Secret("sec_a"); err != nil || !strings.Contains(string(v), "PRIVATE KEY") {
		t.Errorf("the secret: %v", err)
	}
	if err := l.Known(); !errors.Is(err, ErrGone) {
		t.Errorf("it believes that it knows everything: %v", err)
	}
	for what, err := range map[string]error{
		"apply":    l.Apply(t.Context(), group("grp_b", "b.test")),
		"writable": l.Writable(t.Context()),
		"book":     l.Book(t.Context(), []Entry{entry("", 0, 0, control.Free, noon)}, nil),
		"trim":     l.Trim(t.Context()),
		"look":     l.look(t.Context()),
	} {
		if !errors.Is(err, ErrGone) && !errors.Is(err, errAway) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, _, err := l.Lease(t.Context(), Node{}, "app_a", "prd_a", 1, nil); !errors.Is(err, ErrGone) {
		t.Errorf("a lease: %v", err)
	}
	if _, err := l.Balances(t.Context(), "grt_a"); !errors.Is(err, ErrGone) {
		t.Errorf("balances: %v", err)
	}
	if _, err := l.Calls(t.Context(), control.CallFilter{}); !errors.Is(err, ErrGone) {
		t.Errorf("calls: %v", err)
	}
	if _, err := l.Credentials(t.Context(), "app_a"); !errors.Is(err, ErrGone) {
		t.Errorf("credentials: %v", err)
	}

	// Meanwhile another process changes things.
	s.away.Store(false)
	other := s.open()
	tellAll(t, other, group("grp_a", "a.test", "more.test"), group("grp_b", "b.test"))
	fresh, err := other.ResetSecret(t.Context(), "app_a")
	if err != nil {
		t.Fatal(err)
	}
	later := other.Snapshot()
	s.close(other)
	var all int
	l.OnChange(func(n *Changes) {
		if n.All {
			all++
		}
	})
	if err := l.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := l.Snapshot(); !reflect.DeepEqual(got.Groups, later.Groups) || all != 2 {
		t.Errorf("it was told %d times, and knows the groups %+v", all, got.Groups)
	}
	if a, _ := l.ByKey([]byte(c.AppKey)); string(a.Secret) != fresh.AppSecret {
		t.Error("the old secret is still the one")
	}
	if err := errors.Join(l.Known(), l.Writable(t.Context()), l.Apply(t.Context(), group("grp_c", "c.test"))); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	s.close(l)
}

// Nothing is served from a file that is torn anywhere, was altered, or belongs to another
// key or a newer program; the start says what to do.
func TestFilesThatAreNotServed(t *testing.T) {
	s, _, _ := furnished(t)
	s.away.Store(true)
	path := s.options().File
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(why string, b []byte, want error) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), s.options()); !errors.Is(err, want) || !errors.Is(err, errAway) {
			t.Fatalf("%s: %v, want %v", why, err, want)
		}
	}
	// Each byte of the begin and the end, and every eleventh between.
	some := func(at int) bool { return at < 64 || at >= len(whole)-64 || at%11 == 0 }
	for cut := range len(whole) {
		if some(cut) {
			refused("cut", whole[:cut], ErrTornFile)
		}
	}
	for at := range whole {
		if !some(at) {
			continue
		}
		b := append([]byte(nil), whole...)
		b[at] ^= 0x20
		refused("altered", b, ErrTornFile)
	}
	refused("longer", append(append([]byte(nil), whole...), 0), ErrTornFile)
	// A newer version, rightly sealed.
	l := &Ledger{safe: must(newSafe(key(1)))}
	newer := append([]byte(nil), whole[:len(whole)-32]...)
	newer[len(fileMagic)]++
	mac := l.safe.fileMAC()
	mac.Write(newer)
	refused("newer", mac.Sum(newer), ErrNewFile)
	// Another master key.
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	o := s.options()
	o.MasterKey = key(2)
	if _, err := Open(t.Context(), o); !errors.Is(err, ErrTornFile) || !strings.Contains(err.Error(), "another master key") {
		t.Errorf("with another key: %v", err)
	}
	// None at all: the reason is the database's alone.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), s.options()); !errors.Is(err, errAway) || errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	// A wrong key for a database that is there is not a reason to serve from the file.
	s.away.Store(false)
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), o); !errors.Is(err, ErrWrongKey) {
		t.Errorf("with another key: %v", err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A database whose bytes are not one is as good as away.
func TestAnUnreadableDatabase(t *testing.T) {
	s, c, _ := furnished(t)
	path := filepath.Join(s.folder, "gateway.db")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, make([]byte, 8192), 0o600); err != nil {
		t.Fatal(err)
	}
	l := s.open()
	if _, ok := l.ByKey([]byte(c.AppKey)); !ok || l.Known() == nil {
		t.Error("it does not know the app, or believes that it knows all")
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Known(), l.Writable(t.Context())); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	s.close(l)
}

// The file follows the changes while the gateway runs, a moment after them, and what a
// writer left that was killed is cleared away.
func TestTheFileFollows(t *testing.T) {
	s, _, _ := furnished(t)
	left := s.options().File + ".new-123"
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := s.open()
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a killed writer left: %v", err)
	}
	tellAll(t, l, group("grp_b", "b.test"))
	l.saving.mu.Lock()
	dirty, due := l.saving.dirty, time.Until(l.saving.due)
	l.saving.due = time.Now()
	l.saving.mu.Unlock()
	if !dirty || due <= 0 || due > saveAfter {
		t.Errorf("due in %v", due)
	}
	l.saving.tick(t.Context(), l)
	l.saving.busy.Wait()
	if err := l.db.Load().Close(); err != nil { // as if it were killed: nothing more is written
		t.Fatal(err)
	}
	s.away.Store(true)
	again := s.open()
	if n := len(again.Snapshot().Groups); n != 2 {
		t.Errorf("%d groups, want 2", n)
	}
	s.close(again)
}

// A feed that cannot be read makes "there is no such app" doubtful after a moment (S6).
func TestKnownIsDoubtfulWithoutTheFeed(t *testing.T) {
	s, _, _ := furnished(t)
	l := s.open()
	l.begun = l.begun.Add(-time.Hour)
	if err := l.Known(); err != nil {
		t.Errorf("nobody follows, so nobody can say: %v", err)
	}
	l.watched.Store(true)
	if err := l.Known(); err == nil {
		t.Error("after an hour without the feed it knows everything")
	}
	if err := errors.Join(l.look(t.Context()), l.Known()); err != nil {
		t.Errorf("after a look: %v", err)
	}
	s.close(l)
}
