package test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/fcgi"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// gateCaddyfile holds a site of each kind that a gate may stand in. The
// addresses of the apps that a suite writes itself are put in for CUSTOM and
// CGI.
const gateCaddyfile = `
{
	skip_install_trust
	auto_https disable_redirects
	servers :{{.Port "web"}} {
		strict_sni_host on
	}
	servers :{{.Port "lax"}} {
		strict_sni_host insecure_off
		expected_underscore_headers Remote_* X_Mfa_Assertion
		expected_dot_headers Remote.* X.Mfa.Assertion
	}
	servers :{{.Port "trusting"}} {
		trusted_proxies static 127.0.0.0/8
		trusted_proxies_strict
	}
	mfa {
		portal https://login.localhost:{{.Port "web"}}
		admins group admins
	}
}

(common) {
	tls internal
	log
}

(gated) {
	mfa {
		open /open/*
	}
	reverse_proxy {args[0]}
}

https://login.localhost:{{.Port "web"}} {
	import common
	mfa_portal
}

https://plain.localhost:{{.Port "web"}} {
	import common
	mfa
	reverse_proxy {{.Vars.app}}
}

https://app.localhost:{{.Port "web"}}, https://app.localhost:{{.Port "lax"}}, https://app.localhost:{{.Port "trusting"}} {
	import common
	import gated {{.Vars.app}}
}

https://open.localhost:{{.Port "web"}} {
	import common
	mfa {
		open /public/*
	}
	reverse_proxy {{.Vars.app}}
}

https://guard.localhost:{{.Port "web"}}, https://guard.localhost:{{.Port "lax"}} {
	import common
	@admin path /admin /admin/*
	mfa {
		rule @admin {
			allow group admins
		}
	}
	reverse_proxy {{.Vars.app}}
}

https://both.localhost:{{.Port "web"}} {
	import common
	@admin path /admin /admin/*
	@notes expression path('/notes/*')
	mfa {
		open /public/*
		rule @admin {
			allow group admins
		}
		rule @notes {
			allow user ada
		}
		rule /people/* {
			allow user bob
		}
		allow group engineers
	}
	reverse_proxy {{.Vars.app}}
}

https://methods.localhost:{{.Port "web"}} {
	import common
	@read method GET HEAD
	mfa {
		open @read
	}
	reverse_proxy {{.Vars.app}}
}

https://paths.localhost:{{.Port "web"}} {
	import common
	mfa
	handle_path /api/* {
		reverse_proxy {{.Vars.app}}
	}
	handle {
		reverse_proxy {{.Vars.admin}}
	}
}

https://encoded.localhost:{{.Port "web"}} {
	import common
	mfa
	encode gzip
	reverse_proxy {{.Vars.app}}
}

https://pages.localhost:{{.Port "web"}} {
	import common
	@ledgers path /private/index.html /ledger.html
	mfa {
		rule @ledgers {
			allow group admins
		}
	}
	templates
	try_files {path} {path}.html
	root * {{.Dir}}
	file_server
}

https://words.localhost:{{.Port "web"}} {
	import common
	mfa
	respond "the app's own words"
}

https://cgi.localhost:{{.Port "web"}} {
	import common
	mfa
	rewrite * /index.php
	reverse_proxy CGI {
		transport fastcgi {
			root /srv
			split .php
		}
	}
}

https://scripts.localhost:{{.Port "web"}} {
	import common
	@styles path *.css
	mfa {
		rule /admin.php {
			allow group admins
		}
		rule /tools.inc {
			allow group admins
		}
		open @styles
		open /index.php/public/*
	}
	reverse_proxy CGI {
		transport fastcgi {
			root /srv
			split .php .inc
		}
	}
}

https://queries.localhost:{{.Port "web"}} {
	import common
	@public {
		path /public/*
		not query private=*
	}
	@admin query action=admin
	@raw expression {query.mode} == "raw"
	mfa {
		open @public
		rule @admin {
			allow group admins
		}
		rule @raw {
			allow group admins
		}
	}
	reverse_proxy {{.Vars.app}}
}

https://rewritten.localhost:{{.Port "web"}} {
	import common
	mfa
	rewrite * /rewritten
	reverse_proxy {{.Vars.app}} {
		header_up X-Asked {http.request.orig_uri}
		header_up X-Asked-Path {http.request.orig_uri.path}
		header_up X-Who {http.auth.user.id}
		header_up X-Groups {http.auth.user.groups}
		header_up X-Assurance {http.auth.user.assurance}
	}
}

https://errors.localhost:{{.Port "web"}}, https://errors.localhost:{{.Port "lax"}} {
	import common
	mfa {
		open /open/*
	}
	error /teapot* 418
	error /open/teapot 418
	reverse_proxy {{.Vars.app}}
	handle_errors {
		mfa
		@teapot path /teapot* /open/teapot
		reverse_proxy @teapot CUSTOM
		reverse_proxy {{.Vars.app}}
	}
}

https://custom.localhost:{{.Port "web"}} {
	import common
	mfa {
		open /open/*
	}
	reverse_proxy CUSTOM
}

https://renamed.localhost:{{.Port "web"}} {
	import common
	mfa {
		open /open/*
		headers {
			user X-WEBAUTH-USER
			email X-Mail
			groups only engin* büro
			encoding utf-8
		}
	}
	reverse_proxy {{.Vars.app}}
}

https://*.wild.localhost:{{.Port "web"}} {
	import common
	@one host one.wild.localhost
	handle @one {
		mfa {
			rule /admin/* {
				allow group admins
			}
		}
		reverse_proxy {{.Vars.app}}
	}
	@two host two.wild.localhost
	handle @two {
		import gated {{.Vars.app}}
	}
	handle {
		abort
	}
}

https://*.star.localhost:{{.Port "web"}} {
	import common
	mfa
	reverse_proxy {{.Vars.app}}
}

https://single.localhost:{{.Port "web"}} {
	import common
	mfa {
		assurance single
	}
	reverse_proxy {{.Vars.app}}
}

https://steps.localhost:{{.Port "web"}} {
	import common
	mfa {
		rule /fresh/* {
			max_age 5s
		}
	}
	reverse_proxy {{.Vars.app}}
}

https://cgimethods.localhost:{{.Port "web"}} {
	import common
	@read not method POST PUT PATCH DELETE
	mfa {
		open @read
	}
	reverse_proxy CGI {
		transport fastcgi {
			root /srv
			split .php
		}
	}
}

https://*.tenant.localhost:{{.Port "web"}} {
	import common
	@public {
		not header Host admin.tenant.localhost:{{.Port "web"}}
		not expression ` + "`{http.request.host} == 'ops.tenant.localhost'`" + `
		not expression ` + "`{http.request.host.labels.2} == 'labs'`" + `
		not header_regexp Host ^[a-z]*house
	}
	mfa {
		open @public
	}
	reverse_proxy {{.Vars.app}} {
		header_up X-Host {http.request.host}
	}
}

https://form.localhost:{{.Port "web"}} {
	import common
	tracing
	vars area {path}
	@asked expression ` + "`{http.request.orig_uri.path}.startsWith('/asked')`" + `
	@area vars area /area/x
	@socket header Upgrade websocket
	@private path /private/*
	@delete method DELETE
	mfa {
		rule @delete {
			allow group admins
		}
		rule @asked {
			allow group admins
		}
		rule @area {
			allow group admins
		}
		rule @socket {
			allow group admins
		}
		rule @private {
			allow group admins
		}
		open /public/*
		open /area/*
		cors_preflight pass
	}
	reverse_proxy {{.Vars.app}} {
		header_up X-Area {vars.area}
		header_up X-Who {http.auth.user.id}
		header_up X-Name {http.auth.user.name}
		header_up X-Nothing {http.auth.user.nothing}
	}
}

http://:{{.Port "any"}} {
	mfa {
		hosts inside.localhost
	}
	reverse_proxy {{.Vars.app}}
}
`

// gateSuite is the scene that the tests of the gate share: nothing that one
// of them does changes what another sees, but for what the apps recorded.
type gateSuite struct {
	*scene.Scene
	// ada is an administrator; bob an engineer without an e-mail address.
	ada, bob *scene.Person
	custom   *customApp
	cgi      *cgiApp

	mu       sync.Mutex
	sessions map[string]string // by person and host
}

// TestGate attacks the gate in every kind of site, over raw connections.
func TestGate(t *testing.T) {
	t.Parallel()
	g := &gateSuite{custom: newCustomApp(t), cgi: newCGIApp(t), sessions: make(map[string]string)}
	g.Scene = scene.Start(t, scene.Options{
		Settled:   4,
		Caddyfile: strings.NewReplacer("CUSTOM", g.custom.address, "CGI", g.cgi.address).Replace(gateCaddyfile),
		Scheme:    "https",
		Env:       []string{"GODEBUG=http2xconnect=1"},
	})
	g.ada = g.Administrator("ada")
	g.bob = g.Invited("bob", "engineers")
	for _, suite := range []struct {
		name string
		test func(*testing.T, *gateSuite)
	}{
		{"P01 anonymous", testGateAnonymous},
		{"P01 errors that Caddy finds first", testGateEarlyErrors},
		{"P01 WebSocket", testGateWebSocket},
		{"P02 paths", testGatePaths},
		{"P02 other paths to one file", testGateAliases},
		{"P03 malformed", testGateMalformed},
		{"P06 queries", testGateQueries},
		{"P07 scripts", testGateScripts},
		{"P04 methods", testGateMethods},
		{"P05 methods in one form", testGateMethodForms},
		{"P08 hosts in one form", testGateHostForms},
		{"P08 what was taken before", testGateTaken},
		{"P08 HTTP3", testGateHTTP3},
		{"P10 second targets", testGateSecondTargets},
		{"H01 identity headers", testGateIdentityHeaders},
		{"H01 names and groups", testGateNames},
		{"H01 trailers", testGateTrailers},
		{"H02 Connection", testGateConnection},
		{"H02 h2c", testGateUpgrades},
		{"S04 upgrades to other protocols", testGateOtherUpgrades},
		{"H03 forwarding headers", testGateForwardingHeaders},
		{"H04 cookies to the app", testGateCookiesToApp},
		{"H04 cookies from the app", testGateCookiesFromApp},
		{"H04 caches and site data", testGateCaches},
		{"T01 server names", testGateServerNames},
		{"R03 hosts", testGateHosts},
		{"sites", testGateSites},
		{"what the app is told", testGateTells},
		{"error routes", testGateErrorRoutes},
		{"refusals", testGateRefusals},
		{"protecting headers", testGateProtectingHeaders},
		{"early data", testGateEarlyData},
		{"whoami", testGateWhoami},
		{"step-up", testGateStepUp},
	} {
		t.Run(suite.name, func(t *testing.T) {
			g.reset()
			suite.test(t, g)
		})
	}
}

func (g *gateSuite) reset() {
	g.App.Reset()
	g.Admin.Reset()
	g.custom.reset()
	g.cgi.reset()
}

// unseen fails the test where any app has seen a request since the last reset.
func (g *gateSuite) unseen(t *testing.T) {
	t.Helper()
	g.App.ExpectNone(t)
	g.Admin.ExpectNone(t)
	for _, seen := range append(g.custom.seen(), g.cgi.seen()...) {
		t.Errorf("an app saw a request: %s", seen)
	}
	g.reset()
}

// seenOne returns the one request that the app has seen since the last reset.
func (g *gateSuite) seenOne(t *testing.T) harness.Recorded {
	t.Helper()
	defer g.reset()
	return g.App.ExpectOne(t)
}

// cookie signs a person in at a host, which is "app" for app.localhost, and
// returns the line of a header that holds the session.
func (g *gateSuite) cookie(t *testing.T, p *scene.Person, host string) string {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	key := p.Name + " " + host
	if g.sessions[key] == "" {
		address := g.At(host, "/begin")
		for _, hop := range p.Browser.Follow(p.Browser.Get(address)) {
			g.Canary(hop.URL.Query().Get("ticket"))
		}
		g.sessions[key] = p.Browser.Cookie(address, "__Host-mfa")
		if g.sessions[key] == "" {
			t.Fatalf("%s got no session at %s", p.Name, host)
		}
		g.Canary(g.sessions[key])
		g.reset()
	}
	return "Cookie: __Host-mfa=" + g.sessions[key]
}

// rawRequest is a request on a raw connection. Zero fields mean a GET of / on
// the port "web", with a server name that fits the host.
type rawRequest struct {
	method, path string
	host         string   // "app" for app.localhost
	authority    string   // in place of the host with its port
	port         string   // the port's name
	sni          string   // "-" for none
	header       []string // "Name: value"
	body         string
	trailer      []string
}

func (r rawRequest) target(g *gateSuite) harness.Target {
	port, sni := r.portName(), r.sni
	switch sni {
	case "":
		sni = r.host + ".localhost"
	case "-":
		sni = ""
	}
	if port == "any" {
		return g.Raw(port)
	}
	return g.RawTLS(port, sni)
}

func (r rawRequest) portName() string {
	if r.port == "" {
		return "web"
	}
	return r.port
}

func (r rawRequest) complete(g *gateSuite) rawRequest {
	if r.method == "" {
		r.method = http.MethodGet
	}
	if r.path == "" {
		r.path = "/"
	}
	if r.authority == "" {
		r.authority = fmt.Sprintf("%s.localhost:%d", r.host, g.Port(r.portName()))
	}
	return r
}

// http1 returns the request's bytes.
func (r rawRequest) http1(g *gateSuite) []byte {
	r = r.complete(g)
	header, body := slices.Clone(r.header), r.body
	switch {
	case r.trailer != nil:
		header = append(header, "Transfer-Encoding: chunked")
		body = fmt.Sprintf("%x\r\n%s\r\n0\r\n%s\r\n\r\n", len(body), body, strings.Join(r.trailer, "\r\n"))
	case body != "":
		header = append(header, fmt.Sprintf("Content-Length: %d", len(body)))
	}
	return harness.Request1(r.method, r.path, r.authority, body, header...)
}

func (r rawRequest) http2(g *gateSuite) harness.Request2 {
	r = r.complete(g)
	return harness.Request2{
		Fields: append(harness.Fields2(r.method, "https", r.authority, r.path), fieldsOf(r.header)...),
		Body:   r.body, Trailers: fieldsOf(r.trailer),
	}
}

func fieldsOf(lines []string) []harness.Field {
	var fields []harness.Field
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		fields = append(fields, harness.Field{Name: strings.ToLower(name), Value: value})
	}
	return fields
}

func (g *gateSuite) send1(r rawRequest) harness.Response { return r.target(g).Send(r.http1(g)) }

func (g *gateSuite) send2(r rawRequest) harness.Response { return r.target(g).SendHTTP2(r.http2(g)) }

// overBoth runs a test over HTTP/1.1 and over HTTP/2.
func (g *gateSuite) overBoth(t *testing.T, test func(*testing.T, func(rawRequest) harness.Response)) {
	t.Helper()
	t.Run("HTTP1", func(t *testing.T) { test(t, g.send1) })
	t.Run("HTTP2", func(t *testing.T) { test(t, g.send2) })
}

// customApp is an app whose answers the tests write themselves, for what a
// Recorder doesn't answer.
type customApp struct {
	address string

	mu       sync.Mutex
	requests []string
	handler  http.HandlerFunc
}

func newCustomApp(t *testing.T) *customApp {
	app := &customApp{}
	app.address = serve(t, func(l net.Listener) error { return http.Serve(l, app) })
	return app
}

// serve runs a server on a free port until the test ends.
func serve(t *testing.T, run func(net.Listener) error) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("starting an app: %v", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = run(listener) // ends with the listener
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-ended
	})
	return listener.Addr().String()
}

func (a *customApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.requests = append(a.requests, r.Method+" "+r.RequestURI+" for "+r.Header.Get("Remote-User"))
	handler := a.handler
	a.mu.Unlock()
	if handler != nil {
		handler(w, r)
	}
}

func (a *customApp) answer(handler http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.handler = handler
}

func (a *customApp) seen() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.requests)
}

func (a *customApp) reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests = nil
}

// cgiApp is an app behind FastCGI that keeps what it was told: the target, and
// the user whom the server vouches for.
type cgiApp struct {
	address string

	mu       sync.Mutex
	requests []string
	told     []string // assertions
}

func newCGIApp(t *testing.T) *cgiApp {
	app := &cgiApp{}
	app.address = serve(t, func(l net.Listener) error { return fcgi.Serve(l, app) })
	return app
}

func (a *cgiApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	variables := fcgi.ProcessEnv(r)
	a.mu.Lock()
	defer a.mu.Unlock()
	method := ""
	if r.Method != http.MethodGet {
		method = r.Method + " "
	}
	a.requests = append(a.requests, method+r.URL.RequestURI()+" for "+variables["REMOTE_USER"]+" or "+r.Header.Get("Remote-User"))
	a.told = append(a.told, r.Header.Values(assertionHeader)...)
}

func (a *cgiApp) assertions() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.told)
}

func (a *cgiApp) seen() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.requests)
}

func (a *cgiApp) reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests = nil
}
