package usage

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/csv"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
)

// filter narrows and sorts the operator's list.
type filter struct {
	Q     string `json:"q,omitempty" doc:"Part of a product's, buyer's or seller's name, or the number of a package"`
	State string `json:"state,omitempty" doc:"using, low (80 % used or more), used_up, unused or expired"`
	Sort  string `json:"sort,omitempty" doc:"used (if left out), total, remaining or last"`
	Size  int    `json:"size,omitempty" doc:"10, 20, 50 or 100 a page"`
	Page  int    `json:"page,omitempty" doc:"From 1"`
}

// Sizes are the page sizes one may choose.
var sizes = []int{10, 20, 50, 100}

func (f *filter) tidy() {
	f.Page = max(1, min(f.Page, 100_000))
	for _, s := range sizes {
		if f.Size == s {
			return
		}
	}
	f.Size = sizes[0]
}

// List is usage package by package.
type List struct {
	Filter    filter    `json:"filter"`
	Packages  []Row     `json:"packages"`
	Total     int       `json:"total" doc:"How many match"`
	Pages     int       `json:"pages"`
	Sum       Sum       `json:"sum" doc:"Of all that match"`
	Live      int       `json:"live" doc:"Packages that can be used now"`
	Month     int64     `json:"month" doc:"Charged calls of this month"`
	Low       int       `json:"low" doc:"Live packages of which 80 % or more are used"`
	Refusals  float64   `json:"refusal_percent" doc:"Share of this month's calls that the gateway turned away"`
	AsOf      time.Time `json:"as_of"`
	Sizes     []int     `json:"-"`
	Unmatched int64     `json:"unmatched" doc:"Refused calls of this month that belong to no grant"`
}

// Sum adds up packages.
type Sum struct {
	Total     int64 `json:"total"`
	Used      int64 `json:"used"`
	Remaining int64 `json:"remaining"`
	Free      int64 `json:"free"`
	Refused   int64 `json:"refused"`
}

// Row is one package (OPR-01).
type Row struct {
	ID        market.PartID    `json:"id"`
	Service   market.ServiceID `json:"service"`
	Product   market.ProductID `json:"product"`
	Name      market.Text      `json:"name"`
	Buyer     string           `json:"buyer"`
	Seller    string           `json:"seller"`
	Order     market.OrderID   `json:"order"`
	Total     int64            `json:"total"`
	Used      int64            `json:"used" doc:"Charged calls; equal to the gateway's ledger"`
	Remaining int64            `json:"remaining"`
	Free      int64            `json:"free" doc:"Calls of the service that were not charged"`
	Refused   int64            `json:"refused" doc:"Calls of the service that were turned away"`
	From      time.Time        `json:"from"`
	Until     *time.Time       `json:"until"`
	Last      *time.Time       `json:"last_call" doc:"To the minute"`
	State     string           `json:"state"`
	Forecast  *time.Time       `json:"forecast" doc:"When it runs out at the pace of the last 7 days"`
	Days      []int64          `json:"days" doc:"Charged calls of the last 30 days"`

	grant string
}

const from = ` FROM usage_package p LEFT JOIN usage_grant g ON g.grant_ = p.grant_ `

// where is the condition of a filter.
func (f filter) where(now time.Time) (string, []any) {
	cond, args := `WHERE 1 = 1`, []any{}
	add := func(c string, a ...any) { cond += " AND " + c; args = append(args, a...) }
	if f.Q != "" {
		add(`(instr(lower(p.name), lower(?)) > 0 OR instr(lower(p.buyer_name), lower(?)) > 0 OR instr(lower(p.seller_name), lower(?)) > 0 OR p.id = ? OR p.service = ?)`,
			f.Q, f.Q, f.Q, f.Q, f.Q)
	}
	ms := storage.Millis(now)
	const live = `(p.until = 0 OR p.until > ?)`
	switch f.State {
	case "using":
		add(live+` AND p.used > 0 AND p.used < p.total`, ms)
	case "low":
		add(live+` AND p.used < p.total AND p.used * 10 >= p.total * 8`, ms)
	case "used_up":
		add(`p.used >= p.total`)
	case "unused":
		add(live+` AND p.used = 0`, ms)
	case "expired":
		add(`p.until > 0 AND p.until <= ?`, ms)
	}
	return cond, args
}

var sorts = map[string]string{
	"used":      `p.used DESC, p.id DESC`,
	"total":     `p.total DESC, p.id DESC`,
	"remaining": `p.total - p.used ASC, p.id DESC`,
	"last":      `p.last DESC, p.id DESC`,
}

const rowColumns = `p.id, p.service, p.grant_, p.product, p.name, p.buyer_name, p.seller_name, p.order_id, p.total, p.used,
	COALESCE(g.free, 0), COALESCE(g.refused, 0), p.start, p.until, p.last`

func (p *Plugin) rows(ctx context.Context, rest string, args ...any) ([]Row, error) {
	rows, err := p.db.Read().Query(ctx, `SELECT `+rowColumns+from+rest, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []Row{}
	for rows.Next() {
		var r Row
		var name string
		var start, until, last int64
		if err := rows.Scan(&r.ID, &r.Service, &r.grant, &r.Product, &name, &r.Buyer, &r.Seller, &r.Order, &r.Total, &r.Used,
			&r.Free, &r.Refused, &start, &until, &last); err != nil {
			return nil, err
		}
		r.Name, r.Remaining, r.From = market.TextFrom(name), r.Total-r.Used, storage.Moment(start)
		if until > 0 {
			t := storage.Moment(until)
			r.Until = &t
		}
		if last > 0 {
			t := storage.Moment(last)
			r.Last = &t
		}
		r.State = state(r, p.now())
		list = append(list, r)
	}
	return list, rows.Err()
}

func state(r Row, now time.Time) string {
	switch {
	case r.Remaining <= 0:
		return "used_up"
	case r.Until != nil && !now.Before(*r.Until):
		return "expired"
	case r.Used*10 >= r.Total*8:
		return "low"
	case r.Used == 0:
		return "unused"
	}
	return "using"
}

// drawn adds the days and the forecast to a row.
func (p *Plugin) drawn(ctx context.Context, r *Row) error {
	y, m, d := p.now().In(p.zone).Date()
	end := time.Date(y, m, d+1, 0, 0, 0, 0, p.zone)
	points, err := series(ctx, p.db.Read(), "package", string(r.ID), end.AddDate(0, 0, -30), end, 24*time.Hour)
	if err != nil {
		return err
	}
	var week int64
	for i, q := range points {
		r.Days = append(r.Days, q.Charged)
		if i >= len(points)-7 {
			week += q.Charged
		}
	}
	if week > 0 && r.Remaining > 0 && r.State != "expired" {
		if days := float64(r.Remaining) / (float64(week) / 7); days < 3650 {
			at := p.now().Add(time.Duration(days * 24 * float64(time.Hour)))
			r.Forecast = &at
		}
	}
	return nil
}

func (p *Plugin) list(c *web.Ctx) (web.View, error) {
	var in filter
	if err := c.Bind(&in); err != nil {
		return web.View{}, err
	}
	in.tidy()
	if err := p.fresh(c); err != nil {
		return web.View{}, err
	}
	l := List{Filter: in, AsOf: p.now(), Sizes: sizes}
	cond, args := in.where(p.now())
	err := p.db.Read().QueryRow(c, `SELECT COUNT(*), COALESCE(SUM(p.total), 0), COALESCE(SUM(p.used), 0)`+from+cond, args...).
		Scan(&l.Total, &l.Sum.Total, &l.Sum.Used)
	if err != nil {
		return web.View{}, err
	}
	// Free and refused calls belong to a service, which may have several packages.
	err = p.db.Read().QueryRow(c, `SELECT COALESCE(SUM(free), 0), COALESCE(SUM(refused), 0) FROM usage_grant
		WHERE grant_ IN (SELECT p.grant_`+from+cond+`)`, args...).Scan(&l.Sum.Free, &l.Sum.Refused)
	if err != nil {
		return web.View{}, err
	}
	l.Sum.Remaining = l.Sum.Total - l.Sum.Used
	l.Pages = (l.Total + in.Size - 1) / in.Size
	by, known := sorts[in.Sort]
	if !known {
		by = sorts["used"]
	}
	if l.Packages, err = p.rows(c, cond+` ORDER BY `+by+` LIMIT ? OFFSET ?`, append(args, in.Size, (in.Page-1)*in.Size)...); err != nil {
		return web.View{}, err
	}
	for i := range l.Packages {
		if err := p.drawn(c, &l.Packages[i]); err != nil {
			return web.View{}, err
		}
	}
	if err := p.overview(c, &l); err != nil {
		return web.View{}, err
	}
	return web.View{Page: "usage/list", Title: c.T("usage.menu"), Data: l}, nil
}

// overview fills the four figures above the list.
func (p *Plugin) overview(c *web.Ctx, l *List) error {
	now := p.now()
	count := func(state string, into *int) error {
		cond, args := filter{State: state}.where(now)
		return p.db.Read().QueryRow(c, `SELECT COUNT(*)`+from+cond, args...).Scan(into)
	}
	if err := count("low", &l.Low); err != nil {
		return err
	}
	err := p.db.Read().QueryRow(c, `SELECT COUNT(*) FROM usage_package WHERE used < total AND (until = 0 OR until > ?)`, storage.Millis(now)).Scan(&l.Live)
	if err != nil {
		return err
	}
	y, m, _ := now.In(p.zone).Date()
	month := storage.Millis(time.Date(y, m, 1, 0, 0, 0, 0, p.zone))
	var all, refused int64
	err = p.db.Read().QueryRow(c, `SELECT COALESCE(SUM(calls), 0),
			COALESCE(SUM(CASE outcome WHEN 'charged' THEN calls ELSE 0 END), 0),
			COALESCE(SUM(CASE outcome WHEN 'refused' THEN calls ELSE 0 END), 0),
			COALESCE(SUM(CASE WHEN outcome = 'refused' AND grant_ = '' THEN calls ELSE 0 END), 0)
		FROM usage_hour WHERE hour >= ?`, month).Scan(&all, &l.Month, &refused, &l.Unmatched)
	if all > 0 {
		l.Refusals = float64(refused) / float64(all) * 100
	}
	return err
}

// export is the list as CSV: the same filter and order, raw numbers, ISO times, all rows.
func (p *Plugin) export(c *web.Ctx) (web.View, error) {
	var in filter
	if err := c.Bind(&in); err != nil {
		return web.View{}, err
	}
	if err := p.fresh(c); err != nil {
		return web.View{}, err
	}
	by, known := sorts[in.Sort]
	if !known {
		by = sorts["used"]
	}
	cond, args := in.where(p.now())
	rows, err := p.rows(c, cond+` ORDER BY `+by, args...)
	if err != nil {
		return web.View{}, err
	}
	var b bytes.Buffer
	b.WriteString("\uFEFF") // so that spreadsheets read it as UTF-8
	w := csv.NewWriter(&b)
	_ = w.Write([]string{"package", "service", "product", "name_zh", "name_en", "buyer", "seller", "order", "total", "used", "remaining",
		"free", "refused", "from", "until", "last_call", "state"}) // a Buffer takes everything
	for _, r := range rows {
		_ = w.Write(safe(string(r.ID), string(r.Service), string(r.Product), r.Name.ZH, r.Name.EN, r.Buyer, r.Seller, string(r.Order),
			strconv.FormatInt(r.Total, 10), strconv.FormatInt(r.Used, 10), strconv.FormatInt(r.Remaining, 10),
			strconv.FormatInt(r.Free, 10), strconv.FormatInt(r.Refused, 10), r.From.Format(time.RFC3339), iso(r.Until), iso(r.Last), r.State))
	}
	w.Flush()
	return web.View{Raw: &web.Raw{Type: "text/csv; charset=utf-8", Name: "usage.csv", Body: b.Bytes()}}, w.Error()
}

func iso(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Format(time.RFC3339)
}

// safe keeps spreadsheets from taking a cell for a formula (security.md U3).
func safe(cells ...string) []string {
	for i, c := range cells {
		if c != "" && strings.ContainsAny(c[:1], "=+-@\t\r") {
			cells[i] = "'" + c
		}
	}
	return cells
}

type span struct {
	Span string `json:"span,omitempty" doc:"24h, 7d, 30d (if left out) or 12m"`
}

// Show is one package, with its calls by outcome.
type Show struct {
	Row
	Span     string        `json:"span"`
	Points   []Point       `json:"points" doc:"Of the service that the package belongs to"`
	Outcomes []Outcome     `json:"outcomes" doc:"The service's calls by what became of them"`
	Calls    []Call        `json:"calls" doc:"The latest"`
	Ledger   int64         `json:"ledger_used" doc:"What the gateway's ledger says; equal to used"`
	AsOf     time.Time     `json:"as_of"`
	App      control.AppID `json:"app"`
	Grant    string        `json:"grant"`
}

// Point is one bar of the chart.
type Point struct {
	At      time.Time `json:"at"`
	Charged int64     `json:"charged"`
	Free    int64     `json:"free"`
	Refused int64     `json:"refused"`
}

// Outcome is a kind of result and how often it came.
type Outcome struct {
	Outcome string `json:"outcome"`
	Code    string `json:"code" doc:"A refusal's code, or the class of the seller's status"`
	Calls   int64  `json:"calls"`
}

// Call is one of the latest calls.
type Call struct {
	Request string        `json:"request"`
	At      time.Time     `json:"at"`
	Method  string        `json:"method"`
	Path    string        `json:"path"`
	Status  int           `json:"status"`
	Code    string        `json:"code"`
	Outcome string        `json:"outcome"`
	Took    time.Duration `json:"-"`
	Millis  float64       `json:"millis"`
}

var spans = map[string]struct{ back, step time.Duration }{
	"24h": {24 * time.Hour, time.Hour},
	"7d":  {7 * 24 * time.Hour, 24 * time.Hour},
	"30d": {30 * 24 * time.Hour, 24 * time.Hour},
	"12m": {52 * 7 * 24 * time.Hour, 7 * 24 * time.Hour},
}

func (p *Plugin) show(c *web.Ctx) (web.View, error) {
	var in span
	if err := c.Bind(&in); err != nil {
		return web.View{}, err
	}
	if err := p.fresh(c); err != nil {
		return web.View{}, err
	}
	found, err := p.rows(c, `WHERE p.id = ?`, c.Param("package"))
	if err == nil && len(found) == 0 {
		err = market.NotFound("usage.missing")
	}
	if err != nil {
		return web.View{}, err
	}
	v := Show{Row: found[0], AsOf: p.now(), Grant: found[0].grant, Points: []Point{}, Outcomes: []Outcome{}, Calls: []Call{}}
	if err := p.drawn(c, &v.Row); err != nil {
		return web.View{}, err
	}
	if err := p.detail(c, in.Span, &v); err != nil {
		return web.View{}, err
	}
	return web.View{Page: "usage/show", Title: c.In(v.Name), Data: v, Menu: "/operator/usage",
		Crumbs: []web.Crumb{{Word: c.T("usage.menu"), Href: "/operator/usage"}, {Word: string(v.ID)}}}, nil
}

func (p *Plugin) detail(c *web.Ctx, name string, v *Show) error {
	if _, known := spans[name]; !known {
		name = "30d"
	}
	v.Span = name
	sp := spans[name]
	end := p.now().In(p.zone)
	if sp.step == time.Hour {
		end = end.Truncate(time.Hour).Add(time.Hour)
	} else {
		y, m, d := end.Date()
		end = time.Date(y, m, d+1, 0, 0, 0, 0, p.zone)
	}
	points, err := series(c, p.db.Read(), "grant_", v.grant, end.Add(-sp.back), end, sp.step)
	if err != nil {
		return err
	}
	for _, q := range points {
		v.Points = append(v.Points, Point(q))
	}
	if v.Outcomes, err = outcomes(c, p.db.Read(), v.grant); err != nil {
		return err
	}
	balances, err := p.gateway.Balances(c, control.GrantID(v.grant))
	if err != nil {
		return err
	}
	for _, b := range balances {
		if string(b.Package) == string(v.ID) {
			v.Ledger = b.Used
		}
	}
	records, err := p.gateway.Calls(c, control.CallFilter{Grant: control.GrantID(v.grant), Max: 20})
	if err != nil {
		return err
	}
	for i, k := range calls(records) {
		v.App = records[i].App
		v.Calls = append(v.Calls, Call{Request: k.Request, At: k.At, Method: k.Method, Path: k.Path, Status: k.Status, Code: k.Code,
			Outcome: k.Outcome, Took: k.Took, Millis: float64(k.Took.Microseconds()) / 1000})
	}
	return nil
}

func outcomes(ctx context.Context, q storage.Queryer, grant string) ([]Outcome, error) {
	rows, err := q.Query(ctx, `SELECT outcome, code, SUM(calls) FROM usage_hour WHERE grant_ = ? GROUP BY outcome, code ORDER BY outcome, SUM(calls) DESC`, grant)
	if errors.Is(err, sql.ErrNoRows) {
		return []Outcome{}, nil
	}
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []Outcome{}
	for rows.Next() {
		var o Outcome
		if err := rows.Scan(&o.Outcome, &o.Code, &o.Calls); err != nil {
			return nil, fmt.Errorf("outcomes of %s: %w", grant, err)
		}
		list = append(list, o)
	}
	return list, rows.Err()
}
