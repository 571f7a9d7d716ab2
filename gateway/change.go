package gateway

import "github.com/souk-market/souk/gateway/ledger"

// change makes what the ledger tells of what calls see. What it costs depends on what has
// changed: the ledger names the routes that a changed upstream or secret concerns, too.
func (s *Server) change(n *ledger.Changes) {
	if n.All || len(n.Certificates) > 0 || len(n.Secrets) > 0 || len(n.Groups) > 0 {
		s.certify(n.Whole())
	}
	if n.All {
		s.build(n.Number, n.Groups, n.Routes)
		return
	}
	s.buildMu.Lock()
	defer s.buildMu.Unlock()
	s.number = n.Number
	s.routes.Update(n.Groups, n.Routes, s.prepare)
}
