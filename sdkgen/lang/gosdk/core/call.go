package core

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/textproto"
	"reflect"
	"strconv"
	"strings"
)

// BodyKind says how a body is made.
type BodyKind int

// The kinds of bodies.
const (
	None      BodyKind = iota
	Form               // fields, percent-encoded
	Multipart          // fields, in parts
	JSON               // fields of an object
	Value              // one value as JSON
	Bytes              // one value as it is
)

// Call is a call before it is sent.
type Call struct {
	Method  string
	Path    string // "/user/{id}"
	BaseURL string
	Host    string
	Kind    BodyKind
	// ContentType is that of the body. A multipart body adds its boundary.
	ContentType string
	Accept      string

	path     map[string]string
	query    []pair
	headers  []pair
	fields   []field
	value    any
	hasValue bool
}

type pair struct{ name, value string }

type field struct {
	name  string
	value any
}

// File is a file to send.
type File struct {
	Name string // "photo.jpg"
	Type string // media type; empty: application/octet-stream
	Data []byte
}

// unset reports whether an optional value was not given, and gives the value.
func unset(value any) (any, bool) {
	if value == nil {
		return nil, true
	}
	v := reflect.ValueOf(value)
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil, true
		}
		if v.Elem().Kind() != reflect.Struct {
			return v.Elem().Interface(), false
		}
	case reflect.Slice, reflect.Map:
		return value, v.IsNil()
	}
	return value, false
}

// text is a value as it stands in a path, a query, a header or a form. A list is one
// value with commas: of a name that comes twice, a signature covers only the first.
func text(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	if v := reflect.ValueOf(value); v.Kind() == reflect.Slice && v.Type().Elem().Kind() != reflect.Uint8 {
		parts := make([]string, v.Len())
		scalar := true
		for i := range parts {
			item := v.Index(i).Interface()
			switch reflect.ValueOf(item).Kind() {
			case reflect.Struct, reflect.Map, reflect.Slice, reflect.Pointer:
				scalar = false
			}
			parts[i] = text(item)
		}
		if scalar {
			return strings.Join(parts, ",")
		}
	}
	data, err := marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(data)
}

// PathValue sets a parameter of the path.
func (c *Call) PathValue(name string, value any) {
	if c.path == nil {
		c.path = map[string]string{}
	}
	value, _ = unset(value)
	c.path[name] = text(value)
}

// Query adds a parameter, unless it is not set.
func (c *Call) Query(name string, value any) {
	if v, none := unset(value); !none {
		c.query = append(c.query, pair{name, text(v)})
	}
}

// Header adds a header, unless it is not set.
func (c *Call) Header(name string, value any) {
	if v, none := unset(value); !none {
		line := strings.NewReplacer("\r", " ", "\n", " ").Replace(text(v))
		c.headers = append(c.headers, pair{name, strings.TrimSpace(line)})
	}
}

// Field adds a field of the body, unless it is not set.
func (c *Call) Field(name string, value any) {
	if v, none := unset(value); !none {
		c.fields = append(c.fields, field{name, v})
	}
}

// Body sets the whole body, unless it is not set.
func (c *Call) Body(value any) {
	if v, none := unset(value); !none {
		c.value, c.hasValue = v, true
	}
}

// target is the path and the query as they go over the wire.
func (c *Call) target() string {
	var b strings.Builder
	rest := c.Path
	for {
		before, after, ok := strings.Cut(rest, "{")
		b.WriteString(escapePath(before))
		if !ok {
			break
		}
		name, tail, _ := strings.Cut(after, "}")
		if name == "*" {
			b.WriteString(escapePath(c.path[name]))
		} else {
			b.WriteString(escape(c.path[name]))
		}
		rest = tail
	}
	sep := byte('?')
	for _, q := range c.query {
		b.WriteByte(sep)
		b.WriteString(escape(q.name) + "=" + escape(q.value))
		sep = '&'
	}
	return b.String()
}

// escapePath escapes a path but leaves its slashes, and escapes that are there already.
func escapePath(path string) string {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '/', c == '%', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			strings.IndexByte("-._~!$&'()*+,;=:@", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// body makes the body's bytes. No content type means no body.
func (c *Call) body() ([]byte, string, error) {
	switch c.Kind {
	case Form:
		var b strings.Builder
		for i, f := range c.fields {
			if i > 0 {
				b.WriteByte('&')
			}
			b.WriteString(escape(f.name) + "=" + escape(text(f.value)))
		}
		return []byte(b.String()), c.ContentType, nil
	case Multipart:
		return c.multipart()
	case JSON:
		if len(c.fields) == 0 {
			return []byte("{}"), c.ContentType, nil
		}
		var b bytes.Buffer
		for i, f := range c.fields {
			b.WriteByte("{,"[min(i, 1)])
			name, err := marshal(f.name)
			if err != nil {
				return nil, "", err
			}
			value, err := marshal(f.value)
			if err != nil {
				return nil, "", err
			}
			b.Write(name)
			b.WriteByte(':')
			b.Write(value)
		}
		b.WriteByte('}')
		return b.Bytes(), c.ContentType, nil
	case Value:
		if !c.hasValue {
			return nil, "", nil
		}
		data, err := marshal(c.value)
		return data, c.ContentType, err
	case Bytes:
		if !c.hasValue {
			return nil, "", nil
		}
		data, _ := c.value.([]byte)
		return data, c.ContentType, nil
	}
	return nil, "", nil
}

func min(a, b int) int {
	if a < b {
		return a
	}
	return b
}

var quoted = strings.NewReplacer("\\", "\\\\", `"`, "%22", "\r", "%0D", "\n", "%0A")

func (c *Call) multipart() ([]byte, string, error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, f := range c.fields {
		file, isFile := f.value.(File)
		if p, ok := f.value.(*File); ok {
			file, isFile = *p, true
		}
		h := textproto.MIMEHeader{}
		disposition := `form-data; name="` + quoted.Replace(f.name) + `"`
		data := []byte(nil)
		if isFile {
			disposition += `; filename="` + quoted.Replace(file.Name) + `"`
			h.Set("Content-Type", "application/octet-stream")
			if file.Type != "" {
				h.Set("Content-Type", quoted.Replace(file.Type))
			}
			data = file.Data
		} else {
			data = []byte(text(f.value))
		}
		h.Set("Content-Disposition", disposition)
		part, err := w.CreatePart(h)
		if err != nil {
			return nil, "", err
		}
		if _, err := part.Write(data); err != nil {
			return nil, "", err
		}
	}
	if err := w.Close(); err != nil {
		return nil, "", err
	}
	return b.Bytes(), w.FormDataContentType(), nil
}
