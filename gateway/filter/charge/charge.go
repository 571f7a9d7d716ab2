// Package charge says by a rule that a seller writes whether a call costs a unit;
// gateway/filter/rule says what it can see. It sees the seller's answer before other filters
// change it.
//
// The setting:
//
//	{"charge": "status < 300 && answer[?'x-found'].orValue('yes') == 'yes'"}
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

type filter struct{ rule *rule.Rule }

func newFilter(env gate.Env) (any, error) {
	var with struct {
		Charge string `json:"charge"`
	}
	if err := setting.Decode(env.With, &with); err != nil {
		return nil, err
	}
	if with.Charge == "" {
		return nil, errors.New(`it needs "charge", a rule such as "status < 300"`)
	}
	made, err := rule.Compile(with.Charge, rule.Answer)
	if err != nil {
		return nil, err
	}
	return filter{made}, nil
}

// Answer asks the rule.
func (f filter) Answer(c *gate.Call) error {
	switch yes, err := f.rule.Holds(c); {
	case err != nil:
	case yes:
		c.Charge = gate.ChargeIt
	default:
		c.Charge = gate.FreeOfCharge
	}
	return nil
}
