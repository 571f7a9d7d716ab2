package openapi

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds of a document. They keep a hostile one from costing more than a second or so.
const (
	maxBytes      = 10 << 20
	maxDepth      = 200
	maxNodes      = 200_000
	maxAliases    = 1_000
	maxOperations = 5_000
)

// jsonReader turns JSON text into nodes. JSON is not read as YAML: escapes of surrogate
// pairs and raw control characters, both found in real documents, mean other things there.
type jsonReader struct {
	text  []byte
	at    int
	line  int
	start int                          // where the line begins
	known struct{ start, at, col int } // the last column asked for: a document may be one long line
	nodes int
	notes []Diagnostic
}

func readJSON(data []byte) (n *Node, notes []Diagnostic, err error) {
	r := jsonReader{text: data, line: 1}
	defer func() {
		switch e := recover().(type) {
		case nil:
		case *Error:
			n, err = nil, e
		default:
			panic(e)
		}
	}()
	r.space()
	n = r.value(0)
	r.space()
	if r.at < len(r.text) {
		r.broken("something follows the end of the document")
	}
	return n, r.notes, nil
}

func (r *jsonReader) col() int {
	at := min(r.at, len(r.text))
	if k := &r.known; k.start != r.start || k.at > at || k.col == 0 {
		k.start, k.at, k.col = r.start, r.start, 1
	}
	r.known.col += utf8.RuneCount(r.text[r.known.at:at])
	r.known.at = at
	return r.known.col
}

// broken leaves the recursion at once; readJSON catches it.
func (r *jsonReader) broken(reason string) {
	panic(fail("openapi.json", r.line, r.col(), "reason", reason))
}

func (r *jsonReader) space() {
	for r.at < len(r.text) {
		switch r.text[r.at] {
		case '\n':
			r.line++
			r.start = r.at + 1
		case ' ', '\t', '\r':
		default:
			return
		}
		r.at++
	}
}

func (r *jsonReader) peek() byte {
	if r.at >= len(r.text) {
		r.broken("the document ends too early")
	}
	return r.text[r.at]
}

func (r *jsonReader) value(depth int) *Node {
	n := &Node{Line: r.line, Col: r.col(), size: 1}
	if depth > maxDepth {
		panic(fail("openapi.too_deep", n.Line, n.Col, "limit", strconv.Itoa(maxDepth)))
	}
	if r.nodes++; r.nodes > maxNodes {
		panic(fail("openapi.too_many", n.Line, n.Col, "limit", strconv.Itoa(maxNodes)))
	}
	switch c := r.peek(); {
	case c == '{':
		r.object(n, depth)
	case c == '[':
		r.list(n, depth)
	case c == '"':
		n.Kind, n.Text = String, r.string()
	case c == '-' || '0' <= c && c <= '9':
		n.Kind, n.Text = Number, r.number()
	default:
		r.word(n)
	}
	return n
}

func (r *jsonReader) object(n *Node, depth int) {
	n.Kind = Map
	seen := map[string]int{}
	r.at++
	for r.space(); r.peek() != '}'; r.space() {
		if len(n.Fields) > 0 {
			if r.peek() != ',' {
				r.broken("“,” or “}” expected")
			}
			r.at++
			r.space()
		}
		if r.peek() != '"' {
			r.broken("a name in quotation marks expected")
		}
		f := Field{Line: r.line, Col: r.col()}
		f.Name = r.string()
		r.space()
		if r.peek() != ':' {
			r.broken("“:” expected")
		}
		r.at++
		r.space()
		f.Value = r.value(depth + 1)
		n.size += f.Value.size
		if i, ok := seen[f.Name]; ok {
			r.notes = append(r.notes, remark(Warning, "openapi.duplicate_key", &Node{Line: f.Line, Col: f.Col}, "", "field", f.Name))
			n.Fields[i] = f
			continue
		}
		seen[f.Name] = len(n.Fields)
		n.Fields = append(n.Fields, f)
	}
	r.at++
	n.seal()
}

func (r *jsonReader) list(n *Node, depth int) {
	n.Kind = List
	r.at++
	for r.space(); r.peek() != ']'; r.space() {
		if len(n.Items) > 0 {
			if r.peek() != ',' {
				r.broken("“,” or “]” expected")
			}
			r.at++
			r.space()
		}
		item := r.value(depth + 1)
		n.size += item.size
		n.Items = append(n.Items, item)
	}
	r.at++
}

func (r *jsonReader) word(n *Node) {
	for word, kind := range map[string]Kind{"true": Bool, "false": Bool, "null": Null} {
		if bytes.HasPrefix(r.text[r.at:], []byte(word)) {
			n.Kind, n.Text = kind, word
			r.at += len(word)
			return
		}
	}
	r.broken("a value expected")
}

func (r *jsonReader) number() string {
	from := r.at
	for r.at < len(r.text) && bytes.IndexByte([]byte("+-.eE0123456789"), r.text[r.at]) >= 0 {
		r.at++
	}
	text := string(r.text[from:r.at])
	if !validNumber(text) {
		r.at = from
		r.broken("“" + text + "” is not a number")
	}
	return text
}

// validNumber is JSON's grammar of numbers.
func validNumber(s string) bool {
	digits := func() bool {
		n := 0
		for n < len(s) && '0' <= s[n] && s[n] <= '9' {
			n++
		}
		s = s[n:]
		return n > 0
	}
	if s != "" && s[0] == '-' {
		s = s[1:]
	}
	if len(s) > 1 && s[0] == '0' && '0' <= s[1] && s[1] <= '9' || !digits() {
		return false
	}
	if s != "" && s[0] == '.' {
		s = s[1:]
		if !digits() {
			return false
		}
	}
	if s != "" && (s[0] == 'e' || s[0] == 'E') {
		s = s[1:]
		if s != "" && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		if !digits() {
			return false
		}
	}
	return s == ""
}

// string reads a string. Raw control characters are let through: documents have them.
func (r *jsonReader) string() string {
	line, col := r.line, r.col()
	r.at++
	from := r.at
	var b []byte // only if there is an escape
	for {
		if r.at >= len(r.text) {
			panic(fail("openapi.json", line, col, "reason", "this string does not end"))
		}
		switch r.text[r.at] {
		case '"':
			b = append(b, r.text[from:r.at]...)
			r.at++
			return string(b)
		case '\\':
			b = append(b, r.text[from:r.at]...)
			b = r.escape(b)
			from = r.at
		case '\n':
			r.at++
			r.line++
			r.start = r.at
		default:
			r.at++
		}
	}
}

func (r *jsonReader) escape(b []byte) []byte {
	r.at++
	c := r.peek()
	r.at++
	switch c {
	case '"', '\\', '/':
		return append(b, c)
	case 'b':
		return append(b, '\b')
	case 'f':
		return append(b, '\f')
	case 'n':
		return append(b, '\n')
	case 'r':
		return append(b, '\r')
	case 't':
		return append(b, '\t')
	case 'u':
		first := r.hex4()
		if utf16.IsSurrogate(first) && r.at+1 < len(r.text) && r.text[r.at] == '\\' && r.text[r.at+1] == 'u' {
			back := r.at
			r.at += 2
			if both := utf16.DecodeRune(first, r.hex4()); both != utf8.RuneError {
				return utf8.AppendRune(b, both)
			}
			r.at = back
		}
		return utf8.AppendRune(b, first) // half a pair becomes U+FFFD
	}
	r.at -= 2
	r.broken("an escape that JSON does not have")
	return nil
}

func (r *jsonReader) hex4() rune {
	if r.at+4 > len(r.text) {
		r.broken("an escape that does not end")
	}
	v, err := strconv.ParseUint(string(r.text[r.at:r.at+4]), 16, 32)
	if err != nil {
		r.broken("an escape with other digits than hexadecimal ones")
	}
	r.at += 4
	return rune(v)
}
