package gateway

import (
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/ops"
	"github.com/souk-market/souk/gateway/proxy"
)

// caller is who waits for an answer: a connection of HTTP/1, or a stream of HTTP/2. As a
// proxy.Source it has the body of the request.
type caller interface {
	proxy.Source
	// begin writes the head of c.Answer; write, content; end, the end of a whole answer. What
	// is written may be kept back until flush or end.
	begin(c *gate.Call, body answerBody)
	write(piece []byte) error
	flush() error
	end() error
	// abort ends an answer that is not whole, so that the caller can tell.
	abort()
	// watch calls gone once if the caller leaves; stop ends that.
	watch(gone func()) (stop func())
	// hangUp makes this answer the connection's last.
	hangUp()
	// trailers are sent behind the content, where the caller can have such.
	trailers(gate.Fields)
}

// exchange takes the request that a connection has read through the row of gates.
func (s *Server) exchange(from *conn) {
	t := s.take()
	c, h := t.c, &from.request
	c.Method, c.Host, c.Target, c.TLS, c.Peer = h.Method, h.Host, h.Target, from.secure, from.peer
	c.Fields = append(c.Fields[:0], h.Fields...)
	c.Upgrade, c.Framed = h.Upgrade, h.Length != 0
	t.to, t.length = from, h.Length
	t.carry()
	s.turns.Put(t)
}

// carry takes one call through the row of gates, forwards it, settles what it costs, and
// brings the answer to the caller as it comes.
func (t *turn) carry() {
	t.s.meter.Begin()
	t.conclude(t.s.guard(t, t.answers))
}

// resume goes on with a call that a loop has taken through the gates.
func (t *turn) resume() {
	t.conclude(t.s.guard(t, t.proceed))
	t.over()
}

// conclude brings an answer to the caller, be it that there is none.
func (t *turn) conclude(err error) {
	if err != nil {
		if t.settled {
			t.takeBack() // it was charged for an answer that will not be
		}
		t.refuse(err)
	}
	t.at = time.Now()
	t.finish()
	// What can no longer break off is written down before the caller has it, so that whoever
	// was answered finds the call in the records.
	if t.stream == nil || t.c.Answer.Whole || t.stream.Ready() {
		t.end()
	}
	if !t.bring() && t.broke {
		t.takeBack()
	}
	if t.stream != nil {
		t.stream.Close()
		t.stream = nil
	}
	t.at = time.Now()
	t.end()
}

// over is the end of a turn, which is then somebody else's.
func (t *turn) over() {
	t.end()
	t.s.turns.Put(t)
}

// lost is the end of a turn whose caller has gone.
func (t *turn) lost() {
	if !t.settled {
		if t.c.Hold.Held() {
			t.s.quota.Void(t.c.Hold)
		}
		t.settled = true
		t.record()
		t.c.Record.Serial, t.c.Record.Outcome = -1, control.Free
	}
	t.over()
}

// turn is one call on its way through carry.
//
// It is taken from a pool with its call, and reset.
type turn struct {
	s *Server
	c *gate.Call
	// Methods as values, made once: to make one for each call would allocate.
	read                     func(*gate.Call) error // readBody
	admits, answers, settles func() error
	room                     []byte // for values of the answer's headers
	to                       caller
	began                    time.Time
	at                       time.Time // the latest moment of it that was looked at
	length                   int64     // of the request's body, as its head said

	ready    *ready // what the route's calls need; nil: no route was found
	trace    ops.Trace
	sent     time.Time     // when the seller was asked
	stream   *proxy.Stream // the seller's answer, if he gave one
	upstream time.Duration // until its head
	asked    bool          // the seller got bytes of the call
	settled  bool          // the outcome is written down
	charged  bool
	undone   bool // it was charged, and is no longer
	broke    bool // the answer broke off at the seller's
	refused  bool
	ended    bool   // it is written down
	code     string // the refusal's
}

func newTurn() any {
	t := &turn{c: new(gate.Call)}
	t.read, t.admits, t.answers, t.settles = t.readBody, t.admit, t.answer, t.settle
	return t
}

func (t *turn) reset(s *Server) {
	t.c.Reset()
	t.c.ReadBody = t.read
	now := time.Now()
	*t = turn{s: s, c: t.c, began: now, at: now, room: t.room[:0], read: t.read, admits: t.admits, answers: t.answers, settles: t.settles}
}

// answer is everything up to the first byte of the answer: what it writes is c.Answer.
func (t *turn) answer() error {
	if err := t.admit(); err != nil {
		return err
	}
	return t.proceed()
}

// proceed is answer behind the gates that cost nothing.
func (t *turn) proceed() error {
	c := t.c
	if !c.Replied() {
		if err := t.spend(); err != nil {
			return err
		}
	}
	if !c.Replied() {
		if err := t.forward(); err != nil {
			return err
		}
	}
	if err := t.filterAnswer(); err != nil {
		return err
	}
	return t.settle()
}

var traceparent = []byte("traceparent")

// forward asks the seller.
func (t *turn) forward() error {
	t.sent = time.Now()
	var body proxy.Source
	if t.length != 0 && !t.c.BodyRead {
		body = &bounded{Source: t.to, left: maxBody(t.c)}
	}
	stream, err := t.s.proxy.Forward(t.s.life, t.c, t.ready.way, t.length, body)
	t.at = time.Now()
	t.upstream, t.stream, t.asked = t.at.Sub(t.sent), stream, t.c.Tries > 0
	t.s.meter.Upstream(t.upstream)
	return err
}

// bounded is a body that may have only so many bytes.
type bounded struct {
	proxy.Source
	left int64
}

func (b *bounded) Next() ([]byte, error) {
	piece, err := b.Source.Next()
	if b.left -= int64(len(piece)); b.left < 0 {
		return nil, gate.BodyTooLarge
	}
	return piece, err
}

// filterAnswer lets the filters see the head and, if they want it, the body.
func (t *turn) filterAnswer() error {
	c := t.c
	if c.Chain == nil {
		return nil
	}
	for _, f := range c.Chain.Answer {
		if err := f.Answer(c); err != nil {
			return err
		}
	}
	a := &c.Answer
	if a.Wanted() == 0 {
		return nil
	}
	if !a.Whole {
		whole, err := t.gather(a.Wanted())
		if err != nil || !whole {
			return err
		}
	}
	for _, f := range c.Chain.Whole {
		if err := f.Whole(c); err != nil {
			return err
		}
	}
	a.Length = int64(len(a.Body))
	return nil
}

// gather reads the body of an answer, if it has at most so many bytes. What was read of one
// that is larger is kept, and goes out before the rest.
func (t *turn) gather(most int64) (whole bool, err error) {
	a := &t.c.Answer
	if a.Length > most || bodiless(t.c) {
		return bodiless(t.c), nil
	}
	for {
		piece, err := t.stream.Next()
		a.Body = append(a.Body, piece...)
		if errors.Is(err, io.EOF) {
			a.Whole = true
			return true, nil
		}
		if err != nil {
			return false, err
		}
		if int64(len(a.Body)) > most {
			return false, nil
		}
	}
}

// settle makes the unit a charged one, or gives it back, before the first byte of the
// answer leaves: who holds an answer has paid for it.
func (t *turn) settle() error {
	s, c := t.s, t.c
	t.record()
	if c.Record.Outcome != control.Charged {
		if c.Hold.Held() {
			s.quota.Void(c.Hold)
		}
		t.settled = true
		return nil
	}
	if err := s.quota.Settle(c.Hold, &c.Record); err != nil {
		// The unit is back already.
		t.settled = true
		s.log.Error("settle", zap.Stringer("request", c.ID), zap.Error(err))
		return gate.Busy
	}
	t.settled, t.charged = true, true
	return nil
}

// takeBack undoes the charge of an answer that the caller did not get: by a second record,
// which credits the unit. The first one stays.
func (t *turn) takeBack() {
	if !t.charged {
		return
	}
	t.charged, t.undone = false, true
	r := &t.c.Record
	r.Outcome, r.Code = control.Free, gate.AnswerBroken.Code
	if err := t.s.quota.Reverse(t.c.Hold, r); err != nil {
		t.s.log.Error("take a charge back", zap.Stringer("request", r.Request), zap.Error(err))
	}
}

// refuse makes an error the answer. A unit that was reserved and not settled goes back, and
// so does what the throttles counted of a call that the seller never saw.
func (t *turn) refuse(err error) {
	s, c := t.s, t.c
	if c.Hold.Held() && !t.settled {
		s.quota.Void(c.Hold)
		t.settled = true
	}
	if len(c.Limits) > 0 && !t.asked {
		s.throttle.Undo(c, s.now())
	}
	r := s.refusal(c, err)
	if t.stream != nil {
		t.stream.Close()
		t.stream = nil
	}
	t.record()
	refuse(c, r)
	if c.Chain != nil {
		for _, f := range c.Chain.Refuse {
			s.atRefusal(c, f, r)
		}
	}
	t.code, t.refused = r.Code, true
	c.Record.Status, c.Record.Code, c.Record.Outcome, c.Record.Serial = r.Status, r.Code, outcome(r), -1
}

// bring writes the answer to the caller as it comes; false: it is not whole.
func (t *turn) bring() bool {
	c, a := t.c, &t.c.Answer
	if a.Status == 101 && t.stream != nil {
		return t.tunnel()
	}
	body := answerBody{length: a.Length, none: bodiless(c)}
	t.to.begin(c, body)
	if t.stream != nil && a.Whole {
		t.stream.HeadSent()
	}
	if body.none {
		return t.to.end() == nil
	}
	if len(a.Body) > 0 {
		if t.to.write(a.Body) != nil {
			return false
		}
	}
	if a.Whole || t.stream == nil {
		return t.to.end() == nil
	}
	return t.pour()
}

// pour brings the body as it comes from the seller: what is there at once goes out at once.
// When the caller leaves, the connection to the seller is closed.
func (t *turn) pour() bool {
	var left atomic.Bool
	watching := false
	bound, sent := t.c.Answer.Most, int64(len(t.c.Answer.Body))
	for {
		if !t.stream.Buffered() {
			// More is to come, and may take its time. The watch begins before the caller has
			// anything: who has shut his side by then did so with his request.
			if !watching {
				watching = true
				stop := t.to.watch(func() {
					left.Store(true)
					t.stream.Abort()
				})
				defer stop()
			}
			if t.to.flush() != nil {
				t.to.abort()
				return false
			}
			t.stream.HeadSent()
		}
		piece, err := t.stream.Next()
		switch {
		case errors.Is(err, io.EOF):
			if more := t.stream.Trailers(); len(more) > 0 {
				t.to.trailers(more)
			}
			return t.to.end() == nil
		case err != nil:
			t.broke = !left.Load()
			t.to.abort()
			return false
		}
		if sent += int64(len(piece)); bound > 0 && sent > bound {
			t.broke = true // as if the seller had stopped there: it is not whole, and not charged
			t.to.abort()
			return false
		}
		if t.to.write(piece) != nil {
			t.to.abort()
			return false
		}
	}
}

// bodiless reports whether the answer has no body, whatever its head says.
func bodiless(c *gate.Call) bool {
	status := c.Answer.Status
	return string(c.Method) == "HEAD" || status == 204 || status == 304 || status < 200
}

// end writes down what became of the call.
func (t *turn) end() {
	if t.ended {
		return
	}
	t.ended = true
	s, c, took := t.s, t.c, t.at.Sub(t.began)
	record := &c.Record
	record.Took = took
	if c.Chain != nil {
		for _, f := range c.Chain.End {
			s.atEnd(c, f)
		}
	}
	counts := s.meter.Nowhere
	if t.ready != nil {
		counts = t.ready.counts
	}
	if c.Answer.Local && t.refused {
		counts.Refused(t.code)
		s.note(t)
	} else {
		counts.Answered(t.charged, record.Status)
	}
	if c.Route != nil {
		// A charged call was written down when it was settled. One that nobody can be named
		// for is counted only: strangers could fill the ledger otherwise.
		if c.App != "" && !t.charged && !t.undone {
			s.journal.Note(record)
		}
	}
	s.meter.End(took)
	if t.trace.Sampled {
		s.tell(t, took)
	}
	s.logCall(record)
}

// note remembers why a call was refused, for who asks.
func (s *Server) note(t *turn) {
	c, r := t.c, &t.c.Record
	s.refusals.Note(ops.Refused{Request: c.ID.String(), At: c.At, Host: hostText(c), Route: r.Route, App: r.App, Method: r.Method, Path: r.Path,
		Status: r.Status, Code: r.Code})
}

// hostText is the host as the group knows it; that of a stranger is cut short.
func hostText(c *gate.Call) string {
	if c.Group != nil {
		for _, d := range c.Group.Domains {
			if len(d) == len(c.Host) && strings.EqualFold(d, string(c.Host)) {
				return d
			}
		}
	}
	return string(c.Host[:min(len(c.Host), 64)])
}

// tell gives the collector a call that is over.
func (s *Server) tell(t *turn, took time.Duration) {
	c, r := t.c, &t.c.Record
	step := ops.Step{Trace: t.trace, Began: c.At, Ended: c.At.Add(took), Route: r.Route, Method: r.Method, Path: r.Path,
		Request: c.ID.String(), Status: r.Status, Code: r.Code, Outcome: r.Outcome}
	if !t.sent.IsZero() {
		step.Asked, step.Answered = t.sent, t.sent.Add(t.upstream)
	}
	s.tracer.End(step)
}

// atRefusal lets a filter give a refusal another face; its faults are its own.
func (s *Server) atRefusal(c *gate.Call, f gate.Refuser, r *gate.Refusal) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("panic at a refusal", zap.Stringer("request", c.ID), zap.Any("panic", p), zap.Stack("stack"))
		}
	}()
	f.Refused(c, r)
}

// atEnd lets a filter hear of the end; its faults are its own.
func (s *Server) atEnd(c *gate.Call, f gate.Ender) {
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("panic at the end of a call", zap.Stringer("request", c.ID), zap.Any("panic", r), zap.Stack("stack"))
		}
	}()
	f.End(c)
}
