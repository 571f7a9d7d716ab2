package apis

import (
	"slices"
	"strconv"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web"
	"github.com/souk-market/souk/console/web/page"
	"github.com/souk-market/souk/gateway/control"
)

// LimitsPage is the throttling of a group.
type LimitsPage struct {
	Head
	Limits []LimitRow `json:"limits"`
}

// LimitRow is one limit in a list.
type LimitRow struct {
	Limit
	Text  string `json:"text" doc:"In the reader's language"`
	Scope string `json:"scope" doc:"What it is for, in the reader's language"`
}

func limitRow(c *web.Ctx, w *whole, l Limit) LimitRow {
	by := c.T("apis.by_" + string(l.By))
	if l.By == control.ByParam {
		by += " " + l.Param
	}
	return LimitRow{Limit: l, Text: c.T("apis.limit_text", "by", by, "calls", page.Grouped(l.Calls), "window", c.T("apis.window_"+l.Window)), Scope: scope(c, w, l.Interface)}
}

func (p *Plugin) showLimits(c *web.Ctx) (web.View, error) {
	w, err := p.mine(c)
	if err != nil {
		return web.View{}, err
	}
	d := LimitsPage{Head: head(c, w, "limits"), Limits: []LimitRow{}}
	for _, l := range w.Config.Limits {
		d.Limits = append(d.Limits, limitRow(c, w, l))
	}
	return under(c, w, "limits", "limits", "", d), nil
}

// LimitPage is the form of one limit.
type LimitPage struct {
	Head
	Limit   Limit            `json:"limit"`
	Text    string           `json:"text" doc:"In the reader's language"`
	Scope   string           `json:"scope" doc:"What it is for, in the reader's language"`
	Special string           `json:"-"`
	New     bool             `json:"-"`
	Bys     []map[string]any `json:"-"`
	Windows []map[string]any `json:"-"`
	Scopes  []map[string]any `json:"-"`
}

// limitIn is a limit as it is sent.
type limitIn struct {
	Name      string           `json:"name"`
	By        control.By       `json:"by" doc:"api, app, user, address, param or group: whose calls are counted together"`
	Param     string           `json:"param,omitempty" doc:"For param: query:name, header:X-Name, path:name or form:name"`
	Calls     int64            `json:"calls"`
	Window    string           `json:"window" doc:"second, minute, hour or day"`
	Smooth    bool             `json:"smooth,omitempty" doc:"Spread over the window"`
	Burst     int64            `json:"burst,omitempty" doc:"For smooth: so many at once"`
	Special   map[string]int64 `json:"special,omitempty" doc:"Calls of some apps (for app) or accounts (for user), by their ID"`
	Lines     string           `json:"special_lines,omitempty" doc:"The same as lines of an ID and a number, for forms"`
	Interface string           `json:"interface,omitempty" doc:"Only for this one; empty: for each of the group"`
}

func (in limitIn) limit(id string, form *market.Form) Limit {
	l := Limit{ID: id, Name: in.Name, By: in.By, Param: in.Param, Calls: in.Calls, Window: in.Window, Smooth: in.Smooth, Burst: in.Burst,
		Special: in.Special, Interface: in.Interface}
	if len(l.Special) == 0 {
		l.Special = specials(in.Lines, form)
	}
	l.tidy()
	return l
}

func limitView(c *web.Ctx, w *whole, l Limit, lines string, fresh bool) web.View {
	row := limitRow(c, w, l)
	d := LimitPage{Head: head(c, w, "limits"), Limit: l, Text: row.Text, Scope: row.Scope, Special: lines, New: fresh, Scopes: scopes(c, w, l.Interface)}
	for _, by := range bys {
		d.Bys = append(d.Bys, option(string(by), c.T("apis.by_"+string(by)), by == l.By))
	}
	for _, name := range windowNames {
		d.Windows = append(d.Windows, option(name, c.T("apis.window_"+name), name == l.Window))
	}
	word := l.Name
	if fresh {
		word = c.T("apis.limit_new")
	}
	return under(c, w, "limit", "limits", word, d)
}

func (p *Plugin) newLimit(c *web.Ctx) (web.View, error) {
	w, err := p.mine(c)
	if err != nil {
		return web.View{}, err
	}
	return limitView(c, w, Limit{By: control.ByApp, Calls: 10, Window: "second"}, "", true), nil
}

func (p *Plugin) showLimit(c *web.Ctx) (web.View, error) {
	w, err := p.mine(c)
	if err != nil {
		return web.View{}, err
	}
	for _, l := range w.Config.Limits {
		if l.ID == c.Param("limit") {
			return limitView(c, w, l, l.lines(), false), nil
		}
	}
	return web.View{}, market.NotFound("apis.no_limit")
}

func (p *Plugin) addLimit(c *web.Ctx) (web.View, error) {
	return p.saveLimit(c, market.NewID("lim", p.now()), true)
}

func (p *Plugin) editLimit(c *web.Ctx) (web.View, error) {
	return p.saveLimit(c, c.Param("limit"), false)
}

func (p *Plugin) saveLimit(c *web.Ctx, id string, fresh bool) (web.View, error) {
	var in limitIn
	err := c.Bind(&in)
	var l Limit
	if err == nil {
		err = p.edit(c, c.Actor(), p.group(c), "name", func(w *whole, form *market.Form) error {
			l = in.limit(id, form)
			l.check(w, form)
			at := slices.IndexFunc(w.Config.Limits, func(o Limit) bool { return o.ID == id })
			switch {
			case fresh:
				form.Check(len(w.Config.Limits) < limitsMax, "name", "apis.too_many", "max", strconv.Itoa(limitsMax))
				w.Config.Limits = append(w.Config.Limits, l)
			case at < 0:
				return market.NotFound("apis.no_limit")
			default:
				w.Config.Limits[at] = l
			}
			return nil
		})
	}
	w, viewErr := p.mine(c)
	if viewErr != nil {
		return web.View{}, viewErr
	}
	if err != nil {
		var none market.Form
		l = in.limit(id, &none)
		l.Burst, l.Param = in.Burst, in.Param // what was typed stays
		return limitView(c, w, l, in.Lines, fresh), err
	}
	v := limitView(c, w, l, in.Lines, fresh)
	v.To, v.Say = "/seller/apis/"+string(w.ID)+"/limits", "web.saved"
	return v, nil
}

func (p *Plugin) dropLimit(c *web.Ctx) (web.View, error) {
	err := p.edit(c, c.Actor(), p.group(c), "name", func(w *whole, _ *market.Form) error {
		n := len(w.Config.Limits)
		w.Config.Limits = slices.DeleteFunc(w.Config.Limits, func(l Limit) bool { return l.ID == c.Param("limit") })
		if n == len(w.Config.Limits) {
			return market.NotFound("apis.no_limit")
		}
		return nil
	})
	if err != nil {
		return web.View{}, err
	}
	v, err := p.showLimits(c)
	v.To, v.Say = "/seller/apis/"+string(p.group(c))+"/limits", "apis.dropped"
	return v, err
}
