package test

import (
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// TestX03 lets the disk down under a running server: what can't be recorded is
// not granted, whoever is in stays in, and all goes on when the disk does.
func TestX03DiskFullOrReadOnly(t *testing.T) {
	t.Parallel()
	caddyfile := strings.ReplaceAll(waysCaddyfile, "\tlog\n", "")
	start := func(t *testing.T, caddyfile string) *scene.Scene {
		return scene.Start(t, scene.Options{Caddyfile: caddyfile})
	}
	t.Run("files that may not grow", func(t *testing.T) {
		s := start(t, caddyfile)
		disk := s.LimitedFiles()
		withFaultyDisk(t, s, disk)
		keys := read(t, keysIn(s))
		disk = s.LimitedFiles() // of the process that runs now
		disk.Break()
		if out := s.CLI("mfa", "keys", "rotate"); out.Code == 0 || string(read(t, keysIn(s))) != string(keys) {
			t.Errorf("keys were rotated that can't be stored: %+v", out)
		}
		disk.Mend()
		expectDone(t, s, "mfa", "keys", "rotate")
	})
	t.Run("a full disk", func(t *testing.T) {
		disk := harness.SmallDisk(t)
		s := start(t, strings.Replace(caddyfile, "\t\tcontact", "\t\tstore sqlite "+filepath.Join(disk.Folder, "store.db")+"\n\t\tcontact", 1))
		withFaultyDisk(t, s, disk)
	})
	t.Run("a disk that is read-only", func(t *testing.T) {
		s := start(t, caddyfile)
		withFaultyDisk(t, s, s.ReadOnlyFiles(storeIn(s), storeIn(s)+"-wal"))
	})
}

var referenceOnPage = regexp.MustCompile(`\bReference ([0-9A-Z]{4}-[0-9A-Z]{4})\b`)

// fullDisk is what the log says of a full disk, among other things.
const fullDisk = "looking after the store"

func withFaultyDisk(t *testing.T, s *scene.Scene, disk *harness.Disk) {
	ada := s.Administrator("ada")
	bob := s.Invited("bob")
	for _, host := range []string{"app", "admin"} {
		landed(t, ada.Browser.Visit(s.At(host, "/")), s.At(host, "/"))
	}
	half := newHalfWay(t, s, bob)
	// On a full disk, room is kept for them to lose what they have.
	leaver, banned := s.Invited("lea", "admins"), s.Invited("ben", "admins")
	for _, p := range []*scene.Person{leaver, banned} {
		landed(t, p.Browser.Visit(s.At("app", "/")), s.At("app", "/"))
	}
	expectOut := func() {
		t.Helper()
		for _, p := range []*scene.Person{leaver, banned} {
			asksNobody(t, p.Browser.Get(s.At("app", "/")))
		}
	}
	full := disk.Folder != ""

	for range 2 {
		disk.Break()
		s.App.Reset()
		s.Admin.Reset()
		half.expectUnrecorded(t)
		expectNothingNew(t, s, ada, full)
		for _, recorder := range []*harness.Recorder{s.App, s.Admin} {
			recorder.ExpectNone(t)
		}
		staysIn(t, s, ada)
		switch {
		case !full:
			if out := s.CLI("mfa", "user", "disable", "bob"); out.Code == 0 {
				t.Errorf("a user was disabled, but that can't be recorded: %+v", out)
			}
			if out := s.CLI("mfa", "health"); out.Code != 1 || !strings.Contains(out.Stderr, "store: ") {
				t.Errorf("the server finds itself well: %+v", out)
			}
		case countLines(s, fullDisk) == 0: // for the first time
			signOut(t, s, leaver.Browser.Clone())
			expectDone(t, s, "mfa", "user", "disable", "ben")
			expectOut()
			half.expectUnrecorded(t)
			harness.Eventually(t, time.Minute, "the log to tell of it", func() bool { return countLines(s, fullDisk) > 0 })
		}
		disk.Mend()
		staysIn(t, s, ada)
	}
	// Nothing was spent meanwhile: each goes on with what it had.
	half.finish(t)
	landed(t, signInByBackupCode(bob, s.Client(), s.At("app", "/again")), s.At("app", "/again"))
	expectDone(t, s, "mfa", "user", "disable", "bob")
	expectDone(t, s, "mfa", "user", "enable", "bob")
	if out := expectDone(t, s, "mfa", "health"); out.Stdout != "store: ok\nclock: ok\nchanges: ok\nkeys: ok\n" {
		t.Errorf("health: %q", out.Stdout)
	}
	signOut(t, s, ada.Browser)
	asksNobody(t, ada.Browser.Get(s.At("app", "/")))
	s.Restart()
	landed(t, signInByBackupCode(bob, s.Client(), s.At("app", "/")), s.At("app", "/"))
	asksNobody(t, ada.Browser.Get(s.At("app", "/")))
	if full {
		expectOut()
	}
}

func staysIn(t *testing.T, s *scene.Scene, p *scene.Person) {
	t.Helper()
	for _, host := range []string{"app", "admin"} {
		if page := p.Browser.Get(s.At(host, "/still")); page.Status != http.StatusOK {
			t.Errorf("%s isn't in at %s any more: %d, to %s", p.Name, host, page.Status, page.Location())
		}
	}
	if page := p.Browser.Get(s.At("login", "/")); page.Status != http.StatusOK {
		t.Errorf("%s isn't in at the portal any more: %d, to %s", p.Name, page.Status, page.Location())
	}
}

func signOut(t *testing.T, s *scene.Scene, browser *harness.Client) *harness.Page {
	t.Helper()
	return browser.Submit(browser.Visit(s.At("login", "/sign-out")).Form(), nil)
}

// expectNothingNew asks for what a person who is signed in may do, and which has
// to be recorded.
func expectNothingNew(t *testing.T, s *scene.Scene, p *scene.Person, full bool) {
	t.Helper()
	expectUnrecorded(t, s, "a session at another app", p.Browser.Visit(s.At("solo", "/")))
	if !full {
		expectUnrecorded(t, s, "signing out", signOut(t, s, p.Browser))
	}
}

// expectUnrecorded fails the test unless the answer says that something went
// wrong, by a reference that is in the log, and grants nothing.
func expectUnrecorded(t *testing.T, s *scene.Scene, what string, page *harness.Page) {
	t.Helper()
	found := referenceOnPage.FindStringSubmatch(page.Text())
	if page.Status != http.StatusServiceUnavailable || found == nil || page.Header.Get("Retry-After") == "" {
		t.Errorf("%s: %d %s: %s", what, page.Status, page.URL, page.Text())
		return
	}
	for _, cookie := range page.Cookies() {
		if cookie.MaxAge >= 0 && !strings.HasPrefix(cookie.Name, stateCookie) {
			t.Errorf("%s: the cookie %s is set", what, cookie.Name)
		}
	}
	s.AwaitLog("the reference "+found[1], func(entry harness.LogEntry) bool { return entry.Text("reference") == found[1] })
}

// halfWay is people who are in the middle of everything.
type halfWay struct {
	s       *scene.Scene
	bob     *scene.Person
	signIn  harness.Form // asks for a code
	stepUp  harness.Form
	enrol   harness.Form
	codes   [2]string
	new     *scene.Person
	browser struct{ signIn, stepUp, fresh *harness.Client }
}

func newHalfWay(t *testing.T, s *scene.Scene, bob *scene.Person) *halfWay {
	t.Helper()
	h := &halfWay{s: s, bob: bob}
	h.browser.signIn, h.browser.stepUp, h.browser.fresh = s.Client(), s.Client(), s.Client()
	backup := func(browser *harness.Client, page *harness.Page) harness.Form {
		return browser.Visit(page.Link("Use a backup code")).Form("one-time-code")
	}
	h.signIn = backup(h.browser.signIn, bob.ShowPassword(h.browser.signIn, h.browser.signIn.Visit(s.At("app", "/in"))))
	landed(t, bob.ShowPassword(h.browser.stepUp, h.browser.stepUp.Visit(s.At("solo", "/"))), s.At("solo", "/"))
	h.stepUp = backup(h.browser.stepUp, h.browser.stepUp.Visit(s.At("app", "/up")))
	h.codes = [2]string{bob.SpendBackupCode(), bob.SpendBackupCode()}

	h.new = s.Newcomer("cleo", s.Client())
	page := h.new.Browser.Visit(s.Invitation("cleo"))
	page = h.new.Browser.Submit(page.Form("new-password"), map[string]string{"new-password": h.new.Password})
	hops := h.new.Browser.Follow(page)
	page = hops[len(hops)-1]
	h.new.Secret = scene.SecretOn(page)
	s.Canary(h.new.Password, h.new.Secret)
	h.enrol = page.Form("one-time-code")
	return h
}

// expectUnrecorded has everybody go on.
func (h *halfWay) expectUnrecorded(t *testing.T) {
	t.Helper()
	expectUnrecorded(t, h.s, "the code of a sign-in", h.browser.signIn.Submit(h.signIn, map[string]string{"one-time-code": h.codes[0]}))
	expectUnrecorded(t, h.s, "the code of a step-up", h.browser.stepUp.Submit(h.stepUp, map[string]string{"one-time-code": h.codes[1]}))
	expectUnrecorded(t, h.s, "the code of a set-up", h.new.Browser.Submit(h.enrol, map[string]string{"one-time-code": h.new.Code()}))
	expectUnrecorded(t, h.s, "a password", h.bob.ShowPassword(h.browser.fresh, h.browser.fresh.Visit(h.s.At("login", "/sign-in"))))
}

// finish has everybody go on to the end.
func (h *halfWay) finish(t *testing.T) {
	t.Helper()
	follow := func(browser *harness.Client, page *harness.Page) *harness.Page {
		hops := browser.Follow(page)
		return hops[len(hops)-1]
	}
	landed(t, follow(h.browser.signIn, h.browser.signIn.Submit(h.signIn, map[string]string{"one-time-code": h.codes[0]})), h.s.At("app", "/in"))
	landed(t, follow(h.browser.stepUp, h.browser.stepUp.Submit(h.stepUp, map[string]string{"one-time-code": h.codes[1]})), h.s.At("app", "/up"))
	page := follow(h.new.Browser, h.new.Browser.Submit(h.enrol, map[string]string{"one-time-code": h.new.Code()}))
	h.new.BackupCodes = scene.CodesOn(page)
	h.s.Canary(h.new.BackupCodes...)
	page = follow(h.new.Browser, h.new.Browser.Submit(page.Form("saved"), map[string]string{"saved": "yes"}))
	landed(t, page, h.s.At("login", "/"))
	for i, browser := range []*harness.Client{h.browser.signIn, h.browser.stepUp} {
		thief := h.s.Client()
		page := h.bob.ShowPassword(thief, thief.Visit(h.s.At("app", "/")))
		page = h.bob.ShowCode(thief, thief.Visit(page.Link("Use a backup code")), h.codes[i])
		if page.Status != http.StatusUnprocessableEntity {
			t.Errorf("a code that was spent by %v led to %d %s", browser.Cookies(h.s.At("app", "/")), page.Status, page.URL)
		}
	}
}
