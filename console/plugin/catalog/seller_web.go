package catalog

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web"
	"github.com/souk-market/souk/gateway/storage"
)

// Mine is a seller's list of products.
type Mine struct {
	Products []MineRow `json:"products"`
	Total    int       `json:"total"`
}

// MineRow is one of the seller's products.
type MineRow struct {
	Card
	Stage  Stage     `json:"stage" doc:"Of the draft: draft, review, rejected; empty without one"`
	Open   bool      `json:"open" doc:"For sale"`
	Live   bool      `json:"live" doc:"A version was approved"`
	Reason string    `json:"reason" doc:"Why it was rejected"`
	Moved  time.Time `json:"moved"`
}

func (p *Plugin) mine(c *web.Ctx) (web.View, error) {
	list, err := many(c, p.db.Read(), `WHERE seller = ? ORDER BY seq DESC`, c.Actor().Account)
	if err != nil {
		return web.View{}, err
	}
	cards, err := p.cards(c, list)
	if err != nil {
		return web.View{}, err
	}
	m := Mine{Products: []MineRow{}, Total: len(list)}
	for i, pr := range list {
		m.Products = append(m.Products, MineRow{Card: cards[i], Stage: pr.Stage, Open: pr.Open, Live: pr.Live != nil,
			Reason: pr.Reason, Moved: storage.Moment(pr.Moved)})
	}
	return web.View{Page: "catalog/mine", Title: c.T("catalog.menu_products"), Data: m}, nil
}

// productForm is a sheet as a program sends it, or as the form does, plan by plan in
// columns: the i-th of each belong together.
type productForm struct {
	Kind     market.KindID     `json:"kind,omitempty" doc:"api, if left out"`
	Source   market.SourceID   `json:"source,omitempty" doc:"The API group that is sold; only when the product is made"`
	Name     market.Text       `json:"name"`
	Summary  market.Text       `json:"summary"`
	Detail   market.Text       `json:"detail,omitempty"`
	Category market.CategoryID `json:"category"`
	Charge   string            `json:"charge,omitempty"`
	Plans    []Plan            `json:"plans"`

	PlanID     []string `json:"plan_id,omitempty" doc:"Forms only"`
	PlanCalls  []string `json:"plan_calls,omitempty" doc:"Forms only"`
	PlanPrice  []string `json:"plan_price,omitempty" doc:"Forms only"`
	PlanMonths []string `json:"plan_months,omitempty" doc:"Forms only"`
}

// sheet reads the form's columns. A row without calls and price was left empty.
func (f productForm) sheet() (Sheet, error) {
	s := Sheet{Name: f.Name, Summary: f.Summary, Detail: f.Detail, Category: f.Category, Charge: f.Charge, Plans: f.Plans}
	var form market.Form
	for i := range f.PlanCalls {
		at := func(col []string) string {
			if i < len(col) {
				return strings.ReplaceAll(strings.TrimSpace(col[i]), " ", "")
			}
			return ""
		}
		if at(f.PlanCalls) == "" && at(f.PlanPrice) == "" {
			continue
		}
		field := fmt.Sprintf("plans.%d", len(s.Plans))
		pl := Plan{ID: market.PlanID(at(f.PlanID))}
		var err error
		if pl.Calls, err = strconv.ParseInt(at(f.PlanCalls), 10, 64); err != nil {
			form.Fault(field, "catalog.calls", "max", group(callsMax))
		}
		if pl.Price, err = market.ParseYuan(at(f.PlanPrice)); err != nil {
			form.Fault(field, "field.money")
		}
		if m := at(f.PlanMonths); m != "" {
			if pl.Months, err = strconv.Atoi(m); err != nil {
				form.Fault(field, "catalog.months", "max", strconv.Itoa(monthsMax))
			}
		}
		s.Plans = append(s.Plans, pl)
	}
	return s, form.Err()
}

// Edit is the seller's page of one product.
type Edit struct {
	ID       market.ProductID `json:"id"`
	Source   market.SourceID  `json:"source"`
	Sheet    Sheet            `json:"sheet" doc:"The draft, or what is listed if there is none"`
	Stage    Stage            `json:"stage"`
	Open     bool             `json:"open"`
	Live     *Sheet           `json:"live" doc:"What was approved last"`
	Reason   string           `json:"reason"`
	Moved    time.Time        `json:"moved"`
	Choices  []Choice         `json:"-"`
	Groups   []Group          `json:"-"`
	Findings []Finding        `json:"findings" doc:"What a machine can see before the review"`
	Blank    int              `json:"-"` // empty rows for more plans
}

// Choice is an API group that may become a product.
type Choice struct {
	Source     market.SourceID
	Name       market.Text
	Interfaces int
	Problem    string
}

// Finding is one automatic check.
type Finding struct {
	Code string `json:"code"`
	Text string `json:"text"`
	OK   bool   `json:"ok"`
}

func (p *Plugin) blank(c *web.Ctx) (web.View, error) {
	return p.formView(c, Edit{Source: market.SourceID(c.Query("source")),
		Sheet: Sheet{Charge: "succeeded", Plans: []Plan{{Calls: 1000, Price: 990, Months: 12}, {Calls: 10000, Price: 7900, Months: 12}}}})
}

// formView is the page of a new product, or of one that is edited.
func (p *Plugin) formView(c *web.Ctx, e Edit) (web.View, error) {
	groups, _, err := p.groups(c)
	if err != nil {
		return web.View{}, err
	}
	e.Groups, e.Blank = groups, min(2, plansMax-len(e.Sheet.Plans))
	word := c.T("catalog.new")
	if e.ID != "" {
		word = c.In(e.Sheet.Name)
	} else {
		choices, err := p.apis.Choices(c, c.Actor().Account)
		if err != nil {
			return web.View{}, err
		}
		for _, k := range choices {
			e.Choices = append(e.Choices, Choice(k))
		}
	}
	return web.View{Page: "catalog/edit", Title: word, Data: e, Menu: "/seller/products",
		Crumbs: []web.Crumb{{Word: c.T("catalog.menu_products"), Href: "/seller/products"}, {Word: word}}}, nil
}

func (p *Plugin) create(c *web.Ctx) (web.View, error) {
	var in productForm
	err := c.Bind(&in)
	s, sheetErr := in.sheet()
	if err = firstOf(err, sheetErr); err == nil {
		kind := in.Kind
		if kind == "" {
			kind = "api"
		}
		var id market.ProductID
		if id, err = p.Create(c, c.Actor(), kind, in.Source, s); err == nil {
			return p.after(c, id, "catalog.saved")
		}
	}
	v, viewErr := p.formView(c, Edit{Source: in.Source, Sheet: s})
	return v, firstOf(viewErr, err)
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// after answers a change with the product as it is now.
func (p *Plugin) after(c *web.Ctx, id market.ProductID, say string) (web.View, error) {
	v, err := p.editView(c, id)
	v.To, v.Say = "/seller/products/"+string(id), say
	return v, err
}

func (p *Plugin) edit(c *web.Ctx) (web.View, error) {
	return p.editView(c, market.ProductID(c.Param("product")))
}

func (p *Plugin) editView(c *web.Ctx, id market.ProductID) (web.View, error) {
	pr, err := findMine(c, p.db.Read(), c.Actor(), id)
	if err != nil {
		return web.View{}, err
	}
	return p.formView(c, p.edited(c, pr))
}

func (p *Plugin) edited(c *web.Ctx, pr product) Edit {
	e := Edit{ID: pr.ID, Source: pr.Source, Sheet: pr.sheet(), Stage: pr.Stage, Open: pr.Open, Live: pr.Live,
		Reason: pr.Reason, Moved: storage.Moment(pr.Moved), Findings: findings(c, pr.sheet())}
	return e
}

func findings(c *web.Ctx, s Sheet) []Finding {
	list := []Finding{}
	for _, f := range s.inspect() {
		list = append(list, Finding{Code: f.Code, Text: c.T(f.Code, f.Args...), OK: f.OK})
	}
	return list
}

func (p *Plugin) save(c *web.Ctx) (web.View, error) {
	id := market.ProductID(c.Param("product"))
	var in productForm
	err := c.Bind(&in)
	s, sheetErr := in.sheet()
	if err = firstOf(err, sheetErr); err == nil {
		if err = p.Save(c, c.Actor(), id, s); err == nil {
			return p.after(c, id, "catalog.saved")
		}
	}
	pr, findErr := findMine(c, p.db.Read(), c.Actor(), id)
	if findErr != nil {
		return web.View{}, findErr
	}
	e := p.edited(c, pr)
	e.Sheet = s // what was typed
	v, viewErr := p.formView(c, e)
	return v, firstOf(viewErr, err)
}

// moved runs one of the seller's moves and shows the product after it; a move that is
// refused shows it as it is, with the reason.
func (p *Plugin) moved(c *web.Ctx, move func(id market.ProductID) error, say string) (web.View, error) {
	id := market.ProductID(c.Param("product"))
	err := move(id)
	if err == nil {
		return p.after(c, id, say)
	}
	v, viewErr := p.editView(c, id)
	return v, errors.Join(err, viewErr)
}

func (p *Plugin) submit(c *web.Ctx) (web.View, error) {
	return p.moved(c, func(id market.ProductID) error { return p.Submit(c, c.Actor(), id) }, "catalog.submitted")
}

func (p *Plugin) withdraw(c *web.Ctx) (web.View, error) {
	return p.moved(c, func(id market.ProductID) error { return p.Withdraw(c, c.Actor(), id) }, "catalog.withdrawn")
}

func (p *Plugin) relist(c *web.Ctx) (web.View, error) {
	return p.moved(c, func(id market.ProductID) error { return p.Relist(c, c.Actor(), id) }, "catalog.relisted")
}
