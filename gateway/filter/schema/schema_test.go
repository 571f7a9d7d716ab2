package schema

import (
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/filter/filtertest"
)

const order = `{"operation":{
	"parameters":[
		{"name":"id","in":"path","required":true,"schema":{"type":"string","maxLength":5}},
		{"name":"page","in":"query","schema":{"type":"integer","minimum":1,"maximum":9}},
		{"name":"city","in":"query","required":true,"schema":{"type":"string","enum":["hz","北京"]}},
		{"name":"ids","in":"query","schema":{"type":"array","items":{"type":"integer"}}},
		{"name":"X-Level","in":"header","schema":{"type":"string","pattern":"^[a-c]$"}}],
	"requestBody":{"required":true,"content":{"application/json":{"schema":{"$ref":"#/components/schemas/Order"}},"text/plain":{}}}},
	"components":{"schemas":{"Order":{"type":"object","required":["item"],"additionalProperties":false,"properties":{
		"item":{"type":"string","minLength":1},"count":{"type":"integer","minimum":1},"next":{"$ref":"#/components/schemas/Order"}}}}},
	"unknown":"refuse"}`

func TestCalls(t *testing.T) {
	b := filtertest.New(t, "schema")
	b.Route.Path = "/[id]"
	chain := b.Make(order)
	if chain.Body != DefaultBody {
		t.Errorf("it reads %d bytes", chain.Body)
	}
	const asJSON = "Content-Type: application/json; charset=utf-8"
	for _, tt := range []struct {
		target, body, want string
		headers            []string
	}{
		{"/a?city=hz&page=2&ids=1&ids=2", `{"item":"x","count":2,"next":{"item":"y"}}`, "", nil},
		{"/a?city=%E5%8C%97%E4%BA%AC", `{"item":"x"}`, "", []string{"X-Level: b"}},
		{"/a?page=2", `{"item":"x"}`, "I400MP Parameter `city` is required", nil},
		{"/a?city=sh", `{"item":"x"}`, "I400IP Invalid Parameter `city` value is not one of the allowed values", nil},
		{"/a?city=hz&page=0", `{"item":"x"}`, "I400IP Invalid Parameter `page` number must be at least 1", nil},
		{"/a?city=hz&page=two", `{"item":"x"}`, "I400IP Invalid Parameter `page` cannot be read", nil},
		{"/a?city=hz&ids=1&ids=b", `{"item":"x"}`, "I400IP Invalid Parameter `ids` cannot be read", nil},
		{"/a?city=hz&debug=1", `{"item":"x"}`, "I400IP Invalid Parameter `debug` is not one of this API", nil},
		{"/abcdef?city=hz", `{"item":"x"}`, "I400IP Invalid Parameter `id` maximum string length is 5", nil},
		{"/a?city=hz", `{"item":"x"}`, "I400IP Invalid Parameter `X-Level` string doesn't match the regular expression", []string{"X-Level: d"}},
		{"/a?city=hz", ``, "I400BD Invalid Body: there is none, and this API needs one", nil},
		{"/a?city=hz", `{"count":1}`, "I400BD Invalid Body: /item: property \"item\" is missing", nil},
		{"/a?city=hz", `{"item":"x","next":{"item":"y","count":0}}`, "I400BD Invalid Body: /next/count: number must be at least 1", nil},
		{"/a?city=hz", `{"item":"x","extra":1}`, "I400BD Invalid Body: property \"extra\" is unsupported", nil},
		{"/a?city=hz", `[]`, "I400BD Invalid Body: value must be an object", nil},
		{"/a?city=hz", `{"item":`, "I400BD Invalid Body: it is not good JSON, unexpected EOF", nil},
		{"/a?city=hz", `{"item":"x","item":"y"}`, "I400BD Invalid Body: it is not good JSON, member \"item\" comes twice", nil},
		{"/a?city=hz", strings.Repeat(`{"item":"x","next":`, 65) + "1" + strings.Repeat("}", 65), "I400BD Invalid Body: it is not good JSON, it is nested deeper than 64", nil},
		{"/a?city=hz", `{}`, "I400CT Invalid Content-Type: `text/html` is not one of this API", []string{"Content-Type: text/html"}},
		{"/a?city=hz", `anything`, "", []string{"Content-Type: text/plain"}},
	} {
		headers := tt.headers
		if filtertest.Header(b.Call(append([]string{"GET /"}, headers...)...).Fields, "Content-Type") == "" {
			headers = append([]string{asJSON}, headers...)
		}
		lines := append(append([]string{"POST " + tt.target}, headers...), "", tt.body)
		c := b.Call(lines...)
		c.Params[0].Name = "id"
		r := b.Run(chain, c, filtertest.OK(""))
		if got := ""; r == nil && tt.want != "" || r != nil && (tt.want == "" || !strings.HasPrefix(r.Error(), tt.want)) {
			if r != nil {
				got = r.Error()
			}
			t.Errorf("%s %.80s: %q, want %q", tt.target, tt.body, got, tt.want)
		}
	}
}

// O3, P1: without a body that is described as JSON none is read.
func TestReadsOnlyJSON(t *testing.T) {
	b := filtertest.New(t, "schema")
	for with, want := range map[string]int64{
		`{"operation":{"parameters":[{"name":"a","in":"query","schema":{"type":"string"}}]}}`:                             0,
		`{"operation":{"requestBody":{"content":{"text/plain":{"schema":{"type":"string"}}}}}}`:                           0,
		`{"operation":{"requestBody":{"content":{"application/vnd.x+json":{"schema":{"type":"object"}}}}},"max_body":99}`: 99,
	} {
		if got := b.Make(with).Body; got != want {
			t.Errorf("%s reads %d, want %d", with, got, want)
		}
	}
	// A body that is not read need not be there to be described.
	chain := b.Make(`{"operation":{"requestBody":{"required":true,"content":{"text/plain":{}}}}}`)
	filtertest.Refused(t, b.Run(chain, b.Call("POST /", "Content-Type: text/plain", "Content-Length: 3"), filtertest.OK("")), "")
	filtertest.Refused(t, b.Run(chain, b.Call("POST /"), filtertest.OK("")), bodyNeeded.Error())
}

func TestNewerDescriptions(t *testing.T) {
	b := filtertest.New(t, "schema")
	chain := b.Make(`{"openapi":"3.1.0","operation":{"requestBody":{"content":{"application/json":{"schema":{"type":["object","null"],
		"properties":{"kind":{"const":"a"},"n":{"exclusiveMinimum":3},"next":{"$ref":"#/components/schemas/N"}},"if":{"required":["n"]},"then":{"required":["kind"]}}}}}},
		"components":{"schemas":{"N":{"type":"string"}}}}`)
	filtertest.Refused(t, b.Run(chain, b.Call("POST /", "Content-Type: application/json", "", `{"next":1}`), filtertest.OK("")),
		"I400BD Invalid Body: /next: got number, want string")
	for body, want := range map[string]bool{`{"kind":"a","n":4}`: true, `null`: true, `{"kind":"b"}`: false, `{"next":"x"}`: true, `{"kind":"a","n":3}`: false, `{"n":4}`: false} {
		r := b.Run(chain, b.Call("POST /", "Content-Type: application/json", "", body), filtertest.OK(""))
		if (r == nil) != want {
			t.Errorf("%s passes: %v, want %v: %v", body, r == nil, want, r)
		}
	}
}

// R3: no description makes a small call a long one.
func TestDearDescriptions(t *testing.T) {
	component := func(schema string) string {
		return `{"operation":{"requestBody":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/A"}}}}},"components":{"schemas":{"A":` + schema + `}}}`
	}
	var wide strings.Builder
	for i := range 60 {
		if i > 0 {
			wide.WriteByte(',')
		}
		wide.WriteString(`"p` + strings.Repeat("x", i) + `":{"type":"object","properties":{"q":{"type":"object","additionalProperties":{"type":"integer"}}}}`)
	}
	b := filtertest.New(t, "schema")
	b.Make(component(`{"type":"object","properties":{` + wide.String() + `}}`)) // wide is not dear
	chain := b.Make(component(`{"type":"object","properties":{"a":{"$ref":"#/components/schemas/A"},"b":{"$ref":"#/components/schemas/A"}}}`))
	began := time.Now()
	body := strings.Repeat(`{"a":`, 63) + "{}" + strings.Repeat("}", 63)
	filtertest.Refused(t, b.Run(chain, b.Call("POST /", "Content-Type: application/json", "", body), filtertest.OK("")), "")
	if took := time.Since(began); took > time.Second {
		t.Errorf("it takes %v", took)
	}
	b.Wrong(map[string]string{
		component(`{"anyOf":[{"properties":{"a":{"$ref":"#/components/schemas/A"}}},{"properties":{"a":{"$ref":"#/components/schemas/A"}}}]}`): "more than 1000 times",
		component(`{"allOf":[{"$ref":"#/components/schemas/A"}]}`):                                                                             "",
		component(`{"allOf":[{"not":{"anyOf":[{"$ref":"#/components/schemas/A"}]}}]}`):                                                         "without going deeper",
	})
}

func TestWrongSettings(t *testing.T) {
	filtertest.New(t, "schema").Wrong(map[string]string{
		`{}`: `it needs "operation"`,
		`{"operation":{"parameters":[{"name":"a"}]}}`:                                                                               "the operation is not right",
		`{"operation":{"parameters":[{"name":"a","in":"path","required":true,"schema":{"type":"string"}}]}}`:                        "has no [a]",
		`{"operation":{"requestBody":{"$ref":"http://127.0.0.1:1/x.json"}}}`:                                                        "cannot be read",
		`{"operation":{"requestBody":{"$ref":"file:///etc/passwd"}}}`:                                                               "cannot be read",
		`{"operation":{"requestBody":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/No"}}}}}}`:              "cannot be read",
		`{"openapi":"3.1.0","operation":{"requestBody":{"content":{"application/json":{"schema":{"$ref":"file:///etc/passwd"}}}}}}`: "cannot be read",
		`{"operation":{},"openapi":"2.0"}`:                                                                                          "from 3.0.0",
		`{"operation":{},"unknown":"maybe"}`:                                                                                        `"pass" or "refuse"`,
		`{"operation":{},"max_body":0}`:                                                                                             "from 1 to",
	})
}
