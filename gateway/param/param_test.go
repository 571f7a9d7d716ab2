package param

import (
	"net/url"
	"testing"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
)

func call() *gate.Call {
	c := &gate.Call{
		Group:  &control.Group{},
		Query:  []byte("a=1&a=2&b=x%20y+z&%63=4&=5&&d"),
		Params: []gate.Param{{Name: "id", Value: []byte("x%2Fy+z")}},
		Fields: gate.Fields{{Name: []byte("x-Name"), Value: []byte("v")}, {Name: []byte("X-Empty")},
			{Name: []byte("Content-Type"), Value: []byte("Application/x-www-form-urlencoded; charset=utf-8")}},
	}
	c.ReadBody = func(c *gate.Call) error {
		c.Body, c.BodyRead = []byte("f=%E5%8C%97&g"), true
		return nil
	}
	return c
}

func TestFind(t *testing.T) {
	for _, tt := range []struct {
		source, want string
		ok           bool
	}{
		{"query:a", "1", true}, // the first counts
		{"query:b", "x y z", true},
		{"query:c", "4", true}, // an escaped name is the name
		{"query:d", "", true},
		{"query:e", "", false},
		{"query:A", "", false},
		{"path:id", "x/y+z", true},
		{"path:no", "", false},
		{"header:X-NAME", "v", true},
		{"header:X-Empty", "", true},
		{"header:X-No", "", false},
		{"form:f", "北", true},
		{"form:g", "", true},
		{"form:a", "", false},
	} {
		s, err := Parse(tt.source)
		if err != nil {
			t.Fatal(err)
		}
		var room [64]byte
		value, ok, err := s.Find(call(), room[:0])
		if err != nil || ok != tt.ok || string(value) != tt.want {
			t.Errorf("%s is %q, %v, %v; want %q, %v", tt.source, value, ok, err, tt.want, tt.ok)
		}
		if s.String() != tt.source {
			t.Errorf("%s became %s", tt.source, s)
		}
	}
	for _, bad := range []string{"", "query", "query:", "cookie:a", "header:a b", "header:a:b"} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("%q is taken for a parameter", bad)
		}
	}
}

func TestWhatIsNoFormIsNotRead(t *testing.T) {
	c := call()
	c.Fields = nil
	c.ReadBody = func(*gate.Call) error { t.Error("the body is read"); return nil }
	if _, ok, err := At("form", "f").Find(c, nil); ok || err != nil {
		t.Errorf("found: %v, %v", ok, err)
	}
}

func TestFindAllocatesNothing(t *testing.T) {
	c, a, b := call(), At("query", "b"), At("header", "X-Name")
	if n := testing.AllocsPerRun(100, func() {
		var room [64]byte
		_, _, _ = a.Find(c, room[:0])
		_, _, _ = b.Find(c, room[:0])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// N5: a value stays a value.
func TestEscapedValuesComeBack(t *testing.T) {
	for _, v := range []string{"", "plain-._~09azAZ", "a b+c&d=e;f/g?h#i%j", "\r\n\x00", "北京", "\xff"} {
		e := string(AppendEscaped(nil, []byte(v)))
		if got, err := url.QueryUnescape(e); err != nil || got != v {
			t.Errorf("%q came back from a query as %q, %v", v, got, err)
		}
		if got, err := url.PathUnescape(e); err != nil || got != v {
			t.Errorf("%q came back from a path as %q, %v", v, got, err)
		}
	}
}

// N5: a path cannot be left.
func TestFitsPath(t *testing.T) {
	for _, v := range []string{"..", ".", "a/../b", `a\..\b`, "%2e%2e", "%2E.", "a%2f..%2fb", "%252e%252e/x", "..;x", "a\x00b", "%00", "/..", "../"} {
		if FitsPath([]byte(v)) {
			t.Errorf("%q fits", v)
		}
	}
	for _, v := range []string{"", "...", "a.b", "..a", "a/b", "100%", "v1.2", ".well-known"} {
		if !FitsPath([]byte(v)) {
			t.Errorf("%q does not fit", v)
		}
	}
}

func TestFitsHeader(t *testing.T) {
	for _, v := range []string{"a\rb", "a\nb", "\x00", "\x7f", "\x1b"} {
		if FitsHeader([]byte(v)) {
			t.Errorf("%q fits", v)
		}
	}
	for _, v := range []string{"", "a\tb", "北京", "a b"} {
		if !FitsHeader([]byte(v)) {
			t.Errorf("%q does not fit", v)
		}
	}
}

// K12: no setting of a seller reaches the credentials that are kept back from him.
func TestCredentialsAreNoParameters(t *testing.T) {
	c := call()
	c.Fields = gate.Fields{{Name: []byte("authorization"), Value: []byte("APPCODE 83359fd73fe94948385f570e3c139105")},
		{Name: []byte("X-Ca-Signature"), Value: []byte("s")}, {Name: []byte("X-Ca-Key"), Value: []byte("k")}}
	for source, want := range map[string]bool{"header:Authorization": false, "header:x-ca-signature": false, "header:X-Ca-Key": true} {
		s, err := Parse(source)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok, _ := s.Find(c, nil); ok != want {
			t.Errorf("%s is there: %v", source, ok)
		}
	}
	c.Fields[0].Value = []byte("Bearer x")
	if _, ok, _ := At("header", "Authorization").Find(c, nil); !ok {
		t.Error("the seller's own authorization is not there")
	}
}
