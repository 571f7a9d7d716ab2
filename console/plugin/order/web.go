package order

import (
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web"
)

// choice is what somebody means to buy.
type choice struct {
	Plan  market.PlanID `json:"plan"`
	Count int64         `json:"count,omitempty" doc:"1 to 1000; 1 if left out"`
	Once  string        `json:"once,omitempty" doc:"A key of your own: a request that repeats it gives the same order"`
}

// Checkout is the order as it would be placed now.
type Checkout struct {
	Lines   []Line        `json:"lines"`
	Seller  string        `json:"seller"`
	Total   market.Fen    `json:"total"`
	Type    Type          `json:"type"`
	Minutes int           `json:"minutes" doc:"An unpaid order closes by itself after so many"`
	Plan    market.PlanID `json:"plan"`
	Count   int64         `json:"count"`
	Once    string        `json:"once" doc:"Give it when you place the order"`
}

// Line is one plan in an order.
type Line struct {
	Product    market.ProductID `json:"product"`
	Name       market.Text      `json:"name"`
	Category   string           `json:"category"`
	Plan       market.Text      `json:"plan"`
	Calls      int64            `json:"calls"`
	Months     int              `json:"months"`
	Until      *time.Time       `json:"until" doc:"If it were opened now; null: no end"`
	Count      int64            `json:"count"`
	Price      market.Fen       `json:"price" doc:"Of one"`
	Sum        market.Fen       `json:"sum"`
	Refundable bool             `json:"refundable"`
}

func (p *Plugin) line(l market.OrderLine, at time.Time) Line {
	v := Line{Product: l.Offer.Product, Name: l.Offer.Name, Category: string(l.Offer.Category), Plan: l.Offer.Title,
		Calls: l.Offer.Calls, Months: l.Offer.Months, Count: l.Count, Price: l.Price, Sum: l.Price * market.Fen(l.Count)}
	if u := market.PeriodEnd(at, l.Offer.Months, p.zone); !u.IsZero() {
		v.Until = &u
	}
	return v
}

func (p *Plugin) sellerName(c *web.Ctx, id market.AccountID) (string, error) {
	names, err := p.accounts.Names(c, id)
	return names[id], err
}

func (p *Plugin) checkout(c *web.Ctx) (web.View, error) {
	var in choice
	if err := c.Bind(&in); err != nil {
		return web.View{}, err
	}
	if in.Count == 0 && c.Query("count") == "" {
		in.Count = 1
	}
	return p.checkoutView(c, in)
}

func (p *Plugin) checkoutView(c *web.Ctx, in choice) (web.View, error) {
	offer, err := p.offer(c, in.Plan)
	if err != nil {
		return web.View{}, err
	}
	total, err := price(offer, in.Count)
	if err != nil {
		return web.View{}, err
	}
	kind, err := p.typeOf(c, c.Actor(), offer)
	if err != nil {
		return web.View{}, err
	}
	seller, err := p.sellerName(c, offer.Seller)
	if err != nil {
		return web.View{}, err
	}
	if in.Once == "" {
		in.Once = market.NewID("once", p.now())
	}
	return web.View{Page: "order/checkout", Title: c.T("order.checkout"), Layout: "bare", Data: Checkout{
		Lines:  []Line{p.line(market.OrderLine{Offer: offer, Count: in.Count, Price: offer.Price}, p.now())},
		Seller: seller, Total: total, Type: kind, Minutes: int(lapseAfter / time.Minute), Plan: in.Plan, Count: in.Count, Once: in.Once,
	}}, nil
}

func (p *Plugin) place(c *web.Ctx) (web.View, error) {
	in := choice{Count: 1}
	if err := c.Bind(&in); err != nil {
		return web.View{}, err
	}
	id, err := p.Place(c, c.Actor(), in.Plan, in.Count, in.Once)
	if err != nil {
		return web.View{}, err
	}
	v, err := p.showView(c, id)
	v.To = "/orders/" + string(id) + "/pay"
	return v, err
}

// filter is how a list of orders is narrowed.
type filter struct {
	State  string `json:"state,omitempty" doc:"unpaid, paid or closed"`
	Type   string `json:"type,omitempty" doc:"new or topup"`
	Q      string `json:"q,omitempty" doc:"An order number or part of a product's name"`
	Before string `json:"before,omitempty" doc:"The next of the page before"`
}

// List is a page of orders.
type List struct {
	Filter filter `json:"filter"`
	Orders []Show `json:"orders"`
	Total  int    `json:"total" doc:"How many match"`
	Next   string `json:"next" doc:"Give it as before for the next page; empty on the last"`
	Seller bool   `json:"-"`
}

// Show is one order.
type Show struct {
	ID      market.OrderID `json:"id"`
	Type    Type           `json:"type"`
	State   State          `json:"state"`
	Total   market.Fen     `json:"total"`
	Seller  string         `json:"seller"`
	Buyer   string         `json:"buyer"`
	Created time.Time      `json:"created"`
	Expires *time.Time     `json:"expires" doc:"When an unpaid order closes by itself"`
	Paid    *time.Time     `json:"paid"`
	Lines   []Line         `json:"lines"`
}

func (p *Plugin) list(c *web.Ctx) (web.View, error) {
	return p.listView(c, search{side: "buyer", account: c.Actor().Account}, "/orders")
}

// sold is the seller's list: what was ordered of him, without the buyer's person.
func (p *Plugin) sold(c *web.Ctx) (web.View, error) {
	return p.listView(c, search{side: "seller", account: c.Actor().Account}, "/seller/orders")
}

func (p *Plugin) listView(c *web.Ctx, s search, menu string) (web.View, error) {
	var in filter
	if err := c.Bind(&in); err != nil {
		return web.View{}, err
	}
	s.state, s.kind, s.word, s.before = in.State, in.Type, in.Q, in.Before
	orders, total, err := list(c, p.db.Read(), s, perPage+1)
	if err != nil {
		return web.View{}, err
	}
	l := List{Filter: in, Orders: []Show{}, Total: total, Seller: s.side == "seller"}
	if len(orders) > perPage {
		orders = orders[:perPage]
		l.Next = string(orders[perPage-1].ID)
	}
	var ids []market.AccountID
	for _, o := range orders {
		ids = append(ids, o.Buyer, o.Seller)
	}
	names, err := p.accounts.Names(c, ids...)
	if err != nil {
		return web.View{}, err
	}
	for _, o := range orders {
		l.Orders = append(l.Orders, p.view(o, names))
	}
	title := c.T("order.menu")
	if in.State == string(Unpaid) && !l.Seller {
		menu, title = "/orders?state=unpaid", c.T("order.menu_unpaid")
	}
	return web.View{Page: "order/list", Title: title, Data: l, Menu: menu}, nil
}

func (p *Plugin) view(o Order, names map[market.AccountID]string) Show {
	v := Show{ID: o.ID, Type: o.Type, State: o.State, Total: o.Total, Seller: names[o.Seller], Buyer: names[o.Buyer], Created: o.Created, Lines: []Line{}}
	at := p.now()
	if o.State == Unpaid {
		v.Expires = &o.Expires
	}
	if !o.Paid.IsZero() {
		v.Paid = &o.Paid
		at = o.Paid
	}
	for _, l := range o.Lines {
		v.Lines = append(v.Lines, p.line(l, at))
	}
	return v
}

func (p *Plugin) show(c *web.Ctx) (web.View, error) {
	return p.showView(c, market.OrderID(c.Param("order")))
}

func (p *Plugin) showView(c *web.Ctx, id market.OrderID) (web.View, error) {
	o, err := find(c, p.db.Read(), c.Actor(), id)
	if err != nil {
		return web.View{}, err
	}
	names, err := p.accounts.Names(c, o.Buyer, o.Seller)
	return web.View{Page: "order/show", Title: c.T("order.one", "id", string(id)), Data: p.view(o, names), Menu: "/orders",
		Crumbs: []web.Crumb{{Word: c.T("order.menu"), Href: "/orders"}, {Word: string(id)}}}, err
}

func (p *Plugin) cancel(c *web.Ctx) (web.View, error) {
	id := market.OrderID(c.Param("order"))
	if err := p.Cancel(c, c.Actor(), id); err != nil {
		return web.View{}, err
	}
	v, err := p.showView(c, id)
	v.To, v.Say = "/orders/"+string(id), "order.cancelled"
	return v, err
}

// unpaid counts what waits for the buyer's money, for the menu.
func (p *Plugin) unpaid(c *web.Ctx) int {
	n, err := countUnpaid(c, p.db.Read(), c.Actor().Account)
	if err != nil {
		p.log.Error("count unpaid orders", zap.Error(err))
	}
	return n
}
