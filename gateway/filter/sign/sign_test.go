package sign

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"sync"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/filter/filtertest"
	"github.com/souk-market/souk/gateway/gate"
)

func bench(t *testing.T) *filtertest.Bench {
	b := filtertest.New(t, "sign")
	b.Secrets["sec_a"], b.Secrets["sec_b"], b.Secrets["sec_short"] = "0123456789abcdef", "fedcba9876543210", "short"
	return b
}

const two = `{"keys":[{"id":"new","secret":"sec_b","from":"2026-11-24T13:00:00Z"},{"id":"old","secret":"sec_a"}],"headers":["X-City"],"digest":true}`

// K14: the seller can tell that a call came from us; the string is written out here, so
// that it stays what sellers have built on.
func TestSignature(t *testing.T) {
	b := bench(t)
	c := b.Call("POST /a%2Fb?z=1&a=%31&e=", "Content-Type: application/json", "X-City: Hz", "Accept: */*", "x_ca_proxy_signature: forged",
		"X-Ca-Signature-Headers: X-Evil", "", "{}")
	filtertest.Refused(t, b.Run(b.Make(two), c, filtertest.OK("")), "")
	o := c.Outgoing()
	const text = "POST\n*/*\nmZFLkyvTelC5g8XnyQrpOw==\napplication/json\n\n" +
		"x-ca-proxy-signature-secret-key:old\nx-ca-proxy-timestamp:1795521600000\nx-ca-request-id:11111111-2222-4333-8444-555555555555\nx-city:Hz\n" +
		"/a%2Fb?a=1&e&z=1"
	mac := hmac.New(sha256.New, []byte("0123456789abcdef"))
	mac.Write([]byte(text))
	for name, want := range map[string]string{
		"X-Ca-Proxy-Signature":            base64.StdEncoding.EncodeToString(mac.Sum(nil)),
		"X-Ca-Proxy-Signature-Headers":    "x-ca-proxy-signature-secret-key,x-ca-proxy-timestamp,x-ca-request-id,x-city",
		"X-Ca-Proxy-Signature-Secret-Key": "old",
		"X-Ca-Proxy-Timestamp":            "1795521600000",
		"x_ca_proxy_signature":            "",
	} {
		if got := filtertest.Header(o.Fields, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// K14: a key takes over at its time.
func TestRotation(t *testing.T) {
	b := bench(t)
	chain := b.Make(two)
	used := func() string {
		c := b.Call("GET /")
		b.Run(chain, c, filtertest.OK(""))
		return filtertest.Header(c.Outgoing().Fields, "X-Ca-Proxy-Signature-Secret-Key")
	}
	b.Pass(time.Hour - time.Millisecond)
	if got := used(); got != "old" {
		t.Errorf("before its time %s is used", got)
	}
	b.Pass(time.Millisecond)
	if got := used(); got != "new" {
		t.Errorf("at its time %s is used", got)
	}
}

// What another filter made is what is signed; a body is read only if that is asked for.
func TestSignsWhatGoesOut(t *testing.T) {
	b := bench(t)
	plain := b.Make(`{"keys":[{"id":"k","secret":"sec_a"}]}`)
	if plain.Body != 0 || b.Make(two).Body != MaxBody {
		t.Error("it reads bodies, or does not")
	}
	sign := func(change func(*gate.Outgoing)) string {
		c := b.Call("POST /a?b=c", "Content-Type: application/x-www-form-urlencoded")
		change(c.Outgoing())
		b.Run(plain, c, filtertest.OK(""))
		return filtertest.Header(c.Outgoing().Fields, "X-Ca-Proxy-Signature")
	}
	first := sign(func(*gate.Outgoing) {})
	for name, change := range map[string]func(*gate.Outgoing){
		"path":   func(o *gate.Outgoing) { o.Path = []byte("/b") },
		"query":  func(o *gate.Outgoing) { o.Query = []byte("b=d") },
		"method": func(o *gate.Outgoing) { o.Method = []byte("PUT") },
		"body":   func(o *gate.Outgoing) { o.Body, o.HasBody = []byte("x=y"), true },
		"type":   func(o *gate.Outgoing) { o.Set([]byte("Content-Type"), []byte("text/plain")) },
	} {
		if sign(change) == first {
			t.Errorf("another %s has the same signature", name)
		}
	}
}

func TestSigningAtOnce(t *testing.T) {
	b := bench(t)
	chain := b.Make(`{"keys":[{"id":"k","secret":"sec_a"}]}`)
	sign := func(path string) string {
		c := b.Call("GET " + path)
		if err := chain.Send[0].Send(c); err != nil {
			t.Error(err)
		}
		return filtertest.Header(c.Outgoing().Fields, "X-Ca-Proxy-Signature")
	}
	want := [2]string{sign("/a"), sign("/b")}
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for i := range 200 {
				if got := sign([]string{"/a", "/b"}[i%2]); got != want[i%2] {
					t.Errorf("signed %s, want %s", got, want[i%2])
				}
			}
		})
	}
	wait.Wait()
}

func TestWrongSettings(t *testing.T) {
	bench(t).Wrong(map[string]string{
		`{}`: `it needs "keys"`,
		`{"keys":[{"id":"a b","secret":"sec_a"}]}`:                             `the id "a b"`,
		`{"keys":[{"id":"a","secret":"sec_none"}]}`:                            "there is no secret sec_none",
		`{"keys":[{"id":"a","secret":"sec_short"}]}`:                           "at least 16 bytes",
		`{"keys":[{"id":"a","secret":"sec_a"},{"id":"a","secret":"sec_b"}]}`:   "two keys have the id",
		`{"keys":[{"id":"a","secret":"sec_a","from":"2026-01-01T00:00:00Z"}]}`: `without "from"`,
		`{"keys":[{"id":"a","secret":"sec_a"}],"headers":["Connection"]}`:      "changes on its way",
		`{"keys":[{"id":"a","secret":"sec_a","from":"tomorrow"}]}`:             "tomorrow",
	})
}

func BenchmarkSign(b *testing.B) {
	bench := filtertest.New(b, "sign")
	bench.Secrets["sec_a"] = "0123456789abcdef"
	chain := bench.Make(`{"keys":[{"id":"k","secret":"sec_a"}]}`)
	c := bench.Call("GET /a?b=c", "Accept: */*", "X-A: b")
	b.ReportAllocs()
	for b.Loop() {
		_ = chain.Send[0].Send(c)
	}
}
