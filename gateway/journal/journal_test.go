package journal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/ledger"
)

// shelf is a ledger that only keeps what is booked.
type shelf struct {
	mu      sync.Mutex
	entries []ledger.Entry
	broken  error
	parts   int // if set, every so many-th part fails
	asked   int
}

func (s *shelf) Book(_ context.Context, e []ledger.Entry, _ []ledger.Credit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked++; s.parts > 0 && s.asked%s.parts == 0 {
		return errors.New("busy")
	}
	if s.broken == nil {
		s.entries = append(s.entries, e...)
	}
	return s.broken
}

func (*shelf) Trim(context.Context) error { return nil }

func (s *shelf) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = err
}

func (s *shelf) list() []ledger.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]ledger.Entry(nil), s.entries...)
}

func entry(serial int64) ledger.Entry {
	return ledger.Entry{Lease: 7, CallRecord: control.CallRecord{Request: "R", At: time.UnixMilli(1764000000123).UTC(), App: "app_a", Product: "prd_a",
		Route: "rte_a", Grant: "grt_a", Package: "pkg_a", Serial: serial, Method: "GET", Path: "/\u5317/[id]", Status: 200, Outcome: control.Charged, Took: 1234567}}
}

func fresh(t *testing.T, s *shelf, folder string) *Journal {
	t.Helper()
	j, err := Open(t.Context(), s, folder, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestRecordsComeBack(t *testing.T) {
	var b []byte
	want := []ledger.Entry{entry(0), entry(1), {CallRecord: control.CallRecord{Serial: -1, At: time.UnixMilli(0).UTC()}}}
	for i := range want {
		b = encode(b, &want[i])
	}
	got, whole := decodeAll(b)
	if whole != len(b) || !reflect.DeepEqual(got, want) {
		t.Errorf("%d of %d bytes: %+v", whole, len(b), got)
	}
}

// A spool that was cut or garbled anywhere in its last record is read to the last whole
// one (X11).
func TestTornSpool(t *testing.T) {
	var b []byte
	for i := range int64(3) {
		e := entry(i)
		b = encode(b, &e)
	}
	two := len(b) / 3 * 2
	for cut := two; cut < len(b); cut++ {
		folder := t.TempDir()
		if err := os.WriteFile(filepath.Join(folder, "spool-00000004.log"), b[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		s := &shelf{}
		j := fresh(t, s, folder)
		if got := s.list(); len(got) != 2 {
			t.Fatalf("cut at %d: %d calls, want the two that are whole", cut, len(got))
		}
		if err := j.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for at := two; at < len(b); at++ {
		garbled := append([]byte(nil), b...)
		garbled[at] ^= 0x55
		if got, _ := decodeAll(garbled); len(got) != 2 {
			t.Fatalf("garbled at %d: %d calls", at, len(got))
		}
	}
}

// While the ledger takes nothing, what is settled is kept, in memory and in the spool, and
// booked once when it does.
func TestTheLedgerIsGoneForAWhile(t *testing.T) {
	folder := t.TempDir()
	s := &shelf{}
	j := fresh(t, s, folder)
	s.set(errors.New("gone"))
	for i := range int64(20) {
		e := entry(i)
		if err := j.Settle(7, &e.CallRecord); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Flush(t.Context()); err == nil {
		t.Fatal("flushed into a ledger that is gone")
	}
	b, err := os.ReadFile(j.name(j.number))
	if entries, _ := decodeAll(b); err != nil || len(entries) != 20 {
		t.Fatalf("%d calls in the spool, %v", len(entries), err)
	}
	s.set(nil)
	if err := j.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := s.list()
	for i, e := range got {
		if e.Serial != int64(i) {
			t.Fatalf("serial %d at %d", e.Serial, i)
		}
	}
	if len(got) != 20 {
		t.Errorf("%d calls were booked, want 20", len(got))
	}
}

// A spool that cannot be written refuses the call; nothing is counted in the dark (X8).
func TestTheSpoolCannotBeWritten(t *testing.T) {
	s := &shelf{}
	j := fresh(t, s, t.TempDir())
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	j.mu.Lock()
	_ = j.file.Close()
	j.file = full
	j.mu.Unlock()
	e := entry(0)
	if err := j.Settle(7, &e.CallRecord); err == nil {
		t.Fatal("settled on a full disk")
	}
	if err := j.Settle(7, &e.CallRecord); err != nil {
		t.Fatalf("after a fresh file could be begun: %v", err)
	}
	if err := j.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(s.list()); n != 1 {
		t.Errorf("%d calls were booked, want the one that was settled", n)
	}
}

// What heaped up while the ledger was gone is booked in parts; a part that fails is tried
// again, and what went before it is not. The spool is gone once all is booked.
func TestAHeapIsBookedInParts(t *testing.T) {
	folder := t.TempDir()
	s := &shelf{parts: 2}
	j := fresh(t, s, folder)
	j.writing.Lock() // the writer behind waits
	const charged, noted = 40_000, 1_000
	for i := range int64(charged) {
		e := entry(i)
		if err := j.Settle(7, &e.CallRecord); err != nil {
			t.Fatal(err)
		}
		if i == charged/2 {
			for range noted {
				j.Note(&control.CallRecord{Outcome: control.Free, Serial: -1})
			}
		}
	}
	j.writing.Unlock()
	for j.Flush(t.Context()) != nil {
		j.mu.Lock()
		waiting := j.notes
		j.mu.Unlock()
		if waiting < 0 || waiting > noted {
			t.Fatalf("%d notes are waiting of %d", waiting, noted)
		}
	}
	got := s.list()
	next, free := int64(0), 0
	for _, e := range got {
		switch {
		case e.Outcome == control.Free:
			free++
		case e.Serial != next:
			t.Fatalf("serial %d was booked, want %d", e.Serial, next)
		default:
			next++
		}
	}
	if next != charged || free != noted {
		t.Errorf("%d charged and %d free calls were booked, want %d and %d", next, free, charged, noted)
	}
	s.mu.Lock()
	s.parts = 0
	s.mu.Unlock()
	// A last call makes the writer look at the file that was rotated away.
	e := entry(charged)
	if err := j.Settle(7, &e.CallRecord); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	numbers, err := j.files()
	if err != nil || len(numbers) != 1 {
		t.Fatalf("the spool's files are %v, %v; want one", numbers, err)
	}
	if f, err := os.Stat(j.name(numbers[0])); err != nil || f.Size() != 0 {
		t.Errorf("the spool still has %d bytes, %v", f.Size(), err)
	}
}
