package ops

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/gateway/control"
)

func ask(h http.Handler, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func inner() Inner {
	level := zap.NewAtomicLevelAt(zap.InfoLevel)
	return Inner{
		Meter: NewMeter(), Ready: func(context.Context) []string { return nil }, Refusals: NewRefusals(3), Level: &level,
		Configuration: func() (int64, []*control.Group, []*control.Route) {
			return 7, []*control.Group{{ID: "grp_a", Domains: []string{"a.test", "b.test"}, Live: true}, {ID: "grp_c", Domains: []string{"c.test"}, Live: true}},
				[]*control.Route{
					{ID: "rte_1", Group: "grp_a", Method: "GET", Path: "/x", Upstream: "https://s.test", Live: true,
						Filters: []control.FilterSetting{{Filter: "jwt", With: control.Raw(`{"key":"CANARY"}`)}}, Limits: []control.Limit{{Name: "all"}}},
					{ID: "rte_2", Group: "grp_c", Method: "ANY", Path: "/[*]", Via: "ups_1", Stage: control.Test},
				}
		},
		Find: func(_ context.Context, id string) (control.CallRecord, bool) {
			return control.CallRecord{Request: control.RequestID{15: 1}, Status: 200, Route: "rte_1"}, id == "BOOKED"
		},
		Purge: func(_ context.Context, r control.RouteID) (int, error) { return len(r), nil },
	}
}

func TestTableOfRoutes(t *testing.T) {
	h := inner().Handler()
	w := ask(h, "GET", "/routes?host=B.test", "")
	var page struct {
		Snapshot int64
		Routes   []RouteLine
	}
	if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil {
		t.Fatal(err)
	}
	if page.Snapshot != 7 || len(page.Routes) != 1 || page.Routes[0].Route != "rte_1" || page.Routes[0].Stage != control.Release || page.Routes[0].Filters[0] != "jwt" ||
		page.Routes[0].Limits[0] != "all" || !page.Routes[0].Live {
		t.Errorf("routes of b.test: %s", w.Body)
	}
	if w := ask(h, "GET", "/routes", ""); strings.Count(w.Body.String(), `"route":`) != 2 || strings.Contains(w.Body.String(), "CANARY") || !strings.Contains(w.Body.String(), "ups_1") {
		t.Errorf("all routes: %s", w.Body)
	}
	if w := ask(h, "GET", "/routes?host=nobody.test", ""); !strings.Contains(w.Body.String(), `"routes":[]`) {
		t.Errorf("routes of nobody: %s", w.Body)
	}
}

func TestWhyACallWasRefused(t *testing.T) {
	i := inner()
	for n, code := range []string{"A400IK", "B403MQ", "D504TO", "Q400XX"} {
		i.Refusals.Note(Refused{Request: string(rune('A' + n)), Code: code, Status: 400, Route: "rte_1"})
	}
	h := i.Handler()
	get := func(id string) (e Explanation, status int) {
		w := ask(h, "GET", "/explain?request="+id, "")
		_ = json.Unmarshal(w.Body.Bytes(), &e) // what is not there shows below
		return e, w.Code
	}
	if e, _ := get("b"); e.Gate != "quota" || e.Fault != "caller" || e.Why == "" || !strings.Contains(e.Do, "package") {
		t.Errorf("used up: %+v", e)
	}
	if e, _ := get("C"); e.Gate != "proxy" || e.Fault != "seller" {
		t.Errorf("too slow: %+v", e)
	}
	if e, _ := get("D"); e.Gate != "filter" || e.Code != "Q400XX" {
		t.Errorf("a filter's own code: %+v", e)
	}
	if _, status := get("A"); status != 404 {
		t.Errorf("the oldest must be forgotten: %d", status)
	}
	if e, _ := get("BOOKED"); e.Gate != "none" || e.Route != "rte_1" {
		t.Errorf("one that was booked: %+v", e)
	}
	w := ask(h, "GET", "/explain", "")
	var last struct{ Refused []Refused }
	if err := json.Unmarshal(w.Body.Bytes(), &last); err != nil || len(last.Refused) != 3 || last.Refused[0].Request != "D" || last.Refused[2].Request != "B" {
		t.Errorf("the last ones: %s", w.Body)
	}
}

// Every code that the gateway's rooms refuse with is explained.
func TestEveryCodeIsExplained(t *testing.T) {
	code := regexp.MustCompile(`(?:Refuse|refuse)\("([A-Z][0-9]{3}[A-Z]{2})"`)
	found := 0
	err := filepath.WalkDir("..", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range code.FindAllSubmatch(text, -1) {
			found++
			if _, ok := advices[string(m[1])]; !ok {
				t.Errorf("%s refuses with %s, which nothing explains", path, m[1])
			}
		}
		return err
	})
	if err != nil || found == 0 {
		t.Errorf("%d codes found, %v", found, err)
	}
	for code, a := range advices {
		if a.gate == "" || a.why == "" || a.do == "" || a.fault != "caller" && a.fault != "seller" && a.fault != "gateway" {
			t.Errorf("%s: %+v", code, a)
		}
	}
}

func TestLevelOfTheLogAndCaches(t *testing.T) {
	i := inner()
	h := i.Handler()
	if w := ask(h, "PUT", "/log/level", `{"level":"debug"}`); w.Code != 200 || i.Level.Level() != zap.DebugLevel {
		t.Errorf("%d %s: level %v", w.Code, w.Body, i.Level.Level())
	}
	if w := ask(h, "GET", "/log/level", ""); !strings.Contains(w.Body.String(), "debug") {
		t.Errorf("level: %s", w.Body)
	}
	if w := ask(h, "PUT", "/log/level", `{"level":"shout"}`); w.Code != 400 {
		t.Errorf("a level that does not exist: %d", w.Code)
	}
	if w := ask(h, "POST", "/cache/purge?route=rte_1", ""); w.Code != 200 || !strings.Contains(w.Body.String(), `"gone":5`) {
		t.Errorf("purge: %d %s", w.Code, w.Body)
	}
	if w := ask(h, "GET", "/cache/purge?route=rte_1", ""); w.Code != 405 {
		t.Errorf("purge by GET: %d", w.Code)
	}
	// A page of another site cannot do this through its reader's browser.
	for _, h2 := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "http://evil.test"}} {
		if w := ask(h, "POST", "/cache/purge", "", h2...); w.Code != 403 {
			t.Errorf("%v: %d", h2, w.Code)
		}
	}
}

// U10: with a token, only health and readiness are open.
func TestTheTokenOfTheInnerSide(t *testing.T) {
	i := inner()
	i.Token = "t0ken"
	h := i.Handler()
	for _, page := range []string{"/healthz", "/readyz"} {
		if w := ask(h, "GET", page, ""); w.Code != 200 {
			t.Errorf("%s: %d", page, w.Code)
		}
	}
	for _, page := range []string{"/metrics", "/routes", "/explain", "/log/level", "/debug/pprof/", "/debug/pprof/cmdline"} {
		for _, given := range []string{"", "Bearer ", "Bearer t0ke", "t0ken", "Bearer t0ken "} {
			if w := ask(h, "GET", page, "", "Authorization", given); w.Code != 401 {
				t.Errorf("%s with %q: %d", page, given, w.Code)
			}
		}
		if w := ask(h, "GET", page, "", "Authorization", "Bearer t0ken"); w.Code != 200 {
			t.Errorf("%s with the token: %d", page, w.Code)
		}
	}
}

func TestPagesThatAreNotThere(t *testing.T) {
	h := Handler(NewMeter(), func(context.Context) []string { return []string{"draining"} })
	for page, want := range map[string]int{"/healthz": 200, "/readyz": 503, "/metrics": 200, "/debug/pprof/": 200, "/routes": 404, "/explain": 404, "/log/level": 404, "/": 404} {
		if w := ask(h, "GET", page, ""); w.Code != want {
			t.Errorf("%s: %d, want %d", page, w.Code, want)
		}
	}
}

// A log is begun anew when it is large or old, loses no line, and keeps so many.
func TestLogFilesAreTurned(t *testing.T) {
	now := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	path := filepath.Join(t.TempDir(), "logs [1]", "access.log")
	f := &LogFile{Path: path, Size: 30, Age: time.Hour, Kept: 2, Now: func() time.Time { return now }}
	defer f.Close()
	put := func(line string) {
		t.Helper()
		if _, err := f.Write([]byte(line + "\n")); err != nil {
			t.Fatal(err)
		}
	}
	files := func() (names, texts []string) {
		t.Helper()
		list, err := os.ReadDir(filepath.Dir(path))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			b, err := os.ReadFile(filepath.Join(filepath.Dir(path), e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			names, texts = append(names, e.Name()), append(texts, string(b))
		}
		return names, texts
	}
	put("0123456789")
	put("0123456789")
	now = now.Add(time.Second)
	put("abcdefghij") // 33 bytes: too many
	if _, texts := files(); len(texts) != 2 || texts[0] != "abcdefghij\n" || strings.Count(texts[1], "\n") != 2 {
		t.Errorf("after the size: %q", texts)
	}
	now = now.Add(time.Hour)
	put("later") // too old
	if _, texts := files(); len(texts) != 3 || texts[0] != "later\n" {
		t.Errorf("after the hour: %q", texts)
	}
	for range 3 {
		now = now.Add(time.Hour)
		put("x")
	}
	if names, _ := files(); len(names) != 3 {
		t.Errorf("kept: %v, want the log and 2 old ones", names)
	}
	// After a restart the same file goes on.
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	put("again")
	if _, texts := files(); texts[0] != "x\nagain\n" {
		t.Errorf("after a restart: %q", texts[0])
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestLinesOfTheAccessLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	log, end := AccessLog(&LogFile{Path: path})
	for range 3 {
		log.Info("call", zap.String("request", "ID"), zap.Int("status", 200))
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines: %s", len(lines), b)
	}
	for _, l := range lines {
		var got struct {
			Request string
			Status  int
			TS      string
		}
		if err := json.Unmarshal([]byte(l), &got); err != nil || got.Request != "ID" || got.Status != 200 || got.TS == "" {
			t.Errorf("%s: %v", l, err)
		}
	}
}
