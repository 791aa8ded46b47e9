package test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// keysCaddyfile is the usual scene with an app that asks for a security key.
const keysCaddyfile = `
{
	mfa {
		portal http://login.localhost:{{.Port "web"}}
		admins group admins
		contact "the help desk"
	}
}

http://login.localhost:{{.Port "web"}} {
	log
	mfa_portal
}

http://app.localhost:{{.Port "web"}} {
	mfa
	reverse_proxy {{.Vars.app}}
}

http://vault.localhost:{{.Port "web"}} {
	mfa {
		assurance phishing_resistant
	}
	reverse_proxy {{.Vars.admin}}
}
`

const (
	keysHeading  = "Security keys and passkeys"
	addKey       = "Add a security key or passkey"
	setUpKey     = "Set up a security key or passkey"
	useKey       = "Use your security key or passkey"
	needsKey     = "This needs a security key or passkey"
	enterCode    = "Enter the code from your app"
	useOwnCode   = "Use the code from your authenticator app"
	keyCancelled = "That was cancelled"

	usePasskey       = "Use a passkey"
	passkeyCancelled = "That was cancelled, took too long, or there is no passkey for this site here."
)

// TestBrowserFIDO has people add security keys and passkeys, and sign in by
// them.
func TestBrowserFIDO(t *testing.T) {
	t.Parallel()
	s := startKeys(t)
	for name, test := range map[string]func(*testing.T, *suite){
		"a security key from its first day to its last": testSecurityKey,
		"a passkey in the first set-up":                 testPasskeyAtSetUp,
		"an app that asks for a key":                    testPhishingResistant,
		"two keys at once":                              testTwoKeys,
		"what goes wrong at the key":                    testKeyTroubles,
		"without what keys need":                        testWithoutKeys,
	} {
		t.Run(name, func(t *testing.T) { test(t, s) })
	}
}

// startKeys starts the scene of security keys, with a Chromium beside it.
func startKeys(t *testing.T) *suite {
	t.Helper()
	s := &suite{Scene: scene.Start(t, scene.Options{Settled: 4, Caddyfile: keysCaddyfile})}
	page := harness.Answer{Header: map[string][]string{"Content-Type": {"text/html"}}, Body: `<!doctype html><html lang="en"><title>App</title><link rel="icon" href="data:,"><main><h1>The app</h1></main></html>`}
	s.App.Answer(page)
	s.Admin.Answer(page)
	s.Administrator("root")
	s.chromium = visit(t, s.Server, harness.BrowserOptions{})
	return s
}

// inspectBoth inspects a page in both languages; it is loaded anew for each.
func (v *visitor) inspectBoth(name, heading, deutsch string) {
	v.t.Helper()
	v.inspect(name)
	v.ClickThrough("Deutsch")
	v.AwaitH1(deutsch)
	v.inspect(name + "-de")
	v.ClickThrough("English")
	v.AwaitH1(heading)
}

// addsKey sets a key up from the page that lists them.
func (v *visitor) addsKey(name string) {
	v.t.Helper()
	v.ClickThrough(addKey)
	v.AwaitH1(setUpKey)
	v.FillSelector("#name", name)
	v.Through(func() { v.Click("Continue") })
	v.AwaitH1(keysHeading)
	v.AwaitText("Added. You can use it from now on.")
	v.AwaitText(name)
}

// addsKeyUnseen is addsKey, after which no log may hold what the key answered, nor a
// cookie of the portal's.
func (v *visitor) addsKeyUnseen(s *suite, name string) {
	v.t.Helper()
	v.ClickThrough(addKey)
	v.AwaitH1(setUpKey)
	v.FillSelector("#name", name)
	v.Evaluate(`document.querySelector("form[data-fido]").addEventListener("formdata", (e) => sessionStorage.setItem("answer", e.formData.get("credential"))), ""`)
	v.Through(func() { v.Click("Continue") })
	v.AwaitH1(keysHeading)
	answer := v.Evaluate(`(({ response }) => [response.clientDataJSON, response.attestationObject].join(" "))(JSON.parse(sessionStorage.getItem("answer")))`)
	s.Canary(strings.Fields(answer)...)
	for _, cookie := range v.Cookies(s.At("login", "/")) {
		if len(cookie.Value) > 16 { // not the language
			s.Canary(cookie.Value)
		}
	}
}

// signsOut ends the sign-on of the browser.
func (s *suite) signsOut(v *visitor) {
	v.t.Helper()
	v.Navigate(s.At("login", "/sign-out"))
	v.ClickThrough("Sign out")
	v.AwaitH1("You are signed out")
}

// awaitAt waits until the browser is at the URL, however it gets there.
func (v *visitor) awaitAt(address string) {
	v.t.Helper()
	v.AwaitURL(address, func(at *url.URL) bool { return at.String() == address })
}

func testSecurityKey(t *testing.T, s *suite) {
	ada := s.Invited("ada")
	b := s.browser(t, harness.BrowserOptions{})
	stick := b.NewAuthenticator(harness.AuthenticatorOptions{})
	b.signIn(ada, s.At("login", "/"))
	b.Navigate(s.At("login", "/account/fido"))
	b.AwaitH1(keysHeading)
	b.AwaitText("You don't have one yet.")
	b.inspectBoth("80-keys-none", keysHeading, "Sicherheitsschlüssel und Passkeys")
	b.ClickThrough(addKey)
	b.AwaitH1(setUpKey)
	b.inspectBoth("81-key-add", setUpKey, "Sicherheitsschlüssel oder Passkey einrichten")
	b.Navigate(s.At("login", "/account/fido"))
	b.addsKeyUnseen(s, "Blue key")
	b.AwaitText("Security key · USB")
	b.inspectBoth("82-keys", keysHeading, "Sicherheitsschlüssel und Passkeys")
	if stick.Keys() != 1 {
		t.Errorf("the stick holds %d keys", stick.Keys())
	}

	// Once more: a change asks for the key now, and the stick has one already.
	b.Click(addKey)
	b.AwaitH1(addKey)
	b.ClickThrough("Continue")
	b.AwaitH1(setUpKey)
	b.Click("Continue")
	b.AwaitText("This key is already set up. Use another one.")
	b.inspect("83-key-excluded")

	// Password and key, which is asked for first since it was used last.
	s.signsOut(b)
	b.Navigate(s.At("app", "/"))
	b.showPasswordAlone(ada)
	b.awaitAt(s.At("app", "/"))
	b.Navigate(s.At("vault", "/"))
	b.expectAt(s.At("vault", "/"))

	// The last way out of it: the key is removed, and nothing of it is left.
	b.Navigate(s.At("login", "/account/fido"))
	b.Click("Remove Blue key")
	b.AwaitH1("Remove Blue key")
	b.ClickThrough("Remove")
	b.showCode(ada) // what the key has shown doesn't count any more
	b.AwaitH1(keysHeading)
	b.AwaitText("Removed. You're signed out everywhere except here.")
	b.AwaitText("You don't have one yet.")
	s.signsOut(b)
	b.signIn(ada, s.At("login", "/"))
	b.AwaitH1("Your apps")
}

// showPasswordAlone fills in the sign-in form and waits for nothing after it.
func (v *visitor) showPasswordAlone(p *scene.Person) {
	v.t.Helper()
	v.AwaitH1("Sign in")
	v.Fill("username", p.Name)
	v.Fill("current-password", p.Password)
	v.Click("Sign in")
}

func testPasskeyAtSetUp(t *testing.T, s *suite) {
	link := s.Invitation("pia")
	b := s.browser(t, harness.BrowserOptions{})
	phone := b.NewAuthenticator(harness.AuthenticatorOptions{Internal: true, Synced: true})
	b.Navigate(link)
	s.Canary(scene.Password("pia"))
	b.Fill("new-password", scene.Password("pia"))
	b.ClickThrough("Continue")
	b.AwaitH1("Set up your authenticator app")
	b.ClickThrough(setUpKey)
	b.AwaitH1(setUpKey)
	b.AwaitText("Step 2 of 3")
	b.inspect("84-key-set-up")
	b.Through(func() { b.Click("Continue") })
	b.AwaitH1("Save your backup codes")
	s.Canary(strings.Fields(b.Evaluate(`[...document.querySelectorAll("li code, .codes li")].map(e => e.innerText).join(" ")`))...)
	b.Click("I have saved them")
	b.ClickThrough("Continue")
	b.AwaitH1("Your apps")
	if phone.Keys() != 1 {
		t.Errorf("the phone holds %d passkeys", phone.Keys())
	}
	b.Navigate(s.At("vault", "/"))
	b.expectAt(s.At("vault", "/"))
	b.Navigate(s.At("login", "/account/fido"))
	b.AwaitText("Synced passkey")
	b.Navigate(s.At("login", "/help/fido"))
	b.AwaitH1(keysHeading)
	b.inspectBoth("93-help-keys", keysHeading, "Sicherheitsschlüssel und Passkeys")

	// By itself: it stands among the names that the browser fills in.
	s.signsOut(b)
	b.Navigate(s.At("vault", "/"))
	b.awaitAt(s.At("vault", "/"))

	// By the button, after the browser's list was left alone.
	s.signsOut(b)
	phone.Rest()
	b.Navigate(s.At("vault", "/secret"))
	b.AwaitH1("Sign in")
	b.AwaitText(usePasskey)
	b.inspectBoth("91-sign-in-passkey", "Sign in", "Anmelden")
	b.Click("This is a shared computer")
	phone.Wake()
	b.Click(usePasskey)
	b.awaitAt(s.At("vault", "/secret"))
	s.signsOut(b)

	// One that can't tell who holds it doesn't do, and the form still does.
	phone.Verifies(false)
	b.Navigate(s.At("app", "/"))
	b.AwaitH1("Sign in")
	b.Click(usePasskey)
	b.AwaitText(passkeyCancelled)
	b.inspect("92-sign-in-passkey-cancelled")
	b.Fill("username", "pia")
	b.Fill("current-password", scene.Password("pia"))
	b.ClickThrough("Sign in")
	b.AwaitH1(useKey)

	// One that isn't set up any more is offered once, and then forgotten.
	s.CLI("mfa", "user", "reset-factors", "pia")
	phone.Verifies(true)
	b.Navigate(s.At("app", "/"))
	b.AwaitText("That passkey doesn't work here. Use another one, or your name and password.")
	harness.Eventually(t, patience, "the passkey to be forgotten", func() bool { return phone.Keys() == 0 })
}

func testTwoKeys(t *testing.T, s *suite) {
	tom := s.Invited("tom")
	b := s.browser(t, harness.BrowserOptions{})
	stick := b.NewAuthenticator(harness.AuthenticatorOptions{})
	laptop := b.NewAuthenticator(harness.AuthenticatorOptions{Internal: true})
	b.signIn(tom, s.At("login", "/"))
	b.Navigate(s.At("login", "/account/fido"))
	stick.Rest()
	b.addsKey("Laptop")
	b.AwaitText("Passkey on one device")
	b.Click(addKey) // asks for a key, which is the laptop
	b.AwaitH1(addKey)
	laptop.Rest()
	stick.Wake()
	b.ClickThrough("Continue")
	b.AwaitH1(setUpKey)
	b.FillSelector("#name", "Stick")
	b.Through(func() { b.Click("Continue") })
	b.AwaitH1(keysHeading)
	b.AwaitText("Security key · USB")
	if stick.Keys() != 1 || laptop.Keys() != 1 {
		t.Errorf("the stick holds %d keys, the laptop %d", stick.Keys(), laptop.Keys())
	}
	s.signsOut(b)
	stick.Rest()
	b.Navigate(s.At("app", "/"))
	b.showPassword(tom)
	b.AwaitH1(useKey)
	b.ClickThrough(useOwnCode)
	b.showCode(tom)
	b.expectAt(s.At("app", "/"))
	stick.Wake()
	laptop.Wake()
	b.Navigate(s.At("vault", "/"))
	b.awaitAt(s.At("vault", "/"))
}

func testPhishingResistant(t *testing.T, s *suite) {
	// Somebody without a key is told what is asked and how to get it, signed in
	// or not.
	eve := s.Invited("eve")
	b := s.browser(t, harness.BrowserOptions{})
	stick := b.NewAuthenticator(harness.AuthenticatorOptions{})
	s.Admin.Reset()
	b.signIn(eve, s.At("vault", "/secret"))
	b.AwaitH1(needsKey)
	b.AwaitText("You don't have one that works here. Add one to continue.")
	b.inspect("85-needs-key")
	b.Navigate(s.At("vault", "/secret"))
	b.AwaitH1(needsKey)
	b.inspectBoth("86-needs-key-signed-in", needsKey, "Sie brauchen einen Sicherheitsschlüssel oder Passkey")
	b.ClickThrough(addKey)
	b.AwaitH1(addKey)
	b.AwaitText("You'll then continue to vault.localhost.")
	b.inspect("94-key-add-on-the-way")
	b.ClickThrough("Continue")
	b.AwaitH1(setUpKey)
	s.Admin.ExpectNone(t)
	b.Click("Continue")
	b.awaitAt(s.At("vault", "/secret"))
	s.Admin.ExpectOne(t)

	// Whoever has one steps up by it alone, when they are there to touch it.
	s.signsOut(b)
	stick.Rest()
	b.Navigate(s.At("app", "/"))
	b.showPassword(eve)
	b.AwaitH1(useKey)
	b.ClickThrough(useOwnCode)
	b.showCode(eve)
	b.expectAt(s.At("app", "/"))
	s.Admin.Reset()
	b.Navigate(s.At("vault", "/secret"))
	b.AwaitH1(useKey)
	b.AwaitText("This part needs a fresh check that it's you.")
	b.inspectBoth("87-key", useKey, "Sicherheitsschlüssel oder Passkey verwenden")
	if text := b.Text(); strings.Contains(text, useOwnCode) || strings.Contains(text, "backup code") {
		t.Errorf("something weaker is offered: %s", text)
	}
	s.Admin.ExpectNone(t)
	stick.Wake()
	b.Click(useKey)
	b.awaitAt(s.At("vault", "/secret"))
	s.Admin.ExpectOne(t)
}

func testKeyTroubles(t *testing.T, s *suite) {
	tess := s.Invited("tess")
	b := s.browser(t, harness.BrowserOptions{})
	stick := b.NewAuthenticator(harness.AuthenticatorOptions{})
	b.signIn(tess, s.At("login", "/"))
	b.Navigate(s.At("login", "/account/fido"))
	b.addsKey("Stick")
	stick.CountAgain(50)
	s.signsOut(b)

	// Another stick is at hand, which isn't this person's.
	stranger := b.another(harness.BrowserOptions{})
	stranger.NewAuthenticator(harness.AuthenticatorOptions{})
	stranger.Navigate(s.At("app", "/"))
	stranger.showPasswordAlone(tess)
	stranger.AwaitH1(enterCode)
	stranger.ClickThrough(useKey)
	stranger.AwaitH1(useKey)
	stranger.Click(useKey)
	stranger.AwaitText(keyCancelled)
	stranger.AwaitText(useOwnCode)
	stranger.AwaitText("Use a backup code")
	stranger.inspect("88-key-cancelled")
	// A page that has waited for too long is loaded anew, with another question.
	stranger.Evaluate(`(() => {
		const { dataset } = document.querySelector("form[data-fido]");
		dataset.options = JSON.stringify({ ...JSON.parse(dataset.options), timeout: 1, old: true });
		return "";
	})()`)
	stranger.ClickThrough(useKey)
	stranger.AwaitH1(useKey)
	if left := stranger.Evaluate(`String(document.querySelector("form[data-fido]").dataset.options.includes("old"))`); left != "false" {
		t.Error("what is asked is as old as before")
	}

	b.Navigate(s.At("app", "/"))
	b.showPasswordAlone(tess)
	b.AwaitH1(enterCode)
	b.Click(useKey)
	b.awaitAt(s.At("app", "/"))
	s.signsOut(b)

	// The key signs wrongly, then counts as a copy would, then as it should.
	stick.Forge(true)
	b.Navigate(s.At("app", "/"))
	b.showPasswordAlone(tess)
	b.AwaitText("That key didn't work.")
	b.inspect("89-key-wrong")
	stick.Forge(false)
	stick.CountAgain(1)
	b.Click(useKey)
	b.AwaitText("There may be a copy of this key")
	stick.CountAgain(100)
	b.Click(useKey)
	b.awaitAt(s.At("app", "/"))
	if output := s.CLI("mfa", "session", "list", "--user", "tess"); !strings.Contains(output.Stdout, "tess") {
		t.Errorf("the sign-on isn't there: %+v", output)
	}
	harness.Eventually(t, patience, "the audit event", func() bool {
		for _, entry := range s.LogEntries() {
			if entry.Text("msg") == "fido.counter_regressed" {
				return entry.Text("outcome") == "refused" && entry.Text("user") == "tess"
			}
		}
		return false
	})
}

func testWithoutKeys(t *testing.T, s *suite) {
	nell := s.Invited("nell")
	b := s.browser(t, harness.BrowserOptions{})
	b.NewAuthenticator(harness.AuthenticatorOptions{})
	b.signIn(nell, s.At("login", "/"))
	b.Navigate(s.At("login", "/account/fido"))
	b.addsKey("Stick")

	plain := b.another(harness.BrowserOptions{NoJavaScript: true})
	plain.Navigate(s.At("app", "/"))
	plain.AwaitH1("Sign in")
	if strings.Contains(plain.Text(), usePasskey) {
		t.Error("a passkey is offered where no script could ask for it")
	}
	plain.showPassword(nell)
	plain.AwaitH1(enterCode)
	plain.ClickThrough(useKey)
	plain.AwaitH1(useKey)
	plain.AwaitText("need JavaScript, which is turned off in this browser")
	plain.AwaitText(useOwnCode)
	if shown := plain.Evaluate(`String(document.querySelector("button.primary") !== null)`); shown != "false" {
		t.Error("a button is there that does nothing")
	}
	plain.Shots("90-key-no-scripts")
	plain.ClickThrough(useOwnCode)
	plain.showCode(nell)
	plain.expectAt(s.At("app", "/"))
}
