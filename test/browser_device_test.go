package test

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/test/harness"
)

// TestDeviceInChromium has a browser show the certificate of a device to the
// app itself and, for another app, to the portal, without a click.
func TestDeviceInChromium(t *testing.T) {
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
	for _, site := range []string{"app", "must", "plain"} {
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
