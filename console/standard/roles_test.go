package standard_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/souk-market/souk/console/consoletest"
	"github.com/souk-market/souk/console/market"
)

var parameter = regexp.MustCompile(`:[a-z_]+`)

// Every declared route asks who it is: a visitor is sent to sign in, a person of another
// role is refused with the role that is missing, and a form without its token changes
// nothing. The list comes from the router, so a new route is in it (GEN-03, GEN-07, A1,
// B5).
func TestEveryRouteAsksWhoItIs(t *testing.T) {
	m := consoletest.New(t)
	m.Operator()
	buyer := m.Buyer("jane")
	visitor := m.Visitor()
	signed := 0
	for _, r := range m.Server().Declared() {
		path := parameter.ReplaceAllString(r.Path, "x")
		if !r.Signed {
			continue
		}
		signed++
		switch {
		case r.API:
			visitor.API(r.Method, path, nil).Is(401).Code("session.none")
			if r.Role == market.Seller || r.Role == market.Operator {
				buyer.API(r.Method, path, nil).Is(403).Code("web.wrong_role")
			}
		case r.Method == "GET":
			if to := visitor.Get(path).Is(303).Header.Get("Location"); !strings.HasPrefix(to, "/sign-in?to=") {
				t.Errorf("%s sends a visitor to %s", path, to)
			}
			if r.Role == market.Seller || r.Role == market.Operator {
				buyer.Get(path).Is(403).Sees("does not have")
			}
		default:
			visitor.PostWith("", path).Is(401)
			if r.Role == market.Buyer || r.Role == market.Anyone {
				buyer.PostWith("", path).Is(403).Sees("form.token")
				buyer.PostWith("wrong", path).Is(403).Sees("form.token")
			}
		}
	}
	if signed < 60 {
		t.Errorf("%d routes ask; they are more", signed)
	}
}

// A session that is over is said to be, in the reader's language, and nothing is changed
// (B4).
func TestASessionThatIsOver(t *testing.T) {
	m := consoletest.New(t)
	buyer := m.Buyer("jane")
	buyer.Get("/services").Is(200)
	m.Pass(31 * 60 * 1e9)
	buyer.PostWith("any", "/apps", "name", "late").Is(401).Sees("session.over")
	buyer.Lang = "zh"
	to := buyer.Get("/services").Is(303).Header.Get("Location")
	buyer.Get(to).Is(200).Sees("请先登录")
	var l struct{ Total int }
	if buyer.API("GET", "/apps", nil).Is(200).Read(&l); l.Total != 0 {
		t.Errorf("%d apps were made by a session that was over", l.Total)
	}
}

// Wrong passwords are counted, and the answer does not tell whether there is such an
// account (B2).
func TestSignInIsBounded(t *testing.T) {
	m := consoletest.New(t)
	m.Buyer("jane")
	p := m.Visitor()
	try := func(email string) *consoletest.Answer {
		return p.API("POST", "/sign-in", map[string]any{"email": email, "password": "wrong password"})
	}
	for range 10 {
		try("jane@example.com").Is(422).Code("account.wrong_password")
	}
	try("jane@example.com").Is(429).Code("account.too_many_tries")
	try("nobody@example.com").Is(422).Code("account.wrong_password")
}

// The first operator is made once, with the token that was printed, also in a race (B6).
func TestTheFirstOperator(t *testing.T) {
	m := consoletest.New(t)
	p := m.Visitor()
	in := map[string]any{"token": "wrong", "account": "A", "name": "B", "email": "c@example.com", "password": consoletest.Password}
	p.API("POST", "/setup", in).Is(403).Code("account.set_up_over")
	m.Operator()
	p.API("POST", "/setup", in).Is(403).Code("account.set_up_over")
}
