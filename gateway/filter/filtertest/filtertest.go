// Package filtertest makes filters for their tests, and calls to try them on.
package filtertest

import (
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
)

// Noon is where the clock of a Bench stands first.
var Noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// Bench is where a filter is tried. Its fields may be changed before Make.
type Bench struct {
	Filter  string
	Group   *control.Group
	Route   *control.Route
	Secrets map[control.SecretID]string

	mu     sync.Mutex // guards what is below
	now    time.Time
	shared map[string]any
	t      testing.TB
}

// New is a bench for a filter.
func New(t testing.TB, filter string) *Bench {
	return &Bench{Filter: filter, t: t, now: Noon, shared: map[string]any{}, Secrets: map[control.SecretID]string{},
		Group: &control.Group{ID: "grp_a", Live: true},
		Route: &control.Route{ID: "rte_a", Group: "grp_a", Name: "now", Method: "ANY", Path: "/[*]", Upstream: "http://seller.test", Live: true}}
}

// Now is the time.
func (b *Bench) Now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

// Pass moves the clock on.
func (b *Bench) Pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

// Shared is gate.Env's.
func (b *Bench) Shared(key string, make func() any) any {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shared[key] == nil {
		b.shared[key] = make()
	}
	return b.shared[key]
}

// Chain makes the filter of a setting, as a new configuration would.
func (b *Bench) Chain(with string) (*gate.Chain, error) {
	route := *b.Route
	route.Filters = append(route.Filters[:len(route.Filters):len(route.Filters)], control.FilterSetting{Filter: b.Filter, With: control.Raw(with)})
	return gate.Compile(gate.Env{Group: b.Group, Route: &route, Now: b.Now, Shared: b.Shared,
		Secret: func(id control.SecretID) ([]byte, error) {
			if s, ok := b.Secrets[id]; ok {
				return []byte(s), nil
			}
			return nil, errors.New("there is no secret " + string(id))
		}})
}

// Make is Chain with a setting that is right.
func (b *Bench) Make(with string) *gate.Chain {
	b.t.Helper()
	c, err := b.Chain(with)
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

// Wrong looks whether settings are refused, each with a word of the error.
func (b *Bench) Wrong(settings map[string]string) {
	b.t.Helper()
	settings[`{"no_such_field":1}`] = `no field "no_such_field"`
	for with, want := range settings {
		if _, err := b.Chain(with); err == nil || !strings.Contains(err.Error(), want) {
			b.t.Errorf("%s: %v, want %q", with, err, want)
		}
	}
}

// Call is a call to the route: "GET /a?b=c", header lines, and after an empty line the
// body.
func (b *Bench) Call(lines ...string) *gate.Call {
	b.t.Helper()
	method, target, _ := strings.Cut(lines[0], " ")
	path, query, _ := strings.Cut(target, "?")
	c := &gate.Call{Method: []byte(method), Host: []byte("api.test"), Target: []byte(target), Path: []byte(path), Query: []byte(query),
		ID: control.RequestID{0x11, 0x11, 0x11, 0x11, 0x22, 0x22, 0x43, 0x33, 0x84, 0x44, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55}, At: b.Now(), Group: b.Group, Route: b.Route, App: "app_a", Key: "203753385", Owner: "acc_a",
		From: netip.MustParseAddr("198.51.100.7"), Peer: netip.MustParseAddr("127.0.0.1")}
	if rest, ok := strings.CutPrefix(path, "/"); ok {
		c.Params = []gate.Param{{Name: "*", Value: []byte(rest)}}
	}
	body := ""
	for i, line := range lines[1:] {
		if line == "" {
			body = strings.Join(lines[i+2:], "\n")
			break
		}
		name, value, _ := strings.Cut(line, ": ")
		c.Fields = append(c.Fields, gate.Field{Name: []byte(name), Value: []byte(value)})
	}
	c.ReadBody = func(c *gate.Call) error { c.Body, c.BodyRead = []byte(body), true; return nil }
	return c
}

// Answer is what the seller of a Run answers: a status, header lines, and after an empty
// line the body.
type Answer func(*gate.Call) (status int, lines []string)

// OK answers 200 with a body.
func OK(body string, lines ...string) Answer {
	return func(*gate.Call) (int, []string) { return 200, append(lines[:len(lines):len(lines)], "", body) }
}

// Run carries a call through the phases of a chain as the row does, and is the refusal that
// ended it, or nil. A nil seller fails to answer.
func (b *Bench) Run(chain *gate.Chain, c *gate.Call, seller Answer) *gate.Refusal {
	b.t.Helper()
	err := b.phases(chain, c, seller)
	var refusal *gate.Refusal
	if err != nil && !errors.As(err, &refusal) {
		b.t.Fatalf("a filter failed: %v", err)
	}
	c.Record = control.CallRecord{Request: c.ID, Status: c.Answer.Status}
	if refusal != nil {
		c.Answer = gate.Answer{Fields: c.Answer.Fields[:0]}
		c.Record.Status, c.Record.Code = refusal.Status, refusal.Code
		for _, f := range chain.Refuse {
			f.Refused(c, refusal)
		}
	}
	for _, f := range chain.End {
		f.End(c)
	}
	return refusal
}

func (b *Bench) phases(chain *gate.Chain, c *gate.Call, seller Answer) error {
	c.Chain = chain
	for _, f := range chain.Arrive {
		if err := f.Arrive(c); err != nil || c.Replied() {
			return err
		}
	}
	if chain.Body > 0 && !c.BodyRead {
		if err := c.ReadBody(c); err != nil {
			return err
		}
		if int64(len(c.Body)) > chain.Body {
			return gate.BodyTooLarge
		}
	}
	for _, f := range chain.Admit {
		if err := f.Admit(c); err != nil {
			return err
		}
	}
	for _, f := range chain.Send {
		if c.Replied() {
			break
		}
		if err := f.Send(c); err != nil {
			return err
		}
	}
	var body string
	if !c.Replied() {
		if seller == nil {
			return gate.UpstreamTimeout
		}
		status, lines := seller(c)
		c.Answer = gate.Answer{Status: status}
		for i, line := range lines {
			if line == "" {
				body = strings.Join(lines[i+1:], "\n")
				break
			}
			name, value, _ := strings.Cut(line, ": ")
			c.Answer.Add([]byte(name), []byte(value))
		}
		c.Answer.Length = int64(len(body))
	}
	for _, f := range chain.Answer {
		if err := f.Answer(c); err != nil {
			return err
		}
	}
	if c.Answer.Whole {
		body = string(c.Answer.Body)
	}
	if want := c.Answer.Wanted(); want > 0 && int64(len(body)) <= want {
		c.Answer.Body, c.Answer.Whole = []byte(body), true
		for _, f := range chain.Whole {
			if err := f.Whole(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// Refused looks whether a call was refused with a code and a message; "": it was not.
func Refused(t testing.TB, r *gate.Refusal, want string) {
	t.Helper()
	got := ""
	if r != nil {
		got = r.Error()
	}
	if got != want {
		t.Errorf("refused with %q, want %q", got, want)
	}
}

// Header is the values of a header, joined by " | ".
func Header(fields gate.Fields, name string) string {
	var values []string
	for _, f := range fields {
		if strings.EqualFold(string(f.Name), name) {
			values = append(values, string(f.Value))
		}
	}
	return strings.Join(values, " | ")
}
