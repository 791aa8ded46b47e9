package test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// The shortest limits that can be configured, and how much later than the idle
// limit a sign-on may end at the most.
const (
	agingLimit       = time.Minute
	agingGranularity = time.Minute
)

// agingCaddyfile has two apps, one of which has pages that poll. The limits are
// put in for LIMITS.
const agingCaddyfile = `
{
	servers {
		timeouts {
			write_idle 1h
		}
	}
	mfa {
		portal http://login.localhost:{{.Port "web"}}
		admins group admins
		session {
			LIMITS
		}
	}
}

http://login.localhost:{{.Port "web"}} {
	mfa_portal
}

http://app.localhost:{{.Port "web"}} {
	mfa {
		idle_ignores /poll/*
	}
	reverse_proxy {{.Vars.app}}
}

http://admin.localhost:{{.Port "web"}} {
	mfa
	reverse_proxy {{.Vars.admin}}
}
`

// sample is one request and when it was under way.
type sample struct {
	sent, answered time.Time
	status         int
}

// asker sends requests with captured cookies, whatever a browser would do with
// them, until the test ends.
type asker struct {
	mu      sync.Mutex
	samples []sample
	stop    func() // waits, too
}

// keepAsking asks as a script, with a cookie for the URL.
func keepAsking(t *testing.T, s *scene.Scene, every time.Duration, address, session string) *asker {
	a, ended, done := &asker{}, make(chan struct{}), make(chan struct{})
	a.stop = sync.OnceFunc(func() { close(ended); <-done })
	t.Cleanup(a.stop)
	browser := s.Client()
	go func() {
		defer close(done)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			sent := time.Now()
			status := askWith(browser, address, session)
			a.mu.Lock()
			a.samples = append(a.samples, sample{sent, time.Now(), status})
			a.mu.Unlock()
			select {
			case <-ticker.C:
			case <-ended:
				return
			}
		}
	}()
	return a
}

// askWith returns the status that a script gets with a captured cookie; 0 for
// no answer.
func askWith(browser *harness.Client, address, session string) int {
	page, err := browser.Send(harness.Request{
		URL: address, Mode: harness.Fetch, Header: http.Header{"Cookie": {sessionCookie + "=" + session}},
	})
	if err != nil {
		return 0
	}
	return page.Status
}

// expect holds every answer against two times: before the one all must have
// passed, and after the other none. Without the other, nothing is said of what
// comes later.
func (a *asker) expect(t *testing.T, passesUntil, refusedFrom time.Time) {
	t.Helper()
	a.stop()
	passed, refused := 0, 0
	for _, asked := range a.samples {
		switch {
		case asked.answered.Before(passesUntil):
			passed++
			if asked.status != http.StatusOK {
				t.Errorf("%s before the limit: %d", passesUntil.Sub(asked.answered), asked.status)
			}
		case !refusedFrom.IsZero() && asked.sent.After(refusedFrom):
			refused++
			if asked.status != http.StatusUnauthorized && asked.status != http.StatusForbidden {
				t.Errorf("%s after the limit: %d", asked.sent.Sub(refusedFrom), asked.status)
			}
		}
	}
	if passed == 0 || refused == 0 && !refusedFrom.IsZero() {
		t.Errorf("%d requests came before the limit and %d after it", passed, refused)
	}
}

// agingStreams opens a WebSocket and events at a path of the app.
func agingStreams(t *testing.T, s *scene.Scene, browser *harness.Client, path string) []stream {
	t.Helper()
	events := harness.Request{URL: s.At("app", path+"/events"), Mode: harness.Fetch, Header: http.Header{"Accept": {"text/event-stream"}}}
	return []stream{
		{Live: browser.Download(t, events), what: "events", uri: path + "/events", app: s.App},
		{Live: browser.WebSocket(t, s.At("app", path+"/socket"), false), what: "a WebSocket", uri: path + "/socket", app: s.App},
	}
}

// TestS05AbsoluteLimit works without a pause until the absolute limit, and on.
//
// The clock runs while other tests do: this one waits for its turn only after
// it has begun.
func TestS05AbsoluteLimit(t *testing.T) {
	s := scene.Start(t, scene.Options{Caddyfile: strings.Replace(agingCaddyfile, "LIMITS", "lifetime 1m", 1)})
	browser := s.Administrator("ada").Browser
	for _, host := range []string{"app", "admin"} {
		landed(t, browser.Visit(s.At(host, "/")), s.At(host, "/"))
	}
	var who struct{ Expires time.Time }
	if page := browser.Get(s.At("app", "/.mfa/whoami")); json.Unmarshal([]byte(page.Body), &who) != nil || who.Expires.IsZero() {
		t.Fatalf("whoami answered %d %s", page.Status, page.Body)
	}
	thief := browser.Clone()
	sessions := []string{browser.Cookie(s.At("app", "/"), sessionCookie), browser.Cookie(s.At("admin", "/"), sessionCookie)}
	s.Canary(sessions...)
	streams := agingStreams(t, s, browser, "/long")
	askers := []*asker{
		keepAsking(t, s, 250*time.Millisecond, s.At("app", "/work"), sessions[0]),
		keepAsking(t, s, 250*time.Millisecond, s.At("admin", "/work"), sessions[1]),
	}
	t.Parallel()

	harness.Eventually(t, 3*agingLimit, "the absolute limit to pass", func() bool { return time.Since(who.Expires) > time.Second })
	for _, a := range askers {
		a.expect(t, who.Expires, who.Expires)
	}
	for i, ended := range expectOff(t, s, streams) {
		if ended.Before(who.Expires) {
			t.Errorf("%s ended %s before the limit", streams[i].what, who.Expires.Sub(ended))
		}
	}
	asksToSignIn(t, thief.Visit(s.At("login", "/")))
	for _, seen := range append(s.App.Requests(), s.Admin.Requests()...) {
		if seen.Ended.IsZero() {
			t.Errorf("the app still has %s", seen.RequestURI)
		}
	}
}

// TestS05IdleLimit leaves some sign-ons alone, and uses others in each of the
// ways that count, and in those that don't.
func TestS05IdleLimit(t *testing.T) {
	s := scene.Start(t, scene.Options{Caddyfile: strings.Replace(agingCaddyfile, "LIMITS", "idle 1m", 1)})
	ada := s.Administrator("ada")
	// signedOn returns a browser with sessions at both apps.
	signedOn := func() *harness.Client {
		browser := s.Client()
		landed(t, signInByBackupCode(ada, browser, s.At("app", "/begin")), s.At("app", "/begin"))
		landed(t, browser.Visit(s.At("admin", "/begin")), s.At("admin", "/begin"))
		return browser
	}
	session := func(browser *harness.Client, host string) string {
		value := browser.Cookie(s.At(host, "/"), sessionCookie)
		s.Canary(value)
		return value
	}
	left, leftAtPortal, working, polling, streaming, watching := signedOn(), signedOn(), signedOn(), signedOn(), signedOn(), signedOn()
	quiet := agingStreams(t, s, streaming, "/quiet")
	passive := agingStreams(t, s, watching, "/poll/passive")
	passiveAtWork := agingStreams(t, s, working, "/poll/work")
	last := time.Now() // nothing but what follows is used after it
	work := keepAsking(t, s, 10*time.Second, s.At("app", "/work"), session(working, "app"))
	polls := keepAsking(t, s, time.Second, s.At("app", "/poll/news"), session(polling, "app"))
	t.Parallel()

	over := last.Add(agingLimit + agingGranularity)
	harness.Eventually(t, 4*agingLimit, "the idle limit to pass", func() bool { return time.Since(over) > time.Second })
	work.expect(t, over, time.Time{})
	polls.expect(t, last.Add(agingLimit), over)
	expectOn(t, append(quiet, passiveAtWork...))
	for i, ended := range expectOff(t, s, passive) {
		if ended.Sub(last) < agingLimit {
			t.Errorf("%s that don't count ended after %s already", passive[i].what, ended.Sub(last))
		}
	}

	s.App.Reset()
	s.Admin.Reset()
	stranger := s.Client()
	for _, c := range []struct {
		what    string
		browser *harness.Client
		passes  bool
	}{
		{"left alone", left, false},
		{"polling", polling, false},
		{"with a stream that doesn't count", watching, false},
		{"at work in the other app", working, true},
		{"with a quiet stream", streaming, true},
	} {
		before := len(s.Admin.Requests())
		status := askWith(stranger, s.At("admin", "/after"), session(c.browser, "admin"))
		if saw := len(s.Admin.Requests()) > before; saw != c.passes || (status == http.StatusOK) != c.passes {
			t.Errorf("a sign-on %s: %d, and the app saw it: %t", c.what, status, saw)
		}
	}
	asksToSignIn(t, leftAtPortal.Visit(s.At("login", "/")))
	s.App.ExpectNone(t)
}
