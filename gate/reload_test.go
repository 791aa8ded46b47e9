package gate

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/session"
)

// under serves a request, and while it is under way replaces the gate and asks
// what the new rules say. The handler behind the gate changes its request first,
// as handlers do.
func (g *testGate) under(t *testing.T, r *http.Request, cookies string, successor *Gate, meanwhile func()) (terms session.Terms, err error) {
	t.Helper()
	if cookies != "" {
		r.Header.Set("Cookie", cookies)
	}
	passed := false
	if served := g.ServeHTTP(recorder(), r, func(_ http.ResponseWriter, r *http.Request, _ *Visitor) error {
		passed = true
		r.URL.Path, r.URL.RawPath, r.Method = "/rewritten", "", http.MethodDelete
		r.Header.Set("X-Kind", "rewritten")
		g.successor = successor
		if meanwhile != nil {
			meanwhile()
		}
		looked := len(g.lookedUp)
		terms, err = g.exchange.Decide(context.Background())
		for _, signOn := range g.lookedUp[looked:] {
			if signOn != signOnOf(g.watched) {
				t.Errorf("the sign-on %s was looked up, too", signOn)
			}
		}
		return nil
	}); served != nil || !passed {
		t.Fatalf("it didn't pass: %v", served)
	}
	return terms, err
}

func TestRulesOfALaterConfiguration(t *testing.T) {
	const everybody, nobody = "", "-"
	allow := func(group string) func(session.User) bool {
		return func(u session.User) bool {
			return group == everybody || group != nobody && strings.Contains(strings.Join(u.Groups, ","), group)
		}
	}
	path := func(prefix string) func(*http.Request) (bool, error) {
		return func(r *http.Request) (bool, error) { return strings.HasPrefix(r.URL.Path, prefix), nil }
	}
	header := func(r *http.Request) (bool, error) {
		return r.Header.Get("X-Kind") == "socket" && r.Method == http.MethodGet, nil
	}
	multi := assurance.Requirement{Level: assurance.Multi}
	rule := func(allows func(session.User) bool, require assurance.Requirement) Rule {
		return Rule{Allows: allows, Require: require}
	}
	for _, test := range []struct {
		name      string
		before    []Rule // nil: everybody with two factors
		anonymous bool
		after     []Rule // nil: there is no gate any more
		meanwhile func(g *testGate)
		ends      bool
		unclear   bool
	}{
		{name: "the same rules", after: []Rule{restOf()}},
		{name: "no gate", ends: true},
		{name: "a group of theirs", after: []Rule{rule(allow("staff"), multi)}},
		{name: "a group of others", after: []Rule{rule(allow("admins"), multi)}, ends: true},
		{name: "less asked", after: []Rule{rule(allow(everybody), assurance.Requirement{Level: assurance.Single})}},
		{name: "more asked", after: []Rule{rule(allow(everybody), assurance.Requirement{Level: assurance.PhishingResistant})}, ends: true},
		{name: "fresh enough when it came", after: []Rule{rule(allow(everybody), assurance.Requirement{Level: assurance.Multi, MaxAge: 61 * time.Minute})},
			meanwhile: func(g *testGate) { g.now = g.now.Add(30 * time.Minute) }},
		{name: "too old when it came", after: []Rule{rule(allow(everybody), assurance.Requirement{Level: assurance.Multi, MaxAge: 59 * time.Minute})}, ends: true},
		{name: "open to everybody", after: []Rule{{Open: true}}},
		{name: "barred elsewhere", after: []Rule{{Match: path("/rewritten"), Allows: allow(nobody), Require: multi}, restOf()}},
		{name: "barred by path", after: []Rule{{Match: path("/x"), Allows: allow(nobody), Require: multi}, restOf()}, ends: true},
		{name: "barred by header and method", after: []Rule{{Match: header, Allows: allow(nobody), Require: multi}, restOf()}, ends: true},
		{name: "let in by header and method", after: []Rule{{Match: header, Allows: allow(everybody), Require: multi}, rule(allow(nobody), multi)}},
		{name: "a matcher that fails", after: []Rule{{Match: func(*http.Request) (bool, error) { return false, errFault }}, restOf()}, unclear: true},
		{name: "a certificate required", after: []Rule{{Allows: allow(everybody), Certificate: CertificateRequire, Require: multi}}, ends: true},
		{name: "signed out", after: []Rule{restOf()}, ends: true, meanwhile: func(g *testGate) {
			g.live = func(string) error { return session.ErrEnded }
		}},
		{name: "keys that are gone", after: []Rule{restOf()}, ends: true, meanwhile: func(g *testGate) { delete(g.sessions, "good") }},
		{name: "a store that is out", after: []Rule{restOf()}, unclear: true, meanwhile: func(g *testGate) {
			g.live = func(string) error { return errFault }
		}},
		{name: "still open", before: []Rule{{Open: true}}, anonymous: true, after: []Rule{{Match: path("/x"), Open: true}, restOf()}},
		{name: "open no more", before: []Rule{{Open: true}}, anonymous: true, after: []Rule{restOf()}, ends: true},
		{name: "open no more, to somebody", before: []Rule{{Open: true}}, after: []Rule{restOf()}, ends: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newTestGate(t, test.before...)
			var successor *Gate
			if test.after != nil {
				settings := g.Settings
				settings.Rules, settings.Devices = test.after, fakeDevices{}
				successor = New(settings)
			}
			cookies := cookieGood
			if test.anonymous {
				cookies = ""
			}
			if test.after == nil {
				g.Succession = unguarded{}
			}
			r := navigate("/x")
			r.Header.Set("X-Kind", "socket")
			terms, err := g.under(t, r, cookies, successor, func() {
				if test.meanwhile != nil {
					test.meanwhile(g)
				}
			})
			switch {
			case test.unclear:
				if err == nil || errors.Is(err, session.ErrEnded) {
					t.Errorf("what can't be told is told as %v", err)
				}
			case test.ends != errors.Is(err, session.ErrEnded) || !test.ends && err != nil:
				t.Errorf("it ends with %v", err)
			case !test.ends && terms.Admits == nil && !test.after[0].Open:
				t.Error("it goes on without a rule")
			}
		})
	}
}

// unguarded is a configuration with no gate there.
type unguarded struct{}

func (unguarded) Replaced() bool { return true }

func (unguarded) Successor(*http.Request, string) (*Gate, *http.Request) { return nil, nil }

func TestCertificatesUnderALaterConfiguration(t *testing.T) {
	multi := assurance.Requirement{Level: assurance.Multi}
	for _, test := range []struct {
		name          string
		before, after CertificateMode
		certificate   string
		cookies       string
		ends          bool
		device        bool // it goes on with the device
	}{
		{"a device, as before", CertificateAccept, CertificateAccept, "alice", "", false, true},
		{"a device, off", CertificateAccept, CertificateOff, "alice", "", true, false},
		{"a device, and the password", CertificateAccept, CertificateAndPassword, "alice", "", true, false},
		{"both, off", CertificateAccept, CertificateOff, "alice", cookieGood, false, false},
		{"both, required", CertificateAccept, CertificateRequire, "alice", cookieGood, false, true},
		{"a password beside a device, off", CertificateAccept, CertificateOff, "alice", SessionCookie + "=single", true, false},
		{"a session, required", CertificateAccept, CertificateRequire, "", cookieGood, true, false},
	} {
		g := newCertifiedGate(t, certified(test.before, multi))
		settings := g.Settings
		settings.Rules = []Rule{certified(test.after, multi)}
		terms, err := g.under(t, showing(navigate("/x"), test.certificate), test.cookies, New(settings), nil)
		if errors.Is(err, session.ErrEnded) != test.ends || (deviceOf(terms) != nil) != test.device {
			t.Errorf("%s: %v, with device %v", test.name, err, deviceOf(terms))
		}
	}
	// The CA is trusted no more.
	g := newCertifiedGate(t, certified(CertificateAccept, multi))
	r := showing(navigate("/x"), "alice")
	if _, err := g.under(t, r, "", New(g.Settings), func() {
		r.TLS.PeerCertificates[0].Subject.CommonName = "of a CA that is gone"
	}); !errors.Is(err, session.ErrEnded) {
		t.Errorf("a certificate of a CA that is trusted no more: %v", err)
	}
}
