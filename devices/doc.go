// Package devices is what a certificate says of a machine: it makes the
// certificates of devices and the list of those revoked, judges those that are
// presented, and tells whom they are of.
//
// A certificate says which machine asks, and until when it may; whether the
// machine is still wanted, and its user too, stands in the store. The package
// must not know HTTP, Caddy, or where rows are kept.
package devices

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"

	"github.com/portcullis-mfa/portcullis/store"
)

// Fingerprint is what a certificate is known by in the store, as
// store.Device.Certificate: the SHA-256 of its DER form, in lower-case hex.
func Fingerprint(certificate *x509.Certificate) string {
	sum := sha256.Sum256(certificate.Raw)
	return hex.EncodeToString(sum[:])
}

// Describe returns what a certificate alone says of its device, under the
// certificate's common name: no id, no user, no issuer.
func Describe(certificate *x509.Certificate) store.Device {
	return store.Device{
		Name: certificate.Subject.CommonName, Certificate: Fingerprint(certificate),
		Serial: hex.EncodeToString(certificate.SerialNumber.Bytes()),
		Issued: certificate.NotBefore, Expires: certificate.NotAfter,
	}
}
