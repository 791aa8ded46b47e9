package test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/portcullis-mfa/portcullis/test/harness"
)

var axeSource = sync.OnceValues(func() ([]byte, error) {
	folder, err := installedPackages()
	if err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(folder, "axe-core", "axe.min.js"))
})

// axe returns the source of axe-core.
func axe(t *testing.T) string {
	t.Helper()
	harness.Need(t, "npm")
	source, err := axeSource()
	if err != nil {
		t.Fatalf("installing axe-core: %v", err)
	}
	return string(source)
}

// jsAxe runs axe-core with all its rules, best practices included, and yields
// what they found as a list of sentences.
const jsAxe = `axe.run(document, {resultTypes: ["violations"]}).then(result => JSON.stringify(
	result.violations.map(v => v.id + ": " + v.help + ": " + v.nodes.map(n => n.html + " " + n.failureSummary).join("; "))))`

// inspect holds a page, as it stands, to what every page has to be: no
// violation of axe-core's rules in light and dark, nothing to scroll sideways
// at 320 pixels (WCAG 2.2, 1.4.10), and a title and one heading of its own. It
// saves screenshots where they are wanted.
func (v *visitor) inspect(name string) {
	v.t.Helper()
	v.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := chromedp.Evaluate[string](axe(v.t)+`;"loaded"`)(ctx, target)
		return err
	}))
	for _, scheme := range []string{"light", "dark"} {
		v.do(coloured(scheme))
		var violations []string
		if err := json.Unmarshal([]byte(v.promised(jsAxe)), &violations); err != nil {
			v.t.Fatalf("%s: reading what axe-core found: %v", name, err)
		}
		for _, violation := range violations {
			v.t.Errorf("%s in %s: %s", name, scheme, violation)
		}
	}
	v.do(coloured("light"), chromedp.EmulateViewport(320, 640))
	if width := v.Evaluate(`String(document.documentElement.scrollWidth)`); width != "320" {
		v.t.Errorf("%s is %s pixels wide on a screen of 320", name, width)
	}
	v.do(chromedp.EmulateViewport(v.width, v.height))
	if headings := v.Evaluate(`String(document.querySelectorAll("h1").length)`); headings != "1" {
		v.t.Errorf("%s has %s h1", name, headings)
	}
	if v.Title() == "" {
		v.t.Errorf("%s has no title", name)
	}
	v.Shots(name)
}

func coloured(scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme},
			{Name: "prefers-reduced-motion", Value: "reduce"},
		}})
		return err
	})
}
