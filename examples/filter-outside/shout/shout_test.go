package shout

import (
	"testing"

	"github.com/souk-market/souk/gateway/filter/filtertest"
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
