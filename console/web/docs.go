package web

import (
	"encoding/json"
	"reflect"
	"regexp"
	"sort"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// DocsPage is the readable page of the API, made from the same declarations as the
// OpenAPI document.
type DocsPage struct {
	Groups []DocsGroup
	Base   string
}

// DocsGroup is the operations of one plug-in.
type DocsGroup struct {
	ID, Name   string
	Operations []DocsOperation
}

// DocsOperation is one operation.
type DocsOperation struct {
	ID, Method, Path, Text, Role string
	In, Out                      []DocsField
	Type                         string // of the answer, if it is not JSON
}

// DocsField is a member of what an operation takes or gives.
type DocsField struct {
	Name, Type, Text string
	Optional         bool
}

func (s *Server) docs(c *Ctx) (View, error) {
	at := map[string]int{}
	d := DocsPage{Base: c.Public() + apiPrefix}
	for _, r := range s.routes {
		if !r.API {
			continue
		}
		tag, _, _ := strings.Cut(r.Doc.Name, ".")
		i, ok := at[tag]
		if !ok {
			i = len(d.Groups)
			at[tag] = i
			d.Groups = append(d.Groups, DocsGroup{ID: tag, Name: c.T("api.tag." + tag)})
		}
		o := DocsOperation{ID: strings.ReplaceAll(r.Doc.Name, ".", "-"), Method: r.Method, Path: docPath.ReplaceAllString(r.Path, "{$1}"),
			Text: c.T("api." + r.Doc.Name), Role: c.T("web.docs_anyone"), In: fields(r.Doc.In), Out: fields(r.Doc.Out), Type: r.Doc.Type}
		switch {
		case r.Role != "":
			o.Role = c.T("role." + string(r.Role))
		case r.Signed:
			o.Role = c.T("web.docs_signed")
		}
		d.Groups[i].Operations = append(d.Groups[i].Operations, o)
	}
	sort.SliceStable(d.Groups, func(i, j int) bool { return d.Groups[i].ID < d.Groups[j].ID })
	return View{Page: "web/docs", Title: c.T("web.docs"), Data: d}, nil
}

var docPath = regexp.MustCompile(`:([a-z_]+)`)

// fields lists the members of a struct; those of an embedded one are its own.
func fields(v any) []DocsField {
	if v == nil {
		return nil
	}
	t := reflect.TypeOf(v)
	var list []DocsField
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			list = append(list, fields(reflect.Zero(f.Type).Interface())...)
			continue
		}
		if name := jsonName(f); name != "" {
			list = append(list, DocsField{Name: name, Type: shape(f.Type), Text: f.Tag.Get("doc"),
				Optional: strings.Contains(f.Tag.Get("json"), ",omitempty")})
		}
	}
	return list
}

// shape is a type as JSON has it.
func shape(t reflect.Type) string {
	if t.Implements(reflect.TypeFor[interface{ MarshalText() ([]byte, error) }]()) || t.Implements(reflect.TypeFor[json.Marshaler]()) {
		return "text"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return shape(t.Elem()) + "?"
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true, false"
	case reflect.Slice:
		return "[" + shape(t.Elem()) + "]"
	case reflect.Struct:
		var names []string
		for _, f := range fields(reflect.Zero(t).Interface()) {
			names = append(names, f.Name)
		}
		return "{" + strings.Join(names, ", ") + "}"
	case reflect.Map:
		return "{…}"
	}
	return "number"
}

// own declares the pages that belong to no plug-in.
func (s *Server) own() {
	show := func(path string, h Handler) {
		s.app.Get(path, func(f *fiber.Ctx) error {
			return s.handle(f, &Route{Method: fiber.MethodGet, Path: path, handler: h})
		})
	}
	show("/docs", s.docs)
	show("/parts", func(c *Ctx) (View, error) {
		return View{Page: "page/parts", Title: c.T("parts.title")}, nil
	})
}
