package ledger

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
)

func invalid(what, why string) error { return fmt.Errorf("%w: %s %s", control.ErrInvalid, what, why) }

// Apply makes every change true, all or none.
func (l *Ledger) Apply(ctx context.Context, changes ...control.Change) error {
	defer l.expect(changes)()
	for _, c := range changes {
		if err := check(c); err != nil {
			return err
		}
		if l.check != nil {
			if err := l.check(c); err != nil && !errors.Is(err, control.ErrInvalid) {
				return fmt.Errorf("%w: %w", control.ErrInvalid, err)
			} else if err != nil {
				return err
			}
		}
	}
	err := l.tx(ctx, func(tx *storage.Tx) error {
		for _, c := range changes {
			if err := l.apply(ctx, tx, c); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	// It is true now: a caller who stops waiting must not be told that it is not.
	return l.follow(context.WithoutCancel(ctx))
}

// apply writes one change and tells of it, unless it is so already.
func (l *Ledger) apply(ctx context.Context, tx *storage.Tx, c control.Change) error {
	switch c := c.(type) {
	case *control.Group:
		return applyGroup(ctx, tx, c)
	case *control.Route:
		if c.Via != "" {
			if err := exists(ctx, tx, "gw_upstream", string(c.Via)); err != nil {
				return missing(err, "route "+string(c.ID), "via", "upstream "+string(c.Via))
			}
		}
		return applyBody(ctx, tx, "gw_route", "route", string(c.ID), c)
	case *control.Upstream:
		if c.TLS != nil && c.TLS.Key != "" {
			if err := l.checkPair(ctx, tx, "upstream "+string(c.ID), c.TLS.Cert, c.TLS.Key); err != nil {
				return err
			}
		}
		return applyBody(ctx, tx, "gw_upstream", "upstream", string(c.ID), c)
	case *control.Certificate:
		if err := l.checkPair(ctx, tx, "certificate "+string(c.ID), c.Chain, c.Key); err != nil {
			return err
		}
		return applyBody(ctx, tx, "gw_certificate", "certificate", string(c.ID), c)
	case *control.Secret:
		return l.applySecret(ctx, tx, c)
	case *control.App:
		return applyApp(ctx, tx, c)
	case *control.Grant:
		return applyGrant(ctx, tx, c)
	case *control.Package:
		return applyPackage(ctx, tx, c)
	}
	return invalid("change", fmt.Sprintf("of an unknown kind %T", c))
}

func applyGroup(ctx context.Context, tx *storage.Tx, c *control.Group) error {
	for _, d := range c.Domains {
		var owner control.GroupID
		err := tx.QueryRow(ctx, `SELECT grp FROM gw_domain WHERE domain = ?`, d).Scan(&owner)
		if err == nil && owner != c.ID {
			return fmt.Errorf("%w: the domain %s belongs to %s", control.ErrConflict, d, owner)
		}
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
	}
	changed, err := putBody(ctx, tx, "gw_group", string(c.ID), c)
	if err != nil || !changed {
		return err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM gw_domain WHERE grp = ?`, c.ID); err != nil {
		return err
	}
	for _, d := range c.Domains {
		if _, err := tx.Exec(ctx, `INSERT INTO gw_domain (domain, grp) VALUES (?, ?) ON CONFLICT DO NOTHING`, d, c.ID); err != nil {
			return err
		}
	}
	return tell(ctx, tx, "group", string(c.ID))
}

func applyBody(ctx context.Context, tx *storage.Tx, table, kind, id string, v any) error {
	changed, err := putBody(ctx, tx, table, id, v)
	if err != nil || !changed {
		return err
	}
	return tell(ctx, tx, kind, id)
}

// exists is sql.ErrNoRows if a table has no such ID.
func exists(ctx context.Context, q storage.Queryer, table, id string) error {
	var n int
	return q.QueryRow(ctx, `SELECT 1 FROM `+table+` WHERE id = ?`, id).Scan(&n)
}

func missing(err error, what, field, which string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return invalid(what, fmt.Sprintf("%s names the %s, which does not exist", field, which))
	}
	return err
}

// checkPair makes sure that a secret is the private key of a chain of certificates. It sees
// what the same Apply has written before.
func (l *Ledger) checkPair(ctx context.Context, tx *storage.Tx, what, chain string, key control.SecretID) error {
	var value []byte
	err := tx.QueryRow(ctx, `SELECT value FROM gw_secret WHERE id = ?`, key).Scan(&value)
	if err != nil {
		return missing(err, what, "key", "secret "+string(key))
	}
	private, err := l.safe.open(value, "setting", string(key))
	if err != nil {
		return err
	}
	if _, err := tls.X509KeyPair([]byte(chain), []byte(private)); err != nil {
		return invalid(what, "has a key that is not that of its certificate: "+strings.TrimPrefix(err.Error(), "tls: "))
	}
	return nil
}

// applySecret seals the value anew only if it is another one: sealed twice, one value looks
// like two.
func (l *Ledger) applySecret(ctx context.Context, tx *storage.Tx, c *control.Secret) error {
	var name string
	var live bool
	var value []byte
	err := tx.QueryRow(ctx, `SELECT name, live, value FROM gw_secret WHERE id = ?`, c.ID).Scan(&name, &live, &value)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if err == nil {
		old, err := l.safe.open(value, "setting", string(c.ID))
		if err != nil {
			return err
		}
		same := subtle.ConstantTimeCompare([]byte(old), c.Value) == 1
		switch {
		case same && name == c.Name && live == c.Live:
			return nil
		case same:
			if _, err := tx.Exec(ctx, `UPDATE gw_secret SET name = ?, live = ? WHERE id = ?`, c.Name, c.Live, c.ID); err != nil {
				return err
			}
			return tell(ctx, tx, "secret", string(c.ID))
		}
	}
	_, err = tx.Exec(ctx, `INSERT INTO gw_secret (id, name, live, value, at) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, live = excluded.live, value = excluded.value, at = excluded.at`,
		c.ID, c.Name, c.Live, l.safe.close(string(c.Value), "setting", string(c.ID)), storage.Millis(l.now()))
	if err != nil {
		return err
	}
	return tell(ctx, tx, "secret", string(c.ID))
}

// putBody writes a thing as JSON and reports whether that changed anything.
func putBody(ctx context.Context, tx *storage.Tx, table, id string, v any) (bool, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return false, err
	}
	n, err := tx.Exec(ctx, `INSERT INTO `+table+` (id, body) VALUES (?, ?)
		ON CONFLICT (id) DO UPDATE SET body = excluded.body WHERE `+table+`.body <> excluded.body`, id, string(b))
	return n > 0, err
}

func applyApp(ctx context.Context, tx *storage.Tx, c *control.App) error {
	var name string
	var live bool
	err := tx.QueryRow(ctx, `SELECT name, live FROM gw_app WHERE id = ?`, c.ID).Scan(&name, &live)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("%w: app %s", control.ErrMissing, c.ID)
	case err != nil:
		return err
	case name == c.Name && live == c.Live:
		return nil
	}
	if _, err := tx.Exec(ctx, `UPDATE gw_app SET name = ?, live = ? WHERE id = ?`, c.Name, c.Live, c.ID); err != nil {
		return err
	}
	return tell(ctx, tx, "app", string(c.ID))
}

// applyGrant tells of the grant, and if it went to another app or product, also of those
// that it left: they must not go on spending what they have open.
func applyGrant(ctx context.Context, tx *storage.Tx, c *control.Grant) error {
	old := control.Grant{ID: c.ID}
	err := tx.QueryRow(ctx, `SELECT app, product, live FROM gw_grant WHERE id = ?`, c.ID).Scan(&old.App, &old.Product, &old.Live)
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return err
	case old == *c:
		return nil
	case old.App != c.App || old.Product != c.Product:
		left, err := json.Marshal(old)
		if err != nil {
			return err
		}
		if err := tell(ctx, tx, "left", string(left)); err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, `INSERT INTO gw_grant (id, app, product, live) VALUES (?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET app = excluded.app, product = excluded.product, live = excluded.live`, c.ID, c.App, c.Product, c.Live)
	if err != nil {
		return err
	}
	return tell(ctx, tx, "grant", string(c.ID))
}

func applyPackage(ctx context.Context, tx *storage.Tx, c *control.Package) error {
	var grants int
	if err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM gw_grant WHERE id = ?`, c.Grant).Scan(&grants); err != nil {
		return err
	}
	if grants == 0 {
		return invalid("package "+string(c.ID), "names the grant "+string(c.Grant)+", which does not exist")
	}
	var granted int64
	var grant control.GrantID
	err := tx.QueryRow(ctx, `SELECT granted, grant_id FROM gw_package WHERE id = ?`, c.ID).Scan(&granted, &grant)
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return err
	case granted != c.Calls:
		return invalid("package "+string(c.ID), fmt.Sprintf("has %d calls and cannot have %d", granted, c.Calls))
	case grant != c.Grant:
		return invalid("package "+string(c.ID), "belongs to another grant")
	}
	n, err := tx.Exec(ctx, `INSERT INTO gw_package (id, grant_id, granted, start, until, live) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET start = excluded.start, until = excluded.until, live = excluded.live
		WHERE start <> excluded.start OR until <> excluded.until OR live <> excluded.live`,
		c.ID, c.Grant, c.Calls, storage.Millis(c.From), storage.Millis(c.Until), c.Live)
	if err != nil || n == 0 {
		return err
	}
	return tell(ctx, tx, "grant", string(c.Grant))
}
