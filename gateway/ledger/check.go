package ledger

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/souk-market/souk/gateway/control"
)

// check refuses a change that contradicts itself, with the field and the reason. What needs
// a look at others (that an upstream exists, that a key fits) is apply's.
func check(c control.Change) error {
	switch c := c.(type) {
	case *control.Group:
		return checkGroup(c)
	case *control.Route:
		return checkRoute(c)
	case *control.Upstream:
		return checkUpstream(c)
	case *control.Secret:
		switch {
		case c.ID == "":
			return invalid("secret", "has no ID")
		case len(c.Value) == 0 || len(c.Value) > maxSecret:
			return invalid("secret "+string(c.ID), fmt.Sprintf("value has %d bytes; 1 to %d are possible", len(c.Value), maxSecret))
		}
	case *control.Certificate:
		return checkCertificate(c)
	case *control.App:
		if c.ID == "" {
			return invalid("app", "has no ID")
		}
	case *control.Grant:
		if c.ID == "" || c.App == "" || c.Product == "" {
			return invalid("grant "+string(c.ID), "names no app or no product")
		}
	case *control.Package:
		switch {
		case c.ID == "" || c.Grant == "":
			return invalid("package "+string(c.ID), "names no grant")
		case c.Calls <= 0:
			return invalid("package "+string(c.ID), "has no calls")
		case !c.Until.IsZero() && !c.Until.After(c.From):
			return invalid("package "+string(c.ID), "ends before it begins")
		}
	}
	return nil
}

// Bounds of what a change may have.
const (
	maxSecret  = 64 << 10 // bytes
	maxTargets = 256
	maxLimits  = 16
	maxFilters = 64
	maxTries   = 10
)

// faults checks the fields of one change, and keeps the first fault.
type faults struct {
	what string
	err  error
}

func (f *faults) bad(is bool, format string, args ...any) {
	if is && f.err == nil {
		f.err = invalid(f.what, fmt.Sprintf(format, args...))
	}
}

func (f *faults) negative(field string, d ...time.Duration) {
	for _, v := range d {
		f.bad(v < 0, "%s is below zero", field)
	}
}

func isHost(d string) bool {
	return d != "" && d == strings.ToLower(d) && !strings.ContainsAny(d, ":/ ")
}

func checkGroup(g *control.Group) error {
	if g.ID == "" {
		return invalid("group", "has no ID")
	}
	f := faults{what: "group " + string(g.ID)}
	f.bad(len(g.Domains) == 0, "has no domain")
	for i, d := range g.Domains {
		// [::1] is a host, too.
		plain := strings.TrimSuffix(strings.TrimPrefix(d, "["), "]")
		f.bad(!isHost(d) && (plain == d || d != strings.ToLower(d)), "domain %q is not a lower-case host name without a port", d)
		f.bad(slices.Contains(g.Domains[:i], d), "domain %q stands twice", d)
	}
	f.bad(g.TestDomain != "" && !slices.Contains(g.Domains, g.TestDomain), "test_domain %q is none of its domains", g.TestDomain)
	f.limits(g.Limits)
	f.filters(g.Filters)
	return f.err
}

func (f *faults) filters(list []control.FilterSetting) {
	f.bad(len(list) > maxFilters, "has %d filters; %d are possible", len(list), maxFilters)
	for i, s := range list {
		f.bad(s.Filter == "", "filter %d of its filters has no name", i+1)
	}
}

func (f *faults) limits(list []control.Limit) {
	f.bad(len(list) > maxLimits, "has %d limits; %d are possible", len(list), maxLimits)
	for i, l := range list {
		name := fmt.Sprintf("limit %d", i+1)
		if l.Name != "" {
			name = fmt.Sprintf("limit %q", l.Name)
		}
		switch l.By {
		case control.ByRoute, control.ByApp, control.ByUser, control.ByAddress, control.ByGroup:
			f.bad(l.Param != "", "%s: param is only for limits by param", name)
		case control.ByParam:
			place, param, _ := strings.Cut(l.Param, ":")
			f.bad(param == "" || !slices.Contains([]string{"query", "header", "path", "form"}, place),
				"%s: param %q is not query:name, header:name, path:name or form:name", name, l.Param)
		default:
			f.bad(true, "%s: by %q is not known", name, l.By)
		}
		f.bad(l.Calls < 0 || l.Calls == 0 && len(l.Special) == 0, "%s: calls is not above zero", name)
		f.bad(l.Window <= 0, "%s: window is not above zero", name)
		f.bad(l.Burst < 0 || l.Burst > 0 && !l.Smooth, "%s: burst is below zero, or for a limit that is not smooth", name)
		f.bad(l.Shared && l.Name == "", "%s: is shared and has no name by which to share it", name)
		f.bad(len(l.Special) > 0 && l.By != control.ByApp && l.By != control.ByUser, "%s: special is only for limits by app or user", name)
		for who, n := range l.Special {
			f.bad(who == "" || n < 0, "%s: special %q has %d calls", name, who, n)
		}
		f.bad(slices.ContainsFunc(list[:i], func(o control.Limit) bool { return l.Name != "" && o.Name == l.Name }), "%s stands twice", name)
	}
}

// address checks a seller's address.
func (f *faults) address(field, address string) {
	u, err := url.Parse(address)
	f.bad(err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https", "%s is not an http or https address", field)
	if err == nil {
		f.bad(u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "", "%s has a user, a query or a fragment", field)
	}
}

func checkRoute(r *control.Route) error {
	f := faults{what: "route " + string(r.ID)}
	f.bad(r.ID == "" || r.Group == "" || r.Product == "", "names no group or no product")
	f.bad(r.Method == "" || r.Method != strings.ToUpper(r.Method) || !isToken(r.Method), "has no method in upper case")
	f.bad(!strings.HasPrefix(r.Path, "/") || r.UpstreamPath != "" && !strings.HasPrefix(r.UpstreamPath, "/"), "path does not begin with /")
	f.bad(!slices.Contains([]control.Stage{"", control.Release, control.Pre, control.Test}, r.Stage), "stage %q is not known", r.Stage)
	f.bad(!slices.Contains([]control.AppCodeSetting{"", control.AppCodeDefault, control.AppCodeDisable, control.AppCodeHeader, control.AppCodeHeaderQuery}, r.AppCode),
		"app_code %q is not known", r.AppCode)
	f.bad(!slices.Contains([]control.ChargeOn{"", control.ChargeSucceeded, control.ChargeAnswered}, r.Charge), "charge %q is not known", r.Charge)
	f.bad(!slices.Contains([]control.Mode{control.PassThrough, control.Mapped}, r.Mode), "mode %q is not known", r.Mode)
	if r.Upstream != "" || r.Via == "" && r.Mock == nil {
		f.address("upstream", r.Upstream)
	}
	f.bad(r.Timeout < 0 || r.MaxBody < 0 || r.Throttle.PerApp < 0 || r.Throttle.PerRoute < 0 || r.Throttle.Window < 0, "has a bound below zero")
	f.limits(r.Limits)
	f.filters(r.Filters)
	f.parameters(r)
	f.constants(r)
	f.mock(r.Mock)
	return f.err
}

var places = []control.Place{control.InPath, control.InQuery, control.InHeader, control.InForm}

// inPath reports whether a path has the [name].
func inPath(path, name string) bool { return strings.Contains(path, "["+name+"]") }

func (f *faults) parameters(r *control.Route) {
	target := r.UpstreamPath
	if target == "" {
		target = r.Path
	}
	type at struct {
		in   control.Place
		name string
	}
	seen := map[at]bool{}
	for i, p := range r.Parameters {
		name := fmt.Sprintf("parameter %q", p.Name)
		f.bad(p.Name == "", "parameter %d has no name", i+1)
		f.bad(!slices.Contains(places, p.In), "%s: in %q is not path, query, header or form", name, p.In)
		f.bad(p.To != "" && !slices.Contains(places, p.To), "%s: to %q is not path, query, header or form", name, p.To)
		f.bad(p.In == control.InPath && !inPath(r.Path, p.Name), "%s is in the path, and the path has no [%s]", name, p.Name)
		f.bad(p.In == control.InHeader && !isHeader(p.Name), "%s is no header that a caller can send", name)
		key := at{p.In, p.Name}
		if p.In == control.InHeader {
			key.name = strings.ToLower(p.Name)
		}
		f.bad(seen[key], "%s stands twice in the %s", name, p.In)
		seen[key] = true
		to, toName := p.To, p.ToName
		if to == "" {
			to = p.In
		}
		if toName == "" {
			toName = p.Name
		}
		f.bad(to == control.InPath && !inPath(target, toName), "%s goes to the path, and the seller's path has no [%s]", name, toName)
		f.bad(to == control.InHeader && !isHeader(toName), "%s goes to %q, which is no header that can be set", name, toName)
		f.bad(to == control.InHeader && !isValue(p.Default), "%s: default has characters that a header cannot have", name)
	}
}

// systems are the system parameters of control.Constant.
var systems = []string{"CaClientIp", "CaDomain", "CaRequestHandleTime", "CaAppId", "CaAppKey", "CaRequestId", "CaApiName", "CaHttpSchema",
	"CaProxy", "CaStage", "CaMarketplaceProduct"}

func (f *faults) constants(r *control.Route) {
	for i, c := range r.Constants {
		name := fmt.Sprintf("constant %q", c.Name)
		f.bad(c.Name == "", "constant %d has no name", i+1)
		f.bad(!slices.Contains(places, c.In), "%s: in %q is not path, query, header or form", name, c.In)
		f.bad(c.System != "" && !slices.Contains(systems, c.System), "%s: system %q is not known; there are %s", name, c.System, strings.Join(systems, ", "))
		f.bad(c.System != "" && c.Value != "", "%s has a value and a system parameter", name)
		f.bad(c.In == control.InHeader && (!isHeader(c.Name) || !isValue(c.Value)), "%s is no header that can be set", name)
		f.bad(c.In == control.InPath && !inPath(r.UpstreamPath, c.Name), "%s goes to the path, and the seller's path has no [%s]", name, c.Name)
	}
}

const maxMock = 1 << 20 // bytes of a mock's body

func (f *faults) mock(m *control.Mock) {
	if m == nil {
		return
	}
	f.bad(m.Status < 200 || m.Status > 599, "mock: status %d is not 200 to 599", m.Status)
	f.bad(len(m.Body) > maxMock, "mock: the body has more than %d bytes", maxMock)
	f.bad(m.Body != "" && (m.Status == 204 || m.Status == 304), "mock: an answer with status %d has no body", m.Status)
	for _, h := range m.Headers {
		f.bad(len(h) != 2 || !isHeader(h[0]) || !isValue(h[1]), "mock: header %q is not a name that can be set and a value", h)
	}
}

// perConnection are headers that nobody can set, since they concern the connection or say
// where the message ends.
var perConnection = []string{"connection", "proxy-connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
	"transfer-encoding", "upgrade", "http2-settings", "content-length", "host", "expect"}

// isHeader reports whether a header of the name can be set (security.md N5).
func isHeader(name string) bool {
	return isToken(name) && !slices.Contains(perConnection, strings.ToLower(name))
}

func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7F || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

func isValue(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7F {
			return false
		}
	}
	return true
}

func checkUpstream(u *control.Upstream) error {
	if u.ID == "" {
		return invalid("upstream", "has no ID")
	}
	f := faults{what: "upstream " + string(u.ID)}
	f.bad(len(u.Targets) == 0 || len(u.Targets) > maxTargets, "has %d targets; 1 to %d are possible", len(u.Targets), maxTargets)
	backup, secure := 0, 0
	for i, t := range u.Targets {
		name := fmt.Sprintf("target %d: url", i+1)
		f.address(name, t.URL)
		f.bad(t.Weight < 0 || t.Weight > 1000, "target %d: weight %d is not 0 to 1000", i+1, t.Weight)
		f.bad(slices.ContainsFunc(u.Targets[:i], func(o control.Target) bool { return o.URL == t.URL }), "target %d: %s stands twice", i+1, t.URL)
		if t.Backup {
			backup++
		}
		if strings.HasPrefix(t.URL, "https:") {
			secure++
		}
	}
	f.bad(backup > 0 && backup == len(u.Targets), "has backup targets only")
	f.bad(!slices.Contains([]control.Spread{"", control.RoundRobin, control.LeastRequests, control.ConsistentHash}, u.Spread), "spread %q is not known", u.Spread)
	if u.HashOn != "" {
		place, name, named := strings.Cut(u.HashOn, ":")
		whole := !named && (place == "app" || place == "address")
		f.bad(!whole && (name == "" || !slices.Contains([]string{"header", "query", "path"}, place)),
			"hash_on %q is not app, address, header:name, query:name or path:name", u.HashOn)
	}
	f.bad(!slices.Contains([]string{"", "http/1.1", "h2", "grpc"}, u.Protocol), "protocol %q is not http/1.1, h2 or grpc", u.Protocol)
	f.tls(u.TLS, secure)
	f.health(u)
	f.negative("connect_timeout", u.ConnectTimeout)
	f.negative("idle_timeout", u.IdleTimeout)
	f.negative("keep_idle", u.KeepIdle)
	f.negative("keep_life", u.KeepLife)
	f.negative("queue_timeout", u.QueueTimeout)
	f.bad(u.MaxConns < 0 || u.MaxQueue < 0, "max_conns or max_queue is below zero")
	f.bad(u.Retry.Attempts < 0 || u.Retry.Attempts > maxTries, "retry: attempts %d is not 0 to %d", u.Retry.Attempts, maxTries)
	return f.err
}

func (f *faults) tls(t *control.UpstreamTLS, secure int) {
	if t == nil {
		return
	}
	f.bad(secure == 0, "has tls, and no target with https")
	f.bad(t.Name != "" && !isHost(t.Name), "tls: name %q is not a lower-case host name", t.Name)
	if t.CA != "" {
		f.bad(!x509.NewCertPool().AppendCertsFromPEM([]byte(t.CA)), "tls: ca has no certificate in PEM")
	}
	for _, p := range t.Pin {
		b, err := base64.StdEncoding.DecodeString(p)
		f.bad(err != nil || len(b) != sha256.Size, "tls: pin %q is not the Base64 of a SHA-256", p)
	}
	f.bad((t.Cert == "") != (t.Key == ""), "tls: cert and key go together")
}

func (f *faults) health(u *control.Upstream) {
	if h := u.Health; h != nil {
		f.bad(!strings.HasPrefix(h.Path, "/") || !isValue(h.Path) || strings.ContainsAny(h.Path, " #"), "health: path %q is none", h.Path)
		f.negative("health: every or timeout", h.Every, h.Timeout)
		f.bad(h.Every > 0 && h.Timeout > h.Every, "health: timeout is longer than every")
		f.bad(h.Rise < 0 || h.Fall < 0, "health: rise or fall is below zero")
		for _, s := range h.Statuses {
			f.bad(s < 100 || s > 599, "health: status %d is none", s)
		}
	}
	if o := u.Outlier; o != nil {
		f.bad(o.Failures < 0, "outlier: failures is below zero")
		f.negative("outlier: for", o.For)
	}
}

func checkCertificate(c *control.Certificate) error {
	if c.ID == "" {
		return invalid("certificate", "has no ID")
	}
	f := faults{what: "certificate " + string(c.ID)}
	f.bad(len(c.Domains) == 0, "has no domain")
	f.bad(c.Key == "", "names no key")
	leaf, err := leafOf(c.Chain)
	f.bad(err != nil, "chain has no certificate in PEM, or one that cannot be read")
	for _, d := range c.Domains {
		f.bad(!isHost(d) || strings.Contains(strings.TrimPrefix(d, "*."), "*"), "domain %q is not a lower-case host name, or *. before one", d)
		if leaf != nil {
			f.bad(leaf.VerifyHostname(strings.Replace(d, "*.", "any.", 1)) != nil, "is not for the domain %s", d)
		}
	}
	return f.err
}

// leafOf reads every certificate of a chain and returns the first.
func leafOf(chain string) (leaf *x509.Certificate, err error) {
	for rest := []byte(chain); ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		if b.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, err
		}
		if leaf == nil {
			leaf = c
		}
	}
	if leaf == nil {
		return nil, fmt.Errorf("no certificate")
	}
	return leaf, nil
}
