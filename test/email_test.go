package test

import (
	"encoding/pem"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/mailbox"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

const mailingCaddyfile = `
{
	mfa {
		portal http://login.localhost:{{.Port "web"}}
		admins group admins
		name "Example Corp"
		email {
			smtp smtp://{{.Vars.smtp}}
			username portcullis
			password {env.TEST_SMTP_PASSWORD}
			ca {{.Vars.ca}}
			from "Example Corp <login@example.com>"
		}
		password_reset on
	}
}

http://login.localhost:{{.Port "web"}} {
	mfa_portal
}

http://app.localhost:{{.Port "web"}} {
	mfa
	reverse_proxy {{.Vars.app}}
}
`

const smtpPassword = "a password of the mail server's"

// mailingScene is one whose server sends e-mails.
func mailingScene(t *testing.T, settled int) (*scene.Scene, *mailbox.Server) {
	t.Helper()
	return mailingSceneOf(t, scene.Options{Caddyfile: mailingCaddyfile, Settled: settled})
}

// mailingSceneOf is mailingScene with more options.
func mailingSceneOf(t *testing.T, options scene.Options) (*scene.Scene, *mailbox.Server) {
	t.Helper()
	server := mailbox.Start(t, mailbox.Options{Username: "portcullis", Password: smtpPassword})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate}), 0o600); err != nil {
		t.Fatal(err)
	}
	options.Env = append(options.Env, "TEST_SMTP_PASSWORD="+smtpPassword)
	if options.Vars == nil {
		options.Vars = make(map[string]string)
	}
	options.Vars["smtp"], options.Vars["ca"] = server.Address, ca
	s := scene.Start(t, options)
	s.Canary(smtpPassword)
	return s, server
}

// mailedTitle is what the page says that asks for a code by e-mail.
const mailedTitle = "Enter the code from your e-mail"

// unsentTitle is what it says where no code is sent by itself.
const unsentTitle = "Get a code by e-mail"

var eightDigits = regexp.MustCompile(`\b[0-9]{8}\b`)

// mailedCode waits for the n-th mail, and returns it with the code in it.
func mailedCode(t *testing.T, s *scene.Scene, server *mailbox.Server, n int) (mailbox.Mail, string) {
	t.Helper()
	harness.Eventually(t, 30*time.Second, "a mail", func() bool { return len(codesIn(server)) >= n })
	inbox := codesIn(server)
	if len(inbox) != n {
		t.Fatalf("%d mails with codes arrived, want %d", len(inbox), n)
	}
	newest := inbox[n-1]
	code := eightDigits.FindString(newest.Text())
	if code == "" {
		t.Fatalf("there is no code in the mail: %s", newest.Raw)
	}
	s.Canary(code)
	return newest, code
}

// codesIn returns the mails with codes; others are notices.
func codesIn(server *mailbox.Server) []mailbox.Mail {
	return slices.DeleteFunc(server.Inbox(), func(m mailbox.Mail) bool { return !eightDigits.MatchString(m.Text()) })
}

// withEmail has somebody who is signed in add an address.
func withEmail(t *testing.T, s *scene.Scene, server *mailbox.Server, p *scene.Person, address string) {
	t.Helper()
	before := len(codesIn(server))
	page := submitted(p.Browser, formTo(t, p.Browser.Visit(s.At("login", "/account/email")), "/account/email/add"), nil)
	page = submitted(p.Browser, page.Form("email"), map[string]string{"email": address})
	_, code := mailedCode(t, s, server, before+1)
	page = submitted(p.Browser, page.Form("one-time-code"), map[string]string{"one-time-code": code})
	if page.Status != 200 || page.H1() != "Codes by e-mail" {
		t.Fatalf("adding an address ended at %d %s: %s", page.Status, page.URL, page.Text())
	}
}

// askedByEmail is the page that asks for a code by e-mail, in a new browser of
// somebody who has shown the password.
func askedByEmail(t *testing.T, s *scene.Scene, browser *harness.Client, p *scene.Person) *harness.Page {
	t.Helper()
	page := p.ShowPassword(browser, browser.Visit(s.At("app", "/page")))
	if page.H1() == mailedTitle || page.H1() == unsentTitle { // what was used last is asked for first
		return page
	}
	return browser.Visit(page.Link("Get a code by e-mail"))
}

// TestCodesByEmail adds an address and signs in by a code that is sent there.
func TestCodesByEmail(t *testing.T) {
	t.Parallel()
	s, server := mailingScene(t, 1)
	ada := s.Administrator("ada")
	withEmail(t, s, server, ada, "ada.byron@example.org")
	mine := ada.Browser.Visit(s.At("login", "/account/email"))
	if text := mine.Text(); !strings.Contains(text, "a…n@e….org") || !strings.Contains(text, "Change the address") || strings.Contains(text, "Rename") {
		t.Errorf("the one address is shown as %s", text)
	}
	if change := submitted(ada.Browser, formTo(t, mine, "/account/email/add"), nil); change.H1() != "Change your address for codes" || strings.Contains(change.Body, `name="name"`) {
		t.Errorf("it is changed by %s: %s", change.H1(), change.Text())
	}

	browser := s.Client()
	page := askedByEmail(t, s, browser, ada)
	if !strings.Contains(page.Text(), "a…n@e….org") || strings.Contains(page.Text(), "byron") {
		t.Errorf("the page shows %s", page.Text())
	}
	for range 3 {
		browser.Visit(page.URL.String()) // a reload sends nothing
	}
	mail, code := mailedCode(t, s, server, 2)
	if mail.To != "ada.byron@example.org" || !strings.Contains(mail.Text(), "app.localhost") || strings.Contains(mail.Header("Subject"), code) {
		t.Errorf("the mail to %s is %s", mail.To, mail.Raw)
	}
	if page = submitted(browser, page.Form("one-time-code"), map[string]string{"one-time-code": wrongOf(code)}); page.Status != 422 {
		t.Fatalf("a wrong code led to %d: %s", page.Status, page.Text())
	}
	if again := submitted(browser, formTo(t, page, "/flow/send"), nil); again.Status != 429 && again.Status != 422 {
		t.Errorf("a further mail within 30 s: %d %s", again.Status, again.Text())
	}
	says(t, page, 422, "You can also enter the 6-digit code from your authenticator app")
	page = submitted(browser, page.Form("one-time-code"), map[string]string{"one-time-code": code})
	if page.Status != 200 || page.URL.Path != "/page" {
		t.Fatalf("the code led to %d %s: %s", page.Status, page.URL, page.Text())
	}
	if n := len(codesIn(server)); n != 2 {
		t.Errorf("%d mails arrived in all", n)
	}
	// A code counts once.
	other := s.Client()
	asked := askedByEmail(t, s, other, ada)
	if page := submitted(other, asked.Form("one-time-code"), map[string]string{"one-time-code": code}); page.Status != 422 {
		t.Errorf("M01 the same code elsewhere: %d %s", page.Status, page.Text())
	}
	// The one field takes the app's code, too.
	asked = submitted(other, asked.Form("one-time-code"), map[string]string{"one-time-code": ada.Code()})
	if asked.Status != 200 || asked.URL.Path != "/page" {
		t.Errorf("the app's code led to %d %s: %s", asked.Status, asked.URL, asked.Text())
	}
	// Whoever knows the password has five sent in an hour, and no sixth.
	for range 3 {
		askedByEmail(t, s, s.Client(), ada)
	}
	thief := s.Client()
	asked = askedByEmail(t, s, thief, ada)
	if asked.Status != 200 || asked.H1() != unsentTitle {
		t.Errorf("M01 a sixth code: %d %s", asked.Status, asked.Text())
	}
	if page := submitted(thief, formTo(t, asked, "/flow/send"), nil); page.Status != 429 || !strings.Contains(page.Text(), "No more codes can be sent right now") {
		t.Errorf("M01 a sixth code, by the button: %d %s", page.Status, page.Text())
	}
	mailedCode(t, s, server, 6) // the fifth, and that of the enrolment
}

// wrongOf is a code that isn't the right one.
func wrongOf(code string) string {
	return string('0'+(code[0]-'0'+1)%10) + code[1:]
}

// TestX08MailThatCantBeSent has the server refuse, and then take mail again.
func TestX08MailThatCantBeSent(t *testing.T) {
	t.Parallel()
	s, server := mailingScene(t, 1)
	ada := s.Administrator("ada")
	withEmail(t, s, server, ada, "ada@example.org")
	testMessages(t, s, server)
	server.Fail(mailbox.Failure{At: mailbox.AtRcpt, Code: 450})
	browser := s.Client()
	page := askedByEmail(t, s, browser, ada)
	harness.Eventually(t, time.Minute, "the first attempt to fail", func() bool {
		return strings.Contains(s.Log(), "a message couldn't be sent")
	})
	harness.Eventually(t, 30*time.Second, "the page to say that the message couldn't be sent yet", func() bool {
		return strings.Contains(browser.Visit(page.URL.String()).Text(), "haven't been able to send")
	})
	says(t, browser.Visit(page.URL.String()), 200, "Use something else", "authenticator app")
	server.Fail(mailbox.Failure{})
	_, code := mailedCode(t, s, server, 2) // the first two checked the address, and the server
	harness.Eventually(t, 30*time.Second, "the page to say that we passed the message on", func() bool {
		return strings.Contains(browser.Visit(page.URL.String()).Text(), "passed the message to the mail server")
	})
	page = submitted(browser, page.Form("one-time-code"), map[string]string{"one-time-code": code})
	if page.Status != 200 || page.URL.Path != "/page" {
		t.Fatalf("the code led to %d %s: %s", page.Status, page.URL, page.Text())
	}
	if strings.Contains(s.Log(), "ada@example.org") {
		t.Error("the log names the address")
	}
}

// testMessages has the operator see what the mail server answers: once as it takes
// the message, once as it refuses the recipient.
func testMessages(t *testing.T, s *scene.Scene, server *mailbox.Server) {
	t.Helper()
	before := len(codesIn(server))
	out := expectDone(t, s, "mfa", "notify", "test", "Grace@example.org")
	if !strings.Contains(out.Stdout, "Handed over. The server answered: 2.0.0") {
		t.Errorf("the command says %q", out.Stdout)
	}
	inbox := server.Inbox()
	if len(inbox) != before+1 || inbox[before].To != "grace@example.org" || !strings.Contains(inbox[before].Header("Subject"), "Example Corp") {
		t.Errorf("the inbox is %v", inbox)
	}
	server.Fail(mailbox.Failure{At: mailbox.AtRcpt, Code: 552, Enhanced: [3]int{5, 2, 2}})
	for arguments, want := range map[string]string{
		"grace@example.org": "552 5.2.2. The server doesn't accept the recipient. Check the address.",
		"grace":             "this is neither an e-mail address nor a phone number",
	} {
		out := s.CLI("mfa", "notify", "test", arguments)
		if out.Code == 0 || !strings.Contains(out.Stderr, want) {
			t.Errorf("%s: the command says %+v, want %s", arguments, out, want)
		}
	}
}
