package devices_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/devices"
	"github.com/portcullis-mfa/portcullis/store"
)

// today is the present of these tests: openssl goes by the machine's clock.
var today = time.Now().UTC().Truncate(time.Second)

// issuing is a CA with a root and an intermediate, and the authority over it.
type issuing struct {
	*devices.Authority
	t                  *testing.T
	root, intermediate *x509.Certificate
	rootKey, key       crypto.Signer
	now                time.Time
}

func newIssuing(t *testing.T) *issuing {
	t.Helper()
	a := &issuing{t: t, rootKey: ecKey(t, elliptic.P256()), key: ecKey(t, elliptic.P256()), now: today}
	a.root = a.authority("Root", 10*365*24*time.Hour, a.rootKey, nil, a.rootKey)
	a.intermediate = a.authority("Intermediate", 365*24*time.Hour, a.key, a.root, a.rootKey)
	a.Authority = &devices.Authority{
		Signer:   func() ([]*x509.Certificate, crypto.Signer) { return []*x509.Certificate{a.intermediate}, a.key },
		Root:     func() *x509.Certificate { return a.root },
		Lifetime: 30 * 24 * time.Hour, Names: &url.URL{Scheme: "https", Host: "login.example.com", Path: "/.well-known/mfa"},
		List:  &url.URL{Scheme: "https", Host: "login.example.com", Path: "/.well-known/mfa/devices.crl"},
		Clock: func() time.Time { return a.now }, Random: rand.Reader,
	}
	return a
}

// authority makes the certificate of a CA; without a parent it is a root.
func (a *issuing) authority(name string, lifetime time.Duration, key crypto.Signer, parent *x509.Certificate, parentKey crypto.Signer) *x509.Certificate {
	a.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: today.Add(-24 * time.Hour), NotAfter: today.Add(lifetime), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		a.t.Fatal(err)
	}
	return parsed(a.t, der)
}

func parsed(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func ecKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// request makes a signing request (DER).
func request(t *testing.T, template *x509.CertificateRequest, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func asPEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// laptop is a device that wants a certificate.
var laptop = store.Device{ID: "d1", UserID: "u1", Name: "Ada's laptop", State: store.DeviceActive}

func (a *issuing) issue(der []byte) (store.Device, *x509.Certificate) {
	a.t.Helper()
	device, chain, err := a.Issue(laptop, der)
	if err != nil {
		a.t.Fatal(err)
	}
	return device, chain[0]
}

func TestIssuedCertificates(t *testing.T) {
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{
		"P-256": ecKey(t, elliptic.P256()), "P-384": ecKey(t, elliptic.P384()), "Ed25519": edwards, "RSA": rsaKey(t, 2048),
	} {
		t.Run(name, func(t *testing.T) {
			a := newIssuing(t)
			device, chain, err := a.Issue(laptop, asPEM("CERTIFICATE REQUEST", request(t, new(x509.CertificateRequest), key)))
			if err != nil {
				t.Fatal(err)
			}
			if len(chain) != 2 || !chain[1].Equal(a.intermediate) {
				t.Fatalf("a chain of %d", len(chain))
			}
			leaf := chain[0]
			roots, between := x509.NewCertPool(), x509.NewCertPool()
			roots.AddCert(a.root)
			between.AddCert(chain[1])
			if _, err := leaf.Verify(x509.VerifyOptions{
				Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, CurrentTime: today,
			}); err != nil {
				t.Error(err)
			}
			if public, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(key.Public()) {
				t.Error("the certificate is of another key")
			}
			id, err := devices.KeyID(key.Public())
			if err != nil {
				t.Fatal(err)
			}
			want := laptop
			want.Certificate, want.Key, want.DER, want.Serial = devices.Fingerprint(leaf), id, leaf.Raw, leaf.SerialNumber.Text(16)
			want.Issued, want.Expires = today, today.Add(30*24*time.Hour)
			if !leaf.NotBefore.Equal(today.Add(-time.Hour)) {
				t.Errorf("valid from %s", leaf.NotBefore)
			}
			if len(want.Serial)%2 == 1 {
				want.Serial = "0" + want.Serial
			}
			if !reflect.DeepEqual(device, want) {
				t.Errorf("got %+v, want %+v", device, want)
			}
		})
	}
}

func TestSerialNumbersAreLongAndRandom(t *testing.T) {
	a := newIssuing(t)
	der := request(t, new(x509.CertificateRequest), ecKey(t, elliptic.P256()))
	seen := make(map[string]bool)
	for range 100 {
		_, leaf := a.issue(der)
		// RFC 5280 §4.1.2.2: positive, at most 20 octets as encoded.
		if encoded, err := asn1.Marshal(leaf.SerialNumber); err != nil || len(encoded) > 22 || leaf.SerialNumber.Sign() <= 0 {
			t.Errorf("serial number %v", leaf.SerialNumber)
		}
		if leaf.SerialNumber.BitLen() < 128 {
			t.Errorf("a serial number of %d bits", leaf.SerialNumber.BitLen())
		}
		seen[leaf.SerialNumber.String()] = true
	}
	if len(seen) != 100 {
		t.Errorf("%d different of 100", len(seen))
	}
}

// TestC03RequestDecidesNothing asks for everything that a request can ask for.
func TestC03RequestDecidesNothing(t *testing.T) {
	a, key := newIssuing(t), ecKey(t, elliptic.P256())
	extension := func(id asn1.ObjectIdentifier, value any) pkix.Extension {
		der, err := asn1.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return pkix.Extension{Id: id, Critical: true, Value: der}
	}
	greedy := request(t, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "root", Organization: []string{"Admins"}, SerialNumber: "u2"}, DNSNames: []string{"admin.example.com"},
		EmailAddresses: []string{"admin@example.com"}, URIs: []*url.URL{{Scheme: "https", Host: "login.example.com", Path: "/.well-known/mfa/users/u2"}},
		ExtraExtensions: []pkix.Extension{
			extension(asn1.ObjectIdentifier{2, 5, 29, 19}, struct {
				IsCA    bool
				PathLen int
			}{true, 3}),
			extension(asn1.ObjectIdentifier{2, 5, 29, 15}, asn1.BitString{Bytes: []byte{0x06}, BitLength: 7}), // certSign, cRLSign
			extension(asn1.ObjectIdentifier{2, 5, 29, 37}, []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 1}, {2, 5, 29, 37, 0}}),
			extension(asn1.ObjectIdentifier{2, 5, 29, 16}, struct { // the validity of the key
				NotAfter time.Time `asn1:"generalized,tag:1"`
			}{today.AddDate(50, 0, 0)}),
			extension(asn1.ObjectIdentifier{1, 2, 3, 4}, "unheard-of"),
		},
	}, key)
	_, got := a.issue(greedy)
	_, plain := a.issue(request(t, new(x509.CertificateRequest), key))
	if got.Subject.CommonName != "Ada's laptop" || len(got.Subject.Names) != 2 || got.Subject.SerialNumber != hex.EncodeToString(got.SerialNumber.FillBytes(make([]byte, 19))[:8]) || got.IsCA || got.KeyUsage != x509.KeyUsageDigitalSignature ||
		!slices.Equal(got.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) || len(got.UnknownExtKeyUsage) > 0 ||
		len(got.DNSNames)+len(got.EmailAddresses) > 0 || !got.NotAfter.Equal(today.Add(30*24*time.Hour)) {
		t.Errorf("the request decided: %+v", got)
	}
	for i, extension := range got.Extensions {
		if i >= len(plain.Extensions) || !extension.Id.Equal(plain.Extensions[i].Id) || !bytes.Equal(extension.Value, plain.Extensions[i].Value) {
			t.Errorf("extension %s isn't ours", extension.Id)
		}
	}
	uris := make([]string, len(got.URIs))
	for i, uri := range got.URIs {
		uris[i] = uri.String()
	}
	if want := []string{"https://login.example.com/.well-known/mfa/devices/d1"}; !slices.Equal(uris, want) {
		t.Errorf("named %v", uris)
	}
	if !slices.Equal(got.CRLDistributionPoints, []string{"https://login.example.com/.well-known/mfa/devices.crl"}) {
		t.Errorf("revocation lists at %v", got.CRLDistributionPoints)
	}
}

// signedRequest is a signing request taken apart (RFC 2986 §4).
type signedRequest struct {
	Info      asn1.RawValue
	Algorithm pkix.AlgorithmIdentifier
	Signature asn1.BitString
}

// resigned puts another signature under what a request says.
func resigned(t *testing.T, der []byte, algorithm asn1.ObjectIdentifier, key crypto.Signer, hash crypto.Hash) []byte {
	t.Helper()
	var r signedRequest
	if _, err := asn1.Unmarshal(der, &r); err != nil {
		t.Fatal(err)
	}
	var digest []byte
	switch hash {
	case crypto.SHA1:
		sum := sha1.Sum(r.Info.FullBytes)
		digest = sum[:]
	default:
		sum := sha256.Sum256(r.Info.FullBytes)
		digest = sum[:]
	}
	signature, err := key.Sign(rand.Reader, digest, hash)
	if err != nil {
		t.Fatal(err)
	}
	r.Algorithm.Algorithm = algorithm
	r.Signature = asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	changed, err := asn1.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func TestC03RequestsThatAreRefused(t *testing.T) {
	ecdsaWithSHA256 := asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	sha1WithRSA := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 5}
	key, long := ecKey(t, elliptic.P256()), rsaKey(t, 2048)
	good := request(t, new(x509.CertificateRequest), key)
	flipped := slices.Clone(good)
	flipped[len(flipped)-1] ^= 1
	tests := map[string][]byte{
		"another's key":          resigned(t, good, ecdsaWithSHA256, ecKey(t, elliptic.P256()), crypto.SHA256),
		"a flipped bit":          flipped,
		"SHA-1":                  resigned(t, request(t, new(x509.CertificateRequest), long), sha1WithRSA, long, crypto.SHA1),
		"RSA of 1024 bits":       request(t, new(x509.CertificateRequest), rsaKey(t, 1024)),
		"P-224":                  request(t, new(x509.CertificateRequest), ecKey(t, elliptic.P224())),
		"P-521":                  request(t, new(x509.CertificateRequest), ecKey(t, elliptic.P521())),
		"nothing":                nil,
		"garbage":                []byte("garbage"),
		"half":                   good[:len(good)/2],
		"more behind it":         append(slices.Clone(good), 0),
		"a certificate":          asPEM("CERTIFICATE", newIssuing(t).root.Raw),
		"a private key":          asPEM("PRIVATE KEY", good),
		"a broken block":         []byte("-----BEGIN CERTIFICATE REQUEST-----\n!\n"),
		"a mountain":             make([]byte, 1<<20),
		"a certificate, in DER":  newIssuing(t).root.Raw,
		"an empty block":         asPEM("CERTIFICATE REQUEST", nil),
		"RSA with an exponent 3": weakExponent(t, long),
	}
	for name, der := range tests {
		t.Run(name, func(t *testing.T) {
			device, chain, err := newIssuing(t).Issue(laptop, der)
			var refused *devices.RequestError
			if !errors.As(err, &refused) || !strings.HasSuffix(refused.Text(), ".") || device.ID != "" || chain != nil {
				t.Errorf("got %+v, %v, %v", device, chain, err)
			}
		})
	}
}

// weakExponent makes a request for a key like the given one with the public
// exponent 3, rightly signed.
func weakExponent(t *testing.T, like *rsa.PrivateKey) []byte {
	t.Helper()
	one, three := big.NewInt(1), big.NewInt(3)
	for {
		p, err := rand.Prime(rand.Reader, 1024)
		if err != nil {
			t.Fatal(err)
		}
		q, err := rand.Prime(rand.Reader, 1024)
		if err != nil {
			t.Fatal(err)
		}
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		d := new(big.Int).ModInverse(three, phi)
		if d == nil || p.Cmp(q) == 0 {
			continue
		}
		key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 3}, D: d, Primes: []*big.Int{p, q}}
		if key.N.BitLen() != like.N.BitLen() {
			continue
		}
		key.Precompute()
		return request(t, new(x509.CertificateRequest), key)
	}
}

func TestCertificatesDontOutliveTheirCA(t *testing.T) {
	day := 24 * time.Hour
	tests := []struct {
		name               string
		intermediate, root time.Duration
		want               time.Duration // 0: refused
	}{
		{"a CA that lives on", 365 * day, 3650 * day, 30 * day},
		{"a CA that ends before", 7 * day, 3650 * day, 7 * day},
		{"a root that ends before", 365 * day, 3 * day, 3 * day},
		{"a CA at its end", time.Hour, 3650 * day, time.Hour},
		{"a CA past its use", time.Hour - time.Second, 3650 * day, 0},
		{"a CA that is over", -time.Second, 3650 * day, 0},
		{"a root that is over", 365 * day, -time.Second, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := newIssuing(t)
			a.root = a.authority("Root", test.root, a.rootKey, nil, a.rootKey)
			a.intermediate = a.authority("Intermediate", test.intermediate, a.key, a.root, a.rootKey)
			device, _, err := a.Issue(laptop, request(t, new(x509.CertificateRequest), ecKey(t, elliptic.P256())))
			if test.want == 0 {
				if err == nil {
					t.Errorf("a certificate until %s", device.Expires)
				}
				return
			}
			if err != nil || !device.Expires.Equal(today.Add(test.want)) {
				t.Errorf("until %s, %v", device.Expires, err)
			}
		})
	}
}

// TestRenewedCA reads chain and key while the CA is renewed in between.
func TestRenewedCA(t *testing.T) {
	a, calls := newIssuing(t), 0
	other := ecKey(t, elliptic.P256())
	a.Signer = func() ([]*x509.Certificate, crypto.Signer) {
		if calls++; calls == 1 {
			return []*x509.Certificate{a.intermediate}, other
		}
		return []*x509.Certificate{a.intermediate}, a.key
	}
	der := request(t, new(x509.CertificateRequest), ecKey(t, elliptic.P256()))
	if _, _, err := a.Issue(laptop, der); err != nil {
		t.Errorf("once: %v", err)
	}
	a.Signer = func() ([]*x509.Certificate, crypto.Signer) { return []*x509.Certificate{a.intermediate}, other }
	if _, _, err := a.Issue(laptop, der); err == nil {
		t.Error("a certificate under another key's name")
	}
	a.Signer = func() ([]*x509.Certificate, crypto.Signer) { return nil, nil }
	if _, _, err := a.Issue(laptop, der); err == nil {
		t.Error("a certificate of nobody")
	}
	if _, err := a.RevocationList(nil); err == nil {
		t.Error("a revocation list of nobody")
	}
}

func TestRevocationList(t *testing.T) {
	a := newIssuing(t)
	revoked := func(serial, issuer, reason string, expires time.Time) store.Device {
		return store.Device{
			Serial: serial, Issuer: issuer, Revoked: today.Add(-time.Hour), RevokeReason: reason, Expires: expires,
		}
	}
	later := today.AddDate(0, 1, 0)
	all := []store.Device{
		revoked("0a", "", "key_compromise", later), revoked("0b", "", "unspecified", later), revoked("0c", "", "ended_by_owner", later),
		revoked("0d", "Another CA", "superseded", later), revoked("0e", "", "superseded", today.Add(-time.Second)),
		{Serial: "0f", Expires: later},
	}
	der, err := a.RevocationList(all)
	if err != nil {
		t.Fatal(err)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := list.CheckSignatureFrom(a.intermediate); err != nil {
		t.Error(err)
	}
	got := make(map[string]int)
	for _, entry := range list.RevokedCertificateEntries {
		got[entry.SerialNumber.Text(16)] = entry.ReasonCode
		if !entry.RevocationTime.Equal(today.Add(-time.Hour)) {
			t.Errorf("revoked at %s", entry.RevocationTime)
		}
	}
	if len(got) != 3 || got["a"] != 1 || got["b"] != 0 || got["c"] != 0 {
		t.Errorf("listed %v", got)
	}
	if !list.ThisUpdate.Equal(today) || !list.NextUpdate.Equal(today.Add(24*time.Hour)) {
		t.Errorf("from %s until %s", list.ThisUpdate, list.NextUpdate)
	}
	a.now = today.Add(time.Millisecond)
	der, err = a.RevocationList(nil)
	if err != nil {
		t.Fatal(err)
	}
	next, err := x509.ParseRevocationList(der)
	if err != nil || next.Number.Cmp(list.Number) <= 0 {
		t.Errorf("number %v follows %v, %v", next.Number, list.Number, err)
	}
	if _, err := a.RevocationList([]store.Device{revoked("serial", "", "", later)}); err == nil {
		t.Error("a device without a serial number is on the list")
	}
}

func TestOpenSSLReadsWhatIsIssued(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("NOT TESTED: openssl, the independent reader, is not installed (Debian package openssl)")
	}
	a, dir := newIssuing(t), t.TempDir()
	device, leaf := a.issue(request(t, new(x509.CertificateRequest), ecKey(t, elliptic.P256())))
	device.Revoked, device.RevokeReason = today, "key_compromise"
	list, err := a.RevocationList([]store.Device{device})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"root.pem": asPEM("CERTIFICATE", a.root.Raw), "intermediate.pem": asPEM("CERTIFICATE", a.intermediate.Raw),
		"leaf.pem": asPEM("CERTIFICATE", leaf.Raw), "list.der": list, "list.pem": asPEM("X509 CRL", list),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	chain := []string{"-CAfile", "root.pem", "-untrusted", "intermediate.pem"}
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"as a TLS client", slices.Concat([]string{"verify", "-x509_strict", "-purpose", "sslclient"}, chain, []string{"leaf.pem"}), "leaf.pem: OK"},
		{"not as a TLS server", slices.Concat([]string{"verify", "-purpose", "sslserver"}, chain, []string{"leaf.pem"}), "purpose"},
		{"the list", []string{"crl", "-inform", "DER", "-in", "list.der", "-CAfile", "intermediate.pem", "-noout", "-text"}, "Key Compromise"},
		{"its signature", []string{"crl", "-inform", "DER", "-in", "list.der", "-CAfile", "intermediate.pem", "-noout"}, "verify OK"},
		{"revoked", slices.Concat([]string{"verify", "-crl_check", "-CRLfile", "list.pem"}, chain, []string{"leaf.pem"}), "certificate revoked"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "openssl", test.args...)
			cmd.Dir = dir
			out, _ := cmd.CombinedOutput() // what it says tells more than how it exits
			if !strings.Contains(string(out), test.want) {
				t.Errorf("openssl %s:\n%s", strings.Join(test.args, " "), out)
			}
		})
	}
}
