package charge

import (
	"testing"

	"github.com/souk-market/souk/gateway/filter/filtertest"
	"github.com/souk-market/souk/gateway/gate"
)

func TestCharge(t *testing.T) {
	b := filtertest.New(t, "charge")
	chain := b.Make(`{"charge":"status < 300 && int(answer['x-found']) > 0"}`)
	for _, tt := range []struct {
		status int
		found  string
		want   gate.Charge
	}{
		{200, "X-Found: 3", gate.ChargeIt}, {200, "X-Found: 0", gate.FreeOfCharge}, {404, "X-Found: 3", gate.FreeOfCharge},
		{200, "X-Found: many", gate.Unsaid}, {200, "X-Other: 1", gate.Unsaid},
	} {
		c := b.Call("GET /")
		filtertest.Refused(t, b.Run(chain, c, func(*gate.Call) (int, []string) { return tt.status, []string{tt.found} }), "")
		if c.Charge != tt.want {
			t.Errorf("%d with %s: %d, want %d", tt.status, tt.found, c.Charge, tt.want)
		}
	}
	free := b.Make(`{"free":"status == 404"}`)
	for status, want := range map[int]gate.Charge{404: gate.FreeOfCharge, 200: gate.Unsaid, 500: gate.Unsaid} {
		c := b.Call("GET /")
		filtertest.Refused(t, b.Run(free, c, func(*gate.Call) (int, []string) { return status, nil }), "")
		if c.Charge != want {
			t.Errorf("%d where 404 is free: %d, want %d", status, c.Charge, want)
		}
	}
	c := b.Call("GET /")
	b.Run(chain, c, nil)
	if c.Charge != gate.Unsaid {
		t.Error("a call without an answer is charged, or said to be free")
	}
}

func TestWrongSettings(t *testing.T) {
	filtertest.New(t, "charge").Wrong(map[string]string{
		`{}`: `it needs either "charge"`,
		`{"charge":"status < 300","free":"status == 404"}`: `it needs either "charge"`,
		`{"free":"status"}`:       "should say yes or no",
		`{"charge":"status"}`:     "should say yes or no",
		`{"charge":"status < x"}`: "cannot be read",
	})
}
