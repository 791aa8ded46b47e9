package test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// listedCaddyfile trusts an operator's CA that publishes revocation lists. One
// site asks for certificates itself, the other leaves that to the portal.
const listedCaddyfile = `
{
	auto_https disable_redirects
	mfa {
		portal https://login.localhost:{{.Port "web"}}
		admins group admins
		certificate {
			trust_pool file {{.Vars.ca}}
			map subject CN
			crl {{.Vars.crl}}
		}
	}
}

(asking) {
	tls internal {
		client_auth {
			mode request
		}
	}
}

https://login.localhost:{{.Port "web"}} {
	import asking
	mfa_portal
}

https://app.localhost:{{.Port "web"}} {
	import asking
	mfa
	reverse_proxy {{.Vars.app}}
}

https://plain.localhost:{{.Port "web"}} {
	tls internal
	mfa {
		certificate accept
	}
	reverse_proxy {{.Vars.app}}
}
`

// publish puts the CA's list of what it took back in place of the one before.
func (c *certifier) publish(path string, revoked ...tls.Certificate) {
	c.t.Helper()
	template := &x509.RevocationList{Number: big.NewInt(time.Now().UnixNano()), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}
	for _, one := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: one.Leaf.SerialNumber, RevocationTime: time.Now()})
	}
	list, err := x509.CreateRevocationList(rand.Reader, template, c.certificate, c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	writePEM(c.t, path+".new", "X509 CRL", list)
	if err := os.Rename(path+".new", path); err != nil {
		c.t.Fatal(err)
	}
}

// TestC02OperatorsRevocationLists has the operator's CA take a certificate back:
// what is open ends, and what the portal opened by it, and nothing more passes.
func TestC02OperatorsRevocationLists(t *testing.T) {
	t.Parallel()
	ca := newCertifier(t, "Company CA")
	folder := t.TempDir()
	file, list := filepath.Join(folder, "ca.pem"), filepath.Join(folder, "ca.crl")
	writePEM(t, file, "CERTIFICATE", ca.certificate.Raw)
	ca.publish(list)
	s := scene.Start(t, scene.Options{Settled: 2, Caddyfile: listedCaddyfile, Scheme: "https", Vars: map[string]string{"ca": file, "crl": list}})
	s.Administrator("alice")
	s.Invited("bob")
	lost, kept := ca.device("bob", nil), ca.device("bob", nil)

	byPortal := map[string]*harness.Client{"lost": s.Client().Showing(lost), "kept": s.Client().Showing(kept)}
	for name, browser := range byPortal {
		if page := browser.Visit(s.At("plain", "/")); page.Status != 200 {
			t.Fatalf("%s: %d %s", name, page.Status, page.Text())
		}
	}
	streamOf := func(certificate tls.Certificate) *harness.Live {
		return s.Client().Showing(certificate).Download(t, harness.Request{
			URL: s.At("app", "/events/x"), Mode: harness.Fetch, From: s.At("app", "/"), Header: http.Header{"Accept": {"text/event-stream"}},
		})
	}
	ending, going := streamOf(lost), streamOf(kept)
	ca.publish(list, lost)
	harness.Eventually(t, 10*time.Second, "the stream to end", ending.Ended)
	harness.Eventually(t, 10*time.Second, "the session of the portal to end", func() bool {
		// What is under way when it ends is cut short.
		page, err := byPortal["lost"].Send(harness.Request{URL: s.At("plain", "/")})
		return err == nil && page.Status != 200
	})
	s.App.Reset()
	if page := s.Client().Showing(lost).Visit(s.At("app", "/")); page.Status != 401 {
		t.Errorf("a new connection: %d %s", page.Status, page.Text())
	}
	s.App.ExpectNone(t)
	if page := byPortal["kept"].Get(s.At("plain", "/")); page.Status != 200 || going.Ended() {
		t.Errorf("another device: %d, ended %t", page.Status, going.Ended())
	}
	t.Run("C05 an unsigned list", func(t *testing.T) {
		s.App.Reset()
		fileIsInForce := func(want string) func() bool {
			return func() bool {
				told, err := s.AdminGet("/metrics")
				return err == nil && strings.Contains(told, `caddy_mfa_file_last_read_successful{file="crl"} `+want+"\n")
			}
		}
		newCertifier(t, "Company CA").publish(list)
		harness.Eventually(t, 10*time.Second, "the metric to tell of it", fileIsInForce("0"))
		if !strings.Contains(s.Log(), "isn't signed by that CA") {
			t.Error("the log says nothing of it")
		}
		if page := s.Client().Showing(lost).Visit(s.At("app", "/")); page.Status != 401 {
			t.Errorf("the certificate that was taken back: %d %s", page.Status, page.Text())
		}
		s.App.ExpectNone(t)
		ca.publish(list)
		harness.Eventually(t, 10*time.Second, "the metric to tell of the next list", fileIsInForce("1"))
		if page := s.Client().Showing(lost).Visit(s.At("app", "/")); page.Status != 200 {
			t.Errorf("the certificate that is good again: %d %s", page.Status, page.Text())
		}
	})
	t.Run("a name that is somebody else's now", func(t *testing.T) {
		never := ca.device("bob", nil) // shown by nobody yet
		expectDone(t, s, "mfa", "user", "delete", "bob")
		s.Invited("bob")
		s.App.Reset()
		page := s.Client().Showing(never).Visit(s.At("app", "/"))
		if page.Status != 401 || !strings.Contains(page.Text(), "The device needs a new one.") {
			t.Errorf("the certificate of the one before: %d %s", page.Status, page.Text())
		}
		s.App.ExpectNone(t)
		expectAudited(t, s, 1, "device.refused", "bob", map[string]string{"reason": "former_holder"})
		harness.Eventually(t, 10*time.Second, "a new certificate to be let in", func() bool {
			fresh := ca.device("bob", func(c *x509.Certificate) { c.NotBefore = time.Now() })
			return s.Client().Showing(fresh).Visit(s.At("app", "/")).Status == 200
		})
	})
}
