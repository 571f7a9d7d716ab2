package mapping

import (
	"bytes"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/param"
)

// messageHeaders are those that describe the message and not its subject: they go on in
// mapped mode, too.
var messageHeaders = [][]byte{
	[]byte("Accept"), []byte("Accept-Charset"), []byte("Accept-Encoding"), []byte("Accept-Language"), []byte("Cache-Control"),
	[]byte("Content-Encoding"), []byte("Content-Language"), nameContentType, []byte("If-Match"), []byte("If-Modified-Since"),
	[]byte("If-None-Match"), []byte("If-Range"), []byte("If-Unmodified-Since"), []byte("Range"),
}

var nameContentMD5 = []byte("Content-MD5")

// form is the media type of what body writes.
var form = []byte("application/x-www-form-urlencoded")

// writer is one Apply on its way.
type writer struct {
	*Map
	c      *gate.Call
	values []found
}

// found is the value of a parameter: the caller's, or the default.
type found struct {
	value []byte
	ok    bool
	given bool // by the caller
}

func (w *writer) find() error {
	for i := range w.params {
		p := &w.params[i]
		value, ok, err := p.from.Find(w.c, nil)
		if err != nil {
			return err
		}
		switch {
		case ok:
			w.values[i] = found{value, true, true}
		case p.value != nil:
			w.values[i] = found{p.value, true, false}
		case p.required != nil:
			return p.required
		}
	}
	return nil
}

// stays reports whether a parameter goes on as it came, byte for byte.
func (w *writer) stays(i int) bool { return w.params[i].stays && w.values[i].given }

// written reports whether a name at the seller has a value of ours, so that the caller's
// own of that name must not be there beside it.
func (w *writer) written(to control.Place, name []byte, same func(a, b []byte) bool) bool {
	for i := range w.constants {
		if w.constants[i].to == to && same(name, w.constants[i].name) {
			return true
		}
	}
	for i := range w.params {
		p := &w.params[i]
		if p.to == to && w.values[i].ok && !w.stays(i) && same(name, p.name) {
			return true
		}
	}
	return false
}

// defined is the place in params of a parameter of the caller; -1: there is none.
func (w *writer) defined(in control.Place, name []byte, same func(a, b []byte) bool) int {
	for i := range w.params {
		if w.params[i].from.In == in && same(name, []byte(w.params[i].from.Name)) {
			return i
		}
	}
	return -1
}

// keeps reports whether what the caller wrote under a name stays where it is.
func (w *writer) keeps(in control.Place, name []byte, same func(a, b []byte) bool) bool {
	if w.written(in, name, same) {
		return false
	}
	i := w.defined(in, name, same)
	if i < 0 {
		return !w.mapped
	}
	return w.stays(i)
}

func (w *writer) headers(o *gate.Outgoing) error {
	kept := o.Fields[:0]
	for _, f := range o.Fields {
		if w.keeps(control.InHeader, f.Name, gate.Alike) || w.mapped && isMessageHeader(f.Name) && !w.written(control.InHeader, f.Name, gate.Alike) {
			kept = append(kept, f)
		}
	}
	o.Fields = kept
	for i := range w.params {
		p := &w.params[i]
		if p.to != control.InHeader || !w.values[i].ok || w.stays(i) {
			continue
		}
		if !param.FitsHeader(w.values[i].value) {
			return p.bad
		}
		o.Fields = append(o.Fields, gate.Field{Name: p.name, Value: w.values[i].value})
	}
	for i := range w.constants {
		k := &w.constants[i]
		if k.to != control.InHeader {
			continue
		}
		value := w.constant(k)
		if !param.FitsHeader(value) {
			return gate.Refuse("I400IP", "Invalid Parameter `"+string(k.name)+"` its value cannot stand in a header")
		}
		o.Fields = append(o.Fields, gate.Field{Name: k.name, Value: value})
	}
	return nil
}

func isMessageHeader(name []byte) bool {
	for _, n := range messageHeaders {
		if gate.Alike(n, name) {
			return true
		}
	}
	return false
}

func (w *writer) constant(k *constant) []byte {
	if k.system != nil {
		return k.system(w.c)
	}
	return k.value
}

func (w *writer) path(o *gate.Outgoing) error {
	path := make([]byte, 0, len(o.Path)+64)
	for _, piece := range w.Map.path {
		path = append(path, piece.text...)
		if piece.name == "" {
			continue
		}
		value, raw, err := w.inPath(piece.name)
		switch {
		case err != nil:
			return err
		case raw:
			path = append(path, value...)
		default:
			path = param.AppendEscaped(path, value)
		}
	}
	o.Path = path
	return nil
}

// inPath is the value of a name of the seller's path; raw if it is the caller's own piece
// of path.
func (w *writer) inPath(name string) (value []byte, raw bool, err error) {
	for i := range w.constants {
		if k := &w.constants[i]; k.to == control.InPath && string(k.name) == name {
			value = w.constant(k)
			if !fits(control.InPath, value) {
				return nil, false, gate.Refuse("I400IP", "Invalid Parameter `"+name+"` its value cannot stand in a path")
			}
			return value, false, nil
		}
	}
	for i := range w.params {
		p := &w.params[i]
		if p.to != control.InPath || string(p.name) != name {
			continue
		}
		if p.from.In == control.InPath && w.values[i].given {
			value, _ = param.Path(w.c, p.from.Name)
			return value, true, nil
		}
		if !w.values[i].ok {
			return nil, false, gate.Refuse("I400MP", "Parameter `"+p.from.Name+"` is required")
		}
		if !fits(control.InPath, w.values[i].value) {
			return nil, false, p.bad
		}
		return w.values[i].value, false, nil
	}
	value, _ = param.Path(w.c, name)
	return value, true, nil
}

func (w *writer) query(o *gate.Outgoing) {
	if query, changed := w.pairs(control.InQuery, w.c.Query); changed {
		o.Query, o.Mark = query, len(query) > 0
	}
}

// pairs makes a query or a form: of the caller's own what stays, raw, and then ours.
func (w *writer) pairs(in control.Place, theirs []byte) (made []byte, changed bool) {
	made = make([]byte, 0, len(theirs)+64)
	for rest := theirs; len(rest) > 0; {
		var p param.Pair
		before := rest
		p, rest = param.Next(rest)
		one := before[:len(before)-len(rest)] // with its & if there is more
		one = bytes.TrimSuffix(one, []byte{'&'})
		if len(p.Name) == 0 && w.mapped || len(p.Name) > 0 && !w.keeps(in, p.Name, param.Is) {
			changed = true
			continue
		}
		made = append(append(made, one...), '&')
	}
	add := func(name, value []byte) {
		changed = true
		made = append(param.AppendEscaped(made, name), '=')
		made = append(param.AppendEscaped(made, value), '&')
	}
	for i := range w.params {
		if p := &w.params[i]; p.to == in && w.values[i].ok && !w.stays(i) {
			add(p.name, w.values[i].value)
		}
	}
	for i := range w.constants {
		if k := &w.constants[i]; k.to == in {
			add(k.name, w.constant(k))
		}
	}
	return bytes.TrimSuffix(made, []byte{'&'}), changed
}

// body makes the form anew if the route touches forms.
func (w *writer) body(o *gate.Outgoing) error {
	isForm := param.IsForm(w.c.Fields.Header(nameContentType))
	if !w.form && !(w.mapped && isForm) {
		return nil
	}
	var theirs []byte
	if isForm {
		if err := param.Body(w.c); err != nil {
			return err
		}
		theirs = w.c.Body
	}
	made, changed := w.pairs(control.InForm, theirs)
	if !changed {
		return nil
	}
	if !isForm {
		if len(made) == 0 {
			return nil
		}
		if err := param.Body(w.c); err != nil {
			return err
		}
		if len(w.c.Body) > 0 {
			return notForm
		}
		o.Set(nameContentType, form)
	}
	o.Body, o.HasBody = made, true
	o.Drop(nameContentMD5) // it was that of another body
	return nil
}

var notForm = gate.Refuse("I400CT", "Invalid Content-Type: `this API takes a form`")
