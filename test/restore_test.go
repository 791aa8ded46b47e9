package test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// renewed is what the log says where a store may have been brought back.
const renewed = "everybody has to sign in again"

// keeping is a way to keep the keys, and where they and the mark are then.
type keeping struct {
	name, caddyfile string
	keys, mark      func(*scene.Scene) string
}

var keepings = []keeping{
	{"keys in Caddy's storage", "", keysIn, func(s *scene.Scene) string { return filepath.Join(s.DataDir(), "portcullis", "mark.json") }},
	{
		"keys in a file", keyFileCaddyfile,
		func(s *scene.Scene) string { return filepath.Join(s.Dir(), "keys.json") },
		func(s *scene.Scene) string { return filepath.Join(s.Dir(), "keys.json.mark") },
	},
}

// storeFiles are what an operator copies of a store that is not in use.
func storeFiles(s *scene.Scene) []string { return []string{storeIn(s), storeIn(s) + "-wal"} }

// copyAside returns the store's files as they are, by path.
func copyAside(t *testing.T, s *scene.Scene) map[string][]byte {
	t.Helper()
	copied := make(map[string][]byte)
	for _, path := range storeFiles(s) {
		content, err := os.ReadFile(path)
		if err == nil {
			copied[path] = content
		} else if !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return copied
}

// removeStore removes all that belongs to the store.
func removeStore(t *testing.T, s *scene.Scene) {
	t.Helper()
	for _, path := range append(storeFiles(s), storeIn(s)+"-shm") {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

func bringBack(t *testing.T, s *scene.Scene, copied map[string][]byte) {
	t.Helper()
	removeStore(t, s)
	for path, content := range copied {
		write(t, path, content)
	}
}

// markedPosition is the position that the mark names.
func markedPosition(t *testing.T, path string) int64 {
	t.Helper()
	var mark struct{ Position int64 }
	if err := json.Unmarshal(read(t, path), &mark); err != nil {
		t.Fatal(err)
	}
	return mark.Position
}

func countLines(s *scene.Scene, message string) (count int) {
	for _, entry := range s.LogEntries() {
		if entry.Text("msg") == message {
			count++
		}
	}
	return count
}

// S07: a copy of the store from before something was ended brings nothing of it
// back, and nobody is kept from signing in.
func TestS07OlderCopyBroughtBack(t *testing.T) {
	t.Parallel()
	t.Run(keepings[0].name+", stopped", func(t *testing.T) { testOlderCopy(t, keepings[0], false) })
	t.Run(keepings[1].name+", killed", func(t *testing.T) { testOlderCopy(t, keepings[1], true) })
}

func testOlderCopy(t *testing.T, keeping keeping, killed bool) {
	s := scene.Start(t, scene.Options{Caddyfile: keeping.caddyfile})
	ada := s.Administrator("ada")
	bob := s.Invited("bob", "admins")
	slots, values := cookieThief(t, s, ada)
	for _, p := range []*scene.Person{ada, bob} {
		landed(t, p.Browser.Visit(s.At("app", "/")), s.At("app", "/"))
	}
	leaver := bob.Browser.Clone()
	s.Stop()
	older := copyAside(t, s)
	s.Restart()
	before := markedPosition(t, keeping.mark(s))

	signOut(t, s, leaver)
	if killed {
		// The mark follows within seconds.
		harness.Eventually(t, time.Minute, "the mark to move", func() bool { return markedPosition(t, keeping.mark(s)) > before })
		s.Kill()
	} else {
		s.Stop()
	}
	bringBack(t, s, older)
	s.Restart()
	if countLines(s, renewed) != 1 {
		t.Error("the log doesn't say that everybody has to sign in again")
	}
	refuseAll := func() {
		t.Helper()
		s.App.Reset()
		s.Admin.Reset()
		connection := &wire{target: s.Raw("web")}
		defer connection.close()
		for i, at := range slots {
			if at.name == flowCookie {
				continue // a flow is no session: it asks for all that it did
			}
			if response := connection.ask(s, at, values[i]); !at.refused(response) {
				t.Errorf("%s at %s: %d, %v", at.name, at.host, response.Status, response.Err)
			}
		}
		for _, browser := range []*harness.Client{ada.Browser, bob.Browser} {
			asksNobody(t, browser.Get(s.At("app", "/")))
			asksToSignIn(t, browser.Clone().Visit(s.At("login", "/")))
		}
		s.App.ExpectNone(t)
		s.Admin.ExpectNone(t)
	}
	refuseAll()
	for _, p := range []*scene.Person{ada, bob} {
		browser := s.Client()
		landed(t, signInByBackupCode(p, browser, s.At("app", "/")), s.At("app", "/"))
		// Once is enough: who signs in now stays so over the next start.
		s.Restart()
		stillSignedIn(t, s, browser)
	}
	refuseAll()
	if countLines(s, renewed) != 1 {
		t.Error("sessions were ended again without need")
	}
	// The very copy that was renewed before is in doubt, too.
	s.Stop()
	bringBack(t, s, older)
	s.Restart()
	refuseAll()
	if countLines(s, renewed) != 2 {
		t.Error("brought back once more, it is taken for the store that it was")
	}
}

// A copy from which nothing is missing ends nothing: moving a store, or putting
// back the copy that was made a moment ago, is no reason to sign in again.
func TestS07CopyFromWhichNothingIsMissing(t *testing.T) {
	t.Parallel()
	for _, keeping := range keepings {
		t.Run(keeping.name, func(t *testing.T) {
			s := scene.Start(t, scene.Options{Caddyfile: keeping.caddyfile})
			ada := s.Administrator("ada")
			landed(t, ada.Browser.Visit(s.At("app", "/")), s.At("app", "/"))
			s.Stop()
			same := copyAside(t, s)
			for range 2 {
				s.Restart()
				stillSignedIn(t, s, ada.Browser)
				s.Stop()
				bringBack(t, s, same)
			}
			s.Restart()
			stillSignedIn(t, s, ada.Browser)
			s.Kill()
			bringBack(t, s, same)
			s.Restart()
			stillSignedIn(t, s, ada.Browser)
			if countLines(s, renewed) != 0 {
				t.Error("sessions were ended without need")
			}
		})
	}
}

// X04: a mark that can't be read ends all sessions, and stops no service; one
// that isn't there is made, and one that can't be kept is an error of the start.
func TestX04Mark(t *testing.T) {
	t.Parallel()
	keeping := keepings[1]
	s := scene.Start(t, scene.Options{Caddyfile: keeping.caddyfile})
	ada := s.Administrator("ada")
	path := keeping.mark(s)
	for i, content := range []string{"", "\x00\xff no mark", `{"position":-1}`} {
		s.Stop()
		write(t, path, []byte(content))
		s.Restart()
		asksNobody(t, ada.Browser.Get(s.At("app", "/")))
		if countLines(s, renewed) != i+1 {
			t.Errorf("with the mark %q the log doesn't say that everybody has to sign in again", content)
		}
		ada.Browser = later(s, ada.Browser)
		landed(t, signInByBackupCode(ada, ada.Browser, s.At("app", "/")), s.At("app", "/"))
	}
	s.Restart()
	stillSignedIn(t, s, ada.Browser)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the mark: %v, %v", info, err)
	}

	said := countLines(s, renewed)
	s.Stop()
	at := markedPosition(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	s.Restart()
	stillSignedIn(t, s, ada.Browser)
	s.Stop()
	if markedPosition(t, path) < at || countLines(s, renewed) != said {
		t.Error("without a mark, none was made, or sessions ended")
	}

	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	if refusal := s.MustRefuseRestart(); !containsAll(refusal, "mark", filepath.Base(path), "directory") {
		t.Errorf("the refusal is %q", refusal)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	s.Restart()
	landed(t, signInByBackupCode(ada, s.Client(), s.At("app", "/")), s.At("app", "/"))
	testStoreLost(t, s, ada)
}

// testStoreLost is X04 under a running server: once the store's file is gone,
// nobody is let in, since nothing could be recorded. What it held is put aside.
func testStoreLost(t *testing.T, s *scene.Scene, p *scene.Person) {
	t.Helper()
	const noticed = "looking after the store"
	browser := later(s, p.Browser)
	landed(t, signInByBackupCode(p, browser, s.At("app", "/")), s.At("app", "/"))
	if err := os.Remove(storeIn(s)); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, time.Minute, "the loss to be noticed", func() bool { return countLines(s, noticed) > 0 })
	if !containsAll(s.Log(), "was removed while the server was running", storeIn(s)+".rescued") {
		t.Error("the log doesn't say what happened")
	}
	s.App.Reset()
	for _, address := range []string{s.At("app", "/"), s.At("login", "/")} {
		if page := browser.Get(address); page.Status != http.StatusServiceUnavailable {
			t.Errorf("%s is answered %d", address, page.Status)
		}
	}
	if out := s.CLI("mfa", "user", "disable", p.Name); out.Code == 0 {
		t.Errorf("somebody is disabled in a store that is lost: %+v", out)
	}
	s.App.ExpectNone(t)

	if refusal := s.MustRefuseRestart(); !containsAll(refusal, "there is no store", "put its file back") {
		t.Errorf("the refusal is %q", refusal)
	}
	if err := os.Rename(storeIn(s)+".rescued", storeIn(s)); err != nil {
		t.Fatal(err)
	}
	s.Restart()
	stillSignedIn(t, s, browser)
}

// S07, continued: a store that begins anew goes on like any other.
func TestS07EmptiedStoreGoesOn(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{})
	ada := s.Administrator("ada")
	landed(t, ada.Browser.Visit(s.At("app", "/")), s.At("app", "/"))
	s.Stop()
	former := copyAside(t, s)
	beginAnew(t, s)
	asksNobody(t, ada.Browser.Get(s.At("app", "/")))
	again := s.Administrator("ada")
	landed(t, again.Browser.Visit(s.At("app", "/")), s.At("app", "/"))
	for _, stop := range []func(){s.Stop, s.Kill} {
		stop()
		s.Restart()
		stillSignedIn(t, s, again.Browser)
	}
	asksNobody(t, ada.Browser.Get(s.At("app", "/")))
	// The former store is a copy of another life: nobody could sign in with the keys of
	// this one.
	s.Stop()
	bringBack(t, s, former)
	if refusal := s.MustRefuseRestart(); !strings.Contains(refusal, "sealed with other keys") {
		t.Errorf("the start is refused with %s", refusal)
	}
}
