package standard

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/filter/filtertest"
	"github.com/souk-market/souk/gateway/gate"
)

// helpers are rooms of gateway/filter that are no filters.
var helpers = []string{"filtertest", "rule", "setting", "template"}

// Every filter that there is, is in the standard build, under the name of its room.
func TestEveryFilterIsThere(t *testing.T) {
	rooms, err := os.ReadDir("../filter")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, r := range rooms {
		if r.IsDir() && !slices.Contains(helpers, r.Name()) {
			want = append(want, r.Name())
		}
	}
	if got := gate.Filters(); !slices.Equal(got, want) {
		t.Errorf("filters %v, want %v", got, want)
	}
}

// all are settings of all filters that stand beside each other on one route.
var all = []control.FilterSetting{
	{Filter: "sign", With: control.Raw(`{"keys":[{"id":"k","secret":"sec_a"}]}`)},
	{Filter: "rewrite", With: control.Raw(`{"request":{"headers":{"set":{"X-App":"${app.id}"}}},"answer":{"headers":{"set":{"X-Was":"${answer.status}"}}}}`)},
	{Filter: "errors", With: control.Raw(`{"rules":[{"statuses":["5xx"],"status":502,"body":"sorry"}]}`)},
	{Filter: "charge", With: control.Raw(`{"charge":"status == 200"}`)},
	{Filter: "cache", With: control.Raw(`{}`)},
	{Filter: "breaker", With: control.Raw(`{"failures":2}`)},
	{Filter: "schema", With: control.Raw(`{"operation":{"parameters":[{"name":"n","in":"query","schema":{"type":"integer"}}]}}`)},
	{Filter: "access", With: control.Raw(`{"rules":[{"name":"r","deny":"has(query.deny)"}]}`)},
	{Filter: "size", With: control.Raw(`{"query":20}`)},
	{Filter: "cors", With: control.Raw(`{"origins":["https://a.test"]}`)},
	{Filter: "address", With: control.Raw(`{"deny":["192.0.2.1"]}`)},
}

// The filters of one route work together, in their own order whatever the setting's: what
// is kept is the seller's answer, what is charged for is his status, what is signed is what
// he gets.
func TestTogether(t *testing.T) {
	b := filtertest.New(t, "size")
	b.Secrets["sec_a"] = "0123456789abcdef"
	b.Route.Filters = all
	chain := b.Make(`{"request":10}`)
	ok := filtertest.OK("21 degrees", "Cache-Control: max-age=60")
	c := b.Call("GET /now?n=1", "Origin: https://a.test")
	filtertest.Refused(t, b.Run(chain, c, ok), "")
	if o := c.Outgoing(); filtertest.Header(o.Fields, "X-App") != "app_a" || filtertest.Header(o.Fields, "X-Ca-Proxy-Signature") == "" {
		t.Errorf("the seller gets %q", o.Fields)
	}
	if c.Charge != gate.ChargeIt || filtertest.Header(c.Answer.Fields, "X-Was") != "200" || filtertest.Header(c.Answer.Fields, "Access-Control-Allow-Origin") != "https://a.test" {
		t.Errorf("the answer: %d %q", c.Charge, c.Answer.Fields)
	}
	fails := func(*gate.Call) (int, []string) { return 500, []string{"", "stack"} }
	for range 2 {
		c = b.Call("GET /fails?n=1")
		filtertest.Refused(t, b.Run(chain, c, fails), "")
		if c.Answer.Status != 502 || string(c.Answer.Body) != "sorry" || c.Charge != gate.FreeOfCharge {
			t.Errorf("a failure: %d %q, charge %d", c.Answer.Status, c.Answer.Body, c.Charge)
		}
	}
	filtertest.Refused(t, b.Run(chain, b.Call("GET /fails?n=1"), ok), "D503CB Backend circuit breaker open, too many calls failed")
	for _, tt := range [][2]string{
		{"GET /now?n=x", "I400IP Invalid Parameter `n` cannot be read"},
		{"GET /now?n=1&deny", "A403AC Access Control Forbidden by r"},
		{"GET /now?n=" + strings.Repeat("1", 30), "I413UL Request URL too Large"},
	} {
		filtertest.Refused(t, b.Run(chain, b.Call(tt[0]), ok), tt[1])
	}
}

// O3: a route without filters has no chain, and its calls ask nobody.
func TestNoFilterNoChain(t *testing.T) {
	chain, err := gate.Compile(gate.Env{Group: &control.Group{}, Route: &control.Route{}})
	if chain != nil || err != nil {
		t.Errorf("a chain of nothing: %v, %v", chain, err)
	}
}
