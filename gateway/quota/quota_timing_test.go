package quota_test

import (
	"testing"
	"time"
)

func busy(b *testing.B) *node {
	b.Helper()
	n := open(b)
	n.grant(true)
	n.pack("pkg_a", 1_000_000_000, noon, time.Time{})
	return n
}

// BenchmarkReserveVoid is what a call pays where its seller fails.
func BenchmarkReserveVoid(b *testing.B) {
	n := busy(b)
	b.ReportAllocs()
	for b.Loop() {
		h, err := n.Reserve(app, product)
		if err != nil {
			b.Fatal(err)
		}
		n.Void(h)
	}
}

func BenchmarkReserveVoidParallel(b *testing.B) {
	n := busy(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			h, err := n.Reserve(app, product)
			if err != nil {
				b.Error(err)
				return
			}
			n.Void(h)
		}
	})
}

// BenchmarkReserveSettle is a charged call, with the write to the spool, and with the
// writer behind that books it.
func BenchmarkReserveSettle(b *testing.B) {
	n := busy(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := n.call(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkExhausted is a refusal.
func BenchmarkExhausted(b *testing.B) {
	n := open(b)
	n.grant(true)
	n.pack("pkg_a", 1, noon, time.Time{})
	if _, err := n.call(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := n.Reserve(app, product); err == nil {
			b.Fatal("the second of one was served")
		}
	}
}
