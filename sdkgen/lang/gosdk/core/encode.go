package core

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
)

// marshal writes a value as JSON. Structs have their names in the tag "wire", which may
// hold any text; a field that is not set is left out, unless it must be there.
func marshal(value any) ([]byte, error) {
	var b bytes.Buffer
	if err := write(&b, reflect.ValueOf(value)); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func write(b *bytes.Buffer, v reflect.Value) error {
	switch v.Kind() {
	case reflect.Invalid:
		b.WriteString("null")
		return nil
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			b.WriteString("null")
			return nil
		}
		return write(b, v.Elem())
	case reflect.Struct:
		if _, ok := v.Interface().(json.Marshaler); ok {
			return leaf(b, v)
		}
		return writeStruct(b, v)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return leaf(b, v)
		}
		b.WriteByte('[')
		for i := 0; i < v.Len(); i++ {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := write(b, v.Index(i)); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	case reflect.Map:
		if v.Type().Key().Kind() != reflect.String {
			return fmt.Errorf("a map with keys of %s has no place in JSON", v.Type().Key())
		}
		return writeMap(b, v)
	}
	return leaf(b, v)
}

func writeStruct(b *bytes.Buffer, v reflect.Value) error {
	b.WriteByte('{')
	first := true
	for i := 0; i < v.NumField(); i++ {
		tag := v.Type().Field(i).Tag
		name, ok := tag.Lookup("wire")
		if !ok {
			continue
		}
		field := v.Field(i)
		switch field.Kind() {
		case reflect.Pointer, reflect.Interface, reflect.Slice, reflect.Map:
			if field.IsNil() && tag.Get("must") == "" {
				continue
			}
		}
		if err := writeName(b, name, &first); err != nil {
			return err
		}
		if err := write(b, field); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

func writeMap(b *bytes.Buffer, v reflect.Value) error {
	keys := v.MapKeys()
	sort.Slice(keys, func(i, j int) bool { return keys[i].String() < keys[j].String() })
	b.WriteByte('{')
	first := true
	for _, key := range keys {
		if err := writeName(b, key.String(), &first); err != nil {
			return err
		}
		if err := write(b, v.MapIndex(key)); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

func writeName(b *bytes.Buffer, name string, first *bool) error {
	if !*first {
		b.WriteByte(',')
	}
	*first = false
	if err := leaf(b, reflect.ValueOf(name)); err != nil {
		return err
	}
	b.WriteByte(':')
	return nil
}

// leaf leaves <, > and & as they are.
func leaf(b *bytes.Buffer, v reflect.Value) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v.Interface()); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1) // the line end that an encoder adds
	return nil
}
