package wire_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// The second reader: what wire does, written again from the rules and not from wire, with
// whole streams, strings and regular expressions, so that a person can check it line by
// line. It is slow and may be.

// The ends of a stream.
const (
	clean = "clean" // behind a whole message
	more  = "more"  // within one
	bad   = "bad"   // at something that is no message
)

var (
	token      = "[!#$%&'*+.^_`|~0-9A-Za-z-]"
	refRequest = regexp.MustCompile(`^(` + token + `{1,32}) ([^\x00-\x20\x7f#\\]+) HTTP/1\.([01])$`)
	refStatus  = regexp.MustCompile(`^HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?$`)
	refField   = regexp.MustCompile(`^(` + token + `+):([^\x00-\x08\x0a-\x1f\x7f]*)$`)
	refTrailer = refField
	refHost    = regexp.MustCompile(`^([A-Za-z0-9._-]+|\[[0-9a-fA-F:.]{2,}\])(?::([1-9][0-9]{0,4}))?$`)
	refNumber  = regexp.MustCompile(`^(0|[1-9][0-9]{0,17})$`)
	refChunk   = regexp.MustCompile(`^([0-9a-fA-F]{1,16})(;[^\x00-\x08\x0a-\x1f\x7f]*)?$`)
)

// message is one that was read, in a form that can be compared.
type message struct {
	head string // what the head means, a line each
	body string // without its framing
	done bool
}

func (m message) String() string { return fmt.Sprintf("%s\nbody %q done %v", m.head, m.body, m.done) }

// reading is what became of a stream.
type reading struct {
	messages []message
	end      string
}

func (r reading) String() string {
	var b strings.Builder
	for _, m := range r.messages {
		b.WriteString(m.String() + "\n")
	}
	return b.String() + r.end
}

// fold is how a careless server reads a name.
func fold(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "-") }

func trim(s string) string { return strings.Trim(s, " \t") }

// refHead splits a stream behind its first head. The lines have no ends.
func refHead(stream string) (lines []string, rest, end string) {
	i := strings.Index(stream, "\r\n\r\n")
	head := stream
	if i >= 0 {
		head = stream[:i+4]
	}
	if strings.Count(head, "\n") != strings.Count(head, "\r\n") || len(head) > 32<<10 {
		return nil, "", bad
	}
	if i < 0 {
		if len(head) == 32<<10 {
			return nil, "", bad
		}
		return nil, "", more
	}
	return strings.Split(stream[:i], "\r\n"), stream[i+4:], ""
}

type refFields struct {
	list  [][2]string
	count map[string]int
	value map[string]string // the first of a folded name
	lines map[string][]string
}

func refReadFields(lines []string) (f refFields, ok bool) {
	f = refFields{count: map[string]int{}, value: map[string]string{}, lines: map[string][]string{}}
	if len(lines) > 100 {
		return f, false
	}
	for _, line := range lines {
		m := refField.FindStringSubmatch(line)
		if m == nil {
			return f, false
		}
		name, value := m[1], trim(m[2])
		// A name that only a careless server takes for one that frames is nobody's friend.
		if n := fold(name); (n == "content-length" || n == "transfer-encoding") && strings.Contains(name, "_") {
			return f, false
		}
		f.list = append(f.list, [2]string{name, value})
		if f.count[fold(name)]++; f.count[fold(name)] == 1 {
			f.value[fold(name)] = value
		}
		f.lines[fold(name)] = append(f.lines[fold(name)], value)
	}
	return f, true
}

// has reports whether a list in any line of a header has a word.
func (f refFields) has(name, word string) bool {
	for _, line := range f.lines[name] {
		if listed(line, word) {
			return true
		}
	}
	return false
}

func listed(line, word string) bool {
	for one := range strings.SplitSeq(line, ",") {
		if fold(trim(one)) == word {
			return true
		}
	}
	return false
}

func (f refFields) String() string {
	var b strings.Builder
	for _, one := range f.list {
		fmt.Fprintf(&b, "\n%q: %q", one[0], one[1])
	}
	return b.String()
}

// refRequests reads a stream of requests.
func refRequests(stream string) (r reading) {
	for {
		for range 2 {
			stream = strings.TrimPrefix(stream, "\r\n")
		}
		if stream == "" {
			r.end = clean
			return r
		}
		if strings.HasPrefix(stream, "\r\n") {
			r.end = bad
			return r
		}
		lines, rest, end := refHead(stream)
		if end != "" {
			r.end = end
			return r
		}
		stream = rest
		first := refRequest.FindStringSubmatch(lines[0])
		f, ok := refReadFields(lines[1:])
		if first == nil || len(first[2]) > 8<<10 || !ok {
			r.end = bad
			return r
		}
		minor := first[3]
		for name, n := range f.count {
			switch name {
			case "host", "content-length", "transfer-encoding", "expect", "authorization", "content-md5", "content-type", "date":
				ok = ok && n == 1
			default:
				ok = ok && (n == 1 || !strings.HasPrefix(name, "x-ca-"))
			}
		}
		host := refHost.FindStringSubmatch(f.value["host"])
		if host == nil || len(f.value["host"]) > 261 {
			ok = false
		} else if port, _ := strconv.Atoi(host[2]); port > 65535 {
			ok = false
		}
		length := "0"
		switch {
		case f.count["transfer-encoding"] > 0:
			length = "chunked"
			ok = ok && f.count["content-length"] == 0 && minor == "1" && strings.EqualFold(f.value["transfer-encoding"], "chunked")
		case f.count["content-length"] > 0:
			length = f.value["content-length"]
			ok = ok && refNumber.MatchString(length)
		}
		if f.count["expect"] > 0 {
			ok = ok && strings.EqualFold(f.value["expect"], "100-continue")
		}
		if !ok {
			r.end = bad
			return r
		}
		closes := f.has("connection", "close") || minor == "0" && !f.has("connection", "keep-alive")
		upgrade := ""
		if f.count["upgrade"] == 1 && f.has("connection", "upgrade") && minor == "1" && length == "0" && first[1] == "GET" && strings.EqualFold(f.value["upgrade"], "websocket") {
			upgrade = f.value["upgrade"]
		}
		m := message{head: fmt.Sprintf("%q %q %s host %q length %s close %v expect %v upgrade %q%v", first[1], first[2], minor, f.value["host"], length,
			closes, f.count["expect"] > 0 && minor == "1" && length != "0", upgrade, f)}
		stream, m.body, end = refBody(stream, length)
		m.done = end == ""
		r.messages = append(r.messages, m)
		if end != "" {
			r.end = end
			return r
		}
	}
}

// refResponses reads a stream of answers; noBody is for all of them.
func refResponses(stream string, noBody bool) (r reading) {
	for {
		if stream == "" {
			r.end = clean
			return r
		}
		lines, rest, end := refHead(stream)
		if end != "" {
			r.end = end
			return r
		}
		stream = rest
		first := refStatus.FindStringSubmatch(lines[0])
		f, ok := refReadFields(lines[1:])
		if first == nil || !ok {
			r.end = bad
			return r
		}
		minor, status := first[1], first[2]
		length := "close"
		switch {
		case f.count["transfer-encoding"] > 0:
			length = "chunked"
			ok = f.count["transfer-encoding"] == 1 && f.count["content-length"] == 0 && minor == "1" && strings.EqualFold(f.value["transfer-encoding"], "chunked")
		case f.count["content-length"] > 0:
			length = f.value["content-length"]
			ok = refNumber.MatchString(length)
			for _, other := range f.lines["content-length"] {
				ok = ok && other == length
			}
		}
		if !ok {
			r.end = bad
			return r
		}
		if noBody || status[0] == '1' || status == "204" || status == "304" {
			length = "0"
		}
		closes := f.has("connection", "close") || minor == "0" && !f.has("connection", "keep-alive") || length == "close"
		m := message{head: fmt.Sprintf("%s %s %q length %s close %v%v", minor, status, first[3], length, closes, f)}
		stream, m.body, end = refBody(stream, length)
		m.done = end == ""
		r.messages = append(r.messages, m)
		if end != "" {
			r.end = end
			return r
		}
	}
}

// refBody reads a body. The end is empty if it is whole.
func refBody(stream, length string) (rest, body, end string) {
	switch length {
	case "close":
		return "", stream, more // it is never known to be whole
	case "chunked":
		return refChunks(stream)
	}
	n, _ := strconv.Atoi(length) // it was matched
	if len(stream) < n {
		return "", stream, more
	}
	return stream[n:], stream[:n], ""
}

func refChunks(stream string) (rest, body, end string) {
	for {
		line, behind, ok := strings.Cut(stream, "\r\n")
		if !ok {
			// What no line end can make right is wrong already.
			open := strings.TrimSuffix(stream, "\r")
			if open != "" && !refChunk.MatchString(open) || stream == "\r" {
				return "", body, bad
			}
			if _, ext, _ := strings.Cut(open, ";"); len(ext) > 4095 {
				return "", body, bad
			}
			if size, _, _ := strings.Cut(open, ";"); size != "" && tooMuch(size) {
				return "", body, bad
			}
			return "", body, more
		}
		m := refChunk.FindStringSubmatch(line)
		if m == nil || len(m[2]) > 4<<10 || tooMuch(m[1]) {
			return "", body, bad
		}
		size, _ := strconv.ParseUint(m[1], 16, 64) // it was matched
		stream = behind
		if size == 0 {
			break
		}
		if uint64(len(stream)) < size {
			return "", body + stream, more
		}
		body, stream = body+stream[:size], stream[size:]
		if !strings.HasPrefix(stream, "\r\n") {
			if stream == "" || stream == "\r" {
				return "", body, more
			}
			return "", body, bad
		}
		stream = stream[2:]
	}
	const most = 16 << 10 // bytes of trailers with the empty line, the last byte of it aside
	for all := stream; ; {
		line, behind, ok := strings.Cut(stream, "\r\n")
		switch {
		case !ok:
			open := strings.TrimSuffix(stream, "\r")
			half := regexp.MustCompile(`^` + token + `*$`)
			if strings.HasSuffix(stream, "\r") && open != "" && !refTrailer.MatchString(open) || !half.MatchString(open) && !refTrailer.MatchString(open) || len(all) >= most {
				return "", body, bad
			}
			return "", body, more
		case len(all)-len(behind) > most:
			return "", body, bad
		case line == "":
			return behind, body, ""
		case !refTrailer.MatchString(line):
			return "", body, bad
		}
		stream = behind
	}
}

// tooMuch reports whether a size in hexadecimal digits is beyond what can be counted.
func tooMuch(size string) bool {
	n, err := strconv.ParseUint(size, 16, 64)
	return err != nil || n>>62 != 0
}
