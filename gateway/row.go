package gateway

import (
	"bytes"
	"errors"
	"io"
	"net/netip"

	"go.uber.org/zap"

	"github.com/souk-market/souk/gateway/auth"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/wire"
)

// DefaultMaxBody bounds the body of a call to a route that says nothing of it.
const DefaultMaxBody = 10 << 20

// maxWhole bounds the bodies that are read whole, for a signature or a filter, whatever the
// route says: memory must not depend on what callers send (P2).
const maxWhole = 32 << 20

// take makes a call, before anything of it was looked at.
func (s *Server) take() *turn {
	t := s.turns.Get().(*turn)
	t.begin(s)
	return t
}

// begin makes a used turn one for the next call.
func (t *turn) begin(s *Server) {
	t.reset(s)
	if t.c.At = t.began; s.clocked {
		t.c.At = s.now()
	}
	t.c.ID = control.NewRequestID(t.c.At)
}

// guard runs f; if it panics, the call is refused, and the program lives.
func (s *Server) guard(t *turn, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("panic in a call", zap.Stringer("request", t.c.ID), zap.Any("panic", r), zap.Stack("stack"))
			s.panics.Add(1)
			t.to.hangUp() // who knows what was read
			err = gate.InternalFault
		}
	}()
	return f()
}

// admit asks all gates that cost nothing.
func (t *turn) admit() error {
	s, c := t.s, t.c
	if s.tracer != nil {
		if t.trace = s.tracer.Begin(c.Fields.Header(traceparent), c.At); t.trace.Live() {
			c.Trace = t.trace.Append(c.Trace[:0])
		}
	}
	if s.shedding.Load() {
		return gate.Busy
	}
	if err := s.head(c); err != nil {
		return err
	}
	if s.challenge(c) {
		return nil
	}
	if isPreflight(c) {
		return s.preflight(c)
	}
	if err := s.routes.Pass(c); err != nil {
		return err
	}
	r, ok := c.Prepared.(*ready)
	if !ok {
		return errors.New("gateway: the route was not prepared")
	}
	if t.ready = r; r.broken != nil {
		return r.broken
	}
	if c.Route.Secure && !c.TLS {
		return insecure
	}
	if t.length > maxBody(c) {
		return gate.BodyTooLarge
	}
	if c.Chain != nil {
		for _, f := range c.Chain.Arrive {
			if err := f.Arrive(c); err != nil || c.Replied() {
				return err
			}
		}
	}
	if err := s.auth.Pass(c); err != nil {
		return err
	}
	if c.How == gate.ByAppCode && !c.TLS && (c.Group.SecureAppCode || s.options.SecureAppCodes) {
		return codeInTheClear
	}
	if c.Chain != nil {
		if c.Chain.Body > 0 {
			if err := c.ReadBody(c); err != nil {
				return err
			}
		}
		for _, f := range c.Chain.Admit {
			if err := f.Admit(c); err != nil || c.Replied() {
				return err
			}
		}
	}
	if r.limits == nil {
		return nil
	}
	if r.limits.ReadsBody() || r.mapping != nil && r.mapping.ReadsBody(c) {
		if err := c.ReadBody(c); err != nil {
			return err
		}
	}
	return s.throttle.Take(c, r.limits, c.At)
}

// preflight answers a browser that asks whether it may call: a filter of the route does, or
// every origin may. Nobody is authenticated for it (protocol section 5).
func (s *Server) preflight(c *gate.Call) error {
	method := c.Method
	c.Method = c.Fields.Header(requestMethod)
	err := s.routes.Pass(c)
	c.Method = method
	if err != nil {
		if err := s.routes.Known(c); err != nil {
			return err
		}
	}
	if c.Chain != nil {
		for _, f := range c.Chain.Arrive {
			if err := f.Arrive(c); err != nil || c.Replied() {
				return err
			}
		}
	}
	c.Reply(200, preflightFields, nil)
	return nil
}

// codeInTheClear: the AppCode is right, and whoever listened on the way has it now.
var codeInTheClear = gate.Refuse("A401AC", "Invalid AppCode `it must come over https here; reset it, as it was sent in the clear`")

var insecure = gate.Refuse("I403PT", "Invalid protocol http unsupported")

// spend reserves a unit of the app's packages, and makes the request the seller's.
func (t *turn) spend() error {
	c := t.c
	if c.Hold.Held() {
		return t.rewrite() // a loop has reserved it
	}
	hold, err := t.s.quota.Reserve(c.App, c.Route.Product)
	if err != nil {
		return err
	}
	c.Hold = hold
	return t.rewrite()
}

// rewrite makes the request the seller's, or answers in his place.
func (t *turn) rewrite() error {
	c := t.c
	if m := t.ready.mapping; m != nil {
		if err := m.Apply(c); err != nil {
			return err
		}
	}
	if c.Chain != nil {
		for _, f := range c.Chain.Send {
			if err := f.Send(c); err != nil || c.Replied() {
				return err
			}
		}
	}
	if m := t.ready.mapping; m != nil {
		m.Reply(c) // a mock, if the route has one
	}
	return nil
}

// readBody reads the body, up to the route's limit.
func (t *turn) readBody(c *gate.Call) error {
	if c.BodyRead {
		return nil
	}
	limit := min(maxBody(c), maxWhole)
	if t.length > limit {
		return gate.BodyTooLarge
	}
	if t.length > int64(cap(c.Body)) && t.length <= 64<<10 {
		c.Body = make([]byte, 0, t.length)
	}
	if t.length == 0 {
		c.BodyRead = true
		return nil
	}
	for {
		piece, err := t.to.Next()
		if int64(len(c.Body)+len(piece)) > limit {
			return gate.BodyTooLarge
		}
		c.Body = append(c.Body, piece...)
		if errors.Is(err, io.EOF) {
			c.BodyRead = true
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// record writes on the call how it will be journalled if the answer stands.
func (t *turn) record() {
	s, c, record := t.s, t.c, &t.c.Record
	*record = control.CallRecord{
		Request: c.ID, At: c.At, App: c.App, Grant: c.Hold.Grant, Package: c.Hold.Package, Serial: -1,
		Status: c.Answer.Status, Outcome: control.Free, Took: t.at.Sub(t.began),
	}
	if c.Route == nil {
		return
	}
	record.Product, record.Route, record.Method, record.Path = c.Route.Product, c.Route.ID, c.Route.Method, c.Route.Path
	if record.Method == "ANY" {
		record.Method = method(c.Method)
	}
	if c.Hold.Held() && s.costs(c) {
		record.Serial, record.Outcome = c.Hold.Serial, control.Charged
	}
}

// costs decides whether an answer is charged: a filter's word goes before the route's rule.
func (s *Server) costs(c *gate.Call) bool {
	switch c.Charge {
	case gate.ChargeIt:
		return true
	case gate.FreeOfCharge:
		return false
	}
	return charged(c.Route.Charge, c.Answer.Status)
}

// method is the text of a method; for those that are usual it is always the same text.
func method(m []byte) string {
	for _, usual := range [...]string{"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"} {
		if string(m) == usual {
			return usual
		}
	}
	return string(m)
}

// charged is table 1.6 of design/metering.md.
func charged(on control.ChargeOn, status int) bool {
	switch {
	case status < 400:
		return true
	case status >= 500 || on != control.ChargeAnswered:
		return false
	}
	switch status {
	case 401, 403, 408, 425, 429:
		return false
	}
	return true
}

// outcome of a call that got a refusal: what failed on the way to the seller is free, what
// was turned away is refused.
func outcome(r *gate.Refusal) control.Outcome {
	switch r.Code[0] {
	case 'D', 'N', 'X':
		return control.Free
	}
	return control.Refused
}

// refusal is what the caller is told of an error.
func (s *Server) refusal(c *gate.Call, err error) *gate.Refusal {
	var r *gate.Refusal
	if errors.As(err, &r) {
		return r
	}
	s.log.Error("call", zap.Stringer("request", c.ID), zap.Error(err))
	var u *auth.Unknowable
	if errors.As(err, &u) {
		return gate.Busy // a credential is wrong only if we know that it is
	}
	return gate.InternalFault
}

// head splits the request target at its first question mark, and leaves both parts as they
// are. Framing was checked before.
func (s *Server) head(c *gate.Call) error {
	switch string(c.Method) {
	case "CONNECT", "TRACE":
		return gate.Refuse("I405UM", "Unsupported Method `"+string(c.Method)+"`")
	}
	if c.From = c.Peer; len(s.options.TrustedProxies) > 0 && s.trusted(c.Peer) {
		c.From = s.from(c)
		c.TLS = c.TLS || bytes.EqualFold(c.Fields.Header(forwardedProto), https)
	}
	t := c.Target
	if t[0] != '/' {
		// The absolute form names a host of its own: it may only repeat the other.
		scheme, rest, ok := bytes.Cut(t, []byte("://"))
		host, _, _ := bytes.Cut(rest, []byte("/"))
		host, _, _ = bytes.Cut(host, []byte("?"))
		if !ok || !bytes.EqualFold(host, c.Host) || !bytes.EqualFold(scheme, []byte("http")) && !bytes.EqualFold(scheme, []byte("https")) {
			return gate.Refuse("I400RU", "Invalid Request Uri `host`")
		}
		t = rest[len(host):]
		if len(t) == 0 || t[0] != '/' {
			return gate.Refuse("I400RU", "Invalid Request Uri `path`")
		}
	}
	path, query, _ := bytes.Cut(t, []byte("?"))
	c.Target, c.Path = t, path
	c.Query = append(c.Query[:0], query...)
	return nil
}

var (
	forwardedFor   = []byte("X-Forwarded-For")
	forwardedProto = []byte("X-Forwarded-Proto")
	https          = []byte("https")
)

// from is who calls through a proxy that the operator trusts: the last address it names
// that is no such proxy (S7).
func (s *Server) from(c *gate.Call) netip.Addr {
	from := c.Peer
	for i := len(c.Fields) - 1; i >= 0; i-- {
		if !wire.Alike(c.Fields[i].Name, forwardedFor) {
			continue
		}
		for list := c.Fields[i].Value; len(list) > 0; {
			one := list
			if at := bytes.LastIndexByte(list, ','); at >= 0 {
				one, list = list[at+1:], list[:at]
			} else {
				list = nil
			}
			a, err := netip.ParseAddr(string(wire.Trim(one)))
			if err != nil {
				return from
			}
			if from = a.Unmap(); !s.trusted(from) {
				return from
			}
		}
	}
	return from
}

func (s *Server) trusted(a netip.Addr) bool {
	for _, p := range s.options.TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func maxBody(c *gate.Call) int64 {
	limit := int64(DefaultMaxBody)
	if c.Route.MaxBody > 0 {
		limit = c.Route.MaxBody
	}
	if c.MaxBody > 0 {
		limit = min(limit, c.MaxBody)
	}
	return limit
}

// broken answers what is no request at all.
func (s *Server) broken(to *conn, fault error) {
	t := s.take()
	r := refusalOf(fault, to.request.Fields)
	refuse(t.c, r)
	t.finish()
	to.begin(t.c, answerBody{})
	_ = to.end() // he may have gone
	s.meter.Nowhere.Refused(r.Code)
	s.turns.Put(t)
}

// refusalOf says in the protocol's words what a fault of a head is.
func refusalOf(fault error, read wire.Fields) *gate.Refusal {
	var f wire.Fault
	if !errors.As(fault, &f) {
		return tooSlow
	}
	if f == wire.Repeated && len(read) > 0 {
		return gate.Refuse("I400HD", "Invalid Header `"+string(read[len(read)-1].Name)+"` is repeated")
	}
	return faults[f]
}

// faults are the protocol's words for what wire finds.
var faults = map[wire.Fault]*gate.Refusal{
	wire.BadMethod:      gate.Refuse("I400RU", "Invalid Request Uri `malformed request`"),
	wire.BadTarget:      gate.Refuse("I400RU", "Invalid Request Uri `character`"),
	wire.TargetTooLong:  gate.TargetTooLarge,
	wire.BadVersion:     gate.Refuse("I403PT", "Invalid protocol `?` unsupported"),
	wire.BadLineEnd:     gate.Refuse("I400HD", "Invalid Header `?` does not end with CR LF"),
	wire.HeadTooLarge:   gate.Refuse("I413UL", "Request URL too Large"),
	wire.TooManyFields:  gate.Refuse("I400HD", "Invalid Header `?` is one too many"),
	wire.BadName:        gate.Refuse("I400HD", "Invalid Header `?` has no proper name"),
	wire.BadValue:       gate.Refuse("I400HD", "Invalid Header `?` holds a control character"),
	wire.Folded:         gate.Refuse("I400HD", "Invalid Header `?` is folded"),
	wire.Repeated:       gate.Refuse("I400HD", "Invalid Header `?` is repeated"),
	wire.BadHost:        gate.Refuse("I400HD", "Invalid Header `Host` must be there once, and be a host"),
	wire.BadLength:      gate.Refuse("I400HD", "Invalid Header `Content-Length` must be digits, once"),
	wire.BadCoding:      gate.Refuse("I400HD", "Invalid Header `Transfer-Encoding` must be chunked, once, in HTTP/1.1"),
	wire.TwoLengths:     gate.Refuse("I400BD", "Invalid Body: its length is said twice"),
	wire.BadExpectation: gate.Refuse("I400HD", "Invalid Header `Expect` must be 100-continue"),
	wire.BadConnection:  gate.Refuse("I400HD", "Invalid Header `Connection`"),
}

var tooSlow = gate.Refuse("I400RU", "Invalid Request Uri `request took too long`")

// logCall writes one line for a call. The path is the route's: the caller's may hold what
// is nobody's business.
func (s *Server) logCall(r *control.CallRecord) {
	if line := s.access.Check(zap.InfoLevel, "call"); line != nil {
		line.Write(zap.Stringer("request", r.Request), zap.String("app", string(r.App)), zap.String("route", string(r.Route)),
			zap.String("method", r.Method), zap.String("path", r.Path), zap.Int("status", r.Status), zap.String("code", r.Code),
			zap.String("outcome", string(r.Outcome)), zap.Duration("took", r.Took))
	}
}
