package gateway

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/souk-market/souk/gateway/auth"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/signer"
)

// DefaultMaxBody bounds the body of a call to a route that says nothing of it.
const DefaultMaxBody = 10 << 20

// serve carries one call through the row of gates and writes what the caller gets.
func (s *Server) serve(ctx *fasthttp.RequestCtx) {
	began := time.Now()
	c := s.take(ctx)
	defer s.calls.Put(c)
	s.meter.Begin()
	var upstream time.Duration
	settled := false
	err := s.guard(c, func() error {
		if err := s.admit(c); err != nil {
			return err
		}
		if c.Route == nil {
			return nil // a preflight, answered
		}
		if err := s.spend(c); err != nil {
			return err
		}
		sent := time.Now()
		err := s.forward(c)
		upstream = time.Since(sent)
		s.meter.Upstream(upstream)
		if err != nil {
			return err
		}
		settled = true
		return s.settle(c, time.Since(began))
	})
	if c.Hold.Held() && !settled {
		s.quota.Void(c.Hold)
	}
	s.record(c, time.Since(began))
	record := &c.Record
	code := class(record.Status)
	if err != nil {
		r := s.refusal(c, err)
		refuse(ctx, c, r)
		record.Status, record.Code, record.Outcome, record.Serial = r.Status, r.Code, outcome(r), -1
		code = r.Code
	}
	s.finish(c, upstream, time.Since(began))
	var id control.RouteID
	if c.Route != nil {
		id = c.Route.ID
		// A charged call was written down when it was settled. One that nobody can be named
		// for is counted only: strangers could fill the ledger otherwise.
		if c.App != "" && !(settled && err == nil && record.Outcome == control.Charged) {
			s.journal.Note(record)
		}
	}
	s.meter.Done(id, record.Outcome, code)
	s.logCall(record)
}

// take makes a call of a request, before anything of it was looked at.
func (s *Server) take(ctx *fasthttp.RequestCtx) *gate.Call {
	c := s.calls.Get().(*gate.Call)
	c.Reset()
	now := s.now()
	c.Request, c.ID, c.At, c.ReadBody = ctx, control.NewRequestID(now), now, s.read
	return c
}

// guard runs f; if it panics, the call is refused, and the program lives.
func (s *Server) guard(c *gate.Call, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("panic in a call", zap.Stringer("request", c.ID), zap.Any("panic", r), zap.Stack("stack"))
			c.Request.SetConnectionClose() // who knows what was read
			err = gate.InternalFault
		}
	}()
	return f()
}

// admit asks all gates that cost nothing.
func (s *Server) admit(c *gate.Call) error {
	if err := s.head(c); err != nil {
		return err
	}
	if isPreflight(c) {
		if err := s.routes.Known(c); err != nil {
			return err
		}
		preflight(c.Request)
		return nil
	}
	if err := s.routes.Pass(c); err != nil {
		return err
	}
	if int64(c.Request.Request.Header.ContentLength()) > maxBody(c.Route) {
		return gate.BodyTooLarge
	}
	if err := s.auth.Pass(c); err != nil {
		return err
	}
	if err := s.throttle.Pass(c); err != nil {
		return err
	}
	return c.ReadBody(c)
}

// spend reserves a unit of the app's packages.
func (s *Server) spend(c *gate.Call) error {
	hold, err := s.quota.Reserve(c.App, c.Route.Product)
	if err != nil {
		return err
	}
	c.Hold = hold
	return nil
}

// forward asks the seller.
func (s *Server) forward(c *gate.Call) error {
	return s.proxy.Forward(c, &c.Request.Response)
}

// settle makes the unit a charged one, or gives it back, before the first byte of the
// answer leaves: who holds an answer has paid for it.
func (s *Server) settle(c *gate.Call, took time.Duration) error {
	s.record(c, took)
	if c.Record.Outcome != control.Charged {
		s.quota.Void(c.Hold)
		return nil
	}
	if err := s.quota.Settle(c.Hold, &c.Record); err != nil {
		s.log.Error("settle", zap.Stringer("request", c.ID), zap.Error(err))
		return gate.Busy
	}
	return nil
}

// record writes on the call how it will be journalled if the seller's answer stands.
func (s *Server) record(c *gate.Call, took time.Duration) {
	record := &c.Record
	*record = control.CallRecord{
		Request: c.ID, At: c.At, App: c.App, Grant: c.Hold.Grant, Package: c.Hold.Package, Serial: -1,
		Status: c.Request.Response.StatusCode(), Outcome: control.Free, Took: took,
	}
	if c.Route == nil {
		return
	}
	record.Product, record.Route, record.Method, record.Path = c.Route.Product, c.Route.ID, c.Route.Method, c.Route.Path
	if record.Method == "ANY" {
		record.Method = method(c.Request.Method())
	}
	if c.Hold.Held() && charged(c.Route.Charge, record.Status) {
		record.Serial, record.Outcome = c.Hold.Serial, control.Charged
	}
}

// method is the text of a method; for those that are usual it is always the same text.
func method(m []byte) string {
	for _, usual := range [...]string{"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"} {
		if string(m) == usual {
			return usual
		}
	}
	return string(m[:min(len(m), maxMethod)])
}

// maxMethod bounds what is kept of a method that a caller invented.
const maxMethod = 32

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

func class(status int) string {
	if i := status/100 - 1; i >= 0 && i < len(classes) {
		return classes[i]
	}
	return "?"
}

var classes = [...]string{"1xx", "2xx", "3xx", "4xx", "5xx"}

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

// head reads the head of a request, and refuses what two servers could read differently.
func (s *Server) head(c *gate.Call) error {
	h := &c.Request.Request.Header
	if err := c.Fields.Read(h.RawHeaders()); err != nil {
		c.Request.SetConnectionClose()
		return gate.Refuse("I400HD", "Invalid Header `?` "+err.Error())
	}
	c.Method, c.Host = h.Method(), h.Host()
	switch string(h.Protocol()) {
	case "HTTP/1.1", "HTTP/1.0":
	default:
		c.Request.SetConnectionClose()
		return gate.Refuse("I403PT", "Invalid protocol "+string(h.Protocol())+" unsupported")
	}
	if c.Fields.Has(transferEncoding) && (c.Fields.Has(contentLength) || !h.IsHTTP11()) {
		c.Request.SetConnectionClose()
		return gate.Refuse("I400BD", "Invalid Body: its length is said twice")
	}
	switch string(h.Method()) {
	case "CONNECT", "TRACE":
		c.Request.SetConnectionClose()
		return gate.Refuse("I405UM", "Unsupported Method `"+string(h.Method())+"`")
	}
	return target(c)
}

var (
	transferEncoding = []byte("Transfer-Encoding")
	contentLength    = []byte("Content-Length")
	requestMethod    = []byte("Access-Control-Request-Method")
	origin           = []byte("Origin")
	requestMode      = []byte(signer.HeaderRequestMode)
)

// target splits the request target at its first question mark, and leaves both parts as
// they are.
func target(c *gate.Call) error {
	t := c.Request.Request.Header.RequestURI()
	if i := bytes.IndexAny(t, "#\\\x00"); i >= 0 {
		return gate.Refuse("I400RU", "Invalid Request Uri `character`")
	}
	if len(t) > 0 && t[0] != '/' {
		// The absolute form names a host of its own: it may only repeat the other.
		_, rest, ok := bytes.Cut(t, []byte("://"))
		host, _, _ := bytes.Cut(rest, []byte("/"))
		host, _, _ = bytes.Cut(host, []byte("?"))
		if !ok || !bytes.EqualFold(host, c.Request.Request.Header.Host()) {
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

func maxBody(r *control.Route) int64 {
	if r.MaxBody > 0 {
		return r.MaxBody
	}
	return DefaultMaxBody
}

// read reads the body, up to the route's limit.
func read(c *gate.Call) error {
	if c.BodyRead {
		return nil
	}
	c.BodyRead = true
	stream := c.Request.RequestBodyStream()
	if stream == nil {
		c.Body = append(c.Body[:0], c.Request.Request.Body()...)
		return nil
	}
	limit := maxBody(c.Route)
	if n := c.Request.Request.Header.ContentLength(); n > cap(c.Body) && n <= 64<<10 {
		c.Body = make([]byte, 0, n+1)
	}
	for {
		if len(c.Body) == cap(c.Body) {
			c.Body = append(c.Body, 0)[:len(c.Body)]
		}
		n, err := stream.Read(c.Body[len(c.Body):cap(c.Body)])
		c.Body = c.Body[:len(c.Body)+n]
		if int64(len(c.Body)) > limit {
			c.Request.SetConnectionClose()
			return gate.BodyTooLarge
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			// What follows on the connection is nobody's request.
			c.Request.SetConnectionClose()
			return gate.Refuse("I400BD", "Invalid Body: it broke off")
		}
	}
}

// expect answers Expect: 100-continue. Who would be refused for the head alone need not
// send the body.
func (s *Server) expect(ctx *fasthttp.RequestCtx) int {
	c := s.take(ctx)
	defer s.calls.Put(c)
	err := s.guard(c, func() error {
		if err := s.head(c); err != nil {
			return err
		}
		if err := s.routes.Pass(c); err != nil {
			return err
		}
		if int64(ctx.Request.Header.ContentLength()) > maxBody(c.Route) {
			return gate.BodyTooLarge
		}
		return nil
	})
	if err == nil || isPreflight(c) {
		return fasthttp.StatusContinue
	}
	s.meter.Begin()
	r := s.refusal(c, err)
	refuse(ctx, c, r)
	named(&ctx.Response.Header, c.ID)
	s.meter.Done("", control.Refused, r.Code)
	return r.Status
}

// broken answers what is no request at all.
func (s *Server) broken(ctx *fasthttp.RequestCtx, err error) {
	r := malformed
	var small *fasthttp.ErrSmallBuffer
	switch {
	case errors.As(err, &small):
		r = gate.TargetTooLarge
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		r = gate.BodyTooLarge
	case isTimeout(err):
		r = tooSlow
	}
	refuse(ctx, nil, r)
	named(&ctx.Response.Header, control.NewRequestID(s.now()))
	ctx.SetConnectionClose()
	s.meter.Begin()
	s.meter.Done("", control.Refused, r.Code)
}

var (
	malformed = gate.Refuse("I400RU", "Invalid Request Uri `malformed request`")
	tooSlow   = gate.Refuse("I400RU", "Invalid Request Uri `request took too long`")
)

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// refuse writes a refusal over whatever answer there was.
func refuse(ctx *fasthttp.RequestCtx, c *gate.Call, r *gate.Refusal) {
	h := &ctx.Response.Header
	// Not Reset: it would also forget that we invent no Date.
	for _, name := range h.PeekKeys() {
		if !bytes.EqualFold(name, []byte("Connection")) {
			h.DelBytes(append([]byte{}, name...))
		}
	}
	ctx.Response.ResetBody()
	ctx.Response.SkipBody = false
	h.DisableNormalizing()
	h.SetNoDefaultContentType(true)
	h.SetStatusMessage(nil)
	ctx.SetStatusCode(r.Status)
	h.SetContentLength(0)
	h.Set(signer.HeaderErrorCode, r.Code)
	h.SetBytesV(signer.HeaderErrorMessage, clean(r.Message))
	if r.After > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((r.After+time.Second-1)/time.Second), 10))
	}
	if c != nil && c.Fields.Has(origin) {
		h.Set("Access-Control-Allow-Origin", "*")
	}
}

// maxMessage bounds a message, which may show what the caller sent.
const maxMessage = 4 << 10

// clean makes text fit for a header: control characters become '#', other bytes go out as
// they are.
func clean(message string) []byte {
	b := []byte(message[:min(len(message), maxMessage)])
	for i, c := range b {
		if c < 0x20 || c == 0x7F {
			b[i] = '#'
		}
	}
	return b
}

// finish adds what every answer has.
func (s *Server) finish(c *gate.Call, upstream, took time.Duration) {
	h := &c.Request.Response.Header
	h.DisableNormalizing()
	named(h, c.ID)
	if bytes.EqualFold(c.Fields.Header(requestMode), []byte("debug")) {
		h.Set(signer.HeaderDebugInfo, `{"ServiceLatency":`+strconv.FormatInt(upstream.Milliseconds(), 10)+
			`,"TotalLatency":`+strconv.FormatInt(took.Milliseconds(), 10)+`}`)
	}
	if c.Fields.Has(origin) && len(h.Peek("Access-Control-Allow-Origin")) > 0 {
		h.Add("Access-Control-Expose-Headers", exposed)
	}
}

// named writes the ID of a call on its answer.
func named(h *fasthttp.ResponseHeader, id control.RequestID) {
	var room [36]byte
	h.SetBytesV(signer.HeaderRequestID, id.Append(room[:0]))
}

// The names that a page of another origin may read and send; protocol sections 4.1 and 5.
const (
	exposed = signer.HeaderRequestID + ", " + signer.HeaderErrorCode + ", " + signer.HeaderErrorMessage
	allowed = signer.HeaderKey + ", " + signer.HeaderSignature + ", " + signer.HeaderSignatureMethod + ", " +
		signer.HeaderSignatureHeaders + ", " + signer.HeaderTimestamp + ", " + signer.HeaderNonce + ", " +
		signer.HeaderContentMD5 + ", " + signer.HeaderStage + ", " + signer.HeaderRequestMode + ", " +
		signer.HeaderVersion + ", CA_VERSION, " + signer.HeaderAuthorization + ", Accept, Content-Type, Date"
)

func isPreflight(c *gate.Call) bool {
	return string(c.Request.Method()) == "OPTIONS" && c.Fields.Has(origin) && c.Fields.Has(requestMethod)
}

func preflight(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	h.SetContentLength(0)
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
	h.Set("Access-Control-Allow-Headers", allowed)
	h.Set("Access-Control-Max-Age", "86400")
}

// logCall writes one line for a call. The path is the route's: the caller's may hold what
// is nobody's business.
func (s *Server) logCall(r *control.CallRecord) {
	if line := s.access.Check(zap.InfoLevel, "call"); line != nil {
		line.Write(zap.Stringer("request", r.Request), zap.String("app", string(r.App)), zap.String("route", string(r.Route)),
			zap.String("method", r.Method), zap.String("path", r.Path), zap.Int("status", r.Status), zap.String("code", r.Code),
			zap.String("outcome", string(r.Outcome)), zap.Duration("took", r.Took))
	}
}
