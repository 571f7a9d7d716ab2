package gateway

// Raced says that the race detector is on, and all takes ten times as long.
const Raced = raced

// Sweep has the sweeper look once more for who is too slow.
func (s *Server) Sweep() { s.sweep.look(s.clock.Load()) }
