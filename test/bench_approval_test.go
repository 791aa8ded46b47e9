package test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/phone"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// approvals is how many sign-ins one iteration of BenchmarkApproval approves.
const approvals = 5

// BenchmarkApproval measures how long it takes from "Allow" on a phone until the laptop's
// browser, which has waited, has loaded the page of the app: the answer, what the browser
// hears of it, its post, the new sign-on and the ticket.
//
//   - ms/approval: the median
func BenchmarkApproval(b *testing.B) {
	s := scene.Start(b, scene.Options{Settled: 1, Caddyfile: strings.Replace(pushCaddyfile, "not_on macos linux", "", 1), Vars: map[string]string{"places": writePlaces(b)}})
	s.App.Answer(appPage)
	ada := s.Administrator("ada")
	device := pairPhone(b, s, ada)
	tab := harness.NewBrowser(b, s.Server, harness.BrowserOptions{})
	var took []float64
	for b.Loop() {
		for range approvals {
			took = append(took, approve(b, s, tab, ada, device))
		}
	}
	b.ReportMetric(0, "ns/op") // of an iteration, which nobody asks for
	b.ReportMetric(medianOf(took, func(ms float64) float64 { return ms }), "ms/approval")
}

// approve signs somebody in with a new browser, and returns how many milliseconds after
// "Allow" the app's page was there.
func approve(b *testing.B, s *scene.Scene, tab *harness.Browser, who *scene.Person, device *phone.Phone) float64 {
	b.Helper()
	laptop := tab.PersonFor(b, harness.BrowserOptions{})
	laptop.Navigate(s.At("app", "/"))
	laptop.Fill("username", who.Name)
	laptop.Fill("current-password", who.Password)
	laptop.Click("Sign in")
	laptop.AwaitText("on your phone")
	if laptop.H1() != "Approve on your phone" {
		laptop.Click("Approve on your phone")
	}
	laptop.AwaitH1("Approve on your phone")
	request, number := openRequest(b, device), numberOn(laptop)
	began := time.Now()
	expectStatus(b, 200)(device.Decide(b.Context(), request, "allow", strings.ReplaceAll(number, " ", "")))
	laptop.AwaitH1("The app")
	loaded, err := strconv.ParseInt(laptop.Evaluate(`String(performance.timing.domComplete)`), 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return float64(loaded - began.UnixMilli())
}
