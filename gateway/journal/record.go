package journal

import (
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/ledger"
)

// A record of the spool: the length of its body and its checksum, four bytes each, then
// the body: numbers as varints, texts with their length before them.
const recordHead = 8

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encode(b []byte, e *ledger.Entry) []byte {
	start := len(b)
	b = append(b, make([]byte, recordHead)...)
	for _, n := range []int64{e.Lease, e.Serial, e.At.UnixMilli(), int64(e.Status), int64(e.Took)} {
		b = binary.AppendVarint(b, n)
	}
	for _, s := range []string{e.Request, string(e.App), string(e.Product), string(e.Route), string(e.Grant), string(e.Package), e.Method, e.Path, e.Code, string(e.Outcome)} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	body := b[start+recordHead:]
	binary.LittleEndian.PutUint32(b[start:], uint32(len(body)))
	binary.LittleEndian.PutUint32(b[start+4:], crc32.Checksum(body, castagnoli))
	return b
}

// decodeAll reads whole records up to the first that is torn, and says where that is.
func decodeAll(b []byte) (entries []ledger.Entry, whole int) {
	for len(b)-whole >= recordHead {
		at := b[whole:]
		n := int(binary.LittleEndian.Uint32(at))
		if n > len(at)-recordHead || crc32.Checksum(at[recordHead:recordHead+n], castagnoli) != binary.LittleEndian.Uint32(at[4:]) {
			break
		}
		e, ok := decode(at[recordHead : recordHead+n])
		if !ok {
			break
		}
		entries = append(entries, e)
		whole += recordHead + n
	}
	return entries, whole
}

func decode(b []byte) (e ledger.Entry, ok bool) {
	ok = true
	number := func() int64 {
		v, n := binary.Varint(b)
		if n <= 0 {
			ok = false
			return 0
		}
		b = b[n:]
		return v
	}
	text := func() string {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > uint64(len(b)-n) {
			ok = false
			return ""
		}
		s := string(b[n : n+int(v)])
		b = b[n+int(v):]
		return s
	}
	e.Lease, e.Serial, e.At = number(), number(), time.UnixMilli(number()).UTC()
	e.Status, e.Took = int(number()), time.Duration(number())
	e.Request, e.App, e.Product, e.Route = text(), control.AppID(text()), control.ProductID(text()), control.RouteID(text())
	e.Grant, e.Package, e.Method, e.Path = control.GrantID(text()), control.PackageID(text()), text(), text()
	e.Code, e.Outcome = text(), control.Outcome(text())
	return e, ok && len(b) == 0
}
