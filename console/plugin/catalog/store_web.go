package catalog

import (
	"html/template"
	"slices"
	"time"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web"
	"github.com/souk-market/souk/gateway/storage"
)

const (
	perPage  = 12
	hotMost  = 5
	homeNew  = 5
	homePick = 8
)

// bucket is a range of prices, in fen: from it, up to but without To (CAT-14).
type bucket struct {
	ID   string
	From market.Fen
	To   market.Fen // 0: no end
}

// buckets leave no gap and share no price.
var buckets = []bucket{
	{"free", 0, 1},
	{"under-10", 1, 1000},
	{"under-100", 1000, 10000},
	{"under-1000", 10000, 100000},
	{"over-1000", 100000, 0},
}

func bucketByID(id string) (bucket, bool) {
	for _, b := range buckets {
		if b.ID == id {
			return b, true
		}
	}
	return bucket{}, false
}

// Card is a product in a list.
type Card struct {
	ID       market.ProductID  `json:"id"`
	Name     market.Text       `json:"name"`
	Summary  market.Text       `json:"summary"`
	Category market.CategoryID `json:"category"`
	Icon     string            `json:"-"`
	Seller   string            `json:"seller"`
	From     market.Fen        `json:"from" doc:"The lowest price"`
	Unit     float64           `json:"unit" doc:"The lowest price of one call, in yuan"`
	Free     bool              `json:"free" doc:"It has a plan for nothing"`
	Sales    int64             `json:"sales" doc:"Sold in the last 180 days"`
	Mean     float64           `json:"mean_millis" doc:"Mean time of a call over 30 days, measured by the gateway; 0: no calls"`
	Good     float64           `json:"good_percent" doc:"Share of calls that the seller answered below 500"`
	Calls    int64             `json:"calls" doc:"Over the last 30 days"`
	Days     []int64           `json:"-"`
}

// cards adds to products what lists show of them.
func (p *Plugin) cards(c *web.Ctx, list []product) ([]Card, error) {
	cats, err := categoriesByID(c, p.db.Read())
	if err != nil {
		return nil, err
	}
	var ids []market.ProductID
	var sellers []market.AccountID
	for _, pr := range list {
		ids = append(ids, pr.ID)
		sellers = append(sellers, pr.Seller)
	}
	names, err := p.accounts.Names(c, sellers...)
	if err != nil {
		return nil, err
	}
	sales, err := countSales(c, p.db.Read(), p.now().Add(-salesWindow), ids...)
	if err != nil {
		return nil, err
	}
	measures, err := p.measures.Measures(c, ids...)
	if err != nil {
		return nil, err
	}
	out := make([]Card, 0, len(list))
	for _, pr := range list {
		s := pr.Live
		if s == nil {
			s = pr.Draft
		}
		k := Card{ID: pr.ID, Name: s.Name, Summary: s.Summary, Category: s.Category, Icon: cats[s.Category].Icon,
			Seller: names[pr.Seller], From: s.floor(), Unit: unit(s.Plans), Free: s.floor() == 0, Sales: sales[pr.ID]}
		m := measures[pr.ID]
		k.Mean, k.Calls, k.Days = m.Mean, m.Calls, m.ByDay
		if m.Calls > 0 {
			k.Good = float64(m.Good) / float64(m.Calls) * 100
		}
		out = append(out, k)
	}
	return out, nil
}

// unit is the lowest price of one call among the plans that cost something.
func unit(plans []Plan) float64 {
	low := 0.0
	for _, pl := range plans {
		u := float64(pl.Price) / 100 / float64(pl.Calls)
		if pl.Price > 0 && (low == 0 || u < low) {
			low = u
		}
	}
	return low
}

// Home is the store's front page.
type Home struct {
	Products   int     `json:"products" doc:"For sale"`
	Headline   *Card   `json:"headline"`
	New        []Card  `json:"new"`
	Picks      []Card  `json:"picks" doc:"Chosen by the operator; the best sold where he chose none"`
	Chosen     bool    `json:"chosen"`
	Campaign   []Card  `json:"campaign"`
	Categories []Group `json:"categories"`
	Quick      []Sub   `json:"-"` // the fullest categories, below the search box
}

// Group is a category of the first level with those below it.
type Group struct {
	ID    market.CategoryID `json:"id"`
	Name  market.Text       `json:"name"`
	Icon  string            `json:"-"`
	Count int               `json:"count" doc:"Products for sale"`
	Subs  []Sub             `json:"subs"`
}

// Sub is a category of the second level.
type Sub struct {
	ID    market.CategoryID `json:"id"`
	Name  market.Text       `json:"name"`
	Count int               `json:"count"`
}

func (p *Plugin) groups(c *web.Ctx) ([]Group, int, error) {
	cats, err := listCategories(c, p.db.Read())
	if err != nil {
		return nil, 0, err
	}
	counts, err := countByCategory(c, p.db.Read())
	if err != nil {
		return nil, 0, err
	}
	var groups []Group
	at := map[market.CategoryID]int{}
	total := 0
	for _, k := range cats {
		if k.Parent == "" {
			at[k.ID] = len(groups)
			groups = append(groups, Group{ID: k.ID, Name: k.Name, Icon: k.Icon, Subs: []Sub{}})
		}
	}
	for _, k := range cats {
		if i, ok := at[k.Parent]; ok {
			groups[i].Subs = append(groups[i].Subs, Sub{ID: k.ID, Name: k.Name, Count: counts[k.ID]})
			groups[i].Count += counts[k.ID]
			total += counts[k.ID]
		}
	}
	return groups, total, nil
}

func (p *Plugin) home(c *web.Ctx) (web.View, error) {
	var h Home
	var err error
	if h.Categories, h.Products, err = p.groups(c); err != nil {
		return web.View{}, err
	}
	h.Quick = fullest(h.Categories, 7)
	placed := func(slot string, most int) ([]Card, error) {
		list, err := many(c, p.db.Read(), `WHERE open = 1 AND id IN (SELECT product FROM catalog_placement WHERE slot = ?) ORDER BY moved DESC LIMIT ?`, slot, most)
		if err != nil {
			return nil, err
		}
		return p.cards(c, list)
	}
	best := func(most int) ([]Card, error) {
		list, _, err := searchProducts(c, p.db.Read(), query{Sort: "sales"}, nil, p.now().Add(-salesWindow), 0, most)
		if err != nil {
			return nil, err
		}
		return p.cards(c, list)
	}
	head, err := placed("headline", 1)
	if err == nil && len(head) == 0 {
		head, err = best(1)
	}
	if err != nil {
		return web.View{}, err
	}
	if len(head) > 0 {
		h.Headline = &head[0]
	}
	if h.Picks, err = placed("pick", homePick); err != nil {
		return web.View{}, err
	}
	if h.Chosen = len(h.Picks) > 0; !h.Chosen {
		if h.Picks, err = best(homePick); err != nil {
			return web.View{}, err
		}
	}
	if h.Campaign, err = placed("campaign", 3); err != nil {
		return web.View{}, err
	}
	list, err := many(c, p.db.Read(), `WHERE open = 1 ORDER BY listed DESC, seq DESC LIMIT ?`, homeNew)
	if err != nil {
		return web.View{}, err
	}
	if h.New, err = p.cards(c, list); err != nil {
		return web.View{}, err
	}
	return web.View{Page: "catalog/home", Title: c.T("catalog.home_title"), Data: h}, nil
}

// fullest are the categories of the second level with the most products.
func fullest(groups []Group, most int) []Sub {
	var subs []Sub
	for _, g := range groups {
		for _, s := range g.Subs {
			if s.Count > 0 {
				subs = append(subs, s)
			}
		}
	}
	slices.SortStableFunc(subs, func(a, b Sub) int { return b.Count - a.Count })
	return subs[:min(len(subs), most)]
}

// Categories is the list of all categories.
type Categories struct {
	Groups []Group `json:"groups"`
	Total  int     `json:"total"`
}

func (p *Plugin) categories(c *web.Ctx) (web.View, error) {
	g, total, err := p.groups(c)
	return web.View{Page: "catalog/categories", Title: c.T("catalog.all_categories"), Data: Categories{Groups: g, Total: total}}, err
}

// query is what is looked for; the address holds all of it (CAT-20).
type query struct {
	Q        string `json:"q,omitempty" doc:"Words"`
	Category string `json:"category,omitempty" doc:"A category of either level"`
	Price    string `json:"price,omitempty" doc:"free, under-10, under-100, under-1000 or over-1000"`
	Sort     string `json:"sort,omitempty" doc:"sales, new, price or price-desc; if left out, how well it matches"`
	Page     int    `json:"page,omitempty" doc:"From 1"`
}

// Found is what a search found.
type Found struct {
	Query    query   `json:"query"`
	Products []Card  `json:"products"`
	Total    int     `json:"total" doc:"How many match"`
	Page     int     `json:"page"`
	Pages    int     `json:"pages"`
	Category *Sub    `json:"category"`
	Parent   *Sub    `json:"parent"`
	Groups   []Group `json:"-"`
	Prices   []Facet `json:"prices"`
	Hot      []Card  `json:"hot" doc:"Best sold of this category"`
}

// Facet is one choice that narrows a search, with how many it would leave.
type Facet struct {
	ID    string `json:"id"`
	Count int    `json:"count"`
}

func (p *Plugin) search(c *web.Ctx) (web.View, error) {
	var in query
	if err := c.Bind(&in); err != nil {
		return web.View{}, err
	}
	f, in2, err := p.found(c, in)
	if err != nil {
		return web.View{}, err
	}
	title := c.T("catalog.all_products")
	var crumbs []web.Crumb
	switch {
	case in.Q != "":
		title = c.T("catalog.results_for", "q", in.Q)
	case f.Category != nil:
		title = c.In(f.Category.Name)
	}
	if f.Category != nil {
		crumbs = append(crumbs, web.Crumb{Word: c.T("catalog.all_categories"), Href: "/categories"})
		if f.Parent != nil {
			crumbs = append(crumbs, web.Crumb{Word: c.In(f.Parent.Name), Href: "/products?category=" + string(f.Parent.ID)})
		}
		crumbs = append(crumbs, web.Crumb{Word: c.In(f.Category.Name)})
	}
	f.Query = in2
	return web.View{Page: "catalog/search", Title: title, Data: f, Crumbs: crumbs}, nil
}

func (p *Plugin) found(c *web.Ctx, in query) (Found, query, error) {
	f := Found{Prices: []Facet{}}
	groups, _, err := p.groups(c)
	if err != nil {
		return f, in, err
	}
	f.Groups = groups
	within, err := f.narrow(in.Category)
	if err != nil {
		return f, in, err
	}
	in.Page = max(1, min(in.Page, 10_000))
	since := p.now().Add(-salesWindow)
	list, total, err := searchProducts(c, p.db.Read(), in, within, since, (in.Page-1)*perPage, perPage)
	if err != nil {
		return f, in, err
	}
	f.Total, f.Page, f.Pages = total, in.Page, (total+perPage-1)/perPage
	if f.Products, err = p.cards(c, list); err != nil {
		return f, in, err
	}
	for _, b := range buckets {
		q := in
		q.Price = b.ID
		_, n, err := searchProducts(c, p.db.Read(), q, within, since, 0, 0)
		if err != nil {
			return f, in, err
		}
		f.Prices = append(f.Prices, Facet{ID: b.ID, Count: n})
	}
	hot, _, err := searchProducts(c, p.db.Read(), query{Sort: "sales"}, within, since, 0, hotMost)
	if err != nil {
		return f, in, err
	}
	f.Hot, err = p.cards(c, hot)
	return f, in, err
}

// narrow finds the category that was asked for, and gives those that it holds.
func (f *Found) narrow(id string) ([]market.CategoryID, error) {
	if id == "" {
		return nil, nil
	}
	for _, g := range f.Groups {
		if string(g.ID) == id {
			f.Category = &Sub{ID: g.ID, Name: g.Name, Count: g.Count}
			var in []market.CategoryID
			for _, s := range g.Subs {
				in = append(in, s.ID)
			}
			return in, nil
		}
		for _, s := range g.Subs {
			if string(s.ID) == id {
				f.Category, f.Parent = &s, &Sub{ID: g.ID, Name: g.Name, Count: g.Count}
				return []market.CategoryID{s.ID}, nil
			}
		}
	}
	return nil, market.NotFound("catalog.no_category")
}

type suggestQuery struct {
	Q string `json:"q" doc:"What was typed so far"`
}

// Suggestions are shown while somebody types (CAT-07).
type Suggestions struct {
	Q        string `json:"q"`
	Products []Card `json:"products"`
	Total    int    `json:"total" doc:"How many the whole search would find"`
}

func (p *Plugin) suggest(c *web.Ctx) (web.View, error) {
	var in suggestQuery
	if err := c.Bind(&in); err != nil {
		return web.View{}, err
	}
	s := Suggestions{Q: in.Q, Products: []Card{}}
	if match(in.Q) != "" {
		list, total, err := searchProducts(c, p.db.Read(), query{Q: in.Q}, nil, p.now(), 0, 6)
		if err != nil {
			return web.View{}, err
		}
		s.Total = total
		if s.Products, err = p.cards(c, list); err != nil {
			return web.View{}, err
		}
	}
	return web.View{Page: "catalog/suggest", Layout: "none", Data: s}, nil
}

// chosen is the plan and the quantity that a visitor looks at.
type chosen struct {
	Plan  market.PlanID `json:"plan,omitempty"`
	Count int64         `json:"count,omitempty"`
}

// Product is a product's page.
type Product struct {
	Card
	Detail     market.Text   `json:"detail"`
	HTML       template.HTML `json:"-"`
	Charge     string        `json:"charge" doc:"succeeded: answers below 400 cost a call; answered: also the caller's own faults"`
	Open       bool          `json:"open" doc:"For sale"`
	Listed     time.Time     `json:"listed"`
	Plans      []PlanView    `json:"plans"`
	Chosen     market.PlanID `json:"-"`
	Count      int64         `json:"-"`
	Sum        market.Fen    `json:"-"`
	Base       string        `json:"base" doc:"Where calls go"`
	Domain     string        `json:"domain" doc:"What goes into the Host header"`
	Operations []Operation   `json:"operations"`
	Others     []Card        `json:"-"`
	GroupID    string        `json:"-"`
}

// PlanView is a plan as a buyer sees it.
type PlanView struct {
	ID     market.PlanID `json:"id"`
	Title  market.Text   `json:"title"`
	Calls  int64         `json:"calls"`
	Price  market.Fen    `json:"price"`
	Unit   float64       `json:"unit" doc:"The price of one call, in yuan"`
	Months int           `json:"months"`
	Until  *time.Time    `json:"until" doc:"If it were bought now; null: no end"`
}

// Operation is one interface of an API product, with samples.
type Operation struct {
	Method  string      `json:"method"`
	Path    string      `json:"path"`
	Name    market.Text `json:"name"`
	Doc     market.Text `json:"doc"`
	Params  []Param     `json:"params"`
	Body    string      `json:"body" doc:"Media type of the request's body; empty: none"`
	Example string      `json:"example" doc:"An answer"`
	Samples []Sample    `json:"samples"`
}

// Param is one parameter of an operation.
type Param struct {
	Name     string `json:"name"`
	In       string `json:"in" doc:"path, query, header or form"`
	Type     string `json:"type"`
	Required bool   `json:"required"`
	Doc      string `json:"doc"`
	Example  string `json:"example"`
}

// Sample is a call in one language, with the AppCode in the header (CAT-26).
type Sample struct {
	Language string `json:"language"`
	Text     string `json:"text"`
}

func (p *Plugin) show(c *web.Ctx) (web.View, error) {
	var in chosen
	if err := c.Bind(&in); err != nil {
		return web.View{}, err
	}
	pr, err := find(c, p.db.Read(), market.ProductID(c.Param("product")))
	if err == nil && (pr.Live == nil || !pr.Open) {
		err = market.NotFound("catalog.missing")
	}
	if err != nil {
		return web.View{}, err
	}
	v, err := p.productView(c, pr, *pr.Live)
	if err != nil {
		return web.View{}, err
	}
	v.choose(in)
	crumbs := []web.Crumb{{Word: c.T("catalog.all_categories"), Href: "/categories"}}
	cats, err := categoriesByID(c, p.db.Read())
	if err != nil {
		return web.View{}, err
	}
	k := cats[pr.Live.Category]
	for _, id := range []market.CategoryID{k.Parent, k.ID} {
		if cat, ok := cats[id]; ok {
			crumbs = append(crumbs, web.Crumb{Word: c.In(cat.Name), Href: "/products?category=" + string(id)})
		}
	}
	others, _, err := searchProducts(c, p.db.Read(), query{Sort: "sales"}, []market.CategoryID{k.ID}, p.now().Add(-salesWindow), 0, 4)
	if err != nil {
		return web.View{}, err
	}
	var rest []product
	for _, o := range others {
		if o.ID != pr.ID && len(rest) < 3 {
			rest = append(rest, o)
		}
	}
	if v.Others, err = p.cards(c, rest); err != nil {
		return web.View{}, err
	}
	return web.View{Page: "catalog/show", Title: c.In(pr.Live.Name), Data: v, Crumbs: append(crumbs, web.Crumb{Word: c.In(pr.Live.Name)})}, nil
}

// choose marks the plan in the middle unless one was chosen; never the dearest.
func (v *Product) choose(in chosen) {
	v.Count = max(1, min(in.Count, 1000))
	v.Chosen = v.Plans[(len(v.Plans)-1)/2].ID
	for _, pl := range v.Plans {
		if pl.ID == in.Plan {
			v.Chosen = pl.ID
		}
	}
	for _, pl := range v.Plans {
		if pl.ID == v.Chosen {
			v.Sum = pl.Price * market.Fen(v.Count)
		}
	}
}

// productView is what a sheet looks like on the store's page; the seller's preview and
// the operator's review show the same.
func (p *Plugin) productView(c *web.Ctx, pr product, s Sheet) (Product, error) {
	shown := pr
	shown.Live = &s
	cards, err := p.cards(c, []product{shown})
	if err != nil {
		return Product{}, err
	}
	v := Product{Card: cards[0], Detail: s.Detail, HTML: markdown(s.Detail.In(c.Lang())), Charge: s.Charge, Open: pr.Open,
		Listed: storage.Moment(pr.Listed), Base: p.gateway, Plans: []PlanView{}, Operations: []Operation{}}
	for _, pl := range s.Plans {
		view := PlanView{ID: pl.ID, Title: pl.Title(), Calls: pl.Calls, Price: pl.Price,
			Unit: float64(pl.Price) / 100 / float64(pl.Calls), Months: pl.Months}
		if u := market.PeriodEnd(p.now(), pl.Months, p.zone); !u.IsZero() {
			view.Until = &u
		}
		v.Plans = append(v.Plans, view)
	}
	api, err := p.apis.API(c, pr.Source)
	if err != nil {
		return v, err
	}
	v.Domain = api.Domain
	for _, i := range api.Interfaces {
		v.Operations = append(v.Operations, operation(p.gateway, api.Domain, i))
	}
	return v, nil
}
