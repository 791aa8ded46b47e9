package test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// frontCaddyfile ends TLS for all hosts. What it does with them stands in for
// HANDLER.
const frontCaddyfile = `
{
	skip_install_trust
	auto_https disable_redirects
}

https://*.example.test:{{.Port "tls"}} {
	tls internal
	HANDLER
}
`

// behindFrontCaddyfile is served over plain HTTP, and reached by browsers at
// FRONT, the port of the front.
const behindFrontCaddyfile = `
{
	servers {
		trusted_proxies static 127.0.0.1/32
		trusted_proxies_strict
	}
	mfa {
		portal https://login.example.test:FRONT
		behind_tls_proxy
		admins group admins
	}
}

http://login.example.test:{{.Port "web"}} {
	mfa_portal
}

http://wiki.example.test:{{.Port "web"}} {
	mfa {
		hosts wiki.example.test:FRONT
		open /open
	}
	reverse_proxy {{.Vars.app}}
}
`

// TestBehindTLSFront has another Caddy end TLS: people sign in through it as if
// there were only one, and nobody gets around it.
func TestBehindTLSFront(t *testing.T) {
	t.Parallel()
	front := harness.Start(t, harness.Options{Caddyfile: strings.Replace(frontCaddyfile, "HANDLER", "respond 503", 1)})
	port := strconv.Itoa(front.Port("tls"))
	behind := strings.ReplaceAll(behindFrontCaddyfile, "FRONT", port)
	s := scene.Start(t, scene.Options{Caddyfile: behind})
	front.Reload(strings.Replace(frontCaddyfile, "HANDLER", "reverse_proxy "+s.Addr("web"), 1))
	at := func(host, path string) string { return "https://" + host + ".example.test:" + port + path }

	const home = "127.0.7.7"
	ada := s.Newcomer("ada", front.ClientFrom(home))
	link := s.SetupLink()
	if !strings.HasPrefix(link, at("login", "/setup?token=")) {
		t.Fatalf("the link is %s", link)
	}
	ada.SetUp(link)
	page := ada.Browser.Visit(at("wiki", "/work"))
	landed(t, page, at("wiki", "/work"))
	seen := s.App.ExpectOne(t)
	if seen.Header.Get("Remote-User") != "ada" || seen.Header.Get("X-Forwarded-Proto") != "https" || !strings.HasPrefix(seen.Header.Get("X-Forwarded-For"), home) {
		t.Errorf("the app saw %v", seen.Header)
	}
	session := ada.Browser.Cookie(at("wiki", "/"), sessionCookie)
	if session == "" || ada.Browser.Cookie(at("login", "/"), portalCookie) == "" {
		t.Error("no __Host- cookies are kept")
	}
	s.Canary(session)

	t.Run("signing in elsewhere", func(t *testing.T) {
		browser := front.ClientFrom("127.0.7.8")
		hops := browser.Follow(browser.Get(at("wiki", "/deep?x=1")))
		form := hops[len(hops)-1]
		asksToSignIn(t, form)
		for _, page := range hops {
			if page.URL.Scheme != "https" || page.Header.Get("Strict-Transport-Security") == "" {
				t.Errorf("%s: HSTS is %q", page.URL, page.Header.Get("Strict-Transport-Security"))
			}
			for _, cookie := range page.Cookies() {
				if !strings.HasPrefix(cookie.Name, "__Host-") || !cookie.Secure || !cookie.HttpOnly {
					t.Errorf("%s sets %s", page.URL, cookie)
				}
			}
		}
		landed(t, ada.ShowCode(browser, ada.ShowPassword(browser, form), ada.Code()), at("wiki", "/deep?x=1"))
		page := browser.Submit(browser.Visit(at("wiki", "/.mfa/sign-out")).Form(), nil)
		if page.Status >= 400 {
			t.Errorf("signing out: %d %s", page.Status, page.Text())
		}
		if page := browser.Get(at("wiki", "/")); page.Status == http.StatusOK {
			t.Error("signed out, and in")
		}
	})
	t.Run("H03 the audit log names the browser's address", func(t *testing.T) {
		thief := front.ClientFrom("127.0.7.9")
		for _, claim := range []string{"192.0.2.1", "192.0.2.1, 192.0.2.2"} {
			form := thief.Visit(at("login", "/sign-in")).Form("current-password")
			_, err := thief.Send(harness.Request{
				Method: http.MethodPost, URL: form.Action.String(), From: form.Action.String(), Body: "name=ada&password=wrong",
				Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "X-Forwarded-For": {claim}, "X-Real-Ip": {claim}, "Forwarded": {"for=192.0.2.1"}},
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		harness.Eventually(t, patience, "the addresses in the log", func() bool {
			addresses := make(map[string]int)
			for _, entry := range s.LogEntries() {
				if name := entry.Text("msg"); name == "sign_in.succeeded" || name == "sign_in.failed" {
					addresses[name+" "+entry.Text("address")]++
				}
			}
			return addresses["sign_in.succeeded 127.0.7.8"] == 1 && addresses["sign_in.failed 127.0.7.9"] == 2 && addresses["sign_in.succeeded "+home] == 1
		})
	})
	t.Run("nobody gets around the front", func(t *testing.T) {
		s.App.Reset()
		direct := fmt.Sprintf("http://wiki.example.test:%d", s.Port("web"))
		for _, c := range []struct {
			what, from string
			claims     []string
		}{
			{"the front itself, of a request that came in the clear", "127.0.0.1", []string{"http"}},
			{"a trusted peer that says nothing", "127.0.0.1", nil},
			{"a trusted peer that says two things", "127.0.0.1", []string{"https", "http"}},
			{"a stranger", "127.0.0.5", nil},
			{"a stranger who claims HTTPS", "127.0.0.5", []string{"https"}},
		} {
			for _, path := range []string{"/", "/open", "/.mfa/whoami"} {
				page, err := s.ClientFrom(c.from).Send(harness.Request{URL: direct + path, Header: http.Header{
					"Cookie": {sessionCookie + "=" + session}, "X-Forwarded-Proto": c.claims,
					"X-Forwarded-For": {home}, "Remote-User": {"ada"},
				}})
				if err != nil || page.Status != http.StatusForbidden || len(page.Cookies()) > 0 {
					t.Errorf("%s, %s: %+v, %v", c.what, path, page, err)
				}
			}
		}
		s.App.ExpectNone(t)
		landed(t, ada.Browser.Get(at("wiki", "/still")), at("wiki", "/still"))
	})
	t.Run("a configuration that trusts nobody names the host", func(t *testing.T) {
		refusal := s.MustRefuseReload(strings.Replace(behind, "trusted_proxies static 127.0.0.1/32", "max_header_size 64KB", 1))
		if !containsAll(refusal, "example.test", "trusts no proxy", "trusted_proxies static") {
			t.Errorf("the refusal is %q", refusal)
		}
		landed(t, ada.Browser.Get(at("wiki", "/still")), at("wiki", "/still"))
	})
}
