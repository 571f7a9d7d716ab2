package ledger

import (
	"crypto/subtle"
	"encoding/binary"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/souk-market/souk/gateway/control"
)

// App is who calls, as the gates need it. Its texts and its secret are those of the table:
// whoever keeps one for long takes a copy, since it keeps the memory of some thousand apps
// from being freed. They never change: an app with another secret is another record.
type App struct {
	ID     control.AppID
	Owner  string
	Key    string
	Live   bool
	Secret []byte
}

// apps are all apps, by what they call with. The database is the truth; this is all of it.
//
// Why not a map of pointers: a million apps would be some millions of objects, and the
// collector would look at each of them each time. Here an app is a record in a slab of
// bytes, and two slots of eight bytes in tables that are open-addressed. Records are
// written once and never altered, so readers take no lock: who changes an app writes a new
// record behind the others and turns the two slots to it. A slab of which half is such old
// records is emptied and let go; the strings that still point into it keep it alive.
type apps struct {
	seed  maphash.Seed
	slabs atomic.Pointer[[]*slab] // nil where one was let go; numbers are not used again
	keys  [appShards]slots
	codes [appShards]slots

	mu sync.Mutex // one writer at a time
}

const (
	slabSize  = 256 << 10
	appShards = 64
)

type slab struct {
	data  *[slabSize]byte
	n     int // bytes that were written; the writer's
	waste int // bytes of records that are no app's any more; the writer's
}

// slots is one part of a table: a power of two of them, searched one after the other from
// where the hash points. A slot is 24 bits of the hash above the place of a record, in
// words of eight bytes, plus one.
type slots struct {
	table atomic.Pointer[[]atomic.Uint64]
	used  int // slots that are not empty; the writer's
	gone  int // of them, those that point nowhere any more
}

const (
	placeBits = 40 // eight terabytes of records, in all that were ever written
	placeMask = 1<<placeBits - 1
	goneSlot  = ^uint64(0)
	codeMark  = 16 // bytes of the keyed hash of an AppCode that are kept
)

func newApps() *apps { return &apps{seed: maphash.MakeSeed()} }

// A record: its length in bytes, a multiple of eight; whether it is live; the lengths of
// its texts; the mark of its AppCode; the texts.
const recordHead = 4 + 1 + 1 + 2 + 2 + 2 + codeMark

type record []byte

func (r record) mark() []byte { return r[12 : 12+codeMark] }

func (r record) size() int { return int(binary.LittleEndian.Uint32(r)) }

func (r record) key() []byte { return r[recordHead : recordHead+int(r[5])] }

func (r record) app() App {
	key, secret := int(r[5]), int(binary.LittleEndian.Uint16(r[6:]))
	id, owner := int(binary.LittleEndian.Uint16(r[8:])), int(binary.LittleEndian.Uint16(r[10:]))
	at := recordHead
	text := func(n int) string {
		s := r[at : at+n]
		at += n
		return unsafe.String(unsafe.SliceData(s), n)
	}
	a := App{Live: r[4] == 1, Key: text(key)}
	a.ID, a.Owner = control.AppID(text(id)), text(owner)
	a.Secret = r[at : at+secret : at+secret]
	return a
}

// fits reports whether an app can be a record.
func (a *App) fits() bool {
	return len(a.Key) < 1<<8 && len(a.Secret) < 1<<16 && len(a.ID) < 1<<16 && len(a.Owner) < 1<<16
}

func (a *App) recordSize() int {
	return (recordHead + len(a.Key) + len(a.ID) + len(a.Owner) + len(a.Secret) + 7) &^ 7
}

// byKey finds an app by its AppKey.
func (t *apps) byKey(key []byte) (App, bool) {
	r := t.find(&t.keys, maphash.Bytes(t.seed, key), func(r record) bool { return string(r.key()) == string(key) })
	if r == nil {
		return App{}, false
	}
	return r.app(), true
}

// byMark finds an app by the keyed hash of its AppCode.
func (t *apps) byMark(mark []byte) (App, bool) {
	r := t.find(&t.codes, markHash(mark), func(r record) bool { return subtle.ConstantTimeCompare(r.mark(), mark) == 1 })
	if r == nil {
		return App{}, false
	}
	return r.app(), true
}

func markHash(mark []byte) uint64 { return binary.LittleEndian.Uint64(mark) }

func (t *apps) find(table *[appShards]slots, h uint64, is func(record) bool) record {
again:
	p := table[h>>58].table.Load()
	if p == nil {
		return nil
	}
	list := *p
	mask := uint64(len(list) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		s := list[i].Load()
		if s == 0 {
			return nil
		}
		if s == goneSlot || s>>placeBits != tagOf(h) {
			continue
		}
		r := t.at(s)
		if r == nil {
			goto again // its slab was let go after we had read the slot, which by now says another place
		}
		if is(r) {
			return r
		}
	}
}

// tagOf is what of a hash stands in its slot. It never makes a slot that is empty or gone.
func tagOf(h uint64) uint64 { return h >> 33 & (1<<24 - 1) &^ 1 }

func slotOf(h uint64, place int64) uint64 { return tagOf(h)<<placeBits | uint64(place/8+1) }

func placeOf(slot uint64) int64 { return int64(slot&placeMask-1) * 8 }

// at is the record that a slot points to; nil: its slab was let go.
func (t *apps) at(slot uint64) record {
	place := placeOf(slot)
	s := (*t.slabs.Load())[place/slabSize]
	if s == nil {
		return nil
	}
	from := s.data[place%slabSize:]
	return record(from[:binary.LittleEndian.Uint32(from)])
}

// put makes an app's present credentials the only ones it has. An AppKey is an app's for
// its whole life, so the record that was there is found by it.
func (t *apps) put(a *App, mark []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := maphash.String(t.seed, a.Key)
	old := t.slot(&t.keys, h, func(s uint64) bool { return string(t.at(s).key()) == a.Key })
	place := t.append(a, mark)
	if old == nil {
		t.insert(&t.keys, h, place, keyHash)
		t.insert(&t.codes, markHash(mark), place, codeHash)
		return
	}
	was := old.Load()
	r := t.at(was)
	code := t.slotAt(&t.codes, markHash(r.mark()), was)
	old.Store(slotOf(h, place))
	if string(r.mark()) == string(mark) {
		code.Store(slotOf(markHash(mark), place))
	} else {
		t.insert(&t.codes, markHash(mark), place, codeHash)
		// insert may have made another table: look again.
		t.slotAt(&t.codes, markHash(r.mark()), was).Store(goneSlot)
		t.codes[markHash(r.mark())>>58].gone++
	}
	t.discard(placeOf(was), r.size())
}

func (t *apps) slotAt(table *[appShards]slots, h uint64, was uint64) *atomic.Uint64 {
	return t.slot(table, h, func(s uint64) bool { return s&placeMask == was&placeMask })
}

// slot is the slot of a hash whose content is the right one; nil: there is none. Only the
// writer calls it.
func (t *apps) slot(table *[appShards]slots, h uint64, is func(uint64) bool) *atomic.Uint64 {
	p := table[h>>58].table.Load()
	if p == nil {
		return nil
	}
	list := *p
	mask := uint64(len(list) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		s := list[i].Load()
		if s == 0 {
			return nil
		}
		if s != goneSlot && s>>placeBits == tagOf(h) && is(s) {
			return &list[i]
		}
	}
}

func keyHash(t *apps, r record) uint64  { return maphash.Bytes(t.seed, r.key()) }
func codeHash(_ *apps, r record) uint64 { return markHash(r.mark()) }

// insert makes a slot for a place. At three quarters of its slots a part gets a table of
// twice what it needs; it is a sixty-fourth of the whole.
func (t *apps) insert(table *[appShards]slots, h uint64, place int64, hashOf func(*apps, record) uint64) {
	part := &table[h>>58]
	p := part.table.Load()
	if p == nil || (part.used+1)*4 > len(*p)*3 {
		size := 8
		for size < 2*(part.used-part.gone+1) {
			size *= 2
		}
		list := make([]atomic.Uint64, size)
		part.used, part.gone = 0, 0
		if p != nil {
			for i := range *p {
				if s := (*p)[i].Load(); s != 0 && s != goneSlot {
					set(list, hashOf(t, t.at(s)), placeOf(s))
					part.used++
				}
			}
		}
		p = &list
		set(list, h, place)
		part.used++
		part.table.Store(p)
		return
	}
	set(*p, h, place)
	part.used++
}

func set(list []atomic.Uint64, h uint64, place int64) {
	mask := uint64(len(list) - 1)
	i := h & mask
	for list[i].Load() != 0 {
		i = (i + 1) & mask
	}
	list[i].Store(slotOf(h, place))
}

// append writes a record behind the others and says where.
func (t *apps) append(a *App, mark []byte) int64 {
	size := a.recordSize()
	s, n := t.room(size)
	at := s.n
	b := s.data[at : at+size]
	binary.LittleEndian.PutUint32(b, uint32(size))
	if a.Live {
		b[4] = 1
	}
	b[5] = byte(len(a.Key))
	binary.LittleEndian.PutUint16(b[6:], uint16(len(a.Secret)))
	binary.LittleEndian.PutUint16(b[8:], uint16(len(a.ID)))
	binary.LittleEndian.PutUint16(b[10:], uint16(len(a.Owner)))
	copy(b[12:12+codeMark], mark)
	rest := b[recordHead:]
	for _, text := range [...]string{a.Key, string(a.ID), a.Owner, string(a.Secret)} {
		rest = rest[copy(rest, text):]
	}
	s.n += size
	return int64(n)*slabSize + int64(at)
}

// room is the slab that has room for a record, and its number.
func (t *apps) room(size int) (*slab, int) {
	var list []*slab
	if p := t.slabs.Load(); p != nil {
		list = *p
		if s := list[len(list)-1]; s != nil && s.n+size <= slabSize {
			return s, len(list) - 1
		}
	}
	// A copy, as readers go by the list that they have; it has a pointer for 2 000 apps.
	list = append(append(make([]*slab, 0, len(list)+1), list...), &slab{data: new([slabSize]byte)})
	t.slabs.Store(&list)
	return list[len(list)-1], len(list) - 1
}

// discard notes that a record is no app's any more, and empties a slab of which half is so.
func (t *apps) discard(place int64, size int) {
	list := *t.slabs.Load()
	n := int(place / slabSize)
	s := list[n]
	if s.waste += size; s.waste*2 < slabSize || n == len(list)-1 {
		return
	}
	for at := 0; at < s.n; {
		r := record(s.data[at:])
		r = r[:r.size()]
		here := int64(n)*slabSize + int64(at)
		at += len(r)
		h := keyHash(t, r)
		key := t.slotAt(&t.keys, h, slotOf(h, here))
		if key == nil {
			continue // waste
		}
		a := r.app()
		code := t.slotAt(&t.codes, codeHash(t, r), key.Load())
		next := t.append(&a, r.mark())
		key.Store(slotOf(h, next))
		code.Store(slotOf(codeHash(t, r), next))
	}
	list = append([]*slab(nil), *t.slabs.Load()...)
	list[n] = nil
	t.slabs.Store(&list)
}

// size is how many apps there are, and the bytes that they take.
func (t *apps) size() (apps, bytes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.keys {
		apps += t.keys[i].used - t.keys[i].gone
		for _, part := range [...]*slots{&t.keys[i], &t.codes[i]} {
			if p := part.table.Load(); p != nil {
				bytes += 8 * len(*p)
			}
		}
	}
	if p := t.slabs.Load(); p != nil {
		for _, s := range *p {
			if s != nil {
				bytes += slabSize
			}
		}
	}
	return apps, bytes
}
