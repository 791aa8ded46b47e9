package test

import (
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/firefox"
	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/pushservice"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// TestWebPush notifies a phone for which Firefox stands, with a real subscription at a
// small push service and the browser's own decryption: the app isn't open, and the
// notification opens the request. The laptop uses forms.
func TestWebPush(t *testing.T) {
	t.Parallel()
	ca := newCertifier(t, "Push CA")
	certificate := filepath.Join(t.TempDir(), "ca.pem")
	writePEM(t, certificate, "CERTIFICATE", ca.certificate.Raw)
	service := pushservice.Start(t, ca.device("push", func(c *x509.Certificate) {
		c.DNSNames, c.ExtKeyUsage = []string{pushservice.Host}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}))
	phone := firefox.Start(t, map[string]any{
		"dom.push.serverURL": service.Browsers, "dom.push.testing.allowInsecureServerURL": true,
		"permissions.default.desktop-notification": 1, "alerts.useSystemBackend": false,
	})
	s := &pushSuite{suite: &suite{Scene: scene.Start(t, scene.Options{
		Settled: 1, Env: []string{"SSL_CERT_FILE=" + certificate}, Vars: map[string]string{"places": writePlaces(t)},
		Caddyfile: strings.Replace(pushCaddyfile, "not_on macos linux", "services "+pushservice.Host+"\n\t\t\tproxy "+service.Proxy, 1),
	})}}
	s.App.Answer(appPage)
	s.ada = s.Administrator("ada")
	s.pairFirefox(t, phone)
	phone.Click("Turn on notifications")
	phone.Await("the subscription", `return String(document.body.textContent.includes("Turn on notifications"))`, "false")
	phone.Navigate("about:blank")

	asked := s.pend(t)
	phone.ClickNotification()
	phone.Switch("Are you signing in?")
	phone.Fill("#number", asked.number)
	phone.Click("Allow")
	phone.AwaitH1("Allowed")
	s.collect(t, asked.laptop, asked.page)

	sent := service.Sent()
	if len(sent) != 1 || service.Tunnels() == 0 {
		t.Fatalf("the service was sent %d notifications by %d connections of the proxy", len(sent), service.Tunnels())
	}
	if header := sent[0].Header; header.Get("Urgency") != "high" || header.Get("Ttl") == "" || len(sent[0].Body) < 1024 || strings.Contains(string(sent[0].Body), "app.localhost") {
		t.Errorf("the service was sent %v and %d bytes", sent[0].Header, len(sent[0].Body))
	}
	if by := sent[0].Header.Get("Authorization"); !strings.HasSuffix(by, ", k="+strings.TrimRight(sent[0].Key, "=")) {
		t.Errorf("the server identifies itself by %q, and the browser subscribed with %s", by, sent[0].Key)
	}
	s.expectDropped(t, phone, service)
	s.expectReadByOthers(t, service)
}

// pairFirefox adds the phone to ada's account by the typed code.
func (s *pushSuite) pairFirefox(t *testing.T, phone *firefox.Browser) {
	t.Helper()
	browser := s.ada.Browser
	page := arrived(browser.Follow(browser.PostForm(s.At("login", "/account/push/add"), nil)))
	code := regexp.MustCompile(`id="key"[^>]*>([^<]+)<`).FindStringSubmatch(page.Body)
	if code == nil {
		t.Fatalf("the page shows no code: %s", page.Text())
	}
	phone.Navigate(s.At("phone", "/"))
	phone.AwaitH1("Your accounts")
	phone.Click("Enter a code")
	phone.AwaitH1("Enter a code")
	phone.Fill("#code", code[1])
	phone.Fill("#name", "Fox")
	phone.Click("Continue")
	phone.AwaitH1("Type these digits on your computer")
	digits := strings.ReplaceAll(phone.Evaluate(`return document.querySelector(".number").textContent`), " ", "")
	answer := func(field, value string) *harness.Page {
		return arrived(browser.Follow(browser.PostForm(s.At("login", "/flow/enrol"), url.Values{
			"flow": {page.URL.Query().Get("id")}, "factor": {"push"}, field: {value},
		})))
	}
	answer("collect", "yes")
	answer("digits", digits)
	phone.AwaitH1("Account added")
	answer("collect", "yes")
	phone.Click("Done")
	phone.AwaitH1("Your accounts")
}

// collect waits as the page's script does, and expects to be let in.
func (s *pushSuite) collect(t *testing.T, laptop *harness.Client, waiting *harness.Page) {
	t.Helper()
	polls := elements(t, waiting, "div", "data-wait")
	harness.Eventually(t, time.Minute, "the approval", func() bool {
		answer := send(t, laptop, harness.Request{
			URL: s.At("login", polls[0]), Mode: harness.Fetch, From: waiting.URL.String(), Header: http.Header{"Accept": {"application/json"}},
		})
		var said struct{ Progress string }
		return json.Unmarshal([]byte(answer.Body), &said) == nil && said.Progress == "settled"
	})
	page := arrived(laptop.Follow(laptop.PostForm(s.At("login", "/flow/challenge"), url.Values{
		"flow": {waiting.URL.Query().Get("id")}, "factor": {"push"}, "collect": {"yes"},
	})))
	if page.H1() != "The app" {
		t.Errorf("the laptop isn't let in: %s", page.Text())
	}
}

// expectDropped has the push service say that it doesn't know the phone any more: the
// account page says so, nothing is sent there again, and the app offers notifications anew.
func (s *pushSuite) expectDropped(t *testing.T, phone *firefox.Browser, service *pushservice.Service) {
	t.Helper()
	service.Answer(http.StatusGone)
	s.pend(t)
	harness.Eventually(t, time.Minute, "the account page to say that the phone isn't notified", func() bool {
		return strings.Contains(s.ada.Browser.Visit(s.At("login", "/account/push")).Text(), "It gets no notifications")
	})
	if sent := service.Sent(); len(sent) != 2 {
		t.Errorf("the service was sent %d notifications", len(sent))
	}
	phone.Navigate(s.At("phone", "/"))
	phone.AwaitH1("Are you signing in?")
	phone.Click("Deny")
	phone.AwaitH1("Denied")
	phone.Navigate(s.At("phone", "/"))
	phone.Await("the app to offer notifications again", `return String(document.body.textContent.includes("Turn on notifications"))`, "true")
}
