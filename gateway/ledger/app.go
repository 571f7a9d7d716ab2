package ledger

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
	"github.com/souk-market/souk/signer"
)

// App is who calls, as the gates need it. It is never changed: a reset secret is another App.
type App struct {
	ID     control.AppID
	Live   bool
	Secret []byte
	key    string
	code   [32]byte
}

// apps are all apps, by what they call with. The database is the truth; this is all of it.
type apps struct {
	mu     sync.RWMutex
	byID   map[control.AppID]*App
	byKey  map[string]*App
	byCode map[[32]byte]*App
}

func (a *apps) init() {
	a.byID, a.byKey, a.byCode = map[control.AppID]*App{}, map[string]*App{}, map[[32]byte]*App{}
}

// put makes an app's present credentials the only ones it has.
func (a *apps) put(app *App) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if old := a.byID[app.ID]; old != nil {
		delete(a.byKey, old.key)
		delete(a.byCode, old.code)
	}
	a.byID[app.ID], a.byKey[app.key], a.byCode[app.code] = app, app, app
}

// ByKey finds an app by its AppKey.
func (l *Ledger) ByKey(key []byte) (*App, bool) {
	l.apps.mu.RLock()
	a := l.apps.byKey[string(key)]
	l.apps.mu.RUnlock()
	return a, a != nil
}

// ByCode finds an app by its AppCode, through a keyed hash of it.
func (l *Ledger) ByCode(code []byte) (*App, bool) {
	sum := l.safe.codeMAC(code)
	l.apps.mu.RLock()
	a := l.apps.byCode[sum]
	l.apps.mu.RUnlock()
	return a, a != nil
}

const appColumns = `id, live, app_key, secret, code_mac`

func (l *Ledger) scanApp(scan func(...any) error) (*App, error) {
	a := new(App)
	var sealed, mac []byte
	if err := scan(&a.ID, &a.Live, &a.key, &sealed, &mac); err != nil {
		return nil, err
	}
	secret, err := l.safe.open(sealed, "secret", string(a.ID))
	a.Secret = []byte(secret)
	copy(a.code[:], mac)
	return a, err
}

func (l *Ledger) loadApps(ctx context.Context) error {
	rows, err := l.db.Read().Query(ctx, `SELECT `+appColumns+` FROM gw_app`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		a, err := l.scanApp(rows.Scan)
		if err != nil {
			return err
		}
		l.apps.put(a)
	}
	return rows.Err()
}

func (l *Ledger) loadApp(ctx context.Context, id control.AppID) error {
	a, err := l.scanApp(l.db.Read().QueryRow(ctx, `SELECT `+appColumns+` FROM gw_app WHERE id = ?`, id).Scan)
	if err == nil {
		l.apps.put(a)
	}
	return err
}

// CreateApp makes an app with fresh credentials; one that exists keeps its own.
func (l *Ledger) CreateApp(ctx context.Context, a control.App) (control.Credentials, error) {
	if a.ID == "" {
		return control.Credentials{}, invalid("app", "has no ID")
	}
	code := signer.NewAppCode()
	mac := l.safe.codeMAC([]byte(code))
	now := storage.Millis(l.now())
	made := false
	err := l.db.Tx(ctx, func(tx *storage.Tx) error {
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
	err := l.db.Read().QueryRow(ctx, `SELECT app_key, secret, code, secret_at, code_at FROM gw_app WHERE id = ?`, id).
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
	err := l.db.Tx(ctx, func(tx *storage.Tx) error {
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

// tell writes a change into the feed. The kinds are "table" (a group or route), "app",
// "grant" (or a package of it), each with its ID, and "left": the grant, as JSON, as it was
// before it went to another app or product.
func tell(ctx context.Context, tx *storage.Tx, kind, id string) error {
	_, err := tx.Exec(ctx, `INSERT INTO gw_change (kind, id) VALUES (?, ?)`, kind, id)
	return err
}
