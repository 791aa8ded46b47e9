// Package scene sets up what most black-box suites begin with: the real binary
// with a portal, two gated apps with recorders behind them, and people who
// have set up through the pages as anybody would. Most scenes begin with a copy
// of what a server left behind at which they did (Options.Settled).
//
// It knows the product as its users do, by pages and commands, and imports
// none of its packages.
package scene

import (
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
)

// Caddyfile is what a scene serves unless it is told otherwise: a portal, app
// and admin as in Caddyfile.example, over plain HTTP on *.localhost.
const Caddyfile = `
{
	mfa {
		portal http://login.localhost:{{.Port "web"}}
		admins group admins
		contact "the help desk"
	}
}

http://login.localhost:{{.Port "web"}} {
	mfa_portal
}

http://app.localhost:{{.Port "web"}} {
	mfa
	reverse_proxy {{.Vars.app}}
}

http://admin.localhost:{{.Port "web"}} {
	mfa {
		open /healthz
		rule /* {
			allow group admins
		}
	}
	reverse_proxy {{.Vars.admin}}
}
`

// Options departs from the usual scene.
type Options struct {
	// Caddyfile is in place of the usual one. {{.Vars.app}} and
	// {{.Vars.admin}} are the addresses of the recorders.
	Caddyfile string
	// Vars are further values for the template.
	Vars map[string]string
	// Scheme is http unless set; with https the port is "web" all the same.
	Scheme string
	// Env is as in harness.Options.
	Env []string
	// PanicsExpected is as in harness.Options.
	PanicsExpected bool
	// Race is as in harness.Options.
	Race bool
	// Added is as in harness.Options.
	Added string
	// NoDebugLog is as in harness.Options.
	NoDebugLog bool
	// TOTP is how codes are made where the Caddyfile says so.
	TOTP harness.TOTPOptions
	// Settled is how many people have set up before the scene begins, up to
	// MostSettled: the administrator, and then those whom the scene calls
	// Invited, in that order, by the names that it gives them. Whoever the scene
	// asks for after them sets up through the pages. It is for Caddyfiles that
	// leave the store, the keys and the codes where and as they usually are.
	Settled int
}

// Scene is a running server with what stands behind and before it.
type Scene struct {
	*harness.Server
	// App and Admin record what came through the gates.
	App, Admin *harness.Recorder

	t       testing.TB
	options Options
	settled []*Person // who has set up, and wasn't asked for yet
}

// Start runs a scene with nobody set up but the people of Options.Settled.
func Start(t testing.TB, options Options) *Scene {
	t.Helper()
	from := settled(t, options.Settled)
	s := start(t, options, from.state)
	s.settled = from.people
	return s
}

func start(t testing.TB, options Options, state harness.State) *Scene {
	t.Helper()
	if options.Caddyfile == "" {
		options.Caddyfile = Caddyfile
	}
	if options.Scheme == "" {
		options.Scheme = "http"
	}
	s := &Scene{t: t, options: options, App: harness.NewRecorder(t), Admin: harness.NewRecorder(t)}
	vars := map[string]string{"app": s.App.Addr(), "admin": s.Admin.Addr()}
	maps.Copy(vars, options.Vars)
	s.Server = harness.Start(t, harness.Options{
		Caddyfile: options.Caddyfile, Env: options.Env, PanicsExpected: options.PanicsExpected,
		NoDebugLog: options.NoDebugLog, Race: options.Race, Added: options.Added,
		Vars: vars, State: state,
	})
	return s
}

// At returns a URL of a host such as "app" below localhost.
func (s *Scene) At(name, path string) string {
	return s.URL(s.options.Scheme, name+".localhost", "web", path)
}

// Person is somebody with an account, an authenticator and a browser.
type Person struct {
	Name, Password string
	// Secret is the authenticator's, in base32.
	Secret      string
	BackupCodes []string
	// Browser is where the person set up, and is still signed in.
	Browser *harness.Client

	s    *Scene
	mu   sync.Mutex
	last int64 // the newest time step whose code was given out
}

// Administrator returns the first administrator, set up by a setup link.
func (s *Scene) Administrator(name string) *Person {
	s.t.Helper()
	if p := s.arrive(name, nil); p != nil {
		return p
	}
	return s.SetUp(name, s.SetupLink())
}

// Invited returns a new user, set up by an invitation.
func (s *Scene) Invited(name string, groups ...string) *Person {
	s.t.Helper()
	if p := s.arrive(name, groups); p != nil {
		return p
	}
	return s.SetUp(name, s.Invitation(name, groups...))
}

// Invitation adds a user and returns the link that the admin API answers.
func (s *Scene) Invitation(name string, groups ...string) string {
	s.t.Helper()
	return s.admin(http.MethodPost, "/mfa/users", map[string]any{"name": name, "groups": groups})
}

// SetupLink returns a link for the first administrator from the admin API.
func (s *Scene) SetupLink() string {
	s.t.Helper()
	return s.admin(http.MethodPost, "/mfa/setup-link", nil)
}

// Link runs a command that prints a link as JSON, and returns the link.
func (s *Scene) Link(arguments ...string) string {
	s.t.Helper()
	var printed struct {
		Link string `json:"link"`
	}
	output := s.CLI(arguments...)
	if err := json.Unmarshal([]byte(output.Stdout), &printed); err != nil || printed.Link == "" {
		s.t.Fatalf("%v printed no link: %+v", arguments, output)
	}
	s.Canary(tokenOf(printed.Link))
	return printed.Link
}

func tokenOf(link string) string {
	_, token, _ := strings.Cut(link, "token=")
	return token
}

// Password is the one that people in scenes choose, by name.
func Password(name string) string { return "lantern orchard " + name + " 57" }

var (
	groupsOfFour = regexp.MustCompile(`\b[A-Z2-7]{4}(?: [A-Z2-7]{4})+`)
	backupCode   = regexp.MustCompile(`\b[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}\b`)
)

// SetUp goes through the three steps of a set-up, as somebody who has the
// link in their hands.
func (s *Scene) SetUp(name, link string) *Person {
	s.t.Helper()
	p := &Person{Name: name, Password: Password(name), Browser: s.Client(), s: s}
	page := p.Browser.Visit(link)
	chosen := map[string]string{"new-password": p.Password}
	if page.Form("new-password").Has("name") {
		chosen["name"] = name
	}
	page = p.then(p.Browser.Submit(page.Form("new-password"), chosen))
	p.Secret = SecretOn(page)
	if p.Secret == "" {
		s.t.Fatalf("no key on the page: %d %s", page.Status, page.Text())
	}
	s.Canary(p.Password, p.Secret)
	page = p.then(p.Browser.Submit(page.Form("one-time-code"), map[string]string{"one-time-code": p.Code()}))
	p.BackupCodes = CodesOn(page)
	if len(p.BackupCodes) != 10 {
		s.t.Fatalf("%d backup codes on the page: %d %s", len(p.BackupCodes), page.Status, page.Text())
	}
	s.Canary(p.BackupCodes...)
	page = p.then(p.Browser.Submit(page.Form("saved"), map[string]string{"saved": "yes"}))
	if page.Status != 200 || page.URL.Path != "/" {
		s.t.Fatalf("setting up %s ended at %d %s: %s", name, page.Status, page.URL, page.Text())
	}
	return p
}

// SecretOn returns the authenticator's key that a page shows, or nothing.
func SecretOn(page *harness.Page) string {
	return strings.ReplaceAll(groupsOfFour.FindString(page.Text()), " ", "")
}

// CodesOn returns the backup codes that a page shows.
func CodesOn(page *harness.Page) []string { return backupCode.FindAllString(page.Text(), -1) }

func (p *Person) then(page *harness.Page) *harness.Page {
	hops := p.Browser.Follow(page)
	return hops[len(hops)-1]
}

// Code returns a code of the authenticator that was not used yet. Codes count
// for one step before and after their own, so three can be had at once; the
// next has to wait for the clock.
func (p *Person) Code() string {
	p.s.t.Helper()
	period := p.s.options.TOTP.Period
	if period == 0 {
		period = 30 * time.Second
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var step int64
	harness.Eventually(p.s.t, 3*period, "an unused code", func() bool {
		at, seconds := time.Now().Unix(), int64(period/time.Second)
		now := at / seconds
		oldest := now
		if at%seconds < seconds/2 {
			oldest = now - 1 // it counts for half a period yet, long enough to be typed
		}
		step = max(p.last+1, oldest)
		return step <= now+1
	})
	p.last = step
	return harness.TOTP(p.s.t, p.Secret, time.Unix(step*int64(period/time.Second), 0), p.s.options.TOTP)
}

// Paired has the person use another authenticator from now on.
func (p *Person) Paired(secret string) {
	p.s.Canary(secret)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Secret, p.last = secret, 0
}

// SpendBackupCode returns one of the person's backup codes and forgets it.
func (p *Person) SpendBackupCode() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.BackupCodes) == 0 {
		p.s.t.Fatal("no backup codes left")
	}
	code := p.BackupCodes[0]
	p.BackupCodes = p.BackupCodes[1:]
	return code
}

// Patience is how often people try again who are told that many are signing in.
// Each answer of that kind takes the five seconds that the server waits.
const Patience = 12

// Busy reports whether a page says that too many people are signing in for this
// password to be hashed in time, as a starved machine has it.
func Busy(page *harness.Page) bool {
	return page.Status == http.StatusServiceUnavailable && page.H1() == "Many people are signing in right now"
}

// ShowPassword fills in the sign-in form that a page shows, and returns where
// that led. It tries again where the server is too busy.
func (p *Person) ShowPassword(browser *harness.Client, page *harness.Page) *harness.Page {
	p.s.t.Helper()
	form, values := page.Form("current-password"), map[string]string{"username": p.Name, "current-password": p.Password}
	page = browser.Submit(form, values)
	for range Patience {
		if !Busy(page) {
			break
		}
		page = browser.Submit(form, values)
	}
	hops := browser.Follow(page)
	return hops[len(hops)-1]
}

// ShowCode fills in the form that asks for a code, and returns where that led.
func (p *Person) ShowCode(browser *harness.Client, page *harness.Page, code string) *harness.Page {
	p.s.t.Helper()
	page = browser.Submit(page.Form("one-time-code"), map[string]string{"one-time-code": code})
	hops := browser.Follow(page)
	return hops[len(hops)-1]
}

// SignIn opens a URL behind a gate, or the portal, in a browser that is not
// signed in, shows password and code, and returns where that led.
func (p *Person) SignIn(browser *harness.Client, address string) *harness.Page {
	p.s.t.Helper()
	page := p.ShowPassword(browser, browser.Visit(address))
	if page.Status != 200 {
		p.s.t.Fatalf("the password of %s led to %d: %s", p.Name, page.Status, page.Text())
	}
	return p.ShowCode(browser, page, p.Code())
}
