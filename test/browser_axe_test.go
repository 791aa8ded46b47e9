package test

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/portcullis-mfa/portcullis/test/harness"
)

// axe-core comes from npm in the version that the lock file pins by its hash.
//
//go:embed package.json
var npmPackage []byte

//go:embed package-lock.json
var npmLock []byte

var installedAxe = sync.OnceValues(installAxe)

// axe returns the source of axe-core.
func axe(t *testing.T) string {
	t.Helper()
	harness.Need(t, "npm")
	source, err := installedAxe()
	if err != nil {
		t.Fatalf("installing axe-core: %v", err)
	}
	return source
}

// installAxe has npm install into the user's cache, once for each lock file,
// and runs nothing of what it installs.
func installAxe() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the user's cache folder: %w", err)
	}
	sum := sha256.Sum256(append(npmPackage, npmLock...))
	folder := filepath.Join(cache, "portcullis-test", "npm-"+hex.EncodeToString(sum[:8]))
	script := filepath.Join("node_modules", "axe-core", "axe.min.js")
	if source, err := os.ReadFile(filepath.Join(folder, script)); err == nil {
		return string(source), nil
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o700); err != nil {
		return "", fmt.Errorf("making the cache folder: %w", err)
	}
	fresh, err := os.MkdirTemp(filepath.Dir(folder), "npm-new-")
	if err != nil {
		return "", fmt.Errorf("making a folder to install into: %w", err)
	}
	defer func() { _ = os.RemoveAll(fresh) }()
	for name, content := range map[string][]byte{"package.json": npmPackage, "package-lock.json": npmLock} {
		if err := os.WriteFile(filepath.Join(fresh, name), content, 0o600); err != nil {
			return "", fmt.Errorf("writing %s: %w", name, err)
		}
	}
	install := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = fresh
	if output, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w\n%s", err, output)
	}
	source, err := os.ReadFile(filepath.Join(fresh, script))
	if err != nil {
		return "", fmt.Errorf("reading what npm installed: %w", err)
	}
	// Another process may have been faster with the same.
	_ = os.Rename(fresh, folder)
	return string(source), nil
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
