package test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// ownCaddyfile is the usual scene with an access log, and browsers that may be
// remembered.
const ownCaddyfile = `
{
	mfa {
		portal http://login.localhost:{{.Port "web"}}
		admins group admins
		name "Example Inc."
		contact "the help desk"
		session {
			remember 30d
		}
		certificate {
			ca devices
		}
	}
	skip_install_trust
	pki {
		ca devices {
			intermediate_lifetime 365d
		}
	}
}

http://login.localhost:{{.Port "web"}} {
	log
	mfa_portal
}

http://app.localhost:{{.Port "web"}}, http://wiki.localhost:{{.Port "web"}} {
	mfa
	reverse_proxy {{.Vars.app}}
}
`

// startOwnSuite is startSuite with that.
func startOwnSuite(t *testing.T) *suite {
	t.Helper()
	s := &suite{Scene: scene.Start(t, scene.Options{Settled: 4, Caddyfile: ownCaddyfile})}
	s.App.Answer(harness.Answer{
		Header: map[string][]string{"Content-Type": {"text/html"}},
		Body:   `<!doctype html><html lang="en"><title>App</title><link rel="icon" href="data:,"><main><h1>The app</h1></main></html>`,
	})
	s.chromium = visit(t, s.Server, harness.BrowserOptions{})
	return s
}

// settled is somebody who goes on at a browser of a test where they set up.
func (s *suite) settled(t *testing.T, p *scene.Person, options harness.BrowserOptions) *visitor {
	t.Helper()
	b := s.browser(t, options)
	b.TakeCookies(p.Browser, s.At("login", "/"))
	return b
}

// TestBrowserAccount has people look after what they sign in with.
func TestBrowserAccount(t *testing.T) {
	t.Parallel()
	s := startOwnSuite(t)
	ada := s.Administrator("ada")
	for _, walk := range walks {
		t.Run("authenticators and the password "+walk.name, func(t *testing.T) {
			testOwnFactors(t, s, ada, hands{s.browser(t, walk.options), walk.keyboard})
		})
	}
	t.Run("removing authenticators", func(t *testing.T) { testRemoving(t, s) })
	t.Run("backup codes", func(t *testing.T) { testOwnCodes(t, s) })
	t.Run("times", func(t *testing.T) { testTimes(t, s) })
	t.Run("sign-ons", func(t *testing.T) { testOwnSignOns(t, s) })
	t.Run("devices", func(t *testing.T) { testOwnDevices(t, s) })
	t.Run("a link of somebody else", func(t *testing.T) { testForeignLink(t, s, ada) })
}

// testTimes has somebody in Tokyo and somebody without scripts look at the same
// activity, and at the sign-ins.
func testTimes(t *testing.T, s *suite) {
	tom := s.Invited("tom")
	plain := s.settled(t, tom, harness.BrowserOptions{NoJavaScript: true})
	plain.Navigate(s.At("login", "/account/activity"))
	said := plain.Evaluate(`document.querySelector("main time").textContent`)
	at, err := time.Parse("2006-01-02 15:04:05 MST", said)
	if err != nil {
		t.Fatalf("without scripts the time is %q", said)
	}
	b := s.settled(t, tom, harness.BrowserOptions{})
	b.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "Asia/Tokyo"})
		return err
	}))
	b.Navigate(s.At("login", "/account/activity"))
	tokyo := at.In(time.FixedZone("", 9*60*60))
	short, exact := b.Evaluate(`document.querySelector("main time").textContent`), b.Evaluate(`document.querySelector("main time").title`)
	clock := tokyo.Format("3:04 PM")
	if short != "today "+clock && short != "yesterday "+clock {
		t.Errorf("in Tokyo %s is %q", said, short)
	}
	for _, part := range []string{tokyo.Format("January 2, 2006"), tokyo.Format("3:04:05"), "GMT+9"} {
		if !strings.Contains(exact, part) {
			t.Errorf("in Tokyo %s is exactly %q", said, exact)
		}
	}
	b.inspect("94-activity")
}

// testOwnDevices has somebody find their devices, and revoke one.
func testOwnDevices(t *testing.T, s *suite) {
	dan := s.Invited("dan")
	for _, name := range []string{"Dan's laptop", "An old tablet in the kitchen, with a long name"} {
		expectDone(t, s.Scene, "mfa", "device", "issue", "dan", name, "--out", filepath.Join(t.TempDir(), "device.p12"))
	}
	b := s.settled(t, dan, harness.BrowserOptions{})
	b.Navigate(s.At("login", "/account"))
	b.AwaitText("2 with a certificate")
	b.inspect("90-overview-devices")
	b.ClickThrough("Devices")
	b.AwaitH1("Your devices")
	b.inspect("91-devices")
	b.ClickThrough("Revoke Dan's laptop")
	b.AwaitH1("Revoke Dan's laptop")
	b.inspect("92-revoke")
	b.ClickThrough("Revoke")
	b.AwaitH1("Your devices")
	b.AwaitText("Revoked. That device's certificate no longer opens anything.")
	b.ClickThrough("Revoke An old tablet in the kitchen, with a long name")
	b.ClickThrough("Revoke")
	b.AwaitText("You don't have any devices with a certificate.")
	b.inspect("93-devices-none")
}

// testOwnFactors has somebody who has one authenticator add one, give it
// another name, and change the password.
func testOwnFactors(t *testing.T, s *suite, ada *scene.Person, h hands) {
	h.enter(ada, s.At("login", "/"))
	h.AwaitH1("Your apps")
	h.press("Account")
	h.AwaitH1("Your account")
	h.inspected("70-overview")
	h.press("Authenticator apps")
	h.AwaitH1("Authenticator apps")
	h.inspected("71-authenticators")
	testAdding(t, s, ada, h)
	testRenaming(t, h)
	testChangingPassword(t, s, ada, h)
}

func testAdding(t *testing.T, s *suite, ada *scene.Person, h hands) {
	h.press("Add an authenticator app")
	h.AwaitH1("Set up your authenticator app")
	h.inspected("72-add")
	h.write("name", "Tablet in the kitchen")
	h.send("000000")
	h.expectFocus("code", "That code didn't work.")
	if kept := h.Evaluate(`document.getElementById("name").value`); kept != "Tablet in the kitchen" {
		t.Errorf("the name is %q after a wrong code", kept)
	}
	h.inspected("73-add-refused")
	h.pair(ada, "Tablet in the kitchen")
	h.AwaitH1("Authenticator apps")
	h.AwaitText("Added. You can use it from now on.")
	h.inspected("74-authenticators-two")
}

func testRenaming(t *testing.T, h hands) {
	h.press("Rename Tablet in the kitchen")
	h.AwaitH1("Rename Tablet in the kitchen")
	h.expectCursor("name")
	h.inspected("75-rename")
	h.write("name", "  ")
	h.press("Save")
	h.expectFocus("name", "Give it a name")
	h.inspected("76-rename-refused")
	name := "My very long name of " + strings.ReplaceAll(t.Name()[len(t.Name())-12:], "_", " ")
	h.write("name", name)
	h.press("Save")
	h.AwaitText("The new name is saved.")
	h.AwaitText(name)
}

func testChangingPassword(t *testing.T, s *suite, ada *scene.Person, h hands) {
	next := ada.Password + " and so on"
	s.Canary(next)
	h.press("Account")
	h.AwaitText("all set: if you lose one way to sign in")
	h.inspected("77-overview-two")
	h.press("Password")
	h.AwaitH1("Change your password")
	h.expectCursor("current")
	h.inspected("78-password")
	h.write("current", ada.Password)
	h.write("password", "password")
	h.press("Change password")
	h.expectFocus("password", "common")
	h.inspected("79-password-weak")
	h.write("current", "wrong")
	h.write("password", next)
	h.press("Change password")
	h.expectFocus("current", "That password doesn't match.")
	h.inspected("80-password-wrong")
	h.write("current", ada.Password)
	h.write("password", next)
	h.press("Change password")
	h.AwaitText("Your password has been changed. You're signed out everywhere except here.")
	ada.Password = next
	h.AwaitH1("Your account")
}

// testRemoving takes away the first authenticator, once there is a second, and
// can't take that away.
func testRemoving(t *testing.T, s *suite) {
	rick := s.Invited("rick")
	h := hands{visitor: s.settled(t, rick, harness.BrowserOptions{})}
	h.Navigate(s.At("login", authenticators))
	h.press("Remove Authenticator app")
	h.AwaitText("only way to sign in: without it")
	h.inspect("81-remove-last")
	h.press("Add another first")
	h.pair(rick, "Work phone")
	h.AwaitText("Added.")
	h.press("Remove Authenticator app")
	h.AwaitH1("Remove Authenticator app")
	h.AwaitText("With your password, you can still sign in with: Work phone")
	h.inspect("82-remove")
	h.press("Remove")
	// What was shown of it is gone with it.
	h.AwaitH1("Enter the code from your app")
	h.send(rick.Code())
	h.AwaitText("Removed. You're signed out everywhere except here.")
	h.AwaitH1("Authenticator apps")
	if text := h.Text(); strings.Contains(text, "Rename Authenticator app") || !strings.Contains(text, "Work phone") {
		t.Errorf("what is left: %s", text)
	}
	h.press("Remove Work phone")
	h.AwaitText("only way to sign in: without it")
}

// testOwnCodes has somebody run out of backup codes and make new ones.
func testOwnCodes(t *testing.T, s *suite) {
	cleo := s.Invited("cleo")
	for range 7 {
		browser := s.Client()
		page := cleo.ShowPassword(browser, browser.Visit(s.At("login", "/")))
		cleo.ShowCode(browser, browser.Visit(page.Link("Use a backup code")), cleo.SpendBackupCode())
	}
	h := hands{visitor: s.settled(t, cleo, harness.BrowserOptions{})}
	h.Navigate(s.At("login", "/account"))
	h.AwaitText("Only 3 backup codes are left.")
	h.inspect("83-overview-few-codes")
	h.press("Backup codes")
	h.AwaitH1("Backup codes")
	h.AwaitText("3 of 10 codes are left.")
	h.inspect("84-backup-codes")
	h.press("Make new backup codes")
	h.AwaitH1("Save your backup codes")
	fresh := backupCode.FindAllString(h.Text(), -1)
	s.Canary(fresh...)
	h.inspect("85-new-codes")
	h.press("Continue")
	h.expectFocus("saved", "Save the codes first")
	h.tick("saved")
	h.press("Continue")
	h.AwaitText("Your new backup codes work now. The old ones no longer do.")
	h.AwaitText("10 of 10 codes are left.")
	h.inspect("86-backup-codes-new")
	h.press("Activity")
	h.AwaitH1("Activity")
	h.inspect("87-activity")
}

// testOwnSignOns ends the sign-on of another browser, which loses its app.
func testOwnSignOns(t *testing.T, s *suite) {
	dora := s.Invited("dora")
	h := hands{visitor: s.settled(t, dora, harness.BrowserOptions{})}
	other := hands{visitor: s.browser(t, harness.BrowserOptions{Mobile: true})}
	other.Navigate(s.At("app", "/"))
	other.name(dora)
	other.AwaitH1("Enter the code from your app")
	other.inspect("88-code-remember")
	other.tick("remember")
	other.send(dora.Code())
	other.AwaitH1("The app")

	h.Navigate(s.At("login", signOns))
	h.AwaitH1("Where you're signed in")
	h.AwaitText("Browsers that skip the second step")
	h.inspect("89-sign-ons")
	h.Through(func() { h.ClickSelector(`form[action$="/end"] button`) })
	h.AwaitText("Signed out there.")
	other.expectOut(s)
	other.name(dora) // remembered: no second step
	other.AwaitH1("Your apps")
	h.Navigate(s.At("login", signOns))
	h.press("Sign out everywhere else")
	h.AwaitText("You're signed out everywhere except here.")
	other.expectOut(s)
	other.name(dora)
	other.AwaitH1("Enter the code from your app")
}

// expectOut fails where an app can still be opened, and leads to the sign-in.
func (h hands) expectOut(s *suite) {
	h.t.Helper()
	s.App.Reset()
	h.Navigate(s.At("app", "/"))
	s.App.ExpectNone(h.t)
	h.Navigate(s.At("login", "/"))
	h.AwaitH1("Sign in")
}

// testForeignLink opens an invitation where somebody else is signed in.
func testForeignLink(t *testing.T, s *suite, ada *scene.Person) {
	link := s.Invitation("zoe")
	h := hands{visitor: s.browser(t, harness.BrowserOptions{})}
	h.enter(ada, s.At("login", "/"))
	h.AwaitH1("Your apps")
	h.Navigate(link)
	h.AwaitH1("You are signed in as ada")
	h.inspect("90-foreign-link")
	h.press("Sign out")
	h.press("Sign out")
	h.Navigate(link)
	h.AwaitH1("Set up your account")
}
