//go:build !race

package quota_test

const raced = false
