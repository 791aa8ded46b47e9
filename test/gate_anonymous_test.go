package test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/test/harness"
)

// gatedHosts are all gated hosts on the port "web", and paths that each kind
// of site treats in its own way.
var gatedHosts = []string{
	"plain", "app", "open", "guard", "both", "paths", "encoded", "pages", "words", "cgi", "scripts", "queries", "rewritten",
	"errors", "custom", "renamed", "one.wild", "two.wild", "any.star", "single", "steps",
}

var overlongMethod = strings.Repeat("M", 40)

// testGateAnonymous asks for everything, in every way, as nobody.
func testGateAnonymous(t *testing.T, g *gateSuite) {
	methods := []string{
		"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "FOO", "get", overlongMethod,
	}
	paths := []string{"/", "/api/x?y=z", "/admin/", "/teapot", "/.mfa", "/.mfax/y", "/index.php"}
	forged := []string{"Remote-User: ada", "Cookie: __Host-mfa=ada", "Authorization: Basic YWRhOmFkYQ=="}
	for _, host := range gatedHosts {
		t.Run(host, func(t *testing.T) {
			connection, err := rawRequest{host: host}.target(g).HTTP2()
			if err != nil {
				t.Fatal(err)
			}
			defer connection.Close()
			for i, method := range methods {
				request := rawRequest{method: method, host: host, path: paths[i%len(paths)], header: forged}
				expectRefusal(t, request, g.send1(request))
				// HTTP/2 may reset the stream of a method that it doesn't take.
				if response := connection.Send(request.http2(g)); response.Status != 0 {
					expectRefusal(t, request, response)
				}
			}
			for _, path := range paths {
				request := rawRequest{host: host, path: path, header: forged}
				expectRefusal(t, request, g.send1(request))
				expectRefusal(t, request, connection.Send(request.http2(g)))
			}
			g.unseen(t)
		})
	}
}

// expectRefusal wants an answer that gives nothing away.
func expectRefusal(t *testing.T, request rawRequest, response harness.Response) {
	t.Helper()
	if response.Status < 300 || response.Status >= 500 {
		t.Errorf("%s %s at %s: %d %v", request.method, request.path, request.host, response.Status, response.Err)
	}
	if strings.Contains(response.Body, "the app's own words") {
		t.Errorf("%s %s at %s gave the app's words away", request.method, request.path, request.host)
	}
}

// testGateEarlyErrors lets Caddy refuse requests before any handler, where the
// site's error route forwards to the app.
func testGateEarlyErrors(t *testing.T, g *gateSuite) {
	forged := []string{"Remote-User: ada", "Remote_User: ada"}
	session := g.cookie(t, g.bob, "errors")
	for _, test := range []struct {
		name    string
		request rawRequest
		status  int
	}{
		{"another server name", rawRequest{host: "errors", sni: "app.localhost", header: forged}, http.StatusMisdirectedRequest},
		{"another server name, signed in", rawRequest{host: "errors", sni: "app.localhost", header: append(forged, session)}, http.StatusMisdirectedRequest},
		{"another server name, navigating", rawRequest{host: "errors", sni: "app.localhost", header: append(forged, "Accept: text/html")}, http.StatusMisdirectedRequest},
		{"no method of this length", rawRequest{host: "errors", method: overlongMethod, header: forged}, http.StatusMethodNotAllowed},
		{"no method of this length, signed in", rawRequest{host: "errors", method: overlongMethod, header: append(forged, session)}, http.StatusMethodNotAllowed},
		{"an open path with an overlong method", rawRequest{host: "errors", path: "/open/x", method: overlongMethod, header: forged}, http.StatusMethodNotAllowed},
	} {
		t.Run(test.name, func(t *testing.T) {
			g.overBoth(t, func(t *testing.T, send func(rawRequest) harness.Response) {
				response := send(test.request)
				if response.Status != test.status {
					t.Errorf("answered %d, not %d (%v)", response.Status, test.status, response.Err)
				}
				g.unseen(t)
			})
		})
	}
}

var webSocketHeader = []string{
	"Upgrade: websocket", "Connection: Upgrade",
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13",
}

// testGateWebSocket opens WebSockets in both ways, as nobody and as somebody.
func testGateWebSocket(t *testing.T, g *gateSuite) {
	for _, host := range gatedHosts {
		t.Run(host, func(t *testing.T) {
			response := g.send1(rawRequest{host: host, path: "/socket", header: webSocketHeader})
			if response.Status != http.StatusUnauthorized {
				t.Errorf("upgrading answered %d (%v)", response.Status, response.Err)
			}
			stream := g.extendedConnect(t, host, "websocket")
			if response := stream.Header(); response.Status != http.StatusUnauthorized {
				t.Errorf("extended CONNECT answered %d (%v)", response.Status, response.Err)
			}
			g.unseen(t)
		})
	}
	session := g.cookie(t, g.bob, "app")
	t.Run("no WebSocket", func(t *testing.T) {
		for _, protocol := range []string{"connect-udp", "connect-ip", "h2c", "WebSocket"} {
			if response := g.extendedConnect(t, "app", protocol, session).Header(); response.Status != http.StatusBadRequest {
				t.Errorf("extended CONNECT for %s answered %d (%v)", protocol, response.Status, response.Err)
			}
		}
		g.unseen(t)
	})
	t.Run("upgrading, signed in", func(t *testing.T) {
		connection, err := rawRequest{host: "app"}.target(g).HTTP1()
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close()
		request := rawRequest{host: "app", path: "/socket", header: append(slices.Clone(webSocketHeader), session)}
		if response := connection.Send(request.http1(g)); response.Status != http.StatusSwitchingProtocols {
			t.Fatalf("answered %d (%v)", response.Status, response.Err)
		}
		expectEcho(t, harness.NewWebSocket(connection))
		expectUser(t, g.seenOne(t), "bob")
	})
	t.Run("extended CONNECT, signed in", func(t *testing.T) {
		stream := g.extendedConnect(t, "app", "websocket", session, "Sec-WebSocket-Version: 13", "Remote-User: ada")
		if response := stream.Header(); response.Status != http.StatusOK {
			t.Fatalf("answered %d (%v)", response.Status, response.Err)
		}
		expectEcho(t, harness.NewWebSocket(stream))
		expectUser(t, g.seenOne(t), "bob")
	})
}

// extendedConnect opens a stream as RFC 8441 §4 has it.
func (g *gateSuite) extendedConnect(t *testing.T, host, protocol string, header ...string) *harness.HTTP2Stream {
	t.Helper()
	connection, err := rawRequest{host: host}.target(g).HTTP2()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(connection.Close)
	if !connection.ExtendedConnect() {
		t.Fatal("the server takes no extended CONNECT, so this would test nothing")
	}
	fields := rawRequest{method: http.MethodConnect, host: host, path: "/socket", header: header}.http2(g).Fields
	fields = slices.Insert(fields, 4, harness.Field{Name: ":protocol", Value: protocol})
	stream, err := connection.Open(fields, false)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func expectEcho(t *testing.T, socket *harness.WebSocket) {
	t.Helper()
	if err := socket.WriteText("anybody there?"); err != nil {
		t.Fatal(err)
	}
	if echo, err := socket.ReadText(); err != nil || echo != "anybody there?" {
		t.Fatalf("the app echoed %q: %v", echo, err)
	}
}

// expectUser wants the app to have been told of a person exactly once.
func expectUser(t *testing.T, seen harness.Recorded, name string) {
	t.Helper()
	if told := seen.Header["Remote-User"]; !slices.Equal(told, []string{name}) {
		t.Errorf("the app was told of %q, not of %s", told, name)
	}
}

// testGateMethods wants one decision whatever the method says, and none that
// turns on what an app might take for the method.
func testGateMethods(t *testing.T, g *gateSuite) {
	overrides := []string{
		"X-HTTP-Method-Override: GET", "X-HTTP-Method: GET", "X-Method-Override: GET", "X-Original-Method: GET",
	}
	session := g.cookie(t, g.bob, "guard")
	for _, method := range []string{"GET", "HEAD", "POST", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "FOO"} {
		t.Run(method, func(t *testing.T) {
			g.overBoth(t, func(t *testing.T, send func(rawRequest) harness.Response) {
				header := append(slices.Clone(overrides), session)
				forbidden := rawRequest{method: method, host: "guard", path: "/admin/x?_method=GET", header: header}
				if response := send(forbidden); response.Status != http.StatusForbidden {
					t.Errorf("/admin/x answered %d (%v)", response.Status, response.Err)
				}
				g.unseen(t)
				send(rawRequest{method: method, host: "guard", path: "/x", header: header})
				seen := g.seenOne(t)
				expectUser(t, seen, "bob")
				if seen.Method != method {
					t.Errorf("the app saw %s", seen.Method)
				}
				if method == "GET" || method == "HEAD" {
					return
				}
				send(rawRequest{method: method, host: "methods", path: "/x?_method=GET", header: overrides})
				g.unseen(t)
			})
		})
	}
	t.Run("a method that is open", func(t *testing.T) {
		if response := g.send1(rawRequest{method: "HEAD", host: "methods"}); response.Status != http.StatusOK {
			t.Errorf("answered %d (%v)", response.Status, response.Err)
		}
		expectNobody(t, g.seenOne(t))
	})
}

// expectNobody wants the app to have been told of no person.
func expectNobody(t *testing.T, seen harness.Recorded) {
	t.Helper()
	for name, values := range seen.Header {
		if isIdentityHeader(name) {
			t.Errorf("the app was told %s: %q", name, values)
		}
	}
}

// testGateServerNames speaks of one site in the handshake and of another in
// the request, where Caddy refuses that and where it doesn't.
func testGateServerNames(t *testing.T, g *gateSuite) {
	session := g.cookie(t, g.bob, "app")
	for _, test := range []struct {
		name     string
		request  rawRequest
		statuses []int // 0: no TLS connection at all
	}{
		{"strict, another site", rawRequest{host: "guard", sni: "app.localhost"}, []int{421}},
		{"strict, no name", rawRequest{host: "app", sni: "-"}, []int{0, 421}},
		{"strict, an unknown name", rawRequest{host: "app", sni: "unknown.localhost"}, []int{0, 421}},
		{"lax, another site", rawRequest{host: "guard", port: "lax", path: "/admin/x", sni: "app.localhost", header: []string{session}}, []int{401}},
		{"lax, no name", rawRequest{host: "guard", port: "lax", path: "/admin/x", sni: "-", header: []string{session}}, []int{0, 401}},
		{"lax, upper case", rawRequest{authority: "GUARD.LOCALHOST", sni: "app.localhost", port: "lax", path: "/admin/x", header: []string{session}}, []int{401, 400}},
		{"lax, a dot at the end", rawRequest{authority: "guard.localhost.", sni: "app.localhost", port: "lax", path: "/admin/x", header: []string{session}}, []int{200, 400, 401}},
		{"lax, a site of another port", rawRequest{host: "plain", sni: "app.localhost", port: "lax", header: []string{session}}, []int{200}},
		{"anonymous, upper case", rawRequest{authority: "APP.LOCALHOST", sni: "APP.LOCALHOST"}, []int{400, 401}},
		{"anonymous, a dot at the end", rawRequest{authority: "app.localhost.", sni: "app.localhost."}, []int{0, 200, 400, 401, 421}},
	} {
		t.Run(test.name, func(t *testing.T) {
			g.overBoth(t, func(t *testing.T, send func(rawRequest) harness.Response) {
				response := send(test.request)
				if !slices.Contains(test.statuses, response.Status) {
					t.Errorf("answered %d (%v), not one of %v", response.Status, response.Err, test.statuses)
				}
				g.unseen(t)
			})
		})
	}
	t.Run("signed in, upper case", func(t *testing.T) {
		authority := fmt.Sprintf("APP.LocalHost:%d", g.Port("web"))
		g.overBoth(t, func(t *testing.T, send func(rawRequest) harness.Response) {
			send(rawRequest{authority: authority, sni: "app.localhost", header: []string{session}})
			expectUser(t, g.seenOne(t), "bob")
		})
	})
}

// testGateHosts asks sites that take more than one host for hosts that the
// configuration doesn't name: nothing may be signed for them.
func testGateHosts(t *testing.T, g *gateSuite) {
	web, other := g.Port("web"), g.Port("any")
	for _, test := range []struct {
		name    string
		request rawRequest
	}{
		{"catch-all, a stranger's host", rawRequest{port: "any", authority: "evil.example"}},
		{"catch-all, a stranger's host and our port", rawRequest{port: "any", authority: fmt.Sprintf("evil.example:%d", other)}},
		{"catch-all, a look-alike before", rawRequest{port: "any", authority: fmt.Sprintf("inside.localhost.evil.example:%d", other)}},
		{"catch-all, a look-alike behind", rawRequest{port: "any", authority: fmt.Sprintf("notinside.localhost:%d", other)}},
		{"catch-all, below the host", rawRequest{port: "any", authority: fmt.Sprintf("evil.inside.localhost:%d", other)}},
		{"catch-all, an address", rawRequest{port: "any", authority: fmt.Sprintf("127.0.0.1:%d", other)}},
		{"catch-all, a user name", rawRequest{port: "any", authority: "inside.localhost@evil.example"}},
		{"catch-all, another port", rawRequest{port: "any", authority: "inside.localhost:1"}},
		{"catch-all, a port in words", rawRequest{port: "any", authority: "inside.localhost:http"}},
		{"catch-all, an empty label", rawRequest{port: "any", authority: "inside..localhost"}},
		{"wildcard, two labels", rawRequest{host: "any.star", authority: fmt.Sprintf("evil.any.star.localhost:%d", web)}},
		{"wildcard, a stranger's host", rawRequest{host: "any.star", authority: "any.star.localhost.evil.example"}},
		{"wildcard, a label that is none", rawRequest{host: "any.star", authority: fmt.Sprintf("a,b.star.localhost:%d", web)}},
		{"wildcard, another port", rawRequest{host: "any.star", authority: "any.star.localhost:1"}},
		{"wildcard, a host of no handle", rawRequest{host: "three.wild"}},
		{"one host, another port", rawRequest{host: "app", authority: "app.localhost:1"}},
		{"one host, port 0", rawRequest{host: "app", authority: "app.localhost:0"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			request := test.request
			request.header = append(request.header, "Accept: text/html")
			expectUnsigned(t, g.send1(request))
			if request.port != "any" {
				expectUnsigned(t, g.send2(request))
			}
			g.unseen(t)
		})
	}
	for _, request := range []rawRequest{
		{port: "any", authority: fmt.Sprintf("inside.localhost:%d", other)},
		{host: "some.star"},
		{host: "one.wild"},
	} {
		request.header = []string{"Accept: text/html"}
		response := g.send1(request)
		if !strings.HasPrefix(response.Header.Get("Location"), g.At("login", "/sign-in?request=")) {
			t.Errorf("%v answered %d %q", request, response.Status, response.Header.Get("Location"))
		}
	}
	g.unseen(t)
}

// expectUnsigned wants neither a redirect nor a cookie.
func expectUnsigned(t *testing.T, response harness.Response) {
	t.Helper()
	var reset harness.StreamResetError
	if response.Status == 0 && (response.Err == nil || errors.As(response.Err, &reset)) {
		return // cut off, as abort does
	}
	if response.Header.Get("Location") != "" || response.Header.Get("Set-Cookie") != "" {
		t.Errorf("answered %d with %v", response.Status, response.Header)
	}
	if response.Status >= 300 && response.Status < 400 || response.Status >= 500 {
		t.Errorf("answered %d", response.Status)
	}
}
