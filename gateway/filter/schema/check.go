package schema

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// newCheck makes what checks bodies of a media type. Descriptions from 3.1 on have JSON
// Schema as it is, older ones a dialect of their own.
func newCheck(text []byte, doc *openapi3.T, mediaType string, schema *openapi3.Schema) (func(any) error, error) {
	if strings.HasPrefix(doc.OpenAPI, "3.0.") {
		options := append(doc.GetSchemaValidationOptions(), openapi3.VisitAsRequest(), openapi3.DisableReadOnlyValidation())
		return func(value any) error { return schema.VisitJSON(value, options...) }, nil
	}
	whole, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(nowhere{})
	if err := c.AddResource(resource, whole); err != nil {
		return nil, err
	}
	var path string
	for p := range doc.Paths.Map() {
		path = p // there is one
	}
	at := resource + "#"
	for _, step := range []string{"paths", path, "post", "requestBody", "content", mediaType, "schema"} {
		at += "/" + strings.NewReplacer("~", "~0", "/", "~1", "%", "%25", "{", "%7B", "}", "%7D", " ", "%20").Replace(step)
	}
	compiled, err := c.Compile(at)
	if err != nil {
		return nil, fmt.Errorf("its schema cannot be used: %w", err)
	}
	return compiled.Validate, nil
}

const resource = "urn:route"

// nowhere loads nothing: a setting refers to itself only.
type nowhere struct{}

// Load refuses.
func (nowhere) Load(url string) (any, error) {
	return nil, errors.New(url + " is outside of the setting")
}

var english = message.NewPrinter(language.English)

// newerReason is the first of the faults that lie deepest.
func newerReason(err *jsonschema.ValidationError) string {
	for len(err.Causes) > 0 {
		err = err.Causes[0]
	}
	text := err.ErrorKind.LocalizedString(english)
	if len(err.InstanceLocation) > 0 {
		text = "/" + strings.Join(err.InstanceLocation, "/") + ": " + text
	}
	return cut(text)
}
