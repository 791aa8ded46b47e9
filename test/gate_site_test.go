package test

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
)

// testGateSites passes the gate where it stands among other directives.
func testGateSites(t *testing.T, g *gateSuite) {
	for _, test := range []struct {
		host, path string
		status     int
		seen       string // by the app; empty: nothing
	}{
		{"one.wild", "/x", http.StatusOK, "/x"},
		{"one.wild", "/admin/x", http.StatusForbidden, ""},
		{"two.wild", "/x", http.StatusOK, "/x"},
		{"any.star", "/x", http.StatusOK, "/x"},
		{"other.star", "/x", http.StatusOK, "/x"},
		{"paths", "/api/x", http.StatusOK, "/x"},
		{"paths", "/api/../x", http.StatusBadRequest, ""},
		{"rewritten", "/x", http.StatusOK, "/rewritten"},
		{"both", "/people/x", http.StatusOK, "/people/x"},
		{"both", "/notes/x", http.StatusForbidden, ""},
		{"both", "/x", http.StatusOK, "/x"},
	} {
		t.Run(test.host+test.path, func(t *testing.T) {
			session := g.cookie(t, g.bob, test.host)
			g.overBoth(t, func(t *testing.T, send func(rawRequest) harness.Response) {
				if response := send(rawRequest{host: test.host, path: test.path, header: []string{session}}); response.Status != test.status {
					t.Errorf("answered %d (%v)", response.Status, response.Err)
				}
				if test.seen == "" {
					g.unseen(t)
					return
				}
				seen := g.seenOne(t)
				expectUser(t, seen, "bob")
				if seen.RequestURI != test.seen {
					t.Errorf("the app saw %q", seen.RequestURI)
				}
			})
		})
	}
	t.Run("a session of another host", func(t *testing.T) {
		for _, host := range []string{"two.wild", "one.wild", "other.star", "guard"} {
			for _, from := range []string{"app", "any.star"} {
				response := g.send1(rawRequest{host: host, path: "/x", header: []string{g.cookie(t, g.bob, from)}})
				if response.Status != http.StatusUnauthorized {
					t.Errorf("a session of %s answered %d at %s", from, response.Status, host)
				}
			}
		}
		g.unseen(t)
	})
	t.Run("handle beside handle_path", func(t *testing.T) {
		g.send1(rawRequest{host: "paths", path: "/other", header: []string{g.cookie(t, g.bob, "paths")}})
		expectUser(t, g.Admin.ExpectOne(t), "bob")
		g.reset()
	})
	t.Run("encode", func(t *testing.T) {
		g.App.Answer(harness.Answer{Body: strings.Repeat("compress me ", 200), Header: http.Header{"Content-Type": {"text/plain"}}})
		defer g.App.AnswerFunc(nil)
		response := g.send1(rawRequest{host: "encoded", path: "/x", header: []string{g.cookie(t, g.bob, "encoded"), "Accept-Encoding: gzip"}})
		unpacked, err := gzip.NewReader(strings.NewReader(response.Body))
		if err != nil {
			t.Fatalf("%d %v: %v", response.Status, response.Header, err)
		}
		if body, err := io.ReadAll(unpacked); err != nil || !strings.HasPrefix(string(body), "compress me") {
			t.Errorf("got %q: %v", body, err)
		}
		g.reset()
	})
	t.Run("templates that include", func(t *testing.T) {
		if err := os.WriteFile(filepath.Join(g.Dir(), "include.html"), []byte(`{{httpInclude "/included.html"}}`), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(g.Dir(), "included.html"), []byte("what is included"), 0o600); err != nil {
			t.Fatal(err)
		}
		// The request that a template makes carries no session: mfa has taken it out.
		response := g.send1(rawRequest{host: "pages", path: "/include.html", header: []string{g.cookie(t, g.bob, "pages")}})
		if response.Status != http.StatusInternalServerError || strings.Contains(response.Body, "what is included") {
			t.Errorf("answered %d %q", response.Status, response.Body)
		}
	})
	t.Run("templates", func(t *testing.T) {
		page := "{{.Req.Header.Get \"Remote-User\"}} is {{placeholder \"http.auth.user.id\"}} of {{placeholder \"http.auth.user.groups\"}}; {{.OriginalReq.URL.Path}}"
		if err := os.WriteFile(filepath.Join(g.Dir(), "page.html"), []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
		response := g.send1(rawRequest{host: "pages", path: "/p%61ge.html", header: []string{g.cookie(t, g.bob, "pages")}})
		if response.Body != "bob is bob of engineers; /page.html" {
			t.Errorf("answered %d %q", response.Status, response.Body)
		}
	})
}

// testGateTells wants the app, Caddy's placeholders and the access log to hear
// of the person and of the target that was decided on.
func testGateTells(t *testing.T, g *gateSuite) {
	t.Run("placeholders", func(t *testing.T) {
		session := g.cookie(t, g.bob, "rewritten")
		g.overBoth(t, func(t *testing.T, send func(rawRequest) harness.Response) {
			send(rawRequest{host: "rewritten", path: "/%78/y%2fz?q", header: []string{session, "X-Who: ada"}})
			seen := g.seenOne(t)
			for name, want := range map[string]string{
				"X-Asked": "/x/y%2Fz?q", "X-Asked-Path": "/x/y/z",
				"X-Who": "bob", "X-Groups": "engineers", "X-Assurance": "multi",
			} {
				if got := seen.Header[name]; !slices.Equal(got, []string{want}) {
					t.Errorf("%s is %q, not %q", name, got, want)
				}
			}
		})
	})
	t.Run("absolute form", func(t *testing.T) {
		request := rawRequest{host: "rewritten", header: []string{g.cookie(t, g.bob, "rewritten")}}
		request.path = g.At("rewritten", "/%78")
		g.send1(request)
		if seen := g.seenOne(t); seen.Header.Get("X-Asked") != "/x" {
			t.Errorf("the app was told that %q was asked for", seen.Header.Get("X-Asked"))
		}
	})
	t.Run("FastCGI", func(t *testing.T) {
		g.send1(rawRequest{host: "cgi", path: "/%78/y%2fz?q", header: []string{g.cookie(t, g.bob, "cgi"), "Remote-User: ada", "Proxy: ada"}})
		if seen := g.cgi.seen(); !slices.Equal(seen, []string{"/x/y%2Fz?q for bob or bob"}) {
			t.Errorf("the app saw %q", seen)
		}
		g.reset()
	})
	t.Run("access log", func(t *testing.T) {
		g.send1(rawRequest{host: "app", path: "/logged", header: []string{g.cookie(t, g.bob, "app")}})
		g.AwaitLog("the request with its user", func(entry harness.LogEntry) bool {
			request, _ := entry["request"].(map[string]any)
			return strings.HasPrefix(entry.Text("logger"), "http.log.access") && request["uri"] == "/logged" && entry["user_id"] == "bob"
		})
		g.reset()
	})
}

// testGateErrorRoutes lets errors of a request that passed run the site's
// error route, to which the app is told of the person as before.
func testGateErrorRoutes(t *testing.T, g *gateSuite) {
	session := g.cookie(t, g.bob, "errors")
	for _, test := range []struct {
		path   string
		header []string
		want   string // empty: the app sees nothing
	}{
		{"/teapot", []string{session, "Remote-User: ada"}, "GET /teapot for bob"},
		{"/te%61pot", []string{session, "Remote-User: ada"}, "GET /teapot for bob"},
		{"/open/teapot", []string{session, "Remote-User: ada"}, "GET /open/teapot for "},
		{"/open/teapot", []string{"Remote-User: ada"}, "GET /open/teapot for "},
		{"/teapot", []string{"Remote-User: ada"}, ""},
		{"/teapot/../open/teapot", []string{"Remote-User: ada"}, ""},
	} {
		t.Run(test.path, func(t *testing.T) {
			g.overBoth(t, func(t *testing.T, send func(rawRequest) harness.Response) {
				send(rawRequest{host: "errors", path: test.path, header: test.header})
				g.App.ExpectNone(t)
				var want []string
				if test.want != "" {
					want = []string{test.want}
				}
				if seen := g.custom.seen(); !slices.Equal(seen, want) {
					t.Errorf("the app saw %q, not %q", seen, want)
				}
				g.reset()
			})
		})
	}
}

// The forms of a refusal.
const (
	elsewhere = "the portal"
	aPage     = "a page"
	aProblem  = "a problem that programs read"
)

// testGateRefusals sends only those elsewhere who navigate, and tells all
// others what is wrong in the form that is of use to them.
func testGateRefusals(t *testing.T, g *gateSuite) {
	session := g.cookie(t, g.bob, "guard")
	for _, test := range []struct {
		name      string
		method    string
		header    []string
		anonymous string
		refused   string
	}{
		{"a browser", "GET", []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Accept: text/html"}, elsewhere, aPage},
		{"a browser that asks with HEAD", "HEAD", []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, elsewhere, aPage},
		{"an old browser", "GET", []string{"Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}, elsewhere, aPage},
		{"an old browser in capitals", "GET", []string{"Accept: TEXT/HTML"}, elsewhere, aPage},
		{"a frame", "GET", []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe", "Accept: text/html"}, aPage, aPage},
		{"a script", "GET", []string{"Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Accept: text/html"}, aProblem, aProblem},
		{"an image", "GET", []string{"Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"}, aProblem, aProblem},
		{"a prefetch", "GET", []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Purpose: prefetch;prerender"}, aProblem, aProblem},
		{"a form", "POST", []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Accept: text/html"}, aPage, aPage},
		{"a program", "GET", []string{"Accept: */*"}, aProblem, aProblem},
		{"a program that wants JSON", "GET", []string{"Accept: application/json"}, aProblem, aProblem},
		{"a program that says nothing", "GET", nil, aProblem, aProblem},
	} {
		t.Run(test.name, func(t *testing.T) {
			g.overBoth(t, func(t *testing.T, send func(rawRequest) harness.Response) {
				request := rawRequest{method: test.method, host: "guard", path: "/admin/x", header: test.header}
				expectAnswer(t, send(request), http.StatusUnauthorized, test.anonymous)
				request.header = append(slices.Clone(test.header), session)
				response := send(request)
				expectAnswer(t, response, http.StatusForbidden, test.refused)
				page := response.Body
				names := strings.Contains(page, "bob") && strings.Contains(page, "/.mfa/switch")
				switch {
				case test.name == "a frame" && strings.Contains(page, "bob"):
					t.Errorf("a page that any site can show in a frame says who is refused: %s", page)
				case test.name != "a frame" && test.refused == aPage && test.method == "GET" && !names:
					t.Errorf("the page doesn't say who is refused: %s", page)
				}
				g.unseen(t)
			})
		})
	}
}

// expectAnswer wants a refusal in one of its forms.
func expectAnswer(t *testing.T, response harness.Response, status int, form string) {
	t.Helper()
	location, kind := response.Header.Get("Location"), response.Header.Get("Content-Type")
	switch form {
	case elsewhere:
		if response.Status != http.StatusFound || !strings.Contains(location, "/sign-in?request=") {
			t.Errorf("answered %d %q", response.Status, location)
		}
	case aPage:
		if response.Status != status || !strings.HasPrefix(kind, "text/html") || location != "" {
			t.Errorf("answered %d %q %q", response.Status, kind, location)
		}
	default:
		expectProblem(t, response, status)
	}
}

// expectProblem wants a refusal as RFC 9457 has it, that leads nowhere and
// sets nothing.
func expectProblem(t *testing.T, response harness.Response, status int) {
	t.Helper()
	if response.Status != status || response.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("answered %d %q (%v)", response.Status, response.Header.Get("Content-Type"), response.Err)
		return
	}
	if response.Header.Get("Location") != "" || response.Header.Get("Set-Cookie") != "" {
		t.Errorf("the refusal leads or sets: %v", response.Header)
	}
	var problem struct {
		Title  string `json:"title"`
		Status int    `json:"status"`
	}
	if err := json.Unmarshal([]byte(response.Body), &problem); err != nil || problem.Status != status || problem.Title == "" {
		t.Errorf("the refusal says %q: %v", response.Body, err)
	}
}

// testGateProtectingHeaders wants every answer of the gate's own protected
// alike (OWASP ASVS 5.0, 3.4 and 14.3).
func testGateProtectingHeaders(t *testing.T, g *gateSuite) {
	session := g.cookie(t, g.bob, "guard")
	navigating := []string{"Accept: text/html"}
	stylesheet := ""
	for name, request := range map[string]rawRequest{
		"to the portal":   {header: navigating},
		"401":             {},
		"403":             {path: "/admin/x", header: []string{session}},
		"403 as a page":   {path: "/admin/x", header: append(navigating, session)},
		"400":             {path: "/../x"},
		"400 as a page":   {path: "/../x", header: navigating},
		"404":             {path: "/.mfa/nothing"},
		"425":             {method: "POST", header: []string{"Early-Data: 1"}},
		"whoami":          {path: "/.mfa/whoami", header: []string{session}},
		"whoami, nobody":  {path: "/.mfa/whoami"},
		"signing out":     {path: "/.mfa/sign-out", header: []string{session}},
		"signed out":      {path: "/.mfa/sign-out"},
		"switching":       {path: "/.mfa/switch"},
		"a bad callback":  {path: "/.mfa/callback?request=x", header: navigating},
		"an error of 421": {host: "errors", sni: "app.localhost", header: navigating},
	} {
		t.Run(name, func(t *testing.T) {
			if request.host == "" {
				request.host = "guard"
			}
			g.overBoth(t, func(t *testing.T, send func(rawRequest) harness.Response) {
				response := send(request)
				referrer := "same-origin"
				if strings.HasPrefix(request.path, "/.mfa/callback") {
					referrer = "no-referrer" // its address may hold a ticket
				}
				expectProtected(t, response, referrer)
				if _, rest, found := strings.Cut(response.Body, `<link rel="stylesheet" href="`); found {
					stylesheet, _, _ = strings.Cut(rest, `"`)
				}
			})
		})
	}
	g.unseen(t)
	t.Run("the style sheet", func(t *testing.T) {
		if !strings.HasPrefix(stylesheet, "/.mfa/") {
			t.Fatalf("the pages take their style from %q", stylesheet)
		}
		response := g.send1(rawRequest{host: "guard", path: stylesheet})
		if response.Status != http.StatusOK || !strings.HasPrefix(response.Header.Get("Content-Type"), "text/css") ||
			response.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("answered %d %v", response.Status, response.Header)
		}
	})
}

func expectProtected(t *testing.T, response harness.Response, referrer string) {
	t.Helper()
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": referrer,
		"Cross-Origin-Opener-Policy": "same-origin", "Strict-Transport-Security": "max-age=31536000",
	} {
		if got := response.Header.Get(name); got != want {
			t.Errorf("%d: %s is %q, not %q", response.Status, name, got, want)
		}
	}
	policy := response.Header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(policy, part) {
			t.Errorf("%d: the policy %q lacks %q", response.Status, policy, part)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
		t.Errorf("%d: the policy %q allows too much", response.Status, policy)
	}
}

// testGateEarlyData refuses what changes something in data that a bystander
// can replay (RFC 8470 §5.2).
func testGateEarlyData(t *testing.T, g *gateSuite) {
	session := g.cookie(t, g.bob, "app")
	g.overBoth(t, func(t *testing.T, send func(rawRequest) harness.Response) {
		for _, path := range []string{"/x", "/open/x", "/.mfa/sign-out"} {
			for _, method := range []string{"POST", "PUT", "DELETE", "FOO"} {
				response := send(rawRequest{method: method, host: "app", path: path, header: []string{session, "Early-Data: 1"}})
				expectProblem(t, response, http.StatusTooEarly)
			}
		}
		g.unseen(t)
		send(rawRequest{host: "app", path: "/x", header: []string{session, "Early-Data: 1"}})
		expectUser(t, g.seenOne(t), "bob")
	})
	t.Run("over HTTP/3", func(t *testing.T) {
		for _, test := range []struct {
			method, host, path string
			status             int
		}{
			{"POST", "app", "/x", http.StatusTooEarly},
			{"POST", "app", "/open/x", http.StatusTooEarly},
			{"GET", "app", "/.mfa/sign-out", http.StatusTooEarly},
			{"POST", "login", "/sign-in", http.StatusTooEarly},
			{"GET", "login", "/sign-in", http.StatusTooEarly},
			{"GET", "login", "/.well-known/jwks.json", http.StatusOK},
		} {
			response := g.sendEarly(t, rawRequest{method: test.method, host: test.host, path: test.path, header: []string{session}})
			if response.Status != test.status {
				t.Errorf("%s %s%s answered %d (%v)", test.method, test.host, test.path, response.Status, response.Err)
			}
			g.unseen(t)
		}
		g.sendEarly(t, rawRequest{host: "app", path: "/x", header: []string{session}})
		expectUser(t, g.seenOne(t), "bob")
	})
}

// sendEarly sends a request over HTTP/3 in TLS early data.
func (g *gateSuite) sendEarly(t *testing.T, r rawRequest) harness.Response {
	t.Helper()
	r = r.complete(g)
	request, err := http.NewRequestWithContext(t.Context(), r.method, "https://"+r.authority+r.path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range fieldsOf(r.header) {
		request.Header.Add(field.Name, field.Value)
	}
	return r.target(g).EarlyData(request)
}

// testGateWhoami asks who is signed in.
func testGateWhoami(t *testing.T, g *gateSuite) {
	session := g.cookie(t, g.bob, "app")
	g.overBoth(t, func(t *testing.T, send func(rawRequest) harness.Response) {
		response := send(rawRequest{host: "app", path: "/.mfa/whoami", header: []string{session, "Remote-User: ada"}})
		var who struct {
			User, Name, Assurance string
			Email                 *string
			Groups                []string
			Expires               time.Time
		}
		if err := json.Unmarshal([]byte(response.Body), &who); err != nil || response.Status != http.StatusOK {
			t.Fatalf("answered %d %q: %v", response.Status, response.Body, err)
		}
		if who.User != "bob" || who.Email != nil || !slices.Equal(who.Groups, []string{"engineers"}) || who.Assurance != "multi" || who.Expires.IsZero() {
			t.Errorf("it says %s", response.Body)
		}
		expectProblem(t, send(rawRequest{host: "app", path: "/.mfa/whoami"}), http.StatusUnauthorized)
		expectProblem(t, send(rawRequest{host: "guard", path: "/.mfa/whoami", header: []string{session}}), http.StatusUnauthorized)
		for _, request := range []rawRequest{
			{method: "POST", path: "/.mfa/whoami"}, {path: "/.mfa/"}, {path: "/.mfa/whoami/x"}, {path: "/.mfa/WHOAMI"},
			{path: "/.mfa/sign-out", method: "DELETE"}, {path: "/.mfa/callback", method: "POST"}, {path: "/.mfa/nothing"},
		} {
			request.host, request.header = "app", []string{session}
			expectProblem(t, send(request), http.StatusNotFound)
		}
		g.unseen(t)
	})
}

// testGateStepUp goes from a password alone to two factors, and from an old
// second factor to a fresh one: each step asks for what is missing and nothing
// else.
func testGateStepUp(t *testing.T, g *gateSuite) {
	browser := g.Client()
	page := g.bob.ShowPassword(browser, browser.Visit(g.At("single", "/begin")))
	if page.Status != http.StatusOK || page.URL.String() != g.At("single", "/begin") {
		t.Fatalf("the password alone ended at %d %s: %s", page.Status, page.URL, page.Text())
	}
	expectUser(t, g.seenOne(t), "bob")

	g.expectNeedsCode(t, browser, g.At("app", "/more"))
	page = g.showBackupCode(browser, g.At("app", "/more"))
	if page.URL.String() != g.At("app", "/more") {
		t.Fatalf("the code ended at %d %s: %s", page.Status, page.URL, page.Text())
	}
	expectUser(t, g.seenOne(t), "bob")

	// One host's new cookie leaves the others' rights as they are, and the
	// sign-on suffices for a host that asks for no more.
	browser.Visit(g.At("guard", "/x"))
	expectUser(t, g.seenOne(t), "bob")
	browser.Visit(g.At("steps", "/x"))
	expectUser(t, g.seenOne(t), "bob")

	fresh := g.At("steps", "/fresh/x")
	harness.Eventually(t, time.Minute, "the second factor to be too old", func() bool {
		page := browser.Get(fresh)
		g.reset()
		return strings.HasPrefix(page.Location(), g.At("login", "/"))
	})
	script, err := browser.Send(harness.Request{URL: fresh, Mode: harness.Fetch})
	if err != nil || script.Status != http.StatusUnauthorized || script.Location() != "" {
		t.Errorf("a script was answered %d %s: %v", script.Status, script.Location(), err)
	}
	g.unseen(t)
	g.expectNeedsCode(t, browser, fresh)
	page = g.showBackupCode(browser, fresh)
	if page.URL.String() != fresh {
		t.Fatalf("the fresh code ended at %d %s: %s", page.Status, page.URL, page.Text())
	}
	expectUser(t, g.seenOne(t), "bob")
}

// expectNeedsCode wants a page to be behind the second factor alone.
func (g *gateSuite) expectNeedsCode(t *testing.T, browser *harness.Client, address string) {
	t.Helper()
	page := browser.Visit(address)
	for _, form := range page.Forms() {
		if form.Has("current-password") {
			t.Errorf("%s asks for the password again: %s", address, page.Text())
		}
	}
	page.Form("one-time-code")
	g.unseen(t)
}

// showBackupCode opens what asks for a second factor, and shows one that has
// to wait for no clock.
func (g *gateSuite) showBackupCode(browser *harness.Client, address string) *harness.Page {
	page := browser.Visit(address)
	page = browser.Visit(page.Link("Use a backup code"))
	return g.bob.ShowCode(browser, page, g.bob.SpendBackupCode())
}
