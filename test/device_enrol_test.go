package test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
)

// agent returns the device agent, which the first subtest builds for all.
func (s *deviceSuite) agent(t *testing.T) string {
	t.Helper()
	if s.program != "" {
		return s.program
	}
	path := filepath.Join(s.folder, "mfa-agent")
	cmd := exec.Command("go", "build", "-o", path, "../cmd/mfa-agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the agent: %v\n%s", err, output)
	}
	s.program = path
	return path
}

// machine is a computer with the agent on it.
type machine struct {
	t            *testing.T
	suite        *deviceSuite
	program      string
	folder, home string
}

func (s *deviceSuite) machine(t *testing.T) *machine {
	return &machine{t, s, s.agent(t), filepath.Join(t.TempDir(), "agent"), t.TempDir()}
}

// agent runs the agent and returns all that it wrote.
func (m *machine) agent(arguments ...string) (string, error) {
	m.t.Helper()
	output, err := m.command(arguments...).CombinedOutput()
	return string(output), err
}

// command has no browser to open pages in.
func (m *machine) command(arguments ...string) *exec.Cmd {
	cmd := exec.Command(m.program, append(arguments, "--folder", m.folder, "--ca", m.suite.rootFile())...)
	cmd.Env = append(os.Environ(), "HOME="+m.home, "PATH="+m.home)
	return cmd
}

// running is an agent that waits for somebody.
type running struct {
	t      *testing.T
	cmd    *exec.Cmd
	output string // file
}

func (m *machine) start(arguments ...string) *running {
	m.t.Helper()
	output, err := os.Create(filepath.Join(m.t.TempDir(), "output"))
	if err != nil {
		m.t.Fatal(err)
	}
	defer func() { _ = output.Close() }()
	r := &running{m.t, m.command(arguments...), output.Name()}
	r.cmd.Stdout, r.cmd.Stderr = output, output
	if err := r.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = r.cmd.Process.Kill() })
	return r
}

// line returns the line of the output that begins so, once it is there.
func (r *running) line(prefix string) (found string) {
	r.t.Helper()
	harness.Eventually(r.t, time.Minute, "the agent to write "+prefix, func() bool {
		for line := range strings.Lines(r.written()) {
			if strings.HasPrefix(line, prefix) && strings.HasSuffix(line, "\n") {
				found = strings.TrimSpace(line)
			}
		}
		return found != ""
	})
	return found
}

func (r *running) wait() (string, error) {
	err := r.cmd.Wait()
	return r.written(), err
}

func (r *running) written() string {
	content, err := os.ReadFile(r.output)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(content)
}

func (m *machine) mustAgent(arguments ...string) string {
	m.t.Helper()
	output, err := m.agent(arguments...)
	if err != nil {
		m.t.Fatalf("mfa-agent %q: %v\n%s", arguments, err, output)
	}
	return output
}

func (s *deviceSuite) rootFile() string {
	return filepath.Join(s.DataDir(), "pki", "authorities", "local", "root.crt")
}

// token makes an enrolment token and registers it as a secret.
func (s *deviceSuite) enrolmentToken(t *testing.T, user string) string {
	t.Helper()
	output := s.CLI("mfa", "device", "token", user)
	token, _, _ := strings.Cut(strings.TrimPrefix(output.Stdout, "Token: "), "\n")
	if output.Code != 0 || len(token) < 40 {
		t.Fatalf("making a token: %+v", output)
	}
	return token
}

// open asks the app for a page with key and certificate of a folder, and returns
// curl's status.
func (s *deviceSuite) open(t *testing.T, folder string) string {
	t.Helper()
	cmd := exec.Command("curl", "--silent", "--output", "/dev/null", "--cacert", s.rootFile(), "--cert", filepath.Join(folder, "certificate.pem"),
		"--key", filepath.Join(folder, "key.pem"), "--write-out", "%{http_code}", s.At("app", "/page"))
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("curl: %v\n%s", err, output)
	}
	return string(output)
}

// opensFor expects that a machine opens the app for a user.
func (s *deviceSuite) opensFor(t *testing.T, folder, user string) {
	t.Helper()
	s.App.Reset()
	if status := s.open(t, folder); status != "200" {
		t.Fatalf("the machine gets %s", status)
	}
	if told := s.App.ExpectOne(t).Header.Get("Remote-User"); told != user {
		t.Errorf("the app took it for %q", told)
	}
}

// byAgent takes a machine from enrolment to removal, by the agent itself, with files
// for curl.
func (s *deviceSuite) byAgent(t *testing.T) {
	harness.Need(t, "curl", "openssl")
	m, out := s.machine(t), t.TempDir()
	if output, err := m.agent("enrol", s.At("login", "/"), "--token", "made up"); err == nil || !strings.Contains(output, "doesn't work") {
		t.Errorf("a token that nobody made: %v, %s", err, output)
	}
	token := s.enrolmentToken(t, "carol")
	if output := m.mustAgent("enrol", s.At("login", "/"), "--token", token, "--name", "Carol's box", "--out", out); !strings.Contains(output, out) {
		t.Errorf("enrolling: %s", output)
	}
	s.opensFor(t, out, "carol")
	other := s.machine(t)
	if output, err := other.agent("enrol", s.At("login", "/"), "--token", token); err == nil || !strings.Contains(output, "doesn't work") {
		t.Errorf("C04, the token once more: %v, %s", err, output)
	}
	m.mustAgent("tick")
	id := s.idOf(t, "carol", "Carol's box")
	shown := s.CLI("mfa", "device", "show", id).Stdout
	for _, want := range []string{"Machine:", "System:", "linux/", "Enrolled by:", "token", "valid"} {
		if !strings.Contains(shown, want) {
			t.Errorf("device show doesn't say %q:\n%s", want, shown)
		}
	}
	s.CLI("mfa", "device", "suspend", id)
	if status := s.open(t, out); status != "401" {
		t.Errorf("a suspended device: %s", status)
	}
	s.CLI("mfa", "device", "approve", id)
	if status := s.open(t, out); status != "200" {
		t.Errorf("an approved device: %s", status)
	}
	kept := t.TempDir()
	for _, name := range []string{"key.pem", "certificate.pem"} {
		content, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(kept, name), content)
	}
	if status, body := s.renewByTLS(t, kept); status != "200" || !strings.HasPrefix(body, "MII") {
		t.Errorf("renewing over mutual TLS: %s, %s", status, body)
	}
	m.mustAgent("remove")
	if status := s.open(t, kept); status != "401" {
		t.Errorf("a removed device: %s", status)
	}
	if shown := s.CLI("mfa", "device", "show", id).Stdout; !strings.Contains(shown, "revoked") {
		t.Errorf("after the removal:\n%s", shown)
	}
}

// signBobIn signs bob in with a fresh second factor, as confirming asks for.
func (s *deviceSuite) signBobIn() {
	s.bob.Browser = s.Client()
	s.bob.SignIn(s.bob.Browser, s.At("login", "/account"))
}

// byBrowser enrols a machine that somebody confirms in a browser on it.
func (s *deviceSuite) byBrowser(t *testing.T) {
	harness.Need(t, "curl")
	s.signBobIn()
	m, out := s.machine(t), t.TempDir()
	waiting := m.start("enrol", s.At("login", "/"), "--name", "Bob's box", "--out", out)
	page := s.bob.Browser.Visit(waiting.line("https://"))
	says(t, page, 200, "Add Bob's box to your devices?", "Linux", "127.0.0.1", "bob")
	form := page.Form()
	for name, forged := range map[string]*harness.Page{
		"by another person": s.bob.Browser.PostForm(s.At("login", ownDevices+"/confirm"), url.Values{"request": {form.Value("request")}, "user": {"x"}}),
		"by nobody":         s.Client().PostForm(s.At("login", ownDevices+"/confirm"), url.Values{"request": {form.Value("request")}, "user": {form.Value("user")}}),
	} {
		if strings.HasPrefix(forged.Location(), "http://127.0.0.1:") {
			t.Errorf("confirmed %s: %d to %s", name, forged.Status, forged.Location())
		}
	}
	s.bob.Browser.Visit(page.URL.String()) // once more, which changes nothing
	back := s.bob.Browser.Submit(form, nil)
	if answer := s.takeBack(t, back); answer.Header.Get("Location") != s.At("login", ownDevices) {
		t.Fatalf("the agent answered %v", answer)
	}
	if output, err := waiting.wait(); err != nil || !strings.Contains(output, out) {
		t.Fatalf("%v\n%s", err, output)
	}
	s.opensFor(t, out, "bob")
	says(t, s.bob.Browser.Visit(s.At("login", ownDevices)), 200, "Bob's box")
}

// byCode enrols a machine without a browser, whose code somebody types elsewhere.
func (s *deviceSuite) byCode(t *testing.T) {
	harness.Need(t, "curl")
	s.signBobIn()
	m, out := s.machine(t), t.TempDir()
	waiting := m.start("enrol", s.At("login", "/"), "--no-browser", "--name", "Server <1>", "--out", out)
	if page := waiting.line("https://"); page != s.At("login", "/device") {
		t.Errorf("the page is %s", page)
	}
	waiting.line("Sign in, and enter this code")
	_, code, _ := strings.Cut(waiting.written(), "minutes:\n")
	landed(t, s.bob.Browser.Visit(s.At("login", "/device")), s.At("login", ownDevices+"/code"))
	wrong := s.bob.Browser.Submit(s.bob.Browser.Visit(s.At("login", "/device")).Form("code"), map[string]string{"code": "0000-0000"})
	says(t, wrong, 422, "That code didn't work.")
	page := s.bob.Browser.Submit(wrong.Form("code"), map[string]string{"code": strings.ToLower(strings.TrimSpace(code))})
	says(t, page, 200, "Add Server <1> to your devices?", "127.0.0.1", "not even your IT department")
	landed(t, submitted(s.bob.Browser, page.Form("code"), nil), s.At("login", ownDevices))
	if output, err := waiting.wait(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	s.opensFor(t, out, "bob")
	list := s.bob.Browser.Visit(s.At("login", ownDevices))
	says(t, list, 200, "Server <1>", "Linux", "Its key is kept in a file")
	renamed := submitted(s.bob.Browser, s.bob.Browser.Visit(list.Link("Rename Server <1>")).Form("name"), map[string]string{"name": "Rack"})
	says(t, renamed, 200, "Rack")
	submitted(s.bob.Browser, s.bob.Browser.Visit(renamed.Link("Revoke Rack")).Form("id"), nil)
	if status := s.open(t, out); status != "401" {
		t.Errorf("a machine that its user revoked: %s", status)
	}
	token := submitted(s.bob.Browser, formTo(t, s.bob.Browser.Visit(s.At("login", ownDevices+"/token")), ownDevices+"/token"), nil)
	says(t, token, 200, "This password is shown only once.")
	_, secret, _ := strings.Cut(token.Text(), "only once. Password ")
	secret, _, _ = strings.Cut(secret, " ")
	other := s.machine(t)
	other.mustAgent("enrol", s.At("login", "/"), "--token", secret, "--out", t.TempDir())
}

// ofFleet enrols a machine with a token for many, and has its user confirm it there.
func (s *deviceSuite) ofFleet(t *testing.T) {
	harness.Need(t, "curl")
	s.signBobIn()
	created := s.CLI("mfa", "device", "fleet", "create", "laptops", "--most", "1", "--from", "127.0.0.0/8")
	token, _, _ := strings.Cut(strings.TrimPrefix(created.Stdout, "Token: "), "\n")
	if created.Code != 0 || len(token) < 40 {
		t.Fatalf("%+v", created)
	}
	m, out := s.machine(t), t.TempDir()
	m.mustAgent("enrol", s.At("login", "/"), "--token", token, "--name", "bob", "--out", out)
	if status := s.open(t, out); status != "401" {
		t.Fatalf("C07, a machine that nobody confirmed: %s", status)
	}
	if output, err := s.machine(t).agent("enrol", s.At("login", "/"), "--token", token); err == nil || !strings.Contains(output, "doesn't work") {
		t.Errorf("C07, one machine more than the token is for: %v, %s", err, output)
	}
	if listed := s.CLI("mfa", "device", "fleet", "list").Stdout; !strings.Contains(listed, "1 of 1") {
		t.Errorf("listed:\n%s", listed)
	}
	waiting := m.start("confirm")
	back := s.bob.Browser.Submit(s.bob.Browser.Visit(waiting.line("https://")).Form("request"), nil)
	if answer := s.takeBack(t, back); answer.Header.Get("Location") != s.At("login", ownDevices) {
		t.Errorf("the agent answered %v", answer)
	}
	if output, err := waiting.wait(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	s.opensFor(t, out, "bob")
	if revoked := s.CLI("mfa", "device", "fleet", "revoke", "laptops"); revoked.Code != 0 {
		t.Errorf("%+v", revoked)
	}
	if status := s.open(t, out); status != "200" {
		t.Errorf("after the token was revoked: %s", status)
	}
}

// takeBack brings an agent the portal's answer, as the browser does.
func (s *deviceSuite) takeBack(t *testing.T, redirect *harness.Page) *http.Response {
	t.Helper()
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := browser.Get(redirect.Location())
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// renewByTLS asks for the certificate of a folder's key again, which is the same one, with
// nothing but the certificate in TLS, as openssl and curl do.
func (s *deviceSuite) renewByTLS(t *testing.T, folder string) (status, body string) {
	t.Helper()
	request, answer := filepath.Join(folder, "csr.b64"), filepath.Join(folder, "answer")
	der, err := exec.Command("openssl", "req", "-new", "-key", filepath.Join(folder, "key.pem"), "-subj", "/CN=box", "-outform", "der").Output()
	if err != nil {
		t.Fatal(err)
	}
	write(t, request, []byte(base64.StdEncoding.EncodeToString(der)))
	output, err := exec.Command("curl", "--silent", "--output", answer, "--cacert", s.rootFile(), "--cert", filepath.Join(folder, "certificate.pem"),
		"--key", filepath.Join(folder, "key.pem"), "--data-binary", "@"+request, "--header", "Content-Type: application/pkcs10",
		"--write-out", "%{http_code}", s.At("login", "/.well-known/est/simplereenroll")).CombinedOutput()
	if err != nil {
		t.Fatalf("curl: %v\n%s", err, output)
	}
	content, err := os.ReadFile(answer)
	if err != nil {
		t.Fatal(err)
	}
	return string(output), string(content)
}
