// Package access lets calls through by rules that a seller writes; gateway/filter/rule says
// what they can see. What a rule turns away costs nobody anything.
//
// The setting; the rules are asked in their order:
//
//	{"rules": [
//	  {"name": "office hours", "allow": "time.getHours('Asia/Shanghai') >= 8"},
//	  {"name": "no tests", "deny": "has(query.test)"}
//	]}
//
// A call must fulfil every "allow" and no "deny"; otherwise it gets A403AC with the rule's
// name. A rule that asks for what is not there turns away, too.
package access

import (
	"errors"
	"fmt"

	"github.com/souk-market/souk/gateway/filter/rule"
	"github.com/souk-market/souk/gateway/filter/setting"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/param"
)

func init() { gate.Register(gate.Info{ID: "access", Place: 500, New: newFilter}) }

// MaxRules bounds the rules of a setting.
const MaxRules = 20

type filter []one

type one struct {
	rule    *rule.Rule
	want    bool
	refusal *gate.Refusal
}

func newFilter(env gate.Env) (any, error) {
	var with struct {
		Rules []struct {
			Name  string `json:"name"`
			Allow string `json:"allow"`
			Deny  string `json:"deny"`
		} `json:"rules"`
	}
	if err := setting.Decode(env.With, &with); err != nil {
		return nil, err
	}
	if len(with.Rules) == 0 || len(with.Rules) > MaxRules {
		return nil, fmt.Errorf(`it needs "rules", from 1 to %d`, MaxRules)
	}
	var f filter
	for i, r := range with.Rules {
		fail := func(err error) error { return fmt.Errorf("rule %d, %q: %w", i+1, r.Name, err) }
		if r.Name == "" || len(r.Name) > 100 || !param.FitsHeader([]byte(r.Name)) {
			return nil, fail(errors.New("a rule has a name, which callers see, of at most 100 bytes without control characters"))
		}
		if (r.Allow == "") == (r.Deny == "") {
			return nil, fail(errors.New(`it has either "allow" or "deny"`))
		}
		made, err := rule.Compile(r.Allow+r.Deny, rule.Request)
		if err != nil {
			return nil, fail(err)
		}
		f = append(f, one{made, r.Allow != "", gate.Refuse("A403AC", "Access Control Forbidden by "+r.Name)})
	}
	return f, nil
}

// Admit asks the rules.
func (f filter) Admit(c *gate.Call) error {
	for i := range f {
		if yes, err := f[i].rule.Holds(c); err != nil || yes != f[i].want {
			return f[i].refusal
		}
	}
	return nil
}
