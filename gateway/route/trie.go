package route

import (
	"hash/maphash"
	"math/bits"
	"slices"
)

// trie is a map from text that is never changed: with and without make another one, which
// shares all but the few branches on the way to the key. So one route among 100 000 is
// published for what a handful of small copies cost, and whoever looks something up meanwhile
// has a whole map. The zero value is empty.
//
// A branch has a bit for each of 32 next steps of the key's hash, and only the steps that
// there are. Where the hash is at its end, a branch has no bits, and its kids are looked at
// one by one.
type trie[V any] struct{ root *branch[V] }

type branch[V any] struct {
	bits uint32
	kids []kid[V]
}

// kid is a branch, or a key with its value. The value stands in its branch's list and not
// behind another pointer: among many routes each pointer is a wait for the memory.
type kid[V any] struct {
	sub   *branch[V]
	key   string
	value V
}

const (
	step     = 5
	hashBits = 64
)

// seed is one for all tries: what is looked up is hashed with it, whoever chose it.
var seed = maphash.MakeSeed()

func hashOf(key string) uint64 { return maphash.String(seed, key) }

func (t trie[V]) empty() bool { return t.root == nil }

// get finds the value of a key.
func (t trie[V]) get(key []byte) (v V, ok bool) {
	b := t.root
	if b == nil {
		return v, false
	}
	for at := maphash.Bytes(seed, key); b.bits != 0; at >>= step {
		bit := uint32(1) << (at & (1<<step - 1))
		if b.bits&bit == 0 {
			return v, false
		}
		k := &b.kids[bits.OnesCount32(b.bits&(bit-1))]
		if k.sub == nil {
			if k.key == string(key) {
				return k.value, true
			}
			return v, false
		}
		b = k.sub
	}
	for i := range b.kids {
		if b.kids[i].key == string(key) {
			return b.kids[i].value, true
		}
	}
	return v, false
}

// with is the map with a value for the key.
func (t trie[V]) with(key string, v V) trie[V] {
	return trie[V]{t.root.with(kid[V]{key: key, value: v}, hashOf(key), 0)}
}

func (b *branch[V]) with(new kid[V], h uint64, depth uint) *branch[V] {
	if depth >= hashBits {
		return b.bucketWith(new)
	}
	bit := uint32(1) << (h >> depth & (1<<step - 1))
	if b == nil {
		return &branch[V]{bit, []kid[V]{new}}
	}
	i := bits.OnesCount32(b.bits & (bit - 1))
	if b.bits&bit == 0 {
		kids := make([]kid[V], 0, len(b.kids)+1)
		kids = append(append(append(kids, b.kids[:i]...), new), b.kids[i:]...)
		return &branch[V]{b.bits | bit, kids}
	}
	made := &branch[V]{b.bits, slices.Clone(b.kids)}
	switch k := &made.kids[i]; {
	case k.sub != nil:
		k.sub = k.sub.with(new, h, depth+step)
	case k.key == new.key:
		*k = new
	default:
		sub := (*branch[V])(nil).with(*k, hashOf(k.key), depth+step)
		*k = kid[V]{sub: sub.with(new, h, depth+step)}
	}
	return made
}

// bucketWith puts keys of one hash beside each other.
func (b *branch[V]) bucketWith(new kid[V]) *branch[V] {
	made := new
	kids := []kid[V]{made}
	if b != nil {
		for _, k := range b.kids {
			if k.key != new.key {
				kids = append(kids, k)
			}
		}
	}
	return &branch[V]{0, kids}
}

// without is the map without the key.
func (t trie[V]) without(key string) trie[V] {
	return trie[V]{t.root.without(key, hashOf(key), 0)}
}

func (b *branch[V]) without(key string, h uint64, depth uint) *branch[V] {
	if b == nil {
		return nil
	}
	i, bit := slices.IndexFunc(b.kids, func(k kid[V]) bool { return k.key == key }), uint32(0)
	if b.bits != 0 {
		bit = uint32(1) << (h >> depth & (1<<step - 1))
		i = -1
		if b.bits&bit != 0 {
			i = bits.OnesCount32(b.bits & (bit - 1))
		}
	}
	if i < 0 {
		return b
	}
	k := b.kids[i]
	if k.sub == nil {
		if k.key != key {
			return b
		}
	} else if k.sub = k.sub.without(key, h, depth+step); k.sub == b.kids[i].sub {
		return b
	} else if k.sub != nil {
		if len(k.sub.kids) == 1 && k.sub.kids[0].sub == nil {
			k = k.sub.kids[0] // a branch of one key is the key
		}
		made := &branch[V]{b.bits, slices.Clone(b.kids)}
		made.kids[i] = k
		return made
	}
	if len(b.kids) == 1 {
		return nil
	}
	return &branch[V]{b.bits &^ bit, slices.Delete(slices.Clone(b.kids), i, i+1)}
}
