// Package storage is the floor both halves stand on: one writer and many readers over a
// SQL database, migrations by owner, and transactions that tell when they are through.
//
// It knows no engine. A home (storage/sqlite, later storage/postgres) opens the two pools
// and names its Dialect; main.go picks the home.
package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ErrBusy: another transaction held the writer for longer than the caller would wait.
var ErrBusy = errors.New("storage: the writer is busy")

// Dialect is what differs between engines.
type Dialect interface {
	// Name is "sqlite" or "postgres"; a migration NNNN_x.<name>.sql stands in for NNNN_x.sql.
	Name() string
	// Rebind turns the ? of a statement into the engine's own marks.
	Rebind(query string) string
	// Unique reports whether err is a violated unique or primary key.
	Unique(err error) bool
}

// Queryer reads. Tx and Reader are ones.
type Queryer interface {
	Query(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRow(ctx context.Context, query string, args ...any) *sql.Row
}

// DB is one database. Its methods may be called from many goroutines.
type DB struct {
	dialect Dialect
	read    *sql.DB
	write   *sql.DB
	patient time.Duration

	kept atomic.Pointer[map[string]*sql.Stmt]
	done atomic.Int64 // transactions, views, and statements outside of them

	pen    chan struct{} // holds one token: whoever has it may write
	holder struct {      // who took the pen, for the error of one who waited too long
		sync.Mutex
		where string
	}
}

// New makes a DB of two pools that a home has opened. The writer pool must hold at most
// one connection whose transactions take the write lock when they begin.
func New(d Dialect, read, write *sql.DB) *DB {
	db := &DB{dialect: d, read: read, write: write, patient: 10 * time.Second, pen: make(chan struct{}, 1)}
	db.pen <- struct{}{}
	return db
}

// Dialect is the engine's.
func (db *DB) Dialect() Dialect { return db.dialect }

// Unique reports whether err is a violated unique or primary key.
func (db *DB) Unique(err error) bool { return db.dialect.Unique(err) }

// Operations is how often the database was asked since it was opened: transactions, views,
// and statements outside of them.
func (db *DB) Operations() int64 { return db.done.Load() }

// Read is a pool of connections that cannot write.
func (db *DB) Read() Reader { return Reader{db} }

// Reader reads outside of a transaction.
type Reader struct{ db *DB }

// Query runs a statement that returns rows.
func (r Reader) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	r.db.done.Add(1)
	return r.db.read.QueryContext(ctx, r.db.dialect.Rebind(query), args...)
}

// QueryRow runs a statement that returns at most one row.
func (r Reader) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	r.db.done.Add(1)
	return r.db.read.QueryRowContext(ctx, r.db.dialect.Rebind(query), args...)
}

// View runs f on one state of the database, which nobody's writing changes meanwhile. It
// takes no pen: writers go on.
func (db *DB) View(ctx context.Context, f func(Queryer) error) error {
	db.done.Add(1)
	tx, err := db.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("begin to read: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // there is nothing to commit
	return f(view{db, tx})
}

type view struct {
	db *DB
	tx *sql.Tx
}

func (v view) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return v.tx.QueryContext(ctx, v.db.dialect.Rebind(query), args...)
}

func (v view) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	return v.tx.QueryRowContext(ctx, v.db.dialect.Rebind(query), args...)
}

// Tx is the one open write transaction.
type Tx struct {
	db    *DB
	tx    *sql.Tx
	after []func()
}

// Keep prepares statements for the writer once and for all, by their text: what a
// transaction runs of them is not parsed again, which is a third of what a small statement
// costs. It must not be called inside a transaction.
func (db *DB) Keep(ctx context.Context, queries ...string) error {
	release, err := db.takePen(ctx)
	if err != nil {
		return err
	}
	defer release()
	kept := map[string]*sql.Stmt{}
	if old := db.kept.Load(); old != nil {
		maps.Copy(kept, *old)
	}
	for _, q := range queries {
		if kept[q] == nil {
			if kept[q], err = db.write.PrepareContext(ctx, db.dialect.Rebind(q)); err != nil { //nolint:sqlclosecheck // kept until the database is closed
				return fmt.Errorf("prepare %s: %w", q, err)
			}
		}
	}
	db.kept.Store(&kept)
	return nil
}

// prepared is a kept statement in the transaction; nil: this one is not kept.
func (t *Tx) prepared(ctx context.Context, query string) *sql.Stmt {
	if p := t.db.kept.Load(); p != nil {
		if s := (*p)[query]; s != nil {
			return t.tx.StmtContext(ctx, s)
		}
	}
	return nil
}

// Exec runs a statement and reports how many rows it changed.
func (t *Tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	var res sql.Result
	var err error
	if s := t.prepared(ctx, query); s != nil { //nolint:sqlclosecheck // it ends with the transaction
		res, err = s.ExecContext(ctx, args...)
	} else {
		res, err = t.tx.ExecContext(ctx, t.db.dialect.Rebind(query), args...)
	}
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// Query runs a statement that returns rows, and sees what the transaction wrote.
func (t *Tx) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if s := t.prepared(ctx, query); s != nil { //nolint:sqlclosecheck // it ends with the transaction
		return s.QueryContext(ctx, args...)
	}
	return t.tx.QueryContext(ctx, t.db.dialect.Rebind(query), args...)
}

// QueryRow runs a statement that returns at most one row.
func (t *Tx) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	if s := t.prepared(ctx, query); s != nil { //nolint:sqlclosecheck // it ends with the transaction
		return s.QueryRowContext(ctx, args...)
	}
	return t.tx.QueryRowContext(ctx, t.db.dialect.Rebind(query), args...)
}

// Prepare prepares a statement for as long as the transaction lives; the caller closes it.
func (t *Tx) Prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	return t.tx.PrepareContext(ctx, t.db.dialect.Rebind(query))
}

// After runs f once the transaction is through; not at all if it fails.
func (t *Tx) After(f func()) { t.after = append(t.after, f) }

// Tx runs f in the one write transaction: committed if f returns nil, else rolled back,
// also when f panics. A caller that waits too long for the pen gets ErrBusy with the
// place that holds it. Transactions do not nest: f must not call Tx.
func (db *DB) Tx(ctx context.Context, f func(*Tx) error) (err error) {
	release, err := db.takePen(ctx)
	if err != nil {
		return err
	}
	db.done.Add(1)
	t := &Tx{db: db}
	// The order matters: the pen goes back before After runs, so that what runs after
	// may write again.
	committed := false
	func() {
		defer release()
		t.tx, err = db.write.BeginTx(ctx, nil)
		if err != nil {
			err = fmt.Errorf("begin: %w", err)
			return
		}
		defer func() {
			if !committed {
				_ = t.tx.Rollback() // the error that led here says more
			}
		}()
		if err = f(t); err != nil {
			return
		}
		if err = t.tx.Commit(); err != nil {
			err = fmt.Errorf("commit: %w", err)
			return
		}
		committed = true
	}()
	if err != nil {
		return err
	}
	for _, f := range t.after {
		f()
	}
	return nil
}

func (db *DB) takePen(ctx context.Context) (release func(), err error) {
	select {
	case <-db.pen:
	default:
		timer := time.NewTimer(db.patient)
		defer timer.Stop()
		select {
		case <-db.pen:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-timer.C:
			db.holder.Lock()
			where := db.holder.where
			db.holder.Unlock()
			return nil, fmt.Errorf("%w: held by %s", ErrBusy, where)
		}
	}
	db.holder.Lock()
	db.holder.where = caller()
	db.holder.Unlock()
	return func() { db.pen <- struct{}{} }, nil
}

// caller names the function that opened the transaction.
func caller() string {
	pc, _, line, ok := runtime.Caller(3)
	if !ok {
		return "an unknown place"
	}
	name := runtime.FuncForPC(pc).Name()
	return fmt.Sprintf("%s:%d", name[strings.LastIndex(name, "/")+1:], line)
}

// Close closes both pools.
func (db *DB) Close() error {
	var errs []error
	if p := db.kept.Load(); p != nil {
		for _, s := range *p {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errors.Join(errs...), db.read.Close(), db.write.Close())
}
