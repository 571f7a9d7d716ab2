// Package event is the outbox: what happened is written in the transaction that made it
// true, and delivered after it, again if need be, until each listener has heard it.
//
// It leaves to plug-ins what the facts are (console/market) and what to do about them.
package event

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/gateway/storage"
)

//go:embed schema
var schema embed.FS

// Schema is the bus's own tables, migrated as owner "event".
func Schema() fs.FS {
	sub, err := fs.Sub(schema, "schema")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	return sub
}

const (
	maxTries = 12               // then a delivery is parked; with the waits below that is about a day
	firstTry = time.Second      // wait after the first failure; doubles
	longest  = 4 * time.Hour    // no wait is longer
	patience = 30 * time.Second // one delivery may take so long
	polling  = time.Second      // how often deliveries whose time has come are looked for
)

// Bus carries facts from tellers to listeners. Listeners are added before Start; Tell may
// be called from many goroutines.
type Bus struct {
	db  *storage.DB
	log *zap.Logger
	now func() time.Time

	listeners []*listener // fixed once started
	byEvent   map[string][]*listener

	stop context.CancelFunc
	done sync.WaitGroup
}

// listener is one who hears one kind of event.
type listener struct {
	id    string // "plugin.order/payment.settled"
	event string
	wake  chan struct{} // holds one: there may be something due
	hear  func(ctx context.Context, d delivery) error
}

// delivery is one event on its way to one listener.
type delivery struct {
	id    int64
	body  []byte
	tries int
	// mark is run in the listener's transaction; it fails if another has done the work.
	mark func(ctx context.Context, tx *storage.Tx) error
}

// errTaken: another node delivered it meanwhile.
var errTaken = errors.New("event: already delivered")

// New makes a bus over a database in which Schema has been migrated.
func New(db *storage.DB, log *zap.Logger, now func() time.Time) *Bus {
	return &Bus{db: db, log: log, now: now, byEvent: map[string][]*listener{}}
}

// On makes who hear events of type E. f gets a transaction in which the delivery is
// already marked as done: its rows and the mark commit together, so the effect happens
// once. It may be called again after an error, and it may be called late.
func On[E market.Event](b *Bus, who string, f func(ctx context.Context, tx *storage.Tx, e E) error) {
	b.add(who, eventName[E](), func(ctx context.Context, d delivery) error {
		e, err := decode[E](d.body)
		if err != nil {
			return err
		}
		return b.db.Tx(ctx, func(tx *storage.Tx) error {
			if err := d.mark(ctx, tx); err != nil {
				return err
			}
			return f(ctx, tx, e)
		})
	})
}

// Reach makes who hear events of type E in two steps, for one who has to do with the
// world outside: first reach, with no transaction, which may be repeated and so must do a
// thing once however often it is asked; then note, once, which writes down what came of it.
func Reach[E market.Event, R any](b *Bus, who string,
	reach func(ctx context.Context, e E) (R, error),
	note func(ctx context.Context, tx *storage.Tx, e E, r R) error,
) {
	b.add(who, eventName[E](), func(ctx context.Context, d delivery) error {
		e, err := decode[E](d.body)
		if err != nil {
			return err
		}
		r, err := reach(ctx, e)
		if err != nil {
			return err
		}
		return b.db.Tx(ctx, func(tx *storage.Tx) error {
			if err := d.mark(ctx, tx); err != nil {
				return err
			}
			return note(ctx, tx, e, r)
		})
	})
}

func eventName[E market.Event]() string {
	var zero E
	return zero.Event()
}

func decode[E market.Event](body []byte) (e E, err error) {
	if err := json.Unmarshal(body, &e); err != nil {
		return e, fmt.Errorf("read %s: %w", e.Event(), err)
	}
	return e, nil
}

func (b *Bus) add(who, event string, hear func(context.Context, delivery) error) {
	if b.stop != nil {
		panic("event: " + who + " listens after the bus has started")
	}
	l := &listener{id: who + "/" + event, event: event, wake: make(chan struct{}, 1), hear: hear}
	for _, have := range b.byEvent[event] {
		if have.id == l.id {
			panic("event: " + l.id + " listens twice")
		}
	}
	b.listeners = append(b.listeners, l)
	b.byEvent[event] = append(b.byEvent[event], l)
}

// Tell writes the event, and one delivery for each listener, into the teller's
// transaction. If that is rolled back, nobody hears.
func (b *Bus) Tell(ctx context.Context, tx *storage.Tx, e market.Event) error {
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("tell %s: %w", e.Event(), err)
	}
	now := storage.Millis(b.now())
	var id int64
	err = tx.QueryRow(ctx, `INSERT INTO event_told (name, subject, body, at) VALUES (?, ?, ?, ?) RETURNING id`,
		e.Event(), e.Subject(), string(body), now).Scan(&id)
	if err != nil {
		return fmt.Errorf("tell %s: %w", e.Event(), err)
	}
	heard := b.byEvent[e.Event()]
	for _, l := range heard {
		_, err := tx.Exec(ctx, `INSERT INTO event_delivery (event, listener, subject, state, tries, due, error)
			VALUES (?, ?, ?, 'due', 0, ?, '')`, id, l.id, e.Subject(), now)
		if err != nil {
			return fmt.Errorf("tell %s to %s: %w", e.Event(), l.id, err)
		}
	}
	tx.After(func() {
		for _, l := range heard {
			l.nudge()
		}
	})
	return nil
}

func (l *listener) nudge() {
	select {
	case l.wake <- struct{}{}:
	default: // one is waiting already
	}
}

// Start delivers until Stop: one goroutine for each listener, so that one who waits for
// the world holds up nobody else.
func (b *Bus) Start(ctx context.Context) {
	ctx, b.stop = context.WithCancel(ctx)
	for _, l := range b.listeners {
		b.done.Go(func() { b.serve(ctx, l) })
	}
}

// Stop ends deliveries and waits for those under way.
func (b *Bus) Stop() {
	if b.stop != nil {
		b.stop()
	}
	b.done.Wait()
}

func (b *Bus) serve(ctx context.Context, l *listener) {
	tick := time.NewTicker(polling)
	defer tick.Stop()
	for {
		for {
			more, err := b.deliver(ctx, l)
			if err != nil && ctx.Err() == nil {
				b.log.Error("deliveries of a listener", zap.String("listener", l.id), zap.Error(err))
			}
			if !more || ctx.Err() != nil {
				break
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		case <-tick.C:
		}
	}
}

// Settle delivers until nothing is due, in the caller's goroutine. It is for tests, with
// a bus that is not started.
func (b *Bus) Settle(ctx context.Context) error {
	for {
		any := false
		for _, l := range b.listeners {
			for {
				more, err := b.deliver(ctx, l)
				if err != nil {
					return err
				}
				if !more {
					break
				}
				any = true
			}
		}
		if !any {
			return nil
		}
	}
}

// nextDue is the oldest delivery whose time has come and that no earlier one of its
// subject holds back; a parked one holds back too.
const nextDue = `SELECT d.event, t.body, d.tries
	FROM event_delivery d JOIN event_told t ON t.id = d.event
	WHERE d.listener = ? AND d.state = 'due' AND d.due <= ?
	AND NOT EXISTS (SELECT 1 FROM event_delivery p
		WHERE p.listener = d.listener AND p.subject = d.subject AND p.event < d.event AND p.state <> 'done')
	ORDER BY d.event LIMIT 1`

// deliver brings one delivery to a listener; more is false if none was due.
func (b *Bus) deliver(ctx context.Context, l *listener) (more bool, err error) {
	var d delivery
	err = b.db.Read().QueryRow(ctx, nextDue, l.id, storage.Millis(b.now())).Scan(&d.id, &d.body, &d.tries)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	d.mark = func(ctx context.Context, tx *storage.Tx) error {
		n, err := tx.Exec(ctx, `UPDATE event_delivery SET state = 'done', error = '' WHERE event = ? AND listener = ? AND state = 'due'`, d.id, l.id)
		if err == nil && n == 0 {
			err = errTaken
		}
		return err
	}
	hearing, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = guarded(hearing, l, d)
	if err == nil || errors.Is(err, errTaken) {
		return true, nil
	}
	if ctx.Err() != nil {
		return false, nil // stopping; the delivery stays due
	}
	return true, b.putOff(ctx, l, d, err)
}

func guarded(ctx context.Context, l *listener, d delivery) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return l.hear(ctx, d)
}

// putOff waits longer after each failure, and parks the delivery in the end.
func (b *Bus) putOff(ctx context.Context, l *listener, d delivery, cause error) error {
	tries := d.tries + 1
	state := "due"
	if tries >= maxTries {
		state = "parked"
	}
	wait := min(firstTry<<min(tries-1, 20), longest)
	wait += time.Duration(rand.Int64N(int64(wait)/4 + 1))
	b.log.Warn("a delivery failed", zap.String("listener", l.id), zap.Int64("event", d.id),
		zap.Int("tries", tries), zap.String("state", state), zap.Error(cause))
	return b.db.Tx(ctx, func(tx *storage.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE event_delivery SET state = ?, tries = ?, due = ?, error = ?
			WHERE event = ? AND listener = ? AND state = 'due'`,
			state, tries, storage.Millis(b.now().Add(wait)), cause.Error(), d.id, l.id)
		return err
	})
}
