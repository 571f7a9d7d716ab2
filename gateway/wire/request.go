package wire

import "bytes"

// Request is the head of a request. All bytes are those that Parse was given, so it is
// valid as long as they stay where they are.
type Request struct {
	Head   []byte // the whole head, with the empty line
	Method []byte
	Target []byte // as it came
	Minor  byte   // of HTTP/1: 0 or 1
	Fields Fields
	Host   []byte
	Length int64 // of the body: bytes, or Chunked
	Close  bool  // the caller wants no further answer on the connection
	Expect bool  // the caller waits for 100 before he sends the body
	// Upgrade is the protocol that the caller wants to go on with; nil: none. It is set only
	// where the head is a proper request for it, and to nothing but a WebSocket.
	Upgrade []byte

	scanned int // bytes that hold no end of a head
}

// Reset makes r ready for the next head and keeps its memory.
func (r *Request) Reset() { *r = Request{Fields: r.Fields[:0]} }

// Parse reads a head from the beginning of b. n is its length; 0 without an error means
// that it is not whole yet: call again with the same bytes and more. An error is a Fault,
// after which nothing that the sender said can be trusted.
func (r *Request) Parse(b []byte, bounds Bounds) (n int, err error) {
	skip := 0
	for skip < maxEmpty && len(b) >= skip+2 && b[skip] == '\r' && b[skip+1] == '\n' {
		skip += 2
	}
	b = b[skip:]
	if waits(b, r.scanned, bounds) {
		r.scanned = len(b)
		return 0, early(b, bounds)
	}
	n, fault := r.parse(b[:min(len(b), bounds.head())], bounds)
	if fault != 0 {
		return 0, fault
	}
	if n > 0 {
		return skip + n, nil
	}
	if err := early(b, bounds); err != nil {
		return 0, err
	}
	if len(b) >= bounds.head() {
		return 0, HeadTooLarge
	}
	if len(b) > 1 { // a CR alone may be the first half of an empty line
		r.scanned = len(b)
	}
	return 0, nil
}

// maxEmpty is how many bytes of empty lines may stand before a request: two, as some old
// clients put one behind a body.
const maxEmpty = 4

// early refuses a request line that is not whole for what cannot become right.
func early(b []byte, bounds Bounds) error {
	if _, n, fault := line(b); fault != 0 {
		return fault
	} else if n > 0 {
		return nil // it was read
	}
	i := 0
	for i < len(b) && tokens[b[i]] {
		i++
	}
	if i > maxMethod || i < len(b) && (i == 0 && !(b[0] == '\r' && len(b) == 1) || i > 0 && b[i] != ' ') {
		return BadMethod
	}
	// A target that is too long is said to be so when it has ended; one that never ends is none.
	if len(b) >= bounds.head() {
		return BadTarget
	}
	return nil
}

// parse reads a head; n is 0 if it is not whole.
func (r *Request) parse(b []byte, bounds Bounds) (n int, fault Fault) {
	r.Fields = r.Fields[:0]
	r.Length, r.Close, r.Expect, r.Upgrade, r.Host = 0, false, false, nil, nil
	text, at, fault := line(b)
	if fault != 0 || at == 0 {
		return 0, fault
	}
	if fault := r.first(text, bounds); fault != 0 {
		return 0, fault
	}
	var k known
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
		if fault := k.see(r.Fields, f.Name, f.Value); fault != 0 {
			return 0, fault
		}
	}
	r.Head = b[:at]
	return at, r.settle(&k)
}

const maxMethod = 32

// first reads a request line: three words with one blank between them, and nothing else.
func (r *Request) first(text []byte, bounds Bounds) Fault {
	i := 0
	for i < len(text) && i <= maxMethod && tokens[text[i]] {
		i++
	}
	if i == 0 || i > maxMethod || i == len(text) || text[i] != ' ' {
		return BadMethod
	}
	r.Method, text = text[:i], text[i+1:]
	i = bytes.IndexByte(text, ' ')
	if i < 0 {
		if len(text) > bounds.target() {
			return TargetTooLong
		}
		return BadVersion
	}
	r.Target, text = text[:i], text[i+1:]
	if len(r.Target) > bounds.target() {
		return TargetTooLong
	}
	if !visible(r.Target) {
		return BadTarget
	}
	switch string(text) {
	case "HTTP/1.1":
		r.Minor = 1
	case "HTTP/1.0":
		r.Minor = 0
	default:
		return BadVersion
	}
	return 0
}

// visible reports whether a target has no blank, no control byte, and none of the two marks
// that servers read differently: # and \.
func visible(b []byte) bool {
	for _, c := range b {
		if !targets[c] {
			return false
		}
	}
	return len(b) > 0
}

var targets = func() (t [256]bool) {
	for c := 0x21; c < 0x100; c++ {
		t[c] = c != 0x7F && c != '#' && c != '\\'
	}
	return t
}()

// known is what a head says of itself, while it is being read.
type known struct {
	host, length, coding, expect, upgrade []byte

	seen     uint16 // bits of those that may come once
	lengths  uint64 // of names that begin with X-Ca-
	upgrades int    // lines of Upgrade
	// Words in any line of Connection.
	close, keep, switches bool
}

// The headers that may come once only: of two, the gateway would judge by one and the
// seller perhaps by the other.
const (
	seenHost = 1 << iota
	seenLength
	seenCoding
	seenExpect
	seenAuthorization
	seenMD5
	seenType
	seenDate
)

// see notes the last line of a head.
func (k *known) see(fields Fields, name, value []byte) Fault {
	once := uint16(0)
	switch len(name) {
	case 4:
		if alike(name, "host") {
			once, k.host = seenHost, value
		} else if alike(name, "date") {
			once = seenDate
		}
	case 6:
		if alike(name, "expect") {
			once, k.expect = seenExpect, value
		}
	case 7:
		if alike(name, "upgrade") {
			k.upgrade = value
			k.upgrades++
		}
	case 10:
		if alike(name, "connection") {
			k.close = k.close || Listed(value, wordClose)
			k.keep = k.keep || Listed(value, wordKeepAlive)
			k.switches = k.switches || Listed(value, wordUpgrade)
		}
	case 11:
		if alike(name, "content-md5") {
			once = seenMD5
		}
	case 12:
		if alike(name, "content-type") {
			once = seenType
		}
	case 13:
		if alike(name, "authorization") {
			once = seenAuthorization
		}
	case 14:
		if alike(name, "content-length") {
			if k.length = value; len(value) == 0 || bytes.IndexByte(name, '_') >= 0 {
				return BadLength
			}
			once = seenLength
		}
	case 17:
		if alike(name, "transfer-encoding") {
			if k.coding = value; len(value) == 0 || bytes.IndexByte(name, '_') >= 0 {
				return BadCoding
			}
			once = seenCoding
		}
	}
	if len(name) >= 5 && name[0]|0x20 == 'x' && alike(name[:5], "x-ca-") {
		if bit := uint64(1) << min(len(name), 63); k.lengths&bit == 0 {
			k.lengths |= bit
			return 0
		}
		for i := range fields[:len(fields)-1] {
			if Alike(fields[i].Name, name) {
				return Repeated
			}
		}
	}
	if k.seen&once != 0 {
		switch once {
		case seenHost:
			return BadHost
		case seenLength:
			return BadLength
		case seenCoding:
			return BadCoding
		}
		return Repeated
	}
	k.seen |= once
	return 0
}

var (
	wordClose     = []byte("close")
	wordKeepAlive = []byte("keep-alive")
	wordUpgrade   = []byte("upgrade")
	wordWebSocket = []byte("websocket")
	wordChunked   = []byte("chunked")
	wordContinue  = []byte("100-continue")
)

// settle draws from the lines how the message is framed and what becomes of its connection.
func (r *Request) settle(k *known) Fault {
	if k.host == nil || !IsHost(k.host) {
		return BadHost
	}
	r.Host = k.host
	switch {
	case k.coding != nil && k.length != nil:
		return TwoLengths
	case k.coding != nil:
		if r.Minor == 0 || !bytes.EqualFold(k.coding, wordChunked) {
			return BadCoding
		}
		r.Length = Chunked
	case k.length != nil:
		n, ok := digits(k.length)
		if !ok {
			return BadLength
		}
		r.Length = n
	}
	r.Close = k.close || r.Minor == 0 && !k.keep
	if k.expect != nil {
		if !bytes.EqualFold(k.expect, wordContinue) {
			return BadExpectation
		}
		r.Expect = r.Minor == 1 && r.Length != 0
	}
	// What other protocols do behind an upgrade nobody here could follow; h2c in particular
	// would carry requests that no gate has seen.
	if k.upgrades == 1 && k.switches && r.Minor == 1 && r.Length == 0 && string(r.Method) == "GET" && bytes.EqualFold(k.upgrade, wordWebSocket) {
		r.Upgrade = k.upgrade
	}
	return 0
}

// IsHost reports whether b is a name or address with at most a port, as it may stand in
// Host: letters, digits, and - . _ ; or an IPv6 address in brackets.
func IsHost(b []byte) bool {
	if len(b) == 0 || len(b) > 261 { // a name of 255 and a port
		return false
	}
	name, port := b, []byte(nil)
	if b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		if end < 3 {
			return false
		}
		for _, c := range b[1:end] {
			if unhex(c) > 15 && c != ':' && c != '.' {
				return false
			}
		}
		if rest := b[end+1:]; len(rest) > 0 {
			if rest[0] != ':' {
				return false
			}
			return isPort(rest[1:])
		}
		return true
	}
	if i := bytes.IndexByte(b, ':'); i >= 0 {
		name, port = b[:i], b[i+1:]
		if !isPort(port) {
			return false
		}
	}
	for _, c := range name {
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '.' || 'A' <= c && c <= 'Z' || c == '_') {
			return false
		}
	}
	return len(name) > 0
}

func isPort(b []byte) bool {
	n, ok := digits(b)
	return ok && n > 0 && n <= 65535
}

// unhex is the value of a hexadecimal digit, or 16.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}
