package apis

import (
	"errors"
	"strconv"
	"strings"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web"
	"github.com/souk-market/souk/gateway/control"
)

// InterfacePage is what is set for one interface.
type InterfacePage struct {
	Head
	Interface Interface           `json:"interface"`
	Settings  routeConfig         `json:"settings"`
	Group     Settings            `json:"group" doc:"What holds where the interface says nothing"`
	MockLines string              `json:"-"`
	Codes     []map[string]any    `json:"-"`
	SHA1s     []map[string]any    `json:"-"`
	Charges   []map[string]any    `json:"-"`
	Modes     []map[string]any    `json:"-"`
	Params    []control.Parameter `json:"-"` // with some empty ones
	Consts    []control.Constant  `json:"-"`
	Places    []string            `json:"-"`
	Systems   []string            `json:"-"`
}

// routeForm is routeConfig as a form sends it; the rows of tables are parallel lists.
type routeForm struct {
	AppCode      string   `json:"app_code"`
	Secure       bool     `json:"secure"`
	ForceNonce   bool     `json:"force_nonce"`
	Canonical    bool     `json:"canonical"`
	SHA1         string   `json:"sha1"`
	Timeout      int64    `json:"timeout_millis"`
	MaxBody      int64    `json:"max_body"`
	Charge       string   `json:"charge"`
	Mode         string   `json:"mode"`
	UpstreamPath string   `json:"upstream_path"`
	Names        []string `json:"p_name"`
	Ins          []string `json:"p_in"`
	Requireds    []string `json:"p_required"`
	Defaults     []string `json:"p_default"`
	ToNames      []string `json:"p_to_name"`
	Tos          []string `json:"p_to"`
	CNames       []string `json:"c_name"`
	CIns         []string `json:"c_in"`
	CValues      []string `json:"c_value"`
	CSystems     []string `json:"c_system"`
	Mock         bool     `json:"mock"`
	MockStatus   int      `json:"mock_status"`
	MockHeaders  string   `json:"mock_headers"`
	MockBody     string   `json:"mock_body"`
}

func (f routeForm) config(form *market.Form) routeConfig {
	r := routeConfig{AppCode: f.AppCode, Secure: f.Secure, ForceNonce: f.ForceNonce, Canonical: f.Canonical, SHA1: f.SHA1, Timeout: f.Timeout,
		MaxBody: f.MaxBody, Charge: f.Charge, Mode: f.Mode, UpstreamPath: f.UpstreamPath}
	for n := range f.Names {
		if name := at(f.Names, n); name != "" {
			r.Parameters = append(r.Parameters, control.Parameter{Name: name, In: control.Place(at(f.Ins, n)), Required: at(f.Requireds, n) == "yes",
				Default: at(f.Defaults, n), ToName: at(f.ToNames, n), To: control.Place(at(f.Tos, n))})
		}
	}
	for n := range f.CNames {
		if name := at(f.CNames, n); name != "" {
			r.Constants = append(r.Constants, control.Constant{Name: name, In: control.Place(at(f.CIns, n)), Value: at(f.CValues, n), System: at(f.CSystems, n)})
		}
	}
	if f.Mock {
		r.Mock = &control.Mock{Status: f.MockStatus, Headers: headerLines(f.MockHeaders, "mock_headers", form), Body: f.MockBody}
	}
	return r
}

func (p *Plugin) interfaceView(c *web.Ctx, w *whole, r routeConfig) (web.View, error) {
	i := w.iface(c.Param("interface"))
	if i == nil {
		return web.View{}, market.NotFound("apis.no_interface")
	}
	s := w.Settings
	d := InterfacePage{Head: head(c, w, ""), Settings: r,
		Interface: Interface{ID: i.ID, Method: i.Method, Path: i.Path, Name: i.Name, Chosen: i.Chosen, Problems: []Remark{}, Level: "ok",
			AppCode: w.appCode(i), Secure: i.Config.Secure, Mock: i.Config.Mock != nil},
		Group:  Settings{Upstream: s.Upstream, Timeout: s.Timeout.Milliseconds(), AppCode: s.AppCode, SHA1: s.SHA1, SecureAppCode: w.Config.SecureAppCode},
		Params: append(append([]control.Parameter{}, r.Parameters...), make([]control.Parameter, spare)...),
		Consts: append(append([]control.Constant{}, r.Constants...), make([]control.Constant, spare)...),
		Places: []string{"query", "header", "path", "form"}, Systems: systems}
	d.Codes = append(d.Codes, option("", c.T("apis.as_group", "what", c.T("apis.code_"+strings.ToLower(s.AppCode))), r.AppCode == ""))
	for _, f := range codeForms {
		d.Codes = append(d.Codes, option(string(f), c.T("apis.code_"+strings.ToLower(string(f))), r.AppCode == string(f)))
	}
	yes := map[bool]string{true: "yes", false: "no"}[s.SHA1]
	d.SHA1s = append(d.SHA1s, option("", c.T("apis.as_group", "what", c.T("apis.sha1_"+yes)), r.SHA1 == ""),
		option("yes", c.T("apis.sha1_yes"), r.SHA1 == "yes"), option("no", c.T("apis.sha1_no"), r.SHA1 == "no"))
	d.Charges = append(d.Charges, option("", c.T("apis.charge_product"), r.Charge == ""),
		option("succeeded", c.T("apis.charge_succeeded"), r.Charge == "succeeded"))
	d.Modes = append(d.Modes, option("", c.T("apis.mode_pass"), r.Mode == ""), option("mapped", c.T("apis.mode_mapped"), r.Mode == "mapped"))
	if r.Mock != nil {
		var b strings.Builder
		for _, h := range r.Mock.Headers {
			b.WriteString(strings.Join(h, ": ") + "\n")
		}
		d.MockLines = b.String()
	}
	return under(c, w, "interface", "", i.Method+" "+i.Path, d), nil
}

func (p *Plugin) showInterface(c *web.Ctx) (web.View, error) {
	w, err := p.mine(c)
	if err != nil {
		return web.View{}, err
	}
	var r routeConfig
	if i := w.iface(c.Param("interface")); i != nil {
		r = i.Config
	}
	return p.interfaceView(c, w, r)
}

func (p *Plugin) setInterface(c *web.Ctx) (web.View, error) {
	var r routeConfig
	var form market.Form
	var err error
	if c.API() {
		err = c.Bind(&r)
	} else {
		in := routeForm{MockStatus: 200}
		err = c.Bind(&in)
		r = in.config(&form)
	}
	if err == nil {
		r.check(&form)
		err = form.Err()
	}
	if err == nil {
		err = p.edit(c, c.Actor(), p.group(c), "upstream_path", func(w *whole, _ *market.Form) error {
			i := w.iface(c.Param("interface"))
			if i == nil {
				return market.NotFound("apis.no_interface")
			}
			i.Config = r
			return nil
		})
		err = place(err)
	}
	w, viewErr := p.mine(c)
	if viewErr != nil {
		return web.View{}, viewErr
	}
	v, viewErr := p.interfaceView(c, w, r)
	if viewErr != nil {
		return v, viewErr
	}
	if err == nil {
		v.To, v.Say = "/seller/apis/"+string(w.ID), "web.saved"
	}
	return v, err
}

// place moves what the gateway says of an interface to the field that it speaks of.
func place(err error) error {
	var e *market.Error
	if !errors.As(err, &e) || len(e.Fields) != 1 || e.Fields[0].Code != "apis.gateway" {
		return err
	}
	reason := e.Fields[0].Args["reason"]
	for _, x := range []struct{ word, field string }{{"parameter ", "parameters"}, {"constant ", "constants"}, {"mock", "mock_headers"}} {
		if strings.Contains(reason, x.word) {
			e.Fields[0].Name = x.field
			break
		}
	}
	return err
}

// Interfaces is every interface of a seller, over all groups (API列表).
type Interfaces struct {
	Interfaces []InterfaceRow `json:"interfaces"`
	Total      int            `json:"total"`
	Page       int            `json:"page"`
	Pages      int            `json:"pages"`
	Q          string         `json:"q"`
}

// InterfaceRow is one of them.
type InterfaceRow struct {
	Interface
	Group GroupLink `json:"group"`
	Live  bool      `json:"live" doc:"It can be called"`
}

type interfaceFilter struct {
	Q    string `json:"q" doc:"Part of a name, a path or a group's name"`
	Page int    `json:"page" doc:"From 1"`
}

const interfacesPage = 50

func (p *Plugin) listAll(c *web.Ctx) (web.View, error) {
	var in interfaceFilter
	if err := c.Bind(&in); err != nil {
		return web.View{}, err
	}
	groups, err := list(c, p.db.Read(), c.Actor().Account)
	if err != nil {
		return web.View{}, err
	}
	d := Interfaces{Interfaces: []InterfaceRow{}, Q: in.Q, Page: max(1, in.Page)}
	q := strings.ToLower(in.Q)
	for _, g := range groups {
		w := &whole{group: g}
		if w.ifaces, err = listInterfaces(c, p.db.Read(), g.ID); err != nil {
			return web.View{}, err
		}
		for n := range w.ifaces {
			i := &w.ifaces[n]
			if !strings.Contains(strings.ToLower(i.Method+" "+i.Path+" "+i.Name.ZH+" "+i.Name.EN+" "+g.Name.ZH+" "+g.Name.EN), q) {
				continue
			}
			if d.Total++; d.Total > (d.Page-1)*interfacesPage && d.Total <= d.Page*interfacesPage {
				d.Interfaces = append(d.Interfaces, InterfaceRow{Group: GroupLink{g.ID, g.Name}, Live: i.Chosen && g.Product != "",
					Interface: Interface{ID: i.ID, Method: i.Method, Path: i.Path, Name: i.Name, Chosen: i.Chosen, Problems: []Remark{}, Level: "ok",
						AppCode: w.appCode(i), Secure: i.Config.Secure, Mock: i.Config.Mock != nil}})
			}
		}
	}
	d.Pages = (d.Total + interfacesPage - 1) / interfacesPage
	return web.View{Page: "apis/interfaces", Title: c.T("apis.menu_interfaces"), Data: d}, nil
}

// Across is what a seller has set of one kind, group by group.
type Across struct {
	Kind   string      `json:"kind" doc:"limits, filters or addresses"`
	Groups []AcrossRow `json:"groups"`
}

// AcrossRow is one group.
type AcrossRow struct {
	GroupLink
	Items []string `json:"items" doc:"In the reader's language"`
}

// across lists over all groups what belongs to one of their tabs.
func (p *Plugin) across(kind string, items func(*web.Ctx, *whole) []string) web.Handler {
	return func(c *web.Ctx) (web.View, error) {
		groups, err := list(c, p.db.Read(), c.Actor().Account)
		if err != nil {
			return web.View{}, err
		}
		d := Across{Kind: kind, Groups: []AcrossRow{}}
		for _, g := range groups {
			w := &whole{group: g}
			if w.ifaces, err = listInterfaces(c, p.db.Read(), g.ID); err != nil {
				return web.View{}, err
			}
			d.Groups = append(d.Groups, AcrossRow{GroupLink{g.ID, g.Name}, append([]string{}, items(c, w)...)})
		}
		return web.View{Page: "apis/across", Title: c.T("apis.tab_" + kind), Data: d}, nil
	}
}

func limitItems(c *web.Ctx, w *whole) (list []string) {
	for _, l := range w.Config.Limits {
		list = append(list, c.T("apis.item", "name", l.Name, "text", limitRow(c, w, l).Text))
	}
	return list
}

func filterItems(c *web.Ctx, w *whole) (list []string) {
	for _, f := range w.Config.Filters {
		list = append(list, c.T("apis.item", "name", filterWord(c, f.Filter), "text", scope(c, w, f.Interface)))
	}
	return list
}

func addressItems(c *web.Ctx, w *whole) (list []string) {
	if n := len(w.Config.Allow); n > 0 {
		list = append(list, c.T("apis.allow_n", "n", strconv.Itoa(n)))
	}
	if n := len(w.Config.Deny); n > 0 {
		list = append(list, c.T("apis.deny_n", "n", strconv.Itoa(n)))
	}
	return list
}
