// Package payment moves money in: it lets the buyer choose a payer, hears what the payer
// says, and tells that an order's money is here (支付).
//
// Owns:  payments; money that fits no payment (suspense).
// Asks:  market.Orders, what is to be paid; market.Payer, to move it.
// Hears: nothing.
// Tells: payment.settled.
package payment

import (
	"embed"
	"fmt"
	"io/fs"
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/console"
	"github.com/souk-market/souk/console/event"
	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web"
	"github.com/souk-market/souk/gateway/storage"
)

//go:embed schema page words
var files embed.FS

func init() { console.Register(new(Plugin)) }

// Plugin is the capability.
type Plugin struct {
	db     *storage.DB
	bus    *event.Bus
	log    *zap.Logger
	now    func() time.Time
	orders market.Orders
	payers []market.Payer
}

var (
	_ console.Offerer     = (*Plugin)(nil)
	_ console.Provisioner = (*Plugin)(nil)
	_ console.Migrator    = (*Plugin)(nil)
	_ console.Templater   = (*Plugin)(nil)
	_ console.Translator  = (*Plugin)(nil)
	_ console.Router      = (*Plugin)(nil)
	_ market.Payments     = (*Plugin)(nil)
)

// Plugin names it.
func (*Plugin) Plugin() console.Info {
	return console.Info{ID: "plugin.payment", New: func() console.Plugin { return new(Plugin) }}
}

// Offer hears what payers say.
func (p *Plugin) Offer(h *console.Host) { console.Offer[market.Payments](h, p) }

// Provision finds orders and payers; without a payer nothing could be bought.
func (p *Plugin) Provision(h *console.Host) (err error) {
	p.db, p.bus, p.log, p.now = h.DB, h.Bus, h.Log, h.Now
	p.payers = console.All[market.Payer](h)
	if len(p.payers) == 0 {
		return fmt.Errorf("no payment provider is compiled in; add one in console/standard")
	}
	p.orders, err = console.Need[market.Orders](h)
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
	buyer.Get("/orders/:order/pay", p.choose, web.Doc{Name: "payment.choose", Out: Choose{}})
	buyer.Post("/orders/:order/pay", p.start, web.Doc{Name: "payment.start", In: start{}, Out: Show{}, Status: 201})
	buyer.Get("/payments/:payment", p.show, web.Doc{Name: "payment.show", Out: Show{}})
}
