// Package size bounds the sizes of requests and answers below what the route allows.
//
// The setting, each field with no bound if left out:
//
//	{
//	  "request": 65536,      bytes of a request's body (I413RL)
//	  "query": 2048,         bytes of the query (I413UL)
//	  "headers": 8192,       bytes of all header lines (I400HD)
//	  "answer": 1048576      bytes of an answer's body: one that says it is longer is refused with
//	                         N502RE, one that turns out to be is cut off
//	}
package size

import (
	"errors"
	"strconv"

	"github.com/souk-market/souk/gateway/filter/setting"
	"github.com/souk-market/souk/gateway/gate"
)

func init() { gate.Register(gate.Info{ID: "size", Place: 300, New: newFilter}) }

type filter struct {
	request, query, headers, answer int64
	tooLong                         *gate.Refusal
}

var manyHeaders = gate.Refuse("I400HD", "Invalid Header `?` there are too many bytes of headers for this API")

func newFilter(env gate.Env) (any, error) {
	var with struct {
		Request int64 `json:"request"`
		Query   int64 `json:"query"`
		Headers int64 `json:"headers"`
		Answer  int64 `json:"answer"`
	}
	if err := setting.Decode(env.With, &with); err != nil {
		return nil, err
	}
	if min(with.Request, with.Query, with.Headers, with.Answer) < 0 {
		return nil, errors.New("a size is a number of bytes, and not less than none")
	}
	if max(with.Request, with.Query, with.Headers, with.Answer) == 0 {
		return nil, errors.New(`it bounds nothing; set "request", "query", "headers" or "answer" to a number of bytes`)
	}
	f := &filter{with.Request, with.Query, with.Headers, with.Answer,
		gate.Refuse("N502RE", "The response of the backend is longer than "+strconv.FormatInt(with.Answer, 10)+" bytes")}
	if f.answer == 0 {
		return &front{f}, nil // it costs answers nothing
	}
	return f, nil
}

// front is a filter that bounds no answers.
type front struct{ f *filter }

// Arrive is filter's.
func (f *front) Arrive(c *gate.Call) error { return f.f.Arrive(c) }

// Admit is filter's.
func (f *front) Admit(c *gate.Call) error { return f.f.Admit(c) }

var contentLength = []byte("Content-Length")

// Arrive looks at what the head says, and has the body bounded while it is read.
func (f *filter) Arrive(c *gate.Call) error {
	if f.query > 0 && int64(len(c.Query)) > f.query {
		return gate.TargetTooLarge
	}
	if f.headers > 0 {
		n := 0
		for i := range c.Fields {
			n += len(c.Fields[i].Name) + len(c.Fields[i].Value) + len(": \r\n")
		}
		if int64(n) > f.headers {
			return manyHeaders
		}
	}
	if f.request > 0 {
		if n, err := strconv.ParseInt(string(c.Fields.Header(contentLength)), 10, 64); err == nil && n > f.request {
			return gate.BodyTooLarge
		}
		c.BoundBody(f.request)
	}
	return nil
}

// Admit looks at a body that was read.
func (f *filter) Admit(c *gate.Call) error {
	if f.request > 0 && int64(len(c.Body)) > f.request {
		return gate.BodyTooLarge
	}
	return nil
}

// Answer looks at the length of an answer, and has one without bounded.
func (f *filter) Answer(c *gate.Call) error {
	if c.Answer.Length > f.answer {
		return f.tooLong
	}
	if c.Answer.Most == 0 || f.answer < c.Answer.Most {
		c.Answer.Most = f.answer
	}
	return nil
}
