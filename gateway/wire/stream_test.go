package wire_test

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/souk-market/souk/gateway/wire"
)

// chunks of a stream as they could come off a connection: pieces of these sizes, over and
// over. No sizes: all at once.
type cuts []int

func (c cuts) next(i, left int) int {
	if len(c) == 0 {
		return left
	}
	return min(left, max(1, c[i%len(c)]))
}

// head is what both kinds of heads have in common.
type head interface {
	parse(b []byte) (n int, err error)
	meaning() string
	length() int64
	reset()
	// nothing reports whether what is left says nothing and may be left behind.
	nothing([]byte) bool
}

type requestHead struct{ wire.Request }

func (h *requestHead) parse(b []byte) (int, error) { return h.Parse(b, wire.Bounds{}) }
func (h *requestHead) length() int64               { return h.Length }
func (h *requestHead) reset()                      { h.Reset() }
func (h *requestHead) nothing(b []byte) bool { // empty lines
	return len(b) == 0 || string(b) == "\r\n" || string(b) == "\r\n\r\n"
}
func (h *requestHead) meaning() string {
	return fmt.Sprintf("%q %q %d host %q length %s close %v expect %v upgrade %q%s", h.Method, h.Target, h.Minor, h.Host, size(h.Length), h.Close, h.Expect, h.Upgrade, lines(h.Fields))
}

type responseHead struct {
	wire.Response
	noBody bool
}

func (h *responseHead) parse(b []byte) (int, error) { return h.Parse(b, h.noBody, wire.Bounds{}) }
func (h *responseHead) length() int64               { return h.Length }
func (h *responseHead) reset()                      { h.Reset() }
func (h *responseHead) nothing(b []byte) bool       { return len(b) == 0 }
func (h *responseHead) meaning() string {
	return fmt.Sprintf("%d %03d %q length %s close %v%s", h.Minor, h.Status, h.Reason, size(h.Length), h.Close, lines(h.Fields))
}

func size(n int64) string {
	switch n {
	case wire.Chunked:
		return "chunked"
	case wire.UntilClose:
		return "close"
	}
	return fmt.Sprint(n)
}

func lines(fields wire.Fields) string {
	var b strings.Builder
	for _, f := range fields {
		fmt.Fprintf(&b, "\n%q: %q", f.Name, f.Value)
	}
	return b.String()
}

// read walks a stream as a server does: it keeps what has no meaning yet, and asks again
// when more has come. It also returns the fault that ended it.
func read(stream []byte, pieces cuts, h head) (r reading, fault error) {
	var kept []byte
	var body wire.Body
	var m *message
	for i := 0; ; i++ {
		// Each piece lies in memory of its own, so that what is read too far is found out.
		n := pieces.next(i, len(stream))
		kept = append(bytes.Clone(kept), stream[:n]...)
		kept = kept[:len(kept):len(kept)]
		stream = stream[n:]
		for {
			if m == nil {
				n, err := h.parse(kept)
				if err != nil {
					r.end = bad
					return r, err
				}
				if n == 0 {
					break
				}
				r.messages = append(r.messages, message{head: h.meaning()})
				m = &r.messages[len(r.messages)-1]
				body.Begin(h.length())
				kept = kept[n:]
			}
			if !body.Done() {
				skip, size, err := body.Next(kept)
				if err != nil {
					r.end = bad
					return r, err
				}
				m.body += string(kept[skip : skip+size])
				if kept = kept[skip+size:]; skip+size == 0 {
					break
				}
			}
			if body.Done() {
				m.done = true
				m = nil
				h.reset()
			}
		}
		if len(stream) == 0 {
			break
		}
	}
	r.end = more
	if m == nil && h.nothing(kept) {
		r.end = clean
	}
	return r, nil
}
