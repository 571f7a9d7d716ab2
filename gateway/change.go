package gateway

import (
	"slices"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/ledger"
)

// change makes what changed in the configuration true for the calls that begin from here
// on. Of what did not change nothing is made anew.
func (s *Server) change(n *ledger.Changes) {
	if n.All {
		s.build(n.Number, n.Groups, n.Routes)
		return
	}
	s.buildMu.Lock()
	defer s.buildMu.Unlock()
	s.number = n.Number
	if slices.ContainsFunc(n.Routes, func(r *control.Route) bool { return r.Throttle != control.Throttle{} }) {
		s.throttle.Build(n.Whole().Routes)
	}
	s.routes.Update(n.Groups, n.Routes, s.prepare)
}

// prepare is a route.Preparer.
func (s *Server) prepare(_ *control.Group, r *control.Route) (any, *gate.Chain) {
	return s.proxy.Prepare(r), nil
}
