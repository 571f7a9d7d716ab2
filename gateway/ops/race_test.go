//go:build race

package ops

// slower is how much the race detector costs.
const slower = 20
