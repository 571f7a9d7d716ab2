package gosdk

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/souk-market/souk/sdkgen"
	"github.com/souk-market/souk/sdkgen/sdkgentest"
	"github.com/souk-market/souk/signer"
)

var offline = []string{"GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off", "GOTOOLCHAIN=local"}

// Every real description becomes a package that compiles; all are packages of one SDK, so
// that one build does it. SDK-05.
func TestEveryDescriptionCompiles(t *testing.T) {
	in := sdkgen.Input{Language: "go", Name: "all-of-it", Title: "All"}
	specs := sdkgentest.Specs(t)
	for _, name := range slices.Sorted(maps.Keys(specs)) {
		p := sdkgentest.Product(t, name, specs[name])
		p.Name = name
		in.Products = append(in.Products, p)
	}
	dir, _ := sdkgentest.Generate(t, in)
	if out := sdkgentest.Run(t, dir, nil, "gofmt", "-l", "."); out != "" {
		t.Errorf("not formatted: %s", out)
	}
	sdkgentest.Run(t, dir, offline, "go", "vet", "./...")
}

func market(t *testing.T) sdkgen.Input {
	ip := sdkgentest.Product(t, "ip", sdkgentest.Kept(t, "market-ip-query.json"))
	ip.Name = "ip-query"
	return sdkgen.Input{Language: "go", Name: "hangzhou", Title: "杭州应用", Products: []sdkgen.Product{ip}}
}

// The tree that a buyer downloads, for a Chinese product and for one with paths,
// headers and circles.
func TestGolden(t *testing.T) {
	_, files := sdkgentest.Generate(t, market(t))
	sdkgentest.Golden(t, "market-ip-query", files, "core/")
	in := sdkgen.Input{Language: "go", Name: "circles", Version: "2.1.0", Products: []sdkgen.Product{
		sdkgentest.Product(t, "circular", sdkgentest.Kept(t, "oas-schema-circular.json")),
	}}
	_, files = sdkgentest.Generate(t, in)
	sdkgentest.Golden(t, "oas-schema-circular", files, "core/")
}

// The sample of the README and of the folder examples runs, signed. SDK-03, SDK-05.
func TestSampleCallsThroughTheGateway(t *testing.T) {
	dir, _ := sdkgentest.Generate(t, market(t))
	g := sdkgentest.NewGateway(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		_, _ = w.Write([]byte(`{"code":"200","data":{"city":"杭州"}}`)) // the caller has gone if this fails
	})
	out := sdkgentest.Run(t, dir, append(g.Environment(), offline...), "go", "run", "./examples/first_call")
	if !strings.Contains(out, "杭州") || !strings.Contains(out, "request 7B1B27B6") {
		t.Errorf("the sample printed %s", out)
	}
	want := []string{"POST group.example.com /ip/query-v3 application/x-www-form-urlencoded ip=IP%E5%9C%B0%E5%9D%80"}
	if got := g.Calls(); !slices.Equal(got, want) {
		t.Errorf("calls %q, want %q", got, want)
	}
}

// program makes every call of the edge product, and calls that fail, if told a code.
const program = `package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"souk.sdk/edge"
	"souk.sdk/edge/core"
	"souk.sdk/edge/edgecase"
)

var out []any

func run[T any](a *core.Answer[T], err error) {
	var e *edge.Error
	switch {
	case errors.As(err, &e):
		out = append(out, []any{e.Kind, e.Status, e.Code, e.RequestID, e.Attempts, e.Hint})
	case err != nil:
		panic(err)
	default:
		if w, ok := any(a.Data).(edgecase.Weather); ok {
			out = append(out, []any{a.Status, []any{w.City, w.Temp, w.Extra, append([]string{}, a.Issues...)}})
			return
		}
		out = append(out, []any{a.Status, a.Data})
	}
}

func client(o edge.Options) *edgecase.Service {
	c, err := edge.New(o)
	if err != nil {
		panic(err)
	}
	return c.EdgeCase
}

func main() {
	ctx := context.Background()
	if len(os.Args) > 1 {
		_, err := client(edge.Options{}).Plain(ctx)
		var e *edge.Error
		errors.As(err, &e)
		fmt.Println(e.Attempts)
		return
	}
	e := client(edge.Options{MaxRetries: -1})
	run(e.Plain(ctx))
	run(e.Search(ctx, edgecase.SearchParams{City: "杭州 & 上海", Empty: edge.Ptr(""), Tags: []string{"甲", "b/c"},
		Days: edge.Ptr(int64(3)), Ratio: edge.Ptr(0.5), Strict: edge.Ptr(true)}))
	run(e.Item(ctx, edgecase.ItemParams{ItemID: "北京/a b?#%41"}))
	run(e.Form(ctx, edgecase.FormParams{Name: edge.Ptr("张三 +&=%"), Note: edge.Ptr(""), N0k: edge.Ptr("[x]")}))
	run(e.JSON(ctx, edgecase.JSONParams{Text: "\"<中文>\"\n", Inner: &edgecase.EchoInput{AB: edge.Ptr(int64(1))}}))
	run(e.Form(ctx, edgecase.FormParams{}))
	run(e.Upload(ctx, edgecase.UploadParams{File: &edge.File{Name: "图.png", Data: []byte("\x00\xff")}, Label: edge.Ptr("标签")}))
	run(e.Raw(ctx, edgecase.RawParams{Body: []byte("纯文本")}))
	run(e.Fails(ctx))
	run(client(edge.Options{AppKey: "203753385", AppSecret: "wrong"}).Plain(ctx))
	run(client(edge.Options{AppCode: "83359fd73fe94948385f570e3c139105"}).Plain(ctx))
	run(client(edge.Options{BaseURL: "http://127.0.0.1:1", MaxRetries: -1}).Plain(ctx))
	json.NewEncoder(os.Stdout).Encode(out)
}
`

// Empty bodies, forms, JSON, files, Chinese text in every place: what the gateway
// computes is what was signed. And a call is repeated only where that cannot be billed
// twice, with a nonce of its own. SDK-03, SDK-05, GWC-03.
func TestEdgesOfSigning(t *testing.T) {
	dir, _ := sdkgentest.Generate(t, sdkgentest.Edge(t, "go"))
	sdkgentest.Write(t, dir, []sdkgen.File{{Name: "check/main.go", Data: []byte(program)}})
	sdkgentest.Run(t, dir, offline, "go", "build", "-o", "check.exe", "./check")
	g := sdkgentest.NewGateway(t, sdkgentest.Echo)
	out := sdkgentest.Run(t, dir, g.Environment(), dir+"/check.exe")
	var got []any
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var lines []string
	for _, line := range got {
		lines = append(lines, strings.TrimSpace(fmt.Sprint(line)))
	}
	if want := sdkgentest.EdgeResults; !slices.Equal(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	sdkgentest.CheckEdgeCalls(t, g.Calls())

	for code, want := range sdkgentest.Tries {
		g := sdkgentest.NewGateway(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
			w.Header().Set("Retry-After", "0")
			sdkgentest.Refuse(w, &signer.Fault{Code: code, Status: 503, Message: "no"})
		})
		out := sdkgentest.Run(t, dir, g.Environment(), dir+"/check.exe", "once")
		if n := len(g.Calls()); n != want || strings.TrimSpace(out) != fmt.Sprint(want) {
			t.Errorf("%s: %d calls, %s attempts, want %d", code, n, strings.TrimSpace(out), want)
		}
	}
}

// shape is the syntax tree of a file without its texts.
func shape(t *testing.T, name string, data []byte) string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), name, data, parser.ParseComments)
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, data)
	}
	for _, group := range f.Comments {
		for _, c := range group.List {
			if !strings.HasPrefix(c.Text, "// ") && c.Text != "//" || strings.HasPrefix(c.Text, "// +build") {
				t.Errorf("%s has the comment %q", name, c.Text)
			}
		}
	}
	var b strings.Builder
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Comment, *ast.CommentGroup:
			return false
		case *ast.Ident:
			b.WriteString(n.Name)
		case *ast.BasicLit:
			b.WriteString(n.Kind.String())
		default:
			fmt.Fprintf(&b, "%T", n)
		}
		b.WriteByte(' ')
		return true
	})
	return b.String()
}

// Whatever a seller writes stays text: the tree is the same as with harmless words.
func TestHostileDescriptions(t *testing.T) {
	want := map[string]string{}
	for i, payload := range sdkgentest.Payloads {
		files, err := sdkgen.Generate(context.Background(), sdkgentest.Hostile(t, "go", payload))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			sdkgentest.CheckText(t, f)
			if !strings.HasSuffix(f.Name, ".go") || strings.HasPrefix(f.Name, "core/") {
				continue
			}
			if i == 0 {
				want[f.Name] = shape(t, f.Name, f.Data)
			}
			if got := shape(t, f.Name, f.Data); got != want[f.Name] {
				t.Errorf("%q changes %s", payload, f.Name)
			}
		}
	}
}

// Names are made of letters and digits alone, whatever they are called.
func TestHostileNames(t *testing.T) {
	for _, payload := range sdkgentest.Payloads {
		files, err := sdkgen.Generate(context.Background(), sdkgentest.HostileNames(t, "go", payload))
		if err != nil {
			t.Fatalf("%q: %v", payload, err)
		}
		for _, f := range files {
			sdkgentest.CheckText(t, f)
			if strings.HasSuffix(f.Name, ".go") && !strings.HasPrefix(f.Name, "core/") {
				shape(t, f.Name, f.Data)
			}
		}
	}
	dir, _ := sdkgentest.Generate(t, sdkgentest.HostileNames(t, "go", sdkgentest.Payloads[1]+"`\"\\"))
	sdkgentest.Run(t, dir, offline, "go", "vet", "./...")
}

// The same input, the same bytes; and no secret can be in them, since none goes in. SDK-06.
func TestSameBytes(t *testing.T) {
	var first []byte
	for range 5 {
		files, err := sdkgen.Generate(context.Background(), market(t))
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := sdkgen.Zip(&b, files); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = b.Bytes()
		}
		if !bytes.Equal(first, b.Bytes()) {
			t.Fatal("the archive differs")
		}
	}
}
