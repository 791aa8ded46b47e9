package devices

import "crypto/x509"

// Trust is the CAs whose certificates count, in the order in which a chain is
// tried against them: the first one that it leads to decides alone.
type Trust []Authorised

// Authorised is a CA, or several that are treated alike, whose certificates
// count.
type Authorised struct {
	// Anchors returns the certificates that a chain has to end at, as they are
	// at that moment. It never returns nil, which crypto/x509 would take for the
	// roots of the system.
	Anchors func() *x509.CertPool
	// Intermediates returns certificates that may stand in a chain though a
	// device doesn't send them; nil: none.
	Intermediates func() []*x509.Certificate
	// Owners says whose a certificate is that the store doesn't know yet. Nil:
	// the CA is the one held here, and only what the store knows counts.
	Owners Mapping
	// Revocations is what the CA says of certificates that it took back; nil:
	// it says nothing.
	Revocations *Revocations
	// Superior is what others say of the certificates between the device's and
	// the anchor, where the CA is part of an operator's; nil: nothing. What isn't
	// listed there isn't revoked.
	Superior *Revocations
}

// HeldHere reports whether the CA is the one that issues here. Of its
// certificates only those count that the store knows.
func (a Authorised) HeldHere() bool { return a.Owners == nil }
