package order

import (
	"context"
	"slices"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/gateway/storage"
)

// offer is a plan that is for sale now.
func (p *Plugin) offer(ctx context.Context, id market.PlanID) (market.Offer, error) {
	if id == "" {
		return market.Offer{}, &market.Error{Kind: market.Invalid, Code: "form.invalid",
			Fields: []market.Field{{Name: "plan", Code: "order.no_plan"}}}
	}
	o, err := p.shelf.Offer(ctx, id)
	if err != nil {
		return o, err
	}
	if !o.Open {
		return o, &market.Error{Kind: market.Conflict, Code: "order.not_for_sale"}
	}
	return o, nil
}

// Place makes an order from one plan. once is the form's own key: to send a form twice,
// or to reload the page after it, places one order (BUY-03).
func (p *Plugin) Place(ctx context.Context, who *market.Actor, plan market.PlanID, count int64, once string) (market.OrderID, error) {
	offer, err := p.offer(ctx, plan)
	if err != nil {
		return "", err
	}
	total, err := price(offer, count)
	if err != nil {
		return "", err
	}
	kind, err := p.typeOf(ctx, who, offer)
	if err != nil {
		return "", err
	}
	now := p.now()
	o := Order{
		ID: market.OrderID(market.NewID("ord", now)), Buyer: who.Account, Person: who.Person, Seller: offer.Seller,
		Type: kind, State: Unpaid, Total: total, Created: now, Expires: now.Add(lapseAfter),
		Lines: []market.OrderLine{{ID: market.LineID(market.NewID("lin", now)), Offer: offer, Count: count, Price: offer.Price}},
	}
	if once == "" {
		once = string(o.ID) // no key: each request is one of its own
	}
	err = p.db.Tx(ctx, func(tx *storage.Tx) error {
		if err := insert(ctx, tx, o, once); err != nil {
			return err
		}
		return p.bus.Tell(ctx, tx, market.OrderPlaced{Order: o.ID, Buyer: o.Buyer, Seller: o.Seller, Total: o.Total, Lines: o.Lines, At: now})
	})
	if p.db.Unique(err) {
		return findOnce(ctx, p.db.Read(), who.Account, once)
	}
	return o.ID, err
}

// typeOf is topup where the buyer already has the product.
func (p *Plugin) typeOf(ctx context.Context, who *market.Actor, offer market.Offer) (Type, error) {
	have, err := p.services.OfBuyer(ctx, who.Account, offer.Kind)
	if slices.ContainsFunc(have, func(s market.Service) bool { return s.Product == offer.Product }) {
		return TopUp, err
	}
	return New, err
}

// Cancel closes an order that nobody has paid for.
func (p *Plugin) Cancel(ctx context.Context, who *market.Actor, id market.OrderID) error {
	return p.db.Tx(ctx, func(tx *storage.Tx) error {
		o, err := find(ctx, tx, who, id)
		if err != nil {
			return err
		}
		if o.State != Unpaid {
			return &market.Error{Kind: market.Conflict, Code: "order.cannot_cancel"}
		}
		return p.close(ctx, tx, o)
	})
}

func (p *Plugin) close(ctx context.Context, tx *storage.Tx, o Order) error {
	if err := move(ctx, tx, o.ID, o.State, Closed); err != nil {
		return err
	}
	return p.bus.Tell(ctx, tx, market.OrderClosed{Order: o.ID, At: p.now()})
}

// lapse closes the orders whose time to pay is over.
func (p *Plugin) lapse(ctx context.Context) error {
	ids, err := findLapsed(ctx, p.db.Read(), p.now())
	if err != nil {
		return err
	}
	for _, id := range ids {
		err := p.db.Tx(ctx, func(tx *storage.Tx) error {
			o, err := findAny(ctx, tx, id)
			if err != nil || o.State != Unpaid {
				return err // paid a moment ago
			}
			return p.close(ctx, tx, o)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// settled moves an order to paid once its money is in.
func (p *Plugin) settled(ctx context.Context, tx *storage.Tx, e market.PaymentSettled) error {
	o, err := findAny(ctx, tx, e.Order)
	if err != nil {
		return err
	}
	if o.State == Paid {
		return nil
	}
	if err := move(ctx, tx, o.ID, o.State, Paid); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `UPDATE order_head SET paid = ? WHERE id = ?`, storage.Millis(e.At), o.ID); err != nil {
		return err
	}
	return p.bus.Tell(ctx, tx, market.OrderPaid{Order: o.ID, Buyer: o.Buyer, Seller: o.Seller, Total: o.Total, Lines: o.Lines, At: e.At})
}

// Payable gives the payment page its facts.
func (p *Plugin) Payable(ctx context.Context, who *market.Actor, id market.OrderID) (market.Payable, error) {
	o, err := find(ctx, p.db.Read(), who, id)
	if err != nil {
		return market.Payable{}, err
	}
	return market.Payable{Order: o.ID, Amount: o.Total, Buyer: o.Buyer, Title: o.Lines[0].Offer.Name,
		Lines: len(o.Lines), State: string(o.State), Expires: o.Expires}, nil
}
