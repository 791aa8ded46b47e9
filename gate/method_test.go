package gate

import (
	"net/http"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/session"
)

// methodRule is a matcher for methods, as Caddy's "method" is.
func methodRule(methods ...string) func(*http.Request) (bool, error) {
	return func(r *http.Request) (bool, error) {
		for _, method := range methods {
			if r.Method == method {
				return true, nil
			}
		}
		return false, nil
	}
}

func not(match func(*http.Request) (bool, error)) func(*http.Request) (bool, error) {
	return func(r *http.Request) (bool, error) {
		matches, err := match(r)
		return !matches, err
	}
}

// TestMethodsInOneForm refuses every method that some app would take for
// another one (P05).
func TestMethodsInOneForm(t *testing.T) {
	g := newTestGate(t, Rule{Match: not(methodRule("POST", "PUT", "PATCH", "DELETE")), Open: true}, restOf())
	for _, method := range []string{
		"post", "Post", "pOST", "POSt", "delete", "Delete", "DELETe", "patch", "get", "Get", "head", "POST ", " POST", "POST\t", "PO\u017fT", "",
		"POST.", "POST~", "POST|", "P\u00d6ST", "POST\x00",
	} {
		r := navigate("/x")
		r.Method = method
		g.serve(r, cookieGood).expectStopped(t, http.StatusBadRequest)
	}
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "PROPFIND", "M-SEARCH", "VERSION-CONTROL", "BASELINE-CONTROL", "X_1"} {
		r := navigate("/x")
		r.Method = method
		o := g.serve(r)
		o.expectPassed(t)
		if o.seen.Method != method {
			t.Errorf("forwarded as %s", o.seen.Method)
		}
	}
	for _, method := range []string{"POST", "DELETE"} {
		r := navigate("/x")
		r.Method = method
		if g.serve(r).passed {
			t.Errorf("%s by nobody passed", method)
		}
	}
}

// TestOverriddenMethods refuses a request whose method an app may take for
// another, where another rule would then decide (P05).
func TestOverriddenMethods(t *testing.T) {
	admin := restOf()
	admin.Match = func(r *http.Request) (bool, error) { return r.Method == "DELETE" && isBelow(r.URL.Path, "/admin"), nil }
	g := newTestGate(t, admin, Rule{Match: methodRule("GET", "HEAD", "POST"), Open: true}, restOf())
	for _, test := range []struct {
		name, method, target, header string
		refused                      bool
	}{
		{"the usual header", "POST", "/x", "X-HTTP-Method-Override: PUT", true},
		{"in small letters", "POST", "/x", "X-HTTP-Method-Override: put", true},
		{"on a GET", "GET", "/x", "X-HTTP-Method-Override: DELETE", true},
		{"with spaces", "POST", "/x", "X-HTTP-Method-Override:   PUT  ", true},
		{"one of two", "POST", "/x", "X-HTTP-Method-Override: POST\nX-HTTP-Method-Override: PUT", true},
		{"one of a list", "POST", "/x", "X-HTTP-Method-Override: POST, PUT", true},
		{"folded", "POST", "/x", "X_HTTP_METHOD_OVERRIDE: PUT", true},
		{"Microsoft's", "POST", "/x", "X-HTTP-Method: MERGE", true},
		{"IBM's", "POST", "/x", "X-Method-Override: PUT", true},
		{"one that nobody has heard of", "POST", "/x", "X-My-Own-Method: PUT", true},
		{"a verb", "POST", "/x", "X-HTTP-Verb-Override: PUT", true},
		{"too many", "POST", "/x", "X-HTTP-Method-Override: A, B, C, D, E, F", true},
		{"Rails, Symfony, WordPress", "POST", "/x?_method=PUT", "", true},
		{"in small letters in the query", "GET", "/x?a=b&_method=delete", "", true},
		{"escaped", "GET", "/x?%5Fm%65thod=%50UT", "", true},
		{"behind a semicolon", "GET", "/x?a=b;_method=PUT", "", true},
		{"with a space before it", "GET", "/x?+_method=PUT+", "", true},
		{"an array of PHP", "GET", "/x?_method[]=PUT", "", true},
		{"a name that PHP mends", "GET", "/x?.method=PUT", "", true},
		{"ASP.NET", "GET", "/x?X-HTTP-Method-Override=PUT", "", true},
		{"Catalyst", "POST", "/x?x-tunneled-method=PUT", "", true},
		{"a header's name in the query", "POST", "/x?X-HTTP-Verb-Override=PUT", "", true},
		{"two underscores", "POST", "/x?__method=PUT", "", true},
		{"Restlet", "POST", "/x?method=PUT", "", true},
		{"a reading of the path with another method", "POST", "/x//admin/y", "X-HTTP-Method-Override: DELETE", true},

		{"its own method", "POST", "/x?_method=POST", "X-HTTP-Method-Override: post", false},
		{"one that is decided alike", "POST", "/x?_method=HEAD", "X-HTTP-Method-Override: GET", false},
		{"a method of another kind", "POST", "/x?method=PUTS", "X-Payment-Method: EXPRESS\nX-Auth-Method: totp", false},
		{"a word on a GET", "GET", "/x?method=PUT", "", false},
		{"what a preflight asks for", "GET", "/x", "Access-Control-Request-Method: PUT", false},
		{"nothing", "POST", "/x?_method=", "X-HTTP-Method-Override: ", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := g.serve(withHeader(navigate(test.target), test.method, test.header))
			if test.refused {
				o.expectStopped(t, http.StatusBadRequest)
				return
			}
			o.expectPassed(t)
			if o.seen.Method != test.method {
				t.Errorf("forwarded as %s", o.seen.Method)
			}
		})
	}
	t.Run("where one rule decides all", func(t *testing.T) {
		o := newTestGate(t).serve(withHeader(navigate("/x?_method=PUT"), "POST", "X-HTTP-Method-Override: DELETE"), cookieGood)
		o.expectPassed(t)
		if len(o.seen.Header["X-Http-Method-Override"]) != 1 {
			t.Errorf("the app got %v", o.seen.Header)
		}
	})
}

// TestImpliedMethods has the rules for GET and DELETE decide, too, where a
// request amounts to these (P04, P10).
func TestImpliedMethods(t *testing.T) {
	nobody := func(method string) Rule {
		rule := restOf()
		rule.Allows = func(session.User) bool { return false }
		rule.Match = func(r *http.Request) (bool, error) {
			return r.Method == method && isBelow(r.URL.Path, "/no-"+strings.ToLower(method)), nil
		}
		return rule
	}
	g := newTestGate(t, nobody("GET"), nobody("DELETE"), Rule{Match: below("/open"), Open: true}, restOf())
	for _, test := range []struct {
		method, target, destination string
		apart                       bool
		status                      int
	}{
		{"HEAD", "/no-get", "", false, 403},
		{"HEAD", "/no-get", "", true, 200},
		{"HEAD", "/no-delete", "", false, 200},
		{"COPY", "/no-get", "/x", false, 403},
		{"COPY", "/no-get", "/open/x", false, 403},
		{"COPY", "/no-delete", "/x", false, 200},
		{"MOVE", "/no-get", "/x", false, 403},
		{"MOVE", "/no-delete", "/x", false, 403},
		{"PUT", "/no-get", "", false, 200},
	} {
		g.HeadApart = test.apart
		r := withHeader(navigate(test.target), test.method, "")
		if test.destination != "" {
			r.Header.Set("Destination", test.destination)
		}
		o := g.serve(r, cookieGood)
		if o.Code != test.status || o.passed != (test.status == http.StatusOK) {
			t.Errorf("%s %s: answered %d", test.method, test.target, o.Code)
		}
		if o.passed && o.seen.Method != test.method {
			t.Errorf("%s was forwarded as %s", test.method, o.seen.Method)
		}
	}
	g.serve(withHeader(navigate("/open/x"), "HEAD", "")).expectPassed(t)
}

// connectTo is an extended CONNECT as the HTTP/2 and HTTP/3 servers pass it on.
func connectTo(target string, version int) *http.Request {
	r := navigate(target)
	r.Method, r.ProtoMajor, r.ProtoMinor = http.MethodConnect, version, 0
	if version == 2 {
		r.Proto, r.Header[":protocol"] = "HTTP/2.0", []string{"websocket"}
	} else {
		r.Proto = "websocket"
	}
	return r
}

// TestExtendedConnectAsTheAppSeesIt has rules decide on the GET with an Upgrade
// that the proxy makes of it (P08).
func TestExtendedConnectAsTheAppSeesIt(t *testing.T) {
	upgrades := func(r *http.Request) (bool, error) {
		return r.Method == "GET" && strings.EqualFold(r.Header.Get("Upgrade"), "websocket") && r.Header.Get("Connection") == "Upgrade", nil
	}
	for _, version := range []int{2, 3} {
		for name, rules := range map[string][]Rule{
			"what is no upgrade is open": {{Match: not(upgrades), Open: true}, restOf()},
			"what is no GET is open":     {{Match: not(methodRule("GET")), Open: true}, restOf()},
			"CONNECT is open":            {{Match: methodRule("CONNECT"), Open: true}, restOf()},
		} {
			g := newTestGate(t, rules...)
			if o := g.serve(connectTo("/socket", version)); o.passed {
				t.Errorf("HTTP/%d, %s: nobody passed", version, name)
			}
			o := g.serve(connectTo("/socket;x", version), cookieGood)
			o.expectPassed(t)
			if o.seen == nil {
				continue
			}
			h := o.seen.Header
			if o.seen.Method != http.MethodConnect || h["Upgrade"] != nil || h["Connection"] != nil || h["Sec-Websocket-Key"] != nil || (h[":protocol"] != nil) != (version == 2) {
				t.Errorf("HTTP/%d, %s: the proxy got %s %v", version, name, o.seen.Method, h)
			}
		}
	}
	t.Run("whether it counts as activity", func(t *testing.T) {
		g := newTestGate(t)
		g.Ignores = upgrades
		r := connectTo("/socket", 3)
		if !g.ignores(r) || r.Method != http.MethodConnect {
			t.Errorf("it counts, and goes on as %s", r.Method)
		}
	})
}
