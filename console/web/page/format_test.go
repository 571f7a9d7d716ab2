package page

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/souk-market/souk/console/market"
)

func TestNumbersAndMoney(t *testing.T) {
	is := func(got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	is(string(number(99_999_999)), "<data class=\"num\" value=\"99999999\">99\u2009999\u2009999</data>")
	is(string(number(0)), `<data class="num" value="0">0</data>`)
	is(Grouped(-1268), "\u22121\u2009\u2060268")
	is(string(money(7900)), `<data class="money" value="79.00">¥79.00</data>`)
	is(string(money(0)), `<data class="money" value="0.00">¥0.00</data>`)
	is(string(money(-2000)), `<data class="money" value="-20.00">`+"\u2212"+`¥20.00</data>`)
	is(unitPrice(0.0079), "¥0.0079")
	is(unitPrice(0.05), "¥0.05")
	is(share(3, 1000), "< 1%")
	is(share(9999, 10000), "99.9%") // 100% only when it is all
	is(share(10000, 10000), "100%")
	is(share(0, 0), "0%")
	is(millis(86), "86 ms")
	is(millis(3004), "3.0 s")
	f, u := large("zh", 42_100_000)
	is(f+u, "4\u2009\u2060210万")
	f, u = large("en", 42_100_000)
	is(f+u, "42.1M")
	var none market.Fen
	is(string(money(none)), `<data class="money" value="0.00">¥0.00</data>`)
}

// What stands in a sample is text, whatever it looks like.
func TestCodeIsEscaped(t *testing.T) {
	got := string(code("// <b>\nreturn \"<script>\" & x\n"))
	want := `<span class="cc">// &lt;b&gt;</span>` + "\n" + `<span class="cw">return</span> <span class="cs">&#34;&lt;script&gt;&#34;</span> &amp; x` + "\n"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := string(code("curl http://a.example/x")); !strings.Contains(got, "http://a.example/x") {
		t.Errorf("an address is no comment: %s", got)
	}
}

func TestChartOfNothing(t *testing.T) {
	s := &Set{}
	if got := s.chart(time.UTC, nil, "none", "chart-wide"); got != "" {
		t.Errorf("no points: %s", got)
	}
	one := s.chart(time.UTC, []Bar{{At: time.Unix(0, 0), Charged: 99_999_999}}, "one", "chart-wide")
	if !strings.Contains(string(one), `role="img" aria-label="one"`) {
		t.Errorf("one point: %s", one)
	}
}

func TestWordsAreComplete(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	role := `"role.buyer": "-", "role.seller": "-", "role.operator": "-"`
	src := func(zh, en, html string) Source {
		return Source{Name: "x", Words: fstest.MapFS{"zh.json": file("{" + role + zh + "}"), "en.json": file("{" + role + en + "}")},
			Pages: fstest.MapFS{"show.html": file(html)}}
	}
	page := `{{define "content"}}{{t "x.a"}}{{end}}`
	for _, c := range []struct{ zh, en, html, want string }{
		{`, "x.a": "甲"`, `, "x.a": "A"`, page, ""},
		{`, "x.a": "甲"`, ``, page, `"x.a" is in zh and not in en`},
		{`, "x.a": "甲 {n}"`, `, "x.a": "A"`, page, `fills in`},
		{``, ``, page, `nobody says "x.a"`},
		{`, "x.a": "甲"`, `, "x.a": "A"`, `{{t "x.a"}}`, `does not define "content"`},
		{`, "x.a": "甲"`, `, "x.a": "A"`, `{{define "content"}}{{if}}{{end}}`, `missing value for if`},
	} {
		_, err := New(time.UTC, src(c.zh, c.en, c.html))
		switch {
		case c.want == "" && err != nil:
			t.Error(err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("got %v, want an error that says %s", err, c.want)
		}
	}
}
