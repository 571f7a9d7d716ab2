// Package setting reads the settings of filters: strictly, and with errors that tell a
// seller what to write instead.
package setting

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/souk-market/souk/gateway/control"
)

// MaxDepth is how deep JSON may be nested (security.md R3).
const MaxDepth = 64

// Decode reads a setting into a struct. No setting at all is an empty one. A field that is
// not known, or comes twice, is an error.
func Decode(raw control.Raw, into any) error {
	if len(bytes.TrimSpace(raw)) == 0 {
		raw = control.Raw("{}")
	}
	if err := CheckJSON(raw); err != nil {
		return fmt.Errorf("the setting is not good JSON: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &kind):
		field := kind.Field
		if field == "" {
			field = "the setting"
		}
		return fmt.Errorf("%s is a %s, but should be %s", field, kind.Value, inWords(kind.Type))
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fmt.Errorf("there is no field %s; there are %s", name, strings.Join(fields(reflect.TypeOf(into), 0), ", "))
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}

// fields are the names that a struct, and the structs in it, know.
func fields(t reflect.Type, depth int) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || depth > 2 {
		return nil
	}
	var list []string
	for f := range t.NumField() {
		field := t.Field(f)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !field.IsExported() || name == "" || name == "-" {
			continue
		}
		list = append(list, name)
		if inner := fields(field.Type, depth+1); len(inner) > 0 {
			list[len(list)-1] += " (" + strings.Join(inner, ", ") + ")"
		}
	}
	return list
}

func inWords(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	}
	return "a number"
}

// CheckJSON reports why a text is not one JSON value whose objects name each member once
// and that is nested at most MaxDepth deep.
func CheckJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := value(d, 0); err != nil {
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more after its end")
	}
	return nil
}

func value(d *json.Decoder, depth int) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	open, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	if depth++; depth > MaxDepth {
		return fmt.Errorf("it is nested deeper than %d", MaxDepth)
	}
	var seen map[string]bool
	for d.More() {
		if open == '{' {
			token, err := d.Token()
			if err != nil {
				return err
			}
			name, _ := token.(string) // the decoder has seen to it
			if seen[name] {
				return fmt.Errorf("member %q comes twice", name)
			}
			if seen == nil {
				seen = make(map[string]bool)
			}
			seen[name] = true
		}
		if err := value(d, depth); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

// Duration is a time.Duration that is written "1m30s".
type Duration time.Duration

// UnmarshalJSON reads the text.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return fmt.Errorf(`a time is written as "30s" or "5m", not %s`, b)
	}
	n, err := time.ParseDuration(text)
	if err != nil || n < 0 {
		return fmt.Errorf(`a time is written as "30s" or "5m", not %q`, text)
	}
	*d = Duration(n)
	return nil
}

// Or is the duration, or another if it is 0.
func (d Duration) Or(usual time.Duration) time.Duration {
	if d == 0 {
		return usual
	}
	return time.Duration(d)
}

// Statuses reads "404" or "5xx": the first status and the last that it means.
func Statuses(text string) ([2]int, error) {
	if len(text) == 3 && text[0] >= '1' && text[0] <= '5' {
		if text[1:] == "xx" {
			class := int(text[0]-'0') * 100
			return [2]int{class, class + 99}, nil
		}
		if n, err := strconv.Atoi(text); err == nil && n >= 100 {
			return [2]int{n, n}, nil
		}
	}
	return [2]int{}, fmt.Errorf(`%q is no status; write "404" or "5xx"`, text)
}
