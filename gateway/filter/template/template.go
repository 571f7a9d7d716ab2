// Package template is text with values of a call in it, for filters that write headers,
// queries and bodies. It is compiled when a setting is read; filling it in cannot fail and
// decides nothing: there are no conditions and no loops.
//
//	"Hello ${query.name}, you are ${app.id}"
//
// "$${" stands for "${". A value that is not there is empty, or what stands after a colon:
// "${query.unit:celsius}". The values are
//
//	app.id  app.key  client.ip  request.id  request.method  request.host  request.scheme
//	request.path  request.query  request.time  route.name  route.stage
//	query.NAME  header.NAME  path.NAME  form.NAME      of the caller's request
//	body                                               of what is being rewritten
//	answer.status  answer.header.NAME                  where there is an answer
//	error.code  error.message                          where the call was refused
//
// Each value is escaped for the place that it is written to, so that it stays one value
// (security.md N5); only body stands in another body as it is. Credentials that are kept back from the seller are not there.
package template

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/param"
	"github.com/souk-market/souk/gateway/wire"
)

// Place says where a text is written, and so how values are escaped.
type Place uint8

// The places.
const (
	Header Place = iota // control characters become blanks
	Query               // a query, a form or a path: percent-encoded
	JSON                // inside a string
	XML                 // text or an attribute
	Text                // as they are
)

// PlaceOf is the place for bodies of a media type.
func PlaceOf(mediaType string) Place {
	t, _, _ := strings.Cut(strings.ToLower(mediaType), ";")
	switch t = strings.TrimSpace(t); {
	case strings.HasSuffix(t, "json"):
		return JSON
	case strings.HasSuffix(t, "xml") || strings.HasSuffix(t, "html"):
		return XML
	case t == "application/x-www-form-urlencoded":
		return Query
	}
	return Text
}

// Scope says which values there are beside those of the request.
type Scope uint8

// The scopes; each has what the ones before it have, but that a refusal has no answer.
const (
	Request Scope = iota
	Answer
	Refusal
)

// Data is what is not on the call.
type Data struct {
	Body    []byte        // that is being rewritten
	Refusal *gate.Refusal // in scope Refusal
}

// MaxText bounds a template.
const MaxText = 256 << 10

// Template is a compiled text.
type Template struct {
	pieces []piece
	place  Place
	body   bool
	form   bool
}

// piece is a text and after it a value.
type piece struct {
	text  string
	value func(dst []byte, c *gate.Call, d *Data) ([]byte, bool) // nil: none; it appends
	other string                                                 // if it is not there
	raw   bool                                                   // it is written as it is
}

// Compile reads a text. The error says which value is unknown.
func Compile(text string, place Place, scope Scope) (*Template, error) {
	if len(text) > MaxText {
		return nil, fmt.Errorf("a template has at most %d bytes", MaxText)
	}
	if place == Header && !param.FitsHeader([]byte(text)) {
		return nil, fmt.Errorf("%q has a line break or another control character, which no header can have", text)
	}
	t := &Template{place: place}
	var plain strings.Builder
	for text != "" {
		i := strings.Index(text, "${")
		if i < 0 {
			break
		}
		if i > 0 && text[i-1] == '$' {
			plain.WriteString(text[:i-1] + "${")
			text = text[i+2:]
			continue
		}
		end := strings.IndexByte(text[i:], '}')
		if end < 0 {
			return nil, fmt.Errorf("%q has no end; write ${name}", text[i:])
		}
		name, other, _ := strings.Cut(text[i+2:i+end], ":")
		p, err := t.value(name, scope)
		if err != nil {
			return nil, err
		}
		plain.WriteString(text[:i])
		p.text, p.other = plain.String(), other
		plain.Reset()
		t.pieces = append(t.pieces, p)
		text = text[i+end+1:]
	}
	plain.WriteString(text)
	if plain.Len() > 0 || len(t.pieces) == 0 {
		t.pieces = append(t.pieces, piece{text: plain.String()})
	}
	return t, nil
}

// ReadsBody reports whether the text has the body of what is rewritten in it.
func (t *Template) ReadsBody() bool { return t != nil && t.body }

// ReadsForm reports whether the text has fields of the caller's form in it.
func (t *Template) ReadsForm() bool { return t != nil && t.form }

// Fixed reports whether the text has no values, and what it is.
func (t *Template) Fixed() (string, bool) {
	if len(t.pieces) == 1 && t.pieces[0].value == nil {
		return t.pieces[0].text, true
	}
	return "", false
}

// Append fills the text in.
func (t *Template) Append(dst []byte, c *gate.Call, d Data) []byte {
	var room [256]byte
	for i := range t.pieces {
		p := &t.pieces[i]
		dst = append(dst, p.text...)
		if p.value == nil {
			continue
		}
		if p.raw {
			if next, ok := p.value(dst, c, &d); ok {
				dst = next
			} else {
				dst = append(dst, p.other...)
			}
			continue
		}
		value, ok := p.value(room[:0], c, &d)
		if !ok {
			value = append(value[:0], p.other...)
		}
		dst = t.place.append(dst, value)
	}
	return dst
}

func (p Place) append(dst, value []byte) []byte {
	switch p {
	case Header:
		for _, c := range value {
			if c < 0x20 && c != '\t' || c == 0x7F {
				c = ' '
			}
			dst = append(dst, c)
		}
		return dst
	case Query:
		return param.AppendEscaped(dst, value)
	case JSON:
		return appendJSON(dst, value)
	case XML:
		for _, c := range value {
			switch {
			case c == '&' || c == '<' || c == '>' || c == '"' || c == '\'':
				dst = append(append(dst, "&#"...), strconv.Itoa(int(c))...)
				dst = append(dst, ';')
			case c < 0x20 && c != '\t' && c != '\n' && c != '\r':
				dst = append(dst, ' ') // XML cannot have it in any spelling
			default:
				dst = append(dst, c)
			}
		}
		return dst
	}
	return append(dst, value...)
}

// appendJSON writes the inside of a JSON string.
func appendJSON(dst, value []byte) []byte {
	const hex = "0123456789abcdef"
	for len(value) > 0 {
		c := value[0]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < 0x20 || c == '<' || c == '>' || c == '&' || c == 0x7F:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			dst = append(dst, c)
		default:
			r, n := utf8.DecodeRune(value)
			dst = utf8.AppendRune(dst, r) // what is no UTF-8 becomes U+FFFD
			value = value[n:]
			continue
		}
		value = value[1:]
	}
	return dst
}

type valueFunc = func(dst []byte, c *gate.Call, d *Data) ([]byte, bool)

// simple are the values that are always there.
var simple = map[string]valueFunc{
	"app.id":         func(dst []byte, c *gate.Call, _ *Data) ([]byte, bool) { return append(dst, c.App...), c.App != "" },
	"app.key":        func(dst []byte, c *gate.Call, _ *Data) ([]byte, bool) { return append(dst, c.Key...), c.Key != "" },
	"client.ip":      func(dst []byte, c *gate.Call, _ *Data) ([]byte, bool) { return c.From.Unmap().AppendTo(dst), true },
	"request.id":     func(dst []byte, c *gate.Call, _ *Data) ([]byte, bool) { return c.ID.Append(dst), true },
	"request.method": func(dst []byte, c *gate.Call, _ *Data) ([]byte, bool) { return append(dst, c.Method...), true },
	"request.host":   func(dst []byte, c *gate.Call, _ *Data) ([]byte, bool) { return append(dst, c.Host...), true },
	"request.path":   func(dst []byte, c *gate.Call, _ *Data) ([]byte, bool) { return append(dst, c.Path...), true },
	"request.query": func(dst []byte, c *gate.Call, _ *Data) ([]byte, bool) {
		return append(dst, c.Query...), len(c.Query) > 0
	},
	"request.scheme": func(dst []byte, c *gate.Call, _ *Data) ([]byte, bool) {
		if c.TLS {
			return append(dst, "https"...), true
		}
		return append(dst, "http"...), true
	},
	"request.time": func(dst []byte, c *gate.Call, _ *Data) ([]byte, bool) {
		return c.At.UTC().AppendFormat(dst, time.RFC3339), true
	},
	"route.name": func(dst []byte, c *gate.Call, _ *Data) ([]byte, bool) { return append(dst, c.Route.Name...), true },
	"route.stage": func(dst []byte, c *gate.Call, _ *Data) ([]byte, bool) {
		if c.Route.Stage == "" {
			return append(dst, control.Release...), true
		}
		return append(dst, c.Route.Stage...), true
	},
}

func (t *Template) value(name string, scope Scope) (piece, error) {
	if f := simple[name]; f != nil {
		return piece{value: f}, nil
	}
	kind, rest, _ := strings.Cut(name, ".")
	switch {
	case name == "body":
		if scope == Refusal {
			return piece{}, fmt.Errorf("${body}: a refusal has none")
		}
		t.body = true
		return piece{raw: t.place != Header && t.place != Query, value: func(dst []byte, _ *gate.Call, d *Data) ([]byte, bool) { return append(dst, d.Body...), len(d.Body) > 0 }}, nil
	case rest != "" && (kind == "query" || kind == "header" || kind == "path" || kind == "form"):
		s, err := param.Parse(kind + ":" + rest)
		if err != nil {
			return piece{}, fmt.Errorf("${%s}: %q is no name of a header", name, rest)
		}
		t.form = t.form || kind == "form"
		return piece{value: func(dst []byte, c *gate.Call, _ *Data) ([]byte, bool) {
			value, ok, err := s.Find(c, dst[len(dst):])
			return append(dst, value...), ok && err == nil
		}}, nil
	case name == "answer.status" && scope == Answer:
		return piece{value: func(dst []byte, c *gate.Call, _ *Data) ([]byte, bool) {
			return strconv.AppendInt(dst, int64(c.Answer.Status), 10), true
		}}, nil
	case strings.HasPrefix(name, "answer.header.") && scope == Answer && wire.IsToken([]byte(name[len("answer.header."):])):
		header := []byte(name[len("answer.header."):])
		return piece{value: func(dst []byte, c *gate.Call, _ *Data) ([]byte, bool) {
			return append(dst, c.Answer.Fields.Header(header)...), c.Answer.Fields.Has(header)
		}}, nil
	case name == "error.code" && scope == Refusal:
		return piece{value: func(dst []byte, _ *gate.Call, d *Data) ([]byte, bool) { return append(dst, d.Refusal.Code...), true }}, nil
	case name == "error.message" && scope == Refusal:
		return piece{value: func(dst []byte, _ *gate.Call, d *Data) ([]byte, bool) { return append(dst, d.Refusal.Message...), true }}, nil
	}
	var names []string
	for n := range simple {
		names = append(names, n)
	}
	slices.Sort(names)
	more := "query.NAME, header.NAME, path.NAME, form.NAME"
	switch scope {
	case Request:
		more += ", body"
	case Answer:
		more += ", body, answer.status, answer.header.NAME"
	case Refusal:
		more += ", error.code, error.message"
	}
	return piece{}, fmt.Errorf("there is no value ${%s} here; there are %s, %s", name, strings.Join(names, ", "), more)
}
