package service

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/gateway/storage"
)

// State is where a service or one of its parts stands (SVC-04).
type State string

// The states of this walk; suspension and refunds come with their plug-ins.
const (
	Opening State = "opening" // 开通中
	Active  State = "active"  // 已开通
	Closed  State = "closed"  // 已关闭
)

// service is a purchased service with what only this plug-in knows of it.
type service struct {
	market.Service
	State   State
	Remark  string
	Created int64
}

type part struct {
	market.Part
	State State
}

// paid makes a service, or joins the one that the buyer has, and one part for each unit
// that was bought: n of a plan are n parts, each with its own end (Q12). The IDs follow
// from the order line, so that a delivery that comes twice makes nothing twice.
func (p *Plugin) paid(ctx context.Context, tx *storage.Tx, e market.OrderPaid) error {
	for _, line := range e.Lines {
		kind := p.kinds[line.Offer.Kind]
		if kind == nil {
			return fmt.Errorf("order %s: no plug-in opens the kind %q", e.Order, line.Offer.Kind)
		}
		s, err := p.serviceFor(ctx, tx, e, line, kind.KindInfo())
		if err != nil {
			return err
		}
		for n := range line.Count {
			part := market.Part{
				ID:    market.PartID(fmt.Sprintf("pkg_%s%03d", strings.TrimPrefix(string(line.ID), "lin_"), n)),
				Order: e.Order, Line: line.ID, Title: line.Offer.Title, Calls: line.Offer.Calls,
				From: e.At, Until: market.PeriodEnd(e.At, line.Offer.Months, p.zone),
			}
			fresh, err := insertPart(ctx, tx, s.ID, part)
			if err != nil {
				return err
			}
			if !fresh {
				continue
			}
			if err := p.bus.Tell(ctx, tx, market.ServiceOpening{Service: s, Part: part, At: e.At}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *Plugin) serviceFor(ctx context.Context, tx *storage.Tx, e market.OrderPaid, line market.OrderLine, kind market.KindInfo) (market.Service, error) {
	if kind.Joins {
		have, err := findJoinable(ctx, tx, e.Buyer, line.Offer.Product)
		if err != nil || have.ID != "" {
			return have.Service, err
		}
	}
	s := market.Service{
		ID:    market.ServiceID("svc_" + strings.TrimPrefix(string(line.ID), "lin_")),
		Buyer: e.Buyer, Product: line.Offer.Product, Seller: e.Seller, Kind: line.Offer.Kind, Source: line.Offer.Source,
		Charge: line.Offer.Charge, Name: line.Offer.Name,
	}
	return s, insertService(ctx, tx, s, e.At)
}

// open asks the kind to open a part: the step that reaches outside and may be repeated.
func (p *Plugin) open(ctx context.Context, e market.ServiceOpening) (struct{}, error) {
	kind := p.kinds[e.Service.Kind]
	if kind == nil {
		return struct{}{}, fmt.Errorf("no plug-in opens the kind %q", e.Service.Kind)
	}
	return struct{}{}, kind.Open(ctx, e.Service, e.Part)
}

// opened notes that it is open.
func (p *Plugin) opened(ctx context.Context, tx *storage.Tx, e market.ServiceOpening, _ struct{}) error {
	n, err := tx.Exec(ctx, `UPDATE service_part SET state = 'active' WHERE id = ? AND state = 'opening'`, e.Part.ID)
	if err != nil || n == 0 {
		return err
	}
	if _, err := tx.Exec(ctx, `UPDATE service_service SET state = 'active' WHERE id = ? AND state = 'opening'`, e.Service.ID); err != nil {
		return err
	}
	return p.bus.Tell(ctx, tx, market.ServiceActive{Service: e.Service, Part: e.Part, At: p.now()})
}

// OfBuyer lists a buyer's open services of a kind.
func (p *Plugin) OfBuyer(ctx context.Context, buyer market.AccountID, kind market.KindID) ([]market.Service, error) {
	return listOpen(ctx, p.db.Read(), buyer, kind)
}

const remarkMax = 60

// Remark sets the buyer's own note on a service (SVC-03).
func (p *Plugin) Remark(ctx context.Context, who *market.Actor, id market.ServiceID, text string) error {
	text = strings.TrimSpace(text)
	var f market.Form
	f.Check(utf8.RuneCountInString(text) <= remarkMax, "remark", "service.remark_length", "max", fmt.Sprint(remarkMax))
	if err := f.Err(); err != nil {
		return err
	}
	return p.db.Tx(ctx, func(tx *storage.Tx) error {
		n, err := tx.Exec(ctx, `UPDATE service_service SET remark = ? WHERE id = ? AND buyer = ?`, text, id, who.Account)
		if err == nil && n == 0 {
			err = market.NotFound("service.missing")
		}
		return err
	})
}
