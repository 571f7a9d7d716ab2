// Package wire reads HTTP/1.x off bytes that are handed to it: heads of requests and of
// answers, and the framing of bodies. It knows no connection, no goroutine and no clock,
// so the same few state machines stand before the event loop, before fasthttp and behind
// the sellers' servers.
//
// It is strict: what two readers could read in two ways is a Fault, not a guess. Nothing is
// copied or allocated, and nothing is changed: a head is kept as it came, so that what is
// sent on has the names, the order and the bytes of its sender.
//
// The rules are those of RFC 9110 and 9112, each sharpened to the one reading on which all
// servers agree.
package wire

import "bytes"

// Field is one line of a head. Its bytes are the message's.
type Field struct{ Name, Value []byte }

// Append appends the line. One that stands in its head as most do, with a colon and a blank,
// is copied in one go: a head has a dozen lines, and four small copies for each cost more
// than all that is said about them.
func (f Field) Append(dst []byte) []byte {
	n := len(f.Name) + 2
	if whole := n + len(f.Value) + 2; len(f.Value) > 0 && cap(f.Name) >= whole {
		line := f.Name[:whole]
		if &line[n] == &f.Value[0] && line[whole-1] == '\n' && line[whole-2] == '\r' && line[n-2] == ':' && line[n-1] == ' ' {
			return append(dst, line...)
		}
	}
	dst = append(append(dst, f.Name...), ": "...)
	return append(append(dst, f.Value...), "\r\n"...)
}

// Fields are the lines of a head in the order and spelling in which they came. What a
// chunked body brings as trailers is never among them.
type Fields []Field

// Header is the value of the first header of this name, whatever its case; nil if there is
// none. It makes *Fields the signer's Headers.
func (f *Fields) Header(name []byte) []byte {
	for i := range *f {
		if n := (*f)[i].Name; len(n) == len(name) && bytes.EqualFold(n, name) {
			return (*f)[i].Value
		}
	}
	return nil
}

// Has reports whether a header of this name came, be it empty.
func (f *Fields) Has(name []byte) bool {
	for i := range *f {
		if n := (*f)[i].Name; len(n) == len(name) && bytes.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// Alike compares two header names as a careless server would: letters without their case,
// and '_' as '-'.
func Alike(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if folded[a[i]] != folded[b[i]] {
			return false
		}
	}
	return true
}

// alike is Alike with a text that is folded already.
func alike(a []byte, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if folded[a[i]] != b[i] {
			return false
		}
	}
	return true
}

var folded = func() (t [256]byte) {
	for i := range t {
		c := byte(i)
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case c == '_':
			c = '-'
		}
		t[i] = c
	}
	return t
}()

// Trim cuts outer blanks and tabs.
func Trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// IsToken reports whether b may name a header or a method.
func IsToken(b []byte) bool {
	for _, c := range b {
		if !tokens[c] {
			return false
		}
	}
	return len(b) > 0
}

var tokens = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()

// Listed reports whether a value that is a list, as that of Connection, has a word.
func Listed(list, word []byte) bool {
	for len(list) > 0 {
		one := list
		if i := bytes.IndexByte(list, ','); i >= 0 {
			one, list = list[:i], list[i+1:]
		} else {
			list = nil
		}
		if Alike(Trim(one), word) {
			return true
		}
	}
	return false
}

// Fault says why bytes are no clear message. It is the same for all that break one rule,
// and holds nothing of what was sent.
type Fault uint8

// The faults. The first group is the request line's, then heads in general, then bodies.
const (
	_ Fault = iota
	BadMethod
	BadTarget
	TargetTooLong
	BadVersion
	BadLineEnd
	HeadTooLarge
	TooManyFields
	BadName
	BadValue
	Folded
	Repeated
	BadHost
	BadLength
	BadCoding
	TwoLengths
	BadExpectation
	BadConnection
	BadStatus
	BadChunk
	BrokenOff
)

var faults = [...]string{
	BadMethod: "method", BadTarget: "target", TargetTooLong: "target too long", BadVersion: "version", BadLineEnd: "line end",
	HeadTooLarge: "head too large", TooManyFields: "too many headers", BadName: "header name", BadValue: "header value",
	Folded: "folded header", Repeated: "repeated header", BadHost: "host", BadLength: "content length", BadCoding: "transfer coding",
	TwoLengths: "length said twice", BadExpectation: "expectation", BadConnection: "connection", BadStatus: "status line",
	BadChunk: "chunk", BrokenOff: "broken off",
}

// Error names the rule.
func (f Fault) Error() string { return "wire: " + f.String() }

// String names the rule in a word or two.
func (f Fault) String() string {
	if int(f) < len(faults) && faults[f] != "" {
		return faults[f]
	}
	return "malformed"
}

// Lengths of a body that are no number of bytes.
const (
	Chunked    = -1 // it says where it ends
	UntilClose = -2 // it ends with the connection; answers only
)
