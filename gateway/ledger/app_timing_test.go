package ledger

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/souk-market/souk/gateway/storage"
)

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

// BenchmarkAppsByKey finds one of many apps: always the same, and any; wanted of a hot one
// are 60 ns.
func BenchmarkAppsByKey(b *testing.B) {
	for _, n := range []int{10, 1_000_000} {
		apps := newApps()
		for i := range n {
			a, mark := buyer(i, 0, true)
			apps.put(a, mark)
		}
		for _, hot := range []bool{true, false} {
			b.Run(fmt.Sprintf("%d apps/hot %v", n, hot), func(b *testing.B) {
				keys := make([][]byte, 4096)
				for i := range keys {
					k := n / 2
					if !hot {
						k = rand.IntN(n)
					}
					keys[i] = strconv.AppendInt(nil, int64(1_000_000_000+k), 10)
				}
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					if _, ok := apps.byKey(keys[i&4095]); !ok {
						b.Fatal("not found")
					}
					i++
				}
			})
		}
		b.Run(fmt.Sprintf("%d apps/change", n), func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				a, mark := buyer(i%n, 1, i%2 == 0)
				apps.put(a, mark)
				i += 7919
			}
		})
	}
}

// BenchmarkLoadApps is what a start reads: 100 000 apps to a round.
func BenchmarkLoadApps(b *testing.B) {
	l := fresh(b)
	const n = 100_000
	db := l.db.Load()
	err := db.Tx(b.Context(), func(tx *storage.Tx) error {
		for i := range n {
			a, mark := buyer(i, 0, true)
			_, err := tx.Exec(b.Context(), `INSERT INTO gw_app (id, owner, name, live, app_key, secret, code, code_mac, secret_at, code_at)
				VALUES (?, ?, ?, 1, ?, ?, '', ?, 0, 0)`, a.ID, a.Owner, "an app", a.Key, l.safe.close(string(a.Secret), "secret", string(a.ID)), append(mark, mark...))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	each := func(b *testing.B) { b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/app") }
	b.Run("database", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := l.loadApps(b.Context(), db.Read(), newApps()); err != nil {
				b.Fatal(err)
			}
		}
		each(b)
	})
	l.file = filepath.Join(b.TempDir(), "config")
	b.Run("keep the file", func(b *testing.B) {
		for b.Loop() {
			if err := l.Save(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		each(b)
	})
	b.Run("file", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := l.loadFile(l.file); err != nil {
				b.Fatal(err)
			}
		}
		each(b)
	})
}
