package apis_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/souk-market/souk/console/consoletest"
	"github.com/souk-market/souk/gateway/control"
)

// shop is a seller with a product on the shelf.
type shop struct {
	*consoletest.Market
	op, seller *consoletest.Person
	product    consoletest.Listed
	at         string // the address of the group's page
}

func open(t *testing.T) *shop {
	t.Helper()
	m := consoletest.New(t)
	s := &shop{Market: m, op: m.Operator()}
	s.seller = m.Seller(s.op, "tides")
	s.product = m.Product(s.seller, s.op, "Tide tables", 1000, "9.90")
	m.Until("the routes are there", func() bool { return len(m.Gateway.Routes()) > 0 })
	s.at = "/seller/apis/" + s.product.Group
	return s
}

func (s *shop) route() control.Route { return s.Gateway.Routes()["GET /tide/now"] }

func (s *shop) group() control.Group { return s.Gateway.Groups()[control.GroupID(s.product.Group)] }

// GEN-04: the seller's menu has what the gateway offers him; each entry leads to a page
// that says what to do when nothing is set, and from there into the group.
func TestTheSellersMenu(t *testing.T) {
	s := open(t)
	fresh := s.Seller(s.op, "fresh")
	page := s.seller.Get("/seller/apis").Is(200)
	for _, href := range []string{"/seller/apis", "/seller/interfaces", "/seller/limits", "/seller/keys", "/seller/addresses", "/seller/filters"} {
		page.Sees(`href="` + href + `"`)
		fresh.Get(href).Is(200).Sees(`class="empty"`)
		s.seller.Get(href).Is(200)
	}
	for _, kind := range []string{"limits", "filters", "addresses"} {
		s.seller.Get("/seller/" + kind).Sees(s.at + "/" + kind)
	}
	s.seller.Get("/seller/interfaces?q=%2FNOW").Sees("/tide/now").SeesNot("/admin/reset")
	s.seller.Get("/seller/interfaces?q=nothing").Sees("No interface matches")
	for _, tab := range []string{"", "/upstream", "/backend", "/domains", "/limits", "/limits/new", "/filters", "/filters/new?filter=cors", "/addresses", "/signing", "/interfaces/" + string(s.route().ID)} {
		s.seller.Get(s.at + tab).Is(200)
		fresh.Get(s.at + tab).Is(404) // somebody else's
	}
	s.seller.Get("/seller/apis/grp_none/limits").Is(404)
}

// SEL-06, API-07: each interface has its own AppCode policy of four values, with the
// group's as the default; buyers are shown it.
func TestEachInterfaceHasItsAppCodePolicy(t *testing.T) {
	s := open(t)
	at := s.at + "/interfaces/" + string(s.route().ID)
	if s.route().AppCode != control.AppCodeDefault {
		t.Fatalf("at first %q", s.route().AppCode)
	}
	for _, policy := range []control.AppCodeSetting{control.AppCodeDisable, control.AppCodeHeader, control.AppCodeHeaderQuery, control.AppCodeDefault} {
		s.seller.Post(at, "app_code", string(policy), "secure", "on", "force_nonce", "on", "canonical", "on", "sha1", "yes", "timeout_millis", "3000", "max_body", "2048").Is(303)
		r := s.route()
		if r.AppCode != policy || !r.Secure || !r.ForceNonce || !r.Canonical || !r.AllowSHA1 || r.Timeout != 3*time.Second || r.MaxBody != 2048 {
			t.Errorf("%s: %+v", policy, r)
		}
		s.seller.Get(at).Is(200).Sees(`value="` + string(policy) + `" selected`)
	}
	s.seller.API("POST", at, map[string]any{}).Is(200)
	s.seller.API("POST", s.at+"/upstream", map[string]any{"upstream": "https://93.184.216.34", "app_code": "HEADER", "secure_app_code": true}).Is(200)
	if r := s.route(); r.AppCode != control.AppCodeHeader || r.Secure || !s.group().SecureAppCode {
		t.Errorf("as the group: %+v, %+v", r, s.group())
	}
	s.seller.API("POST", at, map[string]any{"app_code": "QUERY"}).Is(422).Code("apis.app_code")
	s.seller.Post(at, "app_code", "QUERY", "timeout_millis", "1", "charge", "answered", "mode", "odd").Is(422).
		Sees(`href="#f-app_code"`, `href="#f-timeout_millis"`, `href="#f-charge"`, `href="#f-mode"`, `value="1"`)
	s.seller.Post(s.at+"/interfaces/rte_none", "app_code", "HEADER").Is(404)
}

// Parameters, constants and the mock of an interface reach the gateway; rows that are empty
// are none.
func TestAnInterfaceIsMappedOrMocked(t *testing.T) {
	s := open(t)
	at := s.at + "/interfaces/" + string(s.route().ID)
	s.seller.Post(at, "mode", "mapped", "upstream_path", "/v2/now",
		"p_name", "port", "p_in", "query", "p_required", "yes", "p_default", "", "p_to_name", "harbour", "p_to", "header",
		"p_name", "", "p_in", "query", "p_required", "no", "p_default", "", "p_to_name", "", "p_to", "",
		"c_name", "X-From", "c_in", "header", "c_value", "souk", "c_system", "",
		"c_name", "ip", "c_in", "query", "c_value", "", "c_system", "CaClientIp",
		"mock", "on", "mock_status", "203", "mock_headers", "Content-Type: text/plain\nX-Mock: yes", "mock_body", "low").Is(303)
	r := s.route()
	if r.Mode != control.Mapped || r.UpstreamPath != "/v2/now" || len(r.Parameters) != 1 || len(r.Constants) != 2 ||
		r.Parameters[0] != (control.Parameter{Name: "port", In: control.InQuery, Required: true, ToName: "harbour", To: control.InHeader}) ||
		r.Constants[1] != (control.Constant{Name: "ip", In: control.InQuery, System: "CaClientIp"}) {
		t.Errorf("%+v", r)
	}
	if m := r.Mock; m == nil || m.Status != 203 || m.Body != "low" || len(m.Headers) != 2 || m.Headers[1][1] != "yes" {
		t.Errorf("%+v", m)
	}
	s.seller.Get(at).Is(200).Sees("harbour", "X-Mock: yes", "low")
	s.seller.Get(s.at).Sees("Mock")
	s.seller.Post(at, "mock", "on", "mock_status", "99", "mock_headers", "no colon").Is(422).Sees(`href="#f-mock_status"`, `href="#f-mock_headers"`)
	s.Gateway.Break(fmt.Errorf("%w: route %s parameter \"a\" is wrong", control.ErrInvalid, r.ID))
	s.seller.Post(at, "mode", "mapped", "p_name", "a", "p_in", "query").Is(422).Sees(`href="#f-parameters"`, "parameter &#34;a&#34; is wrong")
	s.Gateway.Break(nil)
	s.seller.Get(at).Sees("harbour") // what was refused is not saved
}

// GEN-04, GWC-06: throttle policies are added, edited and removed.
func TestThrottlePolicies(t *testing.T) {
	s := open(t)
	s.seller.Get(s.at + "/limits").Sees("No limits")
	s.seller.Post(s.at+"/limits", "name", "burst guard", "by", "app", "calls", "5", "window", "minute", "smooth", "on", "burst", "2",
		"special_lines", "app_big 500\r\napp_none 0").Is(303)
	l := s.group().Limits
	if len(l) != 1 || l[0].Name != "burst guard" || l[0].By != control.ByApp || l[0].Calls != 5 || l[0].Window != time.Minute || !l[0].Smooth ||
		l[0].Burst != 2 || !maps.Equal(l[0].Special, map[string]int64{"app_big": 500, "app_none": 0}) {
		t.Fatalf("%+v", l)
	}
	var made struct {
		Limit struct{ ID string }
	}
	s.seller.API("POST", s.at+"/limits", map[string]any{"name": "user", "by": "param", "param": "header:X-User", "calls": 7, "window": "day", "interface": s.route().ID}).Is(201).Read(&made)
	if l := s.route().Limits; len(l) != 1 || l[0].Param != "header:X-User" || l[0].Window != 24*time.Hour || len(s.group().Limits) != 1 {
		t.Errorf("%+v, %+v", l, s.group().Limits)
	}
	s.seller.Get(s.at+"/limits").Sees("burst guard", "Each app: 5 calls per minute", "Smooth", "GET /tide/now")
	s.seller.Get("/seller/limits").Sees("burst guard", "Each app: 5 calls per minute")
	s.seller.Get(s.at + "/limits/" + made.Limit.ID).Is(200).Sees("header:X-User")
	s.seller.Post(s.at+"/limits/"+made.Limit.ID, "name", "user", "by", "group", "calls", "9", "window", "hour").Is(303)
	if l := s.group().Limits; len(l) != 2 || l[1].By != control.ByGroup || l[1].Param != "" || len(s.route().Limits) != 0 {
		t.Errorf("%+v", l)
	}
	s.seller.Post(s.at+"/limits", "name", "user", "by", "moon", "calls", "0", "window", "week", "burst", "3", "special_lines", "app_1", "interface", "rte_none").Is(422).
		Sees(`href="#f-name"`, `href="#f-by"`, `href="#f-calls"`, `href="#f-window"`, `href="#f-burst"`, `href="#f-special"`, `href="#f-interface"`, "app_1</textarea>")
	s.seller.Post(s.at+"/limits", "name", "x", "by", "param", "calls", "1", "window", "day").Is(422).Sees(`href="#f-param"`)
	s.seller.Post(s.at + "/limits/" + made.Limit.ID + "/remove").Is(303)
	s.seller.Post(s.at + "/limits/" + made.Limit.ID + "/remove").Is(404)
	if l := s.group().Limits; len(l) != 1 {
		t.Errorf("%+v", l)
	}
}

// GEN-04, GWC-06: plug-ins. The gateway's words about a setting stand at the field, and
// what it refuses is not saved.
func TestPlugins(t *testing.T) {
	s := open(t)
	s.seller.Get(s.at+"/filters").Is(200).Sees("No plug-ins", "Cross-origin calls", "filters/new?filter=errors")
	s.seller.Get(s.at + "/filters/new?filter=cors").Is(200).Sees("https://shop.example")
	s.seller.Get(s.at+"/filters/new?filter=shout").Is(200).Sees("shout", "its operator can say")
	s.seller.Get(s.at + "/filters/new?filter=Not+one").Is(422).Sees(`href="#f-filter"`)
	s.seller.Get(s.at + "/filters/new?filter=address").Is(422)
	s.seller.Post(s.at+"/filters", "filter", "cors", "with_text", `{"origins": ["https://a.example"]}`).Is(303)
	s.seller.API("POST", s.at+"/filters", map[string]any{"filter": "shout", "with": map[string]any{"loud": true}, "interface": s.route().ID}).Is(201)
	if f := s.group().Filters; len(f) != 1 || f[0].Filter != "cors" || string(f[0].With) != `{"origins":["https://a.example"]}` {
		t.Errorf("%+v", f)
	}
	if f := s.route().Filters; len(f) != 1 || f[0].Filter != "shout" {
		t.Errorf("%+v", f)
	}
	var list struct {
		Filters []struct{ ID, Filter, Word string }
	}
	s.seller.API("GET", s.at+"/filters", nil).Is(200).Read(&list)
	if len(list.Filters) != 2 || list.Filters[1].Word != "shout" {
		t.Fatalf("%+v", list)
	}
	s.seller.Get("/seller/filters").Sees("Cross-origin calls", "shout")
	at := s.at + "/filters/" + list.Filters[0].ID
	s.seller.Get(at).Is(200).Sees("https://a.example")
	s.seller.Post(at, "with_text", "{\n  \"origins\": [,]\n}").Is(422).Sees(`href="#f-with"`, "Line 2")
	s.seller.Post(at, "with_text", "[]").Is(422).Sees("an object is expected")
	s.seller.Post(at, "with_text", "{} {}").Is(422)
	s.Gateway.Break(fmt.Errorf("%w: filter cors: origins is not known", control.ErrInvalid))
	s.seller.Post(at, "with_text", `{"origin": 1}`).Is(422).Sees(`href="#f-with"`, "origins is not known", "&#34;origin&#34;: 1")
	s.Gateway.Break(nil)
	s.seller.Get(at).Sees("https://a.example").SeesNot("&#34;origin&#34;: 1")
	s.seller.Post(at + "/remove").Is(303)
	if f := s.group().Filters; len(f) != 0 {
		t.Errorf("%+v", f)
	}
}

// Buyers were told what costs a call. A seller's rule may say what is free, and no more.
func TestSellersChargeNoMore(t *testing.T) {
	s := open(t)
	for _, dearer := range []string{`{"charge": "true"}`, `{"free": "status == 404", "Charge": "true"}`, `{"\u0063harge": "true"}`, `{"charge": null}`} {
		s.seller.Post(s.at+"/filters", "filter", "charge", "with_text", dearer).Is(422).Sees(`href="#f-with"`, "not for sellers")
		s.seller.API("POST", s.at+"/filters", map[string]any{"filter": "charge", "with": json.RawMessage(dearer)}).Is(422).Code("apis.filter_dearer")
	}
	s.seller.Post(s.at+"/filters", "filter", "charge", "with_text", `{"free": "status == 404"}`).Is(303)
	if f := s.group().Filters; len(f) != 1 || string(f[0].With) != `{"free": "status == 404"}` {
		t.Errorf("%+v", f)
	}
}

// A setting may name the seller's own secrets only: with another's key he could have that
// seller's servers believe calls that he made.
func TestNobodyUsesAnothersSecret(t *testing.T) {
	s := open(t)
	other := s.Seller(s.op, "other")
	var key struct {
		Key struct {
			ID       string
			Versions []struct{ Secret string }
		}
	}
	other.API("POST", "/seller/keys", map[string]any{"name": "theirs"}).Is(201).Read(&key)
	secret := key.Key.Versions[0].Secret
	sly := `{"keys":[{"id":"a","alg":"HS256","secret":"` + strings.Replace(secret, "sec_", `\u0073ec_`, 1) + `"}]}`
	s.seller.Post(s.at+"/filters", "filter", "jwt", "with_text", sly).Is(422).Sees(`href="#f-with"`, secret)
	s.seller.Post(s.at+"/filters", "filter", "jwt", "with_text", `{"keys":[{"secret":"`+secret+`"}],"keys":[]}`).Is(422)
	s.seller.Post(s.at+"/filters", "filter", "sign", "with_text", "{}").Is(422).Sees("page of its own")
	s.seller.API("POST", s.at+"/signing", map[string]any{"key": key.Key.ID}).Is(422).Code("apis.no_key")
	s.seller.Get("/seller/keys/" + key.Key.ID).Is(404)
	s.seller.API("POST", "/seller/keys/"+key.Key.ID, map[string]any{"after_hours": 0}).Is(404)
	s.seller.API("POST", "/seller/keys/"+key.Key.ID+"/remove", nil).Is(404)
	s.seller.API("POST", "/seller/keys", map[string]any{"name": "mine"}).Is(201).Read(&key)
	s.seller.Post(s.at+"/filters", "filter", "jwt", "with_text", `{"keys":[{"id":"a","alg":"HS256","secret":"`+key.Key.Versions[0].Secret+`"}]}`).Is(303)
	s.seller.API("POST", "/seller/keys/"+key.Key.ID+"/remove", nil).Is(409).Code("apis.key_used")
}

// GEN-04, GWC-06: IP access control is the filter "address", as two lists.
func TestAddressLists(t *testing.T) {
	s := open(t)
	s.seller.Post(s.at+"/addresses", "allow", "192.0.2.0/24\r\n2001:db8::/32, 198.51.100.7", "deny", "192.0.2.9").Is(303)
	f := s.group().Filters
	if len(f) != 1 || f[0].Filter != "address" || string(f[0].With) != `{"allow":["192.0.2.0/24","2001:db8::/32","198.51.100.7"],"deny":["192.0.2.9"]}` {
		t.Errorf("%+v", f)
	}
	s.seller.Get("/seller/addresses").Sees("3 allowed", "1 denied")
	s.seller.Post(s.at+"/addresses", "allow", "192.0.2.0/99", "deny", "moon").Is(422).Sees(`href="#f-allow"`, `href="#f-deny"`, "192.0.2.0/99</textarea>")
	s.seller.API("POST", s.at+"/addresses", map[string]any{}).Is(200)
	if f := s.group().Filters; len(f) != 0 {
		t.Errorf("%+v", f)
	}
}

// GEN-04, GWC-06: a key of backend signatures is shown once, bound to a group, and rotated
// so that the seller knows the new value before the gateway uses it.
func TestBackendSignatureKeys(t *testing.T) {
	s := open(t)
	page := s.seller.Post("/seller/keys", "name", "night watch", "value", "").Is(200).Sees("never shown again")
	var list struct {
		Keys []struct {
			ID       string
			Versions []struct {
				ID, Secret string
				Used       bool
			}
		}
	}
	s.seller.API("GET", "/seller/keys", nil).Is(200).Read(&list)
	first := list.Keys[0].Versions[0]
	secret, ok := s.Gateway.Secret(control.SecretID(first.Secret))
	if !ok || len(secret.Value) < 32 || !secret.Live {
		t.Fatalf("%+v", secret)
	}
	page.Sees(string(secret.Value), first.ID)
	s.seller.Get("/seller/keys").SeesNot(string(secret.Value)).Sees("night watch")
	s.seller.Post(s.at+"/signing", "key", list.Keys[0].ID, "headers", "X-City\nX-Port", "digest", "on").Is(303)
	want := `{"digest":true,"headers":["X-City","X-Port"],"keys":[{"id":"` + first.ID + `","secret":"` + first.Secret + `"}]}`
	if f := s.group().Filters; len(f) != 1 || f[0].Filter != "sign" || string(f[0].With) != want {
		t.Fatalf("%+v", f)
	}
	at := "/seller/keys/" + list.Keys[0].ID
	s.seller.API("POST", at+"/remove", nil).Is(409).Code("apis.key_used")
	s.seller.Post(at + "/remove").Is(409).Sees("Tide tables")
	s.seller.Post(at, "value", "too2short", "after_hours", "24").Is(422).Sees(`href="#f-value"`).SeesNot("too2short")
	s.seller.Post(at, "value", "a value of the seller's own", "after_hours", "24").Is(200).Sees("a value of the seller&#39;s own", "Will be used from")
	if with := string(s.group().Filters[0].With); !strings.Contains(with, `"from":"2026-11-25T12:00:00Z"`) || !strings.Contains(with, first.Secret) {
		t.Errorf("%s", with)
	}
	s.Pass(25 * time.Hour)
	s.seller.SignIn()
	s.seller.Post(at, "after_hours", "0").Is(200)
	if with := string(s.group().Filters[0].With); strings.Contains(with, first.Secret) || strings.Count(with, `"id"`) != 1 {
		t.Errorf("%s", with)
	}
	if secret, _ := s.Gateway.Secret(control.SecretID(first.Secret)); secret.Live {
		t.Error("the first value lives on")
	}
	s.seller.Post(s.at+"/signing", "key", "").Is(303)
	if f := s.group().Filters; len(f) != 0 {
		t.Errorf("%+v", f)
	}
	s.seller.Get(at + "/remove").Is(200).Sees("Delete the key night watch?")
	s.seller.Post(at + "/remove").Is(303)
	s.seller.Get("/seller/keys").Sees("No keys yet")
	s.seller.Post("/seller/keys", "name", "", "value", "short").Is(422).Sees(`href="#f-name"`, `href="#f-value"`)
}

// Several servers behind a group become an upstream of the gateway; the one address alone
// stays what it was.
func TestServersBehindAGroup(t *testing.T) {
	s := open(t)
	if s.route().Via != "" {
		t.Fatal("one address needs no upstream")
	}
	s.seller.Post(s.at+"/backend", "weight", "3", "target_url", "https://93.184.216.35/", "target_weight", "1", "target_backup", "yes",
		"target_url", "", "target_weight", "1", "target_backup", "no", "spread", "least_requests", "health_path", "/healthz", "health_every", "20",
		"failures", "4", "eject_for", "60", "attempts", "2", "on_timeout", "on", "tls_name", "api.example.com").Is(303)
	r := s.route()
	u := s.Gateway.Upstreams()[r.Via]
	if r.Via == "" || len(u.Targets) != 2 || u.Targets[0] != (control.Target{URL: "https://93.184.216.34", Weight: 3}) ||
		u.Targets[1] != (control.Target{URL: "https://93.184.216.35", Weight: 1, Backup: true}) || u.Spread != control.LeastRequests ||
		u.Health.Every != 20*time.Second || u.Outlier.Failures != 4 || u.Retry.Attempts != 2 || !u.Retry.OnTimeout || u.TLS.Name != "api.example.com" {
		t.Fatalf("%+v %+v", r, u)
	}
	s.seller.API("POST", s.at+"/upstream", map[string]any{"upstream": "https://93.184.216.36"}).Is(200)
	if u := s.Gateway.Upstreams()[r.Via]; u.Targets[0].URL != "https://93.184.216.36" {
		t.Errorf("%+v", u)
	}
	s.seller.Get(s.at).Sees("2 servers")
	s.seller.Post(s.at+"/backend", "target_url", "https://10.0.0.1", "target_weight", "5000", "health_path", "healthz", "tls_ca", "none", "tls_pins", "abc", "attempts", "99").Is(422).
		Sees(`href="#f-targets"`, "10.0.0.1", `href="#f-health_path"`, `href="#f-tls_ca"`, `href="#f-tls_pins"`, `href="#f-attempts"`)
	s.seller.Post(s.at+"/backend", "target_url", "", "attempts", "1").Is(303)
	if s.route().Via != "" {
		t.Error("one address needs no upstream")
	}
}

// Domains of the seller's own stand beside the built-in one, which may then be for tests.
func TestOwnDomains(t *testing.T) {
	s := open(t)
	builtin := s.group().Domains[0]
	s.seller.Post(s.at+"/domains", "test_domain", "on").Is(422).Sees(`href="#f-test_domain"`)
	s.seller.Post(s.at+"/domains", "domains", "API.tides.example\ntides.example.", "test_domain", "on").Is(303)
	if g := s.group(); len(g.Domains) != 3 || g.Domains[1] != "api.tides.example" || g.Domains[2] != "tides.example" || g.TestDomain != builtin {
		t.Fatalf("%+v", g)
	}
	s.seller.Get("/products/" + s.product.ID).Is(200).Sees("api.tides.example")
	for _, d := range []string{"x.api.localhost", "no_domain", "192.0.2.1", "localhost"} {
		s.seller.Post(s.at+"/domains", "domains", d).Is(422).Sees(`href="#f-domains"`, d+"</textarea>")
	}
	s.Gateway.Break(fmt.Errorf("%w: the domain a.example belongs to grp_other", control.ErrConflict))
	s.seller.Post(s.at+"/domains", "domains", "a.example").Is(422).Sees(`href="#f-domains"`, "Another group").SeesNot("grp_other")
	s.Gateway.Break(nil)
	s.seller.Post(s.at+"/certificates", "chain", "none", "key", "none").Is(422).Sees(`href="#f-chain"`, `href="#f-key"`)
	s.seller.API("POST", s.at+"/domains", map[string]any{"domains": []string{}}).Is(200)
	if g := s.group(); len(g.Domains) != 1 || g.TestDomain != "" {
		t.Errorf("%+v", g)
	}
}

// What a seller sets before the product is sold is judged by the gateway at once, and holds
// when it is listed.
func TestSettingsOfAGroupThatIsNotSold(t *testing.T) {
	s := open(t)
	var group struct{ ID string }
	s.seller.API("POST", "/seller/apis/import", map[string]any{"document": consoletest.Document, "name": "b.json"}).Is(201).Read(&group)
	at := "/seller/apis/" + group.ID
	s.seller.Post(at+"/limits", "name", "a", "by", "app", "calls", "5", "window", "minute").Is(303)
	g := s.Gateway.Groups()[control.GroupID(group.ID)]
	if len(g.Limits) != 1 || g.Live {
		t.Fatalf("%+v", g)
	}
	s.Gateway.Break(fmt.Errorf("%w: filter cors: no", control.ErrInvalid))
	s.seller.Post(at+"/filters", "filter", "cors", "with_text", "{}").Is(422).Sees(`href="#f-with"`)
	s.Gateway.Break(nil)
	s.seller.Get(at + "/upstream").Is(200).Sees(url.PathEscape(group.ID))
}

// Edits that come at once are all saved, and the gateway has what was saved.
func TestEditsAtOnce(t *testing.T) {
	s := open(t)
	var all sync.WaitGroup
	for n := range 12 {
		who := *s.seller // a person does one thing at a time
		all.Go(func() {
			who.API("POST", s.at+"/limits", map[string]any{"name": fmt.Sprint("limit ", n), "by": "app", "calls": n + 1, "window": "hour"}).Is(201)
		})
	}
	all.Wait()
	var page struct{ Limits []struct{ Name string } }
	s.seller.API("GET", s.at+"/limits", nil).Is(200).Read(&page)
	if len(page.Limits) != 12 || len(s.group().Limits) != 12 {
		t.Errorf("%d saved, %d at the gateway, want 12", len(page.Limits), len(s.group().Limits))
	}
}

// API-07, API-08: where a buyer finds his credentials he is told which to use when, and so
// is whoever reads the docs.
func TestBuyersAreToldWhichModeToUse(t *testing.T) {
	s := open(t)
	buyer := s.Buyer("jane")
	buyer.Buy(s.product.Plans[0], 1)
	var apps struct{ Apps []struct{ ID string } }
	s.Until("there is an app", func() bool { buyer.API("GET", "/apps", nil).Read(&apps); return len(apps.Apps) == 1 })
	buyer.Get("/apps/"+apps.Apps[0].ID).Is(200).Sees("Prefer signatures", "AppCode", "HTTPS", "you control")
	buyer.Get("/docs").Is(200).Sees("only for environments you control", "HTTPS", "use signatures")
	buyer.Lang = "zh"
	buyer.Get("/apps/"+apps.Apps[0].ID).Is(200).Sees("签名", "HTTPS", "可控")
}
