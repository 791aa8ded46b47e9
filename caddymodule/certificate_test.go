package caddymodule

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

// ownCA is a CA of an operator's, with files for the tests to name.
type ownCA struct {
	folder      string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newOwnCA(t *testing.T) ownCA {
	t.Helper()
	ca := ownCA{folder: t.TempDir()}
	ca.certificate, ca.key = ca.made(t)
	for name, content := range map[string][]byte{
		"ca.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.certificate.Raw}),
		"ca.crl": ca.list(t, ca.key), "garbage": []byte("garbage"), "empty": nil,
	} {
		ca.write(t, name, content)
	}
	_, stranger := ca.made(t)
	ca.write(t, "forged.crl", ca.list(t, stranger))
	return ca
}

func (ca ownCA) write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(ca.path(name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (ca ownCA) path(name string) string { return filepath.Join(ca.folder, name) }

func (ownCA) made(t *testing.T) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Own CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, key
}

// list makes a revocation list in the CA's name, which names certificates by
// their numbers.
func (ca ownCA) list(t *testing.T, key *ecdsa.PrivateKey, revoked ...int64) []byte {
	t.Helper()
	var entries []x509.RevocationListEntry
	for _, serial := range revoked {
		entries = append(entries, x509.RevocationListEntry{SerialNumber: big.NewInt(serial), RevocationTime: time.Now()})
	}
	named := *ca.certificate
	named.PublicKey = key.Public()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour),
		RevokedCertificateEntries: entries,
	}, &named, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// withCertificate provisions the settings, with CAs of Caddy's own if given.
func withCertificate(t *testing.T, settings, cas string, then func(app *App) error) error {
	t.Helper()
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	pki := ""
	if cas != "" {
		pki = `, "pki": {"certificate_authorities": ` + cas + `}`
	}
	app := `{"portal": "https://login.example.com", "certificate": ` + settings + `}`
	return provisioned(t, []byte(`{"apps": {"mfa": `+app+`, "http": `+portalSite(app)+pki+`}}`), then)
}

func TestDeviceCA(t *testing.T) {
	for name, test := range map[string]struct {
		settings, cas string
		want          time.Duration
	}{
		"as long as asked":      {`{"ca": "devices", "lifetime": "30d"}`, `{"devices": {"intermediate_lifetime": "365d", "install_trust": false}}`, 30 * 24 * time.Hour},
		"by default":            {`{"ca": "devices"}`, `{"devices": {"intermediate_lifetime": "365d"}}`, 90 * 24 * time.Hour},
		"as long as the CA can": {`{"ca": "devices"}`, `{"devices": {}}`, 7 * 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			err := withCertificate(t, test.settings, test.cas, func(app *App) error {
				if app.issuer() == nil || len(app.trust()) != 1 || !app.trust()[0].HeldHere() {
					t.Fatalf("issuer %v, trust %v", app.issuer(), app.trust())
				}
				request, err := x509.CreateCertificateRequest(rand.Reader, new(x509.CertificateRequest), newOwnCA(t).key)
				if err != nil {
					return err
				}
				device, chain, err := app.issuer().Issue(store.Device{ID: "d1", UserID: "u1", Name: "Laptop"}, request)
				if err != nil {
					return err
				}
				if left := time.Until(device.Expires); left > test.want || left < test.want-time.Hour {
					t.Errorf("issued for %s", left)
				}
				between := x509.NewCertPool()
				for _, certificate := range app.trust()[0].Intermediates() {
					between.AddCert(certificate)
				}
				_, err = chain[0].Verify(x509.VerifyOptions{
					Roots: app.trust()[0].Anchors(), Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
				})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestOperatorsCA(t *testing.T) {
	ca := newOwnCA(t)
	settings := `{"trust_pool": {"provider": "file", "pem_files": ["` + ca.path("ca.pem") + `"]}, "map": ["upn", "email"], "crl": "` + ca.path("ca.crl") + `"}`
	err := withCertificate(t, settings, "", func(app *App) error {
		if app.issuer() != nil || app.revocationList(nil) != nil {
			t.Error("certificates are issued")
		}
		trust := app.trust()
		if len(trust) != 1 || trust[0].HeldHere() || len(trust[0].Owners) != 2 || trust[0].Revocations == nil {
			t.Fatalf("trust %+v", trust)
		}
		pool := x509.NewCertPool()
		pool.AddCert(ca.certificate)
		if !trust[0].Anchors().Equal(pool) {
			t.Error("other anchors than the operator's")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestWithdrawnDevices looks for devices in the operator's revocation lists.
func TestWithdrawnDevices(t *testing.T) {
	ca := newOwnCA(t)
	ca.write(t, "ca.crl", ca.list(t, ca.key, 42))
	settings := `{"trust_pool": {"provider": "file", "pem_files": ["` + ca.path("ca.pem") + `"]}, "map": ["email"], "crl": "` + ca.path("ca.crl") + `"}`
	const own = "CN=Own CA"
	err := withCertificate(t, settings, "", func(app *App) error {
		for _, test := range []struct {
			device store.Device
			want   bool
		}{
			{store.Device{Serial: "2b", Issuer: own}, false},
			{store.Device{Serial: "2a", Issuer: own}, true},
			{store.Device{Serial: "2a"}, false},
			{store.Device{Serial: "2a", Issuer: "CN=Another CA"}, false},
		} {
			if got := app.isWithdrawn(test.device); got != test.want {
				t.Errorf("%+v: %t", test.device, got)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestNoCA(t *testing.T) {
	err := withApp(t, `{"portal": "https://login.example.com"}`, func(app *App) error {
		if app.issuer() != nil || app.trust() != nil || app.revocationList(nil) != nil {
			t.Error("devices count without a CA")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestC05CAsThatAreRefused wants a CA that isn't there, or isn't one, to stop
// the load.
func TestC05CAsThatAreRefused(t *testing.T) {
	ca := newOwnCA(t)
	pool := func(files, more string) string {
		return `{"trust_pool": {"provider": "file", "pem_files": [` + files + `]}, "map": ["email"]` + more + `}`
	}
	quoted := func(name string) string {
		text, err := json.Marshal(ca.path(name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	const cas = `{"devices": {"intermediate_lifetime": "365d"}}`
	for name, test := range map[string]struct{ settings, cas, want string }{
		"nothing":                   {`{}`, cas, "names no CA"},
		"a CA that isn't there":     {`{"ca": "machines"}`, cas, "ca machines: there is no such CA"},
		"no pki at all":             {`{"ca": "devices"}`, "", "ca devices: there is no such CA"},
		"the CA of sites":           {`{"ca": "local"}`, `{"local": {}}`, "a separate CA"},
		"a lifetime alone":          {pool(quoted("ca.pem"), `, "lifetime": "1d"`), "", "add ca NAME"},
		"a lifetime too short":      {`{"ca": "devices", "lifetime": "59m"}`, cas, "1h or more"},
		"a lifetime below none":     {`{"ca": "devices", "lifetime": -1}`, cas, "1h or more"},
		"a lifetime above the CA's": {`{"ca": "devices", "lifetime": "30d"}`, `{"devices": {}}`, "last 7d"},
		"a pool without a map":      {`{"trust_pool": {"provider": "file", "pem_files": [` + quoted("ca.pem") + `]}}`, "", "trust_pool needs map"},
		"a map without a pool":      {`{"ca": "devices", "map": ["email"]}`, cas, "add trust_pool"},
		"a list without a pool":     {`{"ca": "devices", "crl": "ca.crl"}`, cas, "add trust_pool"},
		"a map that is none":        {`{"trust_pool": {"provider": "file", "pem_files": [` + quoted("ca.pem") + `]}, "map": ["mail"]}`, "", "write email, upn or subject"},
		"a file that isn't there":   {pool(quoted("missing"), ""), "", "missing"},
		"a file that is a folder":   {pool(quoted("."), ""), "", "trust_pool"},
		"garbage":                   {pool(quoted("garbage"), ""), "", "no CA certificate in it"},
		"an empty file":             {pool(quoted("empty"), ""), "", "no CA certificate in it"},
		"no file":                   {pool("", ""), "", "no CA certificate in it"},
		"the roots of the system":   {`{"trust_pool": {"provider": "system"}, "map": ["email"]}`, "", "any public CA"},
		"an unknown kind":           {`{"trust_pool": {"provider": "folder"}, "map": ["email"]}`, "", "trust_pool"},
		"a list that isn't there":   {pool(quoted("ca.pem"), `, "crl": `+quoted("missing")), "", "crl:"},
		"a list of garbage":         {pool(quoted("ca.pem"), `, "crl": `+quoted("garbage")), "", "a revocation list"},
		"a list of a stranger":      {pool(quoted("ca.pem"), `, "crl": `+quoted("forged.crl")), "", "isn't signed by that CA"},
		"a list that is no list":    {pool(quoted("ca.pem"), `, "crl": `+quoted("ca.pem")), "", "where revocation lists belong"},
		"an unknown placeholder":    {pool(quoted("ca.pem"), `, "crl": "{env.NOWHERE_AT_ALL}"`), "", "crl"},
	} {
		t.Run(name, func(t *testing.T) {
			err := withCertificate(t, test.settings, test.cas, func(*App) error { return nil })
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// TestCertificatesThatNobodyAsksFor has gates rely on certificates where TLS
// asks for some, at the site or at the portal, and where it doesn't.
func TestCertificatesThatNobodyAsksFor(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	ca := newOwnCA(t)
	const asking = "tls internal {\nclient_auth {\nmode request\n}\n}"
	const neither = "site wiki.example.com: certificate accept: neither this site's TLS nor the portal's asks"
	const site = "TLS doesn't ask for certificates at wiki.example.com"
	for _, test := range []struct{ portal, site, mode, want string }{
		{"", "", "", ""},
		{"", "", "off", ""},
		{"", "", "accept", neither},
		{asking, "", "accept", ""},
		{"", asking, "accept", ""},
		{asking, "", "require", site},
		{asking, "", "and password", site},
		{"", asking, "require", ""},
	} {
		mode := ""
		if test.mode != "" {
			mode = "certificate " + test.mode
		}
		_, err := arranged(t, fmt.Sprintf(`{
	mfa {
		portal https://login.example.com
		certificate {
			trust_pool file %q
			map email
		}
	}
}
login.example.com {
	%s
	mfa_portal
}
wiki.example.com {
	%s
	mfa {
		%s
	}
	reverse_proxy localhost:3000
}
`, ca.path("ca.pem"), test.portal, test.site, mode))
		if got := fmt.Sprint(err); (err == nil) != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// rows are devices, counted as they are read.
type rows struct {
	reads   int
	failure error
}

func (r *rows) RevokedCertificates(context.Context, time.Time) ([]store.Device, error) {
	r.reads++
	return nil, r.failure
}

// TestRevocationListIsMadeOnce asks as often as anybody can.
func TestRevocationListIsMadeOnce(t *testing.T) {
	err := withCertificate(t, `{"ca": "devices"}`, `{"devices": {"intermediate_lifetime": "365d"}}`, func(app *App) error {
		kept := &rows{failure: errors.New("broken")}
		list := app.revocationList(kept)
		if _, err := list(t.Context()); !errors.Is(err, kept.failure) {
			t.Errorf("a store that fails: %v", err)
		}
		kept.failure = nil
		for range 3 {
			der, err := list(t.Context())
			if err != nil {
				return err
			}
			if _, err := x509.ParseRevocationList(der); err != nil {
				return err
			}
		}
		if kept.reads != 2 {
			t.Errorf("the store was read %d times", kept.reads)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
