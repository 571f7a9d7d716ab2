package gate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/souk-market/souk/gateway/control"
)

// A filter (插件) is a step that a seller adds to a group or a route. It is a value that has
// at least one of the phases below; a phase that it has not costs nothing. One value serves
// all calls of a route from many goroutines, until the configuration changes; what must
// live on then comes from Env.Shared.
//
// In each phase an error ends the call: a *Refusal is what the caller sees, any other error
// is our fault. Phases run on the call path and must not wait for anything outside.
type (
	// Arriver runs before the caller is known: CORS, address lists.
	Arriver interface{ Arrive(*Call) error }
	// Admitter runs when the caller is known and nothing is spent yet: rules of access,
	// validation. What it refuses costs nobody anything.
	Admitter interface{ Admit(*Call) error }
	// Sender runs when a unit is reserved. It may change what the seller gets, through
	// Call.Outgoing, or answer instead of the seller, through Call.Reply.
	Sender interface{ Send(*Call) error }
	// Answerer runs on the head of an answer, whoever gave it, before the call is settled.
	// It may change Call.Answer, and ask with Answer.Want for the body.
	Answerer interface{ Answer(*Call) error }
	// Wholer runs when the body of an answer that was asked for is there, whole, in
	// Answer.Body. It does not run if the body was larger than what was asked for.
	Wholer interface{ Whole(*Call) error }
	// Refuser runs when the call was refused, before the caller gets the refusal. What it
	// writes with Call.Answer's Set and Add goes out beside the refusal's own headers; if it
	// calls Call.Reply, that status and body take the place of the refusal's, whose code and
	// message stay in the headers.
	Refuser interface{ Refused(*Call, *Refusal) }
	// Ender runs when it is known what became of the call, refused ones too. It cannot
	// change anything.
	Ender interface{ End(*Call) }
	// BodyReader says that the filter has to see the body of a request. It is read whole
	// before Admit, up to this many bytes; a larger one is refused with I413RL.
	BodyReader interface{ ReadsBody() int64 }
)

// Info is a filter as it is registered.
type Info struct {
	ID    string // "cors"; what control.FilterSetting names
	Place int    // its place among the filters of a call: lower ones run first; ties in the order of the setting
	// New makes a filter of a setting. An error says what is wrong with the setting, in
	// words for a seller.
	New func(Env) (any, error)
}

// Env is what a filter is made with.
type Env struct {
	With  control.Raw // the setting
	Group *control.Group
	Route *control.Route
	// Secret is the value of a secret that the setting names.
	Secret func(control.SecretID) ([]byte, error)
	Now    func() time.Time
	// Shared is a value that outlives this configuration: counters, caches, breakers. It is
	// made once for a key, whichever route asks, so a key says whose value it is; and dropped
	// some time after no filter has asked for it. If it is an io.Closer it is closed then.
	Shared func(key string, make func() any) any
}

var filters = map[string]Info{}

// Register makes a filter known. It is called in init; two filters of one ID stop the
// program.
func Register(i Info) {
	if _, ok := filters[i.ID]; ok || i.ID == "" || i.New == nil {
		panic(fmt.Sprintf("gate: the filter %q is registered twice, or has no name or no maker", i.ID))
	}
	filters[i.ID] = i
}

// Filters are the IDs of all filters of this program, sorted.
func Filters() []string {
	var list []string
	for id := range filters {
		list = append(list, id)
	}
	slices.Sort(list)
	return list
}

// Chain has the filters of a route by phase. A nil chain has none.
type Chain struct {
	Arrive []Arriver
	Admit  []Admitter
	Send   []Sender
	Answer []Answerer
	Whole  []Wholer
	Refuse []Refuser
	End    []Ender
	Body   int64 // bytes of a request's body that filters want to see at most; 0: none wants it
}

// Compile makes the chain of a route: the group's filters, then the route's, each at its
// place. It returns nil if there are none. The error names the filter.
func Compile(env Env) (*Chain, error) {
	settings := slices.Concat(env.Group.Filters, env.Route.Filters)
	if len(settings) == 0 {
		return nil, nil
	}
	for _, s := range settings {
		if _, ok := filters[s.Filter]; !ok {
			return nil, fmt.Errorf("filter %q is not known; there are %s", s.Filter, strings.Join(Filters(), ", "))
		}
	}
	slices.SortStableFunc(settings, func(a, b control.FilterSetting) int { return filters[a.Filter].Place - filters[b.Filter].Place })
	chain := new(Chain)
	for _, s := range settings {
		env.With = s.With
		f, err := filters[s.Filter].New(env)
		if err != nil {
			return nil, fmt.Errorf("filter %q: %w", s.Filter, err)
		}
		if !chain.add(f) {
			return nil, fmt.Errorf("filter %q has no phase", s.Filter)
		}
	}
	return chain, nil
}

func (c *Chain) add(f any) (some bool) {
	if f, ok := f.(Arriver); ok {
		c.Arrive, some = append(c.Arrive, f), true
	}
	if f, ok := f.(Admitter); ok {
		c.Admit, some = append(c.Admit, f), true
	}
	if f, ok := f.(Sender); ok {
		c.Send, some = append(c.Send, f), true
	}
	if f, ok := f.(Answerer); ok {
		c.Answer, some = append(c.Answer, f), true
	}
	if f, ok := f.(Wholer); ok {
		c.Whole, some = append(c.Whole, f), true
	}
	if f, ok := f.(Refuser); ok {
		c.Refuse, some = append(c.Refuse, f), true
	}
	if f, ok := f.(Ender); ok {
		c.End, some = append(c.End, f), true
	}
	if f, ok := f.(BodyReader); ok {
		c.Body = max(c.Body, f.ReadsBody())
	}
	return some
}
