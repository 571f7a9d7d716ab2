package gateway_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/souk-market/souk/gateway"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gatewaytest"
	"github.com/souk-market/souk/gateway/ops"
	"github.com/souk-market/souk/signer"
)

// page is a log that is kept in memory.
type page struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.Write(b)
}

func (p *page) bytes() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Clone(p.b.Bytes())
}

func (p *page) logger() *zap.Logger {
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(p), zapcore.DebugLevel))
}

// Whatever happens to a call, no credential of it comes to light: not in a log, not in an
// answer, not at the seller, not in a metric, not in what is kept. K12, API-05.
func TestSecretsStaySecret(t *testing.T) {
	log, folder := &page{}, t.TempDir()
	told := &page{}
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(told, r.Body) // what does not come is missed below
	}))
	defer collector.Close()
	export, err := ops.NewExporter(ops.ExportOptions{Endpoint: collector.URL, Ratio: 1, Every: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	access, closeAccess := ops.AccessLog(&ops.LogFile{Path: filepath.Join(folder, "access.log")})
	h := gatewaytest.New(t, func(o *gateway.Options) {
		o.Log, o.AccessLog, o.Folder, o.Tracer = log.logger(), zap.New(zapcore.NewTee(log.logger().Core(), access.Core())), folder, export.Tracer
	})
	h.Group()
	c := h.App("hangzhou")
	grant := h.Grant("hangzhou", "weather", true)
	gone := h.Route("weather", "GET", "/gone")
	gone.Upstream = "http://127.0.0.1:1"
	h.Apply(h.Route("weather", "ANY", "/[*]"), gone, &control.Package{ID: "pkg_a", Grant: grant, Calls: 50, From: gatewaytest.Start, Live: true})

	const canary = "CANARY7D1F"
	words := []string{c.AppCode, c.AppSecret, canary}
	var seen [][]byte
	call := func(method, target, body string, headers ...string) {
		t.Helper()
		var b strings.Builder
		b.WriteString(method + " " + target + " HTTP/1.1\r\nHost: " + gatewaytest.Domain + "\r\n")
		for i := 0; i+1 < len(headers); i += 2 {
			b.WriteString(headers[i] + ": " + headers[i+1] + "\r\n")
		}
		b.WriteString("\r\n" + body)
		a := h.Raw(method, b.String())
		answer, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		// The string to sign is shown to who sent it; it never has a code or the secret.
		if a.Code() == "A403IS" {
			answer = bytes.ReplaceAll(answer, []byte(canary), nil)
		}
		seen = append(seen, answer)
	}
	signed := func(secret, target string) []string {
		s, err := signer.Sign(signer.Call{Method: "GET", URL: target, Header: map[string]string{"Accept": "*/*"}, Key: c.AppKey, Secret: secret,
			Now: h.Clock.Now(), Nonce: target})
		if err != nil {
			t.Fatal(err)
		}
		words = append(words, s.Header[signer.HeaderSignature])
		lines := []string{"Accept", "*/*"}
		for name, value := range s.Header {
			if name != "Accept" {
				lines = append(lines, name, value)
			}
		}
		return lines
	}
	call("GET", "/a", "", "Authorization", "APPCODE "+c.AppCode)
	for _, name := range []string{"AppCode", "appcode", "appCode", "APPCODE", "APPCode"} {
		call("GET", "/a?x=1&"+name+"="+c.AppCode, "")
	}
	call("GET", "/a?AppCode="+canary, "")
	call("GET", "/a", "", "Authorization", "APPCODE "+canary)
	call("GET", "/nobody/"+c.AppCode+"?AppCode="+c.AppCode, "", "X-Ca-Stage", c.AppCode)
	call("GET", "/gone?AppCode="+c.AppCode, "")
	call("GET", "/a#"+c.AppCode, "", "Authorization", "APPCODE "+c.AppCode)
	call("GET", "/a", "", "Authorization", "APPCODE "+c.AppCode, "authorization", "APPCODE "+c.AppCode)
	call("POST", "/a", "zz\r\n"+c.AppCode, "Authorization", "APPCODE "+c.AppCode, "Transfer-Encoding", "chunked")
	call("GET", "/a?b=1", "", signed(c.AppSecret, "/a?b=1")...)
	call("GET", "/a?b=1", "", signed(c.AppSecret, "/a?b=1")...) // the nonce again
	call("GET", "/a?b=2", "", signed(canary, "/a?b=2")...)
	if err := h.Plane.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}

	// A path that nobody serves is shown to the one who asked for it, and to nobody else.
	for i, a := range seen {
		if bytes.Contains(a, []byte("I404NF")) || bytes.Contains(a, []byte("I400SG")) {
			seen[i] = nil
		}
	}
	var all []byte
	keep := func(what string, b []byte) {
		all = append(all, b...)
		for _, w := range words {
			for _, spelt := range []string{w, url.QueryEscape(w), hex.EncodeToString([]byte(w)), base64.StdEncoding.EncodeToString([]byte(w))} {
				if at := bytes.Index(b, []byte(spelt)); at >= 0 {
					t.Errorf("%s: %q", what, b[max(0, at-80):min(len(b), at+80)])
				}
			}
		}
	}
	keep("an answer", bytes.Join(seen, nil))
	keep("the log", log.bytes())
	keep("at the seller", []byte(strings.Join(h.Seller.Asked(), "\n")))
	for _, inner := range []string{"/metrics", "/explain", "/routes", "/readyz"} {
		shown := httptest.NewRecorder()
		h.Ops().ServeHTTP(shown, httptest.NewRequest(http.MethodGet, inner, nil))
		keep(inner, shown.Body.Bytes())
	}
	if err := errors.Join(export.Close(t.Context()), closeAccess()); err != nil {
		t.Fatal(err)
	}
	keep("a trace", told.bytes())
	calls, err := h.Plane.Calls(context.Background(), control.CallFilter{Max: 100})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := json.Marshal(calls)
	if err != nil {
		t.Fatal(err)
	}
	keep("a record", kept)
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		keep(filepath.Base(f), b)
	}
	for _, word := range []string{`"msg":"call"`, "souk_gateway_calls_total", "GET /a?x=1 HTTP/1.1", `"code":"A400AC"`, `"gate":"auth"`, `"path":"/[*]"`, `"resourceSpans"`} {
		if !bytes.Contains(all, []byte(word)) {
			t.Errorf("there is no %s to look at", word)
		}
	}
}

// One line for each call, with what a support person asks for.
func TestOneLineACall(t *testing.T) {
	log := &page{}
	h := gatewaytest.New(t, func(o *gateway.Options) { o.AccessLog = log.logger() })
	h.Group()
	c := h.App("hangzhou")
	grant := h.Grant("hangzhou", "weather", true)
	h.Apply(h.Route("weather", "GET", "/now/[city]"), &control.Package{ID: "pkg_a", Grant: grant, Calls: 1, From: gatewaytest.Start, Live: true})
	for range 2 {
		h.Call("GET", "/now/0571?x=1", "", "Authorization", "APPCODE "+c.AppCode)
	}
	h.Call("GET", "/later", "")
	type line struct {
		Msg, Request, App, Route, Method, Path, Code, Outcome string
		Status                                                int
		Took                                                  float64
	}
	var lines []line
	for _, raw := range bytes.Split(bytes.TrimSpace(log.bytes()), []byte("\n")) {
		var l line
		if err := json.Unmarshal(raw, &l); err != nil {
			t.Fatal(err)
		}
		if len(l.Request) != 36 || l.Took <= 0 || l.Took > time.Minute.Seconds() || l.Msg != "call" {
			t.Errorf("line %s", raw)
		}
		l.Request, l.Took, l.Msg = "", 0, ""
		lines = append(lines, l)
	}
	want := []line{
		{App: "app_hangzhou", Route: "rte_GET/now/[city]", Method: "GET", Path: "/now/[city]", Status: 200, Outcome: "charged"},
		{App: "app_hangzhou", Route: "rte_GET/now/[city]", Method: "GET", Path: "/now/[city]", Status: 403, Code: "B403MQ", Outcome: "refused"},
		{Status: 404, Code: "I404NF", Outcome: "refused"},
	}
	if len(lines) != len(want) {
		t.Fatalf("%d lines, want %d: %+v", len(lines), len(want), lines)
	}
	for i := range want {
		if lines[i] != want[i] {
			t.Errorf("line %d: %+v, want %+v", i, lines[i], want[i])
		}
	}
}
