package service

import (
	"slices"
	"time"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web"
	"github.com/souk-market/souk/gateway/storage"
)

const (
	perPage     = 10
	latestCalls = 10
)

type filter struct {
	State  string `json:"state,omitempty" doc:"opening, active or closed"`
	Kind   string `json:"kind,omitempty" doc:"A product type: api"`
	Q      string `json:"q,omitempty" doc:"Part of a name or of your remark, or a service number"`
	Before string `json:"before,omitempty" doc:"The next of the page before"`
}

// List is a page of purchased services.
type List struct {
	Filter   filter `json:"filter"`
	Services []Row  `json:"services"`
	Total    int    `json:"total" doc:"How many match"`
	Next     string `json:"next" doc:"Give it as before for the next page; empty on the last"`
}

// Row is one purchased service in a list.
type Row struct {
	ID        market.ServiceID `json:"id"`
	Name      market.Text      `json:"name"`
	Product   market.ProductID `json:"product"`
	Kind      market.KindID    `json:"kind"`
	Seller    string           `json:"seller"`
	State     State            `json:"state"`
	Remark    string           `json:"remark" doc:"Your own note"`
	Created   time.Time        `json:"created"`
	Until     *time.Time       `json:"until" doc:"The latest end of its parts; null: no end"`
	Total     int64            `json:"total" doc:"Calls of the packages that are valid"`
	Used      int64            `json:"used" doc:"Of them, charged; as the gateway counted"`
	Remaining int64            `json:"remaining"`
}

func (p *Plugin) list(c *web.Ctx) (web.View, error) {
	var in filter
	if err := c.Bind(&in); err != nil {
		return web.View{}, err
	}
	found, total, err := list(c, p.db.Read(), c.Actor(), in, perPage+1)
	if err != nil {
		return web.View{}, err
	}
	l := List{Filter: in, Services: []Row{}, Total: total}
	if len(found) > perPage {
		found = found[:perPage]
		l.Next = string(found[perPage-1].ID)
	}
	for _, s := range found {
		row, _, err := p.row(c, s)
		if err != nil {
			return web.View{}, err
		}
		l.Services = append(l.Services, row)
	}
	return web.View{Page: "service/list", Title: c.T("service.menu"), Data: l}, nil
}

// row sums up a service: its calls are those of the packages that are valid now (API-11).
func (p *Plugin) row(c *web.Ctx, s service) (Row, []Part, error) {
	names, err := p.accounts.Names(c, s.Seller)
	if err != nil {
		return Row{}, nil, err
	}
	parts, err := p.parts(c, s)
	if err != nil {
		return Row{}, nil, err
	}
	r := Row{ID: s.ID, Name: s.Name, Product: s.Product, Kind: s.Kind, Seller: names[s.Seller], State: s.State,
		Remark: s.Remark, Created: storage.Moment(s.Created)}
	for _, part := range parts {
		if part.State == "expired" || part.State == string(Closed) {
			continue
		}
		r.Total += part.Total
		r.Used += part.Used
		r.Remaining += part.Remaining
		if part.Until != nil && (r.Until == nil || part.Until.After(*r.Until)) {
			r.Until = part.Until
		}
	}
	return r, parts, nil
}

// Part is one package as its buyer sees it (API-12).
type Part struct {
	ID        market.PartID  `json:"id"`
	Title     market.Text    `json:"title"`
	Total     int64          `json:"total"`
	Used      int64          `json:"used"`
	Remaining int64          `json:"remaining"`
	From      time.Time      `json:"from"`
	Until     *time.Time     `json:"until"`
	State     string         `json:"state" doc:"opening, using, waiting, used_up, expired or closed"`
	Order     market.OrderID `json:"order"`
	LastCall  *time.Time     `json:"last_call"`
}

// parts are in the order in which the gateway uses them up.
func (p *Plugin) parts(c *web.Ctx, s service) ([]Part, error) {
	have, err := listParts(c, p.db.Read(), s.ID)
	if err != nil {
		return nil, err
	}
	var uses []market.Use
	if m, ok := p.kinds[s.Kind].(market.Metered); ok {
		all, err := m.Uses(c, s.ID)
		if err != nil {
			return nil, err
		}
		uses = all[s.ID]
	}
	order := make(map[market.PartID]int, len(uses))
	for i, u := range uses {
		order[u.Part] = i + 1
	}
	slices.SortStableFunc(have, func(a, b part) int { return order[a.ID] - order[b.ID] })
	list := []Part{}
	using := false
	for _, h := range have {
		v := Part{ID: h.ID, Title: h.Title, Total: h.Calls, Remaining: h.Calls, From: h.From, Order: h.Order, State: string(h.State)}
		if !h.Until.IsZero() {
			v.Until = &h.Until
		}
		if i := order[h.ID]; i > 0 {
			u := uses[i-1]
			v.Total, v.Used, v.Remaining = u.Total, u.Used, u.Remaining
			if !u.LastCall.IsZero() {
				v.LastCall = &u.LastCall
			}
		}
		if h.State == Active {
			v.State, using = stateOf(v, p.now(), using)
		}
		list = append(list, v)
	}
	return list, nil
}

// stateOf says what becomes of the next call: the first valid package with calls left is
// the one in use.
func stateOf(v Part, now time.Time, using bool) (string, bool) {
	switch {
	case v.Until != nil && !now.Before(*v.Until):
		return "expired", using
	case v.Remaining <= 0:
		return "used_up", using
	case using:
		return "waiting", using
	}
	return "using", true
}

// span is the range of the chart.
type span struct {
	Span string `json:"span,omitempty" doc:"24h, 7d, 30d (if left out) or 12m"`
}

// Show is one purchased service.
type Show struct {
	Row
	Parts      []Part      `json:"parts"`
	Access     *Access     `json:"access" doc:"How to get in; secrets are asked for apart"`
	Interfaces []Interface `json:"interfaces"`
	SDKs       []Link      `json:"sdks"`
	Span       string      `json:"span"`
	Points     []Point     `json:"points"`
	Calls      []Call      `json:"calls" doc:"The latest"`
	Forecast   *time.Time  `json:"forecast" doc:"When the calls run out at the pace of the last 7 days"`
	AsOf       time.Time   `json:"as_of"`
}

// Access is what a program needs to call.
type Access struct {
	App     market.AppID `json:"app"`
	AppName string       `json:"app_name"`
	Base    string       `json:"base" doc:"Where calls go"`
	Domain  string       `json:"domain" doc:"What goes into the Host header"`
	Secrets []Secret     `json:"secrets"`
}

// Secret is one credential.
type Secret struct {
	Name   string    `json:"name"`
	Value  string    `json:"value" doc:"Empty for one that is masked"`
	Tail   string    `json:"tail"`
	Note   string    `json:"-"`
	At     time.Time `json:"at" doc:"When it was made or last reset"`
	Reveal string    `json:"reveal" doc:"POST here to see it"`
	Reset  string    `json:"-"`
}

// Interface is one operation that may be called.
type Interface struct {
	Method string      `json:"method"`
	Path   string      `json:"path"`
	Name   market.Text `json:"name"`
}

// Link is something to fetch.
type Link struct {
	Name string `json:"name"`
	Href string `json:"href"`
}

// Point is one bar of the chart.
type Point struct {
	At      time.Time `json:"at"`
	Charged int64     `json:"charged"`
	Free    int64     `json:"free"`
	Refused int64     `json:"refused"`
}

// Call is one of the latest calls.
type Call struct {
	Request string    `json:"request" doc:"X-Ca-Request-Id"`
	At      time.Time `json:"at"`
	Method  string    `json:"method"`
	Path    string    `json:"path"`
	Status  int       `json:"status"`
	Code    string    `json:"code" doc:"Of a refusal"`
	Outcome string    `json:"outcome" doc:"charged, free or refused"`
	Millis  float64   `json:"millis"`
}

func (p *Plugin) show(c *web.Ctx) (web.View, error) {
	var in span
	if err := c.Bind(&in); err != nil {
		return web.View{}, err
	}
	s, err := find(c, p.db.Read(), c.Actor(), market.ServiceID(c.Param("service")))
	if err != nil {
		return web.View{}, err
	}
	v := Show{Interfaces: []Interface{}, SDKs: []Link{}, Points: []Point{}, Calls: []Call{}, AsOf: p.now()}
	if v.Row, v.Parts, err = p.row(c, s); err != nil {
		return web.View{}, err
	}
	if s.State != Opening {
		if err := p.access(c, s, &v); err != nil {
			return web.View{}, err
		}
	}
	if err := p.usage(c, s, in.Span, &v); err != nil {
		return web.View{}, err
	}
	return web.View{Page: "service/show", Title: c.In(s.Name), Data: v,
		Crumbs: []web.Crumb{{Word: c.T("service.menu"), Href: "/services"}, {Word: c.In(s.Name)}}}, nil
}

func (p *Plugin) access(c *web.Ctx, s service, v *Show) error {
	kind, ok := p.kinds[s.Kind].(market.Accessible)
	if !ok {
		return nil
	}
	a, err := kind.Access(c, s.Service)
	if err != nil {
		return err
	}
	v.Access = &Access{App: a.App, AppName: a.AppName, Base: a.Base, Domain: a.Domain}
	for _, k := range a.Secrets {
		v.Access.Secrets = append(v.Access.Secrets, Secret(k))
	}
	for _, d := range p.sdks.SDKs(a.App) {
		v.SDKs = append(v.SDKs, Link(d))
	}
	api, err := p.apis.API(c, s.Source)
	if err != nil {
		return err
	}
	for _, i := range api.Interfaces {
		v.Interfaces = append(v.Interfaces, Interface{Method: i.Method, Path: i.Path, Name: i.Name})
	}
	return nil
}

// spans are the ranges of the chart: how far back, and how wide a bar is.
var spans = map[string]struct{ back, step time.Duration }{
	"24h": {24 * time.Hour, time.Hour},
	"7d":  {7 * 24 * time.Hour, 24 * time.Hour},
	"30d": {30 * 24 * time.Hour, 24 * time.Hour},
	"12m": {52 * 7 * 24 * time.Hour, 7 * 24 * time.Hour},
}

func (p *Plugin) usage(c *web.Ctx, s service, name string, v *Show) error {
	if _, known := spans[name]; !known {
		name = "30d"
	}
	v.Span = name
	// The last bar is the one that is being filled: it ends with the hour or the day.
	sp := spans[name]
	end := p.now().In(p.zone)
	if sp.step == time.Hour {
		end = end.Truncate(time.Hour).Add(time.Hour)
	} else {
		y, m, d := end.Date()
		end = time.Date(y, m, d+1, 0, 0, 0, 0, p.zone)
	}
	points, err := p.usages.Series(c, s.ID, end.Add(-sp.back), end, sp.step)
	if err != nil {
		return err
	}
	for _, q := range points {
		v.Points = append(v.Points, Point(q))
	}
	calls, err := p.usages.Calls(c, s.ID, latestCalls)
	if err != nil {
		return err
	}
	for _, k := range calls {
		v.Calls = append(v.Calls, Call{Request: k.Request, At: k.At, Method: k.Method, Path: k.Path, Status: k.Status,
			Code: k.Code, Outcome: k.Outcome, Millis: float64(k.Took.Microseconds()) / 1000})
	}
	week, err := p.usages.Series(c, s.ID, p.now().Add(-7*24*time.Hour), p.now(), 7*24*time.Hour)
	if err != nil {
		return err
	}
	v.Forecast = forecast(p.now(), v.Remaining, week)
	return nil
}

// forecast is when the calls run out at the pace of the week; nil if there was none, or
// if it is too far to say.
func forecast(now time.Time, remaining int64, week []market.Point) *time.Time {
	var used int64
	for _, w := range week {
		used += w.Charged
	}
	if used == 0 || remaining == 0 {
		return nil
	}
	days := float64(remaining) / (float64(used) / 7)
	if days > 3650 {
		return nil
	}
	at := now.Add(time.Duration(days * 24 * float64(time.Hour)))
	return &at
}

type remark struct {
	Remark string `json:"remark" doc:"Up to 60 characters; only you see it"`
}

func (p *Plugin) remark(c *web.Ctx) (web.View, error) {
	var in remark
	if err := c.Bind(&in); err != nil {
		return web.View{}, err
	}
	id := market.ServiceID(c.Param("service"))
	if err := p.Remark(c, c.Actor(), id, in.Remark); err != nil {
		v, showErr := p.show(c)
		if showErr != nil {
			return web.View{}, showErr
		}
		return v, err
	}
	s, err := find(c, p.db.Read(), c.Actor(), id)
	if err != nil {
		return web.View{}, err
	}
	row, _, err := p.row(c, s)
	return web.View{To: "/services/" + string(id), Say: "web.saved", Data: row}, err
}
