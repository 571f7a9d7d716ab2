//go:build race

package auth

// raced: the race detector is on.
const raced = true
