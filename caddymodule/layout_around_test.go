package caddymodule

import (
	"strings"
	"testing"
)

// TestLayoutAroundTheGate (P09, D02) refuses handlers that undo, before or after the
// gate, what it decides and removes.
func TestLayoutAroundTheGate(t *testing.T) {
	const (
		basicAuth = "basic_auth {\nbob $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n}\n"
		app       = "reverse_proxy localhost:3000\n"
		ruled     = "mfa {\nrule /admin/* {\nallow group admins\n}\n}\n"
		copies    = " runs before mfa and copies {http.request.header.Cookie}"
		chooses   = " the path or the method that the app gets"
	)
	for _, tt := range []struct{ name, inside, want string }{
		{"basic_auth after the gate", "mfa\n" + basicAuth + app, "basic_auth or another authentication handler runs after mfa"},
		{"basic_auth in a path", "mfa\nhandle /x {\n" + basicAuth + app + "}\n" + app, "authentication handler runs after mfa"},
		{"basic_auth in handle_response", "mfa\nreverse_proxy localhost:3000 {\nhandle_response {\nroute {\n" + basicAuth + "}\n}\n}", "authentication handler runs after mfa"},
		{"basic_auth in an error route", "mfa\n" + app + "handle_errors {\nmfa\n" + basicAuth + app + "}", "authentication handler runs after mfa"},
		{"basic_auth before the gate", "route {\n" + basicAuth + "mfa\n" + app + "}", ""},

		{"cookies in a response", "header X-C {header.Cookie}\nmfa\n" + app, "header" + copies},
		{"cookies in a later response", "header >X-C {header.cookie}\nmfa\n" + app, "header runs before mfa and copies {http.request.header.cookie}"},
		{"a cookie that was set, in a response", "header >X-C {http.response.header.Set-Cookie}\nmfa\n" + app, "copies {http.response.header.Set-Cookie}"},
		{"a session cookie in a variable", "vars c {cookie.__Host-mfa}\nmfa\n" + app, "copies {http.request.cookie.__Host-mfa}"},
		{"a state cookie in a variable", "vars c {cookie.__Host-mfa-state-x}\nmfa\n" + app, "copies {http.request.cookie.__Host-mfa-state-x}"},
		{"cookies in a log", "log_append c {header.Cookie}\nmfa\n" + app, "log_append" + copies},
		{"an access token in a log", "log_append <c {header.Authorization}\nmfa\n" + app, "copies {http.request.header.Authorization}"},
		{"a proxy's access token in a span", "tracing {\nspan {header.Proxy-Authorization}\n}\nmfa\n" + app, "tracing runs before mfa and copies {http.request.header.Proxy-Authorization}"},
		{"cookies for the app", "route {\nrequest_header X-C {header.Cookie}\nmfa\n" + app + "}", "request_header" + copies},
		{"cookies in a redirect", "route {\nredir /x /{header.Cookie}\nmfa\n" + app + "}", "respond" + copies},
		{"cookies in an error", "route {\nerror /x {header.Cookie} 404\nmfa\n" + app + "}", "error" + copies},
		{"cookies in a root", "root * /srv/{header.Cookie}\nmfa\nfile_server", copies},
		{"cookies in a map's outputs", "map {header.Cookie} {c} {\n~(.*) ${1}\n}\nmfa\n" + app, "map" + copies},
		{"cookies in a map's input", "map {header.Cookie} {c} {\n~beta=1 yes\n}\nmfa\n" + app, ""},
		{"a captured cookie", "@c header_regexp c Cookie (.*)\nheader @c X-C {re.c.1}\nmfa\n" + app, "header runs before mfa and copies {http.regexp.c.1}"},
		{"a captured token", "@c vars_regexp c {header.Authorization} (.*)\nvars @c c {re.c.1}\nmfa\n" + app, "vars runs before mfa and copies {http.regexp.c.1}"},
		{"another capture", "@c header_regexp c Accept-Language ^(..)\nheader @c X-L {re.c.1}\nmfa\n" + app, ""},
		{"a cookie of the app's", "map {cookie.theme} {theme} {\ndefault {cookie.theme}\n}\nmfa\n" + app, ""},
		{"cookies in an error route", "mfa\n" + app + "handle_errors {\nrespond {header.Cookie}\n}", "handle_errors runs respond, which copies {http.request.header.Cookie}"},
		{"cookies in an error route behind mfa", "mfa\n" + app + "handle_errors {\nmfa\nrespond {header.Cookie}\n}", ""},
		{"an assertion in a log", "mfa {\nassertion\n}\nlog_append a {header.X-Mfa-Assertion}\n" + app, "log_append writes X-Mfa-Assertion into the log"},
		{"an assertion in a log, after the gate", "route {\nmfa {\nassertion\n}\nlog_append a {header.x-mfa-assertion}\n" + app + "}", "log_append writes X-Mfa-Assertion into the log"},
		{"cookies after the gate", "route {\nmfa\nheader X-C {header.Cookie}\n" + app + "}", ""},

		{"what caches may keep", "header {\n-Server\nCache-Control public\n}\nmfa\n" + app, "header runs around mfa and changes Cache-Control"},
		{"what another cache may keep", "header >CDN-Cache-Control public\nmfa\n" + app, "changes CDN-Cache-Control"},
		{"no cookie", "header -Set-Cookie\nmfa\n" + app, "changes Set-Cookie"},
		{"no cookie by a pattern", "header -Set-*\nmfa\n" + app, "changes Set-Cookie"},
		{"other cookies", "header >Set-Cookie SameSite=Lax SameSite=None\nmfa\n" + app, "changes Set-Cookie"},
		{"another redirect", "header >Location http https\nmfa\n" + app, "changes Location"},
		{"what caches may keep of a path", "header /static/* >Cache-Control public\nmfa\n" + app, ""},
		{"no cookie in a path", "header /static/* -Set-Cookie\nmfa\n" + app, "changes Set-Cookie"},
		{"what the app may set anew", "header Cache-Control public\nmfa\n" + app, ""},
		{"headers that don't matter", "header {\n-Server\nX-Frame-Options DENY\n}\nmfa\n" + app, ""},
		{"what caches may keep of the app's", "route {\nmfa\nheader {\n-Server\nCache-Control public\n}\n" + app + "}", ""},

		{"a path from the query", ruled + "rewrite * {query.p}\n" + app, "rewrite makes {http.request.uri.query.p}" + chooses},
		{"a path from a header", ruled + "rewrite * /x/{header.X-Path}\n" + app, "{http.request.header.X-Path}" + chooses},
		{"a part of a path from a cookie", ruled + "uri replace /x /{cookie.p}\n" + app, "{http.request.cookie.p}" + chooses},
		{"a part of a path from a header", ruled + "uri path_regexp ^/x {header.X-Path}\n" + app, "{http.request.header.X-Path}" + chooses},
		{"a method from the query", ruled + "method {query.method}\n" + app, "{http.request.uri.query.method}" + chooses},
		{"a path inside reverse_proxy", ruled + "reverse_proxy localhost:3000 {\nrewrite /{header.X-Path}\n}", "reverse_proxy makes {http.request.header.X-Path}" + chooses},
		{"a method inside handle_response", ruled + "reverse_proxy localhost:3000 {\nhandle_response {\nmethod {header.X-Method}\n" + app + "}\n}", "{http.request.header.X-Method}" + chooses},
		{"a query from the query", ruled + "rewrite * /index.php?{query}&p={query.p}\n" + app, ""},
		{"a path from the path", ruled + "rewrite * /v2{uri}\n" + app, ""},
		{"a path from the query, without rules", "mfa\nrewrite * {query.p}\n" + app, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := arranged(t, withPortal("wiki.example.com {\n"+tt.inside+"\n}\n"))
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// TestLayoutAroundThePortal (D02) refuses what copies the portal's secrets or weakens
// its answers.
func TestLayoutAroundThePortal(t *testing.T) {
	for beside, want := range map[string]string{
		"log_append c {header.Cookie}":                        "log_append copies {http.request.header.Cookie} on the host of mfa_portal",
		"log_append b {http.request.body}":                    "log_append copies {http.request.body} on the host of mfa_portal",
		"log_append b {http.response.body_base64}":            "log_append copies {http.response.body_base64} on the host of mfa_portal",
		"handle_errors {\nrespond {header.Cookie}\n}":         "respond copies {http.request.header.Cookie} on the host of mfa_portal",
		"header {\n-Server\nContent-Security-Policy x\n}":     "header changes Content-Security-Policy in what mfa_portal answers",
		"header -X-Frame-Options":                             "header changes X-Frame-Options in what mfa_portal answers",
		"header >Cache-Control public":                        "header changes Cache-Control in what mfa_portal answers",
		"header {\n-Server\nStrict-Transport-Security max\n}": "",
		"header X-Frame-Options DENY":                         "",
	} {
		_, err := arranged(t, strings.Replace(withPortal(""), "\tmfa_portal\n", "\tmfa_portal\n"+beside+"\n", 1))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got  %v\nwant %s", beside, err, want)
		}
	}
}

// TestLayoutWarnsOfOtherIdentities tells operators what names another user to the app.
func TestLayoutWarnsOfOtherIdentities(t *testing.T) {
	for inside, want := range map[string]string{
		"request_header Remote-User bob":                                                  "request_header sets Remote-User after mfa",
		"request_header +Remote-* bob":                                                    "request_header sets Remote-",
		"forward_auth localhost:2 {\nuri /x\ncopy_headers Remote-User\n}":                 "request_header sets Remote-User after mfa",
		"handle /x {\nreverse_proxy localhost:1 {\nheader_up Remote-User {query.u}\n}\n}": "reverse_proxy sets Remote-User after mfa",
		"request_header -Remote-User":                                                     "",
		"request_header Remote-User {http.auth.user.email}":                               "",
		"request_header X-Name bob":                                                       "",
	} {
		found, err := arranged(t, withPortal("wiki.example.com {\nmfa\n"+inside+"\nreverse_proxy localhost:3000\n}\n"))
		got := strings.Join(found.Warnings, "\n")
		if err != nil || !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: %v, %q", inside, err, got)
		}
	}
}
