package openapi

import (
	"slices"
	"strconv"
	"strings"
)

// maxSchemaDepth bounds how deep inline schemas are read; references start anew.
const maxSchemaDepth = maxDepth

// schema reads the schema at a node. It never gives nil: what is not there, or cannot be
// read, may be anything. A node that is met again gives the same Schema, so that circles
// of references become circles of pointers.
func (r *reader) schema(n *Node, at string, depth int) *Schema {
	if n == nil || depth > maxSchemaDepth {
		return &Schema{Pointer: at}
	}
	if n.Kind == Map && n.Get("$ref").is(String) {
		return r.reference(n, at, depth)
	}
	if s, ok := r.schemas[n]; ok {
		return s
	}
	s := &Schema{Pointer: at, Name: named(at)}
	r.schemas[n] = s
	switch {
	case n.is(Bool): // true is anything; false is nothing, of which nobody needs a value
	case !n.is(Map):
		r.remark(Warning, "openapi.kind", n, at, "field", last(at), "want", "object", "got", n.Kind.String())
	default:
		r.fill(s, n, at, depth)
	}
	return s
}

// reference reads a schema through its reference. OpenAPI 3.1 allows words beside the
// reference; those of use are kept, on a copy.
func (r *reader) reference(n *Node, at string, depth int) *Schema {
	target, where := r.resolve(n, at)
	if target == nil {
		return &Schema{Pointer: at}
	}
	s := r.schema(target, where, 0)
	description := n.Get("description").str()
	if description == "" && !n.Get("nullable").bool() {
		return s
	}
	// A copy made now would miss what a circle has not filled in yet: wrap instead.
	return &Schema{Pointer: at, AllOf: []*Schema{s}, Description: description, Nullable: n.Get("nullable").bool()}
}

// named is the name of a schema that stands among the named ones.
func named(at string) string {
	for _, prefix := range []string{"/components/schemas/", "/definitions/"} {
		if name, ok := strings.CutPrefix(at, prefix); ok && !strings.Contains(name, "/") {
			return unescape(name)
		}
	}
	return ""
}

func last(at string) string { return unescape(at[strings.LastIndexByte(at, '/')+1:]) }

func (r *reader) fill(s *Schema, n *Node, at string, depth int) {
	s.Title, s.Description = n.Get("title").str(), n.Get("description").str()
	s.Format = n.Get("format").str()
	s.Nullable = n.Get("nullable").bool() || n.Get("x-nullable").bool()
	s.ReadOnly, s.WriteOnly = n.Get("readOnly").bool(), n.Get("writeOnly").bool()
	s.Deprecated = n.Get("deprecated").bool()
	s.Default, s.Example = n.Get("default"), n.Get("example")
	if s.Example == nil {
		s.Example = r.firstExample(n.Get("examples"))
	}
	r.types(s, n.Get("type"))
	if enum := n.Get("enum"); enum.is(List) {
		for _, e := range enum.Items {
			if e.Kind == Null {
				s.Nullable = true
				continue
			}
			s.Enum = append(s.Enum, e)
		}
	}
	if c := n.Get("const"); c != nil && c.Kind != Null {
		s.Enum = []*Node{c}
	}
	r.properties(s, n, at, depth)
	if items := n.Get("items"); items != nil {
		if items.is(List) { // a tuple, whose items may be anything
			s.Items = &Schema{Pointer: join(at, "items")}
		} else {
			s.Items = r.schema(items, join(at, "items"), depth+1)
		}
	}
	switch extra := n.Get("additionalProperties"); {
	case extra.is(Map):
		s.Extra = r.schema(extra, join(at, "additionalProperties"), depth+1)
	case extra.bool():
		s.Extra = &Schema{Pointer: join(at, "additionalProperties")}
	}
	s.AllOf = r.several(s, n, "allOf", at, depth)
	s.OneOf = r.several(s, n, "oneOf", at, depth)
	s.OneOf = append(s.OneOf, r.several(s, n, "anyOf", at, depth)...)
	r.infer(s)
}

func (r *reader) types(s *Schema, n *Node) {
	var list []*Node
	if n.is(List) {
		list = n.Items
	} else if n != nil {
		list = []*Node{n}
	}
	for _, t := range list {
		switch name := strings.ToLower(t.str()); name {
		case "null":
			s.Nullable = true
		case "string", "integer", "number", "boolean", "object", "array", "file":
			if !slices.Contains(s.Types, name) {
				s.Types = append(s.Types, name)
			}
		case "int", "long":
			s.Types = append(s.Types, "integer")
		case "float", "double":
			s.Types = append(s.Types, "number")
		case "bool":
			s.Types = append(s.Types, "boolean")
		}
	}
}

func (r *reader) properties(s *Schema, n *Node, at string, depth int) {
	props := n.Get("properties")
	if !props.is(Map) {
		return
	}
	required := map[string]bool{}
	if list := n.Get("required"); list.is(List) {
		for _, name := range list.Items {
			required[name.str()] = true
		}
	}
	for _, f := range props.Fields {
		if f.Name == "" {
			continue
		}
		s.Properties = append(s.Properties, Property{
			Name:     f.Name,
			Required: required[f.Name],
			Schema:   r.schema(f.Value, join(at, "properties", f.Name), depth+1),
		})
	}
}

// several reads a list of schemas. A choice that is just "null" makes s nullable.
func (r *reader) several(s *Schema, n *Node, word, at string, depth int) []*Schema {
	list := n.Get(word)
	if !list.is(List) {
		return nil
	}
	var found []*Schema
	for i, item := range list.Items {
		if item.Get("type").str() == "null" {
			s.Nullable = true
			continue
		}
		found = append(found, r.schema(item, join(at, word, strconv.Itoa(i)), depth+1))
	}
	return found
}

// infer finds the type of a schema that does not state one.
func (r *reader) infer(s *Schema) {
	if len(s.Types) > 0 {
		return
	}
	switch {
	case len(s.Properties) > 0 || s.Extra != nil:
		s.Types = []string{"object"}
	case s.Items != nil:
		s.Types = []string{"array"}
	case len(s.Enum) > 0:
		s.Types = enumTypes(s.Enum)
	}
}

func enumTypes(enum []*Node) []string {
	name := ""
	for _, e := range enum {
		t := map[Kind]string{String: "string", Number: "number", Bool: "boolean"}[e.Kind]
		if name != "" && t != name {
			return nil
		}
		name = t
	}
	if name == "" {
		return nil
	}
	return []string{name}
}

// Flat is the schema with its allOf parts put together, as one object: fields in order,
// a later one in the place of an earlier one of its name. A schema that only wraps
// another is the other. What it returns may be s itself and must not be changed.
func (s *Schema) Flat() *Schema { return s.flat(map[*Schema]*Schema{}) }

// maxChoices bounds the choices of a flat schema, which could double at each allOf.
const maxChoices = 100

// flat remembers in done what it has made, so that a part in many places costs once; a
// part that contains itself is found there unmade.
func (s *Schema) flat(done map[*Schema]*Schema) *Schema {
	if len(s.AllOf) == 0 {
		return s
	}
	if f, ok := done[s]; ok {
		return f
	}
	done[s] = s
	if len(s.AllOf) == 1 && len(s.Properties) == 0 && len(s.OneOf) == 0 && s.Extra == nil {
		done[s] = s.AllOf[0].flat(done)
		return done[s]
	}
	all := *s
	all.AllOf, all.Properties, all.OneOf = nil, nil, slices.Clone(s.OneOf)
	var fields propertySet
	for _, part := range s.AllOf {
		p := part.flat(done)
		if p == part && len(part.AllOf) > 0 {
			continue // it contains itself
		}
		all.take(p)
		fields.add(p.Properties...)
	}
	fields.add(s.Properties...)
	all.Properties = fields.list
	done[s] = &all
	return &all
}

// take fills in what s does not say from one of its parts.
func (s *Schema) take(p *Schema) {
	if len(s.Types) == 0 {
		s.Types = p.Types
	}
	if s.Extra == nil {
		s.Extra = p.Extra
	}
	if s.Items == nil {
		s.Items = p.Items
	}
	if s.Format == "" {
		s.Format = p.Format
	}
	if s.Enum == nil {
		s.Enum = p.Enum
	}
	if s.Description == "" {
		s.Description = p.Description
	}
	if s.Example == nil {
		s.Example = p.Example
	}
	if len(s.OneOf) < maxChoices {
		s.OneOf = append(s.OneOf, p.OneOf[:min(len(p.OneOf), maxChoices)]...)
	}
}

// propertySet is a list of properties, each name once.
type propertySet struct {
	list []Property
	at   map[string]int
}

func (ps *propertySet) add(props ...Property) {
	if ps.at == nil {
		ps.at = map[string]int{}
	}
	for _, p := range props {
		if i, ok := ps.at[p.Name]; ok {
			ps.list[i] = p
			continue
		}
		ps.at[p.Name] = len(ps.list)
		ps.list = append(ps.list, p)
	}
}

// Sample is a value of the schema made of the examples in it, or nil if it has none.
func (s *Schema) Sample() *Node {
	m := sampler{seen: map[*Schema]bool{}, room: maxSample}
	return m.sample(s, 0)
}

// Bounds of a sample: it is for reading, and a schema may contain another many times.
const (
	maxSampleDepth = 8
	maxSample      = 1_000
)

type sampler struct {
	seen map[*Schema]bool
	room int
}

func (m *sampler) sample(s *Schema, depth int) *Node {
	if s == nil || m.seen[s] || depth > maxSampleDepth || m.room <= 0 {
		return nil
	}
	m.room--
	m.seen[s] = true
	defer delete(m.seen, s)
	if s.Example != nil {
		return s.Example
	}
	if f := s.Flat(); f != s {
		return m.sample(f, depth)
	}
	switch {
	case len(s.Properties) > 0:
		n := &Node{Kind: Map}
		for _, p := range s.Properties {
			if v := m.sample(p.Schema, depth+1); v != nil {
				n.Fields = append(n.Fields, Field{Name: p.Name, Value: v})
			}
		}
		if len(n.Fields) > 0 {
			return n
		}
	case s.Items != nil:
		if v := m.sample(s.Items, depth+1); v != nil {
			return &Node{Kind: List, Items: []*Node{v}}
		}
	case len(s.OneOf) > 0:
		return m.sample(s.OneOf[0], depth+1)
	case s.Default != nil && s.Default.Kind != Null:
		return s.Default
	case len(s.Enum) > 0:
		return s.Enum[0]
	}
	return nil
}
