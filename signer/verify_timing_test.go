package signer

import (
	"testing"
	"time"
)

// peek finds headers without allocating, as an HTTP server does.
type peek [][2][]byte

func (h *peek) Header(name []byte) []byte {
	for _, field := range *h {
		if equalFold(field[0], name) {
			return field[1]
		}
	}
	return nil
}

// warm is a call as the SDKs make it, with a verifier that has seen one before.
func warm(t testing.TB, body, contentType string) (*Verifier, *Request) {
	t.Helper()
	header := map[string]string{"Accept": "application/json", "Content-Type": contentType}
	method := "POST"
	if body == "" {
		method = "GET"
		delete(header, "Content-Type")
	}
	c := Call{Method: method, URL: "/v1/weather/now?city=%E6%9D%AD%E5%B7%9E&days=3&lang=zh", Header: header, Body: []byte(body), Nonce: "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", Stage: "RELEASE"}
	r := call(t, c)
	var h peek
	for _, m := range r.Headers.(callHeaders) {
		for name, value := range m {
			h = append(h, [2][]byte{[]byte(name), []byte(value)})
		}
	}
	r.Headers = &h
	v := new(Verifier)
	if _, err := v.Verify(r, []byte(secret), Rules{Now: noon}); err != nil {
		t.Fatal(err)
	}
	return v, r
}

var bodies = []struct{ name, text, contentType string }{
	{"get", "", ""},
	{"json", `{"city":"杭州","days":3}`, "application/json"},
	{"form", "image=aGVsbG8%3D&side=front", "application/x-www-form-urlencoded; charset=utf-8"},
}

func TestWarmVerifyAllocatesNothing(t *testing.T) {
	for _, b := range bodies {
		v, r := warm(t, b.text, b.contentType)
		key := []byte(secret)
		rules := Rules{Now: noon, Window: time.Minute}
		got := testing.AllocsPerRun(100, func() {
			if _, err := Key(r.Headers); err != nil {
				t.Fatal(err)
			}
			if _, err := v.Verify(r, key, rules); err != nil {
				t.Fatal(err)
			}
		})
		if got != 0 {
			t.Errorf("%s: %v allocations, want none", b.name, got)
		}
	}
	auth, query, room := []byte("APPCODE abc"), []byte("a=1&App%43ode=%41&b=2"), make([]byte, 0, 64)
	if got := testing.AllocsPerRun(100, func() {
		AppCode(auth, query, room)
		AppCode(nil, query, room)
		AppendWithoutAppCode(room, query)
	}); got != 0 {
		t.Errorf("AppCode: %v allocations, want none", got)
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, body := range bodies {
		b.Run(body.name, func(b *testing.B) {
			v, r := warm(b, body.text, body.contentType)
			key := []byte(secret)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(r, key, Rules{Now: noon}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRefuse is the dearest refusal: every form differs, and none matches.
func BenchmarkRefuse(b *testing.B) {
	header := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	r := call(b, Call{Method: "POST", URL: "/%E5%8C%97?a=%20&a=2&e=&c=1", Header: header, Body: []byte("c=2")})
	v, key := new(Verifier), []byte("another")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(r, key, Rules{Now: noon}); err == nil {
			b.Fatal("accepted")
		}
	}
}
