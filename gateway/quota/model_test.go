package quota_test

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
)

// model is what a buyer would expect: packages with plain counters, and nothing clever.
type model struct {
	granted, live bool
	packages      []*modelPackage // in the order of deduction
}

type modelPackage struct {
	control.Package
	charged, held int64
}

func (m *model) valid(p *modelPackage, now time.Time) bool {
	return p.Live && !p.From.After(now) && (p.Until.IsZero() || now.Before(p.Until))
}

// next is the package that the next call takes a unit of, or why there is none.
func (m *model) next(now time.Time) (*modelPackage, error) {
	switch {
	case !m.granted:
		return nil, gate.Unauthorized
	case !m.live:
		return nil, gate.NoPackage
	}
	why := gate.NoPackage
	for _, p := range m.packages {
		switch {
		case m.valid(p, now) && p.charged+p.held < p.Calls:
			return p, nil
		case m.valid(p, now):
			why = gate.QuotaExhausted
		case p.Live && !p.Until.IsZero() && !now.Before(p.Until) && why == gate.NoPackage:
			why = gate.PackagesExpired
		}
	}
	return nil, why
}

func (m *model) sort() {
	slices.SortFunc(m.packages, func(a, b *modelPackage) int {
		if a.Until.IsZero() != b.Until.IsZero() {
			if a.Until.IsZero() {
				return 1
			}
			return -1
		}
		return cmp.Or(a.Until.Compare(b.Until), a.From.Compare(b.From), cmp.Compare(a.ID, b.ID))
	})
}

// Any history of calls, failures, purchases, suspensions, restarts and passing time gives
// each call exactly what a plain counter would: the same package or the same refusal, and
// the same balances (API-13, API-14, API-15, OPR-01, Q1 to Q6).
func TestAnyHistory(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { history(t, seed, 400) })
	}
}

func history(t *testing.T, seed uint64, steps int) {
	random := rand.New(rand.NewPCG(seed, 99))
	folder := t.TempDir()
	n := start(t, folder)
	defer func() { n.close() }()
	m := &model{}
	type flight struct {
		hold gate.Hold
		of   *modelPackage
	}
	var flying []flight
	now := func() time.Time { return time.UnixMilli(n.now.Load()).UTC() }
	land := func(charge bool) {
		i := random.IntN(len(flying))
		f := flying[i]
		flying = slices.Delete(flying, i, i+1)
		f.of.held--
		if !charge {
			n.Void(f.hold)
			return
		}
		r := record(f.hold)
		r.At = now()
		if err := n.Settle(f.hold, r); err != nil {
			t.Fatal(err)
		}
		f.of.charged++
	}
	for step := range steps {
		switch k := random.IntN(100); {
		case k < 50: // a call begins
			want, why := m.next(now())
			h, err := n.Reserve(app, product)
			if want == nil {
				if !errors.Is(err, why) {
					t.Fatalf("step %d: %v, want the refusal %v", step, err, why)
				}
				continue
			}
			if err != nil || h.Package != want.ID {
				t.Fatalf("step %d: took %q, %v; want %s", step, h.Package, err, want.ID)
			}
			want.held++
			flying = append(flying, flight{h, want})
		case k < 80 && len(flying) > 0:
			land(random.IntN(3) > 0)
		case k < 88: // a purchase, or an end that is moved, or a package that is closed
			var p *modelPackage
			if len(m.packages) > 0 && random.IntN(2) == 0 {
				p = m.packages[random.IntN(len(m.packages))]
				p.Live = random.IntN(4) > 0
			} else {
				p = &modelPackage{Package: control.Package{ID: control.PackageID(fmt.Sprintf("pkg_%03d", step)), Grant: "grt_a",
					Calls: 1 + random.Int64N(40), From: now().Add(time.Duration(random.IntN(4)-2) * time.Minute), Live: true}}
				m.packages = append(m.packages, p)
				if !m.granted {
					m.granted, m.live = true, true
				}
			}
			p.Until = time.Time{}
			if random.IntN(3) > 0 {
				p.Until = p.From.Add(time.Duration(1+random.IntN(20)) * time.Minute)
			}
			m.sort()
			n.grant(m.live)
			n.apply(&p.Package)
		case k < 91 && m.granted:
			m.live = !m.live
			n.grant(m.live)
		case k < 96:
			n.now.Add((time.Duration(1+random.IntN(4)) * time.Minute).Milliseconds())
		case k < 97:
			n.now.Add(time.Hour.Milliseconds())
			n.Sweep()
		case k < 98 && len(flying) == 0, k == 99 && step > steps/2:
			for len(flying) > 0 {
				land(true)
			}
			at := n.now.Load()
			n.close()
			n = start(t, folder)
			n.now.Store(at)
		default:
			compare(t, n, m, step)
		}
	}
	for len(flying) > 0 {
		land(false)
	}
	compare(t, n, m, steps)
}

func compare(t *testing.T, n *node, m *model, step int) {
	t.Helper()
	list, err := n.Balances(t.Context(), "grt_a")
	if err != nil || len(list) != len(m.packages) {
		t.Fatalf("step %d: %d balances, %v; want %d", step, len(list), err, len(m.packages))
	}
	var sum int64
	for i, p := range m.packages {
		b := list[i]
		if b.Package != p.ID || b.Total != p.Calls || b.Used != p.charged || b.Held != p.held || b.Remaining != p.Calls-p.charged-p.held {
			t.Fatalf("step %d: %+v, want %s with %d charged and %d held of %d", step, b, p.ID, p.charged, p.held, p.Calls)
		}
		sum += p.charged
	}
	n.sound(sum)
}
