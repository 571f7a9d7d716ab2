package apis

import (
	"strconv"
	"strings"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web"
	"github.com/souk-market/souk/gateway/control"
)

// BackendPage is the servers behind a group.
type BackendPage struct {
	Head
	Upstream string           `json:"upstream" doc:"The first of them"`
	Backend  Backend          `json:"backend"`
	Pins     string           `json:"-"`
	Rows     []Target         `json:"-"` // with some empty ones
	Spreads  []map[string]any `json:"-"`
}

// backendForm is Backend as a form sends it; the rows of targets are parallel lists.
type backendForm struct {
	Weight      int      `json:"weight"`
	URLs        []string `json:"target_url"`
	Weights     []string `json:"target_weight"`
	Backups     []string `json:"target_backup"`
	Spread      string   `json:"spread"`
	HashOn      string   `json:"hash_on"`
	HealthPath  string   `json:"health_path"`
	HealthEvery int      `json:"health_every"`
	Failures    int      `json:"failures"`
	EjectFor    int      `json:"eject_for"`
	Attempts    int      `json:"attempts"`
	Idempotent  bool     `json:"idempotent"`
	OnTimeout   bool     `json:"on_timeout"`
	TLSName     string   `json:"tls_name"`
	TLSCA       string   `json:"tls_ca"`
	TLSPins     string   `json:"tls_pins"`
}

// at is the n-th of a list that may be shorter.
func at(list []string, n int) string {
	if n < len(list) {
		return strings.TrimSpace(list[n])
	}
	return ""
}

func (f backendForm) backend(form *market.Form) Backend {
	b := Backend{Weight: f.Weight, Spread: control.Spread(f.Spread), HashOn: f.HashOn, HealthPath: f.HealthPath, HealthEvery: f.HealthEvery,
		Failures: f.Failures, EjectFor: f.EjectFor, Attempts: f.Attempts, Idempotent: f.Idempotent, OnTimeout: f.OnTimeout,
		TLSName: f.TLSName, TLSCA: f.TLSCA, TLSPins: strings.Fields(f.TLSPins)}
	for n, u := range f.URLs {
		if u = strings.TrimSpace(u); u == "" {
			continue
		}
		t := Target{URL: u, Backup: at(f.Backups, n) == "yes"}
		if s := at(f.Weights, n); s != "" {
			v, err := strconv.Atoi(s)
			if err != nil {
				form.Fault("targets", "apis.target_weight", "n", strconv.Itoa(n+1), "max", strconv.Itoa(weightMax))
			}
			t.Weight = v
		}
		b.Targets = append(b.Targets, t)
	}
	return b
}

// spare is how many empty rows a table in a form ends with.
const spare = 3

func backendView(c *web.Ctx, w *whole, b Backend) web.View {
	d := BackendPage{Head: head(c, w, "upstream"), Upstream: w.Settings.Upstream, Backend: b, Pins: strings.Join(b.TLSPins, "\n"),
		Rows: append(append([]Target{}, b.Targets...), make([]Target, spare)...)}
	for _, s := range []control.Spread{control.RoundRobin, control.LeastRequests, control.ConsistentHash} {
		d.Spreads = append(d.Spreads, option(string(s), c.T("apis.spread_"+string(s)), b.Spread == s || b.Spread == "" && s == control.RoundRobin))
	}
	return under(c, w, "backend", "upstream", c.T("apis.backend"), d)
}

func (p *Plugin) showBackend(c *web.Ctx) (web.View, error) {
	w, err := p.mine(c)
	if err != nil {
		return web.View{}, err
	}
	var b Backend
	if w.Config.Backend != nil {
		b = *w.Config.Backend
	}
	return backendView(c, w, b), nil
}

func (p *Plugin) setBackend(c *web.Ctx) (web.View, error) {
	var b Backend
	var form market.Form
	var err error
	if c.API() {
		err = c.Bind(&b)
	} else {
		var in backendForm
		err = c.Bind(&in)
		b = in.backend(&form)
	}
	for n := range b.Targets {
		b.Targets[n].URL = strings.TrimSuffix(b.Targets[n].URL, "/")
	}
	if err == nil {
		p.checkBackend(c, &b, &form)
		err = form.Err()
	}
	if err == nil {
		err = p.edit(c, c.Actor(), p.group(c), "targets", func(w *whole, form *market.Form) error {
			form.Check(w.Settings.Upstream != "", "targets", "apis.no_upstream")
			if w.Config.Backend = &b; b.plain() {
				w.Config.Backend = nil
			}
			return nil
		})
	}
	w, viewErr := p.mine(c)
	if viewErr != nil {
		return web.View{}, viewErr
	}
	v := backendView(c, w, b)
	if err == nil {
		v.To, v.Say = "/seller/apis/"+string(w.ID)+"/backend", "web.saved"
	}
	return v, err
}
