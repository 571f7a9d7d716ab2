package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	token "github.com/golang-jwt/jwt/v5"

	"github.com/souk-market/souk/gateway/filter/filtertest"
	"github.com/souk-market/souk/gateway/gate"
)

const secret = "0123456789abcdef0123456789abcdef"

func bench(t testing.TB) *filtertest.Bench {
	b := filtertest.New(t, "jwt")
	b.Secrets["sec_a"], b.Secrets["sec_b"], b.Secrets["sec_short"] = secret, "another 89abcdef0123456789abcdef", "short"
	return b
}

func claims(more ...any) token.MapClaims {
	m := token.MapClaims{"sub": "alice", "exp": filtertest.Noon.Add(time.Minute).Unix()}
	for i := 0; i+1 < len(more); i += 2 {
		if m[more[i].(string)] = more[i+1]; more[i+1] == nil {
			delete(m, more[i].(string))
		}
	}
	return m
}

func sign(t testing.TB, alg string, key any, kid string, c token.MapClaims) string {
	t.Helper()
	made := token.NewWithClaims(token.GetSigningMethod(alg), c)
	if kid != "" {
		made.Header["kid"] = kid
	}
	text, err := made.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func asPEM(t testing.TB, key crypto.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	return string(text)
}

const needs = "A403PR Plugin Authorization Needed: "

func TestAlgorithms(t *testing.T) {
	b := bench(t)
	rsaKey, _ := rsa.GenerateKey(rand.Reader, 2048)
	ecKey, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	edPublic, edKey, _ := ed25519.GenerateKey(rand.Reader)
	url := base64.RawURLEncoding.EncodeToString
	point, _ := ecKey.PublicKey.Bytes()
	jwks := fmt.Sprintf(`{"jwks":{"keys":[{"kty":"RSA","kid":"r","n":%q,"e":"AQAB"},{"kty":"EC","kid":"e","crv":"P-256","x":%q,"y":%q},
		{"kty":"OKP","kid":"o","crv":"Ed25519","x":%q},{"kty":"RSA","use":"enc","n":"!","e":"!"}]}}`,
		url(rsaKey.N.Bytes()), url(point[1:33]), url(point[33:]), url(edPublic))
	for _, tt := range []struct {
		alg, with, kid string
		key            any
	}{
		{"HS256", `{"keys":[{"id":"k","alg":"HS256","secret":"sec_a"}]}`, "k", []byte(secret)},
		{"RS256", `{"keys":[{"id":"k","alg":"RS256","pem":` + asPEM(t, &rsaKey.PublicKey) + `}]}`, "k", rsaKey},
		{"PS256", `{"keys":[{"id":"k","alg":"PS256","pem":` + asPEM(t, &rsaKey.PublicKey) + `}]}`, "", rsaKey},
		{"ES256", `{"keys":[{"alg":"ES256","pem":` + asPEM(t, &ecKey.PublicKey) + `}]}`, "any", ecKey},
		{"EdDSA", `{"keys":[{"id":"k","alg":"EdDSA","pem":` + asPEM(t, edPublic) + `}]}`, "k", edKey},
		{"RS256", jwks, "r", rsaKey}, {"ES256", jwks, "e", ecKey}, {"EdDSA", jwks, "o", edKey},
	} {
		chain := b.Make(tt.with)
		text := sign(t, tt.alg, tt.key, tt.kid, claims())
		filtertest.Refused(t, b.Run(chain, b.Call("GET /", "authorization: bearer  "+text), filtertest.OK("")), "")
		dot := strings.LastIndexByte(text, '.')
		forged := text[:dot+1] + base64.RawURLEncoding.EncodeToString(make([]byte, 64))
		filtertest.Refused(t, b.Run(chain, b.Call("GET /", "Authorization: Bearer "+forged), filtertest.OK("")), needs+"the signature of the token is wrong")
	}
}

// Alg none, a public key taken for a secret, a key of another algorithm, another ID: none
// of them is let in.
func TestConfusion(t *testing.T) {
	b := bench(t)
	key, _ := rsa.GenerateKey(rand.Reader, 2048)
	der, _ := x509.MarshalPKIXPublicKey(&key.PublicKey)
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	rs := b.Make(`{"keys":[{"id":"r","alg":"RS256","pem":` + asPEM(t, &key.PublicKey) + `}]}`)
	mixed := b.Make(`{"keys":[{"id":"r","alg":"RS256","pem":` + asPEM(t, &key.PublicKey) + `},{"id":"h","alg":"HS256","secret":"sec_a"}]}`)
	none := sign(t, "none", token.UnsafeAllowNoneSignatureType, "", claims())
	crit := token.NewWithClaims(token.SigningMethodRS256, claims())
	crit.Header["crit"] = []string{"exp"}
	critical, _ := crit.SignedString(key)
	for name, tt := range map[string]struct {
		chain *gate.Chain
		text  string
		want  string
	}{
		"none":                     {rs, none, "the signature of the token is wrong"},
		"none, cut":                {rs, strings.TrimRight(none, "."), "the token is malformed"},
		"public key as secret":     {rs, sign(t, "HS256", publicPEM, "", claims()), "the signature of the token is wrong"},
		"public key as secret, 2":  {mixed, sign(t, "HS256", publicPEM, "", claims()), "the signature of the token is wrong"},
		"public key as secret, ID": {mixed, sign(t, "HS256", publicPEM, "r", claims()), "the token is signed with an unknown key or in an unknown way"},
		"other hash":               {rs, sign(t, "RS512", key, "r", claims()), "the signature of the token is wrong"},
		"other ID":                 {mixed, sign(t, "RS256", key, "h", claims()), "the token is signed with an unknown key or in an unknown way"},
		"critical":                 {rs, critical, "the token is signed with an unknown key or in an unknown way"},
	} {
		r := b.Run(tt.chain, b.Call("GET /", "Authorization: Bearer "+tt.text), filtertest.OK(""))
		if r == nil || r.Error() != needs+tt.want {
			t.Errorf("%s: %v, want %s", name, r, tt.want)
		}
	}
}

func TestClaims(t *testing.T) {
	b := bench(t)
	const with = `{"keys":[{"alg":"HS256","secret":"sec_a"}],"issuer":"me","audience":["weather","water"],"leeway":"10s"}`
	chain := b.Make(with)
	at := func(d time.Duration) int64 { return filtertest.Noon.Add(d).Unix() }
	for _, tt := range []struct {
		claims []any
		want   string
	}{
		{[]any{"aud", "weather"}, ""},
		{[]any{"aud", []string{"x", "water"}}, ""},
		{[]any{"exp", at(-9 * time.Second)}, ""},
		{[]any{"exp", at(-10 * time.Second)}, "the token has expired"},
		{[]any{"exp", nil}, "the token lacks a claim that is required"},
		{[]any{"exp", "soon"}, "the token is malformed"},
		{[]any{"nbf", at(10 * time.Second)}, ""},
		{[]any{"nbf", at(11 * time.Second)}, "the token is not valid yet"},
		{[]any{"iss", "you"}, "the token is of another issuer"},
		{[]any{"iss", nil}, "the token lacks a claim that is required"},
		{[]any{"aud", "x"}, "the token is for another audience"},
		{[]any{"aud", nil}, "the token lacks a claim that is required"},
	} {
		text := sign(t, "HS256", []byte(secret), "", claims(append([]any{"iss", "me", "aud", "weather"}, tt.claims...)...))
		want := tt.want
		if want != "" {
			want = needs + want
		}
		filtertest.Refused(t, b.Run(chain, b.Call("GET /", "Authorization: Bearer "+text), filtertest.OK("")), want)
	}
	forever := b.Make(`{"keys":[{"alg":"HS256","secret":"sec_a"}],"forever":true}`)
	text := sign(t, "HS256", []byte(secret), "", claims("exp", nil))
	filtertest.Refused(t, b.Run(forever, b.Call("GET /", "Authorization: Bearer "+text), filtertest.OK("")), "")
}

// K13, N5: the seller is told what the token says, never what the caller says.
func TestClaimsInHeaders(t *testing.T) {
	b := bench(t)
	chain := b.Make(`{"keys":[{"alg":"HS256","secret":"sec_a"}],"from":["query:token","header:Authorization"],"drop":true,"optional":true,
		"claims":{"sub":"X-User","realm.roles":"X-Roles","level":"X-Level","none":"X-None","list":"X-List"}}`)
	text := sign(t, "HS256", []byte(secret), "", claims("realm", map[string]any{"roles": []string{"a", "b"}}, "level", 12345678901234567, "list", []any{1, "a,b"}))
	c := b.Call("GET /?a=1&t%6Fken="+text+"&b", "Authorization: Basic x", "X-User: root", "x_none: root")
	filtertest.Refused(t, b.Run(chain, c, filtertest.OK("")), "")
	o := c.Outgoing()
	for name, want := range map[string]string{"X-User": "alice", "X-Roles": "a,b", "X-Level": "12345678901234567", "X-None": "", "x_none": "",
		"X-List": `[1,"a,b"]`, "Authorization": ""} {
		if got := filtertest.Header(o.Fields, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if string(o.Query) != "a=1&b" {
		t.Errorf("the query is %q", o.Query)
	}
	c = b.Call("GET /", "X-User: root") // no token is none, and nobody
	filtertest.Refused(t, b.Run(chain, c, filtertest.OK("")), "")
	if got := filtertest.Header(c.Outgoing().Fields, "X-User"); got != "" {
		t.Errorf("X-User without a token: %q", got)
	}
	text = sign(t, "HS256", []byte(secret), "", claims("sub", "a\r\nX-Admin: 1"))
	filtertest.Refused(t, b.Run(chain, b.Call("GET /?token="+text), filtertest.OK("")), needs+"a claim of the token cannot stand in a header")
}

func TestWhereTokensStand(t *testing.T) {
	b := bench(t)
	text := sign(t, "HS256", []byte(secret), "", claims())
	chain := b.Make(`{"keys":[{"alg":"HS256","secret":"sec_a"}],"from":["header:X-Token","cookie:token"]}`)
	for line, want := range map[string]string{
		"X-Token: " + text:                          "",
		"Cookie: a=b; token=" + text + "; c":        "",
		`Cookie: token="` + text + `"`:              "",
		"Cookie: xtoken=" + text:                    needs + "there is no token",
		"Authorization: Bearer " + text:             needs + "there is no token",
		"X-Token: " + strings.Repeat("a", MaxToken): needs + "the token is malformed",
		"X-Token: " + strings.Repeat("a", 9000):     needs + "the token is malformed",
		"X-Token: a.b.c":                            needs + "the token is malformed",
	} {
		filtertest.Refused(t, b.Run(chain, b.Call("GET /", line), filtertest.OK("")), want)
	}
}

func TestWrongSettings(t *testing.T) {
	ec, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	small, _ := rsa.GenerateKey(rand.Reader, 1024)
	bench(t).Wrong(map[string]string{
		`{}`:                        `it needs "keys" or "jwks"`,
		`{"keys":[{"alg":"none"}]}`: `"none" is no algorithm`,
		`{"keys":[{"alg":"HS256","secret":"sec_short"}]}`:                     "at least 32 bytes",
		`{"keys":[{"alg":"HS256","pem":"x"}]}`:                                `HS256 has a "secret"`,
		`{"keys":[{"alg":"HS1","secret":"sec_a"}]}`:                           `"HS1" is no algorithm`,
		`{"keys":[{"alg":"RS256","secret":"sec_a"}]}`:                         `RS256 has a "pem"`,
		`{"keys":[{"alg":"RS256","pem":"x"}]}`:                                "one public key",
		`{"keys":[{"alg":"ES256","pem":` + asPEM(t, &ec.PublicKey) + `}]}`:    `not one for "ES256"`,
		`{"keys":[{"alg":"HS256","pem":` + asPEM(t, &ec.PublicKey) + `}]}`:    `has a "secret"`,
		`{"jwks":{"keys":[{"kty":"oct","k":"AAAA"}]}}`:                        "it is private",
		`{"jwks":{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}}`:    "not one of its curve",
		`{"jwks":{"keys":[{"kty":"moon"}]}}`:                                  `type "moon" is not known`,
		`{"keys":[{"alg":"HS256","secret":"sec_a"}],"from":["body:x"]}`:       "is no place",
		`{"keys":[{"alg":"HS256","secret":"sec_a"}],"claims":{"sub":"Host"}}`: "not for a filter to write",
		`{"keys":[{"alg":"HS256","secret":"sec_a"}],"leeway":"1h"}`:           "at most 10m",
		`{"keys":[{"alg":"RS256","pem":` + asPEM(t, &small.PublicKey) + `}]}`: "not 1024",
	})
}

func BenchmarkHS256(b *testing.B) {
	bench := bench(b)
	chain := bench.Make(`{"keys":[{"alg":"HS256","secret":"sec_a"}]}`)
	c := bench.Call("GET /", "Authorization: Bearer "+sign(b, "HS256", []byte(secret), "", claims()))
	for b.Loop() {
		if err := chain.Admit[0].Admit(c); err != nil {
			b.Fatal(err)
		}
	}
}
