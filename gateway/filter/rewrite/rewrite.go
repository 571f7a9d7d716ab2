// Package rewrite changes headers, query and body of what the seller gets, and headers,
// status and body of what the caller gets, by templates; gateway/filter/template says what
// stands in those.
//
// The setting, each part of which may be left out:
//
//	{
//	  "request": {
//	    "headers": {"set": {"X-App": "${app.id}"}, "add": {"X-Trace": "a"}, "remove": ["X-Debug"]},
//	    "query":   {"set": {"city": "${path.city}"}, "add": {}, "remove": ["debug"]},
//	    "path":    "/v2/${path.city}",
//	    "body":    {"text": "{\"city\":\"${query.city}\"}", "type": "application/json"}
//	  },
//	  "answer": {
//	    "when":    ["2xx", "404"],      statuses that it is for; all
//	    "headers": {"set": {"X-Served": "souk"}, "remove": ["Server"]},
//	    "status":  200,
//	    "body":    {"text": "{\"data\":${body}}", "type": "application/json"}
//	  },
//	  "max_body": 262144                bytes of a body that a template has in it; 256 KiB
//	}
//
// A type says how values are escaped in a body; left out, it is the one that the message
// has, and values stand as they are. An answer that is longer than max_body is not
// rewritten; a request is refused with I413RL.
package rewrite

import (
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/souk-market/souk/gateway/filter/setting"
	"github.com/souk-market/souk/gateway/filter/template"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/param"
)

func init() { gate.Register(gate.Info{ID: "rewrite", Place: 900, New: newFilter}) }

// DefaultBody is how much of a body is read if the setting does not say.
const DefaultBody = 256 << 10

// MaxBody is the most that it can say.
const MaxBody = 8 << 20

type side struct {
	Headers *edits `json:"headers"`
	Query   *edits `json:"query"`
	Path    string `json:"path"`
	Body    *struct {
		Text string `json:"text"`
		Type string `json:"type"`
	} `json:"body"`
}

type edits struct {
	Set    map[string]string `json:"set"`
	Add    map[string]string `json:"add"`
	Remove []string          `json:"remove"`
}

type answerSide struct {
	When    []string `json:"when"`
	Status  int      `json:"status"`
	Headers *edits   `json:"headers"`
	Body    *struct {
		Text string `json:"text"`
		Type string `json:"type"`
	} `json:"body"`
}

func newFilter(env gate.Env) (any, error) {
	with := struct {
		Request *side       `json:"request"`
		Answer  *answerSide `json:"answer"`
		MaxBody int64       `json:"max_body"`
	}{MaxBody: DefaultBody}
	if err := setting.Decode(env.With, &with); err != nil {
		return nil, err
	}
	if with.MaxBody < 1 || with.MaxBody > MaxBody {
		return nil, fmt.Errorf(`"max_body" is from 1 to %d bytes`, MaxBody)
	}
	var q *request
	var a *answer
	var err error
	if with.Request != nil {
		if q, err = newRequest(with.Request, with.MaxBody); err != nil {
			return nil, fmt.Errorf("request: %w", err)
		}
	}
	if with.Answer != nil {
		if a, err = newAnswer(with.Answer, with.MaxBody); err != nil {
			return nil, fmt.Errorf("answer: %w", err)
		}
	}
	switch {
	case q == nil && a == nil:
		return nil, errors.New(`it rewrites nothing; set "request" or "answer"`)
	case q == nil:
		return a, nil
	case q.reads && a == nil:
		return reader{q}, nil
	case q.reads:
		return &readerBoth{reader{q}, a}, nil
	case a == nil:
		return q, nil
	}
	return &both{q, a}, nil
}

// A filter has the phases that its setting needs, and no others.
type (
	// reader is the side of the seller with bodies in its templates.
	reader struct{ *request }
	both   struct {
		*request
		*answer
	}
	readerBoth struct {
		reader
		*answer
	}
)

// ReadsBody is how much of a request's body the templates want.
func (r reader) ReadsBody() int64 { return r.most }

// Arrive has larger bodies refused.
func (r reader) Arrive(c *gate.Call) error {
	c.BoundBody(r.most)
	return nil
}

// change is one edit with its template.
type change struct {
	name []byte
	text *template.Template
	add  bool
}

type changes struct {
	remove [][]byte
	list   []change
}

// newChanges compiles edits in the order of their names.
func newChanges(e *edits, place template.Place, scope template.Scope, bad func([]byte) bool) (*changes, error) {
	if e == nil {
		return nil, nil
	}
	made := new(changes)
	for _, name := range e.Remove {
		if bad([]byte(name)) {
			return nil, fmt.Errorf("%q is not for a filter to remove", name)
		}
		made.remove = append(made.remove, []byte(name))
	}
	for i, m := range []map[string]string{e.Set, e.Add} {
		var names []string
		for name := range m {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			if bad([]byte(name)) {
				return nil, fmt.Errorf("%q is not for a filter to write", name)
			}
			t, err := template.Compile(m[name], place, scope)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			made.list = append(made.list, change{[]byte(name), t, i == 1})
		}
	}
	return made, nil
}

// request is the side of the seller.
type request struct {
	headers, query *changes
	path, body     *template.Template
	mediaType      []byte
	most           int64
	reads          bool
}

func newRequest(with *side, most int64) (q *request, err error) {
	q = &request{most: most}
	if q.headers, err = newChanges(with.Headers, template.Header, template.Request, gate.Reserved); err != nil {
		return nil, fmt.Errorf("headers: %w", err)
	}
	if q.query, err = newChanges(with.Query, template.Query, template.Request, func(name []byte) bool { return len(name) == 0 }); err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	if with.Path != "" {
		if with.Path[0] != '/' {
			return nil, errors.New(`"path" begins with a slash`)
		}
		if q.path, err = template.Compile(with.Path, template.Query, template.Request); err != nil {
			return nil, fmt.Errorf("path: %w", err)
		}
		if fixed, ok := q.path.Fixed(); ok && !goodPath([]byte(fixed)) {
			return nil, errors.New(`"path" has a segment that leads upwards, or a character that no path has`)
		}
	}
	if with.Body != nil {
		if q.body, q.mediaType, err = newBody(with.Body.Text, with.Body.Type, template.Request); err != nil {
			return nil, fmt.Errorf("body: %w", err)
		}
	}
	for _, c := range []*changes{q.headers, q.query} {
		if c != nil {
			for _, one := range c.list {
				q.reads = q.reads || one.text.ReadsBody() || one.text.ReadsForm()
			}
		}
	}
	q.reads = q.reads || q.body.ReadsBody() || q.body.ReadsForm() || q.path.ReadsBody() || q.path.ReadsForm()
	return q, nil
}

func newBody(text, mediaType string, scope template.Scope) (*template.Template, []byte, error) {
	if !param.FitsHeader([]byte(mediaType)) {
		return nil, nil, errors.New(`"type" is a media type, such as application/json`)
	}
	t, err := template.Compile(text, template.PlaceOf(mediaType), scope)
	return t, []byte(mediaType), err
}

var (
	badPath         = gate.Refuse("I400IP", "Invalid Parameter `path` its value cannot stand in a path")
	nameContentType = []byte("Content-Type")
	// ofBody are the headers that are true of one body only.
	ofBody = [][]byte{[]byte("Content-Encoding"), []byte("Content-MD5"), []byte("Digest"), []byte("Content-Digest"), []byte("Repr-Digest"),
		[]byte("Content-Range"), []byte("Accept-Ranges"), []byte("ETag"), []byte("Last-Modified")}
)

// goodPath reports whether a path leads nowhere else and ends nothing.
func goodPath(path []byte) bool {
	for _, c := range path {
		if c <= ' ' || c >= 0x7F || c == '?' || c == '#' || c == '\\' {
			return false
		}
	}
	return param.FitsPath(path)
}

// Send rewrites what the seller will be asked.
func (q *request) Send(c *gate.Call) error {
	if c.Replied() {
		return nil
	}
	o := c.Outgoing()
	data := template.Data{Body: c.Body}
	if o.HasBody {
		data.Body = o.Body
	}
	if q.headers != nil {
		for _, name := range q.headers.remove {
			o.Drop(name)
		}
		for i := range q.headers.list {
			h := &q.headers.list[i]
			if !h.add {
				o.Drop(h.name)
			}
			o.Fields = append(o.Fields, gate.Field{Name: h.name, Value: h.text.Append(nil, c, data)})
		}
	}
	if q.query != nil {
		o.Query = q.query.pairs(o.Query, c, data)
		o.Mark = len(o.Query) > 0
	}
	if q.path != nil {
		path := q.path.Append(nil, c, data)
		if !goodPath(path) {
			return badPath
		}
		o.Path = path
	}
	if q.body != nil {
		o.Body, o.HasBody = q.body.Append(make([]byte, 0, len(data.Body)+256), c, data), true
		for _, name := range ofBody {
			o.Drop(name)
		}
		if len(q.mediaType) > 0 {
			o.Set(nameContentType, q.mediaType)
		}
	}
	return nil
}

// pairs edits a query: what is set or removed goes, in every spelling, the rest stays raw.
func (e *changes) pairs(query []byte, c *gate.Call, data template.Data) []byte {
	made := make([]byte, 0, len(query)+64)
	for rest := query; len(rest) > 0; {
		var p param.Pair
		p, rest = param.Next(rest)
		if e.drops(p.Name) {
			continue
		}
		if len(made) > 0 {
			made = append(made, '&')
		}
		made = append(made, p.Name...)
		if p.Value != nil {
			made = append(append(made, '='), p.Value...)
		}
	}
	for i := range e.list {
		if len(made) > 0 {
			made = append(made, '&')
		}
		made = append(param.AppendEscaped(made, e.list[i].name), '=')
		made = e.list[i].text.Append(made, c, data)
	}
	return made
}

func (e *changes) drops(raw []byte) bool {
	for _, name := range e.remove {
		if param.Is(raw, name) {
			return true
		}
	}
	for i := range e.list {
		if !e.list[i].add && param.Is(raw, e.list[i].name) {
			return true
		}
	}
	return false
}

// answer is the side of the caller.
type answer struct {
	when      []status
	headers   *changes
	status    int
	body      *template.Template
	mediaType []byte
	most      int64
	late      bool // headers or body have the body in them
}

// status is one from first to last.
type status struct{ first, last int }

func newAnswer(with *answerSide, most int64) (a *answer, err error) {
	a = &answer{most: most, status: with.Status}
	for _, text := range with.When {
		s, err := setting.Statuses(text)
		if err != nil {
			return nil, err
		}
		a.when = append(a.when, status{s[0], s[1]})
	}
	if a.status != 0 && (a.status < 200 || a.status > 599 || a.status == 204 || a.status == 304) {
		return nil, errors.New(`"status" is from 200 to 599, but for 204 and 304, which have no body`)
	}
	if a.headers, err = newChanges(with.Headers, template.Header, template.Answer, gate.ReservedAnswer); err != nil {
		return nil, fmt.Errorf("headers: %w", err)
	}
	if with.Body != nil {
		if a.body, a.mediaType, err = newBody(with.Body.Text, with.Body.Type, template.Answer); err != nil {
			return nil, fmt.Errorf("body: %w", err)
		}
	}
	a.late = a.body != nil
	if a.headers != nil {
		for _, h := range a.headers.list {
			a.late = a.late || h.text.ReadsBody()
		}
	}
	return a, nil
}

func (a *answer) isFor(c *gate.Call) bool {
	return len(a.when) == 0 || slices.ContainsFunc(a.when, func(s status) bool { return c.Answer.Status >= s.first && c.Answer.Status <= s.last })
}

// Answer rewrites the head, and asks for the body if it is to be rewritten.
func (a *answer) Answer(c *gate.Call) error {
	if !a.isFor(c) {
		return nil
	}
	if a.late {
		c.Answer.Want(a.most)
		return nil
	}
	a.head(c, template.Data{})
	return nil
}

// Whole rewrites head and body.
func (a *answer) Whole(c *gate.Call) error {
	if !a.late || !a.isFor(c) || int64(len(c.Answer.Body)) > a.most {
		return nil
	}
	data := template.Data{Body: c.Answer.Body}
	var body []byte
	if a.body != nil && hasBody(c) {
		body = a.body.Append(make([]byte, 0, len(data.Body)+256), c, data)
		for _, name := range ofBody {
			c.Answer.Drop(name)
		}
		if len(a.mediaType) > 0 {
			c.Answer.Set(nameContentType, a.mediaType)
		}
		c.Answer.Stated = int64(len(body))
	} else {
		body = c.Answer.Body
		if a.body != nil {
			c.Answer.Stated = -1 // to a HEAD: nobody knows how long it would be
		}
	}
	a.head(c, data)
	c.Answer.Body, c.Answer.Length = body, int64(len(body))
	return nil
}

// hasBody reports whether the answer may have a body at all.
func hasBody(c *gate.Call) bool {
	return c.Answer.Status >= 200 && c.Answer.Status != 204 && c.Answer.Status != 304 && string(c.Method) != "HEAD"
}

func (a *answer) head(c *gate.Call, data template.Data) {
	if a.headers != nil {
		values := make([][]byte, len(a.headers.list)) // first, as they may be made of what is removed
		for i := range values {
			values[i] = a.headers.list[i].text.Append(nil, c, data)
		}
		for _, name := range a.headers.remove {
			c.Answer.Drop(name)
		}
		for i, value := range values {
			h := &a.headers.list[i]
			if !h.add {
				c.Answer.Drop(h.name)
			}
			c.Answer.Add(h.name, value)
		}
	}
	if a.status != 0 && hasStatus(c.Answer.Status) {
		c.Answer.Status, c.Answer.Reason = a.status, nil
	}
}

// hasStatus reports whether an answer may get another status: one without a body cannot
// become one with.
func hasStatus(s int) bool { return s >= 200 && s != 204 && s != 304 }
