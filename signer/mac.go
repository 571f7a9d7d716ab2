package signer

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"hash"
)

// mac computes HMACs with any number of secrets and allocates only the first time.
//
// Why not crypto/hmac: it is made for one key, and making one costs several allocations.
// A cache of them for each app would cost more memory than the two blocks that it saves.
type mac struct {
	strong hash.Hash
	weak   hash.Hash
	pad    [64]byte // the block size of both hashes
	sum    [sha256.Size]byte
	text   [44]byte // Base64 of the longer sum
}

// sign returns the signature of text in Base64. It is overwritten by the next.
func (m *mac) sign(secret, text []byte, weak bool) []byte {
	h := m.hash(weak)
	if len(secret) > len(m.pad) {
		h.Reset()
		h.Write(secret)
		secret = h.Sum(m.sum[:0])
	}
	m.pad = [64]byte{}
	copy(m.pad[:], secret)
	for i := range m.pad {
		m.pad[i] ^= 0x36
	}
	h.Reset()
	h.Write(m.pad[:])
	h.Write(text)
	inner := h.Sum(m.sum[:0])
	for i := range m.pad {
		m.pad[i] ^= 0x36 ^ 0x5c
	}
	h.Reset()
	h.Write(m.pad[:])
	h.Write(inner)
	outer := h.Sum(m.sum[:0])
	n := base64.StdEncoding.EncodedLen(len(outer))
	base64.StdEncoding.Encode(m.text[:n], outer)
	m.pad = [64]byte{} // the secret does not outlive the call
	return m.text[:n]
}

func (m *mac) hash(weak bool) hash.Hash {
	if weak {
		if m.weak == nil {
			m.weak = sha1.New()
		}
		return m.weak
	}
	if m.strong == nil {
		m.strong = sha256.New()
	}
	return m.strong
}
