package apps

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web"
)

type filter struct {
	Q string `json:"q,omitempty" doc:"Part of a name"`
}

// List is a buyer's apps.
type List struct {
	Q     string `json:"q"`
	Apps  []Row  `json:"apps"`
	Total int    `json:"total"`
}

// Row is one app in a list.
type Row struct {
	ID      market.AppID `json:"id"`
	Name    string       `json:"name"`
	About   string       `json:"about"`
	Created time.Time    `json:"created"`
}

func row(a app) Row { return Row{ID: a.ID, Name: a.Name, About: a.About, Created: a.Created} }

func (p *Plugin) list(c *web.Ctx) (web.View, error) {
	var in filter
	if err := c.Bind(&in); err != nil {
		return web.View{}, err
	}
	apps, err := listOf(c, p.db.Read(), c.Actor().Account)
	l := List{Q: in.Q, Apps: []Row{}}
	for _, a := range apps { // an account has fifty at most
		if strings.Contains(strings.ToLower(a.Name), strings.ToLower(in.Q)) {
			l.Apps = append(l.Apps, row(a))
		}
	}
	l.Total = len(l.Apps)
	return web.View{Page: "apps/list", Title: c.T("apps.menu"), Data: l}, err
}

type edit struct {
	Name  string `json:"name" doc:"Up to 40 characters"`
	About string `json:"about,omitempty" doc:"Up to 200 characters"`
}

func (p *Plugin) add(c *web.Ctx) (web.View, error) {
	var in edit
	if err := c.Bind(&in); err != nil {
		return web.View{}, err
	}
	id, err := p.Add(c, c.Actor(), in.Name, in.About)
	if err != nil {
		v, listErr := p.list(c)
		return v, errors.Join(err, listErr)
	}
	v, err := p.showView(c, id)
	v.To, v.Say = "/apps/"+string(id), "apps.added"
	return v, err
}

// Show is one app.
type Show struct {
	Row
	Secrets []Secret `json:"secrets"`
	APIs    []API    `json:"apis" doc:"What it may call"`
	SDKs    []Link   `json:"sdks"`
	Deeds   []Deed   `json:"deeds" doc:"What was done with its credentials, the latest first"`
}

// Secret is one credential.
type Secret struct {
	Name   string    `json:"name"`
	Value  string    `json:"value" doc:"Empty for one that is masked"`
	Tail   string    `json:"tail"`
	Note   string    `json:"-"`
	At     time.Time `json:"at" doc:"When it was made or last reset"`
	Reveal string    `json:"reveal" doc:"POST here to see it"`
	Reset  string    `json:"-"`
}

// API is a product that the app may call.
type API struct {
	Service market.ServiceID `json:"service"`
	Product market.ProductID `json:"product"`
	Name    market.Text      `json:"name"`
}

// Link is something to fetch.
type Link struct {
	Name string `json:"name"`
	Href string `json:"href"`
}

// Deed is what somebody did with a credential.
type Deed struct {
	Person string    `json:"person"`
	Deed   string    `json:"deed" doc:"reveal_secret, reveal_code, reset_secret or reset_code"`
	At     time.Time `json:"at"`
}

func (p *Plugin) show(c *web.Ctx) (web.View, error) {
	return p.showView(c, market.AppID(c.Param("app")))
}

const deedsShown = 10

func (p *Plugin) showView(c *web.Ctx, id market.AppID) (web.View, error) {
	a, err := find(c, p.db.Read(), c.Actor(), id)
	if err != nil {
		return web.View{}, err
	}
	v := Show{Row: row(a), Secrets: []Secret{}, APIs: []API{}, SDKs: []Link{}}
	secrets, err := p.Secrets(c, id)
	if err != nil {
		return web.View{}, err
	}
	for _, s := range secrets {
		v.Secrets = append(v.Secrets, Secret(s))
	}
	if a.First { // purchases are granted to the owner's first app
		have, err := p.services.OfBuyer(c, a.Owner, "api")
		if err != nil {
			return web.View{}, err
		}
		for _, s := range have {
			v.APIs = append(v.APIs, API{Service: s.ID, Product: s.Product, Name: s.Name})
		}
		for _, d := range p.sdks.SDKs(id) {
			v.SDKs = append(v.SDKs, Link(d))
		}
	}
	v.Deeds, err = listDeeds(c, p.db.Read(), id, deedsShown)
	return web.View{Page: "apps/show", Title: a.Name, Data: v,
		Crumbs: []web.Crumb{{Word: c.T("apps.menu"), Href: "/apps"}, {Word: a.Name}}}, err
}

func (p *Plugin) edit(c *web.Ctx) (web.View, error) {
	var in edit
	if err := c.Bind(&in); err != nil {
		return web.View{}, err
	}
	id := market.AppID(c.Param("app"))
	err := p.Edit(c, c.Actor(), id, in.Name, in.About)
	v, showErr := p.showView(c, id)
	if err == nil {
		v.To, v.Say = "/apps/"+string(id), "web.saved"
	}
	return v, errors.Join(err, showErr)
}

// Revealed is a secret in the clear.
type Revealed struct {
	Value string `json:"value"`
}

// RevealPage shows a secret to a browser without script.
type RevealPage struct {
	App   Row
	Name  string
	Value string
}

func (p *Plugin) revealSecret(c *web.Ctx) (web.View, error) { return p.reveal(c, "secret") }
func (p *Plugin) revealCode(c *web.Ctx) (web.View, error)   { return p.reveal(c, "code") }

func (p *Plugin) reveal(c *web.Ctx, what string) (web.View, error) {
	id := market.AppID(c.Param("app"))
	k, err := p.credentials(c, c.Actor(), id, "reveal_"+what)
	if v, ask := p.passwordFirst(c, id, err); ask {
		return v, nil
	}
	if err != nil {
		return web.View{}, err
	}
	name, value := "AppSecret", k.AppSecret
	if what == "code" {
		name, value = "AppCode", k.AppCode
	}
	if c.API() {
		return web.View{Data: Revealed{Value: value}}, nil
	}
	a, err := find(c, p.db.Read(), c.Actor(), id)
	return web.View{Page: "apps/reveal", Title: name, Data: RevealPage{App: row(a), Name: name, Value: value}}, err
}

// passwordFirst sends a browser to give the password again where that is what is missing.
func (p *Plugin) passwordFirst(c *web.Ctx, id market.AppID, err error) (web.View, bool) {
	var e *market.Error
	if c.API() || !errors.As(err, &e) || e.Code != "apps.password_again" {
		return web.View{}, false
	}
	return web.View{To: "/confirm?to=" + url.QueryEscape("/apps/"+string(id))}, true
}

type reset struct {
	Name string `json:"name" doc:"The app's name, typed to confirm"`
}

// ResetPage asks before a credential is replaced.
type ResetPage struct {
	App  Row
	What string // secret, code
	Name string // AppSecret, AppCode
	APIs int    // how many services call with it
}

func (p *Plugin) askSecret(c *web.Ctx) (web.View, error) { return p.ask(c, "secret") }
func (p *Plugin) askCode(c *web.Ctx) (web.View, error)   { return p.ask(c, "code") }

func (p *Plugin) ask(c *web.Ctx, what string) (web.View, error) {
	id := market.AppID(c.Param("app"))
	a, err := find(c, p.db.Read(), c.Actor(), id)
	if err != nil {
		return web.View{}, err
	}
	if v, ask := p.passwordFirst(c, id, p.fresh(c.Actor())); ask {
		return v, nil
	}
	d := ResetPage{App: row(a), What: what, Name: "AppSecret"}
	if what == "code" {
		d.Name = "AppCode"
	}
	if a.First {
		have, err := p.services.OfBuyer(c, a.Owner, "api")
		if err != nil {
			return web.View{}, err
		}
		d.APIs = len(have)
	}
	return web.View{Page: "apps/reset", Title: c.T("apps.reset", "name", d.Name), Data: d,
		Crumbs: []web.Crumb{{Word: c.T("apps.menu"), Href: "/apps"}, {Word: a.Name, Href: "/apps/" + string(id)}, {Word: c.T("apps.reset", "name", d.Name)}}}, nil
}

func (p *Plugin) resetSecret(c *web.Ctx) (web.View, error) { return p.reset(c, "secret") }
func (p *Plugin) resetCode(c *web.Ctx) (web.View, error)   { return p.reset(c, "code") }

func (p *Plugin) reset(c *web.Ctx, what string) (web.View, error) {
	var in reset
	if err := c.Bind(&in); err != nil {
		return web.View{}, err
	}
	id := market.AppID(c.Param("app"))
	if err := p.Reset(c, c.Actor(), id, what, in.Name); err != nil {
		if v, ask := p.passwordFirst(c, id, err); ask {
			return v, nil
		}
		v, askErr := p.ask(c, what)
		return v, errors.Join(err, askErr)
	}
	v, err := p.showView(c, id)
	v.To, v.Say = "/apps/"+string(id), "apps.was_reset"
	return v, err
}
