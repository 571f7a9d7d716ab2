package market

import "time"

// Event is a fact, told after it became true. Its name never changes once released.
type Event interface {
	// Event is the name: noun and past tense, "order.paid".
	Event() string
	// Subject orders deliveries: those of one subject reach a listener one after the other.
	Subject() string
}

// ProductListed: a product is on the shelf, or its listed version was replaced.
type ProductListed struct {
	Product ProductID
	Seller  AccountID
	Kind    KindID
	Source  SourceID
	Charge  string
	Name    Text
	At      time.Time
}

// Event is "product.listed".
func (ProductListed) Event() string { return "product.listed" }

// Subject is the product.
func (e ProductListed) Subject() string { return string(e.Product) }

// ProductWithdrawn: no new sales; those who bought keep what they have (SEL-07).
type ProductWithdrawn struct {
	Product ProductID
	At      time.Time
}

// Event is "product.withdrawn".
func (ProductWithdrawn) Event() string { return "product.withdrawn" }

// Subject is the product.
func (e ProductWithdrawn) Subject() string { return string(e.Product) }

// OrderLine is one plan in an order, as it was when the order was placed.
type OrderLine struct {
	ID    LineID
	Offer Offer
	Count int64
	Price Fen // of one
}

// OrderPlaced: an order exists and waits for payment.
type OrderPlaced struct {
	Order  OrderID
	Buyer  AccountID
	Seller AccountID
	Total  Fen
	Lines  []OrderLine
	At     time.Time
}

// Event is "order.placed".
func (OrderPlaced) Event() string { return "order.placed" }

// Subject is the order.
func (e OrderPlaced) Subject() string { return string(e.Order) }

// OrderClosed: an unpaid order lapsed or was cancelled.
type OrderClosed struct {
	Order OrderID
	At    time.Time
}

// Event is "order.closed".
func (OrderClosed) Event() string { return "order.closed" }

// Subject is the order.
func (e OrderClosed) Subject() string { return string(e.Order) }

// PaymentSettled: the money for an order is in.
type PaymentSettled struct {
	Payment PaymentID
	Order   OrderID
	Amount  Fen
	At      time.Time
}

// Event is "payment.settled".
func (PaymentSettled) Event() string { return "payment.settled" }

// Subject is the order.
func (e PaymentSettled) Subject() string { return string(e.Order) }

// OrderPaid: an order moved to paid.
type OrderPaid struct {
	Order  OrderID
	Buyer  AccountID
	Seller AccountID
	Total  Fen
	Lines  []OrderLine
	At     time.Time
}

// Event is "order.paid".
func (OrderPaid) Event() string { return "order.paid" }

// Subject is the order.
func (e OrderPaid) Subject() string { return string(e.Order) }

// ServiceOpening: a part was bought and is to be opened.
type ServiceOpening struct {
	Service Service
	Part    Part
	At      time.Time
}

// Event is "service.opening".
func (ServiceOpening) Event() string { return "service.opening" }

// Subject is the service.
func (e ServiceOpening) Subject() string { return string(e.Service.ID) }

// ServiceActive: a part is open and can be used.
type ServiceActive struct {
	Service Service
	Part    Part
	At      time.Time
}

// Event is "service.active".
func (ServiceActive) Event() string { return "service.active" }

// Subject is the service.
func (e ServiceActive) Subject() string { return string(e.Service.ID) }
