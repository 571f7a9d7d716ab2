package shout

import (
	"testing"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/filter/filtertest"
	"github.com/souk-market/souk/gateway/gatewaytest"
)

func TestShout(t *testing.T) {
	b := filtertest.New(t, "shout")
	chain := b.Make(`{"word":"quiet"}`)
	c := b.Call("GET /?city=hangzhou")
	filtertest.Refused(t, b.Run(chain, c, filtertest.OK("")), "")
	if got := filtertest.Header(c.Answer.Fields, "X-Mood"); got != "quiet" {
		t.Errorf("X-Mood: %q", got)
	}
	filtertest.Refused(t, b.Run(chain, b.Call("GET /?CITY=HANGZHOU"), filtertest.OK("")), "A403AC Access Control Forbidden by shout")
	b.Wrong(map[string]string{`{"header":"X-Ca-Request-Id"}`: "not for a filter to write"})
}

// A whole gateway takes the filter as one of its own: what it refuses costs nothing.
func TestInAGateway(t *testing.T) {
	h := gatewaytest.New(t, nil)
	h.Group()
	c := h.App("hangzhou")
	grant := h.Grant("hangzhou", "weather", true)
	route := h.Route("weather", "GET", "/now")
	route.Filters = []control.FilterSetting{{Filter: "shout"}}
	h.Apply(route, &control.Package{ID: "pkg_1", Grant: grant, Calls: 2, From: h.Clock.Now(), Live: true})
	if a := h.Call("GET", "/now?city=hz", "", "Authorization", "APPCODE "+c.AppCode); a.Status != 200 || a.Header.Get("X-Mood") != "calm" {
		t.Errorf("%d %v", a.Status, a.Header)
	}
	if a := h.Call("GET", "/now?CITY=HZ", "", "Authorization", "APPCODE "+c.AppCode); a.Status != 403 || a.Code() != "A403AC" {
		t.Errorf("%d %v", a.Status, a.Header)
	}
	if left := h.Left(grant); left != 1 {
		t.Errorf("%d calls left, want 1", left)
	}
}
