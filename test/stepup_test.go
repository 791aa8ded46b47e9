package test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// challenge is what a script is told that has to be proven first.
type challenge struct {
	Type     string
	Status   int
	Required struct{ Assurance string }
	SignIn   string `json:"sign_in_url"`
}

// challenged asks as a script of the host's own page, and returns what it was
// told.
func challenged(t *testing.T, s *scene.Scene, browser *harness.Client, host, path string) challenge {
	t.Helper()
	page := send(t, browser, harness.Request{URL: s.At(host, path), Mode: harness.Fetch, From: s.At(host, "/page?of=script")})
	var told challenge
	if err := json.Unmarshal([]byte(page.Body), &told); err != nil {
		t.Fatalf("%s answered a script %d %q: %v", host, page.Status, page.Body, err)
	}
	if kind := page.Header.Get("Content-Type"); page.Status != http.StatusUnauthorized || told.Status != page.Status || kind != "application/problem+json" {
		t.Errorf("%s answered a script %d as %s: %s", host, page.Status, kind, page.Body)
	}
	return told
}

// TestS06StepUp signs in by the password alone and then shows more at one host:
// that host's new cookie has the new rights, and nothing that was there before.
func TestS06StepUp(t *testing.T) {
	t.Parallel()
	s := startLive(t)
	s.Administrator("root")
	ada := s.Invited("ada", "staff")
	browser := s.Client()
	landed(t, ada.ShowPassword(browser, browser.Visit(s.At("solo", "/"))), s.At("solo", "/"))
	landed(t, browser.Visit(s.At("twin", "/")), s.At("twin", "/"))
	before, signOn := browser.Clone(), signOnOf(t, s, "ada")
	old := browser.Cookie(s.At("solo", "/"), sessionCookie)
	s.Canary(old)
	streams := []stream{
		{Live: browser.Download(t, harness.Request{URL: s.At("solo", "/events/one"), Header: http.Header{"Accept": {"text/event-stream"}}}), what: "events", uri: "/events/one", app: s.App},
		{Live: browser.WebSocket(t, s.At("twin", "/socket/one"), false), what: "a WebSocket", uri: "/socket/one", app: s.App},
	}

	s.App.Reset()
	told := challenged(t, s, browser, "solo", "/deep/api")
	if !strings.HasSuffix(told.Type, "#fresh-check-required") || told.Required.Assurance != "multi" || !strings.HasPrefix(told.SignIn, s.At("solo", "/.mfa/")) {
		t.Errorf("the challenge is %+v", told)
	}
	s.App.ExpectNone(t)

	// The script sends its window there, which comes back to the script's page.
	page, err := browser.Send(harness.Request{URL: told.SignIn, From: s.At("solo", "/page?of=script")})
	if err != nil {
		t.Fatal(err)
	}
	hops := browser.Follow(page)
	form := hops[len(hops)-1]
	if form.Form().Has("current-password") {
		t.Errorf("the password is asked for again: %s", form.Text())
	}
	s.App.ExpectNone(t)
	landed(t, ada.ShowCode(browser, form, ada.Code()), s.At("solo", "/page?of=script"))
	if now := browser.Cookie(s.At("solo", "/"), sessionCookie); now == old || now == "" {
		t.Error("the step-up gave no new cookie")
	}
	if signOn != signOnOf(t, s, "ada") || sessionsOf(t, s, "ada") != 2 {
		t.Errorf("the sign-on is not %s any more, or not beside the one of the set-up alone", signOn)
	}
	expectOn(t, streams)

	s.App.Reset()
	script := func(browser *harness.Client, host, path string, want int) {
		t.Helper()
		page := send(t, browser, harness.Request{URL: s.At(host, path), Mode: harness.Fetch, From: s.At(host, "/")})
		if page.Status != want {
			t.Errorf("%s%s answered %d, not %d: %s", host, path, page.Status, want, page.Body)
		}
	}
	script(browser, "solo", "/deep/new", http.StatusOK)
	s.App.ExpectOne(t)
	s.App.Reset()
	script(before, "solo", "/deep/old", http.StatusUnauthorized)
	script(before, "twin", "/deep/old", http.StatusUnauthorized)
	script(browser, "twin", "/deep/other", http.StatusUnauthorized)
	asksToSignInOrCode(t, before.Visit(s.At("login", "/")))
	s.App.ExpectNone(t)
	script(before, "solo", "/old", http.StatusOK)
	script(browser, "twin", "/other", http.StatusOK)
	if seen := s.App.Requests(); len(seen) != 2 {
		t.Errorf("the app saw %d requests, not those two that the old cookies are good for", len(seen))
	}

	// The portal knows of the proof, so the other host's cookie costs nothing.
	landed(t, browser.Visit(s.At("twin", "/deep/page")), s.At("twin", "/deep/page"))
}

// asksToSignInOrCode fails the test where a page is anything else.
func asksToSignInOrCode(t *testing.T, page *harness.Page) {
	t.Helper()
	if form := page.Form(); !form.Has("current-password") && !form.Has("one-time-code") {
		t.Errorf("%d %s: %s", page.Status, page.URL, page.Text())
	}
}
