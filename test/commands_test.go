package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// decoded reads what a command printed as JSON.
func decoded[T any](t *testing.T, out harness.Output) T {
	t.Helper()
	var value T
	if err := json.Unmarshal([]byte(out.Stdout), &value); err != nil {
		t.Fatalf("%v: %+v", err, out)
	}
	return value
}

var linkOnScreen = regexp.MustCompile(`(?m)^http://login\.localhost:\d+/(setup|invitation)\?token=[\w-]{43}$`)

// TestCommands does an operator's day, for the eye and for scripts.
func TestCommands(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{})
	type user struct {
		Name, DisplayName, Email, Status string
		Groups, Factors                  []string
		Sessions                         []struct{ ID, User string }
	}
	type ended struct{ Ended int }

	if out := expectDone(t, s, "mfa", "user", "list"); !strings.Contains(out.Stdout, "No users yet. Run `caddy mfa setup-link`") {
		t.Errorf("nobody there: %q", out.Stdout)
	}
	if out := expectDone(t, s, "mfa", "session", "list"); out.Stdout != "No live sessions.\n" {
		t.Errorf("no sessions: %q", out.Stdout)
	}
	if out := expectDone(t, s, "mfa", "setup-link"); !linkOnScreen.MatchString(out.Stdout) || !strings.Contains(out.Stdout, "It works once, until ") {
		t.Errorf("setup-link: %q", out.Stdout)
	}
	s.Administrator("ada")

	for _, arguments := range [][]string{
		{"mfa", "user", "add", "Bob", "--email", "Bob@Example.com", "--name", "Bob Builder", "--group", "staff", "--group", "ops"},
		{"mfa", "user", "invite", "BOB"},
	} {
		if out := expectDone(t, s, arguments...); !linkOnScreen.MatchString(out.Stdout) {
			t.Errorf("%q: %q", arguments, out.Stdout)
		}
	}
	if out := expectDone(t, s, "mfa", "user", "list"); !regexp.MustCompile(`(?m)^NAME +STATUS +GROUPS +E-MAIL +DISPLAY NAME *\nada +active +admins .*\nbob +invited +staff,ops +bob@example\.com +Bob Builder$`).MatchString(out.Stdout) {
		t.Errorf("user list:\n%s", out.Stdout)
	}
	users := decoded[[]map[string]any](t, expectDone(t, s, "mfa", "user", "list", "--json"))
	if len(users) != 2 || users[1]["display_name"] != "Bob Builder" || users[1]["email"] != "bob@example.com" || fmt.Sprint(users[1]["groups"]) != "[staff ops]" {
		t.Errorf("user list --json: %v", users)
	}
	s.SetUp("bob", s.Link("mfa", "user", "invite", "bob", "--json"))
	shown := decoded[user](t, expectDone(t, s, "mfa", "user", "show", "bob", "--json"))
	if !slices.Equal(shown.Factors, []string{"backup_code", "password", "totp"}) || len(shown.Sessions) != 1 || shown.Status != "active" {
		t.Errorf("user show --json: %+v", shown)
	}
	if out := expectDone(t, s, "mfa", "user", "show", "bob"); !strings.Contains(out.Stdout, "backup_code, password, totp") || !strings.Contains(out.Stdout, shown.Sessions[0].ID) ||
		strings.Contains(out.Stdout, "USER") || out.Stderr != "Portal: "+s.At("login", "")+"\n" {
		t.Errorf("user show:\n%s\n%s", out.Stdout, out.Stderr)
	}

	t.Run("one session by its id", func(t *testing.T) {
		id := shown.Sessions[0].ID
		if out := expectDone(t, s, "mfa", "session", "list", "--user", "bob"); !strings.Contains(out.Stdout, id) || strings.Contains(out.Stdout, "ada") {
			t.Errorf("session list --user:\n%s", out.Stdout)
		}
		if out := expectDone(t, s, "mfa", "session", "end", id); out.Stdout != "Ended: 1.\n" {
			t.Errorf("session end: %q", out.Stdout)
		}
		if out := s.CLI("mfa", "session", "end", id); out.Code == 0 || !strings.Contains(out.Stderr, "no live session has this ID") {
			t.Errorf("ended twice: %+v", out)
		}
		if sessionsOf(t, s, "bob") != 0 || sessionsOf(t, s, "ada") != 1 {
			t.Error("another session ended than was named")
		}
	})
	t.Run("all sessions of a user", func(t *testing.T) {
		if got := decoded[ended](t, expectDone(t, s, "mfa", "session", "end", "--user", "ADA", "--json")); got.Ended != 1 {
			t.Errorf("ended %d", got.Ended)
		}
		if out := expectDone(t, s, "mfa", "session", "list", "--json"); strings.TrimSpace(out.Stdout) != "[]" {
			t.Errorf("left: %s", out.Stdout)
		}
	})
	t.Run("disable, enable and unlock say what they did", func(t *testing.T) {
		for _, c := range []struct{ command, says, status string }{
			{"disable", "Disabled. All sessions of the user have ended.", "disabled"},
			{"enable", "Enabled.", "active"},
			{"unlock", "Unlocked.", "active"},
		} {
			if out := expectDone(t, s, "mfa", "user", c.command, "bob"); strings.TrimSpace(out.Stdout) != c.says {
				t.Errorf("%s: %q", c.command, out.Stdout)
			}
			if out := expectDone(t, s, "mfa", "user", c.command, "bob", "--json"); strings.TrimSpace(out.Stdout) != "{}" {
				t.Errorf("%s --json: %q", c.command, out.Stdout)
			}
			if got := decoded[user](t, expectDone(t, s, "mfa", "user", "show", "bob", "--json")); got.Status != c.status {
				t.Errorf("after %s: %s", c.command, got.Status)
			}
		}
	})
	t.Run("events", func(t *testing.T) { testEvents(t, s) })
	t.Run("mistakes are told in plain sentences", func(t *testing.T) {
		const nobody = "no user has this name"
		for _, c := range []struct {
			arguments string
			says      string
		}{
			{"user show nemo", nobody}, {"user invite nemo", nobody}, {"user disable nemo", nobody},
			{"user enable nemo", nobody}, {"user unlock nemo", nobody},
			{"session list --user nemo", nobody}, {"session end --user nemo", nobody},
			{"user show a/../ada", nobody}, {"user disable %2e%2e", nobody},
			{"user show .", `"." can't be a name or an ID`}, {"user disable ..", `".." can't be a name or an ID`},
			{"session end 0123456789ab", "no live session has this ID"},
			{"session end", "give one session ID, or --user NAME"},
			{"session end x y", "give one session ID, or --user NAME"},
			{"session end x --user ada", "give one session ID, or --user NAME"},
			{"user add", "write caddy mfa user add NAME: nothing was given"},
			{"user add a b", `write caddy mfa user add NAME: "a b" was given`},
			{"device list a b", `write caddy mfa device list [USER]: "a b" was given`},
			{"setup-link x", `write caddy mfa setup-link: "x" was given`},
			{"user remove bob", `unknown command "remove" for "caddy mfa user": did you mean delete?`},
			{"user lsit", "did you mean list or set?"}, {"usr list", "did you mean user?"},
			{"session frobnicate x", "caddy mfa session --help lists them"},
			{"user add ada", "the name or the e-mail address is taken"},
			{"user add eve --email bob@example.com", "the name or the e-mail address is taken"},
			{"user add eve@example.com", "A user name can't contain @."},
			{"user add eve --email nonsense", "That isn't an e-mail address."},
			{"user add eve --group a,b", "A group name can't contain a comma."},
			{"user add eve --frobnicate", "unknown flag: --frobnicate: see caddy mfa user add --help"},
			{"user set bob", "give --rename, --name, --email, --group or --no-groups"},
			{"user set bob --group a --no-groups", "--no-groups and --group can't be given together"},
			{"device remove x", "did you mean revoke?"},
			{"token create x", "give --host"},
			{"user invite ada", "the user has set up already, or is disabled"},
			{"setup-link", "somebody is set up already (portal " + s.At("login", "") + ")"},
		} {
			out := s.CLI(append([]string{"mfa"}, strings.Fields(c.arguments)...)...)
			want := 1
			switch {
			case c.says == nobody || c.says == "no live session has this ID":
				want = 3
			case strings.Contains(out.Stderr, "unknown") || strings.Contains(out.Stderr, "write caddy mfa ") || strings.Contains(out.Stderr, "Error: give ") || strings.Contains(out.Stderr, "can't be given together"):
				want = 2
			}
			if out.Code != want || !strings.Contains(out.Stderr, c.says) || strings.Contains(out.Stderr, "goroutine") || out.Stdout != "" && !strings.Contains(out.Stdout, "Usage") {
				t.Errorf("mfa %s: %+v", c.arguments, out)
			}
		}
		if got := decoded[[]user](t, expectDone(t, s, "mfa", "user", "list", "--json")); len(got) != 2 {
			t.Errorf("mistakes left %+v", got)
		}
	})
	t.Run("groups of commands show what they hold", func(t *testing.T) {
		for _, arguments := range [][]string{{"mfa"}, {"mfa", "user"}, {"mfa", "user", "--help"}} {
			if out := expectDone(t, s, arguments...); !strings.Contains(out.Stdout, "Available Commands:") {
				t.Errorf("%q: %q", arguments, out.Stdout)
			}
		}
	})
	t.Run("version", func(t *testing.T) {
		if out := expectDone(t, s, "mfa", "version"); !regexp.MustCompile(`\A(\(devel\)|v\d\S+)\n\z`).MatchString(out.Stdout) {
			t.Errorf("version: %+v", out)
		}
	})
	t.Run("another server", func(t *testing.T) {
		other := harness.Start(t, harness.Options{Caddyfile: "http://localhost:{{.Port \"web\"}} {\n\trespond ok\n}\n"})
		for _, arguments := range [][]string{{"mfa", "user", "list"}, {"mfa", "setup-link", "--json"}} {
			out := s.CLI(append(arguments, "--address", other.Admin())...)
			if out.Code == 0 || out.Stdout != "" || !strings.Contains(out.Stderr, "the running configuration has no mfa app") {
				t.Errorf("%q: %+v", arguments, out)
			}
		}
		nothing := httptest.NewServer(http.NotFoundHandler())
		defer nothing.Close()
		address := nothing.Listener.Addr().String()
		if out := s.CLI("mfa", "user", "list", "--address", address); out.Code == 0 || !strings.Contains(out.Stderr, "the server at "+address+" doesn't run Portcullis") {
			t.Errorf("something else altogether: %+v", out)
		}
	})
	t.Run("where the admin endpoint is off", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "Caddyfile")
		if err := os.WriteFile(file, []byte("{\n\tadmin off\n}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if out := s.CLI("mfa", "user", "list", "--config", file, "--adapter", "caddyfile"); out.Code == 0 || !strings.Contains(out.Stderr, file+" turns Caddy's admin endpoint off") {
			t.Errorf("%+v", out)
		}
	})
	t.Run("while the server starts", func(t *testing.T) {
		s.Stop()
		first := make(chan error, 1)
		go func() {
			for {
				response, err := http.Get("http://" + s.Server.Admin() + "/mfa/users")
				if errors.Is(err, syscall.ECONNREFUSED) {
					continue // it doesn't listen yet
				}
				if err == nil && response.StatusCode != http.StatusOK {
					err = fmt.Errorf("answered %s", response.Status)
				}
				first <- err
				return
			}
		}()
		s.Restart()
		if err := <-first; err != nil {
			t.Errorf("the first question: %v", err)
		}
	})
	t.Run("no server", func(t *testing.T) {
		s.Stop()
		for _, arguments := range [][]string{{"mfa", "user", "list"}, {"mfa", "setup-link", "--json"}} {
			out := s.CLI(arguments...)
			if out.Code == 0 || out.Stdout != "" || !strings.Contains(out.Stderr, "no answer from Caddy's admin endpoint at "+s.Server.Admin()+": is Caddy running") {
				t.Errorf("%q: %+v", arguments, out)
			}
		}
	})
}

// TestD01AdminEndpointFromABrowser sends to Caddy's admin address what a page
// in the administrator's browser can be made to send.
func TestD01AdminEndpointFromABrowser(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Settled: 1})
	ada := s.Administrator("ada")
	admin := "http://" + s.Server.Admin()
	refused := func() int {
		n := 0
		for _, entry := range s.LogEntries() {
			if entry.Text("msg") == "admin.refused" {
				n++
			}
		}
		return n
	}
	typed := func(kind string, more ...string) http.Header {
		header := http.Header{"Content-Type": {kind}}
		for i := 0; i < len(more); i += 2 {
			header.Set(more[i], more[i+1])
		}
		return header
	}
	const disable = "/mfa/users/ada/disable"
	for _, c := range []struct {
		what, method, path string
		header             http.Header
		host               string
		caddy              bool // Caddy itself refuses it, ahead of us
	}{
		{"a form of another site", "POST", disable, typed("application/x-www-form-urlencoded", "Origin", "https://evil.example"), "", true},
		{"a script of another site", "POST", disable, typed("application/json", "Origin", "https://evil.example"), "", true},
		{"an opaque origin", "POST", disable, typed("application/json", "Origin", "null"), "", true},
		{"a name that was rebound to this machine", "POST", disable, typed("application/json", "Origin", "http://evil.example"), "evil.example", true},
		{"a picture", "GET", "/mfa/users", http.Header{"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"no-cors"}}, "", true},
		{"an old browser's form, with no origin", "POST", disable, typed("application/x-www-form-urlencoded"), "", false},
		{"a beacon, with no origin", "POST", disable, typed("text/plain"), "", false},
		{"no type", "POST", disable, http.Header{}, "", false},
		{"JSON in disguise", "POST", disable, typed("text/plain; application/json"), "", false},
		{"another site's frame", "POST", "/mfa/setup-link", typed("application/json", "Sec-Fetch-Site", "cross-site"), "", false},
		{"a page on another port of this machine", "POST", disable, typed("application/json", "Sec-Fetch-Site", "same-site"), "", false},
		{"a page of this endpoint's own origin", "POST", disable, typed("application/json", "Origin", admin, "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors"), "", false},
		{"the address bar", "GET", "/mfa/users", http.Header{"Sec-Fetch-Site": {"none"}}, "", false},
	} {
		t.Run(c.what, func(t *testing.T) {
			before := refused()
			request, err := http.NewRequest(c.method, admin+c.path, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			request.Header, request.Host = c.header, c.host
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }()
			if response.StatusCode < 400 || response.StatusCode > 499 {
				t.Errorf("%s %v", response.Status, response.Header)
			}
			if readable := response.Header.Get("Access-Control-Allow-Origin"); readable != "" && readable != admin {
				t.Errorf("pages of %s may read the answer", readable)
			}
			if !c.caddy {
				harness.Eventually(t, 15*time.Second, "the refusal in the audit log", func() bool { return refused() == before+1 })
			}
		})
	}
	expectIn(t, s, ada.Browser, "ada")
}
