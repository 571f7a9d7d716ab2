package openapi

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// specs gives every description at hand: the few that are kept here, and the whole
// collection where it lies beside the repository.
func specs(t testing.TB) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	for _, dir := range []string{"../testdata/specs", "../../../shared/specs"} {
		files, err := filepath.Glob(dir + "/*.*")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if ext := filepath.Ext(f); ext != ".json" && ext != ".yaml" {
				continue
			}
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			found[filepath.Base(f)] = data
		}
	}
	if len(found) < 12 {
		t.Fatalf("only %d descriptions found", len(found))
	}
	return found
}

// operations is how many operations each file has, as counted by another reader.
var operations = map[string]int{
	"adyen-disputeservice-v30.yaml": 5, "blueking-bk-apigateway-resources.yaml": 105,
	"box-openapi-v2025.0.json": 37, "casdoor-swagger.yaml": 235, "daikoku-admin-api-openapi.json": 84,
	"etcd-rpc.swagger.json": 44, "ferretdb-openapi-original.json": 9, "go-admin-admin-swagger.json": 76,
	"gogs-api-reference.json": 104, "gravitee-api-management-resources.yaml": 33, "harbor-v2.0.yaml": 203,
	"kong-kong-admin-api.yaml": 45, "market-book-query.json": 1, "market-calendar-holiday-helper.json": 5,
	"market-exchange-rate-query.json": 4, "market-hot-news.json": 3, "market-invoice-verification.json": 7,
	"market-ip-query.json": 2, "market-oil-price-query.json": 1, "market-parking-lot-query.json": 3,
	"market-plate-quote.json": 7, "market-resume-analysis.json": 1, "market-stock-helper.json": 21,
	"market-weather-query.json": 9, "museum-openapi-example-api.yaml": 8, "oas-discriminators.json": 10,
	"oas-parameters-style.json": 25, "oas-petstore.json": 20, "oas-schema-circular.json": 3,
	"oathkeeper-spec.json": 7, "ogen-2ch.yaml": 16, "ogen-firecracker.json": 26,
	"ogen-swagger-petstore-1.0.27.yaml": 19, "ogen-telegram-bot-api.json": 82,
	"openapi-callback-example.yaml": 1, "openapi-uspto.yaml": 3, "paypal-payments-payment-v2.json": 7,
	"rustdesk-api-api-swagger.yaml": 34, "twilio-twilio-lookups-v2.yaml": 10, "xero-xero-projects.yaml": 16,
}

// Real descriptions, mistakes and all: every operation is kept, quickly.
func TestRealDescriptions(t *testing.T) {
	all := specs(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		start := time.Now()
		doc, err := Read(all[name])
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s took %v", name, took)
		}
		if len(doc.Operations) != operations[name] {
			t.Errorf("%s: %d operations, want %d", name, len(doc.Operations), operations[name])
		}
		if doc.Title == "" {
			t.Errorf("%s has no title", name)
		}
		for _, d := range doc.Diagnostics {
			if d.Line == 0 || d.Text == "" || strings.Contains(d.Text, "{") && !strings.Contains(d.Code, "path") {
				t.Errorf("%s: %+v", name, d)
			}
			if d.Severity == Fault {
				t.Logf("%s: %s", name, d.Text)
			}
		}
	}
}

func describe(doc *Document) string {
	var b strings.Builder
	for _, o := range doc.Operations {
		fmt.Fprintf(&b, "%s %q tag %q\n", o.Key(), o.Title(), o.Tag)
		for _, p := range o.Parameters {
			fmt.Fprintf(&b, "  %s %s %s required %v example %q\n", p.In, p.Name, p.Schema.Type(), p.Required, p.Example)
		}
		if o.Body != nil {
			fmt.Fprintf(&b, "  body %s required %v\n", o.Body.MediaType, o.Body.Required)
			for _, p := range o.Body.Schema.Flat().Properties {
				fmt.Fprintf(&b, "    %s %s %v\n", p.Name, p.Schema.Type(), p.Required)
			}
		}
		if s := o.Success(); s != nil {
			fmt.Fprintf(&b, "  answers %s %s %s %s\n", s.Status, s.MediaType, s.Schema.Type(), strings.Join(strings.Fields(s.Example), ""))
		}
	}
	return b.String()
}

const v3 = `{"openapi":"3.1.0","info":{"title":"T","version":"1.10"},"servers":[{"url":"https://{h}/x","variables":{"h":{"default":"a.example"}}}],
"paths":{"/a/{id}":{"parameters":[{"name":"id","in":"path","schema":{"type":"integer"}},{"name":"q","in":"query"}],
"post":{"summary":"查询\n第二行","tags":["t"],"security":[{"k":[]}],
 "parameters":[{"name":"q","in":"query","required":true,"schema":{"type":["string","null"],"enum":["x","y"]}}],
 "requestBody":{"required":true,"content":{"text/xml":{},"application/json; charset=utf-8":{"schema":{"allOf":[{"$ref":"#/components/schemas/A%20b"},{"properties":{"n":{"type":"number"}},"required":["n"]}]}}}},
 "responses":{"200":{"description":"ok","content":{"application/json":{"schema":{"type":"object","properties":{"temp":{"type":"integer","example":21}}}}}}}}}},
"components":{"schemas":{"A b":{"type":"object","properties":{"s":{"type":"string"},"self":{"$ref":"#/components/schemas/A%20b"}}}}}}`

const v2 = `
swagger: "2.0"
info: {title: T, version: 1.10}
host: a.example
schemes: [http, https]
basePath: /x
consumes: [application/x-www-form-urlencoded]
paths:
  /f:
    post:
      operationId: send
      parameters:
      - {name: n, in: formData, type: integer, required: true}
      - {name: h, in: header, type: string, default: "no"}
      responses:
        200:
          description: ok
          schema: {$ref: '#/definitions/R'}
definitions:
  R: &r
    type: object
    properties: {ok: {type: boolean, example: true}, day: {type: string, example: 2026-01-02}}
`

func TestModel(t *testing.T) {
	for name, c := range map[string]struct{ text, version, server, want string }{
		"3.1 JSON": {v3, "3.1.0", "https://a.example/x", `POST /a/{id} "查询" tag "t"
  path id integer required true example ""
  query q string required true example "x"
  body application/json; charset=utf-8 required true
    s string false
    self object false
    n number true
  answers 200 application/json object {"temp":21}
`},
		"2.0 YAML": {v2, "2.0", "https://a.example/x", `POST /f "send" tag ""
  header h string required false example "no"
  body application/x-www-form-urlencoded required true
    n integer true
  answers 200 application/json object {"ok":true,"day":"2026-01-02"}
`},
	} {
		t.Run(name, func(t *testing.T) {
			doc, err := Read([]byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			if got := describe(doc); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if doc.OpenAPI != c.version || doc.Version != "1.10" || !slices.Equal(doc.Servers, []string{c.server}) {
				t.Errorf("%s, %s, %s", doc.OpenAPI, doc.Version, doc.Servers)
			}
		})
	}
}

// JSON and the same document as YAML give the same model.
func TestFormatsAgree(t *testing.T) {
	asJSON, err := Read([]byte(v3))
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := Read([]byte("# YAML, of which JSON is a part\n" + v3))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := describe(asJSON), describe(asYAML); a != b {
		t.Errorf("JSON\n%s\nYAML\n%s", a, b)
	}
}

// What is not an OpenAPI document is refused with a code, a place and a sentence.
func TestRefusals(t *testing.T) {
	const head = `{"openapi":"3.0.0","info":{},"paths":`
	many := func(n int, text string) string { return strings.Repeat(text, n) }
	for name, c := range map[string]struct {
		text, code string
		line, col  int
	}{
		"nothing":        {" \n", "openapi.empty", 0, 0},
		"bytes":          {"\xff\xfe{", "openapi.encoding", 0, 0},
		"large":          {many(maxBytes+1, " "), "openapi.too_large", 0, 0},
		"broken JSON":    {"{\n \"openapi\": \"3.0.0\",\n \"x\" 1}", "openapi.json", 3, 6},
		"cut JSON":       {`{"openapi":"3.0`, "openapi.json", 1, 12},
		"more JSON":      {head + `{}} x`, "openapi.json", 1, 42},
		"bad number":     {`{"a": 01}`, "openapi.json", 1, 7},
		"bad escape":     {`{"a": "\x"}`, "openapi.json", 1, 8},
		"broken YAML":    {"openapi: 3.0.0\ninfo: [a\nb: c", "openapi.yaml", 3, 1},
		"no anchor":      {"a: *b", "openapi.yaml", 1, 4},
		"self alias":     {"a: &b [*b]", "openapi.yaml", 1, 8},
		"other JSON":     {`{"a":1}`, "openapi.not_openapi", 0, 0},
		"a list":         {`[1]`, "openapi.not_openapi", 0, 0},
		"prose":          {"Dear all,", "openapi.not_openapi", 0, 0},
		"old":            {`{"swagger":"1.2"}`, "openapi.version", 1, 1},
		"new":            {`{"openapi":"4.0.0"}`, "openapi.version", 1, 1},
		"no paths":       {`{"openapi":"3.1.0"}`, "openapi.no_operations", 0, 0},
		"no operations":  {head + `{"/a":{}}}`, "openapi.no_operations", 1, 38},
		"deep JSON":      {many(300, "["), "openapi.too_deep", 1, 202},
		"deep flow":      {"a: " + many(300, "["), "openapi.too_deep", 1, 204},
		"deep dashes":    {many(9999, "- "), "openapi.too_deep", 1, 401},
		"many values":    {"[" + many(maxNodes, "1,") + "1]", "openapi.too_many", 1, 2*maxNodes + 0},
		"wide YAML":      {many(maxWide+1, "- a\n"), "openapi.too_wide", maxWide + 1, 1},
		"many aliases":   {"a: &a x\nb: [" + many(maxAliases+1, "*a, ") + "]", "openapi.aliases", 2, 5 + 4*maxAliases},
		"laughs":         {laughs(), "openapi.too_many", 7, 0},
		"many operation": {head + "{" + wide(maxOperations+1) + "}}", "openapi.operations", 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			doc, err := Read([]byte(c.text))
			var e *Error
			if !errors.As(err, &e) || doc != nil {
				t.Fatalf("%v, %v", doc, err)
			}
			if e.Code != c.code || e.Line != c.line || c.col > 0 && e.Col != c.col || e.Text == "" {
				t.Errorf("%s at %d:%d (%s), want %s at %d:%d", e.Code, e.Line, e.Col, e, c.code, c.line, c.col)
			}
		})
	}
}

// laughs is a few lines that would be 10^7 values if written out.
func laughs() string {
	var b strings.Builder
	b.WriteString("a0: &a0 x\n")
	for i := 1; i < 8; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	return b.String()
}

func wide(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"/p%d":{"get":{}}`, i)
	}
	return b.String()
}

// A fault in one place costs that place only, and is told with its line.
func TestDiagnostics(t *testing.T) {
	doc, err := Read([]byte(`openapi: 3.0.3
info: {title: T, version: "1"}
paths:
  nowhere: {get: {}}
  /admin/a/{id}:
    get:
      parameters:
      - {in: query}
      - {name: x, in: body-of-evidence}
      responses:
        "200":
          content:
            application/json:
              schema: {$ref: 'http://169.254.169.254/latest'}
  /b:
    get:
      parameters: [{name: l, in: query, schema: {type: array}}, {name: m, in: query, explode: false, schema: {type: array}}]
      operationId: same
      operationId: same
      responses: [1]
    post:
      operationId: same
      summary: s
      requestBody: {$ref: '#/components/requestBodies/None'}
  /c: {$ref: '#/paths/~1c'}
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range doc.Diagnostics {
		got = append(got, fmt.Sprintf("%d %s", d.Line, d.Code))
	}
	want := []string{
		"19 openapi.duplicate_key",
		"4 openapi.path.shape",
		"8 openapi.parameter.name",
		"9 openapi.parameter.in",
		"14 openapi.ref.foreign",
		"6 openapi.operation.no_summary",
		"6 openapi.operation.untyped",
		"6 openapi.operation.no_example",
		"6 openapi.operation.internal",
		"6 openapi.path.parameter",
		"20 openapi.kind",
		"16 openapi.operation.no_summary",
		"16 openapi.operation.no_answer",
		"16 openapi.parameter.exploded",
		"24 openapi.ref.missing",
		"21 openapi.operation.no_answer",
		"25 openapi.ref.circular",
		"21 openapi.operation.id_twice",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if n := len(doc.Operations[0].Problems); n != 8 {
		t.Errorf("the first operation has %d problems, want 8", n)
	}
}

// Schemas that contain each other many times over cost no more than their text.
func TestSchemaBombs(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"openapi":"3.0.0","info":{"title":"t"},"paths":{"/a":{"get":{"responses":{"200":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/s0"}}}}}}}},"components":{"schemas":{`)
	for i := range 60 {
		ref := fmt.Sprintf(`{"$ref":"#/components/schemas/s%d"}`, i+1)
		fmt.Fprintf(&b, `"s%d":{"allOf":[%s,%s,{"properties":{"p%d":%s,"q%d":%s}}],"oneOf":[%s]},`, i, ref, ref, i, ref, i, ref, ref)
	}
	b.WriteString(`"s60":{"type":"object","properties":{"x":{"example":1}}}}}}`)
	start := time.Now()
	doc, err := Read([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	s := doc.Operations[0].Success().Schema
	if n := len(s.Flat().Properties); n != 121 {
		t.Errorf("%d properties, want 121", n)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %v", took)
	}
}

func TestJSONKeepsWhatItReads(t *testing.T) {
	n, _, err := readJSON([]byte("{\"a\":\"\\ud83d\\ude00\\ud83d \\u4e2d\x01\ttab\",\"b\":[1.50,-0,1e9,true,null,{}],\"c\":\"</script>\"}"))
	if err != nil {
		t.Fatal(err)
	}
	if got := n.Get("a").Text; got != "😀\uFFFD 中\x01\ttab" {
		t.Errorf("%q", got)
	}
	got := strings.Join(strings.Fields(n.JSON(0)), "")
	want := `{"a":"😀` + "\uFFFD" + `中\u0001\ttab","b":[1.50,-0,1e9,true,null,{}],"c":"\u003c/script\u003e"}`
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := n.JSON(10); len(got) != 10+len("…") {
		t.Errorf("cut to %q", got)
	}
}

// FuzzRead: no text makes the reader panic or run away.
func FuzzRead(f *testing.F) {
	f.Add([]byte(v3))
	f.Add([]byte(v2))
	f.Add([]byte("openapi: 3.0.0\npaths: {/a: {get: {parameters: [{$ref: '#/paths/~1a/get'}]}}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := Read(data)
		if (doc == nil) == (err == nil) {
			t.Fatalf("%v and %v", doc, err)
		}
		if doc == nil {
			return
		}
		for _, op := range doc.Operations {
			if op.Body != nil {
				op.Body.Schema.Flat()
			}
			for _, r := range op.Responses {
				if r.Schema != nil {
					r.Schema.Flat().Sample()
				}
			}
		}
	})
}
