package apis

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/gateway/control"
)

// Limit bounds how fast a group or one of its interfaces is called (流量控制).
type Limit struct {
	ID        string           `json:"id"`
	Name      string           `json:"name" doc:"Callers who meet it see it"`
	By        control.By       `json:"by" doc:"api, app, user, address, param or group: whose calls are counted together"`
	Param     string           `json:"param,omitempty" doc:"For param: query:name, header:X-Name, path:name or form:name"`
	Calls     int64            `json:"calls" doc:"In a window"`
	Window    string           `json:"window" doc:"second, minute, hour or day"`
	Smooth    bool             `json:"smooth,omitempty" doc:"Spread over the window"`
	Burst     int64            `json:"burst,omitempty" doc:"For smooth: so many at once"`
	Special   map[string]int64 `json:"special,omitempty" doc:"Calls of some apps (for app) or accounts (for user), by their ID"`
	Interface string           `json:"interface,omitempty" doc:"Only for this one; empty: for each of the group"`
}

var windows = map[string]time.Duration{"second": time.Second, "minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour}

// windowNames and bys are what a seller can choose, in order.
var (
	windowNames = []string{"second", "minute", "hour", "day"}
	bys         = []control.By{control.ByRoute, control.ByApp, control.ByUser, control.ByAddress, control.ByParam, control.ByGroup}
)

const (
	limitsMax  = 16 // the gateway has no more for one call
	callsMax   = 1_000_000_000
	specialMax = 500
)

func (l Limit) control() control.Limit {
	return control.Limit{Name: l.Name, By: l.By, Param: l.Param, Calls: l.Calls, Window: windows[l.Window], Smooth: l.Smooth,
		Burst: l.Burst, Special: l.Special}
}

// check notes what is wrong with a limit among the others of its group.
func (l Limit) check(w *whole, form *market.Form) {
	n := utf8.RuneCountInString(l.Name)
	form.Check(n >= 1 && n <= nameMax && !strings.ContainsFunc(l.Name, func(r rune) bool { return r < ' ' }), "name", "apis.name", "max", strconv.Itoa(nameMax))
	form.Check(!slices.ContainsFunc(w.Config.Limits, func(o Limit) bool { return o.ID != l.ID && o.Name == l.Name }), "name", "apis.limit_twice", "name", l.Name)
	form.Check(slices.Contains(bys, l.By), "by", "apis.limit_by")
	place, name, _ := strings.Cut(l.Param, ":")
	form.Check(l.By != control.ByParam || name != "" && slices.Contains([]string{"query", "header", "path", "form"}, place), "param", "apis.limit_param")
	form.Check(l.Calls >= 1 && l.Calls <= callsMax, "calls", "apis.limit_calls", "max", strconv.Itoa(callsMax))
	form.Check(windows[l.Window] > 0, "window", "apis.limit_window")
	form.Check(l.Burst >= 0 && l.Burst <= callsMax && (l.Burst == 0 || l.Smooth), "burst", "apis.limit_burst")
	form.Check(len(l.Special) == 0 || l.By == control.ByApp || l.By == control.ByUser, "special", "apis.limit_special_by")
	form.Check(len(l.Special) <= specialMax, "special", "apis.too_many", "max", strconv.Itoa(specialMax))
	form.Check(l.Interface == "" || w.iface(l.Interface) != nil, "interface", "apis.no_interface")
	form.Check(l.Interface == "" || l.By != control.ByGroup, "interface", "apis.limit_group")
}

// tidy leaves out what the rest of a limit makes meaningless.
func (l *Limit) tidy() {
	if l.By != control.ByParam {
		l.Param = ""
	}
}

// specials reads lines of an ID and a number.
func specials(text string, form *market.Form) map[string]int64 {
	var m map[string]int64
	for n, line := range strings.Split(text, "\n") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		calls := int64(-1)
		if len(f) == 2 {
			if v, err := strconv.ParseInt(f[1], 10, 64); err == nil {
				calls = v
			}
		}
		if calls < 0 || calls > callsMax {
			form.Fault("special", "apis.limit_special", "line", strconv.Itoa(n+1))
			continue
		}
		if m == nil {
			m = map[string]int64{}
		}
		m[f[0]] = calls
	}
	return m
}

// lines writes what specials reads.
func (l Limit) lines() string {
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(l.Special)) {
		fmt.Fprintf(&b, "%s %d\n", id, l.Special[id])
	}
	return b.String()
}
