package caddymodule

import (
	"strings"
	"testing"
)

// TestWaysAround (P09) writes what would have let requests past a gate.
func TestWaysAround(t *testing.T) {
	t.Setenv("UNSET", "")
	const nested = `
*.example.com {
	@app host app.example.com
	@legacy header X-Legacy 1
	route {
		%s
		handle @app {
			mfa {
				%s
			}
			reverse_proxy localhost:3000
		}
		handle {
			reverse_proxy localhost:3001
		}
	}
}`
	written := func(before, inside string) string {
		return strings.Replace(strings.Replace(nested, "%s", before, 1), "%s", inside, 1)
	}
	site := func(inside string) string {
		return "wiki.example.com {\n\t@all expression true\n\t@ip remote_ip 10.0.0.0/8\n\t@unset path {env.UNSET}*\n\t@none not path {env.UNSET}\n\t@own host wiki.example.com\n\tmfa {\n\t\t" + inside + "\n\t}\n\treverse_proxy localhost:3000\n}\n"
	}
	for _, tt := range []struct{ name, sites, want string }{
		{"another Host", written("request_header @legacy Host legacy.example.com", ""), "request_header runs before mfa, which must decide on what the client asked for, and can change the header Host"},
		{"a second Host", written("request_header @legacy +Host legacy.example.com", ""), "can change the header Host"},
		{"no Host", written("request_header @legacy -Host", ""), "can change the header Host"},
		{"no header that begins so", written("request_header @legacy -H*", ""), "can change the header Host"},
		{"a replaced Host", written("request_header @legacy Host app legacy", ""), "can change the header Host"},
		{"a header that the client names", written("request_header @legacy {header.X-Name} legacy.example.com", ""), "request_header runs before mfa"},
		{"no Origin", written("request_header -Origin", ""), "can change the header Origin"},
		{"somebody's cookie", written("request_header Cookie {query.cookie}", ""), "can change the header Cookie"},
		{"the client's address", written("vars @legacy client_ip 10.0.0.1", ""), "vars runs before mfa, which must decide on what the client asked for, and can change the variable client_ip"},
		{"a user's name", written("vars http.auth.user.id {query.user}", ""), "can change the variable http.auth.user.id"},
		{"a user's name by a map", written("map {query.user} {http.auth.user.name} {\n\tdefault alice\n}", ""), "map runs before mfa, which must decide on what the client asked for, and can change the placeholder http.auth.user.name"},
		{"a proxy's word", written("vars trusted_proxy true", ""), "can change the variable trusted_proxy"},

		{"open below the root", site("open /*"), "open applies to every request"},
		{"open for an unset variable", site("open {$UNSET}/*"), "open applies to every request"},
		{"open for an unset variable in a matcher", site("open @unset"), "{env.UNSET} in a matcher is empty"},
		{"open but for an unset variable", site("open @none"), "{env.UNSET} in a matcher is empty"},
		{"open by an expression", site("open @all"), "open applies to every request"},
		{"open on the site's own host", site("open @own"), "open applies to every request"},
		{"a rule for an unset variable", site("rule @unset {\n\t\t\tallow user alice\n\t\t}"), "{env.UNSET} in a matcher is empty"},

		{"mfa in handle_errors alone", "wiki.example.com {\n\treverse_proxy localhost:3000\n\thandle_errors {\n\t\tmfa\n\t\treverse_proxy localhost:3000\n\t}\n}", "site wiki.example.com on server srv0 (:443): mfa is only in handle_errors, where it guards nothing"},
		{"the same upstream on another port", site("") + "http://:8080 {\n\treverse_proxy 127.0.0.1:3000\n}", "the site without a host on server srv1 (:8080): reverse_proxy serves localhost:3000 without mfa, which guards it as site wiki.example.com on server srv0 (:443)"},
		{"the same upstream in a response", site("") + "http://:8080 {\n\treverse_proxy localhost:3001 {\n\t\thandle_response {\n\t\t\treverse_proxy localhost:3000\n\t\t}\n\t}\n}", "serves localhost:3000 without mfa"},
		{"the same upstream for errors of another", site("") + "http://:8080 {\n\tintercept {\n\t\thandle_response {\n\t\t\troute {\n\t\t\t\treverse_proxy localhost:3000\n\t\t\t}\n\t\t}\n\t}\n\trespond 404\n}", "intercept serves localhost:3000 without mfa"},
		{"the same upstream behind another identity proxy", site("") + "http://:8080 {\n\tforward_auth localhost:9091 {\n\t\turi /\n\t}\n\treverse_proxy localhost:3000\n}", "serves localhost:3000 without mfa"},
		{"the same upstream in a named route", site("") + "&(app) {\n\treverse_proxy localhost:3000\n}\nhttp://:8080 {\n\treverse_proxy localhost:3001 {\n\t\thandle_response {\n\t\t\tinvoke app\n\t\t}\n\t}\n}", "serves localhost:3000 without mfa"},
		{"the same PHP", "wiki.example.com {\n\tmfa\n\tphp_fastcgi localhost:9000\n}\nhttp://:8080 {\n\tphp_fastcgi 127.0.0.1:9000\n}", "serves localhost:9000 without mfa"},
		{"the same folder", "wiki.example.com {\n\troot /srv/wiki\n\tmfa\n\tfile_server\n}\nhttp://:8080 {\n\troot /srv/./wiki/\n\tfile_server\n}", "file_server serves the folder /srv/wiki without mfa, which guards it as site wiki.example.com"},
		{"the same folder by its own root", "wiki.example.com {\n\troot /srv/wiki\n\tmfa\n\tfile_server\n}\nhttp://:8080 {\n\tfile_server {\n\t\troot /srv/wiki\n\t}\n}", "file_server serves the folder /srv/wiki without mfa"},
		{"the same folders, one for each host", "wiki.example.com {\n\tmfa\n\tfile_server {\n\t\troot /srv/{host}\n\t}\n}\nhttp://:8080 {\n\tfile_server {\n\t\troot /srv/{host}\n\t}\n}", "file_server serves the folder /srv/{http.request.host} without mfa"},
		{"the gated host in a response of another port", site("") + "wiki.example.com:8443 {\n\tintercept {\n\t\thandle_response {\n\t\t\treverse_proxy localhost:3001\n\t\t}\n\t}\n\trespond 404\n}", "intercept serves, without mfa, a host that mfa guards"},
		{"a named route without end on another site", site("") + "&(loop) {\n\tinvoke loop\n}\npublic.example.com {\n\tinvoke loop\n}", "invoke loop is in the named route that it invokes"},
		{"a named route without end in a response", site("") + "&(loop) {\n\treverse_proxy localhost:3001 {\n\t\thandle_response {\n\t\t\tinvoke loop\n\t\t}\n\t}\n}\nhttp://:8080 {\n\tinvoke loop\n}", "invoke loop is in the named route that it invokes"},

		{"the same upstream beside", site("") + "https:// {\n\ttls internal\n\treverse_proxy localhost:3000\n}", "serves localhost:3000 without mfa"},
	} {
		t.Run(tt.name, func(t *testing.T) { refusedSites(t, tt.sites, tt.want) })
	}
}

// refusedSites has sites beside a portal refused, by the adapter, by Provision
// or at the start.
func refusedSites(t *testing.T, sites, want string) {
	t.Helper()
	raw, err := adapt(withPortal(sites))
	if err == nil {
		_, err = arrangedJSON(t, raw)
	}
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// What a rule looks at may not be set before the gate, either.
func TestRulesLookAtWhatWasAsked(t *testing.T) {
	for _, tt := range []struct{ before, matcher, want string }{
		{"request_header X-Lan 1", "header X-Lan 1", "can change the header X-Lan"},
		{"request_header X-Lan 1", "header_regexp X-Lan 1", "can change the header X-Lan"},
		{"request_header -X-*", "not header X-Lan 1", "can change the header X-"},
		{"request_header X-Lan 1", "expression {http.request.header.X-Lan} == '1'", "can change the header X-Lan"},
		{"request_header X-Lan 1", "expression `header({'X-Lan': '1'})`", "can change the header X-Lan"},
		{"request_header X-Lan 1", "vars {http.request.header.X-Lan} 1", "can change the header X-Lan"},
		{"request_header X-Other 1", "header X-Lan 1", ""},
		{"vars root /srv", "path /root/*", ""},
		{"header X-Lan 1", "header X-Lan 1", ""},
	} {
		sites := "wiki.example.com {\n\t@part " + tt.matcher + "\n\troute {\n\t\t" + tt.before + "\n\t\tmfa {\n\t\t\topen @part\n\t\t}\n\t\treverse_proxy localhost:3000\n\t}\n}"
		if tt.want != "" {
			refusedSites(t, sites, tt.want)
		} else if _, err := arranged(t, withPortal(sites)); err != nil {
			t.Errorf("%s, %s: %v", tt.before, tt.matcher, err)
		}
	}
}

// Groups that are used up (P09) skip the gate of an error route.
func TestGroupsUsedUpBeforeErrorRoutes(t *testing.T) {
	const (
		app     = `{"handler": "reverse_proxy", "upstreams": [{"dial": "localhost:3000"}]}`
		failure = `{"handler": "error", "status_code": 500}`
		gated   = `{"handle": [{"handler": "mfa"}, ` + app + `]}`
	)
	catching := func(routes, errors string) string {
		return `{"handle": [{"handler": "subroute", "routes": [` + routes + `], "errors": {"routes": [` + errors + `]}}]}`
	}
	const guardInGroup = `{"group": "g", "handle": [{"handler": "mfa"}]}, {"handle": [` + app + `]}`
	for name, routes := range map[string]string{
		"by a route after the subroute": catching(`{"handle": [{"handler": "vars", "a": "b"}]}`, guardInGroup) +
			`, {"group": "g", "match": [{"path": ["/x"]}], "handle": [` + failure + `]}, ` + gated,
		"by error routes within":   catching(catching(`{"handle": [`+failure+`]}`, `{"group": "g", "handle": [`+failure+`]}`), guardInGroup) + `, ` + gated,
		"by the route that failed": catching(`{"group": "g", "handle": [`+failure+`]}`, guardInGroup) + `, ` + gated,
		"by the gate's own route": catching(`{"handle": [{"handler": "vars", "a": "b"}]}`, `{"handle": [{"handler": "vars", "a": "b"}]}`) +
			`, {"group": "g", "handle": [` + failure + `, {"handler": "mfa"}]}, {"handle": [` + app + `]}`,
	} {
		_, err := arrangedJSON(t, []byte(`{"apps": {"mfa": {"portal": "https://login.example.com"}, "http": {"servers": {
			"apps": {"listen": [":443"], "routes": [{"match": [{"host": ["wiki.example.com"]}], "terminal": true,
				"handle": [{"handler": "subroute", "routes": [`+routes+`]}]}]},
			"portal": {"listen": [":8443"], "routes": [{"match": [{"host": ["login.example.com"]}], "handle": [{"handler": "mfa_portal"}]}]}}}}}`))
		if err == nil || !strings.Contains(err.Error(), "wiki.example.com on server apps") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWarnings looks at what is loaded with a warning.
func TestWarnings(t *testing.T) {
	const wiki = "wiki.example.com {\n\t@lan remote_ip 10.0.0.0/8\n\tmfa {\n\t\topen @lan\n\t}\n\treverse_proxy localhost:3000\n}\n"
	warned := func(caddyfile string) string {
		t.Helper()
		found, err := arranged(t, caddyfile)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(found.Warnings, "\n")
	}
	if got := warned(withPortal(wiki)); got != "" {
		t.Errorf("without anything to warn of: %s", got)
	}
	trusted := strings.Replace(withPortal(wiki), "{\n", "{\n\tservers {\n\t\ttrusted_proxies static 10.0.0.1/32\n\t}\n", 1)
	for _, want := range []string{"looks at remote_ip", "write client_ip", "write trusted_proxies_strict"} {
		if got := warned(trusted); !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	strict := strings.Replace(strings.Replace(trusted, "10.0.0.1/32\n", "10.0.0.1/32\n\t\ttrusted_proxies_strict\n", 1), "remote_ip", "client_ip", 1)
	if got := warned(strict); got != "" {
		t.Errorf("with client_ip and trusted_proxies_strict: %s", got)
	}
	open := warned(withPortal(wiki + "http://:8080 {\n\treverse_proxy localhost:3001\n}\npublic.example.com {\n\treverse_proxy localhost:3000\n}\n"))
	folders := warned(withPortal("wiki.example.com {\n\troot /srv/wiki\n\tmfa\n\tfile_server\n}\nall.example.com {\n\troot /srv\n\tfile_server\n}\nsame.example.com {\n\troot /srv/wiki\n\tfile_server\n}\nother.example.com {\n\troot /srv/wiki2\n\tfile_server\n}\nmany.example.com {\n\troot /www/{host}\n\tfile_server\n}\nmore.example.com {\n\troot /www/{host}\n\tmfa\n\tfile_server\n}"))
	if want := "site all.example.com on server srv0 (:443): file_server serves the folder /srv without mfa, which guards the folder /srv/wiki as site wiki.example.com on server srv0 (:443), Caddyfile:11\n" +
		"site same.example.com on server srv0 (:443): file_server serves the folder /srv/wiki without mfa, which guards it as site wiki.example.com on server srv0 (:443), Caddyfile:11"; folders != want {
		t.Errorf("got %q, want %q", folders, want)
	}
	for _, want := range []string{"site public.example.com on server srv0 (:443): reverse_proxy serves localhost:3000 without mfa, which guards it as site wiki.example.com", "the site without a host on server srv1 (:8080): reverse_proxy serves every host without mfa"} {
		if !strings.Contains(open, want) {
			t.Errorf("got %q, want %q", open, want)
		}
	}
	for _, matcher := range []string{"remote_ip 10.0.0.0/8", "not remote_ip 10.0.0.0/8", "expression remote_ip('10.0.0.0/8')", "vars {remote_host} 10.0.0.1"} {
		_, err := arranged(t, behindProxy(trusting, "http://login.example.com {\n\tmfa_portal\n}\nhttp://wiki.example.com {\n\t@lan "+matcher+"\n\tmfa {\n\t\topen @lan\n\t}\n}\n"))
		if err == nil || !strings.Contains(err.Error(), "write client_ip instead") {
			t.Errorf("%s behind a TLS proxy: %v", matcher, err)
		}
	}
}
