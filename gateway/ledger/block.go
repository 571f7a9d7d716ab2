package ledger

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"time"

	"github.com/souk-market/souk/gateway/control"
)

// A block holds records of many calls in one row of the database. What is the same in many
// calls stands once, as a shape, in front; a call is then its shape, its status, how much
// later it began than the one before it, its serial after the last one of its shape, how
// long it took, and of the request ID the part that is not its time: some 18 bytes, ten of
// which are random. Nothing is left for a compressor to find.
//
//	version, calls, texts, shapes of numbers of texts, calls
const blockVersion = 1

// ErrBlock: a block of records cannot be read.
var ErrBlock = errors.New("ledger: a block of call records is cut or garbled")

// block makes one block. The zero value is empty.
type block struct {
	rows        []byte
	calls       int
	first, last int64 // of At, in milliseconds
	at          int64 // of the row before

	shapes  []*shape
	serials []int64         // the last one of each shape
	byPtr   map[*shape]int  // a look before the slower one
	byValue map[shape]int   // two decoders may know one shape each
	texts   map[string]int  // numbers of texts
	list    []string        // texts in the order of their numbers
	names   map[uint64]bool // for the filter
}

func (b *block) shape(e *Entry) int {
	if e.shape != nil {
		if i, ok := b.byPtr[e.shape]; ok {
			return i
		}
	}
	s := shapeOf(&e.CallRecord)
	i, ok := b.byValue[s]
	if !ok {
		if b.byValue == nil {
			b.byPtr, b.byValue, b.texts, b.names = map[*shape]int{}, map[shape]int{}, map[string]int{}, map[uint64]bool{}
		}
		i = len(b.shapes)
		b.shapes, b.serials = append(b.shapes, &s), append(b.serials, 0)
		b.byValue[s] = i
		for _, t := range s.texts() {
			if _, ok := b.texts[t]; !ok {
				b.texts[t] = len(b.list)
				b.list = append(b.list, t)
			}
		}
		for _, n := range [...]uint64{nameHash('a', string(s.App)), nameHash('g', string(s.Grant)), nameHash('p', string(s.Product)), nameHash('k', string(s.Package))} {
			b.names[n] = true
		}
	}
	if e.shape != nil {
		b.byPtr[e.shape] = i
	}
	return i
}

func (b *block) add(e *Entry) {
	i := b.shape(e)
	at := e.At.UnixMilli()
	timed := isTimed(&e.Request, at)
	head := uint64(i) << 1
	if timed {
		head |= 1
	}
	b.rows = binary.AppendUvarint(b.rows, head)
	b.rows = binary.AppendUvarint(b.rows, uint64(e.Status))
	b.rows = binary.AppendVarint(b.rows, at-b.at)
	b.rows = binary.AppendVarint(b.rows, e.Serial-b.serials[i])
	b.rows = binary.AppendVarint(b.rows, e.Took.Microseconds())
	if timed {
		b.rows = append(b.rows, e.Request[6:]...)
	} else {
		b.rows = append(b.rows, e.Request[:]...)
	}
	b.at, b.serials[i] = at, e.Serial
	if b.calls == 0 || at < b.first {
		b.first = at
	}
	if b.calls == 0 || at > b.last {
		b.last = at
	}
	b.calls++
}

// isTimed reports whether the time in an ID is the one beside it.
func isTimed(id *control.RequestID, at int64) bool {
	return binary.BigEndian.Uint64(id[:8])>>16 == uint64(at)
}

func (b *block) body() []byte {
	out := make([]byte, 0, len(b.rows)+64*len(b.list)+16*len(b.shapes)+16)
	out = append(out, blockVersion)
	out = binary.AppendUvarint(out, uint64(b.calls))
	out = binary.AppendUvarint(out, uint64(len(b.list)))
	for _, t := range b.list {
		out = appendText(out, t)
	}
	out = binary.AppendUvarint(out, uint64(len(b.shapes)))
	for _, s := range b.shapes {
		for _, t := range s.texts() {
			out = binary.AppendUvarint(out, uint64(b.texts[t]))
		}
	}
	return append(out, b.rows...)
}

// readBlock gives each call of a block to f, oldest first.
func readBlock(body []byte, f func(*Entry)) error {
	r := reader{b: body}
	if v := r.bytes(1); r.bad || v[0] != blockVersion {
		return ErrBlock
	}
	calls := r.size()
	texts, err := blockTexts(&r)
	if err != nil {
		return err
	}
	n := r.size()
	if n > uint64(len(r.b)) {
		return ErrBlock
	}
	shapes, serials := make([]shape, n), make([]int64, n)
	for i := range shapes {
		var t [shapeTexts]string
		for k := range t {
			at := r.size()
			if r.bad || at >= uint64(len(texts)) {
				return ErrBlock
			}
			t[k] = texts[at]
		}
		shapes[i] = shapeFrom(t)
	}
	var at int64
	for range calls {
		head := r.size()
		i := head >> 1
		if r.bad || i >= n {
			return ErrBlock
		}
		e := Entry{shape: &shapes[i]}
		e.shape.fill(&e.CallRecord)
		e.Status = int(r.size())
		at += r.number()
		serials[i] += r.number()
		e.At, e.Serial, e.Took = time.UnixMilli(at).UTC(), serials[i], time.Duration(r.number())*time.Microsecond
		if head&1 == 1 {
			binary.BigEndian.PutUint64(e.Request[:8], uint64(at)<<16)
			copy(e.Request[6:], r.bytes(len(e.Request)-6))
		} else {
			copy(e.Request[:], r.bytes(len(e.Request)))
		}
		if r.bad {
			return ErrBlock
		}
		f(&e)
	}
	if len(r.b) > 0 {
		return ErrBlock
	}
	return nil
}

func blockTexts(r *reader) ([]string, error) {
	n := r.size()
	if n > uint64(len(r.b)) {
		return nil, ErrBlock
	}
	texts := make([]string, n)
	for i := range texts {
		texts[i] = string(r.bytes(int(r.size())))
	}
	if r.bad {
		return nil, ErrBlock
	}
	return texts, nil
}

// The filter of a block is a Bloom filter of the names in it: a power of two bits, ten or
// more to a name, of which each name sets four. One block in fifty is read in vain.
const bitsOfName, marksOfName = 10, 4

func (b *block) filter() []byte {
	size := 1 << bits.Len(uint(max(64, bitsOfName*len(b.names))-1))
	f := make([]byte, size/8)
	for h := range b.names {
		for range marksOfName {
			at := h & uint64(size-1)
			f[at/8] |= 1 << (at % 8)
			h = bits.RotateLeft64(h, 17)*0x9E3779B97F4A7C15 + 1
		}
	}
	return f
}

// mayHave reports whether a name may be in the block; if not, it is not.
func mayHave(filter []byte, h uint64) bool {
	size := uint64(len(filter)) * 8
	if size == 0 {
		return true
	}
	for range marksOfName {
		at := h & (size - 1)
		if filter[at/8]&(1<<(at%8)) == 0 {
			return false
		}
		h = bits.RotateLeft64(h, 17)*0x9E3779B97F4A7C15 + 1
	}
	return true
}

// nameHash is FNV-1a of a name with its kind before it: it stands in the database, so it
// is the same for ever.
func nameHash(kind byte, name string) uint64 {
	h := (uint64(14695981039346656037) ^ uint64(kind)) * 1099511628211
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	return h ^ h>>29
}
