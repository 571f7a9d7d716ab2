package sdkgen

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/souk-market/souk/sdkgen/openapi"
)

// Package is what all languages write from: descriptions, with their differences gone.
type Package struct {
	Name     Words
	Title    string
	Version  string
	Services []*Service // one for each product
}

// First is the service and the operation that samples call.
func (p *Package) First() (*Service, *Operation) { return p.Services[0], p.Services[0].Operations[0] }

// Service is a product.
type Service struct {
	Name       Words
	Title      string
	Doc        string
	BaseURL    string
	Host       string
	Operations []*Operation
	Types      []*Type // the objects, each before the first that has it as a field of its own
}

// Operation is a route that may be called.
type Operation struct {
	Name       Words
	Title      string
	Doc        string
	Deprecated bool
	Method     string
	Path       string // "/user/{id}"; "{*}" is the rest
	Fields     []*Field
	Body       BodyKind
	MediaType  string // of the body
	Result     *Type
}

// Headline is what the operation is and where: its title, with method and path.
func (o *Operation) Headline() string {
	if key := o.Method + " " + o.Path; o.Title != key {
		return o.Title + ": " + key
	}
	return o.Title
}

// BodyKind says how a request's body is made.
type BodyKind uint8

// The kinds of bodies.
const (
	NoBody        BodyKind = iota
	FormBody               // fields of InBody, percent-encoded
	MultipartBody          // fields of InBody, in parts
	JSONBody               // an object of the fields of InBody
	JSONValue              // the one field of InBody as JSON
	BytesBody              // the one field of InBody as it is
)

// Place is where a field goes.
type Place uint8

// The places.
const (
	InPath Place = iota
	InQuery
	InHeader
	InBody
)

// Field is a parameter, or a field of an object.
type Field struct {
	Name     Words
	Wire     string // its name on the wire
	In       Place
	Type     *Type
	Required bool
	Doc      string
	Example  string // a value as text; may not fit the type
}

// Kind is what a value is.
type Kind uint8

// The kinds of values.
const (
	Any Kind = iota
	String
	Int
	Float
	Bool
	ListOf
	MapOf
	Object
	Bytes
	FileOf
)

// Type is the type of a value.
type Type struct {
	Kind   Kind
	Elem   *Type // of a list or a map
	Name   Words // of an object
	Doc    string
	Fields []*Field // of an object
	Sent   bool     // it goes to the server: what is not set is not sent
}

// maxOperations bounds an SDK.
const maxOperations = 5000

var versionText = regexp.MustCompile(`^\d{1,6}\.\d{1,6}\.\d{1,6}$`)

// plan makes the package of an input.
func plan(ctx context.Context, in Input) (*Package, error) {
	p := &Package{Name: wordsOf(in.Name), Title: Line(in.Title, 120), Version: in.Version}
	if !p.Name.usable() {
		p.Name = Words{"souk", "sdk"}
	}
	if p.Title == "" {
		p.Title = strings.Join(p.Name, "-")
	}
	if p.Version == "" {
		p.Version = "1.0.0"
	}
	if !versionText.MatchString(p.Version) {
		return nil, fmt.Errorf("sdkgen: version %q is not of the form 1.2.3", p.Version)
	}
	var names operationNames
	total := 0
	for _, product := range in.Products {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if total += len(product.Routes); total > maxOperations {
			return nil, fmt.Errorf("sdkgen: more than %d routes", maxOperations)
		}
		s, err := planService(product)
		if err != nil {
			return nil, err
		}
		if len(s.Operations) == 0 {
			continue
		}
		s.Name = names.pick("", "api", "/"+strings.Join(productWords(product), "-"))
		p.Services = append(p.Services, s)
	}
	if len(p.Services) == 0 {
		return nil, errors.New("sdkgen: there is nothing to call")
	}
	return p, nil
}

// productWords names a product: as it says, else by the first words of its title, Chinese
// ones in pinyin. A title may be a long list of what people search for.
func productWords(p Product) Words {
	if w := wordsOf(p.Name); w.usable() {
		return w
	}
	w := slices.Compact(wordsOf(p.Title))
	return w[:min(len(w), 6)]
}

func planService(p Product) (*Service, error) {
	s := &Service{Title: Line(p.Title, 120), Doc: Clean(p.Description), Host: p.Host}
	base, err := url.Parse(strings.TrimSuffix(p.BaseURL, "/"))
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.User != nil || base.RawQuery != "" {
		return nil, fmt.Errorf("sdkgen: product %q has no base URL of the form https://host", p.Title)
	}
	s.BaseURL = base.String()
	described := map[string]*openapi.Operation{}
	names := map[*openapi.Operation]Words{}
	var taken operationNames
	if p.Document != nil {
		if s.Title == "" {
			s.Title = Line(p.Document.Title, 120)
		}
		if s.Doc == "" {
			s.Doc = Clean(p.Document.Description)
		}
		// All operations get their names, granted or not: what a buyer may call can grow.
		for _, op := range p.Document.Operations {
			described[routeKey(op.Method, op.Path)] = op
			names[op] = taken.pick(op.ID, op.Method, op.Path)
		}
	}
	b := typeBuilder{service: s, made: map[typeKey]*Type{}}
	done := map[string]bool{}
	used := map[*openapi.Operation]bool{}
	for _, r := range p.Routes {
		method := strings.ToUpper(r.Method)
		key := routeKey(method, r.Path)
		if done[key] {
			continue
		}
		done[key] = true
		if r.Operation != "" {
			m, path, _ := strings.Cut(r.Operation, " ")
			key = routeKey(m, path)
		}
		op := described[key]
		if op == nil && method == "ANY" {
			op = anyMethod(p.Document, r.Path)
		}
		var name Words
		switch {
		case op != nil && !used[op]:
			used[op] = true
			name = names[op]
		case op != nil:
			name = taken.pick("", method, r.Path)
		default:
			op = &openapi.Operation{}
			name = taken.pick("", method, r.Path)
		}
		s.Operations = append(s.Operations, b.operation(op, r, name))
	}
	return s, nil
}

func anyMethod(doc *openapi.Document, path string) *openapi.Operation {
	if doc == nil {
		return nil
	}
	for _, op := range doc.Operations {
		if routeKey("", op.Path) == routeKey("", path) {
			return op
		}
	}
	return nil
}

// routeKey makes the two spellings of parameters one, and their names nothing.
func routeKey(method, path string) string {
	return strings.ToUpper(method) + " " + pathParam.ReplaceAllString(path, "{}")
}

var token = regexp.MustCompile("^[A-Z]{1,20}$")

func (b *typeBuilder) operation(op *openapi.Operation, r Route, name Words) *Operation {
	o := &Operation{Name: name, Deprecated: op.Deprecated, Method: strings.ToUpper(r.Method)}
	if !token.MatchString(o.Method) || o.Method == "ANY" {
		o.Method = op.Method
		if o.Method == "" {
			o.Method = "GET"
			if op.Body != nil {
				o.Method = "POST"
			}
		}
	}
	o.Path = pathParam.ReplaceAllString(r.Path, "{$1}")
	o.Title = Line(r.Title, 120)
	if o.Title == "" && (op.ID != "" || op.Summary != "") {
		o.Title = Line(op.Title(), 120)
		if !isASCII(op.ID) { // the name that people look for
			o.Title = Line(op.ID, 120)
		}
	}
	if o.Title == "" {
		o.Title = o.Method + " " + Line(o.Path, 100)
	}
	o.Doc = Clean(op.Summary + "\n\n" + op.Description)
	b.parameters(o, op)
	b.body(o, op)
	b.result(o, op)
	return o
}

// ourHeaders are set by the SDK itself, whatever a description says.
func ourHeaders(name string) bool {
	switch strings.ToLower(name) {
	case "accept", "content-type", "authorization", "host", "content-length", "content-md5",
		"connection", "transfer-encoding", "date", "user-agent", "cookie":
		return true
	}
	return strings.HasPrefix(strings.ToLower(name), "x-ca-") || !headerName.MatchString(name)
}

var headerName = regexp.MustCompile("^[A-Za-z0-9_.-]{1,100}$")

// isCode reports whether a parameter of the query is the caller's AppCode, which the SDK
// sends in a header.
func isCode(name string) bool { return strings.EqualFold(name, "appcode") }

func (b *typeBuilder) parameters(o *Operation, op *openapi.Operation) {
	inPath := pathParam.FindAllStringSubmatch(o.Path, -1)
	var own []*openapi.Parameter // of the path, as the description has them
	for _, p := range op.Parameters {
		if p.In == "path" {
			own = append(own, p)
		}
	}
	for i, m := range inPath {
		f := &Field{Name: wordsOf(m[1]), Wire: m[1], In: InPath, Type: &Type{Kind: String}, Required: true}
		if m[1] == "*" {
			f.Name = Words{"rest"}
		}
		// By name, else by place: a route may call its parameters otherwise.
		for j, p := range own {
			if p.Name == m[1] || j == i && len(own) == len(inPath) {
				f.Type = b.parameterType(p)
				f.Doc, f.Example = Clean(p.Description), p.Example
			}
			if p.Name == m[1] {
				break
			}
		}
		o.Fields = append(o.Fields, f)
	}
	for _, p := range op.Parameters {
		f := &Field{Name: wordsOf(p.Name), Wire: p.Name, Required: p.Required, Doc: Clean(p.Description), Example: p.Example}
		switch {
		case p.In == "query" && !isCode(p.Name):
			f.In = InQuery
		case p.In == "header" && !ourHeaders(p.Name):
			f.In = InHeader
		default:
			continue // a path's are above; cookies are not for programs
		}
		f.Type = b.parameterType(p)
		f.Doc = withChoices(f.Doc, p.Schema)
		o.Fields = append(o.Fields, f)
	}
}

// parameterType is a scalar or a list of scalars; anything else is sent as JSON.
func (b *typeBuilder) parameterType(p *openapi.Parameter) *Type {
	if p.Schema == nil {
		return &Type{Kind: String}
	}
	t := b.scalar(p.Schema.Flat())
	if t.Kind == ListOf && scalarKind(t.Elem.Kind) || scalarKind(t.Kind) {
		return t
	}
	if t.Kind == Any && len(p.Schema.Flat().Types) == 0 && len(p.Schema.Flat().OneOf) == 0 {
		return &Type{Kind: String}
	}
	return &Type{Kind: Any}
}

func scalarKind(k Kind) bool { return k == String || k == Int || k == Float || k == Bool }

// scalar is the type of a schema without making objects.
func (b *typeBuilder) scalar(s *openapi.Schema) *Type {
	switch s.Type() {
	case "string":
		return &Type{Kind: String}
	case "integer":
		return &Type{Kind: Int}
	case "number":
		return &Type{Kind: Float}
	case "boolean":
		return &Type{Kind: Bool}
	case "file":
		return &Type{Kind: FileOf}
	case "array":
		elem := &Type{Kind: Any}
		if s.Items != nil && s.Items != s {
			if f := s.Items.Flat(); f.Type() != "array" {
				elem = b.scalar(f)
			}
		}
		return &Type{Kind: ListOf, Elem: elem}
	}
	return &Type{Kind: Any}
}

func (b *typeBuilder) body(o *Operation, op *openapi.Operation) {
	if op.Body == nil || o.Method == "GET" && op.Method != "GET" {
		return
	}
	mediaType, _, _ := strings.Cut(strings.ToLower(op.Body.MediaType), ";")
	mediaType = strings.TrimSpace(mediaType)
	o.MediaType = Line(op.Body.MediaType, 200)
	schema := op.Body.Schema.Flat()
	isObject := schema.Type() == "object" && len(schema.Properties) > 0 && len(schema.OneOf) == 0
	switch {
	case mediaType == "application/x-www-form-urlencoded":
		o.Body = FormBody
	case mediaType == "multipart/form-data":
		o.Body = MultipartBody
	case (mediaType == "application/json" || strings.HasSuffix(mediaType, "+json")) && isObject:
		o.Body = JSONBody
	case mediaType == "application/json" || strings.HasSuffix(mediaType, "+json") || mediaType == "*/*":
		o.Body, o.MediaType = JSONValue, "application/json"
	default:
		o.Body = BytesBody
	}
	switch o.Body {
	case JSONValue:
		t := b.typeOf(op.Body.Schema, o.Name.and("body"), true)
		o.Fields = append(o.Fields, &Field{Name: Words{"body"}, In: InBody, Type: t, Required: op.Body.Required, Doc: Clean(op.Body.Description), Example: op.Body.Example})
		return
	case BytesBody:
		o.Fields = append(o.Fields, &Field{Name: Words{"body"}, In: InBody, Type: &Type{Kind: Bytes}, Required: op.Body.Required, Doc: Clean(op.Body.Description)})
		return
	}
	for _, p := range schema.Properties {
		if p.Schema.ReadOnly {
			continue
		}
		f := b.field(p, o.Name, true)
		f.In = InBody
		if o.Body == MultipartBody && p.Schema.Flat().Format == "binary" {
			f.Type = &Type{Kind: FileOf}
		}
		if o.Body == FormBody && f.Type.Kind == FileOf {
			f.Type = &Type{Kind: String}
		}
		o.Fields = append(o.Fields, f)
	}
}

func (b *typeBuilder) result(o *Operation, op *openapi.Operation) {
	o.Result = &Type{Kind: Any}
	answer := op.Success()
	if answer == nil || answer.Schema == nil {
		return
	}
	mediaType, _, _ := strings.Cut(strings.ToLower(answer.MediaType), ";")
	switch {
	case strings.Contains(mediaType, "json"), mediaType == "*/*", mediaType == "":
		o.Result = b.typeOf(answer.Schema, o.Name.and("response"), false)
	case strings.HasPrefix(mediaType, "text/"):
		o.Result = &Type{Kind: String}
	case strings.HasPrefix(mediaType, "image/"), mediaType == "application/octet-stream", mediaType == "application/pdf":
		o.Result = &Type{Kind: Bytes}
	}
}

// typeBuilder makes the types of a service. Schemas that go in and those that come out
// are different types: of one it matters what is set, of the other what is there.
type typeBuilder struct {
	service *Service
	made    map[typeKey]*Type
}

type typeKey struct {
	schema *openapi.Schema
	sent   bool
}

func (b *typeBuilder) typeOf(s *openapi.Schema, name Words, sent bool) *Type {
	if s == nil {
		return &Type{Kind: Any}
	}
	s = unwrap(s)
	key := typeKey{s, sent}
	if t := b.made[key]; t != nil {
		return t
	}
	t := &Type{Sent: sent}
	b.made[key] = t
	f := s.Flat()
	switch f.Type() {
	case "array":
		t.Kind = ListOf
		t.Elem = b.inner(t, f.Items, name.and("item"), sent)
	case "object":
		b.object(t, f, name, sent)
	case "": // anything
	default:
		t.Kind = b.scalar(f).Kind
		if t.Kind == FileOf {
			t.Kind = String
		}
	}
	return t
}

// unwrap is the schema that s only stands for, so that one object becomes one type.
func unwrap(s *openapi.Schema) *openapi.Schema {
	for seen := map[*openapi.Schema]bool{}; !seen[s] && len(s.Properties) == 0 && s.Extra == nil; {
		seen[s] = true
		switch {
		case len(s.AllOf) == 1 && len(s.OneOf) == 0:
			s = s.AllOf[0]
		case len(s.OneOf) == 1 && len(s.AllOf) == 0 && len(s.Types) == 0:
			s = s.OneOf[0]
		}
	}
	return s
}

// inner is the type of a part. A part that is the whole, with no object between, has no
// type in most languages.
func (b *typeBuilder) inner(whole *Type, s *openapi.Schema, name Words, sent bool) *Type {
	t := b.typeOf(s, name, sent)
	for e := t; e != nil; e = e.Elem {
		if e == whole {
			return &Type{Kind: Any}
		}
	}
	return t
}

func (b *typeBuilder) object(t *Type, s *openapi.Schema, name Words, sent bool) {
	if len(s.Properties) == 0 || len(s.OneOf) > 0 {
		t.Kind = MapOf
		t.Elem = &Type{Kind: Any}
		if s.Extra != nil && len(s.Properties) == 0 {
			t.Elem = b.inner(t, s.Extra, name.and("value"), sent)
		}
		if len(s.OneOf) > 0 {
			t.Kind, t.Elem = Any, nil
		}
		return
	}
	t.Kind, t.Doc = Object, Clean(s.Description)
	t.Name = name
	if words := wordsOf(s.Name); words.usable() {
		t.Name = words
	}
	if sent && t.Name[len(t.Name)-1] != "input" {
		t.Name = t.Name.and("input")
	}
	b.service.Types = append(b.service.Types, t)
	for _, p := range s.Properties {
		if sent && p.Schema.ReadOnly || !sent && p.Schema.WriteOnly {
			continue
		}
		t.Fields = append(t.Fields, b.field(p, name, sent))
	}
}

func (b *typeBuilder) field(p openapi.Property, owner Words, sent bool) *Field {
	flat := p.Schema.Flat()
	f := &Field{
		Name: wordsOf(p.Name), Wire: p.Name, Required: p.Required,
		Type: b.typeOf(p.Schema, owner.and(wordsOf(p.Name)...), sent),
	}
	doc := p.Schema.Description
	if doc == "" {
		doc = flat.Description
	}
	if doc == "" {
		doc = flat.Title
	}
	f.Doc = withChoices(Clean(doc), flat)
	if n := flat.Sample(); n != nil && n.Kind != openapi.Map && n.Kind != openapi.List {
		f.Example = n.Text
	}
	return f
}

// withChoices names the values that a description knows. Others are allowed: a server
// may learn new ones.
func withChoices(doc string, s *openapi.Schema) string {
	if s == nil || len(s.Enum) == 0 || len(s.Enum) > 50 {
		return doc
	}
	var choices []string
	for _, e := range s.Enum {
		choices = append(choices, Line(e.Text, 60))
	}
	return strings.TrimSpace(doc + "\n\nOne of: " + strings.Join(choices, ", "))
}
