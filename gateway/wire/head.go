package wire

import (
	"bytes"
	"encoding/binary"
)

// Bounds of a head. The zero value has the defaults.
type Bounds struct {
	Head   int // bytes of the whole head; 0: DefaultHead
	Target int // bytes of a request target; 0: DefaultTarget
	Fields int // lines; 0: DefaultFields
}

// Defaults of Bounds; security.md R1.
const (
	DefaultHead   = 32 << 10
	DefaultTarget = 8 << 10
	DefaultFields = 100
)

func (b Bounds) head() int   { return or(b.Head, DefaultHead) }
func (b Bounds) target() int { return or(b.Target, DefaultTarget) }
func (b Bounds) fields() int { return or(b.Fields, DefaultFields) }

func or(n, usual int) int {
	if n == 0 {
		return usual
	}
	return n
}

// line is the next line without its end; n is with it. n is 0 if the line is not whole.
func line(b []byte) (text []byte, n int, err error) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return nil, 0, nil
	}
	if i == 0 || b[i-1] != '\r' {
		return nil, 0, BadLineEnd
	}
	return b[:i-1], i + 1, nil
}

// field reads one line of a head.
func field(text []byte) (f Field, err error) {
	i := 0
	for i < len(text) && tokens[text[i]] {
		i++
	}
	if i == 0 || i == len(text) || text[i] != ':' {
		if len(text) > 0 && (text[0] == ' ' || text[0] == '\t') {
			return f, Folded
		}
		return f, BadName
	}
	f.Name, f.Value = text[:i], text[i+1:]
	if !clean(f.Value) {
		return f, BadValue
	}
	f.Value = Trim(f.Value)
	return f, nil
}

// clean reports whether a value holds no control byte but tabs, eight bytes at a time.
// Bytes from 0x80 on are let through: callers send raw UTF-8 (protocol section 4.1).
func clean(b []byte) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for len(b) >= 8 {
		v := binary.LittleEndian.Uint64(b)
		del := v ^ 0x7F*ones
		if ((v-0x20*ones)&^v|(del-ones)&^del)&tops != 0 && !cleanSlow(b[:8]) {
			return false
		}
		b = b[8:]
	}
	return cleanSlow(b)
}

func cleanSlow(b []byte) bool {
	for _, c := range b {
		if c < 0x20 && c != '\t' || c == 0x7F {
			return false
		}
	}
	return true
}

// endOf looks for the end of a head from byte from on. Lines that end in any other way than
// CR LF are found as soon as they are there, so that nobody waits for the rest.
func endOf(b []byte, from int) (end int, err error) {
	for at := from; ; {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			return 0, nil
		}
		at += i
		if at == 0 || b[at-1] != '\r' {
			return 0, BadLineEnd
		}
		if at >= 3 && b[at-2] == '\n' {
			return at + 1, nil
		}
		at++
	}
}

// digits reads a number of bytes: digits alone, no sign, no blank, no leading zero.
func digits(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 || b[0] == '0' && len(b) > 1 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
