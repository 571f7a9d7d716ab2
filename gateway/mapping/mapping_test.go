package mapping

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
)

// call is a call as the row would have it: a target, header lines, a body.
func call(r *control.Route, target, body string, headers ...string) *gate.Call {
	path, query, _ := strings.Cut(target, "?")
	c := &gate.Call{Method: []byte("POST"), Target: []byte(target), Path: []byte(path), Query: []byte(query), Host: []byte("api.test:443"),
		Group: &control.Group{}, Route: r, App: "app_a", Key: "1234", ID: control.RequestID{15: 1}, TLS: true, From: netip.MustParseAddr("::ffff:192.0.2.7"),
		At: time.Date(2026, 11, 24, 8, 0, 0, 0, time.FixedZone("", 8*3600))}
	for i := 0; i+1 < len(headers); i += 2 {
		c.Fields = append(c.Fields, gate.Field{Name: []byte(headers[i]), Value: []byte(headers[i+1])})
	}
	c.ReadBody = func(c *gate.Call) error { c.Body, c.BodyRead = []byte(body), true; return nil }
	names, values := strings.Split(r.Path, "/"), strings.Split(path, "/")
	for i, n := range names {
		if strings.HasPrefix(n, "[") {
			c.Params = append(c.Params, gate.Param{Name: strings.Trim(n, "[]"), Value: []byte(values[i])})
		}
	}
	return c
}

// shown is what the seller gets, in lines.
func shown(c *gate.Call) string {
	o := c.Outgoing()
	text := string(o.Path)
	if o.Mark {
		text += "?" + string(o.Query)
	}
	for _, f := range o.Fields {
		text += "\n" + string(f.Name) + ": " + string(f.Value)
	}
	if o.HasBody {
		text += "\n| " + string(o.Body)
	}
	return text
}

const isForm = "application/x-www-form-urlencoded"

func TestApply(t *testing.T) {
	for name, tt := range map[string]struct {
		route   control.Route
		target  string
		body    string
		headers []string
		want    string // or a refusal
	}{
		"query to header": {
			route:  control.Route{Path: "/a", Parameters: []control.Parameter{{Name: "city", In: "query", To: "header", ToName: "X-City"}}},
			target: "/a?x=1&city=%E5%8C%97+z&&y", headers: []string{"X-City", "forged", "x_city", "forged", "Z", "1"},
			want: "/a?x=1&&y\nZ: 1\nX-City: 北 z",
		},
		"what stays is not touched": {
			route:  control.Route{Path: "/a", Parameters: []control.Parameter{{Name: "a", In: "query", Required: true}, {Name: "h", In: "header"}}},
			target: "/a?a=%31&b=2&%61=3;&c", headers: []string{"H", "v"},
			want: "/a?a=%31&b=2&%61=3;&c\nH: v",
		},
		"path to query and query to path": {
			route: control.Route{Path: "/u/[id]", UpstreamPath: "/x/[name]/end",
				Parameters: []control.Parameter{{Name: "id", In: "path", To: "query", ToName: "user id"}, {Name: "n", In: "query", To: "path", ToName: "name"}}},
			target: "/u/a%2Fb?n=c%2Fd%26+e",
			want:   "/x/c%2Fd%26%20e/end?user%20id=a%2Fb",
		},
		"path to path keeps its bytes": {
			route:  control.Route{Path: "/u/[id]/[b]", UpstreamPath: "/v/[nr]/[b]", Parameters: []control.Parameter{{Name: "id", In: "path", ToName: "nr"}}},
			target: "/u/a%2fb/c", want: "/v/a%2fb/c",
		},
		"default and required": {
			route:  control.Route{Path: "/a", Parameters: []control.Parameter{{Name: "unit", In: "query", Default: "C&F"}, {Name: "must", In: "query", Required: true}}},
			target: "/a?must=", want: "/a?must=&unit=C%26F",
		},
		"missing": {
			route:  control.Route{Path: "/a", Parameters: []control.Parameter{{Name: "must", In: "header", Required: true}}},
			target: "/a?must=1", want: "I400MP Parameter `must` is required",
		},
		"mapped": {
			route:   control.Route{Path: "/a", Mode: control.Mapped, Parameters: []control.Parameter{{Name: "a", In: "query"}, {Name: "X-B", In: "header"}}},
			target:  "/a?a=1&evil=2&a=%32&=3&&",
			headers: []string{"x-b", "b", "Cookie", "c", "Accept", "text/plain", "Authorization", "Basic x", "X-Ca-Key", "k"},
			want:    "/a?a=1&a=%32\nx-b: b\nAccept: text/plain",
		},
		"mapped, nothing defined": {
			route: control.Route{Path: "/a", Mode: control.Mapped}, target: "/a?", want: "/a?",
		},
		"mapped form": {
			route:  control.Route{Path: "/a", Mode: control.Mapped, Parameters: []control.Parameter{{Name: "a", In: "form"}}},
			target: "/a?q=1", body: "b=2&a=%41+&c", headers: []string{"Content-Type", isForm, "Content-MD5", "x"},
			want: "/a\nContent-Type: " + isForm + "\n| a=%41+",
		},
		"mapped body that is no form": {
			route: control.Route{Path: "/a", Mode: control.Mapped}, target: "/a", body: "{}", headers: []string{"Content-Type", "application/json"},
			want: "/a\nContent-Type: application/json",
		},
		"form to query, query to form": {
			route:  control.Route{Path: "/a", Parameters: []control.Parameter{{Name: "f", In: "form", To: "query"}, {Name: "q", In: "query", To: "form"}}},
			target: "/a?q=x%3D&f=forged", body: "f=1&g=2", headers: []string{"Content-Type", isForm, "Content-MD5", "x"},
			want: "/a?f=1\nContent-Type: " + isForm + "\n| g=2&q=x%3D",
		},
		"query to form without a body": {
			route:  control.Route{Path: "/a", Parameters: []control.Parameter{{Name: "q", In: "query", To: "form"}}},
			target: "/a?q=1", want: "/a\nContent-Type: " + isForm + "\n| q=1",
		},
		"query to form over another body": {
			route:  control.Route{Path: "/a", Parameters: []control.Parameter{{Name: "q", In: "query", To: "form"}}},
			target: "/a?q=1", body: "{}", headers: []string{"Content-Type", "application/json"}, want: "I400CT Invalid Content-Type: `this API takes a form`",
		},
		"constants and system parameters": {
			route: control.Route{Path: "/a", Name: "now", Product: "prd_a", UpstreamPath: "/[v]/a", Constants: []control.Constant{
				{Name: "v", In: "path", Value: "v2"}, {Name: "key", In: "query", Value: "s&c"}, {Name: "X-App", In: "header", System: "CaAppId"},
				{Name: "ip", In: "query", System: "CaClientIp"}, {Name: "X-Domain", In: "header", System: "CaDomain"},
				{Name: "X-At", In: "header", System: "CaRequestHandleTime"}, {Name: "X-Key", In: "header", System: "CaAppKey"},
				{Name: "X-Id", In: "header", System: "CaRequestId"}, {Name: "X-Api", In: "header", System: "CaApiName"},
				{Name: "X-Scheme", In: "header", System: "CaHttpSchema"}, {Name: "X-Proxy", In: "header", System: "CaProxy"},
				{Name: "X-Stage", In: "header", System: "CaStage"}, {Name: "X-Product", In: "header", System: "CaMarketplaceProduct"}}},
			target: "/a?key=forged&k%65y=forged&z", headers: []string{"x-app", "forged"},
			want: "/v2/a?z&key=s%26c&ip=192.0.2.7\nX-App: app_a\nX-Domain: api.test\nX-At: 2026-11-24T00:00:00Z\nX-Key: 1234\nX-Id: 00000000-0000-0000-0000-000000000001\nX-Api: now" +
				"\nX-Scheme: https\nX-Proxy: Souk\nX-Stage: RELEASE\nX-Product: prd_a",
		},
		// N5: the injection table.
		"line break into a header": {
			route:  control.Route{Path: "/a", Parameters: []control.Parameter{{Name: "q", In: "query", To: "header", ToName: "X-Q"}}},
			target: "/a?q=a%0D%0AX-Admin:1", want: "I400IP Invalid Parameter `q` its value cannot stand in a header",
		},
		"NUL into a header": {
			route:  control.Route{Path: "/a", Parameters: []control.Parameter{{Name: "q", In: "query", To: "header", ToName: "X-Q"}}},
			target: "/a?q=%00", want: "I400IP Invalid Parameter `q` its value cannot stand in a header",
		},
		"out of the path": {
			route:  control.Route{Path: "/a", UpstreamPath: "/a/[q]/b", Parameters: []control.Parameter{{Name: "q", In: "query", To: "path"}}},
			target: "/a?q=..%2F..%2Fadmin", want: "I400IP Invalid Parameter `q` its value cannot stand in a path",
		},
		"out of the path, escaped twice": {
			route:  control.Route{Path: "/a", UpstreamPath: "/a/[q]/b", Parameters: []control.Parameter{{Name: "q", In: "query", To: "path"}}},
			target: "/a?q=%252e%252e", want: "I400IP Invalid Parameter `q` its value cannot stand in a path",
		},
		"nothing into the path": {
			route:  control.Route{Path: "/a", UpstreamPath: "/a/[q]/b", Parameters: []control.Parameter{{Name: "q", In: "query", To: "path"}}},
			target: "/a?q=", want: "I400IP Invalid Parameter `q` its value cannot stand in a path",
		},
		"no value for the path": {
			route:  control.Route{Path: "/a", UpstreamPath: "/a/[q]/b", Parameters: []control.Parameter{{Name: "q", In: "query", To: "path"}}},
			target: "/a", want: "I400MP Parameter `q` is required",
		},
		"more parameters out of one": {
			route:  control.Route{Path: "/a", Parameters: []control.Parameter{{Name: "h", In: "header", To: "query"}}},
			target: "/a", headers: []string{"h", "1&admin=1#?/%00"}, want: "/a?h=1%26admin%3D1%23%3F%2F%2500",
		},
	} {
		t.Run(name, func(t *testing.T) {
			tt.route.Live = true
			m, err := Prepare(&tt.route)
			if err != nil {
				t.Fatal(err)
			}
			c := call(&tt.route, tt.target, tt.body, tt.headers...)
			before := string(c.Query) + text(c.Fields)
			got := ""
			if err := m.Apply(c); err != nil {
				var r *gate.Refusal
				if !errors.As(err, &r) {
					t.Fatal(err)
				}
				got = r.Error()
			} else {
				got = shown(c)
			}
			if got != tt.want {
				t.Errorf("the seller gets\n%s\nwant\n%s", got, tt.want)
			}
			if after := string(c.Query) + text(c.Fields); after != before {
				t.Errorf("the caller's own request became %q, was %q", after, before)
			}
		})
	}
}

func TestReadsBodyOnlyOfForms(t *testing.T) {
	r := &control.Route{Path: "/a", Parameters: []control.Parameter{{Name: "f", In: "form", To: "query"}}}
	m, err := Prepare(r)
	if err != nil {
		t.Fatal(err)
	}
	if !m.ReadsBody(call(r, "/a", "", "Content-Type", isForm)) || m.ReadsBody(call(r, "/a", "", "Content-Type", "text/plain")) {
		t.Error("it says wrongly whether it reads the body")
	}
	if (*Map)(nil).ReadsBody(call(r, "/a", "")) || (*Map)(nil).Apply(nil) != nil || (*Map)(nil).Reply(nil) {
		t.Error("no map does something")
	}
}

// A route that needs nothing has nothing.
func TestNothingToDo(t *testing.T) {
	m, err := Prepare(&control.Route{Path: "/u/[id]", Parameters: []control.Parameter{{Name: "id", In: "path"}, {Name: "q", In: "query"}}})
	if m != nil || err != nil {
		t.Errorf("made %v, %v", m, err)
	}
}

func TestMock(t *testing.T) {
	r := &control.Route{Path: "/a", Mock: &control.Mock{Status: 201, Headers: [][]string{{"Content-Type", "text/plain"}}, Body: "hello"}}
	m, err := Prepare(r)
	if err != nil {
		t.Fatal(err)
	}
	c := call(r, "/a", "")
	if !m.Reply(c) || !c.Replied() || c.Answer.Status != 201 || string(c.Answer.Body) != "hello" || c.Answer.Length != 5 ||
		string(c.Answer.Fields.Header([]byte("content-type"))) != "text/plain" {
		t.Errorf("the answer is %+v", c.Answer)
	}
	if c.Changed() != nil || m.Apply(c) != nil || c.Changed() != nil {
		t.Error("a mock changes the request")
	}
}

// What is wrong with a route is said in words, when it is saved.
func TestWrongRoutes(t *testing.T) {
	one := func(p control.Parameter) control.Route {
		return control.Route{Path: "/u/[id]", Parameters: []control.Parameter{p}}
	}
	constant := func(c control.Constant) control.Route {
		return control.Route{Path: "/a", Constants: []control.Constant{c}}
	}
	for _, tt := range []struct {
		route control.Route
		want  string
	}{
		{control.Route{Mode: "magic"}, `mode "magic" is not known`},
		{one(control.Parameter{Name: "a", In: "cookie"}), `its place is "cookie"`},
		{one(control.Parameter{Name: "", In: "query"}), "its place is"},
		{one(control.Parameter{Name: "x", In: "path"}), "the path /u/[id] has no [x]"},
		{one(control.Parameter{Name: "a", In: "query", To: "path"}), `goes to the seller's path, which has no [a]`},
		{one(control.Parameter{Name: "a", In: "query", To: "moon"}), `there is no place "moon"`},
		{one(control.Parameter{Name: "a", In: "query", To: "header", ToName: "Host"}), `the header "Host" is not for a route to write`},
		{one(control.Parameter{Name: "a", In: "query", To: "header", ToName: "X\r\nY"}), "is not for a route to write"},
		{one(control.Parameter{Name: "a", In: "query", To: "header", ToName: "transfer_encoding"}), "is not for a route to write"},
		{one(control.Parameter{Name: "a", In: "query", To: "header", ToName: "X-A", Default: "a\nb"}), "default cannot stand in a header"},
		{constant(control.Constant{Name: "X-A", In: "header", Value: "a\rb"}), "value cannot stand in a header"},
		{constant(control.Constant{Name: "a", In: "query", System: "CaMoon"}), `there is no system parameter "CaMoon"; there are CaApiName,`},
		{constant(control.Constant{Name: "a", In: "query", System: "CaAppId", Value: "x"}), "leave one out"},
		{constant(control.Constant{Name: "a", In: "path", Value: "x"}), "has no [a]"},
		{control.Route{Mock: &control.Mock{Status: 100}}, "status 100"},
		{control.Route{Mock: &control.Mock{Status: 204, Body: "x"}}, "has no body"},
		{control.Route{Mock: &control.Mock{Headers: [][]string{{"X-Ca-Error-Code", "x"}}}}, "is not for a route to write"},
		{control.Route{Mock: &control.Mock{Headers: [][]string{{"X-A", "\n"}}}}, "control character"},
		{control.Route{Mock: &control.Mock{Headers: [][]string{{"X-A"}}}}, "a name and a value"},
	} {
		if _, err := Prepare(&tt.route); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.route, err, tt.want)
		}
	}
}

// K12: an AppCode that auth cut out of the query stays out, whatever the mode.
func TestAppCodeStaysOut(t *testing.T) {
	r := &control.Route{Path: "/a", Constants: []control.Constant{{Name: "k", In: "query", Value: "1"}}}
	m, err := Prepare(r)
	if err != nil {
		t.Fatal(err)
	}
	c := call(r, "/a?AppCode=83359fd73fe94948385f570e3c139105&b=2", "", "Authorization", "APPCODE 83359fd73fe94948385f570e3c139105")
	c.Query = []byte("b=2")
	if err := m.Apply(c); err != nil {
		t.Fatal(err)
	}
	if got := shown(c); got != "/a?b=2&k=1" {
		t.Errorf("the seller gets %s", got)
	}
}

func text(fields gate.Fields) string {
	var b strings.Builder
	for _, f := range fields {
		b.Write(f.Name)
		b.WriteByte(':')
		b.Write(f.Value)
		b.WriteByte('\n')
	}
	return b.String()
}
