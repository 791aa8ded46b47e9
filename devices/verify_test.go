package devices_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/portcullis-mfa/portcullis/devices"
)

// branch is a certificate with its key, which may sign others.
type branch struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// template is that of a CA's certificate, or of a device's good one.
func template(name string, isCA bool) *x509.Certificate {
	made := &x509.Certificate{
		SerialNumber: big.NewInt(4711), Subject: pkix.Name{CommonName: name},
		NotBefore: today.Add(-time.Hour), NotAfter: today.Add(time.Hour), BasicConstraintsValid: true, IsCA: isCA,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if isCA {
		made.KeyUsage, made.ExtKeyUsage = x509.KeyUsageCertSign, nil
	}
	return made
}

// sprout signs a template for a key; a nil parent signs itself.
func sprout(t testing.TB, parent *branch, made *x509.Certificate, key crypto.Signer) *branch {
	t.Helper()
	signer := parent
	if parent == nil {
		signer = &branch{certificate: made, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, made, signer.certificate, key.Public(), signer.key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &branch{certificate: parsed, key: key}
}

// publicOnly stands for a key of which there is the public half alone.
type publicOnly struct{ public crypto.PublicKey }

func (p publicOnly) Public() crypto.PublicKey { return p.public }

func (publicOnly) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("there is no private half")
}

func pool(certificates ...*x509.Certificate) *x509.CertPool {
	all := x509.NewCertPool()
	for _, c := range certificates {
		all.AddCert(c)
	}
	return all
}

func changed(made *x509.Certificate, change func(*x509.Certificate)) *x509.Certificate {
	change(made)
	return made
}

func TestC01Verify(t *testing.T) {
	newKey := func() crypto.Signer { return ecKey(t, elliptic.P256()) }
	root := sprout(t, nil, template("Root", true), newKey())
	between := sprout(t, root, template("Between", true), newKey())
	namesake := sprout(t, nil, template("Root", true), newKey())
	// Whoever asks the system's roots finds this one there.
	systemRoots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(systemRoots, asPEM("CERTIFICATE", root.certificate.Raw), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", systemRoots)
	weakRoot := sprout(t, nil, template("Weak", true), rsaKey(t, 1024))
	narrow := sprout(t, root, changed(template("Narrow", true), func(c *x509.Certificate) {
		c.PermittedEmailAddresses, c.PermittedDNSDomainsCritical = []string{"example.com"}, true
	}), newKey())
	short := sprout(t, root, changed(template("Short", true), func(c *x509.Certificate) { c.MaxPathLenZero = true }), newKey())
	below := sprout(t, short, template("Below", true), newKey())
	servers := sprout(t, root, changed(template("Servers", true), func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}), newKey())
	over := sprout(t, root, changed(template("Over", true), func(c *x509.Certificate) { c.NotAfter = today.Add(-time.Minute) }), newKey())

	device := func(parent *branch, change func(*x509.Certificate)) *x509.Certificate {
		made := template("laptop", false)
		if change != nil {
			change(made)
		}
		return sprout(t, parent, made, newKey()).certificate
	}
	extension := func(critical bool) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: critical, Value: []byte{5, 0}}}
		}
	}
	itself := sprout(t, nil, template("laptop", false), newKey())
	signsItself := itself.certificate
	forged := device(root, nil)
	forged.Signature[len(forged.Signature)-1] ^= 1
	many := []*x509.Certificate{device(root, nil)}
	for range 10 {
		many = append(many, root.certificate)
	}
	// Nobody has the private half of this one.
	modulus := new(big.Int).SetBit(big.NewInt(1), 16383, 1)
	longKey := sprout(t, root, template("Long", true), publicOnly{&rsa.PublicKey{N: modulus, E: 65537}}).certificate

	affected, err := os.ReadFile("../publickey/testdata/roca2048.hex")
	if err != nil {
		t.Fatal(err)
	}
	rocaModulus, ok := new(big.Int).SetString(strings.TrimSpace(string(affected)), 16)
	if !ok {
		t.Fatal("the modulus can't be read")
	}
	rsaDevice := func(n *big.Int, e int) []*x509.Certificate {
		return []*x509.Certificate{sprout(t, root, template("laptop", false), publicOnly{&rsa.PublicKey{N: n, E: e}}).certificate}
	}
	goodModulus := rsaKey(t, 2048).N

	// otherNames are alternative names that have to be understood.
	otherNames := func(more []pkix.Extension, names ...otherName) func(*x509.Certificate) {
		extension := alternativeNamesAfter(t, nil, names...)
		extension.Critical = true
		return func(c *x509.Certificate) { c.ExtraExtensions = append(more, extension) }
	}
	text, unknown := cryptobyte_asn1.UTF8String, []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}

	tests := []struct {
		name      string
		presented []*x509.Certificate
		want      error // nil: it is good
	}{
		{"good", []*x509.Certificate{device(root, nil)}, nil},
		{"good, with the one between", []*x509.Certificate{device(between, nil), between.certificate}, nil},
		{"good, with one that is of no use", []*x509.Certificate{device(root, nil), namesake.certificate}, nil},
		{"good, for servers too", []*x509.Certificate{device(root, func(c *x509.Certificate) {
			c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
		})}, nil},
		{"good, with an extension that may be ignored", []*x509.Certificate{device(root, extension(false))}, nil},
		{"good, with a critical principal name alone", []*x509.Certificate{
			device(root, otherNames(nil, otherName{principal, text, "ada@example.com"})),
		}, nil},
		{"good within name constraints", []*x509.Certificate{
			device(narrow, func(c *x509.Certificate) { c.EmailAddresses = []string{"a@example.com"} }), narrow.certificate,
		}, nil},

		{"nothing", nil, devices.Malformed},
		{"nil", []*x509.Certificate{nil}, devices.Malformed},
		{"an empty one", []*x509.Certificate{{}}, devices.Malformed},
		{"too many", many, devices.Malformed},
		{"expired", []*x509.Certificate{device(root, func(c *x509.Certificate) { c.NotAfter = today.Add(-time.Second) })}, devices.Expired},
		{"of a CA that has expired", []*x509.Certificate{device(over, nil), over.certificate}, devices.Expired},
		{"not yet valid", []*x509.Certificate{device(root, func(c *x509.Certificate) { c.NotBefore = today.Add(time.Minute) })}, devices.NotYetValid},
		{"another CA of the same name", []*x509.Certificate{device(namesake, nil)}, devices.UnknownIssuer},
		{"another CA of the same name, sent along", []*x509.Certificate{device(namesake, nil), namesake.certificate}, devices.UnknownIssuer},
		{"without the one between", []*x509.Certificate{device(between, nil)}, devices.UnknownIssuer},
		{"signed by a device", []*x509.Certificate{device(itself, nil), signsItself}, devices.UnknownIssuer},
		{"self-signed", []*x509.Certificate{signsItself}, devices.UnknownIssuer},
		{"forged", []*x509.Certificate{forged}, devices.UnknownIssuer},
		{"outside name constraints", []*x509.Certificate{
			device(narrow, func(c *x509.Certificate) { c.EmailAddresses = []string{"a@example.org"} }), narrow.certificate,
		}, devices.UnknownIssuer},
		{"of a CA too many", []*x509.Certificate{device(below, nil), below.certificate, short.certificate}, devices.Malformed},
		{"without a usage", []*x509.Certificate{device(root, func(c *x509.Certificate) { c.ExtKeyUsage = nil })}, devices.WrongUsage},
		{"for servers", []*x509.Certificate{device(root, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		})}, devices.WrongUsage},
		{"for anything", []*x509.Certificate{device(root, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
		})}, devices.WrongUsage},
		{"of a CA for servers", []*x509.Certificate{device(servers, nil), servers.certificate}, devices.WrongUsage},
		{"for encryption", []*x509.Certificate{device(root, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment })}, devices.WrongUsage},
		{"CA:TRUE", []*x509.Certificate{device(root, func(c *x509.Certificate) { c.IsCA = true })}, devices.IsAuthority},
		{"that may sign others", []*x509.Certificate{device(root, func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign })}, devices.IsAuthority},
		{"a CA's own", []*x509.Certificate{between.certificate}, devices.IsAuthority},
		{"the anchor itself", []*x509.Certificate{root.certificate}, devices.IsAuthority},
		{"unknown critical extension", []*x509.Certificate{device(root, extension(true))}, devices.UnknownExtension},
		{"critical names of an unknown kind", []*x509.Certificate{
			device(root, otherNames(nil, otherName{asn1.ObjectIdentifier{1, 2, 3}, text, "ada"})),
		}, devices.UnknownExtension},
		{"a critical principal name that can't be read", []*x509.Certificate{
			device(root, otherNames(nil, otherName{principal, cryptobyte_asn1.IA5String, "ada"})),
		}, devices.UnknownExtension},
		{"unknown critical extension beside a critical principal name", []*x509.Certificate{
			device(root, otherNames(unknown, otherName{principal, text, "ada"})),
		}, devices.UnknownExtension},
		{"RSA of 1024 bits", []*x509.Certificate{sprout(t, root, template("laptop", false), rsaKey(t, 1024)).certificate}, devices.Weak},
		{"P-224", []*x509.Certificate{sprout(t, root, template("laptop", false), ecKey(t, elliptic.P224())).certificate}, devices.Weak},
		{"of a CA with RSA of 1024 bits", []*x509.Certificate{device(weakRoot, nil)}, devices.Weak},
		{"SHA-1", []*x509.Certificate{sprout(t, root, changed(template("laptop", false), func(c *x509.Certificate) {
			c.SignatureAlgorithm = x509.ECDSAWithSHA1
		}), newKey()).certificate}, devices.Weak},
		{"of a CA signed by SHA-1", func() []*x509.Certificate {
			old := sprout(t, root, changed(template("Old", true), func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA1 }), newKey())
			return []*x509.Certificate{device(old, nil), old.certificate}
		}(), devices.Weak},
		{"RSA of Infineon's library", rsaDevice(rocaModulus, 65537), devices.Weak},
		{"RSA with exponent 3", rsaDevice(goodModulus, 3), devices.Weak},
		{"RSA with an even exponent", rsaDevice(goodModulus, 65538), devices.Weak},
		{"RSA of a square", rsaDevice(new(big.Int).Mul(goodModulus, goodModulus), 65537), devices.Weak},
		{"with a key too long to try", []*x509.Certificate{device(root, nil), longKey}, devices.Weak},
	}
	anchors := devices.Anchors{Roots: pool(root.certificate, weakRoot.certificate)}
	for _, test := range tests {
		v, err := devices.Verify(test.presented, anchors, today)
		if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
			t.Errorf("%s: %v, not %v", test.name, err, test.want)
		}
		if err != nil && v.Chain != nil {
			t.Errorf("%s: refused, and yet %v", test.name, v)
		}
		// C05: without CAs, nothing counts, whatever the system trusts.
		if _, err := devices.Verify(test.presented, devices.Anchors{}, today); err == nil {
			t.Errorf("%s: good without any CA", test.name)
		}
	}
	_, err = devices.Verify([]*x509.Certificate{device(between, nil)}, devices.Anchors{
		Roots: anchors.Roots, Intermediates: []*x509.Certificate{between.certificate},
	}, today)
	if err != nil {
		t.Errorf("with a known one between: %v", err)
	}
}

func TestVerifiedHoldsForItsTime(t *testing.T) {
	root := sprout(t, nil, changed(template("Root", true), func(c *x509.Certificate) { c.NotAfter = today.Add(10 * time.Minute) }), ecKey(t, elliptic.P256()))
	leaf := sprout(t, root, changed(template("laptop", false), func(c *x509.Certificate) { c.NotBefore = today.Add(-time.Minute) }), ecKey(t, elliptic.P256())).certificate
	v, err := devices.Verify([]*x509.Certificate{leaf}, devices.Anchors{Roots: pool(root.certificate)}, today)
	if err != nil || !v.Leaf().Equal(leaf) {
		t.Fatal(v, err)
	}
	for at, want := range map[time.Duration]error{
		-time.Minute: nil, -time.Minute - time.Second: devices.NotYetValid, 10 * time.Minute: nil, 10*time.Minute + time.Second: devices.Expired,
	} {
		if err := v.At(today.Add(at)); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%s later: %v, not %v", at, err, want)
		}
	}
}

// FuzzVerify holds that whatever can be read as a certificate is judged without
// a panic, and is good only if the CA really signed it.
func FuzzVerify(f *testing.F) {
	root := sprout(f, nil, template("Root", true), fuzzKey(f))
	good := sprout(f, root, template("laptop", false), fuzzKey(f)).certificate
	between := sprout(f, root, template("Between", true), fuzzKey(f))
	f.Add(good.Raw, root.certificate.Raw)
	f.Add(sprout(f, between, template("laptop", false), fuzzKey(f)).certificate.Raw, between.certificate.Raw)
	f.Add(root.certificate.Raw, good.Raw)
	f.Add([]byte{0x30, 0}, []byte{})
	f.Fuzz(func(t *testing.T, leaf, above []byte) {
		presented, err := x509.ParseCertificate(leaf)
		if err != nil {
			return
		}
		chain := []*x509.Certificate{presented}
		if parsed, err := x509.ParseCertificate(above); err == nil {
			chain = append(chain, parsed)
		}
		v, err := devices.Verify(chain, devices.Anchors{Roots: pool(root.certificate)}, today)
		var refusal devices.Refusal
		switch {
		case err == nil:
			for i, c := range v.Chain[:len(v.Chain)-1] {
				if err := c.CheckSignatureFrom(v.Chain[i+1]); err != nil {
					t.Errorf("good, though the signature isn't: %v", err)
				}
			}
		case !errors.As(err, &refusal):
			t.Errorf("%v is no refusal", err)
		}
	})
}

func fuzzKey(f *testing.F) crypto.Signer {
	f.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	return key
}
