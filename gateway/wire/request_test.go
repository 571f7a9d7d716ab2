package wire_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/souk-market/souk/gateway/wire"
)

func parse(t *testing.T, text string) (*wire.Request, error) {
	t.Helper()
	r := new(wire.Request)
	n, err := r.Parse([]byte(text), wire.Bounds{})
	if err == nil && n != len(text) {
		t.Fatalf("%q: %d bytes of %d", text, n, len(text))
	}
	return r, err
}

// What a head says of its message.
func TestHeadsOfRequests(t *testing.T) {
	for _, c := range []struct {
		text string
		want wire.Request
	}{
		{"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", wire.Request{Minor: 1, Host: []byte("a.test")}},
		{"GET / HTTP/1.0\r\nHost: a.test:80\r\n\r\n", wire.Request{Host: []byte("a.test:80"), Close: true}},
		{"GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n", wire.Request{Host: []byte("a")}},
		{"GET / HTTP/1.0\r\nHost: a\r\nConnection: x, keep-alive\r\nConnection: close\r\n\r\n", wire.Request{Host: []byte("a"), Close: true}},
		{"GET / HTTP/1.1\r\nHost: a\r\nConnection: TE ,\tClose\r\n\r\n", wire.Request{Minor: 1, Host: []byte("a"), Close: true}},
		{"GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n\r\n", wire.Request{Minor: 1, Host: []byte("a")}},
		{"POST / HTTP/1.1\r\nhOST: a\r\ncontent-LENGTH:7\r\nExpect: 100-Continue\r\n\r\n", wire.Request{Minor: 1, Host: []byte("a"), Length: 7, Expect: true}},
		{"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\r\n", wire.Request{Host: []byte("a"), Length: 7, Close: true}}, // 1.0 knows no 100
		{"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", wire.Request{Minor: 1, Host: []byte("a")}},                                     // nothing to wait for
		{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \tChunked \r\n\r\n", wire.Request{Minor: 1, Host: []byte("a"), Length: wire.Chunked}},
		{"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", wire.Request{Minor: 1, Host: []byte("a"), Upgrade: []byte("websocket")}},
		{"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\r\n", wire.Request{Minor: 1, Host: []byte("a"), Upgrade: []byte("WebSocket")}},
		// Nothing but a WebSocket is gone on with: who knows what would be said.
		{"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", wire.Request{Minor: 1, Host: []byte("a")}},
		{"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n", wire.Request{Minor: 1, Host: []byte("a")}},
		// Who does not ask for it properly goes on with HTTP.
		{"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", wire.Request{Minor: 1, Host: []byte("a")}},
		{"GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", wire.Request{Host: []byte("a"), Close: true}},
		{"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", wire.Request{Minor: 1, Host: []byte("a")}},
		{"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", wire.Request{Minor: 1, Host: []byte("a"), Length: 1}},
		{"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: a\r\nUpgrade: b\r\nUpgrade: c\r\n\r\n", wire.Request{Minor: 1, Host: []byte("a")}},
	} {
		got, err := parse(t, c.text)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		if got.Minor != c.want.Minor || string(got.Host) != string(c.want.Host) || got.Length != c.want.Length || got.Close != c.want.Close ||
			got.Expect != c.want.Expect || string(got.Upgrade) != string(c.want.Upgrade) {
			t.Errorf("%q:\ngot  %+v\nwant %+v", c.text, got, c.want)
		}
	}
}

// Names, order, spelling and bytes are those of the sender.
func TestHeadsAreKeptAsTheyCame(t *testing.T) {
	text := "PATCH /x%2Fy?b=2&a=1&\xe5\x8c\x97=%zz HTTP/1.1\r\nHost: a\r\nx-b:  1 \t\r\nX-A: \r\nCookie: a=1\r\nCookie: b=\xe4\xbd\xa0\r\n\r\n"
	r, err := parse(t, text)
	if err != nil {
		t.Fatal(err)
	}
	if string(r.Head) != text || string(r.Method) != "PATCH" || string(r.Target) != "/x%2Fy?b=2&a=1&\xe5\x8c\x97=%zz" {
		t.Errorf("head %q, method %q, target %q", r.Head, r.Method, r.Target)
	}
	want := []string{"Host", "a", "x-b", "1", "X-A", "", "Cookie", "a=1", "Cookie", "b=\xe4\xbd\xa0"}
	var got []string
	for _, f := range r.Fields {
		got = append(got, string(f.Name), string(f.Value))
	}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("fields %q, want %q", got, want)
	}
	if v := r.Fields.Header([]byte("COOKIE")); string(v) != "a=1" || r.Fields.Has([]byte("x_a")) || !r.Fields.Has([]byte("x-a")) {
		t.Errorf("cookie %q", v)
	}
}

// Every rule of a head has a fault, and the fault is the rule's.
func TestUnclearHeadsAreFaults(t *testing.T) {
	with := func(lines string) string { return "POST / HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n\r\n" }
	first := func(line string) string { return line + "\r\nHost: a\r\n\r\n" }
	for _, c := range []struct {
		text string
		want wire.Fault
	}{
		// The request line: S4, S5, F9.
		{first("GE T / HTTP/1.1"), wire.BadVersion}, {first(" / HTTP/1.1"), wire.BadMethod}, {first("G(T / HTTP/1.1"), wire.BadMethod},
		{first("\tGET / HTTP/1.1"), wire.BadMethod}, {first("GET\t/ HTTP/1.1"), wire.BadMethod}, {first(strings.Repeat("M", 33) + " / HTTP/1.1"), wire.BadMethod},
		{first("GET  / HTTP/1.1"), wire.BadTarget}, {first("GET /  HTTP/1.1"), wire.BadVersion}, {first("GET / HTTP/1.1 "), wire.BadVersion},
		{first("GET /"), wire.BadVersion}, {first("GET / HTTP/1.2"), wire.BadVersion}, {first("GET / HTTP/2.0"), wire.BadVersion},
		{first("GET / http/1.1"), wire.BadVersion}, {first("GET / HTTP/1.1\r"), wire.BadVersion}, {first("GET / HTTP/01.1"), wire.BadVersion},
		{first("GET /a#b HTTP/1.1"), wire.BadTarget}, {first(`GET /a\b HTTP/1.1`), wire.BadTarget}, {first("GET /a\x00b HTTP/1.1"), wire.BadTarget},
		{first("GET /a\x7fb HTTP/1.1"), wire.BadTarget}, {first("GET /a\tb HTTP/1.1"), wire.BadTarget}, {first(""), wire.BadMethod},
		// Line ends and folds: F7.
		{"GET / HTTP/1.1\nHost: a\r\n\r\n", wire.BadLineEnd}, {with("X: a\nY: b"), wire.BadLineEnd}, {with("X: a\rY: b"), wire.BadValue},
		{with("X: a\r\n b"), wire.Folded}, {with("X: a\r\n\tb"), wire.Folded}, {"GET / HTTP/1.1\r\n Host: a\r\n\r\n", wire.Folded},
		// Names and values.
		{with("X : a"), wire.BadName}, {with(": a"), wire.BadName}, {with("X"), wire.BadName}, {with("X\x00: a"), wire.BadName}, {with("X\xff: a"), wire.BadName},
		{with("X[: a"), wire.BadName}, {with("X: a\x00"), wire.BadValue}, {with("X: \x7f"), wire.BadValue}, {with("X: aaaaaaaa\x1faaaaaaaa"), wire.BadValue},
		// Host: F8, S5.
		{"GET / HTTP/1.1\r\n\r\n", wire.BadHost}, {"GET / HTTP/1.0\r\n\r\n", wire.BadHost}, {"GET / HTTP/1.1\r\nHost:\r\n\r\n", wire.BadHost},
		{with("Host: a"), wire.BadHost}, {with("host: b"), wire.BadHost}, {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", wire.BadHost},
		{"GET / HTTP/1.1\r\nHost: a:0\r\n\r\n", wire.BadHost}, {"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", wire.BadHost},
		// Lengths: F6.
		{with("Content-Length: 1\r\nContent-Length: 1"), wire.BadLength}, {with("Content-Length: 1, 1"), wire.BadLength}, {with("Content-Length:"), wire.BadLength},
		{with("Content-Length: +1"), wire.BadLength}, {with("Content-Length: -1"), wire.BadLength}, {with("Content-Length: 01"), wire.BadLength},
		{with("Content-Length: 0x1"), wire.BadLength}, {with("Content-Length: 1_0"), wire.BadLength}, {with("Content-Length: 9999999999999999999"), wire.BadLength},
		{with("Content_Length: 1"), wire.BadLength}, {with("Content-Length: 1\r\nTransfer-Encoding: chunked"), wire.TwoLengths},
		{with("Transfer-Encoding: gzip, chunked"), wire.BadCoding}, {with("Transfer-Encoding: chunked, chunked"), wire.BadCoding}, {with("Transfer-Encoding: identity"), wire.BadCoding},
		{with("Transfer-Encoding: xchunked"), wire.BadCoding}, {with("Transfer-Encoding:"), wire.BadCoding}, {with("Transfer_Encoding: chunked"), wire.BadCoding},
		{with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), wire.BadCoding},
		{"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", wire.BadCoding},
		// Those that may come once: S3, K13.
		{with("Authorization: a\r\nauthorization: b"), wire.Repeated}, {with("Content-MD5: a\r\nContent_MD5: b"), wire.Repeated}, {with("X-Ca-Key: a\r\nx-ca-key: a"), wire.Repeated},
		{with("X-Ca-Key: a\r\nX_Ca_Key: b"), wire.Repeated}, {with("X-Ca-Nonce: a\r\nX: b\r\nx-CA-nonce: b"), wire.Repeated}, {with("Content-Type: a\r\nContent-Type: a"), wire.Repeated},
		{with("Date: a\r\nDate: a"), wire.Repeated}, {with("Expect: 100-continue\r\nExpect: 100-continue"), wire.Repeated},
		// F10.
		{with("Expect: 200-ok"), wire.BadExpectation}, {with("Expect:"), wire.BadExpectation}, {with("Expect: 100-continue, x"), wire.BadExpectation},
	} {
		_, err := parse(t, c.text)
		var got wire.Fault
		if !errors.As(err, &got) || got != c.want {
			t.Errorf("%q: %v, want %v", c.text, err, c.want)
		}
	}
}

// R1: both sides of every bound.
func TestBoundsOfHeads(t *testing.T) {
	small := wire.Bounds{Head: 100, Target: 20, Fields: 3}
	head := func(target, fields, pad int) string {
		s := "GET /" + strings.Repeat("a", target-1) + " HTTP/1.1\r\nHost: a\r\n"
		for i := 1; i < fields; i++ {
			s += "X: b\r\n"
		}
		if pad > 0 {
			s = strings.TrimSuffix(s, "\r\n") + strings.Repeat("b", pad-len(s)-2) + "\r\n"
		}
		return s + "\r\n"
	}
	for _, c := range []struct {
		text string
		want error
	}{
		{head(20, 3, 0), nil}, {head(21, 1, 0), wire.TargetTooLong}, {head(1, 4, 0), wire.TooManyFields},
		{head(1, 3, 100), nil}, {head(1, 3, 101), wire.HeadTooLarge},
		{strings.Repeat("M", 32) + " / HTTP/1.1\r\nHost: a\r\n\r\n", nil}, {"\r\n\r\n" + head(20, 3, 100), nil}, {"\r\n\r\n\r\n" + head(1, 1, 0), wire.BadMethod},
	} {
		for _, step := range []int{len(c.text), 1} {
			var r wire.Request
			n, err := 0, error(nil)
			for at := step; at <= len(c.text) && n == 0 && err == nil; at += step {
				n, err = r.Parse([]byte(c.text)[:at], small)
			}
			if !errors.Is(err, c.want) || err == nil && n != len(c.text) {
				t.Errorf("%q by %d: %d, %v, want %v", c.text, step, n, err, c.want)
			}
		}
	}
}

// Who sends what can become no request is told so before he has sent a whole head.
func TestHopelessHeadsAreRefusedEarly(t *testing.T) {
	for _, c := range []struct {
		text string
		want error
	}{
		{"\x16\x03\x01", wire.BadMethod}, // TLS to a plain port
		{"GET /\n", wire.BadLineEnd}, {"GET / HTTP/1.1\r\nHost: a\n", wire.BadLineEnd}, {"GET / HTTP/3\r\n", wire.BadVersion}, {"PRI * HTTP/2.0\r\n", wire.BadVersion},
		{strings.Repeat("A", 33), wire.BadMethod}, {"GET /" + strings.Repeat("a", wire.DefaultHead), wire.BadTarget}, {"GET /" + strings.Repeat("a", wire.DefaultTarget) + " HTTP/1.1\r\n", wire.TargetTooLong},
		{"GET / HTTP/1.1\r\nX: " + strings.Repeat("a", wire.DefaultHead), wire.HeadTooLarge},
		{"GET / HTTP/1.1\r\nX: a", nil}, {"", nil}, {"\r", nil}, {"\r\n", nil}, {strings.Repeat("A", 32), nil}, {"GET /" + strings.Repeat("a", wire.DefaultTarget+20), nil},
	} {
		var r wire.Request
		if n, err := r.Parse([]byte(c.text), wire.Bounds{}); n != 0 || !errors.Is(err, c.want) {
			t.Errorf("%.40q…: %d, %v, want %v", c.text, n, err, c.want)
		}
	}
}

// A CR and the LF behind it may come apart, wherever they stand.
func TestEmptyLinesInPieces(t *testing.T) {
	text := []byte("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
	for first := range len(text) {
		for second := first; second < len(text); second++ {
			var r wire.Request
			for _, at := range []int{first, second} {
				if n, err := r.Parse(text[:at:at], wire.Bounds{}); n != 0 || err != nil {
					t.Fatalf("after %q: %d, %v", text[:at], n, err)
				}
			}
			if n, err := r.Parse(text, wire.Bounds{}); n != len(text) || err != nil {
				t.Fatalf("cut at %d and %d: %d, %v", first, second, n, err)
			}
		}
	}
}

func TestHosts(t *testing.T) {
	for _, good := range []string{"a", "a.b-c_d.E0", "a.test.", "1.2.3.4", "a:1", "a:65535", "[::1]", "[fe80::1]:8080", "[::ffff:1.2.3.4]", strings.Repeat("a", 255) + ":65535"} {
		if !wire.IsHost([]byte(good)) {
			t.Errorf("%q must be a host", good)
		}
	}
	for _, bad := range []string{"", ":", ":80", "a:", "a:0", "a:080", "a:65536", "a:99999", "a:8x", "a:+1", "a:80:80", "a b", " a", "user@a", "a/b", "a?b", "a#b", `a\b`, "a\x00", "a\x85",
		"ex\xc3\xa9mple.com", "%61", "a,b", "[", "[]", "[:]", "[::1", "::1", "[::1]x", "[::1]:", "[::1]:0", "[::1%eth0]", "[g::1]", strings.Repeat("a", 262)} {
		if wire.IsHost([]byte(bad)) {
			t.Errorf("%q must be no host", bad)
		}
	}
}

func TestListsAndNames(t *testing.T) {
	for _, c := range []struct {
		list, word string
		want       bool
	}{{"close", "close", true}, {" a ,\tCLOSE", "close", true}, {"close,", "close", true}, {",,close", "close", true}, {"x-hop", "X_Hop", true},
		{"closed", "close", false}, {"clos", "close", false}, {"", "close", false}, {"a b", "a", false}, {`"close"`, "close", false}} {
		if got := wire.Listed([]byte(c.list), []byte(c.word)); got != c.want {
			t.Errorf("%q lists %q: %v", c.list, c.word, got)
		}
	}
	for c := range 256 {
		want := strings.ContainsRune("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", rune(c))
		if got := wire.IsToken([]byte{byte(c)}); got != want {
			t.Errorf("byte %#x in a name: %v", c, got)
		}
	}
	if wire.IsToken(nil) {
		t.Error("no name must be no token")
	}
}

// Whatever byte stands wherever in a value of whatever length, it is judged alike.
func TestEveryByteInAValue(t *testing.T) {
	for length := 1; length <= 20; length++ {
		for at := range length {
			for c := range 256 {
				if c == '\n' {
					continue // it ends the line
				}
				value := []byte(strings.Repeat("a", length))
				value[at] = byte(c)
				_, err := parse(t, "GET / HTTP/1.1\r\nHost: a\r\nX: "+string(value)+"\r\n\r\n")
				if want := c >= 0x20 && c != 0x7F || c == '\t'; (err == nil) != want {
					t.Fatalf("%#x at %d of %d: %v", c, at, length, err)
				}
			}
		}
	}
}

func TestFaultsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for f := wire.BadMethod; f <= wire.BrokenOff; f++ {
		if name := f.String(); name == "malformed" || seen[name] {
			t.Errorf("fault %d is called %q", f, name)
		} else {
			seen[name] = true
		}
	}
	if wire.Fault(0).String() != "malformed" || wire.Fault(200).Error() != "wire: malformed" {
		t.Error("a fault that does not exist has no name")
	}
}

// Lengths are read as they are or not at all.
func TestLengths(t *testing.T) {
	for _, n := range []int64{0, 1, 9, 10, 1 << 31, 1<<32 + 5, 999_999_999_999_999_999} {
		r, err := parse(t, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: "+strconv.FormatInt(n, 10)+"\r\n\r\n")
		if err != nil || r.Length != n {
			t.Errorf("%d: %d, %v", n, r.Length, err)
		}
	}
}
