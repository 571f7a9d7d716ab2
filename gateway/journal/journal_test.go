package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"reflect"
	"strings"
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
	place   ledger.Place
	broken  error
	parts   int // if set, every so many-th part fails
	asked   int
}

func (s *shelf) BookSpool(_ context.Context, e []ledger.Entry, p ledger.Place) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked++; s.parts > 0 && s.asked%s.parts == 0 {
		return errors.New("busy")
	}
	if s.broken == nil {
		s.entries, s.place = append(s.entries, e...), p
	}
	return s.broken
}

func (s *shelf) Spooled(context.Context) (ledger.Place, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.place, s.broken
}

func (*shelf) Trim(context.Context) error { return nil }

func (s *shelf) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = err
}

func (s *shelf) list() []control.CallRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []control.CallRecord
	for _, e := range s.entries {
		list = append(list, e.CallRecord)
	}
	return list
}

func record(serial int64) *control.CallRecord {
	return &control.CallRecord{Request: control.RequestID{1, 2, 3}, At: time.UnixMilli(1764000000123).UTC(), App: "app_a", Product: "prd_a",
		Route: "rte_a", Grant: "grt_a", Package: "pkg_a", Serial: serial, Method: "GET", Path: "/\u5317/[id]", Status: 200, Outcome: control.Charged, Took: 1234567}
}

func note() *control.CallRecord {
	return &control.CallRecord{At: time.UnixMilli(0).UTC(), App: "app_a", Serial: -1, Outcome: control.Free}
}

func fresh(t testing.TB, s Book, folder string, files int) *Journal {
	t.Helper()
	j, err := open(context.Background(), s, folder, zap.NewNop(), files)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func (j *Journal) settle(t testing.TB, serials ...int64) {
	t.Helper()
	for _, n := range serials {
		if err := j.Settle(7, record(n)); err != nil {
			t.Fatal(err)
		}
	}
}

// kill ends a journal as the end of its process would: what is in its files stays there.
func (j *Journal) kill() {
	j.writing.Lock() // the writer does nothing from here on
	j.mu.Lock()
	close(j.stop)
	j.mu.Unlock()
	j.writing.Unlock()
	j.done.Wait()
	j.drop()
}

func files(t testing.TB, folder string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(folder, "spool-*"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// What was settled and what was noted comes back as it was, after a kill as after a close. M2.
func TestRecordsComeBack(t *testing.T) {
	folder, s := t.TempDir(), &shelf{}
	s.set(ledger.ErrGone)
	j := fresh(t, s, folder, filesMost)
	j.settle(t, 0, 1)
	j.Note(note())
	j.kill()
	s.set(nil)
	j = fresh(t, s, folder, filesMost)
	j.settle(t, 2)
	if err := j.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []control.CallRecord{*record(0), *record(1), *note(), *record(2)}
	if got := s.list(); !reflect.DeepEqual(got, want) {
		t.Errorf("came back\n%+v, want\n%+v", got, want)
	}
	if s.entries[0].Lease != 7 || s.entries[2].Lease != 0 {
		t.Errorf("leases %d and %d", s.entries[0].Lease, s.entries[2].Lease)
	}
	if left := files(t, folder); len(left) > 0 {
		t.Errorf("after a kind end there are %v", left)
	}
}

// A spool that was cut or garbled anywhere in its last record is read to the last whole
// one (X11).
func TestTornSpool(t *testing.T) {
	folder, s := t.TempDir(), &shelf{}
	s.set(ledger.ErrGone)
	j := fresh(t, s, folder, filesMost)
	j.settle(t, 0, 1)
	two := j.present.end
	j.settle(t, 2)
	end, name := j.present.end, j.present.name
	j.kill()
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if j, err := openSegment(name); err != nil || j.scan(segmentHead) != end {
		t.Fatalf("the whole one: %v", err)
	} else {
		_ = j.close()
	}
	// All cuts and garbles but two in the file's memory; these as a start finds them.
	seg := &segment{mem: append([]byte(nil), whole...)}
	if err := seg.readHead(); err != nil {
		t.Fatal(err)
	}
	for at := two; at < end; at++ {
		clear(seg.mem[at:end])
		if whole[at] != 0 && seg.scan(segmentHead) != two {
			if at < two+wordSize+int64(len(seg.record(two))) {
				t.Fatalf("cut at %d: read to %d, want %d", at, seg.scan(segmentHead), two)
			}
		}
		copy(seg.mem[at:end], whole[at:end])
		seg.mem[at] ^= 0x55
		if got := seg.scan(segmentHead); got != two && at < two+wordSize+int64(uint32(len(whole[two:end]))) && !padding(whole, two, at) {
			t.Fatalf("garbled at %d: read to %d, want %d", at, got, two)
		}
		seg.mem[at] = whole[at]
	}
	for _, cut := range []int64{two, two + 3, end - 9} {
		if err := os.WriteFile(filepath.Join(folder, "spool-00000077.seg"), whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		s := &shelf{}
		j := fresh(t, s, folder, filesMost)
		if got := s.list(); len(got) != 2 {
			t.Fatalf("cut at %d: %d calls, want the two that are whole", cut, len(got))
		}
		if err := j.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// padding reports whether an offset is behind the body of the record that begins at from.
func padding(b []byte, from, at int64) bool {
	return at >= from+wordSize+int64(binary.LittleEndian.Uint32(b[from:]))
}

// While the ledger takes nothing, what is settled is kept, and booked once when it does.
func TestTheLedgerIsGoneForAWhile(t *testing.T) {
	s := &shelf{}
	j := fresh(t, s, t.TempDir(), filesMost)
	s.set(errors.New("gone"))
	for i := range int64(20) {
		j.settle(t, i)
	}
	if err := j.Flush(t.Context()); err == nil {
		t.Fatal("flushed into a ledger that is gone")
	}
	s.set(nil)
	if err := j.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := s.list()
	for i, r := range got {
		if r.Serial != int64(i) {
			t.Fatalf("serial %d at %d", r.Serial, i)
		}
	}
	if len(got) != 20 {
		t.Errorf("%d calls were booked, want 20", len(got))
	}
}

// Where a process was killed after its calls were booked, the next one books none of them
// again, also those that have no serial.
func TestBookedBeforeTheKill(t *testing.T) {
	folder, s := t.TempDir(), &shelf{}
	j := fresh(t, s, folder, filesMost)
	j.settle(t, 0)
	j.Note(note())
	if err := j.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.set(errors.New("gone"))
	j.settle(t, 1)
	j.kill()
	s.set(nil)
	j = fresh(t, s, folder, filesMost)
	if err := j.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := s.list(); len(got) != 3 || got[2].Serial != 1 {
		t.Errorf("booked %+v", got)
	}
}

// A spool that cannot be made stops the start, with what to do; one that is full refuses
// calls, and takes them again once the ledger does. Nothing is counted in the dark (X8).
func TestTheSpoolCannotBeWritten(t *testing.T) {
	s := &shelf{}
	if _, err := Open(t.Context(), s, filepath.Join(t.TempDir(), "nowhere"), zap.NewNop()); err == nil || !strings.Contains(err.Error(), "cannot be made") {
		t.Fatalf("started with %v", err)
	}
	j := fresh(t, s, t.TempDir(), 1)
	s.set(errors.New("gone"))
	var settled int64
	var err error
	for ; err == nil || errors.Is(err, ErrNotReady); settled++ {
		if err = j.Settle(7, record(settled)); err != nil {
			settled--
		}
		if settled > 200_000 {
			t.Fatal("it takes without end")
		}
	}
	if !errors.Is(err, ErrFull) || !errors.Is(j.Err(), ErrFull) {
		t.Fatalf("after %d calls: %v", settled, err)
	}
	j.Note(note()) // dropped, and does not wait
	s.set(nil)
	if err := j.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := int64(len(s.list())); n != settled {
		t.Errorf("%d calls were booked, want the %d that were settled", n, settled)
	}
	for j.Settle(7, record(settled)) != nil { // the next file is made behind
		time.Sleep(time.Millisecond)
	}
	if err := errors.Join(j.Flush(t.Context()), j.Err(), j.Close(t.Context())); err != nil {
		t.Error(err)
	}
}

// A file of another kind under the spool's name is not taken for one that is empty.
func TestAForeignFile(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "spool-00000001.seg"), []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), &shelf{}, folder, zap.NewNop()); !errors.Is(err, errNoSegment) {
		t.Errorf("opened with %v", err)
	}
}

// What heaped up while the ledger was gone is booked in parts; a part that fails is tried
// again, and what went before it is not. Files that were used before hold nothing of old.
func TestAHeapIsBookedInParts(t *testing.T) {
	folder := t.TempDir()
	s := &shelf{parts: 2}
	j := fresh(t, s, folder, filesMost)
	const charged, noted = 150_000, 1_000
	j.writing.Lock() // the writer behind waits
	for i := range int64(charged) {
		for j.Settle(7, record(i)) != nil {
			time.Sleep(time.Millisecond) // the next file
		}
		if i == charged/2 {
			for range noted {
				j.Note(note())
			}
		}
	}
	j.writing.Unlock()
	for j.Flush(t.Context()) != nil {
	}
	next, free := int64(0), 0
	for _, r := range s.list() {
		switch {
		case r.Outcome == control.Free:
			free++
		case r.Serial != next:
			t.Fatalf("serial %d was booked, want %d", r.Serial, next)
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
	j.settle(t, charged)
	// One to write to, one that is next, one that is made, and those to be used again.
	if list := files(t, folder); len(list) > 3+sparesMost {
		t.Errorf("the spool's files are %v", list)
	}
	s.set(errors.New("gone"))
	j.settle(t, charged+1)
	j.kill()
	s.set(nil)
	again := fresh(t, s, folder, filesMost)
	if err := again.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(s.list()); n != charged+noted+2 {
		t.Errorf("%d calls were booked, want %d", n, charged+noted+2)
	}
}

// A log that an older version left is booked, and gone.
func TestALogOfAnOlderVersion(t *testing.T) {
	folder, s := t.TempDir(), &shelf{}
	var b []byte
	for i := range int64(3) {
		b = appendLogged(b, 7, record(i))
	}
	if err := os.WriteFile(filepath.Join(folder, "spool-00000004.log"), b[:len(b)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	j := fresh(t, s, folder, filesMost)
	if err := j.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := s.list(); !reflect.DeepEqual(got, []control.CallRecord{*record(0), *record(1)}) || len(files(t, folder)) > 0 {
		t.Errorf("booked %+v, left %v", got, files(t, folder))
	}
}

// appendLogged writes a record as older versions did.
func appendLogged(b []byte, lease int64, r *control.CallRecord) []byte {
	start := len(b)
	b = append(b, make([]byte, logHead)...)
	for _, n := range []int64{lease, r.Serial, r.At.UnixMilli(), int64(r.Status), int64(r.Took)} {
		b = binary.AppendVarint(b, n)
	}
	for _, s := range []string{r.Request.String(), string(r.App), string(r.Product), string(r.Route), string(r.Grant), string(r.Package), r.Method, r.Path,
		r.Code, string(r.Outcome)} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	body := b[start+logHead:]
	binary.LittleEndian.PutUint32(b[start:], uint32(len(body)))
	binary.LittleEndian.PutUint32(b[start+4:], crc32.Checksum(body, castagnoli))
	return b
}

// G4: to write a call down allocates nothing, also for calls that cost nothing.
func TestSettlingAllocatesNothing(t *testing.T) {
	j := fresh(t, &shelf{broken: ledger.ErrGone}, t.TempDir(), filesMost)
	defer j.kill()
	r, n := record(1), note()
	if a := testing.AllocsPerRun(1000, func() {
		if err := j.Settle(7, r); err != nil {
			t.Fatal(err)
		}
		j.Note(n)
	}); a > 0 {
		t.Errorf("%v allocations", a)
	}
}
