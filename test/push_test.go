package test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// Approval on a phone, from end to end: the real binary, a laptop and a phone in
// Chromium.

const pushCaddyfile = `
{
	mfa {
		portal http://login.localhost:{{.Port "web"}}
		admins group admins
		contact "the help desk"
		push {
			authenticator http://phone.localhost:{{.Port "web"}}
			not_on macos linux
			geoip {{.Vars.places}}
		}
	}
}

http://login.localhost:{{.Port "web"}} {
	mfa_portal
}

http://phone.localhost:{{.Port "web"}} {
	mfa_authenticator
}

http://app.localhost:{{.Port "web"}} {
	mfa
	reverse_proxy {{.Vars.app}}
}

http://admin.localhost:{{.Port "web"}} {
	mfa
	reverse_proxy {{.Vars.admin}}
}
`

// agents are what browsers say of themselves, by platform.
var agents = map[string]string{
	"windows": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
	"macos":   "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
	"linux":   "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
	"android": "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36",
	"ios":     "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
}

// appPage is what the app behind the gate answers.
var appPage = harness.Answer{
	Header: map[string][]string{"Content-Type": {"text/html"}},
	Body:   `<!doctype html><html lang="en"><title>App</title><link rel="icon" href="data:,"><main><h1>The app</h1></main></html>`,
}

// pushSuite is a server with push, and ada, who has a phone.
type pushSuite struct {
	*suite
	ada    *scene.Person
	laptop *visitor // at which she is signed in
	phone  *visitor
}

func TestPush(t *testing.T) {
	t.Parallel()
	s := &pushSuite{suite: &suite{Scene: scene.Start(t, scene.Options{
		Settled: 2, Caddyfile: pushCaddyfile, Vars: map[string]string{"places": writePlaces(t)},
	})}}
	s.App.Answer(appPage)
	s.ada = s.Administrator("ada")
	carol := s.Invited("carol")
	device := pairPhone(t, s.Scene, carol)
	tab := harness.NewBrowser(t, s.Server, harness.BrowserOptions{Whole: true})
	// The console notes each 404 and 409, which are answers here.
	s.laptop = &visitor{Browser: tab, t: t, width: 1280, height: 800}
	s.phone = &visitor{Browser: tab.Person(harness.BrowserOptions{Mobile: true}), t: t, width: 390, height: 844}
	// It expires while everything else goes on.
	slow, number := s.askFor(t, carol)
	s.pair(t)
	s.allow(t)
	s.mistype(t)
	s.scan(t)
	s.deny(t)
	s.survive(t)
	s.typeRequestCode(t)
	s.useOffline(t)
	bob := s.setUpWithApp(t)
	s.report(t, bob)
	s.replace(t, bob)
	s.expectPlatforms(t)
	s.renameAndRemove(t)
	s.wipe(t, bob)
	s.expire(t, slow, number, device)
}

// writePlaces writes a database by which this machine is in Bern, and returns its path.
func writePlaces(t testing.TB) string {
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "GeoLite2-City", IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	named := func(name mmdbtype.String) mmdbtype.Map {
		return mmdbtype.Map{"names": mmdbtype.Map{"en": name}}
	}
	for _, network := range []string{"127.0.0.0/8", "::1/128"} {
		_, block, err := net.ParseCIDR(network)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(block, mmdbtype.Map{"city": named("Bern"), "country": named("Switzerland")}); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "places.mmdb"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := tree.WriteTo(file); err != nil {
		t.Fatal(err)
	}
	return file.Name()
}

// as has a browser say that it's another.
func (v *visitor) as(platform string) {
	v.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: agents[platform]})
		return err
	}))
}

// pair adds the phone to ada's account by the typed code.
func (s *pushSuite) pair(t *testing.T) {
	s.laptop.as("windows")
	s.laptop.signIn(s.ada, s.At("login", "/account/push"))
	s.laptop.AwaitH1("Approve on your phone")
	s.laptop.inspect("push-none")
	s.laptop.Click("Add a phone")
	s.laptop.AwaitH1("Set up approval on your phone")
	s.laptop.inspect("push-offered")
	s.phone.Navigate(s.At("phone", "/"))
	s.phone.AwaitH1("Your accounts")
	s.phone.Click("Enter a code")
	s.phone.FillSelector("#code", s.laptop.Evaluate(`document.getElementById("key").textContent`))
	s.phone.FillSelector("#name", "Blue phone")
	s.phone.Click("Continue")
	s.phone.AwaitH1("Type these digits on your computer")
	digits := s.phone.Evaluate(`document.querySelector(".number").textContent`)
	s.laptop.AwaitText("Blue phone used the code.")
	if said := s.laptop.Text(); strings.Contains(said, "Nobody has answered yet.") {
		t.Errorf("the page says %s", said)
	}
	s.laptop.inspect("push-claimed")
	s.laptop.Fill("one-time-code", strings.ReplaceAll(digits, " ", ""))
	s.phone.AwaitH1("Account added")
	s.laptop.AwaitText("Blue phone")
	s.laptop.AwaitH1("Approve on your phone")
	s.laptop.inspect("push-one")
	s.phone.Click("Done")
	s.phone.AwaitH1("Your accounts")
}

// ask begins a sign-in of ada's in a new browser, and returns it with the number that it
// shows.
func (s *pushSuite) ask(t *testing.T) (*visitor, string) { return s.askFor(t, s.ada) }

// askFor is ask for somebody.
func (s *pushSuite) askFor(t *testing.T, who *scene.Person) (*visitor, string) {
	browser := &visitor{Browser: s.laptop.Person(harness.BrowserOptions{}), t: t, width: 1280, height: 800}
	browser.as("windows")
	browser.Navigate(s.At("app", "/"))
	browser.showPassword(who)
	if browser.H1() != "Approve on your phone" {
		browser.Click("Approve on your phone")
	}
	browser.AwaitH1("Approve on your phone")
	return browser, numberOn(browser.Browser)
}

// numberOn is the number that a waiting page shows.
func numberOn(b *harness.Browser) string {
	return b.Evaluate(`[...document.querySelector(".number").childNodes].at(-1).textContent.trim()`)
}

func (s *pushSuite) allow(t *testing.T) {
	laptop, number := s.ask(t)
	laptop.inspect("push-waiting")
	s.phone.AwaitH1("Are you signing in?")
	s.phone.AwaitText("app.localhost")
	s.phone.AwaitText("Bern, Switzerland")
	laptop.Reload()
	if again := numberOn(laptop.Browser); again != number {
		t.Errorf("after a reload the number is %s, and was %s", again, number)
	}
	s.phone.FillSelector("#number", number)
	s.phone.Click("Allow")
	s.phone.AwaitH1("Allowed")
	laptop.AwaitH1("The app") // without a click
	s.phone.Click("Done")
	s.phone.AwaitH1("Your accounts")
}

func (s *pushSuite) deny(t *testing.T) {
	before := len(s.App.Requests())
	laptop, _ := s.ask(t)
	s.phone.AwaitH1("Are you signing in?")
	s.phone.Click("Deny")
	s.phone.AwaitH1("Denied")
	laptop.AwaitText("The request was denied on your phone.")
	laptop.inspect("push-denied")
	s.phone.Click("Done")
	if after := len(s.App.Requests()); after != before {
		t.Errorf("the app saw %d requests of somebody who was denied", after-before)
	}
}

// expectPlatforms signs in by forms on each platform: where push isn't offered, the
// input for the code comes right away, and nothing is said of phones.
func (s *pushSuite) expectPlatforms(t *testing.T) {
	for platform, offered := range map[string]bool{"windows": true, "macos": false, "linux": false, "android": true, "ios": true} {
		browser := s.Client()
		request := guess{name: s.ada.Name, password: s.ada.Password}.asRequest(s.Scene)
		request.Header.Set("User-Agent", agents[platform])
		page := arrived(browser.Follow(send(t, browser, request)))
		offers := strings.Contains(page.Text(), "Approve on your phone") || page.H1() == "Send a request to your phone"
		if offers != offered {
			t.Errorf("%s: approval is offered: %v: %s", platform, offers, page.Text())
		}
		if !offered && page.H1() != "Enter the code from your app" {
			t.Errorf("%s: the page is %q", platform, page.H1())
		}
	}
}
