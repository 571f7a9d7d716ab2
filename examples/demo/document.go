package demo

import (
	"encoding/json"
	"fmt"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"time"
)

// document describes a product's operations in OpenAPI. The example of each answer is what
// the operation really answers to the examples of its parameters, and its schema is read
// from that.
func (p product) document(server string, now time.Time) (string, error) {
	if p.Document != "" {
		return p.Document, nil
	}
	paths := map[string]any{}
	for _, op := range p.Operations {
		d, err := op.describe(now)
		if err != nil {
			return "", fmt.Errorf("%s %s: %w", op.Method, op.Path, err)
		}
		at, _ := paths[op.Path].(map[string]any)
		if at == nil {
			at = map[string]any{}
			paths[op.Path] = at
		}
		at[strings.ToLower(op.Method)] = d
	}
	b, err := json.MarshalIndent(map[string]any{"openapi": "3.0.3", "paths": paths, "servers": []any{map[string]any{"url": server}},
		"info": map[string]any{"title": p.Name.ZH + " " + p.Name.EN, "version": "1.0.0", "description": p.Summary.ZH + p.Summary.EN}}, "", "  ")
	return string(b), err
}

func (op operation) describe(now time.Time) (map[string]any, error) {
	values := url.Values{}
	params, form, needed := []any{}, map[string]any{}, []string{}
	for _, p := range op.Params {
		values.Set(p.Name, p.Example)
		if p.In == "form" {
			form[p.Name] = map[string]any{"type": p.Type, "description": p.Doc, "example": p.example()}
			if p.Required {
				needed = append(needed, p.Name)
			}
			continue
		}
		params = append(params, map[string]any{"name": p.Name, "in": p.In, "required": p.Required, "description": p.Doc,
			"schema": map[string]any{"type": p.Type}, "example": p.example()})
	}
	v, err := op.answer(question{get: values.Get, body: []byte(op.BodyText), now: now})
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var example any
	if err := json.Unmarshal(b, &example); err != nil {
		return nil, err
	}
	ok := map[string]any{"description": "OK", "content": map[string]any{jsonType: map[string]any{"schema": schemaOf(example), "example": example}}}
	fault := map[string]any{"description": "参数有误 A fault of the question", "content": map[string]any{jsonType: map[string]any{
		"schema": map[string]any{"type": "object", "required": []string{"error"}, "properties": map[string]any{"error": map[string]any{"type": "string"}}}}}}
	d := map[string]any{"operationId": op.ID, "summary": op.Summary, "description": op.Doc, "parameters": params,
		"responses": map[string]any{"200": ok, "400": fault}}
	switch op.Body {
	case "":
	case formType:
		d["requestBody"] = map[string]any{"required": true, "content": map[string]any{formType: map[string]any{
			"schema": map[string]any{"type": "object", "required": needed, "properties": form}}}}
	default:
		d["requestBody"] = map[string]any{"required": true, "content": map[string]any{op.Body: map[string]any{
			"schema": map[string]any{"type": "string", "format": "binary"}}}}
	}
	return d, nil
}

// example is the value as its type is written in JSON.
func (p param) example() any {
	if p.Type == "integer" || p.Type == "number" {
		if f, err := strconv.ParseFloat(p.Example, 64); err == nil {
			return f
		}
	}
	return p.Example
}

// schemaOf reads a schema from a value.
func schemaOf(v any) map[string]any {
	switch v := v.(type) {
	case map[string]any:
		props, names := map[string]any{}, []string{}
		for name, value := range v {
			props[name] = schemaOf(value)
			names = append(names, name)
		}
		sort.Strings(names)
		return map[string]any{"type": "object", "properties": props, "required": names}
	case []any:
		items := map[string]any{}
		if len(v) > 0 {
			items = schemaOf(v[0])
		}
		return map[string]any{"type": "array", "items": items}
	case string:
		return map[string]any{"type": "string"}
	case bool:
		return map[string]any{"type": "boolean"}
	}
	return map[string]any{"type": "number"}
}
