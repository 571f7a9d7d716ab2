package apis

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/gateway/control"
)

// config is what a seller sets for the calls of a group, beside its settings.
type config struct {
	Limits        []Limit  `json:"limits,omitempty"`
	Filters       []filter `json:"filters,omitempty"`
	Allow         []string `json:"allow,omitempty"` // addresses
	Deny          []string `json:"deny,omitempty"`
	Sign          *signing `json:"sign,omitempty"`
	Backend       *Backend `json:"backend,omitempty"` // nil: the one upstream address is all
	Domains       []string `json:"domains,omitempty"` // beside the built-in one
	TestDomain    bool     `json:"test_domain,omitempty"`
	SecureAppCode bool     `json:"secure_app_code,omitempty"`
}

// whole is a group with all that the gateway is told of it.
type whole struct {
	group
	ifaces []iface
	key    *signKey // that signs what the seller gets; nil: none does
}

func (w *whole) iface(id string) *iface {
	for n := range w.ifaces {
		if w.ifaces[n].ID == id {
			return &w.ifaces[n]
		}
	}
	return nil
}

// changes are the facts that the gateway is to know of a group's own domains. A group that
// is not sold yet is there, too, though nobody can call it: so the gateway judges what a
// seller saves at once, and not when it is too late.
func (w *whole) changes(now time.Time) ([]control.Change, error) {
	id := control.GroupID(w.ID)
	filters, err := w.filters("", now)
	if err != nil {
		return nil, err
	}
	c := &w.Config
	g := &control.Group{ID: id, Name: w.Name.In("en"), Domains: append([]string{w.Domain}, c.Domains...), SecureAppCode: c.SecureAppCode,
		Filters: filters, Limits: w.limits(""), Live: w.Product != ""}
	if c.TestDomain && len(c.Domains) > 0 {
		g.TestDomain = w.Domain
	}
	changes := []control.Change{g}
	if c.Backend != nil {
		changes = append(changes, w.upstream())
	}
	for n := range w.ifaces {
		r, err := w.route(&w.ifaces[n], now)
		if err != nil {
			return nil, err
		}
		changes = append(changes, r)
	}
	return changes, nil
}

// notSold is the product of routes that nobody has listed; no app has a grant for it.
const notSold control.ProductID = "prd_none"

// nowhere stands for the server of a group that has none yet. No name ends like this (RFC 6761).
const nowhere = "http://upstream.invalid"

// route is an interface on the group's own domains.
func (w *whole) route(i *iface, now time.Time) (*control.Route, error) {
	filters, err := w.filters(i.ID, now)
	if err != nil {
		return nil, err
	}
	s, c := w.Settings, i.Config
	r := &control.Route{
		ID: control.RouteID(i.ID), Group: control.GroupID(w.ID), Product: control.ProductID(w.Product), Stage: control.Release,
		Name: i.Name.In("en"), Method: i.Method, Path: i.Path, Upstream: s.Upstream, UpstreamPath: c.UpstreamPath, Timeout: s.Timeout,
		AppCode: control.AppCodeSetting(w.appCode(i)), AllowSHA1: s.SHA1, ForceNonce: c.ForceNonce, Canonical: c.Canonical,
		MaxBody: c.MaxBody, Secure: c.Secure, Mode: control.Mode(c.Mode), Parameters: c.Parameters, Constants: c.Constants, Mock: c.Mock,
		Limits: w.limits(i.ID), Filters: filters, Charge: control.ChargeOn(w.Charge), Live: i.Chosen && w.Product != "",
	}
	if c.Timeout > 0 {
		r.Timeout = time.Duration(c.Timeout) * time.Millisecond
	}
	if c.SHA1 != "" {
		r.AllowSHA1 = c.SHA1 == "yes"
	}
	if c.Charge != "" {
		r.Charge = control.ChargeOn(c.Charge)
	}
	if w.Product == "" {
		r.Product = notSold
	}
	if w.Config.Backend != nil {
		r.Via = w.upstreamID()
	}
	if r.Upstream == "" && r.Mock == nil {
		r.Upstream = nowhere
	}
	return r, nil
}

// appCode is where the AppCode of a call to an interface may stand.
func (w *whole) appCode(i *iface) string {
	if i.Config.AppCode != "" {
		return i.Config.AppCode
	}
	return w.Settings.AppCode
}

// shared is an interface on the domains that all products share. The gateway's group there
// belongs to everybody, so what this group has stands on the route.
func (w *whole) shared(i *iface, now time.Time) (*control.Route, error) {
	r, err := w.route(i, now)
	if err != nil {
		return nil, err
	}
	all, err := w.filters("", now)
	if err != nil {
		return nil, err
	}
	r.ID, r.Group = r.ID+sharedMark, sharedGroup
	r.Filters = append(all, r.Filters...)
	for n := range r.Filters {
		r.Filters[n].With = apart(r.Filters[n], w.ID)
	}
	for _, l := range w.limits("") {
		if l.By == control.ByGroup {
			l.Name += " " + string(w.ID) // others have names, too, and count in the same group
		}
		r.Limits = append(r.Limits, l)
	}
	// A group refuses AppCodes over plain HTTP; a route can only refuse plain HTTP.
	r.Secure = r.Secure || w.Config.SecureAppCode
	return r, nil
}

// apart gives the word by which routes of a group share a breaker to this group alone:
// otherwise, on the shared domains, one seller's failures would stop another's calls.
func apart(f control.FilterSetting, id market.SourceID) control.Raw {
	var with map[string]any
	if f.Filter != "breaker" || json.Unmarshal(f.With, &with) != nil {
		return f.With
	}
	for name, v := range with {
		if word, ok := v.(string); ok && word != "" && strings.EqualFold(name, "share") { // as the gateway reads names
			with[name] = string(id) + " " + word
		}
	}
	b, err := json.Marshal(with)
	if err != nil {
		return f.With
	}
	return b
}

// limits are those of the whole group, or of one interface.
func (w *whole) limits(of string) (list []control.Limit) {
	for _, l := range w.Config.Limits {
		if l.Interface == of {
			list = append(list, l.control())
		}
	}
	return list
}

// filters are those of the whole group, or of one interface.
func (w *whole) filters(of string, now time.Time) (list []control.FilterSetting, err error) {
	put := func(id string, with any) {
		b, e := json.Marshal(with)
		if e != nil {
			err = fmt.Errorf("filter %s: %w", id, e)
		}
		list = append(list, control.FilterSetting{Filter: id, With: b})
	}
	c := &w.Config
	if of == "" && len(c.Allow)+len(c.Deny) > 0 {
		put("address", map[string]any{"allow": c.Allow, "deny": c.Deny})
	}
	if of == "" && c.Sign != nil && w.key != nil {
		put("sign", map[string]any{"keys": w.key.use(now), "headers": c.Sign.Headers, "digest": c.Sign.Digest})
	}
	for _, f := range c.Filters {
		if f.Interface == of {
			list = append(list, control.FilterSetting{Filter: f.Filter, With: control.Raw(f.With)})
		}
	}
	return list, err
}
