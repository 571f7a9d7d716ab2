package service

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/gateway/storage"
)

const serviceColumns = `id, buyer, product, seller, kind, source, charge, name, state, remark, created`

func scanService(scan func(...any) error) (service, error) {
	var s service
	var name string
	err := scan(&s.ID, &s.Buyer, &s.Product, &s.Seller, &s.Kind, &s.Source, &s.Charge, &name, &s.State, &s.Remark, &s.Created)
	s.Name = market.TextFrom(name)
	return s, err
}

func insertService(ctx context.Context, tx *storage.Tx, s market.Service, at time.Time) error {
	_, err := tx.Exec(ctx, `INSERT INTO service_service (id, buyer, product, seller, kind, source, charge, name, state, created)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'opening', ?) ON CONFLICT (id) DO NOTHING`,
		s.ID, s.Buyer, s.Product, s.Seller, s.Kind, s.Source, s.Charge, s.Name.JSON(), storage.Millis(at))
	return err
}

// insertPart reports false if the part was there.
func insertPart(ctx context.Context, tx *storage.Tx, id market.ServiceID, p market.Part) (bool, error) {
	n, err := tx.Exec(ctx, `INSERT INTO service_part (id, service, ord, line, title, calls, start, until, state)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'opening') ON CONFLICT (id) DO NOTHING`,
		p.ID, id, p.Order, p.Line, p.Title.JSON(), p.Calls, storage.Millis(p.From), storage.Millis(p.Until))
	return n == 1, err
}

// findJoinable comes back empty-handed if the buyer has no open service of the product.
func findJoinable(ctx context.Context, q storage.Queryer, buyer market.AccountID, product market.ProductID) (service, error) {
	s, err := scanService(q.QueryRow(ctx, `SELECT `+serviceColumns+` FROM service_service
		WHERE buyer = ? AND product = ? AND state <> 'closed' ORDER BY id LIMIT 1`, buyer, product).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return service{}, nil
	}
	return s, err
}

// find is one of the actor's own.
func find(ctx context.Context, q storage.Queryer, who *market.Actor, id market.ServiceID) (service, error) {
	s, err := scanService(q.QueryRow(ctx, `SELECT `+serviceColumns+` FROM service_service WHERE id = ? AND buyer = ?`, id, who.Account).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		err = market.NotFound("service.missing")
	}
	return s, err
}

func listOpen(ctx context.Context, q storage.Queryer, buyer market.AccountID, kind market.KindID) ([]market.Service, error) {
	rows, err := q.Query(ctx, `SELECT `+serviceColumns+` FROM service_service
		WHERE buyer = ? AND kind = ? AND state <> 'closed' ORDER BY id`, buyer, kind)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []market.Service
	for rows.Next() {
		s, err := scanService(rows.Scan)
		if err != nil {
			return nil, err
		}
		list = append(list, s.Service)
	}
	return list, rows.Err()
}

// list is filtered, newest first, paged by key; it says how many match in all.
func list(ctx context.Context, q storage.Queryer, who *market.Actor, f filter, most int) (found []service, total int, err error) {
	cond, args := `buyer = ?`, []any{who.Account}
	add := func(c string, a ...any) { cond += " AND " + c; args = append(args, a...) }
	if f.State != "" {
		add(`state = ?`, f.State)
	}
	if f.Kind != "" {
		add(`kind = ?`, f.Kind)
	}
	if f.Q != "" {
		add(`(instr(lower(name), lower(?)) > 0 OR instr(lower(remark), lower(?)) > 0 OR id = ?)`, f.Q, f.Q, f.Q)
	}
	if err := q.QueryRow(ctx, `SELECT COUNT(*) FROM service_service WHERE `+cond, args...).Scan(&total); err != nil {
		return nil, 0, err
	}
	if f.Before != "" {
		add(`id < ?`, f.Before)
	}
	rows, err := q.Query(ctx, `SELECT `+serviceColumns+` FROM service_service WHERE `+cond+` ORDER BY id DESC LIMIT ?`, append(args, most)...)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		s, err := scanService(rows.Scan)
		if err != nil {
			return nil, 0, err
		}
		found = append(found, s)
	}
	return found, total, rows.Err()
}

func listParts(ctx context.Context, q storage.Queryer, id market.ServiceID) ([]part, error) {
	rows, err := q.Query(ctx, `SELECT id, ord, line, title, calls, start, until, state FROM service_part WHERE service = ? ORDER BY id`, id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var parts []part
	for rows.Next() {
		var p part
		var title string
		var from, until int64
		if err := rows.Scan(&p.ID, &p.Order, &p.Line, &title, &p.Calls, &from, &until, &p.State); err != nil {
			return nil, err
		}
		p.Title, p.From, p.Until = market.TextFrom(title), storage.Moment(from), storage.Moment(until)
		parts = append(parts, p)
	}
	return parts, rows.Err()
}
