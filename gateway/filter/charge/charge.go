// Package charge says by a rule that a seller writes whether a call costs a unit;
// gateway/filter/rule says what it can see. It sees the seller's answer before other filters
// change it.
//
// The setting:
//
//	{"charge": "status < 300 && answer[?'x-found'].orValue('yes') == 'yes'"}
//	{"free": "status == 404"}
//
// The first rule says of each answer whether it costs a unit. The second says which ones
// cost nothing, and leaves the others to the route's own rule: it never makes a call dearer
// than its buyer was told.
//
// A rule that asks for what is not there says nothing, and the route's own rule decides; so
// it does for a call that the seller did not answer, which is free.
package charge

import (
	"errors"

	"github.com/souk-market/souk/gateway/filter/rule"
	"github.com/souk-market/souk/gateway/filter/setting"
	"github.com/souk-market/souk/gateway/gate"
)

func init() { gate.Register(gate.Info{ID: "charge", Place: 800, New: newFilter}) }

type filter struct {
	rule *rule.Rule
	yes  gate.Charge // what it means that the rule holds
	no   gate.Charge
}

func newFilter(env gate.Env) (any, error) {
	var with struct {
		Charge string `json:"charge"`
		Free   string `json:"free"`
	}
	if err := setting.Decode(env.With, &with); err != nil {
		return nil, err
	}
	if (with.Charge == "") == (with.Free == "") {
		return nil, errors.New(`it needs either "charge", a rule such as "status < 300", or "free", such as "status == 404"`)
	}
	f, text := filter{yes: gate.ChargeIt, no: gate.FreeOfCharge}, with.Charge
	if with.Free != "" {
		f, text = filter{yes: gate.FreeOfCharge, no: gate.Unsaid}, with.Free
	}
	var err error
	if f.rule, err = rule.Compile(text, rule.Answer); err != nil {
		return nil, err
	}
	return f, nil
}

// Answer asks the rule.
func (f filter) Answer(c *gate.Call) error {
	switch yes, err := f.rule.Holds(c); {
	case err != nil:
	case yes:
		c.Charge = f.yes
	default:
		c.Charge = f.no
	}
	return nil
}
