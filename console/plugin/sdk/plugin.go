// Package sdk makes client SDKs of the APIs that an app may call (SDK/文档自动生成).
//
// Owns:  nothing.
// Asks:  market.Apps, whose app it is; market.Services, what it may call; market.APIs,
// the interfaces.
// Hears: nothing.
// Tells: nothing.
package sdk

import (
	"bytes"
	"embed"
	"io/fs"
	"strings"

	"github.com/souk-market/souk/console"
	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web"
	"github.com/souk-market/souk/sdkgen"
	"github.com/souk-market/souk/sdkgen/openapi"
)

//go:embed page words
var files embed.FS

func init() { console.Register(new(Plugin)) }

// Plugin is the capability.
type Plugin struct {
	base     string // where apps call
	apps     market.Apps
	services market.Services
	apis     market.APIs
}

var (
	_ console.Offerer     = (*Plugin)(nil)
	_ console.Provisioner = (*Plugin)(nil)
	_ console.Templater   = (*Plugin)(nil)
	_ console.Translator  = (*Plugin)(nil)
	_ console.Router      = (*Plugin)(nil)
	_ market.SDKs         = (*Plugin)(nil)
)

// Plugin names it.
func (*Plugin) Plugin() console.Info {
	return console.Info{ID: "plugin.sdk", New: func() console.Plugin { return new(Plugin) }}
}

// Offer lists what may be fetched.
func (p *Plugin) Offer(h *console.Host) { console.Offer[market.SDKs](h, p) }

// Provision finds apps, services and interfaces.
func (p *Plugin) Provision(h *console.Host) (err error) {
	p.base = h.Config.GatewayAddress
	if p.apps, err = console.Need[market.Apps](h); err != nil {
		return err
	}
	if p.services, err = console.Need[market.Services](h); err != nil {
		return err
	}
	p.apis, err = console.Need[market.APIs](h)
	return err
}

// Pages are its templates.
func (*Plugin) Pages() fs.FS { return console.Folder(files, "page") }

// Words are its texts.
func (*Plugin) Words() fs.FS { return console.Folder(files, "words") }

// Routes declares its pages.
func (p *Plugin) Routes(r *web.Routes) {
	buyer := r.Buyer()
	buyer.Get("/sdks", p.list, web.Doc{Name: "sdk.list", Out: List{}})
	buyer.Get("/apps/:app/sdk/:language", p.download, web.Doc{Name: "sdk.download", Type: "application/zip"})
	buyer.Menu(web.MenuItem{Group: "menu.develop", Word: "sdk.menu", Icon: "dl", Href: "/sdks", Order: 130})
}

// SDKs lists the languages.
func (*Plugin) SDKs(app market.AppID) []market.Download {
	var list []market.Download
	for _, l := range sdkgen.Languages() {
		list = append(list, market.Download{Name: l.Title(), Href: "/apps/" + string(app) + "/sdk/" + l.Name()})
	}
	return list
}

// List is the buyer's apps with what may be fetched for each.
type List struct {
	Apps []App `json:"apps"`
}

// App is one app with its SDKs.
type App struct {
	ID   market.AppID `json:"id"`
	Name string       `json:"name"`
	APIs int          `json:"apis" doc:"How many products it may call"`
	SDKs []Link       `json:"sdks"`
}

// Link is something to fetch.
type Link struct {
	Name string `json:"name"`
	Href string `json:"href"`
}

func (p *Plugin) list(c *web.Ctx) (web.View, error) {
	apps, err := p.apps.OfBuyer(c, c.Actor().Account)
	if err != nil {
		return web.View{}, err
	}
	l := List{Apps: []App{}}
	for i, a := range apps {
		v := App{ID: a.ID, Name: a.Name, SDKs: []Link{}}
		have, err := p.granted(c, a, i == 0)
		if err != nil {
			return web.View{}, err
		}
		v.APIs = len(have)
		if v.APIs > 0 {
			for _, d := range p.SDKs(a.ID) {
				v.SDKs = append(v.SDKs, Link(d))
			}
		}
		l.Apps = append(l.Apps, v)
	}
	return web.View{Page: "sdk/list", Title: c.T("sdk.menu"), Data: l}, nil
}

// granted are the services that an app may call: purchases go to the buyer's own app.
func (p *Plugin) granted(c *web.Ctx, a market.App, first bool) ([]market.Service, error) {
	if !first {
		own, err := p.apps.For(c, a.Owner)
		if err != nil || own.ID != a.ID {
			return nil, err
		}
	}
	return p.services.OfBuyer(c, a.Owner, "api")
}

// download writes the SDK of exactly what the app may call (SDK-02), with no secret in it.
func (p *Plugin) download(c *web.Ctx) (web.View, error) {
	a, err := p.apps.App(c, c.Actor(), market.AppID(c.Param("app")))
	if err != nil {
		return web.View{}, err
	}
	have, err := p.granted(c, a, false)
	if err != nil {
		return web.View{}, err
	}
	if len(have) == 0 {
		return web.View{}, &market.Error{Kind: market.Conflict, Code: "sdk.nothing"}
	}
	language := c.Param("language")
	known := false
	for _, l := range sdkgen.Languages() {
		known = known || l.Name() == language
	}
	if !known {
		return web.View{}, market.NotFound("sdk.no_language")
	}
	in := sdkgen.Input{Language: language, Name: "souk-" + slug(a.Name), Title: a.Name}
	for _, s := range have {
		product, err := p.product(c, s)
		if err != nil {
			return web.View{}, err
		}
		in.Products = append(in.Products, product)
	}
	written, err := sdkgen.Generate(c, in)
	if err != nil {
		return web.View{}, err
	}
	var b bytes.Buffer
	if err := sdkgen.Zip(&b, written); err != nil {
		return web.View{}, err
	}
	return web.View{Raw: &web.Raw{Type: "application/zip", Name: in.Name + "-" + language + ".zip", Body: b.Bytes()}}, nil
}

func (p *Plugin) product(c *web.Ctx, s market.Service) (sdkgen.Product, error) {
	api, err := p.apis.API(c, s.Source)
	if err != nil {
		return sdkgen.Product{}, err
	}
	product := sdkgen.Product{Name: slug(s.Name.EN), Title: s.Name.In(c.Lang()), BaseURL: p.base, Host: api.Domain}
	if len(api.Document) > 0 {
		doc, err := openapi.Read(api.Document)
		if err != nil {
			return product, err // it was read when it was imported
		}
		product.Document = doc
	}
	for _, i := range api.Interfaces {
		product.Routes = append(product.Routes, sdkgen.Route{Title: i.Name.In(c.Lang()), Method: i.Method, Path: i.Path, Operation: i.Operation})
	}
	return product, nil
}

// slug is what of a name may stand in a package's name; the generator makes one from the
// title where nothing is left.
func slug(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return strings.Trim(b.String(), "-")
}
