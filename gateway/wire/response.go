package wire

import "bytes"

// Response is the head of an answer. All bytes are those that Parse was given.
type Response struct {
	Head   []byte
	Minor  byte // of HTTP/1: 0 or 1
	Status int  // 100 to 599
	Reason []byte
	Fields Fields
	Length int64 // of the body: bytes, Chunked or UntilClose
	Stated int64 // what Content-Length said, body or not; -1: nothing
	Close  bool  // the connection carries no further answer

	scanned int
}

// Reset makes r ready for the next head and keeps its memory.
func (r *Response) Reset() { *r = Response{Fields: r.Fields[:0]} }

// Parse reads a head from the beginning of b, as Request.Parse does. noBody says that the
// answer has no body whatever its head says, as it answers a HEAD.
func (r *Response) Parse(b []byte, noBody bool, bounds Bounds) (n int, err error) {
	if waits(b, r.scanned, bounds) {
		r.scanned = len(b)
		return 0, r.early(b)
	}
	n, fault := r.parse(b[:min(len(b), bounds.head())], noBody, bounds)
	if fault != 0 {
		return 0, fault
	}
	if n > 0 {
		return n, nil
	}
	if len(b) >= bounds.head() {
		return 0, HeadTooLarge
	}
	r.scanned = len(b)
	return 0, r.early(b)
}

// early refuses a status line that is not whole for what cannot become right.
func (r *Response) early(b []byte) error {
	const least = len("HTTP/1.1 200")
	if len(b) < least {
		return nil
	}
	if len(b) > least && b[least] == '\r' {
		b = b[:least]
	}
	if fault := r.first(b); fault != 0 {
		return fault
	}
	return nil
}

// first reads a status line: the version, a blank, three digits, and the rest.
func (r *Response) first(text []byte) Fault {
	if len(text) < len("HTTP/1.1 200") || string(text[:7]) != "HTTP/1." || text[7] != '0' && text[7] != '1' || text[8] != ' ' {
		return BadStatus
	}
	r.Minor, r.Status = text[7]-'0', 0
	for _, c := range text[9:12] {
		if c < '0' || c > '9' {
			return BadStatus
		}
		r.Status = r.Status*10 + int(c-'0')
	}
	if r.Status < 100 || r.Status > 599 {
		return BadStatus
	}
	r.Reason = nil
	if text = text[12:]; len(text) > 0 {
		if text[0] != ' ' {
			return BadStatus
		}
		r.Reason = text[1:]
	}
	return 0
}

// parse reads a head; n is 0 if it is not whole.
func (r *Response) parse(b []byte, noBody bool, bounds Bounds) (n int, fault Fault) {
	r.Fields = r.Fields[:0]
	text, at, fault := line(b)
	if fault != 0 || at == 0 {
		return 0, fault
	}
	if fault := r.first(text); fault != 0 {
		return 0, fault
	}
	if valueEnd(r.Reason, 0) != len(r.Reason) {
		return 0, BadStatus
	}
	var length, coding []byte
	var hasLength, hasCoding, closes, keeps bool
	for most := bounds.fields(); ; {
		var f Field
		next, fault := f.read(b, at)
		if fault != 0 || next == 0 {
			return 0, fault
		}
		at = next
		if f.Name == nil {
			break
		}
		if len(r.Fields) >= most {
			return 0, TooManyFields
		}
		r.Fields = append(r.Fields, f)
		switch len(f.Name) {
		case 10:
			if alike(f.Name, "connection") {
				closes = closes || Listed(f.Value, wordClose)
				keeps = keeps || Listed(f.Value, wordKeepAlive)
			}
		case 14:
			if alike(f.Name, "content-length") {
				if hasLength && !bytes.Equal(length, f.Value) || bytes.IndexByte(f.Name, '_') >= 0 {
					return 0, BadLength
				}
				length, hasLength = f.Value, true
			}
		case 17:
			if alike(f.Name, "transfer-encoding") {
				if hasCoding || bytes.IndexByte(f.Name, '_') >= 0 {
					return 0, BadCoding
				}
				coding, hasCoding = f.Value, true
			}
		}
	}
	r.Head, r.Close = b[:at], closes || r.Minor == 0 && !keeps
	return at, r.settle(noBody, length, coding, hasLength, hasCoding)
}

// settle draws from the lines how long the body is; RFC 9112 section 6.3.
func (r *Response) settle(noBody bool, length, coding []byte, hasLength, hasCoding bool) Fault {
	r.Length, r.Stated = UntilClose, -1
	switch {
	case hasCoding && hasLength:
		return TwoLengths
	case hasCoding:
		if r.Minor == 0 || !bytes.EqualFold(coding, wordChunked) {
			return BadCoding
		}
		r.Length = Chunked
	case hasLength:
		n, ok := digits(length)
		if !ok {
			return BadLength
		}
		r.Length, r.Stated = n, n
	}
	if noBody || r.Status < 200 || r.Status == 204 || r.Status == 304 {
		r.Length = 0
	}
	if r.Length == UntilClose {
		r.Close = true
	}
	return 0
}
