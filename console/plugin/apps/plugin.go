// Package apps keeps buyers' apps, and shows and resets their credentials through the
// gateway, which alone knows them (应用管理).
//
// Owns:  apps, and what was done with their credentials.
// Asks:  control.Plane, for credentials; market.Services, what an app may call;
// market.SDKs, what may be fetched for it.
// Hears: nothing.
// Tells: nothing.
package apps

import (
	"embed"
	"io/fs"
	"time"

	"github.com/souk-market/souk/console"
	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
)

//go:embed schema page words
var files embed.FS

func init() { console.Register(new(Plugin)) }

// Plugin is the capability.
type Plugin struct {
	db       *storage.DB
	gateway  control.Plane
	now      func() time.Time
	accounts market.Accounts
	services market.Services
	sdks     market.SDKs
}

var (
	_ console.Offerer     = (*Plugin)(nil)
	_ console.Provisioner = (*Plugin)(nil)
	_ console.Migrator    = (*Plugin)(nil)
	_ console.Templater   = (*Plugin)(nil)
	_ console.Translator  = (*Plugin)(nil)
	_ console.Router      = (*Plugin)(nil)
	_ market.Apps         = (*Plugin)(nil)
)

// Plugin names it.
func (*Plugin) Plugin() console.Info {
	return console.Info{ID: "plugin.apps", New: func() console.Plugin { return new(Plugin) }}
}

// Offer names buyers' apps.
func (p *Plugin) Offer(h *console.Host) { console.Offer[market.Apps](h, p) }

// Provision finds the gateway and what buyers have.
func (p *Plugin) Provision(h *console.Host) (err error) {
	p.db, p.gateway, p.now = h.DB, h.Gateway, h.Now
	if p.accounts, err = console.Need[market.Accounts](h); err != nil {
		return err
	}
	if p.services, err = console.Need[market.Services](h); err != nil {
		return err
	}
	p.sdks, err = console.Need[market.SDKs](h)
	return err
}

// Schema is its tables.
func (*Plugin) Schema() fs.FS { return console.Folder(files, "schema") }

// Pages are its templates.
func (*Plugin) Pages() fs.FS { return console.Folder(files, "page") }

// Words are its texts.
func (*Plugin) Words() fs.FS { return console.Folder(files, "words") }

// Routes declares its pages.
func (p *Plugin) Routes(r *web.Routes) {
	buyer := r.Buyer()
	buyer.Get("/apps", p.list, web.Doc{Name: "apps.list", In: filter{}, Out: List{}})
	buyer.Post("/apps", p.add, web.Doc{Name: "apps.add", In: edit{}, Out: Show{}, Status: 201})
	buyer.Get("/apps/:app", p.show, web.Doc{Name: "apps.show", Out: Show{}})
	buyer.Post("/apps/:app", p.edit, web.Doc{Name: "apps.edit", In: edit{}, Out: Show{}})
	buyer.Post("/apps/:app/secret/reveal", p.revealSecret, web.Doc{Name: "apps.reveal_secret", Out: Revealed{}})
	buyer.Post("/apps/:app/code/reveal", p.revealCode, web.Doc{Name: "apps.reveal_code", Out: Revealed{}})
	buyer.Get("/apps/:app/secret/reset", p.askSecret, web.Doc{Name: "apps.reset_secret_form", PageOnly: true})
	buyer.Post("/apps/:app/secret/reset", p.resetSecret, web.Doc{Name: "apps.reset_secret", In: reset{}, Out: Show{}})
	buyer.Get("/apps/:app/code/reset", p.askCode, web.Doc{Name: "apps.reset_code_form", PageOnly: true})
	buyer.Post("/apps/:app/code/reset", p.resetCode, web.Doc{Name: "apps.reset_code", In: reset{}, Out: Show{}})
	buyer.Menu(web.MenuItem{Group: "menu.develop", Word: "apps.menu", Icon: "key", Href: "/apps", Order: 110})
}
