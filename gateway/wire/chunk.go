package wire

// Body walks the bytes of a body and says which of them are its own. It is a few words
// large, is kept by whoever has the connection, and is asked with whatever bytes there are.
type Body struct {
	left  int64 // of a fixed body or of the present chunk
	state bodyState
	kind  int8 // 0: fixed; Chunked; UntilClose
	digit int8 // of a chunk's size, so far
	seen  int  // bytes of the present line of framing, or of all trailers
}

type bodyState uint8

const (
	bodyEnd bodyState = iota
	bodyFixed
	bodyOpen // until the connection closes
	chunkSize
	chunkExtension
	chunkSizeLF
	chunkData
	chunkDataCR
	chunkDataLF
	trailerStart
	trailerName
	trailerValue
	trailerLF
	trailerEndLF
)

// Bounds of the framing of a chunked body.
const (
	maxExtension = 4 << 10 // bytes of extensions of one chunk
	maxTrailers  = 16 << 10
)

// Begin sets the body to one of this length: bytes, Chunked or UntilClose.
func (b *Body) Begin(length int64) {
	*b = Body{}
	switch {
	case length == Chunked:
		b.kind, b.state = Chunked, chunkSize
	case length == UntilClose:
		b.kind, b.state = UntilClose, bodyOpen
	case length > 0:
		b.left, b.state = length, bodyFixed
	}
}

// Done reports whether the body has ended. One that ends with its connection never has.
func (b *Body) Done() bool { return b.state == bodyEnd }

// Open reports whether the body may end with its connection.
func (b *Body) Open() bool { return b.state == bodyOpen }

// Left is how many bytes of a body of known length are still to come; -1 if that is not
// known.
func (b *Body) Left() int64 {
	if b.kind != 0 {
		return -1
	}
	return b.left
}

// Next reads framing from the beginning of p up to the next piece of content: p[:skip] is
// framing, p[skip:skip+size] is content. Both may be 0 where p ends; call again with what
// is behind them. What follows the end of the body is left alone. An error is BadChunk.
func (b *Body) Next(p []byte) (skip, size int, err error) {
	for skip < len(p) {
		c := p[skip]
		switch b.state {
		case bodyEnd:
			return skip, 0, nil
		case bodyOpen:
			return skip, len(p) - skip, nil
		case bodyFixed, chunkData:
			size = len(p) - skip
			if int64(size) >= b.left {
				size = int(b.left)
			}
			if b.left -= int64(size); b.left == 0 {
				if b.state == bodyFixed {
					b.state = bodyEnd
				} else {
					b.state = chunkDataCR
				}
			}
			return skip, size, nil
		case chunkSize:
			if v := unhex(c); v < 16 {
				if b.digit++; b.digit > 16 || b.left>>58 != 0 {
					return skip, 0, BadChunk
				}
				b.left = b.left<<4 | int64(v)
				break
			}
			switch {
			case b.digit == 0:
				return skip, 0, BadChunk
			case c == '\r':
				b.state = chunkSizeLF
			case c == ';':
				b.state, b.seen = chunkExtension, 0
			default:
				return skip, 0, BadChunk
			}
		case chunkExtension:
			if b.seen++; b.seen > maxExtension {
				return skip, 0, BadChunk
			}
			if c == '\r' {
				b.state = chunkSizeLF
			} else if c < 0x20 && c != '\t' || c == 0x7F {
				return skip, 0, BadChunk
			}
		case chunkSizeLF:
			if c != '\n' {
				return skip, 0, BadChunk
			}
			b.state, b.digit = chunkData, 0
			if b.left == 0 {
				b.state, b.seen = trailerStart, 0
			}
		case chunkDataCR:
			if c != '\r' {
				return skip, 0, BadChunk
			}
			b.state = chunkDataLF
		case chunkDataLF:
			if c != '\n' {
				return skip, 0, BadChunk
			}
			b.state = chunkSize
		case trailerStart:
			if c == '\r' {
				b.state = trailerEndLF
				break
			}
			if !tokens[c] {
				return skip, 0, BadChunk
			}
			b.state = trailerName
		case trailerName:
			if c == ':' {
				b.state = trailerValue
			} else if !tokens[c] {
				return skip, 0, BadChunk
			}
		case trailerValue:
			if c == '\r' {
				b.state = trailerLF
			} else if c < 0x20 && c != '\t' || c == 0x7F {
				return skip, 0, BadChunk
			}
		case trailerLF:
			if c != '\n' {
				return skip, 0, BadChunk
			}
			b.state = trailerStart
		case trailerEndLF:
			if c != '\n' {
				return skip, 0, BadChunk
			}
			b.state = bodyEnd
		}
		if b.state >= trailerStart {
			if b.seen++; b.seen > maxTrailers {
				return skip, 0, BadChunk
			}
		}
		skip++
	}
	return skip, 0, nil
}

// Walk is how many bytes of p belong to the body, framing and content alike.
func (b *Body) Walk(p []byte) (n int, err error) {
	for n < len(p) && b.state != bodyEnd {
		skip, size, err := b.Next(p[n:])
		if err != nil {
			return n + skip, err
		}
		n += skip + size
	}
	return n, nil
}
