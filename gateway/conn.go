package gateway

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/wire"
)

// conn is the guard on a caller's connection: fasthttp serves it, and sees of it what the
// guard lets through.
//
// The guard reads the bytes, checks each head and the framing of each body with wire, and
// cuts the connection at the first offence. fasthttp is shown request lines with their
// host, one at a time, each when the message before it has ended; it keeps the connection
// and calls the handler. Bodies and answers go by the guard, so that they stream, and so
// that a head goes out in the order and spelling in which it came in.
//
// Why: whatever fasthttp might read differently from a seller's server (bodies that nobody
// read, trailers among the headers, a body behind an early answer; design F1 to F11, F22) it
// never sees.
type conn struct {
	net.Conn
	framer
	s      *Server
	peer   netip.Addr
	secure bool // over TLS

	in      []byte // read and not yet used: in[r:w]; the present head lies below floor
	r, w    int
	floor   int
	request wire.Request
	body    wire.Body
	shown   []byte // of a request line, that fasthttp has not read yet

	begun    bool  // a head was read, and its message has not ended
	expects  bool  // the caller waits for 100 before he sends his body
	answered bool  // what fasthttp writes now is not the answer
	cut      error // why no byte of the body can be had any more

	tardy bool  // the request took too long before it came here
	home  *loop // that the connection goes back to; nil: none
	back  int   // the descriptor with which it does
	gone  bool  // it did

	asked time.Time // for the body; zero: not yet
	read  int64     // bytes of it

	stopped atomic.Bool  // Stop was called
	state   atomic.Int64 // the phase and since when; stateOf
}

// The phases of a connection, for the sweeper.
const (
	phaseIdle    = iota // between two requests
	phaseHead           // a head has begun
	phaseWork           // it is our turn
	phaseBody           // a body is awaited
	phaseWrite          // the caller takes an answer
	phaseLate           // the sweeper has ended it
	phaseWatched        // an answer streams; the caller may say no more
)

var errLate = errors.New("gateway: too slow")

// stateOf is a phase and since when, in the sweeper's milliseconds, as one number: of two,
// the sweeper could see one that is new and one that is old.
func stateOf(phase, since int64) int64 { return since<<phaseBits | phase }

const phaseBits = 3

func (c *conn) enter(phase int64) { c.state.Store(stateOf(phase, c.s.clock.Load())) }

func phaseOf(state int64) int64 { return state & (1<<phaseBits - 1) }

func (c *conn) phase() int64 { return phaseOf(c.state.Load()) }

// Read shows fasthttp the next request line, once the message before it has ended.
func (c *conn) Read(p []byte) (int, error) {
	if len(c.shown) == 0 && !c.next() {
		return 0, io.EOF
	}
	n := copy(p, c.shown)
	c.shown = c.shown[n:]
	return n, nil
}

// Write passes on what fasthttp says by itself; the answers of calls have gone already.
func (c *conn) Write(p []byte) (int, error) {
	if c.answered {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// drainMost is how much of a body that nobody wanted is read, so that the connection can
// serve on.
const drainMost = 256 << 10

// next reads the head of the next request; false: there is none.
func (c *conn) next() bool {
	if c.begun && !c.finish() {
		return false
	}
	if c.s.draining.Load() && c.s.graceOver.Load() {
		return false
	}
	c.floor = 0
	if c.tardy {
		c.refuseHead(errLate)
		return false
	}
	if c.r == c.w {
		if c.home != nil && c.goHome() {
			return false
		}
		c.r, c.w = 0, 0
		if cap(c.in) > keptBuffer {
			c.in = nil
		}
	}
	c.request.Reset()
	phase := int64(phaseIdle)
	if c.r < c.w {
		phase = phaseHead
	}
	c.enter(phase)
	for {
		n, err := c.request.Parse(c.in[c.r:c.w], c.s.bounds)
		if err != nil {
			c.refuseHead(err)
			return false
		}
		if n > 0 {
			c.enter(phaseWork)
			c.floor = c.r + n
			c.r = c.floor
			c.body.Begin(c.request.Length)
			c.begun, c.expects, c.cut, c.answered, c.asked = true, c.request.Expect, nil, false, time.Time{}
			c.last = c.last || c.request.Close
			c.stopped.Store(false)
			c.shown = shownLine
			return true
		}
		if err := c.fill(); err != nil {
			if c.phase() == phaseLate && c.w > c.r {
				c.refuseHead(errLate)
			}
			return false
		}
		if c.phase() == phaseIdle {
			c.enter(phaseHead)
		}
	}
}

// shownLine is what fasthttp reads of a request.
var shownLine = []byte("GET / HTTP/1.1\r\nHost: souk\r\n\r\n")

// goHome gives the connection back to the loop that it came from.
func (c *conn) goHome() bool {
	tcp, ok := c.Conn.(*net.TCPConn)
	if !ok || c.s.draining.Load() {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	c.back, c.gone = dup(raw)
	return c.gone
}

// finish reads what is left of the present message, if that is not too much.
func (c *conn) finish() bool {
	c.begun = false
	if c.last {
		return false
	}
	if c.body.Done() {
		return true
	}
	if c.expects || c.cut != nil || c.body.Left() > drainMost {
		return false // a body that nobody asked for may come or not: nobody knows what is next
	}
	for read := 0; read < drainMost; {
		piece, err := c.piece()
		if errors.Is(err, io.EOF) {
			return true
		}
		if err != nil {
			return false
		}
		read += len(piece)
	}
	return false
}

// Buffers of a connection.
const (
	firstBuffer = 4 << 10
	bodyBuffer  = 32 << 10
	keptBuffer  = 64 << 10 // beyond it, a buffer does not outlive its message
)

// fill reads once, behind what is there; what lies below floor stays.
func (c *conn) fill() error {
	if c.r == c.w {
		c.r, c.w = c.floor, c.floor
	}
	if c.w == len(c.in) {
		if c.r > c.floor {
			c.w = c.floor + copy(c.in[c.floor:], c.in[c.r:c.w])
			c.r = c.floor
		} else {
			more := make([]byte, max(firstBuffer, 2*len(c.in)))
			copy(more, c.in[:c.w]) // the head's fields go on pointing to the old one
			c.in = more
		}
	}
	n, err := c.Conn.Read(c.in[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// piece is the next piece of the body.
func (c *conn) piece() ([]byte, error) {
	if c.cut != nil {
		return nil, c.cut
	}
	for {
		if c.body.Done() {
			return nil, io.EOF
		}
		if c.r < c.w {
			skip, size, err := c.body.Next(c.in[c.r:c.w])
			if err != nil {
				c.cut = bodyFault
				return nil, c.cut
			}
			from := c.r + skip
			c.r = from + size
			if size > 0 {
				return c.in[from : from+size], nil
			}
			continue
		}
		c.enter(phaseBody)
		if len(c.in)-c.floor < bodyBuffer && c.body.Left() > int64(len(c.in)-c.floor) {
			more := make([]byte, c.floor+bodyBuffer)
			copy(more, c.in[:c.w])
			c.in = more
		}
		if c.asked.IsZero() {
			c.asked, c.read = time.Now(), 0
		}
		had := c.w - c.r
		err := c.fill()
		if c.read += int64(c.w - c.r - had); err == nil && c.crawls() {
			c.cut = tooSlow
			return nil, c.cut
		}
		if err == nil {
			c.enter(phaseWork)
			continue
		}
		c.cut = bodyFault
		if c.phase() == phaseLate {
			c.cut = tooSlow
		}
		return nil, c.cut
	}
}

// crawls reports whether the body has been coming for a while, and too slowly.
func (c *conn) crawls() bool {
	took := time.Since(c.asked)
	return took > c.s.options.BodyTimeout && float64(c.read) < took.Seconds()*minBodyRate
}

// minBodyRate is bytes a second, beyond the first BodyTimeout; security.md R1.
const minBodyRate = 1 << 10

var bodyFault = gate.Refuse("I400BD", "Invalid Body: it broke off")

// Next is the next piece of the body that is content: a proxy.Source. Who waits for 100 is
// told to go on, now that somebody wants the body.
func (c *conn) Next() ([]byte, error) {
	if c.stopped.Load() {
		return nil, bodyFault
	}
	if c.expects && c.cut == nil && !c.body.Done() {
		c.expects = false
		if c.r == c.w {
			if err := c.put([]byte("HTTP/1.1 100 Continue\r\n\r\n")); err != nil {
				c.cut = bodyFault
			}
		}
	}
	piece, err := c.piece()
	if err == nil && c.body.Done() {
		err = io.EOF
	}
	return piece, err
}

// Stop makes a Next that waits return, and all that follow fail.
func (c *conn) Stop() {
	c.stopped.Store(true)
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0)) // a connection without deadlines is a test's
	c.last = true
}

// put writes to the caller, who may take only so long.
func (c *conn) put(b []byte) error {
	c.enter(phaseWrite)
	_, err := c.Conn.Write(b)
	c.enter(phaseWork)
	return err
}

// Close lets the caller read what was said last before the connection is gone.
func (c *conn) Close() error {
	c.s.forget(c)
	return c.Conn.Close()
}

// refuseHead answers what is no request.
func (c *conn) refuseHead(fault error) {
	c.s.broken(c, fault)
	c.last = true
	c.linger()
}

// lingerMost and lingerFor bound what is still read of a caller who was turned away in the
// middle of a message: without that, the end of the connection would overtake the answer.
const (
	lingerMost = 256 << 10
	lingerFor  = 500 * time.Millisecond
)

func (c *conn) linger() {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		return
	}
	if c.Conn.SetReadDeadline(time.Now().Add(lingerFor)) != nil {
		return
	}
	var room [4096]byte
	for read := 0; read < lingerMost; {
		n, err := c.Conn.Read(room[:])
		read += n
		if err != nil {
			return
		}
	}
}

// late ends what takes too long: a phase that reads is woken up, to say so; one that writes
// has nobody to say it to.
func (c *conn) late(now int64) {
	o, state := &c.s.options, c.state.Load()
	phase, age := phaseOf(state), time.Duration(now-state>>phaseBits)*time.Millisecond
	limit := time.Duration(0)
	switch phase {
	case phaseIdle:
		limit = o.IdleTimeout
		if c.s.graceOver.Load() {
			limit = 0
		}
	case phaseHead:
		limit = o.HeadTimeout
	case phaseBody:
		limit = o.BodyTimeout
	case phaseWrite:
		limit = o.WriteTimeout
	default:
		return
	}
	if age <= limit || !c.state.CompareAndSwap(state, stateOf(phaseLate, now)) {
		return
	}
	if phase == phaseWrite || phase == phaseIdle {
		_ = c.Conn.Close() // whoever waits is woken up by it
		return
	}
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
}

// handle is fasthttp's handler: the guard has the request.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	c, ok := ctx.Conn().(*conn)
	if !ok {
		ctx.SetConnectionClose()
		return
	}
	s.exchange(c)
	c.answered = true
	if c.last {
		ctx.SetConnectionClose()
		if !c.body.Done() {
			c.linger()
		}
	}
}

// begin writes the head of an answer, and keeps it back until flush or end.
func (c *conn) begin(call *gate.Call, body answerBody) {
	if c.s.draining.Load() {
		c.last = true
	}
	c.out = c.out[:0]
	c.head(call, body, c.request.Minor)
}

// write adds content; what is small is kept back with what comes next.
func (c *conn) write(piece []byte) error {
	if len(piece) == 0 {
		return nil
	}
	c.open(len(piece))
	if len(c.out)+len(piece) > outBuffer {
		if err := c.flush(); err != nil {
			return err
		}
		if len(piece) > outBuffer/2 {
			if err := c.put(piece); err != nil {
				return err
			}
			piece = nil
		}
	}
	c.out = append(c.out, piece...)
	c.shut()
	return nil
}

func (c *conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	err := c.put(c.out)
	if c.out = c.out[:0]; cap(c.out) > 2*outBuffer {
		c.out = nil
	}
	return err
}

// end is the end of a whole answer.
func (c *conn) end() error {
	c.done()
	return c.flush()
}

func (c *conn) hangUp() { c.last = true }

// trailers would be read by some as headers, so HTTP/1 callers get none.
func (c *conn) trailers(gate.Fields) {}

// abort ends an answer that is not whole, so that the caller can tell: what was to come does
// not, and where only the end of the connection would show the end, it is reset.
func (c *conn) abort() {
	_ = c.flush() // the caller may have what there is
	c.last = true
	if tcp := c.tcp(); tcp != nil {
		_ = tcp.SetLinger(0) // as said above; without it the end looks like the end
	}
	_ = c.Conn.Close() // of no more use
}

// watch calls gone if the caller leaves while his answer streams: he closes or resets the
// connection. One who had shut his side before the answer began wants it all the same.
// stop ends the watch, and waits for that.
func (c *conn) watch(gone func()) (stop func()) {
	if !c.body.Done() || c.half() {
		return func() {}
	}
	done := make(chan struct{})
	var over atomic.Bool
	go func() {
		defer close(done)
		for {
			if c.r == c.w {
				c.r, c.w = c.floor, c.floor
			}
			if c.w == len(c.in) {
				return // he says much, and is there
			}
			n, err := c.Conn.Read(c.in[c.w:])
			c.w += n
			if err != nil {
				if !over.Load() {
					gone()
				}
				return
			}
		}
	}()
	return func() {
		over.Store(true)
		_ = c.Conn.SetReadDeadline(time.Unix(1, 0)) // of an open connection; of another it does not matter
		<-done
		_ = c.Conn.SetReadDeadline(time.Time{})
	}
}

// half reports whether the caller has shut his side already.
func (c *conn) half() bool {
	tcp, ok := c.Conn.(*net.TCPConn)
	if !ok {
		return false // under TLS nobody does that
	}
	raw, err := tcp.SyscallConn()
	return err == nil && ended(raw)
}

// tcp is the connection below TLS, if there is one.
func (c *conn) tcp() *net.TCPConn {
	n := c.Conn
	if secure, ok := n.(*tls.Conn); ok {
		n = secure.NetConn()
	}
	tcp, _ := n.(*net.TCPConn)
	return tcp
}
