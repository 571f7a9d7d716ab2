//go:build !linux

package gateway

// Loops are made of epoll, which only Linux has; elsewhere a goroutine serves each
// connection.
type loop struct{}

func (s *Server) startLoops(int) error      { return nil }
func (s *Server) serveLoops(*listener) bool { return false }
func (s *Server) visits() int64             { return 0 }
func (s *Server) sweepLoops()               {}
func (s *Server) abortLoops()               {}
func (s *Server) killLoops()                {}
func (s *Server) stopLoops()                {}
