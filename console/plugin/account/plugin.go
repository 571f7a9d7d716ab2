// Package account knows people: who they are, for which account they act, and whether
// they are signed in (账号).
//
// Owns:  accounts, people, sessions, access tokens.
// Asks:  nothing.
// Hears: nothing.
// Tells: nothing.
package account

import (
	"context"
	"embed"
	"io/fs"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/console"
	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web"
	"github.com/souk-market/souk/gateway/storage"
)

//go:embed schema page words
var files embed.FS

func init() { console.Register(new(Plugin)) }

// Plugin is the capability.
type Plugin struct {
	db   *storage.DB
	log  *zap.Logger
	now  func() time.Time
	zone *time.Location

	hashing chan struct{} // bounds how many passwords are hashed at once
	tries   tries
	setup   struct { // the one-time token with which the first operator is made
		sync.Mutex
		hash  string
		until time.Time
	}
}

var (
	_ console.Offerer     = (*Plugin)(nil)
	_ console.Provisioner = (*Plugin)(nil)
	_ console.Migrator    = (*Plugin)(nil)
	_ console.Templater   = (*Plugin)(nil)
	_ console.Translator  = (*Plugin)(nil)
	_ console.Router      = (*Plugin)(nil)
	_ console.Worker      = (*Plugin)(nil)
	_ market.Accounts     = (*Plugin)(nil)
	_ market.SetUp        = (*Plugin)(nil)
)

// Plugin names it.
func (*Plugin) Plugin() console.Info {
	return console.Info{ID: "plugin.account", New: func() console.Plugin { return new(Plugin) }}
}

// Offer answers who somebody is, and how the first operator comes in.
func (p *Plugin) Offer(h *console.Host) {
	console.Offer[market.Accounts](h, p)
	console.Offer[market.SetUp](h, p)
}

// Provision takes what it needs of the host.
func (p *Plugin) Provision(h *console.Host) error {
	p.db, p.log, p.now, p.zone = h.DB, h.Log, h.Now, h.Zone
	p.hashing = make(chan struct{}, 2)
	p.tries = newTries()
	return nil
}

// Schema, Pages and Words are its folders.
func (*Plugin) Schema() fs.FS { return console.Folder(files, "schema") }

// Pages are its templates.
func (*Plugin) Pages() fs.FS { return console.Folder(files, "page") }

// Words are its texts.
func (*Plugin) Words() fs.FS { return console.Folder(files, "words") }

// Routes declares its pages.
func (p *Plugin) Routes(r *web.Routes) {
	anyone := r.Anyone()
	anyone.Get("/sign-in", p.showSignIn, web.Doc{Name: "account.sign_in_form", PageOnly: true})
	anyone.Post("/sign-in", p.signIn, web.Doc{Name: "account.sign_in", In: signIn{}, Out: signedIn{}})
	anyone.Get("/sign-up", p.showSignUp, web.Doc{Name: "account.sign_up_form", PageOnly: true})
	anyone.Post("/sign-up", p.signUp, web.Doc{Name: "account.sign_up", In: signUp{}, Out: signedIn{}, Status: 201})
	anyone.Get("/setup", p.showSetUp, web.Doc{Name: "account.set_up_form", PageOnly: true})
	anyone.Post("/setup", p.setUp, web.Doc{Name: "account.set_up", In: setUp{}, Out: signedIn{}, Status: 201})

	member := r.SignedIn()
	member.Post("/sign-out", p.signOut, web.Doc{Name: "account.sign_out"})
	member.Get("/confirm", p.showConfirm, web.Doc{Name: "account.confirm_form", PageOnly: true})
	member.Post("/confirm", p.confirm, web.Doc{Name: "account.confirm", In: confirm{}, PageOnly: true})
	member.Get("/account", p.show, web.Doc{Name: "account.show", Out: Settings{}})
	member.Post("/account/tokens", p.makeToken, web.Doc{Name: "account.make_token", In: newToken{}, Out: MadeToken{}, Status: 201})
	member.Post("/account/tokens/:token/drop", p.dropToken, web.Doc{Name: "account.drop_token"})

	operator := r.Operator()
	operator.Get("/operator/accounts", p.list, web.Doc{Name: "account.list", In: listAccounts{}, Out: AccountList{}})
	operator.Post("/operator/accounts/:account/roles", p.setRoles, web.Doc{Name: "account.set_roles", In: setRoles{}, Out: AccountRow{}})
	operator.Menu(web.MenuItem{Group: "menu.market", Word: "account.menu", Icon: "user", Href: "/operator/accounts", Order: 340})
}

// Work drops sessions that are over, once an hour.
func (p *Plugin) Work(ctx context.Context) error {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if err := p.dropOld(ctx); err != nil {
				p.log.Error("drop sessions that are over", zap.Error(err))
			}
		}
	}
}
