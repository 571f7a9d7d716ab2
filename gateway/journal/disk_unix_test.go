//go:build unix

package journal

import (
	"strings"
	"syscall"
	"testing"

	"go.uber.org/zap"
)

// A disk without room is an error when a file is made, and never the end of the process
// when a page of it is written.
func TestAFullDisk(t *testing.T) {
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	limit := was
	limit.Cur = segmentSize / 2
	folder := t.TempDir()
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), &shelf{}, folder, zap.NewNop())
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	if err == nil || !strings.Contains(err.Error(), "8388608 bytes") {
		t.Fatalf("opened with %v", err)
	}
	if left := files(t, folder); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
}
