package order_test

import (
	"testing"
	"time"

	"github.com/souk-market/souk/console/consoletest"
	"github.com/souk-market/souk/gateway/control"
)

type service struct {
	ID    string `json:"id"`
	State string `json:"state"`
	Total int64  `json:"total"`
	Used  int64  `json:"used"`
	Parts []struct {
		ID, State string
		Until     time.Time
	} `json:"parts"`
	Access struct {
		App     string `json:"app"`
		Secrets []struct {
			Name, Value, Tail, Reveal string
		} `json:"secrets"`
	} `json:"access"`
}

func services(p *consoletest.Person) (list []service) {
	var l struct{ Services []service }
	p.API("GET", "/services", nil).Is(200).Read(&l)
	return l.Services
}

// From the shelf to a service that can be called: SEL-04, BUY-02, BUY-11, API-02, API-10,
// API-11, API-13, ORD-03, GEN-06.
func TestAPurchaseOpensAService(t *testing.T) {
	m := consoletest.New(t)
	op := m.Operator()
	seller := m.Seller(op, "tides")
	buyer := m.Buyer("jane")
	product := m.Product(seller, op, "Tide tables", 1000, "9.90", 10000, "79")

	buyer.Get("/products/"+product.ID).Is(200).Sees("Tide tables", "¥9.90", "curl")
	buyer.Get("/checkout?plan=" + product.Plans[0]).Is(200).Sees("¥9.90")
	order := buyer.Buy(product.Plans[0], 1)
	m.Until("the service is active", func() bool { s := services(buyer); return len(s) == 1 && s[0].State == "active" })

	var s service
	buyer.API("GET", "/services/"+services(buyer)[0].ID, nil).Is(200).Read(&s)
	if s.Total != 1000 || s.Used != 0 || len(s.Access.Secrets) != 3 {
		t.Fatalf("service %+v", s)
	}
	buyer.Get("/services/"+s.ID).Is(200).Sees("AppKey", s.Access.Secrets[0].Value).SeesNot("secret-0000")
	var shown struct{ Value string }
	buyer.API("POST", s.Access.Secrets[2].Reveal, nil).Is(200).Read(&shown)
	if len(shown.Value) != 32 {
		t.Errorf("AppCode %q", shown.Value)
	}
	buyer.Get("/orders/"+order).Is(200).Sees("¥9.90", "Paid")

	// API-11b: bought on 24 November, it is shown to end on 25 November of the next year.
	if end := s.Parts[0].Until.In(m.Host().Zone).Format("2006-01-02 15:04"); end != "2027-11-25 00:00" {
		t.Errorf("ends %s", end)
	}
	if got := m.Gateway.Call(control.AppID(s.Access.App), control.ProductID(product.ID), 200); got != control.Charged {
		t.Fatalf("the call was %s", got)
	}
	buyer.API("GET", "/services/"+s.ID, nil).Is(200).Read(&s)
	if s.Used != 1 {
		t.Errorf("used %d, want 1", s.Used)
	}

	// A second package joins the same service and the same credentials (API-13).
	key := s.Access.Secrets[0].Value
	buyer.Buy(product.Plans[1], 2)
	m.Until("the packages are there", func() bool { s := services(buyer); return len(s) == 1 && s[0].Total == 21000 })
	buyer.API("GET", "/services/"+s.ID, nil).Is(200).Read(&s)
	if len(s.Parts) != 3 || s.Access.Secrets[0].Value != key {
		t.Errorf("after the second purchase: %+v", s)
	}

	// The operator sees it package by package (OPR-01).
	op.Get("/operator/usage").Is(200).Sees("Tide tables", "jane Ltd", "tides Ltd")
	var usage struct {
		Packages []struct {
			ID                     string
			Total, Used, Remaining int64
		}
		Sum struct{ Total, Used int64 }
	}
	m.Until("the operator's list has the packages", func() bool {
		op.API("GET", "/operator/usage", nil).Is(200).Read(&usage)
		return usage.Sum.Total == 21000
	})
	if len(usage.Packages) != 3 || usage.Packages[0].Used != 1 || usage.Sum.Total != 21000 || usage.Sum.Used != 1 {
		t.Errorf("usage %+v", usage)
	}
	op.Get("/operator/usage/"+usage.Packages[0].ID).Is(200).Sees("2xx", "8000-000000000001")
	op.Get("/operator/usage.csv").Is(200).Sees("Tide tables", ",1000,1,999,")
}

// UNP-02, UNP-03, BUY-03, BUY-15.
func TestUnpaidOrders(t *testing.T) {
	m := consoletest.New(t)
	op := m.Operator()
	seller := m.Seller(op, "tides")
	buyer := m.Buyer("jane")
	product := m.Product(seller, op, "Tide tables", 1000, "9.90")

	// To send the form twice places one order.
	first := buyer.Post("/orders", "plan", product.Plans[0], "count", "1", "once", "k1").Is(303).Header.Get("Location")
	again := buyer.Post("/orders", "plan", product.Plans[0], "count", "1", "once", "k1").Is(303).Header.Get("Location")
	if first != again {
		t.Errorf("%s and %s: two orders from one form", first, again)
	}
	buyer.Get("/orders?state=unpaid").Is(200).Sees("1 order", "Unpaid")
	var order struct{ ID string }
	buyer.API("POST", "/orders", map[string]any{"plan": product.Plans[0], "count": 1}).Is(201).Read(&order)
	buyer.Pay(order.ID)
	m.Until("it is paid", func() bool {
		var o struct{ State string }
		buyer.API("GET", "/orders/"+order.ID, nil).Is(200).Read(&o)
		return o.State == "paid"
	})
	// A second payment of a paid order changes nothing.
	buyer.API("POST", "/orders/"+order.ID+"/pay", map[string]any{"payer": "sandbox"}).Is(409).Code("payment.already_paid")
	buyer.API("POST", "/orders/"+order.ID+"/cancel", nil).Is(409).Code("order.cannot_cancel")

	buyer.API("POST", "/orders", map[string]any{"plan": product.Plans[0], "count": 1}).Is(201).Read(&order)
	m.Pass(31 * time.Minute)
	m.Until("it lapsed", func() bool {
		var o struct{ State string }
		buyer.API("GET", "/orders/"+order.ID, nil).Is(200).Read(&o)
		return o.State == "closed"
	})
	buyer.API("POST", "/orders/"+order.ID+"/pay", map[string]any{"payer": "sandbox"}).Is(409).Code("payment.order_closed")
}

func TestBadOrdersChangeNothing(t *testing.T) {
	m := consoletest.New(t)
	op := m.Operator()
	seller := m.Seller(op, "tides")
	jane, joe := m.Buyer("jane"), m.Buyer("joe")
	product := m.Product(seller, op, "Tide tables", 1000, "9.90")
	plan := product.Plans[0]

	for _, count := range []any{0, -1, 1001} {
		jane.API("POST", "/orders", map[string]any{"plan": plan, "count": count}).Is(422).Code("order.count")
	}
	jane.API("POST", "/orders", map[string]any{"plan": plan, "count": "x"}).Is(422).Code("field.type")
	jane.API("POST", "/orders", map[string]any{"plan": plan, "price": 1}).Is(422).Code("field.unknown") // A3: no writable price
	jane.API("POST", "/orders", map[string]any{"plan": "pln_none"}).Is(404).Code("catalog.no_such_plan")
	var l struct{ Total int }
	if jane.API("GET", "/orders", nil).Is(200).Read(&l); l.Total != 0 {
		t.Errorf("%d orders after nothing but bad ones", l.Total)
	}
	var order struct{ ID string }
	jane.API("POST", "/orders", map[string]any{"plan": plan}).Is(201).Read(&order)
	for _, path := range []string{"/orders/" + order.ID, "/orders/" + order.ID + "/pay"} {
		joe.API("GET", path, nil).Is(404).Code("order.missing") // A1: another's order is not there
	}
	joe.API("POST", "/orders/"+order.ID+"/cancel", nil).Is(404).Code("order.missing")
	seller.API("POST", "/seller/products/"+product.ID+"/withdraw", nil).Is(200)
	jane.API("POST", "/orders", map[string]any{"plan": plan}).Is(409).Code("order.not_for_sale")
}
