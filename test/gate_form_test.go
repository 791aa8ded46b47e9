package test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/portcullis-mfa/portcullis/test/harness"
)

// testGateMethodForms sends methods that FastCGI or an app would take for
// others.
func testGateMethodForms(t *testing.T, g *gateSuite) {
	g.overBoth(t, func(t *testing.T, send func(rawRequest) harness.Response) {
		for _, method := range []string{"post", "Post", "delete", "pATCH", "get"} {
			response := send(rawRequest{method: method, host: "cgimethods", path: "/index.php"})
			if response.Status != http.StatusBadRequest {
				t.Errorf("%s answered %d (%v)", method, response.Status, response.Err)
			}
			g.unseen(t)
		}
		for _, request := range []rawRequest{
			{method: "GET", host: "methods", header: []string{"X-HTTP-Method-Override: DELETE"}},
			{method: "GET", host: "methods", header: []string{"x-method-override: post"}},
			{method: "GET", host: "methods", path: "/?_method=PUT"},
			{method: "OPTIONS", host: "cgimethods", path: "/index.php", header: []string{"X-HTTP-Method: post"}},
		} {
			if response := send(request); response.Status != http.StatusBadRequest {
				t.Errorf("%s %s %v answered %d (%v)", request.method, request.path, request.header, response.Status, response.Err)
			}
			g.unseen(t)
		}
		form := rawRequest{
			method: "POST", host: "form", path: "/x", body: "a=b&_method=delete",
			header: []string{g.cookie(t, g.bob, "form"), "Content-Type: application/x-www-form-urlencoded"},
		}
		if response := send(form); response.Status != http.StatusBadRequest {
			t.Errorf("a form answered %d (%v)", response.Status, response.Err)
		}
		g.unseen(t)
		form.body = "a=b&_method=put"
		send(form)
		if seen := g.seenOne(t); seen.Method != "POST" || seen.Body != form.body {
			t.Errorf("the app saw %s %q", seen.Method, seen.Body)
		}
		send(rawRequest{method: "PROPFIND", host: "cgimethods", path: "/index.php"})
		if seen := g.cgi.seen(); !slices.Equal(seen, []string{"PROPFIND /index.php for  or "}) {
			t.Errorf("the app saw %q", seen)
		}
		g.reset()
	})
}

// testGateHostForms sends hosts in other forms than the one in which rules name
// them.
func testGateHostForms(t *testing.T, g *gateSuite) {
	port := fmt.Sprintf(":%d", g.Port("web"))
	g.overBoth(t, func(t *testing.T, send func(rawRequest) harness.Response) {
		for _, authority := range []string{
			"admin.tenant.localhost" + port, "ADMIN.tenant.localhost" + port, "admin.tenant.localhost." + port, "Admin.Tenant.Localhost." + port,
			"admin.tenant.localhost", "admin.tenant.localhost:443", "OPS.tenant.localhost" + port, "ops.tenant.localhost.", "labs.tenant.localhost." + port,
			"HOUSE.tenant.localhost" + port, "guestHouse.tenant.localhost.:443",
		} {
			name, _, _ := strings.Cut(authority, ":")
			response := send(rawRequest{host: "x", authority: authority, sni: strings.TrimSuffix(name, ".")})
			if response.Status < 300 || response.Status >= 500 {
				t.Errorf("%s answered %d (%v)", authority, response.Status, response.Err)
			}
			g.unseen(t)
		}
		response := send(rawRequest{host: "public.tenant"})
		if response.Status != http.StatusOK {
			t.Fatalf("answered %d (%v)", response.Status, response.Err)
		}
		want := "public.tenant.localhost"
		if seen := g.seenOne(t); seen.Host != want+port || seen.Header.Get("X-Host") != want || seen.Header.Get("X-Forwarded-Host") != want+port {
			t.Errorf("the app saw %s %v", seen.Host, seen.Header)
		}
		session := g.cookie(t, g.bob, "app")
		send(rawRequest{host: "app", authority: "APP.localhost" + port, header: []string{session}})
		if seen := g.seenOne(t); seen.Host != "app.localhost"+port || seen.Header.Get("X-Forwarded-Host") != seen.Host {
			t.Errorf("the app saw %s %v", seen.Host, seen.Header)
		}
	})
	t.Run("another one beside the authority", func(t *testing.T) {
		for host, passes := range map[string]bool{"admin.tenant.localhost" + port: false, "public.tenant.localhost" + port: true} {
			if response := g.send2(rawRequest{host: "public.tenant", header: []string{"host: " + host}}); (response.Status == http.StatusOK) != passes {
				t.Errorf("%s answered %d (%v)", host, response.Status, response.Err)
			}
			g.reset()
		}
	})
}

// testGateTaken has rules look at what Caddy, or a handler before the gate, took
// from the request as it came.
func testGateTaken(t *testing.T, g *gateSuite) {
	bob := g.cookie(t, g.bob, "form")
	g.overBoth(t, func(t *testing.T, send func(rawRequest) harness.Response) {
		for _, path := range []string{
			"/asked/x", "/%61sked/x", "//asked/x", "/asked;x/y", `/\asked/x`, "/%2561sked/x", "/area/x", "/area/%78", "/area/x;y", "/area//x", "/x//private/y",
		} {
			response := send(rawRequest{host: "form", path: path, header: []string{bob}})
			if response.Status != http.StatusForbidden && response.Status != http.StatusBadRequest {
				t.Errorf("%s answered %d (%v)", path, response.Status, response.Err)
			}
			g.unseen(t)
		}
		for path, want := range map[string]string{"/x/%79": "/x/y", "/x%20y": "/x y", "/public/x": "/public/x"} {
			if response := send(rawRequest{host: "form", path: path, header: []string{bob}}); response.Status != http.StatusOK {
				t.Errorf("%s answered %d (%v)", path, response.Status, response.Err)
				continue
			}
			if seen := g.seenOne(t); seen.Header.Get("X-Area") != want {
				t.Errorf("%s was taken as %q", path, seen.Header.Get("X-Area"))
			}
		}
		t.Run("nobody", func(t *testing.T) {
			for _, request := range []rawRequest{
				{path: "/public/x"},
				{path: "/x", method: "OPTIONS", header: []string{"Origin: https://other.example", "Access-Control-Request-Method: PUT"}},
			} {
				request.host = "form"
				send(request)
				seen := g.seenOne(t)
				for _, name := range []string{"X-Who", "X-Name", "X-Nothing"} {
					if got := strings.Join(seen.Header[name], ""); got != "" {
						t.Errorf("%s is %q", name, got)
					}
				}
			}
		})
	})
	if response := g.send1(rawRequest{host: "form", path: g.At("form", "/asked/x"), header: []string{bob}}); response.Status != http.StatusForbidden {
		t.Errorf("the absolute form answered %d (%v)", response.Status, response.Err)
	}
	g.unseen(t)
}

// send3 sends a request over HTTP/3. A CONNECT asks for a WebSocket.
func (g *gateSuite) send3(t *testing.T, r rawRequest) *http.Response {
	t.Helper()
	r = r.complete(g)
	transport := &http3.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		Dial: func(ctx context.Context, _ string, secured *tls.Config, config *quic.Config) (*quic.Conn, error) {
			return quic.DialAddr(ctx, g.Addr("web"), secured, config)
		},
	}
	t.Cleanup(func() { _ = transport.Close() })
	body, end := io.Pipe()
	t.Cleanup(func() { _ = end.Close() })
	request, err := http.NewRequestWithContext(t.Context(), r.method, "https://"+r.authority+r.path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.method == http.MethodConnect {
		request.Proto, request.Body = "websocket", body
	}
	for _, field := range fieldsOf(r.header) {
		request.Header.Add(field.Name, field.Value)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatalf("%s %s over HTTP/3: %v", r.method, r.path, err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

// testGateHTTP3 asks for WebSockets, and sends preflights, over HTTP/3.
func testGateHTTP3(t *testing.T, g *gateSuite) {
	bob := g.cookie(t, g.bob, "form")
	t.Run("extended CONNECT", func(t *testing.T) {
		for _, test := range []struct {
			host, path, cookie string
			status             int
		}{
			{"form", "/public/socket", "", http.StatusUnauthorized},
			{"form", "/socket", bob, http.StatusForbidden},
			{"plain", "/socket", "", http.StatusUnauthorized},
		} {
			request := rawRequest{method: http.MethodConnect, host: test.host, path: test.path}
			if test.cookie != "" {
				request.header = []string{test.cookie}
			}
			if response := g.send3(t, request); response.StatusCode != test.status {
				t.Errorf("%s at %s answered %d", test.path, test.host, response.StatusCode)
			}
			request.header = append(request.header, "Sec-WebSocket-Version: 13")
			if status := g.extendedConnectTo(t, request); status != test.status {
				t.Errorf("%s at %s answered %d over HTTP/2", test.path, test.host, status)
			}
			g.unseen(t)
		}
	})
	t.Run("signed in", func(t *testing.T) {
		request := rawRequest{method: http.MethodConnect, host: "app", path: "/socket", header: []string{g.cookie(t, g.bob, "app"), "Sec-WebSocket-Version: 13"}}
		if response := g.send3(t, request); response.StatusCode != http.StatusOK {
			t.Errorf("answered %d", response.StatusCode)
		}
		if seen := g.seenOne(t); seen.Method != "GET" || seen.Header.Get("Upgrade") != "websocket" {
			t.Errorf("the app saw %s %v", seen.Method, seen.Header)
		}
	})
	t.Run("a preflight", func(t *testing.T) {
		response := g.send3(t, rawRequest{
			method: "OPTIONS", host: "form", path: "/x", header: []string{"Origin: https://other.example", "Access-Control-Request-Method: PUT"},
		})
		if response.StatusCode != http.StatusOK {
			t.Fatalf("answered %d", response.StatusCode)
		}
		if seen := g.seenOne(t); seen.Method != "OPTIONS" || seen.Body != "" {
			t.Errorf("the app saw %s %q", seen.Method, seen.Body)
		}
	})
}

// extendedConnectTo sends the request over HTTP/2 as extendedConnect does, and
// returns the status of the answer.
func (g *gateSuite) extendedConnectTo(t *testing.T, r rawRequest) int {
	t.Helper()
	connection, err := r.target(g).HTTP2()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(connection.Close)
	fields := slices.Insert(r.http2(g).Fields, 4, harness.Field{Name: ":protocol", Value: "websocket"})
	stream, err := connection.Open(fields, false)
	if err != nil {
		t.Fatal(err)
	}
	return stream.Header().Status
}

// testGateSecondTargets names a second target in a header.
func testGateSecondTargets(t *testing.T, g *gateSuite) {
	bob, ada := g.cookie(t, g.bob, "both"), g.cookie(t, g.ada, "both")
	at := g.At("both", "")
	g.overBoth(t, func(t *testing.T, send func(rawRequest) harness.Response) {
		for _, test := range []struct {
			method, path, header, cookie string
			status                       int
		}{
			{"COPY", "/public/x", "Destination: " + at + "/admin/x", "", http.StatusUnauthorized},
			{"COPY", "/public/x", "Destination: " + at + "/admin/x", bob, http.StatusForbidden},
			{"COPY", "/public/x", "Destination: /admin/x", bob, http.StatusForbidden},
			{"MOVE", "/people/x", "Destination: " + at + "/%61dmin/x", bob, http.StatusForbidden},
			{"MOVE", "/people/x", "Destination: " + at + "/people/..%2fadmin/x", bob, http.StatusBadRequest},
			{"COPY", "/public/x", "Destination: " + at + "//admin/x", bob, http.StatusBadRequest},
			{"COPY", "/public/x", "Destination: " + g.At("app", "/x"), bob, http.StatusBadRequest},
			{"GET", "/public/x", "X-Original-URL: /admin/x", bob, http.StatusForbidden},
			{"GET", "/public/x", "X-Rewrite-URL: /admin/x", "", http.StatusUnauthorized},
			{"PUT", "/public/x", "X-Amz-Copy-Source: admin/x", bob, http.StatusForbidden},
		} {
			request := rawRequest{method: test.method, host: "both", path: test.path, header: []string{test.header}}
			if test.cookie != "" {
				request.header = append(request.header, test.cookie)
			}
			if response := send(request); response.Status != test.status {
				t.Errorf("%s %s, %s answered %d (%v)", test.method, test.path, test.header, response.Status, response.Err)
			}
			g.unseen(t)
		}
		response := send(rawRequest{method: "COPY", host: "both", path: "/public/x", header: []string{"Destination: " + at + "/%61dmin/x", ada}})
		if response.Status != http.StatusOK {
			t.Fatalf("an administrator got %d (%v)", response.Status, response.Err)
		}
		seen := g.seenOne(t)
		if seen.Header.Get("Destination") != at+"/admin/x" {
			t.Errorf("the app saw %q", seen.Header["Destination"])
		}
		expectUser(t, seen, "ada")
	})
}

// testGateOtherUpgrades hands connections over for protocols that are neither
// HTTP nor WebSocket, and takes them back from whoever is disabled.
func testGateOtherUpgrades(t *testing.T, g *gateSuite) {
	g.custom.answer(func(w http.ResponseWriter, r *http.Request) {
		connection, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = connection.Close() }()
		_, _ = fmt.Fprintf(connection, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", r.Header.Get("Upgrade"))
		_, _ = io.Copy(connection, buffered)
	})
	defer g.custom.answer(nil)
	carol := g.Invited("carol", "engineers")
	session := g.cookie(t, carol, "custom")
	open := func(protocol, path string, header ...string) *harness.HTTP1Conn {
		connection, err := rawRequest{host: "custom"}.target(g).HTTP1()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(connection.Close)
		header = append(header, "Upgrade: "+protocol, "Connection: Upgrade")
		if response := connection.Send(rawRequest{method: "POST", host: "custom", path: path, header: header}.http1(g)); response.Status != http.StatusSwitchingProtocols {
			t.Fatalf("%s answered %d (%v)", protocol, response.Status, response.Err)
		}
		return connection
	}
	echoes := func(connection *harness.HTTP1Conn) error {
		if _, err := connection.Write([]byte("ping")); err != nil {
			return err
		}
		_, err := io.ReadFull(connection, make([]byte, 4))
		return err
	}
	var connections []*harness.HTTP1Conn
	for _, protocol := range []string{"tcp", "SPDY/3.1", "tailscale-control-protocol"} {
		connections = append(connections, open(protocol, "/x", session))
		if err := echoes(open(protocol, "/open/x")); err != nil {
			t.Errorf("%s on an open path: %v", protocol, err)
		}
	}
	for _, connection := range connections {
		if err := echoes(connection); err != nil {
			t.Fatal(err)
		}
	}
	if out := g.CLI("mfa", "user", "disable", "carol"); out.Code != 0 {
		t.Fatalf("disabling: %s", out.Stderr)
	}
	for _, connection := range connections {
		harness.Eventually(t, 10*time.Second, "the connection to be cut", func() bool { return echoes(connection) != nil })
	}
	g.reset()
}
