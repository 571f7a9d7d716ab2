package gateway_test

import (
	"os"
	"strconv"
	"testing"
)

// bodySize is how many bytes TestLargeBodies sends: 64 MiB, or what SOUK_BODY says.
func bodySize(t *testing.T) int64 {
	t.Helper()
	text := os.Getenv("SOUK_BODY")
	if text == "" {
		return 64<<20 + 5
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
