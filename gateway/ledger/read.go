package ledger

import (
	"context"
	"fmt"
	"time"

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
	var list []control.Balance
	for _, id := range ids {
		rows, err := l.db.Read().Query(ctx, `SELECT id, granted, charged, start, until, live, last FROM gw_package WHERE grant_id = ?
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
	rows, err := l.db.Read().Query(ctx, `SELECT id, minute, grant_id, package, app, product, route, outcome, code, calls, micros
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

// callsMost bounds what one question may ask for.
const callsMost = 1000

// Calls lists the latest calls that match, newest first.
func (l *Ledger) Calls(ctx context.Context, f control.CallFilter) ([]control.CallRecord, error) {
	if err := l.Flush(ctx); err != nil {
		return nil, err
	}
	if f.Max <= 0 {
		f.Max = 50
	}
	cond, args := `1 = 1`, []any{}
	add := func(column string, value any, set bool) {
		if set {
			cond += " AND " + column + " = ?"
			args = append(args, value)
		}
	}
	add("app", f.App, f.App != "")
	add("grant_id", f.Grant, f.Grant != "")
	add("product", f.Product, f.Product != "")
	add("package", f.Package, f.Package != "")
	add("request", f.Request, f.Request != "")
	rows, err := l.db.Read().Query(ctx, `SELECT request, at, app, product, route, grant_id, package, serial, method, path, status, code, outcome, micros
		FROM gw_call WHERE `+cond+` ORDER BY id DESC LIMIT ?`, append(args, min(f.Max, callsMost))...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []control.CallRecord
	for rows.Next() {
		var r control.CallRecord
		var at, micros int64
		if err := rows.Scan(&r.Request, &at, &r.App, &r.Product, &r.Route, &r.Grant, &r.Package, &r.Serial, &r.Method, &r.Path,
			&r.Status, &r.Code, &r.Outcome, &micros); err != nil {
			return nil, err
		}
		r.At, r.Took = storage.Moment(at), time.Duration(micros)*time.Microsecond
		list = append(list, r)
	}
	return list, rows.Err()
}

// Fault is a package whose figures do not agree.
type Fault struct {
	Package control.PackageID
	Text    string
}

// Audit checks what must hold of every package: next = charged + credited + what open
// leases have left, charged = the rows of usage = what the console was told, each serial
// inside the lease it came from, none beyond what was granted. It reads one state of the
// database. An empty answer is a clean bill.
func (l *Ledger) Audit(ctx context.Context) ([]Fault, error) {
	rows, err := l.db.Read().Query(ctx, `SELECT p.id, p.granted, p.next, p.credited, p.charged,
			COALESCE(l.units, 0), COALESCE(u.calls, 0), COALESCE(u.astray, 0), COALESCE(d.calls, 0)
		FROM gw_package p
		LEFT JOIN (SELECT package, SUM(remaining) AS units FROM gw_lease GROUP BY package) l ON l.package = p.id
		LEFT JOIN (SELECT u.package, COUNT(*) AS calls,
				SUM(CASE WHEN s.package = u.package AND u.serial >= s.lo AND u.serial < s.hi THEN 0 ELSE 1 END) AS astray
			FROM gw_usage u LEFT JOIN gw_lease s ON s.id = u.lease GROUP BY u.package) u ON u.package = p.id
		LEFT JOIN (SELECT package, SUM(calls) AS calls FROM gw_delta WHERE outcome = 'charged' GROUP BY package) d ON d.package = p.id
		ORDER BY p.id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var faults []Fault
	for rows.Next() {
		var id control.PackageID
		var granted, next, credited, charged, out, used, astray, told int64
		if err := rows.Scan(&id, &granted, &next, &credited, &charged, &out, &used, &astray, &told); err != nil {
			return nil, err
		}
		note := func(bad bool, format string, args ...any) {
			if bad {
				faults = append(faults, Fault{id, fmt.Sprintf(format, args...)})
			}
		}
		note(next != charged+credited+out, "next %d is not charged %d + credited %d + leased %d", next, charged, credited, out)
		note(charged != used, "charged %d, and %d rows of usage", charged, used)
		note(charged != told, "charged %d, and %d told to the console", charged, told)
		note(astray > 0, "%d charged calls have a serial that is not of their lease", astray)
		note(charged > granted, "charged %d of %d granted", charged, granted)
	}
	return faults, rows.Err()
}
