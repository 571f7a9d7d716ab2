package auth

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/tally"
	"github.com/souk-market/souk/gateway/tally/memory"
	"github.com/souk-market/souk/signer"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// book knows two apps, each with one key and one code; the second was switched off.
type book struct{ gone error }

var live, dead = App{ID: "app_a", Key: "key_a", Owner: "acc_a", Live: true, Secret: []byte("secret")}, App{ID: "app_b", Secret: []byte("secret")}

func (b book) ByKey(key []byte) (App, bool, error)   { return b.find(key, "key") }
func (b book) ByCode(code []byte) (App, bool, error) { return b.find(code, "code") }

func (b book) find(got []byte, what string) (App, bool, error) {
	switch string(got) {
	case what + "_a":
		return live, b.gone == nil, b.gone
	case what + "_b":
		return dead, b.gone == nil, b.gone
	}
	return App{}, false, b.gone
}

// counted is a tally that says how often it was asked.
type counted struct {
	tally.Nonces
	asked int
}

func (c *counted) Use(app control.AppID, nonce []byte, now time.Time) error {
	c.asked++
	return c.Nonces.Use(app, nonce, now)
}

// desk is a gate with what stands around it.
type desk struct {
	t      *testing.T
	gate   *Gate
	nonces *counted
	route  control.Route
	group  control.Group
	now    time.Time
}

func open(t *testing.T, b book) *desk {
	t.Helper()
	n := &counted{Nonces: memory.New(memory.Options{})}
	return &desk{t: t, gate: New(b, n, noon), nonces: n, route: control.Route{AllowSHA1: true}, now: noon}
}

// call passes a request with these header lines, and says what the gate made of it.
func (d *desk) call(target, body string, lines ...string) (*gate.Call, error) {
	d.t.Helper()
	c := &gate.Call{Method: []byte("POST"), At: d.now, Route: &d.route, Group: &d.group, Target: []byte(target)}
	path, query, _ := strings.Cut(target, "?")
	c.Path, c.Query = []byte(path), []byte(query)
	c.ReadBody = func(c *gate.Call) error {
		c.Body, c.BodyRead = []byte(body), true
		return nil
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		c.Fields = append(c.Fields, gate.Field{Name: []byte(name), Value: []byte(strings.TrimSpace(value))})
	}
	return c, d.gate.Pass(c)
}

// signed are the lines of a signed call.
func (d *desk) signed(target, body, key, secret, nonce string, at time.Time) []string {
	d.t.Helper()
	s, err := signer.Sign(signer.Call{Method: "POST", URL: target, Header: map[string]string{"Accept": "*/*"}, Body: []byte(body),
		Key: key, Secret: secret, Now: at, Nonce: nonce})
	if err != nil {
		d.t.Fatal(err)
	}
	lines := []string{"Accept: */*"}
	for name, value := range s.Header {
		if !strings.EqualFold(name, "Accept") {
			lines = append(lines, name+": "+value)
		}
	}
	return lines
}

func code(err error) string {
	var r *gate.Refusal
	switch {
	case err == nil:
		return ""
	case errors.As(err, &r):
		return r.Code
	}
	return err.Error()
}

const right, other, off = "Authorization: APPCODE code_a", "Authorization: APPCODE nobody", "Authorization: APPCODE code_b"

// Both ways work for one app; each setting of a route takes what it says. API-01, API-03, API-04.
func TestAppCodes(t *testing.T) {
	for _, c := range []struct {
		setting control.AppCodeSetting
		target  string
		line    string
		want    string
	}{
		{control.AppCodeDefault, "/a", right, ""},
		{"", "/a", right, ""},
		{control.AppCodeHeader, "/a", right, ""},
		{control.AppCodeHeaderQuery, "/a", right, ""},
		{control.AppCodeDisable, "/a", right, "I400MH"},
		{"", "/a?AppCode=code_a", "A: b", ""},
		{control.AppCodeHeaderQuery, "/a?appcode=code_a", "A: b", ""},
		{control.AppCodeHeader, "/a?AppCode=code_a", "A: b", "A400MA"},
		{control.AppCodeDisable, "/a?AppCode=code_a", "A: b", "I400MH"},
		{control.AppCodeDisable, "/a", "A: b", "I400MH"},
		{"", "/a?AppCode=%63ode_a", "A: b", ""}, // decoded as any parameter
		{"", "/a?appCode=nobody&AppCode=code_a", "A: b", "A400AC"},
		{"", "/a?AppCode=code_a", other, "A400AC"},
		{"", "/a?AppCode=code_a", "Authorization: Basic eA==", ""},
		{"", "/a", off, "A400AC"},
		{"", "/a?ApPcOdE=code_a", "A: b", "A400MA"},
		{"", "/a", "A: b", "A400MA"},
		{"", "/a", "Authorization: APPCODE", "A400AC"}, // it claims to be one, and is nobody's
	} {
		d := open(t, book{})
		d.route.AppCode = c.setting
		call, err := d.call(c.target, "", c.line)
		if code(err) != c.want {
			t.Errorf("%s %s %s: %v, want %q", c.setting, c.target, c.line, err, c.want)
		}
		if err == nil && (call.App != "app_a" || call.Key != "key_a" || call.Owner != "acc_a" || call.How != gate.ByAppCode) {
			t.Errorf("%s: %s by %d", c.target, call.App, call.How)
		}
		if strings.Contains(string(call.Query), "code_a") && !strings.Contains(c.target, "ApPcOdE") {
			t.Errorf("%s: %q would go to the seller", c.target, call.Query) // API-05
		}
		if d.nonces.asked != 0 {
			t.Error("an AppCode needs no nonce")
		}
	}
}

// Who claims to have signed is judged by that alone. API-09.
func TestSignatureWins(t *testing.T) {
	d := open(t, book{})
	lines := d.signed("/a?b=1", "", "key_a", "secret", "", noon)
	call, err := d.call("/a?b=1&AppCode=other", "", append(lines, other)...)
	if code(err) != "A403IS" {
		t.Errorf("another query: %v", err)
	}
	if strings.Contains(string(call.Query), "AppCode") {
		t.Errorf("%q would go to the seller", call.Query)
	}
	call, err = d.call("/a?b=1", "", append(lines, other)...)
	if err != nil || call.App != "app_a" || call.Key != "key_a" || call.Owner != "acc_a" || call.How != gate.BySignature {
		t.Errorf("a right signature beside a wrong AppCode: %v %s", err, call.App)
	}
	if _, err = d.call("/a?b=1", "", append(d.signed("/a?b=1", "", "key_a", "wrong", "", noon), right)...); code(err) != "A403IS" {
		t.Errorf("a wrong signature beside a right AppCode: %v", err)
	}
	if _, err = d.call("/a", "", "X-Ca-Signature: x", right); code(err) != "I400MH" {
		t.Errorf("a signature without a key: %v", err)
	}
	for _, key := range []string{"nobody", "key_b"} {
		if _, err = d.call("/a", "", d.signed("/a", "", key, "secret", "", noon)...); code(err) != "A400IK" {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// What was signed cannot be changed. API-06.
func TestWhatWasSignedStays(t *testing.T) {
	d := open(t, book{})
	body := `{"a":1}`
	lines := append(d.signed("/a?b=1", body, "key_a", "secret", "n", noon), "Content-Type: application/json")
	for i, c := range []struct{ target, body, want string }{
		{"/A?b=1", body, "A403IS"}, {"/a?b=2", body, "A403IS"}, {"/a", body, "A403IS"}, {"/a?b=1", `{"a":2}`, "I400I5"},
	} {
		if _, err := d.call(c.target, c.body, lines...); code(err) != c.want && code(err) != "A403IS" {
			t.Errorf("%d: %v, want %s", i, err, c.want)
		}
	}
	if d.nonces.asked != 0 {
		t.Errorf("%d nonces were looked at for calls that were not signed right", d.nonces.asked) // K6
	}
}

// A nonce is good for one call, and is remembered only if the signature was right. K5, K6.
func TestNonces(t *testing.T) {
	d := open(t, book{})
	pass := func(want, secret, nonce string, at time.Duration) {
		t.Helper()
		if _, err := d.call("/a", "", d.signed("/a", "", "key_a", secret, nonce, noon.Add(at))...); code(err) != want {
			t.Errorf("%v, want %q", err, want)
		}
	}
	pass("A403IS", "wrong", "one", 0)
	pass("", "secret", "one", 0)
	pass("S403NU", "secret", "one", 0)
	pass("S403NU", "secret", "one", time.Second) // another timestamp does not make it new
	pass("", "secret", "two", 0)
	pass("", "secret", "", 0)
	pass("", "secret", "", 0)
	d.route.ForceNonce = true
	pass("I400NC", "secret", "", 0)
	d.now = noon.Add(15*time.Minute + time.Millisecond)
	pass("S403TE", "secret", "three", 0)
	d.now = noon.Add(15 * time.Minute)
	pass("", "secret", "three", 0)
	pass("", "secret", "four", 30*time.Minute) // as far ahead as it may be
	pass("S403TE", "secret", "five", 30*time.Minute+time.Millisecond)
}

// A restart forgets nonces: what was signed before it is not taken with one. K9.
func TestNothingIsReplayedAcrossAStart(t *testing.T) {
	d := open(t, book{})
	for _, c := range []struct {
		at    time.Duration
		nonce string
		want  string
	}{
		{-startSkew - time.Millisecond, "a", "S403TE"},
		{-startSkew, "b", ""},
		{-14 * time.Minute, "", ""}, // without a nonce it could be replayed at any time
	} {
		if _, err := d.call("/a", "", d.signed("/a", "", "key_a", "secret", c.nonce, noon.Add(c.at))...); code(err) != c.want {
			t.Errorf("%v before the start: %v, want %q", c.at, err, c.want)
		}
	}
}

// No room for nonces refuses, for the app that took it, with a time to come again. K7.
func TestFullOfNonces(t *testing.T) {
	d := open(t, book{})
	d.nonces.Nonces = memory.New(memory.Options{Budget: 480, Share: 2}) // five for each
	for i := range 5 {
		if _, err := d.call("/a", "", d.signed("/a", "", "key_a", "secret", fmt.Sprint("n", i), noon)...); err != nil {
			t.Fatal(err)
		}
	}
	_, err := d.call("/a", "", d.signed("/a", "", "key_a", "secret", "more", noon)...)
	var r *gate.Refusal
	if !errors.As(err, &r) || r.Code != "T429MR" || r.After <= 0 {
		t.Errorf("the sixth: %v", err)
	}
	if _, err := d.call("/a", "", d.signed("/a", "", "key_a", "secret", "n0", noon)...); code(err) != "S403NU" {
		t.Errorf("the first was forgotten: %v", err)
	}
}

// What cannot be known is nobody's fault: no 400 and no 403. S6.
func TestUnknowable(t *testing.T) {
	gone := errors.New("the store is gone")
	d := open(t, book{gone: gone})
	for _, lines := range [][]string{{right}, d.signed("/a", "", "key_a", "secret", "", noon)} {
		_, err := d.call("/a", "", lines...)
		var u *Unknowable
		if !errors.As(err, &u) || !errors.Is(err, gone) {
			t.Errorf("%v, want an Unknowable", err)
		}
	}
}

// A group may pass its buyers' AppCodes on; the default cuts them out. API-05.
func TestKeptAppCode(t *testing.T) {
	d := open(t, book{})
	d.group.KeepAppCode = true
	if call, err := d.call("/a?b=1&AppCode=code_a", ""); err != nil || string(call.Query) != "b=1&AppCode=code_a" {
		t.Errorf("%q %v", call.Query, err)
	}
}

// doubtful is a book that may be older than what callers have in hand.
type doubtful struct {
	book
	doubt error
}

func (d doubtful) Known() error { return d.doubt }

// Where somebody may have been made, or given another secret, without our knowing, nobody is
// refused for his credentials; who is known and right passes. S6.
func TestNoRefusalInDoubt(t *testing.T) {
	old := errors.New("the last configuration that we know of is old")
	for _, doubt := range []error{nil, old} {
		d := open(t, book{})
		d.gate = New(doubtful{doubt: doubt}, d.nonces, noon)
		for want, lines := range map[string][]string{
			"A400AC": {other},
			"A400IK": d.signed("/a", "", "key_x", "secret", "", noon),
			"A403IS": d.signed("/a", "", "key_a", "another", "", noon),
		} {
			_, err := d.call("/a", "", lines...)
			var u *Unknowable
			if doubt == nil && code(err) != want || doubt != nil && (!errors.As(err, &u) || !errors.Is(err, old)) {
				t.Errorf("%s with the doubt %v: %v", want, doubt, err)
			}
		}
		if _, err := d.call("/a", "", off); doubt != nil && !errors.Is(err, old) {
			t.Errorf("an app that was off: %v", err)
		}
		for _, lines := range [][]string{{right}, d.signed("/a", "", "key_a", "secret", "", noon)} {
			if _, err := d.call("/a", "", lines...); err != nil {
				t.Errorf("who is known, with the doubt %v: %v", doubt, err)
			}
		}
		// What is wrong whoever calls is wrong in doubt, too.
		if _, err := d.call("/a", "", "A: b"); code(err) != "A400MA" {
			t.Errorf("no credential: %v", err)
		}
	}
}
