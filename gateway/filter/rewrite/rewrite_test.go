package rewrite

import (
	"strings"
	"testing"

	"github.com/souk-market/souk/gateway/filter/filtertest"
	"github.com/souk-market/souk/gateway/gate"
)

func TestRequest(t *testing.T) {
	b := filtertest.New(t, "rewrite")
	chain := b.Make(`{"request":{
		"headers":{"set":{"X-App":"${app.id}","x-q":"[${query.q}]"},"add":{"X-Trace":"2"},"remove":["X-Debug"]},
		"query":{"set":{"city":"${header.X-City}"},"remove":["debug"]},
		"path":"/v2/${path.*}/end",
		"body":{"text":"{\"q\":\"${query.q}\",\"was\":${body}}","type":"application/json"}}}`)
	if len(chain.Answer)+len(chain.Whole) != 0 {
		t.Error("a filter of requests has phases of answers")
	}
	c := b.Call("POST /a?q=x%0Ay%22&d%65bug=1&city=old&k;l&e=", "X-App: forged", "x_app: forged", "X-DEBUG: 1", "X-Trace: 1", "X-City: a&b",
		"Content-MD5: old", "", `{"a":1}`)
	filtertest.Refused(t, b.Run(chain, c, filtertest.OK("")), "")
	o := c.Outgoing()
	if got, want := string(o.Path)+"?"+string(o.Query), "/v2/a/end?q=x%0Ay%22&k;l&e=&city=a%26b"; got != want {
		t.Errorf("the seller is asked %s, want %s", got, want)
	}
	for name, want := range map[string]string{"X-App": "app_a", "x-q": "[x y\"]", "X-Trace": "1 | 2", "X-Debug": "", "x_app": "",
		"Content-Type": "application/json", "Content-MD5": ""} {
		if got := filtertest.Header(o.Fields, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got, want := string(o.Body), `{"q":"x\u000ay\"","was":{"a":1}}`; got != want || !o.HasBody {
		t.Errorf("body %s, want %s", got, want)
	}
	if got := filtertest.Header(c.Fields, "X-App"); got != "forged" {
		t.Errorf("the caller's own request became %q", got)
	}
}

// N5: a path template leads nowhere but where it says.
func TestPathCannotBeLeft(t *testing.T) {
	b := filtertest.New(t, "rewrite")
	chain := b.Make(`{"request":{"path":"/v2/${query.p}/x"}}`)
	for p, want := range map[string]string{"a%2Fb": "/v2/a%2Fb/x", "..": "", "%2e%2e": "", "a%2F..%2F..": "", "%252e%252e": "", "a%3Fb": "/v2/a%3Fb/x"} {
		c := b.Call("GET /?p=" + p)
		r := b.Run(chain, c, filtertest.OK(""))
		switch {
		case want == "":
			filtertest.Refused(t, r, "I400IP Invalid Parameter `path` its value cannot stand in a path")
		case string(c.Outgoing().Path) != want:
			t.Errorf("%s became %s, want %s", p, c.Outgoing().Path, want)
		}
	}
}

func TestAnswer(t *testing.T) {
	b := filtertest.New(t, "rewrite")
	chain := b.Make(`{"answer":{"when":["2xx"],"status":201,"headers":{"set":{"X-Was":"${answer.status} ${answer.header.Server}"},"remove":["Server"]},
		"body":{"text":"{\"data\":${body},\"id\":\"${request.id}\"}","type":"application/json"}},"max_body":20}`)
	run := func(status int, body string) *gate.Call {
		c := b.Call("GET /")
		b.Run(chain, c, func(*gate.Call) (int, []string) {
			return status, []string{"Server: s", "ETag: e", "Content-Type: x", "", body}
		})
		return c
	}
	c := run(200, `{"t":21}`)
	if got, want := string(c.Answer.Body), `{"data":{"t":21},"id":"`+c.ID.String()+`"}`; got != want || c.Answer.Length != int64(len(want)) || c.Answer.Status != 201 {
		t.Errorf("the caller gets %d %s, want %s", c.Answer.Status, got, want)
	}
	for name, want := range map[string]string{"X-Was": "200 s", "Server": "", "ETag": "", "Content-Type": "application/json"} {
		if got := filtertest.Header(c.Answer.Fields, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for _, c := range []*gate.Call{run(404, "x"), run(200, strings.Repeat("x", 21))} {
		if filtertest.Header(c.Answer.Fields, "Server") != "s" || filtertest.Header(c.Answer.Fields, "X-Was") != "" || c.Answer.Status == 201 {
			t.Errorf("rewritten: %+v", c.Answer)
		}
	}
	c = b.Call("HEAD /")
	b.Run(chain, c, func(*gate.Call) (int, []string) { return 200, nil })
	if len(c.Answer.Body) != 0 {
		t.Error("a HEAD got a body")
	}
}

// O3, P1: what is not rewritten is not read.
func TestReadsOnlyWhatItNeeds(t *testing.T) {
	b := filtertest.New(t, "rewrite")
	for with, want := range map[string]int64{
		`{"request":{"headers":{"set":{"A":"b"}}}}`:                      0,
		`{"request":{"body":{"text":"fixed"}}}`:                          0,
		`{"request":{"body":{"text":"${body}"}}}`:                        DefaultBody,
		`{"request":{"headers":{"set":{"A":"${form.a}"}}},"max_body":9}`: 9,
		`{"answer":{"body":{"text":"${body}"}}}`:                         0,
	} {
		if chain := b.Make(with); chain.Body != want {
			t.Errorf("%s reads %d, want %d", with, chain.Body, want)
		}
	}
	c := b.Call("POST /")
	b.Run(b.Make(`{"request":{"body":{"text":"${body}"}},"answer":{"status":201},"max_body":9}`), c, filtertest.OK(""))
	if c.MaxBody != 9 {
		t.Errorf("a body that is rewritten is bounded to %d", c.MaxBody)
	}
	c = b.Call("GET /")
	b.Run(b.Make(`{"answer":{"headers":{"set":{"A":"${answer.status}"}}}}`), c, filtertest.OK("x"))
	if c.Answer.Wanted() != 0 || filtertest.Header(c.Answer.Fields, "A") != "200" {
		t.Errorf("wants %d, fields %v", c.Answer.Wanted(), c.Answer.Fields)
	}
}

func TestWrongSettings(t *testing.T) {
	filtertest.New(t, "rewrite").Wrong(map[string]string{
		`{}`: "it rewrites nothing",
		`{"request":{"headers":{"set":{"Host":"x"}}}}`:              `"Host" is not for a filter to write`,
		`{"request":{"headers":{"set":{"transfer_encoding":"x"}}}}`: "is not for a filter to write",
		`{"request":{"headers":{"remove":["Content-Length"]}}}`:     "is not for a filter to remove",
		`{"answer":{"headers":{"set":{"X-Ca-Request-Id":"x"}}}}`:    "is not for a filter to write",
		`{"request":{"headers":{"set":{"A":"a\r\nB: c"}}}}`:         "line break",
		`{"request":{"headers":{"set":{"A":"${answer.status}"}}}}`:  "there is no value",
		`{"request":{"path":"v2"}}`:                                 "begins with a slash",
		`{"request":{"path":"/../x"}}`:                              "leads upwards",
		`{"request":{"path":"/a?b"}}`:                               "no path has",
		`{"answer":{"when":["20x"]}}`:                               `"20x" is no status`,
		`{"answer":{"status":204}}`:                                 "from 200 to 599",
		`{"max_body":0,"request":{}}`:                               "from 1 to",
		`{"request":{"query":{"set":{"":"x"}}}}`:                    "is not for a filter to write",
	})
}
