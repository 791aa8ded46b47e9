package test

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/accesstoken"
	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// tokenCaddyfile lets services into an app, but not into the part of it that asks
// more of people.
const tokenCaddyfile = `
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
		allow group machines
		rule /strict/* {
			max_age 15m
		}
	}
	reverse_proxy {{.Vars.app}}
}

http://dav.localhost:{{.Port "web"}} {
	log
	mfa {
		tokens personal {
			allow group davers
			longest 30d
			most 2
		}
	}
	reverse_proxy {{.Vars.app}}
}

http://people.localhost:{{.Port "web"}} {
	log
	mfa {
		tokens personal {
			allow user carol
		}
	}
	reverse_proxy {{.Vars.app}}
}
`

// tokens is a server with such an app.
type tokens struct {
	*scene.Scene
	t *testing.T
}

// create makes a token, which no log and no file may hold from then on.
func (s tokens) create(arguments ...string) string {
	s.t.Helper()
	out := s.CLI(append([]string{"mfa", "token", "create"}, arguments...)...)
	token := strings.TrimSpace(out.Stdout)
	if out.Code != 0 || !strings.HasPrefix(token, "pct_s_") {
		s.t.Fatalf("mfa token create %q: %+v", arguments, out)
	}
	s.Canary(token)
	return token
}

// curl sends a request by curl, and returns the status.
func (s tokens) curl(host, path string, arguments ...string) string {
	s.t.Helper()
	arguments = append([]string{"-s", "-o", "/dev/null", "-w", "%{http_code}"}, arguments...)
	out, err := exec.Command("curl", append(arguments, s.At(host, path))...).Output()
	if err != nil {
		s.t.Fatalf("curl: %v", err)
	}
	return string(out)
}

// A01: a service gets in by its token, as curl sends it, and nowhere else.
func TestA01ServiceTokens(t *testing.T) {
	t.Parallel()
	harness.Need(t, "curl")
	s := tokens{scene.Start(t, scene.Options{Settled: 1, Caddyfile: tokenCaddyfile}), t}
	ci := s.create("ci", "--host", "app.localhost", "--group", "machines")
	reader := s.create("reader", "--host", "app.localhost", "--group", "machines", "--path", "/api", "--method", "GET")
	lonely := s.create("lonely", "--host", "app.localhost")
	for _, tt := range []struct {
		what, host, path string
		arguments        []string
		status           string
	}{
		{"a Bearer value", "app", "/x", []string{"-H", "Authorization: Bearer " + ci}, "200"},
		{"after a tab", "app", "/x", []string{"-H", "Authorization: bearer\t" + ci}, "200"},
		{"after a space outside ASCII", "app", "/x", []string{"-H", "Authorization: Bearer\u00a0" + ci}, "401"},
		{"a password", "app", "/x", []string{"-u", "ci:" + ci}, "200"},
		{"a post", "app", "/x", []string{"-u", "ci:" + ci, "-d", "a=b"}, "200"},
		{"within its path", "app", "/api/x", []string{"-u", "x:" + reader}, "200"},
		{"out of its path", "app", "/apix", []string{"-u", "x:" + reader}, "403"},
		{"another method", "app", "/api/x", []string{"-u", "x:" + reader, "-X", "DELETE"}, "403"},
		{"not in the group", "app", "/x", []string{"-u", "x:" + lonely}, "403"},
		{"where more is asked of people", "app", "/strict/x", []string{"-u", "x:" + ci}, "401"},
		{"where tokens are off", "people", "/x", []string{"-u", "x:" + ci}, "401"},
		{"in the query", "app", "/x?token=" + ci, nil, "400"},
		{"at the portal", "login", "/account", []string{"-u", "x:" + ci}, "303"},
	} {
		s.App.Reset()
		if status := s.curl(tt.host, tt.path, tt.arguments...); status != tt.status {
			t.Errorf("%s: %s, not %s", tt.what, status, tt.status)
		}
		if tt.status != "200" {
			s.App.ExpectNone(t)
			continue
		}
		seen := s.App.ExpectOne(t)
		if user := seen.Header.Get("Remote-User"); !strings.HasSuffix(user, "@token") || seen.Header.Get("Remote-Program")+"@token" != user || seen.Header["Authorization"] != nil {
			t.Errorf("%s: the app saw %v", tt.what, seen.Header)
		}
	}
	s.showAndRevoke(ci)
}

// showAndRevoke wants a token shown without what makes it one, and everything to end
// with it.
func (s tokens) showAndRevoke(ci string) {
	s.t.Helper()
	for _, command := range []string{"list", "show ci"} {
		out := s.CLI(append([]string{"mfa", "token"}, strings.Fields(command)...)...)
		if out.Code != 0 || !strings.Contains(out.Stdout, "machines") || strings.Contains(out.Stdout, "pct_") {
			s.t.Errorf("mfa token %s: %+v", command, out)
		}
	}
	if out := s.CLI("mfa", "token", "create", "stray", "--host", "app.localhost", "--host", "elsewhere.localhost"); out.Code != 1 || !strings.Contains(out.Stderr, "No site with mfa has the host elsewhere.localhost") {
		s.t.Errorf("a token for a host that no gate serves: %+v", out)
	}
	if out := s.CLI("mfa", "token", "create", "ci", "--host", "app.localhost"); out.Code == 0 || !strings.Contains(out.Stderr, "revoke it first") {
		s.t.Errorf("a name was taken twice: %+v", out)
	}
	stream := s.Client().Download(s.t, harness.Request{
		URL: s.At("app", "/events"), Mode: harness.Fetch,
		Header: http.Header{"Accept": {"text/event-stream"}, "Authorization": {"Bearer " + ci}},
	})
	out := s.CLI("mfa", "token", "renew", "ci", "--json")
	var renewed struct{ Token string }
	if err := json.Unmarshal([]byte(out.Stdout), &renewed); err != nil || renewed.Token == "" || renewed.Token == ci {
		s.t.Fatalf("mfa token renew: %+v", out)
	}
	s.Canary(renewed.Token)
	for _, secret := range []string{ci, renewed.Token} {
		if status := s.curl("app", "/x", "-u", "ci:"+secret); status != "200" {
			s.t.Errorf("after a renewal, a token gets %s", status)
		}
	}
	if out := s.CLIWithInput(ci+"\n", "mfa", "token", "check", "-"); out.Code != 0 || !strings.Contains(out.Stdout, "ci") || !strings.Contains(out.Stdout, "valid") {
		s.t.Errorf("mfa token check -: %+v", out)
	}
	if out := s.CLI("mfa", "token", "check", ci); out.Code == 0 || !strings.Contains(out.Stderr, "standard input") {
		s.t.Errorf("a token on the command line: %+v", out)
	}
	spare := s.create("spare", "--host", "app.localhost", "--group", "machines")
	if out := s.CLIWithInput(spare, "mfa", "token", "revoke", "-", "--json"); out.Code != 0 || !strings.Contains(out.Stdout, `"status":"revoked"`) {
		s.t.Errorf("mfa token revoke -: %+v", out)
	}
	if out := s.CLIWithInput(spare, "mfa", "token", "check", "-"); out.Code != 0 || !strings.Contains(out.Stdout, "revoked") {
		s.t.Errorf("mfa token check - of a revoked token: %+v", out)
	}
	if out := s.CLIWithInput("pct_s_unknown", "mfa", "token", "check", "-"); out.Code != 3 {
		s.t.Errorf("mfa token check - of no token: %+v", out)
	}
	if status := s.curl("login", "/token/revoke", "-d", "token=pct_s_unknown"); status != "200" {
		s.t.Errorf("revoking a token that doesn't exist gets %s", status)
	}
	if status := s.curl("login", "/token/revoke", "-d", "token="+renewed.Token); status != "200" {
		s.t.Errorf("revoking a token by its holder gets %s", status)
	}
	harness.Eventually(s.t, patience, "the stream to end", stream.Ended)
	for _, secret := range []string{ci, renewed.Token} {
		if status := s.curl("app", "/x", "-u", "ci:"+secret); status != "401" {
			s.t.Errorf("a revoked token gets %s", status)
		}
	}
	expectAudited(s.t, s.Scene, 1, "token.revoked", "", map[string]string{"token": "ci", "reason": "holder"})
}

const appPasswords = "/account/app-passwords"

// shownOnce is an app password on the page that shows it.
var shownOnce = regexp.MustCompile(accesstoken.Pattern)

// createAppPassword has somebody create an app password on the account page.
func (s tokens) createAppPassword(p *scene.Person, host, name string) string {
	s.t.Helper()
	form := formTo(s.t, p.Browser.Visit(s.At("login", appPasswords+"/add?host="+host)), appPasswords+"/add")
	page := p.Browser.Submit(form, map[string]string{"name": name})
	found := shownOnce.FindString(page.Text())
	if page.Status != http.StatusOK || found == "" {
		s.t.Fatalf("creating an app password: %d %s", page.Status, page.Text())
	}
	s.Canary(found)
	return found
}

// A01: a person creates an app password, and it opens its app as long as they may.
func TestA01AppPasswords(t *testing.T) {
	t.Parallel()
	harness.Need(t, "curl")
	s := tokens{scene.Start(t, scene.Options{Settled: 3, Caddyfile: tokenCaddyfile}), t}
	s.Administrator("ada")
	bob, carol := s.Invited("bob", "davers"), s.Invited("carol")
	if page := carol.Browser.Visit(s.At("login", appPasswords+"/add?host=dav.localhost")); page.Status != http.StatusNotFound {
		t.Errorf("somebody who isn't in the group gets %d", page.Status)
	}
	says(t, bob.Browser.Visit(s.At("login", "/account")), http.StatusOK, "App passwords")
	says(t, bob.Browser.Visit(s.At("login", appPasswords)), http.StatusOK, "dav.localhost", "You don't have any app passwords.")
	phone := s.createAppPassword(bob, "dav.localhost", "Phone")
	laptop := s.createAppPassword(bob, "dav.localhost", "Laptop")
	form := formTo(t, bob.Browser.Visit(s.At("login", appPasswords+"/add?host=dav.localhost")), appPasswords+"/add")
	says(t, bob.Browser.Submit(form, map[string]string{"name": "Laptop"}), http.StatusUnprocessableEntity, "already have an app password with this name")
	says(t, bob.Browser.Submit(form, map[string]string{"name": "Tablet"}), http.StatusConflict, "You already have 2 app passwords for this app.")
	for _, tt := range []struct{ what, host, status string }{
		{"the app", "dav", "200"}, {"another", "people", "401"}, {"one for services", "app", "401"}, {"the portal", "login", "303"},
	} {
		if status := s.curl(tt.host, "/account", "-u", "bob:"+phone); status != tt.status {
			t.Errorf("%s answers %s, not %s", tt.what, status, tt.status)
		}
	}
	seen := s.App.ExpectOne(t)
	if seen.Header.Get("Remote-User") != "bob" || seen.Header.Get("Remote-Program") != "Phone" || seen.Header["Authorization"] != nil {
		t.Errorf("the app saw %v", seen.Header)
	}
	if out := s.CLI("mfa", "token", "list"); !regexp.MustCompile(`(?m)^Phone +bob +valid +dav\.localhost `).MatchString(out.Stdout) {
		t.Errorf("the list of tokens doesn't say whose they are: %+v", out)
	}
	gone := func(what, secret string) {
		t.Helper()
		harness.Eventually(t, patience, what, func() bool { return s.curl("dav", "/x", "-u", "bob:"+secret) == "401" })
	}
	t.Run("revoked by its owner", func(t *testing.T) {
		page := bob.Browser.Click(bob.Browser.Visit(s.At("login", appPasswords)).Link("Revoke Phone"))
		says(t, submitted(bob.Browser, formTo(t, page, appPasswords+"/revoke"), nil), http.StatusOK, "The program that used it is signed out.")
		gone("a revoked app password to end", phone)
	})
	t.Run("ticked at a change of the password", func(t *testing.T) {
		const chosen = "marmalade trombone bob 83"
		s.Canary(chosen)
		form := formTo(t, bob.Browser.Visit(s.At("login", "/account/password")), "/account/password")
		landed(t, submitted(bob.Browser, form, map[string]string{"current-password": bob.Password, "new-password": chosen}), s.At("login", "/account"))
		gone("an app password to end with the password", laptop)
		bob.Password = chosen
	})
	t.Run("ended by a reset", func(t *testing.T) {
		tablet := s.createAppPassword(bob, "dav.localhost", "Tablet")
		if status := s.curl("dav", "/x", "-u", "bob:"+tablet); status != "200" {
			t.Errorf("a new one gets %s", status)
		}
		if out := s.CLI("mfa", "user", "reset-factors", "bob"); out.Code != 0 {
			t.Fatalf("%+v", out)
		}
		gone("an app password to end with a reset", tablet)
	})
	t.Run("with its owner, and by an administrator", func(t *testing.T) {
		watch := s.createAppPassword(carol, "people.localhost", "Watch")
		answers := func(what, status string) {
			t.Helper()
			harness.Eventually(t, patience, what, func() bool { return s.curl("people", "/x", "-u", "carol:"+watch) == status })
		}
		mfa := func(want string, arguments ...string) {
			t.Helper()
			if out := s.CLI(append([]string{"mfa"}, arguments...)...); !strings.Contains(out.Stdout+out.Stderr, want) {
				t.Errorf("mfa %q: %+v", arguments, out)
			}
		}
		answers("a new app password to work", "200")
		s.create("cron", "--host", "app.localhost", "--owner", "carol")
		mfa("Disabled", "user", "disable", "carol")
		answers("it to end with its owner", "401")
		mfa("the owner can't sign in", "token", "renew", "cron")
		mfa("Owner:", "token", "show", "cron")
		mfa("nabled", "user", "enable", "carol")
		answers("it to work again", "200")
		mfa("User:       carol", "token", "show", "Watch", "--user", "carol")
		mfa("no app password with this name", "token", "revoke", "Watch", "--user", "bob")
		mfa("Revoked: Watch of carol.", "token", "revoke", "Watch", "--user", "carol")
		answers("a revoked app password to end", "401")
	})
	expectAudited(t, s.Scene, 3, "token.created", "bob", nil)
	expectAudited(t, s.Scene, 3, "token.revoked", "bob", nil)
	expectAudited(t, s.Scene, 1, "token.revoked", "carol", map[string]string{"token": "Watch", "by": "administrator"})
}
