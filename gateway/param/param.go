// Package param finds the parameters of a call where they stand, in the path, the query,
// the headers or a form, and writes values so that they stay values wherever they are put.
//
// What a parameter means is for others. Of several of one name the first counts, as in a
// signature.
package param

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/wire"
	"github.com/souk-market/souk/signer"
)

// Source is a parameter of a call: a place and a name.
type Source struct {
	In   control.Place
	Name string
	name []byte
}

// Parse reads "query:name", "header:X-Name", "path:name" or "form:name".
func Parse(text string) (Source, error) {
	in, name, ok := strings.Cut(text, ":")
	if ok && name != "" {
		if s := At(control.Place(in), name); s.valid() {
			return s, nil
		}
	}
	return Source{}, fmt.Errorf(`%q is no parameter: write "query:name", "header:X-Name", "path:name" or "form:name"`, text)
}

// At is the parameter of a name at a place.
func At(in control.Place, name string) Source {
	return Source{In: in, Name: name, name: []byte(name)}
}

func (s Source) valid() bool {
	switch s.In {
	case control.InPath, control.InQuery, control.InForm:
		return true
	case control.InHeader:
		return wire.IsToken(s.name)
	}
	return false
}

// String is what Parse reads.
func (s Source) String() string { return string(s.In) + ":" + s.Name }

// Find is the value of the parameter, decoded, and whether there is one. It may use the
// room of buf. A form is read from the call's body if that is a form; the body is then
// read whole, and the error is that of reading it.
func (s Source) Find(c *gate.Call, buf []byte) (value []byte, ok bool, err error) {
	switch s.In {
	case control.InPath:
		value, ok = Path(c, s.Name)
		return decode(value, buf, false), ok, nil
	case control.InQuery:
		value, ok = Raw(c.Query, s.name)
		return decode(value, buf, true), ok, nil
	case control.InHeader:
		value, ok = Header(c, s.name)
		return value, ok, nil
	case control.InForm:
		if !IsForm(c.Fields.Header(contentType)) {
			return nil, false, nil
		}
		if err := Body(c); err != nil {
			return nil, false, err
		}
		value, ok = Raw(c.Body, s.name)
		return decode(value, buf, true), ok, nil
	}
	return nil, false, nil
}

// Body reads the body of a call if it was not read yet.
func Body(c *gate.Call) error {
	if c.BodyRead || c.ReadBody == nil {
		return nil
	}
	return c.ReadBody(c)
}

// Header is the value of the first header of a name, if it is one that the seller may see:
// credentials that are kept back from him are not there (security.md K12).
func Header(c *gate.Call, name []byte) ([]byte, bool) {
	for i := range c.Fields {
		if f := &c.Fields[i]; len(f.Name) == len(name) && bytes.EqualFold(f.Name, name) {
			if !c.Passes(*f) {
				return nil, false
			}
			return f.Value, true
		}
	}
	return nil, false
}

// Path is the value of one of the route's [names], raw.
func Path(c *gate.Call, name string) ([]byte, bool) {
	for i := range c.Params {
		if c.Params[i].Name == name {
			return c.Params[i].Value, true
		}
	}
	return nil, false
}

var contentType = []byte("Content-Type")

// IsForm reports whether a Content-Type is that of a form in one line.
func IsForm(value []byte) bool {
	const form = "application/x-www-form-urlencoded"
	if i := bytes.IndexByte(value, ';'); i >= 0 {
		value = value[:i]
	}
	return strings.EqualFold(string(wire.Trim(value)), form)
}

// Raw is the first value of a name in a query or a form, as it stands there.
func Raw(query, name []byte) (value []byte, ok bool) {
	for len(query) > 0 {
		var p Pair
		p, query = Next(query)
		if Is(p.Name, name) {
			return p.Value, true
		}
	}
	return nil, false
}

// Pair is one parameter of a query or a form, raw.
type Pair struct{ Name, Value []byte }

// Next cuts the first parameter off. One without a name has none; skip it.
func Next(query []byte) (p Pair, rest []byte) {
	one := query
	if i := bytes.IndexByte(query, '&'); i >= 0 {
		one, rest = query[:i], query[i+1:]
	}
	p.Name = one
	if i := bytes.IndexByte(one, '='); i >= 0 {
		p.Name, p.Value = one[:i], one[i+1:]
	}
	return p, rest
}

// Is reports whether a raw name stands for a name.
func Is(raw, name []byte) bool {
	if bytes.IndexByte(raw, '%') < 0 && bytes.IndexByte(raw, '+') < 0 {
		return bytes.Equal(raw, name)
	}
	var room [64]byte
	return bytes.Equal(signer.AppendDecoded(room[:0], raw, true), name)
}

func decode(raw, buf []byte, plus bool) []byte {
	if bytes.IndexByte(raw, '%') < 0 && (!plus || bytes.IndexByte(raw, '+') < 0) {
		return raw
	}
	return signer.AppendDecoded(buf[:0], raw, plus)
}

// AppendEscaped writes a value that stays one value of a path segment, a query or a form:
// all but letters, digits and "-._~" is escaped.
func AppendEscaped(dst, value []byte) []byte {
	const hex = "0123456789ABCDEF"
	for _, c := range value {
		if plain[c] {
			dst = append(dst, c)
			continue
		}
		dst = append(dst, '%', hex[c>>4], hex[c&15])
	}
	return dst
}

var plain = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for _, c := range "-._~" {
		t[c] = true
	}
	return t
}()

// FitsHeader reports whether a value may stand in a header: it has no control bytes but
// tabs, so it ends no line (security.md N5).
func FitsHeader(value []byte) bool {
	for _, c := range value {
		if c < 0x20 && c != '\t' || c == 0x7F {
			return false
		}
	}
	return true
}

// FitsPath reports whether a value may stand in a path: read as often decoded as some
// server may, it has no segment that leads upwards, and no NUL.
func FitsPath(value []byte) bool {
	for range 3 {
		if !fitsPath(value) {
			return false
		}
		if bytes.IndexByte(value, '%') < 0 {
			return true
		}
		value = signer.AppendDecoded(nil, value, false)
	}
	return fitsPath(value)
}

func fitsPath(value []byte) bool {
	for start, i := 0, 0; i <= len(value); i++ {
		if i < len(value) && value[i] == 0 {
			return false
		}
		if i < len(value) && value[i] != '/' && value[i] != '\\' {
			continue
		}
		// What follows a ';' some servers take for a parameter of the segment.
		s, _, _ := bytes.Cut(value[start:i], []byte{';'})
		if string(s) == "." || string(s) == ".." {
			return false
		}
		start = i + 1
	}
	return true
}
