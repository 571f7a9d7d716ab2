package page

import (
	"fmt"
	"html/template"
	"net/url"
	"strings"
	"time"

	"github.com/souk-market/souk/console/market"
)

// funcs are what templates may call, in one language.
func (s *Set) funcs(lang string, zone *time.Location) template.FuncMap {
	when := func(layout string) func(any) template.HTML {
		return func(v any) template.HTML {
			t, ok := moment(v)
			if !ok {
				return template.HTML(`<span class="none" aria-label="` + template.HTMLEscapeString(s.T(lang, "part.unknown")) + `">—</span>`)
			}
			return timeTag(t, zone, layout)
		}
	}
	return template.FuncMap{
		"t":        func(key string, args ...any) string { return s.T(lang, key, args...) },
		"tn":       func(key string, n any, args ...any) string { return s.N(lang, key, toInt(n), args...) },
		"lang":     func() string { return lang },
		"text":     func(t market.Text) string { return t.In(lang) },
		"other":    other(lang),
		"num":      number,
		"grouped":  func(n any) string { return Grouped(toInt(n)) },
		"large":    func(n any) Figure { f, u := large(lang, toInt(n)); return Figure{f, u} },
		"money":    money,
		"former":   func(f market.Fen) template.HTML { return s.former(lang, f) },
		"stars":    stars,
		"code":     code,
		"yuan":     func(f market.Fen) string { return f.Yuan() },
		"unit":     unitPrice,
		"share":    func(a, b any) string { return share(toInt(a), toInt(b)) },
		"percent":  percent,
		"millis":   millis,
		"date":     when("2006-01-02"),
		"datetime": when("2006-01-02 15:04:05"),
		"clock":    when("15:04:05"),
		"ago":      func(now time.Time, v any) template.HTML { return s.ago(lang, zone, now, v) },
		"icon":     icon,
		"asset":    Asset,
		"dict":     dict,
		"list":     func(v ...any) []any { return v },
		"plus":     func(a, b int) int { return a + b },
		"minus":    func(a, b any) int64 { return toInt(a) - toInt(b) },
		"upto":     func(n int) []int { return make([]int, max(0, n)) },
		"contains": strings.Contains,
		"with_":    withQuery,
		"usagebar": func(total any, parts ...any) template.HTML {
			var used []int64
			for _, p := range parts {
				if list, ok := p.([]any); ok { // the parts of several packages, as a list
					for _, x := range list {
						used = append(used, toInt(x))
					}
					continue
				}
				used = append(used, toInt(p))
			}
			return usageBar(toInt(total), used...)
		},
		"spark":     spark,
		"sparkmid":  sparkMid,
		"sparkwide": sparkWide,
		"chart": func(b []Bar, label string) template.HTML {
			return s.chart(zone, b, label, "chart-wide") + s.chart(zone, b[max(0, len(b)-14):], label, "chart-phone")
		},
		"partsample": Sample,
		"bars":       bars,
		"sums":       sums,
		"lines":      func(text string) []string { return strings.Split(strings.TrimRight(text, "\n"), "\n") },
		"first":      func(text string) string { a, _, _ := strings.Cut(text, " "); return a },
		"path":       url.PathEscape,
	}
}

// Figure is a large number and its unit.
type Figure struct{ Number, Unit string }

// other marks a text that is not in the page's language, for readers and quotes.
func other(lang string) func(market.Text) template.HTMLAttr {
	return func(t market.Text) template.HTMLAttr {
		switch {
		case lang == "zh" && t.ZH == "" && t.EN != "":
			return `lang="en"`
		case lang == "en" && t.EN == "" && t.ZH != "":
			return `lang="zh-CN"`
		}
		return ""
	}
}

// dict makes the argument of a part: name, value pairs.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("dict wants pairs, has %d values", len(pairs))
	}
	m := make(map[string]any, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		m[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	return m, nil
}

// withQuery is an address with some parameters of its query set anew: name, value pairs;
// an empty value drops one. What else is asked for stays, so that filters are kept.
func withQuery(address string, pairs ...any) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	q := u.Query()
	for i := 0; i+1 < len(pairs); i += 2 {
		if v := fmt.Sprint(pairs[i+1]); v == "" {
			q.Del(fmt.Sprint(pairs[i]))
		} else {
			q.Set(fmt.Sprint(pairs[i]), v)
		}
	}
	u.RawQuery = q.Encode()
	return u.String()
}
