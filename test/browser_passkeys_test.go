package test

import (
	"testing"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

const fasterNextTime = "Sign in faster next time"

// TestBrowserPasskeys has people offered a passkey, and look after those that
// they have.
func TestBrowserPasskeys(t *testing.T) {
	t.Parallel()
	s := startKeys(t)
	for name, test := range map[string]func(*testing.T, *suite){
		"an offer that is taken":        testOfferTaken,
		"an offer that is declined":     testOfferDeclined,
		"where nothing is offered":      testNoOffer,
		"all keys are removed, and one": testRemovedKeys,
	} {
		t.Run(name, func(t *testing.T) { test(t, s) })
	}
}

// laptop is a browser on a computer that can keep passkeys.
func (s *suite) laptop(t *testing.T) (*visitor, *harness.Authenticator) {
	t.Helper()
	b := s.browser(t, harness.BrowserOptions{})
	return b, b.NewAuthenticator(harness.AuthenticatorOptions{Internal: true})
}

func testOfferTaken(t *testing.T, s *suite) {
	ada := s.Invited("ada")
	b, laptop := s.laptop(t)
	b.signIn(ada, s.At("app", "/page?of=it"))
	b.AwaitH1(fasterNextTime)
	b.AwaitText("Either way, you'll then continue to app.localhost.")
	b.inspectBoth("130-passkey-offer", fasterNextTime, "Nächstes Mal schneller anmelden")
	laptop.Rest()
	b.ClickThrough("Set up a passkey")
	b.AwaitH1(setUpKey)
	b.ClickThrough("Go back without changing anything")
	b.AwaitH1(fasterNextTime)
	laptop.Wake()
	b.Click("Set up a passkey") // the browser asks at once, without a further click
	b.awaitAt(s.At("app", "/page?of=it"))
	if laptop.Keys() != 1 {
		t.Errorf("the laptop holds %d passkeys", laptop.Keys())
	}
	b.Navigate(s.At("vault", "/"))
	b.awaitAt(s.At("vault", "/")) // a step-up by the passkey
	s.signsOut(b)
	b.Navigate(s.At("app", "/"))
	b.awaitAt(s.At("app", "/")) // by the passkey, which this browser fills in for the name
}

func testOfferDeclined(t *testing.T, s *suite) {
	bea := s.Invited("bea")
	b, laptop := s.laptop(t)
	b.signIn(bea, s.At("app", "/page"))
	b.AwaitH1(fasterNextTime)
	b.ClickThrough("Not now")
	b.expectAt(s.At("app", "/page"))
	s.signsOut(b)
	b.signIn(bea, s.At("app", "/"))
	b.expectAt(s.At("app", "/"))
	if laptop.Keys() != 0 {
		t.Errorf("the laptop holds %d passkeys", laptop.Keys())
	}
}

func testNoOffer(t *testing.T, s *suite) {
	weak := s.browser(t, harness.BrowserOptions{})
	weak.NewAuthenticator(harness.AuthenticatorOptions{}) // which keeps no passkeys
	shared, _ := s.laptop(t)
	for name, c := range map[string]struct {
		b    *visitor
		tick bool
	}{
		"cleo": {b: weak},
		"cora": {b: s.browser(t, harness.BrowserOptions{NoJavaScript: true})},
		"carl": {b: shared, tick: true},
	} {
		p := s.Invited(name)
		c.b.Navigate(s.At("app", "/"))
		c.b.AwaitH1("Sign in")
		if c.tick {
			c.b.Click("This is a shared computer")
		}
		c.b.showPassword(p)
		c.b.showCode(p)
		c.b.expectAt(s.At("app", "/"))
	}
}

// testRemovedKeys removes keys, all at once and one alone, and looks at what
// the browser makes of what it is told.
func testRemovedKeys(t *testing.T, s *suite) {
	dora := s.Invited("dora")
	b, laptop := s.laptop(t)
	b.signIn(dora, s.At("login", "/"))
	b.ClickThrough("Not now")
	b.Navigate(s.At("login", "/account/fido"))
	b.addsKey("Laptop")
	b.AwaitText("1 security key or passkey")
	b.Click("Rename Laptop") // asks for the key, which is the laptop
	b.AwaitH1("Rename Laptop")
	b.FillSelector("#name", "Laptop at work")
	b.ClickThrough("Save")
	b.AwaitText("The new name is saved.")
	b.AwaitText("Laptop at work")

	// A second key, at a time when nobody is at the laptop.
	b.ClickThrough(addKey)
	b.AwaitH1(setUpKey)
	stick := b.NewAuthenticator(harness.AuthenticatorOptions{})
	laptop.Rest()
	b.FillSelector("#name", "Stick")
	b.Through(func() { b.Click("Continue") })
	laptop.Wake()
	b.AwaitText("2 security keys and passkeys")
	if laptop.Keys() != 1 {
		t.Fatalf("of those that are there, the laptop holds %d", laptop.Keys())
	}
	s.CLI("mfa", "user", "set", "dora", "--name", "Dora Doe")
	b.Navigate(s.At("login", "/account/fido"))
	harness.Eventually(t, patience, "the new name", func() bool { return laptop.DisplayName() == "Dora Doe" })

	b.ClickThrough("Remove all")
	all := "Remove all 2 security keys and passkeys"
	b.AwaitH1(all)
	for _, says := range []string{"Laptop", "Stick", "With your password, you can still sign in with:", "Authenticator app", "10 backup codes"} {
		b.AwaitText(says)
	}
	b.inspectBoth("131-remove-all", all, "Alle entfernen: 2 Sicherheitsschlüssel und Passkeys")
	b.ClickThrough("Remove all")
	b.AwaitText("Removed. You're signed out everywhere except here.")
	b.AwaitText("You don't have one yet.")
	harness.Eventually(t, patience, "the laptop to forget the passkey", func() bool { return laptop.Keys() == 0 })

	stick.Unplug()
	b.addsKey("Laptop again")
	b.Click("Remove Laptop again")
	b.AwaitH1("Remove Laptop again")
	if laptop.Keys() != 1 {
		t.Fatalf("before it is removed, the laptop holds %d passkeys", laptop.Keys())
	}
	b.ClickThrough("Remove")
	b.AwaitText("Removed. You're signed out everywhere except here.")
	harness.Eventually(t, patience, "the laptop to forget the passkey", func() bool { return laptop.Keys() == 0 })

	// Backup codes alone are nothing to go on with.
	b.Navigate(s.At("login", authenticators+"/add"))
	b.ClickThrough("Continue")
	hands{visitor: b}.pair(dora, "Tablet")
	b.Navigate(s.At("login", authenticators+"/remove-all"))
	b.AwaitText("only way to sign in: without them")
	b.inspect("132-remove-all-last")
}

// TestBrowserParentDomain has passkeys bound to a parent domain of the portal's
// host, where other sites may have theirs.
func TestBrowserParentDomain(t *testing.T) {
	t.Parallel()
	s := &suite{Scene: scene.Start(t, scene.Options{Settled: 2, Caddyfile: `
{
	mfa {
		portal http://login.site.localhost:{{.Port "web"}}
		admins group admins
		fido {
			rp_id site.localhost
		}
	}
}

http://login.site.localhost:{{.Port "web"}} {
	mfa_portal
}
`})}
	s.Administrator("root")
	ada := s.Invited("ada")
	s.chromium = visit(t, s.Server, harness.BrowserOptions{})
	b, laptop := s.laptop(t)
	home := s.At("login.site", "/")
	b.signIn(ada, home)
	b.Click("Set up a passkey")
	b.AwaitH1("Your apps")
	b.Navigate(s.At("login.site", "/sign-out"))
	b.ClickThrough("Sign out")
	b.Navigate(home)
	b.AwaitH1("Your apps") // by the passkey, which this browser fills in for the name

	// A passkey that isn't known may be another site's, and stays.
	s.CLI("mfa", "user", "reset-factors", "ada")
	laptop.Rest()
	b.Navigate(home)
	b.AwaitText(usePasskey)
	laptop.Wake()
	b.Click(usePasskey)
	b.AwaitText("That passkey doesn't work here. Use another one, or your name and password.")
	laptop.Rest()
	harness.Eventually(t, patience, "the page to have told what it tells", func() bool {
		return b.Evaluate(`document.getElementById("name").autocomplete`) == "username webauthn"
	})
	if laptop.Keys() != 1 {
		t.Errorf("the laptop holds %d passkeys", laptop.Keys())
	}
}
