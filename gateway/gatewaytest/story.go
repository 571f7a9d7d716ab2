package gatewaytest

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/signer"
)

// Run plays one .call file: blocks of indented lines under a word at the left edge, from
// the top to the bottom. A line that begins with # is for the reader.
//
//	given          what is true from here on; may come again
//	  app NAME [appcode TEXT] [key TEXT] [secret TEXT]   TEXT stands for the real one
//	  route METHOD PATH [product NAME] [stage S] [appcode SETTING] [charge C] [body N]
//	        [perapp N] [perroute N] [window D] [nonce] [to PATH] [dead]
//	  grant APP PRODUCT [suspended]
//	  package N calls [for APP] [until D]
//	  time D passes      restart      app NAME dead      group keeps appcode
//	  secret ID VALUE    group limit …    group filter …    group test DOMAIN
//	and of the route before:
//	  limit NAME by WHOM calls N in D [smooth N] [of SOURCE] [shared]
//	  filter ID SETTING
//	  parameter NAME in PLACE [to PLACE] [as NAME] [default TEXT] [required]
//	  constant NAME in PLACE (is TEXT | system NAME)
//	  mapped             mock STATUS BODY
//	call [N times] [signed by NAME [nonce TEXT] [at D] [stage S]] [raw]
//	  METHOD TARGET
//	  Name: value
//	  | body
//	seller answers   STATUS BODY, and header lines
//	seller sees      METHOD TARGET, header lines, "| body", "no Name"; or "nothing"
//	caller gets      STATUS BODY or STATUS CODE MESSAGE, header lines, "no Name", "* text"
//	then             N calls left
//
// A call is made when its last block was read; what the seller answers must stand before
// that, under the call.
func Run(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &story{t: t, h: New(t, nil), words: map[string]string{}, secrets: map[string]string{}, keys: map[string]string{}}
	s.h.Group()
	for _, b := range blocks(string(text)) {
		s.line = b.line
		s.play(b)
	}
	s.send()
}

type block struct {
	head  string
	lines []string
	line  int
}

func blocks(text string) []block {
	var list []block
	for i, line := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "":
		case line[0] != ' ':
			list = append(list, block{head: strings.TrimSpace(line), line: i + 1})
		case len(list) > 0:
			last := &list[len(list)-1]
			last.lines = append(last.lines, strings.TrimPrefix(line, "  "))
		}
	}
	return list
}

// story is a file on its way.
type story struct {
	t       *testing.T
	h       *House
	line    int
	words   map[string]string // what stands in the file, and what is meant
	keys    map[string]string // by app
	secrets map[string]string
	grant   control.GrantID
	app     string
	n       int
	routes  bool
	last    *control.Route
	group   control.Group
	call    *pending
}

// pending is a call with what is expected of it.
type pending struct {
	line         int
	head         []string
	lines        []string
	sees, gets   []string
	seen, gotten bool
}

func (s *story) fatal(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("line %d: %s", s.line, fmt.Sprintf(format, args...))
}

func (s *story) play(b block) {
	s.t.Helper()
	words := strings.Fields(b.head)
	switch {
	case b.head == "given":
		s.send()
		for _, line := range b.lines {
			s.given(strings.Fields(line))
		}
	case words[0] == "call":
		s.send()
		if !s.routes {
			s.given([]string{"route", "ANY", "/[*]"})
		}
		s.call = &pending{line: b.line, head: words[1:], lines: b.lines}
	case b.head == "seller answers":
		status, body, _ := strings.Cut(b.lines[0], " ")
		s.h.Seller.Answers(s.number(status), body, b.lines[1:]...)
	case b.head == "seller sees":
		s.call.sees, s.call.seen = b.lines, true
	case b.head == "caller gets":
		s.call.gets, s.call.gotten = b.lines, true
	case b.head == "then":
		s.send()
		for _, line := range b.lines {
			left, ok := strings.CutSuffix(line, " calls left")
			if !ok {
				s.fatal("unknown outcome %q", line)
			}
			if got := s.h.Left(s.grant); got != int64(s.number(left)) {
				s.t.Errorf("line %d: %d calls left, want %s", b.line, got, left)
			}
		}
	default:
		s.fatal("unknown block %q", b.head)
	}
}

func (s *story) number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		s.fatal("%v", err)
	}
	return n
}

func (s *story) duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		s.fatal("%v", err)
	}
	return d
}

// option is the word after name, or "".
func option(words []string, name string) string {
	for i, w := range words {
		if w == name && i+1 < len(words) {
			return words[i+1]
		}
	}
	return ""
}

func has(words []string, name string) bool {
	for _, w := range words {
		if w == name {
			return true
		}
	}
	return false
}

func (s *story) given(w []string) {
	s.t.Helper()
	switch w[0] {
	case "app":
		if has(w, "dead") {
			s.h.Apply(&control.App{ID: control.AppID("app_" + w[1]), Owner: "acc_test", Name: w[1]})
			return
		}
		c := s.h.App(w[1])
		s.app, s.keys[w[1]], s.secrets[w[1]] = w[1], c.AppKey, c.AppSecret
		for name, real := range map[string]string{"appcode": c.AppCode, "key": c.AppKey, "secret": c.AppSecret} {
			if text := option(w, name); text != "" {
				s.words[text] = real
			}
		}
	case "grant":
		s.app = w[1]
		s.grant = s.h.Grant(w[1], w[2], !has(w, "suspended"))
		if !s.routes {
			s.given([]string{"route", "ANY", "/[*]", "product", w[2]})
		}
	case "package":
		s.n++
		p := &control.Package{ID: control.PackageID(fmt.Sprint("pkg_", s.n)), Grant: s.grant, Calls: int64(s.number(w[1])), From: s.h.Clock.Now(), Live: true}
		if text := option(w, "until"); text != "" {
			p.Until = p.From.Add(s.duration(text))
		}
		s.h.Apply(p)
	case "route":
		s.route(w)
	case "group":
		s.ofGroup(w[1:])
	case "secret":
		s.h.Apply(&control.Secret{ID: control.SecretID(w[1]), Name: w[1], Value: []byte(w[2]), Live: true})
	case "limit", "filter", "parameter", "constant", "mapped", "mock":
		s.ofRoute(w)
	case "time":
		s.h.Clock.Pass(s.duration(w[1]))
	case "restart":
		s.h.Restart()
	default:
		s.fatal("unknown fact %q", w)
	}
}

func (s *story) route(w []string) {
	product := option(w, "product")
	if product == "" {
		product = "weather"
	}
	r := s.h.Route(product, w[1], w[2])
	r.Stage = control.Stage(option(w, "stage"))
	r.ID += control.RouteID(r.Stage)
	r.AppCode = control.AppCodeSetting(option(w, "appcode"))
	r.Charge = control.ChargeOn(option(w, "charge"))
	r.UpstreamPath = option(w, "to")
	r.ForceNonce, r.Live = has(w, "nonce"), !has(w, "dead")
	for name, to := range map[string]*int64{"body": &r.MaxBody, "perapp": &r.Throttle.PerApp, "perroute": &r.Throttle.PerRoute} {
		if text := option(w, name); text != "" {
			*to = int64(s.number(text))
		}
	}
	if text := option(w, "window"); text != "" {
		r.Throttle.Window = s.duration(text)
	}
	s.h.Apply(r)
	s.last, s.routes = r, true
}

func (s *story) ofGroup(w []string) {
	s.t.Helper()
	g := &s.group
	g.ID, g.Name, g.Live = "grp_test", "test", true
	if len(g.Domains) == 0 {
		g.Domains = []string{Domain}
	}
	switch w[0] {
	case "keeps":
		g.KeepAppCode = true
	case "limit":
		g.Limits = append(g.Limits, s.limit(w))
	case "filter":
		g.Filters = append(g.Filters, s.filter(w))
	case "test":
		g.TestDomain, g.Domains = w[1], append(g.Domains, w[1])
	default:
		s.fatal("unknown fact of a group %q", w)
	}
	made := *g
	s.h.Apply(&made)
}

// ofRoute says something more of the last route.
func (s *story) ofRoute(w []string) {
	s.t.Helper()
	if s.last == nil {
		s.fatal("%q is said of no route", w)
	}
	r := *s.last
	switch w[0] {
	case "limit":
		r.Limits = append(r.Limits[:len(r.Limits):len(r.Limits)], s.limit(w))
	case "filter":
		r.Filters = append(r.Filters[:len(r.Filters):len(r.Filters)], s.filter(w))
	case "parameter":
		r.Parameters = append(r.Parameters[:len(r.Parameters):len(r.Parameters)], control.Parameter{Name: w[1], In: control.Place(option(w, "in")),
			To: control.Place(option(w, "to")), ToName: option(w, "as"), Default: option(w, "default"), Required: has(w, "required")})
	case "constant":
		r.Constants = append(r.Constants[:len(r.Constants):len(r.Constants)], control.Constant{Name: w[1], In: control.Place(option(w, "in")),
			Value: option(w, "is"), System: option(w, "system")})
	case "mapped":
		r.Mode = control.Mapped
	case "mock":
		r.Mock = &control.Mock{Status: s.number(w[1]), Body: strings.Join(w[2:], " ")}
	}
	s.h.Apply(&r)
	s.last = &r
}

func (s *story) limit(w []string) control.Limit {
	s.t.Helper()
	l := control.Limit{Name: w[1], By: control.By(option(w, "by")), Calls: int64(s.number(option(w, "calls"))), Window: s.duration(option(w, "in")),
		Param: option(w, "of"), Shared: has(w, "shared")}
	if text := option(w, "smooth"); text != "" {
		l.Smooth, l.Burst = true, int64(s.number(text))
	}
	return l
}

func (s *story) filter(w []string) control.FilterSetting {
	return control.FilterSetting{Filter: w[1], With: control.Raw(strings.Join(w[2:], " "))}
}

// real puts what is meant in place of what stands in the file.
func (s *story) real(text string) string {
	for word, real := range s.words {
		text = strings.ReplaceAll(text, word, real)
	}
	return text
}

// send makes the call that is pending and looks at what became of it.
func (s *story) send() {
	s.t.Helper()
	c := s.call
	if c == nil {
		return
	}
	s.call = nil
	times := 1
	if len(c.head) > 1 && c.head[1] == "times" {
		times = s.number(c.head[0])
	}
	method, request := s.request(c)
	for range times {
		s.h.Seller.Asked()
		a := s.h.Raw(method, request)
		if id := a.Header.Get("X-Ca-Request-Id"); len(id) != 36 || id != strings.ToUpper(id) {
			s.t.Errorf("line %d: request ID %q", c.line, id)
		}
		if a.Rest != "" {
			s.t.Errorf("line %d: there is more after the answer: %q", c.line, a.Rest)
		}
		if c.gotten {
			s.gets(c, a)
		}
		if c.seen {
			s.sees(c, s.h.Seller.Asked())
		}
	}
}

// request is the raw request of a call.
func (s *story) request(c *pending) (method, text string) {
	method, target, ok := strings.Cut(s.real(c.lines[0]), " ")
	if !ok {
		s.fatal("a call begins with a method and a target")
	}
	var lines []string
	headers := map[string]string{}
	body, hasBody := "", false
	for _, line := range c.lines[1:] {
		line = s.real(line)
		if b, ok := strings.CutPrefix(line, "| "); ok {
			body, hasBody = body+b, true
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		headers[name] = strings.TrimSpace(value)
		lines = append(lines, line)
	}
	if _, ok := headers["Host"]; !ok {
		lines = append(lines, "Host: "+Domain)
	}
	if app := option(c.head, "by"); app != "" {
		at := s.h.Clock.Now()
		if d := option(c.head, "at"); d != "" {
			at = at.Add(s.duration(d))
		}
		signed, err := signer.Sign(signer.Call{Method: method, URL: target, Header: headers, Body: []byte(body), Key: s.keys[app],
			Secret: s.secrets[app], Now: at, Nonce: option(c.head, "nonce"), Stage: option(c.head, "stage")})
		if err != nil {
			s.fatal("%v", err)
		}
		for name, value := range signed.Header {
			if _, ok := headers[name]; !ok {
				lines = append(lines, name+": "+value)
			}
		}
	}
	if _, ok := headers["Transfer-Encoding"]; hasBody && !ok {
		lines = append(lines, "Content-Length: "+strconv.Itoa(len(body)))
	}
	return method, method + " " + target + " HTTP/1.1\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

func (s *story) gets(c *pending, a *Answer) {
	s.t.Helper()
	status, rest, _ := strings.Cut(s.real(c.gets[0]), " ")
	got := a.Body
	if a.Code() != "" {
		got = a.Code() + " " + a.Header.Get("X-Ca-Error-Message") + a.Body
	}
	if a.Status != s.number(status) || got != rest {
		s.t.Errorf("line %d: the caller gets %d %q, want %s %q", c.line, a.Status, got, status, rest)
	}
	for _, line := range c.gets[1:] {
		if name, ok := strings.CutPrefix(line, "no "); ok {
			if v := a.Header.Values(name); len(v) > 0 {
				s.t.Errorf("line %d: the caller gets %s: %q", c.line, name, v)
			}
			continue
		}
		name, value, _ := strings.Cut(s.real(line), ": ")
		if got := strings.Join(a.Header.Values(name), " | "); got != value {
			s.t.Errorf("line %d: the caller gets %s: %q, want %q", c.line, name, got, value)
		}
	}
}

func (s *story) sees(c *pending, asked []string) {
	s.t.Helper()
	if c.sees[0] == "nothing" {
		if len(asked) > 0 {
			s.t.Errorf("line %d: the seller sees %q", c.line, asked)
		}
		return
	}
	if len(asked) != 1 {
		s.t.Errorf("line %d: the seller is asked %d times: %q", c.line, len(asked), asked)
		return
	}
	head, body, _ := strings.Cut(asked[0], "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	if want := s.real(c.sees[0]) + " HTTP/1.1"; lines[0] != want {
		s.t.Errorf("line %d: the seller sees %q, want %q", c.line, lines[0], want)
	}
	for _, want := range c.sees[1:] {
		if b, ok := strings.CutPrefix(want, "| "); ok {
			if body != b {
				s.t.Errorf("line %d: the seller sees the body %q, want %q", c.line, body, b)
			}
			continue
		}
		if name, ok := strings.CutPrefix(want, "no "); ok {
			for _, line := range lines[1:] {
				if n, _, _ := strings.Cut(line, ":"); strings.EqualFold(n, name) {
					s.t.Errorf("line %d: the seller sees %q", c.line, line)
				}
			}
			continue
		}
		if !has(lines, s.real(want)) {
			s.t.Errorf("line %d: the seller does not see %q in %q", c.line, want, lines)
		}
	}
}
