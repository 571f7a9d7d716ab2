package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// maxAddresses bounds how many addresses of one name are tried.
const maxAddresses = 8

// How long addresses of a name are used.
const (
	minTTL    = time.Second
	maxTTL    = 5 * time.Minute
	usualTTL  = 10 * time.Second // where nobody says: /etc/hosts and the like
	staleTTL  = 5 * time.Minute  // the last good answer, while the DNS fails
	tryDNSFor = 2 * time.Second  // a question that nobody waits for
)

// names remembers the addresses of one name, and asks for them once for all who wait.
type names struct {
	mu     sync.Mutex // guards what follows
	list   []netip.Addr
	until  time.Time // they are good
	at     time.Time // they were
	asking chan struct{}
	err    error
}

// lookup is the addresses of a host. While the DNS fails, the last good ones are used.
func (n *names) lookup(ctx context.Context, host string, o *Options) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	n.mu.Lock()
	now := o.Now()
	if len(n.list) > 0 && now.Before(n.until) {
		defer n.mu.Unlock()
		return n.list, nil
	}
	if n.asking == nil {
		n.asking = make(chan struct{})
		go n.ask(host, o, n.asking)
	}
	done := n.asking
	n.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if now = o.Now(); len(n.list) > 0 && now.Before(n.at.Add(staleTTL)) {
		return n.list, nil
	}
	if n.err != nil {
		return nil, n.err
	}
	return nil, ctx.Err()
}

// known are the addresses of the host if they are known at once. Otherwise they are asked
// for, for the next time.
func (n *names) known(host string, o *Options) []netip.Addr {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.list) > 0 && o.Now().Before(n.until) {
		return n.list
	}
	if n.asking == nil {
		n.asking = make(chan struct{})
		go n.ask(host, o, n.asking)
	}
	return nil
}

func (n *names) ask(host string, o *Options, done chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), tryDNSFor)
	defer cancel()
	list, ttl, err := o.Resolve(ctx, host)
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil && len(list) == 0 {
		err = errors.New("proxy: the name has no address")
	}
	n.err = err
	if now := o.Now(); err == nil {
		if ttl <= 0 {
			ttl = usualTTL
		}
		n.list, n.at, n.until = list, now, now.Add(min(max(ttl, minTTL), maxTTL))
	}
	n.asking = nil
	close(done)
}

// Lookup asks the system's resolver, and reads from the answers of the DNS for how long
// they are good. Names that are no matter of the DNS have no such time: 0.
func Lookup(ctx context.Context, host string) ([]netip.Addr, time.Duration, error) {
	var seen ttls
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if packets, ok := c.(net.PacketConn); ok {
			return &overheardPackets{overheard{c, &seen}, packets}, nil
		}
		return c, nil // a stream: answers come in pieces, and are rare
	}}
	list, err := r.LookupNetIP(ctx, "ip", host)
	return list, seen.least(), err
}

// ttls is the shortest time that was overheard.
type ttls struct {
	mu    sync.Mutex
	found time.Duration
}

func (t *ttls) see(seconds uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d := time.Duration(seconds) * time.Second; t.found == 0 || d < t.found {
		t.found = max(d, minTTL)
	}
}

func (t *ttls) least() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.found
}

// overheard is a connection to a DNS server whose answers are looked at in passing.
type overheard struct {
	net.Conn
	seen *ttls
}

// overheardPackets keeps the kind of the connection, by which the resolver chooses its framing.
type overheardPackets struct {
	overheard
	net.PacketConn
}

func (c *overheardPackets) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		overhear(b[:n], c.seen)
	}
	return n, err
}

// The methods that both halves have.
func (c *overheardPackets) Close() error                       { return c.Conn.Close() }
func (c *overheardPackets) LocalAddr() net.Addr                { return c.Conn.LocalAddr() }
func (c *overheardPackets) SetDeadline(t time.Time) error      { return c.Conn.SetDeadline(t) }
func (c *overheardPackets) SetReadDeadline(t time.Time) error  { return c.Conn.SetReadDeadline(t) }
func (c *overheardPackets) SetWriteDeadline(t time.Time) error { return c.Conn.SetWriteDeadline(t) }

func overhear(packet []byte, seen *ttls) {
	var p dnsmessage.Parser
	if _, err := p.Start(packet); err != nil || p.SkipAllQuestions() != nil {
		return
	}
	for {
		h, err := p.AnswerHeader()
		if err != nil {
			return
		}
		seen.see(h.TTL)
		if p.SkipAnswer() != nil {
			return
		}
	}
}

// stagger is how long one address is given before the next is tried beside it (RFC 8305).
const stagger = 250 * time.Millisecond

// connect tries the addresses, each a moment after the one before it, the two families by
// turns; the first connection wins.
func connect(ctx context.Context, addresses []netip.Addr, port string) (net.Conn, error) {
	d := net.Dialer{Control: reserve}
	if len(addresses) == 1 {
		return d.DialContext(ctx, "tcp", net.JoinHostPort(addresses[0].Unmap().String(), port))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result, len(addresses))
	next, out := 0, 0
	list := byTurns(addresses)
	start := func() {
		a := list[next]
		next++
		out++
		go func() {
			c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(a.Unmap().String(), port))
			results <- result{c, err}
		}()
	}
	start()
	timer := time.NewTimer(stagger)
	defer timer.Stop()
	var last error
	for out > 0 {
		select {
		case r := <-results:
			out--
			if r.err == nil {
				go func(left int) { // those that come too late
					for range left {
						if late := <-results; late.conn != nil {
							_ = late.conn.Close() // nobody needs it
						}
					}
				}(out)
				return r.conn, nil
			}
			last = r.err
			if next < len(list) {
				start()
			}
		case <-timer.C:
			if next < len(list) {
				start()
				timer.Reset(stagger)
			}
		}
	}
	return nil, last
}

// byTurns orders addresses so that the families take turns, beginning with the first's.
func byTurns(list []netip.Addr) []netip.Addr {
	var first, other []netip.Addr
	for _, a := range list {
		if a.Unmap().Is4() == list[0].Unmap().Is4() {
			first = append(first, a)
		} else {
			other = append(other, a)
		}
	}
	out := make([]netip.Addr, 0, len(list))
	for i := range max(len(first), len(other)) {
		if i < len(first) {
			out = append(out, first[i])
		}
		if i < len(other) {
			out = append(out, other[i])
		}
	}
	return out
}

func itoa(n uint16) string { return strconv.FormatUint(uint64(n), 10) }
