package test

import (
	"crypto/tls"
	"crypto/x509"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

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
	// What is weak is for the server to refuse.
	write(t, at("openssl.cnf"), []byte("openssl_conf = all\n[all]\nssl_conf = tls\n[tls]\nsystem_default = weak\n[weak]\nCipherString = DEFAULT@SECLEVEL=0\n"))
	curl := func(certificate, key string, more ...string) string {
		t.Helper()
		arguments := append([]string{
			"--silent", "--cacert", filepath.Join(s.DataDir(), "pki", "authorities", "local", "root.crt"),
			"--cert", at(certificate), "--key", at(key), "--write-out", "\n%{http_code} HTTP/%{http_version}", s.At("app", "/page"),
		}, more...)
		cmd := exec.CommandContext(t.Context(), "curl", arguments...)
		cmd.Env = append(cmd.Environ(), "OPENSSL_CONF="+at("openssl.cnf"))
		output, err := cmd.CombinedOutput()
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
	}
	s.App.Reset()
	for _, bad := range s.allBad(t) {
		writePair(t, bad.certificate, at("bad.pem"), at("bad.key"))
		for version, flag := range map[string]string{"HTTP/1.1": "--http1.1", "HTTP/2": "--http2"} {
			if got := curl("bad.pem", "bad.key", flag); !strings.HasSuffix(got, "401 "+version) || !strings.Contains(got, bad.text) {
				t.Errorf("C01 %s: %s", bad.name, got)
			}
		}
	}
	s.CLI("mfa", "user", "disable", "bob")
	if got := curl("chain.pem", "key.pem"); !strings.Contains(got, "\n401 ") || !strings.Contains(got, "can't be used") {
		t.Errorf("C02 of somebody who is disabled: %s", got)
	}
	s.CLI("mfa", "user", "enable", "bob")
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
