package errors

import (
	"testing"

	"github.com/souk-market/souk/gateway/filter/filtertest"
	"github.com/souk-market/souk/gateway/gate"
)

const rules = `{"rules":[
	{"statuses":["404"],"status":410,"headers":{"X-Was":"${answer.status}"}},
	{"statuses":["4xx","5xx"],"status":502,"body":"{\"id\":\"${request.id}\",\"was\":${answer.status}}","type":"application/json"},
	{"codes":["T429*"],"status":503,"body":"<p>${error.code}: ${error.message}</p>","type":"text/html","headers":{"X-A":"b"}},
	{"codes":["D504TO"],"headers":{"X-Slow":"yes"}}]}`

func TestSellersErrors(t *testing.T) {
	b := filtertest.New(t, "errors")
	chain := b.Make(rules)
	run := func(status int) *gate.Call {
		c := b.Call("GET /")
		filtertest.Refused(t, b.Run(chain, c, func(*gate.Call) (int, []string) {
			return status, []string{"Content-Type: text/plain", "ETag: e", "X-Keep: k", "", "seller's stack trace"}
		}), "")
		return c
	}
	if c := run(404); c.Answer.Status != 410 || filtertest.Header(c.Answer.Fields, "X-Was") != "404" || filtertest.Header(c.Answer.Fields, "ETag") != "e" || c.Answer.Whole {
		t.Errorf("404 became %+v", c.Answer)
	}
	c := run(500)
	if got, want := string(c.Answer.Body), `{"id":"`+c.ID.String()+`","was":500}`; c.Answer.Status != 502 || got != want || c.Answer.Length != int64(len(want)) || !c.Answer.Whole {
		t.Errorf("500 became %d %s, want %s", c.Answer.Status, got, want)
	}
	for name, want := range map[string]string{"Content-Type": "application/json", "ETag": "", "X-Keep": "k"} {
		if got := filtertest.Header(c.Answer.Fields, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if c := run(200); c.Answer.Status != 200 || c.Answer.Whole {
		t.Errorf("200 became %+v", c.Answer)
	}
}

// Refusals are left alone unless a rule names them.
func TestRefusals(t *testing.T) {
	b := filtertest.New(t, "errors")
	chain := b.Make(rules)
	refuse := func(r *gate.Refusal) *gate.Call {
		c := b.Call("GET /")
		for _, f := range chain.Refuse {
			f.Refused(c, r)
		}
		return c
	}
	c := refuse(gate.ThrottledApp)
	if got, want := string(c.Answer.Body), "<p>T429PR: Throttled by PLUGIN Flow Control</p>"; c.Answer.Status != 503 || got != want || !c.Replied() {
		t.Errorf("a throttled call gets %d %q, want %q", c.Answer.Status, got, want)
	}
	if got := filtertest.Header(c.Answer.Fields, "X-A") + filtertest.Header(c.Answer.Fields, "Content-Type"); got != "btext/html" {
		t.Errorf("headers %q", got)
	}
	if c := refuse(gate.UpstreamTimeout); c.Replied() || filtertest.Header(c.Answer.Fields, "X-Slow") != "yes" {
		t.Errorf("a late seller: %+v", c.Answer)
	}
	if c := refuse(gate.QuotaExhausted); c.Replied() || len(c.Answer.Fields) > 0 {
		t.Errorf("an exhausted package: %+v", c.Answer)
	}
	if chain := b.Make(`{"rules":[{"statuses":["5xx"],"status":502}]}`); len(chain.Refuse) != 0 || len(chain.Answer) != 1 {
		t.Errorf("phases without a rule: %+v", chain) // O3
	}
}

func TestWrongSettings(t *testing.T) {
	filtertest.New(t, "errors").Wrong(map[string]string{
		`{}`:                                                                 `it needs "rules"`,
		`{"rules":[{"status":502}]}`:                                         `rule 1: it needs either "statuses"`,
		`{"rules":[{"statuses":["abc"]}]}`:                                   `"abc" is no status`,
		`{"rules":[{"statuses":["500"]}]}`:                                   "it changes nothing",
		`{"rules":[{"codes":["*x"],"body":""}]}`:                             `"*x" is no code`,
		`{"rules":[{"statuses":["500"],"status":304}]}`:                      "from 200 to 599",
		`{"rules":[{"statuses":["500"],"body":"${body}"}]}`:                  "use the filter rewrite",
		`{"rules":[{"statuses":["500"],"headers":{"X-Ca-Error-Code":"x"}}]}`: "is not for a filter to write",
		`{"rules":[{"statuses":["500"],"body":"${error.code}"}]}`:            "there is no value",
	})
}
