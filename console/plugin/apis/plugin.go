// Package apis is the seller's workshop: API groups, their interfaces and upstreams, drawn
// by hand or imported from an OpenAPI document, and published to the gateway (开放API), with
// all that the gateway can do for their calls: throttling, filters, backend signatures,
// domains.
//
// Owns:  groups and interfaces, keys of backend signatures, certificates.
// Asks:  control.Plane, to publish.
// Hears: product.listed, and publishes the group's routes.
// Tells: nothing.
package apis

import (
	"embed"
	"io/fs"
	"net/url"
	"sync"
	"time"

	"github.com/souk-market/souk/console"
	"github.com/souk-market/souk/console/event"
	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
)

//go:embed schema page words
var files embed.FS

func init() { console.Register(new(Plugin)) }

// Plugin is the capability.
type Plugin struct {
	db      *storage.DB
	gateway control.Plane
	now     func() time.Time
	suffix  string   // of new groups' domains
	shared  []string // domains under which every product can be called
	public  string   // host name of the console; empty: none of its own
	private bool     // upstreams on private addresses are allowed

	editing sync.Mutex // one edit at a time, so that the gateway hears last what was saved last
}

var (
	_ console.Offerer     = (*Plugin)(nil)
	_ console.Provisioner = (*Plugin)(nil)
	_ console.Migrator    = (*Plugin)(nil)
	_ console.Templater   = (*Plugin)(nil)
	_ console.Translator  = (*Plugin)(nil)
	_ console.Router      = (*Plugin)(nil)
	_ console.Listener    = (*Plugin)(nil)
	_ market.APIs         = (*Plugin)(nil)
)

// Plugin names it.
func (*Plugin) Plugin() console.Info {
	return console.Info{ID: "plugin.apis", New: func() console.Plugin { return new(Plugin) }}
}

// Offer describes groups to others.
func (p *Plugin) Offer(h *console.Host) { console.Offer[market.APIs](h, p) }

// Provision takes what it needs of the host.
func (p *Plugin) Provision(h *console.Host) error {
	p.db, p.gateway, p.now = h.DB, h.Gateway, h.Now
	p.suffix, p.shared, p.private = h.Config.Suffix, h.Config.SharedDomains, h.Config.AllowPrivateUpstreams
	if u, err := url.Parse(h.Config.Public); err == nil {
		p.public = u.Hostname()
	}
	return nil
}

// Schema is its tables.
func (*Plugin) Schema() fs.FS { return console.Folder(files, "schema") }

// Pages are its templates.
func (*Plugin) Pages() fs.FS { return console.Folder(files, "page") }

// Words are its texts.
func (*Plugin) Words() fs.FS { return console.Folder(files, "words") }

// Routes declares its pages.
func (p *Plugin) Routes(r *web.Routes) {
	seller := r.Seller()
	seller.Get("/seller/apis", p.list, web.Doc{Name: "apis.list", Out: List{}})
	seller.Post("/seller/apis", p.draw, web.Doc{Name: "apis.draw", In: drawing{}, Out: Show{}, Status: 201, APIOnly: true})
	seller.Get("/seller/apis/import", p.showImport, web.Doc{Name: "apis.import_form", PageOnly: true})
	seller.Post("/seller/apis/import", p.imports, web.Doc{Name: "apis.import", In: upload{}, Out: Show{}, Status: 201})
	seller.Get("/seller/apis/:group", p.show, web.Doc{Name: "apis.show", Out: Show{}})
	seller.Get("/seller/apis/:group/select", p.showSelect, web.Doc{Name: "apis.select_form", PageOnly: true})
	seller.Post("/seller/apis/:group/select", p.choose, web.Doc{Name: "apis.select", In: selection{}, Out: Show{}})
	seller.Get("/seller/apis/:group/upstream", p.showUpstream, web.Doc{Name: "apis.upstream_form", PageOnly: true})
	seller.Post("/seller/apis/:group/upstream", p.setUpstream, web.Doc{Name: "apis.upstream", In: upstream{}, Out: Show{}})
	seller.Get("/seller/apis/:group/backend", p.showBackend, web.Doc{Name: "apis.backend", Out: BackendPage{}})
	seller.Post("/seller/apis/:group/backend", p.setBackend, web.Doc{Name: "apis.set_backend", In: Backend{}, Out: BackendPage{}})
	seller.Get("/seller/apis/:group/interfaces/:interface", p.showInterface, web.Doc{Name: "apis.interface", Out: InterfacePage{}})
	seller.Post("/seller/apis/:group/interfaces/:interface", p.setInterface, web.Doc{Name: "apis.set_interface", In: routeConfig{}, Out: InterfacePage{}})
	seller.Get("/seller/apis/:group/domains", p.showDomains, web.Doc{Name: "apis.domains", Out: DomainsPage{}})
	seller.Post("/seller/apis/:group/domains", p.setDomains, web.Doc{Name: "apis.set_domains", In: domainsIn{}, Out: DomainsPage{}})
	seller.Post("/seller/apis/:group/certificates", p.addCertificate, web.Doc{Name: "apis.add_certificate", In: certificateIn{}, Out: DomainsPage{}, Status: 201})
	seller.Get("/seller/apis/:group/certificates/:certificate/remove", p.askCertificate, web.Doc{Name: "apis.ask_certificate", PageOnly: true})
	seller.Post("/seller/apis/:group/certificates/:certificate/remove", p.dropCertificate, web.Doc{Name: "apis.drop_certificate", Out: DomainsPage{}})
	seller.Get("/seller/apis/:group/limits", p.showLimits, web.Doc{Name: "apis.limits", Out: LimitsPage{}})
	seller.Post("/seller/apis/:group/limits", p.addLimit, web.Doc{Name: "apis.add_limit", In: limitIn{}, Out: LimitPage{}, Status: 201})
	seller.Get("/seller/apis/:group/limits/new", p.newLimit, web.Doc{Name: "apis.limit_form", PageOnly: true})
	seller.Get("/seller/apis/:group/limits/:limit", p.showLimit, web.Doc{Name: "apis.limit", Out: LimitPage{}})
	seller.Post("/seller/apis/:group/limits/:limit", p.editLimit, web.Doc{Name: "apis.edit_limit", In: limitIn{}, Out: LimitPage{}})
	seller.Get("/seller/apis/:group/limits/:limit/remove", p.askLimit, web.Doc{Name: "apis.ask_limit", PageOnly: true})
	seller.Post("/seller/apis/:group/limits/:limit/remove", p.dropLimit, web.Doc{Name: "apis.drop_limit", Out: LimitsPage{}})
	seller.Get("/seller/apis/:group/filters", p.showFilters, web.Doc{Name: "apis.filters", Out: FiltersPage{}})
	seller.Post("/seller/apis/:group/filters", p.addFilter, web.Doc{Name: "apis.add_filter", In: filterIn{}, Out: FilterPage{}, Status: 201})
	seller.Get("/seller/apis/:group/filters/new", p.newFilter, web.Doc{Name: "apis.filter_form", PageOnly: true})
	seller.Get("/seller/apis/:group/filters/:setting", p.showFilter, web.Doc{Name: "apis.filter", Out: FilterPage{}})
	seller.Post("/seller/apis/:group/filters/:setting", p.editFilter, web.Doc{Name: "apis.edit_filter", In: filterIn{}, Out: FilterPage{}})
	seller.Get("/seller/apis/:group/filters/:setting/remove", p.askFilter, web.Doc{Name: "apis.ask_filter", PageOnly: true})
	seller.Post("/seller/apis/:group/filters/:setting/remove", p.dropFilter, web.Doc{Name: "apis.drop_filter", Out: FiltersPage{}})
	seller.Get("/seller/apis/:group/addresses", p.showAddresses, web.Doc{Name: "apis.addresses", Out: AddressesPage{}})
	seller.Post("/seller/apis/:group/addresses", p.setAddresses, web.Doc{Name: "apis.set_addresses", In: addressesIn{}, Out: AddressesPage{}})
	seller.Get("/seller/apis/:group/signing", p.showSigning, web.Doc{Name: "apis.signing", Out: SigningPage{}})
	seller.Post("/seller/apis/:group/signing", p.setSigning, web.Doc{Name: "apis.set_signing", In: signingIn{}, Out: SigningPage{}})
	seller.Get("/seller/interfaces", p.listAll, web.Doc{Name: "apis.interfaces", In: interfaceFilter{}, Out: Interfaces{}})
	seller.Get("/seller/limits", p.across("limits", limitItems), web.Doc{Name: "apis.all_limits", Out: Across{}})
	seller.Get("/seller/filters", p.across("filters", filterItems), web.Doc{Name: "apis.all_filters", Out: Across{}})
	seller.Get("/seller/addresses", p.across("addresses", addressItems), web.Doc{Name: "apis.all_addresses", Out: Across{}})
	seller.Get("/seller/keys", p.showKeys, web.Doc{Name: "apis.keys", Out: KeysPage{}})
	seller.Post("/seller/keys", p.addKey, web.Doc{Name: "apis.add_key", In: keyIn{}, Out: NewKey{}, Status: 201})
	seller.Get("/seller/keys/:key", p.showKey, web.Doc{Name: "apis.key", Out: KeyPage{}})
	seller.Post("/seller/keys/:key", p.rotateKey, web.Doc{Name: "apis.rotate_key", In: rotation{}, Out: NewKey{}})
	seller.Get("/seller/keys/:key/remove", p.askKey, web.Doc{Name: "apis.ask_key", PageOnly: true})
	seller.Post("/seller/keys/:key/remove", p.dropKey, web.Doc{Name: "apis.drop_key", Out: KeysPage{}})
	for n, m := range []struct{ word, icon, href string }{
		{"apis.menu", "plug", "/seller/apis"}, {"apis.menu_interfaces", "term", "/seller/interfaces"}, {"apis.tab_limits", "filter", "/seller/limits"},
		{"apis.menu_keys", "key", "/seller/keys"}, {"apis.tab_addresses", "shield", "/seller/addresses"}, {"apis.tab_filters", "gear", "/seller/filters"},
	} {
		seller.Menu(web.MenuItem{Group: "apis.menu_head", Word: m.word, Icon: m.icon, Href: m.href, Order: 110 + n})
	}
}

// Listen publishes what is listed.
func (p *Plugin) Listen(b *event.Bus) { event.Reach(b, "plugin.apis", p.publishListed, p.published) }
