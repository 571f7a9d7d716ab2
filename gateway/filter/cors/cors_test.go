package cors

import (
	"strings"
	"testing"

	"github.com/souk-market/souk/gateway/filter/filtertest"
	"github.com/souk-market/souk/gateway/gate"
)

const shop = `{"origins":["https://shop.example","https://*.example.com:8443"],"methods":["get","POST"],"headers":["X-Trace"],
	"expose":["X-Total"],"credentials":true,"max_age":"10m"}`

// Protocol section 5: a preflight is answered here; the names of the protocol are allowed.
func TestPreflight(t *testing.T) {
	b := filtertest.New(t, "cors")
	chain := b.Make(shop)
	c := b.Call("OPTIONS /a", "Origin: https://Shop.example", "Access-Control-Request-Method: POST",
		"Access-Control-Request-Headers: x-ca-key, X-TRACE,authorization")
	filtertest.Refused(t, b.Run(chain, c, nil), "")
	a := &c.Answer
	if a.Status != 200 || a.Length != 0 || !a.Local {
		t.Errorf("answer %d, %d bytes, local %v", a.Status, a.Length, a.Local)
	}
	for name, want := range map[string]string{"Access-Control-Allow-Origin": "https://Shop.example", "Access-Control-Allow-Credentials": "true",
		"Access-Control-Allow-Methods": "GET, POST", "Access-Control-Max-Age": "600"} {
		if got := filtertest.Header(a.Fields, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	allowed := filtertest.Header(a.Fields, "Access-Control-Allow-Headers")
	for _, name := range append([]string{"X-Trace"}, protocolSends...) {
		if !strings.Contains(allowed+",", name+",") {
			t.Errorf("%s is not allowed by %s", name, allowed)
		}
	}
	for _, wrong := range [][2]string{{"DELETE", ""}, {"POST", "X-Evil"}, {"POST", "X-Trace, X-Evil"}, {"post", ""}} {
		c := b.Call("OPTIONS /a", "Origin: https://shop.example", "Access-Control-Request-Method: "+wrong[0], "Access-Control-Request-Headers: "+wrong[1])
		filtertest.Refused(t, b.Run(chain, c, nil), "")
		if got := filtertest.Header(c.Answer.Fields, "Access-Control-Allow-Methods"); got != "" {
			t.Errorf("%q is promised %s", wrong, got)
		}
	}
}

func TestOrigins(t *testing.T) {
	b := filtertest.New(t, "cors")
	chain := b.Make(shop)
	for origin, known := range map[string]bool{
		"https://shop.example": true, "HTTPS://SHOP.EXAMPLE": true, "https://a.example.com:8443": true, "https://a.b.example.com:8443": true,
		"http://shop.example": false, "https://shop.example:444": false, "https://shop.example.evil.test": false, "https://evilshop.example": false,
		"https://example.com:8443": false, "https://evil.test/.example.com:8443": false, "https://evil.test#.example.com:8443": false,
		"https://x@.example.com:8443": false, "null": false, "https://.example.com:8443": false,
		"https://" + strings.Repeat("a", 600) + ".example.com:8443": false,
	} {
		c := b.Call("OPTIONS /a", "Origin: "+origin, "Access-Control-Request-Method: GET")
		want := "A403CO Cross origin resource forbidden " + origin[:min(len(origin), 128)]
		if known {
			want = ""
		}
		filtertest.Refused(t, b.Run(chain, c, nil), want)
		c = b.Call("GET /a", "Origin: "+origin)
		filtertest.Refused(t, b.Run(chain, c, filtertest.OK("x", "Access-Control-Allow-Origin: *", "Access-Control-Allow-Credentials: true")), "")
		got := filtertest.Header(c.Answer.Fields, "Access-Control-Allow-Origin")
		if known && got != origin || !known && got != "" {
			t.Errorf("the answer to %s is for %q", origin, got)
		}
		if got := filtertest.Header(c.Answer.Fields, "Vary"); got != "Origin" {
			t.Errorf("Vary: %q", got)
		}
	}
}

// Protocol section 5: exposed names include the three of the protocol, on refusals, too.
func TestExposed(t *testing.T) {
	b := filtertest.New(t, "cors")
	chain := b.Make(shop)
	const want = "X-Ca-Request-Id, X-Ca-Error-Code, X-Ca-Error-Message, X-Total"
	c := b.Call("GET /a", "Origin: https://shop.example")
	b.Run(chain, c, filtertest.OK("x", "Access-Control-Expose-Headers: X-Secret"))
	if got := filtertest.Header(c.Answer.Fields, "Access-Control-Expose-Headers"); got != want {
		t.Errorf("exposed are %q, want %q", got, want)
	}
	c = b.Call("GET /a", "Origin: https://shop.example")
	filtertest.Refused(t, b.Run(chain, c, nil), gate.UpstreamTimeout.Error())
	if got := filtertest.Header(c.Answer.Fields, "Access-Control-Expose-Headers"); got != want {
		t.Errorf("exposed on a refusal are %q, want %q", got, want)
	}
	if !c.Origins {
		t.Error("the row is not told that the filter speaks for the call's origin")
	}
}

func TestAnyOriginAndBlock(t *testing.T) {
	b := filtertest.New(t, "cors")
	c := b.Call("GET /a", "Origin: https://anybody.test")
	b.Run(b.Make(`{"origins":["*"]}`), c, filtertest.OK("x"))
	if got := filtertest.Header(c.Answer.Fields, "Access-Control-Allow-Origin"); got != "*" {
		t.Errorf("the answer is for %q", got)
	}
	chain := b.Make(`{"origins":["*"],"headers":["*"]}`)
	c = b.Call("OPTIONS /a", "Origin: https://anybody.test", "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: x-new")
	b.Run(chain, c, nil)
	if got := filtertest.Header(c.Answer.Fields, "Access-Control-Allow-Headers"); !strings.Contains(got, "x-new") {
		t.Errorf("allowed are %q", got)
	}
	chain = b.Make(`{"origins":["https://a.test"],"block":true}`)
	filtertest.Refused(t, b.Run(chain, b.Call("GET /a", "Origin: https://b.test"), filtertest.OK("x")), "A403CO Cross origin resource forbidden https://b.test")
	filtertest.Refused(t, b.Run(chain, b.Call("GET /a"), filtertest.OK("x")), "") // no browser
}

func TestWrongSettings(t *testing.T) {
	filtertest.New(t, "cors").Wrong(map[string]string{
		`{}`:                                                 `it needs "origins"`,
		`{"origins":["*"],"credentials":true}`:               "cannot be had with any origin",
		`{"origins":["shop.example"]}`:                       "is no origin",
		`{"origins":["https://a.test/path"]}`:                "is no origin",
		`{"origins":["https://*"]}`:                          "is no origin",
		`{"origins":["https://a.*.test"]}`:                   "is no origin",
		`{"origins":["null"]}`:                               "cannot be told from others",
		`{"origins":["https://a.test"],"methods":[""]}`:      "is no method",
		`{"origins":["https://a.test"],"expose":["a\r\nb"]}`: "is no name of a header",
	})
}
