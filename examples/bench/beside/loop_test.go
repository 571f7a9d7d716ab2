//go:build linux

package main

import (
	"fmt"
	"testing"
)

// However an answer is cut, its end is where it is.
func TestEndsOfAnswersAreFoundInAnyPieces(t *testing.T) {
	whole := answerOf(100)
	for first := range len(whole) {
		var r reply
		done, err := r.take(whole[:first])
		if done || err != nil {
			t.Fatalf("after %d of %d bytes: %v, %v", first, len(whole), done, err)
		}
		if done, err = r.take(whole[first:]); !done || err != nil || !r.good {
			t.Fatalf("cut at %d: %v, %v, good %v", first, done, err, r.good)
		}
	}
	var r reply
	if _, err := r.take(append(answerOf(100), 'x')); err == nil {
		t.Error("a byte behind the answer was not seen")
	}
	if done, err := r.take(fmt.Appendf(nil, "HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n")); !done || err != nil || r.good {
		t.Errorf("503: %v, %v, good %v", done, err, r.good)
	}
}

func TestAnswersHaveTheSizeThatWasAskedFor(t *testing.T) {
	for _, size := range []int{1 << 10, 64 << 10} {
		a := answerOf(size)
		if got := lengthIn(a); got != size {
			t.Errorf("length %d, want %d", got, size)
		}
	}
}
