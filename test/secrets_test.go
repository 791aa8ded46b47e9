package test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// talkative is the usual scene with all that Caddy can tell: the harness has
// the debug log on, and here every site has an access log, in a file.
var talkative = func() string {
	logged := strings.ReplaceAll(scene.Caddyfile, "\tmfa_portal\n", "\tlog {\n\t\toutput file {{.Dir}}/portal.log\n\t}\n\tmfa_portal\n")
	logged = strings.ReplaceAll(logged, "\treverse_proxy", "\tlog {\n\t\toutput file {{.Dir}}/apps.log\n\t}\n\treverse_proxy")
	return strings.Replace(logged, "\tmfa {\n", "\tmetrics\n\tmfa {\n", 1)
}()

// canaryTab is a browser that notes every secret that passes through it.
type canaryTab struct {
	*harness.Client
	s *scene.Scene
}

// open visits an address and notes what is set and shown on the way.
func (tab canaryTab) open(page *harness.Page) *harness.Page {
	hops := tab.Follow(page)
	for _, hop := range hops {
		for _, cookie := range hop.Cookies() {
			tab.s.Canary(cookie.Value)
		}
		for _, query := range []url.Values{hop.URL.Query(), secretsOf(hop.Location())} {
			tab.s.Canary(query.Get("token"), query.Get("ticket"))
		}
	}
	return hops[len(hops)-1]
}

func secretsOf(address string) url.Values {
	parsed, err := url.Parse(address)
	if err != nil {
		return nil
	}
	return parsed.Query()
}

// TestD02SecretsStayOutOfLogsAndFiles signs people in, and lets them fail, in
// every way there is. The harness then searches logs, metrics, configuration
// and every file for what they used.
func TestD02SecretsStayOutOfLogsAndFiles(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Caddyfile: talkative})
	tab := canaryTab{s.Client(), s}

	// A whole set-up, cookies and all.
	link := s.SetupLink()
	password := "correct horse canary staple"
	s.Canary(password)
	page := tab.open(tab.Get(link))
	page = tab.open(tab.Submit(page.Form("new-password"), map[string]string{"name": "ada", "new-password": password}))
	ada := canaryAuthenticator(t, s, scene.SecretOn(page))
	page = tab.open(tab.Submit(page.Form("one-time-code"), map[string]string{"one-time-code": ada(-1)}))
	codes := scene.CodesOn(page)
	s.Canary(codes...)
	for _, code := range codes {
		s.Canary(strings.ReplaceAll(code, "-", "")) // as it is kept in mind
	}
	tab.open(tab.Get(page.Link("Download")))
	page = tab.open(tab.Submit(page.Form("saved"), map[string]string{"saved": "yes"}))
	if page.URL.Path != "/" {
		t.Fatalf("setting up ended at %d %s", page.Status, page.URL)
	}
	// From the portal into two apps, whose gates get tickets.
	for _, app := range []string{"app", "admin"} {
		if page = tab.open(tab.Get(s.At(app, "/private?x=1"))); page.H1() != "Hello ada" {
			t.Fatalf("%s: %d %s", app, page.Status, page.Text())
		}
	}
	for _, seen := range append(s.App.Requests(), s.Admin.Requests()...) {
		for name, values := range seen.Header {
			if strings.Contains(strings.Join(values, " "), "__Host-mfa") {
				t.Errorf("an app got a cookie of ours in %s: %q", name, values)
			}
		}
	}

	t.Run("signing in at an app, by either factor, with mistakes", func(t *testing.T) {
		for i, factor := range []string{"totp", "backup_code"} {
			tab := canaryTab{s.Client(), s}
			typo := "horse correct canary " + factor
			s.Canary(typo)
			page := tab.open(tab.Get(s.At("app", "/")))
			// People type passwords into the field for the name.
			page = tab.open(tab.Submit(page.Form("current-password"), map[string]string{"username": typo, "current-password": "-"}))
			page = tab.open(tab.Submit(page.Form("current-password"), map[string]string{"username": "ada", "current-password": typo}))
			page = tab.open(tab.Submit(page.Form("current-password"), map[string]string{"username": "ada", "current-password": password}))
			code := ada(0)
			if factor == "backup_code" {
				page = tab.open(tab.Get(page.Link("Use a backup code")))
				page = tab.open(tab.Submit(page.Form("one-time-code"), map[string]string{"one-time-code": "ZZZZ-YYYY-XXXX"}))
				code = codes[i]
			}
			page = tab.open(tab.Submit(page.Form("one-time-code"), map[string]string{"one-time-code": code}))
			if page.H1() != "Hello ada" {
				t.Fatalf("signing in by %s: %d %s", factor, page.Status, page.Text())
			}
			tab.open(tab.Get(s.At("app", "/.mfa/sign-out")))
		}
		s.Canary("ZZZZ-YYYY-XXXX")
	})
	t.Run("links that don't work, and what is opened from there", func(t *testing.T) {
		invitation := s.Invitation("bob")
		s.Link("mfa", "user", "invite", "bob", "--json")
		for _, dead := range []string{link, invitation} {
			tab := canaryTab{s.Client(), s}
			page := tab.open(tab.Get(dead))
			if page.Status != http.StatusGone {
				t.Errorf("a dead link: %d", page.Status)
			}
			// The address that the browser shows holds the token still.
			tab.Click(page.Link("Sign in"))
		}
	})
	t.Run("links in other spellings, and what is opened from there", func(t *testing.T) {
		invitation := s.Invitation("carol")
		query := invitation[strings.Index(invitation, "?"):]
		s.Canary(strings.TrimPrefix(query, "?token="))
		for _, path := range []string{"//invitation", "/invitation/", "/INVITATION", "/%69nvitation", "/invitation/x", "/setup/"} {
			tab := canaryTab{s.Client(), s}
			tab.open(tab.Get(s.At("login", path) + query))
			tab.Click("/sign-in")
		}
	})
	t.Run("links with bodies, methods and headers that are refused", func(t *testing.T) {
		invitation, err := url.Parse(s.Invitation("dave"))
		if err != nil {
			t.Fatal(err)
		}
		s.Canary(invitation.Query().Get("token"))
		const form = "Content-Type: application/x-www-form-urlencoded"
		for name, raw := range map[string][]byte{
			"too large":         harness.Request1("POST", invitation.RequestURI(), invitation.Host, strings.Repeat("x", 1<<20), form, "Content-Length: 1048576"),
			"no form":           harness.Request1("POST", invitation.RequestURI(), invitation.Host, "{}", "Content-Type: application/json", "Content-Length: 2"),
			"another's":         harness.Request1("POST", invitation.RequestURI(), invitation.Host, "a=b", form, "Content-Length: 3", "Origin: http://evil.example"),
			"an unknown method": harness.Request1("BREW", invitation.RequestURI(), invitation.Host, ""),
			"TRACE":             harness.Request1("TRACE", invitation.RequestURI(), invitation.Host, ""),
			"a whole address":   harness.Request1("GET", invitation.String(), invitation.Host, ""),
			"at an app":         harness.Request1("GET", invitation.RequestURI(), fmt.Sprintf("app.localhost:%d", s.Port("web")), ""),
			"half a body":       harness.Request1("POST", invitation.RequestURI(), invitation.Host, "a=", form, "Content-Length: 99", "Connection: close"),
			"bad chunks":        harness.Request1("POST", invitation.RequestURI(), invitation.Host, "zz\r\n", form, "Transfer-Encoding: chunked"),
		} {
			if name == "half a body" {
				connection, err := s.Raw("web").HTTP1()
				if err != nil {
					t.Fatal(err)
				}
				_, _ = connection.Write(raw)
				connection.Close()
				continue
			}
			if response := s.Raw("web").Send(raw); response.Status == http.StatusOK {
				t.Errorf("%s: %d", name, response.Status)
			}
		}
	})
	t.Run("a ticket that came too late", func(t *testing.T) {
		tab := canaryTab{s.Client(), s}
		page := tab.open(tab.Get(s.At("app", "/.mfa/callback?ticket=canary-ticket-of-nobody&request=canary-request")))
		s.Canary("canary-ticket-of-nobody")
		if page.Status != http.StatusBadRequest {
			t.Errorf("%d %s", page.Status, page.Text())
		}
		// The app is opened from the page whose address holds the ticket.
		tab.Click(s.At("app", "/"))
	})
	// What is searched must hold what was done, or nothing was looked at.
	for _, file := range []string{"portal.log", "apps.log"} {
		raw, err := os.ReadFile(filepath.Join(s.Dir(), file))
		if err != nil || !strings.Contains(string(raw), `"uri"`) {
			t.Errorf("%s tells nothing: %v", file, err)
		}
	}
	if !strings.Contains(s.Log(), "sign_in.succeeded") {
		t.Error("the log tells of no sign-in")
	}
}

// canaryAuthenticator makes codes of a secret and notes both.
func canaryAuthenticator(t *testing.T, s *scene.Scene, secret string) func(steps int) string {
	s.Canary(secret)
	return func(steps int) string {
		p := &scene.Person{Secret: secret}
		code := codeAt(t, p, steps)
		s.Canary(code)
		return code
	}
}
