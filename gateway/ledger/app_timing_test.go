package ledger

import "testing"

func BenchmarkByKey(b *testing.B) {
	l, key, _ := credentialled(b)
	b.ReportAllocs()
	for b.Loop() {
		l.ByKey(key)
	}
}

func BenchmarkByCode(b *testing.B) {
	l, _, code := credentialled(b)
	b.ReportAllocs()
	for b.Loop() {
		l.ByCode(code)
	}
}
