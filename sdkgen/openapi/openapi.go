// Package openapi reads descriptions of APIs: OpenAPI 2.0, 3.0, 3.1 and 3.2, as JSON or
// YAML, into one model. Real descriptions are full of honest mistakes, so a fault in one
// place costs that place only and leaves a Diagnostic; and they come from strangers, so
// nothing outside the document is ever opened, and every size has a bound.
//
// It leaves to others what an SDK calls things, and what a marketplace makes of them.
package openapi

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Document is a description that was read.
type Document struct {
	OpenAPI     string // the version that it is written in, "3.0.1"
	Title       string
	Version     string
	Description string
	Servers     []string // base URLs as they stand there
	Operations  []*Operation
	Diagnostics []Diagnostic // all of them, in the order of the document
}

// Operation is one method of one path.
type Operation struct {
	Method      string // upper case
	Path        string // "/user/{id}"
	ID          string // operationId, empty if there is none
	Summary     string
	Description string
	Tag         string // the first one
	Deprecated  bool
	Parameters  []*Parameter
	Body        *Body       // nil: none
	Responses   []*Response // in the order of the document
	Security    []string    // names of the schemes that are asked for
	Problems    []Diagnostic
	Line        int
}

// Key names the operation within its document: "POST /ip/query".
func (o *Operation) Key() string { return o.Method + " " + o.Path }

// Title is what a person calls the operation: its summary's first line, else its ID,
// else its key.
func (o *Operation) Title() string {
	if line, _, _ := strings.Cut(strings.TrimSpace(o.Summary), "\n"); line != "" {
		return strings.TrimSpace(line)
	}
	if o.ID != "" {
		return o.ID
	}
	return o.Key()
}

// Success is the answer that a caller hopes for: the first of status 2xx that has a body,
// else the first 2xx, else the default one, else nil.
func (o *Operation) Success() *Response {
	var found *Response
	for _, r := range o.Responses {
		if strings.HasPrefix(r.Status, "2") && (found == nil || found.Schema == nil && r.Schema != nil) {
			found = r
		}
	}
	if found != nil {
		return found
	}
	for _, r := range o.Responses {
		if r.Status == "default" {
			return r
		}
	}
	return nil
}

// Parameter is a parameter outside the body.
type Parameter struct {
	Name        string
	In          string // path, query, header or cookie
	Required    bool
	Deprecated  bool
	Description string
	Example     string // a value as text
	Exploded    bool   // an array is sent as name=a&name=b
	Schema      *Schema
}

// Body is what a request carries. Of several media types the one that is best served is
// taken; the others are named.
type Body struct {
	MediaType   string
	Others      []string
	Required    bool
	Description string
	Schema      *Schema
	Example     string // as text, JSON if it has parts
}

// Response is an answer.
type Response struct {
	Status      string // "200", "2XX", "default"
	Description string
	MediaType   string
	Schema      *Schema // nil: not described
	Example     string
}

// Schema is the shape of a value. One that is referred to from several places, or from
// within itself, is one Schema: a walk must remember where it was.
type Schema struct {
	Name        string   // of a named schema, as the document spells it
	Types       []string // without "null"; empty: anything
	Nullable    bool
	Format      string
	Title       string
	Description string
	Properties  []Property
	Items       *Schema // of arrays; nil: anything
	Extra       *Schema // of properties that have no name; nil: not described
	Enum        []*Node
	AllOf       []*Schema
	OneOf       []*Schema // one of these or, from anyOf, any
	Default     *Node
	Example     *Node
	ReadOnly    bool
	WriteOnly   bool
	Deprecated  bool
	Pointer     string // where it stands
}

// Property is a field of an object.
type Property struct {
	Name     string
	Required bool
	Schema   *Schema
}

// Type is the only type of the value, or "" where there is none or several.
func (s *Schema) Type() string {
	if s == nil || len(s.Types) != 1 {
		return ""
	}
	return s.Types[0]
}

// Read reads a description. The error, if any, is an *Error; then there is no document.
func Read(data []byte) (*Document, error) {
	root, notes, err := tree(data)
	if err != nil {
		return nil, err
	}
	version := root.Get("openapi").str()
	if version == "" {
		version = root.Get("swagger").str()
	}
	if root.Kind != Map || version == "" {
		return nil, fail("openapi.not_openapi", 0, 0)
	}
	if !strings.HasPrefix(version, "3.") && !strings.HasPrefix(version+".", "2.") {
		return nil, fail("openapi.version", root.Line, root.Col, "version", version)
	}
	r := reader{root: root, v2: version[0] == '2', schemas: map[*Node]*Schema{}}
	r.doc = &Document{OpenAPI: version, Diagnostics: notes}
	if err := r.document(); err != nil {
		return nil, err
	}
	return r.doc, nil
}

// tree reads the text, whichever of the two languages it is in.
func tree(data []byte) (*Node, []Diagnostic, error) {
	if len(data) > maxBytes {
		return nil, nil, fail("openapi.too_large", 0, 0, "limit", strconv.Itoa(maxBytes))
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0 {
		return nil, nil, fail("openapi.encoding", 0, 0)
	}
	trimmed := bytes.TrimLeft(data, " \t\r\n")
	if len(trimmed) == 0 {
		return nil, nil, fail("openapi.empty", 0, 0)
	}
	if trimmed[0] == '{' || trimmed[0] == '[' {
		return readJSON(data)
	}
	return readYAML(data)
}
