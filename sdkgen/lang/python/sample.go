package python

import (
	"github.com/souk-market/souk/sdkgen"
)

// example is a program that makes the first call of the SDK.
func (e *emitter) example() string {
	p := sdkgen.NewPrinter("    ")
	p.L(generated)
	p.L("\"\"\"Calls one operation and prints the answer.")
	p.L("")
	p.L("Credentials come from the environment: SOUK_APP_KEY and SOUK_APP_SECRET, or")
	p.L("SOUK_APP_CODE.")
	p.L("\"\"\"")
	p.L("")
	p.L("import os")
	p.L("import sys")
	p.L("")
	p.L("# So that it runs without being installed.")
	p.L("sys.path.insert(0, os.path.join(os.path.dirname(__file__), \"..\", \"src\"))")
	p.L("")
	e.program(p)
	return p.String()
}

// program is what the README shows and the example runs.
func (e *emitter) program(p *sdkgen.Printer) {
	s := e.services[0]
	o := s.ops[0]
	p.L("import §", e.root)
	p.L("")
	p.L("client = §.Client()", e.root)
	p.L("answer = client.§.§(", s.module, o.name)
	for _, f := range o.Fields {
		if value, ok := e.value(s, f); ok {
			p.L("    §=§,", s.fields[f], value)
		}
	}
	p.L(")")
	p.L("print(answer.raw.decode(\"utf-8\", \"replace\"))")
	p.L("print(\"request\", answer.request_id)")
}

// value is an example value, for what is required or has an example.
func (e *emitter) value(s *service, f *sdkgen.Field) (sdkgen.Code, bool) {
	if !f.Required && (f.Example == "" || f.In == sdkgen.InHeader) {
		return sdkgen.Code{}, false
	}
	example := f.Example
	if example == "" {
		example = "1"
	}
	switch f.Type.Kind {
	case sdkgen.String:
		return literal(example), true
	case sdkgen.Int:
		return number(example, true), true
	case sdkgen.Float:
		return number(example, false), true
	case sdkgen.Bool:
		if example == "false" {
			return sdkgen.Join("False"), true
		}
		return sdkgen.Join("True"), true
	case sdkgen.Bytes:
		return sdkgen.Join("§.encode()", literal(example)), true
	case sdkgen.FileOf:
		return sdkgen.Join("§.File(\"example.txt\", b\"example\")", e.root), f.Required
	case sdkgen.ListOf:
		if f.Type.Elem.Kind == sdkgen.String {
			return sdkgen.Join("[§]", literal(example)), f.Required
		}
		return sdkgen.Join("[]"), f.Required
	case sdkgen.MapOf:
		return sdkgen.Join("{}"), f.Required
	case sdkgen.Object:
		return sdkgen.Join("§.§.§()", e.root, s.module, s.types[f.Type]), f.Required
	}
	return literal(example), f.Required
}

func (e *emitter) readme() sdkgen.ReadmeText {
	p := sdkgen.NewPrinter("    ")
	e.program(p)
	t := sdkgen.ReadmeText{
		Fence:   "python",
		Program: p.String(),
		Install: sdkgen.Join("pip install ./path/to/this/folder"),
		Run:     sdkgen.Join("python3 examples/first_call.py"),
	}
	for _, s := range e.services {
		for _, o := range s.ops {
			t.Methods = append(t.Methods, sdkgen.Join("client.§.§", s.module, o.name))
		}
	}
	return t
}
