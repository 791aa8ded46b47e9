package test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// reloadedCaddyfile is liveCaddyfile with a part that is open to everybody.
var reloadedCaddyfile = strings.Replace(liveCaddyfile, `	mfa
	reverse_proxy {{.Vars.admin}}
`, `	mfa {
		open /public/*
	}
	reverse_proxy {{.Vars.admin}} {
		stream_close_delay 10m
	}
`, 1)

// TestS04ReloadsHoldForWhatIsOpen reloads with rules that bar what is open: it
// ends, and what the new rules let in goes on.
func TestS04ReloadsHoldForWhatIsOpen(t *testing.T) {
	t.Parallel()
	s := startStreaming(t, scene.Options{Settled: 2, Caddyfile: reloadedCaddyfile})
	s.Administrator("root")
	ada := s.Invited("ada", "staff")
	b := keepBusy(t, s, ada.Browser, "ada")
	events := func(browser *harness.Client, host, uri string, app *harness.Recorder) stream {
		return stream{what: "events at " + uri, uri: uri, app: app, Live: browser.Download(t, harness.Request{
			URL: s.At(host, uri), Mode: harness.Fetch, Header: http.Header{"Accept": {"text/event-stream"}},
		})}
	}
	over3 := events(ada.Browser.HTTP3(), "app", "/events/3", s.App)
	openly := events(s.Client(), "all", "/public/events", s.Admin)
	// A part of one app is barred by its path, and a part by a header.
	secret := events(ada.Browser.Tab(), "app", "/secret/events", s.App)
	staff, elsewhere := append(b.streams, over3), b.elsewhere
	all := append(append(append([]stream{secret}, staff...), elsewhere...), openly)
	expectOn(t, all)

	var caddyfile string
	reload := func(changes ...string) time.Time {
		caddyfile = strings.NewReplacer(changes...).Replace(caddyfile)
		s.Reload(caddyfile)
		return time.Now()
	}
	prompt := func(since time.Time, streams ...stream) {
		t.Helper()
		for i, ended := range expectOff(t, s, streams) {
			if delay := ended.Sub(since); delay > 5*time.Second && streams[i].pace != harness.Stalled {
				t.Errorf("%s ended %s after the reload", streams[i].what, delay)
			}
		}
	}
	caddyfile = reloadedCaddyfile
	reload("admins group admins", "admins group admins\n\t\tname Another", "allow group staff", "allow group staff admins\n\t\tmax_age 12h")
	expectOn(t, all)

	prompt(reload("max_age 12h\n", "max_age 12h\n\t\trule /secret/* {\n\t\t\tallow group admins\n\t\t}\n"), secret)
	expectOn(t, append(append(staff, elsewhere...), openly))

	prompt(reload("open /public/*", "open /healthz"), openly)
	expectOn(t, append(staff, elsewhere...))

	prompt(reload("allow group staff admins", "allow group admins"), staff...)
	expectOn(t, elsewhere)

	prompt(reload("open /healthz", "assurance phishing_resistant"), elsewhere...)
}

// TestS04ReloadsWithoutGate drops what guarded the streams that are open: the
// site, or all that Portcullis does.
func TestS04ReloadsWithoutGate(t *testing.T) {
	t.Parallel()
	s := startStreaming(t, scene.Options{Settled: 2, Caddyfile: reloadedCaddyfile})
	s.Administrator("root")
	ada := s.Invited("ada", "staff")
	b := keepBusy(t, s, ada.Browser, "ada")
	site := "https://all.localhost"
	before, rest, _ := strings.Cut(reloadedCaddyfile, site)
	_, after, _ := strings.Cut(rest, "\n}\n")
	s.Reload(before + after)
	for _, open := range b.elsewhere {
		harness.Eventually(t, 20*time.Second, "the end of "+open.what, open.Ended)
	}
	expectOn(t, b.streams)
	s.Reload("http://other.localhost:{{.Port \"other\"}} {\n\trespond hello\n}\n")
	for _, open := range b.streams {
		open.SetPace(harness.Fast)
		harness.Eventually(t, 20*time.Second, "the end of "+open.what, open.Ended)
	}
}
