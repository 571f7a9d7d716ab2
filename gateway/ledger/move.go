package ledger

import (
	"context"
	"crypto/md5"
	"fmt"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
)

// moveRows makes bits and blocks of the rows that step 3 drops: of each charged call its
// bit, and of each record its place in a block.
func moveRows(ctx context.Context, tx *storage.Tx) error {
	if err := moveUsage(ctx, tx); err != nil {
		return fmt.Errorf("charged calls: %w", err)
	}
	if err := moveCalls(ctx, tx); err != nil {
		return fmt.Errorf("records of calls: %w", err)
	}
	return nil
}

func moveUsage(ctx context.Context, tx *storage.Tx) error {
	rows, err := tx.Query(ctx, `SELECT u.lease, u.serial, s.lo, s.hi FROM gw_usage u JOIN gw_lease s ON s.id = u.lease ORDER BY u.lease`)
	if err != nil {
		return err
	}
	defer rows.Close()
	leases := map[int64]*spent{}
	for rows.Next() {
		var id, serial, lo, hi int64
		if err := rows.Scan(&id, &serial, &lo, &hi); err != nil {
			return err
		}
		s := leases[id]
		if s == nil {
			s = &spent{lo: lo, hi: hi}
			leases[id] = s
		}
		if _, err := s.charge(serial); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for id, s := range leases {
		if _, err := tx.Exec(ctx, `UPDATE gw_lease SET used = ?, charged = ? WHERE id = ?`, s.used, s.bits, id); err != nil {
			return err
		}
	}
	return nil
}

func moveCalls(ctx context.Context, tx *storage.Tx) error {
	rows, err := tx.Query(ctx, `SELECT request, at, app, product, route, grant_id, package, serial, method, path, status, code, outcome, micros
		FROM gw_call ORDER BY id`)
	if err != nil {
		return err
	}
	defer rows.Close()
	var all []Entry
	for rows.Next() {
		var e Entry
		var request string
		var at, micros int64
		if err := rows.Scan(&request, &at, &e.App, &e.Product, &e.Route, &e.Grant, &e.Package, &e.Serial, &e.Method, &e.Path,
			&e.Status, &e.Code, &e.Outcome, &micros); err != nil {
			return err
		}
		if e.Request, err = control.ParseRequestID(request); err != nil {
			e.Request = md5.Sum([]byte(request)) // no gateway wrote it; it stays one ID
		}
		e.At, e.Took = storage.Moment(at), time.Duration(micros)*time.Microsecond
		all = append(all, e)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return bookCalls(ctx, tx, all)
}
