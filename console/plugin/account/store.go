package account

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/gateway/storage"
)

func joinRoles(roles []market.Role) string {
	words := make([]string, len(roles))
	for i, r := range roles {
		words[i] = string(r)
	}
	return strings.Join(words, " ")
}

func splitRoles(s string) (roles []market.Role) {
	for _, w := range strings.Fields(s) {
		roles = append(roles, market.Role(w))
	}
	return roles
}

func insertAccount(ctx context.Context, tx *storage.Tx, id market.AccountID, name string, roles []market.Role, now time.Time) error {
	_, err := tx.Exec(ctx, `INSERT INTO account_account (id, name, roles, created) VALUES (?, ?, ?, ?)`,
		id, name, joinRoles(roles), storage.Millis(now))
	return err
}

func insertPerson(ctx context.Context, tx *storage.Tx, id market.PersonID, account market.AccountID, email, name, hash string, now time.Time) error {
	_, err := tx.Exec(ctx, `INSERT INTO account_person (id, account, email, name, password, created) VALUES (?, ?, ?, ?, ?, ?)`,
		id, account, email, name, hash, storage.Millis(now))
	return err
}

func insertSession(ctx context.Context, tx *storage.Tx, hash string, person market.PersonID, now time.Time) error {
	ms := storage.Millis(now)
	_, err := tx.Exec(ctx, `INSERT INTO account_session (hash, person, created, seen, signed_in) VALUES (?, ?, ?, ?, ?)`,
		hash, person, ms, ms, ms)
	return err
}

func insertToken(ctx context.Context, tx *storage.Tx, r TokenRow, hash string, person market.PersonID) error {
	_, err := tx.Exec(ctx, `INSERT INTO account_token (id, hash, person, name, tail, created, used) VALUES (?, ?, ?, ?, ?, ?, 0)`,
		r.ID, hash, person, r.Name, r.Tail, storage.Millis(r.Created))
	return err
}

// findPassword comes back empty-handed for an unknown address.
func findPassword(ctx context.Context, q storage.Queryer, email string) (id market.PersonID, hash string, err error) {
	err = q.QueryRow(ctx, `SELECT id, password FROM account_person WHERE email = ?`, email).Scan(&id, &hash)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return id, hash, err
}

type session struct {
	actor         market.Actor
	created, seen time.Time
}

const actorColumns = `p.id, p.name, p.email, a.id, a.name, a.roles`

func scanActor(a *market.Actor, roles *string) []any {
	return []any{&a.Person, &a.Called, &a.Email, &a.Account, &a.Name, roles}
}

func findSession(ctx context.Context, q storage.Queryer, hash string) (*session, error) {
	var s session
	var roles string
	var created, seen, signedIn int64
	err := q.QueryRow(ctx, `SELECT `+actorColumns+`, s.created, s.seen, s.signed_in
		FROM account_session s JOIN account_person p ON p.id = s.person JOIN account_account a ON a.id = p.account
		WHERE s.hash = ?`, hash).Scan(append(scanActor(&s.actor, &roles), &created, &seen, &signedIn)...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	s.actor.Roles = splitRoles(roles)
	s.actor.SignedIn = storage.Moment(signedIn)
	s.created, s.seen = storage.Moment(created), storage.Moment(seen)
	return &s, err
}

func findBearer(ctx context.Context, q storage.Queryer, hash string) (*market.Actor, time.Time, error) {
	var a market.Actor
	var roles string
	var used int64
	err := q.QueryRow(ctx, `SELECT `+actorColumns+`, t.used
		FROM account_token t JOIN account_person p ON p.id = t.person JOIN account_account a ON a.id = p.account
		WHERE t.hash = ?`, hash).Scan(append(scanActor(&a, &roles), &used)...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, time.Time{}, nil
	}
	a.Roles = splitRoles(roles)
	return &a, storage.Moment(used), err
}

func accountNames(ctx context.Context, q storage.Queryer, ids []market.AccountID) (map[market.AccountID]string, error) {
	names := make(map[market.AccountID]string, len(ids))
	for _, id := range ids { // a page asks for a few dozen; one statement each keeps it plain
		if _, have := names[id]; have {
			continue
		}
		var name string
		err := q.QueryRow(ctx, `SELECT name FROM account_account WHERE id = ?`, id).Scan(&name)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, err
		}
		names[id] = name
	}
	return names, nil
}

func countOperators(ctx context.Context, q storage.Queryer) (n int, err error) {
	err = q.QueryRow(ctx, `SELECT COUNT(*) FROM account_account WHERE ' ' || roles || ' ' LIKE '% operator %'`).Scan(&n)
	return n, err
}

func listTokens(ctx context.Context, q storage.Queryer, person market.PersonID) ([]TokenRow, error) {
	rows, err := q.Query(ctx, `SELECT id, name, tail, created, used FROM account_token WHERE person = ? ORDER BY id DESC`, person)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []TokenRow{}
	for rows.Next() {
		var r TokenRow
		var created, used int64
		if err := rows.Scan(&r.ID, &r.Name, &r.Tail, &created, &used); err != nil {
			return nil, err
		}
		r.Created = storage.Moment(created)
		if used > 0 {
			at := storage.Moment(used)
			r.Used = &at
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

const accountColumns = `a.id, a.name, a.roles, a.created,
	COALESCE((SELECT MIN(p.email) FROM account_person p WHERE p.account = a.id), '')`

func scanAccount(scan func(...any) error) (AccountRow, error) {
	var r AccountRow
	var roles string
	var created int64
	err := scan(&r.ID, &r.Name, &roles, &created, &r.Email)
	r.Roles, r.Created = splitRoles(roles), storage.Moment(created)
	return r, err
}

func findAccount(ctx context.Context, q storage.Queryer, id market.AccountID) (AccountRow, error) {
	r, err := scanAccount(q.QueryRow(ctx, `SELECT `+accountColumns+` FROM account_account a WHERE a.id = ?`, id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		err = market.NotFound("account.no_account")
	}
	return r, err
}

// listAccounts is paged by key, newest first; before is the last ID of the page before.
func findAccounts(ctx context.Context, q storage.Queryer, word, before string, most int) (list []AccountRow, total int, err error) {
	like := "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(word) + "%"
	const match = `(a.name LIKE ? ESCAPE '\' OR EXISTS (SELECT 1 FROM account_person p WHERE p.account = a.id AND p.email LIKE ? ESCAPE '\'))`
	if err := q.QueryRow(ctx, `SELECT COUNT(*) FROM account_account a WHERE `+match, like, like).Scan(&total); err != nil {
		return nil, 0, err
	}
	rows, err := q.Query(ctx, `SELECT `+accountColumns+` FROM account_account a
		WHERE `+match+` AND (? = '' OR a.id < ?) ORDER BY a.id DESC LIMIT ?`, like, like, before, before, most)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	list = []AccountRow{}
	for rows.Next() {
		r, err := scanAccount(rows.Scan)
		if err != nil {
			return nil, 0, err
		}
		list = append(list, r)
	}
	return list, total, rows.Err()
}
