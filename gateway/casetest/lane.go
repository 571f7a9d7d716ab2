package casetest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/souk-market/souk/gateway/wire"
)

// Lane plays cases, one after the other, to a gateway that routes a prefix to a seller of
// the lane's own: every method, the query as it is, no limit of rate, calls enough.
type Lane struct {
	Addr, Host, Prefix   string
	Seller               *Seller
	AppCode, Key, Secret string

	plain int
}

// Bounds of a case.
const (
	patience = 5 * time.Second       // until a gateway that says nothing is left
	linger   = 15 * time.Millisecond // for what must not come behind the last answer
)

// got is an answer that a client got.
type got struct {
	status int
	head   string
	body   string
	whole  bool
}

// talk is what a client heard.
type talk struct {
	answers []got  // final ones
	raw     string // all bytes
	closed  bool   // by the gateway
	fault   string // why the bytes are no answers
}

// Run plays a case.
func (l *Lane) Run(c *Case, how How) (o Outcome) {
	for _, late := range l.Seller.Take() { // what came behind the case before this one
		o.unsafe("the seller saw %q behind the case before", late.Raw)
	}
	if c.Upstream != nil {
		l.runAnswer(c, how, &o)
	} else {
		l.runRequest(c, how, &o)
	}
	l.after(&o)
	return o
}

// after asks as anybody would, on a fresh connection.
func (l *Lane) after(o *Outcome) {
	l.plain++
	target := fmt.Sprintf("%s/plain-%d", l.Prefix, l.plain)
	t := l.talk("GET "+target+" HTTP/1.1\r\nHost: "+l.Host+"\r\nAuthorization: APPCODE "+l.AppCode+"\r\n\r\n", &Case{}, []string{"GET"}, 1, false)
	if len(t.answers) != 1 || t.answers[0].status != 200 || t.answers[0].body != "GET "+target {
		o.unsafe("a plain request afterwards got %q", t.raw)
	}
	for _, s := range l.Seller.Take() {
		if s.Whole && s.Target != target {
			o.unsafe("with a plain request afterwards the seller saw %q", s.Raw)
		}
	}
}

// Plain is how many plain requests were sent so far.
func (l *Lane) Plain() int { return l.plain }

// talk sends text and listens: until the gateway closes, or until there are as many answers
// as are wanted and no close is.
func (l *Lane) talk(text string, c *Case, methods []string, wanted int, closes bool) (t talk) {
	conn, err := net.Dial("tcp", l.Addr)
	if err != nil {
		t.fault = err.Error()
		return t
	}
	defer conn.Close()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		if send(conn, text, c.Drip, c.Split) == nil && c.HalfClose {
			_ = conn.(*net.TCPConn).CloseWrite() // the gateway may have closed it
		}
	}()
	defer func() { <-sent }()
	defer conn.Close() // ends the sending
	_ = conn.SetDeadline(time.Now().Add(patience))
	reader := answers{methods: methods}
	buf := make([]byte, 64<<10)
	for {
		n, err := conn.Read(buf)
		t.raw += string(buf[:n])
		reader.take(buf[:n])
		if err != nil {
			t.closed = !errors.Is(err, os.ErrDeadlineExceeded)
			break
		}
		if len(reader.done()) >= wanted && !closes {
			_ = conn.SetReadDeadline(time.Now().Add(linger))
		}
	}
	t.answers, t.fault = reader.list, reader.fault
	if t.closed {
		reader.end()
		t.answers = reader.list
	}
	return t
}

// answers reads answers off a stream.
type answers struct {
	methods []string // of the requests
	kept    []byte
	head    wire.Response
	body    wire.Body
	within  bool // the last of list is not whole
	list    []got
	fault   string
}

func (a *answers) done() []got {
	if a.within {
		return a.list[:len(a.list)-1]
	}
	return a.list
}

func (a *answers) take(b []byte) {
	a.kept = append(a.kept, b...)
	for a.fault == "" {
		if !a.within {
			method := ""
			if len(a.list) < len(a.methods) {
				method = a.methods[len(a.list)]
			}
			n, err := a.head.Parse(a.kept, method == "HEAD", generous)
			if err != nil {
				a.fault = err.Error()
				return
			}
			if n == 0 {
				return
			}
			h := a.head
			one := got{status: h.Status, head: string(h.Head)}
			a.kept = append([]byte(nil), a.kept[n:]...)
			a.head.Reset()
			if h.Status < 200 && h.Status != 101 {
				continue
			}
			a.list, a.within = append(a.list, one), true
			a.body.Begin(h.Length)
		}
		last := &a.list[len(a.list)-1]
		for !a.body.Done() && len(a.kept) > 0 {
			skip, size, err := a.body.Next(a.kept)
			if err != nil {
				a.fault = err.Error()
				return
			}
			last.body += string(a.kept[skip : skip+size])
			a.kept = a.kept[skip+size:]
		}
		if !a.body.Done() {
			return
		}
		last.whole, a.within = true, false
	}
}

// end says that the connection has ended.
func (a *answers) end() {
	if a.within && a.body.Open() {
		a.list[len(a.list)-1].whole, a.within = true, false
	}
	if !a.within && len(a.kept) > 0 && a.fault == "" {
		a.fault = fmt.Sprintf("broken off: %q", a.kept)
	}
}

// methodsIn guesses the methods of requests that a case sends.
func methodsIn(c *Case, text string) (methods []string) {
	for _, w := range c.Expect.Requests {
		methods = append(methods, w.Method)
	}
	if methods == nil {
		first, _, _ := strings.Cut(strings.TrimLeft(text, "\r\n"), " ")
		methods = []string{first}
	}
	return methods
}
