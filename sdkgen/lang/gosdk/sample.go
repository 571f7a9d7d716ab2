package gosdk

import (
	"github.com/souk-market/souk/sdkgen"
)

// example is a program that makes the first call of the SDK.
func (e *emitter) example() string {
	p := sdkgen.NewPrinter("\t")
	p.L(generated)
	p.L("")
	p.L("// first_call calls one operation and prints the answer. Credentials come from the")
	p.L("// environment: SOUK_APP_KEY and SOUK_APP_SECRET, or SOUK_APP_CODE.")
	e.program(p)
	return p.String()
}

// program is what the README shows and the example runs.
func (e *emitter) program(p *sdkgen.Printer) {
	s := e.services[0]
	o := s.ops[0]
	p.L("package main")
	p.L("")
	p.L("import (")
	p.L("\t\"context\"")
	p.L("\t\"fmt\"")
	p.L("\t\"log\"")
	p.L("")
	p.L("\t§ \"§\"", e.root, e.module)
	if len(o.Fields) > 0 {
		p.L("\t\"§/§\"", e.module, s.dir)
	}
	p.L(")")
	p.L("")
	p.L("func main() {")
	p.L("\tclient, err := §.New(§.Options{})", e.root, e.root)
	p.L("\tif err != nil {")
	p.L("\t\tlog.Fatal(err)")
	p.L("\t}")
	if len(o.Fields) > 0 {
		p.L("\tanswer, err := client.§.§(context.Background(), §.§{", s.field, o.name, s.dir, o.params)
		for _, f := range o.Fields {
			if value, ok := e.value(s, f); ok {
				p.L("\t\t§: §,", s.fields[f], value)
			}
		}
		p.L("\t})")
	} else {
		p.L("\tanswer, err := client.§.§(context.Background())", s.field, o.name)
	}
	p.L("\tif err != nil {")
	p.L("\t\tlog.Fatal(err)")
	p.L("\t}")
	p.L("\tfmt.Printf(\"%s\\n\", answer.Raw)")
	p.L("\tfmt.Println(\"request\", answer.RequestID)")
	p.L("}")
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
	var v sdkgen.Code
	switch f.Type.Kind {
	case sdkgen.String:
		v = literal(example)
	case sdkgen.Int:
		v = sdkgen.Join("int64(§)", number(example, true))
	case sdkgen.Float:
		v = sdkgen.Join("float64(§)", number(example, false))
	case sdkgen.Bool:
		v = sdkgen.Join("true")
		if example == "false" {
			v = sdkgen.Join("false")
		}
	case sdkgen.Bytes:
		return sdkgen.Join("[]byte(§)", literal(example)), true
	case sdkgen.FileOf:
		return sdkgen.Join("§.File{Name: \"example.txt\", Data: []byte(\"example\")}", e.root), f.Required
	case sdkgen.ListOf:
		if f.Required && f.Type.Elem.Kind == sdkgen.String {
			return sdkgen.Join("[]string{§}", literal(example)), true
		}
		return sdkgen.Code{}, false
	default:
		return sdkgen.Code{}, false // its zero value will do
	}
	if !f.Required {
		v = sdkgen.Join("§.Ptr(§)", e.root, v)
	} else if f.Type.Kind == sdkgen.Int {
		v = number(example, true)
	} else if f.Type.Kind == sdkgen.Float {
		v = number(example, false)
	}
	return v, true
}

func (e *emitter) readme() sdkgen.ReadmeText {
	p := sdkgen.NewPrinter("\t")
	e.program(p)
	t := sdkgen.ReadmeText{
		Fence:   "go",
		Program: formatted(p.String()),
		Install: sdkgen.Join("go mod edit -require=§@v§ -replace=§=./path/to/this/folder", e.module, word(e.pkg.Version), e.module),
		Run:     sdkgen.Join("go run ./examples/first_call"),
	}
	for _, s := range e.services {
		for _, o := range s.ops {
			t.Methods = append(t.Methods, sdkgen.Join("client.§.§", s.field, o.name))
		}
	}
	return t
}
