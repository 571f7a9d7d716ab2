//go:build race

package quota_test

// raced: the race detector is on.
const raced = true
