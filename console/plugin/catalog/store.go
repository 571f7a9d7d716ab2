package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/gateway/storage"
)

type category struct {
	ID     market.CategoryID
	Parent market.CategoryID
	Name   market.Text
	Icon   string
}

func listCategories(ctx context.Context, q storage.Queryer) ([]category, error) {
	rows, err := q.Query(ctx, `SELECT id, parent, zh, en, icon FROM catalog_category ORDER BY sort, id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []category
	for rows.Next() {
		var c category
		if err := rows.Scan(&c.ID, &c.Parent, &c.Name.ZH, &c.Name.EN, &c.Icon); err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, rows.Err()
}

func categoriesByID(ctx context.Context, q storage.Queryer) (map[market.CategoryID]category, error) {
	list, err := listCategories(ctx, q)
	m := make(map[market.CategoryID]category, len(list))
	for _, c := range list {
		m[c.ID] = c
	}
	return m, err
}

// countByCategory counts what is for sale.
func countByCategory(ctx context.Context, q storage.Queryer) (map[market.CategoryID]int, error) {
	rows, err := q.Query(ctx, `SELECT category, COUNT(*) FROM catalog_product WHERE open = 1 GROUP BY category`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	m := map[market.CategoryID]int{}
	for rows.Next() {
		var id market.CategoryID
		var n int
		if err := rows.Scan(&id, &n); err != nil {
			return nil, err
		}
		m[id] = n
	}
	return m, rows.Err()
}

const columns = `seq, id, seller, kind, source, draft, stage, reason, live, open, listed, moved, created`

func scan(scan func(...any) error) (product, error) {
	var p product
	var draft, live string
	err := scan(&p.Seq, &p.ID, &p.Seller, &p.Kind, &p.Source, &draft, &p.Stage, &p.Reason, &live, &p.Open, &p.Listed, &p.Moved, &p.Created)
	if err != nil {
		return p, err
	}
	for _, d := range []struct {
		text string
		to   **Sheet
	}{{draft, &p.Draft}, {live, &p.Live}} {
		if d.text == "" {
			continue
		}
		*d.to = new(Sheet)
		if err := json.Unmarshal([]byte(d.text), *d.to); err != nil {
			return p, fmt.Errorf("product %s: %w", p.ID, err)
		}
	}
	return p, nil
}

func sheetText(s *Sheet) (string, error) {
	if s == nil {
		return "", nil
	}
	b, err := json.Marshal(s)
	return string(b), err
}

func insert(ctx context.Context, tx *storage.Tx, p product) error {
	draft, err := sheetText(p.Draft)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO catalog_product (id, seller, kind, source, draft, stage, reason, live, open, category, floor, listed, moved, created)
		VALUES (?, ?, ?, ?, ?, ?, '', '', 0, '', 0, 0, ?, ?)`, p.ID, p.Seller, p.Kind, p.Source, draft, p.Stage, p.Moved, p.Created)
	return err
}

// update writes a product that was read in the same transaction.
func update(ctx context.Context, tx *storage.Tx, p product) error {
	draft, err := sheetText(p.Draft)
	if err != nil {
		return err
	}
	live, err := sheetText(p.Live)
	if err != nil {
		return err
	}
	var in market.CategoryID
	var floor market.Fen
	if p.Live != nil {
		in, floor = p.Live.Category, p.Live.floor()
	}
	_, err = tx.Exec(ctx, `UPDATE catalog_product SET draft = ?, stage = ?, reason = ?, live = ?, open = ?, category = ?, floor = ?, listed = ?, moved = ?
		WHERE id = ?`, draft, p.Stage, p.Reason, live, p.Open, in, int64(floor), p.Listed, p.Moved, p.ID)
	return err
}

// index puts a product's words into the search index, or takes them out.
func index(ctx context.Context, tx *storage.Tx, p product, more ...string) error {
	if _, err := tx.Exec(ctx, `DELETE FROM catalog_search WHERE rowid = ?`, p.Seq); err != nil {
		return err
	}
	if !p.Open || p.Live == nil {
		return nil
	}
	words := tokens(strings.Join(append(more, p.Live.Name.ZH, p.Live.Name.EN, p.Live.Summary.ZH, p.Live.Summary.EN), " \n "))
	_, err := tx.Exec(ctx, `INSERT INTO catalog_search (rowid, words) VALUES (?, ?)`, p.Seq, strings.Join(words, " "))
	return err
}

func insertPlan(ctx context.Context, tx *storage.Tx, id market.PlanID, of market.ProductID) error {
	_, err := tx.Exec(ctx, `INSERT INTO catalog_plan (id, product) VALUES (?, ?) ON CONFLICT DO NOTHING`, id, of)
	return err
}

func one(row *sql.Row) (product, error) {
	p, err := scan(row.Scan)
	if errors.Is(err, sql.ErrNoRows) {
		err = market.NotFound("catalog.missing")
	}
	return p, err
}

func find(ctx context.Context, q storage.Queryer, id market.ProductID) (product, error) {
	return one(q.QueryRow(ctx, `SELECT `+columns+` FROM catalog_product WHERE id = ?`, id))
}

func findMine(ctx context.Context, q storage.Queryer, who *market.Actor, id market.ProductID) (product, error) {
	return one(q.QueryRow(ctx, `SELECT `+columns+` FROM catalog_product WHERE id = ? AND seller = ?`, id, who.Account))
}

func findByPlan(ctx context.Context, q storage.Queryer, id market.PlanID) (product, error) {
	p, err := one(q.QueryRow(ctx, `SELECT `+columns+` FROM catalog_product WHERE id = (SELECT product FROM catalog_plan WHERE id = ?)`, id))
	var e *market.Error
	if errors.As(err, &e) {
		e.Code = "catalog.no_such_plan"
	}
	return p, err
}

func many(ctx context.Context, q storage.Queryer, rest string, args ...any) ([]product, error) {
	rows, err := q.Query(ctx, `SELECT `+columns+` FROM catalog_product `+rest, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []product
	for rows.Next() {
		p, err := scan(rows.Scan)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, rows.Err()
}

// salesWindow is how far back sales are counted (CAT-18).
const salesWindow = 180 * 24 * time.Hour

func countSales(ctx context.Context, q storage.Queryer, since time.Time, ids ...market.ProductID) (map[market.ProductID]int64, error) {
	m := make(map[market.ProductID]int64, len(ids))
	for _, id := range ids {
		var n int64
		err := q.QueryRow(ctx, `SELECT COALESCE(SUM(count), 0) FROM catalog_sale WHERE product = ? AND at >= ?`, id, storage.Millis(since)).Scan(&n)
		if err != nil {
			return nil, err
		}
		m[id] = n
	}
	return m, nil
}

// orders are the sort keys of a list of products, each with its direction (CAT-17).
var orders = map[string]string{
	"":           `listed DESC, seq DESC`,
	"sales":      `(SELECT COALESCE(SUM(s.count), 0) FROM catalog_sale s WHERE s.product = catalog_product.id AND s.at >= ?) DESC, seq DESC`,
	"new":        `created DESC, seq DESC`,
	"price":      `floor ASC, seq DESC`,
	"price-desc": `floor DESC, seq DESC`,
}

// ranked is how many of a search are put in order of how well they match; a word that
// stands in every product would take a third of a second otherwise.
const ranked = 2000

// condition is the WHERE of a query over what is for sale.
func condition(f query, in []market.CategoryID) (string, []any) {
	cond, args := `open = 1`, []any{}
	add := func(c string, a ...any) { cond += " AND " + c; args = append(args, a...) }
	if m := match(f.Q); m != "" {
		add(`seq IN (SELECT rowid FROM catalog_search WHERE catalog_search MATCH ?)`, m)
	} else if strings.TrimSpace(f.Q) != "" {
		add(`1 = 0`) // nothing but punctuation: nothing is found by it
	}
	if len(in) > 0 {
		marks := strings.TrimSuffix(strings.Repeat("?, ", len(in)), ", ")
		var ids []any
		for _, id := range in {
			ids = append(ids, id)
		}
		add(`category IN (`+marks+`)`, ids...)
	}
	if b, ok := bucketByID(f.Price); ok {
		add(`floor >= ?`, int64(b.From))
		if b.To > 0 {
			add(`floor < ?`, int64(b.To))
		}
	}
	return cond, args
}

func searchProducts(ctx context.Context, q storage.Queryer, f query, in []market.CategoryID, since time.Time, skip, most int) (list []product, total int, err error) {
	cond, args := condition(f, in)
	if err := q.QueryRow(ctx, `SELECT COUNT(*) FROM catalog_product WHERE `+cond, args...).Scan(&total); err != nil {
		return nil, 0, err
	}
	by, known := orders[f.Sort]
	switch m := match(f.Q); {
	case f.Sort == "sales":
		args = append(args, storage.Millis(since))
	case f.Sort == "" && m != "":
		by = `(SELECT k.r FROM (SELECT rowid AS id, rank AS r FROM catalog_search WHERE catalog_search MATCH ? LIMIT ?) k WHERE k.id = catalog_product.seq) ASC, seq DESC`
		args = append(args, m, ranked)
	case !known:
		by = orders[""]
	}
	list, err = many(ctx, q, `WHERE `+cond+` ORDER BY `+by+` LIMIT ? OFFSET ?`, append(args, most, skip)...)
	return list, total, err
}
