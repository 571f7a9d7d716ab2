package control

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 123_000_000, time.UTC)

// An ID's text is what callers have always read: a UUID in upper case, with hyphens; and it
// says when the call began. Protocol section 5.
func TestRequestIDText(t *testing.T) {
	seen := map[RequestID]bool{}
	for range 1000 {
		id := NewRequestID(noon)
		text := id.String()
		if len(text) != 36 || text != strings.ToUpper(text) || strings.Count(text, "-") != 4 || text[14] != '7' || !strings.ContainsRune("89AB", rune(text[19])) {
			t.Fatalf("the text is %q", text)
		}
		if at, ok := id.At(); !ok || !at.Equal(noon) {
			t.Fatalf("%s began at %v", id, at)
		}
		for _, spelt := range []string{text, strings.ToLower(text)} {
			if got, err := ParseRequestID(spelt); err != nil || got != id {
				t.Fatalf("%q is read as %v, %v", spelt, got, err)
			}
		}
		if seen[id] {
			t.Fatalf("%s came twice", id)
		}
		seen[id] = true
	}
	for _, bad := range []string{"R1", "0197B3C0-0000-7000-8000-00000000000", "0197B3C0-0000-7000-8000-00000000000G", "0197B3C0x0000-7000-8000-000000000000",
		"0197B3C000000-7000-8000-000000000000"} {
		if id, err := ParseRequestID(bad); !errors.Is(err, ErrRequestID) || !id.IsZero() {
			t.Errorf("%q is read as %v, %v", bad, id, err)
		}
	}
	if _, ok := (RequestID{6: 0x40}).At(); ok {
		t.Error("an ID of another version says a time")
	}
}

func TestRequestIDInJSON(t *testing.T) {
	type box struct{ ID, None RequestID }
	want := box{ID: NewRequestID(noon)}
	b, err := json.Marshal(want)
	if err != nil || string(b) != `{"ID":"`+want.ID.String()+`","None":""}` {
		t.Fatalf("%s, %v", b, err)
	}
	var got box
	if err := json.Unmarshal(b, &got); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestMakingARequestIDAllocatesNothing(t *testing.T) {
	var room [64]byte
	if n := testing.AllocsPerRun(1000, func() {
		id := NewRequestID(noon)
		if text := id.Append(room[:0]); len(text) != 36 {
			t.Fatal(text)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
