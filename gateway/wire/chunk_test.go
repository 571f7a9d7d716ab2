package wire_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/souk-market/souk/gateway/wire"
)

// body reads a body in pieces of n bytes.
func body(length int64, stream string, n int) (content string, rest string, done bool, err error) {
	var b wire.Body
	b.Begin(length)
	var kept string
	for stream != "" || kept != "" {
		take := min(n, len(stream))
		kept, stream = kept+stream[:take], stream[take:]
		for {
			skip, size, err := b.Next([]byte(kept))
			if err != nil {
				return content, "", false, err
			}
			content += kept[skip : skip+size]
			kept = kept[skip+size:]
			if b.Done() {
				return content, kept + stream, true, nil
			}
			if skip+size == 0 || kept == "" {
				break
			}
		}
		if take == 0 {
			break
		}
	}
	return content, kept, b.Done(), nil
}

func TestBodies(t *testing.T) {
	for _, c := range []struct {
		length          int64
		stream, content string
		rest            string
		done            bool
	}{
		{0, "GET", "", "GET", true},
		{3, "abcGET", "abc", "GET", true},
		{4, "abc", "abc", "", false},
		{wire.UntilClose, "abc", "abc", "", false},
		{wire.Chunked, "0\r\n\r\nGET", "", "GET", true},
		{wire.Chunked, "3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n0;z\r\nX-T: v\r\nY:\r\n\r\nGET", "abc0123456789", "GET", true},
		{wire.Chunked, "0005\r\nhello\r\n000\r\n\r\n", "hello", "", true},
		{wire.Chunked, "5\r\nhel", "hel", "", false},
		{wire.Chunked, "5\r\nhello\r\n0\r\n", "hello", "", false},
		{wire.Chunked, "5\r\nhello\r\n0\r\nX: y\r\n", "hello", "", false},
	} {
		for _, n := range []int{1, 2, 3, 1000} {
			content, rest, done, err := body(c.length, c.stream, n)
			if content != c.content || done != c.done || done && rest != c.rest || err != nil {
				t.Errorf("%d %q by %d: %q, %q, %v, %v", c.length, c.stream, n, content, rest, done, err)
			}
		}
	}
}

// F2: a chunk is what all servers take for one, or the connection ends.
func TestUnclearChunksAreFaults(t *testing.T) {
	for _, stream := range []string{
		"\r\n", " 5\r\nhello\r\n", "5 \r\nhello\r\n", "\t5\r\n", "5\nhello\n", "5\r\r\nhello\r\n", "5\rhello", "0x5\r\nhello\r\n", "-1\r\n", "+5\r\n", "5z\r\n", "5:a\r\n", "5\x00\r\n", "\xa05\r\n",
		"5\r\nhelloXX", "5\r\nhello\rX", "5\r\nhello\n", "5\r\nhello0\r\n", "5\r\nhello\r\n\r\n", "5;a\nb\r\n", "5;a\rb\r\n", "5;a\x00\r\n", "5;\x7f\r\n",
		"0\r\n\n", "0\r\n\rX", "0\r\nX\r\n", "0\r\nX : y\r\n", "0\r\n: y\r\n", "0\r\nX: \x01\r\n", "0\r\nX: y\n", "0\r\nX: y\rZ", "0\r\n X: y\r\n", "0\r\nX y: z\r\n",
		"8000000000000000\r\n", "FFFFFFFFFFFFFFFF\r\n", "4000000000000000\r\n", "10000000000000000\r\n", "00000000000000005\r\nhello\r\n",
	} {
		for _, n := range []int{1, 1000} {
			if content, _, done, err := body(wire.Chunked, stream, n); !errors.Is(err, wire.BadChunk) {
				t.Errorf("%q by %d: %q, %v, %v", stream, n, content, done, err)
			}
		}
	}
	if _, _, _, err := body(wire.Chunked, "3FFFFFFFFFFFFFFF\r\nx", 1000); err != nil {
		t.Errorf("the largest size: %v", err)
	}
}

// Both sides of what framing may take.
func TestBoundsOfFraming(t *testing.T) {
	const extension, trailers = 4 << 10, 16 << 10 // with the CR behind; with all that comes before the last LF
	for _, c := range []struct {
		stream string
		good   bool
	}{
		{"5;" + strings.Repeat("e", extension-1) + "\r\nhello\r\n0\r\n\r\n", true},
		{"5;" + strings.Repeat("e", extension) + "\r\nhello\r\n0\r\n\r\n", false},
		{strings.Repeat("1;"+strings.Repeat("e", extension-1)+"\r\nx\r\n", 20) + "0\r\n\r\n", true}, // each chunk has its own
		{"0\r\nX:" + strings.Repeat("t", trailers-7) + "\r\n\r\n", true},
		{"0\r\nX:" + strings.Repeat("t", trailers+1) + "\r\n\r\n", false},
	} {
		if _, _, done, err := body(wire.Chunked, c.stream, 1000); done != c.good || (err == nil) != c.good {
			t.Errorf("%.20q… of %d bytes: %v, %v", c.stream, len(c.stream), done, err)
		}
	}
}

func TestWhatABodyKnows(t *testing.T) {
	var b wire.Body
	b.Begin(5)
	if n, err := b.Walk([]byte("ab")); n != 2 || err != nil || b.Left() != 3 || b.Open() || b.Done() {
		t.Errorf("5 bytes after 2: %d, %v, left %d", n, err, b.Left())
	}
	b.Begin(wire.UntilClose)
	if n, err := b.Walk([]byte("ab")); n != 2 || err != nil || b.Left() != -1 || !b.Open() || b.Done() {
		t.Errorf("open: %d, %v, left %d", n, err, b.Left())
	}
	b.Begin(wire.Chunked)
	if n, err := b.Walk([]byte("1\r\na\r\n0\r\n\r\nGET")); n != 11 || err != nil || b.Left() != -1 || b.Open() || !b.Done() {
		t.Errorf("chunked: %d, %v, left %d", n, err, b.Left())
	}
}
