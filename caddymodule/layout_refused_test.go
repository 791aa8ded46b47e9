package caddymodule

import (
	"strings"
	"testing"
)

func TestLayoutRefuses(t *testing.T) {
	const (
		onWiki     = "site wiki.example.com on server srv0 (:443): "
		beforeGate = " can answer requests that mfa hasn't decided on"
	)
	for _, tt := range []struct {
		name, sites string
		want        string
	}{
		// gates out of place
		{"gate in a path", `
wiki.example.com {
	handle /admin/* {
		mfa
	}
	reverse_proxy localhost:3000
}`, onWiki + "mfa is under a matcher that isn't about the host (path), so all other requests would bypass it: put mfa at the top of the site"},
		{"gate in handle_path", `
wiki.example.com {
	handle_path /admin/* {
		mfa
		reverse_proxy localhost:3000
	}
}`, onWiki + "mfa is under a matcher that isn't about the host (path)"},
		{"gate in a route with a method", `
wiki.example.com {
	@writes method POST PUT
	route @writes {
		mfa
	}
	reverse_proxy localhost:3000
}`, "(method)"},
		{"gate under host and header", `
*.example.com {
	@wiki {
		host wiki.example.com
		header X-From inside
	}
	handle @wiki {
		mfa
	}
}`, onWiki + "mfa is under a matcher that isn't about the host (header)"},
		{"gate under an expression about the host", `
*.example.com {
	@wiki expression host('wiki.example.com')
	handle @wiki {
		mfa
	}
}`, "(expression)"},
		{"gate under the negation of a path", `
wiki.example.com {
	@private not path /public/*
	handle @private {
		mfa
	}
}`, "(path)"},
		{"gate under a host that the request decides", `
*.example.com {
	@wiki host {http.request.uri.query.h}.example.com
	handle @wiki {
		mfa
	}
}`, "isn't about the host (host {http.request.uri.query.h}.example.com)"},
		{"gate in a site with a path", `
wiki.example.com/admin/* {
	mfa
	reverse_proxy localhost:3000
}`, "(path)"},
		{"gate in one of two handle blocks", `
wiki.example.com {
	handle /public/* {
		respond hello
	}
	handle {
		mfa
		reverse_proxy localhost:3000
	}
}`, onWiki + "mfa is in one of several handle blocks, and another may take the request: put mfa at the top of the site, outside them"},
		{"gate in the other branch of a wildcard site", `
*.example.com {
	@wiki host wiki.example.com
	handle /health {
		respond ok
	}
	handle @wiki {
		mfa
		reverse_proxy localhost:3000
	}
}`, onWiki + "mfa is in one of several handle blocks"},
		{"two gates", `
wiki.example.com {
	mfa
	mfa {
		assurance single
	}
}`, onWiki + "two mfa handlers see the same requests, and a site has one gate"},
		{"gate of a wildcard site and of a host in it", `
*.example.com {
	mfa
	@wiki host wiki.example.com
	handle @wiki {
		mfa
	}
}`, onWiki + "two mfa handlers see the same requests"},
		{"second gate in a path", `
wiki.example.com {
	mfa
	handle /admin/* {
		mfa
	}
}`, onWiki + "mfa is under a matcher that isn't about the host (path)"},
		{"gate where a walk can't see it", `
wiki.example.com {
	reverse_proxy localhost:3000 {
		handle_response {
			mfa
		}
	}
}`, "server srv0: no request reaches any of its mfa handlers"},
		{"gate in a site whose requests go elsewhere", `
wiki.example.com {
	@other host other.example.com
	handle @other {
		mfa
	}
	respond hello
}`, "server srv0: no request reaches any of its mfa handlers"},

		// ways around the gate
		{"proxy before the gate", `
wiki.example.com {
	route {
		reverse_proxy localhost:3000
		mfa
	}
}`, onWiki + "reverse_proxy" + beforeGate + ": put mfa before it"},
		{"files of a path before the gate", `
wiki.example.com {
	route {
		handle /public/* {
			file_server
		}
		mfa
		reverse_proxy localhost:3000
	}
}`, onWiki + "file_server" + beforeGate + " (under the matcher path): put mfa before it, at the top of the site, and write open inside mfa"},
		{"PHP before the gate", `
wiki.example.com {
	route {
		php_fastcgi localhost:9000
		mfa
	}
}`, onWiki},
		{"fixed answer before the gate", `
wiki.example.com {
	route {
		respond /healthz ok
		mfa
	}
}`, onWiki + "respond" + beforeGate},
		{"other identity proxy before the gate", `
wiki.example.com {
	route {
		forward_auth localhost:9000 {
			uri /verify
		}
		mfa
	}
}`, onWiki + "reverse_proxy" + beforeGate},
		{"metrics before the gate", `
wiki.example.com {
	route {
		metrics /metrics
		mfa
	}
}`, onWiki + "metrics" + beforeGate},
		{"rewrite before the gate", `
wiki.example.com {
	route {
		uri strip_prefix /app
		mfa
		reverse_proxy localhost:3000
	}
}`, onWiki + "rewrite runs before mfa, which must decide on what the client asked for"},
		{"templates around the gate's pages", `
wiki.example.com {
	route {
		templates
		mfa
	}
}`, onWiki + "templates runs before mfa"},
		{"intercept around the gate's refusals", `
wiki.example.com {
	route {
		intercept {
			@refused status 401
			handle_response @refused {
				reverse_proxy localhost:3000
			}
		}
		mfa
	}
}`, onWiki + "intercept runs before mfa"},
		{"files in a named route before the gate", `
wiki.example.com {
	route {
		invoke public
		mfa
	}
}
&(public) {
	file_server /public/*
}`, onWiki + "file_server" + beforeGate},
		{"same host without a gate on another port", `
wiki.example.com {
	mfa
	reverse_proxy localhost:3000
}
wiki.example.com:8443 {
	reverse_proxy localhost:3000
}`, "site wiki.example.com on server srv1 (:8443): reverse_proxy serves, without mfa, a host that mfa guards on server srv0"},
		{"same host without a gate by plain HTTP", `
wiki.example.com {
	mfa
	reverse_proxy localhost:3000
}
http://wiki.example.com {
	file_server
}`, "file_server serves, without mfa, a host that mfa guards on server srv0"},
		{"host of a gated wildcard on another port", `
*.example.com {
	mfa
	reverse_proxy localhost:3000
}
wiki.example.com:8443 {
	reverse_proxy localhost:3000
}`, "site wiki.example.com on server srv1 (:8443): reverse_proxy serves, without mfa,"},

		// error routes
		{"handle_errors proxies", `
wiki.example.com {
	mfa
	reverse_proxy localhost:3000
	handle_errors {
		reverse_proxy localhost:3000
	}
}`, onWiki + "handle_errors runs reverse_proxy, and some of Caddy's own errors get there without passing mfa: begin handle_errors with mfa, or do no more there than respond, header or abort"},
		{"handle_errors serves files for one status", `
wiki.example.com {
	mfa
	reverse_proxy localhost:3000
	handle_errors 404 {
		rewrite * /404.html
		file_server
	}
}`, onWiki + "handle_errors runs rewrite"},
		{"one handle_errors of two without mfa", `
wiki.example.com {
	mfa
	reverse_proxy localhost:3000
	handle_errors 404 {
		mfa
		file_server
	}
	handle_errors {
		file_server
	}
}`, onWiki + "handle_errors runs file_server"},
		{"mfa after the proxy in handle_errors", `
wiki.example.com {
	mfa
	reverse_proxy localhost:3000
	handle_errors {
		route {
			reverse_proxy localhost:3000
			mfa
		}
	}
}`, onWiki + "handle_errors runs reverse_proxy"},
		{"mfa for some paths in handle_errors", `
wiki.example.com {
	mfa
	reverse_proxy localhost:3000
	handle_errors {
		handle /admin/* {
			mfa
		}
		reverse_proxy localhost:3000
	}
}`, onWiki + "handle_errors runs reverse_proxy"},
		{"mfa with settings in handle_errors", `
wiki.example.com {
	mfa
	handle_errors {
		mfa {
			assurance single
		}
	}
}`, onWiki + "mfa in handle_errors takes no settings"},
		{"one named route for both", `
&(guarded) {
	mfa
	reverse_proxy localhost:3000
}
wiki.example.com {
	invoke guarded
	handle_errors {
		invoke guarded
	}
}`, onWiki + "one named route invokes mfa in both the site and its handle_errors"},

		// hosts
		{"every host and none named", `
:8443 {
	tls internal
	mfa
	reverse_proxy localhost:3000
}`, "the site without a host on server srv1 (:8443): mfa guards a site that accepts every host, and must know which ones are its own: name them in the site's address, or write hosts app.example.com inside mfa"},
		{"declared host served elsewhere", `
wiki.example.com:8443 {
	redir https://wiki.example.com
}
:8443 {
	mfa {
		hosts wiki.example.com
	}
}`, "mfa names wiki.example.com in hosts, but requests for that host go to another site"},
		{"declared host not of the site", `
wiki.example.com {
	mfa {
		hosts git.example.com:8443
	}
}`, onWiki + "mfa names git.example.com in hosts, but requests for that host go to another site"},
		{"wildcard for two labels", `
*.*.example.com {
	mfa
}`, "mfa can't guard this site: \"*.*.example.com\" isn't a host"},
		{"wildcard for a whole name", `
https://* {
	mfa
}`, "mfa can't guard this site: \"*\" isn't a host"},

		// plain HTTP
		{"gate by plain HTTP", `
http://wiki.example.com {
	mfa
	reverse_proxy localhost:3000
}`, "site wiki.example.com on server srv1 (:80): mfa guards wiki.example.com over plain HTTP, which only localhost and *.localhost may use"},
		{"gate by plain HTTP on every host", `
:8080 {
	mfa {
		hosts app.localhost wiki.example.com
	}
}`, "mfa guards wiki.example.com over plain HTTP"},
		{"gate by plain HTTP on an address", `
http://127.0.0.1:8080 {
	mfa
}`, "mfa guards 127.0.0.1 over plain HTTP"},

		// the portal
		{"portal on another host", `
sso.example.com {
	mfa_portal
}`, "site sso.example.com on server srv0 (:443): mfa_portal is here, but the portal is https://login.example.com"},
		{"portal on every host", `
:8443 {
	mfa_portal
}`, "mfa_portal is on a site that accepts every host: put it in a site of its own: login.example.com { mfa_portal }"},
		{"gate for the portal's host on another port", `
login.example.com:8443 {
	mfa
}`, "mfa guards the portal's own host, so nobody could sign in"},
		{"wildcard gate over the portal's host on another port", `
*.example.com:8443 {
	mfa
}`, "site login.example.com on server srv1 (:8443): mfa guards the portal's own host"},
		{"app on the portal's host on another port", `
login.example.com:8443 {
	reverse_proxy localhost:3000
}`, "site login.example.com on server srv1 (:8443): reverse_proxy runs on the portal's host, which the portal needs for itself"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := arranged(t, withPortal(tt.sites))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestPortalRefused(t *testing.T) {
	for _, tt := range []struct{ name, portal, sites, want string }{
		{"no site", "https://login.example.com", `
wiki.example.com {
	mfa
}`, "no site serves the portal https://login.example.com: write login.example.com { mfa_portal }"},
		{"no site at all", "http://login.localhost:8080", "", "write http://login.localhost:8080 { mfa_portal }"},
		{"site without the handler", "https://login.example.com", `
login.example.com {
	respond hello
}`, "no site serves the portal"},
		{"plain HTTP", "https://login.example.com", `
http://login.example.com {
	mfa_portal
}`, "site login.example.com on server srv0 (:80): mfa_portal is served over plain HTTP"},
		{"plain HTTP too", "https://login.example.com", `
http://login.example.com, https://login.example.com {
	mfa_portal
}`, "mfa_portal is served over plain HTTP"},
		{"other scheme", "http://login.localhost:8080", `
login.localhost:8080 {
	mfa_portal
}`, "mfa_portal is served as https://, but the portal is http://login.localhost:8080: make them match"},
		{"in a path", "https://login.example.com", `
login.example.com {
	handle /login/* {
		mfa_portal
	}
}`, "mfa_portal is under a matcher that isn't about the host (path)"},
		{"in handle_errors", "https://login.example.com", `
login.example.com {
	handle_errors {
		mfa_portal
	}
}`, "mfa_portal is in handle_errors"},
		{"with a gate", "https://login.example.com", `
login.example.com {
	mfa
	mfa_portal
}`, "mfa guards the portal's own host"},
		{"with an app in a path", "https://login.example.com", `
login.example.com {
	handle /app/* {
		reverse_proxy localhost:3000
	}
	mfa_portal
}`, "reverse_proxy runs on the portal's host"},
		{"with templates over its pages", "https://login.example.com", `
login.example.com {
	templates
	mfa_portal
}`, "templates runs on the portal's host"},
		{"with a header that says who asks from where", "https://login.example.com", `
login.example.com {
	request_header X-Forwarded-For {http.request.header.X-Client}
	mfa_portal
}`, "request_header runs before mfa_portal, which must see what the client sent, and can change the header X-Forwarded-For: remove it"},
		{"with errors that an app answers", "https://login.example.com", `
login.example.com {
	mfa_portal
	handle_errors {
		reverse_proxy localhost:3000
	}
}`, "reverse_proxy runs on the portal's host"},
		{"on a gated site for every host", "https://login.example.com", `
:443 {
	@login host login.example.com
	handle @login {
		mfa_portal
	}
	mfa {
		hosts wiki.example.com
	}
}`, "mfa and mfa_portal are on the same host"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := arranged(t, "{\n\tmfa {\n\t\tportal "+tt.portal+"\n\t}\n}\n"+tt.sites)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestAuthenticatorRefused(t *testing.T) {
	const named = "push {\n\t\t\tauthenticator https://phone.example.com\n\t\t}"
	for _, tt := range []struct{ name, push, site, want string }{
		{"named, but no site", named, "", "Caddyfile:5: no site serves the authenticator https://phone.example.com: write phone.example.com { mfa_authenticator }"},
		{"named, but another handler", named, `
phone.example.com {
	respond hello
}`, "no site serves the authenticator"},
		{"served, but not named", "", `
phone.example.com {
	mfa_authenticator
}`, "Caddyfile:12: site phone.example.com on server srv0 (:443): mfa_authenticator is here, but no option names this host: write in the global option mfa: push { authenticator https://phone.example.com }"},
		{"served, but off", "push off", `
phone.example.com {
	mfa_authenticator
}`, "mfa_authenticator is here, but no option names this host"},
		{"on another host", named, `
app.example.com, phone.example.com {
	mfa_authenticator
}`, "site app.example.com on server srv0 (:443): mfa_authenticator is here, but the authenticator is https://phone.example.com: write mfa_authenticator on its host only, or name this one as authenticator in the option push of mfa"},
		{"on every host", named, `
:8443 {
	mfa_authenticator
}`, "mfa_authenticator is on a site that accepts every host: put it in a site of its own: phone.example.com { mfa_authenticator }"},
		{"on the portal's host", "push {\n\t\t\tauthenticator https://login.example.com\n\t\t}", "", "Caddyfile:5: push: authenticator https://login.example.com: this is the portal's host"},
		{"behind a gate", named, `
phone.example.com {
	mfa
	mfa_authenticator
}`, "mfa guards the authenticator's own host"},
		{"behind a gate on another port", named, `
phone.example.com:8443 {
	mfa
}
phone.example.com {
	mfa_authenticator
}`, "mfa guards the authenticator's own host, where phones that aren't signed in have to reach it: give the authenticator a host of its own"},
		{"beside an app", named, `
phone.example.com {
	handle /app/* {
		reverse_proxy localhost:3000
	}
	mfa_authenticator
}`, "reverse_proxy runs on the authenticator's host, which the authenticator needs for itself"},
		{"in a path", named, `
phone.example.com {
	handle /app/* {
		mfa_authenticator
	}
}`, "mfa_authenticator is under a matcher that isn't about the host (path)"},
		{"by plain HTTP", named, `
http://phone.example.com {
	mfa_authenticator
}`, "mfa_authenticator is served over plain HTTP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := arranged(t, "{\n\tmfa {\n\t\tportal https://login.example.com\n\t\t"+tt.push+"\n\t}\n}\nlogin.example.com {\n\tmfa_portal\n}\n"+tt.site)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestPortalInAWildcardSite(t *testing.T) {
	found, err := arranged(t, `{
	mfa {
		portal https://login.example.com
	}
}
*.example.com {
	@login host login.example.com
	handle @login {
		encode
		respond /robots.txt "User-agent: *"
		mfa_portal
	}
	handle {
		mfa
		reverse_proxy localhost:3000
	}
}
`)
	if err != nil || described(found) != "https [443] *.example.com but login.example.com" {
		t.Errorf("%s, %v", described(found), err)
	}
}

// What only JSON can express.
func TestLayoutOfJSON(t *testing.T) {
	const (
		wiki  = `"match": [{"host": ["wiki.example.com"]}], "terminal": true, "handle": `
		proxy = `{"handler": "reverse_proxy", "upstreams": [{"dial": "localhost:3000"}]}`
	)
	for _, tt := range []struct{ name, server, want string }{
		{"plain and TLS on one server",
			`"listen": [":80", ":443"], "tls_connection_policies": [{}], "routes": [{` + wiki + `[{"handler": "mfa"}]}]`,
			"mfa is on a server that listens both with TLS and without"},
		{"automatic HTTPS switched off",
			`"listen": [":443"], "automatic_https": {"disable": true}, "routes": [{` + wiki + `[{"handler": "mfa"}]}]`,
			"over plain HTTP"},
		{"socket without TLS",
			`"listen": ["unix//run/apps.sock"], "automatic_https": {"disable": true}, "routes": [{` + wiki + `[{"handler": "mfa"}]}]`,
			"over plain HTTP"},
		{"what follows a subroute that caught an error",
			`"listen": [":443"], "routes": [{` + wiki + `[
				{"handler": "subroute", "routes": [{"handle": [{"handler": "mfa"}]}], "errors": {"routes": []}}, ` + proxy + `]}]`,
			"reverse_proxy can answer requests that mfa hasn't decided on"},
		{"subroute that catches errors after the gate",
			`"listen": [":443"], "routes": [{` + wiki + `[{"handler": "mfa"},
				{"handler": "subroute", "routes": [{"handle": [` + proxy + `]}], "errors": {"routes": [{"handle": [` + proxy + `]}]}}]}]`,
			""},
		{"error route whose group the site has used up",
			`"listen": [":443"],
				"routes": [{"group": "g", ` + wiki + `[{"handler": "mfa"}, ` + proxy + `]}],
				"errors": {"routes": [{"group": "g", "handle": [{"handler": "mfa"}]}, {"handle": [` + proxy + `]}]}`,
			"handle_errors runs reverse_proxy"},
		{"error route that serves, in a group that the site may not have used up",
			`"listen": [":443"],
				"routes": [{"group": "g", ` + wiki + `[{"handler": "mfa"}, ` + proxy + `]}],
				"errors": {"routes": [{"group": "g", "handle": [` + proxy + `]}]}`,
			"handle_errors runs reverse_proxy"},
		{"harmless route, then the app, then the gate",
			`"listen": [":443"], "routes": [{` + wiki + `[{"handler": "subroute", "routes": [
				{"handle": [{"handler": "headers"}]}, {"handle": [` + proxy + `]}, {"handle": [{"handler": "mfa"}]}]}]}]`,
			"reverse_proxy can answer requests that mfa hasn't decided on"},
		{"route that doesn't end before another gate",
			`"listen": [":443"], "routes": [
				{"match": [{"host": ["wiki.example.com"]}], "handle": [{"handler": "mfa"}]},
				{"match": [{"host": ["*.example.com"]}], "handle": [{"handler": "mfa"}]}]`,
			"two mfa handlers see the same requests"},
		{"either of two matcher sets",
			`"listen": [":443"], "routes": [{"match": [{"host": ["wiki.example.com"], "path": ["/a"]}, {"host": ["wiki.example.com"]}],
				"handle": [{"handler": "mfa"}]}]`,
			""},
		{"wildcards that overlap",
			`"listen": [":443"], "routes": [
				{"match": [{"host": ["wiki.*.com"]}], "handle": [` + proxy + `]},
				{"match": [{"host": ["*.example.com"]}], "handle": [{"handler": "mfa"}]}]`,
			"site wiki.example.com on server apps (:443): reverse_proxy can answer"},
		{"named route that invokes itself",
			`"listen": [":443"], "routes": [{` + wiki + `[{"handler": "invoke", "name": "a"}]}],
				"named_routes": {"a": {"handle": [{"handler": "mfa"}, {"handler": "invoke", "name": "a"}]}}`,
			"invoke a is in the named route that it invokes"},
		{"named routes that invoke each other behind the gate, for some requests",
			`"listen": [":443"], "routes": [{` + wiki + `[{"handler": "mfa"}, {"handler": "invoke", "name": "a"}]}],
				"named_routes": {"a": {"match": [{"path": ["/a"]}], "handle": [{"handler": "invoke", "name": "b"}]},
					"b": {"handle": [{"handler": "subroute", "routes": [{"handle": [{"handler": "invoke", "name": "a"}]}]}]}}`,
			"invoke a is in the named route that it invokes"},
		{"named route that invokes itself in error routes",
			`"listen": [":443"], "routes": [{` + wiki + `[{"handler": "mfa"}, ` + proxy + `]}],
				"errors": {"routes": [{"handle": [{"handler": "invoke", "name": "a"}]}]},
				"named_routes": {"a": {"handle": [{"handler": "vars", "a": "b"}, {"handler": "invoke", "name": "a"}]}}`,
			"invoke a is in the named route that it invokes"},
		{"named route that is invoked twice",
			`"listen": [":443"], "routes": [{` + wiki + `[{"handler": "mfa"}, {"handler": "invoke", "name": "a"}, {"handler": "invoke", "name": "a"}]}],
				"named_routes": {"a": {"handle": [{"handler": "vars", "a": "b"}]}}`,
			""},
		{"unknown handler before the gate",
			`"listen": [":443"], "routes": [{` + wiki + `[{"handler": "acme_server"}, {"handler": "mfa"}]}]`,
			"acme_server can answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := arrangedJSON(t, []byte(`{"apps": {
				"mfa": {"portal": "https://login.example.com"},
				"http": {"servers": {
					"apps": {`+tt.server+`},
					"portal": {"listen": [":8443"], "routes": [
						{"match": [{"host": ["login.example.com"]}], "handle": [{"handler": "mfa_portal"}], "terminal": true}]}
				}}}}`))
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}
