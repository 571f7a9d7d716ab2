package mapping

import (
	"bytes"
	"net/url"
	"strings"
	"testing"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/param"
	"github.com/souk-market/souk/signer"
)

// N5: whatever a caller writes, it is one value at the seller, or it is refused.
func FuzzValuesStayValues(f *testing.F) {
	for _, s := range []string{"a", "..", "a/b", "%2e%2e", "\r\nX: y", "a&b=c#d", "\x00", "北京", "\xff%", "a;b"} {
		f.Add(s)
	}
	r := &control.Route{Path: "/a", UpstreamPath: "/x/[p]/y", Parameters: []control.Parameter{
		{Name: "v", In: "query", To: "path", ToName: "p"}, {Name: "w", In: "query", To: "header", ToName: "X-W"},
		{Name: "u", In: "query", To: "form"}, {Name: "h", In: "header", To: "query", ToName: "q"}}}
	m, err := Prepare(r)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, value string) {
		escaped := string(param.AppendEscaped(nil, []byte(value)))
		c := call(r, "/a?v="+escaped+"&w="+escaped+"&u="+escaped+"&z=1", "")
		if param.FitsHeader([]byte(value)) {
			c = call(r, "/a?v="+escaped+"&w="+escaped+"&u="+escaped+"&z=1", "", "h", value)
		}
		if m.Apply(c) != nil {
			if param.FitsHeader([]byte(value)) && value != "" && param.FitsPath([]byte(value)) {
				t.Errorf("%q is refused", value)
			}
			return
		}
		o := c.Outgoing()
		segments := strings.Split(string(o.Path), "/")
		if len(segments) != 4 || segments[1] != "x" || segments[3] != "y" {
			t.Fatalf("%q made the path %s", value, o.Path)
		}
		if got, err := url.PathUnescape(segments[2]); err != nil || got != value {
			t.Errorf("%q came through the path as %q, %v", value, got, err)
		}
		if got := string(o.Fields.Header([]byte("X-W"))); got != value || strings.ContainsAny(got, "\r\n\x00") {
			t.Errorf("%q came through the header as %q", value, got)
		}
		for name, text := range map[string][]byte{"u": o.Body, "q": o.Query} {
			if n := bytes.Count(text, []byte{'='}); name == "u" && n != 1 || name == "q" && n != 2 {
				t.Errorf("%q made %s", value, text)
			}
			if got, _ := param.Raw(text, []byte(name)); string(signer.AppendDecoded(nil, got, true)) != value {
				t.Errorf("%q came through as %q", value, got)
			}
		}
	})
}
