package ledger

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
)

// Snapshot is the configuration as of a change number, each list by ID. It is never changed.
type Snapshot struct {
	Number       int64
	Groups       []*control.Group
	Routes       []*control.Route
	Upstreams    []*control.Upstream
	Certificates []*control.Certificate
}

// Changes are what became different at once. Beside what was changed itself they name what
// must be made anew for it: the routes that lead to a changed upstream, and whatever names a
// changed secret. Things are never changed in place: a changed route is another value.
type Changes struct {
	Number int64
	// All says that this is all there is: what is not named exists no longer.
	All          bool
	Groups       []*control.Group
	Routes       []*control.Route
	Upstreams    []*control.Upstream
	Certificates []*control.Certificate
	Secrets      []control.SecretID

	whole func() *Snapshot
}

// Whole is the configuration with the changes in it. It may be asked for as long as the one
// who is told has not returned, and costs as much as there is.
func (c *Changes) Whole() *Snapshot { return c.whole() }

func (c *Changes) empty() bool {
	return !c.All && len(c.Groups)+len(c.Routes)+len(c.Upstreams)+len(c.Certificates)+len(c.Secrets) == 0
}

// config is what is kept in memory, beside the apps.
type config struct {
	number       int64
	groups       map[control.GroupID]*control.Group
	routes       map[control.RouteID]*control.Route
	upstreams    map[control.UpstreamID]*control.Upstream
	certificates map[control.CertificateID]*control.Certificate
	secrets      map[control.SecretID]sealed
}

// sealed is a secret as it is kept.
type sealed struct {
	value []byte
	live  bool
}

func (c *config) init() {
	*c = config{0, map[control.GroupID]*control.Group{}, map[control.RouteID]*control.Route{}, map[control.UpstreamID]*control.Upstream{},
		map[control.CertificateID]*control.Certificate{}, map[control.SecretID]sealed{}}
}

func sorted[K cmp.Ordered, V any](m map[K]V) []V {
	list := make([]V, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		list = append(list, m[k])
	}
	return list
}

// Snapshot is the newest configuration that was read.
func (l *Ledger) Snapshot() *Snapshot {
	l.configMu.Lock()
	defer l.configMu.Unlock()
	if l.list == nil {
		c := &l.config
		l.list = &Snapshot{c.number, sorted(c.groups), sorted(c.routes), sorted(c.upstreams), sorted(c.certificates)}
	}
	return l.list
}

// all are changes that have everything.
func (l *Ledger) all() *Changes {
	s := l.Snapshot()
	l.configMu.RLock()
	defer l.configMu.RUnlock()
	return &Changes{Number: s.Number, All: true, Groups: s.Groups, Routes: s.Routes, Upstreams: s.Upstreams, Certificates: s.Certificates,
		Secrets: slices.Sorted(maps.Keys(l.config.secrets)), whole: l.Snapshot}
}

// Upstream is a seller's servers; nil: there are none of this name.
func (l *Ledger) Upstream(id control.UpstreamID) *control.Upstream {
	l.configMu.RLock()
	defer l.configMu.RUnlock()
	return l.config.upstreams[id]
}

// Secret is the value of a secret that settings name. It must not be shown, logged, or kept
// longer than what was made with it.
func (l *Ledger) Secret(id control.SecretID) ([]byte, error) {
	l.configMu.RLock()
	s, ok := l.config.secrets[id]
	incoming := l.incoming[id]
	l.configMu.RUnlock()
	switch {
	case incoming != nil:
		return bytes.Clone(incoming), nil
	case !ok || !s.live:
		return nil, fmt.Errorf("%w: secret %s", control.ErrMissing, id)
	}
	value, err := l.safe.open(s.value, "setting", string(id))
	return []byte(value), err
}

// expect lets whoever checks the changes of an Apply see the secrets that come with them,
// until the returned function is called.
func (l *Ledger) expect(changes []control.Change) (done func()) {
	set := func(on bool) {
		l.configMu.Lock()
		defer l.configMu.Unlock()
		for _, c := range changes {
			s, ok := c.(*control.Secret)
			switch {
			case !ok || !s.Live:
			case !on:
				delete(l.incoming, s.ID)
			default:
				if l.incoming == nil {
					l.incoming = map[control.SecretID][]byte{}
				}
				l.incoming[s.ID] = s.Value
			}
		}
	}
	if !slices.ContainsFunc(changes, func(c control.Change) bool { _, ok := c.(*control.Secret); return ok }) {
		return func() {}
	}
	set(true)
	return func() { set(false) }
}

// reload reads all that is kept in memory, and tells of all of it if somebody listens.
func (l *Ledger) reload(ctx context.Context, db *storage.DB) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var seen int64
	apps := newApps()
	var c config
	c.init()
	err := db.View(ctx, func(q storage.Queryer) error {
		if err := q.QueryRow(ctx, `SELECT COALESCE(MAX(number), 0) FROM gw_change`).Scan(&seen); err != nil {
			return err
		}
		if err := l.loadApps(ctx, q, apps); err != nil {
			return fmt.Errorf("apps: %w", err)
		}
		return errors.Join(
			load(ctx, q, "gw_group", func(g *control.Group) { c.groups[g.ID] = g }),
			load(ctx, q, "gw_route", func(r *control.Route) { c.routes[r.ID] = r }),
			load(ctx, q, "gw_upstream", func(u *control.Upstream) { c.upstreams[u.ID] = u }),
			load(ctx, q, "gw_certificate", func(k *control.Certificate) { c.certificates[k.ID] = k }),
			loadSecrets(ctx, q, c.secrets))
	})
	if err != nil {
		return err
	}
	l.apps.Store(apps)
	l.replace(c, seen)
	l.synced.Store(int64(time.Since(l.begun)))
	return nil
}

// replace puts another configuration in the place of the whole. It is called with the lock
// held.
func (l *Ledger) replace(c config, seen int64) {
	c.number, l.seen = seen, seen
	l.configMu.Lock()
	l.config, l.list = c, nil
	l.configMu.Unlock()
	l.saving.changed(l)
	if len(l.onTable) == 0 {
		return
	}
	all := l.all()
	for _, f := range l.onTable {
		f(all)
	}
}

// load reads every body of a table.
func load[T any](ctx context.Context, q storage.Queryer, table string, each func(*T)) error {
	rows, err := q.Query(ctx, `SELECT body FROM `+table)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var b sql.RawBytes
		if err := rows.Scan(&b); err != nil {
			return err
		}
		v := new(T)
		if err := json.Unmarshal(b, v); err != nil {
			return fmt.Errorf("%s: %w", table, err)
		}
		each(v)
	}
	return rows.Err()
}

// loadOne reads a body; a row that is gone is left out.
func loadOne[T any](ctx context.Context, q storage.Queryer, table, id string, each func(*T)) error {
	var b []byte
	err := q.QueryRow(ctx, `SELECT body FROM `+table+` WHERE id = ?`, id).Scan(&b)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	v := new(T)
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s %s: %w", table, id, err)
	}
	each(v)
	return nil
}

func loadSecrets(ctx context.Context, q storage.Queryer, into map[control.SecretID]sealed) error {
	rows, err := q.Query(ctx, `SELECT id, live, value FROM gw_secret`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id control.SecretID
		var s sealed
		if err := rows.Scan(&id, &s.live, &s.value); err != nil {
			return err
		}
		into[id] = s
	}
	return rows.Err()
}

// told is what the feed has named since the last look, each once.
type told struct {
	last int64
	kind map[string][]string // IDs by kind, in the order in which they were named
	seen map[[2]string]bool
}

// readFeed reads the feed. Its begin is dropped after a while (Trim); who was away longer
// gets gap, and has to read everything.
func readFeed(ctx context.Context, q storage.Queryer, since int64) (t told, gap bool, err error) {
	t = told{last: since, kind: map[string][]string{}, seen: map[[2]string]bool{}}
	rows, err := q.Query(ctx, `SELECT number, kind, id FROM gw_change WHERE number > ? ORDER BY number`, since)
	if err != nil {
		return t, false, err
	}
	defer rows.Close()
	for rows.Next() {
		var kind, id string
		if err := rows.Scan(&t.last, &kind, &id); err != nil {
			return t, false, err
		}
		if key := [2]string{kind, id}; !t.seen[key] {
			t.seen[key] = true
			t.kind[kind] = append(t.kind[kind], id)
		}
	}
	if err := rows.Err(); err != nil || t.last == since {
		return t, false, err
	}
	var dropped int64
	err = q.QueryRow(ctx, `SELECT COALESCE((SELECT value FROM gw_meta WHERE name = 'feed begins'), 0)`).Scan(&dropped)
	return t, since < dropped, err
}

// follow reads what changed since the last time, and forgets exactly that.
func (l *Ledger) follow(ctx context.Context) error {
	db, err := l.base()
	if err != nil {
		return err
	}
	l.mu.Lock()
	t, gap, err := readFeed(ctx, db.Read(), l.seen)
	if gap && err == nil {
		l.mu.Unlock()
		return l.reload(ctx, db)
	}
	defer l.mu.Unlock()
	if err != nil {
		return err
	}
	if t.last > l.seen {
		if err := l.take(ctx, db, &t); err != nil {
			return err
		}
	}
	l.synced.Store(int64(time.Since(l.begun)))
	return nil
}

// take brings into memory what the feed named, and tells of it.
func (l *Ledger) take(ctx context.Context, db *storage.DB, t *told) error {
	for _, id := range t.kind["app"] {
		if err := l.loadApp(ctx, db, control.AppID(id)); err != nil {
			return err
		}
	}
	if err := l.takeGrants(ctx, db, t); err != nil {
		return err
	}
	n := &Changes{Number: t.last, whole: l.Snapshot}
	q := db.Read()
	secrets := map[control.SecretID]sealed{}
	each := func(kind string, f func(id string) error) error {
		for _, id := range t.kind[kind] {
			if err := f(id); err != nil {
				return err
			}
		}
		return nil
	}
	err := errors.Join(
		each("secret", func(id string) error {
			var s sealed
			n.Secrets = append(n.Secrets, control.SecretID(id))
			err := q.QueryRow(ctx, `SELECT live, value FROM gw_secret WHERE id = ?`, id).Scan(&s.live, &s.value)
			if err == nil {
				secrets[control.SecretID(id)] = s
			}
			return err
		}),
		each("upstream", func(id string) error {
			return loadOne(ctx, q, "gw_upstream", id, func(u *control.Upstream) { n.Upstreams = append(n.Upstreams, u) })
		}),
		each("certificate", func(id string) error {
			return loadOne(ctx, q, "gw_certificate", id, func(c *control.Certificate) { n.Certificates = append(n.Certificates, c) })
		}),
		each("group", func(id string) error {
			return loadOne(ctx, q, "gw_group", id, func(g *control.Group) { n.Groups = append(n.Groups, g) })
		}),
		each("route", func(id string) error {
			return loadOne(ctx, q, "gw_route", id, func(r *control.Route) { n.Routes = append(n.Routes, r) })
		}))
	if err != nil {
		return err
	}
	l.seen = t.last
	l.saving.changed(l)
	if n.empty() {
		return nil
	}
	l.configMu.Lock()
	l.config.put(n, secrets)
	l.list = nil
	l.configMu.Unlock()
	l.config.widen(n)
	for _, f := range l.onTable {
		f(n)
	}
	return nil
}

func (l *Ledger) takeGrants(ctx context.Context, db *storage.DB, t *told) error {
	if len(l.onGrant) == 0 {
		return nil
	}
	for _, body := range t.kind["left"] {
		var g control.Grant
		if err := json.Unmarshal([]byte(body), &g); err != nil {
			return fmt.Errorf("the grant that left: %w", err)
		}
		for _, f := range l.onGrant {
			f(g.App, g.Product)
		}
	}
	for _, id := range t.kind["grant"] {
		var app control.AppID
		var product control.ProductID
		err := db.Read().QueryRow(ctx, `SELECT app, product FROM gw_grant WHERE id = ?`, id).Scan(&app, &product)
		if err != nil {
			return err
		}
		for _, f := range l.onGrant {
			f(app, product)
		}
	}
	return nil
}

func (c *config) put(n *Changes, secrets map[control.SecretID]sealed) {
	c.number = n.Number
	maps.Copy(c.secrets, secrets)
	for _, g := range n.Groups {
		c.groups[g.ID] = g
	}
	for _, r := range n.Routes {
		c.routes[r.ID] = r
	}
	for _, u := range n.Upstreams {
		c.upstreams[u.ID] = u
	}
	for _, k := range n.Certificates {
		c.certificates[k.ID] = k
	}
}

// widen adds to changes what has to be made anew because of them. Secrets and upstreams
// change seldom, so it may look at all routes then.
func (c *config) widen(n *Changes) {
	if len(n.Secrets) == 0 && len(n.Upstreams) == 0 {
		return
	}
	names := func(list []control.FilterSetting) bool {
		return slices.ContainsFunc(list, func(s control.FilterSetting) bool {
			return slices.ContainsFunc(n.Secrets, func(id control.SecretID) bool { return bytes.Contains(s.With, []byte(id)) })
		})
	}
	for _, k := range c.certificates {
		if slices.Contains(n.Secrets, k.Key) {
			n.Certificates = add(n.Certificates, k)
		}
	}
	upstreams := map[control.UpstreamID]bool{}
	for _, u := range n.Upstreams {
		upstreams[u.ID] = true
	}
	for _, u := range c.upstreams {
		if u.TLS != nil && slices.Contains(n.Secrets, u.TLS.Key) && !upstreams[u.ID] {
			upstreams[u.ID], n.Upstreams = true, append(n.Upstreams, u)
		}
	}
	groups, routes := map[*control.Group]bool{}, map[*control.Route]bool{}
	for _, g := range n.Groups {
		groups[g] = true
	}
	for _, r := range n.Routes {
		routes[r] = true
	}
	for _, g := range c.groups {
		if names(g.Filters) && !groups[g] {
			groups[g], n.Groups = true, append(n.Groups, g)
		}
	}
	for _, r := range c.routes {
		if !routes[r] && (r.Via != "" && upstreams[r.Via] || names(r.Filters)) {
			n.Routes = append(n.Routes, r)
		}
	}
}

func add[T comparable](list []T, v T) []T {
	if slices.Contains(list, v) {
		return list
	}
	return append(list, v)
}

// feedKept is how many changes the feed keeps. A process that was away for longer reads the
// whole configuration.
const feedKept = 100_000

// trimFeed drops the begin of the feed.
func trimFeed(ctx context.Context, tx *storage.Tx) error {
	var last int64
	if err := tx.QueryRow(ctx, `SELECT COALESCE(MAX(number), 0) FROM gw_change`).Scan(&last); err != nil || last <= feedKept {
		return err
	}
	n, err := tx.Exec(ctx, `DELETE FROM gw_change WHERE number <= ?`, last-feedKept)
	if err != nil || n == 0 {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO gw_meta (name, value) VALUES ('feed begins', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, last-feedKept)
	return err
}
