// Package gate has the words of the row of gates: the Call that is carried through it, the
// Gate that answers one question about it, and the Refusal that turns it away.
//
// It knows no gate. The order of the row is gateway.Server's affair.
package gate

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/souk-market/souk/gateway/control"
)

// Gate answers one question about a call, and writes its answer on the call. A nil error
// lets the call pass; a *Refusal turns it away; any other error is ours (X500ER).
type Gate interface{ Pass(*Call) error }

// Call is one call on its way through the row. It is taken from a pool and reset, so
// nothing may keep it, nor bytes of its request, after the row is done.
type Call struct {
	ID      control.RequestID // X-Ca-Request-Id
	At      time.Time
	Method  []byte
	Host    []byte     // as it came
	Fields  Fields     // the header lines as they came
	From    netip.Addr // who calls: behind trusted proxies, whom they name
	Peer    netip.Addr // who is at the other end of the connection
	TLS     bool
	Upgrade []byte // the protocol that the caller wants to go on with; nil: none
	Framed  bool   // the caller said how long his body is, be it empty

	// Written by route.
	Group *control.Group
	Route *control.Route
	// Prepared is what the proxy made of the route when the table was built, and Chain has
	// the route's filters.
	Prepared any
	Chain    *Chain
	// Params are the values of the route's [names], raw as they stand in the path.
	Params []Param
	// Path and Query are the caller's, raw. Target has both as they were signed; Query is a
	// copy, out of which auth cuts AppCodes.
	Target, Path, Query []byte

	// Written by auth.
	App   control.AppID
	Key   string // the AppKey of the app
	Owner string // the account that owns the app
	How   How
	// Body is the whole body, once ReadBody was called; then BodyRead is set.
	Body     []byte
	BodyRead bool
	// ReadBody reads the body up to the route's limit, once; it is the server's.
	ReadBody func(*Call) error

	// Limits are written by throttle: where each limit of the call stands.
	Limits []Limit
	// Policies is AppendPolicies of Limits, where throttle has it ready; nil: it has not.
	Policies []byte

	// Written by quota.
	Hold Hold

	// Trace is the seller's traceparent; empty: the caller's goes on, if he sent one.
	Trace []byte
	// Tries is how often the seller was asked.
	Tries int
	// Answer is what the caller will get, once there is one.
	Answer Answer
	// Charge is the word of a filter on whether the call costs a unit; Unsaid: the route's
	// rule decides.
	Charge Charge
	// Cached says that the answer came from the gateway's cache.
	Cached bool
	// Sought is written by the cache: where it looked, and the headers that the seller would
	// have got then.
	Sought struct {
		Key    [32]byte
		Fields Fields
	}

	// MaxBody bounds the body of the request below the route's own limit, if a filter said
	// so in Arrive; 0: none did.
	MaxBody int64
	// Origins says that a filter answers for the origin of the call: the row adds nothing of
	// its own about origins, neither to answers nor to refusals.
	Origins bool

	// later has the refusal that Later made.
	later Refusal

	out struct {
		Outgoing
		made bool
	}

	// Record is what will be remembered of the call. It stands here so that writing it down
	// allocates nothing; who keeps it takes a copy.
	Record control.CallRecord
}

// Param is one value of a path.
type Param struct {
	Name  string
	Value []byte
}

// Charge is what a filter says of the price of a call.
type Charge uint8

// What a filter can say.
const (
	Unsaid Charge = iota
	ChargeIt
	FreeOfCharge
)

// How says by what a caller was identified.
type How uint8

// The ways to authenticate; protocol section 2.
const (
	Nobody How = iota
	ByAppCode
	BySignature
)

// Hold is a reserved unit of a package. It is settled or voided exactly once.
type Hold struct {
	Grant   control.GrantID
	Package control.PackageID
	Serial  int64
	Lease   uint64 // which lease of this node it came from; 0: nothing is held
	// Left is how many further calls the grant's packages have, as far as this node knows:
	// never more than there are. From call to call of one lease it only falls.
	Left int64
	// Until is when the package is over, in milliseconds since 1970; 0: never.
	Until int64

	from any
}

// HoldFrom is a hold that remembers what it was taken from, so that who gave it out need not
// look for that when it comes back. Quota makes holds; nobody else does.
func HoldFrom(h Hold, from any) Hold {
	h.from = from
	return h
}

// From is what the hold was taken from; nil: it was not made by HoldFrom.
func (h *Hold) From() any { return h.from }

// Held reports whether there is a unit to settle or void.
func (h Hold) Held() bool { return h.Lease != 0 }

// Reset makes the call as good as new, keeping its memory.
func (c *Call) Reset() {
	body := c.Body[:0]
	if cap(body) > keptBody {
		body = nil
	}
	answer, out, trace, sought := c.Answer.Fields[:0], c.out.Fields[:0], c.Trace[:0], c.Sought.Fields[:0]
	*c = Call{Params: c.Params[:0], Fields: c.Fields[:0], Query: c.Query[:0], Limits: c.Limits[:0], Body: body}
	c.Answer.Fields, c.out.Fields, c.Trace, c.Sought.Fields = answer, out, trace, sought
}

// keptBody is the largest room for a body that a resting call keeps.
const keptBody = 64 << 10

// Refusal turns a call away. It is what the caller sees; protocol section 6.
type Refusal struct {
	Status  int
	Code    string        // X-Ca-Error-Code
	Message string        // X-Ca-Error-Message
	After   time.Duration // Retry-After, where it is known; 0: it is not
}

// BoundBody bounds the body of the request, if it is not bounded more already. A filter says
// so in Arrive.
func (c *Call) BoundBody(most int64) {
	if c.MaxBody == 0 || most < c.MaxBody {
		c.MaxBody = most
	}
}

// Later is r with the time after which it is worth to call again. It lives as long as the
// call, so that refusing allocates nothing.
func (c *Call) Later(r *Refusal, after time.Duration) *Refusal {
	c.later = *r
	c.later.After = after
	return &c.later
}

// Error is the code and the message.
func (r *Refusal) Error() string { return r.Code + " " + r.Message }

// Refuse makes a refusal; the status stands inside the code.
func Refuse(code, message string) *Refusal {
	status, err := strconv.Atoi(code[1:4])
	if err != nil {
		panic("gate: " + code + " is not a letter, a status and two letters")
	}
	return &Refusal{Status: status, Code: code, Message: message}
}

// The refusals that have no argument; each is one value, so that refusing allocates nothing.
var (
	NoCredential    = Refuse("A400MA", "Need authorization, `X-Ca-Key` or `Authorization: APPCODE ...` is required")
	UnknownKey      = Refuse("A400IK", "Invalid AppKey")
	UnknownCode     = Refuse("A400AC", "Invalid AppCode `not exists`")
	NonceUsed       = Refuse("S403NU", "Nonce Used")
	NonceNeeded     = Refuse("I400NC", "X-Ca-Nonce is required")
	ClockSkew       = Refuse("S403TE", "X-Ca-Timestamp is expired")
	Unauthorized    = Refuse("I403AA", "Unauthorized")
	QuotaExhausted  = Refuse("B403MQ", "Api Market Subscription quota exhausted")
	PackagesExpired = Refuse("B403ME", "Api Market Subscription expired")
	NoPackage       = Refuse("B403MI", "Api Market Subscription invalid")
	ThrottledRoute  = Refuse("T429PA", "Throttled by API Flow Control")
	ThrottledApp    = Refuse("T429PR", "Throttled by PLUGIN Flow Control")
	BadStage        = Refuse("I400SG", "Invalid Stage")
	BodyTooLarge    = Refuse("I413RL", "Request body too Large")
	TargetTooLarge  = Refuse("I413UL", "Request URL too Large")
	UpstreamTimeout = Refuse("D504TO", "Backend service request timeout")
	AnswerBroken    = Refuse("N502RE", "The response of the backend broke off")
	InternalFault   = Refuse("X500ER", "Service Internal Error")
	Busy            = Refuse("X503BZ", "Service Busy")
)
