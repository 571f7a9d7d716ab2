// Package gateway answers callers: it puts the row of gates together, carries each call
// through it, and settles what the call costs before the first byte of the answer leaves.
//
//	head, route, auth, throttle, body, quota, proxy, settle
//
// Each gate is a package of its own that knows none of the others. A gate that turns a
// call away returns a *gate.Refusal; any other error is ours, and says nothing of the
// caller.
package gateway

import (
	"crypto/tls"
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/gateway/storage"
)

// Defaults of Options.
const (
	DefaultMaxConns     = 10_000
	DefaultMaxHead      = 32 << 10
	DefaultReadTimeout  = time.Minute
	DefaultWriteTimeout = time.Minute
	DefaultIdleTimeout  = 75 * time.Second
)

// Options make a gateway. DB, Folder and MasterKey are needed; all else has defaults.
type Options struct {
	DB        *storage.DB
	Folder    string // for what the node itself keeps
	MasterKey []byte // encrypts AppSecrets at rest

	// AllowPrivateUpstreams lets sellers' servers have addresses that are not public.
	AllowPrivateUpstreams bool
	UpstreamTLS           *tls.Config // base for https upstreams; nil: the system's roots
	MaxUpstreamConns      int         // to one upstream; 0: proxy.DefaultMaxConns
	MaxAnswer             int         // bytes of an answer's body; 0: proxy.DefaultMaxAnswer

	MaxConns      int           // connections of callers; 0: DefaultMaxConns
	MaxConnsPerIP int           // 0: no bound, as behind a balancer all come from one address
	MaxHead       int           // bytes of request line and headers; 0: DefaultMaxHead
	ReadTimeout   time.Duration // for head and body of a request; 0: DefaultReadTimeout
	WriteTimeout  time.Duration // 0: DefaultWriteTimeout
	IdleTimeout   time.Duration // between two requests; 0: DefaultIdleTimeout
	NonceBudget   int64         // bytes; 0: memory.DefaultBudget
	NonceShare    int64         // an app's part is one in so many; 0: memory.DefaultShare

	Log       *zap.Logger // nil: none
	AccessLog *zap.Logger // one line for each call; nil: none
	Now       func() time.Time
}

func (o Options) withDefaults() Options {
	if o.MaxConns == 0 {
		o.MaxConns = DefaultMaxConns
	}
	if o.MaxHead == 0 {
		o.MaxHead = DefaultMaxHead
	}
	if o.ReadTimeout == 0 {
		o.ReadTimeout = DefaultReadTimeout
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = DefaultWriteTimeout
	}
	if o.IdleTimeout == 0 {
		o.IdleTimeout = DefaultIdleTimeout
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.AccessLog == nil {
		o.AccessLog = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}
