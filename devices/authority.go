package devices

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/url"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/publickey"
	"github.com/portcullis-mfa/portcullis/store"
)

const (
	// DefaultLifetime is for how long certificates are where nobody says.
	DefaultLifetime = 90 * 24 * time.Hour
	// backdated lets clocks be slow that much where a certificate is first used.
	backdated = time.Hour
	// leastLeft is how long a CA must live for what it issues to be of use.
	leastLeft = time.Hour
	// serialBytes is the length of a serial number: at most 20 (RFC 5280
	// §4.1.2.2), of which at least 8 have to be random.
	serialBytes = 19
	// subjectBytes is how much of it is in the subject, too.
	subjectBytes = 8
	// maxRequest bounds a signing request in bytes.
	maxRequest = 64 << 10
)

// RequestError says what is wrong with a signing request, and what to do.
type RequestError struct{ text string }

func (e *RequestError) Error() string { return "signing request: " + e.text }

// Text says it to operators.
func (e *RequestError) Text() string { return e.text }

// errNoSigner says that the chain and the key of the CA don't belong together.
var errNoSigner = errors.New("the CA's certificate isn't of the CA's key")

// Authority issues the certificates of devices and says which of them are
// revoked. All fields are needed. It is safe for concurrent use where its
// functions are.
type Authority struct {
	// Signer returns the CA's certificates, the issuing one first, and the key
	// of that.
	Signer func() ([]*x509.Certificate, crypto.Signer)
	// Root returns the anchor that the chain leads to.
	Root func() *x509.Certificate
	// Lifetime is for how long certificates are at most; none lives longer than
	// its CA.
	Lifetime time.Duration
	// Names is the address below which devices and users have the names that
	// stand in their certificates. Nothing is served there.
	Names *url.URL
	// List is where the revocation list is served.
	List   *url.URL
	Clock  func() time.Time
	Random io.Reader
}

// signer returns chain and key, once they belong together: they are read one
// after the other, and the CA may be renewed in between.
func (a *Authority) signer() ([]*x509.Certificate, crypto.Signer, error) {
	for range 3 {
		chain, key := a.Signer()
		if len(chain) == 0 || key == nil {
			break
		}
		if public, ok := chain[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool }); ok && public.Equal(key.Public()) {
			return chain, key, nil
		}
	}
	return nil, nil, errNoSigner
}

// Issue makes a certificate of a device whose id and name are given. Of
// the signing request (PKCS #10, RFC 2986; PEM or DER) the public key alone is
// taken, once its signature shows that whoever sent it has the private one; what
// else it asks for is ignored. It returns the device as it is to be kept, and
// the certificate followed by those between it and the anchor. A request that
// can't be used is a *RequestError.
func (a *Authority) Issue(d store.Device, request []byte) (store.Device, []*x509.Certificate, error) {
	public, err := requestedKey(request)
	if err != nil {
		return store.Device{}, nil, err
	}
	chain, key, err := a.signer()
	if err != nil {
		return store.Device{}, nil, err
	}
	template, err := a.template(d, chain)
	if err != nil {
		return store.Device{}, nil, err
	}
	der, err := x509.CreateCertificate(a.Random, template, chain[0], public, key)
	if err != nil {
		return store.Device{}, nil, fmt.Errorf("signing a certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return store.Device{}, nil, fmt.Errorf("reading a certificate just signed: %w", err)
	}
	described := Describe(leaf)
	d.Certificate, d.Key, d.DER, d.Serial = described.Certificate, described.Key, described.DER, described.Serial
	d.Issuer, d.Previous, d.Issued, d.Expires = "", "", a.Clock(), described.Expires
	return d, append([]*x509.Certificate{leaf}, a.between(chain)...), nil
}

// Between returns the CA's present certificates without the anchor.
func (a *Authority) Between() []*x509.Certificate {
	chain, _ := a.Signer()
	return a.between(chain)
}

// between is the chain without the anchor, which whoever checks it has.
func (a *Authority) between(chain []*x509.Certificate) []*x509.Certificate {
	root := a.Root()
	return slices.DeleteFunc(slices.Clone(chain), func(c *x509.Certificate) bool { return c.Equal(root) })
}

// template is all of a certificate but its key. The name is there for people
// who choose among several; to everybody else the id says nothing. Whose the device
// is can change, and isn't in it.
func (a *Authority) template(d store.Device, chain []*x509.Certificate) (*x509.Certificate, error) {
	now := a.Clock()
	template := &x509.Certificate{
		URIs:      []*url.URL{a.Names.JoinPath("devices", d.ID)},
		NotBefore: now.Add(-backdated), NotAfter: now.Add(a.Lifetime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		CRLDistributionPoints: []string{a.List.String()},
	}
	for _, above := range append(slices.Clone(chain), a.Root()) {
		if above.NotAfter.Before(template.NotAfter) {
			template.NotAfter = above.NotAfter
		}
	}
	if left := template.NotAfter.Sub(now); left < leastLeft {
		return nil, fmt.Errorf("the CA's certificate expires at %s: renew it first", template.NotAfter.Format(time.RFC3339))
	}
	serial := make([]byte, serialBytes)
	if _, err := io.ReadFull(a.Random, serial); err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	template.SerialNumber = new(big.Int).SetBytes(serial)
	// Some stores of browsers tell certificates apart by their subjects alone.
	template.Subject = pkix.Name{CommonName: d.Name, SerialNumber: hex.EncodeToString(serial[:subjectBytes])}
	return template, nil
}

// RequestedKey returns the KeyID of a signing request's key, which Issue would
// certify. A request that can't be used is a *RequestError.
func RequestedKey(request []byte) (string, error) {
	public, err := requestedKey(request)
	if err != nil {
		return "", err
	}
	return KeyID(public)
}

// requestedKey returns the public key of a signing request.
func requestedKey(request []byte) (crypto.PublicKey, error) {
	if len(request) > maxRequest {
		return nil, &RequestError{"it is too large."}
	}
	if bytes.Contains(request, []byte("-----BEGIN")) {
		block, _ := pem.Decode(request)
		if block == nil || block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST" {
			return nil, &RequestError{"this is none: make one with openssl req -new."}
		}
		request = block.Bytes
	}
	parsed, err := x509.ParseCertificateRequest(request)
	if err != nil {
		return nil, &RequestError{"this is none: make one with openssl req -new."}
	}
	// The signature is the proof that the key is the sender's (RFC 2986 §3). That
	// of a request crypto/x509 takes with SHA-1, too.
	weak := parsed.SignatureAlgorithm == x509.SHA1WithRSA || parsed.SignatureAlgorithm == x509.ECDSAWithSHA1
	if err := parsed.CheckSignature(); err != nil || weak {
		return nil, &RequestError{"its signature isn't of its key, or is made with an algorithm that nobody should use: make a new one, signed with SHA-256."}
	}
	return parsed.PublicKey, checkKey(parsed.PublicKey)
}

// checkKey refuses keys that are weak, or that browsers or servers can't use.
func checkKey(public crypto.PublicKey) error {
	if key, is := public.(*ecdsa.PublicKey); is && key.Curve == elliptic.P521() {
		return errKey // of which Chromium knows nothing
	}
	if publickey.CheckNew(public) != nil {
		return errKey
	}
	return nil
}

var errKey = &RequestError{"its key can't be used: make a new one on the curve P-256 or P-384, of Ed25519, or of RSA with 2048 to 8192 bits."}
