package page

import (
	"fmt"
	"html/template"
	"math"
	"reflect"
	"strings"
	"time"
)

// Bar is one bar of a chart: counts within one step of time.
type Bar struct {
	At                     time.Time
	Charged, Free, Refused int64
}

// bars takes any slice of structs with the fields of Bar.
func bars(points any) []Bar {
	v := reflect.ValueOf(points)
	out := make([]Bar, v.Len())
	for i := range out {
		p := v.Index(i)
		out[i] = Bar{p.FieldByName("At").Interface().(time.Time), p.FieldByName("Charged").Int(), p.FieldByName("Free").Int(), p.FieldByName("Refused").Int()}
	}
	return out
}

// sums adds bars up, for the legend.
func sums(list []Bar) (s Bar) {
	for _, b := range list {
		s.Charged += b.Charged
		s.Free += b.Free
		s.Refused += b.Refused
	}
	return s
}

// ceiling is a round number at or above n, with a step that divides it into few parts.
func ceiling(n int64) (top, step int64) {
	if n < 4 {
		return 4, 1
	}
	raw := float64(n) / 4
	mag := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 2.5, 5, 10} {
		if s := m * mag; s >= raw && s == math.Floor(s) {
			step = int64(s)
			return step * int64(math.Ceil(float64(n)/float64(step))), step
		}
	}
	step = int64(10 * mag)
	return step * 4, step
}

const (
	plotTop    = 10  // room for half a line of text above the highest rule
	plotHeight = 186 // of the bars
	chartTall  = 220 // with the dates below
)

// chart draws stacked bars: charged at the base, not charged above, refused on top. Its
// figures stand in a table that the part "chart" puts below.
//
// Across, everything is in per cent of the plot, which is as wide as there is room; down,
// and in its text, it is in pixels. So the text has 12 of them on a phone and on a desk.
func (s *Set) chart(zone *time.Location, list []Bar, label, class string) template.HTML {
	if len(list) == 0 {
		return ""
	}
	var most int64
	for _, b := range list {
		most = max(most, b.Charged+b.Free+b.Refused)
	}
	top, step := ceiling(most)
	y := func(n int64) float64 { return plotTop + plotHeight*(1-float64(n)/float64(top)) }
	var b strings.Builder
	fmt.Fprintf(&b, `<div class="chart %s" role="img" aria-label="%s"><svg class="scale" aria-hidden="true">`, class, template.HTMLEscapeString(label))
	for n := int64(0); n <= top; n += step {
		fmt.Fprintf(&b, `<text class="axis" x="100%%" y="%.1f" text-anchor="end">%s</text>`, y(n)+4, Grouped(n))
	}
	fmt.Fprintf(&b, `</svg><svg class="%s" aria-hidden="true">`, class)
	for n := int64(0); n <= top; n += step {
		fmt.Fprintf(&b, `<line class="rule" x2="100%%" y1="%.1f" y2="%.1f"/>`, y(n), y(n))
	}
	slot := 100 / float64(len(list))
	width := math.Min(5, slot*0.66)
	hourly := len(list) > 1 && list[1].At.Sub(list[0].At) < 24*time.Hour
	layout := "01-02"
	if hourly {
		layout = "15:04"
	}
	every := max(1, (len(list)+4)/5)
	for i, p := range list {
		x := slot*float64(i) + (slot-width)/2
		base := int64(0)
		for _, part := range []struct {
			n     int64
			class string
		}{{p.Charged, "c1"}, {p.Free, "c2"}, {p.Refused, "c3"}} {
			if part.n == 0 {
				continue
			}
			height := math.Max(1.5, y(base)-y(base+part.n))
			fmt.Fprintf(&b, `<rect class="%s" x="%.2f%%" y="%.1f" width="%.2f%%" height="%.1f" rx="1.5"/>`, part.class, x, y(base)-height, width, height)
			base += part.n
		}
		// Five dates or so: one at each edge and the others under their bars.
		last := i == len(list)-1
		if !last && (i%every != 0 || i+every/2 >= len(list)-1) {
			continue
		}
		anchor, at := "middle", x+width/2
		switch {
		case last:
			anchor, at = "end", 100
		case i == 0:
			anchor, at = "start", 0
		}
		fmt.Fprintf(&b, `<text class="axis" x="%.2f%%" y="%d" text-anchor="%s">%s</text>`, at, chartTall-6, anchor, p.At.In(zone).Format(layout))
	}
	b.WriteString(`</svg></div>`)
	return template.HTML(b.String())
}

// spark is a small line without axes, on its own scale; nothing where there was nothing.
func spark(values []int64) template.HTML { return sparkline(values, 76, 20) }

// sparkMid is the same for a stat.
func sparkMid(values []int64) template.HTML { return sparkline(values, 152, 24) }

// sparkWide is the same for a card's whole width.
func sparkWide(values []int64) template.HTML { return sparkline(values, 420, 48) }

func sparkline(values []int64, w, h float64) template.HTML {
	var most, sum int64
	for _, v := range values {
		most = max(most, v)
		sum += v
	}
	if sum == 0 || len(values) < 2 {
		return ""
	}
	var line strings.Builder
	var x, y float64
	for i, v := range values {
		x = 1 + (w-4)*float64(i)/float64(len(values)-1)
		y = 2 + (h-4)*(1-float64(v)/float64(most))
		fmt.Fprintf(&line, "%.1f,%.1f ", x, y)
	}
	return template.HTML(fmt.Sprintf(`<svg class="spark" viewBox="0 0 %g %g" width="%g" height="%g" aria-hidden="true"><polygon points="1,%g %s%.1f,%g"/><polyline points="%s"/><circle cx="%.1f" cy="%.1f" r="1.8"/></svg>`,
		w, h, w, h, h-1, line.String(), x, h-1, line.String(), x, y))
}

// usageBar is a track filled from the left, one segment for each part in the order in
// which parts are used up.
func usageBar(total int64, used ...int64) template.HTML {
	var sum int64
	for _, u := range used {
		sum += u
	}
	class := ""
	switch {
	case total > 0 && sum >= total:
		class = " spent"
	case sum*100 >= total*95 && total > 0:
		class = " bad"
	case sum*100 >= total*80 && total > 0:
		class = " warn"
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="usage%s" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true"><rect class="track" width="1000" height="10"/>`, class)
	x := 0.0
	for i, u := range used {
		if u <= 0 || total <= 0 {
			continue
		}
		w := math.Max(4, 1000*float64(u)/float64(total))
		w = math.Min(w, 1000-x)
		fmt.Fprintf(&b, `<rect class="fill f%d" x="%.1f" width="%.1f" height="10"/>`, i%2, x, w)
		x += w
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}
