// Package catalog is the shelf: categories, products and their plans, how they come to be
// listed, and how they are found (寻找商品).
//
// Owns:  categories, products, plans, placements on the home page, the search index,
// counts of sales.
// Asks:  market.Kind, whether a product can be sold; market.APIs, its interfaces;
// market.Accounts, sellers' names; market.Measures, how products do.
// Hears: order.paid, and counts sales.
// Tells: product.listed, product.withdrawn.
package catalog

import (
	"embed"
	"io/fs"
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/console"
	"github.com/souk-market/souk/console/event"
	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web"
	"github.com/souk-market/souk/gateway/storage"
)

//go:embed schema page words
var files embed.FS

func init() { console.Register(new(Plugin)) }

// Plugin is the capability.
type Plugin struct {
	db       *storage.DB
	bus      *event.Bus
	log      *zap.Logger
	now      func() time.Time
	zone     *time.Location
	gateway  string // where apps call
	accounts market.Accounts
	kinds    map[market.KindID]market.Kind
	apis     market.APIs
	measures market.Measures
}

var (
	_ console.Offerer     = (*Plugin)(nil)
	_ console.Provisioner = (*Plugin)(nil)
	_ console.Migrator    = (*Plugin)(nil)
	_ console.Templater   = (*Plugin)(nil)
	_ console.Translator  = (*Plugin)(nil)
	_ console.Router      = (*Plugin)(nil)
	_ console.Listener    = (*Plugin)(nil)
	_ market.Shelf        = shelf{}
)

// Plugin names it.
func (*Plugin) Plugin() console.Info {
	return console.Info{ID: "plugin.catalog", New: func() console.Plugin { return new(Plugin) }}
}

// Offer answers what a plan is and costs.
func (p *Plugin) Offer(h *console.Host) { console.Offer[market.Shelf](h, shelf{p}) }

// Provision finds the kinds, the interfaces, the names and the measures.
func (p *Plugin) Provision(h *console.Host) (err error) {
	p.db, p.bus, p.log, p.now, p.zone, p.gateway = h.DB, h.Bus, h.Log, h.Now, h.Zone, h.Config.GatewayAddress
	p.kinds = map[market.KindID]market.Kind{}
	for _, k := range console.All[market.Kind](h) {
		p.kinds[k.KindInfo().ID] = k
	}
	if p.accounts, err = console.Need[market.Accounts](h); err != nil {
		return err
	}
	if p.apis, err = console.Need[market.APIs](h); err != nil {
		return err
	}
	p.measures, err = console.Need[market.Measures](h)
	return err
}

// Schema is its tables.
func (*Plugin) Schema() fs.FS { return console.Folder(files, "schema") }

// Pages are its templates.
func (*Plugin) Pages() fs.FS { return console.Folder(files, "page") }

// Words are its texts.
func (*Plugin) Words() fs.FS { return console.Folder(files, "words") }

// Routes declares its pages.
func (p *Plugin) Routes(r *web.Routes) {
	anyone := r.Anyone()
	anyone.Get("/", p.home, web.Doc{Name: "catalog.home", Out: Home{}})
	anyone.Get("/products", p.search, web.Doc{Name: "catalog.search", In: query{}, Out: Found{}})
	anyone.Get("/suggest", p.suggest, web.Doc{Name: "catalog.suggest", In: suggestQuery{}, Out: Suggestions{}})
	anyone.Get("/categories", p.categories, web.Doc{Name: "catalog.categories", Out: Categories{}})
	anyone.Get("/products/:product", p.show, web.Doc{Name: "catalog.show", In: chosen{}, Out: Product{}})

	seller := r.Seller()
	seller.Get("/seller/products", p.mine, web.Doc{Name: "catalog.mine", Out: Mine{}})
	seller.Get("/seller/products/new", p.blank, web.Doc{Name: "catalog.new_form", PageOnly: true})
	seller.Post("/seller/products", p.create, web.Doc{Name: "catalog.create", In: productForm{}, Out: Edit{}, Status: 201})
	seller.Get("/seller/products/:product", p.edit, web.Doc{Name: "catalog.edit", Out: Edit{}})
	seller.Post("/seller/products/:product", p.save, web.Doc{Name: "catalog.save", In: productForm{}, Out: Edit{}})
	seller.Post("/seller/products/:product/submit", p.submit, web.Doc{Name: "catalog.submit", Out: Edit{}})
	seller.Post("/seller/products/:product/withdraw", p.withdraw, web.Doc{Name: "catalog.withdraw", Out: Edit{}})
	seller.Post("/seller/products/:product/relist", p.relist, web.Doc{Name: "catalog.relist", Out: Edit{}})
	seller.Menu(web.MenuItem{Word: "catalog.menu_products", Icon: "cube", Href: "/seller/products", Order: 10})

	operator := r.Operator()
	operator.Get("/operator/reviews", p.queue, web.Doc{Name: "catalog.queue", Out: Queue{}})
	operator.Get("/operator/reviews/:product", p.inspect, web.Doc{Name: "catalog.inspect", Out: Review{}})
	operator.Post("/operator/reviews/:product/approve", p.approve, web.Doc{Name: "catalog.approve", Out: Review{}})
	operator.Post("/operator/reviews/:product/reject", p.reject, web.Doc{Name: "catalog.reject", In: rejection{}, Out: Review{}})
	operator.Get("/operator/products", p.all, web.Doc{Name: "catalog.all", In: query{}, Out: All{}})
	operator.Post("/operator/products/:product/placement", p.place, web.Doc{Name: "catalog.place", In: placement{}, Out: AllRow{}})
	operator.Menu(web.MenuItem{Word: "catalog.menu_review", Icon: "shield", Href: "/operator/reviews", Order: 10, Count: p.waiting})
	operator.Menu(web.MenuItem{Group: "menu.market", Word: "catalog.menu_products", Icon: "cube", Href: "/operator/products", Order: 310})
}

// Listen counts what is sold.
func (p *Plugin) Listen(b *event.Bus) { event.On(b, "plugin.catalog", p.sold) }
