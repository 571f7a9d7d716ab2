package setting

import (
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
)

type example struct {
	Name string   `json:"name"`
	For  Duration `json:"for"`
	List []struct {
		Deep int `json:"deep"`
	} `json:"list"`
}

func TestDecode(t *testing.T) {
	var e example
	if err := Decode(control.Raw(`{"name":"a","for":"1m30s","list":[{"deep":3}]}`), &e); err != nil || e.Name != "a" ||
		time.Duration(e.For) != 90*time.Second || e.List[0].Deep != 3 {
		t.Errorf("%+v, %v", e, err)
	}
	if err := Decode(nil, &e); err != nil {
		t.Error(err)
	}
	for text, want := range map[string]string{
		`{"title":"a"}`:           `there is no field "title"; there are name, for, list (deep)`,
		`{"list":[{"x":1}]}`:      `there is no field "x"`,
		`{"name":1}`:              "name is a number, but should be a text",
		`[]`:                      "the setting is a array, but should be an object",
		`{"for":5}`:               `a time is written as "30s"`,
		`{"for":"-1s"}`:           `a time is written as "30s"`,
		`{"name":"a","name":"b"}`: `member "name" comes twice`,
		`{} {}`:                   "more after its end",
		`{"name":`:                "unexpected EOF",
		`{`:                       "unexpected EOF",
		strings.Repeat("[", 65) + strings.Repeat("]", 65): "nested deeper than 64",
	} {
		if err := Decode(control.Raw(text), new(example)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// R3: depth is bounded, however much there is of it.
func TestDepthIsBounded(t *testing.T) {
	if err := CheckJSON([]byte(strings.Repeat(`{"a":`, 64) + "1" + strings.Repeat("}", 64))); err != nil {
		t.Error(err)
	}
	if err := CheckJSON([]byte(strings.Repeat("[", 5_000_000))); err == nil {
		t.Error("five million brackets are good")
	}
}

func FuzzCheckJSON(f *testing.F) {
	f.Add([]byte(`{"a":[1,"b",null,{"c":true}]}`))
	f.Fuzz(func(_ *testing.T, b []byte) { _ = CheckJSON(b) })
}

func TestStatuses(t *testing.T) {
	for text, want := range map[string][2]int{"404": {404, 404}, "5xx": {500, 599}, "100": {100, 100}} {
		if got, err := Statuses(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "600", "6xx", "99", "5x", "4x4", "-12", "5XXX"} {
		if got, err := Statuses(text); err == nil {
			t.Errorf("%s: %v", text, got)
		}
	}
}
