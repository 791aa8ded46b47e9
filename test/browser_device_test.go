package test

import (
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/portcullis-mfa/portcullis/test/harness"
)

// TestDeviceInChromium has a browser show the certificate of a device to the
// app itself and, for another app, to the portal, without a click.
func TestDeviceInChromium(t *testing.T) {
	t.Parallel()
	s := startDevices(t)
	folder := t.TempDir()
	bundle, password := filepath.Join(folder, "laptop.p12"), filepath.Join(folder, "password")
	if err := os.WriteFile(password, []byte("a quiet harbour\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if output := s.CLI("mfa", "device", "issue", "alice", "laptop", "--out", bundle, "--password-file", password); output.Code != 0 {
		t.Fatalf("%+v", output)
	}
	browser := harness.NewBrowser(t, s.Server, harness.BrowserOptions{
		Certificate: bundle, CertificatePassword: password, FlawsExpected: true,
	})
	for _, site := range []string{"app", "must", "plain", "hinted", "combined"} {
		s.App.Reset()
		browser.Navigate(s.At(site, "/page"))
		browser.AwaitText("Hello alice")
	}
	for _, more := range []string{s.At("both", "/page"), s.At("login", "/account")} {
		browser.Navigate(more)
		browser.AwaitURL("the question for a password", func(at *url.URL) bool { return at.Path == "/flow" })
	}

	s.revoke(t, s.idOf(t, "alice", "laptop"))
	s.App.Reset()
	browser.Navigate(s.At("must", "/page"))
	browser.AwaitText("was revoked")
	browser.Navigate(s.At("app", "/page"))
	browser.AwaitText("was revoked")
	s.App.ExpectNone(t)
	browser.Shots("device_refused")
	browser.ClickThrough("Sign in instead")
	browser.AwaitH1("Sign in")
	if !strings.Contains(browser.Text(), "was revoked") {
		t.Errorf("the portal says nothing of it: %s", browser.Text())
	}
	browser.Shots("device_sign_in")
}

// TestWhatChromiumShows holds what the guide says of naming CAs to browsers: by
// which of them a browser shows which certificate.
func TestWhatChromiumShows(t *testing.T) {
	t.Parallel()
	s := startDevices(t)
	folder := t.TempDir()
	password := filepath.Join(folder, "password")
	if err := os.WriteFile(password, []byte("a quiet harbour\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	here, _ := s.issued(t, "alice", "laptop")
	for _, device := range []struct {
		name, user  string
		certificate tls.Certificate
		shown       map[string]bool
	}{
		{"of the CA here, alone", "alice", here, map[string]bool{"app": true, "hinted": false, "combined": false}},
		{"of the operator's CA", "bob", s.ca.device("bob", nil), map[string]bool{"app": true, "hinted": false, "combined": true}},
	} {
		t.Run(device.name, func(t *testing.T) {
			leaf, err := x509.ParseCertificate(device.certificate.Certificate[0])
			if err != nil {
				t.Fatal(err)
			}
			content, err := pkcs12.Modern2023.Encode(device.certificate.PrivateKey, leaf, nil, "a quiet harbour")
			if err != nil {
				t.Fatal(err)
			}
			bundle := filepath.Join(t.TempDir(), "device.p12")
			if err := os.WriteFile(bundle, content, 0o600); err != nil {
				t.Fatal(err)
			}
			browser := harness.NewBrowser(t, s.Server, harness.BrowserOptions{
				Certificate: bundle, CertificatePassword: password, FlawsExpected: true,
			})
			for site, shown := range device.shown {
				browser.Navigate(s.At(site, "/page"))
				if shown {
					browser.AwaitText("Hello " + device.user)
				} else {
					browser.AwaitText("managed device")
				}
			}
		})
	}
}
