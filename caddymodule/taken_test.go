package caddymodule

import (
	"cmp"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/portcullis-mfa/portcullis/caddymodule/approach"
)

// TestTakesBefore finds whether anything before the gate keeps something of
// requests, and nothing where that is the same for each.
func TestTakesBefore(t *testing.T) {
	for _, test := range []struct {
		name, before string
		want         bool
	}{
		{"nothing", "", false},
		{"a root", "root * /srv", false},
		{"a root by host", "root * /srv/{host}", true},
		{"a variable", "vars area {path}", true},
		{"a variable under a matcher", "@a path /a*\nvars @a area a", true},
		{"a map", "map {path} {area} {\n/a b\n}", false},
		{"a map under a matcher", "@a path /a*\nmap @a {path} {area} {\n/a b\n}", true},
		{"what stays", "vars {\nat {time.now}\nby {remote_host}\nwith {tls_version}\nfrom {env.HOME}\n}", false},
		{"what stays, and something else", "vars at {time.now}-{header.X-A}", true},
		{"in a block", "route {\nvars area {uri}\n}", false}, // blocks come after the gate
		{"a response's header", "header X-A {path}", false},
		{"a response's header under a matcher", "@a path /a*\nheader @a X-A b", false},
		{"a regular expression", "@a path_regexp area ^/(.*)$\nheader @a X-A b", true},
		{"a regular expression within not", "@a not header_regexp area X-A ^(.*)$\nheader @a X-A b", true},
		{"a regular expression in an expression", "@a `path_regexp('area', '^/(.*)$')`\nheader @a X-A b", true},
		{"a URL pattern", "@a url_pattern /books/:id\nheader @a X-A b", true},
		{"a file", "@a file /a\nheader @a X-A b", true},
		{"a body", "request_body {\nset {path}\n}", true},
		{"a limit of bodies", "request_body {\nmax_size 1MB\n}", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			caddyfile := withPortal("app.example.com {\n" + test.before + "\nmfa\nreverse_proxy 127.0.0.1:1\n}\nother.example.com {\nvars other {path}\nmfa\nreverse_proxy 127.0.0.1:2\n}")
			raw, err := adapt(caddyfile)
			if err != nil {
				t.Fatal(err)
			}
			err = provisioned(t, raw, func(app *App) error {
				found, err := app.arrange()
				if err != nil {
					return err
				}
				for _, at := range found.Apps {
					way := approach.To(at.Gate, found.Gates[at.Gate].Site.Hosts)
					if got, want := way.Takes(), at.Host != "app.example.com" || test.want; got != want {
						t.Errorf("%s: %t", at.Host, got)
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestTakenInOneForm (P08) looks at what an app can make of what was kept of a
// request before its gate: it is of the form that was decided on, or the request
// is refused.
func TestTakenInOneForm(t *testing.T) {
	const (
		uri      = "{http.request.uri}"
		captures = `{"vars_regexp": {"` + uri + `": {"name": "r", "pattern": "^(/.*)$"}}}`
		failure  = `{"handler": "error", "error": "` + uri + `"}`
		refused  = ""
		// raw captures nothing.
		raw = `{"vars": {"` + uri + `": ["/%78"]}}`
	)
	for _, test := range []struct {
		name, before string // JSON of routes
		told         string // a placeholder
		sent, want   string // of the path, and what the placeholder holds
	}{
		{"a variable", `{"handle": [{"handler": "vars", "v": "` + uri + `"}]}`, "{http.vars.v}", "/%78", refused},
		{"a variable, in one form", `{"handle": [{"handler": "vars", "v": "` + uri + `"}]}`, "{http.vars.v}", "/x", "/x"},
		{"a header", `{"handle": [{"handler": "headers", "request": {"set": {"X-T": ["` + uri + `"]}}}]}`, "{http.request.header.X-T}", "/%78", refused},
		{"a part of a header", `{"handle": [{"handler": "headers", "request": {"replace": {"X-N": [{"search": "1", "replace": "` + uri + `"}]}}}]}`, "{http.request.header.X-N}", "/%78", refused},
		{"a part of a header, in one form", `{"handle": [{"handler": "headers", "request": {"replace": {"X-N": [{"search": "1", "replace": "` + uri + `"}]}}}]}`, "{http.request.header.X-N}", "/x", "/x"},
		{"a body", `{"handle": [{"handler": "request_body", "set": "` + uri + `"}]}`, "{http.request.uri}", "/%78", refused},
		{"a map", `{"handle": [{"handler": "map", "source": "` + uri + `", "destinations": ["{m}"], "mappings": [{"input_regexp": "(.*)", "outputs": ["${1}"]}]}]}`, "{m}", "/%78", "/x"},
		{"what an expression has matched", `{"match": [` + captures + `], "handle": [{"handler": "encode"}]}`, "{http.regexp.r.1}", "/%78", "/x"},
		{"what an expression within not has matched", `{"match": [{"not": [` + captures + `]}], "handle": [{"handler": "encode"}]}`, "{http.regexp.r.1}", "/%78", "/x"},
		{"what is matched in another form alone", `{"match": [{"vars_regexp": {"` + uri + `": {"name": "r", "pattern": "^(/%.*)$"}}}], "handle": [{"handler": "encode"}]}`, "{http.regexp.r.1}", "/%78", " "},
		{"a host", `{"match": [{"vars_regexp": {"{http.request.hostport}": {"name": "r", "pattern": "^(.*)$"}}}], "handle": [{"handler": "encode"}]}`, "{http.regexp.r.1}", "/x", "a.localhost"},
		{"an identity", `{"match": [{"header_regexp": {"Remote-User": {"name": "r", "pattern": "^(.*)$"}}}], "handle": [{"handler": "encode"}]}`, "{http.regexp.r.1}", "/x", " "},
		{"that a group was used up", `{"group": "g", "match": [{"vars_regexp": {"` + uri + `": {"pattern": "%"}}}], "handle": [{"handler": "encode"}]}`, "{http.request.uri}", "/%78", refused},
		{"that an error was caught", `{"handle": [{"handler": "subroute", "routes": [{"match": [{"vars_regexp": {"` + uri + `": {"pattern": "%"}}}], "handle": [` + failure + `]}], "errors": {"routes": [{"group": "g", "handle": [{"handler": "encode"}]}]}}]}`,
			"{http.request.uri}", "/%78", refused},
		{"an error", `{"handle": [{"handler": "subroute", "routes": [{"handle": [` + failure + `]}], "errors": {"routes": []}}]}`, "{http.error.message}", "/%78", " "},
		{"what an error was made of", `{"handle": [{"handler": "subroute", "routes": [{"handle": [` + failure + `]}], "errors": {"routes": []}}]}, {"handle": [{"handler": "vars", "v": "{http.error.message}"}]}`,
			"{http.vars.v}", "/%78", refused},
		{"a variable in that form alone", `{"match": [` + raw + `], "handle": [{"handler": "vars", "v": "1"}]}`, "{http.vars.v}", "/%78", refused},
		{"a group in that form alone", `{"group": "g", "match": [` + raw + `], "handle": [{"handler": "encode"}]}`, "{http.request.uri}", "/%78", refused},
		{"an answer in another form", `{"match": [{"not": [` + raw + `]}], "handle": [{"handler": "static_response", "status_code": "302", "headers": {"Location": ["/"]}}]}`,
			"{http.request.uri}", "/%78", refused},
		{"an error in another form", `{"match": [{"not": [` + raw + `]}], "handle": [` + failure + `]}`, "{http.request.uri}", "/%78", refused},
		{"a user of basic_auth", `{"handle": [{"handler": "authentication", "providers": {"http_basic": {"accounts": [{"username": "carol", "password": "` + carolsHash + `"}]}}}]}`,
			"{http.auth.user.id}", "/x", " "},
		{"that it would have come elsewhere", `{"match": [{"not": [{"vars_regexp": {"` + uri + `": {"pattern": "%"}}}]}], "handle": [{"handler": "static_response", "status_code": "302", "headers": {"Location": ["/"]}}]}`,
			"{http.request.uri}", "/%78", refused},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := toldBehind(t, test.before, test.told, test.sent); got != test.want {
				t.Errorf("the app was told %q, not %q", got, test.want)
			}
		})
	}
}

// carolsHash is the hash of carol's password, with bcrypt at its lowest cost.
const carolsHash = "$2a$04$0HPUxfSwWbahkOzZ8AXvYOl5hgsmu8LOytKGqOlRO0mDgN.cktMWe"

// toldBehind returns what a placeholder holds for an app whose site has routes
// before the gate: a space for nothing, and nothing where a request for
// A.localhost didn't reach the app.
func toldBehind(t *testing.T, before, placeholder, path string) (told string) {
	t.Helper()
	err := provisioned(t, []byte(`{"apps": {"mfa": {"portal": "http://localhost:8080"}, "http": {"servers": {
		"portal": {"listen": [":8080"], "automatic_https": {"disable": true},
			"routes": [{"match": [{"host": ["localhost"]}], "handle": [{"handler": "mfa_portal"}]}]},
		"apps": {"listen": [":8081"], "automatic_https": {"disable": true}, "routes": [{"match": [{"host": ["a.localhost"]}], "terminal": true,
			"handle": [{"handler": "subroute", "routes": [`+before+`, {"handle": [{"handler": "mfa"}, {"handler": "marking_app"}]}]}]}]}}}}}`), func(app *App) error {
		app.service.Store(new(service))
		close(app.ready)
		sites, err := app.httpApp()
		if err != nil {
			return err
		}
		found, err := app.arrange()
		if err != nil {
			return err
		}
		openGate(app.gates[0], found.Gates[app.gates[0]])
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Host = "A.localhost"
		r.Header.Set("X-N", "1")
		r.Header.Set("Remote-User", "alice")
		r.SetBasicAuth("carol", "carol")
		reached := comparison{server: sites.Servers["apps"]}.trace(r, placeholder)
		for _, v := range reached.visits {
			told += cmp.Or(v.told, " ")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return told
}

// TestUsualHosts gives the port at which browsers reach a site in place of the
// one that a client named.
func TestUsualHosts(t *testing.T) {
	raw, err := adapt(`{
	mfa {
		portal https://login.example.com:8443
	}
}
login.example.com:8443 {
	mfa_portal
}
app.example.com:8443, *.wild.example.com:8443 {
	mfa
	reverse_proxy 127.0.0.1:1
}
far.example.com:9443 {
	mfa {
		hosts far.example.com:443
	}
	reverse_proxy 127.0.0.1:1
}`)
	if err != nil {
		t.Fatal(err)
	}
	err = provisioned(t, raw, func(app *App) error {
		found, err := app.arrange()
		if err != nil {
			return err
		}
		for _, at := range found.Apps {
			usual := found.Gates[at.Gate].UsualHost
			for host, want := range map[string]map[string]string{
				"app.example.com": {
					"app.example.com": "app.example.com:8443", "app.example.com:8443": "app.example.com:8443",
					"a.wild.example.com": "a.wild.example.com:8443", "a.wild.example.com:1": "a.wild.example.com:8443",
				},
				"far.example.com": {"far.example.com": "far.example.com", "far.example.com:9443": "far.example.com"},
			}[at.Host] {
				if got := usual(host); got != want {
					t.Errorf("%s: %s, not %s", host, got, want)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
