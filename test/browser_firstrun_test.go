package test

import (
	"context"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// example runs Caddyfile.example as `make run` and `make run-https` do, with
// the demo app that comes with it.
func example(t *testing.T, scheme string) *harness.Server {
	t.Helper()
	caddyfile, err := os.ReadFile("../Caddyfile.example")
	if err != nil {
		t.Fatal(err)
	}
	demo, err := filepath.Abs("../examples/demo")
	if err != nil {
		t.Fatal(err)
	}
	return harness.Start(t, harness.Options{Caddyfile: string(caddyfile), Env: []string{
		"PORTCULLIS_ADMIN={{.Admin}}", "PORTCULLIS_SCHEME=" + scheme, "PORTCULLIS_DEMO=" + demo,
		`PORTCULLIS_PORT={{.Port "web"}}`, `PORTCULLIS_DEMO_PORT={{.Port "demo"}}`,
	}})
}

// TestBrowserFirstRun goes the way of a newcomer, on the configuration that
// newcomers start with, from the link in the terminal to the app that greets
// them.
func TestBrowserFirstRun(t *testing.T) {
	t.Parallel()
	for name, scheme := range map[string]string{"make run": "http", "make run-https": "https"} {
		t.Run(name, func(t *testing.T) {
			run := &firstRun{server: example(t, scheme), scheme: scheme}
			run.visitor = visit(t, run.server, harness.BrowserOptions{Whole: true})
			run.openLink()
			run.chooseAccount()
			run.pair()
			run.saveCodes()
			run.land()
			run.invite()
		})
	}
}

type firstRun struct {
	*visitor
	server *harness.Server
	scheme string
	secret string
}

// shown inspects a page, over https no second time.
func (r *firstRun) shown(name string) {
	r.t.Helper()
	if r.scheme == "http" {
		r.inspect(name)
	}
}

func (r *firstRun) at(name, path string) string {
	return r.server.URL(r.scheme, name+".localhost", "web", path)
}

// link runs a command that prints a link.
func (r *firstRun) link(arguments ...string) string {
	r.t.Helper()
	var printed struct{ Link string }
	output := r.server.CLI(append(arguments, "--json")...)
	if err := json.Unmarshal([]byte(output.Stdout), &printed); err != nil {
		r.t.Fatalf("%v printed %+v", arguments, output)
	}
	_, token, _ := strings.Cut(printed.Link, "token=")
	r.server.Canary(token)
	return printed.Link
}

func (r *firstRun) openLink() {
	r.t.Helper()
	r.Navigate(r.link("mfa", "setup-link"))
	r.AwaitH1("Create the first administrator")
	if strings.Contains(r.URL().String(), "token") {
		r.t.Errorf("the token is still in the address: %s", r.URL())
	}
	r.expectCursor("name")
	r.shown("01-account")
}

const meter = `document.querySelector("meter").value >= 3 ? "strong" : document.querySelector(".strength p").innerText ? "weak" : ""`

func (r *firstRun) chooseAccount() {
	r.t.Helper()
	password := scene.Password("ada")
	r.server.Canary(password)
	r.Fill("username", "ada")
	r.Fill("name", "Ada Lovelace")
	r.Fill("new-password", "password")
	r.eventually("the meter to find it weak", meter, "weak")
	r.shown("02-account-weak")
	r.ClickThrough("Continue")
	r.expectFocus("password", "common")
	r.shown("03-account-refused")
	r.Fill("new-password", password)
	r.eventually("the meter to find it strong", meter, "strong")
	r.Click("Show password")
	r.eventually("the password to be seen", `document.getElementById("password").type`, "text")
	r.shown("04-account-strong")
	r.ClickThrough("Continue")
	r.AwaitH1("Set up your authenticator app")
}

var groupsOfFour = regexp.MustCompile(`^[A-Z2-7]{4}( [A-Z2-7]{4}){7}$`)

func (r *firstRun) pair() {
	r.t.Helper()
	if seen := r.Evaluate(`String(document.querySelector(".qr").checkVisibility())`); seen != "false" {
		r.t.Error("the QR code is open before anybody asked for it")
	}
	r.shown("05-pairing")
	before := r.URL().String()
	r.Click("View QR code")
	r.eventually("the QR code", `String(document.querySelector(".qr").checkVisibility())`, "true")
	r.expectAt(before)
	r.shown("06-pairing-qr")
	key := r.Evaluate(`document.getElementById("key").innerText`)
	if !groupsOfFour.MatchString(key) {
		r.t.Errorf("the key is shown as %q", key)
	}
	r.secret = strings.ReplaceAll(key, " ", "")
	r.server.Canary(r.secret)
	for _, scheme := range []string{"light", "dark"} {
		r.do(coloured(scheme))
		r.expectQR(r.secret)
	}
	r.do(coloured("light"))
	r.Through(func() { r.Fill("one-time-code", "000000") })
	r.expectFocus("code", "That code didn't work.")
	r.shown("07-pairing-refused")
	if again := strings.ReplaceAll(r.Evaluate(`document.getElementById("key").textContent`), " ", ""); again != r.secret {
		r.t.Errorf("the key changed with a wrong code, to %q", again)
	}
	r.Through(func() { r.Fill("one-time-code", harness.TOTP(r.t, r.secret, time.Now())) })
	r.AwaitH1("Save your backup codes")
}

// expectQR has another program read the code off a picture of the page.
func (r *firstRun) expectQR(secret string) {
	r.t.Helper()
	read := scanned(r.t, r.Browser)
	uri, err := url.Parse(read)
	if err != nil || uri.Scheme != "otpauth" || uri.Host != "totp" || uri.Query().Get("secret") != secret ||
		!strings.HasSuffix(uri.Path, ":ada") || uri.Query().Get("issuer") == "" {
		r.t.Errorf("the QR code says %s", read)
	}
}

// scanned is what another program reads off the QR code on a page.
func scanned(t testing.TB, b *harness.Browser) string {
	t.Helper()
	harness.Need(t, "zbarimg")
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "page.png")
	if err := os.WriteFile(path, picture, 0o600); err != nil {
		t.Fatal(err)
	}
	read, err := exec.Command("zbarimg", "--quiet", "--raw", path).Output()
	if err != nil {
		t.Fatalf("the QR code on the page can't be read: %v", err)
	}
	return strings.TrimSpace(string(read))
}

var backupCode = regexp.MustCompile(`[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}`)

func (r *firstRun) saveCodes() {
	r.t.Helper()
	codes := backupCode.FindAllString(r.Text(), -1)
	if len(codes) != 10 {
		r.t.Fatalf("%d backup codes on the page", len(codes))
	}
	r.server.Canary(codes...)
	r.shown("08-backup-codes")
	if got := backupCode.FindAllString(r.download(), -1); !slices.Equal(got, codes) {
		r.t.Errorf("the file holds %q", got)
	}
	if got := strings.Fields(r.copied()); !slices.Equal(got, codes) {
		r.t.Errorf("the clipboard holds %q", got)
	}
	r.Evaluate(`(window.print = () => { window.printed = "yes" }, "")`)
	r.Click("Print")
	r.eventually("the print dialogue", `window.printed ?? ""`, "yes")
	r.ClickThrough("Continue")
	r.expectFocus("saved", "Save the codes first")
	r.shown("09-backup-codes-refused")
	if again := backupCode.FindAllString(r.Text(), -1); !slices.Equal(again, codes) {
		r.t.Errorf("the codes changed, to %q", again)
	}
	r.Click("I have saved them")
	r.ClickThrough("Continue")
}

// download clicks "Download" and returns the file.
func (r *firstRun) download() string {
	r.t.Helper()
	folder := r.t.TempDir()
	r.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.CallBrowser(ctx, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{
			Behavior: "allow", DownloadPath: folder,
		})
		return err
	}))
	r.Click("Download")
	var files []string
	harness.Eventually(r.t, patience, "the downloaded file", func() bool {
		files, _ = filepath.Glob(filepath.Join(folder, "*.txt"))
		return len(files) == 1
	})
	content, err := os.ReadFile(files[0])
	if err != nil {
		r.t.Fatal(err)
	}
	return string(content)
}

// copied clicks "Copy" and returns the clipboard.
func (r *firstRun) copied() string {
	r.t.Helper()
	r.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.CallBrowser(ctx, browser.SetPermission, browser.SetPermissionParams{
			Permission: &browser.PermissionDescriptor{Name: "clipboard-read"}, Setting: browser.PermissionSettingGranted,
		})
		return err
	}))
	r.Click("Copy")
	r.AwaitText("Copied")
	return r.promised(`navigator.clipboard.readText()`)
}

func (r *firstRun) land() {
	r.t.Helper()
	r.AwaitH1("Your apps")
	r.AwaitText("Your account is ready, and you're an administrator")
	r.shown("10-home")
	for _, app := range []string{"app", "admin"} {
		r.Navigate(r.at("login", "/"))
		r.ClickThrough(app + ".localhost")
		r.AwaitH1("Hello Ada Lovelace")
		r.expectAt(r.at(app, "/"))
		r.AwaitText("This is " + app + ".localhost")
		r.shown("11-demo-" + app)
	}
	r.server.Restart()
	r.Reload()
	r.AwaitH1("Hello Ada Lovelace")
}

// invite has the second user set up by the invitation, and refused where only
// administrators may be.
func (r *firstRun) invite() {
	r.t.Helper()
	bob := r.another(harness.BrowserOptions{})
	bob.Navigate(r.link("mfa", "user", "add", "bob", "--name", "Bob Byrne"))
	bob.AwaitH1("Set up your account")
	bob.Fill("new-password", scene.Password("bob"))
	bob.ClickThrough("Continue")
	bob.AwaitH1("Set up your authenticator app")
	bob.Click("View QR code")
	secret := strings.ReplaceAll(bob.Evaluate(`document.getElementById("key").innerText`), " ", "")
	r.server.Canary(scene.Password("bob"), secret)
	bob.Through(func() { bob.Fill("one-time-code", harness.TOTP(r.t, secret, time.Now())) })
	bob.AwaitH1("Save your backup codes")
	r.server.Canary(backupCode.FindAllString(bob.Text(), -1)...)
	bob.Click("I have saved them")
	bob.ClickThrough("Continue")
	bob.AwaitH1("Your apps")
	bob.ClickThrough("app.localhost")
	bob.AwaitH1("Hello Bob Byrne")
	bob.Navigate(r.at("admin", "/"))
	bob.AwaitH1("You can't open this")
}
