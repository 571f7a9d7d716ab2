package apis

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/sdkgen/openapi"
)

// group is a seller's APIs under one domain (分组).
type group struct {
	ID       market.SourceID
	Seller   market.AccountID
	Name     market.Text
	Domain   string
	Settings settings
	File     string
	Version  string
	Document []byte
	Product  market.ProductID
	Charge   string
	Created  int64
	Moved    int64
	Config   config
	Rev      int64 // grows with each edit
}

// settings are what the seller decides for a whole group.
type settings struct {
	Upstream string
	Timeout  time.Duration
	AppCode  string
	SHA1     bool
}

type iface struct {
	market.Interface
	Operation string // the description's key, "GET /user/{id}"
	Sort      int
	Chosen    bool
	Problems  []Problem
	Config    routeConfig
}

// Problem is a remark of the import on one interface.
type Problem struct {
	Code string            `json:"code"`
	Args map[string]string `json:"args,omitempty"`
	Line int               `json:"line"`
	// Needs: buyers will miss something; Hide: better not published.
	Level string `json:"level" doc:"needs or hide"`
}

const (
	nameMax     = 60
	ifacesMax   = 1000
	timeoutMin  = 100 * time.Millisecond
	timeoutMax  = 120 * time.Second
	timeoutUsed = 10 * time.Second
)

// pathForm is a route's path: segments of visible ASCII but for what would end it, or
// [name]; a last [*] takes the rest.
var pathForm = regexp.MustCompile(`^(/([!$&'()*+,.0-9:;=@A-Z_a-z~%-]+|\[[A-Za-z_][A-Za-z0-9_-]*\]))*/?(\[\*\])?$`)

var methods = map[string]bool{"GET": true, "POST": true, "PUT": true, "PATCH": true, "DELETE": true, "HEAD": true, "OPTIONS": true, "ANY": true}

// parameter turns the description's {id} into the route's [id].
var parameter = regexp.MustCompile(`\{([^{}/]+)\}`)

func routePath(path string) string {
	return parameter.ReplaceAllStringFunc(path, func(m string) string {
		name := strings.Map(func(r rune) rune {
			if r == '_' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
				return r
			}
			return '_'
		}, m[1:len(m)-1])
		if name[0] >= '0' && name[0] <= '9' || name[0] == '-' {
			name = "_" + name
		}
		return "[" + name + "]"
	})
}

// interfaces are what a description offers, in its order. One whose path a route cannot
// have is left out with a remark in the list of lost.
func interfaces(doc *openapi.Document) (list []iface, lost []string) {
	seen := map[string]bool{}
	for _, op := range doc.Operations {
		path := routePath(op.Path)
		key := op.Method + " " + path
		if !pathForm.MatchString(path) || !methods[op.Method] || seen[key] || len(list) == ifacesMax {
			lost = append(lost, op.Key())
			continue
		}
		seen[key] = true
		i := iface{Interface: describe(op), Operation: op.Key(), Sort: len(list), Chosen: true}
		i.Path = path
		for _, d := range op.Problems {
			level := "needs"
			if d.Code == "openapi.operation.internal" {
				level, i.Chosen = "hide", false
			}
			i.Problems = append(i.Problems, Problem{Code: d.Code, Args: d.Args, Line: d.Line, Level: level})
		}
		list = append(list, i)
	}
	return list, lost
}

// describe takes from an operation what buyers may know.
func describe(op *openapi.Operation) market.Interface {
	i := market.Interface{Method: op.Method, Name: oneText(op.Title()), Doc: oneText(clip(op.Description, 2000)), CodeForm: "DEFAULT"}
	for _, p := range op.Parameters {
		if p.In == "cookie" || secret(p) {
			continue
		}
		name := p.Name
		if p.In == "path" {
			name = strings.Trim(routePath("{"+p.Name+"}"), "[]")
		}
		i.Params = append(i.Params, market.Param{Name: name, In: p.In, Type: typeName(p.Schema), Required: p.Required,
			Doc: clip(p.Description, 500), Example: clip(p.Example, 200)})
	}
	if b := op.Body; b != nil {
		i.Body, i.BodyDoc = b.MediaType, clip(b.Example, 4000)
		if b.MediaType == "application/x-www-form-urlencoded" && b.Schema != nil {
			for _, f := range b.Schema.Flat().Properties {
				example := ""
				if f.Schema != nil && f.Schema.Example != nil {
					example = strings.Trim(f.Schema.Example.JSON(200), `"`)
				}
				i.Params = append(i.Params, market.Param{Name: f.Name, In: "form", Type: typeName(f.Schema), Required: f.Required,
					Doc: clip(docOf(f.Schema), 500), Example: clip(example, 200)})
			}
		}
	}
	if r := op.Success(); r != nil {
		i.Example = clip(r.Example, 4000)
	}
	return i
}

// secret reports whether a parameter is the seller's own credential, which the gateway's
// takes the place of.
func secret(p *openapi.Parameter) bool {
	return p.In == "header" && strings.EqualFold(p.Name, "Authorization")
}

func docOf(s *openapi.Schema) string {
	if s == nil {
		return ""
	}
	return s.Description
}

func typeName(s *openapi.Schema) string {
	if t := s.Type(); t != "" {
		return t
	}
	return "string"
}

// oneText is a text in whichever of our languages it is written in.
func oneText(s string) market.Text {
	for _, r := range s {
		if r >= 0x2E80 {
			return market.Text{ZH: s}
		}
	}
	return market.Text{EN: s}
}

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}

// checkUpstream refuses what the gateway would not call.
func (p *Plugin) checkUpstream(ctx context.Context, address string) (code string, args []string) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "apis.upstream_form", nil
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Contains(u.Path, "..") {
		return "apis.upstream_parts", nil
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return "apis.upstream_form", nil
		}
	}
	if p.private {
		return "", nil
	}
	// The gateway checks the address again each time it dials; this tells the seller early.
	host := u.Hostname()
	if a, err := netip.ParseAddr(host); err == nil {
		if !control.PublicAddress(a) {
			return "apis.private_upstream", []string{"host", host}
		}
		return "", nil
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if name == "localhost" || strings.HasSuffix(name, ".localhost") || !strings.Contains(name, ".") || numeric.MatchString(name) {
		return "apis.private_upstream", []string{"host", host}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return "", nil // not to be found now; the gateway will see
	}
	for _, a := range addrs {
		if !control.PublicAddress(a) {
			return "apis.private_upstream", []string{"host", host}
		}
	}
	return "", nil
}

// numeric is a host that some resolvers read as an IPv4 address: 127.1, 0x7f000001.
var numeric = regexp.MustCompile(`^(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*$`)

func (p *Plugin) checkSettings(ctx context.Context, s settings, form *market.Form) {
	if code, args := p.checkUpstream(ctx, s.Upstream); code != "" {
		form.Fault("upstream", code, args...)
	}
	form.Check(s.Timeout >= timeoutMin && s.Timeout <= timeoutMax, "timeout", "apis.timeout", "min", "100", "max", "120000")
	switch control.AppCodeSetting(s.AppCode) {
	case control.AppCodeDefault, control.AppCodeDisable, control.AppCodeHeader, control.AppCodeHeaderQuery:
	default:
		form.Fault("app_code", "apis.app_code")
	}
}
