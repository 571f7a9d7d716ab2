package ledger

import (
	"fmt"
	"math/bits"
)

// spent is which serials of a lease were charged: a bit for each, so that a call is charged
// once however often it is booked, and its record need not stand in the database for that.
type spent struct {
	lo, hi int64
	used   int64  // bits that are set
	bits   []byte // up to the last byte that has one; none if all are set
}

// charge sets the bit of a serial and reports whether it was not set before.
func (s *spent) charge(serial int64) (fresh bool, err error) {
	if serial < s.lo || serial >= s.hi {
		return false, fmt.Errorf("serial %d is none of %d to %d", serial, s.lo, s.hi-1)
	}
	size := s.hi - s.lo
	if s.used == size {
		return false, nil
	}
	n := serial - s.lo
	at, mark := int(n/8), byte(1)<<(n%8)
	if at >= len(s.bits) {
		if at >= cap(s.bits) {
			s.bits = append(make([]byte, 0, (size+7)/8), s.bits...)
		}
		s.bits = s.bits[:at+1]
	}
	if s.bits[at]&mark != 0 {
		return false, nil
	}
	s.bits[at] |= mark
	if s.used++; s.used == size {
		s.bits = s.bits[:0]
	}
	return true, nil
}

// has reports whether the bit of a serial is set.
func (s *spent) has(serial int64) bool {
	if serial < s.lo || serial >= s.hi {
		return false
	}
	n := serial - s.lo
	return s.used == s.hi-s.lo || int(n/8) < len(s.bits) && s.bits[n/8]>>(n%8)&1 == 1
}

// within reports whether each bit of the one is set in the other.
func (s *spent) within(other *spent) bool {
	for n := s.lo; s.used > 0 && n < s.hi; n++ {
		if s.has(n) && !other.has(n) {
			return false
		}
	}
	return true
}

// check says what is wrong with the bits; empty: nothing.
func (s *spent) check() string {
	if s.used == s.hi-s.lo && len(s.bits) == 0 {
		return ""
	}
	var n int64
	for _, b := range s.bits {
		n += int64(bits.OnesCount8(b))
	}
	if n != s.used {
		return fmt.Sprintf("%d serials are marked, and %d counted", n, s.used)
	}
	if k := len(s.bits); k > 0 && int64(k-1)*8+int64(bits.Len8(s.bits[k-1])) > s.hi-s.lo {
		return "a charged call has a serial that is not of the lease"
	}
	return ""
}
