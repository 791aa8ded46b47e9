package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// behindProxy is the usual scene on a server that believes its peer's
// X-Forwarded-For, so that one machine can ask from many addresses.
var behindProxy = strings.Replace(scene.Caddyfile, "\tmfa {\n", "\tservers {\n\t\ttrusted_proxies static 127.0.0.1/32\n\t\ttrusted_proxies_strict\n\t}\n\tmfa {\n", 1)

// freeGuesses is how many failures in a row cost no wait.
const freeGuesses = 5

// wrongCode has the form of a code and isn't one: nobody draws it but once in
// a million.
const wrongCode = "000000"

// guess is a name and a password that somebody tries at the portal.
type guess struct {
	name, password string
	address        string // where it comes from; empty: this machine
	request        string // the gate's signed request; empty: at the portal itself
}

// asRequest is what the sign-in form sends.
func (g guess) asRequest(s *scene.Scene) harness.Request {
	form := url.Values{"name": {g.name}, "password": {g.password}, "request": {g.request}}
	return formPost(s, "/sign-in", form, g.address)
}

// formPost is a form of the portal's on its way, from an address that a
// trusted proxy reports.
func formPost(s *scene.Scene, path string, form url.Values, address string) harness.Request {
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	if address != "" {
		header.Set("X-Forwarded-For", address)
	}
	at := s.At("login", path)
	return harness.Request{Method: http.MethodPost, URL: at, From: at, Body: form.Encode(), Header: header}
}

// send sends a request and stays at a redirect.
func send(t *testing.T, browser *harness.Client, request harness.Request) *harness.Page {
	t.Helper()
	page, err := browser.Send(request)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// passwordShown signs in as far as the password goes, and returns the page
// that asks for the second factor.
func passwordShown(t *testing.T, s *scene.Scene, browser *harness.Client, p *scene.Person) *harness.Page {
	t.Helper()
	page := p.ShowPassword(browser, browser.Visit(s.At("login", "/sign-in")))
	if page.Status != http.StatusOK || !page.Form().Has("one-time-code") {
		t.Fatalf("the password of %s led to %d: %s", p.Name, page.Status, page.Text())
	}
	return page
}

// expectDone runs a command that has to succeed.
func expectDone(t *testing.T, s *scene.Scene, arguments ...string) harness.Output {
	t.Helper()
	out := s.CLI(arguments...)
	if out.Code != 0 {
		t.Fatalf("%q failed: %+v", arguments, out)
	}
	return out
}

// sessionsOf returns how many live sessions the person has.
func sessionsOf(t *testing.T, s *scene.Scene, name string) int {
	t.Helper()
	var sessions []struct{ User string }
	out := expectDone(t, s, "mfa", "session", "list", "--user", name, "--json")
	if err := json.Unmarshal([]byte(out.Stdout), &sessions); err != nil {
		t.Fatalf("listing sessions: %v: %+v", err, out)
	}
	return len(sessions)
}

// expectShut fails the test where the browser gets through to the app.
func expectShut(t *testing.T, s *scene.Scene, browser *harness.Client) {
	t.Helper()
	s.App.Reset()
	browser.Visit(s.At("app", "/"))
	s.App.ExpectNone(t)
}

// expectIn fails the test where the browser doesn't get through to the app.
func expectIn(t *testing.T, s *scene.Scene, browser *harness.Client, name string) {
	t.Helper()
	s.App.Reset()
	page := browser.Visit(s.At("app", "/"))
	if page.Status != http.StatusOK || page.H1() != "Hello "+name {
		t.Errorf("%s should be in, but is at %d %s: %s", name, page.Status, page.URL, page.Text())
	}
}

// appearance is all by which somebody can tell one answer from another, but
// for what has to differ: the time, and the name that the form shows again.
func appearance(page *harness.Page, name string) string {
	var seen strings.Builder
	fmt.Fprintln(&seen, page.Status, len(page.Body))
	for _, header := range slices.Sorted(maps.Keys(page.Header)) {
		switch header {
		case "Date":
		case "Retry-After": // counts down between one answer and the next
			fmt.Fprintln(&seen, header)
		default:
			fmt.Fprintln(&seen, header, page.Header[header])
		}
	}
	seen.WriteString(strings.ReplaceAll(page.Body, name, "NAME"))
	return seen.String()
}

// expectRetryAfter fails the test where a page names no wait within the bound.
func expectRetryAfter(t *testing.T, page *harness.Page, most time.Duration) {
	t.Helper()
	seconds, err := strconv.Atoi(page.Header.Get("Retry-After"))
	if err != nil || seconds < 1 || time.Duration(seconds)*time.Second > most {
		t.Errorf("%d with Retry-After %q, want up to %s", page.Status, page.Header.Get("Retry-After"), most)
	}
}

// TestF01AnswersToldApart asks as a stranger who wants to know which names
// there are, by every way in, up to and beyond the limit of guesses.
func TestF01AnswersToldApart(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Settled: 1, Caddyfile: behindProxy})
	s.Administrator("root")
	// All names have one length, so that sizes compare.
	for _, name := range []string{"alice", "boris", "eliza", "dylan"} {
		link := s.Link("mfa", "user", "add", name, "--email", name+"@example.com", "--json")
		if name != "dylan" {
			s.SetUp(name, link)
		}
	}
	s.Link("mfa", "user", "add", "carol", "--email", "carol@example.com", "--json")
	for _, name := range []string{"boris", "eliza", "dylan"} {
		expectDone(t, s, "mfa", "user", "disable", name)
	}
	type kind struct{ is, name, password string }
	kinds := []kind{
		{"known", "alice", "not the password"},
		{"disabled", "boris", "not the password"},
		{"disabled and knows the password", "eliza", scene.Password("eliza")},
		{"invited", "carol", "not the password"},
		{"invited and disabled", "dylan", "not the password"},
	}
	signed := s.Client().Visit(s.At("app", "/")).URL.Query().Get("request")
	if signed == "" {
		t.Fatal("the gate sent nobody to the portal")
	}
	for _, entry := range []struct {
		what, stranger, suffix, request string
		slowed                          bool
	}{
		{"by e-mail address", "ernst", "@example.com", "", false},
		{"on the way to an app", "frida", "", signed, false},
		{"up to the limit", "georg", "", "", true},
	} {
		t.Run(entry.what, func(t *testing.T) {
			guesses := 1
			if entry.slowed {
				guesses = freeGuesses
				for _, k := range kinds {
					expectDone(t, s, "mfa", "user", "unlock", k.name)
				}
			}
			var refused, slowed string // of the stranger, who stands for all
			for _, k := range append([]kind{{"unknown", entry.stranger, "not the password"}}, kinds...) {
				name := k.name + entry.suffix
				attempt := guess{name: name, password: k.password, request: entry.request}.asRequest(s)
				for i := range guesses {
					page := send(t, s.Client(), attempt)
					if i == 0 && refused == "" {
						refused = appearance(page, name)
					}
					if seen := appearance(page, name); page.Status != http.StatusUnprocessableEntity || seen != refused {
						t.Fatalf("a user who is %s is told apart at guess %d:\n%s\n-- from --\n%s", k.is, i+1, seen, refused)
					}
				}
				if !entry.slowed {
					continue
				}
				page := send(t, s.Client(), attempt)
				if slowed == "" {
					slowed = appearance(page, name)
				}
				if seen := appearance(page, name); page.Status != http.StatusTooManyRequests || seen != slowed {
					t.Errorf("a user who is %s is told apart when slowed:\n%s\n-- from --\n%s", k.is, seen, slowed)
				}
				expectRetryAfter(t, page, 30*time.Second)
			}
		})
	}
	s.App.ExpectNone(t)
}

// TestF02OneCountOfPasswords guesses one person's password from everywhere.
func TestF02OneCountOfPasswords(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Settled: 1, Caddyfile: behindProxy})
	s.Administrator("root")
	victim := s.SetUp("zoé", s.Link("mfa", "user", "add", "zoé", "--email", "zoe@example.com", "--json"))
	// One person under five spellings, each from another browser and another
	// corner of the net.
	for i, g := range []guess{
		{name: "zoé", address: "192.0.2.1"},
		{name: "ZOÉ", address: "198.51.100.2"},
		{name: "zoe\u0301", address: "2001:db8:1::3"},
		{name: "Zoe@Example.COM", address: "203.0.113.4"},
		{name: "ｚｏé", address: "192.0.2.5"},
	} {
		g.password = "guess"
		if page := send(t, s.Client(), g.asRequest(s)); page.Status != http.StatusUnprocessableEntity {
			t.Fatalf("guess %d: %d %s", i+1, page.Status, page.Text())
		}
	}
	stranger := s.Client()
	for _, name := range []string{"zoé", "ZOÉ", "zoe@example.com"} {
		right := guess{name: name, password: victim.Password, address: "192.0.2.77"}
		page := send(t, stranger, right.asRequest(s))
		if page.Status != http.StatusTooManyRequests || !strings.Contains(page.Text(), "Too many attempts. Try again in 1 minute.") {
			t.Errorf("the right password of %s after five wrong ones: %d %s", name, page.Status, page.Text())
		}
		expectRetryAfter(t, page, 30*time.Second)
	}
	expectShut(t, s, stranger)

	t.Run("user unlock forgets them", func(t *testing.T) {
		expectDone(t, s, "mfa", "user", "unlock", "Zoé")
		passwordShown(t, s, s.Client(), victim)
	})
}

// TestF02OneCountOfCodes guesses codes as somebody who has the password, and
// begins anew with it, elsewhere, before each guess.
func TestF02OneCountOfCodes(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Settled: 1, Caddyfile: behindProxy})
	victim := s.Administrator("ada")
	for i := range freeGuesses {
		browser := s.Client()
		form := url.Values{"flow": {passwordShown(t, s, browser, victim).Form().Value("flow")}, "factor": {"totp"}, "code": {wrongCode}}
		page := send(t, browser, formPost(s, "/flow/challenge", form, fmt.Sprintf("192.0.2.%d", i+1)))
		if page.Status != http.StatusUnprocessableEntity {
			t.Fatalf("guess %d: %d %s", i+1, page.Status, page.Text())
		}
	}
	browser := s.Client()
	page := victim.ShowCode(browser, passwordShown(t, s, browser, victim), victim.Code())
	if page.Status != http.StatusTooManyRequests {
		t.Errorf("the right code after five wrong ones: %d %s", page.Status, page.Text())
	}
	expectRetryAfter(t, page, 30*time.Second)
	expectShut(t, s, browser)

	t.Run("over a restart of the server", func(t *testing.T) {
		s.Restart()
		again := s.Client()
		if page := victim.ShowCode(again, passwordShown(t, s, again, victim), wrongCode); page.Status != http.StatusTooManyRequests {
			t.Errorf("after a restart: %d %s", page.Status, page.Text())
		}
		expectShut(t, s, again)
	})
	t.Run("another factor is free", func(t *testing.T) {
		page := browser.Visit(page.Link("Use a backup code"))
		page = victim.ShowCode(browser, page, victim.SpendBackupCode())
		if page.Status != http.StatusOK || page.URL.Path != "/" {
			t.Errorf("a backup code led to %d %s: %s", page.Status, page.URL, page.Text())
		}
		expectIn(t, s, browser, "ada")
	})
}

// TestF02ABrowserKnownByThePasswordAlone has a site that is content with the
// password. Who has stolen one must not get a count of guesses at the second
// factor with every browser that it lets in there.
func TestF02ABrowserKnownByThePasswordAlone(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Settled: 1, Caddyfile: strings.Replace(behindProxy, "\tmfa\n", "\tmfa {\n\t\tassurance single\n\t}\n", 1)})
	victim := s.Administrator("ada")
	for i := range freeGuesses + 1 {
		thief := s.Client()
		thief.Follow(thief.Submit(thief.Visit(s.At("app", "/")).Form("current-password"), map[string]string{
			"username": victim.Name, "current-password": victim.Password,
		}))
		expectIn(t, s, thief, "ada")
		page := thief.Visit(s.At("admin", "/"))
		page = victim.ShowCode(thief, page, wrongCode)
		want := http.StatusUnprocessableEntity
		if i == freeGuesses {
			want = http.StatusTooManyRequests
		}
		if page.Status != want {
			t.Fatalf("guess %d, in a browser of its own: %d %s", i+1, page.Status, page.Text())
		}
	}
	s.Admin.ExpectNone(t)
}

// TestF03AFloodLeavesTheVictimIn floods a person with wrong passwords; the
// browser in which they signed in before goes on as if nothing were.
func TestF03AFloodLeavesTheVictimIn(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Settled: 2, Caddyfile: behindProxy})
	victim := s.Administrator("ada")
	known := victim.Browser
	known.Follow(known.Submit(known.Visit(s.At("login", "/sign-out")).Form(), nil))
	expectShut(t, s, known)

	var flood sync.WaitGroup
	for i := range 60 {
		flood.Go(func() {
			g := guess{name: "ada", password: "guess", address: fmt.Sprintf("198.51.100.%d", i)}
			if _, err := s.Client().Send(g.asRequest(s)); err != nil {
				t.Error(err)
			}
		})
	}
	flood.Wait()
	page := send(t, s.Client(), guess{name: "ada", password: victim.Password}.asRequest(s))
	if page.Status != http.StatusTooManyRequests {
		t.Fatalf("an unknown browser after the flood: %d %s", page.Status, page.Text())
	}
	if page := victim.SignIn(known, s.At("app", "/")); page.Status != http.StatusOK || page.H1() != "Hello ada" {
		t.Errorf("the known browser after the flood: %d %s", page.Status, page.Text())
	}

	t.Run("the known browser's own guesses are counted", func(t *testing.T) {
		// Whoever sits down at it shall not guess for free.
		for range freeGuesses {
			send(t, known, guess{name: "ada", password: "guess"}.asRequest(s))
		}
		page := send(t, known, guess{name: "ada", password: victim.Password}.asRequest(s))
		if page.Status != http.StatusTooManyRequests {
			t.Errorf("after five guesses in the known browser: %d %s", page.Status, page.Text())
		}
	})
	t.Run("a browser is known to one person only", func(t *testing.T) {
		bob := s.Invited("bob")
		for range freeGuesses {
			send(t, s.Client(), guess{name: "ada", password: "guess"}.asRequest(s))
		}
		page := send(t, bob.Browser, guess{name: "ada", password: victim.Password}.asRequest(s))
		if page.Status != http.StatusTooManyRequests {
			t.Errorf("bob's browser for ada: %d %s", page.Status, page.Text())
		}
	})
}

// inParallel runs do for 0 to count-1 with so many workers, and fails the test
// for the first
// error.
func inParallel(t *testing.T, workers, count int, do func(i int) error) {
	t.Helper()
	var (
		next   atomic.Int64
		first  atomic.Pointer[error]
		joined sync.WaitGroup
	)
	for range workers {
		joined.Go(func() {
			for i := int(next.Add(1)) - 1; i < count && first.Load() == nil; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					first.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	joined.Wait()
	if err := first.Load(); err != nil {
		t.Fatal(*err)
	}
}

// TestF08Floods sends what costs a server most.
func TestF08Floods(t *testing.T) {
	s := scene.Start(t, scene.Options{Settled: 1, Caddyfile: behindProxy})
	ada := s.Administrator("ada")

	t.Run("a password of a megabyte", func(t *testing.T) {
		page := send(t, s.Client(), guess{name: "ada", password: strings.Repeat("x", 1<<20)}.asRequest(s))
		if page.Status != http.StatusRequestEntityTooLarge {
			t.Errorf("%d %s", page.Status, page.Text())
		}
	})
	t.Run("a password as long as a form may be", func(t *testing.T) {
		page := send(t, s.Client(), guess{name: "ada", password: strings.Repeat("x", 60<<10)}.asRequest(s))
		if page.Status != http.StatusUnprocessableEntity {
			t.Errorf("%d %s", page.Status, page.Text())
		}
	})
	t.Run("three hundred sign-ins at once", func(t *testing.T) {
		const crowd = 300
		var answers [crowd]*harness.Page
		inParallel(t, crowd, crowd, func(i int) (err error) {
			g := guess{name: fmt.Sprintf("nobody%d", i), password: "guess", address: fmt.Sprintf("192.0.2.%d", i%250)}
			answers[i], err = s.Client().Send(g.asRequest(s))
			return err
		})
		busy := 0
		for _, page := range answers {
			switch page.Status {
			case http.StatusUnprocessableEntity:
			case http.StatusServiceUnavailable:
				busy++
				expectRetryAfter(t, page, time.Minute)
				if !strings.Contains(page.Text(), "Many people are signing in right now") {
					t.Errorf("503 without saying why: %s", page.Text())
				}
			default:
				t.Errorf("%d %s", page.Status, page.Text())
			}
		}
		if busy == 0 || busy == crowd {
			t.Errorf("%d of %d were told to come back", busy, crowd)
		}
		// Each hash takes 64 MiB: all at once would take 19 GiB.
		if used := residentMemory(t, s); used > 1<<30 {
			t.Errorf("the server takes %d MiB", int(used)>>20)
		}
	})
	if page := ada.SignIn(s.Client(), s.At("app", "/")); page.H1() != "Hello ada" {
		t.Errorf("after the flood: %d %s", page.Status, page.Text())
	}
}

// residentMemory returns how much memory the server takes, in bytes.
func residentMemory(t testing.TB, s *scene.Scene) float64 {
	t.Helper()
	metrics, err := s.AdminGet("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(metrics) {
		if value, found := strings.CutPrefix(line, "process_resident_memory_bytes "); found {
			used, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return used
		}
	}
	t.Fatal("the metrics don't tell the memory")
	return 0
}
