package test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// period is how long a code lasts unless it is configured.
const period = 30 * time.Second

// codeAt is the code that a person's authenticator shows so many steps from
// now, as oathtool has it.
func codeAt(t *testing.T, p *scene.Person, steps int) string {
	t.Helper()
	return harness.TOTP(t, p.Secret, time.Now().Add(time.Duration(steps)*period))
}

// awaitRoom waits until the current step still lasts a while, so that it
// doesn't end between making a code and its arrival.
func awaitRoom(t *testing.T) {
	t.Helper()
	harness.Eventually(t, 2*period, "the next step of codes", func() bool {
		return time.Now().Unix()%int64(period/time.Second) < 18
	})
}

// flowOn returns the id of the flow that a page is about.
func flowOn(page *harness.Page) string { return page.Form("flow").Value("flow") }

// answer is the form of a second factor, filled in.
func answer(flow, factor, code string) url.Values {
	return url.Values{"flow": {flow}, "factor": {factor}, "code": {code}}
}

// TestF04StepsSkippedRepeatedReordered posts what doesn't come next.
func TestF04StepsSkippedRepeatedReordered(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Settled: 1})
	ada := s.Administrator("ada")
	before := sessionsOf(t, s, "ada")
	thief := s.Client()
	flow := flowOn(passwordShown(t, s, thief, ada))

	for _, attempt := range []struct {
		what, path string
		form       url.Values
	}{
		{"nothing at all", "/flow/challenge", nil},
		{"no flow", "/flow/challenge", answer("", "totp", wrongCode)},
		{"no factor", "/flow/challenge", answer(flow, "", wrongCode)},
		{"the password for a second factor", "/flow/challenge", answer(flow, "password", ada.Password)},
		{"a factor that isn't there", "/flow/challenge", answer(flow, "fido", wrongCode)},
		{"a flow that nobody began", "/flow/challenge", answer(strings.Repeat("A", 43), "totp", codeAt(t, ada, 1))},
		{"the flow's id with a letter more", "/flow/challenge", answer(flow+"A", "totp", codeAt(t, ada, 1))},
		{"an empty code", "/flow/challenge", answer(flow, "totp", "")},
		{"the password again", "/flow/password", url.Values{"flow": {flow}, "password": {ada.Password}}},
		{"an account", "/flow/account", url.Values{"flow": {flow}, "name": {"eve"}, "password": {"eve's own long password"}}},
		{"an authenticator", "/flow/enrol", answer(flow, "totp", wrongCode)},
		{"backup codes", "/flow/enrol", url.Values{"flow": {flow}, "factor": {"backup_code"}, "saved": {"yes"}}},
		{"the strength of a password without a flow", "/flow/password-strength", url.Values{"password": {"x"}}},
	} {
		t.Run(attempt.what, func(t *testing.T) {
			page := send(t, thief, formPost(s, attempt.path, attempt.form, ""))
			if page.Status < 400 || page.Status > 499 {
				t.Errorf("%d %s", page.Status, page.Text())
			}
			expectShut(t, s, thief)
		})
	}
	for _, path := range []string{"/flow/file?factor=backup_code&id=" + flow, "/flow/file?factor=totp&id=" + flow, "/flow", "/flow?id="} {
		if page := thief.Get(s.At("login", path)); page.Status < 400 || page.Status > 499 {
			t.Errorf("%s: %d %s", path, page.Status, page.Text())
		}
	}
	if page := thief.Get(s.At("login", "/flow?id="+flow)); page.H1() != "Enter the code from your app" {
		t.Errorf("the flow went on to %q", page.H1())
	}
	if now := sessionsOf(t, s, "ada"); now != before {
		t.Errorf("%d sessions, before the attempts %d", now, before)
	}

	t.Run("a finished flow replayed", func(t *testing.T) {
		owner := s.Client()
		flow, code := flowOn(passwordShown(t, s, owner, ada)), ada.Code()
		last := formPost(s, "/flow/challenge", answer(flow, "totp", code), "")
		if page := owner.Follow(send(t, owner, last)); page[len(page)-1].URL.Path != "/" {
			t.Fatalf("signing in led to %d %s", page[len(page)-1].Status, page[len(page)-1].URL)
		}
		had := sessionsOf(t, s, "ada")
		for _, browser := range []*harness.Client{owner, s.Client()} {
			page := send(t, browser, last)
			if page.Status != http.StatusGone {
				t.Errorf("a replayed answer: %d %s", page.Status, page.Text())
			}
		}
		if now := sessionsOf(t, s, "ada"); now != had {
			t.Errorf("a replay made %d sessions of %d", now, had)
		}
	})
}

// TestF05FlowsMixedUp finishes with one person's proof what another began.
func TestF05FlowsMixedUp(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Settled: 2})
	ada := s.Administrator("ada")
	bob := s.Invited("bob")
	adaBefore, bobBefore := sessionsOf(t, s, "ada"), sessionsOf(t, s, "bob")

	t.Run("another browser's flow", func(t *testing.T) {
		hers, his := s.Client(), s.Client()
		adaFlow, bobFlow := flowOn(passwordShown(t, s, hers, ada)), flowOn(passwordShown(t, s, his, bob))
		for _, attempt := range []struct {
			what    string
			browser *harness.Client
			flow    string
			code    string
		}{
			{"his browser, her flow, her code", his, adaFlow, codeAt(t, ada, 0)},
			{"his browser, her flow, his code", his, adaFlow, codeAt(t, bob, 0)},
			{"her browser, his flow, his code", hers, bobFlow, codeAt(t, bob, 0)},
			{"no browser of theirs", s.Client(), adaFlow, codeAt(t, ada, 0)},
		} {
			page := send(t, attempt.browser, formPost(s, "/flow/challenge", answer(attempt.flow, "totp", attempt.code), ""))
			if page.Status != http.StatusGone {
				t.Errorf("%s: %d %s", attempt.what, page.Status, page.Text())
			}
			if page := attempt.browser.Get(s.At("login", "/flow?id="+attempt.flow)); page.Status != http.StatusGone {
				t.Errorf("%s, looked at: %d %s", attempt.what, page.Status, page.Text())
			}
			expectShut(t, s, attempt.browser)
		}
	})
	t.Run("both flows in one browser", func(t *testing.T) {
		shared := s.Client()
		adaFlow, bobFlow := flowOn(passwordShown(t, s, shared, ada)), flowOn(passwordShown(t, s, shared, bob))
		for _, attempt := range []struct {
			what, flow, code string
		}{
			{"her flow, his code", adaFlow, codeAt(t, bob, 0)},
			{"his flow, her code", bobFlow, codeAt(t, ada, 0)},
		} {
			page := send(t, shared, formPost(s, "/flow/challenge", answer(attempt.flow, "totp", attempt.code), ""))
			if page.Status != http.StatusUnprocessableEntity {
				t.Errorf("%s: %d %s", attempt.what, page.Status, page.Text())
			}
			expectShut(t, s, shared)
		}
		// Fields that name somebody else are nobody's.
		form := answer(adaFlow, "totp", bob.Code())
		form["name"], form["user"], form["user_id"] = []string{"bob"}, []string{"bob"}, []string{"bob"}
		if page := send(t, shared, formPost(s, "/flow/challenge", form, "")); page.Status != http.StatusUnprocessableEntity {
			t.Errorf("her flow under his name: %d %s", page.Status, page.Text())
		}
		expectShut(t, s, shared)
	})
	if a, b := sessionsOf(t, s, "ada"), sessionsOf(t, s, "bob"); a != adaBefore || b != bobBefore {
		t.Errorf("sessions: ada %d of %d, bob %d of %d", a, adaBefore, b, bobBefore)
	}
}

// TestF06DisabledInTheMiddle disables a person between two of their steps.
func TestF06DisabledInTheMiddle(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Settled: 2})
	s.Administrator("root")
	bob := s.Invited("bob")

	beforeTheCode := s.Client()
	page := passwordShown(t, s, beforeTheCode, bob)
	// The other one has shown all, and only waits to be granted.
	beforeTheGrant := s.Client()
	shown := send(t, beforeTheGrant, formPost(s, "/flow/challenge", answer(flowOn(passwordShown(t, s, beforeTheGrant, bob)), "backup_code", bob.SpendBackupCode()), ""))
	if shown.Status != http.StatusSeeOther {
		t.Fatalf("a backup code led to %d %s", shown.Status, shown.Text())
	}
	expectDone(t, s, "mfa", "user", "disable", "bob")

	for what, led := range map[string]*harness.Page{
		"the code":  bob.ShowCode(beforeTheCode, page, bob.Code()),
		"the grant": beforeTheGrant.Visit(shown.Location()),
	} {
		if led.Status != http.StatusGone {
			t.Errorf("disabled before %s: %d %s", what, led.Status, led.Text())
		}
	}
	for _, browser := range []*harness.Client{beforeTheCode, beforeTheGrant, bob.Browser} {
		expectShut(t, s, browser)
	}
	expectDone(t, s, "mfa", "user", "enable", "bob")
	for _, browser := range []*harness.Client{beforeTheCode, beforeTheGrant, bob.Browser} {
		expectShut(t, s, browser)
	}
	if now := sessionsOf(t, s, "bob"); now != 0 {
		t.Errorf("%d sessions of somebody who was disabled", now)
	}
}

// race answers challenges of so many flows, a thousand times in all and all at
// once, with one code, and returns how many flows got past it.
func race(t *testing.T, s *scene.Scene, p *scene.Person, factor, code string) int {
	t.Helper()
	const flows, posts = 8, 1000
	var browsers [flows]*harness.Client
	var ids [flows]string
	for i := range flows {
		browsers[i] = s.Client()
		ids[i] = flowOn(passwordShown(t, s, browsers[i], p))
	}
	var (
		gate   = make(chan struct{})
		broken atomic.Int64
		posted sync.WaitGroup
	)
	for i := range posts {
		posted.Go(func() {
			<-gate
			page, err := browsers[i%flows].Send(formPost(s, "/flow/challenge", answer(ids[i%flows], factor, code), ""))
			if err != nil || page.Status >= 500 && page.Status != http.StatusServiceUnavailable {
				broken.Add(1)
			}
		})
	}
	close(gate)
	posted.Wait()
	if n := broken.Load(); n > 0 {
		t.Errorf("%d of %d answers were broken", n, posts)
	}
	passed := 0
	s.App.Reset()
	for i, browser := range browsers {
		browser.Visit(s.At("login", "/flow?id="+ids[i]))
		if page := browser.Visit(s.At("app", "/")); page.H1() == "Hello "+p.Name {
			passed++
		}
	}
	if seen := len(s.App.Requests()); seen != passed {
		t.Errorf("the app saw %d requests of %d browsers", seen, passed)
	}
	return passed
}

// TestO01AndB01OneCodeAThousandTimes spends one code many times at once.
func TestO01AndB01OneCodeAThousandTimes(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Settled: 2})
	ada := s.Administrator("ada")
	bob := s.Invited("bob")
	for _, c := range []struct {
		id, factor, code string
		person           *scene.Person
	}{
		{"O01 code of an authenticator", "totp", ada.Code(), ada},
		{"B01 backup code", "backup_code", bob.SpendBackupCode(), bob},
	} {
		t.Run(c.id, func(t *testing.T) {
			before := sessionsOf(t, s, c.person.Name)
			if passed := race(t, s, c.person, c.factor, c.code); passed != 1 {
				t.Errorf("%d flows got in by one code", passed)
			}
			if now := sessionsOf(t, s, c.person.Name); now != before+1 {
				t.Errorf("%d sessions came of one code", now-before)
			}
		})
	}
}

// TestO01B02SpentCodes shows codes again, in the session that spent them and
// in another.
func TestO01B02SpentCodes(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Settled: 1})
	ada := s.Administrator("ada")
	totp, backup := ada.Code(), ada.SpendBackupCode()
	for _, c := range []struct{ factor, code, says string }{
		{"totp", totp, "That code was used a moment ago. Wait for the next one."},
		{"backup_code", backup, "That backup code has already been used."},
	} {
		t.Run(c.factor, func(t *testing.T) {
			first, second, late := s.Client(), s.Client(), s.Client()
			waiting := flowOn(passwordShown(t, s, second, ada))
			flow := flowOn(passwordShown(t, s, first, ada))
			if page := send(t, first, formPost(s, "/flow/challenge", answer(flow, c.factor, c.code), "")); page.Status != http.StatusSeeOther {
				t.Fatalf("the first time: %d %s", page.Status, page.Text())
			}
			// A second click on the button must not look like a failure.
			if page := send(t, first, formPost(s, "/flow/challenge", answer(flow, c.factor, c.code), "")); page.Status != http.StatusSeeOther {
				t.Errorf("clicked twice: %d %s", page.Status, page.Text())
			}
			first.Visit(s.At("login", "/flow?id="+flow))
			expectIn(t, s, first, "ada")
			for what, reuse := range map[string]struct {
				browser *harness.Client
				flow    string
			}{
				"a session begun before":    {second, waiting},
				"a session begun after":     {late, flowOn(passwordShown(t, s, late, ada))},
				"written in another manner": {late, ""},
			} {
				code := c.code
				if reuse.flow == "" {
					reuse.flow = flowOn(passwordShown(t, s, late, ada))
					code = " " + strings.ToLower(strings.ReplaceAll(code, "-", " ")) + " "
				}
				page := send(t, reuse.browser, formPost(s, "/flow/challenge", answer(reuse.flow, c.factor, code), ""))
				if page.Status != http.StatusUnprocessableEntity || !strings.Contains(page.Text(), c.says) {
					t.Errorf("%s: %d %s", what, page.Status, page.Text())
				}
				expectShut(t, s, reuse.browser)
			}
		})
	}
}

// TestO02WhichCodesCount goes by the table of steps and spellings, with
// oathtool as the authenticator.
func TestO02WhichCodesCount(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Settled: 4})
	const (
		digits = "Enter all the digits that the app shows, and nothing else."
		used   = "That code was used a moment ago. Wait for the next one."
	)
	type row struct {
		what   string
		steps  int
		spell  func(code string) string // nil: as the app shows it
		passes bool
		says   string
	}
	people := []*scene.Person{s.Administrator("ada"), s.Invited("bob"), s.Invited("eve"), s.Invited("joe")}
	// The rows of one person come one after the other: a code that passes
	// kills the older ones, and five failures in a row are free.
	for who, rows := range [][]row{{
		{"of no app", 0, func(string) string { return wrongCode }, false, "That code didn't work. Codes change every 30 seconds: wait for the next one."},
		{"now, in two groups", 0, func(code string) string { return " " + code[:3] + " " + code[3:] + " " }, true, ""},
		{"one step ahead", 1, nil, true, ""},
		{"older than the last", 0, nil, false, used},
		{"the last again", 1, nil, false, used},
	}, {
		{"a plus before it", 0, func(code string) string { return "+" + code }, false, digits},
		{"a minus for a digit", 0, func(code string) string { return "-" + code[1:] }, false, digits},
		{"five digits", 0, func(code string) string { return code[:5] }, false, digits},
		{"seven digits", 0, func(code string) string { return code + "0" }, false, digits},
		{"full-width digits", 0, fullWidth, true, ""},
	}, {
		{"nothing", 0, func(string) string { return "" }, false, digits},
		{"a zero byte after it", 0, func(code string) string { return code + "\x00" }, false, digits},
		{"a fraction", 0, func(code string) string { return code + ".0" }, false, digits},
		{"a line's end", 0, func(code string) string { return code + "\n" }, false, digits},
		{"in hexadecimal", 0, func(code string) string { return "0x" + code[2:] }, false, digits},
		{"now, with a dash, after all that", 0, func(code string) string { return code[:3] + "-" + code[3:] + "\u00a0" }, true, ""},
	}, {
		// Of one person alone: a code that was refused as too early is dead when
		// its time comes, which may be in the middle of other rows.
		{"three steps ahead", 3, nil, false, "Your phone's clock is about 2 minutes fast. Set it to automatic, then use the next code."},
		{"two steps ahead", 2, nil, false, "Your phone's clock is about 1 minute fast. Set it to automatic, then use the next code."},
	}} {
		p := people[who]
		awaitRoom(t) // for all rows, which speak of one step
		for _, row := range rows {
			t.Run(row.what, func(t *testing.T) {
				browser := s.Client()
				page := passwordShown(t, s, browser, p)
				code := codeAt(t, p, row.steps)
				if row.spell != nil {
					code = row.spell(code)
				}
				page = p.ShowCode(browser, page, code)
				if row.passes {
					if page.Status != http.StatusOK || page.URL.Path != "/" {
						t.Errorf("%q: %d %s", code, page.Status, page.Text())
					}
					expectIn(t, s, browser, p.Name)
					return
				}
				if page.Status != http.StatusUnprocessableEntity || !strings.Contains(page.Text(), row.says) {
					t.Errorf("%q: %d %s", code, page.Status, page.Text())
				}
				expectShut(t, s, browser)
			})
		}
	}

	// A clock that is slow shows itself while setting up: later it would show
	// codes that setting up has killed.
	t.Run("setting up", func(t *testing.T) {
		browser, page := opened(t, s, s.Invitation("slow"))
		page = choose(browser, page, map[string]string{"new-password": scene.Password("slow")})
		for _, c := range []struct {
			steps int
			says  string
		}{
			{-3, "Your phone's clock is about 2 minutes slow. Set it to automatic, then use the next code."},
			{-2, "Your phone's clock is about 1 minute slow. Set it to automatic, then use the next code."},
		} {
			awaitRoom(t)
			code := harness.TOTP(t, scene.SecretOn(page), time.Now().Add(time.Duration(c.steps)*period))
			page = browser.Submit(page.Form("one-time-code"), map[string]string{"one-time-code": code})
			if page.Status != http.StatusUnprocessableEntity || !strings.Contains(page.Text(), c.says) {
				t.Errorf("%d steps: %d %s", c.steps, page.Status, page.Text())
			}
		}
		awaitRoom(t)
		code := harness.TOTP(t, scene.SecretOn(page), time.Now().Add(-period))
		if page = browser.Submit(page.Form("one-time-code"), map[string]string{"one-time-code": code}); page.Status != http.StatusSeeOther {
			t.Errorf("one step ago: %d %s", page.Status, page.Text())
		}
	})
}

// fullWidth writes digits as East Asian keyboards can.
func fullWidth(code string) string {
	return strings.Map(func(r rune) rune { return r - '0' + '０' }, code)
}

// TestTOTPByConfiguration signs in with codes as no app makes them by default.
func TestTOTPByConfiguration(t *testing.T) {
	t.Parallel()
	configured := strings.Replace(scene.Caddyfile, "\tmfa {\n", `	mfa {
		name "Acme"
		totp {
			algorithm sha256
			digits 8
			period 60s
			issuer "Acme Logins"
		}
`, 1)
	options := harness.TOTPOptions{Algorithm: "sha256", Digits: 8, Period: time.Minute}
	s := scene.Start(t, scene.Options{Caddyfile: configured, TOTP: options})
	ada := s.Administrator("ada")
	if len(ada.Secret) != 52 {
		t.Errorf("a secret of %d letters, want the 256 bits of the hash", len(ada.Secret))
	}
	browser := s.Client()
	page := passwordShown(t, s, browser, ada)
	if !strings.Contains(page.Text(), "8 digits, a new one every 60 seconds.") {
		t.Errorf("the page asks: %s", page.Text())
	}
	for _, other := range []harness.TOTPOptions{{Algorithm: "sha1", Digits: 8, Period: time.Minute}, {Algorithm: "sha256", Digits: 6, Period: time.Minute}} {
		page = ada.ShowCode(browser, page, harness.TOTP(t, ada.Secret, time.Now(), other))
		if page.Status != http.StatusUnprocessableEntity {
			t.Errorf("a code of %+v: %d %s", other, page.Status, page.Text())
		}
		if strings.Contains(page.Text(), "30 seconds") {
			t.Errorf("codes of a minute are called half as long: %s", page.Text())
		}
	}
	if page = ada.ShowCode(browser, page, ada.Code()); page.URL.Path != "/" {
		t.Errorf("the right code: %d %s", page.Status, page.Text())
	}
	expectIn(t, s, browser, "ada")

	t.Run("what was enrolled lives on under the default", func(t *testing.T) {
		s.Reload(scene.Caddyfile)
		elsewhere := s.Client()
		if page := ada.ShowCode(elsewhere, passwordShown(t, s, elsewhere, ada), ada.Code()); page.URL.Path != "/" {
			t.Errorf("%d %s", page.Status, page.Text())
		}
		expectIn(t, s, elsewhere, "ada")
	})
}
