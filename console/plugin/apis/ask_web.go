package apis

import (
	"slices"
	"strings"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web"
)

// Ask is what is asked once before something is taken away.
type Ask struct{ Title, Text, Action, Back string }

// ask asks about a thing whose name is in words: limit, filter, certificate or key.
func ask(c *web.Ctx, what, name, at, back string) Ask {
	return Ask{Title: c.T("apis.ask_"+what, "name", name), Text: c.T("apis.ask_" + what + "_text"), Action: at + "/remove", Back: back}
}

func (p *Plugin) askLimit(c *web.Ctx) (web.View, error) {
	w, err := p.mine(c)
	if err != nil {
		return web.View{}, err
	}
	n := slices.IndexFunc(w.Config.Limits, func(l Limit) bool { return l.ID == c.Param("limit") })
	if n < 0 {
		return web.View{}, market.NotFound("apis.no_limit")
	}
	l := w.Config.Limits[n]
	at := "/seller/apis/" + string(w.ID) + "/limits/" + l.ID
	return under(c, w, "ask", "limits", l.Name, ask(c, "limit", l.Name, at, at)), nil
}

func (p *Plugin) askFilter(c *web.Ctx) (web.View, error) {
	w, err := p.mine(c)
	if err != nil {
		return web.View{}, err
	}
	n := slices.IndexFunc(w.Config.Filters, func(f filter) bool { return f.ID == c.Param("setting") })
	if n < 0 {
		return web.View{}, market.NotFound("apis.no_filter")
	}
	f := w.Config.Filters[n]
	word, at := filterWord(c, f.Filter), "/seller/apis/"+string(w.ID)+"/filters/"+f.ID
	return under(c, w, "ask", "filters", word, ask(c, "filter", word, at, at)), nil
}

func (p *Plugin) askCertificate(c *web.Ctx) (web.View, error) {
	w, err := p.mine(c)
	if err != nil {
		return web.View{}, err
	}
	all, err := certificates(c, p.db.Read(), w.ID)
	n := slices.IndexFunc(all, func(k certificate) bool { return k.ID == c.Param("certificate") })
	if err != nil || n < 0 {
		return web.View{}, notFoundOr(err, "apis.no_certificate")
	}
	names, group := strings.Join(all[n].Domains, ", "), "/seller/apis/"+string(w.ID)
	return under(c, w, "ask", "domains", names, ask(c, "certificate", names, group+"/certificates/"+all[n].ID, group+"/domains")), nil
}

func (p *Plugin) askKey(c *web.Ctx) (web.View, error) {
	k, err := findKey(c, p.db.Read(), c.Actor().Account, c.Param("key"))
	if err != nil {
		return web.View{}, err
	}
	at := "/seller/keys/" + k.ID
	return web.View{Page: "apis/ask", Title: k.Name, Data: ask(c, "key", k.Name, at, at), Menu: "/seller/keys",
		Crumbs: []web.Crumb{{Word: c.T("apis.menu_keys"), Href: "/seller/keys"}, {Word: k.Name}}}, nil
}

func notFoundOr(err error, code string) error {
	if err != nil {
		return err
	}
	return market.NotFound(code)
}
