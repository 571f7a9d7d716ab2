package journey

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/souk-market/souk/examples/demo"
	"github.com/souk-market/souk/signer"
)

// What a seller sets in the console holds for the next call: SEL-06, API-07, API-08, GEN-04,
// GWC-06. Nothing that is refused costs the buyer a call.
func TestWhatASellerSetsHoldsForTheNextCall(t *testing.T) {
	m := open(t, true)
	ctx := t.Context()
	product, group, domain := m.publish(t)
	must(t, demo.Buy(ctx, m.buyer, product, 100))
	app, err := demo.FirstApp(ctx, m.buyer)
	must(t, err)
	code := map[string]string{"Authorization": "APPCODE " + app.AppCode}
	const now = "/weather/now?city=hangzhou"
	inQuery := now + "&AppCode=" + app.AppCode
	is := func(what, target string, header map[string]string, status int, refusal string) {
		t.Helper()
		if s, code := m.call(t, domain, target, header); s != status || code != refusal {
			t.Fatalf("%s: %d %s, want %d %s", what, s, code, status, refusal)
		}
	}
	at := "/seller/apis/" + group
	var g struct {
		Interfaces []struct{ ID, Path string }
	}
	must(t, m.seller.Get(ctx, at, &g))
	iface := ""
	for _, i := range g.Interfaces {
		if i.Path == "/weather/now" {
			iface = at + "/interfaces/" + i.ID
		}
	}
	set := func(path string, body any) {
		t.Helper()
		must(t, m.seller.Post(ctx, path, body, nil))
	}

	// SEL-06: each of the four policies, for one interface.
	for _, c := range []struct {
		policy                string
		header, query, signed bool
	}{{"DEFAULT", true, true, true}, {"DISABLE", false, false, true}, {"HEADER", true, false, true}, {"HEADER_QUERY", true, true, true}, {"", true, true, true}} {
		set(iface, map[string]any{"app_code": c.policy})
		for _, call := range []struct {
			ok     bool
			target string
			header map[string]string
		}{{c.header, now, code}, {c.query, inQuery, nil}, {c.signed, now, m.signed(t, app, now)}} {
			if s, refusal := m.call(t, domain, call.target, call.header); (s == http.StatusOK) != call.ok {
				t.Errorf("%q: %d %s with %v", c.policy, s, refusal, call.header)
			}
		}
	}
	set(iface, map[string]any{"secure": true})
	is("only over HTTPS", now, code, http.StatusForbidden, "I403PT")
	set(iface, map[string]any{"force_nonce": true, "mock": map[string]any{"status": 202, "headers": [][]string{{"X-Mock", "yes"}}, "body": "sunny"}})
	is("a mock", now, code, http.StatusAccepted, "")
	set(iface, map[string]any{})
	is("nothing set", now, code, http.StatusOK, "")

	// API-07: the group refuses AppCodes over plain HTTP, and signatures go on.
	upstream := map[string]any{"upstream": m.upstream, "secure_app_code": true}
	set(at+"/upstream", upstream)
	if s, refusal := m.call(t, domain, now, code); s == http.StatusOK || refusal == "" {
		t.Errorf("an AppCode over plain HTTP: %d %s", s, refusal)
	}
	is("a signature over plain HTTP", now, m.signed(t, app, now), http.StatusOK, "")
	set(at+"/upstream", map[string]any{"upstream": m.upstream})

	// Throttling: an exception refuses one app, the limit the second call of a day.
	var limit struct{ Limit struct{ ID string } }
	must(t, m.seller.Post(ctx, at+"/limits", map[string]any{"name": "trial", "by": "app", "calls": 1, "window": "day"}, &limit))
	is("the first", now, code, http.StatusOK, "")
	is("the second", now, code, http.StatusTooManyRequests, "T429PR")
	set(at+"/limits/"+limit.Limit.ID, map[string]any{"name": "trial", "by": "app", "calls": 1, "window": "day", "special": map[string]int64{app.ID: 1000}})
	is("an exception", now, code, http.StatusOK, "")
	set(at+"/limits/"+limit.Limit.ID+"/remove", nil)
	is("no limit", now, code, http.StatusOK, "")

	// Addresses.
	set(at+"/addresses", map[string]any{"allow": []string{"192.0.2.0/24"}})
	is("from elsewhere", now, code, http.StatusForbidden, "A403IP")
	set(at+"/addresses", map[string]any{"allow": []string{"127.0.0.0/8", "::1"}})
	is("from here", now, code, http.StatusOK, "")
	set(at+"/addresses", map[string]any{})

	// Plug-ins: the gateway judges a setting when it is saved, and keeps the old one.
	var filter struct{ Filter struct{ ID string } }
	must(t, m.seller.Post(ctx, at+"/filters", map[string]any{"filter": "access", "with": map[string]any{"rules": []any{map[string]any{"name": "no rain", "deny": "has(query.rain)"}}}}, &filter))
	is("a rule", now+"&rain=1", code, http.StatusForbidden, "A403AC")
	bad := map[string]any{"with": map[string]any{"rules": []any{map[string]any{"name": "odd", "deny": "has("}}}}
	err = m.seller.Post(ctx, at+"/filters/"+filter.Filter.ID, bad, nil)
	refused(t, "a rule that is none", err, http.StatusUnprocessableEntity, "apis.gateway")
	var f *demo.Failure
	if errors.As(err, &f) && (len(f.Fields) != 1 || f.Fields[0].Name != "with" || !strings.Contains(f.Fields[0].Detail, "odd")) {
		t.Errorf("%+v", f)
	}
	err = m.seller.Post(ctx, at+"/filters", map[string]any{"filter": "no-such", "with": map[string]any{}}, nil)
	refused(t, "a filter that the gateway has not", err, http.StatusUnprocessableEntity, "apis.gateway")
	is("the rule that was there", now+"&rain=1", code, http.StatusForbidden, "A403AC")
	set(at+"/filters/"+filter.Filter.ID+"/remove", nil)
	is("no rule", now+"&rain=1", code, http.StatusOK, "")
	err = m.seller.Post(ctx, iface, map[string]any{"parameters": []any{map[string]any{"name": "city", "in": "path"}}}, nil)
	refused(t, "a parameter of no path", err, http.StatusUnprocessableEntity, "apis.gateway")

	spent := m.service(t).Used
	is("still", now, code, http.StatusOK, "")
	if have := m.service(t); have.Used != spent+1 {
		t.Errorf("%d used, want %d", have.Used, spent+1)
	}
}

// On the domains that all products share, too, a group's settings hold: there the gateway's
// group is everybody's, so they stand on the routes.
func TestASellersSettingsHoldOnSharedDomains(t *testing.T) {
	m := open(t, true, "shared.test")
	ctx := t.Context()
	product, group, own := m.publish(t)
	must(t, demo.Buy(ctx, m.buyer, product, 100))
	app, err := demo.FirstApp(ctx, m.buyer)
	must(t, err)
	code := map[string]string{"Authorization": "APPCODE " + app.AppCode}
	at := "/seller/apis/" + group
	is := func(what, domain string, header map[string]string, status int, refusal string) {
		t.Helper()
		if s, code := m.call(t, domain, "/weather/cities", header); s != status || code != refusal {
			t.Errorf("%s at %s: %d %s, want %d %s", what, domain, s, code, status, refusal)
		}
	}
	both := func(what string, status int, refusal string) {
		t.Helper()
		is(what, own, code, status, refusal)
		is(what, "shared.test", code, status, refusal)
	}
	both("nothing set", http.StatusOK, "")
	must(t, m.seller.Post(ctx, at+"/addresses", map[string]any{"deny": []string{"127.0.0.0/8"}}, nil))
	both("an address", http.StatusForbidden, "A403IP")
	must(t, m.seller.Post(ctx, at+"/addresses", map[string]any{}, nil))
	var limit struct{ Limit struct{ ID string } }
	must(t, m.seller.Post(ctx, at+"/limits", map[string]any{"name": "all", "by": "group", "calls": 1, "window": "day"}, &limit))
	both("the first", http.StatusOK, "")
	both("the second", http.StatusTooManyRequests, "T429GR")
	must(t, m.seller.Post(ctx, at+"/limits/"+limit.Limit.ID+"/remove", nil, nil))
	must(t, m.seller.Post(ctx, at+"/upstream", map[string]any{"upstream": m.upstream, "secure_app_code": true}, nil))
	if s, refusal := m.call(t, "shared.test", "/weather/cities", code); s != http.StatusForbidden || refusal != "I403PT" {
		t.Errorf("an AppCode over plain HTTP: %d %s", s, refusal)
	}
}

// Every filter that the console has a sample for takes that sample, but for those that
// stand for something of the seller's own.
func TestTheSamplesOfPlugins(t *testing.T) {
	m := open(t, true)
	_, group, _ := m.publish(t)
	at := "/seller/apis/" + group
	var key struct {
		Key struct{ Versions []struct{ Secret string } }
	}
	must(t, m.seller.Post(t.Context(), "/seller/keys", map[string]any{"name": "tokens"}, &key))
	var page struct {
		Known      []struct{ ID, Sample string }
		Interfaces []struct{ ID string }
	}
	must(t, m.seller.Get(t.Context(), at+"/filters", &page))
	must(t, m.seller.Get(t.Context(), at, &page))
	if len(page.Known) < 10 {
		t.Fatalf("%d filters", len(page.Known))
	}
	for _, k := range page.Known {
		sample := strings.NewReplacer("sec_…", key.Key.Versions[0].Secret, "$2b$12$…", "$2b$04$abcdefghijklmnopqrstuuXhAhqHXmXAZVmvrLzAvMj1BkkR1NfAe").Replace(k.Sample)
		in := map[string]any{"filter": k.ID, "with_text": sample}
		if k.ID == "schema" {
			in["interface"] = page.Interfaces[0].ID
		}
		if err := m.seller.Post(t.Context(), at+"/filters", in, nil); err != nil {
			t.Errorf("%s: %v", k.ID, err)
		}
	}
}

// Backends: a second server takes over from one that is gone, and reads the signature of a
// key that the console made (GWC-06).
func TestSeveralServersAndTheirSignature(t *testing.T) {
	m := open(t, true)
	ctx := t.Context()
	product, group, domain := m.publish(t)
	must(t, demo.Buy(ctx, m.buyer, product, 100))
	app, err := demo.FirstApp(ctx, m.buyer)
	must(t, err)
	code := map[string]string{"Authorization": "APPCODE " + app.AppCode}
	var label atomic.Value
	label.Store("")
	second := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		label.Store(r.Header.Get(signer.HeaderProxySignatureKey))
		_, _ = io.WriteString(w, "{}")
	}))
	defer second.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	at := "/seller/apis/" + group
	set := func(path string, body, answer any) {
		t.Helper()
		must(t, m.seller.Post(ctx, path, body, answer))
	}
	set(at+"/upstream", map[string]any{"upstream": gone.URL}, nil)
	if s, _ := m.call(t, domain, "/weather/cities", code); s != http.StatusBadGateway && s != http.StatusServiceUnavailable && s != http.StatusGatewayTimeout {
		t.Errorf("nobody there: %d", s)
	}
	set(at+"/backend", map[string]any{"targets": []any{map[string]any{"url": second.URL, "backup": true}}, "failures": 1, "attempts": 2}, nil)
	var key struct {
		Key     struct{ ID string }
		Version string
		Value   string
	}
	set("/seller/keys", map[string]any{"name": "watch"}, &key)
	set(at+"/signing", map[string]any{"key": key.Key.ID, "headers": []string{"X-City"}}, nil)
	must(t, demo.Until(ctx, "the second server answers", func() (bool, error) {
		s, _ := m.call(t, domain, "/weather/cities", code)
		return s == http.StatusOK, nil
	}))
	if label.Load() != key.Version || key.Version == "" || len(key.Value) < 32 {
		t.Errorf("signed with %q, want %q", label.Load(), key.Version)
	}
	set("/seller/keys/"+key.Key.ID, map[string]any{"after_hours": 0}, &key)
	if s, _ := m.call(t, domain, "/weather/cities", code); s != http.StatusOK || label.Load() != key.Version {
		t.Errorf("after the rotation: %d, %q, want %q", s, label.Load(), key.Version)
	}
	set(at+"/signing", map[string]any{"key": ""}, nil)
	if s, _ := m.call(t, domain, "/weather/cities", code); s != http.StatusOK || label.Load() != "" {
		t.Errorf("not signed: %d, %q", s, label.Load())
	}
	set("/seller/keys/"+key.Key.ID+"/remove", nil, nil)
}

// Domains of a seller's own answer beside the built-in one, with a certificate of his; and
// nobody takes another's.
func TestOwnDomainsAndTheirCertificates(t *testing.T) {
	m := open(t, true)
	ctx := t.Context()
	_, group, domain := m.publish(t)
	at := "/seller/apis/" + group
	must(t, m.seller.Post(ctx, at+"/domains", map[string]any{"domains": []string{"api.weather.example"}, "test_domain": true}, nil))
	for _, d := range []string{domain, "api.weather.example"} {
		if s, refusal := m.call(t, d, "/weather/cities", nil); refusal != "A400MA" {
			t.Errorf("%s: %d %s, want that somebody is asked who he is", d, s, refusal)
		}
	}
	var other struct{ ID string }
	must(t, m.seller.Post(ctx, "/seller/apis", map[string]any{"name": map[string]any{"en": "Other"}, "upstream": m.upstream,
		"interfaces": []any{map[string]any{"method": "GET", "path": "/x"}}}, &other))
	refused(t, "another group's domain", m.seller.Post(ctx, "/seller/apis/"+other.ID+"/domains", map[string]any{"domains": []string{"api.weather.example"}}, nil),
		http.StatusUnprocessableEntity, "apis.conflict")

	chain, key := certify(t, "api.weather.example", time.Hour)
	_, foreign := certify(t, "api.weather.example", time.Hour)
	elsewhere, its := certify(t, "api.elsewhere.example", time.Hour)
	over, overs := certify(t, "api.weather.example", -time.Minute)
	refused(t, "another's key", m.seller.Post(ctx, at+"/certificates", map[string]any{"chain": chain, "key": foreign}, nil), http.StatusUnprocessableEntity, "apis.gateway")
	refused(t, "another's domain", m.seller.Post(ctx, at+"/certificates", map[string]any{"chain": elsewhere, "key": its}, nil), http.StatusUnprocessableEntity, "apis.chain_domains")
	refused(t, "an old one", m.seller.Post(ctx, at+"/certificates", map[string]any{"chain": over, "key": overs}, nil), http.StatusUnprocessableEntity, "apis.gateway")
	var page struct {
		Certificates []struct {
			ID      string
			Domains []string
		}
	}
	must(t, m.seller.Post(ctx, at+"/certificates", map[string]any{"chain": chain, "key": key}, &page))
	if len(page.Certificates) != 1 || len(page.Certificates[0].Domains) != 1 {
		t.Fatalf("%+v", page)
	}
	refused(t, "a domain with a certificate", m.seller.Post(ctx, at+"/domains", map[string]any{"domains": []string{}}, nil), http.StatusUnprocessableEntity, "apis.domain_certified")
	must(t, m.seller.Post(ctx, at+"/certificates/"+page.Certificates[0].ID+"/remove", nil, nil))
	must(t, m.seller.Post(ctx, at+"/domains", map[string]any{"domains": []string{}}, nil))
	if s, _ := m.call(t, "api.weather.example", "/weather/cities", nil); s != http.StatusNotFound {
		t.Errorf("a domain that was given up: %d", s)
	}
}

// certify makes a certificate for a name that ends after some time, and its key.
func certify(t *testing.T, name string, ends time.Duration) (chain, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(ends)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, private.Public(), private)
	must(t, err)
	inner, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: inner}))
}
