package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/wire"
)

// Source is the body of a request that is still on its way from the caller.
type Source interface {
	// Next is the next piece of content, valid until the next call; io.EOF at the end, with
	// the last piece if that is known by then. Any other error means that the body will never
	// be whole.
	Next() ([]byte, error)
	// Stop makes a Next that waits, and all that follow, return an error. It may be called
	// from another goroutine.
	Stop()
}

// Stream is a seller's answer on its way. It must be closed.
type Stream struct {
	conn   *conn
	pool   *pool
	target *target
	head   wire.Response
	body   wire.Body
	idle   time.Duration

	pump *pump // the request's body, if it is still going out
	two  *twoStream

	out    []byte // room for heads
	held   []byte // content that Buffered has found, for Next
	faulty bool   // what came is no proper body
	ended  bool   // the answer came to its end
	keep   bool   // and its connection can serve again
}

var streams = sync.Pool{New: func() any { return new(Stream) }}

// MaxInterim bounds the interim answers before the answer; they are read and go nowhere.
const MaxInterim = 8

// bodyFault is what a call is refused with when its body failed.
func bodyFault(err error) error {
	if r := (*gate.Refusal)(nil); errors.As(err, &r) {
		return &bodyRefused{r}
	}
	return &bodyRefused{bodyBroken}
}

// bodyRefused is a refusal that is no fault of a seller.
type bodyRefused struct{ refusal *gate.Refusal }

func (b *bodyRefused) Error() string { return b.refusal.Error() }
func (b *bodyRefused) Unwrap() error { return b.refusal }

var (
	tooLarge = gate.Refuse("N502RE", "The response of the backend is too large")
	// NotOurs: the seller goes on with a protocol that nobody asked for.
	NotOurs    = gate.Refuse("N502RE", "The response of the backend switches protocols")
	bodyBroken = gate.Refuse("I400BD", "Invalid Body: it broke off")
)

// Forward sends a call and waits for the head of the answer, which it writes to c.Answer;
// the bytes of its fields are good until the stream is closed. The request's body is c.Body
// if it was read or a step made one; else it comes from body, with the length that its
// head said. An error is a *gate.Refusal: there is no answer.
func (p *Proxy) Forward(ctx context.Context, c *gate.Call, w *Way, length int64, body Source) (*Stream, error) {
	if w.broken != nil {
		return nil, w.broken
	}
	u := w.up
	var tried []*target
	var last error = gate.UpstreamTimeout
	for stale := 0; ; {
		t := u.pick(c, p.options.Now(), tried)
		if t == nil {
			return nil, last
		}
		s, unsent, err := p.try(ctx, c, w, t, length, body)
		if err == nil {
			t.served()
			return s, nil
		}
		var refused *bodyRefused
		switch {
		case errors.Is(err, errStale):
			// The same target again, on another connection.
			if stale++; stale <= maxStale {
				continue
			}
			return nil, gate.AnswerBroken
		case errors.As(err, &refused), errors.Is(err, Busy), ctx.Err() != nil:
			return nil, err
		}
		last = err
		u.failedOnce(t, p.options.Now())
		tried = append(tried, t)
		if unsent {
			continue // to a target that was not asked, if there is one
		}
		if !u.again(c, body, err) {
			return nil, err
		}
		if len(tried) == len(u.targets) {
			tried = tried[:0]
		}
	}
}

// again reports whether a call that a seller has seen may be sent once more: he said so,
// and its body is still there.
func (u *upstream) again(c *gate.Call, body Source, err error) bool {
	return u.retry.Idempotent && c.Tries < max(1, u.retry.Attempts) && (body == nil || c.BodyRead) &&
		(u.retry.OnTimeout || !errors.Is(err, gate.UpstreamTimeout))
}

// maxStale bounds how many dead connections one call may meet.
const maxStale = 3

// errStale: a kept connection was found dead before one byte of the call was taken.
var errStale = errors.New("proxy: the connection was dead")

// try sends the call once. unsent means that nothing of it can have been processed.
func (p *Proxy) try(ctx context.Context, c *gate.Call, w *Way, t *target, length int64, body Source) (s *Stream, unsent bool, err error) {
	if w.up.h2 {
		return p.tryTwo(ctx, c, w, t, length, body)
	}
	conn, err := t.pool.take(ctx)
	if err != nil {
		return nil, true, err
	}
	t.flight.Add(1)
	s = streams.Get().(*Stream)
	s.head.Reset()
	*s = Stream{conn: conn, pool: t.pool, target: t, idle: w.up.idle, head: s.head, out: s.out[:0]}
	c.Tries++
	if err = s.send(c, w, t, length, body); err == nil {
		err = s.answer(c, w.timeout, p.bounds)
	}
	if err == nil {
		return s, false, nil
	}
	if conn.wrote == 0 {
		c.Tries--
		if conn.used {
			err = errStale
		}
		unsent = true
	}
	// What became of the caller's body says more than how the seller took it.
	if failed := s.stopPump(); failed != nil {
		err = bodyFault(failed)
	}
	s.Close()
	return nil, unsent, err
}

// smallBody is sent in one write with its head.
const smallBody = 32 << 10

// send writes the head, and the body if it is there. A body that is still to come is
// pumped beside the reading of the answer.
func (s *Stream) send(c *gate.Call, w *Way, t *target, length int64, body Source) error {
	whole, have := c.Body, c.BodyRead || body == nil
	if out := c.Changed(); out != nil && out.HasBody {
		whole, have = out.Body, true
	}
	if have {
		length = int64(len(whole))
	}
	s.out = appendHead(s.out[:0], c, t, length)
	if have && len(whole) <= smallBody {
		s.out = append(s.out, whole...)
		whole = nil
	}
	if err := s.conn.SetDeadline(time.Now().Add(w.timeout)); err != nil {
		return gate.AnswerBroken
	}
	if err := s.write(s.out); err != nil {
		return err
	}
	if have {
		if len(whole) > 0 {
			return s.write(whole)
		}
		return nil
	}
	s.pump = &pump{stream: s, body: body, chunked: length == wire.Chunked, timeout: w.timeout, done: make(chan struct{})}
	_ = s.conn.SetDeadline(time.Time{}) // its error comes with the first write
	go s.pump.run()
	return nil
}

// write sends bytes. A seller may have answered before he had heard all, and closed: then
// the answer counts, so only what was not taken at all is an error.
func (s *Stream) write(b []byte) error {
	_, err := s.conn.Write(b)
	switch {
	case err == nil || s.conn.wrote > 0 && !isTimeout(err):
		return nil
	case isTimeout(err):
		return gate.UpstreamTimeout
	}
	return gate.AnswerBroken
}

// pump brings the caller's body to the seller while the answer is awaited.
type pump struct {
	stream  *Stream
	body    Source
	chunked bool
	timeout time.Duration
	room    []byte
	read    atomic.Bool // the body was read to its end
	failed  error       // of the caller's side; good once done is closed
	stuck   bool        // the seller did not take all of it; as failed
	done    chan struct{}
}

func (p *pump) run() {
	defer close(p.done)
	conn := p.stream.conn
	for {
		piece, err := p.body.Next()
		if err != nil && !errors.Is(err, io.EOF) {
			p.failed = err
			_ = conn.SetReadDeadline(time.Unix(1, 0)) // nobody waits for an answer to half a request
			return
		}
		if err != nil {
			p.read.Store(true)
		}
		// A seller that takes nothing for a while is as good as one that does not answer.
		if conn.SetWriteDeadline(time.Now().Add(p.stream.idle)) != nil {
			return
		}
		if len(piece) > 0 {
			if p.chunked {
				p.room = append(strconv.AppendInt(p.room[:0], int64(len(piece)), 16), "\r\n"...)
				p.room = append(append(p.room, piece...), "\r\n"...)
				piece = p.room
			}
			if _, werr := conn.Write(piece); werr != nil {
				p.stuck = true
				return // the answer, if there is one, says why
			}
		}
		if err == nil {
			continue
		}
		if p.chunked {
			if _, werr := conn.Write([]byte("0\r\n\r\n")); werr != nil {
				p.stuck = true
				return
			}
		}
		// Now it is the seller's turn.
		_ = conn.SetReadDeadline(time.Now().Add(p.timeout)) // its error comes with the read
		return
	}
}

// over reports whether the whole body is out.
func (p *pump) over() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// stopPump ends the pump, and says how the caller's side failed.
func (s *Stream) stopPump() error {
	if s.pump == nil {
		return nil
	}
	if !s.pump.over() && s.pump.read.Load() {
		// It has but to write what is left, and the seller has answered already.
		_ = s.conn.SetWriteDeadline(time.Now().Add(lastWrite)) // its error comes with the write
		<-s.pump.done
	}
	if !s.pump.over() {
		s.pump.body.Stop()
		_ = s.conn.SetWriteDeadline(time.Unix(1, 0)) // of a connection that is not used again
		<-s.pump.done
		s.pump.failed = nil // it was we who stopped it
		s.keep = false
	}
	return s.pump.failed
}

// lastWrite is how long the end of a request may take that was answered already.
const lastWrite = 250 * time.Millisecond

// answer reads the head of the answer.
func (s *Stream) answer(c *gate.Call, timeout time.Duration, bounds wire.Bounds) error {
	conn := s.conn
	noBody := string(c.Method) == "HEAD"
	for interim := 0; ; {
		n, err := s.head.Parse(conn.in[conn.r:conn.w], noBody, bounds)
		if err != nil {
			return HeadFault(err)
		}
		if n == 0 {
			if err := conn.fill(); err != nil {
				if isTimeout(err) {
					return gate.UpstreamTimeout
				}
				return gate.AnswerBroken
			}
			continue
		}
		conn.r += n
		if s.head.Status == 101 && c.Upgrade != nil {
			break
		}
		if s.head.Status >= 200 {
			break
		}
		if interim++; interim > MaxInterim || s.head.Status == 101 {
			return NotOurs
		}
		s.head.Reset()
	}
	conn.floor = conn.r
	s.body.Begin(s.head.Length)
	a := &c.Answer
	a.Status, a.Reason, a.Length = s.head.Status, s.head.Reason, s.head.Length
	a.Stated = s.head.Stated
	a.Fields = append(a.Fields[:0], gate.KeepAnswerFields(s.head.Fields)...)
	if s.body.Done() {
		s.end()
	}
	return nil
}

// HeadFault is what a call is told whose answer has no proper head.
func HeadFault(err error) error {
	if errors.Is(err, wire.HeadTooLarge) {
		return tooLarge
	}
	return gate.AnswerBroken
}

// end notes that the answer has come to its end.
func (s *Stream) end() {
	s.ended = true
	s.keep = !s.head.Close && s.head.Status != 101
}

// Next is the next piece of the answer's body, valid until the next call; io.EOF at the
// end. Any other error means that the answer broke off.
func (s *Stream) Next() ([]byte, error) {
	if s.two != nil {
		return s.two.next(s.idle)
	}
	conn := s.conn
	for {
		if s.Buffered() {
			piece := s.held
			s.held = nil
			switch {
			case len(piece) > 0:
				return piece, nil
			case s.faulty:
				return nil, gate.AnswerBroken
			}
			return nil, io.EOF
		}
		if err := conn.SetReadDeadline(time.Now().Add(s.idle)); err != nil {
			return nil, gate.AnswerBroken
		}
		if err := conn.fill(); err != nil {
			if errors.Is(err, io.EOF) && s.body.Open() {
				s.end()
				return nil, io.EOF
			}
			if isTimeout(err) {
				return nil, gate.UpstreamTimeout
			}
			return nil, gate.AnswerBroken
		}
	}
}

// Buffered reports whether Next has something to say without waiting.
func (s *Stream) Buffered() bool {
	if s.two != nil {
		return false
	}
	conn := s.conn
	for !s.ended && !s.faulty && len(s.held) == 0 && conn.r < conn.w {
		skip, size, err := s.body.Next(conn.in[conn.r:conn.w])
		if err != nil {
			s.faulty = true
			break
		}
		from := conn.r + skip
		conn.r = from + size
		s.held = conn.in[from:conn.r]
		if s.body.Done() {
			s.end()
		}
	}
	return s.ended || s.faulty || len(s.held) > 0
}

// Ready reports whether the whole rest of the answer is there.
func (s *Stream) Ready() bool {
	return s.ended || s.two == nil && s.body.Left() >= 0 && s.body.Left() <= int64(s.conn.w-s.conn.r) && s.head.Length >= 0 && s.held == nil
}

// HeadSent says that the bytes of the answer's fields are needed no longer.
func (s *Stream) HeadSent() {
	if s.conn != nil {
		s.conn.floor = 0
	}
}

// Abort makes a Next that waits fail. It may be called from another goroutine.
func (s *Stream) Abort() {
	if s.two != nil {
		s.two.cancel()
		return
	}
	_ = s.conn.Conn.Close() // at once: nobody wants the rest
}

// Switched gives away the connection of an upgrade, and what was read of it. The stream is
// done with it, but for Close.
func (s *Stream) Switched() (net.Conn, []byte) {
	return s.conn.Conn, s.conn.in[s.conn.r:s.conn.w]
}

// Sending reports whether the request's body is still going out.
func (s *Stream) Sending() bool { return s.pump != nil && !s.pump.over() }

// Close is the end of a call at the seller's. Its connection serves again only if the
// request went out whole and the answer came in whole; otherwise it is closed at once.
func (s *Stream) Close() {
	if s.two != nil {
		s.two.close()
	} else {
		_ = s.stopPump() // whoever wanted to know has asked
		keep := s.ended && s.keep
		if keep && s.pump != nil {
			keep = s.pump.failed == nil && !s.pump.stuck && s.conn.SetDeadline(time.Time{}) == nil
		}
		s.conn.floor = 0
		s.pool.give(s.conn, keep)
	}
	s.target.flight.Add(-1)
	*s = Stream{head: s.head, out: s.out[:0]}
	s.head.Reset()
	streams.Put(s)
}
