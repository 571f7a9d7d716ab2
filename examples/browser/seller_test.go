package browser

import (
	"testing"

	"github.com/souk-market/souk/examples/demo"
)

// The seller's side of the gateway (GEN-04), on a desk and a phone, in both languages and
// themes: each page is looked at as it is when nothing is set, when something is, and when
// what was typed is wrong.
func TestTheSellersGateway(t *testing.T) {
	needChromium(t)
	m := market(t)
	seller := demo.Client{Console: m.Ready.Console, Token: token(t, m, "seller")}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var all struct{ Groups []struct{ ID string } }
	must(seller.Get(t.Context(), "/seller/apis", &all))
	group, empty := all.Groups[0].ID, all.Groups[1].ID
	at := "/seller/apis/" + group
	var g struct{ Interfaces []struct{ ID string } }
	must(seller.Get(t.Context(), at, &g))
	iface := at + "/interfaces/" + g.Interfaces[0].ID
	post := func(path string, body any) {
		t.Helper()
		must(seller.Post(t.Context(), path, body, nil))
	}
	post(at+"/limits", map[string]any{"name": "每个应用", "by": "app", "calls": 20, "window": "second"})
	post(at+"/limits", map[string]any{"name": "daily cap", "by": "group", "calls": 1000000, "window": "day", "smooth": true, "burst": 200})
	post(at+"/filters", map[string]any{"filter": "cors", "with": map[string]any{"origins": []string{"https://shop.example"}}})
	post(at+"/addresses", map[string]any{"deny": []string{"192.0.2.7", "198.51.100.0/24"}})
	post(at+"/domains", map[string]any{"domains": []string{"api.tides.example"}, "test_domain": true})
	var key struct{ Key struct{ ID string } }
	must(seller.Post(t.Context(), "/seller/keys", map[string]any{"name": "night watch"}, &key))
	post(at+"/signing", map[string]any{"key": key.Key.ID, "headers": []string{"X-City"}})
	post(iface, map[string]any{"app_code": "HEADER", "secure": true, "mock": map[string]any{"status": 200, "headers": [][]string{{"Content-Type", "application/json"}}, "body": "{}"}})
	for _, c := range []struct {
		lang, theme string
		width       int64
	}{{"zh-CN", "light", 1280}, {"en-US", "dark", 1280}, {"zh-CN", "dark", 360}, {"en-US", "light", 360}} {
		w := enter(t, m, "gateway", c.lang, c.theme, c.width)
		w.must(w.Go("/sign-in"))
		w.signIn(m, "seller")
		for _, page := range []struct{ name, path string }{
			{"interfaces", "/seller/interfaces"}, {"all-limits", "/seller/limits"}, {"all-filters", "/seller/filters"}, {"all-addresses", "/seller/addresses"},
			{"keys", "/seller/keys"}, {"key", "/seller/keys/" + key.Key.ID}, {"group", at}, {"upstream", at + "/upstream"}, {"backend", at + "/backend"},
			{"domains", at + "/domains"}, {"limits", at + "/limits"}, {"limit", at + "/limits/new"}, {"filters", at + "/filters"}, {"filter", at + "/filters/new?filter=rewrite"},
			{"addresses", at + "/addresses"}, {"signing", at + "/signing"}, {"interface", iface}, {"no-limits", "/seller/apis/" + empty + "/limits"}, {"no-filters", "/seller/apis/" + empty + "/filters"},
		} {
			w.must(w.Go(page.path))
			w.look(page.name)
		}
		w.must(w.Go("/seller/keys"))
		w.must(w.Fill("#f-name", "dawn"))
		w.must(w.Click("form.card .btn.primary"))
		w.must(w.Until("the value", `document.readyState === "complete" && document.querySelector("main .card .copyval code")`))
		w.look("key-made")
		w.must(w.Go("/seller/keys"))
		w.must(w.Until("a key that signs nothing", follow("td.name b a", "dawn")))
		w.must(w.Until("its page", `document.readyState === "complete" && document.querySelector(".head .btn.danger")`))
		w.must(w.Click(".head .btn.danger"))
		w.must(w.Until("the question", `document.readyState === "complete" && document.querySelector(".btn.danger.fill")`))
		w.look("ask")
		w.must(w.Click(".btn.danger.fill"))
		w.must(w.Until("the list", `document.readyState === "complete" && document.querySelector(".flash")`))
		w.must(w.Go(at + "/filters/new?filter=access"))
		w.must(w.Fill("#f-with", `{"rules": [{"name": "odd", "deny": "has("}]}`))
		w.must(w.Click("form.card .btn.primary"))
		w.must(w.Until("the fault", `document.readyState === "complete" && document.querySelector("#f-with[aria-invalid=true]")`))
		w.look("filter-fault")
		w.done()
	}
}
