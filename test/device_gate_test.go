package test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// deviceCaddyfile has a site for each thing that certificates can do. The
// operator's own CA names people by the common name; Caddy's pki holds another.
const deviceCaddyfile = `
{
	skip_install_trust
	auto_https disable_redirects
	pki {
		ca devices {
			name "Devices"
			intermediate_lifetime 200d
		}
	}
	mfa {
		portal https://login.localhost:{{.Port "web"}}
		admins group admins
		certificate {
			ca devices
			trust_pool file {{.Vars.ca}}
			map subject CN
		}
	}
}

(asking) {
	tls internal {
		client_auth {
			mode request
		}
	}
	log
}

https://login.localhost:{{.Port "web"}} {
	import asking
	mfa_portal
}

https://app.localhost:{{.Port "web"}} {
	import asking
	mfa {
		assertion
		rule /written/* {
			assurance multi
		}
		rule /fresh/* {
			max_age 10m
		}
		rule /off/* {
			certificate off
		}
	}
	reverse_proxy {{.Vars.app}}
}

https://must.localhost:{{.Port "web"}} {
	import asking
	mfa {
		certificate require
		rule /admins/* {
			allow group admins
		}
	}
	reverse_proxy {{.Vars.app}}
}

https://both.localhost:{{.Port "web"}} {
	import asking
	mfa {
		certificate and password
	}
	reverse_proxy {{.Vars.app}}
}

https://given.localhost:{{.Port "web"}} {
	tls internal {
		client_auth {
			mode verify_if_given
			trust_pool file {{.Vars.ca}}
		}
	}
	mfa
	reverse_proxy {{.Vars.app}}
}

https://hinted.localhost:{{.Port "web"}} {
	tls internal {
		client_auth {
			mode request
			trust_pool pki_root devices
		}
	}
	mfa {
		certificate require
	}
	reverse_proxy {{.Vars.app}}
}

https://combined.localhost:{{.Port "web"}} {
	tls internal {
		client_auth {
			mode request
			trust_pool combined {
				source pki_root devices
				source file {{.Vars.ca}}
			}
		}
	}
	mfa {
		certificate require
	}
	reverse_proxy {{.Vars.app}}
}

https://plain.localhost:{{.Port "web"}} {
	tls internal
	mfa {
		certificate accept
	}
	reverse_proxy {{.Vars.app}}
}

https://quiet.localhost:{{.Port "web"}} {
	tls internal
	mfa
	reverse_proxy {{.Vars.app}}
}
`

// certifier is an operator's CA that makes whatever certificate is asked for.
type certifier struct {
	t           testing.TB
	certificate *x509.Certificate
	key         crypto.Signer
	serial      int64
}

func newCertifier(t testing.TB, name string) *certifier {
	t.Helper()
	c := &certifier{t: t, key: curveKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	c.certificate = c.sign(template, template, c.key.Public(), c.key)
	return c
}

func curveKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (c *certifier) sign(template, parent *x509.Certificate, key crypto.PublicKey, signer crypto.Signer) *x509.Certificate {
	c.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, signer)
	if err != nil {
		c.t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		c.t.Fatal(err)
	}
	return made
}

// device makes a certificate of a user's device, good but for what change does
// to it.
func (c *certifier) device(user string, change func(*x509.Certificate)) tls.Certificate {
	c.t.Helper()
	return c.with(curveKey(c.t), user, change)
}

func (c *certifier) with(key crypto.Signer, user string, change func(*x509.Certificate)) tls.Certificate {
	c.t.Helper()
	c.serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1000 + c.serial), Subject: pkix.Name{CommonName: user},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	if change != nil {
		change(template)
	}
	made := c.sign(template, c.certificate, key.Public(), c.key)
	return tls.Certificate{Certificate: [][]byte{made.Raw}, PrivateKey: key, Leaf: made}
}

// selfSigned makes a certificate that nobody vouches for but itself.
func (c *certifier) selfSigned(user string) tls.Certificate {
	c.t.Helper()
	key := curveKey(c.t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: user},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	made := c.sign(template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{made.Raw}, PrivateKey: key, Leaf: made}
}

// sha1 has openssl make a certificate with a signature by SHA-1.
func (c *certifier) sha1(user string) tls.Certificate {
	c.t.Helper()
	harness.Need(c.t, "openssl")
	folder := c.t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	raw, err := x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	writePEM(c.t, at("ca.key"), "PRIVATE KEY", raw)
	writePEM(c.t, at("ca.pem"), "CERTIFICATE", c.certificate.Raw)
	if err := os.WriteFile(at("ext"), []byte("keyUsage=digitalSignature\nextendedKeyUsage=clientAuth\n"), 0o600); err != nil {
		c.t.Fatal(err)
	}
	for _, arguments := range []string{
		"req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key -out csr -subj /CN=" + user,
		"x509 -req -in csr -CA ca.pem -CAkey ca.key -set_serial 99 -days 1 -sha1 -extfile ext -out cert",
	} {
		command := exec.Command("openssl", strings.Fields(arguments)...)
		command.Dir = folder
		if output, err := command.CombinedOutput(); err != nil {
			c.t.Fatalf("openssl %s: %v\n%s", arguments, err, output)
		}
	}
	pair, err := tls.LoadX509KeyPair(at("cert"), at("key"))
	if err != nil {
		c.t.Fatal(err)
	}
	return pair
}

func writePEM(t testing.TB, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// deviceSuite is the one server of these tests, with people who have set up.
type deviceSuite struct {
	*scene.Scene
	ca                *certifier
	alice, bob, carol *scene.Person

	folder, program string // of the device agent
}

func startDevices(t *testing.T) *deviceSuite {
	t.Helper()
	ca := newCertifier(t, "Company CA")
	file := filepath.Join(t.TempDir(), "ca.pem")
	writePEM(t, file, "CERTIFICATE", ca.certificate.Raw)
	s := &deviceSuite{ca: ca, folder: t.TempDir(), Scene: scene.Start(t, scene.Options{
		Settled:   3,
		Caddyfile: deviceCaddyfile, Scheme: "https", Vars: map[string]string{"ca": file}, Env: []string{"GODEBUG=http2xconnect=1"},
	})}
	s.alice = s.Administrator("alice")
	s.bob = s.Invited("bob")
	s.carol = s.Invited("carol")
	return s
}

// issued is a certificate of the CA that Caddy holds, with its chain.
func (s *deviceSuite) issued(t *testing.T, user, name string) (certificate tls.Certificate, id string) {
	t.Helper()
	key := curveKey(t)
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	output := s.CLIWithInput(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request})),
		"mfa", "device", "issue", user, name, "--csr", "-")
	if output.Code != 0 {
		t.Fatalf("issuing a certificate: %+v", output)
	}
	certificate.PrivateKey = key
	for rest := []byte(output.Stdout); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		certificate.Certificate = append(certificate.Certificate, block.Bytes)
	}
	return certificate, s.idOf(t, user, name)
}

// idOf returns the id of a user's device.
func (s *deviceSuite) idOf(t *testing.T, user, name string) string {
	t.Helper()
	var listed []struct{ ID, Name string }
	if err := json.Unmarshal([]byte(s.CLI("mfa", "device", "list", user, "--json").Stdout), &listed); err != nil {
		t.Fatal(err)
	}
	for _, one := range listed {
		if one.Name == name {
			return one.ID
		}
	}
	t.Fatalf("%s has no device %s: %+v", user, name, listed)
	return ""
}

func (s *deviceSuite) revoke(t *testing.T, id string) {
	t.Helper()
	if output := s.CLI("mfa", "device", "revoke", id); output.Code != 0 {
		t.Fatalf("revoking: %+v", output)
	}
}

// line is a way for requests to a server, over one version of HTTP and with one
// certificate.
type line struct {
	version string
	http.RoundTripper
}

// lines returns new connections of each version. Without a certificate none is
// shown.
func (s *deviceSuite) lines(t *testing.T, certificate *tls.Certificate) []line {
	t.Helper()
	browser := s.Client()
	over1, over2 := browser.HTTP1().Transport(), browser.Transport()
	over3 := &http3.Transport{
		TLSClientConfig: &tls.Config{RootCAs: s.RootCAs()},
		Dial: func(ctx context.Context, _ string, secured *tls.Config, config *quic.Config) (*quic.Conn, error) {
			return quic.DialAddr(ctx, s.Addr("web"), secured, config)
		},
	}
	t.Cleanup(func() { _ = over3.Close() })
	for _, config := range []*tls.Config{over1.TLSClientConfig, over2.TLSClientConfig, over3.TLSClientConfig} {
		if certificate != nil {
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
		}
	}
	return []line{{"1.1", over1}, {"2", over2}, {"3", over3}}
}

// answered is what came back.
type answered struct {
	status int
	header http.Header
	body   string
	proto  int
	tls    *tls.ConnectionState
}

// open goes to a page, as a person does, or with other headers.
func (l line) open(t *testing.T, method, address string, header http.Header) answered {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header = http.Header{"Accept": {"text/html"}, "Accept-Language": {"en"}}
	for name, values := range header {
		request.Header[name] = values
	}
	response, err := l.RoundTrip(request)
	if err != nil {
		t.Fatalf("over HTTP/%s: %v", l.version, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answered{response.StatusCode, response.Header, string(body), response.ProtoMajor, response.TLS}
}

// script is how a program asks.
var script = http.Header{"Accept": {"application/json"}}

func TestDevices(t *testing.T) {
	t.Parallel()
	s := startDevices(t)
	for _, test := range []struct {
		name string
		run  func(*deviceSuite, *testing.T)
	}{
		{"go straight through", (*deviceSuite).goThrough},
		{"C01 bad certificates are refused", (*deviceSuite).badOnes},
		{"a bad certificate leads on to the sign-in", (*deviceSuite).leadOn},
		{"what a rule makes of them", (*deviceSuite).modes},
		{"proofs add up", (*deviceSuite).addUp},
		{"C02 revoked and disabled", (*deviceSuite).revoked},
		{"C02 live streams end", (*deviceSuite).streams},
		{"C06 other sites", (*deviceSuite).crossSite},
		{"T01 SNI against Host", (*deviceSuite).names},
		{"sign in at the portal", (*deviceSuite).portal},
		{"verify_if_given", (*deviceSuite).verifiedByCaddy},
		{"F06 disabled in between", (*deviceSuite).disabledMeanwhile},
		{"C01 C02 by curl", (*deviceSuite).byCurl},
		{"C04 by the agent", (*deviceSuite).byAgent},
		{"C04 confirmed in a browser", (*deviceSuite).byBrowser},
		{"C04 confirmed by a typed code", (*deviceSuite).byCode},
		{"C07 of a fleet", (*deviceSuite).ofFleet},
		{"a renewed intermediate", (*deviceSuite).renewed},
		{"load-time checks", (*deviceSuite).checksAtLoad},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.App.Reset()
			test.run(s, t)
		})
	}
}

func (s *deviceSuite) goThrough(t *testing.T) {
	here, _ := s.issued(t, "alice", "alice-laptop")
	own := s.ca.device("bob", nil)
	for _, device := range []struct {
		user        string
		certificate *tls.Certificate
	}{{"alice", &here}, {"bob", &own}} {
		for _, l := range s.lines(t, device.certificate) {
			s.App.Reset()
			got := l.open(t, "GET", s.At("app", "/page"), nil)
			if got.status != 200 {
				t.Fatalf("%s over HTTP/%s: %d %s", device.user, l.version, got.status, got.body)
			}
			if fmt.Sprint(got.proto) != strings.TrimSuffix(l.version, ".1") {
				t.Errorf("HTTP/%d was spoken in place of %s", got.proto, l.version)
			}
			seen := s.App.ExpectOne(t)
			if user := seen.Header.Get("Remote-User"); user != device.user {
				t.Errorf("HTTP/%s: the app took %s for %q", l.version, device.user, user)
			}
			claims := claimsOf(t, seen.Header.Get("X-Mfa-Assertion"))
			if claims.Level != "device" || strings.Join(claims.Methods, " ") != "swk" {
				t.Errorf("HTTP/%s: %+v is stated", l.version, claims)
			}
			if got.header.Get("Set-Cookie") != "" {
				t.Errorf("HTTP/%s: a cookie was set", l.version)
			}
			whoami := l.open(t, "GET", s.At("app", "/.mfa/whoami"), script)
			if !strings.Contains(whoami.body, `"assurance":"device"`) || !strings.Contains(whoami.body, `"device":`) {
				t.Errorf("whoami: %s", whoami.body)
			}
		}
	}
	admitted := 0
	for _, entry := range s.LogEntries() {
		if entry.Text("msg") == "device.admitted" {
			admitted++
		}
	}
	if admitted != 2 {
		t.Errorf("%d admissions were written down, not one for each of two devices", admitted)
	}
	for _, l := range s.lines(t, nil) {
		s.App.Reset()
		if got := l.open(t, "GET", s.At("app", "/page"), nil); got.status != 302 {
			t.Errorf("nobody over HTTP/%s: %d", l.version, got.status)
		}
		s.App.ExpectNone(t)
	}
}

// claimed is what an app is told by an assertion, as far as it matters here.
type claimed struct {
	Methods []string `json:"amr"`
	Level   string   `json:"acr"`
}

func claimsOf(t *testing.T, token string) (c claimed) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("no assertion: %q", token)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(raw, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// badOne is a certificate that doesn't count, and what is said of it.
type badOne struct {
	name, text  string
	certificate tls.Certificate
}

func (s *deviceSuite) allBad(t *testing.T) []badOne {
	t.Helper()
	namesake := newCertifier(t, "Company CA")
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	old := s.ca.device("alice", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	return []badOne{
		{"expired", "has expired", old},
		{"not yet valid", "valid yet", s.ca.device("alice", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) })},
		{"another CA of the same name", "issued by anybody we know", namesake.device("alice", nil)},
		{"self-signed", "issued by anybody we know", s.ca.selfSigned("alice")},
		{"no usage", "meant for signing in", s.ca.device("alice", func(c *x509.Certificate) { c.ExtKeyUsage = nil })},
		{"a server's usage", "meant for signing in", s.ca.device("alice", func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		})},
		{"CA:TRUE", "issuing others", s.ca.device("alice", func(c *x509.Certificate) { c.IsCA = true })},
		{"SHA-1", "strong enough", s.ca.sha1("alice")},
		{"RSA of 1024 bits", "strong enough", s.ca.with(weak, "alice", nil)},
		{"unknown critical extension", "conditions", s.ca.device("alice", func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
		})},
		{"of nobody here", "registered to anybody", s.ca.device("nobody-of-that-name", nil)},
		{"of the CA itself", "issuing others", tls.Certificate{Certificate: [][]byte{s.ca.certificate.Raw}, PrivateKey: s.ca.key}},
	}
}

func (s *deviceSuite) badOnes(t *testing.T) {
	for _, bad := range s.allBad(t) {
		t.Run(bad.name, func(t *testing.T) {
			s.App.Reset()
			for _, l := range s.lines(t, &bad.certificate) {
				for site, status := range map[string]int{"app": 401, "must": 403, "both": 401} {
					got := l.open(t, "GET", s.At(site, "/page"), nil)
					if got.status != status || !strings.Contains(got.body, bad.text) {
						t.Errorf("%s over HTTP/%s: %d %s", site, l.version, got.status, got.body)
					}
					if leads := strings.Contains(got.body, "/.mfa/sign-in"); leads != (site != "must") {
						t.Errorf("%s over HTTP/%s leads on to the sign-in: %t", site, l.version, leads)
					}
				}
				got := l.open(t, "POST", s.At("app", "/page"), script)
				if got.status != 401 || got.header.Get("Content-Type") != "application/problem+json" || !strings.Contains(got.body, bad.text) {
					t.Errorf("a script over HTTP/%s: %d %s", l.version, got.status, got.body)
				}
			}
			s.App.ExpectNone(t)
		})
	}
}

// leadOn has somebody sign in beside a bad certificate, which then is in nobody's
// way.
func (s *deviceSuite) leadOn(t *testing.T) {
	bad := s.ca.device("bob", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	browser := s.Client().Showing(bad)
	page := browser.Visit(s.At("app", "/wanted?x=1"))
	if page.Status != 401 || !strings.Contains(page.Text(), "has expired") {
		t.Fatalf("%d %s", page.Status, page.Text())
	}
	s.App.ExpectNone(t)
	pages := browser.Follow(browser.Click(page.Link("Sign in instead")))
	page = pages[len(pages)-1]
	if !strings.Contains(page.Text(), "has expired") {
		t.Errorf("the portal says nothing of it: %s", page.Text())
	}
	page = s.alice.ShowCode(browser, s.alice.ShowPassword(browser, page), s.alice.Code())
	if page.Status != 200 {
		t.Fatalf("%d %s", page.Status, page.Text())
	}
	if seen := s.App.ExpectOne(t); seen.Header.Get("Remote-User") != "alice" || seen.RequestURI != "/wanted?x=1" {
		t.Errorf("the app saw %+v", seen)
	}
	if page := browser.Visit(s.At("must", "/")); page.Status != 403 {
		t.Errorf("where a certificate is required: %d %s", page.Status, page.Text())
	}
}

func (s *deviceSuite) modes(t *testing.T) {
	certificate, _ := s.issued(t, "bob", "bob-modes")
	for _, l := range s.lines(t, &certificate) {
		for _, test := range []struct {
			site, path string
			status     int
		}{
			{"app", "/", 200}, {"app", "/written/x", 302}, {"app", "/fresh/x", 302}, {"app", "/off/x", 302},
			{"must", "/", 200}, {"must", "/admins/x", 403}, {"both", "/", 302}, {"quiet", "/", 302}, {"plain", "/", 302},
		} {
			s.App.Reset()
			if got := l.open(t, "GET", s.At(test.site, test.path), nil); got.status != test.status {
				t.Errorf("%s%s over HTTP/%s: %d, not %d: %s", test.site, test.path, l.version, got.status, test.status, got.body)
			}
			if test.status != 200 {
				s.App.ExpectNone(t)
			}
		}
	}
	for _, l := range s.lines(t, nil) {
		s.App.Reset()
		if got := l.open(t, "GET", s.At("must", "/"), nil); got.status != 403 || !strings.Contains(got.body, "managed device") || got.header.Get("Location") != "" {
			t.Errorf("must without one over HTTP/%s: %d %s", l.version, got.status, got.body)
		}
		s.App.ExpectNone(t)
	}
}

// addUp has a certificate beside sessions: of the same person, and of another.
func (s *deviceSuite) addUp(t *testing.T) {
	certificate, _ := s.issued(t, "carol", "carol-laptop")
	browser := s.Client().Showing(certificate)
	page := s.carol.ShowPassword(browser, browser.Visit(s.At("both", "/office")))
	if page.Status != 200 || page.URL.Host != strings.TrimPrefix(s.At("both", ""), "https://") {
		t.Fatalf("password and certificate led to %d %s: %s", page.Status, page.URL, page.Text())
	}
	if seen := s.App.ExpectOne(t); seen.Header.Get("Remote-User") != "carol" {
		t.Errorf("the app saw %+v", seen)
	}
	if whoami := browser.Get(s.At("both", "/.mfa/whoami")); !strings.Contains(whoami.Body, `"assurance":"multi"`) {
		t.Errorf("whoami: %s", whoami.Body)
	}
	t.Run("the session alone doesn't do", func(t *testing.T) {
		s.App.Reset()
		bare := s.Client()
		for _, cookie := range browser.Cookies(s.At("both", "/")) {
			bare.SetCookie(s.At("both", "/"), http.Cookie{
				Name: cookie.Name, Value: cookie.Value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
			})
		}
		if page := bare.Get(s.At("both", "/office")); page.Status != 302 && page.Status != 403 {
			t.Errorf("%d %s", page.Status, page.Text())
		}
		s.App.ExpectNone(t)
	})
	t.Run("S06 nor does another's certificate", func(t *testing.T) {
		s.App.Reset()
		stranger, _ := s.issued(t, "bob", "bob-strange")
		tab := browser.Showing(stranger)
		if page := tab.Get(s.At("both", "/office")); page.Status == 200 {
			t.Errorf("%d %s", page.Status, page.Text())
		}
		s.App.ExpectNone(t)
		if page := s.Client().Showing(stranger).Get(s.At("login", "/account")); page.Status == 200 {
			t.Errorf("the account opens: %s", page.Text())
		}
	})
	t.Run("of two people the session decides", func(t *testing.T) {
		stranger, _ := s.issued(t, "bob", "bob-shared")
		own := s.Client()
		s.carol.SignIn(own, s.At("app", "/"))
		tab := own.Showing(stranger)
		for _, site := range []string{"app", "must"} {
			if site == "must" {
				tab.Visit(s.At(site, "/"))
			}
			s.App.Reset()
			if page := tab.Get(s.At(site, "/")); page.Status != 200 {
				t.Fatalf("%s: %d %s", site, page.Status, page.Text())
			}
			if seen := s.App.ExpectOne(t); site == "app" && seen.Header.Get("Remote-User") != "carol" {
				t.Errorf("%s saw %q", site, seen.Header.Get("Remote-User"))
			}
		}
	})
}

func (s *deviceSuite) revoked(t *testing.T) {
	here, id := s.issued(t, "bob", "bob-revoked")
	disabled := s.ca.device("dave", nil)
	s.Invited("dave")
	// Caddy gives out no tickets where it asks for certificates; should it do so
	// one day, what is resumed is judged anew all the same.
	resuming := s.Client().Transport()
	resuming.ForceAttemptHTTP2 = false
	resuming.TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	resuming.TLSClientConfig.Certificates = []tls.Certificate{here}
	resumed := line{"1.1, resumed", resuming}
	live := append(append(s.lines(t, &here), resumed), s.lines(t, &disabled)...)
	for _, l := range live {
		if got := l.open(t, "GET", s.At("app", "/"), nil); got.status != 200 {
			t.Fatalf("before, over HTTP/%s: %d %s", l.version, got.status, got.body)
		}
	}
	s.revoke(t, id)
	if output := s.CLI("mfa", "user", "disable", "dave"); output.Code != 0 {
		t.Fatalf("%+v", output)
	}
	s.App.Reset()
	resuming.CloseIdleConnections()
	if got := resumed.open(t, "GET", s.At("app", "/"), nil); got.status != 401 || !strings.Contains(got.body, "revoked") {
		t.Errorf("a connection that may have been resumed (%t): %d %s", got.tls.DidResume, got.status, got.body)
	}
	for i, l := range append(append(live, s.lines(t, &here)...), s.lines(t, &disabled)...) {
		text := "revoked"
		if i >= 4 && i < 7 || i >= 10 {
			text = "registered to can"
		}
		for site, status := range map[string]int{"app": 401, "must": 403} {
			if got := l.open(t, "GET", s.At(site, "/"), nil); got.status != status || !strings.Contains(got.body, text) {
				t.Errorf("%d, %s over HTTP/%s: %d %s", i, site, l.version, got.status, got.body)
			}
		}
	}
	s.App.ExpectNone(t)
}

// streams holds that what a certificate alone began ends with it.
func (s *deviceSuite) streams(t *testing.T) {
	certificate, id := s.issued(t, "bob", "bob-streams")
	var opened []*harness.Live
	for version, tab := range map[string]*harness.Client{"1": s.Client().ShowingHTTP1(certificate), "2": s.Client().Showing(certificate)} {
		opened = append(opened,
			tab.WebSocket(t, s.At("app", "/socket/"+version), version == "2"),
			tab.Download(t, harness.Request{URL: s.At("app", "/events/"+version), Mode: harness.Fetch, From: s.At("app", "/"), Header: http.Header{"Accept": {"text/event-stream"}}}))
	}
	over3 := s.lines(t, &certificate)[2]
	request, err := http.NewRequestWithContext(t.Context(), "GET", s.At("app", "/events/3"), nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "text/event-stream")
	response, err := over3.RoundTrip(request)
	if err != nil || response.StatusCode != 200 {
		t.Fatalf("over HTTP/3: %v %v", response, err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, response.Body)
	}()
	for _, l := range opened {
		if l.Ended() {
			t.Fatalf("a stream ended by itself: %v", l.Err())
		}
	}
	s.revoke(t, id)
	begun := time.Now()
	harness.Eventually(t, 10*time.Second, "all streams to end", func() bool {
		for _, l := range opened {
			if !l.Ended() {
				return false
			}
		}
		select {
		case <-ended:
			return true
		default:
			return false
		}
	})
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("the streams went on for %s", took)
	}
}

func (s *deviceSuite) crossSite(t *testing.T) {
	certificate, _ := s.issued(t, "bob", "bob-cross")
	elsewhere := func(more map[string]string) http.Header {
		header := http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.example"}}
		for name, value := range more {
			header.Set(name, value)
			if value == "" {
				delete(header, name)
			}
		}
		return header
	}
	for _, l := range s.lines(t, &certificate) {
		for _, attack := range []struct {
			name, method string
			header       http.Header
		}{
			{"a form", "POST", elsewhere(map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Content-Type": "application/x-www-form-urlencoded"})},
			{"a script", "POST", elsewhere(map[string]string{"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "empty"})},
			{"a script that deletes", "DELETE", elsewhere(map[string]string{"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"})},
			{"an old browser's form", "POST", elsewhere(map[string]string{"Sec-Fetch-Site": ""})},
			{"a form of no origin", "POST", elsewhere(map[string]string{"Sec-Fetch-Site": "", "Origin": "null"})},
			{"a picture", "GET", elsewhere(map[string]string{"Origin": "", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"})},
			{"a script's source", "GET", elsewhere(map[string]string{"Origin": "", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"})},
			{"a frame", "GET", elsewhere(map[string]string{"Origin": "", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"})},
		} {
			s.App.Reset()
			if got := l.open(t, attack.method, s.At("app", "/"), attack.header); got.status != 403 {
				t.Errorf("%s over HTTP/%s: %d %s", attack.name, l.version, got.status, got.body)
			}
			s.App.ExpectNone(t)
		}
		for name, header := range map[string]http.Header{
			"a link of another site": elsewhere(map[string]string{"Origin": "", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}),
			"a program":              nil,
		} {
			if got := l.open(t, "GET", s.At("app", "/"), header); got.status != 200 {
				t.Errorf("%s over HTTP/%s: %d %s", name, l.version, got.status, got.body)
			}
		}
		if got := l.open(t, "POST", s.At("app", "/"), script); got.status != 200 {
			t.Errorf("a program's post over HTTP/%s: %d %s", l.version, got.status, got.body)
		}
	}
	for _, origin := range []string{"https://evil.example", s.At("plain", ""), "null"} {
		s.App.Reset()
		target := s.RawTLS("web", "app.localhost")
		target.Certificate = &certificate
		host := strings.TrimPrefix(s.At("app", ""), "https://")
		got := target.Send([]byte("GET /socket HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: " + strings.TrimSuffix(origin, "/") + "\r\n\r\n"))
		if got.Status != 403 {
			t.Errorf("a WebSocket from %s: %d %s", origin, got.Status, got.Body)
		}
		s.App.ExpectNone(t)
	}
}

// names sends requests for one host over connections to another.
func (s *deviceSuite) names(t *testing.T) {
	certificate, _ := s.issued(t, "bob", "bob-names")
	for _, test := range []struct{ sni, host string }{
		{"quiet.localhost", "app.localhost"}, {"app.localhost", "must.localhost"}, {"plain.localhost", "must.localhost"}, {"", "app.localhost"},
	} {
		s.App.Reset()
		for _, version := range []string{"1.1", "2", "3"} {
			status := s.sendAs(t, version, test.sni, test.host, &certificate)
			if status == 200 {
				t.Errorf("%s over a connection to %q by HTTP/%s: %d", test.host, test.sni, version, status)
			}
		}
		s.App.ExpectNone(t)
	}
	for _, version := range []string{"1.1", "2", "3"} {
		if status := s.sendAs(t, version, "app.localhost", "APP.localhost", &certificate); status != 200 {
			t.Errorf("upper case by HTTP/%s: %d", version, status)
		}
	}
}

// sendAs asks for the first page of a host over a connection that was made to
// another name. 0: there was no connection.
func (s *deviceSuite) sendAs(t *testing.T, version, sni, host string, certificate *tls.Certificate) int {
	t.Helper()
	authority := fmt.Sprintf("%s:%d", host, s.Port("web"))
	target := s.RawTLS("web", sni)
	target.Certificate = certificate
	switch version {
	case "1.1":
		return target.Send([]byte("GET / HTTP/1.1\r\nHost: " + authority + "\r\nConnection: close\r\n\r\n")).Status
	case "2":
		return target.SendHTTP2(harness.Request2{Fields: []harness.Field{
			{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: authority}, {Name: ":path", Value: "/"},
		}}).Status
	}
	over3 := &http3.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{*certificate}},
		Dial: func(ctx context.Context, _ string, secured *tls.Config, config *quic.Config) (*quic.Conn, error) {
			secured = secured.Clone()
			secured.ServerName = sni
			return quic.DialAddr(ctx, s.Addr("web"), secured, config)
		},
	}
	defer func() { _ = over3.Close() }()
	request, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+authority+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := over3.RoundTrip(request)
	if err != nil {
		return 0
	}
	defer func() { _ = response.Body.Close() }()
	return response.StatusCode
}

// portal has devices sign in where only the portal asks for certificates.
func (s *deviceSuite) portal(t *testing.T) {
	certificate, id := s.issued(t, "bob", "bob-portal")
	browser := s.Client().Showing(certificate)
	page := browser.Visit(s.At("plain", "/page"))
	if page.Status != 200 {
		t.Fatalf("%d %s", page.Status, page.Text())
	}
	if seen := s.App.ExpectOne(t); seen.Header.Get("Remote-User") != "bob" || seen.RequestURI != "/page" {
		t.Errorf("the app saw %+v", seen)
	}
	t.Run("opens nothing else", func(t *testing.T) {
		s.App.Reset()
		for _, address := range []string{s.At("quiet", "/"), s.At("login", "/"), s.At("login", "/account"), s.At("login", "/account/totp/add"), s.At("app", "/off/x"), s.At("app", "/written/x")} {
			if page := browser.Visit(address); !hasPassword(page) {
				t.Errorf("%s: %d %s", address, page.Status, page.Text())
			}
		}
		s.App.ExpectNone(t)
	})
	t.Run("a script's request signs nobody in", func(t *testing.T) {
		other := s.Client().Showing(certificate)
		sent := other.Get(s.At("plain", "/"))
		page, err := other.Send(harness.Request{URL: sent.Location(), Mode: harness.Fetch, From: "https://evil.example/"})
		if err != nil || page.Status != 200 || len(page.Cookies()) > 0 {
			t.Errorf("%v %d %v", err, page.Status, page.Cookies())
		}
	})
	t.Run("signing out lasts", func(t *testing.T) {
		page := browser.Visit(s.At("login", "/sign-out"))
		browser.Follow(browser.Submit(formTo(t, page, "/sign-out"), nil))
		s.App.Reset()
		page = browser.Visit(s.At("plain", "/page"))
		if !strings.Contains(page.Text(), "Continue as bob") {
			t.Fatalf("%d %s", page.Status, page.Text())
		}
		s.App.ExpectNone(t)
		hops := browser.Follow(browser.Submit(formTo(t, page, "/sign-in/device"), nil))
		page = hops[len(hops)-1]
		if page.Status != 200 {
			t.Errorf("%d %s", page.Status, page.Text())
		}
		s.App.ExpectOne(t)
	})
	t.Run("C02 ends with the device", func(t *testing.T) {
		s.revoke(t, id)
		s.App.Reset()
		browser.Visit(s.At("plain", "/page"))
		s.App.ExpectNone(t)
		browser.ClearCookies()
		if page := browser.Visit(s.At("plain", "/page")); !hasPassword(page) || !strings.Contains(page.Text(), "was revoked") {
			t.Errorf("%d %s", page.Status, page.Text())
		}
		s.App.ExpectNone(t)
	})
}

// hasPassword reports whether a page asks for a password.
func hasPassword(page *harness.Page) bool {
	for _, form := range page.Forms() {
		if form.Has("current-password") {
			return true
		}
	}
	return false
}

func (s *deviceSuite) verifiedByCaddy(t *testing.T) {
	good := s.ca.device("bob", nil)
	bad := s.ca.device("bob", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	for _, l := range s.lines(t, &good) {
		if got := l.open(t, "GET", s.At("given", "/"), nil); got.status != 200 {
			t.Errorf("over HTTP/%s: %d %s", l.version, got.status, got.body)
		}
	}
	s.App.Reset()
	for _, l := range s.lines(t, &bad) {
		request, err := http.NewRequestWithContext(t.Context(), "GET", s.At("given", "/"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if response, err := l.RoundTrip(request); err == nil {
			_ = response.Body.Close()
			t.Errorf("over HTTP/%s: %d", l.version, response.StatusCode)
		}
	}
	s.App.ExpectNone(t)
}

// disabledMeanwhile disables somebody between the gate and the portal.
func (s *deviceSuite) disabledMeanwhile(t *testing.T) {
	s.Invited("erin")
	certificate, _ := s.issued(t, "erin", "erin-laptop")
	browser := s.Client().Showing(certificate)
	sent := browser.Get(s.At("plain", "/"))
	if output := s.CLI("mfa", "user", "disable", "erin"); output.Code != 0 {
		t.Fatalf("%+v", output)
	}
	if page := browser.Visit(sent.Location()); !hasPassword(page) || !strings.Contains(page.Text(), "can't be used") {
		t.Errorf("%d %s", page.Status, page.Text())
	}
	s.App.ExpectNone(t)
}

// checksAtLoad has configurations refused, and warnings given.
func (s *deviceSuite) checksAtLoad(t *testing.T) {
	if n := strings.Count(s.Log(), "protocols h1 h2"); n != 2*7 {
		t.Errorf("%d warnings of HTTP/3, not one for each of the portal and six sites at both starts", n)
	}
	for _, test := range []struct{ old, new, want string }{
		{"tls internal\n\tmfa\n", "tls internal\n\tmfa {\n\t\tcertificate require\n\t}\n", "quiet.localhost"},
		{"tls internal\n\tmfa\n", "tls internal\n\tmfa {\n\t\tcertificate and password\n\t}\n", "client_auth"},
		{"https://must.localhost", "https://127.0.0.1", "is an IP address"},
		{"https://both.localhost", "https://[::1]", "is an IP address"},
		{"https://plain.localhost", "https://127.0.0.1", "certificate accept: TLS tells the server no name"},
		{"map subject CN", "map subject OU", "subject"},
		{s.ca.file(), filepath.Join(t.TempDir(), "missing.pem"), "missing.pem"},
	} {
		broken := strings.Replace(deviceCaddyfile, test.old, test.new, 1)
		if test.old == s.ca.file() {
			broken = strings.Replace(deviceCaddyfile, "{{.Vars.ca}}\n\t\t\tmap", test.new+"\n\t\t\tmap", 1)
		}
		if got := s.MustRefuseReload(broken); !strings.Contains(got, test.want) {
			t.Errorf("%s: %s", test.new, got)
		}
	}
	certificate := s.ca.device("bob", nil)
	if got := s.lines(t, &certificate)[0].open(t, "GET", s.At("app", "/"), nil); got.status != 200 {
		t.Errorf("C05 after what was refused: %d %s", got.status, got.body)
	}
}

// file stands, in the table of checksAtLoad, for the file that holds the CA.
func (*certifier) file() string { return "the file of the CA" }

// renewed has Caddy make another intermediate, and a device from before show its
// own certificate alone.
func (s *deviceSuite) renewed(t *testing.T) {
	laptop, _ := s.issued(t, "alice", "old laptop")
	alone := laptop
	alone.Certificate = laptop.Certificate[:1]
	opens := func(certificate tls.Certificate) int {
		return s.lines(t, &certificate)[1].open(t, "GET", s.At("must", "/page"), nil).status
	}
	if got := opens(alone); got != 200 {
		t.Fatalf("at first: %d", got)
	}
	s.Stop()
	for _, name := range []string{"intermediate.crt", "intermediate.key"} {
		if err := os.Remove(filepath.Join(s.DataDir(), "pki", "authorities", "devices", name)); err != nil {
			t.Fatal(err)
		}
	}
	s.Restart()
	another, _ := s.issued(t, "alice", "new laptop")
	if bytes.Equal(another.Certificate[1], laptop.Certificate[1]) {
		t.Fatal("the intermediate is the same")
	}
	if got := opens(alone); got != 200 {
		t.Errorf("after the renewal: %d", got)
	}
}
