package portal_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/devices"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/portal"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/ticket"
)

// opening is a gate that a certificate alone opens.
type opening struct{ wiki }

func (o opening) Read(value string) (ticket.Request, bool, error) {
	r, fresh, err := o.wiki.Read(value)
	r.Ask.Certificate = assurance.CertificateAlone
	return r, fresh, err
}

// deviceFlows signs devices in.
type deviceFlows struct {
	*flows
	signedIn []authflow.DeviceLogin
	refusal  error
}

func (f *deviceFlows) SignInDevice(_ context.Context, in authflow.DeviceLogin, _ string, _ person.Client) (authflow.Granted, error) {
	f.signedIn = append(f.signedIn, in)
	return authflow.Granted{Granted: person.Granted{SignOn: session.SignOn{ID: "s1", UserID: "ada", Expires: noon.Add(time.Hour)}}}, f.refusal
}

// oneDevice knows a laptop of Ada's, or refuses whatever is presented.
type oneDevice struct {
	refusal error
	vouched func() error
}

func (d oneDevice) Read(context.Context, []*x509.Certificate, time.Duration) (devices.Presented, error) {
	return devices.Presented{LiveDevice: session.LiveDevice{
		ID: "laptop", Vouched: d.vouched, Expires: noon.Add(time.Hour), User: &session.Profile{User: session.User{ID: "ada", Name: "ada"}},
	}}, d.refusal
}

// desk is a hall that devices come to.
type desk struct {
	*hall
	flows *deviceFlows
}

func newDesk(t *testing.T, refusal error) *desk {
	t.Helper()
	d := &desk{hall: newHall(t)}
	d.flows = &deviceFlows{flows: d.hall.flows}
	settings := d.Settings
	settings.Flows, settings.Devices, settings.Requests, settings.Tickets = d.flows, oneDevice{refusal: refusal}, opening{}, wiki{}
	settings.Known = func(string) bool { return true }
	d.Portal = portal.New(settings)
	return d
}

// come asks for the form over a connection that a certificate was shown on.
func (d *desk) come(serverName string, header http.Header) *http.Response {
	d.t.Helper()
	r := httptest.NewRequest(http.MethodGet, "https://login.example.com/sign-in?request=wiki", nil)
	r.TLS = &tls.ConnectionState{HandshakeComplete: true, ServerName: serverName, PeerCertificates: []*x509.Certificate{{
		SerialNumber: big.NewInt(42), Issuer: pkix.Name{CommonName: "A CA"},
	}}}
	maps.Copy(r.Header, header)
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w.Result()
}

func TestDevicesSignInWhereAPersonGoesToAPage(t *testing.T) {
	going := http.Header{"Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}}
	with := func(name, value string) http.Header {
		header := maps.Clone(going)
		header[name] = []string{value}
		return header
	}
	for _, test := range []struct {
		name, serverName string
		header           http.Header
		want             bool
	}{
		{"a person", "login.example.com", going, true},
		{"an old browser, and a name in capitals", "LOGIN.example.com", nil, true},
		{"T01 over a connection to another host", "wiki.example.com", going, false},
		{"T01 over a connection to no host", "", going, false},
		{"a page fetched ahead", "login.example.com", with("Sec-Purpose", "prefetch"), false},
		{"a script", "login.example.com", with("Sec-Fetch-Mode", "cors"), false},
		{"a frame", "login.example.com", with("Sec-Fetch-Dest", "iframe"), false},
		{"somebody who signed out", "login.example.com", with("Cookie", "__Host-mfa-signed-out=1"), false},
	} {
		d := newDesk(t, nil)
		r := d.come(test.serverName, test.header)
		if in := len(d.flows.signedIn) == 1; in != test.want || in && r.StatusCode != http.StatusSeeOther || !in && r.StatusCode != http.StatusOK {
			t.Errorf("%s: %d, signed in %v", test.name, r.StatusCode, d.flows.signedIn)
		}
	}
}

// TestRefusedDevicesAreNoted wants words for people, and a line for operators.
func TestRefusedDevicesAreNoted(t *testing.T) {
	lost := session.RefusedDevice{DeviceRefusal: session.DeviceRevoked, Name: "Laptop", UserID: "ada", User: "ada"}
	for _, test := range []struct {
		name          string
		read, signing error
		text          string
		want          map[string]any
	}{
		{"known", lost, nil, "was revoked", map[string]any{"reason": "revoked", "device": "Laptop", "user": "ada", "user_id": "ada"}},
		{"its CA's list is missing", devices.Unverifiable, nil, "still counts", map[string]any{"reason": "unverifiable"}},
		{"F06 revoked meanwhile", nil, person.ErrNoDevice, "was revoked", map[string]any{"reason": "revoked"}},
	} {
		d := newDesk(t, test.read)
		d.flows.refusal = test.signing
		if r := d.come("login.example.com", nil); r.StatusCode != http.StatusOK || !strings.Contains(d.page(r), test.text) {
			t.Errorf("%s: %d", test.name, r.StatusCode)
		}
		maps.Copy(test.want, map[string]any{"serial": "2a", "issuer": "CN=A CA", "app": "https://wiki.example.com", "address": "192.0.2.1"})
		noted := d.audited.FilterMessage("device.refused").All()
		if len(noted) != 1 || !maps.Equal(noted[0].ContextMap(), test.want) {
			t.Errorf("%s: %v", test.name, noted)
		}
	}
}

// TestC02DevicesAreAskedAboutOnceMore has the CA take a certificate back while
// its device signs in.
func TestC02DevicesAreAskedAboutOnceMore(t *testing.T) {
	for name, test := range map[string]struct {
		says  error
		ended int
	}{"it stands": {nil, 0}, "it was taken back": {session.DeviceRevoked, 1}} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, nil)
			settings := d.Settings
			settings.Devices = oneDevice{vouched: func() error { return test.says }}
			d.Portal = portal.New(settings)
			r := d.come("login.example.com", nil)
			page := d.page(r)
			if in := r.StatusCode == http.StatusSeeOther; in != (test.says == nil) || len(d.signOns.ended) != test.ended {
				t.Errorf("%d, ended %q", r.StatusCode, d.signOns.ended)
			}
			if test.ended > 0 {
				expectEnded(t, d.hall, session.EndedDevice)
			}
			if test.says != nil && (strings.Contains(page, "__Host-mfa-portal=") || !strings.Contains(page, "revoked")) {
				t.Errorf("the page is %s", page)
			}
		})
	}
}
