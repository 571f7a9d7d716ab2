//go:build unix

package journal

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
)

// limited lets nobody write files of more than half a spool's, until it is called with false.
func limited(t *testing.T) func(bool) {
	t.Helper()
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	set := func(on bool) {
		limit := was
		if on {
			limit.Cur = segmentSize / 2
		}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { set(false) })
	return set
}

// A disk without room is an error when a file is made, and never the end of the process
// when a page of it is written.
func TestAFullDisk(t *testing.T) {
	full := limited(t)
	folder := t.TempDir()
	full(true)
	_, err := Open(t.Context(), &shelf{}, folder, zap.NewNop())
	full(false)
	if err == nil || !strings.Contains(err.Error(), "8388608 bytes") {
		t.Fatalf("opened with %v", err)
	}
	if left := files(t, folder); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
}

// A disk that fills while the gateway runs refuses calls before they are answered, says so,
// and takes them again once there is room; what was settled is booked. X8.
func TestTheDiskFillsAndEmpties(t *testing.T) {
	full := limited(t)
	s := &shelf{}
	j := fresh(t, s, t.TempDir(), filesMost)
	s.set(errors.New("gone")) // so that no file is booked and used again
	full(true)
	var settled int64
	var err error
	for ; settled < 200_000; settled++ {
		if err = j.Settle(7, record(settled)); err != nil {
			break
		}
	}
	for j.Err() == nil {
		time.Sleep(time.Millisecond) // until it was tried to make the next one
	}
	if err = j.Settle(7, record(settled)); err == nil || !strings.Contains(err.Error(), "cannot be made") {
		t.Fatalf("call %d: %v", settled, err)
	}
	full(false)
	s.set(nil)
	for j.Settle(7, record(settled)) != nil {
		time.Sleep(time.Millisecond)
	}
	if err := errors.Join(j.Err(), j.Close(t.Context())); err != nil {
		t.Error(err)
	}
	if n := int64(len(s.list())); n != settled+1 {
		t.Errorf("%d calls were booked, want the %d that were settled", n, settled+1)
	}
}
