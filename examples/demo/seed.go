package demo

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"strings"
	"time"

	"github.com/souk-market/souk/console/market"
)

// record is what the demo must remember between runs; the rest is in the databases.
type record struct {
	Complete bool             `json:"complete"` // false: a first run was interrupted
	Upstream string           `json:"upstream"` // address, "127.0.0.1:40123"
	Accounts []Account        `json:"accounts"`
	Products map[string]entry `json:"products"` // by key
}

// entry is where a product ended up.
type entry struct {
	Product string `json:"product"`
	Group   string `json:"group"`
	Seller  int    `json:"seller"`
	Bought  bool   `json:"bought"`
}

// Account is somebody to sign in as.
type Account struct {
	Role     string `json:"role"`
	Email    string `json:"email"`
	Password string `json:"password"`
	Token    string `json:"token"`
}

// people find their accounts in the record: buyer, sellers, operator.
func (r *record) buyer() Account       { return r.Accounts[0] }
func (r *record) seller(n int) Account { return r.Accounts[1+n] }
func (r *record) operator() Account    { return r.Accounts[1+len(sellers)] }

// password is one that nobody guesses and that can be typed.
func password() (string, error) {
	var b [10]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	s := strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
	return strings.Join([]string{s[:4], s[4:8], s[8:12], s[12:16]}, "-"), nil
}

// seeder fills an empty marketplace as its people would.
type seeder struct {
	console  string
	upstream string // "http://127.0.0.1:40123"
	now      func() time.Time
	record   *record
}

func (s *seeder) as(a Account) Client { return Client{Console: s.console, Token: a.Token} }

// seed makes people and products, and lets the buyer buy.
func (s *seeder) seed(ctx context.Context, setUpToken string) error {
	if err := s.people(ctx, setUpToken); err != nil {
		return fmt.Errorf("people: %w", err)
	}
	s.record.Products = map[string]entry{}
	// The home page shows the newest first: the headline comes last.
	for i := len(products) - 1; i >= 0; i-- {
		if err := s.list(ctx, products[i]); err != nil {
			return fmt.Errorf("product %s: %w", products[i].Key, err)
		}
	}
	if err := s.publish(ctx); err != nil {
		return err
	}
	for _, p := range products {
		if p.Bought > 0 {
			if err := s.buy(ctx, p); err != nil {
				return fmt.Errorf("buy %s: %w", p.Key, err)
			}
		}
	}
	return nil
}

type signedIn struct {
	Account string `json:"account"`
	Token   string `json:"token"`
}

func (s *seeder) people(ctx context.Context, setUpToken string) error {
	enter := func(role, company, person, email string) (signedIn, error) {
		var in signedIn
		pass, err := password()
		if err != nil {
			return in, err
		}
		body := map[string]any{"account": company, "name": person, "email": email, "password": pass}
		path := "/sign-up"
		if role == string(market.Operator) {
			path, body["token"] = "/setup", setUpToken
		}
		err = Client{Console: s.console}.Post(ctx, path, body, &in)
		s.record.Accounts = append(s.record.Accounts, Account{Role: role, Email: email, Password: pass, Token: in.Token})
		return in, err
	}
	if _, err := enter("buyer", "杭湖出行 Lakeside Trips", "陈杭 Chen Hang", "buyer@souk.example"); err != nil {
		return err
	}
	var ids []string
	for _, l := range sellers {
		in, err := enter("seller", l.Company, l.Person, l.Email)
		if err != nil {
			return err
		}
		ids = append(ids, in.Account)
	}
	if _, err := enter("operator", "集市运营 Souk", "何川 He Chuan", "operator@souk.example"); err != nil {
		return err
	}
	for _, id := range ids {
		roles := map[string]any{"roles": []string{"buyer", "seller"}}
		if err := s.as(s.record.operator()).Post(ctx, "/operator/accounts/"+id+"/roles", roles, nil); err != nil {
			return err
		}
	}
	return nil
}

// settings are a group's, as the API takes them.
func (p product) settings(upstream string) map[string]any {
	return map[string]any{"upstream": upstream, "app_code": p.AppCode, "allow_sha1": p.SHA1}
}

// list brings a product onto the shelf: its group, its sheet, the review.
func (s *seeder) list(ctx context.Context, p product) error {
	seller, operator := s.as(s.record.seller(p.Seller)), s.as(s.record.operator())
	group, err := s.group(ctx, seller, p)
	if err != nil {
		return err
	}
	plans := []map[string]any{}
	for _, l := range p.Plans {
		plans = append(plans, map[string]any{"calls": l.Calls, "price": l.Price, "months": l.Months})
	}
	var made struct {
		ID string `json:"id"`
	}
	sheet := map[string]any{"source": group, "name": p.Name, "summary": p.Summary, "detail": p.Detail, "category": p.Category,
		"charge": p.Charge, "plans": plans}
	if err := seller.Post(ctx, "/seller/products", sheet, &made); err != nil {
		return err
	}
	if err := seller.Post(ctx, "/seller/products/"+made.ID+"/submit", nil, nil); err != nil {
		return err
	}
	if err := operator.Post(ctx, "/operator/reviews/"+made.ID+"/approve", nil, nil); err != nil {
		return err
	}
	for _, slot := range p.Slots {
		if err := operator.Post(ctx, "/operator/products/"+made.ID+"/placement", map[string]any{"slot": slot, "in": true}, nil); err != nil {
			return err
		}
	}
	s.record.Products[p.Key] = entry{Product: made.ID, Group: group, Seller: p.Seller, Bought: p.Bought > 0}
	return nil
}

// group makes a product's API group: drawn where there is no description, else imported.
func (s *seeder) group(ctx context.Context, seller Client, p product) (string, error) {
	var made struct {
		ID string `json:"id"`
	}
	if len(p.Operations) > 0 && p.Operations[0].answer == nil {
		drawing := p.settings(s.upstream)
		interfaces := []map[string]any{}
		for _, op := range p.Operations {
			path := strings.NewReplacer("{", "[", "}", "]").Replace(op.Path)
			interfaces = append(interfaces, map[string]any{"method": op.Method, "path": path, "name": words("回声 "+op.Method+" "+path, "Echo "+op.Method+" "+path)})
		}
		drawing["name"], drawing["interfaces"] = p.Name, interfaces
		err := seller.Post(ctx, "/seller/apis", drawing, &made)
		return made.ID, err
	}
	text, err := p.document(s.upstream, s.now())
	if err != nil {
		return "", err
	}
	if err := seller.Post(ctx, "/seller/apis/import", map[string]any{"document": text, "name": p.Key + ".yaml"}, &made); err != nil {
		return "", err
	}
	return made.ID, seller.Post(ctx, "/seller/apis/"+made.ID+"/upstream", p.settings(s.upstream), nil)
}

// publish waits until each product is listed with the sellers' side too, and then gives
// the upstream again: that call returns when the gateway has the routes. It also brings
// routes to an upstream that has moved between runs.
func (s *seeder) publish(ctx context.Context) error {
	for _, p := range products {
		e := s.record.Products[p.Key]
		seller := s.as(s.record.seller(e.Seller))
		err := Until(ctx, p.Key+" is published", func() (bool, error) {
			var g struct {
				Published bool `json:"published"`
			}
			err := seller.Get(ctx, "/seller/apis/"+e.Group, &g)
			return g.Published, err
		})
		if err != nil {
			return err
		}
		if err := seller.Post(ctx, "/seller/apis/"+e.Group+"/upstream", p.settings(s.upstream), nil); err != nil {
			return err
		}
	}
	return nil
}

// buy orders a package, pays in the sandbox and waits until it can be used.
func (s *seeder) buy(ctx context.Context, p product) error {
	buyer := s.as(s.record.buyer())
	id := s.record.Products[p.Key].Product
	return Buy(ctx, buyer, id, p.Bought)
}

// Buy buys the plan of so many calls of a product, pays in the sandbox, and waits until
// the calls can be used.
func Buy(ctx context.Context, buyer Client, product string, calls int64) error {
	var shown struct {
		Plans []struct {
			ID    string `json:"id"`
			Calls int64  `json:"calls"`
		} `json:"plans"`
	}
	if err := buyer.Get(ctx, "/products/"+product, &shown); err != nil {
		return err
	}
	plan := ""
	for _, l := range shown.Plans {
		if l.Calls == calls {
			plan = l.ID
		}
	}
	var order struct {
		ID string `json:"id"`
	}
	if err := buyer.Post(ctx, "/orders", map[string]any{"plan": plan, "count": 1}, &order); err != nil {
		return err
	}
	var pay struct {
		ID    string `json:"id"`
		State string `json:"state"`
	}
	if err := buyer.Post(ctx, "/orders/"+order.ID+"/pay", map[string]any{"payer": "sandbox"}, &pay); err != nil {
		return err
	}
	if pay.State != "settled" {
		if err := buyer.Post(ctx, "/pay/sandbox/"+pay.ID, map[string]any{"result": "paid"}, nil); err != nil {
			return err
		}
	}
	return Until(ctx, "the package can be used", func() (bool, error) {
		have, err := Services(ctx, buyer)
		for _, v := range have {
			if v.Product != product {
				continue
			}
			for _, part := range v.Parts {
				if part.Order == order.ID && part.State != "opening" {
					return true, err
				}
			}
		}
		return false, err
	})
}

// Service is a purchased service with its packages.
type Service struct {
	ID      string `json:"id"`
	Product string `json:"product"`
	State   string `json:"state"`
	Total   int64  `json:"total"`
	Used    int64  `json:"used"`
	Parts   []Part `json:"parts"`
}

// Part is one of its packages.
type Part struct {
	ID    string `json:"id"`
	Order string `json:"order"`
	State string `json:"state"`
	Total int64  `json:"total"`
	Used  int64  `json:"used"`
}

// Services are all that a buyer has.
func Services(ctx context.Context, buyer Client) ([]Service, error) {
	var all []Service
	for before := ""; ; {
		var page struct {
			Services []Service `json:"services"`
			Next     string    `json:"next"`
		}
		if err := buyer.Get(ctx, "/services?before="+before, &page); err != nil {
			return nil, err
		}
		for _, row := range page.Services {
			var full Service
			if err := buyer.Get(ctx, "/services/"+row.ID, &full); err != nil {
				return nil, err
			}
			all = append(all, full)
		}
		if before = page.Next; before == "" {
			return all, nil
		}
	}
}
