package test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/mailbox"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// faults are the ways in which the mail server fails, with the code that is logged; those
// without one are none to whoever waits for the mail.
var faults = []struct {
	name    string
	failure mailbox.Failure
	code    string
	lost    bool // nobody tries again
}{
	{name: "down", failure: mailbox.Failure{At: mailbox.AtConnect}, code: "connect"},
	{name: "refusing", failure: mailbox.Failure{At: mailbox.AtHello, Code: 554, Enhanced: [3]int{5, 3, 2}}, code: "greeting"},
	{name: "a wrong certificate", failure: mailbox.Failure{At: mailbox.AtTLS}, code: "tls"},
	{name: "refused AUTH", failure: mailbox.Failure{At: mailbox.AtAuth, Code: 535, Enhanced: [3]int{5, 7, 8}}, code: "auth"},
	{name: "refused sender", failure: mailbox.Failure{At: mailbox.AtMail, Code: 550, Enhanced: [3]int{5, 7, 1}}, code: "sender", lost: true},
	{name: "hanging at MAIL", failure: mailbox.Failure{At: mailbox.AtMail}, code: "sender"},
	{name: "a full mailbox", failure: mailbox.Failure{At: mailbox.AtRcpt, Code: 552, Enhanced: [3]int{5, 2, 2}}, code: "recipient", lost: true},
	{name: "hanging at DATA", failure: mailbox.Failure{At: mailbox.AtData}, code: "unknown"},
	{name: "gone before 250", failure: mailbox.Failure{At: mailbox.AtData, Cut: true}, code: "unknown"},
	{name: "gone after 250", failure: mailbox.Failure{At: mailbox.AtReset, Cut: true}},
	{name: "slow", failure: mailbox.Failure{At: mailbox.AtRcpt, Slow: 2 * time.Second}},
	{name: "greylisting", failure: mailbox.Failure{At: mailbox.AtRcpt, Code: 450, Enhanced: [3]int{4, 2, 0}}, code: "recipient"},
}

// TestX08EveryFailureOfTheMailServer has codes, notices and invitations meet each failure.
// None ever lets anybody in, each is logged without the address, and what waits contains
// neither codes nor links, in the store, its log and a backup.
func TestX08EveryFailureOfTheMailServer(t *testing.T) {
	t.Parallel()
	s, server := mailingScene(t, 3)
	ada, bob, carol := s.Administrator("ada"), s.Invited("bob"), s.Invited("carol")
	withAddress(t, s, "bob", "bob0@example.org")
	for _, p := range []*scene.Person{ada, bob, carol} {
		withEmail(t, s, server, p, p.Name+".codes@example.org")
		submitted(p.Browser, formTo(t, p.Browser.Visit(s.At("login", "/sign-out")), "/sign-out"), nil)
	}
	enrolled := eightDigits.FindString(newestTo(server, "carol.codes@example.org").Text())
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}

	var last *harness.Page
	var browser *harness.Client
	var copies map[string][]byte
	for i, fault := range faults {
		p := []*scene.Person{ada, bob}[i%2]
		if i == len(faults)-1 {
			p = carol // whose codes all belong to one sign-in
		}
		server.Fail(fault.failure)
		before, arrived := len(s.Log()), len(server.Inbox())
		s.App.Reset()
		browser = p.Browser.Clone() // known, so more codes may be sent
		last = askedByEmail(t, s, browser, p)
		withAddress(t, s, "bob", fmt.Sprintf("bob%d@example.org", i+1))
		if _, err := s.AdminDo(http.MethodPost, "/mfa/users", fmt.Sprintf(`{"name":"guest%d","email":"guest%d@example.org","send":true}`, i, i)); err != nil {
			t.Fatal(err)
		}
		if fault.code == "" {
			for _, to := range []string{p.Name + ".codes", fmt.Sprintf("bob%d", i), fmt.Sprintf("guest%d", i)} {
				harness.Eventually(t, time.Minute, fault.name+": mail to "+to, func() bool {
					return slices.ContainsFunc(server.Inbox()[arrived:], func(m mailbox.Mail) bool { return m.To == to+"@example.org" })
				})
			}
			continue
		}
		for _, purpose := range []string{"question", "notice", "invitation"} {
			harness.Eventually(t, time.Minute, fault.name+": a failed "+purpose, func() bool { return failed(s.Log()[before:], purpose, fault.code, fault.lost) })
		}
		want := map[bool]string{false: "haven't been able to send", true: "couldn't send"}[fault.lost]
		harness.Eventually(t, 30*time.Second, fault.name+": the page says so", func() bool { return strings.Contains(browser.Visit(last.URL.String()).Text(), want) })
		says(t, browser.Visit(last.URL.String()), 200, "Use something else")
		s.App.ExpectNone(t)
		if i == len(faults)-1 {
			copies = copiesOf(t, s, identity)
		}
	}
	server.Fail(mailbox.Failure{})
	var code string
	harness.Eventually(t, time.Minute, "the code, once the server is well", func() bool {
		code = ""
		for _, m := range codesIn(server) {
			if m.To == "carol.codes@example.org" {
				code = eightDigits.FindString(m.Text())
			}
		}
		return code != "" && code != enrolled
	})
	s.Canary(code)
	if page := submitted(browser, last.Form("one-time-code"), map[string]string{"one-time-code": code}); page.Status != http.StatusOK || page.URL.Path != "/page" {
		t.Errorf("the code led to %d %s: %s", page.Status, page.URL, page.Text())
	}
	secrets := []string{code}
	if os.Getenv("PORTCULLIS_LONG") != "" { // notices and invitations are tried again after a minute
		guest := fmt.Sprintf("guest%d@example.org", len(faults)-1)
		harness.Eventually(t, 2*time.Minute, "the invitation", func() bool { return newestTo(server, guest).To != "" })
		link := linkTo(t, s, server, guest)
		_, token, _ := strings.Cut(link, "token=")
		secrets = append(secrets, token)
		noticeTo(t, server, fmt.Sprintf("bob%d@example.org", len(faults)-1), 1)
	}
	for name, content := range copies {
		for _, secret := range secrets {
			if bytes.Contains(content, []byte(secret)) {
				t.Errorf("%s contains what a waiting message says", name)
			}
		}
	}
	expectOnce(t, server)
	if strings.Contains(s.Log(), "@example.org") {
		t.Error("the log names an address")
	}
	expectNoInjection(t, s, server)
}

// failed reports whether the log says that a message of a purpose failed, with a code, and
// whether it is tried again.
func failed(log, purpose, code string, forGood bool) bool {
	says := "a message couldn't be sent, and will be tried again"
	if forGood {
		says = `a message couldn't be sent"`
	}
	for line := range strings.Lines(log) {
		if strings.Contains(line, says) && strings.Contains(line, `"purpose":"`+purpose+`"`) && strings.Contains(line, "handed over ("+code+")") {
			return true
		}
	}
	return false
}

// copiesOf are what a thief could copy while messages wait: the store, its log, and what a
// backup contains.
func copiesOf(t *testing.T, s *scene.Scene, identity *age.X25519Identity) map[string][]byte {
	t.Helper()
	copies := make(map[string][]byte)
	stores, err := filepath.Glob(filepath.Join(s.DataDir(), "portcullis", "*.db*"))
	if err != nil || len(stores) < 2 {
		t.Fatalf("the store's files are %v, %v", stores, err)
	}
	for _, path := range stores {
		copies[filepath.Base(path)] = read(t, path)
	}
	path := filepath.Join(s.Dir(), "mail.backup")
	expectDone(t, s, "mfa", "backup", path, "--recipient", identity.Recipient().String())
	opened, err := age.Decrypt(bytes.NewReader(read(t, path)), identity)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(opened)
	if err != nil || !bytes.Contains(content, []byte("guest0@example.org")) {
		t.Fatalf("the backup has %d bytes and isn't searched: %v", len(content), err)
	}
	copies["the backup"] = content
	return copies
}

// expectOnce wants no mail to have arrived twice, and each to be as RFC 5322 and RFC 3834
// have it, without the name of this machine.
func expectOnce(t *testing.T, server *mailbox.Server) {
	t.Helper()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	ids := make(map[string]bool)
	for _, m := range server.Inbox() {
		id := m.Header("Message-ID")
		if ids[id] || !strings.HasSuffix(id, "@example.com>") {
			t.Errorf("the mail %q to %s arrived before, or isn't named for its sender", id, m.To)
		}
		ids[id] = true
		_, err := m.Message.Header.Date()
		if err != nil || m.Header("Auto-Submitted") != "auto-generated" || m.Header("To") != "<"+m.To+">" {
			t.Errorf("a mail's head is %v, %v", m.Message.Header, err)
		}
		for _, name := range []string{"Bcc", "Cc", "Received", "X-Mailer", "User-Agent", "X-Originating-Ip"} {
			if m.Header(name) != "" {
				t.Errorf("a mail has %s: %s", name, m.Header(name))
			}
		}
		if m.Contains(host) || m.Text() == "" || m.HTML() == "" {
			t.Errorf("a mail names the host, or lacks a part: %s", m.Raw)
		}
	}
}

// expectNoInjection has names and addresses be taken for nothing but that.
func expectNoInjection(t *testing.T, s *scene.Scene, server *mailbox.Server) {
	t.Helper()
	before := len(server.Inbox())
	for _, name := range []string{`eve\r\nBcc: eve@example.net`, `eve\u2028x`, `eve\u0000`} {
		if _, err := s.AdminDo(http.MethodPost, "/mfa/users", `{"name":"`+name+`","email":"eve@example.org","send":true}`); err == nil {
			t.Errorf("somebody is called %s", name)
		}
	}
	for _, address := range []string{
		`eve@example.org\r\nBcc: eve@example.net`, `eve@example.org\nX: y`, `eve@example.org, eve@example.net`, `Eve <eve@example.org>`,
		`eve@example.org\r\n\r\nHello`, `\"a\r\nb\"@example.org`, `eve@example.org> SIZE=1`, `eve@exam\u0000ple.org`, `=?utf-8?q?eve?=@example.org\r`,
	} {
		_, err := s.AdminDo(http.MethodPost, "/mfa/users", `{"name":"eve","email":"`+address+`","send":true}`)
		if err == nil {
			t.Errorf("an invitation goes to %s", address)
		}
	}
	for _, name := range []string{"bob\r\nBcc: eve@example.net", "bob0@example.org,eve@example.net", "bob0@example.org\nCc: eve@example.net"} {
		says(t, askReset(t, s, s.Client(), name), 200, "Check your e-mail")
	}
	// What is asked for next leaves after those, if they left.
	says(t, askReset(t, s, s.Client(), "bob"), 200, "Check your e-mail")
	harness.Eventually(t, time.Minute, "the link of a reset", func() bool { return len(server.Inbox()) > before })
	for _, m := range server.Inbox()[before:] {
		if strings.Contains(m.To, "eve") || m.Contains("eve@") || slices.Contains(strings.Split(string(m.Raw), "\r\n"), "X: y") {
			t.Errorf("a mail was made of what somebody typed: %s", m.Raw)
		}
	}
}
