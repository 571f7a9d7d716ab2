package cache

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
)

// SharedKey is under what gate.Env's Shared has the Store of a gateway.
const SharedKey = "cache"

// DefaultBytes is how much a Store keeps.
const DefaultBytes = 64 << 20

// Store keeps answers of all routes of a gateway. It may drop any of them at any time, and
// may not show at once what was just kept.
type Store struct {
	items *ristretto.Cache[string, *entry]

	mu          sync.RWMutex // guards generations and all
	generations map[control.RouteID]uint64
	all         uint64
}

// NewStore makes an empty one.
func NewStore() *Store {
	// Ten counters for an answer of some KiB.
	items, err := ristretto.NewCache(&ristretto.Config[string, *entry]{NumCounters: DefaultBytes / 4096 * 10, MaxCost: DefaultBytes, BufferItems: 64})
	if err != nil {
		panic("cache: " + err.Error()) // its numbers are constants
	}
	return &Store{items: items, generations: map[control.RouteID]uint64{}}
}

// Purge forgets at once all that is kept of a route, or with none of all routes, and says
// how many answers that were.
func (s *Store) Purge(route control.RouteID) (answers int) {
	s.items.IterValues(func(e *entry) bool {
		if e.vary == nil && (route == "" || e.route == route) && e.generation == s.generation(e.route) {
			answers++
		}
		return false
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if route == "" {
		s.all++ // what is kept goes when there is need of the room
	} else {
		s.generations[route]++
	}
	return answers
}

func (s *Store) generation(route control.RouteID) uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.generations[route] + s.all<<32
}

// Close ends the store's goroutines. Nobody may use it any more.
func (s *Store) Close() error {
	s.items.Close()
	return nil
}

// entry is a kept answer, or, with vary, the sign that there are several: which one is
// found by the values of those headers.
type entry struct {
	key  [32]byte
	vary [][]byte

	status     int
	reason     []byte
	fields     gate.Fields
	body       []byte
	stored     time.Time
	initial    time.Duration // its age when it came
	life       time.Duration
	route      control.RouteID
	generation uint64
}

func (e *entry) age(now time.Time) time.Duration { return e.initial + max(0, now.Sub(e.stored)) }

func (e *entry) cost() int64 {
	n := 256 + len(e.body) + len(e.reason)
	for _, f := range e.fields {
		n += 48 + len(f.Name) + len(f.Value)
	}
	return int64(n)
}

// find is the answer that is kept for a request with these headers, or nil.
func (s *Store) find(key [32]byte, fields gate.Fields) *entry {
	e := s.get(key)
	if e != nil && e.vary != nil {
		e = s.get(variant(key, e.vary, fields))
	}
	if e == nil || e.vary != nil || e.generation != s.generation(e.route) {
		return nil
	}
	return e
}

func (s *Store) get(key [32]byte) *entry {
	e, ok := s.items.Get(string(key[:]))
	if !ok || e == nil || e.key != key { // the store compares shorter keys
		return nil
	}
	return e
}

// variant is where the answer for these values of the headers is kept.
func variant(key [32]byte, vary [][]byte, fields gate.Fields) (v [32]byte) {
	h := sha256.New()
	h.Write(key[:])
	for _, name := range vary {
		values(h, fields, name)
	}
	h.Sum(v[:0])
	return v
}

// keep keeps an answer. It is not lasting, so a sign for several is kept at least as long as
// what it leads to.
func (s *Store) keep(e *entry, vary [][]byte, fields gate.Fields) {
	left := e.life - e.initial
	if len(vary) > 0 {
		for i := range vary {
			vary[i] = bytes.ToLower(vary[i])
		}
		slices.SortFunc(vary, bytes.Compare)
		vary = slices.CompactFunc(vary, bytes.Equal)
		sign := &entry{key: e.key, vary: vary}
		s.items.SetWithTTL(string(e.key[:]), sign, sign.cost(), left+time.Hour)
		e.key = variant(e.key, vary, fields)
	}
	s.items.SetWithTTL(string(e.key[:]), e, e.cost(), left)
	s.items.Wait() // who asks again after this answer is to find it
}

// forget drops what is kept under a key, and with it all that a sign leads to.
func (s *Store) forget(key [32]byte) { s.items.Del(string(key[:])) }

// notModified are the headers that a 304 has of the answer it stands for; RFC 9110, 15.4.5.
var notModified = [][]byte{nameCacheControl, []byte("Content-Location"), nameDate, nameETag, nameExpires, nameVary}

// reply answers with what is kept.
func (e *entry) reply(c *gate.Call, age time.Duration) {
	text := strconv.AppendInt(nil, int64(age/time.Second), 10)
	n := len(text)
	text = append(text, "Souk; hit; ttl="...)
	text = strconv.AppendInt(text, int64((e.life-age)/time.Second), 10)
	extra := gate.Fields{{Name: nameAge, Value: text[:n:n]}, {Name: nameCacheStatus, Value: text[n:]}}
	c.Cached = true
	if e.status == 200 && matches(c, e.fields) {
		var fields gate.Fields
		for _, f := range e.fields {
			if slices.ContainsFunc(notModified, func(name []byte) bool { return gate.Alike(name, f.Name) }) {
				fields = append(fields, f)
			}
		}
		c.Reply(304, append(fields, extra...), nil)
		c.Answer.Stated = int64(len(e.body))
		return
	}
	c.Reply(e.status, append(slices.Clone(e.fields), extra...), e.body)
	c.Answer.Reason = e.reason
}
