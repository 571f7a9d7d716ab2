package journal

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"strings"
	"sync/atomic"
	"unsafe"
)

// A file of the spool has a fixed size. It is written through once, and synced, before
// anything is kept in it: a full disk is an error then, and not the end of the process when
// a page of the mapping cannot be had. After its head it has records, each a word of eight
// bytes and a body, which ends at a multiple of eight:
//
//	length of the body, 4 bytes | checksum of the body, mixed with the file's seed, 4 bytes
//
// The body is copied first and the word is stored after it, in one piece. So a reader finds
// whole records and then a zero, or, in a file that was used before, a word of another seed.
const (
	segmentMagic = "soukspl2"
	segmentSize  = 8 << 20
	segmentHead  = int64(64)
	wordSize     = 8
	recordMost   = 64 << 10
)

// segment is a file of the spool.
type segment struct {
	name   string
	file   *os.File
	mem    []byte
	id     string
	seed   uint32
	end    int64 // of the records; the journal's lock guards it while the file is written to
	booked int64 // up to here the ledger has it
}

func aligned(n int) int64 { return int64(n+7) &^ 7 }

// newSegment makes a file under its name, of an old one if that is given. Until it is
// complete it has another name, which nobody reads.
func newSegment(name string, old *segment) (_ *segment, err error) {
	s := old
	if s == nil {
		if s, err = createSegment(name + ".new"); err != nil {
			return nil, err
		}
	}
	defer func() {
		if err != nil {
			_ = errors.Join(s.close(), os.Remove(s.name)) // the error says more
		}
	}()
	var random [20]byte
	_, _ = rand.Read(random[:]) // it never fails
	clear(s.mem[:segmentHead+wordSize])
	copy(s.mem, segmentMagic)
	copy(s.mem[8:], random[:])
	if err := s.sync(0, segmentHead+wordSize); err != nil {
		return nil, err
	}
	if err := s.readHead(); err != nil {
		return nil, err
	}
	if err := os.Rename(s.name, name); err != nil {
		return nil, err
	}
	s.name, s.end, s.booked = name, segmentHead, segmentHead
	return s, nil
}

func createSegment(name string) (_ *segment, err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%d bytes for %s: %w", segmentSize, name, err), f.Close(), os.Remove(name))
		}
	}()
	if err := reserve(f, segmentSize); err != nil {
		return nil, err
	}
	zero := make([]byte, 256<<10)
	for at := int64(0); at < segmentSize; at += int64(len(zero)) {
		if _, err := f.WriteAt(zero, at); err != nil {
			return nil, err
		}
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	mem, err := mapped(f, segmentSize)
	if err != nil {
		return nil, err
	}
	return &segment{name: name, file: f, mem: mem}, nil
}

var errNoSegment = errors.New("it is no file of a spool, or of a newer souk; start the version that wrote it, or move it away")

func openSegment(name string) (*segment, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	s := &segment{name: name, file: f, booked: segmentHead, end: segmentHead}
	info, err := f.Stat()
	switch {
	case err != nil:
	case info.Size() != segmentSize:
		// Cut by somebody. What is whole of it is read, out of memory: it is not written to.
		s.mem = make([]byte, segmentSize)
		_, err = io.ReadFull(io.NewSectionReader(f, 0, min(info.Size(), segmentSize)), s.mem[:min(info.Size(), segmentSize)])
	default:
		s.mem, err = mapped(f, segmentSize)
	}
	if err == nil {
		err = s.readHead()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}

func (s *segment) readHead() error {
	if string(s.mem[:8]) != segmentMagic {
		return errNoSegment
	}
	s.id = hex.EncodeToString(s.mem[8:24])
	s.seed = binary.LittleEndian.Uint32(s.mem[24:])
	return nil
}

// word is where the word of a record stands. Offsets are multiples of eight, and mappings
// begin with a page, so it lies right for an atomic store.
func (s *segment) word(at int64) *uint64 { return (*uint64)(unsafe.Pointer(&s.mem[at])) }

// put copies a record in; its first eight bytes are room for the word. It reports whether
// there was room left.
func (s *segment) put(b []byte, sum uint32) (bool, error) {
	n := len(b) - wordSize
	if n > recordMost {
		return false, fmt.Errorf("journal: a record of %d bytes; %d are possible", n, recordMost)
	}
	next := s.end + wordSize + aligned(n)
	// The next word must be zero or of another seed, and there must be one.
	if next+wordSize > segmentSize {
		return false, nil
	}
	copy(s.mem[s.end+wordSize:next], b[wordSize:])
	atomic.StoreUint64(s.word(s.end), uint64(n)|uint64(sum^s.seed)<<32)
	if err := s.sync(s.end, next); err != nil {
		atomic.StoreUint64(s.word(s.end), 0)
		return false, fmt.Errorf("journal: write to the spool: %w", err)
	}
	s.end = next
	return true, nil
}

// record is the body of the record at an offset, which must be one of a record.
func (s *segment) record(at int64) []byte {
	n := int64(uint32(atomic.LoadUint64(s.word(at))))
	return s.mem[at+wordSize : at+wordSize+n]
}

// scan is where whole records end.
func (s *segment) scan(at int64) int64 {
	for at+wordSize <= segmentSize {
		w := atomic.LoadUint64(s.word(at))
		n := int64(uint32(w))
		if n == 0 || n > recordMost || at+wordSize+n > segmentSize {
			break
		}
		if checksum(s.mem[at+wordSize:at+wordSize+n])^s.seed != uint32(w>>32) {
			break
		}
		at += wordSize + aligned(int(n))
	}
	return at
}

// setAside takes a file that is booked out of sight of the next start.
func (s *segment) setAside() error {
	if int64(len(s.mem)) != segmentSize {
		return errNoSegment
	}
	name := strings.TrimSuffix(s.name, ".seg") + ".new"
	if err := os.Rename(s.name, name); err != nil {
		return err
	}
	s.name = name
	return nil
}

func (s *segment) close() error {
	return errors.Join(unmapped(s.mem), s.file.Close())
}

// checksum tells whole records from torn ones. It is not CRC-32: calling that makes what it
// reads move to the heap, and a record is made on the stack. A word of eight bytes costs a
// multiplication, 200 bytes some 15 ns.
func checksum(b []byte) uint32 {
	const prime = 0x9E3779B97F4A7C15
	h := uint64(len(b)) * prime
	for len(b) >= 8 {
		h = bits.RotateLeft64(h^binary.LittleEndian.Uint64(b), 29) * prime
		b = b[8:]
	}
	for _, c := range b {
		h = bits.RotateLeft64(h^uint64(c), 29) * prime
	}
	h ^= h >> 32
	h *= prime
	return uint32(h >> 32)
}
