package test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/test/scene"
)

// accessCodeOnScreen is a line that holds an access code alone.
var accessCodeOnScreen = regexp.MustCompile(`(?m)^[0-9A-Z]{4}(?:[ -][0-9A-Z]{4}){3}$`)

// TestChangingAndDeletingUsers changes somebody who is signed in, and deletes
// them.
func TestChangingAndDeletingUsers(t *testing.T) {
	t.Parallel()
	type user struct {
		Name, Email     string
		DisplayName     string `json:"display_name"`
		Groups, Factors []string
		Sessions        []struct{ ID string }
	}
	type done struct {
		User    *user
		Warning string
	}
	s := scene.Start(t, scene.Options{Settled: 4})
	ada, bob := s.Administrator("ada"), s.Invited("bob", "staff")

	t.Run("what no flag names stays", func(t *testing.T) {
		for _, c := range []struct {
			flags []string
			want  user
		}{
			{[]string{"--email", "Bob@Example.com"}, user{Name: "bob", DisplayName: "bob", Email: "bob@example.com", Groups: []string{"staff"}}},
			{[]string{"--name", "Bob B", "--group", "ops", "--group", "dev"}, user{Name: "bob", DisplayName: "Bob B", Email: "bob@example.com", Groups: []string{"ops", "dev"}}},
			{[]string{"--email", ""}, user{Name: "bob", DisplayName: "Bob B", Groups: []string{"ops", "dev"}}},
			{[]string{"--no-groups"}, user{Name: "bob", DisplayName: "Bob B"}},
			{[]string{"--name=", "--group=staff"}, user{Name: "bob", Groups: []string{"staff"}}},
		} {
			got := decoded[done](t, expectDone(t, s, append([]string{"mfa", "user", "set", "BOB", "--json"}, c.flags...)...))
			if got.Warning != "" || got.User.Name != c.want.Name || got.User.DisplayName != c.want.DisplayName ||
				got.User.Email != c.want.Email || !slices.Equal(got.User.Groups, c.want.Groups) {
				t.Errorf("%q: %+v", c.flags, got.User)
			}
		}
		if out := expectDone(t, s, "mfa", "user", "set", "bob", "--email", "b@example.com"); !regexp.MustCompile(`(?m)^E-mail: +b@example\.com$`).MatchString(out.Stdout) || strings.Contains(out.Stdout, "Set up") {
			t.Errorf("for the eye: %q", out.Stdout)
		}
	})
	t.Run("it is in force for who is signed in", func(t *testing.T) {
		if page := bob.Browser.Visit(s.At("admin", "/")); page.Status != http.StatusForbidden {
			t.Errorf("before: %d", page.Status)
		}
		expectDone(t, s, "mfa", "user", "set", "bob", "--group", "admins", "--rename", "Robert")
		if page := bob.Browser.Visit(s.At("admin", "/")); page.Status != http.StatusOK || page.H1() != "Hello robert" {
			t.Errorf("after: %d %s", page.Status, page.Text())
		}
		expectDone(t, s, "mfa", "user", "set", "robert", "--no-groups", "--rename", "bob")
		if page := bob.Browser.Visit(s.At("admin", "/")); page.Status != http.StatusForbidden {
			t.Errorf("taken out again: %d", page.Status)
		}
		expectIn(t, s, bob.Browser, "bob")
	})
	t.Run("mistakes are told in plain sentences", func(t *testing.T) {
		for _, c := range []struct{ arguments, says string }{
			{"user set nemo --no-groups", "no user has this name"},
			{"user set bob", "give --rename, --name, --email, --group or --no-groups"},
			{"user set bob --group a --no-groups", "--no-groups and --group can't be given together"},
			{"user set bob --rename ada", "the name or the e-mail address is taken"},
			{"user set bob --rename a@b", "A user name can't contain @."},
			{"user set bob --group a,b", "A group name can't contain a comma."},
			{"user set bob --email nonsense", "That isn't an e-mail address."},
			{"user set .. --no-groups", `".." can't be a name or an ID`},
			{"user delete nemo", "no user has this name"},
			{"user delete", "write caddy mfa user delete NAME"},
			{"user forget-browser nemo 0123456789ab", "no user has this name"},
			{"user forget-browser bob 0123456789ab", "no remembered browser of this user has this ID"},
			{"keys rotate now", "write caddy mfa keys rotate"},
			{"access-code nemo", "no user has this name"},
			{"access-code", "write caddy mfa access-code NAME"},
			{"access-code ..", `".." can't be a name or an ID`},
			{"user reset-factors nemo", "no user has this name"},
			{"user reset-factors nemo --password", "no user has this name"},
			{"user reset-factors", "write caddy mfa user reset-factors NAME"},
			{"user reset-factors bob --passwords", "unknown flag: --passwords"},
			{"templates export", "write caddy mfa templates export DIRECTORY"},
		} {
			out := s.CLI(append([]string{"mfa"}, strings.Fields(c.arguments)...)...)
			if out.Code == 0 || !strings.Contains(out.Stderr, c.says) {
				t.Errorf("mfa %s: %+v", c.arguments, out)
			}
		}
		expectIn(t, s, bob.Browser, "bob")
	})
	t.Run("somebody who hasn't set up", func(t *testing.T) {
		s.Invitation("newcomer")
		for arguments, says := range map[string]string{
			"access-code newcomer":                   "the user hasn't set up their account yet, or is disabled",
			"user reset-factors newcomer":            "the user hasn't set up their account yet: run `caddy mfa user invite` for a new link",
			"user reset-factors newcomer --password": "the user hasn't set up their account yet: run `caddy mfa user invite` for a new link",
		} {
			if out := s.CLI(append([]string{"mfa"}, strings.Fields(arguments)...)...); out.Code == 0 || out.Stdout != "" || !strings.HasPrefix(out.Stderr, "Error: "+says) {
				t.Errorf("mfa %s: %+v", arguments, out)
			}
		}
	})
	t.Run("a code for somebody who lost everything", func(t *testing.T) {
		out := expectDone(t, s, "mfa", "access-code", "BOB")
		code := accessCodeOnScreen.FindString(out.Stdout)
		s.Canary(code, strings.ReplaceAll(code, " ", ""))
		if code == "" || !strings.Contains(out.Stdout, "It works once, until ") || !strings.Contains(out.Stdout, "only to set up a new second factor") {
			t.Errorf("for the eye: %q", out.Stdout)
		}
		expectIn(t, s, bob.Browser, "bob")
	})
	t.Run("a reset, for the eye", func(t *testing.T) {
		carol, dan := s.Invited("carol"), s.Invited("dan")
		out := expectDone(t, s, "mfa", "user", "reset-factors", "carol")
		if code := accessCodeOnScreen.FindString(out.Stdout); code == "" || !strings.HasPrefix(out.Stdout, "Removed: backup_code, totp. Sessions ended: 1.") {
			t.Errorf("it says %q", out.Stdout)
		}
		expectShut(t, s, carol.Browser)
		out = expectDone(t, s, "mfa", "user", "reset-factors", "dan", "--password")
		if !linkOnScreen.MatchString(out.Stdout) || accessCodeOnScreen.MatchString(out.Stdout) || !strings.HasPrefix(out.Stdout, "Removed: backup_code, password, totp. Sessions ended: 1.") {
			t.Errorf("with the password it says %q", out.Stdout)
		}
		expectShut(t, s, dan.Browser)
		expectDone(t, s, "mfa", "user", "disable", "carol")
		if out = expectDone(t, s, "mfa", "user", "reset-factors", "carol"); accessCodeOnScreen.MatchString(out.Stdout) || !strings.Contains(out.Stdout, "Removed: nothing. Sessions ended: 0.") ||
			!strings.Contains(out.Stdout, "The user is disabled.") {
			t.Errorf("disabled: %q", out.Stdout)
		}
		expectIn(t, s, bob.Browser, "bob")
	})
	t.Run("new keys", func(t *testing.T) {
		if out := expectDone(t, s, "mfa", "keys", "rotate"); !strings.HasPrefix(out.Stdout, "New keys have been made.") {
			t.Errorf("%q", out.Stdout)
		}
		if out := s.CLI("mfa", "keys", "rotate"); out.Code == 0 || strings.Contains(out.Stderr, "asking the running server") {
			t.Errorf("again at once: %+v", out)
		}
		expectIn(t, s, bob.Browser, "bob")
	})
	t.Run("the last administrator", func(t *testing.T) {
		const warning = "no active user is an administrator now"
		for _, arguments := range [][]string{{"user", "set", "ada", "--no-groups"}, {"user", "disable", "ada"}} {
			if got := decoded[done](t, expectDone(t, s, append([]string{"mfa", "--json"}, arguments...)...)); got.Warning != warning {
				t.Errorf("%q: %+v", arguments, got)
			}
			if out := expectDone(t, s, append([]string{"mfa"}, arguments...)...); !strings.Contains(out.Stdout, "Warning: "+warning) {
				t.Errorf("%q for the eye: %q", arguments, out.Stdout)
			}
		}
		expectDone(t, s, "mfa", "user", "enable", "ada")
		if got := decoded[done](t, expectDone(t, s, "mfa", "user", "set", "ada", "--group", "admins", "--json")); got.Warning != "" {
			t.Errorf("put back: %+v", got)
		}
	})
	t.Run("deleting says what it deleted", func(t *testing.T) {
		got := decoded[done](t, expectDone(t, s, "mfa", "user", "delete", "Bob", "--json"))
		if got.User == nil || got.User.Name != "bob" || len(got.User.Factors) != 3 || len(got.User.Sessions) != 1 || got.Warning != "" {
			t.Errorf("%+v", got)
		}
		expectShut(t, s, bob.Browser)
		expectAudited(t, s, 1, "sign_on.ended", "bob", map[string]string{"by": "administrator", "reason": "user_deleted"})
		browser := s.Client()
		if page := bob.ShowPassword(browser, browser.Visit(s.At("app", "/"))); page.Status != http.StatusUnprocessableEntity {
			t.Errorf("signing in again led to %d: %s", page.Status, page.Text())
		}
		other := s.Invited("bob") // the name is free, and it is somebody else
		expectIn(t, s, other.Browser, "bob")
		expectShut(t, s, bob.Browser)
		if out := expectDone(t, s, "mfa", "user", "delete", "bob"); !strings.Contains(out.Stdout, "Deleted, with all sessions and everything that was set up:") || !strings.Contains(out.Stdout, "backup_code, password, totp") {
			t.Errorf("for the eye: %q", out.Stdout)
		}
		expectDone(t, s, "mfa", "user", "delete", "ada")
		expectShut(t, s, ada.Browser)
	})
}
