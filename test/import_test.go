package test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/test/scene"
)

// imported is the answer of `user import --json`.
type imported struct {
	Added           int
	WithoutPassword []string `json:"without_password"`
	WithoutSecond   []string `json:"without_second_factor"`
	Problems        []struct {
		Line  int
		Error string
	}
}

// TestImportedUsers adds the users of other programs, who sign in by what they have.
func TestImportedUsers(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Settled: 1})
	s.Administrator("ada")
	file := func(name, content string) string {
		path := filepath.Join(t.TempDir(), name)
		write(t, path, []byte(content))
		return path
	}
	run := func(code int, arguments ...string) imported {
		t.Helper()
		out := s.CLI(append([]string{"mfa", "user", "import", "--json"}, arguments...)...)
		var done imported
		if err := json.Unmarshal([]byte(out.Stdout), &done); err != nil || out.Code != code {
			t.Fatalf("import %v: %v, %+v", arguments, err, out)
		}
		return done
	}
	const secret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
	hash := func(name string) string {
		t.Helper()
		out, err := exec.Command("htpasswd", "-nbB", "-C", "5", name, scene.Password(name)).Output()
		if err != nil {
			t.Fatal(err)
		}
		_, hash, _ := strings.Cut(strings.TrimSpace(string(out)), ":")
		s.Canary(hash, scene.Password(name))
		return hash
	}

	bob := hash("bob")
	csv := "name,display_name,email,groups,password_hash,totp,disabled\n" +
		"bob,Bob Miller,bob@example.com,engineers; ops," + bob + "," + secret + ",\n" +
		"carl,,,,,,\n" +
		"bad name,,,,,,\n" +
		"dora,,,," + "$apr1$abcdefgh$0123456789012345678901" + ",,\n" +
		"ada,,,,,,\n" +
		"erin,,,," + bob + ",,maybe\n"
	done := run(1, file("users.csv", csv))
	if lines := linesOf(done); done.Added != 0 || !slices.Equal(lines, []int{7}) {
		t.Errorf("a file that can't be read: %+v", done)
	}
	done = run(1, file("users.csv", strings.Replace(csv, "maybe", "true", 1)))
	if lines := linesOf(done); done.Added != 0 || !slices.Equal(lines, []int{4, 5, 6}) || len(done.WithoutPassword) != 0 {
		t.Errorf("users who can't be added: %+v", done)
	}
	if out := s.CLI("mfa", "user", "show", "bob"); out.Code != 3 {
		t.Errorf("after an import that failed: %+v", out)
	}
	done = run(1, "--skip-bad", file("users.csv", strings.Replace(csv, "maybe", "true", 1)))
	if done.Added != 3 || !slices.Equal(done.WithoutPassword, []string{"carl"}) || !slices.Equal(done.WithoutSecond, []string{"erin"}) || len(done.Problems) != 3 {
		t.Errorf("the others: %+v", done)
	}
	testImportedSignsIn(t, s, &scene.Person{Name: "bob", Password: scene.Password("bob")}, secret)

	authelia := "users:\n  frank:\n    displayname: Frank\n    password: '" + hash("frank") + "'\n    email: frank@example.com\n    groups: [dev]\n"
	apps := file("totp.csv", "issuer,username,algorithm,digits,period,secret\nAuthelia,frank,SHA1,6,30,"+secret+"\n")
	if done = run(0, file("users_database.yml", authelia), "--totp", apps); done.Added != 1 || len(done.WithoutSecond) != 0 {
		t.Errorf("from Authelia: %+v", done)
	}
	testImportedSignsIn(t, s, &scene.Person{Name: "frank", Password: scene.Password("frank")}, secret)
	security := `{"version": "1.0", "users": [
		{"id": "x", "username": "gina", "email_address": {"address": "gina@example.com"}, "passwords": [
			{"hash": "` + bob + `", "disabled": true}, {"hash": "` + hash("gina") + `", "algorithm": "bcrypt"}],
		 "mfa_tokens": [{"type": "totp", "algorithm": "sha1", "secret": "twenty ASCII letters", "period": 30, "digits": 6}],
		 "roles": [{"name": "admin", "organization": "authp"}]}]}`
	if done = run(0, file("users.json", security)); done.Added != 1 || len(done.WithoutSecond) != 0 {
		t.Errorf("from caddy-security: %+v", done)
	}
	testImportedSignsIn(t, s, &scene.Person{Name: "gina", Password: scene.Password("gina")}, "OR3WK3TUPEQECU2DJFESA3DFOR2GK4TT")
	done = run(0, "--format", "htpasswd", file("users", "# people\nhans:"+hash("hans")+"\n"))
	if !slices.Equal(done.WithoutSecond, []string{"hans"}) {
		t.Errorf("from htpasswd: %+v", done)
	}
	for _, wrong := range [][]string{{}, {"--format", "nonsense", apps}, {filepath.Join(s.Dir(), "nothing.csv")}, {file("users", "x")}, {file("empty.csv", "")}} {
		if out := s.CLI(append([]string{"mfa", "user", "import"}, wrong...)...); out.Code == 0 || out.Stderr == "" || out.Stdout != "" {
			t.Errorf("import %v: %+v", wrong, out)
		}
	}
	testManyImported(t, s, file, bob)
	expectMetrics(t, s,
		`caddy_mfa_sign_ins_total{factors="password",outcome="failed"} 3`,
		`caddy_mfa_decision_seconds_count{outcome="refused"} [1-9]\d*`,
		`caddy_mfa_users{status="active"} 10005`,
		`caddy_mfa_users{status="disabled"} 1`,
		`caddy_mfa_users{status="invited"} 1`,
		`caddy_mfa_hashing{state="running"} 0`,
		`caddy_mfa_feed_age_seconds 0`,
		`caddy_mfa_events_total{event="user.created"} [1-9]\d*`,
	)
}

func linesOf(done imported) []int {
	var lines []int
	for _, p := range done.Problems {
		lines = append(lines, p.Line)
	}
	return lines
}

// testImportedSignsIn signs somebody in twice: with the hash of another program, and with
// ours that replaced it.
func testImportedSignsIn(t *testing.T, s *scene.Scene, p *scene.Person, secret string) {
	t.Helper()
	person := s.Newcomer(p.Name, s.Client())
	person.Password = p.Password
	person.Paired(secret)
	browser := s.Client()
	person.Password = p.Password + "."
	if wrong := person.ShowPassword(browser, browser.Visit(s.At("app", "/"))); wrong.Status != 422 {
		t.Errorf("a wrong password of %s: %d %s", p.Name, wrong.Status, wrong.Text())
	}
	person.Password = p.Password
	for range 2 {
		page := person.SignIn(s.Client(), s.At("app", "/"))
		if page.Status != 200 || page.H1() == "Sign in" {
			t.Errorf("%s is at %s: %d %s", p.Name, page.URL, page.Status, page.Text())
		}
	}
}

// testManyImported adds ten thousand users at once.
func testManyImported(t *testing.T, s *scene.Scene, file func(name, content string) string, hash string) {
	t.Helper()
	var many strings.Builder
	many.WriteString("name,email,password_hash\n")
	for i := range 10_000 {
		fmt.Fprintf(&many, "user%d,user%d@example.com,%s\n", i, i, hash)
	}
	out := s.CLI("mfa", "user", "import", file("many.csv", many.String()))
	if out.Code != 0 || !containsAll(out.Stdout, "Added 10000 users.", "10000 have a password, but no second factor") {
		t.Errorf("many: %+v", out)
	}
}
