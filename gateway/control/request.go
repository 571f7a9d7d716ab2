package control

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"time"
)

// RequestID names one call: what callers read in X-Ca-Request-Id. It is a UUID whose first
// 48 bits are the milliseconds since 1970 (version 7), so that the record of a call is found
// by its ID alone, through the time that stands in it. The zero ID is none, and its text is
// empty.
type RequestID [16]byte

// NewRequestID is a fresh ID of a call that began at now. It allocates nothing.
//
// The 74 random bits come from the generators of math/rand/v2: one ChaCha8 for each thread,
// which the runtime seeds from the system's randomness. Nobody can guess the next ID from
// those he has seen, no lock is shared, and it takes some 15 ns where a read of crypto/rand
// takes more than 100.
func NewRequestID(now time.Time) RequestID {
	var id RequestID
	binary.BigEndian.PutUint64(id[:8], uint64(now.UnixMilli())<<16|7<<12|rand.Uint64()&0xFFF)
	binary.BigEndian.PutUint64(id[8:], rand.Uint64()&(1<<62-1)|1<<63)
	return id
}

// ErrRequestID: a text is no ID of a call.
var ErrRequestID = errors.New("control: a request ID is a UUID, 32 hexadecimal digits with hyphens")

// ParseRequestID reads the text of an ID, in upper or lower case. No text is the zero ID.
func ParseRequestID(text string) (id RequestID, err error) {
	return id, id.UnmarshalText([]byte(text))
}

// IsZero reports whether there is no ID.
func (id RequestID) IsZero() bool { return id == RequestID{} }

// At is when the call began, to the millisecond, if the ID was made by NewRequestID.
func (id RequestID) At() (time.Time, bool) {
	if id[6]>>4 != 7 {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(id[:8]) >> 16)).UTC(), true
}

const digits = "0123456789ABCDEF"

// Append appends the text of the ID: upper case, with hyphens; nothing for the zero ID.
func (id RequestID) Append(dst []byte) []byte {
	if id == (RequestID{}) {
		return dst
	}
	var text [36]byte
	at := 0
	for i, b := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			text[at] = '-'
			at++
		}
		text[at], text[at+1] = digits[b>>4], digits[b&15]
		at += 2
	}
	return append(dst, text[:]...)
}

// AppendText is Append, as encoding.TextAppender has it. It never fails.
func (id RequestID) AppendText(dst []byte) ([]byte, error) { return id.Append(dst), nil }

// MarshalText is the text of the ID.
func (id RequestID) MarshalText() ([]byte, error) { return id.Append(nil), nil }

// UnmarshalText reads the text of an ID.
func (id *RequestID) UnmarshalText(text []byte) error {
	*id = RequestID{}
	if len(text) == 0 {
		return nil
	}
	if len(text) != 36 {
		return ErrRequestID
	}
	var read RequestID
	n := 0
	for i, c := range text {
		hyphen := i == 8 || i == 13 || i == 18 || i == 23
		var v byte
		switch {
		case hyphen && c == '-':
			continue
		case hyphen:
			return ErrRequestID
		case '0' <= c && c <= '9':
			v = c - '0'
		case 'A' <= c && c <= 'F':
			v = c - 'A' + 10
		case 'a' <= c && c <= 'f':
			v = c - 'a' + 10
		default:
			return ErrRequestID
		}
		read[n/2] = read[n/2]<<4 | v
		n++
	}
	*id = read
	return nil
}

// String is the text of the ID.
func (id RequestID) String() string { return string(id.Append(nil)) }
