package gate

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestForgedRequests refuses what SameSite=Lax would have kept the session out
// of, where the session is SameSite=None (C06, W01).
func TestForgedRequests(t *testing.T) {
	const (
		crossSite = "Sec-Fetch-Site: cross-site\nOrigin: https://evil.example\n"
		form      = "Content-Type: application/x-www-form-urlencoded"
		asJSON    = "Content-Type: application/json"
	)
	for _, test := range []struct {
		name           string
		method, header string
		forged         bool
		preflighted    bool // it isn't where preflights pass
	}{
		{"a form", "POST", crossSite + form, true, false},
		{"a form in capitals", "POST", crossSite + "Content-Type: Application/X-WWW-Form-URLEncoded", true, false},
		{"a form with a file", "POST", crossSite + "Content-Type: multipart/form-data; boundary=x", true, false},
		{"text", "POST", crossSite + "Content-Type: text/plain; x=application/json", true, false},
		{"a post of nothing", "POST", crossSite, true, false},
		{"a post of two types", "POST", crossSite + asJSON + "\n" + form, true, false},
		{"a post of a type that is none", "POST", crossSite + "Content-Type: /", true, false},
		{"JSON", "POST", crossSite + asJSON, true, true},
		{"PUT", "PUT", crossSite + form, true, true},
		{"DELETE", "DELETE", crossSite, true, true},
		{"a WebSocket over HTTP/2", "CONNECT", crossSite, true, false},
		{"a WebSocket", "GET", crossSite + "Connection: Upgrade\nUpgrade: websocket", true, false},
		{"a WebSocket over plain HTTP", "GET", "Origin: https://evil.example\nConnection: Upgrade\nUpgrade: websocket", true, false},
		{"a form, an old browser", "POST", "Origin: https://evil.example\n" + form, true, false},
		{"a form, an old browser, a sibling", "POST", "Origin: https://evil.app.example.com\n" + form, true, false},
		{"a form, an old browser, look-alikes", "POST", "Origin: https://app.example.com.evil.example\n" + form, true, false},
		{"a form from nowhere", "POST", "Origin: null\n" + form, true, false},
		{"a value that nobody knows", "POST", "Sec-Fetch-Site: elsewhere\n" + form, true, false},

		{"our own form", "POST", "Sec-Fetch-Site: same-origin\nOrigin: https://app.example.com\n" + form, false, false},
		{"our own form, an old browser", "POST", "Origin: https://app.example.com\n" + form, false, false},
		{"our own form without a referrer", "POST", "Sec-Fetch-Site: same-origin\nOrigin: null\n" + form, false, false},
		{"a sibling's, which Lax lets through too", "POST", "Sec-Fetch-Site: same-site\nOrigin: https://b.example.com\n" + form, false, false},
		{"a program", "POST", form, false, false},
		{"a person", "POST", "Sec-Fetch-Site: none\n" + form, false, false},
		{"our own WebSocket", "GET", "Origin: https://app.example.com\nConnection: Upgrade\nUpgrade: websocket", false, false},
		{"a link", "GET", "Sec-Fetch-Site: cross-site", false, false},
		{"an image", "GET", crossSite, false, false},
		{"a preflight", "OPTIONS", crossSite + "Access-Control-Request-Method: PUT", false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &request{Request: withHeader(navigate("/x"), test.method, test.header), origin: testOrigin, host: "app.example.com"}
			for _, preflights := range []bool{false, true} {
				g := newTestGate(t)
				g.SameSite, g.Preflights = http.SameSiteNoneMode, preflights
				want := test.forged && !(test.preflighted && preflights)
				if got := g.isForged(r, asCookie); got != want {
					t.Errorf("forged: %t where preflights pass: %t", got, preflights)
				}
			}
			if newTestGate(t).isForged(r, asCookie) {
				t.Error("refused although the cookie is SameSite=Lax")
			}
		})
	}
	t.Run("the refusal", func(t *testing.T) {
		g := newTestGate(t)
		o := outcome{ResponseRecorder: recorder()}
		r := withHeader(navigate("/x"), "POST", crossSite+form)
		g.refuseForged(o, &request{Request: r, origin: testOrigin, host: "app.example.com"})
		o.expectStopped(t, http.StatusForbidden)
		if g.audited.FilterMessage("request.cross_origin_refused").Len() != 1 {
			t.Errorf("audited %v", g.audited.All())
		}
	})
}

func TestPreflights(t *testing.T) {
	const preflight = "Origin: https://other.example\nAccess-Control-Request-Method: PUT"
	for _, test := range []struct {
		name           string
		method, header string
		length         int64
		want           bool
	}{
		{"a preflight", "OPTIONS", preflight, 0, true},
		{"one that names headers", "OPTIONS", preflight + "\nAccess-Control-Request-Headers: x-a", 0, true},
		{"one that sends a cookie", "OPTIONS", preflight + "\nCookie: a=b", 0, true},
		{"no origin", "OPTIONS", "Access-Control-Request-Method: PUT", 0, false},
		{"no method", "OPTIONS", "Origin: https://other.example", 0, false},
		{"another method", "GET", preflight, 0, false},
		{"a body", "OPTIONS", preflight, 3, false},
		{"a body of unknown length", "OPTIONS", preflight, -1, false},
		{"an upgrade", "OPTIONS", preflight + "\nConnection: Upgrade\nUpgrade: websocket", 0, false},
		{"a method in a header", "OPTIONS", preflight + "\nX-HTTP-Method-Override: DELETE", 0, false},
		{"a method in a header that CGI knows", "OPTIONS", preflight + "\nX_HTTP_Method_Override: DELETE", 0, false},
		{"another header for that", "OPTIONS", preflight + "\nX-Method-Override: DELETE", 0, false},
		{"a third one", "OPTIONS", preflight + "\nX-HTTP-Method: DELETE", 0, false},
		{"a header that names no method", "OPTIONS", preflight + "\nX-Auth-Method: totp", 0, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := withHeader(navigate("/x"), test.method, test.header)
			r.ContentLength = test.length
			if got := isPreflight(r); got != test.want {
				t.Errorf("taken for a preflight: %t", got)
			}
		})
	}
}

// TestPreflightsOverHTTP3 takes a request without a length for one without a
// body, since the HTTP/3 server says of no other that it has none.
func TestPreflightsOverHTTP3(t *testing.T) {
	g := newTestGate(t)
	g.Preflights = true
	r := withHeader(navigate("/x"), "OPTIONS", "Origin: https://other.example\nAccess-Control-Request-Method: PUT")
	r.ProtoMajor, r.ContentLength, r.Body = 3, -1, io.NopCloser(strings.NewReader("not announced"))
	o := g.serve(r)
	o.expectPassed(t)
	if body, err := io.ReadAll(o.seen.Body); err != nil || len(body) > 0 || o.seen.ContentLength != 0 {
		t.Errorf("the app got %q, of length %d: %v", body, o.seen.ContentLength, err)
	}
}

func TestAsPreflight(t *testing.T) {
	r := withHeader(navigate("/x"), "", "Cookie: a=b\nCookie: c=d\nAuthorization: Basic x\nProxy-Authorization: Basic y\nOrigin: https://other.example")
	asPreflight(r)
	if len(r.Header) != 1 || strings.Join(r.Header["Origin"], "") != "https://other.example" {
		t.Errorf("kept %v", r.Header)
	}
}
