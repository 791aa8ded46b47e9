package test

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/mailbox"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// talkative is the usual scene with all that Caddy can tell: logs at each level, in
// files, an access log of every site, and spans. Programs and e-mail get in, too.
var talkative = func() string {
	written := strings.ReplaceAll(scene.Caddyfile, "\tmfa_portal\n", "\tlog {\n\t\toutput file {{.Dir}}/portal.log\n\t}\n\ttracing\n\tmfa_portal\n")
	written = strings.ReplaceAll(written, "\treverse_proxy", "\tlog {\n\t\toutput file {{.Dir}}/apps.log\n\t}\n\ttracing\n\treverse_proxy")
	written = strings.Replace(written, "\tmfa\n", "\tmfa {\n\t\ttokens service\n\t\ttokens personal {\n\t\t\tallow user erin\n\t\t}\n\t}\n", 1)
	written += "\nhttp://down.localhost:{{.Port \"web\"}} {\n\tlog\n\tmfa {\n\t\tassertion\n\t}\n\treverse_proxy 127.0.0.1:1\n}\n"
	global := "\tmetrics\n"
	for _, level := range logLevels {
		global += "\tlog at_" + level + " {\n\t\tlevel " + level + "\n\t\toutput file {{.Dir}}/" + level + ".log\n\t}\n"
	}
	mail := "\t\temail {\n\t\t\tsmtp smtp://{{.Vars.smtp}}\n\t\t\tusername portcullis\n\t\t\tpassword {env.TEST_SMTP_PASSWORD}\n\t\t\tca {{.Vars.ca}}\n\t\t\tfrom login@example.com\n\t\t}\n"
	return strings.Replace(written, "\tmfa {\n", global+"\tmfa {\n"+mail, 1)
}()

var logLevels = []string{"DEBUG", "INFO", "WARN", "ERROR"}

// collectSpans takes what the server tells of its requests as OpenTelemetry spans, and
// keeps it in a file of the scene once there is one.
func collectSpans(t *testing.T) (address string, keepIn func(file string)) {
	t.Helper()
	var mu sync.Mutex
	var spans []byte
	file := ""
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		spans = append(spans, body...)
		if file != "" {
			_ = os.WriteFile(file, spans, 0o600)
		}
	}))
	t.Cleanup(collector.Close)
	return collector.URL, func(name string) {
		mu.Lock()
		defer mu.Unlock()
		file = name
	}
}

// talkingScene is a scene of talkative with the mail server that it uses.
func talkingScene(t *testing.T) (*scene.Scene, *mailbox.Server) {
	t.Helper()
	server := mailbox.Start(t, mailbox.Options{Username: "portcullis", Password: smtpPassword})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate}), 0o600); err != nil {
		t.Fatal(err)
	}
	collector, keepIn := collectSpans(t)
	s := scene.Start(t, scene.Options{
		Caddyfile: talkative, Vars: map[string]string{"smtp": server.Address, "ca": ca},
		Env: []string{
			"TEST_SMTP_PASSWORD=" + smtpPassword,
			"OTEL_EXPORTER_OTLP_ENDPOINT=" + collector, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_BSP_SCHEDULE_DELAY=100",
		},
	})
	keepIn(filepath.Join(s.Dir(), "spans"))
	s.Canary(smtpPassword)
	return s, server
}

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
	s, server := talkingScene(t)
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
	if page = tab.open(tab.Get(s.At("down", "/private?x=1"))); page.Status != http.StatusBadGateway {
		t.Errorf("an app that is down: %d %s", page.Status, page.Text())
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
	t.Run("programs, codes and links by other ways", func(t *testing.T) {
		testCanariesElsewhere(t, tokens{s, t}, server, s.Invited("erin"))
	})
	// What is searched must hold what was done, or nothing was looked at.
	for file, told := range map[string]string{
		"portal.log": `"uri"`, "apps.log": `"uri"`, "spans": "/.mfa/callback",
		"DEBUG.log": `"level":"debug"`, "INFO.log": `"level":"info"`, "WARN.log": `"level":"warn"`, "ERROR.log": `"level":"error"`,
	} {
		harness.Eventually(t, patience, file+" to tell of "+told, func() bool {
			raw, err := os.ReadFile(filepath.Join(s.Dir(), file))
			return err == nil && strings.Contains(string(raw), told)
		})
	}
	if !strings.Contains(s.Log(), "sign_in.succeeded") {
		t.Error("the log tells of no sign-in")
	}
}

// testCanariesElsewhere uses what else opens something: tokens, codes by e-mail and by
// an administrator, and the link in a notice.
func testCanariesElsewhere(t *testing.T, s tokens, server *mailbox.Server, p *scene.Person) {
	host := strings.TrimPrefix(s.At("app", ""), "http://")
	for _, secret := range []string{s.create("ci", "--host", "app.localhost"), s.createAppPassword(p, "app.localhost", "Phone")} {
		basic := base64.StdEncoding.EncodeToString([]byte(p.Name + ":" + secret))
		s.Canary(basic)
		for _, header := range []string{
			"Authorization: Bearer " + secret, "Proxy-Authorization: Bearer " + secret, "Authorization: Basic " + basic, "Authorization: Token " + secret,
		} {
			s.Raw("web").Send(harness.Request1("GET", "/program", host, "", header))
		}
		s.Raw("web").Send(harness.Request1("GET", "/program?token="+secret, host, ""))
		for _, host := range []string{host, strings.TrimPrefix(s.At("login", ""), "http://")} {
			s.Raw("web").Send(harness.Request1("GET", "/program", host, "", "Referer: http://"+host+"/program?token="+secret))
		}
	}
	withAddress(t, s.Scene, p.Name, "erin@example.org")
	withEmail(t, s.Scene, server, p, "erin@example.net")
	page := askedByEmail(t, s.Scene, s.Client(), p)
	if page.H1() != mailedTitle && page.H1() != unsentTitle {
		t.Errorf("a code by e-mail isn't asked for: %s", page.Text())
	}
	reader := canaryTab{s.Client(), s.Scene}
	reader.open(reader.Get(linkTo(t, s.Scene, server, "erin@example.org")))
	losing := s.Client()
	page = losing.Visit(p.ShowPassword(losing, losing.Visit(s.At("login", "/sign-in"))).Link("I can't use this"))
	form := formTo(t, page, "/flow/lost")
	submitted(losing, form, map[string]string{"lose": "on"})
	accessCode(t, s.Scene, p.Name)
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
