package standard_test

import (
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/souk-market/souk/console/consoletest"
)

// The description of the JSON API is valid OpenAPI 3.1, as a reader of others sees it;
// every operation has an ID of its own, a summary, a tag, and says what it answers.
func TestTheDescriptionIsValid(t *testing.T) {
	m := consoletest.New(t)
	text := m.Visitor().Get("/api/v1/openapi.json").Is(200).Body
	doc, err := openapi3.NewLoader().LoadFromData([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if doc.OpenAPI != "3.1.0" {
		t.Errorf("it is OpenAPI %s", doc.OpenAPI)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Error(err)
	}
	seen := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			at := method + " " + path
			if op.OperationID == "" || seen[op.OperationID] {
				t.Errorf("%s: the operation ID %q is empty or there twice", at, op.OperationID)
			}
			seen[op.OperationID] = true
			if op.Summary == "" || strings.HasPrefix(op.Summary, "api.") {
				t.Errorf("%s: the summary is %q", at, op.Summary)
			}
			if len(op.Tags) != 1 || op.Responses.Len() < 2 {
				t.Errorf("%s: %d tags, %d responses", at, len(op.Tags), op.Responses.Len())
			}
			for _, p := range op.Parameters {
				if p.Value.In == "path" && !strings.Contains(path, "{"+p.Value.Name+"}") {
					t.Errorf("%s: no place for the parameter %s", at, p.Value.Name)
				}
			}
		}
	}
	if len(seen) < 50 {
		t.Errorf("%d operations; the routes are more", len(seen))
	}
	for _, tag := range doc.Tags {
		if strings.HasPrefix(tag.Description, "api.") {
			t.Errorf("nobody says what the tag %s is", tag.Name)
		}
	}
}
