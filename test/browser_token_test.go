package test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// keptCaddyfile opens the first page of an app that asks for a password of its own, and
// has another site that links to the rest.
const keptCaddyfile = `
{
	mfa {
		portal http://login.localhost:{{.Port "web"}}
		admins group admins
	}
}

http://login.localhost:{{.Port "web"}} {
	mfa_portal
}

http://app.localhost:{{.Port "web"}} {
	log
	mfa {
		tokens service
		basic on
		open /
	}
	reverse_proxy {{.Vars.app}}
}

http://links.example.test:{{.Port "web"}} {
	header Content-Type text/html
	respond "<!doctype html><title>Links</title><h1>Links</h1><a href=http://app.localhost:{{.Port "web"}}/private>Private</a>"
}
`

// A01: Chromium keeps a token that somebody gave as a password, and sends it by itself,
// to where another site's link leads too. There it opens nothing.
func TestA01BrowsersKeepPasswords(t *testing.T) {
	t.Parallel()
	s := tokens{scene.Start(t, scene.Options{Settled: 1, Caddyfile: keptCaddyfile}), t}
	ci := s.create("ci", "--host", "app.localhost")
	asked := false
	s.App.AnswerFunc(func(harness.Recorded) harness.Answer {
		if asked {
			return harness.Answer{}
		}
		asked = true
		return harness.Answer{Status: http.StatusUnauthorized, Header: http.Header{"Www-Authenticate": {`Basic realm="app"`}}}
	})
	b := harness.NewBrowser(t, s.Server, harness.BrowserOptions{})
	b.Navigate(strings.Replace(s.At("app", "/"), "://", "://ci:"+ci+"@", 1))
	for _, seen := range s.App.Requests() {
		if seen.Header["Authorization"] != nil {
			t.Errorf("the app saw the token at %s", seen.RequestURI)
		}
	}
	s.App.Reset()
	b.Navigate(s.URL("http", "links.example.test", "web", "/"))
	b.Click("Private")
	b.AwaitURL("the portal", func(u *url.URL) bool { return u.Hostname() == "login.localhost" })
	s.App.ExpectNone(t)
	s.AwaitLog("the password that Chromium sent", func(e harness.LogEntry) bool {
		request, _ := e["request"].(map[string]any)
		headers, _ := request["headers"].(map[string]any)
		return request["uri"] == "/private" && headers["Authorization"] != nil
	})
}
