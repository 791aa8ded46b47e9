package test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
	"github.com/portcullis-mfa/portcullis/test/smsgateway"
)

// smsBlock sends text messages by the gateway of a test.
const smsBlock = `		sms {
			gateway {{.Vars.gateway}} {
				header Authorization "Bearer {env.TEST_SMS_TOKEN}"
				header Content-Type application/json
				body ` + "`" + `{"to": "{to}", "text": "{text}"}` + "`" + `
			}
			regions DE AT
		}
`

const textingCaddyfile = `
{
	mfa {
		portal http://login.localhost:{{.Port "web"}}
		admins group admins
		name "Example Corp"
` + smsBlock + `	}
}

http://login.localhost:{{.Port "web"}} {
	mfa_portal
}

http://app.localhost:{{.Port "web"}} {
	mfa
	reverse_proxy {{.Vars.app}}
}
`

const gatewayToken = "a token of the gateway's"

// bound is the line that binds a code to the portal.
var bound = regexp.MustCompile(`\n\n@login\.localhost #([0-9]{8})$`)

// textedCode waits for the n-th message, and returns the code in it.
func textedCode(t *testing.T, s *scene.Scene, gateway *smsgateway.Server, n int) string {
	t.Helper()
	harness.Eventually(t, 30*time.Second, "a text message", func() bool { return len(gateway.Inbox()) >= n })
	inbox := gateway.Inbox()
	found := bound.FindStringSubmatch(inbox[len(inbox)-1].Text)
	if len(inbox) != n || found == nil || inbox[n-1].To != "+491701234567" {
		t.Fatalf("%d messages were taken, want %d: %+v", len(inbox), n, inbox)
	}
	s.Canary(found[1])
	return found[1]
}

// TestCodesByTextMessage adds a number and signs in by a code that is sent there,
// past a gateway that fails in two ways.
func TestCodesByTextMessage(t *testing.T) {
	t.Parallel()
	gateway := smsgateway.Start(t, gatewayToken)
	s := scene.Start(t, scene.Options{
		Caddyfile: textingCaddyfile, Settled: 1, Env: []string{"TEST_SMS_TOKEN=" + gatewayToken},
		Vars: map[string]string{"gateway": gateway.URL},
	})
	s.Canary(gatewayToken)
	ada := s.Administrator("ada")

	page := submitted(ada.Browser, formTo(t, ada.Browser.Visit(s.At("login", "/account/sms")), "/account/sms/add"), nil)
	form := page.Form("tel")
	if page = submitted(ada.Browser, form, map[string]string{"tel": "+49 900 1234567"}); page.Status != 422 || gateway.Requests() != 0 {
		t.Errorf("M01 a premium number: %d, %d requests", page.Status, gateway.Requests())
	}
	gateway.Fail(smsgateway.Failure{Status: 503, Times: 1})
	page = submitted(ada.Browser, page.Form("tel"), map[string]string{"tel": "0170 1234567"})
	page = submitted(ada.Browser, page.Form("one-time-code"), map[string]string{"one-time-code": textedCode(t, s, gateway, 1)})
	if page.Status != 200 || page.H1() != "Codes by text message" || gateway.Requests() != 2 {
		t.Fatalf("adding a number ended at %d %s: %s", page.Status, page.URL, page.Text())
	}

	browser := s.Client()
	page = ada.ShowPassword(browser, browser.Visit(s.At("app", "/page")))
	if page.H1() != "Get a code by text message" {
		page = browser.Visit(page.Link("Get a code by text message"))
	}
	if !strings.Contains(page.Text(), "…67") || strings.Contains(page.Text(), "1234567") || gateway.Requests() != 2 {
		t.Errorf("before the button: %d requests, %s", gateway.Requests(), page.Text())
	}
	gateway.Fail(smsgateway.Failure{Cut: true, Times: 1})
	page = submitted(browser, formTo(t, page, "/flow/send"), nil)
	harness.Eventually(t, 30*time.Second, "the failure in the log", func() bool { return strings.Contains(s.Log(), "the gateway gave no answer") })

	other := s.Client()
	asked := ada.ShowPassword(other, other.Visit(s.At("app", "/page")))
	if asked.H1() != "Get a code by text message" {
		asked = other.Visit(asked.Link("Get a code by text message"))
	}
	asked = submitted(other, formTo(t, asked, "/flow/send"), nil)
	code := textedCode(t, s, gateway, 2)
	if page = submitted(browser, page.Form("one-time-code"), map[string]string{"one-time-code": code}); page.Status != 422 {
		t.Errorf("M01 the code of another sign-in: %d", page.Status)
	}
	if asked = submitted(other, asked.Form("one-time-code"), map[string]string{"one-time-code": code}); asked.Status != 200 || asked.URL.Path != "/page" {
		t.Fatalf("the code led to %d %s: %s", asked.Status, asked.URL, asked.Text())
	}
	if gateway.Requests() != 4 {
		t.Errorf("X08 %d requests: a message that may have left was sent again", gateway.Requests())
	}
	for _, hidden := range []string{"+491701234567", gatewayToken} {
		if strings.Contains(s.Log(), hidden) {
			t.Errorf("the log tells %s", hidden)
		}
	}
	if out := expectDone(t, s, "mfa", "notify", "test", "+491701234567"); !strings.Contains(out.Stdout, "The server answered: 202") {
		t.Errorf("the command says %q", out.Stdout)
	}
}
