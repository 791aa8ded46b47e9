package gate

import (
	"bufio"
	"net/http"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/gate/canonical/apps"
)

// below is a matcher for a part of a site, as Caddy's "path /part /part/*".
func below(part string) func(*http.Request) (bool, error) {
	return func(r *http.Request) (bool, error) { return isBelow(r.URL.Path, part), nil }
}

func isBelow(path, part string) bool { return path == part || strings.HasPrefix(path, part+"/") }

// fataler is the part of testing.TB that rapid has too.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// received parses a request as the HTTP/1 server does; false if that refuses.
func received(method, target string) (*http.Request, bool) {
	raw := method + " " + target + " HTTP/1.1\r\nHost: app.example.test\r\n\r\n"
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
	return r, err == nil
}

// checkDecision holds the gate's decision on a target against what apps make
// of the target that they get (P02). Nobody reaches anything but what is open,
// and somebody with two factors nothing in the part that asks for more, by
// whatever name.
func checkDecision(t fataler, g *testGate, target string) {
	t.Helper()
	for _, cookies := range [][]string{nil, {cookieGood}} {
		r, ok := received(http.MethodGet, target)
		if !ok {
			return
		}
		r.Host = "app.example.com"
		o := g.serve(r, cookies...)
		g.asked, g.lookedUp = nil, nil // which would grow without end
		if !o.passed {
			if o.Code == http.StatusOK && !strings.HasPrefix(r.URL.Path, Prefix) {
				t.Fatalf("%q: answered %d without the app", target, o.Code)
			}
			continue
		}
		if o.seen.RequestURI != o.seen.URL.RequestURI() {
			t.Fatalf("%q: forwarded as %q and as %q", target, o.seen.RequestURI, o.seen.URL.RequestURI())
		}
		for name, app := range apps.All {
			path := app(o.seen.RequestURI)
			if cookies == nil && !isBelow(path, "/open") {
				t.Fatalf("%q: nobody reached %q of an app like %s", target, path, name)
			}
			if isBelow(path, "/admin") {
				t.Fatalf("%q: too little reached %q of an app like %s", target, path, name)
			}
		}
	}
}

// decidingGate opens a part of the site, guards another, and asks two factors
// for the rest.
func decidingGate(t *testing.T) *testGate {
	t.Helper()
	strict := restOf()
	strict.Match, strict.Require = below("/admin"), assurance.Requirement{Level: assurance.PhishingResistant}
	return newTestGate(t, strict, Rule{Match: below("/open"), Open: true}, restOf())
}

// pathTargets are spellings of what is open, guarded and neither.
var pathTargets = []string{
	"/open", "/open/x", "/admin", "/admin/users", "/wiki/Main_Page", "/", "/.mfa/whoami",
	"/wiki/Gr%C3%B6%C3%9Fe", "/api/projects/group%2Fproject", "/open/a%2fb", "/map;zoom=3/tile", "/odata/Products(1)", "/files/a%20b",
	"//admin", "/./admin", "/open/../admin", "/open/%2e%2e/admin", "/open/..%2fadmin", "/open%2f..%2fadmin", "/open/%252e%252e/admin",
	"/%61dmin", "/%2561dmin", "/open%2Fx", "/open%252Fx", "/admin%2Fusers", "/a%2Fadmin", "/x/..;/admin", "/open;/../admin", "/admin;x/users", "/open;x/y",
	"/open%3Bx", "/admin%3Fx", "/admin%23", "/open\\..\\admin", "/%5Cadmin", "//x/admin", "//open/admin", "///x/open", "/open//x", "/open/./x",
	"/admin.", "/admin%20/x", "/admin::$DATA", "/admin:$I30:$INDEX_ALLOCATION", "/(S(x))/admin", "/(S(x)F(y))/open", "/open/(S(x))/..",
	"/adm%c0%afin", "/%c0%ae%c0%ae/admin", "/admin%00", "/%u0061dmin", "http://app.example.com/admin", "http://app.example.com/open/x", "*", "/open?x=/../admin", "/open%3f/../admin",
}

func TestDecisionsHoldForApps(t *testing.T) {
	g := decidingGate(t)
	reached := 0
	for _, target := range pathTargets {
		checkDecision(t, g, target)
		if r, ok := received(http.MethodGet, target); ok {
			r.Host = "app.example.com"
			if g.serve(r, cookieGood).passed {
				reached++
			}
		}
	}
	if reached < 10 {
		t.Errorf("only %d targets reached an app: nothing is tested here", reached)
	}
}

// TestDecisionProperties puts targets together from what apps fold.
func TestDecisionProperties(t *testing.T) {
	g := decidingGate(t)
	pieces := []string{
		"/", "//", "open", "admin", "x", ".", "..", ";", ";x", "%2f", "%2F", "%5c", "\\", "%2e", "%252f", "%255c", "%252e", "%25",
		"%3b", "%3f", "%23", "%20", "::$DATA", "(S(x))", "%61", "?", "&", "$", "%c0%af", "%00", ":", "@",
	}
	rapid.Check(t, func(t *rapid.T) {
		drawn := rapid.SliceOfN(rapid.SampledFrom(pieces), 1, 12).Draw(t, "pieces")
		checkDecision(t, g, "/"+strings.Join(drawn, ""))
	})
}

// FuzzDecision is differential: what the gate decided on is what apps of every
// kind see: Go, CGI, one that decodes twice, and what else stands in apps.
func FuzzDecision(f *testing.F) {
	for _, target := range pathTargets {
		f.Add(target)
	}
	var g *testGate
	f.Fuzz(func(t *testing.T, target string) {
		if g == nil {
			g = decidingGate(t)
		}
		checkDecision(t, g, target)
	})
}
