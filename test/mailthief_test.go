package test

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// thiefsPaths are the portal's paths by which an account is entered, changed or looked at.
var thiefsPaths = []string{
	"/", "/account", "/account/email", "/account/email/add", "/account/totp/add", "/account/backup_code/add", "/account/password",
	"/account/app-passwords", "/account/app-passwords/add", "/account/devices", "/account/sign-ons", "/account/activity", "/account/not-me",
	"/account/email/remove", "/account/totp/remove-all", "/flow/file", "/flow/wait",
}

// thiefsPosts are the forms that change something, with what a thief would write.
var thiefsPosts = map[string]url.Values{
	"/account/email/add":                {},
	"/account/totp/add":                 {},
	"/account/backup_code/add":          {},
	"/account/email/remove-all":         {},
	"/account/totp/remove-all":          {},
	"/account/password":                 {"password": {"a thief's lantern 58"}},
	"/account/app-passwords/add":        {"name": {"Mail"}, "host": {"app.localhost"}},
	"/account/devices/revoke":           {"id": {"x"}},
	"/account/sign-ons/end-others":      {},
	"/account/not-me":                   {},
	"/account/passkey-offer":            {},
	"/sign-in/passkey":                  {"response": {"{}"}},
	"/flow/password":                    {},
	"/flow/account":                     {"name": {"bob"}, "password": {"a thief's lantern 58"}},
	"/flow/new-password":                {"password": {"a thief's lantern 58"}},
	"/flow/access-code":                 {"code": {"AAAA-AAAA-AAAA-AAAA"}},
	"/flow/enrol?factor=email":          {"factor": {"email"}, "address": {"thief@example.net"}},
	"/flow/enrol?factor=email&code":     {"factor": {"email"}, "code": {"00000000"}},
	"/flow/enrol?factor=totp":           {"factor": {"totp"}, "code": {"000000"}},
	"/flow/enrol?factor=backup_code":    {"factor": {"backup_code"}, "saved": {"yes"}},
	"/flow/challenge?factor=email":      {"factor": {"email"}, "collect": {"yes"}},
	"/flow/challenge?factor=totp":       {"factor": {"totp"}, "code": {"000000"}, "remember": {"yes"}},
	"/flow/challenge?factor=password":   {"factor": {"password"}, "code": {"00000000"}},
	"/flow/challenge?factor=fido":       {"factor": {"fido"}, "response": {"{}"}},
	"/flow/challenge?factor=access":     {"factor": {"access_code"}, "code": {"AAAA-AAAA-AAAA-AAAA"}},
	"/not-me":                           {"token": {"AAAA"}},
	"/forgotten":                        {},
	"/.well-known/est/simpleenroll":     {},
	"/.well-known/est/simplereenroll":   {},
	"/token/revoke":                     {"token": {"AAAA"}},
	"/flow/send?factor=email":           {"factor": {"email"}},
	"/flow/lost":                        {"lose": {"on"}},
	"/account/email/rename":             {"name": {"x"}},
	"/browsers/forget":                  {},
	"/account/devices/confirm?code=AAA": {"code": {"AAAA"}},
}

// tryEverything sends a thief's browser everywhere, in a flow of its own.
func tryEverything(t *testing.T, s *scene.Scene, thief *harness.Client, flow string, known url.Values) {
	t.Helper()
	for _, path := range thiefsPaths {
		page := thief.Visit(s.At("login", path+"?id="+flow))
		if page.Status == http.StatusOK && page.H1() != "Sign in" && page.URL.Path != "/flow" {
			t.Errorf("M01 %s shows a thief %s", path, page.H1())
		}
	}
	for _, factor := range []string{"totp", "email", "backup_code", "access_code", "password", "fido"} {
		thief.Visit(s.At("login", "/flow?id="+flow+"&use="+factor))
	}
	for path, form := range thiefsPosts {
		values := url.Values{"flow": {flow}, "name": {"bob"}}
		for _, more := range []url.Values{known, form} {
			for field, value := range more {
				values[field] = value
			}
		}
		where, _, _ := strings.Cut(path, "?")
		if _, err := thief.Send(post(change{url: s.At("login", where), form: values}, s.At("login", "/flow"), nil)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// gained matches what the log says of a change that a thief could want.
var gained = regexp.MustCompile(`"logger":"mfa.audit","msg":"((?:factor|factors|token|device|access_code|browser|sign_on|user)\.[a-z_]+|password\.(?:changed|reset)|sign_in\.succeeded|step_up\.succeeded|activity\.disowned)"`)

// changesSince lists the changes that the log tells of since a point of it.
func changesSince(s *scene.Scene, before int) (names []string) {
	for _, found := range gained.FindAllStringSubmatch(s.Log()[before:], -1) {
		names = append(names, found[1])
	}
	slices.Sort(names)
	return names
}

// TestM01ThiefsWithHalf gives one thief the password and another one the mailboxes. Each
// tries every path: none opens an app or changes the account. The one with the mailbox can
// turn off what a notice tells of, and nothing else.
func TestM01ThiefsWithHalf(t *testing.T) {
	t.Parallel()
	s, server := mailingScene(t, 2)
	s.Administrator("ada")
	bob := s.Invited("bob")
	withAddress(t, s, "bob", "bob@example.org")
	withEmail(t, s, server, bob, "bob@example.net")
	s.App.Reset()

	var former string // link of a reset
	t.Run("the password", func(t *testing.T) {
		before := len(s.Log())
		thief := s.Client()
		page := bob.ShowPassword(thief, thief.Visit(s.At("app", "/page")))
		flow := page.URL.Query().Get("id")
		tryEverything(t, s, thief, flow, url.Values{"password": {bob.Password}, "current": {bob.Password}})
		thief.Visit(s.At("app", "/page"))
		if got := changesSince(s, before); got != nil {
			t.Errorf("M01, F07 a thief with the password brought about %v", got)
		}
		says(t, askReset(t, s, thief, "bob"), 200, "Check your e-mail")
		former = resetLinkTo(t, s, server, "bob@example.org", "")
		s.App.ExpectNone(t)
	})
	t.Run("the mailbox", func(t *testing.T) {
		before := len(s.Log())
		thief := s.Client()
		askReset(t, s, thief, "bob")
		link := resetLinkTo(t, s, server, "bob@example.org", former)
		page := thief.Visit(link)
		says(t, page, 200, "bob")
		tryEverything(t, s, thief, page.URL.Query().Get("id"), nil)
		signingIn := s.Client()
		tryEverything(t, s, signingIn, "x", url.Values{"password": {"guessed"}})
		for _, m := range server.Inbox() { // as scanners do, and whoever reads the mail
			for _, link := range mailedLink.FindAllString(m.Text(), -1) {
				opened := thief.Visit(link)
				if strings.Contains(link, "/not-me?") && opened.Status == http.StatusOK {
					submitted(thief, formTo(t, opened, "/not-me"), map[string]string{"name": "bob"})
				}
			}
		}
		thief.Visit(s.At("app", "/page"))
		for _, name := range changesSince(s, before) {
			if name != "factor.lost" && name != "sign_on.ended" && name != "factor.restored" {
				t.Errorf("M01 a thief with the mailbox brought about %s", name)
			}
		}
		s.App.ExpectNone(t)
	})
	// The owner is still in with what a mailbox can't turn off.
	if page := bob.SignIn(s.Client(), s.At("app", "/page")); page.URL.Path != "/page" {
		t.Errorf("the owner is led to %s: %s", page.URL, page.Text())
	}
}
