package harness

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// EnvShots names the folder for screenshots; without it none are taken.
const EnvShots = "PORTCULLIS_SHOTS"

// BrowserOptions says what somebody sits in front of; zero fields mean a
// light desktop.
type BrowserOptions struct {
	Mobile        bool // a phone: 390 wide, touch
	Dark          bool // prefers-color-scheme
	NoJavaScript  bool
	Width, Height int64
	// Whole starts all of Chromium, for when the engine alone isn't enough: notifications,
	// the clipboard and frames of other sites, for example. Only NewBrowser takes it.
	Whole bool
	// NoCookies makes Chromium keep none, as some people set it. It holds for
	// the whole browser, so only NewBrowser takes it.
	NoCookies bool
	// FlawsExpected lets pages violate their Content Security Policy and
	// leave exceptions uncaught, which otherwise fails the test.
	FlawsExpected bool
	// Certificate is a PKCS #12 file, and CertificatePassword the file with its
	// password, of a certificate that the browser shows to *.localhost without
	// asking; "": none. Only for NewBrowser.
	Certificate, CertificatePassword string
}

// program is the Chromium to start. The headless shell is its engine without what
// surrounds a page in a window, and takes a third less computing time. Settings of
// a profile and client certificates need all of it.
func (o BrowserOptions) program() string {
	if o.Whole || o.NoCookies || o.Certificate != "" {
		return "chromium"
	}
	return "chromium-headless-shell"
}

// Keys that Press takes beside printable ones.
const (
	KeyEnter  = kb.Enter
	KeyTab    = kb.Tab
	KeyEscape = kb.Escape
)

// Browser is one tab of a headless Chromium. It reaches this machine only,
// where *.localhost and *.example.test are, and trusts the server's own
// certificate authority. Methods wait for what they need and fail the test
// where it doesn't come; they are for one goroutine.
type Browser struct {
	t       testing.TB
	ctx     context.Context
	options BrowserOptions

	mu       sync.Mutex
	messages []chromedp.ConsoleMessage
}

// NewBrowser starts Chromium with an empty profile. It ends with the test.
func NewBrowser(t testing.TB, server *Server, options BrowserOptions) *Browser {
	t.Helper()
	program := options.program()
	Need(t, program)
	home := t.TempDir()
	flags := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program),
		chromedp.Env("HOME="+home),
		chromedp.Flag("host-resolver-rules", "MAP *.localhost 127.0.0.1, MAP *.example.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"),
		chromedp.Flag("ignore-certificate-errors-spki-list", strings.Join(server.publicKeyHashes(), ",")),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-quic", true),
	)
	switch {
	case options.NoCookies:
		flags = append(flags, chromedp.UserDataDir(profileWith(t, blockCookies)))
	case options.Certificate != "":
		importCertificate(t, home, options)
		flags = append(flags, chromedp.UserDataDir(profileWith(t, chooseCertificate)))
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), flags...)
	t.Cleanup(stop)
	ctx, _ := chromedp.NewContext(allocator)
	return openTab(t, ctx, options)
}

// The content settings of profiles.
const (
	blockCookies      = `{"profile": {"default_content_setting_values": {"cookies": 2}}}`
	chooseCertificate = `{"profile": {"content_settings": {"exceptions": {"auto_select_certificate": {
		"https://[*.]localhost,*": {"setting": {"filters": [{}]}}}}}}}`
)

// profileWith makes a profile with the given preferences.
func profileWith(t testing.TB, preferences string) string {
	t.Helper()
	folder := t.TempDir()
	err := os.Mkdir(filepath.Join(folder, "Default"), 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "Default", "Preferences"), []byte(preferences), 0o600)
	}
	if err != nil {
		t.Fatalf("making a profile: %v", err)
	}
	return folder
}

// importCertificate puts a certificate where Chromium looks for them.
func importCertificate(t testing.TB, home string, options BrowserOptions) {
	t.Helper()
	Need(t, "certutil", "pk12util")
	folder := filepath.Join(home, ".pki", "nssdb")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatalf("making a certificate database: %v", err)
	}
	for _, command := range [][]string{
		{"certutil", "-N", "-d", "sql:" + folder, "--empty-password"},
		{"pk12util", "-d", "sql:" + folder, "-i", options.Certificate, "-w", options.CertificatePassword, "-K", ""},
	} {
		if output, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command[0], err, output)
		}
	}
}

// Tab opens another tab of the same profile: the same cookies.
func (b *Browser) Tab() *Browser {
	b.t.Helper()
	ctx, _ := chromedp.NewContext(b.ctx)
	return openTab(b.t, ctx, b.options)
}

// Person opens a tab of another, empty profile, as on another machine.
func (b *Browser) Person(options BrowserOptions) *Browser {
	b.t.Helper()
	ctx, _ := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	return openTab(b.t, ctx, options)
}

// PersonFor is Person for a subtest, which it ends with, and fails.
func (b *Browser) PersonFor(t testing.TB, options BrowserOptions) *Browser {
	t.Helper()
	ctx, _ := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	return openTab(t, ctx, options)
}

func openTab(t testing.TB, ctx context.Context, options BrowserOptions) *Browser {
	t.Helper()
	if options.Width == 0 {
		options.Width, options.Height = 1280, 800
		if options.Mobile {
			options.Width, options.Height = 390, 844
		}
	}
	b := &Browser{t: t, ctx: ctx, options: options}
	// The first command starts the browser, which lives as long as its context:
	// so this one has no time limit.
	messages := chromedp.Console(ctx)
	collected := make(chan struct{})
	go b.collect(messages, collected)
	t.Cleanup(func() { b.close(collected) })
	if err := chromedp.Do(ctx, b.emulate(options)); err != nil {
		t.Fatalf("starting Chromium: %v", err)
	}
	return b
}

// close ends the tab, and Chromium with the first one.
func (b *Browser) close(collected <-chan struct{}) {
	if b.t.Failed() {
		b.t.Logf("the browser is at %s, h1 %q:\n%s", b.quiet("location.href"), b.quiet(jsH1), b.quiet(jsText))
		b.saveShot("failed-" + b.t.Name())
	}
	b.checkMessages()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Cancel(ctx); err != nil {
		b.t.Logf("closing Chromium: %v", err)
	}
	<-collected
}

// emulate sets up the screen. Motion is reduced, so that screenshots don't
// catch a fade half-way.
func (b *Browser) emulate(options BrowserOptions) chromedp.Action[chromedp.Void] {
	viewport := []chromedp.EmulateViewportOption{chromedp.EmulatePortrait}
	if options.Mobile {
		viewport = append(viewport, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulateScale(2))
	}
	scheme := "light"
	if options.Dark {
		scheme = "dark"
	}
	return chromedp.Steps(
		chromedp.EmulateViewport(options.Width, options.Height, viewport...),
		chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
			_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
				{Name: "prefers-color-scheme", Value: scheme},
				{Name: "prefers-reduced-motion", Value: "reduce"},
			}})
			return err
		}),
		chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
			_, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: options.NoJavaScript})
			return err
		}),
	)
}

// Context is chromedp's, for what no method here does.
func (b *Browser) Context() context.Context { return b.ctx }

// Navigate opens a URL and waits until the page, past all redirects, is loaded.
func (b *Browser) Navigate(address string) {
	b.t.Helper()
	b.do("opening "+address, chromedp.Navigate(address))
}

// Reload loads the page again.
func (b *Browser) Reload() {
	b.t.Helper()
	b.do("reloading", chromedp.Reload())
}

// Back presses the back button and waits for the page, which may come from
// the browser's memory without being loaded.
func (b *Browser) Back() {
	b.t.Helper()
	before := b.history()
	if before.CurrentIndex == 0 {
		b.t.Fatal("there is no page to go back to")
	}
	wanted := before.Entries[before.CurrentIndex-1].ID
	b.do("going back", chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, page.NavigateToHistoryEntry, page.NavigateToHistoryEntryParams{EntryID: wanted})
		return err
	}))
	Eventually(b.t, patience, "the page before", func() bool {
		now := b.history()
		return now.Entries[now.CurrentIndex].ID == wanted && b.quiet("document.readyState") == "complete"
	})
}

// history asks until the tab answers: between two pages it has none.
func (b *Browser) history() (history page.GetNavigationHistoryResult) {
	b.t.Helper()
	Eventually(b.t, patience, "the tab's history", func() bool {
		ctx, cancel := context.WithTimeout(b.ctx, patience)
		defer cancel()
		var err error
		history, err = chromedp.Run(ctx, chromedp.NavigationEntries())
		return err == nil
	})
	return history
}

// Fill types into the visible input with the autocomplete value, by which
// password managers find it, in place of what was there.
func (b *Browser) Fill(autocomplete, value string) {
	b.t.Helper()
	b.FillSelector(fmt.Sprintf("[autocomplete~=%q]", autocomplete), value)
}

// FillSelector is Fill for a CSS selector.
func (b *Browser) FillSelector(selector, value string) {
	b.t.Helper()
	b.await("the input "+selector, call(jsFocus, selector))
	if value == "" {
		value = kb.Backspace
	}
	b.do("typing into "+selector, chromedp.KeyEvent(value))
}

// Press presses keys, as KeyEnter, wherever the focus is.
func (b *Browser) Press(keys string) {
	b.t.Helper()
	b.do("pressing a key", chromedp.KeyEvent(keys))
}

// Click clicks the visible link, button or label with the text. It waits for
// nothing that follows.
func (b *Browser) Click(text string) {
	b.t.Helper()
	b.clickAt(fmt.Sprintf("%q to click on, not covered by something else", text), call(jsFindText, text))
}

// ClickSelector is Click for a CSS selector.
func (b *Browser) ClickSelector(selector string) {
	b.t.Helper()
	b.clickAt(selector+" to click on, not covered by something else", call(jsFindSelector, selector))
}

// ClickThrough clicks what leads to another page, and waits until that is
// loaded.
func (b *Browser) ClickThrough(text string) {
	b.t.Helper()
	b.Through(func() { b.Click(text) })
}

// Through does what leads to another page, such as pressing Enter, and waits
// until that is loaded.
func (b *Browser) Through(act func()) {
	b.t.Helper()
	b.await("a page to leave", `(window.harnessLeaving = true, "yes")`)
	act()
	b.await("another page", `window.harnessLeaving === undefined && document.readyState === "complete" ? "yes" : ""`)
}

func (b *Browser) clickAt(what, find string) {
	b.t.Helper()
	var point struct{ X, Y float64 }
	if err := json.Unmarshal([]byte(b.await(what, find)), &point); err != nil {
		b.t.Fatalf("reading where %s is: %v", what, err)
	}
	b.do("clicking on "+what, chromedp.MouseClickXY(point.X, point.Y))
}

// URL returns where the tab is.
func (b *Browser) URL() *url.URL {
	b.t.Helper()
	at, err := url.Parse(b.Evaluate("location.href"))
	if err != nil {
		b.t.Fatalf("reading the browser's URL: %v", err)
	}
	return at
}

// H1 returns the text of the page's <h1>, or "".
func (b *Browser) H1() string {
	b.t.Helper()
	return b.Evaluate(jsH1)
}

// Title returns the page's title.
func (b *Browser) Title() string {
	b.t.Helper()
	return b.Evaluate("document.title")
}

// Text returns what the page shows, with single spaces.
func (b *Browser) Text() string {
	b.t.Helper()
	return b.Evaluate(jsText)
}

// AwaitH1 waits for a page with the heading.
func (b *Browser) AwaitH1(text string) {
	b.t.Helper()
	b.await(fmt.Sprintf("the heading %q", text), call(`want => (`+jsH1+`) === want && document.readyState === "complete" ? "yes" : ""`, text))
}

// AwaitText waits until the page shows the text.
func (b *Browser) AwaitText(text string) {
	b.t.Helper()
	b.await(fmt.Sprintf("the text %q", text), call(`want => (`+jsText+`).includes(want) ? "yes" : ""`, text))
}

// AwaitURL waits until the tab is where it should be.
func (b *Browser) AwaitURL(what string, wanted func(*url.URL) bool) {
	b.t.Helper()
	Eventually(b.t, patience, what, func() bool {
		at, err := url.Parse(b.quiet("location.href"))
		return err == nil && wanted(at)
	})
}

// Evaluate runs a JavaScript expression that yields text, in the page but
// outside its Content Security Policy, scripts switched off or not. While a page
// makes way for the next one, or isn't whole yet, the expression may throw: it is
// run again until it yields.
func (b *Browser) Evaluate(expression string) string {
	b.t.Helper()
	var result string
	var err error
	if !poll(patience, func() bool {
		result, err = b.try(expression)
		return err == nil
	}) {
		b.t.Fatalf("evaluating %s: %v", expression, err)
	}
	return result
}

// Cookies returns the cookies that the profile would send to the URL.
func (b *Browser) Cookies(address string) []*network.Cookie {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	result, err := chromedp.Call(ctx, network.GetCookies, network.GetCookiesParams{URLs: []string{address}})
	if err != nil {
		b.t.Fatalf("reading the cookies for %s: %v", address, err)
	}
	return result.Cookies
}

// ConsoleErrors returns what the browser's console has shown as errors so
// far, answers of 4xx and 5xx included.
func (b *Browser) ConsoleErrors() []string {
	b.flushMessages()
	b.mu.Lock()
	defer b.mu.Unlock()
	var errors []string
	for _, message := range b.messages {
		if message.Type == chromedp.ConsoleError || message.IsException() {
			errors = append(errors, message.Text)
		}
	}
	return errors
}

// Shot saves a screenshot of the whole page, as it is, in the folder that
// PORTCULLIS_SHOTS names, as NAME.png.
func (b *Browser) Shot(name string) {
	b.t.Helper()
	if path := b.saveShot(name); path != "" {
		b.t.Logf("screenshot: %s", path)
	}
}

// Shots saves four screenshots of the page: desktop and phone, light and dark,
// as NAME-desktop-light.png and so on. The page is not loaded again.
func (b *Browser) Shots(name string) {
	b.t.Helper()
	if os.Getenv(EnvShots) == "" {
		return
	}
	for _, look := range []struct {
		suffix  string
		options BrowserOptions
	}{
		{"desktop-light", BrowserOptions{Width: 1280, Height: 800}},
		{"desktop-dark", BrowserOptions{Width: 1280, Height: 800, Dark: true}},
		{"phone-light", BrowserOptions{Width: 390, Height: 844, Mobile: true}},
		{"phone-dark", BrowserOptions{Width: 390, Height: 844, Mobile: true, Dark: true}},
	} {
		look.options.NoJavaScript = b.options.NoJavaScript
		b.do("changing the screen", b.emulate(look.options))
		b.Shot(name + "-" + look.suffix)
	}
	b.do("changing the screen back", b.emulate(b.options))
}

// saveShot returns the file's path, or "" where none was taken.
func (b *Browser) saveShot(name string) string {
	b.t.Helper()
	folder := os.Getenv(EnvShots)
	if folder == "" {
		return ""
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	path := filepath.Join(folder, strings.ReplaceAll(name, "/", "-")+".png")
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.MkdirAll(folder, 0o755)
	}
	if err == nil {
		err = os.WriteFile(path, picture, 0o644)
	}
	if err != nil {
		b.t.Errorf("taking the screenshot %s: %v", name, err)
		return ""
	}
	return path
}

func (b *Browser) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
}

// try evaluates an expression that yields text.
func (b *Browser) try(expression string) (string, error) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[string](expression))
}

// quiet is try where a failure means that the page isn't there yet.
func (b *Browser) quiet(expression string) string {
	result, err := b.try(expression)
	if err != nil {
		return ""
	}
	return result
}

// await polls until the expression yields text, and returns it.
func (b *Browser) await(what, expression string) string {
	b.t.Helper()
	var result string
	Eventually(b.t, patience, what, func() bool {
		result = b.quiet(expression)
		return result != ""
	})
	return result
}

// endOfMessages is written to the console to know that all before it was read.
const endOfMessages = "the harness has read up to here"

func (b *Browser) collect(messages func(func(chromedp.ConsoleMessage, error) bool), collected chan<- struct{}) {
	defer close(collected)
	for message, err := range messages {
		if err != nil {
			return
		}
		b.mu.Lock()
		b.messages = append(b.messages, message)
		b.mu.Unlock()
	}
}

// flushMessages returns once what the console shows now has been collected.
func (b *Browser) flushMessages() {
	mark := func() int {
		b.mu.Lock()
		defer b.mu.Unlock()
		marks := 0
		for _, message := range b.messages {
			if message.Text == endOfMessages {
				marks++
			}
		}
		return marks
	}
	before := mark()
	if b.quiet(fmt.Sprintf(`(console.debug(%q), "yes")`, endOfMessages)) != "" {
		poll(probeLimit, func() bool { return mark() > before })
	}
}

// checkMessages fails the test for flaws of the pages.
func (b *Browser) checkMessages() {
	b.flushMessages()
	if b.options.FlawsExpected {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, message := range b.messages {
		if message.IsException() || strings.Contains(message.Text, "Content Security Policy") {
			b.t.Errorf("the browser's console: %s (at %s:%d)", message, message.URL, message.Line+1)
		}
	}
}

// publicKeyHashes are those of the server's own authority, in the form that
// Chromium's flag wants; the leaf's issuer suffices to trust the leaf.
func (s *Server) publicKeyHashes() []string {
	var hashes []string
	for _, name := range []string{"root.crt", "intermediate.crt"} {
		text, err := os.ReadFile(filepath.Join(s.DataDir(), "pki", "authorities", "local", name))
		if err != nil {
			continue // no site uses it
		}
		block, _ := pem.Decode(text)
		if block == nil {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			s.t.Fatalf("reading the authority's %s: %v", name, err)
		}
		sum := sha256.Sum256(certificate.RawSubjectPublicKeyInfo)
		hashes = append(hashes, base64.StdEncoding.EncodeToString(sum[:]))
	}
	slices.Sort(hashes)
	return hashes
}

// call is an expression that calls a function of JavaScript with text.
func call(function string, argument string) string {
	quoted, _ := json.Marshal(argument) // a string always encodes
	return "(" + function + ")(" + string(quoted) + ")"
}
