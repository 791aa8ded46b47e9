package test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// TestBrowserPages brings up every page that the first run doesn't, with its
// error states, and inspects each: axe-core in light and dark, 320 pixels, and
// the cursor where the answer has to be mended.
func TestBrowserPages(t *testing.T) {
	t.Parallel()
	s := startSuite(t)
	for name, test := range map[string]func(*testing.T, *suite){
		"sign-in":         testSignInPages,
		"second step":     testChallengePages,
		"backup code":     testBackupCodePages,
		"slowed down":     testSlowedPages,
		"step-up":         testStepUpPages,
		"refused":         testRefusedPages,
		"signed in":       testSignedInPages,
		"invitation":      testInvitationPages,
		"problems":        testProblemPages,
		"cookies at apps": testStuckPage,
	} {
		t.Run(name, func(t *testing.T) { test(t, s) })
	}
}

func testSignInPages(t *testing.T, s *suite) {
	b := s.browser(t, harness.BrowserOptions{})
	b.Navigate(s.At("app", "/"))
	b.AwaitText("to open app.localhost")
	b.expectCursor("name")
	b.inspect("20-sign-in")
	b.Fill("username", "nobody")
	b.Fill("current-password", "wrong")
	b.ClickThrough("Sign in")
	b.expectFocus("password", "That name and password don't match. Try again, or ask the help desk for help.")
	if kept := b.Evaluate(`document.getElementById("name").value`); kept != "nobody" {
		t.Errorf("the name is %q after a wrong password", kept)
	}
	b.inspect("21-sign-in-refused")
}

func testChallengePages(t *testing.T, s *suite) {
	nan := s.Invited("nan")
	b := s.browser(t, harness.BrowserOptions{})
	b.Navigate(s.At("app", "/"))
	b.showPassword(nan)
	b.expectCursor("code")
	b.AwaitText("to open app.localhost")
	b.AwaitText("Not you?")
	b.inspect("22-code")
	for typed, why := range map[string]string{
		"000000": "That code didn't work.",
		"12ab":   "Enter all the digits",
	} {
		b.Through(func() {
			b.Fill("one-time-code", typed)
			if len(typed) != 6 {
				b.Press(harness.KeyEnter)
			}
		})
		b.expectFocus("code", why)
	}
	b.inspect("23-code-refused")
	b.ClickThrough("Not you?")
	b.AwaitH1("Sign in")
}

func testBackupCodePages(t *testing.T, s *suite) {
	ole := s.Invited("ole")
	spent := ole.SpendBackupCode()
	b := s.browser(t, harness.BrowserOptions{})
	b.toBackupCode(s, ole)
	b.inspect("24-backup-code")
	b.Fill("one-time-code", "0000-0000-0000")
	b.ClickThrough("Continue")
	b.expectFocus("code", "That backup code didn't work.")
	b.inspect("25-backup-code-refused")
	b.Fill("one-time-code", strings.ToLower(strings.ReplaceAll(spent, "-", " ")))
	b.ClickThrough("Continue")
	b.expectAt(s.At("app", "/"))

	other := s.browser(t, harness.BrowserOptions{})
	other.toBackupCode(s, ole)
	other.Fill("one-time-code", spent)
	other.ClickThrough("Continue")
	other.expectFocus("code", "That backup code has already been used.")
}

func (v *visitor) toBackupCode(s *suite, p *scene.Person) {
	v.t.Helper()
	v.Navigate(s.At("app", "/"))
	v.showPassword(p)
	v.ClickThrough("Use a backup code")
	v.AwaitH1("Enter a backup code")
	v.expectCursor("code")
}

// testSlowedPages guesses until it has to wait, and watches the seconds pass.
func testSlowedPages(t *testing.T, s *suite) {
	b := s.browser(t, harness.BrowserOptions{})
	b.Navigate(s.At("app", "/"))
	for range 6 {
		b.Fill("username", "guessed")
		b.Fill("current-password", "wrong")
		b.ClickThrough("Sign in")
	}
	b.expectFocus("password", "Too many attempts.")
	b.expectCountdown()
	b.inspect("26-sign-in-slowed")

	pam := s.Invited("pam")
	b.Navigate(s.At("app", "/"))
	b.showPassword(pam)
	for range 6 {
		b.Through(func() { b.Fill("one-time-code", "000000") })
	}
	b.expectFocus("code", "Too many attempts.")
	b.expectCountdown()
	b.inspect("27-code-slowed")
}

// expectCountdown waits until a second less is shown than before.
func (v *visitor) expectCountdown() {
	v.t.Helper()
	left := func() int {
		words := strings.Fields(strings.TrimSuffix(v.Evaluate(`document.querySelector("[data-countdown-text]").innerText`), " sec."))
		seconds, err := strconv.Atoi(words[len(words)-1])
		if err != nil {
			v.t.Fatalf("no seconds are counted in %q", words)
		}
		return seconds
	}
	before := left()
	if before > 30 {
		v.t.Errorf("the first wait is %d seconds", before)
	}
	harness.Eventually(v.t, patience, "the seconds to pass", func() bool { return left() < before })
}

func testStepUpPages(t *testing.T, s *suite) {
	quin := s.Invited("quin")
	b := s.browser(t, harness.BrowserOptions{})
	b.signIn(quin, s.At("app", "/"))
	for _, step := range []struct{ path, heading, input, wrong, why, shot string }{
		{"/password", "Enter your password", "password", "wrong" + harness.KeyEnter, "That password doesn't match.", "28-password"},
		{"/code", "Enter the code from your app", "code", "000000", "That code didn't work.", "30-code-fresh"},
	} {
		// What was shown at the sign-in is too old after a second.
		harness.Eventually(t, patience, step.heading, func() bool {
			b.Navigate(s.At("fresh", step.path))
			return b.H1() == step.heading
		})
		b.AwaitText("This part needs a fresh check that it's you.")
		b.expectCursor(step.input)
		b.inspect(step.shot)
		b.Through(func() { b.Press(step.wrong) })
		b.expectFocus(step.input, step.why)
		b.inspect(step.shot + "-refused")
	}
}

func testRefusedPages(t *testing.T, s *suite) {
	rob := s.Invited("rob")
	b := s.browser(t, harness.BrowserOptions{})
	b.signIn(rob, s.At("admin", "/a/long/way/down/to/some/page"))
	b.AwaitH1("You can't open this")
	b.inspect("32-refused")
	b.ClickThrough("Sign in as someone else")
	b.AwaitText("You are signed in as rob.")
	b.inspect("33-switch")
	b.Back()
	b.AwaitH1("You can't open this")
	b.ClickThrough("See the apps that you can open")
	b.AwaitH1("Your apps")
}

func testSignedInPages(t *testing.T, s *suite) {
	sue := s.Invited("sue", "engineers", "on-call")
	b := s.browser(t, harness.BrowserOptions{})
	b.signIn(sue, s.At("login", "/"))
	b.AwaitH1("Your apps")
	b.inspect("34-home")
	b.ClickThrough("Sign out")
	b.AwaitH1("Sign out")
	b.inspect("35-sign-out")
	b.Navigate(s.At("app", "/.mfa/sign-out"))
	b.AwaitH1("You are signed out") // of an app that was never opened
	b.inspect("36-signed-out-app")
	b.Navigate(s.At("app", "/"))
	b.AwaitH1("The app")
	b.ClickThrough("Sign out")
	b.inspect("37-sign-out-app")
	b.ClickThrough("Sign out")
	b.Navigate(s.At("login", "/sign-out"))
	b.AwaitH1("You are signed out")
	b.inspect("38-signed-out")
}

func testInvitationPages(t *testing.T, s *suite) {
	link := s.Invitation("tom")
	b := s.browser(t, harness.BrowserOptions{})
	b.Navigate(link)
	b.AwaitH1("Set up your account")
	b.expectCursor("display_name")
	b.inspect("40-account-invited")
	b.Fill("name", strings.Repeat("x", 300))
	b.Fill("new-password", "short")
	b.ClickThrough("Continue")
	b.expectFocus("display_name", "")
	b.inspect("41-account-invited-refused")
	s.CLI("mfa", "user", "invite", "tom")
	b.Navigate(link)
	b.AwaitH1("This link was used or has expired")
	b.inspect("42-link-gone")
}

func testProblemPages(t *testing.T, s *suite) {
	b := s.browser(t, harness.BrowserOptions{})
	for _, page := range []struct{ app, path, heading, shot string }{
		{"login", "/sign-in?request=damaged", "This sign-in link isn't right", "50-bad-request"},
		{"login", "/flow?id=gone", "This page has expired", "51-flow-gone"},
		{"app", "/a/%00", "This address can't be opened", "52-bad-address"},
	} {
		b.Navigate(s.At(page.app, page.path))
		b.AwaitH1(page.heading)
		b.inspect(page.shot)
	}
}

// testStuckPage has somebody come back from the portal again and again with
// the app's own cookies gone.
func testStuckPage(t *testing.T, s *suite) {
	b := s.browser(t, harness.BrowserOptions{})
	uma := s.Invited("uma")
	b.signIn(uma, s.At("app", "/"))
	s.CLI("mfa", "session", "end", "--user", "uma")
	b.Navigate(s.At("app", "/"))
	b.AwaitH1("Sign in")
}
