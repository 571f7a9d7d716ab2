//go:build linux

package main

import (
	"bytes"
	"syscall"
)

// side is a connection of floor: a caller's, or one to the server behind.
type side struct {
	fd     int
	back   bool
	other  *side // whose answer this carries, or who answers this
	in     []byte
	reply  reply
	out    out
	closed bool
}

// floor passes requests and answers on and looks at nothing but where they end. A proxy
// between kept connections cannot do with less.
func floor(port, to int) error {
	l, err := newLoop()
	if err != nil {
		return err
	}
	listener, err := listen(port)
	if err != nil {
		return err
	}
	if err := l.add(listener, readable); err != nil {
		return err
	}
	sides := map[int]*side{}
	var idle []*side
	drop := func(s *side) {
		if s.closed {
			return
		}
		s.closed = true
		delete(sides, s.fd)
		_ = syscall.Close(s.fd) // of no more use
	}
	// both ends a pair of which one side has failed.
	both := func(s *side) {
		if s.other != nil {
			drop(s.other)
		}
		drop(s)
	}
	ask := func(s *side, request []byte) bool {
		for s.other == nil {
			if n := len(idle); n > 0 {
				if b := idle[n-1]; !b.closed {
					s.other, b.other = b, s
				}
				idle = idle[:n-1]
				continue
			}
			fd, err := dial(to)
			if err != nil {
				return false
			}
			b := &side{fd: fd, back: true, other: s}
			sides[fd], s.other = b, b
			if err := l.add(fd, readable); err != nil {
				return false
			}
		}
		return s.other.out.send(l, s.other.fd, request)
	}
	for {
		for _, e := range l.wait(-1) {
			fd := int(e.Fd)
			if fd == listener {
				for c := accept(listener); c >= 0; c = accept(listener) {
					sides[c] = &side{fd: c}
					if err := l.add(c, readable); err != nil {
						return err
					}
				}
				continue
			}
			s := sides[fd]
			if s == nil {
				continue
			}
			if e.Events&writable != 0 && !s.out.more(l, fd) {
				both(s)
				continue
			}
			if e.Events&^uint32(writable) == 0 {
				continue
			}
			b, ok := l.read(fd)
			if !ok {
				both(s)
				continue
			}
			if len(b) == 0 {
				continue
			}
			if s.back {
				caller := s.other
				if caller == nil {
					drop(s) // an answer that nobody asked for
					continue
				}
				done, err := s.reply.take(b)
				if err != nil || !caller.out.send(l, caller.fd, b) {
					both(s)
					continue
				}
				if done {
					s.other, caller.other = nil, nil
					idle = append(idle, s)
				}
				continue
			}
			if len(s.in) > 0 {
				s.in = append(s.in, b...)
				b = s.in
			}
			if !bytes.HasSuffix(b, []byte("\r\n\r\n")) {
				if len(s.in) == 0 {
					s.in = append(s.in, b...)
				}
				continue
			}
			if !ask(s, b) {
				both(s)
				continue
			}
			s.in = s.in[:0]
		}
	}
}
