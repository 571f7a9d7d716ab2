package browser

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/examples/demo"
)

// needChromium fails where CI forgot to install it.
func needChromium(t *testing.T) {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "headless-shell"} {
		if _, err := exec.LookPath(name); err == nil {
			return
		}
	}
	t.Fatal("no Chromium: make test installs it, or prints the line that does")
}

func market(t *testing.T) *demo.Market {
	t.Helper()
	m, err := demo.Start(t.Context(), demo.Options{Data: t.TempDir()})
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
	return m
}

// walker is a person in a tab; the first thing that fails ends the walk.
type walker struct {
	*Tab
	t    *testing.T
	name string
}

func enter(t *testing.T, m *demo.Market, name, lang, theme string, width int64) *walker {
	t.Helper()
	axe, err := os.ReadFile("../../console/web/page/testdata/axe/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	tab, stop, err := Open(m.Ready.Console, lang, theme, width, string(axe), t.TempDir(), os.Getenv("SOUK_SHOTS"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return &walker{Tab: tab, t: t, name: fmt.Sprintf("%s-%s-%s-%d", name, lang, theme, width)}
}

func (w *walker) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *walker) look(page string) {
	w.t.Helper()
	w.must(w.Look(w.name + "-" + page))
}

func (w *walker) signIn(m *demo.Market, role string) {
	w.t.Helper()
	for _, a := range m.Ready.Accounts {
		if a.Role != role {
			continue
		}
		w.must(w.At("/sign-in"))
		w.look("sign-in")
		w.must(w.Fill("#f-email", a.Email))
		w.must(w.Fill("#f-password", a.Password))
		w.must(w.Click("main form button"))
		w.must(w.Until("somebody signed in", `document.readyState === "complete" && document.querySelector("details.person")`))
		return
	}
	w.t.Fatalf("the demo has no %s", role)
}

// done fails the test for what axe found on the way.
func (w *walker) done() {
	w.t.Helper()
	for _, s := range w.Serious {
		w.t.Error(s)
	}
}

// speech is what the walk looks for in a language.
type speech struct {
	lang, query, product, active, submit string
	spec                                 string
}

var speeches = []speech{
	{lang: "zh-CN", query: "天气", product: "城市天气查询", active: "已开通", submit: "已送审", spec: "market-ip-query.json"},
	{lang: "en-US", query: "parcel", product: "Parcel tracking", active: "Active", submit: "Submitted", spec: "museum-openapi-example-api.yaml"},
}

// The story of a newcomer, in both languages: CAT-02, CAT-07, CAT-09, CAT-11, CAT-26,
// BUY-01, BUY-02, BUY-11, SVC-04, API-02, API-03, API-10, APP-06, SDK-02, SEL-02, SEL-04,
// OPR-01, GEN-03, GEN-06.
func TestTheStory(t *testing.T) {
	needChromium(t)
	m := market(t)
	for _, s := range speeches {
		t.Run(s.lang, func(t *testing.T) {
			buyTheProduct(t, m, s)
			publishAnother(t, m, s)
		})
	}
}

// buyTheProduct is steps 1, 2 and 3: find, buy, call by the curl line, see it counted,
// fetch the SDK.
func buyTheProduct(t *testing.T, m *demo.Market, s speech) {
	buyer := enter(t, m, "buyer", s.lang, "light", 1280)
	defer buyer.done()
	buyer.must(buyer.Go("/"))
	buyer.look("home")
	buyer.must(buyer.Fill("#q-home", s.query))
	buyer.must(buyer.Until("a suggestion of the product", `document.querySelector(".suggest:not([hidden])")?.innerText.includes(`+quote(s.product)+`)`))
	buyer.look("suggest")
	buyer.must(buyer.Click(".hero .search .btn"))
	buyer.must(buyer.At("/products"))
	buyer.must(buyer.Sees(s.product))
	buyer.look("search")
	buyer.must(buyer.Until("the product's card", follow(".product h3 a", s.product)))
	buyer.must(buyer.At("/products/prd_"))
	buyer.must(buyer.Sees("¥"))
	buyer.look("product")
	sample, err := buyer.Value(`document.querySelector("[data-pane=curl] code").textContent`)
	buyer.must(err)
	buyer.must(buyer.Until("the plan of 1 000 calls", `(() => { for (const l of document.querySelectorAll("label.radio")) if (/^1\s000\s/.test(l.innerText.trim())) { l.querySelector("input").click(); return true } })()`))
	buyer.must(buyer.Click(`form[data-sum] button.primary`))
	buyer.signIn(m, "buyer")
	buyer.must(buyer.At("/checkout"))
	buyer.look("checkout")
	buyer.must(buyer.Click(`form[action="/orders"] button.primary`))
	buyer.must(buyer.Until("the payment page", `location.pathname.endsWith("/pay") && document.readyState === "complete"`))
	buyer.look("pay")
	buyer.must(buyer.Click("main form button.primary"))
	buyer.must(buyer.At("/pay/sandbox/"))
	buyer.look("sandbox")
	buyer.must(buyer.Click(`button[value=paid]`))
	buyer.must(buyer.At("/payments/"))
	paid := time.Now()
	buyer.look("paid")
	buyer.must(buyer.Go("/services"))
	buyer.must(buyer.Until("the service", follow("td.name b a", s.product)))
	buyer.must(buyer.At("/services/svc_"))
	buyer.must(buyer.Sees(s.active))
	t.Logf("active %s after the payment page, with the look at that page in between", time.Since(paid).Round(time.Millisecond))
	buyer.must(buyer.Sees("0 / 1 000"))
	buyer.look("service")

	code := reveal(buyer, "AppCode")
	if len(code) != 32 || code != m.Ready.App.AppCode {
		t.Fatalf("the page shows the AppCode %q, the app's is another (APP-06)", code)
	}
	runCurl(t, sample, code)
	buyer.must(buyer.Until("the call on the chart", `(document.body.innerText.replace(/\s+/g, " ").includes("1 / 1 000") && document.querySelector("svg.chart-wide rect.c1")) || (location.reload(), false)`))
	buyer.look("service-used")

	for _, language := range []string{"go", "python"} {
		size, err := buyer.Value(`fetch(document.querySelector('a[href$="/sdk/` + language + `"]').href).then(r => r.ok ? r.blob() : Promise.reject(r.status)).then(b => String(b.size))`)
		buyer.must(err)
		if len(size) < 4 {
			t.Errorf("the %s SDK has %s bytes", language, size)
		}
	}
	for _, page := range []string{"/orders", "/apps", "/sdks", "/account", "/docs", "/parts", "/categories", "/nothing-here"} {
		buyer.must(buyer.Go(page))
		buyer.look(strings.Trim(strings.ReplaceAll(page, "/", "-"), "-"))
	}
	buyer.must(buyer.Go("/orders?state=unpaid"))
	buyer.look("unpaid-empty")
}

// reveal shows a secret and reads it from the page, as the buyer would.
func reveal(w *walker, name string) string {
	w.t.Helper()
	w.must(w.Click(`#secret-` + name + ` form button`))
	w.must(w.Until("the secret", `/^[0-9a-f]{32}$/.test(document.querySelector("#secret-`+name+` code").textContent)`))
	v, err := w.Value(`document.querySelector("#secret-` + name + ` code").textContent`)
	w.must(err)
	return v
}

// runCurl pastes the line of the product page into a shell.
func runCurl(t *testing.T, line, code string) {
	t.Helper()
	line = strings.ReplaceAll(line, "<YOUR_APP_CODE>", code)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.Replace(line, "curl ", "curl -sS -m 10 -w '\n%{http_code}' ", 1))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "\n200") {
		t.Fatalf("%s\n%v\n%s", line, err, out)
	}
}

// publishAnother is steps 4 and 5: a seller imports a real document and submits, the
// operator approves and finds it, a buyer buys and calls it, the operator sees its usage.
func publishAnother(t *testing.T, m *demo.Market, s speech) {
	title := "Walk " + s.lang
	seller := enter(t, m, "seller", s.lang, "light", 1280)
	defer seller.done()
	seller.must(seller.Go("/seller/apis/import"))
	seller.signIn(m, "seller")
	seller.must(seller.At("/seller/apis/import"))
	seller.look("import")
	file, err := filepath.Abs("../../sdkgen/testdata/specs/" + s.spec)
	seller.must(err)
	seller.must(seller.Upload("#f-file", file))
	seller.must(seller.Click("main form button.primary"))
	seller.must(seller.Until("the interfaces", `location.pathname.endsWith("/select") && document.readyState === "complete"`))
	seller.look("select")
	seller.must(seller.Click(".actionbar button.primary"))
	seller.must(seller.Until("the upstream", `location.pathname.endsWith("/upstream") && document.readyState === "complete"`))
	seller.must(seller.Fill("#f-upstream", m.Ready.Upstream+"/echo"))
	seller.look("upstream")
	seller.must(seller.Click(".actionbar button.primary"))
	seller.must(seller.At("/seller/products/new"))
	seller.must(seller.Fill(`[id="f-name.zh"]`, title))
	seller.must(seller.Fill(`[id="f-name.en"]`, title))
	seller.must(seller.Fill(`[id="f-summary.zh"]`, "走查"))
	seller.must(seller.Fill(`[id="f-summary.en"]`, "A walk"))
	seller.must(seller.Choose("#f-category", "testing"))
	seller.look("product")
	seller.must(seller.Click(".actionbar button"))
	seller.must(seller.At("/seller/products/prd_"))
	seller.look("draft")
	seller.must(seller.Click(".head button.primary"))
	seller.must(seller.Sees(s.submit))
	seller.look("submitted")
	seller.must(seller.Go("/seller/products"))
	seller.look("products")
	seller.must(seller.Go("/seller/apis"))
	seller.look("apis")

	op := enter(t, m, "operator", s.lang, "light", 1280)
	defer op.done()
	op.must(op.Go("/operator/reviews"))
	op.signIn(m, "operator")
	op.must(op.At("/operator/reviews"))
	op.must(op.Until("the submitted product", follow("td.name b a", title)))
	op.must(op.At("/operator/reviews/prd_"))
	op.look("review")
	op.must(op.Click("form[action$='/approve'] button"))
	op.must(op.Until("the queue", `location.pathname === "/operator/reviews" && document.readyState === "complete"`))
	op.look("reviews-empty")
	op.must(op.Go("/products?q=" + strings.ReplaceAll(title, " ", "+")))
	op.must(op.Sees(title))

	var listed struct {
		Products []struct {
			ID string `json:"id"`
		} `json:"products"`
	}
	buyer := demo.Client{Console: m.Ready.Console, Token: token(t, m, "buyer")}
	seller.must(buyer.Get(t.Context(), "/products?q="+strings.ReplaceAll(title, " ", "+"), &listed))
	if len(listed.Products) != 1 {
		t.Fatalf("%d products named %s", len(listed.Products), title)
	}
	sample := buyAndSample(t, buyer, listed.Products[0].ID)
	runCurl(t, sample, m.Ready.App.AppCode)

	op.must(op.Go("/operator/usage"))
	op.must(op.Sees(title))
	op.look("usage")
	op.must(op.Until("the package", follow("td b a", title)))
	op.must(op.At("/operator/usage/pkg_"))
	op.must(op.Sees("1 / 1 000"))
	op.look("usage-package")
	for _, page := range []string{"/operator/products", "/operator/accounts"} {
		op.must(op.Go(page))
		op.look(strings.Trim(strings.ReplaceAll(page, "/", "-"), "-"))
	}
}

func token(t *testing.T, m *demo.Market, role string) string {
	t.Helper()
	for _, a := range m.Ready.Accounts {
		if a.Role == role {
			return a.Token
		}
	}
	t.Fatalf("the demo has no %s", role)
	return ""
}

// buyAndSample buys the first package of a product by JSON and gives the curl line of its
// page.
func buyAndSample(t *testing.T, buyer demo.Client, product string) string {
	t.Helper()
	var p struct {
		Plans []struct {
			ID string `json:"id"`
		} `json:"plans"`
		Operations []struct {
			Samples []struct{ Language, Text string } `json:"samples"`
		} `json:"operations"`
	}
	var order, pay, done struct {
		ID string `json:"id"`
	}
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(buyer.Get(ctx, "/products/"+product, &p))
	must(buyer.Post(ctx, "/orders", map[string]any{"plan": p.Plans[0].ID, "count": 1}, &order))
	must(buyer.Post(ctx, "/orders/"+order.ID+"/pay", map[string]any{"payer": "sandbox"}, &pay))
	must(buyer.Post(ctx, "/pay/sandbox/"+pay.ID, map[string]any{"result": "paid"}, &done))
	err := demo.Until(ctx, "the service is active", func() (bool, error) {
		var l struct {
			Services []struct{ Product, State string } `json:"services"`
		}
		err := buyer.Get(ctx, "/services", &l)
		for _, s := range l.Services {
			if s.Product == product && s.State == "active" {
				return true, nil
			}
		}
		return false, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return p.Operations[0].Samples[0].Text
}

// The pages that people judge first hold on a phone and a tablet, in the dark, and without
// a finding by axe.
func TestOtherSizes(t *testing.T) {
	needChromium(t)
	m := market(t)
	for _, width := range []int64{360, 768} {
		for _, lang := range []string{"zh-CN", "en-US"} {
			w := enter(t, m, "any", lang, "dark", width)
			w.must(w.Go("/products"))
			w.look("products")
			w.must(w.Until("a product", follow(".product h3 a", "")))
			w.must(w.At("/products/prd_"))
			w.look("product")
			w.must(w.Go("/sign-in?to=/services"))
			w.signIn(m, "buyer")
			w.must(w.At("/services"))
			w.look("services")
			w.must(w.Until("a service", follow("td.name b a", "")))
			w.must(w.At("/services/svc_"))
			w.look("service")
			w.done()
		}
	}
}

// follow is an expression that clicks the first link whose text has the word, and is true
// once there was one.
func follow(selector, word string) string {
	return `(() => { for (const a of document.querySelectorAll(` + quote(selector) + `)) if (a.textContent.includes(` + quote(word) + `)) { a.click(); return true } })()`
}

func quote(s string) string { return fmt.Sprintf("%q", s) }
