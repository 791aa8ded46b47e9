package test

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// keyFileCaddyfile keeps the keys in a file of the test's folder.
var keyFileCaddyfile = strings.Replace(scene.Caddyfile, "\t\tadmins", "\t\tkeys {{.Dir}}/keys.json\n\t\tadmins", 1)

// Where keys and store are, unless the Caddyfile says otherwise.
func keysIn(s *scene.Scene) string { return filepath.Join(s.DataDir(), "portcullis", "keys.json") }

func storeIn(s *scene.Scene) string { return filepath.Join(s.DataDir(), "portcullis", "portcullis.db") }

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// stillSignedIn fails the test unless the browser, with the cookies that it has
// and no redirect, is at the app.
func stillSignedIn(t *testing.T, s *scene.Scene, browser *harness.Client) {
	t.Helper()
	if page := browser.Get(s.At("app", "/still")); page.Status != http.StatusOK {
		t.Fatalf("not signed in any more: %d, to %s", page.Status, page.Location())
	}
	if page := browser.Get(s.At("login", "/")); page.Status != http.StatusOK {
		t.Fatalf("not signed in at the portal any more: %d, to %s", page.Status, page.Location())
	}
}

func TestSignedInAfterStopAndStart(t *testing.T) {
	for name, caddyfile := range map[string]string{"keys in Caddy's storage": "", "keys in a file": keyFileCaddyfile} {
		t.Run(name, func(t *testing.T) {
			s := scene.Start(t, scene.Options{Caddyfile: caddyfile})
			ada := s.Administrator("ada")
			landed(t, ada.Browser.Visit(s.At("app", "/")), s.At("app", "/"))
			half := s.Client()
			step := ada.ShowPassword(half, half.Visit(s.At("app", "/half")))

			s.Restart()
			stillSignedIn(t, s, ada.Browser)
			s.Kill()
			s.Restart()
			stillSignedIn(t, s, ada.Browser)
			s.Reload(strings.ReplaceAll(orUsual(caddyfile), "the help desk", "somebody else"))
			stillSignedIn(t, s, ada.Browser)
			landed(t, showBackupCode(ada, half, step), s.At("app", "/half"))
		})
	}
}

func orUsual(caddyfile string) string {
	if caddyfile == "" {
		return scene.Caddyfile
	}
	return caddyfile
}

// X04: without the keys that people's secrets are sealed with, nothing starts,
// and nothing is made in their place.
func TestX04KeysBesideAStore(t *testing.T) {
	for name, test := range map[string]struct {
		caddyfile string
		keys      func(*scene.Scene) string
	}{
		"in Caddy's storage": {"", keysIn},
		"in a file":          {keyFileCaddyfile, func(s *scene.Scene) string { return filepath.Join(s.Dir(), "keys.json") }},
	} {
		t.Run(name, func(t *testing.T) {
			s := scene.Start(t, scene.Options{Caddyfile: test.caddyfile})
			path := test.keys(s)
			ada := s.Administrator("ada")
			landed(t, ada.Browser.Visit(s.At("app", "/")), s.At("app", "/"))
			good := read(t, path)
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the keys are readable by others: %v, %v", info.Mode(), err)
			}

			s.Stop()
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			refusal := s.MustRefuseRestart()
			for _, says := range []string{"key set is missing", "backup", "store"} {
				if !strings.Contains(refusal, says) {
					t.Errorf("missing keys: %q doesn't say %q", refusal, says)
				}
			}
			if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("keys were made: %v", err)
			}

			for what, content := range map[string][]byte{
				"empty": {}, "garbage": []byte("\x00\xff not keys"), "half": good[:len(good)/2], "null": []byte("null"),
				"of a newer program": []byte(strings.Replace(string(good), `"version": 1`, `"version": 99`, 1)),
			} {
				write(t, path, content)
				if refusal := s.MustRefuseRestart(); !strings.Contains(refusal, "cannot be read") || !strings.Contains(refusal, "backup") {
					t.Errorf("%s keys: %q", what, refusal)
				}
				if left := read(t, path); string(left) != string(content) {
					t.Errorf("%s keys were changed to %q", what, left)
				}
			}

			write(t, path, good)
			s.Restart()
			stillSignedIn(t, s, ada.Browser)
			s.App.Reset()
			// The secrets open again, too: somebody signs in.
			browser := s.Client()
			landed(t, signInByBackupCode(ada, browser, s.At("app", "/")), s.At("app", "/"))
		})
	}
}

func TestX04KeyFileThatCannotBe(t *testing.T) {
	t.Run("in a folder that isn't there", func(t *testing.T) {
		recorder := harness.NewRecorder(t)
		refusal := harness.MustFail(t, harness.Options{
			Caddyfile: strings.Replace(keyFileCaddyfile, "/keys.json", "/absent/keys.json", 1),
			Vars:      map[string]string{"app": recorder.Addr(), "admin": recorder.Addr()},
		})
		if !strings.Contains(refusal, filepath.Join("absent", "keys.json")) {
			t.Errorf("the refusal doesn't name the file: %q", refusal)
		}
	})
	t.Run("a folder", func(t *testing.T) {
		recorder := harness.NewRecorder(t)
		refusal := harness.MustFail(t, harness.Options{
			Caddyfile: strings.Replace(keyFileCaddyfile, "/keys.json", "", 1),
			Vars:      map[string]string{"app": recorder.Addr(), "admin": recorder.Addr()},
		})
		if !strings.Contains(refusal, "directory") {
			t.Errorf("the refusal doesn't say that it is a folder: %q", refusal)
		}
	})
}

// S03: what was signed by a key that was removed says nothing, and nobody who
// holds it goes in circles.
func TestS03CookiesOfARemovedKey(t *testing.T) {
	s := scene.Start(t, scene.Options{Caddyfile: keyFileCaddyfile})
	path := filepath.Join(s.Dir(), "keys.json")
	ada := s.Administrator("ada")
	slots, values := cookieThief(t, s, ada)
	landed(t, ada.Browser.Visit(s.At("app", "/")), s.At("app", "/"))
	signed := s.Client().Get(s.At("app", "/")).Location()
	s.App.Reset()
	s.Admin.Reset()
	older := read(t, path)

	write(t, path, withCookieKeys(t, older, false))
	s.Restart()
	refuseAll := func(what string) {
		t.Helper()
		connection := &wire{target: s.Raw("web")}
		defer connection.close()
		for i, at := range slots {
			if response := connection.ask(s, at, values[i]); !at.refused(response) {
				t.Errorf("%s, %s at %s: %d, %v", what, at.name, at.host, response.Status, response.Err)
			}
		}
		if page := s.Client().Get(signed); page.Status != http.StatusBadRequest {
			t.Errorf("%s, a signed request: %d", what, page.Status)
		}
		s.App.ExpectNone(t)
		s.Admin.ExpectNone(t)
	}
	refuseAll("under a removed key")
	hops := ada.Browser.Follow(ada.Browser.Get(s.At("app", "/")))
	asksToSignIn(t, hops[len(hops)-1])
	if len(hops) > 3 {
		t.Errorf("with cookies of a removed key it took %d hops to the form", len(hops))
	}
	landed(t, showBackupCode(ada, ada.Browser, ada.ShowPassword(ada.Browser, hops[len(hops)-1])), s.At("app", "/"))

	// With the older key in the set again, behind a newer one, it counts.
	write(t, path, withCookieKeys(t, older, true))
	s.Restart()
	s.App.Reset()
	s.Admin.Reset()
	connection := &wire{target: s.Raw("web")}
	defer connection.close()
	if response := connection.ask(s, slots[1], values[1]); response.Status != http.StatusOK {
		t.Errorf("under an older key of the set: %d", response.Status)
	}
	if user := s.Admin.ExpectOne(t).Header.Get("Remote-User"); user != "ada" {
		t.Errorf("under an older key of the set they are %q", user)
	}
}

// withCookieKeys returns the key set with another cookie key, behind the one
// that is there or in place of it.
func withCookieKeys(t *testing.T, document []byte, keep bool) []byte {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal(document, &fields); err != nil {
		t.Fatal(err)
	}
	random := func(size int) []byte {
		raw := make([]byte, size)
		if _, err := rand.Read(raw); err != nil {
			t.Fatal(err)
		}
		return raw
	}
	fresh := map[string]any{
		"id": hex.EncodeToString(random(4)), "created": "2026-11-23T12:00:00Z", "hash_key": random(64), "block_key": random(32),
	}
	keys, ok := fields["cookie_keys"].([]any)
	if !ok {
		t.Fatalf("there are no cookie keys in %v", fields)
	}
	if !keep {
		keys = nil
	}
	fields["cookie_keys"] = append(keys, fresh)
	changed, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

// S07: a store that begins anew beside the same keys knows no earlier session,
// not even of a person of the same name.
func TestS07StoreEmptiedBesideLiveKeys(t *testing.T) {
	s := scene.Start(t, scene.Options{})
	ada := s.Administrator("ada")
	slots, values := cookieThief(t, s, ada)
	landed(t, ada.Browser.Visit(s.At("app", "/")), s.At("app", "/"))
	known := ada.Browser.Cookie(s.At("login", "/"), browserCookie)
	keys := read(t, keysIn(s))

	s.Stop()
	for _, ending := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(storeIn(s) + ending); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	s.Restart()
	if string(read(t, keysIn(s))) != string(keys) {
		t.Error("the keys were made anew, though they were there")
	}
	refuseAll := func() {
		t.Helper()
		s.App.Reset()
		s.Admin.Reset()
		connection := &wire{target: s.Raw("web")}
		defer connection.close()
		for i, at := range slots {
			if response := connection.ask(s, at, values[i]); !at.refused(response) {
				t.Errorf("%s at %s: %d, %v", at.name, at.host, response.Status, response.Err)
			}
		}
		s.App.ExpectNone(t)
		s.Admin.ExpectNone(t)
	}
	refuseAll()
	asksToSignIn(t, ada.Browser.Clone().Visit(s.At("app", "/")))
	again := s.Administrator("ada")
	refuseAll()
	browser := ada.Browser.Clone()
	landed(t, signInByBackupCode(again, browser, s.At("app", "/")), s.At("app", "/"))
	if browser.Cookie(s.At("login", "/"), browserCookie) == known {
		t.Error("a browser known to the former store is known to the new one")
	}

	t.Run("X04 an empty file is no store", func(t *testing.T) {
		s.Stop()
		for _, ending := range []string{"-wal", "-shm"} {
			_ = os.Remove(storeIn(s) + ending) // gone already after a clean stop
		}
		write(t, storeIn(s), nil)
		if refusal := s.MustRefuseRestart(); !strings.Contains(refusal, "empty") {
			t.Errorf("the refusal is %q", refusal)
		}
		if left := read(t, storeIn(s)); len(left) != 0 {
			t.Error("a store was made in the empty file")
		}
	})
}
