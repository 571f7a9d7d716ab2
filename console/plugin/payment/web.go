package payment

import (
	"time"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web"
)

// Choose is the page on which a payer is chosen.
type Choose struct {
	Order   market.OrderID `json:"order"`
	Title   market.Text    `json:"title" doc:"Of the first line"`
	Lines   int            `json:"lines"`
	Amount  market.Fen     `json:"amount"`
	Expires time.Time      `json:"expires"`
	Payers  []Payer        `json:"payers"`
}

// Payer is a way to pay.
type Payer struct {
	ID      market.PayerID `json:"id"`
	Sandbox bool           `json:"sandbox" doc:"No money moves"`
}

func (p *Plugin) choose(c *web.Ctx) (web.View, error) {
	o, err := p.payable(c, c.Actor(), market.OrderID(c.Param("order")))
	if err != nil {
		return web.View{}, err
	}
	d := Choose{Order: o.Order, Title: o.Title, Lines: o.Lines, Amount: o.Amount, Expires: o.Expires, Payers: []Payer{}}
	for _, y := range p.payers {
		d.Payers = append(d.Payers, Payer{ID: y.PayerInfo().ID, Sandbox: y.PayerInfo().Sandbox})
	}
	return web.View{Page: "payment/choose", Title: c.T("payment.choose"), Layout: "bare", Data: d}, nil
}

type start struct {
	Payer market.PayerID `json:"payer,omitempty" doc:"One of the payers; not needed where the amount is 0.00"`
}

// Show is one payment.
type Show struct {
	ID      market.PaymentID `json:"id"`
	Order   market.OrderID   `json:"order"`
	Amount  market.Fen       `json:"amount"`
	Payer   market.PayerID   `json:"payer"`
	State   State            `json:"state" doc:"started or settled"`
	Settled *time.Time       `json:"settled"`
	Address string           `json:"address" doc:"Where the payer is met; empty when it is settled"`
}

func show(pay payment, address string) Show {
	v := Show{ID: pay.ID, Order: pay.Order, Amount: pay.Amount, Payer: pay.Payer, State: pay.State, Address: address}
	if !pay.Settled.IsZero() {
		v.Settled = &pay.Settled
	}
	return v
}

func (p *Plugin) start(c *web.Ctx) (web.View, error) {
	var in start
	if err := c.Bind(&in); err != nil {
		return web.View{}, err
	}
	pay, address, err := p.Start(c, c.Actor(), market.OrderID(c.Param("order")), in.Payer)
	if err != nil {
		return web.View{}, err
	}
	to := address
	if to == "" {
		to = "/payments/" + string(pay.ID)
	}
	return web.View{To: to, Data: show(pay, address)}, nil
}

func (p *Plugin) show(c *web.Ctx) (web.View, error) {
	pay, err := find(c, p.db.Read(), market.PaymentID(c.Param("payment")))
	if err == nil && pay.Buyer != c.Actor().Account {
		err = market.NotFound("payment.missing")
	}
	if err != nil {
		return web.View{}, err
	}
	return web.View{Page: "payment/show", Title: c.T("payment.title"), Layout: "bare", Data: show(pay, "")}, nil
}
