// Package control is the door between the console and the gateway: what the console
// tells the data plane (Change), and what it may ask of it (Plane).
//
// The console names things: each Change carries an ID of the console's. The gateway makes
// credentials, since only it may know secrets. Neither half imports more of the other.
package control

import (
	"context"
	"errors"
	"time"
)

// Identifiers. All are opaque text made by the console, except AppKey.
type (
	GroupID   string // API group (分组), "grp_…"
	RouteID   string // one interface of a group (API), "rte_…"
	AppID     string // a buyer's app (应用), "app_…"
	ProductID string // what is sold, "prd_…"
	GrantID   string // an app may call a product (已授权), "grt_…"
	PackageID string // so many calls in a buyer's hand (套餐包), "pkg_…"

	UpstreamID    string // the seller's servers (后端服务), "ups_…"
	SecretID      string // a value that settings name and nobody sees again, "sec_…"
	CertificateID string // of domains, "crt_…"
)

// Errors of a Plane. They are compared with errors.Is.
var (
	// ErrMissing: the thing named is not known to the gateway.
	ErrMissing = errors.New("control: no such thing")
	// ErrInvalid: a change contradicts itself; the text says which field and why.
	ErrInvalid = errors.New("control: invalid change")
	// ErrConflict: another group has this domain, or the like.
	ErrConflict = errors.New("control: conflict")
)

// Plane is the gateway as its control plane sees it. All methods may be called at once
// from many goroutines; an error leaves everything as it was.
type Plane interface {
	// Apply makes every change true, all or none. To apply a change again changes
	// nothing, so a caller that is unsure may simply repeat itself. When Apply returns,
	// calls that begin later on this node see the changes.
	Apply(context.Context, ...Change) error

	// CreateApp makes an app with fresh credentials. If the app exists, its name is
	// updated and its present credentials are returned.
	CreateApp(context.Context, App) (Credentials, error)

	// Credentials shows the present credentials of an app, secrets in the clear.
	Credentials(context.Context, AppID) (Credentials, error)

	// ResetSecret replaces the AppSecret; the old one stops working at once.
	// AppKey and AppCode stay.
	ResetSecret(context.Context, AppID) (Credentials, error)

	// ResetCode replaces the AppCode; the old one stops working at once.
	ResetCode(context.Context, AppID) (Credentials, error)

	// Balances reports each package of the grants, in the order of deduction:
	// earliest expiry, then earliest start. Unknown grants are left out.
	Balances(context.Context, ...GrantID) ([]Balance, error)

	// Usage reads what was counted since a cursor, oldest first, at most max rows.
	// A reader that adds up all rows it was ever given has the ledger's own sums.
	// The zero Cursor is the beginning.
	Usage(ctx context.Context, since Cursor, max int) ([]Usage, Cursor, error)

	// Calls lists the latest calls that match, newest first, at most f.Max.
	Calls(ctx context.Context, f CallFilter) ([]CallRecord, error)

	// Flush returns once everything counted before it is in the ledger, so that
	// Balances, Usage and Calls show it.
	Flush(context.Context) error
}

// Change is one fact that the console wants to be true. It is one of
// *Group, *Route, *Upstream, *Secret, *Certificate, *App, *Grant, *Package.
type Change interface{ change() }

func (*Group) change()       {}
func (*Route) change()       {}
func (*Upstream) change()    {}
func (*Secret) change()      {}
func (*Certificate) change() {}
func (*App) change()         {}
func (*Grant) change()       {}
func (*Package) change()     {}

// Group is a seller's APIs under one or more host names.
type Group struct {
	ID      GroupID  `json:"id"`
	Name    string   `json:"name"`
	Domains []string `json:"domains"` // lower case, no port; each belongs to one group only
	// KeepAppCode passes the caller's AppCode on to the seller in pass-through mode.
	// The default cuts it out, so that sellers do not collect their buyers' codes.
	KeepAppCode bool `json:"keep_app_code,omitempty"`
	// TestDomain is the group's built-in domain, one of Domains: it takes a thousand calls a
	// day and no more (T429ID). Empty: there is none.
	TestDomain string `json:"test_domain,omitempty"`
	// SecureAppCode refuses AppCodes that come over plain HTTP.
	SecureAppCode bool            `json:"secure_app_code,omitempty"`
	Filters       []FilterSetting `json:"filters,omitempty"` // before those of the route
	Limits        []Limit         `json:"limits,omitempty"`  // beside those of the route
	Live          bool            `json:"live"`              // false: the domain answers as if it were not there
}

// Stage is where a version of a route is published.
type Stage string

// The stages of the protocol, section 1.
const (
	Release Stage = "RELEASE" // 线上
	Pre     Stage = "PRE"     // 预发
	Test    Stage = "TEST"    // 测试
)

// AppCodeSetting says where an AppCode may stand; protocol section 2.
type AppCodeSetting string

// The four settings of the protocol.
const (
	AppCodeDefault     AppCodeSetting = "DEFAULT"      // header and query
	AppCodeDisable     AppCodeSetting = "DISABLE"      // signature only
	AppCodeHeader      AppCodeSetting = "HEADER"       // header only
	AppCodeHeaderQuery AppCodeSetting = "HEADER_QUERY" // header and query
)

// ChargeOn says which outcomes cost a call; design/metering.md table 1.6.
type ChargeOn string

const (
	// ChargeSucceeded charges for seller statuses below 400. The default.
	ChargeSucceeded ChargeOn = "succeeded"
	// ChargeAnswered charges also for 4xx that are the caller's own fault:
	// all but 401, 403, 408, 425, 429.
	ChargeAnswered ChargeOn = "answered"
)

// Route is one method and path of a group, with its upstream.
type Route struct {
	ID      RouteID   `json:"id"`
	Group   GroupID   `json:"group"`
	Product ProductID `json:"product"` // whose packages pay for a call
	Stage   Stage     `json:"stage"`   // empty: RELEASE
	Name    string    `json:"name"`
	Method  string    `json:"method"` // upper case, or "ANY"
	Path    string    `json:"path"`   // "/user/[id]"; a last segment "[*]" takes the rest

	// Upstream is the seller's base address, scheme http or https, with an optional
	// base path: "https://api.example.com/v2".
	Upstream string `json:"upstream"`
	// Via names an Upstream with more to say, whose targets then take the place of Upstream.
	Via UpstreamID `json:"via,omitempty"`
	// UpstreamPath replaces Path at the seller, with the same [names]. Empty: the
	// caller's path is passed on byte for byte.
	UpstreamPath string        `json:"upstream_path,omitempty"`
	Timeout      time.Duration `json:"timeout,omitempty"` // until the answer's head; 0: 10 s

	AppCode    AppCodeSetting `json:"app_code,omitempty"` // empty: DEFAULT
	AllowSHA1  bool           `json:"allow_sha1,omitempty"`
	ForceNonce bool           `json:"force_nonce,omitempty"`
	Canonical  bool           `json:"canonical,omitempty"` // only the canonical string to sign is accepted
	MaxBody    int64          `json:"max_body,omitempty"`  // bytes of a request body; 0: 10 MiB

	Secure bool `json:"secure,omitempty"` // only over TLS; I403PT otherwise

	Mode       Mode        `json:"mode,omitempty"`
	Parameters []Parameter `json:"parameters,omitempty"`
	Constants  []Constant  `json:"constants,omitempty"`
	Mock       *Mock       `json:"mock,omitempty"`

	Limits  []Limit         `json:"limits,omitempty"`
	Filters []FilterSetting `json:"filters,omitempty"`

	Throttle Throttle `json:"throttle"`
	Charge   ChargeOn `json:"charge,omitempty"` // empty: ChargeSucceeded
	Live     bool     `json:"live"`
}

// Throttle bounds how fast, never how many. Zero means no bound.
type Throttle struct {
	PerRoute int64         `json:"per_route,omitempty"` // calls of all apps together in Window
	PerApp   int64         `json:"per_app,omitempty"`   // calls of one app in Window
	Window   time.Duration `json:"window,omitempty"`    // 0: one second
}

// App is a buyer's program. Credentials are made by Plane.CreateApp; an App given to
// Apply must exist and updates its name and liveness.
type App struct {
	ID    AppID  `json:"id"`
	Owner string `json:"owner"` // account that owns it
	Name  string `json:"name"`
	Live  bool   `json:"live"` // false: its credentials are refused
}

// Credentials are what a program calls with.
type Credentials struct {
	App       AppID  `json:"app"`
	AppKey    string `json:"app_key"`
	AppSecret string `json:"app_secret"`
	AppCode   string `json:"app_code"`
	// When each was last replaced or made.
	SecretAt time.Time `json:"secret_at"`
	CodeAt   time.Time `json:"code_at"`
}

// Grant says that an app may call a product.
type Grant struct {
	ID      GrantID   `json:"id"`
	App     AppID     `json:"app"`
	Product ProductID `json:"product"`
	Live    bool      `json:"live"` // false: suspended, calls are refused with B403MI
}

// Package is so many calls of a grant, from a moment, until a moment.
// Calls of a known package may only grow by another Package; Apply of the same ID with
// other Calls is ErrInvalid. Until may be moved.
type Package struct {
	ID    PackageID `json:"id"`
	Grant GrantID   `json:"grant"`
	Calls int64     `json:"calls"` // > 0
	From  time.Time `json:"from"`
	Until time.Time `json:"until"` // zero: no end
	Live  bool      `json:"live"`  // false: closed, its calls cannot be used
}

// Balance is where one package stands. Total = Used + Held + Remaining.
type Balance struct {
	Package   PackageID `json:"package"`
	Grant     GrantID   `json:"grant"`
	Total     int64     `json:"total"`
	Used      int64     `json:"used"`      // charged calls
	Held      int64     `json:"held"`      // reserved by calls in flight
	Remaining int64     `json:"remaining"` // not used, not in flight
	From      time.Time `json:"from"`
	Until     time.Time `json:"until"`
	Live      bool      `json:"live"`
	LastCall  time.Time `json:"last_call"` // zero: never
}

// Cursor is a place in the stream of Usage.
type Cursor int64

// Outcome is what became of a call, as a buyer reads it.
type Outcome string

const (
	Charged Outcome = "charged" // counted against a package
	Free    Outcome = "free"    // answered or failed, not charged
	Refused Outcome = "refused" // turned away by the gateway
)

// Usage is a number of calls of one kind within one minute.
type Usage struct {
	Minute  time.Time `json:"minute"`
	Grant   GrantID   `json:"grant"` // empty for refusals before a grant was found
	Package PackageID `json:"package"`
	App     AppID     `json:"app"`
	Product ProductID `json:"product"`
	Route   RouteID   `json:"route"`
	Outcome Outcome   `json:"outcome"`
	Code    string    `json:"code"` // refusal code, or the seller's status class: "2xx"
	Calls   int64     `json:"calls"`
	// Sum of the time calls took, in microseconds; Calls gives the mean.
	Micros int64 `json:"micros"`
}

// CallFilter selects call records. Empty fields match all.
type CallFilter struct {
	App     AppID
	Grant   GrantID
	Product ProductID
	Package PackageID
	Request RequestID // X-Ca-Request-Id
	Max     int       // 0: 50
}

// Match reports whether a record is one that was asked for.
func (f *CallFilter) Match(r *CallRecord) bool {
	return (f.App == "" || f.App == r.App) && (f.Grant == "" || f.Grant == r.Grant) && (f.Product == "" || f.Product == r.Product) &&
		(f.Package == "" || f.Package == r.Package) && (f.Request.IsZero() || f.Request == r.Request)
}

// CallRecord is one call as it was journalled.
type CallRecord struct {
	Request RequestID     `json:"request"` // X-Ca-Request-Id
	At      time.Time     `json:"at"`
	App     AppID         `json:"app"`
	Product ProductID     `json:"product"`
	Route   RouteID       `json:"route"`
	Grant   GrantID       `json:"grant"`
	Package PackageID     `json:"package"`
	Serial  int64         `json:"serial"` // of the package's unit; -1 if none was charged
	Method  string        `json:"method"`
	Path    string        `json:"path"` // of the route, not the caller's
	Status  int           `json:"status"`
	Code    string        `json:"code"` // refusal code, empty if the seller answered
	Outcome Outcome       `json:"outcome"`
	Took    time.Duration `json:"took"`
}
