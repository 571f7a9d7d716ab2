// Package browser walks through the demo market in headless Chromium as its people do: a
// buyer finds, buys and calls; a seller imports and submits; an operator approves and
// looks at usage. Each page on the way is asked about by axe.
//
// The walk itself is a test. It needs Chromium; with SOUK_SHOTS=folder it leaves pictures.
package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/chromedp/chromedp"
)

// Tab is one browser with one person in it.
type Tab struct {
	ctx   context.Context
	base  string
	axe   string // the source of axe-core
	shots string // folder for pictures; empty: none are taken
	// Serious collects what axe found to be serious or worse.
	Serious []string
}

// patience is how long a page may take to show what is waited for.
const patience = 20 * time.Second

// Open starts a browser whose language and theme are as given; close it when done.
func Open(base, lang, theme string, width int64, axe, profile, shots string) (*Tab, func(), error) {
	ctx, end := chromedp.NewExecAllocator(context.Background(), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Headless,
		chromedp.NoFirstRun, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true), chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("accept-lang", lang), chromedp.Flag("lang", lang), chromedp.UserDataDir(profile))
	ctx, endTab := chromedp.NewContext(ctx)
	ctx, endTime := context.WithTimeout(ctx, 5*time.Minute)
	stop := func() { endTime(); endTab(); end() }
	t := &Tab{ctx: ctx, base: base, axe: axe, shots: shots}
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, 900)); err != nil {
		stop()
		return nil, nil, fmt.Errorf("start Chromium: %w", err)
	}
	if theme == "dark" {
		if err := t.dark(); err != nil {
			stop()
			return nil, nil, err
		}
	}
	return t, stop, nil
}

// dark chooses the dark theme as its button does, which a phone keeps in a drawer.
func (t *Tab) dark() error {
	if err := t.Go("/"); err != nil {
		return err
	}
	_, err := t.Value(`fetch("/prefs", {method: "POST", body: new URLSearchParams({theme: "dark", back: "/", csrf: document.querySelector("meta[name=csrf]").content})}).then(r => String(r.status))`)
	if err != nil {
		return err
	}
	if err := t.Go("/"); err != nil {
		return err
	}
	return t.Until("the dark theme", `document.documentElement.className === "dark"`)
}

// Go opens a page of the market.
func (t *Tab) Go(path string) error {
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Navigate(t.base+path)); err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	return nil
}

// Click clicks the first visible thing that a selector finds.
func (t *Tab) Click(selector string) error {
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Click(selector)); err != nil {
		return fmt.Errorf("click %s: %w", selector, err)
	}
	return nil
}

// Fill replaces what stands in a field, by typing.
func (t *Tab) Fill(selector, text string) error {
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Clear(selector), chromedp.SendKeys(selector, text)); err != nil {
		return fmt.Errorf("fill %s: %w", selector, err)
	}
	return nil
}

// Choose sets the value of a select.
func (t *Tab) Choose(selector, value string) error {
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	return chromedp.Do(ctx, chromedp.SetValue(selector, value))
}

// Upload chooses a file.
func (t *Tab) Upload(selector, file string) error {
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	return chromedp.Do(ctx, chromedp.SetUploadFiles(selector, []string{file}))
}

// Until waits until an expression of JavaScript is true.
func (t *Tab) Until(what, expression string) error {
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		if err == nil && ok {
			return nil
		}
		select { // an error may be a page that is just going away
		case <-ctx.Done():
			body, _ := chromedp.Run(t.ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText.slice(0, 1500)`))
			return fmt.Errorf("never saw %s; the page is\n%s", what, body)
		case <-tick.C:
		}
	}
}

// Sees waits until the page shows a text.
func (t *Tab) Sees(text string) error {
	quoted, err := json.Marshal(text)
	if err != nil {
		return err
	}
	return t.Until(fmt.Sprintf("%q", text), `document.readyState === "complete" && document.body.innerText.replace(/\s+/g, " ").includes(`+string(quoted)+`)`)
}

// At waits until the address begins with a path and the page is there.
func (t *Tab) At(path string) error {
	quoted, err := json.Marshal(path)
	if err != nil {
		return err
	}
	return t.Until("the page "+path, `document.readyState === "complete" && location.pathname.startsWith(`+string(quoted)+`)`)
}

// Value is what an expression of JavaScript gives; a promise is waited for.
func (t *Tab) Value(expression string) (string, error) {
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[string](expression, chromedp.EvalAwaitPromise))
}

// Look asks axe about the page, checks that nothing goes over its edge, and takes a
// picture.
func (t *Tab) Look(name string) error {
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	if err := t.Until("a whole page", `document.readyState === "complete" && document.body && document.querySelector("main")`); err != nil {
		return err
	}
	over, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`document.documentElement.scrollWidth > document.documentElement.clientWidth`))
	if err != nil {
		return err
	}
	if over {
		t.Serious = append(t.Serious, name+": the page scrolls sideways")
	}
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[int](t.axe+"; 1")); err != nil {
		return fmt.Errorf("load axe: %w", err)
	}
	text, err := t.Value(`axe.run(document, {resultTypes: ["violations"]}).then(r => JSON.stringify(r.violations.map(v => [v.id, v.impact, v.nodes.map(n => n.target.join(" ")).slice(0, 3).join("; ")])))`)
	if err != nil {
		return fmt.Errorf("ask axe: %w", err)
	}
	var found [][3]string
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		return err
	}
	for _, f := range found {
		if f[1] == "serious" || f[1] == "critical" {
			t.Serious = append(t.Serious, name+": "+strings.Join(f[:], " "))
		}
	}
	if t.shots == "" {
		return nil
	}
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(t.shots, name+".png"), png, 0o600)
}
