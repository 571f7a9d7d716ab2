package apis

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/gateway/control"
)

// Backend is more than one address behind a group (后端服务): other servers beside the
// upstream of the settings, and how calls go to them.
type Backend struct {
	Weight      int            `json:"weight,omitempty" doc:"Of the upstream address; 1 if left out"`
	Targets     []Target       `json:"targets,omitempty" doc:"Beside the upstream address"`
	Spread      control.Spread `json:"spread,omitempty" doc:"round_robin, least_requests or hash"`
	HashOn      string         `json:"hash_on,omitempty" doc:"For hash: app, address, header:X-Name, query:name or path:name"`
	HealthPath  string         `json:"health_path,omitempty" doc:"Is asked by GET; empty: there are no probes"`
	HealthEvery int            `json:"health_every,omitempty" doc:"Seconds; 10 if left out"`
	Failures    int            `json:"failures,omitempty" doc:"One after the other, until a target is left alone; 0: never"`
	EjectFor    int            `json:"eject_for,omitempty" doc:"Seconds; 30 if left out"`
	Attempts    int            `json:"attempts,omitempty" doc:"How often a call is tried in all; 1 if left out"`
	Idempotent  bool           `json:"idempotent,omitempty" doc:"Calls may be tried again whatever their method"`
	OnTimeout   bool           `json:"on_timeout,omitempty" doc:"Also after a time-out"`
	TLSName     string         `json:"tls_name,omitempty" doc:"Name in the certificate; empty: the target's host"`
	TLSCA       string         `json:"tls_ca,omitempty" doc:"PEM of the authority to believe; empty: the public ones"`
	TLSPins     []string       `json:"tls_pins,omitempty" doc:"Base64 of the SHA-256 of public keys, one of which must be met"`
}

// Target is a server beside the upstream address.
type Target struct {
	URL    string `json:"url"`
	Weight int    `json:"weight,omitempty"`
	Backup bool   `json:"backup,omitempty" doc:"Only when none of the others can serve"`
}

const (
	targetsMax = 50
	weightMax  = 1000
	triesMax   = 10
	healthMax  = 3600 // seconds
)

// plain reports whether there is nothing that one address alone does not do.
func (b *Backend) plain() bool {
	return len(b.Targets) == 0 && b.HealthPath == "" && b.Failures == 0 && b.Attempts <= 1 && !b.Idempotent && !b.OnTimeout &&
		b.TLSName == "" && b.TLSCA == "" && len(b.TLSPins) == 0
}

func (w *whole) upstreamID() control.UpstreamID {
	return control.UpstreamID("ups_" + strings.TrimPrefix(string(w.ID), "grp_"))
}

// upstream is a group's servers as the gateway knows them.
func (w *whole) upstream() *control.Upstream {
	b := w.Config.Backend
	u := &control.Upstream{ID: w.upstreamID(), Name: w.Name.In("en"), Spread: b.Spread,
		Targets: []control.Target{{URL: w.Settings.Upstream, Weight: b.Weight}},
		Retry:   control.Retry{Attempts: b.Attempts, Idempotent: b.Idempotent, OnTimeout: b.OnTimeout}}
	if w.Settings.Upstream == "" {
		u.Targets[0].URL = nowhere
	}
	for _, t := range b.Targets {
		u.Targets = append(u.Targets, control.Target{URL: t.URL, Weight: t.Weight, Backup: t.Backup})
	}
	if b.Spread == control.ConsistentHash {
		u.HashOn = b.HashOn
	}
	if b.HealthPath != "" {
		u.Health = &control.Health{Path: b.HealthPath, Every: time.Duration(b.HealthEvery) * time.Second}
	}
	if b.Failures > 0 {
		u.Outlier = &control.Outlier{Failures: b.Failures, For: time.Duration(b.EjectFor) * time.Second}
	}
	if b.TLSName != "" || b.TLSCA != "" || len(b.TLSPins) > 0 {
		u.TLS = &control.UpstreamTLS{Name: b.TLSName, CA: b.TLSCA, Pin: b.TLSPins}
	}
	return u
}

// check notes what is wrong with servers. It asks the name service about each.
func (p *Plugin) checkBackend(ctx context.Context, b *Backend, form *market.Form) {
	form.Check(len(b.Targets) <= targetsMax, "targets", "apis.too_many", "max", strconv.Itoa(targetsMax))
	between := func(n, most int, field string) {
		form.Check(n >= 0 && n <= most, field, "apis.between", "max", strconv.Itoa(most))
	}
	between(b.Weight, weightMax, "weight")
	for n, t := range b.Targets[:min(len(b.Targets), targetsMax)] {
		at := strconv.Itoa(n + 1)
		if code, args := p.checkUpstream(ctx, t.URL); code != "" {
			form.Fault("targets", "apis.target", "n", at)
			form.Fault("targets", code, args...)
		}
		form.Check(t.Weight >= 0 && t.Weight <= weightMax, "targets", "apis.target_weight", "n", at, "max", strconv.Itoa(weightMax))
	}
	form.Check(slices.Contains([]control.Spread{"", control.RoundRobin, control.LeastRequests, control.ConsistentHash}, b.Spread), "spread", "apis.spread")
	place, name, parted := strings.Cut(b.HashOn, ":")
	form.Check(b.HashOn == "" || !parted && (place == "app" || place == "address") || name != "" && slices.Contains([]string{"header", "query", "path"}, place), "hash_on", "apis.hash_on")
	form.Check(b.HealthPath == "" || strings.HasPrefix(b.HealthPath, "/"), "health_path", "apis.health_path")
	between(b.HealthEvery, healthMax, "health_every")
	between(b.Failures, 1000, "failures")
	between(b.EjectFor, healthMax, "eject_for")
	between(b.Attempts, triesMax, "attempts")
	form.Check(b.TLSCA == "" || x509.NewCertPool().AppendCertsFromPEM([]byte(b.TLSCA)), "tls_ca", "apis.tls_ca")
	for _, pin := range b.TLSPins {
		sum, err := base64.StdEncoding.DecodeString(pin)
		form.Check(err == nil && len(sum) == 32, "tls_pins", "apis.tls_pin", "pin", pin)
	}
}
