package quota

import (
	"context"
	"sync"

	"github.com/souk-market/souk/gateway/ledger"
)

// returns are units that came back and that the ledger does not know of yet, by lease.
//
// Why one for each handle: a handle that finds nothing in the ledger must have brought
// back first whatever it had. If another handle could carry that away, it would refuse
// calls while the unit is on its way.
type returns struct {
	mu     sync.Mutex
	by     map[int64]ledger.Credit
	closed bool
}

// add keeps a credit, unless nobody will come for it any more.
func (r *returns) add(c ledger.Credit) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	if r.by == nil {
		r.by = map[int64]ledger.Credit{}
	}
	c.Units += r.by[c.Lease].Units
	r.by[c.Lease] = c
	return true
}

func (r *returns) take() []ledger.Credit {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.by) == 0 {
		return nil
	}
	list := make([]ledger.Credit, 0, len(r.by))
	for _, c := range r.by {
		list = append(list, c)
	}
	clear(r.by) // it keeps its room, so that the next units come back without allocating
	return list
}

func (r *returns) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}

// giveBack keeps credits with their handle, or among the strays if it was forgotten.
func (q *Quota) giveBack(h *handle, credits ...ledger.Credit) {
	for _, c := range credits {
		if !h.back.add(c) {
			q.strays.add(c)
		}
	}
}

// credit brings home all that came back, in one transaction.
func (q *Quota) credit(ctx context.Context) error {
	all := q.strays.take()
	from := make([]*handle, len(all)) // nil: a stray
	for _, h := range q.handles.all() {
		for _, c := range h.back.take() {
			all, from = append(all, c), append(from, h)
		}
	}
	err := q.ledger.Credit(ctx, all...)
	for i, h := range from {
		switch {
		case h == nil && err != nil:
			q.strays.add(all[i])
		case h != nil && err != nil:
			q.giveBack(h, all[i])
		case h != nil:
			h.turn.Add(1) // it may have looked while its units were on their way
		}
	}
	return err
}
