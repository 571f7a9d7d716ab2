package web

import (
	"fmt"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/souk-market/souk/console/market"
)

// Routes is where a plug-in declares what it serves. A route belongs to a side of the
// market; there is no other way for one to exist.
type Routes struct{ s *Server }

// Routes opens the declaration of routes.
func (s *Server) Routes() *Routes { return &Routes{s} }

// Anyone may come: the store.
func (r *Routes) Anyone() Side { return Side{s: r.s, role: market.Anyone} }

// SignedIn is for everybody who has an account, whatever the role.
func (r *Routes) SignedIn() Side { return Side{s: r.s, signedIn: true} }

// Buyer is the buyer's console.
func (r *Routes) Buyer() Side { return Side{s: r.s, role: market.Buyer, signedIn: true} }

// Seller is the seller's console; its paths begin with /seller.
func (r *Routes) Seller() Side { return Side{s: r.s, role: market.Seller, signedIn: true} }

// Operator is the operator's console; its paths begin with /operator.
func (r *Routes) Operator() Side { return Side{s: r.s, role: market.Operator, signedIn: true} }

// Side declares routes for one side of the market.
type Side struct {
	s        *Server
	role     market.Role
	signedIn bool
}

// Doc describes a route to programs. Name is its operation ID and, as "api.<Name>", the
// word that says what it does. In and Out are zero values of what it takes and answers;
// nil for nothing.
type Doc struct {
	Name string
	In   any
	Out  any
	// Status of a successful answer; 0: 200.
	Status int
	// Only on one of the two faces: a form's page has no JSON, a download's JSON no page.
	PageOnly, APIOnly bool
	// Type of the answer if it is not JSON: "application/zip".
	Type string
}

// Route is a declared route. Two of them come from one declaration, a page and its JSON.
type Route struct {
	Method  string
	Path    string // as declared, "/orders/:id"; without /api/v1
	Role    market.Role
	Signed  bool // somebody must be signed in
	API     bool
	Doc     Doc
	handler Handler
}

// Get declares a route that changes nothing.
func (s Side) Get(path string, h Handler, d Doc) { s.add(fiber.MethodGet, path, h, d) }

// Post declares a route that changes something. In a browser it needs the form's token.
func (s Side) Post(path string, h Handler, d Doc) { s.add(fiber.MethodPost, path, h, d) }

func (s Side) add(method, path string, h Handler, d Doc) {
	if want := s.home(); !strings.HasPrefix(path, want) {
		panic(fmt.Sprintf("web: %s of the side %q must begin with %s", path, s.role, want))
	}
	if d.Name == "" {
		panic("web: " + method + " " + path + " has no name")
	}
	for _, api := range []bool{false, true} {
		if api && d.PageOnly || !api && d.APIOnly {
			continue
		}
		r := &Route{Method: method, Path: path, Role: s.role, Signed: s.signedIn, API: api, Doc: d, handler: h}
		for _, have := range s.s.routes {
			if have.Method == method && have.Path == path && have.API == api {
				panic("web: " + method + " " + path + " is declared twice")
			}
		}
		s.s.routes = append(s.s.routes, r)
		full := path
		if api {
			full = apiPrefix + strings.TrimSuffix(path, "/")
		}
		s.s.app.Add(method, full, func(f *fiber.Ctx) error { return s.s.handle(f, r) })
	}
}

// home is what the paths of a side begin with.
func (s Side) home() string {
	switch s.role {
	case market.Seller:
		return "/seller"
	case market.Operator:
		return "/operator"
	}
	return "/"
}

// Declared lists every route, for tests that must not forget one.
func (s *Server) Declared() []*Route { return s.routes }

// MenuItem is an entry of a console's left menu.
type MenuItem struct {
	Group string // word of its group's head; empty: the first group, without one
	Word  string // word of the entry
	Icon  string
	Href  string
	Order int // entries and groups are sorted by it
	// Count says how many wait for somebody; nil: nothing is counted.
	Count func(*Ctx) int
}

type menuItem struct {
	MenuItem
	role market.Role
}

// Menu adds an entry to the side's menu.
func (s Side) Menu(m MenuItem) { s.s.menus = append(s.s.menus, menuItem{m, s.role}) }
