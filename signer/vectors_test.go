package signer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

// vector is a recorded request with what a gateway must say to it; protocol section 8.
type vector struct {
	ID          string
	Kind        string
	NowMS       int64 `json:"now_ms"`
	Credentials struct {
		AppKey    string `json:"app_key"`
		AppSecret string `json:"app_secret"`
		AppCode   string `json:"app_code"`
	}
	Request struct {
		Head []byte `json:"head_b64"`
		Body []byte `json:"body_b64"`
	}
	Canonical *string `json:"canonical_string_to_sign"`
	Client    *string `json:"client_string_to_sign"`
	Expect    struct {
		Verdict string
		Form    string
		Status  int
		Code    string `json:"error_code"`
		Message string `json:"message_contains"`
	}
	Repeat int
}

func vectors(t testing.TB) []vector {
	t.Helper()
	f, err := os.Open("testdata/vectors.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []vector
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var v vector
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// wireHeaders are headers as the bytes of a request's head.
type wireHeaders [][2][]byte

func (h wireHeaders) Header(name []byte) []byte {
	for _, field := range h {
		if equalFold(field[0], name) {
			return field[1]
		}
	}
	return nil
}

func (v *vector) parse(t testing.TB) *Request {
	t.Helper()
	lines := bytes.Split(bytes.TrimSuffix(v.Request.Head, []byte("\r\n\r\n")), []byte("\r\n"))
	first := bytes.SplitN(lines[0], []byte(" "), 3)
	if len(first) != 3 {
		t.Fatalf("request line %q", lines[0])
	}
	var h wireHeaders
	for _, line := range lines[1:] {
		name, value := cut(line, ':')
		h = append(h, [2][]byte{name, value})
	}
	return &Request{Method: first[0], Target: first[1], Headers: h, Body: v.Request.Body}
}

// gate is the smallest gateway: one app, a memory of nonces, the order of section 4.4.
type gate struct {
	v      *vector
	nonces map[string]bool
	form   Form
}

func (g *gate) check(r *Request, now time.Time) error {
	if IsSigned(r.Headers) {
		return g.checkSigned(r, now)
	}
	code, place := AppCode(r.header([]byte(HeaderAuthorization)), r.query(), nil)
	if place == Nowhere {
		return NoCredentials
	}
	if string(code) != g.v.Credentials.AppCode {
		return UnknownCode
	}
	return nil
}

func (g *gate) checkSigned(r *Request, now time.Time) error {
	key, err := Key(r.Headers)
	if err != nil {
		return err
	}
	if string(key) != g.v.Credentials.AppKey {
		return UnknownKey
	}
	var verifier Verifier
	proof, err := verifier.Verify(r, []byte(g.v.Credentials.AppSecret), Rules{Now: now, AllowSHA1: true})
	if err != nil {
		return err
	}
	g.form = proof.Form
	if len(proof.Nonce) > 0 {
		if g.nonces[string(proof.Nonce)] {
			return NonceUsed
		}
		g.nonces[string(proof.Nonce)] = true
	}
	return nil
}

// Real requests of the libraries that buyers have. GWC-01, GWC-02, GWC-04, API-04, API-06.
func TestVectors(t *testing.T) {
	all := vectors(t)
	if len(all) != 187 {
		t.Fatalf("%d vectors, want 187", len(all))
	}
	for _, v := range all {
		t.Run(v.ID, func(t *testing.T) {
			r := v.parse(t)
			if v.Canonical != nil {
				var verifier Verifier
				if got := string(verifier.StringToSign(r, Canonical)); got != *v.Canonical {
					t.Errorf("string to sign\n got %q\nwant %q", got, *v.Canonical)
				}
			}
			g := gate{v: &v, nonces: map[string]bool{}}
			var err error
			for i := range max(1, v.Repeat) {
				err = g.check(r, time.UnixMilli(v.NowMS+int64(i)))
			}
			switch v.Expect.Verdict {
			case "accept":
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				if v.Kind == "signature" && v.Expect.Form != "" && g.form.String() != v.Expect.Form {
					t.Errorf("matched as %s, want %s", g.form, v.Expect.Form)
				}
			case "reject":
				v.checkRefusal(t, err)
			}
		})
	}
}

func (v *vector) checkRefusal(t *testing.T, err error) {
	t.Helper()
	fault, ok := err.(*Fault)
	if !ok {
		t.Fatalf("accepted, or no fault: %v", err)
	}
	want := v.Expect
	if want.Code != "" && fault.Code != want.Code {
		t.Errorf("code %s, want %s", fault.Code, want.Code)
	}
	if want.Status != 0 && fault.Status != want.Status {
		t.Errorf("status %d, want %d", fault.Status, want.Status)
	}
	if !strings.Contains(fault.Message, want.Message) {
		t.Errorf("message %q has no %q", fault.Message, want.Message)
	}
	if fault.Code == "A403IS" && v.Canonical != nil {
		shown := wrongPrefix + strings.ReplaceAll(*v.Canonical, "\n", "#") + "`"
		if fault.Message != shown {
			t.Errorf("message %q, want %q", fault.Message, shown)
		}
	}
}

// What the libraries signed is one of the forms that we try, not something near it.
func TestFormsAreTheLibrariesOwn(t *testing.T) {
	for _, v := range vectors(t) {
		if v.Expect.Verdict != "accept" || v.Client == nil || v.Kind != "signature" {
			continue
		}
		var verifier Verifier
		r := v.parse(t)
		found := string(verifier.StringToSign(r, Canonical)) == *v.Client
		for _, f := range others {
			found = found || string(verifier.StringToSign(r, f)) == *v.Client
		}
		if !found {
			t.Errorf("%s: no form gives %q", v.ID, *v.Client)
		}
	}
}
