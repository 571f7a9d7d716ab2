package control

import "time"

// Upstream is the seller's servers behind routes: who they are, how calls are spread over
// them, and how it is found out which of them can serve. A route names it by Via; a route
// with an Upstream address alone has one server and the defaults of all that stands here.
type Upstream struct {
	ID      UpstreamID `json:"id"`
	Name    string     `json:"name"`
	Targets []Target   `json:"targets"` // one at least
	Spread  Spread     `json:"spread,omitempty"`
	// HashOn says what ConsistentHash goes by: "app", "address", "header:X-Name",
	// "query:name" or "path:name". Empty: "app".
	HashOn string `json:"hash_on,omitempty"`

	Protocol string       `json:"protocol,omitempty"` // "http/1.1" (empty), "h2" or "grpc"; over http:// without TLS
	TLS      *UpstreamTLS `json:"tls,omitempty"`      // for https targets; nil: verify against the system's roots
	Health   *Health      `json:"health,omitempty"`   // nil: no probes
	Outlier  *Outlier     `json:"outlier,omitempty"`  // nil: nobody is ejected
	Retry    Retry        `json:"retry"`

	ConnectTimeout time.Duration `json:"connect_timeout,omitempty"` // 0: 3 s
	IdleTimeout    time.Duration `json:"idle_timeout,omitempty"`    // between two reads of a body; 0: 60 s
	KeepIdle       time.Duration `json:"keep_idle,omitempty"`       // life of an idle connection; 0: 4 s
	KeepLife       time.Duration `json:"keep_life,omitempty"`       // life of any connection; 0: 5 min
	MaxConns       int           `json:"max_conns,omitempty"`       // to one target; 0: 512
	MaxQueue       int           `json:"max_queue,omitempty"`       // calls that wait for a connection; 0: 1024
	QueueTimeout   time.Duration `json:"queue_timeout,omitempty"`   // 0: 1 s
}

// Target is one server of an Upstream.
type Target struct {
	URL    string `json:"url"`              // "https://host:port/base"
	Weight int    `json:"weight,omitempty"` // 0: 1
	Backup bool   `json:"backup,omitempty"` // takes calls only when none of the others can
}

// Spread is how calls go to targets.
type Spread string

// The ways to spread calls.
const (
	RoundRobin     Spread = "round_robin"    // by weight; the default
	LeastRequests  Spread = "least_requests" // fewest calls under way for its weight
	ConsistentHash Spread = "hash"           // one value, one target, as long as it can serve
)

// UpstreamTLS says whom to believe at the other end, and who we are there.
type UpstreamTLS struct {
	Name string   `json:"name,omitempty"` // of the certificate, and SNI; empty: the target's host
	CA   string   `json:"ca,omitempty"`   // PEM; empty: the system's roots
	Pin  []string `json:"pin,omitempty"`  // Base64 of the SHA-256 of a public key (SPKI); one must match
	Cert string   `json:"cert,omitempty"` // PEM chain that we show
	Key  SecretID `json:"key,omitempty"`  // its private key, PEM
}

// Health is how targets are probed.
type Health struct {
	Path     string        `json:"path"`               // GET; 200 to 399 is healthy
	Every    time.Duration `json:"every,omitempty"`    // 0: 10 s
	Timeout  time.Duration `json:"timeout,omitempty"`  // 0: 2 s
	Rise     int           `json:"rise,omitempty"`     // good probes until it serves again; 0: 2
	Fall     int           `json:"fall,omitempty"`     // bad probes until it serves no longer; 0: 3
	Statuses []int         `json:"statuses,omitempty"` // that are healthy; empty: 200 to 399
}

// Outlier ejects a target that fails calls. Never more than half of the targets are out.
type Outlier struct {
	Failures int           `json:"failures,omitempty"` // one after the other: no connection, no answer, 5xx; 0: 5
	For      time.Duration `json:"for,omitempty"`      // the first time; twice as long each time, up to 5 min; 0: 30 s
}

// Retry says when a call may go to another target or connection. What was provably not
// processed may always: a connection that could not be made, or was found dead before the
// first byte.
type Retry struct {
	Attempts   int  `json:"attempts,omitempty"`   // in all; 0: 1, beside what was provably not processed
	Idempotent bool `json:"idempotent,omitempty"` // the seller says that his routes may be asked again
	OnTimeout  bool `json:"on_timeout,omitempty"` // also when no answer came in time
}

// Secret is a value that is kept encrypted and that settings name: keys of backend
// signatures, of tokens, of certificates. It is never shown again.
type Secret struct {
	ID    SecretID `json:"id"`
	Name  string   `json:"name"`
	Value []byte   `json:"value"`
	Live  bool     `json:"live"`
}

// Certificate is what the gateway shows callers of some domains.
type Certificate struct {
	ID      CertificateID `json:"id"`
	Domains []string      `json:"domains"` // "api.example.com", "*.example.com"
	Chain   string        `json:"chain"`   // PEM, leaf first
	Key     SecretID      `json:"key"`
	Live    bool          `json:"live"`
}

// FilterSetting puts a filter (插件) onto a group or a route.
type FilterSetting struct {
	Filter string `json:"filter"` // its ID: "cors"
	With   Raw    `json:"with,omitempty"`
}

// Raw is JSON that its reader understands.
type Raw []byte

// MarshalJSON is the text itself.
func (r Raw) MarshalJSON() ([]byte, error) {
	if len(r) == 0 {
		return []byte("null"), nil
	}
	return r, nil
}

// UnmarshalJSON keeps a copy of the text.
func (r *Raw) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*r = nil
		return nil
	}
	*r = append((*r)[:0:0], b...)
	return nil
}
