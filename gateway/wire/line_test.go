package wire

import (
	"bytes"
	"testing"
)

// A line is copied as it stood, if it stood as most do, and made anew otherwise; of what
// stands behind it nothing is taken along.
func TestAppendLine(t *testing.T) {
	for raw, want := range map[string]string{
		"Name: value\r\nNext: 1\r\n":   "Name: value\r\n",
		"name:value\r\nNext: 1\r\n":    "name: value\r\n",
		"Name:  value \r\nNext: 1\r\n": "Name: value\r\n",
		"Name:\tvalue\r\nNext: 1\r\n":  "Name: value\r\n",
		"Name:\r\nNext: 1\r\n":         "Name: \r\n",
		"Name: value":                  "Name: value\r\n",
	} {
		b := []byte(raw)
		line, _, _ := bytes.Cut(b, []byte("\r\n"))
		colon := bytes.IndexByte(line, ':')
		f := Field{Name: b[:colon], Value: Trim(line[colon+1:])}
		if got := string(f.Append([]byte("A: 1\r\n"))); got != "A: 1\r\n"+want {
			t.Errorf("%q became %q", raw, got)
		}
	}
	apart := Field{Name: []byte("Name"), Value: []byte("value")}
	if got := string(apart.Append(nil)); got != "Name: value\r\n" {
		t.Errorf("%q", got)
	}
}
