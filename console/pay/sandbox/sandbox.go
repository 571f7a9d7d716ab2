// Package sandbox is a payment provider that moves no money: the buyer says on its page
// whether the payment succeeds. For demos, trials and tests.
package sandbox

import (
	"context"
	"embed"
	"io/fs"

	"github.com/souk-market/souk/console"
	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web"
)

//go:embed page words
var files embed.FS

func init() { console.Register(new(Plugin)) }

// Plugin is the payer.
type Plugin struct{ payments market.Payments }

var (
	_ console.Offerer     = (*Plugin)(nil)
	_ console.Provisioner = (*Plugin)(nil)
	_ console.Templater   = (*Plugin)(nil)
	_ console.Translator  = (*Plugin)(nil)
	_ console.Router      = (*Plugin)(nil)
	_ market.Payer        = (*Plugin)(nil)
)

// Plugin names it.
func (*Plugin) Plugin() console.Info {
	return console.Info{ID: "pay.sandbox", New: func() console.Plugin { return new(Plugin) }}
}

// Offer makes it a payer.
func (p *Plugin) Offer(h *console.Host) { console.Offer[market.Payer](h, p) }

// Provision finds who hears of payments.
func (p *Plugin) Provision(h *console.Host) (err error) {
	p.payments, err = console.Need[market.Payments](h)
	return err
}

// Pages are its templates.
func (*Plugin) Pages() fs.FS { return console.Folder(files, "page") }

// Words are its texts.
func (*Plugin) Words() fs.FS { return console.Folder(files, "words") }

// PayerInfo names it.
func (*Plugin) PayerInfo() market.PayerInfo { return market.PayerInfo{ID: "sandbox", Sandbox: true} }

// Start sends the buyer to the sandbox's own page.
func (*Plugin) Start(_ context.Context, p market.Payment) (string, error) {
	return "/pay/sandbox/" + string(p.ID), nil
}

// Routes declares that page.
func (p *Plugin) Routes(r *web.Routes) {
	buyer := r.Buyer()
	buyer.Get("/pay/sandbox/:payment", p.show, web.Doc{Name: "sandbox.show", PageOnly: true})
	buyer.Post("/pay/sandbox/:payment", p.decide, web.Doc{Name: "sandbox.decide", In: decide{}, Out: Decided{}})
}

// Show is the payment as the provider sees it.
type Show struct {
	Payment market.PaymentID
	Order   market.OrderID
	Amount  market.Fen
}

// own is a payment of the actor's.
func (p *Plugin) own(c *web.Ctx) (market.Payment, error) {
	pay, err := p.payments.Payment(c, market.PaymentID(c.Param("payment")))
	if err == nil && pay.Buyer != c.Actor().Account {
		err = market.NotFound("payment.missing")
	}
	return pay, err
}

func (p *Plugin) show(c *web.Ctx) (web.View, error) {
	pay, err := p.own(c)
	return web.View{Page: "sandbox/show", Title: c.T("sandbox.title"), Layout: "bare",
		Data: Show{Payment: pay.ID, Order: pay.Order, Amount: pay.Amount}}, err
}

type decide struct {
	Result string `json:"result" doc:"paid or declined"`
}

// Decided is what came of it.
type Decided struct {
	Payment market.PaymentID `json:"payment"`
	Order   market.OrderID   `json:"order"`
	Result  string           `json:"result"`
}

func (p *Plugin) decide(c *web.Ctx) (web.View, error) {
	var in decide
	if err := c.Bind(&in); err != nil {
		return web.View{}, err
	}
	pay, err := p.own(c)
	if err != nil {
		return web.View{}, err
	}
	d := Decided{Payment: pay.ID, Order: pay.Order, Result: in.Result}
	switch in.Result {
	case "paid":
		err := p.payments.Settle(c, market.Notice{Payer: "sandbox", Payment: pay.ID, Trade: "sandbox:" + string(pay.ID), Amount: pay.Amount})
		return web.View{To: "/payments/" + string(pay.ID), Data: d}, err
	case "declined":
		return web.View{To: "/orders/" + string(pay.Order) + "/pay", Say: "sandbox.declined", Data: d}, nil
	}
	return web.View{}, &market.Error{Kind: market.Invalid, Code: "form.invalid", Fields: []market.Field{{Name: "result", Code: "sandbox.result"}}}
}
