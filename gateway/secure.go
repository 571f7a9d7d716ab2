package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/gateway/certificate"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/h2"
	"github.com/souk-market/souk/gateway/ledger"
	"github.com/souk-market/souk/gateway/wire"
	"github.com/souk-market/souk/signer"
)

// ServeTLS answers callers over TLS until Close, by HTTP/1.1 or HTTP/2, and closes l. It
// needs Options.Certificates.
func (s *Server) ServeTLS(l net.Listener) error {
	if s.options.Certificates == nil {
		_ = l.Close() // it was of no use
		return errNoCertificates
	}
	own := newListener(l, s.places, s.options.MaxConnsPerIP)
	if !s.open(own) {
		return l.Close()
	}
	config := s.options.Certificates.Config()
	return own.each(func(n net.Conn) { s.secure(n, config) })
}

// secure makes the handshake, and serves what was agreed on.
func (s *Server) secure(n net.Conn, config *tls.Config) {
	c := tls.Server(n, config)
	ctx, cancel := context.WithTimeout(s.life, s.options.HeadTimeout)
	err := c.HandshakeContext(ctx)
	cancel()
	if err != nil {
		s.handshakes.Add(1)
		_ = c.Close() // there is nobody to talk to
		return
	}
	switch c.ConnectionState().NegotiatedProtocol {
	case "h2":
		s.two.Serve(c)
	case "", "http/1.1":
		s.host(c)
	default:
		_ = c.Close() // an authority has seen what it wanted
	}
}

// certify has the certificates of the configuration shown, and the authority asked for the
// names of its groups.
func (s *Server) certify(n *ledger.Snapshot) {
	store := s.options.Certificates
	if store == nil {
		return
	}
	var list []certificate.Upload
	for _, c := range n.Certificates {
		if !c.Live {
			continue
		}
		key, err := s.secret(c.Key)
		if err != nil {
			s.log.Error("the key of a certificate", zap.String("certificate", string(c.ID)), zap.Error(err))
			continue
		}
		list = append(list, certificate.Upload{ID: string(c.ID), Domains: c.Domains, Chain: []byte(c.Chain), Key: key})
	}
	if err := store.Set(list); err != nil {
		s.log.Warn("certificates", zap.Error(err))
	}
	if store.Authority == nil {
		return
	}
	var names []string
	for _, g := range n.Groups {
		if g.Live {
			names = append(names, g.Domains...)
		}
	}
	store.Authority.Serve(names)
}

// challenge answers an authority that asks by http-01 whether a name is ours.
func (s *Server) challenge(c *gate.Call) bool {
	store := s.options.Certificates
	if store == nil || store.Authority == nil || !bytes.HasPrefix(c.Path, challengePath) {
		return false
	}
	body, ok := store.Authority.Challenge(string(c.Host), string(c.Path))
	if ok {
		c.Reply(200, gate.Fields{{Name: nameContentType, Value: []byte("text/plain")}}, body)
	}
	return ok
}

var challengePath = []byte(certificate.ChallengePath)

// rowOfTwo is the row of gates for callers of HTTP/2.
type rowOfTwo struct{ s *Server }

// Serve takes a request through the row.
func (r rowOfTwo) Serve(e *h2.Exchange) {
	t := r.s.take()
	to := &streamed{e: e}
	c, h := t.c, &e.Request
	c.Method, c.Host, c.Target, c.TLS, c.Peer = h.Method, h.Host, h.Target, true, e.Remote.Addr().Unmap()
	t.to = to
	if e.Fault != nil {
		r.s.meter.Begin()
		refuse(c, refusalOf(e.Fault, h.Fields))
		t.code, t.refused = codeOf(c), true
		t.finish()
		t.end()
		to.begin(c, answerBody{length: c.Answer.Length})
		_ = to.write(c.Answer.Body) // he may have gone
		r.s.turns.Put(t)
		return
	}
	c.Fields = append(c.Fields[:0], h.Fields...)
	c.Framed, t.length = h.Length != 0, h.Length
	t.carry()
	r.s.turns.Put(t)
}

func codeOf(c *gate.Call) string { return string(c.Answer.Fields.Header(nameErrorCode)) }

// streamed is a caller of HTTP/2.
type streamed struct {
	e    *h2.Exchange
	room []byte
	none bool
}

// Next is the next piece of the body; who waits to be asked for it is asked.
func (s *streamed) Next() ([]byte, error) {
	if s.room == nil {
		s.room = make([]byte, bodyBuffer)
	}
	n, err := s.e.Read(s.room)
	if err != nil && !errors.Is(err, io.EOF) {
		err = bodyFault
	}
	return s.room[:n], err
}

// Stop makes a Next that waits fail.
func (s *streamed) Stop() { s.e.StopReading() }

func (s *streamed) begin(c *gate.Call, body answerBody) {
	a := &c.Answer
	length := body.length
	if s.none = body.none; s.none {
		if length = a.Stated; length < 0 || a.Status == 204 {
			length = wire.Chunked
		}
	}
	fields := append(a.Fields, gate.Field{Name: nameRequestID, Value: c.ID.Append(nil)})
	_ = s.e.Head(a.Status, fields, length) // who has gone is noticed at the next write
}

var nameRequestID = []byte(signer.HeaderRequestID)

func (s *streamed) write(piece []byte) error {
	_, err := s.e.Write(piece)
	return err
}

func (s *streamed) flush() error { return s.e.Flush() }
func (s *streamed) end() error   { return nil }
func (s *streamed) abort()       { s.e.Abort() }
func (s *streamed) hangUp()      {}

func (s *streamed) trailers(f gate.Fields) { s.e.Trailers(f) }

// watch hears of a stream that the caller has taken back.
func (s *streamed) watch(gone func()) (stop func()) {
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-s.e.Done():
			gone()
		case <-over:
		}
	}()
	return func() { close(over); <-done }
}

// drainTwo lets the streams that are under way end.
func (s *Server) drainTwo(ctx context.Context) error {
	if s.two == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return s.two.Drain(ctx)
}
