package openapi

import (
	"slices"
	"strconv"
	"strings"
)

// reader walks a tree and makes the model of it.
type reader struct {
	root    *Node
	v2      bool
	doc     *Document
	op      *Operation // whose problems remarks are, too
	schemas map[*Node]*Schema
	told    map[string]bool // remarks on references, each once
}

func (r *reader) remark(s Severity, code string, n *Node, pointer string, pairs ...string) {
	d := remark(s, code, n, pointer, pairs...)
	r.doc.Diagnostics = append(r.doc.Diagnostics, d)
	if r.op != nil {
		r.op.Problems = append(r.op.Problems, d)
	}
}

// field is n's field if it is of the kind; another kind is remarked on and left out.
func (r *reader) field(n *Node, name string, k Kind, pointer string) *Node {
	f := n.Get(name)
	if f == nil || f.Kind == k || f.Kind == Null {
		if f.is(Null) {
			return nil
		}
		return f
	}
	r.remark(Warning, "openapi.kind", f, pointer, "field", name, "want", k.String(), "got", f.Kind.String())
	return nil
}

// resolve follows references inside the document to what they point at, and says where
// that is. It gives nil for a reference that leads nowhere.
func (r *reader) resolve(n *Node, pointer string) (*Node, string) {
	seen := map[string]bool{}
	for n.is(Map) && n.Get("$ref").is(String) {
		ref := n.Get("$ref").Text
		if seen[ref] {
			r.tell("openapi.ref.circular", n, pointer, ref)
			return nil, pointer
		}
		seen[ref] = true
		if !strings.HasPrefix(ref, "#/") {
			r.tell("openapi.ref.foreign", n, pointer, ref)
			return nil, pointer
		}
		target := r.lookup(ref[2:])
		if target == nil {
			r.tell("openapi.ref.missing", n, pointer, ref)
			return nil, pointer
		}
		n, pointer = target, ref[1:]
	}
	return n, pointer
}

// tell remarks on a reference, once for each.
func (r *reader) tell(code string, n *Node, pointer, ref string) {
	if r.told == nil {
		r.told = map[string]bool{}
	}
	if !r.told[code+ref] {
		r.told[code+ref] = true
		r.remark(Warning, code, n.Get("$ref"), pointer, "ref", ref)
	}
}

func (r *reader) lookup(pointer string) *Node {
	n := r.root
	for part := range strings.SplitSeq(pointer, "/") {
		part = unescape(part)
		switch {
		case n.is(List):
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(n.Items) {
				return nil
			}
			n = n.Items[i]
		default:
			n = n.Get(part)
		}
		if n == nil {
			return nil
		}
	}
	return n
}

var (
	pointerText = strings.NewReplacer("~1", "/", "~0", "~")
	pointerPart = strings.NewReplacer("~", "~0", "/", "~1")
)

// unescape reads a part of a pointer, which in a reference may be percent-encoded too.
func unescape(part string) string {
	if strings.Contains(part, "%") {
		var b []byte
		for i := 0; i < len(part); i++ {
			if part[i] == '%' && i+2 < len(part) {
				if v, err := strconv.ParseUint(part[i+1:i+3], 16, 8); err == nil {
					b = append(b, byte(v))
					i += 2
					continue
				}
			}
			b = append(b, part[i])
		}
		part = string(b)
	}
	return pointerText.Replace(part)
}

func join(pointer string, parts ...string) string {
	for _, p := range parts {
		pointer += "/" + pointerPart.Replace(p)
	}
	return pointer
}

func (r *reader) document() error {
	info := r.field(r.root, "info", Map, "/info")
	r.doc.Title = strings.TrimSpace(info.Get("title").str())
	r.doc.Version = info.Get("version").str()
	r.doc.Description = info.Get("description").str()
	r.servers()
	paths := r.field(r.root, "paths", Map, "/paths")
	if paths == nil {
		return fail("openapi.no_operations", 0, 0)
	}
	for _, f := range paths.Fields {
		if strings.HasPrefix(f.Name, "x-") {
			continue
		}
		if !strings.HasPrefix(f.Name, "/") {
			r.remark(Fault, "openapi.path.shape", &Node{Line: f.Line, Col: f.Col}, join("/paths", f.Name), "path", f.Name)
			continue
		}
		r.path(f)
		if len(r.doc.Operations) > maxOperations {
			return fail("openapi.operations", f.Line, f.Col, "limit", strconv.Itoa(maxOperations))
		}
	}
	if len(r.doc.Operations) == 0 {
		return fail("openapi.no_operations", paths.Line, paths.Col)
	}
	r.uniqueIDs()
	return nil
}

func (r *reader) servers() {
	if r.v2 {
		host := r.root.Get("host").str()
		if host == "" {
			return
		}
		scheme := "https"
		if s := r.root.Get("schemes"); s.is(List) && len(s.Items) > 0 {
			scheme = s.Items[0].str()
			for _, item := range s.Items {
				if item.str() == "https" {
					scheme = "https"
				}
			}
		}
		r.server(scheme+"://"+host+r.root.Get("basePath").str(), r.root.Get("host"))
		return
	}
	servers := r.field(r.root, "servers", List, "/servers")
	if servers == nil {
		return
	}
	for _, s := range servers.Items {
		url := s.Get("url").str()
		if variables := s.Get("variables"); variables.is(Map) {
			for _, v := range variables.Fields {
				url = strings.ReplaceAll(url, "{"+v.Name+"}", v.Value.Get("default").str())
			}
		}
		r.server(url, s)
	}
}

func (r *reader) server(url string, n *Node) {
	if url == "" {
		return
	}
	r.doc.Servers = append(r.doc.Servers, url)
	if strings.HasPrefix(url, "http:") {
		r.remark(Note, "openapi.server.insecure", n, "/servers", "url", url)
	}
}

var methods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace", "query"}

func (r *reader) path(f Field) {
	item, at := r.resolve(f.Value, join("/paths", f.Name))
	if !item.is(Map) {
		return
	}
	shared := r.field(item, "parameters", List, at)
	for _, m := range item.Fields {
		if !slices.Contains(methods, m.Name) {
			continue
		}
		node, here := r.resolve(m.Value, join(at, m.Name))
		if !node.is(Map) {
			r.remark(Fault, "openapi.kind", m.Value, here, "field", m.Name, "want", "object", "got", m.Value.Kind.String())
			continue
		}
		op := &Operation{Method: strings.ToUpper(m.Name), Path: f.Name, Line: m.Line}
		r.doc.Operations = append(r.doc.Operations, op)
		r.op = op
		r.operation(op, node, shared, here)
		r.inspect(op, m, here)
		r.op = nil
	}
}

func (r *reader) operation(op *Operation, n, shared *Node, at string) {
	op.ID = strings.TrimSpace(n.Get("operationId").str())
	op.Summary = n.Get("summary").str()
	op.Description = n.Get("description").str()
	op.Deprecated = n.Get("deprecated").bool()
	if tags := n.Get("tags"); tags.is(List) && len(tags.Items) > 0 {
		op.Tag = tags.Items[0].str()
	}
	security := n.Get("security")
	if security == nil {
		security = r.root.Get("security")
	}
	if security.is(List) {
		for _, s := range security.Items {
			for _, f := range s.Fields {
				if !slices.Contains(op.Security, f.Name) {
					op.Security = append(op.Security, f.Name)
				}
			}
		}
	}
	var form []*Node // parameters of Swagger 2 that are fields of a form
	var pointers []string
	own := r.field(n, "parameters", List, at)
	for i, list := range []*Node{shared, own} {
		base := at
		if i == 0 {
			base = at[:strings.LastIndexByte(at, '/')]
		}
		if list == nil {
			continue
		}
		for j, item := range list.Items {
			p, here := r.resolve(item, join(base, "parameters", strconv.Itoa(j)))
			switch p.Get("in").str() {
			case "formData":
				form, pointers = append(form, p), append(pointers, here)
			case "body":
				r.body2(op, n, p, here)
			default:
				r.parameter(op, p, here, i == 1)
			}
		}
	}
	if len(form) > 0 {
		r.form2(op, n, form, pointers)
	}
	if body := n.Get("requestBody"); body != nil {
		r.body3(op, body, join(at, "requestBody"))
	}
	if responses := r.field(n, "responses", Map, at); responses != nil {
		for _, f := range responses.Fields {
			if !strings.HasPrefix(f.Name, "x-") {
				r.response(op, n, f, join(at, "responses", f.Name))
			}
		}
	}
}

func (r *reader) parameter(op *Operation, n *Node, at string, own bool) {
	if !n.is(Map) {
		return
	}
	p := &Parameter{Name: n.Get("name").str(), In: n.Get("in").str()}
	if p.Name == "" {
		r.remark(Fault, "openapi.parameter.name", n, at)
		return
	}
	if !slices.Contains([]string{"path", "query", "header", "cookie"}, p.In) {
		r.remark(Fault, "openapi.parameter.in", n, at, "name", p.Name, "in", p.In)
		return
	}
	p.Required = n.Get("required").bool() || p.In == "path"
	p.Deprecated = n.Get("deprecated").bool()
	p.Description = n.Get("description").str()
	schema, where := n.Get("schema"), join(at, "schema")
	if content := n.Get("content"); content.is(Map) && len(content.Fields) > 0 {
		f := content.Fields[0]
		schema, where = f.Value.Get("schema"), join(at, "content", f.Name, "schema")
	}
	if schema == nil && r.v2 {
		schema, where = n, at
	}
	p.Schema = r.schema(schema, where, 0)
	if explode := n.Get("explode"); explode != nil {
		p.Exploded = explode.bool()
	} else {
		p.Exploded = !r.v2 && (p.In == "query" || p.In == "cookie")
	}
	p.Example = r.scalarExample(n, p.Schema)
	for i, other := range op.Parameters {
		if other.Name == p.Name && other.In == p.In {
			if own { // an operation's own parameter goes before the path's
				op.Parameters[i] = p
				return
			}
			r.remark(Warning, "openapi.parameter.twice", n, at, "name", p.Name, "in", p.In)
			op.Parameters[i] = p
			return
		}
	}
	op.Parameters = append(op.Parameters, p)
}

// scalarExample is an example value as text, from where documents have them.
func (r *reader) scalarExample(n *Node, s *Schema) string {
	for _, e := range []*Node{n.Get("example"), n.Get("x-example"), r.firstExample(n.Get("examples"))} {
		if text := plain(e); text != "" {
			return text
		}
	}
	if s == nil {
		return ""
	}
	for _, e := range []*Node{s.Example, s.Default} {
		if text := plain(e); text != "" {
			return text
		}
	}
	if len(s.Enum) > 0 {
		return plain(s.Enum[0])
	}
	return ""
}

// plain is a scalar as it is, anything else as JSON.
func plain(n *Node) string {
	if n == nil || n.Kind == Null {
		return ""
	}
	if n.Kind == List || n.Kind == Map {
		return n.JSON(maxExample)
	}
	return n.Text
}

// maxExample bounds the text of an example.
const maxExample = 16 << 10

// firstExample is the value of the first of several named examples.
func (r *reader) firstExample(examples *Node) *Node {
	if examples.is(List) && len(examples.Items) > 0 {
		return examples.Items[0]
	}
	if !examples.is(Map) || len(examples.Fields) == 0 {
		return nil
	}
	first, _ := r.resolve(examples.Fields[0].Value, "")
	if v := first.Get("value"); v != nil {
		return v
	}
	return nil
}

// mediaTypes lists what is served best first.
var mediaTypes = []string{
	"application/json", "+json", "application/x-www-form-urlencoded", "multipart/form-data",
	"text/plain", "application/octet-stream",
}

// choose takes the media type that is served best.
func choose(types []string) string {
	for _, want := range mediaTypes {
		for _, t := range types {
			name, _, _ := strings.Cut(strings.ToLower(t), ";")
			if name = strings.TrimSpace(name); name == want || want[0] == '+' && strings.HasSuffix(name, want) {
				return t
			}
		}
	}
	if len(types) > 0 {
		return types[0]
	}
	return ""
}

func (r *reader) body3(op *Operation, n *Node, at string) {
	n, at = r.resolve(n, at)
	content := r.field(n, "content", Map, at)
	if content == nil || len(content.Fields) == 0 {
		return
	}
	names := fieldNames(content)
	b := &Body{MediaType: choose(names), Required: n.Get("required").bool(), Description: n.Get("description").str()}
	b.Others = slices.DeleteFunc(names, func(s string) bool { return s == b.MediaType })
	media := content.Get(b.MediaType)
	at = join(at, "content", b.MediaType)
	b.Schema = r.schema(media.Get("schema"), join(at, "schema"), 0)
	b.Example = r.example(media, b.Schema)
	op.Body = b
}

func fieldNames(n *Node) []string {
	names := make([]string, 0, len(n.Fields))
	for _, f := range n.Fields {
		names = append(names, f.Name)
	}
	return names
}

// example is a value of a body as text: given, or put together from those of its parts.
func (r *reader) example(media *Node, s *Schema) string {
	for _, e := range []*Node{media.Get("example"), r.firstExample(media.Get("examples"))} {
		if e != nil {
			return plain(e)
		}
	}
	if s == nil {
		return ""
	}
	if e := s.Sample(); e != nil {
		return plain(e)
	}
	return ""
}

// words2 are the media types of an operation of Swagger 2.
func (r *reader) words2(n *Node, name string) []string {
	list := n.Get(name)
	if list == nil {
		list = r.root.Get(name)
	}
	var words []string
	if list.is(List) {
		for _, item := range list.Items {
			words = append(words, item.str())
		}
	}
	return words
}

func (r *reader) body2(op *Operation, n, p *Node, at string) {
	b := &Body{Required: p.Get("required").bool(), Description: p.Get("description").str()}
	consumes := r.words2(n, "consumes")
	b.MediaType = choose(consumes)
	if b.MediaType == "" || strings.Contains(b.MediaType, "form") {
		b.MediaType = "application/json"
	}
	b.Others = slices.DeleteFunc(consumes, func(s string) bool { return s == b.MediaType })
	b.Schema = r.schema(p.Get("schema"), join(at, "schema"), 0)
	b.Example = r.example(p, b.Schema)
	op.Body = b
}

func (r *reader) form2(op *Operation, n *Node, fields []*Node, pointers []string) {
	b := &Body{MediaType: "application/x-www-form-urlencoded", Schema: &Schema{Types: []string{"object"}}}
	if slices.Contains(r.words2(n, "consumes"), "multipart/form-data") {
		b.MediaType = "multipart/form-data"
	}
	var set propertySet
	for i, f := range fields {
		name := f.Get("name").str()
		if name == "" {
			r.remark(Fault, "openapi.parameter.name", f, pointers[i])
			continue
		}
		s := r.schema(f, pointers[i], 0)
		if s.Type() == "file" {
			b.MediaType = "multipart/form-data"
		}
		required := f.Get("required").bool()
		b.Required = b.Required || required
		set.add(Property{Name: name, Required: required, Schema: s})
	}
	b.Schema.Properties = set.list
	op.Body = b
}

func (r *reader) response(op *Operation, n *Node, f Field, at string) {
	node, at := r.resolve(f.Value, at)
	if !node.is(Map) {
		return
	}
	resp := &Response{Status: strings.ToUpper(f.Name), Description: node.Get("description").str()}
	if strings.EqualFold(f.Name, "default") {
		resp.Status = "default"
	}
	op.Responses = append(op.Responses, resp)
	if r.v2 {
		r.response2(resp, n, node, at)
		return
	}
	content := r.field(node, "content", Map, at)
	if content == nil || len(content.Fields) == 0 {
		return
	}
	resp.MediaType = choose(fieldNames(content))
	media := content.Get(resp.MediaType)
	if s := media.Get("schema"); s != nil {
		resp.Schema = r.schema(s, join(at, "content", resp.MediaType, "schema"), 0)
	}
	resp.Example = r.example(media, resp.Schema)
}

func (r *reader) response2(resp *Response, op, n *Node, at string) {
	resp.MediaType = choose(r.words2(op, "produces"))
	if s := n.Get("schema"); s != nil {
		resp.Schema = r.schema(s, join(at, "schema"), 0)
		if resp.MediaType == "" {
			resp.MediaType = "application/json"
		}
	} else {
		resp.MediaType = ""
	}
	if examples := n.Get("examples"); examples.is(Map) && len(examples.Fields) > 0 {
		resp.Example = plain(examples.Fields[0].Value)
		return
	}
	resp.Example = r.example(nil, resp.Schema)
}

func (r *reader) uniqueIDs() {
	seen := map[string]bool{}
	for _, op := range r.doc.Operations {
		if op.ID != "" && seen[op.ID] {
			r.op = op
			r.remark(Note, "openapi.operation.id_twice", &Node{Line: op.Line, Col: 1}, join("/paths", op.Path, strings.ToLower(op.Method)), "id", op.ID)
			r.op = nil
		}
		seen[op.ID] = true
	}
}
