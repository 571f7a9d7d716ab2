//go:build browser

package page_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/souk-market/souk/console/web/page"
)

// These tests open every sample page in Chromium, in both themes and both languages, on a
// phone, a tablet and a desk, and ask axe about it. They want Chromium installed:
//
//	go test -tags browser ./console/web/page
//
// With SOUK_SHOTS=folder they leave pictures there, to be held beside the design; with
// SOUK_ONLY=home they open the pages whose name contains the word.

var widths = []int64{320, 360, 768, 1280}

const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func serve(t *testing.T, set *page.Set) *httptest.Server {
	mux := http.NewServeMux()
	mux.Handle("/static/", http.StripPrefix("/static/", http.FileServerFS(page.Static())))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", policy)
		if err := set.Render(w, strings.TrimPrefix(r.URL.Path, "/"), frame(r.URL.Path[1:], q.Get("lang"), q.Get("theme"))); err != nil {
			t.Error(err)
		}
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func browser(t *testing.T) context.Context {
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Headless,
		chromedp.NoFirstRun, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("hide-scrollbars", true), chromedp.UserDataDir(t.TempDir()))
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 8*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// finding is what axe says of one rule.
type finding struct {
	ID, Help string
	Nodes    []struct {
		Target []any
		Any    []struct{ Message string }
	}
}

func TestGalleryInABrowser(t *testing.T) {
	set := gallery(t)
	site := serve(t, set)
	axe, err := os.ReadFile("testdata/axe/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	ctx := browser(t)
	shots := os.Getenv("SOUK_SHOTS")
	for _, name := range set.Names() {
		if !strings.Contains(name, os.Getenv("SOUK_ONLY")) {
			continue
		}
		for _, lang := range page.Languages {
			for _, theme := range []string{"light", "dark"} {
				for _, width := range widths {
					label := fmt.Sprintf("%s-%s-%s-%d", filepath.Base(name), lang, theme, width)
					height := int64(800)
					size := chromedp.EmulateViewport(width, height)
					if width < 600 {
						size = chromedp.EmulateViewport(width, height, chromedp.EmulateMobile, chromedp.EmulateTouch)
					}
					if err := chromedp.Do(ctx, size, chromedp.Navigate(site.URL+"/"+name+"?lang="+lang+"&theme="+theme)); err != nil {
						t.Fatal(err)
					}
					over, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](overflow))
					if err != nil {
						t.Fatal(err)
					}
					for _, o := range over {
						t.Errorf("%s: goes over the edge: %s", label, o)
					}
					if width == 360 {
						small, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](smallTargets))
						if err != nil {
							t.Fatal(err)
						}
						for _, s := range small {
							t.Errorf("%s: small target: %s", label, s)
						}
					}
					if width == 360 || width == 1280 {
						for _, f := range ask(t, ctx, string(axe)) {
							for _, n := range f.Nodes {
								why := f.Help
								if len(n.Any) > 0 {
									why = n.Any[0].Message
								}
								t.Errorf("%s: %s: %v: %s", label, f.ID, n.Target, why)
							}
						}
					}
					if shots != "" && width != 320 {
						picture(t, ctx, filepath.Join(shots, label+".png"), width)
					}
				}
			}
		}
	}
}

func ask(t *testing.T, ctx context.Context, axe string) []finding {
	if err := chromedp.Do(ctx, func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		_, err := chromedp.Evaluate[any](axe+"; 1")(ctx, target)
		return chromedp.Void{}, err
	}); err != nil {
		t.Fatal(err)
	}
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`axe.run(document,{resultTypes:["violations"]}).then(r=>JSON.stringify(r.violations))`, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	var found []finding
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		t.Fatal(err)
	}
	return found
}

func picture(t *testing.T, ctx context.Context, file string, width int64) {
	tall, err := chromedp.Run(ctx, chromedp.Evaluate[int64](`document.documentElement.scrollHeight`))
	if err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, max(800, tall))); err != nil {
		t.Fatal(err)
	}
	b, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// overflow names what is wider than the page, or is cut off by a box that neither scrolls
// nor means to cut.
const overflow = `(() => {
	const w = document.documentElement.clientWidth, out = [];
	for (const e of document.body.querySelectorAll("*")) {
		const r = e.getBoundingClientRect();
		if (r.width < 2 || e.closest(".vh, svg, .skip, table.cards thead") || e.tagName === "OPTION") continue;
		let limit = w, held = false;
		for (let p = e.parentElement; p && p !== document.body; p = p.parentElement) {
			const o = getComputedStyle(p).overflowX;
			if (o === "auto" || o === "scroll") { held = true; break; }
			if (o === "hidden" || o === "clip") limit = Math.min(limit, p.getBoundingClientRect().right);
		}
		if (!held && r.right > limit + 1) out.push(e.tagName + "." + (e.getAttribute("class") || "") + " " + Math.round(r.right) + " > " + Math.round(limit));
	}
	return out.slice(0, 5);
})()`

// smallTargets names what is hard to hit with a thumb. Links within sentences and dense
// lists are measured by axe, at 24.
const smallTargets = `(() => {
	const out = [];
	for (const e of document.querySelectorAll("button, .btn, summary, input, select, textarea, label.radio, .iconbtn")) {
		if (e.closest("[hidden], .vh, dialog:not([open])") || e.matches(".mini, [type=hidden], [type=checkbox], [type=radio], td *")) continue;
		const r = e.getBoundingClientRect();
		if (r.height === 0) continue;
		if (r.height < 39.5) out.push(e.tagName + "." + (e.getAttribute("class") || "") + " " + Math.round(r.height) + " " + e.textContent.trim().slice(0, 20));
	}
	return out.slice(0, 8);
})()`
