// Package ops shows a gateway to those who run it: liveness, readiness, metrics, profiles,
// the table of routes, why a call was refused, the level of the log. It is served on a
// listener that is never public.
//
// It also has what carries this elsewhere: traces and metrics by OTLP, and a log file that
// is begun anew when it is large or old. What counts on the call path is plain atomics.
package ops

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/gateway/control"
)

// Inner is the inner side. Meter and Ready are needed; a part that is nil has no page.
type Inner struct {
	Meter *Meter
	// Ready names what is missing, nothing if the gateway can serve.
	Ready func(context.Context) []string
	// Configuration is the present one, for the table of routes.
	Configuration func() (number int64, groups []*control.Group, routes []*control.Route)
	Refusals      *Refusals
	// Find looks a call up that the refusals do not know, by its X-Ca-Request-Id.
	Find  func(ctx context.Context, request string) (control.CallRecord, bool)
	Level *zap.AtomicLevel
	// Purge empties the caches of answers, of one route or (with none) of all, and says how
	// many answers are gone.
	Purge func(context.Context, control.RouteID) (int, error)
	// Token, if it is set, is demanded as a bearer of all pages but health and readiness.
	Token string
}

// Handler serves a gateway that has no more than a meter and readiness.
func Handler(m *Meter, ready func(context.Context) []string) http.Handler {
	return Inner{Meter: m, Ready: ready}.Handler()
}

// Handler serves the pages. What changes something wants POST or PUT, and none of it can be
// sent from a page of another site.
func (i Inner) Handler() http.Handler {
	open, shut := http.NewServeMux(), http.NewServeMux()
	open.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, nil) })
	open.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { answer(w, i.Ready(r.Context())) })
	open.Handle("/", http.NewCrossOriginProtection().Handler(i.guard(shut)))
	shut.HandleFunc("GET /metrics", i.metrics())
	shut.HandleFunc("/debug/pprof/", pprof.Index)
	shut.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	shut.HandleFunc("/debug/pprof/profile", pprof.Profile)
	shut.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	shut.HandleFunc("/debug/pprof/trace", pprof.Trace)
	if i.Configuration != nil {
		shut.HandleFunc("GET /routes", i.routes)
	}
	if i.Refusals != nil || i.Find != nil {
		shut.HandleFunc("GET /explain", i.explain)
	}
	if i.Level != nil {
		shut.Handle("/log/level", i.Level) // GET, and PUT with {"level": "debug"}
	}
	if i.Purge != nil {
		shut.HandleFunc("POST /cache/purge", i.purge)
	}
	return open
}

func (i Inner) guard(next http.Handler) http.Handler {
	if i.Token == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || subtle.ConstantTimeCompare([]byte(given), []byte(i.Token)) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "this page wants the token of the inner listener", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// maxScrapes bounds how many readers of metrics are answered at once.
const maxScrapes = 2

func (i Inner) metrics() http.HandlerFunc {
	turn := make(chan struct{}, maxScrapes)
	return func(w http.ResponseWriter, _ *http.Request) {
		select {
		case turn <- struct{}{}:
		default:
			http.Error(w, "the metrics are being read already", http.StatusServiceUnavailable)
			return
		}
		defer func() { <-turn }()
		var b bytes.Buffer
		if err := i.Meter.Write(&b); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write(b.Bytes()) // who asked has gone
	}
}

// RouteLine is one route as the table of routes shows it.
type RouteLine struct {
	Hosts    []string        `json:"hosts"`
	Stage    control.Stage   `json:"stage"`
	Method   string          `json:"method"`
	Path     string          `json:"path"`
	Route    control.RouteID `json:"route"`
	Group    control.GroupID `json:"group"`
	Product  string          `json:"product"`
	Upstream string          `json:"upstream"`
	Filters  []string        `json:"filters,omitempty"`
	Limits   []string        `json:"limits,omitempty"`
	Live     bool            `json:"live"`
}

// maxRouteLines bounds one page of the table of routes.
const maxRouteLines = 1000

// routes shows what calls are matched with: those of ?host=, or all.
func (i Inner) routes(w http.ResponseWriter, r *http.Request) {
	host := strings.ToLower(r.URL.Query().Get("host"))
	number, groups, routes := i.Configuration()
	byID := map[control.GroupID]*control.Group{}
	for _, g := range groups {
		for _, d := range g.Domains {
			if host == "" || strings.ToLower(d) == host {
				byID[g.ID] = g
				break
			}
		}
	}
	page := struct {
		Snapshot int64       `json:"snapshot"`
		More     bool        `json:"more,omitempty"` // there are further ones; ask with ?host=
		Routes   []RouteLine `json:"routes"`
	}{Snapshot: number, Routes: []RouteLine{}}
	for _, one := range routes {
		g := byID[one.Group]
		if g == nil {
			continue
		}
		if len(page.Routes) == maxRouteLines {
			page.More = true
			break
		}
		page.Routes = append(page.Routes, routeLine(g, one))
	}
	write(w, http.StatusOK, page)
}

func routeLine(g *control.Group, r *control.Route) RouteLine {
	l := RouteLine{Hosts: g.Domains, Stage: r.Stage, Method: r.Method, Path: r.Path, Route: r.ID, Group: g.ID,
		Product: string(r.Product), Upstream: r.Upstream, Live: g.Live && r.Live}
	if l.Stage == "" {
		l.Stage = control.Release
	}
	if r.Via != "" {
		l.Upstream = string(r.Via)
	}
	// Only the names: a setting may say more than whoever reads this should know.
	for _, list := range [][]control.FilterSetting{g.Filters, r.Filters} {
		for _, f := range list {
			l.Filters = append(l.Filters, f.Filter)
		}
	}
	for _, list := range [][]control.Limit{g.Limits, r.Limits} {
		for _, limit := range list {
			l.Limits = append(l.Limits, limit.Name)
		}
	}
	return l
}

// explain says why the call of ?request= was refused.
func (i Inner) explain(w http.ResponseWriter, r *http.Request) {
	id := strings.ToUpper(r.URL.Query().Get("request"))
	if id == "" && i.Refusals != nil {
		last := i.Refusals.Last(50)
		page := struct {
			Refused []Explanation `json:"refused"`
		}{make([]Explanation, len(last))}
		for n, one := range last {
			page.Refused[n] = Explain(one)
		}
		write(w, http.StatusOK, page)
		return
	}
	if i.Refusals != nil {
		if one, ok := i.Refusals.Find(id); ok {
			write(w, http.StatusOK, Explain(one))
			return
		}
	}
	if i.Find != nil {
		if record, ok := i.Find(r.Context(), id); ok {
			write(w, http.StatusOK, Explain(Refused{Request: record.Request.String(), At: record.At, Route: record.Route, App: record.App,
				Method: record.Method, Path: record.Path, Status: record.Status, Code: record.Code}))
			return
		}
	}
	write(w, http.StatusNotFound, struct {
		Error string `json:"error"`
	}{"no such call is remembered; refused calls are for a while, and others once they are booked"})
}

func (i Inner) purge(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	n, err := i.Purge(ctx, control.RouteID(r.URL.Query().Get("route")))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	write(w, http.StatusOK, struct {
		Gone int `json:"gone"`
	}{n})
}

func answer(w http.ResponseWriter, reasons []string) {
	status := http.StatusOK
	if len(reasons) > 0 {
		status = http.StatusServiceUnavailable
	}
	write(w, status, struct {
		OK      bool     `json:"ok"`
		Reasons []string `json:"reasons,omitempty"`
	}{len(reasons) == 0, reasons})
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // who asked has gone
}
