package test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// issuingCaddyfile issues to devices, and trusts a CA in a file besides.
const issuingCaddyfile = `
{
	skip_install_trust
	pki {
		ca devices {
			name "Devices"
			intermediate_lifetime 365d
		}
	}
	mfa {
		portal http://login.localhost:{{.Port "web"}}
		admins group admins
		certificate {
			ca devices
			lifetime 30d
			trust_pool file {{.Vars.folder}}/own.pem
			map email
		}
	}
}

http://login.localhost:{{.Port "web"}} {
	mfa_portal
}

http://app.localhost:{{.Port "web"}} {
	mfa
	reverse_proxy {{.Vars.app}}
}
`

// shownDevice is a device as the commands' --json has it.
type shownDevice struct {
	ID, User, Name, Serial, SHA256, Status, Reason string
	Issued, Expires                                time.Time
}

// issuedDevice is what `device issue --json` prints.
type issuedDevice struct {
	Device                shownDevice
	Chain, File, Password string
}

// certificateIn returns the first certificate of a text.
func certificateIn(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatalf("no certificate in %q", text)
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// openssl runs it in a folder and returns all that it says.
func openssl(t *testing.T, folder string, arguments ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "openssl", arguments...)
	command.Dir = folder
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(arguments, " "), err, out)
	}
	return string(out)
}

// TestDeviceCommands issues, looks after and revokes devices, by commands and by
// the account page.
func TestDeviceCommands(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("NOT TESTED: openssl, the independent maker and reader, is not installed (Debian package openssl)")
	}
	folder := t.TempDir()
	openssl(t, folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=Own CA", "-keyout", "own.key", "-out", "own.pem", "-days", "2")
	s := scene.Start(t, scene.Options{Settled: 2, Caddyfile: issuingCaddyfile, Vars: map[string]string{"folder": folder}})
	ada := s.Administrator("ada")
	s.Invited("bob")
	at := func(name string) string { return filepath.Join(folder, name) }
	root := filepath.Join(s.DataDir(), "pki", "authorities", "devices", "root.crt")
	issue := func(t *testing.T, arguments ...string) issuedDevice {
		t.Helper()
		return decoded[issuedDevice](t, expectDone(t, s, append([]string{"mfa", "device", "issue", "--json"}, arguments...)...))
	}

	newRequest := func(name string) string {
		t.Helper()
		openssl(t, folder, "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=bob", "-keyout", name+".key", "-out", name+".csr")
		return at(name + ".csr")
	}

	if out := expectDone(t, s, "mfa", "device", "list"); out.Stdout != "No devices.\n" {
		t.Errorf("none there: %q", out.Stdout)
	}
	t.Run("C03 a request decides nothing but the key", func(t *testing.T) {
		openssl(t, folder, "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=bob/O=Admins", "-keyout", "greedy.key", "-out", "greedy.csr", "-days", "9999",
			"-addext", "basicConstraints=critical,CA:TRUE", "-addext", "extendedKeyUsage=serverAuth,anyExtendedKeyUsage", "-addext", "subjectAltName=email:bob@example.com,DNS:login.localhost")
		out := expectDone(t, s, "mfa", "device", "issue", "ada", "Laptop", "--csr", at("greedy.csr"))
		write(t, at("greedy.pem"), []byte(out.Stdout))
		leaf := certificateIn(t, out.Stdout)
		if leaf.Subject.String() != "SERIALNUMBER="+leaf.Subject.SerialNumber+",CN=Laptop" || leaf.IsCA || len(leaf.EmailAddresses)+len(leaf.DNSNames) > 0 || time.Until(leaf.NotAfter) > 30*24*time.Hour {
			t.Errorf("the request decided: %+v", leaf)
		}
		if said := openssl(t, folder, "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", root, "-untrusted", "greedy.pem", "greedy.pem"); !strings.Contains(said, "OK") {
			t.Error(said)
		}
		if out := s.CLI("mfa", "device", "issue", "ada", "Another", "--csr", at("greedy.csr")); out.Code == 0 || !strings.Contains(out.Stderr, "Another device has that key") {
			t.Errorf("one key for two devices: %+v", out)
		}
		fromInput := s.CLIWithInput(string(read(t, newRequest("second"))), "mfa", "device", "issue", "ada", "Laptop", "--csr", "-")
		if fromInput.Code != 0 || certificateIn(t, fromInput.Stdout).SerialNumber.Cmp(leaf.SerialNumber) == 0 {
			t.Errorf("from the standard input: %+v", fromInput)
		}
	})
	t.Run("C03 requests that are refused", func(t *testing.T) {
		openssl(t, folder, "req", "-new", "-newkey", "rsa:1024", "-nodes", "-subj", "/CN=x", "-keyout", "weak.key", "-out", "weak.csr")
		openssl(t, folder, "req", "-new", "-key", "greedy.key", "-subj", "/CN=x", "-sha1", "-out", "sha1.csr")
		write(t, at("garbage.csr"), []byte("garbage"))
		for file, says := range map[string]string{
			"weak.csr": "its key can't be used", "sha1.csr": "signature", "garbage.csr": "this is none", "missing.csr": "no such file", "own.pem": "this is none",
		} {
			if out := s.CLI("mfa", "device", "issue", "ada", "Laptop", "--csr", at(file)); out.Code == 0 || out.Stdout != "" || !strings.Contains(out.Stderr, says) {
				t.Errorf("%s: %+v", file, out)
			}
		}
	})

	var tablet shownDevice
	t.Run("a bundle", func(t *testing.T) {
		out := expectDone(t, s, "mfa", "device", "issue", "ADA", "Ada's tablet", "--out", at("tablet.p12"))
		told := regexp.MustCompile(`(?m)^Password: ([0-9A-Z-]{19})$`).FindStringSubmatch(out.Stdout)
		if told == nil {
			t.Fatalf("said %q", out.Stdout)
		}
		s.Canary(told[1])
		info, err := os.Stat(at("tablet.p12"))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		inside := openssl(t, folder, "pkcs12", "-in", "tablet.p12", "-passin", "pass:"+told[1], "-nodes")
		if strings.Count(inside, "BEGIN CERTIFICATE") != 2 || strings.Count(inside, "BEGIN PRIVATE KEY") != 1 {
			t.Errorf("inside: %s", inside)
		}
		write(t, at("tablet.pem"), []byte(inside))
		openssl(t, folder, "verify", "-purpose", "sslclient", "-CAfile", root, "-untrusted", "tablet.pem", "tablet.pem")
		before := read(t, at("tablet.p12"))
		if out := s.CLI("mfa", "device", "issue", "ada", "x", "--out", at("tablet.p12")); out.Code == 0 || !strings.Contains(out.Stderr, "already exists and won't be overwritten") || !bytes.Equal(read(t, at("tablet.p12")), before) {
			t.Errorf("over a file that is there: %+v", out)
		}
		devices := decoded[[]shownDevice](t, expectDone(t, s, "mfa", "device", "list", "ada", "--json"))
		if len(devices) != 3 || devices[0].Name != "Ada's tablet" || devices[0].Status != "valid" || devices[0].User != "ada" {
			t.Fatalf("listed %+v", devices)
		}
		tablet = devices[0]
		if fingerprint := openssl(t, folder, "x509", "-in", "tablet.pem", "-noout", "-fingerprint", "-sha256", "-serial"); !strings.Contains(strings.ToLower(strings.ReplaceAll(fingerprint, ":", "")), tablet.SHA256) ||
			!strings.Contains(strings.ToLower(fingerprint), tablet.Serial) {
			t.Errorf("%+v isn't %s", tablet, fingerprint)
		}
	})
	t.Run("a bundle for old systems, with a password of one's own", func(t *testing.T) {
		write(t, at("password"), []byte("tr0ub4dor & 3\n"))
		issued := issue(t, "bob", "Phone", "--out", at("phone.p12"), "--password-file", at("password"), "--legacy")
		if issued.Password != "" || issued.File != at("phone.p12") || issued.Device.User != "bob" {
			t.Errorf("%+v", issued)
		}
		openssl(t, folder, "pkcs12", "-legacy", "-in", "phone.p12", "-passin", "pass:tr0ub4dor & 3", "-nodes")
		write(t, at("password"), []byte("\n"))
		if out := s.CLI("mfa", "device", "issue", "bob", "Phone", "--out", at("second.p12"), "--password-file", at("password")); out.Code == 0 || !strings.Contains(out.Stderr, "no password") {
			t.Errorf("an empty password: %+v", out)
		}
	})
	t.Run("show and rename", func(t *testing.T) {
		expectDone(t, s, "mfa", "device", "rename", tablet.ID, "Old tablet")
		shown := decoded[shownDevice](t, expectDone(t, s, "mfa", "device", "show", tablet.ID, "--json"))
		if shown.Name != "Old tablet" || shown.Serial != tablet.Serial {
			t.Errorf("%+v", shown)
		}
		if out := expectDone(t, s, "mfa", "device", "show", tablet.ID); !regexp.MustCompile(`(?m)^Name: +Old tablet$`).MatchString(out.Stdout) || !strings.Contains(out.Stdout, tablet.SHA256) {
			t.Errorf("%s", out.Stdout)
		}
	})
	t.Run("revoke", func(t *testing.T) {
		if out := expectDone(t, s, "mfa", "device", "revoke", tablet.ID, "--reason", "key_compromise"); out.Stdout != "Revoked: Old tablet, serial "+tablet.Serial+".\n" {
			t.Errorf("said %q", out.Stdout)
		}
		if shown := decoded[shownDevice](t, expectDone(t, s, "mfa", "device", "show", tablet.ID, "--json")); shown.Status != "revoked" || shown.Reason != "key_compromise" {
			t.Errorf("%+v", shown)
		}
		list := s.Client().Get(s.At("login", "/.well-known/mfa/devices.crl"))
		if list.Status != http.StatusOK || list.Header.Get("Content-Type") != "application/pkix-crl" {
			t.Fatalf("the list: %d %v", list.Status, list.Header)
		}
		write(t, at("devices.crl"), []byte(list.Body))
		said := openssl(t, folder, "crl", "-inform", "DER", "-in", "devices.crl", "-CAfile", filepath.Join(s.DataDir(), "pki", "authorities", "devices", "intermediate.crt"), "-noout", "-text")
		if !strings.Contains(said, "verify OK") || strings.Count(said, "Serial Number") != 1 || !strings.Contains(strings.ToLower(said), tablet.Serial) || !strings.Contains(said, "Key Compromise") {
			t.Errorf("openssl reads %s", said)
		}
		s.AwaitLog("the revocation", func(e harness.LogEntry) bool {
			return e.Text("msg") == "device.revoked" && e.Text("serial") == tablet.Serial && e.Text("by") == "administrator"
		})
	})
	t.Run("on the account page", func(t *testing.T) {
		const devices = "/account/devices"
		page := ada.Browser.Visit(s.At("login", devices))
		says(t, page, http.StatusOK, "Laptop", "Serial number")
		keepsQuiet(t, page, "Old tablet", "Phone")
		page = ada.Browser.Click(page.Link("Revoke Laptop"))
		says(t, page, http.StatusOK, "Revoke Laptop", "Its certificate stops working immediately")
		page = submitted(ada.Browser, formTo(t, page, devices+"/revoke"), nil)
		says(t, page, http.StatusOK, "Revoked.")
		if left := len(page.Forms()); page.URL.Path != devices || strings.Count(page.Text(), "Serial number") != 1 {
			t.Errorf("%s has %d forms: %s", page.URL, left, page.Text())
		}
	})
	t.Run("W03 somebody else's on the account page", func(t *testing.T) {
		page := ada.Browser.Visit(s.At("login", "/account/devices"))
		confirm := ada.Browser.Click(page.Link("Revoke Laptop"))
		form := formTo(t, confirm, "/account/devices/revoke")
		bob := decoded[[]shownDevice](t, expectDone(t, s, "mfa", "device", "list", "bob", "--json"))[0]
		says(t, submitted(ada.Browser, form, map[string]string{"id": bob.ID}), http.StatusNotFound)
		if bob := decoded[shownDevice](t, expectDone(t, s, "mfa", "device", "show", bob.ID, "--json")); bob.Status != "valid" {
			t.Errorf("%+v", bob)
		}
	})
	t.Run("mistakes are told in plain sentences", func(t *testing.T) {
		for arguments, says := range map[string]string{
			"issue nemo x --csr " + at("greedy.csr"): "no user has this name",
			"issue ada x":                            "give --csr or --out",
			"issue ada x --csr a --out b":            "--csr and --out can't be given together",
			"issue ada x --csr a --legacy":           "--csr and --legacy can't be given together",
			"issue ada " + strings.Repeat("x", 65) + " --csr " + at("greedy.csr"): "at most 64 characters",
			"show 0123456789ab":     "no device has this ID",
			"revoke 0123456789ab":   "no device has this ID",
			"revoke " + tablet.ID:   "the device has already been revoked",
			"rename 0123456789ab x": "no device has this ID",
			"list nemo":             "no user has this name",
			"list a b":              "write caddy mfa device list [USER]",
		} {
			if out := s.CLI(append([]string{"mfa", "device"}, strings.Fields(arguments)...)...); out.Code == 0 || !strings.Contains(out.Stderr, says) {
				t.Errorf("%s: %+v", arguments, out)
			}
		}
		bob := decoded[[]shownDevice](t, expectDone(t, s, "mfa", "device", "list", "bob", "--json"))[0]
		if out := s.CLI("mfa", "device", "revoke", bob.ID, "--reason", "whim"); out.Code == 0 || !strings.Contains(out.Stderr, "There is no such reason.") {
			t.Errorf("%+v", out)
		}
		expectDone(t, s, "mfa", "user", "disable", "bob")
		if out := s.CLI("mfa", "device", "issue", "bob", "x", "--csr", at("greedy.csr")); out.Code == 0 || !strings.Contains(out.Stderr, "enable them first") {
			t.Errorf("%+v", out)
		}
		expectDone(t, s, "mfa", "user", "delete", "bob")
		if out := s.CLI("mfa", "device", "show", bob.ID); out.Code == 0 || !strings.Contains(out.Stderr, "no device has this ID") {
			t.Errorf("of somebody deleted: %+v", out)
		}
	})
	t.Run("C05 a CA that breaks is refused at reload", func(t *testing.T) {
		good := read(t, at("own.pem"))
		for name, spoil := range map[string]func(){
			"garbage": func() { write(t, at("own.pem"), []byte("garbage")) },
			"missing": func() {
				if err := os.Remove(at("own.pem")); err != nil {
					t.Fatal(err)
				}
			},
		} {
			spoil()
			if refusal := s.MustRefuseReload(issuingCaddyfile); !strings.Contains(refusal, "trust_pool") {
				t.Errorf("%s: %s", name, refusal)
			}
			issue(t, "ada", "Beside "+name, "--csr", newRequest(name))
		}
		if refusal := s.MustRefuseRestart(); !strings.Contains(refusal, "trust_pool") {
			t.Errorf("at the start: %s", refusal)
		}
		write(t, at("own.pem"), good)
		s.Restart()
		if devices := decoded[[]shownDevice](t, expectDone(t, s, "mfa", "device", "list", "--json")); len(devices) != 5 {
			t.Errorf("kept %d", len(devices))
		}
	})
}
