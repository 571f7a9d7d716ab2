package size

import (
	"strings"
	"testing"

	"github.com/souk-market/souk/gateway/filter/filtertest"
	"github.com/souk-market/souk/gateway/wire"
)

func TestBounds(t *testing.T) {
	b := filtertest.New(t, "size")
	chain := b.Make(`{"request":10,"query":8,"headers":60,"answer":5}`)
	run := func(want, answer string, lines ...string) {
		t.Helper()
		filtertest.Refused(t, b.Run(chain, b.Call(lines...), filtertest.OK(answer)), want)
	}
	run("", "12345", "POST /a?12345678", "Content-Length: 10", "", "0123456789")
	run("I413UL Request URL too Large", "", "GET /a?123456789")
	run("I413RL Request body too Large", "", "POST /a", "Content-Length: 11")
	run("", "", "GET /", "A: "+strings.Repeat("x", 55))
	run("I400HD Invalid Header `?` there are too many bytes of headers for this API", "", "GET /", "A: "+strings.Repeat("x", 56))
	run("N502RE The response of the backend is longer than 5 bytes", "123456", "GET /a")

	c := b.Call("POST /a", "Transfer-Encoding: chunked", "", "0123456789x")
	_ = c.ReadBody(c)
	filtertest.Refused(t, b.Run(chain, c, filtertest.OK("")), "I413RL Request body too Large")
	if c.MaxBody != 10 {
		t.Errorf("a body is bounded to %d while it is read", c.MaxBody)
	}
	c = b.Call("GET /a")
	c.Answer.Length = wire.Chunked
	if err := chain.Answer[0].Answer(c); err != nil || c.Answer.Most != 5 {
		t.Errorf("an answer of unknown length is bounded to %d, %v", c.Answer.Most, err)
	}
}

// O3: what is not set costs nothing.
func TestNoAnswerNoPhase(t *testing.T) {
	b := filtertest.New(t, "size")
	chain := b.Make(`{"request":10}`)
	if len(chain.Answer) != 0 || len(chain.Arrive) != 1 {
		t.Errorf("phases: %+v", chain)
	}
	c := b.Call("POST /a", "Content-Length: 3")
	c.MaxBody = 4
	if n := testing.AllocsPerRun(100, func() { _ = chain.Arrive[0].Arrive(c) }); n != 0 || c.MaxBody != 4 {
		t.Errorf("%v allocations; a smaller bound became %d", n, c.MaxBody)
	}
}

func TestWrongSettings(t *testing.T) {
	filtertest.New(t, "size").Wrong(map[string]string{
		`{}`:             "it bounds nothing",
		`{"request":-1}`: "not less than none",
		`{"answer":"1"}`: "answer is a string, but should be a number",
	})
}
