package gateway

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/souk-market/souk/gateway/proxy"
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

// newPlaces are the places of all callers: as many as asked for, but not more than there are
// descriptors when the sellers and the house have had theirs (X21).
func newPlaces(most int) chan struct{} {
	left := proxy.Descriptors() - 2*proxy.Reserved
	return make(chan struct{}, max(1, min(most, left-min(left/2, 1024))))
}

func newListener(l net.Listener, places chan struct{}, perIP int) *listener {
	return &listener{Listener: l, places: places, perIP: perIP, shut: make(chan struct{}), count: map[netip.Addr]int{}}
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
		from := peerOf(c)
		if !l.admitAddr(from) {
			_ = c.Close() // its address has enough of them
			<-l.places
			continue
		}
		l.wait.Go(func() {
			serve(c)
			l.leave(from)
		})
	}
}

// peerOf is who is at the other end.
func peerOf(c net.Conn) netip.Addr {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// admitAddr counts a connection of an address, unless it has enough of them.
func (l *listener) admitAddr(from netip.Addr) bool {
	if l.perIP == 0 || !from.IsValid() {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count[from] >= l.perIP {
		return false
	}
	l.count[from]++
	return true
}

// leave gives the place of a connection back.
func (l *listener) leave(from netip.Addr) {
	if l.perIP > 0 && from.IsValid() {
		l.mu.Lock()
		if l.count[from]--; l.count[from] <= 0 {
			delete(l.count, from)
		}
		l.mu.Unlock()
	}
	<-l.places
}

// Close may be called again.
func (l *listener) Close() (err error) {
	l.once.Do(func() {
		close(l.shut)
		err = l.Listener.Close()
	})
	return err
}
