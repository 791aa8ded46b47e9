package test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
)

// identityHeaders are the headers in which apps look for the person.
var identityHeaders = []string{"Remote-User", "Remote-Name", "Remote-Email", "Remote-Groups", "X-Mfa-Assertion"}

// isIdentityHeader reports whether an app that folds names as CGI does would
// take a header for one of ours.
func isIdentityHeader(name string) bool {
	return slices.ContainsFunc(identityHeaders, func(own string) bool { return sameForCGI(name, own) })
}

func sameForCGI(a, b string) bool {
	fold := func(name string) string {
		return strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
				return r
			}
			return '_'
		}, strings.ToLower(name))
	}
	return fold(a) == fold(b)
}

// spellings are the ways to write a name that some app takes for the same.
func spellings(name string) []string {
	return []string{
		name, strings.ToLower(name), strings.ToUpper(name), strings.ToLower(name[:3]) + strings.ToUpper(name[3:]),
		strings.ReplaceAll(name, "-", "_"), strings.ToUpper(strings.ReplaceAll(name, "-", "_")),
		strings.ReplaceAll(name, "-", "."), strings.ToLower(strings.ReplaceAll(name, "-", ".")),
	}
}

// testGateIdentityHeaders forges every identity header, in every spelling.
func testGateIdentityHeaders(t *testing.T, g *gateSuite) {
	session := g.cookie(t, g.bob, "app")
	for _, port := range []string{"web", "lax"} {
		for _, name := range identityHeaders {
			for _, spelling := range spellings(name) {
				t.Run(port+" "+spelling, func(t *testing.T) {
					g.overBoth(t, func(t *testing.T, send func(rawRequest) harness.Response) {
						forged := []string{spelling + ": ada"}
						if port == "web" { // on the other, Caddy itself drops what comes twice
							forged = append(forged, spelling+": ", spelling+": mallory")
						}
						send(rawRequest{host: "app", port: port, path: "/open/x", header: append(forged, session)})
						expectNobody(t, g.seenOne(t))
						send(rawRequest{host: "app", port: port, path: "/x", header: append(forged, session)})
						expectBob(t, g.seenOne(t))
					})
				})
			}
		}
	}
	t.Run("renamed", func(t *testing.T) { testGateRenamedHeaders(t, g) })
}

// expectBob wants the app to have been told of bob as he is: without an
// address, and of nothing twice.
func expectBob(t *testing.T, seen harness.Recorded) {
	t.Helper()
	want := map[string]string{"Remote-User": "bob", "Remote-Groups": "engineers", "Remote-Name": "bob"}
	for name, values := range seen.Header {
		if isIdentityHeader(name) && (len(values) != 1 || values[0] != want[name]) {
			t.Errorf("the app was told %s: %q", name, values)
		}
	}
	if seen.Header["Remote-User"] == nil || seen.Header["Remote-Groups"] == nil {
		t.Errorf("the app was not told who asks: %v", seen.Header)
	}
}

func testGateRenamedHeaders(t *testing.T, g *gateSuite) {
	session := g.cookie(t, g.bob, "renamed")
	var forged []string
	for _, name := range append(slices.Clone(identityHeaders), "X-WEBAUTH-USER", "X-Mail") {
		for _, spelling := range spellings(name) {
			forged = append(forged, spelling+": ada")
		}
	}
	ours := func(name string) bool {
		return isIdentityHeader(name) || sameForCGI(name, "X-WEBAUTH-USER") || sameForCGI(name, "X-Mail")
	}
	g.overBoth(t, func(t *testing.T, send func(rawRequest) harness.Response) {
		for _, path := range []string{"/x", "/open/x"} {
			send(rawRequest{host: "renamed", path: path, header: append(forged, session)})
			seen := g.seenOne(t)
			for name, values := range seen.Header {
				switch {
				case !ours(name):
				case path == "/open/x":
					t.Errorf("on an open path the app was told %s: %q", name, values)
				case name == "X-Webauth-User" && slices.Equal(values, []string{"bob"}):
				case name == "Remote-Groups" && slices.Equal(values, []string{"engineers"}):
				case name == "Remote-Name" && slices.Equal(values, []string{"bob"}):
				default:
					t.Errorf("the app was told %s: %q", name, values)
				}
			}
			if path == "/x" && seen.Header["X-Webauth-User"] == nil {
				t.Error("the app was not told who asks")
			}
		}
	})
}

// testGateNames tells apps of somebody whose names go beyond ASCII, and who is
// in more groups than an app needs.
func testGateNames(t *testing.T, g *gateSuite) {
	zoe := g.Invited("zoë", "büro", "staff")
	for host, want := range map[string][]string{"app": {"zo%C3%AB", "b%C3%BCro,staff"}, "renamed": {"zoë", "büro"}} {
		session := g.cookie(t, zoe, host)
		g.overBoth(t, func(t *testing.T, send func(rawRequest) harness.Response) {
			send(rawRequest{host: host, path: "/x", header: []string{session}})
			seen := g.seenOne(t).Header
			if got := []string{seen.Get("Remote-User") + seen.Get("X-Webauth-User"), seen.Get("Remote-Groups")}; !slices.Equal(got, want) {
				t.Errorf("%s was told %q", host, got)
			}
		})
	}
}

// testGateTrailers sends identity behind the body, announced and not.
func testGateTrailers(t *testing.T, g *gateSuite) {
	session := g.cookie(t, g.bob, "app")
	for _, path := range []string{"/x", "/open/x"} {
		for _, announced := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s announced %t", path, announced), func(t *testing.T) {
				g.overBoth(t, func(t *testing.T, send func(rawRequest) harness.Response) {
					request := rawRequest{
						method: http.MethodPost, host: "app", path: path, header: []string{session, "TE: trailers"},
						body: "hello", trailer: []string{"Remote-User: ada", "Remote-Email: ada@example.com", "X-Other: y"},
					}
					if announced {
						request.header = append(request.header, "Trailer: Remote-User, Remote-Email, X-Other")
					}
					send(request)
					seen := g.seenOne(t)
					if seen.Body != "hello" || !seen.Complete {
						t.Errorf("the app got the body %q", seen.Body)
					}
					if len(seen.Trailer) > 0 || seen.Header["Trailer"] != nil {
						t.Errorf("the app got the trailers %v, %q", seen.Trailer, seen.Header["Trailer"])
					}
					if path == "/x" {
						expectBob(t, seen)
					} else {
						expectNobody(t, seen)
					}
				})
			})
		}
	}
}

// testGateConnection lists headers in Connection, which the proxy deletes on
// its way to the app.
func testGateConnection(t *testing.T, g *gateSuite) {
	session := g.cookie(t, g.bob, "app") + "; theme=dark"
	for _, lines := range [][]string{
		{"Connection: Remote-User"},
		{"Connection: remote-user, remote-groups, X-Mfa-Assertion, Cookie"},
		{"Connection: close, Remote-User"},
		{"Connection: keep-alive", "Connection: Remote-User", "Connection: Cookie"},
		{"Connection: Remote-User,,;, Cookie;q=1, \"Remote-User\""},
		{"Connection: upgrade, Remote-User, Cookie", "Upgrade: nothing/1"},
		{"Proxy-Connection: Remote-User", "Keep-Alive: Remote-User", "TE: Remote-User"},
		{"connection: HOST, Remote-User"},
	} {
		t.Run(strings.Join(lines, " "), func(t *testing.T) {
			g.send1(rawRequest{host: "app", path: "/x", header: append(slices.Clone(lines), session)})
			seen := g.seenOne(t)
			expectBob(t, seen)
			if !slices.Equal(seen.Header["Cookie"], []string{"theme=dark"}) {
				t.Errorf("the app got the cookies %q", seen.Header["Cookie"])
			}
		})
	}
	t.Run("with a WebSocket", func(t *testing.T) {
		header := append(slices.Clone(webSocketHeader), "Connection: Remote-User, Cookie", session)
		if response := g.send1(rawRequest{host: "app", path: "/socket", header: header}); response.Status != http.StatusSwitchingProtocols {
			t.Errorf("answered %d (%v)", response.Status, response.Err)
		}
		expectBob(t, g.seenOne(t))
	})
}

// testGateUpgrades asks for tunnels in which further requests would pass
// unseen.
func testGateUpgrades(t *testing.T, g *gateSuite) {
	session := g.cookie(t, g.bob, "app")
	for _, lines := range [][]string{
		{"Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", "Connection: Upgrade, HTTP2-Settings"},
		{"Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", "Connection: Upgrade"},
		{"Upgrade: H2C", "Connection: upgrade"},
		{"Upgrade: websocket, h2c", "Connection: Upgrade"},
		{"Upgrade: websocket", "Upgrade: h2c", "Connection: Upgrade"},
		{"Upgrade: h2c", "Upgrade: websocket", "Connection: Upgrade"},
		{"Upgrade: TLS/1.0", "Connection: Upgrade"},
	} {
		t.Run(strings.Join(lines, " "), func(t *testing.T) {
			for _, path := range []string{"/x", "/open/x"} {
				response := g.send1(rawRequest{host: "app", path: path, header: append(slices.Clone(lines), session)})
				if response.Status != http.StatusOK {
					t.Errorf("%s answered %d (%v)", path, response.Status, response.Err)
				}
				seen := g.seenOne(t)
				if seen.Header["Upgrade"] != nil || seen.Header["Http2-Settings"] != nil {
					t.Errorf("%s: the app was asked to upgrade: %v", path, seen.Header)
				}
			}
		})
	}
	t.Run("HTTP/2 at once", func(t *testing.T) {
		// As the second request of a connection, after one that passed.
		connection, err := rawRequest{host: "app"}.target(g).HTTP1()
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close()
		connection.Send(rawRequest{host: "app", path: "/open/x"}.http1(g))
		g.reset()
		connection.Send([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
		g.unseen(t)
	})
}

// testGateForwardingHeaders tells of another client, host and scheme, from a
// peer that isn't trusted and from one that is.
func testGateForwardingHeaders(t *testing.T, g *gateSuite) {
	forged := []string{
		"X-Forwarded-For: 203.0.113.66", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: http", "X-Forwarded-Port: 1",
		"Forwarded: for=203.0.113.66;host=evil.example;proto=http", "X-Real-IP: 203.0.113.66", "X-Client-IP: 203.0.113.66",
		"True-Client-IP: 203.0.113.66", "CF-Connecting-IP: 203.0.113.66", "X-Original-URL: /open/x", "X-Rewrite-URL: /open/x",
		"X-Original-Host: evil.example", "X-Host: evil.example",
	}
	for _, port := range []string{"web", "trusting"} {
		t.Run(port, func(t *testing.T) {
			g.overBoth(t, func(t *testing.T, send func(rawRequest) harness.Response) {
				response := send(rawRequest{host: "app", port: port, path: "/x", header: append(slices.Clone(forged), "Accept: text/html")})
				if location := response.Header.Get("Location"); !strings.HasPrefix(location, g.At("login", "/sign-in?request=")) {
					t.Errorf("answered %d and leads to %q", response.Status, location)
				}
				g.unseen(t)
				if address := g.auditedAddress(t, send, rawRequest{host: "app", port: port, header: forged}); port == "web" && address != "127.0.0.1" {
					t.Errorf("a peer that isn't trusted changed the audited address to %s", address)
				} else if port == "trusting" && address != "203.0.113.66" {
					t.Errorf("a trusted peer told of 203.0.113.66, and the audited address is %s", address)
				}
			})
		})
	}
	t.Run("the way back", func(t *testing.T) {
		browser := g.Client()
		header := http.Header{}
		for _, line := range forged {
			name, value, _ := strings.Cut(line, ": ")
			header.Set(name, value)
		}
		page, err := browser.Send(harness.Request{URL: g.At("plain", "/back"), Header: header})
		if err != nil {
			t.Fatal(err)
		}
		page = g.bob.SignIn(browser, page.Location())
		if page.URL.String() != g.At("plain", "/back") {
			t.Errorf("signing in ended at %s", page.URL)
		}
	})
}

// auditedAddress does what is audited, and returns the address that is named.
func (g *gateSuite) auditedAddress(t *testing.T, send func(rawRequest) harness.Response, request rawRequest) string {
	t.Helper()
	events := func() (found []harness.LogEntry) {
		for _, entry := range g.LogEntries() {
			if entry.Text("logger") == "mfa.audit" && entry.Text("msg") == "request.cross_origin_refused" {
				found = append(found, entry)
			}
		}
		return found
	}
	before := len(events())
	request.method, request.path = http.MethodPost, "/.mfa/sign-out"
	request.header = append(slices.Clone(request.header), "Sec-Fetch-Site: cross-site", "Origin: https://evil.example")
	if response := send(request); response.Status != http.StatusForbidden {
		t.Fatalf("signing out from elsewhere answered %d (%v)", response.Status, response.Err)
	}
	harness.Eventually(t, time.Minute, "the audit event", func() bool { return len(events()) > before })
	return events()[before].Text("address")
}

// testGateCookiesToApp wants our cookies to stop at the gate, and no others.
func testGateCookiesToApp(t *testing.T, g *gateSuite) {
	session := g.cookie(t, g.bob, "app")
	for _, test := range []struct {
		name string
		sent []string
		seen []string
	}{
		{"alone", []string{session}, nil},
		{"among others", []string{"Cookie: a=b; " + strings.TrimPrefix(session, "Cookie: ") + "; theme=dark"}, []string{"a=b; theme=dark"}},
		{"on a line of its own", []string{"Cookie: a=b", session, "Cookie: theme=dark"}, []string{"a=b", "theme=dark"}},
		{"all of ours", []string{session + "; __Host-mfa-state-x=1; __Host-mfa-portal=2; __Host-mfa-flow=3; __Host-mfa-browser=4"}, nil},
		{"in other case", []string{session + "; __host-mfa=1; __HOST-MFA-FLOW=2; a=b"}, []string{"a=b"}},
		{"in quotes", []string{session + `; a="b; __Host-mfa=1; c"`}, []string{`a="b; c"`}},
		{"without a name", []string{session + "; =__Host-mfa=1; a=b"}, []string{"a=b"}},
		{"only alike", []string{session + "; x__Host-mfa=1; __Hostmfa=2"}, []string{"x__Host-mfa=1; __Hostmfa=2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			g.overBoth(t, func(t *testing.T, send func(rawRequest) harness.Response) {
				for _, path := range []string{"/x", "/open/x"} {
					send(rawRequest{host: "app", path: path, header: test.sent})
					got := strings.Join(g.seenOne(t).Header["Cookie"], "; ")
					if want := strings.Join(test.seen, "; "); got != want {
						t.Errorf("%s: the app got the cookies %q, not %q", path, got, want)
					}
				}
			})
		})
	}
}

// ourCookies are lines of Set-Cookie that plant or clear our cookies.
var ourCookies = []string{
	"__Host-mfa=evil; Path=/; Secure", "__host-mfa=evil; Path=/; Secure", "__Host-mfa-state-x=evil", "__Host-mfa-portal=evil; Path=/",
	"__HOST-MFA-FLOW=evil", " __Host-mfa=evil", "=__Host-mfa=evil; Path=/", "__Host-mfa=; Max-Age=0; evil", "__Host-mfa-browser=evil",
}

// testGateCookiesFromApp lets an app set our cookies at every point at which
// headers leave.
func testGateCookiesFromApp(t *testing.T, g *gateSuite) {
	plant := func(h http.Header) {
		for _, line := range append([]string{"theme=dark"}, ourCookies...) {
			h.Add("Set-Cookie", line)
		}
	}
	atCustom, atErrors := g.cookie(t, g.bob, "custom"), g.cookie(t, g.bob, "errors")
	defer g.custom.answer(nil)
	for name, answer := range map[string]http.HandlerFunc{
		"final":   func(w http.ResponseWriter, _ *http.Request) { plant(w.Header()); _, _ = io.WriteString(w, "body") },
		"no body": func(w http.ResponseWriter, _ *http.Request) { plant(w.Header()); w.WriteHeader(http.StatusNoContent) },
		"an error": func(w http.ResponseWriter, _ *http.Request) {
			plant(w.Header())
			w.WriteHeader(http.StatusBadGateway)
		},
		"early hints": func(w http.ResponseWriter, _ *http.Request) {
			plant(w.Header())
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusOK)
		},
		"flush": func(w http.ResponseWriter, _ *http.Request) {
			plant(w.Header())
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, "late")
		},
		"events": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			plant(w.Header())
			_, _ = io.WriteString(w, "data: x\n\n")
			_ = http.NewResponseController(w).Flush()
		},
		"trailer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "Set-Cookie, X-Unannounced")
			_, _ = io.WriteString(w, "body")
			_ = http.NewResponseController(w).Flush()
			plant(w.Header())
		},
		"trailer, not announced": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "body")
			_ = http.NewResponseController(w).Flush()
			for _, line := range ourCookies {
				w.Header().Add(http.TrailerPrefix+"Set-Cookie", line)
			}
		},
	} {
		g.custom.answer(answer)
		for way, request := range map[string]rawRequest{
			"gated":             {host: "custom", path: "/x", header: []string{atCustom}},
			"open":              {host: "custom", path: "/open/x"},
			"error route":       {host: "errors", path: "/teapot", header: []string{atErrors}},
			"open, error route": {host: "errors", path: "/open/teapot"},
		} {
			t.Run(name+" "+way, func(t *testing.T) {
				raw := g.wholeAnswer(t, request)
				for _, line := range strings.Split(raw, "\r\n") {
					if strings.HasPrefix(strings.ToLower(line), "set-cookie:") && strings.Contains(line, "evil") {
						t.Errorf("the app set %q", line)
					}
				}
				if !strings.HasPrefix(name, "trailer") && !strings.Contains(raw, "theme=dark") {
					t.Errorf("the app's own cookie is lost: %q", raw)
				}
				response := g.send2(request)
				if planted := fmt.Sprint(response.Header["Set-Cookie"], response.Trailer["Set-Cookie"]); strings.Contains(planted, "evil") {
					t.Errorf("over HTTP/2 the app set %q", planted)
				}
				if len(g.custom.seen()) != 2 {
					t.Errorf("the app saw %q", g.custom.seen())
				}
				g.reset()
			})
		}
	}
}

// testGateCaches has an app let shared caches keep what is for one person, and
// browsers forget everybody's cookies.
func testGateCaches(t *testing.T, g *gateSuite) {
	g.custom.answer(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=60")
		w.Header().Set("X-Accel-Expires", "7200")
		w.Header().Set("Clear-Site-Data", `"cache", "cookies"`)
	})
	defer g.custom.answer(nil)
	atCustom, atErrors, atApp := g.cookie(t, g.bob, "custom"), g.cookie(t, g.bob, "errors"), g.cookie(t, g.bob, "app")
	g.overBoth(t, func(t *testing.T, send func(rawRequest) harness.Response) {
		for _, test := range []struct {
			request        rawRequest
			cache, expires string
		}{
			{rawRequest{host: "custom", path: "/x", header: []string{atCustom}}, "max-age=60, private", ""},
			{rawRequest{host: "errors", path: "/teapot", header: []string{atErrors}}, "max-age=60, private", ""},
			{rawRequest{host: "custom", path: "/open/x", header: []string{atCustom}}, "public, max-age=60", "7200"},
			{rawRequest{host: "errors", path: "/open/teapot", header: []string{atErrors}}, "public, max-age=60", "7200"},
		} {
			header := send(test.request).Header
			if header.Get("Cache-Control") != test.cache || header.Get("X-Accel-Expires") != test.expires {
				t.Errorf("%s%s came with %v", test.request.host, test.request.path, header)
			}
			if got := header.Get("Clear-Site-Data"); got != `"cache"` {
				t.Errorf("%s%s came with Clear-Site-Data: %s", test.request.host, test.request.path, got)
			}
		}
		if got := send(rawRequest{host: "app", path: "/x", header: []string{atApp}}).Header["Cache-Control"]; !slices.Equal(got, []string{"private"}) {
			t.Errorf("an app that says nothing is cached by %q", got)
		}
		g.reset()
	})
}

// wholeAnswer returns all bytes that come back over HTTP/1.1, informational
// responses and trailers included.
func (g *gateSuite) wholeAnswer(t *testing.T, request rawRequest) string {
	t.Helper()
	connection, err := request.target(g).HTTP1()
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	request.header = append(slices.Clone(request.header), "Connection: close", "TE: trailers")
	if _, err := connection.Write(request.http1(g)); err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(connection)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
