package catalog

import (
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web"
	"github.com/souk-market/souk/gateway/storage"
)

// Queue is what waits for a review, the longest first.
type Queue struct {
	Products []QueueRow `json:"products"`
	Total    int        `json:"total"`
}

// QueueRow is one submitted draft.
type QueueRow struct {
	Card
	Since time.Time `json:"since"`
	Live  bool      `json:"live" doc:"An earlier version is listed"`
}

func (p *Plugin) queue(c *web.Ctx) (web.View, error) {
	list, err := many(c, p.db.Read(), `WHERE stage = 'review' ORDER BY moved, seq`)
	if err != nil {
		return web.View{}, err
	}
	shown := make([]product, len(list))
	for i, pr := range list {
		shown[i] = pr
		shown[i].Live = pr.Draft // the queue shows what was handed in
	}
	cards, err := p.cards(c, shown)
	if err != nil {
		return web.View{}, err
	}
	q := Queue{Products: []QueueRow{}, Total: len(list)}
	for i, pr := range list {
		q.Products = append(q.Products, QueueRow{Card: cards[i], Since: storage.Moment(pr.Moved), Live: pr.Live != nil})
	}
	return web.View{Page: "catalog/queue", Title: c.T("catalog.menu_review"), Data: q}, nil
}

// waiting counts submitted drafts, for the menu.
func (p *Plugin) waiting(c *web.Ctx) (n int) {
	err := p.db.Read().QueryRow(c, `SELECT COUNT(*) FROM catalog_product WHERE stage = 'review'`).Scan(&n)
	if err != nil {
		p.log.Error("count reviews", zap.Error(err))
	}
	return n
}

// Review is a submitted draft beside what is listed.
type Review struct {
	ID       market.ProductID `json:"id"`
	Seller   string           `json:"seller"`
	Stage    Stage            `json:"stage"`
	Open     bool             `json:"open"`
	Reason   string           `json:"reason"`
	Since    time.Time        `json:"since"`
	Sheet    Sheet            `json:"sheet"`
	Changes  []Change         `json:"changes" doc:"Against what is listed"`
	Findings []Finding        `json:"findings"`
	Preview  Product          `json:"-"`
}

// Change is a field that differs from what is listed.
type Change struct {
	Field string `json:"field"`
	Was   string `json:"was"`
	Is    string `json:"is"`
}

func (p *Plugin) inspect(c *web.Ctx) (web.View, error) {
	return p.reviewView(c, market.ProductID(c.Param("product")))
}

func (p *Plugin) reviewView(c *web.Ctx, id market.ProductID) (web.View, error) {
	pr, err := find(c, p.db.Read(), id)
	if err != nil {
		return web.View{}, err
	}
	s := pr.sheet()
	preview, err := p.productView(c, pr, s)
	if err != nil {
		return web.View{}, err
	}
	r := Review{ID: pr.ID, Seller: preview.Seller, Stage: pr.Stage, Open: pr.Open, Reason: pr.Reason, Since: storage.Moment(pr.Moved),
		Sheet: s, Changes: changes(pr), Findings: findings(c, s), Preview: preview}
	r.Findings = append(r.Findings, Finding{Code: "catalog.check_interfaces", OK: len(preview.Operations) > 0,
		Text: c.T("catalog.check_interfaces", "n", len(preview.Operations))})
	return web.View{Page: "catalog/review", Title: c.In(s.Name), Data: r, Menu: "/operator/reviews",
		Crumbs: []web.Crumb{{Word: c.T("catalog.menu_review"), Href: "/operator/reviews"}, {Word: c.In(s.Name)}}}, nil
}

// changes compares a draft with what is listed, field by field.
func changes(pr product) []Change {
	list := []Change{}
	if pr.Live == nil || pr.Draft == nil {
		return list
	}
	add := func(field, was, is string) {
		if was != is {
			list = append(list, Change{field, was, is})
		}
	}
	was, is := pr.Live, pr.Draft
	add("name", was.Name.ZH+" / "+was.Name.EN, is.Name.ZH+" / "+is.Name.EN)
	add("summary", was.Summary.ZH+" / "+was.Summary.EN, is.Summary.ZH+" / "+is.Summary.EN)
	add("detail", was.Detail.ZH+"\n"+was.Detail.EN, is.Detail.ZH+"\n"+is.Detail.EN)
	add("category", string(was.Category), string(is.Category))
	add("charge", was.Charge, is.Charge)
	text := func(plans []Plan) (s string) {
		for _, pl := range plans {
			s += group(pl.Calls) + " × ¥" + pl.Price.Yuan() + "\n"
		}
		return s
	}
	add("plans", text(was.Plans), text(is.Plans))
	return list
}

func (p *Plugin) approve(c *web.Ctx) (web.View, error) {
	id := market.ProductID(c.Param("product"))
	return p.decided(c, id, p.Approve(c, id), "catalog.approved")
}

type rejection struct {
	Reason string `json:"reason" doc:"What the seller has to change; up to 500 characters"`
}

func (p *Plugin) reject(c *web.Ctx) (web.View, error) {
	var in rejection
	if err := c.Bind(&in); err != nil {
		return web.View{}, err
	}
	id := market.ProductID(c.Param("product"))
	return p.decided(c, id, p.Reject(c, id, in.Reason), "catalog.rejected")
}

func (p *Plugin) decided(c *web.Ctx, id market.ProductID, err error, say string) (web.View, error) {
	v, viewErr := p.reviewView(c, id)
	if err == nil {
		v.To, v.Say = "/operator/reviews", say
	}
	return v, errors.Join(err, viewErr)
}

// All is every product, for the operator.
type All struct {
	Query    query    `json:"query"`
	Products []AllRow `json:"products"`
	Total    int      `json:"total"`
	Page     int      `json:"page"`
	Pages    int      `json:"pages"`
}

// AllRow is one of them.
type AllRow struct {
	MineRow
	Slots []string `json:"slots" doc:"Where on the home page it stands"`
}

// In reports whether the product stands in a slot; for templates.
func (r AllRow) In(slot string) bool {
	for _, s := range r.Slots {
		if s == slot {
			return true
		}
	}
	return false
}

const operatorPage = 20

func (p *Plugin) all(c *web.Ctx) (web.View, error) {
	var in query
	if err := c.Bind(&in); err != nil {
		return web.View{}, err
	}
	in.Page = max(1, min(in.Page, 10_000))
	const matching = `WHERE (? = '' OR instr(lower(live || draft), lower(?)) > 0 OR id = ?)`
	var total int
	if err := p.db.Read().QueryRow(c, `SELECT COUNT(*) FROM catalog_product `+matching, in.Q, in.Q, in.Q).Scan(&total); err != nil {
		return web.View{}, err
	}
	list, err := many(c, p.db.Read(), matching+` ORDER BY seq DESC LIMIT ? OFFSET ?`, in.Q, in.Q, in.Q, operatorPage, (in.Page-1)*operatorPage)
	if err != nil {
		return web.View{}, err
	}
	rows, err := p.allRows(c, list)
	return web.View{Page: "catalog/all", Title: c.T("catalog.menu_products"), Menu: "/operator/products",
		Data: All{Query: in, Products: rows, Total: total, Page: in.Page, Pages: (total + operatorPage - 1) / operatorPage}}, err
}

func (p *Plugin) allRows(c *web.Ctx, list []product) ([]AllRow, error) {
	cards, err := p.cards(c, list)
	if err != nil {
		return nil, err
	}
	rows := []AllRow{}
	for i, pr := range list {
		r := AllRow{MineRow: MineRow{Card: cards[i], Stage: pr.Stage, Open: pr.Open, Live: pr.Live != nil, Reason: pr.Reason,
			Moved: storage.Moment(pr.Moved)}, Slots: []string{}}
		for _, slot := range slots {
			var n int
			if err := p.db.Read().QueryRow(c, `SELECT COUNT(*) FROM catalog_placement WHERE slot = ? AND product = ?`, slot, pr.ID).Scan(&n); err != nil {
				return nil, err
			}
			if n > 0 {
				r.Slots = append(r.Slots, slot)
			}
		}
		rows = append(rows, r)
	}
	return rows, nil
}

type placement struct {
	Slot string `json:"slot" doc:"headline, pick or campaign"`
	In   bool   `json:"in,omitempty" doc:"true puts it there, false takes it out"`
}

func (p *Plugin) place(c *web.Ctx) (web.View, error) {
	var in placement
	if err := c.Bind(&in); err != nil {
		return web.View{}, err
	}
	id := market.ProductID(c.Param("product"))
	if err := p.Place(c, id, in.Slot, in.In); err != nil {
		return web.View{}, err
	}
	pr, err := find(c, p.db.Read(), id)
	if err != nil {
		return web.View{}, err
	}
	rows, err := p.allRows(c, []product{pr})
	if err != nil {
		return web.View{}, err
	}
	return web.View{To: "/operator/products", Say: "web.saved", Data: rows[0]}, nil
}
