package access

import (
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/filter/filtertest"
)

func TestRules(t *testing.T) {
	b := filtertest.New(t, "access")
	chain := b.Make(`{"rules":[{"name":"day","allow":"time.getHours('Asia/Shanghai') < 22"},{"name":"no tests","deny":"has(query.test)"},
		{"name":"level","allow":"headers['x-level'] == '1'"}]}`)
	run := func(want string, lines ...string) {
		t.Helper()
		filtertest.Refused(t, b.Run(chain, b.Call(lines...), filtertest.OK("")), want)
	}
	run("", "GET /", "X-Level: 1")
	run("A403AC Access Control Forbidden by no tests", "GET /?test", "X-Level: 1")
	run("A403AC Access Control Forbidden by level", "GET /", "X-Level: 2")
	run("A403AC Access Control Forbidden by level", "GET /") // what is not there
	b.Pass(2 * time.Hour)
	run("A403AC Access Control Forbidden by day", "GET /", "X-Level: 1")
}

func TestWrongSettings(t *testing.T) {
	filtertest.New(t, "access").Wrong(map[string]string{
		`{}`:                           `it needs "rules"`,
		`{"rules":[{"allow":"true"}]}`: "a rule has a name",
		`{"rules":[{"name":"a"}]}`:     `either "allow" or "deny"`,
		`{"rules":[{"name":"a","allow":"true","deny":"true"}]}`:                                             `either "allow" or "deny"`,
		`{"rules":[{"name":"a","allow":"path"}]}`:                                                           `rule 1, "a": the rule says string; it should say yes or no`,
		`{"rules":[{"name":"a","deny":"headers.exists(k, headers[k].contains('a word of some length'))"}]}`: "more than the 50000",
	})
}
