package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
)

// Book writes calls: each charged one once, by its lease and serial; the sums that the
// console reads; the records of calls; and the credits. All in one transaction, and a
// charged call that was booked before changes nothing, so a spool may be booked again.
func (l *Ledger) Book(ctx context.Context, entries []Entry, credits []Credit) error {
	if len(entries) == 0 && len(credits) == 0 {
		return nil
	}
	return l.tx(ctx, func(tx *storage.Tx) error {
		if err := book(ctx, tx, entries); err != nil {
			return err
		}
		return credit(ctx, tx, credits)
	})
}

// Place is how far a spool was booked: a file of it, and the bytes of the file.
type Place struct {
	File   string
	Offset int64
}

// FirstNode is the name of the node that is alone.
const FirstNode = "node"

// Spool is the ledger as the journal of one node sees it.
type Spool struct {
	l    *Ledger
	name string // of its row
}

// Spool is the ledger for the journal of a node.
func (l *Ledger) Spool(node string) Spool {
	if node == FirstNode {
		return Spool{l, "spool"}
	}
	return Spool{l, "spool " + node}
}

// BookSpool books the next entries of the node's spool, and remembers in the same
// transaction how far it is booked then. So a call that costs nothing, which has no serial
// by which it could be known again, is counted once, too.
func (s Spool) BookSpool(ctx context.Context, entries []Entry, through Place) error {
	return s.l.tx(ctx, func(tx *storage.Tx) error {
		if err := book(ctx, tx, entries); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, spoolMark, s.name, fmt.Appendf(nil, "%s %d", through.File, through.Offset))
		return err
	})
}

// Spooled is the place that BookSpool remembered last; the zero Place: none.
func (s Spool) Spooled(ctx context.Context) (p Place, err error) {
	db, err := s.l.base()
	if err != nil {
		return p, err
	}
	var value []byte
	err = db.Read().QueryRow(ctx, `SELECT value FROM gw_meta WHERE name = ?`, s.name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	if _, err := fmt.Sscanf(string(value), "%s %d", &p.File, &p.Offset); err != nil {
		return Place{}, fmt.Errorf("ledger: the place in the spool: %w", err)
	}
	return p, nil
}

// Trim drops records of calls that are older or more than what is kept.
func (s Spool) Trim(ctx context.Context) error { return s.l.Trim(ctx) }

// BookSpool is that of the first node.
func (l *Ledger) BookSpool(ctx context.Context, entries []Entry, through Place) error {
	return l.Spool(FirstNode).BookSpool(ctx, entries, through)
}

// Spooled is that of the first node.
func (l *Ledger) Spooled(ctx context.Context) (Place, error) { return l.Spool(FirstNode).Spooled(ctx) }

// The statements of a booking, which are kept prepared.
const (
	leaseByID   = `SELECT package, lo, hi, used, charged, undone, back FROM gw_lease WHERE id = ?`
	leaseMarks  = `UPDATE gw_lease SET remaining = remaining - ?, used = ?, charged = ? WHERE id = ?`
	leaseUndone = `UPDATE gw_lease SET undone = ?, back = ? WHERE id = ?`
	packageBack = `UPDATE gw_package SET charged = charged - ?, credited = credited + ? WHERE id = ?`
	packageSums = `UPDATE gw_package SET charged = charged + ?, last = MAX(last, ?) WHERE id = ?`
	deltaRow    = `INSERT INTO gw_delta (minute, grant_id, package, app, product, route, outcome, code, calls, micros)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	deltaColumns, deltaRows = 10, 16
	blockRow                = `INSERT INTO gw_block (id, calls, first, last, names, body) VALUES (?, ?, ?, ?, ?, ?)`
	blockList               = `SELECT id FROM gw_block WHERE calls >= ? AND calls < ? ORDER BY id`
	spoolMark               = `INSERT INTO gw_meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`
)

var deltaMany = deltaRow + strings.Repeat(`, (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, deltaRows-1)

var keptStatements = []string{deltaMany, leaseByID, leaseMarks, leaseUndone, packageBack, packageSums, deltaRow, blockRow, blockList, spoolMark,
	leaseCredit, packageCredit, leaseGranted, leaseFrom, leaseOut, leaseRow}

func book(ctx context.Context, tx *storage.Tx, entries []Entry) error {
	if len(entries) == 0 {
		return nil
	}
	// It takes milliseconds; the driver would start a goroutine for each statement to watch
	// for the end of the context.
	ctx = context.WithoutCancel(ctx)
	fresh, err := bookCharged(ctx, tx, entries)
	if err != nil {
		return err
	}
	if err := bookDeltas(ctx, tx, fresh); err != nil {
		return err
	}
	return bookCalls(ctx, tx, fresh)
}

// ErrNoLease: a charged call names a lease that the ledger never made.
var ErrNoLease = errors.New("ledger: the database is older than the calls to be booked (was it restored while a spool lay beside it? move the spool away); it has no lease")

// leaseBooks is a lease on its way through a batch.
type leaseBooks struct {
	spent
	id    int64
	pack  control.PackageID
	fresh int64 // of the batch

	undone spent // of the charged ones, those that were taken back
	backs  int64 // of the batch
}

// bookCharged marks the serials of charged calls and of those that are taken back, and
// leaves out entries whose serial was marked before.
func bookCharged(ctx context.Context, tx *storage.Tx, entries []Entry) ([]Entry, error) {
	type sum struct {
		units int64
		backs int64
		last  int64
	}
	leases, packages := map[int64]*leaseBooks{}, map[control.PackageID]*sum{}
	var lease *leaseBooks
	var pack *sum
	fresh, copied := entries, false
	for i := range entries {
		e := &entries[i]
		is := true
		if e.Outcome == control.Charged || e.takesBack() {
			if lease == nil || lease.id != e.Lease {
				var err error
				if lease, err = openBooks(ctx, tx, leases, e.Lease); err != nil {
					return nil, err
				}
				if pack = packages[lease.pack]; pack == nil {
					pack = new(sum)
					packages[lease.pack] = pack
				}
			}
			if e.Package != lease.pack {
				return nil, fmt.Errorf("ledger: serial %d of %s: the lease %d is of %s", e.Serial, e.Package, e.Lease, lease.pack)
			}
			marks := &lease.spent
			if e.takesBack() {
				marks = &lease.undone
			}
			// What is not charged cannot be taken back: the charge went with the power.
			if is = !e.takesBack() || lease.has(e.Serial); is {
				var err error
				if is, err = marks.charge(e.Serial); err != nil {
					return nil, fmt.Errorf("ledger: lease %d of %s: %w", e.Lease, e.Package, err)
				}
			}
			if is && e.takesBack() {
				lease.backs++
				pack.backs++
			} else if is {
				lease.fresh++
				pack.units++
				pack.last = max(pack.last, e.At.UnixMilli())
			}
		}
		switch {
		case !is && !copied:
			fresh, copied = append(make([]Entry, 0, len(entries)), entries[:i]...), true
		case is && copied:
			fresh = append(fresh, *e)
		}
	}
	for id, b := range leases {
		if b.fresh > 0 {
			if _, err := tx.Exec(ctx, leaseMarks, b.fresh, b.used, b.bits, id); err != nil {
				return nil, fmt.Errorf("lease %d: %w", id, err)
			}
		}
		if b.backs > 0 {
			if _, err := tx.Exec(ctx, leaseUndone, b.undone.used, b.undone.bits, id); err != nil {
				return nil, fmt.Errorf("lease %d: %w", id, err)
			}
		}
	}
	for id, s := range packages {
		if s.units > 0 {
			if _, err := tx.Exec(ctx, packageSums, s.units, s.last, id); err != nil {
				return nil, fmt.Errorf("package %s: %w", id, err)
			}
		}
		if s.backs > 0 {
			if _, err := tx.Exec(ctx, packageBack, s.backs, s.backs, id); err != nil {
				return nil, fmt.Errorf("package %s: %w", id, err)
			}
		}
	}
	return fresh, nil
}

func openBooks(ctx context.Context, tx *storage.Tx, known map[int64]*leaseBooks, id int64) (*leaseBooks, error) {
	if b := known[id]; b != nil {
		return b, nil
	}
	b := &leaseBooks{id: id}
	err := tx.QueryRow(ctx, leaseByID, id).Scan(&b.pack, &b.lo, &b.hi, &b.used, &b.bits, &b.undone.used, &b.undone.bits)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("%w %d", ErrNoLease, id)
	}
	b.undone.lo, b.undone.hi = b.lo, b.hi
	known[id] = b
	return b, err
}

// bookDeltas adds up what the entries came to, by minute and kind.
func bookDeltas(ctx context.Context, tx *storage.Tx, entries []Entry) error {
	// A look by shape comes before the one by value: it costs a tenth.
	type near struct {
		shape  *shape
		minute int64
		class  int
	}
	type sum struct{ calls, micros int64 }
	byShape, sums := map[near]*sum{}, map[control.Usage]*sum{}
	var order []control.Usage
	var last near
	var s *sum
	for i := range entries {
		e := &entries[i]
		if e.takesBack() {
			// What was told as charged is told back, so that whoever adds up has the truth.
			told := *e
			told.Outcome, told.Code = control.Charged, ""
			key := usageOf(&told)
			if sums[key] == nil {
				sums[key] = new(sum)
				order = append(order, key)
			}
			sums[key].calls--
			sums[key].micros -= e.Took.Microseconds()
		}
		n := near{e.shape, e.At.UnixMilli() / time.Minute.Milliseconds(), e.Status / 100}
		if s == nil || n != last || n.shape == nil {
			if s = byShape[n]; s == nil || n.shape == nil {
				key := usageOf(e)
				if s = sums[key]; s == nil {
					s = new(sum)
					sums[key] = s
					order = append(order, key)
				}
				byShape[n] = s
			}
			last = n
		}
		s.calls++
		s.micros += e.Took.Microseconds()
	}
	// Many rows to a statement: a statement costs as much as three rows.
	args := make([]any, 0, deltaColumns*deltaRows)
	for at := 0; at < len(order); {
		n := 1
		query := deltaRow
		if len(order)-at >= deltaRows {
			n, query = deltaRows, deltaMany
		}
		args = args[:0]
		for _, k := range order[at : at+n] {
			s := sums[k]
			args = append(args, storage.Millis(k.Minute), k.Grant, k.Package, k.App, k.Product, k.Route, k.Outcome, k.Code, s.calls, s.micros)
		}
		if _, err := tx.Exec(ctx, query, args...); err != nil {
			return err
		}
		at += n
	}
	return nil
}

func usageOf(e *Entry) control.Usage {
	u := control.Usage{Minute: e.At.Truncate(time.Minute).UTC(), Grant: e.Grant, App: e.App, Product: e.Product, Route: e.Route,
		Outcome: e.Outcome, Code: e.Code}
	if u.Code == "" {
		u.Code = fmt.Sprintf("%dxx", e.Status/100)
	}
	if e.Outcome == control.Charged {
		u.Package = e.Package
	}
	return u
}
