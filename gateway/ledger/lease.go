package ledger

import (
	"context"
	"database/sql"
	"errors"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
)

// Verdict says why there is no lease.
type Verdict uint8

// The verdicts of Lease.
const (
	Leased    Verdict = iota
	NoGrant           // the app has no grant for the product
	Suspended         // it has one that is not live
	NoPackage         // it never had a package that could be used
	Expired           // all its packages are over
	UsedUp            // a package is valid, and all its units are charged or out
)

// Lease is a range of a package's serials that a node may spend.
type Lease struct {
	ID      int64
	Grant   control.GrantID
	Package control.PackageID
	Lo, Hi  int64 // serials Lo to Hi-1
	// Until is when the range may be spent no longer, in milliseconds: the package is over,
	// or one that is used before it has begun. 0: never.
	Until int64
	// Ends is when the package is over, in milliseconds; 0: never.
	Ends int64
	// Beyond is how many further units there were, of this package and those that are used
	// after it, when the lease was made.
	Beyond int64
}

// LeaseMost is how many units a lease has at most: its bits are written with each batch of
// calls, and are 8 KiB then.
const LeaseMost = 1 << 16

// Credit is units of a lease that came back: they were reserved and not charged, or never
// reserved.
type Credit struct {
	Lease   int64
	Package control.PackageID
	Units   int64
}

// Node names who leases. One live process has it; Incarnation grows with each start.
type Node struct {
	Name        string
	Incarnation int64
}

// Begin makes a node's next incarnation, and gives back what its former ones had leased
// and neither charged nor credited. The spool must have been booked before. Only the one
// live process of a node may call it.
func (l *Ledger) Begin(ctx context.Context, name string) (Node, error) {
	n := Node{Name: name}
	err := l.tx(ctx, func(tx *storage.Tx) error {
		var before []byte
		err := tx.QueryRow(ctx, `SELECT value FROM gw_meta WHERE name = ?`, "incarnation "+name).Scan(&before)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		for _, c := range before {
			n.Incarnation = n.Incarnation*10 + int64(c-'0')
		}
		n.Incarnation++
		_, err = tx.Exec(ctx, `INSERT INTO gw_meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
			"incarnation "+name, []byte(itoa(n.Incarnation)))
		if err != nil {
			return err
		}
		open, err := openLeases(ctx, tx, name)
		if err != nil {
			return err
		}
		return credit(ctx, tx, open)
	})
	return n, err
}

func itoa(n int64) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + string(rune('0'+n%10))
}

func openLeases(ctx context.Context, q storage.Queryer, node string) ([]Credit, error) {
	rows, err := q.Query(ctx, `SELECT id, package, remaining FROM gw_lease WHERE node = ? AND remaining > 0`, node)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Credit
	for rows.Next() {
		var c Credit
		if err := rows.Scan(&c.Lease, &c.Package, &c.Units); err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, rows.Err()
}

const (
	leaseCredit   = `UPDATE gw_lease SET remaining = remaining - ? WHERE id = ?`
	packageCredit = `UPDATE gw_package SET credited = credited + ? WHERE id = ?`
)

func credit(ctx context.Context, tx *storage.Tx, credits []Credit) error {
	for _, c := range credits {
		if c.Units == 0 {
			continue
		}
		if _, err := tx.Exec(ctx, leaseCredit, c.Units, c.Lease); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, packageCredit, c.Units, c.Package); err != nil {
			return err
		}
	}
	return nil
}

// Credit gives units back.
func (l *Ledger) Credit(ctx context.Context, credits ...Credit) error {
	if len(credits) == 0 {
		return nil
	}
	return l.tx(ctx, func(tx *storage.Tx) error { return credit(ctx, tx, credits) })
}

// Lease gives the credits back and then sets aside at most want units of the package that
// is used first, among those of all live grants of the app for the product: the one that
// ends first, then the one that began first. A package that has not begun, or is over, is not used. It takes at most half of what is
// there, and single units at the end, so that a later cluster strands none.
func (l *Ledger) Lease(ctx context.Context, n Node, app control.AppID, product control.ProductID, want int64, credits []Credit) (Lease, Verdict, error) {
	var out Lease
	var verdict Verdict
	err := l.tx(ctx, func(tx *storage.Tx) error {
		ctx := context.WithoutCancel(ctx) // as in book
		out, verdict = Lease{}, UsedUp
		if err := credit(ctx, tx, credits); err != nil {
			return err
		}
		if v, err := granted(ctx, tx, app, product); err != nil || v != Leased {
			verdict = v
			return err
		}
		now := storage.Millis(l.now())
		available, next, err := firstPackage(ctx, tx, app, product, now, &out)
		if err != nil {
			return err
		}
		if available == 0 {
			verdict, err = whyNone(ctx, tx, app, product, now)
			return err
		}
		if err := untilAnotherBegins(ctx, tx, app, product, now, &out); err != nil {
			return err
		}
		size := max(1, min(want, available/2, LeaseMost))
		n2, err := tx.Exec(ctx, leaseOut, size, out.Package, next)
		if err != nil {
			return err
		}
		if n2 == 0 {
			return storage.ErrBusy // cannot be: there is one writer
		}
		err = tx.QueryRow(ctx, leaseRow, out.Package, n.Name, n.Incarnation, next, next+size, size).Scan(&out.ID)
		out.Lo, out.Hi, verdict = next, next+size, Leased
		out.Beyond -= size
		return err
	})
	return out, verdict, err
}

const (
	leaseGranted = `SELECT live FROM gw_grant WHERE app = ? AND product = ? ORDER BY live DESC LIMIT 1`
	leaseFrom    = `SELECT id, grant_id, next, granted + credited - next, until FROM gw_package
		WHERE ` + theirs + ` AND live = 1 AND start <= ? AND (until = 0 OR until > ?) AND next < granted + credited
		ORDER BY until = 0, until, start, id`
	leaseOut = `UPDATE gw_package SET next = next + ? WHERE id = ? AND next = ?`
	leaseRow = `INSERT INTO gw_lease (package, node, incarnation, lo, hi, remaining) VALUES (?, ?, ?, ?, ?, ?) RETURNING id`
)

// firstPackage is the package that is used first, what of it has not gone out, and its next
// serial. Beyond becomes what has not gone out of all of them: those behind it end later, so
// that it is there as long as the lease may be spent.
func firstPackage(ctx context.Context, tx *storage.Tx, app control.AppID, product control.ProductID, now int64, out *Lease) (available, next int64, err error) {
	rows, err := tx.Query(ctx, leaseFrom, app, product, now, now)
	if err != nil {
		return 0, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var p Lease
		var units, first int64
		if err := rows.Scan(&p.Package, &p.Grant, &first, &units, &p.Until); err != nil {
			return 0, 0, err
		}
		if available == 0 {
			*out, available, next = p, units, first
			out.Ends = p.Until
		}
		out.Beyond += units
	}
	return available, next, rows.Err()
}

// theirs are the packages of all live grants of an app for a product.
const theirs = `grant_id IN (SELECT id FROM gw_grant WHERE app = ? AND product = ? AND live = 1)`

// untilAnotherBegins shortens the life of a range to the moment at which a package begins
// that is used before the range's own; otherwise an open range would outlive the order of
// deduction.
func untilAnotherBegins(ctx context.Context, q storage.Queryer, app control.AppID, product control.ProductID, now int64, out *Lease) error {
	var begins int64
	err := q.QueryRow(ctx, `SELECT COALESCE(MIN(start), 0) FROM gw_package
		WHERE `+theirs+` AND live = 1 AND start > ? AND until > 0 AND (? = 0 OR until < ?) AND next < granted + credited`,
		app, product, now, out.Until, out.Until).Scan(&begins)
	if begins > 0 && (out.Until == 0 || begins < out.Until) {
		out.Until = begins
	}
	return err
}

// granted says whether the app may call the product: Leased, NoGrant or Suspended.
func granted(ctx context.Context, q storage.Queryer, app control.AppID, product control.ProductID) (Verdict, error) {
	var live bool
	err := q.QueryRow(ctx, leaseGranted, app, product).Scan(&live)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return NoGrant, nil
	case err != nil:
		return NoGrant, err
	case !live:
		return Suspended, nil
	}
	return Leased, nil
}

// whyNone tells "used up" from "over" and "never had one".
func whyNone(ctx context.Context, q storage.Queryer, app control.AppID, product control.ProductID, now int64) (Verdict, error) {
	var valid, over int
	err := q.QueryRow(ctx, `SELECT
			COALESCE(SUM(CASE WHEN start <= ? AND (until = 0 OR until > ?) THEN 1 ELSE 0 END), 0),
			COALESCE(SUM(CASE WHEN until > 0 AND until <= ? THEN 1 ELSE 0 END), 0)
		FROM gw_package WHERE `+theirs+` AND live = 1`, now, now, now, app, product).Scan(&valid, &over)
	switch {
	case valid > 0:
		return UsedUp, err
	case over > 0:
		return Expired, err
	}
	return NoPackage, err
}
