package gateway

import (
	"strconv"

	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/wire"
)

// answerBody says how the body of an answer is framed.
type answerBody struct {
	length int64 // bytes; below 0: it is not known
	none   bool  // there is none, as the status or the method has none
}

// framer makes the bytes of answers over HTTP/1.
type framer struct {
	out    []byte // made and not yet sent
	chunks bool   // the answer is chunked
	last   bool   // no answer follows on the connection
}

// head makes the head of an answer to a caller of HTTP/1.minor.
func (f *framer) head(call *gate.Call, body answerBody, minor byte) {
	length := body.length
	switch {
	case body.none || length >= 0:
	case minor == 0:
		length, f.last = wire.UntilClose, true
	default:
		length = wire.Chunked
	}
	f.out = appendAnswer(f.out, call, length, body.none)
	switch {
	case f.last:
		f.out = append(f.out, "Connection: close\r\n"...)
	case minor == 0:
		f.out = append(f.out, "Connection: keep-alive\r\n"...)
	}
	f.out = append(f.out, "\r\n"...)
	f.chunks = length == wire.Chunked && !body.none
}

// open is what stands before a piece of content, and shut what stands behind it.
func (f *framer) open(n int) {
	if f.chunks {
		f.out = append(strconv.AppendInt(f.out, int64(n), 16), "\r\n"...)
	}
}

func (f *framer) shut() {
	if f.chunks {
		f.out = append(f.out, "\r\n"...)
	}
}

// done is what stands behind all content.
func (f *framer) done() {
	if f.chunks {
		f.out = append(f.out, "0\r\n\r\n"...)
	}
}

// outBuffer is how much of an answer is kept back at most.
const outBuffer = 32 << 10
