package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
)

func invalid(what, why string) error { return fmt.Errorf("%w: %s %s", control.ErrInvalid, what, why) }

// Apply makes every change true, all or none.
func (l *Ledger) Apply(ctx context.Context, changes ...control.Change) error {
	for _, c := range changes {
		if err := check(c); err != nil {
			return err
		}
	}
	err := l.db.Tx(ctx, func(tx *storage.Tx) error {
		for _, c := range changes {
			if err := apply(ctx, tx, c); err != nil {
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

// check refuses a change that contradicts itself.
func check(c control.Change) error {
	switch c := c.(type) {
	case *control.Group:
		switch {
		case c.ID == "":
			return invalid("group", "has no ID")
		case len(c.Domains) == 0:
			return invalid("group "+string(c.ID), "has no domain")
		}
		for _, d := range c.Domains {
			if d == "" || d != strings.ToLower(d) || strings.ContainsAny(d, ":/ ") {
				return invalid("group "+string(c.ID), fmt.Sprintf("domain %q is not a lower-case host name without a port", d))
			}
		}
	case *control.Route:
		return checkRoute(c)
	case *control.App:
		if c.ID == "" {
			return invalid("app", "has no ID")
		}
	case *control.Grant:
		if c.ID == "" || c.App == "" || c.Product == "" {
			return invalid("grant "+string(c.ID), "names no app or no product")
		}
	case *control.Package:
		switch {
		case c.ID == "" || c.Grant == "":
			return invalid("package "+string(c.ID), "names no grant")
		case c.Calls <= 0:
			return invalid("package "+string(c.ID), "has no calls")
		case !c.Until.IsZero() && !c.Until.After(c.From):
			return invalid("package "+string(c.ID), "ends before it begins")
		}
	}
	return nil
}

func checkRoute(r *control.Route) error {
	what := "route " + string(r.ID)
	u, err := url.Parse(r.Upstream)
	switch {
	case r.ID == "" || r.Group == "" || r.Product == "":
		return invalid(what, "names no group or no product")
	case r.Method == "" || r.Method != strings.ToUpper(r.Method):
		return invalid(what, "has no method in upper case")
	case !strings.HasPrefix(r.Path, "/") || r.UpstreamPath != "" && !strings.HasPrefix(r.UpstreamPath, "/"):
		return invalid(what, "path does not begin with /")
	case !slices.Contains([]control.Stage{"", control.Release, control.Pre, control.Test}, r.Stage):
		return invalid(what, fmt.Sprintf("stage %q is not known", r.Stage))
	case !slices.Contains([]control.AppCodeSetting{"", control.AppCodeDefault, control.AppCodeDisable, control.AppCodeHeader, control.AppCodeHeaderQuery}, r.AppCode):
		return invalid(what, fmt.Sprintf("app_code %q is not known", r.AppCode))
	case !slices.Contains([]control.ChargeOn{"", control.ChargeSucceeded, control.ChargeAnswered}, r.Charge):
		return invalid(what, fmt.Sprintf("charge %q is not known", r.Charge))
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return invalid(what, "upstream is not an http or https address")
	case r.Timeout < 0 || r.MaxBody < 0 || r.Throttle.PerApp < 0 || r.Throttle.PerRoute < 0 || r.Throttle.Window < 0:
		return invalid(what, "has a bound below zero")
	}
	return nil
}

// apply writes one change and tells of it, unless it is so already.
func apply(ctx context.Context, tx *storage.Tx, c control.Change) error {
	switch c := c.(type) {
	case *control.Group:
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
		return tell(ctx, tx, "table", string(c.ID))
	case *control.Route:
		changed, err := putBody(ctx, tx, "gw_route", string(c.ID), c)
		if err != nil || !changed {
			return err
		}
		return tell(ctx, tx, "table", string(c.ID))
	case *control.App:
		return applyApp(ctx, tx, c)
	case *control.Grant:
		return applyGrant(ctx, tx, c)
	case *control.Package:
		return applyPackage(ctx, tx, c)
	}
	return invalid("change", fmt.Sprintf("of an unknown kind %T", c))
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
