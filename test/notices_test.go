package test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/mailbox"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// noticeTo waits for the n-th mail without a code to an address, and returns it.
func noticeTo(t *testing.T, server *mailbox.Server, address string, n int) mailbox.Mail {
	t.Helper()
	var found []mailbox.Mail
	harness.Eventually(t, 30*time.Second, "a notice to "+address, func() bool {
		found = slices.DeleteFunc(server.Inbox(), func(m mailbox.Mail) bool { return m.To != address || eightDigits.MatchString(m.Text()) })
		return len(found) >= n
	})
	if len(found) != n {
		t.Fatalf("%d notices arrived at %s, want %d: %s", len(found), address, n, found[n].Text())
	}
	return found[n-1]
}

// wantMail fails the test unless a mail contains the texts, in both parts where they are
// in the body.
func wantMail(t *testing.T, m mailbox.Mail, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(m.Text(), text) && !strings.Contains(m.Header("Subject"), text) {
			t.Errorf("the mail %q doesn't say %q: %s", m.Header("Subject"), text, m.Text())
		}
	}
}

// withAddress gives a user an e-mail address, as an administrator does.
func withAddress(t *testing.T, s *scene.Scene, name, address string) {
	t.Helper()
	if _, err := s.AdminDo(http.MethodPatch, "/mfa/users/"+name, `{"email":"`+address+`"}`); err != nil {
		t.Fatal(err)
	}
}

// TestNotices has people told of what happens to their accounts, in their own language
// and zone, and at the addresses that they had before.
func TestNotices(t *testing.T) {
	t.Parallel()
	s, server := mailingScene(t, 2)
	s.Administrator("ada")
	bob := s.Invited("bob")
	withAddress(t, s, "bob", "bob@example.org")

	browser := s.Client()
	portal := s.At("login", "/")
	browser.SetCookie(portal, http.Cookie{Name: "__Host-mfa-language", Value: "de", Path: "/", Secure: true})
	browser.SetCookie(portal, http.Cookie{Name: "__Host-mfa-zone", Value: "Asia%2FTokyo", Path: "/", Secure: true})
	if page := bob.SignIn(browser, s.At("app", "/page")); page.URL.Path != "/page" {
		t.Fatalf("signing in ended at %s: %s", page.URL, page.Text())
	}
	wantMail(t, noticeTo(t, server, "bob@example.org", 1), "Example Corp: Anmeldung in einem neuen Browser", "Guten Tag bob", " JST · Chrome", "127.0.0.1")

	withEmail(t, s, server, bob, "thief@example.net")
	wantMail(t, noticeTo(t, server, "bob@example.org", 2), "Code per E-Mail")
	withAddress(t, s, "bob", "robert@example.org")
	wantMail(t, noticeTo(t, server, "bob@example.org", 3), "E-Mail-Adresse des Kontos geändert", "Administration")
	noticeTo(t, server, "thief@example.net", 1)

	newPassword := "another lantern orchard 58"
	s.Canary(newPassword)
	form := formTo(t, bob.Browser.Visit(s.At("login", "/account/password")), "/account/password")
	if page := submitted(bob.Browser, form, map[string]string{"current": bob.Password, "password": newPassword}); page.URL.Path != "/account" {
		t.Fatalf("changing the password ended at %d %s: %s", page.Status, page.URL, page.Text())
	}
	wantMail(t, noticeTo(t, server, "robert@example.org", 1), "Passwort geändert")
	wantMail(t, noticeTo(t, server, "thief@example.net", 2), "Passwort geändert")
	for _, m := range server.Inbox() {
		for line := range strings.Lines(s.Log()) {
			if strings.Contains(line, `"logger":"mfa`) && strings.Contains(line, m.To) {
				t.Errorf("the log names the address %s: %s", m.To, line)
			}
		}
	}
}

var mailedLink = regexp.MustCompile(`http\S+token=\S+`)

// linkTo waits for a mail with a link to an address, and returns the link.
func linkTo(t *testing.T, s *scene.Scene, server *mailbox.Server, address string) string {
	t.Helper()
	var link string
	harness.Eventually(t, 30*time.Second, "a link to "+address, func() bool {
		for _, m := range server.Inbox() {
			if found := mailedLink.FindString(m.Text()); m.To == address && found != "" {
				link = found
			}
		}
		return link != ""
	})
	_, token, _ := strings.Cut(link, "token=")
	s.Canary(token)
	return link
}

// TestInvitationsByEmail has an invitation mailed, by which nobody sets up an account
// that codes by e-mail protect.
func TestInvitationsByEmail(t *testing.T) {
	t.Parallel()
	s, server := mailingScene(t, 0)
	added := s.CLI("mfa", "user", "add", "carol", "--email", "carol@example.org", "--send")
	if added.Code != 0 || !strings.Contains(added.Stdout, "on its way to carol@example.org") || strings.Contains(added.Stdout, "token=") {
		t.Fatalf("adding somebody printed %+v", added)
	}
	link := linkTo(t, s, server, "carol@example.org")
	for range 3 { // as scanners do
		if page := s.Client().Visit(link); page.Status != 200 {
			t.Errorf("opening the link: %d", page.Status)
		}
	}
	browser := s.Client()
	page := browser.Visit(link)
	page = submitted(browser, page.Form("new-password"), map[string]string{"new-password": scene.Password("thief")})
	s.Canary(scene.Password("thief"))
	asked := page.URL.Query()
	asked.Set("use", "email")
	page.URL.RawQuery = asked.Encode()
	if page = browser.Visit(page.URL.String()); strings.Contains(page.Text(), "by e-mail") {
		t.Errorf("M01 with a mailed invitation, an e-mail address can be set up: %s", page.Text())
	}
	s.Canary(scene.SecretOn(page))
	s.SetUp("carol", link)

	for name, command := range map[string][]string{
		"nobody with an address": {"mfa", "user", "add", "dave", "--send"},
		"somebody who is set up": {"mfa", "user", "invite", "carol", "--send"},
	} {
		if output := s.CLI(command...); output.Code == 0 || output.Stderr == "" {
			t.Errorf("an invitation was mailed to %s: %+v", name, output)
		}
	}
	if output := s.CLI("mfa", "user", "show", "dave"); output.Code == 0 {
		t.Errorf("somebody was added without a way to invite them: %+v", output)
	}
}

// TestLinksInNotices ends by the link of a notice what it tells of, and nothing else.
func TestLinksInNotices(t *testing.T) {
	t.Parallel()
	s, server := mailingScene(t, 2)
	s.Administrator("ada")
	bob := s.Invited("bob")
	withAddress(t, s, "bob", "bob@example.org")
	thief := s.Client()
	bob.SignIn(thief, s.At("app", "/page"))
	link := linkTo(t, s, server, "bob@example.org")
	isIn := func(browser *harness.Client) bool {
		return browser.Visit(s.At("login", "/account")).H1() != "Sign in"
	}

	scanner := s.Client()
	for _, typed := range []string{"", "ada"} {
		page := scanner.Visit(link)
		says(t, page, 200, "This wasn't me", "signed out of all apps")
		says(t, submitted(scanner, formTo(t, page, "/not-me"), map[string]string{"name": typed}), 422, "isn't the name")
	}
	if !isIn(thief) || !isIn(bob.Browser) {
		t.Fatal("a scanner ended something")
	}
	owner := s.Client()
	page := submitted(owner, formTo(t, owner.Visit(link), "/not-me"), map[string]string{"name": " Bob "})
	says(t, page, 200, "That access has ended")
	if isIn(thief) || !isIn(bob.Browser) {
		t.Error("the link didn't end what it names, or it ended more")
	}
	says(t, owner.Visit(link), 410, "This link no longer works")

	withEmail(t, s, server, bob, "thief@example.net")
	noticeTo(t, server, "bob@example.org", 2)
	page = owner.Visit(linkTo(t, s, server, "bob@example.org"))
	says(t, page, 200, "new way to sign in will stop working")
	says(t, submitted(owner, formTo(t, page, "/not-me"), map[string]string{"name": "bob@example.org"}), 200, "That access has ended")
	if asked := bob.ShowPassword(s.Client(), s.Client().Visit(s.At("app", "/page"))); strings.Contains(asked.Text(), "by e-mail") {
		t.Errorf("the address is still asked for a code: %s", asked.Text())
	}
	if !isIn(bob.Browser) {
		t.Error("the owner was signed out")
	}
	withEmail(t, s, server, bob, "bob@example.com")
	withEmail(t, s, server, bob, "thief@example.com")
	link = linkTo(t, s, server, "bob@example.com")
	if mailedLink.MatchString(newestTo(server, "bob@example.org").Text()) {
		t.Error("a change of the address for codes can be undone from another address")
	}
	page = owner.Visit(link)
	says(t, page, 200, "your previous address or number will be used again")
	says(t, submitted(owner, formTo(t, page, "/not-me"), map[string]string{"name": "bob"}), 200, "That access has ended")
	if asked := askedByEmail(t, s, s.Client(), bob); !strings.Contains(asked.Text(), "b…@e….com") {
		t.Errorf("the former address isn't asked for a code: %s", asked.Text())
	}
	if m := noticeTo(t, server, "thief@example.net", 1); mailedLink.MatchString(m.Text()) {
		t.Errorf("the address that was turned off got a link: %s", m.Text())
	}
}
