package ledger

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
)

// Entry is a call on its way into the ledger. Charged ones carry the lease that their
// serial came from.
type Entry struct {
	control.CallRecord
	Lease int64
}

// Book writes calls: each charged one once, by its package and serial; the sums that the
// console reads; the records of calls; and the credits. All in one transaction, and a
// charged call that was booked before changes nothing, so a spool may be booked again.
func (l *Ledger) Book(ctx context.Context, entries []Entry, credits []Credit) error {
	if len(entries) == 0 && len(credits) == 0 {
		return nil
	}
	return l.db.Tx(ctx, func(tx *storage.Tx) error {
		fresh, err := bookCharged(ctx, tx, entries)
		if err != nil {
			return err
		}
		if err := credit(ctx, tx, credits); err != nil {
			return err
		}
		if err := bookDeltas(ctx, tx, fresh); err != nil {
			return err
		}
		return bookCalls(ctx, tx, fresh)
	})
}

// ErrNoLease: a charged call names a lease that the ledger never made.
var ErrNoLease = errors.New("ledger: the database is older than the calls to be booked (was it restored while a spool lay beside it? move the spool away); it has no lease")

// bookCharged inserts usage rows, and leaves out entries that were there.
func bookCharged(ctx context.Context, tx *storage.Tx, entries []Entry) ([]Entry, error) {
	insert, err := tx.Prepare(ctx, `INSERT INTO gw_usage (package, serial, lease, at, request) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`)
	if err != nil {
		return nil, err
	}
	defer insert.Close()
	type sum struct {
		units int64
		last  int64
	}
	leases, packages := map[int64]int64{}, map[control.PackageID]sum{}
	fresh := make([]Entry, 0, len(entries))
	for _, e := range entries {
		if e.Outcome != control.Charged {
			fresh = append(fresh, e)
			continue
		}
		at := storage.Millis(e.At)
		res, err := insert.ExecContext(ctx, e.Package, e.Serial, e.Lease, at, e.Request)
		if err != nil {
			return nil, fmt.Errorf("serial %d of %s: %w", e.Serial, e.Package, err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			if err != nil {
				return nil, err
			}
			continue
		}
		fresh = append(fresh, e)
		leases[e.Lease]++
		s := packages[e.Package]
		packages[e.Package] = sum{s.units + 1, max(s.last, at)}
	}
	for id, n := range leases {
		rows, err := tx.Exec(ctx, `UPDATE gw_lease SET remaining = remaining - ? WHERE id = ?`, n, id)
		if err != nil {
			return nil, fmt.Errorf("lease %d: %w", id, err)
		}
		if rows == 0 {
			return nil, fmt.Errorf("%w %d", ErrNoLease, id)
		}
	}
	for id, s := range packages {
		if _, err := tx.Exec(ctx, `UPDATE gw_package SET charged = charged + ?, last = MAX(last, ?) WHERE id = ?`, s.units, s.last, id); err != nil {
			return nil, fmt.Errorf("package %s: %w", id, err)
		}
	}
	return fresh, nil
}

// bookDeltas adds up what the entries came to, by minute and kind.
func bookDeltas(ctx context.Context, tx *storage.Tx, entries []Entry) error {
	sums := map[control.Usage]*[2]int64{}
	var order []control.Usage
	for _, e := range entries {
		code := e.Code
		if code == "" {
			code = fmt.Sprintf("%dxx", e.Status/100)
		}
		key := control.Usage{Minute: e.At.Truncate(time.Minute).UTC(), Grant: e.Grant, App: e.App, Product: e.Product, Route: e.Route,
			Outcome: e.Outcome, Code: code}
		if e.Outcome == control.Charged {
			key.Package = e.Package
		}
		s := sums[key]
		if s == nil {
			s = new([2]int64)
			sums[key] = s
			order = append(order, key)
		}
		s[0]++
		s[1] += e.Took.Microseconds()
	}
	for _, k := range order {
		s := sums[k]
		_, err := tx.Exec(ctx, `INSERT INTO gw_delta (minute, grant_id, package, app, product, route, outcome, code, calls, micros)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, storage.Millis(k.Minute), k.Grant, k.Package, k.App, k.Product, k.Route, k.Outcome, k.Code, s[0], s[1])
		if err != nil {
			return err
		}
	}
	return nil
}

func bookCalls(ctx context.Context, tx *storage.Tx, entries []Entry) error {
	insert, err := tx.Prepare(ctx, `INSERT INTO gw_call (request, at, app, product, route, grant_id, package, serial, method, path, status, code, outcome, micros)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
	if err != nil {
		return err
	}
	defer insert.Close()
	for _, e := range entries {
		_, err := insert.ExecContext(ctx, e.Request, storage.Millis(e.At), e.App, e.Product, e.Route, e.Grant, e.Package, e.Serial,
			e.Method, e.Path, e.Status, e.Code, e.Outcome, e.Took.Microseconds())
		if err != nil {
			return err
		}
	}
	return nil
}

// How many records of calls are kept, and how long. The sums stay for ever.
const (
	callsKept = 100_000
	callsFor  = 7 * 24 * time.Hour
)

// Trim drops records of calls that are older or more than what is kept.
func (l *Ledger) Trim(ctx context.Context) error {
	return l.db.Tx(ctx, func(tx *storage.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM gw_call WHERE id <= (SELECT COALESCE(MAX(id), 0) FROM gw_call) - ?`, callsKept); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `DELETE FROM gw_call WHERE id < COALESCE((SELECT MIN(id) FROM gw_call WHERE at >= ?), ?)`,
			storage.Millis(l.now().Add(-callsFor)), int64(math.MaxInt64))
		return err
	})
}
