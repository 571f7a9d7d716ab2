package order

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/gateway/storage"
)

func insert(ctx context.Context, tx *storage.Tx, o Order, once string) error {
	_, err := tx.Exec(ctx, `INSERT INTO order_head (id, buyer, person, seller, type, state, total, once, created, expires, paid)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)`,
		o.ID, o.Buyer, o.Person, o.Seller, o.Type, o.State, int64(o.Total), once, storage.Millis(o.Created), storage.Millis(o.Expires))
	if err != nil {
		return err
	}
	for _, l := range o.Lines {
		offer, err := json.Marshal(l.Offer)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO order_line (id, order_id, plan, product, name, offer, count, price) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			l.ID, o.ID, l.Offer.Plan.ID, l.Offer.Product, l.Offer.Name.ZH+" "+l.Offer.Name.EN, string(offer), l.Count, int64(l.Price))
		if err != nil {
			return err
		}
	}
	return nil
}

// move changes the state from what it was; another who was faster makes it a Conflict.
func move(ctx context.Context, tx *storage.Tx, id market.OrderID, from, to State) error {
	if !from.CanBecome(to) {
		return &market.Error{Kind: market.Conflict, Code: "order.wrong_state"}
	}
	n, err := tx.Exec(ctx, `UPDATE order_head SET state = ? WHERE id = ? AND state = ?`, to, id, from)
	if err == nil && n == 0 {
		err = &market.Error{Kind: market.Conflict, Code: "order.wrong_state"}
	}
	return err
}

const headColumns = `id, buyer, person, seller, type, state, total, created, expires, paid`

func scanHead(scan func(...any) error) (Order, error) {
	var o Order
	var created, expires, paid int64
	err := scan(&o.ID, &o.Buyer, &o.Person, &o.Seller, &o.Type, &o.State, (*int64)(&o.Total), &created, &expires, &paid)
	o.Created, o.Expires, o.Paid = storage.Moment(created), storage.Moment(expires), storage.Moment(paid)
	return o, err
}

// find is an order that the actor may see: his own.
func find(ctx context.Context, q storage.Queryer, who *market.Actor, id market.OrderID) (Order, error) {
	o, err := scanHead(q.QueryRow(ctx, `SELECT `+headColumns+` FROM order_head WHERE id = ? AND buyer = ?`, id, who.Account).Scan)
	return withLines(ctx, q, o, err)
}

// findAny is for listeners and workers, who act for nobody.
func findAny(ctx context.Context, q storage.Queryer, id market.OrderID) (Order, error) {
	o, err := scanHead(q.QueryRow(ctx, `SELECT `+headColumns+` FROM order_head WHERE id = ?`, id).Scan)
	return withLines(ctx, q, o, err)
}

func withLines(ctx context.Context, q storage.Queryer, o Order, err error) (Order, error) {
	if errors.Is(err, sql.ErrNoRows) {
		return o, market.NotFound("order.missing")
	}
	if err != nil {
		return o, err
	}
	o.Lines, err = lines(ctx, q, o.ID)
	if err == nil && len(o.Lines) == 0 {
		err = fmt.Errorf("order %s has no lines", o.ID)
	}
	return o, err
}

func lines(ctx context.Context, q storage.Queryer, id market.OrderID) ([]market.OrderLine, error) {
	rows, err := q.Query(ctx, `SELECT id, offer, count, price FROM order_line WHERE order_id = ? ORDER BY id`, id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []market.OrderLine
	for rows.Next() {
		var l market.OrderLine
		var offer []byte
		if err := rows.Scan(&l.ID, &offer, &l.Count, (*int64)(&l.Price)); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(offer, &l.Offer); err != nil {
			return nil, fmt.Errorf("line %s: %w", l.ID, err)
		}
		list = append(list, l)
	}
	return list, rows.Err()
}

func findOnce(ctx context.Context, q storage.Queryer, buyer market.AccountID, once string) (id market.OrderID, err error) {
	err = q.QueryRow(ctx, `SELECT id FROM order_head WHERE buyer = ? AND once = ?`, buyer, once).Scan(&id)
	return id, err
}

func findLapsed(ctx context.Context, q storage.Queryer, now time.Time) ([]market.OrderID, error) {
	rows, err := q.Query(ctx, `SELECT id FROM order_head WHERE state = 'unpaid' AND expires <= ? ORDER BY expires LIMIT 100`, storage.Millis(now))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []market.OrderID
	for rows.Next() {
		var id market.OrderID
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// search is a filtered list of one side's orders, newest first, paged by key.
type search struct {
	side    string // column that says whose: buyer, seller
	account market.AccountID
	state   string
	kind    string
	word    string
	before  string
}

func (s search) where() (string, []any) {
	cond, args := s.side+` = ?`, []any{s.account}
	add := func(c string, a ...any) { cond += " AND " + c; args = append(args, a...) }
	if s.state != "" {
		add(`state = ?`, s.state)
	}
	if s.kind != "" {
		add(`type = ?`, s.kind)
	}
	if s.word != "" {
		add(`(id = ? OR EXISTS (SELECT 1 FROM order_line l WHERE l.order_id = order_head.id AND instr(lower(l.name), lower(?)) > 0))`, s.word, s.word)
	}
	return cond, args
}

func list(ctx context.Context, q storage.Queryer, s search, most int) (orders []Order, total int, err error) {
	cond, args := s.where()
	if err := q.QueryRow(ctx, `SELECT COUNT(*) FROM order_head WHERE `+cond, args...).Scan(&total); err != nil {
		return nil, 0, err
	}
	if s.before != "" {
		cond += ` AND id < ?`
		args = append(args, s.before)
	}
	rows, err := q.Query(ctx, `SELECT `+headColumns+` FROM order_head WHERE `+cond+` ORDER BY id DESC LIMIT ?`, append(args, most)...)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		o, err := scanHead(rows.Scan)
		if err != nil {
			return nil, 0, err
		}
		orders = append(orders, o)
	}
	if err := rows.Err(); err != nil {
		return nil, 0, err
	}
	for i := range orders {
		if orders[i].Lines, err = lines(ctx, q, orders[i].ID); err != nil {
			return nil, 0, err
		}
	}
	return orders, total, nil
}

func countUnpaid(ctx context.Context, q storage.Queryer, buyer market.AccountID) (n int, err error) {
	err = q.QueryRow(ctx, `SELECT COUNT(*) FROM order_head WHERE buyer = ? AND state = 'unpaid'`, buyer).Scan(&n)
	return n, err
}
