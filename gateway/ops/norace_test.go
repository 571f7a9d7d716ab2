//go:build !race

package ops

const slower = 1
