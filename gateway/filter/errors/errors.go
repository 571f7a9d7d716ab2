// Package errors puts other answers in the place of a seller's errors, and, if it is told
// so, of the gateway's own refusals.
//
// The setting; the first rule that is for an answer is taken:
//
//	{"rules": [
//	  {
//	    "statuses": ["5xx", "404"],           of the seller's answers
//	    "codes":    ["T429PR", "D*"],         of the gateway's refusals; a star ends a beginning
//	    "status":   502,                      left out: it stays as it is
//	    "headers":  {"X-Reason": "${answer.status}"},
//	    "body":     "{\"error\":\"${request.id}\"}", "type": "application/json"
//	  }
//	]}
//
// Templates are those of gateway/filter/template; a rule with codes has ${error.code} and
// ${error.message} in place of the answer. A refusal keeps its code and message in the
// headers, by which programs tell it from a seller's answer, and costs what it cost before.
package errors

import (
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/souk-market/souk/gateway/filter/setting"
	"github.com/souk-market/souk/gateway/filter/template"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/param"
)

func init() { gate.Register(gate.Info{ID: "errors", Place: 950, New: newFilter}) }

// MaxRules bounds the rules of a setting.
const MaxRules = 50

type rule struct {
	statuses  [][2]int
	codes     []string
	status    int
	headers   []header
	body      *template.Template // nil: it stays
	mediaType []byte
}

type header struct {
	name  []byte
	value *template.Template
}

func newFilter(env gate.Env) (any, error) {
	var with struct {
		Rules []struct {
			Statuses []string          `json:"statuses"`
			Codes    []string          `json:"codes"`
			Status   int               `json:"status"`
			Headers  map[string]string `json:"headers"`
			Body     *string           `json:"body"`
			Type     string            `json:"type"`
		} `json:"rules"`
	}
	if err := setting.Decode(env.With, &with); err != nil {
		return nil, err
	}
	if len(with.Rules) == 0 || len(with.Rules) > MaxRules {
		return nil, fmt.Errorf(`it needs "rules", from 1 to %d`, MaxRules)
	}
	var answers answered
	var refusals refused
	for i, w := range with.Rules {
		r := rule{status: w.Status, mediaType: []byte(w.Type)}
		fail := func(err error) error { return fmt.Errorf("rule %d: %w", i+1, err) }
		if len(w.Statuses) == 0 == (len(w.Codes) == 0) {
			return nil, fail(errors.New(`it needs either "statuses" of the seller or "codes" of the gateway`))
		}
		scope := template.Answer
		if len(w.Codes) > 0 {
			scope = template.Refusal
		}
		if w.Status != 0 && (w.Status < 200 || w.Status > 599 || w.Status == 204 || w.Status == 304) {
			return nil, fail(errors.New(`"status" is from 200 to 599, but for 204 and 304, which have no body`))
		}
		for _, text := range w.Statuses {
			s, err := setting.Statuses(text)
			if err != nil {
				return nil, fail(err)
			}
			r.statuses = append(r.statuses, s)
		}
		for _, code := range w.Codes {
			if code == "" || strings.Contains(strings.TrimSuffix(code, "*"), "*") {
				return nil, fail(fmt.Errorf(`%q is no code; write "T429PR", "T429*" or "*"`, code))
			}
		}
		r.codes = w.Codes
		var err error
		if r.headers, err = headers(w.Headers, scope); err != nil {
			return nil, fail(err)
		}
		if !param.FitsHeader(r.mediaType) {
			return nil, fail(errors.New(`"type" is a media type, such as application/json`))
		}
		if w.Body != nil {
			if r.body, err = template.Compile(*w.Body, template.PlaceOf(w.Type), scope); err != nil {
				return nil, fail(fmt.Errorf("body: %w", err))
			}
			if r.body.ReadsBody() {
				return nil, fail(errors.New("body: ${body} cannot be in it; use the filter rewrite for that"))
			}
		}
		if w.Status == 0 && len(r.headers) == 0 && r.body == nil {
			return nil, fail(errors.New(`it changes nothing; set "status", "headers" or "body"`))
		}
		if scope == template.Refusal {
			refusals = append(refusals, r)
		} else {
			answers = append(answers, r)
		}
	}
	switch {
	case len(refusals) == 0:
		return answers, nil
	case len(answers) == 0:
		return refusals, nil
	}
	return &both{answers, refusals}, nil
}

func headers(m map[string]string, scope template.Scope) ([]header, error) {
	var list []header
	for name, text := range m {
		if gate.ReservedAnswer([]byte(name)) {
			return nil, fmt.Errorf("the header %q is not for a filter to write", name)
		}
		t, err := template.Compile(text, template.Header, scope)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		list = append(list, header{[]byte(name), t})
	}
	sort.Slice(list, func(i, j int) bool { return string(list[i].name) < string(list[j].name) })
	return list, nil
}

// both has rules for answers and for refusals; otherwise only one phase is there.
type both struct {
	answered
	refused
}

// answered are the rules for a seller's answers.
type answered []rule

var nameContentType = []byte("Content-Type")

// ofBody are the headers that are true of one body only.
var ofBody = [][]byte{nameContentType, []byte("Content-Encoding"), []byte("Content-Language"), []byte("Content-MD5"), []byte("Digest"),
	[]byte("Content-Digest"), []byte("Repr-Digest"), []byte("Content-Range"), []byte("Accept-Ranges"), []byte("ETag"), []byte("Last-Modified")}

// Answer puts another answer in place of one that a rule is for.
func (rules answered) Answer(c *gate.Call) error {
	for i := range rules {
		r := &rules[i]
		for _, s := range r.statuses {
			if c.Answer.Status >= s[0] && c.Answer.Status <= s[1] {
				r.apply(c)
				return nil
			}
		}
	}
	return nil
}

func (r *rule) apply(c *gate.Call) {
	values := r.values(c, template.Data{})
	if r.body != nil && c.Answer.Status != 204 && c.Answer.Status != 304 {
		for _, name := range ofBody {
			c.Answer.Drop(name)
		}
		body := r.body.Append(nil, c, template.Data{})
		c.Answer.Body, c.Answer.Whole = body, true
		c.Answer.Length, c.Answer.Stated = int64(len(body)), int64(len(body))
		if len(r.mediaType) > 0 {
			c.Answer.Add(nameContentType, r.mediaType)
		}
	}
	for i, v := range values {
		c.Answer.Set(r.headers[i].name, v)
	}
	if r.status != 0 && c.Answer.Status != 204 && c.Answer.Status != 304 {
		c.Answer.Status, c.Answer.Reason = r.status, nil
	}
}

func (r *rule) values(c *gate.Call, data template.Data) [][]byte {
	values := make([][]byte, len(r.headers))
	for i := range r.headers {
		values[i] = r.headers[i].value.Append(nil, c, data)
	}
	return values
}

// refused are the rules for refusals.
type refused []rule

// Refused gives the caller another answer than the bare refusal.
func (rules refused) Refused(c *gate.Call, refusal *gate.Refusal) {
	for i := range rules {
		r := &rules[i]
		for _, code := range r.codes {
			if begin, star := strings.CutSuffix(code, "*"); code == refusal.Code || star && strings.HasPrefix(refusal.Code, begin) {
				r.refuse(c, refusal)
				return
			}
		}
	}
}

func (r *rule) refuse(c *gate.Call, refusal *gate.Refusal) {
	data := template.Data{Refusal: refusal}
	for i, v := range r.values(c, data) {
		c.Answer.Set(r.headers[i].name, v)
	}
	if r.status == 0 && r.body == nil {
		return
	}
	var body []byte
	if r.body != nil {
		body = r.body.Append(nil, c, data)
		if len(r.mediaType) > 0 {
			c.Answer.Set(nameContentType, r.mediaType)
		}
	}
	status := r.status
	if status == 0 {
		status = refusal.Status
	}
	c.Reply(status, c.Answer.Fields, body)
}
