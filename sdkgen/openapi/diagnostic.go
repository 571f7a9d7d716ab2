package openapi

import (
	"fmt"
	"strings"
)

// Severity says what became of the place that a Diagnostic is about.
type Severity string

// The severities.
const (
	Note    Severity = "note"    // worth knowing: a missing example
	Warning Severity = "warning" // something was read in a simpler way than it is written
	Fault   Severity = "error"   // something was left out
)

// Diagnostic is a remark on a place of a document. Code is stable; who speaks another
// language than English translates it and fills in Args.
type Diagnostic struct {
	Code     string            `json:"code"`
	Severity Severity          `json:"severity"`
	Line     int               `json:"line"`
	Col      int               `json:"col"`
	Pointer  string            `json:"pointer,omitempty"` // JSON pointer into the document
	Args     map[string]string `json:"args,omitempty"`
	Text     string            `json:"text"`
}

// Error says why a document could not be read at all.
type Error struct {
	Code string
	Line int // 0: the document as a whole
	Col  int
	Args map[string]string
	Text string
}

// Error is the English text with its place.
func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Text
	}
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Col, e.Text)
}

// Texts holds the English sentence of every code, of errors and of diagnostics, with
// {name} where an argument goes. A translation has the same codes and the same names.
var Texts = map[string]string{
	// Errors: nothing was read.
	"openapi.too_large":     "The document has more than {limit} bytes.",
	"openapi.too_deep":      "The document is nested more than {limit} levels deep.",
	"openapi.too_many":      "The document has more than {limit} values.",
	"openapi.too_wide":      "One list or object of the YAML document has more than {limit} entries, one a line. Use JSON.",
	"openapi.aliases":       "The document uses aliases more than {limit} times.",
	"openapi.empty":         "The document is empty.",
	"openapi.encoding":      "The document is not UTF-8 text.",
	"openapi.json":          "This is not JSON: {reason}.",
	"openapi.yaml":          "This is not YAML: {reason}.",
	"openapi.not_openapi":   "This is not an OpenAPI document: it has neither “openapi” nor “swagger” at the top.",
	"openapi.version":       "OpenAPI {version} is not supported: 2.0, 3.0, 3.1 and 3.2 are.",
	"openapi.no_operations": "The document describes no operation.",
	"openapi.operations":    "The document has more than {limit} operations.",

	// Diagnostics: the rest was read.
	"openapi.kind":                 "“{field}” must be of type {want}, not {got}; it was left out.",
	"openapi.duplicate_key":        "“{field}” stands here twice; the last one counts.",
	"openapi.ref.foreign":          "References to other documents are not followed: {ref}",
	"openapi.ref.missing":          "There is nothing at {ref}",
	"openapi.ref.circular":         "The reference {ref} leads back to itself.",
	"openapi.path.shape":           "A path begins with “/”; “{path}” was left out.",
	"openapi.path.parameter":       "The path has “{name}”, which is not among the parameters; it is taken as text.",
	"openapi.parameter.in":         "The parameter “{name}” is in “{in}”, which is unknown; it was left out.",
	"openapi.parameter.name":       "A parameter without a name was left out.",
	"openapi.parameter.twice":      "The parameter “{name}” in “{in}” is described twice; the last one counts.",
	"openapi.parameter.exploded":   "The list “{name}” is described as a name that is repeated. A signature covers only the first of them, so SDKs send one value with commas.",
	"openapi.operation.id_twice":   "The operationId “{id}” is used more than once.",
	"openapi.operation.no_summary": "There is no summary.",
	"openapi.operation.no_example": "There is no example of an answer.",
	"openapi.operation.no_answer":  "No answer of success is described.",
	"openapi.operation.internal":   "The path looks as if it were not for buyers: “{word}”.",
	"openapi.operation.untyped":    "What the answer looks like is not described.",
	"openapi.server.insecure":      "The server {url} is called without encryption.",
}

func text(code string, args map[string]string) string {
	t, ok := Texts[code]
	if !ok {
		panic("openapi: no text for " + code)
	}
	var pairs []string
	for name, value := range args {
		pairs = append(pairs, "{"+name+"}", value)
	}
	return strings.NewReplacer(pairs...).Replace(t)
}

// args pairs names with values, long values cut: they come from the document.
func args(pairs []string) map[string]string {
	if len(pairs) == 0 {
		return nil
	}
	m := make(map[string]string, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		value := []rune(pairs[i+1])
		if len(value) > 200 {
			value = append(value[:199], '…')
		}
		m[pairs[i]] = string(value)
	}
	return m
}

func fail(code string, line, col int, pairs ...string) *Error {
	a := args(pairs)
	return &Error{Code: code, Line: line, Col: col, Args: a, Text: text(code, a)}
}

func remark(s Severity, code string, n *Node, pointer string, pairs ...string) Diagnostic {
	a := args(pairs)
	d := Diagnostic{Code: code, Severity: s, Pointer: pointer, Args: a, Text: text(code, a)}
	if n != nil {
		d.Line, d.Col = n.Line, n.Col
	}
	return d
}
