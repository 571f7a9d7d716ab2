package casetest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// runRequest plays a case in which the client is odd.
func (l *Lane) runRequest(c *Case, how How, o *Outcome) {
	text := l.expand(c, how, c.Raw)
	want := 1
	if c.Expect.N != nil {
		want = *c.Expect.N
	} else if c.Expect.Requests != nil && c.Expect.Verdict != "reject" {
		want = len(c.Expect.Requests)
	}
	wanted := max(1, want)
	if c.Expect.Responses != nil {
		wanted = *c.Expect.Responses
	}
	// Who refuses closes; who does not may keep the connection.
	t := l.talk(text, c, methodsIn(c, text), wanted, c.Expect.Close || c.Expect.Verdict == "reject")
	whole, heads := l.whole(c, how, o)
	o.Whole = len(whole)
	l.judgeSeen(c, how, whole, want, o)
	judgeHeads(c, heads, o)
	judgeTalk(c, t, whole, want, o)
}

// whole gives the whole requests that the seller saw, and all heads.
func (l *Lane) whole(c *Case, how How, o *Outcome) (whole []Seen, heads []string) {
	for _, s := range l.Seller.Take() {
		if s.Fault != "" {
			o.unsafe("the seller saw what is no request (%s): %q", s.Fault, s.Raw)
		}
		if strings.Contains(s.Target, "/smuggled") {
			o.unsafe("smuggled: %q", s.Raw)
		}
		if s.Head != "" {
			heads = append(heads, s.Head)
		}
		if s.Whole {
			whole = append(whole, s)
		}
	}
	return whole, heads
}

// judgeSeen compares what the seller saw with what it should see.
func (l *Lane) judgeSeen(c *Case, how How, whole []Seen, want int, o *Outcome) {
	e := &c.Expect
	if e.Verdict == "reject" && c.Verdict2 != "second-ok" {
		if len(whole) > 0 {
			o.unsafe("the seller saw %q", whole[0].Raw)
		}
		return
	}
	if len(whole) > want {
		o.unsafe("the seller saw %d requests, want %d at most: %q", len(whole), want, whole[len(whole)-1].Raw)
		return
	}
	for i, s := range whole {
		if i >= len(e.Requests) {
			break
		}
		w := e.Requests[i]
		if s.Method != w.Method || !strings.HasSuffix(s.Target, w.Suffix) || s.Body != l.expand(c, how, w.Body) {
			o.unsafe("request %d: the seller saw %q, want %s …%s with %q", i+1, s.Raw, w.Method, w.Suffix, w.Body)
		}
	}
	if e.Verdict == "forward" && len(whole) < want {
		o.wrong("the seller saw %d requests, want %d", len(whole), want)
	}
}

func judgeHeads(c *Case, heads []string, o *Outcome) {
	for _, head := range heads {
		lower := strings.ToLower(head)
		for _, text := range c.Expect.Absent {
			if strings.Contains(lower, strings.ToLower(text)) {
				o.unsafe("the seller saw %q in %q", text, head)
			}
		}
		judgePresent(c, lower, o)
	}
}

func judgePresent(c *Case, lower string, o *Outcome) {
	for _, text := range c.Expect.Present {
		if !strings.Contains(lower, strings.ToLower(text)) {
			o.wrong("%q is missing in %q", text, lower)
		}
	}
	for _, pattern := range c.Expect.PresentRE {
		if ok, err := regexp.MatchString(pattern, lower); err != nil || !ok {
			o.wrong("%s does not match %q (%v)", pattern, lower, err)
		}
	}
}

// judgeTalk looks at what the client was told.
func judgeTalk(c *Case, t talk, whole []Seen, want int, o *Outcome) {
	e := &c.Expect
	if t.fault != "" {
		o.wrong("the client got what is no answer (%s): %q", t.fault, t.raw)
	}
	good, refused := 0, 0
	for i, a := range t.answers {
		switch {
		case !a.whole:
			o.wrong("the client got half of an answer: %q", t.raw)
		case a.status >= 200 && a.status < 300:
			if good < len(whole) && whole[good].Method != "HEAD" && a.body != whole[good].Method+" "+whole[good].Target {
				o.unsafe("answer %d is somebody else's: %q", i+1, a.body)
			}
			good++
		case a.status >= 400:
			refused++
			if good == 0 && len(e.Status) > 0 && !slices.Contains(e.Status, a.status) {
				o.wrong("status %d, want %v", a.status, e.Status)
			}
		default:
			o.wrong("status %d", a.status)
		}
	}
	if good != len(whole) {
		o.wrong("the seller saw %d requests, the client got %d answers: %q", len(whole), good, t.raw)
	}
	if good < want && refused == 0 && !t.closed && !(e.Requests != nil && len(e.Requests) == 0) {
		o.wrong("the client got neither an answer nor a close: %q", t.raw)
	}
	if e.Close && !t.closed {
		o.wrong("the connection stays open")
	}
	if e.Responses != nil && len(t.answers) != *e.Responses && (e.Verdict == "forward" || good > 0) {
		o.wrong("%d answers, want %d", len(t.answers), *e.Responses)
	}
}

// runAnswer plays a case in which the seller is odd.
func (l *Lane) runAnswer(c *Case, how How, o *Outcome) {
	l.Seller.play(&script{answer: l.expand(c, how, *c.Upstream), drip: c.Drip, then: c.Then})
	body := ""
	if c.Method == "POST" {
		body = "hello"
	}
	text := l.expand(c, how, fmt.Sprintf("%s {{P}}/c HTTP/1.1\r\nHost: {{HOST}}\r\nContent-Length: %d\r\n{{AUTH}}\r\n%s", c.Method, len(body), body))
	t := l.talk(text, &Case{}, []string{c.Method}, 1, false)
	l.Seller.play(nil)
	seen := l.Seller.Take()
	tries := 1
	if c.Tries != nil {
		tries = *c.Tries
	}
	if len(seen) > tries {
		o.unsafe("%d tries at the seller, want %d at most", len(seen), tries)
	}
	for _, s := range seen {
		if !s.Whole || s.Method != c.Method || s.Target != l.Prefix+"/c" || s.Body != body {
			o.unsafe("the seller saw %q", s.Raw)
		}
	}
	l.judgeAnswer(c, t, o)
}

// judgeAnswer looks at what became of the seller's answer.
func (l *Lane) judgeAnswer(c *Case, t talk, o *Outcome) {
	e := &c.Expect
	lower := strings.ToLower(t.raw)
	if strings.Contains(lower, "x-smuggled") && !(c.Method == "HEAD") || len(t.answers) > 1 || strings.Contains(lower, "http/1.1 299") {
		o.unsafe("the client got more than one answer: %q", t.raw)
	}
	for _, text := range e.Absent {
		if strings.Contains(lower, strings.ToLower(text)) {
			o.unsafe("the client got %q in %q", text, t.raw)
		}
	}
	var a got
	if len(t.answers) > 0 {
		a = t.answers[0]
	}
	ours := a.status == 502 || a.status == 504
	refused := a.whole && ours || len(t.answers) == 0 && t.closed
	bodyOf := func() bool { return e.Body == nil || a.body == *e.Body }
	clean := a.whole && t.fault == "" && !ours && (len(e.Status) == 0 || slices.Contains(e.Status, a.status)) && bodyOf()
	switch e.Client {
	case "clean":
		if !clean {
			o.wrong("the client must get the answer whole, got %q", t.raw)
		}
		judgePresent(c, strings.ToLower(a.head), o)
	case "bad":
		if !refused {
			o.unsafe("the client must get 502, 504 or a close, got %q", t.raw)
		}
	case "cut":
		if a.whole && !ours {
			o.unsafe("the client cannot tell that the answer is cut: %q", t.raw)
		} else if !refused && !t.closed {
			o.wrong("the client waits for the rest of %q", t.raw)
		}
	case "either":
		// An answer that streams is cut where it becomes unclear; the client sees that.
		if cut := !a.whole && t.closed; !clean && !refused && !cut {
			o.unsafe("the client must get the answer whole, or 502, 504 or a close, got %q", t.raw)
		}
	}
	for _, name := range c.Single {
		if n := strings.Count(strings.ToLower(a.head), "\n"+name+":"); clean && n != 1 {
			o.wrong("%d lines of %s", n, name)
		}
	}
}
