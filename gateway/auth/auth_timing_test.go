package auth

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/gate"
)

// strangers are a call with a key that nobody has, and one that is signed wrong.
func strangers(d *desk) map[string]*gate.Call {
	calls := map[string]*gate.Call{}
	for name, lines := range map[string][]string{
		"unknown AppKey":  d.signed("/a?b=1", "", "key_x", "secret", "", noon),
		"wrong signature": d.signed("/a?b=1", "", "key_a", "another", "", noon),
		"right":           d.signed("/a?b=1", "", "key_a", "secret", "", noon),
	} {
		c, _ := d.call("/a?b=1", "", lines...)
		calls[name] = c
	}
	return calls
}

// K4: whoever tries keys learns nothing from how long the answer takes: the medians of an
// unknown AppKey and of a wrong signature differ by less than a microsecond.
func TestStrangersTakeTheSameTime(t *testing.T) {
	if raced {
		t.Skip("the race detector takes most of the time")
	}
	d := open(t, book{})
	calls := strangers(d)
	median := func(name string) time.Duration {
		c := calls[name]
		all := make([]time.Duration, 20_000)
		for i := range all {
			began := time.Now()
			if err := d.gate.Pass(c); err == nil {
				t.Fatal("let in")
			}
			all[i] = time.Since(began)
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	best := time.Hour
	var said string
	for range 5 { // the machine may be busy with others in one of them
		unknown, wrong := median("unknown AppKey"), median("wrong signature")
		if diff := (unknown - wrong).Abs(); diff < best {
			best, said = diff, fmt.Sprintf("unknown AppKey %v, wrong signature %v", unknown, wrong)
		}
	}
	t.Log(said)
	if best >= time.Microsecond {
		t.Error("they differ by", best)
	}
}

func BenchmarkSigned(b *testing.B) {
	d := open(&testing.T{}, book{})
	for name, c := range strangers(d) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = d.gate.Pass(c)
			}
		})
	}
}
