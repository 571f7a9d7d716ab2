package ops

import (
	"sync"
	"time"

	"github.com/souk-market/souk/gateway/control"
)

// Refused is a call that was turned away, or that failed on its way. It has no word that
// the caller wrote but the host, and no credential: path is the route's.
type Refused struct {
	Request string          `json:"request"`
	At      time.Time       `json:"at"`
	Host    string          `json:"host,omitempty"`
	Route   control.RouteID `json:"route,omitempty"`
	App     control.AppID   `json:"app,omitempty"`
	Method  string          `json:"method,omitempty"`
	Path    string          `json:"path,omitempty"`
	Status  int             `json:"status"`
	Code    string          `json:"code"`
}

// DefaultRefusals is how many refused calls are remembered.
const DefaultRefusals = 4096

// Refusals remembers the last calls that were refused. To note one costs a lock and no
// memory.
type Refusals struct {
	mu   sync.Mutex // guards the rest
	ring []Refused
	next int
	full bool
}

// NewRefusals remembers so many calls; 0: DefaultRefusals.
func NewRefusals(n int) *Refusals {
	if n <= 0 {
		n = DefaultRefusals
	}
	return &Refusals{ring: make([]Refused, n)}
}

// Note remembers a call in the place of the oldest. Its texts must not be changed later.
func (r *Refusals) Note(one Refused) {
	r.mu.Lock()
	r.ring[r.next] = one
	if r.next++; r.next == len(r.ring) {
		r.next, r.full = 0, true
	}
	r.mu.Unlock()
}

// Find finds a call by its X-Ca-Request-Id.
func (r *Refusals) Find(request string) (Refused, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.ring {
		if r.ring[i].Request == request && request != "" {
			return r.ring[i], true
		}
	}
	return Refused{}, false
}

// Last are the latest calls, newest first, at most so many.
func (r *Refusals) Last(most int) []Refused {
	r.mu.Lock()
	defer r.mu.Unlock()
	have := r.next
	if r.full {
		have = len(r.ring)
	}
	list := make([]Refused, 0, min(most, have))
	for i := range min(most, have) {
		list = append(list, r.ring[(r.next-1-i+len(r.ring))%len(r.ring)])
	}
	return list
}

// Explanation is a refused call with what it means.
type Explanation struct {
	Refused
	Gate  string `json:"gate"`            // which question about the call was answered with no
	Fault string `json:"fault,omitempty"` // whose it is: "caller", "seller" or "gateway"
	Why   string `json:"why"`
	Do    string `json:"do"` // what helps
}

// Explain says what a code means for a call.
func Explain(one Refused) Explanation {
	if one.Code == "" {
		return Explanation{Refused: one, Gate: "none", Fault: "seller", Why: "The gateway let the call pass; the seller gave this answer.", Do: "Ask the seller, with the request ID."}
	}
	a, ok := advices[one.Code]
	if !ok {
		a = advice{"filter", "caller", "A filter of the route refused the call.", "Look at the filters of the route; /routes names them."}
	}
	return Explanation{Refused: one, Gate: a.gate, Fault: a.fault, Why: a.why, Do: a.do}
}

type advice struct{ gate, fault, why, do string }

// advices has all codes of the protocol, section 6.
var advices = map[string]advice{
	"A400AC": {"auth", "caller", "No app has this AppCode.", "Compare it with the one in the console; it may have been reset."},
	"A401AC": {"auth", "caller", "The AppCode cannot be used here.", "Look at the route's AppCode setting; it may allow headers only, or signatures only."},
	"A400MA": {"auth", "caller", "The call carries no credential.", "Send an AppCode or sign the call."},
	"A400IK": {"auth", "caller", "No app has this AppKey.", "Compare it with the one in the console."},
	"I400MH": {"auth", "caller", "A header that is needed is missing.", "The message names it."},
	"I400HD": {"head", "caller", "A header is malformed or came twice.", "The message names it; send it once, and as the protocol says."},
	"A403IS": {"auth", "caller", "The signature is not that of this request.", "Compare the string to sign in the message with that of the program; the first difference is the reason. If they are alike, the AppSecret is wrong."},
	"I400I5": {"auth", "caller", "Content-MD5 is not the digest of the body.", "Compute it over the bytes that are sent."},
	"S403TE": {"auth", "caller", "X-Ca-Timestamp is more than 15 minutes away from the gateway's clock.", "Set the caller's clock."},
	"S403NU": {"auth", "caller", "The nonce was used before.", "Make a new one for each try, also when a call is repeated."},
	"I400NC": {"auth", "caller", "The route demands a nonce.", "Send and sign X-Ca-Nonce."},
	"I403AA": {"auth", "caller", "The app has no grant for this product.", "Buy the product, or give the app the grant in the console."},
	"A403EP": {"auth", "caller", "The grant has ended.", "Renew the service."},
	"A403PR": {"filter", "caller", "An authorization filter refused the call.", "The message says what it demands."},
	"B403MQ": {"quota", "caller", "All calls of the packages are used.", "Buy another package; it counts from the next call on."},
	"B403ME": {"quota", "caller", "The period of the packages is over.", "Renew, or buy another package."},
	"B403MI": {"quota", "caller", "The grant is suspended, or has no package.", "Look at the service in the console."},
	"B403MO": {"quota", "caller", "The buyer is in arrears.", "Pay what is open."},
	"B403OD": {"quota", "seller", "The seller is in arrears.", "The operator has to talk to the seller."},
	"T429ID": {"throttle", "caller", "The group's test domain takes a thousand calls a day.", "Call the group under a domain of its own."},
	"T429IN": {"throttle", "gateway", "The limit of the instance is met.", "Try again later, or raise the limit."},
	"T429GR": {"throttle", "caller", "The limit of the group is met.", "Wait as long as Retry-After says."},
	"T429PA": {"throttle", "caller", "The limit of the route is met.", "Wait as long as Retry-After says."},
	"T429PR": {"throttle", "caller", "The limit of the app, its account or a parameter is met.", "Wait as long as Retry-After says; the console shows the limit."},
	"T429SR": {"throttle", "gateway", "The limit of this node is met.", "Try again later; the operator may add a node."},
	"T429MR": {"throttle", "caller", "A limit is met.", "The message names it; wait as long as Retry-After says."},
	"I400BD": {"head", "caller", "The body is malformed or broke off.", "Send as many bytes as Content-Length says, or whole chunks."},
	"I400PA": {"route", "caller", "The path is malformed.", "Escape what is no letter, digit or one of - . _ ~ /."},
	"I400RU": {"head", "caller", "The request could be read in more than one way.", "Look at what stands between the program and the gateway; a proxy may have changed the request."},
	"I400CT": {"head", "caller", "The Content-Type does not fit.", "Send the type that the route takes."},
	"I400SG": {"route", "caller", "X-Ca-Stage is none of RELEASE, PRE and TEST.", "Send one of them, or none."},
	"I400MP": {"mapping", "caller", "A parameter that is needed is missing.", "The message names it."},
	"I400IP": {"mapping", "caller", "A parameter is not as the route describes it.", "The message names it."},
	"I403PT": {"route", "caller", "The route is called over TLS only.", "Call it by https."},
	"I404DO": {"route", "caller", "No group has this host name.", "Compare Host with the domains of the group; /routes shows them."},
	"I404NF": {"route", "caller", "The group has no such path in this stage.", "Compare method, path and stage with /routes."},
	"I404NR": {"route", "caller", "What was asked for is not there.", "The message names it."},
	"I404SR": {"route", "caller", "The route is not published in this stage.", "Publish it, or call another stage."},
	"I405UM": {"route", "caller", "The path is there, but not with this method.", "Compare the method with /routes."},
	"I410GG": {"route", "seller", "The group is no longer served.", "Ask the seller."},
	"I413RL": {"body", "caller", "The body is larger than the route takes.", "Send less, or ask the seller to raise the limit."},
	"I413UL": {"head", "caller", "The target or the head is too large.", "Send long values in the body."},
	"I508LD": {"route", "seller", "The call came back to the gateway.", "Look at the route's upstream."},
	"A403IP": {"filter", "caller", "The address is not on the route's list.", "Ask the seller to add it."},
	"A403IN": {"filter", "caller", "The route is not called from the internet.", "Ask the seller."},
	"A403VN": {"filter", "caller", "The route is not called from this network.", "Ask the seller."},
	"A403AC": {"filter", "caller", "A rule of access refused the call.", "The message names it."},
	"A403CO": {"filter", "caller", "Pages of this origin may not call the route.", "Ask the seller to allow the origin."},
	"B451DO": {"route", "seller", "The domain is blocked for legal reasons.", "The operator knows more."},
	"B451GO": {"route", "seller", "The group is blocked for legal reasons.", "The operator knows more."},
	"D504RE": {"proxy", "seller", "The name of the seller's server is not known.", "Look at the route's upstream and at the resolver."},
	"D504IL": {"proxy", "seller", "The name of the seller's server leads to an address that is not public.", "Correct the upstream, or allow private upstreams."},
	"D504CO": {"proxy", "seller", "The seller's server takes no connection.", "Look whether it runs, and whether a firewall is between."},
	"D504CS": {"proxy", "seller", "The seller's server could not prove who it is.", "Look at its certificate, or at the CA and the pin of the upstream."},
	"D504TO": {"proxy", "seller", "The seller's server did not answer in time.", "Look at its load, or raise the route's limit."},
	"D503BB": {"filter", "seller", "The circuit breaker tries the seller with few calls.", "Try again shortly."},
	"D503CB": {"filter", "seller", "The circuit breaker is open: the seller failed too often.", "It closes by itself once the seller answers."},
	"N502RE": {"proxy", "seller", "The seller's answer broke off or was malformed.", "Look at the seller's server."},
	"X504VE": {"proxy", "gateway", "The seller's network is not connected.", "Look at the mapping."},
	"X500ER": {"gateway", "gateway", "The gateway failed.", "Its log has the request ID."},
	"X503BZ": {"gateway", "gateway", "The gateway is busy, or its ledger does not answer.", "Look at /readyz and the log."},
	"X504TO": {"gateway", "gateway", "The call took too long.", "Look at the log."},
	"X400PM": {"filter", "seller", "A filter's setting is wrong.", "Correct the setting."},
	"X403DG": {"route", "seller", "Domain and group do not fit.", "Look at the group's domains."},
	"X500AM": {"route", "seller", "The route's definition is wrong.", "Publish it again."},
	"X500ED": {"route", "seller", "The route's definition is out of date.", "Publish it again."},
}
