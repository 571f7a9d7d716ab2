package apis

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
)

// edit changes a group and what belongs to it, and tells the gateway at once. A fault that
// the gateway finds is shown at the field.
//
// Why the gateway is told first: it alone knows what it can do, and nothing is saved that it
// refuses. If it is told and the rest fails, it is told again what is saved.
func (p *Plugin) edit(ctx context.Context, who *market.Actor, id market.SourceID, field string, change func(*whole, *market.Form) error) error {
	p.editing.Lock()
	defer p.editing.Unlock()
	if _, err := find(ctx, p.db.Read(), who, id); err != nil {
		return err
	}
	before, err := p.whole(ctx, id)
	if err != nil {
		return err
	}
	w, err := p.whole(ctx, id)
	if err != nil {
		return err
	}
	var form market.Form
	if err := errors.Join(change(w, &form), form.Err()); err != nil {
		return err
	}
	if w.Config.Sign != nil && (w.key == nil || w.key.ID != w.Config.Sign.Key) {
		if w.key, err = findKey(ctx, p.db.Read(), w.Seller, w.Config.Sign.Key); err != nil {
			return err
		}
	}
	if err := p.tell(ctx, w); err != nil {
		return refused(err, field)
	}
	if err := p.db.Tx(ctx, func(tx *storage.Tx) error { return p.save(ctx, tx, before, w) }); err != nil {
		return errors.Join(err, p.tell(context.WithoutCancel(ctx), before))
	}
	return nil
}

// whole reads a group with all that belongs to it.
func (p *Plugin) whole(ctx context.Context, id market.SourceID) (*whole, error) {
	g, err := findAny(ctx, p.db.Read(), id)
	if err != nil {
		return nil, err
	}
	w := &whole{group: g}
	if w.ifaces, err = listInterfaces(ctx, p.db.Read(), id); err != nil {
		return nil, err
	}
	if s := g.Config.Sign; s != nil {
		w.key, err = findKey(ctx, p.db.Read(), g.Seller, s.Key)
	}
	return w, err
}

// tell makes the gateway know a group as it is. Interfaces that are no longer chosen stop
// at once.
func (p *Plugin) tell(ctx context.Context, w *whole) error {
	changes, err := w.changes(p.now())
	if err != nil {
		return err
	}
	if len(p.shared) > 0 && w.Product != "" {
		changes = append(changes, &control.Group{ID: sharedGroup, Name: "shared", Domains: p.shared, Live: true})
		mine, err := p.takePaths(ctx, w.ifaces)
		if err != nil {
			return err
		}
		for n := range w.ifaces {
			if i := &w.ifaces[n]; mine[i.ID] {
				r, err := w.shared(i, p.now())
				if err != nil {
					return err
				}
				changes = append(changes, r)
			}
		}
	}
	return p.gateway.Apply(ctx, changes...)
}

// publish tells the gateway what a group is now.
func (p *Plugin) publish(ctx context.Context, id market.SourceID) error {
	p.editing.Lock()
	defer p.editing.Unlock()
	w, err := p.whole(ctx, id)
	if err != nil {
		return err
	}
	return p.tell(ctx, w)
}

// save writes what an edit has changed, unless somebody else was faster.
func (p *Plugin) save(ctx context.Context, tx *storage.Tx, before, w *whole) error {
	c, err := json.Marshal(w.Config)
	if err != nil {
		return err
	}
	s := w.Settings
	n, err := tx.Exec(ctx, `UPDATE apis_group SET upstream = ?, timeout = ?, appcode = ?, sha1 = ?, config = ?, moved = ?, rev = rev + 1 WHERE id = ? AND rev = ?`,
		s.Upstream, s.Timeout.Milliseconds(), s.AppCode, s.SHA1, string(c), storage.Millis(p.now()), w.ID, before.Rev)
	if err != nil {
		return err
	}
	if n == 0 {
		return &market.Error{Kind: market.Conflict, Code: "apis.edited"}
	}
	for n := range w.ifaces {
		was, err := json.Marshal(before.ifaces[n].Config)
		if err != nil {
			return err
		}
		i := &w.ifaces[n]
		is, err := json.Marshal(i.Config)
		if err != nil {
			return err
		}
		if string(was) == string(is) && before.ifaces[n].Chosen == i.Chosen {
			continue
		}
		if _, err := tx.Exec(ctx, `UPDATE apis_interface SET chosen = ?, config = ? WHERE id = ?`, i.Chosen, string(is), i.ID); err != nil {
			return err
		}
	}
	return nil
}

// refused puts what the gateway says of a change where a seller can read it.
func refused(err error, field string) error {
	code := "apis.gateway"
	switch {
	case errors.Is(err, control.ErrConflict):
		code = "apis.conflict"
	case !errors.Is(err, control.ErrInvalid):
		return err
	}
	reason := err.Error()
	for _, e := range []error{control.ErrInvalid, control.ErrConflict} {
		reason = strings.TrimPrefix(reason, e.Error()+": ")
	}
	return &market.Error{Kind: market.Invalid, Code: "form.invalid", Err: err,
		Fields: []market.Field{{Name: field, Code: code, Args: map[string]string{"reason": reason}}}}
}
