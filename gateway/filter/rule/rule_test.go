package rule

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
)

func call() *gate.Call {
	return &gate.Call{Method: []byte("GET"), Path: []byte("/u/a%2Fb"), Host: []byte("api.test"), Query: []byte("city=%E5%8C%97&city=x&a+b=c"),
		At: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), App: "app_a", Owner: "acc_a", From: netip.MustParseAddr("::ffff:10.1.2.3"),
		Group: &control.Group{}, Route: &control.Route{}, Params: []gate.Param{{Name: "id", Value: []byte("a%2Fb")}},
		Fields: gate.Fields{{Name: []byte("X-Level"), Value: []byte("3")}, {Name: []byte("Authorization"), Value: []byte("APPCODE 0123")}},
		Answer: gate.Answer{Status: 206, Fields: gate.Fields{{Name: []byte("X-Units"), Value: []byte("5")}}}}
}

func TestRules(t *testing.T) {
	for text, want := range map[string]bool{
		`method == "GET" && path.startsWith("/u/") && host == "api.test" && scheme == "http" && stage == "RELEASE"`: true,
		`query.city == "北" && query["a b"] == "c" && !("d" in query)`:                                               true,
		`headers["x-level"] == "3" && int(headers["x-level"]) > 2`:                                                  true,
		`"authorization" in headers`:                                         false, // K12
		`params.id == "a/b"`:                                                 true,
		`app == "app_a" && user in ["acc_a", "acc_b"]`:                       true,
		`within(address, "10.0.0.0/8") && !within(address, "2001:db8::/32")`: true,
		`time.getHours("Asia/Shanghai") == 20 && time.getDayOfWeek() == 2`:   true,
		`query[?"none"].orValue("x") == "x"`:                                 true,
		`path.matches("^/u/[a-z%0-9A-F]+$")`:                                 true,
		`["a", "b"].exists(x, x == query.city)`:                              false,
	} {
		r, err := Compile(text, Request)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := r.Holds(call()); got != want || err != nil {
			t.Errorf("%s: %v, %v, want %v", text, got, err, want)
		}
	}
	r, err := Compile(`status == 206 && int(answer["x-units"]) == 5 && !cached`, Answer)
	if err != nil {
		t.Fatal(err)
	}
	if yes, err := r.Holds(call()); !yes || err != nil {
		t.Errorf("of the answer: %v, %v", yes, err)
	}
	if r, err = Compile(`query.none == "x"`, Request); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Holds(call()); err == nil {
		t.Error("what is not there is no error")
	}
}

// A rule that costs too much is refused when it is saved.
func TestWrongRules(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "is empty",
		"method ==":                "cannot be read",
		"method":                   "should say yes or no",
		"status == 200":            "cannot be read",
		"moon == 1":                "cannot be read",
		`query.city > 3`:           "cannot be read",
		`within(address, "10")`:    "no range of addresses",
		`within(address, query.x)`: "written out",
		`headers.exists(k, headers[k].contains("a word of some length"))`:             "more than the 50000",
		`query.exists(a, query.exists(b, query.exists(c, query[a] + query[b] == c)))`: "more than the 50000",
		`path.matches(query.x)`:                                        "more than the 50000",
		strings.Repeat("!", 5000) + "true":                             "at most 4096 bytes",
		strings.Repeat("(", 1000) + "true" + strings.Repeat(")", 1000): "cannot be read",
	} {
		if _, err := Compile(text, Request); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", text, err, want)
		}
	}
}

// What is dearest of all that is let through takes no longer than a caller can wait.
func TestDearestRule(t *testing.T) {
	r, err := Compile(`headers.exists(k, k.contains("zzz")) && query.exists(k, k.contains("zzz"))`, Request)
	if err != nil {
		t.Fatal(err)
	}
	c := call()
	for range 99 {
		c.Fields = append(c.Fields, gate.Field{Name: []byte("X" + strings.Repeat("a", len(c.Fields)+200)), Value: []byte("v")})
	}
	began := time.Now()
	for range 100 {
		if _, err := r.Holds(c); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began) / 100; took > 5*time.Millisecond {
		t.Errorf("it takes %v", took)
	}
}

func TestRulesAtOnce(t *testing.T) {
	r, err := Compile(`query.city == "北" && headers["x-level"] == "3"`, Request)
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for range 200 {
				if yes, err := r.Holds(call()); !yes || err != nil {
					t.Error(yes, err)
				}
			}
		})
	}
	wait.Wait()
}

func BenchmarkHolds(b *testing.B) {
	r, err := Compile(`method == "GET" && path.startsWith("/u/") && within(address, "10.0.0.0/8")`, Request)
	if err != nil {
		b.Fatal(err)
	}
	c := call()
	b.ReportAllocs()
	for b.Loop() {
		_, _ = r.Holds(c)
	}
}
