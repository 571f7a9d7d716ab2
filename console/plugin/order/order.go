package order

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/souk-market/souk/console/market"
)

// State is where an order stands.
type State string

// The states of an order.
const (
	Unpaid State = "unpaid" // 未支付
	Paid   State = "paid"   // 已支付
	Closed State = "closed" // 已关闭
)

// steps lists every change of state that an order may make.
var steps = map[State][]State{
	Unpaid: {Paid, Closed},
	// Money that was under way when the order lapsed is honoured: the buyer paid the
	// price that the order names.
	Closed: {Paid},
}

// CanBecome reports whether an order may go from s to next.
func (s State) CanBecome(next State) bool { return slices.Contains(steps[s], next) }

// Type is why an order was made (订购类型).
type Type string

// The order types of this walk; renewals, upgrades and conversions come with their kinds.
const (
	New   Type = "new"   // 新购
	TopUp Type = "topup" // 套餐包加购: the buyer has the product, calls are added
)

const (
	lapseAfter = 30 * time.Minute // an unpaid order closes by itself then
	maxCount   = 1000             // of one plan in an order
	perPage    = 10               // GEN-05
)

// Order is one agreement with one seller.
type Order struct {
	ID      market.OrderID
	Buyer   market.AccountID
	Person  market.PersonID // who acted for the buyer (BUY-10)
	Seller  market.AccountID
	Type    Type
	State   State
	Total   market.Fen
	Created time.Time
	Expires time.Time
	Paid    time.Time
	Lines   []market.OrderLine
}

// price is what count of an offer cost. A sum that does not fit is refused, not wrapped.
func price(o market.Offer, count int64) (market.Fen, error) {
	var f market.Form
	f.Check(count >= 1 && count <= maxCount, "count", "order.count", "max", strconv.Itoa(maxCount), "count", strconv.FormatInt(count, 10))
	if err := f.Err(); err != nil {
		return 0, err
	}
	if o.Price != 0 && count > math.MaxInt64/int64(o.Price) {
		return 0, &market.Error{Kind: market.Invalid, Code: "order.too_much"}
	}
	return o.Price * market.Fen(count), nil
}
