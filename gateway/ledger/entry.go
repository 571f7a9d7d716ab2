package ledger

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/souk-market/souk/gateway/control"
)

// Entry is a call on its way into the ledger. Charged ones carry the lease that their
// serial came from.
type Entry struct {
	control.CallRecord
	Lease int64

	shape *shape // nil: not looked for yet
}

// takesBack reports whether the entry undoes the charge of its serial: it costs nothing, and
// yet names a serial of a lease.
func (e *Entry) takesBack() bool {
	return e.Outcome == control.Free && e.Lease != 0 && e.Serial >= 0
}

// shape is all that is the same in most of a buyer's calls: everything but when it was, how
// long it took, and the numbers.
type shape struct {
	App     control.AppID
	Product control.ProductID
	Route   control.RouteID
	Grant   control.GrantID
	Package control.PackageID
	Method  string
	Path    string
	Code    string
	Outcome control.Outcome
}

func shapeOf(r *control.CallRecord) shape {
	return shape{r.App, r.Product, r.Route, r.Grant, r.Package, r.Method, r.Path, r.Code, r.Outcome}
}

func (s *shape) fill(r *control.CallRecord) {
	r.App, r.Product, r.Route, r.Grant, r.Package = s.App, s.Product, s.Route, s.Grant, s.Package
	r.Method, r.Path, r.Code, r.Outcome = s.Method, s.Path, s.Code, s.Outcome
}

// texts are the texts of a shape in the order in which they are written.
func (s *shape) texts() [shapeTexts]string {
	return [shapeTexts]string{string(s.App), string(s.Product), string(s.Route), string(s.Grant), string(s.Package), s.Method, s.Path, s.Code, string(s.Outcome)}
}

const shapeTexts = 9

func shapeFrom(t [shapeTexts]string) shape {
	return shape{control.AppID(t[0]), control.ProductID(t[1]), control.RouteID(t[2]), control.GrantID(t[3]), control.PackageID(t[4]),
		t[5], t[6], t[7], control.Outcome(t[8])}
}

// AppendEntry appends the bytes by which a journal keeps an entry: the numbers, the request
// ID, and then the shape, so that whoever reads many finds equal ones by comparing bytes.
func AppendEntry(b []byte, lease int64, r *control.CallRecord) []byte {
	b = binary.AppendVarint(b, lease)
	b = binary.AppendVarint(b, r.Serial)
	b = binary.AppendVarint(b, r.At.UnixMilli())
	b = binary.AppendVarint(b, int64(r.Took))
	b = binary.AppendUvarint(b, uint64(r.Status))
	b = append(b, r.Request[:]...)
	b = appendText(b, string(r.App))
	b = appendText(b, string(r.Product))
	b = appendText(b, string(r.Route))
	b = appendText(b, string(r.Grant))
	b = appendText(b, string(r.Package))
	b = appendText(b, r.Method)
	b = appendText(b, r.Path)
	b = appendText(b, r.Code)
	return appendText(b, string(r.Outcome))
}

func appendText(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// ErrEntry: bytes are no entry.
var ErrEntry = errors.New("ledger: the bytes of an entry are cut or garbled")

// Decoder reads entries. It remembers the shapes that it has met, so that a thousand calls
// of one app hold its texts once. It is for one goroutine at a time.
type Decoder struct {
	known map[string]met
	last  met
}

// met is a shape beside the bytes that it was read from.
type met struct {
	*shape
	raw string
}

// shapesKnown bounds how many shapes a Decoder remembers.
const shapesKnown = 1 << 14

// Decode reads what AppendEntry wrote. Nothing of e points into b.
func (d *Decoder) Decode(e *Entry, b []byte) error {
	r := reader{b: b}
	e.Lease, e.Serial = r.number(), r.number()
	e.At, e.Took, e.Status = time.UnixMilli(r.number()).UTC(), time.Duration(r.number()), int(r.size())
	copy(e.Request[:], r.bytes(len(e.Request)))
	if r.bad {
		return ErrEntry
	}
	if d.last.shape == nil || d.last.raw != string(r.b) {
		if err := d.find(r.b); err != nil {
			return err
		}
	}
	e.shape = d.last.shape
	e.shape.fill(&e.CallRecord)
	return nil
}

func (d *Decoder) find(raw []byte) error {
	if m, ok := d.known[string(raw)]; ok {
		d.last = m
		return nil
	}
	text := string(raw)
	r := reader{b: raw}
	var t [shapeTexts]string
	for i := range t {
		n := int(r.size())
		at := len(text) - len(r.b)
		if r.bytes(n); r.bad {
			return ErrEntry
		}
		t[i] = text[at : at+n]
	}
	if len(r.b) > 0 {
		return ErrEntry
	}
	if d.known == nil || len(d.known) >= shapesKnown {
		d.known = map[string]met{}
	}
	s := shapeFrom(t)
	d.last = met{&s, text}
	d.known[text] = d.last
	return nil
}

// reader reads numbers and bytes, and remembers that something was wrong.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) number() int64 {
	v, n := binary.Varint(r.b)
	return int64(r.step(uint64(v), n))
}

func (r *reader) size() uint64 {
	v, n := binary.Uvarint(r.b)
	return r.step(v, n)
}

func (r *reader) step(v uint64, n int) uint64 {
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.bad, r.b = true, nil
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}
