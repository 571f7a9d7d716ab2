package ledger

import (
	"context"
	"fmt"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
)

var _ control.Plane = (*Ledger)(nil)

// Flush returns once everything counted before it is in the ledger.
func (l *Ledger) Flush(ctx context.Context) error {
	if l.flush == nil {
		return nil
	}
	return l.flush(ctx)
}

// Balances reports each package of the grants, in the order of deduction.
func (l *Ledger) Balances(ctx context.Context, ids ...control.GrantID) ([]control.Balance, error) {
	if err := l.Flush(ctx); err != nil {
		return nil, err
	}
	db, err := l.base()
	if err != nil {
		return nil, err
	}
	var list []control.Balance
	for _, id := range ids {
		rows, err := db.Read().Query(ctx, `SELECT id, granted, charged, start, until, live, last FROM gw_package WHERE grant_id = ?
			ORDER BY until = 0, until, start, id`, id)
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			b := control.Balance{Grant: id}
			var start, until, last int64
			if err := rows.Scan(&b.Package, &b.Total, &b.Used, &start, &until, &b.Live, &last); err != nil {
				_ = rows.Close() //nolint:sqlclosecheck // in a loop; the scan's error says more
				return nil, err
			}
			if l.held != nil {
				b.Held = min(l.held(b.Package), b.Total-b.Used)
			}
			b.Remaining = b.Total - b.Used - b.Held
			b.From, b.Until, b.LastCall = storage.Moment(start), storage.Moment(until), storage.Moment(last)
			list = append(list, b)
		}
		if err := rows.Err(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Usage reads the sums since a cursor.
func (l *Ledger) Usage(ctx context.Context, since control.Cursor, most int) ([]control.Usage, control.Cursor, error) {
	db, err := l.base()
	if err != nil {
		return nil, since, err
	}
	rows, err := db.Read().Query(ctx, `SELECT id, minute, grant_id, package, app, product, route, outcome, code, calls, micros
		FROM gw_delta WHERE id > ? ORDER BY id LIMIT ?`, int64(since), most)
	if err != nil {
		return nil, since, err
	}
	defer rows.Close()
	var list []control.Usage
	at := int64(since)
	for rows.Next() {
		var u control.Usage
		var minute int64
		if err := rows.Scan(&at, &minute, &u.Grant, &u.Package, &u.App, &u.Product, &u.Route, &u.Outcome, &u.Code, &u.Calls, &u.Micros); err != nil {
			return nil, since, err
		}
		u.Minute = storage.Moment(minute)
		list = append(list, u)
	}
	return list, control.Cursor(at), rows.Err()
}

// Fault is a package whose figures do not agree.
type Fault struct {
	Package control.PackageID
	Text    string
}

// Audit checks what must hold of every package: next = charged + credited + what open
// leases have left, charged = the marked serials of its leases = what the console was told,
// each marked serial inside its lease and those marked and left no more than the lease has,
// none beyond what was granted. It reads one state of the database. An empty answer is a
// clean bill.
func (l *Ledger) Audit(ctx context.Context) ([]Fault, error) {
	db, err := l.base()
	if err != nil {
		return nil, err
	}
	var faults []Fault
	err = db.View(ctx, func(q storage.Queryer) error {
		var err error
		if faults, err = auditPackages(ctx, q); err != nil {
			return err
		}
		more, err := auditLeases(ctx, q)
		faults = append(faults, more...)
		return err
	})
	return faults, err
}

func auditPackages(ctx context.Context, q storage.Queryer) ([]Fault, error) {
	rows, err := q.Query(ctx, `SELECT p.id, p.granted, p.next, p.credited, p.charged,
			COALESCE(l.units, 0), COALESCE(l.used, 0) - COALESCE(l.undone, 0), COALESCE(d.calls, 0)
		FROM gw_package p
		LEFT JOIN (SELECT package, SUM(remaining) AS units, SUM(used) AS used, SUM(undone) AS undone FROM gw_lease GROUP BY package) l ON l.package = p.id
		LEFT JOIN (SELECT package, SUM(calls) AS calls FROM gw_delta WHERE outcome = 'charged' GROUP BY package) d ON d.package = p.id
		ORDER BY p.id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var faults []Fault
	for rows.Next() {
		var id control.PackageID
		var granted, next, credited, charged, out, used, told int64
		if err := rows.Scan(&id, &granted, &next, &credited, &charged, &out, &used, &told); err != nil {
			return nil, err
		}
		note := func(bad bool, format string, args ...any) {
			if bad {
				faults = append(faults, Fault{id, fmt.Sprintf(format, args...)})
			}
		}
		note(next != charged+credited+out, "next %d is not charged %d + credited %d + leased %d", next, charged, credited, out)
		note(charged != used, "charged %d, and %d serials of its leases", charged, used)
		note(charged != told, "charged %d, and %d told to the console", charged, told)
		note(charged > granted, "charged %d of %d granted", charged, granted)
	}
	return faults, rows.Err()
}

func auditLeases(ctx context.Context, q storage.Queryer) ([]Fault, error) {
	rows, err := q.Query(ctx, `SELECT l.id, l.package, l.lo, l.hi, l.remaining, l.used, l.charged, l.undone, l.back, p.id IS NOT NULL AND l.hi <= p.next
		FROM gw_lease l LEFT JOIN gw_package p ON p.id = l.package ORDER BY l.id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var faults []Fault
	for rows.Next() {
		var s, undone spent
		var f Fault
		var id, remaining int64
		var within bool
		if err := rows.Scan(&id, &f.Package, &s.lo, &s.hi, &remaining, &s.used, &s.bits, &undone.used, &undone.bits, &within); err != nil {
			return nil, err
		}
		undone.lo, undone.hi = s.lo, s.hi
		text := s.check()
		switch {
		case text != "":
		case undone.check() != "":
			text = "of those taken back, " + undone.check()
		case !undone.within(&s):
			text = "a charge was taken back that was not made"
		case s.used+remaining > s.hi-s.lo:
			text = fmt.Sprintf("%d charged and %d left are more than its range", s.used, remaining)
		case !within:
			text = "it is of no package, or beyond what went out of it"
		default:
			continue
		}
		f.Text = fmt.Sprintf("lease %d, serials %d to %d: %s", id, s.lo, s.hi-1, text)
		faults = append(faults, f)
	}
	return faults, rows.Err()
}
