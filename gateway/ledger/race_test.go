//go:build race

package ledger

// raced: the race detector is on.
const raced = true
