package sdkgentest

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/souk-market/souk/sdkgen"
	"github.com/souk-market/souk/signer"
)

const edge = `{"openapi":"3.0.3","info":{"title":"Edge case","version":"1"},"paths":{
"/plain":{"get":{"responses":{"200":{"description":"","content":{"application/json":{"schema":{"$ref":"#/components/schemas/Weather"}}}}}}},
"/search":{"get":{"parameters":[
 {"name":"city","in":"query","required":true,"schema":{"type":"string"}},
 {"name":"empty","in":"query","schema":{"type":"string"}},
 {"name":"tags","in":"query","schema":{"type":"array","items":{"type":"string"}}},
 {"name":"days","in":"query","schema":{"type":"integer"}},
 {"name":"ratio","in":"query","schema":{"type":"number"}},
 {"name":"strict","in":"query","schema":{"type":"boolean"}},
 {"name":"absent","in":"query","schema":{"type":"string"}},
 {"name":"AppCode","in":"query","required":true,"schema":{"type":"string"}}]}},
"/item/{item_id}":{"get":{"parameters":[{"name":"item_id","in":"path","required":true,"schema":{"type":"string"}}]}},
"/form":{"post":{"requestBody":{"content":{"application/x-www-form-urlencoded":{"schema":{"type":"object","properties":{
 "name":{"type":"string"},"note":{"type":"string"},"0k":{"type":"string"}}}}}}}},
"/json":{"post":{"requestBody":{"content":{"application/json":{"schema":{"type":"object","properties":{
 "text":{"type":"string"},"inner":{"$ref":"#/components/schemas/Echo"}},"required":["text"]}}}}}},
"/upload":{"post":{"requestBody":{"content":{"multipart/form-data":{"schema":{"type":"object","properties":{
 "file":{"type":"string","format":"binary"},"label":{"type":"string"}}}}}}}},
"/raw":{"post":{"requestBody":{"content":{"application/octet-stream":{}}}}},
"/fails":{"get":{}}},
"components":{"schemas":{
 "Weather":{"type":"object","properties":{"city":{"type":"string"},"temp":{"type":"integer"},"next":{"$ref":"#/components/schemas/Weather"}}},
 "Echo":{"type":"object","properties":{"a\"b":{"type":"integer"},"unset":{"type":"string"}}}}}}`

// Edge is a product whose operations have something in every place of a request.
func Edge(t testing.TB, language string) sdkgen.Input {
	t.Helper()
	p := Product(t, "edge", []byte(edge))
	p.Host = "edge.example.com"
	return sdkgen.Input{Language: language, Name: "edge", Title: "Edge", Products: []sdkgen.Product{p}}
}

// Echo answers the calls of Edge.
func Echo(w http.ResponseWriter, r *http.Request, body []byte) {
	switch r.URL.Path {
	case "/plain":
		write(w, `{"city":571,"temp":"21","next":"","wind":{"speed":3}}`)
	case "/fails":
		Refuse(w, &signer.Fault{Code: "B403MQ", Status: 403, Message: "Api Market Subscription quota exhausted"})
	default:
		write(w, `"ok"`)
	}
}

func write(w http.ResponseWriter, text string) {
	_, _ = w.Write([]byte(text)) // the caller has gone if this fails
}

const requestID = "7B1B27B6-9E6C-4C4C-8F37-5F4A0D1E3C21"

// EdgeResults is what the programs of the languages' tests see, one line for each call.
var EdgeResults = []string{
	`[200 [571 21 map[wind:map[speed:3]] []]]`,
	`[200 ok]`,
	`[200 ok]`,
	`[200 ok]`,
	`[200 ok]`,
	`[200 ok]`,
	`[200 ok]`,
	`[200 ok]`,
	`[subscription 403 B403MQ ` + requestID + ` 1 ]`,
	`[auth 403 A403IS ` + requestID + ` 1 both sides signed the same text: the AppSecret is not the one of this AppKey]`,
	`[200 [571 21 map[wind:map[speed:3]] []]]`,
	`[transport 0   1 ]`,
}

// CheckEdgeCalls compares what came over the wire.
func CheckEdgeCalls(t *testing.T, calls []string) {
	t.Helper()
	const host = " edge.example.com "
	want := []string{
		"GET" + host + "/plain  ",
		"GET" + host + "/search?city=%E6%9D%AD%E5%B7%9E%20%26%20%E4%B8%8A%E6%B5%B7&empty=&tags=%E7%94%B2%2Cb%2Fc&days=3&ratio=0.5&strict=true  ",
		"GET" + host + "/item/%E5%8C%97%E4%BA%AC%2Fa%20b%3F%23%2541  ",
		"POST" + host + "/form application/x-www-form-urlencoded name=%E5%BC%A0%E4%B8%89%20%2B%26%3D%25&note=&0k=%5Bx%5D",
		"POST" + host + `/json application/json {"text":"\"<中文>\"\n","inner":{"a\"b":1}}`,
		"POST" + host + "/form application/x-www-form-urlencoded ",
		"",
		"POST" + host + "/raw application/octet-stream 纯文本",
		"GET" + host + "/fails  ",
		"GET" + host + "/plain  ",
		"GET" + host + "/plain  ",
	}
	if len(calls) != len(want) {
		t.Fatalf("%d calls, want %d: %q", len(calls), len(want), calls)
	}
	for i, call := range calls {
		if i == 6 { // the boundary is random
			for _, part := range []string{"POST" + host + "/upload multipart/form-data; boundary=", `name="file"; filename="图.png"`, "\x00\xff", `name="label"`, "标签"} {
				if !strings.Contains(call, part) {
					t.Errorf("the upload has no %q: %q", part, call)
				}
			}
			continue
		}
		if call != want[i] {
			t.Errorf("call %d\n got %q\nwant %q", i, call, want[i])
		}
	}
}

// Tries says how often a call is sent that is refused with a code.
var Tries = map[string]int{
	"T429PA": 3, "X503BZ": 3, "D504CO": 3, // it did not reach the seller
	"D504TO": 1, "X504TO": 1, "N502RE": 1, "X500ER": 1, // it may have
	"B403MQ": 1, "A403IS": 1,
}

// Payloads are texts that mean to get out of a comment, a string or a page. The first is
// harmless, and the measure of the others.
var Payloads = []string{
	"harmless text",
	`*/ import "os/exec" /*`,
	"\"\"\"\nimport os; os.system('touch canary')\n\"\"\"",
	"''' + __import__('os').system('touch canary') + '''",
	"`+func() string { panic(1) }()+`",
	"\n//go:build ignore\n//go:linkname a b\n+build ignore\n//line x.go:1\n",
	`"); panic("x`,
	`\`,
	`\"\"\"`,
	`trailing \\\`,
	`{x} {} {{.}} %s %v %(a)s $(touch canary) ` + "`touch canary`",
	"<script>alert(1)</script> ![x](http://e.example/x.png) [a](javascript:x) | x | y |\n# h\n---\n```\nrm -rf /\n```",
	"\u202e\u2066evil\u2069 \u2028 \u2029 \x00 \x1b[31m \u200b \ufeff",
	"\r\nDeprecated: x\r\n\tcode\r\n - list",
	"\U0001F600 北京 é ü",
	"]]> --> ?> #> \\u002a/ § §",
	strings.Repeat("长", 5000),
	strings.Repeat("x", 5000),
}

// hostile has a payload in every place where a seller writes text.
const hostile = `{"openapi":"3.0.3","info":{"title":@,"version":"1","description":@},"paths":{
"/a/{x}":{"post":{"operationId":"fixed","summary":@,"description":@,"tags":[@],
 "parameters":[{"name":"x","in":"path","required":true,"description":@,"schema":{"type":"string","example":@,"enum":[@]}},
  {"name":@,"in":"query","required":true,"description":@,"schema":{"type":"string","default":@}}],
 "requestBody":{"description":@,"content":{"application/json":{"schema":{"type":"object","required":["q"],"properties":{
   "q":{"type":"string","description":@,"title":@,"example":@},
   "o":{"type":"object","description":@,"properties":{"w":{"type":"string","enum":[@],"description":@}}}}}}}},
 "responses":{"200":{"description":@,"content":{"application/json":{"schema":{"type":"object","description":@,"properties":{"ok":{"type":"boolean","description":@},"list":{"type":"array","items":{"type":"object","properties":{"v":{"type":"integer","description":@}}}}}}}}}}}},
"/b":{"get":{"summary":@,"responses":{"200":{"description":"","content":{"application/json":{"schema":{"$ref":"#/components/schemas/S"}}}}}}}},
"components":{"schemas":{"S":{"type":"object","description":@,"properties":{"fixed":{"type":"string","format":@}}}}}}`

// Hostile is a product whose every text is the payload. Names are made of words, so the
// parameter that bears the payload is called by its neighbours' rule; it is the only one.
func Hostile(t testing.TB, language, payload string) sdkgen.Input {
	t.Helper()
	quoted, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(hostile, `"name":@`, `"name":"p"`, 1)
	p := Product(t, "hostile", []byte(strings.ReplaceAll(text, "@", string(quoted))))
	p.Name, p.Title, p.Description = "fixed", payload, payload
	p.Routes[0].Title = payload
	return sdkgen.Input{Language: language, Name: "hostile", Title: payload, Products: []sdkgen.Product{p}}
}

// HostileNames is a product with the payload as the name of everything that has one.
func HostileNames(t testing.TB, language, payload string) sdkgen.Input {
	t.Helper()
	quoted, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	const text = `{"openapi":"3.0.3","info":{"title":@,"version":"1"},"paths":{"/a":{"post":{"operationId":@,
"parameters":[{"name":@,"in":"query","schema":{"type":"string"}}],
"requestBody":{"content":{"application/json":{"schema":{"type":"object","properties":{@:{"type":"object","properties":{@:{"type":"string"}}}}}}}},
"responses":{"200":{"content":{"application/json":{"schema":{"type":"object","properties":{@:{"type":"object","properties":{@:{"type":"string"}}}}}}}}}}}}}`
	p := Product(t, "hostile names", []byte(strings.ReplaceAll(text, "@", string(quoted))))
	p.Title = payload
	return sdkgen.Input{Language: language, Name: payload, Title: payload, Products: []sdkgen.Product{p}}
}

// CheckText fails for characters that hide, turn or break what is read.
func CheckText(t testing.TB, f sdkgen.File) {
	t.Helper()
	if !utf8.Valid(f.Data) {
		t.Errorf("%s is not UTF-8", f.Name)
	}
	for _, r := range string(f.Data) {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			t.Errorf("%s has %U", f.Name, r)
			return
		}
	}
	if strings.HasSuffix(f.Name, ".md") {
		for _, bad := range []string{"<script", "](http", "](javascript", "\n# h", "\nrm -rf"} {
			if strings.Contains(strings.ReplaceAll(prose(string(f.Data)), `\]`, ""), bad) {
				t.Errorf("%s has %q", f.Name, bad)
			}
		}
	}
}

// prose is a page without its blocks of code.
func prose(page string) string {
	var b strings.Builder
	inside := false
	for line := range strings.SplitSeq(page, "\n") {
		if strings.HasPrefix(line, "```") {
			inside = !inside
			continue
		}
		if !inside {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}
