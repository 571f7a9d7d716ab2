// Package api is the product type that is called through the gateway (API商品): to open
// one is to let the buyer's app call it and to give the app a package of calls.
package api

import (
	"context"

	"github.com/souk-market/souk/console"
	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/gateway/control"
)

func init() { console.Register(new(Plugin)) }

// Plugin is the kind.
type Plugin struct {
	gateway control.Plane
	apps    market.Apps
	apis    market.APIs
	base    string
}

var (
	_ console.Offerer     = (*Plugin)(nil)
	_ console.Provisioner = (*Plugin)(nil)
	_ market.Kind         = (*Plugin)(nil)
	_ market.Accessible   = (*Plugin)(nil)
	_ market.Metered      = (*Plugin)(nil)
)

// Plugin names it.
func (*Plugin) Plugin() console.Info {
	return console.Info{ID: "kind.api", New: func() console.Plugin { return new(Plugin) }}
}

// Offer makes it a kind.
func (p *Plugin) Offer(h *console.Host) { console.Offer[market.Kind](h, p) }

// Provision finds the gateway and the buyers' apps.
func (p *Plugin) Provision(h *console.Host) (err error) {
	p.gateway, p.base = h.Gateway, h.Config.GatewayAddress
	if p.apps, err = console.Need[market.Apps](h); err != nil {
		return err
	}
	p.apis, err = console.Need[market.APIs](h)
	return err
}

// KindInfo: packages join, and are never refunded (REF-11).
func (*Plugin) KindInfo() market.KindInfo { return market.KindInfo{ID: "api", Joins: true} }

// Ready asks whether the group can be sold: it is the seller's and has interfaces, each
// with an upstream.
func (p *Plugin) Ready(ctx context.Context, seller market.AccountID, source market.SourceID) error {
	choices, err := p.apis.Choices(ctx, seller)
	if err != nil {
		return err
	}
	for _, c := range choices {
		if c.Source != source {
			continue
		}
		if c.Problem != "" {
			return &market.Error{Kind: market.Conflict, Code: c.Problem}
		}
		return nil
	}
	return &market.Error{Kind: market.Invalid, Code: "form.invalid", Fields: []market.Field{{Name: "source", Code: "apis.no_group"}}}
}

func grant(s market.Service, app market.AppID, live bool) *control.Grant {
	return &control.Grant{ID: control.GrantID(market.GrantOf(s.ID)), App: control.AppID(app), Product: control.ProductID(s.Product), Live: live}
}

// Open grants the buyer's app the product, and gives it the calls that were paid for.
func (p *Plugin) Open(ctx context.Context, s market.Service, part market.Part) error {
	app, err := p.apps.For(ctx, s.Buyer)
	if err != nil {
		return err
	}
	g := grant(s, app.ID, true)
	return p.gateway.Apply(ctx, g, &control.Package{ID: control.PackageID(part.ID), Grant: g.ID, Calls: part.Calls,
		From: part.From, Until: part.Until, Live: true})
}

// Suspend stops calls at once; what is left of the packages stays.
func (p *Plugin) Suspend(ctx context.Context, s market.Service) error {
	return p.setLive(ctx, s, false)
}

// Resume lets calls through again.
func (p *Plugin) Resume(ctx context.Context, s market.Service) error { return p.setLive(ctx, s, true) }

// Close ends the grant.
func (p *Plugin) Close(ctx context.Context, s market.Service) error { return p.setLive(ctx, s, false) }

func (p *Plugin) setLive(ctx context.Context, s market.Service, live bool) error {
	app, err := p.apps.For(ctx, s.Buyer)
	if err != nil {
		return err
	}
	return p.gateway.Apply(ctx, grant(s, app.ID, live))
}

// Access shows the app's credentials, masked, and where calls go.
func (p *Plugin) Access(ctx context.Context, s market.Service) (market.Access, error) {
	app, err := p.apps.For(ctx, s.Buyer)
	if err != nil {
		return market.Access{}, err
	}
	secrets, err := p.apps.Secrets(ctx, app.ID)
	if err != nil {
		return market.Access{}, err
	}
	api, err := p.apis.API(ctx, s.Source)
	return market.Access{App: app.ID, AppName: app.Name, Base: p.base, Domain: api.Domain, Secrets: secrets}, err
}

// Uses asks the gateway, which alone counts.
func (p *Plugin) Uses(ctx context.Context, services ...market.ServiceID) (map[market.ServiceID][]market.Use, error) {
	grants := make([]control.GrantID, len(services))
	of := make(map[control.GrantID]market.ServiceID, len(services))
	for i, s := range services {
		grants[i] = control.GrantID(market.GrantOf(s))
		of[grants[i]] = s
	}
	balances, err := p.gateway.Balances(ctx, grants...)
	if err != nil {
		return nil, err
	}
	uses := make(map[market.ServiceID][]market.Use, len(services))
	for _, b := range balances {
		s := of[b.Grant]
		uses[s] = append(uses[s], market.Use{Part: market.PartID(b.Package), Total: b.Total, Used: b.Used,
			Remaining: b.Remaining + b.Held, LastCall: b.LastCall})
	}
	return uses, nil
}
