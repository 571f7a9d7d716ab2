package wire_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/souk-market/souk/gateway/wire"
)

// How an answer is framed: RFC 9112 section 6.3, F19, F20.
func TestHeadsOfAnswers(t *testing.T) {
	for _, c := range []struct {
		text   string
		noBody bool
		want   wire.Response
	}{
		{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", false, wire.Response{Minor: 1, Status: 200, Reason: []byte("OK"), Length: 2}},
		{"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n", false, wire.Response{Minor: 1, Status: 200, Length: 2}},
		{"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\n", false, wire.Response{Minor: 1, Status: 200, Length: 2}},
		{"HTTP/1.1 200 \xe5\xa5\xbd\t!\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n", false, wire.Response{Minor: 1, Status: 200, Reason: []byte("\xe5\xa5\xbd\t!"), Length: 2}},
		{"HTTP/1.1 200 OK\r\ntransfer-encoding: CHUNKED\r\n\r\n", false, wire.Response{Minor: 1, Status: 200, Reason: []byte("OK"), Length: wire.Chunked}},
		{"HTTP/1.1 200 OK\r\n\r\n", false, wire.Response{Minor: 1, Status: 200, Reason: []byte("OK"), Length: wire.UntilClose, Close: true}},
		{"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false, wire.Response{Status: 200, Reason: []byte("OK"), Close: true}},
		{"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", false, wire.Response{Status: 200, Reason: []byte("OK")}},
		{"HTTP/1.0 200 OK\r\nConnection: close\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", false, wire.Response{Status: 200, Reason: []byte("OK"), Close: true}},
		{"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", false, wire.Response{Minor: 1, Status: 200, Reason: []byte("OK"), Close: true}},
		// These have no body, whatever they say.
		{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", true, wire.Response{Minor: 1, Status: 200, Reason: []byte("OK")}},
		{"HTTP/1.1 200 OK\r\n\r\n", true, wire.Response{Minor: 1, Status: 200, Reason: []byte("OK")}},
		{"HTTP/1.1 204 X\r\nContent-Length: 2\r\n\r\n", false, wire.Response{Minor: 1, Status: 204, Reason: []byte("X")}},
		{"HTTP/1.1 304 X\r\nTransfer-Encoding: chunked\r\n\r\n", false, wire.Response{Minor: 1, Status: 304, Reason: []byte("X")}},
		{"HTTP/1.1 103 X\r\n\r\n", false, wire.Response{Minor: 1, Status: 103, Reason: []byte("X")}},
	} {
		var got wire.Response
		n, err := got.Parse([]byte(c.text), c.noBody, wire.Bounds{})
		if n != len(c.text) || err != nil {
			t.Errorf("%q: %d, %v", c.text, n, err)
			continue
		}
		if got.Minor != c.want.Minor || got.Status != c.want.Status || string(got.Reason) != string(c.want.Reason) || got.Length != c.want.Length || got.Close != c.want.Close {
			t.Errorf("%q:\ngot  %+v\nwant %+v", c.text, got, c.want)
		}
	}
}

func TestUnclearAnswersAreFaults(t *testing.T) {
	with := func(lines string) string { return "HTTP/1.1 200 OK\r\n" + lines + "\r\n\r\n" }
	for _, c := range []struct {
		text string
		want error
	}{
		{"HTTP/1.1 20 OK\r\n\r\n", wire.BadStatus}, {"HTTP/1.1 2000 OK\r\n\r\n", wire.BadStatus}, {"HTTP/1.1 2x0 OK\r\n\r\n", wire.BadStatus}, {"HTTP/1.1 099 X\r\n\r\n", wire.BadStatus},
		{"HTTP/1.1 600 X\r\n\r\n", wire.BadStatus}, {"HTTP/2.0 200 OK\r\n\r\n", wire.BadStatus}, {"HTTP/1.2 200 OK\r\n\r\n", wire.BadStatus}, {"HTTP/1.1  200 OK\r\n\r\n", wire.BadStatus},
		{"HTTP/1.1 200\tOK\r\n\r\n", wire.BadStatus}, {"HTTP/1.1 200\r\r\n\r\n", wire.BadStatus}, {"HTTP/1.1 200 O\x00K\r\n\r\n", wire.BadStatus}, {"HTTP/1.1 200 O\rK\r\n\r\n", wire.BadStatus},
		{"hello, I am a text\r\n", wire.BadStatus}, {"\r\nHTTP/1.1 200 OK\r\n\r\n", wire.BadStatus}, {"HTTP/1.1 200 OK\n\n", wire.BadLineEnd},
		{with("Content-Length: 1\r\nContent-Length: 2"), wire.BadLength}, {with("Content-Length: 1, 1"), wire.BadLength}, {with("Content-Length:"), wire.BadLength},
		{with("Content-Length: -1"), wire.BadLength}, {with("Content_Length: 1"), wire.BadLength}, {with("Content-Length: 1\r\nTransfer-Encoding: chunked"), wire.TwoLengths},
		{with("Transfer-Encoding: gzip"), wire.BadCoding}, {with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), wire.BadCoding}, {with("Transfer_Encoding: chunked"), wire.BadCoding},
		{"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", wire.BadCoding},
		{with("X : a"), wire.BadName}, {with("X: a\r\n b"), wire.Folded}, {with("X: \x00"), wire.BadValue}, {with(strings.Repeat("X: a\r\n", 100) + "X: a"), wire.TooManyFields},
		{with("X: " + strings.Repeat("a", wire.DefaultHead)), wire.HeadTooLarge}, {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", wire.DefaultHead), wire.HeadTooLarge},
	} {
		var r wire.Response
		if _, err := r.Parse([]byte(c.text), false, wire.Bounds{}); !errors.Is(err, c.want) {
			t.Errorf("%.60q: %v, want %v", c.text, err, c.want)
		}
	}
}
