// Package schema lets only calls through that fit the description of the route: an OpenAPI
// operation. What does not fit costs nobody anything, and is told what is wrong.
//
// The setting, with what holds if a field is left out:
//
//	{
//	  "openapi": "3.1.0",                    3.0.3
//	  "operation": {"parameters": [ … ], "requestBody": { … }},
//	  "components": {"schemas": { … }},      what the operation refers to; nothing outside the setting
//	  "unknown": "refuse",                   "pass": parameters in the query that are not described
//	  "max_body": 262144                     256 KiB; of a body that is checked
//	}
//
// Checked are parameters in path, query, header and cookie (I400MP, I400IP), the media type
// (I400CT) and bodies that are JSON (I400BD). JSON may be nested 64 deep, and an object may
// name a member once. A description by which checking a value could take very long, as one
// that refers to itself in several ways at once, is refused when it is saved.
package schema

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/souk-market/souk/gateway/filter/setting"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/param"
	"github.com/souk-market/souk/signer"
)

func init() { gate.Register(gate.Info{ID: "schema", Place: 600, New: newFilter}) }

// Bounds of a setting.
const (
	DefaultBody = 256 << 10
	MaxBody     = 8 << 20
	maxSetting  = 1 << 20
	maxReason   = 300 // bytes of what a caller is told
)

type filter struct {
	route      *routers.Route
	parameters []*openapi3.Parameter
	query      map[string]bool // names in the query that are described; nil: all pass
	body       *openapi3.RequestBody
	checks     map[*openapi3.MediaType]func(any) error
}

// reader is a filter that checks bodies.
type reader struct {
	*filter
	most int64
}

// Arrive has larger bodies refused.
func (r *reader) Arrive(c *gate.Call) error {
	c.BoundBody(r.most)
	return nil
}

// ReadsBody is how much of a body is checked at most.
func (r *reader) ReadsBody() int64 { return r.most }

func newFilter(env gate.Env) (any, error) {
	with := struct {
		OpenAPI    string          `json:"openapi"`
		Operation  json.RawMessage `json:"operation"`
		Components json.RawMessage `json:"components"`
		Unknown    string          `json:"unknown"`
		MaxBody    int64           `json:"max_body"`
	}{OpenAPI: "3.0.3", MaxBody: DefaultBody}
	if len(env.With) > maxSetting {
		return nil, fmt.Errorf("the setting has more than %d bytes", maxSetting)
	}
	if err := setting.Decode(env.With, &with); err != nil {
		return nil, err
	}
	switch {
	case len(with.Operation) == 0:
		return nil, errors.New(`it needs "operation", an OpenAPI operation object`)
	case with.MaxBody < 1 || with.MaxBody > MaxBody:
		return nil, fmt.Errorf(`"max_body" is from 1 to %d bytes`, MaxBody)
	case with.Unknown != "" && with.Unknown != "pass" && with.Unknown != "refuse":
		return nil, errors.New(`"unknown" is "pass" or "refuse"`)
	case !strings.HasPrefix(with.OpenAPI, "3.0.") && !strings.HasPrefix(with.OpenAPI, "3.1."):
		return nil, errors.New(`"openapi" is a version, from 3.0.0 to 3.1.x`)
	}
	text, doc, operation, err := read(with.OpenAPI, with.Operation, with.Components)
	if err != nil {
		return nil, err
	}
	f := &filter{checks: map[*openapi3.MediaType]func(any) error{}}
	f.route = &routers.Route{Spec: doc, Operation: operation, PathItem: &openapi3.PathItem{}}
	if with.Unknown == "refuse" {
		f.query = map[string]bool{}
	}
	for _, p := range operation.Parameters {
		if err := cheap(p.Value.Schema); err != nil {
			return nil, fmt.Errorf("parameter %q: %w", p.Value.Name, err)
		}
		f.parameters = append(f.parameters, p.Value)
		if p.Value.In == openapi3.ParameterInQuery && f.query != nil {
			f.query[p.Value.Name] = true
		}
		if p.Value.In == openapi3.ParameterInPath && !strings.Contains(env.Route.Path+"/", "["+p.Value.Name+"]/") {
			return nil, fmt.Errorf("parameter %q is in the path, but the path %s has no [%s]", p.Value.Name, env.Route.Path, p.Value.Name)
		}
	}
	if operation.RequestBody == nil {
		return f, nil
	}
	f.body = operation.RequestBody.Value
	reads := false
	for mediaType, m := range f.body.Content {
		if err := cheap(m.Schema); err != nil {
			return nil, fmt.Errorf("body, %s: %w", mediaType, err)
		}
		if m.Schema == nil || !isJSON(mediaType) && !strings.Contains(mediaType, "*") {
			continue
		}
		reads = true
		if f.checks[m], err = newCheck(text, doc, mediaType, m.Schema.Value); err != nil {
			return nil, fmt.Errorf("body, %s: %w", mediaType, err)
		}
	}
	if !reads {
		return f, nil
	}
	return &reader{f, with.MaxBody}, nil
}

// read makes a whole document of the setting, so that the reader of such finds its way.
func read(version string, operation, components json.RawMessage) (text []byte, doc *openapi3.T, made *openapi3.Operation, err error) {
	var names struct {
		Parameters []struct{ In, Name string }
	}
	_ = json.Unmarshal(operation, &names) // what is wrong with it is said below
	path := "/"
	for _, p := range names.Parameters {
		if p.In == "path" {
			path += "{" + p.Name + "}/"
		}
	}
	whole := map[string]any{
		"openapi": version,
		"info":    map[string]any{"title": "route", "version": "1"},
		"paths":   map[string]any{path: map[string]any{"post": operation}},
	}
	if len(components) > 0 {
		whole["components"] = components
	}
	if text, err = json.Marshal(whole); err != nil {
		return nil, nil, nil, err
	}
	loader := openapi3.NewLoader() // it follows no reference out of the document
	if doc, err = loader.LoadFromData(text); err != nil {
		return nil, nil, nil, fmt.Errorf("the operation cannot be read: %w", err)
	}
	made = doc.Paths.Value(path).Post
	if made.Responses == nil {
		// Nobody needs to describe answers here.
		made.Responses = openapi3.NewResponses(openapi3.WithStatus(200, &openapi3.ResponseRef{Value: openapi3.NewResponse().WithDescription("")}))
	}
	if err := doc.Validate(context.Background(), openapi3.DisableExamplesValidation()); err != nil {
		return nil, nil, nil, fmt.Errorf("the operation is not right: %w", err)
	}
	return text, doc, made, nil
}

// Admit checks a call.
func (f *filter) Admit(c *gate.Call) error {
	if err := f.checkParameters(c); err != nil {
		return err
	}
	if f.body == nil {
		return nil
	}
	return f.checkBody(c)
}

func (f *filter) checkParameters(c *gate.Call) error {
	if len(f.parameters) == 0 && f.query == nil {
		return nil
	}
	query := url.Values{}
	for rest := c.Query; len(rest) > 0; {
		var p param.Pair
		p, rest = param.Next(rest)
		if len(p.Name) == 0 {
			continue
		}
		name := string(signer.AppendDecoded(nil, p.Name, true))
		if f.query != nil && !f.query[name] && !f.belongs(name) {
			return gate.Refuse("I400IP", "Invalid Parameter `"+name+"` is not one of this API")
		}
		query.Add(name, string(signer.AppendDecoded(nil, p.Value, true)))
	}
	r := &http.Request{Method: string(c.Method), URL: &url.URL{Path: string(c.Path)}, Header: http.Header{}}
	for i := range c.Fields {
		if c.Passes(c.Fields[i]) {
			r.Header.Add(string(c.Fields[i].Name), string(c.Fields[i].Value))
		}
	}
	in := &openapi3filter.RequestValidationInput{Request: r, QueryParams: query, Route: f.route, PathParams: make(map[string]string, len(c.Params)),
		Options: &openapi3filter.Options{SkipSettingDefaults: true}}
	for _, p := range c.Params {
		in.PathParams[p.Name] = string(signer.AppendDecoded(nil, p.Value, false))
	}
	for _, p := range f.parameters {
		if err := openapi3filter.ValidateParameter(context.Background(), in, p); err != nil {
			if errors.Is(err, openapi3filter.ErrInvalidRequired) {
				return gate.Refuse("I400MP", "Parameter `"+p.Name+"` is required")
			}
			return gate.Refuse("I400IP", "Invalid Parameter `"+p.Name+"` "+reason(err))
		}
	}
	return nil
}

// belongs reports whether a name is part of a parameter that is an object: "filter[city]".
func (f *filter) belongs(name string) bool {
	begin, _, ok := strings.Cut(name, "[")
	return ok && f.query[begin]
}

func (f *filter) checkBody(c *gate.Call) error {
	if !c.BodyRead && c.Fields.Header(nameContentLength) == nil && !c.Fields.Has(nameTransfer) || c.BodyRead && len(c.Body) == 0 {
		if f.body.Required {
			return bodyNeeded
		}
		return nil
	}
	given := string(c.Fields.Header(nameContentType))
	m := f.body.Content.Get(given)
	if m == nil {
		return gate.Refuse("I400CT", "Invalid Content-Type: `"+given+"` is not one of this API")
	}
	check := f.checks[m]
	if mediaType, _, _ := strings.Cut(given, ";"); check == nil || !isJSON(strings.TrimSpace(mediaType)) {
		return nil
	}
	if err := setting.CheckJSON(c.Body); err != nil {
		return gate.Refuse("I400BD", "Invalid Body: it is not good JSON, "+cut(err.Error()))
	}
	var value any
	if err := json.Unmarshal(c.Body, &value); err != nil {
		return gate.Refuse("I400BD", "Invalid Body: it is not good JSON")
	}
	if err := check(value); err != nil {
		return gate.Refuse("I400BD", "Invalid Body: "+reason(err))
	}
	return nil
}

var (
	bodyNeeded        = gate.Refuse("I400BD", "Invalid Body: there is none, and this API needs one")
	nameContentLength = []byte("Content-Length")
	nameContentType   = []byte("Content-Type")
	nameTransfer      = []byte("Transfer-Encoding")
)

func isJSON(mediaType string) bool {
	mediaType = strings.ToLower(mediaType)
	return strings.HasSuffix(mediaType, "/json") || strings.HasSuffix(mediaType, "+json")
}

// reason says what of a value is wrong, and where; never the value.
func reason(err error) string {
	var s *openapi3.SchemaError
	if errors.As(err, &s) {
		text := s.Reason
		if path := s.JSONPointer(); len(path) > 0 {
			text = "/" + strings.Join(path, "/") + ": " + text
		}
		return cut(text)
	}
	var newer *jsonschema.ValidationError
	if errors.As(err, &newer) {
		return newerReason(newer)
	}
	var p *openapi3filter.ParseError
	if errors.As(err, &p) {
		return "cannot be read"
	}
	if errors.Is(err, openapi3filter.ErrInvalidEmptyValue) {
		return "is empty"
	}
	return "does not fit its description"
}

func cut(text string) string {
	if i := strings.IndexByte(text, '\n'); i >= 0 {
		text = text[:i]
	}
	return text[:min(len(text), maxReason)]
}
