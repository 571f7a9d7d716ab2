package apis

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web"
)

// FiltersPage is the filters of a group (插件).
type FiltersPage struct {
	Head
	Filters []FilterRow `json:"filters"`
	Known   []Known     `json:"known" doc:"Filters of every gateway; one may have more"`
}

// FilterRow is one filter in a list.
type FilterRow struct {
	ID        string          `json:"id"`
	Filter    string          `json:"filter"`
	With      json.RawMessage `json:"with" doc:"Its setting"`
	Interface string          `json:"interface,omitempty" doc:"Only on this one; empty: on each of the group"`
	Word      string          `json:"word" doc:"In the reader's language; the ID of a filter that is not known here"`
	Scope     string          `json:"scope" doc:"What it is on, in the reader's language"`
}

// Known is a filter that the console has words for.
type Known struct {
	ID     string `json:"id"`
	Word   string `json:"word"`
	Text   string `json:"text"`
	Sample string `json:"sample"`
}

func filterWord(c *web.Ctx, id string) string {
	if _, known := sampleOf(id); known {
		return c.T("apis.filter_" + id)
	}
	return id
}

func filterRow(c *web.Ctx, w *whole, f filter) FilterRow {
	return FilterRow{ID: f.ID, Filter: f.Filter, With: f.With, Interface: f.Interface, Word: filterWord(c, f.Filter), Scope: scope(c, w, f.Interface)}
}

func (p *Plugin) showFilters(c *web.Ctx) (web.View, error) {
	w, err := p.mine(c)
	if err != nil {
		return web.View{}, err
	}
	d := FiltersPage{Head: head(c, w, "filters"), Filters: []FilterRow{}}
	for _, f := range w.Config.Filters {
		d.Filters = append(d.Filters, filterRow(c, w, f))
	}
	for _, s := range standards {
		d.Known = append(d.Known, Known{ID: s.id, Word: c.T("apis.filter_" + s.id), Text: c.T("apis.filter_" + s.id + "_text"), Sample: s.sample})
	}
	return under(c, w, "filters", "filters", "", d), nil
}

// FilterPage is the form of one filter.
type FilterPage struct {
	Head
	Filter FilterRow        `json:"filter"`
	Text   string           `json:"-"`
	Typed  string           `json:"-"`
	Sample string           `json:"-"`
	New    bool             `json:"-"`
	Scopes []map[string]any `json:"-"`
}

// filterIn is a filter as it is sent.
type filterIn struct {
	Filter    string          `json:"filter,omitempty" doc:"cors, size, …; it cannot be changed"`
	With      json.RawMessage `json:"with,omitempty" doc:"Its setting, an object"`
	Typed     string          `json:"with_text,omitempty" doc:"The same as text, for forms"`
	Interface string          `json:"interface,omitempty" doc:"Only on this one; empty: on each of the group"`
}

func filterView(c *web.Ctx, w *whole, f filter, typed string, fresh bool) web.View {
	d := FilterPage{Head: head(c, w, "filters"), Filter: filterRow(c, w, f), Typed: typed, New: fresh, Scopes: scopes(c, w, f.Interface)}
	if sample, known := sampleOf(f.Filter); known {
		d.Sample, d.Text = sample, c.T("apis.filter_"+f.Filter+"_text")
	}
	return under(c, w, "filter", "filters", d.Filter.Word, d)
}

func (p *Plugin) newFilter(c *web.Ctx) (web.View, error) {
	w, err := p.mine(c)
	if err != nil {
		return web.View{}, err
	}
	f := filter{Filter: strings.TrimSpace(c.Query("filter"))}
	var form market.Form
	form.Check(filterName.MatchString(f.Filter), "filter", "apis.filter_name")
	form.Check(f.Filter != "address" && f.Filter != "sign", "filter", "apis.filter_page")
	if err := form.Err(); err != nil {
		v, viewErr := p.showFilters(c)
		if viewErr != nil {
			err = viewErr
		}
		return v, err
	}
	sample, _ := sampleOf(f.Filter)
	return filterView(c, w, f, sample, true), nil
}

func (p *Plugin) showFilter(c *web.Ctx) (web.View, error) {
	w, err := p.mine(c)
	if err != nil {
		return web.View{}, err
	}
	for _, f := range w.Config.Filters {
		if f.ID == c.Param("setting") {
			return filterView(c, w, f, indent(f.With), false), nil
		}
	}
	return web.View{}, market.NotFound("apis.no_filter")
}

func indent(raw json.RawMessage) string {
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return string(raw)
	}
	return b.String()
}

func (p *Plugin) addFilter(c *web.Ctx) (web.View, error) {
	return p.saveFilter(c, market.NewID("flt", p.now()), true)
}

func (p *Plugin) editFilter(c *web.Ctx) (web.View, error) {
	return p.saveFilter(c, c.Param("setting"), false)
}

func (p *Plugin) saveFilter(c *web.Ctx, id string, fresh bool) (web.View, error) {
	var in filterIn
	err := c.Bind(&in)
	if len(in.With) == 0 {
		in.With = json.RawMessage(in.Typed)
	} else {
		in.Typed = indent(in.With)
	}
	f := filter{ID: id, Filter: in.Filter, With: in.With, Interface: in.Interface}
	known, knowErr := p.owns(c, c.Actor().Account)
	if err == nil {
		err = knowErr
	}
	if err == nil {
		err = p.edit(c, c.Actor(), p.group(c), "with", func(w *whole, form *market.Form) error {
			at := slices.IndexFunc(w.Config.Filters, func(o filter) bool { return o.ID == id })
			switch {
			case fresh:
				form.Check(len(w.Config.Filters) < filtersMax, "with", "apis.too_many", "max", strconv.Itoa(filtersMax))
				w.Config.Filters = append(w.Config.Filters, f)
				at = len(w.Config.Filters) - 1
			case at < 0:
				return market.NotFound("apis.no_filter")
			}
			f.Filter = w.Config.Filters[at].Filter
			f.check(w, form, known)
			w.Config.Filters[at] = f
			return nil
		})
	}
	w, viewErr := p.mine(c)
	if viewErr != nil {
		return web.View{}, viewErr
	}
	v := filterView(c, w, f, in.Typed, fresh)
	if err == nil {
		v.To, v.Say = "/seller/apis/"+string(w.ID)+"/filters", "web.saved"
	}
	return v, err
}

func (p *Plugin) dropFilter(c *web.Ctx) (web.View, error) {
	err := p.edit(c, c.Actor(), p.group(c), "with", func(w *whole, _ *market.Form) error {
		n := len(w.Config.Filters)
		w.Config.Filters = slices.DeleteFunc(w.Config.Filters, func(f filter) bool { return f.ID == c.Param("setting") })
		if n == len(w.Config.Filters) {
			return market.NotFound("apis.no_filter")
		}
		return nil
	})
	if err != nil {
		return web.View{}, err
	}
	v, err := p.showFilters(c)
	v.To, v.Say = "/seller/apis/"+string(p.group(c))+"/filters", "apis.dropped"
	return v, err
}

// AddressesPage is who may call a group, by address (IP访问控制).
type AddressesPage struct {
	Head
	Allow     []string `json:"allow" doc:"Only these may call; empty: all may"`
	Deny      []string `json:"deny" doc:"These may not"`
	AllowText string   `json:"-"`
	DenyText  string   `json:"-"`
}

// addressesIn is both lists as they are sent.
type addressesIn struct {
	Allow []string `json:"allow,omitempty" doc:"Addresses and networks: 192.0.2.0/24; in a form one a line"`
	Deny  []string `json:"deny,omitempty"`
}

func addressesView(c *web.Ctx, w *whole) web.View {
	g := &w.Config
	d := AddressesPage{Head: head(c, w, "addresses"), Allow: append([]string{}, g.Allow...), Deny: append([]string{}, g.Deny...),
		AllowText: strings.Join(g.Allow, "\n"), DenyText: strings.Join(g.Deny, "\n")}
	return under(c, w, "addresses", "addresses", "", d)
}

func (p *Plugin) showAddresses(c *web.Ctx) (web.View, error) {
	w, err := p.mine(c)
	if err != nil {
		return web.View{}, err
	}
	return addressesView(c, w), nil
}

func (p *Plugin) setAddresses(c *web.Ctx) (web.View, error) {
	var in addressesIn
	err := c.Bind(&in)
	if err == nil {
		err = p.edit(c, c.Actor(), p.group(c), "allow", func(w *whole, form *market.Form) error {
			w.Config.Allow = addresses(strings.Join(in.Allow, "\n"), "allow", form)
			w.Config.Deny = addresses(strings.Join(in.Deny, "\n"), "deny", form)
			return nil
		})
	}
	w, viewErr := p.mine(c)
	if viewErr != nil {
		return web.View{}, viewErr
	}
	v := addressesView(c, w)
	if err != nil {
		d := v.Data.(AddressesPage)
		d.AllowText, d.DenyText = strings.Join(in.Allow, "\n"), strings.Join(in.Deny, "\n")
		v.Data = d
		return v, err
	}
	v.To, v.Say = "/seller/apis/"+string(w.ID)+"/addresses", "web.saved"
	return v, nil
}
