package demo

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/sdkgen/openapi"
)

var noon = time.Date(2026, 5, 3, 4, 0, 0, 0, time.UTC)

// What a product page shows as an example must be what a caller gets.
func TestEveryOperationAnswersItsExample(t *testing.T) {
	up := upstream(func() time.Time { return noon })
	for _, p := range products {
		for _, op := range p.Operations {
			if op.answer == nil {
				continue // the echo's
			}
			target, form := op.Path, url.Values{}
			q := url.Values{}
			for _, a := range op.Params {
				switch a.In {
				case "path":
					target = strings.ReplaceAll(target, "{"+a.Name+"}", url.PathEscape(a.Example))
				case "query":
					q.Set(a.Name, a.Example)
				case "form":
					form.Set(a.Name, a.Example)
				}
			}
			body := op.BodyText
			if op.Body == formType {
				body = form.Encode()
			}
			r := httptest.NewRequest(op.Method, target+"?"+q.Encode(), strings.NewReader(body))
			r.Header.Set("Content-Type", op.Body)
			w := httptest.NewRecorder()
			up.ServeHTTP(w, r)
			if w.Code != http.StatusOK {
				t.Errorf("%s %s: status %d, %s", op.Method, target, w.Code, w.Body)
			}
		}
	}
}

func TestEveryDescriptionIsReadWithoutRemarks(t *testing.T) {
	for _, p := range products {
		if len(p.Operations) > 0 && p.Operations[0].answer == nil {
			continue
		}
		text, err := p.document("http://127.0.0.1:9", noon)
		if err != nil {
			t.Errorf("%s: %v", p.Key, err)
			continue
		}
		doc, err := openapi.Read([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", p.Key, err)
			continue
		}
		for _, d := range doc.Diagnostics {
			if d.Code != "openapi.server.insecure" { // the demo's upstream is on this machine
				t.Errorf("%s: %s %v in line %d", p.Key, d.Code, d.Args, d.Line)
			}
		}
		for _, op := range doc.Operations {
			if !strings.HasPrefix(op.Path, "/"+p.Key+"/") {
				t.Errorf("%s: %s lies outside, so another product may have it too", p.Key, op.Path)
			}
		}
	}
}

func TestAnswersAreComputed(t *testing.T) {
	ask := func(a answer, pairs ...string) map[string]any {
		t.Helper()
		v := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			v.Set(pairs[i], pairs[i+1])
		}
		out, err := a(question{get: v.Get, now: noon})
		if err != nil {
			t.Fatalf("%v: %v", pairs, err)
		}
		return out.(map[string]any)
	}
	same := func(got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	same(ask(idCheck, "number", "11010519491231002X")["valid"], true)
	same(ask(idCheck, "number", "110105194912310021")["valid"], false)
	for _, n := range []string{"DE136695976", "DK13585628", "FI20774740", "LU26375245", "PL8567346215", "PT501964843", "EE100931558", "IT00743110157"} {
		same(ask(vatCheck, "number", n)["valid"], true)
		last := n[len(n)-1]
		same(ask(vatCheck, "number", n[:len(n)-1]+string('0'+(last-'0'+1)%10))["valid"], false)
	}
	same(ask(companyCode, "code", "91350100M000100Y43")["valid"], true)
	same(ask(companyCode, "code", "91350100M000100Y44")["valid"], false)
	same(ask(ipClassify, "address", "10.1.2.3")["public"], false)
	same(ask(ipClassify, "address", "8.8.8.8")["public"], true)
	same(ask(ipNetwork, "network", "192.168.1.9/24", "address", "192.168.2.1")["contains"], false)
	same(ask(smsParts, "text", strings.Repeat("a", 160))["parts"], 1)
	same(ask(smsParts, "text", strings.Repeat("a", 161))["parts"], 2)
	same(ask(smsParts, "text", strings.Repeat("好", 71))["parts"], 2)
	same(ask(nameUUID, "name", "http://www.example.com/")["uuid"], "fcde3c85-2270-590f-9e7c-ee003d65e0e2")
	same(ask(timeConvert, "time", "2026-05-01T14:30", "from", "Asia/Shanghai", "to", "Europe/London")["time"], "2026-05-01T07:30")
	same(ask(calendarDay, "date", "2026-10-01")["work"], false)
	same(ask(calendarDay, "date", "2026-09-28")["work"], true)
	same(ask(ratesConvert, "from", "CNY", "to", "CNY", "amount", "1.5")["result"], 1.5)
	same(ask(phoneRegion, "number", "(0571) 8815-7700")["en"], "China, Hangzhou")
	same(ask(geoDistance, "from", "beijing", "to", "39.90,116.40")["km"], 0.0)
}
