package python

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/souk-market/souk/sdkgen"
	"github.com/souk-market/souk/sdkgen/sdkgentest"
	"github.com/souk-market/souk/signer"
)

// Every real description becomes a package that compiles and can be imported. SDK-05.
func TestEveryDescriptionCompiles(t *testing.T) {
	python, ok := sdkgentest.Tool(t, "python3")
	if !ok {
		return
	}
	in := sdkgen.Input{Language: "python", Name: "all-of-it", Title: "All"}
	specs := sdkgentest.Specs(t)
	for _, name := range slices.Sorted(maps.Keys(specs)) {
		p := sdkgentest.Product(t, name, specs[name])
		p.Name = name
		in.Products = append(in.Products, p)
	}
	dir, _ := sdkgentest.Generate(t, in)
	sdkgentest.Run(t, dir, nil, python, "-W", "error", "-m", "compileall", "-q", ".")
	sdkgentest.Run(t, dir, append(credentials, "PYTHONPATH=src"), python, "-W", "error", "-c", "import all_of_it; all_of_it.Client()")
}

var credentials = []string{"SOUK_APP_KEY=1", "SOUK_APP_SECRET=2"}

func market(t *testing.T) sdkgen.Input {
	ip := sdkgentest.Product(t, "ip", sdkgentest.Kept(t, "market-ip-query.json"))
	ip.Name = "ip-query"
	return sdkgen.Input{Language: "python", Name: "hangzhou", Title: "杭州应用", Products: []sdkgen.Product{ip}}
}

// The tree that a buyer downloads, for a Chinese product and for one with paths,
// headers and circles.
func TestGolden(t *testing.T) {
	_, files := sdkgentest.Generate(t, market(t))
	sdkgentest.Golden(t, "market-ip-query", files, "src/hangzhou/_core/")
	in := sdkgen.Input{Language: "python", Name: "circles", Version: "2.1.0", Products: []sdkgen.Product{
		sdkgentest.Product(t, "circular", sdkgentest.Kept(t, "oas-schema-circular.json")),
	}}
	_, files = sdkgentest.Generate(t, in)
	sdkgentest.Golden(t, "oas-schema-circular", files, "src/circles/_core/")
}

// The sample of the README and of the folder examples runs, signed. SDK-03, SDK-05.
func TestSampleCallsThroughTheGateway(t *testing.T) {
	python, ok := sdkgentest.Tool(t, "python3")
	if !ok {
		return
	}
	dir, _ := sdkgentest.Generate(t, market(t))
	g := sdkgentest.NewGateway(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		_, _ = w.Write([]byte(`{"code":"200","data":{"city":"杭州"}}`)) // the caller has gone if this fails
	})
	out := sdkgentest.Run(t, dir, g.Environment(), python, "examples/first_call.py")
	if !strings.Contains(out, "杭州") || !strings.Contains(out, "request 7B1B27B6") {
		t.Errorf("the sample printed %s", out)
	}
	want := []string{"POST group.example.com /ip/query-v3 application/x-www-form-urlencoded ip=IP%E5%9C%B0%E5%9D%80"}
	if got := g.Calls(); !slices.Equal(got, want) {
		t.Errorf("calls %q, want %q", got, want)
	}
}

const script = `
import json, sys
import edge
from edge import Options
from edge.edge_case import EchoInput
from edge._core import sign as _s
c = edge.Client(Options(max_retries=0))
e = c.edge_case
out = []
def run(f):
    try:
        a = f()
        out.append([a.status, a.data if not hasattr(a.data, "city") else [a.data.city, a.data.temp, a.data.extra, a.issues]])
    except edge.Error as x:
        out.append([x.kind, x.status, x.code, x.request_id, x.attempts, x.hint])
run(lambda: e.plain())
run(lambda: e.search(city="杭州 & 上海", empty="", tags=["甲", "b/c"], days=3, ratio=0.5, strict=True))
run(lambda: e.item(item_id="北京/a b?#%41"))
run(lambda: e.form(name="张三 +&=%", note="", n_0k="[x]"))
run(lambda: e.json(text="\"<中文>\"\n", inner=EchoInput(a_b=1)))
run(lambda: e.form())
run(lambda: e.upload(file=edge.File("图.png", b"\x00\xff"), label="标签"))
run(lambda: e.raw(body="纯文本".encode()))
run(lambda: e.fails())
run(lambda: edge.Client(Options(app_key="203753385", app_secret="wrong")).edge_case.plain())
run(lambda: edge.Client(Options(app_code="83359fd73fe94948385f570e3c139105")).edge_case.plain())
run(lambda: edge.Client(Options(base_url="http://127.0.0.1:1", max_retries=0)).edge_case.plain())
print(json.dumps(out, ensure_ascii=False))
`

// Empty bodies, forms, JSON, files, Chinese text in every place: what the gateway
// computes is what was signed. SDK-03, SDK-05, GWC-03.
func TestEdgesOfSigning(t *testing.T) {
	python, ok := sdkgentest.Tool(t, "python3")
	if !ok {
		return
	}
	dir, _ := sdkgentest.Generate(t, sdkgentest.Edge(t, "python"))
	g := sdkgentest.NewGateway(t, sdkgentest.Echo)
	out := sdkgentest.Run(t, dir, append(g.Environment(), "PYTHONPATH=src", "PYTHONIOENCODING=utf-8"), python, "-W", "error", "-c", script)
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
}

// A call is repeated only where that cannot be billed twice, with a nonce of its own.
func TestRetries(t *testing.T) {
	python, ok := sdkgentest.Tool(t, "python3")
	if !ok {
		return
	}
	dir, _ := sdkgentest.Generate(t, sdkgentest.Edge(t, "python"))
	for code, want := range sdkgentest.Tries {
		g := sdkgentest.NewGateway(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
			w.Header().Set("Retry-After", "0")
			sdkgentest.Refuse(w, &signer.Fault{Code: code, Status: 503, Message: "no"})
		})
		out := sdkgentest.Run(t, dir, append(g.Environment(), "PYTHONPATH=src"), python, "-c", `
import edge
c = edge.Client()
c.edge_case._core.sleep = lambda s: None
try:
    c.edge_case.plain()
except edge.Error as e:
    print(e.attempts)
`)
		if n := len(g.Calls()); n != want || strings.TrimSpace(out) != fmt.Sprint(want) {
			t.Errorf("%s: %d calls, %s attempts, want %d", code, n, strings.TrimSpace(out), want)
		}
	}
}

// The core's own tests, in its own language.
func TestCore(t *testing.T) {
	python, ok := sdkgentest.Tool(t, "python3")
	if !ok {
		return
	}
	test, err := os.ReadFile("testdata/core_test.py")
	if err != nil {
		t.Fatal(err)
	}
	vectors, err := filepath.Abs("../../../signer/testdata/vectors.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir+"/_core", os.DirFS("core")); err != nil {
		t.Fatal(err)
	}
	sdkgentest.Write(t, dir, []sdkgen.File{{Name: "core_test.py", Data: test}})
	sdkgentest.Run(t, dir, []string{"VECTORS=" + vectors}, python, "-W", "error", "core_test.py")
}

// Whatever a seller writes stays text: the tree of the module is the same shape as with
// harmless words, and nothing of it runs.
func TestHostileDescriptions(t *testing.T) {
	python, ok := sdkgentest.Tool(t, "python3")
	if !ok {
		return
	}
	const shape = `
import ast, os, sys
def shape(n):
    if isinstance(n, ast.Constant):
        return type(n.value).__name__
    if isinstance(n, ast.AST):
        return type(n).__name__ + "(" + ",".join(shape(v) for k, v in ast.iter_fields(n)) + ")"
    if isinstance(n, list):
        return "[" + ",".join(shape(v) for v in n) + "]"
    return "_"
for root, _, names in sorted(os.walk("src")):
    if "_core" not in root:
        for name in sorted(names):
            if name.endswith(".py"):
                print(name, shape(ast.parse(open(os.path.join(root, name), encoding="utf-8").read())))
`
	want := ""
	for i, payload := range sdkgentest.Payloads {
		dir, files := sdkgentest.Generate(t, sdkgentest.Hostile(t, "python", payload))
		for _, f := range files {
			sdkgentest.CheckText(t, f)
		}
		out := sdkgentest.Run(t, dir, append(credentials, "PYTHONPATH=src"), python, "-W", "error", "-c", shape+"import hostile; hostile.Client()")
		if i == 0 {
			want = out
		}
		if out != want {
			t.Errorf("%q changes the code", payload)
		}
	}
}

// Names are made of letters and digits alone, whatever they are called.
func TestHostileNames(t *testing.T) {
	python, ok := sdkgentest.Tool(t, "python3")
	if !ok {
		return
	}
	for _, payload := range sdkgentest.Payloads {
		dir, files := sdkgentest.Generate(t, sdkgentest.HostileNames(t, "python", payload))
		for _, f := range files {
			sdkgentest.CheckText(t, f)
		}
		sdkgentest.Run(t, dir, nil, python, "-W", "error", "-m", "compileall", "-q", ".")
	}
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
