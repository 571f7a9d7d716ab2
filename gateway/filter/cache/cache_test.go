package cache

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/filter/filtertest"
	"github.com/souk-market/souk/gateway/gate"
)

// house is a bench with a seller that counts.
type house struct {
	*filtertest.Bench
	t     *testing.T
	asked int
}

func newHouse(t *testing.T) *house {
	h := &house{Bench: filtertest.New(t, "cache"), t: t}
	return h
}

func (h *house) store() *Store { return h.Shared(SharedKey, func() any { return NewStore() }).(*Store) }

// call makes a call whose seller answers with lines; the body says how often he was asked.
func (h *house) call(chain *gate.Chain, answer []string, lines ...string) *gate.Call {
	h.t.Helper()
	return h.run(chain, h.Call(lines...), answer)
}

func (h *house) run(chain *gate.Chain, c *gate.Call, answer []string) *gate.Call {
	h.t.Helper()
	filtertest.Refused(h.t, h.Run(chain, c, func(*gate.Call) (int, []string) {
		h.asked++
		status := 200
		if strings.HasPrefix(answer[0], "Status: ") {
			_, _ = fmt.Sscanf(answer[0], "Status: %d", &status)
		}
		return status, append(append([]string{}, answer...), "", fmt.Sprint("answer ", h.asked))
	}), "")
	h.store().items.Wait()
	return c
}

// seller looks whether the last call went to the seller.
func (h *house) seller(c *gate.Call, want bool) {
	h.t.Helper()
	if got := !c.Cached; got != want {
		h.t.Errorf("%s: asked of the seller: %v, want %v (%d %q)", c.Target, got, want, c.Answer.Status, c.Answer.Fields)
	}
}

func TestFreshness(t *testing.T) {
	date := "Date: " + filtertest.Noon.Format("Mon, 02 Jan 2006 15:04:05 GMT")
	at := func(d time.Duration) string { return filtertest.Noon.Add(d).Format("Mon, 02 Jan 2006 15:04:05 GMT") }
	for name, tt := range map[string]struct {
		with   string
		answer []string
		good   time.Duration // 0: never
	}{
		"max-age":                {"", []string{"Cache-Control: max-age=10"}, 10 * time.Second},
		"s-maxage first":         {"", []string{"Cache-Control: max-age=100, s-maxage=10"}, 10 * time.Second},
		"two lines, the shorter": {"", []string{"Cache-Control: max-age=100", "cache-control: MAX-AGE=10"}, 10 * time.Second},
		"quoted":                 {"", []string{`Cache-Control: ext="a, no-store", max-age="10"`}, 10 * time.Second},
		"Expires":                {"", []string{date, "Expires: " + at(10*time.Second)}, 10 * time.Second},
		"Expires past":           {"", []string{date, "Expires: " + at(-time.Second)}, 0},
		"Expires broken":         {`{"ttl":"10s"}`, []string{date, "Expires: 0"}, 0},
		"max-age before Expires": {"", []string{date, "Expires: " + at(time.Hour), "Cache-Control: max-age=10"}, 10 * time.Second},
		"older already":          {"", []string{"Cache-Control: max-age=15", "Age: 5"}, 10 * time.Second},
		"older by date":          {"", []string{"Cache-Control: max-age=15", "Date: " + at(-5*time.Second)}, 10 * time.Second},
		"too old already":        {"", []string{"Cache-Control: max-age=5", "Age: 5"}, 0},
		"nothing said":           {"", []string{"X: y"}, 0},
		"nothing said, ttl":      {`{"ttl":"10s"}`, []string{"X: y"}, 10 * time.Second},
		"at most":                {`{"most":"10s"}`, []string{"Cache-Control: max-age=100"}, 10 * time.Second},
		"broken max-age":         {`{"ttl":"10s"}`, []string{"Cache-Control: max-age=ten"}, 0},
		"no-store":               {`{"ttl":"10s"}`, []string{"Cache-Control: max-age=10, no-store"}, 0},
		"private":                {`{"ttl":"10s"}`, []string{"Cache-Control: private, max-age=10"}, 0},
		"no-cache":               {`{"ttl":"10s"}`, []string{"Cache-Control: no-cache=\"x\", max-age=10"}, 0},
		"Set-Cookie":             {`{"ttl":"10s"}`, []string{"Cache-Control: max-age=10", "Set-Cookie: a=b"}, 0},
		"Vary: *":                {"", []string{"Cache-Control: max-age=10", "Vary: Accept, *"}, 0},
		"an error":               {`{"ttl":"10s"}`, []string{"Status: 404"}, 0},
		"an error for some time": {"", []string{"Status: 404", "Cache-Control: max-age=10"}, 10 * time.Second},
		"a part":                 {"", []string{"Status: 206", "Cache-Control: max-age=10"}, 0},
		"a failure":              {"", []string{"Status: 500", "Cache-Control: max-age=10"}, 0},
		"too large":              {`{"max_body":3}`, []string{"Cache-Control: max-age=10"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			chain := h.Make(tt.with)
			h.seller(h.call(chain, tt.answer, "GET /a?b=c"), true)
			if tt.good == 0 {
				h.seller(h.call(chain, tt.answer, "GET /a?b=c"), true)
				return
			}
			h.Pass(tt.good - time.Millisecond)
			c := h.call(chain, tt.answer, "GET /a?b=c")
			h.seller(c, false)
			if string(c.Answer.Body) != "answer 1" || c.Answer.Length != 8 || !c.Answer.Whole {
				t.Errorf("the answer is %q", c.Answer.Body)
			}
			h.Pass(time.Millisecond)
			h.seller(h.call(chain, tt.answer, "GET /a?b=c"), true)
		})
	}
}

var minute = []string{"Cache-Control: max-age=60", `ETag: "v1"`, "Last-Modified: Tue, 24 Nov 2026 11:00:00 GMT", "Content-Type: text/plain", "X-Own: x"}

// API-05: an AppCode in the query is no part of a key, in shared nor in own answers; and one
// app's answers are not another's unless the seller shares them.
func TestWhoseAnswers(t *testing.T) {
	for _, shared := range []bool{false, true} {
		h := newHouse(t)
		chain := h.Make(fmt.Sprintf(`{"shared":%v}`, shared))
		call := func(app, code string) *gate.Call {
			c := h.Call("GET /a?b=c&AppCode="+code, "Authorization: APPCODE "+code)
			c.App, c.Query = control.AppID(app), []byte("b=c") // as auth leaves it
			return h.run(chain, c, minute)
		}
		h.seller(call("app_a", "11111111111111111111111111111111"), true)
		h.seller(call("app_a", "22222222222222222222222222222222"), false) // the code was reset
		h.seller(call("app_b", "33333333333333333333333333333333"), !shared)
	}
}

func TestWhatIsAsked(t *testing.T) {
	h := newHouse(t)
	chain := h.Make("")
	h.call(chain, minute, "GET /a?b=c")
	for lines, want := range map[string]bool{
		"GET /a?b=c": false, "GET /a?b=d": true, "GET /a?b=c&": true, "GET /A?b=c": true, "HEAD /a?b=c": false, "GET /a?b=c\nRange: bytes=0-1": true,
		"GET /a?b=c\nCache-Control: no-store": true, "GET /a?b=c\nContent-Length: 3": true, "GET /a?b=c\nTransfer-Encoding: chunked": true,
		"OPTIONS /a?b=c": true,
	} {
		h.seller(h.call(chain, []string{"Cache-Control: no-store"}, strings.Split(lines, "\n")...), want)
	}
}

// Callers may ask for what is fresh, unless the seller is stubborn.
func TestCallersWishes(t *testing.T) {
	h := newHouse(t)
	chain, stubborn := h.Make(""), h.Make(`{"stubborn":true}`)
	h.call(chain, minute, "GET /a")
	h.Pass(30 * time.Second)
	for line, want := range map[string]bool{
		"Cache-Control: no-cache": true, "Pragma: no-cache": true, "Cache-Control: max-age=30": false, "Cache-Control: max-age=29": true,
		"Cache-Control: min-fresh=30": false, "Cache-Control: min-fresh=31": true, "Cache-Control: only-if-cached": false,
	} {
		h.seller(h.call(chain, []string{"Cache-Control: no-store"}, "GET /a", line), want)
		h.seller(h.call(stubborn, minute, "GET /a", line), false)
	}
	c := h.call(chain, minute, "GET /none", "Cache-Control: only-if-cached")
	if c.Answer.Status != 504 || h.asked != 5 {
		t.Errorf("only-if-cached of what is not there: %d, the seller was asked %d times", c.Answer.Status, h.asked)
	}
}

func TestVary(t *testing.T) {
	h := newHouse(t)
	chain := h.Make(`{"vary":["X-Device"]}`)
	answer := append([]string{"Vary: accept-language, Accept"}, minute...)
	h.call(chain, answer, "GET /a", "Accept-Language: zh", "X-Device: phone")
	for lines, want := range map[string]bool{
		"Accept-Language: zh|X-Device: phone": false, "accept-language: zh|x-device: phone|Other: 1": false, "Accept-Language: en|X-Device: phone": true,
		"X-Device: phone": true, "Accept-Language: zh|Accept: a|X-Device: phone": true, "Accept-Language: zh|X-Device: desk": true,
	} {
		h.seller(h.call(chain, answer, append([]string{"GET /a"}, strings.Split(lines, "|")...)...), want)
	}
	h.seller(h.call(chain, answer, "GET /a", "Accept-Language: zh", "X-Device: phone"), false)
	h.seller(h.call(chain, answer, "GET /a", "Accept-Language: en", "X-Device: phone"), false)
}

// RFC 9111, 3.5: what somebody was authorized for is kept only if the seller says so.
func TestAuthorization(t *testing.T) {
	public := []string{"Cache-Control: public, max-age=60"}
	for name, tt := range map[string]struct {
		line   string
		answer []string
		seller bool
	}{
		"bearer":                        {"Authorization: Bearer x", minute, true},
		"bearer, public":                {"Authorization: Bearer x", public, false},
		"bearer, s-maxage":              {"Authorization: Bearer x", []string{"Cache-Control: s-maxage=60"}, false},
		"bearer, must-revalidate":       {"Authorization: Bearer x", []string{"Cache-Control: must-revalidate, max-age=60"}, false},
		"cookie":                        {"Cookie: a=b", minute, true},
		"cookie, public":                {"Cookie: a=b", public, false},
		"the app's code, not passed on": {"Authorization: APPCODE 0123456789", minute, false},
	} {
		h := newHouse(t)
		chain := h.Make(`{"shared":true}`)
		h.call(chain, tt.answer, "GET /a", tt.line)
		c := h.call(chain, tt.answer, "GET /a", tt.line)
		if c.Cached == tt.seller {
			t.Errorf("%s: asked of the seller: %v, want %v", name, !c.Cached, tt.seller)
		}
	}
	h := newHouse(t)
	h.Group.KeepAppCode = true
	chain := h.Make(`{"shared":true}`)
	h.call(chain, minute, "GET /a", "Authorization: APPCODE 0123456789")
	h.seller(h.call(chain, minute, "GET /a", "Authorization: APPCODE 0123456789"), true)
}

// What another filter makes of the request cannot be foreseen: nothing is kept that could
// be another's.
func TestOtherFilters(t *testing.T) {
	h := newHouse(t)
	chain := h.Make(`{"shared":true}`)
	answer := append([]string{"Vary: X-User"}, minute...)
	call := func(before, after func(*gate.Outgoing)) *gate.Call {
		c := h.Call("GET /a", "X-User: alice")
		before(c.Outgoing())
		late := *chain
		late.Send = append(late.Send[:1:1], sender(func(c *gate.Call) error { after(c.Outgoing()); return nil }))
		return h.run(&late, c, answer)
	}
	nothing := func(*gate.Outgoing) {}
	user := func(name string) func(*gate.Outgoing) {
		return func(o *gate.Outgoing) { o.Set([]byte("X-User"), []byte(name)) }
	}
	query := func(o *gate.Outgoing) { o.Query = []byte("app=1") }
	h.seller(call(user("bob"), nothing), true)
	h.seller(call(user("alice"), nothing), true) // what the seller gets counts, not what the caller wrote
	h.seller(call(user("bob"), nothing), false)
	h.seller(call(query, nothing), true)
	h.seller(call(query, nothing), false)
	for range 2 {
		h.seller(call(user("carol"), user("dave")), true)
		h.seller(call(user("erin"), query), true)
		h.seller(call(user("frank"), func(o *gate.Outgoing) { o.HasBody = true }), true)
	}
}

type sender func(*gate.Call) error

func (s sender) Send(c *gate.Call) error { return s(c) }

// A caller who has the answer already is told so.
func TestConditions(t *testing.T) {
	h := newHouse(t)
	chain := h.Make("")
	h.call(chain, minute, "GET /a")
	h.Pass(10 * time.Second)
	for line, want := range map[string]int{
		`If-None-Match: "v1"`: 304, `If-None-Match: "v0", W/"v1"`: 304, "If-None-Match: *": 304, `If-None-Match: "v2"`: 200,
		"If-Modified-Since: Tue, 24 Nov 2026 11:00:00 GMT": 304, "If-Modified-Since: Tue, 24 Nov 2026 10:59:59 GMT": 200, "If-Modified-Since: x": 200,
		"X: y": 200,
	} {
		c := h.call(chain, minute, "GET /a", line)
		h.seller(c, false)
		if c.Answer.Status != want || want == 304 && len(c.Answer.Body) > 0 {
			t.Errorf("%s: %d with %q, want %d", line, c.Answer.Status, c.Answer.Body, want)
		}
		for name, value := range map[string]string{"ETag": `"v1"`, "Age": "10", "Cache-Status": "Souk; hit; ttl=50",
			"X-Own": map[int]string{200: "x", 304: ""}[want]} {
			if got := filtertest.Header(c.Answer.Fields, name); got != value {
				t.Errorf("%s: %s: %q, want %q", line, name, got, value)
			}
		}
	}
	c := h.call(chain, minute, "GET /a", `If-None-Match: "v2"`, "If-Modified-Since: Tue, 24 Nov 2026 11:00:00 GMT") // the tag decides
	if c.Answer.Status != 200 {
		t.Errorf("status %d", c.Answer.Status)
	}
}

func TestForgetting(t *testing.T) {
	h := newHouse(t)
	chain := h.Make("")
	h.call(chain, minute, "GET /a")
	h.Route = &control.Route{ID: "rte_b", Group: "grp_a", Upstream: "http://seller.test", Filters: h.Route.Filters}
	other := h.Make("")
	h.seller(h.call(other, []string{"Status: 500"}, "POST /a"), true)
	h.seller(h.call(chain, minute, "GET /a"), false)
	h.seller(h.call(other, []string{"X: y"}, "DELETE /a"), true) // another route, the same address
	h.seller(h.call(chain, minute, "GET /a"), true)
	h.seller(h.call(chain, minute, "GET /a"), false)
	h.store().Purge("rte_b")
	h.seller(h.call(chain, minute, "GET /a"), false)
	h.store().Purge("rte_a")
	h.seller(h.call(chain, minute, "GET /a"), true)
	h.seller(h.call(h.Make(""), minute, "GET /a"), false) // Q8: a new configuration forgets nothing
	if n := h.store().Purge(""); n != 1 {
		t.Errorf("%d answers were purged, want 1", n)
	}
	h.seller(h.call(chain, minute, "GET /a"), true)
}

// Neither the seller's bytes nor what others do with an answer reach what is kept.
func TestKeptAnswersAreCopies(t *testing.T) {
	h := newHouse(t)
	chain := h.Make("")
	body := []byte("body")
	c := h.Call("GET /a")
	for _, f := range chain.Send {
		if err := f.Send(c); err != nil {
			t.Fatal(err)
		}
	}
	value := []byte("max-age=60")
	c.Answer = gate.Answer{Status: 200, Body: body, Whole: true, Fields: gate.Fields{{Name: []byte("Cache-Control"), Value: value}}}
	if err := chain.Whole[0].Whole(c); err != nil {
		t.Fatal(err)
	}
	copy(body, "XXXX")
	copy(value, "XXXXXXXXXX")
	h.store().items.Wait()
	for range 2 {
		c = h.call(chain, minute, "GET /a")
		if !c.Cached || string(c.Answer.Body) != "body" || filtertest.Header(c.Answer.Fields, "Cache-Control") != "max-age=60" {
			t.Errorf("kept is %q %q", c.Answer.Fields, c.Answer.Body)
		}
		c.Answer.Drop([]byte("Cache-Control"))
		c.Answer.Set([]byte("Age"), []byte("changed"))
	}
}

// X25: whatever the store drops, and whoever asks at once, an answer is the right one.
func TestAtOnce(t *testing.T) {
	h := newHouse(t)
	chain := h.Make("")
	var wait sync.WaitGroup
	for w := range 4 {
		wait.Go(func() {
			for i := range 300 {
				path := fmt.Sprint("/", i%17)
				c := h.Call("GET " + path)
				h.Run(chain, c, filtertest.OK(path, "Cache-Control: max-age=60"))
				if string(c.Answer.Body) != path {
					t.Errorf("%s gets %q", path, c.Answer.Body)
				}
				if i%50 == 0 && w == 0 {
					h.store().Purge("rte_a")
				}
			}
		})
	}
	wait.Wait()
}

func TestWrongSettings(t *testing.T) {
	filtertest.New(t, "cache").Wrong(map[string]string{
		`{"max_body":0}`:           "from 1 to 8388608",
		`{"ttl":"2h","most":"1h"}`: `"ttl" is no longer than "most"`,
		`{"most":"999999h"}`:       "at most 720h",
		`{"vary":["a b"]}`:         "no name of a header",
	})
}

func BenchmarkHit(b *testing.B) {
	bench := filtertest.New(b, "cache")
	chain := bench.Make("")
	bench.Run(chain, bench.Call("GET /a"), filtertest.OK("body", "Cache-Control: max-age=60"))
	bench.Shared(SharedKey, nil).(*Store).items.Wait()
	c := bench.Call("GET /a", "Accept: */*")
	b.ReportAllocs()
	for b.Loop() {
		c.Answer, c.Cached = gate.Answer{Fields: c.Answer.Fields[:0]}, false
		_ = chain.Send[0].Send(c)
	}
	if !c.Cached {
		b.Fatal("a miss")
	}
}
