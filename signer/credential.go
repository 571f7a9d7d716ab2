package signer

import (
	"crypto/rand"
	"encoding/hex"
	"math/big"
	"strconv"
)

// NewAppKey is a fresh AppKey: 9 or 10 digits, as callers know them. It is a name, not a
// secret; whoever stores it makes sure that it is the only one.
func NewAppKey() string {
	const least, most = 100_000_000, 9_999_999_999
	n, err := rand.Int(rand.Reader, big.NewInt(most-least+1))
	if err != nil {
		panic(err) // crypto/rand does not fail on a running system
	}
	return strconv.FormatInt(least+n.Int64(), 10)
}

// NewAppSecret is a fresh AppSecret: 32 letters and digits, which is 190 bits.
func NewAppSecret() string {
	const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	secret := make([]byte, 0, 32)
	for len(secret) < cap(secret) {
		var random [64]byte
		rand.Read(random[:])
		for _, b := range random {
			// Above the last multiple of 62 the first letters would come up more often.
			if b < 4*62 && len(secret) < cap(secret) {
				secret = append(secret, letters[b%62])
			}
		}
	}
	return string(secret)
}

// NewAppCode is a fresh AppCode: 32 hexadecimal digits in lower case, which is 128 bits.
func NewAppCode() string {
	var random [16]byte
	rand.Read(random[:])
	return hex.EncodeToString(random[:])
}
