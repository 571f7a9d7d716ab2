package openapi

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxWide bounds the entries of one YAML block. The parser's time grows with the square of
// it: 5,000 entries take 0.1 s, 40,000 take 3.5 s.
const maxWide = 3_000

// readYAML turns YAML text into nodes. The library's tokens and syntax tree are used, not
// its decoder, so that scalars keep their spelling and everything its place.
func readYAML(data []byte) (n *Node, notes []Diagnostic, err error) {
	defer func() {
		switch e := recover().(type) {
		case nil:
		case *Error:
			n, err = nil, e
		case error: // the library's own: a document that it did not foresee
			n, err = nil, fail("openapi.yaml", 1, 1, "reason", e.Error())
		default:
			n, err = nil, fail("openapi.yaml", 1, 1, "reason", fmt.Sprint(e))
		}
	}()
	tokens := lexer.Tokenize(string(data))
	if err := bound(tokens); err != nil {
		return nil, nil, err
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, nil, yamlError(err)
	}
	r := yamlReader{anchors: map[string]*Node{}}
	for _, doc := range file.Docs {
		if doc.Body != nil && doc.Body.Type() != ast.DirectiveType {
			return r.value(doc.Body, 0), r.notes, nil
		}
	}
	return nil, nil, fail("openapi.empty", 0, 0)
}

func yamlError(err error) *Error {
	var syntax yaml.Error
	if errors.As(err, &syntax) && syntax.GetToken() != nil {
		p := syntax.GetToken().Position
		return fail("openapi.yaml", p.Line, p.Column, "reason", syntax.GetMessage())
	}
	return fail("openapi.yaml", 1, 1, "reason", err.Error())
}

// bound refuses a document on which the parser would work for long, or recur too deep.
// Indentation is what nests blocks, so blocks are counted by column.
func bound(tokens token.Tokens) *Error {
	if len(tokens) > 8*maxNodes {
		return fail("openapi.too_many", 0, 0, "limit", strconv.Itoa(maxNodes))
	}
	type block struct{ col, entries int }
	var blocks []block
	line, flow, run := 0, 0, 0
	for _, t := range tokens {
		p := t.Position
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		}
		switch t.Type {
		case token.SequenceEntryType, token.MappingKeyType, token.TagType, token.AnchorType:
			run++
		default:
			run = 0
		}
		if flow > maxDepth || run > maxDepth {
			return fail("openapi.too_deep", p.Line, p.Column, "limit", strconv.Itoa(maxDepth))
		}
		if p.Line == line || flow > 0 {
			continue
		}
		line = p.Line
		for len(blocks) > 0 && blocks[len(blocks)-1].col > p.Column {
			blocks = blocks[:len(blocks)-1]
		}
		if len(blocks) == 0 || blocks[len(blocks)-1].col < p.Column {
			blocks = append(blocks, block{col: p.Column})
		}
		last := &blocks[len(blocks)-1]
		if last.entries++; last.entries > maxWide {
			return fail("openapi.too_wide", p.Line, p.Column, "limit", strconv.Itoa(maxWide))
		}
		if len(blocks) > maxDepth {
			return fail("openapi.too_deep", p.Line, p.Column, "limit", strconv.Itoa(maxDepth))
		}
	}
	return nil
}

type yamlReader struct {
	anchors map[string]*Node
	aliases int
	nodes   int
	notes   []Diagnostic
}

func (r *yamlReader) count(n *Node, more int) {
	if r.nodes += more; r.nodes > maxNodes {
		panic(fail("openapi.too_many", n.Line, n.Col, "limit", strconv.Itoa(maxNodes)))
	}
}

func (r *yamlReader) value(v ast.Node, depth int) *Node {
	n := &Node{size: 1}
	if v == nil {
		return n
	}
	if t := v.GetToken(); t != nil && t.Position != nil {
		n.Line, n.Col = t.Position.Line, t.Position.Column
	}
	if depth > maxDepth {
		panic(fail("openapi.too_deep", n.Line, n.Col, "limit", strconv.Itoa(maxDepth)))
	}
	r.count(n, 1)
	switch v := v.(type) {
	case *ast.NullNode:
	case *ast.BoolNode:
		n.Kind, n.Text = Bool, strconv.FormatBool(v.Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		n.Kind, n.Text = Number, v.GetToken().Value
	case *ast.StringNode:
		n.Kind, n.Text = String, v.Value
	case *ast.LiteralNode:
		n.Kind, n.Text = String, v.Value.Value
	case *ast.AnchorNode:
		inner := r.value(v.Value, depth+1)
		r.anchors[v.Name.GetToken().Value] = inner
		return inner
	case *ast.AliasNode:
		return r.alias(v, n)
	case *ast.TagNode:
		inner := r.value(v.Value, depth+1)
		if v.Start != nil && v.Start.Value == "!!str" && inner.Kind != List && inner.Kind != Map {
			inner.Kind = String
		}
		return inner
	case *ast.SequenceNode:
		n.Kind = List
		for _, item := range v.Values {
			i := r.value(item, depth+1)
			n.size += i.size
			n.Items = append(n.Items, i)
		}
	case *ast.MappingNode:
		n.Kind = Map
		r.fields(n, v.Values, depth)
	case *ast.MappingValueNode:
		n.Kind = Map
		r.fields(n, []*ast.MappingValueNode{v}, depth)
	}
	return n
}

// alias repeats an anchored value. The node is shared, but counted in full: whoever walks
// the tree meets it again.
func (r *yamlReader) alias(v *ast.AliasNode, n *Node) *Node {
	if r.aliases++; r.aliases > maxAliases {
		panic(fail("openapi.aliases", n.Line, n.Col, "limit", strconv.Itoa(maxAliases)))
	}
	name := v.Value.GetToken().Value
	anchored, ok := r.anchors[name]
	if !ok { // never defined, or inside itself
		panic(fail("openapi.yaml", n.Line, n.Col, "reason", "the alias “"+name+"” has no anchor before it"))
	}
	r.count(n, anchored.size)
	return anchored
}

func (r *yamlReader) fields(n *Node, values []*ast.MappingValueNode, depth int) {
	seen := make(map[string]int, len(values))
	var merged []*Node
	for _, mv := range values {
		value := r.value(mv.Value, depth+1)
		n.size += value.size
		if mv.Key.IsMergeKey() {
			merged = append(merged, value)
			continue
		}
		f := Field{Name: keyText(mv.Key), Value: value, Line: n.Line, Col: n.Col}
		if t := mv.Key.GetToken(); t != nil && t.Position != nil {
			f.Line, f.Col = t.Position.Line, t.Position.Column
		}
		if i, ok := seen[f.Name]; ok {
			r.notes = append(r.notes, remark(Warning, "openapi.duplicate_key", &Node{Line: f.Line, Col: f.Col}, "", "field", f.Name))
			n.Fields[i] = f
			continue
		}
		seen[f.Name] = len(n.Fields)
		n.Fields = append(n.Fields, f)
	}
	for _, m := range merged {
		r.merge(n, m, seen)
	}
	n.seal()
	if len(n.Fields) > 0 {
		n.Line, n.Col = n.Fields[0].Line, n.Fields[0].Col
	}
}

// merge adds the fields of another map that are not there yet.
func (r *yamlReader) merge(n, from *Node, seen map[string]int) {
	if from.Kind == List {
		for _, m := range from.Items {
			r.merge(n, m, seen)
		}
		return
	}
	for _, f := range from.Fields {
		if _, ok := seen[f.Name]; !ok {
			seen[f.Name] = len(n.Fields)
			n.Fields = append(n.Fields, f)
		}
	}
}

// keyText is a key as it is spelled: the 200 of a response is text.
func keyText(key ast.MapKeyNode) string {
	switch k := key.(type) {
	case *ast.StringNode:
		return k.Value
	case *ast.MappingKeyNode:
		if inner, ok := k.Value.(*ast.StringNode); ok {
			return inner.Value
		}
		if k.Value != nil {
			return strings.TrimSpace(k.Value.String())
		}
	}
	if t := key.GetToken(); t != nil {
		return t.Value
	}
	return key.String()
}
