package gate

import "bytes"

// Field is one line of a request's head. Its bytes are the request's.
type Field struct{ Name, Value []byte }

// Fields are the header lines of a request in the order and spelling in which they came.
// They are read from the head alone, so what a chunked body brings as trailers is never
// among them.
type Fields []Field

// single are the headers that may come once only: of two, the gateway would judge by one
// and the seller perhaps by the other.
var single = [][]byte{
	[]byte("authorization"), []byte("content-length"), []byte("content-md5"), []byte("content-type"),
	[]byte("date"), []byte("host"), []byte("transfer-encoding"),
}

// caPrefix begins the headers of the protocol; each of them may come once only.
var caPrefix = []byte("x-ca-")

// Read takes the lines of a raw head without its request line. What is no clear header
// line is refused: a folded line, a name with a blank in it, a name without a colon.
func (f *Fields) Read(raw []byte) *Refusal {
	list := (*f)[:0]
	defer func() { *f = list }()
	for len(raw) > 0 {
		line := raw
		if i := bytes.IndexByte(raw, '\n'); i >= 0 {
			line, raw = raw[:i], raw[i+1:]
		} else {
			raw = nil
		}
		if n := len(line); n > 0 && line[n-1] == '\r' {
			line = line[:n-1]
		}
		if len(line) == 0 {
			continue // the end of the head
		}
		if line[0] == ' ' || line[0] == '\t' {
			return foldedLine
		}
		colon := bytes.IndexByte(line, ':')
		if colon <= 0 || !IsToken(line[:colon]) {
			return badName
		}
		list = append(list, Field{Name: line[:colon], Value: Trim(line[colon+1:])})
	}
	for i := range list {
		if !isSingle(list[i].Name) {
			continue
		}
		for j := range list[:i] {
			if Alike(list[i].Name, list[j].Name) {
				return Refuse("I400HD", "Invalid Header `"+string(list[i].Name)+"` is repeated")
			}
		}
	}
	return nil
}

var (
	foldedLine = Refuse("I400HD", "Invalid Header `?` is folded")
	badName    = Refuse("I400HD", "Invalid Header `?` has no proper name")
)

func isSingle(name []byte) bool {
	if len(name) >= len(caPrefix) && Alike(name[:len(caPrefix)], caPrefix) {
		return true
	}
	for _, s := range single {
		if Alike(name, s) {
			return true
		}
	}
	return false
}

// Header is the value of the first header of this name, whatever its case; nil if there
// is none. It makes *Fields the signer's Headers.
func (f *Fields) Header(name []byte) []byte {
	for i := range *f {
		if bytes.EqualFold((*f)[i].Name, name) {
			return (*f)[i].Value
		}
	}
	return nil
}

// Has reports whether a header of this name came, be it empty.
func (f *Fields) Has(name []byte) bool {
	for i := range *f {
		if bytes.EqualFold((*f)[i].Name, name) {
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
		if fold(a[i]) != fold(b[i]) {
			return false
		}
	}
	return true
}

func fold(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	case c == '_':
		return '-'
	}
	return c
}

// Trim cuts outer blanks and tabs.
func Trim(b []byte) []byte { return bytes.Trim(b, " \t") }

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
