package catalog

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/gateway/storage"
)

// Create begins a product from a source that is ready to become one.
func (p *Plugin) Create(ctx context.Context, who *market.Actor, kind market.KindID, source market.SourceID, s Sheet) (market.ProductID, error) {
	if err := p.checkSheet(ctx, &s); err != nil {
		return "", err
	}
	k := p.kinds[kind]
	if k == nil {
		return "", &market.Error{Kind: market.Invalid, Code: "form.invalid", Fields: []market.Field{{Name: "kind", Code: "catalog.unknown_kind"}}}
	}
	if err := k.Ready(ctx, who.Account, source); err != nil {
		return "", err
	}
	now := p.now()
	pr := product{ID: market.ProductID(market.NewID("prd", now)), Seller: who.Account, Kind: kind, Source: source,
		Draft: &s, Stage: Draft, Moved: storage.Millis(now), Created: storage.Millis(now)}
	p.namePlans(&s, nil)
	err := p.db.Tx(ctx, func(tx *storage.Tx) error { return insert(ctx, tx, pr) })
	if p.db.Unique(err) {
		return "", &market.Error{Kind: market.Conflict, Code: "catalog.source_used"}
	}
	return pr.ID, err
}

func (p *Plugin) checkSheet(ctx context.Context, s *Sheet) error {
	cats, err := categoriesByID(ctx, p.db.Read())
	if err != nil {
		return err
	}
	return s.check(cats)
}

// namePlans gives new plans an ID; one that the product does not have is new.
func (p *Plugin) namePlans(s *Sheet, old *Sheet) {
	for i := range s.Plans {
		known := func(have Plan) bool { return have.ID == s.Plans[i].ID }
		if s.Plans[i].ID == "" || old == nil || !slices.ContainsFunc(old.Plans, known) {
			s.Plans[i].ID = market.PlanID(market.NewID("pln", p.now()))
		}
	}
}

// change reads a product of the actor's, lets f change it, and writes it.
func (p *Plugin) change(ctx context.Context, who *market.Actor, id market.ProductID, f func(*storage.Tx, *product) error) error {
	return p.db.Tx(ctx, func(tx *storage.Tx) error {
		pr, err := findMine(ctx, tx, who, id)
		if err != nil {
			return err
		}
		pr.Moved = storage.Millis(p.now())
		if err := f(tx, &pr); err != nil {
			return err
		}
		return update(ctx, tx, pr)
	})
}

// Save writes the draft. What is listed stays as it is until the draft is approved.
func (p *Plugin) Save(ctx context.Context, who *market.Actor, id market.ProductID, s Sheet) error {
	if err := p.checkSheet(ctx, &s); err != nil {
		return err
	}
	return p.change(ctx, who, id, func(_ *storage.Tx, pr *product) error {
		if pr.Stage == InReview {
			return &market.Error{Kind: market.Conflict, Code: "catalog.in_review"}
		}
		old := pr.sheet()
		p.namePlans(&s, &old)
		pr.Draft, pr.Stage = &s, Draft
		return nil
	})
}

// Submit hands the draft to the operator.
func (p *Plugin) Submit(ctx context.Context, who *market.Actor, id market.ProductID) error {
	before, err := findMine(ctx, p.db.Read(), who, id)
	if err != nil {
		return err
	}
	if k := p.kinds[before.Kind]; k != nil {
		if err := k.Ready(ctx, who.Account, before.Source); err != nil {
			return err
		}
	}
	return p.change(ctx, who, id, func(_ *storage.Tx, pr *product) error {
		if pr.Draft == nil || pr.Stage != Draft && pr.Stage != Rejected {
			return &market.Error{Kind: market.Conflict, Code: "catalog.nothing_to_submit"}
		}
		pr.Stage, pr.Reason = InReview, ""
		return nil
	})
}

// Withdraw ends new sales; those who bought keep what they have (SEL-07).
func (p *Plugin) Withdraw(ctx context.Context, who *market.Actor, id market.ProductID) error {
	return p.change(ctx, who, id, func(tx *storage.Tx, pr *product) error {
		if !pr.Open {
			return &market.Error{Kind: market.Conflict, Code: "catalog.not_listed"}
		}
		pr.Open = false
		if err := index(ctx, tx, *pr); err != nil {
			return err
		}
		return p.bus.Tell(ctx, tx, market.ProductWithdrawn{Product: pr.ID, At: p.now()})
	})
}

// Relist puts back what was approved last.
func (p *Plugin) Relist(ctx context.Context, who *market.Actor, id market.ProductID) error {
	names, err := p.accounts.Names(ctx, who.Account)
	if err != nil {
		return err
	}
	return p.change(ctx, who, id, func(tx *storage.Tx, pr *product) error {
		if pr.Open || pr.Live == nil {
			return &market.Error{Kind: market.Conflict, Code: "catalog.not_withdrawn"}
		}
		return p.list(ctx, tx, pr, names[pr.Seller])
	})
}

// list puts what is live on the shelf.
func (p *Plugin) list(ctx context.Context, tx *storage.Tx, pr *product, seller string) error {
	now := p.now()
	pr.Open = true
	if pr.Listed == 0 {
		pr.Listed = storage.Millis(now)
	}
	for _, plan := range pr.Live.Plans {
		if err := insertPlan(ctx, tx, plan.ID, pr.ID); err != nil {
			return err
		}
	}
	if err := index(ctx, tx, *pr, seller); err != nil {
		return err
	}
	return p.bus.Tell(ctx, tx, market.ProductListed{Product: pr.ID, Seller: pr.Seller, Kind: pr.Kind, Source: pr.Source,
		Charge: pr.Live.Charge, Name: pr.Live.Name, At: now})
}

// Approve makes a submitted draft what is listed.
func (p *Plugin) Approve(ctx context.Context, id market.ProductID) error {
	before, err := find(ctx, p.db.Read(), id)
	if err != nil {
		return err
	}
	names, err := p.accounts.Names(ctx, before.Seller)
	if err != nil {
		return err
	}
	return p.decide(ctx, id, func(tx *storage.Tx, pr *product) error {
		pr.Live, pr.Draft, pr.Stage, pr.Reason = pr.Draft, nil, None, ""
		return p.list(ctx, tx, pr, names[pr.Seller])
	})
}

// Reject sends a draft back with a reason.
func (p *Plugin) Reject(ctx context.Context, id market.ProductID, reason string) error {
	reason = strings.TrimSpace(reason)
	var f market.Form
	f.Check(reason != "" && utf8.RuneCountInString(reason) <= 500, "reason", "catalog.reason", "max", "500")
	if err := f.Err(); err != nil {
		return err
	}
	return p.decide(ctx, id, func(_ *storage.Tx, pr *product) error {
		pr.Stage, pr.Reason = Rejected, reason
		return nil
	})
}

func (p *Plugin) decide(ctx context.Context, id market.ProductID, f func(*storage.Tx, *product) error) error {
	return p.db.Tx(ctx, func(tx *storage.Tx) error {
		pr, err := find(ctx, tx, id)
		if err != nil {
			return err
		}
		if pr.Stage != InReview {
			return &market.Error{Kind: market.Conflict, Code: "catalog.not_in_review"}
		}
		pr.Moved = storage.Millis(p.now())
		if err := f(tx, &pr); err != nil {
			return err
		}
		return update(ctx, tx, pr)
	})
}

// slots are the placements on the home page that an operator fills (CAT-01).
var slots = []string{"headline", "pick", "campaign"}

// Place puts a product into a slot of the home page, or takes it out.
func (p *Plugin) Place(ctx context.Context, id market.ProductID, slot string, in bool) error {
	if !slices.Contains(slots, slot) {
		return &market.Error{Kind: market.Invalid, Code: "form.invalid", Fields: []market.Field{{Name: "slot", Code: "catalog.unknown_slot"}}}
	}
	return p.db.Tx(ctx, func(tx *storage.Tx) error {
		pr, err := find(ctx, tx, id)
		if err != nil {
			return err
		}
		if !in {
			_, err = tx.Exec(ctx, `DELETE FROM catalog_placement WHERE slot = ? AND product = ?`, slot, pr.ID)
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO catalog_placement (slot, product, sort) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`,
			slot, pr.ID, storage.Millis(p.now()))
		return err
	})
}

// sold counts an order's lines once each (CAT-18).
func (p *Plugin) sold(ctx context.Context, tx *storage.Tx, e market.OrderPaid) error {
	for _, l := range e.Lines {
		_, err := tx.Exec(ctx, `INSERT INTO catalog_sale (line, product, count, at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			l.ID, l.Offer.Product, l.Count, storage.Millis(e.At))
		if err != nil {
			return err
		}
	}
	return nil
}

// offerOf is a plan as it is today. A plan that the listed version no longer has, or whose
// product is not for sale, is not open.
func (*Plugin) offerOf(pr product, plan Plan) market.Offer {
	return market.Offer{
		Plan:    market.Plan{ID: plan.ID, Title: plan.Title(), Price: plan.Price, Calls: plan.Calls, Months: plan.Months},
		Product: pr.ID, Name: pr.Live.Name, Category: pr.Live.Category, Kind: pr.Kind, Seller: pr.Seller, Source: pr.Source,
		Charge: pr.Live.Charge, Open: pr.Open,
	}
}

// shelf answers market.Shelf; Plugin itself cannot, since Offer is a power's name.
type shelf struct{ p *Plugin }

// Offer is Missing if no listed version ever had the plan.
func (s shelf) Offer(ctx context.Context, id market.PlanID) (market.Offer, error) {
	pr, err := findByPlan(ctx, s.p.db.Read(), id)
	if err != nil {
		return market.Offer{}, err
	}
	for _, plan := range pr.Live.Plans {
		if plan.ID == id {
			return s.p.offerOf(pr, plan), nil
		}
	}
	return market.Offer{Plan: market.Plan{ID: id}, Product: pr.ID, Name: pr.Live.Name}, nil
}
