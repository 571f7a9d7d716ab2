// Package controltest is a gateway for tests of the console: a control.Plane in memory,
// without a network. A test says what was called, and the plane counts it by the rules.
package controltest

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/souk-market/souk/gateway/control"
)

// Plane is the gateway. Its methods may be called at once from many goroutines.
type Plane struct {
	now func() time.Time

	mu       sync.Mutex
	groups   map[control.GroupID]control.Group
	routes   map[control.RouteID]control.Route
	ups      map[control.UpstreamID]control.Upstream
	secrets  map[control.SecretID]control.Secret
	certs    map[control.CertificateID]control.Certificate
	apps     map[control.AppID]control.Credentials
	grants   map[control.GrantID]control.Grant
	packages []*pack
	usage    []control.Usage
	calls    []control.CallRecord
	made     int
	// Fail, if set, is what Apply answers, as if the gateway were gone.
	fail error
}

type pack struct {
	control.Package
	used int64
	last time.Time
}

var _ control.Plane = (*Plane)(nil)

// New makes an empty gateway with the test's clock.
func New(now func() time.Time) *Plane {
	return &Plane{now: now, groups: map[control.GroupID]control.Group{}, routes: map[control.RouteID]control.Route{},
		ups: map[control.UpstreamID]control.Upstream{}, secrets: map[control.SecretID]control.Secret{}, certs: map[control.CertificateID]control.Certificate{},
		apps: map[control.AppID]control.Credentials{}, grants: map[control.GrantID]control.Grant{}}
}

// Break makes Apply fail until it is given nil.
func (p *Plane) Break(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = err
}

// Apply makes the changes true.
func (p *Plane) Apply(_ context.Context, changes ...control.Change) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != nil {
		return p.fail
	}
	for _, c := range changes {
		switch c := c.(type) {
		case *control.Group:
			p.groups[c.ID] = *c
		case *control.Route:
			if _, ok := p.ups[c.Via]; c.Via != "" && !ok {
				return fmt.Errorf("%w: route %s via names the upstream %s, which does not exist", control.ErrInvalid, c.ID, c.Via)
			}
			p.routes[c.ID] = *c
		case *control.Upstream:
			if len(c.Targets) == 0 {
				return fmt.Errorf("%w: upstream %s has 0 targets", control.ErrInvalid, c.ID)
			}
			if err := p.named(c.TLS); err != nil {
				return err
			}
			p.ups[c.ID] = *c
		case *control.Secret:
			if len(c.Value) == 0 {
				return fmt.Errorf("%w: secret %s value has 0 bytes", control.ErrInvalid, c.ID)
			}
			p.secrets[c.ID] = *c
		case *control.Certificate:
			if err := p.named(&control.UpstreamTLS{Key: c.Key}); err != nil {
				return err
			}
			p.certs[c.ID] = *c
		case *control.Grant:
			p.grants[c.ID] = *c
		case *control.Package:
			i := slices.IndexFunc(p.packages, func(k *pack) bool { return k.ID == c.ID })
			if i < 0 {
				p.packages = append(p.packages, &pack{Package: *c})
				continue
			}
			if p.packages[i].Calls != c.Calls {
				return fmt.Errorf("%w: calls of %s", control.ErrInvalid, c.ID)
			}
			p.packages[i].Package = *c
		}
	}
	slices.SortStableFunc(p.packages, func(a, b *pack) int {
		switch {
		case a.Until.IsZero() != b.Until.IsZero():
			if a.Until.IsZero() {
				return 1
			}
			return -1
		case !a.Until.Equal(b.Until):
			return a.Until.Compare(b.Until)
		}
		return a.From.Compare(b.From)
	})
	return nil
}

// CreateApp makes an app with credentials that tell it apart.
func (p *Plane) CreateApp(_ context.Context, a control.App) (control.Credentials, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k, ok := p.apps[a.ID]; ok {
		return k, nil
	}
	p.made++
	k := control.Credentials{App: a.ID, AppKey: fmt.Sprintf("20000%04d", p.made), AppSecret: fmt.Sprintf("secret-%030d", p.made),
		AppCode: fmt.Sprintf("%032x", p.made), SecretAt: p.now(), CodeAt: p.now()}
	p.apps[a.ID] = k
	return k, nil
}

// Credentials shows them.
func (p *Plane) Credentials(_ context.Context, id control.AppID) (control.Credentials, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k, ok := p.apps[id]
	if !ok {
		return k, control.ErrMissing
	}
	return k, nil
}

// ResetSecret replaces the AppSecret.
func (p *Plane) ResetSecret(_ context.Context, id control.AppID) (control.Credentials, error) {
	return p.reset(id, func(k *control.Credentials) { k.AppSecret, k.SecretAt = "new-"+k.AppSecret, p.now() })
}

// ResetCode replaces the AppCode.
func (p *Plane) ResetCode(_ context.Context, id control.AppID) (control.Credentials, error) {
	return p.reset(id, func(k *control.Credentials) { k.AppCode, k.CodeAt = "f"+k.AppCode[1:], p.now() })
}

func (p *Plane) reset(id control.AppID, f func(*control.Credentials)) (control.Credentials, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k, ok := p.apps[id]
	if !ok {
		return k, control.ErrMissing
	}
	f(&k)
	p.apps[id] = k
	return k, nil
}

// Balances reports the packages of the grants.
func (p *Plane) Balances(_ context.Context, ids ...control.GrantID) ([]control.Balance, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []control.Balance
	for _, k := range p.packages {
		if slices.Contains(ids, k.Grant) {
			list = append(list, control.Balance{Package: k.ID, Grant: k.Grant, Total: k.Calls, Used: k.used, Remaining: k.Calls - k.used,
				From: k.From, Until: k.Until, Live: k.Live, LastCall: k.last})
		}
	}
	return list, nil
}

// Usage reads what was counted.
func (p *Plane) Usage(_ context.Context, since control.Cursor, most int) ([]control.Usage, control.Cursor, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	end := min(len(p.usage), int(since)+most)
	return slices.Clone(p.usage[since:end]), control.Cursor(end), nil
}

// Calls lists the latest that match.
func (p *Plane) Calls(_ context.Context, f control.CallFilter) ([]control.CallRecord, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []control.CallRecord
	for _, r := range slices.Backward(p.calls) {
		if len(list) < max(f.Max, 1) && f.Match(&r) {
			list = append(list, r)
		}
	}
	return list, nil
}

// Flush has nothing to wait for.
func (*Plane) Flush(context.Context) error { return nil }

// Call is a call of an app to a product; status is the seller's. It is charged below 400,
// refused where nothing is left.
func (p *Plane) Call(app control.AppID, product control.ProductID, status int) control.Outcome {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := control.CallRecord{Request: request(len(p.calls) + 1), At: p.now(), App: app, Product: product, Method: "GET", Path: "/tide/now",
		Status: status, Took: 12 * time.Millisecond, Serial: -1, Outcome: control.Free}
	var g control.Grant
	for _, have := range p.grants {
		if have.App == app && have.Product == product && have.Live {
			g = have
		}
	}
	r.Grant = g.ID
	i := slices.IndexFunc(p.packages, func(k *pack) bool {
		return k.Grant == g.ID && k.Live && k.used < k.Calls && (k.Until.IsZero() || p.now().Before(k.Until))
	})
	code := fmt.Sprintf("%dxx", status/100)
	switch {
	case g.ID == "" || i < 0:
		r.Outcome, r.Status, r.Code = control.Refused, 403, "B403MQ"
		code = r.Code
	case status < 400:
		k := p.packages[i]
		r.Outcome, r.Package, r.Serial = control.Charged, k.ID, k.used
		k.used++
		k.last = p.now()
	}
	p.calls = append(p.calls, r)
	p.usage = append(p.usage, control.Usage{Minute: p.now().Truncate(time.Minute), Grant: r.Grant, Package: r.Package, App: app, Product: product,
		Outcome: r.Outcome, Code: code, Calls: 1, Micros: r.Took.Microseconds()})
	return r.Outcome
}

// request is the ID of the n-th call; its text ends with the number.
func request(n int) control.RequestID {
	id := control.RequestID{6: 0x70, 8: 0x80}
	binary.BigEndian.PutUint32(id[12:], uint32(n))
	return id
}

// named makes sure that a key exists.
func (p *Plane) named(t *control.UpstreamTLS) error {
	if t == nil || t.Key == "" {
		return nil
	}
	if _, ok := p.secrets[t.Key]; !ok {
		return fmt.Errorf("%w: key names the secret %s, which does not exist", control.ErrInvalid, t.Key)
	}
	return nil
}

// Groups are those that were applied.
func (p *Plane) Groups() map[control.GroupID]control.Group {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.groups)
}

// Upstreams are those that were applied.
func (p *Plane) Upstreams() map[control.UpstreamID]control.Upstream {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.ups)
}

// Certificates are those that were applied.
func (p *Plane) Certificates() map[control.CertificateID]control.Certificate {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.certs)
}

// Secret is the value of a secret, which no gateway shows.
func (p *Plane) Secret(id control.SecretID) (control.Secret, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.secrets[id]
	return s, ok
}

// Routes lists what was published and is live, by "METHOD path".
func (p *Plane) Routes() map[string]control.Route {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := map[string]control.Route{}
	for _, r := range p.routes {
		if r.Live && p.groups[r.Group].Live {
			m[r.Method+" "+r.Path] = r
		}
	}
	return m
}
