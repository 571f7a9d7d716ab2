package quota

import (
	"hash/maphash"
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/souk-market/souk/gateway/control"
)

// registry has the handles. To find one takes no lock: the tables are open-addressed, and a
// handle that goes leaves a mark in its place until its table is made anew.
//
// Why no cache in front: what a cache forgets has to be found elsewhere anyhow, and this
// costs less than to ask one (metering.md 1.7).
type registry struct {
	seed   maphash.Seed
	shards [shards]shard
}

const shards = 64

type shard struct {
	table atomic.Pointer[[]atomic.Pointer[handle]]

	mu   sync.Mutex // one writer at a time; guards what follows
	used int        // places that are not empty
	live int        // of them, handles
}

// gone stands in the place of a handle that went.
var gone = new(handle)

func (r *registry) init() { r.seed = maphash.MakeSeed() }

func (r *registry) hash(k key) uint64 {
	return bits.RotateLeft64(maphash.String(r.seed, string(k.app)), 23) ^ maphash.String(r.seed, string(k.product))
}

// find is the handle of an app and a product; nil: there is none.
func (r *registry) find(k key) *handle {
	h := r.hash(k)
	p := r.shards[h>>58].table.Load()
	if p == nil {
		return nil
	}
	list := *p
	mask := uint64(len(list) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		switch have := list[i].Load(); {
		case have == nil:
			return nil
		case have.hash == h && have.key == k && have != gone:
			return have
		}
	}
}

// add is the handle of an app and a product, made if there is none.
func (r *registry) add(k key) *handle {
	h := r.hash(k)
	s := &r.shards[h>>58]
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := r.find(k); have != nil {
		return have
	}
	// The names may be pieces of a larger memory, which must not live as long as we do.
	k = key{control.AppID(strings.Clone(string(k.app))), control.ProductID(strings.Clone(string(k.product)))}
	made := &handle{key: k, hash: h}
	s.grow()
	s.put(*s.table.Load(), made)
	s.used++
	s.live++
	return made
}

// grow makes a table with room for one more.
func (s *shard) grow() {
	p := s.table.Load()
	if p != nil && (s.used+1)*4 <= len(*p)*3 {
		return
	}
	size := 8
	for size < 2*(s.live+1) {
		size *= 2
	}
	list := make([]atomic.Pointer[handle], size)
	if p != nil {
		for i := range *p {
			if h := (*p)[i].Load(); h != nil && h != gone {
				s.put(list, h)
			}
		}
	}
	s.used = s.live
	s.table.Store(&list)
}

func (*shard) put(list []atomic.Pointer[handle], h *handle) {
	mask := uint64(len(list) - 1)
	i := h.hash & mask
	for list[i].Load() != nil {
		i = (i + 1) & mask
	}
	list[i].Store(h)
}

func (r *registry) drop(h *handle) {
	s := &r.shards[h.hash>>58]
	s.mu.Lock()
	defer s.mu.Unlock()
	list := *s.table.Load()
	mask := uint64(len(list) - 1)
	for i := h.hash & mask; ; i = (i + 1) & mask {
		switch list[i].Load() {
		case nil:
			return
		case h:
			list[i].Store(gone)
			s.live--
			return
		}
	}
}

func (r *registry) all() []*handle {
	var all []*handle
	for i := range r.shards {
		if p := r.shards[i].table.Load(); p != nil {
			for k := range *p {
				if h := (*p)[k].Load(); h != nil && h != gone {
					all = append(all, h)
				}
			}
		}
	}
	return all
}
