package journey

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/souk-market/souk/console/standard"
	"github.com/souk-market/souk/examples/demo"
	"github.com/souk-market/souk/examples/house"
	"github.com/souk-market/souk/examples/seller-weather/weather"
	"github.com/souk-market/souk/signer"
)

// town is an empty marketplace with three people and a seller's server outside of it.
type town struct {
	*house.House
	operator, seller, buyer demo.Client
	upstream                string
	ahead                   atomic.Int64 // nanoseconds that the market's clock is ahead
}

const password = "a long walk home"

func open(t *testing.T, private bool, shared ...string) *town {
	t.Helper()
	up := httptest.NewServer(weather.Handler(time.Now))
	t.Cleanup(up.Close)
	m := &town{upstream: up.URL}
	var err error
	m.House, err = house.Open(t.Context(), house.Options{Folder: t.TempDir(), Gateway: "127.0.0.1:0", Console: "127.0.0.1:0", Ops: "127.0.0.1:0",
		AllowPrivateUpstreams: private, SharedDomains: shared, Now: func() time.Time { return time.Now().Add(time.Duration(m.ahead.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := m.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	token, err := m.SetUpToken(t.Context())
	if err != nil || token == "" {
		t.Fatalf("no token for the first operator: %v", err)
	}
	m.operator, _ = m.enter(t, "/setup", "operator@souk.example", token)
	var account string
	m.seller, account = m.enter(t, "/sign-up", "seller@souk.example", "")
	must(t, m.operator.Post(t.Context(), "/operator/accounts/"+account+"/roles", map[string]any{"roles": []string{"buyer", "seller"}}, nil))
	m.buyer, _ = m.enter(t, "/sign-up", "buyer@souk.example", "")
	return m
}

func (m *town) enter(t *testing.T, path, email, token string) (demo.Client, string) {
	t.Helper()
	body := map[string]any{"account": email, "name": email, "email": email, "password": password}
	if token != "" {
		body["token"] = token
	}
	var in struct{ Account, Token string }
	must(t, demo.Client{Console: m.ConsoleURL}.Post(t.Context(), path, body, &in))
	return demo.Client{Console: m.ConsoleURL, Token: in.Token}, in.Account
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// publish brings the weather onto the shelf and gives the product and its group.
func (m *town) publish(t *testing.T) (product, group, domain string) {
	t.Helper()
	ctx := t.Context()
	var g struct {
		ID, Domain string
		Interfaces []struct{ ID, Method, Path string }
	}
	must(t, m.seller.Post(ctx, "/seller/apis/import", map[string]any{"document": weather.OpenAPI, "name": "weather.yaml"}, &g))
	if len(g.Interfaces) != 3 {
		t.Fatalf("%d interfaces were imported, want 3", len(g.Interfaces))
	}
	must(t, m.seller.Post(ctx, "/seller/apis/"+g.ID+"/upstream", map[string]any{"upstream": m.upstream}, nil))
	var p struct{ ID string }
	must(t, m.seller.Post(ctx, "/seller/products", sheet(g.ID, nil), &p))
	must(t, m.seller.Post(ctx, "/seller/products/"+p.ID+"/submit", nil, nil))
	if found := m.search(t, "天气"); len(found) != 0 {
		t.Errorf("the product is on the shelf before it was reviewed: %v", found)
	}
	must(t, m.operator.Post(ctx, "/operator/reviews/"+p.ID+"/approve", nil, nil))
	must(t, demo.Until(ctx, "the gateway has the routes", func() (bool, error) {
		status, _ := m.call(t, g.Domain, "/weather/cities", nil)
		return status != http.StatusNotFound, nil
	}))
	return p.ID, g.ID, g.Domain
}

// sheet is a good product; change replaces what a test wants to be wrong.
func sheet(group string, change map[string]any) map[string]any {
	s := map[string]any{"source": group, "name": map[string]any{"zh": "城市天气", "en": "City weather"},
		"summary":  map[string]any{"zh": "实况与预报", "en": "Now and the days to come"},
		"category": "weather", "plans": []any{map[string]any{"calls": 3, "price": "1.00", "months": 1}, map[string]any{"calls": 100, "price": "20.00", "months": 12}}}
	for k, v := range change {
		s[k] = v
	}
	return s
}

func (m *town) search(t *testing.T, q string) (ids []string) {
	t.Helper()
	var found struct{ Products []struct{ ID string } }
	must(t, demo.Client{Console: m.ConsoleURL}.Get(t.Context(), "/products?q="+url.QueryEscape(q), &found))
	for _, p := range found.Products {
		ids = append(ids, p.ID)
	}
	return ids
}

// call calls the gateway and gives the status and the refusal's code, if it was one.
func (m *town) call(t *testing.T, domain, target string, header map[string]string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, m.GatewayURL+target, nil)
	must(t, err)
	r.Host = domain
	for k, v := range header {
		r.Header.Set(k, v)
	}
	w, err := http.DefaultClient.Do(r)
	must(t, err)
	defer w.Body.Close()
	if _, err := io.Copy(io.Discard, w.Body); err != nil {
		t.Fatal(err)
	}
	return w.StatusCode, w.Header.Get(signer.HeaderErrorCode)
}

func TestPublishBuyAndCallUntilThePackageIsSpent(t *testing.T) {
	m := open(t, true)
	ctx := t.Context()
	product, _, domain := m.publish(t)

	for _, q := range []string{"天气", "weather"} {
		if found := m.search(t, q); len(found) != 1 || found[0] != product {
			t.Fatalf("a search for %q found %v, want %s", q, found, product)
		}
	}
	must(t, demo.Buy(ctx, m.buyer, product, 3))
	have := m.service(t)
	if have.State != "active" || have.Total != 3 || have.Used != 0 {
		t.Fatalf("after buying: %+v", have)
	}

	app, err := demo.FirstApp(ctx, m.buyer)
	must(t, err)
	code := map[string]string{"Authorization": "APPCODE " + app.AppCode}
	is := func(target string, header map[string]string, status int, refusal string) {
		t.Helper()
		if s, code := m.call(t, domain, target, header); s != status || code != refusal {
			t.Fatalf("%s: %d %s, want %d %s", target, s, code, status, refusal)
		}
	}
	const now = "/weather/now?city=hangzhou"
	is(now, code, http.StatusOK, "")
	is("/weather/now?city=atlantis", code, http.StatusNotFound, "") // costs nothing
	is(now, m.signed(t, app, now), http.StatusOK, "")
	is("/weather/daily?city=hangzhou&days=2", code, http.StatusOK, "")
	is(now, code, http.StatusForbidden, "B403MQ")
	is(now, m.signed(t, app, now), http.StatusForbidden, "B403MQ")
	if have := m.service(t); have.Total != 3 || have.Used != 3 {
		t.Errorf("after three calls: %d of %d used", have.Used, have.Total)
	}

	must(t, demo.Buy(ctx, m.buyer, product, 100))
	m.runSDK(t, app, "go")
	m.runSDK(t, app, "python")
	have = m.service(t)
	if len(have.Parts) != 2 || have.Total != 103 || have.Used != 5 {
		t.Errorf("after two more by SDKs: %+v", have)
	}
	m.seen(t, have)
}

func (m *town) service(t *testing.T) demo.Service {
	t.Helper()
	all, err := demo.Services(t.Context(), m.buyer)
	must(t, err)
	if len(all) != 1 {
		t.Fatalf("the buyer has %d services, want 1: a second purchase joins the first", len(all))
	}
	return all[0]
}

// signed are the headers of a signed call.
func (m *town) signed(t *testing.T, app demo.App, target string) map[string]string {
	t.Helper()
	header := map[string]string{"Accept": "application/json"}
	s, err := signer.Sign(signer.Call{Method: http.MethodGet, URL: target, Header: header, Key: app.AppKey, Secret: app.AppSecret, Now: time.Now()})
	must(t, err)
	s.Header["Accept"] = header["Accept"]
	return s.Header
}

// runSDK downloads an SDK and runs its sample.
func (m *town) runSDK(t *testing.T, app demo.App, language string) {
	t.Helper()
	b, err := m.buyer.Bytes(t.Context(), "/apps/"+app.ID+"/sdk/"+language)
	must(t, err)
	if bytes.Contains(b, []byte(app.AppSecret)) || bytes.Contains(b, []byte(app.AppCode)) {
		t.Errorf("the %s SDK has a secret in it", language)
	}
	folder := t.TempDir()
	unzip(t, b, folder)
	samples, err := filepath.Glob(filepath.Join(folder, "examples", "first_call*"))
	if err != nil || len(samples) != 1 {
		t.Fatalf("%s: samples %v, %v", language, samples, err)
	}
	cmd := exec.CommandContext(t.Context(), "python3", samples[0])
	if language == "go" {
		cmd = exec.CommandContext(t.Context(), "go", "run", "./examples/first_call")
	}
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod", "SOUK_APP_KEY="+app.AppKey, "SOUK_APP_SECRET="+app.AppSecret)
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("celsius")) {
		t.Fatalf("the sample of the %s SDK: %v\n%s", language, err, out)
	}
}

func unzip(t *testing.T, b []byte, folder string) {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	must(t, err)
	for _, f := range z.File {
		path := filepath.Join(folder, filepath.FromSlash(f.Name))
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		r, err := f.Open()
		must(t, err)
		data, err := io.ReadAll(r)
		must(t, err)
		must(t, os.WriteFile(path, data, 0o644))
	}
}

// seen: the operator sees each package with what was used of it, as the ledger has it.
func (m *town) seen(t *testing.T, have demo.Service) {
	t.Helper()
	var usage struct {
		Packages []struct {
			ID          string
			Total, Used int64
		}
		Sum struct{ Total, Used int64 }
	}
	must(t, m.operator.Get(t.Context(), "/operator/usage", &usage))
	if usage.Sum.Total != 103 || usage.Sum.Used != 5 {
		t.Errorf("the operator sees %+v in all", usage.Sum)
	}
	want := map[string]int64{}
	for _, p := range have.Parts {
		want[p.ID] = p.Used
	}
	for _, p := range usage.Packages {
		if used, known := want[p.ID]; !known || used != p.Used {
			t.Errorf("package %s: the operator sees %d used, the buyer %d", p.ID, p.Used, used)
		}
		delete(want, p.ID)
	}
	if len(want) > 0 {
		t.Errorf("the operator does not see %v", want)
	}
}

// refused checks that something is turned away with a status and a code, which may be that
// of a field.
func refused(t *testing.T, what string, err error, status int, code string) {
	t.Helper()
	var f *demo.Failure
	if !errors.As(err, &f) {
		t.Errorf("%s: got %v, want a refusal", what, err)
		return
	}
	has := f.Code == code
	for _, x := range f.Fields {
		has = has || x.Code == code
	}
	if f.Status != status || !has {
		t.Errorf("%s: got %v, want %d %s", what, f, status, code)
	}
}

// total counts what a list says that there is.
func total(t *testing.T, c demo.Client, path string) int {
	t.Helper()
	var l struct{ Total int }
	must(t, c.Get(t.Context(), path, &l))
	return l.Total
}

func TestBadInputChangesNothing(t *testing.T) {
	m := open(t, true)
	ctx := t.Context()
	product, group, _ := m.publish(t)
	var blank struct{ ID string }
	must(t, m.seller.Post(ctx, "/seller/apis/import", map[string]any{"document": weather.OpenAPI}, &blank))
	must(t, m.seller.Post(ctx, "/seller/apis/"+blank.ID+"/upstream", map[string]any{"upstream": m.upstream}, nil))
	groups, products := total(t, m.seller, "/seller/apis"), total(t, m.seller, "/seller/products")

	err := m.seller.Post(ctx, "/seller/apis/import", map[string]any{"document": "openapi: 3.0.3\npaths: [\n"}, nil)
	refused(t, "a malformed description", err, http.StatusUnprocessableEntity, "openapi.yaml")
	err = m.seller.Post(ctx, "/seller/products", sheet(blank.ID, map[string]any{"category": "alchemy"}), nil)
	refused(t, "an unknown category", err, http.StatusUnprocessableEntity, "catalog.unknown_category")
	below := []any{map[string]any{"calls": 10, "price": "-0.01", "months": 1}}
	err = m.seller.Post(ctx, "/seller/products", sheet(blank.ID, map[string]any{"plans": below}), nil)
	refused(t, "a price below zero", err, http.StatusUnprocessableEntity, "catalog.price_negative")
	if g, p := total(t, m.seller, "/seller/apis"), total(t, m.seller, "/seller/products"); g != groups || p != products {
		t.Errorf("%d groups and %d products, were %d and %d", g, p, groups, products)
	}

	must(t, demo.Buy(ctx, m.buyer, product, 3))
	var orders struct{ Orders []struct{ ID, State string } }
	must(t, m.buyer.Get(ctx, "/orders", &orders))
	order := orders.Orders[0].ID
	err = m.buyer.Post(ctx, "/orders/"+order+"/pay", map[string]any{"payer": "sandbox"}, nil)
	refused(t, "a second payment", err, http.StatusConflict, "payment.already_paid")
	var shown struct{ Plans []struct{ ID string } }
	must(t, m.buyer.Get(ctx, "/products/"+product, &shown))
	err = m.buyer.Post(ctx, "/orders", map[string]any{"plan": shown.Plans[0].ID, "count": 0}, nil)
	refused(t, "a quantity of nothing", err, http.StatusUnprocessableEntity, "order.count")

	other, _ := m.enter(t, "/sign-up", "other@souk.example", "")
	refused(t, "another's order", other.Get(ctx, "/orders/"+order, nil), http.StatusNotFound, "order.missing")
	refused(t, "cancelling another's order", other.Post(ctx, "/orders/"+order+"/cancel", nil, nil), http.StatusNotFound, "order.missing")
	refused(t, "another's group", other.Get(ctx, "/seller/apis/"+group, nil), http.StatusForbidden, "web.wrong_role")

	browser := m.browser(t)
	status, code := browser.post(t, map[string]any{"plan": shown.Plans[0].ID, "count": 1})
	if status != http.StatusForbidden || code != "form.token" {
		t.Errorf("a form without its token: %d %s", status, code)
	}
	m.ahead.Store(int64(31 * time.Minute))
	status, code = browser.post(t, map[string]any{"plan": shown.Plans[0].ID, "count": 1})
	if status != http.StatusUnauthorized || code != "session.over" {
		t.Errorf("a session that is over: %d %s", status, code)
	}
	if n := total(t, m.buyer, "/orders"); n != 1 {
		t.Errorf("%d orders, want the one that was paid", n)
	}
	if have := m.service(t); have.Total != 3 || have.Used != 0 || len(have.Parts) != 1 {
		t.Errorf("the service is %+v", have)
	}
}

func TestPrivateUpstreamIsRefusedUnlessAllowed(t *testing.T) {
	m := open(t, false)
	for _, upstream := range []string{m.upstream, "http://localhost:80", "http://10.0.0.1", "http://[::1]/", "http://169.254.169.254"} {
		err := m.seller.Post(t.Context(), "/seller/apis", map[string]any{"name": map[string]any{"en": "Inside"}, "upstream": upstream,
			"interfaces": []any{map[string]any{"method": "GET", "path": "/x"}}}, nil)
		refused(t, upstream, err, http.StatusUnprocessableEntity, "apis.private_upstream")
	}
	if n := total(t, m.seller, "/seller/apis"); n != 0 {
		t.Errorf("%d groups were made", n)
	}
}

// browser is a person with cookies.
type browser struct {
	http.Client
	console string
}

var csrf = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// browser signs the buyer in by the form.
func (m *town) browser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	must(t, err)
	b := &browser{console: m.ConsoleURL, Client: http.Client{Jar: jar}}
	w, err := b.Get(m.ConsoleURL + "/sign-in")
	must(t, err)
	page, err := io.ReadAll(w.Body)
	must(t, errors.Join(err, w.Body.Close()))
	token := csrf.FindSubmatch(page)
	if token == nil {
		t.Fatalf("the sign-in page has no token:\n%s", page)
	}
	w, err = b.PostForm(m.ConsoleURL+"/sign-in", url.Values{"csrf": {string(token[1])}, "email": {"buyer@souk.example"}, "password": {password}})
	must(t, err)
	must(t, w.Body.Close())
	if w.StatusCode != http.StatusOK || strings.HasSuffix(w.Request.URL.Path, "/sign-in") {
		t.Fatalf("signed in: %d at %s", w.StatusCode, w.Request.URL)
	}
	return b
}

// post places an order by JSON, with the session's cookie and without the form's token.
func (b *browser) post(t *testing.T, body any) (int, string) {
	t.Helper()
	text, err := json.Marshal(body)
	must(t, err)
	w, err := b.Post(b.console+"/api/v1/orders", "application/json", bytes.NewReader(text))
	must(t, err)
	defer w.Body.Close()
	var p struct{ Code string }
	must(t, json.NewDecoder(w.Body).Decode(&p))
	return w.StatusCode, p.Code
}
