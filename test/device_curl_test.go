package test

import (
	"crypto/tls"
	"crypto/x509"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
)

// byCurl has openssl make the key and the request, the command the certificate,
// and curl show it.
func (s *deviceSuite) byCurl(t *testing.T) {
	harness.Need(t, "curl", "openssl")
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	openssl(t, folder, "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "key.pem", "-out", "csr.pem", "-subj", "/CN=whoever")
	issued := s.CLI("mfa", "device", "issue", "bob", "bob-curl", "--csr", at("csr.pem"))
	write(t, at("chain.pem"), []byte(issued.Stdout))
	old := s.ca.device("bob", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	writePair(t, old, at("old.pem"), at("old.key"))

	curl := func(certificate, key string, more ...string) string {
		t.Helper()
		arguments := append([]string{
			"--silent", "--cacert", filepath.Join(s.DataDir(), "pki", "authorities", "local", "root.crt"),
			"--cert", at(certificate), "--key", at(key), "--write-out", "\n%{http_code} HTTP/%{http_version}", s.At("app", "/page"),
		}, more...)
		output, err := exec.CommandContext(t.Context(), "curl", arguments...).CombinedOutput()
		if err != nil {
			t.Fatalf("curl %q: %v\n%s", arguments, err, output)
		}
		return string(output)
	}
	for version, flag := range map[string]string{"HTTP/1.1": "--http1.1", "HTTP/2": "--http2"} {
		s.App.Reset()
		if got := curl("chain.pem", "key.pem", flag); !strings.HasSuffix(got, "200 "+version) {
			t.Errorf("a good one: %s", got)
		}
		if user := s.App.ExpectOne(t).Header.Get("Remote-User"); user != "bob" {
			t.Errorf("the app took it for %q", user)
		}
		s.App.Reset()
		if got := curl("old.pem", "old.key", flag); !strings.HasSuffix(got, "401 "+version) || !strings.Contains(got, "has expired") {
			t.Errorf("C01 an expired one: %s", got)
		}
		s.App.ExpectNone(t)
	}
	s.revoke(t, s.idOf(t, "bob", "bob-curl"))
	if got := curl("chain.pem", "key.pem"); !strings.Contains(got, "revoked") || !strings.Contains(got, "\n401 ") {
		t.Errorf("C02 a revoked one: %s", got)
	}
	s.App.ExpectNone(t)
}

// writePair writes a certificate and its key as PEM.
func writePair(t *testing.T, pair tls.Certificate, certificate, key string) {
	t.Helper()
	raw, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, certificate, "CERTIFICATE", pair.Certificate[0])
	writePEM(t, key, "PRIVATE KEY", raw)
}
