package command

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// examples/filter-outside is a module of its own; it builds, its tests pass, and its program
// has the filter beside the standard ones. Its go.mod is completed in a folder of the test's,
// so that it need not follow each change of ours.
func TestFilterFromOutside(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the program once more")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	folder, own := t.TempDir(), filepath.Join(root, "examples", "filter-outside")
	mod, err := os.ReadFile(filepath.Join(own, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(mod), "=> ../..", "=> "+root)
	for name, content := range map[string]string{"go.mod": text, "go.sum": string(sum)} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = own
		cmd.Env = append(os.Environ(), "GOWORK=off")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	module, program := "-modfile="+filepath.Join(folder, "go.mod"), filepath.Join(folder, "souk")
	run("go", "build", "-mod=mod", module, "-o", program, ".")
	run("go", "test", "-mod=mod", module, "./...")
	filters := strings.Fields(run(program, "filters"))
	for _, want := range []string{"shout", "cors", "sign"} {
		if !slices.Contains(filters, want) {
			t.Errorf("the program has %v, and no %s", filters, want)
		}
	}
}
