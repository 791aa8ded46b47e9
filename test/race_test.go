package test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// TestRaces cuts streams of each protocol while they write, in a binary with the
// race detector: whatever it finds is in the server's log, where the harness
// looks for it.
func TestRaces(t *testing.T) {
	t.Parallel()
	// Caddy's own deadlines stay, whose writers are what is raced for.
	unhurried := "\tservers {\n\t\ttimeouts {\n\t\t\tread_body_idle 1h\n\t\t\twrite_idle 1h\n\t\t}\n\t}\n"
	caddyfile := strings.Replace(reloadedCaddyfile, unhurried, "", 1)
	s := startStreaming(t, scene.Options{Settled: 2, Caddyfile: caddyfile, Race: true, NoDebugLog: true})
	s.Administrator("root")
	ada := s.Invited("ada", "staff")
	barred := strings.ReplaceAll(caddyfile, "allow group staff", "allow group admins")
	for i, cut := range []func(){
		func() { expectDone(t, s, "mfa", "session", "end", "--user", "ada") },
		func() { expectDone(t, s, "mfa", "user", "set", "ada", "--no-groups") },
		func() { s.Reload(barred) },
	} {
		browser := ada.Browser
		if i > 0 {
			browser = s.Client()
			landed(t, signInByBackupCode(ada, browser, s.At("login", "/")), s.At("login", "/"))
		}
		for _, host := range []string{"app", "files"} {
			browser.Visit(s.At(host, "/begin"))
		}
		streams := raceStreams(t, s, browser, fmt.Sprint(i))
		published := publishing(s)
		cut()
		for _, open := range streams {
			open.SetPace(harness.Fast)
			harness.Eventually(t, time.Minute, "the end of "+open.what+": "+open.uri, open.Ended)
		}
		published()
		expectDone(t, s, "mfa", "user", "set", "ada", "--group", "staff")
	}
}

// raceStreams opens several of each kind over each version of HTTP.
func raceStreams(t *testing.T, s *scene.Scene, browser *harness.Client, tag string) (opened []stream) {
	t.Helper()
	for version, tab := range map[string]*harness.Client{"1.1": browser.HTTP1(), "2": browser.Tab(), "3": browser.HTTP3()} {
		ask := func(host, uri string, header http.Header) harness.Request {
			return harness.Request{URL: s.At(host, uri), Mode: harness.Fetch, From: s.At(host, "/"), Header: header}
		}
		add := func(kind, uri string, live *harness.Live) {
			live.SetPace(harness.Fast)
			opened = append(opened, stream{Live: live, what: kind + " over HTTP/" + version, uri: uri})
		}
		for i := range 3 {
			at := func(kind string) string { return fmt.Sprintf("/%s/%s/%s/%d", kind, tag, version, i) }
			add("events", at("events"), tab.Download(t, ask("app", at("events"), http.Header{"Accept": {"text/event-stream"}})))
			add("an endless answer", at("endless"), tab.Download(t, ask("app", at("endless"), nil)))
			add("an upload", at("upload"), tab.Upload(t, ask("app", at("upload"), nil)))
			file := fmt.Sprintf("/large.bin?%s/%s/%d", tag, version, i)
			add("a download", file, tab.Download(t, ask("files", file, nil)))
			opened[len(opened)-1].SetPace(harness.Slow) // else it is over soon
			if version != "3" {
				add("a WebSocket", at("socket"), tab.WebSocket(t, s.At("app", at("socket")), version == "2"))
			}
		}
	}
	return opened
}

// publishing has the app send events without a pause, until the returned
// function is called.
func publishing(s *scene.Scene) (stop func()) {
	done := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() {
		pause := time.NewTicker(time.Millisecond)
		defer pause.Stop()
		for {
			select {
			case <-done:
				return
			case <-pause.C:
				s.App.Publish("again")
			}
		}
	})
	return func() {
		close(done)
		sending.Wait()
	}
}
