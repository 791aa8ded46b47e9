package caddymodule

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/portcullis-mfa/portcullis/assurance"
)

// withGate provisions one gate with the given settings in JSON.
func withGate(t *testing.T, settings string, then func(gate *Gate) error) error {
	t.Helper()
	return withGateOf(t, `{"portal": "https://login.example.com"}`, settings, then)
}

// withGateOf is withGate with other settings of the app.
func withGateOf(t *testing.T, app, settings string, then func(gate *Gate) error) error {
	t.Helper()
	handler := `{"handler": "mfa"}`
	if settings != "" {
		handler = `{"handler": "mfa", ` + settings + `}`
	}
	return provisioned(t, []byte(`{"apps": {
		"mfa": `+app+`,
		"http": {"servers": {"apps": {"listen": [":8443"], "routes": [{"match": [{"host": ["app.example.com"]}], "handle": [`+handler+`], "terminal": true}, {"match": [{"host": ["login.example.com"]}], "handle": [{"handler": "mfa_portal"}]}]}}}
	}}`), func(app *App) error {
		if len(app.gates) != 1 {
			return fmt.Errorf("%d gates", len(app.gates))
		}
		return then(app.gates[0])
	})
}

func TestGateDefaults(t *testing.T) {
	err := withGate(t, "", func(gate *Gate) error {
		if !gate.rest.allow.includes("anybody", nil) {
			t.Error("somebody who has signed in may not pass")
		}
		if want := (assurance.Requirement{Level: assurance.Multi}); gate.rest.requirement != want {
			t.Errorf("requirement: %+v", gate.rest.requirement)
		}
		if !reflect.DeepEqual(gate.headers, Headers{}) || len(gate.idleIgnores) != 0 || gate.preflights || gate.sameSite != http.SameSiteLaxMode || gate.clearAtSignOut || gate.Assertion {
			t.Errorf("gate: %+v", gate)
		}
		if !gate.isBare() {
			t.Error("a gate without settings isn't bare")
		}
		if gate.placed.Load() != nil || gate.rest.open || len(gate.resolved) != 0 {
			t.Errorf("gate: %+v", gate.rest)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestRulesInherit(t *testing.T) {
	err := withGate(t, `
		"allow": {"groups": ["engineers"]},
		"assurance": "single",
		"max_age": "1h",
		"rules": [
			{"match": [{"path": ["/a"]}]},
			{"match": [{"path": ["/b"]}], "open": true},
			{"match": [{"path": ["/c"]}, {"method": ["PUT"]}], "allow": {"users": ["ALICE"]}},
			{"match": [{"path": ["/d"]}], "assurance": "multi", "max_age": "15m"}
		]
	`, func(gate *Gate) error {
		var got []string
		for _, rule := range gate.resolved {
			got = append(got, fmt.Sprint(
				len(rule.matchers), rule.open, rule.allow.includes("bob", []string{"engineers"}), rule.allow.includes("alice", nil),
				rule.requirement.Level, rule.requirement.MaxAge))
		}
		want := []string{
			"1 false true false single 1h0m0s",
			"1 true false false none 0s",
			"2 false false true single 1h0m0s",
			"1 false true false multi 15m0s",
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if gate.rest.requirement != (assurance.Requirement{Level: assurance.Single, MaxAge: time.Hour}) || gate.rest.allow.includes("bob", nil) {
			t.Errorf("rest: %+v", gate.rest)
		}
		if gate.weakest() != assurance.Single {
			t.Errorf("weakest: %s", gate.weakest())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestCertificatesStandForNothingThatIsWritten writes an assurance or an age at
// the gate or at a rule: what is written at the gate holds for rules that don't
// speak of it.
func TestCertificatesStandForNothingThatIsWritten(t *testing.T) {
	const alone, added = assurance.CertificateAlone, assurance.CertificateAdded
	for _, test := range []struct {
		gate, rule string
		want, rest assurance.CertificateUse // at the rule, and elsewhere
	}{
		{"", "", alone, alone},
		{"", `, "allow": {"users": ["alice"]}`, alone, alone},
		{"", `, "assurance": "multi"`, added, alone},
		{"", `, "max_age": "1h"`, added, alone},
		{`"assurance": "multi", `, "", added, added},
		{`"assurance": "multi", `, `, "allow": {"users": ["alice"]}`, added, added},
		{`"max_age": "1h", `, `, "allow": {"users": ["alice"]}`, added, added},
	} {
		settings := test.gate + `"rules": [{"match": [{"path": ["/a"]}]` + test.rule + `}]`
		err := withGate(t, settings, func(gate *Gate) error {
			gate.asks = true
			rule, rest := gate.certified(gate.resolved[0]).Certificate, gate.certified(gate.rest).Certificate
			if rule != test.want || rest != test.rest {
				t.Errorf("%s: a certificate counts as %v at the rule, as %v elsewhere", settings, rule, rest)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", settings, err)
		}
	}
}

// Matchers of a rule really match.
func TestRuleMatches(t *testing.T) {
	err := withGate(t, `"rules": [{"match": [{"method": ["PUT"]}], "open": true}]`, func(gate *Gate) error {
		for method, want := range map[string]bool{http.MethodPut: true, http.MethodGet: false} {
			got, err := gate.resolved[0].matchers.AnyMatchWithError(httptest.NewRequest(method, "/", nil))
			if err != nil || got != want {
				t.Errorf("%s: %v, %v", method, got, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A rule that names HEAD decides on it alone.
func TestRulesNameHead(t *testing.T) {
	for matcher, want := range map[string]bool{
		`{"method": ["HEAD"]}`: true, `{"not": [{"method": ["GET", "HEAD"]}]}`: true,
		`{"expression": "{http.request.method} == 'HEAD'"}`: true,
		`{"method": ["GET"]}`:                               false, `{"path": ["/OVERHEAD"]}`: false,
	} {
		err := withGate(t, `"rules": [{"match": [`+matcher+`]}]`, func(gate *Gate) error {
			if gate.namesHead != want {
				t.Errorf("%s names HEAD: %t", matcher, gate.namesHead)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", matcher, err)
		}
	}
}

func TestGateHeaders(t *testing.T) {
	err := withGate(t, `"headers": {"user": "x-webauth-user"}`, func(gate *Gate) error {
		if want := (Headers{User: "x-webauth-user"}); !reflect.DeepEqual(gate.headers, want) {
			t.Errorf("headers: %+v", gate.headers)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestGateForBrowsers(t *testing.T) {
	err := withGate(t, `
		"idle_ignores": [{"path": ["/poll"]}, {"method": ["HEAD"], "header": {"X-Poll": ["1"]}}],
		"cors_preflight": "pass", "cookie_same_site": "none", "clear_site_data": "sign_out", "assertion": true, "session_notice": true
	`, func(gate *Gate) error {
		if !gate.preflights || gate.sameSite != http.SameSiteNoneMode || !gate.clearAtSignOut || !gate.Assertion {
			t.Errorf("preflights %t, same site %v, clearing %t, assertion %t", gate.preflights, gate.sameSite, gate.clearAtSignOut, gate.Assertion)
		}
		poll := httptest.NewRequest(http.MethodHead, "/x", nil)
		poll.Header.Set("X-Poll", "1")
		for request, ignored := range map[*http.Request]bool{
			httptest.NewRequest(http.MethodGet, "/poll", nil): true,
			httptest.NewRequest(http.MethodHead, "/x", nil):   false,
			poll: true,
			httptest.NewRequest(http.MethodGet, "/", nil): false,
		} {
			request = caddyhttp.PrepareRequest(request, caddy.NewReplacer(), nil, nil)
			if got, err := gate.idleIgnores.AnyMatchWithError(request); got != ignored || err != nil {
				t.Errorf("%s %s: %t, %v", request.Method, request.URL, got, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestTokensAreInherited only by rules that ask no more of people.
func TestTokensAreInherited(t *testing.T) {
	for settings, takes := range map[string]bool{
		`"allow": {"groups": ["machines"]}`: true,
		`"certificate": "off"`:              true,
		`"max_age": "15m"`:                  false,
		`"assurance": "multi"`:              false,
		`"tokens": {}`:                      false,
		`"assurance": "phishing_resistant", "tokens": {"service": true, "personal": {}}`: true,
	} {
		err := withGate(t, `"tokens": {"service": true, "personal": {"longest": "7d", "most": 3}}, "rules": [{"match": [{"path": ["/a"]}], `+settings+`}]`, func(gate *Gate) error {
			if !gate.rest.serviceTokens || gate.resolved[0].serviceTokens != takes || (gate.resolved[0].appPasswords != nil) != takes {
				t.Errorf("%s: takes tokens: %t", settings, gate.resolved[0].serviceTokens)
			}
			if limits := gate.rest.appPasswords; limits.Longest != 7*24*time.Hour || limits.Most != 3 {
				t.Errorf("app passwords: %+v", limits)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", settings, err)
		}
	}
	if err := withGate(t, `"assurance": "multi"`, func(gate *Gate) error {
		if gate.rest.serviceTokens || gate.rest.appPasswords != nil {
			t.Error("tokens are on by default")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	for settings, says := range map[string]string{
		`"tokens": {"personal": {"longest": "10000h"}}`:                                       "between an hour and 366 days",
		`"tokens": {"personal": {"most": 101}}`:                                               "a number from 1 to 100",
		`"basic": true, "rules": [{"match": [{"path": ["/a"]}], "tokens": {}}]`:               "add tokens service or tokens personal",
		`"tokens": {"personal": {"allow": {}}}`:                                               "names nobody",
		`"rules": [{"match": [{"path": ["/a"]}], "open": true, "tokens": {"service": true}}]`: "certificate or tokens",
	} {
		if err := withGate(t, settings, func(*Gate) error { return nil }); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", settings, err)
		}
	}
}

// Each setting by itself keeps a gate out of handle_errors.
func TestIsBare(t *testing.T) {
	for _, settings := range []string{
		`"rules": [{"match": [{"path": ["/a"]}]}]`, `"allow": {"users": ["a"]}`, `"assurance": "multi"`, `"max_age": "1h"`,
		`"headers": {}`, `"hosts": ["app.example.com"]`, `"idle_ignores": [{"path": ["/a"]}]`, `"cors_preflight": "pass"`,
		`"cookie_same_site": "lax"`, `"clear_site_data": "user_change"`, `"assertion": true`, `"session_notice": false`, `"tokens": {}`, `"basic": false`,
	} {
		err := withGate(t, settings, func(gate *Gate) error {
			if gate.isBare() {
				t.Errorf("%s: bare", settings)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", settings, err)
		}
	}
}

func TestGateExpandsPlaceholders(t *testing.T) {
	t.Setenv("TEAM", "engineers")
	t.Setenv("APP", "App.example.com:8443")
	err := withGate(t, `"allow": {"groups": ["{env.TEAM}"]}, "hosts": ["{env.APP}"]`, func(gate *Gate) error {
		if !gate.rest.allow.includes("bob", []string{"engineers"}) {
			t.Errorf("allow: %+v", gate.rest.allow)
		}
		if len(gate.declared) != 1 || gate.declared[0].Name != "app.example.com" || gate.declared[0].Port != "8443" {
			t.Errorf("hosts: %+v", gate.declared)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestGateRefuses(t *testing.T) {
	t.Setenv("LIST", "a,b")
	for _, tt := range []struct{ settings, want string }{
		{`"allow": {}`, "allow: names nobody"},
		{`"allow": {"groups": ["a,b"]}`, "comma"},
		{`"allow": {"groups": ["{env.LIST}"]}`, "comma"},
		{`"allow": {"groups": [""]}`, "Enter a group name"},
		{`"assurance": "none"`, "unknown assurance"},
		{`"assurance": "device"`, "a machine, not a person"},
		{`"max_age": -1`, "it must be more than zero"},
		{`"rules": [null]`, "rule 1: it is null"},
		{`"rules": [{"open": true}]`, "rule 1: it has no matcher"},
		{`"rules": [{"match": [], "open": true}]`, "rule 1: it has no matcher"},
		{`"rules": [{"match": [{}], "open": true}]`, "rule 1: it has an empty matcher set"},
		{`"rules": [{"match": [{"path": ["/a"]}, {}], "open": true}]`, "rule 1: it has an empty matcher set"},
		{`"rules": [{"match": [{"path": ["/a"]}], "open": true, "assurance": "multi"}]`, "rule 1: open lets everybody pass"},
		{`"rules": [{"match": [{"path": ["/a"]}], "open": true, "allow": {"users": ["a"]}}]`, "rule 1: open lets everybody pass"},
		{`"rules": [{"match": [{"path": ["/a"]}], "allow": {}}]`, "rule 1: allow: names nobody"},
		{`"rules": [{"match": [{"abacus": {}}]}]`, "unknown module: http.matchers.abacus"},
		{`"headers": {"user": "X User"}`, "letters, digits, hyphens, underscores and dots only"},
		{`"headers": {"user": "Connection"}`, "HTTP needs it for something else"},
		{`"headers": {"user": "remote_name"}`, "an app can't tell it from another that the gate sets"},
		{`"headers": {"user": "User-Agent"}`, "HTTP needs it for something else"},
		{`"headers": {"encoding": "latin-1"}`, "write percent or utf-8"},
		{`"headers": {"groups_only": []}`, "leave it out for all groups"},
		{`"headers": {"groups_only": [""]}`, "no group has such a name"},
		{`"headers": {"groups_only": ["a,b"]}`, "no group has such a name"},
		{`"idle_ignores": []`, "idle_ignores: it has no matcher"},
		{`"idle_ignores": [{"path": ["/a"]}, {}]`, "idle_ignores: it has an empty matcher set"},
		{`"idle_ignores": [{"abacus": {}}]`, "idle_ignores: loading matchers: "},
		{`"cors_preflight": "refuse"`, `cors_preflight "refuse": write pass`},
		{`"cookie_same_site": "strict"`, `cookie_same_site "strict": write lax or none`},
		{`"clear_site_data": "never"`, `clear_site_data "never": write user_change or sign_out`},
		{`"assertion": "yes"`, "assertion"},
		{`"hosts": ["*.*.example.com"]`, "isn't a host"},
		{`"hosts": ["{http.request.host}"]`, "hosts"},
	} {
		err := withGate(t, tt.settings, func(*Gate) error { return nil })
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "server apps") {
			t.Errorf("%s: %v; want %q", tt.settings, err, tt.want)
		}
	}
}

// TestReachableAssurance holds that a gate asks for what the factors that are
// set up can give, and for nothing else.
func TestReachableAssurance(t *testing.T) {
	const without = `{"portal": "https://login.example.com", "fido": {"off": true}}`
	for settings, want := range map[string]string{
		`"assurance": "phishing_resistant"`:                                           "no configured factor can provide it, so nobody would pass: write multi",
		`"rules": [{"match": [{"path": ["/a"]}], "assurance": "phishing_resistant"}]`: "rule 1: assurance phishing_resistant",
	} {
		if err := withGateOf(t, without, settings, func(*Gate) error { return nil }); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s without security keys: %v; want %q", settings, err, want)
		}
		if err := withGate(t, settings, func(*Gate) error { return nil }); err != nil {
			t.Errorf("%s: %v", settings, err)
		}
	}
}

// TestHandlersNeedThePortal checks a configuration without the mfa app, as
// `caddy validate` does.
func TestHandlersNeedThePortal(t *testing.T) {
	for _, handler := range []string{"mfa", "mfa_portal", "mfa_authenticator"} {
		err := caddy.Validate(configured(t, []byte(`{"apps": {"http": {"servers": {"apps": {"listen": ["127.0.0.1:0"], "routes": [
			{"handle": [{"handler": "`+handler+`"}]}
		]}}}}}`)))
		if err == nil || !strings.Contains(err.Error(), "the portal is missing: write in the Caddyfile's global options") {
			t.Errorf("%s: %v", handler, err)
		}
	}
}

// TestPatternsOfGates writes path matchers that no canonical path matches into
// all places of a gate's settings.
func TestPatternsOfGates(t *testing.T) {
	for _, settings := range []string{
		`"rules": [{"match": [{"path": ["/ad%6din*"]}]}]`,
		`"rules": [{"match": [{"not": [{"path": ["/ad%6din*"]}]}], "open": true}]`,
		`"idle_ignores": [{"path": ["/ad%6din*"]}]`,
	} {
		if err := withGate(t, settings, func(*Gate) error { return nil }); err == nil || !strings.Contains(err.Error(), "write /admin*") {
			t.Errorf("%s: %v", settings, err)
		}
	}
}
