package gosdk

import (
	"maps"
	"slices"
	"testing"

	"github.com/souk-market/souk/sdkgen"
	"github.com/souk-market/souk/sdkgen/sdkgentest"
)

var offline = []string{"GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off", "GOTOOLCHAIN=local"}

// whole is every description as one SDK: each product is a package of it, so that one
// build compiles them all.
func whole(t *testing.T, language string) sdkgen.Input {
	in := sdkgen.Input{Language: language, Name: "all-of-it", Title: "All"}
	specs := sdkgentest.Specs(t)
	for _, name := range slices.Sorted(maps.Keys(specs)) {
		p := sdkgentest.Product(t, name, specs[name])
		p.Name = name
		in.Products = append(in.Products, p)
	}
	return in
}

// Every real description becomes an SDK that compiles. SDK-05.
func TestEveryDescriptionCompiles(t *testing.T) {
	dir, files := sdkgentest.Generate(t, whole(t, "go"))
	for _, f := range files {
		t.Logf("%s %d", f.Name, len(f.Data))
	}
	if out := sdkgentest.Run(t, dir, nil, "gofmt", "-l", "."); out != "" {
		t.Errorf("not formatted: %s", out)
	}
	sdkgentest.Run(t, dir, offline, "go", "vet", "./...")
}
