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
// there are.
type trie[V any] struct{ root *branch[V] }

type branch[V any] struct {
	bits uint32
	kids []kid[V]
}

// kid is a leaf, or a branch.
type kid[V any] struct {
	leaf *leaf[V]
	sub  *branch[V]
}

type leaf[V any] struct {
	hash  uint64
	key   string
	value V
	next  *leaf[V] // another key of the same hash
}

const step = 5

// seed is one for all tries: keys are compared, and hashes of keys that callers choose are
// those of keys that sellers chose.
var seed = maphash.MakeSeed()

func (t trie[V]) empty() bool { return t.root == nil }

// get finds the value of a key.
func (t trie[V]) get(key []byte) (v V, ok bool) {
	if t.root == nil {
		return v, false
	}
	h := maphash.Bytes(seed, key)
	b := t.root
	for at := h; ; at >>= step {
		bit := uint32(1) << (at & (1<<step - 1))
		if b.bits&bit == 0 {
			return v, false
		}
		k := &b.kids[bits.OnesCount32(b.bits&(bit-1))]
		if k.leaf != nil {
			for l := k.leaf; l != nil; l = l.next {
				if l.key == string(key) {
					return l.value, true
				}
			}
			return v, false
		}
		b = k.sub
	}
}

// with is the map with a value for the key.
func (t trie[V]) with(key string, v V) trie[V] {
	l := &leaf[V]{hash: maphash.String(seed, key), key: key, value: v}
	return trie[V]{t.root.with(l, 0)}
}

func (b *branch[V]) with(l *leaf[V], depth uint) *branch[V] {
	bit := uint32(1) << (l.hash >> depth & (1<<step - 1))
	if b == nil {
		return &branch[V]{bit, []kid[V]{{leaf: l}}}
	}
	i := bits.OnesCount32(b.bits & (bit - 1))
	if b.bits&bit == 0 {
		kids := make([]kid[V], 0, len(b.kids)+1)
		kids = append(append(append(kids, b.kids[:i]...), kid[V]{leaf: l}), b.kids[i:]...)
		return &branch[V]{b.bits | bit, kids}
	}
	made := &branch[V]{b.bits, slices.Clone(b.kids)}
	switch k := &made.kids[i]; {
	case k.sub != nil:
		k.sub = k.sub.with(l, depth+step)
	case k.leaf.hash == l.hash:
		l.next = k.leaf.without(l.key)
		k.leaf = l
	default:
		var sub *branch[V]
		for old := k.leaf; old != nil; old = old.next {
			// Leaves of one hash stay together, in one kid.
			sub = sub.with(&leaf[V]{hash: old.hash, key: old.key, value: old.value}, depth+step)
		}
		*k = kid[V]{sub: sub.with(l, depth+step)}
	}
	return made
}

// without is the list without a key.
func (l *leaf[V]) without(key string) *leaf[V] {
	switch {
	case l == nil:
		return nil
	case l.key == key:
		return l.next
	}
	return &leaf[V]{l.hash, l.key, l.value, l.next.without(key)}
}

// without is the map without the key.
func (t trie[V]) without(key string) trie[V] {
	return trie[V]{t.root.without(maphash.String(seed, key), key, 0)}
}

func (b *branch[V]) without(h uint64, key string, depth uint) *branch[V] {
	if b == nil {
		return nil
	}
	bit := uint32(1) << (h >> depth & (1<<step - 1))
	if b.bits&bit == 0 {
		return b
	}
	i := bits.OnesCount32(b.bits & (bit - 1))
	k := b.kids[i]
	if k.leaf != nil {
		k.leaf = k.leaf.without(key)
	} else {
		k.sub = k.sub.without(h, key, depth+step)
		if k.sub != nil && len(k.sub.kids) == 1 && k.sub.kids[0].leaf != nil {
			k = k.sub.kids[0] // a branch of one leaf is the leaf
		}
	}
	switch {
	case k == b.kids[i]:
		return b
	case k.leaf == nil && k.sub == nil && len(b.kids) == 1:
		return nil
	case k.leaf == nil && k.sub == nil:
		return &branch[V]{b.bits &^ bit, slices.Delete(slices.Clone(b.kids), i, i+1)}
	}
	made := &branch[V]{b.bits, slices.Clone(b.kids)}
	made.kids[i] = k
	return made
}
