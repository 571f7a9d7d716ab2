package page

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/souk-market/souk/console/market"
)

// Digits stand in groups of three with a thin space between. In a sentence a word joiner
// after the space keeps the line from breaking there; in an element the style does.
const (
	thin       = "\u2009"
	thinJoined = "\u2009\u2060"
)

// Grouped writes a number in groups of three, to stand in a sentence.
func Grouped(n int64) string { return groups(n, thinJoined) }

func groups(n int64, space string) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "\u2212", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + space + s[i:]
	}
	return sign + s
}

// number is a count that a program can read too.
func number(n any) template.HTML {
	i := toInt(n)
	return template.HTML(fmt.Sprintf(`<data class="num" value="%d">%s</data>`, i, groups(i, thin)))
}

func toInt(n any) int64 {
	switch v := n.(type) {
	case int:
		return int64(v)
	case int32:
		return int64(v)
	case int64:
		return v
	case market.Fen:
		return int64(v)
	case float64:
		return int64(v)
	}
	return 0
}

// large is a figure of many digits in short: 4 210 万, 4.21 亿; 42.1 M, 421 M.
func large(lang string, n int64) (figure, unit string) {
	type step struct {
		over float64
		by   float64
		unit string
	}
	steps := []step{{1e8, 1e8, "亿"}, {1e6, 1e4, "万"}}
	if lang == "en" {
		steps = []step{{1e9, 1e9, "B"}, {1e6, 1e6, "M"}}
	}
	for _, s := range steps {
		if v := float64(n); v >= s.over {
			v /= s.by
			if v < 100 {
				return strconv.FormatFloat(math.Floor(v*100)/100, 'f', -1, 64), s.unit
			}
			return Grouped(int64(v)), s.unit
		}
	}
	return Grouped(n), ""
}

// money is ¥79.00: sign, no space, two decimals always, a true minus.
func money(f market.Fen) template.HTML {
	sign, minus := "", ""
	if f < 0 {
		sign, minus, f = "\u2212", "-", -f // a program reads a hyphen, a person a true minus
	}
	whole := groups(int64(f/100), thin)
	return template.HTML(fmt.Sprintf(`<data class="money" value="%s%s">%s¥%s.%02d</data>`, minus, f.Yuan(), sign, whole, f%100))
}

// former is a price that no longer holds: struck through, and said to be former.
func (s *Set) former(lang string, f market.Fen) template.HTML {
	return template.HTML(`<s class="was"><span class="vh">` + template.HTMLEscapeString(s.T(lang, "part.former_price")) + ` </span>` + string(money(f)) + `</s>`)
}

// stars are five, filled up to the score. The figure beside them is the information, so a
// reader hears that and not the drawing.
func stars(score float64) template.HTML {
	const star = `M10 2.2l2.4 5 5.4.7-4 3.8 1 5.4-4.8-2.6-4.8 2.6 1-5.4-4-3.8 5.4-.7z`
	var b strings.Builder
	b.WriteString(`<svg class="stars" viewBox="0 0 100 20" aria-hidden="true">`)
	for i := range 5 {
		class := ""
		if float64(i)+0.5 > score {
			class = ` class="off"`
		}
		fmt.Fprintf(&b, `<path%s transform="translate(%d 0)" d="%s"/>`, class, 20*i, star)
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

// unitPrice has up to four decimals, at least two.
func unitPrice(yuan float64) string {
	s := strconv.FormatFloat(yuan, 'f', 4, 64)
	for strings.HasSuffix(s, "0") && len(s)-strings.IndexByte(s, '.') > 3 {
		s = s[:len(s)-1]
	}
	return "¥" + s
}

// share is a part in per cent, rounded down: 100% only when it is all.
func share(part, whole int64) string {
	switch {
	case whole <= 0 || part <= 0:
		return "0%"
	case part >= whole:
		return "100%"
	case part*100 < whole:
		return "< 1%"
	}
	return strconv.FormatFloat(math.Floor(float64(part)/float64(whole)*1000)/10, 'f', -1, 64) + "%"
}

func percent(v float64) string {
	if v >= 100 {
		return "100"
	}
	return strconv.FormatFloat(math.Floor(v*100)/100, 'f', -1, 64)
}

// millis is a duration: 86 ms, 3.0 s.
func millis(ms float64) string {
	switch {
	case ms >= 1000:
		return strconv.FormatFloat(ms/1000, 'f', 1, 64) + " s"
	case ms >= 10:
		return strconv.FormatFloat(ms, 'f', 0, 64) + " ms"
	}
	return strconv.FormatFloat(ms, 'f', 1, 64) + " ms"
}

// moment is what times come as: a time, a pointer to one, or nothing.
func moment(v any) (time.Time, bool) {
	switch t := v.(type) {
	case time.Time:
		return t, !t.IsZero()
	case *time.Time:
		if t != nil {
			return *t, !t.IsZero()
		}
	}
	return time.Time{}, false
}

func timeTag(t time.Time, zone *time.Location, layout string) template.HTML {
	t = t.In(zone)
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s">%s</time>`, t.Format(time.RFC3339),
		t.Format("2006-01-02 15:04:05 -07:00"), t.Format(layout)))
}

// ago is relative for the last day, and a date before.
func (s *Set) ago(lang string, zone *time.Location, now time.Time, v any) template.HTML {
	t, ok := moment(v)
	if !ok {
		return template.HTML(template.HTMLEscapeString(s.T(lang, "part.never")))
	}
	d := now.Sub(t)
	var text string
	switch {
	case d < time.Minute && d > -time.Minute:
		text = s.T(lang, "part.just_now")
	case d < 0 || d >= 24*time.Hour:
		return timeTag(t, zone, "2006-01-02")
	case d < time.Hour:
		text = s.N(lang, "part.minutes_ago", int64(d/time.Minute))
	default:
		text = s.N(lang, "part.hours_ago", int64(d/time.Hour))
	}
	at := t.In(zone)
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s">%s</time>`, at.Format(time.RFC3339),
		at.Format("2006-01-02 15:04:05 -07:00"), template.HTMLEscapeString(text)))
}
