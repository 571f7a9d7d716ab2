package gateway

import (
	"net"
	"syscall"
)

// startLoops makes the loops, one for each processor.
func (s *Server) startLoops(n int) error {
	for range n {
		l, err := newLoop(s)
		if err != nil {
			return err
		}
		s.loops = append(s.loops, l)
		go l.run()
	}
	return nil
}

// serveLoops has the loops accept on a listener until it is closed; false: they cannot.
func (s *Server) serveLoops(own *listener) bool {
	tcp, ok := own.Listener.(*net.TCPListener)
	if !ok || len(s.loops) == 0 {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	var doors []int
	for range s.loops {
		fd := -1
		// The loop's own descriptor, so that closing the listener cannot make it another's.
		if raw.Control(func(l uintptr) { fd, err = syscall.Dup(int(l)) }) != nil || err != nil {
			break
		}
		syscall.CloseOnExec(fd)
		doors = append(doors, fd)
	}
	if len(doors) < len(s.loops) {
		for _, fd := range doors {
			_ = syscall.Close(fd)
		}
		return false
	}
	for i, l := range s.loops {
		l.do(func() { l.open(own, doors[i]) })
	}
	<-own.shut
	for i, l := range s.loops {
		shut := make(chan struct{})
		if l.do(func() { l.shut(doors[i]); close(shut) }) {
			select {
			case <-shut:
			case <-l.ended:
			}
		}
	}
	return true
}

// visits is how many callers' connections the loops have.
func (s *Server) visits() (n int64) {
	for _, l := range s.loops {
		n += l.count.Load()
	}
	return n
}

// scarce has all close the idle connections to sellers, but not more than ten times a second.
func (s *Server) scarce() {
	now := s.clock.Load()
	if last := s.dropped.Load(); now-last < 100 || !s.dropped.CompareAndSwap(last, now) {
		return
	}
	for _, l := range s.loops {
		l.do(l.dropIdle)
	}
	go s.proxy.DropIdle() // the pools have locks
}

// sweepLoops has the loops look at once for what has no time left.
func (s *Server) sweepLoops() {
	for _, l := range s.loops {
		l.do(l.sweep)
	}
}

// abortLoops ends what is under way: calls fail as if their sellers had closed.
func (s *Server) abortLoops() {
	for _, l := range s.loops {
		l.do(func() {
			l.links.each(func(k *link) {
				if k.visit != nil {
					l.closedBy(k, syscall.ECONNABORTED)
				}
			})
		})
	}
}

// killLoops ends all connections of the loops.
func (s *Server) killLoops() {
	for _, l := range s.loops {
		l.do(func() {
			l.closed = true
			l.visits.each(l.leave)
		})
	}
}

// stopLoops ends the loops, and waits for that.
func (s *Server) stopLoops() {
	for _, l := range s.loops {
		l.do(nil)
		<-l.ended
	}
}
