package apis

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/gateway/storage"
)

const groupColumns = `id, seller, name, domain, upstream, timeout, appcode, sha1, file, version, document, product, charge, created, moved, config, rev`

func scanGroup(scan func(...any) error) (group, error) {
	var g group
	var name string
	var timeout int64
	var config []byte
	s := &g.Settings
	err := scan(&g.ID, &g.Seller, &name, &g.Domain, &s.Upstream, &timeout, &s.AppCode, &s.SHA1,
		&g.File, &g.Version, &g.Document, &g.Product, &g.Charge, &g.Created, &g.Moved, &config, &g.Rev)
	if err != nil {
		return g, err
	}
	g.Name, s.Timeout = market.TextFrom(name), time.Duration(timeout)*time.Millisecond
	if err := json.Unmarshal(config, &g.Config); err != nil {
		return g, fmt.Errorf("group %s: %w", g.ID, err)
	}
	return g, nil
}

func insertGroup(ctx context.Context, tx *storage.Tx, g group) error {
	s := g.Settings
	document := g.Document
	if document == nil {
		document = []byte{}
	}
	// perapp and perroute were limits once (0002_gateway.sql).
	_, err := tx.Exec(ctx, `INSERT INTO apis_group (`+groupColumns+`, perapp, perroute) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', '', ?, ?, '{}', 0, 0, 0)`,
		g.ID, g.Seller, g.Name.JSON(), g.Domain, s.Upstream, s.Timeout.Milliseconds(), s.AppCode, s.SHA1,
		g.File, g.Version, document, g.Created, g.Moved)
	return err
}

func oneGroup(row *sql.Row) (group, error) {
	g, err := scanGroup(row.Scan)
	if errors.Is(err, sql.ErrNoRows) {
		err = market.NotFound("apis.missing")
	}
	return g, err
}

func find(ctx context.Context, q storage.Queryer, who *market.Actor, id market.SourceID) (group, error) {
	return oneGroup(q.QueryRow(ctx, `SELECT `+groupColumns+` FROM apis_group WHERE id = ? AND seller = ?`, id, who.Account))
}

// findAny is for those who act for nobody.
func findAny(ctx context.Context, q storage.Queryer, id market.SourceID) (group, error) {
	return oneGroup(q.QueryRow(ctx, `SELECT `+groupColumns+` FROM apis_group WHERE id = ?`, id))
}

func list(ctx context.Context, q storage.Queryer, seller market.AccountID) ([]group, error) {
	rows, err := q.Query(ctx, `SELECT `+groupColumns+` FROM apis_group WHERE seller = ? ORDER BY id DESC`, seller)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var groups []group
	for rows.Next() {
		g, err := scanGroup(rows.Scan)
		if err != nil {
			return nil, err
		}
		groups = append(groups, g)
	}
	return groups, rows.Err()
}

// facts is how an interface is stored: what buyers may know, and which operation of the
// document it is.
type facts struct {
	market.Interface
	Operation string
}

func insertInterface(ctx context.Context, tx *storage.Tx, grp market.SourceID, i iface) error {
	f, err := json.Marshal(facts{i.Interface, i.Operation})
	if err != nil {
		return err
	}
	problems, err := json.Marshal(i.Problems)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO apis_interface (id, grp, sort, method, path, facts, problems, chosen) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		i.ID, grp, i.Sort, i.Method, i.Path, string(f), string(problems), i.Chosen)
	return err
}

func listInterfaces(ctx context.Context, q storage.Queryer, grp market.SourceID) ([]iface, error) {
	rows, err := q.Query(ctx, `SELECT id, sort, facts, problems, chosen, config FROM apis_interface WHERE grp = ? ORDER BY sort`, grp)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []iface
	for rows.Next() {
		var i iface
		var id string
		var f, problems, config []byte
		if err := rows.Scan(&id, &i.Sort, &f, &problems, &i.Chosen, &config); err != nil {
			return nil, err
		}
		var known facts
		if err := errors.Join(json.Unmarshal(f, &known), json.Unmarshal(problems, &i.Problems), json.Unmarshal(config, &i.Config)); err != nil {
			return nil, fmt.Errorf("interface %s: %w", id, err)
		}
		i.Interface, i.Operation = known.Interface, known.Operation
		i.ID = id
		list = append(list, i)
	}
	return list, rows.Err()
}
