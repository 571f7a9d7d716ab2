package gateway

import (
	"slices"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/ledger"
)

// change makes what the ledger tells of what calls see. What it costs depends on what has
// changed; only a changed secret has all routes prepared anew, as any of them may name it.
func (s *Server) change(n *ledger.Changes) {
	if n.All || len(n.Certificates) > 0 || len(n.Secrets) > 0 || len(n.Groups) > 0 {
		s.certify(n.Whole())
	}
	if n.All {
		s.build(n.Number, n.Groups, n.Routes)
		return
	}
	if len(n.Secrets) > 0 {
		all := n.Whole()
		s.build(n.Number, all.Groups, all.Routes)
		return
	}
	routes := n.Routes
	if len(n.Upstreams) > 0 {
		for _, r := range n.Whole().Routes {
			via := func(u *control.Upstream) bool { return u.ID == r.Via }
			same := func(other *control.Route) bool { return other.ID == r.ID }
			if r.Via != "" && slices.ContainsFunc(n.Upstreams, via) && !slices.ContainsFunc(routes, same) {
				routes = append(routes, r)
			}
		}
	}
	s.buildMu.Lock()
	defer s.buildMu.Unlock()
	s.number = n.Number
	s.routes.Update(n.Groups, routes, s.prepare)
}
