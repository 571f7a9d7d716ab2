// Package mapping makes the seller's request of the caller's: parameters that move from
// one place to another, get a name, a default or a constant, and system parameters that say
// who calls. A route that wants none of this has no Map and pays nothing.
//
// In pass-through mode what the route does not define goes on as it came. In mapped mode
// only defined parameters do, beside the headers that describe the message itself
// (messageHeaders) and a body that is no form.
//
// A value stays a value wherever it is put: it ends no line of a head, leaves no path, and
// adds no parameter. What cannot is refused with I400IP.
package mapping

import (
	"fmt"
	"slices"
	"strings"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/param"
)

// Map is what Prepare makes of a route.
type Map struct {
	mapped    bool
	params    []parameter
	constants []constant
	path      []piece // of the seller's path; nil: it stays as it is
	form      bool    // a form is read or written
	moves     bool    // there is anything but a mock
	mock      *mock
	route     *control.Route
}

// parameter is one that the route defines.
type parameter struct {
	from     param.Source
	to       control.Place
	name     []byte // at the seller
	required *gate.Refusal
	bad      *gate.Refusal // its value cannot stand where it should
	value    []byte        // default
	stays    bool          // same place, same name
}

type constant struct {
	to     control.Place
	name   []byte
	value  []byte
	system system // makes the value; nil: it is fixed
}

// piece is a part of the seller's path: a text, or the value of a name.
type piece struct {
	text string
	name string
}

// Prepare makes the Map of a route; nil if the route needs none. The error says what is
// wrong with the route, in words for a seller.
func Prepare(r *control.Route) (*Map, error) {
	m := &Map{mapped: r.Mode == control.Mapped, route: r}
	switch r.Mode {
	case control.PassThrough, control.Mapped:
	default:
		return nil, fmt.Errorf("mode %q is not known; there are %q and %q", r.Mode, control.PassThrough, control.Mapped)
	}
	for _, p := range r.Parameters {
		if err := m.parameter(r, p); err != nil {
			return nil, err
		}
	}
	for _, c := range r.Constants {
		if err := m.constant(c); err != nil {
			return nil, err
		}
	}
	if err := m.paths(r); err != nil {
		return nil, err
	}
	m.moves = m.mapped || len(m.constants) > 0 || slices.ContainsFunc(m.params, func(p parameter) bool {
		return !p.stays || p.required != nil || p.value != nil
	})
	var err error
	if m.mock, err = newMock(r.Mock); err != nil {
		return nil, err
	}
	if !m.moves && m.mock == nil {
		return nil, nil
	}
	return m, nil
}

func (m *Map) parameter(r *control.Route, p control.Parameter) error {
	what := fmt.Sprintf("parameter %q", p.Name)
	from, err := param.Parse(string(p.In) + ":" + p.Name)
	if err != nil {
		return fmt.Errorf("%s: its place is %q; there are path, query, header and form, and a header needs a valid name", what, p.In)
	}
	if p.In == control.InPath && !strings.Contains(r.Path+"/", "["+p.Name+"]/") {
		return fmt.Errorf("%s is in the path, but the path %s has no [%s]", what, r.Path, p.Name)
	}
	made := parameter{from: from, to: p.To, name: []byte(p.ToName)}
	if made.to == "" {
		made.to = p.In
	}
	if p.ToName == "" {
		made.name = []byte(p.Name)
	}
	made.stays = made.to == p.In && string(made.name) == p.Name
	if made.to == control.InHeader && p.In == control.InHeader {
		made.stays = gate.Alike(made.name, []byte(p.Name))
	}
	if err := writable(made.to, string(made.name)); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if p.Required {
		made.required = gate.Refuse("I400MP", "Parameter `"+p.Name+"` is required")
	}
	made.bad = gate.Refuse("I400IP", "Invalid Parameter `"+p.Name+"` its value cannot stand in a "+string(made.to))
	if p.Default != "" {
		if !fits(made.to, []byte(p.Default)) {
			return fmt.Errorf("%s: its default cannot stand in a %s", what, made.to)
		}
		made.value = []byte(p.Default)
	}
	m.form = m.form || p.In == control.InForm && (m.mapped || !made.stays || p.Required || made.value != nil) || made.to == control.InForm && !made.stays
	m.params = append(m.params, made)
	return nil
}

func (m *Map) constant(c control.Constant) error {
	what := fmt.Sprintf("constant %q", c.Name)
	made := constant{to: c.In, name: []byte(c.Name), value: []byte(c.Value)}
	if err := writable(c.In, c.Name); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if c.System != "" {
		if made.system = systems[c.System]; made.system == nil {
			return fmt.Errorf("%s: there is no system parameter %q; there are %s", what, c.System, strings.Join(Systems(), ", "))
		}
		if c.Value != "" {
			return fmt.Errorf("%s has a value and a system parameter; leave one out", what)
		}
	} else if !fits(c.In, made.value) {
		return fmt.Errorf("%s: its value cannot stand in a %s", what, c.In)
	}
	m.form = m.form || c.In == control.InForm
	m.constants = append(m.constants, made)
	return nil
}

// writable reports why a name cannot be written at a place.
func writable(to control.Place, name string) error {
	switch to {
	case control.InHeader:
		if gate.Reserved([]byte(name)) {
			return fmt.Errorf("the header %q is not for a route to write", name)
		}
	case control.InPath, control.InQuery, control.InForm:
		if name == "" {
			return fmt.Errorf("it has no name at the seller")
		}
	default:
		return fmt.Errorf("there is no place %q; there are path, query, header and form", to)
	}
	return nil
}

func fits(to control.Place, value []byte) bool {
	switch to {
	case control.InHeader:
		return param.FitsHeader(value)
	case control.InPath:
		return len(value) > 0 && param.FitsPath(value)
	}
	return true
}

// paths cuts the seller's path into pieces, and looks whether all that goes there has a
// place.
func (m *Map) paths(r *control.Route) error {
	wanted := map[string]bool{}
	for _, p := range m.params {
		if p.to == control.InPath && !(p.stays && r.UpstreamPath == "") {
			wanted[string(p.name)] = true
		}
	}
	for _, c := range m.constants {
		if c.to == control.InPath {
			wanted[string(c.name)] = true
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	path := r.UpstreamPath
	if path == "" {
		path = r.Path
	}
	for path != "" {
		open := strings.IndexByte(path, '[')
		end := -1
		if open >= 0 {
			end = strings.IndexByte(path[open:], ']')
		}
		if end < 0 {
			m.path = append(m.path, piece{text: path})
			break
		}
		name := path[open+1 : open+end]
		delete(wanted, name)
		m.path = append(m.path, piece{text: path[:open], name: name})
		path = path[open+end+1:]
	}
	for name := range wanted {
		return fmt.Errorf("parameter %q goes to the seller's path, which has no [%s]", name, name)
	}
	return nil
}

// ReadsBody reports whether Apply will look into the body of a call: the route touches
// forms, and it is one.
func (m *Map) ReadsBody(c *gate.Call) bool {
	return m != nil && m.moves && (m.form || m.mapped) && param.IsForm(c.Fields.Header(nameContentType))
}

var nameContentType = []byte("Content-Type")

// Apply changes what the seller will be asked.
func (m *Map) Apply(c *gate.Call) error {
	if m == nil || !m.moves {
		return nil
	}
	o := c.Outgoing()
	w := writer{Map: m, c: c, values: make([]found, len(m.params))}
	if err := w.find(); err != nil {
		return err
	}
	if err := w.headers(o); err != nil {
		return err
	}
	if m.path != nil {
		if err := w.path(o); err != nil {
			return err
		}
	}
	w.query(o)
	return w.body(o)
}

// Reply answers with the route's mock, if it has one.
func (m *Map) Reply(c *gate.Call) bool {
	if m == nil || m.mock == nil {
		return false
	}
	c.Reply(m.mock.status, m.mock.fields, m.mock.body)
	return true
}
