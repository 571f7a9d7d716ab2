package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/gatewaytest"
)

func init() { gate.Register(gate.Info{ID: "test.count", New: newCount}) }

// count is a filter that counts its calls in a value that outlives it, and shows them.
type count struct{ of *countValue }

type countValue struct{ calls, closed atomic.Int64 }

func (v *countValue) Close() error {
	v.closed.Add(1)
	return nil
}

var (
	countsMade  atomic.Int64
	countLatest atomic.Pointer[countValue]
)

func newCount(env gate.Env) (any, error) {
	key := "test.count " + string(env.With)
	return &count{env.Shared(key, func() any {
		countsMade.Add(1)
		v := new(countValue)
		countLatest.Store(v)
		return v
	}).(*countValue)}, nil
}

func (f *count) Answer(c *gate.Call) error {
	c.Answer.Set([]byte("X-Count"), fmt.Append(nil, f.of.calls.Add(1)))
	return nil
}

// Q8, C2: what filters share outlives a configuration, is shared by whoever asks under one
// key, and ends with the gateway; to look whether a change is right makes nothing that stays.
func TestFiltersShare(t *testing.T) {
	h := gatewaytest.New(t, nil)
	h.Group()
	c := h.App("hangzhou")
	grant := h.Grant("hangzhou", "weather", true)
	a, b := h.Route("weather", "GET", "/a"), h.Route("weather", "GET", "/b")
	a.Filters = []control.FilterSetting{{Filter: "test.count", With: control.Raw(`"one"`)}}
	b.Filters = a.Filters
	made := countsMade.Load()
	h.Apply(a, b, &control.Package{ID: "pkg_1", Grant: grant, Calls: 99, From: h.Clock.Now(), Live: true})
	call := func(path, want string) {
		t.Helper()
		if got := h.Call("GET", path, "", "Authorization", "APPCODE "+c.AppCode).Header.Get("X-Count"); got != want {
			t.Errorf("%s counts %q, want %q", path, got, want)
		}
	}
	call("/a", "1")
	call("/b", "2")
	for i := range 50 {
		a.Name = fmt.Sprint("edit ", i)
		h.Apply(a)
	}
	call("/a", "3")
	if n := countsMade.Load() - made; n != 1 {
		t.Errorf("the value was made %d times", n)
	}
	value := countLatest.Load()
	h.Restart()
	if n := value.closed.Load(); n != 1 {
		t.Errorf("the value was closed %d times when the gateway ended", n)
	}
	call("/a", "1")
}

// C2: changes of routes that keep answers leave nothing behind, in goroutines or stores.
func TestChangesOfFiltersLeaveNothing(t *testing.T) {
	h := gatewaytest.New(t, nil)
	h.Group()
	r := h.Route("weather", "GET", "/a")
	change := func(n int) {
		for i := range n {
			r.Name = fmt.Sprint("edit ", i)
			r.Filters = []control.FilterSetting{{Filter: "cache", With: control.Raw(fmt.Sprintf(`{"max_body":%d}`, i+1))}, {Filter: "breaker"}}
			h.Apply(r)
		}
	}
	change(3)
	before := runtime.NumGoroutine()
	change(60)
	if after := runtime.NumGoroutine(); after > before+5 {
		t.Errorf("%d goroutines, were %d", after, before)
	}
}

// What a gateway keeps of a route's answers can be forgotten.
func TestPurge(t *testing.T) {
	h := gatewaytest.New(t, nil)
	h.Group()
	c := h.App("hangzhou")
	grant := h.Grant("hangzhou", "weather", true)
	r := h.Route("weather", "GET", "/a")
	r.Filters = []control.FilterSetting{{Filter: "cache"}}
	h.Apply(r, &control.Package{ID: "pkg_1", Grant: grant, Calls: 999, From: h.Clock.Now(), Live: true})
	h.Seller.Answers(200, "answer", "Cache-Control: max-age=60")
	call := func() string {
		return h.Call("GET", "/a", "", "Authorization", "APPCODE "+c.AppCode).Header.Get("Cache-Status")
	}
	hit := false
	for range 100 { // what is kept may not be seen at once
		if hit = call() == "Souk; hit; ttl=60"; hit {
			break
		}
	}
	if !hit {
		t.Fatal("nothing is kept")
	}
	purge := func(route control.RouteID, want string) {
		t.Helper()
		w := httptest.NewRecorder()
		h.Ops().ServeHTTP(w, httptest.NewRequest("POST", "/cache/purge?route="+url.QueryEscape(string(route)), nil))
		if got := strings.TrimSpace(w.Body.String()); w.Code != 200 || got != want {
			t.Errorf("purging %q: %d %s, want %s", route, w.Code, got, want)
		}
	}
	purge("rte_other", `{"gone":0}`)
	if got := call(); got != "Souk; hit; ttl=60" {
		t.Errorf("another route was purged, and the answer is %q", got)
	}
	purge(r.ID, `{"gone":1}`)
	if got := call(); got != "Souk; fwd=miss" {
		t.Errorf("the route was purged, and the answer is %q", got)
	}
}

// A setting that is wrong is refused when it is saved, in words, and changes nothing.
func TestWrongFiltersAreNotSaved(t *testing.T) {
	h := gatewaytest.New(t, nil)
	h.Group()
	r := h.Route("weather", "GET", "/a")
	h.Apply(r)
	for filter, with := range map[string]string{"none": "{}", "cors": "{}", "access": `{"rules":[{"name":"a","allow":"query.x.matches(query.y)"}]}`, "size": `{"reqest":1}`} {
		wrong := *r
		wrong.Filters = []control.FilterSetting{{Filter: filter, With: control.Raw(with)}}
		if err := h.Plane.Apply(context.Background(), &wrong); err == nil {
			t.Errorf("%s with %s is saved", filter, with)
		}
	}
}

// Routes are made while the ledger tells of changes, and ask it then for what they name:
// upstreams, and secrets of their filters.
func TestRoutesAskForWhatTheyName(t *testing.T) {
	h := gatewaytest.New(t, nil)
	h.Group()
	c := h.App("hangzhou")
	grant := h.Grant("hangzhou", "weather", true)
	r := h.Route("weather", "GET", "/a")
	r.Via, r.Upstream = "ups_a", ""
	r.Filters = []control.FilterSetting{{Filter: "sign", With: control.Raw(`{"keys":[{"id":"k","secret":"sec_a"}]}`)}}
	h.Apply(&control.Secret{ID: "sec_a", Name: "a", Value: []byte("0123456789abcdef"), Live: true},
		&control.Upstream{ID: "ups_a", Name: "a", Targets: []control.Target{{URL: h.Seller.URL}}})
	h.Apply(r, &control.Package{ID: "pkg_1", Grant: grant, Calls: 9, From: h.Clock.Now(), Live: true})
	for range 2 {
		if a := h.Call("GET", "/a", "", "Authorization", "APPCODE "+c.AppCode); a.Status != 200 {
			t.Errorf("%d %v", a.Status, a.Header)
		}
		h.Restart()
	}
}

// An answer that turns out to be longer than a filter allows is cut off, so that it does not
// look whole, and is not charged.
func TestLongAnswersAreCut(t *testing.T) {
	seller := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for range 10 {
			fmt.Fprint(w, "0123456789")
			w.(http.Flusher).Flush() // its length is not said
		}
	}))
	defer seller.Close()
	h := gatewaytest.New(t, nil)
	h.Group()
	c := h.App("hangzhou")
	grant := h.Grant("hangzhou", "weather", true)
	h.Apply(&control.Package{ID: "pkg_1", Grant: grant, Calls: 9, From: h.Clock.Now(), Live: true})
	for most, whole := range map[int]bool{99: false, 100: true} {
		r := h.Route("weather", "GET", "/a")
		r.Upstream = seller.URL
		r.Filters = []control.FilterSetting{{Filter: "size", With: control.Raw(fmt.Sprintf(`{"answer":%d}`, most))}}
		h.Apply(r)
		before := h.Left(grant)
		q, _ := http.NewRequest("GET", "http://"+h.Addr+"/a", nil)
		q.Host = gatewaytest.Domain
		q.Header.Set("Authorization", "APPCODE "+c.AppCode)
		a, err := http.DefaultClient.Do(q)
		var body []byte
		if err == nil {
			body, err = io.ReadAll(a.Body)
			a.Body.Close()
		}
		if (err == nil) != whole || whole && len(body) != 100 {
			t.Errorf("bounded to %d, %d bytes come, %v", most, len(body), err)
		}
		want := before
		if whole {
			want--
		}
		if got := h.Left(grant); got != want {
			t.Errorf("bounded to %d: %d calls left, want %d", most, got, want)
		}
	}
}
