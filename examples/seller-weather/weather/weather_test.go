package weather

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 15, 4, 0, 0, 0, time.UTC)

func get(t *testing.T, target string, into any) int {
	t.Helper()
	w := httptest.NewRecorder()
	Handler(func() time.Time { return noon }).ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	if into != nil {
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
			t.Fatalf("%s: %v in %s", target, err, w.Body)
		}
	}
	return w.Code
}

func TestWinterIsColdInTheNorthAndWarmInTheSouth(t *testing.T) {
	var harbin, sydney Now
	if s := get(t, "/weather/now?city=harbin", &harbin); s != http.StatusOK {
		t.Fatalf("status %d", s)
	}
	get(t, "/weather/now?city=悉尼", &sydney)
	if harbin.Celsius >= 0 || sydney.Celsius <= 15 {
		t.Errorf("Harbin %d °C, Sydney %d °C in January", harbin.Celsius, sydney.Celsius)
	}
}

func TestTheSameQuestionHasTheSameAnswer(t *testing.T) {
	var a, b Now
	get(t, "/weather/now?city=Hangzhou", &a)
	get(t, "/weather/now?city=杭州", &b)
	if a != b {
		t.Errorf("%v and %v", a, b)
	}
}

func TestDays(t *testing.T) {
	var d struct{ Days []Day }
	if get(t, "/weather/daily?city=xian&days=10", &d); len(d.Days) != 10 || d.Days[0].Date != "2026-01-15" {
		t.Errorf("got %v", d)
	}
	for _, bad := range []string{"0", "11", "-1", "x"} {
		if s := get(t, "/weather/daily?city=xian&days="+bad, nil); s != http.StatusBadRequest {
			t.Errorf("days=%s: status %d", bad, s)
		}
	}
	if s := get(t, "/weather/now?city=atlantis", nil); s != http.StatusNotFound {
		t.Errorf("unknown city: status %d", s)
	}
}
