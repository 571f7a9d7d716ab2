// Package shout is a filter from outside: it puts a word into a header of each answer, and
// refuses calls that shout. It is here to be copied.
//
// The setting:
//
//	{"header": "X-Mood", "word": "calm"}
package shout

import (
	"bytes"
	"errors"

	"github.com/souk-market/souk/gateway/filter/setting"
	"github.com/souk-market/souk/gateway/gate"
)

// The place is between access rules and the check of schemas.
func init() { gate.Register(gate.Info{ID: "shout", Place: 550, New: newFilter}) }

type filter struct{ header, word []byte }

var tooLoud = gate.Refuse("A403AC", "Access Control Forbidden by shout")

func newFilter(env gate.Env) (any, error) {
	with := struct {
		Header string `json:"header"`
		Word   string `json:"word"`
	}{Header: "X-Mood", Word: "calm"}
	if err := setting.Decode(env.With, &with); err != nil {
		return nil, err
	}
	if gate.ReservedAnswer([]byte(with.Header)) {
		return nil, errors.New(`"header" is not for a filter to write`)
	}
	return &filter{[]byte(with.Header), []byte(with.Word)}, nil
}

// Admit refuses queries that are all capitals.
func (f *filter) Admit(c *gate.Call) error {
	if len(c.Query) > 0 && bytes.Equal(c.Query, bytes.ToUpper(c.Query)) && !bytes.Equal(c.Query, bytes.ToLower(c.Query)) {
		return tooLoud
	}
	return nil
}

// Answer says how things are.
func (f *filter) Answer(c *gate.Call) error {
	c.Answer.Set(f.header, f.word)
	return nil
}
