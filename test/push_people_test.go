package test

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/phone"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// What happens to accounts in the app, with the real app. The laptops use forms.

var pairingCode = regexp.MustCompile(`id="key"[^>]*>([^<]+)<`)

// addToApp adds an account to the app with the code on a page, and returns the page after
// that.
func (s *pushSuite) addToApp(t *testing.T, browser *harness.Client, page *harness.Page, name string) *harness.Page {
	t.Helper()
	code := pairingCode.FindStringSubmatch(page.Body)
	if code == nil {
		t.Fatalf("the page shows no code: %s", page.Text())
	}
	flow := page.URL.Query().Get("id")
	answer := func(field, value string) *harness.Page {
		return arrived(browser.Follow(browser.PostForm(s.At("login", "/flow/enrol"), url.Values{"flow": {flow}, "factor": {"push"}, field: {value}})))
	}
	s.phone.Navigate(s.At("phone", "/"))
	s.phone.AwaitH1("Your accounts")
	s.phone.Click("Enter a code")
	s.phone.FillSelector("#code", code[1])
	s.phone.FillSelector("#name", name)
	s.phone.Click("Continue")
	s.phone.AwaitH1("Type these digits on your computer")
	digits := s.phone.Evaluate(`document.querySelector(".number").textContent`)
	answer("collect", "yes")
	answer("digits", strings.ReplaceAll(digits, " ", ""))
	s.phone.AwaitH1("Account added")
	page = answer("collect", "yes")
	s.phone.Click("Done")
	s.phone.AwaitH1("Your accounts")
	return page
}

// codeInApp returns the code that the app shows for an account, once it is another than
// the last one, which counts no more.
func (s *pushSuite) codeInApp(t *testing.T, account, last string) (code string) {
	t.Helper()
	harness.Eventually(t, time.Minute, "a code of "+account, func() bool {
		code = s.phone.Evaluate(`([...document.querySelectorAll("section.account")].find(
			section => section.querySelector("h2").textContent === "` + account + `")?.querySelector("output")?.textContent ?? "").replace(" ", "")`)
		return code != "" && code != last
	})
	return code
}

// setUpWithApp has bob set up his account with the app that ada uses too: backup codes come
// before the account is of any use.
func (s *pushSuite) setUpWithApp(t *testing.T) *scene.Person {
	bob := &scene.Person{Name: "bob", Password: scene.Password("bob"), Browser: s.Client()}
	s.Canary(bob.Password)
	page := bob.Browser.Visit(s.Invitation(bob.Name))
	page = submitted(bob.Browser, page.Form("new-password"), map[string]string{"new-password": bob.Password})
	page = bob.Browser.Visit(s.At("login", "/flow?"+url.Values{"id": {page.URL.Query().Get("id")}, "use": {"push"}}.Encode()))
	page = s.addToApp(t, bob.Browser, page, "Blue phone")
	bob.BackupCodes = scene.CodesOn(page)
	if page.H1() != "Save your backup codes" || len(bob.BackupCodes) != 10 {
		t.Fatalf("after the app comes %q", page.Text())
	}
	s.Canary(bob.BackupCodes...)
	expectShut(t, s.Scene, bob.Browser)
	page = submitted(bob.Browser, formTo(t, page, "/flow/enrol"), map[string]string{"saved": "yes"})
	says(t, page, http.StatusOK)
	s.phone.AwaitText("ada")
	s.phone.AwaitText("bob")
	s.phone.inspect("phone-two-accounts")
	return bob
}

// report has bob allow a sign-in and then say that he didn't ask for it: nobody stays signed
// in, the phone is asked no more until he has used another factor, and he has to choose
// another password.
func (s *pushSuite) report(t *testing.T, bob *scene.Person) {
	used := s.codeInApp(t, bob.Name, "")
	asked := s.pendFor(t, bob)
	s.phone.AwaitH1("Are you signing in?")
	if shown := s.phone.Text(); !strings.Contains(shown, "bob") || strings.Contains(shown, "ada") {
		t.Errorf("the app shows %s", shown)
	}
	s.phone.FillSelector("#number", asked.number)
	s.phone.Click("Allow")
	s.phone.AwaitH1("Allowed")
	s.collect(t, asked.laptop, asked.page)
	s.phone.Click("Done")
	s.phone.AwaitText("You have just allowed a sign-in to")
	s.phone.Click("I didn't ask for this")
	s.phone.AwaitH1("Thank you for telling us")
	s.phone.Click("Done")
	expectShut(t, s.Scene, asked.laptop)
	expectShut(t, s.Scene, bob.Browser)
	expectAudited(t, s.Scene, 1, "push.reported", "bob", map[string]string{"app": "app.localhost"})

	browser := s.Client()
	page := s.showPasswordOn(t, browser, bob, "windows")
	if strings.Contains(page.Text(), "phone") {
		t.Errorf("the phone can be asked: %s", page.Text())
	}
	page = submitted(browser, page.Form("one-time-code"), map[string]string{"one-time-code": s.codeInApp(t, bob.Name, used)})
	if page.H1() != "Choose a new password" {
		t.Fatalf("after a report, the code led to %q: %s", page.H1(), page.Text())
	}
	bob.Password = "harbour pencil bob 84"
	s.Canary(bob.Password)
	says(t, submitted(browser, page.Form("new-password"), map[string]string{"new-password": bob.Password}), http.StatusOK)
	if again := s.pendFor(t, bob); again.number == "" {
		t.Error("the phone isn't asked anymore")
	}
	s.phone.AwaitH1("Are you signing in?")
	s.phone.Click("Deny")
	s.phone.AwaitH1("Denied")
	s.phone.Click("Done")
}

// replace has bob lose the app, and add it anew in place of the lost one: the app says that
// it was removed.
func (s *pushSuite) replace(t *testing.T, bob *scene.Person) {
	browser := s.Client()
	page := s.showPasswordOn(t, browser, bob, "windows")
	page = browser.Visit(page.Link("Approve on your phone"))
	page = browser.Visit(page.Link("I can't use this"))
	page = submitted(browser, formTo(t, page, "/flow/lost"), nil)
	page = submitted(browser, page.Form("one-time-code"), map[string]string{"one-time-code": bob.BackupCodes[0]})
	s.addToApp(t, browser, page, "New phone")
	expectAudited(t, s.Scene, 1, "factor.lost", "bob", map[string]string{"factor": "push"})
	s.phone.AwaitText("This phone was removed from \u2068bob\u2069.")
	s.phone.Click("OK")
	s.phone.eventually("one account of bob's", `String([...document.querySelectorAll("h2")].filter(h2 => h2.textContent === "bob").length)`, "1")
	says(t, browser.Visit(s.At("login", "/account/push")), http.StatusOK, "New phone", "Last heard from:", "Reported lost. It no longer works")
	bob.Browser = browser
}

// typeRequestCode opens a request by the code on the sign-in page, while the app is on
// another screen.
func (s *pushSuite) typeRequestCode(t *testing.T) {
	s.phone.Click("Enter a code")
	s.phone.AwaitH1("Enter a code")
	s.phone.inspect("phone-code")
	s.phone.FillSelector("#code", "AAAAAA")
	s.phone.Click("Continue")
	s.phone.AwaitText("No request that's waiting for you matches this code.")
	s.phone.inspect("phone-code-unknown")
	laptop, number := s.ask(t)
	laptop.ClickSelector("details.qr-details summary")
	laptop.inspect("push-waiting-code")
	code := laptop.Evaluate(`document.querySelector(".qr-panel strong").textContent`)
	s.phone.FillSelector("#code", strings.ToLower(code))
	s.phone.Click("Continue")
	s.phone.AwaitH1("Are you signing in?")
	s.phone.FillSelector("#number", number)
	s.phone.Click("Allow")
	s.phone.AwaitH1("Allowed")
	laptop.AwaitH1("The app")
	s.phone.Click("Done")
	s.phone.AwaitH1("Your accounts")
}

// useOffline signs ada in with a code of the app, which has no connection and is loaded
// anew.
func (s *pushSuite) useOffline(t *testing.T) {
	s.phone.eventually("the worker", `String(navigator.serviceWorker.controller !== null)`, "true")
	s.phone.connect(false)
	s.phone.Reload()
	s.phone.AwaitText("The server can't be reached right now. Codes still work.")
	laptop := s.Client()
	page := s.showPasswordOn(t, laptop, s.ada, "linux")
	// The code that is shown may have been used when the app was added.
	unused := s.codeInApp(t, s.ada.Name, s.codeInApp(t, s.ada.Name, ""))
	page = submitted(laptop, page.Form("one-time-code"), map[string]string{"one-time-code": unused})
	if page.H1() != "The app" {
		t.Errorf("a code of the app led to %q: %s", page.H1(), page.Text())
	}
	s.phone.connect(true)
	s.phone.Reload()
	s.phone.AwaitH1("Your accounts")
}

// connect gives a browser a connection, or takes it away.
func (v *visitor) connect(is bool) {
	v.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		offline := true
		params := network.EmulateNetworkConditionsByRuleParams{EmulateOfflineServiceWorker: &offline, MatchedNetworkConditions: []*network.Conditions{}}
		if !is {
			params.MatchedNetworkConditions = append(params.MatchedNetworkConditions, &network.Conditions{Offline: true, DownloadThroughput: -1, UploadThroughput: -1})
		}
		_, err := chromedp.Call(ctx, network.EmulateNetworkConditionsByRule, params)
		return err
	}))
}

// renameAndRemove has ada rename her phone on the account page, and then remove it: the app
// says so.
func (s *pushSuite) renameAndRemove(t *testing.T) {
	browser, phones := s.ada.Browser, s.At("login", "/account/push")
	page := browser.Visit(browser.Visit(phones).Link("Rename Blue phone"))
	page = submitted(browser, formTo(t, page, "/account/push/rename"), map[string]string{"name": "Red phone"})
	says(t, page, http.StatusOK, "Red phone", "Last heard from:")
	page = browser.Visit(page.Link("Remove Red phone"))
	keepsQuiet(t, submitted(browser, formTo(t, page, "/account/push/remove"), nil), "Red phone")
	s.phone.Reload()
	s.phone.AwaitText("This phone was removed from \u2068ada\u2069.")
	s.phone.Click("OK")
	s.phone.AwaitH1("Your accounts")
	s.phone.eventually("the account to be gone", `String(document.body.textContent.includes("ada"))`, "false")
}

// wipe clears what the app keeps. It can't know that, but the account page says when the
// phone was last heard from.
func (s *pushSuite) wipe(t *testing.T, bob *scene.Person) {
	s.phone.Navigate("about:blank")
	origin := strings.TrimSuffix(s.At("phone", "/"), "/")
	s.phone.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, storage.ClearDataForOrigin, storage.ClearDataForOriginParams{Origin: origin, StorageTypes: "all"})
		return err
	}))
	s.phone.Navigate(s.At("phone", "/"))
	s.phone.AwaitText("No account has been added to this phone yet.")
	says(t, bob.Browser.Visit(s.At("login", "/account/push")), http.StatusOK, "New phone", "Last heard from:")
}

// expire waits for the request of a laptop to expire, which was sent long ago: another one
// can be sent, or another factor used.
func (s *pushSuite) expire(t *testing.T, laptop *visitor, number string, device *phone.Phone) {
	harness.Eventually(t, 3*time.Minute, "the request to expire", func() bool {
		return laptop.Evaluate(`String(document.body.textContent.includes("Time ran out"))`) == "true"
	})
	laptop.AwaitText("Use the code from your authenticator app")
	laptop.inspect("push-expired")
	laptop.Click("Send it")
	laptop.AwaitH1("Approve on your phone")
	again := numberOn(laptop.Browser)
	if again == number {
		t.Errorf("the second request has the number of the first: %s", number)
	}
	expectStatus(t, http.StatusOK)(device.Decide(t.Context(), openRequest(t, device), "allow", strings.ReplaceAll(again, " ", "")))
	laptop.AwaitH1("The app")
}
