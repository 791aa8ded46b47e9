package test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

const (
	linkGone = "This link was used or has expired"
	notSetUp = "Sign-in isn't set up yet"
)

// opened opens a link in a fresh browser, up to the form for the account.
func opened(t *testing.T, s *scene.Scene, link string) (*harness.Client, *harness.Page) {
	t.Helper()
	browser := s.Client()
	page := browser.Visit(link)
	if page.Status != http.StatusOK || strings.Contains(page.URL.String(), "token=") {
		t.Fatalf("the link led to %d %s: %s", page.Status, page.URL, page.Text())
	}
	return browser, page
}

// expectGone fails the test where a link still leads somewhere.
func expectGone(t *testing.T, s *scene.Scene, link string) {
	t.Helper()
	if page := s.Client().Visit(link); page.Status != http.StatusGone || page.H1() != linkGone {
		t.Errorf("the link led to %d %q", page.Status, page.H1())
	}
}

// choose fills in the form for the account, and returns where that led.
func choose(browser *harness.Client, page *harness.Page, values map[string]string) *harness.Page {
	hops := browser.Follow(browser.Submit(page.Form("new-password"), values))
	return hops[len(hops)-1]
}

// confirm enters the code that the page's key makes, and returns where that
// led.
func confirm(t *testing.T, browser *harness.Client, page *harness.Page) *harness.Page {
	t.Helper()
	code := harness.TOTP(t, scene.SecretOn(page), time.Now())
	hops := browser.Follow(browser.Submit(page.Form("one-time-code"), map[string]string{"one-time-code": code}))
	return hops[len(hops)-1]
}

func TestSetupLink(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{})
	spare, raced, unfinished := s.SetupLink(), s.SetupLink(), s.SetupLink()
	password := scene.Password("ada")
	account := map[string]string{"name": "ada", "new-password": password}

	// Looking spends nothing.
	for range 3 {
		opened(t, s, raced)
	}
	late, latePage := opened(t, s, unfinished)
	latePage = choose(late, latePage, map[string]string{"name": "eve", "new-password": scene.Password("eve")})

	t.Run("two browsers race with one link", func(t *testing.T) {
		const racers = 6
		var browsers [racers]*harness.Client
		var forms [racers]url.Values
		for i := range racers {
			browser, page := opened(t, s, raced)
			page = choose(browser, page, account)
			browsers[i] = browser
			forms[i] = answer(flowOn(page), "totp", harness.TOTP(t, scene.SecretOn(page), time.Now()))
		}
		var statuses [racers]int
		var racing sync.WaitGroup
		for i := range racers {
			racing.Go(func() {
				page, err := browsers[i].Send(formPost(s, "/flow/enrol", forms[i], ""))
				if err != nil {
					t.Error(err)
					return
				}
				statuses[i] = page.Status
			})
		}
		racing.Wait()
		won := 0
		for _, status := range statuses {
			switch status {
			case http.StatusSeeOther:
				won++
			case http.StatusGone:
			default:
				t.Errorf("a racer was answered %d", status)
			}
		}
		if won != 1 {
			t.Errorf("%d of %d set up by one link", won, racers)
		}
	})
	t.Run("used twice", func(t *testing.T) { expectGone(t, s, raced) })
	t.Run("another link, once somebody is set up", func(t *testing.T) { expectGone(t, s, spare) })
	t.Run("another link, opened before", func(t *testing.T) {
		page := confirm(t, late, latePage)
		if page.Status != http.StatusGone || page.H1() != linkGone {
			t.Errorf("%d %s", page.Status, page.Text())
		}
		expectShut(t, s, late)
	})
	t.Run("a new link", func(t *testing.T) {
		out := s.CLI("mfa", "setup-link")
		if out.Code == 0 || !strings.Contains(out.Stderr, "somebody is set up already") {
			t.Errorf("%+v", out)
		}
	})
	t.Run("a link that was made up", func(t *testing.T) {
		for _, path := range []string{"/setup", "/setup?token=", "/setup?token=" + strings.Repeat("A", 43), "/invitation?token=%00"} {
			expectGone(t, s, s.At("login", path))
		}
	})
	if out := expectDone(t, s, "mfa", "user", "list", "--json"); strings.Contains(out.Stdout, "eve") || strings.Count(out.Stdout, `"name"`) != 1 {
		t.Errorf("there are %s", out.Stdout)
	}
}

func TestInvitations(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{})
	s.Administrator("root")

	t.Run("a new one voids the older", func(t *testing.T) {
		older := s.Invitation("bob")
		half, page := opened(t, s, older)
		page = choose(half, page, map[string]string{"new-password": scene.Password("bob")})
		newer := s.Link("mfa", "user", "invite", "bob", "--json")
		expectGone(t, s, older)
		if page := confirm(t, half, page); page.Status != http.StatusGone {
			t.Errorf("a set-up by the older one, begun before: %d %s", page.Status, page.Text())
		}
		expectShut(t, s, half)
		s.SetUp("bob", newer)
		expectGone(t, s, newer)
	})
	t.Run("of somebody who is set up", func(t *testing.T) {
		if out := s.CLI("mfa", "user", "invite", "bob"); out.Code == 0 || !strings.Contains(out.Stderr, "the user has set up already, or is disabled") {
			t.Errorf("%+v", out)
		}
	})
	t.Run("of somebody who is disabled", func(t *testing.T) {
		link := s.Invitation("carol")
		half, page := opened(t, s, link)
		page = choose(half, page, map[string]string{"new-password": scene.Password("carol")})
		expectDone(t, s, "mfa", "user", "disable", "carol")
		expectGone(t, s, link)
		if page := confirm(t, half, page); page.Status != http.StatusGone {
			t.Errorf("a set-up begun before: %d %s", page.Status, page.Text())
		}
		if out := s.CLI("mfa", "user", "invite", "carol"); out.Code == 0 {
			t.Errorf("a disabled user is invited: %+v", out)
		}
		expectDone(t, s, "mfa", "user", "enable", "carol")
		// Whoever disabled somebody doesn't want what went out before to work.
		expectGone(t, s, link)
		s.SetUp("carol", s.Link("mfa", "user", "invite", "carol", "--json"))
	})
	t.Run("the name is the administrator's choice", func(t *testing.T) {
		browser, page := opened(t, s, s.Invitation("dora"))
		form := page.Form("new-password")
		choose(browser, page, nil)
		hops := browser.Follow(browser.PostForm(form.Action.String(), url.Values{
			"flow": {form.Value("flow")}, "name": {"root"}, "password": {scene.Password("dora")},
			"groups": {"admins"}, "status": {"active"},
		}))
		if page := confirm(t, browser, hops[len(hops)-1]); page.Status != http.StatusOK {
			t.Fatalf("%d %s", page.Status, page.Text())
		}
		out := expectDone(t, s, "mfa", "user", "show", "dora", "--json")
		if !strings.Contains(out.Stdout, `"groups":[]`) || !strings.Contains(out.Stdout, `"status":"active"`) {
			t.Errorf("%s", out.Stdout)
		}
	})
}

// TestO03UnconfirmedEnrolment breaks off a set-up at each step: nothing of it
// is good for anything, and all of it can be taken up again.
func TestO03UnconfirmedEnrolment(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{})
	link := s.SetupLink()
	password := scene.Password("ada")
	s.Canary(password)

	browser, page := opened(t, s, link)
	if !strings.Contains(page.Text(), "1 of 3") {
		t.Errorf("the first step says: %s", page.Text())
	}
	page = choose(browser, page, map[string]string{"name": "Ada", "new-password": password})
	secret := scene.SecretOn(page)
	s.Canary(secret)
	if secret == "" || !strings.Contains(page.Text(), "2 of 3") {
		t.Fatalf("the second step says: %s", page.Text())
	}

	t.Run("before the authenticator", func(t *testing.T) {
		stranger := s.Client()
		page := send(t, stranger, guess{name: "ada", password: password}.asRequest(s))
		if page.Status != http.StatusServiceUnavailable || page.H1() != notSetUp {
			t.Errorf("signing in with the new password: %d %s", page.Status, page.Text())
		}
		if out := expectDone(t, s, "mfa", "user", "list", "--json"); strings.TrimSpace(out.Stdout) != "[]" {
			t.Errorf("there are %s", out.Stdout)
		}
		expectShut(t, s, browser)
	})
	t.Run("a key of the client's own choice", func(t *testing.T) {
		const own = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
		form := answer(flowOn(page), "totp", harness.TOTP(t, own, time.Now()))
		for _, field := range []string{"secret", "key", "state", "uri"} {
			form.Set(field, own)
		}
		led := send(t, browser, formPost(s, "/flow/enrol", form, ""))
		if led.Status != http.StatusUnprocessableEntity || scene.SecretOn(led) != secret {
			t.Errorf("%d %s", led.Status, led.Text())
		}
	})
	t.Run("the second step again, and the first in between", func(t *testing.T) {
		again := browser.Visit(page.URL.String())
		if scene.SecretOn(again) != secret {
			t.Error("a reload shows another key")
		}
		s.Restart()
		again = browser.Visit(page.URL.String())
		if scene.SecretOn(again) != secret {
			t.Errorf("a restart of the server lost the key: %d %s", again.Status, again.Text())
		}
		// Who lost the tab opens the link once more.
		elsewhere, first := opened(t, s, link)
		second := choose(elsewhere, first, map[string]string{"name": "ada", "new-password": password})
		if other := scene.SecretOn(second); other == "" || other == secret {
			t.Errorf("another browser sees the key %q", other)
		}
		s.Canary(scene.SecretOn(second))
	})

	page = confirm(t, browser, page)
	if len(scene.CodesOn(page)) != 10 || !strings.Contains(page.Text(), "3 of 3") {
		t.Fatalf("the third step says: %s", page.Text())
	}
	shown := scene.CodesOn(page)
	s.Canary(shown...)

	t.Run("before the backup codes are saved", func(t *testing.T) {
		if again := browser.Visit(page.URL.String()); strings.Join(scene.CodesOn(again), " ") != strings.Join(shown, " ") {
			t.Error("a reload shows other codes")
		}
		if file := browser.Get(page.Link("Download")); file.Status != http.StatusOK || strings.Join(scene.CodesOn(file), " ") != strings.Join(shown, " ") ||
			!strings.Contains(file.Header.Get("Content-Disposition"), "attachment") {
			t.Errorf("the file: %d %v %s", file.Status, file.Header, file.Body)
		}
		unticked := send(t, browser, formPost(s, "/flow/enrol", url.Values{"flow": {flowOn(page)}, "factor": {"backup_code"}}, ""))
		if unticked.Status != http.StatusUnprocessableEntity || !strings.Contains(unticked.Text(), "Save the codes first, then tick the box.") {
			t.Errorf("without the tick: %d %s", unticked.Status, unticked.Text())
		}
		expectShut(t, s, browser)
	})
	t.Run("broken off there, asked again at the next sign-in", func(t *testing.T) {
		ada := s.Client()
		at := ada.Visit(s.At("app", "/deep?x=1"))
		hops := ada.Follow(ada.Submit(at.Form("current-password"), map[string]string{"username": "ada", "current-password": password}))
		at = hops[len(hops)-1]
		// The codes that were shown and not saved are good for nothing.
		if refused := send(t, ada, formPost(s, "/flow/challenge", answer(flowOn(at), "backup_code", shown[0]), "")); refused.Status != http.StatusConflict {
			t.Errorf("a code that nobody saved: %d %s", refused.Status, refused.Text())
		}
		hops = ada.Follow(ada.Submit(at.Form("one-time-code"), map[string]string{
			"one-time-code": harness.TOTP(t, secret, time.Now().Add(period)),
		}))
		at = hops[len(hops)-1]
		fresh := scene.CodesOn(at)
		if at.H1() != "Save your backup codes" || len(fresh) != 10 || fresh[0] == shown[0] {
			t.Fatalf("the sign-in led to %d %q with %d codes", at.Status, at.H1(), len(fresh))
		}
		s.Canary(fresh...)
		expectShut(t, s, s.Client())
		s.App.Reset()
		hops = ada.Follow(ada.Submit(at.Form("saved"), map[string]string{"saved": "yes"}))
		if at = hops[len(hops)-1]; at.H1() != "Hello ada" || at.URL.String() != s.At("app", "/deep?x=1") {
			t.Errorf("after saving: %d %s", at.Status, at.URL)
		}
		// Once saved, they are not asked for again, and they work.
		other := s.Client()
		at = other.Visit(s.At("app", "/"))
		hops = other.Follow(other.Submit(at.Form("current-password"), map[string]string{"username": "ada", "current-password": password}))
		at = other.Visit(hops[len(hops)-1].Link("Use a backup code"))
		hops = other.Follow(other.Submit(at.Form("one-time-code"), map[string]string{"one-time-code": fresh[0]}))
		if at = hops[len(hops)-1]; at.H1() != "Hello ada" {
			t.Errorf("a saved code led to %d %s", at.Status, at.Text())
		}
	})
}

// TestPasswordsThatCantBeChosen asks for what guessers try first.
func TestPasswordsThatCantBeChosen(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{})
	browser, page := opened(t, s, s.SetupLink())
	for _, c := range []struct{ what, name, password, says string }{
		{"none", "ada", "", "Enter a password of at least 8 characters."},
		{"short", "ada", "kJ#9xwq", "That password has 7 characters. Use at least 8."},
		{"too long", "ada", strings.Repeat("long ago ", 15), "That password is too long. Use at most 128 characters."},
		{"a common one", "ada", "password1", "That password is a common one, or a common word"},
		{"the user's own name", "lovelace", "lovelace1815", "made of your own name"},
		{"the brand", "ada", "Portcullis2", "made of the name of this service"},
		{"no name", "", "lantern orchard 57", "Enter a user name."},
		{"a name with a space", "ada l", "lantern orchard 57", "can't contain spaces"},
		{"an address for a name", "ada@example.com", "lantern orchard 57", "can't contain @"},
	} {
		t.Run(c.what, func(t *testing.T) {
			refused := choose(browser, page, map[string]string{"name": c.name, "new-password": c.password})
			if refused.Status != http.StatusUnprocessableEntity || !strings.Contains(refused.Text(), c.says) {
				t.Errorf("%d %s", refused.Status, refused.Text())
			}
			if c.password != "" && strings.Contains(refused.Body, c.password) {
				t.Error("the page gives the password back")
			}
		})
	}
	t.Run("what may be chosen", func(t *testing.T) {
		for _, password := range []string{"kJ#9xwqT", "é zwölf ñu", strings.Repeat("long ago ", 14)} {
			led := choose(browser, page, map[string]string{"name": "ada", "new-password": password})
			if led.Status != http.StatusOK || scene.SecretOn(led) == "" {
				t.Errorf("%q: %d %s", password, led.Status, led.Text())
			}
			page = browser.Visit(s.SetupLink())
		}
	})
}
