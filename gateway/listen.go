package gateway

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// listener accepts no more connections than there are places; further ones wait in the
// kernel's queue, and get neither an answer nor memory.
type listener struct {
	net.Listener
	places chan struct{}
	perIP  int
	once   sync.Once
	shut   chan struct{}
	wait   sync.WaitGroup // for the connections

	mu    sync.Mutex // guards count
	count map[netip.Addr]int
}

func newListener(l net.Listener, most, perIP int) *listener {
	return &listener{Listener: l, places: make(chan struct{}, most), perIP: perIP, shut: make(chan struct{}), count: map[netip.Addr]int{}}
}

// each serves every connection in a goroutine of its own, until Close.
func (l *listener) each(serve func(net.Conn)) error {
	pause := time.Duration(0)
	for {
		select {
		case l.places <- struct{}{}:
		case <-l.shut:
			return nil
		}
		c, err := l.Accept()
		if err != nil {
			<-l.places
			select {
			case <-l.shut:
				return nil
			default:
			}
			// No descriptors left, or the like: it passes, and must not be waited for in a
			// tight loop (X21).
			var t interface{ Temporary() bool }
			if !errors.As(err, &t) || !t.Temporary() {
				return err
			}
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(pause):
			case <-l.shut:
				return nil
			}
			continue
		}
		pause = 0
		from, ok := l.admit(c)
		if !ok {
			_ = c.Close() // its address has enough of them
			<-l.places
			continue
		}
		l.wait.Go(func() {
			serve(c)
			l.release(from)
			<-l.places
		})
	}
}

// admit counts a connection of an address.
func (l *listener) admit(c net.Conn) (netip.Addr, bool) {
	a, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok || l.perIP == 0 {
		return netip.Addr{}, true
	}
	from := a.AddrPort().Addr().Unmap()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count[from] >= l.perIP {
		return from, false
	}
	l.count[from]++
	return from, true
}

func (l *listener) release(from netip.Addr) {
	if l.perIP == 0 || !from.IsValid() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count[from]--; l.count[from] <= 0 {
		delete(l.count, from)
	}
}

// Close may be called again.
func (l *listener) Close() (err error) {
	l.once.Do(func() {
		close(l.shut)
		err = l.Listener.Close()
	})
	return err
}
