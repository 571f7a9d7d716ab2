package gateway

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/souk-market/souk/gateway/certificate"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/mapping"
	"github.com/souk-market/souk/gateway/ops"
	"github.com/souk-market/souk/gateway/proxy"
	"github.com/souk-market/souk/gateway/throttle"
)

// ready is what the calls of a route need, made when its table is built. It is immutable.
type ready struct {
	way     *proxy.Way
	limits  *throttle.Plan
	mapping *mapping.Map
	counts  *ops.Counts
	broken  *gate.Refusal // the route cannot be served
	// simple says that an event loop may take the route's calls: nothing on their way waits.
	simple bool
	place  *proxy.Place // where the loop goes
}

// prepare makes of a route what its calls need. A route with a fault in it is there, and
// says so: the console has refused to save it, so it comes from another program.
func (s *Server) prepare(g *control.Group, r *control.Route) (any, *gate.Chain) {
	p := &ready{counts: s.meter.Route(r.ID), limits: throttle.Prepare(g, r)}
	var via *control.Upstream
	if r.Via != "" && s.upstream != nil {
		via = s.upstream(r.Via)
	}
	p.way = s.proxy.Prepare(r, via)
	var err error
	if p.mapping, err = mapping.Prepare(r); err != nil {
		p.broken = gate.Refuse("X500AM", "Invalid Api Meta "+err.Error())
	}
	chain, err := s.compile(g, r)
	if err != nil {
		p.broken = gate.Refuse("X400PM", "Invalid plugin meta "+err.Error())
	}
	p.place = p.way.Place()
	p.simple = p.place != nil && p.broken == nil && p.mapping == nil && r.Mock == nil && chain == nil
	return p, chain
}

// check says what of a change no route could be served with; the ledger asks before it
// saves.
func (s *Server) check(c control.Change) error {
	switch c := c.(type) {
	case *control.Group:
		return s.compiles(c, &control.Route{ID: "rte_check"})
	case *control.Route:
		if _, err := mapping.Prepare(c); err != nil {
			return err
		}
		return s.compiles(&control.Group{ID: c.Group}, c)
	case *control.Certificate:
		key, err := s.secret(c.Key)
		if err != nil {
			return err
		}
		_, err = certificate.Check(certificate.Upload{ID: string(c.ID), Domains: c.Domains, Chain: []byte(c.Chain), Key: key}, s.now())
		if late := (*certificate.TimeError)(nil); errors.As(err, &late) && c.Live || err != nil && late == nil {
			return err
		}
	}
	return nil
}

func (s *Server) compiles(g *control.Group, r *control.Route) error {
	_, err := s.compile(g, r)
	return err
}

// compile makes the chain of a route. What its filters share lives as long as the chain.
func (s *Server) compile(g *control.Group, r *control.Route) (*gate.Chain, error) {
	asked := map[string]bool{}
	chain, err := gate.Compile(gate.Env{Group: g, Route: r, Now: s.now, Secret: s.secret, Shared: func(key string, make func() any) any {
		return s.shared.get(key, asked, make)
	}})
	if err != nil {
		return nil, err
	}
	s.shared.hold(chain, asked)
	return chain, nil
}

// purge forgets what filters keep of the answers of a route, or with none of all routes,
// and says how many answers that were.
func (s *Server) purge(_ context.Context, route control.RouteID) (int, error) {
	s.shared.mu.Lock()
	defer s.shared.mu.Unlock()
	answers := 0
	for _, v := range s.shared.values {
		if p, ok := v.value.(interface{ Purge(control.RouteID) int }); ok {
			answers += p.Purge(route)
		}
	}
	return answers, nil
}

var errNoSecrets = errors.New("gateway: there are no secrets here")

// shared has the values of filters that outlive a configuration: counters, caches, breakers.
// A value lives as long as a chain that asked for it, and some time after.
type shared struct {
	mu     sync.Mutex // guards values
	values map[string]*sharedValue
}

type sharedValue struct {
	value any
	users int
	idle  time.Time // since when there are none
}

// sharedFor is how long a value waits for somebody to ask again.
const sharedFor = 10 * time.Minute

func (s *shared) get(key string, asked map[string]bool, make func() any) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.values[key]
	if v == nil {
		v = &sharedValue{value: make()}
		s.values[key] = v
	}
	v.idle = time.Now() // it is not dropped before it is held
	asked[key] = true
	return v.value
}

// hold keeps what was asked for as long as the chain is there.
func (s *shared) hold(chain *gate.Chain, asked map[string]bool) {
	if chain == nil || len(asked) == 0 {
		return
	}
	s.mu.Lock()
	for key := range asked {
		s.values[key].users++
	}
	s.mu.Unlock()
	runtime.AddCleanup(chain, s.drop, asked)
}

func (s *shared) drop(asked map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range asked {
		if v := s.values[key]; v != nil {
			v.users--
			v.idle = time.Now()
		}
	}
	for key, v := range s.values {
		if v.users == 0 && time.Since(v.idle) > sharedFor {
			delete(s.values, key)
			v.close()
		}
	}
}

// close lets go of everything, when no call is under way any more.
func (s *shared) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, v := range s.values {
		delete(s.values, key)
		v.close()
	}
}

func (v *sharedValue) close() {
	if c, ok := v.value.(io.Closer); ok {
		_ = c.Close() // nobody is left to be told
	}
}
