package signer

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"hash"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var noon = time.UnixMilli(1_795_434_639_333)

const secret = "k9JzQ2mVfS0xYtB7pLrW3nHcDgE5aUoX"

// call signs a call and gives it to whoever checks.
func call(t testing.TB, c Call) *Request {
	t.Helper()
	if c.Method == "" {
		c.Method = "GET"
	}
	if c.Now.IsZero() {
		c.Now = noon
	}
	c.Key, c.Secret = "203753385", secret
	s, err := Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	return &Request{
		Method: []byte(c.Method), Target: []byte(c.URL), Body: c.Body,
		Headers: callHeaders{c.Header, s.Header},
	}
}

func verify(r *Request, rules Rules) (Proof, error) {
	if rules.Now.IsZero() {
		rules.Now = noon
	}
	var v Verifier
	return v.Verify(r, []byte(secret), rules)
}

// with is r with one header more, or another value of it.
func with(r *Request, name, value string) *Request {
	changed := *r
	changed.Headers = append(append(callHeaders{}, r.Headers.(callHeaders)...), map[string]string{name: value})
	return &changed
}

// Each thing that a signature covers, changed on its way. API-06, GWC-03.
func TestChangeInvalidates(t *testing.T) {
	json := map[string]string{"Accept": "application/json", "Content-Type": "application/json"}
	r := call(t, Call{Method: "POST", URL: "/a?b=1", Header: json, Body: []byte(`{"x":1}`), Nonce: "n-1"})
	proof, err := verify(r, Rules{CanonicalOnly: true})
	if err != nil || string(proof.Nonce) != "n-1" || proof.Timestamp != noon.UnixMilli() || proof.Form != Canonical {
		t.Fatalf("unchanged: %+v, %v", proof, err)
	}
	refused := func(what string, changed *Request, code string) {
		t.Helper()
		_, err := verify(changed, Rules{})
		var fault *Fault
		if !errors.As(err, &fault) || fault.Code != code {
			t.Errorf("%s: %v, want %s", what, err, code)
		}
	}
	method, target, body := *r, *r, *r
	method.Method, target.Target, body.Body = []byte("PUT"), []byte("/a?b=2"), []byte(`{"x":2}`)
	refused("method", &method, "A403IS")
	refused("query", &target, "A403IS")
	refused("body", &body, "I400I5")
	refused("path", &Request{Method: r.Method, Target: []byte("/A?b=1"), Headers: r.Headers, Body: r.Body}, "A403IS")
	refused("no body", &Request{Method: r.Method, Target: r.Target, Headers: r.Headers}, "I400I5")
	refused("digest", with(r, HeaderContentMD5, ""), "A403IS")
	refused("accept", with(r, "Accept", "*/*"), "A403IS")
	refused("date", with(r, "Date", "x"), "A403IS")
	refused("nonce", with(r, HeaderNonce, "n-2"), "A403IS")
	refused("key", with(r, HeaderKey, "203753386"), "A403IS")
	refused("signature", with(r, HeaderSignature, "AAAA"), "A403IS")
	refused("no signature", with(r, HeaderSignature, " "), "I400MH")

	form := map[string]string{"Accept": "*/*", "Content-Type": "application/x-www-form-urlencoded"}
	f := call(t, Call{Method: "POST", URL: "/a", Header: form, Body: []byte("x=1&y=2")})
	if _, err := verify(f, Rules{}); err != nil {
		t.Errorf("form: %v", err)
	}
	f.Body = []byte("x=1&y=3")
	refused("form field", f, "A403IS")
	f.Body = []byte("x=1&y=2")
	refused("digest of a form", with(f, HeaderContentMD5, "1B2M2Y8AsgTpgAmY7PhCfg=="), "I400I5")
}

// GWC-01: the window is 15 minutes, both ways, and the limit itself is inside.
func TestWindow(t *testing.T) {
	for _, c := range []struct {
		off  time.Duration
		want error
	}{
		{-Window - time.Millisecond, TimestampExpired},
		{-Window, nil},
		{-Window + time.Millisecond, nil},
		{0, nil},
		{Window - time.Millisecond, nil},
		{Window, nil},
		{Window + time.Millisecond, TimestampExpired},
	} {
		r := call(t, Call{URL: "/", Now: noon.Add(c.off)})
		if _, err := verify(r, Rules{}); !errors.Is(err, c.want) {
			t.Errorf("off by %v: %v, want %v", c.off, err, c.want)
		}
	}
	r := call(t, Call{URL: "/", Now: noon.Add(2 * time.Second)})
	if _, err := verify(r, Rules{Window: time.Second}); err != TimestampExpired {
		t.Errorf("a narrower window: %v", err)
	}
}

func TestTimestampIsANumber(t *testing.T) {
	r := call(t, Call{URL: "/"})
	for text, want := range map[string]error{
		"-1": TimestampInvalid, "12x": TimestampInvalid, "1.5e3": TimestampInvalid, "１": TimestampInvalid,
		"0": TimestampExpired, strings.Repeat("9", 400): TimestampExpired,
	} {
		if _, err := verify(with(r, HeaderTimestamp, text), Rules{}); err != want {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
}

func TestMethods(t *testing.T) {
	weak := call(t, Call{URL: "/", SHA1: true})
	if _, err := verify(weak, Rules{}); err != MethodForbidden {
		t.Errorf("HmacSHA1 by default: %v", err)
	}
	if _, err := verify(weak, Rules{AllowSHA1: true}); err != nil {
		t.Errorf("HmacSHA1 where it is allowed: %v", err)
	}
	if _, err := verify(with(weak, HeaderSignatureMethod, "HmacMD5"), Rules{AllowSHA1: true}); err != MethodUnknown {
		t.Errorf("HmacMD5: %v", err)
	}
}

func TestCanonicalOnly(t *testing.T) {
	var v Verifier
	r := call(t, Call{URL: "/%E5%8C%97?a=%20"})
	text := v.StringToSign(r, PathDecoded|ParamsRaw)
	r = with(r, HeaderSignature, string(v.mac.sign([]byte(secret), text, false)))
	if proof, err := verify(r, Rules{}); err != nil || proof.Form != PathDecoded|ParamsRaw {
		t.Errorf("%v, %v", proof.Form, err)
	}
	var fault *Fault
	if _, err := verify(r, Rules{CanonicalOnly: true}); !errors.As(err, &fault) || fault.Code != "A403IS" {
		t.Errorf("only canonical: %v", err)
	}
}

// The message shows what we would have signed, as one line, and not too long a line.
func TestWrongSignatureMessage(t *testing.T) {
	r := with(call(t, Call{URL: "/a?x=%00%0D%7F北"}), HeaderSignature, "wrong")
	_, err := verify(r, Rules{})
	fault := err.(*Fault)
	if fault.Status != 403 || !strings.HasPrefix(fault.Message, "Invalid Signature, Server StringToSign:`GET#####") ||
		!strings.HasSuffix(fault.Message, "#/a?x=###北`") {
		t.Errorf("%+v", fault)
	}
	for cut := range 4 {
		r := with(call(t, Call{URL: "/a" + strings.Repeat("a", cut) + strings.Repeat("北", 3000)}), HeaderSignature, "wrong")
		_, err := verify(r, Rules{CanonicalOnly: true})
		got := err.(*Fault).Message
		if len(got) > 4096 || len(got) < 4090 || !utf8.ValidString(got) || !strings.HasSuffix(got, "北`") {
			t.Errorf("%d bytes, ends with %q", len(got), got[len(got)-8:])
		}
	}
}

func TestReadsBody(t *testing.T) {
	is := func(want bool, header map[string]string) {
		t.Helper()
		if got := (&Request{Headers: callHeaders{header}}).ReadsBody(); got != want {
			t.Errorf("%v: %v", header, got)
		}
	}
	is(false, nil)
	is(false, map[string]string{"Content-Type": "application/json"})
	is(true, map[string]string{"Content-Type": "application/x-www-form-urlencoded ; charset=GBK"})
	is(true, map[string]string{"content-md5": "x"})
}

func TestMACIsHMAC(t *testing.T) {
	var m mac
	for _, key := range []string{"", "k", strings.Repeat("k", 64), strings.Repeat("k", 65), strings.Repeat("密", 99)} {
		for weak, h := range map[bool]func() hash.Hash{false: sha256.New, true: sha1.New} {
			want := hmac.New(h, []byte(key))
			want.Write([]byte("text"))
			if got := string(m.sign([]byte(key), []byte("text"), weak)); got != base64.StdEncoding.EncodeToString(want.Sum(nil)) {
				t.Errorf("key of %d bytes, weak %v: %s", len(key), weak, got)
			}
		}
	}
}

// One large form must not make the pool large forever.
func TestLargeRequestIsLetGo(t *testing.T) {
	header := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	r := call(t, Call{Method: "POST", URL: "/", Header: header, Body: []byte(strings.Repeat("a%20b=c%20d&", 20_000))})
	var v Verifier
	if _, err := v.Verify(r, []byte(secret), Rules{Now: noon}); err != nil {
		t.Fatal(err)
	}
	if b := &v.builder; cap(b.text) > keep || cap(b.arena) > keep || cap(b.decoded) > keep {
		t.Errorf("keeps %d, %d, %d", cap(b.text), cap(b.arena), cap(b.decoded))
	}
}

func TestSignNeedsCredentials(t *testing.T) {
	if _, err := Sign(Call{URL: "/", Key: "1"}); err == nil {
		t.Error("signed without a secret")
	}
	if _, err := Sign(Call{URL: "http://a b/", Key: "1", Secret: "2"}); err == nil {
		t.Error("signed a broken URL")
	}
}
