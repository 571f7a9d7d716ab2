//go:build !race

package gateway

// raced: the race detector is at work, and allocates.
const raced = false
