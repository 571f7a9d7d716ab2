package gosdk

import (
	"context"
	"testing"

	"github.com/souk-market/souk/sdkgen"
	"github.com/souk-market/souk/sdkgen/openapi"
	"github.com/souk-market/souk/sdkgen/sdkgentest"
)

// BenchmarkGenerate reads a description of 34 operations and writes its SDK.
func BenchmarkGenerate(b *testing.B) {
	data := sdkgentest.Kept(b, "rustdesk-api-api-swagger.yaml")
	for b.Loop() {
		doc, err := openapi.Read(data)
		if err != nil {
			b.Fatal(err)
		}
		p := sdkgen.Product{Title: doc.Title, BaseURL: "https://a.example", Document: doc}
		for _, op := range doc.Operations {
			p.Routes = append(p.Routes, sdkgen.Route{Method: op.Method, Path: op.Path})
		}
		if _, err := sdkgen.Generate(context.Background(), sdkgen.Input{Language: "go", Products: []sdkgen.Product{p}}); err != nil {
			b.Fatal(err)
		}
	}
}
