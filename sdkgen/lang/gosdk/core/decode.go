package core

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// Decode reads a body into out, with patience: a number that came as text, a text that
// came as a number, a field that is missing. The call is paid for, so nothing is thrown
// away: what does not fit is left unset and told.
func Decode(body []byte, out any) []string {
	v := reflect.ValueOf(out).Elem()
	switch v.Kind() {
	case reflect.String:
		v.SetString(string(body))
		return nil
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes(body)
			return nil
		}
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		if v.Kind() == reflect.Interface {
			v.Set(reflect.ValueOf(string(body)))
		}
		return []string{"the body is not JSON: " + err.Error()}
	}
	var r reading
	r.into(v, tree, "$")
	return r.issues
}

type reading struct{ issues []string }

// maxIssues bounds what is told about one answer.
const maxIssues = 20

func (r *reading) issue(path string, want string, got any) {
	if len(r.issues) < maxIssues {
		r.issues = append(r.issues, fmt.Sprintf("%s: %s expected, got %T", path, want, got))
	}
}

func (r *reading) into(v reflect.Value, tree any, path string) {
	if tree == nil {
		return
	}
	switch v.Kind() {
	case reflect.Interface:
		v.Set(reflect.ValueOf(plain(tree)))
	case reflect.Pointer:
		if tree == "" && v.Type().Elem().Kind() == reflect.Struct {
			return // how many services say that there is none
		}
		p := reflect.New(v.Type().Elem())
		before := len(r.issues)
		r.into(p.Elem(), tree, path)
		if len(r.issues) == before || p.Elem().Kind() == reflect.Struct {
			v.Set(p)
		}
	case reflect.String:
		r.text(v, tree, path)
	case reflect.Int64, reflect.Float64:
		r.number(v, tree, path)
	case reflect.Bool:
		r.bool(v, tree, path)
	case reflect.Slice:
		r.list(v, tree, path)
	case reflect.Map:
		m, ok := tree.(map[string]any)
		if !ok {
			r.issue(path, "an object", tree)
			return
		}
		v.Set(reflect.MakeMapWithSize(v.Type(), len(m)))
		for name, item := range m {
			value := reflect.New(v.Type().Elem()).Elem()
			r.into(value, item, path+"."+name)
			v.SetMapIndex(reflect.ValueOf(name), value)
		}
	case reflect.Struct:
		r.object(v, tree, path)
	}
}

// plain makes ordinary numbers of those that were kept as text.
func plain(tree any) any {
	switch t := tree.(type) {
	case json.Number:
		if i, err := t.Int64(); err == nil {
			return i
		}
		if f, err := t.Float64(); err == nil {
			return f
		}
		return t.String()
	case []any:
		for i := range t {
			t[i] = plain(t[i])
		}
	case map[string]any:
		for name := range t {
			t[name] = plain(t[name])
		}
	}
	return tree
}

func (r *reading) text(v reflect.Value, tree any, path string) {
	switch t := tree.(type) {
	case string:
		v.SetString(t)
	case json.Number:
		v.SetString(t.String())
	case bool:
		v.SetString(strconv.FormatBool(t))
	default:
		data, err := json.Marshal(tree) // at least it can be looked at
		if err == nil {
			v.SetString(string(data))
		}
		r.issue(path, "a text", tree)
	}
}

func (r *reading) number(v reflect.Value, tree any, path string) {
	var text string
	switch t := tree.(type) {
	case json.Number:
		text = t.String()
	case string:
		text = strings.TrimSpace(t)
		if text == "" {
			return // as above
		}
	default:
		r.issue(path, "a number", tree)
		return
	}
	if v.Kind() == reflect.Int64 {
		if i, err := strconv.ParseInt(text, 10, 64); err == nil {
			v.SetInt(i)
			return
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil:
		r.issue(path, "a number", tree)
	case v.Kind() == reflect.Float64:
		v.SetFloat(f)
	case f == math.Trunc(f) && math.Abs(f) < 1<<53:
		v.SetInt(int64(f))
	default:
		r.issue(path, "a whole number", tree)
	}
}

func (r *reading) bool(v reflect.Value, tree any, path string) {
	switch fmt.Sprint(tree) {
	case "true", "1", "TRUE", "True":
		v.SetBool(true)
	case "false", "0", "FALSE", "False", "":
		v.SetBool(false)
	default:
		r.issue(path, "true or false", tree)
	}
}

func (r *reading) list(v reflect.Value, tree any, path string) {
	items, ok := tree.([]any)
	if !ok {
		if tree != "" {
			r.issue(path, "a list", tree)
		}
		return
	}
	list := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		r.into(list.Index(i), item, path+"["+strconv.Itoa(i)+"]")
	}
	v.Set(list)
}

func (r *reading) object(v reflect.Value, tree any, path string) {
	m, ok := tree.(map[string]any)
	if !ok {
		if tree != "" {
			r.issue(path, "an object", tree)
		}
		return
	}
	t := v.Type()
	known := map[string]bool{}
	for i := 0; i < t.NumField(); i++ {
		name := t.Field(i).Tag.Get("wire")
		if name == "" {
			continue
		}
		known[name] = true
		if item, ok := m[name]; ok {
			r.into(v.Field(i), item, path+"."+name)
		}
	}
	extra := v.FieldByName("Extra")
	if !extra.IsValid() {
		return
	}
	rest := map[string]any{}
	for name, item := range m {
		if !known[name] {
			rest[name] = plain(item)
		}
	}
	if len(rest) > 0 {
		extra.Set(reflect.ValueOf(rest))
	}
}
