package test

import (
	"testing"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// TestBrowserLost has people get back in without what they lost.
func TestBrowserLost(t *testing.T) {
	t.Parallel()
	s := startOwnSuite(t)
	lea := s.Administrator("lea")
	for _, walk := range walks {
		t.Run("a phone "+walk.name, func(t *testing.T) {
			testLostPhone(t, s, lea, hands{s.browser(t, walk.options), walk.keyboard})
		})
	}
	t.Run("everything", func(t *testing.T) { testLostEverything(t, s) })
	t.Run("control over the account", func(t *testing.T) { testNotMe(t, s) })
}

// testLostPhone replaces a lost phone by means of a backup code.
func testLostPhone(t *testing.T, s *suite, lea *scene.Person, h hands) {
	h.Navigate(s.At("app", "/"))
	h.name(lea)
	h.AwaitH1("Enter the code from your app")
	h.press("I can't use this")
	h.AwaitH1("Sign in without your authenticator app")
	h.inspected("100-lost")
	h.press("I can use it after all")
	h.AwaitH1("Enter the code from your app")
	h.press("I can't use this")
	h.press("Replace it")
	h.AwaitH1("Enter a backup code")
	h.send(lea.SpendBackupCode())
	h.AwaitH1("Set up your authenticator app")
	h.inspected("101-replace")
	s.App.Reset()
	h.pair(lea, "New phone")
	h.expectAt(s.At("app", "/"))
	s.App.ExpectOne(t)

	h.Navigate(s.At("login", authenticators))
	h.AwaitText("Reported lost. It no longer works")
	h.inspected("102-authenticators-suspended")
}

// testLostEverything has an administrator's code help somebody who has nothing
// left.
func testLostEverything(t *testing.T, s *suite) {
	max := s.Invited("max")
	h := hands{visitor: s.browser(t, harness.BrowserOptions{})}
	h.Navigate(s.At("app", "/"))
	h.name(max)
	h.press("I can't use this")
	h.AwaitH1("Sign in without your authenticator app")
	h.ClickSelector(`input[name="lose"]:checked`)
	h.press("Replace it")
	h.expectFocus("lose-0", "Tick what you can't use any more.")
	h.inspect("103-lost-nothing-ticked")
	h.tick("lose-0")
	h.tick("lose-1")
	h.press("Replace it")
	h.AwaitH1("Enter the code from your administrator")
	h.expectCursor("code")
	h.inspect("104-access-code")

	h.send("0000 0000 0000 0000")
	h.expectFocus("code", "That code didn't work.")
	h.inspect("105-access-code-refused")
	h.inspect("106-access-code-slowed")

	s.CLI("mfa", "user", "unlock", "max")
	h.send(accessCode(t, s.Scene, "max"))
	h.pair(max, "New phone")
	h.AwaitH1("Save your backup codes")
	s.Canary(backupCode.FindAllString(h.Text(), -1)...)
	h.tick("saved")
	h.press("Continue")
	h.expectAt(s.At("app", "/"))
	h.AwaitH1("The app")
}

// testNotMe ends everything of an account that somebody else may be in.
func testNotMe(t *testing.T, s *suite) {
	noa := s.Invited("noa")
	h := hands{visitor: s.settled(t, noa, harness.BrowserOptions{})}
	other := hands{visitor: s.settled(t, noa, harness.BrowserOptions{})}
	other.Navigate(s.At("wiki", "/"))
	other.AwaitH1("The app")

	h.Navigate(s.At("login", activity))
	h.press("This wasn't me")
	h.AwaitH1("This wasn't you?")
	h.inspect("107-not-me")
	h.press("End everything")
	other.expectOut(s)
	h.expectOut(s)

	next := noa.Password + " and so on"
	s.Canary(next)
	h.name(noa)
	h.AwaitH1("Enter the code from your app")
	h.send(noa.Code())
	h.AwaitH1("Choose a new password")
	h.inspect("108-new-password")
	h.write("password", noa.Password)
	h.press("Continue")
	h.expectFocus("password", "your current password. Choose a different one.")
	h.inspect("109-new-password-refused")
	h.write("password", next)
	h.press("Continue")
	h.AwaitH1("Your apps")
	h.press("Activity")
	h.AwaitText("You chose “This wasn't me”: everything was ended")
}
