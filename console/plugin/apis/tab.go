package apis

import (
	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web"
)

// Tab is one of the pages of a group.
type Tab struct {
	Word, Href string
	Count      int
	Current    bool
}

// pages of a group, by the end of their address; "" is the first.
var groupTabs = []string{"", "upstream", "domains", "limits", "filters", "addresses", "signing"}

func tabs(c *web.Ctx, w *whole, current string) (list []Tab) {
	for _, name := range groupTabs {
		t := Tab{Word: c.T("apis.tab_" + name), Href: "/seller/apis/" + string(w.ID), Current: name == current}
		if name == "" {
			t.Word = c.T("apis.tab_show")
		} else {
			t.Href += "/" + name
		}
		switch g := &w.Config; name {
		case "domains":
			t.Count = len(g.Domains)
		case "limits":
			t.Count = len(g.Limits)
		case "filters":
			t.Count = len(g.Filters)
		case "addresses":
			t.Count = len(g.Allow) + len(g.Deny)
		}
		list = append(list, t)
	}
	return list
}

// Head is what each page of a group begins with.
type Head struct {
	ID        market.SourceID `json:"id"`
	Name      market.Text     `json:"name"`
	Published bool            `json:"published" doc:"What is saved acts on calls at once"`
	Tabs      []Tab           `json:"-"`
}

func head(c *web.Ctx, w *whole, tab string) Head {
	return Head{ID: w.ID, Name: w.Name, Published: w.Product != "", Tabs: tabs(c, w, tab)}
}

// under is a page of a group's below one of its tabs; word is the last step of the way, if
// it goes on from the tab.
func under(c *web.Ctx, w *whole, page, tab, word string, data any) web.View {
	at := "/seller/apis/" + string(w.ID)
	v := web.View{Page: "apis/" + page, Title: c.In(w.Name), Data: data, Menu: menuOf[tab],
		Crumbs: []web.Crumb{{Word: c.T("apis.menu"), Href: "/seller/apis"}, {Word: c.In(w.Name), Href: at}}}
	if v.Menu == "" {
		v.Menu = "/seller/apis"
	}
	if word == "" {
		v.Crumbs = append(v.Crumbs, web.Crumb{Word: c.T("apis.tab_" + tab)})
		return v
	}
	if tab != "" {
		v.Crumbs = append(v.Crumbs, web.Crumb{Word: c.T("apis.tab_" + tab), Href: at + "/" + tab})
	}
	v.Crumbs = append(v.Crumbs, web.Crumb{Word: word})
	v.Title = word
	return v
}

// menuOf is the menu entry that a tab belongs to.
var menuOf = map[string]string{"limits": "/seller/limits", "filters": "/seller/filters", "addresses": "/seller/addresses", "signing": "/seller/keys"}

// mine is a group of the actor's with all that belongs to it.
func (p *Plugin) mine(c *web.Ctx) (*whole, error) {
	if _, err := find(c, p.db.Read(), c.Actor(), p.group(c)); err != nil {
		return nil, err
	}
	return p.whole(c, p.group(c))
}

// option is an entry of a select.
func option(value, word string, chosen bool) map[string]any {
	return map[string]any{"value": value, "word": word, "chosen": chosen}
}

// scopes are the whole group and each of its interfaces.
func scopes(c *web.Ctx, w *whole, chosen string) []map[string]any {
	list := []map[string]any{option("", c.T("apis.whole_group"), chosen == "")}
	for _, i := range w.ifaces {
		list = append(list, option(i.ID, i.Method+" "+i.Path, chosen == i.ID))
	}
	return list
}

// scope is what a limit or a filter is for, in words.
func scope(c *web.Ctx, w *whole, id string) string {
	if i := w.iface(id); i != nil {
		return i.Method + " " + i.Path
	}
	return c.T("apis.whole_group")
}
