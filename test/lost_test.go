package test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// handedOver is what commands print as JSON to be handed over to somebody.
type handedOver struct {
	Code, Link string
	Expires    time.Time
	Factors    []string
	Ended      int
	AccessCode *struct {
		Code    string
		Expires time.Time
	} `json:"access_code"`
	Invitation *struct{ Link string }
}

// toAccessCode says that everything is lost, at the page that asks for a second
// factor, and returns the page that asks for an administrator's code.
func toAccessCode(t *testing.T, browser *harness.Client, page *harness.Page) *harness.Page {
	t.Helper()
	page = browser.Visit(page.Link("I can't use this"))
	page = submitted(browser, formTo(t, page, "/flow/lost"), map[string]string{"lose": "on"})
	if page.H1() != "Enter the code from your administrator" {
		t.Fatalf("with nothing left: %d %s", page.Status, page.Text())
	}
	return page
}

// giveCode types an administrator's code.
func giveCode(t *testing.T, browser *harness.Client, page *harness.Page, code string) *harness.Page {
	t.Helper()
	return submitted(browser, formTo(t, page, "/flow/access-code"), map[string]string{"one-time-code": code})
}

// setUpAnew goes on, after an administrator's code, to where the person wanted
// to go, and returns the new authenticator's key.
func setUpAnew(t *testing.T, s *scene.Scene, p *scene.Person, browser *harness.Client, page *harness.Page, to string) string {
	t.Helper()
	key := scene.SecretOn(page)
	if key == "" || key == p.Secret {
		t.Fatalf("no new key: %d %s", page.Status, page.Text())
	}
	s.Canary(key)
	expectShut(t, s, browser)
	page = submitted(browser, formTo(t, page, "/flow/enrol"), map[string]string{"name": "New phone", "one-time-code": codeOf(t, key, 0)})
	fresh := scene.CodesOn(page)
	if page.H1() != "Save your backup codes" || len(fresh) != 10 {
		t.Fatalf("%d codes to save: %d %s", len(fresh), page.Status, page.Text())
	}
	s.Canary(fresh...)
	expectShut(t, s, browser)
	landed(t, submitted(browser, formTo(t, page, "/flow/enrol"), map[string]string{"saved": "yes"}), to)
	p.BackupCodes = fresh
	return key
}

func accessCode(t *testing.T, s *scene.Scene, name string) string {
	t.Helper()
	handed := decoded[handedOver](t, expectDone(t, s, "mfa", "access-code", name, "--json"))
	s.Canary(handed.Code, strings.ReplaceAll(handed.Code, " ", ""))
	if left := time.Until(handed.Expires); left > time.Hour || left < 59*time.Minute {
		t.Errorf("the code counts for %s", left)
	}
	return handed.Code
}

// TestLostPhone has somebody mend the loss of their phone by themselves.
func TestLostPhone(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Settled: 1, Caddyfile: accountCaddyfile})
	ada := s.Administrator("ada")
	second, third := s.Client(), s.Client()
	landed(t, ada.Browser.Visit(s.At("app", "/")), s.At("app", "/"))
	landed(t, ada.SignIn(second, s.At("app", "/")), s.At("app", "/"))
	streams := []*harness.Live{
		ada.Browser.WebSocket(t, s.At("app", "/socket"), false),
		second.Download(t, harness.Request{URL: s.At("app", "/events"), Header: http.Header{"Accept": {"text/event-stream"}}}),
	}
	for _, browser := range []*harness.Client{ada.Browser, second} {
		s.Canary(browser.Cookie(s.At("app", "/"), sessionCookie), browser.Cookie(s.At("login", "/"), portalCookie))
	}

	page := ada.ShowPassword(third, third.Visit(s.At("app", "/deep?x=1")))
	asked := page
	page = third.Visit(page.Link("I can't use this"))
	says(t, page, http.StatusOK, "Sign in without your authenticator app", "Sign in another way", "Use a backup code", "It's lost, broken or replaced", "the help desk")
	landed(t, third.Visit(page.Link("I can use it after all")), asked.URL.String()+"&use=totp")
	page = submitted(third, formTo(t, page, "/flow/lost"), nil)
	if page.H1() != "Enter a backup code" {
		t.Fatalf("replacing it led to %d %s", page.Status, page.Text())
	}
	keepsQuiet(t, page, "Use the code from your authenticator app")
	// The lost one can't mend its own loss, and nothing has happened yet.
	if refused := send(t, third, formPost(s, "/flow/challenge", answer(flowTo(t, page, "/flow/challenge"), "totp", codeOf(t, ada.Secret, 1)), "")); refused.Status != http.StatusConflict {
		t.Errorf("the lost one's code: %d %s", refused.Status, refused.Text())
	}
	expectIn(t, s, ada.Browser, "ada")
	expectIn(t, s, second, "ada")

	page = ada.ShowCode(third, page, ada.SpendBackupCode())
	key := scene.SecretOn(page)
	if key == "" || key == ada.Secret {
		t.Fatalf("the backup code led to %d %s", page.Status, page.Text())
	}
	s.Canary(key)
	expectCut(t, s, ada.Browser, second)
	for _, stream := range streams {
		harness.Eventually(t, cutWithin, "an open stream to end", stream.Ended)
	}
	expectShut(t, s, third)
	secondRefused(t, s, ada, "totp", codeOf(t, ada.Secret, 1))

	s.App.Reset()
	page = submitted(third, formTo(t, page, "/flow/enrol"), map[string]string{"name": "New phone", "one-time-code": codeOf(t, key, 0)})
	landed(t, page, s.At("app", "/deep?x=1"))
	s.App.ExpectOne(t)
	secondRefused(t, s, ada, "totp", codeOf(t, ada.Secret, 1))
	fourth := s.Client()
	page = ada.ShowPassword(fourth, fourth.Visit(s.At("app", "/")))
	landed(t, ada.ShowCode(fourth, page, codeOf(t, key, 1)), s.At("app", "/"))

	says(t, third.Visit(s.At("login", authenticators)), http.StatusOK,
		"Reported lost. It no longer works", "New phone")
	says(t, third.Visit(s.At("login", backupCodes)), http.StatusOK, "9 of 10 codes are left.")
	says(t, third.Visit(s.At("login", activity)), http.StatusOK, "Reported lost, no longer works: ", "Set up: ", "Signed out",
		"Signed in (password, backup code, code from an authenticator app)")
	expectAudited(t, s, 1, "factor.lost", "ada", map[string]string{"factor": "totp"})
	expectAudited(t, s, 1, "factor.enrolled", "ada", map[string]string{"factor": "totp"})
	expectAudited(t, s, 2, "sign_on.ended", "ada", map[string]string{"reason": "factor_lost"})

	t.Run("what is lost can be taken off the list", func(t *testing.T) {
		lost := idOf(t, third.Visit(s.At("login", authenticators)), "Authenticator app")
		page := third.Visit(s.At("login", authenticators+"/remove?id="+lost))
		page = submitted(third, formTo(t, page, authenticators+"/remove"), nil)
		says(t, page, http.StatusOK, "Removed.")
		keepsQuiet(t, page, "Reported lost")
	})
}

// TestLostEverything has an administrator help.
func TestLostEverything(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Settled: 4, Caddyfile: accountCaddyfile})
	s.Administrator("root")

	t.Run("a code from an administrator", func(t *testing.T) {
		bob := s.Invited("bob")
		landed(t, bob.Browser.Visit(s.At("app", "/")), s.At("app", "/"))
		void, code := accessCode(t, s, "bob"), accessCode(t, s, "bob")
		browser := s.Client()
		page := bob.ShowPassword(browser, browser.Visit(s.At("app", "/deep")))
		flow := flowTo(t, page, "/flow/challenge")

		// It is no second factor: who lost nothing can't sign in by it.
		for path, form := range map[string]url.Values{
			"/flow/access-code": {"flow": {flow}, "code": {code}},
			"/flow/challenge":   answer(flow, "access_code", code),
		} {
			if refused := send(t, browser, formPost(s, path, form, "")); refused.Status != http.StatusConflict {
				t.Errorf("%s at the second step: %d %s", path, refused.Status, refused.Text())
			}
		}
		secondRefused(t, s, bob, "backup_code", code)
		secondRefused(t, s, bob, "totp", code)

		page = toAccessCode(t, browser, page)
		says(t, page, http.StatusOK, "Ask the help desk for one.")
		for wrong, why := range map[string]string{
			void: "That code didn't work.", "0000 0000 0000 0000": "That code didn't work.",
			"": "Enter all sixteen letters and digits of the code.", bob.BackupCodes[0]: "Enter all sixteen letters and digits of the code.",
			code + "0": "Enter all sixteen letters and digits of the code.",
		} {
			refused := giveCode(t, browser, page, wrong)
			says(t, refused, http.StatusUnprocessableEntity, why)
		}
		elsewhere := s.Client()
		thief := toAccessCode(t, elsewhere, bob.ShowPassword(elsewhere, elsewhere.Visit(s.At("app", "/"))))
		for range 6 { // F03: nobody guesses it, so nobody is kept from it
			says(t, giveCode(t, elsewhere, thief, "0000 0000 0000 0000"), http.StatusUnprocessableEntity, "That code didn't work.")
		}
		expectIn(t, s, bob.Browser, "bob")

		page = giveCode(t, browser, page, "  "+strings.ToLower(strings.ReplaceAll(code, " ", "  "))+" ")
		expectCut(t, s, bob.Browser)
		says(t, elsewhere.Visit(thief.URL.String()), http.StatusGone, "This page has expired")
		thief = bob.ShowPassword(elsewhere, elsewhere.Visit(s.At("app", "/")))
		says(t, giveCode(t, elsewhere, thief, code), http.StatusUnprocessableEntity, "That code didn't work.")
		setUpAnew(t, s, bob, browser, page, s.At("app", "/deep"))
		signsIn(t, s, bob, s.Client())
		secondRefused(t, s, bob, "totp", codeOf(t, bob.Secret, 0))
		expectAudited(t, s, 2, "access_code.created", "bob", map[string]string{"by": "administrator"})
		expectAudited(t, s, 1, "access_code.used", "bob", nil)
		for _, factor := range []string{"totp", "backup_code"} {
			expectAudited(t, s, 1, "factor.lost", "bob", map[string]string{"factor": factor})
		}
		says(t, browser.Visit(s.At("login", activity)), http.StatusOK, "An access code was created for you", "by an administrator", "An access code was used")
	})
	t.Run("the code of somebody else", func(t *testing.T) {
		cyd := s.Invited("cyd")
		s.Invited("dan")
		code := accessCode(t, s, "dan")
		browser := s.Client()
		page := toAccessCode(t, browser, cyd.ShowPassword(browser, browser.Visit(s.At("app", "/"))))
		says(t, giveCode(t, browser, page, code), http.StatusUnprocessableEntity, "That code didn't work.")
		expectIn(t, s, cyd.Browser, "cyd")
	})
	t.Run("factors reset", func(t *testing.T) {
		eve := s.Invited("eve")
		remembering := s.Client()
		form := eve.ShowPassword(remembering, remembering.Visit(s.At("app", "/"))).Form("one-time-code")
		landed(t, submitted(remembering, form, map[string]string{"one-time-code": eve.Code(), "remember": "yes"}), s.At("app", "/"))
		landed(t, eve.Browser.Visit(s.At("app", "/")), s.At("app", "/"))
		before := accessCode(t, s, "eve")
		done := decoded[handedOver](t, expectDone(t, s, "mfa", "user", "reset-factors", "EVE", "--json"))
		if strings.Join(done.Factors, " ") != "backup_code totp" || done.Ended != 2 || done.AccessCode == nil || done.Invitation != nil {
			t.Fatalf("%+v", done)
		}
		s.Canary(done.AccessCode.Code)
		expectCut(t, s, eve.Browser, remembering)
		page := eve.ShowPassword(remembering, remembering.Visit(s.At("login", "/sign-in")))
		if page.H1() != "Enter the code from your administrator" {
			t.Fatalf("the password led to %d %s", page.Status, page.Text())
		}
		expectShut(t, s, remembering)
		says(t, giveCode(t, remembering, page, before), http.StatusUnprocessableEntity)
		flow := flowTo(t, page, "/flow/access-code")
		for _, path := range []string{"/flow/enrol", "/flow/challenge", "/flow/new-password"} {
			if refused := send(t, remembering, formPost(s, path, answer(flow, "totp", codeOf(t, eve.Secret, 1)), "")); refused.Status != http.StatusConflict {
				t.Errorf("%s before the code: %d %s", path, refused.Status, refused.Text())
			}
		}
		setUpAnew(t, s, eve, remembering, giveCode(t, remembering, page, done.AccessCode.Code), s.At("login", "/"))
		expectAudited(t, s, 1, "factors.reset", "eve", map[string]string{"by": "administrator"})
		expectAudited(t, s, 2, "sign_on.ended", "eve", map[string]string{"by": "administrator", "reason": "factors_reset"})
		expectAudited(t, s, 1, "browser.forgotten", "eve", map[string]string{"by": "administrator"})
	})
	t.Run("factors and password reset", func(t *testing.T) {
		fay := s.Invited("fay")
		done := decoded[handedOver](t, expectDone(t, s, "mfa", "user", "reset-factors", "fay", "--password", "--json"))
		if strings.Join(done.Factors, " ") != "backup_code password totp" || done.Ended != 1 || done.AccessCode != nil || done.Invitation == nil {
			t.Fatalf("%+v", done)
		}
		_, token, _ := strings.Cut(done.Invitation.Link, "token=")
		s.Canary(token)
		passwordRefused(t, s, "fay", fay.Password)
		expectCut(t, s, fay.Browser)
		if out := s.CLI("mfa", "access-code", "fay"); out.Code == 0 {
			t.Errorf("an access code for somebody with no password: %s", out.Stdout)
		}
		again := s.SetUp("fay", done.Invitation.Link)
		expectIn(t, s, again.Browser, "fay")
		expectShut(t, s, fay.Browser)
		expectGone(t, s, done.Invitation.Link)
	})
	t.Run("somebody who is disabled", func(t *testing.T) {
		gus := s.Invited("gus")
		code := accessCode(t, s, "gus")
		browser := s.Client()
		page := toAccessCode(t, browser, gus.ShowPassword(browser, browser.Visit(s.At("app", "/"))))
		expectDone(t, s, "mfa", "user", "disable", "gus")
		if refused := giveCode(t, browser, page, code); refused.Status != http.StatusGone {
			t.Errorf("a code from before: %d %s", refused.Status, refused.Text())
		}
		if out := s.CLI("mfa", "access-code", "gus"); out.Code == 0 || out.Stdout != "" || !strings.Contains(out.Stderr, "the user hasn't set up their account yet, or is disabled") {
			t.Errorf("%+v", out)
		}
		for _, flags := range [][]string{nil, {"--password"}} {
			done := decoded[handedOver](t, expectDone(t, s, append([]string{"mfa", "user", "reset-factors", "gus", "--json"}, flags...)...))
			if done.AccessCode != nil || done.Invitation != nil {
				t.Errorf("%q: %+v", flags, done)
			}
		}
		passwordRefused(t, s, "gus", gus.Password)
	})
	t.Run("while they are about to lose it", func(t *testing.T) {
		hal := s.Invited("hal")
		code := accessCode(t, s, "hal")
		browser := s.Client()
		page := toAccessCode(t, browser, hal.ShowPassword(browser, browser.Visit(s.At("app", "/"))))
		expectDone(t, s, "mfa", "user", "reset-factors", "hal", "--password")
		if refused := giveCode(t, browser, page, code); refused.Status != http.StatusGone && refused.Status != http.StatusUnprocessableEntity {
			t.Errorf("a sign-in from before the reset: %d %s", refused.Status, refused.Text())
		}
		expectShut(t, s, browser)
	})
}
