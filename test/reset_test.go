package test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/mailbox"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// askReset asks for a new password in somebody's name.
func askReset(t *testing.T, s *scene.Scene, browser *harness.Client, name string) *harness.Page {
	t.Helper()
	page := browser.Visit(s.At("login", "/sign-in"))
	page = browser.Visit(page.Link("Forgot your password?"))
	return submitted(browser, formTo(t, page, "/forgotten"), map[string]string{"name": name})
}

// TestPasswordReset resets a password by a mailed link and a second factor. The mailbox
// alone doesn't suffice, and nobody learns who has an account.
func TestPasswordReset(t *testing.T) {
	t.Parallel()
	s, server := mailingScene(t, 2)
	ada := s.Administrator("ada")
	bob := s.Invited("bob")
	withAddress(t, s, "bob", "bob@example.org")
	withEmail(t, s, server, bob, "bob@example.net")

	said := askReset(t, s, s.Client(), "bob")
	says(t, said, 200, "Check your e-mail", "a link is on its way")
	for _, name := range []string{"nobody", "nobody@example.org", ada.Name, "a b\tc@@"} {
		if other := askReset(t, s, s.Client(), name); other.Status != said.Status || other.Body != said.Body {
			t.Errorf("F01 asking for %q is answered %d: %s", name, other.Status, other.Text())
		}
	}
	link := resetLinkTo(t, s, server, "bob@example.org", "")
	wantMail(t, mailAbout(server, "bob@example.org", "choose a new password"), "Example Corp: choose a new password", "complete your second step", "127.0.0.1")

	scanner := s.Client()
	for range 2 { // scanners open links and submit forms
		page := scanner.Visit(link)
		says(t, page, 200, "bob")
		if text := page.Text(); strings.Contains(text, "by e-mail") || strings.Contains(text, "I can't use this") {
			t.Errorf("M01 the mailbox is offered as a second step: %s", text)
		}
		says(t, submitted(scanner, page.Form("one-time-code"), nil), 422, "6 digits")
		page.URL.RawQuery += "&use=email"
		if other := scanner.Visit(page.URL.String()); strings.Contains(other.Text(), "by e-mail") {
			t.Errorf("M01 a code by e-mail is asked for: %s", other.Text())
		}
		if lost := scanner.Visit(s.At("login", "/flow/lost?id="+page.URL.Query().Get("id"))); lost.Status != http.StatusConflict {
			t.Errorf("M01 something can be reported lost: %d %s", lost.Status, lost.Text())
		}
	}

	browser := s.Client()
	page := bob.ShowCode(browser, browser.Visit(link), bob.Code())
	says(t, page, 200, "Choose a new password", "signed out everywhere else")
	newPassword := "another lantern orchard 58"
	s.Canary(newPassword)
	page = submitted(browser, page.Form("new-password"), map[string]string{"new-password": newPassword})
	if page.Status != 200 || page.URL.Path != "/" {
		t.Fatalf("the new password led to %d %s: %s", page.Status, page.URL, page.Text())
	}
	if h1 := bob.Browser.Visit(s.At("login", "/account")).H1(); h1 != "Sign in" {
		t.Errorf("S04 another browser goes on: %s", h1)
	}
	says(t, browser.Visit(link), 410, "This link no longer works", "Get a new link")
	for _, address := range []string{"bob@example.org", "bob@example.net"} {
		harness.Eventually(t, 30*time.Second, "a notice to "+address, func() bool {
			return mailAbout(server, address, "Password reset with a link").To != ""
		})
	}
	other := s.Client()
	if page := bob.ShowPassword(other, other.Visit(s.At("app", "/page"))); page.Status != 422 {
		t.Errorf("the former password: %d %s", page.Status, page.Text())
	}
	expectAudited(t, s, 1, "password.reset", "bob", nil)
	expectAudited(t, s, 1, "password.reset_requested", "bob", nil)
}

// resetLinkTo returns the link of a reset that was mailed to an address, once there is one
// beside the former. Other mail may come before it or after.
func resetLinkTo(t *testing.T, s *scene.Scene, server *mailbox.Server, address, former string) (link string) {
	t.Helper()
	harness.Eventually(t, 30*time.Second, "the link of a reset for "+address, func() bool {
		for _, m := range server.Inbox() {
			if found := mailedLink.FindString(m.Text()); m.To == address && strings.Contains(found, "/reset?") && found != former {
				link = found
			}
		}
		return link != ""
	})
	_, token, _ := strings.Cut(link, "token=")
	s.Canary(token)
	return link
}

// newestTo returns the newest mail to an address.
func newestTo(server *mailbox.Server, address string) mailbox.Mail {
	return mailAbout(server, address, "")
}

// mailAbout returns the newest mail to an address whose subject contains a text.
func mailAbout(server *mailbox.Server, address, subject string) mailbox.Mail {
	inbox := server.Inbox()
	for i := len(inbox) - 1; i >= 0; i-- {
		if inbox[i].To == address && strings.Contains(inbox[i].Header("Subject"), subject) {
			return inbox[i]
		}
	}
	return mailbox.Mail{}
}
