package route

import (
	"errors"
	"fmt"
	"testing"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
)

func table() *Table {
	var t Table
	var routes []*control.Route
	add := func(stage control.Stage, method, path string, live bool) {
		id := control.RouteID(fmt.Sprintf("%s %s%s", method, path, stage))
		routes = append(routes, &control.Route{ID: id, Group: "grp_a", Stage: stage, Method: method, Path: path, Live: live})
	}
	add("", "GET", "/user/[id]", true)
	add("", "POST", "/user/[name]", true)
	add("", "GET", "/user/me", true)
	add("", "GET", "/user/[id]/pets/[pet]", true)
	add("", "ANY", "/any", true)
	add("", "PUT", "/any", true)
	add("", "GET", "/files/[*]", true)
	add("", "GET", "/files/list", true)
	add("", "GET", "/北京", true)
	add("", "HEAD", "/head", true)
	add("", "GET", "/dead", false)
	add("", "GET", "/", true)
	add(control.Test, "GET", "/new", true)
	routes = append(routes, &control.Route{ID: "other", Group: "grp_b", Method: "GET", Path: "/", Live: true})
	t.Build([]*control.Group{{ID: "grp_a", Domains: []string{"api.test", "[::1]"}, Live: true}, {ID: "grp_b", Domains: []string{"off.test"}}}, routes, nil)
	return &t
}

func call(host, stage, method, path string) *gate.Call {
	c := &gate.Call{Host: []byte(host), Method: []byte(method), Path: []byte(path)}
	if stage != "" {
		c.Fields = gate.Fields{{Name: []byte("x-CA-stage"), Value: []byte(stage)}}
	}
	return c
}

// Where a call leads, or why nowhere. Protocol section 1.
func TestWays(t *testing.T) {
	routes := table()
	for _, x := range []struct{ host, stage, method, path, want string }{
		{"api.test", "", "GET", "/user/7", "GET /user/[id] id=7"},
		{"API.test:8080", "", "POST", "/user/7", "POST /user/[name] name=7"},
		{"api.test.", "release", "GET", "/user/me", "GET /user/me"},
		{"[::1]:80", "", "GET", "/user/me", "GET /user/me"},
		{"api.test", "", "POST", "/user/me", "POST /user/[name] name=me"}, // the static one has no POST
		{"api.test", "", "GET", "/user/m%65", "GET /user/me"},
		{"api.test", "", "GET", "/user/a%2Fb", "GET /user/[id] id=a%2Fb"},
		{"api.test", "", "GET", "/user/7/pets/x", "GET /user/[id]/pets/[pet] id=7 pet=x"},
		{"api.test", "", "GET", "/user/me/pets/x", "GET /user/[id]/pets/[pet] id=me pet=x"},
		{"api.test", "", "DELETE", "/any", "ANY /any"},
		{"api.test", "", "PUT", "/any", "PUT /any"},
		{"api.test", "", "GET", "/files/a/b//c", "GET /files/[*] *=a/b//c"},
		{"api.test", "", "GET", "/files/", "GET /files/[*] *="},
		{"api.test", "", "GET", "/files/list", "GET /files/list"},
		{"api.test", "", "GET", "/files/list/x", "GET /files/[*] *=list/x"},
		{"api.test", "", "GET", "/%E5%8C%97%e4%ba%ac", "GET /北京"},
		{"api.test", "", "GET", "/北京", "GET /北京"},
		{"api.test", "", "HEAD", "/user/me", "GET /user/me"},
		{"api.test", "", "HEAD", "/head", "HEAD /head"},
		{"api.test", "", "GET", "/", "GET /"},
		{"api.test", "tEsT", "GET", "/new", "GET /newTEST"},
		{"api.test", "", "GET", "/new", "I404NF"},
		{"api.test", "", "GET", "/files", "I404NF"},
		{"api.test", "", "GET", "/user/", "I404NF"},
		{"api.test", "", "GET", "/user/7/", "I404NF"},
		{"api.test", "", "GET", "/USER/7", "I404NF"},
		{"api.test", "", "GET", "/dead", "I404NF"},
		{"api.test", "", "GET", "/head", "I405UM"},
		{"api.test", "", "DELETE", "/user/7", "I405UM"},
		{"api.test", "", "get", "/user/7", "I405UM"},
		{"api.test", "", "GET", "/user/..", "I400PA"},
		{"api.test", "", "GET", "/files/..%2f..%5Cx", "I400PA"},
		{"api.test", "", "GET", "/files/a%00", "I400PA"},
		{"api.test", "PROD", "GET", "/", "I400SG"},
		{"api.test", "ＴＥＳＴ", "GET", "/", "I400SG"},
		{"off.test", "", "GET", "/", "I404DO"},
		{"", "", "GET", "/", "I404DO"},
	} {
		c := call(x.host, x.stage, x.method, x.path)
		got := ""
		var refusal *gate.Refusal
		if err := routes.Pass(c); errors.As(err, &refusal) {
			got = refusal.Code
		} else {
			got = string(c.Route.ID)
			for _, p := range c.Params {
				got += " " + p.Name + "=" + string(p.Value)
			}
		}
		if got != x.want {
			t.Errorf("%s %s %s %s: %q, want %q", x.host, x.stage, x.method, x.path, got, x.want)
		}
	}
}

func TestMatchingAllocatesNothing(t *testing.T) {
	routes := table()
	c := call("api.test:80", "", "GET", "/user/7/pets/x")
	c.Params = make([]gate.Param, 0, 4)
	if n := testing.AllocsPerRun(1000, func() {
		if err := routes.Pass(c); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
