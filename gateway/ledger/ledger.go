// Package ledger is the gateway's durable half: who may call what, with which credentials,
// and how many units of each package went out, were charged, and came back. All SQL about
// balances stands here. It implements control.Plane.
//
// It leaves to quota how ranges are spent, and to journal when records are written.
package ledger

import (
	"context"
	"embed"
	"encoding/json"
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

// Options make a Ledger. DB and MasterKey are needed.
type Options struct {
	DB        *storage.DB
	MasterKey []byte // 32 bytes, from outside the database
	Now       func() time.Time
	Log       *zap.Logger
}

// Snapshot is the configuration as of a change number. It is never changed.
type Snapshot struct {
	Number int64
	Groups []*control.Group
	Routes []*control.Route
}

// Ledger is one database. Its methods may be called from many goroutines.
type Ledger struct {
	db   *storage.DB
	now  func() time.Time
	log  *zap.Logger
	safe *safe

	snapshot atomic.Pointer[Snapshot]
	apps     apps

	mu      sync.Mutex // one reader of the feed at a time; guards seen and the hooks
	seen    int64
	onTable []func(*Snapshot)
	onGrant []func(app control.AppID, product control.ProductID)

	// The node that spends, if there is one in this process.
	held  func(control.PackageID) int64
	flush func(context.Context) error
}

// Open migrates the database, makes sure that the master key is the one it was made with,
// and loads groups, routes and apps.
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
	l := &Ledger{db: o.DB, now: o.Now, log: o.Log, safe: s}
	l.apps.init()
	if err := o.DB.Migrate(ctx, "gateway", Schema()); err != nil {
		return nil, err
	}
	if err := l.checkKey(ctx); err != nil {
		return nil, err
	}
	if err := l.db.Read().QueryRow(ctx, `SELECT COALESCE(MAX(number), 0) FROM gw_change`).Scan(&l.seen); err != nil {
		return nil, err
	}
	if err := l.loadApps(ctx); err != nil {
		return nil, err
	}
	return l, l.loadTable(ctx)
}

// Spend names the node in this process that spends packages: how many units of one are in
// flight, and how to write down all that was counted. Without it, balances are those of
// the database.
func (l *Ledger) Spend(held func(control.PackageID) int64, flush func(context.Context) error) {
	l.held, l.flush = held, flush
}

// Snapshot is the newest configuration that was read.
func (l *Ledger) Snapshot() *Snapshot { return l.snapshot.Load() }

// OnChange calls f with every new snapshot, before the Apply that made it returns.
func (l *Ledger) OnChange(f func(*Snapshot)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.onTable = append(l.onTable, f)
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
	return l.db.Tx(ctx, func(tx *storage.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE gw_meta SET value = value WHERE name = 'key'`)
		return err
	})
}

// pollEvery is how long a change made by another process may stay unseen. Half of the
// second that is promised, so that reading it fits in.
const pollEvery = 500 * time.Millisecond

// Watch follows the feed until the context ends, for changes that other processes made.
func (l *Ledger) Watch(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := l.follow(ctx); err != nil && ctx.Err() == nil {
				l.log.Error("follow the changes of the configuration", zap.Error(err))
			}
		}
	}
}

// follow reads what changed since the last time and forgets exactly that.
func (l *Ledger) follow(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	rows, err := l.db.Read().Query(ctx, `SELECT number, kind, id FROM gw_change WHERE number > ? ORDER BY number`, l.seen)
	if err != nil {
		return err
	}
	defer rows.Close()
	table := false
	var apps []control.AppID
	var grants []control.GrantID
	var left []string
	last := l.seen
	for rows.Next() {
		var kind, id string
		if err := rows.Scan(&last, &kind, &id); err != nil {
			return err
		}
		switch kind {
		case "table":
			table = true
		case "app":
			apps = append(apps, control.AppID(id))
		case "grant":
			grants = append(grants, control.GrantID(id))
		case "left":
			left = append(left, id)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, id := range apps {
		if err := l.loadApp(ctx, id); err != nil {
			return err
		}
	}
	for _, body := range left {
		var g control.Grant
		if err := json.Unmarshal([]byte(body), &g); err != nil {
			return fmt.Errorf("the grant that left: %w", err)
		}
		for _, f := range l.onGrant {
			f(g.App, g.Product)
		}
	}
	for _, id := range grants {
		var app control.AppID
		var product control.ProductID
		err := l.db.Read().QueryRow(ctx, `SELECT app, product FROM gw_grant WHERE id = ?`, id).Scan(&app, &product)
		if err != nil {
			return err
		}
		for _, f := range l.onGrant {
			f(app, product)
		}
	}
	if table {
		if err := l.loadTable(ctx); err != nil {
			return err
		}
		for _, f := range l.onTable {
			f(l.Snapshot())
		}
	}
	l.seen = last
	return nil
}

// loadTable reads groups and routes as they are now.
func (l *Ledger) loadTable(ctx context.Context) error {
	s := &Snapshot{}
	if err := l.db.Read().QueryRow(ctx, `SELECT COALESCE(MAX(number), 0) FROM gw_change`).Scan(&s.Number); err != nil {
		return err
	}
	err := bodies(ctx, l.db.Read(), `SELECT body FROM gw_group ORDER BY id`, func(b []byte) error {
		g := new(control.Group)
		s.Groups = append(s.Groups, g)
		return json.Unmarshal(b, g)
	})
	if err != nil {
		return fmt.Errorf("groups: %w", err)
	}
	err = bodies(ctx, l.db.Read(), `SELECT body FROM gw_route ORDER BY id`, func(b []byte) error {
		r := new(control.Route)
		s.Routes = append(s.Routes, r)
		return json.Unmarshal(b, r)
	})
	if err != nil {
		return fmt.Errorf("routes: %w", err)
	}
	l.snapshot.Store(s)
	return nil
}

func bodies(ctx context.Context, q storage.Queryer, query string, each func([]byte) error) error {
	rows, err := q.Query(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var b []byte
		if err := rows.Scan(&b); err != nil {
			return err
		}
		if err := each(b); err != nil {
			return err
		}
	}
	return errors.Join(rows.Err())
}
