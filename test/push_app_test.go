package test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// What else can happen to a request, with the real app. The laptop uses forms.

// pending is a sign-in that waits for the phone.
type pending struct {
	laptop *harness.Client
	page   *harness.Page
	number string
}

var shownNumber = regexp.MustCompile(`\d{3} \d{3}`)

// pend begins a sign-in of ada's up to the page that waits for the phone.
func (s *pushSuite) pend(t *testing.T) pending {
	t.Helper()
	return s.pendFor(t, s.ada)
}

// pendFor is pend for somebody.
func (s *pushSuite) pendFor(t *testing.T, who *scene.Person) pending {
	t.Helper()
	p := pending{laptop: s.Client()}
	p.page = s.showPasswordOn(t, p.laptop, who, "windows")
	return p.reload(t)
}

// showPasswordOn opens the app in a browser of a platform and shows the password.
func (s *pushSuite) showPasswordOn(t *testing.T, browser *harness.Client, who *scene.Person, platform string) *harness.Page {
	t.Helper()
	page := browser.Visit(s.At("app", "/"))
	form, filled := page.Form("current-password"), url.Values{}
	for _, input := range form.Inputs {
		switch input.Autocomplete {
		case "username":
			filled.Set(input.Name, who.Name)
		case "current-password":
			filled.Set(input.Name, who.Password)
		default:
			if input.Type == "hidden" {
				filled.Set(input.Name, input.Value)
			}
		}
	}
	return arrived(browser.Follow(send(t, browser, harness.Request{
		Method: http.MethodPost, URL: form.Action.String(), From: page.URL.String(), Body: filled.Encode(),
		Header: http.Header{"Content-Type": {formType}, "User-Agent": {agents[platform]}},
	})))
}

// reload shows the page again.
func (p pending) reload(t *testing.T) pending {
	t.Helper()
	address := *p.page.URL
	address.RawQuery = url.Values{"id": {address.Query().Get("id")}, "use": {"push"}}.Encode()
	p.page = p.laptop.Visit(address.String())
	if p.number = shownNumber.FindString(p.page.Text()); p.number == "" {
		t.Fatalf("the page shows no number: %s", p.page.Text())
	}
	return p
}

// wrong is a number that isn't the one shown.
func (p pending) wrong() string {
	if strings.HasPrefix(p.number, "1") {
		return "2" + p.number[1:]
	}
	return "1" + p.number[1:]
}

// expectNothing expects that the app behind the gate sees nobody.
func (s *pushSuite) expectNothing(t *testing.T, p pending) {
	t.Helper()
	before := len(s.App.Requests())
	page := arrived(p.laptop.Follow(p.laptop.PostForm(s.At("login", "/flow/challenge"), url.Values{
		"flow": {p.page.URL.Query().Get("id")}, "factor": {"push"}, "collect": {"yes"},
	})))
	if after := len(s.App.Requests()); after != before || page.H1() == "The app" {
		t.Errorf("somebody was let in: %s", page.Text())
	}
}

// U02: a typo is forgiven once.
func (s *pushSuite) mistype(t *testing.T) {
	asked := s.pend(t)
	s.phone.AwaitH1("Are you signing in?")
	s.phone.FillSelector("#number", asked.wrong())
	s.phone.Click("Allow")
	s.phone.AwaitText("That isn't the number on your screen.")
	s.phone.FillSelector("#number", asked.wrong())
	s.phone.Click("Allow")
	s.phone.AwaitH1("Denied")
	s.phone.Click("Done")
	s.expectNothing(t, asked)
}

// scan opens a request by the QR code of the sign-in page, which the app's scanner reads.
func (s *pushSuite) scan(t *testing.T) {
	camera := &phoneScreen{visitor: s.phone}
	camera.holdCamera()
	camera.sees(t, "https://wiki.example.com/")
	s.phone.Click("Scan a QR code")
	s.phone.AwaitText("This QR code isn't from your account page.")
	laptop, number := s.ask(t)
	laptop.ClickSelector("details.qr-details summary")
	camera.sees(t, scanned(t, laptop.Browser))
	s.phone.AwaitH1("Are you signing in?")
	s.phone.FillSelector("#number", number)
	s.phone.Click("Allow")
	s.phone.AwaitH1("Allowed")
	laptop.AwaitH1("The app")
	s.phone.Click("Done")
}

// survive has the server reload, and then stop and start, while a request is open.
func (s *pushSuite) survive(t *testing.T) {
	asked := s.pend(t)
	s.phone.AwaitH1("Are you signing in?")
	s.Server.Reload(strings.Replace(pushCaddyfile, "the help desk", "the service desk", 1))
	if again := asked.reload(t); again.number != asked.number {
		t.Errorf("after a reload the number is %s, and was %s", again.number, asked.number)
	}
	s.Restart()
	if again := asked.reload(t); again.number != asked.number {
		t.Errorf("after a restart the number is %s, and was %s", again.number, asked.number)
	}
	s.phone.FillSelector("#number", asked.number)
	s.phone.Click("Allow")
	s.phone.AwaitH1("Allowed")
	s.phone.Click("Done")
	s.collect(t, asked.laptop, asked.page)
}
