package apps

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/gateway/storage"
)

type app struct {
	ID      market.AppID
	Owner   market.AccountID
	Name    string
	About   string
	First   bool
	Created time.Time
}

func (a app) market() market.App { return market.App{ID: a.ID, Owner: a.Owner, Name: a.Name} }

const columns = `id, owner, name, about, first, created`

func scan(scan func(...any) error) (app, error) {
	var a app
	var created int64
	err := scan(&a.ID, &a.Owner, &a.Name, &a.About, &a.First, &created)
	a.Created = storage.Moment(created)
	return a, err
}

func insert(ctx context.Context, tx *storage.Tx, a app) error {
	first := 0
	if a.First {
		first = 1
	}
	_, err := tx.Exec(ctx, `INSERT INTO apps_app (id, owner, name, about, first, created) VALUES (?, ?, ?, ?, ?, ?)`,
		a.ID, a.Owner, a.Name, a.About, first, storage.Millis(a.Created))
	return err
}

func find(ctx context.Context, q storage.Queryer, who *market.Actor, id market.AppID) (app, error) {
	a, err := scan(q.QueryRow(ctx, `SELECT `+columns+` FROM apps_app WHERE id = ? AND owner = ?`, id, who.Account).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		err = market.NotFound("apps.missing")
	}
	return a, err
}

// findFirst comes back empty-handed if the buyer has bought nothing yet.
func findFirst(ctx context.Context, q storage.Queryer, owner market.AccountID) (app, error) {
	a, err := scan(q.QueryRow(ctx, `SELECT `+columns+` FROM apps_app WHERE owner = ? AND first = 1`, owner).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return app{}, nil
	}
	return a, err
}

func count(ctx context.Context, q storage.Queryer, owner market.AccountID) (n int, err error) {
	err = q.QueryRow(ctx, `SELECT COUNT(*) FROM apps_app WHERE owner = ?`, owner).Scan(&n)
	return n, err
}

func listOf(ctx context.Context, q storage.Queryer, owner market.AccountID) ([]app, error) {
	rows, err := q.Query(ctx, `SELECT `+columns+` FROM apps_app WHERE owner = ? ORDER BY id`, owner)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []app
	for rows.Next() {
		a, err := scan(rows.Scan)
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, rows.Err()
}

func listDeeds(ctx context.Context, q storage.Queryer, id market.AppID, most int) ([]Deed, error) {
	rows, err := q.Query(ctx, `SELECT person, deed, at FROM apps_deed WHERE app = ? ORDER BY at DESC LIMIT ?`, id, most)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []Deed{}
	for rows.Next() {
		var d Deed
		var at int64
		if err := rows.Scan(&d.Person, &d.Deed, &at); err != nil {
			return nil, err
		}
		d.At = storage.Moment(at)
		list = append(list, d)
	}
	return list, rows.Err()
}
