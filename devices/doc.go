// Package devices is what a certificate says of a machine: it makes the
// certificates of devices and the list of those revoked, judges those that are
// presented, and tells whom they are of.
//
// A certificate says which machine asks, and until when it may; whether the
// machine is still wanted, and its user too, stands in the store. The package
// must not know HTTP, Caddy, or where rows are kept.
package devices

import (
	"cmp"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/store"
)

// Fingerprint is what a certificate is known by in the store, as
// store.Device.Certificate: the SHA-256 of its DER form, in lower-case hex.
func Fingerprint(certificate *x509.Certificate) string {
	sum := sha256.Sum256(certificate.Raw)
	return hex.EncodeToString(sum[:])
}

// KeyID is what a public key is known by in the store, as store.Device.Key: the
// SHA-256 of its SubjectPublicKeyInfo (RFC 5280 §4.1), in lower-case hex.
func KeyID(key crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", fmt.Errorf("encoding a public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}

// Describe returns what a certificate alone says of its device, which is active,
// under the certificate's common name, or its serial number where that says
// nothing: no id, no user, no issuer.
func Describe(certificate *x509.Certificate) store.Device {
	serial, key := serialOf(certificate), sha256.Sum256(certificate.RawSubjectPublicKeyInfo)
	return store.Device{
		Name: cmp.Or(storable(certificate.Subject.CommonName), serial), Certificate: Fingerprint(certificate), Serial: serial,
		Key: hex.EncodeToString(key[:]), DER: certificate.Raw,
		Issued: certificate.NotBefore, Expires: certificate.NotAfter, State: store.DeviceActive,
	}
}

func serialOf(certificate *x509.Certificate) string {
	return hex.EncodeToString(certificate.SerialNumber.Bytes())
}

// IssuerName returns what the CA of a certificate is called here. It is never
// empty: a device of a CA without a name isn't one of the CA that is held here.
func IssuerName(issuer pkix.Name) string {
	if len(issuer.Names) > maxAttributes {
		return "of too long a name"
	}
	return cmp.Or(storable(issuer.String()), "unnamed")
}

const (
	// maxName bounds what is kept of a name in a certificate, in bytes.
	maxName = 256
	// maxAttributes bounds how many attributes a name may have that is written
	// out: what that costs grows with their square.
	maxAttributes = 32
)

// storable makes of a name in a certificate, which can hold any bytes, a text
// that can be kept and shown.
func storable(name string) string {
	name = strings.ToValidUTF8(name[:min(len(name), maxName)], "")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if identity.IsInvisible(r) {
			return -1
		}
		return r
	}, name))
}
