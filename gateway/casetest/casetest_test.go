package casetest_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway"
	"github.com/souk-market/souk/gateway/casetest"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gatewaytest"
)

const lanes, runs = 16, 3

func lane(t *testing.T, h *gatewaytest.House, i int) (*casetest.Lane, control.GrantID) {
	t.Helper()
	s, err := casetest.NewSeller()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	name := fmt.Sprintf("lane%d", i)
	prefix := "/" + name
	r := h.Route("prd_"+name, "ANY", prefix+"/[*]")
	r.Upstream, r.Timeout = s.URL(), time.Second
	c := h.App(name)
	grant := h.Grant(name, "prd_"+name, true)
	h.Apply(r, &control.Package{ID: control.PackageID("pkg_" + name), Grant: grant, Calls: 1_000_000, From: gatewaytest.Start.Add(-time.Hour), Live: true})
	return &casetest.Lane{Addr: h.Addr, Host: gatewaytest.Domain, Prefix: prefix, Seller: s, AppCode: c.AppCode, Key: c.AppKey, Secret: c.AppSecret}, grant
}

func used(t *testing.T, h *gatewaytest.House, grant control.GrantID) int64 {
	t.Helper()
	if err := h.Plane.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	list, err := h.Plane.Balances(context.Background(), grant)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	return list[0].Used
}

// G5, G7: every case ends safe, at least 99 in 100 exactly as expected, and none that must;
// worst of three runs, with AppCode and with a signature. What was charged is what the
// seller saw.
func TestCasesOfMalformedHTTP(t *testing.T) {
	file, err := os.Open("../testdata/http-cases.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cases, err := casetest.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) < 337 {
		t.Fatalf("%d cases, want 337", len(cases))
	}
	h := gatewaytest.New(t, func(o *gateway.Options) {
		o.HeadTimeout, o.BodyTimeout, o.IdleTimeout = time.Second, time.Second, 2*time.Second
	})
	h.Group()
	type job struct {
		c   *casetest.Case
		how casetest.How
	}
	var mu sync.Mutex // guards what follows
	unsafe, wrong := map[string]string{}, map[string]string{}
	count := func(id, why string, in map[string]string, how casetest.How) {
		if _, ok := in[id]; why != "" && !ok {
			in[id] = how.String() + ": " + why
		}
	}
	jobs := make(chan job)
	var workers sync.WaitGroup
	for i := range lanes {
		l, grant := lane(t, h, i)
		workers.Go(func() {
			before, requests, answers := l.Plain(), 0, 0
			for j := range jobs {
				o := l.Run(j.c, j.how)
				if j.c.Upstream == nil {
					requests += o.Whole
				} else {
					answers++
				}
				mu.Lock()
				count(j.c.ID, o.Unsafe, unsafe, j.how)
				count(j.c.ID, o.Wrong, wrong, j.how)
				mu.Unlock()
			}
			// An answer of a seller is charged if it is a good one, a request that the seller
			// saw whole always.
			charged, least := int(used(t, h, grant)), l.Plain()-before+requests
			if charged < least || charged > least+answers {
				t.Errorf("%s: %d calls were charged, the seller saw %d whole requests, and %d to which it answered oddly", l.Prefix, charged, least, answers)
			}
		})
	}
	for range runs {
		for i := range cases {
			for _, how := range []casetest.How{casetest.ByAppCode, casetest.BySignature} {
				jobs <- job{&cases[i], how}
			}
		}
	}
	close(jobs)
	workers.Wait()

	must := 0
	for i := range cases {
		c := &cases[i]
		if wrong[c.ID] == "" {
			continue
		}
		if c.Level == "must" {
			must++
		}
		mark := "not as expected"
		if unsafe[c.ID] != "" {
			mark = "UNSAFE"
		}
		t.Logf("%s (%s, %s) %s: %s", c.ID, c.Level, c.Title, mark, short(wrong[c.ID]))
	}
	exact := len(cases) - len(wrong)
	t.Logf("%d of %d safe, %d as expected, %d that must are not", len(cases)-len(unsafe), len(cases), exact, must)
	if len(unsafe) > 0 || must > 0 || exact*100 < len(cases)*99 {
		t.Error("want all safe, 99 % as expected, and all that must be")
	}
}

func short(s string) string {
	if len(s) > 300 {
		return s[:300] + "…"
	}
	return s
}

// The runner sees what it is there to see: a seller that is smuggled a request, and one
// that gets another's answer.
func TestTheSellerIsStrict(t *testing.T) {
	s, err := casetest.NewSeller()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l := &casetest.Lane{Addr: fmt.Sprintf("127.0.0.1:%d", s.Port), Host: "a", Prefix: "/p", Seller: s, AppCode: "x"}
	two := casetest.Case{ID: "two", Raw: "GET {{P}}/c HTTP/1.1\r\nHost: a\r\n\r\nGET {{P}}/smuggled HTTP/1.1\r\nHost: a\r\n\r\n", Expect: casetest.Expect{Verdict: "either"}}
	if o := l.Run(&two, casetest.ByAppCode); !strings.Contains(o.Unsafe, "smuggled") {
		t.Errorf("a smuggled request: %+v", o)
	}
	odd := casetest.Case{ID: "odd", Raw: "GET {{P}}/c HTTP/1.1\nHost: a\r\n\r\n", HalfClose: true, Expect: casetest.Expect{Verdict: "reject"}}
	if o := l.Run(&odd, casetest.ByAppCode); !strings.Contains(o.Unsafe, "no request") {
		t.Errorf("a bare line feed: %+v", o)
	}
	if o := l.Run(&casetest.Case{ID: "fine", Raw: "GET {{P}}/c HTTP/1.1\r\nHost: a\r\n\r\n", Expect: casetest.Expect{Verdict: "forward", Requests: []casetest.Want{{Method: "GET", Suffix: "/c"}}}}, casetest.ByAppCode); o.Unsafe != "" || o.Wrong != "" || o.Whole != 1 {
		t.Errorf("a plain request: %+v", o)
	}
	answer := "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nok"
	cut := casetest.Case{ID: "cut", Method: "GET", Upstream: &answer, Then: "close", Expect: casetest.Expect{Client: "bad"}}
	if o := l.Run(&cut, casetest.ByAppCode); o.Unsafe == "" {
		t.Error("an answer that is cut was taken for a refusal")
	}
	cut.Expect.Client = "cut"
	if o := l.Run(&cut, casetest.ByAppCode); o.Unsafe != "" || o.Wrong != "" {
		t.Errorf("an answer that is cut: %+v", o)
	}
}

func TestGroupsOfCases(t *testing.T) {
	file, err := os.Open("../testdata/http-cases.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cases, err := casetest.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	var groups []string
	for _, c := range cases {
		if !slices.Contains(groups, c.Group) {
			groups = append(groups, c.Group)
		}
	}
	if want := []string{"cl", "te", "chunk", "line", "host", "hdr", "eol", "hop", "exp", "pipe", "part", "resp"}; !slices.Equal(groups, want) {
		t.Errorf("groups %v, want %v", groups, want)
	}
}
