package template

import (
	"encoding/json"
	"encoding/xml"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
)

func call() *gate.Call {
	return &gate.Call{Method: []byte("GET"), Host: []byte("api.test"), Path: []byte("/u/a%2Fb"), Query: []byte("q=a%22%0D%0Ab&e"), ID: control.RequestID{15: 1},
		App: "app_a", Key: "key", From: netip.MustParseAddr("192.0.2.7"), At: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC),
		Group: &control.Group{}, Route: &control.Route{Name: "now"}, Params: []gate.Param{{Name: "id", Value: []byte("a%2Fb")}},
		Fields: gate.Fields{{Name: []byte("X-Name"), Value: []byte("<n>&'")}, {Name: []byte("Authorization"), Value: []byte("APPCODE 0123456789abcdef")}},
		Answer: gate.Answer{Status: 503, Fields: gate.Fields{{Name: []byte("Server"), Value: []byte("s")}}}}
}

func TestValues(t *testing.T) {
	data := Data{Body: []byte(`{"a":1}`), Refusal: gate.Busy}
	for _, tt := range []struct {
		text  string
		place Place
		scope Scope
		want  string
	}{
		{"plain", Header, Request, "plain"},
		{"", Text, Request, ""},
		{"${app.id}/${app.key} ${client.ip}", Header, Request, "app_a/key 192.0.2.7"},
		{"${request.id} ${request.method} ${request.host} ${request.scheme} ${request.path} ${request.time}", Header, Request,
			"00000000-0000-0000-0000-000000000001 GET api.test http /u/a%2Fb 2026-11-24T12:00:00Z"},
		{"${route.name} ${route.stage}", Header, Request, "now RELEASE"},
		{"${path.id}", Header, Request, "a/b"},
		{"[${query.q}]", Header, Request, "[a\"  b]"}, // N5: no line break
		{"${query.q}", Query, Request, "a%22%0D%0Ab"},
		{`{"q":"${query.q}"}`, JSON, Request, `{"q":"a\"\u000d\u000ab"}`},
		{"${header.x-name}", XML, Request, "&#60;n&#62;&#38;&#39;"},
		{"${header.x-name}", JSON, Request, `\u003cn\u003e\u0026'`},
		{"${query.none:-}${query.none}|${query.e:x}|", Text, Request, "-||"},
		{"$${app.id} $ $x {}", Text, Request, "${app.id} $ $x {}"},
		{"${header.Authorization}", Text, Request, ""}, // K12: the AppCode is not his
		{`{"inner":${body}}`, JSON, Request, `{"inner":{"a":1}}`},
		{"${body}\n", Query, Request, "%7B%22a%22%3A1%7D\n"},
		{"${answer.status} ${answer.header.server}", Header, Answer, "503 s"},
		{"${error.code}: ${error.message}", Text, Refusal, "X503BZ: Service Busy"},
	} {
		tm, err := Compile(tt.text, tt.place, tt.scope)
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
			continue
		}
		if got := string(tm.Append(nil, call(), data)); got != tt.want {
			t.Errorf("%q became %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestWrongTemplates(t *testing.T) {
	for text, want := range map[string]string{
		"${":                       "has no end",
		"${app}":                   "there is no value ${app} here; there are app.id",
		"${query.}":                "there is no value",
		"${header.a b}":            "no name of a header",
		"${answer.status}":         "there is no value",
		"${error.code}":            "there is no value",
		"a\r\nX-Admin: 1":          "line break",
		strings.Repeat("x", 1<<20): "at most",
	} {
		if _, err := Compile(text, Header, Request); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q", text, err, want)
		}
	}
	if _, err := Compile("${body}", Text, Refusal); err == nil {
		t.Error("a refusal has a body")
	}
}

func TestFixed(t *testing.T) {
	for text, want := range map[string]bool{"": true, "a$${b}": true, "a${app.id}": false} {
		tm, err := Compile(text, Text, Request)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := tm.Fixed(); ok != want {
			t.Errorf("%q is fixed: %v", text, ok)
		}
	}
}

// N5: whatever the value, it stays inside its place.
func FuzzPlaces(f *testing.F) {
	f.Add([]byte("a\"b\\c\x00\r\n<>&'\xff"))
	f.Fuzz(func(t *testing.T, value []byte) {
		if got := Header.append(nil, value); strings.ContainsAny(string(got), "\r\n\x00") || len(got) != len(value) {
			t.Errorf("header %q", got)
		}
		var text string
		if err := json.Unmarshal(append(JSON.append([]byte{'"'}, value), '"'), &text); err != nil {
			t.Errorf("JSON of %q: %v", value, err)
		}
		if got := Query.append(nil, value); strings.ContainsAny(string(got), "&=?#/ \r\n") {
			t.Errorf("query %q", got)
		}
		var element struct {
			A string `xml:"a,attr"`
			T string `xml:",chardata"`
		}
		safe := XML.append(nil, []byte(strings.ToValidUTF8(string(value), "?")))
		if err := xml.Unmarshal([]byte(`<e a="`+string(safe)+`">`+string(safe)+`</e>`), &element); err != nil && !strings.Contains(err.Error(), "illegal character code") {
			t.Errorf("XML of %q: %v", value, err)
		}
	})
}
