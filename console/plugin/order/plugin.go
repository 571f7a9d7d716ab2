// Package order keeps orders: one agreement with one seller, from placed to paid (订单,
// 未支付订单).
//
// Owns:  orders and their lines.
// Asks:  market.Shelf, what a plan costs today; market.Services, whether the buyer has
// the product; market.Accounts, the seller's name; market.Kind, how long a period is.
// Hears: payment.settled, and moves the order to paid.
// Tells: order.placed, order.paid, order.closed.
package order

import (
	"context"
	"embed"
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
	db       *storage.DB
	bus      *event.Bus
	log      *zap.Logger
	now      func() time.Time
	zone     *time.Location
	shelf    market.Shelf
	accounts market.Accounts
	services market.Services
}

var (
	_ console.Offerer     = (*Plugin)(nil)
	_ console.Provisioner = (*Plugin)(nil)
	_ console.Migrator    = (*Plugin)(nil)
	_ console.Templater   = (*Plugin)(nil)
	_ console.Translator  = (*Plugin)(nil)
	_ console.Router      = (*Plugin)(nil)
	_ console.Listener    = (*Plugin)(nil)
	_ console.Worker      = (*Plugin)(nil)
	_ market.Orders       = (*Plugin)(nil)
)

// Plugin names it.
func (*Plugin) Plugin() console.Info {
	return console.Info{ID: "plugin.order", New: func() console.Plugin { return new(Plugin) }}
}

// Offer answers the facts of an order.
func (p *Plugin) Offer(h *console.Host) { console.Offer[market.Orders](h, p) }

// Provision finds the shelf, the names and what buyers have.
func (p *Plugin) Provision(h *console.Host) (err error) {
	p.db, p.bus, p.log, p.now, p.zone = h.DB, h.Bus, h.Log, h.Now, h.Zone
	if p.shelf, err = console.Need[market.Shelf](h); err != nil {
		return err
	}
	if p.accounts, err = console.Need[market.Accounts](h); err != nil {
		return err
	}
	p.services, err = console.Need[market.Services](h)
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
	buyer.Get("/checkout", p.checkout, web.Doc{Name: "order.checkout", In: choice{}, Out: Checkout{}})
	buyer.Get("/orders", p.list, web.Doc{Name: "order.list", In: filter{}, Out: List{}})
	buyer.Post("/orders", p.place, web.Doc{Name: "order.place", In: choice{}, Out: Show{}, Status: 201})
	buyer.Get("/orders/:order", p.show, web.Doc{Name: "order.show", Out: Show{}})
	buyer.Post("/orders/:order/cancel", p.cancel, web.Doc{Name: "order.cancel", Out: Show{}})
	buyer.Menu(web.MenuItem{Word: "order.menu", Icon: "list", Href: "/orders", Order: 20})
	buyer.Menu(web.MenuItem{Word: "order.menu_unpaid", Icon: "clock", Href: "/orders?state=unpaid", Order: 21, Count: p.unpaid})

	seller := r.Seller()
	seller.Get("/seller/orders", p.sold, web.Doc{Name: "order.sold", In: filter{}, Out: List{}})
	seller.Menu(web.MenuItem{Word: "order.menu", Icon: "list", Href: "/seller/orders", Order: 20})
}

// Listen hears that money is in.
func (p *Plugin) Listen(b *event.Bus) { event.On(b, "plugin.order", p.settled) }

// Work closes orders that nobody paid for in time (UNP-03).
func (p *Plugin) Work(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if err := p.lapse(ctx); err != nil && ctx.Err() == nil {
			p.log.Error("close orders that lapsed", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
