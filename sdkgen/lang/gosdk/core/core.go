// Package core is what every client of this SDK stands on: it signs calls, sends them,
// tries again where that costs nothing, and reads answers with patience.
package core

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// Options say how to call. The zero value takes everything from the environment.
type Options struct {
	AppKey    string // SOUK_APP_KEY
	AppSecret string // SOUK_APP_SECRET
	AppCode   string // SOUK_APP_CODE; used if there is no AppKey
	BaseURL   string // SOUK_BASE_URL; empty: the address of each product
	Host      string // SOUK_HOST; empty: the domain of each product
	Stage     string // RELEASE, PRE or TEST; empty: RELEASE

	Timeout    time.Duration // for a call with all its tries; 0: 30 s
	MaxRetries int           // 0: 2; negative: none
	// AllowInsecure lets an AppCode travel without encryption.
	AllowInsecure bool
	// Client sends requests; nil: one of our own. It must not follow redirects.
	Client *http.Client
	// UserAgent stands before the SDK's own.
	UserAgent string
}

// String hides the secrets.
func (o Options) String() string {
	return fmt.Sprintf("{AppKey:%s AppSecret:*** AppCode:*** BaseURL:%s Host:%s Stage:%s}", o.AppKey, o.BaseURL, o.Host, o.Stage)
}

// GoString hides the secrets, too.
func (o Options) GoString() string { return o.String() }

// Bounds of a call.
const (
	defaultTimeout = 30 * time.Second
	connectTimeout = 5 * time.Second
	defaultRetries = 2
	maxAnswer      = 64 << 20
)

// Core sends calls. It may be used from many goroutines.
type Core struct {
	options Options
	agent   string
	client  *http.Client
	skew    atomic.Int64 // of our clock against the gateway's, in milliseconds
	bucket  bucket
	now     func() time.Time
	wait    func(context.Context, time.Duration) error
}

// New makes a Core. The agent names the SDK.
func New(o Options, agent string) (*Core, error) {
	env := func(s *string, name string) {
		if *s == "" {
			*s = os.Getenv(name)
		}
	}
	if o.AppKey == "" && o.AppCode == "" {
		env(&o.AppKey, "SOUK_APP_KEY")
		env(&o.AppCode, "SOUK_APP_CODE")
	}
	env(&o.AppSecret, "SOUK_APP_SECRET")
	env(&o.BaseURL, "SOUK_BASE_URL")
	env(&o.Host, "SOUK_HOST")
	if o.AppKey == "" && o.AppCode == "" {
		return nil, errors.New("no credentials: set SOUK_APP_KEY and SOUK_APP_SECRET, or SOUK_APP_CODE")
	}
	if o.AppKey != "" && o.AppSecret == "" {
		return nil, errors.New("there is an AppKey but no AppSecret: set SOUK_APP_SECRET")
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.MaxRetries == 0 {
		o.MaxRetries = defaultRetries
	}
	if o.UserAgent != "" {
		agent = o.UserAgent + " " + agent
	}
	c := &Core{options: o, agent: agent, client: o.Client, now: time.Now, wait: wait}
	if c.client == nil {
		c.client = &http.Client{
			Transport: &http.Transport{
				Proxy:               http.ProxyFromEnvironment,
				DialContext:         (&net.Dialer{Timeout: connectTimeout}).DialContext,
				TLSHandshakeTimeout: connectTimeout,
				IdleConnTimeout:     60 * time.Second,
				MaxIdleConnsPerHost: 16,
				ForceAttemptHTTP2:   true,
			},
			// A redirect would need a signature of its own.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return c, nil
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Answer is what came back: the value, and everything around it.
type Answer[T any] struct {
	Data      T
	Status    int
	RequestID string
	Header    http.Header
	Raw       []byte   // the body as it came
	Issues    []string // places where the body was not as described
}

// Send makes a call and reads the answer.
func Send[T any](ctx context.Context, c *Core, call *Call) (*Answer[T], error) {
	r, err := c.do(ctx, call)
	if err != nil {
		return nil, err
	}
	a := &Answer[T]{Status: r.status, RequestID: r.header.Get("X-Ca-Request-Id"), Header: r.header, Raw: r.body}
	a.Issues = Decode(r.body, &a.Data)
	return a, nil
}

type reply struct {
	status int
	header http.Header
	body   []byte
}

// do sends a call, again if that is safe: never when it may have reached the seller.
func (c *Core) do(ctx context.Context, call *Call) (*reply, error) {
	base, host, err := c.address(call)
	if err != nil {
		return nil, err
	}
	body, contentType, err := call.body()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	skewed := false
	for attempt := 1; ; attempt++ {
		r, sent, stringToSign, err := c.once(ctx, call, base, host, body, contentType)
		if err == nil && r.status < 300 {
			c.bucket.success()
			return r, nil
		}
		again, pause := false, time.Duration(0)
		var failure *Error
		if err != nil {
			failure = &Error{Kind: Transport, Message: err.Error(), Attempts: attempt, cause: err}
			again, pause = !sent && ctx.Err() == nil, backoff(attempt)
		} else {
			failure = failed(r, attempt)
			failure.explain(stringToSign)
			again, pause = harmless(failure, attempt)
			if failure.Code == "S403TE" && !skewed {
				if server, err := http.ParseTime(r.header.Get("Date")); err == nil {
					c.skew.Store(server.Sub(c.now()).Milliseconds())
					again, pause, skewed = true, 0, true
				}
			}
		}
		if !again || attempt > c.options.MaxRetries || !c.bucket.take() {
			return nil, failure
		}
		if c.wait(ctx, pause) != nil {
			return nil, failure
		}
	}
}

// address says where to dial and under which name.
func (c *Core) address(call *Call) (base *url.URL, host string, err error) {
	text := call.BaseURL
	host = call.Host
	if c.options.BaseURL != "" {
		text = c.options.BaseURL
		if u, err := url.Parse(call.BaseURL); err == nil && host == "" {
			host = u.Host
		}
	}
	if c.options.Host != "" {
		host = c.options.Host
	}
	base, err = url.Parse(strings.TrimSuffix(text, "/"))
	if err != nil || base.Host == "" {
		return nil, "", fmt.Errorf("base URL %q is not of the form https://host", text)
	}
	if c.options.AppKey == "" && base.Scheme != "https" && !c.options.AllowInsecure && !loopback(base.Hostname()) {
		return nil, "", errors.New("an AppCode is not sent without encryption: use https, a signature, or AllowInsecure")
	}
	return base, host, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// once tries once. It reports whether anything may have been sent, and what was signed.
func (c *Core) once(ctx context.Context, call *Call, base *url.URL, host string, body []byte, contentType string) (r *reply, sent bool, stringToSign string, err error) {
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	target := strings.TrimSuffix(base.EscapedPath(), "/") + call.target()
	req, err := http.NewRequestWithContext(ctx, call.Method, base.Scheme+"://"+base.Host+target, nil)
	if err != nil {
		return nil, false, "", err
	}
	if host != "" {
		req.Host = host
	}
	for _, h := range call.headers {
		req.Header.Set(h.name, h.value)
	}
	req.Header.Set("Accept", "application/json")
	if call.Accept != "" {
		req.Header.Set("Accept", call.Accept)
	}
	req.Header.Set("User-Agent", c.agent)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
		// No GetBody: the library must not send the same nonce twice on its own.
		req.Body = io.NopCloser(strings.NewReader(string(body)))
		req.ContentLength = int64(len(body))
		if len(body) == 0 {
			req.Body = http.NoBody
		}
	}
	if c.options.Stage != "" {
		req.Header.Set("X-Ca-Stage", c.options.Stage)
	}
	if c.options.AppKey != "" {
		var form []byte
		if call.Kind == Form {
			form = body
		}
		now := c.now().Add(time.Duration(c.skew.Load()) * time.Millisecond)
		// What goes over the wire is signed, not what we meant to send.
		stringToSign = sign(req, req.URL.RequestURI(), body, form, c.options.AppKey, c.options.AppSecret, now, nonce())
	} else {
		req.Header.Set("Authorization", "APPCODE "+c.options.AppCode)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, connected.Load(), "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(data) > maxAnswer {
		err = fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	if err != nil {
		return nil, true, "", err
	}
	return &reply{resp.StatusCode, resp.Header, data}, true, stringToSign, nil
}

// nonce is a random UUID.
func nonce() string {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic(err)
	}
	b[6], b[8] = b[6]&0x0F|0x40, b[8]&0x3F|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
