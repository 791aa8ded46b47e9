package test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

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

// later is a copy of a browser as it is a while after it came to an app: the
// gate doesn't take a session that is gone for one that wasn't kept any more.
func later(s *scene.Scene, browser *harness.Client) *harness.Client {
	copied := browser.Clone()
	for _, host := range []string{"app", "admin"} {
		for _, cookie := range copied.Cookies(s.At(host, "/")) {
			if strings.HasPrefix(cookie.Name, stateCookie) {
				copied.SetCookie(s.At(host, "/"), http.Cookie{Name: cookie.Name, Path: "/", Secure: true, MaxAge: -1})
			}
		}
	}
	return copied
}

func TestSignedInAfterStopAndStart(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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
				if refusal := s.MustRefuseRestart(); !strings.Contains(refusal, "can't be read") || !strings.Contains(refusal, "backup") {
					t.Errorf("%s keys: %q", what, refusal)
				}
				if left := read(t, path); string(left) != string(content) {
					t.Errorf("%s keys were changed to %q", what, left)
				}
			}

			write(t, path, good)
			for mode, says := range map[fs.FileMode]string{0o644: "read by others (mode 0644)", 0o622: "changed by others"} {
				if err := os.Chmod(path, mode); err != nil {
					t.Fatal(err)
				}
				if refusal := s.MustRefuseRestart(); !containsAll(refusal, path, says, "chmod 600", "keys rotate") {
					t.Errorf("keys with mode %04o: %q", mode, refusal)
				}
			}
			// The group's access, which Kubernetes gives, is taken away again.
			if err := os.Chmod(path, 0o660); err != nil {
				t.Fatal(err)
			}
			s.Restart()
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || !strings.Contains(s.Log(), "others of the same group had access") {
				t.Errorf("keys with mode 0660: %v, %v", info, err)
			}
			stillSignedIn(t, s, ada.Browser)
			s.App.Reset()
			// The secrets open again, too: somebody signs in.
			browser := s.Client()
			landed(t, signInByBackupCode(ada, browser, s.At("app", "/")), s.At("app", "/"))
		})
	}
}

func TestX04KeyFileThatCannotBe(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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

// testStoreGone is fault X04: beside keys or a mark of before, no store is made
// where there is none, and none is taken for empty that was copied without its
// log.
func testStoreGone(t *testing.T, s *scene.Scene, p *scene.Person) {
	t.Helper()
	mark := keepings[0].mark(s)
	// It follows within seconds.
	harness.Eventually(t, time.Minute, "the mark to move", func() bool { return markedPosition(t, mark) > 0 })
	s.Kill()
	whole := copyAside(t, s)
	if len(whole) != 2 {
		t.Fatal("a store that was in use has no log")
	}
	refuse := func(what string, says ...string) {
		t.Helper()
		if refusal := s.MustRefuseRestart(); !containsAll(refusal, append(says, "-wal", keysIn(s), mark)...) {
			t.Errorf("%s: the refusal is %q", what, refusal)
		}
	}
	bringBack(t, s, map[string][]byte{storeIn(s): whole[storeIn(s)]})
	refuse("copied without its log", "the store is empty, but wasn't before")
	removeStore(t, s)
	for _, gone := range [][]string{nil, {mark}, {keysIn(s)}} {
		aside := make(map[string][]byte)
		for _, path := range gone {
			aside[path] = read(t, path)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		refuse(fmt.Sprintf("the store gone, and with it %v", gone), "there is no store", "to begin anew")
		if _, err := os.Stat(storeIn(s)); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("a store was made: %v", err)
		}
		for path, content := range aside {
			write(t, path, content)
		}
	}
	bringBack(t, s, whole)
	s.Restart()
	stillSignedIn(t, s, p.Browser)
}

// beginAnew does what the guide says of beginning with an empty store.
func beginAnew(t *testing.T, s *scene.Scene) {
	t.Helper()
	s.Stop()
	removeStore(t, s)
	for _, path := range []string{keysIn(s), keepings[0].mark(s)} {
		if err := os.Rename(path, path+".aside"); err != nil {
			t.Fatal(err)
		}
	}
	s.Restart()
}

// S07: a store that begins anew knows no earlier session, not even of a person
// of the same name.
func TestS07StoreEmptiedBesideLiveKeys(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{})
	ada := s.Administrator("ada")
	slots, values := cookieThief(t, s, ada)
	landed(t, ada.Browser.Visit(s.At("app", "/")), s.At("app", "/"))
	known := ada.Browser.Cookie(s.At("login", "/"), browserCookie)
	keys := read(t, keysIn(s))

	testStoreGone(t, s, ada)
	beginAnew(t, s)
	if string(read(t, keysIn(s))) == string(keys) {
		t.Error("the keys are those that were moved aside")
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
	if page := later(s, ada.Browser).Visit(s.At("app", "/")); page.H1() != notSetUp {
		t.Errorf("a browser of the former store ended at %d %s: %s", page.Status, page.URL, page.Text())
	}
	again := s.Administrator("ada")
	refuseAll()
	browser := later(s, ada.Browser)
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

// rotatingCaddyfile keeps the keys in a file, and has an app that is told by an
// assertion who asks.
var rotatingCaddyfile = strings.Replace(strings.Replace(gateReloadCaddyfile, "\t\tadmins", "\t\tkeys {{.Dir}}/keys.json\n\t\tadmins", 1),
	"\tmfa\n\treverse_proxy {{.Vars.app}}", "\tmfa {\n\t\tassertion\n\t}\n\treverse_proxy {{.Vars.app}}", 1)

// generations are the ids of each kind of key in a key file, oldest first.
func generations(t *testing.T, path string) map[string][]string {
	t.Helper()
	var kinds map[string]json.RawMessage
	if err := json.Unmarshal(read(t, path), &kinds); err != nil {
		t.Fatal(err)
	}
	ids := make(map[string][]string)
	for kind, raw := range kinds {
		var keys []struct{ ID string }
		if json.Unmarshal(raw, &keys) != nil {
			continue // the version, and the keyset whose ids stand elsewhere
		}
		for _, key := range keys {
			ids[kind] = append(ids[kind], key.ID)
		}
	}
	return ids
}

// agedBy has the newest generation of a key file be older than it is, as if
// time had passed.
func agedBy(t *testing.T, path string, by time.Duration) {
	t.Helper()
	created := regexp.MustCompile(`"created": "([^"]+)"`)
	content := string(read(t, path))
	var newest time.Time
	for _, found := range created.FindAllStringSubmatch(content, -1) {
		at, err := time.Parse(time.RFC3339, found[1])
		if err != nil {
			t.Fatal(err)
		}
		if at.After(newest) {
			newest = at
		}
	}
	stamp := func(at time.Time) string { return `"created": "` + at.UTC().Format(time.RFC3339) + `"` }
	aged := strings.ReplaceAll(content, stamp(newest), stamp(newest.Add(-by)))
	if aged == content {
		t.Fatal("there is no generation to age")
	}
	write(t, path+".aged", []byte(aged))
	if err := os.Rename(path+".aged", path); err != nil {
		t.Fatal(err)
	}
}

// keyOf is the id of the key that a cookie was made with.
func keyOf(cookie string) string {
	id, _, _ := strings.Cut(cookie, "~")
	return id
}

// X09: the keys are rotated while people work, and nobody notices: neither at
// once, when nothing is made with the new keys yet, nor when their time comes,
// nor over a start.
func TestX09RotationUnderLoad(t *testing.T) {
	t.Parallel()
	// Without the debug log, which slows the traffic down.
	s := scene.Start(t, scene.Options{Caddyfile: rotatingCaddyfile, Scheme: "https", NoDebugLog: true})
	path := filepath.Join(s.Dir(), "keys.json")
	ada := s.Administrator("ada")
	address := s.At("app", "/work")
	landed(t, ada.Browser.Visit(address), address)
	session := ada.Browser.Cookie(address, sessionCookie)
	s.Canary(session)
	first := generations(t, path)
	kinds := []string{"cookie_keys", "sealing_keys", "peppers", "assertion_keys"}
	expectGenerations := func(count int) (now map[string][]string) {
		t.Helper()
		now = generations(t, path)
		for _, kind := range kinds {
			if len(now[kind]) != count || now[kind][0] != first[kind][0] {
				t.Errorf("the %s are %q, and were %q", kind, now[kind], first[kind])
			}
		}
		return now
	}
	expectGenerations(1)
	// madeWith signs somebody in and checks with which keys: of cookies, and of
	// what the app is told.
	madeWith := func(generation int) {
		t.Helper()
		now := generations(t, path)
		browser := s.Client()
		landed(t, signInByBackupCode(ada, browser, address), address)
		for _, cookie := range []string{browser.Cookie(address, sessionCookie), browser.Cookie(s.At("login", "/"), portalCookie)} {
			if keyOf(cookie) != now["cookie_keys"][generation] {
				t.Errorf("a cookie is made with %s, of %q", keyOf(cookie), now["cookie_keys"])
			}
		}
		told, err := base64.RawURLEncoding.DecodeString(strings.Split(lastAssertion(t, s), ".")[0])
		if err != nil || !strings.Contains(string(told), `"`+now["assertion_keys"][generation]+`"`) {
			t.Errorf("the app is told by %s, %v, of %q", told, err, now["assertion_keys"])
		}
		if page := s.Client().Get(s.At("login", "/.well-known/jwks.json")); !containsAll(page.Body, now["assertion_keys"]...) {
			t.Errorf("the published keys are %s, not %q", page.Body, now["assertion_keys"])
		}
	}
	madeWith(0)

	traffic := startTraffic(t, s, address, session)
	awaitTraffic := func() {
		t.Helper()
		before := traffic.passed.Load()
		harness.Eventually(t, time.Minute, "requests", func() bool { return traffic.passed.Load() > before+20 })
	}
	awaitTraffic()
	if out := expectDone(t, s, "mfa", "keys", "rotate"); !strings.Contains(out.Stdout, "in five minutes") {
		t.Errorf("rotating: %q", out.Stdout)
	}
	awaitTraffic()
	expectGenerations(2)
	stored := read(t, path)
	if out := s.CLI("mfa", "keys", "rotate"); out.Code == 0 || !strings.Contains(out.Stderr, "the keys were rotated a moment ago: this can be done again at 20") {
		t.Errorf("rotating twice: %+v", out)
	}
	if string(read(t, path)) != string(stored) {
		t.Error("a refused rotation changed the keys")
	}
	madeWith(0)
	awaitTraffic()
	traffic.stop()

	for _, end := range []func(){s.Stop, s.Kill} {
		end()
		s.Restart()
		expectGenerations(2)
		madeWith(0)
		landed(t, ada.Browser.Get(address), address)
	}

	traffic = startTraffic(t, s, address, session)
	agedBy(t, path, 10*time.Minute)
	s.Reload(rotatingCaddyfile)
	awaitTraffic()
	madeWith(1)
	awaitTraffic()

	// Of many who rotate at once, one does.
	var done, refused atomic.Int64
	inParallel(t, 8, 8, func(int) error {
		_, err := s.AdminDo(http.MethodPost, "/mfa/keys/rotate", "{}")
		switch {
		case err == nil:
			done.Add(1)
		case strings.Contains(err.Error(), "409 Conflict"):
			refused.Add(1)
		default:
			return err
		}
		return nil
	})
	if done.Load() != 1 || refused.Load() != 7 {
		t.Errorf("of eight rotations at once %d were done, %d refused", done.Load(), refused.Load())
	}
	expectGenerations(3)
	awaitTraffic()
	traffic.stop()
	madeWith(1)
	s.Restart()
	// What older keys sealed, peppered and signed is good still.
	landed(t, ada.Browser.Get(address), address)
	browser := s.Client()
	landed(t, ada.SignIn(browser, address), address)
	for _, seen := range s.App.Requests() {
		if seen.Header.Get("X-Anonymous") != "" || seen.Header.Get("Remote-User") != "ada" {
			t.Fatalf("the app saw a request of nobody: %v", seen.Header)
		}
	}
}

// lastAssertion is what the app was told last.
func lastAssertion(t *testing.T, s *scene.Scene) string {
	t.Helper()
	requests := s.App.Requests()
	for _, request := range slices.Backward(requests) {
		if token := request.Header.Get(assertionHeader); token != "" {
			return token
		}
	}
	t.Fatalf("the app wasn't told by an assertion in %d requests", len(requests))
	return ""
}

func containsAll(text string, parts ...string) bool {
	return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(text, part) })
}
