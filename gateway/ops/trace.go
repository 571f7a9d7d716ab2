package ops

import (
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/souk-market/souk/gateway/control"
)

// Trace says where a call stands in a trace that may have begun before it, as in the
// header traceparent (W3C Trace Context). It is a value of a few words that the call
// carries; the zero value is no trace.
type Trace struct {
	ID      [16]byte
	Parent  [8]byte // the caller's step; zero: the trace begins here
	Call    [8]byte // our step
	Ask     [8]byte // our question to the seller, which is a step within ours
	Sampled bool    // the steps are told to the collector
}

// Live reports whether there is a trace.
func (t *Trace) Live() bool { return t.Call != [8]byte{} }

// Tracer begins traces and tells a collector of their steps. Without one (nil) nothing is
// begun, and what a caller sent goes on to the seller as it is.
type Tracer struct {
	ratio   uint64        // a trace is told if half of its ID is below this
	steps   chan Step     // bounded: what finds no room is dropped
	dropped atomic.Uint64 // steps that found no room, or that the collector did not take
	second  atomic.Int64  // of the budget
	budget  atomic.Int64  // traces that may still be told in that second
	most    int64
}

// Step is a call that is over.
type Step struct {
	Trace
	Began, Asked, Answered, Ended time.Time // Asked is zero if the seller was not
	Route                         control.RouteID
	Method                        string // of the route
	Path                          string // of the route: the caller's may hold what is nobody's business
	Request                       string
	Status                        int
	Code                          string
	Outcome                       control.Outcome
}

const hexDigits = "0123456789abcdef"

// TraceparentSize is how long the header's value is.
const TraceparentSize = 55

// Begin goes on with the trace that a call came with, or begins one. parent is the value of
// traceparent; what is no such value is ignored, as the standard demands.
func (t *Tracer) Begin(parent []byte, now time.Time) (trace Trace) {
	if t == nil {
		return trace
	}
	flagged := false
	if !trace.parse(parent, &flagged) {
		trace = Trace{}
		binary.LittleEndian.PutUint64(trace.ID[:8], rand.Uint64())
		binary.LittleEndian.PutUint64(trace.ID[8:], rand.Uint64()|1) // never all zero
		flagged = t.ratio != 0 && binary.BigEndian.Uint64(trace.ID[8:]) <= t.ratio
	}
	binary.LittleEndian.PutUint64(trace.Call[:], rand.Uint64()|1)
	binary.LittleEndian.PutUint64(trace.Ask[:], rand.Uint64()|1)
	// Who calls decides whether a trace of his is told, within a budget: callers are
	// strangers, and must not be able to flood the collector.
	trace.Sampled = flagged && t.take(now)
	return trace
}

func (t *Tracer) take(now time.Time) bool {
	s := now.Unix()
	if old := t.second.Load(); old != s && t.second.CompareAndSwap(old, s) {
		t.budget.Store(t.most)
	}
	return t.budget.Add(-1) >= 0
}

// parse reads a traceparent: version, trace, step, flags.
func (t *Trace) parse(b []byte, flagged *bool) bool {
	if len(b) < TraceparentSize || b[2] != '-' || b[35] != '-' || b[52] != '-' {
		return false
	}
	var version, flags [1]byte
	if !unhex(version[:], b[:2]) || version[0] == 0xFF || version[0] == 0 && len(b) != TraceparentSize || len(b) > TraceparentSize && b[55] != '-' {
		return false
	}
	if !unhex(t.ID[:], b[3:35]) || !unhex(t.Parent[:], b[36:52]) || !unhex(flags[:], b[53:55]) || t.ID == [16]byte{} || t.Parent == [8]byte{} {
		return false
	}
	*flagged = flags[0]&1 == 1
	return true
}

// unhex reads digits in lower case, as the standard demands.
func unhex(dst, src []byte) bool {
	for i := range dst {
		hi, lo := digit(src[2*i]), digit(src[2*i+1])
		if hi > 15 || lo > 15 {
			return false
		}
		dst[i] = hi<<4 | lo
	}
	return true
}

func digit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 16
}

// Append appends the value of traceparent for the seller.
func (t *Trace) Append(dst []byte) []byte {
	dst = append(dst, "00-"...)
	dst = appendHex(dst, t.ID[:])
	dst = append(dst, '-')
	dst = appendHex(dst, t.Ask[:])
	if t.Sampled {
		return append(dst, "-01"...)
	}
	return append(dst, "-00"...)
}

func appendHex(dst, src []byte) []byte {
	for _, c := range src {
		dst = append(dst, hexDigits[c>>4], hexDigits[c&15])
	}
	return dst
}

// End tells the collector of a call, later. Its texts must not be changed.
func (t *Tracer) End(s Step) {
	if t == nil || !s.Sampled {
		return
	}
	select {
	case t.steps <- s:
	default:
		t.dropped.Add(1)
	}
}

// Dropped is how many steps were not told.
func (t *Tracer) Dropped() uint64 {
	if t == nil {
		return 0
	}
	return t.dropped.Load()
}
