package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// browserCaddyfile is the usual scene with more apps, and an access log by
// which the posts of a page are counted.
const browserCaddyfile = `
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

http://app.localhost:{{.Port "web"}}, http://wiki.localhost:{{.Port "web"}} {
	mfa
	reverse_proxy {{.Vars.app}}
}

http://admin.localhost:{{.Port "web"}} {
	mfa {
		rule /* {
			allow group admins
		}
	}
	reverse_proxy {{.Vars.admin}}
}

http://fresh.localhost:{{.Port "web"}} {
	mfa {
		max_age 1s
		rule /password* {
			assurance single
		}
	}
	reverse_proxy {{.Vars.app}}
}
`

// suite is what the tests of this file share: one server and one Chromium, in
// which each test is somebody else at another machine.
type suite struct {
	*scene.Scene
	chromium *visitor
}

func startSuite(t *testing.T) *suite {
	t.Helper()
	s := &suite{Scene: scene.Start(t, scene.Options{Settled: 4, Caddyfile: browserCaddyfile})}
	page := harness.Answer{Header: map[string][]string{"Content-Type": {"text/html"}}, Body: `<!doctype html><html lang="en"><title>App</title><link rel="icon" href="data:,"><main><h1>The app</h1><a href="/.mfa/sign-out">Sign out</a></main></html>`}
	s.App.Answer(page)
	s.Admin.Answer(page)
	s.Administrator("root")
	s.chromium = visit(t, s.Server, harness.BrowserOptions{})
	return s
}

// browser returns an empty browser for a test.
func (s *suite) browser(t *testing.T, options harness.BrowserOptions) *visitor {
	t.Helper()
	return watched(t, s.chromium.PersonFor(t, options), options)
}

// posts counts the forms that came for a path of the portal.
func (s *suite) posts(path string) int {
	count := 0
	for _, entry := range s.LogEntries() {
		request, _ := entry["request"].(map[string]any)
		if entry.Text("msg") == "handled request" && request["method"] == "POST" && request["uri"] == path {
			count++
		}
	}
	return count
}

// expectOneMorePost fails unless exactly one form came for the path since.
func (s *suite) expectOneMorePost(t *testing.T, path string, before int) {
	t.Helper()
	harness.Eventually(t, patience, "the form in the access log", func() bool { return s.posts(path) > before })
	if got := s.posts(path) - before; got != 1 {
		t.Errorf("%d forms were sent to %s, not one", got, path)
	}
}

func TestBrowserSignIn(t *testing.T) {
	t.Parallel()
	s := startSuite(t)
	for name, test := range map[string]func(*testing.T, *suite){
		"one sign-in for all apps":                     testAllApps,
		"refused by a rule, then somebody else":        testRefusedAndSwitched,
		"R02 two tabs at once":                         testTwoTabs,
		"R02 the route of a single-page app":           testFragment,
		"R02 long addresses in two tabs":               testLongAddresses,
		"the back button":                              testBackButton,
		"a bookmark of the sign-in page":               testBookmark,
		"a double click on every button":               testDoubleClicks(harness.BrowserOptions{}),
		"a double click on every button, no scripts":   testDoubleClicks(harness.BrowserOptions{NoJavaScript: true}),
		"by keyboard alone":                            testKeyboard,
		"without JavaScript":                           testNoJavaScript,
		"on a phone":                                   testPhone,
		"a pasted code is sent exactly once":           testPaste,
		"a code typed with Enter is sent exactly once": testTypedCode,
		"R04 the browser keeps no cookies":             testNoCookies,
	} {
		t.Run(name, func(t *testing.T) { test(t, s) })
	}
}

func testAllApps(t *testing.T, s *suite) {
	ann := s.Invited("ann")
	b := s.browser(t, harness.BrowserOptions{})
	b.signIn(ann, s.At("app", "/a?x=1"))
	b.expectAt(s.At("app", "/a?x=1"))
	b.Navigate(s.At("wiki", "/page"))
	b.expectAt(s.At("wiki", "/page"))
	b.AwaitH1("The app")

	b.ClickThrough("Sign out")
	b.AwaitH1("Sign out")
	b.AwaitText("This signs you out of all apps here.")
	b.ClickThrough("Sign out")
	b.AwaitH1("You are signed out")
	b.AwaitText("You are signed out of all apps here.")
	s.App.Reset()
	for _, app := range []string{"wiki", "app"} {
		b.Navigate(s.At(app, "/"))
		if h1 := b.H1(); h1 != "Sign in" {
			t.Errorf("after signing out %s shows %q", app, h1)
		}
	}
	b.Navigate(s.At("login", "/"))
	b.AwaitH1("Sign in")
	s.App.ExpectNone(t)
}

func testRefusedAndSwitched(t *testing.T, s *suite) {
	ben, cora := s.Invited("ben", "engineers"), s.Invited("cora", "admins")
	b := s.browser(t, harness.BrowserOptions{})
	s.Admin.Reset()
	b.signIn(ben, s.At("admin", "/secret"))
	b.AwaitH1("You can't open this")
	b.AwaitText("You are signed in as ben, and ben can't open admin.localhost/secret.")
	b.AwaitText("Ask the help desk")
	s.Admin.ExpectNone(t)
	b.ClickThrough("Sign in as someone else")
	b.AwaitText("You are signed in as ben. Sign in below to switch.")
	b.showPassword(cora)
	b.showCode(cora)
	b.expectAt(s.At("admin", "/secret"))
	if got := s.Admin.ExpectOne(t).Header.Get("Remote-User"); got != "cora" {
		t.Errorf("the app was told of %q", got)
	}
}

func testTwoTabs(t *testing.T, s *suite) {
	dan := s.Invited("dan")
	one := s.browser(t, harness.BrowserOptions{})
	two := watched(t, one.Tab(), harness.BrowserOptions{})
	one.Navigate(s.At("app", "/one"))
	two.Navigate(s.At("app", "/two"))
	one.showPassword(dan)
	two.showPassword(dan)
	one.showCode(dan)
	one.expectAt(s.At("app", "/one"))
	two.showCode(dan)
	two.expectAt(s.At("app", "/two"))
	one.Reload()
	one.expectAt(s.At("app", "/one"))
	one.AwaitH1("The app")
}

// testFragment takes the way to an app with everything that leads off the
// straight one: a wrong password, another language, another way in, somebody
// else's name.
func testFragment(t *testing.T, s *suite) {
	max, mia := s.Invited("max"), s.Invited("mia", "admins")
	b := s.browser(t, harness.BrowserOptions{})
	route := s.At("app", "/spa?x=1#/rooms/4?tab=%22a%22&b")
	b.Navigate(route)
	b.AwaitH1("Sign in")
	b.Fill("username", max.Name)
	b.Fill("current-password", "not the password")
	b.ClickThrough("Sign in")
	b.expectFocus("password", "That name and password don't match.")
	b.ClickThrough("Deutsch")
	b.ClickThrough("English")
	b.showPassword(max)
	b.AwaitH1("Enter the code from your app")
	b.ClickThrough("Use a backup code")
	b.AwaitH1("Enter a backup code")
	b.expectCursor("code")
	b.Press(max.SpendBackupCode())
	b.Through(func() { b.Press(harness.KeyEnter) })
	b.expectAt(route)

	b.Navigate(s.At("admin", "/#/users"))
	b.AwaitH1("You can't open this")
	b.ClickThrough("Sign in as someone else")
	b.showPassword(mia)
	b.AwaitH1("Enter the code from your app")
	b.ClickThrough("Not you?")
	b.showPassword(mia)
	b.showCode(mia)
	b.expectAt(s.At("admin", "/#/users"))
}

// testLongAddresses has two tabs at once go to addresses that don't fit into a
// request to the portal.
func testLongAddresses(t *testing.T, s *suite) {
	nell := s.Invited("nell")
	long := func(of string) string {
		return s.At("app", "/discover?of="+of+"&filter="+strings.Repeat("%7B"+of+"%7D,", 6<<10/8))
	}
	one := s.browser(t, harness.BrowserOptions{})
	two := watched(t, one.Tab(), harness.BrowserOptions{})
	one.Navigate(long("1") + "#/one")
	two.Navigate(long("2"))
	one.showPassword(nell)
	two.showPassword(nell)
	two.showCode(nell)
	two.expectAt(long("2"))
	one.Reload() // signed in meanwhile
	one.expectAt(long("1") + "#/one")
	if got := lastPage(s); got != strings.TrimPrefix(long("1"), s.At("app", "")) {
		t.Errorf("the app was asked for %.80s", got)
	}
}

// lastPage returns what the app was asked for last.
func lastPage(s *suite) string {
	seen := s.App.Requests()
	return seen[len(seen)-1].RequestURI
}

func testBackButton(t *testing.T, s *suite) {
	eve := s.Invited("eve")
	b := s.browser(t, harness.BrowserOptions{})
	b.signIn(eve, s.At("app", "/deep"))
	b.expectAt(s.At("app", "/deep"))
	// Back to where the code was asked for: nobody is asked again, nor stuck.
	b.Back()
	if b.H1() == "Enter the code from your app" {
		b.Reload() // it came from the browser's memory
	}
	if h1 := b.H1(); h1 != "Your apps" && h1 != "The app" {
		t.Errorf("the back button leads to %q at %s: %s", h1, b.URL(), b.Text())
	}
	b.Navigate(s.At("app", "/deep"))
	b.expectAt(s.At("app", "/deep"))
	b.AwaitH1("The app")
}

func testBookmark(t *testing.T, s *suite) {
	finn := s.Invited("finn")
	b := s.browser(t, harness.BrowserOptions{})
	b.Navigate(s.At("app", "/kept"))
	bookmark := b.URL().String()
	b.showPassword(finn)
	b.showCode(finn)
	b.expectAt(s.At("app", "/kept"))
	b.Navigate(bookmark)
	b.expectAt(s.At("app", "/kept"))
	b.AwaitH1("The app")

	// The bookmark in a browser that the gate never saw.
	other := s.browser(t, harness.BrowserOptions{})
	other.Navigate(bookmark)
	other.showPassword(finn)
	other.showCode(finn)
	other.expectAt(s.At("app", "/kept"))
	other.AwaitH1("The app")
}

// testDoubleClicks sets up, signs in and out with two clicks on every button.
func testDoubleClicks(options harness.BrowserOptions) func(*testing.T, *suite) {
	return func(t *testing.T, s *suite) {
		name := "gus"
		if options.NoJavaScript {
			name = "gil"
		}
		b := s.browser(t, options)
		b.Navigate(s.Invitation(name))
		p := &doubleClicker{visitor: b, s: s, name: name, posts: map[string]int{}}
		s.Canary(scene.Password(name))
		b.AwaitH1("Set up your account")
		b.Fill("new-password", scene.Password(name))
		p.press("Continue", "/flow/account", "Set up your authenticator app")
		b.doubleClick("View QR code")
		b.Evaluate(`(document.querySelector("details").open = true, "")`)
		secret := strings.ReplaceAll(b.Evaluate(`document.getElementById("key").innerText`), " ", "")
		s.Canary(secret)
		codes := &authenticator{t: t, secret: secret}
		p.codes = codes
		p.press("Continue", "/flow/enrol", "Set up your authenticator app") // empty
		p.typeCode(codes.next())
		p.press("Continue", "/flow/enrol", "Save your backup codes")
		b.Click("I have saved them")
		p.press("Continue", "/flow/enrol", "Your apps")
		b.ClickThrough("Sign out")
		p.press("Sign out", "/sign-out", "You are signed out")
		p.press("Sign in again", "", "Sign in")
		b.Fill("username", name)
		b.Fill("current-password", scene.Password(name))
		p.press("Sign in", "/sign-in", "Enter the code from your app")
		p.typeCode(codes.next())
		p.press("Continue", "/flow/challenge", "Your apps")
	}
}

// doubleClicker presses every button twice.
type doubleClicker struct {
	*visitor
	s     *suite
	name  string
	codes *authenticator
	posts map[string]int
}

// press clicks twice and waits for what one click leads to. With scripts only
// one form is sent.
func (p *doubleClicker) press(button, path, heading string) {
	p.t.Helper()
	before := p.s.posts(path)
	p.Through(func() { p.doubleClick(button) })
	// Without scripts, the second click can come after the first has finished the
	// flow, or leave the browser with the cookie of the first: the person is told so
	// and signs in.
	const finished = "This page has expired"
	p.eventually("what one click leads to", fmt.Sprintf(`String([%q, %q].includes(document.querySelector("h1")?.innerText))`, heading, finished), "true")
	if p.H1() == finished && !p.scripted() {
		p.ClickThrough("Sign in")
		p.signInOnce(heading)
	}
	p.AwaitH1(heading)
	if path != "" && p.scripted() {
		p.s.expectOneMorePost(p.t, path, before)
	}
}

// signInOnce signs in with single clicks, as far as a page, unless the browser kept
// the cookie of a sign-in that a first click finished.
func (p *doubleClicker) signInOnce(heading string) {
	p.t.Helper()
	if p.H1() != "Sign in" {
		return
	}
	p.Fill("username", p.name)
	p.Fill("current-password", scene.Password(p.name))
	p.ClickThrough("Sign in")
	if p.H1() == heading {
		return
	}
	harness.Eventually(p.t, patience, "another code", func() bool { return time.Now().Unix()/30 >= p.codes.last })
	p.typeCode(p.codes.next())
	p.ClickThrough("Continue")
}

// typeCode types a code so that it is not sent by itself.
func (p *doubleClicker) typeCode(code string) {
	p.t.Helper()
	p.Evaluate(`(document.querySelector("[data-digits]").value = ` + "`" + code + "`" + `, "")`)
}

func testKeyboard(t *testing.T, s *suite) {
	hal := s.Invited("hal")
	b := s.browser(t, harness.BrowserOptions{})
	b.Navigate(s.At("app", "/typed"))
	b.AwaitH1("Sign in")
	b.expectCursor("name")
	b.Press("hal")
	b.Press(harness.KeyTab)
	b.expectCursor("password")
	b.Press("wrong" + harness.KeyTab)
	b.expectRing() // the button that shows the password
	b.Press(harness.KeyEnter)
	b.eventually("the password to be seen", `document.getElementById("password").type`, "text")
	b.Press(harness.KeyTab)
	b.expectRing()
	b.Through(func() { b.Press(harness.KeyEnter) })
	b.expectFocus("password", "That name and password don't match.")
	b.Press(hal.Password)
	b.Through(func() { b.Press(harness.KeyEnter) })
	b.AwaitH1("Enter the code from your app")
	b.expectCursor("code")
	// "Use a backup code" and back again, by Tab and Enter alone.
	b.tabTo("Use a backup code")
	b.Through(func() { b.Press(harness.KeyEnter) })
	b.AwaitH1("Enter a backup code")
	b.expectCursor("code")
	b.Press(hal.SpendBackupCode())
	b.Through(func() { b.Press(harness.KeyEnter) })
	b.expectAt(s.At("app", "/typed"))
}

// tabTo presses Tab until the link or button with the text has the focus, each
// stop on the way to be seen.
func (v *visitor) tabTo(text string) {
	v.t.Helper()
	for range 20 {
		v.Press(harness.KeyTab)
		v.expectRing()
		if v.Evaluate(`document.activeElement.innerText.trim()`) == text {
			return
		}
	}
	v.t.Fatalf("Tab doesn't lead to %q", text)
}

func testNoJavaScript(t *testing.T, s *suite) {
	ida := s.Invited("ida")
	b := s.browser(t, harness.BrowserOptions{NoJavaScript: true})
	b.Navigate(s.At("app", "/plain"))
	// Scripts put this button in place, so it tells whether they are really off.
	if missing := b.Evaluate(`String(document.querySelector("[data-reveal]") === null)`); missing != "true" {
		t.Fatal("the page's scripts run")
	}
	if media := b.Evaluate(`String(matchMedia("(scripting: none)").matches)`); media != "true" {
		t.Fatal("the tests can't tell that scripts are off")
	}
	b.signIn(ida, s.At("app", "/plain"))
	b.expectAt(s.At("app", "/plain"))
}

func testPhone(t *testing.T, s *suite) {
	jo := s.Invited("jo")
	b := s.browser(t, harness.BrowserOptions{Mobile: true})
	b.Navigate(s.At("app", "/phone"))
	b.AwaitH1("Sign in")
	b.expectReachable()
	b.showPassword(jo)
	b.AwaitH1("Enter the code from your app")
	b.expectReachable()
	if mode := b.Evaluate(`document.getElementById("code").inputMode`); mode != "numeric" {
		t.Errorf("the phone offers the keyboard %q", mode)
	}
	b.showCode(jo)
	b.expectAt(s.At("app", "/phone"))
}

// expectReachable fails where something lies beside the screen, or is too
// small for a finger: 44 pixels for what the page is for, 24 for the rest
// (WCAG 2.2, 2.5.8). Of a checkbox a finger takes the label.
func (v *visitor) expectReachable() {
	v.t.Helper()
	wrong := v.Evaluate(`[...document.querySelectorAll("a[href], button, input:not([type=hidden]), summary")]
		.filter(e => e.checkVisibility())
		.filter(e => {
			const box = (e.type === "checkbox" ? e.labels[0] : e).getBoundingClientRect();
			const least = e.matches("input, .primary, .button") ? 44 : 24;
			return box.left < 0 || box.right > innerWidth || box.height < least;
		})
		.map(e => e.outerHTML).join("\n")`)
	if wrong != "" {
		v.t.Errorf("out of reach on a phone: %s", wrong)
	}
}

func testPaste(t *testing.T, s *suite) {
	kim := s.Invited("kim")
	b := s.browser(t, harness.BrowserOptions{})
	b.Navigate(s.At("app", "/pasted"))
	b.showPassword(kim)
	b.expectCursor("code")
	before := s.posts("/flow/challenge")
	code := kim.Code()
	arabic := strings.Map(func(r rune) rune { return r - '0' + '٠' }, code[3:])
	b.Through(func() { b.paste("\u200e" + code[:3] + "-" + arabic + "\u00a0") })
	b.expectAt(s.At("app", "/pasted"))
	s.expectOneMorePost(t, "/flow/challenge", before)
}

func testTypedCode(t *testing.T, s *suite) {
	lea := s.Invited("lea")
	b := s.browser(t, harness.BrowserOptions{})
	b.Navigate(s.At("app", "/typed"))
	b.showPassword(lea)
	b.expectCursor("code")
	before := s.posts("/flow/challenge")
	b.Through(func() { b.Press(lea.Code() + harness.KeyEnter) })
	b.expectAt(s.At("app", "/typed"))
	s.expectOneMorePost(t, "/flow/challenge", before)
}

func testNoCookies(t *testing.T, s *suite) {
	moe := s.Invited("moe")
	options := harness.BrowserOptions{NoCookies: true}
	b := watched(t, harness.NewBrowser(t, s.Server, options), options)
	s.App.Reset()
	b.Navigate(s.At("app", "/"))
	b.showPassword(moe)
	b.AwaitText("cookies")
	b.inspect("60-cookies-blocked")
	if kept := b.Cookies(s.At("login", "/")); len(kept) > 0 {
		t.Errorf("the browser keeps cookies after all: %v", kept)
	}
	s.App.ExpectNone(t)
}

// authenticator gives codes for a secret that a test read off the page.
type authenticator struct {
	t      *testing.T
	secret string
	last   int64 // the newest time step whose code was given out
}

// next returns a code that was not used yet: two can be had at once.
func (a *authenticator) next() string {
	a.t.Helper()
	const period = 30 // seconds
	a.last = max(a.last+1, time.Now().Unix()/period)
	return harness.TOTP(a.t, a.secret, time.Unix(a.last*period, 0))
}
