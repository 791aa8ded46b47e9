package test

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/mailbox"
	"github.com/portcullis-mfa/portcullis/test/scene"
	"github.com/portcullis-mfa/portcullis/test/smsgateway"
)

// mailWalk is one way through all that goes by mail, with what its pages say.
type mailWalk struct {
	language                                   string
	keyboard                                   bool
	setUp, enter, tooSoon, handedOver, unsent  string
	change, again, undo, undone, forgot, check string
}

var mailWalks = []mailWalk{
	{
		language: "en",
		setUp:    "Set up codes by e-mail", enter: "Enter the code from your e-mail", tooSoon: "We sent a code a moment ago",
		handedOver: "We've passed the message to the mail server", unsent: "We couldn't send the message",
		change: "Change the address", again: "Send it again", undo: "This wasn't me", undone: "That access has ended",
		forgot: "Forgot your password?", check: "Check your e-mail",
	},
	{
		language: "de", keyboard: true,
		setUp: "Codes per E-Mail einrichten", enter: "Code aus Ihrer E‑Mail eingeben", tooSoon: "Wir haben gerade einen Code gesendet",
		handedOver: "an den Mailserver übergeben", unsent: "Die Nachricht konnte nicht gesendet werden",
		change: "Adresse ändern", again: "Noch einmal senden", undo: "Das war ich nicht", undone: "Dieser Zugang ist beendet",
		forgot: "Passwort vergessen?", check: "Prüfen Sie Ihr Postfach",
	},
}

// TestBrowserMail goes by mail through enrolment, sign-in, a change of address and its
// notice, and a reset: in English by mouse, in German by keyboard alone.
func TestBrowserMail(t *testing.T) {
	t.Parallel()
	gateway := smsgateway.Start(t, gatewayToken)
	mailing, server := mailingSceneOf(t, scene.Options{
		Caddyfile: strings.Replace(mailingCaddyfile, "\t\tpassword_reset on\n", "\t\tpassword_reset on\n"+smsBlock, 1),
		Settled:   3, Env: []string{"TEST_SMS_TOKEN=" + gatewayToken}, Vars: map[string]string{"gateway": gateway.URL},
	})
	mailing.Canary(gatewayToken)
	mailing.Administrator("root")
	s := &suite{Scene: mailing, chromium: visit(t, mailing.Server, harness.BrowserOptions{})}
	for i, walk := range mailWalks {
		p := s.Invited([]string{"ann", "ben"}[i])
		withAddress(t, mailing, p.Name, p.Name+"@example.org")
		t.Run(walk.language, func(t *testing.T) {
			b := &mailed{t: t, s: s, p: p, server: server, gateway: gateway, walk: walk}
			b.enrols()
			b.signsIn()
			b.texts()
			b.changes()
			b.resets()
			b.pictures()
		})
	}
}

// mailed is somebody who goes one such way.
type mailed struct {
	t       *testing.T
	s       *suite
	p       *scene.Person
	server  *mailbox.Server
	gateway *smsgateway.Server
	walk    mailWalk
	h       hands
}

// open opens a page in the language of the walk.
func (m *mailed) open(h hands, address string) {
	m.t.Helper()
	m.h = h
	if m.walk.language == "de" { // pages that a link opens offer no other language
		h.Navigate(m.s.At("login", "/help/password"))
		if h.Evaluate("document.documentElement.lang") != "de" {
			h.press("Deutsch")
		}
	}
	h.Navigate(address)
}

// submit presses the page's main button.
func (m *mailed) submit() {
	m.t.Helper()
	m.h.press(m.h.Evaluate(`document.querySelector("main button.primary").innerText.trim()`))
}

// codeTo waits for a code that leaves after some mails, and returns it.
func (m *mailed) codeTo(address string, before int) string {
	m.t.Helper()
	code := ""
	harness.Eventually(m.t, 30*time.Second, "a code to "+address, func() bool {
		for _, one := range m.server.Inbox()[before:] {
			if one.To == address {
				code = eightDigits.FindString(one.Text())
			}
		}
		return code != ""
	})
	m.s.Canary(code)
	return code
}

func (m *mailed) arrived() int { return len(m.server.Inbox()) }

// enrols sets up an address, after one that the server refuses: the page says so by itself.
func (m *mailed) enrols() {
	m.t.Helper()
	m.open(hands{m.s.settled(m.t, m.p, harness.BrowserOptions{}), m.walk.keyboard}, m.s.At("login", "/account/email"))
	m.h.press(m.walk.setUp)
	m.server.Fail(mailbox.Failure{At: mailbox.AtRcpt, Code: 550, Enhanced: [3]int{5, 1, 1}})
	m.h.write("address", m.p.Name+"@example.com")
	m.submit()
	m.h.AwaitText(m.walk.unsent)
	m.h.inspect("mail-enrol-unsent-" + m.walk.language)
	m.server.Fail(mailbox.Failure{})
	m.open(m.h, m.s.At("login", "/account/email"))
	m.h.press(m.walk.setUp)
	before := m.arrived()
	m.h.write("address", m.p.Name+"@example.com")
	m.submit()
	code := m.codeTo(m.p.Name+"@example.com", before)
	m.h.AwaitText(m.walk.handedOver)
	m.h.inspect("mail-enrol-" + m.walk.language)
	m.h.send(code)
	m.h.AwaitText("@e….com")
}

// signsIn signs in with a code in a new browser, and asks for a further one too soon.
func (m *mailed) signsIn() {
	m.t.Helper()
	before := m.arrived()
	m.open(hands{m.s.browser(m.t, harness.BrowserOptions{}), m.walk.keyboard}, m.s.At("app", "/page"))
	m.h.write("name", m.p.Name)
	m.h.write("password", m.p.Password)
	m.submit()
	if m.h.H1() != m.walk.enter {
		m.h.Navigate(m.h.Evaluate(`document.querySelector('a[href*="use=email"]').href`))
	}
	m.h.AwaitH1(m.walk.enter)
	code := m.codeTo(m.p.Name+"@example.com", before)
	m.h.AwaitText(m.walk.handedOver)
	m.h.inspect("mail-code-" + m.walk.language)
	m.h.press(m.walk.again)
	m.h.AwaitText(m.walk.tooSoon)
	m.h.inspect("mail-code-again-" + m.walk.language)
	m.h.send(code)
	m.h.AwaitURL("the app", func(at *url.URL) bool { return at.String() == m.s.At("app", "/page") })
}

// jsWebOTP stands in for a phone that passes text messages on: Chromium has nothing to do
// so with here. The page can't tell.
const jsWebOTP = `
window.OTPCredential ??= class {};
const get = navigator.credentials.get.bind(navigator.credentials);
navigator.credentials.get = (options) => options?.otp?.transport?.includes("sms")
	? new Promise((resolve) => { window.arrives = (code) => resolve({ code }); })
	: get(options);
`

// texts sets up a number, and signs in by a text message that the phone fills in.
func (m *mailed) texts() {
	m.t.Helper()
	m.open(hands{m.s.settled(m.t, m.p, harness.BrowserOptions{}), m.walk.keyboard}, m.s.At("login", "/account/sms/add"))
	m.submit()
	before := len(m.gateway.Inbox())
	m.h.write("address", "0170 1234567")
	m.submit()
	m.h.inspect("sms-enrol-" + m.walk.language)
	m.h.send(m.textedCode(before))
	m.h.AwaitText("…67")

	m.open(hands{m.s.browser(m.t, harness.BrowserOptions{}), m.walk.keyboard}, m.s.At("app", "/page"))
	m.h.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: jsWebOTP})
		return err
	}))
	m.h.write("name", m.p.Name)
	m.h.write("password", m.p.Password)
	m.submit()
	if link := m.h.Evaluate(`document.querySelector('a[href*="use=sms"]')?.href ?? ""`); link != "" {
		m.h.Navigate(link)
	}
	m.h.inspect("sms-button-" + m.walk.language)
	before = len(m.gateway.Inbox())
	m.submit()
	m.h.AwaitText("…67")
	m.h.inspect("sms-code-" + m.walk.language)
	if got := m.h.Evaluate(`document.getElementById("code").autocomplete`); got != "one-time-code" {
		m.t.Errorf("the field's autocomplete is %q", got)
	}
	code := m.textedCode(before)
	m.h.Through(func() { m.h.Evaluate(`(window.arrives("` + code + `"), "")`) })
	m.h.AwaitURL("the app", func(at *url.URL) bool { return at.String() == m.s.At("app", "/page") })
}

// textedCode waits for a code that leaves after some text messages, and returns it.
func (m *mailed) textedCode(before int) string {
	m.t.Helper()
	var found []string
	harness.Eventually(m.t, 30*time.Second, "a text message", func() bool {
		if inbox := m.gateway.Inbox(); len(inbox) > before {
			found = bound.FindStringSubmatch(inbox[len(inbox)-1].Text)
		}
		return found != nil
	})
	m.s.Canary(found[1])
	return found[1]
}

// changes changes the address, and the owner of the former one undoes that.
func (m *mailed) changes() {
	m.t.Helper()
	m.open(hands{m.s.settled(m.t, m.p, harness.BrowserOptions{}), m.walk.keyboard}, m.s.At("login", "/account/email"))
	m.h.press(m.walk.change)
	before := m.arrived()
	m.h.write("address", "thief-of-"+m.p.Name+"@example.net")
	m.submit()
	m.h.send(m.codeTo("thief-of-"+m.p.Name+"@example.net", before))
	m.h.AwaitText("@e….net")
	link := linkTo(m.t, m.s.Scene, m.server, m.p.Name+"@example.com")
	m.open(hands{m.s.browser(m.t, harness.BrowserOptions{}), m.walk.keyboard}, link)
	m.h.AwaitH1(m.walk.undo)
	m.h.inspect("mail-undo-" + m.walk.language)
	m.h.write("name", m.p.Name)
	m.submit()
	m.h.AwaitH1(m.walk.undone)
	m.open(hands{m.s.settled(m.t, m.p, harness.BrowserOptions{}), m.walk.keyboard}, m.s.At("login", "/account/email"))
	m.h.AwaitText("@e….com")
}

// resets chooses a new password by a link and the authenticator app.
func (m *mailed) resets() {
	m.t.Helper()
	m.open(hands{m.s.browser(m.t, harness.BrowserOptions{}), m.walk.keyboard}, m.s.At("login", "/sign-in"))
	m.h.press(m.walk.forgot)
	m.h.write("name", m.p.Name)
	m.submit()
	m.h.AwaitH1(m.walk.check)
	m.h.inspect("mail-reset-sent-" + m.walk.language)
	link := resetLinkTo(m.t, m.s.Scene, m.server, m.p.Name+"@example.org", "")
	m.h.Navigate(link)
	m.h.inspect("mail-reset-second-" + m.walk.language)
	m.h.Navigate(m.h.Evaluate(`document.querySelector('a[href*="use=totp"]').href`))
	m.h.send(m.p.Code())
	m.h.inspect("mail-reset-" + m.walk.language)
	m.p.Password = "another lantern orchard 58"
	m.s.Canary(m.p.Password)
	m.h.write("password", m.p.Password)
	m.submit()
	m.h.AwaitURL("the portal", func(at *url.URL) bool { return at.String() == m.s.At("login", "/") })
}

// pictures draws the HTML part of each mail to this person, as mail programs show it, in
// the folder of the screenshots.
func (m *mailed) pictures() {
	m.t.Helper()
	if os.Getenv(harness.EnvShots) == "" {
		return
	}
	seen := make(map[string]bool)
	for _, one := range m.server.Inbox() {
		subject := one.Header("Subject")
		if seen[subject] || !strings.HasPrefix(one.To, m.p.Name) {
			continue
		}
		seen[subject] = true
		path := filepath.Join(m.t.TempDir(), "mail.html")
		write(m.t, path, []byte(one.HTML()))
		name := "mail-" + m.walk.language + "-" + strconv.Itoa(len(seen))
		for look, options := range map[string]harness.BrowserOptions{
			"390-light": {Width: 390, Height: 800}, "390-dark": {Width: 390, Height: 800, Dark: true}, "800-dark": {Width: 800, Height: 800, Dark: true},
		} {
			options.FlawsExpected = true
			b := m.s.chromium.PersonFor(m.t, options)
			b.Navigate("file://" + path)
			b.Shot(name + "-" + look)
		}
		write(m.t, filepath.Join(os.Getenv(harness.EnvShots), name+".txt"), []byte(subject+"\n\n"+one.Text()))
	}
}
