package payment

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/gateway/storage"
)

// State is where a payment stands.
type State string

// The states of a payment.
const (
	Started State = "started"
	Settled State = "settled"
)

// nothing is the payer of an order that costs nothing: there is no money to move.
const nothing market.PayerID = "nothing"

type payment struct {
	market.Payment
	Payer   market.PayerID
	State   State
	Trade   string
	Settled time.Time
}

func (p *Plugin) payer(id market.PayerID) market.Payer {
	for _, y := range p.payers {
		if y.PayerInfo().ID == id {
			return y
		}
	}
	return nil
}

// Start makes a payment of an unpaid order and asks the payer where to go. An order that
// costs nothing is settled at once.
func (p *Plugin) Start(ctx context.Context, who *market.Actor, id market.OrderID, by market.PayerID) (payment, string, error) {
	o, err := p.payable(ctx, who, id)
	if err != nil {
		return payment{}, "", err
	}
	if o.Amount == 0 {
		by = nothing
	}
	payer := p.payer(by)
	if payer == nil && by != nothing {
		return payment{}, "", &market.Error{Kind: market.Invalid, Code: "form.invalid",
			Fields: []market.Field{{Name: "payer", Code: "payment.unknown_payer"}}}
	}
	pay, err := p.begin(ctx, o, by)
	if err != nil {
		return pay, "", err
	}
	if by == nothing {
		err = p.Settle(ctx, market.Notice{Payer: nothing, Payment: pay.ID, Trade: string(pay.ID), Amount: 0})
		pay.State = Settled
		return pay, "", err
	}
	address, err := payer.Start(ctx, pay.Payment)
	return pay, address, err
}

// payable is an order that waits for money.
func (p *Plugin) payable(ctx context.Context, who *market.Actor, id market.OrderID) (market.Payable, error) {
	o, err := p.orders.Payable(ctx, who, id)
	if err != nil {
		return o, err
	}
	switch o.State {
	case "unpaid":
		return o, nil
	case "paid":
		return o, &market.Error{Kind: market.Conflict, Code: "payment.already_paid"}
	}
	return o, &market.Error{Kind: market.Conflict, Code: "payment.order_closed"}
}

// begin takes up the payment that was started before with the same payer and amount, so
// that reloading the page does not make another.
func (p *Plugin) begin(ctx context.Context, o market.Payable, by market.PayerID) (payment, error) {
	var pay payment
	err := p.db.Tx(ctx, func(tx *storage.Tx) (err error) {
		pay, err = scan(tx.QueryRow(ctx, `SELECT `+columns+` FROM payment_payment WHERE order_id = ? AND payer = ? AND amount = ? AND state = 'started'
			ORDER BY id LIMIT 1`, o.Order, by, int64(o.Amount)).Scan)
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		now := p.now()
		pay = payment{Payment: market.Payment{ID: market.PaymentID(market.NewID("pay", now)), Order: o.Order, Amount: o.Amount, Buyer: o.Buyer},
			Payer: by, State: Started}
		_, err = tx.Exec(ctx, `INSERT INTO payment_payment (id, order_id, buyer, payer, amount, trade, state, created, settled)
			VALUES (?, ?, ?, ?, ?, '', ?, ?, 0)`, pay.ID, pay.Order, pay.Buyer, pay.Payer, int64(pay.Amount), pay.State, storage.Millis(now))
		return err
	})
	return pay, err
}

// Payment is what a payer was asked to move.
func (p *Plugin) Payment(ctx context.Context, id market.PaymentID) (market.Payment, error) {
	pay, err := find(ctx, p.db.Read(), id)
	return pay.Payment, err
}

// Settle notes that money is in. The same notice again changes nothing (BUY-15). Money
// that does not fit is kept in suspense, and the caller is told why.
func (p *Plugin) Settle(ctx context.Context, n market.Notice) error {
	var unfit string
	err := p.db.Tx(ctx, func(tx *storage.Tx) error {
		unfit = ""
		pay, err := find(ctx, tx, n.Payment)
		if err != nil {
			return err
		}
		if pay.State == Settled && pay.Trade == n.Trade && pay.Payer == n.Payer {
			return nil
		}
		if unfit, err = misfit(ctx, tx, pay, n); err != nil {
			return err
		}
		now := p.now()
		if unfit != "" {
			_, err := tx.Exec(ctx, `INSERT INTO payment_suspense (payer, trade, payment, amount, reason, at) VALUES (?, ?, ?, ?, ?, ?)
				ON CONFLICT DO NOTHING`, n.Payer, n.Trade, n.Payment, int64(n.Amount), unfit, storage.Millis(now))
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE payment_payment SET state = 'settled', trade = ?, settled = ? WHERE id = ? AND state = 'started'`,
			n.Trade, storage.Millis(now), pay.ID)
		if err != nil {
			return err
		}
		return p.bus.Tell(ctx, tx, market.PaymentSettled{Payment: pay.ID, Order: pay.Order, Amount: pay.Amount, At: now})
	})
	if err == nil && unfit != "" {
		err = &market.Error{Kind: market.Conflict, Code: unfit}
	}
	return err
}

// misfit is the reason why a notice does not fit its payment, or nothing.
func misfit(ctx context.Context, tx *storage.Tx, pay payment, n market.Notice) (string, error) {
	if pay.State == Settled {
		return "payment.already_paid", nil
	}
	if n.Payer != pay.Payer || n.Amount != pay.Amount {
		return "payment.other_amount", nil
	}
	var paid int
	err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM payment_payment WHERE order_id = ? AND state = 'settled'`, pay.Order).Scan(&paid)
	if paid > 0 {
		return "payment.already_paid", err
	}
	return "", err
}

const columns = `id, order_id, buyer, payer, amount, trade, state, settled`

func scan(scan func(...any) error) (payment, error) {
	var p payment
	var settled int64
	err := scan(&p.ID, &p.Order, &p.Buyer, &p.Payer, (*int64)(&p.Amount), &p.Trade, &p.State, &settled)
	p.Settled = storage.Moment(settled)
	return p, err
}

func find(ctx context.Context, q storage.Queryer, id market.PaymentID) (payment, error) {
	pay, err := scan(q.QueryRow(ctx, `SELECT `+columns+` FROM payment_payment WHERE id = ?`, id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		err = market.NotFound("payment.missing")
	}
	return pay, err
}
