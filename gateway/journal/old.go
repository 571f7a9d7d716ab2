package journal

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"sort"
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/ledger"
)

// The spool of older versions was a log: "spool-NNNNNNNN.log", records with the length of
// their body and its CRC-32C before it, four bytes each. One that was left by a process that
// was killed is booked once, and then it is gone.
const logHead = 8

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// findLogs reads the charged calls of every log there is.
func (j *Journal) findLogs() error {
	list, err := filepath.Glob(filepath.Join(j.folder, "spool-*.log"))
	if err != nil {
		return err
	}
	sort.Strings(list)
	for _, name := range list {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		entries, whole := decodeLog(b)
		if whole < len(b) {
			j.log.Warn("the spool ends in the middle of a record", zap.String("file", name), zap.Int("bytes left out", len(b)-whole))
		}
		j.old, j.oldLogs = append(j.old, entries...), append(j.oldLogs, name)
	}
	return nil
}

// decodeLog reads whole records up to the first that is torn, and says where that is.
func decodeLog(b []byte) (entries []ledger.Entry, whole int) {
	for len(b)-whole >= logHead {
		at := b[whole:]
		n := int(binary.LittleEndian.Uint32(at))
		if n > len(at)-logHead || crc32.Checksum(at[logHead:logHead+n], castagnoli) != binary.LittleEndian.Uint32(at[4:]) {
			break
		}
		e, ok := decodeLogged(at[logHead : logHead+n])
		if !ok {
			break
		}
		entries = append(entries, e)
		whole += logHead + n
	}
	return entries, whole
}

func decodeLogged(b []byte) (e ledger.Entry, ok bool) {
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
	if id, err := control.ParseRequestID(text()); err == nil {
		e.Request = id
	}
	e.App, e.Product, e.Route = control.AppID(text()), control.ProductID(text()), control.RouteID(text())
	e.Grant, e.Package, e.Method, e.Path = control.GrantID(text()), control.PackageID(text()), text(), text()
	e.Code, e.Outcome = text(), control.Outcome(text())
	return e, ok && len(b) == 0
}
