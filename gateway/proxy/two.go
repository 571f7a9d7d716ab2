package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/wire"
)

// twos is HTTP/2 to one place, over TLS or, to an http address, without it. The standard
// library speaks it; an answer belongs to a call by its stream.
type twos struct {
	once      sync.Once
	transport *http.Transport
}

func (t *twos) of(p *pool) *http.Transport {
	t.once.Do(func() {
		var only http.Protocols
		only.SetHTTP2(true)
		only.SetUnencryptedHTTP2(true)
		dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, p.bounds.connect)
			defer cancel()
			c, err := p.dial(ctx)
			if err != nil {
				return nil, err
			}
			return c.Conn, nil
		}
		t.transport = &http.Transport{
			Protocols: &only, DialContext: dial, DialTLSContext: dial, DisableCompression: true,
			IdleConnTimeout: p.bounds.life, MaxResponseHeaderBytes: DefaultMaxHead,
			HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second},
		}
	})
	return t.transport
}

func (t *twos) close() {
	t.once.Do(func() {})
	if t.transport != nil {
		t.transport.CloseIdleConnections()
	}
}

// twoStream is an answer that comes over HTTP/2.
type twoStream struct {
	answer *http.Response
	cancel context.CancelFunc
	body   *sourceReader
	room   []byte
	slots  chan struct{}
}

// sourceReader reads a Source as an io.Reader.
type sourceReader struct {
	source Source
	rest   []byte
	failed error
}

// Close makes a Read that waits return: nobody wants the body any more.
func (r *sourceReader) Close() error {
	r.source.Stop()
	return nil
}

func (r *sourceReader) Read(b []byte) (int, error) {
	for len(r.rest) == 0 {
		var err error
		if r.rest, err = r.source.Next(); err != nil && len(r.rest) == 0 {
			if !errors.Is(err, io.EOF) {
				r.failed = err
			}
			return 0, err
		}
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// tryTwo is try over HTTP/2.
func (p *Proxy) tryTwo(ctx context.Context, c *gate.Call, w *Way, t *target, length int64, body Source) (*Stream, bool, error) {
	select {
	case t.pool.slots <- struct{}{}:
	default:
		if err := t.pool.queue(ctx); err != nil {
			return nil, true, err
		}
	}
	own, cancel := context.WithCancel(ctx)
	two := &twoStream{cancel: cancel, slots: t.pool.slots}
	request := twoRequest(c, t, length)
	whole, have := c.Body, c.BodyRead || body == nil
	if out := c.Changed(); out != nil && out.HasBody {
		whole, have = out.Body, true
	}
	switch {
	case have && len(whole) == 0:
		request.ContentLength = 0
	case have:
		request.ContentLength = int64(len(whole))
		request.Body = &sourceReader{source: &wholeSource{body: whole}}
	default:
		two.body = &sourceReader{source: body}
		request.Body = two.body
	}
	timer := time.AfterFunc(w.timeout, cancel)
	t.flight.Add(1)
	c.Tries++
	answer, err := t.pool.two.of(t.pool).RoundTrip(request.WithContext(own))
	if !timer.Stop() && err == nil {
		_ = answer.Body.Close() // it came too late
		err = context.DeadlineExceeded
	}
	if err != nil {
		timedOut := own.Err() != nil
		two.close()
		t.flight.Add(-1)
		var refusal *gate.Refusal
		switch {
		case errors.As(err, &refusal): // of the dial
			c.Tries--
			return nil, true, refusal
		case two.body != nil && two.body.failed != nil:
			return nil, false, bodyFault(two.body.failed)
		case timedOut:
			return nil, false, gate.UpstreamTimeout
		}
		return nil, false, gate.AnswerBroken
	}
	two.answer = answer
	s := streams.Get().(*Stream)
	s.head.Reset()
	*s = Stream{pool: t.pool, target: t, idle: w.up.idle, head: s.head, out: s.out[:0], two: two}
	a := &c.Answer
	a.Status, a.Reason, a.Stated = answer.StatusCode, nil, answer.ContentLength
	a.Fields = append(a.Fields[:0], gate.KeepAnswerFields(twoFields(answer.Header))...)
	switch {
	case string(c.Method) == "HEAD" || a.Status == 204 || a.Status == 304:
		a.Length = 0
	case answer.ContentLength >= 0:
		a.Length = answer.ContentLength
	default:
		a.Length = wire.Chunked
	}
	return s, false, nil
}

// twoFields are headers in the order of their names: HTTP/2's own order is not kept.
func twoFields(h http.Header) (list gate.Fields) {
	var keys []string
	for name := range h {
		keys = append(keys, name)
	}
	slices.Sort(keys)
	for _, name := range keys {
		for _, v := range h[name] {
			list = append(list, gate.Field{Name: []byte(name), Value: []byte(v)})
		}
	}
	return list
}

func twoRequest(c *gate.Call, t *target, length int64) *http.Request {
	scheme := t.pool.scheme
	method := c.Method
	fields := gate.Fields{}
	if out := c.Changed(); out != nil {
		method, fields = out.Method, out.Fields
	} else {
		for _, f := range c.Fields {
			if c.Passes(f) {
				fields = append(fields, f)
			}
		}
	}
	r := &http.Request{
		Method: string(method), Host: t.host, ContentLength: length, Header: http.Header{},
		URL: &url.URL{Scheme: scheme, Host: net.JoinHostPort(t.pool.host, t.pool.port), Opaque: "//" + t.host + string(appendTarget(nil, c, t))},
	}
	for _, f := range fields {
		r.Header.Add(string(f.Name), string(f.Value))
	}
	if _, ok := r.Header["User-Agent"]; !ok {
		r.Header["User-Agent"] = nil // we invent none
	}
	from := string(appendAddress(nil, c.From))
	if c.Peer != c.From {
		from += ", " + string(appendAddress(nil, c.Peer))
	}
	r.Header.Set("X-Forwarded-For", from)
	r.Header.Set("X-Forwarded-Host", string(c.Host))
	r.Header.Set("X-Forwarded-Proto", map[bool]string{true: "https", false: "http"}[c.TLS])
	r.Header.Set("X-Ca-Request-Id", c.ID.String())
	for _, f := range c.Fields {
		if string(f.Value) == "trailers" && wire.Alike(f.Name, []byte("te")) {
			r.Header.Set("Te", "trailers") // gRPC wants to hear it
		}
	}
	return r
}

type wholeSource struct{ body []byte }

func (w *wholeSource) Next() ([]byte, error) {
	b := w.body
	w.body = nil
	return b, io.EOF
}

func (w *wholeSource) Stop() {}

func (t *twoStream) next(idle time.Duration) ([]byte, error) {
	if t.room == nil {
		t.room = make([]byte, readBuffer)
	}
	slow := time.AfterFunc(idle, t.cancel)
	n, err := t.answer.Body.Read(t.room)
	stopped := slow.Stop()
	switch {
	case n > 0:
		return t.room[:n], nil
	case errors.Is(err, io.EOF):
		return nil, io.EOF
	case !stopped:
		return nil, gate.UpstreamTimeout
	}
	return nil, gate.AnswerBroken
}

func (t *twoStream) close() {
	t.cancel()
	if t.answer != nil {
		_ = t.answer.Body.Close() // nobody reads on
	}
	<-t.slots
}

// Trailers are what came behind the body, once it has ended; HTTP/2 only.
func (s *Stream) Trailers() gate.Fields {
	if s.two == nil || s.two.answer == nil {
		return nil
	}
	return gate.KeepAnswerFields(twoFields(s.two.answer.Trailer))
}
