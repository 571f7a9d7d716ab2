package catalog

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/souk-market/souk/console/market"
)

// Stage is where a seller's draft stands.
type Stage string

// The stages of a draft (SEL-04).
const (
	None     Stage = ""         // there is no draft: what is listed is what there is
	Draft    Stage = "draft"    // 草稿
	InReview Stage = "review"   // 审核中
	Rejected Stage = "rejected" // 已驳回
)

// Sheet is what a seller says of a product, and the operator approves.
type Sheet struct {
	Name     market.Text       `json:"name"`
	Summary  market.Text       `json:"summary"`
	Detail   market.Text       `json:"detail" doc:"Markdown; raw HTML is dropped"`
	Category market.CategoryID `json:"category"`
	Charge   string            `json:"charge" doc:"succeeded or answered: which calls cost one"`
	Plans    []Plan            `json:"plans"`
}

// Plan is a price and what it gives.
type Plan struct {
	ID     market.PlanID `json:"id,omitempty" doc:"Left out for a new plan"`
	Calls  int64         `json:"calls"`
	Price  market.Fen    `json:"price"`
	Months int           `json:"months" doc:"How long the calls are valid; 0: without end"`
}

// Title is what the plan is called.
func (p Plan) Title() market.Text {
	return market.Text{ZH: group(p.Calls) + " 次", EN: group(p.Calls) + " calls"}
}

// group writes a number in groups of three, parted by a thin space.
func group(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}

// product is a row: its draft, and what is live.
type product struct {
	Seq     int64
	ID      market.ProductID
	Seller  market.AccountID
	Kind    market.KindID
	Source  market.SourceID
	Draft   *Sheet
	Stage   Stage
	Reason  string
	Live    *Sheet
	Open    bool
	Listed  int64
	Moved   int64
	Created int64
}

// sheet is the newest of the two.
func (p product) sheet() Sheet {
	if p.Draft != nil {
		return *p.Draft
	}
	return *p.Live
}

const (
	nameMax    = 60
	summaryMax = 140
	detailMax  = 20_000
	plansMax   = 12
	callsMax   = 1_000_000_000
	monthsMax  = 120
)

// check reports every fault of a sheet, each with its field. Plans are named "plans.0".
func (s *Sheet) check(categories map[market.CategoryID]category) error {
	var f market.Form
	s.Name, s.Summary = trim(s.Name), trim(s.Summary)
	length := func(t market.Text, field, code string, least, most int) {
		n := max(utf8.RuneCountInString(t.ZH), utf8.RuneCountInString(t.EN))
		f.Check(n >= least && n <= most, field, code, "max", strconv.Itoa(most))
	}
	length(s.Name, "name", "catalog.name", 1, nameMax)
	length(s.Summary, "summary", "catalog.summary", 1, summaryMax)
	length(s.Detail, "detail", "catalog.detail", 0, detailMax)
	c, known := categories[s.Category]
	f.Check(known && c.Parent != "", "category", "catalog.unknown_category", "category", string(s.Category))
	if s.Charge == "" {
		s.Charge = "succeeded"
	}
	f.Check(s.Charge == "succeeded" || s.Charge == "answered", "charge", "catalog.charge")
	f.Check(len(s.Plans) > 0, "plans", "catalog.no_plan")
	f.Check(len(s.Plans) <= plansMax, "plans", "catalog.many_plans", "max", strconv.Itoa(plansMax))
	for i, p := range s.Plans {
		at := fmt.Sprintf("plans.%d", i)
		f.Check(p.Calls >= 1 && p.Calls <= callsMax, at, "catalog.calls", "max", group(callsMax))
		f.Check(p.Price >= 0, at, "catalog.price_negative", "price", p.Price.Yuan())
		f.Check(p.Price <= math.MaxInt64/1_000_000, at, "catalog.price_large")
		f.Check(p.Months >= 0 && p.Months <= monthsMax, at, "catalog.months", "max", strconv.Itoa(monthsMax))
	}
	return f.Err()
}

func trim(t market.Text) market.Text {
	return market.Text{ZH: strings.TrimSpace(t.ZH), EN: strings.TrimSpace(t.EN)}
}

// floor is the lowest price of the plans.
func (s Sheet) floor() market.Fen {
	low := s.Plans[0].Price
	for _, p := range s.Plans {
		low = min(low, p.Price)
	}
	return low
}

// finding is one automatic check before a review.
type finding struct {
	Code string
	Args []any
	OK   bool
}

// inspect lists what a machine can see of a sheet: prices that do not fall with amount,
// texts in one language only, no description.
func (s Sheet) inspect() []finding {
	list := []finding{
		{Code: "catalog.check_both_languages", OK: s.Name.ZH != "" && s.Name.EN != "" && s.Summary.ZH != "" && s.Summary.EN != ""},
		{Code: "catalog.check_detail", OK: s.Detail.ZH != "" || s.Detail.EN != ""},
	}
	sane := true
	for _, a := range s.Plans {
		for _, b := range s.Plans {
			// more calls at a higher unit price: a buyer would be a fool to take them
			if a.Calls < b.Calls && float64(a.Price)/float64(a.Calls) < float64(b.Price)/float64(b.Calls) && a.Price > 0 {
				sane = false
			}
		}
	}
	return append(list, finding{Code: "catalog.check_prices", OK: sane})
}
