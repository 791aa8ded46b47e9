package test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// toldCaddyfile has apps that are told by an assertion who asks: plainly, after
// a rewrite and a failed upstream, in headers of the operator's own, in an error
// route, over FastCGI, and where mfa can't keep the assertion out of logs.
const toldCaddyfile = `
{
	{{.Vars.global}}
	mfa {
		portal http://login.localhost:{{.Port "web"}}
		admins group admins
	}
}

(site) {
	log {
		output file {{.Dir}}/access.log
		{{.Vars.format}}
	}
	mfa {
		assertion
	}
}

http://login.localhost:{{.Port "web"}} {
	mfa_portal
}

http://app.localhost:{{.Port "web"}} {
	import site
	reverse_proxy {{.Vars.app}}
}

http://retried.localhost:{{.Port "web"}} {
	import site
	rewrite /private /rewritten
	reverse_proxy 127.0.0.1:1 {{.Vars.app}} {
		lb_policy first
		lb_try_duration 5s
		fail_duration 1m
	}
}

http://copied.localhost:{{.Port "web"}} {
	import site
	reverse_proxy {{.Vars.app}} {
		header_up Authorization "Bearer {header.X-Mfa-Assertion}"
		header_up X-Copy {header.X-Mfa-Assertion}
		header_up -X-Mfa-Assertion
	}
}

http://failing.localhost:{{.Port "web"}} {
	import site
	error 500
	handle_errors {
		mfa
		reverse_proxy {{.Vars.app}}
	}
}

http://cgi.localhost:{{.Port "web"}} {
	import site
	reverse_proxy {{.Vars.cgi}} {
		transport fastcgi
	}
}
{{.Vars.more}}
`

// checkedCaddyfile is a site at which the assertion is in the request all the
// way.
const checkedCaddyfile = `
http://checked.localhost:{{.Port "web"}} {
	import site
	reverse_proxy {{.Vars.app}} {
		health_uri /
	}
}
`

// startTold runs toldCaddyfile with global options, a format of logs, and more
// sites.
func startTold(t *testing.T, more string, options scene.Options) (*scene.Scene, *cgiApp) {
	t.Helper()
	app := newCGIApp(t)
	options.Caddyfile = strings.Replace(toldCaddyfile, "{{.Vars.more}}", more, 1)
	options.Vars = map[string]string{"cgi": app.address, "format": "", "global": ""}
	s := scene.Start(t, options)
	s.App.AnswerFunc(func(r harness.Recorded) harness.Answer {
		return harness.Answer{Body: strings.Repeat("x", 1<<10), Endless: strings.HasPrefix(r.RequestURI, "/endless")}
	})
	return s, app
}

// D02: no log holds an assertion, at any level, and apps get it all the same.
func TestD02AssertionsStayOutOfLogs(t *testing.T) {
	t.Parallel()
	for level, quiet := range map[string]bool{"debug": false, "info": true} {
		t.Run(level, func(t *testing.T) {
			s, _ := startTold(t, "", scene.Options{NoDebugLog: quiet})
			ada := s.Administrator("ada")
			for host, header := range map[string]string{
				"app": assertionHeader, "retried": assertionHeader, "copied": "X-Copy", "failing": assertionHeader,
			} {
				s.Canary(askTold(t, s, ada.Browser, host, header))
			}
			warnings := warningsOf(s)
			if quiet && len(warnings) > 0 || !quiet && (len(warnings) != 1 || !strings.Contains(warnings[0], "the transport fastcgi logs what it sends")) {
				t.Errorf("warned: %q", warnings)
			}
		})
	}
}

// askTold asks an app for something, cuts a stream of it short, and returns what
// the app was told in a header.
func askTold(t *testing.T, s *scene.Scene, browser *harness.Client, host, header string) string {
	t.Helper()
	s.App.Reset()
	page := browser.Visit(s.At(host, "/private"))
	if page.Status != http.StatusOK {
		t.Fatalf("%s: %d %s", host, page.Status, page.Text())
	}
	got := s.App.ExpectOne(t)
	if host == "retried" && got.RequestURI != "/rewritten" {
		t.Errorf("%s wasn't rewritten", got.RequestURI)
	}
	told := got.Header
	if host == "copied" && (len(told.Values(assertionHeader)) > 0 || told.Get("Authorization") != "Bearer "+told.Get("X-Copy")) {
		t.Errorf("the app was told %v", told)
	}
	if told.Get("Via") == "" || told.Get("X-Forwarded-For") == "" {
		t.Errorf("%s was told %v", host, told)
	}
	if strings.Count(told.Get(header), ".") != 2 || len(told.Values(header)) != 1 {
		t.Fatalf("%s was told %q", host, told.Values(header))
	}
	seen := strings.Count(s.Log(), "aborting with incomplete response")
	live := browser.Download(t, harness.Request{URL: s.At(host, "/endless"), Mode: harness.Fetch, From: s.At(host, "/")})
	live.Close()
	harness.Eventually(t, patience, "the cut stream to be logged", func() bool {
		return strings.Count(s.Log(), "aborting with incomplete response") > seen
	})
	return told.Get(header)
}

// warningsOf returns those of the server's warnings that say what to write into
// logs.
func warningsOf(s *scene.Scene) []string {
	var found []string
	for _, entry := range s.LogEntries() {
		if strings.Contains(entry.Text("msg"), "write into each log:\n") {
			found = append(found, entry.Text("msg"))
		}
	}
	return found
}

// D02: what the warnings say can be pasted as it is, and keeps logs clean where
// mfa can't.
func TestD02PastedLogFilters(t *testing.T) {
	t.Parallel()
	s, app := startTold(t, checkedCaddyfile, scene.Options{NoDebugLog: true})
	warnings := warningsOf(s)
	if len(warnings) != 1 || !strings.Contains(warnings[0], "site checked.localhost") || !strings.Contains(warnings[0], "checks the health") {
		t.Fatalf("warned: %q", warnings)
	}
	_, filter, _ := strings.Cut(warnings[0], "write into each log:\n")
	guide, err := os.ReadFile("../docs/guide.md")
	if err != nil || !strings.Contains(strings.Join(strings.Fields(string(guide)), " "), strings.Join(strings.Fields(filter), " ")) {
		t.Errorf("the guide has another filter than %s (%v)", filter, err)
	}
	global := fmt.Sprintf("debug\n\tlog {\n%s\n}\nservers {\n\tlog_credentials\n}\n", filter)
	pasted := strings.NewReplacer("{{.Vars.global}}", global, "{{.Vars.format}}", filter, "{{.Vars.more}}", checkedCaddyfile).Replace(toldCaddyfile)
	s.Reload(pasted)
	for _, warning := range warningsOf(s) {
		if !strings.HasSuffix(warning, filter) {
			t.Errorf("another filter: %s", warning)
		}
	}
	ada := s.Administrator("ada")
	s.Canary(askTold(t, s, ada.Browser, "checked", assertionHeader))
	for _, host := range []string{"checked", "app"} {
		s.Canary(ada.Browser.Cookie(s.At(host, "/"), sessionCookie))
	}
	if page := ada.Browser.Visit(s.At("cgi", "/private")); page.Status != http.StatusOK {
		t.Fatalf("cgi: %d %s", page.Status, page.Text())
	}
	for _, told := range app.assertions() {
		s.Canary(told)
	}
	// Caddy answers this one before any handler sees it.
	s.Canary("canary-invitation-of-nobody")
	early := harness.Request1(strings.Repeat("M", 33), "/invitation?a=b&token=canary-invitation-of-nobody", fmt.Sprintf("login.localhost:%d", s.Port("web")), "")
	if response := s.Raw("web").Send(early); response.Status != http.StatusMethodNotAllowed {
		t.Errorf("%d", response.Status)
	}
	if len(app.assertions()) == 0 {
		t.Error("the app behind FastCGI was told nothing")
	}
}
