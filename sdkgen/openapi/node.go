package openapi

import (
	"strconv"
	"strings"
)

// Kind is what a node of a document is.
type Kind uint8

// The kinds of nodes.
const (
	Null Kind = iota
	Bool
	Number
	String
	List
	Map
)

// String names the kind as a reader of JSON knows it.
func (k Kind) String() string {
	return [...]string{"null", "boolean", "number", "string", "array", "object"}[k]
}

// Node is a value of a document, with its place. JSON and YAML give the same tree. The
// methods may be called on a nil Node, which is a value that is not there.
type Node struct {
	Kind   Kind
	Text   string // a scalar as it is spelled: "1.10" stays "1.10"
	Fields []Field
	Items  []*Node
	Line   int
	Col    int

	size  int            // nodes in it, itself included
	index map[string]int // of Fields, made for large maps only
}

// Field is a field of a Map, in the order of the document.
type Field struct {
	Name  string
	Value *Node
	Line  int
	Col   int
}

// Get is the field of a Map, or nil.
func (n *Node) Get(name string) *Node {
	if n == nil || n.Kind != Map {
		return nil
	}
	if n.index != nil {
		if i, ok := n.index[name]; ok {
			return n.Fields[i].Value
		}
		return nil
	}
	for i := len(n.Fields) - 1; i >= 0; i-- {
		if n.Fields[i].Name == name {
			return n.Fields[i].Value
		}
	}
	return nil
}

// seal makes a map with many fields fast to ask, once its fields are known.
func (n *Node) seal() {
	if len(n.Fields) <= 16 {
		return
	}
	n.index = make(map[string]int, len(n.Fields))
	for i, f := range n.Fields {
		n.index[f.Name] = i
	}
}

// is reports whether there is a node of this kind.
func (n *Node) is(k Kind) bool { return n != nil && n.Kind == k }

// str is the text of a scalar; numbers and the like count as their spelling.
func (n *Node) str() string {
	if n == nil || n.Kind == List || n.Kind == Map || n.Kind == Null {
		return ""
	}
	return n.Text
}

func (n *Node) bool() bool {
	return n != nil && n.Text == "true" && (n.Kind == Bool || n.Kind == String)
}

// JSON is the value as JSON text, its fields in the order of the document. Text longer
// than most is cut, at the price of being no longer JSON; 0 cuts nothing.
func (n *Node) JSON(most int) string {
	if n == nil {
		return ""
	}
	w := jsonWriter{most: most}
	w.value(n, 0)
	if w.full() {
		return w.String()[:most] + "…"
	}
	return w.String()
}

type jsonWriter struct {
	strings.Builder
	most int
}

func (w *jsonWriter) full() bool { return w.most > 0 && w.Len() > w.most }

func (w *jsonWriter) value(n *Node, depth int) {
	if w.full() {
		return
	}
	switch n.Kind {
	case Null:
		w.WriteString("null")
	case Bool:
		w.WriteString(n.Text)
	case Number:
		w.WriteString(jsonNumber(n.Text))
	case String:
		w.WriteString(quote(n.Text))
	case List:
		w.WriteByte('[')
		for i, item := range n.Items {
			w.line(i, depth+1)
			w.value(item, depth+1)
		}
		w.end(']', len(n.Items), depth)
	case Map:
		w.WriteByte('{')
		for i, f := range n.Fields {
			w.line(i, depth+1)
			w.WriteString(quote(f.Name) + ": ")
			w.value(f.Value, depth+1)
		}
		w.end('}', len(n.Fields), depth)
	}
}

func (w *jsonWriter) line(i, depth int) {
	if i > 0 {
		w.WriteByte(',')
	}
	w.WriteByte('\n')
	for range depth {
		w.WriteString("  ")
	}
}

func (w *jsonWriter) end(bracket byte, n, depth int) {
	if n > 0 {
		w.line(0, depth)
	}
	w.WriteByte(bracket)
}

// jsonNumber keeps a number that JSON can spell and quotes any other, as YAML's .inf.
func jsonNumber(text string) string {
	if validNumber(text) {
		return text
	}
	if i, err := strconv.ParseInt(text, 0, 64); err == nil {
		return strconv.FormatInt(i, 10)
	}
	return quote(text)
}

// quote is JSON's way of quoting: what is safe inside HTML too, and no control characters.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x20 || r == 0x7F || r == 0x2028 || r == 0x2029 || r == '<' || r == '>' || r == '&':
			const hex = "0123456789abcdef"
			b.WriteString(`\u`)
			for shift := 12; shift >= 0; shift -= 4 {
				b.WriteByte(hex[r>>shift&15])
			}
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
