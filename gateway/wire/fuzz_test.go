package wire_test

import (
	"bufio"
	"encoding/json"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/souk-market/souk/gateway/wire"
)

// completions are what could follow a head that is not whole. If one of them makes it
// right, it must not have been refused before.
var completions = []string{"\n\r\n", "\r\n\r\n", "\r\nHost: a\r\n\r\n", "\nHost: a\r\n\r\n", "Host: a\r\n\r\n", ": a\r\nHost: a\r\n\r\n", ":\r\n\r\n",
	" / HTTP/1.1\r\nHost: a\r\n\r\n", "/ HTTP/1.1\r\nHost: a\r\n\r\n", " HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1\r\nHost: a\r\n\r\n", "TTP/1.1\r\nHost: a\r\n\r\n",
	"TP/1.1\r\nHost: a\r\n\r\n", "P/1.1\r\nHost: a\r\n\r\n", "/1.1\r\nHost: a\r\n\r\n", "1.1\r\nHost: a\r\n\r\n", ".1\r\nHost: a\r\n\r\n", "1\r\nHost: a\r\n\r\n",
	"HTTP/1.1 200\r\n\r\n", "TTP/1.1 200\r\n\r\n", "TP/1.1 200\r\n\r\n", "P/1.1 200\r\n\r\n", "/1.1 200\r\n\r\n", "1.1 200\r\n\r\n", ".1 200\r\n\r\n",
	"1 200\r\n\r\n", " 200\r\n\r\n", "200\r\n\r\n", "00\r\n\r\n", "0\r\n\r\n"}

// agree compares what wire makes of a stream, whole and in pieces, with the second reader.
func agree(t *testing.T, stream string, pieces cuts, ref func(string) reading, fresh func() head) {
	t.Helper()
	want := ref(stream)
	got, fault := read([]byte(stream), nil, fresh())
	check := func(got reading, fault error, how string) {
		t.Helper()
		if got.String() == want.String() {
			return
		}
		if got.end == bad && want.end == more {
			// Refused early: fine if nothing that may follow could have saved it.
			early := want
			early.end = bad
			if got.String() == early.String() {
				for _, c := range completions {
					if all := ref(stream + c); len(all.messages) > len(want.messages) {
						t.Fatalf("%s: refused (%v) what could still become a message\nstream %q\nwith   %q", how, fault, stream, c)
					}
				}
				return
			}
		}
		t.Fatalf("%s: %v\nstream %q\nwire reads\n%v\nthe second reader reads\n%v", how, fault, stream, got, want)
	}
	check(got, fault, "in one go")
	inPieces, fault := read([]byte(stream), pieces, fresh())
	check(inPieces, fault, "in pieces")
	// What must be refused may be refused later, when the line that it stands in has ended.
	if inPieces.end == more && got.end == bad {
		inPieces.end = bad
	}
	if inPieces.String() != got.String() {
		t.Fatalf("pieces of %v change the meaning\nstream %q\nwhole\n%v\nin pieces\n%v", pieces, stream, got, inPieces)
	}
}

func sizes(b []byte) cuts {
	c := make(cuts, len(b))
	for i := range b {
		c[i] = int(b[i])
	}
	return c
}

// FuzzRequests: F1, F2, F6 to F9, S4, G20. One reading for each stream of requests.
func FuzzRequests(f *testing.F) {
	for _, s := range requestSeeds(f) {
		f.Add([]byte(s), []byte{1})
		f.Add([]byte(s), []byte{7, 1, 30})
	}
	f.Fuzz(func(t *testing.T, stream, pieces []byte) {
		agree(t, string(stream), sizes(pieces), refRequests, func() head { return new(requestHead) })
	})
}

// FuzzResponses: F17, F19, F20, G20. The same for answers.
func FuzzResponses(f *testing.F) {
	for _, s := range responseSeeds(f) {
		f.Add([]byte(s), []byte{1}, false)
		f.Add([]byte(s), []byte{12, 1}, true)
	}
	f.Fuzz(func(t *testing.T, stream, pieces []byte, noBody bool) {
		agree(t, string(stream), sizes(pieces), func(s string) reading { return refResponses(s, noBody) }, func() head { return &responseHead{noBody: noBody} })
	})
}

// FuzzBodies walks chunked bodies: Walk and Next tell the same, and the end is where the
// second reader sees it.
func FuzzBodies(f *testing.F) {
	for _, s := range requestSeeds(f) {
		if _, body, ok := strings.Cut(s, "\r\n\r\n"); ok {
			f.Add([]byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		rest, _, end := refChunks(string(stream))
		var b wire.Body
		b.Begin(wire.Chunked)
		n, err := b.Walk(stream)
		switch {
		case (err != nil) != (end == bad):
			t.Fatalf("%q: %v, the second reader says %q", stream, err, end)
		case b.Done() != (end == ""):
			t.Fatalf("%q: done %v, the second reader says %q", stream, b.Done(), end)
		case end == "" && n != len(stream)-len(rest):
			t.Fatalf("%q: ends at %d, the second reader says %d", stream, n, len(stream)-len(rest))
		}
	})
}

// seed is a line of the cases of malformed HTTP.
type seed struct {
	Raw      string            `json:"raw"`
	Upstream *string           `json:"upstream"`
	Blocks   map[string]string `json:"blocks"`
}

const casesFile = "../testdata/http-cases.jsonl"

func seeds(t testing.TB) (list []seed) {
	t.Helper()
	file, err := os.Open(casesFile)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for in := bufio.NewScanner(file); in.Scan(); {
		var s seed
		if err := json.Unmarshal(in.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	return list
}

var placeholder = regexp.MustCompile(`\{\{([A-Z]+)(?:\.([a-z0-9]+))?(?::(\d+):([^}]*))?\}\}`)

// fill puts something in the place of each placeholder. Repetitions are kept short, so
// that seeds are.
func fill(s seed, text string) string {
	return placeholder.ReplaceAllStringFunc(text, func(p string) string {
		m := placeholder.FindStringSubmatch(p)
		switch m[1] {
		case "HOST":
			return "api.test"
		case "AUTH":
			return "Authorization: APPCODE 3F2504E04F8911D3\r\n"
		case "AUTHLF":
			return "Authorization: APPCODE 3F2504E04F8911D3\n"
		case "P":
			return "/p"
		case "UPPORT":
			return "8080"
		case "REP":
			n, _ := strconv.Atoi(m[3]) // it was matched
			return strings.Repeat(m[4], min(n, 120))
		}
		block := fill(s, s.Blocks[m[1]])
		switch m[2] {
		case "":
			return block
		case "hex":
			return strconv.FormatInt(int64(len(block)), 16)
		case "w64":
			return "184467440737095516" + strconv.Itoa(16+len(block))
		case "w32":
			return strconv.Itoa(1<<32 + len(block))
		}
		return strconv.Itoa(len(block))
	})
}

// latin1 makes bytes of characters below 256.
func latin1(s string) string {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}

func requestSeeds(t testing.TB) (list []string) {
	list = []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"\r\n\r\nGET /a?b=c HTTP/1.0\r\nhost: a:80\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhelloPUT /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX-T: v\r\n\r\n",
		"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nConnection: x, close\r\nUpgrade: websocket\r\nUpgrade: b\r\nUpgrade: c\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nX-Ca-Key: 1\r\nx_ca-key: 2\r\n\r\n",
		"\r", "\r\n\r", "\r\n\r\n\r\n", "G", "GET ", "GET /\xff\xfe HTTP/1.1\r\nHost: a\r\nX: \x80\xff\r\n\r\n",
	}
	for _, s := range seeds(t) {
		if s.Upstream == nil {
			list = append(list, latin1(fill(s, s.Raw)))
		}
	}
	return list
}

func responseSeeds(t testing.TB) (list []string) {
	list = []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\nHTTP/1.0 200 OK\r\n\r\nall that comes",
		"HTTP/1.1 200\r\r\n\r\n", "HTTP/1.1 200 OK\r\nContent_Length: 2\r\n\r\nok", "HTTP/1.1 2", "\r\n", "HTTP/1.1 2000\r\n\r\n",
		"HTTP/1.0 200 OK\r\nConnection: close\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
	}
	for _, s := range seeds(t) {
		if s.Upstream != nil {
			list = append(list, latin1(fill(s, *s.Upstream)))
		}
	}
	return list
}

// Wherever a seed is cut in two, it means what the whole does. Long ones are not cut
// everywhere.
func TestAnySplitGivesTheSame(t *testing.T) {
	for _, s := range requestSeeds(t) {
		for at := 1; at < len(s); at += 1 + len(s)/400 {
			agree(t, s, cuts{at, len(s)}, refRequests, func() head { return new(requestHead) })
		}
	}
	for _, s := range responseSeeds(t) {
		for at := 1; at < len(s); at += 1 + len(s)/400 {
			agree(t, s, cuts{at, len(s)}, func(s string) reading { return refResponses(s, false) }, func() head { return new(responseHead) })
		}
	}
}
