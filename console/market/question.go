package market

import (
	"context"
	"time"
)

// Accounts says who somebody is. Answered by account; asked by the host and by all who
// show names.
type Accounts interface {
	// Session is the actor of a browser's session token. A session that is over is
	// SignedOut.
	Session(ctx context.Context, token string) (*Actor, error)
	// Bearer is the actor of an access token of the JSON API.
	Bearer(ctx context.Context, token string) (*Actor, error)
	// Names gives the names of accounts; unknown ones are left out.
	Names(ctx context.Context, ids ...AccountID) (map[AccountID]string, error)
}

// SetUp lets the first operator in. Answered by account; asked by main at the start.
type SetUp interface {
	// FirstOperator is a fresh one-time token for /setup; empty if there is an operator.
	FirstOperator(ctx context.Context) (string, error)
}

// Plan is what of a product is bought: a price, and what it gives (规格).
type Plan struct {
	ID     PlanID
	Title  Text
	Price  Fen
	Calls  int64 // 0 where calls mean nothing
	Months int   // how long it lasts, in calendar months; 0: without end
}

// Offer is a plan with the product it belongs to, as they are today.
type Offer struct {
	Plan
	Product  ProductID
	Name     Text // the product's
	Category CategoryID
	Kind     KindID
	Seller   AccountID
	Source   SourceID
	Charge   string // which outcomes cost a call: "succeeded" or "answered"
	Open     bool   // for sale now
}

// Shelf says what a plan is and costs today. Answered by catalog.
type Shelf interface {
	// Offer is Missing if there is no such plan; a plan that is no longer for sale has
	// Open false.
	Offer(ctx context.Context, id PlanID) (Offer, error)
}

// Kind is a product type: it opens and closes what was bought. Each verb may be repeated
// and then changes nothing. Answered by kind/*; asked by service, refund, catalog.
type Kind interface {
	KindInfo() KindInfo
	// Ready says whether a source can be sold: nil, or an *Error that says what is
	// still missing. Asked before a product is submitted.
	Ready(ctx context.Context, seller AccountID, source SourceID) error
	// Open gives the buyer what a part was paid for.
	Open(ctx context.Context, s Service, p Part) error
	Suspend(ctx context.Context, s Service) error
	Resume(ctx context.Context, s Service) error
	Close(ctx context.Context, s Service) error
}

// KindInfo is what others must know of a product type.
type KindInfo struct {
	ID KindID
	// Joins: a second purchase of a product adds a part to the service that the buyer
	// has, instead of making another (API-13).
	Joins bool
	// Refundable says whether money may come back without a reason (REF-11: not for APIs).
	Refundable bool
}

// Service is a purchased service as its kind sees it (已购买的服务).
type Service struct {
	ID      ServiceID
	Buyer   AccountID
	Product ProductID
	Seller  AccountID
	Kind    KindID
	Source  SourceID
	Charge  string
	Name    Text
}

// Part is what one bought unit added to a service. For an API it is a package (套餐包).
type Part struct {
	ID    PartID
	Order OrderID
	Line  LineID
	Title Text
	Calls int64
	From  time.Time
	Until time.Time // zero: no end
}

// Services gives the facts of purchased services. Answered by service.
type Services interface {
	// OfBuyer lists a buyer's services of a kind that are open, with their products.
	OfBuyer(ctx context.Context, buyer AccountID, kind KindID) ([]Service, error)
}

// Payment is money on its way in, as a payer sees it.
type Payment struct {
	ID     PaymentID
	Order  OrderID
	Amount Fen
	Buyer  AccountID
}

// PayerInfo names a payment provider. Its words are "payer.<id>.name" and
// "payer.<id>.hint".
type PayerInfo struct {
	ID PayerID
	// Sandbox: no money moves; shown as a strip on every page.
	Sandbox bool
}

// Payer moves money. Answered by pay/*; asked by payment.
type Payer interface {
	PayerInfo() PayerInfo
	// Start prepares a payment and says where the buyer's browser goes to pay.
	// It may be repeated with the same payment.
	Start(ctx context.Context, p Payment) (address string, err error)
}

// Notice is what a payer says of a payment. Doing it twice does it once (BUY-15).
type Notice struct {
	Payer   PayerID
	Payment PaymentID
	Trade   string // the provider's own number of the transaction
	Amount  Fen    // what was paid
}

// Payments hears what payers say. Answered by payment.
type Payments interface {
	// Payment is the payment that a payer was asked to move.
	Payment(ctx context.Context, id PaymentID) (Payment, error)
	// Settle notes that the money is in. An amount that differs from the payment's is a
	// Conflict and changes nothing.
	Settle(ctx context.Context, n Notice) error
}

// Payable is an order as the payment page sees it.
type Payable struct {
	Order   OrderID
	Amount  Fen
	Buyer   AccountID
	Title   Text // of the first line
	Lines   int
	State   string    // unpaid, paid, closed
	Expires time.Time // an unpaid order closes by itself then
}

// Orders gives the facts of orders. Answered by order; asked by payment.
type Orders interface {
	// Payable is Missing for another's order.
	Payable(ctx context.Context, who *Actor, id OrderID) (Payable, error)
}

// App is a buyer's program that calls (应用).
type App struct {
	ID    AppID
	Owner AccountID
	Name  string
}

// Apps names the app with which a buyer calls. Answered by apps.
type Apps interface {
	// For is the buyer's own app, made with a generated name if there is none (APP-02).
	For(ctx context.Context, buyer AccountID) (App, error)
	// App is Missing for an app that the actor does not own.
	App(ctx context.Context, who *Actor, id AppID) (App, error)
	// OfBuyer lists a buyer's apps, oldest first.
	OfBuyer(ctx context.Context, buyer AccountID) ([]App, error)
	// Secrets are an app's credentials as pages show them: masked.
	Secrets(ctx context.Context, id AppID) ([]Secret, error)
}

// Interface is one callable operation of an API product, as buyers may know it. It never
// holds the seller's upstream.
type Interface struct {
	ID       string
	Method   string
	Path     string // /user/[id]
	Name     Text
	Doc      Text
	Params   []Param
	Body     string // media type of the request's body, empty if none
	BodyDoc  string // an example body
	Example  string // an example answer
	CodeForm string // where an AppCode may stand: DEFAULT, DISABLE, HEADER, HEADER_QUERY
	// Operation is the key in the group's OpenAPI document, "GET /user/{id}"; empty if the
	// interface was drawn by hand.
	Operation string `json:"-"`
}

// Param is one parameter of an interface.
type Param struct {
	Name     string
	In       string // path, query, header, form
	Type     string
	Required bool
	Doc      string
	Example  string
}

// API is what an API product calls: its host name and its operations.
type API struct {
	Source SourceID
	Domain string // the group's, that goes into Host
	// Shared: all of it can also be called under the gateway's own address, without Host.
	Shared     bool
	Interfaces []Interface
	// Document is the OpenAPI document that the group was imported from, "" if none.
	Document []byte
}

// APIs describes the API groups of sellers. Answered by apis; asked by catalog, kind/api,
// sdk, usage.
type APIs interface {
	// API is Missing for a source that does not exist.
	API(ctx context.Context, id SourceID) (API, error)
	// Choices lists a seller's groups that could become a product.
	Choices(ctx context.Context, seller AccountID) ([]APIChoice, error)
}

// APIChoice is a group that a seller may sell.
type APIChoice struct {
	Source     SourceID
	Name       Text
	Interfaces int
	// Problem is the code of what is still missing before it can be sold; empty: ready.
	Problem string
}

// Measure is what the gateway measured of a product over the last 30 days.
type Measure struct {
	Calls   int64   // that reached the seller
	Good    int64   // of them, answered below 500
	Mean    float64 // milliseconds a call took
	ByDay   []int64 // 30 sums, oldest first
	Through time.Time
}

// Measures says how products do. Answered by usage; asked by catalog.
type Measures interface {
	Measures(ctx context.Context, ids ...ProductID) (map[ProductID]Measure, error)
}

// Access is what a buyer is shown to get in (详情).
type Access struct {
	App     AppID    // the app that calls; empty where none does
	AppName string   // its name
	Base    string   // where calls go: "http://127.0.0.1:8080"
	Domain  string   // what goes into Host
	Secrets []Secret // credentials, in the order in which they are shown
}

// Secret is one credential on a page. Its text is not in the page until it is asked for.
type Secret struct {
	Name   string // AppKey, AppSecret, AppCode: as callers know them
	Value  string // shown as it is; empty for one that is masked
	Tail   string // last four characters of a masked one
	Note   string // word that says what it is for
	At     time.Time
	Reveal string // POST here answers {"value": …}
	Reset  string // the page that asks before it is replaced
}

// Accessible is a Kind that lets the buyer in by credentials.
type Accessible interface {
	Access(ctx context.Context, s Service) (Access, error)
}

// Use is how much of a part was used.
type Use struct {
	Part      PartID
	Total     int64
	Used      int64
	Remaining int64
	LastCall  time.Time // zero: never
}

// Metered is a Kind whose parts are used up call by call.
type Metered interface {
	// Uses gives the use of each part of the services, as the gateway counted it, in the
	// order in which parts are used up.
	Uses(ctx context.Context, services ...ServiceID) (map[ServiceID][]Use, error)
}

// Point is what happened within one step of time.
type Point struct {
	At      time.Time
	Charged int64
	Free    int64
	Refused int64
}

// Call is one call, as its buyer may know it.
type Call struct {
	Request string // X-Ca-Request-Id
	At      time.Time
	Method  string
	Path    string
	Status  int
	Code    string // of a refusal
	Outcome string // charged, free, refused
	Took    time.Duration
}

// Usages says what was called. Answered by usage; asked by service.
type Usages interface {
	// Series has one point for each step from from until to.
	Series(ctx context.Context, s ServiceID, from, to time.Time, step time.Duration) ([]Point, error)
	// Calls lists the latest, newest first.
	Calls(ctx context.Context, s ServiceID, most int) ([]Call, error)
}

// Download is something that a buyer may fetch for an app: an SDK.
type Download struct {
	Name string // Go, Python
	Href string
}

// SDKs lists what may be fetched. Answered by sdk; asked by service and apps.
type SDKs interface {
	SDKs(app AppID) []Download
}

// GrantOf is the gateway's key for a purchased service.
func GrantOf(s ServiceID) string { return "grt_" + string(s[min(len(s), 4):]) }
