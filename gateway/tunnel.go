package gateway

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// tunnel goes on with an upgraded connection: bytes both ways, until either side ends or
// both say nothing for too long. What it costs was settled at the head.
func (t *turn) tunnel() bool {
	c, ok := t.to.(*conn)
	if !ok {
		return false // HTTP/2 has no upgrade, so none was asked for
	}
	c.last = true
	seller, early := t.stream.Switched()
	c.out = appendAnswer(c.out[:0], t.c, 0, true)
	c.out = append(append(append(c.out, "Connection: Upgrade\r\nUpgrade: "...), t.c.Upgrade...), "\r\n\r\n"...)
	c.out = append(c.out, early...)
	if c.flush() != nil {
		return false
	}
	c.enter(phaseWatched)
	over := make(chan struct{})
	end := sync.OnceFunc(func() {
		close(over)
		_ = c.Conn.Close() // neither end is of use without the other
		_ = seller.Close()
	})
	p := pipes{idle: t.s.options.TunnelTimeout}
	p.moved.Store(time.Now().UnixNano())
	var wait sync.WaitGroup
	wait.Go(func() {
		select {
		case <-t.s.life.Done():
			end()
		case <-over:
		}
	})
	wait.Go(func() {
		defer end()
		if c.r < c.w {
			if _, err := seller.Write(c.in[c.r:c.w]); err != nil {
				return
			}
		}
		p.copy(seller, c.Conn)
	})
	p.copy(c.Conn, seller)
	end()
	wait.Wait()
	return true
}

// pipes are the two directions of a tunnel, which is idle only if both are.
type pipes struct {
	idle  time.Duration
	moved atomic.Int64 // nanoseconds: when either had something
}

// copy copies from one end to the other until one of them ends.
func (p *pipes) copy(to, from net.Conn) {
	room := make([]byte, 16<<10)
	for {
		if from.SetReadDeadline(time.Now().Add(p.idle)) != nil {
			return
		}
		n, err := from.Read(room)
		if n > 0 {
			p.moved.Store(time.Now().UnixNano())
			if to.SetWriteDeadline(time.Now().Add(p.idle)) != nil {
				return
			}
			if _, err := to.Write(room[:n]); err != nil {
				return
			}
		}
		quiet := time.Since(time.Unix(0, p.moved.Load())) >= p.idle
		if err != nil && (quiet || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return
		}
	}
}
