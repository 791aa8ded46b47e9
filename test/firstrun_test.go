package test

import (
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/test/scene"
)

// TestTheMainJob goes the whole way as somebody without JavaScript: set up,
// open an app, open another, be refused where only administrators may be, and
// sign out of everything.
func TestTheMainJob(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{})
	stranger := s.Client()
	for _, address := range []string{s.At("app", "/hello"), s.At("login", "/"), s.At("login", "/sign-in"), s.At("login", "/account")} {
		page := stranger.Visit(address)
		if page.Status != 503 || page.H1() != notSetUp || !strings.Contains(page.Text(), "caddy mfa setup-link") {
			t.Errorf("before anybody has set up, %s ended at %d %s: %s", address, page.Status, page.URL, page.Text())
		}
	}
	s.App.ExpectNone(t)

	admin := s.Administrator("ada")
	page := admin.Browser.Visit(s.At("app", "/hello?x=1"))
	if page.Status != 200 || page.URL.String() != s.At("app", "/hello?x=1") {
		t.Fatalf("the administrator's own browser ended at %d %s: %s", page.Status, page.URL, page.Text())
	}
	if home := admin.Browser.Visit(s.At("login", "/")).Text(); !strings.Contains(home, "admin.localhost") {
		t.Errorf("the first page doesn't offer the administrator's app: %s", home)
	}
	seen := s.App.ExpectOne(t)
	if got := seen.Header.Get("Remote-User"); got != "ada" {
		t.Errorf("the app was told of %q", got)
	}
	if got := seen.Header.Get("Remote-Groups"); got != "admins" {
		t.Errorf("the app was told of the groups %q", got)
	}
	if got := seen.Header.Get("Cookie"); strings.Contains(got, "__Host-mfa") {
		t.Errorf("the app got our cookies: %s", got)
	}

	bob := s.Invited("bob", "engineers")
	elsewhere := s.Client()
	s.App.Reset()
	if page := bob.SignIn(elsewhere, s.At("app", "/a")); page.Status != 200 || page.URL.Path != "/a" {
		t.Fatalf("bob ended at %d %s: %s", page.Status, page.URL, page.Text())
	}
	if got := s.App.ExpectOne(t).Header.Get("Remote-User"); got != "bob" {
		t.Errorf("the app was told of %q", got)
	}
	page = elsewhere.Visit(s.At("admin", "/secret"))
	if page.Status != 403 || !strings.Contains(page.Text(), "bob") {
		t.Errorf("bob at admin: %d %s", page.Status, page.Text())
	}
	s.Admin.ExpectNone(t)

	home := elsewhere.Visit(s.At("login", "/")).Text()
	if !strings.Contains(home, "app.localhost") || strings.Contains(home, "admin.localhost") {
		t.Errorf("the first page offers bob what he can't open, or not what he can: %s", home)
	}

	page = elsewhere.Visit(s.At("app", "/.mfa/sign-out"))
	page = elsewhere.Submit(page.Form(), nil)
	if page.Status != 200 || !strings.Contains(page.Text(), "signed out") {
		t.Errorf("signing out: %d %s", page.Status, page.Text())
	}
	s.App.Reset()
	if page := elsewhere.Visit(s.At("app", "/a")); page.H1() != "Sign in" {
		t.Errorf("after signing out: %d %s", page.Status, page.Text())
	}
	s.App.ExpectNone(t)
}
