package standard

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/souk-market/souk"

// room is a package of ours: its folder, what it imports, and whether it is explained.
type room struct {
	dir       string // below the module, "" for main.go's
	imports   map[string]string
	explained bool
}

// rooms reads the imports of the whole tree, without those of tests.
func rooms(t *testing.T) []room {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	byDir := map[string]*room{}
	err = filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); file != root && (name[0] == '.' || name == "testdata" || name == "souk-data") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		note(byDir, filepath.ToSlash(rel), f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	list := make([]room, 0, len(byDir))
	for _, r := range byDir {
		list = append(list, *r)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].dir < list[j].dir })
	return list
}

func note(byDir map[string]*room, file string, f *ast.File) {
	dir := path.Dir(file)
	if dir == "." {
		dir = ""
	}
	r := byDir[dir]
	if r == nil {
		r = &room{dir: dir, imports: map[string]string{}}
		byDir[dir] = r
	}
	r.explained = r.explained || f.Doc != nil
	for _, i := range f.Imports {
		name, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			continue // the parser has read it
		}
		r.imports[name] = file
	}
}

// in reports whether a folder is one of the rooms, or lies in one.
func in(dir string, rooms ...string) bool {
	for _, r := range rooms {
		if dir == r || strings.HasPrefix(dir, r+"/") {
			return true
		}
	}
	return false
}

// pluginOf is the plug-in, kind or payment provider that a folder belongs to.
func pluginOf(dir string) string {
	parts := strings.Split(dir, "/")
	if len(parts) >= 3 && parts[0] == "console" && (parts[1] == "plugin" || parts[1] == "kind" || parts[1] == "pay") {
		return strings.Join(parts[:3], "/")
	}
	return ""
}

// forbidden says why one room may never import another package; empty: it may.
// architecture.md, section 3.
func forbidden(from, imported string) string {
	to, ours := strings.CutPrefix(imported, module+"/")
	standard := !strings.Contains(strings.Split(imported, "/")[0], ".")
	switch {
	case ours && in(from, "gateway") && in(to, "console"):
		return "a gateway node runs alone"
	case ours && pluginOf(from) != "" && pluginOf(to) != "" && pluginOf(from) != pluginOf(to):
		return "each plug-in can be taken out"
	case ours && in(from, "console") && pluginOf(from) == "" && !in(from, "console/standard", "console/consoletest") && pluginOf(to) != "":
		return "the core is finished before the first plug-in"
	case ours && in(from, "console") && !in(from, "console/consoletest") && in(to, "gateway") && !in(to, "gateway/control", "gateway/storage"):
		return "one door, and the floor it stands on"
	case ours && from == "gateway/gate" && in(to, gates...):
		return "a gate knows the call, not its neighbours"
	case ours && in(from, "signer"):
		return "the ground carries, it does not lean"
	case in(from, "console/market") && !standard:
		return "market stands on the standard library alone"
	case in(from, "console/market") && imported == "database/sql":
		return "market knows no database"
	case strings.HasPrefix(imported, "github.com/valyala/fasthttp") && !in(from, "gateway"):
		return "fasthttp lives in gateway"
	case strings.HasPrefix(imported, "github.com/gofiber/fiber") && !in(from, "console/web"):
		return "fiber lives in console/web"
	case ours && in(from, "gateway", "console", "signer", "sdkgen") && in(to, "examples"):
		return "examples stand on the house, not under it"
	}
	return ""
}

var gates = []string{"gateway/route", "gateway/auth", "gateway/throttle", "gateway/quota", "gateway/proxy", "gateway/journal", "gateway/filter"}

func TestArrowsThatNeverExist(t *testing.T) {
	seen := 0
	for _, r := range rooms(t) {
		for imported, file := range r.imports {
			seen++
			if why := forbidden(r.dir, imported); why != "" {
				t.Errorf("%s imports %s: %s", file, imported, why)
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d imports were read: is the tree here?", seen)
	}
}

// The test would be worth nothing if it let everything through.
func TestForbiddenArrowsAreSeen(t *testing.T) {
	never := func(from, to string) {
		t.Helper()
		if forbidden(from, to) == "" {
			t.Errorf("%s may not import %s", from, to)
		}
	}
	may := func(from, to string) {
		t.Helper()
		if why := forbidden(from, to); why != "" {
			t.Errorf("%s may import %s, but: %s", from, to, why)
		}
	}
	never("gateway/ledger", module+"/console/market")
	never("console/plugin/order", module+"/console/plugin/payment")
	never("console/kind/api", module+"/console/plugin/apps")
	never("console/event", module+"/console/plugin/order")
	never("console", module+"/console/kind/api")
	never("console/plugin/usage", module+"/gateway/ledger")
	never("console/plugin/usage", module+"/gateway")
	never("gateway/gate", module+"/gateway/quota")
	never("signer", module+"/gateway/control")
	never("console/market", module+"/console/web")
	never("console/market", "go.uber.org/zap")
	never("console/market", "database/sql")
	never("console/web", "github.com/valyala/fasthttp")
	never("console/plugin/order", "github.com/gofiber/fiber/v2")
	never("gateway/proxy", module+"/examples/demo")

	may("console/plugin/usage", module+"/gateway/control")
	may("console/plugin/usage", module+"/gateway/storage")
	may("console/standard", module+"/console/plugin/order")
	may("console/plugin/sdk", module+"/sdkgen")
	may("gateway/quota", module+"/gateway/control")
	may("gateway", module+"/gateway/quota")
	may("console/web", "github.com/gofiber/fiber/v2")
	may("console/web", module+"/console/web/page")
	may("", module+"/console/standard")
}

func TestEveryPackageIsExplained(t *testing.T) {
	for _, r := range rooms(t) {
		if !r.explained {
			t.Errorf("the package in %q has no comment that says what it is for", r.dir)
		}
	}
}
