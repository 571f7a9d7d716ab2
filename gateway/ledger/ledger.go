// Package ledger is the gateway's durable half: who may call what, with which credentials,
// and how many units of each package went out, were charged, and came back. All SQL about
// balances stands here. It implements control.Plane.
//
// It leaves to quota how ranges are spent, and to journal when records are written.
//
// What calls need of the configuration lies in memory. Of a change, only what the feed
// names is read again, and told on. A copy of all of it lies in a file, so that a gateway
// starts while its database cannot be opened (file.go).
package ledger

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
)

//go:embed schema
var schema embed.FS

// Schema are the gateway's tables, migrated as owner "gateway".
func Schema() fs.FS {
	sub, err := fs.Sub(schema, "schema")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	return sub
}

// Options make a Ledger. MasterKey is needed, and one of DB and OpenDB.
type Options struct {
	DB *storage.DB
	// OpenDB opens the database where DB is nil. If that fails and there is a File, the
	// ledger starts from the file and Watch tries again. The ledger closes what it opened.
	OpenDB func() (*storage.DB, error)
	// File is where the last good configuration is kept. Empty: nowhere, and no start
	// without the database.
	File      string
	MasterKey []byte // 32 bytes, from outside the database
	// Check has the last word on a change that contradicts nothing here: whether its
	// filters are known, and like their settings.
	Check func(control.Change) error
	Now   func() time.Time
	Log   *zap.Logger
}

// Ledger is one database. Its methods may be called from many goroutines.
type Ledger struct {
	db     atomic.Pointer[storage.DB] // nil: it could not be opened yet
	open   func() (*storage.DB, error)
	opened bool // by us
	file   string
	check  func(control.Change) error
	now    func() time.Time
	log    *zap.Logger
	safe   *safe

	apps    atomic.Pointer[apps]
	watched atomic.Bool
	synced  atomic.Int64 // nanoseconds since begun: when the feed was last read to its end
	begun   time.Time    // by the machine's clock, that no test and no operator turns

	mu      sync.Mutex // one reader of the feed at a time; guards what follows
	seen    int64
	onTable []func(*Changes)
	onGrant []func(app control.AppID, product control.ProductID)

	// Who is told of changes may look at the configuration, so it has a lock of its own. It is
	// changed with mu held, too.
	configMu sync.RWMutex
	config   config
	list     *Snapshot                   // nil: to be made
	incoming map[control.SecretID][]byte // of an Apply that is being checked

	saving saver

	// The node that spends, if there is one in this process.
	held  func(control.PackageID) int64
	flush func(context.Context) error
}

// ErrGone: the database is not there.
var ErrGone = errors.New("ledger: the database cannot be opened; calls that need it are answered with 503 until it can")

// Open migrates the database, makes sure that the master key is the one it was made with,
// and loads the configuration. If the database cannot be opened or read and there is a good
// file of the last configuration, it starts from that.
func Open(ctx context.Context, o Options) (*Ledger, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	s, err := newSafe(o.MasterKey)
	if err != nil {
		return nil, err
	}
	l := &Ledger{open: o.OpenDB, file: o.File, check: o.Check, now: o.Now, log: o.Log, safe: s, begun: time.Now()}
	l.apps.Store(newApps())
	l.config.init()
	if o.DB != nil {
		l.open = func() (*storage.DB, error) { return o.DB, nil }
	}
	l.opened = o.DB == nil
	if l.open == nil {
		return nil, errors.New("ledger: needs a database")
	}
	if o.File != "" {
		forgetTemporary(o.File)
	}
	err = l.connect(ctx)
	if err == nil {
		return l, nil
	}
	var old *storage.SchemaError
	if o.File == "" || errors.Is(err, ErrWrongKey) || errors.As(err, &old) || ctx.Err() != nil {
		return nil, err
	}
	if fault := l.loadFile(o.File); fault != nil {
		if errors.Is(fault, fs.ErrNotExist) {
			return nil, err // nothing was ever kept
		}
		return nil, errors.Join(err, fault)
	}
	l.log.Error("the database cannot be opened; started with the last good configuration, and answer 503 to calls that need it",
		zap.String("file", o.File), zap.Int64("change", l.seen), zap.Error(err))
	return l, nil
}

// connect opens the database and reads all that is kept in memory anew.
func (l *Ledger) connect(ctx context.Context) (err error) {
	db, err := l.open()
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && l.opened {
			err = errors.Join(err, db.Close())
		}
	}()
	if err := db.Migrate(ctx, "gateway", Schema(), storage.Move{Step: 3, Run: moveRows}); err != nil {
		return err
	}
	if err := l.safe.checkKey(ctx, db); err != nil {
		return err
	}
	if err := db.Keep(ctx, keptStatements...); err != nil {
		return err
	}
	if err := l.reload(ctx, db); err != nil {
		return err
	}
	l.db.Store(db)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.safe.fileNumber(l.file) == l.seen {
		l.saving.keep() // a start that changes nothing writes nothing
	}
	return nil
}

// Close writes down a configuration that is not in the file yet, and closes the database if
// the ledger opened it.
func (l *Ledger) Close(ctx context.Context) error {
	err := l.saving.stop(ctx, l)
	if db := l.db.Load(); db != nil && l.opened {
		err = errors.Join(err, db.Close())
	}
	return err
}

// base is the database, if it is there.
func (l *Ledger) base() (*storage.DB, error) {
	if db := l.db.Load(); db != nil {
		return db, nil
	}
	return nil, ErrGone
}

func (l *Ledger) tx(ctx context.Context, f func(*storage.Tx) error) error {
	db, err := l.base()
	if err != nil {
		return err
	}
	return db.Tx(ctx, f)
}

// Spend names the node in this process that spends packages: how many units of one are in
// flight, and how to write down all that was counted. Without it, balances are those of
// the database.
func (l *Ledger) Spend(held func(control.PackageID) int64, flush func(context.Context) error) {
	l.held, l.flush = held, flush
}

// OnChange calls f at once with all of the configuration, and then with what changes in it,
// before the Apply that changed it returns. f may ask the ledger for snapshots, upstreams and
// secrets, which have the change in them, and for nothing else.
func (l *Ledger) OnChange(f func(*Changes)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.onTable = append(l.onTable, f)
	f(l.all())
}

// OnGrant calls f for each grant of which something changed, before the Apply that
// changed it returns.
func (l *Ledger) OnGrant(f func(control.AppID, control.ProductID)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.onGrant = append(l.onGrant, f)
}

// Writable reports whether the database takes a write now.
func (l *Ledger) Writable(ctx context.Context) error {
	return l.tx(ctx, func(tx *storage.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE gw_meta SET value = value WHERE name = 'key'`)
		return err
	})
}

const (
	// pollEvery is how long a change made by another process may stay unseen. Half of the
	// second that is promised, so that reading it fits in.
	pollEvery = 500 * time.Millisecond
	// staleAfter is how long after the feed could last be read "there is no such app" is
	// still believed (gateway.md S6).
	staleAfter = 5 * time.Second
)

// Watch follows the feed until the context ends, for changes that other processes made. It
// opens the database if that failed so far, and keeps the file of the last configuration.
func (l *Ledger) Watch(ctx context.Context) {
	l.watched.Store(true)
	defer l.watched.Store(false)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			err := l.look(ctx)
			if err != nil && ctx.Err() == nil && !failed {
				l.log.Error("follow the changes of the configuration; it is tried on", zap.Error(err))
			}
			if err == nil && failed {
				l.log.Info("the changes of the configuration can be followed again")
			}
			failed = err != nil
			l.saving.tick(ctx, l)
		}
	}
}

func (l *Ledger) look(ctx context.Context) error {
	if l.db.Load() == nil {
		if err := l.connect(ctx); err != nil {
			return err
		}
		l.log.Info("the database is open; all of the configuration was read again")
	}
	return l.follow(ctx)
}

// Known says since when the ledger may have missed a change; nil: it has not.
func (l *Ledger) Known() error {
	if l.db.Load() == nil {
		return ErrGone
	}
	if l.watched.Load() && int64(time.Since(l.begun))-l.synced.Load() > int64(staleAfter) {
		return fmt.Errorf("ledger: the feed of changes could not be read for %v", staleAfter)
	}
	return nil
}
