//go:build linux

package main

import (
	"bytes"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// slow is how long /delay takes.
const slow = 20 * time.Millisecond

type asked struct {
	fd  int
	in  []byte
	out out
}

type owed struct {
	at time.Time
	to *asked
}

// upstream answers /64k with 64 KiB, /delay with 1 KiB after a while, all else with 1 KiB.
func upstream(port int) error {
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
	small, large := answerOf(1<<10), answerOf(64<<10)
	conns := map[int]*asked{}
	var queue []owed // the delay is always the same, so this is in order
	drop := func(c *asked) {
		delete(conns, c.fd)
		_ = syscall.Close(c.fd) // nobody is there
	}
	for {
		wait := time.Duration(-1)
		if len(queue) > 0 {
			wait = max(0, time.Until(queue[0].at))
		}
		for _, e := range l.wait(wait) {
			fd := int(e.Fd)
			if fd == listener {
				for c := accept(listener); c >= 0; c = accept(listener) {
					conns[c] = &asked{fd: c}
					if err := l.add(c, readable); err != nil {
						return err
					}
				}
				continue
			}
			c := conns[fd]
			if c == nil {
				continue
			}
			if e.Events&writable != 0 && !c.out.more(l, fd) {
				drop(c)
				continue
			}
			if e.Events&^uint32(writable) == 0 {
				continue
			}
			b, ok := l.read(fd)
			if !ok {
				drop(c)
				continue
			}
			if len(c.in) > 0 {
				c.in = append(c.in, b...)
				b = c.in
			}
			for ok {
				end := bytes.Index(b, []byte("\r\n\r\n"))
				if end < 0 {
					break
				}
				switch head := b[:end]; {
				case bytes.HasPrefix(head, []byte("GET /64k ")):
					ok = c.out.send(l, fd, large)
				case bytes.HasPrefix(head, []byte("GET /delay ")):
					queue = append(queue, owed{time.Now().Add(slow), c})
				default:
					ok = c.out.send(l, fd, small)
				}
				b = b[end+4:]
			}
			c.in = append(c.in[:0], b...)
			if !ok {
				drop(c)
			}
		}
		for len(queue) > 0 && !queue[0].at.After(time.Now()) {
			c := queue[0].to
			queue = queue[1:]
			if conns[c.fd] == c && !c.out.send(l, c.fd, small) {
				drop(c)
			}
		}
	}
}

// answerOf is an answer whose JSON has this many bytes.
func answerOf(size int) []byte {
	const frame = `{"text":""}`
	body := `{"text":"` + strings.Repeat("souk ", size/5+1)[:size-len(frame)] + `"}`
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nDate: Tue, 24 Nov 2026 08:00:00 GMT\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}
