package test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// liveCaddyfile has apps for members of the staff, one of which is Caddy's own
// file server, one for everybody, and one that is content with a password but
// for a part of it. Caddy itself ends nothing that stands still for a while.
const liveCaddyfile = `
{
	skip_install_trust
	auto_https disable_redirects
	servers {
		timeouts {
			read_body_idle 1h
			write_idle 1h
		}
	}
	mfa {
		portal https://login.localhost:{{.Port "web"}}
		admins group admins
	}
}

(common) {
	tls internal
	log
}

https://login.localhost:{{.Port "web"}} {
	import common
	mfa_portal
}

https://app.localhost:{{.Port "web"}} {
	import common
	mfa {
		allow group staff
	}
	reverse_proxy {{.Vars.app}} {
		stream_close_delay 10m
	}
}

https://files.localhost:{{.Port "web"}} {
	import common
	mfa {
		allow group staff
	}
	root {{.Vars.files}}
	file_server
}

https://all.localhost:{{.Port "web"}} {
	import common
	mfa
	reverse_proxy {{.Vars.admin}}
}

https://solo.localhost:{{.Port "web"}}, https://twin.localhost:{{.Port "web"}} {
	import common
	mfa {
		assurance single
		rule /deep/* {
			assurance multi
		}
	}
	reverse_proxy {{.Vars.app}}
}
`

// largeFile is how long the file to download is: far more than any socket
// holds, on disk next to nothing.
const largeFile = 1 << 30

// startLive runs liveCaddyfile.
func startLive(t *testing.T) *scene.Scene {
	t.Helper()
	return startStreaming(t, scene.Options{Settled: 4, Caddyfile: liveCaddyfile})
}

// startStreaming runs a Caddyfile like liveCaddyfile, with a large file and an
// app that streams.
func startStreaming(t *testing.T, options scene.Options) *scene.Scene {
	t.Helper()
	folder := t.TempDir()
	large := filepath.Join(folder, "large.bin")
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, largeFile); err != nil {
		t.Fatal(err)
	}
	options.Scheme, options.Vars = "https", map[string]string{"files": folder}
	options.Env = []string{"GODEBUG=http2xconnect=1"}
	s := scene.Start(t, options)
	s.App.AnswerFunc(func(r harness.Recorded) harness.Answer {
		if strings.HasPrefix(r.RequestURI, "/endless/") {
			return harness.Answer{
				Header: http.Header{"Content-Type": {"application/octet-stream"}}, Body: strings.Repeat("x", 1<<10), Endless: true,
			}
		}
		return harness.Answer{}
	})
	return s
}

// stream is something that goes on for long, between a browser and an app.
type stream struct {
	*harness.Live
	what string
	uri  string            // told apart by it, at the app and in the access log
	app  *harness.Recorder // nil: Caddy's file server
	pace harness.Pace
}

// openStreams opens one of each kind over HTTP/1.1 and over HTTP/2, in a
// browser that has a session at each of the hosts.
func openStreams(t *testing.T, s *scene.Scene, browser *harness.Client, tag string) []stream {
	t.Helper()
	var opened []stream
	for version, tab := range map[string]*harness.Client{"1.1": browser.HTTP1(), "2": browser.Tab()} {
		at := func(kind string) string { return "/" + kind + "/" + tag + "/" + version }
		script := func(host, uri string, header http.Header) harness.Request {
			return harness.Request{URL: s.At(host, uri), Mode: harness.Fetch, From: s.At(host, "/"), Header: header}
		}
		add := func(kind, uri string, app *harness.Recorder, live *harness.Live) {
			opened = append(opened, stream{Live: live, what: kind + " over HTTP/" + version, uri: uri, app: app})
		}
		add("a WebSocket", at("socket"), s.App, tab.WebSocket(t, s.At("app", at("socket")), version == "2"))
		add("events", at("events"), s.App, tab.Download(t, script("app", at("events"), http.Header{"Accept": {"text/event-stream"}})))
		add("an endless answer", at("endless"), s.App, tab.Download(t, script("app", at("endless"), nil)))
		add("an upload", at("upload"), s.App, tab.Upload(t, script("app", at("upload"), nil)))
		slow, stalled := "/large.bin?slow="+tag+version, "/large.bin?stalled="+tag+version
		add("a slow download", slow, nil, tab.Download(t, script("files", slow, nil)))
		add("a download that stalls", stalled, nil, tab.Download(t, script("files", stalled, nil)))
		opened[len(opened)-1].pace = harness.Stalled
		opened[len(opened)-1].SetPace(harness.Stalled)
	}
	return opened
}

// expectOn fails the test unless all streams go on.
func expectOn(t *testing.T, streams []stream) {
	t.Helper()
	for _, s := range streams {
		before := s.Moved()
		s.SetPace(harness.Slow)
		harness.Eventually(t, time.Minute, s.what+" to go on: "+s.uri, func() bool {
			if s.app != nil {
				s.app.Publish("still there?")
			}
			return s.Moved() > before || s.Ended()
		})
		s.SetPace(s.pace)
		if s.Ended() {
			t.Errorf("%s was ended, %s: %v", s.what, s.uri, s.Err())
		}
	}
}

// expectOff waits for all streams to be ended, for the server, for the app and
// for the client, and returns when each was.
func expectOff(t *testing.T, s *scene.Scene, streams []stream) (ended []time.Time) {
	t.Helper()
	for _, open := range streams {
		harness.Eventually(t, 20*time.Second, "the end of "+open.what+": "+open.uri, func() bool {
			at := endOf(s, open)
			if !at.IsZero() {
				ended = append(ended, at)
			}
			return !at.IsZero()
		})
		open.SetPace(harness.Fast) // past what has come already
		harness.Eventually(t, 20*time.Second, "the client to see the end of "+open.what, open.Ended)
		if open.app == nil && (open.Err() == nil || open.Moved() >= largeFile) {
			t.Errorf("%s came whole: %d bytes, %v", open.what, open.Moved(), open.Err())
		}
	}
	return ended
}

// endOf returns when the app, or where there is none the server, was done with
// a stream; zero while it is not.
func endOf(s *scene.Scene, open stream) time.Time {
	if open.app != nil {
		for _, seen := range open.app.Requests() {
			if seen.RequestURI == open.uri {
				return seen.Ended
			}
		}
		return time.Time{}
	}
	for _, entry := range s.LogEntries() {
		request, ok := entry["request"].(map[string]any)
		if ok && request["uri"] == open.uri && entry.Text("msg") == "handled request" {
			seconds, _ := entry["ts"].(float64)
			return time.UnixMicro(int64(seconds * 1e6))
		}
	}
	return time.Time{}
}

// busy is a browser in which somebody has streams open.
type busy struct {
	*harness.Client
	streams   []stream // at the staff's apps
	elsewhere []stream // at the app that everybody may open
}

// keepBusy opens sessions and streams at all apps, in a browser that is signed
// in at the portal.
func keepBusy(t *testing.T, s *scene.Scene, browser *harness.Client, tag string) *busy {
	t.Helper()
	for _, host := range []string{"app", "all"} {
		landed(t, browser.Visit(s.At(host, "/begin/"+tag)), s.At(host, "/begin/"+tag))
	}
	if page := browser.Visit(s.At("files", "/none")); page.Status != http.StatusNotFound {
		t.Fatalf("the file server answered %d %s", page.Status, page.URL)
	}
	events := harness.Request{
		URL: s.At("all", "/events/"+tag), Mode: harness.Fetch, From: s.At("all", "/"), Header: http.Header{"Accept": {"text/event-stream"}},
	}
	return &busy{
		Client: browser, streams: openStreams(t, s, browser, tag),
		elsewhere: []stream{{Live: browser.Download(t, events), what: "events elsewhere", uri: "/events/" + tag, app: s.Admin}},
	}
}

// TestS04LiveConnections ends what goes on for long in every way in which a
// sign-on ends, or an app is taken from somebody, while nobody else's ends.
func TestS04LiveConnections(t *testing.T) {
	t.Parallel()
	s := startLive(t)
	s.Administrator("root")
	other, ada, bystander := s.Invited("other", "staff"), s.Invited("ada", "staff"), s.Invited("bystander", "staff")
	unmoved := keepBusy(t, s, bystander.Browser, "bystander")

	run := func(arguments ...string) func(*testing.T, *busy) {
		return func(t *testing.T, _ *busy) {
			t.Helper()
			expectDone(t, s, append([]string{"mfa"}, arguments...)...)
		}
	}
	signOut := func(host, path string) func(*testing.T, *busy) {
		return func(t *testing.T, b *busy) {
			// Over the very connection on which some of the streams are.
			hops := b.Follow(b.Submit(b.Visit(s.At(host, path)).Form(), nil))
			if end := hops[len(hops)-1]; end.Status != http.StatusOK || end.H1() != "You are signed out" {
				t.Errorf("signing out ended at %d: %s", end.Status, end.Text())
			}
		}
	}
	var delays []time.Duration
	for i, way := range []struct {
		name string
		end  func(*testing.T, *busy)
		// signedOn says that only the staff's apps are taken away.
		signedOn bool
		undo     []string
	}{
		{name: "sign-out at the portal", end: signOut("login", "/sign-out")},
		{name: "sign-out at a gate", end: signOut("app", "/.mfa/sign-out")},
		{name: "session end ID", end: func(t *testing.T, b *busy) { run("session", "end", signOnOf(t, s, "ada"))(t, b) }},
		{name: "session end --user", end: run("session", "end", "--user", "ada")},
		{name: "another person signs in", end: func(t *testing.T, b *busy) {
			landed(t, signInByBackupCode(other, b.Client, s.At("login", "/sign-in?switch")), s.At("login", "/"))
		}},
		{name: "user set --group", end: run("user", "set", "ada", "--group", "guests"), signedOn: true, undo: []string{"user", "set", "ada", "--group", "staff"}},
		{name: "user disable", end: run("user", "disable", "ada"), undo: []string{"user", "enable", "ada"}},
		{name: "user delete", end: run("user", "delete", "ada")},
	} {
		t.Run(way.name, func(t *testing.T) {
			tag, browser := fmt.Sprintf("ada%d", i), ada.Browser
			if i > 0 {
				browser = s.Client()
				landed(t, signInByBackupCode(ada, browser, s.At("login", "/")), s.At("login", "/"))
			}
			b := keepBusy(t, s, browser, tag)
			thief := b.Clone()
			s.Canary(thief.Cookie(s.At("app", "/"), sessionCookie), thief.Cookie(s.At("login", "/"), portalCookie))
			expectOn(t, append(b.streams, b.elsewhere...))
			way.end(t, b)
			acknowledged := time.Now()
			for i, ended := range expectOff(t, s, b.streams) {
				delay := ended.Sub(acknowledged)
				if b.streams[i].pace == harness.Stalled {
					// For some seconds TLS tries to say goodbye to a client that
					// reads nothing, after the handler has been cut off.
					continue
				}
				delays = append(delays, delay)
			}
			if way.signedOn {
				expectOn(t, b.elsewhere)
			} else {
				expectOff(t, s, b.elsewhere)
			}
			expectDead(t, s, thief, tag, way.signedOn)
			if way.undo != nil {
				run(way.undo...)(t, b)
			}
		})
	}
	expectOn(t, append(unmoved.streams, unmoved.elsewhere...))
	// A busy machine may hold one up, not most of them.
	slices.Sort(delays)
	if len(delays) > 0 && delays[len(delays)/2] > 2*time.Second {
		t.Errorf("too many streams ended too long after the acknowledgement: %s", delays)
	}

	t.Run("what ends nothing, and what then ends", func(t *testing.T) { testLeash(t, s, bystander, unmoved) })
	t.Run("X07 the end of the process", func(t *testing.T) {
		// Caddy by itself would wait for them for ever, with the store open.
		browser := s.Client()
		landed(t, signInByBackupCode(other, browser, s.At("login", "/")), s.At("login", "/"))
		expectOn(t, keepBusy(t, s, browser, "last").streams)
		s.Stop()
		if !strings.Contains(s.Log(), "connections that are still open will be cut") {
			t.Error("the log doesn't say what becomes of what is open")
		}
	})
}

// testLeash does all that leaves streams alone, and then ends them.
func testLeash(t *testing.T, s *scene.Scene, p *scene.Person, b *busy) {
	streams := append(slices.Clone(b.streams), b.elsewhere...)
	landed(t, signInByBackupCode(p, s.Client(), s.At("app", "/second")), s.At("app", "/second"))
	second := signOnOf(t, s, p.Name)
	command := func(arguments ...string) func() {
		return func() { expectDone(t, s, append([]string{"mfa"}, arguments...)...) }
	}
	for _, harmless := range []struct {
		name string
		do   func()
	}{
		{"another name and address", command("user", "set", p.Name, "--name", "By Stander", "--email", "stander@example.com")},
		{"one group more", command("user", "set", p.Name, "--group", "staff", "--group", "more")},
		{"another sign-on of the same person ends", command("session", "end", second)},
		{"somebody else's sign-ons end", command("session", "end", "--user", "root")},
		{"a reload", func() { s.Reload(liveCaddyfile) }},
		{"two more", func() { s.Reload(liveCaddyfile); s.Reload(liveCaddyfile) }},
	} {
		harmless.do()
		t.Log("after: " + harmless.name)
		expectOn(t, streams)
	}
	thief := b.Clone()
	command("session", "end", "--user", p.Name)()
	expectOff(t, s, streams)
	expectDead(t, s, thief, p.Name, false)
}

// signOnOf returns the short id of the newest live sign-on of somebody.
func signOnOf(t *testing.T, s *scene.Scene, name string) string {
	t.Helper()
	type signOn struct {
		ID      string
		Started time.Time
	}
	sessions := decoded[[]signOn](t, expectDone(t, s, "mfa", "session", "list", "--user", name, "--json"))
	if len(sessions) == 0 {
		t.Fatalf("%s has no sign-on", name)
	}
	return slices.MaxFunc(sessions, func(a, b signOn) int { return a.Started.Compare(b.Started) }).ID
}

// expectDead shows captured cookies everywhere. Whoever is still signed on gets
// on at the app that is for everybody.
func expectDead(t *testing.T, s *scene.Scene, thief *harness.Client, tag string, signedOn bool) {
	t.Helper()
	uri := "/after/" + tag
	for _, host := range []string{"app", "files", "all"} {
		page := send(t, thief, harness.Request{URL: s.At(host, uri), Mode: harness.Fetch, From: s.At(host, "/")})
		// 403 is for a session that is refused right after it was made, too.
		refused := page.Status == http.StatusUnauthorized && !signedOn || page.Status == http.StatusForbidden
		if passes := host == "all" && signedOn; refused == passes {
			t.Errorf("the captured cookie of %s at %s: %d %s", tag, host, page.Status, page.Body)
		}
	}
	if !signedOn {
		asksToSignIn(t, thief.Visit(s.At("login", "/")))
	}
	seen := s.App.Requests()
	if !signedOn {
		seen = append(seen, s.Admin.Requests()...)
	}
	for _, request := range seen {
		if request.RequestURI == uri {
			t.Errorf("an app saw %s", uri)
		}
	}
}

// TestChangesAreInForceAtOnce changes what is known of somebody who is signed
// in: the very next request carries it.
func TestChangesAreInForceAtOnce(t *testing.T) {
	t.Parallel()
	s := startLive(t)
	s.Administrator("root")
	ada := s.Invited("ada", "staff")
	landed(t, ada.Browser.Visit(s.At("all", "/")), s.At("all", "/"))
	landed(t, ada.Browser.Visit(s.At("app", "/")), s.At("app", "/"))
	before := signOnOf(t, s, "ada")
	for _, change := range []struct {
		arguments []string
		want      map[string]string
		status    int // at the staff's app
	}{
		{[]string{"--name", "Ada L."}, map[string]string{"Remote-User": "ada", "Remote-Name": "Ada L.", "Remote-Groups": "staff", "Remote-Email": ""}, http.StatusOK},
		{[]string{"--email", "ada@example.com"}, map[string]string{"Remote-Email": "ada@example.com"}, http.StatusOK},
		{[]string{"--group", "staff", "--group", "ops"}, map[string]string{"Remote-Groups": "staff,ops"}, http.StatusOK},
		{[]string{"--no-groups"}, map[string]string{"Remote-Groups": ""}, http.StatusForbidden},
		{[]string{"--group", "staff"}, map[string]string{"Remote-Groups": "staff"}, http.StatusOK},
		{[]string{"--rename", "countess"}, map[string]string{"Remote-User": "countess", "Remote-Name": "Ada L."}, http.StatusOK},
	} {
		name := strings.Join(change.arguments, " ")
		t.Run(name, func(t *testing.T) {
			expectDone(t, s, append([]string{"mfa", "user", "set", "ada"}, change.arguments...)...)
			s.Admin.Reset()
			s.App.Reset()
			page := send(t, ada.Browser, harness.Request{URL: s.At("app", "/x"), Mode: harness.Fetch, From: s.At("app", "/")})
			if page.Status != change.status {
				t.Errorf("the staff's app answered %d", page.Status)
			}
			if change.status == http.StatusOK {
				s.App.ExpectOne(t)
			} else {
				s.App.ExpectNone(t)
			}
			send(t, ada.Browser, harness.Request{URL: s.At("all", "/x"), Mode: harness.Fetch, From: s.At("all", "/")})
			seen := s.Admin.ExpectOne(t)
			for header, want := range change.want {
				if got := seen.Header.Get(header); got != want {
					t.Errorf("%s is %q, not %q", header, got, want)
				}
			}
		})
	}
	if after := signOnOf(t, s, "countess"); after != before {
		t.Errorf("the sign-on is %s, and was %s", after, before)
	}
}
