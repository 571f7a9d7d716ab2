// Package h2 lets callers come by HTTP/2 over TLS. It turns each of their requests into
// what the row of gates knows: a head as it would have come by HTTP/1.1, a body to read,
// and an answer to give. There is one reading of a message and one set of rules: the head
// is written down and read again by package wire, which refuses here what it refuses there.
//
// The frames are the standard library's affair, and so are its bounds against floods of
// streams, resets and settings. Nothing of HTTP/1.1's way is touched by this.
//
// What differs from HTTP/1.1: names of headers have no case on this wire; they come to the
// row in the usual spelling, and names that differ come in the order of the alphabet. Lines
// of one name keep their order.
package h2

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/souk-market/souk/gateway/wire"
)

// Row answers requests. Serve is called from a goroutine for each request, and returns when
// the answer was given; what belongs to the exchange must not be used later.
type Row interface{ Serve(*Exchange) }

// Options of a Front. The zero value has the defaults.
type Options struct {
	Bounds     wire.Bounds   // of heads
	Streams    int           // at once on a connection; 0: DefaultStreams
	Idle       time.Duration // of a connection without streams; 0: DefaultIdle
	WriteStall time.Duration // until a connection that takes nothing is closed; 0: DefaultWriteStall
	Ping       time.Duration // a connection that is silent for so long is asked whether it lives; 0: DefaultPing
	Log        *log.Logger   // for the frames' own lines, which hold no headers; nil: none
}

// Defaults of Options.
const (
	DefaultStreams    = 128
	DefaultIdle       = 75 * time.Second
	DefaultWriteStall = 30 * time.Second
	DefaultPing       = 30 * time.Second
)

func or[T int | time.Duration](n, usual T) T {
	if n == 0 {
		return usual
	}
	return n
}

// Front serves connections that have agreed on "h2".
type Front struct {
	row    Row
	bounds wire.Bounds
	server *http.Server
	conns  handed
	served chan error
}

// New makes a front before a row. Close ends it.
func New(row Row, o Options) *Front {
	f := &Front{row: row, bounds: o.Bounds, served: make(chan error, 1), conns: handed{next: make(chan net.Conn), shut: make(chan struct{})}}
	quiet := o.Log
	if quiet == nil {
		quiet = log.New(io.Discard, "", 0)
	}
	var only http.Protocols
	only.SetHTTP2(true)
	f.server = &http.Server{
		Handler: http.HandlerFunc(f.serve), ErrorLog: quiet, Protocols: &only,
		// A little more than what wire takes, so that wire says what is too much.
		MaxHeaderBytes: headBytes(o.Bounds) + 4<<10,
		IdleTimeout:    or(o.Idle, DefaultIdle),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: or(o.Streams, DefaultStreams),
			WriteByteTimeout:     or(o.WriteStall, DefaultWriteStall),
			SendPingTimeout:      or(o.Ping, DefaultPing),
			PingTimeout:          15 * time.Second,
			// A body that the row does not read must not take more than this.
			MaxReceiveBufferPerStream:     256 << 10,
			MaxReceiveBufferPerConnection: 1 << 20,
		},
		ConnState: f.state,
	}
	go func() { f.served <- f.server.Serve(&f.conns) }()
	return f
}

func headBytes(b wire.Bounds) int {
	if b.Head == 0 {
		return wire.DefaultHead
	}
	return b.Head
}

// Serve takes over a connection whose handshake is done and has agreed on "h2", and returns
// when it has ended. Whoever accepted it may then give its place to another.
func (f *Front) Serve(c *tls.Conn) {
	gone := make(chan struct{})
	f.conns.put(c, gone)
	<-gone
}

// state ends Serve with its connection.
func (f *Front) state(c net.Conn, s http.ConnState) {
	if s == http.StateClosed || s == http.StateHijacked {
		f.conns.end(c)
	}
}

// Drain tells all callers to open no further streams here, waits for those that are open as
// long as ctx allows, and then closes what is left.
func (f *Front) Drain(ctx context.Context) error {
	err := f.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, f.server.Close())
	}
	if end := <-f.served; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}

// handed is a listener whose connections are put in by hand.
type handed struct {
	next chan net.Conn
	once sync.Once
	shut chan struct{}

	mu   sync.Mutex // guards gone
	gone map[net.Conn]chan struct{}
}

func (h *handed) put(c net.Conn, gone chan struct{}) {
	h.mu.Lock()
	if h.gone == nil {
		h.gone = map[net.Conn]chan struct{}{}
	}
	h.gone[c] = gone
	h.mu.Unlock()
	select {
	case h.next <- c:
	case <-h.shut:
		_ = c.Close() // nobody serves it any more
		h.end(c)
	}
}

func (h *handed) end(c net.Conn) {
	h.mu.Lock()
	gone := h.gone[c]
	delete(h.gone, c)
	h.mu.Unlock()
	if gone != nil {
		close(gone)
	}
}

// Accept waits for the next connection.
func (h *handed) Accept() (net.Conn, error) {
	select {
	case c := <-h.next:
		return c, nil
	case <-h.shut:
		return nil, net.ErrClosed
	}
}

// Close may be called again.
func (h *handed) Close() error {
	h.once.Do(func() { close(h.shut) })
	return nil
}

// Addr is nobody's.
func (h *handed) Addr() net.Addr { return &net.TCPAddr{} }

// Exchange is one request and its answer.
type Exchange struct {
	// Request is the head as it would have come by HTTP/1.1. Its length is wire.Chunked where
	// the caller does not say it; its field Minor is 1.
	Request wire.Request
	Remote  netip.AddrPort
	TLS     *tls.ConnectionState
	// Fault is set if the head is no clear message; then Request is not to be trusted, and
	// the row has only to answer that it is refused.
	Fault error

	body     io.Reader
	w        http.ResponseWriter
	flusher  *http.ResponseController
	context  context.Context
	begun    bool
	aborted  bool
	left     int64 // bytes that the head of the answer has promised and that are not written; -1: unknown
	headOnly bool
	raw      []byte
}

// Read reads the body. It asks a caller who waits for it to go on, so it must not be called
// before the call is let through. An error other than io.EOF means that the body is not
// whole.
func (e *Exchange) Read(p []byte) (int, error) { return e.body.Read(p) }

// Done is closed when the caller has gone or has taken the request back.
func (e *Exchange) Done() <-chan struct{} { return e.context.Done() }

// Errors of an exchange.
var (
	errBegun  = errors.New("h2: the answer has begun already")
	errLength = errors.New("h2: more bytes than the head of the answer has promised")
)

// Head begins the answer. length is that of the body, or wire.Chunked. Headers that concern
// a connection are left out: there is none of that kind here. Nothing is added to them.
func (e *Exchange) Head(status int, fields wire.Fields, length int64) error {
	if e.begun {
		return errBegun
	}
	e.begun, e.left = true, length
	h := e.w.Header()
	// The library would fill these in.
	h["Date"], h["Content-Type"] = nil, nil
	for _, f := range fields {
		name := http.CanonicalHeaderKey(string(f.Name))
		switch name {
		case "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade", "Content-Length", "Trailer":
			continue
		}
		h[name] = append(h[name], string(f.Value))
	}
	if length >= 0 && status != http.StatusNoContent {
		h["Content-Length"] = []string{strconv.FormatInt(length, 10)}
	}
	if length < 0 {
		e.left = -1
	}
	e.w.WriteHeader(status)
	return nil
}

// Write sends a part of the body. It waits as long as the caller takes nothing; an error
// means that he has gone.
func (e *Exchange) Write(p []byte) (int, error) {
	if e.headOnly {
		return len(p), nil
	}
	if e.left >= 0 {
		if int64(len(p)) > e.left {
			return 0, errLength
		}
		e.left -= int64(len(p))
	}
	return e.w.Write(p)
}

// Flush sends what waits, the head as well. Without it that is left to the library, which
// sends when there is enough or when Serve returns.
func (e *Exchange) Flush() error { return e.flusher.Flush() }

// Trailers are sent behind the body, once Serve returns.
func (e *Exchange) Trailers(fields wire.Fields) {
	h := e.w.Header()
	for _, f := range fields {
		name := http.TrailerPrefix + http.CanonicalHeaderKey(string(f.Name))
		h[name] = append(h[name], string(f.Value))
	}
}

// StopReading makes a Read that waits, and all that follow, fail. It may be called from
// another goroutine.
func (e *Exchange) StopReading() { _ = e.flusher.SetReadDeadline(time.Unix(1, 0)) }

// Abort ends the answer so that the caller sees that it is not whole. It takes effect when
// Serve returns.
func (e *Exchange) Abort() { e.aborted = true }

// serve is the library's handler.
func (f *Front) serve(w http.ResponseWriter, r *http.Request) {
	e := &Exchange{body: r.Body, w: w, flusher: http.NewResponseController(w), context: r.Context(), TLS: r.TLS, headOnly: r.Method == http.MethodHead}
	e.Remote, _ = netip.ParseAddrPort(r.RemoteAddr) // the library wrote it
	e.Fault = e.read(r, f.bounds)
	f.row.Serve(e)
	// A body that is shorter than promised would look like our mistake to the library, and
	// like the end to some callers.
	if e.aborted || !e.begun || e.left > 0 && !e.headOnly {
		panic(http.ErrAbortHandler)
	}
}

// read writes the head down as HTTP/1.1 has it, and reads that.
func (e *Exchange) read(r *http.Request, bounds wire.Bounds) error {
	host := r.Host
	if more, ok := r.Header["Host"]; ok && (len(more) != 1 || !strings.EqualFold(more[0], host)) {
		return wire.BadHost
	}
	b := append(e.raw[:0], r.Method...)
	b = append(append(append(b, ' '), r.RequestURI...), " HTTP/1.1\r\nHost: "...)
	b = append(append(b, host...), "\r\n"...)
	names := make([]string, 0, len(r.Header))
	for name := range r.Header {
		if name != "Host" && name != "Content-Length" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	lines := 1
	for _, name := range names {
		lines += len(r.Header[name])
		for _, value := range r.Header[name] {
			b = append(append(append(append(b, name...), ": "...), value...), "\r\n"...)
		}
	}
	if list := r.Header["Content-Length"]; len(list) > 1 {
		return wire.BadLength
	}
	switch {
	case r.ContentLength > 0 || r.ContentLength == 0 && len(r.Header["Content-Length"]) > 0:
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), r.ContentLength, 10), "\r\n"...)
		lines++
	case r.ContentLength < 0:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
		lines++
	}
	e.raw = append(b, "\r\n"...)
	n, err := e.Request.Parse(e.raw, bounds)
	// The library lets no line end through; if one came all the same, there are more lines
	// than were written, or two messages.
	if err == nil && (n != len(e.raw) || len(e.Request.Fields) != lines) {
		return wire.BadLineEnd
	}
	return err
}
