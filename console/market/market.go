// Package market holds the words that plug-ins share: nouns, questions that one plug-in
// answers and others ask, and events that tell what happened. It imports the standard
// library alone, so that every plug-in can stand on it.
package market

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Identifiers. Their text starts with a short mark, so that a log line explains itself.
type (
	AccountID  string // acc_: who owns, buys, sells
	PersonID   string // per_: who signs in
	ProductID  string // prd_
	PlanID     string // pln_
	CategoryID string // a short word: "weather"
	KindID     string // a product type: "api"
	OrderID    string // ord_
	LineID     string // lin_
	PaymentID  string // pay_
	PayerID    string // a payment provider: "sandbox"
	ServiceID  string // svc_: a purchased service
	PartID     string // pkg_: what one bought unit added to a service; for an API, a package
	AppID      string // app_
	SourceID   string // what a product is made of, by its kind: for an API, a group (grp_)
)

var alphabet = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// NewID makes a fresh identifier: the mark, 48 bits of time so that keys sort by age,
// and 32 random bits. It names a thing and protects nothing: who may see it is asked of the
// actor each time.
func NewID(mark string, now time.Time) string {
	var b [10]byte
	binary.BigEndian.PutUint64(b[:8], uint64(now.UnixMilli())<<16)
	if _, err := rand.Read(b[6:]); err != nil {
		panic("market: no randomness: " + err.Error()) // crypto/rand never fails on a supported system
	}
	return mark + "_" + alphabet.EncodeToString(b[:])
}

// Fen is an amount of money in the smallest unit (分); 100 of them are ¥1.
type Fen int64

// Yuan is the amount with two decimals and no sign of currency: "79.00".
func (f Fen) Yuan() string {
	sign := ""
	if f < 0 {
		sign, f = "-", -f
	}
	return fmt.Sprintf("%s%d.%02d", sign, f/100, f%100)
}

// MarshalText is Yuan; in JSON money is a text.
func (f Fen) MarshalText() ([]byte, error) { return []byte(f.Yuan()), nil }

// UnmarshalText reads what ParseYuan does.
func (f *Fen) UnmarshalText(b []byte) (err error) {
	*f, err = ParseYuan(string(b))
	return err
}

// ParseYuan reads "79", "79.0" or "79.00"; nothing finer than a fen, no sign but "-",
// at most 13 digits before the point.
func ParseYuan(s string) (Fen, error) {
	t := strings.TrimSpace(s)
	neg := strings.HasPrefix(t, "-")
	t = strings.TrimPrefix(t, "-")
	whole, frac, _ := strings.Cut(t, ".")
	if whole == "" || len(whole) > 13 || len(frac) > 2 {
		return 0, fmt.Errorf("%q is not an amount", s)
	}
	for len(frac) < 2 {
		frac += "0"
	}
	var f Fen
	for _, c := range whole + frac {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("%q is not an amount", s)
		}
		f = f*10 + Fen(c-'0')
	}
	if neg {
		f = -f
	}
	return f, nil
}

// Text is what a person wrote, in one language or both.
type Text struct {
	ZH string `json:"zh" doc:"Chinese"`
	EN string `json:"en" doc:"English"`
}

// In is the text in a language, or in the other if there is none.
func (t Text) In(lang string) string {
	if lang == "en" && t.EN != "" || t.ZH == "" {
		return t.EN
	}
	return t.ZH
}

// JSON is the text as it is stored.
func (t Text) JSON() string {
	b, err := json.Marshal(t)
	if err != nil {
		panic(err) // two strings always marshal
	}
	return string(b)
}

// TextFrom reads what JSON wrote.
func TextFrom(s string) (t Text) {
	if json.Unmarshal([]byte(s), &t) != nil {
		t.ZH = s
	}
	return t
}

// Role is a side of the market that an account may stand on.
type Role string

// The three roles of people, and Anyone for a visitor.
const (
	Anyone   Role = ""
	Buyer    Role = "buyer"
	Seller   Role = "seller"
	Operator Role = "operator"
)

// Actor is who asks: a person, acting for an account.
type Actor struct {
	Account AccountID
	Person  PersonID
	Name    string // of the account
	Called  string // the person's own name
	Email   string
	Roles   []Role
	// SignedIn is when the person last gave a password; secrets are shown only for a
	// while after it. Zero for an access token.
	SignedIn time.Time
	// Token is true for an access token of the JSON API.
	Token bool
}

// Is reports whether the actor may stand on a side.
func (a *Actor) Is(r Role) bool {
	if r == Anyone {
		return true
	}
	if a == nil {
		return false
	}
	for _, have := range a.Roles {
		if have == r {
			return true
		}
	}
	return false
}
