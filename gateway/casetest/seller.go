package casetest

import (
	"fmt"
	"net"
	"strconv"
	"sync"

	"github.com/souk-market/souk/gateway/wire"
)

// Seen is something that a seller's server was sent.
type Seen struct {
	Raw            string // all of it, byte for byte
	Head           string
	Method, Target string
	Body           string // without its framing
	Whole          bool
	Fault          string // why it is no request, if it is none
}

// Seller is a seller's server that keeps what it was sent. It answers with the method and
// the target of the request, unless it has a script.
type Seller struct {
	Port int

	listener net.Listener
	serving  sync.WaitGroup

	mu     sync.Mutex // guards the rest
	seen   []Seen
	script *script
	open   map[net.Conn]bool
}

// script is an answer, and what is done after it.
type script struct {
	answer string
	drip   int
	then   string
}

// NewSeller starts a server on a free port of loopback.
func NewSeller() (*Seller, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Seller{listener: l, Port: l.Addr().(*net.TCPAddr).Port, open: map[net.Conn]bool{}}
	s.serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.open[c] = true
			s.mu.Unlock()
			s.serving.Go(func() {
				s.serve(c)
				s.mu.Lock()
				delete(s.open, c)
				s.mu.Unlock()
				_ = c.Close() // of no more use
			})
		}
	})
	return s, nil
}

// URL is where the server answers.
func (s *Seller) URL() string { return "http://127.0.0.1:" + strconv.Itoa(s.Port) }

// Close ends all connections.
func (s *Seller) Close() {
	_ = s.listener.Close() // ends the loop
	s.mu.Lock()
	for c := range s.open {
		_ = c.Close() // ends its goroutine
	}
	s.mu.Unlock()
	s.serving.Wait()
}

// Take is what was seen since the last time.
func (s *Seller) Take() []Seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.seen
	s.seen = nil
	return seen
}

func (s *Seller) play(p *script) {
	s.mu.Lock()
	s.script = p
	s.mu.Unlock()
}

// see keeps something, and says how it is to be answered.
func (s *Seller) see(one Seen) *script {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, one)
	return s.script
}

// generous are bounds that a gateway keeps well within.
var generous = wire.Bounds{Head: 1 << 20, Target: 1 << 18, Fields: 1000}

// serve reads requests as strictly as the gateway must write them.
func (s *Seller) serve(c net.Conn) {
	var kept []byte
	buf := make([]byte, 64<<10)
	for {
		var r wire.Request
		var body wire.Body
		var one Seen
		at := 0 // bytes of kept that were understood
		for !one.Whole {
			if one.Head == "" {
				n, err := r.Parse(kept, generous)
				if err != nil {
					s.see(Seen{Raw: string(kept), Fault: err.Error()})
					return
				}
				if n > 0 {
					one.Head, one.Method, one.Target = string(r.Head), string(r.Method), string(r.Target)
					body.Begin(r.Length)
					at = n
				}
			}
			for one.Head != "" && !body.Done() && at < len(kept) {
				skip, size, err := body.Next(kept[at:])
				if err != nil {
					one.Raw, one.Fault = string(kept), err.Error()
					s.see(one)
					return
				}
				one.Body += string(kept[at+skip : at+skip+size])
				at += skip + size
			}
			if one.Whole = one.Head != "" && body.Done(); one.Whole {
				break
			}
			n, err := c.Read(buf)
			kept = append(kept, buf[:n]...)
			if err != nil {
				if len(kept) > 0 {
					one.Raw = string(kept)
					s.see(one)
				}
				return
			}
		}
		one.Raw = string(kept[:at])
		kept = append([]byte(nil), kept[at:]...)
		if !s.answer(c, one, s.see(one)) {
			return
		}
	}
}

// answer answers, and reports whether the connection goes on.
func (s *Seller) answer(c net.Conn, one Seen, p *script) bool {
	if p == nil {
		text := one.Method + " " + one.Target
		answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", len(text))
		if one.Method != "HEAD" {
			answer += text
		}
		_, err := c.Write([]byte(answer))
		return err == nil
	}
	if err := send(c, p.answer, p.drip, false); err != nil {
		return false
	}
	switch p.then {
	case "close":
		return false
	case "reset":
		_ = c.(*net.TCPConn).SetLinger(0) // then closing it resets it
		return false
	}
	return true
}

// send writes text at once, in pieces of so many bytes, or up to and behind each CR.
func send(c net.Conn, text string, drip int, split bool) error {
	for len(text) > 0 {
		n := len(text)
		switch {
		case drip > 0:
			n = min(n, drip)
		case split:
			for n = 1; n < len(text) && text[n-1] != '\r' && text[n] != '\r'; n++ {
			}
		}
		if _, err := c.Write([]byte(text[:n])); err != nil {
			return err
		}
		text = text[n:]
	}
	return nil
}
