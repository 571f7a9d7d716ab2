package web

import (
	"encoding/json"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"github.com/souk-market/souk/console/market"
)

// describe makes the OpenAPI 3.1 document of /api/v1 from the declared routes.
func (s *Server) describe() ([]byte, error) {
	reg := huma.NewMapRegistry("#/components/schemas/", namer)
	reg.RegisterTypeAlias(reflect.TypeFor[market.Fen](), reflect.TypeFor[yuan]())
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title: "Souk", Version: "1.0.0",
			Description: "The marketplace's JSON API. Every page of the console is here too. " +
				"Send an access token as `Authorization: Bearer …`; make one under account settings. " +
				"Errors are problem documents (RFC 9457) with a stable `code`. Money is a text with two decimals, in yuan.",
			License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
		},
		Servers: []*huma.Server{{URL: apiPrefix}},
		Components: &huma.Components{
			Schemas: reg,
			SecuritySchemes: map[string]*huma.SecurityScheme{
				"token": {Type: "http", Scheme: "bearer", Description: "An access token"},
			},
		},
	}
	problem := reg.Schema(reflect.TypeFor[Problem](), true, "Problem")
	tags := map[string]bool{}
	for _, r := range s.routes {
		if !r.API {
			continue
		}
		op := s.operation(r, reg, problem)
		doc.AddOperation(op)
		if tag := op.Tags[0]; !tags[tag] {
			tags[tag] = true
			doc.Tags = append(doc.Tags, &huma.Tag{Name: tag, Description: s.Pages.T("en", "api.tag."+tag)})
		}
	}
	return json.Marshal(doc)
}

// yuan stands for market.Fen in the description: a text with two decimals.
type yuan string

// namer names a schema after its package and type, since plug-ins use the same names.
func namer(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Name() == "" || t.PkgPath() == "" {
		return huma.DefaultSchemaNamer(t, hint)
	}
	path := strings.Split(t.PkgPath(), "/")
	pkg := path[len(path)-1]
	name := huma.DefaultSchemaNamer(t, hint)
	if pkg == "web" || pkg == "market" {
		return name
	}
	return strings.ToUpper(pkg[:1]) + pkg[1:] + strings.ToUpper(name[:1]) + name[1:]
}

var pathParam = regexp.MustCompile(`:([a-z_]+)`)

func (s *Server) operation(r *Route, reg huma.Registry, problem *huma.Schema) *huma.Operation {
	tag, _, _ := strings.Cut(r.Doc.Name, ".")
	op := &huma.Operation{
		OperationID: strings.ReplaceAll(r.Doc.Name, ".", "_"),
		Method:      r.Method,
		Path:        pathParam.ReplaceAllString(strings.TrimSuffix(r.Path, "/"), "{$1}"),
		Summary:     s.Pages.T("en", "api."+r.Doc.Name),
		Tags:        []string{tag},
		Responses:   map[string]*huma.Response{},
	}
	if op.Path == "" {
		op.Path = "/"
	}
	if r.Signed {
		op.Security = []map[string][]string{{"token": {}}}
		role := string(r.Role)
		if role == "" {
			role = "any"
		}
		op.Description = "Role: " + role + "."
	} else {
		op.Security = []map[string][]string{{}}
	}
	inPath := map[string]bool{}
	for _, m := range pathParam.FindAllStringSubmatch(r.Path, -1) {
		inPath[m[1]] = true
		op.Parameters = append(op.Parameters, &huma.Param{Name: m[1], In: "path", Required: true, Schema: &huma.Schema{Type: "string"}})
	}
	s.takes(op, r, reg, inPath)
	status := r.Doc.Status
	if status == 0 {
		status = fiber.StatusOK
	}
	ok := &huma.Response{Description: op.Summary}
	switch {
	case r.Doc.Type != "":
		ok.Content = map[string]*huma.MediaType{r.Doc.Type: {Schema: &huma.Schema{Type: "string", Format: "binary"}}}
	case r.Doc.Out != nil:
		ok.Content = map[string]*huma.MediaType{"application/json": {Schema: reg.Schema(reflect.TypeOf(r.Doc.Out), true, op.OperationID)}}
	default:
		status = fiber.StatusNoContent
	}
	op.Responses[strconv.Itoa(status)] = ok
	op.Responses["default"] = &huma.Response{Description: "A problem", Content: map[string]*huma.MediaType{
		"application/problem+json": {Schema: problem}}}
	return op
}

// takes describes the input: what is not in the path is the query of a GET, or the body.
func (s *Server) takes(op *huma.Operation, r *Route, reg huma.Registry, inPath map[string]bool) {
	if r.Doc.In == nil {
		return
	}
	t := reflect.TypeOf(r.Doc.In)
	if r.Method == fiber.MethodGet {
		for i := range t.NumField() {
			f := t.Field(i)
			if name := jsonName(f); name != "" && !inPath[name] {
				op.Parameters = append(op.Parameters, &huma.Param{Name: name, In: "query", Description: f.Tag.Get("doc"),
					Schema: reg.Schema(f.Type, false, name)})
			}
		}
		return
	}
	schema := &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{}, AdditionalProperties: false}
	for i := range t.NumField() {
		f := t.Field(i)
		name := jsonName(f)
		if name == "" || inPath[name] {
			continue
		}
		p := reg.Schema(f.Type, true, op.OperationID+name)
		if d := f.Tag.Get("doc"); d != "" && p.Ref == "" {
			p.Description = d
		}
		schema.Properties[name] = p
		if !strings.Contains(f.Tag.Get("json"), ",omitempty") {
			schema.Required = append(schema.Required, name)
		}
	}
	if len(schema.Properties) > 0 {
		op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}}
	}
}
