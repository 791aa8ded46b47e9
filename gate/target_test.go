package gate

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/gate/canonical"
	"github.com/portcullis-mfa/portcullis/session"
)

// targetGate opens a part of the site, lets alice into another and nobody into
// a third, and has a fourth that asks for more than alice has shown.
func targetGate(t *testing.T) *testGate {
	closed, strict, written := restOf(), restOf(), restOf()
	closed.Match, closed.Allows = below("/closed"), func(session.User) bool { return false }
	strict.Match, strict.Require = below("/strict"), assurance.Requirement{Level: assurance.PhishingResistant}
	written.Match = func(r *http.Request) (bool, error) {
		return r.Method == "PUT" && isBelow(r.URL.Path, "/readable"), nil
	}
	written.Allows = closed.Allows
	g := newTestGate(t, Rule{Match: below("/open"), Open: true}, closed, strict, written, restOf())
	g.Origin = originWithPort
	return g
}

// originWithPort is Settings.Origin of a gate for every host of example.com, on
// any port.
func originWithPort(name, port string) (string, bool) {
	if port != "" && port != "443" {
		name += ":" + port
	}
	return "https://" + name, strings.Contains(name, ".example.com")
}

// TestDestinations has the rule of what a request writes decide, too (P10).
func TestDestinations(t *testing.T) {
	const own = "https://app.example.com"
	for _, test := range []struct {
		name, from  string
		destination []string
		cookie      string
		status      int    // 200: it passes
		forwarded   string // where it isn't what came
	}{
		{"within one rule", "/a", []string{own + "/b"}, cookieGood, 200, ""},
		{"a path alone", "/a", []string{"/b"}, cookieGood, 200, ""},
		{"in another form", "/a", []string{"https://APP.example.com./%62%2fc"}, cookieGood, 200, own + "/b%2Fc"},
		{"a path in another form", "/a", []string{"/%7eb"}, cookieGood, 200, "/~b"},
		{"the port of the scheme", "/a", []string{"https://app.example.com:443/b"}, cookieGood, 200, own + "/b"},
		{"into what is open", "/a", []string{own + "/open/b"}, cookieGood, 200, ""},
		{"out of what is open", "/open/a", []string{own + "/b"}, cookieGood, 200, ""},
		{"into what is closed", "/a", []string{own + "/closed/b"}, cookieGood, 403, ""},
		{"a closed path alone", "/a", []string{"/closed/b"}, cookieGood, 403, ""},
		{"out of what is open into what is closed", "/open/a", []string{own + "/closed/b"}, cookieGood, 403, ""},
		{"into what asks for more", "/a", []string{own + "/strict/b"}, cookieGood, 401, ""},
		{"into what may be read alone", "/a", []string{own + "/readable/b"}, cookieGood, 403, ""},
		{"by nobody, within what is open", "/open/a", []string{own + "/open/b"}, "", 200, ""},
		{"by nobody, out of what is open", "/open/a", []string{own + "/b"}, "", 401, ""},
		{"closed in disguise", "/a", []string{own + "/%63losed/b"}, cookieGood, 403, ""},
		{"closed by a reading", "/a", []string{own + "//closed/b"}, cookieGood, 400, ""},
		{"closed by another reading", "/a", []string{own + "/closed;x/b"}, cookieGood, 400, ""},
		{"upwards", "/a", []string{own + "/open/../closed/b"}, cookieGood, 400, ""},
		{"upwards, escaped", "/a", []string{"/open/%2e%2e/closed/b"}, cookieGood, 400, ""},
		{"another host", "/a", []string{"https://other.example.com/b"}, cookieGood, 400, ""},
		{"another port", "/a", []string{"https://app.example.com:8443/b"}, cookieGood, 400, ""},
		{"another scheme", "/a", []string{"http://app.example.com/b"}, cookieGood, 400, ""},
		{"a host without a scheme", "/a", []string{"//evil.example/closed"}, cookieGood, 400, ""},
		{"a user name", "/a", []string{"https://app.example.com@evil.example/b"}, cookieGood, 400, ""},
		{"a user name here", "/a", []string{"https://bob@app.example.com/b"}, cookieGood, 400, ""},
		{"no path", "/a", []string{"closed/b"}, cookieGood, 400, ""},
		{"nothing", "/a", []string{""}, cookieGood, 400, ""},
		{"opaque", "/a", []string{"https:closed/b"}, cookieGood, 400, ""},
		{"a fragment", "/a", []string{"/b#/closed"}, cookieGood, 400, ""},
		{"an escape that is none", "/a", []string{"/%zz"}, cookieGood, 400, ""},
		{"two", "/a", []string{"/b", "/closed/b"}, cookieGood, 400, ""},
		{"none at all", "/a", []string{}, cookieGood, 400, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, method := range []string{"COPY", "MOVE", "GET"} {
				g := targetGate(t)
				r := navigate("https://app.example.com" + test.from)
				r.RequestURI, r.Method = test.from, method
				delete(r.Header, "Accept")
				r.Header["Destination"] = test.destination
				var cookies []string
				if test.cookie != "" {
					cookies = []string{test.cookie}
				}
				o := g.serve(r, cookies...)
				if test.status != http.StatusOK {
					o.expectStopped(t, test.status)
					continue
				}
				o.expectPassed(t)
				want := test.destination
				if test.forwarded != "" {
					want = []string{test.forwarded}
				}
				if o.seen != nil && (!slices.Equal(o.seen.Header["Destination"], want) || o.seen.URL.Path != test.from || o.seen.Method != method) {
					t.Errorf("%s %s to %q passed", o.seen.Method, o.seen.URL, o.seen.Header["Destination"])
				}
			}
		})
	}
	t.Run("where one rule decides all", func(t *testing.T) {
		r := withHeader(navigate("/a"), "COPY", "Destination: https://other.example.com/b")
		newTestGate(t).serve(r, cookieGood).expectStopped(t, http.StatusBadRequest)
	})
	t.Run("while it is under way", func(t *testing.T) {
		r := &request{rule: &Rule{Allows: func(session.User) bool { return true }}, also: []*Rule{{Allows: func(u session.User) bool { return u.Name == "alice" }}}}
		if allows := r.allows(new(claim)); !allows(session.User{Name: "alice"}) || allows(session.User{Name: "bob"}) {
			t.Error("whoever the rule of the destination bars may go on")
		}
	})
}

// TestSecondTargets has the rules of all paths decide that some app may take for
// that of the request (P10).
func TestSecondTargets(t *testing.T) {
	for _, test := range []struct {
		name, target, header string
		status               int
	}{
		{"IIS", "/a", "X-Original-URL: /closed/b", 403},
		{"IIS's other", "/a", "X-Rewrite-URL: /closed/b", 403},
		{"out of what is open", "/open/a", "X-Original-URL: /closed/a", 403},
		{"folded", "/a", "X_Rewrite_Url: /closed/b", 403},
		{"a proxy's", "/a", "X-Forwarded-Uri: /closed/b?c", 403},
		{"a whole URL", "/a", "X-Original-URL: https://app.example.com/closed/b", 403},
		{"another site's", "/a", "X-Original-URL: https://evil.example/a", 400},
		{"in disguise", "/a", "X-Original-URL: /%63losed/b", 403},
		{"by a reading", "/a", "X-Original-URL: /closed;x/b", 400},
		{"a second one", "/a", "X-Original-URL: /a\nX-Original-URL: /closed/b", 403},
		{"many", "/a", "X-Original-URL: /a\nX-Original-URL: /b\nX-Original-URL: /c\nX-Original-URL: /d\nX-Original-URL: /e\nX-Original-URL: /f\nX-Rewrite-URL: /g\nX-Rewrite-URL: /h\nX-Rewrite-URL: /i", 400},
		{"no path", "/a", "X-Original-URL: closed/b", 400},
		{"what asks for more", "/a", "X-Original-URL: /strict/b", 401},
		{"a prefix that some take off", "/open/closed/b", "X-Script-Name: /open", 403},
		{"a prefix with a slash", "/open/closed/b", "X-Forwarded-Prefix: /open/", 403},
		{"one of two prefixes", "/open/closed/b", "X-Forwarded-Prefix: /x, /open", 403},
		{"a prefix that leaves dots", "/open../closed", "X-Script-Name: /open", 400},
		{"a source", "/a", "X-Amz-Copy-Source: closed/b", 403},
		{"a source with its slash", "/a", "X-Amz-Copy-Source: /closed/b?versionId=1", 403},
		{"an escaped source", "/a", "X-Ms-Copy-Source: %63losed/b", 403},
		{"another store's source", "/a", "X-Tos-Copy-Source: closed/b", 403},
		{"a source that is renamed", "/a", "X-Ms-File-Rename-Source: closed/b", 403},
		{"a source that is moved", "/a", "X-Upyun-Move-Source: /closed/b", 403},
		{"Swift", "/a", "X-Copy-From: /closed/b", 403},

		{"the same", "/a", "X-Original-URL: /a", 200},
		{"another of the same rule", "/a", "X-Original-URL: /b?c=d", 200},
		{"into what is open", "/a", "X-Original-URL: /open/b", 200},
		{"out of what is open into what she may open", "/open/a", "X-Original-URL: /b", 200},
		{"a prefix that isn't there", "/a", "X-Forwarded-Prefix: /open", 200},
		{"a prefix within one rule", "/b/a", "X-Forwarded-Prefix: /b", 200},
		{"a source of the same rule", "/a", "X-Amz-Copy-Source: bucket/b", 200},
		{"a page that a script tells of", "/a", "HX-Current-URL: https://app.example.com/closed/b\nReferer: https://app.example.com/closed/b", 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := withHeader(navigate(test.target), "PUT", test.header)
			delete(r.Header, "Accept")
			o := targetGate(t).serve(r, cookieGood)
			if test.status != http.StatusOK {
				o.expectStopped(t, test.status)
				return
			}
			o.expectPassed(t)
			if o.visitor == nil {
				t.Error("the app isn't told who asks")
			}
		})
	}
	t.Run("nobody", func(t *testing.T) {
		r := withHeader(navigate("/open/a"), "", "X-Original-URL: /a")
		targetGate(t).serve(r).expectStopped(t, http.StatusUnauthorized)
	})
}

// TestHostsInOneForm lets rules and whatever is behind them see one host alone
// (P08).
func TestHostsInOneForm(t *testing.T) {
	admin := func(r *http.Request) (bool, error) { return r.Host == "admin.example.com", nil }
	g := newTestGate(t, Rule{Match: not(admin), Open: true}, restOf())
	g.Origin = originWithPort
	send := func(host string, header ...string) outcome {
		r := navigate("/x")
		r.Host, r.Header["Host"] = host, header
		delete(r.Header, "Accept")
		return g.serve(r)
	}
	for _, host := range []string{"admin.example.com", "admin.example.com.", "ADMIN.example.com", "Admin.Example.Com.", "admin.example.com:443", "ADMIN.EXAMPLE.COM.:443"} {
		send(host).expectStopped(t, http.StatusUnauthorized)
	}
	for sent, want := range map[string]string{
		"app.example.com": "app.example.com", "APP.example.com.:443": "app.example.com", "App.Example.Com:8443": "app.example.com:8443",
	} {
		o := send(sent, sent)
		o.expectPassed(t)
		if o.seen != nil && (o.seen.Host != want || o.seen.Header["Host"] != nil) {
			t.Errorf("%s reached the app as %s, %q", sent, o.seen.Host, o.seen.Header["Host"])
		}
	}
	t.Run("with a port of the client's choice", func(t *testing.T) {
		g := newTestGate(t, Rule{Match: func(r *http.Request) (bool, error) { return r.Host != "admin.example.com:8443", nil }, Open: true}, restOf())
		g.Origin = originWithPort
		g.UsualHost = func(host string) string {
			name, _, _ := strings.Cut(host, ":")
			return name + ":8443"
		}
		for host, status := range map[string]int{
			"admin.example.com": 400, "admin.example.com:443": 400, "admin.example.com:8444": 400, "admin.example.com:8443": 401,
			"app.example.com": 200, "app.example.com:8443": 200, "app.example.com:8444": 200,
		} {
			r := navigate("/x")
			r.Host = host
			delete(r.Header, "Accept")
			if o := g.serve(r); o.Code != status || o.passed != (status == http.StatusOK) || o.passed && o.seen.Host != strings.TrimSuffix(host, ":443") {
				t.Errorf("%s: answered %d", host, o.Code)
			}
		}
	})
	for _, other := range []string{"admin.example.com", "app.example.com:8443", "app.example.com@evil", ""} {
		send("app.example.com", other).expectStopped(t, http.StatusBadRequest)
	}
}

// FuzzSecondTargets reads what a client writes into Destination and its kin:
// what is taken is of the site, in the form of a request's own target, and
// reads the same again.
func FuzzSecondTargets(f *testing.F) {
	for _, seed := range []string{
		"/a", "https://app.example.com/a?b", "https://APP.example.com.:443/%61", "//evil.example/a", "/a/../b", "/a;b", "a/b", "https:a", "/%zz", "/a#b", "http://[::1]/",
	} {
		f.Add(seed)
	}
	g := &Gate{Settings: Settings{Site: Site{Origin: originWithPort}}}
	f.Fuzz(func(t *testing.T, written string) {
		r := &request{Request: &http.Request{Method: "COPY", Host: "app.example.com", Header: http.Header{"Destination": {written}}}, origin: testOrigin}
		if g.placeDestination(r) != nil {
			return
		}
		placed := r.Header["Destination"][0]
		path, _ := strings.CutPrefix(placed, testOrigin)
		target, ok := received("COPY", path)
		if !ok || canonical.Target(target) != nil || target.RequestURI != path {
			t.Fatalf("%q was taken as %q", written, placed)
		}
		if err := g.placeDestination(r); err != nil || r.Header["Destination"][0] != placed {
			t.Fatalf("%q reads as %q the second time: %v", placed, r.Header["Destination"], err)
		}
	})
}
