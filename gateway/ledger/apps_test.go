package ledger

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
)

// buyer is an app as a console makes them, and its secret in some version.
func buyer(i, version int, live bool) (a *App, mark []byte) {
	secret := sha256.Sum256(fmt.Appendf(nil, "%d %d", i, version))
	code := sha256.Sum256(fmt.Appendf(nil, "code %d %d", i, version/2)) // every other change keeps the code
	return &App{ID: control.AppID(fmt.Sprintf("app_%019d", i)), Owner: fmt.Sprintf("acc_%019d", i/3), Key: strconv.Itoa(1_000_000_000 + i),
		Live: live, Secret: fmt.Appendf(nil, "%x", secret[:16])}, code[:codeMark]
}

// The table of apps is a map that is changed from one side and read from many.
func TestAppsAreAMap(t *testing.T) {
	apps := newApps()
	random := rand.New(rand.NewPCG(1, 1))
	const n = 3000
	version, live := make([]int, n), make([]bool, n)
	put := func(i int) {
		a, mark := buyer(i, version[i], live[i])
		apps.put(a, mark)
	}
	for i := range n {
		live[i] = true
		put(i)
	}
	for range 20 * n { // enough to empty slabs
		i := random.IntN(n)
		version[i]++
		live[i] = random.IntN(5) > 0
		put(i)
	}
	for i := range n {
		want, mark := buyer(i, version[i], live[i])
		got, ok := apps.byKey([]byte(want.Key))
		if !ok || got.ID != want.ID || got.Owner != want.Owner || got.Key != want.Key || got.Live != want.Live || string(got.Secret) != string(want.Secret) {
			t.Fatalf("by key: %+v, %v; want %+v", got, ok, want)
		}
		if got, ok := apps.byMark(mark); !ok || got.ID != want.ID || string(got.Secret) != string(want.Secret) {
			t.Fatalf("by code: %+v, %v; want %+v", got, ok, want)
		}
		if version[i] >= 2 {
			if _, old := buyer(i, version[i]-2, true); string(old) != string(mark) {
				if got, ok := apps.byMark(old); ok {
					t.Fatalf("by an old code: %+v", got)
				}
			}
		}
	}
	if _, ok := apps.byKey([]byte("12")); ok {
		t.Error("a key of nobody is known")
	}
	if count, bytes := apps.size(); count != n || bytes > 256*n+4*slabSize {
		t.Errorf("%d apps in %d bytes; changes are not to heap up", count, bytes)
	}
}

// Readers see each app whole, old or new, while it changes and slabs are let go; what they
// were given stays what it was.
func TestAppsWhileTheyChange(t *testing.T) {
	apps := newApps()
	const n = 500
	for i := range n {
		a, mark := buyer(i, 0, true)
		apps.put(a, mark)
	}
	var stop atomic.Bool
	var all sync.WaitGroup
	for g := range 3 {
		random := rand.New(rand.NewPCG(3, uint64(g)))
		all.Go(func() {
			var kept []App
			for !stop.Load() {
				i := random.IntN(n)
				a, ok := apps.byKey([]byte(strconv.Itoa(1_000_000_000 + i)))
				if !ok || a.ID != control.AppID(fmt.Sprintf("app_%019d", i)) || len(a.Secret) != 32 {
					t.Errorf("read %+v, %v", a, ok)
					return
				}
				if kept = append(kept, a); len(kept) > 100 {
					if kept[0].Key != strconv.Itoa(1_000_000_000+mustInt(string(kept[0].ID[4:]))) {
						t.Errorf("what was kept became %+v", kept[0])
					}
					kept = kept[1:]
				}
			}
		})
	}
	rounds := 40
	if raced {
		rounds = 10
	}
	for v := range rounds {
		for i := range n {
			a, mark := buyer(i, v, true)
			apps.put(a, mark)
		}
	}
	stop.Store(true)
	all.Wait()
}

func mustInt(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

// A known app takes at most 256 bytes, all in, and nothing of it is looked at by the
// collector; one that is switched off among many is so at once, and no table is copied for
// it.
func TestManyApps(t *testing.T) {
	n := 1_000_000
	if testing.Short() || raced {
		n = 100_000
	}
	before := liveHeap()
	apps := newApps()
	for i := range n {
		a, mark := buyer(i, 0, true)
		apps.put(a, mark)
	}
	after := liveHeap()
	each := (after.HeapAlloc - before.HeapAlloc) / uint64(n)
	if each > 256 {
		t.Errorf("%d bytes an app, 256 are allowed", each)
	}
	if objects := after.HeapObjects - before.HeapObjects; objects > uint64(n)/100 {
		t.Errorf("%d objects for %d apps", objects, n)
	}
	began := time.Now()
	a, mark := buyer(n/2, 0, false)
	apps.put(a, mark)
	took := time.Since(began)
	if got, ok := apps.byKey([]byte(a.Key)); !ok || got.Live {
		t.Error("it is still live")
	}
	if got, ok := apps.byMark(mark); !ok || got.Live {
		t.Error("its code still works")
	}
	if took > 10*time.Millisecond {
		t.Errorf("switching one off took %v", took)
	}
	t.Logf("%d bytes an app, %d objects in all; one was switched off in %v", each, after.HeapObjects-before.HeapObjects, took)
	runtime.KeepAlive(apps)
}

func liveHeap() (m runtime.MemStats) {
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m
}
