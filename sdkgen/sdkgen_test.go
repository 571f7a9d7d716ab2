package sdkgen

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/sdkgen/openapi"
)

func read(t *testing.T, name string) *openapi.Document {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata/specs", name))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi.Read(data)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func all(doc *openapi.Document) Product {
	p := Product{Title: doc.Title, BaseURL: "https://a.example", Document: doc}
	for _, op := range doc.Operations {
		p.Routes = append(p.Routes, Route{Method: op.Method, Path: op.Path})
	}
	return p
}

func planned(t *testing.T, products ...Product) *Package {
	t.Helper()
	p, err := plan(context.Background(), Input{Name: "test", Products: products})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func names(s *Service) []string {
	var all []string
	for _, o := range s.Operations {
		all = append(all, strings.Join(o.Name, "-")+": "+o.Title)
	}
	return all
}

// An SDK has the operations that were granted, no others, with the titles that people
// look for. SDK-02.
func TestExactlyWhatWasGranted(t *testing.T) {
	doc := read(t, "market-calendar-holiday-helper.json")
	whole := planned(t, all(doc)).Services[0]
	if len(whole.Operations) != 5 {
		t.Fatalf("%d operations", len(whole.Operations))
	}
	for i := range doc.Operations {
		one := all(doc)
		one.Routes = one.Routes[i : i+1]
		s := planned(t, one).Services[0]
		if got, want := names(s), names(whole)[i:i+1]; !slices.Equal(got, want) {
			t.Errorf("alone it is called %s, among others %s", got, want)
		}
	}
	// A route may have another path than the description, or none there at all.
	p := all(doc)
	p.Routes = []Route{
		{Title: "改名", Method: "ANY", Path: "/v2/days/[day]/[*]", Operation: doc.Operations[0].Key()},
		{Method: "DELETE", Path: "/nowhere/[id]"},
		{Method: "DELETE", Path: "/nowhere/{other}"},
	}
	s := planned(t, p).Services[0]
	if len(s.Operations) != 2 || s.Operations[0].Path != "/v2/days/{day}/{*}" || s.Operations[0].Title != "改名" {
		t.Fatalf("%+v", s.Operations)
	}
	if o := s.Operations[0]; o.Method != doc.Operations[0].Method || len(o.Fields) < 2 || o.Fields[1].Name[0] != "rest" {
		t.Errorf("%+v", o)
	}
	if o := s.Operations[1]; o.Method != "DELETE" || o.Fields[0].Wire != "id" || strings.Join(o.Name, "-") != "nowhere" {
		t.Errorf("%+v", o)
	}
}

func TestRefusedInput(t *testing.T) {
	ok := Product{BaseURL: "https://a.example", Routes: []Route{{Method: "GET", Path: "/a"}}}
	refused := func(in Input) {
		t.Helper()
		if _, err := plan(context.Background(), in); err == nil {
			t.Errorf("%+v was taken", in)
		}
	}
	refused(Input{})
	refused(Input{Products: []Product{{BaseURL: "https://a.example"}}})
	refused(Input{Products: []Product{ok}, Version: `1.0.0"`})
	for _, base := range []string{"", "a.example", "ftp://a.example", "https://u:p@a.example", "https://a.example/?x=1", "https://a b"} {
		bad := ok
		bad.BaseURL = base
		refused(Input{Products: []Product{bad}})
	}
	if _, err := Generate(context.Background(), Input{Language: "cobol"}); !errors.Is(err, ErrLanguage) {
		t.Errorf("%v", err)
	}
	done, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := plan(done, Input{Products: []Product{ok}}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestWords(t *testing.T) {
	is := func(text, want string) {
		t.Helper()
		if got := strings.Join(wordsOf(text), " "); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	is("", "")
	is("getUserByID", "get user by id")
	is("HTTPServer2Go", "http server2 go")
	is("query-v3", "query v3")
	is("港股K线", "gang gu k xian")
	is("绿旅", "lv lv")
	is("Ünï_çode", "n ode")
	is("a b\x00c`\"", "a b c")
	is(strings.Repeat("x", 100), strings.Repeat("x", maxIdent))
}

// An operation's name comes from itself alone, so that one that is added at the end
// renames no other.
func TestOperationNames(t *testing.T) {
	var n operationNames
	is := func(id, method, path, want string) {
		t.Helper()
		if got := strings.Join(n.pick(id, method, path), "-"); got != want {
			t.Errorf("%q %s %s: %q, want %q", id, method, path, got, want)
		}
	}
	is("listPets", "GET", "/pets", "list-pets")
	is("listPets", "GET", "/v2/pets", "pets")
	is("IP地址查询", "POST", "/ip/query-v3", "query-v3")
	is("IP地址查询升级版", "POST", "/ipv3-group/ip/query-v3", "ip-query-v3")
	is("", "GET", "/user/{id}", "user")
	is("", "GET", "/user", "get-user")
	is("", "DELETE", "/user/[id]", "user-by-id")
	is("", "PUT", "/user/[id]", "put-user")
	is("查询", "GET", "/", "get")
	is("查询", "GET", "/", "cha-xun")
	is("", "GET", "/", "operation-11")
	is("", "GET", "/a.json", "get-a")
	is("", "GET", "/report.json", "report")
}

func TestScope(t *testing.T) {
	s := NewScope(func(w Words) string { return strings.Join(w, "_") }, func(n string) bool { return n == "class" }, "taken")
	for _, c := range []struct{ words, want string }{
		{"class", "class_"}, {"class", "class_2"}, {"taken", "taken_2"}, {"1 a", "n_1_a"}, {"", "value"},
		{"a`b", "ab"}, {"北", "value_2"}, {"Ab", "b"},
	} {
		if got := s.Pick(strings.Fields(c.words)).String(); got != c.want {
			t.Errorf("%q: %s, want %s", c.words, got, c.want)
		}
	}
}

func TestProductNames(t *testing.T) {
	for _, c := range []struct{ name, title, want string }{
		{"ip-query", "什么", "ip query"},
		{"", "精准版IP归属地查询-IP地址归属地", "jing zhun ban ip gui shu"},
		{"", "Weather API", "weather api"},
	} {
		if got := strings.Join(productWords(Product{Name: c.name, Title: c.title}), " "); got != c.want {
			t.Errorf("%q, %q: %q, want %q", c.name, c.title, got, c.want)
		}
	}
	same := Product{Title: "天气", BaseURL: "https://a.example", Routes: []Route{{Method: "GET", Path: "/a"}}}
	p := planned(t, same, same)
	if a, b := p.Services[0].Name.key(), p.Services[1].Name.key(); a == b {
		t.Errorf("two products are called %s", a)
	}
}

// Circles, unions and wrapped references end somewhere, and what goes in is not what
// comes out.
func TestTypes(t *testing.T) {
	doc, err := openapi.Read([]byte(`
openapi: 3.0.0
info: {title: t, version: "1"}
paths:
  /a:
    post:
      requestBody: {content: {application/json: {schema: {$ref: '#/components/schemas/Node'}}}}
      responses:
        "200": {content: {application/json: {schema: {$ref: '#/components/schemas/Wrapped'}}}}
components:
  schemas:
    Wrapped: {allOf: [{$ref: '#/components/schemas/Node'}]}
    Node:
      type: object
      properties:
        id: {type: string, readOnly: true}
        secret: {type: string, writeOnly: true}
        next: {description: one more, $ref: '#/components/schemas/Node'}
        kids: {type: array, items: {$ref: '#/components/schemas/Node'}}
        loop: {$ref: '#/components/schemas/Loop'}
        either: {oneOf: [{type: string}, {type: integer}]}
        one: {oneOf: [{type: integer}]}
        table: {type: object, additionalProperties: {type: number}}
        free: {type: object}
    Loop: {type: array, items: {$ref: '#/components/schemas/Loop'}}
`))
	if err != nil {
		t.Fatal(err)
	}
	s := planned(t, all(doc)).Services[0]
	var got []string
	for _, ty := range s.Types {
		var fields []string
		for _, f := range ty.Fields {
			fields = append(fields, f.Wire+" "+spell(f.Type, 0))
		}
		got = append(got, strings.Join(ty.Name, "-")+": "+strings.Join(fields, ", "))
	}
	const rest = "next %[1]s, kids []%[1]s, loop []any, either any, one int, table map float, free map any"
	want := []string{
		fmt.Sprintf("node-input: secret string, "+rest, "node-input"),
		fmt.Sprintf("node: id string, "+rest, "node"),
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func spell(t *Type, depth int) string {
	switch t.Kind {
	case Object:
		return strings.Join(t.Name, "-")
	case ListOf:
		return "[]" + spell(t.Elem, depth+1)
	case MapOf:
		return "map " + spell(t.Elem, depth+1)
	}
	return map[Kind]string{Any: "any", String: "string", Int: "int", Float: "float", Bool: "bool"}[t.Kind]
}

func TestClean(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{" a\r\nb\rc\td ", "a\nb\nc d"},
		{"x\u202ey\u2066z\x00\x1b[m\u200b\u2028q", "xyz[m q"},
		{"北京 😀 é", "北京 😀 é"},
		{"\xff\xfe", ""},
		{strings.Repeat("x", 3000), strings.Repeat("x", maxDoc) + "…"},
	} {
		if got := Clean(c.text); got != c.want {
			t.Errorf("%.40q: %.60q, want %.60q", c.text, got, c.want)
		}
	}
	if got := Wrap("一二三四五\n\n\n\na bb ccc dddd", 6); !slices.Equal(got, []string{"一二三", "四五", "", "a bb", "ccc", "dddd"}) {
		t.Errorf("%q", got)
	}
	if got := Markdown("[a](http://x) <b> `c`\n| d").String(); got != "\\[a\\](http:&#47;&#47;x) &lt;b&gt; \\`c\\` \\| d" {
		t.Errorf("%s", got)
	}
}

// The archive has no clock in it, and no name that a system refuses.
func TestZip(t *testing.T) {
	var a, b bytes.Buffer
	files := []File{{"b/c.txt", []byte("2")}, {"a.txt", []byte("1")}}
	if err := Zip(&a, files); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(files)
	if err := Zip(&b, files); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("the order of the files counts")
	}
	z, err := zip.NewReader(bytes.NewReader(a.Bytes()), int64(a.Len()))
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range z.File {
		if f.Name != []string{"a.txt", "b/c.txt"}[i] || f.Mode() != 0o644 || len(f.Extra) != 0 ||
			!f.Modified.Equal(time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("%+v", f.FileHeader)
		}
	}
	for _, bad := range []string{"", "/a", "../a", "a/../b", "a//b", `a\b`, "a:b", "a b", "北", strings.Repeat("a", 161)} {
		if checkName(bad) == nil {
			t.Errorf("the name %q was taken", bad)
		}
	}
}

// Text becomes code in the quoting functions of each language and nowhere else.
func TestTrustedStaysInItsFiles(t *testing.T) {
	calls := regexp.MustCompile(`\bsdkgen\.(Trusted|Raw)\(|[^.]\bTrusted\(text`)
	seen := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		n := len(calls.FindAll(data, -1))
		seen += n
		if base := filepath.Base(path); n > 0 && base != "quote.go" && path != "code.go" {
			t.Errorf("%s makes code of text", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 5 {
		t.Errorf("only %d places found: the test looks for the wrong thing", seen)
	}
}
