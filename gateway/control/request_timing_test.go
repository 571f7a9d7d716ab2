package control

import "testing"

func BenchmarkNewRequestID(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		NewRequestID(noon)
	}
}

func BenchmarkRequestIDAppend(b *testing.B) {
	id := NewRequestID(noon)
	var room [36]byte
	b.ReportAllocs()
	for b.Loop() {
		id.Append(room[:0])
	}
}
