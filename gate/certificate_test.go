package gate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"maps"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/devices"
	"github.com/portcullis-mfa/portcullis/session"
)

// fakeDevices reads certificates by their common name: "alice" and "bob" are
// devices of theirs, and what is refused says why.
type fakeDevices struct{}

func (fakeDevices) Read(_ context.Context, presented []*x509.Certificate, _ time.Duration) (devices.Presented, error) {
	switch name := presented[0].Subject.CommonName; name {
	case "alice", "bob":
		id := map[string]string{"alice": "1", "bob": "2"}[name]
		return devices.Presented{Verified: testNow, LiveDevice: session.LiveDevice{
			ID: "device of " + name, Name: name + "'s laptop", Expires: testNow.Add(30 * time.Minute),
			User: &session.Profile{User: session.User{ID: id, Name: name}},
		}}, nil
	case "revoked":
		return devices.Presented{}, session.RefusedDevice{DeviceRefusal: session.DeviceRevoked, Name: "lost", UserID: "2", User: "bob"}
	case "unclear":
		return devices.Presented{}, errFault
	default:
		return devices.Presented{}, devices.Expired
	}
}

// certified returns a rule of a mode, with what caddymodule makes of it where
// nothing else is written.
func certified(mode CertificateMode, require assurance.Requirement) Rule {
	switch {
	case mode == CertificateOff:
	case mode == CertificateAndPassword, require != assurance.Requirement{Level: assurance.Multi}:
		require.Certificate = assurance.CertificateAdded
	default:
		require.Certificate = assurance.CertificateAlone
	}
	return Rule{Allows: func(session.User) bool { return true }, Certificate: mode, Require: require}
}

func newCertifiedGate(t *testing.T, rules ...Rule) *testGate {
	t.Helper()
	g := newTestGate(t, rules...)
	settings := g.Settings
	settings.Devices = fakeDevices{}
	g.Gate = New(settings)
	for name, factors := range map[string][]assurance.Factor{
		"good": {assurance.Password, assurance.TOTP}, "single": {assurance.Password}, "portal": {assurance.Certificate},
		"portal+password": {assurance.Certificate, assurance.Password},
	} {
		s := sessionOf(name, time.Hour, factors...)
		s.User = "1" // alice
		g.sessions[name] = s
	}
	return g
}

// showing has a request come over TLS with a certificate; "" is none.
func showing(r *http.Request, certificate string) *http.Request {
	r.TLS = &tls.ConnectionState{HandshakeComplete: true, ServerName: "app.example.com"}
	if certificate != "" {
		leaf := new(x509.Certificate)
		leaf.Subject.CommonName = certificate
		r.TLS.PeerCertificates = []*x509.Certificate{leaf}
	}
	return r
}

func TestCertificates(t *testing.T) {
	multi := assurance.Requirement{Level: assurance.Multi}
	fresh := assurance.Requirement{Level: assurance.Multi, MaxAge: time.Minute}
	resistant := assurance.Requirement{Level: assurance.PhishingResistant}
	single := assurance.Requirement{Level: assurance.Single, Certificate: assurance.CertificateAdded}
	for _, test := range []struct {
		name        string
		mode        CertificateMode
		require     assurance.Requirement
		certificate string
		session     string // "": none
		status      int
		user        string // who passes
		level       assurance.Level
		ask         assurance.Requirement // of the portal, with 302; but for what certificates do, the rule's
	}{
		{"accept, a device", CertificateAccept, multi, "alice", "", 200, "alice", assurance.Device, multi},
		{"accept, nobody", CertificateAccept, multi, "", "", 302, "", 0, multi},
		{"accept, a session", CertificateAccept, multi, "", "good", 200, "alice", assurance.Multi, multi},
		{"accept, both", CertificateAccept, multi, "alice", "good", 200, "alice", assurance.Multi, multi},
		{"accept, both add up", CertificateAccept, multi, "alice", "single", 200, "alice", assurance.Multi, multi},
		{"accept, two people", CertificateAccept, multi, "bob", "good", 200, "alice", assurance.Multi, multi},
		{"accept, two people, the session not enough", CertificateAccept, multi, "bob", "single", 302, "", 0, multi},
		{"accept, a session of the portal by certificate", CertificateAccept, multi, "", "portal", 200, "alice", assurance.Device, multi},
		{"accept, written, a device", CertificateAccept, fresh, "alice", "", 302, "", 0, fresh},
		{"accept, written, both, not fresh", CertificateAccept, fresh, "alice", "good", 302, "", 0, fresh},
		{"accept, phishing-resistant, both", CertificateAccept, resistant, "alice", "good", 302, "", 0, resistant},
		{"accept, bad", CertificateAccept, multi, "expired", "", 401, "", 0, multi},
		{"accept, revoked", CertificateAccept, multi, "revoked", "", 401, "", 0, multi},
		{"accept, bad beside a session", CertificateAccept, multi, "revoked", "good", 200, "alice", assurance.Multi, multi},
		{"accept, unclear", CertificateAccept, multi, "unclear", "", 503, "", 0, multi},
		{"accept, unclear beside a session", CertificateAccept, multi, "unclear", "good", 200, "alice", assurance.Multi, multi},
		{"require, a device", CertificateRequire, multi, "alice", "", 200, "alice", assurance.Device, multi},
		{"require, nothing", CertificateRequire, multi, "", "", 403, "", 0, multi},
		{"require, a session", CertificateRequire, multi, "", "good", 403, "", 0, multi},
		{"require, two people", CertificateRequire, multi, "bob", "good", 200, "alice", assurance.Multi, multi},
		{"require, two people, the session not enough", CertificateRequire, multi, "bob", "single", 302, "", 0, multi},
		{"require, bad", CertificateRequire, multi, "expired", "", 403, "", 0, multi},
		{"require, bad beside a session", CertificateRequire, multi, "expired", "good", 403, "", 0, multi},
		{"require, unclear beside a session", CertificateRequire, multi, "unclear", "good", 503, "", 0, multi},
		{"and password, a device", CertificateAndPassword, multi, "alice", "", 302, "", 0, single},
		{"and password, both", CertificateAndPassword, multi, "alice", "single", 200, "alice", assurance.Multi, multi},
		{"and password, both, not fresh", CertificateAndPassword, fresh, "alice", "single", 302, "", 0,
			assurance.Requirement{Level: assurance.Single, MaxAge: time.Minute}},
		{"and password, the password", CertificateAndPassword, multi, "", "single", 302, "", 0, multi},
		{"and password, another's password", CertificateAndPassword, multi, "bob", "single", 302, "", 0, multi},
		{"and password, nothing", CertificateAndPassword, multi, "", "", 302, "", 0, multi},
		{"and password, phishing-resistant", CertificateAndPassword, resistant, "alice", "single", 302, "", 0, resistant},
		{"off, a device", CertificateOff, multi, "alice", "", 302, "", 0, multi},
		{"off, bad", CertificateOff, multi, "expired", "", 302, "", 0, multi},
		{"off, both", CertificateOff, multi, "alice", "single", 302, "", 0, multi},
		{"off, a session of the portal by certificate", CertificateOff, multi, "", "portal", 302, "", 0, multi},
		{"off, such a session and the password", CertificateOff, assurance.Requirement{Level: assurance.Single}, "", "portal+password", 200, "alice", assurance.Single, multi},
	} {
		g := newCertifiedGate(t, certified(test.mode, test.require))
		var cookies []string
		if test.session != "" {
			cookies = append(cookies, SessionCookie+"="+test.session)
		}
		o := g.serve(showing(navigate("/x"), test.certificate), cookies...)
		if o.Code != test.status || o.passed != (test.status == 200) {
			t.Errorf("%s: %d, not %d", test.name, o.Code, test.status)
			continue
		}
		switch {
		case o.passed && (o.visitor.User.Name != test.user || o.visitor.Level() != test.level):
			t.Errorf("%s: %s at %s", test.name, o.visitor.User.Name, o.visitor.Level())
		case test.status == 302:
			got := g.asked[0].Ask
			if got.Level != test.ask.Level || got.MaxAge != test.ask.MaxAge {
				t.Errorf("%s: the portal is asked for %+v", test.name, got)
			}
		}
		if g.opened != 0 {
			t.Errorf("%s: a connection is left open", test.name)
		}
	}
}

// TestC02ConnectionsEndWithTheirDevice wants each connection watched over with
// the device that it needs, the session aside, and no other.
func TestC02ConnectionsEndWithTheirDevice(t *testing.T) {
	multi := assurance.Requirement{Level: assurance.Multi}
	for _, test := range []struct {
		mode                 CertificateMode
		certificate, session string
		want                 string // device
	}{
		{CertificateAccept, "alice", "", "alice's laptop"},
		{CertificateAccept, "alice", "good", "alice's laptop"},
		{CertificateAccept, "bob", "good", ""},
		{CertificateAccept, "", "good", ""},
		{CertificateRequire, "alice", "good", "alice's laptop"},
		{CertificateRequire, "bob", "good", "bob's laptop"},
		{CertificateAndPassword, "alice", "single", "alice's laptop"},
		{CertificateAndPassword, "bob", "good", ""},
		{CertificateOff, "alice", "good", ""},
	} {
		g := newCertifiedGate(t, certified(test.mode, multi))
		var cookies []string
		if test.session != "" {
			cookies = append(cookies, SessionCookie+"="+test.session)
		}
		if o := g.serve(showing(navigate("/x"), test.certificate), cookies...); !o.passed {
			t.Errorf("%+v: %d", test, o.Code)
			continue
		}
		device := ""
		if watched := deviceOf(g.watched.Terms); watched != nil {
			device = watched.Name
		}
		if device != test.want || signOnOf(g.watched) != test.session {
			t.Errorf("%+v: watched with the sign-on %q and the device %q", test, signOnOf(g.watched), device)
		}
	}
}

// TestVisitsEndWithTheCertificateThatCounts asks until when somebody is in.
func TestVisitsEndWithTheCertificateThatCounts(t *testing.T) {
	for _, test := range []struct {
		certificate, session string
		want                 time.Duration
	}{
		{"alice", "", 30 * time.Minute},
		{"", "good", time.Hour},
		{"alice", "good", 30 * time.Minute},
		{"bob", "good", time.Hour},
	} {
		g := newCertifiedGate(t, certified(CertificateAccept, assurance.Requirement{Level: assurance.Multi}))
		var cookies []string
		if test.session != "" {
			cookies = append(cookies, SessionCookie+"="+test.session)
		}
		o := g.serve(showing(navigate("/.mfa/whoami"), test.certificate), cookies...)
		if want := `"expires":"` + testNow.Add(test.want).Format(time.RFC3339) + `"`; !strings.Contains(o.Body.String(), want) {
			t.Errorf("%+v: %s lacks %s", test, o.Body, want)
		}
	}
}

// TestSignedOutPageSaysWhatTheDeviceStillOpens signs out where a device goes
// straight in, and where it doesn't.
func TestSignedOutPageSaysWhatTheDeviceStillOpens(t *testing.T) {
	multi, fresh := assurance.Requirement{Level: assurance.Multi}, assurance.Requirement{Level: assurance.Multi, MaxAge: time.Hour}
	nobody := certified(CertificateAccept, multi)
	nobody.Allows = func(session.User) bool { return false }
	off := certified(CertificateOff, multi)
	for _, test := range []struct {
		name, certificate string
		rules             []Rule
		want              bool
	}{
		{"accept", "alice", []Rule{certified(CertificateAccept, multi)}, true},
		{"require", "alice", []Rule{certified(CertificateRequire, multi)}, true},
		{"at one of the rules", "alice", []Rule{certified(CertificateAccept, multi), off}, true},
		{"no certificate", "", []Rule{certified(CertificateAccept, multi)}, false},
		{"a bad one", "expired", []Rule{certified(CertificateAccept, multi)}, false},
		{"one that can't be told", "unclear", []Rule{certified(CertificateAccept, multi)}, false},
		{"of somebody who may not", "alice", []Rule{nobody}, false},
		{"and password", "alice", []Rule{certified(CertificateAndPassword, multi)}, false},
		{"an age is asked", "alice", []Rule{certified(CertificateAccept, fresh)}, false},
		{"off", "alice", []Rule{off}, false},
	} {
		g := newCertifiedGate(t, test.rules...)
		body := g.serve(showing(navigate("/.mfa/sign-out"), test.certificate)).Body.String()
		if got := strings.Contains(body, "can still open the app"); got != test.want || strings.Contains(body, "out of all apps here") == test.want {
			t.Errorf("%s: %s", test.name, body)
		}
	}
}

// TestC06CertificatesAlone has pages of other sites send requests in a browser
// that has only a certificate.
func TestC06CertificatesAlone(t *testing.T) {
	for _, test := range []struct {
		name, method string
		header       http.Header
		session      string
		want         bool // it passes
	}{
		{"a program", "POST", http.Header{}, "", true},
		{"the app's own page", "POST", http.Header{"Sec-Fetch-Site": {"same-origin"}, "Origin": {testOrigin}}, "", true},
		{"an old browser at the app's own page", "POST", http.Header{"Origin": {testOrigin}}, "", true},
		{"a sibling's page", "POST", http.Header{"Sec-Fetch-Site": {"same-site"}, "Origin": {"https://b.example.com"}}, "", true},
		{"another site's page", "POST", http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.test"}}, "", false},
		{"another site's page, in an old browser", "DELETE", http.Header{"Origin": {"https://evil.test"}}, "", false},
		{"a page of no origin", "POST", http.Header{"Origin": {"null"}}, "", false},
		{"another site's link", "GET", http.Header{
			"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}}, "", true},
		{"another site's picture", "GET", http.Header{
			"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"no-cors"}, "Sec-Fetch-Dest": {"image"}}, "", false},
		{"another site's frame", "GET", http.Header{
			"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"iframe"}}, "", false},
		{"another site's script", "GET", http.Header{"Origin": {"https://evil.test"}, "Accept": {"*/*"}}, "", false},
		{"a WebSocket", "GET", http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Origin": {testOrigin}}, "", true},
		{"a program's WebSocket", "GET", http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}}, "", true},
		{"a sibling's WebSocket", "GET", http.Header{
			"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Fetch-Site": {"same-site"}, "Origin": {"https://b.example.com"}}, "", false},
		{"another site's WebSocket", "GET", http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Origin": {"https://evil.test"}}, "", false},
		{"another site's form", "POST", http.Header{
			"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}, "Origin": {"https://evil.test"}}, "", false},
		{"another site's navigation that tells its origin", "GET", http.Header{
			"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}, "Origin": {"https://evil.test"}}, "", false},
		{"a WebSocket over HTTP/3", "CONNECT", http.Header{"Sec-Fetch-Site": {"same-origin"}, "Origin": {testOrigin}}, "", true},
		{"a sibling's WebSocket over HTTP/3", "CONNECT", http.Header{"Sec-Fetch-Site": {"same-site"}, "Origin": {"https://b.example.com"}}, "", false},
		// With a session there is a cookie, which SameSite has kept from others.
		{"beside a session", "POST", http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.test"}}, "good", true},
	} {
		g := newCertifiedGate(t, certified(CertificateAccept, assurance.Requirement{Level: assurance.Multi}))
		r := showing(navigate("/x"), "alice")
		if r.Method, r.Header = test.method, test.header; r.Method == http.MethodConnect {
			r.Proto, r.ProtoMajor = "websocket", 3
		}
		var cookies []string
		if test.session != "" {
			cookies = append(cookies, SessionCookie+"="+test.session)
		}
		if o := g.serve(r, cookies...); o.passed != test.want || !o.passed && o.Code != 403 {
			t.Errorf("%s: %d, passed %t", test.name, o.Code, o.passed)
		}
	}
}

// TestC06CertificatesAloneInsideOtherSites does so where the session may be used
// inside other sites' pages: what they show passes, what they change doesn't.
func TestC06CertificatesAloneInsideOtherSites(t *testing.T) {
	for _, test := range []struct {
		name, method string
		header       http.Header
		want         bool // it passes
	}{
		{"a frame", "GET", http.Header{"Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"iframe"}}, true},
		{"a picture", "GET", http.Header{"Sec-Fetch-Mode": {"no-cors"}, "Sec-Fetch-Dest": {"image"}}, true},
		{"a form", "POST", http.Header{"Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"iframe"}, "Origin": {"https://evil.test"}}, false},
		{"a WebSocket", "GET", http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Origin": {"https://evil.test"}}, false},
	} {
		g := newCertifiedGate(t, certified(CertificateAccept, assurance.Requirement{Level: assurance.Multi}))
		g.SameSite = http.SameSiteNoneMode
		r := showing(navigate("/x"), "alice")
		r.Method, r.Header = test.method, test.header
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		if o := g.serve(r); o.passed != test.want || !o.passed && o.Code != 403 {
			t.Errorf("%s: %d, passed %t", test.name, o.Code, o.passed)
		}
	}
}

// TestT01CertificatesCountForOneHost sends requests over connections that were
// made to another name.
func TestT01CertificatesCountForOneHost(t *testing.T) {
	for _, test := range []struct {
		mode       CertificateMode
		serverName string
		session    string
		status     int
	}{
		{CertificateAccept, "app.example.com", "", 200},
		{CertificateAccept, "APP.example.COM", "", 200},
		{CertificateAccept, "other.example.com", "", 421},
		{CertificateAccept, "", "", 421},
		{CertificateAccept, "other.example.com", "good", 200},
		{CertificateRequire, "other.example.com", "good", 421},
		{CertificateAndPassword, "other.example.com", "single", 302},
		{CertificateOff, "other.example.com", "", 302},
	} {
		g := newCertifiedGate(t, certified(test.mode, assurance.Requirement{Level: assurance.Multi}))
		r := showing(navigate("/x"), "alice")
		r.TLS.ServerName = test.serverName
		var cookies []string
		if test.session != "" {
			cookies = append(cookies, SessionCookie+"="+test.session)
		}
		if o := g.serve(r, cookies...); o.Code != test.status {
			t.Errorf("mode %d over a connection to %q, session %q: %d, not %d", test.mode, test.serverName, test.session, o.Code, test.status)
		}
	}
}

// TestRefusedCertificatesSayWhy wants words for each reason, and a way on.
func TestRefusedCertificatesSayWhy(t *testing.T) {
	pages, err := testPages()
	if err != nil {
		t.Fatal(err)
	}
	reasons := []error{missing, misdirected, session.DeviceUnknown, session.DeviceRevoked, session.DeviceExpired, session.DeviceOfNobody}
	for _, r := range []devices.Refusal{
		devices.Expired, devices.NotYetValid, devices.UnknownIssuer, devices.WrongUsage, devices.IsAuthority, devices.Weak,
		devices.UnknownExtension, devices.Unverifiable, devices.Malformed,
	} {
		reasons = append(reasons, r)
	}
	for _, r := range reasons {
		reason, ok := refusalOf(r)
		key := "certificate.because." + reason
		if !ok || pages.Text("en", key, nil) == key || pages.Text("de", key, nil) == pages.Text("en", key, nil) {
			t.Errorf("%v: no words for %q", r, key)
		}
	}
	if _, ok := refusalOf(errors.New("certificate: expired")); ok {
		t.Error("any error is taken for a refusal")
	}
	g := newCertifiedGate(t, certified(CertificateAccept, assurance.Requirement{Level: assurance.Multi}))
	o := g.serve(showing(navigate("/x?y=1"), "revoked"))
	if !strings.Contains(o.Body.String(), "was revoked") || !strings.Contains(o.Body.String(), "/.mfa/sign-in?") {
		t.Errorf("%s", o.Body)
	}
}

// TestRefusedCertificatesLeadOn wants a next step on each page, inside other pages
// too, and nothing but JSON for programs.
func TestRefusedCertificatesLeadOn(t *testing.T) {
	multi := assurance.Requirement{Level: assurance.Multi}
	const signIn, again = `href="/.mfa/sign-in?`, `href="/x"`
	for _, test := range []struct {
		name, certificate string
		mode              CertificateMode
		header, link      string
		status            int
		framed            bool
	}{
		{"bad", "expired", CertificateAccept, asNavigation, signIn, 401, false},
		{"bad, where one is required", "expired", CertificateRequire, asNavigation, again, 403, false},
		{"none, where one is required", "", CertificateRequire, asNavigation, again, 403, false},
		{"another host's", "misdirected", CertificateAccept, asNavigation, again, 421, false},
		{"bad, in a frame", "expired", CertificateAccept, asFrame, signIn, 401, true},
		{"bad, where one is required, in a frame", "expired", CertificateRequire, asFrame, again, 403, true},
		{"bad, by a program", "expired", CertificateAccept, "Accept: application/json", "", 401, false},
	} {
		g := newCertifiedGate(t, certified(test.mode, multi))
		r := showing(withHeader(navigate("/x"), "", test.header), test.certificate)
		if test.certificate == "misdirected" {
			r.TLS.ServerName = "other.example.com"
		}
		o := g.serve(r)
		body, html := o.Body.String(), o.Header().Get("Content-Type") == "text/html; charset=utf-8"
		if o.Code != test.status || html != (test.link != "") || !strings.Contains(body, test.link) {
			t.Errorf("%s: %d %v %s", test.name, o.Code, o.Header(), body)
		}
		if label := map[string]string{signIn: ">Sign in instead<", again: ">Try again<"}[test.link]; !strings.Contains(body, label) {
			t.Errorf("%s: no link says %q: %s", test.name, label, body)
		}
		shown := strings.Contains(o.Header().Get("Content-Security-Policy"), "frame-ancestors *;") && strings.Contains(body, `target="_top"`)
		if shown != test.framed || html && !test.framed && o.Header().Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: shown in frames %t: %v", test.name, shown, o.Header())
		}
	}
}

// TestRefusedCertificatesAreNoted wants to be told of the certificate, and of the
// device where it is known. What strangers had written into one is text.
func TestRefusedCertificatesAreNoted(t *testing.T) {
	for _, test := range []struct {
		mode        CertificateMode
		certificate string
		want        map[string]any
	}{
		{CertificateAccept, "revoked", map[string]any{
			"reason": "revoked", "serial": "2a", "issuer": "CN=A CA", "device": "lost", "user": "bob", "user_id": "2"}},
		{CertificateAccept, "expired", map[string]any{"reason": "expired", "serial": "2a", "issuer": "CN=A CA"}},
		{CertificateRequire, "", map[string]any{"reason": "missing"}},
	} {
		g := newCertifiedGate(t, certified(test.mode, assurance.Requirement{Level: assurance.Multi}))
		r := showing(navigate("/x"), test.certificate)
		if test.certificate != "" {
			leaf := r.TLS.PeerCertificates[0]
			leaf.SerialNumber, leaf.Issuer = big.NewInt(42), pkix.Name{CommonName: "A\u202e CA"}
		}
		g.serve(r)
		test.want["app"], test.want["address"] = testOrigin, "192.0.2.1"
		noted := g.audited.FilterMessage("device.refused").All()
		if len(noted) != 1 || !maps.Equal(noted[0].ContextMap(), test.want) {
			t.Errorf("%q: %v, not %v", test.certificate, noted, test.want)
		}
	}
}

// TestAdmissionsSayWhichDeviceWasNeeded has devices open the app alone and beside
// sessions that suffice by themselves or don't.
func TestAdmissionsSayWhichDeviceWasNeeded(t *testing.T) {
	for _, test := range []struct {
		mode                 CertificateMode
		certificate, session string
		want                 map[string]any // nil: nothing is noted
	}{
		{CertificateAccept, "alice", "", map[string]any{"device": "alice's laptop"}},
		{CertificateAccept, "alice", "good", nil},
		{CertificateAccept, "bob", "good", nil},
		{CertificateAccept, "alice", "single", map[string]any{"device": "alice's laptop", "sign_on": audit.ShortID("single")}},
		{CertificateAndPassword, "alice", "single", map[string]any{"device": "alice's laptop", "sign_on": audit.ShortID("single")}},
		{CertificateAndPassword, "alice", "good", nil},
		{CertificateRequire, "alice", "good", map[string]any{"device": "alice's laptop", "sign_on": audit.ShortID("good")}},
		{CertificateRequire, "bob", "good", map[string]any{"device": "bob's laptop", "owner": "bob", "sign_on": audit.ShortID("good")}},
	} {
		g := newCertifiedGate(t, certified(test.mode, assurance.Requirement{Level: assurance.Multi}))
		var cookies []string
		if test.session != "" {
			cookies = append(cookies, SessionCookie+"="+test.session)
		}
		for range 2 {
			g.serve(showing(navigate("/x"), test.certificate), cookies...)
		}
		noted := g.audited.FilterMessage("device.admitted").All()
		if test.want == nil {
			if len(noted) != 0 {
				t.Errorf("%+v: %v is noted", test, noted)
			}
			continue
		}
		maps.Copy(test.want, map[string]any{"user": "alice", "user_id": "1", "app": testOrigin, "address": "192.0.2.1"})
		if len(noted) != 1 || !maps.Equal(noted[0].ContextMap(), test.want) {
			t.Errorf("%+v: %v", test, noted)
		}
	}
}

func TestAdmissionsAreWrittenDownOnceAnHour(t *testing.T) {
	g := newCertifiedGate(t, certified(CertificateAccept, assurance.Requirement{Level: assurance.Multi}))
	count := func() int { return g.audited.FilterMessage("device.admitted").Len() }
	for range 3 {
		g.serve(showing(navigate("/x"), "alice"))
	}
	g.serve(showing(navigate("/x"), "alice"), cookieGood)
	if n := count(); n != 1 {
		t.Errorf("%d times", n)
	}
	g.serve(showing(navigate("/x"), "bob"))
	g.now = testNow.Add(time.Hour)
	g.serve(showing(navigate("/x"), "alice"))
	if n := count(); n != 3 {
		t.Errorf("%d times", n)
	}
}
