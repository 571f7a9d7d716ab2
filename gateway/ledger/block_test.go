package ledger

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
)

func anyEntry(r *rand.Rand) Entry {
	e := Entry{Lease: r.Int64N(1 << 40)}
	e.At = time.UnixMilli(noon.UnixMilli() + r.Int64N(1e9) - 5e8).UTC()
	e.Request = control.NewRequestID(e.At)
	if r.IntN(4) == 0 {
		e.Request = control.RequestID{byte(r.Int()), 6: 0x40, 15: byte(r.Int())}
	}
	text := func(kind string) string {
		if r.IntN(5) == 0 {
			return ""
		}
		return fmt.Sprint(kind, r.IntN(4), "北")
	}
	e.App, e.Product, e.Route = control.AppID(text("app_")), control.ProductID(text("prd_")), control.RouteID(text("rte_"))
	e.Grant, e.Package, e.Method, e.Path = control.GrantID(text("grt_")), control.PackageID(text("pkg_")), text("M"), text("/")
	e.Code, e.Outcome = text("B"), control.Outcome(text("o"))
	e.Serial, e.Status, e.Took = r.Int64N(1e12)-1, r.IntN(600), time.Duration(r.Int64N(1e6))*time.Microsecond
	return e
}

// What is put into a block, or written for the journal, comes back as it was.
func TestEntriesComeBack(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 4))
	var b block
	var d Decoder
	var want []Entry
	for range 3000 {
		e := anyEntry(random)
		want = append(want, e)
		var read Entry
		if err := d.Decode(&read, AppendEntry(nil, e.Lease, &e.CallRecord)); err != nil {
			t.Fatal(err)
		}
		if read.shape = nil; !reflect.DeepEqual(read, e) {
			t.Fatalf("decoded\n%+v, want\n%+v", read, e)
		}
		b.add(&e)
	}
	i := 0
	err := readBlock(b.body(), func(e *Entry) {
		if e.CallRecord != want[i].CallRecord {
			t.Fatalf("call %d is\n%+v, want\n%+v", i, e.CallRecord, want[i].CallRecord)
		}
		i++
	})
	if err != nil || i != len(want) {
		t.Fatalf("%d calls, %v", i, err)
	}
	filter := b.filter()
	for _, e := range want {
		for _, h := range []uint64{nameHash('a', string(e.App)), nameHash('g', string(e.Grant)), nameHash('p', string(e.Product)), nameHash('k', string(e.Package))} {
			if !mayHave(filter, h) {
				t.Fatal("the filter hides a call that is there")
			}
		}
	}
	vain := 0
	for i := range 1000 {
		if mayHave(filter, nameHash('a', fmt.Sprint("stranger", i))) {
			vain++
		}
	}
	if vain > 100 {
		t.Errorf("%d of 1000 strangers may be in the block", vain)
	}
}

// A block or an entry that is cut or garbled is an error, and never the end of the program.
func TestGarbledBlocks(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 5))
	var b block
	var d Decoder
	for range 20 {
		e := anyEntry(random)
		b.add(&e)
	}
	body := b.body()
	raw := AppendEntry(nil, 7, &control.CallRecord{App: "app_a", At: noon})
	for range 20_000 {
		broken := slices.Clone(body)
		broken[random.IntN(len(broken))] ^= byte(1 + random.IntN(255))
		_ = readBlock(broken, func(*Entry) {}) // some can still be read
		if err := readBlock(body[:random.IntN(len(body))], func(*Entry) {}); !errors.Is(err, ErrBlock) {
			t.Fatalf("a block that is cut: %v", err)
		}
		entry := slices.Clone(raw)
		entry[random.IntN(len(entry))] ^= byte(1 + random.IntN(255))
		var e Entry
		_ = d.Decode(&e, entry)
		if err := d.Decode(&e, raw[:random.IntN(len(raw))]); !errors.Is(err, ErrEntry) {
			t.Fatalf("an entry that is cut: %v", err)
		}
	}
}

func FuzzReadBlock(f *testing.F) {
	var b block
	e := entry("pkg_a", 1, 1, control.Charged, noon)
	b.add(&e)
	f.Add(b.body())
	f.Fuzz(func(_ *testing.T, body []byte) { _ = readBlock(body, func(*Entry) {}) })
}

// Bits are what a set of serials would be, whole leases have none, and none is outside.
func TestSpentIsASet(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 6))
	for range 200 {
		lo := random.Int64N(1000)
		size := 1 + random.Int64N(40)
		s := spent{lo: lo, hi: lo + size}
		want := map[int64]bool{}
		for range 3 * size {
			serial := lo + random.Int64N(size)
			fresh, err := s.charge(serial)
			if err != nil || fresh == want[serial] {
				t.Fatalf("serial %d of %+v: fresh %v, %v", serial, s, fresh, err)
			}
			want[serial] = true
			if s.used != int64(len(want)) || s.check() != "" || s.used == size && len(s.bits) > 0 {
				t.Fatalf("%+v after %d serials: %s", s, len(want), s.check())
			}
			s = spent{lo: s.lo, hi: s.hi, used: s.used, bits: slices.Clone(s.bits)} // as it comes from the database
		}
		for _, outside := range []int64{lo - 1, lo + size} {
			if _, err := s.charge(outside); err == nil {
				t.Fatalf("serial %d of %+v was charged", outside, s)
			}
		}
	}
}

func blocks(t testing.TB, l *Ledger) (n int) {
	t.Helper()
	if err := l.db.Load().Read().QueryRow(t.Context(), `SELECT COUNT(*) FROM gw_block`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Calls that come one by one do not stay one block each; the lists are in order, and find
// every one by each name, also where a block mixes many apps.
func TestSmallBlocksArePutTogether(t *testing.T) {
	l := fresh(t)
	var want []control.CallRecord
	const n = 1500
	for i := range n {
		e := entry("", int64(i), 0, control.Free, noon.Add(time.Duration(i)*time.Second-time.Hour))
		e.App = control.AppID(fmt.Sprint("app_", i%7))
		if i == 333 {
			e.App, e.Grant, e.Product, e.Package = "app_rare", "grt_rare", "prd_rare", "pkg_rare"
		}
		if err := l.Book(t.Context(), []Entry{e}, nil); err != nil {
			t.Fatal(err)
		}
		want = append(want, e.CallRecord)
	}
	if got := blocks(t, l); got > 3*blockHeap {
		t.Errorf("%d blocks for %d calls", got, n)
	}
	slices.Reverse(want)
	got, err := l.Calls(t.Context(), control.CallFilter{Max: 1000})
	if err != nil || !reflect.DeepEqual(got, want[:1000]) {
		t.Errorf("%d calls, %v", len(got), err)
	}
	rare := want[n-1-333]
	for _, f := range []control.CallFilter{{App: "app_rare"}, {Grant: "grt_rare"}, {Product: "prd_rare"}, {Package: "pkg_rare"}, {Request: rare.Request},
		{App: "app_rare", Request: rare.Request}} {
		if got, err := l.Calls(t.Context(), f); err != nil || len(got) != 1 || got[0] != rare {
			t.Errorf("%+v: %+v, %v", f, got, err)
		}
	}
	if got, err := l.Calls(t.Context(), control.CallFilter{App: "app_b", Request: rare.Request}); err != nil || len(got) != 0 {
		t.Errorf("of another app: %+v, %v", got, err)
	}
	for _, r := range want {
		if got, err := l.Calls(t.Context(), control.CallFilter{Request: r.Request}); err != nil || len(got) != 1 || got[0] != r {
			t.Fatalf("%v: %+v, %v", r.Request, got, err)
		}
	}
}

// The newest 100 000 calls stay, and no more than what is bounded.
func TestOldCallsMakeRoom(t *testing.T) {
	l := fresh(t)
	batch := make([]Entry, 8000)
	const batches = 130
	for i := range batches {
		for k := range batch {
			batch[k] = entry("", int64(k), 0, control.Free, noon.Add(time.Duration(i)*time.Second))
			batch[k].Request = control.RequestID{1}
		}
		if err := l.Book(t.Context(), batch, nil); err != nil {
			t.Fatal(err)
		}
	}
	l.now = func() time.Time { return noon.Add(time.Hour) }
	if err := l.Trim(t.Context()); err != nil {
		t.Fatal(err)
	}
	var calls, oldest int64
	if err := l.db.Load().Read().QueryRow(t.Context(), `SELECT SUM(calls), MIN(first) FROM gw_block`).Scan(&calls, &oldest); err != nil {
		t.Fatal(err)
	}
	if calls < callsKept || calls > callsKept+blockMost || oldest <= noon.UnixMilli() {
		t.Errorf("%d calls are kept, want %d or a block more", calls, callsKept)
	}
}
