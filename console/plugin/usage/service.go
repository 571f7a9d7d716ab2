package usage

import (
	"context"
	"strings"
	"time"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
)

const batch = 1000 // rows of the stream that are written in one transaction

// pull reads the stream from where it was left to its end. The sums and the cursor move
// in one transaction, so a row is added once.
func (p *Plugin) pull(ctx context.Context) error {
	p.pulling.Lock()
	defer p.pulling.Unlock()
	for {
		var at int64
		if err := p.db.Read().QueryRow(ctx, `SELECT next FROM usage_cursor`).Scan(&at); err != nil {
			return err
		}
		rows, next, err := p.gateway.Usage(ctx, control.Cursor(at), batch)
		if err != nil || len(rows) == 0 {
			return err
		}
		err = p.db.Tx(ctx, func(tx *storage.Tx) error {
			for _, u := range rows {
				if err := add(ctx, tx, u); err != nil {
					return err
				}
			}
			_, err := tx.Exec(ctx, `UPDATE usage_cursor SET next = ?`, int64(next))
			return err
		})
		if err != nil {
			return err
		}
	}
}

// fresh brings the sums up to what the gateway has counted until now.
func (p *Plugin) fresh(ctx context.Context) error {
	if err := p.gateway.Flush(ctx); err != nil {
		return err
	}
	return p.pull(ctx)
}

// add adds a row of the stream to the sums.
func add(ctx context.Context, tx *storage.Tx, u control.Usage) error {
	hour := storage.Millis(u.Minute.Truncate(time.Hour))
	_, err := tx.Exec(ctx, `INSERT INTO usage_hour (hour, product, grant_, package, app, route, outcome, code, calls, micros)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (hour, product, grant_, package, app, route, outcome, code)
		DO UPDATE SET calls = usage_hour.calls + excluded.calls, micros = usage_hour.micros + excluded.micros`,
		hour, u.Product, u.Grant, u.Package, u.App, strings.TrimSuffix(string(u.Route), "_shared"), u.Outcome, u.Code, u.Calls, u.Micros)
	if err != nil {
		return err
	}
	if u.Outcome == control.Charged {
		_, err = tx.Exec(ctx, `UPDATE usage_package SET used = used + ?, last = MAX(last, ?) WHERE id = ?`,
			u.Calls, storage.Millis(u.Minute), u.Package)
		return err
	}
	if u.Grant == "" {
		return nil
	}
	free, refused := u.Calls, int64(0)
	if u.Outcome == control.Refused {
		free, refused = 0, u.Calls
	}
	_, err = tx.Exec(ctx, `INSERT INTO usage_grant (grant_, free, refused) VALUES (?, ?, ?)
		ON CONFLICT (grant_) DO UPDATE SET free = usage_grant.free + excluded.free, refused = usage_grant.refused + excluded.refused`,
		u.Grant, free, refused)
	return err
}

// names asks who buyer and seller are, before anything is written.
func (p *Plugin) names(ctx context.Context, e market.ServiceActive) (map[market.AccountID]string, error) {
	return p.accounts.Names(ctx, e.Service.Buyer, e.Service.Seller)
}

// learn keeps a copy of what a package is. Calls that were counted before it was heard of
// are added now.
func (p *Plugin) learn(ctx context.Context, tx *storage.Tx, e market.ServiceActive, names map[market.AccountID]string) error {
	if e.Part.Calls == 0 {
		return nil // not a package of calls
	}
	_, err := tx.Exec(ctx, `INSERT INTO usage_package (id, service, grant_, product, name, buyer, buyer_name, seller, seller_name, order_id,
			total, used, start, until, last)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
			(SELECT COALESCE(SUM(calls), 0) FROM usage_hour WHERE package = ? AND outcome = 'charged'), ?, ?,
			(SELECT COALESCE(MAX(hour), 0) FROM usage_hour WHERE package = ? AND outcome = 'charged'))
		ON CONFLICT (id) DO NOTHING`,
		e.Part.ID, e.Service.ID, market.GrantOf(e.Service.ID), e.Service.Product, e.Service.Name.JSON(),
		e.Service.Buyer, names[e.Service.Buyer], e.Service.Seller, names[e.Service.Seller], e.Part.Order,
		e.Part.Calls, e.Part.ID, storage.Millis(e.Part.From), storage.Millis(e.Part.Until), e.Part.ID)
	return err
}

// Series has one point for each step, for a buyer's service.
func (p *Plugin) Series(ctx context.Context, s market.ServiceID, from, to time.Time, step time.Duration) ([]market.Point, error) {
	if err := p.fresh(ctx); err != nil {
		return nil, err
	}
	return series(ctx, p.db.Read(), "grant_", market.GrantOf(s), from, to, step)
}

// series sums hours by step; column says of what: grant_, package or product.
func series(ctx context.Context, q storage.Queryer, column, id string, from, to time.Time, step time.Duration) ([]market.Point, error) {
	points := make([]market.Point, max(0, int(to.Sub(from)/step)))
	for i := range points {
		points[i].At = from.Add(time.Duration(i) * step).UTC()
	}
	rows, err := q.Query(ctx, `SELECT hour, outcome, SUM(calls) FROM usage_hour WHERE `+column+` = ? AND hour >= ? AND hour < ? GROUP BY hour, outcome`,
		id, storage.Millis(from), storage.Millis(to))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var hour, calls int64
		var outcome control.Outcome
		if err := rows.Scan(&hour, &outcome, &calls); err != nil {
			return nil, err
		}
		i := int(storage.Moment(hour).Sub(from) / step)
		if i < 0 || i >= len(points) {
			continue
		}
		switch outcome {
		case control.Charged:
			points[i].Charged += calls
		case control.Refused:
			points[i].Refused += calls
		default:
			points[i].Free += calls
		}
	}
	return points, rows.Err()
}

// Calls lists the latest calls of a buyer's service.
func (p *Plugin) Calls(ctx context.Context, s market.ServiceID, most int) ([]market.Call, error) {
	records, err := p.gateway.Calls(ctx, control.CallFilter{Grant: control.GrantID(market.GrantOf(s)), Max: most})
	return calls(records), err
}

func calls(records []control.CallRecord) []market.Call {
	var list []market.Call
	for _, r := range records {
		list = append(list, market.Call{Request: r.Request.String(), At: r.At, Method: r.Method, Path: r.Path, Status: r.Status,
			Code: r.Code, Outcome: string(r.Outcome), Took: r.Took})
	}
	return list
}

const measuredDays = 30

// Measures says how products did over the last 30 days, as the gateway saw it.
func (p *Plugin) Measures(ctx context.Context, ids ...market.ProductID) (map[market.ProductID]market.Measure, error) {
	y, m, d := p.now().In(p.zone).Date()
	end := time.Date(y, m, d+1, 0, 0, 0, 0, p.zone)
	from := end.AddDate(0, 0, -measuredDays)
	out := make(map[market.ProductID]market.Measure, len(ids))
	for _, id := range ids {
		m, err := measure(ctx, p.db.Read(), id, from, end)
		if err != nil {
			return nil, err
		}
		m.Through = p.now()
		out[id] = m
	}
	return out, nil
}

func measure(ctx context.Context, q storage.Queryer, id market.ProductID, from, end time.Time) (market.Measure, error) {
	m := market.Measure{ByDay: make([]int64, measuredDays)}
	rows, err := q.Query(ctx, `SELECT hour, code, SUM(calls), SUM(micros) FROM usage_hour
		WHERE product = ? AND hour >= ? AND hour < ? AND outcome <> 'refused' GROUP BY hour, code`,
		id, storage.Millis(from), storage.Millis(end))
	if err != nil {
		return m, err
	}
	defer rows.Close()
	var micros int64
	for rows.Next() {
		var hour, n, us int64
		var code string
		if err := rows.Scan(&hour, &code, &n, &us); err != nil {
			return m, err
		}
		m.Calls += n
		micros += us
		if code == "2xx" || code == "3xx" || code == "4xx" {
			m.Good += n
		}
		if day := int(storage.Moment(hour).Sub(from) / (24 * time.Hour)); day >= 0 && day < measuredDays {
			m.ByDay[day] += n
		}
	}
	if m.Calls > 0 {
		m.Mean = float64(micros) / float64(m.Calls) / 1000
	}
	return m, rows.Err()
}
