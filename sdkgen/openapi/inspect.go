package openapi

import (
	"regexp"
	"slices"
	"strings"
)

// internalWords begin or make up a part of a path that buyers should not see.
var internalWords = []string{
	"admin", "internal", "private", "debug", "actuator", "metrics", "health", "healthz",
	"manage", "management", "console", "test", "dev", "swagger",
}

var pathName = regexp.MustCompile(`\{([^{}]*)\}`)

// inspect finds what a seller should look at before offering an operation.
func (r *reader) inspect(op *Operation, f Field, at string) {
	place := &Node{Line: f.Line, Col: f.Col}
	if strings.TrimSpace(op.Summary) == "" && strings.TrimSpace(op.Description) == "" {
		r.remark(Note, "openapi.operation.no_summary", place, at)
	}
	switch answer := op.Success(); {
	case answer == nil:
		r.remark(Note, "openapi.operation.no_answer", place, at)
	case answer.Status == "204":
	case answer.Schema == nil || len(answer.Schema.Types) == 0 && len(answer.Schema.AllOf)+len(answer.Schema.OneOf) == 0:
		r.remark(Note, "openapi.operation.untyped", place, at)
	}
	if answer := op.Success(); answer != nil && answer.Status != "204" && answer.Example == "" {
		r.remark(Note, "openapi.operation.no_example", place, at)
	}
	for _, p := range op.Parameters {
		if p.In == "query" && p.Exploded && p.Schema.Flat().Type() == "array" {
			r.remark(Note, "openapi.parameter.exploded", place, at, "name", p.Name)
		}
	}
	for part := range strings.SplitSeq(strings.ToLower(op.Path), "/") {
		if slices.Contains(internalWords, part) {
			r.remark(Note, "openapi.operation.internal", place, at, "word", part)
			break
		}
	}
	for _, m := range pathName.FindAllStringSubmatch(op.Path, -1) {
		name := m[1]
		if !slices.ContainsFunc(op.Parameters, func(p *Parameter) bool { return p.In == "path" && p.Name == name }) {
			r.remark(Note, "openapi.path.parameter", place, at, "name", name)
			op.Parameters = append(op.Parameters, &Parameter{
				Name: name, In: "path", Required: true, Schema: &Schema{Types: []string{"string"}},
			})
		}
	}
}
