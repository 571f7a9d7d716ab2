// Package weather is the seller's API itself: the weather of some cities, reckoned from
// their climate, the season and a little chance that is the same every time one asks.
//
// It leaves to the gateway who may call it and how often.
package weather

import (
	_ "embed"
	"encoding/json"
	"hash/fnv"
	"math"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"time"
)

// OpenAPI describes the API; a seller imports it.
//
//go:embed openapi.yaml
var OpenAPI string

// city is a place with weather.
type city struct {
	ID  string  `json:"id"`
	ZH  string  `json:"zh"`
	EN  string  `json:"en"`
	Lat float64 `json:"lat"`
	Lon float64 `json:"lon"`
	UTC int     `json:"utc_offset"` // hours

	mean, season float64 // °C over the year, and how far the seasons lead from it
}

var cities = []city{
	{"beijing", "北京", "Beijing", 39.90, 116.40, 8, 13, 15},
	{"shanghai", "上海", "Shanghai", 31.23, 121.47, 8, 17, 12},
	{"hangzhou", "杭州", "Hangzhou", 30.27, 120.16, 8, 17, 12},
	{"shenzhen", "深圳", "Shenzhen", 22.54, 114.06, 8, 23, 7},
	{"chengdu", "成都", "Chengdu", 30.57, 104.07, 8, 17, 10},
	{"xian", "西安", "Xi'an", 34.34, 108.94, 8, 14, 13},
	{"harbin", "哈尔滨", "Harbin", 45.80, 126.53, 8, 5, 20},
	{"urumqi", "乌鲁木齐", "Urumqi", 43.83, 87.62, 8, 7, 19},
	{"singapore", "新加坡", "Singapore", 1.35, 103.82, 8, 28, 0.5},
	{"tokyo", "东京", "Tokyo", 35.68, 139.69, 9, 16, 11},
	{"london", "伦敦", "London", 51.51, -0.13, 0, 11, 7},
	{"sydney", "悉尼", "Sydney", -33.87, 151.21, 10, 18, 6},
}

func find(name string) (city, bool) {
	name = strings.ToLower(strings.TrimSpace(name))
	for _, c := range cities {
		if name == c.ID || name == c.ZH || name == strings.ToLower(c.EN) {
			return c, true
		}
	}
	return city{}, false
}

// Now is the weather of a moment.
type Now struct {
	City     city   `json:"city"`
	Time     string `json:"time"` // local
	Celsius  int    `json:"celsius"`
	Humidity int    `json:"humidity"`
	Wind     int    `json:"wind_kmh"`
	Sky      string `json:"sky"`
}

// Day is the weather of a day.
type Day struct {
	Date string `json:"date"`
	Low  int    `json:"low"`
	High int    `json:"high"`
	Sky  string `json:"sky"`
}

var skies = []string{"clear", "clear", "cloudy", "cloudy", "overcast", "drizzle", "rain"}

// chance is a number from 0 up to 1 that is always the same for the same words.
func chance(words ...string) float64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(strings.Join(words, "\x00"))) // a hash takes everything
	x := h.Sum64()
	x ^= x >> 29 // the low bits of FNV are lazy
	x *= 0xbf58476d1ce4e5b9
	return float64(x>>11) / (1 << 53)
}

// day reckons a day from the climate of the place.
func day(c city, date time.Time) Day {
	key := date.Format(time.DateOnly)
	// The warmest day is about 200 days into the year in the north, half a year later in
	// the south.
	season := math.Cos(2 * math.Pi * float64(date.YearDay()-200) / 365.25)
	if c.Lat < 0 {
		season = -season
	}
	mean := c.mean + c.season*season + 6*(chance(c.ID, key, "mean")-0.5)
	swing := 3 + 3*chance(c.ID, key, "swing")
	sky := skies[int(chance(c.ID, key, "sky")*float64(len(skies)))]
	if sky == "rain" && mean < 0 {
		sky = "snow"
	}
	return Day{Date: key, Low: int(math.Round(mean - swing)), High: int(math.Round(mean + swing)), Sky: sky}
}

// now reckons an hour of a day: warmest at three in the afternoon.
func now(c city, at time.Time) Now {
	local := at.UTC().Add(time.Duration(c.UTC) * time.Hour)
	d := day(c, local)
	hour := float64(local.Hour()) + float64(local.Minute())/60
	part := (1 + math.Cos(2*math.Pi*(hour-15)/24)) / 2
	key := local.Format("2006-01-02T15")
	humidity := 45 + 40*chance(c.ID, key, "humidity")
	if strings.Contains("drizzle rain snow", d.Sky) {
		humidity = 80 + 15*chance(c.ID, key, "humidity")
	}
	return Now{City: c, Time: local.Format("2006-01-02T15:04"), Celsius: int(math.Round(float64(d.Low) + part*float64(d.High-d.Low))),
		Humidity: int(humidity), Wind: int(2 + 26*chance(c.ID, key, "wind")), Sky: d.Sky}
}

const daysMost = 10

// Handler serves the API.
func Handler(clock func() time.Time) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /weather/cities", func(w http.ResponseWriter, _ *http.Request) {
		list := append([]city(nil), cities...)
		sort.Slice(list, func(i, j int) bool { return list[i].ID < list[j].ID })
		answer(w, http.StatusOK, map[string]any{"cities": list})
	})
	mux.HandleFunc("GET /weather/now", func(w http.ResponseWriter, r *http.Request) {
		c, known := find(r.URL.Query().Get("city"))
		if !known {
			unknown(w)
			return
		}
		answer(w, http.StatusOK, now(c, clock()))
	})
	mux.HandleFunc("GET /weather/daily", func(w http.ResponseWriter, r *http.Request) {
		c, known := find(r.URL.Query().Get("city"))
		if !known {
			unknown(w)
			return
		}
		days, err := 3, error(nil)
		if given := r.URL.Query().Get("days"); given != "" {
			days, err = strconv.Atoi(given)
		}
		if err != nil || days < 1 || days > daysMost {
			answer(w, http.StatusBadRequest, map[string]string{"error": "days is a number from 1 to 10"})
			return
		}
		list := make([]Day, days)
		for i := range list {
			list[i] = day(c, clock().UTC().Add(time.Duration(c.UTC)*time.Hour).AddDate(0, 0, i))
		}
		answer(w, http.StatusOK, map[string]any{"city": c, "days": list})
	})
	return mux
}

func unknown(w http.ResponseWriter) {
	answer(w, http.StatusNotFound, map[string]string{"error": "no such city; GET /weather/cities lists those that there are"})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the caller may have gone
}
