package core

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// The strings that the gateway's own vectors have, for all requests whose escapes are
// whole. SDK-03.
func TestCanonicalIsTheGatewaysOwn(t *testing.T) {
	f, err := os.Open("../../../../signer/testdata/vectors.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	n := 0
	for lines.Scan() {
		var v struct {
			ID      string
			Request struct {
				Target  string
				Headers [][2]string
				Body    *string `json:"body_utf8"`
			}
			Want *string `json:"canonical_string_to_sign"`
		}
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		if v.Want == nil || v.Request.Body == nil {
			continue
		}
		form := ""
		for _, h := range v.Request.Headers {
			if strings.EqualFold(h[0], "Content-Type") && strings.HasPrefix(strings.ToLower(h[1]), "application/x-www-form-urlencoded") {
				form = *v.Request.Body
			}
		}
		n++
		if got := canonical(v.Request.Target, form); !strings.HasSuffix(*v.Want, "\n"+got) {
			t.Errorf("%s: %q is not the end of %q", v.ID, got, *v.Want)
		}
	}
	if err := lines.Err(); err != nil || n < 100 {
		t.Fatalf("%d vectors, %v", n, err)
	}
}

func core(t *testing.T, answer http.HandlerFunc) (*Core, *Call) {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	c, err := New(Options{AppKey: "1", AppSecret: "2"}, "test")
	if err != nil {
		t.Fatal(err)
	}
	c.wait = func(context.Context, time.Duration) error { return nil }
	return c, &Call{Method: "GET", Path: "/", BaseURL: s.URL}
}

// A clock that is wrong is set by the gateway's, once, and remembered.
func TestClockIsCorrected(t *testing.T) {
	ahead := time.Now().Add(3 * time.Hour)
	calls := 0
	c, call := core(t, func(w http.ResponseWriter, r *http.Request) {
		calls++
		var at int64
		fmt.Sscan(r.Header.Get("X-Ca-Timestamp"), &at)
		w.Header().Set("Date", ahead.UTC().Format(http.TimeFormat))
		if ahead.Sub(time.UnixMilli(at)).Abs() > time.Minute {
			w.Header().Set("X-Ca-Error-Code", "S403TE")
			w.WriteHeader(403)
			return
		}
		fmt.Fprint(w, "{}")
	})
	for i, want := range []int{2, 3} {
		if _, err := Send[any](context.Background(), c, call); err != nil || calls != want {
			t.Fatalf("call %d: %v after %d requests, want %d", i+1, err, calls, want)
		}
	}
}

func TestClockThatCannotBeCorrected(t *testing.T) {
	calls := 0
	c, call := core(t, func(w http.ResponseWriter, r *http.Request) {
		calls++
		w.Header().Set("X-Ca-Error-Code", "S403TE")
		w.WriteHeader(403)
	})
	_, err := Send[any](context.Background(), c, call)
	var e *Error
	if !errors.As(err, &e) || e.Kind != Auth || calls != 2 {
		t.Errorf("%v after %d requests", err, calls)
	}
}

func TestRetryAfterIsHonouredUpToALimit(t *testing.T) {
	for after, want := range map[string]int{"1": 3, "20": 3, "21": 1, "-1": 1, "soon": 3} {
		calls := 0
		c, call := core(t, func(w http.ResponseWriter, r *http.Request) {
			calls++
			w.Header().Set("X-Ca-Error-Code", "T429PA")
			w.Header().Set("Retry-After", after)
			w.WriteHeader(429)
		})
		if _, err := Send[any](context.Background(), c, call); err == nil || calls != want {
			t.Errorf("after %s: %d requests, want %d", after, calls, want)
		}
	}
}

// A service that is down gets ten tries more, not two for each call.
func TestDeadServiceIsLeftAlone(t *testing.T) {
	calls := 0
	c, call := core(t, func(w http.ResponseWriter, r *http.Request) {
		calls++
		w.Header().Set("X-Ca-Error-Code", "X503BZ")
		w.WriteHeader(503)
	})
	for i := 0; i < 50; i++ {
		if _, err := Send[any](context.Background(), c, call); err == nil {
			t.Fatal("no error")
		}
	}
	if calls != 60 {
		t.Errorf("%d requests for 50 calls, want 60", calls)
	}
}

// A redirect is an answer: following it would send a signature that is not its own.
func TestRedirectIsNotFollowed(t *testing.T) {
	calls := 0
	c, call := core(t, func(w http.ResponseWriter, r *http.Request) {
		calls++
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	})
	var e *Error
	if _, err := Send[any](context.Background(), c, call); !errors.As(err, &e) || e.Status != 302 || calls != 1 {
		t.Errorf("%v after %d requests", err, calls)
	}
}

func TestTimeoutIsNotRepeated(t *testing.T) {
	release := make(chan struct{})
	calls := make(chan bool, 10)
	c, call := core(t, func(w http.ResponseWriter, r *http.Request) {
		calls <- true
		<-release
	})
	defer close(release)
	c.options.Timeout = 50 * time.Millisecond
	var e *Error
	if _, err := Send[any](context.Background(), c, call); !errors.As(err, &e) || e.Kind != Transport || len(calls) != 1 {
		t.Errorf("%v after %d requests", err, len(calls))
	}
	if !errors.Is(e, context.DeadlineExceeded) {
		t.Errorf("%v hides its reason", e)
	}
}

func TestHintNamesTheLine(t *testing.T) {
	e := &Error{Code: "A403IS", Message: wrongSignature + "GET#application/json##text/plain##x-ca-key:1#/a`"}
	e.explain("GET\napplication/json\n\napplication/json\n\nx-ca-key:1\n/a")
	if want := `Content-Type: sent "application/json", the gateway saw "text/plain"`; e.Hint != want {
		t.Errorf("%s, want %s", e.Hint, want)
	}
}

func TestAppCodeNeedsEncryption(t *testing.T) {
	c, err := New(Options{AppCode: "code"}, "test")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Send[any](context.Background(), c, &Call{Method: "GET", Path: "/", BaseURL: "http://group.example.com"})
	if err == nil || !strings.Contains(err.Error(), "without encryption") || strings.Contains(err.Error(), "code,") {
		t.Errorf("%v", err)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	o := Options{AppKey: "1", AppSecret: "hidden", AppCode: "hidden"}
	for _, text := range []string{fmt.Sprint(o), fmt.Sprintf("%+v %#v %s", o, o, o)} {
		if strings.Contains(text, "hidden") {
			t.Error(text)
		}
	}
}

type inner struct {
	City  string `wire:"城市"`
	Extra map[string]any
}

type outer struct {
	Text  string             `wire:"text"`
	Whole int64              `wire:"whole"`
	Part  float64            `wire:"part"`
	Flag  bool               `wire:"flag"`
	List  []inner            `wire:"list"`
	Table map[string]float64 `wire:"table"`
	Next  *outer             `wire:"next"`
	Any   any                `wire:"any"`
	Extra map[string]any
}

// What a seller's server sends is read if there is any sense in it.
func TestDecodeIsPatient(t *testing.T) {
	for text, want := range map[string]string{
		`{"text":1.50,"whole":"7","part":"0.5","flag":"1"}`: `{1.50 7 0.5 true [] map[] <nil> <nil> map[]} []`,
		`{"text":true,"whole":3.0,"part":2,"flag":0}`:       `{true 3 2 false [] map[] <nil> <nil> map[]} []`,
		`{"list":"","table":null,"next":"","whole":""}`:     `{ 0 0 false [] map[] <nil> <nil> map[]} []`,
		`{"list":[{"城市":"杭州"},{"more":9007199254740993}]}`:  `{ 0 0 false [{杭州 map[]} { map[more:9007199254740993]}] map[] <nil> <nil> map[]} []`,
		`{"table":{"a":"1"},"any":[1,{"b":2.5}]}`:           `{ 0 0 false [] map[a:1] <nil> [1 map[b:2.5]] map[]} []`,
		`{"whole":1.5,"flag":"maybe","list":{}}`:            `{ 0 0 false [] map[] <nil> <nil> map[]} [$.whole: a whole number expected, got json.Number $.flag: true or false expected, got string $.list: a list expected, got map[string]interface {}]`,
		`[1]`:                                               `{ 0 0 false [] map[] <nil> <nil> map[]} [$: an object expected, got []interface {}]`,
		``:                                                  `{ 0 0 false [] map[] <nil> <nil> map[]} []`,
		`<html>500`:                                         `{ 0 0 false [] map[] <nil> <nil> map[]} [the body is not JSON: invalid character '<' looking for beginning of value]`,
	} {
		var o outer
		issues := Decode([]byte(text), &o)
		if issues == nil {
			issues = []string{}
		}
		if got := fmt.Sprint(o, issues); got != want {
			t.Errorf("%s:\n got %s\nwant %s", text, got, want)
		}
	}
	var s string
	var b []byte
	var a any
	if Decode([]byte("plain"), &s); s != "plain" {
		t.Errorf("text: %q", s)
	}
	if Decode([]byte{0, 255}, &b); len(b) != 2 {
		t.Errorf("bytes: %v", b)
	}
	if issues := Decode([]byte("not JSON"), &a); a != "not JSON" || len(issues) != 1 {
		t.Errorf("anything: %v, %v", a, issues)
	}
}

type sent struct {
	Must  []string `wire:"must" must:"true"`
	May   []string `wire:"may"`
	Name  *string  `wire:"a\"b,c"`
	Inner *sent    `wire:"inner"`
}

func TestEncodeLeavesOutWhatIsNotSet(t *testing.T) {
	name := "<中>"
	got, err := marshal(map[string]any{"b": sent{Name: &name, Inner: &sent{May: []string{}}}, "a": []any{nil, 1.5, true}})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"a":[null,1.5,true],"b":{"must":[],"a\"b,c":"<中>","inner":{"must":[],"may":[]}}}`
	if string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
