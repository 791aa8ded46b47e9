package browser_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/agent/browser"
)

// identity makes a key and a certificate whose subject has the given serial number.
func identity(t *testing.T, serial int64) (*ecdsa.PrivateKey, []*x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	number := big.NewInt(serial)
	template := &x509.Certificate{
		SerialNumber: number, Subject: pkix.Name{CommonName: "Laptop", SerialNumber: number.String()},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, []*x509.Certificate{certificate}
}

// TestDatabase installs a certificate twice, and its successor beside it, and removes
// the first one.
func TestDatabase(t *testing.T) {
	if _, err := exec.LookPath("certutil"); err != nil {
		t.Fatal("certutil is missing: install libnss3-tools")
	}
	home := t.TempDir()
	found := browser.Databases(home)
	if want := filepath.Join(home, ".pki/nssdb"); len(found) != 1 || found[0].Name() != want {
		t.Fatalf("the databases are %v, want %s", found, want)
	}
	database := found[0]
	var first []*x509.Certificate
	for _, serial := range []int64{101, 102} {
		key, chain := identity(t, serial)
		for range 2 {
			if err := database.Install(t.Context(), key, chain); err != nil {
				t.Fatal(err)
			}
		}
		if serial == 101 {
			first = chain
		}
	}
	if got := listed(t, database); got != 2 {
		t.Errorf("%d certificates are there, want 2", got)
	}
	for range 2 {
		if err := database.Remove(t.Context(), first); err != nil {
			t.Fatal(err)
		}
	}
	if got := listed(t, database); got != 1 {
		t.Errorf("%d certificates are left, want 1", got)
	}
}

// listed counts the certificates with a key.
func listed(t *testing.T, database browser.NSS) int {
	output, err := exec.Command("certutil", "-L", "-d", "sql:"+database.Name()).Output()
	if err != nil {
		t.Error(err)
	}
	return strings.Count(string(output), "u,u,u")
}

func TestFiles(t *testing.T) {
	files := browser.Files(filepath.Join(t.TempDir(), "out"))
	key, chain := identity(t, 1)
	newKey, newer := identity(t, 2)
	for _, err := range []error{
		files.Install(t.Context(), key, chain), files.Install(t.Context(), newKey, newer), files.Remove(t.Context(), chain),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"key.pem", "certificate.pem"} {
		info, err := os.Stat(filepath.Join(string(files), name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if err := files.Remove(t.Context(), newer); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(string(files)); err != nil || len(left) != 0 {
		t.Errorf("left: %v (%v)", left, err)
	}
}

// TestPoliciesOfOthersStay has another file set the same policy, and a Firefox profile
// whose user has decided.
func TestPoliciesOfOthersStay(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "managed")
	selection := browser.Selection{Sites: "https://[*.]example.com", Issuer: "Devices"}
	if err := browser.WritePolicy(folder, selection); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(folder, "mfa-agent.json"))
	if err != nil || !strings.Contains(string(content), "AutoSelectCertificateForUrls") || !strings.Contains(string(content), "Devices") {
		t.Errorf("the policy is %s (%v)", content, err)
	}
	if err := os.WriteFile(filepath.Join(folder, "ours.json"), []byte(`{"AutoSelectCertificateForUrls": []}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := browser.WritePolicy(folder, selection); err == nil || !strings.Contains(err.Error(), "ours.json") {
		t.Errorf("beside another file: %v", err)
	}
	profile := t.TempDir()
	const decided = `user_pref("security.default_personal_cert", "Ask Every Time");`
	for name, content := range map[string]string{"prefs.js": "", "user.js": decided} {
		if err := os.WriteFile(filepath.Join(profile, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := browser.NSS(profile).WriteSetting(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(profile, "user.js")); err != nil || string(got) != decided {
		t.Errorf("user.js is %s (%v)", got, err)
	}
}
