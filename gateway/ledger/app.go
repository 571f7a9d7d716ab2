package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
	"github.com/souk-market/souk/signer"
)

// ByKey finds an app by its AppKey.
func (l *Ledger) ByKey(key []byte) (App, bool) { return l.apps.Load().byKey(key) }

// ByCode finds an app by its AppCode, through a keyed hash of it.
func (l *Ledger) ByCode(code []byte) (App, bool) {
	sum := l.safe.codeMAC(code)
	return l.apps.Load().byMark(sum[:codeMark])
}

const appColumns = `id, owner, live, app_key, secret, code_mac`

func (l *Ledger) scanApp(scan func(...any) error, to *apps) error {
	var a App
	var secret, mac []byte
	if err := scan(&a.ID, &a.Owner, &a.Live, &a.Key, &secret, &mac); err != nil {
		return err
	}
	return l.putApp(&a, secret, mac, to)
}

// putApp opens an app's secret and makes the app one that can call.
func (l *Ledger) putApp(a *App, secret, mac []byte, to *apps) error {
	open, err := l.safe.open(secret, "secret", string(a.ID))
	if err != nil {
		return err
	}
	if a.Secret = []byte(open); !a.fits() || len(mac) < codeMark {
		return fmt.Errorf("ledger: the texts of the app %.64s are too long", a.ID)
	}
	to.put(a, mac[:codeMark])
	return nil
}

func (l *Ledger) loadApps(ctx context.Context, q storage.Queryer, to *apps) error {
	rows, err := q.Query(ctx, `SELECT `+appColumns+` FROM gw_app`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := l.scanApp(rows.Scan, to); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (l *Ledger) loadApp(ctx context.Context, db *storage.DB, id control.AppID) error {
	return l.scanApp(db.Read().QueryRow(ctx, `SELECT `+appColumns+` FROM gw_app WHERE id = ?`, id).Scan, l.apps.Load())
}

// CreateApp makes an app with fresh credentials; one that exists keeps its own.
func (l *Ledger) CreateApp(ctx context.Context, a control.App) (control.Credentials, error) {
	if a.ID == "" {
		return control.Credentials{}, invalid("app", "has no ID")
	}
	if len(a.ID) > maxName || len(a.Owner) > maxName {
		return control.Credentials{}, invalid("app", fmt.Sprintf("has an ID or owner of more than %d bytes", maxName))
	}
	code := signer.NewAppCode()
	mac := l.safe.codeMAC([]byte(code))
	now := storage.Millis(l.now())
	made := false
	err := l.tx(ctx, func(tx *storage.Tx) error {
		n, err := tx.Exec(ctx, `INSERT INTO gw_app (id, owner, name, live, app_key, secret, code, code_mac, secret_at, code_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
			a.ID, a.Owner, a.Name, a.Live, signer.NewAppKey(), l.safe.close(signer.NewAppSecret(), "secret", string(a.ID)),
			l.safe.close(code, "code", string(a.ID)), mac[:], now, now)
		if err != nil {
			return err
		}
		if made = n == 1; made {
			return tell(ctx, tx, "app", string(a.ID))
		}
		_, err = tx.Exec(ctx, `UPDATE gw_app SET name = ? WHERE id = ? AND name <> ?`, a.Name, a.ID, a.Name)
		return err
	})
	if err != nil {
		return control.Credentials{}, err
	}
	if made {
		if err := l.follow(context.WithoutCancel(ctx)); err != nil {
			return control.Credentials{}, err
		}
	}
	return l.Credentials(ctx, a.ID)
}

// Credentials shows the present ones.
func (l *Ledger) Credentials(ctx context.Context, id control.AppID) (control.Credentials, error) {
	c := control.Credentials{App: id}
	var secret, code []byte
	var secretAt, codeAt int64
	db, err := l.base()
	if err != nil {
		return c, err
	}
	err = db.Read().QueryRow(ctx, `SELECT app_key, secret, code, secret_at, code_at FROM gw_app WHERE id = ?`, id).
		Scan(&c.AppKey, &secret, &code, &secretAt, &codeAt)
	if errors.Is(err, sql.ErrNoRows) {
		return c, control.ErrMissing
	}
	if err != nil {
		return c, err
	}
	c.SecretAt, c.CodeAt = storage.Moment(secretAt), storage.Moment(codeAt)
	if c.AppSecret, err = l.safe.open(secret, "secret", string(id)); err != nil {
		return c, err
	}
	c.AppCode, err = l.safe.open(code, "code", string(id))
	return c, err
}

// ResetSecret replaces the AppSecret; the old one stops working at once.
func (l *Ledger) ResetSecret(ctx context.Context, id control.AppID) (control.Credentials, error) {
	return l.reset(ctx, id, func(tx *storage.Tx, now time.Time) (int64, error) {
		return tx.Exec(ctx, `UPDATE gw_app SET secret = ?, secret_at = ? WHERE id = ?`,
			l.safe.close(signer.NewAppSecret(), "secret", string(id)), storage.Millis(now), id)
	})
}

// ResetCode replaces the AppCode; the old one stops working at once.
func (l *Ledger) ResetCode(ctx context.Context, id control.AppID) (control.Credentials, error) {
	return l.reset(ctx, id, func(tx *storage.Tx, now time.Time) (int64, error) {
		code := signer.NewAppCode()
		mac := l.safe.codeMAC([]byte(code))
		return tx.Exec(ctx, `UPDATE gw_app SET code = ?, code_mac = ?, code_at = ? WHERE id = ?`,
			l.safe.close(code, "code", string(id)), mac[:], storage.Millis(now), id)
	})
}

func (l *Ledger) reset(ctx context.Context, id control.AppID, f func(*storage.Tx, time.Time) (int64, error)) (control.Credentials, error) {
	err := l.tx(ctx, func(tx *storage.Tx) error {
		n, err := f(tx, l.now())
		if err != nil {
			return err
		}
		if n == 0 {
			return control.ErrMissing
		}
		return tell(ctx, tx, "app", string(id))
	})
	if err != nil {
		return control.Credentials{}, err
	}
	if err := l.follow(context.WithoutCancel(ctx)); err != nil {
		return control.Credentials{}, err
	}
	return l.Credentials(ctx, id)
}

// maxName bounds the names of apps and their owners, which lie in memory.
const maxName = 1024

// tell writes a change into the feed. The kinds are "group", "route", "upstream", "secret",
// "certificate", "app", "grant" (or a package of it), each with its ID, and "left": the
// grant, as JSON, as it was before it went to another app or product.
func tell(ctx context.Context, tx *storage.Tx, kind, id string) error {
	_, err := tx.Exec(ctx, `INSERT INTO gw_change (kind, id) VALUES (?, ?)`, kind, id)
	return err
}
